//! The audio owner (SEMANTICS, "The audio owner and the device"; O1 to O7, I6 to I8).

use super::*;
use Transition::{EnterListening, MicClosedRecovery, PlaybackReassert};

/// Longer than the device takes.
const SOON: u64 = 20 * MS;

fn outcome(w: &World, token: Token) -> (&'static str, u64) {
    match w.reply(token) {
        Ok(Reply::Transition { outcome, generation }) => (outcome, generation),
        other => panic!("a transition was answered {other:?}"),
    }
}

/// Asks, waits and tells the outcome.
fn done(w: &mut World, transition: Transition, session: &str, turn: u64) -> (&'static str, u64) {
    let token = w.transition(transition, session, turn);
    w.run(SOON);
    outcome(w, token)
}

fn enter(w: &mut World, session: &str, turn: u64) -> (&'static str, u64) {
    done(w, EnterListening, session, turn)
}

fn leave(w: &mut World, session: &str, turn: u64) -> (&'static str, u64) {
    done(w, Transition::LeaveListening, session, turn)
}

fn owner(w: &mut World) -> (String, &'static str, u64) {
    let token = w.ask(1, Request::OwnerProperties);
    match w.reply(token) {
        Ok(Reply::OwnerProperties(p, _)) => (p.owner, p.state, p.generation),
        other => panic!("{other:?}"),
    }
}

fn counter(w: &mut World, name: &str) -> u64 {
    let token = w.ask(1, Request::OwnerProperties);
    match w.reply(token) {
        Ok(Reply::OwnerProperties(_, counters)) => counters[name],
        other => panic!("{other:?}"),
    }
}

fn owners(w: &World) -> Vec<(String, String, &'static str, u64)> {
    let changes = w.log.iter().filter_map(|(_, e)| match e {
        Effect::OwnerChanged {
            old,
            new,
            transition,
            generation,
        } => Some((old.clone(), new.clone(), *transition, *generation)),
        _ => None,
    });
    changes.collect()
}

fn change(old: &str, new: &str, transition: &'static str, generation: u64) -> (String, String, &'static str, u64) {
    (old.into(), new.into(), transition, generation)
}

/// Reasons of a session's ListeningChanged.
fn listening(w: &World, of: &str) -> Vec<(bool, &'static str)> {
    let told = w.log.iter().filter_map(|(_, e)| match e {
        Effect::Signal {
            session,
            signal: Signal::ListeningChanged { on, reason, .. },
        } if session == of => Some((*on, *reason)),
        _ => None,
    });
    told.collect()
}

fn opens(w: &World) -> usize {
    w.device.orders.iter().filter(|(op, ..)| *op == DeviceOp::OpenCapture).count()
}

#[test]
fn who_is_heard_owns_the_loudspeaker_when_what_it_interrupted_is_cancelled() {
    let mut w = world();
    let message = w.say("a", LONG);
    w.run_until_started(message);
    let alarm = w.say_with(
        "b",
        LONG,
        SayOptions {
            priority: Some(Priority::Important),
            ..SayOptions::default()
        },
    );
    w.run_until_started(alarm);
    w.cancel("a", CancelOptions::default());
    assert_eq!(owner(&mut w).0, "b");
    w.rest();
    assert_eq!(owner(&mut w).0, "");
}

#[test]
fn o1_entering_opens_the_microphone_and_leaving_closes_it() {
    let mut w = world();
    let token = w.enter("a", 0);
    assert!(!w.answered(token), "the answer comes when the device has answered");
    w.run(SOON);
    assert_eq!(outcome(&w, token), ("applied", 1));
    assert_eq!(owner(&mut w), ("a".into(), "listening", 1));
    assert!(w.device.captures[""].is_open);
    assert_eq!(leave(&mut w, "a", 0), ("applied", 2));
    assert_eq!(owner(&mut w), (String::new(), "idle", 2));
    assert!(w.device.captures.is_empty());
    assert_eq!(
        owners(&w),
        [change("", "a", "enter-listening", 1), change("a", "", "leave-listening", 2)]
    );
    assert_eq!(listening(&w, "a"), [(true, "client"), (false, "client")]);
    assert!(w.device.orders.iter().all(|(_, session, _)| session == "a"));
}

#[test]
fn o2_an_identical_request_joins_the_one_in_flight() {
    let mut w = world();
    let tokens = [w.enter("a", 0), w.enter("a", 0), w.enter("a", 1)];
    w.run(SOON);
    assert_eq!(tokens.map(|t| outcome(&w, t)), [("applied", 1), ("joined", 1), ("joined", 1)]);
    assert_eq!((opens(&w), counter(&mut w, "joined"), counter(&mut w, "applied")), (1, 2, 1));
}

#[test]
fn o2_a_conflicting_request_waits_its_turn_in_order() {
    let mut w = world();
    let tokens = [w.enter("a", 0), w.leave("a", 0), w.enter("b", 0), w.leave("b", 0), w.leave("b", 0)];
    assert_eq!(w.device.orders.len(), 1, "one transition in flight");
    w.run(100 * MS);
    let outcomes = tokens.map(|t| outcome(&w, t));
    assert_eq!(
        outcomes,
        [("applied", 1), ("applied", 2), ("applied", 3), ("applied", 4), ("joined", 4)]
    );
    assert!(w.device.captures.is_empty());
}

#[test]
fn o2_what_stands_between_is_not_jumped_over() {
    let mut w = world();
    let tokens = [w.enter("a", 0), w.leave("a", 0), w.enter("a", 0)];
    w.run(100 * MS);
    assert_eq!(tokens.map(|t| outcome(&w, t)), [("applied", 1), ("applied", 2), ("applied", 3)]);
    assert_eq!(w.state("a").turn, 2, "0 begins the next turn");
    assert!(w.device.captures[""].is_open);
}

#[test]
fn o2_a_device_that_does_not_answer_fails_after_two_seconds_and_the_next_runs() {
    let mut w = world();
    w.device.is_dead = true;
    let first = [w.enter("a", 0), w.enter("a", 0)];
    let next = w.enter("b", 0);
    w.run(2 * S - 1);
    assert!(!w.answered(first[0]));
    w.revive_device();
    w.run(1);
    assert_eq!(first.map(|t| error(&w, t)), [ErrorKind::Failed; 2]);
    w.run(SOON);
    assert_eq!(outcome(&w, next), ("applied", 1));
    assert_eq!(owner(&mut w).0, "b");
    let close = w.device.orders.iter().find(|(op, ..)| matches!(op, DeviceOp::CloseCapture { .. }));
    assert_eq!(close.unwrap().1, "a", "what may open yet is not wanted");
}

#[test]
fn o2_an_error_of_the_device_is_everybodys_and_changes_nothing() {
    let mut w = world();
    w.device.away = true;
    let tokens = [w.enter("a", 0), w.enter("a", 0)];
    w.run(SOON);
    assert_eq!(tokens.map(|t| error(&w, t)), [ErrorKind::Failed; 2]);
    assert_eq!(owner(&mut w), (String::new(), "idle", 0));
    assert_eq!((counter(&mut w, "capture-starts"), counter(&mut w, "capture-stops")), (0, 0));
    assert!(w.device.captures.is_empty());
}

#[test]
fn o3_an_older_turn_changes_nothing() {
    let mut w = world();
    assert_eq!(enter(&mut w, "a", 5), ("applied", 1));
    assert_eq!(w.state("a").turn, 5);
    let orders = w.device.orders.len();
    for transition in [EnterListening, Transition::LeaveListening, MicClosedRecovery, PlaybackReassert] {
        assert_eq!(done(&mut w, transition, "a", 4), ("stale", 1), "{transition:?}");
    }
    assert_eq!((w.device.orders.len(), counter(&mut w, "stale")), (orders, 4));
    assert_eq!(owner(&mut w), ("a".into(), "listening", 1));
}

#[test]
fn o3_a_larger_turn_counts_as_the_one_in_force() {
    let mut w = world();
    enter(&mut w, "a", 5);
    assert_eq!(leave(&mut w, "a", u64::MAX), ("applied", 2));
    assert_eq!(w.state("a").turn, 5);
}

#[test]
fn o3_the_turn_in_force_is_that_of_the_entering_not_of_the_session() {
    let mut w = world();
    enter(&mut w, "a", 1);
    w.say_with("a", "Hi.", turn(9));
    assert_eq!(
        leave(&mut w, "a", 1),
        ("applied", 2),
        "a barge-in must not leave the microphone open"
    );
}

#[test]
fn o3_after_a_take_over_the_old_session_is_stale_until_it_enters_again() {
    let mut w = world();
    enter(&mut w, "a", 0);
    assert_eq!(enter(&mut w, "b", 0), ("applied", 2));
    assert_eq!(owners(&w)[1], change("a", "b", "enter-listening", 2));
    assert_eq!(listening(&w, "a"), [(true, "client"), (false, "taken-over")]);
    for transition in [Transition::LeaveListening, MicClosedRecovery, PlaybackReassert] {
        assert_eq!(done(&mut w, transition, "a", 0), ("stale", 2), "{transition:?}");
    }
    leave(&mut w, "b", 0);
    assert_eq!(leave(&mut w, "a", 0), ("stale", 3));
    assert_eq!(enter(&mut w, "a", 0), ("applied", 4));
    assert_eq!(leave(&mut w, "a", 0), ("applied", 5));
    assert_eq!((counter(&mut w, "capture-starts"), counter(&mut w, "capture-stops")), (3, 3));
}

#[test]
fn o3_listening_that_has_ended_in_a_turn_does_not_begin_again_in_it() {
    let mut w = world();
    enter(&mut w, "a", 3);
    leave(&mut w, "a", 3);
    assert_eq!(enter(&mut w, "a", 3), ("stale", 2));
    assert_eq!(enter(&mut w, "a", 0), ("applied", 3));
    assert_eq!(w.state("a").turn, 4);
}

#[test]
fn o4_a_request_for_what_holds_already_does_not_reach_the_device() {
    let mut w = world();
    assert_eq!(leave(&mut w, "a", 0), ("already", 0));
    enter(&mut w, "a", 0);
    let orders = w.device.orders.len();
    assert_eq!(enter(&mut w, "a", 0), ("already", 1));
    assert_eq!(enter(&mut w, "a", 1), ("already", 1));
    assert_eq!(w.device.orders.len(), orders);
    assert_eq!(counter(&mut w, "already"), 3);
}

#[test]
fn o4_a_larger_turn_while_listening_is_applied_and_touches_nothing() {
    let mut w = world();
    enter(&mut w, "a", 1);
    let token = w.enter("a", 2);
    assert_eq!(outcome(&w, token), ("applied", 2), "at once: the device is not asked");
    assert_eq!((opens(&w), w.state("a").turn), (1, 2));
    assert_eq!(leave(&mut w, "a", 1), ("stale", 2));
}

#[test]
fn o4_routes_that_are_right_are_already_and_wrong_ones_are_repaired_once() {
    let mut w = world();
    assert_eq!(done(&mut w, PlaybackReassert, "a", 0), ("stale", 0), "nothing is in force");
    enter(&mut w, "a", 0);
    assert_eq!(done(&mut w, PlaybackReassert, "a", 0), ("already", 1));
    w.device.wrong_routes = 2;
    assert_eq!(done(&mut w, PlaybackReassert, "a", 0), ("applied", 2));
    assert_eq!(done(&mut w, PlaybackReassert, "a", 0), ("already", 2));
    assert_eq!(counter(&mut w, "route-asserts"), 1);
}

#[test]
fn o5_no_session_no_device() {
    let mut w = world();
    w.close("b", false);
    let cases = [
        ("", ErrorKind::InvalidSession),
        ("no spaces", ErrorKind::InvalidSession),
        ("nobody", ErrorKind::NoSuchSession),
        ("b", ErrorKind::SessionClosed),
    ];
    for (id, kind) in cases {
        for transition in [EnterListening, Transition::LeaveListening, MicClosedRecovery, PlaybackReassert] {
            let token = w.transition(transition, id, 0);
            assert_eq!(error(&w, token), kind, "{id:?}");
        }
    }
    let far = w.enter("a", (1 << 32) + 2);
    assert_eq!(error(&w, far), ErrorKind::InvalidArgs);
    assert_eq!((counter(&mut w, "refused"), w.device.orders.len()), (17, 0));
}

#[test]
fn o5_an_event_of_an_earlier_capture_is_not_the_present_ones() {
    let mut w = world();
    enter(&mut w, "a", 0);
    let order = w.device.captures[""].order;
    enter(&mut w, "b", 0);
    for _ in 0..3 {
        for event in [DeviceEvent::Lost, DeviceEvent::Back] {
            let output = Output::Local;
            w.feed(Input::Device { order, output, event });
        }
    }
    w.rest();
    assert_eq!((counter(&mut w, "device-losses"), counter(&mut w, "recoveries")), (1, 0));
    assert_eq!(listening(&w, "b"), [(true, "client")]);
}

#[test]
fn o5_a_session_that_closes_takes_its_listening_and_its_requests_with_it() {
    let mut w = world();
    enter(&mut w, "a", 0);
    let pending = w.leave("a", 0);
    w.close("a", false);
    assert_eq!(error(&w, pending), ErrorKind::SessionClosed);
    w.rest();
    assert!(w.device.captures.is_empty());
    assert_eq!(owner(&mut w), (String::new(), "idle", 1));
    assert_eq!(owners(&w)[1], change("a", "", "session-closed", 1));
    let waiting = [w.enter("b", 0), w.leave("b", 0)];
    w.close("b", false);
    assert_eq!(waiting.map(|t| error(&w, t)), [ErrorKind::SessionClosed; 2]);
    w.rest();
    assert!(w.device.captures.is_empty(), "what was still opening is closed");
}

#[test]
fn o6_a_hundred_events_of_one_closing_are_one_recovery() {
    let mut w = world();
    enter(&mut w, "a", 0);
    w.microphone(true, 100);
    w.run(SOON);
    assert_eq!(listening(&w, "a")[1], (false, "device-lost"));
    assert_eq!(
        owner(&mut w),
        ("a".into(), "listening", 1),
        "the session listens, the device does not"
    );
    w.microphone(false, 100);
    w.run(SOON);
    assert_eq!((counter(&mut w, "recoveries"), counter(&mut w, "device-losses")), (1, 1));
    assert_eq!(
        (counter(&mut w, "capture-starts"), counter(&mut w, "capture-stops")),
        (1, 0),
        "no churn"
    );
    assert_eq!(listening(&w, "a")[2], (true, "device-back"));
    assert_eq!(done(&mut w, MicClosedRecovery, "a", 0), ("already", 2));
    w.microphone(true, 2);
    w.run(SOON);
    w.microphone(false, 2);
    w.run(SOON);
    assert_eq!((counter(&mut w, "recoveries"), opens(&w)), (2, 3), "another closing");
}

#[test]
fn o6_a_client_may_announce_a_closing_once() {
    let mut w = world();
    enter(&mut w, "a", 0);
    let order = w.device.captures[""].order;
    assert_eq!(done(&mut w, MicClosedRecovery, "a", 0), ("applied", 2));
    let tokens = [0, 1].map(|turn| w.transition(MicClosedRecovery, "a", turn));
    assert_eq!(tokens.map(|t| outcome(&w, t)), [("already", 2); 2]);
    // The device announces the same closing late.
    let (output, event) = (Output::Local, DeviceEvent::Lost);
    w.feed(Input::Device { order, output, event });
    w.rest();
    assert_eq!((counter(&mut w, "recoveries"), opens(&w)), (1, 2));
}

#[test]
fn o6_a_recovery_that_fails_leaves_the_closing_to_the_next_one() {
    let mut w = world();
    enter(&mut w, "a", 0);
    w.microphone(true, 1);
    w.run(SOON);
    let failed = w.transition(MicClosedRecovery, "a", 0);
    w.run(SOON);
    assert_eq!(error(&w, failed), ErrorKind::Failed);
    w.microphone(false, 3);
    w.run(SOON);
    assert_eq!((counter(&mut w, "recoveries"), counter(&mut w, "device-losses")), (1, 1));
    assert!(w.device.captures[""].is_open);
}

#[test]
fn o6_nobody_listens_and_the_closing_is_counted_and_nothing_is_touched() {
    let mut w = world();
    enter(&mut w, "a", 0);
    let order = w.device.captures[""].order;
    leave(&mut w, "a", 0);
    let orders = w.device.orders.len();
    for _ in 0..5 {
        let (output, event) = (Output::Local, DeviceEvent::Lost);
        w.feed(Input::Device { order, output, event });
    }
    assert_eq!((counter(&mut w, "device-losses"), w.device.orders.len()), (1, orders));
    assert_eq!(done(&mut w, MicClosedRecovery, "a", 0), ("stale", 2));
}

#[test]
fn o7_a_turn_of_ten_utterances_starts_and_stops_once() {
    let mut w = world();
    enter(&mut w, "a", 0);
    for _ in 0..10 {
        w.say("a", "One two three.");
        assert_eq!(enter(&mut w, "a", 0).0, "already");
        done(&mut w, PlaybackReassert, "a", 0);
    }
    leave(&mut w, "a", 0);
    w.rest();
    let names = [
        "capture-starts",
        "capture-stops",
        "playback-starts",
        "playback-stops",
        "route-asserts",
    ];
    assert_eq!(names.map(|name| counter(&mut w, name)), [1, 1, 1, 1, 0]);
}

#[test]
fn o7_playback_stops_when_it_rests_or_when_the_turn_moves_on() {
    let mut w = world();
    let first = w.say("a", LONG);
    w.run_until_started(first);
    w.say_with("a", "Next turn.", turn(2));
    assert_eq!((counter(&mut w, "playback-starts"), counter(&mut w, "playback-stops")), (1, 1));
    w.run_until(|w| w.order_heard().len() == 2);
    assert_eq!((counter(&mut w, "playback-starts"), counter(&mut w, "playback-stops")), (2, 1));
    w.run_until(|w| w.state("a").queue_length == 0 && !w.state("a").speaking);
    w.run(2 * S - 10 * MS);
    assert_eq!(counter(&mut w, "playback-stops"), 1);
    w.rest();
    assert_eq!(counter(&mut w, "playback-stops"), 2);
}

#[test]
fn the_holder_of_the_floor_owns_while_nobody_listens() {
    let mut w = world();
    let spoken = w.say("a", LONG);
    w.run_until_started(spoken);
    assert_eq!(owner(&mut w), ("a".into(), "speaking", 0));
    enter(&mut w, "b", 0);
    assert_eq!(owner(&mut w), ("b".into(), "listening-and-speaking", 1));
    leave(&mut w, "b", 0);
    w.rest();
    assert_eq!(w.outcome(spoken), "completed", "the old one's speech goes on");
    let expected = [
        change("", "a", "floor", 0),
        change("a", "b", "enter-listening", 1),
        change("b", "a", "leave-listening", 2),
        change("a", "", "floor", 2),
    ];
    assert_eq!(owners(&w), expected);
}

#[test]
fn a_session_that_is_heard_nowhere_has_a_guard_of_its_own() {
    let mut w = world();
    let options = SessionOptions {
        output: Some(Output::Null),
        ..SessionOptions::default()
    };
    w.open_with("n", options.clone());
    w.open_with("m", options);
    enter(&mut w, "a", 0);
    assert_eq!(enter(&mut w, "n", 0), ("applied", 1));
    assert_eq!(enter(&mut w, "m", 0), ("applied", 1));
    assert_eq!(owner(&mut w), ("a".into(), "listening", 1));
    assert_eq!(leave(&mut w, "n", 0), ("applied", 2));
    assert_eq!(leave(&mut w, "a", 0), ("applied", 2));
    assert_eq!(owners(&w).len(), 2);
    w.close("m", false);
    w.rest();
}

#[test]
fn only_who_may_control_a_session_moves_its_audio() {
    let mut w = world();
    let (transition, turn) = (EnterListening, 0);
    let target = target("a");
    let token = w.ask(2, Request::Transition { transition, target, turn });
    assert_eq!(error(&w, token), ErrorKind::NotPermitted);
    assert_eq!(counter(&mut w, "refused"), 1);
}
