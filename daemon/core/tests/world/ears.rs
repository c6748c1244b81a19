//! Detectors of a world: they hear what the test says, and nothing of what they say comes from the microphone.
//!
//! Here stand the proofs from outside the core of what barge-in may not do (I10), and that what is started is stopped once.

use std::collections::{BTreeMap, BTreeSet};

use utterd_core::hearing::{Finding, FindingKind};
use utterd_core::{Effect, Input, Micros, SessionId, Signal};

use super::book::Book;
use super::sound::Sound;
use super::{MS, World};

#[derive(Debug, Default)]
pub(crate) struct Ears {
    /// What runs: generation and detector.
    pub(crate) running: BTreeMap<SessionId, (u64, String)>,
    /// As each session was told last: speaking, protected, muted.
    pub(crate) context: BTreeMap<SessionId, (bool, bool, bool)>,
    /// Names of sessions whose readers get sound.
    pub(crate) delivering: BTreeSet<String>,
    pub(crate) names: BTreeMap<String, SessionId>,
    newest: u64,
    /// Sessions in which a barge-in was confirmed in this step.
    confirmed: BTreeSet<String>,
}

impl Ears {
    /// An effect leaves the core.
    pub(crate) fn saw(&mut self, effect: &Effect, book: &Book, sound: &Sound) {
        match effect {
            Effect::DetectorStart {
                session,
                name,
                generation,
                detector,
                ..
            } => {
                assert!(*generation > self.newest, "generations of detectors rise");
                self.newest = *generation;
                self.running.insert(*session, (*generation, detector.clone()));
                self.names.insert(name.clone(), *session);
            }
            Effect::DetectorStop { session, .. } => {
                assert!(self.running.remove(session).is_some(), "stopped what did not run");
            }
            Effect::DetectorContext {
                session,
                speaking,
                protected,
                muted,
                ..
            } => {
                self.context.insert(*session, (*speaking, *protected, *muted));
            }
            Effect::Readers { name, delivering, .. } => {
                let changed = if *delivering {
                    self.delivering.insert(name.clone())
                } else {
                    self.delivering.remove(name)
                };
                assert!(changed, "told what was known already");
            }
            Effect::Signal {
                session,
                signal: Signal::BargeIn { stage: "confirmed", .. },
            } => {
                self.confirmed.insert(session.clone());
            }
            Effect::Cut { utterance, .. } => {
                let u = &book.utterances[utterance];
                // What lies beside is no barge-in's; it may end here with the last of a session that drains.
                if self.confirmed.contains(&u.session) && !u.beside {
                    let sent = sound.stores.get(utterance).map_or(0, |s| s.pos_us);
                    assert!(
                        !u.protected && sent >= u.protect_us,
                        "I10: barge-in cut {utterance}, which is protected"
                    );
                }
            }
            _ => {}
        }
    }

    /// The step is over: whoever is told to listen is heard, and nobody else.
    pub(crate) fn decided(&mut self, book: &Book) {
        self.confirmed.clear();
        for (name, session) in &book.sessions {
            assert_eq!(
                session.listens,
                self.delivering.contains(name),
                "ListeningChanged and the readers of {name} disagree"
            );
        }
        let open = |name: &String| book.sessions.contains_key(name);
        assert!(self.delivering.iter().all(open), "readers of a session that is gone");
    }
}

impl World {
    /// The detector that runs for a session hears this; its onset was a moment ago.
    pub(crate) fn hears(&mut self, session: &str, kind: FindingKind) {
        let id = self.ears.names[session];
        let (generation, _) = self.ears.running[&id];
        self.finding(id, generation, kind, self.now.saturating_sub(30 * MS));
    }

    pub(crate) fn finding(&mut self, session: SessionId, generation: u64, kind: FindingKind, at_us: Micros) {
        let finding = Finding {
            kind,
            at_us,
            probability: 0.9,
            confidence: 0.8,
            detector: self.ears.running.get(&session).map_or("gone", |(_, d)| d.as_str()).into(),
        };
        self.feed(Input::Tick);
        self.feed(Input::Finding {
            session,
            generation,
            finding,
        });
    }

    pub(crate) fn detector_fails(&mut self, session: SessionId, generation: u64) {
        let detector = self.ears.running.get(&session).map_or("gone", |(_, d)| d.as_str()).to_owned();
        self.feed(Input::DetectorFailed {
            session,
            generation,
            detector,
            message: "it crashed".into(),
        });
    }
}
