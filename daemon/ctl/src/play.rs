//! `play`: a sound file is heard, and utterctl exits with what became of it.
//!
//! A file below the daemon's sound folders goes by Play: the daemon reads it itself, and can loop it, begin in it, and play it beside the speech.
//! Any other file the daemon may not read; then utterctl decodes it as its own user and writes the samples into a stream (AcquireAudio "inject"),
//! which is heard by the same rules. Which of the two it is the daemon says: NotPermitted is the invitation to the second.
//! Invariant: a file that is broken is an error, whichever way it went, and what stands before that place is heard.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use serde_json::json;
use utterd_sound::{Decoder, SoundError};
use zbus::zvariant::{OwnedFd, Value};

use crate::bus::{self, Bus, Dict, Options, Patience, SESSION};
use crate::cli::{Cli, PlayArgs};
use crate::json;
use crate::say;
use crate::show::{Exit, Out};
use crate::trouble::Trouble;

enum Event {
    Interrupt,
    /// The file is written, or was broken.
    Written(Result<(), Trouble>),
    Ended(Result<(String, Dict), Trouble>),
}

pub(crate) fn run(cli: &Cli, args: &PlayArgs, out: &Out) -> Result<Exit, Trouble> {
    let (events, inbox) = channel();
    if !args.no_wait {
        say::interrupts(events.clone(), || Event::Interrupt)?;
    }
    let patience = if args.no_wait { Patience::Short } else { Patience::Endless };
    let file = whole_path(&args.file)?;
    let bus = Bus::open(&cli.choice(), patience, out)?;
    let (id, path) = session(&bus, args)?;
    out.detail(&format!("in session {id}"));
    let played = bus.call(&path, SESSION, "Play", &(utterd_sound::uri_of(&file), args.options()));
    let mut writes = false;
    let utterance: u64 = match played {
        Err(refused) if refused.is("NotPermitted") && refused.message.contains("sounds.dirs") => {
            if args.no_wait || args.beside {
                let option = if args.no_wait { "--no-wait" } else { "--beside" };
                let message = format!("{option} needs a file that the daemon reads itself: {}", refused.message);
                return Err(Trouble { message, ..refused });
            }
            out.detail("the daemon may not read it: sent as a stream");
            let decoder = open(&file, args)?;
            let mut options = args.stream_options();
            options.insert("rate".into(), Value::from(decoder.rate()));
            options.insert("encoding".into(), Value::from("f32le"));
            let (stream, actual): (OwnedFd, Dict) = bus.call(&path, SESSION, "AcquireAudio", &("inject", options))?;
            let (stream, events, looped) = (File::from(std::os::fd::OwnedFd::from(stream)), events.clone(), args.looped);
            writes = true;
            std::thread::spawn(move || events.send(Event::Written(write(decoder, stream, looped))).is_ok());
            bus::number(&actual, "utterance")
        }
        played => played?,
    };
    if utterance == 0 {
        return Ok(say::not_accepted(&id, out));
    }
    if args.no_wait {
        out.line(&utterance.to_string());
        out.json(&json!({"session": id, "utterance": utterance}));
        return Ok(Exit::Completed);
    }
    let (waiter, wait_path) = (bus.clone(), path.clone());
    std::thread::spawn(move || {
        let ended = waiter.call(&wait_path, SESSION, "Wait", &(utterance, Options::new()));
        events.send(Event::Ended(ended)).is_ok() // Nobody listens only when utterctl has ended.
    });
    let (mut written, mut ended) = (if writes { None } else { Some(Ok(())) }, None);
    for event in inbox {
        match event {
            Event::Interrupt => {
                let options = Options::from([("utterance".into(), Value::from(utterance))]);
                let _: Dict = bus.call(&path, SESSION, "Cancel", &(options,))?;
            }
            Event::Written(result) => written = Some(result),
            Event::Ended(result) => ended = Some(result?),
        }
        if let (Some(_), Some(_)) = (&written, &ended) {
            break;
        }
    }
    let Some((outcome, details)) = ended else {
        return Err(Trouble::new("the wait for the end was lost")); // Every sender gone: its thread panicked.
    };
    out.json(&json!({"session": id, "utterance": utterance, "outcome": outcome, "report": json::from_dict(&details)}));
    say::told(&outcome, &details, out);
    if let Some(Err(broken)) = written {
        out.trouble(&broken);
        return Ok(Exit::of_outcome("failed"));
    }
    Ok(Exit::of_outcome(&outcome))
}

fn session(bus: &Bus, args: &PlayArgs) -> Result<(String, String), Trouble> {
    let mut options: Options = args.session_option.iter().cloned().collect();
    match &args.at.session {
        Some(id) => say::open(bus, id, options),
        None if args.no_wait => {
            options.insert("idle-timeout-ms".into(), Value::from(say::IDLE_TIMEOUT_MS));
            say::open(bus, &say::shell_session(), options)
        }
        None => {
            options.insert("lifetime".into(), Value::from("client"));
            say::open(bus, &say::own_session(), options)
        }
    }
}

/// As the daemon, which has another working directory, can name it; without "..", which it does not follow.
fn whole_path(file: &Path) -> Result<PathBuf, Trouble> {
    let wrong = |why: std::io::Error| Trouble::new(format!("{}: {why}", file.display()));
    if file.components().any(|c| c == std::path::Component::ParentDir) {
        return file.canonicalize().map_err(wrong);
    }
    std::path::absolute(file).map_err(wrong)
}

fn open(file: &Path, args: &PlayArgs) -> Result<Decoder, Trouble> {
    let open = || {
        let mut decoder = Decoder::open(utterd_sound::open_file(file)?, file)?;
        if let Some(start_us) = args.start_us {
            decoder.seek_us(start_us)?;
        }
        Ok(decoder)
    };
    open().map_err(|error: SoundError| Trouble::new(error.to_string()))
}

/// Who reads no more has been cancelled, and says so himself.
fn write(mut decoder: Decoder, mut stream: File, looped: bool) -> Result<(), Trouble> {
    let broken = |error: SoundError| Trouble::new(error.to_string());
    loop {
        let mut heard = false;
        while let Some(samples) = decoder.next().map_err(broken)? {
            heard = true;
            let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
            match stream.write_all(&bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(Trouble::new(format!("the stream to the daemon: {error}"))),
            }
        }
        if !looped || !heard {
            return Ok(());
        }
        decoder.rewind().map_err(broken)?;
    }
}
