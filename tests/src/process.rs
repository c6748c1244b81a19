//! A child process that ends with its owner: asked with SIGTERM, and after a grace period made to with SIGKILL.
//!
//! Children are ended by their own pid, never by name, and in `Drop`, so a panicking test leaves nothing behind. PR_SET_PDEATHSIG
//! is not used: it fires when the *thread* that spawned the child ends, and test threads end before their processes do.

use rustix::process::{Pid, Signal};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

pub struct Process {
    child: Child,
    name: String,
    grace: Duration,
    status: Option<ExitStatus>,
}

impl Process {
    pub fn spawn(name: &str, command: &mut Command) -> Process {
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {name} ({command:?}): {e}"));
        Process {
            child,
            name: name.to_owned(),
            grace: Duration::from_secs(5),
            status: None,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn signal(&self, signal: Signal) {
        if self.status.is_none()
            && let Some(pid) = Pid::from_raw(self.child.id() as i32)
            && let Err(e) = rustix::process::kill_process(pid, signal)
        {
            eprintln!("cannot signal {} ({}): {e}", self.name, self.child.id());
        }
    }

    /// The exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// The exit status, as soon as it ends within the deadline.
    pub fn wait_exit(&mut self, deadline: Duration) -> Option<ExitStatus> {
        crate::clock::until(deadline, || self.exited())
    }

    /// `kill -9`, and gone when this returns.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.status = self.child.wait().ok().or(self.status);
    }

    /// Asks it to end and returns its status; kills it after the grace period (then the status says so).
    pub fn stop(&mut self) -> Option<ExitStatus> {
        if self.exited().is_none() {
            self.signal(Signal::TERM);
            self.signal(Signal::CONT); // A stopped process hears nothing but this and SIGKILL.
            if self.wait_exit(self.grace).is_none() {
                eprintln!("{} ({}) ignored SIGTERM for {:?}: killed", self.name, self.child.id(), self.grace);
                self.kill();
            }
        }
        self.status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The threads of a process by their names, e.g. to find the callback thread. `(tid, name)`.
pub fn threads(pid: u32) -> Vec<(u32, String)> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|e| {
            let tid = e.file_name().to_str()?.parse().ok()?;
            let name = std::fs::read_to_string(e.path().join("comm")).ok()?;
            Some((tid, name.trim().to_owned()))
        })
        .collect()
}
