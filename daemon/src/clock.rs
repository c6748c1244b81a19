//! The daemon's one clock: microseconds of CLOCK_MONOTONIC, the clock of JACK's cycle times and of every time stamp.

use rustix::time::{ClockId, clock_gettime};

/// Now. `[any]`
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}
