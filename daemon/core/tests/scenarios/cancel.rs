//! Cancel: C1–C5, T5, T6.

use super::*;

#[test]
fn c4_the_chain_is_silence_then_backends_then_the_report() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.run_until_started(u);
    let from = w.log.len();
    let token = w.begin_cancel("a", all());
    w.run(100 * MS);
    let at = |is: &dyn Fn(&Effect) -> bool| w.log[from..].iter().position(|(_, e)| is(e)).unwrap();
    let cut = at(&|e| matches!(e, Effect::Cut { .. }));
    let told = at(&|e| matches!(e, Effect::CancelSynthesis { .. }));
    let finished = at(&|e| {
        matches!(
            e,
            Effect::Signal {
                signal: Signal::UtteranceFinished { .. },
                ..
            }
        )
    });
    let reply = at(&|e| matches!(e, Effect::Reply { token: t, .. } if *t == token));
    assert!(cut < told && told < finished && finished < reply);
    let stages = w.report(token).stages.unwrap();
    assert!(stages.silent_us < 20 * MS && stages.done_us < 20 * MS);
}

#[test]
fn c2_the_pipelined_sentence_is_never_requested_after_the_cancel() {
    let mut w = world();
    let u = w.say_with("a", &"A sentence. ".repeat(20), by("pieces"));
    w.run_until_started(u);
    w.cancel("a", all());
    let asked = count(&w, |e| matches!(e, Effect::Synthesize(_)));
    w.rest();
    assert_eq!(count(&w, |e| matches!(e, Effect::Synthesize(_))), asked);
}

#[test]
fn c3_what_was_delivered_but_not_heard_is_told_and_what_was_not_asked_is_not() {
    let mut w = world();
    w.plan.request_us = 50 * MS;
    let u = w.say("a", LONG);
    w.run_until_started(u);
    w.run(200 * MS);
    w.say("a", "Next.");
    let report = w.cancel("a", all());
    let said: Vec<_> = report.syntheses.iter().map(|s| (s.1, s.2)).collect();
    assert_eq!(
        said,
        [
            (SynthesisState::Delivered, Told::Told),
            (SynthesisState::Queued, Told::NotRequested)
        ]
    );
}

#[test]
fn c5_a_second_cancel_is_a_success_that_did_nothing() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.run_until_started(u);
    let first = w.cancel("a", one(u));
    assert_eq!(first.result, Some("cancelled"));
    let second = w.cancel("a", one(u));
    assert_eq!(second.result, Some("already"));
    assert_eq!(second.heard_text, first.heard_text);
    assert_eq!(w.cancel("a", all()).result, Some("nothing"));
    assert_eq!(count(&w, |e| matches!(e, Effect::Cut { .. })), 1);
}

#[test]
fn c5_a_cancel_beside_another_waits_until_it_is_silent() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.run_until_started(u);
    let first = w.begin_cancel("a", all());
    let second = w.begin_cancel("a", one(u));
    assert!(!w.answered(first) && !w.answered(second));
    w.run(50 * MS);
    assert_eq!(w.report(first).result, Some("cancelled"));
    assert_eq!(w.report(second).result, Some("already"));
}

#[test]
fn a_cancel_answers_in_time_when_nobody_answers_it() {
    let mut w = world();
    w.fates.push_back(Fate::NeverTold);
    let u = w.say("a", LONG);
    w.run_until_started(u);
    w.sound.away = true;
    let called = w.now;
    let token = w.begin_cancel("a", all());
    w.run_until(|w| w.answered(token));
    assert_eq!(w.now - called, 100 * MS);
    assert_eq!(w.report(token).errors.len(), 2);
    assert_eq!(w.outcome(u), "cancelled");
}

#[test]
fn one_report_covers_what_was_heard_and_counts_what_was_dropped() {
    let mut w = world();
    let heard = w.say_with(
        "a",
        LONG,
        SayOptions {
            tag: Some("heard".into()),
            ..SayOptions::default()
        },
    );
    let waiting = w.say("a", "Waiting.");
    w.run_until_started(heard);
    w.run(CHAR_US);
    let report = w.cancel("a", all());
    assert_eq!(report.utterances, [heard, waiting]);
    assert_eq!((report.queued_dropped, report.tag.as_str()), (1, "heard"));
    assert_eq!(report.heard_text, "one");
}

#[test]
fn a_cancel_of_one_turn_leaves_the_others() {
    let mut w = world();
    let first = w.say("a", LONG);
    let second = w.say_with("a", "Second turn.", turn(2));
    let options = CancelOptions { turn: Some(1), ..all() };
    assert_eq!(w.cancel("a", options).utterances, [first]);
    w.rest();
    assert_eq!(w.outcome(second), "completed");
}

#[test]
fn ids_never_issued_or_of_another_session_or_an_earlier_life_are_no_utterances() {
    let mut w = world();
    let of_b = w.say("b", "Hi.");
    let of_a = w.say("a", "Hi.");
    w.rest();
    w.close("a", false);
    w.run(S);
    w.open("a");
    for number in [99, of_b.get(), of_a.get()] {
        let options = CancelOptions {
            utterance: Some(number),
            ..all()
        };
        let token = w.begin_cancel("a", options);
        assert_eq!(error(&w, token), ErrorKind::NoSuchUtterance);
    }
}

#[test]
fn utterance_zero_and_two_scopes_at_once_are_mistakes() {
    let mut w = world();
    for (utterance, turn) in [(Some(0), None), (Some(1), Some(1))] {
        let options = CancelOptions { utterance, turn, ..all() };
        let token = w.begin_cancel("a", options);
        assert_eq!(error(&w, token), ErrorKind::InvalidArgs);
    }
}

#[test]
fn t6_barge_in_does_not_touch_a_greeting_before_its_time_and_does_after() {
    let mut w = world();
    let options = SayOptions {
        protect_us: Some(500 * MS),
        ..SayOptions::default()
    };
    let greeting = w.say_with("a", LONG, options);
    assert_eq!(w.cancel("a", barge_in()).result, Some("protected"));
    assert_eq!(w.state("a").turn, 1);
    w.run_until_started(greeting);
    w.run(400 * MS);
    assert_eq!(w.cancel("a", barge_in()).result, Some("protected"));
    w.run(500 * MS);
    assert_eq!(w.cancel("a", barge_in()).result, Some("cancelled"));
    assert_eq!(w.reason(greeting), "barge-in");
}

#[test]
fn barge_in_leaves_the_protected_in_the_queue() {
    let mut w = world();
    let heard = w.say("a", LONG);
    let kept = w.say_with(
        "a",
        "Keep me.",
        SayOptions {
            interruptible: Some(false),
            ..SayOptions::default()
        },
    );
    w.run_until_started(heard);
    assert_eq!(w.cancel("a", barge_in()).utterances, [heard]);
    w.rest();
    assert_eq!(w.outcome(kept), "completed");
}

#[test]
fn any_other_cancel_acts_at_once_on_the_protected() {
    let mut w = world();
    w.say_with(
        "a",
        LONG,
        SayOptions {
            interruptible: Some(false),
            ..SayOptions::default()
        },
    );
    assert_eq!(w.cancel("a", all()).result, Some("cancelled"));
}

#[test]
fn t5_barge_in_while_nothing_is_active_does_nothing() {
    let mut w = world();
    w.say("a", "Hi.");
    w.rest();
    assert_eq!(w.cancel("a", barge_in()).result, Some("nothing"));
}

#[test]
fn cancel_all_counts_what_the_caller_may_cancel() {
    let mut w = world();
    let id = "c".to_owned();
    w.ask(
        2,
        Request::Open {
            id,
            options: SessionOptions::default(),
        },
    );
    let (text, options) = ("Mine.".to_owned(), SayOptions::default());
    w.ask(
        2,
        Request::Say {
            target: target("c"),
            text,
            options,
        },
    );
    w.say("a", LONG);
    w.say("b", LONG);
    w.say("b", "More.");
    let token = w.ask(1, Request::CancelAll { reason: None });
    w.run(100 * MS);
    assert_eq!(w.reply(token), Ok(Reply::Count(3)));
    assert_eq!(w.book.open_utterances().len(), 1);
}

#[test]
fn late_audio_of_a_cancelled_utterance_changes_nothing() {
    let mut w = world();
    w.plan.part_us = 200 * MS;
    w.fates.push_back(Fate::IgnoresCancel);
    let u = w.say_with("a", &"A sentence. ".repeat(4), by("pieces"));
    w.run(300 * MS);
    w.cancel("a", all());
    let finished = w.log.len();
    w.rest();
    assert_eq!(w.outcome(u), "cancelled");
    let later: Vec<_> = w.log[finished..].iter().map(|(_, e)| e).collect();
    assert!(matches!(later[..], [Effect::Forget { .. }]), "only the tombstone falls: {later:?}");
}

#[test]
fn the_tombstone_falls_after_two_seconds() {
    let mut w = world();
    let u = w.say("a", LONG);
    let at = w.now;
    w.cancel("a", all());
    w.rest();
    let forgotten = w
        .log
        .iter()
        .find(|(_, e)| matches!(e, Effect::Forget { utterance } if *utterance == u));
    assert!(forgotten.unwrap().0 >= at + 2 * S);
}

#[test]
fn empty_and_oversized_texts_are_refused() {
    let mut w = world();
    let token = w.try_say("a", " \n ", SayOptions::default());
    assert_eq!(error(&w, token), ErrorKind::InvalidArgs);
    let token = w.try_say("a", &"x".repeat(262_145), SayOptions::default());
    let failure = w.reply(token).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::LimitExceeded);
    assert!(failure.message.contains("text-bytes"));
}
