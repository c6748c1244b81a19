//! Drives the mouth (`src/bin/mouth.rs`): a user who speaks into the daemon's microphone.

use crate::clock::{PATIENCE, until};
use crate::jack::Jack;
use crate::process::Process;
use crate::tempdir::TempDir;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Stdio};
use std::sync::{Arc, Mutex};

/// The daemon's microphone.
pub const IN: &str = "utterd:in_1";

pub struct Mouth {
    process: Process,
    stdin: Option<ChildStdin>,
    said: Arc<Mutex<Vec<String>>>,
    plays: usize,
    _dir: TempDir,
}

impl Mouth {
    /// One that is ready to say these samples at the server's rate.
    pub fn start(jack: &Jack, samples: &[f32]) -> Mouth {
        Mouth::named(jack, samples, "mouth")
    }

    pub fn named(jack: &Jack, samples: &[f32], client: &str) -> Mouth {
        let dir = TempDir::new("mouth");
        let file = dir.join("said.f32");
        let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        std::fs::write(&file, bytes).unwrap();
        let mut command = jack.command(crate::bins::helper("mouth"));
        command.arg(&file).args([IN, client]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::from(std::fs::File::create(dir.join("mouth.log")).unwrap()));
        let mut process = Process::spawn("mouth", &mut command);
        let stdin = process.child().stdin.take();
        let stdout = process.child().stdout.take().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let log = said.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                log.lock().unwrap().push(line);
            }
        });
        let mouth = Mouth {
            process,
            stdin,
            said,
            plays: 0,
            _dir: dir,
        };
        mouth.wait_said("ready", 0);
        mouth
    }

    pub fn wait_connected(&self) {
        self.wait_said("connected", 0);
    }

    /// Begins to speak; the time of the first sample (CLOCK_MONOTONIC us).
    pub fn play(&mut self) -> u64 {
        self.stdin.as_mut().unwrap().write_all(b"play\n").unwrap();
        let line = self.wait_said("playing", self.plays);
        self.plays += 1;
        line.split(' ').nth(2).unwrap().parse().unwrap()
    }

    /// JACK's frame at which the last play began.
    pub fn played_at_frame(&self) -> u64 {
        let line = self.wait_said("playing", self.plays - 1);
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Waits for the last sample of the last play.
    pub fn wait_played(&self) {
        self.wait_said("played", self.plays - 1);
    }

    /// The n-th line that begins with this word.
    fn wait_said(&self, word: &str, n: usize) -> String {
        let find = || {
            let said = self.said.lock().unwrap();
            said.iter().filter(|l| l.split(' ').next() == Some(word)).nth(n).cloned()
        };
        until(PATIENCE, find).unwrap_or_else(|| panic!("the mouth never said {word:?} but {:?}", self.said.lock().unwrap()))
    }
}

impl Drop for Mouth {
    fn drop(&mut self) {
        drop(self.stdin.take());
        if self.process.wait_exit(std::time::Duration::from_secs(2)).is_none() {
            self.process.kill();
        }
    }
}
