//! The audio owner: the one guard through which every transition of audio goes (O1; SEMANTICS, "The audio owner and the device").
//!
//! A guard has at most one transition in flight. It gives the device one order and answers when the device has answered, or after two
//! seconds. Whoever asks for the same meanwhile joins it; whoever asks for something else stands in line. What is decided when a
//! transition begins is all it needs: a session that closes takes its requests with it.
//!
//! Invariants: no device order without a session; at most one order that is waited for; capture has been started once more than stopped
//! exactly while somebody listens; the generation is the number of applied transitions; one recovery for each closing of the microphone.
//!
//! The loudspeaker and its microphone have one guard; a session that is heard nowhere has one of its own and never owns anything.
//! Deliberately absent: what a barge-in policy does with an open microphone (it comes with the detectors). Drawing: `owner.dot`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::Core;
use crate::effect::{DeviceOp, Effect, Note, OwnerProperties, Reply, Signal};
use crate::floor::FloorKey;
use crate::ids::{Counter, Micros, OrderId, SessionId, Token};
use crate::request::{Caller, DeviceEvent, ErrorKind, Failure, Output, Target, Transition};
use crate::say::MAX_TURN_STEP;
use crate::timer::Timer;

/// A device that has not answered by then has failed.
const PATIENCE_US: Micros = 2_000_000;
/// Playback has stopped when nothing was accepted for so long after the last sample.
const PLAYBACK_ENDS_US: Micros = 2_000_000;
/// Requests that wait for a guard, joiners included; one more is refused.
const LINE: usize = 1024;

/// Which guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GuardKey {
    Local,
    /// A session of output "null".
    Null(SessionId),
}

/// All guards, and what was last told of the local one.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    guards: BTreeMap<GuardKey, Guard>,
    orders: Counter<OrderId>,
    /// What a session has done with its guard; gone with the session.
    past: BTreeMap<SessionId, Past>,
    /// Local sessions that are heard.
    pub(crate) speaking: BTreeSet<SessionId>,
    published: OwnerProperties,
    /// The transition that was applied last in this step.
    because: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Guard {
    listening: Option<Listening>,
    running: Option<Running>,
    line: VecDeque<Asked>,
    generation: u64,
    counters: BTreeMap<&'static str, u64>,
    /// The newest capture whose closing the device has reported: later reports of it are the same closing.
    last_lost: Option<OrderId>,
}

/// The EnterListening in force.
#[derive(Debug)]
struct Listening {
    session: SessionId,
    turn: u64,
    /// The order that opened the capture, and its generation.
    capture: OrderId,
    generation: u64,
    /// The device has closed it.
    is_lost: bool,
    /// This closing has had its recovery.
    is_recovered: bool,
}

/// The transition in flight.
#[derive(Debug)]
struct Running {
    asked: Asked,
    turn: u64,
    order: OrderId,
    /// Who listened until this transition took over.
    displaced: Option<SessionId>,
}

/// A request, with everybody who waits for its answer; nobody, when the guard itself asks.
#[derive(Debug)]
struct Asked {
    transition: Transition,
    session: SessionId,
    turn: u64,
    tokens: Vec<Token>,
}

#[derive(Debug, Default)]
struct Past {
    /// The last turn whose listening has ended.
    listened: u64,
    /// Another session took over, and this one has not entered since.
    taken_over: bool,
    /// The last turn of which a sample was heard.
    played: u64,
    is_playing: bool,
    /// Since when nothing is accepted.
    quiet_since: Option<Micros>,
}

/// What becomes of a request when its turn in line comes.
enum Verdict {
    Answer(&'static str),
    /// Applied without the device.
    Renew(u64),
    Run(u64),
}

impl Guard {
    fn count(&mut self, counter: &'static str) {
        *self.counters.entry(counter).or_default() += 1;
    }

    fn waiting(&self) -> usize {
        let running = self.running.iter().map(|r| &r.asked);
        running.chain(&self.line).map(|a| a.tokens.len().max(1)).sum()
    }
}

/// Every counter, so that what never happened reads 0.
const COUNTERS: [&str; 12] = [
    "applied",
    "joined",
    "already",
    "stale",
    "refused",
    "recoveries",
    "capture-starts",
    "capture-stops",
    "playback-starts",
    "playback-stops",
    "route-asserts",
    "device-losses",
];

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

    fn try_transition(
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
        let is_same = |asked: &Asked, running: Option<u64>| {
            let same_turn = turn == 0
                || turn == asked.turn
                || running.is_some_and(|r| r == turn || (transition != Transition::EnterListening && turn > r));
            asked.transition == transition && asked.session == session && same_turn
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
            session,
            turn,
            tokens: vec![token],
        });
        self.advance(key);
        Ok(None)
    }

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
        self.owners.guards.remove(&GuardKey::Null(id));
    }

    /// Takes requests from the line until one of them needs the device.
    fn advance(&mut self, key: GuardKey) {
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
                Verdict::Renew(turn) => {
                    if let Some(listening) = &mut self.guard(key).listening {
                        listening.turn = turn;
                    }
                    self.set_turn(asked.session, turn);
                    self.applied(key, &asked);
                }
                Verdict::Run(turn) => self.run(key, asked, turn),
            }
        }
    }

    fn judge(&mut self, key: GuardKey, asked: &Asked) -> Verdict {
        let current = self.sessions.get(&asked.session).map_or(0, |s| s.turn);
        let past = self.owners.past.entry(asked.session).or_default();
        let guard = self.owners.guards.entry(key).or_default();
        let in_force = guard.listening.as_ref().filter(|l| l.session == asked.session);
        let n = asked.turn;
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
                0 if past.listened >= current => Verdict::Run(past.listened + 1),
                0 => Verdict::Run(current),
                n if n <= past.listened => Verdict::Answer("stale"),
                n => Verdict::Run(n),
            },
            (_, Some(listening)) if n != 0 && n < listening.turn => Verdict::Answer("stale"),
            (Transition::MicClosedRecovery, Some(listening)) if listening.is_recovered => Verdict::Answer("already"),
            (_, Some(listening)) => Verdict::Run(listening.turn),
            (Transition::LeaveListening, None) if guard.listening.is_none() && !past.taken_over => Verdict::Answer("already"),
            (_, None) => Verdict::Answer("stale"),
        }
    }

    fn run(&mut self, key: GuardKey, asked: Asked, turn: u64) {
        let guard = self.guard(key);
        let generation = guard.generation + 1;
        let mut displaced = None;
        let op = match asked.transition {
            Transition::EnterListening => {
                if let Some(other) = guard.listening.take() {
                    guard.count("capture-stops");
                    displaced = Some(other.session);
                    self.order(
                        key,
                        other.session,
                        other.generation,
                        DeviceOp::CloseCapture { capture: other.capture },
                    );
                    let past = self.past(other.session);
                    past.listened = other.turn;
                    past.taken_over = true;
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
    fn settle(&mut self, key: GuardKey, answer: Result<u32, Failure>) {
        let Some(Running { asked, turn, order, .. }) = self.guard(key).running.take() else {
            return;
        };
        match answer {
            Ok(done) => self.succeeded(key, asked, turn, order, done),
            Err(failure) => self.failed(key, asked, order, failure),
        }
        self.advance(key);
    }

    fn succeeded(&mut self, key: GuardKey, asked: Asked, turn: u64, order: OrderId, done: u32) {
        match asked.transition {
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
                });
                self.past(asked.session).taken_over = false;
                self.set_turn(asked.session, turn);
                self.applied(key, &asked);
                self.listening_changed(asked.session, true, "client", turn, generation);
            }
            Transition::LeaveListening => {
                let guard = self.guard(key);
                guard.count("capture-stops");
                let before = guard.listening.take();
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

    fn failed(&mut self, key: GuardKey, asked: Asked, order: OrderId, failure: Failure) {
        let guard = self.guard(key);
        let generation = guard.generation;
        match asked.transition {
            // It may open yet, and nobody would listen.
            Transition::EnterListening => {
                self.order(key, asked.session, generation, DeviceOp::CloseCapture { capture: order });
                self.owners.because = Some(asked.transition.word());
            }
            // The one before it is closed, this one may open later or come back: the device will say so.
            Transition::MicClosedRecovery => {
                let was_lost = guard.listening.as_mut().map(|listening| {
                    listening.capture = order;
                    listening.generation = generation + 1;
                    (listening.turn, std::mem::replace(&mut listening.is_lost, true))
                });
                if let Some((turn, false)) = was_lost {
                    self.listening_changed(asked.session, false, "device-lost", turn, generation);
                }
            }
            Transition::LeaveListening | Transition::PlaybackReassert => {}
        }
        self.out.push(Effect::Note(Note::TransitionFailed {
            session: self.name_of(asked.session),
            transition: asked.transition.word(),
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
    fn recovered(&mut self, key: GuardKey, order: OrderId, tokens: Vec<Token>) {
        let guard = self.guard(key);
        let generation = guard.generation + 1;
        let Some(listening) = &mut guard.listening else {
            return;
        };
        let (session, turn, was_lost) = (listening.session, listening.turn, listening.is_lost);
        listening.capture = order;
        listening.generation = generation;
        listening.is_lost = false;
        listening.is_recovered = true;
        guard.count("recoveries");
        let asked = Asked {
            transition: Transition::MicClosedRecovery,
            session,
            turn,
            tokens,
        };
        self.applied(key, &asked);
        if was_lost {
            self.listening_changed(session, true, "device-back", turn, generation);
        }
    }

    /// The microphone of this capture is closed, and not by us.
    fn lost(&mut self, key: GuardKey, order: OrderId) {
        let guard = self.guard(key);
        if guard.last_lost >= Some(order) {
            return;
        }
        // The order in flight tells of itself: its answer comes, or its time is over.
        let Some(listening) = guard.listening.as_mut().filter(|l| l.capture == order) else {
            return;
        };
        let (session, turn, generation) = (listening.session, listening.turn, listening.generation);
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
        self.listening_changed(session, false, "device-lost", turn, generation);
    }

    /// A closing that concerns nobody any more is counted, and nothing is touched.
    fn lost_by_nobody(&mut self, order: OrderId) {
        let is_ours = self.owners.orders.has_issued(order);
        let guard = self.guard(GuardKey::Local);
        if is_ours && guard.last_lost < Some(order) && guard.listening.as_ref().is_none_or(|l| l.capture > order) {
            guard.last_lost = Some(order);
            guard.count("device-losses");
        }
    }

    /// What was lost could be opened again: the guard does it while the session listens.
    fn came_back(&mut self, key: GuardKey, order: OrderId) {
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
                session,
                turn: 0,
                tokens: Vec::new(),
            });
            self.advance(key);
        }
    }

    fn applied(&mut self, key: GuardKey, asked: &Asked) {
        let guard = self.guard(key);
        guard.generation += 1;
        guard.count("applied");
        if key == GuardKey::Local {
            self.owners.because = Some(asked.transition.word());
        }
        self.answer_all(key, asked, "applied");
    }

    fn answer_all(&mut self, key: GuardKey, asked: &Asked, outcome: &'static str) {
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

    fn order(&mut self, key: GuardKey, session: SessionId, generation: u64, op: DeviceOp) -> OrderId {
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

    fn listening_changed(&mut self, session: SessionId, on: bool, reason: &'static str, turn: u64, generation: u64) {
        let signal = Signal::ListeningChanged {
            on,
            reason,
            turn,
            generation,
        };
        self.signal(session, signal);
    }

    /// It listens no more; what the device took away before was told then.
    fn ceased(&mut self, session: SessionId, before: &Listening, reason: &'static str, generation: u64) {
        if !before.is_lost {
            self.listening_changed(session, false, reason, before.turn, generation);
        }
    }

    fn set_turn(&mut self, session: SessionId, turn: u64) {
        if let Some(s) = self.sessions.get_mut(&session) {
            s.turn = s.turn.max(turn);
            self.dirty.insert(session);
        }
    }

    fn name_of(&self, session: SessionId) -> String {
        self.sessions.get(&session).map(|s| s.id.clone()).unwrap_or_default()
    }

    fn guard_of(&self, session: SessionId) -> GuardKey {
        match self.sessions.get(&session).map(|s| s.output) {
            Some(Output::Null) => GuardKey::Null(session),
            _ => GuardKey::Local,
        }
    }

    fn guard(&mut self, key: GuardKey) -> &mut Guard {
        self.owners.guards.entry(key).or_default()
    }

    fn past(&mut self, session: SessionId) -> &mut Past {
        self.owners.past.entry(session).or_default()
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

    fn playback_ended(&mut self, session: SessionId) {
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
        let is_listening = guard.is_some_and(|g| g.listening.is_some());
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
        COUNTERS.iter().map(|name| (*name, value(name))).collect()
    }

    /// Who listens; until a take-over has succeeded, who listened before it; else who holds the floor.
    fn owner(&self) -> Option<SessionId> {
        let guard = self.owners.guards.get(&GuardKey::Local);
        let listening = guard.and_then(|g| g.listening.as_ref()).map(|l| l.session);
        let displaced = || guard?.running.as_ref()?.displaced;
        let floor = || self.floors.get(&FloorKey::Shared)?.holder;
        listening.or_else(displaced).or_else(floor)
    }

    /// Tells the difference to what was last told.
    pub(crate) fn publish_owner(&mut self) {
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
        for session in self.owners.past.keys().chain(&self.owners.speaking) {
            assert!(self.sessions.contains_key(session), "the guard remembers a session that is gone");
        }
    }
}
