//! The audio server's death, its return, its silence and its absence: sessions survive all of them (DESIGN §2; T3).
#![allow(clippy::unwrap_used)]

use std::time::Duration;
use utterd_tests::bus::Bus;
use utterd_tests::client::Client;
use utterd_tests::clock::{let_pass, now_us, until, wait_for};
use utterd_tests::daemon::{Daemon, Plan};
use utterd_tests::ear::{Ear, OUT};
use utterd_tests::jack::{Jack, JackOptions, mount_namespace};
use utterd_tests::opts;
use utterd_tests::tone;
use utterd_tests::world::{Quiet, TONE, World};

const CHARACTER: usize = 2_400;
const RAMP: i64 = 240;
const TEXT: &str = "a sentence long enough to outlive the server that plays it, twice over if it must be";

/// The daemon connects itself to the ear, so that at the server's return no sample goes by before the ear is there.
fn plan() -> Plan {
    Plan {
        config: "[jack]\nconnect = [\"ear:in_1\"]\nports = 1\n".into(),
        ..Plan::default()
    }
}

#[test]
fn a_killed_server_comes_back_and_the_sentence_goes_on_from_its_sample() {
    let done = (0..3).any(|_| kill_and_return());
    assert!(
        done,
        "in three attempts the ear was never there before the daemon: nothing was judged"
    );
}

/// False: the ear came late, so that nothing can be said about what was lost.
fn kill_and_return() -> bool {
    let World {
        client,
        ear,
        mut daemon,
        mut jack,
        bus: _bus,
    } = World::with(JackOptions::default(), &plan());
    let session = client.open("one", opts! { "backend" => TONE, "voice" => "tone-id" }).unwrap();
    let id = session.say(TEXT, opts! {});
    let queued = session.say("next", opts! {});
    client.expect_started(id);
    let_pass(Duration::from_millis(700));
    jack.kill();
    client.wait_manager_text("DriverState", "reconnecting");
    assert_eq!((session.number("ActiveUtterance"), session.number("QueueLength")), (id, 1));
    assert_eq!(
        session.wait_ms(id, 300).0,
        "pending",
        "lanes hold their position while there is no server"
    );
    let before = ear.stop();

    let mut ear = Ear::spawn(&jack, OUT, "ear");
    jack.spawn();
    jack.wait_ready();
    ear.wait_ready();
    client.wait_manager_text("DriverState", "running");
    assert_eq!(session.wait(id).0, "completed");
    assert_eq!(session.wait(queued).0, "completed");
    let after = ear.heard();
    assert!(daemon.is_running());

    let due = i64::from(tone::runs(&before).last().unwrap().last) + 1;
    let first_sound = after.first_sound(0..usize::MAX).unwrap();
    if first_sound == 0 {
        return false;
    }
    let runs = tone::runs(&after);
    let run = &runs[0];
    assert_eq!(run.voice, tone::voice(id));
    let first = i64::from(run.first) - (run.heard.start - first_sound) as i64;
    let period = i64::from(jack.period());
    let lost = first - due;
    println!("{lost} samples lost (negative: repeated) over the server's death; a period is {period}");
    assert!((-(period + RAMP)..=2 * period).contains(&lost), "{lost} samples lost");
    assert_eq!(runs.len(), 2, "the rest in one piece, then the next one: {runs:?}");
    let last = (TEXT.len() * CHARACTER - 1) & 0xffff;
    assert_eq!(run.last as usize, last, "to its end");
    assert_eq!((runs[1].voice, runs[1].heard.len()), (tone::voice(queued), 4 * CHARACTER));
    true
}

#[test]
fn a_daemon_whose_server_is_away_rests() {
    let mut plan = plan();
    plan.config.push_str("[metrics]\ntx-metrics-s = 1\n");
    let mut world = World::with(JackOptions::default(), &plan);
    let session = world.tone_session("one");
    let id = session.say("short", opts! {});
    world.client.expect_finished(id);
    world.jack.kill();
    world.client.wait_manager_text("DriverState", "reconnecting");
    // Beyond the next account, which cannot be given.
    world.for_ms(1_500);
    let before = cpu_ms(world.daemon.pid());
    world.for_ms(1_000);
    let spent = cpu_ms(world.daemon.pid()) - before;
    assert!(spent < 200, "{spent} ms of processor time in one second of waiting");
}

/// Processor time a process has used, from `/proc` (utime and stime, in ticks of 10 ms).
fn cpu_ms(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let times = after_name.split_whitespace().skip(11).take(2);
    times.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

#[test]
fn a_server_that_comes_back_otherwise_is_taken_as_it_is() {
    let World {
        client,
        ear: _ear,
        mut daemon,
        mut jack,
        bus: _bus,
    } = World::start();
    let session = client.open("one", opts! { "backend" => TONE, "voice" => "tone" }).unwrap();
    let id = session.say("half of it at one rate, half at another", opts! {});
    client.expect_started(id);
    let_pass(Duration::from_millis(400));
    jack.stop();
    client.wait_manager_text("DriverState", "reconnecting");
    jack.set_options(JackOptions { rate: 44_100, period: 512 });
    jack.launch();
    client.wait_manager_text("DriverState", "running");
    assert_eq!(session.wait(id).0, "completed");
    assert_eq!(client.manager("SampleRate"), 44_100u32.into());
    assert_eq!(client.manager("PeriodFrames"), 512u32.into());
    assert!(daemon.is_running());
}

/// T3: the watchdog reports and takes no action.
#[test]
fn a_wedged_server_is_one_stall_and_nothing_else_changes() {
    let world = World::start();
    let session = world.tone_session("one");
    let id = session.say(TEXT, opts! {});
    let queued = session.say("next", opts! {});
    world.client.expect_started(id);
    world.for_ms(500);
    world.jack.freeze();
    let frozen = now_us();
    world.for_ms(2_000);
    let held = (
        session.number("ActiveUtterance"),
        session.number("QueueLength"),
        session.number("Turn"),
    );
    assert_eq!(held, (id, 1, 1));
    world.jack.thaw();
    let thawed = now_us();
    let alert = world
        .client
        .expect_event("the tx-stall Alert", |e| e.member == "Alert" && e.text(0) == "tx-stall");
    let gap = alert.dict(2).number("gap-us");
    let stood = thawed - frozen;
    assert!(
        (stood - 300_000..stood + 1_000_000).contains(&gap),
        "a gap of {gap} us while the server stood for {stood}"
    );
    assert_eq!(session.wait(id).0, "completed");
    assert_eq!(session.wait(queued).0, "completed");
    let alerts = world
        .client
        .events()
        .into_iter()
        .filter(|e| e.member == "Alert" && e.text(0) == "tx-stall")
        .count();
    assert_eq!(alerts, 1);
    let lines = world.daemon.log_lines("TX_STALL");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("gap_ms="), "{lines:?}");
    let finished = session.events().into_iter().filter(|e| e.member == "UtteranceFinished").count();
    assert_eq!(finished, 2);

    let heard = world.heard();
    let runs: Vec<_> = tone::runs(&heard).into_iter().filter(|r| r.voice == tone::voice(id)).collect();
    let (mut due, allowed) = (0i64, i64::from(world.jack.period()));
    for run in &runs {
        let lost = (i64::from(run.first) - due).rem_euclid(65_536);
        let lost = if lost > 32_768 { lost - 65_536 } else { lost };
        assert!((-(allowed + RAMP)..=2 * allowed).contains(&lost), "{lost} samples lost: {runs:?}");
        due = i64::from(run.last) + 1;
    }
    assert_eq!(due as usize, (TEXT.len() * CHARACTER) & 0xffff, "to its end: {runs:?}");
}

#[test]
fn auto_takes_jack_if_a_server_answers_and_else_the_timer() {
    let plan = Plan {
        driver: "auto",
        ..Plan::default()
    };
    let world = World::with(JackOptions::default(), &plan);
    assert_eq!(world.client.manager_text("Driver"), "jack");
    assert_eq!(world.client.manager("SampleRate"), 48_000u32.into());
    assert_eq!(world.client.manager("PeriodFrames"), 256u32.into());
    let quiet = Quiet::with(&plan);
    quiet.client.wait_manager_text("DriverState", "running");
    assert_eq!(quiet.client.manager_text("Driver"), "timer");
}

#[test]
fn the_driver_has_a_name_and_a_state_from_the_first_moment() {
    let bus = Bus::start();
    for (driver, name) in [("timer", "timer"), ("auto", "timer"), ("jack", "jack")] {
        let daemon = Daemon::start(&bus, None, &Plan { driver, ..Plan::default() });
        let client = daemon.client();
        let (told, state) = (client.manager_text("Driver"), client.manager_text("DriverState"));
        assert_eq!(told, name, "--driver {driver}");
        assert!(
            ["running", "reconnecting"].contains(&state.as_str()),
            "--driver {driver}: {state:?}"
        );
    }
}

#[test]
fn the_timer_keeps_time_without_a_sound_card() {
    let config = "[timer]\nrate = 16000\nperiod-frames = 160\n".into();
    let quiet = Quiet::with(&Plan {
        driver: "timer",
        config,
        ..Plan::default()
    });
    quiet.client.wait_manager_text("DriverState", "running");
    assert_eq!(quiet.client.manager("SampleRate"), 16_000u32.into());
    assert_eq!(quiet.client.manager("PeriodFrames"), 160u32.into());
    let session = quiet.tone_session("one");
    let id = session.say("one second of text..", opts! {});
    let started = quiet.client.expect_started(id);
    let finished = quiet.client.expect_finished(id);
    assert_eq!(finished.dict(2).number("played-us"), 1_000_000);
    assert!(finished.at_us - started.at_us >= 950_000, "a second takes a second");
}

#[test]
fn jack_asked_for_by_name_is_waited_for() {
    let bus = Bus::start();
    let mut jack = Jack::absent(JackOptions::default());
    let daemon = Daemon::start(&bus, Some(&jack), &Plan::default());
    let client = daemon.client();
    client.wait_manager_text("DriverState", "reconnecting");
    assert_eq!(client.manager_text("Driver"), "jack");
    let session = client.open("one", opts! { "backend" => TONE }).unwrap();
    let id = session.say("when there is somebody to hear it", opts! { "rate" => 4.0 });
    assert_eq!(session.wait_ms(id, 200).0, "pending", "it never plays into nothing");
    jack.launch();
    client.wait_manager_text("DriverState", "running");
    assert_eq!(session.wait(id).0, "completed");
}

#[test]
fn without_libjack_the_timer_serves_and_the_log_says_why() {
    let hide = "for f in /usr/lib/*/libjack*.so.0* /usr/lib*/libjack*.so.0* /usr/local/lib/libjack*.so.0*; do \
                [ -f \"$f\" ] && mount --bind /dev/null \"$f\"; done; exec \"$@\"";
    let mut wrapper: Vec<String> = mount_namespace().iter().map(|w| (*w).to_owned()).collect();
    wrapper.extend(["sh", "-c", hide, "sh"].map(str::to_owned));
    let quiet = Quiet::with(&Plan {
        driver: "auto",
        wrapper: wrapper.clone(),
        ..Plan::default()
    });
    quiet.client.wait_manager_text("DriverState", "running");
    assert_eq!(quiet.client.manager_text("Driver"), "timer");
    let session = quiet.tone_session("one");
    let id = session.say("spoken", opts! { "rate" => 4.0 });
    assert_eq!(session.wait(id).0, "completed");

    let bus = Bus::start();
    let daemon = Daemon::start(
        &bus,
        None,
        &Plan {
            driver: "jack",
            wrapper,
            ..Plan::default()
        },
    );
    daemon.client().wait_manager_text("DriverState", "reconnecting");
    wait_for("a line about libjack", || daemon.log().contains("libjack"));
}

#[test]
fn the_ports_are_listed_and_the_same_mix_is_on_each() {
    let world = World::start();
    let ports = world.client.ports().unwrap();
    let playback: Vec<&str> = ports
        .iter()
        .filter(|p| p.text("direction") == "playback")
        .map(|p| p.text("name"))
        .collect();
    assert!(!playback.is_empty(), "{ports:?}");
    let jack: Vec<String> = world.jack.ports();
    assert!(
        jack.iter().any(|p| p == "utterd:out_1") && jack.iter().any(|p| p == "utterd:out_2"),
        "{jack:?}"
    );
    let mut second = Ear::spawn(&world.jack, "utterd:out_2", "ear-2");
    second.wait_ready();
    second.wait_connected();
    let session = world.tone_session("one");
    let id = session.say("the same on each", opts! {});
    session.wait(id);
    let (left, right) = (world.heard(), second.heard());
    let cut = |r: &utterd_tests::recording::Recording| {
        r.samples[r.first_sound(0..usize::MAX).unwrap()..=r.last_sound(0..usize::MAX).unwrap()].to_vec()
    };
    assert!(cut(&left) == cut(&right), "bit for bit");
}

#[test]
fn a_frozen_server_does_not_keep_the_daemon_from_ending() {
    let mut world = World::start();
    let client: Client = world.client.clone();
    let session = client.open("one", opts! { "backend" => TONE }).unwrap();
    let id = session.say("never finished", opts! {});
    client.expect_started(id);
    world.jack.freeze();
    world.daemon.signal(rustix::process::Signal::TERM);
    let ended = until(Duration::from_secs(20), || world.daemon.wait_exit(Duration::ZERO));
    world.jack.thaw();
    assert!(ended.is_some(), "SIGTERM was not enough while jackd stood still");
}
