//! Barge-in: reports, detectors, protection, and the microphone that stays open for the answer.

use utterd_core::hearing::{Backchannel, BargeInPolicy, FindingKind, Report};
use utterd_core::{Micros, SpeechDetails};

use super::*;

fn policy(policy: BargeInPolicy) -> SessionOptions {
    SessionOptions {
        barge_in: Some(policy),
        ..SessionOptions::default()
    }
}

/// With session "a", which pauses and confirms, and session "b", which does not hear.
fn hearing() -> World {
    hearing_with(policy(BargeInPolicy::PauseThenConfirm))
}

fn hearing_with(options: SessionOptions) -> World {
    let mut w = World::new();
    w.open_with("a", options);
    w.open("b");
    w
}

/// As `hearing`, without a microphone: clients report.
fn reported() -> World {
    hearing_with(SessionOptions {
        detector: Some("none".into()),
        ..policy(BargeInPolicy::PauseThenConfirm)
    })
}

fn configure(w: &mut World, options: SessionOptions) -> Token {
    w.ask(
        1,
        Request::Configure {
            target: target("a"),
            options,
        },
    )
}

fn begin_report(w: &mut World, kind: Report, details: SpeechDetails) -> Token {
    let target = target("a");
    w.ask(1, Request::ReportSpeech { target, kind, details })
}

fn report_with(w: &mut World, kind: Report, details: SpeechDetails) -> &'static str {
    let token = begin_report(w, kind, details);
    w.run(100 * MS);
    match w.reply(token) {
        Ok(Reply::Decision(decision)) => decision,
        other => panic!("ReportSpeech was answered {other:?}"),
    }
}

fn report(w: &mut World, kind: Report) -> &'static str {
    report_with(w, kind, SpeechDetails::default())
}

/// Stages of BargeIn so far.
fn stages(w: &World) -> Vec<&'static str> {
    let of = |(_, e): &(Micros, Effect)| match e {
        Effect::Signal {
            signal: Signal::BargeIn { stage, .. },
            ..
        } => Some(*stage),
        _ => None,
    };
    w.log.iter().filter_map(of).collect()
}

fn pauses(w: &World) -> usize {
    count(w, |e| matches!(e, Effect::PauseTrack { .. }))
}

fn captures(w: &World) -> (usize, usize) {
    let opened = count(w, |e| {
        matches!(
            e,
            Effect::Device {
                op: DeviceOp::OpenCapture,
                ..
            }
        )
    });
    let closed = count(w, |e| {
        matches!(
            e,
            Effect::Device {
                op: DeviceOp::CloseCapture { .. },
                ..
            }
        )
    });
    (opened, closed)
}

fn speaking(w: &mut World) -> UtteranceId {
    let u = w.say("a", LONG);
    w.run_until_started(u);
    w.run(10 * CHAR_US);
    u
}

fn protect(us: Micros) -> SayOptions {
    SayOptions {
        protect_us: Some(us),
        ..SayOptions::default()
    }
}

// Reports.

#[test]
fn suspected_pauses_at_once_and_false_goes_on_from_the_sample() {
    let mut w = reported();
    let u = speaking(&mut w);
    assert_eq!(report(&mut w, Report::Suspected), "paused");
    assert_eq!((w.state("a").state, w.state("a").active_utterance), ("paused", u.get()));
    w.run(S);
    assert_eq!(report(&mut w, Report::False), "resumed");
    w.rest();
    let (_, report) = w.ended(u).unwrap();
    assert_eq!((w.outcome(u), report.played_us), ("completed", LONG.len() as u64 * CHAR_US));
    assert_eq!(stages(&w), ["suspected", "false"]);
}

#[test]
fn confirmed_cancels_the_session_and_ends_the_turn() {
    let mut w = reported();
    let heard = speaking(&mut w);
    let queued = w.say("a", "Next.");
    let other = w.say("b", "Of b.");
    assert_eq!(report(&mut w, Report::Suspected), "paused");
    let token = begin_report(&mut w, Report::Confirmed, SpeechDetails::default());
    w.run_until(|w| w.answered(token));
    assert_eq!(w.reply(token), Ok(Reply::Decision("cancelled")));
    assert_eq!(outcomes(&w, [heard, queued]), ["cancelled"; 2], "before the reply");
    assert_eq!(w.reason(heard), "barge-in");
    assert_eq!(w.state("a").turn, 2);
    assert_eq!(stages(&w), ["suspected", "confirmed"]);
    assert_eq!(w.started_at(other), None);
    w.rest();
    assert_eq!(w.outcome(other), "completed");
}

#[test]
fn t5_a_second_late_report_about_the_old_turn_does_not_hit_the_next_reply() {
    let mut w = reported();
    let old = speaking(&mut w);
    assert_eq!(report(&mut w, Report::Confirmed), "cancelled");
    let next = w.say("a", LONG);
    w.run_until_started(next);
    let turn = |n| SpeechDetails {
        turn: Some(n),
        ..SpeechDetails::default()
    };
    let about = SpeechDetails {
        utterance: Some(old.get()),
        ..SpeechDetails::default()
    };
    assert_eq!(report_with(&mut w, Report::Confirmed, turn(1)), "ignored");
    assert_eq!(report_with(&mut w, Report::Confirmed, about), "ignored");
    assert_eq!(w.outcome(next), "open");
    assert_eq!(report_with(&mut w, Report::Confirmed, turn(2)), "cancelled");
}

#[test]
fn t5_two_confirmations_cancel_each_utterance_once() {
    let mut w = reported();
    let u = speaking(&mut w);
    let first = begin_report(&mut w, Report::Confirmed, SpeechDetails::default());
    let second = begin_report(&mut w, Report::Confirmed, SpeechDetails::default());
    w.rest();
    assert_eq!(w.reply(first), Ok(Reply::Decision("cancelled")));
    assert_eq!(w.reply(second), Ok(Reply::Decision("ignored")));
    assert_eq!(count(&w, |e| matches!(e, Effect::Cut { utterance, .. } if *utterance == u)), 1);
}

#[test]
fn a_report_older_than_the_active_utterance_is_ignored() {
    let mut w = reported();
    let before = w.now;
    w.run(S);
    let u = speaking(&mut w);
    let details = SpeechDetails {
        at_us: Some(before),
        ..SpeechDetails::default()
    };
    assert_eq!(report_with(&mut w, Report::Suspected, details), "ignored");
    assert_eq!((w.state("a").state, w.outcome(u)), ("speaking", "open"));
    assert_eq!(stages(&w), ["ignored"]);
}

#[test]
fn what_cannot_matter_is_ignored() {
    let mut w = reported();
    for kind in [Report::Suspected, Report::Confirmed, Report::False, Report::Ended] {
        assert_eq!(report(&mut w, kind), "ignored", "nothing is active");
    }
    speaking(&mut w);
    assert_eq!(report(&mut w, Report::False), "ignored", "nothing was suspected");
    assert_eq!(report(&mut w, Report::Suspected), "paused");
    assert_eq!(
        report(&mut w, Report::Ended),
        "ignored",
        "it does not say that the suspicion was wrong"
    );
    assert_eq!(w.state("a").state, "paused");
}

#[test]
fn under_off_reports_are_ignored_and_nothing_is_told() {
    let mut w = hearing_with(policy(BargeInPolicy::Off));
    speaking(&mut w);
    for kind in [Report::Suspected, Report::Confirmed, Report::False] {
        assert_eq!(report(&mut w, kind), "ignored");
    }
    assert_eq!((stages(&w).len(), pauses(&w)), (0, 0));
}

#[test]
fn under_report_only_the_signals_go_out_and_nothing_changes() {
    let mut w = hearing_with(policy(BargeInPolicy::ReportOnly));
    let u = speaking(&mut w);
    for kind in [Report::Suspected, Report::False, Report::Suspected, Report::Confirmed] {
        assert_eq!(report(&mut w, kind), "ignored");
    }
    assert_eq!(stages(&w), ["suspected", "false", "suspected", "confirmed"]);
    assert_eq!(pauses(&w), 0);
    w.rest();
    assert_eq!(w.outcome(u), "completed");
}

#[test]
fn under_cancel_at_once_a_suspicion_cancels() {
    let mut w = hearing_with(policy(BargeInPolicy::CancelAtOnce));
    let u = speaking(&mut w);
    assert_eq!(report(&mut w, Report::Suspected), "cancelled");
    assert_eq!((w.outcome(u), pauses(&w)), ("cancelled", 0));
}

#[test]
fn an_unknown_utterance_of_a_report_is_an_error() {
    let mut w = reported();
    speaking(&mut w);
    for (number, kind) in [(0, ErrorKind::InvalidArgs), (77, ErrorKind::NoSuchUtterance)] {
        let details = SpeechDetails {
            utterance: Some(number),
            ..SpeechDetails::default()
        };
        let token = begin_report(&mut w, Report::Confirmed, details);
        assert_eq!(error(&w, token), kind);
    }
}

// Two phases.

#[test]
fn a_suspicion_that_nobody_confirms_ends_by_itself_and_another_one_begins_its_time_anew() {
    let mut w = reported();
    let u = speaking(&mut w);
    assert_eq!(report(&mut w, Report::Suspected), "paused");
    w.run(1_500 * MS);
    assert_eq!(report(&mut w, Report::Suspected), "paused");
    w.run(1_500 * MS);
    assert_eq!(w.state("a").state, "paused");
    w.run(500 * MS);
    assert_eq!(w.state("a").state, "speaking");
    assert_eq!(stages(&w), ["suspected", "false"]);
    w.rest();
    assert_eq!(w.ended(u).unwrap().1.played_us, LONG.len() as u64 * CHAR_US);
}

#[test]
fn before_the_first_sample_suspected_holds_the_start_and_confirmed_cancels() {
    let mut w = reported();
    w.plan.request_us = 500 * MS;
    let u = w.say("a", LONG);
    assert_eq!(report(&mut w, Report::Suspected), "paused");
    w.run(1_500 * MS);
    assert_eq!(w.started_at(u), None);
    assert_eq!(report(&mut w, Report::Confirmed), "cancelled");
    assert_eq!(w.ended(u).unwrap().1.played_us, 0);
}

#[test]
fn between_two_pipelined_sentences_suspected_holds_the_next() {
    let mut w = reported();
    let first = w.say("a", "One.");
    let second = w.say("a", "Two.");
    w.run_until(|w| count(w, |e| matches!(e, Effect::Play { .. })) == 2);
    w.run(50 * MS);
    assert_eq!(report(&mut w, Report::Suspected), "paused");
    w.run(S);
    assert_eq!((w.outcome(first), w.started_at(second)), ("open", None));
    assert_eq!(report(&mut w, Report::False), "resumed");
    w.rest();
    assert_eq!(outcomes(&w, [first, second]), ["completed"; 2]);
}

#[test]
fn a_suspicion_does_not_cost_the_floor() {
    let mut w = reported();
    let a = speaking(&mut w);
    let b = w.say("b", "Of b.");
    for _ in 0..4 {
        assert_eq!(report(&mut w, Report::Suspected), "paused");
        w.run(S);
    }
    assert_eq!(w.started_at(b), None);
    w.rest();
    assert_eq!(w.order_heard(), [a, b]);
}

#[test]
fn i11_a_clients_pause_and_a_suspicion_are_reasons_of_their_own() {
    let mut w = reported();
    speaking(&mut w);
    w.pause("a");
    assert_eq!(report(&mut w, Report::Suspected), "paused");
    w.resume("a");
    assert_eq!(w.state("a").state, "paused", "suspected is left");
    w.pause("a");
    assert_eq!(report(&mut w, Report::False), "resumed");
    assert_eq!(w.state("a").state, "paused", "client is left");
    w.resume("a");
    assert_eq!(w.state("a").state, "speaking");
    assert_eq!(pauses(&w), 1, "it was silent all the while");
}

#[test]
fn a_clients_cancel_ends_a_suspicion_without_a_word() {
    let mut w = reported();
    let first = speaking(&mut w);
    let second = w.say("a", LONG);
    assert_eq!(report(&mut w, Report::Suspected), "paused");
    w.cancel("a", one(first));
    w.run_until_started(second);
    assert_eq!(w.state("a").state, "speaking");
    assert_eq!(stages(&w), ["suspected"]);
}

// Protection.

#[test]
fn t6_a_greeting_is_neither_paused_nor_cancelled_before_its_time() {
    let mut w = reported();
    let u = w.say_with("a", LONG, protect(500 * MS));
    assert_eq!(report(&mut w, Report::Suspected), "protected", "from acceptance on");
    assert_eq!(report(&mut w, Report::Ended), "ignored");
    w.run_until_started(u);
    w.run(100 * MS);
    for kind in [Report::Suspected, Report::Confirmed, Report::False] {
        assert_eq!(report(&mut w, kind), if kind == Report::False { "ignored" } else { "protected" });
    }
    assert_eq!((w.state("a").state, pauses(&w)), ("speaking", 0));
    w.run(500 * MS);
    assert_eq!(report(&mut w, Report::Confirmed), "cancelled", "after it barge-in works as usual");
    assert_eq!(
        count(&w, |e| matches!(e, Effect::Note(utterd_core::Note::GreetingProtect { .. }))),
        3
    );
}

#[test]
fn t6_who_speaks_still_when_protection_ends_is_suspected_at_that_moment() {
    let mut w = hearing();
    let u = w.say_with("a", LONG, protect(500 * MS));
    w.run_until_started(u);
    w.run(100 * MS);
    w.hears("a", FindingKind::SpeechStart);
    assert_eq!(stages(&w), ["protected"]);
    w.run_until(|w| w.state("a").state == "paused");
    let started = w.started_at(u).unwrap();
    assert!((500 * MS..520 * MS).contains(&(w.now - started)), "{}", w.now - started);
    w.hears("a", FindingKind::BargeIn);
    w.run(100 * MS);
    assert_eq!(w.outcome(u), "cancelled");
    assert_eq!(stages(&w), ["protected", "suspected", "confirmed"]);
}

#[test]
fn t6_who_fell_silent_before_protection_ends_changes_nothing() {
    let mut w = hearing();
    let u = w.say_with("a", LONG, protect(500 * MS));
    w.run_until_started(u);
    w.hears("a", FindingKind::SpeechStart);
    w.run(100 * MS);
    w.hears("a", FindingKind::SpeechEnd);
    w.rest();
    assert_eq!((w.outcome(u), pauses(&w)), ("completed", 0));
    assert_eq!(
        count(&w, |e| matches!(e, Effect::Note(utterd_core::Note::GreetingCompleted { .. }))),
        1
    );
}

#[test]
fn i10_what_must_not_be_interrupted_stays_when_the_rest_is_cancelled() {
    let mut w = reported();
    let heard = speaking(&mut w);
    let options = SayOptions {
        interruptible: Some(false),
        ..SayOptions::default()
    };
    let warning = w.say_with("a", "A warning.", options);
    let after = w.say("a", "After it.");
    assert_eq!(report(&mut w, Report::Confirmed), "cancelled");
    assert_eq!(outcomes(&w, [heard, warning, after]), ["cancelled", "open", "cancelled"]);
    w.run_until_started(warning);
    assert_eq!(report(&mut w, Report::Confirmed), "protected");
    w.rest();
    assert_eq!(w.outcome(warning), "completed");
}

// Detectors and the microphone.

#[test]
fn a_detector_suspects_confirms_and_takes_back() {
    let mut w = hearing();
    let first = speaking(&mut w);
    w.hears("a", FindingKind::SpeechStart);
    assert_eq!(w.state("a").state, "paused");
    w.hears("a", FindingKind::SpeechEnd);
    assert_eq!(w.state("a").state, "speaking");
    w.hears("a", FindingKind::SpeechStart);
    w.hears("a", FindingKind::BargeIn);
    w.run(100 * MS);
    assert_eq!(w.outcome(first), "cancelled");
    assert_eq!(stages(&w), ["suspected", "false", "suspected", "confirmed"]);
    let told = w.signal_at(|s| {
        matches!(s, Signal::BargeIn { stage: "confirmed", detector, latency_us, utterance }
            if detector == "first" && *latency_us == 30 * MS && *utterance == Some(first))
    });
    assert!(told.is_some());
    let edges = |is: fn(&Signal) -> bool| count(&w, |e| matches!(e, Effect::Signal { signal, .. } if is(signal)));
    assert_eq!(edges(|s| matches!(s, Signal::SpeechStarted { .. })), 2);
    assert_eq!(edges(|s| matches!(s, Signal::SpeechStopped { .. })), 1);
}

#[test]
fn t9_the_account_of_a_barge_in_runs_from_the_onset_to_the_silence() {
    let mut w = hearing();
    let u = speaking(&mut w);
    w.hears("a", FindingKind::SpeechStart);
    w.run(200 * MS);
    w.hears("a", FindingKind::BargeIn);
    w.run(100 * MS);
    let account = w.log.iter().find_map(|(_, e)| match e {
        Effect::Note(utterd_core::Note::BargedIn {
            utterance,
            latency_us,
            count,
            ..
        }) => Some((*utterance, *latency_us, *count)),
        _ => None,
    });
    let (utterance, latency_us, count) = account.unwrap();
    assert_eq!((utterance, count), (u, 1));
    assert!((30 * MS..50 * MS).contains(&latency_us), "the pause had silenced it: {latency_us}");
}

#[test]
fn a_backchannel_only_pauses_where_it_is_to_resume() {
    let mut w = hearing_with(SessionOptions {
        backchannel: Some(Backchannel::Resume),
        ..policy(BargeInPolicy::PauseThenConfirm)
    });
    let u = speaking(&mut w);
    w.hears("a", FindingKind::SpeechStart);
    assert_eq!(w.state("a").state, "paused");
    w.hears("a", FindingKind::Backchannel);
    assert_eq!(w.state("a").state, "speaking");
    assert!(w.signal_at(|s| matches!(s, Signal::Detected { kind: "backchannel", .. })).is_some());
    w.rest();
    assert_eq!(w.outcome(u), "completed");
}

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
