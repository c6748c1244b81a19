//! `say` and `wait`: speak a text that is known, show the words as they are heard, and exit with what became of it.
//!
//! Three things arrive side by side while it speaks: signals, the answer of Wait, and Ctrl-C. Each has a thread that puts it into one
//! channel, and one loop reads them. Invariants: signals are subscribed before Say, since a library may hand out a signal before
//! the reply that names its id; the end is Wait's answer alone, because on the system bus an ordinary user gets no signals.

use std::{
    io::Read,
    sync::mpsc::{Receiver, Sender, channel},
};

use serde_json::json;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use zbus::{
    Message,
    zvariant::{OwnedObjectPath, Value},
};

use crate::{
    bus::{self, Bus, Dict, MANAGER, Options, Patience, ROOT, SESSION},
    cli::{Cli, SayArgs},
    json, report,
    show::{Exit, Out, Progress},
    trouble::Trouble,
};

/// How long the session of `say --no-wait` outlives its last word.
pub(crate) const IDLE_TIMEOUT_MS: u32 = 60_000;

enum Event {
    Signal(Message),
    Interrupt,
    Ended(Result<(String, Dict), Trouble>),
}

/// The words of the command line, or standard input for a lone "-".
pub(crate) fn text_of(words: &[String]) -> Result<String, Trouble> {
    let text = match words {
        [dash] if dash == "-" => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .map_err(|why| Trouble::new(format!("cannot read standard input: {why}")))?;
            String::from_utf8(bytes).map_err(|why| not_utf8(why.utf8_error().valid_up_to()))?
        }
        words => words.join(" "),
    };
    without_nul(text)
}

pub(crate) fn not_utf8(from: usize) -> Trouble {
    Trouble::new(format!("standard input is not UTF-8 from byte {from} on; iconv converts it"))
}

pub(crate) fn without_nul(text: String) -> Result<String, Trouble> {
    if text.contains('\0') {
        return Err(Trouble::new(
            "the text contains a NUL byte, which D-Bus cannot carry; `tr -d '\\0'` removes it",
        ));
    }
    Ok(text)
}

pub(crate) fn run(cli: &Cli, args: &SayArgs, text: String, out: &Out) -> Result<Exit, Trouble> {
    if args.no_wait {
        let bus = Bus::open(&cli.choice(), Patience::Short, out)?;
        return leave_it(&bus, args, &text, out);
    }
    let (events, inbox) = channel();
    interrupts(events.clone(), || Event::Interrupt)?;
    let bus = Bus::open(&cli.choice(), Patience::Endless, out)?;
    speak(&bus, args, &text, (events, inbox), out)
}

/// Accepted is enough: the caller is a hook and goes on with its work.
fn leave_it(bus: &Bus, args: &SayArgs, text: &str, out: &Out) -> Result<Exit, Trouble> {
    let (id, path) = match &args.at.session {
        Some(id) => open(bus, id, session_options(args))?,
        None => {
            let mut options = session_options(args);
            options.insert("idle-timeout-ms".into(), Value::from(IDLE_TIMEOUT_MS));
            match open(bus, &shell_session(), options) {
                // A daemon that cannot close idle sessions yet: one session for all shells rather than one left behind by each.
                Err(trouble)
                    if (trouble.is("NotSupported") || trouble.is("InvalidArgs")) && trouble.message.contains("idle-timeout-ms") =>
                {
                    open(bus, "default", session_options(args))?
                }
                opened => opened?,
            }
        }
    };
    out.detail(&format!("in session {id}"));
    let utterance: u64 = bus.call(&path, SESSION, "Say", &(text, args.options()))?;
    if utterance == 0 {
        return Ok(not_accepted(&id, out));
    }
    out.line(&utterance.to_string());
    out.json(&json!({"session": id, "utterance": utterance}));
    Ok(Exit::Completed)
}

fn speak(bus: &Bus, args: &SayArgs, text: &str, (events, inbox): (Sender<Event>, Receiver<Event>), out: &Out) -> Result<Exit, Trouble> {
    let (id, path) = session_of_this_call(bus, args, out)?;
    let mut options = args.options();
    if !out.is_quiet() {
        // Not asked for by the user, so not worth an error from a daemon that knows no words.
        options.entry("progress".into()).or_insert(Value::from("word"));
        let events = events.clone();
        bus::forward(bus.signals(&path)?, move |message| events.send(Event::Signal(message)).is_ok());
    }
    let utterance: u64 = bus.call(&path, SESSION, "Say", &(text, options))?;
    if utterance == 0 {
        return Ok(not_accepted(&id, out));
    }
    let waiter = bus.clone();
    let wait_path = path.clone();
    std::thread::spawn(move || {
        let ended = waiter.call(&wait_path, SESSION, "Wait", &(utterance, Options::new()));
        events.send(Event::Ended(ended)).is_ok() // Nobody listens only when utterctl has ended.
    });
    let (outcome, details) = follow(bus, &path, utterance, text, &inbox, out)?;
    out.json(&json!({"session": id, "utterance": utterance, "outcome": outcome, "report": json::from_dict(&details)}));
    told(&outcome, &details, out);
    Ok(Exit::of_outcome(&outcome))
}

/// The one that was named, or one that ends with this call.
pub(crate) fn session_of_this_call(bus: &Bus, args: &SayArgs, out: &Out) -> Result<(String, String), Trouble> {
    let mut options = session_options(args);
    let opened = match &args.at.session {
        Some(id) => open(bus, id, options)?,
        None => {
            options.insert("lifetime".into(), Value::from("client"));
            open(bus, &own_session(), options)?
        }
    };
    out.detail(&format!("in session {}", opened.0));
    Ok(opened)
}

/// Shows the words until Wait has answered.
fn follow(bus: &Bus, path: &str, utterance: u64, text: &str, inbox: &Receiver<Event>, out: &Out) -> Result<(String, Dict), Trouble> {
    let mut progress = Progress::new(text, out);
    let show = |written: String| {
        if !out.is_quiet() && !written.is_empty() {
            out.text(&written);
        }
    };
    for event in inbox {
        match event {
            Event::Signal(message) => show(heard_until(&message, utterance).map(|to| progress.advance(to)).unwrap_or_default()),
            Event::Interrupt => {
                let options = Options::from([("utterance".into(), Value::from(utterance))]);
                let _: Dict = bus.call(path, SESSION, "Cancel", &(options,))?;
            }
            Event::Ended(Ok((outcome, details))) => {
                let heard = if outcome == "completed" {
                    text
                } else {
                    bus::text(&details, "heard-text")
                };
                show(progress.finish(heard));
                return Ok((outcome, details));
            }
            Event::Ended(Err(trouble)) => {
                show(progress.finish(""));
                return Err(trouble);
            }
        }
    }
    Err(Trouble::new("the wait for the end was lost")) // Every sender gone: its thread panicked.
}

/// A word counts as heard once it began; of a sentence that begins only what stands before it does.
pub(crate) fn heard_until(message: &Message, utterance: u64) -> Option<usize> {
    if message.header().member()?.as_str() != "UtteranceProgress" {
        return None;
    }
    let (of, kind, start, end, _played_us, _details): (u64, String, u32, u32, u64, Dict) = message.body().deserialize().ok()?;
    match (of == utterance, kind.as_str()) {
        (true, "word") => usize::try_from(end).ok(),
        (true, "sentence") => usize::try_from(start).ok(),
        _ => None,
    }
}

/// What is not on the line of words: why it did not end well.
pub(crate) fn told(outcome: &str, details: &Dict, out: &Out) {
    let reason = bus::text(details, "reason");
    match outcome {
        "completed" => {}
        "failed" => out.trouble(&Trouble::new(format!("failed: {}", bus::text(details, "message")))),
        "cancelled" if !reason.is_empty() => out.warning(&format!("cancelled ({reason})")),
        other => out.warning(other),
    }
}

pub(crate) fn not_accepted(session: &str, out: &Out) -> Exit {
    out.json(&json!({"session": session, "utterance": 0}));
    out.warning("not spoken: the turn is over, or mode if-idle met a session that is not idle");
    Exit::Cancelled
}

/// The first Ctrl-C is an event; the second ends utterctl whatever it waits for, and its session with it.
pub(crate) fn interrupts<E: Send + 'static>(events: Sender<E>, event: fn() -> E) -> Result<(), Trouble> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|why| Trouble::new(format!("cannot watch for Ctrl-C: {why}")))?;
    std::thread::spawn(move || {
        for (count, _) in signals.forever().enumerate() {
            if count > 0 || events.send(event()).is_err() {
                std::process::exit(Exit::Cancelled as i32);
            }
        }
    });
    Ok(())
}

fn session_options(args: &SayArgs) -> Options {
    args.session_option.iter().cloned().collect()
}

pub(crate) fn open(bus: &Bus, id: &str, options: Options) -> Result<(String, String), Trouble> {
    let path: OwnedObjectPath = bus.call(ROOT, MANAGER, "OpenSession", &(id, options))?;
    Ok((id.to_owned(), path.to_string()))
}

/// Nobody else's: the process id alone comes back, and is shared by containers on one bus.
pub(crate) fn own_session() -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    format!("utterctl-{}-{now:x}", std::process::id())
}

/// The same for all hooks of one user in one terminal or agent: their `progress` messages replace each other, and nobody else's.
pub(crate) fn shell_session() -> String {
    let uid = rustix::process::getuid().as_raw();
    format!(
        "shell-{uid}-{}",
        process_session(&std::fs::read_to_string("/proc/self/stat").unwrap_or_default())
    )
}

/// Field 6 of proc(5)'s stat, after a command name that may hold anything. It is 0 in a container whose session began outside it,
/// which `getsid` of rustix takes for impossible.
fn process_session(stat: &str) -> u32 {
    stat.rsplit(')')
        .next()
        .and_then(|fields| fields.split_whitespace().nth(3)?.parse().ok())
        .unwrap_or(0)
}

pub(crate) fn wait(bus: &Bus, utterance: Option<u64>, timeout: Option<f64>, session: Option<&str>, out: &Out) -> Result<Exit, Trouble> {
    let mut options = Options::new();
    if let Some(seconds) = timeout {
        options.insert("timeout-ms".into(), Value::from((seconds.max(0.0) * 1000.0) as u32));
    }
    let ask = |id: &str| bus.call::<_, (String, Dict)>(ROOT, MANAGER, "Wait", &(id, utterance.unwrap_or(0), &options));
    let (outcome, details) = match (session, utterance) {
        (Some(id), _) => ask(id)?,
        (None, Some(utterance)) => bus.in_whichever_session(utterance, ask)?,
        (None, None) => match ask(&shell_session()) {
            Err(trouble) if trouble.is("NoSuchSession") || trouble.is("SessionClosed") => ask("default")?,
            answered => answered?,
        },
    };
    out.json(&json!({"outcome": outcome, "report": json::from_dict(&details)}));
    match outcome.as_str() {
        "nothing" => out.line("nothing to wait for"),
        "pending" => out.warning("not finished yet; the speech goes on"),
        outcome => report::lines(outcome, &details).iter().for_each(|line| out.line(line)),
    }
    Ok(Exit::of_outcome(&outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(kind: &str, utterance: u64) -> Message {
        Message::signal("/org/utterd/Utterd1/session/a", SESSION, "UtteranceProgress")
            .unwrap()
            .build(&(utterance, kind, 6_u32, 11_u32, 300_000_u64, Options::new()))
            .unwrap()
    }

    #[test]
    fn words_are_joined_and_a_nul_is_refused() {
        assert_eq!(text_of(&["two".into(), "words".into()]).unwrap(), "two words");
        assert_eq!(text_of(&["-".into(), "x".into()]).unwrap(), "- x");
        assert!(text_of(&["a\0b".into()]).unwrap_err().message.contains("NUL"));
    }

    #[test]
    fn a_word_is_heard_when_it_begins_and_a_sentence_when_the_next_one_does() {
        assert_eq!(heard_until(&progress("word", 7), 7), Some(11));
        assert_eq!(heard_until(&progress("sentence", 7), 7), Some(6));
        assert_eq!(heard_until(&progress("a later kind", 7), 7), None);
    }

    #[test]
    fn words_of_another_utterance_are_not_ours() {
        assert_eq!(heard_until(&progress("word", 8), 7), None);
    }

    #[test]
    fn the_process_session_is_read_whatever_the_command_is_called() {
        assert_eq!(process_session("7 (a) S 1 2) S 1 7 42 0 -1 0"), 42);
        assert_eq!(process_session("7 (sh) S 0 0 0 0 -1 0"), 0);
        assert_eq!(process_session(""), 0);
    }

    #[test]
    fn session_ids_are_what_the_contract_allows() {
        for id in [own_session(), shell_session()] {
            assert!(
                (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b)),
                "{id}"
            );
        }
        assert_ne!(own_session(), own_session());
    }
}
