//! Traces of the far end in what the canceller left, at any delay: an echo whose path has just moved, or is not learned yet, still
//! goes with what was played; a user does not.
//!
//! Magnitude-squared coherence between the clean signal and the far end at each of 28 delays, 250 to 3,000 Hz, over about 80 ms.
//! It knows nothing of the canceller's filter, so it is right where that one is wrong. Not here: what follows from it.

use crate::bands::Analysis;
use crate::product::twice;

const LAGS: usize = 28;
/// In bins of 50 Hz: what a telephone passes, too.
const FIRST: usize = 5;
const BINS: usize = 56;
const MEMORY: f32 = 0.85;
const QUIET: f32 = 1e-9;
/// So many frames after the far end fell silent nothing of it is left in any sum.
const GONE: u32 = LAGS as u32 + 60;

type Row = [f32; BINS];

pub(crate) struct Trace {
    far_re: Vec<Row>,
    far_im: Vec<Row>,
    /// The far end's smoothed power as it was then.
    far_power: Vec<Row>,
    newest: usize,
    cross_re: Vec<Row>,
    cross_im: Vec<Row>,
    own: Row,
    /// Frames since the far end sounded.
    idle: u32,
    /// The strongest coherence, and the mean over all delays.
    pub(crate) most: f32,
    pub(crate) mean: f32,
}

impl Trace {
    pub(crate) fn new() -> Trace {
        Trace {
            far_re: vec![[0.0; BINS]; LAGS],
            far_im: vec![[0.0; BINS]; LAGS],
            far_power: vec![[0.0; BINS]; LAGS],
            newest: 0,
            cross_re: vec![[0.0; BINS]; LAGS],
            cross_im: vec![[0.0; BINS]; LAGS],
            own: [0.0; BINS],
            idle: GONE,
            most: 0.0,
            mean: 0.0,
        }
    }

    pub(crate) fn reset(&mut self) {
        for rows in [
            &mut self.far_re,
            &mut self.far_im,
            &mut self.far_power,
            &mut self.cross_re,
            &mut self.cross_im,
        ] {
            rows.fill([0.0; BINS]);
        }
        self.newest = 0;
        self.own = [0.0; BINS];
        self.idle = GONE;
        self.most = 0.0;
        self.mean = 0.0;
    }

    pub(crate) fn feed(&mut self, clean: &Analysis, far: &Analysis) {
        let before = self.far_power[self.newest];
        self.newest = (self.newest + LAGS - 1) % LAGS;
        let (re, im) = latest(far);
        let (clean_re, clean_im) = latest(clean);
        for k in 0..BINS {
            self.far_power[self.newest][k] = MEMORY * before[k] + re[k] * re[k] + im[k] * im[k];
            self.own[k] = MEMORY * self.own[k] + clean_re[k] * clean_re[k] + clean_im[k] * clean_im[k];
        }
        self.far_re[self.newest] = re;
        self.far_im[self.newest] = im;
        // Weights: a bin counts by its level, so that what sounds decides.
        let mut weight = [0.0f32; BINS];
        let mut inverse = [0.0f32; BINS];
        let mut sum = 0.0;
        for k in 0..BINS {
            weight[k] = self.own[k].sqrt();
            sum += weight[k];
            inverse[k] = weight[k] / (self.own[k] + QUIET);
        }
        (self.most, self.mean) = (0.0, 0.0);
        self.idle = if far.now.total > 1e-9 { 0 } else { self.idle.saturating_add(1) };
        if self.idle > GONE {
            return;
        }
        for lag in 0..LAGS {
            let at = (self.newest + lag) % LAGS;
            let (fr, fi, fp) = (&self.far_re[at], &self.far_im[at], &self.far_power[at]);
            let cross = (&mut self.cross_re[lag], &mut self.cross_im[lag]);
            let coherence = go_with(cross, (fr, fi, fp), (&clean_re, &clean_im), &inverse) / (sum + QUIET);
            self.most = self.most.max(coherence);
            self.mean += coherence / LAGS as f32;
        }
        if !self.most.is_finite() {
            self.reset();
        }
    }
}

twice! {
    /// One delay's step: how much of the clean signal goes with the far end then, weighted.
    fn go_with(cross: (&mut Row, &mut Row), far: (&Row, &Row, &Row), clean: (&Row, &Row), weight: &Row) -> f32 {
        let (cr, ci) = cross;
        let (fr, fi, fp) = far;
        let (re, im) = clean;
        let mut parts = [0.0f32; 8];
        for k in 0..BINS {
            cr[k] = MEMORY * cr[k] + re[k] * fr[k] + im[k] * fi[k];
            ci[k] = MEMORY * ci[k] + im[k] * fr[k] - re[k] * fi[k];
            parts[k % 8] += (cr[k] * cr[k] + ci[k] * ci[k]) / (fp[k] + QUIET) * weight[k];
        }
        parts.iter().sum()
    }
}

fn latest(of: &Analysis) -> (Row, Row) {
    let (mut re, mut im) = ([0.0; BINS], [0.0; BINS]);
    // The spectrum of a silent block is not kept.
    if of.now.total > 1e-9 {
        re.copy_from_slice(&of.spectrum.re[FIRST..FIRST + BINS]);
        im.copy_from_slice(&of.spectrum.im[FIRST..FIRST + BINS]);
    }
    (re, im)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fourier::Fourier;

    fn noise(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 0.1
        })
        .take(n)
        .collect()
    }

    fn coherence(clean: &[f32], far: &[f32]) -> f32 {
        let mut fourier = Fourier::new(320);
        let (mut a, mut b, mut trace) = (Analysis::new(160), Analysis::new(160), Trace::new());
        for (clean, far) in clean.chunks_exact(160).zip(far.chunks_exact(160)) {
            a.feed(&mut fourier, clean);
            b.feed(&mut fourier, far);
            trace.feed(&a, &b);
        }
        trace.most
    }

    #[test]
    fn an_echo_at_any_delay_is_told_from_somebody_else() {
        let far = noise(16_000, 3);
        for delay in [0, 777, 3_210] {
            let echo: Vec<f32> = (0..far.len()).map(|k| if k < delay { 0.0 } else { 0.2 * far[k - delay] }).collect();
            assert!(coherence(&echo, &far) > 0.5, "{delay}");
        }
        assert!(coherence(&noise(16_000, 99), &far) < 0.4);
        assert_eq!(coherence(&far, &vec![0.0; far.len()]), 0.0);
    }
}
