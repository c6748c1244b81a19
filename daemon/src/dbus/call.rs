//! One method call on its way to an answer: read, decide who answers it, remember what shape the answer has.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;

use utterd_core::{Reply, Request};
use zbus::message::{Flags, Message};
use zbus::zvariant::{DynamicType, ObjectPath, OwnedObjectPath};

use super::error::Refusal;
use super::path::{ROOT, session_path};
use super::values::{self, Dict};
use super::{audio, introspect, session};

/// Of an error message.
const MESSAGE_CHARS: usize = 1024;

/// What a call leads to.
#[expect(clippy::large_enum_variant, reason = "made and taken apart at once, never stored")]
pub(super) enum Action {
    /// The core decides; its reply is given this shape.
    Ask(Request, Shape),
    /// Known already.
    Answer(Message),
    /// Takes time: answered by the thread for slow queries.
    Query(Query),
}

/// Questions that may take their time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Query {
    Ports,
    Reload,
}

/// How a reply of the core becomes the body of the answer.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// As the method promises.
    Method,
    /// One property.
    Property(String),
    /// All properties of the interface.
    Properties,
    /// GetManagedObjects.
    ManagedObjects,
    /// Introspection of a session that exists.
    IntrospectSession,
    /// Introspection of the parent of all sessions.
    IntrospectSessions,
}

/// A call that waits for its reply.
pub(super) struct Pending {
    pub(super) call: Message,
    pub(super) shape: Shape,
}

/// The answer to a call, or nothing if nobody waits for one.
pub(super) fn answer<B: serde::Serialize + DynamicType>(call: &Message, body: &B) -> Result<Message, zbus::Error> {
    Message::method_return(&call.header())?.build(body)
}

/// The error reply to a call.
pub(super) fn refuse(call: &Message, refusal: &Refusal) -> Result<Message, zbus::Error> {
    // Messages quote what the client sent; an answer must not grow with it.
    let message: String = refusal.message.chars().take(MESSAGE_CHARS).collect();
    Message::error(&call.header(), refusal.name)?.build(&(message,))
}

/// Nobody reads an answer to this call.
pub(super) fn wants_no_reply(call: &Message) -> bool {
    call.primary_header().flags().contains(Flags::NoReplyExpected)
}

impl Pending {
    /// The message that answers this call.
    pub(super) fn answer(&self, reply: Reply) -> Result<Message, zbus::Error> {
        let call = &self.call;
        match (reply, &self.shape) {
            (Reply::Done, _) => answer(call, &()),
            (Reply::Session(id), _) => answer(call, &ObjectPath::try_from(session_path(&id))?),
            (Reply::Utterance(id), _) => answer(call, &id),
            (Reply::Submitted { ack, utterance, buffered }, _) => answer(call, &(ack, utterance, buffered)),
            (Reply::Ack(word) | Reply::Decision(word), _) => answer(call, &word),
            (Reply::Report(report), _) => answer(call, &values::report(&report)),
            (Reply::Count(count), _) => answer(call, &count),
            (Reply::Waited { outcome, report }, _) => {
                let report = report.map_or_else(Dict::new, |r| values::report(&r));
                answer(call, &(outcome, report))
            }
            (Reply::Recording(recording), _) => answer(call, &audio::stopped(recording)),
            (Reply::History(entries), _) => answer(call, &entries.iter().map(values::history).collect::<Vec<_>>()),
            (Reply::SessionProperties(_), Shape::IntrospectSession) => answer(call, &introspect::session()),
            (Reply::SessionProperties(p), Shape::Property(name)) => self.property(&values::session(&p), name),
            (Reply::SessionProperties(p), _) => answer(call, &values::session(&p)),
            (Reply::Sessions(all), Shape::IntrospectSessions) => answer(call, &introspect::sessions(all.iter().map(|(id, _)| id.as_str()))),
            (Reply::Sessions(all), _) => {
                let mut objects: HashMap<OwnedObjectPath, BTreeMap<&str, Dict>> = HashMap::new();
                for (id, properties) in &all {
                    let path = OwnedObjectPath::try_from(session_path(id))?;
                    objects.insert(path, BTreeMap::from([(session::INTERFACE, values::session(properties))]));
                }
                answer(call, &objects)
            }
            (Reply::Transition { outcome, generation }, _) => answer(call, &(outcome, generation)),
            (Reply::OwnerProperties(p, counters), Shape::Property(name)) => {
                self.property(&values::audio_owner_and_counters(&p, &counters), name)
            }
            (Reply::OwnerProperties(p, counters), _) => answer(call, &values::audio_owner_and_counters(&p, &counters)),
            (Reply::ManagerProperties(p), Shape::Property(name)) => self.property(&values::manager(&p), name),
            // The hands make its stream, and answer with that.
            (Reply::Feed { utterance, .. }, _) => answer(call, &utterance),
            (Reply::ManagerProperties(p), _) => answer(call, &values::manager(&p)),
        }
    }

    /// The message that answers AcquireAudio.
    pub(super) fn stream(&self, stream: OwnedFd, actual: &Dict) -> Result<Message, zbus::Error> {
        answer(&self.call, &(zbus::zvariant::OwnedFd::from(stream), actual))
    }

    fn property(&self, all: &Dict, name: &str) -> Result<Message, zbus::Error> {
        property(&self.call, all, name)
    }
}

/// The answer to Properties.Get.
pub(super) fn property(call: &Message, all: &Dict, name: &str) -> Result<Message, zbus::Error> {
    match all.get(name) {
        Some(value) => answer(call, value),
        None => refuse(
            call,
            &Refusal::unknown_property(format!("there is no property \"{name}\" at {ROOT} or its sessions")),
        ),
    }
}
