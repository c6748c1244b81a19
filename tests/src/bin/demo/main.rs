//! The demo: a whole world on its own bus and its own JACK server, shown in two acts and judged by an ear.
//!
//! The first act drives the daemon through `utterctl` as a person would (`verbs`); the second is a conversation with a human voice (`talk`, told
//! and drawn by `show`). Each prints its steps as they happen and ends with a table, a WAV file and a picture.
//! `make demo` runs it after the build; everything it writes is below `target/demo`.
#![allow(clippy::unwrap_used)] // A demo that cannot go on says so by panicking.

mod show;
mod stage;
mod talk;
mod verbs;

fn main() {
    let stage = stage::Stage::set();
    verbs::play(&stage);
    talk::play(&stage);
}
