//! The driver against real private JACK servers: what is heard on the other side, and what happens when the server dies, hangs or is not there.
//!
//! The name of the server is process-wide environment, so these tests run one at a time.

#![allow(clippy::unwrap_used, clippy::result_large_err)] // An event that does not fit is handed back whole.

use rustix::process::{Pid, Signal, kill_process};
use std::num::NonZeroU64;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};
use utterd::driver::{Driver, DriverConfig, DriverEvent, DriverKind, sched};
use utterd_rt::{Control, LaneSpec};

const SOON: Duration = Duration::from_secs(20);

/// The world of one test: its server's name, and the right to be the only test that has one.
struct World {
    server: String,
    _alone: MutexGuard<'static, ()>,
}

impl World {
    fn new(test: &str) -> World {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let server = format!("utterd-{test}-{}", std::process::id());
        // SAFETY: the lock is held, and the drivers of earlier tests have ended, so nobody else touches the environment now.
        unsafe {
            std::env::set_var("JACK_DEFAULT_SERVER", &server);
            std::env::set_var("JACK_NO_START_SERVER", "1");
        }
        World { server, _alone: alone }
    }

    fn jackd(&self, rate: u32, period: u32) -> Jackd {
        let may_be_realtime = std::thread::spawn(|| sched::become_realtime(5).is_ok()).join().unwrap();
        let child = Command::new("jackd")
            .args([
                "-n",
                &self.server,
                if may_be_realtime { "-R" } else { "-r" },
                "-S",
                "--port-max",
                "64",
            ])
            .args(["-d", "dummy", "-r", &rate.to_string(), "-p", &period.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Jackd(child);
        let ready = Command::new("jack_wait")
            .args(["-w", "-t", "20"])
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(ready.success(), "jackd does not come up");
        server
    }
}

/// Ends its server, also when the test panics: asked first, so that its shared memory goes too.
struct Jackd(Child);

impl Jackd {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.0.wait().unwrap();
    }
}

impl Drop for Jackd {
    fn drop(&mut self) {
        if self.0.try_wait().unwrap().is_some() {
            return;
        }
        self.signal(Signal::CONT);
        self.signal(Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(3);
        while self.0.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                self.kill();
                return;
            }
            sleep(Duration::from_millis(10));
        }
    }
}

fn config(kind: DriverKind, connect: &[&str]) -> DriverConfig {
    DriverConfig {
        kind,
        client_name: "utterd".into(),
        connect: connect.iter().map(|name| (*name).to_owned()).collect(),
        ports: 2,
        timer_rate: 48_000,
        timer_period: 480,
    }
}

fn start(cfg: DriverConfig) -> (Driver, Receiver<DriverEvent>) {
    let (events, inbox) = channel();
    let driver = Driver::start(cfg, move |event| {
        // The last events may come when the test has what it wants.
        events.send(event).ok();
    });
    (driver.unwrap(), inbox)
}

/// The next event that `pick` wants; the others are shown when it does not come.
fn await_event<T>(inbox: &Receiver<DriverEvent>, within: Duration, mut pick: impl FnMut(DriverEvent) -> Result<T, DriverEvent>) -> T {
    let deadline = Instant::now() + within;
    let mut others = Vec::new();
    while let Ok(event) = inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        match pick(event) {
            Ok(wanted) => return wanted,
            Err(other) => others.push(format!("{other:?}")),
        }
    }
    panic!("not within {within:?}; instead: {others:#?}");
}

/// Control, driver, rate and period of the next engine.
fn await_engine(inbox: &Receiver<DriverEvent>) -> (Control, &'static str, u32, u32) {
    await_event(inbox, SOON, |event| match event {
        DriverEvent::Engine {
            control,
            driver,
            rate,
            period,
            ..
        } => Ok((control, driver, rate, period)),
        other => Err(other),
    })
}

fn await_lost(inbox: &Receiver<DriverEvent>) -> String {
    await_event(inbox, SOON, |event| match event {
        DriverEvent::Lost { reason } => Ok(reason),
        other => Err(other),
    })
}

/// Another client's input port, and all it heard.
struct Ear {
    heard: rtrb::Consumer<f32>,
    _client: jack::AsyncClient<(), EarHandler>,
}

struct EarHandler {
    port: jack::Port<jack::AudioIn>,
    to: rtrb::Producer<f32>,
}

impl jack::ProcessHandler for EarHandler {
    fn process(&mut self, _: &jack::Client, scope: &jack::ProcessScope) -> jack::Control {
        let (_heard, missed) = self.to.push_partial_slice(self.port.as_slice(scope));
        assert!(missed.is_empty(), "the ear is full");
        jack::Control::Continue
    }
}

impl Ear {
    fn open() -> Ear {
        let (client, _) = jack::Client::new("ear", jack::ClientOptions::NO_START_SERVER).unwrap();
        let port = client.register_port("in_1", jack::AudioIn::default()).unwrap();
        let (to, heard) = rtrb::RingBuffer::new(1 << 21);
        let client = client.activate_async((), EarHandler { port, to }).unwrap();
        Ear { heard, _client: client }
    }

    fn take(&mut self) -> Vec<f32> {
        std::iter::from_fn(|| self.heard.pop().ok()).collect()
    }
}

/// One second of samples no two of which are alike, none zero.
fn second() -> Vec<f32> {
    (1..=48_000).map(|n| n as f32 / 65_536.0).collect()
}

#[test]
fn what_is_pushed_is_heard_bit_for_bit_on_the_other_side_of_jack() {
    let world = World::new("exact");
    let _jackd = world.jackd(48_000, 1024);
    let mut ear = Ear::open();
    let (driver, inbox) = start(config(DriverKind::Jack, &["ear:in_1"]));
    let (mut control, name, rate, period) = await_engine(&inbox);
    assert_eq!((name, rate, period), ("jack", 48_000, 1024));
    let samples = second();
    // A server that misses a deadline drops a period; that is its right, so such a run is repeated.
    for attempt in 1.. {
        ear.take();
        let mut lane = control
            .add_lane(LaneSpec {
                ring_frames: 48_000,
                paused: false,
                gain: 1.0,
            })
            .unwrap();
        lane.begin(NonZeroU64::MIN).unwrap();
        assert_eq!(lane.push_last(&samples), Ok(samples.len()));
        let deadline = Instant::now() + SOON;
        while lane.position() < 48_000 {
            assert!(Instant::now() < deadline);
            sleep(Duration::from_millis(20));
        }
        sleep(Duration::from_millis(200));
        let heard = ear.take();
        let start = heard.iter().position(|s| *s != 0.0).expect("silence");
        let xruns = inbox.try_iter().any(|event| matches!(event, DriverEvent::Xrun { .. }));
        if xruns && heard[start..start + 48_000] != samples {
            assert!(attempt < 4, "xruns in every run");
            continue;
        }
        assert!(heard[start..start + 48_000] == samples, "not bit-exact");
        assert!(heard[start + 48_000..].iter().all(|s| *s == 0.0));
        break;
    }
    let ports = driver.ports();
    assert!(
        ports
            .iter()
            .any(|p| p.name == "ear" && p.direction == "playback" && p.channels == 1 && !p.default),
        "{ports:?}"
    );
    assert!(
        ports
            .iter()
            .any(|p| p.name == "system" && p.direction == "playback" && p.channels == 2 && p.default),
        "{ports:?}"
    );
    assert!(
        ports.iter().any(|p| p.name == "system" && p.direction == "capture" && p.default),
        "{ports:?}"
    );
    assert!(!ports.iter().any(|p| p.name == "utterd"), "{ports:?}");
    driver.stop();
}

#[test]
fn a_killed_server_is_lost_within_half_a_second_and_its_return_brings_a_fresh_engine() {
    let world = World::new("kill");
    let mut jackd = world.jackd(48_000, 256);
    let (driver, inbox) = start(config(DriverKind::Auto, &[]));
    let (control, name, rate, _) = await_engine(&inbox);
    assert_eq!((name, rate), ("jack", 48_000));
    let connected = await_periods(&control, 20);
    let killed = Instant::now();
    jackd.kill();
    let reason = await_lost(&inbox);
    println!("killed after {connected} periods, lost after {:?}: {reason}", killed.elapsed());
    assert!(
        killed.elapsed() < Duration::from_millis(500),
        "lost only after {:?}",
        killed.elapsed()
    );
    // It comes back with another rate and period.
    let _jackd = world.jackd(44_100, 512);
    let back = Instant::now();
    let (fresh, name, rate, period) = await_engine(&inbox);
    println!("a fresh engine {:?} after the server was ready", back.elapsed());
    assert_eq!((name, rate, period), ("jack", 44_100, 512));
    await_periods(&fresh, 5);
    assert!(control.is_abandoned(), "the old renderer has been freed");
    assert!(
        inbox.try_iter().all(|event| !matches!(event, DriverEvent::Stall { .. })),
        "a dead server is not a stall"
    );
    driver.stop();
}

#[test]
fn a_server_that_hangs_for_two_seconds_is_one_stall_and_nothing_else() {
    let world = World::new("hang");
    let jackd = world.jackd(48_000, 256);
    let (driver, inbox) = start(config(DriverKind::Jack, &[]));
    let (control, ..) = await_engine(&inbox);
    await_periods(&control, 20);
    let stopped = Instant::now();
    jackd.signal(Signal::STOP);
    sleep(Duration::from_secs(2));
    let asked = Instant::now();
    assert!(driver.ports().iter().any(|port| port.name == "system"));
    assert!(asked.elapsed() < Duration::from_secs(1), "a hanging server blocks nobody");
    jackd.signal(Signal::CONT);
    let halted_us = stopped.elapsed().as_micros() as u64;
    let gap_us = await_event(&inbox, SOON, |event| match event {
        DriverEvent::Stall { gap_us } => Ok(gap_us),
        other => Err(other),
    });
    println!("halted for {halted_us} us, stall of {gap_us} us");
    assert!((1_900_000..halted_us + 1_000_000).contains(&gap_us), "{gap_us}");
    await_periods(&control, 200);
    sleep(Duration::from_millis(500));
    for event in inbox.try_iter() {
        assert!(matches!(event, DriverEvent::Xrun { .. } | DriverEvent::Latency { .. }), "{event:?}");
    }
    driver.stop();
}

#[test]
fn a_server_that_hangs_for_good_is_given_up_and_its_successor_is_found() {
    let world = World::new("wedged");
    let mut jackd = world.jackd(48_000, 256);
    let (driver, inbox) = start(config(DriverKind::Jack, &[]));
    let (control, ..) = await_engine(&inbox);
    await_periods(&control, 20);
    jackd.signal(Signal::STOP);
    let gap_us = await_event(&inbox, SOON, |event| match event {
        DriverEvent::Stall { gap_us } => Ok(gap_us),
        other => Err(other),
    });
    assert!(gap_us > 10_000_000, "{gap_us}");
    await_lost(&inbox);
    jackd.kill();
    let _jackd = world.jackd(48_000, 256);
    let (fresh, ..) = await_engine(&inbox);
    await_periods(&fresh, 5);
    driver.stop();
}

#[test]
fn without_a_server_auto_takes_the_timer_and_jack_waits_for_one() {
    let world = World::new("none");
    let (driver, inbox) = start(config(DriverKind::Auto, &[]));
    let (control, name, ..) = await_engine(&inbox);
    assert_eq!(name, "timer");
    await_periods(&control, 5);
    driver.stop();
    let (driver, inbox) = start(config(DriverKind::Jack, &[]));
    assert_eq!(await_lost(&inbox), "no JACK server is running");
    let _jackd = world.jackd(48_000, 128);
    let (control, period, mut latency) = await_event(&inbox, SOON, |event| match event {
        DriverEvent::Engine {
            control,
            driver: "jack",
            period,
            latency_frames,
            ..
        } => Ok((control, period, latency_frames)),
        other => Err(other),
    });
    assert_eq!(period, 128);
    // The dummy device plays later than it is given the samples; known at once or, if the graph took its time, soon.
    if latency == 0 {
        latency = await_event(&inbox, SOON, |event| match event {
            DriverEvent::Latency { frames } => Ok(frames),
            other => Err(other),
        });
    }
    assert!(latency >= 128, "{latency}");
    await_periods(&control, 5);
    driver.stop();
}

#[test]
fn without_libjack_auto_takes_the_timer_and_nothing_breaks() {
    // A library that cannot be loaded, put before the real one, in a process of its own.
    const INSIDE: &str = "UTTERD_TEST_WITHOUT_LIBJACK";
    if std::env::var_os(INSIDE).is_some() {
        let (driver, inbox) = start(config(DriverKind::Auto, &[]));
        assert_eq!(await_engine(&inbox).1, "timer");
        driver.stop();
        let (driver, inbox) = start(config(DriverKind::Jack, &[]));
        let reason = await_lost(&inbox);
        assert!(reason.starts_with("libjack is missing"), "{reason}");
        driver.stop();
        return;
    }
    let folder = std::env::temp_dir().join(format!("utterd-no-libjack-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["libjack.so.0", "libjack.so"] {
        std::fs::write(folder.join(name), "not a library").unwrap();
    }
    let inside = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "without_libjack_auto_takes_the_timer_and_nothing_breaks", "--nocapture"])
        .env("LD_LIBRARY_PATH", &folder)
        .env(INSIDE, "1")
        .status();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(inside.unwrap().success());
}

/// Waits until the engine has rendered so many periods more, and says how many it has.
fn await_periods(control: &Control, more: u64) -> u64 {
    let stats = control.stats();
    let (start, deadline) = (stats.periods(), Instant::now() + SOON);
    while stats.periods() < start + more {
        assert!(Instant::now() < deadline, "the renderer is not called");
        sleep(Duration::from_millis(5));
    }
    stats.periods()
}
