//! The shell of utterd: the only place that meets the outside world (bus, audio server, plugins, clocks).
//! Decisions live in `utterd-core`, the real-time room in `utterd-rt`; ARCHITECTURE.md is the map.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cli;
pub mod clock;
pub mod dbus;
pub mod driver;
pub mod feeds;
pub mod observe;
pub mod offline;
pub mod plugins;
pub mod run;
pub mod rx;
mod services;
pub mod session;
pub mod settings;
pub mod sounds;
pub mod synth;
pub mod tx;

/// Ends the process without running destructors of anything that is still mapped.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` has no preconditions; what should be written was flushed by the callers.
    unsafe { libc::_exit(status) }
}

/// Runs a thread that the sound cannot do without. Should it panic, the process ends with an error, and whoever watches it starts it
/// again: a daemon that answers and stays mute would be worse.
pub(crate) fn or_end(who: &str, run: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
        tracing::error!(who, "panicked: this is a bug in utterd; it ends");
        // The log has a writer of its own: it gets a moment.
        std::thread::sleep(std::time::Duration::from_millis(100));
        exit_now(1);
    }
}

/// Keeps the heap small: a daemon of many mostly idle threads needs no arena for each, and what is freed goes back to the system.
/// To be called before the first thread starts.
pub fn spare_memory() {
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 2),
        (libc::M_TRIM_THRESHOLD, 256 << 10),
        (libc::M_MMAP_THRESHOLD, 64 << 10),
    ] {
        // SAFETY: mallopt takes any parameter and value; it only tunes malloc. An unknown one is refused without effect.
        if unsafe { libc::mallopt(parameter, value) } == 0 {
            tracing::debug!(parameter, value, "malloc was not tuned");
        }
    }
}
