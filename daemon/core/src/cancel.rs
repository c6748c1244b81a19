//! The cancel chain: guard → cut → (far-end clear) → backends → queue → report and signals → tombstone (C1–C5).
//!
//! The guard is the `cancel` mark on each utterance: once set, nothing of it is requested, played or accepted. No stage waits for the
//! acknowledgement of the one before it; the report waits for all of them, at the latest until the deadline.

use std::collections::BTreeSet;

use crate::Core;
use crate::bargein::Barged;
use crate::effect::{Effect, Outcome, Reply, Report, Stages};
use crate::ids::{CancelId, Micros, SessionId, SynthesisId, Token, UtteranceId};
use crate::note::Note;
use crate::options::CancelOptions;
use crate::request::{ErrorKind, Failure, SynthesisState, Told};
use crate::session::{Stage, SynthesisRecord};
use crate::timer::Timer;

/// A cancel that is being carried out.
#[derive(Debug)]
pub(crate) struct Cancel {
    /// Ascending.
    targets: Vec<UtteranceId>,
    reason: String,
    arrived: Micros,
    guard_at: Micros,
    silent_at: Micros,
    notified_at: Micros,
    pending_cuts: BTreeSet<UtteranceId>,
    pending_told: BTreeSet<SynthesisId>,
    /// Cancels that are under way over the same scope: nobody is told "nothing" while something is audible.
    joined: BTreeSet<CancelId>,
    errors: Vec<String>,
    then: Then,
}

/// What follows the report.
#[derive(Debug)]
pub(crate) enum Then {
    Nothing,
    /// Cancel's reply, about these utterances.
    Report {
        token: Token,
        session: SessionId,
        scope: Scope,
    },
    /// CancelAll's reply.
    Count {
        token: Token,
    },
    /// A barge-in's account, and ReportSpeech's answer.
    BargedIn {
        token: Option<Token>,
        barged: Barged,
    },
    /// A write of Muted or MinPriority.
    Done {
        token: Token,
    },
    /// Close.
    Close {
        session: SessionId,
    },
    /// Mode "replace": the new one may be heard, and its reply goes out.
    Release {
        token: Token,
        utterance: UtteranceId,
    },
}

/// What a Cancel was about; decides its result when there was nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Utterance(UtteranceId),
    Session,
}

/// How a cancel is to be carried out.
pub(crate) struct Order {
    pub(crate) reason: String,
    pub(crate) fade_us: Option<u32>,
    pub(crate) arrived: Micros,
    pub(crate) ends_turns: bool,
    pub(crate) joined: BTreeSet<CancelId>,
    pub(crate) then: Then,
}

impl Order {
    pub(crate) fn new(reason: &str, now: Micros, then: Then) -> Self {
        Self {
            reason: reason.to_owned(),
            fade_us: None,
            arrived: now,
            ends_turns: false,
            joined: BTreeSet::new(),
            then,
        }
    }
}

impl Core {
    /// Session.Cancel and Manager.Cancel.
    pub(crate) fn cancel(
        &mut self,
        token: Token,
        arrived: Micros,
        session: SessionId,
        options: CancelOptions,
    ) -> Result<Option<Reply>, Failure> {
        let reason = options.reason.clone().unwrap_or_else(|| "client".to_owned());
        let barge_in = reason == "barge-in";
        let mut order = Order::new(&reason, arrived, Then::Nothing);
        order.fade_us = options.fade_us;
        let open = match options.utterance {
            Some(_) => self.sessions[&session].all_open(),
            None => self.sessions[&session].open.clone(),
        };
        let (scope, mut targets) = match (options.utterance, options.turn) {
            (Some(_), Some(_)) => {
                return Err(Failure::new(
                    ErrorKind::InvalidArgs,
                    "options \"utterance\" and \"turn\" exclude each other: give one of them",
                ));
            }
            (Some(number), None) => {
                let id = UtteranceId::new(number)
                    .ok_or_else(|| Failure::new(ErrorKind::InvalidArgs, "option \"utterance\" is 0: ids start at 1"))?;
                let known = self.sessions[&session].issued.contains(&id);
                if !known {
                    let name = &self.sessions[&session].id;
                    return Err(Failure::new(
                        ErrorKind::NoSuchUtterance,
                        format!("session \"{name}\" has never issued utterance {number}"),
                    ));
                }
                (Scope::Utterance(id), open.iter().copied().filter(|u| *u == id).collect::<Vec<_>>())
            }
            (None, turn) => {
                let current = self.sessions[&session].turn;
                let turn = turn.map(|n| if n == 0 { current } else { n });
                if turn.is_some_and(|n| n > current && n - current > crate::say::MAX_TURN_STEP) {
                    return Err(Failure::new(
                        ErrorKind::InvalidArgs,
                        format!("option \"turn\" is far beyond the current turn {current}"),
                    ));
                }
                order.ends_turns = true;
                let of_turn = |u: &UtteranceId| turn.is_none_or(|n| self.utterances[u].turn == n);
                let targets = open.iter().copied().filter(of_turn).collect();
                (Scope::Session, targets)
            }
        };
        if barge_in && !targets.is_empty() {
            let heard = match scope {
                Scope::Utterance(id) => Some(id),
                Scope::Session => self.heard_or_next(session),
            };
            if heard.is_some_and(|u| self.utterances.get(&u).is_some_and(|u| u.is_protected())) {
                return Ok(Some(protected(reason)));
            }
            let before = targets.len();
            targets.retain(|u| !self.utterances[u].is_protected());
            if targets.is_empty() && before > 0 {
                return Ok(Some(protected(reason)));
            }
        }
        if let (Scope::Session, Some(turn)) = (scope, options.turn)
            && let Some(s) = self.sessions.get_mut(&session)
        {
            let ended = if turn == 0 { s.turn } else { turn };
            s.turn = s.turn.max(ended + 1);
            self.dirty.insert(session);
            self.drop_buffer(session, ended);
        }
        order.then = Then::Report { token, session, scope };
        self.start_cancel(targets, order);
        self.dismiss_suspicion(session);
        // Cancelling everything also ends a pause: what is said next is heard. The cuts were ordered before, so nothing sounds up.
        if scope == Scope::Session && options.turn.is_none() {
            self.resume_session(session);
        }
        Ok(None)
    }

    /// Carries the chain out over these utterances; those that another cancel has already are waited for.
    pub(crate) fn start_cancel(&mut self, targets: Vec<UtteranceId>, order: Order) {
        let id = self.cancel_ids.next();
        if let Then::Release { utterance, .. } = order.then
            && let Some(record) = self.utterances.get_mut(&utterance)
        {
            record.held = Some(id);
        }
        let mut cancel = Cancel {
            targets: Vec::new(),
            reason: order.reason,
            arrived: order.arrived.min(self.now),
            guard_at: self.now,
            silent_at: self.now,
            notified_at: self.now,
            pending_cuts: BTreeSet::new(),
            pending_told: BTreeSet::new(),
            joined: order.joined,
            errors: Vec::new(),
            then: order.then,
        };
        let mut sessions = BTreeSet::new();

        // 1. Arm the guard.
        for target in targets {
            let Some(utterance) = self.utterances.get_mut(&target) else {
                continue;
            };
            if order.ends_turns
                && let Some(session) = self.sessions.get_mut(&utterance.session)
            {
                session.turn = session.turn.max(utterance.turn + 1);
                sessions.insert(utterance.session);
            }
            if let Some(other) = utterance.cancel {
                cancel.joined.insert(other);
                continue;
            }
            // Its Say is answered when what it replaces has ended; only then may a signal name it.
            cancel.joined.extend(utterance.held);
            utterance.cancel = Some(id);
            utterance.cancel_reason.clone_from(&cancel.reason);
            sessions.insert(utterance.session);
            cancel.targets.push(target);
        }
        cancel.targets.sort_unstable();

        // 2. Cut what may be stored or audible.
        let fade_us = order.fade_us.unwrap_or(self.settings.fade_us);
        for target in &cancel.targets {
            if self.utterances[target].needs_cut() {
                cancel.pending_cuts.insert(*target);
                self.out.push(Effect::Cut {
                    utterance: *target,
                    fade_us,
                });
            }
        }
        // 3. Tell the backends: whatever is in flight, and what was delivered but not heard to its end.
        for target in &cancel.targets {
            let Some(utterance) = self.utterances.get_mut(target) else {
                continue;
            };
            let heard_us = utterance.heard_us;
            for synthesis in &mut utterance.syntheses {
                let sent = synthesis.state == SynthesisState::Delivered && synthesis.end_us <= heard_us;
                if synthesis.failed || synthesis.cached || sent {
                    // One that was given up was told then.
                    synthesis.told.get_or_insert(Told::NotNeeded);
                } else {
                    cancel.pending_told.insert(synthesis.id);
                    self.out.push(Effect::CancelSynthesis { synthesis: synthesis.id });
                }
            }
            // 4. Drop what was queued.
            utterance.pieces.clear();
        }
        let deadline = self.settings.reply_us;
        self.cancels.insert(id, cancel);
        self.arm(deadline, Timer::CancelDeadline(id));
        for session in sessions {
            self.dirty.insert(session);
            if let Some(floor) = self.sessions.get(&session).map(|s| s.floor) {
                self.schedule(floor);
            }
        }
        self.try_complete(id);
    }

    /// The utterance is silent.
    pub(crate) fn cut_done(&mut self, utterance: UtteranceId, played_us: Micros, silent_at: Micros) {
        let Some(record) = self.utterances.get_mut(&utterance) else {
            return;
        };
        if record.cancel.is_none() {
            return; // Nobody asked for it.
        }
        // Its last sample may have been heard while the cut was on its way.
        let played_us = played_us.max(record.played_us);
        record.played_us = played_us;
        record.total_us = record.total_us.max(played_us);
        let id = record.cancel;
        self.leave_track(utterance);
        if let Some(id) = id
            && let Some(cancel) = self.cancels.get_mut(&id)
        {
            cancel.pending_cuts.remove(&utterance);
            cancel.silent_at = cancel.silent_at.max(silent_at);
            self.try_complete(id);
        }
    }

    /// A backend was told, or need not be.
    pub(crate) fn told(&mut self, utterance: UtteranceId, synthesis: SynthesisId, state: SynthesisState, told: Told, at: Micros) {
        let Some(record) = self.utterances.get_mut(&utterance) else {
            return;
        };
        let id = record.cancel;
        if let Some(s) = record.syntheses.iter_mut().find(|s| s.id == synthesis) {
            s.cached |= state == SynthesisState::Cached;
            s.state = state;
            s.told = Some(told);
        }
        if let Some(id) = id
            && let Some(cancel) = self.cancels.get_mut(&id)
        {
            cancel.pending_told.remove(&synthesis);
            if told == Told::Told {
                cancel.notified_at = cancel.notified_at.max(at);
            }
            self.try_complete(id);
        }
    }

    /// A server did not acknowledge its cancel: in the report while it is open, else for the operator.
    pub(crate) fn unacknowledged(&mut self, synthesis: SynthesisId, backend: String, error: String) {
        let id = self.by_synthesis.get(&synthesis).and_then(|u| self.utterances.get(u)?.cancel);
        let cancel = id.and_then(|id| self.cancels.get_mut(&id));
        let reported = cancel.is_some();
        if let Some(cancel) = cancel {
            cancel.errors.push(format!("backend \"{backend}\": {error}"));
        }
        self.out.push(Effect::Note(Note::CancelUnacknowledged {
            synthesis,
            backend,
            error,
            reported,
        }));
    }

    /// Something did not answer in time: the report says what, and goes out.
    pub(crate) fn cancel_overdue(&mut self, id: CancelId) {
        let Some(cancel) = self.cancels.get_mut(&id) else {
            return;
        };
        let mut errors = Vec::new();
        if !cancel.pending_cuts.is_empty() {
            errors.push("cut: silence was not confirmed in time (is the audio server alive?)".to_owned());
        }
        if !cancel.pending_told.is_empty() {
            errors.push("backends: not all were told in time".to_owned());
        }
        let cuts = std::mem::take(&mut cancel.pending_cuts);
        cancel.pending_told.clear();
        let joined = std::mem::take(&mut cancel.joined);
        cancel.errors.extend(errors.iter().cloned());
        let session = cancel
            .targets
            .first()
            .and_then(|u| self.utterances.get(u))
            .and_then(|u| self.sessions.get(&u.session));
        let session = session.map(|s| s.id.clone()).unwrap_or_default();
        for error in errors {
            self.out.push(Effect::Note(Note::CancelFailed {
                session: session.clone(),
                error,
            }));
        }
        for utterance in cuts {
            if let Some(record) = self.utterances.get_mut(&utterance) {
                record.played_us = record.heard_us;
            }
            self.leave_track(utterance);
        }
        // They were begun earlier and cannot be waited for either; what they end still goes out before what this one ends.
        for other in joined {
            self.cancel_overdue(other);
        }
        self.try_complete(id);
    }

    fn try_complete(&mut self, id: CancelId) {
        let ready = self
            .cancels
            .get(&id)
            .is_some_and(|c| c.pending_cuts.is_empty() && c.pending_told.is_empty() && c.joined.is_empty());
        if !ready {
            return;
        }
        let Some(cancel) = self.cancels.remove(&id) else {
            return;
        };
        let since = |at: Micros| at.saturating_sub(cancel.arrived);
        let stages = Stages {
            guard_us: since(cancel.guard_at),
            silent_us: since(cancel.silent_at.max(cancel.guard_at)),
            notified_us: since(cancel.notified_at.max(cancel.guard_at)),
            done_us: since(self.now.max(cancel.silent_at).max(cancel.notified_at)),
        };
        let mut reports = Vec::new();
        let mut session_name = None;
        for target in &cancel.targets {
            let Some(utterance) = self.utterances.get(target) else {
                continue;
            };
            session_name = session_name.or_else(|| self.sessions.get(&utterance.session).map(|s| s.id.clone()));
            let begun = utterance.has_started();
            let mut report = self.report_of(*target, false);
            report.reason.clone_from(&cancel.reason);
            report.queued_dropped = u32::from(!begun);
            report.stages = Some(stages);
            report.arrived = cancel.arrived;
            report.errors.clone_from(&cancel.errors);
            reports.push((begun, report.clone()));
            self.finish(*target, Outcome::Cancelled, report);
        }
        if !cancel.targets.is_empty() {
            self.out.push(Effect::Note(Note::Cancelled {
                session: session_name.unwrap_or_default(),
                reason: cancel.reason.clone(),
                stages,
                utterances: cancel.targets.len() as u32,
            }));
        }
        let others: Vec<CancelId> = self
            .cancels
            .iter()
            .filter(|(_, c)| c.joined.contains(&id))
            .map(|(other, _)| *other)
            .collect();
        let count = cancel.targets.len() as u32;
        match cancel.then {
            Then::Nothing => {}
            Then::Report { token, session, scope } => {
                let report = if cancel.targets.is_empty() {
                    self.nothing_done(session, scope)
                } else {
                    merge(reports)
                };
                self.reply(token, Reply::Report(Box::new(report)));
            }
            Then::Count { token } => self.reply(token, Reply::Count(count)),
            Then::BargedIn { token, barged } => {
                self.barged_in(barged, cancel.targets.first().copied(), cancel.silent_at);
                if let Some(token) = token {
                    self.reply(token, Reply::Decision("cancelled"));
                }
            }
            Then::Done { token } => self.reply(token, Reply::Done),
            Then::Close { session } => self.close_if_empty(session),
            Then::Release { token, utterance } => self.release(token, utterance),
        }
        for other in others {
            if let Some(cancel) = self.cancels.get_mut(&other) {
                cancel.joined.remove(&id);
            }
            self.try_complete(other);
        }
    }

    fn nothing_done(&self, session: SessionId, scope: Scope) -> Report {
        match scope {
            Scope::Session => Report {
                result: Some("nothing"),
                ..Report::default()
            },
            Scope::Utterance(id) => {
                let known = self.sessions.get(&session).and_then(|s| s.reports.get(&id));
                let report = known.map(|(_, report)| report.clone()).unwrap_or_else(|| Report {
                    utterances: vec![id],
                    ..Report::default()
                });
                Report {
                    result: Some("already"),
                    ..report
                }
            }
        }
    }

    /// What an utterance's signals and replies say of it, but for what its cancel adds.
    pub(crate) fn report_of(&self, id: UtteranceId, completed: bool) -> Report {
        let Some(utterance) = self.utterances.get(&id) else {
            return Report::default();
        };
        let (heard_text, heard_source) = utterance.heard(completed);
        let told = |s: &SynthesisRecord| {
            let state = if s.cached { SynthesisState::Cached } else { s.state };
            (s.id, state, s.told.unwrap_or_else(|| s.unconfirmed()))
        };
        let (backend, voice) = utterance.heard_by();
        Report {
            utterances: vec![id],
            heard_text,
            heard_source,
            turn: utterance.turn,
            tag: utterance.tag.clone(),
            backend: backend.to_owned(),
            voice: voice.to_owned(),
            played_us: utterance.position_us(),
            syntheses: if utterance.cancel.is_some() && utterance.source.is_spoken() {
                utterance.syntheses.iter().map(told).collect()
            } else {
                Vec::new()
            },
            ..Report::default()
        }
    }

    /// Takes an utterance off its track and lets the floor go on.
    pub(crate) fn leave_track(&mut self, id: UtteranceId) {
        let Some(utterance) = self.utterances.get(&id) else {
            return;
        };
        let (Stage::Committed(part) | Stage::Started(part)) = utterance.stage else {
            return;
        };
        let Some(session) = self.sessions.get_mut(&utterance.session) else {
            return;
        };
        self.dirty.insert(utterance.session);
        session.part_mut(part).committed.retain(|u| *u != id);
        let floor = session.floor;
        self.schedule(floor);
    }
}

/// Barge-in changed nothing.
fn protected(reason: String) -> Reply {
    Reply::Report(Box::new(Report {
        result: Some("protected"),
        reason,
        ..Report::default()
    }))
}

/// One report over several utterances: texts in playing order, the words of the one that was heard, else of the lowest id.
fn merge(reports: Vec<(bool, Report)>) -> Report {
    let lead = reports.iter().position(|(begun, r)| *begun && r.played_us > 0).unwrap_or(0);
    let mut merged = reports[lead].1.clone();
    merged.utterances = reports.iter().flat_map(|(_, r)| r.utterances.iter().copied()).collect();
    let texts: Vec<&str> = reports
        .iter()
        .map(|(_, r)| r.heard_text.as_str())
        .filter(|t| !t.is_empty())
        .collect();
    merged.heard_text = texts.join(" ");
    merged.heard_source = reports
        .iter()
        .map(|(_, r)| r.heard_source)
        .find(|s| *s != crate::effect::HeardSource::None)
        .unwrap_or_default();
    merged.played_us = reports.iter().map(|(_, r)| r.played_us).sum();
    merged.syntheses = reports.iter().flat_map(|(_, r)| r.syntheses.iter().copied()).collect();
    merged.queued_dropped = reports.iter().map(|(_, r)| r.queued_dropped).sum();
    merged.result = Some("cancelled");
    merged
}
