//! `tts-tone`: a test signal instead of a voice, and the worked example of a TTS plugin. README.md has the formulas.
//!
//! Samples are a pure function of the request, so that an ear can prove whose samples it heard and that none is missing. It speaks at the
//! rate of the output, so nothing is resampled. Not here: any opinion about loudness, pauses or sentences.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use serde::Deserialize;
use std::time::{Duration, Instant};
use utterd_plugin_api::prelude::*;

mod signal;
use signal::{Shape, Signal};

/// What it speaks at when the host does not say at which rate it plays.
const DEFAULT_RATE: u32 = 48_000;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Config {
    /// Before the first audio: a slow backend.
    delay_ms: u64,
    /// Times real time at which audio is written; 0 = as fast as it is taken.
    speed: f64,
}

struct Tone(Config);

impl Tts for Tone {
    type Config = Config;
    const CONCURRENT: bool = true;
    const MARKS: bool = true;
    const SCHEMA: &'static str = r#"{"type":"object","additionalProperties":false,"properties":{
        "delay-ms":{"type":"integer","minimum":0,"default":0},"speed":{"type":"number","minimum":0,"default":0}}}"#;

    fn new(_: Host, _: &str, config: Config) -> Result<Self> {
        if !config.speed.is_finite() || config.speed < 0.0 {
            return Err(Error::Config("speed must be 0 (no limit) or more".into()));
        }
        Ok(Self(config))
    }

    fn describe(&self) -> TtsDescription {
        description(["tone", "tone-id"].map(|id| VoiceDescription {
            languages: vec![],
            // "tone-id" says whose samples these are.
            cacheable: id != "tone-id",
            ..voice(id, "", DEFAULT_RATE)
        }))
    }

    fn speak(&self, req: &Speak<'_>, out: &mut AudioOut<'_>) -> Result<()> {
        let NoConfig {} = req.params()?;
        let shape = match req.voice {
            "" | "tone" => Shape::Tone,
            "tone-id" => Shape::Id { utterance: req.utterance },
            other => {
                return Err(Error::NoVoice(format!(
                    "tts-tone has the voices \"tone\" and \"tone-id\", not {other:?}"
                )));
            }
        };
        let rate = if req.out_rate_hint == 0 { DEFAULT_RATE } else { req.out_rate_hint };
        out.set_rate(rate)?;
        let signal = Signal::new(shape, req.text, rate, req.rate, req.pitch);
        let first_audio = Instant::now() + Duration::from_millis(self.0.delay_ms);
        wait(first_audio, out)?;

        let mut words = req.words().peekable();
        let mut chars_before = Chars::new(req.text);
        let mut block = Vec::with_capacity(rate as usize / 50 + 1);
        let mut samples = signal.samples();
        loop {
            block.clear();
            block.extend(samples.by_ref().take((rate as usize / 50).max(1)));
            if block.is_empty() {
                return Ok(());
            }
            let end = out.position() + block.len() as u64;
            while let Some(word) = words.peek().copied() {
                let onset = chars_before.until(word.offset) * signal.char_frames();
                if onset >= end {
                    break;
                }
                out.mark(MarkKind::Word, onset, word.offset, word.text.len(), "")?;
                words.next();
            }
            if self.0.speed > 0.0 {
                let due = out.position() as f64 / (f64::from(rate) * self.0.speed);
                wait(first_audio + Duration::from_secs_f64(due), out)?;
            }
            out.write(&block)?; // Err(Cancelled) ends it
        }
    }
}

/// Counts code points before ever larger byte offsets, each byte once.
struct Chars<'a> {
    text: &'a str,
    bytes: usize,
    chars: u64,
}

impl<'a> Chars<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, bytes: 0, chars: 0 }
    }

    fn until(&mut self, offset: usize) -> u64 {
        self.chars += self.text[self.bytes..offset].chars().count() as u64;
        self.bytes = offset;
        self.chars
    }
}

/// Waits until `due`, or less if the host wants no more.
fn wait(due: Instant, out: &AudioOut<'_>) -> Result<()> {
    loop {
        if out.cancelled() {
            return Err(Error::Cancelled);
        }
        match due.checked_duration_since(Instant::now()) {
            None | Some(Duration::ZERO) => return Ok(()),
            Some(left) => std::thread::sleep(left.min(Duration::from_millis(5))),
        }
    }
}

export_plugin!("tts-tone", tts: Tone);
