//! The two-phase policy of one session: findings and time in, verdicts out. Pure, without a clock, and nothing in it allocates.
//!
//! What holds: a verdict other than `False` comes only while a response is active and unprotected; every `False` takes back a `Suspected`; every
//! suspicion ends by itself; one stretch of user speech is confirmed once. Speech that goes on when protection (or the warm-up) ends is suspected
//! at that moment, and confirmed if a detector had been sure of it and it still lasts a little later. Speech that began before there was a
//! response is the question to which it answers: it becomes an interruption only by lasting. Drawing: `policy.dot`.

use super::{Backchannel, BargeInPolicy, Finding, FindingKind, PolicySettings, Report, Situation, Verdict};
use crate::Micros;

/// What must have been heard of somebody who was sure to speak before protection ended, after its end. The agent pauses meanwhile, so it may be
/// longer than detectors remember who fell silent while the agent's first words came back to them: one was seen to for 500 ms.
const AFTER_PROTECTION_US: u64 = 800_000;
/// How far the user's last words, and a detector's hang-over, may reach into the response to them.
const CARRIED_OVER_US: u64 = 500_000;

/// How a session takes what its detectors find.
#[derive(Clone, Debug)]
pub struct Policy {
    settings: PolicySettings,
    situation: Situation,
    /// When the response that is active began.
    active_since: Micros,
    warm_up: WarmUp,
    speech: Option<Speech>,
    /// When the speech ended whose end a detector told last.
    ended: Option<Micros>,
    stage: Stage,
}

/// The user's speech, while it lasts.
#[derive(Clone, Copy, Debug)]
struct Speech {
    since: Micros,
    /// A detector confirmed it, whether that counted or not.
    sure: bool,
}

/// The time in which a detector gets to know the echo of the agent's first words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WarmUp {
    Ahead,
    Until(Micros),
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    /// Ends `False` at `until`, or confirmed at `confirm` if the speech lasts that long.
    Suspected {
        until: Micros,
        confirm: Option<Micros>,
    },
    /// A detector is sure of speech that began before the response: what lasts until then is confirmed.
    Carried {
        confirm: Micros,
    },
    /// This speech was confirmed, and that once.
    Spent {
        at: Micros,
    },
}

impl Policy {
    /// Of a session in which nobody speaks.
    pub fn new(settings: PolicySettings) -> Self {
        Self {
            settings,
            situation: Situation::default(),
            active_since: 0,
            warm_up: WarmUp::Ahead,
            speech: None,
            ended: None,
            stage: Stage::Idle,
        }
    }

    /// How it was set.
    pub fn settings(&self) -> &PolicySettings {
        &self.settings
    }

    /// New settings, at once. `False` if they end a suspicion.
    pub fn configure(&mut self, settings: PolicySettings) -> Option<Verdict> {
        let two_phases = |policy| matches!(policy, BargeInPolicy::PauseThenConfirm | BargeInPolicy::ReportOnly);
        let changed = settings.policy != self.settings.policy;
        let keeps = !changed || (two_phases(settings.policy) && two_phases(self.settings.policy));
        self.settings = settings;
        if keeps || self.is_spent() { None } else { self.take_back() }
    }

    /// A detector's finding.
    pub fn heard(&mut self, now: Micros, finding: &Finding) -> Option<Verdict> {
        self.pass_warm_up(now);
        match finding.kind {
            FindingKind::SpeechStart => {
                self.forget_spent(finding.at_us);
                self.begin(finding.at_us);
                if finding.at_us < self.active_since {
                    None
                } else {
                    self.suspect(now)
                }
            }
            // Of speech that has ended nobody would tell the end again.
            FindingKind::BargeIn if self.speech.is_none() && self.ended.is_some_and(|end| finding.at_us <= end) => None,
            FindingKind::BargeIn => self.sure(now, finding.at_us),
            FindingKind::Backchannel => match self.settings.backchannel {
                // A word about speech that is known; it begins none.
                Backchannel::Cancel if self.speech.is_none() => None,
                Backchannel::Cancel => self.sure(now, finding.at_us),
                Backchannel::Resume => self.end(),
            },
            FindingKind::SpeechEnd => {
                self.ended = Some(finding.at_us);
                self.end()
            }
            FindingKind::TurnEnd | FindingKind::Machine | FindingKind::Human | FindingKind::Tone => None,
        }
    }

    /// Somebody else's detector reports.
    pub fn report(&mut self, now: Micros, at: Micros, report: Report) -> Option<Verdict> {
        self.pass_warm_up(now);
        match report {
            Report::Suspected => {
                self.forget_spent(at);
                self.begin(at);
                if self.is_spent() {
                    self.stage = Stage::Idle;
                }
                // A warm-up is for detectors: who reports has ears of his own.
                if !self.is_open() {
                    return None;
                }
                let verdict = self.suspect_at_once(now);
                if self.speech.is_some_and(|s| s.sure) {
                    self.confirm_after_warm_up(now);
                }
                verdict
            }
            Report::Confirmed => {
                // Said again it is the same speech, unless there is something new to interrupt.
                if matches!(self.stage, Stage::Spent { at: before } if before < self.active_since && self.active_since <= at) {
                    self.forget_spent(at);
                }
                self.begin(at);
                if self.is_open() { self.confirm_at_once(now) } else { self.refuse() }
            }
            Report::False => self.end(),
            Report::Ended => {
                self.speech = None;
                self.stage = match self.stage {
                    // Its time may have run out while a confirmation was due: then it ends at the next tick.
                    Stage::Suspected { until, .. } => Stage::Suspected {
                        until: until.max(now.saturating_add(1)),
                        confirm: None,
                    },
                    Stage::Idle | Stage::Carried { .. } | Stage::Spent { .. } => Stage::Idle,
                };
                None
            }
        }
    }

    /// What the agent does has changed, or has not.
    pub fn situation(&mut self, now: Micros, situation: Situation) -> Option<Verdict> {
        let before = std::mem::replace(&mut self.situation, situation);
        if !situation.active {
            // Nothing is left that could go on, so nothing is told.
            if !self.is_spent() {
                self.stage = Stage::Idle;
            }
            return None;
        }
        if !before.active {
            self.active_since = now;
            if self.warm_up == WarmUp::Ahead {
                self.warm_up = match self.settings.warm_up_us {
                    0 => WarmUp::Over,
                    warm_up => WarmUp::Until(now.saturating_add(warm_up)),
                };
            }
            return None;
        }
        if situation.protected {
            return self.take_back();
        }
        if before.protected { self.unprotected(now) } else { None }
    }

    /// Time has passed. To be called at [`Policy::deadline`]; earlier or later does no harm.
    pub fn tick(&mut self, now: Micros) -> Option<Verdict> {
        if let WarmUp::Until(end) = self.warm_up
            && end <= now
        {
            self.warm_up = WarmUp::Over;
            let waited = self.stage == Stage::Idle && self.speech.is_some_and(|s| s.since < end);
            if waited && self.situation.active && !self.situation.protected {
                return self.unprotected(now);
            }
        }
        match self.stage {
            Stage::Suspected { confirm: Some(at), .. } | Stage::Carried { confirm: at } if at <= now => self.confirm_now(now),
            Stage::Suspected { until, confirm: None } if until <= now => self.take_back(),
            _ => None,
        }
    }

    /// When [`Policy::tick`] has something to say, if nothing is heard before. A new one lies in the future.
    pub fn deadline(&self) -> Option<Micros> {
        match self.stage {
            Stage::Suspected { until, confirm } => Some(confirm.unwrap_or(until)),
            Stage::Carried { confirm } => Some(confirm),
            Stage::Idle | Stage::Spent { .. } => match self.warm_up {
                WarmUp::Until(end) if self.speech.is_some() => Some(end),
                _ => None,
            },
        }
    }

    /// Capture or the detector is gone: what it said no longer holds.
    pub fn lost(&mut self) -> Option<Verdict> {
        self.end()
    }

    /// Somebody speaks, and it is not for this policy to judge.
    pub fn began(&mut self, at: Micros) {
        self.begin(at);
    }

    /// What was suspected is settled by somebody else; the user may speak on.
    pub fn dismiss(&mut self) {
        if self.is_suspecting() {
            self.stage = Stage::Idle;
        }
    }

    /// The onset of the user's speech, while it lasts. What begins and ends it does so whatever the verdict.
    pub fn user_speech(&self) -> Option<Micros> {
        self.speech.map(|s| s.since)
    }

    /// Whether the agent is held by a suspicion.
    pub fn is_suspecting(&self) -> bool {
        matches!(self.stage, Stage::Suspected { .. })
    }

    /// A warm-up in which nobody spoke ends without a word.
    fn pass_warm_up(&mut self, now: Micros) {
        if self.speech.is_none() && matches!(self.warm_up, WarmUp::Until(end) if end <= now) {
            self.warm_up = WarmUp::Over;
        }
    }

    fn begin(&mut self, at: Micros) {
        self.speech.get_or_insert(Speech { since: at, sure: false });
    }

    /// Speech that was confirmed before `at` is over by then, though nobody told its end: what begins there is new.
    fn forget_spent(&mut self, at: Micros) {
        if matches!(self.stage, Stage::Spent { at: before } if before < at) {
            self.speech = None;
            self.stage = Stage::Idle;
        }
    }

    fn end(&mut self) -> Option<Verdict> {
        self.speech = None;
        self.take_back()
    }

    /// Ends a suspicion, or the memory of a confirmation.
    fn take_back(&mut self) -> Option<Verdict> {
        let was = std::mem::replace(&mut self.stage, Stage::Idle);
        matches!(was, Stage::Suspected { .. }).then_some(Verdict::False)
    }

    fn suspect(&mut self, now: Micros) -> Option<Verdict> {
        if !self.counts(now) || self.is_spent() {
            return None;
        }
        self.suspect_at_once(now)
    }

    fn suspect_at_once(&mut self, now: Micros) -> Option<Verdict> {
        if self.settings.policy == BargeInPolicy::CancelAtOnce {
            return self.confirm_at_once(now);
        }
        let confirm = match self.stage {
            Stage::Suspected { confirm, .. } => confirm,
            Stage::Carried { confirm } => Some(confirm),
            Stage::Idle | Stage::Spent { .. } => None,
        };
        let until = now.saturating_add(self.settings.false_interruption_us.max(1));
        self.stage = Stage::Suspected { until, confirm };
        Some(Verdict::Suspected)
    }

    /// A detector is sure: now, or as soon as the speech has lasted long enough.
    fn sure(&mut self, now: Micros, at: Micros) -> Option<Verdict> {
        self.begin(at);
        let speech = self.speech.as_mut()?;
        speech.sure = true;
        let since = speech.since;
        if !self.counts(now) || self.is_spent() {
            self.confirm_after_warm_up(now);
            return None;
        }
        if since < self.active_since && !self.is_suspecting() {
            let confirm = self.active_since.saturating_add(CARRIED_OVER_US);
            if confirm <= now {
                return self.confirm_now(now);
            }
            self.stage = Stage::Carried { confirm };
            return None;
        }
        if self.settings.policy == BargeInPolicy::CancelAtOnce {
            return self.confirm_now(now);
        }
        let due = since.saturating_add(self.least_speech());
        if due <= now {
            return self.confirm_now(now);
        }
        let verdict = if self.is_suspecting() { None } else { self.suspect(now) };
        self.confirm_at(due);
        verdict
    }

    fn confirm_now(&mut self, now: Micros) -> Option<Verdict> {
        if self.counts(now) {
            self.confirm_at_once(now)
        } else {
            self.refuse()
        }
    }

    fn confirm_at_once(&mut self, now: Micros) -> Option<Verdict> {
        self.stage = Stage::Spent { at: now };
        Some(Verdict::Confirmed)
    }

    /// Nothing there to interrupt: a suspicion ends, a confirmation stays told.
    fn refuse(&mut self) -> Option<Verdict> {
        if self.is_spent() { None } else { self.take_back() }
    }

    fn confirm_at(&mut self, due: Micros) {
        if let Stage::Suspected { confirm, .. } = &mut self.stage {
            *confirm = Some(confirm.map_or(due, |before| before.min(due)));
        }
    }

    /// A report is what suspects in a warm-up; a detector that is sure meanwhile is right if the speech outlasts it.
    fn confirm_after_warm_up(&mut self, now: Micros) {
        if let WarmUp::Until(end) = self.warm_up
            && now < end
        {
            self.confirm_at(end.saturating_add(AFTER_PROTECTION_US));
        }
    }

    /// Protection has ended: speech that still goes on counts from now.
    fn unprotected(&mut self, now: Micros) -> Option<Verdict> {
        let speech = self.speech?;
        self.stage = Stage::Idle;
        let verdict = self.suspect(now);
        if speech.sure {
            self.confirm_at(now.saturating_add(AFTER_PROTECTION_US));
        }
        verdict
    }

    /// Whether speech that a detector hears now is an interruption.
    fn counts(&self, now: Micros) -> bool {
        self.is_open() && !self.is_warming(now)
    }

    /// Whether there is something that may be interrupted.
    fn is_open(&self) -> bool {
        self.settings.policy != BargeInPolicy::Off && self.situation.active && !self.situation.protected
    }

    fn is_warming(&self, now: Micros) -> bool {
        matches!(self.warm_up, WarmUp::Until(end) if now < end)
    }

    fn is_spent(&self) -> bool {
        matches!(self.stage, Stage::Spent { .. })
    }

    fn least_speech(&self) -> u64 {
        match self.settings.backchannel {
            Backchannel::Cancel => self.settings.min_speech_us,
            Backchannel::Resume => self.settings.min_speech_us.max(self.settings.backchannel_speech_us),
        }
    }
}
