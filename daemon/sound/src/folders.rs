//! From a path or URI to an open file below the sound folders, or a reason why not.
//!
//! The kernel keeps the fence (openat2 with RESOLVE_BENEATH): no `..` and no symlink, absolute or not, leads out of a folder, whoever changes the
//! folder meanwhile; a symlink that stays inside is followed. The folder itself is the operator's word and may be a symlink.
//! Opening does not wait (O_NONBLOCK), so a FIFO without a writer is refused like any other thing that is no file.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::SoundError;

/// The folders below which sounds may lie. `[any]`
#[derive(Clone, Debug, Default)]
pub struct Folders {
    dirs: Vec<PathBuf>,
}

/// The path that an absolute path or a `file:` URI names.
pub fn path_of(uri: &str) -> Result<PathBuf, SoundError> {
    let wrong = |reason| SoundError::Uri {
        uri: uri.chars().take(256).collect(),
        reason,
    };
    if uri.starts_with('/') {
        return Ok(uri.into());
    }
    let lower = uri.get(..5).map(str::to_ascii_lowercase);
    if lower.as_deref() != Some("file:") {
        return Err(wrong("give an absolute path or a file: URI"));
    }
    let rest = &uri[5..];
    let path = match rest.strip_prefix("//") {
        Some(with_host) => {
            let slash = with_host.find('/').ok_or_else(|| wrong("this file: URI has no path"))?;
            let (host, path) = with_host.split_at(slash);
            if !(host.is_empty() || host.eq_ignore_ascii_case("localhost")) {
                return Err(wrong("this file: URI names another host"));
            }
            path
        }
        None => rest,
    };
    if !path.starts_with('/') {
        return Err(wrong("the path of a file: URI is absolute"));
    }
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    if bytes.contains(&0) {
        return Err(wrong("a path contains no NUL"));
    }
    Ok(OsString::from_vec(bytes).into())
}

/// The `file:` URI of a path, which any bytes survive.
pub fn uri_of(path: &Path) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~');
    format!("file://{}", percent_encode(path.as_os_str().as_bytes(), KEPT))
}

impl Folders {
    pub fn new(dirs: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            dirs: dirs.into_iter().collect(),
        }
    }

    /// Opens this file for reading.
    pub fn open(&self, path: &Path) -> Result<File, SoundError> {
        let refuse = |reason: String| SoundError::NotPermitted {
            path: path.to_owned(),
            reason,
        };
        if path.components().any(|c| c == Component::ParentDir) {
            return Err(refuse("a sound's path has no \"..\"".to_owned()));
        }
        let below: Vec<_> = self
            .dirs
            .iter()
            .filter_map(|dir| Some((dir, path.strip_prefix(dir).ok()?)))
            .filter(|(_, rest)| !rest.as_os_str().is_empty())
            .collect();
        let mut last = None;
        for (dir, rest) in below {
            match beneath(dir, rest) {
                Ok(file) => return regular(file, path),
                Err(error) => last = Some(error),
            }
        }
        Err(match last {
            Some(Errno::XDEV) => refuse("a symlink leads out of the sound folders".to_owned()),
            Some(error) => not_opened(path, error),
            None => {
                let dirs: Vec<_> = self.dirs.iter().map(|d| d.display().to_string()).collect();
                refuse(format!(
                    "it does not lie below the sound folders (sounds.dirs: {})",
                    if dirs.is_empty() { "none".to_owned() } else { dirs.join(", ") }
                ))
            }
        })
    }
}

fn beneath(dir: &Path, rest: &Path) -> Result<File, Errno> {
    let folder = openat2(
        CWD,
        dir,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::empty(),
    )?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    // EAGAIN: a rename raced with the look-up, and the kernel asks for another try.
    for _ in 0..16 {
        match openat2(&folder, rest, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            opened => return Ok(opened?.into()),
        }
    }
    Err(Errno::AGAIN)
}

/// Opens a regular file anywhere, without waiting: for programs that run as their user.
pub fn open_file(path: &Path) -> Result<File, SoundError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| not_opened(path, error))?;
    regular(file.into(), path)
}

fn not_opened(path: &Path, error: Errno) -> SoundError {
    let (path, reason) = (path.to_owned(), std::io::Error::from(error).to_string());
    match error {
        Errno::ACCESS | Errno::PERM => SoundError::NotPermitted { path, reason },
        _ => SoundError::NotAFile { path, reason },
    }
}

fn regular(file: File, path: &Path) -> Result<File, SoundError> {
    let not_a_file = |reason: String| SoundError::NotAFile {
        path: path.to_owned(),
        reason,
    };
    let metadata = file.metadata().map_err(|e| not_a_file(e.to_string()))?;
    if metadata.is_dir() {
        return Err(not_a_file("it is a folder".to_owned()));
    }
    if !metadata.is_file() {
        return Err(not_a_file("it is a pipe, a socket or a device, not a file".to_owned()));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_or_a_file_uri_names_a_file() {
        for (uri, path) in [
            ("/a/b c.wav", "/a/b c.wav"),
            ("/a/100%25.wav", "/a/100%25.wav"),
            ("file:///a/b%20c.wav", "/a/b c.wav"),
            ("file:/a/%C3%A4.wav", "/a/ä.wav"),
            ("FILE://localhost/a.wav", "/a.wav"),
        ] {
            assert_eq!(path_of(uri).unwrap(), Path::new(path), "{uri}");
        }
        for uri in [
            "a.wav",
            "",
            "file:a.wav",
            "file://",
            "file://host/a.wav",
            "http://x/a.wav",
            "file:///a%00b",
            "fil\u{e9}",
        ] {
            assert!(matches!(path_of(uri), Err(SoundError::Uri { .. })), "{uri}");
        }
    }

    #[test]
    fn a_path_of_any_bytes_survives_its_uri() {
        for name in [&b"/a/b c%.wav"[..], "/\u{e4}/x.ogg".as_bytes(), b"/\xff\x01"] {
            let path = PathBuf::from(OsString::from_vec(name.to_vec()));
            assert_eq!(path_of(&uri_of(&path)).unwrap(), path);
        }
    }

    struct House {
        _dir: tempfile::TempDir,
        sounds: PathBuf,
        folders: Folders,
    }

    fn house() -> House {
        let dir = tempfile::tempdir().unwrap();
        let sounds = dir.path().join("sounds");
        std::fs::create_dir_all(sounds.join("inner")).unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        std::fs::write(sounds.join("inner/a.wav"), "x").unwrap();
        House {
            folders: Folders::new([PathBuf::from("/nonexistent"), sounds.clone()]),
            sounds,
            _dir: dir,
        }
    }

    #[test]
    fn what_lies_below_is_opened_by_way_of_inner_symlinks_too() {
        let h = house();
        symlink("inner/a.wav", h.sounds.join("link.wav")).unwrap();
        for name in ["inner/a.wav", "link.wav", "./inner//a.wav"] {
            h.folders.open(&h.sounds.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }

    #[test]
    fn nothing_leads_out_of_the_folders() {
        let h = house();
        symlink("../secret", h.sounds.join("relative")).unwrap();
        symlink(h.sounds.join("../secret"), h.sounds.join("absolute")).unwrap();
        symlink("..", h.sounds.join("up")).unwrap();
        for name in ["../secret", "inner/../../secret", "relative", "absolute", "up/secret"] {
            let error = h.folders.open(&h.sounds.join(name)).unwrap_err();
            assert!(matches!(error, SoundError::NotPermitted { .. }), "{name}: {error}");
        }
        let elsewhere = h.folders.open(Path::new("/etc/passwd")).unwrap_err();
        assert!(elsewhere.to_string().contains("sounds.dirs"), "{elsewhere}");
        assert!(h.folders.open(&h.sounds).is_err());
        let beside = PathBuf::from(format!("{}x/a", h.sounds.display()));
        assert!(
            matches!(h.folders.open(&beside), Err(SoundError::NotPermitted { .. })),
            "a name is not a folder"
        );
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let h = house();
        let fifo = h.sounds.join("fifo");
        rustix::fs::mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
        for name in ["fifo", "inner", "missing.wav"] {
            let error = h.folders.open(&h.sounds.join(name)).unwrap_err();
            assert!(matches!(error, SoundError::NotAFile { .. }), "{name}: {error}");
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(open_file(&fifo).is_err());
        assert!(open_file(Path::new("/dev/zero")).is_err());
    }
}
