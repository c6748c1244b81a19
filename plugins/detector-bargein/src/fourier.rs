//! One real Fourier transform of a fixed length with all its memory, so that a call allocates nothing.

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use std::sync::Arc;

pub(crate) struct Fourier {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    time: Vec<f32>,
    bins: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

/// A spectrum as two plain arrays: loops over them become vector instructions.
#[derive(Clone)]
pub(crate) struct Spectrum {
    pub(crate) re: Vec<f32>,
    pub(crate) im: Vec<f32>,
}

impl Spectrum {
    pub(crate) fn new(bins: usize) -> Spectrum {
        Spectrum {
            re: vec![0.0; bins],
            im: vec![0.0; bins],
        }
    }

    pub(crate) fn clear(&mut self) {
        self.re.fill(0.0);
        self.im.fill(0.0);
    }
}

impl Fourier {
    /// For blocks of `length` samples (even), `length / 2 + 1` bins.
    pub(crate) fn new(length: usize) -> Fourier {
        let mut planner = RealFftPlanner::new();
        let forward = planner.plan_fft_forward(length);
        let inverse = planner.plan_fft_inverse(length);
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        Fourier {
            time: forward.make_input_vec(),
            bins: forward.make_output_vec(),
            scratch: vec![Complex32::default(); scratch],
            forward,
            inverse,
        }
    }

    /// The spectrum of what `fill` writes into the block.
    pub(crate) fn forward(&mut self, out: &mut Spectrum, fill: impl FnOnce(&mut [f32])) {
        fill(&mut self.time);
        self.transform(out);
    }

    fn transform(&mut self, out: &mut Spectrum) {
        let scratch = &mut self.scratch[..self.forward.get_scratch_len()];
        // Lengths are fixed at construction, the only thing that can be wrong here.
        if self.forward.process_with_scratch(&mut self.time, &mut self.bins, scratch).is_err() {
            self.bins.fill(Complex32::default());
        }
        for (n, bin) in self.bins.iter().enumerate() {
            out.re[n] = bin.re;
            out.im[n] = bin.im;
        }
    }

    /// The block of a spectrum, scaled so that forward and inverse give the block back.
    pub(crate) fn inverse(&mut self, spectrum: &Spectrum) -> &[f32] {
        for (n, bin) in self.bins.iter_mut().enumerate() {
            *bin = Complex32::new(spectrum.re[n], spectrum.im[n]);
        }
        // A real block has no phase at zero and at half the rate.
        self.bins[0].im = 0.0;
        if let Some(last) = self.bins.last_mut() {
            last.im = 0.0;
        }
        let scratch = &mut self.scratch[..self.inverse.get_scratch_len()];
        if self.inverse.process_with_scratch(&mut self.bins, &mut self.time, scratch).is_err() {
            self.time.fill(0.0);
        }
        let scale = 1.0 / self.time.len() as f32;
        self.time.iter_mut().for_each(|s| *s *= scale);
        &self.time
    }

    /// Sets the block's samples from `keep` on to zero, seen from the spectrum.
    pub(crate) fn truncate(&mut self, spectrum: &mut Spectrum, keep: usize) {
        self.inverse(spectrum);
        self.time[keep..].fill(0.0);
        self.transform(spectrum);
    }
}
