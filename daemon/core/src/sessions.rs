//! The verbs that are about sessions: open, configure, close, pause, mute, gain, history, wait. And who may use them.

use std::sync::Arc;

use crate::cancel::{Order, Then};
use crate::effect::{Effect, HistoryEntry, Note, Reply, SessionProperties};
use crate::floor::FloorKey;
use crate::ids::{Micros, SessionId, Token, UtteranceId};
use crate::request::{Caller, ErrorKind, Failure, Output, Request, SessionOptions, Target};
use crate::say::Origin;
use crate::session::{Closing, Playing, Session, Waiter};
use crate::timer::Timer;
use crate::{CLOSED_IDS, Core};

/// The session that Manager's one-liners open on demand.
const DEFAULT: &str = "default";

/// Text in one answer of GetHistory: a bus refuses messages beyond 32 MiB, and who sends one is cut off. The rest comes with `after`.
const HISTORY_REPLY_BYTES: usize = 4 << 20;

type Answer = Result<Option<Reply>, Failure>;

impl Failure {
    /// An error with its message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl Core {
    pub(crate) fn client(&mut self, token: Token, caller: &Caller, arrived: Micros, request: Request) {
        match self.answer(token, caller, arrived, request) {
            Ok(Some(reply)) => self.reply(token, reply),
            Ok(None) => {}
            Err(failure) => self.out.push(Effect::Reply {
                token,
                reply: Err(failure),
            }),
        }
    }

    fn answer(&mut self, token: Token, caller: &Caller, arrived: Micros, request: Request) -> Answer {
        match request {
            Request::Open { id, options } => self.open(caller, &id, options).map(|id| Some(Reply::Session(id))),
            Request::Close { target, drain } => {
                let session = self.find(caller, &target)?;
                self.close(session, Some(token), drain);
                Ok(None)
            }
            Request::Configure { target, options } => {
                let session = self.find_open(caller, &target)?;
                self.configure(session, options)?;
                Ok(Some(Reply::Done))
            }
            Request::Say { target, text, options } => {
                let session = self.find_or_default(caller, &target)?;
                self.say(token, session, text, options, Origin::Say)
            }
            Request::SayOpen { target, options } => {
                let session = self.find_or_default(caller, &target)?;
                self.say(token, session, String::new(), options, Origin::Stream)
            }
            Request::SayAppend {
                target,
                utterance,
                seq,
                text,
            } => {
                let session = self.find(caller, &target)?;
                self.append(token, session, utterance, seq, &text)
            }
            Request::SayEnd { target, utterance } => {
                let session = self.find(caller, &target)?;
                self.end_by_client(token, session, utterance)
            }
            Request::Submit {
                target,
                phase,
                turn,
                chunk_seq,
                text,
                options,
            } => {
                let session = self.find_or_default(caller, &target)?;
                self.submit(token, session, phase, turn, chunk_seq, text, options)
            }
            Request::Wait {
                target,
                utterance,
                timeout_us,
            } => match self.find(caller, &target) {
                Err(_) if self.is_unopened_default(&target) => Ok(Some(Reply::Waited {
                    outcome: "nothing",
                    report: None,
                })),
                found => self.wait(token, found?, utterance, timeout_us),
            },
            Request::Cancel { target, options } => match self.find(caller, &target) {
                Err(_) if self.is_unopened_default(&target) => Ok(Some(Reply::Report(Box::new(crate::Report {
                    result: Some("nothing"),
                    ..Default::default()
                })))),
                found => self.cancel(token, arrived, found?, options),
            },
            Request::CancelAll { reason } => {
                let mine: Vec<SessionId> = self.sessions.iter().filter(|(_, s)| may(caller, s)).map(|(id, _)| *id).collect();
                let targets = mine.iter().flat_map(|id| self.sessions[id].open.iter().copied()).collect();
                let mut order = Order::new(reason.as_deref().unwrap_or("client"), arrived, Then::Count { token });
                order.ends_turns = true;
                self.start_cancel(targets, order);
                for id in mine {
                    self.resume_session(id);
                }
                Ok(None)
            }
            Request::Pause {
                target,
                fade_us,
                auto_resume_us,
            } => {
                if self.is_unopened_default(&target) {
                    self.open(caller, DEFAULT, SessionOptions::default())?;
                }
                let id = self.find(caller, &target)?;
                self.pause_session(id, fade_us, auto_resume_us);
                Ok(Some(Reply::Done))
            }
            Request::Resume { target } => {
                let id = self.find(caller, &target)?;
                self.resume_session(id);
                Ok(Some(Reply::Done))
            }
            Request::History { target, after, limit } => {
                let session = &self.sessions[&self.find(caller, &target)?];
                let mut bytes = 0;
                let fits = |e: &&HistoryEntry| {
                    let first = bytes == 0;
                    bytes += e.bytes();
                    first || bytes <= HISTORY_REPLY_BYTES
                };
                let newer = session.history.iter().filter(|e| e.utterance.get() > after);
                let entries = newer.take(limit).take_while(fits).cloned().collect();
                Ok(Some(Reply::History(entries)))
            }
            Request::SessionProperties { target } => {
                let id = self.find_any(&target)?;
                let properties = self.properties(id, &self.sessions[&id]);
                Ok(Some(Reply::SessionProperties(Box::new(properties))))
            }
            Request::Sessions => {
                let all = self.sessions.iter().map(|(id, s)| (s.id.clone(), self.properties(*id, s)));
                Ok(Some(Reply::Sessions(all.collect())))
            }
            Request::Transition { transition, target, turn } => self.transition(token, caller, transition, &target, turn),
            Request::OwnerProperties => Ok(Some(Reply::OwnerProperties(self.owner_properties(), self.owner_counters()))),
            Request::ManagerProperties => Ok(Some(Reply::ManagerProperties(Box::new(self.manager.clone())))),
            Request::SetSessionGain { target, gain_db } => {
                let id = self.find(caller, &target)?;
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.gain_db = gain_db;
                }
                self.apply_gain(Some(id));
                Ok(Some(Reply::Done))
            }
            Request::SetMasterGain { gain_db } => {
                self.check_manages(caller)?;
                self.manager.gain_db = gain_db;
                self.apply_gain(None);
                Ok(Some(Reply::Done))
            }
            Request::SetSessionMuted { target, muted } => {
                let id = self.find(caller, &target)?;
                let Some(session) = self.sessions.get_mut(&id) else {
                    return Ok(Some(Reply::Done));
                };
                session.muted = muted;
                let targets = if muted { session.open.clone() } else { Vec::new() };
                self.dirty.insert(id);
                self.silence(token, targets, "muted")
            }
            Request::SetMasterMuted { muted } => {
                self.check_manages(caller)?;
                self.manager.muted = muted;
                let targets = if muted {
                    self.utterances.keys().copied().collect()
                } else {
                    Vec::new()
                };
                self.silence(token, targets, "muted")
            }
            Request::SetMinPriority { priority } => {
                self.check_manages(caller)?;
                self.manager.min_priority = priority;
                let targets = self
                    .utterances
                    .iter()
                    .filter(|(_, u)| u.class < priority)
                    .map(|(id, _)| *id)
                    .collect();
                self.silence(token, targets, "quiet")
            }
        }
    }

    /// Muting is honest: what is not heard is not spoken. The reply follows what it ended.
    fn silence(&mut self, token: Token, targets: Vec<UtteranceId>, reason: &str) -> Answer {
        self.start_cancel(targets, Order::new(reason, self.now, Then::Done { token }));
        Ok(None)
    }

    pub(crate) fn apply_gain(&mut self, only: Option<SessionId>) {
        for (id, session) in &self.sessions {
            if only.is_some_and(|only| only != *id) {
                continue;
            }
            self.dirty.insert(*id);
            let linear = crate::db_to_linear(session.gain_db + self.manager.gain_db);
            for track in [session.main.track, session.interjection.track].into_iter().flatten() {
                self.out.push(Effect::Gain { track, linear });
            }
        }
    }

    /// What concerns everybody is root's and the daemon's own user's.
    fn check_manages(&self, caller: &Caller) -> Result<(), Failure> {
        let Some(manager) = self.settings.manager_uid else {
            return Ok(());
        };
        if caller.uid == 0 || caller.uid == manager {
            return Ok(());
        }
        let message = format!("this concerns every session: uid {manager} may set it, and root");
        Err(Failure::new(ErrorKind::NotPermitted, message))
    }

    fn is_unopened_default(&self, target: &Target) -> bool {
        matches!(target, Target::Id(id) if id == DEFAULT) && !self.names.contains_key(DEFAULT)
    }

    /// The session a caller means and may control.
    pub(crate) fn find(&self, caller: &Caller, target: &Target) -> Result<SessionId, Failure> {
        let id = self.find_any(target)?;
        let session = &self.sessions[&id];
        if !may(caller, session) {
            let message = format!(
                "session \"{}\" belongs to uid {}: use a session of your own",
                session.id, session.uid
            );
            return Err(Failure::new(ErrorKind::NotPermitted, message));
        }
        Ok(id)
    }

    /// As `find`, for what a session that drains takes no longer: new work and new options. What is queued can still be cancelled,
    /// paused and waited for.
    pub(crate) fn find_open(&self, caller: &Caller, target: &Target) -> Result<SessionId, Failure> {
        let id = self.find(caller, target)?;
        let session = &self.sessions[&id];
        if session.closing.is_some() {
            return Err(closed(&session.id));
        }
        Ok(id)
    }

    fn find_any(&self, target: &Target) -> Result<SessionId, Failure> {
        let (Target::Id(name) | Target::Object(name)) = target;
        match self.names.get(name) {
            Some(id) => Ok(*id),
            None if matches!(target, Target::Object(_)) => Err(Failure::new(
                ErrorKind::UnknownObject,
                format!("there is no session \"{name}\": it was closed or never opened"),
            )),
            None => {
                check_id(name)?;
                if self.closed.contains(name) {
                    return Err(closed(name));
                }
                Err(Failure::new(
                    ErrorKind::NoSuchSession,
                    format!("there is no session \"{name}\": open it with OpenSession"),
                ))
            }
        }
    }

    fn find_or_default(&mut self, caller: &Caller, target: &Target) -> Result<SessionId, Failure> {
        if self.is_unopened_default(target) {
            self.open(caller, DEFAULT, SessionOptions::default())?;
        }
        self.find_open(caller, target)
    }

    fn open(&mut self, caller: &Caller, name: &str, options: SessionOptions) -> Result<String, Failure> {
        check_id(name)?;
        if self.names.contains_key(name) {
            let id = self.find_open(caller, &Target::Id(name.to_owned()))?;
            self.configure(id, options)?;
            return Ok(name.to_owned());
        }
        if self.sessions.len() >= self.settings.sessions {
            let message = format!("{} sessions are open (limits.sessions): close some", self.sessions.len());
            return Err(Failure::new(ErrorKind::LimitExceeded, message));
        }
        check_session_defaults(&options)?;
        let id = self.session_ids.next();
        let output = options.output.unwrap_or_default();
        let floor = if options.own_floor == Some(true) || output != Output::Local {
            FloorKey::Own(id)
        } else {
            FloorKey::Shared
        };
        let session = Session {
            id: name.to_owned(),
            uid: caller.uid,
            connection: (options.client_lifetime == Some(true)).then(|| Arc::clone(&caller.connection)),
            output,
            floor,
            defaults: options.say,
            private: options.private.unwrap_or(false),
            idle_timeout_us: options.idle_timeout_us,
            idle_epoch: 0,
            turn: 1,
            gain_db: 0.0,
            muted: false,
            client_pause: None,
            pause_epoch: 0,
            main: Playing::default(),
            interjection: Playing::default(),
            open: Vec::new(),
            issued: Default::default(),
            history: Default::default(),
            history_bytes: 0,
            reports: Default::default(),
            waiters: Vec::new(),
            phases: Default::default(),
            first_frame_sent: false,
            stale_turns: 0,
            closing: None,
            published: SessionProperties::default(),
        };
        self.closed.retain(|c| c != name);
        self.names.insert(name.to_owned(), id);
        self.floors.entry(floor).or_default();
        if let Some(after) = session.idle_timeout_us {
            self.arm(after, Timer::Idle(id, 0));
        }
        self.open_output(output);
        let properties = self.properties(id, &session);
        self.sessions.insert(
            id,
            Session {
                published: properties.clone(),
                ..session
            },
        );
        self.out.push(Effect::SessionOpened {
            session: name.to_owned(),
            properties,
        });
        self.out.push(Effect::Note(Note::SessionOpened { session: name.to_owned() }));
        Ok(name.to_owned())
    }

    fn configure(&mut self, id: SessionId, options: SessionOptions) -> Result<(), Failure> {
        check_session_defaults(&options)?;
        let epoch_after = {
            let Some(session) = self.sessions.get_mut(&id) else {
                return Ok(());
            };
            let fixed = |key: &str| {
                Failure::new(
                    ErrorKind::WrongState,
                    format!("option \"{key}\" cannot change while session \"{}\" is open", session.id),
                )
            };
            if options.output.is_some_and(|o| o != session.output) {
                return Err(fixed("output"));
            }
            if options.client_lifetime.is_some_and(|c| c != session.connection.is_some()) {
                return Err(fixed("lifetime"));
            }
            let own = session.floor != FloorKey::Shared;
            if options.own_floor.is_some_and(|o| o != own) && session.output == Output::Local {
                return Err(fixed("floor"));
            }
            session.private = options.private.unwrap_or(session.private);
            session.defaults = options.say.or(&session.defaults);
            if let Some(after) = options.idle_timeout_us {
                session.idle_timeout_us = Some(after);
                session.idle_epoch += 1;
            }
            options.idle_timeout_us.map(|after| (after, session.idle_epoch))
        };
        if let Some((after, epoch)) = epoch_after {
            self.arm(after, Timer::Idle(id, epoch));
        }
        Ok(())
    }

    /// Ends a session: at once, or when what is queued has been spoken.
    pub(crate) fn close(&mut self, id: SessionId, token: Option<Token>, drain: bool) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session
            .closing
            .get_or_insert_with(|| Closing { tokens: Vec::new() })
            .tokens
            .extend(token);
        self.dirty.insert(id);
        self.end_listening(id);
        self.drop_buffers(id);
        if drain {
            // Nothing more is appended: what was accepted is spoken.
            for utterance in self.sessions[&id].open.clone() {
                self.end_stream(utterance);
            }
            // A paused session would never drain.
            self.resume_session(id);
        } else {
            let targets = self.sessions[&id].open.clone();
            self.start_cancel(targets, Order::new("session-closed", self.now, Then::Close { session: id }));
        }
        self.close_if_empty(id);
    }

    pub(crate) fn close_if_empty(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.closing.is_none() || !session.open.is_empty() {
            return;
        }
        let tokens = session.closing.as_mut().map(|c| std::mem::take(&mut c.tokens)).unwrap_or_default();
        let waiters = std::mem::take(&mut session.waiters);
        let name = session.id.clone();
        let floor = session.floor;
        let tracks: Vec<_> = [session.main.track, session.interjection.track].into_iter().flatten().collect();
        let properties = self.properties(id, &self.sessions[&id]);
        self.out.push(Effect::SessionChanged {
            session: name.clone(),
            properties,
        });
        for track in &tracks {
            self.by_track.remove(track);
            self.out.push(Effect::CloseTrack { track: *track });
        }
        self.end_listening(id);
        self.forget_owner(id);
        self.sessions.remove(&id);
        self.names.remove(&name);
        self.dirty.remove(&id);
        if let FloorKey::Own(_) = floor {
            self.floors.remove(&floor);
        } else if let Some(floor) = self.floors.get_mut(&floor) {
            floor.members.remove(&id);
            floor.holder = floor.holder.filter(|h| *h != id);
            floor.on_air = floor.on_air.filter(|(s, _)| *s != id);
        }
        if self.closed.len() == CLOSED_IDS {
            self.closed.pop_front();
        }
        self.closed.push_back(name.clone());
        self.out.push(Effect::SessionClosed { session: name.clone() });
        self.out.push(Effect::Note(Note::SessionClosed { session: name.clone() }));
        for waiter in waiters {
            self.out.push(Effect::Reply {
                token: waiter.token,
                reply: Err(closed(&name)),
            });
        }
        for token in tokens {
            self.reply(token, Reply::Done);
        }
        for track in tracks {
            self.stop_waiting(floor, track);
        }
        self.schedule(floor);
    }

    pub(crate) fn connection_lost(&mut self, connection: &str) {
        let gone: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.connection.as_deref() == Some(connection))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.close(id, None, false);
        }
    }

    fn pause_session(&mut self, id: SessionId, fade_us: Option<u32>, auto_resume_us: Option<Micros>) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.client_pause.get_or_insert(now);
        session.pause_epoch += 1;
        let (floor, epoch) = (session.floor, session.pause_epoch);
        self.dirty.insert(id);
        if let Some(after) = auto_resume_us {
            self.arm(after, Timer::AutoResume(id, epoch));
        }
        self.arm_yield(id);
        self.apply_pauses(floor, fade_us);
    }

    pub(crate) fn resume_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.client_pause = None;
        session.pause_epoch += 1;
        let floor = session.floor;
        self.dirty.insert(id);
        self.apply_pauses(floor, None);
        self.schedule(floor);
    }

    fn wait(&mut self, token: Token, id: SessionId, utterance: u64, timeout_us: Option<Micros>) -> Answer {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(None);
        };
        let asked = match UtteranceId::new(utterance) {
            None => match session.issued.back() {
                None => {
                    return Ok(Some(Reply::Waited {
                        outcome: "nothing",
                        report: None,
                    }));
                }
                Some(newest) => *newest,
            },
            Some(asked) if session.issued.contains(&asked) => asked,
            Some(_) => {
                let message = format!("session \"{}\" has never issued utterance {utterance}", session.id);
                return Err(Failure::new(ErrorKind::NoSuchUtterance, message));
            }
        };
        if session.open.contains(&asked) {
            session.waiters.push(Waiter { token, utterance: asked });
            if let Some(after) = timeout_us {
                self.arm(after, Timer::WaitTimeout(id, token));
            }
            return Ok(None);
        }
        Ok(Some(match session.reports.get(&asked) {
            Some((outcome, report)) => Reply::Waited {
                outcome,
                report: Some(Box::new(report.clone())),
            },
            None => Reply::Waited {
                outcome: "nothing",
                report: None,
            },
        }))
    }

    pub(crate) fn wait_timed_out(&mut self, id: SessionId, token: Token) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let before = session.waiters.len();
        session.waiters.retain(|w| w.token != token);
        if session.waiters.len() < before {
            self.reply(
                token,
                Reply::Waited {
                    outcome: "pending",
                    report: None,
                },
            );
        }
    }
}

/// A session belongs to the uid that opened it; root may control all.
fn may(caller: &Caller, session: &Session) -> bool {
    caller.uid == session.uid || caller.uid == 0
}

pub(crate) fn closed(name: &str) -> Failure {
    Failure::new(
        ErrorKind::SessionClosed,
        format!("session \"{name}\" is closed: open it again with OpenSession"),
    )
}

/// 1 to 128 of A-Z a-z 0-9 . _ : -
fn check_id(id: &str) -> Result<(), Failure> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._:-".contains(&c);
    if (1..=128).contains(&id.len()) && id.bytes().all(allowed) {
        return Ok(());
    }
    Err(Failure::new(
        ErrorKind::InvalidSession,
        "a session id is 1 to 128 characters of A-Z a-z 0-9 . _ : -",
    ))
}

fn check_session_defaults(options: &SessionOptions) -> Result<(), Failure> {
    if options.say.turn.is_some() {
        return Err(Failure::new(
            ErrorKind::InvalidArgs,
            "option \"turn\" belongs to Say, not to a session",
        ));
    }
    Ok(())
}
