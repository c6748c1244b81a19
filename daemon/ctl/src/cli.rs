//! What may be asked on the command line, and nothing about how it is answered.
//!
//! Words with a fixed list in the contract (priority, mode, format …) are passed on as written: the daemon's list may grow,
//! and its error names what it allows. Only numbers are checked here, because they need a D-Bus type.

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use zbus::zvariant::Value;

use crate::bus::{Choice, Options};

const GENERAL: &str = "General options";

const EXIT_CODES: &str = "\
Exit codes:
  0  spoken to the end, or the command did what it says (nothing to do counts)
  1  anything else went wrong; the message says what to do
  2  the command line was wrong
  3  the speech was cancelled, or not accepted (mode if-idle while somebody speaks, a stale turn)
  4  the speech failed
  5  the speech expired before it began (expires-ms)

Which bus: --bus-address, --system or --user; else UTTERD_BUS_ADDRESS; else the session bus, and the system bus if
no utterd is there. `utterctl status` says which. Colours: only on a terminal, and never with NO_COLOR.";

const SAY_HELP: &str = "\
Without --session each call speaks in a session of its own, which closes when utterctl ends: two shells are heard one
after the other and neither can cancel the other. With --no-wait utterctl is gone at once, so the speech goes to one session
for each terminal or login session (shell-<uid>-<sid>), or to \"default\" where the daemon has no idle-timeout yet; again
the shells are heard one after the other. With --session ID that session is opened if need be and stays open.

\"-\" speaks standard input while it is still being written: sentence by sentence, the first words at once. With --no-wait it is
read to its end first.

Ctrl-C while it speaks cancels this utterance (and no other) and exits with 3.";

#[derive(Parser, Debug)]
#[command(name = "utterctl", version, about = "Speak, stop and watch: utterd from the command line", after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Print JSON: one object, or one a line for `monitor`
    #[arg(long, global = true, help_heading = GENERAL)]
    pub(crate) json: bool,
    /// Say on stderr which bus and session are used
    #[arg(short, long, global = true, help_heading = GENERAL)]
    pub(crate) verbose: bool,
    /// Print nothing but errors
    #[arg(short, long, global = true, help_heading = GENERAL, conflicts_with = "json")]
    pub(crate) quiet: bool,
    /// Use the system bus
    #[arg(long, global = true, help_heading = GENERAL, conflicts_with_all = ["user", "bus_address"])]
    system: bool,
    /// Use the session bus
    #[arg(long, visible_alias = "session-bus", global = true, help_heading = GENERAL, conflicts_with = "bus_address")]
    user: bool,
    /// Use the bus at ADDRESS [env: UTTERD_BUS_ADDRESS]
    #[arg(long, value_name = "ADDRESS", global = true, help_heading = GENERAL)]
    bus_address: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// A flag beats the environment, which beats the search.
    pub(crate) fn choice(&self) -> Choice {
        match (self.system, self.user, &self.bus_address) {
            (true, ..) => Choice::System,
            (_, true, _) => Choice::Session,
            (.., Some(address)) => Choice::Address(address.clone()),
            _ => match std::env::var("UTTERD_BUS_ADDRESS") {
                Ok(address) if !address.is_empty() => Choice::Address(address),
                _ => Choice::Search,
            },
        }
    }
}

/// The session a verb acts on; what it does without one stands at each verb.
#[derive(Args, Debug, Default)]
pub(crate) struct At {
    /// The session that is meant
    #[arg(short, long, value_name = "ID")]
    pub(crate) session: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct AtOne {
    /// The session to act on
    #[arg(short, long, value_name = "ID")]
    pub(crate) session: String,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Speak TEXT and wait until it was heard; `say -` speaks standard input as it comes
    #[command(after_help = SAY_HELP)]
    Say(Box<SayArgs>),
    /// Play a sound FILE (WAV, FLAC, Ogg Vorbis) and wait until it was heard
    ///
    /// Without --session in a session of its own, as `say`. A file below the daemon's sound folders (`sounds.dirs`) it reads itself;
    /// any other is decoded here and sent as a stream, which neither --no-wait nor --beside can be.
    Play(Box<PlayArgs>),
    /// Wait until an utterance has finished, and exit with its outcome
    ///
    /// Without UTTERANCE the newest one. Without --session: an UTTERANCE is found in whichever session has it; else the session
    /// that `say --no-wait` of this shell speaks in. Nothing to wait for is a success.
    Wait {
        /// Its id, as `say --no-wait` prints it
        utterance: Option<u64>,
        /// Give up after this many seconds (exit code 1); the speech goes on
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<f64>,
        #[command(flatten)]
        at: At,
    },
    /// Stop speech at once and report what was heard
    ///
    /// Without --session everything you may control stops: at a desktop that is what is meant. With --session that session;
    /// with UTTERANCE that one alone, in whichever session it is. Nothing to stop is a success.
    Cancel(CancelArgs),
    /// Hold speech where it is; without --session every session that has something to say
    Pause {
        #[command(flatten)]
        at: At,
    },
    /// Go on from the same sample; without --session every paused session
    Resume {
        #[command(flatten)]
        at: At,
    },
    /// Report the user's speech, as a button or a recogniser of your own would (ReportSpeech)
    ///
    /// Always says which utterance is meant, or else which turn, so that a report that comes late cannot hit the next answer: what is
    /// not given is what the session is speaking now. Without --session the one session that has something to say.
    Speech(SpeechArgs),
    /// Show or set the volume: 50%, +10%, -10%, -6dB; without --session the master volume
    ///
    /// N% is 20·log10(N/100) dB: 100% = 0 dB (untouched), 50% = -6 dB, 200% = +6 dB; 0% is -120 dB, which is silence.
    /// Up to +24 dB (1584%).
    Volume {
        /// N%, +N%, -N% or NdB; absent = show it
        #[arg(allow_hyphen_values = true, value_parser = crate::level::Level::parse)]
        level: Option<crate::level::Level>,
        #[command(flatten)]
        at: At,
    },
    /// Silence: what is spoken now ends, what comes ends unspoken; without --session everybody's
    Mute {
        /// The microphone instead: nobody hears the user
        #[arg(long)]
        mic: bool,
        #[command(flatten)]
        at: At,
    },
    /// Undo `mute`
    Unmute {
        /// The microphone instead
        #[arg(long)]
        mic: bool,
        #[command(flatten)]
        at: At,
    },
    /// List the open sessions
    Sessions,
    /// List the voices
    Voices {
        /// Only this backend's
        #[arg(long)]
        backend: Option<String>,
        /// Only this language's
        #[arg(long)]
        language: Option<String>,
        /// Only this voice
        #[arg(long)]
        id: Option<String>,
    },
    /// List what output and input may name
    Devices,
    /// List the plugins and their state
    Plugins,
    /// Show the metrics, with --session of that session
    Metrics {
        /// As exported for a scraper: prometheus or json
        #[arg(long)]
        format: Option<String>,
        #[command(flatten)]
        at: At,
    },
    /// Print what happens as it happens, until Ctrl-C
    Monitor {
        #[command(flatten)]
        at: At,
    },
    /// What was said and what of it was heard; without --session as `wait` chooses it
    History {
        /// Only the last N
        #[arg(short = 'n', long)]
        limit: Option<u32>,
        #[command(flatten)]
        at: At,
    },
    /// Which daemon, on which bus, and what it is doing
    Status,
    /// Close a session
    Close {
        /// Speak what is queued first
        #[arg(long)]
        drain: bool,
        #[command(flatten)]
        at: AtOne,
    },
    /// Make the daemon read its configuration again
    Reload,
    /// Print the completions for a shell
    Completions { shell: Shell },
}

#[derive(Args, Debug)]
pub(crate) struct CancelArgs {
    /// Its id, as `say --no-wait` prints it
    pub(crate) utterance: Option<u64>,
    /// Everything of every session you may control; overrides protection (as without --session)
    #[arg(long, conflicts_with_all = ["session", "utterance", "turn"])]
    pub(crate) all: bool,
    /// Only this turn of the session (0 = the current one)
    #[arg(long, requires = "session", conflicts_with = "utterance")]
    pub(crate) turn: Option<u64>,
    /// A word of your own for the report; "barge-in" respects protection
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Length of the fade, at most 50
    #[arg(long, value_name = "MS")]
    pub(crate) fade_ms: Option<u32>,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Args, Debug)]
pub(crate) struct SpeechArgs {
    /// suspected (pauses), confirmed (cancels), false (goes on) or ended
    pub(crate) kind: String,
    /// The utterance that the user speaks into
    #[arg(long)]
    pub(crate) utterance: Option<u64>,
    /// The turn that the user speaks into
    #[arg(long, conflicts_with = "utterance")]
    pub(crate) turn: Option<u64>,
    /// When it was heard, in microseconds of CLOCK_MONOTONIC; absent = now
    #[arg(long, value_name = "US")]
    pub(crate) at_us: Option<u64>,
    /// What was understood
    #[arg(long)]
    pub(crate) text: Option<String>,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Args, Debug)]
pub(crate) struct SayArgs {
    /// What to say; words are joined by a space, "-" reads standard input
    #[arg(required = true, allow_negative_numbers = true)]
    pub(crate) text: Vec<String>,
    /// Return as soon as the text was accepted and print the utterance's id (for hooks)
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) at: At,
    /// A voice of `utterctl voices`
    #[arg(long)]
    voice: Option<String>,
    /// The plugin that speaks
    #[arg(long)]
    backend: Option<String>,
    /// As en or de-AT
    #[arg(short, long)]
    language: Option<String>,
    /// Speed, 1.0 = normal
    #[arg(long)]
    rate: Option<f64>,
    /// Pitch, 1.0 = normal
    #[arg(long)]
    pitch: Option<f64>,
    /// Louder or softer by this much
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    gain_db: Option<f64>,
    /// text, markdown or ssml
    #[arg(long)]
    format: Option<String>,
    /// queue, replace or if-idle, within the session
    #[arg(long)]
    mode: Option<String>,
    /// important, message, text, notification or progress
    #[arg(short, long)]
    priority: Option<String>,
    /// Not begun by then: expired
    #[arg(long, value_name = "MS")]
    expires_ms: Option<u32>,
    /// none, sentence or word: what the daemon reports while it speaks
    #[arg(long)]
    pub(crate) progress: Option<String>,
    /// Whether a barge-in may stop it
    #[arg(long, value_name = "BOOL")]
    interruptible: Option<bool>,
    /// No pause and no cancel by barge-in until that much of it was sent
    #[arg(long, value_name = "MS")]
    protect_ms: Option<u32>,
    /// The same as --protect-ms 500
    #[arg(long)]
    greeting: bool,
    /// Not spoken if the session has gone on to a later turn
    #[arg(long)]
    turn: Option<u64>,
    /// Comes back in every signal and report of this utterance
    #[arg(long)]
    tag: Option<String>,
    /// Any other option of Say; VALUE is JSON, or a plain word
    #[arg(short, long = "option", value_name = "KEY=VALUE", value_parser = key_value)]
    option: Vec<(String, Value<'static>)>,
    /// An option of the session, as OpenSession takes them (output=null, floor=own …)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) session_option: Vec<(String, Value<'static>)>,
}

#[derive(Args, Debug)]
pub(crate) struct PlayArgs {
    /// The sound file
    pub(crate) file: std::path::PathBuf,
    /// Return as soon as it was accepted and print the utterance's id (for hooks)
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) at: At,
    /// What hearing it to the end means, for report and history
    #[arg(long)]
    text: Option<String>,
    /// From the end back to the beginning until it is cancelled (Ctrl-C)
    #[arg(long = "loop")]
    pub(crate) looped: bool,
    /// Begin here
    #[arg(long, value_name = "US")]
    pub(crate) start_us: Option<u64>,
    /// Under the session's speech, not in its queue
    #[arg(long)]
    pub(crate) beside: bool,
    /// So much lower while the session speaks (with --beside)
    #[arg(long, value_name = "DB", requires = "beside")]
    duck_db: Option<f64>,
    /// Louder or softer by this much
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    gain_db: Option<f64>,
    /// queue, replace or if-idle, within the session
    #[arg(long)]
    mode: Option<String>,
    /// important, message, text, notification or progress
    #[arg(short, long)]
    priority: Option<String>,
    /// Not begun by then: expired
    #[arg(long, value_name = "MS")]
    expires_ms: Option<u32>,
    /// No pause and no cancel by barge-in until that much of it was sent
    #[arg(long, value_name = "MS")]
    protect_ms: Option<u32>,
    /// Not played if the session has gone on to a later turn
    #[arg(long)]
    turn: Option<u64>,
    /// Comes back in every signal and report of this utterance
    #[arg(long)]
    tag: Option<String>,
    /// Any other option of Play; VALUE is JSON, or a plain word
    #[arg(short, long = "option", value_name = "KEY=VALUE", value_parser = key_value)]
    option: Vec<(String, Value<'static>)>,
    /// An option of the session, as OpenSession takes them (output=null, floor=own …)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) session_option: Vec<(String, Value<'static>)>,
}

impl PlayArgs {
    /// The options as Play takes them: exactly those that were given.
    pub(crate) fn options(&self) -> Options {
        let mut options = self.stream_options();
        for (key, flag) in [("loop", self.looped), ("beside", self.beside)] {
            options.extend(flag.then(|| (key.into(), Value::from(true))));
        }
        options.extend(self.start_us.map(|us| ("start-us".into(), Value::from(us))));
        options.extend(self.duck_db.map(|db| ("duck-db".into(), Value::from(db))));
        options
    }

    /// Those of them that a stream takes, too.
    pub(crate) fn stream_options(&self) -> Options {
        let mut options = Options::new();
        for (key, word) in [
            ("text", &self.text),
            ("mode", &self.mode),
            ("priority", &self.priority),
            ("tag", &self.tag),
        ] {
            options.extend(word.as_ref().map(|word| (key.into(), Value::from(word.clone()))));
        }
        for (key, ms) in [("expires-ms", self.expires_ms), ("protect-ms", self.protect_ms)] {
            options.extend(ms.map(|n| (key.into(), Value::from(n))));
        }
        options.extend(self.gain_db.map(|db| ("gain-db".into(), Value::from(db))));
        options.extend(self.turn.map(|turn| ("turn".into(), Value::from(turn))));
        options.extend(self.option.iter().cloned());
        options
    }
}

impl SayArgs {
    /// The options as Say takes them: exactly those that were given.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new();
        let words = [
            ("voice", &self.voice),
            ("backend", &self.backend),
            ("language", &self.language),
            ("format", &self.format),
            ("mode", &self.mode),
            ("priority", &self.priority),
            ("progress", &self.progress),
            ("tag", &self.tag),
        ];
        for (key, word) in words {
            if let Some(word) = word {
                options.insert(key.into(), Value::from(word.clone()));
            }
        }
        for (key, number) in [("rate", self.rate), ("pitch", self.pitch), ("gain-db", self.gain_db)] {
            options.extend(number.map(|n| (key.into(), Value::from(n))));
        }
        for (key, ms) in [("expires-ms", self.expires_ms), ("protect-ms", self.protect_ms)] {
            options.extend(ms.map(|n| (key.into(), Value::from(n))));
        }
        options.extend(self.turn.map(|turn| ("turn".into(), Value::from(turn))));
        options.extend(self.interruptible.map(|b| ("interruptible".into(), Value::from(b))));
        options.extend(self.greeting.then(|| ("greeting".into(), Value::from(true))));
        options.extend(self.option.iter().cloned());
        options
    }
}

fn key_value(text: &str) -> Result<(String, Value<'static>), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), crate::json::to_value(value).map_err(|why| format!("{key}: {why}"))?)),
        _ => Err("expected KEY=VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(line: &[&str]) -> (Cli, Options) {
        let cli = Cli::try_parse_from(["utterctl", "say"].iter().chain(line)).unwrap();
        let Command::Say(args) = &cli.command else { panic!("not say") };
        let options = args.options();
        (cli, options)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command_for_tests().debug_assert();
    }

    impl Cli {
        fn command_for_tests() -> clap::Command {
            <Cli as clap::CommandFactory>::command()
        }
    }

    #[test]
    fn only_options_that_were_given_are_sent() {
        assert!(say(&["hello"]).1.is_empty());
    }

    #[test]
    fn options_have_the_types_of_the_contract() {
        let (_, options) = say(&[
            "hi",
            "--rate",
            "2",
            "--gain-db",
            "-6",
            "--turn",
            "7",
            "--expires-ms",
            "50",
            "--greeting",
            "--tag",
            "t",
        ]);
        let signatures: Vec<String> = options.iter().map(|(k, v)| format!("{k} {}", v.value_signature())).collect();
        assert_eq!(signatures, ["expires-ms u", "gain-db d", "greeting b", "rate d", "tag s", "turn t"]);
    }

    #[test]
    fn an_option_of_any_name_is_passed_on_typed() {
        let (_, options) = say(&["hi", "-o", "seed=7", "-o", "cache=no", "-o", "x=true", "-o", "y=1.5"]);
        assert_eq!(options["seed"], Value::from(7_i64));
        assert_eq!(options["cache"], Value::from("no"));
        assert_eq!(options["x"], Value::from(true));
        assert_eq!(options["y"], Value::from(1.5));
    }

    #[test]
    fn options_may_stand_after_the_text() {
        let (cli, options) = say(&["hello", "world", "--voice", "en", "--no-wait", "--json"]);
        let Command::Say(args) = &cli.command else { panic!("not say") };
        assert!(cli.json && args.no_wait);
        assert_eq!(args.text, ["hello", "world"]);
        assert_eq!(options["voice"], Value::from("en"));
    }

    #[test]
    fn wrong_use_exits_with_2() {
        for line in [
            &["utterctl"][..],
            &["utterctl", "say"],
            &["utterctl", "say", "x", "-o", "novalue"],
            &["utterctl", "volume", "loud"],
        ] {
            assert_eq!(Cli::try_parse_from(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }

    #[test]
    fn two_buses_at_once_are_refused() {
        assert!(Cli::try_parse_from(["utterctl", "--system", "--user", "status"]).is_err());
        assert!(Cli::try_parse_from(["utterctl", "status", "--system", "--bus-address", "unix:path=/x"]).is_err());
    }

    #[test]
    fn a_flag_names_the_bus() {
        let choice = |line: &[&str]| Cli::try_parse_from(line).unwrap().choice();
        assert_eq!(choice(&["utterctl", "status", "--system"]), Choice::System);
        assert_eq!(choice(&["utterctl", "--session-bus", "status"]), Choice::Session);
        assert_eq!(
            choice(&["utterctl", "--bus-address", "unix:path=/x", "status"]),
            Choice::Address("unix:path=/x".into())
        );
    }

    #[test]
    fn a_negative_volume_is_a_step_down_and_not_a_flag() {
        for level in ["-10%", "-6dB", "50%", "+5%"] {
            assert!(Cli::try_parse_from(["utterctl", "volume", level]).is_ok(), "{level}");
        }
    }
}
