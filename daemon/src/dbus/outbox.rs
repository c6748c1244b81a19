//! The outbox: one thread that sends replies and signals in the order in which the actor decided them. `[worker]`

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use crossbeam::channel::Receiver;
use utterd_core::{AudioFormat, Failure, ManagerProperties, OwnerProperties, Reply, SessionProperties, Signal, Token};
use zbus::blocking::Connection;
use zbus::message::Message;
use zbus::zvariant::{DynamicType, ObjectPath, OwnedObjectPath, Value};

use super::call::{Pending, refuse};
use super::error::Refusal;
use super::path::{ROOT, session_path};
use super::values::{self, Dict};
use super::{audio, root, session};

/// One thing to send.
#[derive(Debug)]
pub enum Out {
    /// An answer that is complete.
    Ready(Message),
    /// The core's answer to a call.
    Reply { token: Token, reply: Result<Reply, Failure> },
    /// The answer to AcquireAudio.
    Stream {
        token: Token,
        stream: OwnedFd,
        rate: u32,
        format: AudioFormat,
        start_us: u64,
    },
    /// The answer to AcquireAudio "inject".
    Feed {
        token: Token,
        stream: OwnedFd,
        rate: u32,
        format: AudioFormat,
        start_us: u64,
        utterance: u64,
    },
    /// A signal of a session.
    Signal { session: String, signal: Signal },
    /// InterfacesAdded.
    SessionOpened { session: String, properties: SessionProperties },
    /// InterfacesRemoved.
    SessionClosed { session: String },
    /// PropertiesChanged of a session.
    SessionChanged { session: String, properties: SessionProperties },
    /// PropertiesChanged of the manager.
    ManagerChanged { properties: ManagerProperties },
    /// AudioOwner.OwnerChanged.
    OwnerChanged {
        old: String,
        new: String,
        transition: &'static str,
        generation: u64,
    },
    /// PropertiesChanged of the audio owner.
    OwnerPropertiesChanged { properties: OwnerProperties },
    /// Plugins.PluginStateChanged.
    PluginState { id: String, state: &'static str, reason: String },
    /// Metrics.Alert.
    Alert {
        kind: &'static str,
        session: String,
        details: BTreeMap<&'static str, Value<'static>>,
    },
    /// Everything before this was sent.
    Flush(crossbeam::channel::Sender<()>),
}

/// The calls that wait for a reply of the core.
#[derive(Default)]
pub(super) struct Calls(Mutex<HashMap<Token, Pending>>);

impl Calls {
    pub(super) fn insert(&self, token: Token, pending: Pending) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token, pending);
    }

    fn take(&self, token: Token) -> Option<Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&token)
    }
}

pub(super) struct Outbox {
    pub(super) connection: Connection,
    pub(super) calls: std::sync::Arc<Calls>,
    /// As last announced, to announce only what differs.
    pub(super) sessions: HashMap<String, Dict>,
    pub(super) manager: Dict,
    pub(super) owner: Dict,
}

impl Outbox {
    /// Runs until the actor is gone.
    pub(super) fn run(mut self, queue: &Receiver<Out>) {
        for out in queue {
            if let Out::Flush(done) = out {
                if done.send(()).is_err() {
                    tracing::debug!("nobody waits for the flush any more");
                }
                continue;
            }
            match self.message(out) {
                Ok(Some(message)) => {
                    if let Err(error) = self.connection.send(&message) {
                        tracing::warn!(%error, "the bus took no message");
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "a message could not be built"),
            }
        }
    }

    fn message(&mut self, out: Out) -> Result<Option<Message>, zbus::Error> {
        Ok(Some(match out {
            Out::Ready(message) => message,
            Out::Reply { token, reply } => {
                let Some(pending) = self.calls.take(token) else {
                    return Ok(None);
                };
                match reply {
                    Ok(reply) => pending.answer(reply)?,
                    Err(failure) => refuse(&pending.call, &Refusal::from(failure))?,
                }
            }
            Out::Stream {
                token,
                stream,
                rate,
                format,
                start_us,
            } => match self.calls.take(token) {
                Some(pending) => pending.stream(stream, &audio::actual(rate, format, start_us))?,
                None => return Ok(None),
            },
            Out::Feed {
                token,
                stream,
                rate,
                format,
                start_us,
                utterance,
            } => match self.calls.take(token) {
                Some(pending) => pending.stream(stream, &audio::actual_inject(rate, format, start_us, utterance))?,
                None => return Ok(None),
            },
            Out::Signal { session, signal } => session_signal(&session, &signal)?,
            Out::SessionOpened { session: id, properties } => {
                let properties = values::session(&properties);
                let path = OwnedObjectPath::try_from(session_path(&id))?;
                let interfaces = BTreeMap::from([(session::INTERFACE, &properties)]);
                let message = emit(ROOT, "org.freedesktop.DBus.ObjectManager", "InterfacesAdded", &(path, interfaces))?;
                self.sessions.insert(id, properties);
                message
            }
            Out::SessionClosed { session: id } => {
                self.sessions.remove(&id);
                let path = ObjectPath::try_from(session_path(&id))?;
                emit(
                    ROOT,
                    "org.freedesktop.DBus.ObjectManager",
                    "InterfacesRemoved",
                    &(path, vec![session::INTERFACE]),
                )?
            }
            Out::SessionChanged { session: id, properties } => {
                let new = values::session(&properties);
                let old = self.sessions.remove(&id).unwrap_or_default();
                let changed = values::changed(&old, &new);
                self.sessions.insert(id.clone(), new);
                if changed.is_empty() {
                    return Ok(None);
                }
                properties_changed(&session_path(&id), session::INTERFACE, &changed)?
            }
            Out::ManagerChanged { properties } => {
                let new = values::manager(&properties);
                let changed = values::changed(&self.manager, &new);
                self.manager = new;
                if changed.is_empty() {
                    return Ok(None);
                }
                properties_changed(ROOT, root::MANAGER, &changed)?
            }
            Out::OwnerChanged {
                old,
                new,
                transition,
                generation,
            } => emit(ROOT, root::AUDIO_OWNER, "OwnerChanged", &(old, new, transition, generation))?,
            Out::OwnerPropertiesChanged { properties } => {
                let new = values::audio_owner(&properties);
                let changed = values::changed(&self.owner, &new);
                self.owner = new;
                if changed.is_empty() {
                    return Ok(None);
                }
                properties_changed(ROOT, root::AUDIO_OWNER, &changed)?
            }
            Out::Alert { kind, session, details } => emit(ROOT, root::METRICS, "Alert", &(kind, session, details))?,
            Out::PluginState { id, state, reason } => emit(ROOT, root::PLUGINS, "PluginStateChanged", &(id, state, reason))?,
            Out::Flush(_) => return Ok(None),
        }))
    }
}

fn session_signal(session_id: &str, signal: &Signal) -> Result<Message, zbus::Error> {
    let path = session_path(session_id);
    let info = |tag: &str, turn: u64| Dict::from([("tag", Value::from(tag.to_owned())), ("turn", Value::from(turn))]);
    let (utterance, member) = match signal {
        Signal::UtteranceStarted { utterance, .. } => (utterance.get(), "UtteranceStarted"),
        Signal::UtteranceProgress { utterance, .. } => (utterance.get(), "UtteranceProgress"),
        Signal::UtteranceFinished { utterance, .. } => (utterance.get(), "UtteranceFinished"),
        Signal::FirstFrameSent { utterance } => (utterance.get(), "FirstFrameSent"),
        Signal::ListeningChanged { .. } => (0, "ListeningChanged"),
        Signal::RecordingStarted { .. } => (0, "RecordingStarted"),
        Signal::RecordingFinished { .. } => (0, "RecordingFinished"),
        Signal::BargeIn { .. } => (0, "BargeIn"),
        Signal::SpeechStarted { .. } => (0, "SpeechStarted"),
        Signal::SpeechStopped { .. } => (0, "SpeechStopped"),
        Signal::Detected { .. } => (0, "Detected"),
    };
    match signal {
        Signal::UtteranceStarted {
            first_audio_us,
            user_silence_us,
            tag,
            turn,
            ..
        } => {
            let mut info = info(tag, *turn);
            info.insert("first-audio-us", Value::from(*first_audio_us));
            if let Some(silence) = user_silence_us {
                info.insert("user-silence-us", Value::from(*silence));
            }
            emit(&path, session::INTERFACE, member, &(utterance, info))
        }
        Signal::UtteranceProgress {
            kind,
            chars,
            played_us,
            text,
            name,
            tag,
            turn,
            ..
        } => {
            let mut details = info(tag, *turn);
            if let Some(name) = name {
                details.insert("name", Value::from(name.clone()));
            }
            if let Some(text) = text {
                details.insert("text", Value::from(text.clone()));
            }
            emit(
                &path,
                session::INTERFACE,
                member,
                &(utterance, *kind, chars.start, chars.end, *played_us, details),
            )
        }
        Signal::UtteranceFinished { outcome, report, .. } => emit(
            &path,
            session::INTERFACE,
            member,
            &(utterance, outcome.word(), values::finished(outcome, report)),
        ),
        Signal::RecordingStarted { file, path: at } => {
            let details = Dict::from([("path", Value::from(at.clone()))]);
            emit(&path, session::INTERFACE, member, &(file, details))
        }
        Signal::RecordingFinished { file, end } => emit(&path, session::INTERFACE, member, &(file, audio::finished(end))),
        Signal::FirstFrameSent { .. } => emit(&path, session::INTERFACE, member, &(utterance, Dict::new())),
        Signal::ListeningChanged {
            on,
            reason,
            turn,
            generation,
        } => {
            let details = Dict::from([("turn", Value::from(*turn)), ("generation", Value::from(*generation))]);
            emit(&path, session::INTERFACE, member, &(*on, *reason, details))
        }
        Signal::BargeIn {
            stage,
            detector,
            latency_us,
            utterance,
        } => {
            let mut details = Dict::from([
                ("detector", Value::from(detector.clone())),
                ("latency-us", Value::from(*latency_us)),
            ]);
            if let Some(utterance) = utterance {
                details.insert("utterance", Value::from(utterance.get()));
            }
            emit(&path, session::INTERFACE, member, &(*stage, details))
        }
        Signal::SpeechStarted { at_us, probability } => {
            let details = Dict::from([("at-us", Value::from(*at_us)), ("probability", Value::from(*probability))]);
            emit(&path, session::INTERFACE, member, &(details,))
        }
        Signal::SpeechStopped { duration_us, at_us } => {
            let details = Dict::from([("at-us", Value::from(*at_us))]);
            emit(&path, session::INTERFACE, member, &(*duration_us, details))
        }
        Signal::Detected {
            kind,
            detector,
            at_us,
            confidence,
        } => {
            let details = Dict::from([
                ("detector", Value::from(detector.clone())),
                ("at-us", Value::from(*at_us)),
                ("confidence", Value::from(*confidence)),
            ]);
            emit(&path, session::INTERFACE, member, &(*kind, details))
        }
    }
}

fn properties_changed(path: &str, interface: &str, changed: &Dict) -> Result<Message, zbus::Error> {
    emit(
        path,
        "org.freedesktop.DBus.Properties",
        "PropertiesChanged",
        &(interface, changed, Vec::<&str>::new()),
    )
}

fn emit<B: serde::Serialize + DynamicType>(path: &str, interface: &str, member: &str, body: &B) -> Result<Message, zbus::Error> {
    Message::signal(path, interface, member)?.build(body)
}
