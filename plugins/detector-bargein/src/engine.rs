//! From samples to probabilities: chunks of any length are cut into blocks of 10 ms, cancelled, looked at and judged.
//!
//! Invariants: nothing is allocated after `new`; a chunk of whole blocks is judged to its last sample, others wait for their block
//! to fill (and `clean` is late by one block then). Samples that are not finite count as zero, those beyond ±1 as ±1.

use crate::canceller::Canceller;
use crate::features::{FEATURES, Features};
use crate::network::{Network, OUTPUTS};
use crate::rates::{Down, ROUND_TRIP, Up};

const MOST: usize = 480;

pub(crate) struct Engine {
    /// Samples of 10 ms at the stream's rate.
    block: usize,
    /// The same at the rate inside, 8 or 16 kHz.
    inner: usize,
    filled: usize,
    near: [f32; MOST],
    far: [f32; MOST],
    clean: [f32; MOST],
    wide: Option<Box<Wide>>,
    canceller: Canceller,
    features: Features,
    network: Network,
    /// A slow high-pass for each end: no DC, no rumble.
    level: [HighPass; 2],
}

/// What 48 kHz needs besides.
struct Wide {
    near: Down,
    far: Down,
    echo: Up,
    late: [f32; MOST + ROUND_TRIP],
}

impl Engine {
    /// `rate`: 8, 16 or 48 kHz.
    pub(crate) fn new(rate: u32) -> Engine {
        let inner_rate = rate.min(16_000);
        Engine {
            block: rate as usize / 100,
            inner: inner_rate as usize / 100,
            filled: 0,
            near: [0.0; MOST],
            far: [0.0; MOST],
            clean: [0.0; MOST],
            wide: (rate == 48_000).then(|| {
                Box::new(Wide {
                    near: Down::new(),
                    far: Down::new(),
                    echo: Up::new(),
                    late: [0.0; MOST + ROUND_TRIP],
                })
            }),
            canceller: Canceller::new(inner_rate as usize / 100),
            features: Features::new(inner_rate),
            network: Network::new(),
            level: [HighPass::new(inner_rate), HighPass::new(inner_rate)],
        }
    }

    /// For whoever trains: the same with weights not shipped yet.
    pub(crate) fn try_model(&mut self, model: &[u8]) {
        self.network = Network::with(model);
    }

    pub(crate) fn reset(&mut self) {
        self.filled = 0;
        self.clean.fill(0.0);
        if let Some(wide) = &mut self.wide {
            wide.near.reset();
            wide.far.reset();
            wide.echo.reset();
            wide.late.fill(0.0);
        }
        self.canceller.reset();
        self.features.reset();
        self.network.reset();
        self.level.iter_mut().for_each(HighPass::reset);
    }

    /// Takes a chunk; `judged` is called after each block with how many samples of the chunk it took and the probabilities.
    pub(crate) fn feed(
        &mut self,
        near: &[f32],
        far: Option<&[f32]>,
        mut clean: Option<&mut [f32]>,
        mut judged: impl FnMut(usize, [f32; OUTPUTS], &[f32; FEATURES]),
    ) {
        let mut taken = 0;
        let whole = self.filled == 0 && near.len().is_multiple_of(self.block);
        while taken < near.len() {
            let n = (self.block - self.filled).min(near.len() - taken);
            let to = self.filled..self.filled + n;
            copy(&mut self.near[to.clone()], Some(&near[taken..taken + n]));
            copy(&mut self.far[to.clone()], far.and_then(|far| far.get(taken..taken + n)));
            if let Some(out) = clean.as_deref_mut().and_then(|c| c.get_mut(taken..taken + n)).filter(|_| !whole) {
                out.copy_from_slice(&self.clean[to]);
            }
            self.filled += n;
            taken += n;
            if self.filled == self.block {
                self.filled = 0;
                let probabilities = self.judge();
                judged(taken, probabilities, &self.features.values);
                if let Some(out) = clean.as_deref_mut().and_then(|c| c.get_mut(taken - n..taken)).filter(|_| whole) {
                    out.copy_from_slice(&self.clean[..n]);
                }
            }
        }
    }

    fn judge(&mut self) -> [f32; OUTPUTS] {
        let (block, inner) = (self.block, self.inner);
        let mut near = [0.0f32; 160];
        let mut far = [0.0f32; 160];
        let (near, far) = (&mut near[..inner], &mut far[..inner]);
        match &mut self.wide {
            Some(wide) => {
                wide.near.feed(&self.near[..block], near);
                wide.far.feed(&self.far[..block], far);
            }
            None => {
                near.copy_from_slice(&self.near[..block]);
                far.copy_from_slice(&self.far[..block]);
            }
        }
        self.level[0].apply(near);
        self.level[1].apply(far);
        self.canceller.process(near, far);
        self.features.feed(near, far, &self.canceller);
        match &mut self.wide {
            Some(wide) => {
                // The band above 8 kHz stays as it came.
                wide.late.copy_within(block.., 0);
                wide.late[ROUND_TRIP..].copy_from_slice(&self.near[..block]);
                wide.echo.feed(&self.canceller.echo, &mut self.clean[..block]);
                for (c, n) in self.clean[..block].iter_mut().zip(&wide.late) {
                    *c = n - *c;
                }
            }
            None => self.clean[..block].copy_from_slice(&self.canceller.clean),
        }
        self.network.feed(&self.features.values)
    }
}

fn copy(to: &mut [f32], from: Option<&[f32]>) {
    match from {
        Some(from) => {
            for (to, from) in to.iter_mut().zip(from) {
                *to = if from.is_finite() { from.clamp(-1.0, 1.0) } else { 0.0 };
            }
        }
        None => to.fill(0.0),
    }
}

/// One pole at 30 Hz.
struct HighPass {
    pole: f32,
    last: f32,
    out: f32,
}

impl HighPass {
    fn new(rate: u32) -> HighPass {
        HighPass {
            pole: (-std::f32::consts::TAU * 30.0 / rate as f32).exp(),
            last: 0.0,
            out: 0.0,
        }
    }

    fn reset(&mut self) {
        self.last = 0.0;
        self.out = 0.0;
    }

    fn apply(&mut self, block: &mut [f32]) {
        for s in block {
            self.out = *s - self.last + self.pole * self.out;
            self.last = *s;
            *s = self.out;
        }
        if self.out.abs() < 1e-20 {
            self.out = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        (0..n)
            .map(|k| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 0.2 * (k as f32 / 2_000.0).sin()
            })
            .collect()
    }

    fn run(engine: &mut Engine, near: &[f32], far: Option<&[f32]>, chunk: usize) -> (Vec<[f32; OUTPUTS]>, Vec<f32>) {
        let (mut all, mut clean) = (Vec::new(), vec![0.0; near.len()]);
        for (k, out) in clean.chunks_mut(chunk).enumerate() {
            let part = k * chunk..k * chunk + out.len();
            engine.feed(&near[part.clone()], far.map(|f| &f[part]), Some(out), |_, p, _| all.push(p));
        }
        (all, clean)
    }

    #[test]
    fn chunks_of_any_length_are_judged_alike() {
        for rate in [8_000u32, 16_000, 48_000] {
            let n = rate as usize;
            let (near, far) = (sound(n, 1), sound(n, 2));
            let (whole, clean) = run(&mut Engine::new(rate), &near, Some(&far), rate as usize / 50);
            for chunk in [1, 7, 333, 4_000] {
                let (parts, late) = run(&mut Engine::new(rate), &near, Some(&far), chunk);
                assert_eq!(parts, whole[..parts.len()], "{rate} in chunks of {chunk}");
                assert_eq!(whole.len(), parts.len());
                let block = rate as usize / 100;
                if chunk % block != 0 {
                    assert_eq!(late[block..], clean[..n - block], "{rate} in chunks of {chunk}: a block later");
                }
            }
        }
    }

    #[test]
    fn samples_that_are_none_do_no_harm() {
        for rate in [8_000u32, 16_000, 48_000] {
            let n = rate as usize / 2;
            let square: Vec<f32> = (0..n).map(|k| if k / 40 % 2 == 0 { 1.0 } else { -1.0 }).collect();
            let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, f32::MIN_POSITIVE / 2.0];
            let odd: Vec<f32> = (0..n).map(|k| bad[k % bad.len()]).collect();
            let signals = [vec![f32::NAN; n], odd, square, vec![0.5; n], vec![0.0; n]];
            let mut engine = Engine::new(rate);
            for near in &signals {
                for far in &signals {
                    let (all, clean) = run(&mut engine, near, Some(far), rate as usize / 100);
                    assert!(all.iter().flatten().all(|p| (0.0..=1.0).contains(p)));
                    assert!(clean.iter().all(|s| s.is_finite()));
                }
                run(&mut engine, near, None, 160);
            }
            // And it hears as before afterwards.
            engine.reset();
            let near = sound(n, 3);
            assert_eq!(run(&mut engine, &near, None, 160), run(&mut Engine::new(rate), &near, None, 160));
            engine.reset();
            let far = sound(n, 4);
            assert_eq!(
                run(&mut engine, &near, Some(&far), 160),
                run(&mut Engine::new(rate), &near, Some(&far), 160)
            );
        }
    }

    #[test]
    fn at_48_khz_the_clean_signal_is_the_near_one_45_samples_later() {
        let near = sound(48_000, 1);
        let (_, clean) = run(&mut Engine::new(48_000), &near, None, 480);
        assert_eq!(clean[ROUND_TRIP..], near[..48_000 - ROUND_TRIP]);
        assert!(clean[..ROUND_TRIP].iter().all(|s| *s == 0.0));
    }
}
