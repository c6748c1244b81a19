//! What the daemon tells about itself: log lines, metrics, the fixed events of the TX watchdog, readiness to systemd; and what the system
//! tells it by signals.
//!
//! Invariants: this room watches and takes no action (T3). Nothing here is for a real-time thread: those count in atomics, and the actor
//! carries the sums over. No call here waits for a reader of the log, of the metrics or of systemd's socket.
//!
//! Not here: deciding what a stall or a cancel means, the D-Bus interface Metrics, and the measuring itself, which each room does.

pub mod log;
pub mod metrics;
pub mod notify;
pub mod signals;
pub mod watch;

pub use metrics::Metrics;
pub use watch::Watch;
