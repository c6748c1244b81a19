//! Renders under an allocator that counts what the real-time room must never do.

#![allow(clippy::unwrap_used)]

mod storm;

use assert_no_alloc::{AllocDisabler, assert_no_alloc, violation_count};

#[global_allocator]
static ALLOCATOR: AllocDisabler = AllocDisabler;

#[test]
fn rendering_never_allocates_or_frees() {
    storm::storm(5_000, |renderer, out, cycle| assert_no_alloc(|| renderer.cycle(out, cycle)));
    assert_eq!(violation_count(), 0);
}

#[test]
fn the_counting_allocator_does_see_an_allocation() {
    // Otherwise the test above would prove nothing. Counters are per thread, as the tests are.
    let before = violation_count();
    let kept = assert_no_alloc(|| vec![1_u8; 100]);
    assert_eq!(kept.len(), 100);
    assert!(violation_count() > before);
}
