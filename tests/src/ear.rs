//! Drives the ear (`src/bin/ear.rs`): starts it beside the daemon, waits for what it says, and reads what it has written so far.

use crate::clock::{PATIENCE, now_us, until};
use crate::jack::Jack;
use crate::process::Process;
use crate::recording::Recording;
use crate::tempdir::TempDir;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{ChildStdin, Stdio};
use std::sync::{Arc, Mutex};

/// The port that the scenarios listen to.
pub const OUT: &str = "utterd:out_1";

pub struct Ear {
    process: Process,
    stdin: Option<ChildStdin>,
    said: Arc<Mutex<Vec<String>>>,
    prefix: PathBuf,
    rate: u32,
    _dir: TempDir,
}

impl Ear {
    /// An ear that is ready and listens to the daemon's first port as soon as that exists.
    pub fn start(jack: &Jack) -> Ear {
        let mut ear = Ear::spawn(jack, OUT, "ear");
        ear.wait_ready();
        ear
    }

    /// Starts an ear without waiting for the server, which may not run yet.
    pub fn spawn(jack: &Jack, source: &str, client: &str) -> Ear {
        let dir = TempDir::new("ear");
        let prefix = dir.join("heard");
        let mut command = jack.command(crate::bins::helper("ear"));
        command
            .arg(&prefix)
            .arg(source)
            .arg(client)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command.stderr(Stdio::from(std::fs::File::create(dir.join("ear.log")).unwrap()));
        let mut process = Process::spawn("ear", &mut command);
        let stdin = process.child().stdin.take();
        let stdout = process.child().stdout.take().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let log = said.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                log.lock().unwrap().push(line);
            }
        });
        Ear {
            process,
            stdin,
            said,
            prefix,
            rate: jack.rate(),
            _dir: dir,
        }
    }

    pub fn wait_ready(&mut self) {
        let ready = self.wait_said("ready");
        self.rate = ready.split(' ').nth(1).and_then(|r| r.parse().ok()).unwrap_or(self.rate);
    }

    pub fn wait_connected(&self) {
        self.wait_said("connected");
    }

    /// The first line that begins with this word, as soon as it comes.
    fn wait_said(&self, word: &str) -> String {
        until(PATIENCE, || self.said().into_iter().find(|l| l.split(' ').next() == Some(word)))
            .unwrap_or_else(|| panic!("the ear never said {word:?} but {:?}", self.said()))
    }

    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    pub fn xruns(&self) -> usize {
        self.said().iter().filter(|l| l.starts_with("xrun")).count()
    }

    /// What was heard until now.
    pub fn snapshot(&self) -> Recording {
        Recording::read(&self.prefix, self.rate)
    }

    /// Waits until the recording has come to this moment (CLOCK_MONOTONIC us) and returns it.
    pub fn heard_until(&self, us: u64) -> Recording {
        until(PATIENCE, || {
            let heard = self.snapshot();
            (heard.end_us() >= us).then_some(heard)
        })
        .unwrap_or_else(|| {
            panic!(
                "the ear heard nothing up to {us} us (now {}): is JACK running? it said {:?}",
                now_us(),
                self.said()
            )
        })
    }

    /// Everything up to now, also what is just being written.
    pub fn heard(&self) -> Recording {
        self.heard_until(now_us())
    }

    /// Ends the recording and returns it.
    pub fn stop(mut self) -> Recording {
        drop(self.stdin.take());
        if self.process.wait_exit(PATIENCE).is_none() {
            self.process.kill();
        }
        self.snapshot()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        drop(self.stdin.take());
        if self.process.wait_exit(std::time::Duration::from_secs(2)).is_none() {
            self.process.kill();
        }
    }
}
