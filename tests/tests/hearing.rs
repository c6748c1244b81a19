//! The whole loop with real detectors: a voice in the microphone's port, and the agent is silent as the ear measures it (issue: hearing).
#![allow(clippy::unwrap_used)]

use std::time::Duration;
use utterd_tests::clock::let_pass;
use utterd_tests::daemon::{PLUGINS, Plan};
use utterd_tests::jack::JackOptions;
use utterd_tests::mouth::Mouth;
use utterd_tests::opts;
use utterd_tests::world::{TONE, World};

/// A voice as an energy detector takes it: a buzz of 120 Hz, syllables of 200 ms, for two seconds.
fn voice() -> Vec<f32> {
    let sample = |n: usize| {
        let t = n as f32 / 48_000.0;
        let syllable = 0.6 + 0.4 * (t * 5.0 * std::f32::consts::TAU).sin();
        let buzz: f32 = (1..12)
            .map(|h| (t * 120.0 * h as f32 * std::f32::consts::TAU).sin() / h as f32)
            .sum();
        0.25 * syllable * buzz
    };
    (0..96_000).map(sample).collect()
}

#[test]
fn a_voice_in_the_microphone_silences_the_agent_and_cancels_what_it_said() {
    let plan = Plan {
        plugins: PLUGINS
            .iter()
            .copied()
            .chain(["utterd-detector-energy"])
            .map(str::to_owned)
            .collect(),
        ..Plan::default()
    };
    let world = World::with(JackOptions::default(), &plan);
    let options = opts! { "backend" => TONE, "barge-in" => "pause-then-confirm", "detector" => "detector-energy" };
    let session = world.client.open("one", options).unwrap();
    let mut mouth = Mouth::start(&world.jack, &voice());
    let id = session.say(&"the agent speaks on and on and nobody stops it ".repeat(6), opts! {});
    world.client.expect_started(id);
    mouth.wait_connected();
    // The detector has learnt by then that nothing of this comes back by the microphone.
    let_pass(Duration::from_secs(4));
    let onset = mouth.play();
    let barge_in = |stage: &'static str| {
        world
            .client
            .expect_event(stage, |e| e.member == "BargeIn" && e.path == session.path && e.text(0) == stage)
    };
    let suspected = barge_in("suspected");
    barge_in("confirmed");
    let finished = world.client.expect_finished(id);
    assert_eq!(finished.text(1), "cancelled");
    let report = finished.dict(2);
    assert_eq!(report.text("reason"), "barge-in");
    let heard = world.heard();
    let last = heard.last_sound(0..heard.samples.len()).unwrap();
    let paused = heard
        .silences(480)
        .into_iter()
        .find(|s| heard.us_at(s.start) > onset)
        .expect("silence after the onset");
    let silent_after_us = heard.later_us(paused.start, onset);
    println!(
        "onset to the agent's silence: {} ms; told after {} ms; last sample {} ms after the onset",
        silent_after_us / 1000,
        suspected.at_us.saturating_sub(onset) / 1000,
        heard.us_at(last).saturating_sub(onset) / 1000
    );
    assert!(silent_after_us < 1_000_000, "{silent_after_us} us");
    assert!(last <= paused.start, "once silent, it stays silent: it was cancelled");
    let metrics = world.client.metrics("one").unwrap();
    assert!(metrics["utterd_barge_in_total"] >= 1.0);
}
