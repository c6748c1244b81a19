//! The real `utterd`, started as an operator would start it: a configuration file, a folder of plugins, a bus and a JACK server, all
//! of them private. Its log is a file, shown when the test that owns it panics.

use crate::bus::Bus;
use crate::client::{Client, NAME};
use crate::clock::{PATIENCE, until};
use crate::jack::Jack;
use crate::process::Process;
use crate::tempdir::TempDir;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// The plugins that most scenarios run with, by their crates.
pub const PLUGINS: &[&str] = &["utterd-tts-tone", "utterd-tts-espeak-ng"];

/// How the daemon is started; all of it has a default that serves most scenarios.
pub struct Plan {
    /// The configuration file's text.
    pub config: String,
    /// Crates whose `.so` are copied into the plugin folder.
    pub plugins: Vec<String>,
    pub driver: &'static str,
    /// Arguments beside those that the harness gives.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// A program, with arguments, that starts the daemon's (when there is no JACK server to enter the world of).
    pub wrapper: Vec<String>,
    /// What `RUST_LOG` says.
    pub log: String,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            config: String::new(),
            plugins: PLUGINS.iter().map(|p| (*p).to_owned()).collect(),
            driver: "jack",
            args: Vec::new(),
            env: Vec::new(),
            wrapper: Vec::new(),
            log: std::env::var("UTTERD_TEST_LOG").unwrap_or_else(|_| "info".into()),
        }
    }
}

pub struct Daemon {
    process: Process,
    dir: TempDir,
    address: String,
}

impl Daemon {
    /// Starts it and waits until it owns its name on the bus.
    #[track_caller]
    pub fn start(bus: &Bus, jack: Option<&Jack>, plan: &Plan) -> Daemon {
        let mut daemon = Daemon::spawn(bus.address(), jack, plan);
        let client = Client::connect(bus.address());
        let up = until(PATIENCE, || {
            if let Some(status) = daemon.process.exited() {
                panic!("utterd ended at once ({status}):\n{}", daemon.log());
            }
            name_has_owner(&client).then_some(())
        });
        assert!(up.is_some(), "utterd never took its bus name:\n{}", daemon.log());
        daemon
    }

    /// Starts it and waits for nothing.
    pub fn spawn(address: &str, jack: Option<&Jack>, plan: &Plan) -> Daemon {
        let dir = TempDir::new("daemon");
        let plugins = dir.join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        for package in &plan.plugins {
            let from = crate::bins::plugin(package);
            std::fs::copy(&from, plugins.join(from.file_name().unwrap())).unwrap();
        }
        std::fs::write(dir.join("utterd.toml"), &plan.config).unwrap();
        let log = std::fs::File::create(dir.join("utterd.log")).unwrap();
        let mut command = match jack {
            Some(jack) => jack.command(crate::bins::utterd()),
            None => match plan.wrapper.split_first() {
                Some((program, args)) => {
                    let mut command = Command::new(program);
                    command.args(args).arg(crate::bins::utterd());
                    command
                }
                None => Command::new(crate::bins::utterd()),
            },
        };
        command
            .arg("--config")
            .arg(dir.join("utterd.toml"))
            .arg("--plugin-dir")
            .arg(&plugins);
        command.args(["--bus-address", address, "--driver", plan.driver]).args(&plan.args);
        command.env("RUST_LOG", &plan.log).env("NO_COLOR", "1").env_remove("NOTIFY_SOCKET");
        command.envs(plan.env.iter().map(|(k, v)| (k, v)));
        if jack.is_none() {
            // A server of the machine's user is none of a test's business.
            command
                .env("JACK_DEFAULT_SERVER", "utterd-no-such-server")
                .env("JACK_NO_START_SERVER", "1");
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log));
        Daemon {
            process: Process::spawn("utterd", &mut command),
            dir,
            address: address.to_owned(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.address)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("utterd.log")).unwrap_or_default()
    }

    /// The log's lines that contain this.
    pub fn log_lines(&self, what: &str) -> Vec<String> {
        self.log().lines().filter(|l| l.contains(what)).map(str::to_owned).collect()
    }

    pub fn config_file(&self) -> PathBuf {
        self.dir.join("utterd.toml")
    }

    pub fn plugin_dir(&self) -> PathBuf {
        self.dir.join("plugins")
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn write_config(&self, text: &str) {
        std::fs::write(self.config_file(), text).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Still there?
    pub fn is_running(&mut self) -> bool {
        self.process.exited().is_none()
    }

    pub fn wait_exit(&mut self, deadline: std::time::Duration) -> Option<ExitStatus> {
        self.process.wait_exit(deadline)
    }

    /// SIGTERM, and the status it ends with.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.process.stop()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.stop();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(200);
            eprintln!(
                "---- the daemon's log (last {} lines) ----\n{}\n----",
                lines.len() - from,
                lines[from..].join("\n")
            );
        }
    }
}

/// Whether somebody owns the daemon's name.
pub fn name_has_owner(client: &Client) -> bool {
    let reply = client.connection().call_method(
        Some("org.freedesktop.DBus"),
        "/org/freedesktop/DBus",
        Some("org.freedesktop.DBus"),
        "NameHasOwner",
        &NAME,
    );
    reply.is_ok_and(|message| message.body().deserialize::<bool>().unwrap_or(false))
}

/// Runs utterd to its end and returns (exit code, everything it said); None when it does not end by the deadline.
pub fn run_to_end(args: &[&str], env: &[(&str, &str)], deadline: std::time::Duration) -> Option<(Option<i32>, String)> {
    let dir = TempDir::new("run");
    let log = std::fs::File::create(dir.join("out")).unwrap();
    let mut command = Command::new(crate::bins::utterd());
    command
        .args(args)
        .envs(env.iter().copied())
        .env_remove("NOTIFY_SOCKET")
        .env("NO_COLOR", "1");
    command
        .env("JACK_DEFAULT_SERVER", "utterd-no-such-server")
        .env("JACK_NO_START_SERVER", "1");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::from(log.try_clone().unwrap()))
        .stderr(Stdio::from(log));
    let mut process = Process::spawn("utterd", &mut command);
    let status = process.wait_exit(deadline)?;
    Some((status.code(), std::fs::read_to_string(dir.join("out")).unwrap_or_default()))
}
