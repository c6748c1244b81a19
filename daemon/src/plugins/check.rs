//! `utterd-plugin-check FILE.so`: what the ABI asks of a plugin, tried one by one in a child process, so that a crash is a result.
//!
//! The parent starts the child, relays one line a check and gives each a time limit; the child (`--child FILE`) loads the plugin as the daemon
//! does and tries it (`check_suite.rs`, `check_detector.rs`). Times are reported and judged only where they are out of all proportion: machines are slow and shared.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::check_suite::{self, Line};
use super::hosted::host_main;
use super::probe::{probe_main, signal_name};

/// How long one check may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Exit codes: 0 all is well, 1 a check failed, 2 wrong use.
const USAGE: &str = "usage: utterd-plugin-check FILE.so [CONFIG-JSON]

Loads a plugin as utterd does and tries what the plugin ABI asks of it, in a process of its own.
Prints one line for each check. Exit status: 0 all passed, 1 something failed, 2 wrong use.";

/// The whole program. `args` without the program's name; `allocations` counts those of the process, where that is possible.
pub fn main(args: &[OsString], allocations: Option<fn() -> u64>) -> i32 {
    let words: Vec<&str> = args.iter().map(|a| a.to_str().unwrap_or("")).collect();
    match words.as_slice() {
        ["--plugin-probe", _] => probe_main(Path::new(&args[1])),
        ["--plugin-host", _] => host_main(Path::new(&args[1])),
        ["--child", _, config] => check_suite::run(Path::new(&args[1]), config, allocations),
        ["-h" | "--help"] => {
            println!("{USAGE}");
            0
        }
        [file] if !file.starts_with('-') => supervise(&PathBuf::from(&args[0]), "{}"),
        [file, config] if !file.starts_with('-') => supervise(&PathBuf::from(&args[0]), config),
        _ => {
            eprintln!("{USAGE}");
            2
        }
    }
}

fn supervise(file: &Path, config: &str) -> i32 {
    let child = Command::new("/proc/self/exe")
        .arg("--child")
        .arg(file)
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(e) => {
            eprintln!("no child process: {e}");
            return 1;
        }
    };
    let lines = relay(child.stdout.take());
    let (mut passed, mut failed, mut running) = (0, 0, String::from("start"));
    let tell = |word: &str, name: &str, detail: &str| println!("{word:<5} {name}{}{detail}", if detail.is_empty() { "" } else { ": " });
    let hung = loop {
        match lines.recv_timeout(LIMIT) {
            Ok(Line::Begin(name)) => running = name,
            Ok(Line::Pass(detail)) => {
                passed += 1;
                tell("ok", &running, &detail);
            }
            Ok(Line::Fail(detail)) => {
                failed += 1;
                tell("FAIL", &running, &detail);
            }
            Ok(Line::Note(detail)) => tell("note", &running, &detail),
            Err(RecvTimeoutError::Timeout) => break true,
            Err(RecvTimeoutError::Disconnected) => break false,
        }
    };
    if hung && let Err(e) = child.kill() {
        eprintln!("the child cannot be killed: {e}");
    }
    match child.wait() {
        _ if hung => {
            failed += 1;
            tell("FAIL", &running, &format!("hung: no answer for {LIMIT:?}"));
        }
        Ok(status) => {
            if let Some(signal) = status.signal() {
                failed += 1;
                tell("FAIL", &running, &format!("crashed with {}", signal_name(signal)));
            } else if failed == 0 && !status.success() {
                failed += 1;
                tell("FAIL", &running, &format!("ended the process with {status}"));
            }
        }
        Err(e) => eprintln!("the child cannot be waited for: {e}"),
    }
    println!("{passed} passed, {failed} failed: {}", file.display());
    i32::from(failed > 0)
}

/// The child's lines as they come; what is not one of ours is the plugin's own chatter and goes to stderr.
fn relay(from: Option<std::process::ChildStdout>) -> Receiver<Line> {
    let (to, lines) = channel();
    if let Some(from) = from {
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let Some(line) = Line::parse(&line) else {
                    if !line.is_empty() {
                        eprintln!("{line}");
                    }
                    continue;
                };
                if to.send(line).is_err() {
                    return;
                }
            }
        });
    }
    lines
}
