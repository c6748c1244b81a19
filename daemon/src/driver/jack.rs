//! JACK: the one place that opens, activates, connects and closes audio, and the only file that names the `jack` crate.
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

use super::seat::{RenderSeat, Replace, Watch};
use super::supervisor::Notice;
use super::{DeviceAnswer, DeviceOp, DriverConfig, Of, PortInfo, PortList};
use jack::{AudioIn, AudioOut, Client, ClientOptions, ClientStatus, Frames, LatencyType, Port, PortFlags, PortId, ProcessScope, Unowned};
use std::collections::HashSet;
use std::ffi::{CStr, c_char};
use std::sync::atomic::Ordering::*;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, io};
use utterd_rt::Control;

const AUDIO: &str = "32 bit float mono audio";
/// A microphone is heard through so many of its channels.
const CAPTURE_PORTS: usize = 2;
/// Latencies and ports are looked at so often, and whenever the graph changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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

/// An active client, as its keeper holds it.
struct Kept {
    client: jack::AsyncClient<Ears, Hands>,
    watch: Arc<Watch>,
    ports: PortList,
    /// Full names of `out_1` and on.
    outs: Vec<String>,
    first: Port<Unowned>,
    /// Connections made since their target appeared: one that a user took away is not made again.
    made: HashSet<(usize, String)>,
    /// Connections the server refused, so that each is told once.
    refused: HashSet<(usize, String)>,
    teller: Teller,
    capture: Option<Capture>,
    /// A capture whose ports are gone.
    awaited: Option<Of>,
}

/// The open microphone: `in_1` and on. Its samples go nowhere yet: the server fills the ports, and until there are detectors and readers the
/// render thread does not even look at them.
struct Capture {
    of: Of,
    ins: Vec<Port<AudioIn>>,
    /// The ports they were connected to.
    sources: Vec<String>,
}

impl Kept {
    fn open(
        cfg: &DriverConfig,
        watch: Arc<Watch>,
        orders: Sender<Order>,
        ports: PortList,
        teller: Teller,
    ) -> Result<(Kept, Opened), OpenError> {
        let (client, _status) = Client::new(&sayable(&cfg.client_name), ClientOptions::NO_START_SERVER).map_err(|error| match error {
            jack::Error::LibraryError(message) => OpenError::NoLibrary(message),
            jack::Error::ClientError(status) if status.contains(ClientStatus::SERVER_FAILED) => OpenError::NoServer,
            error => OpenError::Refused(error),
        })?;
        let (rate, period) = (client.sample_rate(), client.buffer_size());
        watch.rate.store(rate, Release);
        watch.period.store(period, Release);
        let outs = (1..=cfg.ports.max(1))
            .map(|n| client.register_port(&format!("out_{n}"), AudioOut::default()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(OpenError::Refused)?;
        let names = outs
            .iter()
            .map(Port::name)
            .collect::<Result<Vec<_>, _>>()
            .map_err(OpenError::Refused)?;
        let first = outs[0].clone_unowned();
        let (control, renderer) = utterd_rt::engine(rate);
        let (seat, replace) = RenderSeat::new(renderer, watch.clone());
        let ears = Ears {
            watch: watch.clone(),
            orders,
        };
        let hands = Hands {
            seat,
            outs,
            watch: watch.clone(),
        };
        let client = client.activate_async(ears, hands).map_err(OpenError::Refused)?;
        let kept = Kept {
            client,
            watch,
            ports,
            outs: names,
            first,
            made: HashSet::new(),
            refused: HashSet::new(),
            teller,
            capture: None,
            awaited: None,
        };
        Ok((
            kept,
            Opened {
                control,
                replace,
                rate,
                period,
                latency: 0,
            },
        ))
    }

    fn keep(&mut self, cfg: &DriverConfig, orders: &Receiver<Order>) {
        loop {
            let mut next = match orders.recv_timeout(LOOK_EVERY) {
                Ok(order) => order,
                Err(RecvTimeoutError::Timeout) => Order::Look,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // One look answers all that was asked for meanwhile.
            loop {
                match next {
                    Order::Close => return,
                    Order::Look => {}
                    Order::Device(of, op) => self.carry_out(cfg, of, op),
                    Order::LookOut(of) => self.awaited = Some(of),
                }
                match orders.try_recv() {
                    Ok(order) => next = order,
                    Err(_) => break,
                }
            }
            self.look(cfg);
        }
    }

    fn look(&mut self, cfg: &DriverConfig) {
        // What is left of a dead server in shared memory is not worth reading.
        if self.watch.has_ended.load(Acquire) || self.watch.is_retired.load(Acquire) {
            return;
        }
        self.connect(cfg);
        self.watch_capture();
        let (_, latency) = self.first.get_latency_range(LatencyType::Playback);
        self.watch.latency.store(latency, Release);
        let seen = self.list();
        if !self.watch.is_retired.load(Acquire) {
            *self.ports.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        }
    }

    /// Connects each `out_i` to the i-th target, once for as long as that target exists.
    fn connect(&mut self, cfg: &DriverConfig) {
        let client = self.client.as_client();
        let targets = targets(client, &cfg.connect);
        self.made.retain(|(_, target)| client.port_by_name(target).is_some());
        for (i, target) in targets.into_iter().take(self.outs.len()).enumerate() {
            if self.made.contains(&(i, target.clone())) || client.port_by_name(&target).is_none() {
                continue;
            }
            match client.connect_ports_by_name(&self.outs[i], &target) {
                Ok(()) => tracing::info!(from = self.outs[i], to = target, "connected"),
                Err(jack::Error::PortAlreadyConnected(..)) => {}
                Err(error) => {
                    // It is tried again at every look.
                    if self.refused.insert((i, target.clone())) {
                        tracing::warn!(from = self.outs[i], to = target, %error, "not connected");
                    }
                    continue;
                }
            }
            self.made.insert((i, target));
        }
    }

    fn carry_out(&mut self, cfg: &DriverConfig, of: Of, op: DeviceOp) {
        // The supervisor answers for a server that has died.
        if self.watch.has_ended.load(Acquire) || self.watch.is_retired.load(Acquire) {
            return;
        }
        let answer = match op {
            DeviceOp::OpenCapture => self.open_capture(&of),
            DeviceOp::CloseCapture { capture } => {
                self.awaited.take_if(|of| of.order == capture);
                if let Some(capture) = self.capture.take_if(|c| c.of.order == capture) {
                    self.close_capture(capture);
                }
                DeviceAnswer::Closed
            }
            DeviceOp::AssertRoutes => DeviceAnswer::Asserted {
                repaired: self.repair(cfg, &of),
            },
        };
        self.teller.tell(of, answer);
    }

    fn open_capture(&mut self, of: &Of) -> DeviceAnswer {
        if let Some(before) = self.capture.take() {
            self.close_capture(before);
        }
        self.awaited = None;
        let sources = sources(self.client.as_client());
        if sources.is_empty() {
            self.awaited = Some(of.clone());
            return DeviceAnswer::Failed {
                reason: "the JACK server has no physical capture port".into(),
            };
        }
        let mut capture = Capture {
            of: of.clone(),
            ins: Vec::new(),
            sources: Vec::new(),
        };
        for (n, source) in sources.into_iter().enumerate() {
            if let Err(error) = self.open_in(&mut capture, n, source) {
                self.close_capture(capture);
                return DeviceAnswer::Failed { reason: error.to_string() };
            }
        }
        tracing::info!(session = %of.session, generation = of.generation, from = ?capture.sources, "the microphone is open");
        self.capture = Some(capture);
        DeviceAnswer::Opened
    }

    fn open_in(&self, capture: &mut Capture, n: usize, source: String) -> Result<(), jack::Error> {
        let client = self.client.as_client();
        let port = client.register_port(&format!("in_{}", n + 1), AudioIn::default())?;
        let name = port.name();
        capture.ins.push(port);
        match client.connect_ports_by_name(&source, &name?) {
            Ok(()) | Err(jack::Error::PortAlreadyConnected(..)) => {
                capture.sources.push(source);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn close_capture(&self, capture: Capture) {
        let Of { session, generation, .. } = &capture.of;
        for port in capture.ins {
            if let Err(error) = self.client.as_client().unregister_port(port) {
                tracing::warn!(%session, generation, %error, "a capture port was not closed");
            }
        }
        tracing::info!(%session, generation, "the microphone is closed");
    }

    /// Tells of a microphone whose ports have gone, and of one that could be opened again.
    fn watch_capture(&mut self) {
        let client = self.client.as_client();
        let is_gone = |c: &mut Capture| c.sources.iter().any(|source| client.port_by_name(source).is_none());
        if let Some(capture) = self.capture.take_if(is_gone) {
            let of = capture.of.clone();
            self.close_capture(capture);
            self.teller.tell(of.clone(), DeviceAnswer::Lost);
            self.awaited = Some(of);
        }
        if self.awaited.is_some()
            && !sources(self.client.as_client()).is_empty()
            && let Some(of) = self.awaited.take()
        {
            self.teller.tell(of, DeviceAnswer::Back);
        }
    }

    /// Makes the playback connections that are missing, and tells how many.
    fn repair(&mut self, cfg: &DriverConfig, of: &Of) -> u32 {
        let client = self.client.as_client();
        let mut repaired = 0;
        for (i, target) in targets(client, &cfg.connect).into_iter().take(self.outs.len()).enumerate() {
            let own = client.port_by_name(&self.outs[i]);
            let is_right = own.is_some_and(|port| port.is_connected_to(&target).unwrap_or(false));
            if is_right || client.port_by_name(&target).is_none() {
                continue;
            }
            match client.connect_ports_by_name(&self.outs[i], &target) {
                Ok(()) => {
                    let Of { session, generation, .. } = of;
                    tracing::info!(%session, generation, from = self.outs[i], to = target, "connected again");
                    repaired += 1;
                    self.made.insert((i, target));
                }
                Err(jack::Error::PortAlreadyConnected(..)) => {}
                Err(error) => tracing::warn!(session = %of.session, generation = of.generation, to = target, %error, "not connected"),
            }
        }
        repaired
    }

    fn list(&self) -> Vec<PortInfo> {
        let client = self.client.as_client();
        let own = self.outs[0].split(':').next().unwrap_or_default().to_owned();
        let mut list: Vec<PortInfo> = Vec::new();
        for (flag, direction) in [(PortFlags::IS_INPUT, "playback"), (PortFlags::IS_OUTPUT, "capture")] {
            let physical = client.ports(None, Some(AUDIO), flag | PortFlags::IS_PHYSICAL);
            let default = physical.first().map(|port| owner(port));
            for port in client.ports(None, Some(AUDIO), flag) {
                let name = owner(&port);
                if name == own {
                    continue;
                }
                match list.iter_mut().find(|seen| seen.direction == direction && seen.name == name) {
                    Some(seen) => seen.channels += 1,
                    None => list.push(PortInfo {
                        name: name.to_owned(),
                        direction,
                        channels: 1,
                        default: default == Some(name),
                    }),
                }
            }
        }
        list
    }

    fn close(self) {
        // A dead server makes this an error, and takes a quarter of a second for it; all is freed either way.
        if let Err(error) = self.client.deactivate() {
            tracing::debug!(%error, "the JACK client was closed the hard way");
        }
    }
}

/// The crate panics at a NUL in a name.
fn sayable(name: &str) -> String {
    name.replace('\0', "")
}

/// The part of a port's full name that names its client.
fn owner(port: &str) -> &str {
    port.split_once(':').map_or(port, |(client, _)| client)
}

/// The ports our inputs should hear, in order: channels of the first sound card that captures.
fn sources(client: &Client) -> Vec<String> {
    let physical = client.ports(None, Some(AUDIO), PortFlags::IS_OUTPUT | PortFlags::IS_PHYSICAL);
    let card = physical.first().map(|port| owner(port).to_owned());
    let of_card = physical.into_iter().filter(|port| Some(owner(port)) == card.as_deref());
    of_card.take(CAPTURE_PORTS).collect()
}

/// The ports our outputs should reach, in order.
fn targets(client: &Client, wanted: &[String]) -> Vec<String> {
    if wanted.is_empty() {
        let physical = client.ports(None, Some(AUDIO), PortFlags::IS_INPUT | PortFlags::IS_PHYSICAL);
        // With several sound cards: the first one, not a channel of each.
        let card = physical.first().map(|port| owner(port).to_owned());
        return physical.into_iter().filter(|port| Some(owner(port)) == card.as_deref()).collect();
    }
    let inputs = client.ports(None, Some(AUDIO), PortFlags::IS_INPUT);
    let mut targets = Vec::new();
    for name in wanted {
        if name.contains(':') {
            targets.push(name.clone());
        } else {
            targets.extend(inputs.iter().filter(|port| owner(port) == name).cloned());
        }
    }
    targets
}

/// What the server tells between the cycles. Nothing is asked of it here: that would wait for the thread that waits for us.
struct Ears {
    watch: Arc<Watch>,
    orders: Sender<Order>,
}

impl Ears {
    fn graph_changed(&self) {
        // A keeper that has ended has no connections to look after.
        self.orders.send(Order::Look).ok();
    }
}

impl jack::NotificationHandler for Ears {
    unsafe fn shutdown(&mut self, _status: ClientStatus, _reason: &str) {
        // Like a signal handler: a flag and nothing else.
        self.watch.has_ended.store(true, Release);
    }

    fn sample_rate(&mut self, _: &Client, rate: Frames) -> jack::Control {
        self.watch.rate.store(rate, Release);
        jack::Control::Continue
    }

    fn xrun(&mut self, _: &Client) -> jack::Control {
        self.watch.xruns.fetch_add(1, Relaxed);
        jack::Control::Continue
    }

    fn port_registration(&mut self, _: &Client, _: PortId, _: bool) {
        self.graph_changed();
    }

    fn ports_connected(&mut self, _: &Client, _: PortId, _: PortId, _: bool) {
        self.graph_changed();
    }

    fn graph_reorder(&mut self, _: &Client) -> jack::Control {
        self.graph_changed();
        jack::Control::Continue
    }
}

/// The render thread: JACK's futex is its only system call.
struct Hands {
    seat: RenderSeat,
    outs: Vec<Port<AudioOut>>,
    watch: Arc<Watch>,
}

impl jack::ProcessHandler for Hands {
    fn process(&mut self, client: &Client, scope: &ProcessScope) -> jack::Control {
        // JACK counts CLOCK_MONOTONIC_RAW in some builds: what matters is how long ago, by its clock, the cycle began. Both clocks are
        // read without a system call.
        let ago_us = scope
            .cycle_times()
            .map_or(0, |times| client.time().saturating_sub(times.current_usecs));
        let at_us = crate::clock::now_us().saturating_sub(ago_us);
        let Some((first, others)) = self.outs.split_first_mut() else {
            return jack::Control::Continue;
        };
        let mix = first.as_mut_slice(scope);
        self.seat.cycle(mix, at_us);
        for out in others {
            out.as_mut_slice(scope).copy_from_slice(mix);
        }
        jack::Control::Continue
    }

    fn buffer_size(&mut self, _: &Client, frames: Frames) -> jack::Control {
        self.watch.period.store(frames, Release);
        jack::Control::Continue
    }
}
