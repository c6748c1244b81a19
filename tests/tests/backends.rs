//! Backends that fail: who speaks instead, what is heard and told, when a failing one is asked again, and what needs no request at all.
//! A scripted server stands for the one that fails, espeak-ng for the one that is always there.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use utterd_tests::client::{METRICS, PLUGINS, ROOT, Session};
use utterd_tests::clock::{let_pass, until};
use utterd_tests::daemon::Plan;
use utterd_tests::mock::tts::{Ack, Answer, Script, TtsServer};
use utterd_tests::opts;
use utterd_tests::world::{ESPEAK, Quiet, TONE};
use zbus::zvariant::Value;

const HTTP: &str = "tts-http";
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    quiet: Quiet,
    server: TtsServer,
}

/// `of_backend`: keys of [backend.tts-http]; `more`: whole tables.
fn world(script: Script, of_backend: &str, more: &str) -> World {
    let server = TtsServer::start(script);
    let config = format!(
        "[plugin.tts-http]\nurl = \"{}\"\nvoice = \"alba\"\nmodel = \"m1\"\ncancel-timeout-ms = 300\n[backend.tts-http]\ncancel-url = \
         \"{}\"\n{of_backend}\n{more}\n",
        server.url("/v1/audio/speech"),
        server.url("/cancel/{id}")
    );
    let plan = Plan {
        driver: "timer",
        plugins: vec!["utterd-tts-tone".into(), "utterd-tts-http".into(), "utterd-tts-espeak-ng".into()],
        config,
        ..Plan::default()
    };
    World {
        quiet: Quiet::with(&plan),
        server,
    }
}

impl World {
    fn session(&self, id: &str, fallback: &[&'static str]) -> Session {
        let options = opts! { "backend" => HTTP, "fallback" => fallback.to_vec() };
        self.quiet.client.open(id, options).unwrap()
    }

    fn metric(&self, name: &str) -> f64 {
        self.quiet.client.metrics("").unwrap().get(name).copied().unwrap_or(-1.0)
    }

    /// State and details of the plugin in Plugins.List.
    fn plugin(&self, id: &str) -> (String, String) {
        let reply = self.quiet.client.call(ROOT, PLUGINS, "List", &()).unwrap();
        let rows = format!("{:?}", reply.value);
        let at = rows.find(&format!("\"{id}\"")).unwrap();
        let row = &rows[at..];
        let state = if row[..200.min(row.len())].contains("\"failed\"") {
            "failed"
        } else {
            "ready"
        };
        (state.to_owned(), row.to_owned())
    }
}

fn dead() -> Script {
    Script {
        answer: Answer::HangUp,
        ..Script::default()
    }
}

#[test]
fn the_server_is_dead_and_espeak_speaks_the_same_text() {
    let world = world(dead(), "", "");
    let session = world.session("one", &[ESPEAK]);
    let id = session.say("Hello there, this is said in any case.", opts! {});
    let (outcome, report) = session.wait(id);
    assert_eq!(outcome, "completed", "{report:?}");
    assert_eq!(report.text("backend"), ESPEAK);
    assert_eq!(report.text("heard-text"), "Hello there, this is said in any case.");
    assert!(world.metric("utterd_fallback_total") >= 1.0);
    assert!(world.metric("utterd_backend_tts_http_failed_total") >= 1.0);
    // A list of its own, and none.
    let id = session.say("Said by nobody.", opts! { "fallback" => Vec::<&str>::new() });
    assert_eq!(session.wait(id).0, "failed");
    let id = session.say("Said by a tone.", opts! { "fallback" => vec![TONE, ESPEAK] });
    assert_eq!(session.wait(id).1.text("backend"), TONE);
    let wrong = session.try_say("x", opts! { "fallback" => vec!["nobody"] }).unwrap_err();
    assert_eq!(wrong.word(), "NoSuchBackend");
}

#[test]
fn the_configuration_may_name_the_fallback() {
    let world = world(
        dead(),
        "",
        "[speech]\nbackend = \"tts-http\"\nfallback = [\"no-such-plugin\", \"tts-espeak-ng\"]",
    );
    let session = world.quiet.client.open("one", opts! {}).unwrap();
    let id = session.say("Hello there.", opts! {});
    let (outcome, report) = session.wait(id);
    assert_eq!((outcome.as_str(), report.text("backend")), ("completed", ESPEAK));
}

#[test]
fn a_server_that_dies_after_its_first_audio_fails_the_utterance_with_what_was_heard() {
    let world = world(
        Script {
            answer: Answer::CutOff,
            ..Script::default()
        },
        "",
        "",
    );
    let session = world.session("one", &[ESPEAK]);
    let text = "one two three four five six seven eight nine ten eleven twelve";
    let id = session.say(text, opts! {});
    let (outcome, report) = session.wait(id);
    assert_eq!(outcome, "failed");
    assert_eq!(report.text("backend"), HTTP);
    let heard = report.text("heard-text");
    assert!(
        !heard.is_empty() && heard.len() < text.len() && text.starts_with(heard),
        "{heard:?}"
    );
    assert_eq!(world.metric("utterd_fallback_total"), 0.0);
}

#[test]
fn a_silent_server_is_given_up_told_and_replaced_and_then_spared() {
    let script = Script {
        answer: Answer::Silent,
        ..Script::default()
    };
    let world = world(script, "first-audio-timeout-ms = 400\nback-off-ms = 1500", "");
    let session = world.session("one", &[ESPEAK]);
    let begin = Instant::now();
    let id = session.say("Nobody hears the server.", opts! { "gain-db" => -3.0 });
    world.quiet.client.expect_started(id);
    let waited = begin.elapsed();
    println!("silence given up and replaced after {waited:?}");
    assert!(waited >= Duration::from_millis(400));
    assert_eq!(session.wait(id).1.text("backend"), ESPEAK);
    let asked = world.server.requests();
    assert_eq!(world.server.wait_cancels(1), [asked[0].id()], "told once");
    // It is away: the next one does not even ask it.
    let alert = world
        .quiet
        .client
        .expect_event("an alert", |e| e.member == "Alert" && e.text(0) == "backend-failed");
    assert_eq!(alert.dict(2).text("backend"), HTTP);
    assert_eq!(alert.dict(2).number("again-ms"), 1500);
    assert_eq!(world.metric("utterd_backend_tts_http_failing"), 1.0);
    assert_eq!(world.plugin(HTTP).0, "failed", "{:?}", world.plugin(HTTP));
    let id = session.say("Who is asked now?", opts! {});
    assert_eq!(session.wait(id).1.text("backend"), ESPEAK);
    let without = world.session("without", &[]);
    let id = without.say("And without a fallback?", opts! {});
    let (outcome, report) = without.wait(id);
    // Espeak may have taken longer than the server is spared: then it was asked, and given up, once more.
    if world.server.requests().len() == 1 {
        assert_eq!(outcome, "failed");
        assert!(report.text("error").ends_with("BackendUnavailable"), "{report:?}");
        assert!(report.text("message").contains("is not asked for another"), "{report:?}");
    }
    // Well again: it is tried when its time is over, and speaks.
    world.server.script(|s| s.answer = Answer::Wav { length: 0 });
    let back = until(PATIENCE, || {
        let id = session.say("Are you back?", opts! { "rate" => 3.0, "cache" => "no" });
        (session.wait(id).1.text("backend") == HTTP).then_some(())
    });
    assert!(back.is_some(), "it is asked again");
    assert_eq!(world.metric("utterd_backend_tts_http_failing"), 0.0);
    assert_eq!(world.plugin(HTTP).0, "ready");
    let changes: Vec<String> = world
        .quiet
        .client
        .events()
        .into_iter()
        .filter(|e| e.member == "PluginStateChanged")
        .map(|e| e.text(1).to_owned())
        .collect();
    assert_eq!((changes[0].as_str(), changes.last().unwrap().as_str()), ("failed", "ready"));
}

#[test]
fn a_server_that_stalls_in_the_middle_is_given_up() {
    let script = Script {
        speed: 0.02,
        ..Script::default()
    };
    // 2 % of real time, in blocks of 20 ms each second: silent for longer than it may be.
    let world = world(script, "stall-timeout-ms = 300", "");
    let session = world.session("one", &[ESPEAK]);
    let id = session.say("this will never be told to its end", opts! {});
    let (outcome, report) = session.wait(id);
    assert_eq!(outcome, "failed");
    assert!(report.text("message").contains("stall-timeout-ms"), "{report:?}");
    assert_eq!(world.server.wait_cancels(1).len(), 1);
}

#[test]
fn a_stream_goes_on_with_the_backend_that_works() {
    let world = world(Script::default(), "", "");
    let session = world.session("one", &[ESPEAK]);
    let call = |member: &str, seq: u64, id: u64, text: &str| match member {
        "SayAppend" => session.call(member, &(id, seq, text)).unwrap(),
        _ => session.call(member, &(id,)).unwrap(),
    };
    let opened = session.call("SayOpen", &(opts! {},)).unwrap().value;
    let [Value::U64(id)] = opened.as_slice() else {
        panic!("{opened:?}")
    };
    call("SayAppend", 1, *id, "The server says this.\n");
    world.server.wait_request("The server says this");
    world.server.wait("its end", |seen| seen.iter().find(|s| s.done_us > 0).map(drop));
    world.server.script(|s| s.answer = Answer::HangUp);
    call("SayAppend", 2, *id, "Espeak says this.\n");
    world.server.wait_request("Espeak says this");
    call("SayAppend", 3, *id, "And this.\n");
    call("SayEnd", 0, *id, "");
    let (outcome, report) = session.wait(*id);
    assert_eq!(outcome, "completed", "{report:?}");
    assert_eq!(report.text("backend"), ESPEAK);
    let asked = world.server.requests();
    assert!(
        !asked.iter().any(|r| r.text().contains("And this")),
        "who failed is not asked for the rest"
    );
}

#[test]
fn the_second_time_a_phrase_needs_no_request() {
    let world = world(Script::default(), "", "");
    let session = world.session("one", &[]);
    let said = |session: &Session, options| {
        let id = session.say("One moment, please.", options);
        let (outcome, report) = session.wait(id);
        assert_eq!(outcome, "completed", "{report:?}");
        assert_eq!((report.text("backend"), report.text("voice")), (HTTP, "alba"));
        report.number("played-us")
    };
    let first = said(&session, opts! {});
    assert_eq!(said(&session, opts! {}), first, "the same samples");
    said(&session, opts! { "gain-db" => -6.0 });
    assert_eq!(world.server.requests().len(), 1);
    assert_eq!(world.metric("utterd_cache_hit_total"), 2.0);
    said(&session, opts! { "cache" => "no" });
    said(&session, opts! { "rate" => 1.5 });
    assert_eq!(world.server.requests().len(), 3);
    let private = world
        .quiet
        .client
        .open("private", opts! { "backend" => HTTP, "private" => true })
        .unwrap();
    said(&private, opts! {});
    assert_eq!(
        world.server.requests().len(),
        4,
        "a private session takes nothing and leaves nothing"
    );
    // The server is gone; what is kept is spoken, and a cancel of it has nobody to tell.
    world.server.script(|s| s.answer = Answer::HangUp);
    said(&session, opts! {});
    let id = session.say("One moment, please.", opts! {});
    world.quiet.client.expect_started(id);
    let syntheses = session.cancel(opts! {}).syntheses();
    assert_eq!(syntheses.len(), 1);
    assert_eq!((syntheses[0].1.as_str(), syntheses[0].2.as_str()), ("cached", "not-needed"));
    assert_eq!(world.server.cancels(), Vec::<u64>::new());
}

#[test]
fn a_greeting_is_synthesised_at_the_start_and_a_voice_that_says_so_is_never_kept() {
    let world = world(
        Script::default(),
        "",
        "[pin.greeting]\nbackend = \"tts-http\"\nvoice = \"alba\"\ntext = \"Welcome to the house.\"",
    );
    world.server.wait_request("Welcome to the house.");
    let kept = until(PATIENCE, || (world.metric("utterd_cache_phrases") >= 1.0).then_some(()));
    assert!(kept.is_some());
    let session = world.session("one", &[]);
    let id = session.say("Welcome to the house.", opts! {});
    assert_eq!(session.wait(id).0, "completed");
    assert_eq!(world.server.requests().len(), 1, "before anybody asked");
    let hits = world.metric("utterd_cache_hit_total");
    assert_eq!(hits, 1.0);
    let tone = world
        .quiet
        .client
        .open("tone", opts! { "backend" => TONE, "voice" => "tone-id" })
        .unwrap();
    for _ in 0..2 {
        let id = tone.say("whose", opts! { "cache" => "pin" });
        assert_eq!(tone.wait(id).0, "completed");
    }
    assert_eq!(world.metric("utterd_cache_hit_total"), hits);
}

#[test]
fn pins_that_fill_the_cache_are_told() {
    let world = world(Script::default(), "", "[cache]\nbytes = 200000");
    let session = world.session("one", &[]);
    for n in 0..3 {
        let id = session.say(&format!("number {n} is kept for ever"), opts! { "cache" => "pin" });
        assert_eq!(session.wait(id).0, "completed");
    }
    let alert = world
        .quiet
        .client
        .expect_event("an alert", |e| e.member == "Alert" && e.text(0) == "cache-full");
    assert!(alert.dict(2).number("pinned-bytes") <= 200_000);
    assert_eq!(alert.interface, METRICS);
}

/// C1: what is known of the acknowledgement while the report is open stands in it.
#[test]
fn a_refused_cancel_is_told_once_in_the_report_or_by_an_alert() {
    let world = world(
        Script {
            speed: 1.0,
            ..Script::default()
        },
        "",
        "",
    );
    world.server.script(|s| s.ack = Ack::Status(500));
    let session = world.session("one", &[]);
    let id = session.say("a sentence that is cancelled in its middle, while it is being sent", opts! {});
    world.quiet.client.expect_started(id);
    let report = session.cancel(opts! {});
    world.server.wait_cancels(1);
    let_pass(Duration::from_millis(300));
    let alerts = world.quiet.client.events();
    let alerts = alerts
        .iter()
        .filter(|e| e.member == "Alert" && e.text(0) == "cancel-failed")
        .count();
    println!("in the report: {}, alerts: {alerts}", report.texts("errors").len());
    assert_eq!(report.texts("errors").len() + alerts, 1);
}
