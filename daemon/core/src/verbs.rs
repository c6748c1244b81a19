//! Every verb of a client: which session it means, whether this caller may, and which room answers it. One reply a verb, now or later.

use crate::Core;
use crate::beside::GAIN_US;
use crate::cancel::{Order, Then};
use crate::effect::{Effect, HistoryEntry, Reply};
use crate::ids::{Micros, SessionId, Token, UtteranceId};
use crate::options::{Output, SessionOptions};
use crate::request::{Caller, ErrorKind, Failure, Request, Target};
use crate::say::Origin;
use crate::session::Session;

/// The session that Manager's one-liners open on demand.
const DEFAULT: &str = "default";

/// Text in one answer of GetHistory: a bus refuses messages beyond 32 MiB, and who sends one is cut off. The rest comes with `after`.
const HISTORY_REPLY_BYTES: usize = 4 << 20;

/// What a verb comes to: a reply, or none yet because an event brings it.
pub(crate) type Answer = Result<Option<Reply>, Failure>;

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
            Request::Play { target, sound, options } => {
                let session = self.find_or_default(caller, &target)?;
                self.play(token, session, sound, options)
            }
            Request::Inject { target, format, options } => {
                let session = self.find_open(caller, &target)?;
                self.inject(token, session, format, options)
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
                let targets = mine.iter().flat_map(|id| self.sessions[id].all_open()).collect();
                let mut order = Order::new(reason.as_deref().unwrap_or("client"), arrived, Then::Count { token });
                order.ends_turns = true;
                self.start_cancel(targets, order);
                for id in mine {
                    self.dismiss_suspicion(id);
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
            Request::AcquireAudio { target, direction, format } => {
                let session = self.find_open(caller, &target)?;
                self.acquire_audio(token, session, direction, format)
            }
            Request::StartRecording { target, file } => {
                let session = self.find_open(caller, &target)?;
                self.start_recording(Some(token), session, file)
            }
            Request::StopRecording { target } => {
                let session = self.find(caller, &target)?;
                self.stop_recording(token, session)
            }
            Request::History { target, after, limit } => {
                let session = &self.sessions[&self.find(caller, &target)?];
                let mut bytes = 0;
                let fits = |e: &&HistoryEntry| {
                    let first = bytes == 0;
                    bytes += e.bytes();
                    first || bytes <= HISTORY_REPLY_BYTES
                };
                // They stand in the order in which they ended, which is not that of their ids: what was important ended first.
                let known = session.history.iter().position(|e| e.utterance.get() == after);
                let newer = session.history.iter().enumerate().filter_map(|(at, e)| match known {
                    Some(known) => (at > known).then_some(e),
                    None => (e.utterance.get() > after).then_some(e),
                });
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
                let targets = if muted { session.all_open() } else { Vec::new() };
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
            Request::ReportSpeech { target, kind, details } => {
                let id = self.find(caller, &target)?;
                self.report_speech(token, arrived, id, kind, &details)
            }
            Request::SetSessionMicMuted { target, muted } => {
                let id = self.find(caller, &target)?;
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.hearing.mic_muted = muted;
                }
                self.mic_muted(vec![id], muted);
                Ok(Some(Reply::Done))
            }
            Request::SetMasterMicMuted { muted } => {
                self.check_manages(caller)?;
                self.manager.mic_muted = muted;
                let local = self.sessions.iter().filter(|(_, s)| s.output == Output::Local);
                self.mic_muted(local.map(|(id, _)| *id).collect(), muted);
                Ok(Some(Reply::Done))
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
                self.out.push(Effect::Gain {
                    track,
                    linear,
                    ramp_us: GAIN_US,
                });
            }
        }
        let sessions: Vec<SessionId> = self.sessions.keys().copied().filter(|id| only.is_none_or(|o| o == *id)).collect();
        for id in sessions {
            self.set_beside_gain(id, GAIN_US);
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
pub(crate) fn check_id(id: &str) -> Result<(), Failure> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._:-".contains(&c);
    if (1..=128).contains(&id.len()) && id.bytes().all(allowed) {
        return Ok(());
    }
    Err(Failure::new(
        ErrorKind::InvalidSession,
        "a session id is 1 to 128 characters of A-Z a-z 0-9 . _ : -",
    ))
}
