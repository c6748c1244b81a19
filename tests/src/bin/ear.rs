//! The ear: a JACK client that writes down what one port plays, every sample of it, with the frame and the time of each period.
//!
//! It is a program of its own because the server it meets is chosen by an environment variable, which belongs to a whole process.
//! `ear PREFIX SOURCE [CLIENT]` records SOURCE (say `utterd:out_1`), whenever it exists, to `PREFIX.f32` (raw mono) and `PREFIX.idx`
//! (one record of 40 bytes a period: frame u64, JACK's time of the cycle as CLOCK_MONOTONIC us u64, that clock when the callback ran u64,
//! offset into the samples u64, frames u32, flags u32 with bit 0 = an xrun was reported since the period before, bit 1 = connected).
//! On standard output it says, one word first, what happens: `ready RATE PERIOD`, `connected`, `disconnected`, `xrun N`, `lost N`
//! (its own disk was too slow), `shutdown REASON`. It ends when its standard input ends. The harness drives it (`utterd_tests::ear`).
//!
//! The callback copies into rings and does nothing else.
#![allow(clippy::unwrap_used)] // A helper of tests: its failure is the test's failure.

use jack::{AudioIn, Client, ClientStatus, Control, Port, ProcessScope};
use std::io::{BufWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use utterd_tests::helper::{open, say};

#[derive(Clone, Copy)]
struct Period {
    frame: u64,
    us: u64,
    callback_us: u64,
    len: u32,
    flags: u32,
}

#[derive(Default)]
struct Shared {
    xruns: AtomicU64,
    lost: AtomicU64,
    connected: AtomicBool,
    shutdown: AtomicBool,
}

struct Record {
    port: Port<AudioIn>,
    samples: rtrb::Producer<f32>,
    periods: rtrb::Producer<Period>,
    shared: Arc<Shared>,
    clock_offset: i64,
    frame: u64,
    started: bool,
    xruns: u64,
}

impl jack::ProcessHandler for Record {
    fn process(&mut self, _: &Client, scope: &ProcessScope) -> Control {
        let heard = self.port.as_slice(scope);
        let short = scope.last_frame_time();
        // JACK counts frames in 32 bits, a day at 48 kHz; the difference to the period before is exact across the wrap.
        self.frame = if self.started {
            self.frame.wrapping_add(u64::from(short.wrapping_sub(self.frame as u32)))
        } else {
            u64::from(short)
        };
        self.started = true;
        let us = scope.cycle_times().map(|t| t.current_usecs).unwrap_or(0) as i64 + self.clock_offset;
        let xruns = self.shared.xruns.load(Ordering::Relaxed);
        let flags = u32::from(xruns != self.xruns) | u32::from(self.shared.connected.load(Ordering::Relaxed)) << 1;
        self.xruns = xruns;
        if self.samples.slots() < heard.len() || self.periods.slots() == 0 {
            self.shared.lost.fetch_add(heard.len() as u64, Ordering::Relaxed);
            return Control::Continue;
        }
        if let Ok(chunk) = self.samples.write_chunk_uninit(heard.len()) {
            chunk.fill_from_iter(heard.iter().copied());
        }
        let full = self
            .periods
            .push(Period {
                frame: self.frame,
                us: us as u64,
                callback_us: utterd_tests::clock::now_us(),
                len: heard.len() as u32,
                flags,
            })
            .is_err();
        debug_assert!(!full);
        Control::Continue
    }
}

enum News {
    Port,
    Connection,
    Xrun,
    Shutdown(String),
    Stop,
}

struct Notify {
    news: mpsc::Sender<News>,
    shared: Arc<Shared>,
}

impl Notify {
    fn tell(&self, news: News) {
        if self.news.send(news).is_err() {
            self.shared.shutdown.store(true, Ordering::Relaxed); // The main thread is gone already.
        }
    }
}

impl jack::NotificationHandler for Notify {
    // SAFETY: only an atomic and a channel are touched; JACK asks for no more than signal-safe work here, and its own libraries
    // call this from an ordinary thread.
    unsafe fn shutdown(&mut self, _: ClientStatus, reason: &str) {
        self.shared.shutdown.store(true, Ordering::Relaxed);
        self.tell(News::Shutdown(reason.to_owned()));
    }

    fn port_registration(&mut self, _: &Client, _: jack::PortId, is_registered: bool) {
        if is_registered {
            self.tell(News::Port);
        }
    }

    fn ports_connected(&mut self, _: &Client, _: jack::PortId, _: jack::PortId, _: bool) {
        self.tell(News::Connection);
    }

    fn xrun(&mut self, _: &Client) -> Control {
        self.shared.xruns.fetch_add(1, Ordering::Relaxed);
        self.tell(News::Xrun);
        Control::Continue
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(prefix), Some(source)) = (args.next(), args.next()) else {
        eprintln!("usage: ear PREFIX SOURCE [CLIENT]");
        std::process::exit(2);
    };
    let name = args.next().unwrap_or_else(|| "ear".into());
    let client = open(&name, Duration::from_secs(20));
    let port = client.register_port("in_1", AudioIn::default()).unwrap();
    let sink = port.name().unwrap();
    let rate = client.sample_rate();
    let (samples, mut samples_out) = rtrb::RingBuffer::new(rate as usize * 10);
    let (periods, mut periods_out) = rtrb::RingBuffer::new(16_384);
    let shared = Arc::new(Shared::default());
    let (news, inbox) = mpsc::channel();
    read_stdin(news.clone());
    // JACK's clock is CLOCK_MONOTONIC on some systems and MONOTONIC_RAW or the HPET on others.
    let clock_offset = utterd_tests::clock::now_us() as i64 - client.time() as i64;
    let record = Record {
        port,
        samples,
        periods,
        shared: shared.clone(),
        clock_offset,
        frame: 0,
        started: false,
        xruns: 0,
    };
    let active = client
        .activate_async(
            Notify {
                news,
                shared: shared.clone(),
            },
            record,
        )
        .unwrap();
    say(&format!("ready {rate} {}", active.as_client().buffer_size()));

    let mut raw = BufWriter::new(std::fs::File::create(format!("{prefix}.f32")).unwrap());
    let mut index = BufWriter::new(std::fs::File::create(format!("{prefix}.idx")).unwrap());
    let mut offset = 0u64;
    let mut lost = 0;
    let mut xruns = 0;
    loop {
        let news = inbox.recv_timeout(Duration::from_millis(5));
        drain(&mut samples_out, &mut periods_out, &mut raw, &mut index, &mut offset);
        let gone = shared.shutdown.load(Ordering::Relaxed);
        if !gone {
            listen(active.as_client(), &source, &sink, &shared);
        }
        let lost_now = shared.lost.load(Ordering::Relaxed);
        if lost_now != lost {
            lost = lost_now;
            say(&format!("lost {lost}"));
        }
        match news {
            Ok(News::Xrun) => {
                xruns += 1;
                say(&format!("xrun {xruns}"));
            }
            Ok(News::Shutdown(reason)) => say(&format!("shutdown {reason}")),
            Ok(News::Stop) => break,
            _ => {}
        }
    }
    drain(&mut samples_out, &mut periods_out, &mut raw, &mut index, &mut offset);
    say("stopped");
    // Deactivation blocks while a server is wedged, and a client of a dead server has nothing to take leave of.
    std::process::exit(0);
}

/// Connects to the source whenever it is there and not connected yet.
fn listen(client: &Client, source: &str, sink: &str, shared: &Shared) {
    let connected = client
        .port_by_name(source)
        .is_some_and(|port| port.is_connected_to(sink).unwrap_or(false));
    let connected = connected
        || client.port_by_name(source).is_some()
            && match client.connect_ports_by_name(source, sink) {
                Ok(()) | Err(jack::Error::PortAlreadyConnected(..)) => true,
                Err(_) => false, // Its client is not active yet; the next round asks again.
            };
    if shared.connected.swap(connected, Ordering::Relaxed) != connected {
        say(if connected { "connected" } else { "disconnected" });
    }
}

fn drain(
    samples: &mut rtrb::Consumer<f32>,
    periods: &mut rtrb::Consumer<Period>,
    raw: &mut impl Write,
    index: &mut impl Write,
    offset: &mut u64,
) {
    while let Ok(period) = periods.pop() {
        let chunk = samples
            .read_chunk(period.len as usize)
            .expect("samples are pushed before their period");
        for sample in chunk {
            raw.write_all(&sample.to_le_bytes()).unwrap();
        }
        index.write_all(&period.frame.to_le_bytes()).unwrap();
        index.write_all(&period.us.to_le_bytes()).unwrap();
        index.write_all(&period.callback_us.to_le_bytes()).unwrap();
        index.write_all(&offset.to_le_bytes()).unwrap();
        index.write_all(&period.len.to_le_bytes()).unwrap();
        index.write_all(&period.flags.to_le_bytes()).unwrap();
        *offset += u64::from(period.len);
    }
    // The samples first: a reader who finds a period in the index finds its samples.
    raw.flush().unwrap();
    index.flush().unwrap();
}

fn read_stdin(news: mpsc::Sender<News>) {
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let end = std::io::stdin().read_to_end(&mut rest);
        drop(end);
        if news.send(News::Stop).is_err() {
            std::process::exit(0);
        }
    });
}
