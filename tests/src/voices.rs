//! What a person says into the microphone: prompts of a Debian package, spoken by a human, a cough and a hum; at the rate of the server that hears them.
//!
//! The prompts are telephone recordings of 8 kHz and are brought to another rate by a windowed sinc, so what is heard above 4 kHz is nothing
//! and not a mirror of what is below. Coughs and hums are those of the scenarios' generator.

use std::path::{Path, PathBuf};
use utterd_scenarios::{dice::Dice, events, signal};

/// Where `asterisk-core-sounds-en-wav` has its prompts.
const PROMPTS: &str = "/usr/share/asterisk/sounds/en_US_f_Allison";

/// A level at which people speak into a microphone, in dBFS while they speak.
const LEVEL: f32 = -24.0;

/// A prompt by its name, from its first sound to its last, or what to install. At most `longest_ms` of it, faded out.
pub fn prompt(name: &str, rate: u32, longest_ms: u32) -> Result<Vec<f32>, String> {
    let path = PathBuf::from(PROMPTS).join(format!("{name}.wav"));
    let (own_rate, samples) =
        read(&path).map_err(|e| format!("{}: {e}; it is in the package asterisk-core-sounds-en-wav", path.display()))?;
    let loudest = samples.iter().fold(0.0f32, |most, s| most.max(s.abs()));
    let sounds = |s: &f32| s.abs() > loudest * 0.03;
    let from = samples.iter().position(sounds).unwrap_or(0);
    let to = samples.iter().rposition(sounds).map_or(0, |last| last + 1);
    let to = to.min(from + longest_ms as usize * own_rate as usize / 1_000);
    Ok(spoken(&samples[from..to], own_rate, rate))
}

/// A cough of the generator; the seed chooses one.
pub fn cough(seed: u64, rate: u32) -> Vec<f32> {
    made(&events::cough(&mut Dice::new(seed)), rate)
}

/// A hum, "hm" or "mhm", likewise.
pub fn hum(seed: u64, rate: u32) -> Vec<f32> {
    made(&events::mhm(&mut Dice::new(seed)), rate)
}

fn made(sound: &[f32], rate: u32) -> Vec<f32> {
    let end = sound.iter().rposition(|s| *s != 0.0).map_or(0, |last| last + 1);
    spoken(&sound[..end], signal::RATE as u32, rate)
}

/// At a person's level and the server's rate, with soft edges.
fn spoken(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
    let mut samples = resampled(samples, from, to);
    signal::level_to(&mut samples, LEVEL);
    let edge = (to as usize / 200).min(samples.len() / 2);
    for n in 0..edge {
        let gain = n as f32 / edge as f32;
        samples[n] *= gain;
        let last = samples.len() - 1 - n;
        samples[last] *= gain;
    }
    samples
}

/// A sinc of 16 zero crossings a side under a Hann window: plenty for speech of which nothing is measured but its onset.
fn resampled(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
    const SIDE: isize = 16;
    let step = f64::from(from) / f64::from(to);
    let value = |n: usize| {
        let at = n as f64 * step;
        let middle = at.floor() as isize;
        let taps = (middle - SIDE + 1..=middle + SIDE).filter(|k| (0..samples.len() as isize).contains(k));
        let of = |k: isize| {
            let x = (at - k as f64) * std::f64::consts::PI;
            let window = 0.5 + 0.5 * (x / SIDE as f64).cos();
            let sinc = if x.abs() < 1e-9 { 1.0 } else { x.sin() / x };
            f64::from(samples[k as usize]) * sinc * window
        };
        taps.map(of).sum::<f64>() as f32
    };
    (0..(samples.len() as f64 / step) as usize).map(value).collect()
}

fn read(path: &Path) -> Result<(u32, Vec<f32>), hound::Error> {
    let mut wav = hound::WavReader::open(path)?;
    let rate = wav.spec().sample_rate;
    let samples: Result<Vec<i16>, _> = wav.samples().collect();
    Ok((rate, samples?.into_iter().map(|s| f32::from(s) / 32_768.0).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_rate_keeps_the_tone_and_its_length() {
        let tone = |rate: u32| -> Vec<f32> {
            (0..rate / 4)
                .map(|n| (n as f32 * 440.0 / rate as f32 * std::f32::consts::TAU).sin())
                .collect()
        };
        let (got, expected) = (resampled(&tone(8_000), 8_000, 48_000), tone(48_000));
        assert_eq!(got.len(), expected.len());
        let worst = got
            .iter()
            .zip(&expected)
            .skip(200)
            .take(11_600)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(worst < 0.02, "{worst}");
    }

    #[test]
    fn the_same_seed_is_the_same_cough_and_it_has_soft_edges() {
        let (one, again) = (cough(7, 48_000), cough(7, 48_000));
        assert_eq!(one, again);
        assert!(one.len() > 4_800 && one[0] == 0.0 && one[one.len() - 1] == 0.0);
    }
}
