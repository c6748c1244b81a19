//! The server: one instance's view of it. A `speak` is a request, its answer as it streams, and an end that says what to do.

use std::result::Result;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use utterd_plugin_api::abi::{UT_EBACKEND, UT_OK, UT_TIMEOUT};
use utterd_plugin_api::prelude::*;

use crate::audio::Decoder;
use crate::body;
use crate::calls::{Calls, Verdict};
use crate::config::{CancelMethod, Config, Method};
use crate::http::{Client, Failed, Limits, Request, Response, Step};
use crate::mime::{self, Kind};
use crate::net::{Fault, Wait};
use crate::sse::Events;
use crate::url::Url;

/// Before the first retry; the next ones wait twice as long each.
const BACK_OFF: Duration = Duration::from_millis(100);
/// A server that asks for a longer pause is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// A list of voices is no longer, nor waited for longer.
const MAX_LIST: usize = 4 << 20;
const LIST_TIME: Duration = Duration::from_secs(2);

pub(crate) struct Server {
    host: Host,
    pub(crate) config: Config,
    url: Url,
    client: Client,
    key: Option<(String, String)>,
    calls: Calls,
}

impl Server {
    pub(crate) fn new(host: Host, config: Config, url: Url, key: Option<String>) -> Self {
        let client = Client::new(config.ca_file.clone(), config.keep_alive);
        let key = key.map(|key| {
            let bearer = config.api_key_header.eq_ignore_ascii_case("authorization");
            (config.api_key_header.clone(), if bearer { format!("Bearer {key}") } else { key })
        });
        Self {
            host,
            config,
            url,
            client,
            key,
            calls: Calls::default(),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            connect: self.config.connect_timeout(),
            first_byte: self.config.first_byte_timeout(),
        }
    }

    /// Headers of a request to `to`; the key goes to the configured server alone, never where a redirect leads.
    fn headers(&self, to: &Url, accept: &str, synthesis: u64) -> Vec<(String, String)> {
        let mut headers = vec![("Accept".to_owned(), accept.to_owned())];
        headers.extend(self.config.headers.iter().map(|(n, v)| (n.clone(), v.clone())));
        if synthesis != 0 && !self.config.id_header.is_empty() {
            headers.push((self.config.id_header.clone(), synthesis.to_string()));
        }
        if to.same_origin(&self.url) {
            headers.extend(self.key.clone());
        }
        headers
    }

    pub(crate) fn speak(self: &Arc<Self>, req: &Speak<'_>, out: &mut AudioOut<'_>) -> Result<(), Error> {
        let Some(cancelled) = self.calls.begin(req.synthesis) else {
            return Err(Error::Cancelled);
        };
        let wait = Wait {
            cancel_fd: out.cancel_fd(),
            cancelled: &cancelled,
        };
        let spoken = self.exchange(req, out, &wait);
        self.calls.end(req.synthesis);
        spoken
    }

    fn exchange(self: &Arc<Self>, req: &Speak<'_>, out: &mut AudioOut<'_>, wait: &Wait<'_>) -> Result<(), Error> {
        if out.cancelled() {
            return Err(Error::Cancelled);
        }
        let fields = body::fields(&self.config, req)?;
        let mut pause = BACK_OFF;
        let mut left = self.config.retries;
        let response = loop {
            match self.ask(&fields, req.synthesis, wait) {
                Ok(response) => break response,
                Err(Refused { error, after: Some(after) }) if left > 0 && after <= PATIENCE => {
                    left -= 1;
                    self.host.log(2, req.session, req.utterance, "", &format!("trying again: {error}"));
                    wait.pause(pause.max(after)).map_err(|f| self.words(f))?;
                    pause *= 2;
                }
                Err(refused) => return Err(refused.error),
            }
        };
        self.listen(response, out, wait)
    }

    /// One request, and where it leads. An answer that is no speech is an error.
    fn ask(
        self: &Arc<Self>,
        fields: &serde_json::Map<String, serde_json::Value>,
        synthesis: u64,
        wait: &Wait<'_>,
    ) -> Result<Response, Refused> {
        let mut to = self.url.clone();
        for _ in 0..=self.config.redirects {
            let (url, body) = body::request(self.config.method, &to, fields);
            let mut headers = self.headers(&to, "audio/wav, audio/pcm;q=0.9, text/event-stream;q=0.8, */*;q=0.1", synthesis);
            if self.config.method == Method::Post {
                headers.push(("Content-Type".into(), "application/json".into()));
            }
            let request = Request {
                method: if self.config.method == Method::Post { "POST" } else { "GET" },
                url: &url,
                headers: &headers,
                body: &body,
            };
            let answer = self
                .client
                .send(&request, self.limits(), wait, &mut || self.calls.writing(synthesis));
            if self.calls.written(synthesis) {
                // The answer, if there is one, is closed first: nobody listens.
                drop(answer);
                self.post(synthesis);
                return Err(Error::Cancelled.into());
            }
            let mut response = answer.map_err(|failed| self.refused(failed))?;
            match response.status {
                200..=203 => return Ok(response),
                301 | 302 | 307 | 308 => {
                    let location = response.header("location").unwrap_or_default().to_owned();
                    to = to
                        .join(&location)
                        .map_err(|e| Error::Backend(format!("{to} redirects nowhere: {e}")))?;
                    self.drain(response, wait);
                }
                _ => return Err(self.status(&mut response, wait)),
            }
        }
        Err(Error::Backend(format!(
            "{} redirects more than {} times; set url to where it leads",
            self.url, self.config.redirects
        ))
        .into())
    }

    fn refused(&self, failed: Failed) -> Refused {
        // What was answered in part, or was waited for in vain, is not asked for again.
        let again = match (failed.step, &failed.fault) {
            (_, Fault::Cancelled | Fault::Wrong(_)) => false,
            (Step::Connect, _) | (Step::Request, Fault::Io(_)) => true,
            _ => false,
        };
        let error = match (failed.step, failed.fault) {
            (Step::Connect, Fault::TimedOut) => Error::Backend(format!(
                "{}: no connection within {} ms; is the server running, and is url right?",
                self.url, self.config.connect_timeout_ms
            )),
            (Step::Connect, Fault::Io(e)) => Error::Backend(format!("{}: {e}; is the server running, and is url right?", self.url)),
            (_, Fault::TimedOut) => Error::Backend(format!(
                "{}: no answer within {} ms (first-byte-timeout-ms)",
                self.url, self.config.first_byte_timeout_ms
            )),
            (_, fault) => self.words(fault),
        };
        Refused {
            error,
            after: again.then_some(Duration::ZERO),
        }
    }

    fn words(&self, fault: Fault) -> Error {
        match fault {
            Fault::Cancelled => Error::Cancelled,
            Fault::TimedOut => Error::Backend(format!(
                "{}: silent for {} ms (idle-timeout-ms)",
                self.url, self.config.idle_timeout_ms
            )),
            Fault::Io(e) => Error::Backend(format!("{}: {e}", self.url)),
            Fault::Wrong(why) => Error::Backend(format!("{}: {why}", self.url)),
        }
    }

    /// A status other than success.
    fn status(&self, response: &mut Response, wait: &Wait<'_>) -> Refused {
        let status = response.status;
        let after = response
            .header("retry-after")
            .and_then(|s| s.trim().parse().ok())
            .map(Duration::from_secs);
        let said = match response.excerpt(wait) {
            said if said.is_empty() => String::new(),
            said => format!(": {said}"),
        };
        let at = format!("{} answered {status}{said}", self.url);
        let ms = |d: Option<Duration>| d.map_or(0, |d| u32::try_from(d.as_millis()).unwrap_or(u32::MAX));
        let error = match status {
            401 | 403 => Error::Auth(format!("{at}; check api-key-secret or api-key-file")),
            404 | 405 => Error::Backend(format!("{at}; check url and method")),
            400 | 413 | 422 => Error::Argument(at),
            429 | 503 => Error::Busy(ms(after), at),
            300..=399 => Error::Backend(format!(
                "{at}: a redirect that cannot be followed with the text; set url to where it leads"
            )),
            _ => Error::Backend(at),
        };
        let again = matches!(status, 502..=504);
        Refused {
            error,
            after: again.then(|| after.unwrap_or_default()),
        }
    }

    /// The answer, as it comes.
    fn listen(&self, mut response: Response, out: &mut AudioOut<'_>, wait: &Wait<'_>) -> Result<(), Error> {
        let kind = mime::kind(response.header("content-type").unwrap_or_default());
        let bad = |why: String| Error::Backend(format!("{}: {why}", self.url));
        let mut decoder = Decoder::new(kind, self.config.raw(), self.config.asks_for_raw()).map_err(bad)?;
        let mut events = (kind == Kind::EventStream).then(Events::default);
        let (mut body, mut mono) = (Vec::new(), Vec::new());
        // Servers that answer at once may still think before they speak.
        let mut deadline = Instant::now() + self.config.first_byte_timeout();
        while response.read(&mut body, deadline, wait).map_err(|f| self.words(f))? {
            match &mut events {
                None => decoder.push(&body, &mut mono).map_err(bad)?,
                Some(events) => {
                    let each = |piece: &[u8]| {
                        decoder.restart_if_header(piece);
                        decoder.push(piece, &mut mono)
                    };
                    events.push(&body, each).map_err(bad)?;
                }
            }
            body.clear();
            self.hand_over(&decoder, &mut mono, out)?;
            if events.as_ref().is_some_and(Events::is_done) {
                break;
            }
            if out.position() > 0 || decoder.bytes() > 0 {
                deadline = Instant::now() + self.config.idle_timeout();
            }
        }
        decoder.finish(&mut mono).map_err(bad)?;
        self.hand_over(&decoder, &mut mono, out)?;
        self.drain(response, wait);
        Ok(())
    }

    fn hand_over(&self, decoder: &Decoder, mono: &mut Vec<f32>, out: &mut AudioOut<'_>) -> Result<(), Error> {
        if let (Some(rate), false) = (decoder.rate(), mono.is_empty()) {
            out.set_rate(rate)?;
            out.write(mono)?;
        }
        mono.clear();
        Ok(())
    }

    /// Returns at once; the server is told, if it is to be, by a thread. Every cancel is acknowledged to the host, once.
    pub(crate) fn cancel(self: &Arc<Self>, synthesis: u64) {
        match self.calls.cancel(synthesis) {
            Verdict::Tell => self.post(synthesis),
            Verdict::Unasked => self.host.cancel_ack(synthesis, UT_OK),
            Verdict::Soon | Verdict::Already => {}
        }
    }

    fn post(self: &Arc<Self>, synthesis: u64) {
        if self.config.cancel_url.is_empty() {
            // The closed stream is all that it understands.
            self.host.cancel_ack(synthesis, UT_OK);
            return;
        }
        if !self.calls.post(synthesis) {
            return;
        }
        let server = Arc::clone(self);
        let poster = std::thread::Builder::new().name("tts-http-cancel".into()).spawn(move || {
            while let Some(synthesis) = server.calls.next() {
                server.host.cancel_ack(synthesis, server.tell(synthesis));
            }
        });
        if let Err(e) = poster {
            self.host.error(&format!("no thread to cancel from: {e}"));
            for synthesis in self.calls.no_poster() {
                self.host.cancel_ack(synthesis, UT_EBACKEND);
            }
        }
    }

    /// Posts one cancel; its status for the host. What is gone already is cancelled.
    fn tell(&self, synthesis: u64) -> i32 {
        let Ok(url) = self.config.cancel(synthesis) else {
            return UT_EBACKEND;
        };
        let headers = self.headers(&url, "*/*", synthesis);
        let request = Request {
            method: if self.config.cancel_method == CancelMethod::Post {
                "POST"
            } else {
                "DELETE"
            },
            url: &url,
            headers: &headers,
            body: b"",
        };
        let never = AtomicBool::new(false);
        let wait = Wait {
            cancel_fd: None,
            cancelled: &never,
        };
        let limits = Limits {
            connect: self.config.connect_timeout(),
            first_byte: self.config.cancel_timeout(),
        };
        let (status, why) = match self.client.send(&request, limits, &wait, &mut || true) {
            Ok(response) if matches!(response.status, 200..=299 | 404 | 410) => {
                self.drain(response, &wait);
                return UT_OK;
            }
            Ok(response) => (UT_EBACKEND, format!("answered {}", response.status)),
            Err(Failed {
                fault: Fault::TimedOut, ..
            }) => (UT_TIMEOUT, "did not answer in time".into()),
            Err(Failed { fault, .. }) => (UT_EBACKEND, self.words(fault).message().to_owned()),
        };
        self.host.warn(&format!("cancel of synthesis {synthesis}: {url} {why}"));
        status
    }

    /// The few bytes of an answer that nobody reads, for the connection's sake.
    fn drain(&self, mut response: Response, wait: &Wait<'_>) {
        let (mut body, deadline) = (Vec::new(), Instant::now() + Duration::from_millis(200));
        while body.len() < 4_096 {
            match response.read(&mut body, deadline, wait) {
                Ok(true) => {}
                Ok(false) => return self.client.recycle(response),
                Err(_) => return,
            }
        }
    }

    /// What stands behind `voices-url`: a list of names or of objects, bare or under `voices` or `data`.
    pub(crate) fn discover(&self, url: &Url) -> Result<Vec<String>, String> {
        let headers = self.headers(url, "application/json", 0);
        let request = Request {
            method: "GET",
            url,
            headers: &headers,
            body: b"",
        };
        let never = AtomicBool::new(false);
        let wait = Wait {
            cancel_fd: None,
            cancelled: &never,
        };
        let limits = Limits {
            connect: LIST_TIME.min(self.config.connect_timeout()),
            first_byte: LIST_TIME,
        };
        let answer = self.client.send(&request, limits, &wait, &mut || true);
        let mut response = answer.map_err(|f| self.words(f.fault).message().to_owned())?;
        if response.status != 200 {
            return Err(format!("answered {}", response.status));
        }
        let (mut body, deadline) = (Vec::new(), Instant::now() + LIST_TIME);
        while response
            .read(&mut body, deadline, &wait)
            .map_err(|f| self.words(f).message().to_owned())?
        {
            if body.len() > MAX_LIST {
                return Err(format!("more than {MAX_LIST} bytes"));
            }
        }
        self.client.recycle(response);
        voice_list(&body)
    }

    /// Whether the server can be reached at all.
    pub(crate) fn reach(&self) -> Result<(), Error> {
        let request = Request {
            method: "GET",
            url: &self.url,
            headers: &self.headers(&self.url, "*/*", 0),
            body: b"",
        };
        let never = AtomicBool::new(false);
        let wait = Wait {
            cancel_fd: None,
            cancelled: &never,
        };
        match self.client.send(&request, self.limits(), &wait, &mut || true) {
            Ok(_) => Ok(()),
            Err(failed) => Err(self.refused(failed).error),
        }
    }
}

pub(crate) fn voice_list(body: &[u8]) -> Result<Vec<String>, String> {
    use serde_json::Value;
    let json: Value = serde_json::from_slice(body).map_err(|e| format!("no JSON: {e}"))?;
    let list = match &json {
        Value::Array(list) => list,
        object => ["voices", "data"]
            .iter()
            .find_map(|key| object.get(key)?.as_array())
            .ok_or("no list of voices in it")?,
    };
    let name = |voice: &Value| {
        let name = voice
            .as_str()
            .or_else(|| ["id", "voice_id", "name"].iter().find_map(|key| voice.get(key)?.as_str()));
        name.filter(|n| !n.is_empty()).map(str::to_owned)
    };
    Ok(list.iter().filter_map(name).collect())
}

/// Why a request did not lead to speech, and after which pause it may be tried again, if at all.
struct Refused {
    error: Error,
    after: Option<Duration>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, after: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voices_as_servers_list_them() {
        for body in [
            r#"["a","b"]"#,
            r#"{"voices":["a","b"]}"#,
            r#"{"voices":[{"id":"a"},{"name":"b"},{"x":1},""]}"#,
            r#"{"object":"list","data":[{"voice_id":"a"},{"id":"b"}]}"#,
        ] {
            assert_eq!(voice_list(body.as_bytes()).unwrap(), ["a", "b"], "{body}");
        }
        assert!(voice_list(b"<html>").is_err() && voice_list(b"{}").is_err() && voice_list(b"7").is_err());
    }
}
