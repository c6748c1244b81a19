//! Hear it for yourself, on a desktop with sound: the agent reads a text aloud through your loudspeaker, and you talk over it.
//!
//! `make try`, or `try [FILE]` to have a text of your own read. It uses the JACK server that runs (PipeWire is one, through `pw-jack`), starts a daemon
//! of its own on a bus of its own, and says each time what happened: after how many milliseconds you were heard (from your onset, as the detector
//! estimates it), how long after that the loudspeaker got its last sample (an ear beside the daemon measures it), and what you had heard by then.
//! What you cut short it begins again at its sentence once you are silent. It ends with the text or Ctrl-C; what is missing it names.
#![allow(clippy::unwrap_used)] // What cannot go on says so by panicking; what a user can mend is said in words.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use utterd_tests::bus::Bus;
use utterd_tests::client::{Client, Event, Session};
use utterd_tests::clock::{PATIENCE, let_pass, until};
use utterd_tests::daemon::{Daemon, Plan};
use utterd_tests::ear::Ear;
use utterd_tests::jack::{Jack, Missing};
use utterd_tests::opts;

const TEXT: &str = "This is a daemon that speaks and listens. Please talk over it, whenever you like: it will fall silent. \
    It tells you how quickly it heard you, and which words had left the loudspeaker by then. \
    Coughing, typing or setting down a cup should not disturb it, nor should its own voice from the loudspeaker. \
    If you only hum, it may hold its breath for a moment and then go on where it was, to the sample. \
    Say something longer, and it gives up what it was going to say, waits until you have finished, and begins that sentence again. \
    Try a quiet voice, and a loud one. Try to interrupt it in the middle of a long word such as incomprehensibility. \
    Move away from the microphone, or turn the loudspeaker up, until it no longer understands who is speaking. \
    And if you say nothing at all, it will simply read this text to its end, which has now come.";

/// Set for the copy of this program that runs inside `pw-jack`.
const INSIDE: &str = "UTTERD_TRY_INSIDE_PW_JACK";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let text = match std::env::args().nth(1) {
        Some(file) => std::fs::read_to_string(&file).map_err(|e| format!("{file}: {e}"))?,
        None => TEXT.to_owned(),
    };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    enter_pipewire()?;
    let jack = Jack::of_user().map_err(how_to_get)?;
    println!(
        "{} Hz, {} frames a period. Headphones or a loudspeaker, either will do. Talk over it; Ctrl-C ends it.\n",
        jack.rate(),
        jack.period()
    );
    let bus = Bus::start();
    let plan = Plan {
        plugins: ["utterd-tts-espeak-ng", "utterd-detector-bargein"].map(str::to_owned).into(),
        ..Plan::default()
    };
    let daemon = Daemon::start(&bus, Some(&jack), &plan);
    let client = daemon.client();
    client.wait_manager_text("DriverState", "running");
    Reading::start(&client, Ear::start(&jack)).read(&text)
}

/// Goes on inside `pw-jack` where PipeWire runs, so that its JACK library is loaded here and in all children.
fn enter_pipewire() -> Result<(), String> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runs = runtime.is_some_and(|dir| dir.join("pipewire-0").exists());
    if !runs || std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    if !in_path("pw-jack") {
        return Err("PipeWire runs, but pw-jack is missing: sudo apt install pipewire-jack".into());
    }
    let this = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    let mut again = Command::new("pw-jack");
    again.arg(this).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    if std::env::var_os("PIPEWIRE_LATENCY").is_none() {
        again.env("PIPEWIRE_LATENCY", "256/48000"); // Its own default may be 21 ms.
    }
    Err(format!("cannot run pw-jack: {}", again.exec()))
}

fn how_to_get(missing: Missing) -> String {
    let how = match missing {
        Missing::Loudspeaker => {
            "the JACK server has no loudspeaker (no physical playback port): plug one in, or enable it in the sound settings"
        }
        Missing::Microphone => {
            "the JACK server has no microphone (no physical capture port): plug one in, or enable it in the sound settings"
        }
        Missing::Server if in_path("pipewire") => {
            "no JACK server answers. PipeWire is installed but does not run in this session: systemctl --user start pipewire wireplumber"
        }
        Missing::Server => {
            "no JACK server answers. On a PipeWire desktop: sudo apt install pipewire-jack. Without PipeWire: sudo apt install jackd2, then jackd -d alsa &"
        }
    };
    how.to_owned()
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir: PathBuf| Path::new(&dir).join(program).exists())
}

struct Reading {
    session: Session,
    ear: Ear,
    seen: usize,
}

impl Reading {
    fn start(client: &Client, ear: Ear) -> Reading {
        ear.wait_connected();
        let options = opts! { "backend" => "tts-espeak-ng", "barge-in" => "pause-then-confirm" };
        let session = client.open("try", options).unwrap_or_else(|e| panic!("OpenSession: {e}"));
        Reading { session, ear, seen: 0 }
    }

    fn read(mut self, text: &str) -> Result<(), String> {
        let mut at = 0;
        while at < text.len() {
            println!(
                "reading: {}…",
                text[at..].split_inclusive(['.', '!', '?']).next().unwrap_or_default().trim()
            );
            let id = self.session.say(text[at..].trim_start(), opts! {});
            let began = text.len() - text[at..].trim_start().len();
            let finished = self.follow(id)?;
            match finished.text(1) {
                "completed" => break,
                "cancelled" => {
                    let heard = began + finished.dict(2).text("heard-text").len();
                    at = sentence_of(text, heard);
                    self.until_silent();
                }
                other => return Err(format!("the speech ended as {other}: {:?}", finished.dict(2))),
            }
        }
        println!("\nThat was the text.");
        Ok(())
    }

    /// Tells what is heard until this utterance has finished.
    fn follow(&mut self, id: u64) -> Result<Event, String> {
        let mut paused = None;
        loop {
            let Some(event) = self.next(Duration::from_secs(60)) else {
                continue;
            };
            match event.member.as_str() {
                "ListeningChanged" if event.args[0] == zbus::zvariant::Value::Bool(false) && event.text(1) == "device-lost" => {
                    return Err("the microphone is gone".into());
                }
                "BargeIn" if event.text(0) == "suspected" => {
                    let heard_ms = event.dict(1).number("latency-us") / 1_000;
                    let silent_ms = self.silent_after(event.at_us);
                    paused = Some((heard_ms, silent_ms));
                }
                "BargeIn" if event.text(0) == "false" => println!("  something was heard, but no speech: it goes on"),
                "UtteranceFinished" if event.is("UtteranceFinished", id) => {
                    if let ("cancelled", Some((heard_ms, silent_ms))) = (event.text(1), paused) {
                        let report = event.dict(2);
                        let words: Vec<&str> = report.text("heard-text").split(' ').collect();
                        let last = words[words.len().saturating_sub(8)..].join(" ");
                        println!("  heard after {heard_ms} ms, silent {silent_ms} ms later, you had heard \"… {last}\"");
                    }
                    return Ok(event);
                }
                _ => {}
            }
        }
    }

    /// From this moment to the last sample that the loudspeaker got, in milliseconds.
    fn silent_after(&self, us: u64) -> u64 {
        let silence = until(Duration::from_millis(500), || {
            let heard = self.ear.snapshot();
            let from = heard.at_us(us);
            // Exact silence for 20 ms: espeak-ng is never that quiet within a word.
            let silent = heard.samples[from..].windows(heard.rate as usize / 50);
            let at = silent.into_iter().position(|w| w.iter().all(|s| *s == 0.0));
            at.map(|n| heard.us_at(from + n))
        });
        silence.map_or(0, |silent| silent.saturating_sub(us) / 1_000)
    }

    fn until_silent(&mut self) {
        let spoken = until(PATIENCE, || self.next(Duration::ZERO).filter(|e| e.member == "SpeechStopped"));
        if spoken.is_some() {
            let_pass(Duration::from_millis(400));
        }
    }

    /// The session's next signal.
    fn next(&mut self, patience: Duration) -> Option<Event> {
        let event = until(patience, || self.session.events().into_iter().nth(self.seen));
        self.seen += usize::from(event.is_some());
        event
    }
}

/// Where the sentence begins that this place lies in.
fn sentence_of(text: &str, place: usize) -> usize {
    text[..place].rfind(['.', '!', '?']).map_or(0, |end| end + 1)
}
