//! HTTP/1.1, the part that a speech server needs: a request, an answer that streams, connections that are used again.
//!
//! Own code rather than a client library because a cancel must close the stream at once, wherever it stands; heads are parsed by `httparse`.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::chunked::Chunked;
use crate::net::{Conn, Fault, Wait};
use crate::url::Url;

const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// Read at once: 85 ms of 16-bit speech at 24 kHz.
const BLOCK: usize = 4_096;
/// Connections that wait for work, and for how long.
const MAX_IDLE: usize = 16;
const IDLE: Duration = Duration::from_secs(30);

pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a Url,
    pub(crate) headers: &'a [(String, String)],
    pub(crate) body: &'a [u8],
}

/// The head of an answer, and its body to be read.
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    framing: Framing,
    conn: Conn,
    /// Raw bytes that came with the head or behind a chunk.
    raw: Vec<u8>,
    url: Url,
    keep: bool,
}

enum Framing {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Over,
}

/// When to give up.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    /// From the request to the first byte of the answer.
    pub(crate) first_byte: Duration,
}

/// Why there is no answer, and whether the server can have seen anything of the request's answer yet.
pub(crate) struct Failed {
    pub(crate) fault: Fault,
    pub(crate) step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Connect,
    /// Written, or being written; not a byte came back.
    Request,
    /// In the answer's head.
    Head,
}

pub(crate) struct Client {
    idle: Mutex<Vec<(Url, Conn, Instant)>>,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
    ca_file: PathBuf,
    keep_alive: bool,
}

impl Client {
    pub(crate) fn new(ca_file: PathBuf, keep_alive: bool) -> Self {
        Self {
            idle: Mutex::default(),
            tls: OnceLock::new(),
            ca_file,
            keep_alive,
        }
    }

    /// Sends, and waits for the head. `begin` is asked right before the first byte is written and may still say no.
    pub(crate) fn send(
        &self,
        request: &Request<'_>,
        limits: Limits,
        wait: &Wait<'_>,
        begin: &mut dyn FnMut() -> bool,
    ) -> Result<Response, Failed> {
        loop {
            let old = self.take(request.url);
            let reused = old.is_some();
            let open = || Conn::open(request.url, || self.tls(), Instant::now() + limits.connect, wait);
            let mut conn = match old.map_or_else(open, Ok) {
                Ok(conn) => conn,
                Err(fault) => {
                    return Err(Failed {
                        fault,
                        step: Step::Connect,
                    });
                }
            };
            if !begin() {
                return Err(Failed {
                    fault: Fault::Cancelled,
                    step: Step::Connect,
                });
            }
            let deadline = Instant::now() + limits.first_byte;
            let mut raw = Vec::new();
            let head = conn
                .write_all(&self.bytes(request), deadline, wait)
                .and_then(|()| head(&mut conn, &mut raw, deadline, wait));
            match head {
                Ok((status, headers, close)) => return self.response(request, conn, raw, status, headers, close),
                // A connection that the server had closed meanwhile: a new one, once.
                Err(Fault::Io(_)) if reused && raw.is_empty() => {}
                Err(fault) => {
                    let step = if raw.is_empty() { Step::Request } else { Step::Head };
                    return Err(Failed { fault, step });
                }
            }
        }
    }

    fn bytes(&self, request: &Request<'_>) -> Vec<u8> {
        let Request {
            method,
            url,
            headers,
            body,
        } = request;
        let mut bytes = format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: utterd/{}\r\n",
            url.target,
            url.authority(),
            env!("CARGO_PKG_VERSION")
        );
        for (name, value) in *headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.keep_alive {
            bytes.push_str("Connection: close\r\n");
        }
        if *method != "GET" {
            bytes.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        bytes.push_str("\r\n");
        [bytes.as_bytes(), body].concat()
    }

    fn response(
        &self,
        request: &Request<'_>,
        conn: Conn,
        raw: Vec<u8>,
        status: u16,
        headers: Vec<(String, String)>,
        http10: bool,
    ) -> Result<Response, Failed> {
        let header = |name: &str| headers.iter().find(|h| h.0.eq_ignore_ascii_case(name)).map(|h| h.1.as_str());
        let wrong = |why: &str| Failed {
            fault: Fault::Wrong(why.to_owned()),
            step: Step::Head,
        };
        let coding = header("transfer-encoding").map(str::to_ascii_lowercase);
        let framing = match (coding.as_deref(), header("content-length")) {
            _ if status == 204 || status == 304 => Framing::Over,
            (Some("chunked"), _) => Framing::Chunked(Chunked::default()),
            (Some("identity") | None, None) => Framing::UntilClose,
            (Some("identity") | None, Some(length)) => {
                let length = length.trim();
                let digits = length.bytes().all(|b| b.is_ascii_digit());
                match length
                    .parse::<u64>()
                    .ok()
                    .filter(|_| digits)
                    .ok_or_else(|| wrong("a Content-Length that is no number"))?
                {
                    0 => Framing::Over,
                    length => Framing::Length(length),
                }
            }
            (Some(_), _) => return Err(wrong("a Transfer-Encoding other than chunked")),
        };
        if header("content-encoding").is_some_and(|c| !c.eq_ignore_ascii_case("identity")) {
            return Err(wrong("the answer is compressed, which was not asked for"));
        }
        let connection = header("connection").unwrap_or_default().to_ascii_lowercase();
        let keep = self.keep_alive && !matches!(framing, Framing::UntilClose) && !connection.contains("close");
        Ok(Response {
            status,
            framing,
            conn,
            raw,
            url: request.url.clone(),
            keep: keep && (!http10 || connection.contains("keep-alive")),
            headers,
        })
    }

    fn take(&self, url: &Url) -> Option<Conn> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, conn, since)| since.elapsed() < IDLE && conn.is_quiet());
        let at = idle.iter().rposition(|(of, ..)| of.same_origin(url))?;
        Some(idle.swap_remove(at).1)
    }

    /// The connection of an answer that was read to its end may serve again.
    pub(crate) fn recycle(&self, response: Response) {
        if response.keep && response.raw.is_empty() && matches!(response.framing, Framing::Over) {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < MAX_IDLE {
                idle.push((response.url, response.conn, Instant::now()));
            }
        }
    }

    /// The machine's certificates, or those of a file. Read once, at the first need.
    fn tls(&self) -> Result<Arc<ClientConfig>, Fault> {
        let made = self.tls.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            if self.ca_file.as_os_str().is_empty() {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
            } else {
                let unreadable = |e: rustls::pki_types::pem::Error| format!("ca-file {}: {e}", self.ca_file.display());
                for certificate in CertificateDer::pem_file_iter(&self.ca_file).map_err(unreadable)? {
                    roots.add(certificate.map_err(unreadable)?).map_err(|e| e.to_string())?;
                }
            }
            if roots.is_empty() {
                return Err("no certificate authorities: install ca-certificates or set ca-file".into());
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let config = builder.map_err(|e| e.to_string())?.with_root_certificates(roots);
            Ok(Arc::new(config.with_no_client_auth()))
        });
        made.clone().map_err(Fault::Wrong)
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|h| h.0.eq_ignore_ascii_case(name)).map(|h| h.1.as_str())
    }

    /// Appends what came of the body, at least one byte; `false` = it is over.
    pub(crate) fn read(&mut self, body: &mut Vec<u8>, deadline: Instant, wait: &Wait<'_>) -> Result<bool, Fault> {
        let before = body.len();
        loop {
            if matches!(self.framing, Framing::Over) {
                return Ok(false);
            }
            let over = self.unframe(body)?;
            if over {
                self.framing = Framing::Over;
            }
            if body.len() > before {
                return Ok(true);
            }
            if over {
                return Ok(false);
            }
            let mut block = [0; BLOCK];
            let n = self.conn.read(&mut block, deadline, wait)?;
            if n == 0 {
                self.keep = false;
                if matches!(self.framing, Framing::UntilClose) {
                    self.framing = Framing::Over;
                    return Ok(false);
                }
                let cut = "the server hung up in the middle of its answer";
                return Err(Fault::Io(std::io::Error::new(ErrorKind::UnexpectedEof, cut)));
            }
            self.raw.extend_from_slice(&block[..n]);
        }
    }

    /// From raw bytes to the body's; true at its end.
    fn unframe(&mut self, body: &mut Vec<u8>) -> Result<bool, Fault> {
        match &mut self.framing {
            Framing::Over => Ok(true),
            Framing::UntilClose => {
                body.append(&mut self.raw);
                Ok(false)
            }
            Framing::Length(left) => {
                let n = (*left).min(self.raw.len() as u64);
                body.extend(self.raw.drain(..n as usize));
                *left -= n;
                Ok(*left == 0)
            }
            Framing::Chunked(chunked) => {
                let used = chunked.push(&self.raw, body).map_err(Fault::Wrong)?;
                self.raw.drain(..used);
                Ok(chunked.is_done())
            }
        }
    }

    /// The beginning of an answer that is no speech, for an error's words.
    pub(crate) fn excerpt(&mut self, wait: &Wait<'_>) -> String {
        let (mut body, deadline) = (Vec::new(), Instant::now() + Duration::from_millis(500));
        while body.len() < 2_048 && matches!(self.read(&mut body, deadline, wait), Ok(true)) {}
        let json: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let said = json.as_ref().and_then(|json| {
            let paths = ["/error/message", "/detail/message", "/detail", "/message", "/error"];
            paths.iter().find_map(|path| json.pointer(path)?.as_str())
        });
        said.map_or_else(|| crate::audio::words(&body), |said| crate::audio::words(said.as_bytes()))
    }
}

type Head = (u16, Vec<(String, String)>, bool);

/// Reads to the end of the head; what follows it stays in `raw`. Interim answers (1xx) are passed over.
fn head(conn: &mut Conn, raw: &mut Vec<u8>, deadline: Instant, wait: &Wait<'_>) -> Result<Head, Fault> {
    loop {
        if let Some((used, parsed)) = parse(raw)? {
            raw.drain(..used);
            if parsed.0 >= 200 {
                return Ok(parsed);
            }
            continue;
        }
        if raw.len() > MAX_HEAD {
            return Err(Fault::Wrong("a head without an end".into()));
        }
        let mut block = [0; BLOCK];
        match conn.read(&mut block, deadline, wait)? {
            0 => {
                let why = "the server hung up without an answer";
                return Err(Fault::Io(std::io::Error::new(ErrorKind::ConnectionReset, why)));
            }
            n => raw.extend_from_slice(&block[..n]),
        }
    }
}

/// The head, if it is complete: bytes used, and what it says. `true`: HTTP/1.0.
pub(crate) fn parse(raw: &[u8]) -> Result<Option<(usize, Head)>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    match answer.parse(raw) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(used)) => {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            let headers = answer.headers.iter().map(|h| (h.name.to_owned(), text(h.value))).collect();
            Ok(Some((used, (answer.code.unwrap_or(0), headers, answer.version == Some(0)))))
        }
        Err(e) => Err(Fault::Wrong(format!("the server does not speak HTTP/1.1 ({e})"))),
    }
}
