//! The arithmetic of sound that scenarios are made of: levels, filters, rates, µ-law. All inside at 16 kHz.

use crate::dice::Dice;
use realfft::RealFftPlanner;

pub const RATE: usize = 16_000;

pub fn db(level: f32) -> f32 {
    10f32.powf(level / 20.0)
}

pub fn ms(t: f32) -> usize {
    (t * RATE as f32 / 1_000.0) as usize
}

pub fn power(s: &[f32]) -> f32 {
    s.iter().map(|s| s * s).sum::<f32>() / s.len().max(1) as f32
}

/// The level of the parts that sound: the mean power of 10 ms frames within 25 dB of the loudest, as an amplitude.
pub fn active_level(s: &[f32]) -> f32 {
    let frames: Vec<f32> = s.chunks(ms(10.0)).map(power).collect();
    let loudest = frames.iter().copied().fold(0.0, f32::max);
    let active: Vec<f32> = frames.into_iter().filter(|p| *p > loudest * 0.003 && *p > 1e-10).collect();
    (active.iter().sum::<f32>() / active.len().max(1) as f32).sqrt()
}

pub fn scale(s: &mut [f32], by: f32) {
    s.iter_mut().for_each(|s| *s *= by);
}

/// To an active level in dBFS; silence stays silence.
pub fn level_to(s: &mut [f32], dbfs: f32) {
    let level = active_level(s);
    if level > 1e-7 {
        scale(s, db(dbfs) / level);
    }
}

pub fn mix(into: &mut [f32], s: &[f32], at: usize) {
    for (i, s) in into.iter_mut().skip(at).zip(s) {
        *i += s;
    }
}

/// A second-order section (Audio EQ Cookbook).
#[derive(Clone)]
pub struct Biquad {
    b: [f32; 3],
    a: [f32; 2],
    z: [f32; 2],
}

impl Biquad {
    fn new(b: [f32; 3], a: [f32; 3]) -> Biquad {
        Biquad {
            b: b.map(|b| b / a[0]),
            a: [a[1] / a[0], a[2] / a[0]],
            z: [0.0; 2],
        }
    }

    fn angle(hz: f32, q: f32) -> (f32, f32) {
        let w = std::f32::consts::TAU * (hz / RATE as f32).min(0.49);
        (w.cos(), w.sin() / (2.0 * q))
    }

    pub fn low_pass(hz: f32, q: f32) -> Biquad {
        let (c, a) = Self::angle(hz, q);
        Self::new([(1.0 - c) / 2.0, 1.0 - c, (1.0 - c) / 2.0], [1.0 + a, -2.0 * c, 1.0 - a])
    }

    pub fn high_pass(hz: f32, q: f32) -> Biquad {
        let (c, a) = Self::angle(hz, q);
        Self::new([(1.0 + c) / 2.0, -1.0 - c, (1.0 + c) / 2.0], [1.0 + a, -2.0 * c, 1.0 - a])
    }

    pub fn band_pass(hz: f32, q: f32) -> Biquad {
        let (c, a) = Self::angle(hz, q);
        Self::new([a, 0.0, -a], [1.0 + a, -2.0 * c, 1.0 - a])
    }

    pub fn peak(hz: f32, q: f32, gain_db: f32) -> Biquad {
        let (c, a) = Self::angle(hz, q);
        let g = 10f32.powf(gain_db / 40.0);
        Self::new([1.0 + a * g, -2.0 * c, 1.0 - a * g], [1.0 + a / g, -2.0 * c, 1.0 - a / g])
    }

    pub fn step(&mut self, x: f32) -> f32 {
        let y = self.b[0] * x + self.z[0];
        self.z[0] = self.b[1] * x - self.a[0] * y + self.z[1];
        self.z[1] = self.b[2] * x - self.a[1] * y;
        y
    }

    pub fn run(mut self, s: &mut [f32]) {
        s.iter_mut().for_each(|s| *s = self.step(*s));
    }
}

/// A colour no two devices share: a few broad peaks and dips.
pub fn colour(s: &mut [f32], dice: &mut Dice) {
    for _ in 0..2 {
        Biquad::peak(dice.scale(150.0, 6_000.0), dice.between(0.4, 1.2), dice.between(-6.0, 6.0)).run(s);
    }
}

/// Faster and higher (above 1) or slower and lower, by linear interpolation.
pub fn warp(s: &[f32], by: f32) -> Vec<f32> {
    let n = (s.len() as f32 / by) as usize;
    (0..n.saturating_sub(1))
        .map(|i| {
            let at = i as f32 * by;
            let (k, f) = (at as usize, at.fract());
            s.get(k).copied().unwrap_or(0.0) * (1.0 - f) + s.get(k + 1).copied().unwrap_or(0.0) * f
        })
        .collect()
}

/// 16 kHz to 8 kHz, a windowed sinc of 31 taps.
pub fn halve(s: &[f32]) -> Vec<f32> {
    let taps = sinc(31, 0.47 / 2.0);
    let padded = [&[0.0; 15][..], s, &[0.0; 15]].concat();
    (0..s.len() / 2)
        .map(|i| taps.iter().zip(&padded[2 * i..]).map(|(t, s)| t * s).sum())
        .collect()
}

/// 16 kHz to 48 kHz.
pub fn triple(s: &[f32]) -> Vec<f32> {
    let taps = sinc(47, 0.97 / 6.0);
    (0..s.len() * 3)
        .map(|i| {
            let mut sum = 0.0;
            for (n, t) in taps.iter().enumerate() {
                let from = i as isize + n as isize - 23;
                if from.rem_euclid(3) == 0 {
                    sum += at(s, from.div_euclid(3)) * t;
                }
            }
            sum * 3.0
        })
        .collect()
}

fn at(s: &[f32], n: isize) -> f32 {
    usize::try_from(n).ok().and_then(|n| s.get(n)).copied().unwrap_or(0.0)
}

/// A low-pass at `cut` of the rate, with a Blackman window.
fn sinc(taps: usize, cut: f32) -> Vec<f32> {
    use std::f32::consts::PI;
    let middle = (taps - 1) as f32 / 2.0;
    let mut all: Vec<f32> = (0..taps)
        .map(|n| {
            let t = n as f32 - middle;
            let ideal = if t == 0.0 {
                2.0 * cut
            } else {
                (2.0 * PI * cut * t).sin() / (PI * t)
            };
            let e = (n as f32 + 0.5) / taps as f32;
            ideal * (0.42 - 0.5 * (2.0 * PI * e).cos() + 0.08 * (4.0 * PI * e).cos())
        })
        .collect();
    let sum: f32 = all.iter().sum();
    all.iter_mut().for_each(|t| *t /= sum);
    all
}

/// G.711 µ-law, there and back.
pub fn mu_law(s: f32) -> f32 {
    let x = (s.clamp(-1.0, 1.0).abs() * 8_159.0).min(8_158.0) + 33.0;
    let exponent = (x.log2().floor() as i32 - 5).clamp(0, 7);
    let step = (1 << (exponent + 1)) as f32;
    let mantissa = ((x - (32 << exponent) as f32 - (1 << exponent) as f32 * 0.0) / step)
        .floor()
        .clamp(0.0, 15.0);
    let y = (32 << exponent) as f32 + (mantissa + 0.5) * step - 33.0;
    (y / 8_159.0).max(0.0) * s.signum()
}

/// `s` through a long impulse response, as long as `s`.
pub fn convolve(s: &[f32], response: &[f32]) -> Vec<f32> {
    let length = (s.len() + response.len()).next_power_of_two();
    let mut planner = RealFftPlanner::new();
    let (there, back) = (planner.plan_fft_forward(length), planner.plan_fft_inverse(length));
    let spectrum = |x: &[f32]| {
        let (mut time, mut bins) = (there.make_input_vec(), there.make_output_vec());
        time[..x.len()].copy_from_slice(x);
        let done = there.process(&mut time, &mut bins);
        debug_assert!(done.is_ok(), "lengths are the plan's own");
        bins
    };
    let mut bins: Vec<_> = spectrum(s).iter().zip(spectrum(response)).map(|(a, b)| a * b).collect();
    let mut out = back.make_output_vec();
    let done = back.process(&mut bins, &mut out);
    debug_assert!(done.is_ok(), "lengths are the plan's own, and real stays real");
    out.truncate(s.len());
    scale(&mut out, 1.0 / length as f32);
    out
}
