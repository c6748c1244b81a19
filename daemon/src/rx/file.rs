//! A recording's file while it is written: kept valid at every moment, whatever its format.
//!
//! Sound is appended, then the header's sizes are written again, so that whatever is there when the daemon is killed opens and is whole up to
//! the last piece. Runs on each recording's own thread: the disk may take its time. Not here: where files lie (`shelf.rs`), how a format lays
//! sound out (`wav.rs`, `flac.rs`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Once;

use utterd_core::{ErrorKind, Failure};

use super::flac::Flac;
use super::shelf::{Kept, Shelf};
use super::wav::Wav;

/// Of the header until the first piece tells the rate.
const SOME_RATE: u32 = 48_000;

/// How a format lays frames of two channels of 16 bits out in a file.
pub(super) trait Coding {
    /// The file's beginning as it has to read now. Its length never changes.
    fn header(&self) -> Vec<u8>;
    /// Appends what these frames, left and right in turn, add to the file. Some may be kept for the next time.
    fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) -> io::Result<()>;
    /// Appends what was kept, and nothing comes after it.
    fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()>;
    /// Frames appended so far.
    fn frames(&self) -> u64;
}

/// The name's ending says what is in it; the core has checked it.
fn coding(path: &Path, rate: u32) -> Box<dyn Coding> {
    if path.extension().is_some_and(|x| x == "flac") {
        Box::new(Flac::new(rate))
    } else {
        Box::new(Wav::new(rate))
    }
}

pub(super) struct SoundFile {
    file: File,
    kept: Kept,
    coding: Box<dyn Coding>,
    /// Bytes and frames that are in the file, whole.
    end: u64,
    frames: u64,
    bytes: Vec<u8>,
    /// Of the first piece, and so of all.
    rate: Option<u32>,
    is_broken: bool,
}

impl SoundFile {
    pub(super) fn create(shelf: &Shelf, name: &str) -> Result<SoundFile, Failure> {
        let (file, kept) = shelf.create(name)?;
        let coding = coding(kept.path(), SOME_RATE);
        let mut made = SoundFile {
            end: coding.header().len() as u64,
            file,
            kept,
            coding,
            frames: 0,
            bytes: Vec::new(),
            rate: None,
            is_broken: false,
        };
        if let Err(error) = made.write_header() {
            made.discard();
            let message = format!("the recording {} could not be made: {error}", made.path().display());
            return Err(Failure::new(ErrorKind::Failed, message));
        }
        Ok(made)
    }

    pub(super) fn path(&self) -> &Path {
        self.kept.path()
    }

    /// Frames that are in the file.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Appends whole frames, left and right in turn; all of them are of one rate.
    pub(super) fn write(&mut self, rate: u32, samples: &[i16]) -> io::Result<()> {
        if self.rate.replace(rate).is_none() {
            self.coding = coding(self.kept.path(), rate);
        }
        self.append(|coding, bytes| coding.encode(samples, bytes))
    }

    fn append(&mut self, encode: impl FnOnce(&mut dyn Coding, &mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
        self.bytes.clear();
        let encoded = encode(&mut *self.coding, &mut self.bytes);
        let written = encoded.and_then(|()| self.file.write_all_at(&self.bytes, self.end));
        if let Err(error) = written {
            self.is_broken = true;
            // What is behind the last whole piece is not sound of this file.
            if let Err(error) = self.file.set_len(self.end) {
                tracing::debug!(%error, "a recording keeps a torn end, which its header leaves out");
            }
            return Err(error);
        }
        self.end += self.bytes.len() as u64;
        self.frames = self.coding.frames();
        self.write_header().inspect_err(|_| self.is_broken = true)
    }

    fn write_header(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.coding.header(), 0)
    }

    /// Makes it whole. An empty one is not worth keeping.
    pub(super) fn close(&mut self) -> io::Result<()> {
        if !self.is_broken {
            self.append(|coding, bytes| coding.finish(bytes))?;
        }
        if self.frames == 0 {
            self.discard();
            return Ok(());
        }
        self.file.flush()
    }

    fn discard(&self) {
        if let Err(error) = fs::remove_file(self.path()) {
            tracing::debug!(file = %self.path().display(), %error, "an empty recording stays");
        }
    }
}

/// What a failed write means to the client.
pub(super) fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => "disk-full",
        _ => "failed",
    }
}

/// A file that reaches the process's limit (LimitFSIZE=) is an error of its write, not the end of the daemon.
pub(super) fn quiet_file_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: ignoring a signal runs no code of ours, and nobody else here handles this one.
        let before = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        if before == libc::SIG_ERR {
            tracing::debug!("a file limit that is reached will end the daemon");
        }
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn shelf(name: &str) -> Shelf {
        let dir = std::env::temp_dir().join(format!("utterd-file-{}-{name}", std::process::id()));
        Shelf::new(dir, 0o640, 0, Duration::ZERO)
    }

    fn field(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    /// Sound of every kind: silence, a tone, steps from end to end, noise.
    fn sound(samples: usize) -> Vec<i16> {
        let mut seed = 1_u32;
        let mut noise = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) as i16
        };
        let one = |n: usize, noise: i16| match n * 8 / samples {
            0 | 4 => 0,
            1 | 5 => ((n as f64 / 20.0).sin() * 12_000.0) as i16,
            2 => [i16::MIN, i16::MAX][n / 2 % 2],
            3 => noise,
            6 => noise / 256,
            _ => i16::MIN,
        };
        (0..samples).map(|n| one(n, noise())).collect()
    }

    fn decoded(bytes: &[u8]) -> Vec<i16> {
        use flac_codec::decode::FlacSampleReader;
        let mut reader = FlacSampleReader::new(bytes).unwrap();
        let mut samples = Vec::new();
        reader.read_to_end(&mut samples).unwrap();
        samples.into_iter().map(|s: i32| s as i16).collect()
    }

    #[test]
    fn a_wav_file_is_whole_after_every_piece() {
        use std::os::unix::fs::PermissionsExt;
        let shelf = shelf("whole");
        let mut wav = SoundFile::create(&shelf, "a.wav").unwrap();
        for piece in 1..=3 {
            wav.write(16_000, &[100, -100].repeat(1_000)).unwrap();
            let bytes = fs::read(wav.path()).unwrap();
            assert_eq!(bytes.len(), 44 + piece * 4_000);
            assert_eq!(
                (field(&bytes, 4) as usize, field(&bytes, 40) as usize),
                (bytes.len() - 8, piece * 4_000)
            );
            assert_eq!((field(&bytes, 24), field(&bytes, 28)), (16_000, 64_000));
        }
        let mode = fs::metadata(wav.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let taken = SoundFile::create(&shelf, "a.wav").err().unwrap();
        assert!(taken.message.contains("not overwritten"), "{}", taken.message);
        wav.close().unwrap();
        SoundFile::create(&shelf, "empty.wav").unwrap().close().unwrap();
        SoundFile::create(&shelf, "empty.flac").unwrap().close().unwrap();
        assert!(!shelf.dir.join("empty.wav").exists() && !shelf.dir.join("empty.flac").exists());
        fs::remove_dir_all(&shelf.dir).unwrap();
    }

    #[test]
    fn a_flac_file_is_to_the_sample_the_wav_file_of_the_same_sound_at_any_rate() {
        let shelf = shelf("same");
        for rate in [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000] {
            let sound = sound(2 * rate as usize + 2 * 77);
            let mut files = ["wav", "flac"].map(|e| SoundFile::create(&shelf, &format!("{rate}.{e}")).unwrap());
            for piece in sound.chunks(2 * 1_234) {
                for file in &mut files {
                    file.write(rate, piece).unwrap();
                }
            }
            let [wav, flac] = &mut files;
            wav.close().unwrap();
            flac.close().unwrap();
            assert_eq!((wav.frames(), flac.frames()), (u64::from(rate) + 77, u64::from(rate) + 77));
            let (plain, coded) = (fs::read(wav.path()).unwrap(), fs::read(flac.path()).unwrap());
            let plain: Vec<i16> = plain[44..].as_chunks::<2>().0.iter().map(|b| i16::from_le_bytes(*b)).collect();
            assert!(plain == sound, "WAV at {rate}");
            assert!(decoded(&coded) == sound, "FLAC at {rate}");
            assert!(coded.len() < plain.len() * 2, "{} bytes at {rate}", coded.len());
            assert_eq!(
                coded[26..42],
                md5::compute(sound.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<_>>()).0
            );
        }
        fs::remove_dir_all(&shelf.dir).unwrap();
    }

    #[test]
    fn a_flac_file_that_is_cut_anywhere_has_all_blocks_before_the_cut() {
        let shelf = shelf("cut");
        let sound = sound(2 * 16_000);
        let mut flac = SoundFile::create(&shelf, "a.flac").unwrap();
        for (n, piece) in sound.chunks(2 * 800).enumerate() {
            flac.write(16_000, piece).unwrap();
            let bytes = fs::read(flac.path()).unwrap();
            assert!(decoded(&bytes) == sound[..2 * 800 * (n + 1)], "after piece {n}");
        }
        fs::remove_dir_all(&shelf.dir).unwrap();
    }

    #[test]
    fn a_rate_that_flac_cannot_say_is_an_error_and_no_end_of_the_thread() {
        let shelf = shelf("rate");
        let mut flac = SoundFile::create(&shelf, "a.flac").unwrap();
        let error = flac.write(655_359, &[1; 200_000]).unwrap_err();
        assert!(error.to_string().contains("FLAC"), "{error}");
        flac.close().unwrap();
        assert!(!flac.path().exists(), "nothing is in it");
        fs::remove_dir_all(&shelf.dir).unwrap();
    }
}
