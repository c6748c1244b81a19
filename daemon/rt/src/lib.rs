//! The real-time room: what turns stored speech into periods of sound.
//!
//! Everything here comes in pairs made together and then parted: a control half that may allocate, and a render half that may not.
//! [`engine`] makes [`Control`] and [`Renderer`]; [`Control::add_lane`] makes a [`LaneTx`] whose other half is at once in the renderer's hands.
//!
//! Invariants:
//! - `render` fills every sample of `out`, never allocates, frees, locks, or makes a system call, and its work is bounded by lanes × frames.
//! - What dies in the renderer goes home by a return ring and is freed by [`Control::collect`].
//! - One lane alone at gain 1.0 is copied bit for bit. A cut touches no sample of the next span; a pause loses and repeats none.
//! - Facts are never lost: a command whose answer would not fit is left in its ring until there is room.
//!
//! Deliberately absent: heap (`no_std` without `alloc`; the rings of `rtrb` bring their own memory, made on the control side), clocks
//! (time is an argument), files, strings, logging, ids of anything but spans. There is no lane table either: live lanes *are* the contents of a
//! ring, mutated in place, so nothing big ever stands on a stack and idle slots cost nothing.
//!
//! Words: a *lane* is what one track plays on; a *span* is one utterance's stretch of it; positions count a lane's samples from 0, never reset.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![allow(rustdoc::broken_intra_doc_links, reason = "thread tags look like links")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(test)]
extern crate std;

mod clock;
mod lane;
mod mix;
mod orders;
mod ramp;
mod renderer;
mod stats;
mod tap;
mod tx;

#[cfg(test)]
mod tests;

pub use renderer::{Control, Cycle, Renderer, engine};
pub use stats::{Stats, StatsHandle};
pub use tap::{Block, TapRx, TapTx, tap};
pub use tx::LaneTx;

use core::num::NonZeroU64;
use renderer::touch;

/// Lanes alive in one engine; one more and [`Control::add_lane`] answers [`Full`].
pub const MAX_LANES: usize = 256;
/// Spans a lane can surely hold begun but not yet reached by the renderer, each with its end; then [`LaneTx::begin`] answers [`Full`].
pub const MAX_SPANS: usize = 16;

/// Commands a lane holds unread; a period reads them all, so this is reached only while nobody renders.
pub(crate) const COMMANDS: usize = 64;
/// Facts a lane holds unread. Half of it is kept for the answers to commands.
pub(crate) const FACTS: usize = 128;
/// The engine's own tap holds so many periods of the longest kind, or half a second: whoever reads it may be late by that much.
pub(crate) const TAP_FRAMES: usize = 4 * 8_192;

/// What the new lane is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaneSpec {
    /// Samples that fit between the feeder and the renderer.
    pub ring_frames: usize,
    /// Begin held: the first [`Command::Resume`] starts it, with that command's own fade.
    pub paused: bool,
    /// Linear gain from the first sample on.
    pub gain: f32,
}

/// An order to one lane. All take effect at the start of the next period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Command {
    /// End this span's sound: a ramp of `fade_frames`, then all the rest of the span is skipped in one step. Answered exactly once.
    Cut {
        /// The span to end.
        span: NonZeroU64,
        /// Length of the ramp; shorter where the span ends sooner.
        fade_frames: u32,
    },
    /// Hold the position: the ramp down is heard but not consumed. Answered by [`Fact::Paused`], unless a `Resume` overtakes it.
    Pause {
        /// Length of the ramp.
        fade_frames: u32,
    },
    /// Go on from the held sample, with the ramp complementary to that of the pause. Answered by [`Fact::Resumed`].
    Resume {
        /// Used only by a lane that was born paused: every other has a ramp to complement.
        fade_frames: u32,
    },
    /// Go to this gain along a straight line; at once while silent. Not answered.
    Gain {
        /// Factor on every sample. Not finite: ignored.
        linear: f32,
        /// How long the way is; never shorter than 5 ms.
        ramp_frames: u32,
    },
    /// Take up the tap that was sent ahead: see [`LaneTx::tap`]. Not answered.
    Tap,
}

/// What happened on a lane, told by the renderer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// The one answer to a cut that met its span.
    Cut {
        /// The span that was cut.
        span: NonZeroU64,
        /// Lane position at which its sound ended, ramp included; for a queued span, where it would have begun.
        position: u64,
        /// Time of the last sample of the ramp; if it was silent already, of the period that obeyed.
        at_us: u64,
    },
    /// The one answer to a cut of a span that is not, or no longer, on this lane (or is cut already).
    CutMissed {
        /// The span that was named.
        span: NonZeroU64,
    },
    /// The lane is silent and holds.
    Paused {
        /// The first sample that a resume will play.
        position: u64,
        /// Time of the last sample of the ramp; if it was silent already, of the period that obeyed.
        at_us: u64,
    },
    /// The lane plays again.
    Resumed {
        /// The sample it goes on from.
        position: u64,
        /// Time of that sample.
        at_us: u64,
    },
    /// The ring ran dry inside a span that has not ended. A hint: left out when nobody has read facts for long.
    Underrun {
        /// The span that starved.
        span: NonZeroU64,
        /// The sample that was missing.
        position: u64,
        /// When it was missing.
        at_us: u64,
    },
    /// Samples came back. A hint like `Underrun`; what a left-out one counted is added to the next.
    Recovered {
        /// The span that goes on.
        span: NonZeroU64,
        /// The sample it goes on from.
        position: u64,
        /// Time of that sample.
        at_us: u64,
        /// Frames for which there was nothing to play, pauses not counted.
        lost_frames: u64,
    },
}

/// There is no room: of lanes, spans or commands, as the method says. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl core::fmt::Display for Full {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no room")
    }
}

impl core::error::Error for Full {}

/// A boundary between spans, sent ahead of the samples it speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) at: u64,
    pub(crate) kind: Mark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// `is_cut` is written by the renderer when a cut finds the span still queued.
    Begin {
        span: NonZeroU64,
        is_cut: bool,
    },
    End,
}
