//! Rules whose mutation no test had noticed (SPECIFICATION, "What the tests notice"): each has its test here now.

use super::*;
use utterd_core::Note;

fn transition(w: &World, token: Token) -> &'static str {
    match w.reply(token) {
        Ok(Reply::Transition { outcome, .. }) => outcome,
        other => panic!("a transition was answered {other:?}"),
    }
}

fn counters(w: &mut World) -> std::collections::BTreeMap<&'static str, u64> {
    let token = w.ask(1, Request::OwnerProperties);
    match w.reply(token) {
        Ok(Reply::OwnerProperties(_, counters)) => counters,
        other => panic!("{other:?}"),
    }
}

#[test]
fn o1_a_take_over_closes_the_capture_that_was_open_before_it_opens_its_own() {
    let mut w = world();
    w.enter("a", 0);
    w.run(20 * MS);
    let capture = w.device.captures[""].order;
    w.enter("b", 0);
    w.run(20 * MS);
    let orders: Vec<_> = w.device.orders.iter().map(|(op, session, _)| (*op, session.as_str())).collect();
    assert_eq!(
        orders,
        [
            (DeviceOp::OpenCapture, "a"),
            (DeviceOp::CloseCapture { capture }, "a"),
            (DeviceOp::OpenCapture, "b")
        ]
    );
}

#[test]
fn o6_while_a_recovery_runs_the_guard_asks_for_no_other() {
    let mut w = world();
    w.enter("a", 0);
    w.run(20 * MS);
    let order = w.device.captures[""].order;
    w.microphone(true, 1);
    w.run(20 * MS);
    w.device.is_dead = true;
    let asked = w.transition(Transition::MicClosedRecovery, "a", 0);
    for _ in 0..3 {
        let (output, event) = (Output::Local, DeviceEvent::Back);
        w.feed(Input::Device { order, output, event });
    }
    w.device.away = false;
    w.revive_device();
    w.run(100 * MS);
    assert_eq!(transition(&w, asked), "applied");
    let told = counters(&mut w);
    assert_eq!((told["recoveries"], told["already"]), (1, 0), "{told:?}");
    let asked_for = |e: &Effect| {
        matches!(
            e,
            Effect::Note(Note::Transition {
                transition: "mic-closed-recovery",
                ..
            })
        )
    };
    assert_eq!(count(&w, asked_for), 1, "nor does it answer one to itself");
}

#[test]
fn o6_a_late_echo_of_a_closing_is_no_closing_of_the_recovery_that_came_true() {
    let mut w = world();
    w.enter("a", 0);
    w.run(20 * MS);
    w.microphone(true, 1);
    w.run(20 * MS);
    w.device.is_dead = true;
    let given_up = w.transition(Transition::MicClosedRecovery, "a", 0);
    w.run(3 * S);
    assert_eq!(error(&w, given_up), ErrorKind::Failed);
    let Some(Effect::Device { order, .. }) = w.device.unread.last().cloned() else {
        panic!("it was ordered")
    };
    for event in [DeviceEvent::Lost, DeviceEvent::Opened, DeviceEvent::Lost] {
        let output = Output::Local;
        w.feed(Input::Device { order, output, event });
    }
    let told = counters(&mut w);
    assert_eq!((told["recoveries"], told["device-losses"]), (1, 1), "{told:?}");
}

/// A stream of two pieces, of which the second is being heard.
fn in_its_second_piece(w: &mut World) -> UtteranceId {
    let u = w.say_open("a");
    w.append("a", u, 1, "one two three.\n");
    w.append("a", u, 2, "four five six seven eight nine ten eleven twelve.\n");
    w.run_until(|w| {
        w.signal_at(|s| matches!(s, Signal::UtteranceProgress { chars, .. } if chars.start >= 15))
            .is_some()
    });
    w.run(5 * CHAR_US);
    u
}

#[test]
fn c3_what_was_heard_to_its_end_is_not_told() {
    let mut w = world();
    in_its_second_piece(&mut w);
    let report = w.cancel("a", all());
    let done: Vec<_> = report.syntheses.iter().map(|s| s.2).collect();
    assert_eq!(done, [Told::NotNeeded, Told::Told]);
    assert_eq!(count(&w, |e| matches!(e, Effect::CancelSynthesis { .. })), 1);
}

#[test]
fn c3_what_ended_by_itself_with_an_error_is_not_told() {
    let mut w = world();
    w.fates.extend([Fate::Speaks, Fate::FailsHalfWay]);
    let u = w.say_open("a");
    w.append("a", u, 1, "one two three four five six seven.\n");
    w.append("a", u, 2, "eight nine ten eleven twelve.\n");
    w.run_until_started(u);
    w.run(10 * CHAR_US);
    let report = w.cancel("a", all());
    let done: Vec<_> = report.syntheses.iter().map(|s| s.2).collect();
    assert_eq!(done, [Told::Told, Told::NotNeeded]);
}

#[test]
fn c4_the_reply_waits_until_the_backends_were_told() {
    let mut w = world();
    w.plan.told_us = 60 * MS;
    let u = w.say("a", LONG);
    w.run_until_started(u);
    let called = w.now;
    let token = w.begin_cancel("a", all());
    w.run_until(|w| w.answered(token));
    assert!(w.now - called >= 60 * MS, "answered after {} us", w.now - called);
    let report = w.report(token);
    assert!(
        report.errors.is_empty() && report.stages.unwrap().notified_us >= 60 * MS,
        "{report:?}"
    );
}

#[test]
fn c4_what_did_not_answer_is_told_to_the_operator_too() {
    let mut w = world();
    w.fates.push_back(Fate::NeverTold);
    let u = w.say("a", LONG);
    w.run_until_started(u);
    w.sound.away = true;
    let token = w.begin_cancel("a", all());
    w.run_until(|w| w.answered(token));
    let notes = count(
        &w,
        |e| matches!(e, Effect::Note(Note::CancelFailed { session, .. }) if session == "a"),
    );
    assert_eq!(notes, 2, "the cut and the backend");
}

#[test]
fn the_timer_of_an_earlier_pause_resumes_nothing() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.run_until_started(u);
    let (target, fade_us, auto_resume_us) = (target("a"), None, Some(S));
    w.ask(
        1,
        Request::Pause {
            target,
            fade_us,
            auto_resume_us,
        },
    );
    w.run(500 * MS);
    w.resume("a");
    w.run(10 * MS);
    w.pause("a");
    w.run(10 * S);
    assert_eq!(w.state("a").state, "paused");
}

#[test]
fn the_timer_of_an_earlier_idle_time_closes_nothing() {
    let mut w = World::new();
    let options = SessionOptions {
        idle_timeout_us: Some(2 * S),
        ..SessionOptions::default()
    };
    w.open_with("a", options);
    w.run(S);
    let u = w.say("a", "Hi.");
    w.run_until(|w| w.outcome(u) == "completed");
    w.run(1_500 * MS);
    assert_eq!(w.state("a").state, "idle", "its own time is not over");
    w.run(S);
    let token = w.try_say("a", "Too late.", SayOptions::default());
    assert_eq!(error(&w, token), ErrorKind::SessionClosed);
}
