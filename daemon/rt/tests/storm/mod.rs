//! A storm for the renderer: lanes come, go, starve, are cut, paused and resumed, some facts stay unread for long, and taps are read, left to
//! fill, and let go of while a microphone is open or not.
//!
//! One scenario for each fence that watches `render` (`tests/no_alloc.rs`, `fences/rtsan.rs`), so that all of them have seen the same.
//! Everything the control side does falls between two periods; what happens inside the fence is what `render` is given to do.

use std::num::NonZeroU64;
use utterd_rt::{Command, Cycle, LaneSpec, Renderer, engine, tap};

/// Runs so many periods and leaves each call of the renderer to the fence.
pub(crate) fn storm(periods: u64, mut render: impl FnMut(&mut Renderer, &mut [f32], Cycle<'_>)) {
    let id = |n: u64| NonZeroU64::new(n).unwrap();
    let (mut control, mut renderer) = engine(48_000);
    let mut out = vec![0.0; 128];
    let samples = vec![0.25; 4096];
    let mut lanes = Vec::new();
    let mut taps = Vec::new();
    let mut own = control.take_tap().unwrap();
    let near = vec![0.1; 128];
    let mut span = 0;
    for period in 0..periods {
        if period % 7 == 0 && lanes.len() < 64 {
            let spec = LaneSpec {
                ring_frames: 4096,
                paused: period % 3 == 0,
                gain: 0.5,
            };
            if let Ok(mut lane) = control.add_lane(spec) {
                let (tap_tx, tap_rx) = tap(2_000);
                lane.tap(tap_tx).unwrap();
                taps.push(tap_rx);
                lanes.push(lane);
            }
        }
        for (i, lane) in lanes.iter_mut().enumerate() {
            let turn = period + i as u64;
            if turn.is_multiple_of(11) {
                span += 1;
                lane.begin(id(span)).ok();
            }
            if turn.is_multiple_of(5) {
                lane.push(&samples[..(turn % 900) as usize]);
            }
            let command = match turn % 23 {
                0 => Command::Cut {
                    span: id(span.saturating_sub(turn % 3).max(1)),
                    fade_frames: 240,
                },
                5 => Command::Pause { fade_frames: 240 },
                9 | 14 => Command::Resume { fade_frames: 240 },
                17 => Command::Gain {
                    linear: 0.3,
                    ramp_frames: 4_800,
                },
                _ => Command::Gain {
                    linear: 1.0,
                    ramp_frames: 0,
                },
            };
            lane.command(command).ok();
            if turn.is_multiple_of(97) {
                while lane.next_fact().is_some() {}
            }
        }
        if period % 13 == 0 && lanes.len() > 8 {
            lanes.swap_remove(period as usize % lanes.len()).close();
        }
        own.listen(period % 400 < 300);
        let cycle = Cycle {
            at_us: period * 2_667,
            frame: period * 128,
            near: (period % 200 < 150).then_some(&near),
            far_delay: 256,
        };
        render(&mut renderer, &mut out, cycle);
        // The engine's own is left to fill for a while, the lanes' are read in turn, and some are let go of.
        while period % 1_000 < 500 && own.take(|_, _, _| ()).is_some() {}
        let at = period as usize % taps.len();
        while taps[at].take(|_, _, _| ()).is_some() {}
        if taps.len() > 40 {
            taps.swap_remove(at);
        }
        if period % 50 == 0 {
            control.collect();
        }
    }
}
