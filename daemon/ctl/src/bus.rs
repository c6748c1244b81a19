//! Finds the daemon and talks to it: which bus, calls, properties, sessions, and what an error means for a person.
//!
//! Calls are plain method calls without generated proxies: a proxy reads properties behind the caller's back and the contract is
//! small. Invariant: no call waits for ever unless waiting is its purpose (`Patience::Endless`), so a hook never hangs on
//! a daemon that does. Not here: printing.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use zbus::{
    MatchRule, Message,
    blocking::{Connection, MessageIterator, connection::Builder},
    export::serde::Serialize,
    names::OwnedBusName,
    zvariant::{DynamicDeserialize, DynamicType, OwnedObjectPath, OwnedValue, Value},
};

use crate::{show::Out, trouble::Trouble};

pub(crate) const NAME: &str = "org.utterd.Utterd1";
pub(crate) const ROOT: &str = "/org/utterd/Utterd1";
pub(crate) const MANAGER: &str = "org.utterd.Utterd1.Manager";
pub(crate) const SESSION: &str = "org.utterd.Utterd1.Session";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// a{sv} as sent, sorted so that tests and `--verbose` are stable.
pub(crate) type Options = BTreeMap<String, Value<'static>>;
/// a{sv} as received.
pub(crate) type Dict = BTreeMap<String, OwnedValue>;
type Objects = HashMap<OwnedObjectPath, BTreeMap<String, Dict>>;

#[derive(Debug, PartialEq)]
pub(crate) enum Choice {
    Session,
    System,
    Address(String),
    /// The session bus, and the system bus if no utterd is there.
    Search,
}

#[derive(Clone, Copy)]
pub(crate) enum Patience {
    /// Ten seconds: far more than any answer takes, far less than a shell is left hanging.
    Short,
    Endless,
}

#[derive(Clone)]
pub(crate) struct Bus {
    connection: Connection,
    /// "session bus", "system bus" or "bus at ADDRESS".
    pub(crate) label: String,
}

/// One row of GetManagedObjects.
pub(crate) struct Session {
    pub(crate) path: String,
    pub(crate) properties: Dict,
}

impl Session {
    pub(crate) fn id(&self) -> &str {
        text(&self.properties, "Id")
    }

    pub(crate) fn is_paused(&self) -> bool {
        text(&self.properties, "State") == "paused"
    }

    pub(crate) fn has_something_to_say(&self) -> bool {
        number(&self.properties, "ActiveUtterance") != 0
            || number(&self.properties, "QueueLength") != 0
            || matches!(text(&self.properties, "State"), "speaking" | "paused")
    }
}

impl Bus {
    pub(crate) fn open(choice: &Choice, patience: Patience, out: &Out) -> Result<Bus, Trouble> {
        let bus = match choice {
            Choice::Session => Bus::connect(Builder::session(), "session bus".into(), patience)?,
            Choice::System => Bus::connect(Builder::system(), "system bus".into(), patience)?,
            Choice::Address(address) => Bus::connect(Builder::address(address.as_str()), format!("bus at {address}"), patience)?,
            Choice::Search => Bus::search(patience, out)?,
        };
        out.detail(&format!("on the {}", bus.label));
        Ok(bus)
    }

    fn search(patience: Patience, out: &Out) -> Result<Bus, Trouble> {
        let session = Bus::connect(Builder::session(), "session bus".into(), patience);
        if let Ok(bus) = &session
            && bus.has_utterd()
        {
            return session;
        }
        if let Ok(bus) = Bus::connect(Builder::system(), "system bus".into(), patience)
            && bus.has_utterd()
        {
            // Worth a line only where there was a choice: a server without any session bus is no surprise to its operator.
            if session.is_ok() {
                out.notice("no utterd on the session bus, using the system bus");
            }
            return Ok(bus);
        }
        Err(Trouble {
            name: "org.freedesktop.DBus.Error.ServiceUnknown".into(),
            message: match session {
                Ok(_) => "utterd is not running, neither on the session bus nor on the system bus".into(),
                Err(_) => "utterd is not running on the system bus, and there is no session bus".into(),
            },
            next: Some("start it with: systemctl --user start utterd (or run: utterd --session)"),
        })
    }

    fn connect(builder: zbus::Result<Builder<'_>>, label: String, patience: Patience) -> Result<Bus, Trouble> {
        let build = || {
            let builder = builder?;
            match patience {
                Patience::Short => builder.method_timeout(Duration::from_secs(10)).build(),
                Patience::Endless => builder.build(),
            }
        };
        let connection = build().map_err(|why| Trouble {
            name: "org.freedesktop.DBus.Error.NoServer".into(),
            message: format!("cannot reach the {label}: {why}"),
            next: Some("choose a bus with --user, --system or --bus-address; `echo $DBUS_SESSION_BUS_ADDRESS` shows this shell's"),
        })?;
        Ok(Bus { connection, label })
    }

    /// It runs here, or the bus would start it.
    fn has_utterd(&self) -> bool {
        let ask = |method: &str| {
            self.connection.call_method(
                Some("org.freedesktop.DBus"),
                "/org/freedesktop/DBus",
                Some("org.freedesktop.DBus"),
                method,
                &(),
            )
        };
        ["ListNames", "ListActivatableNames"].iter().any(|method| {
            ask(method)
                .and_then(|reply| reply.body().deserialize::<Vec<OwnedBusName>>())
                .is_ok_and(|names| names.iter().any(|n| n.as_str() == NAME))
        })
    }

    pub(crate) fn call<B, R>(&self, path: &str, interface: &str, method: &str, body: &B) -> Result<R, Trouble>
    where
        B: Serialize + DynamicType,
        R: for<'d> DynamicDeserialize<'d>,
    {
        let reply = self.connection.call_method(Some(NAME), path, Some(interface), method, body)?;
        reply.body().deserialize().map_err(|why| Trouble {
            name: String::new(),
            message: format!("{method} was answered in a form that utterctl does not know: {why}"),
            next: Some("compare the versions: utterctl --version, utterctl status"),
        })
    }

    pub(crate) fn properties(&self, path: &str, interface: &str) -> Result<Dict, Trouble> {
        self.call(path, PROPERTIES, "GetAll", &(interface,))
    }

    pub(crate) fn set(&self, path: &str, interface: &str, property: &str, value: Value<'_>) -> Result<(), Trouble> {
        self.call(path, PROPERTIES, "Set", &(interface, property, value))
    }

    /// Every open session, "default" among them if it is open, sorted by id.
    pub(crate) fn sessions(&self) -> Result<Vec<Session>, Trouble> {
        let objects: Objects = self.call(ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", &())?;
        let mut sessions: Vec<Session> = objects
            .into_iter()
            .filter_map(|(path, mut interfaces)| {
                Some(Session {
                    path: path.to_string(),
                    properties: interfaces.remove(SESSION)?,
                })
            })
            .collect();
        sessions.sort_by(|a, b| a.id().cmp(b.id()));
        Ok(sessions)
    }

    /// Ids are the daemon's, not the session's, so a person need not know where one is spoken.
    pub(crate) fn in_whichever_session<R>(&self, utterance: u64, ask: impl Fn(&str) -> Result<R, Trouble>) -> Result<R, Trouble> {
        for session in self.sessions()? {
            match ask(session.id()) {
                Err(trouble)
                    if ["NoSuchUtterance", "NoSuchSession", "SessionClosed", "NotPermitted"]
                        .iter()
                        .any(|word| trouble.is(word)) => {}
                answered => return answered,
            }
        }
        Err(Trouble {
            name: format!("{}.Error.NoSuchUtterance", NAME),
            message: format!("no open session knows utterance {utterance}"),
            next: Some("it may have finished and its session closed; utterctl sessions lists the open ones"),
        })
    }

    /// Signals below `path`, from now on: subscribe before the call that causes them. The reader must be drained by a thread
    /// of its own, because a full queue stops the whole connection, replies included.
    pub(crate) fn signals(&self, path: &str) -> Result<MessageIterator, Trouble> {
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender(NAME)?
            .path_namespace(path.to_owned())?
            .build();
        Ok(MessageIterator::for_match_rule(rule, &self.connection, Some(4096))?)
    }

    /// Comings and goings of the daemon itself.
    pub(crate) fn owner_changes(&self) -> Result<MessageIterator, Trouble> {
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender("org.freedesktop.DBus")?
            .member("NameOwnerChanged")?
            .arg(0, NAME)?
            .build();
        Ok(MessageIterator::for_match_rule(rule, &self.connection, None)?)
    }
}

/// Forwards what arrives to `send` until nobody listens any more.
pub(crate) fn forward(messages: MessageIterator, mut send: impl FnMut(Message) -> bool + Send + 'static) {
    std::thread::spawn(move || {
        messages
            .map_while(Result::ok)
            .take_while(|message| send(message.clone()))
            .for_each(drop)
    });
}

/// The object of a session, escaped as sd_bus_path_encode does.
pub(crate) fn session_path(id: &str) -> String {
    let mut path = format!("{ROOT}/session/");
    if id.is_empty() {
        path.push('_');
    }
    for (at, byte) in id.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && at > 0) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

/// The id that `session_path` escaped; None for another object.
pub(crate) fn session_id(path: &str) -> Option<String> {
    let escaped = path.strip_prefix(ROOT)?.strip_prefix("/session/")?;
    let mut id = Vec::new();
    let mut rest = escaped.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'_' {
            id.push(byte);
        } else if let (Some(high), Some(low)) = (rest.next(), rest.next()) {
            id.push(u8::from_str_radix(std::str::from_utf8(&[high, low]).ok()?, 16).ok()?);
        }
    }
    String::from_utf8(id).ok()
}

/// A word of a report or of properties; absent or of another type = "".
pub(crate) fn text<'d>(dict: &'d Dict, key: &str) -> &'d str {
    dict.get(key)
        .and_then(|value| value.downcast_ref::<&str>().ok())
        .unwrap_or_default()
}

/// A count, time or id of any integer type; absent = 0.
pub(crate) fn number(dict: &Dict, key: &str) -> u64 {
    match dict.get(key).map(|value| &**value) {
        Some(Value::U64(n)) => *n,
        Some(Value::U32(n)) => u64::from(*n),
        Some(Value::U16(n)) => u64::from(*n),
        Some(Value::I64(n)) => u64::try_from(*n).unwrap_or(0),
        Some(Value::I32(n)) => u64::try_from(*n).unwrap_or(0),
        _ => 0,
    }
}

pub(crate) fn flag(dict: &Dict, key: &str) -> bool {
    dict.get(key).is_some_and(|value| matches!(**value, Value::Bool(true)))
}

pub(crate) fn float(dict: &Dict, key: &str) -> f64 {
    dict.get(key).and_then(|value| value.downcast_ref::<f64>().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_paths_are_escaped_as_systemd_does() {
        for (id, end) in [
            ("default", "default"),
            ("7up", "_37up"),
            ("a-b.c:d_e", "a_2db_2ec_3ad_5fe"),
            ("x9", "x9"),
            ("", "_"),
        ] {
            assert_eq!(session_path(id), format!("/org/utterd/Utterd1/session/{end}"));
            assert_eq!(session_id(&session_path(id)).unwrap(), id);
        }
    }

    #[test]
    fn report_fields_are_read_whatever_integer_they_are() {
        let own = |value: Value<'_>| value.try_to_owned().unwrap();
        let dict = Dict::from([
            ("a".into(), own(Value::from(7_u32))),
            ("b".into(), own(Value::from(-7_i32))),
            ("c".into(), own(Value::from("x"))),
        ]);
        assert_eq!((number(&dict, "a"), number(&dict, "b"), number(&dict, "none")), (7, 0, 0));
        assert_eq!((text(&dict, "c"), text(&dict, "a")), ("x", ""));
    }
}
