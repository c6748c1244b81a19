//! The floor: who is heard on the loudspeaker (I15).

use super::*;

#[test]
fn two_agents_alternate_by_whole_answers() {
    let mut w = world();
    let a1 = w.say("a", "First of a.");
    let b1 = w.say("b", "First of b.");
    let a2 = w.say("a", "Second of a.");
    let b2 = w.say("b", "Second of b.");
    w.run_until_started(b1);
    let a3 = w.say("a", "Third of a.");
    w.rest();
    assert_eq!(w.order_heard(), [a1, a2, b1, b2, a3]);
}

#[test]
fn the_next_one_is_of_the_highest_class_then_the_oldest() {
    let mut w = world();
    w.open("c");
    let first = w.say("a", LONG);
    let text = w.say_with("b", "Text.", class(Priority::Text));
    let message = w.say("c", "Message.");
    w.rest();
    assert_eq!(w.order_heard(), [first, message, text]);
}

#[test]
fn important_pauses_a_message_which_goes_on() {
    let mut w = world();
    let message = w.say("a", LONG);
    w.run_until_started(message);
    w.run(10 * CHAR_US);
    let alarm = w.say_with("b", "Fire!", important());
    w.run_until_started(alarm);
    assert_eq!(w.state("a").state, "paused");
    assert_eq!(w.outcome(message), "open");
    w.rest();
    assert_eq!(outcomes(&w, [message, alarm]), ["completed"; 2]);
    let played = w.ended(message).unwrap().1.played_us;
    assert_eq!(played, LONG.len() as u64 * CHAR_US, "from its sample");
}

#[test]
fn important_of_the_same_session_interrupts_it_too() {
    let mut w = world();
    let message = w.say("a", LONG);
    w.run_until_started(message);
    let alarm = w.say_with("a", "Fire!", important());
    let more = w.say_with("a", "Out!", important());
    w.rest();
    assert_eq!(w.order_heard(), [message, alarm, more]);
    assert_eq!(outcomes(&w, [message, alarm, more]), ["completed"; 3]);
}

#[test]
fn i15_important_waits_for_the_ramp_of_a_pause_ordered_a_moment_ago() {
    let mut w = world();
    w.plan.period_us = 20 * MS;
    let message = w.say("a", LONG);
    w.run_until_started(message);
    w.pause("a");
    // The world asserts that the two are never heard at once.
    let alarm = w.say_with("b", "Fire!", important());
    w.rest();
    assert_eq!(w.outcome(alarm), "completed");
    w.resume("a");
    w.rest();
    assert_eq!(w.outcome(message), "completed");
}

#[test]
fn i15_a_second_interruption_waits_its_own_time() {
    let mut w = world();
    w.plan.period_us = 20 * MS;
    let message = w.say("a", LONG);
    w.run_until_started(message);
    let at = w.now;
    let alarm = w.say_with("b", "!", important());
    w.run_until(|w| w.outcome(alarm) == "completed");
    // Shortly before the first interruption would have been taken for silent.
    w.run((at + 95 * MS).saturating_sub(w.now));
    let again = w.say_with("b", "Fire!", important());
    w.rest();
    assert_eq!(outcomes(&w, [message, alarm, again]), ["completed"; 3]);
}

#[test]
fn an_interrupted_track_that_says_nothing_is_taken_to_be_silent() {
    let mut w = world();
    let message = w.say("a", LONG);
    w.run_until_started(message);
    w.sound.away = true;
    let alarm = w.say_with("b", "Fire!", important());
    let played = |w: &World| {
        w.log
            .iter()
            .any(|(_, e)| matches!(e, Effect::Play { utterance, .. } if *utterance == alarm))
    };
    w.run(99 * MS);
    assert!(!played(&w));
    w.run(2 * MS);
    assert!(played(&w));
}

#[test]
fn a_newer_text_replaces_a_waiting_text() {
    let mut w = world();
    let first = w.say_with("a", LONG, class(Priority::Text));
    w.run_until_started(first);
    let second = w.say_with("a", "Second.", class(Priority::Text));
    let third = w.say_with("a", "Third.", class(Priority::Text));
    let of_b = w.say_with("b", "Of b.", class(Priority::Text));
    w.rest();
    assert_eq!(
        outcomes(&w, [first, second, third, of_b]),
        ["completed", "cancelled", "completed", "completed"]
    );
    assert_eq!(w.reason(second), "replaced");
    assert_eq!(w.state("a").turn, 1);
}

#[test]
fn a_text_goes_on_when_a_message_arrives() {
    let mut w = world();
    let text = w.say_with("a", LONG, class(Priority::Text));
    w.run_until_started(text);
    let message = w.say("b", "Message.");
    w.rest();
    assert_eq!(w.order_heard(), [text, message]);
    assert_eq!(w.outcome(text), "completed");
}

#[test]
fn a_notification_is_heard_only_if_nobody_speaks_or_waits() {
    let mut w = world();
    w.say("a", LONG);
    let refused = w.say_with("b", "Ping.", class(Priority::Notification));
    assert_eq!(w.outcome(refused), "cancelled");
    assert_eq!(w.reason(refused), "preempted");
    w.rest();
    let heard = w.say_with("b", "Ping.", class(Priority::Notification));
    w.rest();
    assert_eq!(w.outcome(heard), "completed");
}

#[test]
fn notification_ends_when_somebody_speaks() {
    for priority in [Priority::Notification, Priority::Progress] {
        let mut w = world();
        let ping = w.say_with("a", LONG, class(priority));
        w.run_until_started(ping);
        w.run(2 * CHAR_US);
        let message = w.say("b", "Message.");
        w.rest();
        assert_eq!(outcomes(&w, [ping, message]), ["cancelled", "completed"]);
        assert_eq!(w.reason(ping), "preempted");
        assert_eq!(w.ended(ping).unwrap().1.heard_text, "one");
    }
}

#[test]
fn of_progress_the_last_one_waits_and_is_spoken() {
    let mut w = world();
    let message = w.say("a", LONG);
    w.run_until_started(message);
    let first = w.say_with("b", "10 %", class(Priority::Progress));
    let last = w.say_with("b", "20 %", class(Priority::Progress));
    w.rest();
    assert_eq!(outcomes(&w, [first, last]), ["cancelled", "completed"]);
    assert_eq!(w.reason(first), "replaced");
}

#[test]
fn a_session_with_its_own_floor_is_mixed_in() {
    let mut w = world();
    let options = SessionOptions {
        own_floor: Some(true),
        ..SessionOptions::default()
    };
    w.open_with("alarm", options);
    let a = w.say("a", LONG);
    let alarm = w.say("alarm", LONG);
    w.run(500 * MS);
    assert!(w.state("a").speaking && w.state("alarm").speaking);
    w.rest();
    assert_eq!(outcomes(&w, [a, alarm]), ["completed"; 2]);
}

#[test]
fn an_output_of_its_own_waits_for_nobody() {
    let mut w = world();
    let options = SessionOptions {
        output: Some(Output::Null),
        ..SessionOptions::default()
    };
    w.open_with("null", options);
    w.say("a", LONG);
    w.sound.away = true;
    let u = w.say("null", "Hi.");
    w.run(S);
    assert_eq!(w.outcome(u), "completed");
}
