//! Barge-in: reports, detectors, protection. The microphone: microphone.rs.

use utterd_core::hearing::{Backchannel, BargeInPolicy, FindingKind, Report};
use utterd_core::{Micros, SpeechDetails};

use super::*;

pub(super) fn policy(policy: BargeInPolicy) -> SessionOptions {
    SessionOptions {
        barge_in: Some(policy),
        ..SessionOptions::default()
    }
}

/// With session "a", which pauses and confirms, and session "b", which does not hear.
pub(super) fn hearing() -> World {
    hearing_with(policy(BargeInPolicy::PauseThenConfirm))
}

pub(super) fn hearing_with(options: SessionOptions) -> World {
    let mut w = World::new();
    w.open_with("a", options);
    w.open("b");
    w
}

/// As `hearing`, without a microphone: clients report.
pub(super) fn reported() -> World {
    hearing_with(SessionOptions {
        detector: Some("none".into()),
        ..policy(BargeInPolicy::PauseThenConfirm)
    })
}

pub(super) fn configure(w: &mut World, options: SessionOptions) -> Token {
    w.ask(
        1,
        Request::Configure {
            target: target("a"),
            options,
        },
    )
}

pub(super) fn begin_report(w: &mut World, kind: Report, details: SpeechDetails) -> Token {
    let target = target("a");
    w.ask(1, Request::ReportSpeech { target, kind, details })
}

pub(super) fn report_with(w: &mut World, kind: Report, details: SpeechDetails) -> &'static str {
    let token = begin_report(w, kind, details);
    w.run(100 * MS);
    match w.reply(token) {
        Ok(Reply::Decision(decision)) => decision,
        other => panic!("ReportSpeech was answered {other:?}"),
    }
}

pub(super) fn report(w: &mut World, kind: Report) -> &'static str {
    report_with(w, kind, SpeechDetails::default())
}

/// Stages of BargeIn so far.
pub(super) fn stages(w: &World) -> Vec<&'static str> {
    let of = |(_, e): &(Micros, Effect)| match e {
        Effect::Signal {
            signal: Signal::BargeIn { stage, .. },
            ..
        } => Some(*stage),
        _ => None,
    };
    w.log.iter().filter_map(of).collect()
}

pub(super) fn pauses(w: &World) -> usize {
    count(w, |e| matches!(e, Effect::PauseTrack { .. }))
}

pub(super) fn captures(w: &World) -> (usize, usize) {
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

pub(super) fn speaking(w: &mut World) -> UtteranceId {
    let u = w.say("a", LONG);
    w.run_until_started(u);
    w.run(10 * CHAR_US);
    u
}

pub(super) fn protect(us: Micros) -> SayOptions {
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
fn a_backchannel_begins_no_speech_and_interrupts_none() {
    let mut w = hearing();
    let u = speaking(&mut w);
    w.hears("a", FindingKind::Backchannel);
    w.hears("a", FindingKind::SpeechEnd);
    assert!(w.signal_at(|s| matches!(s, Signal::Detected { kind: "backchannel", .. })).is_some());
    assert!(w.signal_at(|s| matches!(s, Signal::SpeechStarted { .. })).is_none());
    w.rest();
    assert_eq!((w.outcome(u), stages(&w)), ("completed", vec![]));
}

#[test]
fn speech_that_was_confirmed_and_never_ended_does_not_date_what_is_said_a_minute_later() {
    let mut w = reported();
    speaking(&mut w);
    assert_eq!(report(&mut w, Report::Confirmed), "cancelled");
    assert_eq!(report(&mut w, Report::Confirmed), "ignored", "T7: once");
    w.run(60 * S);
    speaking(&mut w);
    let before = w.log.len();
    assert_eq!(report(&mut w, Report::Suspected), "paused");
    let told: Vec<&Signal> = w.log[before..]
        .iter()
        .filter_map(|(_, e)| match e {
            Effect::Signal { signal, .. } => Some(signal),
            _ => None,
        })
        .collect();
    let is = |of: &dyn Fn(&Signal) -> bool| told.iter().any(|s| of(s));
    assert!(is(&|s| matches!(s, Signal::SpeechStopped { .. })) && is(&|s| matches!(s, Signal::SpeechStarted { .. })));
    assert!(
        is(&|s| matches!(
            s,
            Signal::BargeIn {
                stage: "suspected",
                latency_us: 0,
                ..
            }
        )),
        "{told:?}"
    );
    assert_eq!(report(&mut w, Report::Confirmed), "cancelled");
}
