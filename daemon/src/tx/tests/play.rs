//! Playing: exactness, order, marks, pauses, memory.

use super::*;
use std::thread;

#[test]
fn a_stored_utterance_is_heard_bit_for_bit() {
    let mut rig = Rig::new();
    let samples = signal(1, 30_011);
    rig.say(7, &samples);
    rig.run_ms(1_000);
    assert_eq!(rig.sound(), samples);
    assert_eq!(rig.ended(7), vec![625_229]);
}

#[test]
fn the_next_queued_store_follows_without_a_gap() {
    let mut rig = Rig::new();
    let (a, b, c) = (signal(1, 10_007), signal(2, 777), signal(3, 9_999));
    rig.say(1, &a);
    rig.say(2, &b);
    rig.say(3, &c);
    rig.run_ms(800);
    assert_eq!(rig.sound(), [a, b, c].concat());
    let order: Vec<_> = rig
        .events()
        .into_iter()
        .filter_map(|e| match e {
            TxEvent::Started { utterance, at_us } => Some((utterance, "started", at_us)),
            TxEvent::Ended { utterance, at_us, .. } => Some((utterance, "ended", at_us)),
            _ => None,
        })
        .collect();
    let names: Vec<_> = order.iter().map(|(u, what, _)| (*u, *what)).collect();
    assert_eq!(
        names,
        [
            (1, "started"),
            (1, "ended"),
            (2, "started"),
            (2, "ended"),
            (3, "started"),
            (3, "ended")
        ]
    );
    // The end of one is the begin of the next, to the microsecond of rounding.
    assert!(order[1].2.abs_diff(order[2].2) <= 1);
    assert!(order[2].2.abs_diff(order[0].2 + 10_007 * 1_000_000 / 48_000) <= 2);
}

#[test]
fn a_play_within_100_ms_of_hungry_is_free_of_a_gap() {
    let mut rig = Rig::new();
    let (a, b) = (signal(1, 48_000), signal(2, 4_800));
    rig.say(1, &a);
    while !rig.events().contains(&TxEvent::Hungry { track: 1 }) {
        rig.period();
    }
    rig.run_ms(100);
    rig.say(2, &b);
    rig.run_ms(500);
    assert_eq!(rig.sound(), [a, b].concat());
    let hungry = |e: &&TxEvent| matches!(e, TxEvent::Hungry { .. });
    assert_eq!(rig.events().iter().filter(hungry).count(), 2);
    let underran = |e: &TxEvent| matches!(e, TxEvent::Underrun { .. });
    assert!(!rig.events().iter().any(underran));
}

#[test]
fn marks_are_told_when_their_sample_is_heard() {
    let mut rig = Rig::new();
    rig.engine(RATE, 960);
    let mut writer = rig.tx.store(5, Output::Local);
    writer.begin_piece(RATE, 1.0);
    writer.mark(word(24_000, 10));
    writer.mark(word(0, 0));
    writer.write(&signal(1, 48_000)).unwrap();
    writer.finish();
    rig.tx.play(1, 5);
    rig.run_ms(1_200);
    let events = rig.events();
    let started = events.iter().find_map(|e| match e {
        TxEvent::Started { at_us, .. } => Some(*at_us),
        _ => None,
    });
    // Rendered at 1 s, heard 20 ms later.
    assert_eq!(started, Some(1_020_000));
    let marks: Vec<_> = events
        .iter()
        .filter_map(|e| match e {
            TxEvent::Mark { mark, at_us, .. } => Some((mark.char_start, mark.at_us, *at_us)),
            _ => None,
        })
        .collect();
    assert_eq!(marks, [(0, 0, 1_020_000), (10, 500_000, 1_520_000)]);
}

#[test]
fn a_watched_place_that_the_sound_does_not_reach_is_not_told() {
    let mut rig = Rig::new();
    rig.engine(RATE, 0);
    rig.tx.watch(5, Output::Local, 500_000);
    rig.tx.watch(5, Output::Local, 1_100_000);
    let mut writer = rig.tx.store(5, Output::Local);
    writer.begin_piece(RATE, 1.0);
    writer.mark(word(60_000, 3));
    writer.write(&signal(1, 48_000)).unwrap();
    writer.finish();
    rig.tx.play(1, 5);
    rig.run_ms(1_200);
    let told = |e: &TxEvent| match e {
        TxEvent::Mark { mark, .. } => Some(mark.at_us),
        _ => None,
    };
    let marks: Vec<u64> = rig.events().iter().filter_map(told).collect();
    assert_eq!(
        marks,
        [500_000, 1_250_000],
        "a word beyond the end counts as heard at the end, as before"
    );
}

#[test]
fn nothing_is_told_before_it_is_heard() {
    let mut rig = Rig::new();
    rig.engine(RATE, 4_800);
    rig.say(1, &signal(1, 480));
    for _ in 0..9 {
        rig.period();
    }
    let silent = |e: &TxEvent| matches!(e, TxEvent::Hungry { .. });
    assert!(rig.events().iter().all(silent), "{:?}", rig.events());
    rig.run_ms(40);
    assert_eq!(rig.ended(1), vec![10_000]);
}

#[test]
fn pause_and_resume_add_up_to_the_original() {
    let mut rig = Rig::new();
    let samples = vec![0.25f32; 48_000];
    rig.say(1, &samples);
    rig.run_ms(200);
    rig.tx.pause(1, 5_000);
    rig.run_ms(300);
    assert!(matches!(rig.events().last(), Some(TxEvent::Paused { track: 1, .. })));
    assert_eq!(*rig.heard.last().unwrap(), 0.0);
    rig.tx.resume(1);
    rig.run_ms(1_500);
    let total: f64 = rig.heard.iter().map(|s| f64::from(*s)).sum();
    assert!((total - 12_000.0).abs() < 0.01, "{total}");
    assert_eq!(rig.ended(1), vec![1_000_000]);
}

#[test]
fn a_track_paused_while_idle_holds_what_comes_next() {
    let mut rig = Rig::new();
    rig.tx.pause(1, 5_000);
    rig.say(1, &signal(1, 4_800));
    rig.run_ms(300);
    assert!(rig.sound().is_empty());
    rig.tx.resume(1);
    rig.run_ms(300);
    assert_eq!(rig.ended(1), vec![100_000]);
}

#[test]
fn a_long_utterance_takes_little_memory_and_its_writer_waits() {
    let mut rig = Rig::new();
    rig.tx.play(1, 1);
    let mut writer = rig.tx.store(1, Output::Local);
    let feeder = rig.tx.shared.clone();
    let store = feeder.peek(1);
    let worker = thread::spawn(move || {
        writer.begin_piece(RATE, 1.0);
        for i in 0..600 {
            if writer.write(&signal(i, 4_800)).is_err() {
                return false;
            }
        }
        writer.finish();
        true
    });
    let mut most = 0;
    while rig.ended(1).is_empty() {
        rig.run_ms(20);
        most = most.max(store.kept());
        // Virtual time must not outrun the writer.
        while !store.level().complete && store.ahead_us() < 4_000_000 {
            thread::yield_now();
        }
    }
    assert!(worker.join().unwrap());
    assert_eq!(rig.ended(1), vec![60_000_000]);
    assert!(most < 48_000 * 6, "{most} samples");
    let whole: Vec<f32> = (0..600).flat_map(|i| signal(i, 4_800)).collect();
    assert!(rig.sound() == whole, "not bit for bit");
}

#[test]
fn low_comes_once_each_time_the_store_falls_below_the_look_ahead() {
    let mut rig = Rig::with(TxConfig {
        look_ahead_us: 500_000,
        ..TxConfig::default()
    });
    let low = |rig: &Rig| {
        let is = |e: &&TxEvent| matches!(e, TxEvent::Low { utterance: 1 });
        rig.events().iter().filter(is).count()
    };
    rig.tx.play(1, 1);
    let mut writer = rig.tx.store(1, Output::Local);
    writer.set_blocking(false);
    writer.begin_piece(RATE, 1.0);
    writer.write(&signal(1, 48_000)).unwrap();
    rig.run_ms(400);
    assert_eq!(low(&rig), 0);
    rig.run_ms(400);
    assert_eq!(low(&rig), 1);
    writer.write(&signal(2, 48_000)).unwrap();
    rig.run_ms(1_000);
    assert_eq!(low(&rig), 2);
    writer.finish();
    rig.run_ms(500);
    assert_eq!(low(&rig), 2);
}

#[test]
fn a_slow_backend_is_given_a_head_start() {
    let mut rig = Rig::new();
    rig.tx.play(1, 1);
    let mut writer = rig.tx.store(1, Output::Local);
    writer.expect_speed(0.9);
    writer.begin_piece(RATE, 1.0);
    for _ in 0..29 {
        writer.write(&[0.5; 480]).unwrap();
        rig.run_ms(10);
    }
    assert!(rig.sound().is_empty());
    writer.write(&[0.5; 960]).unwrap();
    rig.run_ms(10);
    assert!(!rig.sound().is_empty());
}

#[test]
fn an_underrun_is_told_with_its_length_and_the_rest_is_heard() {
    let mut rig = Rig::new();
    rig.tx.play(1, 1);
    let mut writer = rig.tx.store(1, Output::Local);
    writer.begin_piece(RATE, 1.0);
    writer.write(&[0.5; 4_800]).unwrap();
    rig.run_ms(200);
    writer.write(&[0.5; 9_600]).unwrap();
    writer.finish();
    rig.run_ms(500);
    let lost = rig.events().into_iter().find_map(|e| match e {
        TxEvent::Underrun { utterance: 1, lost_us } => Some(lost_us),
        _ => None,
    });
    assert_eq!(lost, Some(100_000));
    assert_eq!(rig.ended(1), vec![300_000]);
}

#[test]
fn an_utterance_without_a_sample_ends_in_its_turn() {
    let mut rig = Rig::new();
    rig.say(1, &signal(1, 4_800));
    rig.say(2, &[]);
    rig.say(3, &signal(3, 4_800));
    rig.say(4, &[]);
    rig.run_ms(400);
    let ended: Vec<_> = rig
        .events()
        .iter()
        .filter_map(|e| match e {
            TxEvent::Ended { utterance, played_us, .. } => Some((*utterance, *played_us)),
            _ => None,
        })
        .collect();
    assert_eq!(ended, [(1, 100_000), (2, 0), (3, 100_000), (4, 0)]);
    assert_eq!(rig.sound(), [signal(1, 4_800), signal(3, 4_800)].concat());
}

#[test]
fn a_dropped_writer_completes_its_store() {
    let mut rig = Rig::new();
    rig.tx.play(1, 1);
    let mut writer = rig.tx.store(1, Output::Local);
    writer.begin_piece(RATE, 1.0);
    writer.write(&signal(1, 4_800)).unwrap();
    drop(writer);
    rig.run_ms(300);
    assert_eq!(rig.ended(1), vec![100_000]);
}

#[test]
fn more_tracks_than_lanes_take_turns_and_all_are_heard() {
    let mut rig = Rig::new();
    for track in 2..=300u64 {
        rig.tx.open_track(track, Output::Local);
        rig.store(track, &[0.001; 4_800]);
        rig.tx.play(track, track);
    }
    rig.run_ms(3_000);
    for track in 2..=300u64 {
        assert_eq!(rig.ended(track), vec![100_000], "track {track}");
    }
}

#[test]
fn gain_survives_the_lane() {
    let mut rig = Rig::new();
    rig.tx.gain(1, 0.5, 0);
    rig.say(1, &[0.5; 4_800]);
    rig.run_ms(2_000);
    rig.say(2, &[0.5; 4_800]);
    rig.run_ms(300);
    assert!(rig.sound().iter().all(|s| *s == 0.25 || *s == 0.0));
    assert_eq!(rig.ended(2), vec![100_000]);
}

#[test]
fn the_feeder_thread_plays_by_itself() {
    let (control, mut renderer) = utterd_rt::engine(RATE);
    let (said, events) = std::sync::mpsc::channel();
    let tx = Tx::start(TxConfig::default(), move |event| {
        // The receiver may be gone at the end of the test.
        drop(said.send(event));
    })
    .unwrap();
    tx.engine(Output::Local, control, RATE, 0);
    tx.open_track(1, Output::Local);
    tx.play(1, 9);
    let mut writer = tx.store(9, Output::Local);
    let samples = signal(4, 9_600);
    writer.begin_piece(RATE, 1.0);
    writer.write(&samples).unwrap();
    writer.finish();
    let mut heard = Vec::new();
    let mut over = false;
    let begun = std::time::Instant::now();
    while !over && begun.elapsed().as_secs() < 30 {
        let mut out = [0.0; 480];
        renderer.render(&mut out, now_us());
        heard.extend(out);
        thread::sleep(std::time::Duration::from_millis(5));
        over = events.try_iter().any(|e| matches!(e, TxEvent::Ended { utterance: 9, .. }));
    }
    assert!(over);
    tx.shutdown();
    let sound: Vec<f32> = heard.into_iter().filter(|s| *s != 0.0).collect();
    assert!(sound == samples, "{} of {}", sound.len(), samples.len());
}
