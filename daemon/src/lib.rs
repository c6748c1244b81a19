//! The shell of utterd: the only place that meets the outside world (bus, audio server, plugins, clocks).
//! Decisions live in `utterd-core`, the real-time room in `utterd-rt`; ARCHITECTURE.md is the map.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod clock;
pub mod dbus;
pub mod driver;
pub mod observe;
pub mod plugins;
pub mod synth;
pub mod tx;
