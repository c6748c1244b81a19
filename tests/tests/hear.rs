//! The minute of `make hear` that every test run can afford: pauses that a detector took back, to the sample (issue: hearing).
#![allow(clippy::unwrap_used)]

use std::time::Duration;
use utterd_tests::hear::{Agent, Plan, Sounds, bothered};
use utterd_tests::jack::JackOptions;
use utterd_tests::room::Echo;

#[test]
fn a_minute_of_coughs_and_music_costs_the_agent_pauses_and_not_a_sample() {
    let plan = Plan {
        agent: Agent::Tone,
        jack: JackOptions::default(),
        echo: Echo {
            delay_ms: 60.0,
            erl_db: 15.0,
            tail: true,
        },
        seed: 3,
    };
    let sounds = Sounds::new(plan.seed, plan.jack.rate, None).unwrap();
    let got = bothered(&plan, sounds, Duration::from_secs(45));
    let faults: Vec<_> = got.followed.iter().flat_map(|f| &f.faults).collect();
    let pauses: usize = got.followed.iter().map(|f| f.pauses.len()).sum();
    println!("{pauses} pauses, {} told, {} sounded", got.pauses.len(), got.happened.len());
    assert!(faults.is_empty(), "{faults:?}");
    assert!(pauses > 0, "nothing paused it: {:?}", got.happened);
    assert!(got.minutes > 0.5, "{} minutes", got.minutes);
}
