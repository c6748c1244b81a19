//! Tests of the engine in virtual time: a world with one renderer, its lanes, and everything that was heard.

mod model;
mod promises;
mod taps;
mod threads;

use crate::{Command, Control, Fact, LaneSpec, LaneTx, Renderer, engine};
use core::num::NonZeroU64;
use std::vec::Vec;

/// 5 ms are 40 frames at this rate.
pub(crate) const RATE: u32 = 8000;

pub(crate) fn id(n: u64) -> NonZeroU64 {
    NonZeroU64::new(n).unwrap()
}

/// Samples no two of which are alike, none of them near zero.
pub(crate) fn noise(seed: u64, frames: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..frames)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let unit = (state >> 40) as f32 / (1u64 << 24) as f32;
            (0.1 + 0.8 * unit) * if state & (1 << 20) == 0 { 1.0 } else { -1.0 }
        })
        .collect()
}

pub(crate) struct World {
    pub(crate) control: Control,
    pub(crate) renderer: Renderer,
    pub(crate) heard: Vec<f32>,
}

impl World {
    pub(crate) fn new() -> World {
        let (control, renderer) = engine(RATE);
        World {
            control,
            renderer,
            heard: Vec::new(),
        }
    }

    pub(crate) fn lane(&mut self, ring_frames: usize) -> LaneTx {
        self.control
            .add_lane(LaneSpec {
                ring_frames,
                paused: false,
                gain: 1.0,
            })
            .unwrap()
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.heard.len() as u64 * 1_000_000 / u64::from(RATE)
    }

    pub(crate) fn render(&mut self, frames: usize) -> Vec<f32> {
        let mut out = std::vec![f32::NAN; frames];
        let now = self.now_us();
        self.renderer.render(&mut out, now);
        self.heard.extend_from_slice(&out);
        out
    }
}

pub(crate) fn facts(lane: &mut LaneTx) -> Vec<Fact> {
    core::iter::from_fn(|| lane.next_fact()).collect()
}

/// Begins a span and pushes all of it.
pub(crate) fn say(lane: &mut LaneTx, span: u64, samples: &[f32]) {
    lane.begin(id(span)).unwrap();
    assert_eq!(lane.push(samples), samples.len());
}

pub(crate) fn cut(lane: &mut LaneTx, span: u64, fade_frames: u32) {
    lane.command(Command::Cut {
        span: id(span),
        fade_frames,
    })
    .unwrap();
}
