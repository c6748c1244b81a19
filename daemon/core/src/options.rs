//! The options of the verbs, and the words they are written in. What is absent in them is the caller's default, or the session's.

use std::sync::Arc;

use crate::backend::CacheUse;
use crate::bounds::Bounds;
use crate::hearing::{Backchannel, BargeInPolicy};
use crate::ids::Micros;

/// SSIP's priorities, lowest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Only the last one of a session matters.
    Progress,
    /// Only if nobody speaks or waits.
    Notification,
    /// A newer one replaces it while it waits.
    Text,
    /// In order, never lost.
    #[default]
    Message,
    /// At once.
    Important,
}

impl Priority {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Progress => "progress",
            Self::Notification => "notification",
            Self::Text => "text",
            Self::Message => "message",
            Self::Important => "important",
        }
    }

    /// From the word on the wire.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Progress, Self::Notification, Self::Text, Self::Message, Self::Important]
            .into_iter()
            .find(|p| p.word() == word)
    }
}

/// What a Submit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Only buffers.
    Collect,
    /// Starts what was buffered.
    Commit,
}

/// How a Say stands to what its session already has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Behind it.
    #[default]
    Queue,
    /// In its place.
    Replace,
    /// Only if there is nothing.
    IfIdle,
}

/// How much of the progress is signalled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Nothing.
    None,
    /// Sentences.
    #[default]
    Sentence,
    /// Words.
    Word,
}

/// How a text is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As it is spoken.
    #[default]
    Text,
    /// Marks, tables, code and emoji are not read aloud.
    Markdown,
    /// What the voice cannot do is dropped, its text stays.
    Ssml,
}

/// Options of Say; what is absent comes from the session's defaults, then from the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SayOptions {
    /// Backend id.
    pub backend: Option<String>,
    /// Backends that speak in its place, in this order, when it cannot; an empty list: none.
    pub fallback: Option<Vec<String>>,
    /// Whether what is synthesised may be kept for the next time.
    pub cache: Option<CacheUse>,
    /// Voice id.
    pub voice: Option<String>,
    /// BCP 47 tag.
    pub language: Option<String>,
    /// 1.0 = normal.
    pub rate: Option<f64>,
    /// 1.0 = normal.
    pub pitch: Option<f64>,
    /// On this utterance's samples.
    pub gain_db: Option<f64>,
    /// How the text is written.
    pub format: Option<Format>,
    /// The backend's own, a JSON object.
    pub params: Option<Arc<str>>,
    /// Within the session.
    pub mode: Option<Mode>,
    /// Class.
    pub priority: Option<Priority>,
    /// Not begun after this long: "expired".
    pub expires_us: Option<Micros>,
    /// What is signalled.
    pub progress: Option<Progress>,
    /// False: barge-in does not touch it.
    pub interruptible: Option<bool>,
    /// No barge-in until this much of it was sent.
    pub protect_us: Option<Micros>,
    /// The client's turn; absent or 0 = the current one.
    pub turn: Option<u64>,
    /// Comes back in every signal of the utterance.
    pub tag: Option<String>,
}

/// Where a session is heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Output {
    /// The loudspeaker.
    #[default]
    Local,
    /// A null sink with a clock of its own.
    Null,
}

impl Output {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Null => "null",
        }
    }
}

/// Options of Play.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlayOptions {
    /// Those of Say that fit a sound.
    pub say: SayOptions,
    /// What hearing it to the end means.
    pub text: String,
    /// Under the session's speech.
    pub beside: bool,
    /// So much lower while the session speaks.
    pub duck_db: Option<f64>,
}

/// Options of OpenSession and Configure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionOptions {
    /// Where it is heard.
    pub output: Option<Output>,
    /// True: the session closes with the connection that opened it.
    pub client_lifetime: Option<bool>,
    /// True: mixed with the others instead of one at a time.
    pub own_floor: Option<bool>,
    /// Closes after this long without an utterance; 0 = never.
    pub idle_timeout_us: Option<Micros>,
    /// No text in log and History, and no recording.
    pub private: Option<bool>,
    /// Record to a file of this name.
    pub record: Option<String>,
    /// What user speech does to the agent's.
    pub barge_in: Option<BargeInPolicy>,
    /// Id of the detector that hears it, or "none".
    pub detector: Option<String>,
    /// What "mhm" does.
    pub backchannel: Option<Backchannel>,
    /// A suspicion that nothing confirms is taken back after this.
    pub false_interruption_us: Option<Micros>,
    /// Of text on its way in.
    pub bounds: Bounds,
    /// Defaults of Say.
    pub say: SayOptions,
}

/// Options of Cancel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CancelOptions {
    /// Only this one.
    pub utterance: Option<u64>,
    /// Only this turn; 0 = the current one.
    pub turn: Option<u64>,
    /// The caller's own word; "barge-in" respects protection.
    pub reason: Option<String>,
    /// At most 50 ms.
    pub fade_us: Option<u32>,
}
