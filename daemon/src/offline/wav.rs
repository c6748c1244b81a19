//! A recording of two ends, read as it lies in the file. What is not such a recording is refused in words that say what is needed; what ends too
//! early is heard to its end, and the damage told.

use std::fs::File;
use std::path::Path;

use utterd_sound::Decoder;

/// Slower or faster is no speech.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

/// An open recording.
pub(super) struct Recording {
    decoder: Decoder,
    /// Frames that were decoded and not asked for yet, both ends in turn.
    ready: Vec<f32>,
    over: bool,
    damage: Option<String>,
}

impl Recording {
    /// `Err`: why not, for people.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let unreadable = |e: std::io::Error| format!("cannot be read: {e}");
        let meta = std::fs::metadata(path).map_err(unreadable)?;
        if !meta.is_file() {
            return Err("not a file".into());
        }
        if meta.len() == 0 {
            return Err("empty: not even the header of a WAV file".into());
        }
        let file = File::open(path).map_err(unreadable)?;
        let decoder = Decoder::open_apart(file, path).map_err(|e| format!("not a WAV file that can be read: {}", e.reason()))?;
        if decoder.channels() != 2 {
            return Err(format!(
                "{} channel{}; wanted are two: 0 = the far end, what the agent plays, 1 = the near end, the microphone or the line",
                decoder.channels(),
                if decoder.channels() == 1 { "" } else { "s" }
            ));
        }
        if !RATES.contains(&decoder.rate()) {
            return Err(format!(
                "a sample rate of {} Hz; wanted are {} to {}",
                decoder.rate(),
                RATES.start(),
                RATES.end()
            ));
        }
        Ok(Self {
            decoder,
            ready: Vec::new(),
            over: false,
            damage: None,
        })
    }

    /// Hz.
    pub(super) fn rate(&self) -> u32 {
        self.decoder.rate()
    }

    /// Fills both with up to `n` samples; empty at the end.
    pub(super) fn read(&mut self, n: usize, far: &mut Vec<f32>, near: &mut Vec<f32>) {
        far.clear();
        near.clear();
        while self.ready.len() < 2 * n && !self.over {
            match self.decoder.next() {
                Ok(Some(frames)) => self.ready.extend_from_slice(frames),
                Ok(None) => self.over = true,
                Err(e) => {
                    self.over = true;
                    self.damage = Some(e.reason());
                }
            }
        }
        let n = n.min(self.ready.len() / 2);
        let (ends, _) = self.ready[..2 * n].as_chunks::<2>();
        far.extend(ends.iter().map(|frame| frame[0]));
        near.extend(ends.iter().map(|frame| frame[1]));
        self.ready.drain(..2 * n);
    }

    /// What was wrong with it, once it was read.
    pub(super) fn damage(&self) -> Option<String> {
        self.damage.clone()
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
            sample_format: hound::SampleFormat::Int,
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
        let mut heard = 0;
        loop {
            recording.read(800, &mut far, &mut near);
            assert_eq!(far.len(), near.len());
            if far.is_empty() {
                return recording.damage().map_or(Ok(heard), Err);
            }
            heard += far.len() as u64;
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
