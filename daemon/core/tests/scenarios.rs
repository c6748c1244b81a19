//! The rules of SEMANTICS as sentences, each in a calm world of its own: turns, utterances and what was heard of them, cancel.
#![allow(clippy::unwrap_used)]

mod world;

use utterd_core::{
    CancelOptions, Effect, ErrorKind, HeardSource, Input, Mode, Outcome, PlaybackEvent, Priority,
    Progress, Reply, Request, SayOptions, SessionOptions, Signal, SynthesisEvent, SynthesisState,
    Told, UtteranceId,
};
use world::backend::{CHAR_US, Fate};
use world::{MS, S, World, target};

const LONG: &str = "one two three four five six seven eight nine ten";

fn world() -> World {
    let mut w = World::new();
    w.open("a");
    w
}

fn turn(n: u64) -> SayOptions {
    SayOptions {
        turn: Some(n),
        ..SayOptions::default()
    }
}

fn by(backend: &str) -> SayOptions {
    SayOptions {
        backend: Some(backend.into()),
        ..SayOptions::default()
    }
}

fn mode(mode: Mode) -> SayOptions {
    SayOptions {
        mode: Some(mode),
        ..SayOptions::default()
    }
}

fn all() -> CancelOptions {
    CancelOptions::default()
}

fn one(id: UtteranceId) -> CancelOptions {
    CancelOptions {
        utterance: Some(id.get()),
        ..all()
    }
}

fn barge_in() -> CancelOptions {
    CancelOptions {
        reason: Some("barge-in".into()),
        ..all()
    }
}

fn error(w: &World, token: utterd_core::Token) -> ErrorKind {
    w.reply(token).unwrap_err().kind
}

fn count(w: &World, is: impl Fn(&Effect) -> bool) -> usize {
    w.log.iter().filter(|(_, e)| is(e)).count()
}

#[test]
fn a_say_is_heard_to_its_end() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.rest();
    let (outcome, report) = w.ended(u).unwrap();
    assert_eq!(outcome, Outcome::Completed);
    assert_eq!(
        (report.heard_text.as_str(), report.reason.as_str()),
        (LONG, "")
    );
    assert_eq!(report.played_us, LONG.len() as u64 * CHAR_US);
    assert_eq!(
        (report.backend.as_str(), report.voice.as_str()),
        ("smooth", "tone")
    );
    assert!(report.stages.is_none() && report.syntheses.is_empty() && report.result.is_none());
}

// Turns.

#[test]
fn a_session_starts_at_turn_one_and_a_larger_one_moves_it() {
    let mut w = world();
    assert_eq!(w.state("a").turn, 1);
    let u = w.say_with("a", "Hi.", turn(7));
    assert_eq!(w.state("a").turn, 7);
    w.rest();
    assert_eq!(w.ended(u).unwrap().1.turn, 7);
}

#[test]
fn a_say_of_an_older_turn_is_never_spoken() {
    let mut w = world();
    w.say_with("a", "Hi.", turn(3));
    let token = w.try_say("a", "Late.", turn(2));
    assert_eq!(w.reply(token), Ok(Reply::Utterance(0)));
}

#[test]
fn a_turn_far_away_is_a_mistake() {
    let mut w = world();
    let token = w.try_say("a", "Hi.", turn((1 << 32) + 2));
    assert_eq!(error(&w, token), ErrorKind::InvalidArgs);
    assert_eq!(w.state("a").turn, 1);
}

#[test]
fn advancing_the_turn_cancels_nothing() {
    let mut w = world();
    let first = w.say("a", "One.");
    let second = w.say_with("a", "Two.", turn(2));
    w.rest();
    assert_eq!(
        (w.outcome(first), w.outcome(second)),
        ("completed", "completed")
    );
}

#[test]
fn a_say_straight_after_a_cancel_is_spoken() {
    let mut w = world();
    let old = w.say("a", LONG);
    w.run_until_started(old);
    let cancel = w.begin_cancel("a", all());
    let new = w.say("a", "Hello.");
    assert!(!w.answered(cancel));
    w.rest();
    assert_eq!((w.outcome(old), w.outcome(new)), ("cancelled", "completed"));
    assert_eq!(w.ended(new).unwrap().1.turn, 2);
}

#[test]
fn a_late_say_of_the_cancelled_turn_is_never_spoken() {
    let mut w = world();
    w.say("a", LONG);
    w.cancel("a", all());
    let token = w.try_say("a", "Late.", turn(1));
    assert_eq!(w.reply(token), Ok(Reply::Utterance(0)));
}

#[test]
fn i5_even_a_notification_or_if_idle_straight_after_a_cancel_is_spoken() {
    for options in [
        mode(Mode::IfIdle),
        SayOptions {
            priority: Some(Priority::Notification),
            ..SayOptions::default()
        },
    ] {
        let mut w = world();
        let old = w.say("a", LONG);
        w.run_until_started(old);
        w.begin_cancel("a", all());
        let new = w.say_with("a", "Hello.", options);
        w.rest();
        assert_eq!(w.outcome(new), "completed");
    }
}

#[test]
fn cancel_of_an_utterance_ends_no_turn() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.run_until_started(u);
    w.cancel("a", one(u));
    assert_eq!(w.state("a").turn, 1);
    let again = w.say_with("a", "Again.", turn(1));
    w.rest();
    assert_eq!(w.outcome(again), "completed");
}

#[test]
fn cancel_of_a_turn_ends_it_even_if_nothing_ran_in_it() {
    let mut w = world();
    let options = CancelOptions {
        turn: Some(4),
        ..all()
    };
    assert_eq!(w.cancel("a", options).result, Some("nothing"));
    assert_eq!(w.state("a").turn, 5);
}

#[test]
fn a_cancel_of_everything_that_found_nothing_ends_no_turn() {
    let mut w = world();
    assert_eq!(w.cancel("a", all()).result, Some("nothing"));
    assert_eq!(w.state("a").turn, 1);
}

#[test]
fn a_cancel_ends_the_turn_of_what_another_cancel_already_had() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.run_until_started(u);
    w.begin_cancel("a", one(u));
    w.begin_cancel("a", all());
    assert_eq!(w.state("a").turn, 2);
}

#[test]
fn mode_replace_ends_no_turn_and_spares_the_protected() {
    let mut w = world();
    let kept = w.say_with(
        "a",
        LONG,
        SayOptions {
            interruptible: Some(false),
            ..SayOptions::default()
        },
    );
    let dropped = w.say("a", "Drop me.");
    w.try_say("a", "New.", mode(Mode::Replace));
    w.rest();
    assert_eq!(
        [w.outcome(kept), w.outcome(dropped)],
        ["completed", "cancelled"]
    );
    assert_eq!(w.order_heard().len(), 2);
    assert_eq!(w.reason(dropped), "replaced");
    assert_eq!(w.state("a").turn, 1);
}

#[test]
fn mode_replace_answers_after_what_it_replaced_has_ended_and_before_a_signal_names_it() {
    let mut w = world();
    let old = w.say("a", LONG);
    w.run_until_started(old);
    let token = w.try_say("a", "New.", mode(Mode::Replace));
    assert!(!w.answered(token));
    // The held one is cancelled before it was answered: the book asserts that its end still comes after its reply.
    let cancel = w.begin_cancel("a", all());
    let late = w.say("a", "Hello.");
    w.rest();
    assert!(matches!(w.reply(token), Ok(Reply::Utterance(n)) if n > old.get()));
    assert_eq!(w.report(cancel).result, Some("cancelled"));
    assert_eq!(w.outcome(late), "completed");
}

#[test]
fn a_held_text_that_a_newer_text_replaces_is_answered_first() {
    let mut w = world();
    let old = w.say("a", LONG);
    w.run_until_started(old);
    let text = |mode| SayOptions {
        priority: Some(Priority::Text),
        mode: Some(mode),
        ..SayOptions::default()
    };
    let held = w.try_say("a", "Held.", text(Mode::Replace));
    let newer = w.say_with("a", "Newer.", text(Mode::Queue));
    assert!(!w.answered(held));
    w.rest();
    assert!(w.answered(held));
    assert_eq!(w.outcome(newer), "completed");
}

#[test]
fn what_is_said_after_a_replacement_is_heard_after_it() {
    let mut w = world();
    w.fates.push_back(Fate::NeverTold);
    let old = w.say("a", LONG);
    w.run_until_started(old);
    let token = w.try_say("a", "New.", mode(Mode::Replace));
    let after = w.say("a", "After.");
    w.rest();
    let Ok(Reply::Utterance(new)) = w.reply(token) else {
        panic!("accepted");
    };
    assert_eq!(
        w.order_heard(),
        [old, UtteranceId::new(new).unwrap(), after]
    );
}

#[test]
fn a_replacement_that_expires_while_it_is_held_is_answered_first() {
    let mut w = world();
    w.fates.push_back(Fate::NeverTold);
    let old = w.say("a", LONG);
    w.run_until_started(old);
    let options = SayOptions {
        expires_us: Some(10 * MS),
        ..mode(Mode::Replace)
    };
    let token = w.try_say("a", "New.", options);
    w.rest();
    let Ok(Reply::Utterance(new)) = w.reply(token) else {
        panic!("accepted");
    };
    assert_eq!(w.outcome(UtteranceId::new(new).unwrap()), "expired");
}

#[test]
fn if_idle_while_anything_is_accepted_returns_nothing() {
    let mut w = world();
    w.say("a", LONG);
    let token = w.try_say("a", "Me too.", mode(Mode::IfIdle));
    assert_eq!(w.reply(token), Ok(Reply::Utterance(0)));
    w.rest();
    w.say_with("a", "Now.", mode(Mode::IfIdle));
}

// Utterance, synthesis, heard.

#[test]
fn the_next_utterance_follows_without_a_gap() {
    let mut w = world();
    let first = w.say("a", LONG);
    let second = w.say("a", "And more.");
    w.rest();
    let gap =
        w.started_at(second).unwrap() - w.started_at(first).unwrap() - LONG.len() as u64 * CHAR_US;
    assert_eq!(gap, 0);
}

#[test]
fn heard_text_ends_with_the_word_whose_onset_was_heard() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.run_until_started(u);
    // "one two" is heard until the eighth code point; "three" begins there.
    w.run(8 * CHAR_US + 5 * MS);
    let report = w.cancel("a", all());
    assert_eq!(report.heard_text, "one two three");
    assert_eq!(report.heard_source, HeardSource::Words);
    assert!(report.played_us > 8 * CHAR_US && report.played_us < 9 * CHAR_US);
}

#[test]
fn nothing_heard_has_no_source() {
    let mut w = world();
    w.say("a", LONG);
    let report = w.cancel("a", all());
    assert_eq!(
        (report.heard_text.as_str(), report.heard_source),
        ("", HeardSource::None)
    );
    assert_eq!(report.queued_dropped, 1);
}

#[test]
fn without_marks_the_heard_text_is_estimated() {
    let mut w = world();
    let u = w.say_with("a", LONG, by("plain"));
    w.run_until_started(u);
    w.run(12 * CHAR_US);
    let report = w.cancel("a", all());
    assert_eq!(report.heard_source, HeardSource::Estimated);
    assert_eq!(report.heard_text, "one two three");
}

#[test]
fn an_estimate_within_a_text_that_still_streams_does_not_claim_all_of_it() {
    let mut w = world();
    w.plan.part_us = 400 * MS;
    let text = LONG.repeat(10);
    let u = w.say_with("a", &text, by("plain"));
    w.run_until_started(u);
    w.run(600 * MS);
    let report = w.cancel("a", all());
    assert_eq!(report.syntheses[0].1, SynthesisState::Streaming);
    let heard = report.heard_text.len();
    assert!((3..30).contains(&heard), "{heard} of {}", text.len());
}

#[test]
fn pieces_are_estimated_one_by_one() {
    let mut w = world();
    let u = w.say_with("a", "One two. Three four. Five six.", by("pieces"));
    w.run_until_started(u);
    w.run(10 * CHAR_US);
    assert_eq!(w.cancel("a", all()).heard_text, "One two. Three");
}

#[test]
fn a_failure_before_the_first_sample_ends_the_utterance_at_once() {
    let mut w = world();
    w.fates.push_back(Fate::FailsAtOnce);
    let bad = w.say("a", LONG);
    let good = w.say("a", "Next.");
    w.rest();
    let (outcome, report) = w.ended(bad).unwrap();
    assert_eq!(outcome.word(), "failed");
    assert_eq!(report.failure.unwrap().kind, ErrorKind::BackendUnavailable);
    assert_eq!(report.reason, "");
    assert_eq!(w.outcome(good), "completed");
}

#[test]
fn a_failure_half_way_speaks_what_is_there_and_then_says_so() {
    let mut w = world();
    w.fates.push_back(Fate::FailsHalfWay);
    let bad = w.say("a", "one two three four five sixty-six");
    w.rest();
    let (outcome, report) = w.ended(bad).unwrap();
    assert_eq!(outcome.word(), "failed");
    assert_eq!(report.heard_text, "one two three four");
    assert!(report.played_us > 0);
}

#[test]
fn a_failed_piece_is_not_claimed_to_be_heard() {
    let mut w = world();
    w.fates.extend([Fate::Speaks, Fate::FailsAtOnce]);
    let bad = w.say_with("a", "One two. Three four.", by("pieces"));
    w.rest();
    assert_eq!(w.ended(bad).unwrap().1.heard_text.trim(), "One two.");
}

#[test]
fn what_has_not_begun_in_time_expires() {
    let mut w = world();
    let first = w.say("a", LONG);
    let options = SayOptions {
        expires_us: Some(500 * MS),
        ..SayOptions::default()
    };
    let late = w.say_with("a", "Too late.", options.clone());
    w.run(600 * MS);
    assert_eq!((w.outcome(first), w.outcome(late)), ("open", "expired"));
    w.rest();
    let in_time = w.say_with("a", LONG, options);
    w.rest();
    assert_eq!(w.outcome(in_time), "completed");
}

#[test]
fn look_ahead_is_bounded_and_goes_on_when_it_runs_low() {
    let mut w = world();
    let sentence = "These are words that take two seconds. ";
    let u = w.say_with("a", &sentence.repeat(8), by("pieces"));
    w.run_until_started(u);
    w.run(500 * MS);
    let asked = count(&w, |e| matches!(e, Effect::Synthesize(_)));
    assert!(
        (3..=4).contains(&asked),
        "{asked} sentences were asked for ahead"
    );
    w.rest();
    assert_eq!(count(&w, |e| matches!(e, Effect::Synthesize(_))), 8);
    assert_eq!(w.outcome(u), "completed");
}

#[test]
fn low_that_overtakes_delivered_does_not_stop_the_utterance() {
    let mut w = world();
    let u = w.say_with("a", "One sentence. Another sentence.", by("pieces"));
    let synthesis = *w.jobs.keys().next().unwrap();
    w.feed(Input::Playback(PlaybackEvent::Low { utterance: u }));
    w.feed(Input::Synthesis {
        synthesis,
        event: SynthesisEvent::Delivered {
            audio_us: 6 * S,
            ahead_us: 6 * S,
        },
    });
    assert_eq!(count(&w, |e| matches!(e, Effect::Synthesize(_))), 2);
}

#[test]
fn a_synthesis_that_stops_unasked_has_failed() {
    let mut w = world();
    w.fates.push_back(Fate::NeverAnswers);
    let u = w.say("a", LONG);
    let synthesis = *w.jobs.keys().next().unwrap();
    let event = SynthesisEvent::Stopped;
    w.feed(Input::Synthesis { synthesis, event });
    assert_eq!(w.outcome(u), "failed");
}

#[test]
fn an_end_before_all_was_asked_for_is_a_failure() {
    let mut w = world();
    let u = w.say_with("a", "One sentence. Another sentence.", by("pieces"));
    w.feed(Input::Playback(PlaybackEvent::Ended {
        utterance: u,
        played_us: S,
    }));
    assert_eq!(w.outcome(u), "failed");
}

#[test]
fn progress_names_sentences_or_on_request_words() {
    let kinds = |progress| {
        let mut w = world();
        let options = SayOptions {
            progress: Some(progress),
            ..SayOptions::default()
        };
        w.say_with("a", "One two. Three.", options);
        w.rest();
        let mut kinds = Vec::new();
        for (_, e) in &w.log {
            if let Effect::Signal {
                signal:
                    Signal::UtteranceProgress {
                        kind,
                        text: Some(text),
                        ..
                    },
                ..
            } = e
            {
                kinds.push(format!("{kind} {}", text.trim()));
            }
        }
        kinds
    };
    assert_eq!(kinds(Progress::None), Vec::<String>::new());
    assert_eq!(
        kinds(Progress::Sentence),
        ["sentence One two.", "sentence Three."]
    );
    assert_eq!(
        kinds(Progress::Word),
        [
            "word One",
            "word two.",
            "word Three."
        ]
    );
}

// Cancel.

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
    let options = CancelOptions {
        turn: Some(1),
        ..all()
    };
    assert_eq!(w.cancel("a", options).utterances, [first]);
    w.rest();
    assert_eq!(w.outcome(second), "completed");
}

#[test]
fn ids_never_issued_or_of_another_session_or_an_earlier_life_are_no_utterances() {
    let mut w = world();
    w.open("b");
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
        let options = CancelOptions {
            utterance,
            turn,
            ..all()
        };
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
    w.open("b");
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
    assert!(
        matches!(later[..], [Effect::Forget { .. }]),
        "only the tombstone falls: {later:?}"
    );
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
