//! Device churn (issue of O5, O6, O7): however often the same thing is announced or asked for, the device is touched once; and never for nobody.
#![allow(clippy::unwrap_used)]

use std::process::Stdio;
use std::time::Duration;

use utterd_tests::client::{Client, Dict, OWNER, ROOT, Result, TRANSITIONS};
use utterd_tests::clock::{until, wait_for};
use utterd_tests::daemon::Plan;
use utterd_tests::jack::{Jack, JackOptions};
use utterd_tests::opts;
use utterd_tests::world::World;

fn ask(client: &Client, transition: &str, session: &str) -> Result<String> {
    let reply = client.call(ROOT, OWNER, transition, &(session, 0u64))?;
    Ok(reply.value[0].downcast_ref::<&str>().unwrap().to_owned())
}

fn counters(client: &Client) -> Dict {
    Dict::from(&client.property(ROOT, OWNER, "Counters").unwrap())
}

/// The same request, so often, by four clients at once; how often it was applied.
fn storm(world: &World, transition: &'static str, times: usize) -> usize {
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let client = Client::connect(world.bus.address());
            std::thread::spawn(move || {
                let answers = (0..times / 4).map(|_| ask(&client, transition, "one").unwrap());
                answers.filter(|outcome| outcome == "applied").count()
            })
        })
        .collect();
    callers.into_iter().map(|c| c.join().unwrap()).sum()
}

fn disconnect(jack: &Jack, from: &str, to: &str) {
    let mut command = jack.command("jack_disconnect");
    command.args([from, to]).stdin(Stdio::null()).stdout(Stdio::null());
    assert!(command.status().unwrap().success(), "{from} and {to} were not connected");
}

#[test]
fn o6_a_hundred_announcements_of_one_closing_are_one_recovery() {
    let world = World::start();
    world.tone_session("one");
    assert_eq!(ask(&world.client, "EnterListening", "one").unwrap(), "applied");
    assert_eq!(storm(&world, "MicClosedRecovery", 100), 1);
    let told = counters(&world.client);
    let counts = ["recoveries", "capture-starts", "capture-stops", "route-asserts"].map(|c| told.number(c));
    assert_eq!(counts, [1, 1, 0, 0]);
    assert_eq!(told.number("already") + told.number("joined"), 99, "{told:?}");
    assert_eq!(world.jack.connections("utterd:in_1"), ["system:capture_1"], "and it listens");
}

#[test]
fn o7_a_turn_of_ten_utterances_starts_once_stops_once_and_repairs_once() {
    let world = World::start();
    let (client, jack) = (&world.client, &world.jack);
    let session = world.tone_session("one");
    let (from, to) = ("utterd:out_1", "system:playback_1");
    wait_for("playback is connected", || jack.connections(from).iter().any(|c| c == to));
    ask(client, "EnterListening", "one").unwrap();
    let said: Vec<u64> = (0..10).map(|_| session.say("dingdong", opts! {})).collect();
    client.expect_started(said[2]);
    disconnect(jack, from, to);
    // The daemon learns of it from the server, in its own time.
    let repaired = until(Duration::from_secs(10), || {
        (storm(&world, "PlaybackReassert", 20) == 1).then_some(())
    });
    assert!(repaired.is_some(), "nothing was repaired");
    assert_eq!(storm(&world, "PlaybackReassert", 20), 0);
    for id in said {
        assert_eq!(session.wait(id).0, "completed");
    }
    ask(client, "LeaveListening", "one").unwrap();
    wait_for("playback stops", || counters(client).number("playback-stops") == 1);
    let told = counters(client);
    let counts = [
        "capture-starts",
        "capture-stops",
        "playback-starts",
        "playback-stops",
        "route-asserts",
        "recoveries",
    ];
    assert_eq!(counts.map(|c| told.number(c)), [1, 1, 1, 1, 1, 0]);
}

#[test]
fn o5_nothing_is_ever_done_for_nobody_and_no_line_about_the_device_is_without_a_session() {
    let plan = Plan {
        log: "debug".into(),
        ..Plan::default()
    };
    let world = World::with(JackOptions::default(), &plan);
    let client = &world.client;
    let closed = world.tone_session("closed");
    closed.close(opts! {}).unwrap();
    let before = world.jack.graph();
    for transition in TRANSITIONS {
        for (session, error) in [
            ("", "InvalidSession"),
            ("no one", "InvalidSession"),
            ("nobody", "NoSuchSession"),
            ("closed", "SessionClosed"),
        ] {
            let refused = ask(client, transition, session).unwrap_err();
            assert_eq!(refused.word(), error, "{transition} {session:?}");
        }
    }
    assert_eq!(world.jack.graph(), before);
    let told = counters(client);
    assert_eq!(told.number("refused"), 16);
    let done = ["applied", "capture-starts", "capture-stops", "recoveries", "route-asserts"].map(|c| told.number(c));
    assert_eq!(done, [0; 5]);
    // And with somebody, every line says who.
    world.tone_session("one");
    for transition in TRANSITIONS {
        ask(client, transition, "one").unwrap();
    }
    let lines = world.daemon.log_lines("audio owner");
    assert!(lines.len() >= 4, "{lines:?}");
    for line in lines.iter().chain(&world.daemon.log_lines("microphone")) {
        let session = line.split_whitespace().find_map(|field| field.strip_prefix("session="));
        let refused = line.contains("asked=");
        assert!(refused || session.is_some_and(|s| !s.is_empty() && s != "\"\""), "{line}");
    }
}
