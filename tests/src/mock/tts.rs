//! A scripted speech server: HTTP/1.1 over a plain listener. It records every request and cancel with its time, and misbehaves as told.
//!
//! Speech is a ramp that never is zero; its length is 50 ms a character of `input` unless the script says more. Connections are kept alive where the
//! answer's framing allows it, so that the reuse of connections is seen too.

use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::clock::{PATIENCE, now_us};

/// What the server answers to a request for speech.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// WAV whose header says this length.
    Wav { length: u32 },
    /// Raw samples, with this content type.
    Pcm { content_type: &'static str },
    /// Server-sent events, the audio under this key.
    Events { key: &'static str },
    /// These bytes under this content type.
    Bytes { content_type: &'static str, body: Vec<u8> },
    /// Nothing at all.
    Silent,
    /// The connection is closed without a word.
    HangUp,
    /// No HTTP.
    Garbage,
    /// A status without speech.
    Status { status: u16, body: &'static str },
    /// To itself, for ever.
    RedirectLoop,
    /// 307 to here.
    RedirectTo(String),
    /// WAV without an end.
    Endless,
    /// WAV that breaks off in the middle of its Content-Length.
    CutOff,
}

/// How the server acknowledges a cancel.
#[derive(Clone, Debug, PartialEq)]
pub enum Ack {
    Status(u16),
    Late(Duration),
    Never,
}

#[derive(Clone, Debug)]
pub struct Script {
    pub answer: Answer,
    /// Before the head.
    pub head_after: Duration,
    /// Between the head and the first audio.
    pub audio_after: Duration,
    /// Times real time; 0 = at once.
    pub speed: f64,
    pub rate: u32,
    /// Samples of speech, whatever the text; 0 = by the text.
    pub samples: usize,
    pub ack: Ack,
    /// It does not mind being cancelled: goes on writing as long as somebody reads.
    pub goes_on: bool,
    /// Requests that are answered by 503 before the script holds.
    pub busy_first: u32,
}

impl Default for Script {
    fn default() -> Self {
        Script {
            answer: Answer::Wav { length: u32::MAX },
            head_after: Duration::ZERO,
            audio_after: Duration::ZERO,
            speed: 0.0,
            rate: 24_000,
            samples: 0,
            ack: Ack::Status(204),
            goes_on: false,
            busy_first: 0,
        }
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at_us: u64,
    pub connection: u64,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// When the first audio was written, 0 = not yet.
    pub first_audio_us: u64,
    /// When the last byte of the answer was written, 0 = not yet.
    pub done_us: u64,
    /// When the far side was found to be gone, 0 = not.
    pub gone_us: u64,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|h| h.0.eq_ignore_ascii_case(name))
            .map_or("", |h| h.1.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn text(&self) -> String {
        self.json()["input"].as_str().unwrap_or_default().to_owned()
    }

    /// The synthesis id that it was told by its header.
    pub fn id(&self) -> u64 {
        self.header("x-request-id").parse().unwrap_or(0)
    }
}

#[derive(Default)]
struct State {
    script: Script,
    seen: Vec<Seen>,
}

struct Shared {
    state: Mutex<State>,
    more: Condvar,
    stop: AtomicBool,
    connections: AtomicU64,
    address: SocketAddr,
}

/// The server; it ends with its owner.
pub struct TtsServer {
    shared: Arc<Shared>,
}

impl TtsServer {
    pub fn start(script: Script) -> TtsServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::new(State { script, seen: Vec::new() }),
            more: Condvar::new(),
            stop: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            address: listener.local_addr().unwrap(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stop.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&accepting)) else {
                    continue;
                };
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
        TtsServer { shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// `http://127.0.0.1:PORT` and this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.shared.address)
    }

    /// From the next request on.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.shared.state.lock().unwrap().script);
    }

    /// Every request so far, of any kind.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state.lock().unwrap().seen.clone()
    }

    /// Requests for speech.
    pub fn requests(&self) -> Vec<Seen> {
        let seen = self.seen().into_iter();
        seen.filter(|s| !s.target.contains("cancel") && !s.target.contains("voices"))
            .collect()
    }

    /// The ids of the cancels, as they came.
    pub fn cancels(&self) -> Vec<u64> {
        let id = |s: &Seen| s.target.rsplit('/').next()?.parse().ok();
        self.seen()
            .iter()
            .filter(|s| s.target.contains("/cancel/"))
            .filter_map(id)
            .collect()
    }

    /// What this finds, as soon as it is there.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, find: impl Fn(&[Seen]) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut state = self.shared.state.lock().unwrap();
        loop {
            if let Some(found) = find(&state.seen) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}; seen: {:#?}", state.seen);
            state = self.shared.more.wait_timeout(state, left).unwrap().0;
        }
    }

    /// The request whose text contains this.
    #[track_caller]
    pub fn wait_request(&self, text: &str) -> Seen {
        self.wait(&format!("a request with {text:?}"), |seen| {
            seen.iter().find(|s| s.text().contains(text)).cloned()
        })
    }

    /// So many cancels.
    #[track_caller]
    pub fn wait_cancels(&self, count: usize) -> Vec<u64> {
        self.wait(&format!("{count} cancels"), |seen| {
            (seen.iter().filter(|s| s.target.contains("/cancel/")).count() >= count).then_some(())
        });
        self.cancels()
    }
}

impl Drop for TtsServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.more.notify_all();
        // Wakes the listener.
        drop(TcpStream::connect(self.shared.address));
    }
}

fn serve(shared: &Shared, mut stream: TcpStream) {
    let connection = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
    stream.set_nodelay(true).unwrap();
    let mut raw = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut raw, connection) {
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        let (index, script) = {
            let mut state = shared.state.lock().unwrap();
            state.seen.push(request.clone());
            let busy = state.script.busy_first > 0 && request.target.contains("speech");
            let mut script = state.script.clone();
            if busy {
                state.script.busy_first -= 1;
                script.answer = Answer::Status { status: 503, body: "busy" };
            }
            (state.seen.len() - 1, script)
        };
        shared.more.notify_all();
        let note = |what: fn(&mut Seen, u64)| {
            what(&mut shared.state.lock().unwrap().seen[index], now_us());
            shared.more.notify_all();
        };
        let answered = if request.target.contains("/cancel/") {
            acknowledge(shared, &mut stream, &script.ack)
        } else if request.target.contains("voices") {
            send(&mut stream, 200, "application/json", br#"{"voices":["alba","bruno"]}"#)
        } else {
            speak(shared, &mut stream, &request, &script, &note)
        };
        match answered {
            Ok(true) => note(|seen, at| seen.done_us = at),
            Ok(false) => {
                note(|seen, at| seen.done_us = at);
                return;
            }
            Err(_) => {
                note(|seen, at| seen.gone_us = at);
                return;
            }
        }
    }
}

fn acknowledge(shared: &Shared, stream: &mut TcpStream, ack: &Ack) -> std::io::Result<bool> {
    match ack {
        Ack::Status(status) => send(stream, *status, "text/plain", b""),
        Ack::Late(time) => {
            pause(shared, stream, *time)?;
            send(stream, 204, "text/plain", b"")
        }
        Ack::Never => pause(shared, stream, Duration::from_secs(600)).map(|()| false),
    }
}

/// True: the connection serves on.
fn speak(
    shared: &Shared,
    stream: &mut TcpStream,
    request: &Seen,
    script: &Script,
    note: &dyn Fn(fn(&mut Seen, u64)),
) -> std::io::Result<bool> {
    pause(shared, stream, script.head_after)?;
    let count = match script.samples {
        0 => request.text().chars().count() * script.rate as usize / 20,
        samples => samples,
    };
    let samples = (0..count).flat_map(|n| (1_000 + (n % 500) as i16 * 20).to_le_bytes());
    let first = |seen: &mut Seen, at: u64| seen.first_audio_us = at;
    let mut out = Chunks {
        shared,
        stream,
        per_second: script.speed * f64::from(script.rate) * 2.0,
        goes_on: script.goes_on,
    };
    match &script.answer {
        Answer::Wav { length } => {
            out.head("audio/wav")?;
            out.chunk(&wav_header(script.rate, *length))?;
            out.pause(script.audio_after)?;
            note(first);
            out.stream(&samples.collect::<Vec<u8>>())?;
            out.end()
        }
        Answer::Pcm { content_type } => {
            out.head(content_type)?;
            out.pause(script.audio_after)?;
            note(first);
            out.stream(&samples.collect::<Vec<u8>>())?;
            out.end()
        }
        Answer::Events { key } => {
            out.head("text/event-stream")?;
            out.pause(script.audio_after)?;
            note(first);
            let all: Vec<u8> = wav_header(script.rate, 0).into_iter().chain(samples).collect();
            for piece in all.chunks(4_801) {
                let event = format!("data: {{\"type\":\"speech.audio.delta\",\"{key}\":\"{}\"}}\n\n", base64(piece));
                out.chunk(event.as_bytes())?;
            }
            out.chunk(b"data: {\"type\":\"speech.audio.done\"}\n\n")?;
            out.end()
        }
        Answer::Bytes { content_type, body } => send(stream, 200, content_type, body),
        Answer::Silent => pause(shared, stream, Duration::from_secs(600)).map(|()| false),
        Answer::HangUp => Ok(false),
        Answer::Garbage => {
            stream.write_all(b"\x00\xff\x16\x03\x01 I am a teapot\r\n\r\n")?;
            Ok(false)
        }
        Answer::Status { status, body } => send(stream, *status, "text/plain", body.as_bytes()),
        Answer::RedirectLoop => redirect(stream, &request.target),
        Answer::RedirectTo(_) if request.target.contains("redirected") => {
            out.head("audio/wav")?;
            out.chunk(&wav_header(script.rate, 0))?;
            out.stream(&samples.collect::<Vec<u8>>())?;
            out.end()
        }
        Answer::RedirectTo(to) => redirect(stream, to),
        Answer::Endless => {
            out.head("audio/wav")?;
            out.chunk(&wav_header(script.rate, 0))?;
            note(first);
            let block: Vec<u8> = (0..4_096i16).flat_map(|n| (n + 1).to_le_bytes()).collect();
            loop {
                out.stream(&block)?;
            }
        }
        Answer::CutOff => {
            let header = wav_header(script.rate, 0);
            let half: Vec<u8> = samples.collect();
            stream.write_all(
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: {}\r\n\r\n",
                    header.len() + 2 * half.len()
                )
                .as_bytes(),
            )?;
            stream.write_all(&header)?;
            stream.write_all(&half)?;
            Ok(false)
        }
    }
}

fn redirect(stream: &mut TcpStream, to: &str) -> std::io::Result<bool> {
    stream.write_all(format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
    Ok(true)
}

fn send(stream: &mut TcpStream, status: u16, content_type: &str, body: &[u8]) -> std::io::Result<bool> {
    let length = if status == 204 {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    stream.write_all(format!("HTTP/1.1 {status} Whatever\r\nContent-Type: {content_type}\r\n{length}\r\n").as_bytes())?;
    stream.write_all(body)?;
    Ok(true)
}

/// A chunked answer.
struct Chunks<'a> {
    shared: &'a Shared,
    stream: &'a mut TcpStream,
    /// Bytes; 0 = no limit.
    per_second: f64,
    goes_on: bool,
}

impl Chunks<'_> {
    fn head(&mut self, content_type: &str) -> std::io::Result<()> {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n");
        self.stream.write_all(head.as_bytes())
    }

    fn chunk(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let framed = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        match self.stream.write_all(&framed) {
            Err(_) if self.goes_on => Ok(()),
            other => other,
        }
    }

    fn pause(&mut self, time: Duration) -> std::io::Result<()> {
        match pause(self.shared, self.stream, time) {
            Err(_) if self.goes_on => Ok(()),
            other => other,
        }
    }

    fn stream(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        for block in bytes.chunks(960) {
            if self.per_second > 0.0 {
                self.pause(Duration::from_secs_f64(block.len() as f64 / self.per_second))?;
            }
            if self.shared.stop.load(Ordering::Acquire) {
                return Err(ErrorKind::Interrupted.into());
            }
            self.chunk(block)?;
        }
        Ok(())
    }

    fn end(&mut self) -> std::io::Result<bool> {
        self.stream.write_all(b"0\r\n\r\n")?;
        Ok(true)
    }
}

/// Waits so long, or less if the far side goes away (an error) or the test is over.
fn pause(shared: &Shared, stream: &TcpStream, time: Duration) -> std::io::Result<()> {
    let end = Instant::now() + time;
    let mut byte = [0];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        if shared.stop.load(Ordering::Acquire) {
            return Err(ErrorKind::Interrupted.into());
        }
        stream.set_read_timeout(Some(left.min(Duration::from_millis(20))))?;
        let peeked = stream.peek(&mut byte);
        stream.set_read_timeout(None)?;
        match peeked {
            Ok(0) => return Err(ErrorKind::ConnectionAborted.into()),
            Ok(_) => return Ok(()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) => return Err(e),
        }
    }
}

fn read_request(stream: &mut TcpStream, raw: &mut Vec<u8>, connection: u64) -> Option<Seen> {
    let mut block = [0; 4_096];
    loop {
        if let Some(end) = raw.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&raw[..end]).into_owned();
            let mut lines = head.split("\r\n");
            let mut first = lines.next()?.split(' ');
            let headers: Vec<(String, String)> = lines
                .filter_map(|l| l.split_once(':'))
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect();
            let length = headers.iter().find(|h| h.0.eq_ignore_ascii_case("content-length"));
            let length = length.and_then(|h| h.1.parse().ok()).unwrap_or(0);
            if raw.len() >= end + 4 + length {
                let request = Seen {
                    at_us: now_us(),
                    connection,
                    method: first.next()?.to_owned(),
                    target: first.next()?.to_owned(),
                    headers,
                    body: raw[end + 4..end + 4 + length].to_vec(),
                    first_audio_us: 0,
                    done_us: 0,
                    gone_us: 0,
                };
                raw.drain(..end + 4 + length);
                return Some(request);
            }
        }
        match stream.read(&mut block) {
            Ok(0) | Err(_) => return None,
            Ok(n) => raw.extend_from_slice(&block[..n]),
        }
    }
}

fn wav_header(rate: u32, length: u32) -> Vec<u8> {
    let mut header = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    header.extend_from_slice(&rate.to_le_bytes());
    header.extend_from_slice(&(rate * 2).to_le_bytes());
    header.extend_from_slice(b"\x02\0\x10\0data");
    header.extend_from_slice(&length.to_le_bytes());
    header
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let n = three.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            text.push(if at <= three.len() {
                char::from(LETTERS[(n >> shift) as usize & 63])
            } else {
                '='
            });
        }
    }
    text
}
