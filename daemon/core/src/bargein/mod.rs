//! Barge-in: what the user's speech does to a session's own (SEMANTICS, "Barge-in"; T5, T6).
//!
//! The policy of `hearing` turns findings, reports and time into verdicts; here a verdict becomes a pause, a cancel or a resume, and is told.
//! *Suspected* holds the session's tracks at once, also before the first sample and between two utterances; *confirmed* is the cancel chain over
//! everything of the session that is not protected; *false* goes on from the exact sample. Under `report-only` verdicts are told and change nothing.
//!
//! Invariants: a session is held by a suspicion only while its policy suspects, and then a timer is armed; what is protected is neither paused nor
//! cancelled; an utterance is cancelled once, because one that a cancel has already is not active any more.
//! Rooms: `report` (ReportSpeech), `detect` (findings, and which detector runs). Not here: when the microphone is open (`owner::ears`).

mod detect;
mod report;
mod words;

use std::collections::{BTreeSet, VecDeque};

use crate::Core;
use crate::cancel::{Order, Then};
use crate::effect::{Effect, Signal};
use crate::hearing::{BargeInPolicy, Policy, PolicySettings, Situation, Verdict};
use crate::ids::{Micros, SessionId, Token, UtteranceId};
use crate::note::Note;
use crate::options::SessionOptions;
use crate::session::Session;
use crate::timer::Timer;

pub use words::{BargeIn, SpeechDetails};

use detect::{Context, Ear};

/// What a session knows of its user's speech.
#[derive(Debug)]
pub(crate) struct Hearing {
    pub(crate) policy: Policy,
    /// Id of the detector that was asked for, or "none".
    pub(crate) detector: String,
    pub(crate) mic_muted: bool,
    /// Its tracks are silent because of a suspicion.
    pub(crate) suspected: bool,
    /// Who began the speech that goes on, and its onset.
    cause: Cause,
    /// The user's last speech sample, when no speech goes on.
    last_speech: Option<Micros>,
    /// This speech was told to be protected already.
    protected_told: bool,
    /// When the suspicion that holds it had silenced it.
    paused_at: Option<Micros>,
    /// Confirmed so far.
    count: u64,
    /// The detector that runs.
    ear: Option<Ear>,
    /// The session's readers get sound.
    delivering: bool,
    context: Option<Context>,
    /// Detectors that failed in this session.
    broken: BTreeSet<String>,
    /// When suspicions of its detector were taken back, lately.
    wrong: VecDeque<Micros>,
}

/// A confirmed barge-in, until its cancel is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Barged {
    session: SessionId,
    onset: Micros,
    /// The pause before it had silenced the agent already.
    paused_at: Option<Micros>,
}

/// Who heard it, and when it began.
#[derive(Clone, Debug, Default)]
struct Cause {
    detector: String,
    at: Micros,
    probability: f64,
}

impl Hearing {
    pub(crate) fn new(defaults: &BargeIn, is_local: bool, options: &SessionOptions) -> Self {
        let ours = if is_local { defaults.policy } else { BargeInPolicy::Off };
        let settings = PolicySettings {
            policy: options.barge_in.unwrap_or(ours),
            backchannel: options.backchannel.unwrap_or(defaults.backchannel),
            false_interruption_us: options.false_interruption_us.unwrap_or(defaults.false_interruption_us),
            min_speech_us: defaults.min_speech_us,
            warm_up_us: defaults.warm_up_us,
            ..PolicySettings::default()
        };
        Self {
            policy: Policy::new(settings),
            detector: options.detector.clone().unwrap_or_else(|| defaults.detector.clone()),
            mic_muted: false,
            suspected: false,
            cause: Cause::default(),
            last_speech: None,
            protected_told: false,
            paused_at: None,
            count: 0,
            ear: None,
            delivering: false,
            context: None,
            broken: BTreeSet::new(),
            wrong: VecDeque::new(),
        }
    }

    /// One of its tracks fell silent.
    pub(crate) fn fell_silent(&mut self, now: Micros) {
        if self.suspected {
            self.paused_at.get_or_insert(now);
        }
    }

    /// Of the speech that goes on, or went on last.
    fn onset(&self) -> Micros {
        self.policy.user_speech().unwrap_or(self.cause.at)
    }

    /// What becomes of the microphone concerns it.
    pub(crate) fn attends(&self) -> bool {
        self.is_on() || self.ear.is_some() || self.delivering
    }

    fn is_on(&self) -> bool {
        self.policy.settings().policy != BargeInPolicy::Off
    }

    /// When the user was last heard, if that is over.
    pub(crate) fn last_speech(&self) -> Option<Micros> {
        self.last_speech
    }

    /// The user speaks.
    pub(crate) fn is_speech(&self) -> bool {
        self.policy.user_speech().is_some()
    }
}

impl Core {
    /// New options of a session, at once.
    pub(crate) fn configure_hearing(&mut self, id: SessionId, options: &SessionOptions) {
        let Some(s) = self.sessions.get_mut(&id) else {
            return;
        };
        let hearing = &mut s.hearing;
        if let Some(detector) = &options.detector {
            hearing.detector.clone_from(detector);
            hearing.broken.clear();
        }
        let before = *hearing.policy.settings();
        let settings = PolicySettings {
            policy: options.barge_in.unwrap_or(before.policy),
            backchannel: options.backchannel.unwrap_or(before.backchannel),
            false_interruption_us: options.false_interruption_us.unwrap_or(before.false_interruption_us),
            ..before
        };
        self.dirty.insert(id);
        if (settings.policy == BargeInPolicy::Off) != (before.policy == BargeInPolicy::Off) {
            // What began to be told ends being told, and what was not told never is.
            self.hearing_lost(id);
        }
        if settings != before {
            let verdict = self.ask_policy(id, self.now, |policy, _| policy.configure(settings));
            self.carry_out_verdict(id, verdict, None);
        }
    }

    /// What the session says may have become active, protected, or neither: its policy learns it.
    fn attend(&mut self, id: SessionId) -> bool {
        let Some(s) = self.sessions.get(&id).filter(|s| s.hearing.is_on()) else {
            return false;
        };
        let situation = Situation {
            active: self.has_live(s),
            protected: self.is_protected(id),
        };
        let verdict = self.ask_policy(id, self.now, |policy, now| policy.situation(now, situation));
        self.carry_out_verdict(id, verdict, None);
        // What nothing is left of is held no more, and that is no news.
        self.hold(id);
        verdict.is_some()
    }

    /// What a barge-in is about: the utterance that is heard, else the next to be heard, else one that waits for what it replaces.
    fn concerned(&self, id: SessionId) -> Option<UtteranceId> {
        let live = || self.sessions.get(&id)?.open.iter().copied().find(|u| self.is_live(u));
        self.heard_or_next(id).or_else(live)
    }

    /// What a barge-in would be about is protected.
    fn is_protected(&self, id: SessionId) -> bool {
        let concerned = self.concerned(id).and_then(|u| self.utterances.get(&u));
        concerned.is_some_and(|u| u.is_protected())
    }

    /// A response is active (T5).
    fn has_live(&self, s: &Session) -> bool {
        s.open.iter().any(|u| self.is_live(u))
    }

    /// After every step: sessions that changed learn of it, and the microphone follows, until nothing follows from that any more.
    pub(crate) fn settle_hearing(&mut self) {
        let mut minded = BTreeSet::new();
        loop {
            let changed: Vec<SessionId> = self.dirty.iter().copied().collect();
            let mut again = false;
            for id in changed {
                again |= self.attend(id);
            }
            if again {
                continue;
            }
            let fresh: Vec<SessionId> = self.dirty.difference(&minded).copied().collect();
            if fresh.is_empty() && !self.mind_capture() {
                return;
            }
            if fresh.is_empty() {
                minded.clear();
            }
            for id in fresh {
                minded.insert(id);
                self.mind_ear(id);
            }
        }
    }

    /// The time that a policy asked for has come.
    pub(crate) fn hearing_due(&mut self, id: SessionId) {
        self.attend(id);
        let verdict = self.ask_policy(id, self.now, |policy, now| policy.tick(now));
        self.carry_out_verdict(id, verdict, None);
        self.dirty.insert(id);
    }

    /// The microphone or the detector is gone: what they said no longer holds.
    pub(crate) fn hearing_lost(&mut self, id: SessionId) {
        let verdict = self.ask_policy(id, self.now, |policy, _| policy.lost());
        self.carry_out_verdict(id, verdict, None);
    }

    /// A client's cancel takes a suspicion back, and that is no news.
    pub(crate) fn dismiss_suspicion(&mut self, id: SessionId) {
        self.ask_policy(id, self.now, |policy, _| {
            policy.dismiss();
            None
        });
        self.hold(id);
    }

    /// Asks a session's policy, tells the edges of the user's speech, and arms its timer. Speech that ends now ended at `end_at`.
    fn ask_policy(&mut self, id: SessionId, end_at: Micros, ask: impl FnOnce(&mut Policy, Micros) -> Option<Verdict>) -> Option<Verdict> {
        let now = self.now;
        let hearing = &mut self.sessions.get_mut(&id)?.hearing;
        let before = hearing.policy.user_speech();
        let verdict = ask(&mut hearing.policy, now);
        let after = hearing.policy.user_speech();
        let is_told = hearing.is_on();
        // One that is over already is due at once.
        let deadline = hearing.policy.deadline();
        let mut signals = Vec::new();
        if before != after {
            if let Some(since) = before {
                let end = end_at.clamp(since, now.max(since));
                hearing.last_speech = Some(end);
                hearing.protected_told = false;
                signals.push(Signal::SpeechStopped {
                    duration_us: end - since,
                    at_us: end,
                });
            }
            if let Some(at_us) = after {
                let probability = hearing.cause.probability;
                signals.push(Signal::SpeechStarted { at_us, probability });
            }
            self.dirty.insert(id);
        }
        if let Some(at) = deadline {
            self.timers.insert((at, Timer::Hearing(id)));
        }
        for signal in signals.into_iter().filter(|_| is_told) {
            self.signal(id, signal);
        }
        verdict
    }

    /// What follows from a verdict. `answer`: whoever waits for the end of a cancel, and since when.
    fn carry_out_verdict(&mut self, id: SessionId, verdict: Option<Verdict>, answer: Option<(Token, Micros)>) {
        let Some(verdict) = verdict else {
            return;
        };
        let acts = self.sessions.get(&id).is_some_and(|s| s.hearing.policy.settings().policy.acts());
        match verdict {
            Verdict::Suspected => {
                let is_news = self.sessions.get(&id).is_some_and(|s| !s.hearing.suspected);
                self.hold(id);
                if is_news {
                    self.tell_barge_in(id, "suspected");
                }
            }
            Verdict::Confirmed => {
                self.tell_barge_in(id, "confirmed");
                if acts {
                    self.cancel_by_barge_in(id, answer);
                }
                // The cuts were ordered before, so nothing sounds up.
                self.hold(id);
            }
            Verdict::False => {
                self.hold(id);
                self.tell_barge_in(id, "false");
                self.distrust(id);
            }
        }
    }

    /// Everything of the session that is not protected; the turn is over (T5).
    fn cancel_by_barge_in(&mut self, id: SessionId, answer: Option<(Token, Micros)>) {
        let Some(s) = self.sessions.get(&id) else {
            return;
        };
        let unprotected = |u: &UtteranceId| self.utterances.get(u).is_some_and(|u| u.cancel.is_none() && !u.is_protected());
        let targets = s.open.iter().copied().filter(unprotected).collect();
        // What another cancel is ending already is waited for: nobody is told of silence while something is audible.
        let joined = s.open.iter().filter_map(|u| self.utterances.get(u)?.cancel).collect();
        let barged = Barged {
            session: id,
            onset: s.hearing.onset(),
            paused_at: s.hearing.paused_at,
        };
        let (token, arrived) = answer.unzip();
        let then = Then::BargedIn { token, barged };
        let mut order = Order::new("barge-in", arrived.unwrap_or(self.now), then);
        order.ends_turns = true;
        order.joined = joined;
        self.start_cancel(targets, order);
    }

    /// Brings the session's tracks to what its policy holds: silent by suspicion, or not.
    fn hold(&mut self, id: SessionId) {
        let Some(s) = self.sessions.get_mut(&id) else {
            return;
        };
        let policy = &s.hearing.policy;
        let suspected = policy.is_suspecting() && policy.settings().policy.acts();
        if std::mem::replace(&mut s.hearing.suspected, suspected) == suspected {
            return;
        }
        s.hearing.paused_at = None;
        let floor = s.floor;
        self.dirty.insert(id);
        self.apply_pauses(floor, None);
        self.schedule(floor);
    }

    fn tell_barge_in(&mut self, id: SessionId, stage: &'static str) {
        let utterance = self.concerned(id);
        let Some(s) = self.sessions.get(&id) else {
            return;
        };
        let latency_us = self.now.saturating_sub(s.hearing.onset());
        let (detector, session) = (s.hearing.cause.detector.clone(), s.id.clone());
        self.signal(
            id,
            Signal::BargeIn {
                stage,
                detector: detector.clone(),
                latency_us,
                utterance,
            },
        );
        self.out.push(Effect::Note(Note::BargeIn {
            session,
            stage,
            detector,
            latency_us,
            utterance,
        }));
    }

    /// The user speaks, and what is heard is protected: told, and nothing changes (T6).
    fn tell_protected(&mut self, id: SessionId) {
        self.tell_barge_in(id, "protected");
        let heard = self.concerned(id).and_then(|u| Some((u, self.utterances.get(&u)?)));
        if let Some((utterance, u)) = heard {
            let note = Note::GreetingProtect {
                session: self.sessions.get(&id).map(|s| s.id.clone()).unwrap_or_default(),
                utterance,
                sent_us: u.heard_us,
            };
            self.out.push(Effect::Note(note));
        }
    }

    /// A confirmed barge-in was carried out, and the agent is silent.
    pub(crate) fn barged_in(&mut self, barged: Barged, utterance: Option<UtteranceId>, cut_at: Micros) {
        let (Some(s), Some(utterance)) = (self.sessions.get_mut(&barged.session), utterance) else {
            return;
        };
        s.hearing.count += 1;
        let note = Note::BargedIn {
            session: s.id.clone(),
            utterance,
            latency_us: barged.paused_at.unwrap_or(cut_at).saturating_sub(barged.onset),
            count: s.hearing.count,
        };
        self.out.push(Effect::Note(note));
    }

    /// From the user's last speech sample to now; unknown while the user speaks, or never did.
    pub(crate) fn user_silence_us(&self, id: SessionId) -> Option<Micros> {
        let hearing = &self.sessions.get(&id)?.hearing;
        let last = hearing.last_speech.filter(|_| !hearing.is_speech())?;
        Some(self.now.saturating_sub(last))
    }

    /// I11, and that every suspicion ends by itself.
    pub(crate) fn check_hearing(&self) {
        for (id, s) in &self.sessions {
            let policy = &s.hearing.policy;
            let suspected = policy.is_suspecting() && policy.settings().policy.acts();
            assert_eq!(
                s.hearing.suspected, suspected,
                "I11: {} is held without a suspicion, or not by one",
                s.id
            );
            if policy.is_suspecting() {
                let due = policy.deadline().expect("a suspicion has a deadline");
                assert!(
                    self.timers.contains(&(due, Timer::Hearing(*id))),
                    "I11: nobody ends the suspicion of {}",
                    s.id
                );
            }
            if s.hearing.suspected {
                assert!(self.has_live(s), "T5: {} is held by a suspicion, and nothing of it is active", s.id);
                assert!(!self.is_protected(*id), "I10: {} is paused though protected", s.id);
            }
        }
        self.check_ears();
    }
}
