//! A set of scenarios heard by the detector: probabilities once, decisions as often as thresholds are tried.

use crate::corpus::Corpus;
use crate::dice::Dice;
use crate::make::{Recipe, Scenario, make};
use crate::score::Act;
use std::time::Duration;
use utterd_detector_bargein::training::{Decision, Edge, Probe, Thresholds};

/// How often each kind occurs in the test set, in parts.
const MIX: [(&str, usize); 13] = [
    ("interrupt", 34),
    ("interrupt-early", 6),
    ("interrupt-jump", 6),
    ("echo", 18),
    ("jump", 5),
    ("backchannel", 6),
    ("cough", 5),
    ("click", 4),
    ("dtmf", 3),
    ("music", 4),
    ("talker", 3),
    ("effect", 3),
    ("silence", 3),
];

/// What the network said of every 10 ms.
pub type Heard = Vec<[f32; 3]>;

/// The `seed`th scenario of the test set.
pub fn draw(corpus: &Corpus, seed: u64) -> Scenario {
    let mut dice = Dice::new(seed ^ 0x77);
    let mut part = dice.below(MIX.iter().map(|m| m.1).sum());
    let mut kind = MIX[0].0;
    for (name, parts) in MIX {
        kind = name;
        if part < parts {
            break;
        }
        part -= parts;
    }
    let recipe = Recipe {
        kind,
        rate: *dice.pick(&[8_000, 8_000, 16_000, 16_000, 48_000]),
        length_ms: dice.between(7_000.0, 14_000.0),
        training: false,
    };
    make(&recipe, corpus, seed)
}

/// In chunks as `utterd-detect` feeds them; `far` false: as if nothing were known of what was played. The thread's time with it.
pub fn listen(s: &Scenario, far: bool) -> (Heard, Duration) {
    let mut probe = Probe::new(s.rate);
    let chunk = if s.rate == 8_000 { 160 } else { s.rate as usize / 100 };
    let mut heard = Vec::with_capacity(s.near.len() / chunk * 2);
    let began = thread_time();
    for (near, played) in s.near.chunks(chunk).zip(s.far.chunks(chunk)) {
        probe.feed(near, far.then_some(played), None, |_, p| heard.push(p));
    }
    (heard, thread_time() - began)
}

fn thread_time() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// What the daemon would do with `pause-then-confirm`.
pub fn acts(heard: &Heard, rate: u32, thresholds: Thresholds) -> Vec<(f32, Act)> {
    let mut decision = Decision::new(thresholds);
    let mut acts = Vec::new();
    let mut paused = false;
    // At 8 kHz a chunk is two frames: what the first decides is told with the second.
    let step = if rate == 8_000 { 2 } else { 1 };
    for (n, p) in heard.iter().enumerate() {
        let t = ((n / step + 1) * step) as f32 * 10.0;
        match decision.feed(*p) {
            Some(Edge::Start(_)) => {
                paused = true;
                acts.push((t, Act::Pause));
            }
            Some(Edge::BargeIn(_)) => {
                paused = false;
                acts.push((t, Act::Cancel));
            }
            Some(Edge::Assent | Edge::End) if std::mem::take(&mut paused) => acts.push((t, Act::Resume)),
            _ => {}
        }
    }
    acts
}

/// What it would do with `cancel-at-once`.
pub fn cancels(heard: &Heard, rate: u32, thresholds: Thresholds) -> Vec<(f32, Act)> {
    let all = acts(heard, rate, thresholds);
    all.into_iter().filter(|a| a.1 == Act::Pause).map(|a| (a.0, Act::Cancel)).collect()
}
