//! The driver without a server: a thread that renders into nothing at absolute deadlines, so that a machine without JACK behaves the same.
//!
//! Deadlines are added up, not measured from the last wake-up, so the rate is exact over any time. After a halt of the machine it starts
//! counting anew instead of catching up in a burst. The period nobody hears is rendered all the same: positions move, events come.

use super::sched;
use super::seat::{RenderSeat, Replace, Watch};
use rustix::thread::{ClockId, clock_nanosleep_absolute};
use rustix::time::Timespec;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::*;
use std::thread;
use utterd_rt::{Control, Cycle};

/// Later than this is a halt of the machine, not jitter.
const HALT_US: u64 = 60_000;
/// Between JACK's server (10 by default) and ordinary threads.
const PRIORITY: i32 = 5;

pub(super) struct Timer {
    pub(super) watch: Arc<Watch>,
    pub(super) replace: Replace,
}

/// Starts the thread; it ends within a period of `watch.is_retired`. `[control]`
pub(super) fn start(rate: u32, period: u32) -> io::Result<(Timer, Control)> {
    let (rate, period) = (rate.max(1), period.max(1));
    let (control, renderer) = utterd_rt::engine(rate);
    let watch = Arc::new(Watch::default());
    watch.rate.store(rate, Release);
    watch.period.store(period, Release);
    let (seat, replace) = RenderSeat::new(renderer, watch.clone());
    let seen = watch.clone();
    thread::Builder::new()
        .name("utterd-timer".into())
        .spawn(move || run(seat, &seen, rate, period))?;
    Ok((Timer { watch, replace }, control))
}

fn run(mut seat: RenderSeat, watch: &Watch, rate: u32, period: u32) {
    // What the kernel said is in the log of the check that reads it back.
    let _refused = sched::become_realtime(PRIORITY).is_err();
    let mut out = vec![0.0; period as usize];
    let mut beat = Beat::new(sched::now_us(), rate, period);
    while !watch.is_retired.load(Acquire) {
        let due_us = beat.next(sched::now_us());
        sleep_until(due_us);
        let cycle = Cycle {
            at_us: due_us,
            frame: beat.frame,
            ..Cycle::default()
        };
        seat.cycle(&mut out, cycle);
    }
}

/// The deadlines: `start + n × period`, without rounding adding up.
struct Beat {
    start_us: u64,
    beats: u64,
    rate: u64,
    period: u64,
    /// Of the beat told last; a halt of the machine is counted in it.
    frame: u64,
}

impl Beat {
    fn new(start_us: u64, rate: u32, period: u32) -> Beat {
        Beat {
            start_us,
            beats: 0,
            rate: rate.into(),
            period: period.into(),
            frame: 0,
        }
    }

    fn at(&self, beats: u64) -> u64 {
        self.start_us + (u128::from(beats) * u128::from(self.period) * 1_000_000 / u128::from(self.rate)) as u64
    }

    fn next(&mut self, now_us: u64) -> u64 {
        self.beats += 1;
        self.frame += self.period;
        let due_us = self.at(self.beats);
        if now_us > due_us + HALT_US {
            self.frame += (now_us - due_us) * self.rate / 1_000_000;
            (self.start_us, self.beats) = (now_us, 0);
        }
        self.at(self.beats)
    }
}

fn sleep_until(due_us: u64) {
    let due = Timespec {
        tv_sec: (due_us / 1_000_000) as i64,
        tv_nsec: (due_us % 1_000_000 * 1_000) as i64,
    };
    while let Err(error) = clock_nanosleep_absolute(ClockId::Monotonic, &due) {
        if error != rustix::io::Errno::INTR {
            // An absolute sleep on this clock knows no other error; should it, a slow loop is better than a hot one.
            thread::sleep(std::time::Duration::from_millis(1));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_do_not_drift_and_a_halt_is_not_made_up_for() {
        let mut beat = Beat::new(1_000_000, 44_100, 441);
        let mut last = 0;
        for n in 1..=100_u64 {
            last = beat.next(1_000_000 + n * 10_000);
            assert_eq!(last, 1_000_000 + n * 10_000);
        }
        // Late by 50 ms: the missed beats come at once. Late by a second: a new count.
        assert_eq!(beat.next(last + 50_000), last + 10_000);
        let frame = beat.frame;
        assert_eq!(beat.next(last + 1_000_000), last + 1_000_000);
        assert_eq!(beat.frame, frame + 43_659, "a halt counts: position is time");
        assert_eq!(beat.next(last + 1_000_000), last + 1_010_000);
    }
}
