//! Whether an utterance of `tone-id` was heard whole: its pauses cut out and the two ramps of each laid over each other, it must be the signal that
//! was sent, sample for sample.
//!
//! A pause fades out over samples that it does not consume, and its resume fades in over the same ones with the complementary ramp; so where two
//! runs of exact samples lie apart by n samples of the utterance, those n stand in both ramps, and each pair must add to the original.

use std::ops::Range;

use crate::recording::Recording;
use crate::tone::{Run, encode, voice};

/// The longest ramp there is, with room.
const LONGEST_RAMP_MS: usize = 20;
/// Two roundings of a product and one of a sum.
const ROUNDING: f32 = 2e-7;

/// One pause as the ear has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pause {
    /// Sample of the recording at which the ramp down begins.
    pub at: usize,
    /// Samples of silence between the ramps.
    pub silent: usize,
    /// Samples in each ramp; 0: nothing but silence, which is no pause but an underrun.
    pub ramp: usize,
}

/// What became of one utterance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Followed {
    pub utterance: u64,
    /// Samples of it that were heard in order, each once.
    pub samples: usize,
    pub pauses: Vec<Pause>,
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
    for n in 0..apart {
        let sum = heard.samples[between.start + n] + heard.samples[silent.end + n];
        let original = encode(utterance, (due + n) as u64);
        if (sum - original).abs() > ROUNDING {
            return Err(format!("the ramps at sample {due} add to {sum}, {n} samples in, and not to {original}"));
        }
    }
    if heard.first_sound(silent.clone()).is_some() {
        return Err(format!("the pause at sample {due} is not silent"));
    }
    Ok(Join::Paused(Pause {
        at: between.start,
        silent: silent.len(),
        ramp: apart,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::runs;

    /// 100,000 samples of utterance 5, paused at these samples for 5,000, with ramps of 240; what is done to it, and what is found.
    fn followed(pauses: &[usize], spoil: impl FnOnce(&mut Vec<f32>)) -> Followed {
        let mut samples = vec![0.0; 1_000];
        let mut up: Option<usize> = None;
        for n in 0..100_000 {
            if pauses.contains(&n) {
                samples.extend((0..240).map(|k| encode(5, (n + k) as u64) * (1.0 - (k as f32 + 0.5) / 240.0)));
                samples.extend([0.0; 5_000]);
                up = Some(n);
            }
            let ramp = up.map(|from| n - from).filter(|k| *k < 240);
            let gain = ramp.map_or(1.0, |k| 1.0 - (1.0 - (k as f32 + 0.5) / 240.0));
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
        let spoils: [(&str, fn(&mut Vec<f32>)); 5] = [
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
    fn silence_without_ramps_is_no_pause() {
        let told = followed(&[], |s| drop(s.splice(50_000..50_000, [0.0; 512])));
        assert_eq!(told.faults, Vec::<String>::new());
        assert_eq!(told.pauses.iter().map(|p| (p.silent, p.ramp)).collect::<Vec<_>>(), [(512, 0)]);
    }
}
