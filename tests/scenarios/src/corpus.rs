//! The recordings that scenarios are made of, as `corpus/fetch` laid them out: `SPLIT/{human,agent,assent,music,effects}/NAME/*.wav`.
//!
//! A recording's onset is measured here. One whose onset cannot be told (it begins with a long hiss, or stands in noise) is kept
//! for background use only: a label that is wrong by 100 ms would measure the labeller.

use crate::signal::{Biquad, RATE, ms, power};
use std::path::{Path, PathBuf};

pub struct Corpus {
    pub split: String,
    pub human: Vec<Voice>,
    pub agent: Vec<Voice>,
    pub assent: Vec<Voice>,
    pub music: Vec<Voice>,
    pub effects: Vec<Voice>,
}

pub struct Voice {
    /// Speaker and language, or the name of a synthetic voice.
    pub name: String,
    pub clips: Vec<Clip>,
}

pub struct Clip {
    pub samples: Vec<f32>,
    /// Where speech begins and ends; equal when it cannot be told.
    pub onset: usize,
    pub end: usize,
    /// Starts with a voiced sound or a clear burst: its onset may be used for timing.
    pub sharp: bool,
}

impl Corpus {
    pub fn load(root: &Path, split: &str) -> Result<Corpus, String> {
        let folder = root.join(split);
        let corpus = Corpus {
            split: split.into(),
            human: voices(&folder.join("human"), spoken)?,
            agent: voices(&folder.join("agent"), spoken)?,
            assent: voices(&folder.join("assent"), spoken)?,
            music: voices(&folder.join("music"), |_| ())?,
            effects: voices(&folder.join("effects"), |_| ())?,
        };
        match [&corpus.human, &corpus.agent, &corpus.assent, &corpus.music, &corpus.effects]
            .iter()
            .any(|v| v.is_empty())
        {
            true => Err(format!(
                "{}: human, agent, assent, music and effects are all needed",
                folder.display()
            )),
            false => Ok(corpus),
        }
    }
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}; make corpus builds it", folder.display()))?;
    let mut all: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    all.sort();
    Ok(all)
}

/// What lies below a voice, a hum or a breath against the microphone, is none of its level and begins no word.
fn spoken(samples: &mut [f32]) {
    (0..2).for_each(|_| Biquad::high_pass(100.0, 0.7).run(samples));
}

fn voices(folder: &Path, clean: fn(&mut [f32])) -> Result<Vec<Voice>, String> {
    let mut all = Vec::new();
    for voice in sorted(folder)? {
        let mut clips = Vec::new();
        for path in sorted(&voice)? {
            if let Some(mut samples) = read(&path) {
                clean(&mut samples);
                clips.extend(Clip::new(samples));
            }
        }
        if !clips.is_empty() {
            let name = voice.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            all.push(Voice { name, clips });
        }
    }
    Ok(all)
}

/// 16-bit mono at 16 kHz; None for anything else, or a file cut short.
fn read(path: &Path) -> Option<Vec<f32>> {
    let mut wav = hound::WavReader::open(path).ok()?;
    let spec = wav.spec();
    (spec.sample_rate as usize == RATE && spec.channels == 1 && spec.bits_per_sample == 16).then_some(())?;
    wav.samples::<i16>().map(|s| s.ok().map(|s| f32::from(s) / 32_768.0)).collect()
}

impl Clip {
    fn new(samples: Vec<f32>) -> Option<Clip> {
        let frames: Vec<f32> = samples.chunks_exact(ms(5.0)).map(power).collect();
        if frames.len() < 30 {
            return None;
        }
        let mut ranked = frames.clone();
        ranked.sort_by(f32::total_cmp);
        let (floor, loud) = (ranked[ranked.len() / 20], ranked[ranked.len() * 19 / 20]);
        if loud < 1e-6 {
            return None;
        }
        // 32 dB below the loud parts, and clear of the recording's own noise.
        let bar = (loud * 6.3e-4).max(floor * 6.0).min(loud * 0.1);
        let first = (0..frames.len() - 6).find(|n| frames[*n..n + 6].iter().filter(|p| **p > bar).count() >= 5)?;
        let last = frames.iter().rposition(|p| *p > bar)?;
        let (onset, end) = (first * ms(5.0), (last + 1) * ms(5.0));
        let head = &samples[onset..(onset + ms(60.0)).min(samples.len())];
        let crossings = head.windows(2).filter(|w| (w[0] >= 0.0) != (w[1] >= 0.0)).count();
        let hisses = crossings * 100 > head.len() * 28;
        let soft = power(head) < loud * 0.01;
        let noisy = floor > loud * 0.003;
        // A breath, a rustle or a long hiss before the first voiced sound: how much of it is speech, nobody can say.
        let begins = (0..=ms(100.0))
            .step_by(ms(10.0))
            .any(|k| samples.get(onset + k..).is_some_and(|s| is_voiced(s, loud * 0.03)));
        Some(Clip {
            sharp: !hisses && !soft && !noisy && begins && end > onset + ms(150.0),
            onset,
            end,
            samples,
        })
    }
}

/// The first 30 ms repeat themselves within 2.5 to 14 ms (400 to 70 Hz), and are louder than `bar`.
fn is_voiced(s: &[f32], bar: f32) -> bool {
    let window = ms(30.0);
    let Some(head) = s.get(..window).filter(|h| power(h) > bar) else {
        return false;
    };
    let alike = |lag: usize| {
        let later = s.get(lag..lag + window)?;
        let product: f32 = head.iter().zip(later).map(|(a, b)| a * b).sum();
        Some(product / window as f32 / (power(head) * power(later)).sqrt().max(1e-12))
    };
    (ms(2.5)..=ms(14.25)).filter_map(alike).any(|a| a > 0.6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    /// A voice of 120 Hz for `voice` ms after noise for `noise` ms, between silences.
    fn recording(noise: f32, voice: f32) -> Vec<f32> {
        let mut dice = Dice::new(1);
        let mut samples = vec![0.0; ms(200.0)];
        // Low noise: one that is no hiss by its zero crossings.
        let mut low = 0.0;
        samples.extend((0..ms(noise)).map(|_| {
            low += 0.1 * (dice.normal() - low);
            0.4 * low
        }));
        samples.extend((0..ms(voice)).map(|k| 0.3 * tone(120.0, k)));
        samples.extend(vec![0.0; ms(200.0)]);
        samples
    }

    fn tone(hz: f32, k: usize) -> f32 {
        (k as f32 / RATE as f32 * hz * std::f32::consts::TAU).sin()
    }

    fn clip(noise: f32, voice: f32) -> Clip {
        Clip::new(recording(noise, voice)).expect("it sounds")
    }

    #[test]
    fn an_onset_may_be_timed_where_a_voice_begins_within_100_ms_of_it() {
        assert!(clip(0.0, 400.0).sharp);
        assert!(clip(60.0, 400.0).sharp);
        assert!(!clip(300.0, 400.0).sharp, "a breath or a rustle before the voice");
        assert!(!clip(500.0, 0.0).sharp, "nothing but noise");
    }

    #[test]
    fn a_hum_below_the_voice_is_no_onset() {
        let mut samples = recording(0.0, 400.0);
        samples[ms(50.0)..]
            .iter_mut()
            .enumerate()
            .for_each(|(k, s)| *s += 0.1 * tone(25.0, k));
        spoken(&mut samples);
        let clip = Clip::new(samples).expect("it sounds");
        let at_ms = clip.onset as f32 / 16.0;
        assert!(clip.sharp && (at_ms - 200.0).abs() < 10.0, "{at_ms} ms");
    }
}
