//! Which backend and which voice speak: what the client named, else what fits the language, else the default.

use crate::Core;
use crate::request::{ErrorKind, Failure, SayOptions};

pub(crate) struct Speaker {
    pub(crate) backend: String,
    pub(crate) voice: String,
    pub(crate) concurrent: bool,
    pub(crate) word_timing: bool,
}

impl Core {
    /// Which backend and voice will speak.
    pub(crate) fn speaker(&self, options: &SayOptions) -> Result<Speaker, Failure> {
        let asked = options.backend.as_deref().filter(|b| !b.is_empty());
        let backend = match asked {
            Some(id) => self.backends.iter().find(|b| b.id == id).ok_or_else(|| {
                let known: Vec<&str> = self.backends.iter().map(|b| b.id.as_str()).collect();
                Failure::new(
                    ErrorKind::NoSuchBackend,
                    format!("there is no backend \"{id}\"; loaded: {}", list_or(&known, "none")),
                )
            })?,
            // A voice that only another backend has names that backend.
            None => self
                .backends
                .iter()
                .find(|b| b.has_voice(options.voice.as_deref()))
                .or(self.backends.first())
                .ok_or_else(|| {
                    let message =
                        "no TTS plugin is loaded: put one into a plugin folder (see Plugins.List for what was rejected) and restart utterd";
                    Failure::new(ErrorKind::BackendUnavailable, message)
                })?,
        };
        let language = options.language.as_deref().filter(|l| !l.is_empty());
        let voice = match (options.voice.as_deref().filter(|v| !v.is_empty()), language) {
            (Some(voice), _) => {
                if !backend.has_voice(Some(voice)) {
                    let message = format!("backend \"{}\" has no voice \"{voice}\"; ListVoices names those it has", backend.id);
                    return Err(Failure::new(ErrorKind::NoSuchVoice, message));
                }
                voice.to_owned()
            }
            (None, Some(language)) => {
                let default = backend.voices.iter().find(|v| v.id == backend.default_voice).into_iter();
                let voices: Vec<_> = default.chain(&backend.voices).collect();
                let that = |matches: fn(&str, &str) -> bool| voices.iter().find(|v| v.languages.iter().any(|l| matches(l, language)));
                match that(speaks).or_else(|| that(same_language)) {
                    Some(voice) => voice.id.clone(),
                    None if backend.voices.is_empty() => String::new(),
                    None => {
                        let message = format!(
                            "backend \"{}\" has no voice for language \"{language}\"; ListVoices names those it has",
                            backend.id
                        );
                        return Err(Failure::new(ErrorKind::NoSuchVoice, message));
                    }
                }
            }
            (None, None) => backend.default_voice.clone(),
        };
        Ok(Speaker {
            backend: backend.id.clone(),
            voice,
            concurrent: backend.concurrent,
            word_timing: backend.word_timing,
        })
    }
}

/// The language that was asked for; a bare "de" takes any region.
fn speaks(offered: &str, wanted: &str) -> bool {
    offered.eq_ignore_ascii_case(wanted) || (primary(wanted).eq_ignore_ascii_case(wanted) && same_language(offered, wanted))
}

/// Another region is better than no voice: "de" speaks "de-AT".
fn same_language(offered: &str, wanted: &str) -> bool {
    primary(offered).eq_ignore_ascii_case(primary(wanted))
}

fn primary(tag: &str) -> &str {
    tag.split(['-', '_']).next().unwrap_or_default()
}

fn list_or(items: &[&str], none: &str) -> String {
    if items.is_empty() { none.to_owned() } else { items.join(", ") }
}
