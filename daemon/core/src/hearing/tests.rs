//! The policy, rule by rule, and then thousands of random lives against what must hold in all of them.

use super::*;
use std::sync::Arc;

const MS: u64 = 1_000;

fn finding(kind: FindingKind, at_ms: u64) -> Finding {
    Finding {
        kind,
        at_us: at_ms * MS,
        probability: 0.9,
        confidence: 0.9,
        detector: Arc::from("test"),
    }
}

/// A policy and a clock in milliseconds; the agent speaks from 0 unless told otherwise.
struct Life(Policy);

impl Life {
    fn new(settings: PolicySettings) -> Self {
        let mut life = Self(Policy::new(settings));
        life.situation(0, true, false);
        life
    }

    fn of(policy: BargeInPolicy) -> Self {
        Self::new(PolicySettings {
            policy,
            ..PolicySettings::default()
        })
    }

    fn heard(&mut self, now: u64, kind: FindingKind, at: u64) -> Option<Verdict> {
        self.0.heard(now * MS, &finding(kind, at))
    }

    fn situation(&mut self, now: u64, active: bool, protected: bool) -> Option<Verdict> {
        self.0.situation(now * MS, Situation { active, protected })
    }

    fn report(&mut self, now: u64, report: Report) -> Option<Verdict> {
        self.0.report(now * MS, now * MS, report)
    }

    fn tick(&mut self, now: u64) -> Option<Verdict> {
        self.0.tick(now * MS)
    }
}

use FindingKind::{Backchannel as Mhm, BargeIn, SpeechEnd, SpeechStart};
use Verdict::{Confirmed, False, Suspected};

#[test]
fn speech_is_suspected_then_confirmed_and_that_once() {
    let mut life = Life::of(BargeInPolicy::PauseThenConfirm);
    assert_eq!(life.heard(1050, SpeechStart, 1000), Some(Suspected));
    assert_eq!(life.heard(1300, BargeIn, 1000), Some(Confirmed));
    assert_eq!(life.heard(1400, BargeIn, 1000), None);
    assert_eq!(life.0.deadline(), None);
    assert_eq!(life.heard(2000, SpeechEnd, 1800), None);
    assert_eq!(life.heard(2550, SpeechStart, 2500), Some(Suspected), "it fires again after silence");
}

#[test]
fn a_suspicion_whose_speech_ends_is_false() {
    let mut life = Life::of(BargeInPolicy::PauseThenConfirm);
    assert_eq!(life.heard(50, SpeechStart, 20), Some(Suspected));
    assert_eq!(life.heard(300, SpeechEnd, 200), Some(False));
    assert_eq!(life.heard(310, SpeechEnd, 200), None, "only once");
}

#[test]
fn a_suspicion_that_nothing_confirms_ends_with_its_time_and_begins_it_anew_when_suspected_again() {
    let mut life = Life::of(BargeInPolicy::PauseThenConfirm);
    assert_eq!(life.heard(50, SpeechStart, 20), Some(Suspected));
    assert_eq!(life.heard(1000, SpeechStart, 990), Some(Suspected));
    assert_eq!(life.tick(2999), None);
    assert_eq!(life.0.deadline(), Some(3000 * MS));
    assert_eq!(life.tick(3000), Some(False));
    assert_eq!(
        life.0.user_speech(),
        Some(20 * MS),
        "who speaks on speaks on, whatever became of it"
    );
    assert_eq!(
        life.heard(3500, BargeIn, 20),
        Some(Confirmed),
        "a late certainty needs no suspicion"
    );
}

#[test]
fn nothing_counts_while_no_response_is_active_but_the_speech_is_known() {
    let mut life = Life(Policy::new(PolicySettings::default()));
    assert_eq!(life.heard(50, SpeechStart, 20), None);
    assert_eq!(life.0.user_speech(), Some(20 * MS));
    assert_eq!(life.heard(300, BargeIn, 20), None);
    assert_eq!(life.heard(900, SpeechEnd, 800), None);
    assert_eq!(life.0.user_speech(), None);
}

#[test]
fn the_question_does_not_interrupt_its_answer_unless_it_goes_on() {
    let mut life = Life(Policy::new(PolicySettings::default()));
    assert_eq!(life.heard(50, SpeechStart, 20), None);
    assert_eq!(life.situation(100, true, false), None);
    assert_eq!(life.heard(110, SpeechStart, 20), None, "an onset older than the response");
    assert_eq!(life.heard(250, BargeIn, 20), None, "perhaps these are its last words");
    assert_eq!(life.0.deadline(), Some(600 * MS));
    assert_eq!(life.0.clone().heard(500 * MS, &finding(SpeechEnd, 400)), None);
    assert_eq!(life.tick(600), Some(Confirmed));
}

#[test]
fn t6_protected_speech_is_neither_paused_nor_cancelled_and_who_speaks_on_is_suspected_at_its_end() {
    for sure in [false, true] {
        let mut life = Life(Policy::new(PolicySettings::default()));
        assert_eq!(life.situation(0, true, true), None);
        assert_eq!(life.heard(250, SpeechStart, 200), None);
        if sure {
            assert_eq!(life.heard(450, BargeIn, 200), None);
        }
        assert_eq!(life.situation(500, true, false), Some(Suspected));
        assert_eq!(life.0.deadline(), Some(if sure { 1300 } else { 2500 } * MS));
        assert_eq!(life.tick(1300), sure.then_some(Confirmed));
        if !sure {
            assert_eq!(life.heard(1400, BargeIn, 200), Some(Confirmed));
        }
    }
}

#[test]
fn who_fell_silent_before_protection_ended_and_is_remembered_by_the_detector_only_pauses() {
    let mut life = Life(Policy::new(PolicySettings::default()));
    assert_eq!(life.situation(0, true, true), None);
    assert_eq!(life.heard(150, SpeechStart, 50), None);
    assert_eq!(life.heard(250, BargeIn, 50), None);
    assert_eq!(life.situation(500, true, false), Some(Suspected));
    // Silent since 300 ms; a detector that the agent's echo disturbed needs the agent's own silence to find that out.
    assert_eq!(life.heard(900, SpeechEnd, 300), Some(False));
    assert_eq!(life.0.deadline(), None);
}

#[test]
fn who_fell_silent_before_protection_ended_interrupts_nothing() {
    let mut life = Life(Policy::new(PolicySettings::default()));
    assert_eq!(life.situation(0, true, true), None);
    assert_eq!(life.heard(150, SpeechStart, 100), None);
    assert_eq!(life.heard(350, BargeIn, 100), None);
    assert_eq!(life.heard(480, SpeechEnd, 400), None);
    assert_eq!(life.situation(500, true, false), None);
    assert_eq!(life.0.deadline(), None);
}

#[test]
fn a_protected_utterance_ends_a_suspicion() {
    let mut life = Life::of(BargeInPolicy::PauseThenConfirm);
    assert_eq!(life.heard(50, SpeechStart, 20), Some(Suspected));
    assert_eq!(life.situation(100, true, true), Some(False));
    assert_eq!(life.situation(600, true, false), Some(Suspected));
}

#[test]
fn cancel_at_once_needs_one_suspicion() {
    let mut life = Life::of(BargeInPolicy::CancelAtOnce);
    assert_eq!(life.heard(50, SpeechStart, 20), Some(Confirmed));
    assert_eq!(life.heard(200, BargeIn, 20), None);
    assert_eq!(life.heard(300, SpeechEnd, 250), None);
    assert_eq!(life.report(400, Report::Suspected), Some(Confirmed));
}

#[test]
fn backchannels_only_pause_where_they_may() {
    let mut settings = PolicySettings::default();
    let mut life = Life::new(settings);
    assert_eq!(life.heard(50, SpeechStart, 20), Some(Suspected));
    assert_eq!(life.heard(300, Mhm, 20), Some(Confirmed), "shipped: speech like any other");

    settings.backchannel = Backchannel::Resume;
    let mut life = Life::new(settings);
    assert_eq!(life.heard(50, SpeechStart, 20), Some(Suspected));
    assert_eq!(life.heard(300, Mhm, 20), Some(False));

    let mut life = Life::new(settings);
    assert_eq!(life.heard(50, SpeechStart, 20), Some(Suspected));
    assert_eq!(life.heard(300, BargeIn, 20), None, "longer speech is needed");
    assert_eq!(life.0.deadline(), Some(920 * MS));
    assert_eq!(life.0.clone().tick(920 * MS), Some(Confirmed));
    assert_eq!(life.heard(700, SpeechEnd, 500), Some(False));
}

#[test]
fn what_is_found_of_speech_that_has_ended_opens_none() {
    for late in [Mhm, BargeIn] {
        let mut life = Life(Policy::new(PolicySettings::default()));
        assert_eq!(life.situation(0, true, true), None);
        assert_eq!(life.heard(100, SpeechStart, 60), None);
        assert_eq!(life.heard(300, SpeechEnd, 280), None);
        assert_eq!(life.heard(300, late, 280), None);
        assert_eq!(life.heard(320, Mhm, 320), None, "nor any later, if it is no beginning");
        assert_eq!(life.0.user_speech(), None);
        assert_eq!(life.situation(500, true, false), None, "nobody speaks");
        assert_eq!(life.0.deadline(), None);
        assert_eq!(
            life.heard(900, BargeIn, 700),
            Some(Confirmed),
            "new speech, by a detector that only confirms"
        );
    }
    let mut life = Life::of(BargeInPolicy::PauseThenConfirm);
    assert_eq!(life.heard(50, SpeechStart, 20), Some(Suspected));
    assert_eq!(life.heard(300, SpeechEnd, 300), Some(False));
    assert_eq!(life.heard(300, Mhm, 300), None, "what was taken back stays so");
}

#[test]
fn certainty_without_suspicion_pauses_until_the_speech_is_long_enough() {
    let mut life = Life::new(PolicySettings {
        min_speech_us: 400 * MS,
        ..PolicySettings::default()
    });
    assert_eq!(life.heard(200, BargeIn, 50), Some(Suspected));
    assert_eq!(life.tick(449), None);
    assert_eq!(life.tick(450), Some(Confirmed));
}

#[test]
fn a_warm_up_protects_the_first_words_only() {
    let mut life = Life::new(PolicySettings {
        warm_up_us: 1000 * MS,
        ..PolicySettings::default()
    });
    assert_eq!(life.heard(500, SpeechStart, 450), None);
    assert_eq!(life.0.deadline(), Some(1000 * MS));
    assert_eq!(life.tick(1000), Some(Suspected));
    assert_eq!(life.tick(3000), Some(False));
    assert_eq!(life.0.deadline(), None, "the warm-up comes once");
    assert_eq!(life.situation(4000, false, false), None);
    assert_eq!(life.heard(4100, SpeechEnd, 4000), None);
    assert_eq!(life.situation(5000, true, false), None);
    assert_eq!(life.heard(5100, SpeechStart, 5050), Some(Suspected));
}

#[test]
fn a_warm_up_binds_detectors_and_not_reports() {
    let warming = || {
        Life::new(PolicySettings {
            warm_up_us: 1000 * MS,
            ..PolicySettings::default()
        })
    };
    let mut life = warming();
    assert_eq!(life.report(100, Report::Confirmed), Some(Confirmed));
    let mut life = warming();
    assert_eq!(life.report(100, Report::Suspected), Some(Suspected));
    assert_eq!(life.heard(200, BargeIn, 50), None, "too early for a detector");
    assert_eq!(life.report(300, Report::Confirmed), Some(Confirmed));
}

#[test]
fn a_report_in_the_warm_up_is_confirmed_by_a_sure_detector_when_the_speech_outlasts_it() {
    let mut settings = PolicySettings {
        warm_up_us: 1000 * MS,
        ..PolicySettings::default()
    };
    for sure_first in [true, false] {
        let suspected = || {
            let mut life = Life::new(settings);
            if sure_first {
                assert_eq!(life.heard(80, BargeIn, 50), None);
            }
            assert_eq!(life.report(100, Report::Suspected), Some(Suspected));
            if !sure_first {
                assert_eq!(life.heard(200, BargeIn, 50), None);
            }
            life
        };
        let mut life = suspected();
        assert_eq!(life.tick(1000), None);
        assert_eq!(life.0.deadline(), Some(1800 * MS));
        assert_eq!(life.tick(1800), Some(Confirmed));
        let mut life = suspected();
        assert_eq!(life.heard(900, SpeechEnd, 850), Some(False));
    }
    settings.policy = BargeInPolicy::CancelAtOnce;
    let mut life = Life::new(settings);
    assert_eq!(life.heard(80, BargeIn, 50), None);
    assert_eq!(life.report(100, Report::Suspected), Some(Confirmed));
}

#[test]
fn a_warm_up_that_nobody_spoke_in_leaves_no_trace() {
    let mut life = Life::new(PolicySettings {
        warm_up_us: 1000 * MS,
        ..PolicySettings::default()
    });
    assert_eq!(life.0.deadline(), None);
    assert_eq!(life.heard(1500, SpeechStart, 1450), Some(Suspected));
    assert_eq!(life.tick(1600), None);
    assert_eq!(life.0.deadline(), Some(3500 * MS));
}

#[test]
fn reports_from_outside_count_at_once_and_ended_leaves_the_pause() {
    let mut life = Life::of(BargeInPolicy::PauseThenConfirm);
    assert_eq!(life.report(100, Report::False), None);
    assert_eq!(life.report(100, Report::Suspected), Some(Suspected));
    assert_eq!(life.report(200, Report::Ended), None);
    assert_eq!(life.0.user_speech(), None);
    assert!(life.0.is_suspecting());
    assert_eq!(life.report(300, Report::False), Some(False));
    assert_eq!(life.report(400, Report::Confirmed), Some(Confirmed));
    assert_eq!(life.heard(500, SpeechStart, 350), None, "the same speech, told by another");
    assert_eq!(
        life.heard(900, SpeechStart, 850),
        Some(Suspected),
        "new speech, although nobody told the end of the old"
    );
}

#[test]
fn speech_whose_end_nobody_reported_is_over_when_new_speech_is_reported() {
    for again in [Report::Suspected, Report::Confirmed] {
        let mut life = Life::of(BargeInPolicy::PauseThenConfirm);
        assert_eq!(life.report(100, Report::Confirmed), Some(Confirmed));
        assert_eq!(life.situation(110, false, false), None);
        assert_eq!(life.report(400, Report::Confirmed), None, "it is said again, of the same speech");
        assert_eq!(life.0.user_speech(), Some(100 * MS));
        assert_eq!(life.situation(60_000, true, false), None);
        let verdict = if again == Report::Suspected { Suspected } else { Confirmed };
        assert_eq!(life.report(61_000, again), Some(verdict));
        assert_eq!(life.0.user_speech(), Some(61_000 * MS), "{again:?} is of new speech");
    }
}

#[test]
fn a_suspicion_whose_time_ran_out_while_a_confirmation_was_due_still_ends() {
    let mut life = Life::new(PolicySettings {
        backchannel: Backchannel::Resume,
        false_interruption_us: 100 * MS,
        ..PolicySettings::default()
    });
    assert_eq!(life.heard(349, BargeIn, 340), Some(Suspected));
    assert_eq!(life.report(493, Report::Ended), None);
    assert!(life.0.deadline().is_some_and(|at| at > 493 * MS));
    assert_eq!(life.tick(494), Some(False));
}

#[test]
fn report_only_tells_and_off_is_silent() {
    let mut life = Life::of(BargeInPolicy::ReportOnly);
    assert!(!life.0.settings().policy.acts());
    assert_eq!(life.heard(50, SpeechStart, 20), Some(Suspected));
    assert_eq!(life.heard(300, BargeIn, 20), Some(Confirmed));
    let mut life = Life::of(BargeInPolicy::Off);
    assert_eq!(life.heard(50, SpeechStart, 20), None);
    assert_eq!(life.report(60, Report::Confirmed), None);
}

#[test]
fn losing_the_detector_or_switching_off_takes_a_suspicion_back() {
    let mut life = Life::of(BargeInPolicy::PauseThenConfirm);
    assert_eq!(life.heard(50, SpeechStart, 20), Some(Suspected));
    assert_eq!(life.0.lost(), Some(False));
    assert_eq!(life.0.user_speech(), None);
    assert_eq!(life.heard(150, SpeechStart, 120), Some(Suspected));
    let off = PolicySettings {
        policy: BargeInPolicy::Off,
        ..*life.0.settings()
    };
    assert_eq!(life.0.configure(off), Some(False));
    assert_eq!(life.0.deadline(), None);
}

#[test]
fn words_are_read_back_as_they_are_written() {
    for policy in ["pause-then-confirm", "cancel-at-once", "report-only", "off"] {
        assert_eq!(BargeInPolicy::parse(policy).map(BargeInPolicy::word), Some(policy));
    }
    assert_eq!(BargeInPolicy::parse("On"), None);
    assert_eq!(Backchannel::parse("resume"), Some(Backchannel::Resume));
    assert_eq!(Backchannel::parse(""), None);
}

/// splitmix64: the same seed, the same life.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }
}

fn random_settings(chance: &mut Chance) -> PolicySettings {
    use BargeInPolicy::{CancelAtOnce, Off, PauseThenConfirm, ReportOnly};
    PolicySettings {
        policy: [PauseThenConfirm, PauseThenConfirm, CancelAtOnce, ReportOnly, Off][chance.below(5) as usize],
        backchannel: [Backchannel::Cancel, Backchannel::Resume][chance.below(2) as usize],
        false_interruption_us: chance.below(3000) * MS,
        min_speech_us: chance.below(2) * chance.below(800) * MS,
        backchannel_speech_us: chance.below(1200) * MS,
        warm_up_us: chance.below(2) * chance.below(2000) * MS,
    }
}

#[test]
fn random_lives_keep_every_rule() {
    for seed in 0..4_000 {
        let mut chance = Chance(seed);
        let mut policy = Policy::new(random_settings(&mut chance));
        let (mut now, mut situation, mut paused, mut spent) = (0u64, Situation::default(), false, false);
        // What a caller is armed for: deadlines that lay ahead when they were told, and that nobody disarms.
        let mut armed = std::collections::BTreeSet::new();
        for step in 0..120 {
            let longest = if chance.below(10) == 0 { 3_000 } else { 150 };
            now += chance.below(longest) * MS;
            let at = now.saturating_sub(chance.below(400) * MS);
            let was_protected = situation.protected;
            let mut fresh = false;
            let verdict = match chance.below(14) {
                0..=2 => {
                    fresh = at > 0;
                    policy.heard(now, &finding(SpeechStart, at / MS))
                }
                3..=4 => policy.heard(now, &finding(BargeIn, at / MS)),
                5..=6 => {
                    fresh = true;
                    policy.heard(now, &finding(SpeechEnd, at / MS))
                }
                7 => {
                    fresh = true;
                    policy.heard(now, &finding(Mhm, at / MS))
                }
                8 => {
                    fresh = true;
                    let report = [Report::Suspected, Report::Confirmed, Report::False, Report::Ended][chance.below(4) as usize];
                    policy.report(now, at, report)
                }
                9..=10 => {
                    situation = Situation {
                        active: chance.below(5) > 0,
                        protected: chance.below(4) == 0,
                    };
                    policy.situation(now, situation)
                }
                11 if chance.below(4) == 0 => {
                    let settings = random_settings(&mut chance);
                    policy.configure(settings)
                }
                12 if chance.below(4) == 0 => {
                    fresh = true;
                    policy.lost()
                }
                _ => policy.tick(now),
            };
            let context = format!("seed {seed}, step {step}: {verdict:?} in {policy:?}");
            if fresh || was_protected || situation.protected {
                spent = false;
            }
            match verdict {
                Some(False) => assert!(paused, "nothing was paused: {context}"),
                Some(_) => assert!(situation.active && !situation.protected, "{context}"),
                None => {}
            }
            if let Some(verdict) = verdict {
                let two = policy.settings().policy;
                assert!(two != BargeInPolicy::Off || verdict == False, "{context}");
                assert!(two != BargeInPolicy::CancelAtOnce || verdict != Suspected, "{context}");
                assert!(verdict != Confirmed || !spent, "confirmed twice: {context}");
                spent = verdict == Confirmed;
                paused = verdict == Suspected;
            }
            paused &= situation.active;
            assert_eq!(policy.is_suspecting(), paused, "{context}");
            armed.extend(policy.deadline().filter(|at| *at > now));
            if paused {
                let due = policy.deadline().expect("a suspicion has a deadline");
                assert!(due > now || armed.contains(&due), "paused for ever: {context}");
            }
            // Time alone brings rest, in a few ticks.
            let mut quiet = policy.clone();
            for _ in 0..4 {
                if let Some(at) = quiet.deadline() {
                    quiet.tick(now.max(at));
                }
            }
            assert_eq!(quiet.deadline(), None, "{context}");
            assert!(!quiet.is_suspecting(), "{context}");
        }
    }
}
