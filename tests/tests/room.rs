//! The room of the harness, through the whole daemon: what its microphone hears is the voices and its own echo, each at its sample.
#![allow(clippy::unwrap_used)]

use std::time::Duration;
use utterd_tests::client::{OWNER, ROOT};
use utterd_tests::clock::{let_pass, now_us};
use utterd_tests::daemon::Plan;
use utterd_tests::ear::Ear;
use utterd_tests::jack::JackOptions;
use utterd_tests::mouth::Mouth;
use utterd_tests::opts;
use utterd_tests::recording::Recording;
use utterd_tests::room::Echo;
use utterd_tests::stream::Stream;
use utterd_tests::world::World;

/// 40 ms and 12 dB.
const ECHO: Echo = Echo {
    delay_ms: 40.0,
    erl_db: 12.0,
    tail: false,
};

#[test]
fn the_microphone_hears_voices_together_and_what_the_agent_plays_at_the_echos_delay_to_the_sample() {
    for period in [256, 1_024] {
        // Only what an xrun disturbed is listened to again: whatever is wrong without one fails at once.
        let mut said = Vec::new();
        let undisturbed = (0..8).any(|_| {
            let (xruns, wrong) = voices_and_echo(period);
            assert!(xruns > 0 || wrong.is_empty(), "at periods of {period}, without an xrun: {wrong:?}");
            said = wrong;
            said.is_empty()
        });
        assert!(undisturbed, "at periods of {period}, an xrun in every run: {said:?}");
    }
}

/// Two voices and an utterance in a room: the xruns that the ears were told of meanwhile, and what is not as it should be.
fn voices_and_echo(period: u32) -> (usize, Vec<String>) {
    let world = World::with(JackOptions { rate: 48_000, period }, &Plan::default());
    let session = world.tone_session("one");
    let voices: [&[f32]; 2] = [&[0.5; 9_600], &[0.25; 9_600]];
    let mut room = Mouth::in_room(&world.jack, &voices, ECHO);
    let mut microphone = Ear::spawn(&world.jack, "mouth:out_1", "microphone");
    microphone.wait_ready();
    microphone.wait_connected();
    // From before the streams begin: their starts are times, and an xrun moves JACK's frames against time.
    let told = |microphone: &Ear| world.ear.xruns() + microphone.xruns();
    let before = told(&microphone);
    let stream = |direction| {
        let stream = Stream::acquire(&session, direction, opts! { "encoding" => "f32le" }).unwrap();
        stream.listen()
    };
    let (near, far) = (stream("rx-raw"), stream("tx"));
    let listening = (session.id.as_str(), 0_u64);
    world.client.call(ROOT, OWNER, "EnterListening", &listening).unwrap();
    room.wait_connected();
    let one = room.play_voice(0);
    let_pass(Duration::from_millis(50));
    let two = room.play_voice(1);
    room.wait_played();
    let apart = (two.frame - one.frame) as usize;
    assert!(apart < 9_600, "the machine stood still: no overlap to look at");
    let mut wrong = Vec::new();
    let mut holds = |holds: bool, what: String| wrong.extend((!holds).then_some(what));
    let id = session.say("tick tock", opts! {});
    world.client.expect_finished(id);
    let end = now_us() + 200_000;
    let (played, heard) = (far.until_us(end), Recording::from_samples(48_000, near.until_us(end)));

    let xruns = told(&microphone) - before;

    // The voices, each from its own frame on.
    let sounds = heard.sounds(480);
    if sounds.len() != 2 {
        return (xruns, vec![format!("voices, then the echo: {sounds:?}")]);
    }
    let (voices, echo) = (&heard.samples[sounds[0].clone()], sounds[1].clone());
    let expected: Vec<f32> = (0..apart + 9_600)
        .map(|n| if n < 9_600 { 0.5 } else { 0.0 } + if n >= apart { 0.25 } else { 0.0 })
        .collect();
    holds(voices == expected, "the voices are other sounds".into());

    // Each sample of the echo is the play, 12 dB softer.
    let first = played.iter().position(|s| *s != 0.0).unwrap();
    let gain = ECHO.taps(48_000)[0].1;
    let softer: Vec<f32> = played[first..].iter().take(echo.len()).map(|s| gain * s).collect();
    holds(heard.samples[echo.clone()] == softer, "the echo is another sound".into());

    // The daemon's clocks have it 40 ms later; JACK's frames say so to the sample, and which side of the room's loop the period is on.
    let us = |start_us: u64, n: usize| start_us + n as u64 * 1_000_000 / 48_000;
    let late_us = us(near.start_us, echo.start) as i64 - us(far.start_us, first) as i64;
    holds(late_us.abs_diff(40_000) < 1_000, format!("the echo is {late_us} us late"));
    let (agent, room) = (world.heard(), microphone.heard());
    let begins = |of: &Recording, sound: usize| of.frame_at(of.sounds(480)[sound].start);
    if room.sounds(480).len() < 2 || agent.sounds(480).is_empty() {
        return (xruns, vec!["the ears missed a sound".into()]);
    }
    let late = begins(&room, 1) as i64 - begins(&agent, 0) as i64;
    holds(
        [1_920, 1_920 - i64::from(period)].contains(&late),
        format!("the echo is {late} frames late"),
    );
    holds(begins(&room, 0) == one.frame, "the first voice is heard at another frame".into());
    (xruns, wrong)
}
