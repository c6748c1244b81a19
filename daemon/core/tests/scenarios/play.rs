//! Sounds: the same queue, protection, cancel and report as speech; beside the speech a lane of their own.

use utterd_core::{CancelOptions, Effect, HeardSource, Mode, PlayOptions, Reply, Request, SayOptions, SessionOptions, Signal, Sound};

use crate::world::backend::{FEED_US, Fate};
use crate::world::{MS, S, World, sound, target};

fn house() -> World {
    let mut w = World::new();
    w.open("a");
    w
}

fn saying(text: &str) -> PlayOptions {
    PlayOptions {
        text: text.into(),
        ..PlayOptions::default()
    }
}

fn beside(duck_db: f64) -> PlayOptions {
    PlayOptions {
        beside: true,
        duck_db: Some(duck_db),
        ..PlayOptions::default()
    }
}

fn gains(w: &World) -> Vec<(f32, u32)> {
    let gain = |e: &Effect| match e {
        Effect::Gain { linear, ramp_us, .. } => Some((*linear, *ramp_us)),
        _ => None,
    };
    w.log.iter().filter_map(|(_, e)| gain(e)).collect()
}

#[test]
fn a_sound_waits_its_turn_and_is_reported_without_a_backend() {
    let mut w = house();
    let first = w.say("a", "Hello there.");
    let ding = w.play("a", 2 * S, saying("Ding dong"));
    let last = w.say("a", "Good bye.");
    w.rest();
    assert_eq!(w.order_heard(), [first, ding, last]);
    let (outcome, report) = w.ended(ding).unwrap();
    assert_eq!(outcome.word(), "completed");
    assert_eq!((report.heard_text.as_str(), report.heard_source), ("Ding dong", HeardSource::Words));
    assert_eq!((report.played_us, report.backend.as_str()), (2 * S, ""));
}

#[test]
fn a_cut_sound_is_told_by_time_and_its_positions_start_where_it_began() {
    let mut w = house();
    let half = Sound {
        start_us: 5 * S,
        ..sound(10 * S)
    };
    let token = w.try_play("a", half, saying("0123 5678 0123 5678 "));
    let Ok(Reply::Utterance(id)) = w.reply(token) else { panic!() };
    let id = utterd_core::UtteranceId::new(id).unwrap();
    w.run_until_started(id);
    w.run(S);
    let report = w.cancel("a", CancelOptions::default());
    assert_eq!(
        (report.heard_text.as_str(), report.heard_source),
        ("0123 5678 0123", HeardSource::Estimated)
    );
    assert!((6 * S..6 * S + 50 * MS).contains(&report.played_us), "{}", report.played_us);
    assert!(report.syntheses.is_empty(), "no backend was told");
    w.rest();
}

#[test]
fn a_sound_obeys_turn_mode_expiry_and_the_file_s_end() {
    let mut w = house();
    let late = Sound {
        start_us: 3 * S,
        ..sound(3 * S)
    };
    let token = w.try_play("a", late, PlayOptions::default());
    assert!(w.reply(token).unwrap_err().message.contains("start-us"));
    let say = |options: SayOptions| PlayOptions {
        say: options,
        ..PlayOptions::default()
    };
    w.play(
        "a",
        S,
        say(SayOptions {
            turn: Some(4),
            ..SayOptions::default()
        }),
    );
    let stale = w.try_play(
        "a",
        sound(S),
        say(SayOptions {
            turn: Some(3),
            ..SayOptions::default()
        }),
    );
    assert_eq!(w.reply(stale), Ok(Reply::Utterance(0)));
    let busy = SayOptions {
        mode: Some(Mode::IfIdle),
        ..SayOptions::default()
    };
    let token = w.try_play("a", sound(S), say(busy));
    assert_eq!(w.reply(token), Ok(Reply::Utterance(0)));
    let hurried = SayOptions {
        expires_us: Some(100 * MS),
        ..SayOptions::default()
    };
    let expired = w.play("a", S, say(hurried));
    w.rest();
    assert_eq!(w.outcome(expired), "expired");
}

#[test]
fn a_protected_sound_is_no_barge_in_s_until_so_much_of_it_was_sent() {
    let mut w = house();
    let protect = SayOptions {
        protect_us: Some(500 * MS),
        ..SayOptions::default()
    };
    let greeting = w.play(
        "a",
        3 * S,
        PlayOptions {
            say: protect,
            ..PlayOptions::default()
        },
    );
    w.run_until_started(greeting);
    let barge_in = || CancelOptions {
        reason: Some("barge-in".into()),
        ..CancelOptions::default()
    };
    w.run(300 * MS);
    assert_eq!(w.cancel("a", barge_in()).result, Some("protected"));
}

#[test]
fn beside_the_speech_it_is_lower_while_the_session_speaks() {
    let mut w = house();
    let music = w.play("a", 60 * S, beside(20.0));
    w.run_until_started(music);
    w.run(S);
    let state = w.state("a");
    assert_eq!(
        (state.state, state.speaking, state.active_utterance, state.queue_length),
        ("idle", false, 0, 0)
    );
    assert_eq!(gains(&w), []);
    let said = w.say("a", "Hello there.");
    w.run_until_started(said);
    assert_eq!(gains(&w), [(0.1, 100_000)]);
    w.run_until(|w| w.ended(said).is_some());
    assert_eq!(gains(&w), [(0.1, 100_000), (1.0, 100_000)]);
    // A gain that somebody sets reaches both, and the lowering is on top of it.
    let said = w.say("a", "Hello again.");
    w.run_until_started(said);
    let target = target("a");
    w.ask(1, Request::SetSessionGain { target, gain_db: 20.0 });
    assert_eq!(gains(&w)[3..], [(10.0, 5_000), (1.0, 5_000)]);
}

#[test]
fn beside_sounds_end_by_id_close_and_cancel_all_alone() {
    let mut w = house();
    let (one, two) = (w.play("a", 60 * S, beside(6.0)), w.play("a", 60 * S, beside(6.0)));
    let said = w.say("a", "Hello there, this is a sentence.");
    w.run_until_started(said);
    assert_eq!(w.cancel("a", CancelOptions::default()).utterances, [said]);
    let current = CancelOptions {
        turn: Some(0),
        ..CancelOptions::default()
    };
    assert_eq!(w.cancel("a", current).result, Some("nothing"));
    let replaced = SayOptions {
        mode: Some(Mode::Replace),
        ..SayOptions::default()
    };
    let said = w.say_with("a", "And now?", replaced);
    w.run_until_started(said);
    assert_eq!((w.outcome(one), w.outcome(two)), ("open", "open"));
    let by_id = CancelOptions {
        utterance: Some(one.get()),
        ..CancelOptions::default()
    };
    assert_eq!(w.cancel("a", by_id).utterances, [one]);
    w.ask(1, Request::CancelAll { reason: None });
    w.run(S);
    assert_eq!((w.outcome(two), w.reason(two)), ("cancelled", "client".to_owned()));
    let three = w.play("a", 60 * S, beside(6.0));
    w.close("a", false);
    w.run(S);
    assert_eq!((w.outcome(three), w.reason(three)), ("cancelled", "session-closed".to_owned()));
}

#[test]
fn a_drain_waits_for_speech_and_not_for_what_lies_beside_it() {
    let mut w = house();
    let music = w.play("a", 60 * S, beside(6.0));
    let said = w.say("a", "The last words.");
    let token = w.close("a", true);
    w.rest();
    assert_eq!((w.outcome(said), w.outcome(music)), ("completed", "cancelled"));
    assert!(w.answered(token));
    let ended = |id| {
        w.signal_at(|s| matches!(s, Signal::UtteranceFinished { utterance, .. } if *utterance == id))
            .unwrap()
    };
    assert!(ended(music) - ended(said) < 100 * MS);
}

#[test]
fn a_session_with_hold_music_is_not_idle_for_its_time_out_and_idle_for_if_idle() {
    let mut w = World::new();
    w.open_with(
        "a",
        SessionOptions {
            idle_timeout_us: Some(S),
            ..SessionOptions::default()
        },
    );
    let music = w.play("a", 10 * S, beside(6.0));
    let polite = SayOptions {
        mode: Some(Mode::IfIdle),
        ..SayOptions::default()
    };
    let said = w.say_with("a", "Hello.", polite);
    w.run(5 * S);
    assert_eq!((w.outcome(said), w.outcome(music)), ("completed", "open"));
    w.rest();
    assert_eq!(w.outcome(music), "completed");
    assert!(w.log.iter().any(|(_, e)| matches!(e, Effect::SessionClosed { .. })), "idle at last");
}

#[test]
fn what_is_muted_is_not_played_beside_either_and_a_client_s_pause_holds_it() {
    let mut w = house();
    let music = w.play("a", 2 * S, beside(6.0));
    w.run_until_started(music);
    w.pause("a");
    w.run(10 * S);
    assert_eq!(w.outcome(music), "open");
    w.resume("a");
    w.run(3 * S);
    assert_eq!(w.outcome(music), "completed");
    let muted = |muted| Request::SetSessionMuted {
        target: target("a"),
        muted,
    };
    let music = w.play("a", 60 * S, beside(6.0));
    w.run(S);
    w.ask(1, muted(true));
    w.run(S);
    assert_eq!(w.reason(music), "muted");
    let music = w.play("a", 60 * S, beside(6.0));
    w.run(S);
    assert_eq!(w.reason(music), "muted");
}

#[test]
fn mode_and_beside_exclude_each_other() {
    let mut w = house();
    let options = PlayOptions {
        say: SayOptions {
            mode: Some(Mode::Replace),
            ..SayOptions::default()
        },
        ..beside(6.0)
    };
    let token = w.try_play("a", sound(S), options);
    assert!(w.reply(token).unwrap_err().message.contains("beside"));
}

#[test]
fn a_feed_is_an_utterance_that_ends_with_its_stream() {
    let mut w = house();
    let first = w.say("a", "Hello there.");
    let feed = w.inject("a", saying("what the model says"));
    let last = w.say("a", "Good bye.");
    w.rest();
    assert_eq!(w.order_heard(), [first, feed, last]);
    let (outcome, report) = w.ended(feed).unwrap();
    assert_eq!((outcome.word(), report.heard_text.as_str()), ("completed", "what the model says"));
    assert_eq!((report.played_us, report.backend.as_str()), (FEED_US, ""));
}

#[test]
fn a_feed_that_nobody_writes_to_does_not_hold_the_floor() {
    let mut w = house();
    w.open("b");
    w.fates.push_back(Fate::NeverAnswers);
    let feed = w.inject("a", PlayOptions::default());
    w.run(S);
    let other = w.say("b", "Hello.");
    w.run(500 * MS);
    assert!(w.started_at(other).is_none(), "two seconds are its client's");
    w.run(S);
    assert!(w.started_at(other).is_some());
    w.run(10 * S);
    assert_eq!((w.outcome(other), w.outcome(feed)), ("completed", "open"));
    assert_eq!(w.cancel("a", CancelOptions::default()).utterances, [feed]);
}

#[test]
fn a_feed_that_is_not_accepted_is_no_utterance() {
    let mut w = house();
    w.say("a", "Hello there.");
    let say = SayOptions {
        mode: Some(Mode::IfIdle),
        ..SayOptions::default()
    };
    let options = PlayOptions {
        say,
        ..PlayOptions::default()
    };
    let format = utterd_core::AudioFormat {
        rate: None,
        encoding: utterd_core::Encoding::S16le,
        channels: 1,
    };
    let target = target("a");
    let token = w.ask(1, Request::Inject { target, format, options });
    assert!(matches!(w.reply(token), Ok(Reply::Feed { utterance: 0, .. })));
}

#[test]
fn no_more_feeds_than_descriptors_allow() {
    let mut w = house();
    let format = utterd_core::AudioFormat {
        rate: None,
        encoding: utterd_core::Encoding::S16le,
        channels: 1,
    };
    let request = || Request::Inject {
        target: target("a"),
        format,
        options: PlayOptions::default(),
    };
    for _ in 0..256 {
        let token = w.ask(1, request());
        assert!(w.reply(token).is_ok());
    }
    let token = w.ask(1, request());
    assert!(w.reply(token).unwrap_err().message.contains("256"));
    w.cancel("a", CancelOptions::default());
    let token = w.ask(1, request());
    assert!(w.reply(token).is_ok(), "they are over");
}
