//! Taps: what was played and what was captured, on its way out of the real-time room, period by period.
//!
//! A tap is a ring of samples and a ring of blocks that speak of them. A block goes in after its samples, so whoever sees it has them. What
//! finds no room is not written at all; the next block's `frame` tells how much is missing, so position stays time and a loss needs no counter.
//! The engine's own tap carries the mix and, beside it in the same block, what the microphone brought in the same callback. A lane's tap
//! carries what that lane alone added to the mix, in blocks of the same frames; they are there when the engine's block is.

use crate::stats::StatsHandle;
use crate::touch;
use rtrb::chunks::WriteChunk;
use rtrb::{Consumer, Producer, RingBuffer};

/// Blocks a tap holds; at 32 frames a period as much time as its samples.
const BLOCKS: usize = 1_024;

/// One period in a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Number of its first frame on the output's clock; without a gap it is the end of the block before.
    pub frame: u64,
    /// Frames of each channel.
    pub frames: u32,
    /// Channels, one after the other: 1, or 2 where the mix is followed by what was captured.
    pub channels: u32,
    /// Time of the first frame.
    pub at_us: u64,
    /// Frames after which what is played here comes back by the microphone at the earliest.
    pub far_delay: u32,
}

impl Block {
    /// Samples it has in the ring.
    pub fn samples(&self) -> usize {
        self.frames as usize * self.channels as usize
    }
}

/// Makes the two ends of a tap with room for so many samples. `[control]`
pub fn tap(ring_samples: usize) -> (TapTx, TapRx) {
    let (mut samples, samples_rx) = RingBuffer::new(ring_samples.max(1));
    let (mut blocks, blocks_rx) = RingBuffer::new(BLOCKS);
    touch(&mut samples);
    touch(&mut blocks);
    let rx = TapRx {
        samples: samples_rx,
        blocks: blocks_rx,
        switch: None,
    };
    (TapTx { samples, blocks }, rx)
}

/// The end that is written. `[rt & active]`, or any one thread's.
#[derive(Debug)]
pub struct TapTx {
    samples: Producer<f32>,
    blocks: Producer<Block>,
}

impl TapTx {
    /// Writes a block of one or two channels, or nothing if there is no room. `[rt & active]`
    pub fn push(&mut self, frame: u64, at_us: u64, far_delay: u32, first: &[f32], second: Option<&[f32]>) {
        let second = second.filter(|s| s.len() == first.len());
        let block = Block {
            frame,
            frames: first.len() as u32,
            channels: 1 + u32::from(second.is_some()),
            at_us,
            far_delay,
        };
        if self.blocks.is_full() || self.samples.slots() < block.samples() {
            return;
        }
        for channel in [Some(first), second].into_iter().flatten() {
            let (_, left) = self.samples.push_partial_slice(channel);
            debug_assert!(left.is_empty(), "there was room");
        }
        self.tell(block);
    }

    /// Zeroed room for a block of one channel, to be written in place and then told of. `[rt & active]`
    pub(crate) fn room(&mut self, frames: usize) -> Option<WriteChunk<'_, f32>> {
        if self.blocks.is_full() {
            return None;
        }
        self.samples.write_chunk(frames).ok()
    }

    /// The block whose samples are in the ring.
    pub(crate) fn tell(&mut self, block: Block) {
        // Cannot fail: only this end fills the ring, and it has just seen room.
        let told = self.blocks.push(block);
        debug_assert!(told.is_ok());
    }

    /// Nobody will ever read it. `[any]`
    pub fn is_abandoned(&self) -> bool {
        self.blocks.is_abandoned()
    }
}

/// The end that is read. `[worker]`
#[derive(Debug)]
pub struct TapRx {
    samples: Consumer<f32>,
    blocks: Consumer<Block>,
    /// The engine's levels, where this is its own tap.
    switch: Option<StatsHandle>,
}

impl TapRx {
    pub(crate) fn of_engine(mut self, stats: StatsHandle) -> TapRx {
        self.switch = Some(stats);
        self
    }

    /// Turns the engine's own tap on or off; off it costs the renderer nothing. A lane's tap is always on. `[any]`
    pub fn listen(&self, on: bool) {
        if let Some(stats) = &self.switch {
            stats.set_tapped(on);
        }
    }

    /// The oldest block, which stays. `[worker]`
    pub fn peek(&mut self) -> Option<Block> {
        self.blocks.peek().ok().copied()
    }

    /// Takes the oldest block and shows its samples, in two pieces where the ring ends between them. `[worker]`
    pub fn take<R>(&mut self, read: impl FnOnce(Block, &[f32], &[f32]) -> R) -> Option<R> {
        let block = self.blocks.pop().ok()?;
        let chunk = self.samples.read_chunk(block.samples()).ok()?;
        let (first, second) = chunk.as_slices();
        let answer = read(block, first, second);
        chunk.commit_all();
        Some(answer)
    }

    /// Nothing more will come. `[any]`
    pub fn is_abandoned(&self) -> bool {
        self.blocks.is_abandoned()
    }
}
