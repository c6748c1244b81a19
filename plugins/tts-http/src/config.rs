//! The configuration: keys as they are written, then checked once. README.md explains each.

use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::result::Result;
use std::time::Duration;
use utterd_plugin_api::prelude::*;

use crate::audio::Raw;
use crate::url::Url;

pub(crate) const SCHEMA: &str = r#"{"type":"object","additionalProperties":false,"required":["url"],"properties":{
"url":{"type":"string"},"method":{"enum":["POST","GET"],"default":"POST"},
"model":{"type":"string"},"voice":{"type":"string"},
"voices":{"type":"array","items":{"anyOf":[{"type":"string"},{"type":"object","additionalProperties":false,"required":["id"],"properties":{
"id":{"type":"string"},"name":{"type":"string"},"languages":{"type":"array","items":{"type":"string"}}}}]}},
"voices-url":{"type":"string"},"any-voice":{"type":"boolean","default":false},
"response-format":{"type":"string","default":"wav"},"pcm-rate":{"type":"integer","minimum":4000,"maximum":384000,"default":24000},
"pcm-channels":{"type":"integer","minimum":1,"maximum":32,"default":1},"pcm-byte-order":{"enum":["auto","little","big"],"default":"auto"},
"fields":{"type":"object","additionalProperties":false,"properties":{"text":{"type":"string"},"voice":{"type":"string"},"model":{"type":"string"},
"format":{"type":"string"},"speed":{"type":"string"},"length-scale":{"type":"string"},"language":{"type":"string"},"id":{"type":"string"}}},
"extra":{"type":"object"},"headers":{"type":"object","additionalProperties":{"type":"string"}},
"id-header":{"type":"string","default":"X-Request-Id"},"cancel-url":{"type":"string"},"cancel-method":{"enum":["POST","DELETE"],"default":"POST"},
"api-key-secret":{"type":"string"},"api-key-file":{"type":"string"},"api-key-header":{"type":"string","default":"Authorization"},
"ca-file":{"type":"string"},
"connect-timeout-ms":{"type":"integer","minimum":1,"default":2000},"first-byte-timeout-ms":{"type":"integer","minimum":1,"default":10000},
"idle-timeout-ms":{"type":"integer","minimum":1,"default":5000},"cancel-timeout-ms":{"type":"integer","minimum":1,"default":2000},
"retries":{"type":"integer","minimum":0,"maximum":10,"default":1},"redirects":{"type":"integer","minimum":0,"maximum":20,"default":3},
"keep-alive":{"type":"boolean","default":true}}}"#;

/// As it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Config {
    pub(crate) url: String,
    pub(crate) method: Method,
    pub(crate) model: String,
    pub(crate) voice: String,
    pub(crate) voices: Vec<VoiceKey>,
    pub(crate) voices_url: String,
    pub(crate) any_voice: bool,
    pub(crate) response_format: String,
    pub(crate) pcm_rate: u32,
    pub(crate) pcm_channels: u16,
    pub(crate) pcm_byte_order: ByteOrder,
    pub(crate) fields: Fields,
    pub(crate) extra: Map<String, Value>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) id_header: String,
    pub(crate) cancel_url: String,
    pub(crate) cancel_method: CancelMethod,
    pub(crate) api_key_secret: String,
    pub(crate) api_key_file: PathBuf,
    pub(crate) api_key_header: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) connect_timeout_ms: u32,
    pub(crate) first_byte_timeout_ms: u32,
    pub(crate) idle_timeout_ms: u32,
    pub(crate) cancel_timeout_ms: u32,
    pub(crate) retries: u32,
    pub(crate) redirects: u32,
    pub(crate) keep_alive: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: String::new(),
            method: Method::Post,
            model: String::new(),
            voice: String::new(),
            voices: Vec::new(),
            voices_url: String::new(),
            any_voice: false,
            response_format: "wav".into(),
            pcm_rate: 24_000,
            pcm_channels: 1,
            pcm_byte_order: ByteOrder::Auto,
            fields: Fields::default(),
            extra: Map::new(),
            headers: BTreeMap::new(),
            id_header: "X-Request-Id".into(),
            cancel_url: String::new(),
            cancel_method: CancelMethod::Post,
            api_key_secret: String::new(),
            api_key_file: PathBuf::new(),
            api_key_header: "Authorization".into(),
            ca_file: PathBuf::new(),
            connect_timeout_ms: 2_000,
            first_byte_timeout_ms: 10_000,
            idle_timeout_ms: 5_000,
            cancel_timeout_ms: 2_000,
            retries: 1,
            redirects: 3,
            keep_alive: true,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Method {
    Post,
    /// The fields go into the query.
    Get,
}

/// Of raw samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ByteOrder {
    /// As the content type says.
    Auto,
    Little,
    Big,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum CancelMethod {
    Post,
    Delete,
}

/// A voice: its id, or more of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum VoiceKey {
    Id(String),
    Known(KnownVoice),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KnownVoice {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) languages: Vec<String>,
}

/// What the server calls them; empty = not sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Fields {
    pub(crate) text: String,
    pub(crate) voice: String,
    pub(crate) model: String,
    pub(crate) format: String,
    pub(crate) speed: String,
    /// The inverse of the speed, as Piper has it.
    pub(crate) length_scale: String,
    pub(crate) language: String,
    pub(crate) id: String,
}

impl Default for Fields {
    fn default() -> Self {
        let [text, voice, model, format, speed] = ["input", "voice", "model", "response_format", "speed"].map(str::to_owned);
        let [length_scale, language, id] = Default::default();
        Self {
            text,
            voice,
            model,
            format,
            speed,
            length_scale,
            language,
            id,
        }
    }
}

impl Config {
    /// The URLs, and a complaint that names its key.
    pub(crate) fn check(&self) -> Result<(Url, Option<Url>), Error> {
        let wrong = |key: &str, why: &str| Error::Config(format!("{key}: {why}"));
        if self.url.is_empty() {
            return Err(wrong("url", "is missing: say where the server is, in [plugin.tts-http]"));
        }
        let url = Url::parse(&self.url).map_err(|e| wrong("url", &e))?;
        let voices = (!self.voices_url.is_empty()).then(|| Url::parse(&self.voices_url));
        let voices = voices.transpose().map_err(|e| wrong("voices-url", &e))?;
        if !self.cancel_url.is_empty() {
            if !self.cancel_url.contains("{id}") {
                return Err(wrong("cancel-url", "must contain {id}"));
            }
            self.cancel(1).map_err(|e| wrong("cancel-url", &e))?;
        }
        if self.fields.text.is_empty() {
            return Err(wrong("fields.text", "is empty: the server must be told the text"));
        }
        for (key, name) in [("id-header", &self.id_header), ("api-key-header", &self.api_key_header)] {
            let may_be_empty = key == "id-header";
            if !(is_token(name) || may_be_empty && name.is_empty()) {
                return Err(wrong(key, "is no header's name"));
            }
        }
        for (name, value) in &self.headers {
            if !is_token(name) || !is_value(value) {
                return Err(wrong("headers", &format!("{name:?} is no header")));
            }
            let ours = ["host", "content-length", "transfer-encoding", "connection"];
            if ours.contains(&name.to_ascii_lowercase().as_str()) {
                return Err(wrong("headers", &format!("{name:?} is not yours to set")));
            }
            if name.eq_ignore_ascii_case("authorization") {
                return Err(wrong("headers", "a key does not belong here: use api-key-secret or api-key-file"));
            }
        }
        if !(4_000..=384_000).contains(&self.pcm_rate) {
            return Err(wrong("pcm-rate", "4000 to 384000 are possible"));
        }
        if !(1..=32).contains(&self.pcm_channels) {
            return Err(wrong("pcm-channels", "1 to 32 are possible"));
        }
        for (key, ms) in [
            ("connect-timeout-ms", self.connect_timeout_ms),
            ("first-byte-timeout-ms", self.first_byte_timeout_ms),
            ("idle-timeout-ms", self.idle_timeout_ms),
            ("cancel-timeout-ms", self.cancel_timeout_ms),
        ] {
            if !(1..=3_600_000).contains(&ms) {
                return Err(wrong(key, "1 to 3600000 are possible"));
            }
        }
        if self.retries > 10 || self.redirects > 20 {
            return Err(wrong("retries, redirects", "at most 10 and 20"));
        }
        if !self.api_key_secret.is_empty() && !self.api_key_file.as_os_str().is_empty() {
            return Err(wrong("api-key-file", "there is an api-key-secret too: choose one"));
        }
        let compressed = ["mp3", "opus", "ogg", "flac", "aac"];
        if compressed.contains(&self.response_format.to_ascii_lowercase().as_str()) {
            return Err(wrong("response-format", "only wav and pcm can be spoken as they come"));
        }
        Ok((url, voices))
    }

    /// Where this synthesis is cancelled.
    pub(crate) fn cancel(&self, synthesis: u64) -> Result<Url, String> {
        Url::parse(&self.cancel_url.replace("{id}", &synthesis.to_string()))
    }

    pub(crate) fn asks_for_raw(&self) -> bool {
        ["pcm", "raw", "s16le"].contains(&self.response_format.to_ascii_lowercase().as_str())
    }

    /// What raw samples are taken for.
    pub(crate) fn raw(&self) -> Raw {
        Raw {
            rate: self.pcm_rate,
            channels: self.pcm_channels,
            big_endian: match self.pcm_byte_order {
                ByteOrder::Auto => None,
                order => Some(order == ByteOrder::Big),
            },
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms.into())
    }

    pub(crate) fn first_byte_timeout(&self) -> Duration {
        Duration::from_millis(self.first_byte_timeout_ms.into())
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms.into())
    }

    pub(crate) fn cancel_timeout(&self) -> Duration {
        Duration::from_millis(self.cancel_timeout_ms.into())
    }

    /// The voices that were written down; the default one first.
    pub(crate) fn known_voices(&self) -> Vec<KnownVoice> {
        let all = self.voices.iter().map(|v| match v {
            VoiceKey::Id(id) => KnownVoice {
                id: id.clone(),
                name: String::new(),
                languages: Vec::new(),
            },
            VoiceKey::Known(known) => known.clone(),
        });
        all.filter(|v| !v.id.is_empty()).collect()
    }
}

/// A header's name (RFC 9110).
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// What may stand behind it.
pub(crate) fn is_value(value: &str) -> bool {
    value.bytes().all(|b| b == b' ' || b == b'\t' || b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Config, String> {
        let config: Config = serde_json::from_str(json).map_err(|e| e.to_string())?;
        config.check().map_err(|e| e.to_string())?;
        Ok(config)
    }

    #[test]
    fn every_wrong_key_is_named() {
        for (json, names) in [
            ("{}", "url"),
            (r#"{"url":"http://a/","modle":"x"}"#, "modle"),
            (r#"{"url":"http://a/","fields":{"txt":"x"}}"#, "txt"),
            (r#"{"url":"ftp://a/"}"#, "url"),
            (r#"{"url":"http://a/","cancel-url":"http://a/cancel"}"#, "{id}"),
            (r#"{"url":"http://a/","id-header":"X Id"}"#, "id-header"),
            (r#"{"url":"http://a/","headers":{"X":"a\r\nY: b"}}"#, "headers"),
            (r#"{"url":"http://a/","headers":{"Authorization":"Bearer x"}}"#, "api-key"),
            (r#"{"url":"http://a/","response-format":"mp3"}"#, "response-format"),
            (r#"{"url":"http://a/","pcm-rate":1}"#, "pcm-rate"),
            (r#"{"url":"http://a/","idle-timeout-ms":0}"#, "idle-timeout-ms"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(names), "{json}: {error}");
        }
        assert!(read(r#"{"url":"http://a/","voices":["x",{"id":"y","languages":["en"]}]}"#).is_ok());
    }

    #[test]
    fn the_schema_knows_every_key() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let mut config = Map::new();
        for key in schema["properties"].as_object().unwrap().keys() {
            config.insert(key.clone(), Value::Array(vec![Value::Bool(true)]));
        }
        for key in config.keys() {
            let one = Map::from_iter([(key.clone(), Value::Array(vec![Value::Bool(true)]))]);
            let error = serde_json::from_value::<Config>(one.into()).map(drop).unwrap_err().to_string();
            assert!(!error.contains("unknown field"), "{key}: {error}");
        }
        let error = serde_json::from_str::<Config>(r#"{"no-such-key":1}"#).unwrap_err().to_string();
        let known = error.matches('`').count() / 2 - 1;
        assert_eq!(known, config.len(), "{error}");
    }
}
