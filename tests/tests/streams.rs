//! Text that is spoken while it is written (SEMANTICS, "Text streams"), by a real client over a real bus.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use utterd_tests::client::{Options, Result, Session};
use utterd_tests::clock::let_pass;
use utterd_tests::opts;
use utterd_tests::tone;
use utterd_tests::world::{Quiet, World};
use zbus::zvariant::Value;

#[track_caller]
fn open(session: &Session, options: Options) -> u64 {
    let reply = session.call("SayOpen", &(options,)).unwrap_or_else(|e| panic!("SayOpen: {e}"));
    match reply.value.as_slice() {
        [Value::U64(id)] => *id,
        other => panic!("SayOpen answered {other:?}"),
    }
}

fn try_append(session: &Session, id: u64, seq: u64, text: &str) -> Result<String> {
    let reply = session.call("SayAppend", &(id, seq, text))?;
    match reply.value.as_slice() {
        [Value::Str(ack)] => Ok(ack.to_string()),
        other => panic!("SayAppend answered {other:?}"),
    }
}

#[track_caller]
fn append(session: &Session, id: u64, seq: u64, text: &str) -> String {
    try_append(session, id, seq, text).unwrap_or_else(|e| panic!("SayAppend: {e}"))
}

#[track_caller]
fn end(session: &Session, id: u64) {
    session.call("SayEnd", &(id,)).unwrap_or_else(|e| panic!("SayEnd: {e}"));
}

#[test]
fn tokens_of_a_language_model_are_heard_from_the_first_short_piece_on_and_without_a_gap() {
    let world = World::start();
    let session = world.tone_session("llm");
    let id = open(&session, opts! { "tag" => "answer" });
    let text = "That is a good question, and I think the answer is yes. It costs 3.50 at Dr. Smith's shop. Bye!";
    for (n, token) in text.split_inclusive(' ').enumerate() {
        assert_eq!(append(&session, id, n as u64 + 1, token), "accepted");
        let_pass(Duration::from_millis(30));
        if token == "yes. " {
            world.client.expect_started(id);
        }
    }
    end(&session, id);
    end(&session, id);
    assert_eq!(append(&session, id, 99, "late"), "stale");
    let (outcome, report) = session.wait(id);
    assert_eq!(
        (outcome.as_str(), report.text("heard-text"), report.text("tag")),
        ("completed", text, "answer")
    );
    assert_eq!(report.number("played-us"), text.len() as u64 * 50_000);
    assert_eq!(session.history(opts! {})[0].text("said"), text);
    let heard = world.heard();
    let runs = tone::runs(&heard);
    assert!(runs.iter().all(|r| r.voice == tone::voice(id)), "{runs:?}");
    let all = heard.last_sound(0..usize::MAX).unwrap() + 1 - heard.first_sound(0..usize::MAX).unwrap();
    assert_eq!(all, text.len() * 2_400, "the pieces follow each other without a gap");
    assert_eq!(
        world
            .client
            .metrics("llm")
            .unwrap()
            .get("utterd_tx_underrun_us_total")
            .copied()
            .unwrap_or(0.0),
        0.0
    );
}

#[test]
fn a_stream_that_waits_for_its_text_goes_on_and_is_no_underrun() {
    let world = World::start();
    let session = world.tone_session("slow");
    let id = open(&session, opts! {});
    append(&session, id, 1, "first\n");
    world.client.expect_started(id);
    world.for_ms(900);
    append(&session, id, 2, "second\n");
    world.for_ms(900);
    end(&session, id);
    let (outcome, report) = session.wait(id);
    assert_eq!((outcome.as_str(), report.text("heard-text")), ("completed", "first\nsecond\n"));
    assert_eq!(world.client.metrics("").unwrap()["utterd_tx_underrun_us_total"], 0.0);
    let runs = tone::runs(&world.heard());
    let heard: usize = runs.iter().map(|r| r.heard.len()).sum();
    assert_eq!(
        heard as u64,
        report.number("played-us") * 48 / 1000,
        "every sample, and none twice: {runs:?}"
    );
}

#[test]
fn a_cancel_in_the_middle_reports_the_words_and_the_appends_learn_of_it() {
    let world = World::start();
    let session = world.tone_session("barged");
    let id = open(&session, opts! {});
    append(&session, id, 1, "one two three four.\nfive six seven eight nine.\n");
    world.client.expect_started(id);
    world.for_ms(1_300);
    let report = session.cancel(opts! {});
    assert_eq!(report.text("result"), "cancelled");
    let heard = report.text("heard-text").to_owned();
    assert!(heard.starts_with("one two three four.\nfive"), "{heard:?}");
    assert!(!heard.contains("nine"), "{heard:?}");
    assert_eq!(append(&session, id, 2, "ten"), "cancelled");
    end(&session, id);
    assert_eq!(session.wait(id).0, "cancelled");
    assert_eq!(
        session.history(opts! {})[0].text("said"),
        "one two three four.\nfive six seven eight nine.\n"
    );
    assert!(world.client.metrics("").unwrap()["utterd_synthesis_wasted_us_total"] > 0.0);
    // The next answer is spoken.
    let next = open(&session, opts! {});
    append(&session, next, 1, "next");
    end(&session, next);
    assert_eq!(session.wait(next).0, "completed");
}

#[test]
fn appends_have_numbers_and_every_answer_says_what_became_of_them() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let id = open(&session, opts! {});
    let refused = |answer: Result<String>| answer.unwrap_err();
    assert_eq!(refused(try_append(&session, id, 0, "x")).word(), "InvalidArgs");
    assert_eq!(append(&session, id, 1, "one"), "accepted");
    assert_eq!(append(&session, id, 1, "ONE"), "duplicate");
    let gap = refused(try_append(&session, id, 5, "five"));
    assert!(gap.word() == "WrongState" && gap.message.contains('2'), "{gap}");
    let long = refused(try_append(&session, id, 2, &"x".repeat(1 << 20)));
    assert!(long.word() == "LimitExceeded" && long.message.contains("text-bytes"), "{long}");
    assert_eq!(refused(try_append(&session, 99, 1, "x")).word(), "NoSuchUtterance");
    assert_eq!(session.call("SayEnd", &(99u64,)).unwrap_err().word(), "NoSuchUtterance");
    let say = session.say("not a stream", opts! {});
    assert_eq!(refused(try_append(&session, say, 1, "x")).word(), "WrongState");
    end(&session, id);
    assert_eq!(session.wait(id).0, "completed");
    let empty = open(&session, opts! {});
    session.wait(say);
    end(&session, empty);
    assert_eq!(session.wait(empty).0, "completed");
    session.call("SayOpen", &(opts! { "no-such-key" => 1u32 },)).unwrap_err();
}

#[test]
fn a_stream_whose_client_falls_silent_ends_and_what_it_had_is_spoken() {
    let quiet = Quiet::with(&utterd_tests::daemon::Plan {
        driver: "timer",
        config: "[stream]\nidle-ms = 700\n".into(),
        ..Default::default()
    });
    let session = quiet.tone_session("gone");
    let id = open(&session, opts! {});
    append(&session, id, 1, "all there is");
    let (outcome, report) = session.wait(id);
    assert_eq!((outcome.as_str(), report.text("heard-text")), ("completed", "all there is"));
    assert_eq!(append(&session, id, 2, "x"), "stale");
}
