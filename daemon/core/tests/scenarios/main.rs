//! The rules of SEMANTICS as sentences, each in a calm world of its own.
#![allow(clippy::unwrap_used)]

#[path = "../world/mod.rs"]
mod world;

mod bargein;
mod cancel;
mod fallback;
mod floor;
mod microphone;
mod owner;
mod pause;
mod phase;
mod play;
mod sessions;
mod streams;
mod survivors;
mod turns;
mod utterance;
mod written;

use utterd_core::{
    Bounds, Caller, CancelOptions, DeviceEvent, DeviceOp, DriverInfo, Effect, ErrorKind, Failure, HeardSource, Input, Mode, Outcome,
    Output, PlaybackEvent, Priority, Progress, Reply, Request, SayOptions, SessionOptions, Signal, SynthesisEvent, SynthesisState, Token,
    Told, Transition, UtteranceId,
};
use world::backend::{CHAR_US, Fate};
use world::{MS, S, World, target};

/// Two and a half seconds.
const LONG: &str = "one two three four five six seven eight nine ten";

/// With sessions "a" and "b".
fn world() -> World {
    let mut w = World::new();
    w.open("a");
    w.open("b");
    w
}

fn turn(n: u64) -> SayOptions {
    SayOptions {
        turn: Some(n),
        ..SayOptions::default()
    }
}

fn by(backend: &str) -> SayOptions {
    SayOptions {
        backend: Some(backend.into()),
        ..SayOptions::default()
    }
}

fn mode(mode: Mode) -> SayOptions {
    SayOptions {
        mode: Some(mode),
        ..SayOptions::default()
    }
}

fn all() -> CancelOptions {
    CancelOptions::default()
}

fn one(id: UtteranceId) -> CancelOptions {
    CancelOptions {
        utterance: Some(id.get()),
        ..all()
    }
}

fn barge_in() -> CancelOptions {
    CancelOptions {
        reason: Some("barge-in".into()),
        ..all()
    }
}

fn error(w: &World, token: Token) -> ErrorKind {
    w.reply(token).unwrap_err().kind
}

fn configure(w: &mut World, session: &str, bounds: Bounds) -> Result<Reply, Failure> {
    let options = SessionOptions {
        bounds,
        ..SessionOptions::default()
    };
    let target = target(session);
    let token = w.ask(1, Request::Configure { target, options });
    w.reply(token)
}

fn count(w: &World, is: impl Fn(&Effect) -> bool) -> usize {
    w.log.iter().filter(|(_, e)| is(e)).count()
}

fn class(priority: Priority) -> SayOptions {
    SayOptions {
        priority: Some(priority),
        ..SayOptions::default()
    }
}

fn important() -> SayOptions {
    class(Priority::Important)
}

fn outcomes<const N: usize>(w: &World, of: [UtteranceId; N]) -> [&'static str; N] {
    of.map(|u| w.outcome(u))
}
