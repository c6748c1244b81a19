//! TLS in front of a plain mock: a certificate authority of the test's own, the certificates it signs, and a door that speaks TLS with one of
//! them and passes what it hears on. It counts the handshakes that were completed, and can be told to fall silent in the middle of one.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};

/// How long one side of a connection is listened to before the other one is.
const TURN: Duration = Duration::from_millis(2);

/// Signs certificates; nobody but who is told its PEM trusts it.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Authority {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    /// Writes what has to be trusted.
    pub fn write_pem(&self, dir: &Path) -> PathBuf {
        let file = dir.join("ca.pem");
        std::fs::write(&file, self.issuer.pem()).unwrap();
        file
    }

    /// A server's certificate for these names (or addresses); `expired`: it was good once.
    fn certificate(&self, names: &[&str], expired: bool) -> ServerConfig {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }
}

/// What the door's certificate is good for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// 127.0.0.1 and localhost.
    Good,
    /// Another name.
    Elsewhere,
    /// A time that is over.
    Expired,
    /// It never comes: the door takes the connection and says nothing.
    Withheld,
}

struct Shared {
    config: Arc<ServerConfig>,
    withheld: bool,
    behind: SocketAddr,
    handshakes: AtomicUsize,
    stop: AtomicBool,
}

/// The door; it ends with its owner.
pub struct TlsDoor {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl TlsDoor {
    /// In front of `behind`.
    pub fn open(behind: SocketAddr, authority: &Authority, certificate: Certificate) -> TlsDoor {
        let names: &[&str] = match certificate {
            Certificate::Elsewhere => &["tts.example.org"],
            _ => &["127.0.0.1", "localhost"],
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            config: Arc::new(authority.certificate(names, certificate == Certificate::Expired)),
            withheld: certificate == Certificate::Withheld,
            behind,
            handshakes: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.stop.load(Ordering::Acquire) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                // How a connection ends is the business of who tests it.
                std::thread::spawn(move || serve(&shared, stream).unwrap_or(()));
            }
        });
        TlsDoor { shared, address }
    }

    /// `https://127.0.0.1:PORT` and this path.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// Handshakes that came to a good end.
    pub fn handshakes(&self) -> usize {
        self.shared.handshakes.load(Ordering::Acquire)
    }
}

impl Drop for TlsDoor {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(shared: &Shared, mut outside: TcpStream) -> std::io::Result<()> {
    while shared.withheld && !shared.stop.load(Ordering::Acquire) {
        std::thread::sleep(TURN);
    }
    let mut tls = ServerConnection::new(Arc::clone(&shared.config)).map_err(std::io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut outside)?;
    }
    shared.handshakes.fetch_add(1, Ordering::AcqRel);
    let mut inside = TcpStream::connect(shared.behind)?;
    for side in [&outside, &inside] {
        side.set_nodelay(true)?;
        side.set_read_timeout(Some(TURN))?;
    }
    let mut block = [0; 16_384];
    while !shared.stop.load(Ordering::Acquire) {
        // The first request may have come with the end of the handshake.
        loop {
            match tls.reader().read(&mut block) {
                Ok(0) => return inside.shutdown(Shutdown::Both),
                Ok(n) => inside.write_all(&block[..n])?,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        match tls.read_tls(&mut outside) {
            Ok(0) => return inside.shutdown(Shutdown::Both),
            Ok(_) => {
                tls.process_new_packets().map_err(std::io::Error::other)?;
            }
            Err(e) if is_later(&e) => {}
            Err(e) => return inside.shutdown(Shutdown::Both).and(Err(e)),
        }
        match inside.read(&mut block) {
            Ok(0) => {
                tls.send_close_notify();
                while tls.wants_write() {
                    tls.write_tls(&mut outside)?;
                }
                return Ok(());
            }
            Ok(n) => tls.writer().write_all(&block[..n])?,
            Err(e) if is_later(&e) => {}
            Err(e) => return Err(e),
        }
        while tls.wants_write() {
            tls.write_tls(&mut outside)?;
        }
    }
    Ok(())
}

fn is_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
