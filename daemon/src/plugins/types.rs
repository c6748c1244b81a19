//! What the rest of the daemon sees of a TTS plugin: plain requests, a sink, and errors that say what one can do about them.
//! No C type and no pointer of the ABI appears here; `tts.rs` translates. Words are those of STYLE §7: a *synthesis* is one request
//! to a backend, under an *utterance*.

use std::fmt;
use std::os::fd::RawFd;

/// A voice as its backend describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice {
    /// What a request names it by; unique within its backend.
    pub id: String,
    /// For people.
    pub name: String,
    /// BCP 47 tags, the best first; may be empty (the voice speaks anything).
    pub languages: Vec<String>,
    /// The rate it speaks at, in Hz; backends that follow the output say what they follow by default.
    pub sample_rate: u32,
    /// Whether it gives word marks.
    pub word_timing: bool,
    /// The same request always brings the same speech.
    pub cacheable: bool,
}

/// How a backend is stopped; it decides what a cancel report may call `told`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CancelWay {
    /// A request of its own, such as `POST /cancel/<id>`.
    Verb,
    /// Closing the connection.
    ConnectionClose,
    /// The next sample it hands over is refused.
    Callback,
    /// Only the end of its process stops it.
    ProcessKill,
    /// It cannot be stopped: it runs to its end and is not heard.
    #[default]
    None,
}

impl CancelWay {
    /// The word of `describe()` and of D-Bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verb => "verb",
            Self::ConnectionClose => "connection-close",
            Self::Callback => "callback",
            Self::ProcessKill => "process-kill",
            Self::None => "none",
        }
    }

    /// `None` (no answer) for a word that is not one of ours.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Verb, Self::ConnectionClose, Self::Callback, Self::ProcessKill, Self::None]
            .into_iter()
            .find(|way| way.as_str() == word)
    }
}

/// What a mark marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MarkKind {
    Word,
    Sentence,
    Viseme,
    Bookmark,
}

/// One request to a backend. Rate and pitch are factors (1.0 = as the voice was made).
#[derive(Debug, Clone, Copy)]
pub struct SpeakRequest<'a> {
    /// This request's own id: the one a server is told and `cancel()` names.
    pub synthesis: u64,
    pub utterance: u64,
    pub session: u64,
    pub text: &'a str,
    /// Empty: the backend's default for `language`.
    pub voice: &'a str,
    /// BCP 47, or empty.
    pub language: &'a str,
    pub rate: f32,
    pub pitch: f32,
    pub gain_db: f32,
    /// The rate of the output, so that a backend that can choose saves a resampler. 0 = unknown.
    pub out_rate_hint: u32,
    /// A JSON object, or empty.
    pub params_json: &'a str,
    /// The last piece of its utterance: what follows is silence, so no pause need be added.
    pub last: bool,
    /// What it says may be kept and spoken again.
    pub cacheable: bool,
}

/// Where a backend's audio goes while `speak()` runs. Called on the worker that called `speak()`, or on a thread of the plugin, never at once.
pub trait SpeakSink: Sync {
    /// Mono samples at `rate` (constant over one `speak`), finite. `false`: cancelled, and the backend is told to return.
    fn write(&self, rate: u32, mono: &[f32]) -> bool;
    /// A mark at a sample of this synthesis, over bytes of the request's text. In order, on code point boundaries, inside the text.
    fn mark(&self, kind: MarkKind, sample: u64, text_off: u32, text_len: u32, name: &str);
    /// Nothing is to be expected for now, or it goes on: what is not there meanwhile is no underrun.
    fn rest(&self, _resting: bool) {}
    /// Whether this synthesis was cancelled.
    fn cancelled(&self) -> bool;
    /// An eventfd that is readable once cancelled, or -1.
    fn cancel_fd(&self) -> RawFd;
}

/// How a `speak()` that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeakEnd {
    Complete,
    Cancelled,
}

/// Why a backend did not speak. Variants differ by what the reader can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SynthError {
    /// Choose another voice.
    NoSuchVoice { voice: String, message: String },
    /// The request itself is wrong (a parameter out of range, a language the voice lacks).
    Argument { message: String },
    /// The backend cannot do this at all.
    Unsupported { message: String },
    /// Try again, after `retry_after_ms` when it is not 0.
    Unavailable { retry_after_ms: u32, message: String },
    /// Credentials are missing or refused.
    Auth { message: String },
    /// Its configuration is wrong.
    Config { message: String },
    /// It failed at its own work.
    Backend { message: String },
    /// The plugin panicked and caught it; its state may be spoilt.
    Panicked { message: String },
    /// A sound file, which no plugin decodes: what is wrong with it.
    Sound { format: bool, message: String },
    /// The plugin broke the ABI's rules (no format, a rate of 0, an unknown status).
    Misbehaved { message: String },
}

impl SynthError {
    /// The plugin's own words.
    pub fn message(&self) -> &str {
        match self {
            Self::NoSuchVoice { message, .. }
            | Self::Argument { message }
            | Self::Unsupported { message }
            | Self::Unavailable { message, .. }
            | Self::Auth { message }
            | Self::Config { message }
            | Self::Backend { message }
            | Self::Panicked { message }
            | Self::Sound { message, .. }
            | Self::Misbehaved { message } => message,
        }
    }
}

impl fmt::Display for SynthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchVoice { voice, message } if message.is_empty() => {
                write!(f, "no such voice: {voice:?}")
            }
            Self::NoSuchVoice { message, .. } => f.write_str(message),
            Self::Argument { message } => write!(f, "bad request: {message}"),
            Self::Unsupported { message } => write!(f, "not supported: {message}"),
            Self::Unavailable {
                retry_after_ms: 0,
                message,
            } => write!(f, "unavailable: {message}"),
            Self::Unavailable { retry_after_ms, message } => {
                write!(f, "unavailable for {retry_after_ms} ms: {message}")
            }
            Self::Auth { message } => write!(f, "not authorised: {message}"),
            Self::Config { message } => write!(f, "configuration: {message}"),
            Self::Backend { message } => write!(f, "backend failed: {message}"),
            Self::Panicked { message } => write!(f, "the plugin panicked: {message}"),
            Self::Sound { message, .. } => f.write_str(message),
            Self::Misbehaved { message } => write!(f, "the plugin broke the ABI: {message}"),
        }
    }
}

impl std::error::Error for SynthError {}

/// What a backend did that the host had to mend. Counted since it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackendCounts {
    /// Samples that were NaN or infinite and became 0.
    pub non_finite_samples: u64,
    /// Marks out of order or out of the text that were moved to where they may be.
    pub marks_clamped: u64,
    /// Marks that had no place at all.
    pub marks_dropped: u64,
    /// Writes or marks after the sink had said "cancelled".
    pub after_cancel: u64,
}
