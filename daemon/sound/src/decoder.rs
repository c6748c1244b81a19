//! One sound file, decoded piece by piece.
//!
//! A file that ends before its header says, or is broken somewhere, gives what comes before that place and then `SoundError::Broken`: whoever
//! hears the end of `next` as "all was heard" is not told a lie. A packet that does not decode ends the sound rather than be skipped.

use std::fs::File;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, SeekMode, SeekTo, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::Timestamp;

use crate::SoundError;
use crate::source::{Source, is_cut_ogg};
use crate::wav;

/// What no sample of music or speech reaches (+36 dB): beyond it is garbage, as NaN is.
const ABSURD: f32 = 64.0;
/// What the output can be resampled from.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// A file that is being decoded. `[worker]`
pub struct Decoder {
    file: File,
    path: PathBuf,
    format: Box<dyn FormatReader>,
    codec: Box<dyn AudioDecoder>,
    track: u32,
    start_ts: i64,
    rate: u32,
    /// As the header tells it.
    promised: Option<u64>,
    /// Samples of a WAV that are really there.
    there: Option<u64>,
    /// The next sample to come.
    position: u64,
    /// After a seek: what comes before is dropped.
    from: Option<u64>,
    /// It was read from its beginning, so that a checksum over all of it means something.
    whole: bool,
    /// An Ogg without its end.
    cut: bool,
    over: bool,
    channels: usize,
    /// Samples that make a frame of what `next` gives: 1, or every channel's.
    width: usize,
    interleaved: Vec<f32>,
    samples: Vec<f32>,
}

impl Decoder {
    /// As `open`, but `next` gives every channel's samples, frame by frame.
    pub fn open_apart(file: File, path: &Path) -> Result<Self, SoundError> {
        let mut decoder = Self::open(file, path)?;
        decoder.width = decoder.channels;
        Ok(decoder)
    }

    /// Reads the head; `next` gives the mean of the channels. `path` is what errors name.
    pub fn open(file: File, path: &Path) -> Result<Self, SoundError> {
        let refuse = |reason: String| SoundError::Format {
            path: path.to_owned(),
            reason,
        };
        let io = |error: std::io::Error| SoundError::NotAFile {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let mut own = file.try_clone().map_err(io)?;
        let wav = wav::read(&own);
        let cut = is_cut_ogg(&mut own).map_err(io)?;
        // An Ogg is looked at from its end, too; one that was cut off still has a beginning.
        let (source, gate) = Source::new(file, !cut, wav.as_ref()).map_err(io)?;
        let stream = MediaSourceStream::new(Box::new(source), MediaSourceStreamOptions::default());
        let probe = || symphonia::default::get_probe().probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default());
        let format = guarded(probe)
            .map_err(|reason| refuse(reason.to_owned()))?
            .map_err(|error| refuse(not_known(&error)))?;
        gate.open(wav.is_some());
        let track = format
            .default_track(TrackType::Audio)
            .ok_or_else(|| refuse("it has no sound".to_owned()))?;
        let parameters = track.codec_params.as_ref().and_then(|p| p.audio());
        let parameters = parameters.ok_or_else(|| refuse("its encoding is not known".to_owned()))?;
        let rate = parameters.sample_rate.filter(|rate| RATES.contains(rate));
        let rate = rate.ok_or_else(|| refuse(format!("its sample rate is {:?}", parameters.sample_rate.unwrap_or(0))))?;
        let codec = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default().verify(true))
            .map_err(|error| refuse(not_known(&error)))?;
        let channels = parameters.channels.as_ref().map_or(1, |channels| channels.count());
        let (promised, there) = match &wav {
            Some(wav) => (wav.promised.map(|bytes| bytes / wav.block), Some(wav.there / wav.block)),
            None => (track.num_frames, None),
        };
        Ok(Self {
            file: own,
            path: path.to_owned(),
            track: track.id,
            // Before 0 stands what an encoder put before the first sample.
            start_ts: track.start_ts.get().max(0),
            rate,
            promised,
            there,
            position: 0,
            from: None,
            whole: true,
            cut,
            over: false,
            channels,
            width: 1,
            interleaved: Vec::new(),
            samples: Vec::new(),
            format,
            codec,
        })
    }

    /// Samples a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Of the file.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// How long it is by its header; a stream that was written down does not say, but for a WAV what is there tells.
    pub fn duration_us(&self) -> Option<u64> {
        let frames = self.promised.or(self.there)?;
        Some(us(frames, self.rate))
    }

    /// Goes on from this sample. Beyond the end nothing comes.
    pub fn seek_us(&mut self, at_us: u64) -> Result<(), SoundError> {
        let frame = (u128::from(at_us) * u128::from(self.rate) / 1_000_000) as u64;
        // From a fresh start: a library that stands at the end of a file does not find back to each place.
        self.rewind()?;
        if frame == 0 {
            return Ok(());
        }
        self.whole = false;
        self.position = frame;
        self.over = self.there.or(self.promised).is_some_and(|end| frame >= end);
        self.from = Some(frame);
        if self.over || self.cut || frame < u64::from(self.rate / 4) {
            return Ok(());
        }
        let ts = Timestamp::from(self.start_ts.saturating_add(i64::try_from(frame).unwrap_or(i64::MAX)));
        let track_id = self.track;
        match self.format.seek(SeekMode::Accurate, SeekTo::Timestamp { ts, track_id }) {
            Ok(_) => {
                self.codec.reset();
                Ok(())
            }
            Err(error) => Err(self.broken(&error.to_string())),
        }
    }

    /// Begins anew, exactly as at first.
    pub fn rewind(&mut self) -> Result<(), SoundError> {
        let again = self.file.try_clone().map_err(|error| self.broken(&error.to_string()))?;
        let width = self.width;
        *self = Self::open(again, &self.path)?;
        self.width = width;
        Ok(())
    }

    /// The next samples, never none; `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "what it lends is its own")]
    pub fn next(&mut self) -> Result<Option<&[f32]>, SoundError> {
        while !self.over {
            self.samples.clear();
            if let Some(end) = self.there
                && self.position >= end
            {
                return self.end();
            }
            let packet = match guarded(|| self.format.next_packet()) {
                Ok(Ok(Some(packet))) => packet,
                Ok(Ok(None)) => return self.end(),
                Ok(Err(Error::IoError(error))) if error.kind() == ErrorKind::UnexpectedEof => return self.end(),
                Ok(Err(error)) => return Err(self.broken(&error.to_string())),
                Err(reason) => return Err(self.broken(reason)),
            };
            if packet.track_id == self.track {
                self.decode(&packet)?;
            }
            if !self.samples.is_empty() {
                self.position += (self.samples.len() / self.width) as u64;
                return Ok(Some(&self.samples));
            }
        }
        Ok(None)
    }

    fn decode(&mut self, packet: &Packet) -> Result<(), SoundError> {
        let decoded = match guarded(|| self.codec.decode(packet)) {
            Ok(Ok(decoded)) => decoded,
            Ok(Err(error)) => {
                let reason = error.to_string();
                return Err(self.broken(&reason));
            }
            Err(reason) => return Err(self.broken(reason)),
        };
        let (frames, channels) = (decoded.frames(), decoded.num_planes());
        if frames == 0 || channels == 0 {
            return Ok(());
        }
        if decoded.spec().rate() != self.rate {
            return Err(self.broken("its sample rate changes"));
        }
        decoded.copy_to_vec_interleaved(&mut self.interleaved);
        if self.width == 1 {
            mix_down(&self.interleaved, channels, &mut self.samples);
        } else if channels == self.width {
            self.samples.extend(self.interleaved.iter().map(sound));
        } else {
            return Err(self.broken("its number of channels changes"));
        }
        if let Some(from) = self.from {
            let at = u64::try_from(packet.pts.get().saturating_sub(self.start_ts)).unwrap_or(0);
            let early = usize::try_from(from.saturating_sub(at))
                .unwrap_or(usize::MAX)
                .min(self.samples.len() / self.width);
            self.samples.drain(..early * self.width);
            if !self.samples.is_empty() {
                self.from = None;
            }
        }
        // What stands behind the end of a WAV is padding.
        if let Some(end) = self.there {
            let left = usize::try_from(end.saturating_sub(self.position)).unwrap_or(usize::MAX);
            self.samples.truncate(left.saturating_mul(self.width));
            self.over = self.samples.is_empty() && self.from.is_none();
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Option<&[f32]>, SoundError> {
        self.over = true;
        match self.promised {
            Some(promised) if self.position < promised => {
                let all = us(promised, self.rate) as f64 / 1e6;
                Err(self.broken(&format!("it should be {all:.3} s long, but ends")))
            }
            _ if self.cut => Err(self.broken("it is cut off")),
            _ if self.whole && self.codec.finalize().verify_ok == Some(false) => Err(self.broken("its checksum was wrong when it ended")),
            _ => Ok(None),
        }
    }

    fn broken(&mut self, reason: &str) -> SoundError {
        self.over = true;
        SoundError::Broken {
            path: self.path.clone(),
            at_us: us(self.position, self.rate),
            reason: reason.to_owned(),
        }
    }
}

/// The library checks less than it should: a head of garbage makes its arithmetic overflow, a panic in development builds.
fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, &'static str> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| "it is broken beyond what the decoder expects")
}

fn us(frames: u64, rate: u32) -> u64 {
    (u128::from(frames) * 1_000_000 / u128::from(rate.max(1))) as u64
}

fn not_known(error: &Error) -> String {
    match error {
        Error::IoError(error) if error.kind() != ErrorKind::UnexpectedEof => error.to_string(),
        Error::Unsupported(_) | Error::DecodeError(_) => error.to_string(),
        _ => "it is no sound file".to_owned(),
    }
}

/// What is no number, or an absurd one, is silence.
fn sound(x: &f32) -> f32 {
    if x.abs() <= ABSURD { *x } else { 0.0 }
}

/// Each frame becomes the mean of its channels.
fn mix_down(interleaved: &[f32], channels: usize, mono: &mut Vec<f32>) {
    if channels == 1 {
        mono.extend(interleaved.iter().map(sound));
        return;
    }
    let share = 1.0 / channels as f32;
    mono.extend(
        interleaved
            .chunks_exact(channels)
            .map(|frame| frame.iter().map(sound).sum::<f32>() * share),
    );
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
