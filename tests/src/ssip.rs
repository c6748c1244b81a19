//! speech-dispatcher as a peer: Debian's own configuration, played by a private PulseAudio into the JACK server of the world, and spoken
//! to in SSIP, its text protocol (a command a line, answers of three digits, `-` after them where more lines follow).
//!
//! PulseAudio is its default output, and a JACK sink without any null device between makes both speakers end at the same ear, in the
//! same periods, on the same clock. No idle suspension, no resampling beyond what the sink's rate asks for: the peer at its best.
//!
//! Not here: installing it. `Peer::start` says what is missing.

use crate::clock::{PATIENCE, now_us, until};
use crate::jack::Jack;
use crate::process::Process;
use crate::tempdir::TempDir;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

/// What an operator installs to measure beside it.
pub const APT: &str =
    "apt-get install --no-install-recommends speech-dispatcher speech-dispatcher-espeak-ng pulseaudio pulseaudio-module-jack";

const PULSE: &str = "load-module module-native-protocol-unix
load-module module-jack-sink channels=1 connect=no sink_name=jack
set-default-sink jack
";

/// The port that PulseAudio plays to.
pub const OUT: &str = "PulseAudio JACK Sink:mono";

/// Fields are dropped in this order: the client before the server, the server before its sound server.
pub struct Peer {
    to: UnixStream,
    from: BufReader<UnixStream>,
    _server: Process,
    _pulse: Process,
    dir: TempDir,
}

impl Peer {
    /// Running, connected, speaking with espeak-ng; or what is missing.
    pub fn start(jack: &Jack) -> Result<Peer, String> {
        for program in ["speech-dispatcher", "pulseaudio"] {
            version(program).ok_or(format!("{program} is not installed"))?;
        }
        let dir = TempDir::new("peer");
        std::fs::write(dir.join("pulse.pa"), PULSE).unwrap();
        std::fs::create_dir(dir.join("log")).unwrap();
        let mut pulse = at_home(jack, &dir, "pulseaudio");
        pulse
            .args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "-F"])
            .arg(dir.join("pulse.pa"));
        let pulse = Process::spawn("pulseaudio", &mut pulse);
        until(PATIENCE, || jack.ports().iter().any(|p| p == OUT).then_some(())).ok_or_else(|| {
            format!(
                "PulseAudio has no JACK sink (package pulseaudio-module-jack): {}",
                log(&dir, "pulseaudio")
            )
        })?;

        let socket = dir.join("ssip");
        let mut server = at_home(jack, &dir, "speech-dispatcher");
        server.args(["-s", "-t", "0", "-c", "unix_socket", "-S"]).arg(&socket);
        server.arg("-L").arg(dir.join("log")).arg("-P").arg(dir.join("pid"));
        let server = Process::spawn("speech-dispatcher", &mut server);
        let to = until(PATIENCE, || UnixStream::connect(&socket).ok())
            .ok_or_else(|| format!("speech-dispatcher does not answer: {}", log(&dir, "speech-dispatcher")))?;
        let mut peer = Peer {
            from: BufReader::new(to.try_clone().unwrap()),
            to,
            _server: server,
            _pulse: pulse,
            dir,
        };
        peer.command("SET SELF CLIENT_NAME utterd:bench:main")?;
        peer.command("SET SELF OUTPUT_MODULE espeak-ng")
            .map_err(|e| format!("{e} (package speech-dispatcher-espeak-ng); {}", log(&peer.dir, "speech-dispatcher")))?;
        Ok(peer)
    }

    /// Queues a message; returns the moment just before its text was sent, which leaves the round trip of the opening command out.
    pub fn speak(&mut self, text: &str) -> u64 {
        self.command("SPEAK").unwrap();
        let sent = now_us();
        self.command(&format!("{text}\r\n.")).unwrap();
        sent
    }

    /// Sends a command and returns its answer's last line; any code but 2xx is a refusal.
    pub fn command(&mut self, command: &str) -> Result<String, String> {
        self.to.write_all(format!("{command}\r\n").as_bytes()).map_err(|e| e.to_string())?;
        loop {
            let mut line = String::new();
            self.from.read_line(&mut line).map_err(|e| e.to_string())?;
            let line = line.trim_end();
            match line.as_bytes() {
                [b'2', _, _, b'-', ..] => {}
                [b'2', _, _, b' ', ..] => return Ok(line.to_owned()),
                _ => return Err(format!("speech-dispatcher answered {command:?} with {line:?}")),
            }
        }
    }
}

/// The first line that a program tells of its version.
pub fn version(program: &str) -> Option<String> {
    let out = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or_default().to_owned())
}

/// A program that finds this server, this home, and nothing of the machine's user.
fn at_home(jack: &Jack, dir: &TempDir, program: &str) -> Command {
    let log = std::fs::File::create(dir.join(&format!("{program}.log"))).unwrap();
    let mut command = jack.command(program);
    command.env("HOME", dir.path()).env("XDG_RUNTIME_DIR", dir.path());
    for name in [
        "DBUS_SESSION_BUS_ADDRESS",
        "DISPLAY",
        "PULSE_SERVER",
        "XDG_CONFIG_HOME",
        "SPEECHD_ADDRESS",
    ] {
        command.env_remove(name);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::from(log.try_clone().unwrap()))
        .stderr(Stdio::from(log));
    command
}

fn log(dir: &TempDir, program: &str) -> String {
    let text = std::fs::read_to_string(dir.join(&format!("{program}.log"))).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
