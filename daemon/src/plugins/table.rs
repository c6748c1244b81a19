//! A TTS backend behind the ABI's table: an instance, the calls into it, and what its answers mean.

use std::path::Path;

use utterd_plugin_api::abi::*;
use utterd_plugin_api::json::TtsDescription;

use super::host::CancelAcks;
use super::instance::Handle;
use super::library::{FpMode, Mapped, describe_err, err_words};
use super::schema::Refused;
use super::sink::{Counters, RATES, Sink};
use super::tts::{TtsCalls, TtsInfo};
use super::types::{BackendCounts, CancelWay, SpeakEnd, SpeakRequest, SpeakSink, SynthError, Voice};

/// A mark counts the text's bytes in 32 bits.
const MAX_TEXT: usize = u32::MAX as usize;

/// One instance.
pub(super) struct Instance {
    table: UtTts,
    handle: Handle,
    counters: Counters,
}

impl Instance {
    /// Makes one; `config` is a JSON object, `found` where the plugin's original stands.
    pub(super) fn create(mapped: &Mapped, id: &str, found: &Path, config: &str, acks: &CancelAcks) -> Result<Self, Refused> {
        let table = mapped.tts()?;
        if table.speak.is_none() {
            return Err("its table of tts lacks speak".into());
        }
        Ok(Self {
            table,
            handle: Handle::create(table.common, id, found, config, acks)?,
            counters: Counters::default(),
        })
    }

    /// What it says of itself, as far as it makes sense.
    pub(super) fn describe(&self, id: &str) -> Result<TtsInfo, String> {
        let said: TtsDescription = self.handle.describe()?;
        let mut voices: Vec<Voice> = Vec::with_capacity(said.voices.len());
        for voice in said.voices {
            if voice.id.is_empty() || voices.iter().any(|v| v.id == voice.id) {
                return Err(format!("its describe() has the voice {:?} twice, or one without an id", voice.id));
            }
            if !RATES.contains(&voice.sample_rate) {
                return Err(format!("its voice {:?} has a sample rate of {} Hz", voice.id, voice.sample_rate));
            }
            let name = if voice.name.is_empty() { voice.id.clone() } else { voice.name };
            let (languages, sample_rate, word_timing) = (voice.languages, voice.sample_rate, voice.word_timing);
            voices.push(Voice {
                id: voice.id,
                name,
                languages,
                sample_rate,
                word_timing,
                cacheable: voice.cacheable,
            });
        }
        if voices.is_empty() {
            return Err("its describe() has no voices".into());
        }
        let cancel_way = match said.cancel.as_str() {
            "" => CancelWay::None,
            word => CancelWay::parse(word).ok_or_else(|| format!("its describe() says it is cancelled by {word:?}"))?,
        };
        let flags = self.table.common.flags;
        Ok(TtsInfo {
            id: id.to_owned(),
            voices,
            default_voice: said.default_voice,
            concurrent: flags & UT_TTS_CONCURRENT != 0,
            gives_marks: flags & UT_TTS_MARKS != 0,
            cancel_way,
        })
    }
}

impl TtsCalls for Instance {
    fn speak(&self, req: &SpeakRequest<'_>, to: &dyn SpeakSink) -> Result<SpeakEnd, SynthError> {
        let Some(speak) = self.table.speak else {
            return Err(SynthError::Unsupported {
                message: "it has no speak".into(),
            });
        };
        if req.text.len() > MAX_TEXT {
            return Err(SynthError::Argument {
                message: "the text has 4 GiB or more".into(),
            });
        }
        let asked = UtSpeakReq {
            size: size_of::<UtSpeakReq>() as u32,
            flags: if req.last { UT_SPEAK_LAST } else { 0 } | if req.cacheable { UT_SPEAK_CACHEABLE } else { 0 },
            synthesis: req.synthesis,
            utterance: req.utterance,
            session: req.session,
            text: UtStr::new(req.text),
            voice: UtStr::new(req.voice),
            lang: UtStr::new(req.language),
            rate: req.rate,
            pitch: req.pitch,
            gain_db: req.gain_db,
            out_rate_hint: req.out_rate_hint,
            params_json: UtStr::new(req.params_json),
            more: std::ptr::null(),
        };
        let sink = Sink::new(to, req.text, &self.counters);
        let table = sink.table();
        let mut err = UtErr::new();
        let _fp = FpMode::save();
        // SAFETY: the instance lives; request, sink and error live through the call and are only lent; [worker].
        let status = unsafe { speak(self.handle.inst(), &raw const asked, &raw const table, &raw mut err) };
        let seen = sink.seen();
        if let Some(payload) = seen.panicked {
            // Ours, not the plugin's: it only waited until no foreign frame was left above.
            std::panic::resume_unwind(payload);
        }
        if status == UT_EPANIC {
            return Err(SynthError::Panicked { message: err_words(&err) });
        }
        if let Some(message) = seen.wrong {
            return Err(SynthError::Misbehaved { message });
        }
        if seen.told || (status != UT_OK && to.cancelled()) {
            // Errors after a cancel are its consequences.
            return Ok(SpeakEnd::Cancelled);
        }
        outcome(status, &err, req)
    }

    fn cancel(&self, synthesis: u64, reason: u32) {
        if let Some(cancel) = self.table.cancel {
            // SAFETY: the instance lives; [control] may run beside [worker].
            let status = unsafe { cancel(self.handle.inst(), synthesis, reason) };
            if status < 0 && status != UT_ESTATE {
                tracing::debug!(synthesis, status, "a backend refused a cancel");
            }
        }
    }

    fn counts(&self) -> BackendCounts {
        self.counters.read()
    }
}

fn outcome(status: i32, err: &UtErr, req: &SpeakRequest<'_>) -> Result<SpeakEnd, SynthError> {
    let message = err_words(err);
    let message = if message.is_empty() { describe_err(status, err) } else { message };
    Err(match status {
        UT_OK => return Ok(SpeakEnd::Complete),
        UT_CANCELLED => SynthError::Misbehaved {
            message: "it says it was cancelled, which nobody asked for".into(),
        },
        UT_ENOVOICE => SynthError::NoSuchVoice {
            voice: req.voice.to_owned(),
            message,
        },
        UT_EARG | UT_ESTATE => SynthError::Argument { message },
        UT_EUNSUPPORTED => SynthError::Unsupported { message },
        UT_ECONFIG => SynthError::Config { message },
        UT_EBUSY => SynthError::Unavailable {
            retry_after_ms: err.retry_after_ms,
            message,
        },
        UT_EBACKEND if err.retry_after_ms != 0 => SynthError::Unavailable {
            retry_after_ms: err.retry_after_ms,
            message,
        },
        UT_EBACKEND => SynthError::Backend { message },
        UT_EAUTH => SynthError::Auth { message },
        status => SynthError::Misbehaved {
            message: format!("it answered with status {status}, which ABI 1.0 does not have"),
        },
    })
}
