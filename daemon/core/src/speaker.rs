//! Which backend and which voice speak: what the client named, else what fits the language, else the default; and who speaks in its place.
//!
//! What the client names must exist, whoever it is: a mistake is told at once and never hidden by a fallback. A fallback speaks with the
//! voice that was asked for if it has it, else with its default for the language, else with its default.

use std::collections::VecDeque;

use crate::Core;
use crate::backend::Backend;
use crate::options::SayOptions;
use crate::request::{ErrorKind, Failure};

/// Backends in one list of fallbacks.
const MAX_FALLBACKS: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Speaker {
    pub(crate) backend: String,
    pub(crate) voice: String,
    /// A tag, or nothing that is known.
    pub(crate) language: String,
    pub(crate) concurrent: bool,
    pub(crate) word_timing: bool,
}

impl Speaker {
    /// Of what needs none.
    pub(crate) fn nobody() -> Self {
        Self {
            backend: String::new(),
            voice: String::new(),
            language: String::new(),
            concurrent: true,
            word_timing: false,
        }
    }
}

impl Core {
    /// Who speaks, and who does when they cannot, in order; each backend once.
    pub(crate) fn speakers(&self, options: &SayOptions) -> Result<(Speaker, VecDeque<Speaker>), Failure> {
        let first = self.speaker(options)?;
        let named = options.fallback.as_deref().unwrap_or_default();
        if named.len() > MAX_FALLBACKS {
            let message = format!("option \"fallback\" names {} backends; allowed: {MAX_FALLBACKS}", named.len());
            return Err(Failure::new(ErrorKind::LimitExceeded, message));
        }
        let language = first.language.clone();
        let voice = options.voice.as_deref().filter(|v| !v.is_empty());
        let mut others: VecDeque<Speaker> = VecDeque::new();
        for id in named {
            let backend = self.backend(id)?;
            if first.backend != *id && !others.iter().any(|s| s.backend == *id) {
                others.push_back(Speaker::instead(backend, voice, &language));
            }
        }
        Ok((first, others))
    }

    fn backend(&self, id: &str) -> Result<&Backend, Failure> {
        self.backends.iter().find(|b| b.id == id).ok_or_else(|| {
            let known: Vec<&str> = self.backends.iter().map(|b| b.id.as_str()).collect();
            let message = format!("there is no backend \"{id}\"; loaded: {}", list_or(&known, "none"));
            Failure::new(ErrorKind::NoSuchBackend, message)
        })
    }

    /// Which backend and voice will speak.
    pub(crate) fn speaker(&self, options: &SayOptions) -> Result<Speaker, Failure> {
        let asked = options.backend.as_deref().filter(|b| !b.is_empty());
        let backend = match asked {
            Some(id) => self.backend(id)?,
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
            (None, Some(language)) => match backend.voice_for(language) {
                Some(voice) => voice.id.clone(),
                None if backend.voices.is_empty() => String::new(),
                None => {
                    let message = format!(
                        "backend \"{}\" has no voice for language \"{language}\"; ListVoices names those it has",
                        backend.id
                    );
                    return Err(Failure::new(ErrorKind::NoSuchVoice, message));
                }
            },
            (None, None) => backend.default_voice.clone(),
        };
        let spoken = match language {
            Some(asked) => asked.to_owned(),
            None => backend.language_of(&voice),
        };
        Ok(Speaker::of(backend, voice, spoken))
    }
}

impl Speaker {
    fn of(backend: &Backend, voice: String, language: String) -> Self {
        Self {
            backend: backend.id.clone(),
            voice,
            language,
            concurrent: backend.concurrent,
            word_timing: backend.word_timing,
        }
    }

    /// `backend` in another one's place.
    fn instead(backend: &Backend, asked: Option<&str>, language: &str) -> Self {
        let voice = match asked {
            Some(voice) if backend.has_voice(asked) => voice.to_owned(),
            _ => match backend.voice_for(language) {
                Some(voice) if !language.is_empty() => voice.id.clone(),
                _ => backend.default_voice.clone(),
            },
        };
        let spoken = backend.language_of(&voice);
        Self::of(backend, voice, spoken)
    }
}

fn list_or(items: &[&str], none: &str) -> String {
    if items.is_empty() { none.to_owned() } else { items.join(", ") }
}
