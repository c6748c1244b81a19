//! How an utterance ends: heard to its end, failed, expired; and the one door through which every ending goes.

use crate::Core;
use crate::effect::{Effect, HistoryEntry, Outcome, Reply, Report, Signal};
use crate::ids::{Micros, SynthesisId, UtteranceId};
use crate::note::Note;
use crate::request::{ErrorKind, Failure};
use crate::session::Part;
use crate::timer::Timer;

impl Core {
    pub(crate) fn ended(&mut self, id: UtteranceId, played_us: Micros) {
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        u.played_us = played_us;
        u.total_us = played_us;
        u.heard_us = played_us;
        // A store that ended before all of its text was asked for is one that failed, whoever brings that news first.
        if u.cancel.is_none() && u.failure.is_none() && (!u.pieces.is_empty() || u.is_open_stream()) {
            u.failure = Some(Failure::new(
                ErrorKind::Failed,
                format!("backend \"{}\" ended before the text did", u.backend),
            ));
            u.pieces.clear();
        }
        // The cut that is on its way will find it gone; its answer completes the cancel.
        if u.cancel.is_some() {
            return;
        }
        let failure = u.failure.clone();
        if failure.is_none() {
            self.last_marks(id, played_us);
        }
        let mut report = self.report_of(id, failure.is_none());
        report.failure.clone_from(&failure);
        self.leave_track(id);
        self.finish(id, failure.map_or(Outcome::Completed, Outcome::Failed), report);
    }

    pub(crate) fn expire(&mut self, id: UtteranceId) {
        let Some(u) = self.utterances.get(&id) else {
            return;
        };
        // While it is held its Say is not answered, so nothing may name it: `release` looks again.
        if u.has_started() || u.cancel.is_some() || u.held.is_some() {
            return;
        }
        // Its requests are stopped like a cancel's; nobody waits for their answers, so the outcome goes out now.
        let live: Vec<SynthesisId> = u.syntheses.iter().filter(|s| !s.failed && !s.cached).map(|s| s.id).collect();
        if u.needs_cut() {
            self.out.push(Effect::Cut { utterance: id, fade_us: 0 });
        }
        self.out
            .extend(live.into_iter().map(|synthesis| Effect::CancelSynthesis { synthesis }));
        let report = self.report_of(id, false);
        self.leave_track(id);
        self.finish(id, Outcome::Expired, report);
    }

    /// The one place where an utterance ends: signal, history, waiters, and whoever waits for the session to be empty.
    pub(crate) fn finish(&mut self, id: UtteranceId, outcome: Outcome, report: Report) {
        let Some(u) = self.utterances.remove(&id) else {
            return;
        };
        let session_id = u.session;
        for synthesis in &u.syntheses {
            self.by_synthesis.remove(&synthesis.id);
        }
        let tombstone = self.settings.tombstone_us;
        self.arm(tombstone, Timer::Forget(id));
        let Some(session) = self.sessions.get_mut(&session_id) else {
            return;
        };
        session.open.retain(|open| *open != id);
        let was_beside = session.beside.contains(id);
        for part in [Part::Main, Part::Interjection] {
            session.part_mut(part).committed.retain(|c| *c != id);
        }
        let private = session.private;
        let entry = HistoryEntry {
            utterance: id,
            said: if private { String::new() } else { u.text },
            heard: if private { String::new() } else { report.heard_text.clone() },
            outcome: outcome.word(),
            reason: report.reason.clone(),
            at_us: self.now,
            tag: u.tag,
            turn: u.turn,
        };
        session.remember_finished(entry, report.clone());
        let (name, floor, idle) = (session.id.clone(), session.floor, session.open.is_empty());
        let mut waiting = Vec::new();
        session.waiters.retain(|w| {
            if w.utterance == id {
                waiting.push(w.token);
                false
            } else {
                true
            }
        });
        if idle {
            if let Some(floor) = self.floors.get_mut(&floor) {
                floor.members.remove(&session_id);
                // Nothing accepted: it has yielded, and does not hold the floor again before it is heard again.
                floor.holder = floor.holder.filter(|h| *h != session_id);
            }
            session.idle_epoch += 1;
            if let Some(after) = session.idle_timeout_us {
                let epoch = session.idle_epoch;
                self.arm(after, Timer::Idle(session_id, epoch));
            }
        }
        if was_beside {
            self.leave_beside(session_id, id);
        } else if idle {
            self.playback_rests(session_id);
        }
        self.dirty.insert(session_id);
        let word = outcome.word();
        if u.protect_us > 0 && outcome == Outcome::Completed {
            self.out.push(Effect::Note(Note::GreetingCompleted {
                session: name.clone(),
                utterance: id,
            }));
        }
        let synthesised_us = u.syntheses.iter().filter(|s| !s.cached).map(|s| s.end_us).max().unwrap_or(0);
        self.out.push(Effect::Note(Note::Finished {
            session: name,
            utterance: id,
            outcome: word,
            played_us: u.played_us,
            // What was decoded of a file ahead of the ear cost nobody anything.
            wasted_us: if u.source.is_spoken() {
                synthesised_us.saturating_sub(u.played_us)
            } else {
                0
            },
        }));
        self.signal(
            session_id,
            Signal::UtteranceFinished {
                utterance: id,
                outcome,
                report: Box::new(report.clone()),
            },
        );
        for token in waiting {
            self.reply(
                token,
                Reply::Waited {
                    outcome: word,
                    report: Some(Box::new(report.clone())),
                },
            );
        }
        self.schedule(floor);
        self.close_if_empty(session_id);
    }
}
