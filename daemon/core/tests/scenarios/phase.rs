//! The phase router: P1–P5, and what its bounds and its end do.

use super::*;
use utterd_core::{Note, Phase, Settings};

fn is_work(e: &Effect) -> bool {
    matches!(e, Effect::Synthesize(_) | Effect::Play { .. } | Effect::OpenTrack { .. })
}

fn said(w: &mut World, session: &str) -> Vec<String> {
    let target = target(session);
    let token = w.ask(
        1,
        Request::History {
            target,
            after: 0,
            limit: 100,
        },
    );
    match w.reply(token) {
        Ok(Reply::History(entries)) => entries.into_iter().map(|e| e.said).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn p1_a_collect_only_buffers_and_says_so() {
    let mut w = world();
    assert_eq!(w.collect("a", 1, 1, "Hello "), ("COLLECT_ACCEPTED", 6));
    assert_eq!(w.collect("a", 1, 2, "you."), ("COLLECT_ACCEPTED", 10));
    w.run(10 * S);
    assert_eq!(count(&w, is_work), 0);
    let a = w.state("a");
    assert_eq!((a.state, a.speaking, a.turn, a.queue_length), ("collecting", false, 1, 0));
    let (ack, id) = w.commit("a", 1, 0, "");
    assert_eq!(ack, "COMMIT_STARTED");
    w.rest();
    assert_eq!(said(&mut w, "a"), ["Hello you."]);
    assert_eq!(w.outcome(UtteranceId::new(id).unwrap()), "completed");
    assert_eq!(w.state("a").state, "idle");
}

#[test]
fn p2_chunks_come_in_any_order_and_the_first_text_of_a_number_stays() {
    let mut w = world();
    assert_eq!(w.collect("a", 0, 3, "three"), ("COLLECT_ACCEPTED", 5));
    assert_eq!(w.collect("a", 0, 1, "one "), ("COLLECT_ACCEPTED", 9));
    assert_eq!(w.collect("a", 0, 1, "ONE ONE "), ("COLLECT_DUPLICATE", 9));
    assert_eq!(w.collect("a", 0, 2, "two "), ("COLLECT_ACCEPTED", 13));
    assert_eq!(w.commit("a", 0, 3, "THREE").0, "COMMIT_STARTED");
    w.rest();
    assert_eq!(said(&mut w, "a"), ["one two three"]);
    assert_eq!(w.collect("a", 1, 4, "late").0, "COLLECT_STALE");
}

#[test]
fn p2_a_gap_is_joined_over_and_counted_and_0_comes_after_all_others() {
    let mut w = world();
    w.collect("a", 1, 2, "two ");
    w.collect("a", 1, u64::MAX, "last ");
    assert_eq!(w.commit("a", 1, 0, "end").0, "COMMIT_STARTED");
    w.rest();
    assert_eq!(said(&mut w, "a"), ["two last end"]);
    let holes = |e: &Effect| matches!(e, Effect::Note(Note::CollectGaps { holes: 2, .. }));
    assert_eq!(count(&w, holes), 1);
}

#[test]
fn p3_a_turn_is_committed_once_and_a_repetition_names_the_first() {
    let mut w = world();
    w.collect("a", 1, 1, LONG);
    let (ack, id) = w.commit("a", 1, 0, "");
    assert_eq!(ack, "COMMIT_STARTED");
    assert_eq!(w.commit("a", 1, 0, "again"), ("COMMIT_DUPLICATE", id));
    w.rest();
    assert_eq!(w.commit("a", 1, 0, ""), ("COMMIT_DUPLICATE", id));
    assert_eq!(count(&w, |e| matches!(e, Effect::Synthesize(_))), 1);
}

#[test]
fn p3_the_last_64_commits_are_remembered() {
    let mut w = world();
    for turn in 1..=65 {
        assert_eq!(w.commit("a", turn, 0, "x").0, "COMMIT_STARTED");
    }
    assert_eq!(w.commit("a", 1, 0, "x"), ("COMMIT_STALE", 0));
    assert_eq!(w.commit("a", 2, 0, "x").0, "COMMIT_DUPLICATE");
}

#[test]
fn p4_an_old_client_that_sends_each_sentence_is_heard_whole() {
    let mut w = world();
    for n in 1..=5 {
        let (ack, id) = w.commit("a", 0, 0, "A sentence.");
        assert_eq!((ack, w.state("a").turn), ("COMMIT_STARTED", n));
        assert_ne!(id, 0);
    }
    w.rest();
    assert_eq!(said(&mut w, "a").len(), 5);
}

#[test]
fn p4_turn_0_collects_for_the_next_turn_once_the_current_one_is_committed() {
    let mut w = world();
    w.commit("a", 0, 0, "One.");
    assert_eq!(w.collect("a", 0, 1, "Two.").0, "COLLECT_ACCEPTED");
    assert_eq!(w.state("a").turn, 1, "a collect moves no turn");
    assert_eq!(w.commit("a", 2, 0, "").0, "COMMIT_STARTED");
    assert_eq!(w.state("a").turn, 2);
}

#[test]
fn p5_what_nobody_commits_expires_and_is_told() {
    let mut w = world();
    w.collect("a", 1, 1, "lost");
    w.run(59 * S);
    w.collect("a", 1, 2, "too");
    w.run(59 * S);
    assert_eq!(w.state("a").state, "collecting", "each chunk begins the time anew");
    w.run(2 * S);
    assert_eq!(w.state("a").state, "idle");
    assert_eq!(count(&w, |e| matches!(e, Effect::Note(Note::CollectExpired { turn: 1, .. }))), 1);
    assert_eq!(w.collect("a", 1, 3, "late").0, "COLLECT_STALE");
    assert_eq!(w.commit("a", 1, 0, "late").0, "COMMIT_STALE");
    assert_eq!(w.commit("a", 0, 0, "Who was told goes on in the next turn.").0, "COMMIT_STARTED");
    assert_eq!(w.state("a").turn, 2);
}

#[test]
fn p5_over_a_bound_nothing_changes() {
    let mut w = world();
    let settings = Settings {
        collect_bytes: 10,
        collect_chunks: 3,
        text_bytes: 11,
        ..Settings::default()
    };
    w.feed(Input::Settings(Box::new(settings)));
    let refused = |w: &mut World, turn, seq, text: &str| {
        let token = w.try_submit("a", Phase::Collect, turn, seq, text, SayOptions::default());
        w.reply(token).unwrap_err()
    };
    w.collect("a", 1, 1, "12345678");
    let error = refused(&mut w, 1, 2, "901");
    assert_eq!(error.kind, ErrorKind::LimitExceeded);
    assert!(error.message.contains("collect.max-bytes"), "{}", error.message);
    assert_eq!(w.collect("a", 1, 2, "9"), ("COLLECT_ACCEPTED", 9));
    w.collect("a", 1, 3, "");
    let error = refused(&mut w, 1, 4, "");
    assert!(error.message.contains("collect.max-chunks"), "{}", error.message);
    for turn in 2..=4 {
        w.collect("a", turn, 1, "x");
    }
    assert!(refused(&mut w, 5, 1, "x").message.contains('4'));
    assert_eq!(w.commit("a", 1, 3, "").0, "COMMIT_STARTED");
    w.rest();
    assert_eq!(said(&mut w, "a"), ["123456789"]);
}

#[test]
fn a_refused_commit_leaves_the_buffer() {
    let mut w = world();
    w.collect("a", 1, 1, "Kept.");
    let token = w.try_submit("a", Phase::Commit, 1, 0, "", by("nobody"));
    assert_eq!(error(&w, token), ErrorKind::NoSuchBackend);
    let busy = w.say("a", LONG);
    let token = w.try_submit("a", Phase::Commit, 1, 0, "", mode(Mode::IfIdle));
    assert_eq!(error(&w, token), ErrorKind::WrongState);
    assert_eq!(w.commit("a", 1, 0, "").0, "COMMIT_STARTED");
    w.rest();
    assert_eq!(w.outcome(busy), "completed");
    assert_eq!(said(&mut w, "a"), [LONG, "Kept."]);
}

#[test]
fn nothing_to_commit_is_empty_and_no_commit() {
    let mut w = world();
    assert_eq!(w.commit("a", 1, 0, ""), ("COMMIT_EMPTY", 0));
    assert_eq!(w.commit("a", 1, 0, " \n"), ("COMMIT_EMPTY", 0));
    assert_eq!(w.commit("a", 1, 0, "Now.").0, "COMMIT_STARTED");
}

#[test]
fn only_a_cancel_of_its_turn_or_the_close_drops_a_buffer() {
    let mut w = world();
    w.collect("a", 1, 1, "one");
    w.collect("a", 2, 1, "two");
    assert_eq!(w.cancel("a", all()).result, Some("nothing"));
    assert_eq!(w.state("a").state, "collecting");
    let turn_1 = CancelOptions { turn: Some(1), ..all() };
    assert_eq!(w.cancel("a", turn_1).result, Some("nothing"));
    assert_eq!(w.commit("a", 1, 0, "x").0, "COMMIT_STALE");
    assert_eq!(w.collect("a", 2, 2, "!"), ("COLLECT_ACCEPTED", 4));
    w.close("a", false);
    w.run(S);
    w.open("a");
    assert_eq!(w.commit("a", 2, 0, ""), ("COMMIT_EMPTY", 0));
}

#[test]
fn a_barge_in_leaves_what_is_collected_for_the_next_turn() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.run_until_started(u);
    w.collect("a", 2, 1, "Wait, what?");
    w.cancel("a", barge_in());
    assert_eq!(w.state("a").turn, 2);
    assert_eq!(w.commit("a", 0, 0, "").0, "COMMIT_STARTED");
}

#[test]
fn collects_with_bad_numbers_are_refused() {
    let mut w = world();
    let token = w.try_submit("a", Phase::Collect, 1, 0, "x", SayOptions::default());
    assert_eq!(error(&w, token), ErrorKind::InvalidArgs);
    let token = w.try_submit("a", Phase::Collect, 1 << 40, 1, "x", SayOptions::default());
    assert_eq!(error(&w, token), ErrorKind::InvalidArgs);
    let token = w.try_submit("a", Phase::Commit, 1, 1, "x", turn(2));
    assert_eq!(error(&w, token), ErrorKind::InvalidArgs);
}

#[test]
fn who_collects_is_not_idle() {
    let mut w = World::new();
    let options = SessionOptions {
        idle_timeout_us: Some(S),
        ..SessionOptions::default()
    };
    w.open_with("c", options);
    w.collect("c", 1, 1, "a long thought");
    w.run(30 * S);
    assert_eq!(w.commit("c", 1, 0, "").0, "COMMIT_STARTED");
    w.rest();
    assert_eq!(count(&w, |e| matches!(e, Effect::SessionClosed { .. })), 1);
}

#[test]
fn p5_a_session_may_bound_its_buffers_otherwise_than_the_configuration() {
    let mut w = world();
    let bounds = Bounds {
        collect_ttl_us: Some(3 * S),
        collect_bytes: Some(10),
        collect_chunks: Some(2),
        ..Bounds::default()
    };
    configure(&mut w, "a", bounds).unwrap();
    let refused = |w: &mut World, seq, text: &str| {
        let token = w.try_submit("a", Phase::Collect, 1, seq, text, SayOptions::default());
        w.reply(token).unwrap_err().message
    };
    w.collect("a", 1, 1, "12345678");
    assert!(refused(&mut w, 2, "901").contains("max-bytes"));
    w.collect("a", 1, 2, "9");
    assert!(refused(&mut w, 3, "").contains("max-chunks"));
    assert_eq!(w.collect("b", 1, 1, "longer than ten bytes").0, "COLLECT_ACCEPTED");
    w.run(4 * S);
    assert_eq!((w.state("a").state, w.state("b").state), ("idle", "collecting"));
}

#[test]
fn p5_a_shorter_life_of_buffers_counts_from_the_next_chunk() {
    let mut w = world();
    w.collect("a", 1, 1, "old");
    let bounds = Bounds {
        collect_ttl_us: Some(S),
        ..Bounds::default()
    };
    configure(&mut w, "a", bounds).unwrap();
    w.run(2 * S);
    assert_eq!(w.state("a").state, "collecting", "this one was accepted for 60 s");
    w.collect("a", 1, 2, "new");
    w.run(900 * MS);
    assert_eq!(w.state("a").state, "collecting");
    w.run(200 * MS);
    assert_eq!(w.state("a").state, "idle");
}

#[test]
fn a_buffer_that_no_text_could_hold_is_refused() {
    let mut w = world();
    let bounds = Bounds {
        collect_bytes: Some(262_145),
        ..Bounds::default()
    };
    let error = configure(&mut w, "a", bounds).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidArgs);
    assert!(
        error.message.contains("max-bytes") && error.message.contains("limits.text-bytes"),
        "{}",
        error.message
    );
    let id = "new".to_owned();
    let options = SessionOptions {
        bounds,
        ..SessionOptions::default()
    };
    let token = w.ask(1, Request::Open { id, options });
    assert_eq!(w.reply(token).unwrap_err().kind, ErrorKind::InvalidArgs);
}
