//! Detectors: what they find, which of them runs, and what they and the session's readers are told.
//!
//! A detector runs for a session while the microphone is open, the policy is not `off`, and the session listens or has something to say. Which
//! one follows from levels alone, after every step: nothing has to be remembered when a capture is lost, taken over or comes back.
//! One that fails is replaced by the next that is loaded; one that suspects what nobody said, again and again, loses its say.

use super::Cause;
use crate::Core;
use crate::effect::{Effect, Signal};
use crate::hearing::{BargeInPolicy, Finding, FindingKind, PolicySettings};
use crate::ids::{Micros, OrderId, SessionId};
use crate::note::Note;
use crate::options::Output;
use crate::request::{ErrorKind, Failure};

/// The word for: clients report speech, no microphone is opened.
pub(super) const NONE: &str = "none";
/// A detector that is wrong so often, within so long, fires whatever it hears.
const WRONG_TIMES: usize = 20;
const WRONG_WITHIN_US: Micros = 60_000_000;

/// A detector that runs.
#[derive(Debug)]
pub(super) struct Ear {
    generation: u64,
    detector: String,
    capture: OrderId,
    one_stage: bool,
}

/// What a detector and readers were told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    speaking: bool,
    protected: bool,
    muted: bool,
}

impl Core {
    /// A detector heard something.
    pub(crate) fn finding(&mut self, id: SessionId, generation: u64, finding: Finding) {
        let Some(s) = self.sessions.get_mut(&id) else {
            return;
        };
        let is_current = s.hearing.ear.as_ref().is_some_and(|ear| ear.generation == generation);
        // What a muted microphone seems to hear was on its way when it was muted.
        if !is_current || s.hearing.mic_muted || self.manager.mic_muted {
            return;
        }
        let finding = Finding {
            at_us: finding.at_us.min(self.now),
            probability: unit(finding.probability),
            confidence: unit(finding.confidence),
            ..finding
        };
        let begins = matches!(finding.kind, FindingKind::SpeechStart | FindingKind::BargeIn);
        if begins && !s.hearing.is_speech() {
            s.hearing.cause = Cause {
                detector: finding.detector.to_string(),
                at: finding.at_us,
                probability: f64::from(finding.probability),
            };
        }
        self.attend(id);
        let verdict = self.ask_policy(id, finding.at_us, |policy, now| policy.heard(now, &finding));
        self.carry_out_verdict(id, verdict, None);
        if verdict.is_none()
            && begins
            && self.is_protected_now(id)
            && let Some(s) = self.sessions.get_mut(&id)
            && !std::mem::replace(&mut s.hearing.protected_told, true)
        {
            self.tell_protected(id);
        }
        let kind = match finding.kind {
            FindingKind::TurnEnd => "turn-end",
            FindingKind::Backchannel => "backchannel",
            FindingKind::Machine => "machine",
            FindingKind::Human => "human",
            FindingKind::Tone => "tone",
            FindingKind::SpeechStart | FindingKind::SpeechEnd | FindingKind::BargeIn => return,
        };
        self.signal(
            id,
            Signal::Detected {
                kind,
                detector: finding.detector.to_string(),
                at_us: finding.at_us,
                confidence: f64::from(finding.confidence),
            },
        );
    }

    /// A detector cannot go on: what it suspected no longer holds, and another one takes its place if there is one.
    pub(crate) fn detector_failed(&mut self, id: SessionId, generation: u64, detector: String, message: String) {
        let Some(s) = self.sessions.get_mut(&id) else {
            return;
        };
        if s.hearing.ear.take_if(|ear| ear.generation == generation).is_none() {
            return;
        }
        let session = s.id.clone();
        s.hearing.broken.insert(detector.clone());
        self.out.push(Effect::DetectorStop {
            session: id,
            name: session.clone(),
        });
        self.dirty.insert(id);
        self.hearing_lost(id);
        self.out.push(Effect::Note(Note::DetectorFailed {
            instead: self.detector_for(id).unwrap_or_default(),
            session,
            detector,
            message,
        }));
    }

    /// A suspicion was taken back. Whoever is wrong all the time is heard no more: what it says is told, and changes nothing.
    pub(super) fn distrust(&mut self, id: SessionId) {
        let now = self.now;
        let Some(s) = self.sessions.get_mut(&id) else {
            return;
        };
        let hearing = &mut s.hearing;
        let Some(detector) = hearing.ear.as_ref().map(|ear| ear.detector.clone()) else {
            return;
        };
        if *hearing.cause.detector != *detector {
            return;
        }
        hearing.wrong.push_back(now);
        while hearing.wrong.front().is_some_and(|at| now.saturating_sub(*at) > WRONG_WITHIN_US) {
            hearing.wrong.pop_front();
        }
        if hearing.wrong.len() < WRONG_TIMES {
            return;
        }
        hearing.wrong.clear();
        let session = s.id.clone();
        let message = format!("it was wrong {WRONG_TIMES} times within {} s", WRONG_WITHIN_US / 1_000_000);
        let broken = &mut s.hearing.broken;
        broken.insert(detector.clone());
        self.dirty.insert(id);
        let instead = self.detector_for(id);
        if instead.is_none()
            && let Some(s) = self.sessions.get_mut(&id)
        {
            // It may go on hearing, so that its findings are still told.
            s.hearing.broken.remove(&detector);
            let settings = PolicySettings {
                policy: BargeInPolicy::ReportOnly,
                ..*s.hearing.policy.settings()
            };
            self.ask_policy(id, now, |policy, _| policy.configure(settings));
            self.hold(id);
        }
        self.out.push(Effect::Note(Note::DetectorFailed {
            session,
            detector,
            message,
            instead: instead.unwrap_or_else(|| BargeInPolicy::ReportOnly.word().to_owned()),
        }));
    }

    /// A detector that a client names must be there.
    pub(crate) fn check_detector(&self, asked: Option<&String>) -> Result<(), Failure> {
        match asked {
            Some(id) if id != NONE && !self.detectors.contains(id) => {
                let loaded = if self.detectors.is_empty() {
                    "no detector is loaded".to_owned()
                } else {
                    format!("loaded: {}", self.detectors.join(", "))
                };
                let message = format!("option \"detector\" is \"{id}\"; {loaded}; \"none\" leaves it to ReportSpeech");
                Err(Failure::new(ErrorKind::InvalidArgs, message))
            }
            _ => Ok(()),
        }
    }

    /// The detectors that are loaded changed.
    pub(crate) fn detectors_changed(&mut self, detectors: Vec<String>) {
        self.detectors = detectors;
        self.dirty
            .extend(self.sessions.iter().filter(|(_, s)| s.hearing.is_on()).map(|(id, _)| *id));
    }

    /// Which detector a session would run: the one it asked for, else the first that has not failed it.
    pub(super) fn detector_for(&self, id: SessionId) -> Option<String> {
        let hearing = &self.sessions.get(&id)?.hearing;
        if hearing.detector == NONE {
            return None;
        }
        let works = |d: &&String| !hearing.broken.contains(*d);
        let asked = self.detectors.iter().filter(works).find(|d| **d == hearing.detector);
        asked.or_else(|| self.detectors.iter().find(works)).cloned()
    }

    /// The session would have its microphone open for an answer.
    pub(crate) fn wants_ear(&self, id: SessionId) -> bool {
        let Some(s) = self.sessions.get(&id) else {
            return false;
        };
        s.hearing.is_on() && s.output == Output::Local && s.closing.is_none() && self.detector_for(id).is_some()
    }

    /// Starts and stops the session's detector, its readers' sound, and tells both what they must know.
    pub(super) fn mind_ear(&mut self, id: SessionId) {
        let Some(s) = self.sessions.get(&id) else {
            return;
        };
        if !s.hearing.attends() && !self.holds_capture(id) {
            self.note_wish(id, false);
            return;
        }
        let name = s.id.clone();
        let wants = self.wants_ear(id);
        let is_live = self.has_live(s);
        let (capture, delivering) = self.capture_of(id);
        let detector = self.detector_for(id);
        let runs = capture.filter(|_| wants && (is_live || self.holds_capture(id)));
        self.note_wish(id, wants && is_live);

        let Some(s) = self.sessions.get_mut(&id) else {
            return;
        };
        let one_stage = s.hearing.policy.settings().policy == BargeInPolicy::CancelAtOnce;
        let mut started = false;
        let ear = s.hearing.ear.as_ref();
        let is_right =
            ear.is_some_and(|ear| Some(ear.capture) == runs && Some(&ear.detector) == detector.as_ref() && ear.one_stage == one_stage);
        match (runs, detector) {
            (Some(_), _) if is_right => {}
            (Some(capture), Some(detector)) => {
                self.detector_starts += 1;
                let generation = self.detector_starts;
                s.hearing.ear = Some(Ear {
                    generation,
                    detector: detector.clone(),
                    capture,
                    one_stage,
                });
                started = true;
                self.out.push(Effect::DetectorStart {
                    session: id,
                    name: name.clone(),
                    output: s.output,
                    generation,
                    detector,
                    language: s.defaults.language.clone().unwrap_or_default(),
                    one_stage,
                });
            }
            _ if ear.is_some() => {
                s.hearing.ear = None;
                self.out.push(Effect::DetectorStop {
                    session: id,
                    name: name.clone(),
                });
                self.hearing_lost(id);
            }
            _ => {}
        }
        let Some(s) = self.sessions.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut s.hearing.delivering, delivering) != delivering {
            started |= delivering;
            self.out.push(Effect::Readers {
                session: id,
                name: name.clone(),
                delivering,
            });
        }
        let is_on = s.hearing.ear.is_some() || s.hearing.delivering;
        self.tell_context(id, name, is_on, started);
    }

    fn tell_context(&mut self, id: SessionId, name: String, is_on: bool, started: bool) {
        let Some(s) = self.sessions.get(&id) else {
            return;
        };
        let context = Context {
            speaking: self.properties(id, s).speaking,
            protected: self.is_protected(id),
            muted: s.hearing.mic_muted || (self.manager.mic_muted && s.output == Output::Local),
        };
        let Some(s) = self.sessions.get_mut(&id) else {
            return;
        };
        if !is_on {
            s.hearing.context = None;
        } else if started || s.hearing.context != Some(context) {
            s.hearing.context = Some(context);
            self.out.push(Effect::DetectorContext {
                session: id,
                name,
                speaking: context.speaking,
                protected: context.protected,
                muted: context.muted,
            });
        }
    }

    /// The session is gone: nothing hears for it any more.
    pub(crate) fn forget_ear(&mut self, id: SessionId) {
        self.note_wish(id, false);
        let Some(s) = self.sessions.get_mut(&id) else {
            return;
        };
        let name = s.id.clone();
        if s.hearing.ear.take().is_some() {
            self.out.push(Effect::DetectorStop {
                session: id,
                name: name.clone(),
            });
        }
        if std::mem::take(&mut s.hearing.delivering) {
            self.out.push(Effect::Readers {
                session: id,
                name,
                delivering: false,
            });
        }
    }

    /// A microphone was muted or unmuted: what it seemed to hear no longer holds.
    pub(crate) fn mic_muted(&mut self, sessions: Vec<SessionId>, muted: bool) {
        for id in sessions {
            self.dirty.insert(id);
            if muted && self.sessions.get(&id).is_some_and(|s| s.hearing.ear.is_some()) {
                self.hearing_lost(id);
            }
        }
    }

    /// Detectors run on the capture that is open, for sessions that want them; readers are told what is so.
    pub(super) fn check_ears(&self) {
        for (id, s) in &self.sessions {
            let (capture, delivering) = self.capture_of(*id);
            if let Some(ear) = &s.hearing.ear {
                assert_eq!(
                    Some(ear.capture),
                    capture,
                    "a detector of {} runs on a capture that is not open",
                    s.id
                );
                assert!(s.hearing.is_on(), "a detector runs for {} under \"off\"", s.id);
                assert!(ear.generation <= self.detector_starts);
            }
            assert_eq!(s.hearing.delivering, delivering, "the readers of {}", s.id);
        }
    }
}

/// What a detector says between 0 and 1, whatever it says.
fn unit(value: f32) -> f32 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}
