//! From a backend's rate to the output's, without moving a sample in time.
//!
//! Invariants: sample 0 in is sample 0 out; n samples in are exactly round(n * out / in) samples out; equal rates
//! pass the samples through untouched. The filter's delay is trimmed to a fraction of a sample: rubato places its
//! filters on a grid, so we feed as many zeros first as make the delay a whole number of output samples. When the
//! ratio is a small fraction the grid is the exact one (a polyphase filter), else cubic interpolation between 256 points.
//! Filters are dear to compute, so idle ones wait in a pool. Not here: marks and positions (see `rescale`), gain.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Async, FixedAsync, Indexing, Resampler as _, SincInterpolationParameters, SincInterpolationType, WindowFunction};

/// Input samples per step; what is fed waits for a full step, so it is small beside the filter's own look-ahead.
const STEP: usize = 64;
/// Filter length at the lower of the two rates; about 2/3 of it is transition band, far above speech.
const TAPS: usize = 128;
/// Numerators up to here get a filter of their own for every phase.
const EXACT_PHASES: u64 = 640;
/// Filters kept for reuse; two rates and a handful of voices never need more.
const POOLED: usize = 8;

/// Where `position` at rate `from` lies at rate `to`, to the nearest sample.
pub(crate) fn rescale(position: u64, from: u32, to: u32) -> u64 {
    if from == to {
        return position;
    }
    let (from, to) = (u128::from(from), u128::from(to));
    ((u128::from(position) * to + from / 2) / from) as u64
}

/// Samples at `rate` as microseconds, to the nearest.
pub(crate) fn samples_to_us(samples: u64, rate: u32) -> u64 {
    rescale(samples, rate, 1_000_000)
}

/// Microseconds as samples at `rate`, to the nearest.
pub(crate) fn us_to_samples(us: u64, rate: u32) -> u64 {
    rescale(us, 1_000_000, rate)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Idle filters by their two rates; cheap to clone. `[any]`
#[derive(Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<VecDeque<Filter>>>);

impl Pool {
    fn take(&self, from: u32, to: u32) -> Filter {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match idle.iter().position(|f| (f.from, f.to) == (from, to)) {
            Some(i) => idle.remove(i).unwrap_or_else(|| Filter::new(from, to)),
            None => {
                drop(idle);
                Filter::new(from, to)
            }
        }
    }

    /// Has at least one filter of this kind idle.
    pub(crate) fn warm(&self, from: u32, to: u32) {
        if from != to {
            self.give(self.take(from, to));
        }
    }

    fn give(&self, mut filter: Filter) {
        filter.inner.reset();
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push_back(filter);
        if idle.len() > POOLED {
            idle.pop_front();
        }
    }
}

/// rubato's resampler with what it takes to cut its delay off exactly.
struct Filter {
    from: u32,
    to: u32,
    inner: Async<f32>,
    zeros_first: usize,
    drop_first: u64,
}

impl Filter {
    fn new(from: u32, to: u32) -> Self {
        let divisor = gcd(from, to);
        let (up, down) = (u64::from(to / divisor), u64::from(from / divisor));
        let exact = up <= EXACT_PHASES;
        let phases = if exact { up } else { 256 };
        // Going down, the filter must be as much longer as the pass band is narrower.
        let taps = TAPS * (from.div_ceil(to).max(1) as usize);
        let parameters = SincInterpolationParameters::new(taps, WindowFunction::BlackmanHarris2)
            .oversampling_factor(phases as usize)
            .interpolation(if exact {
                SincInterpolationType::Nearest
            } else {
                SincInterpolationType::Cubic
            });
        let ratio = f64::from(to) / f64::from(from);
        let inner = Async::new_sinc(ratio, 1.0, &parameters, STEP, 1, FixedAsync::Input)
            .expect("two positive rates and a positive step make a resampler");
        let (zeros_first, drop_first) = alignment(taps as u64, up, down, phases);
        Filter {
            from,
            to,
            inner,
            zeros_first,
            drop_first,
        }
    }

    /// One step: `input` (at most STEP samples, silence behind them) to `out`.
    fn step(&mut self, input: &[f32], out: &mut Vec<f32>) {
        let start = out.len();
        let produced = self.inner.output_frames_next();
        out.resize(start + produced, 0.0);
        let indexing = Indexing::new().partial_len(input.len());
        let whole = "one channel of as many frames as the slice has samples";
        let source = InterleavedSlice::new(input, 1, input.len()).expect(whole);
        let mut sink = InterleavedSlice::new_mut(&mut out[start..], 1, produced).expect(whole);
        let done = self.inner.process_into_buffer(&source, &mut sink, Some(&indexing));
        debug_assert!(done.is_ok(), "buffers were sized by the resampler itself");
    }
}

/// How many zeros to feed first and how many samples to drop, so that the first sample left is centred on the first
/// sample fed. rubato's output k (from 1) is centred on the input's k·down/up + 1/phases − taps/2; with z zeros first
/// we want that to be z. The best z among the first few has no rest at all when the phases are the exact ones.
fn alignment(taps: u64, up: u64, down: u64, phases: u64) -> (usize, u64) {
    let mut best = (0, 0, f64::INFINITY);
    for zeros in 0..down.min(1024) {
        let k = (up as f64 * ((zeros + taps / 2) as f64 - 1.0 / phases as f64)) / down as f64;
        let rest = (k - k.round()).abs();
        if rest + 1e-9 < best.2 {
            best = (zeros as usize, k.round() as u64, rest);
        }
    }
    (best.0, best.1.saturating_sub(1))
}

/// One stretch of audio on its way from `from` to `to`. `[control]`
pub(crate) struct Resampler {
    from: u32,
    to: u32,
    filter: Option<Filter>,
    pool: Pool,
    pending: Vec<f32>,
    drop_left: u64,
    taken: u64,
    given: u64,
}

impl Resampler {
    pub(crate) fn new(pool: &Pool, from: u32, to: u32) -> Self {
        let filter = (from != to).then(|| pool.take(from, to));
        let (zeros, drop_left) = filter.as_ref().map_or((0, 0), |f| (f.zeros_first, f.drop_first));
        Resampler {
            from,
            to,
            filter,
            pool: pool.clone(),
            pending: vec![0.0; zeros],
            drop_left,
            taken: 0,
            given: 0,
        }
    }

    /// Appends to `out` what can be said after `input`.
    pub(crate) fn push(&mut self, input: &[f32], out: &mut Vec<f32>) {
        self.taken += input.len() as u64;
        let Some(filter) = &mut self.filter else {
            out.extend_from_slice(input);
            self.given += input.len() as u64;
            return;
        };
        self.pending.extend_from_slice(input);
        let start = out.len();
        let mut steps = self.pending.chunks_exact(STEP);
        for step in steps.by_ref() {
            filter.step(step, out);
        }
        let left = self.pending.len() - steps.remainder().len();
        self.pending.drain(..left);
        self.settle(start, out);
    }

    /// Appends the rest, to the exact length; the resampler is then spent.
    pub(crate) fn finish(mut self, out: &mut Vec<f32>) {
        let Some(mut filter) = self.filter.take() else {
            return;
        };
        let total = rescale(self.taken, self.from, self.to);
        let start = out.len();
        let rest = std::mem::take(&mut self.pending);
        filter.step(&rest, out);
        while ((out.len() - start) as u64) < self.drop_left + (total - self.given.min(total)) {
            filter.step(&[], out);
        }
        self.settle(start, out);
        let pool = self.pool.clone();
        pool.give(filter);
    }

    /// Drops the filter's delay and what exceeds the exact length so far.
    fn settle(&mut self, start: usize, out: &mut Vec<f32>) {
        let dropped = self.drop_left.min((out.len() - start) as u64);
        out.drain(start..start + dropped as usize);
        self.drop_left -= dropped;
        let allowed = rescale(self.taken, self.from, self.to) - self.given;
        out.truncate(start + allowed as usize);
        self.given += (out.len() - start) as u64;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn convert(from: u32, to: u32, input: &[f32], cut: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(&Pool::default(), from, to);
        let mut out = Vec::new();
        for part in input.chunks(cut.max(1)) {
            resampler.push(part, &mut out);
        }
        resampler.finish(&mut out);
        out
    }

    fn sine(rate: u32, hz: f64, samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|i| (std::f64::consts::TAU * hz * i as f64 / f64::from(rate)).sin() as f32 * 0.5)
            .collect()
    }

    /// Signal to noise in dB against the ideal sine at the new rate, phase and amplitude included.
    fn snr(from: u32, to: u32, hz: f64) -> f64 {
        let out = convert(from, to, &sine(from, hz, from as usize), 1000);
        let ideal = sine(to, hz, out.len());
        let inner = to as usize / 10..out.len() - to as usize / 10;
        let (mut signal, mut noise) = (0.0, 0.0);
        for i in inner {
            signal += f64::from(ideal[i]).powi(2);
            noise += f64::from(out[i] - ideal[i]).powi(2);
        }
        10.0 * (signal / noise).log10()
    }

    #[test]
    fn a_sine_keeps_its_place_and_shape_at_every_usual_rate() {
        for (from, to) in [
            (22_050, 48_000),
            (16_000, 48_000),
            (24_000, 48_000),
            (44_100, 48_000),
            (48_000, 44_100),
            (48_000, 8_000),
            (22_050, 8_000),
            (24_000, 16_000),
            (8_000, 96_000),
            (22_051, 48_000),
        ] {
            let db = snr(from, to, 997.0);
            assert!(db > 60.0, "{from} to {to}: {db:.1} dB");
        }
    }

    #[test]
    fn equal_rates_pass_every_bit() {
        let input: Vec<f32> = (0..777).map(|i| (i as f32).sin()).collect();
        assert_eq!(convert(48_000, 48_000, &input, 100), input);
    }

    #[test]
    fn a_single_click_stays_where_it_was() {
        for (from, to) in [(22_050, 48_000), (24_000, 48_000), (48_000, 16_000)] {
            let mut input = vec![0.0f32; 2_000];
            input[882] = 1.0;
            let out = convert(from, to, &input, 333);
            let peak = (0..out.len()).max_by(|&a, &b| out[a].abs().total_cmp(&out[b].abs())).unwrap();
            assert_eq!(peak as u64, rescale(882, from, to), "{from} to {to}");
        }
    }

    #[test]
    fn a_warm_pool_holds_one_filter_of_each_kind() {
        let pool = Pool::default();
        for _ in 0..3 {
            pool.warm(22_050, 48_000);
            pool.warm(16_000, 48_000);
            pool.warm(48_000, 48_000);
        }
        assert_eq!(pool.0.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_pooled_filter_remembers_nothing() {
        let pool = Pool::default();
        let input = sine(22_050, 440.0, 5_000);
        let run = || {
            let mut out = Vec::new();
            let mut r = Resampler::new(&pool, 22_050, 48_000);
            r.push(&input, &mut out);
            r.finish(&mut out);
            out
        };
        let first = run();
        assert_eq!(first, run());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_length_is_exact_and_the_pieces_do_not_matter(
            from in prop::sample::select(vec![8_000u32, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000]),
            to in prop::sample::select(vec![8_000u32, 16_000, 44_100, 48_000]),
            samples in 0usize..5_000,
            cut in 1usize..2_000,
        ) {
            let input = sine(from, 300.0, samples);
            let whole = convert(from, to, &input, usize::MAX);
            prop_assert_eq!(whole.len() as u64, rescale(samples as u64, from, to));
            prop_assert_eq!(convert(from, to, &input, cut), whole);
        }
    }
}
