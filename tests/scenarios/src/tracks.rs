//! A set of scenarios heard by the detector: probabilities once, decisions as often as thresholds are tried.

use crate::corpus::Corpus;
use crate::dice::Dice;
use crate::make::{Purpose, Recipe, Scenario, make};
use crate::score::Act;
use std::sync::Arc;
use std::time::Duration;
use utterd_core::hearing::{Backchannel, BargeInPolicy, Finding, FindingKind, Policy, PolicySettings, Situation, Verdict};
use utterd_detector_bargein::training::{Decision, Edge, Level, Probe, Thresholds, level};

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

/// What the network said of every 10 ms, and how loud they were.
pub type Heard = Vec<([f32; 3], Level)>;

/// One of the test set's kinds, as often as it occurs there.
pub fn kind(dice: &mut Dice) -> &'static str {
    let mut part = dice.below(MIX.iter().map(|m| m.1).sum());
    let mut kind = MIX[0].0;
    for (name, parts) in MIX {
        kind = name;
        if part < parts {
            break;
        }
        part -= parts;
    }
    kind
}

/// The `seed`th scenario of the test set.
pub fn draw(corpus: &Corpus, seed: u64) -> Scenario {
    let mut dice = Dice::new(seed ^ 0x77);
    let kind = kind(&mut dice);
    let recipe = Recipe {
        kind,
        rate: *dice.pick(&[8_000, 8_000, 16_000, 16_000, 48_000]),
        length_ms: dice.between(7_000.0, 14_000.0),
        purpose: Purpose::Test,
    };
    make(&recipe, corpus, seed)
}

/// In chunks as `utterd-detect` feeds them; `far` false: as if nothing were known of what was played; `model`: other weights than
/// those shipped. The thread's time with it.
pub fn listen(s: &Scenario, far: bool, model: Option<&[u8]>) -> (Heard, Duration) {
    let mut probe = Probe::new(s.rate);
    if let Some(model) = model {
        probe.try_model(model);
    }
    let chunk = if s.rate == 8_000 { 160 } else { s.rate as usize / 100 };
    let mut heard = Vec::with_capacity(s.near.len() / chunk * 2);
    let began = thread_time();
    for (near, played) in s.near.chunks(chunk).zip(s.far.chunks(chunk)) {
        probe.feed(near, far.then_some(played), None, |features, p| heard.push((p, level(features))));
    }
    (heard, thread_time() - began)
}

fn thread_time() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// What the daemon does with it: the detector's decisions through the daemon's own policy.
pub fn acts(heard: &Heard, rate: u32, thresholds: Thresholds, settings: PolicySettings) -> Vec<(f32, Act)> {
    let mut decision = Decision::new(thresholds);
    let mut policy = Policy::new(settings);
    let speaking = Situation {
        active: true,
        protected: false,
    };
    policy.situation(0, speaking);
    let detector: Arc<str> = Arc::from("detector-bargein");
    let mut acts = Vec::new();
    // At 8 kHz a chunk is two frames: what the first decides is told with the second.
    let step = if rate == 8_000 { 2 } else { 1 };
    for (n, (p, level)) in heard.iter().enumerate() {
        let told = ((n / step + 1) * step) as u64 * FRAME_US;
        let mut judge = |paused: bool, verdict: Option<Verdict>| {
            let act = match verdict {
                Some(Verdict::Suspected) if !paused => Act::Pause,
                Some(Verdict::Confirmed) => Act::Cancel,
                Some(Verdict::False) => Act::Resume,
                _ => return,
            };
            acts.push((told as f32 / 1_000.0, act));
        };
        judge(policy.is_suspecting(), policy.tick(told));
        decision.level(*level);
        let Some(edge) = decision.feed(*p) else { continue };
        let now = (n as u64 + 1) * FRAME_US;
        let since = |frames: u32| now.saturating_sub(u64::from(frames) * FRAME_US);
        // In the daemon's order of what one chunk brings: an end comes last.
        let kinds: &[(FindingKind, u64)] = &match edge {
            Edge::Start(frames) => vec![(FindingKind::SpeechStart, since(frames))],
            Edge::BargeIn(frames) => vec![(FindingKind::BargeIn, since(frames))],
            Edge::Assent => vec![(FindingKind::Backchannel, now), (FindingKind::SpeechEnd, now)],
            Edge::End => vec![(FindingKind::SpeechEnd, now)],
        };
        for (kind, at_us) in kinds {
            let finding = Finding {
                kind: *kind,
                at_us: *at_us,
                probability: p[0],
                confidence: p[1],
                detector: Arc::clone(&detector),
            };
            judge(policy.is_suspecting(), policy.heard(told, &finding));
        }
    }
    acts
}

const FRAME_US: u64 = 10_000;

/// `pause-then-confirm`, where "mhm" cancels like any speech, or only pauses.
pub fn two_phases(backchannel: Backchannel) -> PolicySettings {
    PolicySettings {
        backchannel,
        ..PolicySettings::default()
    }
}

pub fn at_once() -> PolicySettings {
    PolicySettings {
        policy: BargeInPolicy::CancelAtOnce,
        ..PolicySettings::default()
    }
}
