//! The long runs: random operations of eight clients for a minute, each on an output of its own and then on the one loudspeaker, and a
//! thousand cancels with a Say straight behind. `soak [SEED]`; the seed is printed. Exits 1 (by a panic that says what) when a book is wrong.

use std::time::Duration;

use utterd_tests::clock::now_us;
use utterd_tests::soak::{Plan, run, says_after_cancels};

fn main() {
    let seed = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(now_us);
    println!("seed {seed}");
    for shared in [false, true] {
        let plan = Plan {
            shared,
            operations: 1_000,
            time: Duration::from_secs(60),
            seed,
        };
        let summary = run(plan);
        let name = if shared { "on the shared floor" } else { "an output each" };
        println!("{name}: {:?}", summary.done);
        println!("  ended {:?}; compared with the ear: {}", summary.outcomes, summary.listened);
        let [before, after] = [summary.before, summary.after];
        println!("  kB, descriptors, threads: {before:?} after half of it, {after:?} at the end");
    }
    let [spoken, stale] = says_after_cancels(1_000, seed);
    println!("after 1,000 cancels: {spoken} says spoken, {stale} of the cancelled turn refused");
}
