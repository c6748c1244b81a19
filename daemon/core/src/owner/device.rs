//! Orders to the device, and what its answers change. An answer is told apart by the order it answers, never by who owns now.

use super::{Asked, Guard, GuardKey, Hold, Listening, PATIENCE_US, Purpose, Running};
use crate::Core;
use crate::effect::{DeviceOp, Effect};
use crate::ids::{OrderId, SessionId, Token};
use crate::note::Note;
use crate::options::Output;
use crate::request::{DeviceEvent, ErrorKind, Failure, Transition};
use crate::timer::Timer;

impl Core {
    /// What the device did. It is told apart by the order it answers, never by who owns now.
    pub(crate) fn device(&mut self, order: OrderId, output: Output, event: DeviceEvent) {
        let Some((key, guard)) = self.owners.guards.iter().find_map(|(key, guard)| {
            let waits = guard.running.as_ref().is_some_and(|r| r.order == order);
            let holds = guard.listening.as_ref().is_some_and(|l| l.capture == order);
            (waits || holds).then_some((*key, guard))
        }) else {
            if event == DeviceEvent::Lost && output == Output::Local {
                self.lost_by_nobody(order);
            }
            return;
        };
        let is_awaited = guard.running.as_ref().is_some_and(|r| r.order == order);
        match event {
            DeviceEvent::Opened | DeviceEvent::Closed if is_awaited => self.settle(key, Ok(1)),
            DeviceEvent::Asserted { repaired } if is_awaited => self.settle(key, Ok(repaired)),
            DeviceEvent::Failed { reason } if is_awaited => {
                let failure = Failure::new(ErrorKind::Failed, format!("the audio device refused: {reason}"));
                self.settle(key, Err(failure));
            }
            // A recovery that had been given up came true after all.
            DeviceEvent::Opened => {
                if guard.listening.as_ref().is_some_and(|l| l.is_lost) {
                    self.recovered(key, order, Vec::new());
                }
            }
            DeviceEvent::Lost => self.lost(key, order),
            DeviceEvent::Back => {
                self.lost(key, order);
                self.came_back(key, order);
            }
            DeviceEvent::Closed | DeviceEvent::Asserted { .. } | DeviceEvent::Failed { .. } => {}
        }
    }

    /// The device did not answer.
    pub(crate) fn transition_overdue(&mut self, key: GuardKey, order: OrderId) {
        let is_awaited = |g: &Guard| g.running.as_ref().is_some_and(|r| r.order == order);
        if self.owners.guards.get(&key).is_some_and(is_awaited) {
            let message = "the audio device did not answer within 2 s: look at DriverState and ask again";
            self.settle(key, Err(Failure::new(ErrorKind::Failed, message)));
        }
    }

    pub(super) fn run(&mut self, key: GuardKey, asked: Asked, turn: u64) {
        let guard = self.guard(key);
        let generation = guard.generation + 1;
        let mut displaced = None;
        let op = match asked.transition {
            Transition::EnterListening => {
                if let Some(other) = guard.listening.take() {
                    guard.count("capture-stops");
                    displaced = (other.hold == Hold::Entered).then_some(other.session);
                    self.order(
                        key,
                        other.session,
                        other.generation,
                        DeviceOp::CloseCapture { capture: other.capture },
                    );
                    if other.hold == Hold::Entered {
                        let past = self.past(other.session);
                        past.listened = other.turn;
                        past.taken_over = true;
                    }
                    self.capture_changed(key);
                    self.ceased(other.session, &other, "taken-over", generation - 1);
                }
                DeviceOp::OpenCapture
            }
            Transition::MicClosedRecovery => DeviceOp::OpenCapture,
            Transition::LeaveListening => {
                let Some(capture) = guard.listening.as_ref().map(|l| l.capture) else {
                    return;
                };
                DeviceOp::CloseCapture { capture }
            }
            Transition::PlaybackReassert => DeviceOp::AssertRoutes,
        };
        let order = self.order(key, asked.session, generation, op);
        self.arm(PATIENCE_US, Timer::Transition(key, order));
        self.guard(key).running = Some(Running {
            asked,
            turn,
            order,
            displaced,
        });
    }

    /// The transition in flight is over. `Ok`: how much was done.
    pub(super) fn settle(&mut self, key: GuardKey, answer: Result<u32, Failure>) {
        let Some(Running { asked, turn, order, .. }) = self.guard(key).running.take() else {
            return;
        };
        match answer {
            Ok(done) => self.succeeded(key, asked, turn, order, done),
            Err(failure) => self.failed(key, asked, order, failure),
        }
        self.advance(key);
    }

    pub(super) fn succeeded(&mut self, key: GuardKey, asked: Asked, turn: u64, order: OrderId, done: u32) {
        match asked.transition {
            Transition::EnterListening if asked.purpose == Purpose::BargeIn => self.opened_for_answer(key, &asked, order),
            Transition::EnterListening => {
                let guard = self.guard(key);
                let generation = guard.generation + 1;
                guard.count("capture-starts");
                guard.listening = Some(Listening {
                    session: asked.session,
                    turn,
                    capture: order,
                    generation,
                    is_lost: false,
                    is_recovered: false,
                    hold: Hold::Entered,
                    is_answered: false,
                    quiet_since: None,
                });
                self.capture_changed(key);
                self.past(asked.session).taken_over = false;
                self.set_turn(asked.session, turn);
                self.applied(key, &asked);
                self.listening_changed(asked.session, true, "client", turn, generation);
            }
            Transition::LeaveListening => {
                let guard = self.guard(key);
                guard.count("capture-stops");
                let before = guard.listening.take();
                self.capture_changed(key);
                self.past(asked.session).listened = turn;
                self.applied(key, &asked);
                let generation = self.guard(key).generation;
                if let Some(before) = before {
                    self.ceased(asked.session, &before, "client", generation);
                }
            }
            Transition::MicClosedRecovery => self.recovered(key, order, asked.tokens),
            Transition::PlaybackReassert if done == 0 => self.answer_all(key, &asked, "already"),
            Transition::PlaybackReassert => {
                self.guard(key).count("route-asserts");
                self.applied(key, &asked);
            }
        }
    }

    pub(super) fn failed(&mut self, key: GuardKey, asked: Asked, order: OrderId, failure: Failure) {
        let guard = self.guard(key);
        let generation = guard.generation;
        let is_own = asked.purpose == Purpose::BargeIn;
        match asked.transition {
            // It may open yet, and nobody would listen.
            Transition::EnterListening => {
                self.order(key, asked.session, generation, DeviceOp::CloseCapture { capture: order });
                if is_own {
                    self.past(asked.session).is_deaf = true;
                    self.note_wish(asked.session, false);
                } else {
                    self.owners.because = Some(asked.transition.word());
                }
            }
            // The one before it is closed, this one may open later or come back: the device will say so.
            Transition::MicClosedRecovery => {
                let was_lost = guard.listening.as_mut().map(|listening| {
                    listening.capture = order;
                    listening.generation = generation + 1;
                    let is_told = listening.hold.is_told();
                    (listening.turn, is_told, std::mem::replace(&mut listening.is_lost, true))
                });
                self.capture_changed(key);
                if let Some((turn, true, false)) = was_lost {
                    self.listening_changed(asked.session, false, "device-lost", turn, generation);
                }
            }
            Transition::LeaveListening | Transition::PlaybackReassert => {}
        }
        self.out.push(Effect::Note(Note::TransitionFailed {
            session: self.name_of(asked.session),
            transition: if is_own { "barge-in" } else { asked.transition.word() },
            generation,
            error: failure.message.clone(),
        }));
        for token in asked.tokens {
            self.out.push(Effect::Reply {
                token,
                reply: Err(failure.clone()),
            });
        }
    }

    /// The capture of whoever listens runs again, by this order.
    pub(super) fn recovered(&mut self, key: GuardKey, order: OrderId, tokens: Vec<Token>) {
        let guard = self.guard(key);
        let generation = guard.generation + 1;
        let Some(listening) = &mut guard.listening else {
            return;
        };
        let (session, turn, was_lost) = (listening.session, listening.turn, listening.is_lost);
        let is_told = listening.hold.is_told();
        listening.capture = order;
        listening.generation = generation;
        listening.is_lost = false;
        listening.is_recovered = true;
        guard.count("recoveries");
        let asked = Asked {
            transition: Transition::MicClosedRecovery,
            purpose: Purpose::Client,
            session,
            turn,
            tokens,
        };
        self.capture_changed(key);
        self.applied(key, &asked);
        if was_lost && is_told {
            self.listening_changed(session, true, "device-back", turn, generation);
        }
    }

    /// The microphone of this capture is closed, and not by us.
    pub(super) fn lost(&mut self, key: GuardKey, order: OrderId) {
        let guard = self.guard(key);
        if guard.last_lost >= Some(order) {
            return;
        }
        // The order in flight tells of itself: its answer comes, or its time is over.
        let Some(listening) = guard.listening.as_mut().filter(|l| l.capture == order) else {
            return;
        };
        let (session, turn, generation) = (listening.session, listening.turn, listening.generation);
        let is_told = listening.hold.is_told();
        guard.last_lost = Some(order);
        // One that never opened was not lost: its recovery failed.
        if std::mem::replace(&mut listening.is_lost, true) {
            return;
        }
        listening.is_recovered = false;
        guard.count("device-losses");
        self.out.push(Effect::Note(Note::DeviceLost {
            session: self.name_of(session),
            generation,
        }));
        self.capture_changed(key);
        // Also a suspicion that nobody but a client had.
        self.hearing_lost(session);
        if is_told {
            self.listening_changed(session, false, "device-lost", turn, generation);
        }
    }

    /// A closing that concerns nobody any more is counted, and nothing is touched.
    pub(super) fn lost_by_nobody(&mut self, order: OrderId) {
        let is_ours = self.owners.orders.has_issued(order);
        let guard = self.guard(GuardKey::Local);
        if is_ours && guard.last_lost < Some(order) && guard.listening.as_ref().is_none_or(|l| l.capture > order) {
            guard.last_lost = Some(order);
            guard.count("device-losses");
        }
    }

    /// What was lost could be opened again: the guard does it while the session listens.
    pub(super) fn came_back(&mut self, key: GuardKey, order: OrderId) {
        let guard = self.guard(key);
        let Some(listening) = guard.listening.as_ref().filter(|l| l.capture == order && l.is_lost) else {
            return;
        };
        let session = listening.session;
        let is_recovery = |a: &Asked| a.transition == Transition::MicClosedRecovery && a.session == session;
        let running = guard.running.iter().map(|r| &r.asked);
        if !running.chain(&guard.line).any(is_recovery) {
            guard.line.push_back(Asked {
                transition: Transition::MicClosedRecovery,
                purpose: Purpose::Return,
                session,
                turn: 0,
                tokens: Vec::new(),
            });
            self.advance(key);
        }
    }

    pub(super) fn order(&mut self, key: GuardKey, session: SessionId, generation: u64, op: DeviceOp) -> OrderId {
        let order = self.owners.orders.next();
        self.out.push(Effect::Device {
            order,
            op,
            output: match key {
                GuardKey::Local => Output::Local,
                GuardKey::Null(_) => Output::Null,
            },
            session: self.name_of(session),
            generation,
        });
        order
    }
}
