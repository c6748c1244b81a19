//! A recording's file: made, kept valid at every moment, closed; and the folder it lies in, kept within bounds.
//!
//! The header's sizes are written again after each piece of sound, so that whatever is there when the daemon is killed opens and is whole up to
//! the last piece. A file is never one that was there before, never a link, and never outside the folder. Runs on each recording's own
//! thread: the disk may take its time.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, SystemTime};

use utterd_core::{ErrorKind, Failure};

const HEADER: u64 = 44;
/// Two channels of 16 bits.
const FRAME: u64 = 4;
/// What the header's fields can count.
const MAX_BYTES: u64 = u32::MAX as u64 - HEADER - FRAME;

/// Where recordings lie and how long.
#[derive(Debug, Clone)]
pub struct Shelf {
    pub dir: PathBuf,
    pub mode: u32,
    /// The oldest go when all together are more than this; 0 = no bound.
    pub keep_bytes: u64,
    /// Older ones go; zero = no bound.
    pub keep_for: Duration,
    /// Those that are being written.
    pub(super) open: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Shelf {
    pub fn new(dir: PathBuf, mode: u32, keep_bytes: u64, keep_for: Duration) -> Shelf {
        Shelf {
            dir,
            mode,
            keep_bytes,
            keep_for,
            open: Arc::default(),
        }
    }

    /// Removes what is too old or too much. What cannot be removed is logged and left.
    pub(super) fn tidy(&self) {
        if self.keep_bytes == 0 && self.keep_for.is_zero() {
            return;
        }
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter(|e| e.path().extension().is_some_and(|x| x == "wav") && !open.contains(&e.path()))
            .filter_map(|e| Some((e.path(), e.metadata().ok().filter(fs::Metadata::is_file)?)))
            .filter_map(|(path, m)| Some((m.modified().ok()?, m.len(), path)))
            .collect();
        files.sort();
        let now = SystemTime::now();
        let mut bytes: u64 = files.iter().map(|f| f.1).sum();
        for (modified, len, path) in files {
            let is_old = !self.keep_for.is_zero() && now.duration_since(modified).is_ok_and(|age| age > self.keep_for);
            let is_too_much = self.keep_bytes > 0 && bytes > self.keep_bytes;
            if !is_old && !is_too_much {
                return;
            }
            match fs::remove_file(&path) {
                Ok(()) => {
                    bytes -= len;
                    tracing::info!(file = %path.display(), is_old, "an old recording was removed");
                }
                Err(error) => tracing::warn!(file = %path.display(), %error, "an old recording could not be removed"),
            }
        }
    }
}

/// A WAV file of two channels while it is written.
#[derive(Debug)]
pub(super) struct Wav {
    file: File,
    pub(super) path: PathBuf,
    rate: u32,
    frames: u64,
    bytes: Vec<u8>,
    shelf: Shelf,
}

impl Wav {
    pub(super) fn create(shelf: &Shelf, name: &str) -> Result<Wav, Failure> {
        let path = shelf.dir.join(name);
        let failed = |what: &str, at: &Path, error: io::Error| {
            Failure::new(ErrorKind::Failed, format!("{what} {} could not be made: {error}", at.display()))
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&shelf.dir)
            .map_err(|e| failed("the folder of recordings", &shelf.dir, e))?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(shelf.mode).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => Failure::new(
                ErrorKind::Failed,
                format!("{} is there already and is not overwritten: choose another name", path.display()),
            ),
            _ => failed("the recording", &path, e),
        })?;
        shelf.open.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        let mut wav = Wav {
            file,
            path,
            rate: 48_000,
            frames: 0,
            bytes: Vec::new(),
            shelf: shelf.clone(),
        };
        if let Err(error) = wav.write_header() {
            let failure = failed("the recording", &wav.path, error);
            wav.discard();
            return Err(failure);
        }
        Ok(wav)
    }

    pub(super) fn set_rate(&mut self, rate: u32) {
        self.rate = rate;
    }

    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Appends whole frames, left and right in turn.
    pub(super) fn write(&mut self, samples: &[i16]) -> io::Result<()> {
        let begin = HEADER + self.frames * FRAME;
        if begin + samples.len() as u64 * 2 > MAX_BYTES {
            return Err(io::Error::other("a WAV file holds no more"));
        }
        self.bytes.clear();
        self.bytes.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
        if let Err(error) = self.file.write_all_at(&self.bytes, begin) {
            // What is behind the last whole piece is not sound of this file.
            if let Err(error) = self.file.set_len(begin) {
                tracing::debug!(%error, "a recording keeps a torn end, which its header leaves out");
            }
            return Err(error);
        }
        self.frames += samples.len() as u64 / 2;
        self.write_header()
    }

    fn write_header(&mut self) -> io::Result<()> {
        let data = (self.frames * FRAME) as u32;
        let mut header = Vec::with_capacity(HEADER as usize);
        header.extend_from_slice(b"RIFF");
        header.extend_from_slice(&(data + HEADER as u32 - 8).to_le_bytes());
        header.extend_from_slice(b"WAVEfmt ");
        header.extend_from_slice(&16_u32.to_le_bytes());
        for half in [1_u16, 2] {
            header.extend_from_slice(&half.to_le_bytes());
        }
        header.extend_from_slice(&self.rate.to_le_bytes());
        header.extend_from_slice(&(self.rate * FRAME as u32).to_le_bytes());
        for half in [FRAME as u16, 16] {
            header.extend_from_slice(&half.to_le_bytes());
        }
        header.extend_from_slice(b"data");
        header.extend_from_slice(&data.to_le_bytes());
        self.file.write_all_at(&header, 0)
    }

    /// Makes it whole. An empty one is not worth keeping.
    pub(super) fn close(mut self) -> io::Result<()> {
        if self.frames == 0 {
            self.discard();
            return Ok(());
        }
        self.file.flush()
    }

    fn discard(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(file = %self.path.display(), %error, "an empty recording stays");
        }
    }
}

impl Drop for Wav {
    fn drop(&mut self) {
        self.shelf.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
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

    fn shelf(name: &str) -> Shelf {
        let dir = std::env::temp_dir().join(format!("utterd-shelf-{}-{name}", std::process::id()));
        Shelf::new(dir, 0o640, 0, Duration::ZERO)
    }

    fn field(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn a_file_is_whole_after_every_piece() {
        use std::os::unix::fs::PermissionsExt;
        let shelf = shelf("whole");
        let mut wav = Wav::create(&shelf, "a.wav").unwrap();
        wav.set_rate(16_000);
        for piece in 1..=3 {
            wav.write(&[100, -100].repeat(1_000)).unwrap();
            let bytes = fs::read(&wav.path).unwrap();
            assert_eq!(bytes.len(), 44 + piece * 4_000);
            assert_eq!(
                (field(&bytes, 4) as usize, field(&bytes, 40) as usize),
                (bytes.len() - 8, piece * 4_000)
            );
            assert_eq!((field(&bytes, 24), field(&bytes, 28)), (16_000, 64_000));
        }
        let mode = fs::metadata(&wav.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let taken = Wav::create(&shelf, "a.wav").unwrap_err();
        assert!(taken.message.contains("not overwritten"), "{}", taken.message);
        wav.close().unwrap();
        Wav::create(&shelf, "empty.wav").unwrap().close().unwrap();
        assert!(!shelf.dir.join("empty.wav").exists());
        fs::remove_dir_all(&shelf.dir).unwrap();
    }

    #[test]
    fn the_oldest_go_when_they_are_too_many_or_too_old_and_what_is_written_stays() {
        let mut shelf = shelf("tidy");
        let mut written = Wav::create(&shelf, "now.wav").unwrap();
        written.write(&[1; 20_000]).unwrap();
        for (name, age_s) in [("a.wav", 400), ("b.wav", 300), ("c.wav", 200), ("d.wav", 100), ("e.txt", 900)] {
            let file = File::create(shelf.dir.join(name)).unwrap();
            file.set_len(10_000).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age_s)).unwrap();
        }
        let names = |shelf: &Shelf| {
            let mut names: Vec<String> = fs::read_dir(&shelf.dir)
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names.join(" ")
        };
        shelf.tidy();
        assert_eq!(names(&shelf), "a.wav b.wav c.wav d.wav e.txt now.wav", "no bound");
        shelf.keep_for = Duration::from_secs(350);
        shelf.tidy();
        assert_eq!(names(&shelf), "b.wav c.wav d.wav e.txt now.wav");
        shelf.keep_bytes = 20_000;
        shelf.tidy();
        assert_eq!(names(&shelf), "c.wav d.wav e.txt now.wav");
        drop(written);
        fs::remove_dir_all(&shelf.dir).unwrap();
    }

    #[test]
    fn what_is_no_place_for_a_file_is_an_error_that_names_it() {
        let shelf = Shelf::new("/dev/full/recordings".into(), 0o600, 0, Duration::ZERO);
        let failure = Wav::create(&shelf, "a.wav").unwrap_err();
        assert!(failure.message.contains("/dev/full/recordings"), "{}", failure.message);
    }
}
