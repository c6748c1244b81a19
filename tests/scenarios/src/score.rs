//! What a detector's events are worth against a scenario's labels.
//!
//! A pause is false when it begins outside user speech (and outside assent, which is counted by itself); a cancel likewise. A user
//! who is never confirmed was missed. Latency counts from the labelled onset to the audio consumed at the decision.

use crate::make::Scenario;
use std::collections::BTreeMap;

/// What the daemon would do, and when, in ms of audio consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Pause,
    Cancel,
    Resume,
}

#[derive(Clone, Default)]
pub struct Score {
    pub pause_ms: Vec<f32>,
    pub cancel_ms: Vec<f32>,
    pub interruptions: usize,
    pub missed: usize,
    pub taken_back: usize,
    pub false_pauses: usize,
    pub false_cancels: usize,
    pub false_pause_ms: Vec<f32>,
    pub assents: usize,
    pub assents_paused: usize,
    pub assents_cancelled: usize,
    /// Agent speech without user speech.
    pub minutes: f32,
}

/// After the user's last word a pause may still be due to it.
const TRAIL_MS: f32 = 250.0;

impl Score {
    pub fn add(&mut self, s: &Scenario, acts: &[(f32, Act)]) {
        let length = s.near.len() as f32 * 1_000.0 / s.rate as f32;
        let spoken: f32 = s.user.iter().map(|(a, b)| b - a).sum();
        self.minutes += (s.agent.1.min(length) - s.agent.0 - spoken).max(0.0) / 60_000.0;
        let within = |spans: &[(f32, f32)], t: f32| spans.iter().any(|(a, b)| t > *a && t < b + TRAIL_MS);
        let mut paused: Option<f32> = None;
        for (t, act) in acts {
            let (user, assent) = (within(&s.user, *t), within(&s.backchannels, *t));
            match act {
                Act::Pause => paused = Some(*t),
                Act::Cancel => {
                    if !user && !assent {
                        self.false_cancels += 1;
                    }
                    if let Some(from) = paused.take()
                        && !within(&s.user, from)
                        && !user
                        && !within(&s.backchannels, from)
                    {
                        self.false_pauses += 1;
                        self.false_pause_ms.push(t - from);
                    }
                }
                Act::Resume => {
                    if let Some(from) = paused.take() {
                        if !within(&s.user, from) && !within(&s.backchannels, from) {
                            self.false_pauses += 1;
                            self.false_pause_ms.push(t - from);
                        } else if s.user.iter().any(|(a, b)| from > *a && *t < *b) {
                            self.taken_back += 1;
                        }
                    }
                }
            }
        }
        for (onset, end) in &s.user {
            self.interruptions += 1;
            let mut held = false;
            let mut first_pause = None;
            let mut cancel = None;
            for (t, act) in acts {
                if *t <= *onset {
                    held = *act != Act::Resume;
                    continue;
                }
                if *t > end + 2.0 * TRAIL_MS {
                    break;
                }
                match act {
                    Act::Pause => {
                        first_pause.get_or_insert(*t - onset);
                    }
                    Act::Cancel => {
                        first_pause.get_or_insert(if held { 0.0 } else { *t - onset });
                        cancel.get_or_insert(*t - onset);
                    }
                    Act::Resume => held = false,
                }
            }
            self.pause_ms.extend(first_pause);
            self.cancel_ms.extend(cancel);
            self.missed += usize::from(cancel.is_none());
        }
        for (from, to) in &s.backchannels {
            let inside = |what: Act| acts.iter().any(|(t, a)| *a == what && t > from && *t < to + TRAIL_MS);
            self.assents += 1;
            self.assents_cancelled += usize::from(inside(Act::Cancel));
            self.assents_paused += usize::from(inside(Act::Pause));
        }
    }
}

/// The `q` quantile; NaN of nothing.
pub fn quantile(values: &[f32], q: f32) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    if sorted.is_empty() {
        return f32::NAN;
    }
    sorted[((sorted.len() - 1) as f32 * q).round() as usize]
}

/// By category, and together under "all".
pub type Table = BTreeMap<String, Score>;

pub fn header() -> String {
    format!(
        "{:<18}{:>6}{:>8}{:>16}{:>8}{:>16}{:>8}{:>9}{:>10}{:>11}{:>9}{:>12}",
        "category", "min", "inter-", "pause ms", "", "cancel ms", "", "missed", "taken", "f.pauses", "f.cancel", "assent"
    ) + &format!(
        "\n{:<18}{:>6}{:>8}{:>16}{:>8}{:>16}{:>8}{:>9}{:>10}{:>11}{:>9}{:>12}",
        "", "", "rupts", "p50", "p95", "p50", "p95", "%", "back %", "a minute", "a minute", "only pause"
    )
}

pub fn row(name: &str, s: &Score) -> String {
    let share = |n: usize| 100.0 * n as f32 / s.interruptions.max(1) as f32;
    let pauses = |q| quantile(&s.pause_ms, q);
    let cancels = |q| quantile(&s.cancel_ms, q);
    let assent = match s.assents {
        0 => String::from("-"),
        n => format!("{:.0} %", 100.0 * (n - s.assents_cancelled) as f32 / n as f32),
    };
    format!(
        "{name:<18}{:>6.0}{:>8}{:>16.0}{:>8.0}{:>16.0}{:>8.0}{:>9.1}{:>10.1}{:>11.2}{:>9.3}{:>12}",
        s.minutes,
        s.interruptions,
        pauses(0.5),
        pauses(0.95),
        cancels(0.5),
        cancels(0.95),
        share(s.missed),
        share(s.taken_back),
        s.false_pauses as f32 / s.minutes.max(1e-3),
        s.false_cancels as f32 / s.minutes.max(1e-3),
        assent
    )
}
