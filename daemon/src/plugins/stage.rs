//! The private copy: what is checked, probed and mapped is a file that only we can change, named by its content, so that the same bytes are
//! never mapped twice under two names and other bytes never under the same one. A file rather than a memfd: gdb and perf want one.
//!
//! A copy is locked (`flock`, shared) by every process that has a use for it, and the kernel lets go of that when the process is gone, however
//! it ends. So a copy that can be locked alone is nobody's, and goes: [`tidy`]. One that the next start wants, too, is found. The folder itself is
//! locked while a copy is looked for, made or removed, or one process would replace or remove what another has just found.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, StatVfsMountFlags, flock};
use sha2::{Digest as _, Sha256};

use super::scan::MAX_BYTES;

/// SHA-256 of a plugin's bytes.
pub(super) type Hash = [u8; 32];

/// A private copy and what is in it.
pub(super) struct Staged {
    /// Keeps the copy: others see that it is in use. Whoever maps it never closes this.
    pub(super) lock: File,
    pub(super) path: PathBuf,
    pub(super) hash: Hash,
    pub(super) bytes: Vec<u8>,
}

/// The folder for the copies: ours alone, and not mounted noexec (as `/run` is on Debian).
pub(super) fn private_dir(wanted: Option<&Path>) -> Result<PathBuf, String> {
    let uid = rustix::process::geteuid().as_raw();
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let candidates: Vec<PathBuf> = match wanted {
        Some(dir) => vec![dir.to_path_buf()],
        None => [
            var("RUNTIME_DIRECTORY").map(|d| d.join("plugins")),
            var("XDG_RUNTIME_DIR").map(|d| d.join("utterd-plugins")),
            Some(std::env::temp_dir().join(format!("utterd-plugins-{uid}"))),
            Some(PathBuf::from(format!("/var/tmp/utterd-plugins-{uid}"))),
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    let mut refused = Vec::new();
    for dir in candidates {
        match prepare(&dir, uid) {
            Ok(()) => return Ok(dir),
            Err(why) => refused.push(format!("{}: {why}", dir.display())),
        }
    }
    Err(format!("no private folder for the copy of a plugin ({})", refused.join("; ")))
}

fn prepare(dir: &Path, uid: u32) -> Result<(), String> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e.to_string()),
        _ => {}
    }
    let meta = std::fs::symlink_metadata(dir).map_err(|e| e.to_string())?;
    if !meta.is_dir() || meta.uid() != uid || meta.mode() & 0o077 != 0 {
        return Err(format!("not a folder of uid {uid} with mode 0700"));
    }
    let mount = rustix::fs::statvfs(dir).map_err(|e| e.to_string())?;
    if mount.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        return Err("mounted noexec".into());
    }
    Ok(())
}

/// Copies an open file into `dir`.
pub(super) fn stage(file: File, dir: &Path) -> Result<Staged, String> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| format!("cannot be read: {e}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err("grew while it was read; try again when it is complete".into());
    }
    let hash: Hash = Sha256::digest(&bytes).into();
    let hex: String = hash.iter().map(|b| format!("{b:02x}")).collect();
    let path = dir.join(format!("{hex}.so"));
    let _alone = lock(dir).map_err(|e| format!("{} cannot be locked: {e}", dir.display()))?;
    if let Some(lock) = keep(&path).filter(|_| rehash(&path).is_ok_and(|there| there == hash)) {
        return Ok(Staged { lock, path, hash, bytes });
    }
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let fresh = dir.join(format!(".{hex}.{}.{serial}", std::process::id()));
    let write = || {
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o500).open(&fresh)?;
        copy.write_all(&bytes)?;
        let lock = File::open(&fresh)?;
        flock(&lock, FlockOperation::LockShared)?;
        std::fs::rename(&fresh, &path)?;
        Ok(lock)
    };
    let lock = write().map_err(|e: std::io::Error| {
        if let Err(left) = std::fs::remove_file(&fresh) {
            tracing::debug!(file = %fresh.display(), error = %left, "no half copy to remove");
        }
        format!("cannot be copied to {}: {e}", dir.display())
    })?;
    Ok(Staged { lock, path, hash, bytes })
}

/// Nobody else looks for, makes or removes a copy in the folder meanwhile.
fn lock(dir: &Path) -> std::io::Result<File> {
    let dir = File::open(dir)?;
    flock(&dir, FlockOperation::LockExclusive)?;
    Ok(dir)
}

/// Locks a copy that is there; none if it is being removed.
fn keep(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    flock(&file, FlockOperation::LockShared).ok()?;
    let (locked, there) = (file.metadata().ok()?, std::fs::metadata(path).ok()?);
    ((locked.dev(), locked.ino()) == (there.dev(), there.ino())).then_some(file)
}

/// Half a copy of this age is nobody's.
const HALF_COPY: Duration = Duration::from_secs(3_600);

/// Removes the copies that nobody has a use for.
pub(super) fn tidy(dir: &Path) {
    let (Ok(_alone), Ok(entries)) = (lock(dir), std::fs::read_dir(dir)) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_copy = name.strip_suffix(".so").is_some_and(is_hash);
        let is_half = name.strip_prefix('.').and_then(|n| n.split('.').next()).is_some_and(is_hash);
        let alone = is_copy.then(|| alone(&path)).flatten();
        if alone.is_some() || (is_half && is_old(&path)) {
            match std::fs::remove_file(&path) {
                Ok(()) => tracing::debug!(file = %path.display(), "a plugin's copy that nobody uses was removed"),
                Err(error) => tracing::debug!(file = %path.display(), %error, "a plugin's copy that nobody uses stays"),
            }
        }
    }
}

fn is_hash(name: &str) -> bool {
    name.len() == 2 * size_of::<Hash>() && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The lock of a copy that nobody else has locked: whoever wants it meanwhile waits, and then sees by its inode that it is gone.
fn alone(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(file)
}

fn is_old(path: &Path) -> bool {
    let modified = std::fs::symlink_metadata(path).and_then(|m| m.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > HALF_COPY))
}

/// The hash of what stands there now.
pub(super) fn rehash(path: &Path) -> Result<Hash, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(Sha256::digest(&bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_copy_is_named_by_its_content_and_a_spoilt_one_is_made_anew() {
        let root = std::env::temp_dir().join(format!("utterd-stage-{}", std::process::id()));
        let dir = private_dir(Some(&root)).unwrap();
        std::fs::write(dir.join("source"), "some bytes").unwrap();
        let staged = || stage(File::open(dir.join("source")).unwrap(), &dir).unwrap();
        let first = staged();
        assert_eq!(std::fs::read(&first.path).unwrap(), b"some bytes");
        std::fs::set_permissions(&first.path, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(&first.path, "other bytes").unwrap();
        assert_ne!(rehash(&first.path).unwrap(), first.hash);
        assert_eq!(staged().path, first.path);
        assert_eq!(rehash(&first.path).unwrap(), first.hash);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn copies_that_nobody_uses_go_and_the_others_stay() {
        let root = std::env::temp_dir().join(format!("utterd-tidy-{}", std::process::id()));
        let dir = private_dir(Some(&root)).unwrap();
        let staged = |bytes: &str| {
            std::fs::write(dir.join("source"), bytes).unwrap();
            stage(File::open(dir.join("source")).unwrap(), &dir).unwrap()
        };
        let (used, twice, unused) = (staged("used"), staged("used"), staged("unused").path);
        let halves = ["0", "1"].map(|n| dir.join(format!(".{}.1.{n}", "a".repeat(64))));
        for half in &halves {
            std::fs::write(half, "half").unwrap();
        }
        let long_ago = std::time::SystemTime::now() - 2 * HALF_COPY;
        File::options()
            .write(true)
            .open(&halves[0])
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        tidy(&dir);
        assert!(used.path.exists() && !unused.exists());
        assert!(!halves[0].exists() && halves[1].exists(), "somebody may be writing it");
        assert!(dir.join("source").exists(), "no copy, and none of its business");
        drop(used);
        tidy(&dir);
        assert!(twice.path.exists(), "somebody else uses it still");
        let path = twice.path.clone();
        drop(twice);
        tidy(&dir);
        assert!(!path.exists());
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_folder_that_others_may_enter_is_not_private() {
        let root = std::env::temp_dir().join(format!("utterd-open-{}", std::process::id()));
        std::fs::create_dir(&root).unwrap();
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(private_dir(Some(&root)).unwrap_err().contains("0700"));
        std::fs::remove_dir(root).unwrap();
    }
}
