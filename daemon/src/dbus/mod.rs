//! D-Bus: the connection, a dispatcher that turns calls into inputs, an outbox that sends what was decided, in that order.
//!
//! Decides nothing. Knows neither plugins nor drivers: what it needs of them it asks through [`Services`].

mod audio;
mod call;
mod dispatch;
mod error;
mod introspect;
mod options;
mod outbox;
mod params;
mod path;
mod play;
mod root;
mod session;
mod values;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};
use utterd_core::{Failure, Input};
use zbus::blocking::{Connection, MessageIterator, connection};
use zbus::message::Message;
use zbus::zvariant::Value;

use call::{Query, answer, refuse};
use dispatch::Dispatcher;
use error::Refusal;
pub use outbox::Out;
use outbox::{Calls, Outbox};

/// The name on the bus.
pub const NAME: &str = "org.utterd.Utterd1";

/// RequestName's flag and the answer that is wanted (D-Bus specification, "org.freedesktop.DBus.RequestName").
const DO_NOT_QUEUE: u32 = 4;
const PRIMARY_OWNER: u32 = 1;

/// Slow questions that may wait; more are refused.
const QUERIES: usize = 64;

/// Which bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusKind {
    System,
    Session,
    Address(String),
}

impl std::fmt::Display for BusKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System => f.write_str("the system bus"),
            Self::Session => f.write_str("the session bus"),
            Self::Address(address) => write!(f, "the bus at {address}"),
        }
    }
}

/// Why there is no bus.
#[derive(Debug)]
pub enum BusError {
    /// No bus answers.
    Connect { bus: BusKind, cause: Box<zbus::Error> },
    /// Somebody else has the name.
    NameTaken { bus: BusKind },
    /// The bus refuses the name.
    Name { bus: BusKind, cause: Box<zbus::Error> },
}

impl std::fmt::Display for BusError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect { bus, cause } => write!(
                f,
                "{bus} cannot be reached: {cause}. Is it running? Choose with --session, --system or --bus-address."
            ),
            Self::NameTaken { bus } => write!(f, "{NAME} is taken on {bus}: another utterd is running there. Stop it first."),
            Self::Name { bus, cause } => write!(f, "{bus} refuses the name {NAME}: {cause}. Is the bus policy installed?"),
        }
    }
}

impl std::error::Error for BusError {}

/// A voice for ListVoices.
#[derive(Clone, Debug)]
pub struct VoiceInfo {
    pub id: String,
    pub backend: String,
    pub name: String,
    pub languages: Vec<String>,
    pub sample_rate: u32,
    pub word_timing: bool,
}

/// A port for ListPorts.
#[derive(Clone, Debug)]
pub struct PortInfo {
    pub name: String,
    pub direction: &'static str,
    pub channels: u32,
    pub default: bool,
}

/// A row of Plugins.List.
#[derive(Clone, Debug)]
pub struct PluginInfo {
    pub id: String,
    pub kind: String,
    pub version: String,
    pub state: &'static str,
    pub path: String,
    pub details: BTreeMap<&'static str, Value<'static>>,
}

/// A sound file that can be played.
#[derive(Clone, Debug)]
pub struct FoundSound {
    pub path: PathBuf,
    pub duration_us: Option<u64>,
}

/// What the bus asks of the rest of the house beside the core. `[worker]`
pub trait Services: Send + Sync {
    fn voices(&self) -> Vec<VoiceInfo>;
    /// May take its time: the audio server is asked.
    fn ports(&self) -> Vec<PortInfo>;
    fn plugins(&self) -> Vec<PluginInfo>;
    /// `None`: no such scope.
    fn metrics(&self, scope: &str) -> Option<BTreeMap<String, f64>>;
    /// `None`: no such format.
    fn export_metrics(&self, format: &str) -> Option<String>;
    /// Opens and looks at what Play names.
    fn find_sound(&self, uri: &str) -> Result<FoundSound, Failure>;
    /// Reads the configuration again; the error names file, line and key.
    fn reload(&self) -> Result<(), String>;
}

/// A connection that owns [`NAME`], not yet serving.
pub struct Bus {
    connection: Connection,
    lookups: Connection,
    messages: MessageIterator,
}

impl Bus {
    /// Connects and takes the name.
    pub fn connect(kind: &BusKind) -> Result<Self, BusError> {
        let failed = |cause| BusError::Connect {
            bus: kind.clone(),
            cause: Box::new(cause),
        };
        let connection = builder(kind).and_then(connection::Builder::build).map_err(failed)?;
        let lookups = builder(kind).and_then(connection::Builder::build).map_err(failed)?;
        let rule = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg2=''";
        let bus = Some("org.freedesktop.DBus");
        connection
            .call_method(bus, "/org/freedesktop/DBus", bus, "AddMatch", &(rule,))
            .map_err(failed)?;
        // Calls may arrive as soon as the name is ours, so the queue stands first.
        let messages = MessageIterator::from(&connection);
        let reply = connection.call_method(bus, "/org/freedesktop/DBus", bus, "RequestName", &(NAME, DO_NOT_QUEUE));
        match reply.and_then(|r| r.body().deserialize::<u32>()) {
            Ok(PRIMARY_OWNER) => {}
            Ok(_) => return Err(BusError::NameTaken { bus: kind.clone() }),
            Err(cause) => {
                return Err(BusError::Name {
                    bus: kind.clone(),
                    cause: Box::new(cause),
                });
            }
        }
        Ok(Self {
            connection,
            lookups,
            messages,
        })
    }

    /// Serves: `inbox` receives what clients ask, `queue` is sent in order. `lost` runs when the bus is gone.
    pub fn serve(
        self,
        inbox: Sender<Input>,
        outbox: Sender<Out>,
        queue: Receiver<Out>,
        services: Arc<dyn Services>,
        lost: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let calls = Arc::new(Calls::default());
        let sender = Outbox {
            connection: self.connection,
            calls: Arc::clone(&calls),
            sessions: HashMap::new(),
            manager: BTreeMap::new(),
            owner: BTreeMap::new(),
        };
        thread::Builder::new().name("bus-out".into()).spawn(move || sender.run(&queue))?;
        let (queries, asked) = bounded(QUERIES);
        let answers = outbox.clone();
        let slow = Arc::clone(&services);
        thread::Builder::new()
            .name("bus-queries".into())
            .spawn(move || answer_queries(&asked, &answers, &*slow))?;
        let dispatcher = Dispatcher {
            lookups: self.lookups,
            calls,
            inbox,
            outbox,
            queries,
            services,
            callers: HashMap::new(),
            next_token: 1,
        };
        thread::Builder::new().name("bus-in".into()).spawn(move || {
            dispatcher.run(self.messages);
            lost();
        })?;
        Ok(())
    }
}

fn builder(kind: &BusKind) -> zbus::Result<connection::Builder<'static>> {
    match kind {
        BusKind::System => connection::Builder::system(),
        BusKind::Session => connection::Builder::session(),
        BusKind::Address(address) => connection::Builder::address(address.as_str()),
    }
}

fn answer_queries(asked: &Receiver<(Query, Message)>, outbox: &Sender<Out>, services: &dyn Services) {
    for (query, call) in asked {
        let message = match query {
            Query::Ports => answer(&call, &services.ports().into_iter().map(port).collect::<Vec<_>>()),
            Query::Reload => match services.reload() {
                Ok(()) => answer(&call, &()),
                Err(message) => refuse(&call, &Refusal::failed(message)),
            },
        };
        match message {
            Ok(_) if call::wants_no_reply(&call) => {}
            Ok(message) => {
                if outbox.send(Out::Ready(message)).is_err() {
                    return;
                }
            }
            Err(error) => tracing::error!(%error, "an answer could not be built"),
        }
    }
}

fn port(p: PortInfo) -> values::Dict {
    values::Dict::from([
        ("name", Value::from(p.name)),
        ("direction", Value::from(p.direction)),
        ("channels", Value::from(p.channels)),
        ("default", Value::from(p.default)),
    ])
}
