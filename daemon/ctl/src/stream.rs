//! `say -`: standard input is spoken while it is still being written, so a language model's words or a log's lines are heard as they come.
//!
//! What is read goes to the daemon piece by piece (SayOpen, SayAppend, SayEnd). The session is opened with the first word: who writes
//! nothing holds nothing. A stream that the daemon ended because nothing came for a while, or because it is full, is followed by another
//! one, which is heard behind it. Invariant: the first stream that does not end well ends all of it.
//!
//! Bounds: input is read no faster than the daemon takes it, in parts that fit into the smallest stream an operator may allow.

use std::{
    collections::VecDeque,
    io::Read,
    sync::mpsc::{Sender, channel},
};

use serde_json::json;
use zbus::{Message, zvariant::Value};

use crate::{
    bus::{self, Bus, Dict, Options, Patience, SESSION},
    cli::{Cli, SayArgs},
    json,
    say::{self, heard_until, told},
    show::{Exit, Out, Progress},
    trouble::Trouble,
};

/// Bytes read at once; `limits.text-bytes` is at least 1,024.
const PART: usize = 1000;

enum Event {
    Text(String),
    InputEnded(Result<(), Trouble>),
    Signal(Message),
    Interrupt,
    Ended(u64, Result<(String, Dict), Trouble>),
}

pub(crate) fn run(cli: &Cli, args: &SayArgs, out: &Out) -> Result<Exit, Trouble> {
    let (events, inbox) = channel();
    say::interrupts(events.clone(), || Event::Interrupt)?;
    let bus = Bus::open(&cli.choice(), Patience::Endless, out)?;
    read_input(events.clone());
    let mut speech = Speech {
        bus: &bus,
        args,
        out,
        events,
        session: None,
        streams: VecDeque::new(),
        growing: false,
        seq: 0,
        pending: String::new(),
        input_over: false,
        last: None,
        progress: Progress::new("", out),
    };
    for event in inbox {
        if let Some(exit) = speech.take(event)? {
            return Ok(exit);
        }
    }
    Err(Trouble::new("the wait for the end was lost")) // Every sender gone: its thread panicked.
}

/// One of this run's streams that has not finished.
struct Stream {
    utterance: u64,
    /// Where its text begins in what was read.
    base: usize,
}

struct Speech<'a> {
    bus: &'a Bus,
    args: &'a SayArgs,
    out: &'a Out,
    events: Sender<Event>,
    /// Its id and its object.
    session: Option<(String, String)>,
    /// In the order in which they are heard.
    streams: VecDeque<Stream>,
    /// The last one takes more text.
    growing: bool,
    /// Its last append.
    seq: u64,
    /// Read and not appended yet: blanks before a first word.
    pending: String,
    input_over: bool,
    /// The newest that was heard to its end while there might be more.
    last: Option<(u64, Dict)>,
    progress: Progress,
}

impl Speech<'_> {
    /// `Some`: that is how it ends.
    fn take(&mut self, event: Event) -> Result<Option<Exit>, Trouble> {
        match event {
            Event::Text(text) => {
                self.progress.push(&text);
                self.pending.push_str(&text);
                return self.append();
            }
            Event::InputEnded(Ok(())) => {
                self.input_over = true;
                if self.session.is_none() {
                    return Err(Trouble::new("standard input is empty: there is nothing to speak"));
                }
                if self.growing {
                    self.end_stream()?;
                } else if let (true, Some((utterance, details))) = (self.streams.is_empty(), self.last.take()) {
                    return self.finish(utterance, "completed", &details, self.progress.len()).map(Some);
                }
            }
            Event::InputEnded(Err(trouble)) => {
                self.cancel_all();
                return Err(trouble);
            }
            Event::Signal(message) => {
                let heard = self.streams.iter().find_map(|s| Some(s.base + heard_until(&message, s.utterance)?));
                let written = heard.map(|to| self.progress.advance(to)).unwrap_or_default();
                self.show(&written);
            }
            Event::Interrupt if self.streams.is_empty() => return Ok(Some(Exit::Cancelled)),
            Event::Interrupt => self.cancel_all(),
            Event::Ended(utterance, ended) => return self.ended(utterance, ended),
        }
        Ok(None)
    }

    /// What was read goes to the stream that grows, or to a new one.
    fn append(&mut self) -> Result<Option<Exit>, Trouble> {
        if !self.growing && self.pending.trim().is_empty() {
            return Ok(None);
        }
        let text = std::mem::take(&mut self.pending);
        loop {
            if !self.growing && !self.open_stream(&text)? {
                let (id, _) = self.session()?;
                return Ok(Some(say::not_accepted(&id, self.out)));
            }
            let (_, path) = self.session()?;
            let Some(utterance) = self.streams.back().map(|s| s.utterance) else {
                return Ok(None);
            };
            match self
                .bus
                .call::<_, String>(&path, SESSION, "SayAppend", &(utterance, self.seq + 1, text.as_str()))
            {
                Ok(ack) if ack == "stale" => self.growing = false,
                // Taken, or cancelled by somebody, which is told when it has ended.
                Ok(_) => {
                    self.seq += 1;
                    return Ok(None);
                }
                Err(full) if full.is("LimitExceeded") && self.seq > 0 => self.end_stream()?,
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// False: the daemon does not take it (a stale turn, mode if-idle).
    fn open_stream(&mut self, text: &str) -> Result<bool, Trouble> {
        let (_, path) = self.session()?;
        let mut options = self.args.options();
        if !self.out.is_quiet() {
            options.entry("progress".into()).or_insert(Value::from("word"));
        }
        if self.seq > 0 {
            // It follows what this run said before, whatever that was told to replace.
            options.remove("mode");
        }
        let utterance: u64 = self.bus.call(&path, SESSION, "SayOpen", &(options,))?;
        if utterance == 0 {
            return Ok(false);
        }
        let base = self.progress.len() - text.chars().count();
        self.streams.push_back(Stream { utterance, base });
        (self.growing, self.seq) = (true, 0);
        let (waiter, events) = (self.bus.clone(), self.events.clone());
        std::thread::spawn(move || {
            let ended = waiter.call(&path, SESSION, "Wait", &(utterance, Options::new()));
            events.send(Event::Ended(utterance, ended)).is_ok() // Nobody listens only when utterctl has ended.
        });
        Ok(true)
    }

    fn end_stream(&mut self) -> Result<(), Trouble> {
        self.growing = false;
        let (_, path) = self.session()?;
        match self.streams.back() {
            Some(last) => self.bus.call(&path, SESSION, "SayEnd", &(last.utterance,)),
            None => Ok(()),
        }
    }

    fn ended(&mut self, utterance: u64, ended: Result<(String, Dict), Trouble>) -> Result<Option<Exit>, Trouble> {
        let Some(at) = self.streams.iter().position(|s| s.utterance == utterance) else {
            return Ok(None);
        };
        let newest = at + 1 == self.streams.len();
        let Some(stream) = self.streams.remove(at) else {
            return Ok(None);
        };
        self.growing &= !newest;
        let (outcome, details) = ended.inspect_err(|_| self.show_end(""))?;
        let well = outcome == "completed";
        if well && !(self.input_over && self.streams.is_empty()) {
            self.last = Some((utterance, details));
            return Ok(None);
        }
        self.cancel_all();
        let heard = match well {
            true => self.progress.len(),
            false => stream.base + bus::text(&details, "heard-text").chars().count(),
        };
        self.finish(utterance, &outcome, &details, heard).map(Some)
    }

    /// The end of it all: `heard` code points of what was read.
    fn finish(&mut self, utterance: u64, outcome: &str, details: &Dict, heard: usize) -> Result<Exit, Trouble> {
        let heard = self.progress.text(0..heard);
        self.show_end(&heard);
        let (session, _) = self.session()?;
        self.out
            .json(&json!({"session": session, "utterance": utterance, "outcome": outcome, "report": json::from_dict(details)}));
        told(outcome, details, self.out);
        Ok(Exit::of_outcome(outcome))
    }

    /// Everything of this run, and nothing else.
    fn cancel_all(&mut self) {
        let Some((_, path)) = &self.session else { return };
        for stream in &self.streams {
            let options = Options::from([("utterance".into(), Value::from(stream.utterance))]);
            if let Err(trouble) = self.bus.call::<_, Dict>(path, SESSION, "Cancel", &(options,)) {
                self.out.detail(&trouble.message);
            }
        }
    }

    fn session(&mut self) -> Result<(String, String), Trouble> {
        if let Some(session) = &self.session {
            return Ok(session.clone());
        }
        let session = say::session_of_this_call(self.bus, self.args, self.out)?;
        if !self.out.is_quiet() {
            let events = self.events.clone();
            let signals = self.bus.signals(&session.1)?;
            bus::forward(signals, move |message| events.send(Event::Signal(message)).is_ok());
        }
        self.session = Some(session.clone());
        Ok(session)
    }

    fn show(&self, written: &str) {
        if !self.out.is_quiet() && !written.is_empty() {
            self.out.text(written);
        }
    }

    fn show_end(&mut self, heard: &str) {
        let written = self.progress.finish(heard);
        self.show(&written);
    }
}

/// On a thread of its own: a writer that pauses holds up neither the speech nor Ctrl-C.
fn read_input(events: Sender<Event>) {
    std::thread::spawn(move || {
        let (mut input, mut buffer) = (std::io::stdin().lock(), [0; PART]);
        let mut decoder = Decoder::default();
        let ended = loop {
            let text = match input.read(&mut buffer) {
                Ok(0) => break decoder.end(),
                Ok(n) => decoder.take(&buffer[..n]),
                Err(why) if why.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(why) => break Err(Trouble::new(format!("cannot read standard input: {why}"))),
            };
            match text.map(|text| events.send(Event::Text(text))) {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return, // Nobody listens only when utterctl has ended.
                Err(trouble) => break Err(trouble),
            }
        };
        events.send(Event::InputEnded(ended)).unwrap_or(()); // Nobody listens only when utterctl has ended.
    });
}

/// Bytes to text: a character may be torn between two reads.
#[derive(Default)]
struct Decoder {
    torn: Vec<u8>,
    /// Bytes before `torn`.
    at: usize,
}

impl Decoder {
    fn take(&mut self, bytes: &[u8]) -> Result<String, Trouble> {
        self.torn.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.torn) {
            Ok(text) => text.len(),
            Err(why) if why.error_len().is_none() => why.valid_up_to(),
            Err(why) => return Err(say::not_utf8(self.at + why.valid_up_to())),
        };
        let rest = self.torn.split_off(whole);
        let text = String::from_utf8(std::mem::replace(&mut self.torn, rest)).map_err(|_| say::not_utf8(self.at))?;
        self.at += whole;
        say::without_nul(text)
    }

    fn end(&self) -> Result<(), Trouble> {
        if self.torn.is_empty() {
            Ok(())
        } else {
            Err(say::not_utf8(self.at))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_is_torn_between_two_reads_is_whole() {
        let mut decoder = Decoder::default();
        let bytes = "Grüße, 日本".as_bytes();
        let text: String = bytes.chunks(1).map(|b| decoder.take(b).unwrap()).collect();
        assert_eq!(text, "Grüße, 日本");
        assert!(decoder.end().is_ok());
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place() {
        let mut decoder = Decoder::default();
        decoder.take(b"four").unwrap();
        assert!(decoder.take(b"x\xff").unwrap_err().message.contains("byte 5"));
        let mut decoder = Decoder::default();
        decoder.take(b"ab\xc3").unwrap();
        assert!(decoder.end().unwrap_err().message.contains("byte 2"));
        assert!(Decoder::default().take(b"a\0b").unwrap_err().message.contains("NUL"));
    }
}
