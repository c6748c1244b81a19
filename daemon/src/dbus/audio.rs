//! Streams and recordings on the wire: AcquireAudio, StartRecording, StopRecording. Decides nothing.

use utterd_core::{AudioFormat, Direction, Encoding, PlayOptions, RecordingEnd, Request, Target};
use zbus::zvariant::Value;

use super::error::Refusal;
use super::options::{self, Options, Reader};
use super::values::Dict;

const ENCODINGS: [(&str, Encoding); 2] = [("s16le", Encoding::S16le), ("f32le", Encoding::F32le)];

/// A stream from the daemon: what it carries, and how.
pub(super) fn acquire(target: Target, direction: &str, options: Options) -> Result<Request, Refusal> {
    let direction = match direction {
        "rx" => Direction::Rx,
        "rx-raw" => Direction::RxRaw,
        "tx" => Direction::Tx,
        "inject" => return inject(target, options),
        _ => {
            let shown: String = direction.chars().take(64).collect();
            return Err(Refusal::invalid_args(format!(
                "direction is \"{shown}\"; allowed: rx, rx-raw, tx, inject"
            )));
        }
    };
    let mut reader = Reader::new(options);
    let format = format(&mut reader)?;
    reader.end()?;
    Ok(Request::AcquireAudio { target, direction, format })
}

/// A stream that the client writes.
fn inject(target: Target, options: Options) -> Result<Request, Refusal> {
    let mut reader = Reader::new(options);
    let format = format(&mut reader)?;
    let options = PlayOptions {
        say: reader.sound_fields()?,
        text: reader.long_text("text")?.unwrap_or_default(),
        ..PlayOptions::default()
    };
    reader.end()?;
    Ok(Request::Inject { target, format, options })
}

/// How its samples are written.
fn format(reader: &mut Reader) -> Result<AudioFormat, Refusal> {
    Ok(AudioFormat {
        rate: reader.between("rate", 4_000, 192_000)?,
        encoding: reader.word("encoding", &ENCODINGS)?.unwrap_or_default(),
        channels: reader.between("channels", 1, 8)?.unwrap_or(1),
    })
}

pub(super) fn start_recording(target: Target, file: String, options: Options) -> Result<Request, Refusal> {
    options::none(options)?;
    Ok(Request::StartRecording { target, file })
}

/// `actual` of AcquireAudio.
pub(super) fn actual(rate: u32, format: AudioFormat, start_us: u64) -> Dict {
    Dict::from([
        ("rate", Value::from(rate)),
        ("encoding", Value::from(format.encoding.word())),
        ("channels", Value::from(format.channels)),
        ("start-us", Value::from(start_us)),
    ])
}

/// `actual` of AcquireAudio "inject".
pub(super) fn actual_inject(rate: u32, format: AudioFormat, start_us: u64, utterance: u64) -> Dict {
    let mut actual = actual(rate, format, start_us);
    actual.insert("utterance", Value::from(utterance));
    actual
}

/// `info` of RecordingFinished.
pub(super) fn finished(end: &RecordingEnd) -> Dict {
    let mut info = Dict::from([
        ("reason", Value::from(end.reason)),
        ("duration-us", Value::from(end.duration_us)),
        ("lost-us", Value::from(end.lost_us)),
    ]);
    if !end.error.is_empty() {
        info.insert("error", Value::from(end.error.clone()));
    }
    info
}

/// `info` of StopRecording: the same, and which file; empty when nothing was recorded.
pub(super) fn stopped(recording: Option<(String, RecordingEnd)>) -> Dict {
    let Some((file, end)) = recording else {
        return Dict::new();
    };
    let mut info = finished(&end);
    info.insert("file", Value::from(file));
    info
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(direction: &str, key: &str, value: Value<'_>) -> String {
        let options = Options::from([(key.to_owned(), value.try_to_owned().unwrap())]);
        acquire(Target::Id("a".into()), direction, options).unwrap_err().message
    }

    #[test]
    fn what_is_wrong_with_a_stream_is_named() {
        for (direction, key, value, said) in [
            ("sideways", "rate", Value::U32(8_000), "allowed: rx, rx-raw, tx"),
            ("rx", "rate", Value::U32(0), "\"rate\" is 0; allowed: 4000 to 192000"),
            ("rx", "rate", Value::from("fast"), "\"rate\" has type s"),
            ("tx", "encoding", Value::from("mp3"), "allowed: s16le, f32le"),
            ("tx", "channels", Value::U32(9), "\"channels\" is 9; allowed: 1 to 8"),
            ("tx", "colour", Value::U32(9), "no option \"colour\""),
        ] {
            let message = refused(direction, key, value);
            assert!(message.contains(said), "{message}");
        }
    }
}
