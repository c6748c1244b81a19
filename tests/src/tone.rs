//! Reads the voice `tone-id` of tts-tone: every sample says whose it is and which one it is.
//!
//! Sample n of utterance u is k / 2^23 with k = (((u mod 127) + 1) << 16) | (n mod 65,536), exact in an f32. A ramp, a gain or a mix
//! of two voices breaks the code, so an unbroken run proves that the samples are the backend's own, in order and alone.

use crate::recording::Recording;
use std::ops::Range;

/// A stretch in which every sample is the successor of the one before.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// u mod 127.
    pub voice: u32,
    /// The first and the last sample's index modulo 65,536.
    pub first: u32,
    pub last: u32,
    /// Where the ear has it.
    pub heard: Range<usize>,
}

/// Utterance (mod 127) and index (mod 65,536), if it is a sample of `tone-id`.
pub fn decode(sample: f32) -> Option<(u32, u32)> {
    let scaled = f64::from(sample) * f64::from(1u32 << 23);
    if !(65_536.0..8_388_608.0).contains(&scaled) || scaled.fract() != 0.0 {
        return None;
    }
    let k = scaled as u32;
    Some(((k >> 16) - 1, k & 0xffff))
}

/// Sample n of utterance u.
pub fn encode(utterance: u64, n: u64) -> f32 {
    let k = (((utterance % 127) as u32 + 1) << 16) | (n % 65_536) as u32;
    k as f32 / (1u32 << 23) as f32
}

/// The voice of an utterance's samples.
pub fn voice(utterance: u64) -> u32 {
    (utterance % 127) as u32
}

/// All runs of at least `SHORTEST` samples, in the order heard. Shorter ones are chance: a ramp meets a code now and then.
pub fn runs(recording: &Recording) -> Vec<Run> {
    const SHORTEST: usize = 4;
    let mut found = Vec::new();
    let mut open: Option<Run> = None;
    for (n, sample) in recording.samples.iter().enumerate() {
        let code = if *sample == 0.0 { None } else { decode(*sample) };
        if let (Some(run), Some((voice, index))) = (&mut open, code)
            && run.voice == voice
            && (run.last + 1) & 0xffff == index
        {
            run.last = index;
            run.heard.end = n + 1;
            continue;
        }
        found.extend(open.take().filter(|r| r.heard.len() >= SHORTEST));
        open = code.map(|(voice, index)| Run {
            voice,
            first: index,
            last: index,
            heard: n..n + 1,
        });
    }
    found.extend(open.filter(|r| r.heard.len() >= SHORTEST));
    found
}

/// Sound that is nobody's exact samples, longer than a ramp of `allowed` samples: two voices at once, a gain, or a fault.
pub fn mixed(recording: &Recording, allowed: usize) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    for run in runs(recording)
        .iter()
        .map(|r| r.heard.clone())
        .chain(std::iter::once(recording.samples.len()..recording.samples.len()))
    {
        if let (Some(first), Some(last)) = (recording.first_sound(at..run.start), recording.last_sound(at..run.start))
            && last + 1 - first > allowed
        {
            found.push(first..last + 1);
        }
        at = run.end;
    }
    found
}

/// A ramp: 5 ms at 48 kHz.
pub const RAMP: usize = 240;

/// Checks that each run was over, ramp and all, so soon after the moment when its pause was told.
pub fn silent_within(heard: &Recording, runs: &[Run], told: &[u64], bound_us: u64) {
    for (pause, run) in told.iter().zip(runs) {
        let after_us = heard.later_us(run.heard.end + RAMP, *pause);
        assert!(after_us <= bound_us as i64, "still heard {after_us} us after the reply");
    }
}

/// Checks that the utterance's runs, with the ramps between them, are the utterance: complete, in order, nothing twice.
pub fn overlap_add(heard: &Recording, runs: &[Run], utterance: u64, length: usize, pauses: usize) {
    let own: Vec<&Run> = runs.iter().filter(|r| r.voice == voice(utterance)).collect();
    assert_eq!(own.len(), pauses + 1, "one run between two pauses: {own:?}");
    assert_eq!(own[0].first, 0);
    let mut position = 0usize; // Within the utterance, of the next sample due.
    for (n, run) in own.iter().enumerate() {
        if n > 0 {
            let down = own[n - 1].heard.end..heard.samples.len().min(own[n - 1].heard.end + RAMP);
            let up = run.heard.start - RAMP..run.heard.start;
            assert!(up.start >= down.end, "silence between the ramps: {down:?} {up:?}");
            assert_eq!(heard.peak(down.end..up.start), 0.0, "silence between the ramps");
            for i in 0..RAMP {
                let sum = heard.samples[down.start + i] + heard.samples[up.start + i];
                let original = encode(utterance, (position + i) as u64);
                assert!(
                    (sum - original).abs() < 1e-6,
                    "pause {n}, sample {i} of the ramp: {sum} is not {original}"
                );
            }
            assert!(heard.steepest(down.start - 1..down.end + 1) < 0.02, "the ramp down has no step");
            position += RAMP;
        }
        assert_eq!(
            run.first as usize,
            position % 65_536,
            "run {n} goes on where the one before ended: {own:?}"
        );
        position += run.heard.len();
    }
    assert_eq!(position, length, "complete to the sample");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_tells_whose_it_is() {
        for (u, n) in [(1, 0), (126, 65_535), (127, 3), (1_000_000, 70_000)] {
            assert_eq!(decode(encode(u, n)), Some(((u % 127) as u32, (n % 65_536) as u32)));
        }
        assert_eq!(decode(0.0), None);
        assert_eq!(decode(0.123_456_7 * 0.93), None);
    }

    #[test]
    fn a_run_goes_on_over_the_wrap_of_the_index_and_ends_at_a_ramp() {
        let mut samples = vec![0.0; 10];
        samples.extend((65_000..66_000).map(|n| encode(5, n)));
        samples.extend((0..240).map(|n| encode(5, 66_000 + n) * (1.0 - n as f32 / 240.0 + 1e-4)));
        samples.extend(vec![0.0; 10]);
        samples.extend((0..500).map(|n| encode(6, n)));
        let r = Recording::from_samples(48_000, samples);
        let runs = runs(&r);
        assert_eq!(runs.len(), 2, "{runs:?}");
        assert_eq!(
            runs[0],
            Run {
                voice: 5,
                first: 65_000,
                last: (65_999) & 0xffff,
                heard: 10..1_010
            }
        );
        assert_eq!(runs[1].voice, 6);
        assert_eq!(mixed(&r, 240), Vec::<Range<usize>>::new());
        assert_eq!(mixed(&r, 200).len(), 1);
    }

    #[test]
    fn two_voices_at_once_are_a_mix() {
        let samples = (0..1_000)
            .map(|n| encode(5, n) + if (300..700).contains(&n) { encode(9, n) } else { 0.0 })
            .collect();
        let r = Recording::from_samples(48_000, samples);
        assert_eq!(mixed(&r, 240), vec![300..700]);
    }
}
