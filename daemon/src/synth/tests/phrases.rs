//! What was spoken once is spoken again without its backend.

use super::*;

/// Counts its requests, and marks each character.
fn counting(id: &str, concurrent: bool) -> (Arc<TtsBackend>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let speak = move |req: &SpeakRequest<'_>, sink: &dyn SpeakSink| {
        count.fetch_add(1, Ordering::AcqRel);
        for n in 0..req.text.len() as u32 {
            sink.mark(MarkKind::Word, u64::from(n) * 480, n, 1, "");
        }
        quick(req, sink)
    };
    (backend(id, concurrent, speak, |_| {}), asked)
}

fn kept(backend: &Arc<TtsBackend>, synthesis: u64, text: &str) -> Job {
    Job {
        cache: CacheUse::Auto,
        ..job(backend, synthesis, synthesis, text)
    }
}

fn house() -> House {
    let house = House::new();
    house.synth.set_cache(1 << 20);
    house
}

fn cached(house: &House, id: u64) -> bool {
    let is = |e: &SynthEvent| matches!(e, SynthEvent::Cached { synthesis } if *synthesis == id);
    house.seen.iter().any(is)
}

fn requested(house: &House, id: u64) -> bool {
    let is = |e: &SynthEvent| matches!(e, SynthEvent::Requested { synthesis, .. } if *synthesis == id);
    house.seen.iter().any(is)
}

#[test]
fn the_second_time_nobody_is_asked_and_the_audio_is_the_same() {
    let mut house = house();
    let (b, asked) = counting("b", false);
    house.synth.submit(kept(&b, 1, "abc"));
    house.wait_end(1);
    house.synth.submit(kept(&b, 2, "abc"));
    assert!(matches!(house.wait_end(2), SynthEvent::Delivered { audio_us: 30_000, .. }));
    assert!(cached(&house, 2) && !requested(&house, 2) && requested(&house, 1));
    assert_eq!(asked.load(Ordering::Acquire), 1);
    assert_eq!(house.tx.store(2, Output::Local).total_us(), 30_000);
    // Gain is none of the key: it is applied to what was kept.
    house.synth.submit(Job {
        gain_db: -6.0,
        ..kept(&b, 3, "abc")
    });
    house.wait_end(3);
    assert!(cached(&house, 3));
}

#[test]
fn what_is_asked_otherwise_is_asked() {
    let mut house = house();
    let (b, asked) = counting("b", true);
    let (other, _) = counting("other", true);
    house.synth.submit(kept(&b, 1, "abc"));
    house.wait_end(1);
    let jobs = [
        kept(&b, 2, "abd"),
        Job {
            voice: "v".into(),
            ..kept(&b, 3, "abc")
        },
        Job {
            rate: 1.5,
            ..kept(&b, 4, "abc")
        },
        Job {
            params_json: "{\"style\":1}".into(),
            ..kept(&b, 5, "abc")
        },
        Job {
            last: false,
            ..kept(&b, 6, "abc")
        },
        Job {
            cache: CacheUse::No,
            ..kept(&b, 7, "abc")
        },
        kept(&other, 8, "abc"),
    ];
    for job in jobs {
        let id = job.synthesis;
        house.synth.submit(job);
        house.wait_end(id);
        assert!(requested(&house, id), "{id}");
    }
    assert_eq!(asked.load(Ordering::Acquire), 7);
}

#[test]
fn what_was_cancelled_or_failed_is_not_kept() {
    let mut house = house();
    let endless = backend("endless", true, endless, |_| {});
    house.synth.submit(kept(&endless, 1, "a"));
    house.wait(|e| matches!(e, SynthEvent::FirstAudio { .. }));
    house.synth.cancel(1);
    house.wait_end(1);
    let fails = backend(
        "fails",
        true,
        |req, sink| {
            quick(req, sink)?;
            Err(SynthError::Backend { message: "no".into() })
        },
        |_| {},
    );
    house.synth.submit(kept(&fails, 2, "a"));
    house.wait_end(2);
    assert_eq!(house.synth.cache_level().phrases, 0);
}

#[test]
fn a_cancel_of_a_cached_one_has_nobody_to_tell() {
    let mut house = house();
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let b = backend("b", true, quick, move |_| {
        count.fetch_add(1, Ordering::AcqRel);
    });
    house.synth.submit(kept(&b, 1, "abc"));
    house.wait_end(1);
    house.synth.submit(kept(&b, 2, "abc"));
    house.wait_end(2);
    house.synth.cancel(2);
    assert_eq!(house.wait_told(2), (How::NotNeeded, Stage::Cached));
    assert_eq!(told.load(Ordering::Acquire), 0);
}

#[test]
fn a_phrase_waits_for_no_backend() {
    let mut house = house();
    let gate = Arc::new(Gate::default());
    let shut = Arc::clone(&gate);
    let b = backend(
        "b",
        false,
        move |req, sink| {
            if req.text == "long" {
                shut.wait();
            }
            quick(req, sink)
        },
        |_| {},
    );
    house.synth.submit(kept(&b, 1, "abc"));
    house.wait_end(1);
    house.synth.submit(kept(&b, 2, "long"));
    house.synth.submit(kept(&b, 3, "abc"));
    assert!(matches!(house.wait_end(3), SynthEvent::Delivered { .. }));
    gate.open();
}

#[test]
fn a_primed_phrase_is_there_before_anybody_asks_and_one_without_room_is_told() {
    let mut house = house();
    let (b, asked) = counting("b", false);
    house.synth.prime(kept(&b, 1, "welcome"));
    assert!(matches!(house.wait_end(1), SynthEvent::Delivered { .. }));
    house.synth.submit(kept(&b, 2, "welcome"));
    house.wait_end(2);
    assert!(cached(&house, 2));
    assert_eq!(asked.load(Ordering::Acquire), 1);
    house.synth.set_cache(house.synth.cache_level().bytes + 1_000);
    house.synth.prime(kept(&b, 3, "another"));
    house.wait(|e| matches!(e, SynthEvent::CacheFull { synthesis: 3 }));
    let fails = backend("fails", true, |_, _| panic!("no"), |_| {});
    house.synth.prime(kept(&fails, 4, "x"));
    assert!(matches!(house.wait_end(4), SynthEvent::Failed { .. }));
}
