//! The driver: who calls the renderer, and what happens when it stops calling.
//!
//! ```text
//! Driver ── supervisor thread ──┬─ keeper thread, one per JACK client: every libjack call that may block (jack/)
//!           (decides, tells)    └─ render thread: JACK's, or the timer's (timer.rs) ── RenderSeat::cycle (seat.rs)
//! ```
//!
//! Invariants:
//! - The supervisor never waits for an audio server: blocking calls belong to keepers, and a keeper whose server hangs is left behind.
//! - Events come from the supervisor thread alone, in order; after `Engine` a fresh renderer runs; the old one, if any, may still be in its last period.
//! - A dead server is `Lost` within 500 ms; a wedged one is a `Stall`, and `Lost` only when it is given up. No lane is touched by either.
//! - `jack/` is the only room that opens, activates, connects or closes audio, and the only one that names the `jack` crate.
//!
//! Not here: lanes and what they play (the feeder owns them and rebuilds them on `Engine`), and who may have the device (the core decides).

#![allow(rustdoc::broken_intra_doc_links, reason = "thread tags look like links")]

mod capture;
mod jack;
pub mod sched;
mod seat;
mod supervisor;
mod timer;
mod watch;

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Which driver to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverKind {
    /// JACK if a server answers at start, else the timer, for good.
    Auto,
    /// JACK, however long it takes until a server comes.
    Jack,
    /// The null sink on a monotonic clock.
    Timer,
}

/// What the driver is to do, checked by the configuration.
#[derive(Debug, Clone)]
pub struct DriverConfig {
    pub kind: DriverKind,
    pub client_name: String,
    /// Ports (`client:port`), or clients whose input ports are meant, for `out_1` and on, in order. Empty: the physical playback ports.
    pub connect: Vec<String>,
    /// Playback ports, all with the same mix.
    pub ports: u32,
    pub timer_rate: u32,
    pub timer_period: u32,
}

/// Whose order it is: whatever comes of it says so, and no log line about the device is without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Of {
    /// Never used twice.
    pub order: u64,
    pub session: Arc<str>,
    pub generation: u64,
}

/// What the audio-owner guard orders of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceOp {
    /// Open `in_1` and on in place of what is open, connected to the physical capture ports. With the timer: a source of nothing.
    OpenCapture,
    /// Close what this order opened.
    CloseCapture { capture: u64 },
    /// Make the playback connections that are missing; what others have connected beside them stays.
    AssertRoutes,
}

/// What became of an order. `Lost` and `Back` are told of the order that opened the capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceAnswer {
    Opened,
    Closed,
    /// So many connections were made.
    Asserted {
        repaired: u32,
    },
    Failed {
        reason: String,
    },
    /// The ports it was connected to are gone, or the server is.
    Lost,
    /// There is something to capture from again.
    Back,
}

/// What the session side must know. Told from the supervisor thread only.
#[derive(Debug)]
pub enum DriverEvent {
    /// A fresh renderer runs and is empty; `control` makes lanes on it.
    Engine {
        control: utterd_rt::Control,
        driver: &'static str,
        rate: u32,
        period: u32,
        latency_frames: u32,
    },
    /// Nothing calls the renderer any more. The driver keeps trying to reopen; `Engine` follows when it could.
    /// Also told, once, if no server is there to begin with.
    Lost { reason: String },
    /// The server changed its period.
    Period { frames: u32 },
    /// The playback latency of our ports changed.
    Latency { frames: u32 },
    /// The server missed so many deadlines since this was last told.
    Xrun { count: u64 },
    /// The answer to an order, or news of what it opened.
    Device { of: Of, answer: DeviceAnswer },
    /// Nobody called for longer than 300 ms though the server lives: the whole gap, once, when it ended or when the server was given up.
    Stall { gap_us: u64 },
}

/// What an output or input may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortInfo {
    pub name: String,
    /// `"playback"` or `"capture"`.
    pub direction: &'static str,
    pub channels: u32,
    /// Where sound goes, or comes from, when nothing is named.
    pub default: bool,
}

/// The driver could not even be started.
#[derive(Debug)]
pub enum DriverError {
    /// The system gave no thread.
    Thread(std::io::Error),
}

impl std::fmt::Display for DriverError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DriverError::Thread(_) => f.write_str("no thread for the audio driver"),
        }
    }
}

impl std::error::Error for DriverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DriverError::Thread(error) => Some(error),
        }
    }
}

/// The ports as a keeper saw them last.
type PortList = Arc<Mutex<Vec<PortInfo>>>;

/// The running driver. `[any]`
#[derive(Debug)]
pub struct Driver {
    notices: Sender<supervisor::Notice>,
    ports: PortList,
    supervisor: Option<JoinHandle<()>>,
}

impl Driver {
    /// Starts the supervisor and returns; what came of it is told by events. `[control]`
    pub fn start(cfg: DriverConfig, events: impl Fn(DriverEvent) + Send + Sync + 'static) -> Result<Driver, DriverError> {
        sched::quieten_render_panics();
        sched::lock_memory();
        let (notices, inbox) = channel();
        let ports = PortList::default();
        let supervisor = supervisor::Supervisor::new(cfg, events, notices.clone(), ports.clone());
        let thread = thread::Builder::new()
            .name("utterd-driver".into())
            .spawn(move || crate::or_end("the driver's supervisor", || supervisor.run(&inbox)))
            .map_err(DriverError::Thread)?;
        Ok(Driver {
            notices,
            ports,
            supervisor: Some(thread),
        })
    }

    /// The ports of the audio server as last seen; none with the timer or while the server is away. Never blocks on it. `[any]`
    pub fn ports(&self) -> Vec<PortInfo> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hands in an order and returns; the answer is an event. Orders are carried out one after the other. `[any]`
    pub fn order(&self, of: Of, op: DeviceOp) {
        if self.notices.send(supervisor::Notice::Order { of, op }).is_err() {
            tracing::debug!("the audio driver has stopped");
        }
    }

    /// Closes the audio connection, waiting no longer than a second for a server that hangs. `[control]`
    pub fn stop(self) {}
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.notices.send(supervisor::Notice::Stop).is_ok()
            && let Some(thread) = self.supervisor.take()
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the audio driver's supervisor had panicked");
        }
    }
}
