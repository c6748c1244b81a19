//! Random sequences of orders, writes, periods and engines against what must always hold.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

#[derive(Clone, Debug)]
enum Op {
    Open(u64),
    Write(u64, usize),
    Finish(u64),
    Play(u64),
    Cut(u64),
    Forget(u64),
    Pause,
    Resume,
    Lose,
    Engine(u32),
    Run(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let id = 1u64..9;
    prop_oneof![
        4 => id.clone().prop_map(Op::Open),
        8 => (id.clone(), 1usize..12_000).prop_map(|(u, n)| Op::Write(u, n)),
        4 => id.clone().prop_map(Op::Finish),
        6 => id.clone().prop_map(Op::Play),
        3 => id.clone().prop_map(Op::Cut),
        1 => id.prop_map(Op::Forget),
        1 => Just(Op::Pause),
        2 => Just(Op::Resume),
        1 => Just(Op::Lose),
        2 => prop::sample::select(vec![RATE, RATE, 44_100, 16_000]).prop_map(Op::Engine),
        10 => (1u64..120).prop_map(Op::Run),
    ]
}

/// The value of every sample of an utterance, far from any ramp of another's.
fn value(utterance: u64) -> f32 {
    0.031_415_9 * (utterance as f32 + 0.271_8)
}

#[derive(Default)]
struct Known {
    writer: Option<StoreWriter>,
    written_us: u64,
    is_played: bool,
    cuts: usize,
    forgotten: bool,
}

fn check(rig: &Rig, known: &HashMap<u64, Known>, settled: bool) {
    let events = rig.events();
    for (id, what) in known {
        let (mut started, mut ended, mut cuts, mut last_mark) = (0, 0, 0, 0);
        for event in &events {
            match event {
                TxEvent::Started { utterance, .. } if utterance == id => {
                    assert_eq!((cuts, ended), (0, 0));
                    started += 1;
                }
                TxEvent::Mark { utterance, mark, .. } if utterance == id => {
                    assert_eq!((cuts, ended), (0, 0));
                    assert!(mark.at_us >= last_mark);
                    last_mark = mark.at_us;
                }
                TxEvent::Ended { utterance, played_us, .. } if utterance == id => {
                    assert_eq!(cuts, 0);
                    assert!(
                        played_us.abs_diff(what.written_us) <= 2_000,
                        "{what_us:?} {played_us}",
                        what_us = what.written_us
                    );
                    ended += 1;
                }
                TxEvent::Cut { utterance, played_us, .. } if utterance == id => {
                    assert!(*played_us <= what.written_us + 2_000);
                    cuts += 1;
                }
                _ => {}
            }
        }
        assert!(started <= 1 && ended <= 1);
        assert!(cuts <= what.cuts);
        if settled {
            assert_eq!(cuts, what.cuts, "utterance {id}");
            if what.is_played && what.cuts == 0 && !what.forgotten {
                assert_eq!(ended, 1, "utterance {id} of {} us", what.written_us);
            }
        }
    }
}

/// A ramp crosses a value in a sample or two; this is the utterance itself.
fn sounds(utterance: u64, heard: &[f32]) -> bool {
    let is_it = |s: &f32| (s - value(utterance)).abs() < 2e-4;
    heard.windows(8).any(|w| w.iter().all(is_it))
}

/// Once the answer to a cut is given, no period holds that utterance.
fn run_and_listen(rig: &mut Rig, known: &HashMap<u64, Known>, ms: u64) {
    for _ in 0..ms.div_ceil(10) {
        let silenced: Vec<u64> = known
            .iter()
            .filter(|(u, known)| known.cuts > 0 && !rig.cuts(**u).is_empty())
            .map(|(u, _)| *u)
            .collect();
        let from = rig.heard.len();
        rig.period();
        for utterance in silenced {
            assert!(!sounds(utterance, &rig.heard[from..]), "{utterance}");
        }
    }
}

fn run(ops: &[Op]) {
    let mut rig = Rig::new();
    let mut known: HashMap<u64, Known> = HashMap::new();
    for op in ops {
        match op {
            Op::Open(u) => {
                let entry = known.entry(*u).or_default();
                if entry.writer.is_none() && entry.written_us == 0 && !entry.forgotten {
                    let mut writer = rig.tx.store(*u, Output::Local);
                    writer.set_blocking(false);
                    writer.begin_piece(22_050, 1.0);
                    entry.writer = Some(writer);
                }
            }
            Op::Write(u, samples) => {
                if let Some(known) = known.get_mut(u)
                    && let Some(writer) = &mut known.writer
                {
                    writer.mark(word(known.written_us * 22_050 / 1_000_000, 0));
                    if writer.write(&vec![value(*u); *samples]).is_ok() {
                        known.written_us += *samples as u64 * 1_000_000 / 22_050;
                    }
                }
            }
            Op::Finish(u) => {
                // The drop finishes.
                known.entry(*u).or_default().writer = None;
            }
            Op::Play(u) => {
                let entry = known.entry(*u).or_default();
                if !entry.is_played && (entry.writer.is_some() || entry.written_us > 0) {
                    entry.is_played = true;
                    rig.tx.play(1, *u);
                }
            }
            Op::Cut(u) => {
                let entry = known.entry(*u).or_default();
                entry.cuts += 1;
                rig.tx.cut(*u, 5_000);
            }
            Op::Forget(u) => {
                let entry = known.entry(*u).or_default();
                // Whoever forgets has heard the answer of every cut.
                let answered = rig.cuts(*u).len() == entry.cuts;
                if answered {
                    entry.forgotten = true;
                    rig.tx.forget(*u);
                }
            }
            Op::Pause => rig.tx.pause(1, 5_000),
            Op::Resume => rig.tx.resume(1),
            Op::Lose => rig.lose(),
            Op::Engine(rate) => rig.engine(*rate, 480),
            Op::Run(ms) => run_and_listen(&mut rig, &known, *ms),
        }
        check(&rig, &known, false);
    }
    rig.tx.resume(1);
    for known in known.values_mut() {
        known.writer = None;
    }
    rig.engine(RATE, 480);
    run_and_listen(&mut rig, &known, 12_000);
    check(&rig, &known, true);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_cut_is_answered_once_and_every_other_utterance_ends_once(
        ops in prop::collection::vec(op(), 1..60)
    ) {
        run(&ops);
    }
}
