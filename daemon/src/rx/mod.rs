//! What comes in: the microphone's sound, and what was played beside it, brought to readers, recordings and detectors.
//!
//! ```text
//! renderer ═tap═> pump ═sink═> streams ──> readers (pipes), recorders ──> disk
//!   (callback)    (FIFO)  ═sink═> one thread a detector ──> findings, cleaned sound
//! ```
//!
//! Invariants: nothing here can hold up the callback: a ring that is full loses whole blocks, and every later stage puts silence of the same
//! length in their place, so position stays time. No stage waits for a slower one behind it. While nobody listens the taps are off.
//! Nobody hears a microphone but the session that it is open for.
//! Not here: who may listen, and when (core); opening microphones (driver, on the guard's order).

mod ears;
mod file;
mod flac;
mod group;
mod lanes;
mod line;
mod listener;
mod mail;
mod pump;
mod reader;
mod recorder;
mod shelf;
mod streams;
mod wav;

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crossbeam::channel::unbounded;
use utterd_core::hearing::Finding;
use utterd_core::{AudioFormat, Direction, Failure, RecordingEvent, RecordingId, SessionId, Token};
use utterd_rt::TapRx;

use lanes::Lanes;
pub use listener::Listen;
use listener::{Context, Running, Start};
use mail::Mail;
use pump::Pump;
pub use shelf::Shelf;
use streams::{Command, Streams};

use crate::clock::now_us;
use crate::plugins::Detector;
use crate::tx::{Output, Tx};

/// Between two looks whether a detector hangs.
const LOOK_US: u64 = 500_000;

/// A client wants a stream.
#[derive(Debug)]
pub struct Acquire {
    pub token: Token,
    pub session: u64,
    pub output: Output,
    pub direction: Direction,
    pub format: AudioFormat,
}

/// A recording is to be made.
#[derive(Debug)]
pub struct Record {
    pub recording: RecordingId,
    pub session: u64,
    pub output: Output,
    pub file: String,
}

/// What the session side must know. `[worker]`
#[derive(Debug)]
pub enum RxEvent {
    /// A client's stream, and the time of its first sample.
    Joined {
        token: Token,
        stream: OwnedFd,
        rate: u32,
        format: AudioFormat,
        start_us: u64,
    },
    /// There is none for it.
    Refused {
        token: Token,
        failure: Failure,
    },
    /// Readers of this session lost so much; `first`: so many of them for the first time.
    Behind {
        session: String,
        lost_us: u64,
        first: usize,
    },
    Recording {
        recording: RecordingId,
        event: RecordingEvent,
    },
    /// A detector heard something.
    Finding {
        session: SessionId,
        generation: u64,
        finding: Finding,
    },
    /// It could not be opened, or is given up.
    DetectorFailed {
        session: SessionId,
        generation: u64,
        detector: String,
        message: String,
    },
}

type Events = dyn Fn(RxEvent) + Send + Sync;

/// The handle; cheap to clone. No method waits. `[any]`
#[derive(Clone)]
pub struct Rx {
    pump: Pump,
    commands: Mail<Command>,
    lanes: Lanes,
    events: Arc<Events>,
    detectors: Arc<Vec<Arc<Detector>>>,
    /// Of the local output and of "null".
    rates: Arc<[AtomicU32; 2]>,
    heard: Arc<Mutex<Heard>>,
}

/// What is heard for whom, by session.
#[derive(Default)]
struct Heard {
    running: HashMap<u64, Running>,
    contexts: HashMap<u64, Arc<Context>>,
    names: HashMap<u64, String>,
    look_us: Option<u64>,
}

impl Rx {
    pub fn start(tx: Tx, shelf: Shelf, detectors: Vec<Arc<Detector>>, events: impl Fn(RxEvent) + Send + Sync + 'static) -> io::Result<Rx> {
        let events: Arc<Events> = Arc::new(events);
        file::quiet_file_limit();
        let pump = Pump::start()?;
        let (commands, inbox) = unbounded();
        let (lanes, taps) = Lanes::new(tx);
        let streams = Streams::new(inbox, pump.clone(), (lanes.clone(), taps), Arc::clone(&events), shelf);
        let thread = thread::Builder::new()
            .name("utterd-streams".into())
            .spawn(move || crate::or_end("the thread of the audio streams", || streams.run()))?;
        Ok(Rx {
            pump,
            commands: Mail::new(commands, thread.thread().clone()),
            lanes,
            events,
            detectors: Arc::new(detectors),
            rates: Arc::new([AtomicU32::new(48_000), AtomicU32::new(48_000)]),
            heard: Arc::default(),
        })
    }

    /// A fresh engine drives this output.
    pub fn engine(&self, output: Output, tap: Option<TapRx>, rate: u32) {
        self.rate(output).store(rate, Relaxed);
        self.send(Command::Engine { output, rate });
        if let Some(tap) = tap {
            self.pump.engine(output, tap);
        }
    }

    pub fn session_opened(&self, session: u64, name: String, output: Output) {
        self.heard().names.insert(session, name.clone());
        self.send(Command::SessionOpened { session, name, output });
    }

    /// Its streams end. A recording has had its own end before.
    pub fn session_closed(&self, name: String) {
        let mut heard = self.heard();
        let gone: Vec<u64> = heard.names.iter().filter(|(_, n)| **n == name).map(|(id, _)| *id).collect();
        for id in gone {
            heard.names.remove(&id);
            heard.contexts.remove(&id);
            heard.running.remove(&id);
        }
        drop(heard);
        self.send(Command::SessionClosed { name });
    }

    /// What the session plays on, before anything is played there.
    pub fn track(&self, track: u64, session: u64) {
        self.lanes.open(track, session);
    }

    pub fn track_closed(&self, track: u64) {
        if let Some(session) = self.lanes.close(track) {
            self.send(Command::TrackClosed { session });
        }
    }

    /// The microphone of this output was opened for the session of this name, or closed.
    pub fn capture(&self, name: String, output: Output, is_open: bool) {
        self.send(Command::Capture { name, output, is_open });
    }

    /// Whether the session's readers get what its microphone brings.
    pub fn readers(&self, session: u64, delivers: bool) {
        self.send(Command::Readers { session, delivers });
    }

    /// What detectors and readers of a session must know.
    pub fn context(&self, session: u64, speaking: bool, protected: bool, is_muted: bool) {
        self.heard().contexts.entry(session).or_default().set(speaking, protected, is_muted);
        self.send(Command::Muted { session, is_muted });
    }

    /// Lets a detector hear what the session's microphone brings, in place of the one that may run. Answered by `Finding`s, and
    /// `DetectorFailed` if it cannot.
    pub fn listen(&self, listen: Listen) {
        let session = listen.session.get();
        let mut heard = self.heard();
        heard.running.remove(&session);
        let failed = |message: String| {
            let (hears, clean) = (false, None);
            self.send(Command::Ear { session, hears, clean });
            (self.events)(listen.failed(message));
        };
        let Some(detector) = self.detectors.iter().find(|d| d.id() == listen.detector) else {
            return failed("no such detector is loaded".into());
        };
        let line_rate = self.rate(listen.output).load(Relaxed);
        let (clean, end) = utterd_rt::tap(line_rate.max(16_384) as usize);
        let start = Start {
            detector: Arc::clone(detector),
            context: Arc::clone(heard.contexts.entry(session).or_default()),
            line_rate,
            clean: detector.cleans().then_some(clean),
            events: Arc::clone(&self.events),
            listen: listen.clone(),
        };
        match start.start(&self.pump) {
            Ok(running) => {
                tracing::debug!(
                    session,
                    detector = listen.detector,
                    generation = listen.generation,
                    "a detector listens"
                );
                heard.running.insert(session, running);
                heard.look_us.get_or_insert(now_us() + LOOK_US);
                let (hears, clean) = (true, detector.cleans().then_some(end));
                self.send(Command::Ear { session, hears, clean });
            }
            Err(error) => failed(format!("no thread for the detector: {error}")),
        }
    }

    /// No longer.
    pub fn deafen(&self, session: u64) {
        self.heard().running.remove(&session);
        let (hears, clean) = (false, None);
        self.send(Command::Ear { session, hears, clean });
    }

    /// When to look whether detectors still answer, while any hear.
    pub fn next_look(&self) -> Option<u64> {
        self.heard().look_us
    }

    /// Lets go of detectors that do not come back from a call; `DetectorFailed` tells of each.
    pub fn look(&self, now_us: u64) {
        let mut heard = self.heard();
        if heard.look_us.is_none_or(|at| now_us < at) {
            return;
        }
        let hung: Vec<Running> = heard.running.extract_if(|_, r| r.hangs(now_us)).map(|(_, r)| r).collect();
        heard.look_us = (!heard.running.is_empty()).then_some(now_us + LOOK_US);
        drop(heard);
        for running in hung {
            (self.events)(running.listen.failed("it hangs: a call has not come back".into()));
        }
    }

    /// Answered by `Joined` or `Refused`.
    pub fn acquire(&self, acquire: Acquire) {
        self.send(Command::Acquire(acquire));
    }

    /// Answered by `Recording` events.
    pub fn record(&self, record: Record) {
        self.send(Command::Record(record));
    }

    pub fn begin_recording(&self, recording: RecordingId) {
        self.send(Command::Begin(recording));
    }

    pub fn stop_recording(&self, recording: RecordingId, reason: &'static str) {
        self.send(Command::StopRecording(recording, reason));
    }

    /// Ends the threads; recordings are closed by theirs.
    pub fn stop(&self) {
        self.heard().running.clear();
        self.send(Command::Stop);
        self.pump.stop();
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rate(&self, output: Output) -> &AtomicU32 {
        &self.rates[usize::from(output == Output::Null)]
    }

    fn send(&self, command: Command) {
        if !self.commands.send(command) {
            tracing::debug!("the audio streams have stopped");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tx::TxConfig;
    use std::time::Duration;

    #[test]
    fn a_detector_that_does_not_come_back_is_told_of_once_and_let_go_and_one_that_was_merely_halted_is_kept() {
        let (events, told) = unbounded();
        let tx = Tx::start(TxConfig::default(), |_| ()).unwrap();
        let shelf = Shelf::new("/nowhere".into(), 0o600, 0, Duration::ZERO);
        let rx = Rx::start(tx.clone(), shelf, Vec::new(), move |event| events.send(event).unwrap_or_default()).unwrap();
        for session in 1..=3 {
            let listen = Listen {
                session: SessionId::new(session).unwrap(),
                output: Output::Local,
                generation: 10 + session,
                detector: "d".into(),
                language: String::new(),
                one_stage: false,
            };
            // The first hangs, the second comes back, the third is in no call.
            let due_us = if session == 3 { 0 } else { 1_000_000 };
            rx.heard().running.insert(session, Running::in_call(listen, due_us));
        }
        rx.heard().look_us = Some(500_000);
        for at in [500_000, 1_000_000, 1_500_000] {
            rx.look(at);
            assert!(told.is_empty(), "at {at}");
        }
        rx.heard().running[&2].call_again(3_000_000);
        for at in 2..10 {
            assert!(rx.next_look().is_some_and(|look| look <= at * 1_000_000));
            rx.look(at * 1_000_000);
            rx.heard().running[&2].call_again((at + 1) * 1_000_000);
        }
        let told: Vec<_> = told.try_iter().collect();
        assert!(matches!(&told[..], [RxEvent::DetectorFailed { generation: 11, .. }]), "{told:?}");
        assert_eq!(rx.heard().running.len(), 2);
        rx.deafen(2);
        rx.deafen(3);
        rx.look(20_000_000);
        assert_eq!(rx.next_look(), None, "nobody hears");
        rx.stop();
        tx.shutdown();
    }
}
