//! Whether an utterance of `tone-id` was heard whole: its pauses cut out and the two ramps of each laid over each other, it must be the signal that
//! was sent, sample for sample.
//!
//! A pause fades out over samples that it does not consume, and its resume fades in over the same ones with the complementary ramp; so where two
//! runs of exact samples lie apart by n samples of the utterance, those n stand in both ramps, and each pair must add to the original. An underrun
//! looks alike and is none: the last sample rings out, and what follows fades in; its two gains must add to one.

use std::ops::Range;

use crate::recording::Recording;
use crate::tone::{Run, encode, voice};

/// The longest ramp there is, with room.
const LONGEST_RAMP_MS: usize = 20;
/// Roundings of products and a sum, in an f32.
const ROUNDING: f32 = 1.5e-7;
/// The same of gains, which a quiet sample tells less exactly.
const GAIN_ROUNDING: f32 = 1e-5;

/// One pause as the ear has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pause {
    /// Sample of the recording at which the ramp down begins.
    pub at: usize,
    /// Samples of silence between the ramps.
    pub silent: usize,
    /// Samples in each ramp.
    pub ramp: usize,
}

/// What became of one utterance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Followed {
    pub utterance: u64,
    /// Samples of it that were heard in order, each once.
    pub samples: usize,
    pub pauses: Vec<Pause>,
    /// The daemon was kept from filling its ring: silence, and not a sample lost.
    pub underruns: Vec<Pause>,
    /// Frames that JACK counted and the ear did not get.
    pub missed: u64,
    /// What is not as it should be; nothing: it was heard to the sample.
    pub faults: Vec<String>,
}

/// Follows an utterance within a stretch of the recording. `length`: samples it has, if it was heard to its end.
pub fn follow(heard: &Recording, runs: &[Run], utterance: u64, within: Range<usize>, length: Option<usize>) -> Followed {
    let is_own = |run: &&Run| run.voice == voice(utterance) && within.contains(&run.heard.start);
    let own: Vec<&Run> = runs.iter().filter(is_own).collect();
    let mut told = Followed {
        utterance,
        ..Followed::default()
    };
    let Some(first) = own.first() else {
        told.faults.extend(length.map(|_| "it was not heard".to_owned()));
        return told;
    };
    if first.first != 0 {
        told.faults.push(format!("it begins at sample {}", first.first));
    }
    let mut due = first.heard.len();
    for pair in own.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        match join(heard, utterance, before, after, due) {
            Ok(Join::Paused(pause)) => {
                due += pause.ramp;
                told.pauses.push(pause);
            }
            Ok(Join::Dry(pause)) => {
                due += pause.ramp;
                told.underruns.push(pause);
            }
            Ok(Join::Missed(frames)) => {
                due += frames as usize;
                told.missed += frames;
            }
            Err(fault) => {
                told.faults.push(fault);
                // What follows is judged from where it says it is.
                due += (after.first as usize).wrapping_sub(due) & 0xffff;
            }
        }
        due += after.heard.len();
    }
    told.samples = due;
    if let Some(length) = length
        && length != due
    {
        told.faults.push(format!("{due} samples of {length}"));
    }
    told
}

enum Join {
    Paused(Pause),
    Dry(Pause),
    Missed(u64),
}

/// How one run goes on in the next; `due` is the number of the sample that follows the first one's last.
fn join(heard: &Recording, utterance: u64, before: &Run, after: &Run, due: usize) -> Result<Join, String> {
    let between = before.heard.end..after.heard.start;
    let apart = (after.first as usize).wrapping_sub(due) & 0xffff;
    let missing = heard.frames_missing(between.start.saturating_sub(1)..between.end + 1);
    if between.is_empty() && missing == apart as u64 {
        return Ok(Join::Missed(missing));
    }
    let longest = heard.rate as usize * LONGEST_RAMP_MS / 1_000;
    if apart > longest || between.len() < 2 * apart {
        return Err(format!(
            "sample {due} at {:.3} s is followed by {} after {} others",
            heard.us_at(between.start) as f64 / 1e6,
            after.first,
            between.len()
        ));
    }
    let silent = between.start + apart..between.end - apart;
    if heard.first_sound(silent.clone()).is_some() {
        return Err(format!("the silence at sample {due} is not silent"));
    }
    let ramps = |n: usize| (heard.samples[between.start + n], heard.samples[silent.end + n]);
    let original = |n: usize| encode(utterance, (due + n) as u64);
    let pause = Pause {
        at: between.start,
        silent: silent.len(),
        ramp: apart,
    };
    let is_off = |n: &usize| (ramps(*n).0 + ramps(*n).1 - original(*n)).abs() > ROUNDING;
    let Some(off) = (0..apart).find(is_off).or_else(|| (apart == 0).then_some(0)) else {
        return Ok(Join::Paused(pause));
    };
    let rings = apart > 0
        && due > 0
        && (0..apart).all(|n| {
            let last = encode(utterance, due as u64 - 1);
            (ramps(n).0 / last + ramps(n).1 / original(n) - 1.0).abs() < GAIN_ROUNDING
        });
    if rings {
        return Ok(Join::Dry(pause));
    }
    let sum = ramps(off).0 + ramps(off).1;
    let wanted = original(off);
    Err(format!(
        "the ramps at sample {due} add to {sum}, {off} samples in, and not to {wanted}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::runs;

    const DOWN: fn(usize) -> f32 = |k| 1.0 - (k as f32 + 0.5) / 240.0;

    /// 100,000 samples of utterance 5, paused at these samples for 5,000, with ramps of 240; what is done to it, and what is found.
    fn followed(pauses: &[usize], spoil: impl FnOnce(&mut Vec<f32>)) -> Followed {
        let mut samples = vec![0.0; 1_000];
        let mut up: Option<usize> = None;
        for n in 0..100_000 {
            if pauses.contains(&n) {
                samples.extend((0..240).map(|k| encode(5, (n + k) as u64) * DOWN(k)));
                samples.extend([0.0; 5_000]);
                up = Some(n);
            }
            let ramp = up.map(|from| n - from).filter(|k| *k < 240);
            let gain = ramp.map_or(1.0, |k| 1.0 - DOWN(k));
            samples.push(encode(5, n as u64) * gain);
        }
        samples.extend([0.0; 1_000]);
        spoil(&mut samples);
        let heard = Recording::from_samples(48_000, samples);
        follow(&heard, &runs(&heard), 5, 0..usize::MAX, Some(100_000))
    }

    #[test]
    fn an_utterance_with_pauses_is_whole_and_each_pause_is_told() {
        let told = followed(&[30_000, 80_000], |_| ());
        assert_eq!(told.faults, Vec::<String>::new());
        let pause = |at| Pause {
            at,
            silent: 5_000,
            ramp: 240,
        };
        assert_eq!((told.samples, told.pauses), (100_000, vec![pause(31_000), pause(86_240)]));
    }

    #[test]
    fn a_lost_sample_a_repeated_one_a_bent_ramp_and_a_sound_in_a_pause_are_faults() {
        type Spoil = fn(&mut Vec<f32>);
        let spoils: [(&str, Spoil); 5] = [
            ("lost", |s| {
                s.remove(40_000);
            }),
            ("repeated", |s| s.insert(40_000, s[40_000])),
            ("bent", |s| s[31_100] *= 1.001),
            ("a sound", |s| s[33_000] = 0.001),
            ("the end", |s| s.truncate(90_000)),
        ];
        for (name, spoil) in spoils {
            assert!(!followed(&[30_000], spoil).faults.is_empty(), "{name}");
        }
    }

    #[test]
    fn an_underrun_is_told_apart_from_a_pause_and_loses_nothing() {
        let told = followed(&[], |s| {
            let at = 51_000;
            for k in 0..240 {
                s[at + k] *= 1.0 - DOWN(k);
            }
            let ring = (0..240).map(|k| encode(5, 49_999) * DOWN(k));
            s.splice(at..at, ring.chain([0.0; 500]));
        });
        assert_eq!((told.faults.len(), told.pauses.len()), (0, 0), "{told:?}");
        assert_eq!(told.underruns.iter().map(|p| (p.silent, p.ramp)).collect::<Vec<_>>(), [(500, 240)]);
    }

    #[test]
    fn silence_without_ramps_is_a_fault() {
        let told = followed(&[], |s| drop(s.splice(50_000..50_000, [0.0; 512])));
        assert_eq!(told.faults.len(), 1, "{told:?}");
    }
}
