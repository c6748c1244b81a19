//! The first run of a plugin's code, in a child process: a crash, a hang or an `exit()` there is a rejection with a name, not the daemon's end.
//!
//! The child is this very program (`/proc/self/exe`, so that an upgraded package never mixes versions) with `--plugin-probe FILE`; the
//! configuration comes on its stdin, the answer goes to its stdout as one marked line, so that a plugin that prints cannot spoil it. All three
//! streams are memfds of a sealed size: nobody can block on a pipe that nobody reads, or fill the memory. Spawned without `pre_exec`; the child limits itself.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde_json::{Value, json};

use super::schema::Refused;
use super::{Detector, DetectorInfo, DetectorInput, LoadOptions, Parts, elf, library, stage};

/// Stands before the answer.
const ANSWER: &str = "utterd-plugin-probe ";
/// What a child may write; more is refused by the kernel.
const MAX_OUTPUT: u64 = 1 << 20;

/// Lets a child of `program` load `copy` and make an instance with `config`; what its detector, if it has one, says of itself. `Err`: why not.
pub(super) fn run(program: &Path, copy: &Path, config: &str, timeout: Duration) -> Result<Option<DetectorInfo>, Refused> {
    let trouble = |e: std::io::Error| format!("it could not be probed: {}: {e}", program.display());
    let mut input = memfd("probe-config").map_err(trouble)?;
    input
        .write_all(config.as_bytes())
        .and_then(|()| input.seek(SeekFrom::Start(0)).map(drop))
        .map_err(trouble)?;
    let (mut output, mut errors) = (
        bounded_memfd("probe-out").map_err(trouble)?,
        bounded_memfd("probe-err").map_err(trouble)?,
    );
    let stream = |file: &File| file.try_clone().map(Stdio::from).map_err(trouble);
    let mut child = Command::new(program)
        .arg("--plugin-probe")
        .arg(copy)
        .stdin(stream(&input)?)
        .stdout(stream(&output)?)
        .stderr(stream(&errors)?)
        .spawn()
        .map_err(trouble)?;
    let ended = wait(&mut child, timeout).map_err(trouble)?;
    let (said, complaint) = (text_of(&mut output), text_of(&mut errors));
    let answer = said
        .lines()
        .rev()
        .find_map(|l| l.strip_prefix(ANSWER))
        .and_then(|a| serde_json::from_str::<Value>(a).ok());
    let Some(status) = ended else {
        return Err(format!(
            "it hung: not ready within {timeout:?} in a process of its own{}",
            last_line(&complaint)
        )
        .into());
    };
    if let Some(signal) = status.signal() {
        return Err(format!(
            "it crashed a process of its own with {}{}",
            signal_name(signal),
            last_line(&complaint)
        )
        .into());
    }
    match answer {
        Some(answer) if answer["ok"] == true && status.success() => {
            serde_json::from_value(answer["detector"].clone()).map_err(|e| format!("its probe's answer is none: {e}").into())
        }
        Some(answer) if answer["ok"] == true => Err(format!("its probe ended with {status}{}", last_line(&complaint)).into()),
        Some(answer) => Err(Refused {
            reason: answer["error"].as_str().unwrap_or("its probe failed").to_owned(),
            key: answer["key"].as_str().map(str::to_owned),
        }),
        None => Err(format!("its probe ended without an answer ({status}){}", last_line(&complaint)).into()),
    }
}

/// The child's side: maps FILE, runs init, create, describe, destroy and deinit; prints the answer. `main` calls this before anything else for
/// `--plugin-probe FILE` and ends with what it returns. `[the only thread of its process]`
pub fn probe_main(path: &Path) -> i32 {
    limit_self();
    let mut config = String::new();
    if !std::io::stdin().is_terminal()
        && let Err(e) = std::io::stdin().read_to_string(&mut config)
    {
        eprintln!("no configuration on stdin: {e}");
    }
    let config = if config.trim().is_empty() { "{}" } else { config.as_str() };
    let answer = match attempt(path, config) {
        Ok(detector) => json!({ "ok": true, "detector": detector }),
        Err(refused) => json!({ "ok": false, "error": refused.reason, "key": refused.key }),
    };
    // A plugin may have filled the stream: then there is no answer, and that is one.
    let told = writeln!(std::io::stdout(), "\n{ANSWER}{answer}");
    i32::from(told.is_err() || answer["ok"] != true)
}

fn attempt(path: &Path, config: &str) -> Result<Option<DetectorInfo>, Refused> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let manifest = elf::inspect(&bytes)?;
    let hash = stage::rehash(path)?;
    let mapped = library::map(path, hash, &manifest, path)?;
    let kinds: Vec<&str> = manifest.kinds.iter().map(String::as_str).collect();
    let parts = Parts::create(mapped, &kinds, &manifest.id, path, config, &LoadOptions::default())?;
    let mut detector = None;
    if let Some((info, listener)) = parts.detector {
        first_words(Detector::new(info.clone(), Box::new(listener)))?;
        detector = Some(info);
    }
    drop(parts.tts);
    mapped.deinit();
    Ok(detector)
}

/// A detector is opened and hears silence: what falls over at once shall do so here.
fn first_words(detector: Detector) -> Result<(), String> {
    let spec = detector.usual_stream();
    let silence = vec![0.0; spec.frame];
    let mut stream = detector.open(spec).map_err(|e| format!("no stream at {} Hz: {e}", spec.rate))?;
    let heard = DetectorInput {
        near: &silence,
        far: Some(&silence),
        ..DetectorInput::default()
    };
    stream
        .process(heard, None)
        .map(drop)
        .map_err(|e| format!("it does not hear silence: {e}"))
}

/// Dies with its parent, which is the thread that spawned it; leaves no core, is the first to go when memory runs out, and may neither be real-time nor
/// anything else that only the daemon may.
pub(super) fn limit_self() {
    let mut failed = Vec::new();
    let mut note = |what, result: rustix::io::Result<()>| failed.extend(result.err().map(|e| format!("{what}: {e}")));
    let limit = |most| Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    // At 1 the kernel does not ask a program that takes dumps from a pipe either, at 0 it would: core(5).
    note("core", rustix::process::setrlimit(Resource::Core, limit(1)));
    note("rtprio", rustix::process::setrlimit(Resource::Rtprio, limit(0)));
    note("ambient capabilities", rustix::thread::clear_ambient_capability_set());
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    note("capabilities", rustix::thread::set_capabilities(None, none));
    let expendable = std::fs::write("/proc/self/oom_score_adj", "500");
    note(
        "oom_score_adj",
        expendable.map_err(|e| rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO)),
    );
    note("pdeathsig", rustix::process::set_parent_process_death_signal(Some(Signal::KILL)));
    for line in failed {
        eprintln!("a plugin's process is not limited: {line}");
    }
}

/// `None`: it did not end in time and was killed.
fn wait(child: &mut Child, timeout: Duration) -> std::io::Result<Option<ExitStatus>> {
    let in_time = ends_within(child, timeout)?;
    if !in_time {
        child.kill()?;
    }
    let status = child.wait()?;
    Ok(in_time.then_some(status))
}

/// Whether it ends in time; it is still to be waited for.
pub(super) fn ends_within(child: &Child, timeout: Duration) -> std::io::Result<bool> {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(std::io::ErrorKind::InvalidData)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn memfd(name: &str) -> std::io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    Ok(File::from(rustix::fs::memfd_create(name, flags)?))
}

/// Zeros, to be written over; not to be made longer.
fn bounded_memfd(name: &str) -> std::io::Result<File> {
    let file = memfd(name)?;
    file.set_len(MAX_OUTPUT)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}

fn text_of(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let read = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.take(MAX_OUTPUT).read_to_end(&mut bytes));
    if let Err(e) = read {
        tracing::debug!(error = %e, "what a probe wrote cannot be read");
    }
    bytes.truncate(bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len()));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last thing it complained of, for the end of a reason.
fn last_line(complaint: &str) -> String {
    match complaint.lines().rev().find(|l| !l.trim().is_empty()) {
        Some(line) => format!(
            " (its last words: {})",
            line.chars().filter(|c| !c.is_control()).take(200).collect::<String>()
        ),
        None => String::new(),
    }
}

/// A signal as people know it.
pub(super) fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGILL => "SIGILL",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGTERM => "SIGTERM",
        libc::SIGSYS => "SIGSYS",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGTRAP => "SIGTRAP",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}
