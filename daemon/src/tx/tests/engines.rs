//! Engines come and go: positions are held, another rate moves no sample in time.

use super::*;

#[test]
fn a_new_engine_goes_on_from_the_consumed_sample() {
    let mut rig = Rig::new();
    let (a, b) = (signal(1, 20_000), signal(2, 5_000));
    rig.say(1, &a);
    rig.say(2, &b);
    rig.run_ms(200);
    rig.lose();
    rig.run_ms(500);
    rig.engine(RATE, 0);
    rig.run_ms(600);
    assert_eq!(rig.sound(), [a, b].concat());
    assert_eq!(rig.ended(1), vec![416_667]);
    assert_eq!(rig.ended(2), vec![104_167]);
    let starts = |e: &&TxEvent| matches!(e, TxEvent::Started { .. });
    assert_eq!(rig.events().iter().filter(starts).count(), 2);
}

#[test]
fn the_longest_period_of_a_server_finds_the_ring_full_enough_also_when_it_comes_in_mid_sentence() {
    let mut rig = Rig::new();
    let all = signal(1, 200_000);
    rig.say(1, &all);
    rig.run_ms(500);
    rig.set_period(8_192);
    rig.run_ms(4_500);
    assert_eq!(rig.sound(), all);
    let starved = |e: &TxEvent| matches!(e, TxEvent::Underrun { .. });
    assert!(!rig.events().iter().any(starved));
    assert_eq!(rig.ended(1), vec![4_166_667]);
}

#[test]
fn an_abandoned_renderer_is_noticed_without_being_told() {
    let mut rig = Rig::new();
    rig.say(1, &[0.5; 48_000]);
    rig.run_ms(100);
    rig.renderer = None;
    rig.pump();
    rig.tx.cut(1, 5_000);
    rig.pump();
    assert_eq!(rig.cuts(1), [(100_000, 1_100_000)]);
}

#[test]
fn a_pause_survives_the_engine() {
    let mut rig = Rig::new();
    rig.say(1, &signal(1, 48_000));
    rig.run_ms(100);
    rig.tx.pause(1, 5_000);
    rig.lose();
    let paused = |e: &&TxEvent| matches!(e, TxEvent::Paused { .. });
    assert_eq!(rig.events().iter().filter(paused).count(), 1);
    rig.engine(RATE, 0);
    let before = rig.heard.len();
    rig.run_ms(100);
    assert!(rig.heard[before..].iter().all(|s| *s == 0.0));
    rig.tx.resume(1);
    rig.run_ms(1_200);
    assert_eq!(rig.ended(1), vec![1_000_000]);
}

#[test]
fn what_is_played_before_the_first_engine_waits_for_it() {
    let mut rig = Rig::new();
    rig.lose();
    rig.say(1, &signal(1, 4_800));
    rig.run_ms(200);
    rig.engine(44_100, 0);
    rig.run_ms(300);
    assert_eq!(rig.ended(1), vec![100_000]);
    assert_eq!(rig.tx.rate(Output::Local), 44_100);
}

/// Plays a sine of 1 s at 22,050 Hz, written in ten parts, through an engine of 48 kHz that dies after `before` parts,
/// and then one of `rate`.
fn change_of_rate(rate: u32, before: usize, play_ms: u64) {
    let mut rig = Rig::new();
    let samples = sine(22_050, 441.0, 22_050);
    rig.tx.play(1, 1);
    let mut writer = rig.tx.store(1, Output::Local);
    writer.set_blocking(false);
    writer.begin_piece(22_050, 1.0);
    let parts: Vec<&[f32]> = samples.chunks(2_205).collect();
    for (i, part) in parts.iter().enumerate() {
        writer.mark(word(i as u64 * 2_205, i as u32));
        if i == before {
            rig.run_ms(play_ms);
            rig.lose();
            rig.engine(rate, 0);
        }
        writer.write(part).unwrap();
    }
    writer.finish();
    let heard_before = rig.heard.len();
    assert!(writer.total_us().abs_diff(1_000_000) <= 1_000_000 / 8_000);
    rig.run_ms(1_500);
    let played = rig.ended(1);
    assert!(played.len() == 1 && played[0].abs_diff(1_000_000) <= 125, "{played:?}");
    let marks: Vec<_> = rig
        .events()
        .iter()
        .filter_map(|e| match e {
            TxEvent::Mark { mark, .. } => Some((mark.char_start, mark.at_us)),
            _ => None,
        })
        .collect();
    assert_eq!(marks.len(), 10);
    for (i, (char_start, at_us)) in marks.iter().enumerate() {
        assert_eq!(*char_start, i as u32);
        assert!(at_us.abs_diff(i as u64 * 100_000) <= 125, "{marks:?}");
    }
    // After the change it is the same sine at the same place: the position held, to a sample.
    let after = &rig.heard[heard_before..];
    let first = after.iter().position(|s| *s != 0.0).unwrap();
    let held_us = play_ms.min(before as u64 * 100) * 1_000;
    let (mut signal, mut noise) = (0.0, 0.0);
    for i in rate as usize / 50..rate as usize / 4 {
        let t = held_us as f64 / 1e6 + i as f64 / f64::from(rate);
        let ideal = (std::f64::consts::TAU * 441.0 * t).sin() * 0.5;
        signal += ideal * ideal;
        noise += (f64::from(after[first + i]) - ideal).powi(2);
    }
    let db = 10.0 * (signal / noise).log10();
    assert!(db > 25.0, "{db:.1} dB");
}

#[test]
fn another_rate_in_mid_utterance_keeps_length_marks_and_place() {
    change_of_rate(44_100, 5, 250);
    change_of_rate(96_000, 5, 250);
    change_of_rate(16_000, 3, 40);
}

#[test]
fn another_rate_for_a_complete_store_keeps_its_length() {
    let mut rig = Rig::new();
    rig.say(1, &sine(RATE, 300.0, 48_001));
    rig.run_ms(300);
    rig.lose();
    rig.engine(44_100, 0);
    rig.run_ms(1_000);
    let played = rig.ended(1)[0];
    assert!(played.abs_diff(1_000_021) <= 25, "{played}");
}

#[test]
fn two_outputs_do_not_know_each_other() {
    let mut rig = Rig::new();
    let (control, mut null) = utterd_rt::engine(16_000);
    rig.tx.engine(Output::Null, control, 16_000, 0);
    rig.tx.open_track(2, Output::Null);
    rig.say(1, &signal(1, 48_000));
    let mut writer = rig.tx.store(2, Output::Null);
    assert_eq!(writer.rate(), 16_000);
    writer.begin_piece(16_000, 1.0);
    writer.write(&signal(2, 16_000)).unwrap();
    writer.finish();
    rig.tx.play(2, 2);
    let mut out = [0.0; 160];
    for i in 0..150 {
        if i == 30 {
            rig.lose();
        }
        rig.period();
        null.render(&mut out, rig.now());
    }
    rig.pump();
    assert_eq!(rig.ended(1), Vec::<u64>::new());
    assert_eq!(rig.ended(2), vec![1_000_000]);
}
