//! The workers with backends that are slow, failing, panicking or quick, on a real Tx whose feeder nobody needs.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

mod cancels;
mod phrases;
mod silence;

use super::*;
use crate::plugins::{CancelWay, MarkKind, SpeakEnd, SpeakRequest, SpeakSink, TtsCalls, TtsInfo};
use crate::tx::{TxConfig, TxEvent};

const RATE: u32 = 48_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// A backend whose every call is a closure.
struct Fake<S, C> {
    speak: S,
    cancel: C,
}

impl<S, C> TtsCalls for Fake<S, C>
where
    S: Fn(&SpeakRequest<'_>, &dyn SpeakSink) -> Result<SpeakEnd, SynthError> + Send + Sync,
    C: Fn(u64) + Send + Sync,
{
    fn speak(&self, req: &SpeakRequest<'_>, sink: &dyn SpeakSink) -> Result<SpeakEnd, SynthError> {
        (self.speak)(req, sink)
    }

    fn cancel(&self, synthesis: u64, _reason: u32) {
        (self.cancel)(synthesis);
    }
}

fn backend<S, C>(id: &str, concurrent: bool, speak: S, cancel: C) -> Arc<TtsBackend>
where
    S: Fn(&SpeakRequest<'_>, &dyn SpeakSink) -> Result<SpeakEnd, SynthError> + Send + Sync + 'static,
    C: Fn(u64) + Send + Sync + 'static,
{
    let info = TtsInfo {
        id: id.to_owned(),
        concurrent,
        cancel_way: CancelWay::Verb,
        ..TtsInfo::default()
    };
    Arc::new(TtsBackend::new(info, Box::new(Fake { speak, cancel })))
}

/// Says 10 ms a character.
fn quick(req: &SpeakRequest<'_>, sink: &dyn SpeakSink) -> Result<SpeakEnd, SynthError> {
    for _ in req.text.chars() {
        if !sink.write(RATE, &[0.5; 480]) {
            return Ok(SpeakEnd::Cancelled);
        }
    }
    Ok(SpeakEnd::Complete)
}

/// Speaks until it is cancelled.
fn endless(_: &SpeakRequest<'_>, sink: &dyn SpeakSink) -> Result<SpeakEnd, SynthError> {
    while !sink.cancelled() {
        if !sink.write(RATE, &[0.5; 48]) {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(SpeakEnd::Cancelled)
}

/// A door that stays shut until opened.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        let shut = self.0.lock().unwrap();
        drop(self.1.wait_while(shut, |open| !*open).unwrap());
    }
}

struct House {
    tx: Tx,
    synth: Synth,
    events: Receiver<SynthEvent>,
    seen: Vec<SynthEvent>,
}

impl House {
    fn new() -> House {
        let tx = Tx::start(TxConfig::default(), |_: TxEvent| {}).unwrap();
        let (sender, events) = channel();
        let synth = Synth::start(tx.clone(), move |event| drop(sender.send(event))).unwrap();
        House {
            tx,
            synth,
            events,
            seen: Vec::new(),
        }
    }

    /// Waits for the first event that `is` it, old ones included.
    fn wait(&mut self, is: impl Fn(&SynthEvent) -> bool) -> SynthEvent {
        if let Some(event) = self.seen.iter().find(|e| is(e)) {
            return event.clone();
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else {
                panic!("it never came; seen: {:?}", self.seen);
            };
            self.seen.push(event.clone());
            if is(&event) {
                return event;
            }
        }
    }

    fn wait_end(&mut self, synthesis: u64) -> SynthEvent {
        self.wait(|e| is_end(e, synthesis))
    }

    fn wait_told(&mut self, id: u64) -> (How, Stage) {
        let told = self.wait(|e| matches!(e, SynthEvent::Told { synthesis, .. } if *synthesis == id));
        match told {
            SynthEvent::Told { how, stage, .. } => (how, stage),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.synth.shutdown(Duration::from_secs(5));
        self.tx.shutdown();
    }
}

fn is_end(event: &SynthEvent, id: u64) -> bool {
    match event {
        SynthEvent::Delivered { synthesis, .. } | SynthEvent::Failed { synthesis, .. } | SynthEvent::Stopped { synthesis } => {
            *synthesis == id
        }
        _ => false,
    }
}

fn job(backend: &Arc<TtsBackend>, synthesis: u64, utterance: u64, text: &str) -> Job {
    Job {
        open: false,
        synthesis,
        utterance,
        session: 1,
        backend: Arc::clone(backend),
        output: Output::Local,
        voice: String::new(),
        language: String::new(),
        rate: 1.0,
        pitch: 1.0,
        gain_db: 0.0,
        text: text.to_owned(),
        char_base: 0,
        params_json: String::new(),
        retry: false,
        first_audio_us: 0,
        stall_us: 0,
        cache: CacheUse::No,
        first: true,
        last: true,
    }
}

#[test]
fn a_job_is_requested_streams_and_is_delivered() {
    let mut house = House::new();
    let voice = backend("tts-quick", false, quick, |_| {});
    house.synth.submit(job(&voice, 5, 50, "hello"));
    let end = house.wait_end(5);
    assert!(
        matches!(
            end,
            SynthEvent::Delivered {
                audio_us: 50_000,
                ahead_us: 50_000,
                ..
            }
        ),
        "{end:?}"
    );
    let kinds: Vec<_> = house
        .seen
        .iter()
        .map(|e| match e {
            SynthEvent::Requested { .. } => "requested",
            SynthEvent::FirstAudio { .. } => "first",
            SynthEvent::Delivered { .. } => "delivered",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["requested", "first", "delivered"]);
}

#[test]
fn pieces_of_an_utterance_come_one_after_the_other_even_from_a_concurrent_backend() {
    let mut house = House::new();
    let running = Arc::new(AtomicUsize::new(0));
    let order = Arc::new(Mutex::new(Vec::new()));
    let (r, o) = (Arc::clone(&running), Arc::clone(&order));
    let voice = backend(
        "tts-pool",
        true,
        move |req, sink| {
            assert_eq!(r.fetch_add(1, Ordering::SeqCst), 0);
            o.lock().unwrap().push(req.synthesis);
            std::thread::sleep(Duration::from_millis(2));
            let end = quick(req, sink);
            r.fetch_sub(1, Ordering::SeqCst);
            end
        },
        |_| {},
    );
    for i in 1..=10 {
        let piece = Job {
            first: i == 1,
            last: i == 10,
            ..job(&voice, i, 7, "ab")
        };
        house.synth.submit(piece);
    }
    house.wait_end(10);
    assert_eq!(*order.lock().unwrap(), (1..=10).collect::<Vec<_>>());
    let all = house.seen.iter().filter(|e| matches!(e, SynthEvent::Delivered { .. }));
    assert_eq!(all.count(), 10);
    assert_eq!(house.tx.store(7, Output::Local).total_us(), 200_000);
}

#[test]
fn a_backend_that_is_not_concurrent_works_in_order_of_submission() {
    let mut house = House::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let gate = Arc::new(Gate::default());
    let (o, g) = (Arc::clone(&order), Arc::clone(&gate));
    let voice = backend(
        "tts-single",
        false,
        move |req, sink| {
            g.wait();
            o.lock().unwrap().push(req.synthesis);
            quick(req, sink)
        },
        |_| {},
    );
    // Utterances 1 and 2, interleaved: 1a 1b 2a 1c 2b.
    for (synthesis, utterance, last) in [(1, 1, false), (2, 1, false), (3, 2, false), (4, 1, true), (5, 2, true)] {
        let piece = Job {
            last,
            ..job(&voice, synthesis, utterance, "x")
        };
        house.synth.submit(piece);
    }
    gate.open();
    for synthesis in 1..=5 {
        house.wait_end(synthesis);
    }
    assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4, 5]);
}

#[test]
fn a_concurrent_backend_runs_as_many_as_it_may() {
    let mut house = House::new();
    let gate = Arc::new(Gate::default());
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (g, n, m) = (Arc::clone(&gate), Arc::clone(&now), Arc::clone(&most));
    let voice = backend(
        "tts-pool",
        true,
        move |req, sink| {
            m.fetch_max(n.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            g.wait();
            n.fetch_sub(1, Ordering::SeqCst);
            quick(req, sink)
        },
        |_| {},
    );
    house.synth.set_max_concurrent("tts-pool", 3);
    for i in 1..=9 {
        house.synth.submit(job(&voice, i, i, "x"));
    }
    for _ in 0..3 {
        while most.load(Ordering::SeqCst) < 3 {
            std::thread::yield_now();
        }
    }
    gate.open();
    for i in 1..=9 {
        house.wait_end(i);
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[test]
fn slow_failing_and_panicking_backends_harm_no_other() {
    let mut house = House::new();
    let gate = Arc::new(Gate::default());
    let g = Arc::clone(&gate);
    let (asked, is_asked) = channel();
    let stuck = backend(
        "tts-stuck",
        false,
        move |_, _| {
            asked.send(()).ok();
            g.wait();
            Ok(SpeakEnd::Complete)
        },
        |_| {},
    );
    let failing = backend(
        "tts-failing",
        false,
        |_, sink| {
            sink.write(RATE, &[0.5; 480]);
            Err(SynthError::Backend { message: "no".to_owned() })
        },
        |_| {},
    );
    let panicking = backend("tts-panicking", false, |_, _| panic!("boom"), |_| panic!("bang"));
    let good = backend("tts-good", false, quick, |_| {});
    house.synth.submit(job(&stuck, 1, 1, "x"));
    house.synth.submit(Job {
        last: false,
        ..job(&failing, 2, 2, "x")
    });
    house.synth.submit(job(&failing, 3, 2, "x"));
    for i in 0..5 {
        house.synth.submit(job(&panicking, 10 + i, 10 + i, "x"));
        house.synth.submit(job(&good, 20 + i, 20 + i, "hello"));
    }
    for i in 0..5 {
        let good = house.wait_end(20 + i);
        assert!(matches!(good, SynthEvent::Delivered { audio_us: 50_000, .. }));
        let bad = house.wait_end(10 + i);
        let boom = SynthError::Panicked {
            message: "boom".to_owned(),
        };
        assert_eq!(
            bad,
            SynthEvent::Failed {
                synthesis: 10 + i,
                error: boom,
                audio_us: 0,
                told: None
            }
        );
    }
    let failed = house.wait_end(2);
    assert!(matches!(failed, SynthEvent::Failed { audio_us: 10_000, .. }), "{failed:?}");
    // The utterance is complete at what there is.
    assert_eq!(house.wait_end(3), SynthEvent::Stopped { synthesis: 3 });
    assert_eq!(house.tx.store(2, Output::Local).total_us(), 10_000);
    is_asked.recv_timeout(PATIENCE).unwrap();
    house.synth.cancel(1);
    assert_eq!(house.wait_told(1), (How::Told, Stage::Requested));
    gate.open();
    assert_eq!(house.wait_end(1), SynthEvent::Stopped { synthesis: 1 });
}

#[test]
fn marks_count_the_code_points_of_the_utterance() {
    let (sender, heard) = channel();
    let tx = Tx::start(TxConfig::default(), move |event| {
        if let TxEvent::Mark { mark, .. } = event {
            // The receiver may be gone at the end of the test.
            sender.send((mark.char_start, mark.char_end, mark.at_us)).ok();
        }
    })
    .unwrap();
    let (control, mut renderer) = utterd_rt::engine(RATE);
    tx.engine(Output::Local, control, RATE, 0);
    tx.open_track(1, Output::Local);
    tx.play(1, 1);
    let synth = Synth::start(tx.clone(), |_| {}).unwrap();
    // Marks come before the first audio, as some backends have it.
    let voice = backend(
        "tts-marks",
        false,
        |req, sink| {
            let second = req.text.find("zwei").unwrap() as u32;
            sink.mark(MarkKind::Word, 0, 0, 4, "");
            sink.mark(MarkKind::Word, 2_205, second, 4, "");
            sink.write(22_050, &[0.5; 4_410]);
            Ok(SpeakEnd::Complete)
        },
        |_| {},
    );
    synth.submit(Job {
        last: false,
        ..job(&voice, 1, 1, "äöü zwei")
    });
    synth.submit(Job {
        char_base: 8,
        ..job(&voice, 2, 1, "€€€ zwei")
    });
    let mut marks = Vec::new();
    let until = Instant::now() + PATIENCE;
    while marks.len() < 4 && Instant::now() < until {
        renderer.render(&mut [0.0; 480], crate::tx::now_us());
        std::thread::sleep(Duration::from_millis(2));
        marks.extend(heard.try_iter());
    }
    // "äöü " is seven bytes; four of them are "äö".
    assert_eq!(marks, [(0, 2, 0), (4, 8, 100_000), (8, 9, 200_000), (12, 16, 300_000)]);
    synth.shutdown(PATIENCE);
    tx.shutdown();
}

#[test]
fn shutdown_withdraws_what_waits_and_stops_what_runs() {
    let mut house = House::new();
    let voice = backend("tts-endless", false, endless, |_| {});
    house.synth.submit(job(&voice, 1, 1, "x"));
    house.synth.submit(job(&voice, 2, 2, "x"));
    house.wait(|e| matches!(e, SynthEvent::FirstAudio { .. }));
    assert!(house.synth.shutdown(PATIENCE));
    assert_eq!(house.wait_end(1), SynthEvent::Stopped { synthesis: 1 });
    assert_eq!(house.wait_end(2), SynthEvent::Stopped { synthesis: 2 });
    house.synth.submit(job(&voice, 3, 3, "x"));
    assert_eq!(house.wait_end(3), SynthEvent::Stopped { synthesis: 3 });
}

#[test]
fn the_eventfd_is_readable_once_cancelled() {
    let mut house = House::new();
    let readable = Arc::new(AtomicBool::new(false));
    let r = Arc::clone(&readable);
    let voice = backend(
        "tts-poll",
        false,
        move |_, sink| {
            sink.write(RATE, &[0.5; 48]);
            let fd = sink.cancel_fd();
            assert!(fd >= 0);
            // Without unsafe code: the same file by its path, polled by reading.
            let own = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
            assert!(own.to_string_lossy().contains("eventfd"));
            while !sink.cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let info = || std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
            let until = Instant::now() + PATIENCE;
            while Instant::now() < until && !r.load(Ordering::SeqCst) {
                r.store(info().contains("eventfd-count:                1"), Ordering::SeqCst);
            }
            Ok(SpeakEnd::Cancelled)
        },
        |_| {},
    );
    house.synth.submit(job(&voice, 1, 1, "x"));
    house.wait(|e| matches!(e, SynthEvent::FirstAudio { .. }));
    house.synth.cancel(1);
    house.wait_end(1);
    assert!(readable.load(Ordering::SeqCst));
}

#[test]
fn an_utterance_without_a_last_piece_is_complete_when_it_is_finished() {
    let mut house = House::new();
    let voice = backend("tts-quick", false, quick, |_| {});
    let open = |synthesis| Job {
        open: true,
        last: false,
        ..job(&voice, synthesis, 50, "hello")
    };
    house.synth.submit(open(1));
    house.wait_end(1);
    house.synth.submit(open(2));
    house.synth.finish(50);
    house.wait_end(2);
    assert_eq!(house.tx.store(50, Output::Local).total_us(), 100_000);
    // Complete: what comes now is not wanted.
    house.synth.submit(open(3));
    let end = house.wait_end(3);
    assert!(matches!(end, SynthEvent::Stopped { .. }), "{end:?}");
    house.synth.finish(51);
}
