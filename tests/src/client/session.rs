//! A session as its client sees it: its verbs, its properties, its events.

use super::{Body, Client, Dict, Event, NAME, Options, Reply, Result, SESSION, dicts, number, options_only, outcome};
use crate::clock::PATIENCE;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use zbus::zvariant::Value;

/// A session's object.
#[derive(Clone, Debug)]
pub struct Session {
    pub(super) client: Client,
    pub id: String,
    pub path: String,
}

impl Session {
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn call<B: Body>(&self, member: &str, body: &B) -> Result<Reply<Vec<Value<'static>>>> {
        self.client.call(&self.path, SESSION, member, body)
    }

    /// The utterance's id.
    #[track_caller]
    pub fn say(&self, text: &str, options: Options) -> u64 {
        self.try_say(text, options).unwrap_or_else(|e| panic!("Say: {e}")).value
    }

    pub fn try_say(&self, text: &str, options: Options) -> Result<Reply<u64>> {
        let reply = self.call("Say", &(text, options))?;
        Ok(Reply {
            value: number(&reply.value[0]).expect("an id"),
            position: reply.position,
        })
    }

    /// The utterance's id.
    #[track_caller]
    pub fn play(&self, uri: &str, options: Options) -> u64 {
        self.try_play(uri, options).unwrap_or_else(|e| panic!("Play: {e}"))
    }

    pub fn try_play(&self, uri: &str, options: Options) -> Result<u64> {
        let reply = self.call("Play", &(uri, options))?;
        Ok(number(&reply.value[0]).expect("an id"))
    }

    /// AcquireAudio: the stream, and what it actually is.
    pub fn acquire(&self, direction: &str, options: Options) -> Result<(OwnedFd, Dict)> {
        let connection = self.client.connection();
        let message = connection.call_method(Some(NAME), self.path.as_str(), Some(SESSION), "AcquireAudio", &(direction, options))?;
        let body = message.body();
        let (stream, actual): (zbus::zvariant::OwnedFd, HashMap<String, zbus::zvariant::OwnedValue>) = body.deserialize()?;
        let actual = actual.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
        Ok((stream.into(), Dict(actual)))
    }

    /// Outcome and report once the utterance has finished, "pending" after the patience.
    #[track_caller]
    pub fn wait(&self, utterance: u64) -> (String, Dict) {
        self.wait_ms(utterance, PATIENCE.as_millis() as u32)
    }

    #[track_caller]
    pub fn wait_ms(&self, utterance: u64, timeout_ms: u32) -> (String, Dict) {
        let options = crate::opts! { "timeout-ms" => timeout_ms };
        let reply = self.call("Wait", &(utterance, options)).unwrap_or_else(|e| panic!("Wait: {e}"));
        outcome(reply.value).unwrap()
    }

    #[track_caller]
    pub fn cancel(&self, options: Options) -> Dict {
        self.try_cancel(options).unwrap_or_else(|e| panic!("Cancel: {e}")).value
    }

    pub fn try_cancel(&self, options: Options) -> Result<Reply<Dict>> {
        let reply = self.call("Cancel", &options_only(options))?;
        Ok(Reply {
            value: Dict::from(&reply.value[0]),
            position: reply.position,
        })
    }

    #[track_caller]
    pub fn pause(&self, options: Options) {
        self.call("Pause", &options_only(options)).unwrap_or_else(|e| panic!("Pause: {e}"));
    }

    #[track_caller]
    pub fn resume(&self) {
        self.call("Resume", &options_only(Options::new()))
            .unwrap_or_else(|e| panic!("Resume: {e}"));
    }

    /// ReportSpeech: the decision.
    pub fn report_speech(&self, kind: &str, details: Options) -> Result<Reply<String>> {
        let reply = self.call("ReportSpeech", &(kind, details))?;
        match reply.value.first() {
            Some(Value::Str(word)) => Ok(Reply {
                value: word.as_str().to_owned(),
                position: reply.position,
            }),
            other => panic!("ReportSpeech was answered {other:?}"),
        }
    }

    pub fn configure(&self, options: Options) -> Result<()> {
        self.call("Configure", &options_only(options)).map(drop)
    }

    pub fn close(&self, options: Options) -> Result<Reply<()>> {
        let reply = self.call("Close", &options_only(options))?;
        Ok(Reply {
            value: (),
            position: reply.position,
        })
    }

    #[track_caller]
    pub fn history(&self, options: Options) -> Vec<Dict> {
        dicts(
            &self
                .call("GetHistory", &options_only(options))
                .unwrap_or_else(|e| panic!("GetHistory: {e}"))
                .value[0],
        )
    }

    #[track_caller]
    pub fn property(&self, name: &str) -> Value<'static> {
        self.client
            .property(&self.path, SESSION, name)
            .unwrap_or_else(|e| panic!("Session.{name}: {e}"))
    }

    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        match self.property(name) {
            Value::Str(s) => s.to_string(),
            other => panic!("Session.{name} is {other:?}"),
        }
    }

    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        number(&self.property(name)).expect("a number")
    }

    #[track_caller]
    pub fn is(&self, name: &str) -> bool {
        self.property(name) == Value::Bool(true)
    }

    pub fn set(&self, name: &str, value: impl Into<Value<'static>>) -> Result<()> {
        self.client.set_property(&self.path, SESSION, name, value)
    }

    /// The signals of this session's object, in order.
    pub fn events(&self) -> Vec<Event> {
        self.client.events().into_iter().filter(|e| e.path == self.path).collect()
    }
}
