//! A detector that fires constantly must not hold a session for ever: its findings are let through as fast as people can be interrupted, and
//! one that keeps on beyond that is to be given up. Pure; a bucket that fills with time and is emptied by findings.

use super::FindingKind;
use crate::Micros;

/// Findings of a kind that may come at once: an excited user, a noisy second.
const BURST: u64 = 10;
/// Findings that may come for ever, one each.
const EVERY_US: u64 = 500_000;
/// Dropped findings, with no quiet moment between, after which it is no detector.
const HOPELESS: u32 = 100;

/// How fast one stream of a detector fires: with beginnings, and with everything else but ends. Each has a bucket of its own, because what is
/// remarked of speech must not cost its beginning.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    beginnings: Bucket,
    remarks: Bucket,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    /// When the bucket was, or will be, full.
    full_at: Micros,
    dropped: u32,
}

/// What is to become of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paced {
    Pass,
    /// It comes too fast: nobody is to hear of it. `first` since it was quiet: a line in the log is due.
    Drop {
        first: bool,
    },
    /// The detector fires constantly: give it up.
    GiveUp,
}

impl Pace {
    /// Of a stream that has just been opened.
    pub fn new() -> Self {
        Self::default()
    }

    /// A finding at `now`. What only ends something always passes.
    pub fn take(&mut self, now: Micros, kind: FindingKind) -> Paced {
        match kind {
            FindingKind::SpeechEnd => Paced::Pass,
            FindingKind::SpeechStart | FindingKind::BargeIn | FindingKind::Tone => self.beginnings.take(now),
            FindingKind::Backchannel | FindingKind::TurnEnd | FindingKind::Machine | FindingKind::Human => self.remarks.take(now),
        }
    }
}

impl Bucket {
    fn take(&mut self, now: Micros) -> Paced {
        if self.full_at <= now {
            (self.full_at, self.dropped) = (now, 0);
        }
        if self.full_at - now <= (BURST - 1) * EVERY_US {
            self.full_at += EVERY_US;
            return Paced::Pass;
        }
        self.dropped += 1;
        if self.dropped >= HOPELESS {
            return Paced::GiveUp;
        }
        Paced::Drop { first: self.dropped == 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACED: [FindingKind; 7] = [
        FindingKind::SpeechStart,
        FindingKind::BargeIn,
        FindingKind::Tone,
        FindingKind::Backchannel,
        FindingKind::TurnEnd,
        FindingKind::Machine,
        FindingKind::Human,
    ];

    fn counts(kind: FindingKind, gap_us: u64, findings: u64) -> (u64, u64, bool) {
        let (mut pace, mut passed, mut firsts) = (Pace::new(), 0, 0);
        for n in 0..findings {
            match pace.take(1_000_000 + n * gap_us, kind) {
                Paced::Pass => passed += 1,
                Paced::Drop { first } => firsts += u64::from(first),
                Paced::GiveUp => return (passed, firsts, true),
            }
        }
        (passed, firsts, false)
    }

    #[test]
    fn what_people_can_do_passes_for_ever() {
        for kind in PACED {
            assert_eq!(counts(kind, 500_000, 10_000), (10_000, 0, false));
            assert_eq!(counts(kind, 0, 10), (10, 0, false));
        }
    }

    #[test]
    fn one_that_fires_at_every_frame_is_told_of_once_and_given_up_within_seconds() {
        for kind in PACED {
            let (passed, firsts, given_up) = counts(kind, 10_000, 1_000);
            assert!(given_up && firsts == 1 && passed < 15, "{kind:?}: {passed} passed");
        }
    }

    #[test]
    fn what_is_remarked_of_speech_does_not_cost_its_beginning() {
        let mut pace = Pace::new();
        for n in 0..60 {
            pace.take(n, FindingKind::TurnEnd);
        }
        assert_eq!(pace.take(60, FindingKind::SpeechStart), Paced::Pass);
    }

    #[test]
    fn ends_pass_and_a_quiet_moment_forgets() {
        let mut pace = Pace::new();
        for n in 0..60 {
            assert_ne!(pace.take(n, FindingKind::SpeechStart), Paced::GiveUp);
            assert_eq!(pace.take(n, FindingKind::SpeechEnd), Paced::Pass);
        }
        for n in 0..60 {
            assert_ne!(pace.take(20_000_000 + n, FindingKind::BargeIn), Paced::GiveUp);
        }
    }
}
