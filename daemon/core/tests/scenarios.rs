//! SEMANTICS as sentences.
#![allow(clippy::unwrap_used)]
mod world;
use world::*;

#[test]
fn a_say_is_spoken_and_completes() {
    let mut w = World::new();
    w.open("a");
    let u = w.say("a", "Hello there, how are you?");
    w.rest();
    assert_eq!(w.outcome(u), "completed");
}
