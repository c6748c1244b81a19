//! The microphone of a barge-in: when it is opened, that it stays open for the answer, and which detector hears it.

use utterd_core::hearing::{BargeInPolicy, FindingKind};

use super::bargein::{captures, configure, hearing, hearing_with, pauses, policy, speaking, stages};
use super::*;

#[test]
fn a_policy_opens_the_microphone_at_the_first_utterance_and_closes_it_after_the_last() {
    let mut w = hearing();
    w.run(10 * S);
    assert_eq!(captures(&w), (0, 0), "nothing is opened unasked");
    let u = speaking(&mut w);
    assert_eq!(captures(&w), (1, 0));
    assert!(
        w.signal_at(|s| matches!(
            s,
            Signal::ListeningChanged {
                on: true,
                reason: "barge-in",
                ..
            }
        ))
        .is_some()
    );
    w.run_until(|w| w.outcome(u) == "completed");
    // A pause between two sentences of an answer is no second start.
    w.run(S);
    let next = w.say("a", "Next.");
    w.run_until(|w| w.outcome(next) == "completed");
    w.rest();
    assert_eq!(captures(&w), (1, 1), "O7");
    assert!(w.device.captures.is_empty() && w.ears.running.is_empty());
}

#[test]
fn without_a_detector_or_under_off_no_microphone_is_opened() {
    for options in [
        policy(BargeInPolicy::Off),
        SessionOptions {
            detector: Some("none".into()),
            ..policy(BargeInPolicy::PauseThenConfirm)
        },
        SessionOptions {
            output: Some(Output::Null),
            ..policy(BargeInPolicy::PauseThenConfirm)
        },
    ] {
        let mut w = hearing_with(options);
        speaking(&mut w);
        w.rest();
        assert_eq!(captures(&w), (0, 0));
    }
}

#[test]
fn o7_leaving_keeps_the_microphone_for_the_answer_and_readers_hear_nothing() {
    let mut w = hearing();
    let entered = w.enter("a", 1);
    w.run(50 * MS);
    assert!(w.reply(entered).is_ok() && w.ears.delivering.contains("a"));
    let left = w.leave("a", 1);
    let Ok(Reply::Transition { outcome, generation }) = w.reply(left) else {
        panic!("not answered at once");
    };
    assert_eq!((outcome, generation), ("applied", 2));
    assert!(w.ears.delivering.is_empty());
    assert_eq!(captures(&w), (1, 0));
    let u = speaking(&mut w);
    w.hears("a", FindingKind::SpeechStart);
    assert_eq!(w.state("a").state, "paused");
    w.hears("a", FindingKind::SpeechEnd);
    w.run_until(|w| w.outcome(u) == "completed");
    w.rest();
    assert_eq!(captures(&w), (1, 1));
}

#[test]
fn a_kept_microphone_is_closed_after_a_minute_without_an_answer() {
    let mut w = hearing();
    w.enter("a", 1);
    w.run(50 * MS);
    w.leave("a", 1);
    w.run(59 * S);
    assert_eq!(captures(&w), (1, 0));
    w.run(2 * S);
    assert_eq!(captures(&w), (1, 1));
}

#[test]
fn entering_while_the_answer_is_heard_needs_no_device() {
    let mut w = hearing();
    w.enter("a", 1);
    w.run(50 * MS);
    w.leave("a", 1);
    speaking(&mut w);
    let stale = w.enter("a", 1);
    assert!(matches!(w.reply(stale), Ok(Reply::Transition { outcome: "stale", .. })));
    let entered = w.enter("a", 0);
    assert_eq!(
        w.reply(entered),
        Ok(Reply::Transition {
            outcome: "applied",
            generation: 3
        })
    );
    assert_eq!(captures(&w), (1, 0));
    assert!(w.ears.delivering.contains("a"));
    assert_eq!(w.state("a").turn, 2);
    configure(&mut w, policy(BargeInPolicy::Off));
    w.leave("a", 0);
    w.rest();
    assert_eq!(captures(&w), (1, 1));
}

#[test]
fn leaving_what_was_never_entered_is_already() {
    let mut w = hearing();
    speaking(&mut w);
    let left = w.leave("a", 0);
    assert!(matches!(w.reply(left), Ok(Reply::Transition { outcome: "already", .. })));
    assert_eq!(captures(&w), (1, 0));
}

#[test]
fn whoever_enters_takes_the_microphone_and_the_other_hears_through_it() {
    let mut w = hearing();
    let u = speaking(&mut w);
    w.enter("b", 1);
    w.run(50 * MS);
    assert_eq!(captures(&w), (2, 1));
    assert!(w.ears.delivering.contains("b") && !w.ears.delivering.contains("a"));
    w.hears("a", FindingKind::SpeechStart);
    assert_eq!(w.state("a").state, "paused");
    w.hears("a", FindingKind::BargeIn);
    w.run(100 * MS);
    assert_eq!(w.outcome(u), "cancelled");
    assert!(w.ears.running.is_empty(), "it has nothing to say any more");
}

#[test]
fn a_lost_microphone_ends_the_suspicion_and_its_return_starts_the_detector_again() {
    let mut w = hearing();
    let u = speaking(&mut w);
    w.hears("a", FindingKind::SpeechStart);
    assert_eq!(w.state("a").state, "paused");
    w.microphone(true, 3);
    w.run(10 * MS);
    assert_eq!((w.state("a").state, w.ears.running.len()), ("speaking", 0));
    w.microphone(false, 1);
    w.run(50 * MS);
    w.hears("a", FindingKind::SpeechStart);
    assert_eq!((w.state("a").state, w.outcome(u)), ("paused", "open"));
}

#[test]
fn a_microphone_that_cannot_be_opened_is_asked_for_once_an_answer() {
    let mut w = hearing();
    w.device.away = true;
    for n in 1..=2 {
        let u = speaking(&mut w);
        w.run_until(|w| w.outcome(u) == "completed");
        w.rest();
        assert_eq!(captures(&w), (n, n));
    }
}

#[test]
fn a_detector_that_fails_ends_its_suspicion_and_another_takes_its_place() {
    let mut w = hearing();
    speaking(&mut w);
    w.hears("a", FindingKind::SpeechStart);
    let id = w.ears.names["a"];
    let (generation, _) = w.ears.running[&id];
    w.detector_fails(id, generation);
    assert_eq!(w.state("a").state, "speaking");
    assert_eq!(w.ears.running[&id].1, "second");
    w.finding(id, generation, FindingKind::SpeechStart, w.now);
    assert_eq!(w.state("a").state, "speaking", "the old one is not listened to");
    let (generation, _) = w.ears.running[&id];
    w.detector_fails(id, generation);
    w.rest();
    assert_eq!(captures(&w), (1, 1), "nobody is left to hear");
}

#[test]
fn a_detector_that_is_always_wrong_loses_its_say() {
    let mut w = hearing();
    w.say("a", &format!("{LONG} {LONG} {LONG}"));
    w.run(S);
    for _ in 0..40 {
        w.hears("a", FindingKind::SpeechStart);
        w.run(20 * MS);
        w.hears("a", FindingKind::SpeechEnd);
        w.run(20 * MS);
    }
    let failed = count(&w, |e| matches!(e, Effect::Note(utterd_core::Note::DetectorFailed { .. })));
    assert_eq!(failed, 2);
    let before = pauses(&w);
    w.hears("a", FindingKind::SpeechStart);
    assert_eq!(pauses(&w), before, "report-only");
}

#[test]
fn a_muted_microphone_hears_nobody_and_says_so_to_detectors() {
    let mut w = hearing();
    speaking(&mut w);
    w.hears("a", FindingKind::SpeechStart);
    assert_eq!(w.state("a").state, "paused");
    let muted = true;
    w.ask(
        1,
        Request::SetSessionMicMuted {
            target: target("a"),
            muted,
        },
    );
    assert_eq!((w.state("a").state, w.state("a").mic_muted), ("speaking", true));
    let id = w.ears.names["a"];
    assert_eq!(w.ears.context[&id], (true, false, true));
    w.hears("a", FindingKind::SpeechStart);
    assert_eq!(w.state("a").state, "speaking");
    let muted = false;
    w.ask(
        1,
        Request::SetSessionMicMuted {
            target: target("a"),
            muted,
        },
    );
    w.ask(1, Request::SetMasterMicMuted { muted: true });
    assert_eq!(w.ears.context[&id], (true, false, true));
    w.ask(1, Request::SetMasterMicMuted { muted });
    assert_eq!(w.ears.context[&id], (true, false, false));
}

#[test]
fn configure_takes_effect_at_once() {
    let mut w = hearing();
    speaking(&mut w);
    w.hears("a", FindingKind::SpeechStart);
    configure(&mut w, policy(BargeInPolicy::Off));
    assert_eq!(w.state("a").state, "speaking");
    w.run(50 * MS);
    assert_eq!(captures(&w), (1, 1));
    configure(&mut w, policy(BargeInPolicy::CancelAtOnce));
    w.run(50 * MS);
    assert_eq!(captures(&w), (2, 1));
    w.hears("a", FindingKind::SpeechStart);
    assert_eq!(stages(&w), ["suspected", "false", "confirmed"]);
}

#[test]
fn a_detector_that_is_not_there_is_refused_by_name() {
    let mut w = hearing();
    let options = SessionOptions {
        detector: Some("third".into()),
        ..SessionOptions::default()
    };
    let token = configure(&mut w, options);
    let failure = w.reply(token).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::InvalidArgs);
    assert!(failure.message.contains("first, second"), "{}", failure.message);
}

#[test]
fn the_silence_before_an_answer_is_told_with_its_start() {
    let mut w = hearing();
    w.enter("a", 1);
    w.run(50 * MS);
    w.hears("a", FindingKind::SpeechStart);
    w.run(S);
    w.hears("a", FindingKind::SpeechEnd);
    let end = w.now - 30 * MS;
    w.leave("a", 1);
    w.run(300 * MS);
    let u = speaking(&mut w);
    let silence = w.log.iter().find_map(|(at, e)| match e {
        Effect::Signal {
            signal: Signal::UtteranceStarted {
                utterance,
                user_silence_us,
                ..
            },
            ..
        } if *utterance == u => Some((*at, *user_silence_us)),
        _ => None,
    });
    let (at, silence) = silence.unwrap();
    assert_eq!(silence, Some(at - end));
}

#[test]
fn closing_a_session_stops_its_detector_and_its_microphone() {
    for drain in [false, true] {
        let mut w = hearing();
        speaking(&mut w);
        w.hears("a", FindingKind::SpeechStart);
        w.close("a", drain);
        w.run(50 * MS);
        assert_eq!(captures(&w), (1, 1));
        assert!(w.ears.running.is_empty() && w.ears.delivering.is_empty());
        w.rest();
        assert!(!w.book.sessions.contains_key("a"));
    }
}
