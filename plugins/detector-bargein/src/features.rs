//! What the network sees of every 10 ms: both signals, what the canceller made of them, and what a VAD says of the rest.
//!
//! Everything is a logarithm of a ratio or of a level, scaled to about ±1, so that a quiet line and a loud room look alike. The
//! same code runs in training and in the daemon. Not here: any decision.

use crate::bands::{Analysis, BANDS, Envelope, NARROW, SILENCE};
use crate::canceller::{Canceller, PARTITIONS};
use crate::context::{Context, VALUES};
use crate::decide::Level;
use crate::fourier::Fourier;
use crate::pitch::Pitch;
use crate::silero::{CELL, FRAME, Silero};
use crate::trace::Trace;

/// Per band: above the floor, taken by the canceller, above the echo by its filter, above the echo by its envelope, the far end.
const PER_BAND: usize = 5;
const SCALARS: usize = 22;
/// A floor never lies below −75 dBFS, so that after digital silence a line's own noise is not taken for a sound.
const LOWEST_FLOOR: f32 = 3e-8;
/// Behind bands and scalars stands how this frame compares with those before, and what the VAD's cell puts out.
pub const FEATURES: usize = BANDS * PER_BAND + SCALARS + VALUES + CELL;

pub(crate) struct Features {
    wide: bool,
    fourier: Fourier,
    near: Analysis,
    clean: Analysis,
    far: Analysis,
    echo: Analysis,
    envelope: Envelope,
    pitch: Pitch,
    far_pitch: Pitch,
    floor: [f32; BANDS],
    floor_total: f32,
    before: f32,
    frames: u32,
    far_frames: u32,
    far_peak: f32,
    echo_peak: f32,
    likeness: f32,
    cross: [f32; 3],
    /// The far end's latest pitches, strength and period, newest last.
    far_pitches: [(f32, f32); PARTITIONS],
    trace: Trace,
    vad: Silero,
    context: Context,
    doubler: Doubler,
    pub(crate) values: [f32; FEATURES],
}

impl Features {
    pub(crate) fn new(rate: u32) -> Features {
        let block = rate as usize / 100;
        Features {
            wide: rate >= 16_000,
            fourier: Fourier::new(2 * block),
            near: Analysis::new(block),
            clean: Analysis::new(block),
            far: Analysis::new(block),
            echo: Analysis::new(block),
            envelope: Envelope::new(),
            pitch: Pitch::new(rate),
            far_pitch: Pitch::new(rate),
            floor: [LOWEST_FLOOR; BANDS],
            floor_total: LOWEST_FLOOR,
            before: -10.0,
            frames: 0,
            far_frames: 0,
            far_peak: SILENCE,
            echo_peak: SILENCE,
            likeness: 0.0,
            cross: [0.0; 3],
            far_pitches: [(0.0, 0.0); PARTITIONS],
            trace: Trace::new(),
            vad: Silero::new(),
            context: Context::default(),
            doubler: Doubler::default(),
            values: [0.0; FEATURES],
        }
    }

    pub(crate) fn reset(&mut self) {
        for analysis in [&mut self.near, &mut self.clean, &mut self.far, &mut self.echo] {
            analysis.reset();
        }
        self.envelope.reset();
        self.pitch.reset();
        self.far_pitch.reset();
        self.floor = [LOWEST_FLOOR; BANDS];
        self.floor_total = LOWEST_FLOOR;
        self.before = -10.0;
        self.frames = 0;
        self.far_frames = 0;
        self.far_peak = SILENCE;
        self.echo_peak = SILENCE;
        self.likeness = 0.0;
        self.cross = [0.0; 3];
        self.far_pitches = [(0.0, 0.0); PARTITIONS];
        self.trace.reset();
        self.vad.reset();
        self.context.reset();
        self.doubler = Doubler::default();
    }

    /// Takes 10 ms that the canceller has just been through.
    pub(crate) fn feed(&mut self, near: &[f32], far: &[f32], canceller: &Canceller) {
        self.near.feed(&mut self.fourier, near);
        self.clean.feed(&mut self.fourier, &canceller.clean);
        self.far.feed(&mut self.fourier, far);
        self.echo.feed(&mut self.fourier, &canceller.echo);
        self.envelope.feed(&self.far.now, &self.near.now);
        self.pitch.feed(&canceller.clean);
        self.far_pitch.feed(far);
        self.far_pitches.copy_within(1.., 0);
        self.far_pitches[PARTITIONS - 1] = (self.far_pitch.strength, self.far_pitch.period);
        self.trace.feed(&self.clean, &self.far);
        self.listen(&canceller.clean);
        self.compare(near, canceller);
        self.follow_floor();
        self.frames = (self.frames + 1).min(10_000);
        let active = self.far.now.total > 1e-7;
        self.far_frames = if active {
            (self.far_frames + 1).min(10_000)
        } else {
            self.far_frames
        };
        self.far_peak = (self.far_peak * 0.97).max(self.far.now.total);
        self.echo_peak = (self.echo_peak * 0.97).max(self.echo.now.total);
        self.collect(canceller.lag());
    }

    fn listen(&mut self, clean: &[f32]) {
        for sample in clean {
            if self.wide {
                self.vad.feed(sample.clamp(-1.0, 1.0));
            } else {
                self.doubler.feed(sample.clamp(-1.0, 1.0)).iter().for_each(|s| self.vad.feed(*s));
            }
        }
    }

    /// How alike the microphone and the estimated echo are, over about 60 ms.
    fn compare(&mut self, near: &[f32], canceller: &Canceller) {
        let mut now = [0.0f32; 3];
        for (n, e) in near.iter().zip(&canceller.echo) {
            now[0] += n * e;
            now[1] += n * n;
            now[2] += e * e;
        }
        for (sum, now) in self.cross.iter_mut().zip(now) {
            *sum = 0.84 * *sum + now;
        }
        self.likeness = self.cross[0] / (self.cross[1] * self.cross[2] + 1e-14).sqrt();
    }

    /// The noise floor of each band: falls within 50 ms, rises by 3 dB a second, quicker in the first 200 ms.
    fn follow_floor(&mut self) {
        let rise = if self.frames < 20 { 1.08 } else { 1.007 };
        let follow = |floor: &mut f32, now: f32| {
            *floor = if now < *floor {
                *floor + 0.3 * (now - *floor)
            } else {
                (*floor * rise).min(now)
            }
            .max(LOWEST_FLOOR);
        };
        if self.frames == 0 {
            self.floor = self.clean.now.bands.map(|b| b.max(LOWEST_FLOOR));
            self.floor_total = self.clean.now.total.max(LOWEST_FLOOR);
        }
        for (floor, now) in self.floor.iter_mut().zip(&self.clean.now.bands) {
            follow(floor, *now);
        }
        follow(&mut self.floor_total, self.clean.now.total);
    }

    /// `lag`: how many blocks the echo is late.
    fn collect(&mut self, lag: usize) {
        let bands = if self.wide { BANDS } else { NARROW };
        let log = |p: f32| p.max(SILENCE).log10();
        let v = &mut self.values;
        v.fill(0.0);
        let (near, clean, far, echo) = (&self.near.now, &self.clean.now, &self.far.now, &self.echo.now);
        let mut flatness = 0.0;
        let mut over = 0.0f32;
        for n in 0..bands {
            let r = log(clean.bands[n]);
            v[n] = (r - log(self.floor[n])).clamp(-1.0, 5.0) * 0.5;
            v[BANDS + n] = (log(near.bands[n]) - r).clamp(-2.0, 4.0) * 0.5;
            v[2 * BANDS + n] = (r - log(echo.bands[n])).clamp(-4.0, 5.0) * 0.3;
            v[3 * BANDS + n] = (r - log(self.envelope.expected[n])).clamp(-4.0, 5.0) * 0.3;
            v[4 * BANDS + n] = (log(far.bands[n]) + 5.0) * 0.3;
            flatness += r;
            over += self.envelope.expected[n].min(near.bands[n]);
        }
        let total = log(clean.total);
        let s = &mut v[PER_BAND * BANDS..];
        s[0] = (total + 5.0) * 0.3;
        s[1] = (log(near.total) + 5.0) * 0.3;
        s[2] = (log(far.total) + 5.0) * 0.3;
        s[3] = (log(echo.total) + 5.0) * 0.3;
        s[4] = (total - self.before).clamp(-3.0, 3.0);
        s[5] = flatness / bands as f32 - log(clean.total / bands as f32);
        s[6] = self.pitch.strength;
        s[7] = self.pitch.period;
        let (far_strength, far_period) = self.far_pitches[PARTITIONS - 1 - lag.min(PARTITIONS - 1)];
        s[8] = far_strength;
        s[9] = if far_strength > 0.0 { far_period - self.pitch.period } else { 1.0 };
        s[10] = self.vad.score;
        s[11] = f32::from(self.wide);
        s[12] = ((self.far_frames + 1) as f32).log10() * 0.3;
        s[13] = (log(self.far_peak) + 5.0) * 0.3;
        s[14] = self.likeness;
        s[15] = (total - log(self.echo_peak)).clamp(-4.0, 5.0) * 0.3;
        s[16] = over / near.total.max(SILENCE);
        s[17] = (total - log(self.floor_total)).clamp(-1.0, 5.0) * 0.5;
        s[18] = self.trace.most * 2.0;
        s[19] = (self.trace.most - self.trace.mean) * 3.0;
        let odds = (self.vad.score.max(1e-4) / (1.0 - self.vad.score).max(1e-4)).ln();
        s[20] = odds * 0.2;
        s[21] = self.vad.age as f32 / FRAME as f32;
        let (context, cell) = s[SCALARS..].split_at_mut(VALUES);
        self.context.feed(clean, self.wide, self.vad.score, context);
        cell.copy_from_slice(self.vad.state());
        self.before = total;
    }
}

/// What the canceller left of 10 ms, by its features: nothing is below −80 dBFS, the line's own noise below −60, where nobody speaks, or within
/// 6 dB of its floor (which stands too low for seconds after digital silence).
pub fn level(values: &[f32; FEATURES]) -> Level {
    let scalars = &values[PER_BAND * BANDS..];
    let (level, over_floor) = (scalars[0] / 0.3 - 5.0, scalars[17] / 0.5);
    match (level, over_floor) {
        (..-8.0, _) => Level::Nothing,
        (..-6.0, _) | (_, ..0.6) => Level::Noise,
        _ => Level::Sound,
    }
}

/// Twice the rate, for the VAD, which knows 16 kHz only: a half-band filter of 15 taps.
#[derive(Default)]
struct Doubler {
    past: [f32; 8],
}

impl Doubler {
    fn feed(&mut self, sample: f32) -> [f32; 2] {
        const TAPS: [f32; 4] = [0.617_187_5, -0.164_062_5, 0.054_687_5, -0.007_812_5];
        self.past.copy_within(1.., 0);
        self.past[7] = sample;
        let p = &self.past;
        let between: f32 = (0..4).map(|n| TAPS[n] * (p[3 - n] + p[4 + n])).sum();
        [p[3], between]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;

    #[test]
    fn a_line_is_hushed_while_it_brings_its_own_noise_alone() {
        for noise in [0.0, 1e-4, 1e-2] {
            let mut state = 1u32;
            let mut line = |amplitude: f32| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                amplitude * ((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
            };
            // A second of the line, half a second of somebody, another second of the line.
            let near: Vec<f32> = (0..40_000)
                .map(|n| line(noise) + if (16_000..24_000).contains(&n) { line(0.3) } else { 0.0 })
                .collect();
            let mut hushed = Vec::new();
            Engine::new(16_000).feed(&near, None, None, |_, _, values| hushed.push(level(values) != Level::Sound));
            let share = |frames: std::ops::Range<usize>| hushed[frames.clone()].iter().filter(|h| **h).count() * 100 / frames.len();
            assert!(share(50..100) >= 99, "noise {noise}: {} % of the line", share(50..100));
            assert_eq!(share(101..150), 0, "noise {noise}: somebody");
            let after = (150..250).find(|n| hushed[*n..n + 20].iter().all(|h| *h)).unwrap_or(250);
            assert!(after <= 156, "noise {noise}: {} ms after the end", (after - 150) * 10);
        }
    }
}
