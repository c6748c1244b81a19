//! What a plugin can fail with, and how that crosses the boundary: a status code, and words in memory of the host.

use crate::abi::*;
use std::fmt;

/// The result of nearly every SDK function.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something was not done. `?` on [`Error::Cancelled`] is the normal way out of a cancelled `speak`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Not an error: the host wants no more of it.
    Cancelled,
    /// The request is wrong.
    Argument(String),
    /// There is no such voice; name it.
    NoVoice(String),
    /// This plugin cannot do that at all.
    Unsupported(String),
    /// Its configuration is wrong.
    Config(String),
    /// It failed at its own work.
    Backend(String),
    /// Not now; after so many milliseconds, 0 = unknown.
    Busy(u32, String),
    /// Credentials are missing or refused.
    Auth(String),
    /// The id is unknown or has ended.
    Stale,
}

impl Error {
    /// The status code of the ABI.
    pub fn code(&self) -> i32 {
        match self {
            Self::Cancelled => UT_CANCELLED,
            Self::Argument(_) => UT_EARG,
            Self::NoVoice(_) => UT_ENOVOICE,
            Self::Unsupported(_) => UT_EUNSUPPORTED,
            Self::Config(_) => UT_ECONFIG,
            Self::Backend(_) => UT_EBACKEND,
            Self::Busy(..) => UT_EBUSY,
            Self::Auth(_) => UT_EAUTH,
            Self::Stale => UT_ESTATE,
        }
    }

    /// Its words.
    pub fn message(&self) -> &str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Stale => "unknown or ended id",
            Self::Argument(m)
            | Self::NoVoice(m)
            | Self::Unsupported(m)
            | Self::Config(m)
            | Self::Backend(m)
            | Self::Busy(_, m)
            | Self::Auth(m) => m,
        }
    }

    fn retry_after_ms(&self) -> u32 {
        if let Self::Busy(ms, _) = self { *ms } else { 0 }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}

/// Writes `error` into the host's `UtErr` and returns its code.
///
/// # Safety
/// `out` is NULL or points to a `UtErr` whose `size` is true, lent for this call.
pub(super) unsafe fn report(error: &Error, out: *mut UtErr) -> i32 {
    // SAFETY: the caller's promise is ours.
    unsafe { fill(out, error.code(), error.retry_after_ms(), error.message()) };
    error.code()
}

/// As [`report`], from parts. A struct smaller than that of 1.0 is left alone (R3).
///
/// # Safety
/// As [`report`].
pub(super) unsafe fn fill(out: *mut UtErr, code: i32, retry_after_ms: u32, message: &str) {
    if out.is_null() || !out.is_aligned() {
        return;
    }
    // SAFETY: not NULL and aligned; `size` is the first field of every one (caller's promise).
    if unsafe { (&raw const (*out).size).read() } < UtErr::V1 {
        return;
    }
    let mut msg = [0; 496];
    let mut len = message.len().min(msg.len());
    while !message.is_char_boundary(len) {
        len -= 1;
    }
    msg[..len].copy_from_slice(&message.as_bytes()[..len]);
    // SAFETY: the struct has at least 1.0's size, so these fields exist; it is lent to us for writing. `size` is not touched.
    unsafe {
        (&raw mut (*out).code).write(code);
        (&raw mut (*out).retry_after_ms).write(retry_after_ms);
        (&raw mut (*out).len).write(len as u32);
        (&raw mut (*out).msg).write(msg);
    }
}
