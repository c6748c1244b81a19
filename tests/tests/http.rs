//! The cancel chain against real HTTP (requirement C): what a speech server sees of a call, request by request, and what clients hear of a bad server.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use utterd_tests::client::Session;
use utterd_tests::daemon::Plan;
use utterd_tests::mock::tts::{Ack, Answer, Script, Seen, TtsServer};
use utterd_tests::opts;
use utterd_tests::world::Quiet;

const HTTP: &str = "tts-http";

/// A daemon, a server, and how they know each other.
struct World {
    quiet: Quiet,
    server: TtsServer,
}

fn world(script: Script) -> World {
    world_with(script, "", true)
}

fn world_with(script: Script, more: &str, verb: bool) -> World {
    let server = TtsServer::start(script);
    let mut config = format!(
        "[plugin.tts-http]\nurl = \"{}\"\nvoice = \"alba\"\nmodel = \"m1\"\n{more}\n",
        server.url("/v1/audio/speech")
    );
    if verb {
        config.push_str(&format!(
            "[backend.tts-http]\nback-off-ms = 0\ncancel-url = \"{}\"\n",
            server.url("/cancel/{id}")
        ));
    }
    let plan = Plan {
        driver: "timer",
        plugins: vec!["utterd-tts-tone".into(), "utterd-tts-http".into()],
        config,
        ..Plan::default()
    };
    World {
        quiet: Quiet::with(&plan),
        server,
    }
}

impl World {
    fn session(&self, id: &str) -> Session {
        self.quiet.client.open(id, opts! { "backend" => HTTP }).unwrap()
    }

    /// What a bad server comes to: the message of the failed utterance. Another backend's session notices nothing.
    fn failure(&self) -> String {
        let (bad, good) = (self.session("bad"), self.quiet.tone_session("good"));
        let other = good.say("meanwhile", opts! { "rate" => 4.0 });
        let id = bad.say("never heard", opts! {});
        let (outcome, report) = bad.wait(id);
        assert_eq!(outcome, "failed", "{report:?}");
        assert_eq!(good.wait(other).0, "completed");
        let next = good.say("and after", opts! { "rate" => 4.0 });
        assert_eq!(good.wait(next).0, "completed");
        bad.close(opts! {}).unwrap();
        good.close(opts! {}).unwrap();
        report.text("message").to_owned()
    }
}

/// Real time, so that the middle of an answer can be met.
fn slow() -> Script {
    Script {
        speed: 1.0,
        ..Script::default()
    }
}

#[test]
fn it_speaks_what_the_server_sends_in_every_form() {
    let world = world(Script::default());
    let session = world.session("one");
    for (n, answer) in [
        Answer::Wav { length: 0 },
        Answer::Wav { length: u32::MAX },
        Answer::Wav { length: 0x7FFF_F000 },
        Answer::Pcm {
            content_type: "audio/pcm;rate=24000",
        },
        Answer::Events { key: "audio" },
        Answer::Events { key: "delta" },
        Answer::RedirectTo("/v1/redirected/speech".into()),
    ]
    .into_iter()
    .enumerate()
    {
        world.server.script(|s| s.answer = answer.clone());
        let text = format!("number {n}");
        let id = session.say(&text, opts! {});
        let (outcome, report) = session.wait(id);
        assert_eq!(outcome, "completed", "{answer:?}: {report:?}");
        let expected = text.len() as u64 * 50_000;
        assert!(report.number("played-us").abs_diff(expected) <= 2_000, "{answer:?}: {report:?}");
        let request = world.server.wait_request(&text);
        assert_eq!(request.method, "POST");
        let body = request.json();
        let said = ["model", "voice", "response_format"].map(|key| body[key].as_str().unwrap_or_default().to_owned());
        assert_eq!(said, ["m1", "alba", "wav"]);
        assert!(request.id() > 0, "its synthesis id is in the header");
    }
    let requests = world.server.requests();
    let ids: std::collections::BTreeSet<u64> = requests.iter().map(Seen::id).collect();
    assert_eq!(ids.len(), 7, "an id of its own each (C3); a redirect keeps it");
    let connections: std::collections::BTreeSet<u64> = requests.iter().map(|r| r.connection).collect();
    assert_eq!(connections.len(), 1, "one connection served them all");
    assert_eq!(world.server.cancels(), Vec::<u64>::new());
}

#[test]
fn the_first_audio_is_heard_before_the_body_ends() {
    let world = world(slow());
    let session = world.session("one");
    let id = session.say("this takes two seconds to be sent, at real time", opts! {});
    let started = world.quiet.client.expect_started(id);
    let request = &world.server.requests()[0];
    assert_eq!(request.done_us, 0, "the server is still sending");
    let late = started.at_us.saturating_sub(request.first_audio_us);
    println!("first audio to UtteranceStarted: {late} us");
    assert!(late < 500_000);
    session.cancel(opts! {});
}

/// C3: streaming, the stream is closed and the server told once; C5: a second cancel is a success that does nothing.
#[test]
fn a_cancel_reaches_the_server_once_with_the_synthesis_id_and_closes_the_stream() {
    let world = world(slow());
    let session = world.session("one");
    let id = session.say(
        "a long sentence that is cancelled in its middle, while it is still being sent",
        opts! {},
    );
    world.quiet.client.expect_started(id);
    let report = session.cancel(opts! {});
    let syntheses = report.syntheses();
    let request = world.server.wait_request("a long sentence");
    assert_eq!(world.server.wait_cancels(1), [request.id()]);
    assert_eq!(syntheses, [(request.id(), "streaming".to_owned(), "told".to_owned())]);
    let (cancelled, gone) = world.server.wait("the closed stream", |seen| {
        let gone = seen.iter().find(|s| s.gone_us > 0)?.gone_us;
        Some((seen.iter().find(|s| s.target.contains("/cancel/"))?.at_us, gone))
    });
    println!(
        "cancel verb to closed stream seen by the server: {} us",
        gone as i64 - cancelled as i64
    );
    assert_eq!(session.cancel(opts! { "utterance" => id }).text("result"), "already");
    assert_eq!(session.cancel(opts! {}).text("result"), "nothing");
    let next = session.say("and on it goes", opts! {});
    assert_eq!(session.wait(next).0, "completed");
    assert_eq!(world.server.cancels().len(), 1, "once");
}

/// C1, C3: delivered in full, not heard yet.
#[test]
fn what_is_delivered_but_not_heard_is_told() {
    let world = world(Script::default());
    let session = world.session("one");
    let first = session.say("all of this was delivered long before it is heard, in one go", opts! {});
    world.quiet.client.expect_started(first);
    let request = world
        .server
        .wait("the end of the answer", |seen| seen.iter().find(|s| s.done_us > 0).cloned());
    utterd_tests::clock::let_pass(Duration::from_millis(100));
    let report = session.cancel(opts! {});
    assert_eq!(report.syntheses(), [(request.id(), "delivered".to_owned(), "told".to_owned())]);
    assert_eq!(world.server.wait_cancels(1), [request.id()]);
}

/// C2: what is queued behind the one backend slot is never requested.
#[test]
fn a_cancel_before_the_request_means_no_request() {
    let world = world_with(slow(), "", true);
    let session = world.session("one");
    let first = session.say("the first one speaks for a good while, so that nothing else is asked for", opts! {});
    let queued: Vec<u64> = (0..3).map(|n| session.say(&format!("queued {n}"), opts! {})).collect();
    world.quiet.client.expect_started(first);
    let report = session.cancel(opts! {});
    assert_eq!(report.numbers("utterances").len(), 4);
    for id in queued {
        assert_eq!(session.wait(id).0, "cancelled");
    }
    let asked: Vec<u64> = world.server.requests().iter().map(Seen::id).collect();
    for (id, state, told) in report.syntheses() {
        assert_eq!(told == "told", asked.contains(&id), "{id} {state} {told}; asked {asked:?}");
    }
    assert_eq!(world.server.wait_cancels(asked.len()).len(), asked.len());
}

/// The call of the report: 4 barge-ins, each while the next sentence is queued.
#[test]
fn four_barge_ins_tell_the_server_exactly_what_it_knows_and_the_next_sentence_is_never_requested() {
    let world = world(slow());
    let session = world.session("call");
    let mut told = Vec::new();
    for turn in 1..=4u64 {
        let texts = ["one sentence that is being heard", "a second one, queued", "a third one, behind it"];
        let say = |text: &&str| {
            session.say(
                &format!("turn {turn}: {text}, and it is long enough to be cut in two"),
                opts! { "turn" => turn },
            )
        };
        let ids: Vec<u64> = texts.iter().map(say).collect();
        world.quiet.client.expect_started(ids[0]);
        let report = session.cancel(opts! { "reason" => "barge-in" });
        let guard_us = utterd_tests::clock::now_us();
        assert_eq!(report.text("result"), "cancelled");
        for id in &ids {
            assert_eq!(session.wait(*id).0, "cancelled");
        }
        told.extend(report.syntheses().into_iter().filter(|s| s.2 == "told").map(|s| s.0));
        assert_eq!(session.say("late words of the cancelled turn", opts! { "turn" => turn }), 0);
        let after = world.server.requests().iter().filter(|r| r.at_us > guard_us).count();
        assert_eq!(after, 0, "a request after the guard");
    }
    let last = session.say("the last answer is heard", opts! {});
    assert_eq!(session.wait(last).0, "completed");
    let mut cancels = world.server.wait_cancels(told.len());
    cancels.sort_unstable();
    told.sort_unstable();
    assert_eq!(cancels, told, "each needed cancel, once");
    assert!(told.len() >= 4, "{told:?}");
    let requests = world.server.requests();
    let mut asked: Vec<u64> = requests
        .iter()
        .filter(|r| !r.text().starts_with("the last"))
        .map(Seen::id)
        .collect();
    asked.sort_unstable();
    assert_eq!(asked, told, "who was asked was told, and nobody else");
    assert!(
        !requests
            .iter()
            .any(|r| r.text().contains("third") || r.text().contains("late words"))
    );
}

#[test]
fn a_server_without_a_verb_sees_its_stream_closed() {
    let world = world_with(slow(), "", false);
    let session = world.session("one");
    let id = session.say("a sentence that is cancelled in its middle, while it is being sent", opts! {});
    world.quiet.client.expect_started(id);
    session.cancel(opts! {});
    world
        .server
        .wait("the closed stream", |seen| seen.iter().find(|s| s.gone_us > 0).map(drop));
    assert_eq!(world.server.cancels(), Vec::<u64>::new());
}

#[test]
fn gone_already_is_a_success_and_a_refused_or_missing_ack_is_an_alert() {
    let world = world_with(slow(), "cancel-timeout-ms = 300", true);
    let alerts = || {
        let events = world.quiet.client.events().into_iter();
        events.filter(|e| e.member == "Alert" && e.text(0) == "cancel-failed").count()
    };
    let cancelled = |session: &Session| {
        let id = session.say("a sentence that is cancelled in its middle, while it is being sent", opts! {});
        world.quiet.client.expect_started(id);
        let before = world.server.cancels().len();
        let begin = std::time::Instant::now();
        let report = session.cancel(opts! {});
        assert_eq!(report.text("result"), "cancelled");
        assert!(begin.elapsed() < Duration::from_secs(2), "nobody waits for the server");
        world.server.wait_cancels(before + 1);
        report.texts("errors")
    };
    let session = world.session("fine");
    for ack in [Ack::Status(204), Ack::Status(404), Ack::Status(200)] {
        world.server.script(|s| s.ack = ack);
        assert_eq!(cancelled(&session), Vec::<String>::new());
    }
    assert_eq!(alerts(), 0);
    let mut told = 0;
    for (n, ack) in [Ack::Status(500), Ack::Never].into_iter().enumerate() {
        world.server.script(|s| s.ack = ack.clone());
        let session = world.session(&format!("failing-{n}"));
        // A refusal that comes before the report stands in it; whatever comes later is an alert.
        if !cancelled(&session).is_empty() {
            assert_eq!(ack, Ack::Status(500), "nothing can be known yet");
            continue;
        }
        told += 1;
        let alert = world.quiet.client.expect_event("an alert", |e| {
            e.member == "Alert" && e.text(0) == "cancel-failed" && e.text(1) == session.id
        });
        assert_eq!(alert.dict(2).text("backend"), HTTP, "{ack:?}");
    }
    world.server.script(|s| s.ack = Ack::Late(Duration::from_millis(100)));
    assert_eq!(cancelled(&world.session("late")), Vec::<String>::new());
    assert_eq!(alerts(), told);
}

#[test]
fn bad_servers_fail_their_utterance_and_say_what_to_do() {
    let world = world_with(
        Script::default(),
        "first-byte-timeout-ms = 400\nidle-timeout-ms = 400\nredirects = 2",
        true,
    );
    let words = |content_type, body: &[u8]| Answer::Bytes {
        content_type,
        body: body.to_vec(),
    };
    for (answer, says) in [
        (words("audio/mpeg", b"\xff\xfb\x90\x64 and so on"), "response-format = \"wav\""),
        (
            words("application/octet-stream", b"OggS and so on and on"),
            "response-format = \"wav\"",
        ),
        (words("text/html", b"<h1>It works!</h1>"), "It works!"),
        (
            words(
                "audio/wav",
                b"RIFF....WAVEfmt \x10\0\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0\x02\0\x10\0data\0\0\0\0abcd",
            ),
            "0 Hz",
        ),
        (words("audio/wav", b""), "no audio"),
        (Answer::Garbage, "HTTP"),
        (Answer::HangUp, "hung up"),
        (Answer::Silent, "first-byte-timeout-ms"),
        (Answer::RedirectLoop, "redirects more than 2 times"),
        (Answer::RedirectTo("gopher://x/".into()), "redirects nowhere"),
        (
            Answer::Status {
                status: 401,
                body: "who are you?",
            },
            "api-key",
        ),
        (Answer::Status { status: 404, body: "" }, "check url"),
        (
            Answer::Status {
                status: 500,
                body: "out of memory",
            },
            "out of memory",
        ),
        (
            Answer::Status {
                status: 503,
                body: "try later",
            },
            "try later",
        ),
        (Answer::CutOff, "hung up in the middle"),
    ] {
        world.server.script(|s| s.answer = answer.clone());
        let message = world.failure();
        println!("{answer:?}\n    {message}");
        assert!(message.contains(says), "{answer:?}: {message}");
    }
}

#[test]
fn a_dead_server_is_named_and_a_busy_one_is_asked_again() {
    let world = world(Script {
        busy_first: 1,
        ..Script::default()
    });
    let session = world.session("one");
    let id = session.say("second time lucky", opts! {});
    assert_eq!(session.wait(id).0, "completed");
    let requests = world.server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].id(), requests[1].id());
    let World { quiet, server } = world;
    drop(server);
    let id = session.say("nobody there", opts! {});
    let (outcome, report) = session.wait(id);
    assert_eq!(outcome, "failed");
    assert!(report.text("message").contains("is the server running"), "{report:?}");
    drop(quiet);
}

/// A body without an end fills no memory and is cut at once.
#[test]
fn an_endless_answer_is_taken_as_it_is_heard() {
    let world = world(Script {
        answer: Answer::Endless,
        ..Script::default()
    });
    let session = world.session("one");
    let id = session.say("for ever", opts! {});
    world.quiet.client.expect_started(id);
    let before = rss(world.quiet.daemon.pid());
    utterd_tests::clock::let_pass(Duration::from_millis(1_500));
    let grown = rss(world.quiet.daemon.pid()).saturating_sub(before);
    println!("grown by {grown} KiB");
    assert!(grown < 32 * 1024, "grown by {grown} KiB");
    session.cancel(opts! {});
    world
        .server
        .wait("the closed stream", |seen| seen.iter().find(|s| s.gone_us > 0).map(drop));
}

fn rss(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn voices_are_discovered_and_listed() {
    let server = TtsServer::start(Script::default());
    let config = format!(
        "[plugin.tts-http]\nurl = \"{}\"\nvoices-url = \"{}\"\nvoices = [{{ id = \"carla\", languages = [\"es\"] }}]\n",
        server.url("/v1/audio/speech"),
        server.url("/v1/audio/voices")
    );
    let quiet = Quiet::with(&Plan {
        driver: "timer",
        plugins: vec!["utterd-tts-http".into()],
        config,
        ..Plan::default()
    });
    let voices = quiet.client.voices(opts! {}).unwrap();
    let ids: Vec<&str> = voices.iter().map(|v| v.text("id")).collect();
    assert_eq!(ids, ["carla", "alba", "bruno"]);
    let session = quiet.client.open("one", opts! { "voice" => "bruno" }).unwrap();
    let id = session.say("hello", opts! {});
    assert_eq!(session.wait(id).0, "completed");
    assert_eq!(server.requests()[0].json()["voice"], "bruno");
}

/// The conformance suite of the ABI, against a server that says a lot.
#[test]
fn the_plugin_passes_its_check() {
    let server = TtsServer::start(Script {
        samples: 100_000,
        ..Script::default()
    });
    let config = format!(
        "{{\"url\":\"{}\",\"cancel-url\":\"{}\"}}",
        server.url("/v1/audio/speech"),
        server.url("/cancel/{id}")
    );
    let check = std::process::Command::new(utterd_tests::bins::plugin_check())
        .arg(utterd_tests::bins::plugin("utterd-tts-http"))
        .arg(config)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    println!("{said}");
    assert!(check.status.success(), "{said}");
}
