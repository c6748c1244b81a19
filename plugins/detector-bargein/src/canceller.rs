//! The echo canceller: a partitioned-block Kalman filter in the frequency domain (Enzner and Vary 2006; Kuech et al. 2014).
//!
//! Each partition models 10 ms of the path from loudspeaker to microphone, 30 of them cover a delay of 200 ms and the room behind
//! it. The Kalman form keeps, for each coefficient, how uncertain it is; this gives the step size by itself: wide while the path is
//! unknown, small while the user talks, so that no double-talk detector has to be right first. Invariants: no allocation after
//! `new`; output is finite for finite input. Why not a library: speexdsp keeps these uncertainties to itself and AEC3 allocates,
//! while the decision lives on them. Not here: suppression of the residual, which would eat the user's onset.

use crate::fourier::{Fourier, Spectrum};
use crate::product::twice;

/// 10 ms each: what the host leaves of the line's delay, up to 200 ms, and the tail of the room.
pub(crate) const PARTITIONS: usize = 28;
/// What a path may change within 10 ms, as power relative to its own.
const WANDER: f32 = 0.01;
/// The share of wander that goes to partitions beside the present path, so that a path that moved is found again.
const SPREAD: f32 = 0.005;
/// Uncertainty of each coefficient at the beginning.
const UNKNOWN: f32 = 0.006;
const QUIET: f32 = 1e-10;

pub(crate) struct Canceller {
    block: usize,
    fourier: Fourier,
    /// The latest two blocks of the far end.
    far: Vec<f32>,
    /// Spectra of the far end, newest at `newest`, older ones behind it.
    history: Vec<Spectrum>,
    powers: Vec<Vec<f32>>,
    newest: usize,
    paths: Vec<Spectrum>,
    doubts: Vec<Vec<f32>>,
    estimate: Spectrum,
    error: Spectrum,
    heard: Vec<f32>,
    noise: Vec<f32>,
    /// Which partition is constrained next: one each block, in turn, is enough.
    turn: usize,
    /// How strong each partition's path was when it was its turn.
    strengths: [f32; PARTITIONS],
    worse_blocks: u32,
    idle_blocks: usize,
    pub(crate) echo: Vec<f32>,
    pub(crate) clean: Vec<f32>,
    near_power: f32,
    clean_power: f32,
}

impl Canceller {
    /// For blocks of `block` samples, 10 ms of the rate.
    pub(crate) fn new(block: usize) -> Canceller {
        let bins = block + 1;
        Canceller {
            block,
            fourier: Fourier::new(2 * block),
            far: vec![0.0; 2 * block],
            history: vec![Spectrum::new(bins); PARTITIONS],
            powers: vec![vec![0.0; bins]; PARTITIONS],
            newest: 0,
            paths: vec![Spectrum::new(bins); PARTITIONS],
            doubts: vec![vec![UNKNOWN; bins]; PARTITIONS],
            estimate: Spectrum::new(bins),
            error: Spectrum::new(bins),
            heard: vec![0.0; bins],
            noise: vec![0.0; bins],
            turn: 0,
            strengths: [0.0; PARTITIONS],
            worse_blocks: 0,
            idle_blocks: PARTITIONS,
            echo: vec![0.0; block],
            clean: vec![0.0; block],
            near_power: 0.0,
            clean_power: 0.0,
        }
    }

    pub(crate) fn reset(&mut self) {
        self.far.fill(0.0);
        self.history.iter_mut().for_each(Spectrum::clear);
        self.powers.iter_mut().for_each(|p| p.fill(0.0));
        self.forget();
        self.noise.fill(0.0);
        self.idle_blocks = PARTITIONS;
        self.turn = 0;
        self.newest = 0;
        self.near_power = 0.0;
        self.clean_power = 0.0;
    }

    /// The path is unknown again.
    fn forget(&mut self) {
        self.paths.iter_mut().for_each(Spectrum::clear);
        self.doubts.iter_mut().for_each(|d| d.fill(UNKNOWN));
        self.strengths.fill(0.0);
        self.worse_blocks = 0;
    }

    /// How many blocks the echo is late, as far as it is known.
    pub(crate) fn lag(&self) -> usize {
        let strongest = (0..PARTITIONS).max_by(|a, b| self.strengths[*a].total_cmp(&self.strengths[*b]));
        strongest.unwrap_or(0)
    }

    /// One block: `clean` becomes `near` without the echo of `far`, `echo` what was taken away. Both of `block` samples.
    pub(crate) fn process(&mut self, near: &[f32], far: &[f32]) {
        self.far.copy_within(self.block.., 0);
        self.far[self.block..].copy_from_slice(far);
        self.newest = (self.newest + PARTITIONS - 1) % PARTITIONS;
        let loud = self.far.iter().map(|s| s * s).sum::<f32>() > QUIET * self.block as f32;
        self.idle_blocks = if loud { 0 } else { (self.idle_blocks + 1).min(PARTITIONS) };
        if self.idle_blocks == PARTITIONS {
            // Nothing was played for as long as the filter reaches back: no echo, and nothing to learn.
            self.history[self.newest].clear();
            self.powers[self.newest].fill(0.0);
            self.echo.fill(0.0);
            self.clean.copy_from_slice(near);
            return;
        }
        self.fourier
            .forward(&mut self.history[self.newest], |time| time.copy_from_slice(&self.far));
        let (spectrum, power) = (&self.history[self.newest], &mut self.powers[self.newest]);
        for ((p, re), im) in power.iter_mut().zip(&spectrum.re).zip(&spectrum.im) {
            *p = re * re + im * im;
        }
        self.subtract(near);
        self.watch(near);
        self.learn();
    }

    fn subtract(&mut self, near: &[f32]) {
        self.estimate.clear();
        self.heard.fill(0.0);
        for n in 0..PARTITIONS {
            let at = (self.newest + n) % PARTITIONS;
            accumulate(&mut self.estimate, &self.history[at], &self.paths[n]);
            weigh(&mut self.heard, &self.powers[at], &self.doubts[n]);
        }
        let time = self.fourier.inverse(&self.estimate);
        self.echo.copy_from_slice(&time[self.block..]);
        for ((c, n), e) in self.clean.iter_mut().zip(near).zip(&self.echo) {
            *c = n - e;
        }
    }

    /// A filter that adds more than it takes, for a while, models a path that is gone.
    fn watch(&mut self, near: &[f32]) {
        let power = |s: &[f32]| s.iter().map(|s| s * s).sum::<f32>();
        let (near_power, clean_power) = (power(near), power(&self.clean));
        self.near_power += 0.2 * (near_power - self.near_power);
        self.clean_power += 0.2 * (clean_power - self.clean_power);
        if clean_power > 4.0 * near_power {
            // Never louder than it was: this block goes out as it came in.
            self.clean.copy_from_slice(near);
        }
        self.worse_blocks = if self.clean_power > 1.3 * self.near_power {
            self.worse_blocks + 1
        } else {
            0
        };
        if self.worse_blocks > 8 || !self.clean_power.is_finite() {
            self.forget();
            self.clean_power = 0.0;
            self.near_power = 0.0;
            self.noise.fill(0.0);
        }
    }

    fn learn(&mut self) {
        let (block, clean) = (self.block, &self.clean);
        self.fourier.forward(&mut self.error, |time| {
            time[..block].fill(0.0);
            time[block..].copy_from_slice(clean);
        });
        for n in 0..self.noise.len() {
            let power = self.error.re[n] * self.error.re[n] + self.error.im[n] * self.error.im[n];
            // Over about 120 ms, but a burst counts at once: the first syllable of a user must not be learned as echo.
            self.noise[n] = (0.92 * self.noise[n] + 0.08 * power).max(0.1 * power);
            self.heard[n] = 1.0 / (self.heard[n] + 2.0 * self.noise[n] + QUIET);
        }
        // The mean path, into `estimate.re`: partitions beside it take their share of the wander.
        let mean = &mut self.estimate.re;
        mean.fill(0.0);
        for path in &self.paths {
            energy(mean, path);
        }
        mean.iter_mut().for_each(|m| *m *= WANDER * SPREAD);
        for n in 0..PARTITIONS {
            let at = (self.newest + n) % PARTITIONS;
            adapt(
                &mut self.paths[n],
                &mut self.doubts[n],
                (&self.history[at], &self.powers[at]),
                &self.error,
                &self.heard,
                &self.estimate.re,
            );
        }
        self.constrain();
    }

    /// A partition is `block` taps long: what circular convolution put behind them is removed, one partition at a time.
    fn constrain(&mut self) {
        for _ in 0..2 {
            let path = &mut self.paths[self.turn];
            self.fourier.truncate(path, self.block);
            self.strengths[self.turn] = path.re.iter().zip(&path.im).map(|(re, im)| re * re + im * im).sum();
            self.turn = (self.turn + 1) % PARTITIONS;
        }
    }
}

twice! {
    /// `sum += x * w`, complex.
    fn accumulate(sum: &mut Spectrum, x: &Spectrum, w: &Spectrum) {
        let n = sum.re.len();
        let (sr, si) = (&mut sum.re[..n], &mut sum.im[..n]);
        let (xr, xi, wr, wi) = (&x.re[..n], &x.im[..n], &w.re[..n], &w.im[..n]);
        for k in 0..n {
            sr[k] += xr[k] * wr[k] - xi[k] * wi[k];
            si[k] += xr[k] * wi[k] + xi[k] * wr[k];
        }
    }

    /// `sum += x * p`, the doubt that a partition's far end makes heard.
    fn weigh(sum: &mut [f32], power: &[f32], doubt: &[f32]) {
        for ((s, x), p) in sum.iter_mut().zip(power).zip(doubt) {
            *s += x * p;
        }
    }

    /// `sum += |path|²`.
    fn energy(sum: &mut [f32], path: &Spectrum) {
        for ((s, re), im) in sum.iter_mut().zip(&path.re).zip(&path.im) {
            *s += re * re + im * im;
        }
    }

    /// One partition's step: `path += doubt · conj(x) · error / heard`, and its doubt shrinks by what was learned and grows by the wander.
    fn adapt(path: &mut Spectrum, doubt: &mut [f32], far: (&Spectrum, &[f32]), error: &Spectrum, inverse: &[f32], beside: &[f32]) {
        let n = doubt.len();
        let (pr, pi) = (&mut path.re[..n], &mut path.im[..n]);
        let (xr, xi, xp) = (&far.0.re[..n], &far.0.im[..n], &far.1[..n]);
        let (er, ei, inverse, beside) = (&error.re[..n], &error.im[..n], &inverse[..n], &beside[..n]);
        for k in 0..n {
            let step = doubt[k] * inverse[k];
            pr[k] += step * (xr[k] * er[k] + xi[k] * ei[k]);
            pi[k] += step * (xr[k] * ei[k] - xi[k] * er[k]);
            let own = WANDER * (pr[k] * pr[k] + pi[k] * pi[k]);
            doubt[k] = (doubt[k] * (1.0 - 0.5 * step * xp[k]) * (1.0 - WANDER) + own + beside[k]).clamp(1e-9, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise that comes and goes like syllables.
    fn far(n: usize) -> Vec<f32> {
        let mut state = 7u32;
        let mut low = 0.0f32;
        (0..n)
            .map(|k| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                low = 0.6 * low + ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 0.1;
                low * (k as f32 / 1_300.0).sin().abs()
            })
            .collect()
    }

    fn power(s: &[f32]) -> f32 {
        s.iter().map(|s| s * s).sum::<f32>() + 1e-20
    }

    fn cancel(canceller: &mut Canceller, near: &[f32], far: &[f32]) -> Vec<f32> {
        let mut clean = Vec::new();
        for (near, far) in near.chunks_exact(canceller.block).zip(far.chunks_exact(canceller.block)) {
            canceller.process(near, far);
            clean.extend_from_slice(&canceller.clean);
        }
        clean
    }

    fn echo(far: &[f32], delay: usize) -> Vec<f32> {
        (0..far.len())
            .map(|k| {
                if k >= delay + 40 {
                    0.3 * far[k - delay] - 0.1 * far[k - delay - 40]
                } else {
                    0.0
                }
            })
            .collect()
    }

    #[test]
    fn an_echo_200_ms_late_is_taken_away() {
        for block in [80, 160] {
            let far = far(block * 600);
            let near = echo(&far, block * 20 + 13);
            let clean = cancel(&mut Canceller::new(block), &near, &far);
            let last = block * 400..;
            let gain = 10.0 * (power(&near[last.clone()]) / power(&clean[last])).log10();
            assert!(gain > 15.0, "{gain} dB at {block}");
        }
    }

    #[test]
    fn a_path_that_jumps_is_found_again() {
        let far = far(160 * 1_400);
        let mut near = echo(&far, 160 * 5);
        near[160 * 500..].copy_from_slice(&echo(&far, 160 * 11)[160 * 500..]);
        let clean = cancel(&mut Canceller::new(160), &near, &far);
        let last = 160 * 1_200..;
        let gain = 10.0 * (power(&near[last.clone()]) / power(&clean[last])).log10();
        assert!(gain > 8.0, "{gain} dB");
    }

    #[test]
    fn nothing_played_changes_nothing() {
        let near = far(160 * 50);
        assert_eq!(cancel(&mut Canceller::new(160), &near, &vec![0.0; near.len()]), near);
    }

    #[test]
    fn what_comes_out_is_never_much_louder_than_what_went_in() {
        let far = far(160 * 400);
        let near: Vec<f32> = far.iter().rev().map(|s| s * 0.5).collect();
        let clean = cancel(&mut Canceller::new(160), &near, &far);
        for (near, clean) in near.chunks(160 * 20).zip(clean.chunks(160 * 20)) {
            assert!(power(clean) < 4.0 * power(near) + 1e-3);
        }
    }
}
