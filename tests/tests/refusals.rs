//! Bad input gets a clear error that says what to do; nothing crashes, nothing hangs, other sessions do not notice.
#![allow(clippy::unwrap_used)]

use utterd_tests::client::{CALLS, Client, Options, PLUGINS, ROOT};
use utterd_tests::opts;
use utterd_tests::world::{Quiet, TONE};

/// An error of this kind whose message names what was wrong.
#[track_caller]
fn refused<T: std::fmt::Debug>(answer: utterd_tests::client::Result<T>, word: &str, names: &str) {
    let error = answer.expect_err("it should have been refused");
    assert_eq!(error.word(), word, "{error}");
    assert!(error.message.contains(names), "{error} does not name {names:?}");
    let standard = ["InvalidArgs", "UnknownObject", "UnknownMethod", "AccessDenied"].contains(&word);
    let prefix = if standard {
        "org.freedesktop.DBus.Error."
    } else {
        "org.utterd.Utterd1.Error."
    };
    assert!(error.name.starts_with(prefix), "{error}");
}

#[test]
fn text_that_is_nothing_or_too_much_is_refused_by_name() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    for blank in ["", " ", "\n\t  \u{a0}"] {
        refused(session.try_say(blank, opts! {}), "InvalidArgs", "text");
    }
    refused(session.try_say(&"x".repeat(1 << 20), opts! {}), "LimitExceeded", "text-bytes");
    let id = session.say("still here\u{7}\u{1b}[31m\u{1}", opts! { "rate" => 10.0 });
    assert_eq!(
        session.wait(id).0,
        "completed",
        "control characters are spoken around, not choked on"
    );
}

#[test]
fn an_unknown_option_is_named() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let odd = || opts! { "no-such-key" => true };
    refused(quiet.client.open("two", odd()), "InvalidArgs", "no-such-key");
    refused(session.try_say("x", odd()), "InvalidArgs", "no-such-key");
    refused(session.try_cancel(odd()), "InvalidArgs", "no-such-key");
    for member in ["Pause", "Resume", "Configure", "Close", "GetHistory"] {
        refused(session.call(member, &(odd(),)), "InvalidArgs", "no-such-key");
    }
    refused(session.call("Wait", &(0u64, odd())), "InvalidArgs", "no-such-key");
    refused(quiet.client.voices(odd()), "InvalidArgs", "no-such-key");
    refused(quiet.client.cancel_all(odd()), "InvalidArgs", "no-such-key");
    refused(quiet.client.close_session("one", odd()), "InvalidArgs", "no-such-key");
    assert_eq!(session.text("State"), "idle");
}

#[test]
fn an_option_of_the_wrong_type_or_out_of_range_is_named() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let say = |options: Options| session.try_say("x", options);
    refused(say(opts! { "rate" => "fast" }), "InvalidArgs", "rate");
    refused(say(opts! { "turn" => "one" }), "InvalidArgs", "turn");
    refused(say(opts! { "turn" => -1i64 }), "InvalidArgs", "turn");
    refused(say(opts! { "voice" => 7u32 }), "InvalidArgs", "voice");
    refused(say(opts! { "tag" => true }), "InvalidArgs", "tag");
    refused(say(opts! { "gain-db" => 25.0 }), "InvalidArgs", "gain-db");
    refused(say(opts! { "rate" => f64::NAN }), "InvalidArgs", "rate");
    refused(say(opts! { "rate" => 0.0 }), "InvalidArgs", "rate");
    refused(say(opts! { "progress" => "syllable" }), "InvalidArgs", "progress");
    refused(session.try_cancel(opts! { "fade-ms" => 51u32 }), "InvalidArgs", "fade-ms");
    refused(session.try_cancel(opts! { "utterance" => 0u64 }), "InvalidArgs", "utterance");
    refused(session.call("Pause", &(opts! { "fade-ms" => 51u32 },)), "InvalidArgs", "fade-ms");
    refused(session.set("GainDb", 24.5), "InvalidArgs", "GainDb");
    refused(quiet.client.open("two", opts! { "output" => "loud" }), "InvalidArgs", "output");
    refused(quiet.client.open("two", opts! { "lifetime" => "short" }), "InvalidArgs", "lifetime");
}

#[test]
fn any_integer_type_that_holds_the_value_is_right() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    for turn in [
        opts! { "turn" => 1u8, "rate" => 10u8 },
        opts! { "turn" => 1i16, "rate" => 10i64 },
        opts! { "turn" => 1u32, "gain-db" => -3i32 },
        opts! { "turn" => 1i64, "gain-db" => 3u64 },
    ] {
        assert_ne!(session.say("x", turn), 0);
    }
    session.cancel(opts! { "fade-ms" => 2i64 });
}

#[test]
fn unknown_sessions_voices_and_backends_have_errors_of_their_own() {
    let quiet = Quiet::start();
    let client = &quiet.client;
    refused(client.say("nobody", "x", opts! {}), "NoSuchSession", "nobody");
    for id in ["", "a b", "a/b", "ü", &"x".repeat(129)] {
        refused(client.open(id, opts! {}), "InvalidSession", "");
    }
    assert!(client.open(&"x".repeat(128), opts! {}).is_ok());
    let session = quiet.tone_session("one");
    refused(
        session.try_say("x", opts! { "backend" => "gramophone" }),
        "NoSuchBackend",
        "gramophone",
    );
    refused(
        session.try_say("x", opts! { "backend" => TONE, "voice" => "tenor" }),
        "NoSuchVoice",
        "tenor",
    );
    refused(session.try_cancel(opts! { "utterance" => 999u64 }), "NoSuchUtterance", "999");
    refused(client.metrics("nobody"), "NoSuchSession", "nobody");
    assert_eq!(client.cancel("default", opts! {}).unwrap().text("result"), "nothing");
    assert_eq!(client.wait("default", 0, opts! {}).unwrap().0, "nothing");
}

#[test]
fn a_closed_session_is_known_as_closed_and_another_output_is_refused() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    refused(quiet.client.open("one", opts! { "output" => "null" }), "WrongState", "output");
    refused(quiet.client.open("one", opts! { "lifetime" => "client" }), "WrongState", "lifetime");
    session.close(opts! {}).unwrap();
    refused(quiet.client.say("one", "x", opts! {}), "SessionClosed", "one");
    refused(session.try_say("x", opts! {}), "UnknownObject", "");
    assert!(quiet.client.open("one", opts! {}).is_ok(), "and may be opened again");
}

#[test]
fn what_a_later_release_brings_says_so() {
    let quiet = Quiet::start();
    refused(quiet.client.open("two", opts! { "input" => "local:x" }), "NotSupported", "input");
    refused(quiet.client.call(ROOT, PLUGINS, "SetEnabled", &(TONE, false)), "NotSupported", "");
    refused(
        quiet.client.call(ROOT, CALLS, "Dial", &("sip", "sip:a@b", opts! {})),
        "NotSupported",
        "",
    );
}

#[test]
fn other_sessions_do_not_notice() {
    let quiet = Quiet::start();
    let good = quiet.tone_session("good");
    let id = good.say("a sentence that takes its time to be spoken", opts! {});
    quiet.client.expect_started(id);
    let bad = quiet.tone_session("bad");
    for n in 0..200u32 {
        let answer = match n % 4 {
            0 => bad.try_say("", opts! {}).map(drop),
            1 => bad.try_say("x", opts! { "nonsense" => n }).map(drop),
            2 => quiet.client.open("", opts! {}).map(drop),
            _ => bad.call("Cancel", &("not", "a dictionary")).map(drop),
        };
        assert!(answer.is_err());
    }
    assert_eq!(good.wait(id).0, "completed");
}

#[test]
fn a_client_that_dies_in_the_middle_takes_its_own_sessions_along_and_no_others() {
    let quiet = Quiet::start();
    let stays = quiet.tone_session("stays");
    let other = Client::connect(quiet.bus.address());
    let goes = other.open("goes", opts! { "backend" => TONE, "lifetime" => "client" }).unwrap();
    let lives_on = other.open("lives-on", opts! { "backend" => TONE }).unwrap();
    let id = goes.say("this one ends with its client, which is about to leave", opts! {});
    let kept = lives_on.say("short", opts! { "rate" => 10.0 });
    quiet.client.expect_started(id);
    other.disconnect();
    let finished = quiet.client.expect_finished(id);
    assert_eq!((finished.text(1), finished.dict(2).text("reason")), ("cancelled", "session-closed"));
    quiet
        .client
        .expect_event("InterfacesRemoved", |e| e.member == "InterfacesRemoved" && e.text(0) == goes.path);
    assert_eq!(quiet.client.wait("lives-on", kept, opts! {}).unwrap().0, "completed");
    assert_eq!(stays.text("State"), "idle");
}
