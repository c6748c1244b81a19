//! Recordings (T4): begun after the first frame, both sides on one clock, whole at every moment, never in the way of audio.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;
use utterd_tests::client::{Dict, OWNER, ROOT, Session};
use utterd_tests::clock::{let_pass, wait_for};
use utterd_tests::daemon::Plan;
use utterd_tests::jack::JackOptions;
use utterd_tests::mouth::Mouth;
use utterd_tests::opts;
use utterd_tests::process::Process;
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

/// The rate, the agent's side and the user's, as sox reads them: it opens the file without a word of complaint.
fn sides(path: &Path) -> (u32, Vec<i16>, Vec<i16>) {
    let sox = |args: &[&str]| {
        let mut sox = std::process::Command::new("sox");
        let out = sox.args(args).output().expect("sox is needed: apt-get install sox");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && said.is_empty(), "{}: {said}", path.display());
        out.stdout
    };
    let path = path.to_str().unwrap();
    let what = |option: &str| String::from_utf8(sox(&["--i", option, path])).unwrap().trim().to_owned();
    assert_eq!((what("-c").as_str(), what("-b").as_str()), ("2", "16"), "{path}");
    let raw = sox(&[path, "-t", "s16", "-L", "-"]);
    let samples: Vec<i16> = raw.as_chunks::<2>().0.iter().map(|b| i16::from_le_bytes(*b)).collect();
    assert_eq!(what("-s"), (samples.len() / 2).to_string(), "{path}: what its header says");
    let side = |n: usize| samples.iter().skip(n).step_by(2).copied().collect();
    (what("-r").parse().unwrap(), side(0), side(1))
}

/// Samples of 16 bits, as the daemon writes what JACK carries.
fn written(samples: &[f32]) -> Vec<i16> {
    samples.iter().map(|s| (s * 32_768.0).round() as i16).collect()
}

/// The way from our ring to the loudspeaker and from the microphone to ours, as JACK tells it.
fn way(world: &World) -> u64 {
    let out = world.jack.command("jack_lsp").arg("-l").output().unwrap();
    let listed = String::from_utf8(out.stdout).unwrap();
    let of = |port: &str, kind: &str| -> u64 {
        let mut lines = listed.lines().skip_while(|line| line.trim() != port);
        let line = lines
            .find(|line| line.contains(kind))
            .unwrap_or_else(|| panic!("{port} in {listed}"));
        let range = line.split(['[', ']']).nth(1).unwrap();
        range.split_whitespace().last().unwrap().parse().unwrap()
    };
    of("utterd:out_1", "playback latency") + of("utterd:in_1", "capture latency")
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
    let said: Vec<f32> = (0..24_000).map(|n| (n * 7_919 % 1_000 + 1) as f32 / 2_048.0).collect();
    let mut mouth = Mouth::start(&world.jack, &said);
    mouth.wait_connected();
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
    let began = mouth.play_voice(0);
    mouth.wait_played();
    let id = session.say("second", opts! {});
    world.client.expect_finished(id);
    let_pass(Duration::from_millis(200));
    let way = way(&world);
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
    let expected = written(&heard.samples[sounds[0].start..sounds[1].end]);
    let agent_at = (0..480)
        .find(|at| agent[*at..].starts_with(&expected))
        .expect("as the ear heard it, silence and all");
    let user_at = user.iter().position(|s| *s != 0).expect("the user is heard");
    assert!(user[user_at..].starts_with(&written(&said)), "to the sample");
    // In the room: what was played is heard later than we hand it over, and what was said there reaches us later still.
    let between = began.frame - heard.frame_at(sounds[0].start);
    assert!(way > 0, "a server without latency proves nothing");
    assert_eq!(
        (user_at - agent_at) as u64,
        between - way,
        "frames between the two, with {way} on the way"
    );
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
        ("flac", "InvalidArgs"),
        ("call.FLAC", "InvalidArgs"),
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
    for name in ["killed.wav", "killed.flac"] {
        let dir = TempDir::new("recordings");
        let mut world = World::with(JackOptions::default(), &plan(&dir, ""));
        let session = world.tone_session("one");
        world.client.call(ROOT, OWNER, "EnterListening", &("one", 0_u64)).unwrap();
        start(&session, name);
        let id = session.say(&"a long speech that nobody will hear to its end ".repeat(5), opts! {});
        world.client.expect_started(id);
        world.client.expect_event("RecordingStarted", |e| e.member == "RecordingStarted");
        let_pass(Duration::from_millis(2_000));
        world.daemon.signal(rustix::process::Signal::KILL);
        world.daemon.wait_exit(Duration::from_secs(5));
        // The right length is what the ear had heard by then, however fast the server's time passes.
        let heard = world.heard();
        let first = heard.first_sound(0..heard.samples.len()).unwrap();
        let last = heard.last_sound(0..heard.samples.len()).unwrap();
        let (rate, agent, _) = sides(&file(&dir, name));
        println!("{name}: recorded {} of {} frames", agent.len(), last + 1 - first);
        assert!(
            agent.len().abs_diff(last + 1 - first) < rate as usize / 2,
            "{name}: {} of {} frames",
            agent.len(),
            last + 1 - first
        );
        let both = agent.len().min(last + 1 - first);
        assert!(
            agent[..both] == written(&heard.samples[first..first + both]),
            "{name} is not what was heard"
        );
        if name == "killed.wav" {
            let bytes = std::fs::metadata(file(&dir, name)).unwrap().len() as usize;
            assert!(
                bytes.abs_diff(44 + agent.len() * 4) <= 48_000,
                "{bytes} bytes for {} frames",
                agent.len()
            );
        }
    }
}

#[test]
fn a_flac_recording_has_what_the_ear_heard_to_the_sample() {
    let dir = TempDir::new("recordings");
    let world = World::with(JackOptions::default(), &plan(&dir, ""));
    let session = world.tone_session("one");
    start(&session, "call.flac");
    let id = session.say("some words", opts! {});
    world.client.expect_finished(id);
    let heard = world.heard();
    let info = stop(&session);
    let (rate, agent, user) = sides(&file(&dir, "call.flac"));
    assert_eq!(rate, 48_000);
    let first = heard.first_sound(0..heard.samples.len()).unwrap();
    let last = heard.last_sound(0..heard.samples.len()).unwrap();
    let expected = written(&heard.samples[first..=last]);
    assert!((0..480).any(|at| agent[at..].starts_with(&expected)), "as the ear heard it");
    assert!(user.iter().all(|s| *s == 0));
    assert!(info.number("duration-us").abs_diff(agent.len() as u64 * 1_000_000 / 48_000) <= 1);
    let bytes = std::fs::metadata(file(&dir, "call.flac")).unwrap().len() as usize;
    assert!(bytes < 4 * agent.len(), "{bytes} bytes for {} frames", agent.len());
}

#[test]
fn a_full_disk_ends_the_recording_and_nothing_else() {
    let dir = TempDir::new("recordings");
    let world = Quiet::with(&Plan {
        driver: "timer",
        ..plan(&dir, "")
    });
    let sessions = ["full.wav", "full.flac"].map(|name| (name, world.tone_session(&name.replace('.', "-"))));
    // From now on a file of 50 kB is all that the process may write: in WAV a quarter of a second.
    let mut limit = std::process::Command::new("prlimit");
    limit.args(["--fsize=50000:50000", "--pid", &world.daemon.pid().to_string()]);
    assert!(limit.status().unwrap().success());
    for (name, session) in &sessions {
        start(session, name);
        let text = "a speech that is longer than the disk is large, by far";
        let id = session.say(text, opts! {});
        let of_it = |e: &utterd_tests::client::Event| e.member == "RecordingFinished" && e.path == session.path;
        let finished = world.client.expect_event("RecordingFinished", of_it);
        let info = finished.dict(1);
        assert_eq!(info.text("reason"), "disk-full");
        assert!(!info.text("error").is_empty());
        let (outcome, report) = session.wait(id);
        assert_eq!(
            (outcome.as_str(), report.number("played-us")),
            ("completed", text.len() as u64 * 50_000)
        );
        let (_, agent, _) = sides(&file(&dir, name));
        assert!(!agent.is_empty());
        assert!(info.number("duration-us").abs_diff(agent.len() as u64 * 1_000_000 / 48_000) <= 1);
    }
}

#[test]
fn a_disk_that_hangs_ends_the_recording_and_nothing_else() {
    let dir = TempDir::new("recordings");
    let world = Quiet::with(&Plan {
        driver: "timer",
        ..plan(&dir, "")
    });
    let session = world.tone_session("one");
    start(&session, "slow.wav");
    let tasks = format!("/proc/{}/task", world.daemon.pid());
    let writer = std::fs::read_dir(&tasks)
        .unwrap()
        .map(|task| task.unwrap().path())
        .find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "utterd-record"))
        .expect("a recording has a thread of its own");
    // Each of this thread's writes takes five seconds, and no other thread's.
    let mut strace = std::process::Command::new("strace");
    strace.args(["-qq", "-e", "trace=pwrite64", "-e", "inject=pwrite64:delay_enter=5000000", "-o"]);
    strace.arg(dir.path().join("strace")).arg("-p").arg(writer.file_name().unwrap());
    let _slow = Process::spawn("strace", &mut strace);
    wait_for("strace to hold the writer", || {
        std::fs::read_to_string(writer.join("status")).is_ok_and(|s| !s.contains("TracerPid:\t0"))
    });
    let text = "a speech of five seconds, while the disk takes nothing at all of what it is given: it is said to its very end, as if there were no disk";
    let id = session.say(text, opts! {});
    let (outcome, report) = session.wait(id);
    assert_eq!(
        (outcome.as_str(), report.number("played-us")),
        ("completed", text.len() as u64 * 50_000)
    );
    let finished = world.client.expect_event("RecordingFinished", |e| e.member == "RecordingFinished");
    let info = finished.dict(1);
    assert_eq!(info.text("reason"), "failed");
    assert!(info.text("error").contains("too slow"), "{}", info.text("error"));
}

#[test]
fn old_recordings_go_by_their_age() {
    let dir = TempDir::new("recordings");
    let world = Quiet::with(&Plan {
        driver: "timer",
        ..plan(&dir, "keep-days = 2\n")
    });
    let shelf = file(&dir, "");
    std::fs::create_dir_all(&shelf).unwrap();
    for (name, hours) in [("old.wav", 49), ("old.flac", 49), ("young.flac", 47), ("old.txt", 49)] {
        let made = std::fs::File::create(shelf.join(name)).unwrap();
        made.set_modified(std::time::SystemTime::now() - Duration::from_secs(hours * 3_600))
            .unwrap();
    }
    let session = world.tone_session("one");
    start(&session, "new.wav");
    wait_for("the old ones to go", || {
        !shelf.join("old.wav").exists() && !shelf.join("old.flac").exists()
    });
    assert!(shelf.join("young.flac").exists() && shelf.join("old.txt").exists());
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
    for name in ["a.wav", "b.flac"] {
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
        names().iter().filter(|n| *n == "a.wav" || *n == "b.flac").count() == 1
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
}
