//! The real feeder thread against a renderer and an actor on threads of their own: races that virtual time cannot show.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// Renders 10 ms periods as quickly as the feeder can follow, and keeps the last one in which each value sounded.
fn renderer(mut engine: Renderer, stop: Arc<AtomicBool>, periods: Arc<AtomicU64>) -> thread::JoinHandle<Vec<Vec<f32>>> {
    thread::spawn(move || {
        let mut heard = Vec::new();
        while !stop.load(Ordering::Acquire) {
            let mut out = vec![0.0; 480];
            engine.render(&mut out, now_us());
            heard.push(out);
            periods.store(heard.len() as u64, Ordering::Release);
            thread::sleep(Duration::from_micros(500));
        }
        heard
    })
}

fn value(utterance: u64) -> f32 {
    0.013_37 * (utterance % 53 + 1) as f32 + 0.000_7
}

#[test]
fn cuts_at_any_moment_are_answered_once_and_leave_no_sample() {
    const ROUNDS: u64 = 150;
    let (control, engine) = utterd_rt::engine(RATE);
    let (stop, periods) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let ear = renderer(engine, Arc::clone(&stop), Arc::clone(&periods));
    let (sender, events) = channel();
    let tx = Tx::start(TxConfig::default(), move |event| {
        // The receiver may be gone at the end of the test.
        sender.send(event).ok();
    })
    .unwrap();
    tx.engine(Output::Local, control, RATE, 0);
    tx.open_track(1, Output::Local);
    let mut silent_from = Vec::new();
    let mut answers = vec![0; ROUNDS as usize + 2];
    for id in 1..=ROUNDS {
        tx.play(1, id);
        let mut writer = tx.store(id, Output::Local);
        let worker = thread::spawn(move || {
            writer.begin_piece(RATE, 1.0);
            for _ in 0..400 {
                if writer.write(&[value(id); 480]).is_err() {
                    return;
                }
            }
            writer.finish();
        });
        let wait = (id * 7_919) % 60_000;
        thread::sleep(Duration::from_micros(wait / 4));
        tx.cut(id, 5_000);
        let until = Instant::now() + Duration::from_secs(30);
        while answers[id as usize] == 0 {
            let left = until.saturating_duration_since(Instant::now());
            let event = events.recv_timeout(left).expect("an answer");
            match event {
                TxEvent::Cut { utterance, .. } => answers[utterance as usize] += 1,
                TxEvent::Ended { utterance, .. } => panic!("{utterance} was cut before its end"),
                _ => {}
            }
        }
        // The period that is being rendered now may have begun before the answer.
        silent_from.push((id, periods.load(Ordering::Acquire) as usize + 1));
        worker.join().unwrap();
    }
    stop.store(true, Ordering::Release);
    let heard = ear.join().unwrap();
    tx.shutdown();
    assert!(answers[1..=ROUNDS as usize].iter().all(|n| *n == 1), "{answers:?}");
    for (i, (id, from)) in silent_from.iter().enumerate() {
        // Values repeat after 53 utterances.
        let until = silent_from.get(i + 40).map_or(heard.len(), |(_, period)| *period);
        let until = until.min(heard.len());
        for period in &heard[(*from).min(until)..until] {
            let is_it = |s: &f32| (s - value(*id)).abs() < 1e-6;
            assert!(!period.windows(4).any(|w| w.iter().all(is_it)), "utterance {id}");
        }
    }
}
