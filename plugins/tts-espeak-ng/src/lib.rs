//! `tts-espeak-ng`: libespeak-ng as a TTS backend of utterd. GPL-3.0-or-later, as the library is.
//!
//! The library is a process-wide singleton, so the plugin is not concurrent and `engine.rs` holds one lock. Word and sentence marks stand at the
//! library's own sample positions; the 13 ms of silence at the start of its audio stay, or those would lie. README.md has the options.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use serde::Deserialize;
use std::path::PathBuf;
use utterd_plugin_api::prelude::*;

mod engine;
mod ffi;
mod text;
mod voices;

use engine::{Heard, Job};
use text::Prepared;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Config {
    /// The folder that holds `espeak-ng-data`; the library's own when absent.
    data_dir: Option<PathBuf>,
}

/// `params` of a Say.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    /// How far the pitch moves within a sentence: 0 to 100, 50 is normal.
    pitch_range: i32,
    /// Silence between words, at the normal rate: 0 to 1000.
    word_gap_ms: i32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            pitch_range: 50,
            word_gap_ms: 0,
        }
    }
}

impl Params {
    fn checked(self) -> Result<Self> {
        for (key, value, most) in [("pitch-range", self.pitch_range, 100), ("word-gap-ms", self.word_gap_ms, 1000)] {
            if !(0..=most).contains(&value) {
                return Err(Error::Argument(format!("params: {key} is {value}; 0 to {most} are possible")));
            }
        }
        Ok(self)
    }
}

struct Espeak(Config);

impl Tts for Espeak {
    type Config = Config;
    const MARKS: bool = true;
    const SCHEMA: &'static str = r#"{"type":"object","additionalProperties":false,"properties":{"data-dir":{"type":"string"}}}"#;

    fn new(_: Host, _: &str, config: Config) -> Result<Self> {
        engine::with(config.data_dir.as_deref(), |_| Ok(()))?;
        Ok(Self(config))
    }

    fn describe(&self) -> TtsDescription {
        let described = engine::with(self.0.data_dir.as_deref(), |engine| {
            let voices = engine.voices.entries.iter().map(|v| VoiceDescription {
                id: v.id.clone(),
                name: v.name.clone(),
                languages: v.languages.iter().map(|(_, tag)| tag.clone()).collect(),
                sample_rate: engine.rate,
                word_timing: true,
                cacheable: true,
            });
            Ok(TtsDescription {
                default_voice: engine.voices.default_id().into(),
                ..description(voices)
            })
        });
        described.unwrap_or_default()
    }

    fn speak(&self, req: &Speak<'_>, out: &mut AudioOut<'_>) -> Result<()> {
        let params = req.params::<Params>()?.checked()?;
        let prepared = Prepared::new(req.text);
        engine::with(self.0.data_dir.as_deref(), |engine| {
            let voice = engine.voices.choose(req.voice, req.language)?;
            out.set_rate(engine.rate)?;
            if req.text.trim().is_empty() {
                return Ok(());
            }
            let job = Job {
                c_text: &prepared.c_text,
                voice: &voice,
                wpm: scaled(req.rate, 175.0, 80, 450),
                pitch: scaled(req.pitch, 50.0, 0, 100),
                pitch_range: params.pitch_range,
                word_gap: params.word_gap_ms / 10,
                end_pause: !req.is_last(),
            };
            let mut marks = Marks {
                text: req.text,
                prepared: &prepared,
                end: 0,
                sample: 0,
            };
            let mut ended = Ok(());
            engine.speak(&job, &mut |samples, events| {
                if out.cancelled() {
                    ended = Err(Error::Cancelled);
                    return false;
                }
                ended = events
                    .iter()
                    .try_for_each(|event| marks.put(event, out))
                    .and_then(|()| if samples.is_empty() { Ok(()) } else { out.write_i16(samples) });
                ended.is_ok()
            })?;
            ended
        })
    }
}

/// `factor` times what is normal, inside the library's bounds; what is no number counts as 1.
fn scaled(factor: f32, normal: f32, low: i32, high: i32) -> i32 {
    let factor = if factor.is_finite() { factor } else { 1.0 };
    ((factor * normal).round() as i32).clamp(low, high)
}

/// From the library's events to marks in order.
struct Marks<'a> {
    text: &'a str,
    prepared: &'a Prepared,
    /// Where the last word ended, in bytes. The library says "1234" five times, each a bit further right, and ends some texts with a word
    /// of no length in the middle of them: what brings no new text is no word.
    end: usize,
    sample: u64,
}

impl Marks<'_> {
    fn put(&mut self, event: &Heard, out: &mut AudioOut<'_>) -> Result<()> {
        let sample = event.sample.max(self.sample);
        if event.sentence {
            // The library gives sentences no length: to the end of the text, which the next one's start cuts.
            let rest = i32::try_from(self.prepared.chars()).unwrap_or(i32::MAX);
            if let Some((at, len)) = self.prepared.bytes(self.text, event.position, rest) {
                self.sample = sample;
                out.mark(MarkKind::Sentence, sample, at, len, "")?;
            }
        } else if let Some((at, len)) = self.prepared.bytes(self.text, event.position, event.length)
            && at + len > self.end
        {
            self.sample = sample;
            self.end = at + len;
            out.mark(MarkKind::Word, sample, at, len, "")?;
        }
        Ok(())
    }
}

export_plugin!("tts-espeak-ng", tts: Espeak);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_pitch_stay_inside_the_bounds_of_the_library() {
        assert_eq!(scaled(1.0, 175.0, 80, 450), 175);
        assert_eq!(scaled(0.1, 175.0, 80, 450), 80);
        assert_eq!(scaled(f32::INFINITY, 175.0, 80, 450), 175);
        assert_eq!(scaled(1e30, 175.0, 80, 450), 450);
        assert_eq!(scaled(2.0, 50.0, 0, 100), 100);
    }

    #[test]
    fn a_parameter_that_is_unknown_or_out_of_range_is_named() {
        let read = |json: &str| {
            let req = Speak {
                synthesis: 1,
                utterance: 1,
                session: 1,
                text: "x",
                voice: "",
                language: "",
                rate: 1.0,
                pitch: 1.0,
                gain_db: 0.0,
                out_rate_hint: 0,
                params_json: json,
                flags: 0,
            };
            req.params::<Params>().and_then(Params::checked).map_err(|e| e.message().to_owned())
        };
        assert_eq!(read("").unwrap().pitch_range, 50);
        assert_eq!(read(r#"{"word-gap-ms":250,"pitch-range":0}"#).unwrap().word_gap_ms, 250);
        for (json, named) in [
            (r#"{"style":"calm"}"#, "style"),
            (r#"{"pitch-range":101}"#, "pitch-range is 101; 0 to 100"),
            (r#"{"word-gap-ms":"much"}"#, "much"),
            (r#"{"word-gap-ms":-1}"#, "word-gap-ms is -1"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(named), "{json}: {error}");
        }
    }

    #[test]
    fn the_locale_of_the_process_stays_what_it_was() {
        let ctype = || {
            // SAFETY: NULL asks only, and the answer is copied at once.
            unsafe { std::ffi::CStr::from_ptr(libc::setlocale(libc::LC_CTYPE, std::ptr::null())) }.to_owned()
        };
        let before = ctype();
        engine::with(None, |engine| {
            assert!(engine.voices.choose("en-us", "").is_ok());
            Ok(())
        })
        .unwrap();
        assert_eq!(ctype(), before);
    }
}
