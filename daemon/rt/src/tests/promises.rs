//! One test a promise, over random timing.

use super::*;
use proptest::prelude::*;
use std::vec;

/// Feeds `samples` as one ended span through a small ring and renders it in periods of the given sizes.
fn play_through(samples: &[f32], ring: usize, periods: &[usize]) -> Vec<f32> {
    let mut world = World::new();
    let mut lane = world.lane(ring);
    lane.begin(id(1)).unwrap();
    let mut fed = 0;
    for &frames in periods.iter().cycle() {
        let rest = &samples[fed..];
        fed += if rest.len() <= lane.free() {
            lane.push_last(rest).unwrap()
        } else {
            lane.push(rest)
        };
        world.render(frames);
        if lane.position() == samples.len() as u64 {
            break;
        }
    }
    assert_eq!(facts(&mut lane), []);
    world.heard
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn one_lane_at_unity_gain_is_copied_bit_for_bit(seed: u64, frames in 1usize..2000, extra in 0usize..300,
                                                     periods in prop::collection::vec(1usize..200, 1..8)) {
        let samples = noise(seed, frames);
        let ring = periods.iter().max().unwrap() + extra;
        let heard = play_through(&samples, ring, &periods);
        prop_assert_eq!(&heard[..frames], &samples[..]);
        prop_assert!(heard[frames..].iter().all(|s| *s == 0.0));
    }

    #[test]
    fn a_pause_and_its_resume_add_up_to_the_original(seed: u64, before in 1usize..300, held in 1usize..300, period in 1usize..130, fade in 0u32..100) {
        let samples = noise(seed, 1000);
        let mut world = World::new();
        let mut lane = world.lane(1024);
        say(&mut lane, 1, &samples);
        lane.end().unwrap();
        world.render(before);
        lane.command(Command::Pause { fade_frames: fade }).unwrap();
        while world.heard.len() < before + fade as usize + held {
            world.render(period);
        }
        let told = facts(&mut lane);
        let held = matches!(told[..], [Fact::Paused { position, .. }] if position == before as u64);
        prop_assert!(held, "{told:?}");
        prop_assert_eq!(lane.position(), before as u64);
        let back = world.heard.len();
        lane.command(Command::Resume { fade_frames: 7 }).unwrap();
        while lane.position() < 1000 {
            world.render(period);
        }
        prop_assert!(world.heard[before + fade as usize..back].iter().all(|s| *s == 0.0));
        prop_assert_eq!(&world.heard[..before], &samples[..before]);
        let fade = fade as usize;
        for i in 0..fade {
            let sum = world.heard[before + i] + world.heard[back + i];
            prop_assert!((sum - samples[before + i]).abs() < 1e-6, "at {i}: {sum}");
        }
        prop_assert_eq!(&world.heard[back + fade..back + 1000 - before], &samples[before + fade..]);
    }

    #[test]
    fn a_cut_silences_its_span_within_the_fade_and_leaves_the_next_complete(
        seed: u64, first in 1usize..400, second in 1usize..400, at in 0usize..500, late in 0usize..100, period in 1usize..130, fade in 0u32..50) {
        let a = noise(seed, first);
        let b = noise(seed ^ 0xb, second);
        let mut world = World::new();
        let mut lane = world.lane(1024);
        lane.begin(id(1)).unwrap();
        // Some of the first span arrives only after it was cut.
        let late = late.min(first - 1);
        lane.push(&a[..first - late]);
        while world.heard.len() < at.min(first - late) {
            world.render(period.min(at.min(first - late) - world.heard.len()));
        }
        let cut_at = world.heard.len();
        cut(&mut lane, 1, fade);
        world.render(period);
        lane.push(&a[first - late..]);
        lane.begin(id(2)).unwrap();
        lane.push(&b);
        lane.end().unwrap();
        for _ in 0..(first + second + 200) / period + 2 {
            world.render(period);
        }
        let told = facts(&mut lane);
        prop_assert_eq!(told.iter().filter(|f| matches!(f, Fact::Cut { span, .. } | Fact::CutMissed { span } if *span == id(1))).count(), 1, "{:?}", told);
        prop_assert_eq!(&world.heard[..cut_at], &a[..cut_at]);
        // The second span stands in what was heard, whole; before it the ramp at most, after it nothing.
        let end = world.heard.iter().rposition(|s| *s != 0.0).map_or(0, |i| i + 1);
        let start = end - second;
        prop_assert_eq!(&world.heard[start..end], &b[..]);
        prop_assert!(start >= cut_at);
        let ramp = world.heard[cut_at..start].iter().rposition(|s| *s != 0.0).map_or(0, |i| i + 1);
        prop_assert!(ramp <= fade as usize, "{} frames of ramp", ramp);
        if let Some(Fact::Cut { position, .. }) = told.iter().find(|f| matches!(f, Fact::Cut { .. })) {
            prop_assert!(*position <= (cut_at + fade as usize) as u64 && *position >= cut_at as u64);
        }
    }

    #[test]
    fn every_cut_of_a_queued_span_skips_it_whole(seed: u64, lengths in prop::collection::vec(0usize..60, 2..12), cuts in prop::collection::vec(any::<bool>(), 12), period in 1usize..90) {
        let mut world = World::new();
        let mut lane = world.lane(1024);
        let mut expected = vec![];
        let mut at = vec![];
        for (i, &frames) in lengths.iter().enumerate() {
            let samples = noise(seed.wrapping_add(i as u64), frames);
            at.push(lane.pushed());
            say(&mut lane, i as u64 + 1, &samples);
            if i == 0 || !cuts[i] {
                expected.extend(samples);
            }
        }
        lane.end().unwrap();
        let cut_spans: Vec<usize> = (1..lengths.len()).filter(|i| cuts[*i]).collect();
        for &i in &cut_spans {
            cut(&mut lane, i as u64 + 1, 5);
        }
        for _ in 0..800 / period + 1 {
            world.render(period);
        }
        prop_assert_eq!(&world.heard[..expected.len()], &expected[..]);
        prop_assert!(world.heard[expected.len()..].iter().all(|s| *s == 0.0));
        let told = facts(&mut lane);
        for (i, &begin) in at.iter().enumerate().skip(1) {
            let answers: Vec<_> = told.iter().filter(|f| matches!(f, Fact::Cut { span, .. } | Fact::CutMissed { span } if *span == id(i as u64 + 1))).collect();
            prop_assert_eq!(answers.len(), usize::from(cuts[i]));
            if cuts[i] && lengths[0] > 0 {
                let skipped = matches!(answers[0], Fact::Cut { position, .. } if *position == begin);
                prop_assert!(skipped, "{:?}", answers[0]);
            }
        }
    }
}

#[test]
fn underrun_and_idle_are_counted_apart() {
    let mut world = World::new();
    let mut lane = world.lane(512);
    world.render(100);
    assert_eq!((world.renderer.stats().underruns(), world.renderer.stats().idle_periods()), (0, 1));
    say(&mut lane, 1, &[0.5; 100]);
    world.render(100);
    world.render(100);
    let stats = world.control.stats();
    assert_eq!((stats.underruns(), stats.underrun_frames(), stats.idle_periods()), (1, 100, 1));
    assert_eq!(world.heard[200], 0.5 * (1.0 - 0.5 / 40.0), "it decays from the last value");
    assert_eq!(world.heard[240], 0.0);
    lane.push(&[0.5; 60]);
    let out = world.render(100);
    assert!(out[0].abs() < 0.01 && out[39] > 0.45 && out[40] == 0.5, "it fades in");
    assert_eq!(
        facts(&mut lane),
        [
            Fact::Underrun {
                span: id(1),
                position: 100,
                at_us: 25_000
            },
            Fact::Recovered {
                span: id(1),
                position: 100,
                at_us: 37_500,
                lost_frames: 100
            },
            Fact::Underrun {
                span: id(1),
                position: 160,
                at_us: 45_000
            },
        ]
    );
    lane.end().unwrap();
    world.render(100);
    world.render(100);
    assert_eq!(stats.underruns(), 2);
    assert_eq!(stats.idle_periods(), 3, "after the end the silence is idle");
}

#[test]
fn a_cut_while_paused_is_silent_at_once_and_holds_what_comes_next() {
    let mut world = World::new();
    let mut lane = world.lane(1024);
    say(&mut lane, 1, &noise(1, 300));
    let next = noise(2, 200);
    say(&mut lane, 2, &next);
    lane.end().unwrap();
    world.render(100);
    lane.command(Command::Pause { fade_frames: 40 }).unwrap();
    world.render(100);
    cut(&mut lane, 1, 40);
    assert!(world.render(100).iter().all(|s| *s == 0.0));
    lane.command(Command::Resume { fade_frames: 40 }).unwrap();
    assert_eq!(world.render(200), next);
    assert_eq!(
        facts(&mut lane),
        [
            Fact::Paused {
                position: 100,
                at_us: 12_500 + 39 * 125
            },
            Fact::Cut {
                span: id(1),
                position: 140,
                at_us: 25_000
            },
            Fact::Resumed {
                position: 300,
                at_us: 37_500
            },
        ]
    );
}

#[test]
fn a_closed_lane_fades_goes_home_and_leaves_the_others_alone() {
    let mut world = World::new();
    let mut lane = world.lane(1024);
    let mut other = world.lane(1024);
    say(&mut lane, 1, &[0.25; 1000]);
    say(&mut other, 2, &[0.5; 1000]);
    assert_eq!(world.render(100), [0.75; 100]);
    lane.close();
    let out = world.render(100);
    assert!(out[0] < 0.75 && out[39] > 0.5 && out[40..].iter().all(|s| *s == 0.5));
    assert_eq!(world.renderer.stats().lanes(), 1);
    world.control.collect();
    assert_eq!(world.render(100), [0.5; 100]);
}

#[test]
fn gain_walks_to_its_target_without_a_step_and_arrives_exactly() {
    let mut world = World::new();
    let mut lane = world.lane(1024);
    say(&mut lane, 1, &[1.0; 1000]);
    world.render(100);
    lane.command(Command::Gain {
        linear: 0.1,
        ramp_frames: 0,
    })
    .unwrap();
    let out = world.render(100);
    assert!(out.windows(2).all(|w| (w[0] - w[1]).abs() < 0.03), "{out:?}");
    assert_eq!(out[40], 0.1);
    lane.command(Command::Gain {
        linear: f32::NAN,
        ramp_frames: 0,
    })
    .unwrap();
    lane.command(Command::Gain {
        linear: 1.0,
        ramp_frames: 0,
    })
    .unwrap();
    assert_eq!(world.render(100)[50..], [1.0; 50]);
}

#[test]
fn lanes_and_spans_and_commands_have_bounds_that_lose_nothing() {
    let mut world = World::new();
    let mut lanes: Vec<_> = (0..crate::MAX_LANES).map(|_| world.lane(16)).collect();
    assert!(
        world
            .control
            .add_lane(LaneSpec {
                ring_frames: 16,
                paused: false,
                gain: 1.0
            })
            .is_err()
    );
    // All go at once, and as many again, while nobody collects: the return ring overflows and they wait in the renderer.
    lanes.clear();
    world.render(10);
    lanes.extend((0..crate::MAX_LANES).map(|_| world.lane(16)));
    lanes.clear();
    world.render(10);
    world.render(10);
    assert_eq!(world.renderer.stats().lanes(), 0);
    let mut lane = world.lane(16);
    for span in 1..=crate::MAX_SPANS as u64 {
        lane.begin(id(span)).unwrap();
    }
    while lane.begin(id(99)).is_ok() {}
    assert!(lane.end().is_ok(), "the end of an open span always has its place");
    for _ in 0..10 {
        while lane
            .command(Command::Cut {
                span: id(1000),
                fade_frames: 1,
            })
            .is_ok()
        {}
        world.render(10);
    }
    // Nobody read the facts: the rest of the cuts waited in their ring, and each is answered.
    let mut answers = 0;
    let mut sent = 0;
    loop {
        let told = facts(&mut lane).len();
        if told == 0 {
            break;
        }
        answers += told;
        world.render(10);
        sent += 1;
    }
    assert!(sent < 10 && answers >= crate::COMMANDS + crate::FACTS - 8, "{answers}");
    assert_eq!(lane.commands.slots(), crate::COMMANDS);
}

#[test]
fn a_lane_born_paused_waits_and_starts_with_the_fade_of_its_resume() {
    let mut world = World::new();
    let mut lane = world
        .control
        .add_lane(LaneSpec {
            ring_frames: 512,
            paused: true,
            gain: 1.0,
        })
        .unwrap();
    say(&mut lane, 1, &[1.0; 300]);
    assert_eq!(world.render(50), [0.0; 50]);
    lane.command(Command::Resume { fade_frames: 20 }).unwrap();
    let out = world.render(50);
    assert!(out[0] < 0.1 && out[19] > 0.9 && out[20..] == [1.0; 30]);
}

#[test]
fn the_gap_between_calls_is_measured_and_positions_can_be_dated() {
    let (mut control, mut renderer) = engine(48_000);
    let stats = control.stats();
    let mut lane = control
        .add_lane(LaneSpec {
            ring_frames: 960,
            paused: false,
            gain: 1.0,
        })
        .unwrap();
    say(&mut lane, 1, &[0.1; 960]);
    assert_eq!(stats.between_periods(|| lane.position()), None);
    let mut out = [0.0; 480];
    for at_us in [1_000_000, 1_010_000, 1_045_000] {
        renderer.render(&mut out, at_us);
    }
    assert_eq!(stats.take_gap_max_us(), 35_000);
    assert_eq!(stats.gap_max_us(), 0);
    assert_eq!((stats.periods(), stats.frames(), stats.last_period_us()), (3, 1440, 1_045_000));
    assert_eq!(stats.between_periods(|| lane.position()), Some((960, 1_055_000)));
}

#[test]
fn a_span_cut_exactly_where_the_one_before_it_ended_is_never_heard() {
    let mut world = World::new();
    let mut lane = world.lane(1024);
    say(&mut lane, 1, &[0.5; 100]);
    say(&mut lane, 2, &[0.9; 100]);
    say(&mut lane, 3, &[0.25; 100]);
    lane.end().unwrap();
    // The first span fills the period to its last frame.
    assert_eq!(world.render(100), [0.5; 100]);
    cut(&mut lane, 2, 40);
    assert_eq!(world.render(100), [0.25; 100]);
    assert_eq!(
        facts(&mut lane),
        [Fact::Cut {
            span: id(2),
            position: 100,
            at_us: 12_500
        }]
    );
}

#[test]
fn a_pause_that_meets_the_end_of_its_span_does_not_touch_the_next() {
    let mut world = World::new();
    let mut lane = world.lane(1024);
    say(&mut lane, 1, &[0.5; 110]);
    let next = noise(2, 100);
    say(&mut lane, 2, &next);
    lane.end().unwrap();
    world.render(100);
    lane.command(Command::Pause { fade_frames: 40 }).unwrap();
    let out = world.render(50);
    assert!(
        out[9] < 0.03 && out[10..].iter().all(|s| *s == 0.0),
        "the ramp is as long as what is left: {out:?}"
    );
    lane.command(Command::Resume { fade_frames: 40 }).unwrap();
    assert_eq!(world.render(110)[10..], next[..]);
}
