//! A speech server behind TLS: whom `tts-http` trusts, what it says when it does not, and that nothing of a text leaves the house before.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};

use utterd_tests::daemon::Plan;
use utterd_tests::mock::tls::{Authority, Certificate, TlsDoor};
use utterd_tests::mock::tts::{Script, TtsServer};
use utterd_tests::opts;
use utterd_tests::tempdir::TempDir;
use utterd_tests::world::Quiet;

/// A daemon that speaks to `url`.
fn daemon(url: &str, cancel_url: &str, more: &str) -> Quiet {
    let config =
        format!("[plugin.tts-http]\nurl = \"{url}\"\nvoice = \"alba\"\n{more}\n[backend.tts-http]\ncancel-url = \"{cancel_url}\"\n");
    Quiet::with(&Plan {
        driver: "timer",
        plugins: vec!["utterd-tts-http".into()],
        config,
        ..Plan::default()
    })
}

/// What the utterance failed with.
#[track_caller]
fn failure(quiet: &Quiet) -> String {
    let session = quiet.client.open("one", opts! {}).unwrap();
    let id = session.say("a secret", opts! {});
    let (outcome, report) = session.wait(id);
    assert_eq!(outcome, "failed", "{report:?}");
    report.text("message").to_owned()
}

#[test]
fn a_server_whose_authority_is_trusted_is_heard_and_cancelled_over_one_connection() {
    let (server, authority, dir) = (
        TtsServer::start(Script {
            speed: 1.0,
            ..Script::default()
        }),
        Authority::new("house"),
        TempDir::new("ca"),
    );
    let door = TlsDoor::open(server.address(), &authority, Certificate::Good);
    let ca = format!("ca-file = {:?}", authority.write_pem(dir.path()));
    let quiet = daemon(&door.url("/v1/audio/speech"), &door.url("/cancel/{id}"), &ca);
    let session = quiet.client.open("one", opts! {}).unwrap();
    for text in ["over tls", "and again"] {
        let (outcome, report) = session.wait(session.say(text, opts! {}));
        assert_eq!((outcome.as_str(), report.text("heard-text")), ("completed", text), "{report:?}");
    }
    assert_eq!(door.handshakes(), 1, "a connection is used again");
    let id = session.say("a long one that is cancelled in the middle of its answer", opts! {});
    quiet.client.expect_started(id);
    let synthesis = server.wait_request("a long one").id();
    assert_eq!(session.cancel(opts! {}).text("result"), "cancelled");
    assert_eq!(server.wait_cancels(1), [synthesis]);
    assert_eq!(session.wait(session.say("after it", opts! {})).0, "completed");
}

#[test]
fn a_certificate_that_nobody_here_trusts_is_refused_before_a_word_is_sent() {
    let server = TtsServer::start(Script::default());
    let (authority, stranger, dir) = (Authority::new("house"), Authority::new("stranger"), TempDir::new("ca"));
    let ours = format!("ca-file = {:?}", authority.write_pem(dir.path()));
    for (signed_by, certificate, trust, says) in [
        (&authority, Certificate::Good, "", "set ca-file"),
        (&stranger, Certificate::Good, ours.as_str(), "signed by nobody who is trusted here"),
        (&authority, Certificate::Elsewhere, &ours, "for another name"),
        (&authority, Certificate::Expired, &ours, "has expired"),
        (&authority, Certificate::Withheld, &ours, "no connection within 2000 ms"),
    ] {
        let door = TlsDoor::open(server.address(), signed_by, certificate);
        let quiet = daemon(&door.url("/v1/audio/speech"), &door.url("/cancel/{id}"), trust);
        let error = failure(&quiet);
        assert!(error.contains(says) && error.contains(&door.url("")), "{error}");
        assert_eq!((server.seen().len(), door.handshakes()), (0, 0), "{error}");
    }
}

#[test]
fn a_server_without_tls_and_a_bad_ca_file_are_told_apart() {
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/v1/audio/speech", plain.local_addr().unwrap());
    // What servers say to bytes that are no HTTP. It ends with the daemon's last try.
    let server = std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        let mut hello = [0; 512];
        assert!(stream.read(&mut hello).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let error = failure(&daemon(&url, &url.replace("speech", "{id}"), ""));
    assert!(error.contains("does not speak TLS"), "{error}");
    server.join().unwrap();
    let (server, dir) = (TtsServer::start(Script::default()), TempDir::new("ca"));
    let door = TlsDoor::open(server.address(), &Authority::new("house"), Certificate::Good);
    let url = door.url("/v1/audio/speech");
    for (name, content) in [("none.pem", None), ("junk.pem", Some("no certificate"))] {
        let file = dir.join(name);
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let error = failure(&daemon(&url, &url.replace("speech", "{id}"), &format!("ca-file = {file:?}")));
        assert!(error.contains("ca-file"), "{name}: {error}");
    }
}
