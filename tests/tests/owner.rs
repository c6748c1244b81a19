//! The audio owner as an operator sees it: ports and connections that open, close, come back and are repaired (O1 to O7).
#![allow(clippy::unwrap_used)]

use std::process::Stdio;
use utterd_tests::client::{Client, Dict, OWNER, ROOT, Result, TRANSITIONS};
use utterd_tests::clock::{let_pass, until, wait_for};
use utterd_tests::jack::Jack;
use utterd_tests::opts;
use utterd_tests::world::{Quiet, World};

const ENTER: &str = "EnterListening";
const LEAVE: &str = "LeaveListening";
const RECOVER: &str = "MicClosedRecovery";
const REASSERT: &str = "PlaybackReassert";

/// Outcome and generation.
fn ask(client: &Client, transition: &str, session: &str, turn: u64) -> Result<(String, u64)> {
    let reply = client.call(ROOT, OWNER, transition, &(session, turn))?;
    let outcome = reply.value[0].downcast_ref::<&str>().unwrap().to_owned();
    Ok((outcome, reply.value[1].downcast_ref::<u64>().unwrap()))
}

#[track_caller]
fn asked(client: &Client, transition: &str, session: &str, turn: u64) -> (String, u64) {
    ask(client, transition, session, turn).unwrap_or_else(|e| panic!("{transition}: {e}"))
}

fn is(outcome: &str, generation: u64) -> (String, u64) {
    (outcome.to_owned(), generation)
}

fn counter(client: &Client, name: &str) -> u64 {
    Dict::from(&client.property(ROOT, OWNER, "Counters").unwrap()).number(name)
}

fn owner(client: &Client) -> String {
    client
        .property(ROOT, OWNER, "Owner")
        .unwrap()
        .downcast_ref::<&str>()
        .unwrap()
        .to_owned()
}

fn state(client: &Client) -> String {
    client
        .property(ROOT, OWNER, "State")
        .unwrap()
        .downcast_ref::<&str>()
        .unwrap()
        .to_owned()
}

/// What the microphone's ports are connected to.
fn microphone(jack: &Jack) -> Vec<String> {
    jack.connections("utterd:in_1")
}

fn is_open(jack: &Jack) -> bool {
    jack.ports().iter().any(|port| port == "utterd:in_1")
}

fn disconnect(jack: &Jack, from: &str, to: &str) {
    let mut command = jack.command("jack_disconnect");
    command.args([from, to]).stdin(Stdio::null()).stdout(Stdio::null());
    assert!(command.status().unwrap().success(), "{from} and {to} were not connected");
}

#[test]
fn o1_o4_entering_opens_the_microphone_twice_is_already_and_leaving_closes_it() {
    let world = World::start();
    let (client, jack) = (&world.client, &world.jack);
    let session = world.tone_session("one");
    assert!(!is_open(jack), "no microphone is opened unasked");
    assert_eq!(asked(client, ENTER, "one", 0), is("applied", 1));
    assert_eq!(
        microphone(jack),
        ["system:capture_1"],
        "it is open and connected when the answer comes"
    );
    assert_eq!((owner(client), state(client)), ("one".into(), "listening".into()));
    let changed = client.expect_event("OwnerChanged", |e| e.member == "OwnerChanged");
    assert_eq!(
        (changed.text(0), changed.text(1), changed.text(2), changed.number(3)),
        ("", "one", "enter-listening", 1)
    );
    client.expect_event("ListeningChanged", |e| {
        e.member == "ListeningChanged" && e.path == session.path && e.text(1) == "client"
    });

    let before = jack.graph();
    assert_eq!(asked(client, ENTER, "one", 0), is("already", 1));
    assert_eq!(asked(client, REASSERT, "one", 0), is("already", 1));
    assert_eq!(jack.graph(), before, "no port was touched");

    assert_eq!(asked(client, LEAVE, "one", 0), is("applied", 2));
    assert!(!is_open(jack), "it is closed when the answer comes");
    assert_eq!(asked(client, LEAVE, "one", 0), is("already", 2));
    assert_eq!((owner(client), state(client)), (String::new(), "idle".into()));
    let counts = ["applied", "already", "capture-starts", "capture-stops", "route-asserts", "refused"].map(|c| counter(client, c));
    assert_eq!(counts, [2, 3, 1, 1, 0, 0]);
}

#[test]
fn o3_stale_turns_and_a_take_over_leave_the_present_owner_alone() {
    let world = World::start();
    let (client, jack) = (&world.client, &world.jack);
    world.tone_session("one");
    world.tone_session("two");
    assert_eq!(asked(client, ENTER, "one", 3), is("applied", 1));
    let before = jack.graph();
    for transition in TRANSITIONS {
        assert_eq!(asked(client, transition, "one", 2), is("stale", 1), "{transition}");
    }
    assert_eq!(jack.graph(), before);
    assert_eq!(asked(client, ENTER, "two", 0), is("applied", 2));
    assert_eq!(owner(client), "two");
    for transition in [LEAVE, RECOVER, REASSERT] {
        assert_eq!(asked(client, transition, "one", 0), is("stale", 2), "{transition}");
    }
    assert!(is_open(jack));
    client.close_session("two", opts! {}).unwrap();
    wait_for("the microphone closes with the session that listened", || !is_open(jack));
    assert_eq!(owner(client), "");
    let told = client.expect_event("session-closed", |e| e.member == "OwnerChanged" && e.text(2) == "session-closed");
    assert_eq!((told.text(0), told.text(1)), ("two", ""));
}

#[test]
fn o2_a_burst_of_the_same_request_is_one_transition() {
    let world = World::start();
    world.tone_session("one");
    let outcomes: Vec<(String, u64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let client = world.daemon.client();
                scope.spawn(move || asked(&client, ENTER, "one", 0))
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(outcomes.iter().all(|(_, generation)| *generation == 1), "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|(o, _)| o == "applied").count(), 1, "{outcomes:?}");
    assert_eq!(counter(&world.client, "capture-starts"), 1);
}

#[test]
fn o5_no_session_no_device() {
    let quiet = Quiet::start();
    let client = &quiet.client;
    quiet.tone_session("gone");
    client.close_session("gone", opts! {}).unwrap();
    for (id, error) in [("", "InvalidSession"), ("nobody", "NoSuchSession"), ("gone", "SessionClosed")] {
        for transition in TRANSITIONS {
            assert_eq!(ask(client, transition, id, 0).unwrap_err().word(), error, "{transition} of {id:?}");
        }
    }
    assert_eq!(["refused", "applied", "capture-starts"].map(|c| counter(client, c)), [12, 0, 0]);
    assert!(quiet.daemon.log_lines("session=\"\"").is_empty() && quiet.daemon.log_lines("session= ").is_empty());
}

#[test]
fn o6_a_server_that_dies_under_a_listening_session_is_one_recovery_at_its_return() {
    let World {
        client,
        ear,
        daemon,
        mut jack,
        bus: _bus,
    } = World::start();
    let session = client.open("one", opts! {}).unwrap();
    assert_eq!(asked(&client, ENTER, "one", 0), is("applied", 1));
    drop(ear);
    jack.kill();
    client.wait_manager_text("DriverState", "reconnecting");
    let heard = |reason: &str| {
        client.expect_event(reason, |e| {
            e.member == "ListeningChanged" && e.path == session.path && e.text(1) == reason
        })
    };
    heard("device-lost");
    assert_eq!(state(&client), "listening", "the session listens; the device does not");
    assert_eq!(
        ask(&client, RECOVER, "one", 0).unwrap_err().word(),
        "Failed",
        "there is nothing to recover"
    );
    jack.launch();
    client.wait_manager_text("DriverState", "running");
    heard("device-back");
    wait_for("the microphone is connected again", || microphone(&jack) == ["system:capture_1"]);
    assert_eq!(asked(&client, RECOVER, "one", 0), is("already", 2));
    let counts = ["recoveries", "device-losses", "capture-starts", "capture-stops"].map(|c| counter(&client, c));
    assert_eq!(counts, [1, 1, 1, 0], "a loss is not churn");
    assert_eq!(asked(&client, LEAVE, "one", 0), is("applied", 3));
    assert!(!is_open(&jack));
    assert!(daemon.log_lines("session=\"\"").is_empty());
}

#[test]
fn o1_a_playback_connection_that_somebody_took_away_is_repaired_once() {
    let world = World::start();
    let (client, jack) = (&world.client, &world.jack);
    world.tone_session("one");
    let (from, to) = ("utterd:out_1", "system:playback_1");
    let is_connected = || jack.connections(from).iter().any(|c| c == to);
    wait_for("playback is connected", is_connected);
    asked(client, ENTER, "one", 0);
    disconnect(jack, from, to);
    let_pass(std::time::Duration::from_millis(1500));
    assert!(!is_connected(), "what a user took away is not made again unasked");
    assert_eq!(asked(client, REASSERT, "one", 0), is("applied", 2));
    assert!(is_connected());
    assert!(
        until(std::time::Duration::from_secs(5), || jack
            .connections(from)
            .iter()
            .any(|c| c.starts_with("ear"))
            .then_some(()))
        .is_some(),
        "what others have connected stays"
    );
    assert_eq!(asked(client, REASSERT, "one", 0), is("already", 2));
    assert_eq!(counter(client, "route-asserts"), 1);
}

#[test]
fn o7_a_turn_of_several_utterances_starts_and_stops_once() {
    let world = World::start();
    let client = &world.client;
    let session = world.tone_session("one");
    asked(client, ENTER, "one", 0);
    let [.., last] = [(); 4].map(|()| session.say("ding", opts! {}));
    client.expect_started(last);
    assert_eq!(state(client), "listening-and-speaking");
    assert_eq!(session.wait(last).0, "completed");
    asked(client, LEAVE, "one", 0);
    wait_for("playback stops two seconds after the last sample", || {
        counter(client, "playback-stops") == 1
    });
    let counts = ["capture-starts", "capture-stops", "playback-starts", "route-asserts"].map(|c| counter(client, c));
    assert_eq!(counts, [1, 1, 1, 0]);
}

#[test]
fn a_session_that_is_heard_nowhere_listens_and_never_owns() {
    let quiet = Quiet::start();
    let client = &quiet.client;
    client.open("nowhere", opts! { "output" => "null" }).unwrap();
    assert_eq!(asked(client, ENTER, "nowhere", 0), is("applied", 1));
    assert_eq!((owner(client), state(client)), (String::new(), "idle".into()));
    assert_eq!(asked(client, LEAVE, "nowhere", 0), is("applied", 2));
    quiet.tone_session("one");
    assert_eq!(
        asked(client, ENTER, "one", 0),
        is("applied", 1),
        "the timer has a source of nothing"
    );
    assert_eq!(asked(client, LEAVE, "one", 0), is("applied", 2));
    assert!(!client.events().iter().any(|e| e.member == "OwnerChanged" && e.text(1) == "nowhere"));
}
