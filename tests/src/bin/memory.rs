//! What the daemon keeps in memory, idle and speaking: Pss (its share of what it shares), JACK's shared segments apart, because they are
//! the server's and as large as its configuration says.
//!
//! Exits 1 when the idle daemon is above the promise of SPECIFICATION.md.
#![allow(clippy::unwrap_used)] // A measurement that cannot go on says so by panicking.

use std::process::ExitCode;
use utterd_tests::client::Session;
use utterd_tests::daemon::Plan;
use utterd_tests::jack::JackOptions;
use utterd_tests::opts;
use utterd_tests::world::{ESPEAK, Quiet, TONE, World};

const IDLE_MB: f64 = 20.0;

#[derive(Clone, Copy, Default)]
struct Memory {
    own: f64,
    jack: f64,
    rss: f64,
}

fn main() -> ExitCode {
    println!("{:<46} {:>9} {:>14} {:>9}", "MB", "Pss", "JACK's (Pss)", "Rss");
    let quiet = Quiet::start();
    let idle = show("idle, timer", quiet.daemon.pid());
    drop(quiet);

    // A long utterance holds its place at the backend until nearly its end, so all of them at once need as many places.
    let plan = Plan {
        config: "[backend.tts-tone]\nmax-concurrent = 64\n[cache]\nbytes = 0\n".into(),
        ..Plan::default()
    };
    let world = World::with(JackOptions::default(), &plan);
    let idle_jack = show("idle, JACK", world.daemon.pid());
    let espeak = world.client.open("espeak", opts! { "backend" => ESPEAK }).unwrap();
    let text = "a sentence that goes on for a while and then some more ".repeat(20);
    speak(&world, &espeak, &text);
    show("speaking, espeak-ng", world.daemon.pid());
    espeak.cancel(opts! {});
    let sessions: Vec<Session> = (0..32).map(|n| lane(&world, n)).collect();
    for session in &sessions {
        speak(&world, session, &text);
    }
    show("speaking, 32 mixed sessions, tts-tone", world.daemon.pid());
    world.client.cancel_all(opts! {}).unwrap();
    for session in sessions {
        session.close(opts! {}).unwrap();
    }
    show("idle again", world.daemon.pid());
    let kept = idle.own <= IDLE_MB && idle_jack.own <= IDLE_MB;
    println!("idle: {} {IDLE_MB} MB", if kept { "at most" } else { "ABOVE" });
    ExitCode::from(u8::from(!kept))
}

fn lane(world: &World, n: usize) -> Session {
    world
        .client
        .open(
            &format!("lane-{n}"),
            opts! { "backend" => TONE, "floor" => "own", "gain-db" => -30.0 },
        )
        .unwrap()
}

fn speak(world: &World, session: &Session, text: &str) {
    let id = session.say(text, opts! {});
    world.client.expect_started(id);
}

fn show(what: &str, pid: u32) -> Memory {
    let memory = memory(pid);
    println!("{what:<46} {:>9.1} {:>14.1} {:>9.1}", memory.own, memory.jack, memory.rss);
    memory
}

/// Sums `/proc/PID/smaps`.
fn memory(pid: u32) -> Memory {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut sum = Memory::default();
    let mut shared_with_jack = false;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        let megabytes =
            |words: &mut std::str::SplitWhitespace<'_>| words.next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1_024.0;
        match first {
            "Pss:" if shared_with_jack => sum.jack += megabytes(&mut words),
            "Pss:" => sum.own += megabytes(&mut words),
            "Rss:" => sum.rss += megabytes(&mut words),
            // A mapping's own line begins with its addresses and ends with its path.
            _ if !first.ends_with(':') => shared_with_jack = line.contains("/dev/shm/jack"),
            _ => {}
        }
    }
    sum
}
