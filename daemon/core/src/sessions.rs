//! A session's life: open, configure, close, pause. Who may ask for it stands in `verbs`.

use std::sync::Arc;

use crate::audio::{check_file, is_private};
use crate::bargein::Hearing;
use crate::cancel::{Order, Then};
use crate::effect::{Effect, Reply, SessionProperties};
use crate::floor::FloorKey;
use crate::ids::{Micros, SessionId, Token};
use crate::note::Note;
use crate::options::{Output, SessionOptions};
use crate::request::{Caller, ErrorKind, Failure, Target};
use crate::session::{Closing, Playing, Session};
use crate::timer::Timer;
use crate::verbs::{check_id, closed};
use crate::{CLOSED_IDS, Core};

impl Core {
    pub(crate) fn open(&mut self, caller: &Caller, name: &str, options: SessionOptions) -> Result<String, Failure> {
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
        self.check_detector(options.detector.as_ref())?;
        self.check_bounds(options.bounds)?;
        let private = options.private.unwrap_or(self.settings.private);
        if private && options.record.is_some() {
            return Err(is_private(name));
        }
        // 0 = never.
        let idle_timeout_us = options.idle_timeout_us.filter(|after| *after > 0);
        let id = self.session_ids.next();
        let output = options.output.unwrap_or_default();
        let hearing = Hearing::new(&self.settings.barge_in, output == Output::Local, &options);
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
            private,
            bounds: options.bounds,
            idle_timeout_us,
            idle_epoch: 0,
            turn: 1,
            gain_db: 0.0,
            muted: false,
            client_pause: None,
            pause_epoch: 0,
            hearing,
            main: Playing::default(),
            interjection: Playing::default(),
            open: Vec::new(),
            beside: Default::default(),
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
            key: id,
            session: name.to_owned(),
            output,
            properties,
        });
        self.out.push(Effect::Note(Note::SessionOpened { session: name.to_owned() }));
        if let Some(file) = options.record {
            self.start_recording(None, id, file)?;
        }
        Ok(name.to_owned())
    }

    pub(crate) fn configure(&mut self, id: SessionId, options: SessionOptions) -> Result<(), Failure> {
        check_session_defaults(&options)?;
        self.check_detector(options.detector.as_ref())?;
        let heard = options.clone();
        self.check_bounds(options.bounds)?;
        if let Some(file) = &options.record {
            self.check_recording(id, file, options.private)?;
        }
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
                session.idle_timeout_us = Some(after).filter(|after| *after > 0);
                session.idle_epoch += 1;
            }
            let after = options.idle_timeout_us.and(session.idle_timeout_us);
            after.map(|after| (after, session.idle_epoch))
        };
        if options.private == Some(true) {
            self.end_recording(id, "stopped");
        }
        if let Some(file) = options.record {
            self.start_recording(None, id, file)?;
        }
        self.set_bounds(id, options.bounds);
        if let Some((after, epoch)) = epoch_after {
            self.arm(after, Timer::Idle(id, epoch));
        }
        self.configure_hearing(id, &heard);
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
            self.dismiss_suspicion(id);
            self.resume_session(id);
        } else {
            let targets = self.sessions[&id].all_open();
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
        if !session.beside.is_empty() {
            self.end_beside(id);
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
        self.end_recording(id, "session-closed");
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

    pub(crate) fn pause_session(&mut self, id: SessionId, fade_us: Option<u32>, auto_resume_us: Option<Micros>) {
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
        self.pause_beside(id, fade_us);
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
        self.pause_beside(id, None);
        self.schedule(floor);
    }
}

fn check_session_defaults(options: &SessionOptions) -> Result<(), Failure> {
    if let Some(file) = &options.record {
        check_file(file)?;
        if options.private == Some(true) {
            let message = "option \"record\" does not go with \"private\": nothing of a private session is recorded";
            return Err(Failure::new(ErrorKind::InvalidArgs, message));
        }
    }
    if options.say.turn.is_some() {
        return Err(Failure::new(
            ErrorKind::InvalidArgs,
            "option \"turn\" belongs to Say, not to a session",
        ));
    }
    Ok(())
}
