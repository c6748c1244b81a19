//! JACK: the one place that opens, activates, connects and closes audio, and the only room that names the `jack` crate.
//!
//! ```text
//! mod.rs        the keeper: a thread for each client, and the supervisor's hold on it
//! kept.rs       the client it keeps: opening, connections, latency, ports
//! mic.rs        the microphone, on the guard's order
//! callbacks.rs  what libjack calls
//! ```
//!
//! Each client has a *keeper*, a thread that makes every libjack call which may block: opening, connecting and closing all wait for the server,
//! and a stopped server (SIGSTOP) keeps them waiting until it goes on or dies, under a lock of the crate that is global. So a keeper that hangs
//! is left alone; it closes what it opened when it comes back and finds itself retired.
//!
//! No client is opened before the one before it is closed: libjack, opening after its server's death, destroys what is still there.
//!
//! Facts this is built on: without libjack `Client::new` is an error, but `jack::set_logger` before it panics: it is never called (the crate's
//! default sends JACK's words to the `log` crate, where nobody listens). The death of jackd is told by the shutdown callback within 50 ms, that
//! of PipeWire by nothing. There is no latency callback: latencies are polled. PipeWire rounds the period it first told: only `buffer_size` counts.

mod callbacks;
mod kept;
mod mic;

use self::kept::Kept;
use super::seat::{Replace, Watch};
use super::supervisor::Notice;
use super::{DeviceAnswer, DeviceOp, DriverConfig, Of, PortList};
use jack::{Client, ClientOptions};
use std::ffi::{CStr, c_char};
use std::sync::Arc;
use std::sync::atomic::Ordering::*;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, io};
use utterd_rt::Control;

/// A client that runs.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) control: Control,
    pub(super) replace: Replace,
    pub(super) rate: u32,
    pub(super) period: u32,
    pub(super) latency: u32,
}

/// Why there is no client.
#[derive(Debug)]
pub(super) enum OpenError {
    /// Install it: nothing else helps while this process lives.
    NoLibrary(String),
    /// Wait for it.
    NoServer,
    /// The server is there and refuses.
    Refused(jack::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::NoLibrary(error) => write!(f, "libjack is missing: {error}"),
            OpenError::NoServer => f.write_str("no JACK server is running"),
            OpenError::Refused(error) => write!(f, "the JACK server refused: {error}"),
        }
    }
}

/// What a keeper is asked for.
enum Order {
    /// The graph changed: look at connections, latency and ports.
    Look,
    /// Of the guard.
    Device(Of, DeviceOp),
    /// Say when there is something to capture from, for this capture that was lost.
    LookOut(Of),
    Close,
}

/// A keeper's voice.
struct Teller {
    generation: u64,
    notices: Sender<Notice>,
}

impl Teller {
    fn tell(&self, of: Of, answer: DeviceAnswer) {
        let generation = self.generation;
        // Nobody listens any more: the daemon stops.
        self.notices.send(Notice::Device { generation, of, answer }).ok();
    }
}

/// The supervisor's hold on a keeper. `[control]`
pub(super) struct Keeper {
    pub(super) watch: Arc<Watch>,
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Lets go of the client; it is closed as soon as the server lets it. `[control]`
    pub(super) fn retire(&self) {
        self.watch.is_retired.store(true, Release);
        // A keeper that has ended already has closed its client.
        self.orders.send(Order::Close).ok();
    }

    /// Hands an order on. `[control]`
    pub(super) fn order(&self, of: Of, op: DeviceOp) {
        // A keeper that has ended is about to be given up, and its orders are answered then.
        self.orders.send(Order::Device(of, op)).ok();
    }

    /// `[control]`
    pub(super) fn look_out(&self, of: Of) {
        self.orders.send(Order::LookOut(of)).ok();
    }

    /// Its client is closed. Before that no other client may be opened: see [`probe`]. `[control]`
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the close, but not for ever. `[control]`
    pub(super) fn wait(self, within: Duration) {
        let deadline = Instant::now() + within;
        while !self.thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Starts a keeper; what came of it is told by [`Notice::Opened`]. Returns at once. `[control]`
pub(super) fn open(cfg: &DriverConfig, generation: u64, notices: Sender<Notice>, ports: PortList) -> io::Result<Keeper> {
    let watch = Arc::new(Watch::default());
    let (orders, inbox) = channel();
    let (cfg, seen, hints) = (cfg.clone(), watch.clone(), orders.clone());
    let thread = thread::Builder::new().name("utterd-jack".into()).spawn(move || {
        let teller = Teller {
            generation,
            notices: notices.clone(),
        };
        let (mut kept, opened) = match Kept::open(&cfg, seen, hints, ports, teller) {
            Ok(both) => both,
            Err(error) => {
                // Nobody listens any more: nothing is open either.
                notices
                    .send(Notice::Opened {
                        generation,
                        result: Err(error),
                    })
                    .ok();
                return;
            }
        };
        kept.look(&cfg);
        let latency = kept.watch.latency.load(Acquire);
        let period = kept.watch.period.load(Acquire);
        let opened = Opened { latency, period, ..opened };
        if !kept.watch.is_retired.load(Acquire)
            && notices
                .send(Notice::Opened {
                    generation,
                    result: Ok(opened),
                })
                .is_ok()
        {
            kept.keep(&cfg, &inbox);
        }
        kept.close();
    })?;
    Ok(Keeper { watch, orders, thread })
}

/// Opens and closes a second client on a thread of its own, if that is safe: does the server still answer? False: not asked.
///
/// Only PipeWire is asked. jackd always tells its death, and its libjack, when it opens a client after that, destroys every client that is
/// still there, under whoever is about to close it. `[control]`
pub(super) fn probe(client_name: &str, generation: u64, notices: Sender<Notice>) -> bool {
    if !is_pipewire() {
        return false;
    }
    let name = sayable(&format!("{client_name}-probe"));
    let started = thread::Builder::new().name("utterd-probe".into()).spawn(move || {
        let is_alive = Client::new(&name, ClientOptions::NO_START_SERVER).is_ok();
        notices.send(Notice::Probed { generation, is_alive }).ok();
    });
    started.is_ok()
}

/// Whose libjack this process has.
fn is_pipewire() -> bool {
    type VersionString = unsafe extern "C" fn() -> *const c_char;
    let Ok(library) = jack::jack_sys::library() else {
        return false;
    };
    // SAFETY: every libjack that has this symbol declares it so.
    let Ok(version) = (unsafe { library.get::<VersionString>(b"jack_get_version_string\0") }) else {
        return false;
    };
    // SAFETY: it needs no client and returns a string constant.
    let text = unsafe { version() };
    // SAFETY: as above; null is excluded first.
    !text.is_null() && unsafe { CStr::from_ptr(text) }.to_string_lossy().contains("PipeWire")
}
/// The crate panics at a NUL in a name.
fn sayable(name: &str) -> String {
    name.replace('\0', "")
}
