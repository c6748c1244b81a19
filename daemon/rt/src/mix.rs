//! The inner loop: samples from a ring, shaped, onto the mix.

use crate::ramp::Gain;
use rtrb::Consumer;

/// Adds `out.len()` samples, from `ahead` of the ring's head on, without consuming them. `level` shapes each one; without it the gain stands
/// still. Returns the last value added. The caller knows that the samples are there.
pub(crate) fn mix(samples: &mut Consumer<f32>, ahead: usize, out: &mut [f32], gain: &mut Gain, level: Option<impl FnMut() -> f32>) -> f32 {
    let Ok(chunk) = samples.read_chunk(ahead + out.len()) else {
        return 0.0;
    };
    let (first, second) = chunk.as_slices();
    let (first, second) = if ahead < first.len() {
        (&first[ahead..], second)
    } else {
        (&second[ahead - first.len()..], &[][..])
    };
    let (head, rest) = out.split_at_mut(first.len());
    match level {
        None => {
            let gain = gain.value();
            for (out, input) in [(head, first), (rest, second)] {
                for (out, sample) in out.iter_mut().zip(input) {
                    *out += sample * gain;
                }
            }
            second.last().or(first.last()).map_or(0.0, |sample| sample * gain)
        }
        Some(mut level) => {
            let mut last = 0.0;
            for (out, input) in [(head, first), (rest, second)] {
                for (out, sample) in out.iter_mut().zip(input) {
                    last = sample * level() * gain.next();
                    *out += last;
                }
            }
            last
        }
    }
}
