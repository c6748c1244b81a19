//! The two signals, as iterators over samples. Pure: no clock, no host.

use std::f64::consts::{FRAC_PI_2, TAU};

/// Which of the two.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Tone,
    Id { utterance: u64 },
}

/// One text's samples.
pub(crate) struct Signal<'a> {
    shape: Shape,
    text: &'a str,
    rate: u32,
    pitch: f64,
    char_frames: u64,
}

impl<'a> Signal<'a> {
    pub(crate) fn new(shape: Shape, text: &'a str, rate: u32, speed: f32, pitch: f32) -> Self {
        // What is no number counts as 1; the bounds keep a character between 5 and 500 ms.
        let factor = |x: f32, low: f64, high: f64| {
            if x.is_finite() { f64::from(x).clamp(low, high) } else { 1.0 }
        };
        let char_frames = (0.050 * f64::from(rate) / factor(speed, 0.1, 10.0)).round().max(1.0) as u64;
        Self {
            shape,
            text,
            rate,
            pitch: factor(pitch, 0.25, 4.0),
            char_frames,
        }
    }

    /// Samples of one character, the same for all.
    pub(crate) fn char_frames(&self) -> u64 {
        self.char_frames
    }

    pub(crate) fn samples(&self) -> impl Iterator<Item = f32> {
        let frames = self.char_frames;
        let mut phase = FRAC_PI_2; // A cosine: the first sample is a loud one.
        let rate = f64::from(self.rate);
        let positions = self.text.chars().flat_map(move |c| (0..frames).map(move |_| c)).zip(0u64..);
        positions.map(move |(c, n)| match self.shape {
            Shape::Id { utterance } => {
                let k = ((utterance % 127 + 1) << 16) | (n % 65_536);
                k as f32 / 8_388_608.0
            }
            Shape::Tone => {
                let sample = 0.5 * phase.sin();
                let t = n as f64 / rate;
                let sweep = 300.0 * t / (t + 30.0);
                let hz = (self.pitch * (220.0 + 20.0 * f64::from(u32::from(c) % 23) + sweep)).min(0.45 * rate);
                phase = (phase + TAU * hz / rate) % TAU;
                sample as f32
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn all(shape: Shape, text: &str, rate: u32, speed: f32) -> Vec<f32> {
        Signal::new(shape, text, rate, speed, 1.0).samples().collect()
    }

    #[test]
    fn each_character_lasts_fifty_milliseconds_to_the_sample() {
        assert_eq!(all(Shape::Tone, "grüße", 48_000, 1.0).len(), 5 * 2_400);
        assert_eq!(all(Shape::Tone, "grüße", 44_100, 2.0).len(), 5 * 1_103);
        assert_eq!(all(Shape::Tone, "", 48_000, 1.0).len(), 0);
        assert_eq!(all(Shape::Tone, "a", 8_000, f32::NAN).len(), 400);
    }

    #[test]
    fn the_same_request_gives_the_same_samples() {
        assert_eq!(
            all(Shape::Tone, "a sentence", 48_000, 1.0),
            all(Shape::Tone, "a sentence", 48_000, 1.0)
        );
        assert_ne!(
            all(Shape::Tone, "a sentence", 48_000, 1.0),
            all(Shape::Tone, "b sentence", 48_000, 1.0)
        );
    }

    #[test]
    fn no_two_stretches_of_twenty_milliseconds_are_alike_even_in_a_monotonous_text() {
        let samples = all(Shape::Tone, &"a".repeat(200), 8_000, 1.0);
        let mut seen = HashSet::new();
        for stretch in samples.windows(160) {
            let bits: Vec<u32> = stretch.iter().map(|s| s.to_bits()).collect();
            assert!(seen.insert(bits), "a stretch came twice");
        }
    }

    #[test]
    fn it_is_loud_from_the_first_sample_on_never_over_a_half_and_never_zero() {
        let samples = all(Shape::Tone, "Hello, world", 48_000, 1.0);
        assert!((samples[0] - 0.5).abs() < 1e-6);
        assert!(samples.iter().all(|s| s.abs() <= 0.5 && *s != 0.0));
    }

    #[test]
    fn an_ear_reads_utterance_and_sample_index_out_of_tone_id() {
        for (n, sample) in all(Shape::Id { utterance: 300 }, &"x".repeat(40), 48_000, 1.0).iter().enumerate() {
            let k = (f64::from(*sample) * 8_388_608.0) as u64;
            assert_eq!(k as f64 / 8_388_608.0, f64::from(*sample), "exact");
            assert_eq!((k >> 16, k & 0xffff), (300 % 127 + 1, n as u64 % 65_536));
        }
    }
}
