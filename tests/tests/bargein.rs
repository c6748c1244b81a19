//! Barge-in as a client and an ear meet it, with ReportSpeech in the place of a detector: what is suspected is silent at once, what was not so goes on
//! from its sample, what is confirmed is cancelled, and a greeting is neither (T5, T6, T7, T9).
#![allow(clippy::unwrap_used)]

use utterd_tests::client::{Client, Dict, Event, MANAGER, OWNER, Options, ROOT, Session};
use utterd_tests::clock::{now_us, wait_for};
use utterd_tests::daemon::Plan;
use utterd_tests::jack::JackOptions;
use utterd_tests::opts;
use utterd_tests::tone::{self, overlap_add, silent_within};
use utterd_tests::world::{Quiet, TONE, World};

const CHARACTER: usize = 2_400;
const LONG: &str = "a sentence that somebody talks into, once or twice, before it comes to its end";

/// A session that pauses and confirms by reports alone.
fn session(client: &Client, more: Options) -> Session {
    let mut options = opts! { "backend" => TONE, "voice" => "tone-id", "barge-in" => "pause-then-confirm", "detector" => "none" };
    options.extend(more);
    client.open("one", options).unwrap_or_else(|e| panic!("OpenSession: {e}"))
}

#[track_caller]
fn report(session: &Session, kind: &str, details: Options) -> String {
    session
        .report_speech(kind, details)
        .unwrap_or_else(|e| panic!("ReportSpeech: {e}"))
        .value
}

fn stages(session: &Session) -> Vec<String> {
    let of = session.events().into_iter().filter(|e| e.member == "BargeIn");
    of.map(|e| e.text(0).to_owned()).collect()
}

fn barge_in<'a>(stage: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |e| e.member == "BargeIn" && e.text(0) == stage
}

#[test]
fn t7_a_suspicion_is_silent_within_a_period_and_5_ms_and_false_goes_on_from_the_sample() {
    let world = World::start();
    let session = session(&world.client, opts! {});
    let id = session.say(LONG, opts! {});
    world.client.expect_started(id);
    let mut told = Vec::new();
    for n in 0..4 {
        world.for_ms(150 + 70 * n);
        assert_eq!(report(&session, "suspected", opts! { "utterance" => id }), "paused");
        told.push(now_us());
        assert_eq!((session.text("State").as_str(), session.number("ActiveUtterance")), ("paused", id));
        world.for_ms(60 + 40 * n);
        assert_eq!(report(&session, "false", opts! { "utterance" => id }), "resumed");
    }
    assert_eq!(session.wait(id).0, "completed");
    let heard = world.heard();
    let runs = tone::runs(&heard);
    overlap_add(&heard, &runs, id, LONG.len() * CHARACTER, 4);
    silent_within(&heard, &runs, &told, world.a_period_and_5_ms());
    assert_eq!(stages(&session).len(), 8);
}

#[test]
fn t5_confirmed_cancels_once_and_a_second_late_report_leaves_the_next_answer_alone() {
    let world = World::start();
    let session = session(&world.client, opts! {});
    let id = session.say(LONG, opts! {});
    let queued = session.say("and this one waits", opts! {});
    world.client.expect_started(id);
    world.for_ms(300);
    assert_eq!(report(&session, "suspected", opts! { "utterance" => id }), "paused");
    world.for_ms(100);
    let about = opts! { "utterance" => id, "text" => "stop", "words" => 1u32, "confidence" => 0.9 };
    let reply = session.report_speech("confirmed", about.clone()).unwrap();
    assert_eq!(reply.value, "cancelled");
    for ended in [id, queued] {
        let finished = world.client.expect_finished(ended);
        assert!(
            finished.position < reply.position,
            "UtteranceFinished precedes the reply that it causes"
        );
        assert_eq!((finished.text(1), finished.dict(2).text("reason")), ("cancelled", "barge-in"));
    }
    let cut = world.heard();
    assert_eq!(session.number("Turn"), 2);

    let next = session.say("the next answer is heard to its end", opts! {});
    world.client.expect_started(next);
    assert_eq!(report(&session, "confirmed", about), "ignored");
    assert_eq!(report(&session, "confirmed", opts! { "turn" => 1u64 }), "ignored");
    assert_eq!(session.wait(next).0, "completed");
    let heard = world.heard();
    let runs = tone::runs(&heard);
    let silence = heard.first_sound(cut.samples.len()..usize::MAX).unwrap();
    let run = runs.last().unwrap();
    assert_eq!((run.voice, run.first, run.heard.len()), (tone::voice(next), 0, 35 * CHARACTER));
    assert_eq!(run.heard.start, silence, "nothing of what was cancelled is heard again");
    assert_eq!(stages(&session), ["suspected", "confirmed", "ignored", "ignored"]);
}

#[test]
fn t6_a_greeting_is_heard_unbroken_until_its_time_and_who_speaks_on_is_suspected_then() {
    let world = World::start();
    let session = session(&world.client, opts! {});
    let id = session.say(LONG, opts! { "greeting" => true });
    assert_eq!(report(&session, "suspected", opts! { "utterance" => id }), "protected");
    world.client.expect_started(id);
    assert_eq!(report(&session, "confirmed", opts! { "utterance" => id }), "protected");
    world.client.expect_event("the suspicion", barge_in("suspected"));
    world.for_ms(100);
    let heard = world.heard();
    let first = &tone::runs(&heard)[0];
    let sent_ms = first.heard.len() as u64 / 48;
    let late_ms = (world.jack.period_us() * 4 + 30_000) / 1000;
    assert!((500..500 + late_ms).contains(&sent_ms), "{sent_ms} ms were heard before the pause");
    assert_eq!(report(&session, "confirmed", opts! { "utterance" => id }), "cancelled");
    assert_eq!(session.wait(id).0, "cancelled");
    assert_eq!(world.daemon.log_lines("GREETING_PROTECT").len(), 2);
    assert_eq!(world.daemon.log_lines("GREETING_COMPLETED").len(), 0);
}

#[test]
fn t9_a_barge_in_is_a_line_and_a_number_and_a_whole_greeting_is_a_line() {
    let quiet = Quiet::start();
    let session = session(&quiet.client, opts! {});
    let greeting = session.say("good day", opts! { "greeting" => true, "rate" => 2.0 });
    assert_eq!(session.wait(greeting).0, "completed");
    for n in 1..=2 {
        let id = session.say(LONG, opts! {});
        quiet.client.expect_started(id);
        let onset = now_us();
        assert_eq!(
            report(&session, "confirmed", opts! { "at-us" => onset, "utterance" => id }),
            "cancelled"
        );
        wait_for("the line", || quiet.daemon.log_lines("BARGE_IN").len() == n);
        let line = &quiet.daemon.log_lines("BARGE_IN")[n - 1];
        assert!(line.contains("session=one") && line.contains(&format!("count={n}")), "{line}");
        assert!(line.contains("latency_ms="), "{line}");
    }
    assert_eq!(quiet.daemon.log_lines("GREETING_COMPLETED").len(), 1);
    let metrics = quiet.client.metrics("one").unwrap();
    assert_eq!(metrics["utterd_barge_in_total"], 2.0);
}

#[test]
fn a_suspicion_that_nobody_confirms_ends_by_itself() {
    let quiet = Quiet::start();
    let session = session(&quiet.client, opts! { "false-interruption-ms" => 200u32 });
    let id = session.say("it goes on by itself", opts! { "rate" => 2.0 });
    quiet.client.expect_started(id);
    assert_eq!(report(&session, "suspected", opts! { "turn" => 1u64 }), "paused");
    quiet.client.expect_event("the end of the suspicion", barge_in("false"));
    assert_eq!(session.wait(id).0, "completed");
}

#[test]
fn edges_of_speech_are_told_and_the_silence_before_an_answer() {
    let quiet = Quiet::start();
    let session = session(&quiet.client, opts! {});
    let onset = now_us() - 800_000;
    assert_eq!(report(&session, "suspected", opts! { "at-us" => onset, "turn" => 1u64 }), "ignored");
    let end = onset + 700_000;
    assert_eq!(report(&session, "ended", opts! { "at-us" => end, "turn" => 1u64 }), "ignored");
    let id = session.say("an answer", opts! { "rate" => 5.0 });
    let info = quiet.client.expect_started(id).dict(1);
    assert!(info.number("user-silence-us") >= 100_000, "{}", info.number("user-silence-us"));
    let started = quiet.client.expect_event("SpeechStarted", |e| e.member == "SpeechStarted");
    assert_eq!(started.dict(0).number("at-us"), onset);
    let stopped = quiet.client.expect_event("SpeechStopped", |e| e.member == "SpeechStopped");
    assert_eq!(stopped.number(0), 700_000);
}

#[test]
fn under_off_nothing_is_told_and_configure_takes_effect_at_once() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let id = session.say(LONG, opts! {});
    quiet.client.expect_started(id);
    let about = || opts! { "utterance" => id };
    assert_eq!(
        report(&session, "suspected", about()),
        "ignored",
        "off is what is shipped for local sessions"
    );
    session
        .configure(opts! { "barge-in" => "report-only", "detector" => "none" })
        .unwrap();
    assert_eq!(report(&session, "suspected", about()), "ignored");
    session.configure(opts! { "barge-in" => "pause-then-confirm" }).unwrap();
    assert_eq!(report(&session, "suspected", about()), "paused");
    session.configure(opts! { "barge-in" => "off" }).unwrap();
    assert_eq!(session.text("State"), "speaking");
    session.configure(opts! { "barge-in" => "cancel-at-once" }).unwrap();
    assert_eq!(report(&session, "suspected", about()), "cancelled");
    assert_eq!(
        stages(&session).first().map(String::as_str),
        Some("suspected"),
        "told under report-only"
    );
    let counters = Dict::from(&quiet.client.property(ROOT, OWNER, "Counters").unwrap());
    assert_eq!(counters.number("capture-starts"), 0, "without a detector no microphone is opened");
}

#[test]
fn what_is_wrong_with_a_report_is_named() {
    let quiet = Quiet::start();
    let session = session(&quiet.client, opts! {});
    let cases = [
        ("heard", opts! {}, "InvalidArgs", "suspected, confirmed, false, ended"),
        ("suspected", opts! { "loudness" => 3u32 }, "InvalidArgs", "loudness"),
        ("suspected", opts! { "confidence" => 2.0 }, "InvalidArgs", "confidence"),
        ("suspected", opts! { "at-us" => -1i32 }, "InvalidArgs", "at-us"),
        ("suspected", opts! { "utterance" => 0u64 }, "InvalidArgs", "utterance"),
        ("suspected", opts! { "utterance" => 4_000u64 }, "NoSuchUtterance", "4000"),
    ];
    for (kind, details, error, part) in cases {
        let refusal = session.report_speech(kind, details).unwrap_err();
        assert_eq!(refusal.word(), error, "{refusal}");
        assert!(refusal.message.contains(part), "{refusal}");
    }
    for (key, value) in [("barge-in", "loud"), ("backchannel", "ignore"), ("detector", "no-such-detector")] {
        let refusal = session.configure(opts! { key => value }).unwrap_err();
        assert_eq!(refusal.word(), "InvalidArgs");
        assert!(refusal.message.contains(key), "{refusal}");
    }
}

#[test]
fn a_muted_microphone_is_a_property_of_the_session_and_of_all() {
    let quiet = Quiet::start();
    let session = session(&quiet.client, opts! {});
    assert!(!session.is("MicMuted"));
    session.set("MicMuted", true).unwrap();
    assert!(session.is("MicMuted"));
    quiet.client.set_property(ROOT, MANAGER, "MicMuted", true).unwrap();
    assert_eq!(bool::try_from(quiet.client.manager("MicMuted")), Ok(true));
    quiet.client.set_property(ROOT, MANAGER, "MicMuted", false).unwrap();
    session.set("MicMuted", false).unwrap();
    assert!(!session.is("MicMuted"));
}

#[test]
fn the_configuration_says_what_sessions_begin_with() {
    let plan = Plan {
        driver: "timer",
        config: "[barge-in]\nlocal = \"cancel-at-once\"\ndetector = \"none\"\n".into(),
        ..Plan::default()
    };
    let quiet = Quiet::with(&plan);
    let session = quiet.tone_session("one");
    let id = session.say(LONG, opts! {});
    quiet.client.expect_started(id);
    assert_eq!(report(&session, "suspected", opts! { "utterance" => id }), "cancelled");
}

/// The ear's own measure of the whole way from a call to silence, at the period of a phone.
#[test]
fn t7_a_confirmed_barge_in_leaves_no_residual_sound() {
    let world = World::with(
        JackOptions {
            period: 960,
            ..JackOptions::default()
        },
        &Plan::default(),
    );
    let session = session(&world.client, opts! {});
    for _ in 0..3 {
        let id = session.say(LONG, opts! {});
        world.client.expect_started(id);
        world.for_ms(250);
        assert_eq!(report(&session, "confirmed", opts! { "utterance" => id }), "cancelled");
        let replied = now_us();
        world.for_ms(100);
        let heard = world.heard();
        let last = heard.us_at(heard.last_sound(0..usize::MAX).unwrap());
        assert!(
            last <= replied + world.a_period_and_5_ms(),
            "heard {} us after the reply",
            last - replied
        );
    }
}
