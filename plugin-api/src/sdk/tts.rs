//! The trait of a TTS backend.

use super::{AudioOut, Host, Result, Speak};
use crate::json::{TtsDescription, VoiceDescription};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A TTS backend. All functions run on threads of the host; `speak` may block.
pub trait Tts: Sized + Send + Sync + 'static {
    /// Its configuration. `#[serde(deny_unknown_fields, default)]` makes mistyped keys an error that names them; [`NoConfig`] has no keys.
    type Config: DeserializeOwned + Default;
    /// `speak` may run several times at once. Others get one sentence a call and are never held up by playback.
    const CONCURRENT: bool = false;
    /// It gives word marks.
    const MARKS: bool = false;
    /// JSON Schema (2020-12) of the configuration, for tools.
    const SCHEMA: &'static str = r#"{"type":"object"}"#;

    /// A new instance. `id` is what config calls it. `[setup, at most 10 s]`
    fn new(host: Host, id: &str, config: Self::Config) -> Result<Self>;

    /// Its voices, and how it is cancelled. `[setup]`
    fn describe(&self) -> TtsDescription;

    /// Speaks; returns when the last sample is written, or within 100 ms of a cancel. `[worker]`
    fn speak(&self, req: &Speak<'_>, out: &mut AudioOut<'_>) -> Result<()>;

    /// Beside a running `speak`: tell a server, say. Also called for ids that have ended or never were. `[control, under 1 ms]`
    fn cancel(&self, synthesis: u64, reason: u32) -> Result<()> {
        let _ = (synthesis, reason);
        Ok(())
    }

    /// Loads the model, opens the connection. `[worker]`
    fn warmup(&self) -> Result<()> {
        Ok(())
    }

    /// Reaches its server, if it has one. `[worker]`
    fn probe(&self) -> Result<()> {
        Ok(())
    }
}

/// The configuration, or the parameters, of a plugin that has none: any key is an error.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// A description of these voices, the first one being the default, cancelled by refusing its next write.
pub fn description(voices: impl IntoIterator<Item = VoiceDescription>) -> TtsDescription {
    let voices: Vec<_> = voices.into_iter().collect();
    let default_voice = voices.first().map(|v| v.id.clone()).unwrap_or_default();
    TtsDescription {
        voices,
        default_voice,
        cancel: "callback".into(),
    }
}

/// A voice with one language, named like its id, with word timing.
pub fn voice(id: &str, language: &str, sample_rate: u32) -> VoiceDescription {
    VoiceDescription {
        id: id.into(),
        name: id.into(),
        languages: vec![language.into()],
        sample_rate,
        word_timing: true,
        cacheable: true,
    }
}
