//! Between two pieces: an utterance that waits for its text is idle, not starved, and goes on where it stopped.

use super::*;

fn piece(writer: &mut StoreWriter, samples: &[f32]) {
    writer.rest(false);
    writer.begin_piece(RATE, 1.0);
    writer.write(samples).unwrap();
    writer.end_piece();
    writer.rest(true);
}

fn underruns(rig: &Rig) -> usize {
    rig.events().iter().filter(|e| matches!(e, TxEvent::Underrun { .. })).count()
}

fn dry(rig: &Rig) -> Vec<u64> {
    let played = rig.events().into_iter().filter_map(|e| match e {
        TxEvent::Dry { utterance: 1, played_us } => Some(played_us),
        _ => None,
    });
    played.collect()
}

#[test]
fn a_wait_between_pieces_is_no_underrun_and_every_sample_is_heard() {
    let mut rig = Rig::new();
    rig.tx.play(1, 1);
    let mut writer = rig.tx.store(1, Output::Local);
    writer.set_blocking(false);
    piece(&mut writer, &signal(1, 9_600));
    rig.run_ms(1_000);
    assert_eq!((underruns(&rig), dry(&rig)), (0, vec![200_000]));
    assert!(rig.ended(1).is_empty(), "it is not over");
    piece(&mut writer, &signal(2, 4_800));
    rig.run_ms(500);
    assert_eq!((underruns(&rig), dry(&rig)), (0, vec![200_000, 300_000]));
    writer.finish();
    rig.run_ms(100);
    assert_eq!(rig.ended(1), vec![300_000]);
    let heard: Vec<f32> = rig.heard.iter().copied().filter(|s| *s != 0.0).collect();
    assert_eq!(heard, [signal(1, 9_600), signal(2, 4_800)].concat());
}

#[test]
fn a_piece_that_comes_in_time_follows_without_a_gap() {
    let mut rig = Rig::new();
    rig.tx.play(1, 1);
    let mut writer = rig.tx.store(1, Output::Local);
    writer.set_blocking(false);
    piece(&mut writer, &signal(1, 9_600));
    rig.run_ms(100);
    piece(&mut writer, &signal(2, 9_600));
    rig.run_ms(100);
    writer.finish();
    rig.run_ms(500);
    assert_eq!(rig.sound(), [signal(1, 9_600), signal(2, 9_600)].concat());
    assert_eq!((underruns(&rig), dry(&rig)), (0, vec![]));
}

#[test]
fn a_cut_while_it_waits_is_answered_at_once_and_leaves_nothing() {
    for (waited, then) in [(1_000, 0), (1_000, 50), (170, 0), (170, 10), (190, 10), (200, 10)] {
        let mut rig = Rig::new();
        rig.tx.play(1, 1);
        let mut writer = rig.tx.store(1, Output::Local);
        writer.set_blocking(false);
        piece(&mut writer, &signal(1, 9_600));
        rig.run_ms(waited);
        if then > 0 {
            piece(&mut writer, &signal(2, 48_000));
            rig.run_ms(then);
        }
        rig.tx.cut(1, 5_000);
        rig.run_ms(20);
        assert_eq!(rig.cuts(1).len(), 1, "{waited} {then}");
        let end = rig.heard.len();
        rig.run_ms(500);
        assert!(rig.heard[end..].iter().all(|s| *s == 0.0), "{waited} {then}: residual audio");
        assert!(rig.ended(1).is_empty());
    }
}

#[test]
fn what_waits_goes_on_after_a_pause_and_after_another_engine() {
    let mut rig = Rig::new();
    rig.tx.play(1, 1);
    let mut writer = rig.tx.store(1, Output::Local);
    writer.set_blocking(false);
    piece(&mut writer, &signal(1, 9_600));
    rig.run_ms(500);
    rig.tx.pause(1, 5_000);
    rig.run_ms(50);
    piece(&mut writer, &signal(2, 4_800));
    rig.run_ms(100);
    rig.tx.resume(1);
    rig.run_ms(500);
    rig.lose();
    rig.run_ms(50);
    rig.engine(RATE, 0);
    piece(&mut writer, &signal(3, 4_800));
    writer.finish();
    rig.run_ms(500);
    assert_eq!(rig.ended(1), vec![400_000]);
    assert_eq!(underruns(&rig), 0);
}

#[test]
fn a_track_that_nobody_hears_any_more_taps_no_further_lane_and_one_that_lives_is_heard_again() {
    let mut rig = Rig::new();
    let (taps, ends) = crossbeam::channel::unbounded();
    rig.tx.tap(1, 1, taps.clone());
    let answer = |rig: &mut Rig, utterance: u64| {
        rig.say(utterance, &signal(1, 4_800));
        rig.run_ms(2_000);
    };
    for utterance in 1..=3 {
        answer(&mut rig, utterance);
        assert_eq!(ends.try_iter().count(), 1, "a lane an answer, and a tap a lane");
    }
    rig.tx.untap(1);
    for utterance in 4..=6 {
        answer(&mut rig, utterance);
        assert_eq!(ends.try_iter().count(), 0, "nobody reads it");
    }
    rig.tx.tap(1, 1, taps.clone());
    rig.say(7, &signal(1, 48_000));
    rig.run_ms(200);
    let (_, mut end) = ends.try_recv().unwrap();
    while end.take(|_, _, _| ()).is_some() {}
    rig.tx.untap(1);
    rig.tx.tap(1, 1, taps);
    rig.run_ms(200);
    assert!(ends.try_recv().is_err(), "a lane takes one tap");
    assert!(end.peek().is_some(), "which goes on");
}
