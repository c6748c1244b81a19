//! Runs the driver alone for some seconds, a quiet tone on one lane, and prints every event: for trying a JACK server by hand.
//!
//! `cargo run -p utterd --example driver_events -- [SECONDS] [auto|jack|timer]`

use std::num::NonZeroU64;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use utterd::driver::{Driver, DriverConfig, DriverEvent, DriverKind};
use utterd_rt::{LaneSpec, LaneTx};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut args = std::env::args().skip(1);
    let seconds = args.next().map_or(Ok(10), |n| n.parse())?;
    let kind = match args.next().as_deref() {
        Some("jack") => DriverKind::Jack,
        Some("timer") => DriverKind::Timer,
        _ => DriverKind::Auto,
    };
    let cfg = DriverConfig {
        kind,
        client_name: "utterd-try".into(),
        connect: Vec::new(),
        ports: 2,
        timer_rate: 48_000,
        timer_period: 480,
    };
    let (events, inbox) = channel();
    let driver = Driver::start(cfg, move |event| {
        // Late ones find nobody.
        events.send(event).ok();
    })?;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut playing = None;
    let mut phase = 0.0_f32;
    while Instant::now() < deadline {
        match inbox.recv_timeout(Duration::from_millis(20)) {
            Ok(DriverEvent::Engine {
                mut control,
                driver,
                rate,
                period,
                latency_frames,
            }) => {
                println!("Engine driver={driver} rate={rate} period={period} latency_frames={latency_frames}");
                let spec = LaneSpec {
                    ring_frames: rate as usize / 5,
                    paused: false,
                    gain: 0.05,
                };
                let mut lane = control.add_lane(spec)?;
                lane.begin(NonZeroU64::MIN)?;
                playing = Some((control, lane));
            }
            Ok(event) => println!("{event:?}"),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if let Some((control, lane)) = &mut playing {
            feed(lane, control.rate(), &mut phase);
            while let Some(fact) = lane.next_fact() {
                println!("{fact:?}");
            }
        }
    }
    println!("{:#?}", driver.ports());
    if let Some((control, lane)) = playing {
        let stats = control.stats();
        println!(
            "periods={} underruns={} gap_max_us={} played={}",
            stats.periods(),
            stats.underruns(),
            stats.gap_max_us(),
            lane.position()
        );
    }
    Ok(())
}

fn feed(lane: &mut LaneTx, rate: u32, phase: &mut f32) {
    let samples: Vec<f32> = (0..lane.free())
        .map(|_| {
            *phase = (*phase + 440.0 / rate as f32).fract();
            (*phase * std::f32::consts::TAU).sin()
        })
        .collect();
    lane.push(&samples);
}
