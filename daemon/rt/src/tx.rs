//! The control half of a lane: the feeder's end of its four rings.
//!
//! Order is the whole contract with the renderer: a span's marker goes out before its samples and before any command that names it. The
//! renderer looks at samples, then commands, then markers; so it never meets a sample or a cut whose span it does not know, and never plays a
//! sample that was sent after a command without having obeyed that command first.
//! There is no close command that could find its ring full: letting go of this half *is* the close.

use crate::{Command, Fact, Full, Mark, Marker, TapTx};
use core::num::NonZeroU64;
use rtrb::{Consumer, Producer};

/// The feeder's end of a lane. Dropping it closes the lane. `[control]`
#[derive(Debug)]
pub struct LaneTx {
    pub(crate) samples: Producer<f32>,
    pub(crate) markers: Producer<Marker>,
    pub(crate) commands: Producer<Command>,
    pub(crate) facts: Consumer<Fact>,
    pub(crate) taps: Producer<TapTx>,
    pub(crate) pushed: u64,
    pub(crate) is_open: bool,
}

impl LaneTx {
    /// A new span starts at the next pushed sample and the one before it, if still open, is complete. Returns that lane position.
    /// `Full`: [`crate::MAX_SPANS`] or more are on the lane and not reached yet. `[control]`
    pub fn begin(&mut self, span: NonZeroU64) -> Result<u64, Full> {
        // The second place is kept for this span's end, which therefore never finds the ring full.
        if self.markers.slots() < 2 {
            return Err(Full);
        }
        self.mark(Mark::Begin { span, is_cut: false })?;
        self.is_open = true;
        Ok(self.pushed)
    }

    /// The current span is complete: what follows it is idle. Returns its end. Without an open span nothing changes. `[control]`
    pub fn end(&mut self) -> Result<u64, Full> {
        if self.is_open {
            self.mark(Mark::End)?;
            self.is_open = false;
        }
        Ok(self.pushed)
    }

    /// Appends to the open span what there is room for and says how much that was; nothing outside a span. `[control]`
    pub fn push(&mut self, samples: &[f32]) -> usize {
        if !self.is_open {
            return 0;
        }
        let (taken, _) = self.samples.push_partial_slice(samples);
        self.pushed += taken.len() as u64;
        taken.len()
    }

    /// Like `push` of a span's last samples followed by `end`, but no period can fall between the two and take the end for an underrun.
    /// If not all fit, it is a plain `push`: call again with the rest. `[control]`
    pub fn push_last(&mut self, samples: &[f32]) -> Result<usize, Full> {
        if !self.is_open {
            return Ok(0);
        }
        if self.free() < samples.len() {
            return Ok(self.push(samples));
        }
        let at = self.pushed + samples.len() as u64;
        self.markers.push(Marker { at, kind: Mark::End }).map_err(|_| Full)?;
        let taken = self.push(samples);
        self.is_open = false;
        Ok(taken)
    }

    /// Samples that fit now. `[control]`
    pub fn free(&self) -> usize {
        self.samples.slots()
    }

    /// Samples that the ring can hold. `[control]`
    pub fn capacity(&self) -> usize {
        self.samples.buffer().capacity()
    }

    /// Samples pushed since the lane was made. `[control]`
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Samples the renderer has consumed, skipped ones included. `[control]`
    pub fn position(&self) -> u64 {
        self.pushed - (self.capacity() - self.samples.slots()) as u64
    }

    /// Sends an order. `Full` only while nobody renders, or nobody reads this lane's facts. `[control]`
    pub fn command(&mut self, command: Command) -> Result<(), Full> {
        self.commands.push(command).map_err(|_| Full)
    }

    /// From the next period on what this lane adds to the mix goes into this tap too, as long as the lane lives. A lane takes one:
    /// a second is given back. `[control]`
    pub fn tap(&mut self, tap: TapTx) -> Result<(), TapTx> {
        if self.commands.is_full() {
            return Err(tap);
        }
        self.taps.push(tap).map_err(|rtrb::PushError::Full(tap)| tap)?;
        // There is room, and without the order the tap would lie unused: nothing worse.
        self.commands.push(Command::Tap).ok();
        Ok(())
    }

    /// The oldest fact not read yet. `[control]`
    pub fn next_fact(&mut self) -> Option<Fact> {
        self.facts.pop().ok()
    }

    /// The renderer is gone, and with it everything that was in the rings. `[control]`
    pub fn is_abandoned(&self) -> bool {
        self.samples.is_abandoned()
    }

    /// Gives the lane up: if it sounds it fades within 5 ms, then it goes home. `[control]`
    pub fn close(self) {}

    fn mark(&mut self, kind: Mark) -> Result<(), Full> {
        self.markers.push(Marker { at: self.pushed, kind }).map_err(|_| Full)
    }
}
