//! What one period costs: 48 kHz, 128 frames, 1 to 64 sounding lanes, rendered offline. `cargo bench -p utterd-rt` prints the table.

#![allow(clippy::unwrap_used)]

use std::num::NonZeroU64;
use std::time::Instant;
use utterd_rt::{LaneSpec, LaneTx, engine};

const RATE: u32 = 48_000;
const FRAMES: usize = 128;
const PERIODS: usize = 20_000;

fn main() {
    let period_us = FRAMES as f64 * 1e6 / f64::from(RATE);
    println!("one period of {FRAMES} frames at {RATE} Hz ({period_us:.1} us), {PERIODS} periods, us and share of the period");
    println!("{:>5} {:>15} {:>15} {:>15} {:>15}", "lanes", "p50", "p95", "p99", "max");
    for (lanes, gain) in [(1, 1.0), (16, 1.0), (64, 1.0), (64, 0.5)] {
        let costs = measure(lanes, gain);
        let at = |share: f64| costs[((costs.len() - 1) as f64 * share) as usize];
        let cell = |us: f64| format!("{us:.2} {:>6.2} %", us / period_us * 100.0);
        println!(
            "{lanes:>5} {:>15} {:>15} {:>15} {:>15}  gain {gain}",
            cell(at(0.5)),
            cell(at(0.95)),
            cell(at(0.99)),
            cell(at(1.0))
        );
    }
}

fn measure(count: usize, gain: f32) -> Vec<f64> {
    let (mut control, mut renderer) = engine(RATE);
    let spec = LaneSpec {
        ring_frames: 7_200,
        paused: false,
        gain,
    };
    let mut lanes: Vec<LaneTx> = (0..count).map(|_| control.add_lane(spec).unwrap()).collect();
    for lane in &mut lanes {
        lane.begin(NonZeroU64::MIN).unwrap();
    }
    let samples = vec![0.01; 7_200];
    let mut out = [0.0; FRAMES];
    let mut costs = Vec::with_capacity(PERIODS);
    for period in 0..PERIODS {
        for lane in &mut lanes {
            lane.push(&samples[..lane.free()]);
        }
        let start = Instant::now();
        renderer.render(&mut out, period as u64 * 2_667);
        costs.push(start.elapsed().as_nanos() as f64 / 1e3);
        std::hint::black_box(&out);
    }
    costs.sort_by(f64::total_cmp);
    costs
}
