//! Cutting: in every state, exactly one answer, and nothing of that utterance after it.

use super::*;

/// Nothing of `utterance` is told after its Cut.
fn assert_last(rig: &Rig, utterance: u64) {
    let events = rig.events();
    let of = |e: &&TxEvent| match e {
        TxEvent::Started { utterance: u, .. }
        | TxEvent::Mark { utterance: u, .. }
        | TxEvent::Ended { utterance: u, .. }
        | TxEvent::Low { utterance: u }
        | TxEvent::Underrun { utterance: u, .. }
        | TxEvent::Cut { utterance: u, .. } => *u == utterance,
        _ => false,
    };
    let last = events.iter().rfind(of);
    assert!(matches!(last, Some(TxEvent::Cut { .. })), "{last:?}");
}

#[test]
fn an_unknown_utterance_is_answered_and_never_comes() {
    let mut rig = Rig::new();
    rig.tx.cut(99, 5_000);
    rig.pump();
    assert_eq!(rig.cuts(99).len(), 1);
    assert_eq!(rig.cuts(99)[0].0, 0);
    assert!(rig.tx.store(99, Output::Local).is_cut());
    rig.say(99, &signal(1, 4_800));
    rig.run_ms(200);
    assert!(rig.sound().is_empty());
    assert_eq!(rig.cuts(99).len(), 1);
}

#[test]
fn stored_but_not_played_is_dropped_at_once() {
    let mut rig = Rig::new();
    rig.store(1, &signal(1, 4_800));
    rig.tx.cut(1, 5_000);
    rig.tx.play(1, 1);
    rig.run_ms(200);
    assert_eq!(rig.cuts(1), [(0, 1_000_000)]);
    assert!(rig.sound().is_empty());
    assert_last(&rig, 1);
}

#[test]
fn queued_and_not_fed_yet_is_dropped_at_once() {
    let mut rig = Rig::new();
    rig.say(1, &signal(1, 48_000));
    rig.say(2, &signal(2, 4_800));
    rig.say(3, &signal(3, 4_800));
    rig.run_ms(100);
    rig.tx.cut(2, 5_000);
    rig.pump();
    assert_eq!(rig.cuts(2), [(0, 1_100_000)]);
    rig.run_ms(1_200);
    assert_eq!(rig.sound(), [signal(1, 48_000), signal(3, 4_800)].concat());
}

#[test]
fn queued_in_the_lane_is_skipped_whole() {
    let mut rig = Rig::new();
    rig.say(1, &signal(1, 4_800));
    rig.say(2, &signal(2, 960));
    rig.say(3, &signal(3, 4_800));
    rig.run_ms(20);
    rig.tx.cut(2, 5_000);
    rig.run_ms(400);
    assert_eq!(rig.cuts(2).len(), 1);
    assert_eq!(rig.cuts(2)[0].0, 0);
    assert_eq!(rig.sound(), [signal(1, 4_800), signal(3, 4_800)].concat());
    assert_last(&rig, 2);
}

#[test]
fn a_playing_one_ends_with_a_ramp_and_the_next_is_whole() {
    let mut rig = Rig::new();
    rig.say(1, &[0.5; 48_000]);
    rig.say(2, &signal(2, 4_800));
    rig.run_ms(100);
    rig.tx.cut(1, 5_000);
    rig.run_ms(400);
    // 100 ms, and the ramp of 5 ms that the next period begins with.
    assert_eq!(rig.cuts(1).len(), 1);
    assert_eq!(rig.cuts(1)[0].0, 105_000);
    assert!(rig.cuts(1)[0].1.abs_diff(1_105_000) <= 30);
    assert!(rig.heard.ends_with(&[0.0; 480]));
    let sound = rig.sound();
    assert_eq!(sound[sound.len() - 4_800..], signal(2, 4_800));
    assert_eq!(rig.ended(1), Vec::<u64>::new());
    assert_eq!(rig.ended(2), vec![100_000]);
    assert_last(&rig, 1);
}

#[test]
fn a_paused_one_is_silent_already() {
    let mut rig = Rig::new();
    rig.say(1, &[0.5; 48_000]);
    rig.run_ms(100);
    rig.tx.pause(1, 5_000);
    rig.run_ms(100);
    rig.tx.cut(1, 5_000);
    rig.run_ms(20);
    assert_eq!(rig.cuts(1).len(), 1);
    // What the pause's ramp let be heard was handed to the sink too.
    assert_eq!(rig.cuts(1)[0].0, 105_000);
    rig.tx.resume(1);
    let before = rig.heard.len();
    rig.run_ms(200);
    assert!(rig.heard[before..].iter().all(|s| *s == 0.0));
    assert_last(&rig, 1);
}

#[test]
fn without_an_engine_the_held_position_is_the_answer() {
    let mut rig = Rig::new();
    rig.say(1, &[0.5; 48_000]);
    rig.run_ms(100);
    rig.lose();
    rig.tx.cut(1, 5_000);
    rig.pump();
    assert_eq!(rig.cuts(1), [(100_000, 1_100_000)]);
    assert_last(&rig, 1);
}

#[test]
fn an_engine_that_dies_with_the_cut_in_hand_answers_nevertheless() {
    let mut rig = Rig::new();
    rig.say(1, &[0.5; 48_000]);
    rig.run_ms(100);
    rig.tx.cut(1, 5_000);
    rig.tx.cut(1, 5_000);
    rig.lose();
    assert_eq!(rig.cuts(1), [(100_000, 1_100_000); 2]);
    rig.engine(RATE, 0);
    let before = rig.heard.len();
    rig.run_ms(100);
    assert!(rig.heard[before..].iter().all(|s| *s == 0.0));
}

#[test]
fn played_to_the_end_but_not_heard_yet_is_cut_with_all_of_it() {
    let mut rig = Rig::new();
    rig.engine(RATE, 4_800);
    rig.say(1, &signal(1, 960));
    rig.run_ms(50);
    assert_eq!(rig.ended(1), Vec::<u64>::new());
    rig.tx.cut(1, 5_000);
    rig.run_ms(300);
    assert_eq!(rig.cuts(1), [(20_000, 1_050_000)]);
    assert_eq!(rig.ended(1), Vec::<u64>::new());
    assert_last(&rig, 1);
}

#[test]
fn an_ended_one_answers_with_what_was_played() {
    let mut rig = Rig::new();
    rig.say(1, &signal(1, 960));
    rig.run_ms(100);
    rig.tx.cut(1, 5_000);
    rig.tx.cut(1, 5_000);
    rig.pump();
    assert_eq!(rig.cuts(1), [(20_000, 1_100_000); 2]);
}

#[test]
fn two_cuts_of_a_playing_one_have_two_answers() {
    let mut rig = Rig::new();
    rig.say(1, &[0.5; 48_000]);
    rig.run_ms(100);
    rig.tx.cut(1, 5_000);
    rig.tx.cut(1, 5_000);
    rig.run_ms(50);
    assert_eq!(rig.cuts(1).len(), 2);
    assert_eq!(rig.cuts(1)[0], rig.cuts(1)[1]);
}

#[test]
fn all_marks_that_were_played_come_before_the_answer_and_no_other() {
    let mut rig = Rig::new();
    rig.engine(RATE, 4_800);
    let mut writer = rig.tx.store(1, Output::Local);
    writer.begin_piece(RATE, 1.0);
    for i in 0..10 {
        writer.mark(word(i * 960, i as u32));
    }
    writer.write(&[0.5; 48_000]).unwrap();
    writer.finish();
    rig.tx.play(1, 1);
    rig.run_ms(100);
    rig.tx.cut(1, 5_000);
    rig.run_ms(300);
    let played = rig.cuts(1)[0].0;
    assert_eq!(played, 105_000);
    let marks: Vec<_> = rig
        .events()
        .iter()
        .filter_map(|e| match e {
            TxEvent::Mark { mark, .. } => Some(mark.at_us),
            _ => None,
        })
        .collect();
    assert_eq!(marks, [0, 20_000, 40_000, 60_000, 80_000, 100_000]);
    assert_last(&rig, 1);
}

#[test]
fn a_waiting_writer_is_let_go_and_told() {
    let mut rig = Rig::with(TxConfig {
        look_ahead_us: 100_000,
        ..TxConfig::default()
    });
    rig.tx.play(1, 1);
    let mut writer = rig.tx.store(1, Output::Local);
    let store = rig.tx.shared.peek(1);
    let worker = std::thread::spawn(move || {
        writer.begin_piece(RATE, 1.0);
        while writer.write(&[0.5; 480]).is_ok() {}
        writer.write(&[0.5; 480])
    });
    while store.ahead_us() < 100_000 {
        std::thread::yield_now();
    }
    rig.tx.cut(1, 5_000);
    assert_eq!(worker.join().unwrap(), Err(CutOff));
    rig.run_ms(50);
    assert_eq!(rig.cuts(1).len(), 1);
}

#[test]
fn a_track_that_closes_answers_the_cut_it_owes() {
    let mut rig = Rig::new();
    rig.say(1, &[0.5; 48_000]);
    rig.say(2, &[0.5; 48_000]);
    rig.run_ms(50);
    rig.tx.cut(1, 5_000);
    rig.tx.close_track(1);
    rig.run_ms(50);
    assert_eq!(rig.cuts(1).len(), 1);
    assert_eq!(rig.cuts(2).len(), 0);
    rig.tx.cut(2, 5_000);
    rig.pump();
    assert_eq!(rig.cuts(2).len(), 1);
}

#[test]
fn a_forgotten_one_falls_silent_unreported_and_its_writer_is_told() {
    let mut rig = Rig::new();
    rig.tx.play(1, 1);
    let mut writer = rig.tx.store(1, Output::Local);
    writer.begin_piece(RATE, 1.0);
    writer.write(&[0.5; 9_600]).unwrap();
    rig.run_ms(50);
    rig.take_events();
    rig.tx.forget(1);
    rig.run_ms(30);
    let before = rig.heard.len();
    rig.run_ms(100);
    assert!(rig.heard[before..].iter().all(|s| *s == 0.0));
    assert_eq!(writer.write(&[0.5; 480]), Err(CutOff));
    let about = |e: &TxEvent| !matches!(e, TxEvent::Hungry { .. });
    assert!(!rig.events().iter().any(about), "{:?}", rig.events());
}
