//! From 8 or 48 kHz to 16 kHz by a windowed sinc, sample by sample and without memory of its own beyond the taps.

/// Taps of the low-pass.
const TAPS: usize = 48;

/// To 16 kHz.
#[derive(Debug, Clone)]
pub(crate) struct Resample {
    /// Output samples are made for each input sample, or one for so many.
    up: usize,
    down: usize,
    taps: [f32; TAPS],
    past: [f32; TAPS],
    at: usize,
    phase: usize,
}

impl Resample {
    /// `None`: not from this rate.
    pub(crate) fn to_16k(rate: u32) -> Option<Self> {
        let (up, down) = match rate {
            8_000 => (2, 1),
            16_000 => (1, 1),
            48_000 => (1, 3),
            _ => return None,
        };
        // The lower rate's Nyquist, and a little below it for the slope.
        let cut = 0.46 / up.max(down) as f32;
        let mut taps = [0.0; TAPS];
        for (n, tap) in taps.iter_mut().enumerate() {
            let x = n as f32 - (TAPS - 1) as f32 / 2.0;
            let turn = std::f32::consts::TAU * cut * x;
            let window = 0.5 - 0.5 * (std::f32::consts::TAU * (n as f32 + 0.5) / TAPS as f32).cos();
            *tap = 2.0 * cut * (turn.sin() / turn) * window * up as f32;
        }
        Some(Self {
            up,
            down,
            taps,
            past: [0.0; TAPS],
            at: 0,
            phase: 0,
        })
    }

    /// How many samples of its own rate make `samples` at 16 kHz.
    pub(crate) fn own_samples(&self, samples: usize) -> u64 {
        (samples * self.down / self.up) as u64
    }

    /// By how much the output is later, in samples of its own rate.
    pub(crate) fn delay(&self) -> u64 {
        if self.up == self.down { 0 } else { (TAPS / 2 / self.up) as u64 }
    }

    pub(crate) fn reset(&mut self) {
        (self.past, self.at, self.phase) = ([0.0; TAPS], 0, 0);
    }

    /// The output samples that `x` completes.
    pub(crate) fn push(&mut self, x: f32) -> impl Iterator<Item = f32> + use<> {
        let mut made = [x, 0.0];
        let mut count = 1;
        if self.up != self.down {
            self.at = (self.at + 1) % TAPS;
            self.past[self.at] = x;
            self.phase = (self.phase + 1) % self.down;
            count = if self.phase == 0 { self.up } else { 0 };
            for (branch, y) in made.iter_mut().enumerate().take(count) {
                // Of the taps of an upsampler only every `up`th meets a sample; between them stand zeros.
                *y = (branch..TAPS)
                    .step_by(self.up)
                    .enumerate()
                    .map(|(age, tap)| self.taps[tap] * self.past[(self.at + TAPS - age) % TAPS])
                    .sum();
            }
        }
        made.into_iter().take(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Power of a tone of `hz` after resampling, relative to before, and how many samples came.
    fn through(rate: u32, hz: f32) -> (f32, usize) {
        let mut resample = Resample::to_16k(rate).unwrap();
        let tone = (0..rate / 2).map(|n| (std::f32::consts::TAU * hz * n as f32 / rate as f32).sin());
        let out: Vec<f32> = tone.flat_map(|x| resample.push(x)).collect();
        let steady = &out[TAPS * 2..];
        (steady.iter().map(|y| y * y).sum::<f32>() / steady.len() as f32 / 0.5, out.len())
    }

    #[test]
    fn speech_passes_at_its_length_and_what_would_fold_does_not() {
        for rate in [8_000, 16_000, 48_000] {
            for hz in [200.0, 1_000.0, 3_000.0] {
                let (gain, length) = through(rate, hz);
                assert!((0.95..1.05).contains(&gain), "{rate} Hz, {hz} Hz: {gain}");
                assert_eq!(length, 8_000);
            }
        }
        assert!(through(48_000, 11_000.0).0 < 1e-4);
        assert!(Resample::to_16k(44_100).is_none());
    }
}
