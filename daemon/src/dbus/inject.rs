//! AcquireAudio "inject" on the wire: a stream that the client writes. Decides nothing.

use utterd_core::{AudioFormat, PlayOptions, Request, Target};
use zbus::zvariant::Value;

use super::audio;
use super::error::Refusal;
use super::options::{Options, Reader};
use super::values::Dict;

pub(super) fn request(target: Target, options: Options) -> Result<Request, Refusal> {
    let mut reader = Reader::new(options);
    let format = audio::format(&mut reader)?;
    let options = PlayOptions {
        say: reader.sound_fields()?,
        text: reader.long_text("text")?.unwrap_or_default(),
        ..PlayOptions::default()
    };
    reader.end()?;
    Ok(Request::Inject { target, format, options })
}

/// `actual` of the answer.
pub(super) fn actual(rate: u32, format: AudioFormat, start_us: u64, utterance: u64) -> Dict {
    let mut actual = audio::actual(rate, format, start_us);
    actual.insert("utterance", Value::from(utterance));
    actual
}
