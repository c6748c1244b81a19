//! Whether speech that was paused went on at its sample: what was heard, pauses cut out and the two ramps of each laid over each other, against the
//! same speech undisturbed.

/// A ramp is 5 ms at 48 kHz, and no more of a pause than this may differ.
const RAMP: usize = 240;

/// What was found to be one and the same.
#[derive(Debug, PartialEq)]
pub struct Same {
    pub samples: usize,
    pub pauses: usize,
    /// Between the sum of two ramps and the original; elsewhere there is none.
    pub largest_difference: f32,
}

/// Compares `heard`, with silence before, after and in its pauses, with the `original`.
pub fn laid_over(heard: &[f32], original: &[f32]) -> Result<Same, String> {
    let first = |s: &[f32]| s.iter().position(|s| *s != 0.0).ok_or("there is no sound");
    let last = |s: &[f32]| s.iter().rposition(|s| *s != 0.0).map_or(0, |last| last + 1);
    let heard = &heard[first(heard)?..last(heard)];
    let original = &original[first(original)?..last(original)];
    let at = |s: &[f32], n: usize| s.get(n).copied().unwrap_or(0.0);
    let mut same = Same {
        samples: original.len(),
        pauses: 0,
        largest_difference: 0.0,
    };
    // `shift` is how much later than in the original a sample is heard: the pauses so far.
    let (mut n, mut shift) = (0, 0);
    while n < original.len() {
        if at(heard, n + shift) == original[n] {
            n += 1;
            continue;
        }
        let longer = (0..heard.len().saturating_sub(n + shift)).find(|pause| {
            let up = n + shift + pause;
            (n + RAMP..(n + 2 * RAMP).min(original.len())).all(|k| at(heard, k + shift + pause) == original[k]) && up + RAMP <= heard.len()
        });
        let pause = longer.ok_or_else(|| format!("from sample {n} on it is another sound"))?;
        for k in n..(n + RAMP).min(original.len()) {
            // Where the ramps do not touch, one of the two is the ramp's own.
            let down = at(heard, k + shift);
            let up = if pause > 0 { at(heard, k + shift + pause) } else { 0.0 };
            same.largest_difference = same.largest_difference.max((down + up - original[k]).abs());
        }
        same.pauses += 1;
        shift += pause;
        n += RAMP;
    }
    Ok(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(frames: usize) -> Vec<f32> {
        (0..frames)
            .map(|n| 0.3 * (n as f32 * 0.37).sin() + 0.1 * (n as f32 * 0.011).cos())
            .collect()
    }

    /// With a pause at this sample.
    fn paused(original: &[f32], at: usize, silence: usize, lost: usize) -> Vec<f32> {
        let gain = |n: usize| 1.0 - (n + 1) as f32 / RAMP as f32;
        let mut heard = vec![0.0; 100];
        heard.extend_from_slice(&original[..at]);
        heard.extend((0..RAMP).map(|n| original[at + n] * gain(n)));
        heard.extend(vec![0.0; silence]);
        let at = at + lost;
        heard.extend((0..RAMP).map(|n| original[at + n] * (1.0 - gain(n))));
        heard.extend_from_slice(&original[at + RAMP..]);
        heard
    }

    #[test]
    fn speech_that_was_paused_twice_is_the_same_speech() {
        let original = voice(30_000);
        let same = laid_over(&original, &original).unwrap();
        assert_eq!((same.samples, same.pauses, same.largest_difference), (30_000, 0, 0.0));
        let once = paused(&original, 10_000, 9_000, 0);
        let same = laid_over(&once, &original).unwrap();
        assert_eq!((same.samples, same.pauses), (30_000, 1));
        assert!(same.largest_difference < 1e-6, "{same:?}");
        // The second pause lies in what follows the first one.
        let twice = paused(&once[100..], 25_000, 5_000, 0);
        assert_eq!(laid_over(&twice, &original).unwrap().pauses, 2);
    }

    #[test]
    fn a_single_lost_sample_is_seen() {
        let original = voice(30_000);
        let lost = laid_over(&paused(&original, 10_000, 9_000, 1), &original);
        assert!(lost.as_ref().map_or(true, |same| same.largest_difference > 1e-4), "{lost:?}");
    }
}
