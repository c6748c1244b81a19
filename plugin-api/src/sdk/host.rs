//! What the host does for a plugin: its log, its clock, its folders, its secrets.

use crate::abi::*;
use std::path::PathBuf;

/// Services of the host. Cheap to copy; valid for as long as the instance that got it.
#[derive(Clone, Copy)]
pub struct Host(UtHost);

// SAFETY: the tables' functions are tagged [any] or serialised by R10, and R5 keeps the struct's context readable while the process lives.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

/// A folder that the host gives a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dir {
    /// Survives restarts.
    State = 1,
    /// May be emptied at any time.
    Cache = 2,
    /// Models and voices.
    Models = 3,
    /// Where the plugin's file was found.
    Plugin = 4,
}

impl Host {
    /// # Safety
    /// `host` is NULL or a `UtHost` as R3 and R5 describe it.
    pub(super) unsafe fn read(host: *const UtHost) -> Option<Self> {
        // SAFETY: the caller's promise is ours.
        unsafe { read_sized(host) }.map(Self)
    }

    /// One line to the host's log. Level 1 error … 5 trace; ids 0 = none. `[any]`
    pub fn log(&self, level: u32, session: u64, utterance: u64, target: &str, message: &str) {
        if let Some(log) = self.0.log {
            // SAFETY: both strings live through the call, which is all a log call needs (R5).
            unsafe { log(self.0.ctx, level, session, utterance, UtStr::new(target), UtStr::new(message)) }
        }
    }

    /// Something must be done by someone. `[any]`
    pub fn error(&self, message: &str) {
        self.log(1, 0, 0, "", message);
    }

    /// A promise was missed. `[any]`
    pub fn warn(&self, message: &str) {
        self.log(2, 0, 0, "", message);
    }

    /// The story of the plugin, in few lines. `[any]`
    pub fn info(&self, message: &str) {
        self.log(3, 0, 0, "", message);
    }

    /// Every decision. `[any]`
    pub fn debug(&self, message: &str) {
        self.log(4, 0, 0, "", message);
    }

    /// CLOCK_MONOTONIC, the clock of every time stamp; 0 if the host has none. `[any]`
    pub fn now_ns(&self) -> u64 {
        // SAFETY: no arguments but the host's own context.
        self.0.now_ns.map_or(0, |now| unsafe { now(self.0.ctx) })
    }

    /// How the plugin fares: 0 ok, 1 degraded, 2 failed. `[any]`
    pub fn health(&self, state: u32, code: i32, message: &str) {
        if let Some(health) = self.0.health {
            // SAFETY: the string lives through the call.
            unsafe { health(self.0.ctx, state, code, UtStr::new(message)) }
        }
    }

    /// A credential of that name, never from the config. `[setup]`
    pub fn secret(&self, name: &str) -> Option<Vec<u8>> {
        let secret = self.0.secret?;
        let mut buf = vec![0; 16 * 1024];
        // SAFETY: the name and `buf.len()` writable bytes are lent for the call.
        let n = unsafe { secret(self.0.ctx, UtStr::new(name), buf.as_mut_ptr(), buf.len() as u32) };
        buf.truncate(usize::try_from(n).ok()?);
        Some(buf)
    }

    /// A folder, if the host has such a one. `[setup]`
    pub fn dir(&self, which: Dir) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStringExt as _;
        let dir = self.0.dir?;
        let mut buf = vec![0; 4096];
        // SAFETY: `buf.len()` writable bytes are lent for the call.
        let n = unsafe { dir(self.0.ctx, which as u32, buf.as_mut_ptr(), buf.len() as u32) };
        buf.truncate(usize::try_from(n).ok()?);
        Some(std::ffi::OsString::from_vec(buf).into())
    }

    /// The answer of a server to a cancel: `UT_OK`, `UT_EBACKEND` or `UT_TIMEOUT`. `[any but rt]`
    pub fn cancel_ack(&self, synthesis: u64, status: i32) {
        if let Some(ack) = self.0.cancel_ack {
            // SAFETY: numbers only.
            unsafe { ack(self.0.ctx, synthesis, status) }
        }
    }
}
