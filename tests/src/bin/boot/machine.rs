//! The booted Debian: made once, started with what this build installs, spoken to through its own namespaces; and how a proof is written down.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use utterd_tests::bins;
use utterd_tests::clock::until;

/// What the booted system has beside systemd; jackd2 for the proofs with JACK, the rest for the plugins and the tools used here.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,procps,libespeak-ng1,espeak-ng-data,jackd2";
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const BUS: [&str; 3] = ["org.utterd.Utterd1", "/org/utterd/Utterd1", "org.utterd.Utterd1.Manager"];

/// What was seen, or what is wrong.
pub(crate) type Proof = Result<String, String>;

/// The booted system. Ends when its keeper's input is closed.
pub(crate) struct Machine {
    keeper: Child,
    leader: String,
}

impl Machine {
    pub(crate) fn boot() -> Result<Machine, String> {
        if !rustix::process::getuid().is_root() {
            return Err("it needs root, for namespaces and mounts".into());
        }
        for (program, package) in [
            ("mmdebstrap", "mmdebstrap"),
            ("systemd-nspawn", "systemd-container"),
            ("nsenter", "util-linux"),
        ] {
            let there = Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
            if !there {
                return Err(format!("{program} is missing: apt-get install {package}"));
            }
        }
        let room = bins::target_dir().parent().unwrap().join("boot");
        let rootfs = prepared(&room)?;
        let stage = room.join("stage");
        if stage.exists() {
            fs::remove_dir_all(&stage).map_err(|e| format!("{}: {e}", stage.display()))?;
        }
        let mut install = Command::new(bins::workspace().join("systemd/install"));
        said(install.arg(&stage).arg("/usr").env("BUILD", bins::target_dir()))?;
        carry_source(&stage.join("srv/utterd"))?;

        let mut boot = Command::new(bins::workspace().join("tests/boot.sh"));
        boot.arg(&rootfs).arg(&stage).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = boot.spawn().map_err(|e| format!("tests/boot.sh: {e}"))?;
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap())
            .read_line(&mut line)
            .map_err(|e| e.to_string())?;
        let leader = line.strip_prefix("leader ").map(|pid| pid.trim().to_owned());
        let machine = Machine {
            keeper,
            leader: leader.unwrap_or_default(),
        };
        if machine.leader.is_empty() {
            return Err("the system did not boot".into());
        }
        Ok(machine)
    }

    /// Runs a program inside, as root.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("nsenter")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.leader, "-m", "-u", "-i", "-n", "-p", "-C", "--"]);
        command.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]);
        command.args(args).stdin(Stdio::null());
        command
    }

    /// What a program said, good or bad.
    pub(crate) fn says(&self, args: &[&str]) -> String {
        text(&self.run(args))
    }

    /// What a program said, if it succeeded.
    pub(crate) fn ok(&self, args: &[&str]) -> Proof {
        said(&mut self.command(args))
    }

    pub(crate) fn show(&self, unit: &str, property: &str) -> String {
        self.says(&["systemctl", "show", "--value", "-p", property, unit])
    }

    /// `busctl call` of the manager, as this user.
    pub(crate) fn call(&self, user: &str, args: &[&str]) -> Proof {
        let group = self.says(&["id", "-g", user]);
        let mut command = vec!["setpriv", "--reuid", user, "--regid", &group, "--init-groups"];
        command.extend(["busctl", "--timeout=60", "call"].iter().chain(&BUS).chain(args));
        self.ok(&command)
    }

    pub(crate) fn property(&self, name: &str) -> String {
        self.says(&["busctl", "get-property", BUS[0], BUS[1], BUS[2], name])
    }

    /// Says something as this user and waits until it was heard to its end.
    pub(crate) fn speak(&self, user: &str, words: &str) -> Proof {
        // One session each: a session belongs to the uid that opened it.
        let session = format!("of-{user}");
        self.call(user, &["OpenSession", "sa{sv}", &session, "0"])?;
        let id = self.call(user, &["Say", "ssa{sv}", &session, words, "0"])?;
        let id = id.strip_prefix("t ").ok_or(format!("Say answered {id}"))?;
        let report = self.call(user, &["Wait", "sta{sv}", &session, id, "0"])?;
        check(
            report.contains("\"completed\"") && report.contains(words),
            &format!("{user}'s words were heard: {words:?}"),
            &report,
        )
    }

    pub(crate) fn journal(&self) -> String {
        self.says(&["journalctl", "--no-pager", "-o", "short-precise", "-u", "utterd", "-n", "150"])
    }

    pub(crate) fn write(&self, path: &str, content: &str) -> Result<(), String> {
        fs::write(format!("/proc/{}/root{path}", self.leader), content).map_err(|e| format!("{path}: {e}"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            eprintln!("tests/boot.sh: {error}");
        }
    }
}

/// The root folder of the system, made once for each list of packages.
pub(crate) fn prepared(room: &Path) -> Result<PathBuf, String> {
    let (rootfs, stamp, tar) = (room.join("rootfs"), room.join("packages"), room.join("rootfs.tar"));
    if fs::read_to_string(&stamp).is_ok_and(|packages| packages == PACKAGES) {
        return Ok(rootfs);
    }
    println!("making a Debian bookworm in {} (once)", rootfs.display());
    if rootfs.exists() {
        fs::remove_dir_all(&rootfs).map_err(|e| e.to_string())?;
    }
    fs::create_dir_all(&rootfs).map_err(|e| e.to_string())?;
    let mut make = Command::new("mmdebstrap");
    make.args(["--quiet", "--variant=minbase", &format!("--include={PACKAGES}"), "bookworm"]);
    said(make.arg(&tar)).map_err(|e| format!("mmdebstrap failed; is a Debian mirror reachable?\n{e}"))?;
    said(Command::new("tar").arg("-C").arg(&rootfs).arg("-xf").arg(&tar))?;
    fs::remove_file(&tar).map_err(|e| e.to_string())?;
    fs::write(&stamp, PACKAGES).map_err(|e| e.to_string())?;
    Ok(rootfs)
}

pub(crate) fn text(output: &Output) -> String {
    let all = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&all).trim().to_owned()
}

pub(crate) fn said(command: &mut Command) -> Proof {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(text(&output));
    }
    Err(format!("{:?}: {}\n{}", command.get_program(), output.status, text(&output)))
}

/// What `systemd/install` needs, for an installation from within.
pub(crate) fn carry_source(to: &Path) -> Result<(), String> {
    let build = to.join("build");
    fs::create_dir_all(&build).map_err(|e| e.to_string())?;
    let script = "cp -a --parents systemd config/*.toml *.md LICENSE-* plugins/*/README.md \"$0\" && \
        cp \"$1\"/utterd \"$1\"/utterctl \"$1\"/utterd-detect \"$1\"/utterd-plugin-check \"$1\"/libutterd_*.so \"$0\"/build/";
    let mut copy = Command::new("sh");
    copy.current_dir(bins::workspace())
        .args(["-c", script])
        .arg(to)
        .arg(bins::target_dir());
    said(&mut copy).map(drop)
}

pub(crate) fn check(holds: bool, what: &str, seen: &str) -> Proof {
    if holds {
        Ok(what.to_owned())
    } else {
        Err(format!("not so: {what}\nseen: {seen}"))
    }
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), String> {
    until(PATIENCE, || holds().then_some(()))
        .map(drop)
        .ok_or(format!("waited {PATIENCE:?} in vain for: {what}"))
}
