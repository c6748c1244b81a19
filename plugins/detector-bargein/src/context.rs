//! What has been heard for long: levels that last, the loudest and the lowest of late, how much of it sounded like speech.
//!
//! A floor alone does not tell a user from nine others who talk in the same café; what stands above their long mean does. All levels
//! are powers as log10, none below −80 dBFS, so that digital silence weighs no more than a quiet line. Not here: one frame's bands.

use crate::bands::{BANDS, NARROW, Powers};

/// How many values it gives.
pub(crate) const VALUES: usize = 11;
/// Neighbouring bands that are held together: from each of these to the next.
const GROUPS: [usize; 7] = [0, 3, 6, 9, 12, NARROW, BANDS];
const LOWEST: f32 = -8.0;
/// Frames that a mean of levels reaches back, one of the voice, and one of restlessness.
const MEMORY: [f32; 3] = [150.0, 200.0, 100.0];
/// What the loudest loses each frame: 3 dB a second.
const FADE: f32 = 0.003;
/// The lowest of the latest one to two windows of so many frames is kept.
const WINDOW: u32 = 80;

#[derive(Default)]
pub(crate) struct Context {
    frames: u32,
    total: f32,
    groups: [f32; GROUPS.len() - 1],
    loudest: f32,
    /// Of this window and the one before.
    lowest: [f32; 2],
    voice: f32,
    restless: f32,
    before: f32,
}

impl Context {
    pub(crate) fn reset(&mut self) {
        *self = Context::default();
    }

    /// Takes one frame in; `out` says how it stands against those before. `voice`: the VAD's score.
    pub(crate) fn feed(&mut self, clean: &Powers, wide: bool, voice: f32, out: &mut [f32]) {
        let log = |p: f32| p.max(1e-10).log10().max(LOWEST);
        let total = log(clean.total);
        let groups: [f32; GROUPS.len() - 1] = std::array::from_fn(|g| match wide || GROUPS[g] < NARROW {
            true => log(clean.bands[GROUPS[g]..GROUPS[g + 1]].iter().sum()),
            false => LOWEST,
        });
        if self.frames == 0 {
            self.total = total;
            self.groups = groups;
            self.loudest = total;
            self.lowest = [total; 2];
            self.before = total;
        }
        if self.frames % WINDOW == WINDOW - 1 {
            self.lowest = [total, self.lowest[0]];
        }
        self.lowest[0] = self.lowest[0].min(total);
        self.loudest = (self.loudest - FADE).max(total);
        let above = |level: f32, from: f32| (level - from).clamp(-4.0, 5.0) * 0.5;
        out[0] = above(total, self.total);
        for (out, (now, mean)) in out[1..].iter_mut().zip(groups.iter().zip(&self.groups)) {
            *out = above(*now, *mean);
        }
        out[7] = above(total, self.loudest);
        out[8] = above(total, self.lowest[0].min(self.lowest[1]));
        out[9] = self.voice;
        out[10] = self.restless;

        self.frames = self.frames.saturating_add(1);
        let pace = |memory: f32| 1.0 / memory.min(self.frames as f32);
        let [level, speech, change] = MEMORY.map(pace);
        self.total += level * (total - self.total);
        for (mean, now) in self.groups.iter_mut().zip(groups) {
            *mean += level * (now - *mean);
        }
        self.voice += speech * (voice - self.voice);
        self.restless += change * ((total - self.before).abs() - self.restless);
        self.before = total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(level: f32) -> Powers {
        Powers {
            bands: [level; BANDS],
            total: level * BANDS as f32,
        }
    }

    #[test]
    fn what_has_lasted_stands_at_zero_and_what_begins_stands_above_it() {
        let mut context = Context::default();
        let mut out = [0.0; VALUES];
        (0..300).for_each(|_| context.feed(&at(1e-6), true, 0.5, &mut out));
        assert!(out[..9].iter().all(|v| v.abs() < 1e-3), "{out:?}");
        context.feed(&at(1e-5), true, 0.5, &mut out);
        assert!(out[..7].iter().all(|v| (v - 0.5).abs() < 1e-3), "10 dB more: {out:?}");
        assert!((out[8] - 0.5).abs() < 1e-3 && out[7].abs() < 1e-6, "{out:?}");
    }

    #[test]
    fn the_lowest_is_forgotten_after_two_windows_and_digital_silence_counts_as_a_quiet_line() {
        let mut context = Context::default();
        let mut out = [0.0; VALUES];
        (0..10).for_each(|_| context.feed(&at(0.0), true, 0.0, &mut out));
        (0..80).for_each(|_| context.feed(&at(1e-6), true, 0.0, &mut out));
        assert!(out[8] > 1.0, "{out:?}");
        (0..100).for_each(|_| context.feed(&at(1e-6), true, 0.0, &mut out));
        assert!(out[8].abs() < 1e-3, "{out:?}");
    }
}
