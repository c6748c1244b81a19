//! The mouth: a JACK client that plays voices into the daemon's microphone as users would speak into it, in a room that brings back what the
//! agent says.
//!
//! `mouth TARGET CLIENT FILE.f32… [--echo SOURCE FRAMES:GAIN,… [NOISE]]` connects `CLIENT:out_1` to TARGET whenever that exists. Each FILE (raw mono
//! floats, any bits: NaN too) is a voice, played once for each line `play N` on standard input, from the beginning of a period; voices sound
//! together. With `--echo`, `CLIENT:in_1` takes SOURCE (say `utterd:out_1`), and each tap adds it that many frames later (JACK's own period
//! of a loop included, `utterd_tests::room`); NOISE is white noise of that amplitude beside all of it. It says `ready RATE PERIOD`, `connected`, `echoing`, and with a voice's first sample
//! `playing N FRAME US`, where FRAME is JACK's and US that sample's CLOCK_MONOTONIC; `played N` after its last. It ends with its input.
//!
//! The callback copies, adds and pushes into a ring; it allocates nothing.
#![allow(clippy::unwrap_used)] // A helper of tests: its failure is the test's failure.

use jack::{AudioIn, AudioOut, Client, Control, Port, ProcessScope};
use std::io::{BufRead, BufReader};
use std::sync::mpsc;
use std::time::Duration;
use utterd_tests::helper::{open, say};
use utterd_tests::room::Line;

enum News {
    Playing { voice: usize, frame: u32, us: i64 },
    Played { voice: usize },
}

struct Voice {
    samples: Vec<f32>,
    at: Option<usize>,
}

/// What every microphone adds by itself.
struct Noise {
    level: f32,
    state: u32,
}

impl Noise {
    fn add(&mut self, out: &mut [f32]) {
        if self.level == 0.0 {
            return; // Else the bits of a lone voice would not be its own.
        }
        for sample in out {
            self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *sample += self.level * ((self.state >> 8) as f32 / (1 << 23) as f32 - 1.0);
        }
    }
}

struct Play {
    out: Port<AudioOut>,
    voices: Vec<Voice>,
    echo: Option<(Port<AudioIn>, Line)>,
    noise: Noise,
    orders: rtrb::Consumer<usize>,
    news: rtrb::Producer<News>,
    clock_offset: i64,
}

impl Play {
    fn tell(&mut self, news: News) {
        let full = self.news.push(news).is_err();
        debug_assert!(!full, "the ring holds more than anybody orders");
    }
}

impl jack::ProcessHandler for Play {
    fn process(&mut self, _: &Client, scope: &ProcessScope) -> Control {
        let frame = scope.last_frame_time();
        while let Ok(voice) = self.orders.pop() {
            self.voices[voice].at = Some(0);
            let us = scope.cycle_times().map(|t| t.current_usecs).unwrap_or(0) as i64 + self.clock_offset;
            self.tell(News::Playing { voice, frame, us });
        }
        let out = self.out.as_mut_slice(scope);
        out.fill(0.0);
        for voice in 0..self.voices.len() {
            let Voice { samples, at } = &mut self.voices[voice];
            let Some(from) = *at else { continue };
            let out = self.out.as_mut_slice(scope);
            let to = samples.len().min(from + out.len());
            for (out, sample) in out.iter_mut().zip(&samples[from..to]) {
                // Alone, a voice keeps its bits, also those of a NaN.
                *out = if *out == 0.0 { *sample } else { *out + sample };
            }
            *at = (to < samples.len()).then_some(to);
            if at.is_none() {
                self.tell(News::Played { voice });
            }
        }
        if let Some((port, line)) = &mut self.echo {
            line.pass(frame, port.as_slice(scope), self.out.as_mut_slice(scope));
        }
        self.noise.add(self.out.as_mut_slice(scope));
        Control::Continue
    }
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let echo = args.iter().position(|a| a == "--echo").map(|at| args.split_off(at));
    let [target, name, files @ ..] = args.as_slice() else {
        eprintln!("usage: mouth TARGET CLIENT FILE.f32… [--echo SOURCE FRAMES:GAIN,… [NOISE]]");
        std::process::exit(2);
    };
    let voices = files.iter().map(|f| Voice {
        samples: read(f),
        at: None,
    });
    let voices: Vec<Voice> = voices.collect();
    let client = open(name, Duration::from_secs(20));
    let out = client.register_port("out_1", AudioOut::default()).unwrap();
    let mut cables = vec![Cable::new(&out.name().unwrap(), target, "connected", "disconnected")];
    let mut noise = Noise { level: 0.0, state: 1 };
    let echo = echo.map(|echo| {
        let [_, source, taps, level @ ..] = echo.as_slice() else {
            panic!("--echo SOURCE TAPS, not {echo:?}")
        };
        noise.level = level.first().map_or(0.0, |level| level.parse().unwrap());
        let port = client.register_port("in_1", AudioIn::default()).unwrap();
        cables.push(Cable::new(source, &port.name().unwrap(), "echoing", "quiet"));
        (port, Line::new(parse_taps(taps)))
    });
    let count = voices.len();
    let rate = client.sample_rate();
    let clock_offset = utterd_tests::clock::now_us() as i64 - client.time() as i64;
    let (mut order, orders) = rtrb::RingBuffer::new(64);
    let (news, mut told) = rtrb::RingBuffer::new(256);
    let play = Play {
        out,
        voices,
        echo,
        noise,
        orders,
        news,
        clock_offset,
    };
    let active = client.activate_async((), play).unwrap();
    say(&format!("ready {rate} {}", active.as_client().buffer_size()));
    let lines = read_stdin();
    loop {
        match lines.recv_timeout(Duration::from_millis(2)) {
            Ok(line) => {
                let voice: usize = line.strip_prefix("play ").and_then(|n| n.trim().parse().ok()).expect("play N");
                assert!(voice < count, "there are {count} voices");
                order.push(voice).expect("fewer orders than the ring holds");
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            // Deactivation blocks while a server is wedged.
            Err(mpsc::RecvTimeoutError::Disconnected) => std::process::exit(0),
        }
        cables.iter_mut().for_each(|cable| cable.plug(active.as_client()));
        while let Ok(news) = told.pop() {
            match news {
                News::Playing { voice, frame, us } => say(&format!("playing {voice} {frame} {us}")),
                News::Played { voice } => say(&format!("played {voice}")),
            }
        }
    }
}

fn read(file: &String) -> Vec<f32> {
    let raw = std::fs::read(file).unwrap_or_else(|e| panic!("{file}: {e}"));
    raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn parse_taps(taps: &str) -> Vec<(usize, f32)> {
    let tap = |tap: &str| {
        let (delay, gain) = tap.split_once(':').expect("FRAMES:GAIN");
        (delay.parse().unwrap(), gain.parse().unwrap())
    };
    taps.split(',').map(tap).collect()
}

fn read_stdin() -> mpsc::Receiver<String> {
    let (lines, orders) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(std::io::stdin()).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    orders
}

/// A connection that is made whenever both ends are there.
struct Cable {
    from: String,
    to: String,
    is_plugged: bool,
    words: (&'static str, &'static str),
}

impl Cable {
    fn new(from: &str, to: &str, plugged: &'static str, gone: &'static str) -> Cable {
        Cable {
            from: from.into(),
            to: to.into(),
            is_plugged: false,
            words: (plugged, gone),
        }
    }

    fn plug(&mut self, client: &Client) {
        let (from, to) = (&self.from, &self.to);
        let there = client.port_by_name(to).is_some();
        let from_there = client.port_by_name(from);
        let plugged = there
            && from_there.is_some_and(|from| {
                from.is_connected_to(to).unwrap_or(false)
                    || matches!(
                        client.connect_ports_by_name(&self.from, to),
                        Ok(()) | Err(jack::Error::PortAlreadyConnected(..))
                    )
            });
        if std::mem::replace(&mut self.is_plugged, plugged) != plugged {
            say(if plugged { self.words.0 } else { self.words.1 });
        }
    }
}
