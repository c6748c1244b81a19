//! CLOCK_MONOTONIC in microseconds, or a hand-turned clock for tests that render virtual periods.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use crate::clock::now_us;

/// Where a Tx takes its time from. `[any]`
#[derive(Clone)]
pub(crate) enum Clock {
    Monotonic,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests turn it by hand"))]
    Manual(Arc<AtomicU64>),
}

impl Clock {
    pub(crate) fn now_us(&self) -> u64 {
        match self {
            Clock::Monotonic => now_us(),
            Clock::Manual(us) => us.load(Ordering::Acquire),
        }
    }
}
