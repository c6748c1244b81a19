//! The session actor: one thread that owns all decisions. It takes inputs, lets the core decide, and carries the effects out in order.
//!
//! Two inboxes: what clients ask (bounded: a full one holds the bus reader back, and through the socket the clients) and what the house's
//! own threads report (unbounded: they must never wait for the actor, or a feeder that waits while the actor waits for it would stop the
//! sound; their number is bounded by the audio they tell about).
//! Not here: what to do (core), how messages look (dbus), how sound is made (tx, synth, driver).

mod backends;
mod counts;
mod device;
mod effects;
mod facts;
mod feeds;
mod owner_counts;
mod owners;
mod rx;

use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded, never, select_biased, unbounded};
use utterd_core::{Core, Input};

use crate::clock::now_us;
use crate::driver::DriverEvent;
use crate::observe::notify;
use crate::rx::RxEvent;
use crate::synth::SynthEvent;
use crate::tx::{Output, TxEvent};

pub use backends::{BackendNews, BackendStates};
pub use device::Device;
pub use effects::Hands;

/// Client requests that wait for the actor.
const CLIENTS: usize = 1024;

/// How long the first clients wait for the audio driver's first word.
const AUDIO_PATIENCE: Duration = Duration::from_secs(2);

/// What the house's own threads report.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "an engine comes rarely; what comes often is small")]
pub enum Fact {
    Tx(TxEvent),
    Synth(SynthEvent),
    Rx(RxEvent),
    Driver(Output, DriverEvent),
    /// A server's answer to a cancel: `UT_OK`, or why it failed.
    CancelAck {
        backend: String,
        synthesis: u64,
        status: i32,
    },
    /// For the core, as it is.
    Core(Input),
    /// The daemon is to stop.
    Stop,
}

/// The ends of the inboxes.
pub struct Inboxes {
    pub clients: Sender<Input>,
    pub facts: Sender<Fact>,
    client_queue: Receiver<Input>,
    fact_queue: Receiver<Fact>,
}

impl Default for Inboxes {
    fn default() -> Self {
        let (clients, client_queue) = bounded(CLIENTS);
        let (facts, fact_queue) = unbounded();
        Self {
            clients,
            facts,
            client_queue,
            fact_queue,
        }
    }
}

/// The actor.
pub struct Actor {
    core: Core,
    hands: Hands,
    clients: Receiver<Input>,
    facts: Receiver<Fact>,
}

impl Actor {
    pub fn new(core: Core, hands: Hands, inboxes: Inboxes) -> Self {
        Self {
            core,
            hands,
            clients: inboxes.client_queue,
            facts: inboxes.fact_queue,
        }
    }

    /// Runs until it is told to stop.
    pub fn run(mut self) {
        self.step(Input::Start);
        if !self.wait_for_audio() {
            return;
        }
        let beat = notify::watchdog_interval();
        let mut next_beat = Instant::now();
        loop {
            if let Some(interval) = beat
                && Instant::now() >= next_beat
            {
                notify::watchdog();
                next_beat = Instant::now() + interval;
            }
            let now = now_us();
            let due = [self.core.next_deadline(), self.hands.next_account(), self.hands.rx.next_look()];
            let due = due.into_iter().flatten().min();
            let patience = due.map_or(Duration::from_secs(3600), |at| Duration::from_micros(at.saturating_sub(now)));
            let patience = beat.map_or(patience, |_| patience.min(next_beat.saturating_duration_since(Instant::now())));
            select_biased! {
                recv(self.facts) -> fact => match fact {
                    Ok(Fact::Stop) | Err(_) => return,
                    Ok(fact) => self.fact(fact),
                },
                recv(self.clients) -> input => match input {
                    Ok(input) => self.step(input),
                    Err(_) => self.clients = never(),
                },
                default(patience) => self.step(Input::Tick),
            }
            self.hands.account(now_us());
            self.hands.rx.look(now_us());
        }
    }

    /// Clients are served once it is known what drives the sound (or that nothing does yet), so that nobody reads a driver without a name.
    /// `false`: the daemon is to stop.
    fn wait_for_audio(&mut self) -> bool {
        let deadline = Instant::now() + AUDIO_PATIENCE;
        while !self.hands.knows_driver() {
            match self.facts.recv_deadline(deadline) {
                Ok(Fact::Stop) => return false,
                Ok(fact) => self.fact(fact),
                Err(_) => break,
            }
        }
        true
    }

    fn fact(&mut self, fact: Fact) {
        match fact {
            Fact::Tx(event) => {
                if let Some(input) = facts::playback(event, &mut self.hands) {
                    self.step(input);
                }
            }
            Fact::Synth(event) => {
                if let Some(input) = facts::synthesis(event, &mut self.hands) {
                    self.step(input);
                }
            }
            Fact::Rx(event) => {
                if let Some(input) = self.hands.rx_event(event) {
                    self.step(input);
                }
            }
            Fact::Driver(output, DriverEvent::Device { of, answer }) => {
                self.hands.heed_capture(output, &of, &answer);
                if let Some(input) = facts::device(output, &of, answer) {
                    self.step(input);
                }
            }
            Fact::Driver(output, event) => {
                if let Some(info) = self.hands.driver_event(output, event) {
                    self.step(Input::Driver(info));
                }
            }
            Fact::CancelAck {
                backend,
                synthesis,
                status,
            } => {
                if let Some(input) = facts::cancel_ack(backend, synthesis, status) {
                    self.step(input);
                }
            }
            Fact::Core(input) => self.step(input),
            Fact::Stop => {}
        }
    }

    fn step(&mut self, input: Input) {
        for effect in self.core.step(now_us(), input) {
            self.hands.carry_out(effect);
        }
    }
}
