//! Garbage over the bus: bytes that no library would send, calls that no contract knows, clients that die or never read. What the bus
//! lets through the daemon answers; after each of them it still answers, and whoever was speaking speaks to the end.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use utterd_tests::client::{MANAGER, NAME, ROOT, Session};
use utterd_tests::clock::{PATIENCE, wait_for};
use utterd_tests::opts;
use utterd_tests::world::{Quiet, TONE};

/// A daemon, and a session that speaks while the garbage comes.
struct Target {
    quiet: Quiet,
    bystander: Session,
    spoken: u64,
}

impl Target {
    fn start() -> Target {
        let quiet = Quiet::start();
        let bystander = quiet.tone_session("bystander");
        let spoken = bystander.say("somebody speaks and does not notice what goes on around", opts! {});
        quiet.client.expect_started(spoken);
        Target { quiet, bystander, spoken }
    }

    fn raw(&self) -> Raw {
        Raw::connect(self.quiet.bus.address())
    }

    /// The daemon lives, answers newcomers, and the bystander is heard to the end; then speaks again, for the next garbage.
    #[track_caller]
    fn unharmed(&mut self, after: &str) {
        assert!(self.quiet.daemon.is_running(), "ended after {after}");
        let newcomer = self.quiet.daemon.client();
        assert!(!newcomer.manager_text("Version").is_empty(), "no answer after {after}");
        assert_eq!(self.bystander.wait(self.spoken).0, "completed", "after {after}");
        let other = newcomer
            .open("newcomer", opts! { "backend" => TONE, "lifetime" => "client" })
            .unwrap();
        let id = other.say("still here", opts! { "rate" => 10.0 });
        assert_eq!(other.wait(id).0, "completed", "after {after}");
        newcomer.disconnect();
        self.spoken = self.bystander.say("somebody speaks on, whatever comes next", opts! {});
        self.quiet.client.expect_started(self.spoken);
    }
}

/// A connection that sends what it is told to.
struct Raw {
    stream: UnixStream,
    serial: u32,
}

/// What came back: the error's name, or nothing when it was a success.
#[derive(Debug, PartialEq)]
enum Answer {
    Success,
    Error(String),
    /// The bus has closed the connection.
    Closed,
}

impl Raw {
    fn connect(address: &str) -> Raw {
        let path = address.strip_prefix("unix:path=").unwrap();
        let stream = UnixStream::connect(path.split(',').next().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Raw { stream, serial: 0 };
        let uid: String = rustix::process::getuid()
            .as_raw()
            .to_string()
            .bytes()
            .map(|b| format!("{b:02x}"))
            .collect();
        raw.send(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes());
        let mut byte = [0];
        while byte[0] != b'\n' {
            raw.stream.read_exact(&mut byte).unwrap();
        }
        raw.send(b"BEGIN\r\n");
        let bus = "org.freedesktop.DBus";
        let hello = raw.message(
            &[
                (1, b'o', "/org/freedesktop/DBus"),
                (2, b's', bus),
                (3, b's', "Hello"),
                (6, b's', bus),
            ],
            "",
            &[],
        );
        raw.send(&hello);
        assert_eq!(raw.answer(), Answer::Success);
        raw
    }

    /// A call of the manager.
    fn call(&mut self, member: &str, signature: &str, body: &[u8]) -> Vec<u8> {
        self.message(
            &[(1, b'o', ROOT), (2, b's', MANAGER), (3, b's', member), (6, b's', NAME)],
            signature,
            body,
        )
    }

    /// A method call with these header fields: code, type, text.
    fn message(&mut self, fields: &[(u8, u8, &str)], signature: &str, body: &[u8]) -> Vec<u8> {
        self.serial += 1;
        let mut list = Bytes::default();
        for (code, kind, text) in fields {
            list.align(8);
            list.0.extend([*code, 1, *kind, 0]);
            list.string(text.as_bytes());
        }
        if !signature.is_empty() {
            list.align(8);
            list.0.extend([8, 1, b'g', 0, signature.len() as u8]);
            list.0.extend(signature.bytes().chain([0]));
        }
        let mut message = Bytes(vec![b'l', 1, 0, 1]);
        message.number(body.len() as u32).number(self.serial).number(list.0.len() as u32);
        message.0.extend(list.0);
        message.align(8);
        message.0.extend(body);
        message.0
    }

    /// Sends; a bus that has hung up is no surprise here.
    fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.stream.write_all(bytes) {
            assert!(
                matches!(error.kind(), std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset),
                "{error}"
            );
        }
    }

    /// What the last message is answered with; signals are skipped.
    fn answer(&mut self) -> Answer {
        loop {
            let mut head = [0; 16];
            if self.stream.read_exact(&mut head).is_err() {
                return Answer::Closed;
            }
            let number = |at: usize, from: &[u8]| u32::from_le_bytes(from[at..at + 4].try_into().unwrap());
            let fields = number(12, &head).next_multiple_of(8) as usize;
            let mut rest = vec![0; fields + number(4, &head) as usize];
            self.stream.read_exact(&mut rest).unwrap();
            let (mut at, mut error, mut to) = (0, None, 0);
            while at + 4 < number(12, &head) as usize {
                let (code, kind) = (rest[at], rest[at + 2]);
                at += 4;
                at = match kind {
                    b'g' => at + 2 + rest[at] as usize,
                    b'u' => {
                        to = if code == 5 { number(at, &rest) } else { to };
                        at + 4
                    }
                    _ => {
                        let end = at + 4 + number(at, &rest) as usize;
                        if code == 4 {
                            error = Some(String::from_utf8(rest[at + 4..end].to_vec()).unwrap());
                        }
                        end + 1
                    }
                };
                at = at.next_multiple_of(8);
            }
            match (head[1], error) {
                (2, _) if to == self.serial => return Answer::Success,
                (3, Some(name)) if to == self.serial => return Answer::Error(name.rsplit('.').next().unwrap().to_owned()),
                _ => {}
            }
        }
    }

    fn ask(&mut self, member: &str, signature: &str, body: &[u8]) -> Answer {
        let call = self.call(member, signature, body);
        self.send(&call);
        self.answer()
    }
}

/// D-Bus marshalling, little endian.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn align(&mut self, to: usize) -> &mut Bytes {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
        self
    }

    fn number(&mut self, n: u32) -> &mut Bytes {
        self.align(4).0.extend(n.to_le_bytes());
        self
    }

    fn string(&mut self, text: &[u8]) -> &mut Bytes {
        self.number(text.len() as u32).0.extend(text);
        self.0.push(0);
        self
    }

    /// An empty `a{sv}`.
    fn no_options(&mut self) -> &mut Bytes {
        self.number(0).align(8)
    }

    /// An `a{sv}` with one text in it.
    fn option(&mut self, key: &str, text: &str) -> &mut Bytes {
        let mut entry = Bytes::default(); // Its place is aligned to 8, so what is inside is aligned as if alone.
        entry.string(key.as_bytes());
        entry.0.extend([1, b's', 0]);
        entry.string(text.as_bytes());
        self.number(entry.0.len() as u32).align(8).0.extend(entry.0);
        self
    }
}

/// `Say(session, text, {})` of the manager.
fn say(session: &str, text: &[u8]) -> Vec<u8> {
    let mut body = Bytes::default();
    body.string(session.as_bytes()).string(text).no_options();
    body.0
}

#[test]
fn what_is_no_text_never_arrives() {
    let mut target = Target::start();
    let texts: [(&str, &[u8]); 5] = [
        ("invalid UTF-8", b"caf\xe9 \xff\xfe"),
        ("an overlong slash", b"\xc0\xaf"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("a NUL", b"before\0after"),
        ("half a character at the end", b"end \xf0\x9f\x98"),
    ];
    for (what, text) in texts {
        // The raw client is right about everything but the text.
        assert_eq!(target.raw().ask("Say", "ssa{sv}", &say("bystander", b"well")), Answer::Success);
        let answer = target.raw().ask("Say", "ssa{sv}", &say("bystander", text));
        assert_ne!(answer, Answer::Success, "{what}");
        target.unharmed(what);
    }
}

#[test]
fn bodies_that_are_not_what_they_say_are_refused() {
    let mut target = Target::start();
    let good = say("bystander", b"words");
    for signature in ["su", "s", "", "a{sv}", "ssa{ss}", "sst", "ssv", "ssa{sv}s", "(ss)", "ay"] {
        let answer = target.raw().ask("Say", signature, if signature.is_empty() { &[] } else { &good });
        assert_ne!(answer, Answer::Success, "{signature:?}");
    }
    target.unharmed("wrong signatures with another body");
    let mut number = Bytes::default();
    number.string(b"bystander").number(7);
    assert_eq!(target.raw().ask("Say", "su", &number.0), Answer::Error("InvalidArgs".into()));
    assert_eq!(target.raw().ask("Say", "", &[]), Answer::Error("InvalidArgs".into()));
    target.unharmed("a signature that is none of Say's");

    for cut in [1, 4, 9, good.len() - 4] {
        let mut raw = target.raw();
        let call = raw.call("Say", "ssa{sv}", &good);
        raw.send(&call[..call.len() - cut]);
    }
    target.unharmed("truncated messages");
    let mut raw = target.raw();
    let mut call = raw.call("Say", "ssa{sv}", &good);
    let at = call.len() - good.len();
    call[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    raw.send(&call);
    assert_eq!(raw.answer(), Answer::Closed, "a string longer than its message");
    target.unharmed("a string longer than its message");
    let mut raw = target.raw();
    raw.send(&[0xff; 4096]);
    assert_eq!(raw.answer(), Answer::Closed);
    target.unharmed("bytes that are no message");
}

#[test]
fn unknown_members_and_huge_headers_are_refused() {
    let mut target = Target::start();
    let mut raw = target.raw();
    for n in 0..100 {
        assert_eq!(raw.ask(&format!("Unknown{n}"), "", &[]), Answer::Error("UnknownMethod".into()));
    }
    target.unharmed("100 unknown members");
    let long = "x".repeat(255);
    assert_eq!(target.raw().ask(&long, "", &[]), Answer::Error("UnknownMethod".into()));
    assert_ne!(target.raw().ask(&"x".repeat(300_000), "", &[]), Answer::Success);
    let path = format!("/{}", "deep/".repeat(20_000).trim_end_matches('/'));
    let mut raw = target.raw();
    let call = raw.message(&[(1, b'o', &path), (2, b's', MANAGER), (3, b's', "Say"), (6, b's', NAME)], "", &[]);
    raw.send(&call);
    assert_eq!(raw.answer(), Answer::Error("UnknownObject".into()));
    target.unharmed("huge header fields");
}

#[test]
fn the_longest_text_that_fits_a_message_is_refused() {
    let mut target = Target::start();
    let text = vec![b'a'; 64 << 20];
    let answer = target.raw().ask("Say", "ssa{sv}", &say("bystander", &text));
    assert!(
        [Answer::Error("LimitExceeded".into()), Answer::Closed].contains(&answer),
        "{answer:?}"
    );
    target.unharmed("a text of 64 MiB");
    let mut raw = target.raw();
    assert_eq!(
        raw.ask("Say", "ssa{sv}", &say(&"s".repeat(1 << 20), b"who?")),
        Answer::Error("InvalidSession".into()),
        "a session's name of 1 MiB"
    );
    target.unharmed("a name of 1 MiB");
}

#[test]
fn thousands_of_calls_from_clients_that_die_in_the_middle_leave_nothing() {
    let mut target = Target::start();
    for round in 0..3 {
        let flood = |n: usize| {
            let mut raw = target.raw();
            let name = format!("flood{round}n{n}");
            let mut open = Bytes::default();
            open.string(name.as_bytes()).option("lifetime", "client");
            let open = raw.call("OpenSession", "sa{sv}", &open.0);
            raw.send(&open);
            for _ in 0..100 {
                let one = raw.call("Say", "ssa{sv}", &say(&name, b"never to be heard"));
                raw.send(&one);
                let mut all = Bytes::default();
                all.string(name.as_bytes()).no_options();
                let two = raw.call("Cancel", "sa{sv}", &all.0);
                raw.send(&two);
            }
            let last = raw.call("Say", "ssa{sv}", &say(&name, b"cut off"));
            raw.send(&last[..last.len() / 2]);
        };
        std::thread::scope(|threads| (0..16).for_each(|n| drop(threads.spawn(move || flood(n)))));
        wait_for("the sessions of the dead to be closed", || {
            !target.quiet.client.introspect(&format!("{ROOT}/session")).contains("flood")
        });
        let opened = target.quiet.daemon.log_lines(&format!("session opened session=flood{round}")).len();
        assert!(opened > 0, "the flood never arrived");
        target.unharmed("a flood");
    }
}

#[test]
fn a_client_that_never_reads_holds_nobody_up() {
    let mut target = Target::start();
    let mut deaf = target.raw();
    let rule = format!("type='signal',sender='{NAME}'");
    let mut body = Bytes::default();
    body.string(rule.as_bytes());
    let bus = "org.freedesktop.DBus";
    let fields = [
        (1, b'o', "/org/freedesktop/DBus"),
        (2, b's', bus),
        (3, b's', "AddMatch"),
        (6, b's', bus),
    ];
    let watch = deaf.message(&fields, "s", &body.0);
    deaf.send(&watch);
    // Answers and signals pile up for it, far beyond what its socket holds.
    for _ in 0..3000 {
        let ask = deaf.call("ListVoices", "a{sv}", &Bytes::default().no_options().0);
        deaf.send(&ask);
    }
    let talker = target.quiet.tone_session("talker");
    for _ in 0..200 {
        let id = talker.say("one two three four five six seven eight nine ten", opts! { "progress" => "word" });
        talker.cancel(opts! { "utterance" => id });
    }
    target.unharmed("a client that does not read");
    drop(deaf);
    target.unharmed("its end");
}
