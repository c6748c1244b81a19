//! The fences of the real-time room, each seeing what the others miss (STYLE §5): `fences [NAME]…` prints one line for each and exits 1
//! when one is broken, with what it said.
//!
//! - `no-std`: no `std`, no heap, no unsafe code: a `Vec`, a `Mutex` or `println!` does not compile.
//! - `no-alloc`: the renderer in a storm of lanes and commands under an allocator that counts.
//! - `rtsan`: the same storm under the compiler's real-time sanitizer, which must also catch an allocation put there on purpose.
//! - `budget`: the instructions of a period with 64 lanes, counted by callgrind, within 5 % of `render_budget.txt`.
//! - `syscalls`: one futex a cycle in JACK's callback thread of a daemon that speaks.
//!
//! A tool that is missing (valgrind, strace, the sanitizer's run-time library) is a broken fence, because a fence that quietly does not
//! stand protects nothing. `UTTERD_FENCES_SKIP="rtsan budget"` leaves out, loudly, what a machine cannot run.
#![allow(clippy::unwrap_used)] // A fence that cannot be tried says so by panicking.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};
use std::time::Instant;
use utterd_tests::bench::cargo;
use utterd_tests::bins::{target_dir, workspace};

/// What was seen, in a few words; or what went wrong, whole.
type Verdict = Result<String, String>;

type Fence = (&'static str, fn() -> Verdict);

const FENCES: &[Fence] = &[
    ("no-std", no_std),
    ("no-alloc", no_alloc),
    ("rtsan", rtsan),
    ("budget", budget),
    ("syscalls", syscalls),
];
const SKIP: &str = "UTTERD_FENCES_SKIP";

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = asked.iter().find(|a| FENCES.iter().all(|(name, _)| name != a)) {
        let names: Vec<&str> = FENCES.iter().map(|(name, _)| *name).collect();
        eprintln!("no fence {unknown:?}; there are: {}", names.join(", "));
        return ExitCode::from(2);
    }
    let skipped = std::env::var(SKIP).unwrap_or_default();
    let mut stand = true;
    for (name, fence) in FENCES {
        if !asked.is_empty() && !asked.iter().any(|a| a == name) {
            continue;
        }
        if skipped.split_whitespace().any(|s| s == *name) {
            println!("SKIP  {name:<9} left out by {SKIP}");
            continue;
        }
        let start = Instant::now();
        let verdict = fence();
        let seconds = start.elapsed().as_secs();
        match verdict {
            Ok(seen) => println!("ok    {name:<9} {seen} ({seconds} s)"),
            Err(said) => {
                stand = false;
                println!("FAIL  {name:<9} ({seconds} s)\n{}", indented(&said));
            }
        }
    }
    ExitCode::from(u8::from(!stand))
}

fn no_std() -> Verdict {
    // The wall tests look at what the room is built from and at its attributes; here is the one door they leave: std by name.
    let mut named = Vec::new();
    for file in std::fs::read_dir(workspace().join("daemon/rt/src")).unwrap().flatten() {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[1].starts_with("extern crate")) {
            if pair[0] != "#[cfg(test)]" {
                named.push(format!("{}: {}", file.path().display(), pair[1]));
            }
        }
    }
    if !named.is_empty() {
        return Err(named.join("\n"));
    }
    tests("utterd-tests", "scenarios", &["walls::the_real_time_room"], 2)?;
    Ok("no std, no heap, no unsafe code; built on rtrb alone".into())
}

fn no_alloc() -> Verdict {
    tests("utterd-rt", "no_alloc", &[], 2)?;
    Ok("rendering neither allocates nor frees, and the counter counts".into())
}

/// Runs tests by a part of their names; fewer than `at_least` are as bad as a failing one.
fn tests(package: &str, target: &str, filter: &[&str], at_least: usize) -> Result<(), String> {
    let out = cargo(&["test", "-q", "-p", package, "--test", target, "--"])
        .args(filter)
        .output()
        .unwrap();
    let said = said(&out);
    let passed: usize = said
        .lines()
        .filter_map(|l| l.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<usize>().ok())
        .sum();
    if !out.status.success() {
        Err(said)
    } else if passed < at_least {
        Err(format!(
            "{passed} tests of {package} --test {target} ran, where {at_least} stood:\n{said}"
        ))
    } else {
        Ok(())
    }
}

fn rtsan() -> Verdict {
    let host = rustc(&["-vV"])?;
    let host = host
        .lines()
        .find_map(|l| l.strip_prefix("host: "))
        .ok_or("rustc -vV names no host")?;
    let libraries = rustc(&["--print", "target-libdir", "--target", host])?;
    let shipped = std::fs::read_dir(libraries.trim())
        .map_err(|e| format!("{libraries}: {e}"))?
        .flatten()
        .any(|e| e.file_name().to_string_lossy().contains("rt.rtsan"));
    if !shipped {
        return Err(format!(
            "the sanitizer's run-time library (librustc-*_rt.rtsan.a) is not in {}: rustup's toolchains ship it, other builds of Rust may not",
            libraries.trim()
        ));
    }
    // A folder of its own: other flags would make everything else be built again.
    let folder = target_dir().parent().unwrap().join("rtsan");
    let mut build = cargo(&[
        "build",
        "-q",
        "-p",
        "utterd-rt",
        "--bin",
        "rtsan",
        "--features",
        "rtsan",
        "--target",
        host,
    ]);
    build.arg("--target-dir").arg(&folder);
    build.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=realtime");
    succeed(&mut build)?;
    let program: PathBuf = folder.join(host).join("debug/rtsan");

    let sabotaged = Command::new(&program).arg("sabotage").output().unwrap();
    if sabotaged.status.success() || !said(&sabotaged).contains("unsafe function `malloc` in real-time context") {
        return Err(format!(
            "an allocation in the callback was NOT reported: {}\n{}",
            sabotaged.status,
            said(&sabotaged)
        ));
    }
    let clean = succeed(&mut Command::new(&program))?;
    Ok(format!("{}; an allocation on purpose was caught", clean.trim()))
}

fn budget() -> Verdict {
    // Exits by its own verdict, and says when valgrind is missing.
    let counted = succeed(&mut cargo(&[
        "run",
        "-q",
        "--release",
        "-p",
        "utterd-rt",
        "--example",
        "render_budget",
    ]))?;
    Ok(counted.trim().into())
}

fn syscalls() -> Verdict {
    succeed(&mut cargo(&[
        "build",
        "-q",
        "-p",
        "utterd",
        "-p",
        "utterd-tts-tone",
        "-p",
        "utterd-tts-espeak-ng",
    ]))?;
    let traced = succeed(&mut cargo(&["run", "-q", "-p", "utterd-tests", "--bin", "syscalls"]))?;
    Ok(traced.lines().next_back().unwrap_or_default().trim().into())
}

fn rustc(args: &[&str]) -> Result<String, String> {
    succeed(Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).args(args))
}

/// What a command printed; all that it said when it failed.
fn succeed(command: &mut Command) -> Result<String, String> {
    let out = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if out.status.success() {
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    } else {
        Err(format!("{command:?}: {}\n{}", out.status, said(&out)))
    }
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn indented(text: &str) -> String {
    text.trim().lines().map(|l| format!("      {l}\n")).collect()
}
