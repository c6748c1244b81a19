//! Backends that fail: who speaks instead, who is spared for how long, what is told to whom, and what the cache has.

use super::*;
use utterd_core::{CacheUse, Note, Patience, Pin, Settings, Synthesis};

/// By `first`, else by `others`.
fn backed(first: &str, others: &[&str]) -> SayOptions {
    SayOptions {
        fallback: Some(others.iter().map(|b| (*b).to_owned()).collect()),
        ..by(first)
    }
}

fn orders(w: &World) -> Vec<Synthesis> {
    let orders = w.log.iter().filter_map(|(_, e)| match e {
        Effect::Synthesize(s) => Some(s.clone()),
        _ => None,
    });
    orders.collect()
}

fn asked(w: &World) -> Vec<(String, String)> {
    orders(w).into_iter().map(|s| (s.backend, s.text)).collect()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn away(w: &World) -> Vec<(String, u64)> {
    let away = w.log.iter().filter_map(|(_, e)| match e {
        Effect::Note(Note::BackendAway { backend, again_us, .. }) => Some((backend.clone(), again_us / S)),
        _ => None,
    });
    away.collect()
}

fn message(w: &World, u: UtteranceId) -> String {
    w.ended(u).unwrap().1.failure.unwrap().message
}

#[test]
fn before_its_first_audio_another_backend_speaks_the_same_text_and_the_report_names_it() {
    let mut w = world();
    w.fates.push_back(Fate::FailsAtOnce);
    let u = w.say_with("a", LONG, backed("smooth", &["plain"]));
    w.rest();
    let (outcome, report) = w.ended(u).unwrap();
    assert_eq!(outcome, Outcome::Completed);
    assert_eq!((report.backend.as_str(), report.heard_text.as_str()), ("plain", LONG));
    assert_eq!(report.heard_source, HeardSource::Estimated, "as the one that spoke knows it");
    assert_eq!(asked(&w), pairs(&[("smooth", LONG), ("plain", LONG)]));
    let ids: Vec<_> = orders(&w).iter().map(|s| (s.synthesis, s.retry, s.first, s.last)).collect();
    assert!(ids[0].0 < ids[1].0, "an id of its own");
    assert_eq!((ids[0].1, ids[1].1), (true, false));
    assert!(ids.iter().all(|s| s.2 && s.3));
}

#[test]
fn a_fallback_that_is_not_held_up_by_playback_gets_a_sentence_at_a_time() {
    let mut w = world();
    w.fates.push_back(Fate::FailsAtOnce);
    let text = "One is said. Two is said.";
    let u = w.say_with("a", text, backed("smooth", &["timed-pieces"]));
    w.rest();
    assert_eq!(w.outcome(u), "completed");
    let expected = [
        ("smooth", text),
        ("timed-pieces", "One is said. "),
        ("timed-pieces", "Two is said."),
    ];
    assert_eq!(asked(&w), pairs(&expected));
}

#[test]
fn after_its_first_audio_the_utterance_fails_and_says_what_was_heard() {
    let mut w = world();
    w.fates.push_back(Fate::FailsHalfWay);
    let u = w.say_with("a", LONG, backed("smooth", &["plain"]));
    w.rest();
    let (outcome, report) = w.ended(u).unwrap();
    assert!(matches!(outcome, Outcome::Failed(_)));
    assert_eq!(report.backend, "smooth");
    assert!(!report.heard_text.is_empty() && report.heard_text.len() < LONG.len());
    assert_eq!(orders(&w).len(), 1, "nobody repeats what was heard");
}

#[test]
fn the_first_error_is_told_when_nobody_can_and_each_is_asked_once() {
    let mut w = world();
    w.fates.extend([Fate::FailsAtOnce, Fate::FailsAtOnce, Fate::FailsAtOnce]);
    let u = w.say_with("a", LONG, backed("smooth", &["plain", "smooth", "plain", "timed-pieces"]));
    w.rest();
    assert_eq!(w.outcome(u), "failed");
    let names: Vec<_> = orders(&w).into_iter().map(|s| s.backend).collect();
    assert_eq!(names, ["smooth", "plain", "timed-pieces"]);
}

#[test]
fn the_clients_own_mistake_is_told_at_once_and_hidden_by_no_fallback() {
    let mut w = world();
    w.fates.push_back(Fate::Refuses);
    let u = w.say_with("a", LONG, backed("smooth", &["plain"]));
    w.rest();
    assert!(matches!(w.ended(u).unwrap().0, Outcome::Failed(e) if e.kind == ErrorKind::NoSuchVoice));
    assert_eq!(orders(&w).len(), 1);
    for (options, kind) in [
        (backed("smooth", &["nobody"]), ErrorKind::NoSuchBackend),
        (backed("nobody", &["smooth"]), ErrorKind::NoSuchBackend),
        (
            SayOptions {
                voice: Some("nobody's".into()),
                ..backed("smooth", &["plain"])
            },
            ErrorKind::NoSuchVoice,
        ),
    ] {
        let token = w.try_say("a", "x", options);
        assert_eq!(error(&w, token), kind);
    }
    assert_eq!(away(&w), [], "a wrong request counts for nothing");
}

#[test]
fn what_a_fallback_refuses_nobody_asked_for_and_the_next_one_speaks() {
    let mut w = world();
    w.fates.extend([Fate::FailsAtOnce, Fate::Refuses]);
    let u = w.say_with("a", LONG, backed("smooth", &["plain", "timed-pieces"]));
    w.rest();
    assert_eq!(w.outcome(u), "completed");
    assert_eq!(w.ended(u).unwrap().1.backend, "timed-pieces");
}

#[test]
fn later_pieces_of_a_stream_go_on_with_the_one_that_works() {
    let mut w = world();
    let u = w.say_open_with("a", backed("smooth", &["timed-pieces"]));
    w.fates.extend([Fate::Speaks, Fate::FailsAtOnce]);
    w.append("a", u, 1, "One is said.\n");
    w.append("a", u, 2, "Two is said.\n");
    w.append("a", u, 3, "Three is said.");
    w.say_end("a", u);
    w.rest();
    let (outcome, report) = w.ended(u).unwrap();
    assert_eq!(outcome, Outcome::Completed);
    assert_eq!(report.backend, "timed-pieces");
    let expected = [
        ("smooth", "One is said.\n"),
        ("smooth", "Two is said.\n"),
        ("timed-pieces", "Two is said.\n"),
        ("timed-pieces", "Three is said."),
    ];
    assert_eq!(asked(&w), pairs(&expected));
}

#[test]
fn a_stream_that_ends_while_its_piece_fails_is_spoken_to_its_end() {
    let mut w = world();
    let u = w.say_open_with("a", backed("smooth", &["plain"]));
    w.fates.push_back(Fate::FailsAtOnce);
    w.append("a", u, 1, "One is said.\n");
    w.say_end("a", u);
    w.rest();
    assert_eq!(w.outcome(u), "completed");
    assert_eq!(w.ended(u).unwrap().1.heard_text, "One is said.\n");
}

#[test]
fn a_stream_whose_later_piece_nobody_speaks_fails_with_what_was_heard() {
    let mut w = world();
    let u = w.say_open_with("a", backed("smooth", &["plain"]));
    w.fates.extend([Fate::Speaks, Fate::FailsAtOnce, Fate::Busy]);
    w.append("a", u, 1, "One is said.\nTwo is said.\n");
    w.run(5 * S);
    w.append("a", u, 2, "Three is said.\n");
    w.rest();
    let (outcome, report) = w.ended(u).unwrap();
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    assert_eq!(report.heard_text.trim_end(), "One is said.");
    assert_eq!(report.backend, "smooth", "whose voice was heard");
}

#[test]
fn heard_words_of_two_backends_are_judged_as_each_knows_them() {
    let mut w = world();
    let u = w.say_open_with("a", backed("smooth", &["plain"]));
    w.fates.extend([Fate::Speaks, Fate::FailsAtOnce]);
    w.append("a", u, 1, "one two.\n");
    w.append("a", u, 2, "three four five six seven.\n");
    w.run_until_started(u);
    w.run(9 * CHAR_US + 8 * CHAR_US);
    let report = w.cancel("a", all());
    assert_eq!(report.heard_text, "one two.\nthree four");
    assert_eq!((report.heard_source, report.backend.as_str()), (HeardSource::Estimated, "plain"));
}

/// C3: of those that failed nothing is left to tell; the one that was given up was told then.
#[test]
fn a_cancel_after_a_fallback_tells_who_may_still_speak_and_nobody_twice() {
    let mut w = world();
    w.fates.extend([Fate::FailsAtOnce, Fate::NeverAnswers, Fate::Speaks]);
    let u = w.say_with("a", LONG, backed("smooth", &["timed-pieces", "plain"]));
    w.run_until_started(u);
    let report = w.cancel("a", all());
    let told: Vec<_> = report.syntheses.iter().map(|s| (s.1, s.2)).collect();
    assert_eq!(told[0].1, Told::NotNeeded);
    assert_eq!(told[1], (SynthesisState::Requested, Told::Told));
    assert_eq!(told[2].1, Told::Told);
    assert_eq!(count(&w, |e| matches!(e, Effect::CancelSynthesis { .. })), 1);
}

#[test]
fn a_silent_backend_is_given_up_and_away_at_once() {
    let mut w = world();
    w.fates.push_back(Fate::NeverAnswers);
    let u = w.say("a", LONG);
    w.rest();
    assert!(matches!(w.ended(u).unwrap().0, Outcome::Failed(e) if e.kind == ErrorKind::BackendUnavailable));
    assert_eq!(away(&w), [("smooth".to_owned(), 1)]);
}

#[test]
fn a_backend_that_stalls_in_the_middle_fails_its_utterance_with_what_was_heard() {
    let mut w = world();
    w.fates.push_back(Fate::Stalls);
    let u = w.say_with("a", LONG, backed("smooth", &["plain"]));
    w.rest();
    let (outcome, report) = w.ended(u).unwrap();
    assert!(matches!(outcome, Outcome::Failed(_)));
    assert!(!report.heard_text.is_empty());
    assert_eq!(orders(&w).len(), 1);
}

#[test]
fn one_that_is_away_is_not_asked_and_its_fallback_speaks_at_once() {
    let mut w = world();
    w.fates.push_back(Fate::Busy);
    let first = w.say("a", "x");
    w.run(S);
    assert_eq!(outcomes(&w, [first]), ["failed"]);
    let second = w.say_with("a", LONG, backed("smooth", &["plain"]));
    w.rest();
    assert_eq!(w.ended(second).unwrap().1.backend, "plain");
    assert_eq!(asked(&w), pairs(&[("smooth", "x"), ("plain", LONG)]));
    // Its two seconds are over.
    let third = w.say_with("a", LONG, backed("smooth", &["plain"]));
    w.rest();
    assert_eq!(w.ended(third).unwrap().1.backend, "smooth");
    assert_eq!(count(&w, |e| matches!(e, Effect::Note(Note::BackendBack { .. }))), 1);
}

#[test]
fn without_a_fallback_it_says_when_it_is_asked_again() {
    let mut w = world();
    w.fates.push_back(Fate::Busy);
    w.say("a", "x");
    w.run(500 * MS);
    let u = w.say("a", LONG);
    w.rest();
    assert!(matches!(w.ended(u).unwrap().0, Outcome::Failed(e) if e.kind == ErrorKind::BackendUnavailable));
    assert_eq!(
        message(&w, u),
        "backend \"smooth\" is not asked for another 1511 ms: out of order",
        "it was told 2 s when its request failed"
    );
    assert_eq!(orders(&w).len(), 1);
}

#[test]
fn what_waits_for_its_turn_does_not_fail_while_the_backend_is_away() {
    let mut w = world();
    let heard = w.say_with("a", LONG, by("plain"));
    w.run_until_started(heard);
    w.feed(Input::BackendHealth {
        backend: "smooth".into(),
        health: Err("it is being updated".into()),
    });
    let next = w.say_with("a", "And more.", by("smooth"));
    w.rest();
    assert_eq!(outcomes(&w, [heard, next]), ["completed", "completed"]);
}

#[test]
fn a_plugin_may_say_itself_that_it_is_well_again() {
    let mut w = world();
    let health = |health| Input::BackendHealth {
        backend: "smooth".into(),
        health,
    };
    w.feed(health(Err("no licence".into())));
    let refused = w.say("a", "x");
    w.run(10 * MS);
    assert!(message(&w, refused).ends_with("no licence"));
    w.feed(health(Ok(())));
    let spoken = w.say("a", "x");
    w.rest();
    assert_eq!(outcomes(&w, [refused, spoken]), ["failed", "completed"]);
}

#[test]
fn a_back_off_of_0_asks_it_every_time() {
    let mut w = world();
    let never = Patience {
        back_off_us: 0,
        ..Patience::default()
    };
    w.feed(Input::Settings(Box::new(Settings {
        patience: [("smooth".to_owned(), never)].into(),
        ..Settings::default()
    })));
    for _ in 0..10 {
        w.fates.push_back(Fate::FailsAtOnce);
        w.say("a", "x");
        w.rest();
    }
    assert_eq!(orders(&w).len(), 10);
    assert_eq!(away(&w), []);
}

#[test]
fn a_phrase_from_the_cache_has_nobody_to_be_told() {
    let mut w = world();
    w.fates.push_back(Fate::Cached);
    let u = w.say("a", LONG);
    w.run_until_started(u);
    let report = w.cancel("a", all());
    assert_eq!(report.syntheses.len(), 1);
    assert_eq!(
        (report.syntheses[0].1, report.syntheses[0].2),
        (SynthesisState::Cached, Told::NotNeeded)
    );
}

#[test]
fn what_may_be_kept_is_decided_by_length_privacy_and_the_clients_word() {
    let mut w = world();
    w.open_with(
        "private",
        SessionOptions {
            private: Some(true),
            ..SessionOptions::default()
        },
    );
    let cached = |cache| SayOptions {
        cache: Some(cache),
        ..SayOptions::default()
    };
    let long = "word ".repeat(100);
    for (session, text, options, expected) in [
        ("a", "short", SayOptions::default(), CacheUse::Auto),
        ("a", long.as_str(), SayOptions::default(), CacheUse::No),
        ("a", long.as_str(), cached(CacheUse::Pin), CacheUse::Pin),
        ("a", "short", cached(CacheUse::No), CacheUse::No),
        ("private", "short", cached(CacheUse::Pin), CacheUse::No),
    ] {
        w.say_with(session, text, options);
        assert_eq!(orders(&w).last().unwrap().cache, expected, "{session} {text:.10}");
        w.rest();
    }
}

#[test]
fn phrases_of_the_configuration_are_synthesised_at_the_start_piece_by_piece_until_they_succeed() {
    let mut w = world();
    let pin = |backend: &str| Pin {
        backend: backend.into(),
        text: "One is said. Two is said.".into(),
        ..Pin::default()
    };
    w.feed(Input::Settings(Box::new(Settings {
        pins: vec![pin("smooth"), pin("pieces"), pin("nobody")],
        ..Settings::default()
    })));
    w.feed(Input::Start);
    let primes = |w: &World| {
        let of = w.log.iter().filter_map(|(at, e)| match e {
            Effect::Prime(p) => Some((*at, p.clone())),
            _ => None,
        });
        of.collect::<Vec<_>>()
    };
    let first = primes(&w);
    assert_eq!(first.len(), 2, "a backend that is not there is told, and left alone");
    assert_eq!((first[0].1.text.as_str(), first[0].1.last), ("One is said. Two is said.", true));
    assert_eq!((first[1].1.text.as_str(), first[1].1.last), ("One is said. ", false));
    let answer = |w: &mut World, p: &utterd_core::Prime, well: bool| {
        let event = if well {
            SynthesisEvent::Delivered { audio_us: S, ahead_us: 0 }
        } else {
            SynthesisEvent::Failed {
                error: utterd_core::Failure {
                    kind: ErrorKind::BackendUnavailable,
                    message: "not yet".into(),
                },
                audio_us: 0,
                fault: utterd_core::Fault::Backend { retry_after_us: 0 },
            }
        };
        w.feed(Input::Synthesis {
            synthesis: p.synthesis,
            event,
        });
    };
    answer(&mut w, &first[0].1, true);
    answer(&mut w, &first[1].1, true);
    let second = primes(&w)[2].clone();
    assert_eq!((second.1.text.as_str(), second.1.last), ("Two is said.", true));
    answer(&mut w, &second.1, false);
    let before = w.now;
    w.rest();
    let third = primes(&w)[3].clone();
    assert_eq!(third.0 - before, S);
    assert_ne!(third.1.synthesis, second.1.synthesis);
    answer(&mut w, &third.1, true);
    let done = |e: &Effect| matches!(e, Effect::Note(Note::Primed { error: None, .. }));
    assert_eq!(count(&w, done), 2);
    w.rest();
    assert_eq!(primes(&w).len(), 4);
}

#[test]
fn a_refused_ack_stands_in_the_report_while_it_is_open_else_it_is_for_the_operator() {
    let mut w = world();
    let unacknowledged = |w: &mut World, synthesis| {
        w.feed(Input::Synthesis {
            synthesis,
            event: SynthesisEvent::Unacknowledged {
                backend: "smooth".into(),
                error: "the server refused the cancel".into(),
            },
        });
    };
    w.say("a", LONG);
    w.run(20 * MS);
    let synthesis = orders(&w)[0].synthesis;
    let token = w.begin_cancel("a", all());
    unacknowledged(&mut w, synthesis);
    w.run(100 * MS);
    assert_eq!(w.report(token).errors, ["backend \"smooth\": the server refused the cancel"]);
    unacknowledged(&mut w, synthesis);
    let told: Vec<_> = w
        .log
        .iter()
        .filter_map(|(_, e)| match e {
            Effect::Note(Note::CancelUnacknowledged { reported, .. }) => Some(*reported),
            _ => None,
        })
        .collect();
    assert_eq!(told, [true, false]);
}
