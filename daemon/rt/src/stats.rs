//! Levels the renderer keeps for whoever watches it: how many periods, how late, how often dry.
//!
//! Shared ownership without a heap: handles count themselves into a slot of a fixed table. An engine takes a free slot and the last handle
//! gives it back. Should the table ever be full, further engines share its last slot, and their numbers add up; nothing else suffers.

use core::ops::Deref;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*, fence};

/// The levels of one engine. All counters only grow while the engine lives. `[any]`
#[derive(Debug)]
pub struct Stats {
    /// Odd while a period is being rendered: see [`Stats::between_periods`].
    sequence: AtomicU64,
    frames: AtomicU64,
    last_period_us: AtomicU64,
    next_period_us: AtomicU64,
    gap_max_us: AtomicU64,
    underruns: AtomicU64,
    underrun_frames: AtomicU64,
    idle_periods: AtomicU64,
    lanes: AtomicU32,
    is_tapped: AtomicBool,
}

/// What one period adds to the levels.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) underruns: u64,
    pub(crate) underrun_frames: u64,
    /// Lanes that had something to say: sound, or the lack of it.
    pub(crate) busy: u32,
}

impl Stats {
    const fn new() -> Stats {
        Stats {
            sequence: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            last_period_us: AtomicU64::new(0),
            next_period_us: AtomicU64::new(0),
            gap_max_us: AtomicU64::new(0),
            underruns: AtomicU64::new(0),
            underrun_frames: AtomicU64::new(0),
            idle_periods: AtomicU64::new(0),
            lanes: AtomicU32::new(0),
            is_tapped: AtomicBool::new(false),
        }
    }

    /// Periods rendered. `[any]`
    pub fn periods(&self) -> u64 {
        self.sequence.load(Acquire) / 2
    }

    /// Frames rendered. `[any]`
    pub fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }

    /// Time of the first sample of the last period; 0 before the first. `[any]`
    pub fn last_period_us(&self) -> u64 {
        self.last_period_us.load(Acquire)
    }

    /// The longest time between two calls of `render` since this was last asked. `[any]`
    pub fn take_gap_max_us(&self) -> u64 {
        self.gap_max_us.swap(0, Relaxed)
    }

    /// The same without forgetting it. `[any]`
    pub fn gap_max_us(&self) -> u64 {
        self.gap_max_us.load(Relaxed)
    }

    /// Times a lane ran dry inside a span. `[any]`
    pub fn underruns(&self) -> u64 {
        self.underruns.load(Relaxed)
    }

    /// Frames lanes lacked inside spans. `[any]`
    pub fn underrun_frames(&self) -> u64 {
        self.underrun_frames.load(Relaxed)
    }

    /// Periods in which no lane had anything to play: silence by right, not for lack of samples. `[any]`
    pub fn idle_periods(&self) -> u64 {
        self.idle_periods.load(Relaxed)
    }

    /// Lanes in the renderer's hands. `[any]`
    pub fn lanes(&self) -> u32 {
        self.lanes.load(Relaxed)
    }

    /// Reads something (a lane's position) that no period changed meanwhile, and the time at which the sample after all those counted in
    /// it is played. `None` when periods kept coming in between, or before the first: ask again later. `[any]`
    pub fn between_periods<R>(&self, mut read: impl FnMut() -> R) -> Option<(R, u64)> {
        for _ in 0..4 {
            let before = self.sequence.load(Acquire);
            if before == 0 || before % 2 == 1 {
                core::hint::spin_loop();
                continue;
            }
            let answer = read();
            let next_us = self.next_period_us.load(Relaxed);
            fence(Acquire);
            if self.sequence.load(Relaxed) == before {
                return Some((answer, next_us));
            }
        }
        None
    }

    /// Somebody reads the engine's tap. `[rt & active]`
    pub(crate) fn is_tapped(&self) -> bool {
        self.is_tapped.load(Relaxed)
    }

    pub(crate) fn set_tapped(&self, on: bool) {
        self.is_tapped.store(on, Relaxed);
    }

    /// Opens a period. `[rt & active]`
    pub(crate) fn begin(&self, at_us: u64) {
        let sequence = self.sequence.load(Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Relaxed);
        fence(Release);
        let last = self.last_period_us.load(Relaxed);
        if sequence > 0 {
            let gap_us = at_us.saturating_sub(last);
            if gap_us > self.gap_max_us.load(Relaxed) {
                self.gap_max_us.fetch_max(gap_us, Relaxed);
            }
        }
        self.last_period_us.store(at_us, Release);
    }

    /// Closes a period. `[rt & active]`
    pub(crate) fn end(&self, frames: usize, next_us: u64, tally: Tally, lanes: usize) {
        // One writer: a load and a store do, and cost less than a locked instruction.
        let add = |level: &AtomicU64, n: u64| {
            if n > 0 {
                level.store(level.load(Relaxed).wrapping_add(n), Relaxed);
            }
        };
        add(&self.frames, frames as u64);
        add(&self.underruns, tally.underruns);
        add(&self.underrun_frames, tally.underrun_frames);
        add(&self.idle_periods, u64::from(tally.busy == 0));
        self.next_period_us.store(next_us, Relaxed);
        self.lanes.store(lanes as u32, Relaxed);
        let sequence = self.sequence.load(Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Release);
    }

    fn reset(&self) {
        for level in [
            &self.sequence,
            &self.frames,
            &self.last_period_us,
            &self.next_period_us,
            &self.gap_max_us,
            &self.underruns,
            &self.underrun_frames,
            &self.idle_periods,
        ] {
            level.store(0, Relaxed);
        }
        self.lanes.store(0, Relaxed);
        self.is_tapped.store(false, Relaxed);
    }
}

struct Slot {
    holders: AtomicU32,
    stats: Stats,
}

const SLOTS: usize = 64;
static TABLE: [Slot; SLOTS] = [const {
    Slot {
        holders: AtomicU32::new(0),
        stats: Stats::new(),
    }
}; SLOTS];

/// A share in an engine's [`Stats`]; may outlive the engine. `[any]`
#[derive(Debug)]
pub struct StatsHandle {
    slot: usize,
}

impl StatsHandle {
    pub(crate) fn claim() -> StatsHandle {
        for (slot, entry) in TABLE.iter().enumerate().take(SLOTS - 1) {
            if entry.holders.compare_exchange(0, 1, AcqRel, Relaxed).is_ok() {
                entry.stats.reset();
                return StatsHandle { slot };
            }
        }
        TABLE[SLOTS - 1].holders.fetch_add(1, AcqRel);
        StatsHandle { slot: SLOTS - 1 }
    }
}

impl Clone for StatsHandle {
    fn clone(&self) -> StatsHandle {
        TABLE[self.slot].holders.fetch_add(1, AcqRel);
        StatsHandle { slot: self.slot }
    }
}

impl Drop for StatsHandle {
    fn drop(&mut self) {
        TABLE[self.slot].holders.fetch_sub(1, AcqRel);
    }
}

impl Deref for StatsHandle {
    type Target = Stats;
    fn deref(&self) -> &Stats {
        &TABLE[self.slot].stats
    }
}
