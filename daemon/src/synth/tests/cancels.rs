//! Cancels: in the queue, on the way, streaming, delivered; each is told once, and none holds up another backend.

use super::*;

#[test]
fn a_queued_job_that_is_cancelled_is_never_requested() {
    let mut house = House::new();
    let gate = Arc::new(Gate::default());
    let g = Arc::clone(&gate);
    let voice = backend(
        "tts-single",
        false,
        move |req, sink| {
            assert_ne!(req.synthesis, 2);
            g.wait();
            quick(req, sink)
        },
        |id| panic!("{id} needed no cancel"),
    );
    house.synth.submit(job(&voice, 1, 1, "x"));
    house.synth.submit(job(&voice, 2, 2, "x"));
    house.synth.submit(job(&voice, 3, 3, "x"));
    house.synth.cancel(2);
    assert_eq!(house.wait_told(2), (How::NotRequested, Stage::Queued));
    gate.open();
    house.wait_end(3);
    assert_eq!(house.wait_end(2), SynthEvent::Stopped { synthesis: 2 });
    let requested = |e: &SynthEvent| matches!(e, SynthEvent::Requested { synthesis: 2, .. });
    assert!(!house.seen.iter().any(requested));
}

#[test]
fn a_cancel_races_its_request_and_one_of_them_wins() {
    let mut house = House::new();
    let spoken = Arc::new(Mutex::new(HashSet::new()));
    let told = Arc::new(Mutex::new(HashSet::new()));
    let (s, t) = (Arc::clone(&spoken), Arc::clone(&told));
    let voice = backend(
        "tts-race",
        true,
        move |req, sink| {
            s.lock().unwrap().insert(req.synthesis);
            quick(req, sink)
        },
        move |id| {
            assert!(t.lock().unwrap().insert(id), "told twice");
        },
    );
    const ROUNDS: u64 = 3_000;
    for i in 1..=ROUNDS {
        house.synth.submit(job(&voice, i, i, "ab"));
        for _ in 0..(i * 37) % 400 {
            std::hint::spin_loop();
        }
        house.synth.cancel(i);
    }
    for i in 1..=ROUNDS {
        house.wait_told(i);
        house.wait_end(i);
        let events = std::mem::take(&mut house.seen);
        let answer = events
            .iter()
            .filter(|e| matches!(e, SynthEvent::Told { synthesis, .. } if *synthesis == i));
        assert_eq!(answer.count(), 1);
        let ends = events.iter().filter(|e| is_end(e, i));
        assert_eq!(ends.count(), 1);
        let asked = events
            .iter()
            .any(|e| matches!(e, SynthEvent::Requested { synthesis, .. } if *synthesis == i));
        for event in &events {
            if let SynthEvent::Told { synthesis, how, stage, .. } = event
                && *synthesis == i
            {
                match how {
                    How::NotRequested => {
                        assert!(!asked);
                        assert!(!spoken.lock().unwrap().contains(&i));
                        assert!(!told.lock().unwrap().contains(&i));
                    }
                    How::Told => {
                        assert_ne!(*stage, Stage::Queued);
                        assert!(told.lock().unwrap().contains(&i));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        house.seen = events.into_iter().filter(|e| !concerns(e, i)).collect();
    }
}

fn concerns(event: &SynthEvent, id: u64) -> bool {
    match event {
        SynthEvent::Requested { synthesis, .. } | SynthEvent::FirstAudio { synthesis, .. } | SynthEvent::Told { synthesis, .. } => {
            *synthesis == id
        }
        other => is_end(other, id),
    }
}

#[test]
fn a_streaming_one_is_told_once_and_stops() {
    let mut house = House::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let c = Arc::clone(&calls);
    let voice = backend("tts-endless", false, endless, move |_| {
        c.fetch_add(1, Ordering::SeqCst);
    });
    house.synth.submit(job(&voice, 1, 1, "x"));
    house.wait(|e| matches!(e, SynthEvent::FirstAudio { .. }));
    house.synth.cancel(1);
    house.synth.cancel(1);
    assert_eq!(house.wait_end(1), SynthEvent::Stopped { synthesis: 1 });
    house.synth.cancel(1);
    let mut answers = Vec::new();
    while answers.len() < 3 {
        let event = match house.seen.iter().position(|e| matches!(e, SynthEvent::Told { .. })) {
            Some(at) => house.seen.remove(at),
            None => house.events.recv_timeout(PATIENCE).unwrap(),
        };
        if let SynthEvent::Told { how, stage, .. } = event {
            answers.push((how, stage));
        }
    }
    answers.sort_by_key(|(how, _)| *how != How::Told);
    assert_eq!(answers[0], (How::Told, Stage::Streaming));
    assert_eq!(answers[1].0, How::NotNeeded);
    assert_eq!(answers[2].0, How::NotNeeded);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn a_delivered_one_is_told_until_it_is_forgotten() {
    let mut house = House::new();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let c = Arc::clone(&calls);
    let voice = backend("tts-quick", false, quick, move |id| c.lock().unwrap().push(id));
    house.synth.submit(job(&voice, 1, 1, "x"));
    house.synth.submit(job(&voice, 2, 2, "x"));
    house.wait_end(2);
    house.synth.cancel(1);
    assert_eq!(house.wait_told(1), (How::Told, Stage::Delivered));
    house.synth.forget(2);
    house.synth.cancel(2);
    assert_eq!(house.wait_told(2), (How::NotNeeded, Stage::Delivered));
    assert_eq!(*calls.lock().unwrap(), [1]);
}

#[test]
fn a_backend_without_a_way_is_not_told_and_its_audio_is_refused() {
    let mut house = House::new();
    let info = TtsInfo {
        id: "tts-deaf".to_owned(),
        cancel_way: CancelWay::None,
        ..TtsInfo::default()
    };
    let calls = Fake {
        speak: endless,
        cancel: |id| panic!("told of {id}"),
    };
    let voice = Arc::new(TtsBackend::new(info, Box::new(calls)));
    house.synth.submit(job(&voice, 1, 1, "x"));
    house.wait(|e| matches!(e, SynthEvent::FirstAudio { .. }));
    house.synth.cancel(1);
    assert_eq!(house.wait_told(1), (How::Cannot, Stage::Streaming));
    assert_eq!(house.wait_end(1), SynthEvent::Stopped { synthesis: 1 });
}

#[test]
fn a_writer_that_waits_for_room_is_let_go_by_a_cancel() {
    let mut house = House::new();
    let voice = backend(
        "tts-far-ahead",
        true,
        |_, sink| {
            while sink.write(RATE, &[0.5; 48_000]) {}
            Ok(SpeakEnd::Cancelled)
        },
        |_| {},
    );
    house.synth.submit(job(&voice, 1, 1, "x"));
    house.wait(|e| matches!(e, SynthEvent::FirstAudio { .. }));
    let stored = house.tx.store(1, Output::Local);
    while stored.ahead_us() < 5_000_000 {
        std::thread::yield_now();
    }
    house.synth.cancel(1);
    assert_eq!(house.wait_end(1), SynthEvent::Stopped { synthesis: 1 });
}

#[test]
fn a_cut_store_stops_its_backend_and_what_waits_is_never_requested() {
    let mut house = House::new();
    let voice = backend("tts-endless", true, endless, |_| {});
    house.synth.submit(Job {
        last: false,
        ..job(&voice, 1, 1, "x")
    });
    house.synth.submit(job(&voice, 2, 1, "y"));
    house.wait(|e| matches!(e, SynthEvent::FirstAudio { .. }));
    house.tx.cut(1, 5_000);
    assert_eq!(house.wait_end(1), SynthEvent::Stopped { synthesis: 1 });
    assert_eq!(house.wait_end(2), SynthEvent::Stopped { synthesis: 2 });
    let requested = |e: &SynthEvent| matches!(e, SynthEvent::Requested { synthesis: 2, .. });
    assert!(!house.seen.iter().any(requested));
}

#[test]
fn a_slow_cancel_of_one_backend_delays_no_other() {
    let mut house = House::new();
    let gate = Arc::new(Gate::default());
    let g = Arc::clone(&gate);
    let slow = backend("tts-slow", false, endless, move |_| g.wait());
    let good = backend("tts-good", false, endless, |_| {});
    house.synth.submit(job(&slow, 1, 1, "x"));
    house.synth.submit(job(&good, 2, 2, "x"));
    let first = |id: u64| move |e: &SynthEvent| matches!(e, SynthEvent::FirstAudio { synthesis, .. } if *synthesis == id);
    house.wait(first(1));
    house.wait(first(2));
    house.synth.cancel(1);
    house.synth.cancel(2);
    assert_eq!(house.wait_told(2), (How::Told, Stage::Streaming));
    house.wait_end(1);
    let told = |e: &SynthEvent| matches!(e, SynthEvent::Told { synthesis: 1, .. });
    assert!(!house.seen.iter().any(told));
    gate.open();
    assert_eq!(house.wait_told(1), (How::Told, Stage::Streaming));
}
