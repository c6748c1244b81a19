//! Looks into the plugin folders and opens what might be a plugin, without being surprised: nothing here blocks on a FIFO, follows a link to
//! where it should not, or reads a file that somebody else may write to. Loading a plugin is code execution, so owner and mode decide.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::{Identity, Rejected};

/// No plugin is larger; the copy is read into memory once.
pub(super) const MAX_BYTES: u64 = 64 << 20;
/// Files looked at in one folder; more is a mistake, not a plugin folder.
const MAX_FILES: usize = 256;

/// The candidates of one folder in the order of their names. A folder that does not exist is empty; one that cannot be read is told.
pub(super) fn candidates(dir: &Path, rejected: &mut Vec<Rejected>) -> Vec<PathBuf> {
    let mut refuse = |path: &Path, reason: String| {
        rejected.push(Rejected {
            identity: Identity::default(),
            path: path.to_path_buf(),
            reason,
        })
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(e) => {
            refuse(dir, format!("the plugin folder cannot be read: {e}"));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => found.push(entry.path()),
            Err(e) => {
                refuse(dir, format!("the plugin folder cannot be read to its end: {e}"));
                break;
            }
        }
    }
    let name = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    for folder in found.iter().filter(|p| name(p).ends_with(".utterd") && !name(p).starts_with('.')) {
        refuse(
            folder,
            "plugins of more than one file are not supported by this release; put the .so itself into the folder".into(),
        );
    }
    found.retain(|p| name(p).ends_with(".so") && !name(p).starts_with('.'));
    found.sort();
    if found.len() > MAX_FILES {
        refuse(
            dir,
            format!("{} files end in .so; only the first {MAX_FILES} are looked at", found.len()),
        );
        found.truncate(MAX_FILES);
    }
    found
}

/// Our own program's file: who can write it runs code as us already.
pub(super) fn own_program() -> Option<std::fs::Metadata> {
    std::fs::metadata("/proc/self/exe").ok()
}

/// A regular file that only root or we can have written, or whoever can write `trusted`, open for reading.
pub(super) fn open(path: &Path, trusted: Option<&std::fs::Metadata>) -> Result<File, String> {
    // Links are followed, and then it is the target that must be in order: a link says nothing of who wrote what it points to.
    let target = path.canonicalize().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound if path.is_symlink() => "a link to a file that does not exist; remove it".to_owned(),
        _ => unreadable(&e),
    })?;
    // Before the open, so that no device is opened; after it once more, on the descriptor, which nobody can swap.
    check(
        &std::fs::symlink_metadata(&target).map_err(|e| unreadable(&e))?,
        path,
        &target,
        trusted,
    )?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd: OwnedFd = rustix::fs::open(&target, flags, Mode::empty()).map_err(|e| unreadable(&e.into()))?;
    let file = File::from(fd);
    check(&file.metadata().map_err(|e| unreadable(&e))?, path, &target, trusted)?;
    Ok(file)
}

fn unreadable(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::PermissionDenied => {
            let uid = rustix::process::geteuid().as_raw();
            format!("cannot be read by uid {uid}, which the daemon runs as; chmod a+r it (and a+x its folders)")
        }
        _ => format!("cannot be opened: {e}"),
    }
}

fn check(meta: &std::fs::Metadata, path: &Path, target: &Path, trusted: Option<&std::fs::Metadata>) -> Result<(), String> {
    let kind = meta.file_type();
    let what = if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_file() {
        ""
    } else {
        "a device or something stranger"
    };
    if !what.is_empty() {
        return Err(format!("{what}, not a file"));
    }
    let which = if path == target {
        String::new()
    } else {
        format!(" (a link to {})", target.display())
    };
    let own = rustix::process::geteuid().as_raw();
    let also = trusted.filter(|t| t.uid() == meta.uid());
    if meta.uid() != 0 && meta.uid() != own && also.is_none() {
        return Err(format!(
            "owned by uid {}{which}; a plugin must belong to root or to uid {own}: chown it",
            meta.uid()
        ));
    }
    let may = also.filter(|t| t.gid() == meta.gid()).map_or(0, |t| t.mode());
    if meta.mode() & 0o022 & !may != 0 {
        return Err(format!(
            "writable by others than its owner (mode {:04o}){which}; chmod go-w it",
            meta.mode() & 0o7777
        ));
    }
    if meta.len() == 0 {
        return Err("empty".into());
    }
    if meta.len() > MAX_BYTES {
        return Err(format!(
            "{} MiB; a plugin may have {} at most: strip it",
            meta.len() >> 20,
            MAX_BYTES >> 20
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("utterd-scan-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn only_visible_files_that_end_in_so_are_candidates() {
        let dir = folder("names");
        for name in ["b.so", "a.so", ".hidden.so", "libx.so.1", "README", "c.so.tmp"] {
            std::fs::write(dir.join(name), "x").unwrap();
        }
        let mut rejected = Vec::new();
        assert_eq!(candidates(&dir, &mut rejected), [dir.join("a.so"), dir.join("b.so")]);
        assert_eq!(candidates(&dir.join("nowhere"), &mut rejected), Vec::<PathBuf>::new());
        assert_eq!(rejected, []);
        assert!(candidates(&dir.join("README"), &mut rejected).is_empty());
        assert_eq!(rejected.len(), 1, "a folder that is a file is told");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_that_others_may_write_is_refused_also_behind_a_link() {
        let dir = folder("modes");
        let file = dir.join("a.so");
        std::fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink(&file, dir.join("link.so")).unwrap();
        for (mode, fine) in [(0o644, true), (0o755, true), (0o664, false), (0o646, false)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(open(&file, None).is_ok(), fine, "{mode:o}");
            assert_eq!(open(&dir.join("link.so"), None).is_ok(), fine, "{mode:o} behind a link");
        }
        assert!(open(&file, None).unwrap_err().contains("chmod go-w"));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
