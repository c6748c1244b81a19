//! What can be wrong with a sound; variants differ by what the reader can do, and each names the file.

use std::fmt;
use std::path::PathBuf;

/// Why there is no sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SoundError {
    /// The URI itself: mend it.
    Uri { uri: String, reason: &'static str },
    /// It is not there, or no file.
    NotAFile { path: PathBuf, reason: String },
    /// It lies outside the folders, or may not be read.
    NotPermitted { path: PathBuf, reason: String },
    /// Nothing here can decode it: convert it.
    Format { path: PathBuf, reason: String },
    /// It ended before its header says, or is broken from there on.
    Broken { path: PathBuf, at_us: u64, reason: String },
}

impl fmt::Display for SoundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri { uri, reason } => write!(f, "{uri:?}: {reason}"),
            Self::NotAFile { path, reason } | Self::NotPermitted { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Format { path, reason } => {
                write!(f, "{}: {reason}; WAV, FLAC and Ogg Vorbis can be played", path.display())
            }
            Self::Broken { path, at_us, reason } => {
                write!(f, "{}: {reason} at {:.3} s", path.display(), *at_us as f64 / 1e6)
            }
        }
    }
}

impl std::error::Error for SoundError {}
