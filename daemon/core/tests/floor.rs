//! The rules of SEMANTICS as sentences, continued: the floor, pause, muting, sessions, signals and properties, small print.
#![allow(clippy::unwrap_used)]

mod world;

use utterd_core::{
    Caller, CancelOptions, DriverInfo, Effect, ErrorKind, Input, Output, Priority, Reply, Request,
    SayOptions, SessionOptions, Signal, Token, UtteranceId,
};
use world::backend::CHAR_US;
use world::{MS, S, World, target};

const LONG: &str = "one two three four five six seven eight nine ten";

fn world() -> World {
    let mut w = World::new();
    w.open("a");
    w.open("b");
    w
}

fn class(priority: Priority) -> SayOptions {
    SayOptions {
        priority: Some(priority),
        ..SayOptions::default()
    }
}

fn important() -> SayOptions {
    class(Priority::Important)
}

fn error(w: &World, token: Token) -> ErrorKind {
    w.reply(token).unwrap_err().kind
}

fn outcomes<const N: usize>(w: &World, of: [UtteranceId; N]) -> [&'static str; N] {
    of.map(|u| w.outcome(u))
}

// Floor.

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

// Pause.

#[test]
fn a_pause_holds_the_sample_and_resume_goes_on() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.run_until_started(u);
    w.run(10 * CHAR_US);
    w.pause("a");
    w.run(60 * S);
    assert_eq!(
        (w.state("a").state, w.state("a").speaking),
        ("paused", true)
    );
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

// Muting, gain.

#[test]
fn mute_ends_what_is_heard_as_cancelled_muted() {
    let mut w = world();
    let heard = w.say("a", LONG);
    let waiting = w.say("a", "Waiting.");
    w.run_until_started(heard);
    let (target_, muted) = (target("a"), true);
    let token = w.ask(
        1,
        Request::SetSessionMuted {
            target: target_,
            muted,
        },
    );
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
    w.ask(
        1,
        Request::SetSessionGain {
            target,
            gain_db: 20.0,
        },
    );
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

// Sessions, signals, properties.

#[test]
fn wait_for_an_utterance_that_ended_returns_at_once() {
    let mut w = world();
    let u = w.say("a", "Hi.");
    w.rest();
    for utterance in [u.get(), 0] {
        let token = wait(&mut w, utterance, None);
        let Ok(Reply::Waited {
            outcome,
            report: Some(report),
        }) = w.reply(token)
        else {
            panic!("waited");
        };
        assert_eq!((outcome, report.utterances), ("completed", vec![u]));
    }
}

fn wait(w: &mut World, utterance: u64, timeout_us: Option<u64>) -> Token {
    let target = target("a");
    w.ask(
        1,
        Request::Wait {
            target,
            utterance,
            timeout_us,
        },
    )
}

#[test]
fn wait_says_pending_nothing_or_no_such_utterance() {
    let mut w = world();
    let none = wait(&mut w, 0, None);
    assert!(matches!(
        w.reply(none),
        Ok(Reply::Waited {
            outcome: "nothing",
            ..
        })
    ));
    let unknown = wait(&mut w, 77, None);
    assert_eq!(error(&w, unknown), ErrorKind::NoSuchUtterance);
    w.say("a", LONG);
    let patient = wait(&mut w, 0, None);
    let hasty = wait(&mut w, 0, Some(50 * MS));
    w.run(60 * MS);
    assert!(matches!(
        w.reply(hasty),
        Ok(Reply::Waited {
            outcome: "pending",
            ..
        })
    ));
    assert!(!w.answered(patient));
    w.rest();
    assert!(matches!(
        w.reply(patient),
        Ok(Reply::Waited {
            outcome: "completed",
            ..
        })
    ));
}

#[test]
fn session_closed_is_told_from_never_opened() {
    let mut w = world();
    w.close("a", false);
    let token = w.try_say("a", "Hi.", SayOptions::default());
    assert_eq!(error(&w, token), ErrorKind::SessionClosed);
    let token = w.try_say("never", "Hi.", SayOptions::default());
    assert_eq!(error(&w, token), ErrorKind::NoSuchSession);
    let token = w.try_say("", "Hi.", SayOptions::default());
    assert_eq!(error(&w, token), ErrorKind::InvalidSession);
    w.open("a");
    w.say("a", "Hi.");
}

#[test]
fn close_finishes_then_removes_then_answers() {
    let mut w = world();
    w.say("a", LONG);
    w.say("a", "More.");
    w.run(100 * MS);
    let from = w.log.len();
    let token = w.close("a", false);
    w.run(100 * MS);
    let mut steps = Vec::new();
    for (_, e) in &w.log[from..] {
        match e {
            Effect::Signal {
                signal: Signal::UtteranceFinished { report, .. },
                ..
            } => {
                assert_eq!(report.reason, "session-closed");
                steps.push("finished");
            }
            Effect::SessionChanged { properties, .. } if properties.state == "closed" => {
                steps.push("closed");
            }
            Effect::SessionClosed { .. } => steps.push("gone"),
            Effect::Reply { token: t, .. } if *t == token => steps.push("answered"),
            _ => {}
        }
    }
    assert_eq!(
        steps,
        ["finished", "finished", "closed", "gone", "answered"]
    );
}

#[test]
fn close_with_drain_speaks_what_is_queued_and_refuses_more() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.pause("a");
    let token = w.close("a", true);
    let refused = w.try_say("a", "More.", SayOptions::default());
    assert_eq!(error(&w, refused), ErrorKind::SessionClosed);
    assert!(!w.answered(token));
    w.rest();
    assert_eq!(w.outcome(u), "completed");
    assert_eq!(w.reply(token), Ok(Reply::Done));
}

#[test]
fn what_drains_can_be_waited_for_and_cancelled() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.run_until_started(u);
    let close = w.close("a", true);
    let waiter = wait(&mut w, u.get(), None);
    let report = w.cancel("a", CancelOptions::default());
    assert_eq!(report.result, Some("cancelled"));
    assert!(w.answered(close) && w.answered(waiter));
}

#[test]
fn a_lost_client_connection_closes_its_sessions() {
    let mut w = world();
    let options = SessionOptions {
        client_lifetime: Some(true),
        ..SessionOptions::default()
    };
    w.open_with("mine", options);
    let mine = w.say("mine", LONG);
    let other = w.say("a", LONG);
    w.run(100 * MS);
    let connection = ":1.1".into();
    w.feed(Input::ConnectionLost { connection });
    w.run(100 * MS);
    assert_eq!(outcomes(&w, [mine, other]), ["cancelled", "open"]);
    assert!(!w.book.sessions.contains_key("mine"));
}

#[test]
fn a_session_belongs_to_the_uid_that_opened_it() {
    let mut w = world();
    for uid in [2, 0] {
        let (text, options) = ("Hi.".to_owned(), SayOptions::default());
        let target = target("a");
        let token = w.ask(
            uid,
            Request::Say {
                target,
                text,
                options,
            },
        );
        assert_eq!(w.reply(token).is_err(), uid == 2);
    }
}

#[test]
fn the_default_session_is_opened_on_demand() {
    let mut w = World::new();
    assert_eq!(
        w.cancel("default", CancelOptions::default()).result,
        Some("nothing")
    );
    w.say("default", "Hi.");
    assert!(w.book.sessions.contains_key("default"));
}

#[test]
fn opening_an_open_session_configures_it_but_for_output_and_lifetime() {
    let mut w = world();
    let try_open = |w: &mut World, options| {
        let id = "a".to_owned();
        w.ask(1, Request::Open { id, options })
    };
    let fixed = [
        (
            "output",
            SessionOptions {
                output: Some(Output::Null),
                ..SessionOptions::default()
            },
        ),
        (
            "lifetime",
            SessionOptions {
                client_lifetime: Some(true),
                ..SessionOptions::default()
            },
        ),
    ];
    for (key, options) in fixed {
        let token = try_open(&mut w, options);
        let failure = w.reply(token).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::WrongState);
        assert!(failure.message.contains(key));
    }
    let voice = SessionOptions {
        say: SayOptions {
            backend: Some("plain".into()),
            ..SayOptions::default()
        },
        ..SessionOptions::default()
    };
    let token = try_open(&mut w, voice);
    assert!(w.reply(token).is_ok());
    let u = w.say("a", "Hi.");
    w.rest();
    assert_eq!(w.ended(u).unwrap().1.backend, "plain");
}

#[test]
fn an_idle_session_closes_after_its_time_and_not_while_it_speaks() {
    let mut w = World::new();
    let options = SessionOptions {
        idle_timeout_us: Some(S),
        ..SessionOptions::default()
    };
    w.open_with("a", options);
    w.run(900 * MS);
    w.say("a", LONG);
    w.run(2 * S);
    assert!(w.book.sessions.contains_key("a"));
    w.rest();
    assert!(!w.book.sessions.contains_key("a"));
}

#[test]
fn a_new_life_starts_at_turn_one_and_knows_nothing_of_the_old() {
    let mut w = world();
    let options = SayOptions {
        turn: Some(9),
        ..SayOptions::default()
    };
    w.say_with("a", LONG, options);
    w.close("a", false);
    w.run(100 * MS);
    w.open("a");
    let caller = Caller {
        uid: 1,
        connection: ":1.1".into(),
    };
    let request = Request::History {
        target: target("a"),
        after: 0,
        limit: 10,
    };
    let token = w.ask_by(caller, request);
    assert_eq!(w.reply(token), Ok(Reply::History(vec![])));
    assert_eq!(w.state("a").turn, 1);
}

#[test]
fn t10_properties_follow_what_is_heard() {
    let mut w = world();
    let first = w.say("a", LONG);
    let second = w.say("a", "More.");
    assert_eq!(
        (w.state("a").active_utterance, w.state("a").queue_length),
        (0, 2)
    );
    w.run_until_started(first);
    let state = w.state("a");
    assert_eq!(
        (state.active_utterance, state.queue_length, state.state),
        (first.get(), 1, "speaking")
    );
    w.begin_cancel("a", CancelOptions::default());
    assert_eq!(w.state("a").state, "cancelling");
    w.rest();
    let state = w.state("a");
    assert_eq!((state.active_utterance, state.state), (0, "idle"));
    assert_eq!(outcomes(&w, [first, second]), ["cancelled"; 2]);
}

#[test]
fn history_tells_what_was_said_and_heard() {
    let mut w = world();
    w.say("a", "Heard.");
    w.rest();
    let second = w.say("a", "Never heard.");
    w.cancel("a", CancelOptions::default());
    let target = target("a");
    let token = w.ask(
        1,
        Request::History {
            target,
            after: 0,
            limit: 10,
        },
    );
    let Ok(Reply::History(entries)) = w.reply(token) else {
        panic!("history");
    };
    assert_eq!(entries.len(), 2);
    assert_eq!(
        (entries[0].said.as_str(), entries[0].heard.as_str()),
        ("Heard.", "Heard.")
    );
    assert_eq!(
        (entries[1].utterance, entries[1].heard.as_str()),
        (second, "")
    );
    assert_eq!(
        (entries[1].outcome, entries[1].reason.as_str()),
        ("cancelled", "client")
    );
}

#[test]
fn a_private_session_keeps_no_text() {
    let mut w = World::new();
    let options = SessionOptions {
        private: Some(true),
        ..SessionOptions::default()
    };
    w.open_with("a", options);
    w.say("a", "My PIN is 1234.");
    w.rest();
    let target = target("a");
    let token = w.ask(
        1,
        Request::History {
            target,
            after: 0,
            limit: 10,
        },
    );
    let Ok(Reply::History(entries)) = w.reply(token) else {
        panic!("history");
    };
    assert_eq!(
        (entries[0].said.as_str(), entries[0].heard.as_str()),
        ("", "")
    );
    let told = w.signal_at(|s| matches!(s, Signal::UtteranceProgress { text: Some(_), .. }));
    assert_eq!(told, None);
}

#[test]
fn first_frame_sent_comes_once_a_session() {
    let mut w = world();
    w.say("a", "Hi.");
    w.say("a", "Again.");
    w.rest();
    let is = |e: &Effect| {
        matches!(
            e,
            Effect::Signal {
                signal: Signal::FirstFrameSent { .. },
                ..
            }
        )
    };
    assert_eq!(w.log.iter().filter(|(_, e)| is(e)).count(), 1);
}

#[test]
fn while_the_audio_server_is_away_speech_holds_its_sample() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.run_until_started(u);
    w.sound.away = true;
    let info = DriverInfo {
        driver: "jack",
        state: "reconnecting",
        rate: 48_000,
        period: 128,
    };
    w.feed(Input::Driver(info));
    w.run(30 * S);
    assert_eq!(w.outcome(u), "open");
    w.sound.away = false;
    w.rest();
    assert_eq!(w.ended(u).unwrap().1.played_us, LONG.len() as u64 * CHAR_US);
}
