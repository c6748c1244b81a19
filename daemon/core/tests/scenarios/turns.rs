//! Turns (SEMANTICS, "Turns"), and what mode replace does to them.

use super::*;

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
    assert_eq!((w.outcome(first), w.outcome(second)), ("completed", "completed"));
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
    let options = CancelOptions { turn: Some(4), ..all() };
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
    assert_eq!([w.outcome(kept), w.outcome(dropped)], ["completed", "cancelled"]);
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
    assert_eq!(w.order_heard(), [old, UtteranceId::new(new).unwrap(), after]);
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
