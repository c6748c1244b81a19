//! Drives the mouth (`src/bin/mouth.rs`): users who speak into the daemon's microphone, alone or in a room that brings the agent's voice back.

use crate::clock::{PATIENCE, until};
use crate::ear::OUT;
use crate::jack::Jack;
use crate::process::Process;
use crate::room::Echo;
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

/// The first sample of a voice: JACK's frame of it, and its moment (CLOCK_MONOTONIC us). The daemon's callback has it in that period, or in a
/// room in the next one: two clients that hear each other are a loop, and JACK makes a period of it.
#[derive(Clone, Copy, Debug)]
pub struct Began {
    pub frame: u64,
    pub us: u64,
}

impl Mouth {
    /// One that is ready to say these samples at the server's rate.
    pub fn start(jack: &Jack, samples: &[f32]) -> Mouth {
        Mouth::named(jack, samples, "mouth")
    }

    pub fn named(jack: &Jack, samples: &[f32], client: &str) -> Mouth {
        Mouth::with(jack, &[samples], client, None)
    }

    /// A room: several voices, and the agent's own from `utterd:out_1`, late and softer. Returns once the echo runs.
    pub fn in_room(jack: &Jack, voices: &[&[f32]], echo: Echo) -> Mouth {
        Mouth::with(jack, voices, "mouth", Some(echo))
    }

    fn with(jack: &Jack, voices: &[&[f32]], client: &str, echo: Option<Echo>) -> Mouth {
        let dir = TempDir::new("mouth");
        let mut command = jack.command(crate::bins::helper("mouth"));
        command.args([IN, client]).stdin(Stdio::piped()).stdout(Stdio::piped());
        for (n, samples) in voices.iter().enumerate() {
            let file = dir.join(&format!("voice-{n}.f32"));
            let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
            std::fs::write(&file, bytes).unwrap();
            command.arg(file);
        }
        if let Some(echo) = echo {
            let taps = echo.taps(jack.rate());
            assert!(
                taps[0].0 >= jack.period() as usize,
                "{echo:?} is shorter than the period that JACK's loop takes"
            );
            let taps: Vec<String> = taps.iter().map(|(frames, gain)| format!("{frames}:{gain}")).collect();
            command.args(["--echo", OUT, &taps.join(",")]);
        }
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
        if echo.is_some() {
            mouth.wait_said("echoing", 0);
        }
        mouth
    }

    pub fn wait_connected(&self) {
        self.wait_said("connected", 0);
    }

    /// Begins to speak; the time of the first sample (CLOCK_MONOTONIC us).
    pub fn play(&mut self) -> u64 {
        self.play_voice(0).us
    }

    /// Begins with this voice; those that speak already go on.
    pub fn play_voice(&mut self, voice: usize) -> Began {
        writeln!(self.stdin.as_mut().unwrap(), "play {voice}").unwrap();
        let line = self.wait_said("playing", self.plays);
        self.plays += 1;
        let number = |n| line.split(' ').nth(n).and_then(|w| w.parse().ok()).unwrap();
        Began {
            frame: number(2),
            us: number(3),
        }
    }

    /// Waits for the last sample of all plays.
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
