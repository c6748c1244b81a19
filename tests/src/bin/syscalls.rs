//! The system calls of the callback thread while it plays, captures and is listened to: one futex a cycle (JACK's own wait), and nothing else.
//!
//! `strace` watches every thread of the daemon for a few seconds; the callback thread is the one that JACK started, told by its policy
//! (SCHED_FIFO) and its rate. strace slows what it watches, and a busy machine slows strace, so fewer cycles than the clock allows are no
//! news; more futexes than that, or a call that is not the futex, are. Exits 1 then.
#![allow(clippy::unwrap_used)] // A measurement that cannot go on says so by panicking.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use utterd_tests::bus::Bus;
use utterd_tests::client::{OWNER, ROOT};
use utterd_tests::clock::let_pass;
use utterd_tests::daemon::{Daemon, Plan};
use utterd_tests::jack::{Jack, JackOptions};
use utterd_tests::opts;
use utterd_tests::process::{Process, threads};
use utterd_tests::stream::Stream;
use utterd_tests::tempdir::TempDir;
use utterd_tests::world::TONE;

const SECONDS: u64 = 5;
/// Fewer would prove nothing.
const FEWEST: usize = 10;

fn main() -> ExitCode {
    let bus = Bus::start();
    let mut jack = Jack::absent(JackOptions {
        rate: 48_000,
        period: 1_024,
    });
    jack.asynchronous(); // As servers run; a synchronous one has the last client of the graph wake the server.
    jack.launch();
    let daemon = Daemon::start(&bus, Some(&jack), &Plan::default());
    let client = daemon.client();
    client.wait_manager_text("DriverState", "running");
    let session = client.open("strace", opts! { "backend" => TONE }).unwrap();
    // The taps are on: the microphone is open, and what it brings and what is played is read.
    client.call(ROOT, OWNER, "EnterListening", &("strace", 0_u64)).unwrap();
    let _readers = ["rx-raw", "tx"].map(|direction| Stream::acquire(&session, direction, opts! {}).unwrap().listen());
    let id = session.say(&"while this is spoken the callback is watched ".repeat(20), opts! {});
    client.expect_started(id);

    let calls = watch(daemon.pid());
    let expected = (SECONDS * 48_000 / 1_024) as usize;
    let names: BTreeMap<u32, String> = threads(daemon.pid()).into_iter().collect();
    println!("{SECONDS} s, at most {expected} cycles of 1,024 frames\n");
    println!("{:<18} {:>6}  calls", "thread", "tid");
    for (tid, counts) in &calls {
        let told: Vec<String> = counts.iter().map(|(name, n)| format!("{name} {n}")).collect();
        println!(
            "{:<18} {tid:>6}  {}{}",
            names.get(tid).map_or("?", String::as_str),
            told.join(", "),
            if is_fifo(daemon.pid(), *tid) { "   (SCHED_FIFO)" } else { "" }
        );
    }
    let callback = calls
        .iter()
        // The thread that empties the taps is in the same class. JACK's thread bears the name of ours that made it.
        .filter(|(tid, _)| is_fifo(daemon.pid(), **tid) && names.get(tid).is_none_or(|n| n != "utterd-rx"))
        .max_by_key(|(_, counts)| counts.get("futex").copied().unwrap_or(0));
    let Some((tid, counts)) = callback else {
        println!("\nno thread with SCHED_FIFO made any call: is real-time scheduling allowed here?");
        return ExitCode::FAILURE;
    };
    let futex = counts.get("futex").copied().unwrap_or(0);
    let clean = counts.len() == 1 && (FEWEST..=expected + expected / 20 + 3).contains(&futex);
    println!(
        "\nthe callback thread ({tid}): {futex} futex in at most {expected} cycles, {} other kinds of calls: {}",
        counts.len() - 1,
        if clean { "as promised" } else { "NOT AS PROMISED" }
    );
    ExitCode::from(u8::from(!clean))
}

/// Calls by name, of each thread.
fn watch(pid: u32) -> BTreeMap<u32, BTreeMap<String, usize>> {
    let dir = TempDir::new("strace");
    let prefix = dir.join("t");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-ff", "-qq", "-o"]).arg(&prefix).arg("-p").arg(pid.to_string());
    let mut strace = Process::spawn(
        "strace (Debian: strace)",
        strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()),
    );
    let_pass(Duration::from_secs(SECONDS));
    strace.stop();
    let mut calls = BTreeMap::new();
    for entry in std::fs::read_dir(dir.path()).unwrap().flatten() {
        let Some(tid) = entry.path().extension().and_then(|e| e.to_str()?.parse::<u32>().ok()) else {
            continue;
        };
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for line in std::fs::read_to_string(entry.path()).unwrap_or_default().lines() {
            // A call that was under way when strace came or left is whole in one line all the same, but for "resuming".
            if let Some((name, _)) = line.split_once('(')
                && !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && name != "restart_syscall"
            {
                *counts.entry(name.to_owned()).or_default() += 1;
            }
        }
        calls.insert(tid, counts);
    }
    calls
}

/// Field 41 of `/proc/PID/task/TID/stat`.
fn is_fifo(pid: u32, tid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().nth(38) == Some("1")
}
