//! Taps: what they carry is what was played, aligned to the frame, and a reader that is late loses its own blocks only.

use super::*;
use crate::{Cycle, TapRx, tap};

/// Frame, channels and samples of every block that is there.
fn blocks(tap: &mut TapRx) -> Vec<(u64, u32, Vec<f32>)> {
    core::iter::from_fn(|| tap.take(|b, first, second| (b.frame, b.channels, [first, second].concat()))).collect()
}

#[test]
fn the_engines_tap_carries_the_mix_and_what_was_captured_in_the_same_cycle() {
    let mut world = World::new();
    let mut tap = world.control.take_tap().unwrap();
    assert!(world.control.take_tap().is_none());
    let mut lane = world.lane(1_000);
    let said = noise(1, 300);
    say(&mut lane, 1, &said);
    world.render(100);
    assert!(blocks(&mut tap).is_empty(), "nobody listened");
    tap.listen(true);
    let near = noise(2, 100);
    let mut out = [0.0; 100];
    let cycle = Cycle {
        at_us: 12_500,
        frame: 7_000,
        near: Some(&near),
        far_delay: 64,
    };
    world.renderer.cycle(&mut out, cycle);
    let block = tap.peek().unwrap();
    assert_eq!((block.at_us, block.far_delay, block.samples()), (12_500, 64, 200));
    assert_eq!(blocks(&mut tap), [(7_000, 2, [&said[100..200], &near].concat())]);
    world.renderer.cycle(&mut out, Cycle { near: None, ..cycle });
    assert_eq!(blocks(&mut tap), [(7_000, 1, said[200..].to_vec())]);
    tap.listen(false);
    world.render(100);
    assert!(blocks(&mut tap).is_empty());
}

#[test]
fn each_lanes_tap_carries_that_lane_alone() {
    let mut world = World::new();
    let (mut one, mut two) = (world.lane(1_000), world.lane(1_000));
    let (one_tx, mut one_rx) = tap(1_000);
    let (two_tx, mut two_rx) = tap(1_000);
    one.tap(one_tx).unwrap();
    two.tap(two_tx).unwrap();
    let (first, second) = (noise(1, 100), noise(2, 60));
    say(&mut one, 1, &first);
    say(&mut two, 2, &second);
    two.end().unwrap();
    let out = world.render(100);
    let (heard_one, heard_two) = (&blocks(&mut one_rx)[0].2, &blocks(&mut two_rx)[0].2);
    assert_eq!(*heard_one, first);
    assert_eq!(heard_two[..60], second);
    assert!(heard_two[60..].iter().all(|s| *s == 0.0));
    for (n, sample) in out.iter().enumerate() {
        assert_eq!(*sample, heard_one[n] + heard_two[n]);
    }
}

#[test]
fn a_full_tap_loses_whole_blocks_and_the_sound_none() {
    let mut world = World::new();
    let mut lane = world.lane(1_000);
    let (tx, mut rx) = tap(250);
    lane.tap(tx).unwrap();
    let said = noise(1, 500);
    say(&mut lane, 1, &said);
    let played: Vec<f32> = (0..4).flat_map(|_| world.render(100)).collect();
    assert_eq!(played, said[..400]);
    let kept = blocks(&mut rx);
    assert_eq!(kept.iter().map(|b| b.0).collect::<Vec<_>>(), [0, 100], "two fit");
    world.render(100);
    assert_eq!(
        blocks(&mut rx),
        [(400, 1, said[400..].to_vec())],
        "and the frame tells what is missing"
    );
}

#[test]
fn a_tap_that_nobody_reads_any_more_changes_nothing() {
    let mut world = World::new();
    let mut lane = world.lane(1_000);
    let (tx, rx) = tap(200);
    lane.tap(tx).unwrap();
    drop(rx);
    let said = noise(1, 500);
    say(&mut lane, 1, &said);
    let played: Vec<f32> = (0..5).flat_map(|_| world.render(100)).collect();
    assert_eq!(played, said);
}
