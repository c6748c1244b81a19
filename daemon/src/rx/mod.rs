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

mod disk;
mod ears;
mod group;
mod line;
mod pump;
mod reader;
mod recorder;
mod streams;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use crossbeam::channel::{Sender, unbounded};
use utterd_core::{AudioFormat, Direction, Failure, RecordingEvent, RecordingId, Token};
use utterd_rt::TapRx;

pub use disk::Shelf;
use pump::Pump;
use streams::{Command, Port, Streams};

use crate::tx::resample::Pool;
use crate::tx::{Output, Tx};

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
}

type Events = dyn Fn(RxEvent) + Send + Sync;

/// The handle; cheap to clone. No method waits. `[any]`
#[derive(Clone)]
pub struct Rx {
    pump: Pump,
    commands: Sender<Command>,
}

impl Rx {
    pub fn start(tx: Tx, shelf: Shelf, events: impl Fn(RxEvent) + Send + Sync + 'static) -> io::Result<Rx> {
        let pump = Pump::start()?;
        let (commands, inbox) = unbounded();
        let (lane_taps, lanes) = unbounded();
        let streams = Streams {
            commands: inbox,
            pump: pump.clone(),
            tx,
            events: Arc::new(events),
            shelf,
            lanes,
            lane_taps,
            sessions: BTreeMap::new(),
            open: None,
            tracks: HashMap::new(),
            local: Port::default(),
            null: Port::default(),
            pool: Pool::default(),
        };
        thread::Builder::new()
            .name("utterd-streams".into())
            .spawn(move || crate::or_end("the thread of the audio streams", || streams.run()))?;
        Ok(Rx { pump, commands })
    }

    /// A fresh engine drives this output.
    pub fn engine(&self, output: Output, tap: Option<TapRx>, rate: u32) {
        self.send(Command::Engine { output, rate });
        if let Some(tap) = tap {
            self.pump.engine(output, tap);
        }
    }

    pub fn session_opened(&self, session: u64, name: String, output: Output) {
        self.send(Command::SessionOpened { session, name, output });
    }

    /// Its streams end. A recording has had its own end before.
    pub fn session_closed(&self, name: String) {
        self.send(Command::SessionClosed { name });
    }

    /// What the session plays on.
    pub fn track(&self, track: u64, session: u64) {
        self.send(Command::Track { track, session });
    }

    /// The microphone of this output was opened for the session of this name, or closed.
    pub fn capture(&self, name: String, output: Output, is_open: bool) {
        self.send(Command::Capture { name, output, is_open });
    }

    /// Whether the session's readers get what its microphone brings.
    pub fn readers(&self, session: u64, delivers: bool) {
        self.send(Command::Readers { session, delivers });
    }

    pub fn muted(&self, session: u64, is_muted: bool) {
        self.send(Command::Muted { session, is_muted });
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
        self.send(Command::Stop);
        self.pump.stop();
    }

    fn send(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::debug!("the audio streams have stopped");
        }
    }
}
