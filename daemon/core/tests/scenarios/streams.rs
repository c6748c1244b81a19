//! Text streams: how text becomes pieces, the numbers of appends, the floor, cancels, ends.

use super::*;
use utterd_core::Note;

fn asked(w: &World) -> Vec<String> {
    let texts = w.log.iter().filter_map(|(_, e)| match e {
        Effect::Synthesize(s) => Some(s.text.clone()),
        _ => None,
    });
    texts.collect()
}

/// Appends word by word, 30 ms apart, as a language model does.
fn tokens(w: &mut World, session: &str, u: UtteranceId, text: &str) {
    for (n, token) in text.split_inclusive(' ').enumerate() {
        assert_eq!(w.append(session, u, n as u64 + 1, token), "accepted");
        w.run(30 * MS);
    }
}

#[test]
fn a_stream_speaks_after_its_first_clause_and_then_sentence_by_sentence() {
    let mut w = world();
    let u = w.say_open("a");
    let text = "That is a good question, and I think that the answer is yes. Dr. Smith paid 3.50 for it. Any more?";
    tokens(&mut w, "a", u, text);
    w.say_end("a", u);
    w.rest();
    assert_eq!(
        asked(&w),
        [
            "That is a good question, ",
            "and I think that the answer is yes. ",
            "Dr. Smith paid 3.50 for it. ",
            "Any more?"
        ]
    );
    let (outcome, report) = w.ended(u).unwrap();
    assert_eq!((outcome.word(), report.heard_text.as_str()), ("completed", text));
    assert_eq!(report.played_us, text.len() as u64 * CHAR_US);
    assert!(w.started_at(u).unwrap() < 2 * S, "it began while it was still written");
}

#[test]
fn a_newline_ends_a_piece_and_what_nobody_appends_to_is_spoken() {
    let mut w = world();
    let u = w.say_open("a");
    w.append("a", u, 1, "First line\nthen");
    assert_eq!(asked(&w), ["First line\n"]);
    w.append("a", u, 2, " some");
    w.run(300 * MS);
    w.append("a", u, 3, " more");
    w.run(300 * MS);
    assert_eq!(asked(&w).len(), 1);
    w.run(2 * S);
    assert_eq!(asked(&w), ["First line\n", "then some more"]);
    w.say_end("a", u);
    w.rest();
    assert_eq!(w.outcome(u), "completed");
}

#[test]
fn appends_are_numbered_and_each_answer_says_what_became_of_it() {
    let mut w = world();
    let u = w.say_open("a");
    let kind = |answer: Result<Reply, utterd_core::Failure>| answer.unwrap_err().kind;
    assert_eq!(kind(w.try_append("a", u.get(), 0, "x")), ErrorKind::InvalidArgs);
    assert_eq!(w.append("a", u, 1, "One."), "accepted");
    assert_eq!(w.append("a", u, 1, "ONE."), "duplicate");
    let gap = w.try_append("a", u.get(), 3, "three").unwrap_err();
    assert_eq!(gap.kind, ErrorKind::WrongState);
    assert!(gap.message.contains("2 is expected"), "{}", gap.message);
    assert_eq!(w.append("a", u, 2, ""), "accepted");
    assert_eq!(kind(w.try_append("b", u.get(), 3, "x")), ErrorKind::NoSuchUtterance);
    assert_eq!(kind(w.try_append("a", 99, 3, "x")), ErrorKind::NoSuchUtterance);
    w.say_end("a", u);
    w.say_end("a", u);
    assert_eq!(w.append("a", u, 3, "late"), "stale");
    w.rest();
    assert_eq!(w.append("a", u, 3, "late"), "stale");
    w.say_end("a", u);
    assert_eq!(w.ended(u).unwrap().1.heard_text, "One.");
    let say = w.say("a", LONG);
    assert_eq!(kind(w.try_append("a", say.get(), 1, "x")), ErrorKind::WrongState);
}

#[test]
fn a_cancel_in_the_middle_reports_what_was_heard_and_stops_the_appends() {
    let mut w = world();
    let u = w.say_open("a");
    w.append("a", u, 1, "One two three.\nFour five six seven.\nEight");
    w.run_until_started(u);
    w.run(16 * CHAR_US);
    let before = asked(&w).len();
    let report = w.cancel("a", all());
    assert_eq!(report.heard_text, "One two three.\nFour");
    assert_eq!(w.append("a", u, 2, " nine"), "cancelled");
    w.say_end("a", u);
    w.rest();
    assert_eq!(w.append("a", u, 2, " nine"), "cancelled");
    assert_eq!(asked(&w).len(), before, "nothing is asked for after the guard");
}

#[test]
fn offsets_count_everything_appended() {
    let mut w = world();
    let options = SayOptions {
        progress: Some(Progress::Word),
        ..SayOptions::default()
    };
    let u = w.say_open_with("a", options);
    w.append("a", u, 1, "Grüße!\n");
    w.append("a", u, 2, "世界。\n");
    w.say_end("a", u);
    w.rest();
    let ranges: Vec<_> = w
        .log
        .iter()
        .filter_map(|(_, e)| match e {
            Effect::Signal {
                signal: Signal::UtteranceProgress { chars, .. },
                ..
            } => Some(chars.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(ranges, [0..6, 7..10]);
}

#[test]
fn the_end_of_a_stream_closes_its_store_however_it_comes() {
    // By its last piece.
    let mut w = world();
    let u = w.say_open("a");
    w.append("a", u, 1, "Hello there");
    w.say_end("a", u);
    w.rest();
    assert_eq!(
        (w.outcome(u), count(&w, |e| matches!(e, Effect::CloseStore { .. }))),
        ("completed", 0)
    );
    // After its last piece was asked for.
    let u = w.say_open("a");
    w.append("a", u, 1, "Hello there\n");
    w.run(5 * S);
    w.say_end("a", u);
    w.rest();
    assert_eq!(
        (w.outcome(u), count(&w, |e| matches!(e, Effect::CloseStore { .. }))),
        ("completed", 1)
    );
    // Without anything to speak.
    let u = w.say_open("a");
    w.append("a", u, 1, " \n");
    w.say_end("a", u);
    w.rest();
    let (outcome, report) = w.ended(u).unwrap();
    assert_eq!((outcome.word(), report.played_us), ("completed", 0));
    let next = w.say("a", "Next.");
    w.rest();
    assert_eq!(w.outcome(next), "completed");
}

#[test]
fn a_stream_without_an_append_ends_and_what_was_accepted_is_spoken() {
    let mut w = world();
    let u = w.say_open("a");
    w.append("a", u, 1, "Only this");
    w.run(29 * S);
    assert_eq!(w.outcome(u), "open");
    w.run(2 * S);
    assert_eq!(w.outcome(u), "completed");
    assert_eq!(w.append("a", u, 2, "x"), "stale");
}

#[test]
fn a_session_waits_for_appends_as_long_as_it_says_also_for_a_stream_that_waits_already() {
    let mut w = world();
    let u = w.say_open("a");
    w.append("a", u, 1, "Said.\n");
    w.run(5 * S);
    let bounds = Bounds {
        stream_idle_us: Some(6 * S),
        ..Bounds::default()
    };
    configure(&mut w, "a", bounds).unwrap();
    assert_eq!(w.append("a", u, 2, "More.\n"), "accepted");
    w.run(5 * S);
    assert_eq!(w.outcome(u), "open");
    w.run(2 * S);
    assert_eq!(w.outcome(u), "completed");
    let v = w.say_open("b");
    w.run(29 * S);
    assert_eq!(w.outcome(v), "open", "another session waits as configured");
}

#[test]
fn a_stream_keeps_its_place_in_its_session() {
    let mut w = world();
    let u = w.say_open("a");
    let behind = w.say("a", "Behind it.");
    w.run(S);
    w.append("a", u, 1, "First.\n");
    w.run(10 * S);
    assert!(w.started_at(behind).is_none());
    w.say_end("a", u);
    w.rest();
    assert_eq!(w.order_heard(), [u, behind]);
}

#[test]
fn a_stream_without_audio_for_2_s_yields_the_floor_and_goes_on_later() {
    let mut w = world();
    let u = w.say_open("a");
    w.append("a", u, 1, "Let me think.\n");
    w.run_until_started(u);
    let other = w.say("b", LONG);
    w.run(14 * CHAR_US + 1_900 * MS);
    assert!(w.started_at(other).is_none(), "it still holds the floor");
    w.run(500 * MS);
    assert!(w.started_at(other).is_some(), "it has yielded");
    assert_eq!(w.state("a").state, "paused");
    w.append("a", u, 2, "Here it is.\n");
    w.say_end("a", u);
    w.rest();
    assert_eq!(outcomes(&w, [u, other]), ["completed", "completed"]);
    assert_eq!(w.ended(u).unwrap().1.heard_text, "Let me think.\nHere it is.\n");
}

#[test]
fn a_stream_that_has_no_text_yet_does_not_hold_the_floor_for_ever() {
    let mut w = world();
    let u = w.say_open("a");
    let other = w.say("b", LONG);
    w.run(1_900 * MS);
    assert!(w.started_at(other).is_none());
    w.run(300 * MS);
    assert!(w.started_at(other).is_some());
    w.append("a", u, 1, "At last.\n");
    w.say_end("a", u);
    w.rest();
    assert_eq!(w.order_heard(), [other, u]);
}

#[test]
fn look_ahead_and_text_are_bounded() {
    let mut w = world();
    let u = w.say_open("a");
    let sentence = "These are words that take two seconds. ";
    w.append("a", u, 1, &sentence.repeat(20));
    w.run_until_started(u);
    w.run(500 * MS);
    assert!((3..=4).contains(&asked(&w).len()), "{} were asked for ahead", asked(&w).len());
    let refused = w.try_append("a", u.get(), 2, &"x".repeat(262_144)).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::LimitExceeded);
    assert!(refused.message.contains("limits.text-bytes"), "{}", refused.message);
    assert_eq!(w.append("a", u, 2, "More."), "accepted", "the refused one does not count");
    w.say_end("a", u);
    w.rest();
    assert_eq!(w.outcome(u), "completed");
}

#[test]
fn a_failed_piece_ends_the_stream() {
    let mut w = world();
    w.fates.extend([Fate::Speaks, Fate::FailsAtOnce]);
    let u = w.say_open("a");
    w.append("a", u, 1, "One two.\nThree four.\n");
    w.rest();
    let (outcome, report) = w.ended(u).unwrap();
    assert_eq!((outcome.word(), report.heard_text.trim()), ("failed", "One two."));
    assert_eq!(w.append("a", u, 2, "x"), "stale");
}

#[test]
fn a_drain_ends_the_streams_and_speaks_what_they_have() {
    let mut w = world();
    let u = w.say_open("a");
    w.append("a", u, 1, "Say this still");
    let token = w.close("a", true);
    w.run(100 * MS);
    assert_eq!(w.append("a", u, 2, " and not this"), "stale");
    w.rest();
    assert!(w.answered(token));
    assert_eq!(w.ended(u).unwrap().1.heard_text, "Say this still");
}

#[test]
fn what_was_synthesised_and_not_heard_is_told() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.run_until_started(u);
    w.run(500 * MS);
    let report = w.cancel("a", all());
    let told = w.log.iter().find_map(|(_, e)| match e {
        Effect::Note(Note::Finished { wasted_us, .. }) => Some(*wasted_us),
        _ => None,
    });
    assert_eq!(told, Some(LONG.len() as u64 * CHAR_US - report.played_us));
}
