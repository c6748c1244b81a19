//! How long things take, measured at the ear: cancel → silence, pause → silence, Say → first sound, and the bus on its own.
//!
//! `latency [COUNT]` (default 200) prints one table for each period and exits 1 when a promise of SPECIFICATION.md that holds "always" was
//! missed: cut → last non-silent sample within a period and 5 ms (counted here from the call's receipt, which is a little stricter).
//! Moments of sound are JACK's frame times; the moment of a call's
//! arrival is its reply less the time that the daemon says it took (`done-us`), which is the latest it can have been.
//! What a backend needs by itself is measured in this process: libespeak-ng is asked for the same sentence.
#![allow(clippy::unwrap_used)] // A measurement that cannot go on says so by panicking.

use std::process::ExitCode;
use std::time::Duration;
use utterd_tests::client::Session;
use utterd_tests::clock::{let_pass, now_us};
use utterd_tests::daemon::Plan;
use utterd_tests::espeak;
use utterd_tests::jack::JackOptions;
use utterd_tests::opts;
use utterd_tests::random::Random;
use utterd_tests::stats::{Distribution, Table};
use utterd_tests::tone;
use utterd_tests::world::{ESPEAK, TONE, World};

const SENTENCE: &str = "The next train to the airport leaves from platform four.";

fn main() -> ExitCode {
    let count = std::env::args().nth(1).map_or(200, |n| n.parse().expect("a count"));
    let mut kept = true;
    for period in [128, 256, 1_024] {
        kept &= measure(JackOptions { rate: 48_000, period }, count);
    }
    println!(
        "{}",
        if kept {
            "every cut was silent within a period and 5 ms"
        } else {
            "MISS: some cuts took longer than a period and 5 ms"
        }
    );
    ExitCode::from(u8::from(!kept))
}

#[derive(Default)]
struct Found {
    cut: Vec<f64>,
    silent_told: Vec<f64>,
    /// Cancels between which and the silence JACK had an xrun: its time jumps there, so they are not judged, but counted.
    disturbed: usize,
    pause: Vec<f64>,
    bus: Vec<f64>,
    tone_first: Vec<f64>,
    espeak_first: Vec<f64>,
}

fn measure(options: JackOptions, count: usize) -> bool {
    let world = World::with(
        options,
        &Plan {
            log: "utterd=debug".into(),
            // What is measured is synthesis.
            config: "[cache]\nbytes = 0\n".into(),
            ..Plan::default()
        },
    );
    let mut random = Random::seeded();
    let mut found = Found::default();
    let session = world.tone_session("bench");
    for _ in 0..count {
        cancel(&world, &session, &mut random, &mut found);
        pause(&world, &session, &mut random, &mut found);
    }
    first_sound(&world, count, &mut found);

    let period_ms = world.jack.period_us() as f64 / 1_000.0;
    let bound = period_ms + 5.0;
    let cut = Distribution::of(found.cut);
    let pause = Distribution::of(found.pause);
    let own = espeak::first_sound(SENTENCE, count.min(50));
    let mut table = Table::new(&format!(
        "{} Hz, {} frames ({period_ms:.2} ms a period), ms",
        options.rate, options.period
    ));
    // The daemon alone knows when it published the cut; that its times are true the ear confirms two rows below.
    let published = Distribution::of(world.daemon.log_lines("silent_after_us=").iter().filter_map(|line| {
        let us: f64 = line.split("silent_after_us=").nth(1)?.split_whitespace().next()?.parse().ok()?;
        Some(us / 1_000.0)
    }));
    table.row(
        "cut published → last sound",
        published.clone(),
        &format!("at most {bound:.2}, always"),
    );
    table.row("call received → last sound, at the ear", cut.clone(), "");
    table.row("pause replied → last sound", pause, "");
    table.row(
        "  last sound − the report's silent-us",
        Distribution::of(found.silent_told),
        "0, within a period",
    );
    table.row("call sent → received by the daemon", Distribution::of(found.bus), "p50 0.3, p99 5");
    table.row("Say sent → first sound, tts-tone", Distribution::of(found.tone_first), "");
    table.row(
        "Say sent → first sound, espeak-ng",
        Distribution::of(found.espeak_first.clone()),
        "",
    );
    match own {
        Some(own) => {
            let own = Distribution::of(own);
            let beyond = Distribution::of(found.espeak_first).p50() - own.p50();
            table.row("  libespeak-ng by itself", own, "");
            println!("{table}");
            println!(
                "beyond the backend's own first sound at p50: {beyond:.2} ms (at most a period + 3 ms = {:.2})\n",
                period_ms + 3.0
            );
        }
        None => println!("{table}\nlibespeak-ng is not here to be measured by itself (Debian: libespeak-ng1)\n"),
    }
    if found.disturbed > 0 {
        println!(
            "{} of {count} cancels are not in the rows: JACK had an xrun meanwhile\n",
            found.disturbed
        );
    }
    assert!(cut.count() > 0, "not one cancel could be judged");
    published.max() <= bound
}

/// One cancel somewhere in an utterance.
fn cancel(world: &World, session: &Session, random: &mut Random, found: &mut Found) {
    let id = session.say("cancel me somewhere in here", opts! {});
    world.client.expect_started(id);
    let_pass(Duration::from_micros(random.between(10_000, 400_000)));
    let sent = now_us();
    let report = session.cancel(opts! {});
    let arrived = report.number("at-us");
    let heard = world.heard();
    let Some(last) = heard.last_sound(0..usize::MAX) else { return };
    let last = heard.us_at(last) as f64;
    let during = heard.periods.iter().filter(|p| p.us + 50_000 >= sent && p.us <= now_us());
    if during.into_iter().any(|p| p.xrun) {
        found.disturbed += 1;
        return;
    }
    found.cut.push((last - arrived as f64) / 1_000.0);
    found
        .silent_told
        .push((last - (arrived + report.dict("stages").number("silent-us")) as f64) / 1_000.0);
    found.bus.push((arrived - sent) as f64 / 1_000.0);
}

fn pause(world: &World, session: &Session, random: &mut Random, found: &mut Found) {
    let id = session.say("pause me somewhere in here", opts! {});
    world.client.expect_started(id);
    let_pass(Duration::from_micros(random.between(10_000, 400_000)));
    session.pause(opts! {});
    let replied = now_us();
    let heard = world.heard();
    let last = heard.last_sound(0..usize::MAX).map_or(0, |n| heard.us_at(n));
    found.pause.push((last as f64 - replied as f64) / 1_000.0);
    session.cancel(opts! {});
    assert_eq!(tone::runs(&heard).last().map(|r| r.voice), Some(tone::voice(id)));
}

fn first_sound(world: &World, count: usize, found: &mut Found) {
    let espeak = world.client.open("espeak", opts! { "backend" => ESPEAK }).unwrap();
    let tone = world.client.open("tone", opts! { "backend" => TONE }).unwrap();
    for _ in 0..count {
        for (session, text, into) in [(&tone, "tick", &mut found.tone_first), (&espeak, SENTENCE, &mut found.espeak_first)] {
            // A session that was just cancelled begins its next turn in silence.
            let from = world.heard().samples.len();
            let sent = now_us();
            let id = session.say(text, opts! {});
            world.client.expect_started(id);
            let_pass(Duration::from_millis(30));
            let heard = world.heard();
            if let Some(first) = heard.first_sound(from..usize::MAX) {
                into.push((heard.us_at(first) as f64 - sent as f64) / 1_000.0);
            }
            session.cancel(opts! {});
        }
    }
}
