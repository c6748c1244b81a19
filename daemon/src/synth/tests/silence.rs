//! Backends that fall silent, fail before their first sample, or never come back.

use super::*;

const MS: u64 = 1_000;

fn patient(backend: &Arc<TtsBackend>, synthesis: u64, utterance: u64, text: &str) -> Job {
    Job {
        first_audio_us: 150 * MS,
        stall_us: 150 * MS,
        ..job(backend, synthesis, utterance, text)
    }
}

fn given_up(event: &SynthEvent) -> (u64, How) {
    match event {
        SynthEvent::Failed {
            audio_us,
            told: Some(how),
            error: SynthError::Unavailable { .. },
            ..
        } => (*audio_us, *how),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_silent_one_is_given_up_and_told_and_another_speaks_to_the_same_store() {
    let gate = Arc::new(Gate::default());
    let told = Arc::new(AtomicUsize::new(0));
    let (shut, count) = (Arc::clone(&gate), Arc::clone(&told));
    let late = Arc::new(AtomicBool::new(true));
    let taken = Arc::clone(&late);
    let silent = backend(
        "silent",
        true,
        move |_, sink| {
            sink.mark(MarkKind::Word, 0, 0, 1, "");
            shut.wait();
            taken.store(sink.write(RATE, &[0.9; 4800]), Ordering::Release);
            Ok(SpeakEnd::Complete)
        },
        move |_| {
            count.fetch_add(1, Ordering::AcqRel);
        },
    );
    let other = backend("other", true, quick, |_| {});
    let mut house = House::new();
    house.synth.submit(Job {
        retry: true,
        ..patient(&silent, 1, 7, "abc")
    });
    let failed = house.wait_end(1);
    assert_eq!(given_up(&failed), (0, How::Told));
    // No piece follows, said before it was known that one failed: the store waits all the same.
    house.synth.finish(7);
    house.synth.submit(patient(&other, 2, 7, "abc"));
    assert!(matches!(house.wait_end(2), SynthEvent::Delivered { audio_us: 30_000, .. }));
    gate.open();
    let until = Instant::now() + PATIENCE;
    while late.load(Ordering::Acquire) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!late.load(Ordering::Acquire), "late audio is refused");
    assert_eq!(told.load(Ordering::Acquire), 1);
    let store = house.tx.store(7, Output::Local);
    assert_eq!(store.total_us(), 30_000, "nothing of it was stored");
    house.synth.cancel(1);
    assert_eq!(house.wait_told(1), (How::NotNeeded, Stage::Requested), "told once");
    assert_eq!(told.load(Ordering::Acquire), 1);
}

#[test]
fn a_first_sample_and_the_end_of_patience_never_both_win() {
    let mut house = House::new();
    for n in 1..=40u64 {
        let pause = Duration::from_micros(40_000 + n * 500);
        let slow = backend(
            &format!("slow-{n}"),
            true,
            move |_, sink| {
                std::thread::sleep(pause);
                sink.write(RATE, &[0.5; 480]);
                Ok(SpeakEnd::Complete)
            },
            |_| {},
        );
        house.synth.submit(Job {
            first_audio_us: 50 * MS,
            retry: true,
            ..job(&slow, n, n, "a")
        });
    }
    for n in 1..=40u64 {
        let end = house.wait_end(n);
        let heard = house
            .seen
            .iter()
            .any(|e| matches!(e, SynthEvent::FirstAudio { synthesis, .. } if *synthesis == n));
        let stored = house.tx.store(n, Output::Local).total_us();
        match end {
            SynthEvent::Delivered { .. } => assert!(heard && stored == 10_000),
            SynthEvent::Failed { .. } => assert!(!heard && stored == 0, "{n}: heard {heard}, stored {stored}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn one_that_stalls_is_given_up_with_what_it_brought_and_its_store_is_complete() {
    let gate = Arc::new(Gate::default());
    let shut = Arc::clone(&gate);
    let stalls = backend(
        "stalls",
        true,
        move |_, sink| {
            sink.write(RATE, &[0.5; 4800]);
            shut.wait();
            sink.write(RATE, &[0.5; 4800]);
            Ok(SpeakEnd::Complete)
        },
        |_| {},
    );
    let mut house = House::new();
    house.synth.submit(Job {
        retry: true,
        ..patient(&stalls, 1, 7, "abc")
    });
    let failed = house.wait_end(1);
    assert_eq!(given_up(&failed), (100_000, How::Told));
    let next = backend("next", true, quick, |_| {});
    house.synth.submit(patient(&next, 2, 7, "abc"));
    assert!(
        matches!(house.wait_end(2), SynthEvent::Stopped { .. }),
        "after its first audio nobody repeats it"
    );
    gate.open();
}

#[test]
fn waiting_for_room_is_not_silence() {
    let ample = backend(
        "ample",
        true,
        |_, sink| {
            // Eight seconds, of which five fit.
            for _ in 0..80 {
                if !sink.write(RATE, &[0.5; 4800]) {
                    return Ok(SpeakEnd::Cancelled);
                }
            }
            Ok(SpeakEnd::Complete)
        },
        |_| {},
    );
    let mut house = House::new();
    house.synth.submit(patient(&ample, 1, 7, "abc"));
    house.wait(|e| matches!(e, SynthEvent::FirstAudio { .. }));
    std::thread::sleep(Duration::from_millis(600));
    house.synth.cancel(1);
    assert!(matches!(house.wait_end(1), SynthEvent::Stopped { .. }));
}

#[test]
fn one_that_fails_before_its_first_sample_leaves_neither_marks_nor_an_end() {
    let fails = backend(
        "fails",
        false,
        |_, sink| {
            sink.mark(MarkKind::Word, 0, 0, 1, "");
            Err(SynthError::Unavailable {
                retry_after_ms: 0,
                message: "busy".to_owned(),
            })
        },
        |_| {},
    );
    let good = backend("good", true, quick, |_| {});
    let mut house = House::new();
    for (n, fallback) in [(1, true), (2, true)] {
        house.synth.submit(Job {
            retry: fallback,
            ..patient(&fails, n, 7, "ab")
        });
        assert!(matches!(
            house.wait_end(n),
            SynthEvent::Failed {
                audio_us: 0,
                told: None,
                ..
            }
        ));
    }
    house.synth.submit(patient(&good, 3, 7, "ab"));
    assert!(matches!(house.wait_end(3), SynthEvent::Delivered { audio_us: 20_000, .. }));
}

#[test]
fn when_nobody_speaks_the_rest_the_store_ends_with_what_is_there() {
    let good = backend("good", true, quick, |_| {});
    let fails = backend("fails", true, |_, _| Err(SynthError::Backend { message: "no".into() }), |_| {});
    let mut house = House::new();
    house.synth.submit(Job {
        last: false,
        ..patient(&good, 1, 7, "ab")
    });
    house.wait_end(1);
    house.synth.submit(Job {
        retry: true,
        ..patient(&fails, 2, 7, "cd")
    });
    house.wait_end(2);
    house.synth.end(7);
    house.synth.submit(patient(&good, 3, 7, "cd"));
    assert!(matches!(house.wait_end(3), SynthEvent::Stopped { .. }));
}

#[test]
fn what_waits_for_a_worker_that_does_not_come_back_fails_too() {
    let gate = Arc::new(Gate::default());
    let shut = Arc::clone(&gate);
    let hangs = backend(
        "hangs",
        false,
        move |req, sink| {
            shut.wait();
            quick(req, sink)
        },
        |_| {},
    );
    let mut house = House::new();
    house.synth.submit(patient(&hangs, 1, 1, "a"));
    house.synth.submit(patient(&hangs, 2, 2, "b"));
    assert_eq!(given_up(&house.wait_end(1)).1, How::Told);
    let second = house.wait_end(2);
    assert!(
        matches!(&second, SynthEvent::Failed { error, told: None, .. } if error.message().contains("does not come back")),
        "{second:?}"
    );
    gate.open();
    // Back again: it works as before.
    let until = Instant::now() + PATIENCE;
    let mut n = 3;
    loop {
        house.synth.submit(patient(&hangs, n, n, "c"));
        match house.wait_end(n) {
            SynthEvent::Delivered { .. } => break,
            other => assert!(Instant::now() < until, "{other:?}"),
        }
        n += 1;
    }
}
