//! What libjack calls: the notifications between the cycles, and the process callback, which is the render thread.

use super::Order;
use crate::driver::seat::{RenderSeat, Watch};
use jack::{AudioOut, Client, ClientStatus, Frames, Port, PortId, ProcessScope};
use std::sync::Arc;
use std::sync::atomic::Ordering::*;
use std::sync::mpsc::Sender;

/// What the server tells between the cycles. Nothing is asked of it here: that would wait for the thread that waits for us.
pub(super) struct Ears {
    pub(super) watch: Arc<Watch>,
    pub(super) orders: Sender<Order>,
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
pub(super) struct Hands {
    pub(super) seat: RenderSeat,
    pub(super) outs: Vec<Port<AudioOut>>,
    pub(super) watch: Arc<Watch>,
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
