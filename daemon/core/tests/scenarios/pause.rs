//! Pause, muting, gain.

use super::*;

#[test]
fn a_pause_holds_the_sample_and_resume_goes_on() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.run_until_started(u);
    w.run(10 * CHAR_US);
    w.pause("a");
    w.run(60 * S);
    assert_eq!((w.state("a").state, w.state("a").speaking), ("paused", true));
    assert_eq!(w.outcome(u), "open");
    w.resume("a");
    w.rest();
    let played = w.ended(u).unwrap().1.played_us;
    assert_eq!(played, LONG.len() as u64 * CHAR_US);
}

#[test]
fn a_paused_client_gives_the_floor_away_after_two_seconds() {
    let mut w = world();
    let a = w.say("a", LONG);
    let b = w.say("b", "Of b.");
    w.run_until_started(a);
    w.pause("a");
    w.run(1_990 * MS);
    assert_eq!(w.started_at(b), None);
    w.run(100 * MS);
    assert!(w.started_at(b).is_some());
    w.resume("a");
    w.rest();
    assert_eq!(outcomes(&w, [a, b]), ["completed"; 2]);
}

#[test]
fn a_short_pause_between_two_utterances_keeps_the_floor() {
    let mut w = world();
    let message = w.say("a", LONG);
    w.run_until_started(message);
    let next = w.say("a", "Next of a.");
    let b = w.say("b", "Of b.");
    let fire = w.say_with("b", LONG, important());
    w.run_until_started(fire);
    w.run(40 * CHAR_US);
    w.pause("a");
    w.run_until(|w| w.outcome(fire) == "completed");
    w.run(200 * MS);
    w.resume("a");
    w.rest();
    assert_eq!(w.order_heard(), [message, fire, next, b]);
}

#[test]
fn pause_while_idle_holds_what_comes_next() {
    let mut w = world();
    w.pause("a");
    let held = w.say("a", "Held.");
    let other = w.say("b", "Other.");
    w.run(10 * S);
    assert_eq!(outcomes(&w, [held, other]), ["open", "completed"]);
    w.resume("a");
    w.rest();
    assert_eq!(w.outcome(held), "completed");
}

#[test]
fn a_client_that_dies_does_not_leave_it_paused() {
    let mut w = world();
    let u = w.say("a", LONG);
    let target = target("a");
    let auto_resume_us = Some(S);
    w.ask(
        1,
        Request::Pause {
            target,
            fade_us: None,
            auto_resume_us,
        },
    );
    w.rest();
    assert_eq!(w.outcome(u), "completed");
}

#[test]
fn cancel_of_everything_ends_a_pause_and_cancel_of_an_utterance_does_not() {
    let mut w = world();
    let first = w.say("a", LONG);
    w.run_until_started(first);
    w.pause("a");
    let options = CancelOptions {
        utterance: Some(first.get()),
        ..CancelOptions::default()
    };
    w.cancel("a", options);
    assert_eq!(w.state("a").state, "paused");
    w.cancel("a", CancelOptions::default());
    assert_eq!(w.state("a").state, "idle");
    let next = w.say("a", "Next.");
    w.rest();
    assert_eq!(w.outcome(next), "completed");
}

#[test]
fn mute_ends_what_is_heard_as_cancelled_muted() {
    let mut w = world();
    let heard = w.say("a", LONG);
    let waiting = w.say("a", "Waiting.");
    w.run_until_started(heard);
    let (target_, muted) = (target("a"), true);
    let token = w.ask(1, Request::SetSessionMuted { target: target_, muted });
    w.run(100 * MS);
    assert_eq!(w.reply(token), Ok(Reply::Done));
    assert_eq!(outcomes(&w, [heard, waiting]), ["cancelled"; 2]);
    assert_eq!(w.reason(heard), "muted");
    assert_eq!(w.state("a").turn, 1);
}

#[test]
fn what_is_said_while_muted_is_not_even_synthesised() {
    let mut w = world();
    w.ask(1, Request::SetMasterMuted { muted: true });
    let u = w.say("a", LONG);
    assert_eq!((w.outcome(u), w.reason(u).as_str()), ("cancelled", "muted"));
    assert!(w.jobs.is_empty());
    w.ask(1, Request::SetMasterMuted { muted: false });
    let u = w.say("a", "Hi.");
    w.rest();
    assert_eq!(w.outcome(u), "completed");
}

#[test]
fn min_priority_ends_what_is_below_it_as_quiet() {
    let mut w = world();
    let text = w.say_with("a", LONG, class(Priority::Text));
    w.run_until_started(text);
    let priority = Priority::Message;
    w.ask(1, Request::SetMinPriority { priority });
    w.run(100 * MS);
    assert_eq!(w.reason(text), "quiet");
    let message = w.say("a", "Message.");
    let later = w.say_with("b", "Text.", class(Priority::Text));
    assert_eq!(w.reason(later), "quiet");
    w.rest();
    assert_eq!(w.outcome(message), "completed");
}

#[test]
fn gains_of_session_and_master_add_up() {
    let mut w = world();
    w.say("a", LONG);
    w.run(100 * MS);
    w.ask(1, Request::SetMasterGain { gain_db: -20.0 });
    let target = target("a");
    w.ask(1, Request::SetSessionGain { target, gain_db: 20.0 });
    let gains: Vec<_> = w
        .log
        .iter()
        .filter_map(|(_, e)| match e {
            Effect::Gain { linear, .. } => Some(*linear),
            _ => None,
        })
        .collect();
    assert!((gains[0] - 0.1).abs() < 1e-6);
    assert_eq!(gains[1], 1.0);
}
