//! A human voice, a cough and the agent's own echo through the shipped detector, as `make demo` shows them (T5, T6; issue: hearing).
#![allow(clippy::unwrap_used)]

use std::time::Duration;
use utterd_tests::clock::let_pass;
use utterd_tests::daemon::{PLUGINS, Plan};
use utterd_tests::jack::JackOptions;
use utterd_tests::mouth::Mouth;
use utterd_tests::opts;
use utterd_tests::room::Echo;
use utterd_tests::voices::{cough, prompt};
use utterd_tests::world::World;

const ECHO: Echo = Echo {
    delay_ms: 60.0,
    erl_db: 12.0,
    tail: true,
};
const LONG: &str = "Breakfast is served from seven until ten in the large dining room on the first floor, overlooking the old lighthouse.";

fn world() -> World {
    let plugins = PLUGINS.iter().copied().chain(["utterd-detector-bargein"]);
    let plan = Plan {
        plugins: plugins.map(str::to_owned).collect(),
        ..Plan::default()
    };
    World::with(JackOptions::default(), &plan)
}

fn room(world: &World, voice: &[f32]) -> Mouth {
    Mouth::in_live_room(&world.jack, &[voice], ECHO, -70.0)
}

#[test]
fn t6_who_says_hello_into_the_first_half_second_of_a_greeting_does_not_cancel_it() {
    let world = world();
    let mut room = room(&world, &prompt("hello", 48_000, 250).unwrap());
    let session = world.espeak_session("one", opts! { "barge-in" => "pause-then-confirm" });
    let id = session.say(LONG, opts! { "greeting" => true });
    world.client.expect_started(id);
    room.play();
    let (outcome, report) = session.wait(id);
    assert_eq!((outcome.as_str(), report.text("heard-text")), ("completed", LONG));
}

#[test]
fn t5_a_human_voice_over_the_agents_echo_cancels_once_and_its_end_is_told() {
    let world = world();
    let mut room = room(&world, &prompt("one-moment-please", 48_000, 5_000).unwrap());
    let session = world.espeak_session("one", opts! { "barge-in" => "pause-then-confirm" });
    let id = session.say(LONG, opts! {});
    world.client.expect_started(id);
    let_pass(Duration::from_millis(3_000));
    room.play();
    let (outcome, report) = session.wait(id);
    assert_eq!((outcome.as_str(), report.text("reason")), ("cancelled", "barge-in"));
    assert!(LONG.starts_with(report.text("heard-text")));
    let stopped = world.client.expect_event("the user's silence", |e| e.member == "SpeechStopped");
    // 1.23 s are spoken; what a starved server stretches is the only reason for more.
    let spoken_ms = stopped.number(0) / 1_000;
    assert!((900..2_000).contains(&spoken_ms), "the user spoke for {spoken_ms} ms");
    let confirmed = session
        .events()
        .iter()
        .filter(|e| e.member == "BargeIn" && e.text(0) == "confirmed")
        .count();
    assert_eq!(confirmed, 1);
}

#[test]
fn a_cough_over_the_agents_echo_cancels_nothing() {
    let world = world();
    let mut room = room(&world, &cough(6, 48_000));
    let session = world.espeak_session("one", opts! { "barge-in" => "pause-then-confirm" });
    let id = session.say(LONG, opts! {});
    world.client.expect_started(id);
    let_pass(Duration::from_millis(2_000));
    room.play();
    let (outcome, report) = session.wait(id);
    assert_eq!((outcome.as_str(), report.text("heard-text")), ("completed", LONG));
}
