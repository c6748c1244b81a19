//! The instruction budget of one period with 64 sounding lanes (48 kHz, 128 frames), counted by callgrind: the same on every run of one build.
//!
//! `cargo run --release -p utterd-rt --example render_budget` runs itself under valgrind, subtracts the run without periods, and compares the
//! instructions a period costs with `examples/render_budget.txt`. Exits 0 within the budget + 5 %, 1 beyond, 77 without valgrind.
//! `-- render N` is the part under valgrind: it renders N periods.

#![allow(clippy::unwrap_used)]

use std::num::NonZeroU64;
use std::process::{Command, ExitCode};
use utterd_rt::{LaneSpec, engine};

const BUDGET: &str = include_str!("render_budget.txt");
const PERIODS: u64 = 200;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("render") {
        render(args.next().and_then(|n| n.parse().ok()).unwrap_or(PERIODS));
        return ExitCode::SUCCESS;
    }
    let (Some(none), Some(all)) = (instructions(0), instructions(PERIODS)) else {
        println!("valgrind is missing or failed: nothing was counted");
        return ExitCode::from(77);
    };
    let cost = all.saturating_sub(none) / PERIODS;
    let budget: u64 = BUDGET.trim().parse().unwrap();
    println!("{cost} instructions a period, budget {budget} + 5 %");
    if cost * 100 <= budget * 105 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Everything but `renderer.render` is the same for any number of periods.
fn render(periods: u64) {
    let (mut control, mut renderer) = engine(48_000);
    let spec = LaneSpec {
        ring_frames: PERIODS as usize * 128 + 128,
        paused: false,
        gain: 1.0,
    };
    let samples = vec![0.01; spec.ring_frames];
    let mut lanes: Vec<_> = (0..64).map(|_| control.add_lane(spec).unwrap()).collect();
    for lane in &mut lanes {
        lane.begin(NonZeroU64::MIN).unwrap();
        lane.push(&samples);
    }
    let mut out = [0.0; 128];
    for period in 0..periods {
        renderer.render(&mut out, period * 2_667);
        std::hint::black_box(&out);
    }
}

fn instructions(periods: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().ok()?)
        .args(["render", &periods.to_string()])
        .output()
        .ok()?;
    let told = String::from_utf8_lossy(&output.stderr);
    let collected = told.lines().find_map(|line| line.split("Collected :").nth(1))?;
    collected.trim().parse().ok()
}
