//! The microphone for barge-in: open while the agent speaks, with no EnterListening in force.
//!
//! With a policy other than "off", LeaveListening keeps the capture for the answer, and a session that never entered has it opened at its first
//! accepted utterance. It is closed when the answer is over: [`LINGER_US`] after the turn's last utterance has finished, because the next sentence of
//! an answer may come a moment after the last one; or [`ANSWER_US`] after LeaveListening when no answer comes, or while the user still speaks. So
//! a turn has one start and one stop. What is opened so never takes the microphone from anybody: a session whose neighbour's capture is open hears
//! through that one.
//! All of it follows from levels, after every step, when the guard has nothing in flight.

use super::{Asked, GuardKey, Hold, Listening, PATIENCE_US, Purpose, Running};
use crate::Core;
use crate::effect::DeviceOp;
use crate::ids::{Micros, OrderId, SessionId};
use crate::request::Transition;
use crate::timer::Timer;

/// Nobody listens and nothing is accepted: the answer does not come.
const ANSWER_US: Micros = 60_000_000;
/// Nothing is accepted any more: the answer is over. As long as playback takes to have stopped.
const LINGER_US: Micros = super::PLAYBACK_ENDS_US;

impl Core {
    /// The session has something to say and wants to hear the user meanwhile, or no more.
    pub(crate) fn note_wish(&mut self, id: SessionId, wants: bool) {
        let is_idle = self.sessions.get(&id).is_none_or(|s| s.open.is_empty());
        let deaf = self.owners.past.get_mut(&id).is_some_and(|past| {
            past.is_deaf &= !is_idle;
            past.is_deaf
        });
        if wants && !deaf {
            self.owners.wishes.insert(id);
        } else {
            self.owners.wishes.remove(&id);
        }
    }

    /// The capture was opened for this session.
    pub(crate) fn holds_capture(&self, id: SessionId) -> bool {
        let guard = self.owners.guards.get(&self.guard_of(id));
        guard.and_then(|g| g.listening.as_ref()).is_some_and(|l| l.session == id)
    }

    /// The capture that runs where the session hears, and whether the session's readers get what it brings.
    pub(crate) fn capture_of(&self, id: SessionId) -> (Option<OrderId>, bool) {
        let guard = self.owners.guards.get(&self.guard_of(id));
        match guard.and_then(|g| g.listening.as_ref()).filter(|l| !l.is_lost) {
            Some(l) => (Some(l.capture), l.session == id && l.hold.is_told()),
            None => (None, false),
        }
    }

    /// Opens the microphone for whoever wants it, and closes it when its answer is over. True if what is open changed.
    pub(crate) fn mind_capture(&mut self) -> bool {
        let key = GuardKey::Local;
        let guard = self.guard(key);
        if guard.running.is_some() || !guard.line.is_empty() {
            return false;
        }
        match guard.listening.as_ref().map(|l| l.hold) {
            None => {
                if let Some(id) = self.owners.wishes.first().copied() {
                    self.open_for_answer(key, id);
                }
                false
            }
            Some(Hold::Entered) => false,
            Some(_) if self.is_kept(key) => false,
            Some(_) => {
                self.close_kept(key);
                true
            }
        }
    }

    fn open_for_answer(&mut self, key: GuardKey, id: SessionId) {
        let turn = self.sessions.get(&id).map_or(0, |s| s.turn);
        let generation = self.guard(key).generation;
        let order = self.order(key, id, generation, DeviceOp::OpenCapture);
        self.arm(PATIENCE_US, Timer::Transition(key, order));
        self.guard(key).running = Some(Running {
            asked: Asked {
                transition: Transition::EnterListening,
                purpose: Purpose::BargeIn,
                session: id,
                turn,
                tokens: Vec::new(),
            },
            turn,
            order,
            displaced: None,
        });
    }

    /// It is open, for barge-in alone.
    pub(super) fn opened_for_answer(&mut self, key: GuardKey, asked: &Asked, order: OrderId) {
        let guard = self.guard(key);
        let generation = guard.generation;
        guard.count("capture-starts");
        guard.listening = Some(Listening {
            session: asked.session,
            turn: asked.turn,
            capture: order,
            generation,
            is_lost: false,
            is_recovered: false,
            hold: Hold::Opened,
            is_answered: true,
            quiet_since: None,
        });
        self.capture_changed(key);
        self.listening_changed(asked.session, true, "barge-in", asked.turn, generation);
    }

    /// Whether the answer that the capture is kept for goes on, or may come yet.
    fn is_kept(&mut self, key: GuardKey) -> bool {
        let now = self.now;
        let Some(id) = self.guard(key).listening.as_ref().map(|l| l.session) else {
            return false;
        };
        if !self.wants_ear(id) {
            return false;
        }
        let Some(s) = self.sessions.get(&id) else {
            return false;
        };
        let newest = s.open.iter().filter_map(|u| self.utterances.get(u)).map(|u| u.turn).max();
        let (is_speech, last_speech) = (s.hearing.is_speech(), s.hearing.last_speech());
        let Some(listening) = &mut self.guard(key).listening else {
            return false;
        };
        if let Some(turn) = newest {
            listening.quiet_since = None;
            listening.is_answered |= turn >= listening.turn;
            return true;
        }
        let since = *listening.quiet_since.get_or_insert(now);
        let until = if is_speech || !listening.is_answered {
            since.saturating_add(ANSWER_US)
        } else {
            since.max(last_speech.unwrap_or(0)).saturating_add(LINGER_US)
        };
        if until > now {
            self.timers.insert((until, Timer::Ears(key)));
        }
        until > now
    }

    /// Nobody waits for this closing: the device takes the next order after it.
    fn close_kept(&mut self, key: GuardKey) {
        let guard = self.guard(key);
        let Some(before) = guard.listening.take() else {
            return;
        };
        guard.count("capture-stops");
        let generation = guard.generation;
        self.order(key, before.session, generation, DeviceOp::CloseCapture { capture: before.capture });
        self.capture_changed(key);
        self.ceased(before.session, &before, "barge-in", generation);
    }

    /// Whoever hears through this guard looks again at the end of the step.
    pub(super) fn capture_changed(&mut self, key: GuardKey) {
        match key {
            GuardKey::Null(id) => {
                self.dirty.insert(id);
            }
            GuardKey::Local => {
                let holder = self.guard(key).listening.as_ref().map(|l| l.session);
                self.dirty.extend(holder);
                let hears = self.sessions.iter().filter(|(_, s)| s.hearing.attends());
                self.dirty.extend(hears.map(|(id, _)| *id));
            }
        }
    }

    /// Its capture is kept for the answer when it leaves.
    pub(super) fn keeps_capture(&self, key: GuardKey, id: SessionId) -> bool {
        let listening = self.owners.guards.get(&key).and_then(|g| g.listening.as_ref());
        listening.is_some_and(|l| l.session == id && !l.is_lost) && self.wants_ear(id)
    }

    /// Nothing is open that nobody listens to or waits for, and nothing waits for ever.
    pub(super) fn check_capture(&self) {
        for (key, guard) in &self.owners.guards {
            let Some(listening) = guard.listening.as_ref().filter(|l| l.hold != Hold::Entered) else {
                continue;
            };
            assert_eq!(*key, GuardKey::Local, "a capture is kept where nothing is heard");
            let s = &self.sessions[&listening.session];
            let waits = guard.running.is_some() || !guard.line.is_empty();
            assert!(
                waits || self.wants_ear(listening.session),
                "{} keeps a capture it does not want",
                s.id
            );
            let ends = self.timers.iter().any(|(_, t)| *t == Timer::Ears(*key));
            assert!(waits || ends || !s.open.is_empty(), "the capture of {} stays open for ever", s.id);
        }
        for id in &self.owners.wishes {
            assert!(self.sessions.contains_key(id), "a session that is gone wants to hear");
        }
    }
}
