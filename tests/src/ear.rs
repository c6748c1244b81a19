//! Drives the ear (`src/bin/ear.rs`): starts it beside the daemon, waits for what it says, and reads what it has written so far.

use crate::clock::{PATIENCE, now_us, until};
use crate::helper::Helper;
use crate::jack::Jack;
use crate::recording::Recording;
use crate::tempdir::TempDir;
use std::path::PathBuf;

/// The port that the scenarios listen to.
pub const OUT: &str = "utterd:out_1";

pub struct Ear {
    helper: Helper,
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
        let helper = Helper::spawn("ear", jack, &dir, |command| {
            command.arg(&prefix).arg(source).arg(client);
        });
        Ear {
            helper,
            prefix,
            rate: jack.rate(),
            _dir: dir,
        }
    }

    pub fn wait_ready(&mut self) {
        let ready = self.helper.wait_said("ready", 0);
        self.rate = ready.split(' ').nth(1).and_then(|r| r.parse().ok()).unwrap_or(self.rate);
    }

    pub fn wait_connected(&self) {
        self.helper.wait_said("connected", 0);
    }

    pub fn said(&self) -> Vec<String> {
        self.helper.said()
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
        self.helper.end(PATIENCE);
        self.snapshot()
    }
}
