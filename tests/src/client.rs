//! A thin, typed D-Bus client of the promised interface, and a stream of every signal with its time and its place among the replies.
//!
//! A connection's messages have one order; `Reply::position` and `Event::position` compare within it, so "the reply precedes every
//! signal that names its id" can be tested as it is written. Signals are kept from the moment of connecting: none can be missed by
//! waiting too late.
//!
//! Not here: retries, caching of properties, conversion of times. What the daemon said is what a scenario sees.

mod dict;
mod session;

pub use dict::Dict;
use dict::owned;
pub use session::Session;

use crate::clock::{PATIENCE, now_us, until};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use zbus::blocking::{Connection, MessageIterator, connection};
use zbus::export::serde::Serialize;
use zbus::message::Sequence;
use zbus::zvariant::{DynamicType, Structure, Type, Value};

pub const NAME: &str = "org.utterd.Utterd1";
pub const ROOT: &str = "/org/utterd/Utterd1";
pub const MANAGER: &str = "org.utterd.Utterd1.Manager";
pub const SESSION: &str = "org.utterd.Utterd1.Session";
pub const OWNER: &str = "org.utterd.Utterd1.AudioOwner";
pub const PLUGINS: &str = "org.utterd.Utterd1.Plugins";
pub const METRICS: &str = "org.utterd.Utterd1.Metrics";
/// The four transitions of the audio owner, which all take a session and a turn.
pub const TRANSITIONS: [&str; 4] = ["EnterListening", "LeaveListening", "MicClosedRecovery", "PlaybackReassert"];
pub const CALLS: &str = "org.utterd.Utterd1.Calls";

/// Options as they go over the bus.
pub type Options = HashMap<String, Value<'static>>;

/// `opts! { "turn" => 3u64, "voice" => "tone" }`
#[macro_export]
macro_rules! opts {
    ($($key:expr => $value:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut options = $crate::client::Options::new();
        $( options.insert($key.to_string(), ::zbus::zvariant::Value::new($value)); )*
        options
    }};
}

/// A refusal: the error's name and what it says.
#[derive(Clone, Debug)]
pub struct CallError {
    pub name: String,
    pub message: String,
}

impl CallError {
    /// The last word of the name: `InvalidArgs`, `NoSuchSession`.
    pub fn word(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl From<zbus::Error> for CallError {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, message, _) => CallError {
                name: name.to_string(),
                message: message.unwrap_or_default(),
            },
            other => CallError {
                name: "client".into(),
                message: other.to_string(),
            },
        }
    }
}

pub type Result<T> = std::result::Result<T, CallError>;

/// An answer and its place among the messages of this connection.
#[derive(Clone, Copy, Debug)]
pub struct Reply<T> {
    pub value: T,
    pub position: Sequence,
}

/// A signal as it came.
#[derive(Clone, Debug)]
pub struct Event {
    pub position: Sequence,
    pub at_us: u64,
    pub path: String,
    pub interface: String,
    pub member: String,
    pub args: Vec<Value<'static>>,
}

impl Event {
    /// Argument n as a number.
    pub fn number(&self, n: usize) -> u64 {
        number(&self.args[n]).unwrap_or_else(|| panic!("argument {n} of {self} is no number"))
    }

    /// Argument n as a string.
    pub fn text(&self, n: usize) -> &str {
        match &self.args[n] {
            Value::Str(s) => s.as_str(),
            Value::ObjectPath(p) => p.as_str(),
            other => panic!("argument {n} of {} is no string but {other:?}", self.member),
        }
    }

    /// Argument n as a dictionary.
    pub fn dict(&self, n: usize) -> Dict {
        Dict::from(&self.args[n])
    }

    /// A signal of an utterance: this member, this id.
    pub fn is(&self, member: &str, utterance: u64) -> bool {
        self.member == member && self.interface == SESSION && self.args.first().and_then(number) == Some(utterance)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}{:?}",
            self.at_us,
            self.path.rsplit('/').next().unwrap_or_default(),
            self.member,
            self.args
        )
    }
}

fn number(value: &Value<'_>) -> Option<u64> {
    match value {
        Value::U8(n) => Some(u64::from(*n)),
        Value::U16(n) => Some(u64::from(*n)),
        Value::U32(n) => Some(u64::from(*n)),
        Value::U64(n) => Some(*n),
        Value::I32(n) => u64::try_from(*n).ok(),
        Value::I64(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

#[derive(Debug, Default)]
struct Inbox {
    events: Mutex<Vec<Event>>,
    more: Condvar,
}

/// One connection to the daemon's bus.
#[derive(Clone, Debug)]
pub struct Client {
    connection: Connection,
    inbox: Arc<Inbox>,
}

impl Client {
    pub fn connect(address: &str) -> Client {
        let connection = connection::Builder::address(address)
            .unwrap()
            .method_timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        let inbox = Arc::new(Inbox::default());
        let rule = format!("type='signal',path_namespace='{ROOT}'");
        let signals = MessageIterator::for_match_rule(rule.as_str(), &connection, Some(100_000)).unwrap();
        let writer = Arc::downgrade(&inbox);
        std::thread::spawn(move || {
            for message in signals.map_while(std::result::Result::ok) {
                let at_us = now_us();
                let Some(inbox) = writer.upgrade() else {
                    return;
                };
                inbox.events.lock().unwrap().push(event(&message, at_us));
                inbox.more.notify_all();
            }
        });
        Client { connection, inbox }
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Ends the connection, as a client does that goes away.
    pub fn disconnect(self) {
        if let Err(e) = self.connection.close() {
            eprintln!("closing the client's connection: {e}");
        }
    }

    /// Any method; the reply's arguments as they came.
    pub fn call<B>(&self, path: &str, interface: &str, member: &str, body: &B) -> Result<Reply<Vec<Value<'static>>>>
    where
        B: Body,
    {
        let message = self.connection.call_method(Some(NAME), path, Some(interface), member, body)?;
        Ok(Reply {
            value: arguments(&message),
            position: message.recv_position(),
        })
    }

    pub fn property(&self, path: &str, interface: &str, name: &str) -> Result<Value<'static>> {
        let reply = self.call(path, "org.freedesktop.DBus.Properties", "Get", &(interface, name))?;
        let mut value = reply.value.into_iter().next().expect("Get answers a value");
        while let Value::Value(inner) = value {
            value = *inner;
        }
        Ok(value)
    }

    pub fn set_property(&self, path: &str, interface: &str, name: &str, value: impl Into<Value<'static>>) -> Result<()> {
        self.call(path, "org.freedesktop.DBus.Properties", "Set", &(interface, name, value.into()))
            .map(drop)
    }

    /// A property of the manager.
    pub fn manager(&self, name: &str) -> Value<'static> {
        self.property(ROOT, MANAGER, name).unwrap_or_else(|e| panic!("Manager.{name}: {e}"))
    }

    pub fn manager_text(&self, name: &str) -> String {
        match self.manager(name) {
            Value::Str(s) => s.to_string(),
            other => panic!("Manager.{name} is {other:?}"),
        }
    }

    pub fn introspect(&self, path: &str) -> String {
        let reply = self.call(path, "org.freedesktop.DBus.Introspectable", "Introspect", &()).unwrap();
        match reply.value.into_iter().next() {
            Some(Value::Str(xml)) => xml.to_string(),
            other => panic!("Introspect answered {other:?}"),
        }
    }

    pub fn open(&self, id: &str, options: Options) -> Result<Session> {
        let reply = self.call(ROOT, MANAGER, "OpenSession", &(id, options))?;
        let Some(Value::ObjectPath(path)) = reply.value.first() else {
            panic!("OpenSession answered {:?}", reply.value)
        };
        Ok(Session {
            client: self.clone(),
            id: id.to_owned(),
            path: path.to_string(),
        })
    }

    pub fn close_session(&self, id: &str, options: Options) -> Result<Reply<()>> {
        let reply = self.call(ROOT, MANAGER, "CloseSession", &(id, options))?;
        Ok(Reply {
            value: (),
            position: reply.position,
        })
    }

    pub fn cancel_all(&self, options: Options) -> Result<u64> {
        let reply = self.call(ROOT, MANAGER, "CancelAll", &options_only(options))?;
        Ok(number(&reply.value[0]).expect("a count"))
    }

    /// The one-liners on the manager.
    pub fn say(&self, session: &str, text: &str, options: Options) -> Result<u64> {
        let reply = self.call(ROOT, MANAGER, "Say", &(session, text, options))?;
        Ok(number(&reply.value[0]).expect("an id"))
    }

    pub fn cancel(&self, session: &str, options: Options) -> Result<Dict> {
        Ok(Dict::from(&self.call(ROOT, MANAGER, "Cancel", &(session, options))?.value[0]))
    }

    pub fn wait(&self, session: &str, utterance: u64, options: Options) -> Result<(String, Dict)> {
        outcome(self.call(ROOT, MANAGER, "Wait", &(session, utterance, options))?.value)
    }

    pub fn voices(&self, filter: Options) -> Result<Vec<Dict>> {
        Ok(dicts(&self.call(ROOT, MANAGER, "ListVoices", &options_only(filter))?.value[0]))
    }

    pub fn ports(&self) -> Result<Vec<Dict>> {
        Ok(dicts(&self.call(ROOT, MANAGER, "ListPorts", &())?.value[0]))
    }

    pub fn reload(&self) -> Result<()> {
        self.call(ROOT, MANAGER, "Reload", &()).map(drop)
    }

    /// Metrics by name.
    pub fn metrics(&self, scope: &str) -> Result<HashMap<String, f64>> {
        let dict = Dict::from(&self.call(ROOT, METRICS, "Snapshot", &(scope,))?.value[0]);
        Ok(dict.0.keys().map(|key| (key.clone(), dict.double(key))).collect())
    }

    /// Every signal since the client connected.
    pub fn events(&self) -> Vec<Event> {
        self.inbox.events.lock().unwrap().clone()
    }

    /// The first signal that fits, past ones included, as soon as it is here within the deadline.
    pub fn find_event(&self, deadline: Duration, fits: impl Fn(&Event) -> bool) -> Option<Event> {
        let end = Instant::now() + deadline;
        let mut seen = 0;
        let mut events = self.inbox.events.lock().unwrap();
        loop {
            if let Some(event) = events[seen..].iter().find(|e| fits(e)) {
                return Some(event.clone());
            }
            seen = events.len();
            let left = end.checked_duration_since(Instant::now())?;
            events = self.inbox.more.wait_timeout(events, left).unwrap().0;
        }
    }

    /// `find_event` that panics with all that came instead.
    #[track_caller]
    pub fn expect_event(&self, what: &str, fits: impl Fn(&Event) -> bool) -> Event {
        self.find_event(PATIENCE, fits).unwrap_or_else(|| {
            let came: Vec<String> = self.events().iter().map(Event::to_string).collect();
            panic!("waited {PATIENCE:?} in vain for {what}; these came:\n{}", came.join("\n"))
        })
    }

    #[track_caller]
    pub fn expect_started(&self, utterance: u64) -> Event {
        self.expect_event(&format!("UtteranceStarted({utterance})"), |e| e.is("UtteranceStarted", utterance))
    }

    #[track_caller]
    pub fn expect_finished(&self, utterance: u64) -> Event {
        self.expect_event(&format!("UtteranceFinished({utterance})"), |e| e.is("UtteranceFinished", utterance))
    }

    /// Waits until a property of the manager has this value.
    #[track_caller]
    pub fn wait_manager_text(&self, name: &str, value: &str) {
        let arrived = until(PATIENCE, || (self.manager_text(name) == value).then_some(()));
        assert!(arrived.is_some(), "Manager.{name} is {:?}, not {value:?}", self.manager_text(name));
    }
}

/// What may be a method's arguments.
pub trait Body: Serialize + DynamicType {}
impl<T: Serialize + DynamicType> Body for T {}

/// A lone dictionary as the arguments of a call.
pub fn options_only(options: Options) -> (Options,) {
    (options,)
}

fn outcome(reply: Vec<Value<'static>>) -> Result<(String, Dict)> {
    let [Value::Str(outcome), report] = reply.as_slice() else {
        panic!("Wait answered {reply:?}")
    };
    Ok((outcome.to_string(), Dict::from(report)))
}

fn dicts(value: &Value<'_>) -> Vec<Dict> {
    let Value::Array(array) = value else {
        panic!("no array: {value:?}")
    };
    array.iter().map(Dict::from).collect()
}

fn event(message: &zbus::Message, at_us: u64) -> Event {
    let header = message.header();
    Event {
        position: message.recv_position(),
        at_us,
        path: header.path().map(|p| p.to_string()).unwrap_or_default(),
        interface: header.interface().map(|i| i.to_string()).unwrap_or_default(),
        member: header.member().map(|m| m.to_string()).unwrap_or_default(),
        args: arguments(message),
    }
}

/// The body's arguments.
fn arguments(message: &zbus::Message) -> Vec<Value<'static>> {
    let body = message.body();
    if body.signature() == <()>::SIGNATURE {
        return Vec::new();
    }
    let structure: Structure<'_> = body
        .deserialize()
        .unwrap_or_else(|e| panic!("a body that does not parse ({}): {e}", body.signature()));
    debug_assert!(!structure.signature().to_string().is_empty());
    structure.fields().iter().map(owned).collect()
}
