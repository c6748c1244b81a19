//! A private message bus: `dbus-daemon` with a configuration and a socket of its own, gone with its guard.

use crate::process::Process;
use crate::tempdir::TempDir;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

pub struct Bus {
    address: String,
    process: Process,
    dir: TempDir,
}

impl Bus {
    pub fn start() -> Bus {
        let dir = TempDir::new("bus");
        let socket = dir.join("bus");
        let config = dir.join("bus.conf");
        std::fs::write(&config, configuration(&socket.display().to_string())).unwrap();
        let mut process = Process::spawn(
            "dbus-daemon",
            Command::new("dbus-daemon")
                .arg(format!("--config-file={}", config.display()))
                .args(["--nofork", "--nopidfile", "--nosyslog", "--print-address"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::from(std::fs::File::create(dir.join("bus.log")).unwrap())),
        );
        let mut address = String::new();
        let stdout = process.child().stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        assert!(!address.is_empty(), "dbus-daemon printed no address: is it installed?");
        Bus { address, process, dir }
    }

    /// What `--bus-address` and `DBUS_SESSION_BUS_ADDRESS` take.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Ends the bus while others still use it.
    pub fn stop(&mut self) {
        self.process.stop();
    }
}

fn configuration(socket: &str) -> String {
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_outgoing_bytes">1000000000</limit>
  <limit name="max_message_size">1000000000</limit>
  <limit name="max_replies_per_connection">50000</limit>
</busconfig>
"#
    )
}
