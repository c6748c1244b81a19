//! From probabilities to events: quick to suspect, slower to be sure, and it says so when it was nothing.
//!
//! Invariants: a suspicion ends within `LONGEST` frames, confirmed or not; every start is followed by one end; no event is told
//! twice. Not here: what the daemon does about it.

use crate::network::OUTPUTS;

/// What can happen in a frame of 10 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Somebody seems to speak, since so many frames.
    Start(u32),
    /// Sure of it.
    BargeIn(u32),
    /// It was a sound of assent, and is over.
    Assent,
    /// It is over, or was nothing.
    End,
}

/// How much of a frame the canceller left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Digital silence, or as good as that.
    Nothing,
    /// No more than the line's own noise.
    Noise,
    /// More.
    Sound,
}

/// Probabilities from which something is told. Measured: see `training/` and README.md.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    /// To suspect at once: of the first output, or where that cancels, of a quick mean of the second.
    pub suspect: f32,
    /// How much of that quick mean is its latest value; 0 where a suspicion only pauses.
    pub first_pace: f32,
    /// To be sure, of the mean of the second output.
    pub sure: f32,
    /// How much of the second output's mean is its latest value.
    pub pace: f32,
    /// Enough to be sure when a suspicion must be decided.
    pub late: f32,
    /// The same two for who is suspected again soon after a suspicion that came to nothing: noise seldom is.
    pub again: [f32; 2],
    /// Below it, of the mean of the first output, speech has ended.
    pub over: f32,
}

/// Frames of 10 ms until a suspicion must be decided.
const LONGEST: u32 = 36;
/// An end needs so many quiet frames: of a suspicion, and of confirmed speech.
const QUIET: [u32; 2] = [8, 24];
/// Nothing but the line's own noise for so many frames: sure speech is over, whatever the network still remembers of it.
const HUSHED: u32 = 20;
/// The mean of the first output below which a hush counts.
const DOUBTED: f32 = 0.75;
/// Speech that a hush has ended counts as forgotten by the network below this mean of the first output…
const FORGOTTEN: f32 = 0.3;
/// … and what sounds for so many frames in a row as new.
const BORNE_OUT: u32 = 4;
/// Frames after a suspicion that came to nothing in which another is one of the same speech.
const SOON: u32 = 100;
/// Speech shorter than this may have been "mhm".
const ASSENT: u32 = 70;

pub struct Decision {
    thresholds: Thresholds,
    stage: Stage,
    frames: u32,
    quiet: u32,
    hushed: u32,
    sounding: u32,
    silent: u32,
    gone: u32,
    /// Ended against the network's word, which must have forgotten it or be borne out by a sound before it counts again.
    distrusted: bool,
    speech: f32,
    first: f32,
    sure: f32,
    assent: f32,
    /// Frames in which a new suspicion needs more than usual: nobody is paused twice by one cough.
    wary: u32,
    /// Frames in which another suspicion comes soon.
    soon: u32,
    /// The suspicion came soon after another.
    is_again: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Quiet,
    Suspected,
    Speaking,
}

impl Thresholds {
    /// `sensitivity` 0 … 1, half of it as shipped. `one_stage`: the first event cancels, so it must be sure.
    pub fn new(sensitivity: f32, one_stage: bool) -> Thresholds {
        let (suspect, sure) = if one_stage { (ONE_STAGE, SURE) } else { (SUSPECT, SURE) };
        let shift = (0.5 - sensitivity.clamp(0.0, 1.0)) * REACH;
        Thresholds {
            suspect: logistic(suspect + shift),
            first_pace: if one_stage { FIRST_PACE } else { 0.0 },
            sure: logistic(sure + shift),
            pace: 0.3,
            late: logistic(sure + LATE + shift),
            again: [sure + AGAIN, sure + LATE + AGAIN].map(|bar| logistic(bar + shift)),
            over: 0.05f32.min(logistic(suspect + shift)),
        }
    }
}

/// As log odds.
const SUSPECT: f32 = -1.0;
const ONE_STAGE: f32 = -0.4;
const FIRST_PACE: f32 = 0.5;
const SURE: f32 = 0.8;
/// Added to that: when a suspicion must be decided, and for one that comes soon after another.
const LATE: f32 = -2.1;
const AGAIN: f32 = -1.0;
/// So much of the way from the threshold to certainty the bar is raised after a suspicion that came to nothing.
const WARY: f32 = 0.2;
/// From the least to the most sensitive, in log odds.
const REACH: f32 = 8.0;

fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

impl Decision {
    pub fn new(thresholds: Thresholds) -> Decision {
        Decision {
            thresholds,
            stage: Stage::Quiet,
            frames: 0,
            quiet: 0,
            hushed: 0,
            sounding: 0,
            silent: 0,
            gone: 0,
            distrusted: false,
            speech: 0.0,
            first: 0.0,
            sure: 0.0,
            assent: 0.0,
            wary: 0,
            soon: 0,
            is_again: false,
        }
    }

    pub fn reset(&mut self) {
        *self = Decision::new(self.thresholds);
    }

    /// What the frame to be fed next holds, by its level alone.
    pub fn level(&mut self, level: Level) {
        if level == Level::Sound {
            self.sounding = self.sounding.saturating_add(1);
            self.hushed = 0;
        } else {
            self.sounding = 0;
            self.hushed = self.hushed.saturating_add(1);
        }
        self.silent = if level == Level::Nothing {
            self.silent.saturating_add(1)
        } else {
            0
        };
    }

    /// How many frames ago the speech ended whose end was told last.
    pub fn gone(&self) -> u32 {
        self.gone
    }

    /// One frame's probabilities: of speech, of an interruption, of assent.
    pub fn feed(&mut self, p: [f32; OUTPUTS]) -> Option<Edge> {
        self.speech += 0.3 * (p[0] - self.speech);
        self.sure += self.thresholds.pace * (p[1] - self.sure);
        self.assent += 0.1 * (p[2] - self.assent);
        self.first += self.thresholds.first_pace * (p[1] - self.first);
        self.frames = self.frames.saturating_add(1);
        self.wary = self.wary.saturating_sub(1);
        self.soon = self.soon.saturating_sub(1);
        self.quiet = if self.speech < self.thresholds.over {
            self.quiet.saturating_add(1)
        } else {
            0
        };
        match self.stage {
            Stage::Quiet => {
                let bar = self.thresholds.suspect
                    + if self.wary > 0 {
                        WARY * (1.0 - self.thresholds.suspect)
                    } else {
                        0.0
                    };
                let now = if self.thresholds.first_pace > 0.0 { self.first } else { p[0] };
                self.distrusted &= self.speech >= FORGOTTEN && self.sounding < BORNE_OUT;
                // In a line that is dead the network has nothing to forget by: what it still remembers is nobody's beginning.
                if now < bar || self.silent > HUSHED || self.distrusted {
                    return None;
                }
                self.stage = Stage::Suspected;
                self.is_again = self.soon > 0;
                self.frames = 0;
                self.quiet = 0;
                self.speech = self.speech.max(p[0] * 0.7);
                Some(Edge::Start(2))
            }
            Stage::Suspected if self.is_sure() => {
                self.stage = Stage::Speaking;
                Some(Edge::BargeIn(self.frames + 2))
            }
            Stage::Suspected if self.quiet > QUIET[0] || self.frames >= LONGEST => {
                self.wary = 40;
                self.soon = SOON;
                Some(self.ended())
            }
            Stage::Speaking if self.quiet > QUIET[1] => Some(self.ended()),
            // Who speaks no louder than the noise is hushed for the level alone: there the network must have begun to doubt.
            Stage::Speaking if self.silent > HUSHED || (self.hushed > HUSHED && self.speech < DOUBTED) => {
                self.distrusted = true;
                Some(self.ended())
            }
            Stage::Suspected | Stage::Speaking => None,
        }
    }

    /// Of the suspicion, by the bar that holds for it now.
    fn is_sure(&self) -> bool {
        let Thresholds { sure, late, again, .. } = self.thresholds;
        let [sure, late] = if self.is_again { again } else { [sure, late] };
        self.sure > sure || self.frames >= LONGEST && self.sure > late
    }

    fn ended(&mut self) -> Edge {
        self.stage = Stage::Quiet;
        self.gone = self.hushed.max(self.quiet).min(self.frames);
        if self.assent > 0.4 && self.frames < ASSENT {
            Edge::Assent
        } else {
            Edge::End
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probabilities that wander between certain and not at all.
    fn wandering(seed: u32) -> impl Iterator<Item = [f32; OUTPUTS]> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut goal = 0.0f32;
        let mut p = [0.0f32; OUTPUTS];
        std::iter::repeat_with(move || {
            let mut unit = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 24) as f32
            };
            if unit() < 0.05 {
                goal = unit();
            }
            for p in &mut p {
                *p = (*p + 0.3 * (goal - *p) + 0.2 * (unit() - 0.5)).clamp(0.0, 1.0);
            }
            p
        })
    }

    #[test]
    fn every_start_has_one_end_and_a_suspicion_ends_in_time() {
        for seed in 0..200 {
            let mut decision = Decision::new(Thresholds::new(0.5, seed % 2 == 0));
            let (mut started, mut sure) = (None, false);
            for (n, p) in wandering(seed).take(3_000).enumerate() {
                match decision.feed(p) {
                    Some(Edge::Start(_)) => {
                        assert_eq!(started, None, "seed {seed}");
                        started = Some(n);
                    }
                    Some(Edge::BargeIn(_)) => {
                        assert!(started.is_some() && !sure, "seed {seed}");
                        sure = true;
                    }
                    Some(Edge::End | Edge::Assent) => {
                        assert!(started.is_some(), "seed {seed}");
                        started = None;
                        sure = false;
                    }
                    None => {}
                }
                let suspected_for = started.filter(|_| !sure).map_or(0, |s| n - s);
                assert!(suspected_for <= LONGEST as usize, "seed {seed}: {suspected_for}");
            }
        }
    }

    #[test]
    fn sure_speech_that_is_followed_by_silence_is_over_whatever_the_network_remembers() {
        let mut decision = Decision::new(Thresholds::new(0.5, false));
        let sure = (0..30).any(|_| matches!(decision.feed([0.9; OUTPUTS]), Some(Edge::BargeIn(_))));
        assert!(sure);
        let mut remembered = |level: Level, frames: usize| {
            let end = (0..frames).position(|_| {
                decision.level(level);
                decision.feed([0.5, 0.5, 0.0]) == Some(Edge::End)
            });
            end.map(|frame| 10 * (frame + 1))
        };
        assert_eq!(remembered(Level::Noise, 15), None, "a pause between two words");
        assert_eq!(remembered(Level::Sound, 1), None);
        assert_eq!(remembered(Level::Noise, 100), Some(210), "ms of silence");
        assert_eq!(decision.gone(), 21, "and it says since when");
    }

    #[test]
    fn what_the_network_still_remembers_of_speech_that_a_hush_ended_is_no_new_speech() {
        let ended = || {
            let mut decision = Decision::new(Thresholds::new(0.5, false));
            let mut remembered = (0..100).map(|n| if n < 30 { [0.99, 0.99, 0.0] } else { [0.7, 0.6, 0.0] });
            let end = remembered.position(|p| {
                decision.level(if p[0] > 0.9 { Level::Sound } else { Level::Noise });
                decision.feed(p) == Some(Edge::End)
            });
            assert!(end.is_some());
            decision
        };
        // It wavers, and the noise has a louder moment.
        let mut decision = ended();
        for (p, level) in [(0.65, Level::Noise), (0.85, Level::Noise), (0.9, Level::Sound), (0.9, Level::Noise)] {
            decision.level(level);
            assert_eq!(decision.feed([p, p, 0.0]), None, "{p}");
        }
        let mut new_word = |level: Level| {
            (0..10).any(|_| {
                decision.level(level);
                decision.feed([0.95; OUTPUTS]).is_some()
            })
        };
        assert!(!new_word(Level::Noise));
        assert!(new_word(Level::Sound), "sound that lasts is somebody");
        // And as quiet as the noise, once the network has forgotten.
        let mut decision = ended();
        let mut quietly = |p: f32| {
            (0..20).any(|_| {
                decision.level(Level::Noise);
                decision.feed([p; OUTPUTS]).is_some()
            })
        };
        assert!(!quietly(0.05));
        assert!(quietly(0.95));
    }

    #[test]
    fn who_is_suspected_again_soon_is_believed_sooner_and_later_is_not() {
        let doubtful = [0.6, 0.15, 0.0];
        for (between, second) in [(0, Edge::BargeIn(LONGEST + 2)), (SOON as usize, Edge::End)] {
            let mut decision = Decision::new(Thresholds::new(0.5, false));
            let mut edges = |p: [f32; OUTPUTS], frames: usize| {
                let told = (0..frames).filter_map(|_| {
                    decision.level(Level::Sound);
                    decision.feed(p)
                });
                told.collect::<Vec<_>>()
            };
            let heard = 1 + LONGEST as usize;
            assert_eq!(edges(doubtful, heard), [Edge::Start(2), Edge::End]);
            assert_eq!(edges([0.0; OUTPUTS], between), []);
            // Until the mean has come up again.
            assert_eq!(edges(doubtful, heard), [Edge::Start(2), second], "after {between} frames");
        }
    }

    #[test]
    fn nobody_begins_to_speak_in_a_dead_line() {
        let mut decision = Decision::new(Thresholds::new(0.5, false));
        let mut dead = |frames: usize| {
            (0..frames).any(|_| {
                decision.level(Level::Nothing);
                decision.feed([0.2; OUTPUTS]).is_some()
            })
        };
        assert!(!dead(30));
        decision.level(Level::Nothing);
        assert_eq!(decision.feed([0.9; OUTPUTS]), None);
        decision.level(Level::Sound);
        assert_eq!(
            decision.feed([0.9; OUTPUTS]),
            Some(Edge::Start(2)),
            "the first sound counts at once"
        );
    }

    #[test]
    fn more_sensitive_is_never_later() {
        for seed in 0..50 {
            let first = |sensitivity| {
                let mut decision = Decision::new(Thresholds::new(sensitivity, false));
                wandering(seed)
                    .take(2_000)
                    .position(|p| decision.feed(p).is_some())
                    .unwrap_or(usize::MAX)
            };
            assert!(first(0.9) <= first(0.5) && first(0.5) <= first(0.1), "seed {seed}");
        }
    }
}
