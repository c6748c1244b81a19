//! The JSON documents of the ABI as types that both sides share: the manifest (read from the file before any of its code runs) and what
//! `describe()` of a TTS backend or a detector says. Unknown keys are ignored on purpose: a newer plugin may say more.

use serde::{Deserialize, Serialize};

/// `{"id":"tts-tone","version":"0.1.0","abi":"1.0","kinds":["tts"],"panic":"caught","wants":[]}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What config and D-Bus call it: lower case letters, digits and `-`, at most 64.
    pub id: String,
    /// The plugin's own version.
    pub version: String,
    /// `MAJOR.MINOR` of the ABI it was built for.
    pub abi: String,
    /// `tts`, `detector`, `telephony`.
    pub kinds: Vec<String>,
    /// `caught`: panics end at the boundary. `abort`: they end the process. `none`: the language has none.
    #[serde(default)]
    pub panic: String,
    /// What it needs of its surroundings, for sandboxes: `network`, `threads`.
    #[serde(default)]
    pub wants: Vec<String>,
    /// SPDX.
    #[serde(default)]
    pub license: String,
}

impl Manifest {
    /// The major of `abi`, or `None` when it is not `MAJOR.MINOR`.
    pub fn abi_major(&self) -> Option<u32> {
        let (major, minor) = self.abi.split_once('.')?;
        minor.parse::<u32>().ok()?;
        major.parse().ok()
    }

    /// Whether `id` may stand in paths, config tables and D-Bus replies.
    pub fn id_is_valid(&self) -> bool {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=64).contains(&self.id.len()) && self.id.chars().all(word) && !self.id.starts_with('-')
    }
}

/// What `describe()` of a TTS backend says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TtsDescription {
    /// Every voice it has now.
    #[serde(default)]
    pub voices: Vec<VoiceDescription>,
    /// Spoken when a request names none.
    #[serde(default, rename = "default-voice")]
    pub default_voice: String,
    /// `verb`, `connection-close`, `callback`, `process-kill` or `none`.
    #[serde(default)]
    pub cancel: String,
}

/// What `describe()` of a detector says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DetectorDescription {
    /// Sample rates that it takes, in Hz; none = any.
    #[serde(default)]
    pub rates: Vec<u32>,
    /// How much later than the near end its cleaned signal is, in milliseconds.
    #[serde(default, rename = "clean-delay-ms")]
    pub clean_delay_ms: u32,
}

/// One voice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VoiceDescription {
    /// What a request names it by.
    pub id: String,
    /// For people; the id when absent.
    #[serde(default)]
    pub name: String,
    /// BCP 47, the best first.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Hz.
    #[serde(default, rename = "sample-rate")]
    pub sample_rate: u32,
    /// Whether it gives word marks.
    #[serde(default, rename = "word-timing")]
    pub word_timing: bool,
    /// False: the same request does not always bring the same speech, so the host keeps none of it for the next time.
    #[serde(default = "yes")]
    pub cacheable: bool,
}

fn yes() -> bool {
    true
}
