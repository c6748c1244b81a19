//! A microphone that comes and goes as another client's port, and one that hears the agent (issue: hearing).
#![allow(clippy::unwrap_used)]

use std::time::Duration;
use utterd_tests::bus::Bus;
use utterd_tests::client::{Client, Dict, OWNER, ROOT};
use utterd_tests::clock::{let_pass, now_us, wait_for};
use utterd_tests::daemon::{Daemon, PLUGINS, Plan};
use utterd_tests::jack::{Jack, JackOptions};
use utterd_tests::mic::{Mic, PORT};
use utterd_tests::mouth::Mouth;
use utterd_tests::opts;
use utterd_tests::room::Echo;
use utterd_tests::stream::Stream;
use utterd_tests::world::{ESPEAK, World};

fn counters(client: &Client) -> [u64; 4] {
    let counters = Dict::from(&client.property(ROOT, OWNER, "Counters").unwrap());
    ["device-losses", "recoveries", "capture-starts", "capture-stops"].map(|c| counters.number(c))
}

fn transition(client: &Client, member: &str) -> String {
    let reply = client.call(ROOT, OWNER, member, &("one", 0_u64)).unwrap();
    reply.value[0].downcast_ref::<&str>().unwrap().to_owned()
}

#[test]
fn o6_a_microphone_whose_owner_dies_is_one_closing_and_its_return_one_recovery() {
    dies_and_returns(Jack::asynchronous);
}

#[test]
fn o6_a_microphone_that_dies_and_holds_the_server_up_with_it_comes_back_all_the_same() {
    // A synchronous server waits for the dead client, for seconds.
    dies_and_returns(|_| ());
}

fn dies_and_returns(kind: fn(&mut Jack)) {
    let bus = Bus::start();
    let mut jack = Jack::absent(JackOptions::default());
    jack.without_capture();
    kind(&mut jack);
    jack.launch();
    let mic = Mic::plug_in(&jack);
    let daemon = Daemon::start(&bus, Some(&jack), &Plan::default());
    let client = daemon.client();
    client.wait_manager_text("DriverState", "running");
    let session = client.open("one", opts! { "backend" => "tts-tone" }).unwrap();
    let raw = Stream::acquire(&session, "rx-raw", opts! { "encoding" => "f32le" })
        .unwrap()
        .listen();
    assert_eq!(transition(&client, "EnterListening"), "applied");
    assert_eq!(jack.connections("utterd:in_1"), [PORT]);
    wait_for("its sound", || raw.samples().contains(&0.25));
    let listening = |reason: &str| {
        client.expect_event(reason, |e| {
            e.member == "ListeningChanged" && e.path == session.path && e.text(1) == reason
        })
    };

    mic.pull_out();
    listening("device-lost");
    let gone = now_us();
    let refused = client.call(ROOT, OWNER, "MicClosedRecovery", &("one", 0_u64)).unwrap_err();
    assert_eq!(refused.word(), "Failed", "there is nothing to capture from: {refused}");
    wait_for("its port is closed", || !jack.ports().iter().any(|p| p == "utterd:in_1"));
    let id = session.say("the agent speaks on", opts! {});
    assert_eq!(session.wait(id).0, "completed");
    raw.until_us(gone + 300_000);
    assert!(
        raw.samples()[raw.at_us(gone + 100_000)..].iter().all(|s| *s == 0.0),
        "silence, and time goes on"
    );
    assert_eq!(counters(&client)[..2], [1, 0]);

    let mic = Mic::plug_in(&jack);
    listening("device-back");
    wait_for("it is connected again", || jack.connections("utterd:in_1") == [PORT]);
    let back = now_us();
    raw.until_us(back + 200_000);
    assert!(raw.samples()[raw.at_us(back)..].contains(&0.25));
    // The keeper looks once a second, and whenever the graph changes: no further event makes it a further recovery.
    let_pass(Duration::from_millis(1_500));
    assert_eq!(transition(&client, "MicClosedRecovery"), "already");
    assert_eq!(counters(&client), [1, 1, 1, 0], "a loss is not churn");

    mic.pull_out();
    wait_for("the second closing", || counters(&client)[0] == 2);
    let _mic = Mic::plug_in(&jack);
    wait_for("its own recovery", || counters(&client)[1] == 2);
}

#[test]
fn what_the_detector_cleans_reaches_rx_without_the_echo_that_rx_raw_has() {
    let plan = Plan {
        plugins: PLUGINS
            .iter()
            .copied()
            .chain(["utterd-detector-bargein"])
            .map(str::to_owned)
            .collect(),
        ..Plan::default()
    };
    let world = World::with(JackOptions::default(), &plan);
    let options = opts! { "backend" => ESPEAK, "barge-in" => "report-only", "detector" => "detector-bargein" };
    let session = world.client.open("one", options).unwrap();
    let echo = Echo {
        delay_ms: 60.0,
        erl_db: 6.0,
        tail: true,
    };
    let user: Vec<f32> = (0..48_000)
        .map(|n| 0.2 * (n as f32 * 0.04).sin() * (n as f32 * 0.0004).sin())
        .collect();
    let mut room = Mouth::in_room(&world.jack, &[&user], echo);
    let stream = |direction| {
        let stream = Stream::acquire(&session, direction, opts! { "encoding" => "f32le" }).unwrap();
        stream.listen()
    };
    let (rx, raw) = (stream("rx"), stream("rx-raw"));
    assert_eq!(transition(&world.client, "EnterListening"), "applied");
    room.wait_connected();
    let text = "The canceller learns from the first words, and what comes back by the microphone after that is taken out. ".repeat(2);
    let id = session.say(&text, opts! {});
    let started = world.client.expect_started(id).at_us;
    let finished = world.client.expect_finished(id).at_us;
    // By now it has learnt: what is left of the echo, against what there was.
    let from = started + (finished - started) / 2;
    let level = |s: &utterd_tests::stream::Listener, from: u64, to: u64| {
        s.until_us(to);
        let samples = &s.samples()[s.at_us(from)..s.at_us(to)];
        10.0 * (samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64 + 1e-12).log10()
    };
    let (clean, echoed) = (level(&rx, from, finished - 100_000), level(&raw, from, finished - 100_000));
    println!("echo {echoed:.1} dBFS in rx-raw, {clean:.1} in rx");
    assert!(echoed > -50.0, "there is an echo: {echoed:.1} dBFS");
    assert!(clean < echoed - 10.0, "{clean:.1} dBFS is left of {echoed:.1}");
    let_pass(Duration::from_millis(500));
    let spoke = room.play_voice(0).us;
    let (clean, said) = (level(&rx, spoke, spoke + 1_000_000), level(&raw, spoke, spoke + 1_000_000));
    println!("the user {said:.1} dBFS in rx-raw, {clean:.1} in rx");
    assert!((clean - said).abs() < 6.0, "the user stays: {clean:.1} dBFS of {said:.1}");
}
