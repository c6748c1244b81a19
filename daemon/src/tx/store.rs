//! The store of one utterance: its samples at the output's rate, its marks, and how far it was played.
//!
//! Append-only on one end (the writer in writer.rs), freed behind the play position on the other (the feeder), so that an
//! hour-long utterance takes the look-ahead and a margin. The margin is what a rebuilt engine may need again. Positions
//! are samples from the utterance's begin at the store's present rate; a change of rate rescales all of them as exact
//! fractions and lets a running piece go on through a second resampler. A cut store drops what comes.
//! Locks: a store's lock is the innermost one; nothing is called under it but resampling after a change of rate.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::resample::{Pool, Resampler, rescale, samples_to_us, us_to_samples};
use super::{MarkKind, StoreMark};

/// Samples in a chunk, the unit of freeing. With malloc's own 16 bytes it is 64 KiB, from where on malloc maps memory for itself (lib.rs): what is
/// freed is then unmapped at once, which a hole in the heap never is while memory is locked. Pages not yet written cost nothing.
const CHUNK: usize = (64 * 1024 - 16) / size_of::<f32>();
/// Kept behind the play position.
const MARGIN_US: u64 = 300_000;
/// Marks waiting to be heard; a backend that sends more loses the excess.
const MAX_MARKS: usize = 65_536;
/// Playback of a fresh utterance starts with this much stored, if the backend is quick enough.
const START_US: u64 = 20_000;
/// A backend at less than `QUICK` times real time gets this much stored first.
const SLOW_START_US: u64 = 300_000;
const QUICK: f64 = 1.2;
/// After an underrun, playback goes on with this much stored.
const RESTART_US: u64 = 100_000;
/// How often a waiting writer looks whether it is still wanted.
const GIVE_UP_POLL: Duration = Duration::from_millis(20);
/// Wall time before a writer's measured speed means something.
const METER_US: u64 = 10_000;

/// The samples and marks of one utterance. `[any]`
pub(crate) struct Store {
    state: Mutex<State>,
    room: Condvar,
}

struct State {
    rate: u32,
    /// Position of the first sample of the first chunk.
    base: u64,
    end: u64,
    chunks: VecDeque<Vec<f32>>,
    /// Marks not handed out yet, by position.
    marks: VecDeque<(u64, StoreMark)>,
    played: u64,
    complete: bool,
    cut: bool,
    /// Nothing is being written, and nothing is known to follow.
    resting: bool,
    piece_open: bool,
    piece_start: u64,
    /// From the rate at which the open piece began to the present one; empty unless the rate changed within it.
    chain: Vec<Resampler>,
    meter: Meter,
}

/// How fast the writer writes: audio per wall time, waiting for room not counted.
#[derive(Default)]
struct Meter {
    audio_us: u64,
    wall_us: u64,
    hint: Option<f64>,
}

impl Meter {
    fn speed(&self) -> Option<f64> {
        if self.wall_us >= METER_US {
            Some(self.audio_us as f64 / self.wall_us as f64)
        } else {
            self.hint
        }
    }
}

/// Where a store stands, read in one go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    pub(crate) end: u64,
    pub(crate) complete: bool,
    pub(crate) resting: bool,
    pub(crate) rate: u32,
}

impl Store {
    pub(crate) fn new(rate: u32) -> Self {
        Store {
            state: Mutex::new(State {
                rate,
                base: 0,
                end: 0,
                chunks: VecDeque::new(),
                marks: VecDeque::new(),
                played: 0,
                complete: false,
                cut: false,
                resting: false,
                piece_open: false,
                piece_start: 0,
                chain: Vec::new(),
                meter: Meter::default(),
            }),
            room: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn level(&self) -> Level {
        let state = self.state();
        Level {
            end: state.end,
            complete: state.complete,
            resting: state.resting,
            rate: state.rate,
        }
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.state().cut
    }

    pub(crate) fn rate(&self) -> u32 {
        self.state().rate
    }

    pub(crate) fn total_us(&self) -> u64 {
        let state = self.state();
        samples_to_us(state.end, state.rate)
    }

    /// Stored and not yet played.
    pub(crate) fn ahead_us(&self) -> u64 {
        self.state().ahead_us()
    }

    // ---- the writer's side -------------------------------------------------------------------------------------

    /// Opens a piece at the store's present rate, which it returns.
    pub(crate) fn begin_piece(&self) -> u32 {
        let mut state = self.state();
        state.close_piece();
        state.piece_open = true;
        state.piece_start = state.end;
        state.rate
    }

    /// Appends samples at the rate the open piece began with. False once cut or complete.
    pub(crate) fn append(&self, samples: &[f32]) -> bool {
        let mut state = self.state();
        if state.complete {
            return false;
        }
        if state.chain.is_empty() {
            state.extend(samples);
        } else {
            let converted = through(&mut state.chain, samples);
            state.extend(&converted);
        }
        true
    }

    /// Closes the open piece; what a change of rate still held back follows.
    pub(crate) fn end_piece(&self) {
        self.state().close_piece();
    }

    /// A mark at `sample` (at `in_rate`) of the open piece.
    pub(crate) fn mark(&self, sample: u64, in_rate: u32, make: impl FnOnce(u64) -> StoreMark) {
        let mut state = self.state();
        if state.complete || state.marks.len() >= MAX_MARKS {
            return;
        }
        let position = state.piece_start + rescale(sample, in_rate, state.rate);
        let mark = make(samples_to_us(position, state.rate));
        let at = state.marks.partition_point(|(p, _)| *p <= position);
        state.marks.insert(at, (position, mark));
    }

    /// Has its reader told when this much was heard, whether or not the backend marks anything there.
    pub(crate) fn watch(&self, at_us: u64) {
        let mut state = self.state();
        let position = rescale(at_us, 1_000_000, state.rate);
        let mark = StoreMark {
            kind: MarkKind::Bookmark,
            at_us,
            char_start: 0,
            char_end: 0,
            name: String::new(),
        };
        let at = state.marks.partition_point(|(p, _)| *p <= position);
        state.marks.insert(at, (position, mark));
    }

    pub(crate) fn finish(&self) {
        let mut state = self.state();
        state.close_piece();
        state.complete = true;
    }

    pub(crate) fn rest(&self, resting: bool) {
        self.state().resting = resting;
    }

    /// Waits until less than `look_ahead_us` is stored unplayed, or `give_up` is set. False once cut or given up.
    pub(crate) fn wait_for_room(&self, look_ahead_us: u64, give_up: &AtomicBool) -> bool {
        let mut state = self.state();
        while !state.cut && !give_up.load(Ordering::Acquire) && state.ahead_us() >= look_ahead_us {
            let waited = self.room.wait_timeout(state, GIVE_UP_POLL);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.cut && !give_up.load(Ordering::Acquire)
    }

    pub(crate) fn measured(&self, audio_us: u64, wall_us: u64) {
        let mut state = self.state();
        state.meter.audio_us += audio_us;
        state.meter.wall_us += wall_us;
    }

    pub(crate) fn expect_speed(&self, times_real_time: f64) {
        self.state().meter.hint = Some(times_real_time);
    }

    pub(crate) fn speed(&self) -> Option<f64> {
        self.state().meter.speed()
    }

    // ---- the feeder's side -------------------------------------------------------------------------------------

    /// Whether playback may start at `position` without an underrun to be expected.
    pub(crate) fn ready(&self, position: u64) -> bool {
        let state = self.state();
        let stored_us = samples_to_us(state.end.saturating_sub(position), state.rate);
        if state.complete || (state.resting && stored_us > 0) {
            return true;
        }
        let quick = state.meter.speed().is_none_or(|s| s >= QUICK);
        stored_us >= if quick { START_US } else { SLOW_START_US }
    }

    /// Whether playback may go on at `position` after an underrun.
    pub(crate) fn recovered(&self, position: u64) -> bool {
        let state = self.state();
        let stored_us = samples_to_us(state.end.saturating_sub(position), state.rate);
        state.complete || state.resting || stored_us >= RESTART_US
    }

    /// Copies from `position` on into `out`; returns how many samples there were.
    pub(crate) fn read(&self, position: u64, out: &mut [f32]) -> usize {
        let state = self.state();
        let mut done = 0;
        while done < out.len() {
            let at = position + done as u64;
            if at < state.base || at >= state.end {
                break;
            }
            let offset = (at - state.base) as usize;
            let chunk = &state.chunks[offset / CHUNK][offset % CHUNK..];
            let take = chunk.len().min(out.len() - done);
            out[done..done + take].copy_from_slice(&chunk[..take]);
            done += take;
        }
        done
    }

    /// Everything before `position` was consumed: frees what lies behind it and wakes a writer that waits for room.
    pub(crate) fn set_played(&self, position: u64) {
        let mut state = self.state();
        if position <= state.played {
            return;
        }
        state.played = position;
        let keep = position.saturating_sub(us_to_samples(MARGIN_US, state.rate));
        while state.base + CHUNK as u64 <= keep && state.chunks.len() > 1 {
            state.chunks.pop_front();
            state.base += CHUNK as u64;
        }
        drop(state);
        self.room.notify_all();
    }

    /// The next mark whose onset lies before `position`.
    pub(crate) fn next_mark(&self, position: u64) -> Option<(u64, StoreMark)> {
        let mut state = self.state();
        match state.marks.front() {
            Some((at, _)) if *at < position => state.marks.pop_front(),
            _ => None,
        }
    }

    /// Drops the samples and what will come; marks stay until the position of the cut is known.
    pub(crate) fn cut(&self) {
        let mut state = self.state();
        state.cut = true;
        state.complete = true;
        state.piece_open = false;
        state.chain.clear();
        state.chunks = VecDeque::new();
        state.base = state.end;
        drop(state);
        self.room.notify_all();
    }

    /// Everything from now on is at `rate`: what is kept is resampled, positions become exact fractions, and an open
    /// piece goes on through a resampler of its own. Returns the rate before.
    pub(crate) fn convert(&self, rate: u32, pool: &Pool) -> u32 {
        let mut state = self.state();
        let before = state.rate;
        if before == rate {
            return before;
        }
        if !state.cut {
            state.resample_kept(rate, pool);
        } else {
            state.end = rescale(state.end, before, rate);
            state.base = state.end;
        }
        state.rate = rate;
        state.played = rescale(state.played, before, rate);
        state.piece_start = rescale(state.piece_start, before, rate);
        for (position, _) in &mut state.marks {
            *position = rescale(*position, before, rate);
        }
        before
    }

    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.state().chunks.iter().map(Vec::len).sum()
    }
}

impl State {
    fn ahead_us(&self) -> u64 {
        samples_to_us(self.end.saturating_sub(self.played), self.rate)
    }

    fn extend(&mut self, mut samples: &[f32]) {
        self.end += samples.len() as u64;
        while !samples.is_empty() {
            let room = match self.chunks.back() {
                Some(last) if last.len() < CHUNK => CHUNK - last.len(),
                _ => {
                    self.chunks.push_back(Vec::with_capacity(CHUNK));
                    CHUNK
                }
            };
            let (now, later) = samples.split_at(room.min(samples.len()));
            if let Some(last) = self.chunks.back_mut() {
                last.extend_from_slice(now);
            }
            samples = later;
        }
    }

    fn close_piece(&mut self) {
        if !self.piece_open {
            return;
        }
        self.piece_open = false;
        let mut rest = Vec::new();
        for mut stage in std::mem::take(&mut self.chain) {
            let mut out = Vec::new();
            stage.push(&rest, &mut out);
            stage.finish(&mut out);
            rest = out;
        }
        if !self.cut {
            self.extend(&rest);
        }
    }

    /// Begins at a sample that is one at the new rate too, if the margin holds one: then no sample moves at all.
    fn resample_kept(&mut self, rate: u32, pool: &Pool) {
        let origin = (self.base..=self.played.max(self.base))
            .find(|p| (u128::from(*p) * u128::from(rate)).is_multiple_of(self.rate.into()))
            .unwrap_or(self.base);
        let mut stage = Resampler::new(pool, self.rate, rate);
        let mut converted = Vec::new();
        let mut skip = (origin - self.base) as usize;
        for chunk in std::mem::take(&mut self.chunks) {
            let from = skip.min(chunk.len());
            skip -= from;
            stage.push(&chunk[from..], &mut converted);
        }
        if self.piece_open {
            self.chain.push(stage);
        } else {
            stage.finish(&mut converted);
        }
        self.base = rescale(origin, self.rate, rate);
        self.end = self.base;
        self.extend(&converted);
    }
}

fn through(chain: &mut [Resampler], samples: &[f32]) -> Vec<f32> {
    let mut now = samples.to_vec();
    for stage in chain {
        let mut next = Vec::new();
        stage.push(&now, &mut next);
        now = next;
    }
    now
}

impl StoreMark {
    /// Set by `Store::watch`, and by no backend: a backend's bookmark has a name.
    pub(crate) fn is_watch(&self) -> bool {
        self.kind == MarkKind::Bookmark && self.name.is_empty()
    }

    pub(crate) fn new(kind: MarkKind, at_us: u64, char_start: u32, char_end: u32, name: String) -> Self {
        StoreMark {
            kind,
            at_us,
            char_start,
            char_end,
            name,
        }
    }
}
