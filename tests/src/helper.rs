//! The JACK clients of the harness that are programs of their own (`src/bin/ear.rs`, `src/bin/mouth.rs`): how one is driven, and what both need
//! inside. A helper says what happens on standard output, one word first, and ends with its standard input.

use crate::clock::{PATIENCE, until};
use crate::jack::Jack;
use crate::process::Process;
use crate::tempdir::TempDir;
use jack::{Client, ClientOptions};
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) struct Helper {
    name: &'static str,
    process: Process,
    stdin: Option<ChildStdin>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Helper {
    /// Starts it; its standard error goes to a file in `dir`.
    pub(crate) fn spawn(name: &'static str, jack: &Jack, dir: &TempDir, arguments: impl FnOnce(&mut Command)) -> Helper {
        let mut command = jack.command(crate::bins::helper(name));
        arguments(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::from(std::fs::File::create(dir.join(&format!("{name}.log"))).unwrap()));
        let mut process = Process::spawn(name, &mut command);
        let stdin = process.child().stdin.take();
        let stdout = process.child().stdout.take().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let log = said.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                log.lock().unwrap().push(line);
            }
        });
        Helper {
            name,
            process,
            stdin,
            said,
        }
    }

    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// The n-th line that begins with this word, as soon as it comes.
    pub(crate) fn wait_said(&self, word: &str, n: usize) -> String {
        let find = || self.said().into_iter().filter(|l| l.split(' ').next() == Some(word)).nth(n);
        until(PATIENCE, find).unwrap_or_else(|| panic!("the {} never said {word:?} but {:?}", self.name, self.said()))
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Ends it, at the latest after so long.
    pub(crate) fn end(&mut self, patience: Duration) {
        drop(self.stdin.take());
        if self.process.wait_exit(patience).is_none() {
            self.process.kill();
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.end(Duration::from_secs(2));
    }
}

/// In a helper: opens its client as soon as the server answers.
pub fn open(name: &str, patience: Duration) -> Client {
    let end = Instant::now() + patience;
    loop {
        match Client::new(name, ClientOptions::NO_START_SERVER) {
            Ok((client, _)) => return client,
            Err(e) if Instant::now() > end => {
                eprintln!("no JACK server for {name}: {e}");
                std::process::exit(1);
            }
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// In a helper: says what happened.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0); // Nobody listens any more.
    }
}
