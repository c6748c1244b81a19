//! The dispatcher: reads calls in the order in which they arrive and hands each to whoever answers it. `[worker]`
//!
//! Why not zbus's object server: it runs every call as a task of its own and sends replies when it pleases, but the contract fixes the
//! order of replies and signals (a Say's reply before its signals, a Cancel's after them). One reader, one actor, one outbox keep it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crossbeam::channel::Sender;
use utterd_core::{Caller, Input, Request, Target, Token};
use zbus::blocking::{Connection, MessageIterator};
use zbus::message::{Message, Type};
use zbus::zvariant::OwnedValue;

use super::call::{Action, Pending, Query, Shape, answer, property, refuse, wants_no_reply};
use super::error::Refusal;
use super::outbox::{Calls, Out};
use super::path::Node;
use super::{Services, introspect, root, session};
use crate::clock::now_us;

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

pub(super) struct Dispatcher {
    /// A connection of its own for questions to the bus: asking on the main one, while its queue is full of calls, would wait for ever.
    pub(super) lookups: Connection,
    pub(super) calls: Arc<Calls>,
    pub(super) inbox: Sender<Input>,
    pub(super) outbox: Sender<Out>,
    pub(super) queries: Sender<(Query, Message)>,
    pub(super) services: Arc<dyn Services>,
    pub(super) callers: HashMap<String, Caller>,
    pub(super) next_token: u64,
}

impl Dispatcher {
    /// Runs until the connection ends.
    pub(super) fn run(mut self, messages: MessageIterator) {
        for message in messages {
            match message {
                Ok(message) => match message.message_type() {
                    Type::MethodCall => self.call(message),
                    Type::Signal => self.bus_signal(&message),
                    Type::MethodReturn | Type::Error => {}
                },
                Err(error) => {
                    tracing::error!(%error, "the bus connection failed");
                    return;
                }
            }
        }
    }

    fn call(&mut self, call: Message) {
        let arrived = now_us();
        match self.action(&call) {
            Ok(Action::Ask(request, shape)) => self.ask(call, arrived, request, shape),
            Ok(Action::Answer(message)) => self.send(&call, Ok(message)),
            Ok(Action::Query(Query::Reload)) if !self.manages(&call) => {
                let refusal = Refusal::not_permitted("the configuration is read again for root and for utterd's own user");
                self.send(&call, refuse(&call, &refusal));
            }
            Ok(Action::Query(query)) => {
                if let Err(full) = self.queries.try_send((query, call)) {
                    let (_, call) = full.into_inner();
                    self.send(
                        &call,
                        refuse(&call, &Refusal::failed("too many such questions are under way: ask again later")),
                    );
                }
            }
            Err(refusal) => {
                tracing::debug!(error = refusal.name, message = refusal.message, "refused");
                self.send(&call, refuse(&call, &refusal));
            }
        }
    }

    fn ask(&mut self, call: Message, arrived: u64, request: Request, shape: Shape) {
        let Some(sender) = call.header().sender().map(|s| s.as_str().to_owned()) else {
            return;
        };
        let caller = self.caller(&sender);
        let token = Token(self.next_token);
        self.next_token += 1;
        if !wants_no_reply(&call) {
            self.calls.insert(token, Pending { call, shape });
        }
        // A full inbox holds the dispatcher back, and through the socket the clients: nothing is lost.
        if self
            .inbox
            .send(Input::Client {
                token,
                caller,
                arrived,
                request,
            })
            .is_err()
        {
            tracing::debug!("the daemon is stopping");
        }
    }

    fn manages(&mut self, call: &Message) -> bool {
        let Some(sender) = call.header().sender().map(|s| s.as_str().to_owned()) else {
            return false;
        };
        let uid = self.caller(&sender).uid;
        uid == 0 || uid == rustix::process::getuid().as_raw()
    }

    /// Who calls; the bus is asked once for each connection.
    fn caller(&mut self, sender: &str) -> Caller {
        if let Some(caller) = self.callers.get(sender) {
            return caller.clone();
        }
        let reply = self.lookups.call_method(
            Some("org.freedesktop.DBus"),
            "/org/freedesktop/DBus",
            Some("org.freedesktop.DBus"),
            "GetConnectionUnixUser",
            &(sender,),
        );
        // A connection that is gone already controls nothing: uid_t's "nobody at all".
        let uid = reply.and_then(|r| r.body().deserialize()).unwrap_or(u32::MAX);
        let caller = Caller {
            uid,
            connection: sender.into(),
        };
        self.callers.insert(sender.to_owned(), caller.clone());
        caller
    }

    fn bus_signal(&mut self, signal: &Message) {
        let header = signal.header();
        if header.member().map(|m| m.as_str()) != Some("NameOwnerChanged")
            || header.sender().map(|s| s.as_str()) != Some("org.freedesktop.DBus")
        {
            return;
        }
        let body = signal.body();
        let Ok((name, _old, new)) = body.deserialize::<(&str, &str, &str)>() else {
            return;
        };
        if new.is_empty()
            && let Some(caller) = self.callers.remove(name)
            && self
                .inbox
                .send(Input::ConnectionLost {
                    connection: caller.connection,
                })
                .is_err()
        {
            tracing::debug!("the daemon is stopping");
        }
    }

    fn send(&self, call: &Message, message: Result<Message, zbus::Error>) {
        match message {
            Ok(_) if wants_no_reply(call) => {}
            Ok(message) => {
                if self.outbox.send(Out::Ready(message)).is_err() {
                    tracing::debug!("the daemon is stopping");
                }
            }
            Err(error) => tracing::error!(%error, "an answer could not be built"),
        }
    }

    fn action(&self, call: &Message) -> Result<Action, Refusal> {
        let header = call.header();
        let path = header.path().map(|p| p.as_str()).unwrap_or_default();
        let interface = header.interface().map(|i| i.as_str());
        let member = header.member().map(|m| m.as_str()).unwrap_or_default();
        let node = Node::of(path);
        match (interface, member) {
            (Some("org.freedesktop.DBus.Peer") | None, "Ping") => {
                return Ok(Action::Answer(answer(call, &())?));
            }
            (Some("org.freedesktop.DBus.Peer") | None, "GetMachineId") => return machine_id(call),
            _ if node == Node::Unknown => {
                return Err(Refusal::unknown_object(format!(
                    "there is no object {path}: begin at {}",
                    super::path::ROOT
                )));
            }
            (Some("org.freedesktop.DBus.Introspectable") | None, "Introspect") => {
                return introspected(call, node);
            }
            (Some(PROPERTIES), _) | (None, "Get" | "GetAll" | "Set") => {
                return self.properties(call, member, node);
            }
            (Some("org.freedesktop.DBus.ObjectManager") | None, "GetManagedObjects") if node == Node::Root => {
                call.body().deserialize::<()>()?;
                return Ok(Action::Ask(Request::Sessions, Shape::ManagedObjects));
            }
            _ => {}
        }
        match node {
            Node::Root => root::method(call, interface, member, &*self.services),
            Node::Session(id) => match interface {
                Some(session::INTERFACE) | None => session::method(call, member, Target::Object(id), &*self.services),
                Some(other) => Err(Refusal::unknown_interface(format!("a session has no interface {other}"))),
            },
            _ => Err(Refusal::unknown_interface(format!("{path} only answers to introspection"))),
        }
    }

    fn properties(&self, call: &Message, member: &str, node: Node) -> Result<Action, Refusal> {
        let body = call.body();
        let (interface, shape, value): (String, Shape, Option<OwnedValue>) = match member {
            "Get" => {
                let (interface, name): (String, String) = body.deserialize()?;
                (interface, Shape::Property(name), None)
            }
            "GetAll" => (body.deserialize()?, Shape::Properties, None),
            "Set" => {
                let (interface, name, value): (String, String, OwnedValue) = body.deserialize()?;
                (interface, Shape::Property(name), Some(value))
            }
            _ => {
                return Err(Refusal::unknown_method(format!("{PROPERTIES} has no method {member}")));
            }
        };
        let known = match &node {
            Node::Root => root::has_interface(&interface),
            Node::Session(_) => interface == session::INTERFACE,
            _ => false,
        };
        let standard = interface.starts_with("org.freedesktop.DBus.");
        if !known && !standard {
            return Err(Refusal::unknown_interface(format!("this object has no interface {interface}")));
        }
        if let (Some(value), Shape::Property(name)) = (&value, &shape) {
            return match node {
                Node::Session(id) => session::set(name, value, Target::Object(id)),
                _ => root::set(&interface, name, value),
            };
        }
        let request = match node {
            Node::Session(id) if known => Request::SessionProperties {
                target: Target::Object(id),
            },
            Node::Root if interface == root::MANAGER => Request::ManagerProperties,
            Node::Root if interface == root::AUDIO_OWNER => Request::OwnerProperties,
            _ => {
                let all = BTreeMap::new();
                return Ok(Action::Answer(match shape {
                    Shape::Property(name) => property(call, &all, &name)?,
                    _ => answer(call, &all)?,
                }));
            }
        };
        Ok(Action::Ask(request, shape))
    }
}

fn introspected(call: &Message, node: Node) -> Result<Action, Refusal> {
    call.body().deserialize::<()>()?;
    let xml = match node {
        Node::Root => introspect::root(),
        Node::Ancestor(child) => introspect::ancestor(child),
        Node::Sessions => return Ok(Action::Ask(Request::Sessions, Shape::IntrospectSessions)),
        Node::Session(id) => {
            return Ok(Action::Ask(
                Request::SessionProperties {
                    target: Target::Object(id),
                },
                Shape::IntrospectSession,
            ));
        }
        Node::Unknown => return Err(Refusal::unknown_object("there is no such object")),
    };
    Ok(Action::Answer(answer(call, &xml)?))
}

fn machine_id(call: &Message) -> Result<Action, Refusal> {
    let read = |path| {
        std::fs::read_to_string(path)
            .ok()
            .map(|id| id.trim().to_owned())
            .filter(|id| !id.is_empty())
    };
    match read("/etc/machine-id").or_else(|| read("/var/lib/dbus/machine-id")) {
        Some(id) => Ok(Action::Answer(answer(call, &id)?)),
        None => Err(Refusal::failed("this machine has no /etc/machine-id")),
    }
}
