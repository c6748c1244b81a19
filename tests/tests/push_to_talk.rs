//! P6 whole: a button is held, what was recognised is collected, the button is released, and the commit alone starts the answer. The speech
//! server's log and the ear are the witnesses.
#![allow(clippy::unwrap_used)]

use utterd_tests::client::{Client, OWNER, ROOT, Session};
use utterd_tests::clock::now_us;
use utterd_tests::daemon::Plan;
use utterd_tests::jack::JackOptions;
use utterd_tests::mock::tts::{Script, TtsServer};
use utterd_tests::opts;
use utterd_tests::world::World;
use zbus::zvariant::Value;

/// Ack and utterance.
fn submit(session: &Session, phase: &str, turn: u64, seq: u64, text: &str) -> (String, u64) {
    let reply = session.call("Submit", &(phase, turn, seq, text, opts! {}));
    match reply.unwrap_or_else(|e| panic!("Submit: {e}")).value.as_slice() {
        [Value::Str(ack), Value::U64(utterance), _] => (ack.to_string(), *utterance),
        other => panic!("Submit answered {other:?}"),
    }
}

fn transition(client: &Client, which: &str, turn: u64) -> String {
    let reply = client
        .call(ROOT, OWNER, which, &("ptt", turn))
        .unwrap_or_else(|e| panic!("{which}: {e}"));
    reply.value[0].downcast_ref::<&str>().unwrap().to_owned()
}

#[test]
fn p6_hold_collect_release_commit_and_nothing_is_asked_for_or_heard_before() {
    let server = TtsServer::start(Script::default());
    let plan = Plan {
        plugins: vec!["utterd-tts-http".into()],
        config: format!(
            "[plugin.tts-http]\nurl = \"{}\"\nvoice = \"alba\"\n",
            server.url("/v1/audio/speech")
        ),
        ..Plan::default()
    };
    let world = World::with(JackOptions::default(), &plan);
    let client = &world.client;
    let session = client.open("ptt", opts! {}).unwrap();

    // Hold.
    assert_eq!(transition(client, "EnterListening", 5), "applied");
    assert!(world.jack.ports().iter().any(|port| port == "utterd:in_1"));
    for (turn, seq, text, ack) in [
        (5, 2, "is the ", "COLLECT_ACCEPTED"),
        (5, 1, "where ", "COLLECT_ACCEPTED"),
        (5, 1, "WHERE ", "COLLECT_DUPLICATE"),
        (4, 1, "an older turn", "COLLECT_STALE"),
        (5, 3, "station", "COLLECT_ACCEPTED"),
    ] {
        assert_eq!(
            submit(&session, "collect", turn, seq, text),
            (ack.into(), 0),
            "chunk {seq} of turn {turn}"
        );
    }
    // Release.
    assert_eq!(transition(client, "LeaveListening", 5), "applied");
    assert!(!world.jack.ports().iter().any(|port| port == "utterd:in_1"));
    world.for_ms(700);
    assert!(
        server.seen().is_empty(),
        "nothing is asked for before the commit: {:#?}",
        server.seen()
    );
    assert_eq!(world.heard().first_sound(0..usize::MAX), None, "nothing is heard before the commit");

    // Two clients race the commit.
    let before = now_us();
    let racers: Vec<_> = (0..2)
        .map(|_| {
            let client = Client::connect(world.bus.address());
            std::thread::spawn(move || submit(&client.open("ptt", opts! {}).unwrap(), "commit", 5, 0, "?"))
        })
        .collect();
    let mut acks: Vec<_> = racers.into_iter().map(|r| r.join().unwrap()).collect();
    acks.sort_unstable();
    let id = acks[0].1;
    assert_eq!(acks, [("COMMIT_DUPLICATE".to_owned(), id), ("COMMIT_STARTED".to_owned(), id)]);
    let (outcome, report) = session.wait(id);
    assert_eq!(
        (outcome.as_str(), report.text("heard-text")),
        ("completed", "where is the station?")
    );
    assert_eq!(report.number("turn"), 5);
    let requests = server.requests();
    assert_eq!(requests.len(), 1, "{requests:#?}");
    assert!(
        requests[0].text() == "where is the station?" && requests[0].at_us > before,
        "{requests:#?}"
    );
    let heard = world.heard();
    let first = heard.first_sound(0..usize::MAX).unwrap();
    assert!(heard.us_at(first) > before, "it was heard before it was committed");
    assert_eq!(submit(&session, "collect", 5, 4, "too late"), ("COLLECT_STALE".into(), 0));
}
