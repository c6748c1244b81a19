//! Silero VAD v6 at 16 kHz (MIT, see `model/silero.LICENSE`) by plain loops: is what the canceller left a human voice?
//!
//! 512 samples with the 64 before them, four short spectra, four convolutions, one recurrent cell: a score every 32 ms. Weights come
//! from `model/silero.f16`, written by `training/silero.py`; all streams share them. Invariants: no allocation after `new`; the test
//! holds what the original ONNX model says. Why not a runtime: they allocate, and take longer to build than everything else here.

use crate::fourier::{Fourier, Spectrum};
use crate::product::{Matrix, convolve, numbers, product, sigmoid, tanh, twice};
use std::sync::LazyLock;

/// Samples at 16 kHz between two scores.
pub(crate) const FRAME: usize = 512;
/// What the recurrent cell remembers.
pub(crate) const CELL: usize = 128;
const CONTEXT: usize = 64;
const WINDOW: usize = 256;
const BINS: usize = WINDOW / 2 + 1;
const SPECTRA: usize = 4;

struct Model {
    window: Vec<f32>,
    convolutions: [Matrix; 4],
    cell: Matrix,
    output: Matrix,
}

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let mut numbers = numbers(include_bytes!("../model/silero.f16"));
    let mut matrix = |rows, columns| Matrix::read(&mut numbers, rows, columns);
    Model {
        window: (0..WINDOW)
            .map(|n| 0.5 - 0.5 * (std::f32::consts::TAU * n as f32 / WINDOW as f32).cos())
            .collect(),
        convolutions: [matrix(128, 3 * BINS), matrix(64, 3 * 128), matrix(64, 2 * 64), matrix(128, 64)],
        cell: matrix(4 * CELL, 2 * CELL),
        output: matrix(1, CELL),
    }
});

pub(crate) struct Silero {
    model: &'static Model,
    fourier: Fourier,
    spectrum: Spectrum,
    samples: [f32; CONTEXT + FRAME],
    filled: usize,
    /// Magnitudes of the four spectra, with a column of nothing at either end.
    seen: [f32; (SPECTRA + 2) * BINS],
    first: [f32; (SPECTRA + 1) * 128],
    second: [f32; 2 * 64],
    third: [f32; 64],
    /// The last convolution's output, and the cell's own behind it.
    input: [f32; 2 * CELL],
    gates: [f32; 4 * CELL],
    memory: [f32; CELL],
    pub(crate) score: f32,
    /// Samples since the score was told.
    pub(crate) age: usize,
}

impl Silero {
    pub(crate) fn new() -> Silero {
        Silero {
            model: &MODEL,
            fourier: Fourier::new(WINDOW),
            spectrum: Spectrum::new(BINS),
            samples: [0.0; CONTEXT + FRAME],
            filled: 0,
            seen: [0.0; (SPECTRA + 2) * BINS],
            first: [0.0; (SPECTRA + 1) * 128],
            second: [0.0; 2 * 64],
            third: [0.0; 64],
            input: [0.0; 2 * CELL],
            gates: [0.0; 4 * CELL],
            memory: [0.0; CELL],
            score: 0.0,
            age: 0,
        }
    }

    pub(crate) fn reset(&mut self) {
        self.samples.fill(0.0);
        self.filled = 0;
        self.input.fill(0.0);
        self.memory.fill(0.0);
        self.score = 0.0;
        self.age = 0;
    }

    /// What the cell puts out: the score is one view of it.
    pub(crate) fn state(&self) -> &[f32] {
        &self.input[CELL..]
    }

    /// One sample at 16 kHz.
    pub(crate) fn feed(&mut self, sample: f32) {
        self.samples[CONTEXT + self.filled] = sample;
        self.filled += 1;
        self.age += 1;
        if self.filled == FRAME {
            self.look();
            self.filled = 0;
            self.age = 0;
            self.samples.copy_within(FRAME.., 0);
        }
    }

    fn look(&mut self) {
        let model = self.model;
        for n in 0..SPECTRA {
            let samples = &self.samples;
            self.fourier.forward(&mut self.spectrum, |time| {
                for (k, (t, w)) in time.iter_mut().zip(&model.window).enumerate() {
                    let at = n * WINDOW / 2 + k;
                    // The last window looks 64 samples ahead, into a mirror.
                    let at = if at < samples.len() { at } else { 2 * samples.len() - 2 - at };
                    *t = samples[at] * w;
                }
            });
            let out = &mut self.seen[(n + 1) * BINS..(n + 2) * BINS];
            for ((out, re), im) in out.iter_mut().zip(&self.spectrum.re).zip(&self.spectrum.im) {
                *out = (re * re + im * im).sqrt();
            }
        }
        let [one, two, three, four] = &model.convolutions;
        // A column of nothing stands before the first.
        convolve(one, &self.seen, BINS, &mut self.first[128..]);
        convolve(two, &self.first, 2 * 128, &mut self.second);
        convolve(three, &self.second, 2 * 64, &mut self.third);
        convolve(four, &self.third, 64, &mut self.input[..CELL]);
        product(&model.cell, &self.input, &mut self.gates);
        let (_, out) = self.input.split_at_mut(CELL);
        remember(&self.gates, &mut self.memory, out);
        let heard: [f32; CELL] = std::array::from_fn(|n| out[n].max(0.0));
        let mut score = [0.0];
        product(&model.output, &heard, &mut score);
        self.score = sigmoid(score[0]);
        if !self.score.is_finite() || !self.memory.iter().all(|m| m.is_finite()) {
            self.reset();
        }
    }
}

twice! {
    /// The long short-term memory: gates for input, forgetting, candidate and output stand one behind the other.
    fn remember(gates: &[f32; 4 * CELL], memory: &mut [f32; CELL], out: &mut [f32]) {
        for (n, out) in out.iter_mut().enumerate().take(CELL) {
            let kept = sigmoid(gates[CELL + n]) * memory[n];
            memory[n] = kept + sigmoid(gates[n]) * tanh(gates[2 * CELL + n]);
            *out = sigmoid(gates[3 * CELL + n]) * tanh(memory[n]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `training/silero.py --check` printed: the original model in onnxruntime.
    const SAID: [f32; 62] = [
        0.1158, 0.6752, 0.8724, 0.906, 0.9041, 0.8719, 0.7837, 0.6431, 0.5072, 0.3589, 0.1703, 0.0924, 0.2993, 0.4356, 0.6713, 0.7977,
        0.8329, 0.8524, 0.7227, 0.7189, 0.8694, 0.7603, 0.6744, 0.4848, 0.3415, 0.1829, 0.0709, 0.0481, 0.0472, 0.0381, 0.0416, 0.0375,
        0.0487, 0.0607, 0.0548, 0.0551, 0.0515, 0.0584, 0.0518, 0.027, 0.0234, 0.0113, 0.0177, 0.0121, 0.0106, 0.0086, 0.0074, 0.006,
        0.0052, 0.0063, 0.007, 0.0051, 0.0043, 0.0044, 0.0043, 0.0058, 0.0038, 0.0046, 0.0052, 0.005, 0.0037, 0.0041,
    ];

    #[test]
    fn it_says_what_the_original_model_says() {
        let mut silero = Silero::new();
        let mut seed = 1u32;
        let mut said = Vec::new();
        for k in 0..SAID.len() * FRAME {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(seed >> 8) / f64::from(1 << 23) - 1.0;
            let t = k as f64;
            let buzz: f64 = (1..30)
                .map(|h| {
                    let hz = 120.0 * f64::from(h);
                    let far = (hz - 600.0 - 300.0 * (t / 2_500.0).sin()) / 350.0;
                    (std::f64::consts::TAU * hz * t / 16_000.0).sin() * (-far * far).exp()
                })
                .sum();
            let loud = if k < 20_000 { (t / 3_000.0).sin().powi(2) } else { 0.0 };
            silero.feed((0.1 * buzz * loud + 0.003 * noise) as f32);
            if silero.age == 0 {
                said.push(silero.score);
            }
        }
        for (n, (ours, original)) in said.iter().zip(&SAID).enumerate() {
            assert!((ours - original).abs() < 0.01, "frame {n}: {ours} {original}");
        }
    }
}
