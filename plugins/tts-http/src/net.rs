//! Sockets that stop waiting the moment nobody wants the answer: non-blocking, with a poll on the socket and on the host's cancel descriptor.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::url::Url;

/// A flag that has no descriptor is looked at this often.
const TICK: Duration = Duration::from_millis(20);

/// Why nothing came of it.
#[derive(Debug)]
pub(crate) enum Fault {
    Cancelled,
    TimedOut,
    Io(io::Error),
    /// The far side is not what it should be: a certificate, a protocol.
    Wrong(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Who may end the waiting.
#[derive(Clone, Copy)]
pub(crate) struct Wait<'a> {
    pub(crate) cancel_fd: Option<BorrowedFd<'a>>,
    pub(crate) cancelled: &'a AtomicBool,
}

impl Wait<'_> {
    /// Until the socket is ready.
    fn ready(&self, socket: BorrowedFd<'_>, flags: PollFlags, deadline: Instant) -> Result<(), Fault> {
        loop {
            if self.poll(Some((socket, flags)), deadline)? {
                return Ok(());
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), Fault> {
        let deadline = Instant::now() + time;
        loop {
            match self.poll(None, deadline) {
                Err(Fault::TimedOut) => return Ok(()),
                other => other?,
            };
        }
    }

    fn poll(&self, socket: Option<(BorrowedFd<'_>, PollFlags)>, deadline: Instant) -> Result<bool, Fault> {
        if self.cancelled.load(Ordering::Acquire) {
            return Err(Fault::Cancelled);
        }
        let left = deadline.checked_duration_since(Instant::now()).filter(|l| !l.is_zero());
        let left = left.ok_or(Fault::TimedOut)?.min(TICK);
        let left = Timespec {
            tv_sec: 0,
            tv_nsec: left.as_nanos() as _,
        };
        // The cancel comes first; a missing one is the socket (or stdin, unasked) twice.
        let cancel = self.cancel_fd.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let socket = socket.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags));
        let has_cancel = cancel.is_some();
        let mut fds: Vec<PollFd<'_>> = cancel.into_iter().chain(socket).collect();
        match poll(&mut fds, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Fault::Io(e.into())),
        }
        let is_ready = |fd: Option<&PollFd<'_>>| fd.is_some_and(|fd| !fd.revents().is_empty());
        if has_cancel && is_ready(fds.first()) {
            return Err(Fault::Cancelled);
        }
        Ok(is_ready(fds.get(usize::from(has_cancel))))
    }
}

/// A connection.
pub(crate) struct Conn {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Conn {
    pub(crate) fn open(
        url: &Url,
        tls: impl FnOnce() -> Result<Arc<ClientConfig>, Fault>,
        deadline: Instant,
        wait: &Wait<'_>,
    ) -> Result<Self, Fault> {
        let mut last = Fault::Wrong(format!("{} has no address", url.host));
        for address in resolve(url, deadline, wait)? {
            match connect(address, deadline, wait) {
                Ok(tcp) => {
                    let mut conn = Self { tcp, tls: None };
                    if url.tls {
                        conn.secure(&url.host, tls()?, deadline, wait)?;
                    }
                    return Ok(conn);
                }
                Err(Fault::Cancelled) => return Err(Fault::Cancelled),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    fn secure(&mut self, host: &str, config: Arc<ClientConfig>, deadline: Instant, wait: &Wait<'_>) -> Result<(), Fault> {
        let name = ServerName::try_from(host.to_owned()).map_err(|e| Fault::Wrong(e.to_string()))?;
        let client = ClientConnection::new(config, name).map_err(|e| Fault::Wrong(e.to_string()))?;
        self.tls = Some(Box::new(client));
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            self.flush_tls(deadline, wait)?;
            if self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) && !self.fill_tls(deadline, wait)? {
                return Err(Fault::Wrong("the server ended the TLS handshake".into()));
            }
        }
        self.flush_tls(deadline, wait)
    }

    /// Reads what is there, at least one byte; 0 = the end.
    pub(crate) fn read(&mut self, buf: &mut [u8], deadline: Instant, wait: &Wait<'_>) -> Result<usize, Fault> {
        loop {
            let read = match &mut self.tls {
                None => self.tcp.read(buf),
                Some(tls) => tls.reader().read(buf),
            };
            match read {
                Ok(n) => return Ok(n),
                // A server that hangs up without a close_notify: whether something is missing, the framing knows.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if self.tls.is_some() {
                        self.flush_tls(deadline, wait)?;
                        self.fill_tls(deadline, wait)?;
                    } else {
                        wait.ready(self.tcp.as_fd(), PollFlags::IN, deadline)?;
                    }
                }
                Err(e) => return Err(Fault::Io(e)),
            }
        }
    }

    pub(crate) fn write_all(&mut self, mut bytes: &[u8], deadline: Instant, wait: &Wait<'_>) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let written = match &mut self.tls {
                None => self.tcp.write(bytes),
                Some(tls) => tls.writer().write(bytes),
            };
            match written {
                Ok(0) if self.tls.is_none() => return Err(Fault::Io(ErrorKind::WriteZero.into())),
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => wait.ready(self.tcp.as_fd(), PollFlags::OUT, deadline)?,
                Err(e) => return Err(Fault::Io(e)),
            }
            self.flush_tls(deadline, wait)?;
        }
        Ok(())
    }

    /// Idle, open, and nothing unasked has come.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        matches!(self.tcp.peek(&mut byte), Err(e) if e.kind() == ErrorKind::WouldBlock)
    }

    fn flush_tls(&mut self, deadline: Instant, wait: &Wait<'_>) -> Result<(), Fault> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            match tls.write_tls(&mut self.tcp) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => wait.ready(self.tcp.as_fd(), PollFlags::OUT, deadline)?,
                Err(e) => return Err(Fault::Io(e)),
            }
        }
        Ok(())
    }

    /// Takes in what the far side sent; false at its end.
    fn fill_tls(&mut self, deadline: Instant, wait: &Wait<'_>) -> Result<bool, Fault> {
        let Some(tls) = &mut self.tls else { return Ok(false) };
        loop {
            match tls.read_tls(&mut self.tcp) {
                Ok(n) => {
                    let checked = tls.process_new_packets().map(drop);
                    if let Err(e) = checked {
                        // The alert, as far as it goes without waiting.
                        if let Err(e) = tls.write_tls(&mut self.tcp) {
                            drop(e);
                        }
                        return Err(Fault::Wrong(tls_words(&e)));
                    }
                    return Ok(n > 0);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => wait.ready(self.tcp.as_fd(), PollFlags::IN, deadline)?,
                Err(e) => return Err(Fault::Io(e)),
            }
        }
    }
}

/// What the library says in one word a person needs in a sentence.
fn tls_words(error: &rustls::Error) -> String {
    use rustls::{CertificateError as Bad, Error};
    match error {
        Error::InvalidCertificate(Bad::UnknownIssuer) => {
            "its certificate is signed by nobody who is trusted here: set ca-file to the PEM of its authority".into()
        }
        Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "its certificate is for another name than the one in url".into()
        }
        Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => "its certificate has expired".into(),
        Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "its certificate is not valid yet: is this machine's clock right?".into()
        }
        Error::InvalidMessage(_) => format!("it does not speak TLS ({error}): is it http:// that is meant?"),
        _ => format!("TLS: {error}"),
    }
}

/// The addresses of a host. Names are looked up by a thread that nobody has to wait for.
fn resolve(url: &Url, deadline: Instant, wait: &Wait<'_>) -> Result<Vec<SocketAddr>, Fault> {
    if let Ok(ip) = url.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, url.port)]);
    }
    let (found, answer) = mpsc::channel();
    let name = (url.host.clone(), url.port);
    std::thread::Builder::new().name("tts-http-dns".into()).spawn(move || {
        let addresses = name.to_socket_addrs().map(|all| all.collect::<Vec<_>>());
        // Nobody waits any more: the answer is not needed.
        drop(found.send(addresses));
    })?;
    loop {
        match answer.recv_timeout(Duration::from_millis(2)) {
            Ok(Ok(addresses)) => return Ok(addresses),
            Ok(Err(e)) => return Err(Fault::Wrong(format!("the name {:?} is not found: {e}", url.host))),
            Err(RecvTimeoutError::Disconnected) => return Err(Fault::Wrong("the look-up of the name failed".into())),
            Err(RecvTimeoutError::Timeout) => {}
        }
        wait.pause(Duration::from_micros(100))?;
        if Instant::now() >= deadline {
            return Err(Fault::TimedOut);
        }
    }
}

fn connect(address: SocketAddr, deadline: Instant, wait: &Wait<'_>) -> Result<TcpStream, Fault> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None).map_err(io::Error::from)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => {}
        Err(rustix::io::Errno::INPROGRESS) => {
            wait.ready(socket.as_fd(), PollFlags::OUT, deadline)?;
            rustix::net::sockopt::socket_error(&socket)
                .map_err(io::Error::from)?
                .map_err(io::Error::from)?;
        }
        Err(e) => return Err(Fault::Io(e.into())),
    }
    let tcp = TcpStream::from(socket);
    tcp.set_nodelay(true)?;
    Ok(tcp)
}
