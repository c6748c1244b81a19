//! What detectors find, and what a session makes of it: the words shared by the daemon and by `utterd-detect`, and the two-phase policy.
//!
//! A [`Finding`] is an edge that a detector heard; a [`Verdict`] is what it means for the agent's speech. Between them stands [`Policy`], one a
//! session, which knows neither utterances nor tracks. What a verdict does (pause, cancel, resume) is decided elsewhere.

mod pace;
mod policy;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::Micros;

pub use pace::{Pace, Paced};
pub use policy::Policy;

/// An edge that a detector heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What it heard.
    pub kind: FindingKind,
    /// When it began (of an end: when it ended), on the monotonic clock; detectors look back, so this lies in the past.
    pub at_us: Micros,
    /// Of user speech, at this moment: 0 … 1.
    pub probability: f32,
    /// In the finding: 0 … 1.
    pub confidence: f32,
    /// Who heard it.
    pub detector: Arc<str>,
}

/// What a detector can hear. While the agent speaks, `SpeechStart` is a suspicion, `BargeIn` confirms it, `Backchannel` or `SpeechEnd` before that
/// takes it back; else the first two are the edges of the user's speech and nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FindingKind {
    SpeechStart,
    SpeechEnd,
    BargeIn,
    Backchannel,
    TurnEnd,
    Machine,
    Human,
    Tone,
}

/// What user speech does to the agent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum BargeInPolicy {
    /// A suspicion pauses, its confirmation cancels, else the speech goes on from its sample.
    #[default]
    PauseThenConfirm,
    /// The first suspicion cancels.
    CancelAtOnce,
    /// Verdicts are told and change nothing.
    ReportOnly,
    /// No verdicts.
    Off,
}

impl BargeInPolicy {
    /// The word of D-Bus and of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::PauseThenConfirm => "pause-then-confirm",
            Self::CancelAtOnce => "cancel-at-once",
            Self::ReportOnly => "report-only",
            Self::Off => "off",
        }
    }

    /// `None` for a word that is not one of ours.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::PauseThenConfirm, Self::CancelAtOnce, Self::ReportOnly, Self::Off]
            .into_iter()
            .find(|policy| policy.word() == word)
    }

    /// Whether a verdict changes anything.
    pub fn acts(self) -> bool {
        matches!(self, Self::PauseThenConfirm | Self::CancelAtOnce)
    }
}

/// What "mhm" does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Backchannel {
    /// It is speech like any other.
    #[default]
    Cancel,
    /// It only pauses; a confirmation waits for longer speech, which it may because the agent is silent by then.
    Resume,
}

impl Backchannel {
    /// The word of D-Bus and of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Resume => "resume",
        }
    }

    /// `None` for a word that is not one of ours.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Cancel, Self::Resume].into_iter().find(|b| b.word() == word)
    }
}

/// How a session takes findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicySettings {
    pub policy: BargeInPolicy,
    pub backchannel: Backchannel,
    /// A suspicion that nothing confirms is taken back after this.
    pub false_interruption_us: u64,
    /// A detector's confirmation of shorter speech waits until it has lasted this long.
    pub min_speech_us: u64,
    /// The same under [`Backchannel::Resume`], if it is more.
    pub backchannel_speech_us: u64,
    /// For this long after the agent's first speech a detector's echo canceller is still learning: as if all speech were protected.
    pub warm_up_us: u64,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            policy: BargeInPolicy::default(),
            backchannel: Backchannel::default(),
            false_interruption_us: 2_000_000,
            min_speech_us: 0,
            backchannel_speech_us: 900_000,
            warm_up_us: 0,
        }
    }
}

/// What the agent is doing, as far as a policy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Situation {
    /// A response is active (T5): some accepted utterance is not finished.
    pub active: bool,
    /// What is heard, else what is heard next, is protected or not interruptible.
    pub protected: bool,
}

/// What somebody else's detector says (ReportSpeech): its word counts at once, whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    Suspected,
    Confirmed,
    /// The suspicion was wrong.
    False,
    /// The user fell silent: it says nothing of a suspicion.
    Ended,
}

/// What is to become of the agent's speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Pause. Again while paused: the time-out began anew.
    Suspected,
    /// Cancel.
    Confirmed,
    /// Go on from where it was paused.
    False,
}
