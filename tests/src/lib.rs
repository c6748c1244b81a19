//! The harness: a private world for each scenario, and the tools to judge what was heard in it.
//!
//! A world is a D-Bus daemon, a JACK server, the real `utterd` and an ear on the other side of JACK, all of them children of the
//! test and none of them shared with another one, so that scenarios run side by side. Nothing in here knows the daemon's insides:
//! the harness sees what an operator sees (D-Bus, ports, `.so` files, logs, metrics), because those are what is promised.
//!
//! Everything waits for an event with a deadline and nothing sleeps for a time. Moments are microseconds of CLOCK_MONOTONIC, the
//! clock of the daemon's own `*-us` times, and the ear maps JACK's frames to it.
//!
//! Not here: the scenarios (`tests/tests`), the long runs (`src/bin`) and the clients as users write them (`tests/clients`).
#![allow(clippy::unwrap_used)] // A harness that cannot go on says so by panicking in the test that uses it.

pub mod bench;
pub mod bins;
pub mod bus;
pub mod client;
pub mod clock;
pub mod daemon;
pub mod dialogue;
pub mod ear;
pub mod espeak;
pub mod hear;
pub mod helper;
pub mod jack;
pub mod mic;
pub mod mock;
pub mod monitor;
pub mod mouth;
pub mod plot;
pub mod process;
pub mod random;
pub mod recording;
pub mod resume;
pub mod room;
pub mod soak;
pub mod sounds;
pub mod ssip;
pub mod stats;
pub mod stream;
pub mod tempdir;
pub mod tone;
pub mod voices;
pub mod world;
