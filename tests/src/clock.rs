//! CLOCK_MONOTONIC in microseconds, and waiting with a deadline.
//!
//! Not here: sleeping for a fixed time. `until` polls quickly and gives up at its deadline.

use std::time::{Duration, Instant};

/// How long a scenario waits for something that should come soon: generous, because the machine is shared and slow machines are
/// not wrong machines.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Now, in microseconds of CLOCK_MONOTONIC.
pub fn now_us() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1_000
}

/// Asks until there is an answer or the deadline has passed.
pub fn until<T>(deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// `until` for conditions; panics with what was waited for.
#[track_caller]
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    assert!(
        until(PATIENCE, || holds().then_some(())).is_some(),
        "waited {PATIENCE:?} in vain for: {what}"
    );
}

/// Lets the real time pass that a scenario is *about* (a pause of a second, a moment in mid-sentence). Never used to wait for an
/// event: those have deadlines.
pub fn let_pass(time: Duration) {
    std::thread::sleep(time);
}
