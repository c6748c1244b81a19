//! The sound path's control side: stores that hold utterances, tracks that queue them, and the feeder that keeps the lanes of the
//! real-time room full and tells what was heard.
//!
//! `Tx` is the handle; store.rs and writer.rs hold audio, resample.rs brings it to the output's rate, track.rs (with entry.rs and
//! follow.rs) leads one session's queue through its lane, feeder.rs is the thread and the one lock over all tracks. Invariants: every store survives the engine that
//! plays it; every cut is answered by exactly one `Cut`, and nothing of that utterance follows it; else every played utterance that
//! completes has exactly one `Ended`. Events come from the feeder's thread alone, in order, and no lock is held while they are handed over.
//! Not here: what to play and when to cut (core), where audio comes from (synth), who calls the renderer (driver).
#![allow(rustdoc::broken_intra_doc_links, reason = "thread tags look like links")]

mod clock;
mod entry;
mod feeder;
mod follow;
pub(crate) mod resample;
mod store;
mod track;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use crossbeam::channel::Sender;
use utterd_rt::{Control, StatsHandle, TapRx};

pub use crate::plugins::MarkKind;
pub use clock::now_us;
use feeder::Shared;
pub use writer::StoreWriter;

/// Where a track is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Output {
    /// The loudspeaker: the driver's mix.
    Local,
    /// Nowhere, in real time.
    Null,
}

/// How much is kept where.
#[derive(Clone, Copy, Debug)]
pub struct TxConfig {
    /// Stored and unplayed audio of an utterance at which a blocking writer waits.
    pub look_ahead_us: u64,
    /// Kept in each lane's ring, more where the driver's period asks for it.
    pub ring_us: u64,
}

impl Default for TxConfig {
    fn default() -> Self {
        TxConfig {
            look_ahead_us: 5_000_000,
            ring_us: 150_000,
        }
    }
}

/// The utterance was cut: what is written now is not wanted any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CutOff;

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the utterance was cut")
    }
}

impl std::error::Error for CutOff {}

/// A mark as a backend gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceMark {
    pub kind: MarkKind,
    /// Sample of the open piece, at the piece's rate.
    pub sample: u64,
    /// Code points of the utterance's text.
    pub char_start: u32,
    pub char_end: u32,
    pub name: String,
}

/// A mark as it is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreMark {
    pub kind: MarkKind,
    /// Onset in the utterance's own audio.
    pub at_us: u64,
    pub char_start: u32,
    pub char_end: u32,
    pub name: String,
}

/// What happened to the sound. `at_us` is when it is heard: the output's playback latency is counted in, except in `Cut` and `Paused`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxEvent {
    /// Its first sample was heard.
    Started { utterance: u64, at_us: u64 },
    /// The sample of a mark was heard.
    Mark { utterance: u64, mark: StoreMark, at_us: u64 },
    /// Its last sample was heard.
    Ended { utterance: u64, played_us: u64, at_us: u64 },
    /// The answer to `cut`: every mark whose sample was played came before. `played_us` counts every sample handed to the sink, ramp included.
    Cut { utterance: u64, played_us: u64, silent_at_us: u64 },
    /// Everything queued on this track is complete and in the ring, or was cut. Once after each `play`.
    Hungry { track: u64 },
    /// An incomplete utterance's unplayed audio fell below the look-ahead. Once each time.
    Low { utterance: u64 },
    /// An utterance that waits for its next piece was consumed as far as it goes. Once each time.
    Dry { utterance: u64, played_us: u64 },
    /// The track is silent and holds. One answers each `pause` that no `resume` or further `pause` overtakes.
    Paused { track: u64, at_us: u64 },
    /// There was nothing to play within the utterance, for this long.
    Underrun { utterance: u64, lost_us: u64 },
}

/// The handle of the sound path; cheap to clone. No method blocks for longer than a look at the tracks takes, but
/// for `engine` at another rate: it resamples what is stored and not yet played. `[any]`
#[derive(Clone)]
pub struct Tx {
    shared: Arc<Shared>,
}

impl Tx {
    /// Starts the feeder. `events` is called on its thread, without a lock held; while it blocks, nothing is fed.
    pub fn start(cfg: TxConfig, events: impl Fn(TxEvent) + Send + Sync + 'static) -> std::io::Result<Tx> {
        Ok(Tx {
            shared: Shared::start(cfg, Box::new(events))?,
        })
    }

    /// A fresh engine drives this output: tracks go on from their held positions, at the new rate.
    pub fn engine(&self, output: Output, control: Control, rate: u32, latency_frames: u32) {
        self.shared.engine(output, control, rate, latency_frames);
    }

    /// The output's renderer is gone: tracks hold their positions, cuts are answered at once.
    pub fn lost(&self, output: Output) {
        self.shared.lost(output);
    }

    /// The output's playback latency changed.
    pub fn latency(&self, output: Output, frames: u32) {
        self.shared.latency(output, frames);
    }

    /// The driver asks for so many frames at a time.
    pub fn period(&self, output: Output, frames: u32) {
        self.shared.period(output, frames);
    }

    /// The output's rate: of its engine, else the last one's, else 48000.
    pub fn rate(&self, output: Output) -> u32 {
        self.shared.rate(output)
    }

    /// The levels of the output's engine, while it has one.
    pub fn stats(&self, output: Output) -> Option<StatsHandle> {
        self.shared.stats(output)
    }

    /// Makes the filters from these rates to the output's now, so that the first utterance does not wait for them (4 ms each at worst).
    pub fn warm(&self, output: Output, in_rates: &[u32]) {
        self.shared.warm(output, in_rates);
    }

    pub fn open_track(&self, track: u64, output: Output) {
        self.shared.open_track(track, output);
    }

    /// From now on each lane of this track has a tap, which is sent here with the listener's id before it carries anything.
    pub fn tap(&self, track: u64, listener: u64, taps: Sender<(u64, TapRx)>) {
        self.shared.tap(track, (listener, taps));
    }

    /// Nobody hears this track any more: its later lanes have no tap. The end of a lane that lives is worth keeping, because a lane takes one
    /// tap and goes on filling it when the track is tapped again.
    pub fn untap(&self, track: u64) {
        self.shared.untap(track);
    }

    /// Drops the track with all it has; owed cuts are answered, nothing else is said.
    pub fn close_track(&self, track: u64) {
        self.shared.close_track(track);
    }

    /// The writing end of this utterance's store, which is made if it is not there. That of a cut or forgotten one refuses all.
    pub fn store(&self, utterance: u64, output: Output) -> StoreWriter {
        self.shared.store(utterance, output)
    }

    /// Tells with a nameless bookmark when this much of the utterance was heard.
    pub fn watch(&self, utterance: u64, output: Output, at_us: u64) {
        self.shared.watch(utterance, output, at_us);
    }

    /// Plays this utterance's store after what is queued on the track. Its writer may come later.
    pub fn play(&self, track: u64, utterance: u64) {
        match NonZeroU64::new(utterance) {
            Some(id) => self.shared.play(track, id),
            None => tracing::error!(track, "utterance 0 cannot be played"),
        }
    }

    /// Silences this utterance, whatever state it is in; exactly one `Cut` answers each call.
    pub fn cut(&self, utterance: u64, fade_us: u32) {
        self.shared.cut(utterance, fade_us);
    }

    pub fn pause(&self, track: u64, fade_us: u32) {
        self.shared.pause(track, fade_us);
    }

    /// Goes on from the held sample, with the ramp complementary to the pause's.
    pub fn resume(&self, track: u64) {
        self.shared.resume(track);
    }

    /// Reached along a ramp of this length, at least 5 ms; at once while the track is silent.
    pub fn gain(&self, track: u64, linear: f32, ramp_us: u32) {
        self.shared.gain(track, linear, ramp_us);
    }

    /// Drops the store of a finished utterance; its id means nothing from now on. One that still plays falls silent unreported.
    pub fn forget(&self, utterance: u64) {
        self.shared.forget(utterance);
    }

    /// Stops the feeder, lets blocked writers go, and closes every lane. Waits for an event that is being handed over.
    pub fn shutdown(&self) {
        self.shared.shutdown();
    }
}
