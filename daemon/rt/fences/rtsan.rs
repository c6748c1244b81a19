//! The renderer under the real-time sanitizer: it reports, and ends the program (exit 43) at, the first call inside `render` that the
//! run-time library knows to be unfit: `malloc`, `free`, a contended lock, reading, writing, sleeping.
//!
//! `rtsan` renders the storm and must end with 0; `rtsan sabotage` allocates inside the guarded part and must not: a fence that does
//! not bite proves nothing. Both are run by `make fences`, which builds this with `-Zsanitizer=realtime`; the attribute and the flag are
//! unstable, so the feature `rtsan` keeps this file away from every other build. It is a program rather than an example because those
//! would bring the development dependencies with them, and what is built under the sanitizer should be the room alone.

#![feature(sanitize)]
#![allow(clippy::unwrap_used)]

#[path = "../tests/storm/mod.rs"]
mod storm;

use utterd_rt::{Cycle, Renderer};

const PERIODS: u64 = 5_000;

fn main() {
    let sabotage = std::env::args().nth(1).as_deref() == Some("sabotage");
    let mut kept = Vec::new();
    storm::storm(PERIODS, |renderer, out, cycle| {
        period(renderer, out, cycle, sabotage.then_some(&mut kept))
    });
    println!("{PERIODS} periods rendered, nothing reported");
}

/// What is called from here is in real time; not inlined, so that the sanitizer's marks enclose the whole of it.
#[inline(never)]
#[sanitize(realtime = "nonblocking")]
fn period(renderer: &mut Renderer, out: &mut [f32], cycle: Cycle<'_>, sabotage: Option<&mut Vec<u64>>) {
    renderer.cycle(out, cycle);
    if let Some(kept) = sabotage {
        kept.push(cycle.frame);
    }
}
