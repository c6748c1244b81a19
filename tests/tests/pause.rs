//! A pause is silent within a period and 5 ms, and a resume goes on from the exact sample: overlap-adding the two ramps gives the
//! original back (DESIGN §2 "Pause").
#![allow(clippy::unwrap_used)]

use utterd_tests::clock::{now_us, wait_for};
use utterd_tests::opts;
use utterd_tests::random::Random;
use utterd_tests::tone::{self, overlap_add, silent_within};
use utterd_tests::world::{Quiet, World};

const CHARACTER: usize = 2_400;

#[test]
fn a_resumed_sentence_is_the_sentence_to_the_sample() {
    let world = World::start();
    let mut random = Random::seeded();
    let session = world.tone_session("one");
    let text = "a sentence that is paused five times on its way to the end";
    let id = session.say(text, opts! {});
    world.client.expect_started(id);
    let mut told = Vec::new();
    for _ in 0..5 {
        world.for_ms(random.between(30, 400));
        session.pause(opts! {});
        told.push(now_us());
        assert_eq!(
            (session.text("State").as_str(), session.is("Speaking")),
            ("paused", true),
            "paused is still speaking"
        );
        assert_eq!(session.number("ActiveUtterance"), id);
        world.for_ms(random.between(20, 300));
        session.resume();
    }
    let (outcome, report) = session.wait(id);
    assert_eq!(outcome, "completed");
    assert_eq!(report.number("played-us"), text.len() as u64 * 50_000, "a pause is not played time");
    let heard = world.heard();
    let runs = tone::runs(&heard);
    overlap_add(&heard, &runs, id, text.len() * CHARACTER, 5);
    silent_within(&heard, &runs, &told, world.a_period_and_5_ms());
}

#[test]
fn a_second_pause_and_a_second_resume_change_nothing() {
    let world = World::start();
    let session = world.tone_session("one");
    let text = "paused twice, resumed twice";
    let id = session.say(text, opts! {});
    world.client.expect_started(id);
    world.for_ms(200);
    session.pause(opts! {});
    world.for_ms(50);
    session.pause(opts! {});
    world.for_ms(50);
    session.resume();
    session.resume();
    assert_eq!(session.wait(id).0, "completed");
    let heard = world.heard();
    overlap_add(&heard, &tone::runs(&heard), id, text.len() * CHARACTER, 1);
}

#[test]
fn a_pause_while_idle_holds_what_comes_next() {
    let world = World::start();
    let session = world.tone_session("one");
    session.pause(opts! {});
    let id = session.say("held", opts! {});
    world.for_ms(300);
    assert_eq!(session.wait_ms(id, 1).0, "pending");
    assert_eq!(world.heard().first_sound(0..usize::MAX), None, "not a sample of it");
    session.resume();
    assert_eq!(session.wait(id).0, "completed");
    let runs = tone::runs(&world.heard());
    assert_eq!(
        runs.iter().map(|r| (r.first, r.heard.len())).collect::<Vec<_>>(),
        [(0, 4 * CHARACTER)],
        "no ramp: it had not begun"
    );
}

#[test]
fn a_cancel_of_a_paused_session_frees_it() {
    let world = World::start();
    let session = world.tone_session("one");
    let id = session.say("paused and then cancelled", opts! {});
    world.client.expect_started(id);
    world.for_ms(200);
    session.pause(opts! {});
    world.for_ms(100);
    let before = world.heard().last_sound(0..usize::MAX);
    let report = session.cancel(opts! {});
    assert_eq!(report.text("result"), "cancelled");
    let next = session.say("free", opts! {});
    assert_eq!(session.wait(next).0, "completed", "Cancel without an utterance ends the pause");
    let heard = world.heard();
    let runs = tone::runs(&heard);
    let run = runs.last().unwrap();
    assert_eq!((run.voice, run.first, run.heard.len()), (tone::voice(next), 0, 4 * CHARACTER));
    assert_eq!(
        heard.last_sound(0..run.heard.start),
        before,
        "the cut of a paused utterance sounds no more"
    );
}

#[test]
fn a_cancel_of_one_utterance_leaves_the_pause() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let id = session.say("paused and then cancelled", opts! {});
    quiet.client.expect_started(id);
    session.pause(opts! {});
    session.cancel(opts! { "utterance" => id });
    let next = session.say("waits", opts! { "rate" => 10.0 });
    assert_eq!(session.wait_ms(next, 300).0, "pending");
    session.resume();
    assert_eq!(session.wait(next).0, "completed");
}

#[test]
fn a_client_that_dies_does_not_leave_it_paused() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let id = session.say("goes on by itself", opts! { "rate" => 2.0 });
    quiet.client.expect_started(id);
    session.pause(opts! { "auto-resume-ms" => 200u32 });
    assert_eq!(session.wait(id).0, "completed");
    wait_for("the session to come to rest", || session.text("State") == "idle");
}
