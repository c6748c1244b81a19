//! What libjack calls: the notifications between the cycles, and the process callback, which is the render thread.

use super::Order;
use super::mic::MicSeat;
use crate::driver::seat::{RenderSeat, Watch};
use jack::{AudioOut, Client, ClientStatus, Frames, Port, PortId, ProcessScope};
use std::sync::Arc;
use std::sync::atomic::Ordering::*;
use std::sync::mpsc::Sender;
use utterd_rt::Cycle;

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
    pub(super) mic: MicSeat,
    pub(super) frames: FrameCount,
}

impl jack::ProcessHandler for Hands {
    fn process(&mut self, client: &Client, scope: &ProcessScope) -> jack::Control {
        // JACK counts CLOCK_MONOTONIC_RAW in some builds: what matters is how long ago, by its clock, the cycle began. A cycle that
        // comes later than its own length is too late for its place: it is heard from now on.
        let (jack_us, now_us) = at_once(|| client.time(), crate::clock::now_us);
        let ago_us = scope.cycle_times().map_or(0, |times| {
            jack_us.saturating_sub(times.current_usecs).min(times.period_usecs as u64)
        });
        let at_us = now_us.saturating_sub(ago_us);
        let Some((first, others)) = self.outs.split_first_mut() else {
            return jack::Control::Continue;
        };
        let mix = first.as_mut_slice(scope);
        let cycle = Cycle {
            at_us,
            frame: self.frames.at(scope.last_frame_time()),
            near: self.mic.look(scope),
            far_delay: self
                .watch
                .latency
                .load(Relaxed)
                .saturating_add(self.watch.capture_latency.load(Relaxed)),
        };
        self.seat.cycle(mix, cycle);
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

/// Two clocks at one moment, read without a system call: a thread that is halted between the readings reads them again.
fn at_once(theirs: impl Fn() -> u64, ours: impl Fn() -> u64) -> (u64, u64) {
    const ONE_MOMENT_US: u64 = 10;
    let (mut best, mut least_us) = ((0, 0), u64::MAX);
    for _ in 0..3 {
        let before_us = ours();
        let their_us = theirs();
        let took_us = ours().saturating_sub(before_us);
        if took_us < least_us {
            (best, least_us) = ((their_us, before_us + took_us / 2), took_us);
        }
        if took_us <= ONE_MOMENT_US {
            break;
        }
    }
    best
}

/// JACK's count of frames, which has 32 bits and goes on while we miss cycles, as one that never comes round.
#[derive(Debug, Default)]
pub(super) struct FrameCount {
    frame: u64,
    last: Option<u32>,
}

impl FrameCount {
    fn at(&mut self, now: u32) -> u64 {
        let step = self.last.map_or(0, |last| now.wrapping_sub(last));
        // A server that counts anew: no time is known to have passed.
        if step < u32::MAX / 2 {
            self.frame += u64::from(step);
        }
        self.last = Some(now);
        self.frame
    }
}

#[cfg(test)]
mod tests {
    use super::{FrameCount, at_once};
    use std::cell::{Cell, RefCell};

    #[test]
    fn a_thread_halted_between_two_clocks_reads_them_again() {
        for halts in [[0, 0, 0], [1_650, 0, 0], [1_650, 900, 0], [1_650, 40, 900]] {
            let (now_us, halts) = (Cell::new(5_000), RefCell::new(halts.into_iter()));
            let theirs = || {
                let read_us = now_us.get() + 1_000_000;
                now_us.set(now_us.get() + halts.borrow_mut().next().unwrap_or(0));
                read_us
            };
            let (jack_us, ours_us) = at_once(theirs, || now_us.get());
            let apart = jack_us - 1_000_000;
            assert!(ours_us.abs_diff(apart) <= 20, "{ours_us} and {apart}");
        }
    }

    #[test]
    fn frames_are_counted_past_the_end_of_32_bits_and_never_back() {
        let mut count = FrameCount::default();
        let told = [u32::MAX - 99, u32::MAX - 49, 0, 1_000, 900, 1_000].map(|now| count.at(now));
        assert_eq!(told, [0, 50, 100, 1_100, 1_100, 1_200]);
    }
}
