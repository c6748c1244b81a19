//! A private JACK server (dummy driver) on a `/dev/shm` of its own.
//!
//! JACK keeps at most eight servers in one `/dev/shm`, and a server that was killed leaves its slot and its segments there. So each
//! world has a mount namespace with an empty `/dev/shm`: any number of servers side by side, and nothing left over after `kill -9`.
//! What talks to the server (the daemon, the ear, JACK's tools) is started through [`Jack::command`], which enters that namespace and
//! sets `JACK_DEFAULT_SERVER` for that child alone. Where namespaces are forbidden the plain `/dev/shm` serves.
//!
//! The graph is synchronous (`-S`): an xrun then delays a period instead of dropping it, and a recording stays exact to the sample, as
//! long as no client is kept from running for ten times the client timeout (`-t`): then the server goes on without it. By default that
//! is twenty periods, which a neighbour on a shared machine takes from us now and then; here it is 0.2 s. Longer does harm: a client that dies
//! in mid-cycle holds the server up for that long, and the daemon takes a server that does not answer for wedged.

use crate::clock::{PATIENCE, until};
use crate::process::Process;
use crate::tempdir::TempDir;
use rustix::process::Signal;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Clone, Copy, Debug)]
pub struct JackOptions {
    pub rate: u32,
    pub period: u32,
}

impl Default for JackOptions {
    fn default() -> Self {
        JackOptions { rate: 48_000, period: 256 }
    }
}

pub struct Jack {
    name: String,
    options: JackOptions,
    server: Option<Process>,
    synchronous: bool,
    has_capture: bool,
    shm: Shm,
    dir: TempDir,
}

/// What a program that people start needs and does not find.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Missing {
    Server,
    /// No physical port to play to.
    Loudspeaker,
    /// No physical port to hear from.
    Microphone,
}

impl Jack {
    /// A running server.
    pub fn start(options: JackOptions) -> Jack {
        let mut jack = Jack::absent(options);
        jack.launch();
        jack
    }

    /// The place for a server that does not run yet.
    pub fn absent(options: JackOptions) -> Jack {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("utterd-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Jack {
            name,
            options,
            server: None,
            synchronous: true,
            has_capture: true,
            shm: Shm::new(),
            dir: TempDir::new("jack"),
        }
    }

    /// The server that runs already, the machine's user's own: for programs that people start. Whatever its library is (PipeWire's, inside
    /// `pw-jack`), it is asked through it. What is missing is said.
    pub fn of_user() -> Result<Jack, Missing> {
        let name = std::env::var("JACK_DEFAULT_SERVER").unwrap_or_else(|_| "default".into());
        let (client, _) = jack::Client::new("utterd-look", jack::ClientOptions::NO_START_SERVER).map_err(|_| Missing::Server)?;
        let physical = |flags| client.ports(None, Some("32 bit float mono audio"), jack::PortFlags::IS_PHYSICAL | flags);
        if physical(jack::PortFlags::IS_INPUT).is_empty() {
            return Err(Missing::Loudspeaker);
        }
        if physical(jack::PortFlags::IS_OUTPUT).is_empty() {
            return Err(Missing::Microphone);
        }
        let options = JackOptions {
            rate: client.sample_rate(),
            period: client.buffer_size(),
        };
        Ok(Jack {
            name,
            options,
            server: None,
            synchronous: false,
            has_capture: true,
            shm: Shm {
                holder: None,
                user_namespace: false,
            },
            dir: TempDir::new("jack"),
        })
    }

    pub fn rate(&self) -> u32 {
        self.options.rate
    }

    pub fn period(&self) -> u32 {
        self.options.period
    }

    /// A period in microseconds, rounded up.
    pub fn period_us(&self) -> u64 {
        (u64::from(self.options.period) * 1_000_000).div_ceil(u64::from(self.options.rate))
    }

    /// A command whose program meets this server, and no other one.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.shm.command(program.as_ref());
        command.env("JACK_DEFAULT_SERVER", &self.name).env("JACK_NO_START_SERVER", "1");
        command
    }

    /// Starts the server (again), with the options it has now.
    pub fn launch(&mut self) {
        self.spawn();
        self.wait_ready();
    }

    /// Starts the server without waiting until it answers.
    pub fn spawn(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let mut command = self.shm.command(OsStr::new("jackd"));
        command.args(["--port-max", "64", "-t", "20", "-n", &self.name, realtime_flag()]);
        if self.synchronous {
            command.arg("-S");
        }
        command.args(["-d", "dummy"]);
        if !self.has_capture {
            command.args(["-C", "0"]);
        }
        command.args(["-r", &self.options.rate.to_string(), "-p", &self.options.period.to_string()]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log));
        self.server = Some(Process::spawn("jackd", &mut command));
    }

    pub fn wait_ready(&mut self) {
        let ready = until(PATIENCE, || {
            let mut wait = self.command("jack_wait");
            wait.args(["-w", "-t", "2"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            wait.status()
                .unwrap_or_else(|e| panic!("cannot run jack_wait (package jackd2): {e}"))
                .success()
                .then_some(())
        });
        assert!(
            ready.is_some(),
            "jackd does not answer; its log:\n{}",
            std::fs::read_to_string(self.log()).unwrap_or_default()
        );
    }

    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("the server runs").pid()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// SIGTERM.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.stop();
        }
    }

    pub fn freeze(&self) {
        self.server.as_ref().expect("the server runs").signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.server.as_ref().expect("the server runs").signal(Signal::CONT);
    }

    /// From the next launch on the graph is asynchronous, as servers are by default: an xrun drops a period then.
    pub fn asynchronous(&mut self) {
        self.synchronous = false;
    }

    /// From the next launch on the server itself captures nothing: who brings a microphone is a client (mic.rs).
    pub fn without_capture(&mut self) {
        self.has_capture = false;
    }

    /// Other options from the next launch on.
    pub fn set_options(&mut self, options: JackOptions) {
        self.options = options;
    }

    /// All ports that the server has now.
    pub fn ports(&self) -> Vec<String> {
        let out = self.command("jack_lsp").stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
    }

    /// Every port with what it is connected to.
    pub fn graph(&self) -> String {
        let out = self.command("jack_lsp").arg("-c").stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// What a port is connected to.
    pub fn connections(&self, port: &str) -> Vec<String> {
        let graph = self.graph();
        let of_port = graph.lines().skip_while(|line| *line != port).skip(1);
        of_port
            .take_while(|line| line.starts_with(' '))
            .map(|line| line.trim().to_owned())
            .collect()
    }

    fn log(&self) -> PathBuf {
        self.dir.join("jackd.log")
    }
}

/// `-R` where SCHED_FIFO is allowed. Without it a period of 5 ms was seen to take 45 under load.
pub fn realtime_flag() -> &'static str {
    static FLAG: std::sync::OnceLock<&str> = std::sync::OnceLock::new();
    FLAG.get_or_init(|| {
        let mut probe = Command::new("chrt");
        probe
            .args(["-f", "10", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if probe.status().is_ok_and(|s| s.success()) { "-R" } else { "-r" }
    })
}

/// The words that begin a command in a mount namespace of its own.
pub fn mount_namespace() -> Vec<&'static str> {
    let mut words = vec!["unshare", "--mount", "--propagation", "private"];
    if !rustix::process::geteuid().is_root() {
        // The uid stays what it is: D-Bus compares it with the one that the kernel sees.
        words.extend(["--map-current-user", "--keep-caps"]);
    }
    words
}

/// A mount namespace with a `/dev/shm` of its own, held open by a child that ends when its standard input does.
struct Shm {
    holder: Option<Process>,
    user_namespace: bool,
}

impl Shm {
    fn new() -> Shm {
        let root = rustix::process::geteuid().is_root();
        let mut unshare = Command::new("unshare");
        unshare
            .args(&mount_namespace()[1..])
            .args(["sh", "-c"])
            .arg("mount -t tmpfs -o mode=1777 utterd-shm /dev/shm && echo up && exec cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut holder = Process::spawn("unshare", &mut unshare);
        let mut line = String::new();
        let answered = BufReader::new(holder.child().stdout.take().unwrap()).read_line(&mut line).is_ok();
        if answered && line.trim() == "up" {
            return Shm {
                holder: Some(holder),
                user_namespace: !root,
            };
        }
        eprintln!("no mount namespace here: JACK servers share /dev/shm (at most eight at a time)");
        Shm {
            holder: None,
            user_namespace: false,
        }
    }

    /// nsenter replaces itself by the program, so the child's pid is the program's.
    fn command(&self, program: &OsStr) -> Command {
        let Some(holder) = &self.holder else {
            return Command::new(program);
        };
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(holder.pid().to_string()).arg("--mount");
        if self.user_namespace {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--").arg(program);
        command
    }
}
