//! The two halves on two threads at full speed: what the feeder does is seen by the renderer in the order in which it was done.

use super::*;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::collections::BTreeMap;
use std::thread;

const SPANS: u64 = if cfg!(miri) { 40 } else { 4000 };

#[test]
fn a_renderer_on_another_thread_never_meets_a_sample_or_a_cut_without_its_span() {
    let (mut control, mut renderer) = engine(RATE);
    let spec = LaneSpec {
        ring_frames: 512,
        paused: false,
        gain: 1.0,
    };
    let mut lane = control.add_lane(spec).unwrap();
    let (ready, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut kept = Vec::new();
    let mut answers = BTreeMap::new();
    let mut underruns = 0;
    let heard = thread::scope(|scope| {
        // Renders as soon as a whole period is there, and without end when all was fed: so nothing starves.
        let render = scope.spawn(|| {
            let mut heard: Vec<f32> = Vec::new();
            let mut out = [0.0; 32];
            let stats = renderer.stats();
            let mut after = 0;
            while after < 64 {
                let is_done = done.load(Acquire);
                if is_done || ready.load(Acquire) >= (stats.periods() + 1) * 32 {
                    renderer.render(&mut out, 0);
                    heard.extend(out.iter().filter(|s| **s != 0.0));
                    after += u64::from(is_done);
                } else {
                    thread::yield_now();
                }
            }
            heard
        });
        let mut played = 0;
        for span in 1..=SPANS {
            let samples = noise(span, 1 + (span * 37 % 101) as usize);
            while lane.begin(id(span)).is_err() {
                thread::yield_now();
            }
            // Every third is cut before its first sample: the renderer must know it by then, whatever it has looked at.
            let is_cut = span % 3 == 0;
            if is_cut {
                while lane
                    .command(Command::Cut {
                        span: id(span),
                        fade_frames: 40,
                    })
                    .is_err()
                {
                    thread::yield_now();
                }
            } else {
                kept.extend_from_slice(&samples);
            }
            let mut rest = &samples[..];
            while !rest.is_empty() {
                let taken = lane.push(&rest[..rest.len().min(17)]);
                rest = &rest[taken..];
                if !is_cut {
                    played += taken as u64;
                    ready.store(played, Release);
                }
                for fact in facts(&mut lane) {
                    match fact {
                        Fact::Cut { span, .. } => *answers.entry(span.get()).or_insert(0) += 1,
                        Fact::Underrun { .. } => underruns += 1,
                        Fact::Recovered { .. } => {}
                        other => panic!("{other:?}"),
                    }
                }
                if taken == 0 {
                    thread::yield_now();
                }
            }
        }
        lane.end().unwrap();
        done.store(true, Release);
        render.join().unwrap()
    });
    for fact in facts(&mut lane) {
        if let Fact::Cut { span, .. } = fact {
            *answers.entry(span.get()).or_insert(0) += 1;
        }
    }
    assert_eq!(lane.position(), lane.pushed());
    for span in (3..=SPANS).step_by(3) {
        assert_eq!(answers.get(&span), Some(&1), "span {span}");
    }
    assert_eq!(underruns, 0);
    assert_eq!(heard.len(), kept.len());
    assert!(heard == kept, "what was heard is not what was pushed");
}
