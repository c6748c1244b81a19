//! What becomes of a request: refused, joined, in line, answered at once, or run. Nothing here speaks to the device.

use super::{Asked, GuardKey, Hold, LINE, Purpose, Verdict};
use crate::Core;
use crate::effect::{DeviceOp, Effect, Reply};
use crate::ids::{SessionId, Token};
use crate::note::Note;
use crate::request::{Caller, ErrorKind, Failure, Target, Transition};
use crate::say::MAX_TURN_STEP;

impl Core {
    /// One of the four transitions, by a client.
    pub(crate) fn transition(
        &mut self,
        token: Token,
        caller: &Caller,
        transition: Transition,
        target: &Target,
        turn: u64,
    ) -> Result<Option<Reply>, Failure> {
        let (Target::Id(name) | Target::Object(name)) = target;
        self.try_transition(token, caller, transition, target, turn).inspect_err(|failure| {
            let key = self.names.get(name).map_or(GuardKey::Local, |id| self.guard_of(*id));
            self.guard(key).count("refused");
            self.out.push(Effect::Note(Note::TransitionRefused {
                session: name.clone(),
                transition: transition.word(),
                error: failure.message.clone(),
            }));
        })
    }

    pub(super) fn try_transition(
        &mut self,
        token: Token,
        caller: &Caller,
        transition: Transition,
        target: &Target,
        turn: u64,
    ) -> Result<Option<Reply>, Failure> {
        let session = if transition == Transition::EnterListening {
            self.find_open(caller, target)?
        } else {
            self.find(caller, target)?
        };
        let current = self.sessions[&session].turn;
        if transition == Transition::EnterListening && turn > current && turn - current > MAX_TURN_STEP {
            let message = format!("turn is {turn}, far beyond the current turn {current}");
            return Err(Failure::new(ErrorKind::InvalidArgs, message));
        }
        let key = self.guard_of(session);
        let guard = self.guard(key);
        if guard.waiting() >= LINE {
            let message = format!("{LINE} requests wait for the audio device: ask again when it has answered");
            return Err(Failure::new(ErrorKind::LimitExceeded, message));
        }
        // Single flight: the same as what is last in line is the same thing, and anything between would change its meaning.
        let in_force = guard.entered().is_some_and(|l| l.session == session);
        let is_same = |asked: &Asked, running: Option<u64>| {
            let is_asked = asked.purpose == Purpose::Client || (asked.purpose == Purpose::Return && in_force);
            let same_turn = turn == 0
                || turn == asked.turn
                || running.is_some_and(|r| r == turn || (transition != Transition::EnterListening && turn > r));
            is_asked && asked.transition == transition && asked.session == session && same_turn
        };
        let last = match (guard.line.back_mut(), &mut guard.running) {
            (Some(last), _) => Some((last, None)),
            (None, Some(running)) => Some((&mut running.asked, Some(running.turn))),
            (None, None) => None,
        };
        if let Some((last, running)) = last
            && is_same(last, running)
        {
            last.tokens.push(token);
            return Ok(None);
        }
        guard.line.push_back(Asked {
            transition,
            purpose: Purpose::Client,
            session,
            turn,
            tokens: vec![token],
        });
        self.advance(key);
        Ok(None)
    }

    /// The session closes: what it asked for is refused, and nobody hears through its microphone any more.
    pub(crate) fn end_listening(&mut self, id: SessionId) {
        let key = self.guard_of(id);
        let Some(name) = self.sessions.get(&id).map(|s| s.id.clone()) else {
            return;
        };
        let Some(guard) = self.owners.guards.get_mut(&key) else {
            return;
        };
        let mut refused = Vec::new();
        guard.line.retain(|asked| {
            if asked.session == id {
                refused.extend(asked.tokens.iter().copied());
            }
            asked.session != id
        });
        let mut unwanted = None;
        if let Some(running) = guard.running.take_if(|r| r.asked.session == id) {
            if matches!(running.asked.transition, Transition::EnterListening | Transition::MicClosedRecovery) {
                unwanted = Some(running.order);
            }
            refused.extend(running.asked.tokens);
        }
        if let Some(running) = &mut guard.running {
            running.displaced = running.displaced.filter(|d| *d != id);
        }
        for _ in &refused {
            guard.count("refused");
        }
        let listening = guard.listening.take_if(|l| l.session == id);
        if listening.is_some() {
            guard.count("capture-stops");
        }
        let generation = guard.generation;
        if let Some(order) = listening.as_ref().map(|l| l.capture).or(unwanted) {
            self.order(key, id, generation, DeviceOp::CloseCapture { capture: order });
        }
        // An order that replaces the capture may be on its way beside it.
        if let Some(order) = unwanted.filter(|_| listening.is_some()) {
            self.order(key, id, generation, DeviceOp::CloseCapture { capture: order });
        }
        for token in refused {
            self.out.push(Effect::Reply {
                token,
                reply: Err(crate::verbs::closed(&name)),
            });
        }
        if let Some(listening) = listening {
            self.past(id).listened = listening.turn;
            if key == GuardKey::Local {
                self.owners.because = Some("session-closed");
            }
            self.capture_changed(key);
            self.ceased(id, &listening, "session-closed", generation);
        }
        self.advance(key);
    }

    /// Nothing is left of a session that is gone.
    pub(crate) fn forget_owner(&mut self, id: SessionId) {
        if self.owners.past.remove(&id).is_some_and(|p| p.is_playing) {
            self.guard(GuardKey::Local).count("playback-stops");
        }
        self.owners.speaking.remove(&id);
        self.forget_ear(id);
        self.owners.guards.remove(&GuardKey::Null(id));
    }

    /// Takes requests from the line until one of them needs the device.
    pub(super) fn advance(&mut self, key: GuardKey) {
        loop {
            let guard = self.guard(key);
            if guard.running.is_some() {
                return;
            }
            let Some(asked) = guard.line.pop_front() else {
                return;
            };
            match self.judge(key, &asked) {
                Verdict::Answer(outcome) => self.answer_all(key, &asked, outcome),
                Verdict::Renew(turn) => self.renew(key, &asked, turn),
                Verdict::Keep => self.keep(key, &asked),
                Verdict::Run(turn) => self.run(key, asked, turn),
            }
        }
    }

    pub(super) fn judge(&mut self, key: GuardKey, asked: &Asked) -> Verdict {
        let current = self.sessions.get(&asked.session).map_or(0, |s| s.turn);
        let keeps = self.keeps_capture(key, asked.session);
        let past = self.owners.past.entry(asked.session).or_default();
        let guard = self.owners.guards.entry(key).or_default();
        let n = asked.turn;
        // What is open for barge-in needs no device to be listened to, and is recovered by the guard alone.
        let own = guard.listening.as_ref().filter(|l| l.session == asked.session);
        let is_open = own.is_some_and(|l| !l.is_lost);
        let in_force = own.filter(|l| l.hold == Hold::Entered || asked.purpose == Purpose::Return);
        let run = |n| if is_open { Verdict::Renew(n) } else { Verdict::Run(n) };
        match (asked.transition, in_force) {
            (Transition::EnterListening, _) if n != 0 && n < current => Verdict::Answer("stale"),
            (Transition::EnterListening, Some(listening)) => {
                let n = if n == 0 { current } else { n };
                if n <= listening.turn {
                    Verdict::Answer("already")
                } else {
                    Verdict::Renew(n)
                }
            }
            (Transition::EnterListening, None) => match n {
                0 if past.listened >= current => run(past.listened + 1),
                0 => run(current),
                n if n <= past.listened => Verdict::Answer("stale"),
                n => run(n),
            },
            (_, Some(listening)) if n != 0 && n < listening.turn => Verdict::Answer("stale"),
            (Transition::MicClosedRecovery, Some(listening)) if listening.is_recovered => Verdict::Answer("already"),
            (Transition::LeaveListening, Some(_)) if keeps => Verdict::Keep,
            (_, Some(listening)) => Verdict::Run(listening.turn),
            (Transition::LeaveListening, None) if guard.entered().is_none() && !past.taken_over => Verdict::Answer("already"),
            (_, None) => Verdict::Answer("stale"),
        }
    }

    /// What is open is listened to from now on, for this turn.
    fn renew(&mut self, key: GuardKey, asked: &Asked, turn: u64) {
        let Some(listening) = &mut self.guard(key).listening else {
            return;
        };
        listening.turn = turn;
        let before = std::mem::replace(&mut listening.hold, Hold::Entered);
        self.past(asked.session).taken_over = false;
        self.set_turn(asked.session, turn);
        self.applied(key, asked);
        if !before.is_told() {
            let generation = self.guard(key).generation;
            self.listening_changed(asked.session, true, "client", turn, generation);
        }
    }

    /// It listens no more, and the user may still interrupt the answer.
    fn keep(&mut self, key: GuardKey, asked: &Asked) {
        let Some(listening) = &mut self.guard(key).listening else {
            return;
        };
        listening.hold = Hold::Kept;
        listening.is_answered = false;
        listening.quiet_since = None;
        let turn = listening.turn;
        self.past(asked.session).listened = turn;
        self.applied(key, asked);
        let generation = self.guard(key).generation;
        self.dirty.insert(asked.session);
        self.listening_changed(asked.session, false, "client", turn, generation);
    }
}
