//! Power in bands of hearing: 15 below 4 kHz, which every stream has, and 4 above, which wideband streams add.

use crate::fourier::{Fourier, Spectrum};

pub(crate) const BANDS: usize = 19;
pub(crate) const NARROW: usize = 15;
/// In bins of 50 Hz, the same at every rate because a window is always 20 ms.
const EDGES: [usize; BANDS + 1] = [2, 4, 6, 8, 10, 13, 16, 20, 24, 29, 34, 40, 48, 57, 68, 79, 97, 117, 137, 158];
/// −100 dBFS: below it nothing is told apart.
pub(crate) const SILENCE: f32 = 1e-10;

/// The power in each band, and in the whole, of one windowed block.
#[derive(Clone, Copy)]
pub(crate) struct Powers {
    pub(crate) bands: [f32; BANDS],
    pub(crate) total: f32,
}

impl Default for Powers {
    fn default() -> Powers {
        Powers {
            bands: [SILENCE; BANDS],
            total: SILENCE,
        }
    }
}

/// The latest 20 ms of one signal, and their powers.
pub(crate) struct Analysis {
    window: Vec<f32>,
    latest: Vec<f32>,
    pub(crate) spectrum: Spectrum,
    pub(crate) now: Powers,
    scale: f32,
}

impl Analysis {
    /// For blocks of `block` samples, 10 ms of the rate.
    pub(crate) fn new(block: usize) -> Analysis {
        let length = 2 * block;
        let window: Vec<f32> = (0..length)
            .map(|n| 0.5 - 0.5 * (std::f32::consts::TAU * (n as f32 + 0.5) / length as f32).cos())
            .collect();
        // A full-scale sine has a power of 0.5 then.
        let scale = 2.0 / (length as f32 * window.iter().map(|w| w * w).sum::<f32>());
        Analysis {
            latest: vec![0.0; length],
            spectrum: Spectrum::new(block + 1),
            now: Powers::default(),
            window,
            scale,
        }
    }

    pub(crate) fn reset(&mut self) {
        self.latest.fill(0.0);
        self.now = Powers::default();
    }

    /// Takes 10 ms in.
    pub(crate) fn feed(&mut self, fourier: &mut Fourier, block: &[f32]) {
        let half = block.len();
        self.latest.copy_within(half.., 0);
        self.latest[half..].copy_from_slice(block);
        self.now = Powers::default();
        if self.latest.iter().map(|s| s * s).sum::<f32>() < 1e-12 {
            // An agent that is silent costs nothing.
            return;
        }
        let (latest, window) = (&self.latest, &self.window);
        fourier.forward(&mut self.spectrum, |time| {
            for ((t, s), w) in time.iter_mut().zip(latest).zip(window) {
                *t = s * w;
            }
        });
        let bins = self.spectrum.re.len();
        for (n, power) in self.now.bands.iter_mut().enumerate() {
            let (from, to) = (EDGES[n], EDGES[n + 1]);
            if to > bins {
                break;
            }
            let sum: f32 = (from..to)
                .map(|k| self.spectrum.re[k] * self.spectrum.re[k] + self.spectrum.im[k] * self.spectrum.im[k])
                .sum();
            *power += sum * self.scale;
            self.now.total += *power;
        }
    }
}

/// The echo's envelope, told from the far end's band by band: what remains true when phases are lost to a bent loudspeaker, a
/// codec or a path that has just moved. Non-negative weights on the latest 280 ms, adapted on powers.
pub(crate) struct Envelope {
    taps: Vec<[f32; BANDS]>,
    far: Vec<[f32; BANDS]>,
    newest: usize,
    pub(crate) expected: [f32; BANDS],
}

const LAGS: usize = 28;

impl Envelope {
    pub(crate) fn new() -> Envelope {
        Envelope {
            taps: vec![[0.0; BANDS]; LAGS],
            far: vec![[0.0; BANDS]; LAGS],
            newest: 0,
            expected: [SILENCE; BANDS],
        }
    }

    pub(crate) fn reset(&mut self) {
        self.taps.fill([0.0; BANDS]);
        self.far.fill([0.0; BANDS]);
        self.expected = [SILENCE; BANDS];
    }

    pub(crate) fn feed(&mut self, far: &Powers, near: &Powers) {
        self.newest = (self.newest + LAGS - 1) % LAGS;
        self.far[self.newest] = far.bands;
        let mut sum = [0.0f32; BANDS];
        let mut energy = [0.0f32; BANDS];
        for (lag, taps) in self.taps.iter().enumerate() {
            let past = &self.far[(self.newest + lag) % LAGS];
            for band in 0..BANDS {
                sum[band] += taps[band] * past[band];
                energy[band] += past[band] * past[band];
            }
        }
        let mut step = [0.0f32; BANDS];
        for band in 0..BANDS {
            self.expected[band] = sum[band] + SILENCE;
            if energy[band] > 1e-16 {
                // A user makes the near end louder, never softer: rises are taken with care, falls at once.
                let miss = (near.bands[band] - sum[band]).clamp(-sum[band], sum[band] + 0.02 * energy[band].sqrt());
                let care = if miss > 0.0 { 0.04 } else { 0.12 };
                step[band] = care * miss / energy[band];
            }
        }
        for (lag, taps) in self.taps.iter_mut().enumerate() {
            let past = &self.far[(self.newest + lag) % LAGS];
            for band in 0..BANDS {
                taps[band] = (taps[band] + step[band] * past[band]).max(0.0);
            }
        }
    }
}
