//! 48 kHz in and out of the 16 kHz that everything behind works at: the band above 8 kHz tells nothing that the one below does not.

use std::f32::consts::PI;

/// Taps for each phase of the filter; the whole delays by half of it: 24 samples at 48 kHz, 0.5 ms.
const PER_PHASE: usize = 16;
const TAPS: usize = 3 * PER_PHASE;
/// Down and up again, in samples at 48 kHz: 23.5 for each filter, less the two by which the last of three samples is newer than the first.
pub(crate) const ROUND_TRIP: usize = TAPS - 3;

fn low_pass() -> [f32; TAPS] {
    let mut taps = [0.0f32; TAPS];
    let middle = (TAPS - 1) as f32 / 2.0;
    for (n, tap) in taps.iter_mut().enumerate() {
        let t = n as f32 - middle;
        let ideal = (PI * t * 0.95 / 3.0).sin() / (PI * t);
        let edge = (n as f32 + 0.5) / TAPS as f32;
        *tap = ideal * (0.42 - 0.5 * (2.0 * PI * edge).cos() + 0.08 * (4.0 * PI * edge).cos());
    }
    let sum: f32 = taps.iter().sum();
    taps.map(|t| t / sum)
}

/// 48 kHz to 16 kHz.
pub(crate) struct Down {
    taps: [f32; TAPS],
    past: [f32; TAPS],
}

impl Down {
    pub(crate) fn new() -> Down {
        Down {
            taps: low_pass(),
            past: [0.0; TAPS],
        }
    }

    pub(crate) fn reset(&mut self) {
        self.past.fill(0.0);
    }

    /// `input` is three times as long as `out`.
    pub(crate) fn feed(&mut self, input: &[f32], out: &mut [f32]) {
        for (three, out) in input.chunks_exact(3).zip(out) {
            self.past.copy_within(3.., 0);
            self.past[TAPS - 3..].copy_from_slice(three);
            *out = self.past.iter().zip(&self.taps).map(|(s, t)| s * t).sum();
        }
    }
}

/// 16 kHz to 48 kHz.
pub(crate) struct Up {
    taps: [f32; TAPS],
    past: [f32; PER_PHASE],
}

impl Up {
    pub(crate) fn new() -> Up {
        Up {
            taps: low_pass(),
            past: [0.0; PER_PHASE],
        }
    }

    pub(crate) fn reset(&mut self) {
        self.past.fill(0.0);
    }

    /// `out` is three times as long as `input`.
    pub(crate) fn feed(&mut self, input: &[f32], out: &mut [f32]) {
        for (sample, three) in input.iter().zip(out.chunks_exact_mut(3)) {
            self.past.copy_within(..PER_PHASE - 1, 1);
            self.past[0] = *sample;
            for (phase, out) in three.iter_mut().enumerate() {
                *out = 3.0 * (0..PER_PHASE).map(|n| self.past[n] * self.taps[3 * n + phase]).sum::<f32>();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn down_and_up_again_is_the_same_tone_45_samples_later() {
        let tone = |k: usize| (k as f32 * 0.1).sin();
        let input: Vec<f32> = (0..4_800).map(tone).collect();
        let (mut low, mut out) = (vec![0.0; 1_600], vec![0.0; 4_800]);
        Down::new().feed(&input, &mut low);
        Up::new().feed(&low, &mut out);
        for (k, out) in out.iter().enumerate().skip(1_000).take(3_000) {
            let expected = tone(k - ROUND_TRIP);
            assert!((out - expected).abs() < 0.02, "{k}: {out} {expected}");
        }
    }
}
