//! `monitor`: every signal of the daemon as one line, with the seconds since the start, until Ctrl-C.
//!
//! It knows no signal by name, so what a later daemon sends is shown too. It survives the daemon: leaving and coming back are lines.

use std::{
    sync::mpsc::channel,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value as Json, json};
use zbus::{Message, zvariant::Structure};

use crate::{
    bus::{self, Bus, ROOT, session_path},
    json,
    show::{Exit, Out, clean},
    trouble::Trouble,
};

pub(crate) fn run(bus: &Bus, session: Option<&str>, out: &Out) -> Result<Exit, Trouble> {
    let start = Instant::now();
    let (sender, inbox) = channel();
    let path = session.map_or_else(|| ROOT.to_owned(), session_path);
    for messages in [bus.signals(&path)?, bus.owner_changes()?] {
        let sender = sender.clone();
        bus::forward(messages, move |message| sender.send(message).is_ok());
    }
    drop(sender); // So that the loop ends when the bus goes away.
    out.notice(&format!("watching utterd on the {}; Ctrl-C ends", bus.label));
    for message in inbox {
        let Some(seen) = Seen::of(&message) else {
            continue;
        };
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        out.json(&json!({"time": unix, "session": bus::session_id(&seen.path), "path": seen.path, "interface": seen.interface, "signal": seen.signal, "args": seen.args}));
        let seconds = out.dim(&format!("{:10.3}", start.elapsed().as_secs_f64()));
        out.line(&format!("{seconds}  {}  {} {}", seen.place(), out.bold(&seen.signal), seen.words()));
    }
    Err(Trouble::new("the connection to the bus was lost"))
}

struct Seen {
    path: String,
    interface: String,
    signal: String,
    args: Vec<Json>,
}

impl Seen {
    fn of(message: &Message) -> Option<Seen> {
        let header = message.header();
        let body = message.body();
        let args = if body.is_empty() {
            Vec::new()
        } else {
            body.deserialize::<Structure<'_>>()
                .ok()?
                .fields()
                .iter()
                .map(json::from_value)
                .collect()
        };
        let signal = header.member()?.to_string();
        if signal == "NameOwnerChanged" {
            let came = args.get(2).and_then(Json::as_str).is_some_and(|owner| !owner.is_empty());
            let signal = if came { "DaemonCame" } else { "DaemonLeft" };
            return Some(Seen {
                path: ROOT.into(),
                interface: "org.freedesktop.DBus".into(),
                signal: signal.into(),
                args: Vec::new(),
            });
        }
        Some(Seen {
            path: header.path()?.to_string(),
            interface: header.interface()?.to_string(),
            signal,
            args,
        })
    }

    /// Which session, or which other object; of the root nothing needs saying.
    fn place(&self) -> String {
        match bus::session_id(&self.path) {
            Some(id) => clean(&id),
            None if self.path == ROOT => "-".into(),
            None => clean(self.path.strip_prefix(ROOT).unwrap_or(&self.path)),
        }
    }

    fn words(&self) -> String {
        clean(
            &self
                .args
                .iter()
                .map(words)
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join(" "),
        )
    }
}

/// Plain words where JSON would only add quotes; an empty list or map says nothing.
fn words(value: &Json) -> String {
    match value {
        Json::String(s) if s.is_empty() || s.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            format!("{s:?}")
        }
        Json::String(s) => s.clone(),
        Json::Object(map) => map
            .iter()
            .map(|(key, value)| format!("{key}={}", words(value)))
            .collect::<Vec<_>>()
            .join(" "),
        Json::Array(items) if items.is_empty() => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Options, SESSION};
    use zbus::zvariant::Value;

    #[test]
    fn a_signal_becomes_one_line_of_words() {
        let details = Options::from([("text".into(), Value::from("Hello\nyou")), ("at-us".into(), Value::from(5_u64))]);
        let path = session_path("a-b");
        let message = Message::signal(path, SESSION, "UtteranceProgress")
            .unwrap()
            .build(&(7_u64, "word", 0_u32, 5_u32, 0_u64, details))
            .unwrap();
        let seen = Seen::of(&message).unwrap();
        assert_eq!((seen.place(), seen.signal.as_str()), ("a-b".into(), "UtteranceProgress"));
        assert_eq!(seen.words(), "7 word 0 5 0 at-us=5 text=\"Hello\\nyou\"");
    }

    #[test]
    fn a_signal_without_arguments_is_shown() {
        let message = Message::signal(ROOT, "org.utterd.Utterd1.Later", "SomethingNew")
            .unwrap()
            .build(&())
            .unwrap();
        let seen = Seen::of(&message).unwrap();
        assert_eq!((seen.place().as_str(), seen.words().as_str()), ("-", ""));
    }

    #[test]
    fn the_daemon_leaving_is_a_line() {
        let message = Message::signal("/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged")
            .unwrap()
            .build(&(bus::NAME, ":1.5", ""))
            .unwrap();
        assert_eq!(Seen::of(&message).unwrap().signal, "DaemonLeft");
    }
}
