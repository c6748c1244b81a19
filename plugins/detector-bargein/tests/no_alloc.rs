//! HARD_RT's promise: once a stream is open, listening allocates and frees nothing.

use assert_no_alloc::{AllocDisabler, assert_no_alloc, violation_count};
use utterd_detector_bargein::training::{Decision, Probe, Thresholds};

#[global_allocator]
static WATCHED: AllocDisabler = AllocDisabler;

#[test]
fn listening_allocates_nothing() {
    for rate in [8_000u32, 16_000, 48_000] {
        let mut probe = Probe::new(rate);
        let mut decision = Decision::new(Thresholds::new(0.9, false));
        let n = rate as usize / 100;
        let far: Vec<f32> = (0..n * 300).map(|k| (k as f32 * 0.05).sin() * (k as f32 * 0.001).sin()).collect();
        let mut clean = vec![0.0; n];
        let mut judged = 0;
        for (k, part) in far.chunks(n).enumerate() {
            let played = (k > 50).then_some(part);
            assert_no_alloc(|| {
                probe.feed(part, played, Some(&mut clean), |_, p| {
                    decision.feed(p);
                    judged += 1;
                });
            });
        }
        assert_eq!(judged, 300);
    }
    assert_eq!(violation_count(), 0);
}
