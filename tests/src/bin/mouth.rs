//! The mouth: a JACK client that plays a file of raw samples into one port, the microphone of the daemon, as a user would speak into it.
//!
//! `mouth FILE.f32 TARGET CLIENT` connects `CLIENT:out_1` to TARGET whenever that exists and plays FILE (raw mono floats, any bits: NaN too)
//! once for each line `play` on its standard input, from the beginning of a period. It says `ready RATE PERIOD`, `connected`, and with the
//! first sample `playing FRAME US`, where FRAME is JACK's and US that cycle's CLOCK_MONOTONIC; `played` after the last. It ends with its input.
#![allow(clippy::unwrap_used)] // A helper of tests: its failure is the test's failure.

use jack::{AudioOut, Client, ClientOptions, Control, Port, ProcessScope};
use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Shared {
    wanted: AtomicBool,
    frame: AtomicU64,
    us: AtomicU64,
    is_done: AtomicBool,
}

struct Play {
    port: Port<AudioOut>,
    samples: Vec<f32>,
    at: Option<usize>,
    shared: Arc<Shared>,
    clock_offset: i64,
}

impl jack::ProcessHandler for Play {
    fn process(&mut self, _: &Client, scope: &ProcessScope) -> Control {
        let out = self.port.as_mut_slice(scope);
        if self.at.is_none() && self.shared.wanted.swap(false, Ordering::AcqRel) {
            self.at = Some(0);
            let us = scope.cycle_times().map(|t| t.current_usecs).unwrap_or(0) as i64 + self.clock_offset;
            self.shared.us.store(us as u64, Ordering::Release);
            self.shared.frame.store(u64::from(scope.last_frame_time()) + 1, Ordering::Release);
        }
        let from = self.at.unwrap_or(self.samples.len());
        let frames = out.len().min(self.samples.len() - from);
        out[..frames].copy_from_slice(&self.samples[from..from + frames]);
        out[frames..].fill(0.0);
        if let Some(at) = &mut self.at {
            *at += frames;
            if *at == self.samples.len() {
                self.at = None;
                self.shared.is_done.store(true, Ordering::Release);
            }
        }
        Control::Continue
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, target, name] = args.as_slice() else {
        eprintln!("usage: mouth FILE.f32 TARGET CLIENT");
        std::process::exit(2);
    };
    let raw = std::fs::read(file).unwrap();
    let samples: Vec<f32> = raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let client = open(name, Duration::from_secs(20));
    let port = client.register_port("out_1", AudioOut::default()).unwrap();
    let source = port.name().unwrap();
    let rate = client.sample_rate();
    let clock_offset = utterd_tests::clock::now_us() as i64 - client.time() as i64;
    let shared = Arc::new(Shared::default());
    let play = Play {
        port,
        samples,
        at: None,
        shared: shared.clone(),
        clock_offset,
    };
    let active = client.activate_async((), play).unwrap();
    say(&format!("ready {rate} {}", active.as_client().buffer_size()));
    let (lines, orders) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(std::io::stdin()).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    let mut connected = false;
    loop {
        match orders.recv_timeout(Duration::from_millis(2)) {
            Ok(line) if line.trim() == "play" => shared.wanted.store(true, Ordering::Release),
            Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => {}
            // Deactivation blocks while a server is wedged.
            Err(mpsc::RecvTimeoutError::Disconnected) => std::process::exit(0),
        }
        let client = active.as_client();
        let there = client.port_by_name(target).is_some();
        let linked = there
            && (client
                .port_by_name(target)
                .is_some_and(|p| p.is_connected_to(&source).unwrap_or(false))
                || matches!(
                    client.connect_ports_by_name(&source, target),
                    Ok(()) | Err(jack::Error::PortAlreadyConnected(..))
                ));
        if std::mem::replace(&mut connected, linked) != linked {
            say(if linked { "connected" } else { "disconnected" });
        }
        let frame = shared.frame.swap(0, Ordering::AcqRel);
        if frame > 0 {
            say(&format!("playing {} {}", frame - 1, shared.us.load(Ordering::Acquire)));
        }
        if shared.is_done.swap(false, Ordering::AcqRel) {
            say("played");
        }
    }
}

/// Opens the client as soon as the server answers.
fn open(name: &str, patience: Duration) -> Client {
    let end = Instant::now() + patience;
    loop {
        match Client::new(name, ClientOptions::NO_START_SERVER) {
            Ok((client, _)) => return client,
            Err(e) if Instant::now() > end => {
                eprintln!("no JACK server for the mouth: {e}");
                std::process::exit(1);
            }
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0); // Nobody listens any more.
    }
}
