//! All numbers of one machine in one run: the programs that measure, one after the other, their tables as they print them, and then each
//! promise of SPECIFICATION.md beside what was found. `bench [COUNT] [--strict]`; COUNT is that of `latency`.
//!
//! A shared machine misses promises that the code keeps, so a miss is said loudly and only `--strict` makes it an exit code of 1. The
//! same facts go to `bench/results.json` in the target folder, for a comparison with another day. Release builds only.
//!
//! Not here: the measuring. A promise whose row is not found in what was printed counts as missed.
#![allow(clippy::unwrap_used)] // A measurement that cannot go on says so by panicking.

use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;
use utterd_tests::bench::{Row, cargo, load, rows};
use utterd_tests::bins::{helper, target_dir};

fn main() -> ExitCode {
    let mut count = 200_u32;
    let mut strict = false;
    for arg in std::env::args().skip(1) {
        match (arg.as_str(), arg.parse()) {
            ("--strict", _) => strict = true,
            (_, Ok(n)) => count = n,
            _ => {
                eprintln!("usage: bench [COUNT] [--strict]");
                return ExitCode::from(2);
            }
        }
    }
    if !target_dir().ends_with("release") {
        eprintln!("numbers of a debug build say nothing: cargo run --release -p utterd-tests --bin bench");
        return ExitCode::from(2);
    }
    let before = load();
    let mut latency = Command::new(helper("latency"));
    latency.arg(count.to_string());
    let runs = [
        run(
            "render cost",
            &mut cargo(&["bench", "-q", "-p", "utterd-rt", "--bench", "render_cost"]),
        ),
        run(
            "instructions",
            &mut cargo(&["run", "-q", "--release", "-p", "utterd-rt", "--example", "render_budget"]),
        ),
        run("latency", &mut latency),
        run("memory", &mut Command::new(helper("memory"))),
    ];
    let [render, instructions, latency, memory] = &runs;
    let mut promises = of_rendering(&render.printed);
    promises.push(of_instructions(&instructions.printed));
    promises.extend(of_latency(&latency.printed));
    promises.extend(of_memory(&memory.printed));
    let after = load();

    println!("load average {before} before, {after} after\n");
    println!("{:<64} {:>9}    {:>9}", "promise", "measured", "at most");
    for p in &promises {
        let verdict = if p.is_kept() { "pass" } else { "MISS  <==" };
        println!("{:<64} {:>9.2}    {:>9.2} {:<3} {verdict}", p.what, p.measured, p.at_most, p.unit);
    }
    let missed = promises.iter().filter(|p| !p.is_kept()).count();
    if missed > 0 {
        println!("\n{missed} OF {} PROMISES MISSED", promises.len());
    } else {
        println!("\nall {} promises kept", promises.len());
    }
    write_results(&json!({
        "load": { "before": before, "after": after },
        "runs": runs.iter().map(Run::as_json).collect::<Vec<_>>(),
        "promises": promises.iter().map(Promise::as_json).collect::<Vec<_>>(),
    }));
    ExitCode::from(u8::from(strict && missed > 0))
}

struct Run {
    name: &'static str,
    seconds: f64,
    succeeded: bool,
    printed: String,
}

impl Run {
    fn as_json(&self) -> serde_json::Value {
        let rows: Vec<serde_json::Value> = rows(&self.printed)
            .iter()
            .map(|r| json!({ "table": r.table, "name": r.name, "n": r.count, "p50": r.p50, "p95": r.p95, "p99": r.p99, "max": r.max }))
            .collect();
        json!({ "name": self.name, "seconds": self.seconds, "succeeded": self.succeeded, "rows": rows, "printed": self.printed })
    }
}

/// Runs it to its end and shows what it prints as it comes. Its exit code is its own verdict; ours is the table of promises.
fn run(name: &'static str, command: &mut Command) -> Run {
    println!("== {name}");
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let mut printed = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        println!("{line}");
        printed.push_str(&line);
        printed.push('\n');
    }
    let succeeded = child.wait().unwrap().success();
    println!();
    Run {
        name,
        seconds: start.elapsed().as_secs_f64(),
        succeeded,
        printed,
    }
}

/// One number that must not be exceeded; NaN, where nothing was found, exceeds all.
struct Promise {
    what: String,
    measured: f64,
    at_most: f64,
    unit: &'static str,
}

impl Promise {
    fn new(what: impl Into<String>, measured: f64, at_most: f64, unit: &'static str) -> Promise {
        Promise {
            what: what.into(),
            measured,
            at_most,
            unit,
        }
    }

    fn is_kept(&self) -> bool {
        self.measured <= self.at_most
    }

    fn as_json(&self) -> serde_json::Value {
        json!({ "promise": self.what, "measured": self.measured, "at_most": self.at_most, "unit": self.unit, "kept": self.is_kept() })
    }
}

/// Rows of `render_cost`: lanes, then `us share %` four times, then the gain.
fn of_rendering(printed: &str) -> Vec<Promise> {
    ["gain 1", "gain 0.5"]
        .iter()
        .map(|gain| {
            let row = printed
                .lines()
                .find(|l| l.trim_start().starts_with("64 ") && l.trim_end().ends_with(gain));
            let share = row.and_then(|l| l.split_whitespace().nth(2)?.parse().ok());
            Promise::new(
                format!("render, 64 lanes, 128 frames, {gain}: p50"),
                share.unwrap_or(f64::NAN),
                1.0,
                "%",
            )
        })
        .collect()
}

/// "N instructions a period, budget M + 5 %"; nothing of it without valgrind.
fn of_instructions(printed: &str) -> Promise {
    let mut numbers = printed.split_whitespace().filter_map(|w| w.parse::<f64>().ok());
    let measured = numbers.next().unwrap_or(f64::NAN);
    let budget = numbers.next().unwrap_or(f64::NAN);
    Promise::new(
        "render, 64 lanes, 128 frames: instructions (callgrind)",
        measured,
        budget * 1.05,
        "",
    )
}

fn of_latency(printed: &str) -> Vec<Promise> {
    let rows = rows(printed);
    let mut promises = Vec::new();
    for frames in [128.0, 256.0, 1_024.0] {
        let period_ms = frames / 48.0;
        let heading = format!(" {frames} frames ");
        let of = |name: &str, value: fn(&Row) -> f64| {
            let row = rows.iter().find(|r| r.table.contains(&heading) && r.name.starts_with(name));
            row.map_or(f64::NAN, value)
        };
        let mut promise =
            |what: &str, measured, at_most| promises.push(Promise::new(format!("{frames} frames: {what}"), measured, at_most, "ms"));
        promise("cut published → last sound, max", of("cut published", |r| r.max), period_ms + 5.0);
        promise("pause replied → last sound, max", of("pause replied", |r| r.max), period_ms + 5.0);
        promise("call sent → received by the daemon, p50", of("call sent", |r| r.p50), 0.3);
        promise("call sent → received by the daemon, p99", of("call sent", |r| r.p99), 5.0);
        let beyond = of("Say sent → first sound, espeak", |r| r.p50) - of("libespeak-ng by itself", |r| r.p50);
        promise("Say → first sound, beyond espeak-ng's own, p50", beyond, period_ms + 3.0);
    }
    promises
}

fn of_memory(printed: &str) -> Vec<Promise> {
    ["idle, timer", "idle, JACK"]
        .iter()
        .map(|name| {
            let pss = printed
                .lines()
                .find_map(|l| l.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
            Promise::new(
                format!("memory, {name} (Pss, JACK's segments apart)"),
                pss.unwrap_or(f64::NAN),
                20.0,
                "MB",
            )
        })
        .collect()
}

fn write_results(results: &serde_json::Value) {
    let folder = target_dir().parent().unwrap().join("bench");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("results.json");
    std::fs::write(&file, format!("{results:#}\n")).unwrap();
    println!("{}", file.display());
}
