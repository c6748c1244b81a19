//! `make hear`: hearing through the whole daemon, in real time, for some half an hour.
//!
//! `hear [--minutes 10] [--times 60] [--rate 48000] [--erl 15] [--delay 60] [--seed 1] [--period 256] [--corpus DIR] [--only tone|speech|people]`
//!
//! `--period`: JACK's, in frames at 48 kHz. A machine that wakes its timers late loses short ones, and with them the sample.
//! tone: an agent whose samples carry their numbers, bothered by music and coughs: every pause must go on from its sample, else the exit is 1.
//! speech: the same with an agent that speaks, for the counts. people: human voices interrupt, and the ear says when the agent fell silent.
#![allow(clippy::unwrap_used)] // A measurement that cannot go on says so by panicking.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use utterd_tests::hear::{Agent, Attempt, Bothered, Plan, Sounds, bothered, interrupted};
use utterd_tests::jack::JackOptions;
use utterd_tests::room::Echo;
use utterd_tests::stats::{Distribution, Table};

struct Wanted {
    minutes: f64,
    times: usize,
    seed: u64,
    rate: u32,
    period: u32,
    echo: Echo,
    corpus: Option<PathBuf>,
    only: Option<String>,
}

fn main() {
    let wanted = wanted();
    let mut is_right = true;
    println!(
        "seed {}, {} Hz, period {}, {:?}, corpus {:?}",
        wanted.seed, wanted.rate, wanted.period, wanted.echo, wanted.corpus
    );
    let asked = |what: &str| wanted.only.as_deref().is_none_or(|only| only == what);
    for (name, agent) in [("tone", Agent::Tone), ("speech", Agent::Speech)] {
        if asked(name) {
            let time = Duration::from_secs_f64(60.0 * wanted.minutes);
            let got = bothered(&plan(&wanted, agent), sounds(&wanted), time);
            println!("\n== {name}: {:.1} minutes of agent speech, nobody interrupts", got.minutes);
            tell_bothered(&got);
            is_right &= agent == Agent::Speech || tell_followed(&got);
        }
    }
    if asked("people") {
        let (attempts, early) = interrupted(&plan(&wanted, Agent::Speech), sounds(&wanted), wanted.times);
        println!("\n== people: {} human voices talk over the agent", attempts.len());
        tell_attempts(&attempts, early);
    }
    std::process::exit(i32::from(!is_right));
}

fn wanted() -> Wanted {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|n| args.get(n + 1)).cloned();
    let number = |name: &str, otherwise: f64| {
        let asked = option(name).map(|word| word.parse().unwrap_or_else(|e| panic!("{name} {word}: {e}")));
        asked.unwrap_or(otherwise)
    };
    Wanted {
        minutes: number("--minutes", 10.0),
        times: number("--times", 60.0) as usize,
        seed: number("--seed", 1.0) as u64,
        rate: number("--rate", 48_000.0) as u32,
        period: number("--period", 256.0) as u32,
        echo: Echo {
            delay_ms: number("--delay", 60.0) as f32,
            erl_db: number("--erl", 15.0) as f32,
            tail: true,
        },
        corpus: option("--corpus").map(PathBuf::from).filter(|dir| dir.join("test").exists()),
        only: option("--only"),
    }
}

fn plan(wanted: &Wanted, agent: Agent) -> Plan {
    Plan {
        agent,
        jack: JackOptions {
            rate: wanted.rate,
            // As long at either rate.
            period: wanted.rate * wanted.period / 48_000,
        },
        echo: wanted.echo,
        seed: wanted.seed,
    }
}

fn sounds(wanted: &Wanted) -> Sounds {
    Sounds::new(wanted.seed, wanted.rate, wanted.corpus.as_deref()).unwrap_or_else(|e| panic!("{e}"))
}

fn tell_bothered(got: &Bothered) {
    let mut kinds: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for thing in &got.happened {
        kinds.entry(thing.kind).or_default()[0] += 1;
    }
    for pause in &got.pauses {
        let kind = pause.after.first().copied().unwrap_or("(echo)");
        kinds.entry(kind).or_default()[1 + usize::from(pause.was_cancelled)] += 1;
    }
    let a_minute = |n: usize| n as f64 / got.minutes.max(1e-9);
    println!("  {:<10}{:>8}{:>14}{:>15}", "", "sounded", "resumed", "cancelled");
    for (kind, [sounded, paused, cancelled]) in &kinds {
        println!("  {kind:<10}{sounded:>8}{paused:>14}{cancelled:>15}");
    }
    for (name, of_assent) in [("", false), (" of assent", true)] {
        let [pauses, cancels] = got.counts(of_assent);
        println!(
            "  pauses{name} {pauses} ({:.2} a minute), {cancels} of them cancels ({:.3} a minute)",
            a_minute(pauses),
            a_minute(cancels)
        );
        for (what, lengths) in ["silent at the ear", "in doubt by the bus"].iter().zip(got.lengths(of_assent)) {
            println!(
                "    {what}: p50 {:.0}, p95 {:.0}, at most {:.0} ms",
                lengths.p50(),
                lengths.percentile(95.0),
                lengths.max()
            );
        }
    }
    println!("  missed periods at the ear {}, underruns {:.0} us", got.ear_xruns, got.underrun_us);
    let cost = &got.cost;
    println!("  the daemon took {:.2} % of a core:", cost.total());
    for thread in cost.threads.iter().filter(|t| cost.percent(t.us) >= 0.005) {
        println!("    {:<18}{:>7.2} %", thread.name, cost.percent(thread.us));
    }
}

/// Whether every utterance was heard to the sample.
fn tell_followed(got: &Bothered) -> bool {
    let all = &got.followed;
    let pauses: usize = all.iter().map(|f| f.pauses.len()).sum();
    let underruns: usize = all.iter().map(|f| f.underruns.len()).sum();
    let missed: u64 = all.iter().map(|f| f.missed).sum();
    let samples: usize = all.iter().map(|f| f.samples).sum();
    println!(
        "  followed {} utterances, {samples} samples: {pauses} pauses cut out and their ramps laid over each other; {underruns} underruns; {missed} frames that the ear missed",
        all.len()
    );
    for followed in all {
        for fault in &followed.faults {
            println!("  FAULT in utterance {}: {fault}", followed.utterance);
        }
    }
    let is_right = all.iter().all(|f| f.faults.is_empty());
    println!("  {}", if is_right { "all to the sample" } else { "NOT to the sample" });
    is_right
}

fn tell_attempts(attempts: &[Attempt], early: usize) {
    let of = |what: fn(&Attempt) -> Option<f64>| Distribution::of(attempts.iter().filter_map(what));
    let mut table = Table::new("ms from the user's onset");
    table.row("the agent pauses (ear)", of(|a| a.paused_ms), "p50 60, p95 200");
    table.row("the agent's last sample (ear)", of(|a| a.silent_ms), "");
    table.row("confirmed (bus)", of(|a| a.confirmed_ms), "p95 400");
    print!("{table}");
    let missed = attempts.iter().filter(|a| a.silent_ms.is_none()).count();
    let taken_back = attempts.iter().filter(|a| a.taken_back > 0).count();
    println!(
        "  {missed} of {} missed, {taken_back} had a pause taken back while they spoke, {early} utterances were cut before anybody spoke",
        attempts.len()
    );
    for attempt in attempts.iter().filter(|a| a.silent_ms.is_none_or(|ms| ms > 400.0)) {
        println!("  {attempt:?}");
    }
}
