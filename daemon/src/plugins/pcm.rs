//! A plugin's samples to mono floats. Pure.

/// What no sample of music or speech reaches (+36 dB): beyond it is garbage, as NaN is, and would end as infinity in the mix.
const ABSURD: f32 = 64.0;

/// One interleaved sample as a float.
pub(super) trait Sample: Copy {
    fn float(self) -> f32;
}

impl Sample for f32 {
    fn float(self) -> f32 {
        self
    }
}

impl Sample for i16 {
    fn float(self) -> f32 {
        f32::from(self) / 32_768.0
    }
}

/// Appends `pcm` (interleaved, `channels` at least 1) to `mono`, each frame the mean of its channels. Returns how many samples were no
/// numbers, or absurd ones, and became 0.
pub(super) fn mix_down<S: Sample>(pcm: &[S], channels: usize, mono: &mut Vec<f32>) -> u64 {
    let mut mended = 0;
    let mut sound = |s: &S| {
        let x = s.float();
        // NaN compares as false.
        if x.abs() <= ABSURD {
            x
        } else {
            mended += 1;
            0.0
        }
    };
    if channels == 1 {
        mono.extend(pcm.iter().map(sound));
    } else {
        let share = 1.0 / channels as f32;
        mono.extend(
            pcm.chunks_exact(channels)
                .map(|frame| frame.iter().map(&mut sound).sum::<f32>() * share),
        );
    }
    mended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mono_floats_pass_bit_for_bit() {
        let pcm = [0.1, -0.7, 1.5, f32::MIN_POSITIVE];
        let mut mono = Vec::new();
        assert_eq!(mix_down(&pcm, 1, &mut mono), 0);
        assert_eq!(mono, pcm);
    }

    #[test]
    fn channels_are_averaged_and_shorts_scaled() {
        let mut mono = Vec::new();
        mix_down(&[1.0_f32, 0.0, -1.0, -0.5], 2, &mut mono);
        mix_down(&[i16::MIN, 16_384], 1, &mut mono);
        assert_eq!(mono, [0.5, -0.75, -1.0, 0.5]);
    }

    #[test]
    fn what_is_no_number_is_silence_and_counted() {
        let mut mono = Vec::new();
        assert_eq!(mix_down(&[f32::NAN, f32::INFINITY, -f32::INFINITY, 1e30, 0.5], 1, &mut mono), 4);
        assert_eq!(mono, [0.0, 0.0, 0.0, 0.0, 0.5]);
    }
}
