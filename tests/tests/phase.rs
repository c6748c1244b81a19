//! Nothing starts before the commit (P1–P6; SEMANTICS, "Submit"), by real clients over a real bus.
#![allow(clippy::unwrap_used)]

use utterd_tests::client::{Client, Options, Result, Session};
use utterd_tests::opts;
use utterd_tests::tone;
use utterd_tests::world::{Quiet, TONE, World};
use zbus::zvariant::Value;

/// Ack, utterance, bytes held.
type Ack = (String, u64, u32);

fn try_submit(session: &Session, phase: &str, turn: u64, seq: u64, text: &str, options: Options) -> Result<Ack> {
    let reply = session.call("Submit", &(phase, turn, seq, text, options))?;
    match reply.value.as_slice() {
        [Value::Str(ack), Value::U64(utterance), Value::U32(buffered)] => Ok((ack.to_string(), *utterance, *buffered)),
        other => panic!("Submit answered {other:?}"),
    }
}

#[track_caller]
fn submit(session: &Session, phase: &str, turn: u64, seq: u64, text: &str) -> Ack {
    try_submit(session, phase, turn, seq, text, opts! {}).unwrap_or_else(|e| panic!("Submit: {e}"))
}

fn ack(word: &str, buffered: u32) -> Ack {
    (word.to_owned(), 0, buffered)
}

#[test]
fn p6_collected_out_of_order_and_committed_it_is_heard_once_and_nothing_before() {
    let world = World::start();
    let session = world.tone_session("ptt");
    assert_eq!(submit(&session, "collect", 1, 1, "hello "), ack("COLLECT_ACCEPTED", 6));
    assert_eq!(submit(&session, "collect", 1, 3, "world"), ack("COLLECT_ACCEPTED", 11));
    assert_eq!(submit(&session, "collect", 1, 1, "HELLO "), ack("COLLECT_DUPLICATE", 11));
    assert_eq!(submit(&session, "collect", 1, 2, "little "), ack("COLLECT_ACCEPTED", 18));
    assert_eq!(
        (
            session.number("CollectedBytes"),
            session.text("State").as_str(),
            session.is("Speaking")
        ),
        (18, "collecting", false)
    );
    world.for_ms(500);
    let before = world.heard();
    assert_eq!(before.first_sound(0..usize::MAX), None, "silent until COMMIT_STARTED");
    assert_eq!(
        world
            .client
            .metrics("ptt")
            .unwrap()
            .get("utterd_utterance_total")
            .copied()
            .unwrap_or(0.0),
        0.0
    );

    let reply = session.call("Submit", &("commit", 1u64, 0u64, "", opts! { "tag" => "t" })).unwrap();
    let [Value::Str(word), Value::U64(id), Value::U32(0)] = reply.value.as_slice() else {
        panic!("{reply:?}")
    };
    assert_eq!(word.as_str(), "COMMIT_STARTED");
    let (outcome, report) = session.wait(*id);
    assert_eq!(
        (outcome.as_str(), report.text("heard-text"), report.text("tag")),
        ("completed", "hello little world", "t")
    );
    world.client.expect_finished(*id);
    let told: Vec<_> = session.events().into_iter().filter(|e| e.interface.ends_with(".Session")).collect();
    assert!(
        told.iter().all(|e| e.position > reply.position),
        "the reply precedes every signal of its id"
    );
    assert_eq!((session.number("CollectedBytes"), session.text("State").as_str()), (0, "idle"));
    let runs = tone::runs(&world.heard());
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!((runs[0].voice, runs[0].heard.len()), (tone::voice(*id), 18 * 2_400));

    assert_eq!(submit(&session, "collect", 1, 4, "late"), ack("COLLECT_STALE", 0));
    assert_eq!(submit(&session, "commit", 1, 0, "").0, "COMMIT_DUPLICATE");
}

#[test]
fn p3_of_many_clients_that_race_one_commit_starts() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("race");
    for turn in 1..=20u64 {
        submit(&session, "collect", turn, 1, "x");
        let racers: Vec<_> = (0..4)
            .map(|_| {
                let client = Client::connect(quiet.bus.address());
                std::thread::spawn(move || {
                    let session = client.open("race", opts! {}).unwrap();
                    submit(&session, "commit", turn, 0, "")
                })
            })
            .collect();
        let acks: Vec<Ack> = racers.into_iter().map(|r| r.join().unwrap()).collect();
        let started = acks.iter().filter(|a| a.0 == "COMMIT_STARTED").count();
        let repeated = acks.iter().filter(|a| a.0 == "COMMIT_DUPLICATE").count();
        assert_eq!((started, repeated), (1, 3), "{acks:?}");
        assert!(acks.iter().all(|a| a.1 == acks[0].1), "all name the same one: {acks:?}");
    }
    session.wait(0);
    assert_eq!(session.history(opts! {}).len(), 20);
}

#[test]
fn p4_an_old_client_without_phases_is_heard_sentence_by_sentence() {
    let quiet = Quiet::start();
    let session = quiet
        .client
        .open("old", opts! { "backend" => TONE, "voice" => "tone", "rate" => 10.0 })
        .unwrap();
    let texts = ["One sentence.", "And another.", "A third."];
    for text in texts {
        let (word, id, _) = submit(&session, "", 0, 0, text);
        assert_eq!(word, "COMMIT_STARTED");
        assert_ne!(id, 0);
    }
    session.wait(0);
    let said: Vec<_> = session
        .history(opts! {})
        .iter()
        .map(|e| (e.text("said").to_owned(), e.text("outcome").to_owned()))
        .collect();
    assert_eq!(said, texts.map(|t| (t.to_owned(), "completed".to_owned())));
}

#[test]
fn p5_abandoned_buffers_expire_are_bounded_and_are_counted() {
    let quiet = Quiet::with(&utterd_tests::daemon::Plan {
        driver: "timer",
        config: "[collect]\nttl-ms = 300\nmax-bytes = 1024\nmax-chunks = 3\n".into(),
        ..Default::default()
    });
    let session = quiet.tone_session("one");
    let metric = |name: &str| quiet.client.metrics("").unwrap()[name];
    for turn in 1..=4 {
        submit(&session, "collect", turn, 1, "0123456789");
    }
    let refused = try_submit(&session, "collect", 5, 1, "x", opts! {}).unwrap_err();
    assert_eq!(refused.word(), "LimitExceeded", "{refused}");
    let refused = try_submit(&session, "collect", 4, 2, &"x".repeat(1015), opts! {}).unwrap_err();
    assert!(
        refused.word() == "LimitExceeded" && refused.message.contains("max-bytes"),
        "{refused}"
    );
    assert_eq!(session.number("CollectedBytes"), 40);
    utterd_tests::clock::wait_for("the buffers to be counted", || {
        (metric("utterd_collect_buffers"), metric("utterd_collect_bytes")) == (4.0, 40.0)
    });
    utterd_tests::clock::wait_for("the buffers to expire", || session.number("CollectedBytes") == 0);
    utterd_tests::clock::wait_for("the expiry to be counted", || metric("utterd_collect_expired_total") == 4.0);
    assert_eq!((metric("utterd_collect_buffers"), metric("utterd_collect_bytes")), (0.0, 0.0));
    assert_eq!(submit(&session, "commit", 2, 0, ""), ack("COMMIT_STALE", 0));
    submit(&session, "commit", 7, 3, "with a gap");
    // Counted by the actor after its answer.
    utterd_tests::clock::wait_for("the gap to be counted", || metric("utterd_collect_gap_total") == 1.0);
}

#[test]
fn submits_that_make_no_sense_are_refused_by_name() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let word = |answer: Result<Ack>| answer.unwrap_err().word().to_owned();
    assert_eq!(word(try_submit(&session, "later", 1, 1, "x", opts! {})), "InvalidArgs");
    assert_eq!(word(try_submit(&session, "collect", 1, 0, "x", opts! {})), "InvalidArgs");
    assert_eq!(word(try_submit(&session, "commit", 1 << 40, 1, "x", opts! {})), "InvalidArgs");
    assert_eq!(
        word(try_submit(&session, "commit", 1, 1, "x", opts! { "no-such-key" => 1u32 })),
        "InvalidArgs"
    );
    assert_eq!(
        word(try_submit(&session, "commit", 1, 1, "x", opts! { "backend" => "gramophone" })),
        "NoSuchBackend"
    );
    assert_eq!(submit(&session, "collect", 1, u64::MAX, "x"), ack("COLLECT_ACCEPTED", 1));
    assert_eq!(submit(&session, "commit", 2, 1, ""), ack("COMMIT_EMPTY", 0));
    assert_eq!(session.number("Turn"), 1);
}
