//! The example clients, run as their README says, against a daemon of their own. They come from registries, so this needs a network;
//! where there is none it fails and says so, because a client nobody ran is a promise nobody kept.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};
use std::time::Duration;
use utterd_tests::bins;
use utterd_tests::process::Process;
use utterd_tests::tempdir::TempDir;
use utterd_tests::world::Quiet;

/// Installing takes most of it; each client has a limit of its own.
const LIMIT: Duration = Duration::from_secs(600);

#[test]
fn the_example_clients_do_what_they_promise() {
    let quiet = Quiet::start();
    let dir = TempDir::new("clients");
    let out = std::fs::File::create(dir.join("out")).unwrap();
    let mut run = Command::new(bins::workspace().join("tests/clients/run"));
    // Beside the build, so that what was installed once is there the next time.
    run.arg(bins::target_dir().parent().unwrap().join("clients"))
        .env("DBUS_SESSION_BUS_ADDRESS", quiet.bus.address())
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out);
    let status = Process::spawn("tests/clients/run", &mut run).wait_exit(LIMIT);
    let said = std::fs::read_to_string(dir.join("out")).unwrap();
    assert!(
        status.is_some_and(|s| s.success()),
        "{}{}\n{said}",
        hint(&said),
        status.map_or_else(|| format!("no end within {LIMIT:?}"), |s| s.to_string()),
    );
    for client in ["python", "bot", "node", "shell"] {
        assert!(said.contains(&format!("== {client}\n")), "{client} was not run:\n{said}");
    }
}

/// What to tell somebody whose machine reaches no registry.
fn hint(said: &str) -> &'static str {
    if said.contains("cannot be installed") {
        "pip or npm cannot install what the clients need; is a package registry reachable?\n"
    } else {
        ""
    }
}
