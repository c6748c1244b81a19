//! Recordings (T4): begun after the first frame, both sides on one clock, whole at every moment, never in the way of audio.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;
use utterd_tests::client::{Dict, OWNER, ROOT, Session};
use utterd_tests::clock::{let_pass, now_us, until, wait_for};
use utterd_tests::daemon::Plan;
use utterd_tests::jack::JackOptions;
use utterd_tests::mouth::Mouth;
use utterd_tests::opts;
use utterd_tests::tempdir::TempDir;
use utterd_tests::world::{Quiet, World};

/// A plan whose recordings lie in a folder of the test's own.
fn plan(dir: &TempDir, more: &str) -> Plan {
    Plan {
        config: format!("[recording]\ndir = \"{}\"\n{more}", dir.path().join("shelf").display()),
        ..Plan::default()
    }
}

fn file(dir: &TempDir, name: &str) -> PathBuf {
    dir.path().join("shelf").join(name)
}

/// The agent's side and the user's, as hound reads them.
fn sides(path: &Path) -> (u32, Vec<i16>, Vec<i16>) {
    let mut wav = hound::WavReader::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let spec = wav.spec();
    assert_eq!((spec.channels, spec.bits_per_sample), (2, 16));
    let samples: Vec<i16> = wav.samples().map(Result::unwrap).collect();
    let side = |n: usize| samples.iter().skip(n).step_by(2).copied().collect();
    (spec.sample_rate, side(0), side(1))
}

fn start(session: &Session, name: &str) {
    session
        .call("StartRecording", &(name, opts! {}))
        .unwrap_or_else(|e| panic!("StartRecording: {e}"));
}

fn stop(session: &Session) -> Dict {
    Dict::from(&session.call("StopRecording", &()).unwrap().value[0])
}

#[test]
fn t4_a_recording_begins_with_the_first_frame_and_keeps_agent_and_user_aligned_to_the_sample() {
    let dir = TempDir::new("recordings");
    let world = World::with(JackOptions::default(), &plan(&dir, ""));
    let session = world.tone_session("one");
    world.client.call(ROOT, OWNER, "EnterListening", &("one", 0_u64)).unwrap();
    start(&session, "call.wav");
    // The user is the agent's own sound, through the air: what is played comes back by the microphone.
    let mut connect = world.jack.command("jack_connect");
    assert!(connect.args(["utterd:out_1", "utterd:in_1"]).status().unwrap().success());
    let_pass(Duration::from_millis(300));
    assert!(
        !world.client.events().iter().any(|e| e.member == "RecordingStarted"),
        "nothing was sent yet"
    );
    let id = session.say("first words", opts! {});
    world.client.expect_finished(id);
    let started = world.client.expect_event("RecordingStarted", |e| e.member == "RecordingStarted");
    let first = world.client.expect_event("FirstFrameSent", |e| e.member == "FirstFrameSent");
    assert!(first.position < started.position);
    assert_eq!(started.text(0), "call.wav");
    let_pass(Duration::from_millis(500));
    let id = session.say("second", opts! {});
    world.client.expect_finished(id);
    let_pass(Duration::from_millis(200));
    let info = stop(&session);
    assert_eq!(
        (info.text("reason"), info.text("file"), info.number("lost-us")),
        ("stopped", "call.wav", 0)
    );
    let finished = world.client.expect_event("RecordingFinished", |e| e.member == "RecordingFinished");
    assert_eq!(finished.dict(1).number("duration-us"), info.number("duration-us"));

    let (rate, agent, user) = sides(&file(&dir, "call.wav"));
    assert_eq!(rate, 48_000);
    assert!(info.number("duration-us").abs_diff(agent.len() as u64 * 1_000_000 / 48_000) <= 1);
    assert!(agent[..10].iter().any(|s| *s != 0), "it begins with the first frame");
    let heard = world.heard();
    let sounds = heard.sounds(9_600);
    let expected: Vec<i16> = heard.samples[sounds[0].start..sounds[1].end]
        .iter()
        .map(|s| (s * 32_768.0).round() as i16)
        .collect();
    let at = (0..480)
        .find(|at| agent[*at..].starts_with(&expected))
        .expect("as the ear heard it, silence and all");
    // The server hands a client's own output back a period later, and nothing else is added.
    let period = world.jack.period() as usize;
    let shift = (0..4 * period).find(|shift| user[at + shift..].starts_with(&expected));
    assert_eq!(shift.map(|s| s % period), Some(0), "whole periods");
    let log = world.daemon.log();
    let line = |word: &str| log.find(word).unwrap_or_else(|| panic!("no {word} in the log"));
    assert!(line("FIRST_FRAME_SENT") < line("RECORDING_STARTED"));
}

#[test]
fn a_recording_ends_with_its_session_and_one_that_never_began_leaves_no_file() {
    let dir = TempDir::new("recordings");
    let world = Quiet::with(&Plan {
        driver: "timer",
        ..plan(&dir, "")
    });
    let spoken = world
        .client
        .open("spoken", opts! { "backend" => "tts-tone", "record" => "spoken.wav" })
        .unwrap();
    let again = world.client.open("spoken", opts! { "record" => "spoken.wav" });
    assert!(again.is_ok(), "said again what is so already: {again:?}");
    let silent = world.client.open("silent", opts! { "record" => "silent.wav" }).unwrap();
    let id = spoken.say("some words", opts! {});
    world.client.expect_finished(id);
    for session in [&spoken, &silent] {
        world.client.close_session(&session.id, opts! {}).unwrap();
        let finished = world
            .client
            .expect_event("RecordingFinished", |e| e.member == "RecordingFinished" && e.path == session.path);
        assert_eq!(finished.dict(1).text("reason"), "session-closed");
    }
    let (_, agent, user) = sides(&file(&dir, "spoken.wav"));
    assert!(agent.len() >= 10 * 2_400 && user.iter().all(|s| *s == 0));
    assert!(!file(&dir, "silent.wav").exists());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file(&dir, "spoken.wav")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn names_that_are_no_place_for_a_recording_are_refused_and_nothing_is_overwritten() {
    let dir = TempDir::new("recordings");
    let world = Quiet::with(&Plan {
        driver: "timer",
        ..plan(&dir, "")
    });
    let session = world.tone_session("one");
    let shelf = file(&dir, "");
    std::fs::create_dir_all(shelf.join("folder.wav")).unwrap();
    std::fs::write(shelf.join("there.wav"), "precious").unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(shelf.join("fifo.wav")).status().unwrap();
    assert!(fifo.success());
    std::os::unix::fs::symlink("/dev/full", shelf.join("full.wav")).unwrap();
    for (name, word) in [
        ("", "InvalidArgs"),
        ("../out.wav", "InvalidArgs"),
        ("/dev/full", "InvalidArgs"),
        (".hidden.wav", "InvalidArgs"),
        ("song.mp3", "InvalidArgs"),
        ("a\nb.wav", "InvalidArgs"),
        ("folder.wav", "Failed"),
        ("there.wav", "Failed"),
        ("fifo.wav", "Failed"),
        ("full.wav", "Failed"),
    ] {
        let refused = session
            .call("StartRecording", &(name, opts! {}))
            .err()
            .unwrap_or_else(|| panic!("{name:?}"));
        assert_eq!(refused.word(), word, "{name:?}: {refused}");
    }
    assert_eq!(std::fs::read(shelf.join("there.wav")).unwrap(), b"precious");
    start(&session, "good.wav");
    let twice = session.call("StartRecording", &("other.wav", opts! {})).unwrap_err();
    assert_eq!(twice.word(), "WrongState", "{twice}");
    stop(&session);
    assert!(stop(&session).0.is_empty(), "nothing to stop is no error");
    let private = world.client.open("private", opts! { "private" => true }).unwrap();
    let refused = private.call("StartRecording", &("p.wav", opts! {})).unwrap_err();
    assert_eq!(refused.word(), "WrongState", "{refused}");
    let refused = world
        .client
        .open("both", opts! { "private" => true, "record" => "p.wav" })
        .unwrap_err();
    assert_eq!(refused.word(), "InvalidArgs", "{refused}");
}

#[test]
fn a_recording_cut_off_by_kill_9_opens_and_has_the_right_length() {
    let dir = TempDir::new("recordings");
    let mut world = World::with(JackOptions::default(), &plan(&dir, ""));
    let session = world.tone_session("one");
    start(&session, "killed.wav");
    let id = session.say(&"a long speech that nobody will hear to its end ".repeat(5), opts! {});
    world.client.expect_started(id);
    let began = world
        .client
        .expect_event("RecordingStarted", |e| e.member == "RecordingStarted")
        .at_us;
    let_pass(Duration::from_millis(2_000));
    let lasted_us = now_us() - began;
    world.daemon.signal(rustix::process::Signal::KILL);
    world.daemon.wait_exit(Duration::from_secs(5));
    let (rate, agent, _) = sides(&file(&dir, "killed.wav"));
    let recorded_us = agent.len() as u64 * 1_000_000 / u64::from(rate);
    println!("recorded {recorded_us} us of {lasted_us} us");
    assert!(recorded_us.abs_diff(lasted_us) < 500_000, "{recorded_us} us of {lasted_us} us");
    let bytes = std::fs::metadata(file(&dir, "killed.wav")).unwrap().len() as usize;
    assert!(
        bytes.abs_diff(44 + agent.len() * 4) <= 48_000,
        "{bytes} bytes for {} frames",
        agent.len()
    );
}

#[test]
fn a_full_disk_ends_the_recording_and_nothing_else() {
    let dir = TempDir::new("recordings");
    let world = Quiet::with(&Plan {
        driver: "timer",
        ..plan(&dir, "")
    });
    let session = world.tone_session("one");
    // From now on a file of 100 kB is all that the process may write: half a second.
    let mut limit = std::process::Command::new("prlimit");
    limit.args(["--fsize=100000:100000", "--pid", &world.daemon.pid().to_string()]);
    assert!(limit.status().unwrap().success());
    start(&session, "full.wav");
    let text = "a speech that is longer than the disk is large, by far";
    let id = session.say(text, opts! {});
    let finished = world.client.expect_event("RecordingFinished", |e| e.member == "RecordingFinished");
    let info = finished.dict(1);
    assert_eq!(info.text("reason"), "disk-full");
    assert!(!info.text("error").is_empty());
    let (outcome, report) = session.wait(id);
    assert_eq!(
        (outcome.as_str(), report.number("played-us")),
        ("completed", text.len() as u64 * 50_000)
    );
    let (_, agent, _) = sides(&file(&dir, "full.wav"));
    assert!(info.number("duration-us").abs_diff(agent.len() as u64 * 1_000_000 / 48_000) <= 1);
}

#[test]
fn old_recordings_go_when_they_are_too_many() {
    let dir = TempDir::new("recordings");
    let world = Quiet::with(&Plan {
        driver: "timer",
        ..plan(&dir, "keep-mb = 1\n")
    });
    let shelf = file(&dir, "");
    std::fs::create_dir_all(&shelf).unwrap();
    for name in ["a.wav", "b.wav"] {
        std::fs::write(shelf.join(name), vec![0; 900_000]).unwrap();
    }
    std::fs::write(shelf.join("notes.txt"), vec![0; 900_000]).unwrap();
    let session = world.tone_session("one");
    start(&session, "new.wav");
    let names = || {
        std::fs::read_dir(&shelf)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect::<Vec<_>>()
    };
    wait_for("one of them to go", || {
        names().iter().filter(|n| *n == "a.wav" || *n == "b.wav").count() == 1
    });
    assert!(names().contains(&"notes.txt".to_owned()));
}

#[test]
fn the_user_is_recorded_while_the_microphone_is_open_and_nobody_else_is() {
    let dir = TempDir::new("recordings");
    let world = World::with(JackOptions::default(), &plan(&dir, ""));
    let (one, two) = (world.tone_session("one"), world.tone_session("two"));
    for session in [&one, &two] {
        let id = session.say("hi", opts! {});
        world.client.expect_finished(id);
        start(session, &format!("{}.wav", session.id));
    }
    let mut mouth = Mouth::start(&world.jack, &[0.5; 24_000]);
    world.client.call(ROOT, OWNER, "EnterListening", &("one", 0_u64)).unwrap();
    mouth.wait_connected();
    mouth.play();
    mouth.wait_played();
    let_pass(Duration::from_millis(300));
    let heard = |session: &Session| {
        stop(session);
        let (_, _, user) = sides(&file(&dir, &format!("{}.wav", session.id)));
        user.iter().filter(|s| **s != 0).count()
    };
    assert_eq!((heard(&one), heard(&two)), (24_000, 0));
    assert!(until(Duration::from_secs(1), || Some(())).is_some());
}
