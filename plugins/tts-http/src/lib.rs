//! `tts-http`: speech servers behind HTTP, OpenAI's `POST /v1/audio/speech` and its look-alikes, as a TTS backend. README.md has the options.
//!
//! Invariants:
//! - The first audio is handed on as it comes; memory holds a block of it, whatever the server sends.
//! - A cancel closes the stream within a poll, and the server is told once for each request it has seen, never before the request and never for
//!   one that was not made.
//! - A request is repeated only before the first byte of its answer, and so many times at most.
//!
//! The rooms: server.rs (a speech, a cancel), body.rs (what is asked), calls.rs (who is known to the server), http.rs and net.rs (the wire), and
//! the parsers of what comes over it: audio.rs, mime.rs, sse.rs, chunked.rs, url.rs. Not here: caching, fall-back, health: the host's business.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use utterd_plugin_api::prelude::*;

mod audio;
mod body;
mod calls;
mod chunked;
mod config;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod http;
mod mime;
mod net;
mod server;
mod sse;
mod url;

use config::{Config, KnownVoice};
use server::Server;

/// A key is no longer.
const MAX_KEY: usize = 16 * 1024;

struct Http {
    server: Arc<Server>,
    voices: Vec<KnownVoice>,
}

impl Tts for Http {
    type Config = Config;
    const CONCURRENT: bool = true;
    const SCHEMA: &'static str = config::SCHEMA;

    fn new(host: Host, _: &str, config: Config) -> Result<Self> {
        let (url, voices_url) = config.check()?;
        let key = key(&host, &config)?;
        let mut voices = config.known_voices();
        let server = Arc::new(Server::new(host, config, url, key));
        if let Some(url) = voices_url {
            match server.discover(&url) {
                Ok(found) => voices.extend(found.into_iter().map(named)),
                Err(why) => host.warn(&format!("voices-url {url}: {why}; the configured voices are used")),
            }
        }
        let default = &server.config.voice;
        if !default.is_empty() || voices.is_empty() {
            let default = if default.is_empty() { "default" } else { default };
            let known = voices.iter().position(|v| v.id == *default);
            let first = known.map_or_else(|| named(default.to_owned()), |at| voices.remove(at));
            voices.insert(0, first);
        }
        let mut seen = std::collections::HashSet::new();
        voices.retain(|v| seen.insert(v.id.clone()));
        Ok(Self { server, voices })
    }

    fn describe(&self) -> TtsDescription {
        let config = &self.server.config;
        let voices = self.voices.iter().map(|v| VoiceDescription {
            id: v.id.clone(),
            name: v.name.clone(),
            languages: v.languages.clone(),
            sample_rate: config.pcm_rate,
            word_timing: false,
            cacheable: true,
        });
        TtsDescription {
            cancel: if config.cancel_url.is_empty() { "connection-close" } else { "verb" }.into(),
            ..description(voices)
        }
    }

    fn speak(&self, req: &Speak<'_>, out: &mut AudioOut<'_>) -> Result<()> {
        let known = req.voice.is_empty() || self.voices.iter().any(|v| v.id == req.voice);
        if !known && !self.server.config.any_voice {
            return Err(Error::NoVoice(format!(
                "no voice {:?} here: list it in voices, or set any-voice = true",
                req.voice
            )));
        }
        if req.text.trim().is_empty() {
            return Ok(());
        }
        // The host names the default voice, which no server knows when nobody configured one.
        let nameless = self.server.config.voice.is_empty() && self.server.config.voices.is_empty() && req.voice == "default";
        let req = Speak {
            voice: if nameless { "" } else { req.voice },
            ..*req
        };
        self.server.speak(&req, out)
    }

    fn cancel(&self, synthesis: u64, _: u32) -> Result<()> {
        self.server.cancel(synthesis);
        Ok(())
    }

    fn probe(&self) -> Result<()> {
        self.server.reach()
    }
}

fn named(id: String) -> KnownVoice {
    KnownVoice {
        id,
        name: String::new(),
        languages: Vec::new(),
    }
}

/// The API key: a credential of the service, or a file; never the configuration.
fn key(host: &Host, config: &Config) -> Result<Option<String>> {
    let file = &config.api_key_file;
    let bytes = if !config.api_key_secret.is_empty() {
        let name = &config.api_key_secret;
        let unit = format!("api-key-secret: no credential {name:?}; the unit needs LoadCredential={name}:/path/to/the/key");
        host.secret(name).ok_or(Error::Auth(unit))?
    } else if !file.as_os_str().is_empty() {
        let wrong = |e: std::io::Error| Error::Auth(format!("api-key-file {}: {e}", file.display()));
        let meta = std::fs::metadata(file).map_err(wrong)?;
        if !meta.is_file() || meta.len() > MAX_KEY as u64 {
            return Err(Error::Auth(format!("api-key-file {}: no small file", file.display())));
        }
        if meta.permissions().mode() & 0o007 != 0 {
            host.warn(&format!("api-key-file {} can be read by everybody: chmod o= it", file.display()));
        }
        std::fs::read(file).map_err(wrong)?
    } else {
        return Ok(None);
    };
    let key = String::from_utf8(bytes).unwrap_or_default().trim().to_owned();
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::Auth("the API key is empty or no line of ASCII".into()));
    }
    Ok(Some(key))
}

export_plugin!("tts-http", tts: Http, wants: ["network", "threads"]);
