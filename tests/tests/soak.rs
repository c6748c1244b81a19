//! The soak's short form (`make soak` is the long one): eight clients at random, and the books compared.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use utterd_tests::random::Random;
use utterd_tests::soak::{Plan, run, says_after_cancels};

fn plan(shared: bool) -> Plan {
    Plan {
        shared,
        operations: 320,
        time: Duration::from_secs(12),
        seed: Random::seeded().bits(),
    }
}

#[test]
fn eight_clients_with_an_output_each_finish_everything_once_and_the_books_agree() {
    let summary = run(plan(false));
    assert!(summary.outcomes.values().sum::<usize>() > 50, "{summary:?}");
}

#[test]
fn eight_clients_on_one_loudspeaker_are_heard_one_at_a_time_and_as_reported() {
    let summary = run(plan(true));
    assert!(summary.listened > 10, "{summary:?}");
}

#[test]
fn i5_a_say_behind_a_cancel_is_spoken_and_one_of_the_cancelled_turn_never_is() {
    let [completed, stale] = says_after_cancels(80, Random::seeded().bits());
    assert!(completed >= 80 && stale == 80, "{completed} {stale}");
}
