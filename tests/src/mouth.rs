//! Drives the mouth (`src/bin/mouth.rs`): users who speak into the daemon's microphone, alone or in a room that brings the agent's voice back.

use crate::ear::OUT;
use crate::helper::Helper;
use crate::jack::Jack;
use crate::room::Echo;
use crate::tempdir::TempDir;

/// The daemon's microphone.
pub const IN: &str = "utterd:in_1";

pub struct Mouth {
    helper: Helper,
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
        Mouth::with(jack, &[samples], client, None, 0.0)
    }

    /// A room: several voices, and the agent's own from `utterd:out_1`, late and softer. Returns once the echo runs.
    pub fn in_room(jack: &Jack, voices: &[&[f32]], echo: Echo) -> Mouth {
        Mouth::with(jack, voices, "mouth", Some(echo), 0.0)
    }

    /// The same with the noise that no real microphone is without, at this level.
    pub fn in_live_room(jack: &Jack, voices: &[&[f32]], echo: Echo, noise_dbfs: f32) -> Mouth {
        // White noise of amplitude a has an RMS of a / √3.
        let amplitude = 3f32.sqrt() * 10f32.powf(noise_dbfs / 20.0);
        Mouth::with(jack, voices, "mouth", Some(echo), amplitude)
    }

    fn with(jack: &Jack, voices: &[&[f32]], client: &str, echo: Option<Echo>, noise: f32) -> Mouth {
        let dir = TempDir::new("mouth");
        let mut files = Vec::new();
        for (n, samples) in voices.iter().enumerate() {
            let file = dir.join(&format!("voice-{n}.f32"));
            let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
            std::fs::write(&file, bytes).unwrap();
            files.push(file);
        }
        let taps = echo.map(|echo| {
            let taps = echo.taps(jack.rate());
            assert!(
                taps[0].0 >= jack.period() as usize,
                "{echo:?} is shorter than the period that JACK's loop takes"
            );
            let taps: Vec<String> = taps.iter().map(|(frames, gain)| format!("{frames}:{gain}")).collect();
            taps.join(",")
        });
        let helper = Helper::spawn("mouth", jack, &dir, |command| {
            command.args([IN, client]).args(files);
            if let Some(taps) = taps {
                command.args(["--echo", OUT, &taps, &noise.to_string()]);
            }
        });
        let mouth = Mouth {
            helper,
            plays: 0,
            _dir: dir,
        };
        mouth.helper.wait_said("ready", 0);
        if echo.is_some() {
            mouth.helper.wait_said("echoing", 0);
        }
        mouth
    }

    pub fn wait_connected(&self) {
        self.helper.wait_said("connected", 0);
    }

    /// Begins to speak; the time of the first sample (CLOCK_MONOTONIC us).
    pub fn play(&mut self) -> u64 {
        self.play_voice(0).us
    }

    /// Begins with this voice; those that speak already go on.
    pub fn play_voice(&mut self, voice: usize) -> Began {
        self.helper.tell(&format!("play {voice}"));
        let line = self.helper.wait_said("playing", self.plays);
        self.plays += 1;
        let number = |n| line.split(' ').nth(n).and_then(|w| w.parse().ok()).unwrap();
        Began {
            frame: number(2),
            us: number(3),
        }
    }

    /// Waits for the last sample of all plays.
    pub fn wait_played(&self) {
        self.helper.wait_said("played", self.plays - 1);
    }
}
