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

impl SoundError {
    /// What is wrong, for those who name the file themselves.
    pub fn reason(&self) -> String {
        match self {
            Self::Uri { reason, .. } => (*reason).to_owned(),
            Self::NotAFile { reason, .. } | Self::NotPermitted { reason, .. } | Self::Format { reason, .. } => reason.clone(),
            Self::Broken { at_us, reason, .. } => format!("{reason} at {:.3} s", *at_us as f64 / 1e6),
        }
    }
}

impl fmt::Display for SoundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri { uri, reason } => write!(f, "{uri:?}: {reason}"),
            Self::NotAFile { path, .. } | Self::NotPermitted { path, .. } | Self::Broken { path, .. } => {
                write!(f, "{}: {}", path.display(), self.reason())
            }
            Self::Format { path, reason } => {
                write!(f, "{}: {reason}; WAV, FLAC and Ogg Vorbis can be played", path.display())
            }
        }
    }
}

impl std::error::Error for SoundError {}
