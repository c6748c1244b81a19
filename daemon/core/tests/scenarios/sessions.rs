//! Sessions, signals and properties, and the small print (T10).

use super::*;
use utterd_core::Settings;

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
    assert!(matches!(w.reply(none), Ok(Reply::Waited { outcome: "nothing", .. })));
    let unknown = wait(&mut w, 77, None);
    assert_eq!(error(&w, unknown), ErrorKind::NoSuchUtterance);
    w.say("a", LONG);
    let patient = wait(&mut w, 0, None);
    let hasty = wait(&mut w, 0, Some(50 * MS));
    w.run(60 * MS);
    assert!(matches!(w.reply(hasty), Ok(Reply::Waited { outcome: "pending", .. })));
    assert!(!w.answered(patient));
    w.rest();
    assert!(matches!(w.reply(patient), Ok(Reply::Waited { outcome: "completed", .. })));
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
    assert_eq!(steps, ["finished", "finished", "closed", "gone", "answered"]);
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
        let token = w.ask(uid, Request::Say { target, text, options });
        assert_eq!(w.reply(token).is_err(), uid == 2);
    }
}

#[test]
fn the_default_session_is_opened_on_demand() {
    let mut w = World::new();
    assert_eq!(w.cancel("default", CancelOptions::default()).result, Some("nothing"));
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
    assert_eq!((w.state("a").active_utterance, w.state("a").queue_length), (0, 2));
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
    assert_eq!((entries[0].said.as_str(), entries[0].heard.as_str()), ("Heard.", "Heard."));
    assert_eq!((entries[1].utterance, entries[1].heard.as_str()), (second, ""));
    assert_eq!((entries[1].outcome, entries[1].reason.as_str()), ("cancelled", "client"));
}

#[test]
fn who_reads_the_history_piece_by_piece_misses_nothing() {
    let mut w = world();
    let message = w.say("a", LONG);
    w.run_until_started(message);
    let options = SayOptions {
        priority: Some(Priority::Important),
        ..SayOptions::default()
    };
    let alarm = w.say_with("a", "Fire!", options);
    w.rest();
    let mut read = |after: u64, limit: usize| {
        let target = target("a");
        let token = w.ask(1, Request::History { target, after, limit });
        match w.reply(token) {
            Ok(Reply::History(entries)) => entries.iter().map(|e| e.utterance).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(0, 10), [alarm, message], "in the order in which they ended");
    assert_eq!(read(0, 1), [alarm]);
    assert_eq!(read(alarm.get(), 1), [message]);
    assert_eq!(read(message.get(), 10), []);
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
    assert_eq!((entries[0].said.as_str(), entries[0].heard.as_str()), ("", ""));
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

#[test]
fn every_option_of_say_may_be_a_sessions_default() {
    let mut w = World::new();
    let say = SayOptions {
        mode: Some(Mode::Replace),
        priority: Some(Priority::Text),
        progress: Some(Progress::Word),
        interruptible: Some(false),
        tag: Some("mine".into()),
        ..SayOptions::default()
    };
    let options = SessionOptions {
        say,
        ..SessionOptions::default()
    };
    w.open_with("a", options);
    let first = w.say("a", LONG);
    w.run_until_started(first);
    w.run(500 * MS);
    assert_eq!(w.cancel("a", barge_in()).result, Some("protected"));
    let word = |s: &Signal| matches!(s, Signal::UtteranceProgress { kind: "word", tag, .. } if tag == "mine");
    assert!(w.signal_at(word).is_some());
    // What an utterance says itself counts for it alone.
    let own = SayOptions {
        interruptible: Some(true),
        tag: Some("own".into()),
        ..SayOptions::default()
    };
    let second = w.say_with("a", "Hi.", own);
    w.rest();
    assert_eq!(w.outcome(first), "completed", "not interruptible, so mode replace let it be");
    let tags = [first, second].map(|u| w.ended(u).unwrap().1.tag);
    assert_eq!(tags, ["mine", "own"]);
}

/// A world whose sessions are private unless they say otherwise.
fn private_house() -> World {
    let mut w = World::new();
    let settings = Settings {
        private: true,
        ..Settings::default()
    };
    w.feed(Input::Settings(Box::new(settings)));
    w.book.private_house = true;
    w
}

#[test]
fn a_house_may_keep_no_text_of_anybody_who_does_not_ask_for_it() {
    let mut w = private_house();
    w.open("a");
    let open = SessionOptions {
        private: Some(false),
        ..SessionOptions::default()
    };
    w.open_with("b", open);
    w.say("a", "Secret.");
    w.say("b", "Public.");
    w.rest();
    let mut said = |session: &str| {
        let target = target(session);
        let (after, limit) = (0, 10);
        let token = w.ask(1, Request::History { target, after, limit });
        match w.reply(token) {
            Ok(Reply::History(entries)) => entries[0].said.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!([said("a"), said("b")], ["", "Public."]);
}

fn ask_configure(w: &mut World, options: SessionOptions) -> Result<Reply, Failure> {
    let target = target("a");
    let token = w.ask(1, Request::Configure { target, options });
    w.reply(token)
}

#[test]
fn an_idle_time_out_of_0_ends_the_idle_time_out() {
    let mut w = World::new();
    let idle = |us| SessionOptions {
        idle_timeout_us: Some(us),
        ..SessionOptions::default()
    };
    w.open_with("a", idle(S));
    w.open_with("b", idle(0));
    assert!(ask_configure(&mut w, idle(0)).is_ok());
    w.say("a", "Hi.");
    w.run(60 * S);
    assert!(["a", "b"].iter().all(|s| w.book.sessions.contains_key(*s)));
    assert!(ask_configure(&mut w, idle(S)).is_ok());
    w.run(2 * S);
    assert!(!w.book.sessions.contains_key("a"));
}

#[test]
fn an_open_that_cannot_record_opens_nothing() {
    let mut w = private_house();
    let recorded = SessionOptions {
        record: Some("a.wav".into()),
        ..SessionOptions::default()
    };
    let id = "a".to_owned();
    let token = w.ask(1, Request::Open { id, options: recorded });
    assert_eq!(w.reply(token).unwrap_err().kind, ErrorKind::WrongState);
    assert_eq!(count(&w, |e| matches!(e, Effect::SessionOpened { .. })), 0);
    w.open("a");
}

#[test]
fn a_configure_that_is_refused_changes_nothing() {
    let mut w = World::new();
    let recorded = |file: &str| SessionOptions {
        record: Some(file.into()),
        ..SessionOptions::default()
    };
    w.open_with("a", recorded("a.wav"));
    let half = SessionOptions {
        say: SayOptions {
            backend: Some("plain".into()),
            ..SayOptions::default()
        },
        idle_timeout_us: Some(S),
        ..recorded("b.wav")
    };
    assert_eq!(ask_configure(&mut w, half).unwrap_err().kind, ErrorKind::WrongState);
    assert!(ask_configure(&mut w, recorded("a.wav")).is_ok(), "so it is already");
    assert_eq!(count(&w, |e| matches!(e, Effect::StartRecording { .. })), 1);
    w.run(5 * S);
    assert!(w.book.sessions.contains_key("a"), "the time-out was not taken");
    let u = w.say("a", "Hi.");
    w.rest();
    assert_ne!(w.ended(u).unwrap().1.backend, "plain");
    let private = |private| SessionOptions {
        private: Some(private),
        ..SessionOptions::default()
    };
    assert!(ask_configure(&mut w, private(true)).is_ok());
    w.run(S);
    let failure = ask_configure(&mut w, recorded("b.wav")).unwrap_err();
    assert!(failure.kind == ErrorKind::WrongState && failure.message.contains("private"));
    let open = SessionOptions {
        private: Some(false),
        ..recorded("b.wav")
    };
    assert!(ask_configure(&mut w, open).is_ok());
    assert_eq!(count(&w, |e| matches!(e, Effect::StartRecording { .. })), 2);
}
