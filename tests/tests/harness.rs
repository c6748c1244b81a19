//! The harness itself: worlds do not see each other, the ear is exact, and a killed server leaves nothing behind.
#![allow(clippy::unwrap_used)]

use std::time::Duration;
use utterd_tests::bus::Bus;
use utterd_tests::client::Client;
use utterd_tests::clock::{let_pass, now_us, wait_for};
use utterd_tests::daemon::name_has_owner;
use utterd_tests::ear::Ear;
use utterd_tests::jack::{Jack, JackOptions};

#[test]
fn two_buses_do_not_see_each_other() {
    let (one, other) = (Bus::start(), Bus::start());
    assert_ne!(one.address(), other.address());
    let client = Client::connect(one.address());
    client.connection().request_name(utterd_tests::client::NAME).unwrap();
    assert!(name_has_owner(&client));
    assert!(!name_has_owner(&Client::connect(other.address())));
}

#[test]
fn the_ear_gets_every_period_and_tells_its_time() {
    let jack = Jack::start(JackOptions::default());
    let ear = Ear::start(&jack);
    let heard = ear.heard_until(now_us() + 500_000);
    assert!(heard.samples.len() >= 20_000, "{} samples", heard.samples.len());
    assert!(heard.samples.iter().all(|s| *s == 0.0), "nobody plays");
    assert!(heard.breaks().is_empty() || ear.xruns() > 0, "{:?}", heard.breaks());
    let (first, last) = (heard.periods[0], heard.periods[heard.periods.len() - 1]);
    let by_frames = (last.frame - first.frame) * 1_000_000 / u64::from(heard.rate);
    let by_clock = last.us - first.us;
    assert!(by_frames.abs_diff(by_clock) < 100_000, "{by_frames} us of frames in {by_clock} us");
    assert!(now_us().abs_diff(heard.end_us()) < 10_000_000, "the clock is CLOCK_MONOTONIC");
}

#[test]
fn a_killed_server_comes_back_under_its_name_and_the_ear_says_what_happened() {
    let mut jack = Jack::start(JackOptions { rate: 48_000, period: 512 });
    let ear = Ear::start(&jack);
    jack.kill();
    wait_for("the ear's word of the server's death", || {
        ear.said().iter().any(|l| l.starts_with("shutdown"))
    });
    drop(ear);
    jack.launch();
    assert!(jack.ports().iter().any(|p| p == "system:playback_1"), "{:?}", jack.ports());
    let ear = Ear::start(&jack);
    assert!(!ear.heard_until(now_us() + 100_000).is_empty());
    jack.freeze();
    let_pass(Duration::from_millis(300));
    jack.thaw();
    let heard = ear.heard_until(now_us() + 100_000);
    let widest = heard.periods.windows(2).map(|w| w[1].callback_us - w[0].callback_us).max().unwrap();
    assert!(
        widest >= 200_000,
        "a frozen server is seen in the times of the periods: {widest} us"
    );
}

#[test]
fn more_servers_than_one_dev_shm_holds_run_side_by_side() {
    let jacks: Vec<Jack> = (0..9)
        .map(|_| {
            Jack::start(JackOptions {
                rate: 8_000,
                period: 1_024,
            })
        })
        .collect();
    for jack in &jacks {
        assert!(jack.ports().iter().any(|p| p == "system:capture_1"));
    }
}
