//! The writing end of a store, given to the synthesis workers.
//!
//! One utterance is one or more pieces (syntheses) in order, each with its own input rate and gain. A piece's samples
//! are scaled, resampled and appended; marks come as samples of the piece at its own rate. A writer that was told to
//! block waits at the look-ahead bound; a cut lets it go at once. A writer that is dropped after its
//! first piece began completes the store at what is there, so that a worker's end, however it comes, can never leave a listener waiting. Not here: who is played when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::clock::Clock;
use super::feeder::Wake;
use super::resample::{Pool, Resampler};
use super::store::Store;
use super::{CutOff, PieceMark, StoreMark};

/// Input samples between two looks at the bound and the cut.
const SLICE: usize = 4096;

/// What every writer of a Tx shares.
#[derive(Clone)]
pub(crate) struct WriterEnv {
    pub(crate) wake: Wake,
    pub(crate) pool: Pool,
    pub(crate) clock: Clock,
    pub(crate) look_ahead_us: u64,
}

/// Writes one utterance; see the module. `[worker]`
pub struct StoreWriter {
    utterance: u64,
    store: Arc<Store>,
    env: WriterEnv,
    piece: Option<Piece>,
    blocking: bool,
    give_up: Arc<AtomicBool>,
    begun: bool,
    finished: bool,
}

struct Piece {
    rate: u32,
    gain: f32,
    resampler: Resampler,
    last_write_us: Option<u64>,
    scaled: Vec<f32>,
    converted: Vec<f32>,
}

impl StoreWriter {
    pub(crate) fn new(utterance: u64, store: Arc<Store>, env: WriterEnv) -> Self {
        StoreWriter {
            utterance,
            store,
            env,
            piece: None,
            blocking: true,
            give_up: Arc::default(),
            begun: false,
            finished: false,
        }
    }

    pub fn utterance(&self) -> u64 {
        self.utterance
    }

    /// The output's rate, to which everything is resampled.
    pub fn rate(&self) -> u32 {
        self.store.rate()
    }

    /// A new synthesis at `in_rate`; an open one is ended first.
    pub fn begin_piece(&mut self, in_rate: u32, gain: f32) {
        self.end_piece();
        let in_rate = in_rate.max(1);
        self.begun = true;
        let rate = self.store.begin_piece();
        self.piece = Some(Piece {
            rate: in_rate,
            gain,
            resampler: Resampler::new(&self.env.pool, in_rate, rate),
            last_write_us: None,
            scaled: Vec::new(),
            converted: Vec::new(),
        });
    }

    /// Appends mono samples of the open piece (none open: dropped). May block at the look-ahead bound.
    pub fn write(&mut self, pcm: &[f32]) -> Result<(), CutOff> {
        let Some(piece) = &mut self.piece else {
            return Ok(());
        };
        let begun = self.env.clock.now_us();
        let worked_us = piece.last_write_us.map(|last| begun.saturating_sub(last));
        for slice in pcm.chunks(SLICE) {
            if self.blocking && !self.store.wait_for_room(self.env.look_ahead_us, &self.give_up) {
                return Err(CutOff);
            }
            piece.converted.clear();
            piece.convert(slice);
            if !self.store.append(&piece.converted) {
                return Err(CutOff);
            }
            self.env.wake.wake();
        }
        piece.last_write_us = Some(self.env.clock.now_us());
        if let Some(wall_us) = worked_us {
            let audio_us = pcm.len() as u64 * 1_000_000 / u64::from(piece.rate);
            self.store.measured(audio_us, wall_us);
        }
        if self.store.is_cut() || self.give_up.load(Ordering::Acquire) {
            return Err(CutOff);
        }
        Ok(())
    }

    /// A mark of the open piece.
    pub fn mark(&mut self, mark: PieceMark) {
        if let Some(piece) = &self.piece {
            self.store.mark(mark.sample, piece.rate, |at_us| {
                StoreMark::new(mark.kind, at_us, mark.char_start, mark.char_end, mark.name)
            });
            self.env.wake.wake();
        }
    }

    /// Ends the open piece: what the resampler holds back follows.
    pub fn end_piece(&mut self) {
        if let Some(mut piece) = self.piece.take() {
            piece.converted.clear();
            piece.resampler.finish(&mut piece.converted);
            self.store.append(&piece.converted);
            self.store.end_piece();
            self.env.wake.wake();
        }
    }

    /// No more pieces: the utterance is complete.
    pub fn finish(&mut self) {
        self.end_piece();
        self.finished = true;
        self.store.finish();
        self.env.wake.wake();
    }

    /// Between two pieces, and what follows is not known yet: that the listener runs dry is idleness, not an underrun.
    pub fn rest(&self, resting: bool) {
        self.store.rest(resting);
        self.env.wake.wake();
    }

    /// What this writer leaves behind is somebody else's to complete.
    pub fn disown(&mut self) {
        self.finished = true;
    }

    /// The utterance ends with what is there.
    pub fn fail(&mut self) {
        self.finish();
    }

    /// Stored and not yet played.
    pub fn ahead_us(&self) -> u64 {
        self.store.ahead_us()
    }

    /// Whether `write` waits at the look-ahead bound; true at first.
    pub fn set_blocking(&mut self, blocking: bool) {
        self.blocking = blocking;
    }

    /// Ends this piece's waits and refuses what comes once `give_up` is set, though the utterance is not cut.
    pub fn set_give_up(&mut self, give_up: Arc<AtomicBool>) {
        self.give_up = give_up;
    }

    /// How fast this backend wrote before, as audio time per wall time; used until this utterance has its own measure.
    pub fn expect_speed(&mut self, times_real_time: f64) {
        self.store.expect_speed(times_real_time);
    }

    /// The measured (else expected) writing speed.
    pub fn speed(&self) -> Option<f64> {
        self.store.speed()
    }

    /// Everything appended so far.
    pub fn total_us(&self) -> u64 {
        self.store.total_us()
    }

    pub fn is_cut(&self) -> bool {
        self.store.is_cut()
    }
}

impl Piece {
    fn convert(&mut self, pcm: &[f32]) {
        // Exactly 1.0 is the usual gain, and it leaves every bit alone.
        let pcm = if self.gain == 1.0 {
            pcm
        } else {
            self.scaled.clear();
            self.scaled.extend(pcm.iter().map(|s| s * self.gain));
            &self.scaled
        };
        self.resampler.push(pcm, &mut self.converted);
    }
}

impl Drop for StoreWriter {
    fn drop(&mut self) {
        if self.begun && !self.finished {
            self.finish();
        }
    }
}
