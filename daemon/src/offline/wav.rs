//! A recording of two ends, read as it lies in the file. What is not such a recording is refused in words that say what is needed; what ends too
//! early is heard to its end, and the damage told.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use hound::{SampleFormat, WavReader};

/// Slower or faster is no speech.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;
/// A length that a program writes when it does not know it yet.
const OPEN_ENDED: u64 = 0x7fff_0000;

/// An open recording.
pub(super) struct Recording {
    reader: WavReader<BufReader<File>>,
    rate: u32,
    /// Full scale of whole numbers; 0 = floats.
    scale: f32,
    declared: u64,
    read: u64,
    damage: Option<String>,
}

impl Recording {
    /// `Err`: why not, for people.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let meta = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?;
        if !meta.is_file() {
            return Err("not a file".into());
        }
        if meta.len() == 0 {
            return Err("empty: not even the header of a WAV file".into());
        }
        let reader = WavReader::open(path).map_err(|e| match e {
            hound::Error::IoError(e) => format!("cannot be read as a WAV file: {e}"),
            hound::Error::FormatError(what) => format!("not a WAV file: {what}"),
            hound::Error::Unsupported => {
                "a WAV file of a kind that is not read here; wanted: whole numbers of 8 to 32 bits, or floats of 32".to_owned()
            }
            other => format!("cannot be read as a WAV file: {other}"),
        })?;
        let spec = reader.spec();
        if spec.channels != 2 {
            return Err(format!(
                "{} channel{}; wanted are two: 0 = the far end, what the agent plays, 1 = the near end, the microphone or the line",
                spec.channels,
                if spec.channels == 1 { "" } else { "s" }
            ));
        }
        if !RATES.contains(&spec.sample_rate) {
            return Err(format!(
                "a sample rate of {} Hz; wanted are {} to {}",
                spec.sample_rate,
                RATES.start(),
                RATES.end()
            ));
        }
        Ok(Self {
            rate: spec.sample_rate,
            scale: match spec.sample_format {
                SampleFormat::Float => 0.0,
                SampleFormat::Int => (1u64 << (spec.bits_per_sample.clamp(1, 32) - 1)) as f32,
            },
            declared: u64::from(reader.duration()),
            reader,
            read: 0,
            damage: None,
        })
    }

    /// Hz.
    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// Fills both with up to `n` samples; empty at the end.
    pub(super) fn read(&mut self, n: usize, far: &mut Vec<f32>, near: &mut Vec<f32>) {
        far.clear();
        near.clear();
        while far.len() < n && self.damage.is_none() {
            let (Some(of_far), Some(of_near)) = (self.sample(), self.sample()) else {
                break;
            };
            far.push(of_far);
            near.push(of_near);
        }
        self.read += far.len() as u64;
    }

    /// What was wrong with it, once it was read.
    pub(super) fn damage(&self) -> Option<String> {
        self.damage.clone()
    }

    fn sample(&mut self) -> Option<f32> {
        let sample = if self.scale == 0.0 {
            self.reader.samples::<f32>().next()?
        } else {
            self.reader.samples::<i32>().next()?.map(|x| x as f32 / self.scale)
        };
        match sample {
            Ok(sample) => Some(sample),
            Err(e) => {
                let bytes = self.declared * 2 * u64::from(self.reader.spec().bits_per_sample / 8);
                if bytes < OPEN_ENDED {
                    let heard = self.read as f64 / f64::from(self.rate);
                    let whole = self.declared as f64 / f64::from(self.rate);
                    self.damage = Some(format!("ends too early, after about {heard:.1} s of {whole:.1} s ({e})"));
                } else {
                    self.damage = None;
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second of two ends, at 8 kHz.
    fn recording() -> Vec<u8> {
        let mut file = std::io::Cursor::new(Vec::new());
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let mut wav = hound::WavWriter::new(&mut file, spec).unwrap();
        for n in 0..16_000i16 {
            wav.write_sample(n).unwrap();
        }
        wav.finalize().unwrap();
        file.into_inner()
    }

    fn read(path: &Path, bytes: &[u8]) -> Result<u64, String> {
        std::fs::write(path, bytes).unwrap();
        let mut recording = Recording::open(path)?;
        let (mut far, mut near) = (Vec::new(), Vec::new());
        loop {
            recording.read(800, &mut far, &mut near);
            assert_eq!(far.len(), near.len());
            if far.is_empty() {
                return recording.damage().map_or(Ok(recording.read), Err);
            }
        }
    }

    #[test]
    fn no_header_brings_it_down() {
        let path = std::env::temp_dir().join(format!("utterd-wav-{}.wav", std::process::id()));
        let whole = recording();
        assert_eq!(read(&path, &whole), Ok(8_000));
        for at in 0..80.min(whole.len()) {
            for value in [0, 1, 2, 3, 0x10, 0x7f, 0x80, 0xfe, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let read = read(&path, &bytes);
                assert!(read.is_err() || read.is_ok_and(|n| n <= 16_000), "byte {at} = {value}");
            }
            assert!(read(&path, &whole[..at]).is_err(), "cut at {at}");
        }
        std::fs::remove_file(path).unwrap();
    }
}
