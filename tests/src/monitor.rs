//! Watches a private bus as `dbus-monitor` does, to know when a call passed it: the moment from which the daemon's own speed is
//! measured when somebody else (utterctl, busctl) makes the call.

use crate::client::NAME;
use crate::clock::{PATIENCE, now_us, until};
use std::sync::{Arc, Mutex};
use zbus::blocking::{MessageIterator, connection};
use zbus::message::Type;

#[derive(Clone, Debug)]
pub struct Passed {
    pub at_us: u64,
    pub member: String,
    pub path: String,
}

pub struct Monitor {
    calls: Arc<Mutex<Vec<Passed>>>,
}

impl Monitor {
    pub fn start(address: &str) -> Monitor {
        let connection = connection::Builder::address(address).unwrap().build().unwrap();
        let messages = MessageIterator::from(&connection);
        let rules = vec![format!("type='method_call',destination='{NAME}'")];
        connection
            .call_method(
                Some("org.freedesktop.DBus"),
                "/org/freedesktop/DBus",
                Some("org.freedesktop.DBus.Monitoring"),
                "BecomeMonitor",
                &(rules, 0u32),
            )
            .unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let log = calls.clone();
        std::thread::spawn(move || {
            for message in messages.map_while(Result::ok) {
                let at_us = now_us();
                let header = message.header();
                if message.message_type() == Type::MethodCall {
                    let member = header.member().map(|m| m.to_string()).unwrap_or_default();
                    let path = header.path().map(|p| p.to_string()).unwrap_or_default();
                    log.lock().unwrap().push(Passed { at_us, member, path });
                }
            }
        });
        Monitor { calls }
    }

    /// The n-th call of this member since the start, as soon as it has passed.
    #[track_caller]
    pub fn call(&self, member: &str, n: usize) -> Passed {
        let nth = || self.calls.lock().unwrap().iter().filter(|c| c.member == member).nth(n).cloned();
        until(PATIENCE, nth).unwrap_or_else(|| panic!("call {n} of {member} never passed: {:?}", self.calls.lock().unwrap()))
    }

    /// How many calls of this member have passed.
    pub fn count(&self, member: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|c| c.member == member).count()
    }
}
