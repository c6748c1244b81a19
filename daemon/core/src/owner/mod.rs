//! The audio owner: the one guard through which every transition of audio goes (O1; SEMANTICS, "The audio owner and the device").
//!
//! A guard has at most one transition in flight. It gives the device one order and answers when the device has answered, or after two
//! seconds. Whoever asks for the same meanwhile joins it; whoever asks for something else stands in line. What is decided when a
//! transition begins is all it needs: a session that closes takes its requests with it.
//!
//! Invariants: no device order without a session; at most one order that is waited for; capture has been started once more than stopped
//! exactly while somebody listens; the generation is the number of applied transitions; one recovery for each closing of the microphone.
//!
//! The loudspeaker and its microphone have one guard; a session that is heard nowhere has one of its own and never owns anything.
//! What a barge-in policy does with the microphone stands in `ears`; what it hears, elsewhere. Drawing: `owner.dot`.
//!
//! Rooms: `decide` takes a request to its answer or its turn in line, `device` gives orders and takes what came of them, `publish` tells.

mod decide;
mod device;
mod ears;
mod publish;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::Core;
use crate::effect::OwnerProperties;
use crate::ids::{Counter, Micros, OrderId, SessionId, Token};
use crate::options::Output;
use crate::request::Transition;

/// A device that has not answered by then has failed.
const PATIENCE_US: Micros = 2_000_000;
/// Playback has stopped when nothing was accepted for so long after the last sample.
const PLAYBACK_ENDS_US: Micros = 2_000_000;
/// Requests that wait for a guard, joiners included; one more is refused.
const LINE: usize = 1024;

/// Which guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GuardKey {
    Local,
    /// A session of output "null".
    Null(SessionId),
}

/// All guards, and what was last told of the local one.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    guards: BTreeMap<GuardKey, Guard>,
    orders: Counter<OrderId>,
    /// What a session has done with its guard; gone with the session.
    past: BTreeMap<SessionId, Past>,
    /// Local sessions that are heard.
    pub(crate) speaking: BTreeSet<SessionId>,
    /// Sessions that would have the microphone open for barge-in.
    wishes: BTreeSet<SessionId>,
    published: OwnerProperties,
    /// The local guard's counters as last told.
    counted: BTreeMap<&'static str, u64>,
    /// The transition that was applied last in this step.
    because: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Guard {
    listening: Option<Listening>,
    running: Option<Running>,
    line: VecDeque<Asked>,
    generation: u64,
    counters: BTreeMap<&'static str, u64>,
    /// The newest capture whose closing the device has reported: later reports of it are the same closing.
    last_lost: Option<OrderId>,
}

/// The capture that is open, or was until the device closed it.
#[derive(Debug)]
struct Listening {
    session: SessionId,
    turn: u64,
    /// The order that opened the capture, and its generation.
    capture: OrderId,
    generation: u64,
    /// The device has closed it.
    is_lost: bool,
    /// This closing has had its recovery.
    is_recovered: bool,
    hold: Hold,
    /// Something was accepted for the turn it is kept for.
    is_answered: bool,
    /// Since when nothing is accepted.
    quiet_since: Option<Micros>,
}

/// Why it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// The EnterListening in force.
    Entered,
    /// That has left, and its answer may be interrupted. Readers hear nothing.
    Kept,
    /// Nobody has entered: a policy opened it.
    Opened,
}

impl Hold {
    /// As ListeningChanged tells it: what is heard reaches readers.
    fn is_told(self) -> bool {
        self != Self::Kept
    }
}

/// The transition in flight.
#[derive(Debug)]
struct Running {
    asked: Asked,
    turn: u64,
    order: OrderId,
    /// Who listened until this transition took over.
    displaced: Option<SessionId>,
}

/// A request, with everybody who waits for its answer; nobody, when the guard itself asks.
#[derive(Debug)]
struct Asked {
    transition: Transition,
    purpose: Purpose,
    session: SessionId,
    turn: u64,
    tokens: Vec<Token>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Client,
    /// The guard itself: what was lost came back.
    Return,
    /// The guard itself: a microphone for barge-in.
    BargeIn,
}

#[derive(Debug, Default)]
struct Past {
    /// The microphone could not be opened for the answer that is on its way.
    is_deaf: bool,
    /// The last turn whose listening has ended.
    listened: u64,
    /// Another session took over, and this one has not entered since.
    taken_over: bool,
    /// The last turn of which a sample was heard.
    played: u64,
    is_playing: bool,
    /// Since when nothing is accepted.
    quiet_since: Option<Micros>,
}

/// What becomes of a request when its turn in line comes.
enum Verdict {
    Answer(&'static str),
    /// Applied without the device.
    Renew(u64),
    /// Applied without the device: the capture stays for the answer.
    Keep,
    Run(u64),
}

impl Guard {
    fn count(&mut self, counter: &'static str) {
        *self.counters.entry(counter).or_default() += 1;
    }

    /// The EnterListening in force.
    fn entered(&self) -> Option<&Listening> {
        self.listening.as_ref().filter(|l| l.hold == Hold::Entered)
    }

    fn waiting(&self) -> usize {
        let running = self.running.iter().map(|r| &r.asked);
        running.chain(&self.line).map(|a| a.tokens.len().max(1)).sum()
    }
}

/// Every counter, so that what never happened reads 0.
pub const OWNER_COUNTERS: [&str; 12] = [
    "applied",
    "joined",
    "already",
    "stale",
    "refused",
    "recoveries",
    "capture-starts",
    "capture-stops",
    "playback-starts",
    "playback-stops",
    "route-asserts",
    "device-losses",
];

impl Core {
    fn set_turn(&mut self, session: SessionId, turn: u64) {
        if let Some(s) = self.sessions.get_mut(&session) {
            s.turn = s.turn.max(turn);
            self.dirty.insert(session);
        }
    }

    fn name_of(&self, session: SessionId) -> String {
        self.sessions.get(&session).map(|s| s.id.clone()).unwrap_or_default()
    }

    fn guard_of(&self, session: SessionId) -> GuardKey {
        match self.sessions.get(&session).map(|s| s.output) {
            Some(Output::Null) => GuardKey::Null(session),
            _ => GuardKey::Local,
        }
    }

    fn guard(&mut self, key: GuardKey) -> &mut Guard {
        self.owners.guards.entry(key).or_default()
    }

    fn past(&mut self, session: SessionId) -> &mut Past {
        self.owners.past.entry(session).or_default()
    }
}
