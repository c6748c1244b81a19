//! A detector in a process of its own: what crashes or hangs there costs its session the detector and nobody anything else.
//!
//! A stream is a process, which dies with the thread that opened it: this very program (`/proc/self/exe`, so that an upgraded package never
//! mixes versions) with `--plugin-host FILE`, which maps the private copy (`hosted.rs`). A frame goes there and its answer comes back over a
//! socket (`wire.rs`): 100 a second of a few kilobytes each. The call waits for the answer, and for none longer than [`PATIENCE`].

use std::io::{self, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, kill_process_group};
use tracing::level_filters::LevelFilter;

use super::detector::*;
use super::probe;
use super::stage::Hash;
use super::wire::{self, Opened, Opening};

/// An answer takes no longer, and opening no longer than that: less than a session waits for a detector in our own process (rx/listener.rs).
const PATIENCE: Duration = Duration::from_secs(1);
const OPENS: Duration = Duration::from_secs(8);
/// A process that is no longer wanted has so long to end by itself.
const ENDS: Duration = Duration::from_millis(200);

/// What a stream's process is started with.
pub(super) struct Isolated {
    pub(super) program: PathBuf,
    /// The plugin's private copy, and where its original stands.
    pub(super) copy: PathBuf,
    pub(super) hash: Hash,
    pub(super) found: PathBuf,
    pub(super) config: String,
    pub(super) sensitivity: Option<f32>,
    pub(super) cleans: bool,
}

impl DetectorCalls for Isolated {
    fn open(&self, spec: &DetectorStreamSpec<'_>, tally: &Arc<DetectorTally>) -> Result<Box<dyn StreamCalls>, DetectorError> {
        let trouble = |e: io::Error| DetectorError(format!("it has no process of its own: {}: {e}", self.program.display()));
        let (socket, theirs) = UnixStream::pair().map_err(trouble)?;
        let mut command = Command::new(&self.program);
        command
            .arg("--plugin-host")
            .arg(&self.copy)
            .stdin(Stdio::from(OwnedFd::from(theirs)));
        // What is typed at our terminal is for us; and what the plugin starts ends with it.
        command.process_group(0);
        if ["UTTERD_LOG", "RUST_LOG"].iter().all(|name| std::env::var_os(name).is_none()) {
            command.env("UTTERD_LOG", LevelFilter::current().to_string());
        }
        let child = command.spawn().map_err(trouble)?;
        // Our copy of their end must be closed, or their end would never be seen.
        drop(command);
        let mut stream = Stream {
            child,
            has_ended: false,
            socket,
            packet: Vec::new(),
            cleans: self.cleans,
            fault: None,
            counts: DetectorCounts::default(),
            tally: Arc::clone(tally),
            frame: spec.frame,
        };
        let opening = Opening {
            found: self.found.as_os_str().as_bytes().to_vec(),
            hash: self.hash,
            config: self.config.clone(),
            sensitivity: self.sensitivity,
            session: spec.session,
            rate: spec.rate,
            frame: spec.frame,
            language: spec.language.to_owned(),
            one_stage: spec.one_stage,
        };
        match stream.begin(&opening) {
            Ok(Ok(())) => Ok(Box::new(stream)),
            Ok(Err(why)) => Err(DetectorError(why)),
            Err(error) => Err(DetectorError(match stream.lost(&error) {
                DetectorFault::Lost => format!("it does not start in a process of its own: {error}"),
                fault => fault.to_string(),
            })),
        }
    }
}

/// One stream and its process.
struct Stream {
    child: Child,
    /// And was waited for.
    has_ended: bool,
    socket: UnixStream,
    packet: Vec<u8>,
    cleans: bool,
    frame: usize,
    /// Why it hears nothing any more.
    fault: Option<DetectorFault>,
    /// What its process had counted at the last answer.
    counts: DetectorCounts,
    tally: Arc<DetectorTally>,
}

impl Stream {
    fn begin(&mut self, opening: &Opening) -> io::Result<Opened> {
        self.socket.set_read_timeout(Some(PATIENCE))?;
        self.socket.set_write_timeout(Some(PATIENCE))?;
        self.socket.write_all(&wire::line(opening)?)?;
        self.wait_for_answer(OPENS)?;
        // It says no more than this line until it is asked.
        wire::read_line(&mut BufReader::new(&self.socket))
    }

    /// Waits in two halves: a halt of the machine is no fault of the plugin's, and takes no more than the first.
    fn wait_for_answer(&self, limit: Duration) -> io::Result<()> {
        let half = Timespec::try_from(limit / 2).map_err(|_| io::ErrorKind::InvalidInput)?;
        for _ in 0..2 {
            if retry_on_intr(|| poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&half)))? > 0 {
                return Ok(());
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// The answer's samples, if there are any, stay in the packet.
    fn ask(&mut self, input: &DetectorInput<'_>, clean: usize) -> io::Result<(Result<DetectorOutput, DetectorFault>, DetectorCounts)> {
        wire::put_frame(&mut self.packet, input, clean > 0);
        self.socket.write_all(&self.packet)?;
        self.wait_for_answer(PATIENCE)?;
        self.packet.resize(wire::ANSWER + 4 * clean, 0);
        self.socket.read_exact(&mut self.packet)?;
        let head = self.packet.first_chunk().ok_or(io::ErrorKind::InvalidData)?;
        wire::answer(head)
    }

    /// Ends its process after it gave no answer, and says what became of it.
    fn lost(&mut self, error: &io::Error) -> DetectorFault {
        let has_ended = !matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::InvalidData
        );
        match self.end(if has_ended { PATIENCE } else { Duration::ZERO }) {
            Some(signal) => DetectorFault::Crashed(signal),
            None => DetectorFault::Lost,
        }
    }

    /// The signal by which it ended within this time, 0 for none; else it is killed. What it has started ends with it.
    fn end(&mut self, within: Duration) -> Option<i32> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .filter(|_| !self.has_ended)?;
        let in_time = probe::ends_within(&self.child, within).unwrap_or_else(|error| {
            tracing::warn!(%error, "a detector's process is not waited for but killed");
            false
        });
        // It leads its group, and keeps its number until it is waited for.
        let status = kill_process_group(pid, Signal::KILL)
            .map_err(io::Error::from)
            .and_then(|()| self.child.wait());
        match status {
            Ok(status) => {
                self.has_ended = true;
                in_time.then(|| status.signal().unwrap_or(0))
            }
            Err(error) => {
                tracing::warn!(%error, "a detector's process cannot be waited for");
                None
            }
        }
    }
}

impl StreamCalls for Stream {
    fn process(&mut self, input: &DetectorInput<'_>, clean: Option<&mut [f32]>) -> Result<DetectorOutput, DetectorFault> {
        let n = input.near.len();
        let same = |len: usize| len == n;
        if n > self.frame || !input.far.is_none_or(|far| same(far.len())) || !clean.as_ref().is_none_or(|clean| same(clean.len())) {
            return Err(DetectorFault::Frame);
        }
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let wanted = clean.as_ref().filter(|_| self.cleans).map_or(0, |clean| clean.len());
        let (result, counts) = match self.ask(input, wanted) {
            Ok(answer) => answer,
            Err(error) => (Err(self.lost(&error)), self.counts),
        };
        self.tally.add(&self.counts, &counts);
        self.counts = counts;
        if let Some(clean) = clean {
            let cleaned = self.packet.get(wire::ANSWER..).filter(|_| wanted > 0 && result.is_ok());
            match cleaned {
                Some(cleaned) => wire::take_samples(cleaned, clean),
                None => clean.copy_from_slice(input.near),
            }
            clean.iter_mut().filter(|x| !x.is_finite()).for_each(|x| *x = 0.0);
        }
        if let Err(fault @ (DetectorFault::Crashed(_) | DetectorFault::Lost)) = result {
            self.tally.faults.fetch_add(1, Relaxed);
            self.fault = Some(fault);
        }
        // A process that a plugin has spoilt may say anything.
        result.map(|told| told.put_right(input.t + n as u64))
    }

    fn reset(&mut self) {
        if self.fault.is_some() {
            return;
        }
        wire::put_reset(&mut self.packet);
        if let Err(error) = self.socket.write_all(&self.packet) {
            self.fault = Some(self.lost(&error));
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // It ends when there is nobody to hear for.
        if self.socket.shutdown(std::net::Shutdown::Both).is_ok() {
            self.end(ENDS);
        } else {
            self.end(Duration::ZERO);
        }
    }
}
