//! A whole world in one line: bus, JACK, daemon, ear and a client, ended in the right order.

use crate::bus::Bus;
use crate::client::{Client, Options, Session};
use crate::clock::{let_pass, now_us};
use crate::daemon::{Daemon, Plan};
use crate::ear::Ear;
use crate::jack::{Jack, JackOptions};
use crate::opts;
use crate::recording::Recording;
use std::time::Duration;

/// The backends as the options name them.
pub const TONE: &str = "tts-tone";
pub const ESPEAK: &str = "tts-espeak-ng";

/// The fields are dropped in this order: who uses a thing goes before it.
pub struct World {
    pub client: Client,
    pub ear: Ear,
    pub daemon: Daemon,
    pub jack: Jack,
    pub bus: Bus,
}

impl World {
    /// 48 kHz, 256 frames, both plugins.
    #[track_caller]
    pub fn start() -> World {
        World::with(JackOptions::default(), &Plan::default())
    }

    #[track_caller]
    pub fn with(options: JackOptions, plan: &Plan) -> World {
        let bus = Bus::start();
        let jack = Jack::start(options);
        let ear = Ear::start(&jack);
        let daemon = Daemon::start(&bus, Some(&jack), plan);
        let client = daemon.client();
        client.wait_manager_text("DriverState", "running");
        ear.wait_connected();
        World {
            client,
            ear,
            daemon,
            jack,
            bus,
        }
    }

    /// A session that speaks with the voice whose samples tell whose they are.
    #[track_caller]
    pub fn tone_session(&self, id: &str) -> Session {
        self.client
            .open(id, opts! { "backend" => TONE, "voice" => "tone-id" })
            .unwrap_or_else(|e| panic!("OpenSession: {e}"))
    }

    /// A session that speaks with espeak-ng.
    #[track_caller]
    pub fn espeak_session(&self, id: &str, more: Options) -> Session {
        let mut options = opts! { "backend" => ESPEAK };
        options.extend(more);
        self.client.open(id, options).unwrap_or_else(|e| panic!("OpenSession: {e}"))
    }

    /// What was heard, once everything that the daemon has handed to JACK by now has passed.
    pub fn heard(&self) -> Recording {
        self.ear.heard_until(now_us() + 4 * self.jack.period_us() + 10_000)
    }

    /// Lets real time pass.
    pub fn for_ms(&self, ms: u64) {
        let_pass(Duration::from_millis(ms));
    }

    /// What a cut or a pause may need at most: a period and the 5 ms of the ramp.
    pub fn a_period_and_5_ms(&self) -> u64 {
        self.jack.period_us() + 5_000
    }
}

/// A daemon on the timer driver: nothing is heard, everything else is as with JACK.
pub struct Quiet {
    pub client: Client,
    pub daemon: Daemon,
    pub bus: Bus,
}

impl Quiet {
    #[track_caller]
    pub fn start() -> Quiet {
        Quiet::with(&Plan {
            driver: "timer",
            ..Plan::default()
        })
    }

    #[track_caller]
    pub fn with(plan: &Plan) -> Quiet {
        let bus = Bus::start();
        let daemon = Daemon::start(&bus, None, plan);
        let client = daemon.client();
        Quiet { client, daemon, bus }
    }

    #[track_caller]
    pub fn tone_session(&self, id: &str) -> Session {
        self.client
            .open(id, opts! { "backend" => TONE, "voice" => "tone" })
            .unwrap_or_else(|e| panic!("OpenSession: {e}"))
    }
}
