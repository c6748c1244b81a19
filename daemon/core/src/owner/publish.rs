//! What clients see of a guard: answers, signals, properties, counters; and the guard's own books.

use std::collections::BTreeMap;

use super::{Asked, GuardKey, Listening, OWNER_COUNTERS, PLAYBACK_ENDS_US, Past};
use crate::Core;
use crate::effect::{Effect, OwnerProperties, Reply, Signal};
use crate::floor::FloorKey;
use crate::ids::SessionId;
use crate::note::Note;
use crate::timer::Timer;

impl Core {
    pub(super) fn applied(&mut self, key: GuardKey, asked: &Asked) {
        let guard = self.guard(key);
        guard.generation += 1;
        guard.count("applied");
        if key == GuardKey::Local {
            self.owners.because = Some(asked.transition.word());
        }
        self.answer_all(key, asked, "applied");
    }

    pub(super) fn answer_all(&mut self, key: GuardKey, asked: &Asked, outcome: &'static str) {
        for (n, token) in asked.tokens.iter().enumerate() {
            let outcome = if n > 0 && outcome == "applied" { "joined" } else { outcome };
            let guard = self.guard(key);
            // What was applied is counted once, also when nobody asked for it.
            if outcome != "applied" {
                guard.count(outcome);
            }
            let generation = guard.generation;
            self.reply(*token, Reply::Transition { outcome, generation });
        }
        let generation = self.guard(key).generation;
        self.out.push(Effect::Note(Note::Transition {
            session: self.name_of(asked.session),
            transition: asked.transition.word(),
            outcome,
            generation,
        }));
    }

    pub(super) fn listening_changed(&mut self, session: SessionId, on: bool, reason: &'static str, turn: u64, generation: u64) {
        let signal = Signal::ListeningChanged {
            on,
            reason,
            turn,
            generation,
        };
        self.signal(session, signal);
    }

    /// It listens no more; what the device took away before was told then.
    pub(super) fn ceased(&mut self, session: SessionId, before: &Listening, reason: &'static str, generation: u64) {
        if !before.is_lost && before.hold.is_told() {
            self.listening_changed(session, false, reason, before.turn, generation);
        }
    }

    // Playback: nothing is decided here, only counted.

    /// A sample of this turn was heard.
    pub(crate) fn playback_started(&mut self, session: SessionId, turn: u64) {
        if self.guard_of(session) != GuardKey::Local {
            return;
        }
        let past = self.past(session);
        if turn <= past.played {
            return;
        }
        past.played = turn;
        let was_playing = std::mem::replace(&mut past.is_playing, true);
        let guard = self.guard(GuardKey::Local);
        if was_playing {
            guard.count("playback-stops");
        }
        guard.count("playback-starts");
    }

    /// Nothing of this session is accepted any more.
    pub(crate) fn playback_rests(&mut self, session: SessionId) {
        let now = self.now;
        if let Some(past) = self.owners.past.get_mut(&session).filter(|p| p.is_playing) {
            past.quiet_since = Some(now);
            self.arm(PLAYBACK_ENDS_US, Timer::PlaybackEnds(session));
        }
    }

    pub(crate) fn playback_may_have_ended(&mut self, session: SessionId) {
        let is_idle = self.sessions.get(&session).is_some_and(|s| s.open.is_empty());
        let past = self.owners.past.get(&session);
        let quiet_since = past.and_then(|p| p.quiet_since);
        if is_idle && quiet_since.is_some_and(|at| self.now.saturating_sub(at) >= PLAYBACK_ENDS_US) {
            self.playback_ended(session);
        }
    }

    pub(super) fn playback_ended(&mut self, session: SessionId) {
        let past = self.past(session);
        past.quiet_since = None;
        if std::mem::replace(&mut past.is_playing, false) {
            self.guard(GuardKey::Local).count("playback-stops");
        }
    }

    /// The turn has moved on: what is still heard of an older one does not count as its playback.
    pub(crate) fn playback_turn(&mut self, session: SessionId, turn: u64) {
        let is_over = |p: &Past| p.is_playing && p.played < turn;
        if self.owners.past.get(&session).is_some_and(is_over) {
            self.playback_ended(session);
        }
    }

    // What clients see of the local guard.

    pub(crate) fn owner_properties(&self) -> OwnerProperties {
        let guard = self.owners.guards.get(&GuardKey::Local);
        let is_listening = guard.is_some_and(|g| g.listening.as_ref().is_some_and(|l| l.hold.is_told()));
        OwnerProperties {
            owner: self.owner().map(|id| self.name_of(id)).unwrap_or_default(),
            state: match (is_listening, self.owners.speaking.is_empty()) {
                (false, true) => "idle",
                (true, true) => "listening",
                (false, false) => "speaking",
                (true, false) => "listening-and-speaking",
            },
            generation: guard.map_or(0, |g| g.generation),
        }
    }

    /// Every counter of the local guard.
    pub(crate) fn owner_counters(&self) -> BTreeMap<&'static str, u64> {
        let guard = self.owners.guards.get(&GuardKey::Local);
        let value = |name| guard.and_then(|g| g.counters.get(name)).copied().unwrap_or(0);
        OWNER_COUNTERS.iter().map(|name| (*name, value(name))).collect()
    }

    /// Who listens; until a take-over has succeeded, who listened before it; else who holds the floor, or is heard while nobody does: something
    /// important takes the floor from nobody, and what it interrupted may be cancelled meanwhile.
    pub(super) fn owner(&self) -> Option<SessionId> {
        let guard = self.owners.guards.get(&GuardKey::Local);
        let listening = guard.and_then(|g| g.entered()).map(|l| l.session);
        let displaced = || guard?.running.as_ref()?.displaced;
        let floor = || {
            let floor = self.floors.get(&FloorKey::Shared)?;
            floor.holder.or_else(|| Some(floor.on_air?.0))
        };
        listening.or_else(displaced).or_else(floor)
    }

    /// Tells the difference to what was last told.
    pub(crate) fn publish_owner(&mut self) {
        self.publish_counters();
        let because = self.owners.because.take();
        let new = self.owner_properties();
        if new == self.owners.published {
            return;
        }
        let old = std::mem::replace(&mut self.owners.published, new.clone());
        if old.owner != new.owner {
            let is_gone = !old.owner.is_empty() && !self.names.contains_key(&old.owner);
            let transition = because.unwrap_or(if is_gone { "session-closed" } else { "floor" });
            self.out.push(Effect::OwnerChanged {
                old: old.owner,
                new: new.owner.clone(),
                transition,
                generation: new.generation,
            });
        }
        self.out.push(Effect::OwnerPropertiesChanged { properties: new });
    }

    fn publish_counters(&mut self) {
        let Some(guard) = self.owners.guards.get(&GuardKey::Local) else {
            return;
        };
        for (counter, value) in &guard.counters {
            let told = self.owners.counted.entry(counter).or_default();
            let by = value - std::mem::replace(told, *value);
            if by > 0 {
                self.out.push(Effect::Note(Note::OwnerCounted { counter, by }));
            }
        }
    }

    /// O5, I7, I8 and the guard's own books.
    pub(crate) fn check_owners(&self) {
        for (key, guard) in &self.owners.guards {
            let count = |name| guard.counters.get(name).copied().unwrap_or(0);
            let started = count("capture-starts") - count("capture-stops");
            assert_eq!(started, u64::from(guard.listening.is_some()), "I7: starts and stops of {key:?}");
            assert!(
                count("recoveries") <= count("device-losses") + count("capture-starts"),
                "I8: a closing of {key:?} was recovered twice"
            );
            assert_eq!(
                count("applied"),
                guard.generation,
                "I7: the generation of {key:?} is what was applied"
            );
            let sessions = guard.listening.iter().map(|l| l.session);
            let sessions = sessions.chain(guard.running.iter().map(|r| r.asked.session));
            for session in sessions.chain(guard.line.iter().map(|a| a.session)) {
                assert!(self.sessions.contains_key(&session), "O5: {key:?} serves a session that is gone");
                assert_eq!(self.guard_of(session), *key, "a session at the wrong guard");
            }
            match &guard.running {
                None => assert!(guard.line.is_empty(), "{key:?} lets requests wait for nothing"),
                Some(running) => {
                    let timer = Timer::Transition(*key, running.order);
                    assert!(
                        self.timers.iter().any(|(_, t)| *t == timer),
                        "a transition of {key:?} has no deadline"
                    );
                }
            }
        }
        self.check_capture();
        for session in self.owners.past.keys().chain(&self.owners.speaking) {
            assert!(self.sessions.contains_key(session), "the guard remembers a session that is gone");
        }
    }
}
