//! The folder of recordings: where files are made, and where the oldest go when they are too old or too much.
//!
//! A file is never one that was there before, never a link, and never outside the folder. What is being written is never removed. Runs on each
//! recording's own thread: the disk may take its time.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use utterd_core::{ErrorKind, Failure};

/// What recordings end in; of other files in the folder nothing is known.
const ENDINGS: [&str; 2] = ["wav", "flac"];

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
    open: Arc<Mutex<BTreeSet<PathBuf>>>,
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

    /// A new file of this name.
    pub(super) fn create(&self, name: &str) -> Result<(File, Kept), Failure> {
        let path = self.dir.join(name);
        let failed = |what: &str, at: &Path, error: io::Error| {
            Failure::new(ErrorKind::Failed, format!("{what} {} could not be made: {error}", at.display()))
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|e| failed("the folder of recordings", &self.dir, e))?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(self.mode).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => Failure::new(
                ErrorKind::Failed,
                format!("{} is there already and is not overwritten: choose another name", path.display()),
            ),
            _ => failed("the recording", &path, e),
        })?;
        // The process's own mask has taken from it what the settings give.
        if let Err(error) = file.set_permissions(Permissions::from_mode(self.mode)) {
            tracing::warn!(file = %path.display(), %error, "a recording could not be given its mode");
        }
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        let open = Arc::clone(&self.open);
        Ok((file, Kept { path, open }))
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
            .filter(|e| is_recording(&e.path()) && !open.contains(&e.path()))
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

fn is_recording(path: &Path) -> bool {
    path.extension().is_some_and(|x| ENDINGS.iter().any(|ending| x == *ending))
}

/// The place of a file that is being written: it is not tidied away.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    open: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Kept {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shelf(name: &str) -> Shelf {
        let dir = std::env::temp_dir().join(format!("utterd-shelf-{}-{name}", std::process::id()));
        Shelf::new(dir, 0o640, 0, Duration::ZERO)
    }

    #[test]
    fn the_oldest_go_when_they_are_too_many_or_too_old_and_what_is_written_stays() {
        let mut shelf = shelf("tidy");
        let (now, written) = shelf.create("now.wav").unwrap();
        now.set_len(40_000).unwrap();
        for (name, age_s) in [("a.wav", 400), ("b.flac", 300), ("c.wav", 200), ("d.flac", 100), ("e.txt", 900)] {
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
        assert_eq!(names(&shelf), "a.wav b.flac c.wav d.flac e.txt now.wav", "no bound");
        shelf.keep_for = Duration::from_secs(350);
        shelf.tidy();
        assert_eq!(names(&shelf), "b.flac c.wav d.flac e.txt now.wav");
        shelf.keep_bytes = 20_000;
        shelf.tidy();
        assert_eq!(names(&shelf), "c.wav d.flac e.txt now.wav");
        drop(written);
        shelf.keep_bytes = 1;
        shelf.tidy();
        assert_eq!(names(&shelf), "e.txt", "written no more");
        fs::remove_dir_all(&shelf.dir).unwrap();
    }

    #[test]
    fn a_recording_has_the_mode_of_the_settings_whatever_the_mask_of_the_process() {
        let mut shelf = shelf("mode");
        // More than any usual mask lets through.
        shelf.mode = 0o666;
        let (file, _written) = shelf.create("a.wav").unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o666);
        fs::remove_dir_all(&shelf.dir).unwrap();
    }

    #[test]
    fn what_is_no_place_for_a_file_is_an_error_that_names_it() {
        let shelf = Shelf::new("/dev/full/recordings".into(), 0o600, 0, Duration::ZERO);
        let failure = shelf.create("a.wav").unwrap_err();
        assert!(failure.message.contains("/dev/full/recordings"), "{}", failure.message);
    }
}
