//! The client as its keeper holds it: opened, connected, looked at now and then, closed. `[worker]`
//!
//! Connections are made once for as long as their target exists: one that a user took away stays away, until the guard asserts the routes.
//! Not here: the microphone (mic.rs), and what libjack calls (callbacks.rs).

use super::callbacks::FrameCount;
use super::callbacks::{Ears, Hands};
use super::mic::{Capture, Mic, mic};
use super::{OpenError, Opened, Order, Teller, sayable};
use crate::driver::seat::{RenderSeat, Watch};
use crate::driver::{DeviceAnswer, DeviceOp, DriverConfig, Of, PortInfo, PortList};
use jack::{AudioOut, Client, ClientOptions, ClientStatus, LatencyType, Port, PortFlags, Unowned};
use std::collections::HashSet;
use std::sync::atomic::Ordering::*;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

pub(super) const AUDIO: &str = "32 bit float mono audio";
/// Latencies and ports are looked at so often, and whenever the graph changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An active client, as its keeper holds it.
pub(super) struct Kept {
    pub(super) client: jack::AsyncClient<Ears, Hands>,
    pub(super) watch: Arc<Watch>,
    ports: PortList,
    /// Full names of `out_1` and on.
    outs: Vec<String>,
    first: Port<Unowned>,
    /// Connections made since their target appeared: one that a user took away is not made again.
    made: HashSet<(usize, String)>,
    /// Connections the server refused, so that each is told once.
    refused: HashSet<(usize, String)>,
    pub(super) teller: Teller,
    pub(super) mic: Mic,
    pub(super) capture: Option<Capture>,
    /// A capture whose ports are gone.
    pub(super) awaited: Option<Of>,
}

impl Kept {
    pub(super) fn open(
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
        let (mic, mic_seat) = mic();
        let hands = Hands {
            seat,
            outs,
            watch: watch.clone(),
            mic: mic_seat,
            frames: FrameCount::default(),
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
            mic,
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

    pub(super) fn keep(&mut self, cfg: &DriverConfig, orders: &Receiver<Order>) {
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

    pub(super) fn look(&mut self, cfg: &DriverConfig) {
        // What is left of a dead server in shared memory is not worth reading.
        if self.watch.has_ended.load(Acquire) || self.watch.is_retired.load(Acquire) {
            return;
        }
        self.connect(cfg);
        self.watch_capture();
        let (_, latency) = self.first.get_latency_range(LatencyType::Playback);
        self.watch.latency.store(latency, Release);
        let captured = self.capture.as_ref().map_or(0, |capture| capture.latency(self.client.as_client()));
        self.watch.capture_latency.store(captured, Release);
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

    pub(super) fn close(self) {
        // A dead server makes this an error, and takes a quarter of a second for it; all is freed either way.
        if let Err(error) = self.client.deactivate() {
            tracing::debug!(%error, "the JACK client was closed the hard way");
        }
    }
}

/// The part of a port's full name that names its client.
pub(super) fn owner(port: &str) -> &str {
    port.split_once(':').map_or(port, |(client, _)| client)
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
