//! Drives the microphone that can be pulled out (`src/bin/mic.rs`).

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::jack::Jack;
use crate::process::Process;

/// Its port.
pub const PORT: &str = "card:capture_1";

pub struct Mic(Process);

impl Mic {
    /// One that captures when this returns.
    pub fn plug_in(jack: &Jack) -> Mic {
        let mut command = jack.command(crate::bins::helper("mic"));
        command.arg("card").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::spawn("mic", &mut command);
        let mut line = String::new();
        let said = BufReader::new(process.child().stdout.take().unwrap()).read_line(&mut line);
        assert!(said.is_ok() && line.trim() == "ready", "the microphone said {line:?}");
        Mic(process)
    }

    /// `kill -9`: its port goes without a word.
    pub fn pull_out(mut self) {
        self.0.kill();
    }
}

impl Drop for Mic {
    fn drop(&mut self) {
        self.0.kill();
    }
}
