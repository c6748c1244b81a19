//! Detectors in the whole daemon: a user who speaks into the microphone, and detectors that fail, are slow, talk nonsense or fire constantly, by the
//! name of their fault. What a bad detector costs is itself: the agent goes on, and another detector or none takes its place.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use utterd_tests::bins;
use utterd_tests::client::{Event, PLUGINS, ROOT, Session};
use utterd_tests::clock::until;
use utterd_tests::daemon::Plan;
use utterd_tests::jack::JackOptions;
use utterd_tests::mouth::Mouth;
use utterd_tests::opts;
use utterd_tests::tempdir::TempDir;
use utterd_tests::tone;
use utterd_tests::world::{TONE, World};

const CHARACTER: usize = 2_400;
const LONG: &str = "a long sentence into which a detector, good or bad, has all the time of the world to speak";

/// A world with the faulty detector in one of its modes, and others.
struct Faulty {
    world: World,
    _dir: TempDir,
}

impl Faulty {
    /// In the daemon's process, with these plugins beside the test tone.
    fn start(mode: &str, beside: &[&str]) -> Faulty {
        Faulty::start_in(mode, beside, "[\"faulty\", \"detector-energy\", \"detector-vad\"]")
    }

    fn start_in(mode: &str, beside: &[&str], inproc: &str) -> Faulty {
        let dir = TempDir::new("faulty");
        let so = dir.join("faulty.so");
        let (source, include) = (
            bins::workspace().join("daemon/tests/fixtures/detector.c"),
            bins::workspace().join("plugin-api/include"),
        );
        let built = Command::new("cc")
            .args(["-std=gnu99", "-shared", "-fPIC", "-O1", "-I"])
            .arg(include)
            .arg("-o")
            .arg(&so)
            .arg(source)
            .arg("-lm")
            .status();
        assert!(built.unwrap().success());
        let folder: PathBuf = dir.join("").to_path_buf();
        let plan = Plan {
            config: format!(
                "[barge-in]\nlocal = \"pause-then-confirm\"\ndetector = \"faulty\"\nfalse-interruption-ms = 500\n[plugins]\ninproc = {inproc}\n[plugin.faulty]\nmode = \"{mode}\"\n"
            ),
            plugins: ["utterd-tts-tone"].iter().chain(beside).map(|p| (*p).to_owned()).collect(),
            args: vec!["--plugin-dir".into(), folder.display().to_string()],
            ..Plan::default()
        };
        let world = World::with(JackOptions::default(), &plan);
        Faulty { world, _dir: dir }
    }

    fn session(&self) -> Session {
        let options = opts! { "backend" => TONE, "voice" => "tone-id" };
        self.world
            .client
            .open("one", options)
            .unwrap_or_else(|e| panic!("OpenSession: {e}"))
    }

    /// The log line that tells why a detector was given up, and what stands in.
    fn given_up(&self) -> String {
        let find = || {
            self.world
                .daemon
                .log()
                .lines()
                .find(|l| l.contains("cannot be relied on"))
                .map(str::to_owned)
        };
        until(Duration::from_secs(20), find).unwrap_or_else(|| panic!("no detector was given up:\n{}", self.world.daemon.log()))
    }

    /// The sentence is heard to its end and unbroken.
    fn is_undisturbed(&self, session: &Session) {
        let id = session.say(LONG, opts! {});
        assert_eq!(session.wait_ms(id, 60_000).0, "completed", "{}", self.world.daemon.log());
        let heard = self.world.heard();
        let run = tone::runs(&heard).into_iter().rfind(|run| run.voice == tone::voice(id)).unwrap();
        assert_eq!((run.first, run.heard.len()), (0, LONG.len() * CHARACTER));
    }
}

fn barge_in<'a>(stage: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |e| e.member == "BargeIn" && e.text(0) == stage
}

/// Something loud for so many milliseconds.
fn loud(ms: usize) -> Vec<f32> {
    (0..48 * ms).map(|n| 0.4 * (n as f32 * 0.06).sin()).collect()
}

#[test]
fn a_user_who_speaks_silences_the_agent_and_one_who_stops_at_once_does_not() {
    let faulty = Faulty::start("honest", &[]);
    let (world, session) = (&faulty.world, faulty.session());
    let mut mouth = Mouth::start(&world.jack, &loud(100));
    let id = session.say(LONG, opts! {});
    world.client.expect_started(id);
    mouth.wait_connected();
    world.for_ms(200);
    mouth.play();
    let suspected = world.client.expect_event("the pause", barge_in("suspected"));
    assert_eq!(suspected.dict(1).text("detector"), "faulty");
    world.client.expect_event("that it was nothing", barge_in("false"));
    assert_eq!(session.wait_ms(id, 60_000).0, "completed");
    drop(mouth);

    let mut mouth = Mouth::start(&world.jack, &loud(1_500));
    let id = session.say(&LONG.repeat(3), opts! {});
    world.client.expect_started(id);
    mouth.wait_connected();
    world.for_ms(200);
    let began = mouth.play();
    let finished = world.client.expect_finished(id);
    assert_eq!((finished.text(1), finished.dict(2).text("reason")), ("cancelled", "barge-in"));
    let heard = world.heard();
    let run = tone::runs(&heard).into_iter().rfind(|run| run.voice == tone::voice(id)).unwrap();
    let after_us = heard.later_us(run.heard.end, began);
    assert!(after_us < 1_000_000, "silent {after_us} us after the onset");
}

#[test]
fn one_that_fires_constantly_is_given_up_and_another_takes_its_place() {
    let faulty = Faulty::start("constant", &["utterd-detector-energy"]);
    let (world, session) = (&faulty.world, faulty.session());
    session.say(LONG, opts! {});
    let line = faulty.given_up();
    assert!(
        line.contains("fires constantly") && line.contains("instead=\"detector-energy\""),
        "{line}"
    );
    let told = session.events().iter().filter(|e| e.member == "BargeIn").count();
    assert!(told < 40, "{told} signals from a detector that fires at every frame");
    faulty.is_undisturbed(&session);

    // The other one hears.
    let mut mouth = Mouth::start(&world.jack, &loud(2_000));
    let id = session.say(LONG, opts! {});
    world.client.expect_started(id);
    mouth.wait_connected();
    world.for_ms(1_000);
    mouth.play();
    let by_energy = |e: &Event| barge_in("suspected")(e) && e.dict(1).text("detector") == "detector-energy";
    world.client.expect_event("a suspicion of detector-energy", by_energy);
}

#[test]
fn one_that_fails_panics_or_talks_nonsense_costs_only_itself() {
    for (mode, why) in [
        ("error", "status -4"),
        ("late-error", "status -4"),
        ("panic", "panicked"),
        ("nonsense", "constantly"),
    ] {
        let faulty = Faulty::start(mode, &[]);
        let session = faulty.session();
        faulty.is_undisturbed(&session);
        let line = faulty.given_up();
        assert!(line.contains(why), "{mode}: {line}");
        // Once, and not for every sentence anew.
        faulty.is_undisturbed(&session);
        assert_eq!(faulty.world.daemon.log_lines("cannot be relied on").len(), 1, "{mode}");
    }
}

#[test]
fn one_that_is_slower_than_the_sound_or_hangs_is_given_up_and_nothing_waits_for_it() {
    for (mode, why) in [("slow", "slower than the sound"), ("hangs", "it hangs")] {
        let faulty = Faulty::start(mode, &[]);
        let session = faulty.session();
        faulty.is_undisturbed(&session);
        faulty.is_undisturbed(&session);
        let line = faulty.given_up();
        assert!(line.contains(why), "{mode}: {line}");
    }
}

#[test]
fn one_in_a_process_of_its_own_that_crashes_exits_or_hangs_costs_only_itself() {
    for (mode, why) in [
        ("crashes", "crashed its process with SIGSEGV"),
        ("exits", "ended its process"),
        ("hangs", "hangs: its process was killed"),
    ] {
        let mut faulty = Faulty::start_in(mode, &["utterd-detector-energy"], "[]");
        let session = faulty.session();
        faulty.is_undisturbed(&session);
        let line = faulty.given_up();
        assert!(line.contains(why) && line.contains("instead=\"detector-energy\""), "{mode}: {line}");
        faulty.is_undisturbed(&session);
        assert_eq!(faulty.world.daemon.log_lines("cannot be relied on").len(), 1, "{mode}");
        assert!(faulty.world.daemon.is_running());
    }
}

#[test]
fn a_user_is_heard_by_a_detector_in_a_process_of_its_own() {
    let faulty = Faulty::start_in("honest", &[], "[]");
    let (world, session) = (&faulty.world, faulty.session());
    let mut mouth = Mouth::start(&world.jack, &loud(1_500));
    let id = session.say(&LONG.repeat(3), opts! {});
    world.client.expect_started(id);
    mouth.wait_connected();
    world.for_ms(200);
    mouth.play();
    let finished = world.client.expect_finished(id);
    assert_eq!((finished.text(1), finished.dict(2).text("reason")), ("cancelled", "barge-in"));
}

#[test]
fn detectors_are_listed_with_their_kind() {
    let faulty = Faulty::start("honest", &["utterd-detector-vad"]);
    let list = faulty.world.client.call(ROOT, PLUGINS, "List", &()).unwrap();
    let text = format!("{:?}", list.value);
    for id in ["faulty", "detector-vad"] {
        assert!(text.contains(id), "{text}");
    }
    assert!(text.contains("\"detector\""), "{text}");
}
