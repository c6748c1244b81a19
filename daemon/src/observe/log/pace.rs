//! Pacing of repeated lines: a few pass, the rest of the interval is swallowed, and the first line after it says how many.
//!
//! One [`Pace`] is one kind of line; declare it as a `static` beside the line, or let [`paced!`](crate::paced) do so. If no further line
//! of that kind comes, [`tell_swallowed`] tells the count; the actor calls it with its TX_METRICS.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often lines of one kind may pass.
pub struct Pace {
    name: &'static str,
    burst: u32,
    interval: Duration,
    state: Mutex<State>,
}

struct State {
    /// When the current interval began; `None` before the first line.
    since: Option<Instant>,
    passed: u32,
    swallowed: u64,
    is_listed: bool,
}

/// Those that have ever swallowed a line; bounded by the statics in the program.
static LISTED: Mutex<Vec<&'static Pace>> = Mutex::new(Vec::new());

impl Pace {
    /// `burst` lines an `interval`; `name` is what the count is reported under.
    pub const fn new(name: &'static str, burst: u32, interval: Duration) -> Pace {
        Pace {
            name,
            burst,
            interval,
            state: Mutex::new(State {
                since: None,
                passed: 0,
                swallowed: 0,
                is_listed: false,
            }),
        }
    }

    /// Whether a line may pass now, and how many were swallowed before it. `[any but rt]`
    pub fn admit(&'static self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = state
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= self.interval);
        if is_over {
            state.since = Some(now);
            state.passed = 1;
            return Some(std::mem::take(&mut state.swallowed));
        }
        if state.passed < self.burst {
            state.passed += 1;
            return Some(0);
        }
        state.swallowed += 1;
        if !std::mem::replace(&mut state.is_listed, true) {
            drop(state);
            LISTED.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        }
        None
    }

    /// What was swallowed in an interval that is over.
    fn leftover(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = state
            .since
            .is_some_and(|since| now.saturating_duration_since(since) >= self.interval);
        (is_over && state.swallowed > 0).then(|| std::mem::take(&mut state.swallowed))
    }
}

/// Tells what was swallowed and not told because no further line of that kind came. `[any but rt]`
pub fn tell_swallowed(now: Instant) {
    let listed = LISTED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for pace in listed {
        if let Some(swallowed) = pace.leftover(now) {
            tracing::info!(line = pace.name, swallowed, "LINES_SWALLOWED");
        }
    }
}

/// Logs like `tracing`'s macros, at most five lines in ten seconds from this place: `paced!(warn, "NAME", field = 1, %other)`.
/// A line that follows swallowed ones carries `swallowed=N`.
#[macro_export]
macro_rules! paced {
    ($level:ident, $name:literal $(, $($field:tt)+)?) => {{
        static PACE: $crate::observe::log::Pace = $crate::observe::log::Pace::new($name, 5, ::std::time::Duration::from_secs(10));
        match PACE.admit(::std::time::Instant::now()) {
            Some(0) => ::tracing::$level!($($($field)+,)? $name),
            Some(swallowed) => ::tracing::$level!($($($field)+,)? swallowed, $name),
            None => {}
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_few_pass_and_the_next_interval_says_how_many_did_not() {
        static PACE: Pace = Pace::new("LINE", 2, SECOND);
        let start = Instant::now();
        let admitted: Vec<_> = (0..5).map(|n| PACE.admit(start + n * SECOND / 10)).collect();
        assert_eq!(admitted, [Some(0), Some(0), None, None, None]);
        assert_eq!(PACE.admit(start + SECOND), Some(3));
        assert_eq!(PACE.admit(start + SECOND), Some(0));
        assert_eq!(PACE.admit(start + SECOND), None);
    }

    #[test]
    fn what_is_left_over_is_told_once_and_only_after_the_interval() {
        static PACE: Pace = Pace::new("LINE", 1, SECOND);
        let start = Instant::now();
        assert_eq!((PACE.admit(start), PACE.admit(start)), (Some(0), None));
        assert_eq!(PACE.leftover(start), None);
        assert_eq!(PACE.leftover(start + SECOND), Some(1));
        assert_eq!(PACE.leftover(start + SECOND), None);
        assert!(LISTED.lock().unwrap().iter().any(|listed| std::ptr::eq(*listed, &PACE)));
    }

    #[test]
    fn a_clock_that_steps_back_swallows_rather_than_panics() {
        static PACE: Pace = Pace::new("LINE", 1, SECOND);
        let start = Instant::now() + SECOND;
        assert_eq!(PACE.admit(start), Some(0));
        assert_eq!(PACE.admit(start - SECOND), None);
    }

    #[test]
    fn the_macro_takes_fields_and_none() {
        let gap_ms = 3;
        paced!(debug, "LINE");
        paced!(warn, "LINE", gap_ms, session = %"a");
    }
}
