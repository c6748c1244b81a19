//! What the ear wrote down, and plain questions about it: where sound begins and ends, where it was silent, whether a period is
//! missing, where another recording lies in it.
//!
//! A position is an index into the samples; `us_at` and `at_us` map it to CLOCK_MONOTONIC by the time that JACK gave the period.

use std::ops::Range;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Period {
    /// JACK's frame time of the first sample.
    pub frame: u64,
    /// The moment of the first sample: JACK's, which is smooth, unless JACK is just catching up after it was stopped (it then tells a
    /// moment long past for a second or so); then the callback's.
    pub us: u64,
    /// CLOCK_MONOTONIC when the ear's callback ran.
    pub callback_us: u64,
    /// The first sample's index.
    pub start: usize,
    pub len: usize,
    pub xrun: bool,
    pub connected: bool,
}

#[derive(Clone, Debug)]
pub struct Recording {
    pub rate: u32,
    pub samples: Vec<f32>,
    pub periods: Vec<Period>,
}

impl Recording {
    pub fn read(prefix: &Path, rate: u32) -> Recording {
        let index = std::fs::read(prefix.with_extension("idx")).unwrap_or_default();
        let raw = std::fs::read(prefix.with_extension("f32")).unwrap_or_default();
        let samples: Vec<f32> = raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let u64_at = |b: &[u8], at: usize| u64::from_le_bytes(b[at..at + 8].try_into().unwrap());
        let u32_at = |b: &[u8], at: usize| u32::from_le_bytes(b[at..at + 4].try_into().unwrap());
        let periods: Vec<Period> = index
            .chunks_exact(40)
            .map(|b| {
                let (jack, callback, len) = (u64_at(b, 8), u64_at(b, 16), u32_at(b, 32) as usize);
                let trusted = jack.abs_diff(callback) < 2 * len as u64 * 1_000_000 / u64::from(rate);
                Period {
                    frame: u64_at(b, 0),
                    us: if trusted { jack } else { callback },
                    callback_us: callback,
                    start: u64_at(b, 24) as usize,
                    len,
                    xrun: u32_at(b, 36) & 1 != 0,
                    connected: u32_at(b, 36) & 2 != 0,
                }
            })
            .collect();
        // The two files are flushed one after the other: keep what both of them have.
        let kept = periods.partition_point(|p| p.start + p.len <= samples.len());
        let periods = periods[..kept].to_vec();
        let end = periods.last().map_or(0, |p| p.start + p.len);
        Recording {
            rate,
            samples: samples[..end].to_vec(),
            periods,
        }
    }

    /// A recording without a clock of its own, for files and for tests of the analysis.
    pub fn from_samples(rate: u32, samples: Vec<f32>) -> Recording {
        let period = Period {
            frame: 0,
            us: 0,
            callback_us: 0,
            start: 0,
            len: samples.len(),
            xrun: false,
            connected: true,
        };
        Recording {
            rate,
            samples,
            periods: vec![period],
        }
    }

    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    fn period_of(&self, sample: usize) -> &Period {
        let n = self.periods.partition_point(|p| p.start <= sample);
        &self.periods[n.saturating_sub(1)]
    }

    /// The moment of a sample.
    pub fn us_at(&self, sample: usize) -> u64 {
        let period = self.period_of(sample);
        period.us + (sample - period.start) as u64 * 1_000_000 / u64::from(self.rate)
    }

    /// JACK's frame time of a sample.
    pub fn frame_at(&self, sample: usize) -> u64 {
        let period = self.period_of(sample);
        period.frame + (sample - period.start) as u64
    }

    /// The sample of a frame of JACK's, held within the recording; of a frame that is missing, the next one.
    pub fn at_frame(&self, frame: u64) -> usize {
        let n = self.periods.partition_point(|p| p.frame <= frame);
        let Some(period) = n.checked_sub(1).map(|n| &self.periods[n]) else {
            return 0;
        };
        period.start + ((frame - period.frame) as usize).min(period.len)
    }

    /// The sample of a moment, held within the recording.
    pub fn at_us(&self, us: u64) -> usize {
        let n = self.periods.partition_point(|p| p.us <= us);
        let Some(period) = self.periods.get(n.saturating_sub(1)) else {
            return 0;
        };
        let into = us.saturating_sub(period.us) as u128 * u128::from(self.rate) / 1_000_000;
        period.start + (into as usize).min(period.len)
    }

    /// How much later than this moment a sample was heard: by the clock or by the samples between, whichever is less. On a machine that keeps
    /// the server from running, time passes without samples, and JACK's smooth clock strays; what is really late is late by both.
    pub fn later_us(&self, sample: usize, us: u64) -> i64 {
        let by_clock = self.us_at(sample) as i64 - us as i64;
        let by_samples = (sample as i64 - self.at_us(us) as i64) * 1_000_000 / i64::from(self.rate);
        by_clock.min(by_samples)
    }

    pub fn end_us(&self) -> u64 {
        self.periods
            .last()
            .map_or(0, |p| p.us + p.len as u64 * 1_000_000 / u64::from(self.rate))
    }

    /// The first sample in the range that is not silence.
    pub fn first_sound(&self, range: Range<usize>) -> Option<usize> {
        let range = self.hold(range);
        self.samples[range.clone()].iter().position(|s| *s != 0.0).map(|n| range.start + n)
    }

    /// The last sample in the range that is not silence.
    pub fn last_sound(&self, range: Range<usize>) -> Option<usize> {
        let range = self.hold(range);
        self.samples[range.clone()].iter().rposition(|s| *s != 0.0).map(|n| range.start + n)
    }

    fn hold(&self, range: Range<usize>) -> Range<usize> {
        let end = range.end.min(self.samples.len());
        range.start.min(end)..end
    }

    /// Stretches of exact silence of at least this many samples.
    pub fn silences(&self, at_least: usize) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut from = None;
        for (n, sample) in self.samples.iter().chain(std::iter::once(&1.0)).enumerate() {
            match (from, *sample == 0.0) {
                (None, true) => from = Some(n),
                (Some(start), false) => {
                    if n - start >= at_least {
                        found.push(start..n);
                    }
                    from = None;
                }
                _ => {}
            }
        }
        found
    }

    /// Stretches of exact silence of at least this many samples that begin in the range.
    pub fn silences_within(&self, range: Range<usize>, at_least: usize) -> Vec<Range<usize>> {
        let range = self.hold(range);
        let mut found = Vec::new();
        let mut at = range.start;
        while let Some(start) = (at..range.end).find(|n| self.samples[*n] == 0.0) {
            let end = self.first_sound(start..usize::MAX).unwrap_or(self.samples.len());
            if end - start >= at_least {
                found.push(start..end);
            }
            at = end;
        }
        found
    }

    /// Stretches with sound, where silences shorter than this many samples do not count as a break.
    pub fn sounds(&self, bridged: usize) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut at = 0;
        for silence in self.silences(bridged) {
            if silence.start > at {
                found.push(at..silence.start);
            }
            at = silence.end;
        }
        if at < self.samples.len() {
            found.push(at..self.samples.len());
        }
        found
    }

    /// Periods that do not follow the one before: (index of the period, frames missing).
    pub fn breaks(&self) -> Vec<(usize, i64)> {
        self.periods
            .windows(2)
            .enumerate()
            .filter_map(|(n, pair)| {
                let missing = pair[1].frame as i64 - (pair[0].frame + pair[0].len as u64) as i64;
                (missing != 0).then_some((n + 1, missing))
            })
            .collect()
    }

    /// Frames that JACK counted and the ear did not get, within a range of samples.
    pub fn frames_missing(&self, range: Range<usize>) -> u64 {
        self.breaks()
            .into_iter()
            .filter(|(n, _)| range.contains(&self.periods[*n].start))
            .map(|(_, m)| m.max(0) as u64)
            .sum()
    }

    /// The largest absolute value in the range.
    pub fn peak(&self, range: Range<usize>) -> f32 {
        self.samples[self.hold(range)].iter().fold(0.0, |peak, s| peak.max(s.abs()))
    }

    /// The largest step between neighbours in the range: what a click is made of.
    pub fn steepest(&self, range: Range<usize>) -> f32 {
        self.samples[self.hold(range)]
            .windows(2)
            .fold(0.0, |most, w| most.max((w[1] - w[0]).abs()))
    }

    /// Where `needle` lies in this recording, bit for bit.
    pub fn find_exact(&self, needle: &[f32]) -> Option<usize> {
        let first = *needle.first()?;
        (0..(self.samples.len() + 1).checked_sub(needle.len())?)
            .find(|at| self.samples[*at] == first && self.samples[*at..*at + needle.len()] == *needle)
    }

    /// The best shift of `reference` (in samples, ± `reach` around `near`) by least squared difference, and the remaining
    /// difference relative to the reference's energy.
    pub fn align(&self, reference: &[f32], near: usize, reach: usize) -> Option<(usize, f64)> {
        let energy: f64 = reference.iter().map(|s| f64::from(*s).powi(2)).sum();
        (near.saturating_sub(reach)..=near + reach)
            .filter(|at| at + reference.len() <= self.samples.len())
            .map(|at| {
                let rest: f64 = reference
                    .iter()
                    .zip(&self.samples[at..])
                    .map(|(a, b)| f64::from(a - b).powi(2))
                    .sum();
                (at, rest / energy.max(f64::MIN_POSITIVE))
            })
            .min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// As a WAV file of 32-bit floats.
    pub fn write_wav(&self, path: &Path, range: Range<usize>) {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: self.rate,
            bits_per_sample: 32,
            sample_format: hound::SampleFormat::Float,
        };
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        for sample in &self.samples[self.hold(range)] {
            writer.write_sample(*sample).unwrap();
        }
        writer.finalize().unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch() -> Recording {
        let mut samples = vec![0.0; 100];
        samples[20..40].fill(0.5);
        samples[60..90].fill(-0.25);
        let mut r = Recording::from_samples(1_000, samples);
        r.periods = vec![
            Period {
                frame: 1_000,
                us: 5_000_000,
                callback_us: 5_000_000,
                start: 0,
                len: 50,
                xrun: false,
                connected: true,
            },
            Period {
                frame: 1_060,
                us: 5_060_000,
                callback_us: 5_060_000,
                start: 50,
                len: 50,
                xrun: true,
                connected: true,
            },
        ];
        r
    }

    #[test]
    fn sounds_and_silences_are_the_two_sides_of_one_thing() {
        let r = sketch();
        assert_eq!(r.sounds(5), vec![20..40, 60..90]);
        assert_eq!(r.sounds(50), vec![0..100]);
        assert_eq!(r.silences(15), vec![0..20, 40..60]);
        assert_eq!(r.first_sound(0..100), Some(20));
        assert_eq!(r.last_sound(0..100), Some(89));
        assert_eq!(r.last_sound(0..55), Some(39));
        assert_eq!(r.first_sound(95..300), None);
    }

    #[test]
    fn a_missing_period_is_seen_and_moves_the_clock() {
        let r = sketch();
        assert_eq!(r.breaks(), vec![(1, 10)]);
        assert_eq!(r.us_at(10), 5_010_000);
        assert_eq!(r.us_at(60), 5_070_000);
        assert_eq!(r.frame_at(60), 1_070);
        assert_eq!(r.at_us(5_070_000), 60);
        assert_eq!(r.at_us(5_055_000), 50, "a moment inside the hole is the end of what was before it");
        assert_eq!(r.at_us(9_000_000), 100);
        let samples = [0, 1_010, 1_055, 1_070, 9_000].map(|frame| r.at_frame(frame));
        assert_eq!(samples, [0, 10, 50, 60, 100]);
    }

    #[test]
    fn a_piece_is_found_where_it_lies() {
        let mut r = sketch();
        for (n, s) in r.samples.iter_mut().enumerate() {
            *s = (n as f32 * 0.7).sin();
        }
        let piece = r.samples[33..70].to_vec();
        assert_eq!(r.find_exact(&piece), Some(33));
        let (at, rest) = r.align(&piece, 30, 10).unwrap();
        assert_eq!((at, rest), (33, 0.0));
    }
}
