//! The microphone: `in_1` and on, opened and closed on the guard's order, and missed when its ports go. `[worker]`

use super::kept::{AUDIO, Kept, owner};
use crate::driver::{DeviceAnswer, Of};
use jack::{AudioIn, Client, LatencyType, Port, PortFlags, ProcessScope};
use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::atomic::Ordering::Release;
use std::thread;
use std::time::{Duration, Instant};

/// A microphone is heard through so many of its channels.
const CAPTURE_PORTS: usize = 2;

/// How long the render thread may take to let go of a port: two of the longest periods, and a margin.
const LETS_GO_WITHIN: Duration = Duration::from_millis(500);

/// Between two attempts to open a microphone that is there and cannot be connected.
const TRIES_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The open microphone. `in_1` is what is heard; it lies with the render thread. The channels beside it are connected, so that a patchbay shows
/// the microphone as it is, and not listened to.
pub(super) struct Capture {
    pub(super) of: Of,
    /// The render thread has `in_1`.
    is_given: bool,
    others: Vec<Port<AudioIn>>,
    /// The ports they were connected to.
    sources: Vec<String>,
}

impl Capture {
    /// By the source: our own port hears of it later, when sound flows already, and who changes the way then loses what is on it.
    pub(super) fn latency(&self, client: &Client) -> u32 {
        let source = self.sources.first().and_then(|source| client.port_by_name(source));
        source.map_or(0, |port| port.get_latency_range(LatencyType::Capture).1)
    }
}

/// Ports on their way to the render thread and back. It must have let go of a port before the port is unregistered: what the server answers
/// after that is no memory.
const PORTS: usize = 4;

pub(super) fn mic() -> (Mic, MicSeat) {
    let (orders, obeyed) = RingBuffer::new(PORTS);
    let (give_back, taken_back) = RingBuffer::new(PORTS);
    let seat = MicSeat {
        port: None,
        orders: obeyed,
        give_back,
    };
    let mic = Mic {
        orders,
        taken_back,
        owed: 0,
        rests_until: None,
    };
    (mic, seat)
}

/// The keeper's side. `[worker]`
pub(super) struct Mic {
    /// A port to listen to; none: let go of the one there is.
    orders: Producer<Option<Port<AudioIn>>>,
    taken_back: Consumer<Port<AudioIn>>,
    /// Ports that a server which hung has not given back yet; their names are taken until then.
    owed: usize,
    /// Before this moment it is not tried again.
    rests_until: Option<Instant>,
}

impl Mic {
    fn give(&mut self, port: Port<AudioIn>) {
        if self.orders.push(Some(port)).is_err() {
            tracing::warn!("the render thread does not take up the microphone: is the JACK server hanging?");
        }
    }

    fn take_back(&mut self) -> Option<Port<AudioIn>> {
        self.orders.push(None).ok()?;
        let deadline = Instant::now() + LETS_GO_WITHIN;
        loop {
            if let Ok(port) = self.taken_back.pop() {
                return Some(port);
            }
            if Instant::now() >= deadline {
                self.owed += 1;
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A port that came back later than it was waited for.
    fn late(&mut self) -> Option<Port<AudioIn>> {
        let port = self.taken_back.pop().ok()?;
        self.owed = self.owed.saturating_sub(1);
        Some(port)
    }
}

/// The render thread's side.
pub(super) struct MicSeat {
    port: Option<Port<AudioIn>>,
    orders: Consumer<Option<Port<AudioIn>>>,
    give_back: Producer<Port<AudioIn>>,
}

impl MicSeat {
    /// What the microphone brings in this cycle. `[rt & active]`
    pub(super) fn look<'a>(&'a mut self, scope: &'a ProcessScope) -> Option<&'a [f32]> {
        while !self.give_back.is_full()
            && let Ok(order) = self.orders.pop()
        {
            if let Some(before) = std::mem::replace(&mut self.port, order)
                && let Err(rtrb::PushError::Full(before)) = self.give_back.push(before)
            {
                // Cannot happen: only this thread fills the ring, and it has just seen room.
                std::mem::forget(before);
            }
        }
        self.port.as_ref().map(|port| port.as_slice(scope))
    }
}

impl Kept {
    pub(super) fn open_capture(&mut self, of: &Of) -> DeviceAnswer {
        if let Some(before) = self.capture.take() {
            self.close_capture(before);
        }
        self.awaited = None;
        self.let_go_late();
        if self.mic.owed > 0 {
            self.awaited = Some(of.clone());
            return DeviceAnswer::Failed {
                reason: "the JACK server hangs and keeps the port of the microphone before this one".into(),
            };
        }
        let sources = sources(self.client.as_client());
        if sources.is_empty() {
            self.awaited = Some(of.clone());
            return DeviceAnswer::Failed {
                reason: "the JACK server has no physical capture port".into(),
            };
        }
        let mut capture = Capture {
            of: of.clone(),
            is_given: false,
            others: Vec::new(),
            sources: Vec::new(),
        };
        for (n, source) in sources.into_iter().enumerate() {
            if let Err(error) = self.open_in(&mut capture, n, source) {
                self.close_capture(capture);
                // A client shows its ports before it is active, and until then they cannot be connected.
                self.awaited = Some(of.clone());
                self.mic.rests_until = Some(Instant::now() + TRIES_AGAIN_AFTER);
                return DeviceAnswer::Failed { reason: error.to_string() };
            }
        }
        tracing::info!(session = %of.session, generation = of.generation, from = ?capture.sources, "the microphone is open");
        self.capture = Some(capture);
        DeviceAnswer::Opened
    }

    fn open_in(&mut self, capture: &mut Capture, n: usize, source: String) -> Result<(), jack::Error> {
        let client = self.client.as_client();
        let port = client.register_port(&format!("in_{}", n + 1), AudioIn::default())?;
        let connected = port.name().and_then(|name| match client.connect_ports_by_name(&source, &name) {
            Ok(()) | Err(jack::Error::PortAlreadyConnected(..)) => Ok(()),
            Err(error) => Err(error),
        });
        if let Err(error) = connected {
            client.unregister_port(port)?;
            return Err(error);
        }
        capture.sources.push(source);
        if n == 0 {
            capture.is_given = true;
            // Before it is listened to.
            self.watch.capture_latency.store(capture.latency(client), Release);
            self.mic.give(port);
        } else {
            capture.others.push(port);
        }
        Ok(())
    }

    pub(super) fn close_capture(&mut self, capture: Capture) {
        let Of { session, generation, .. } = &capture.of;
        // A server that hangs keeps the port for as long.
        let first = capture.is_given.then(|| self.mic.take_back()).flatten();
        for port in first.into_iter().chain(capture.others) {
            if let Err(error) = self.client.as_client().unregister_port(port) {
                tracing::warn!(%session, generation, %error, "a capture port was not closed");
            }
        }
        tracing::info!(%session, generation, "the microphone is closed");
    }

    /// What the render thread gave back after a server had hung.
    fn let_go_late(&mut self) {
        while let Some(port) = self.mic.late() {
            if let Err(error) = self.client.as_client().unregister_port(port) {
                tracing::warn!(%error, "a capture port was not closed");
            }
        }
    }

    /// Tells of a microphone whose ports have gone, and of one that could be opened again.
    pub(super) fn watch_capture(&mut self) {
        self.let_go_late();
        let client = self.client.as_client();
        let is_gone = |c: &mut Capture| c.sources.iter().any(|source| client.port_by_name(source).is_none());
        if let Some(capture) = self.capture.take_if(is_gone) {
            let of = capture.of.clone();
            self.close_capture(capture);
            self.teller.tell(of.clone(), DeviceAnswer::Lost);
            self.awaited = Some(of);
        }
        if self.awaited.is_some()
            && self.mic.owed == 0
            && self.mic.rests_until.is_none_or(|until| Instant::now() >= until)
            && !sources(self.client.as_client()).is_empty()
            && let Some(of) = self.awaited.take()
        {
            self.teller.tell(of, DeviceAnswer::Back);
        }
    }
}

/// The ports our inputs should hear, in order: channels of the first sound card that captures.
fn sources(client: &Client) -> Vec<String> {
    let physical = client.ports(None, Some(AUDIO), PortFlags::IS_OUTPUT | PortFlags::IS_PHYSICAL);
    let card = physical.first().map(|port| owner(port).to_owned());
    let of_card = physical.into_iter().filter(|port| Some(owner(port)) == card.as_deref());
    of_card.take(CAPTURE_PORTS).collect()
}
