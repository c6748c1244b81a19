//! The daemon as a service: one of it on a bus, clear ends, a configuration that is checked and re-read, a plugin folder full of junk.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;
use utterd_tests::bins;
use utterd_tests::bus::Bus;
use utterd_tests::client::{Client, NAME, PLUGINS, ROOT};
use utterd_tests::clock::{PATIENCE, until, wait_for};
use utterd_tests::daemon::{Daemon, Plan, name_has_owner, run_to_end};
use utterd_tests::jack::{Jack, JackOptions};
use utterd_tests::opts;
use utterd_tests::tempdir::TempDir;
use utterd_tests::world::{Quiet, TONE};

#[test]
fn a_second_daemon_on_the_bus_name_ends_and_names_it() {
    let quiet = Quiet::start();
    let dir = TempDir::new("second");
    let (config, plugins) = (dir.join("c.toml"), dir.join("p"));
    std::fs::write(&config, "").unwrap();
    std::fs::create_dir(&plugins).unwrap();
    let (config, plugins) = (config.display().to_string(), plugins.display().to_string());
    let args = [
        "--config",
        &config,
        "--plugin-dir",
        &plugins,
        "--bus-address",
        quiet.bus.address(),
        "--driver",
        "timer",
    ];
    let (code, said) = run_to_end(&args, &[], Duration::from_secs(5)).expect("a second daemon ends within 5 s");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(NAME), "{said}");
    let session = quiet.tone_session("one");
    let id = session.say("unmoved", opts! { "rate" => 10.0 });
    assert_eq!(session.wait(id).0, "completed", "the first one does not notice");
}

#[test]
fn without_a_bus_it_says_which_one_it_looked_for() {
    let args = ["--bus-address", "unix:path=/nonexistent/utterd-bus", "--driver", "timer"];
    let (code, said) = run_to_end(&args, &[], PATIENCE).expect("it ends");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/nonexistent/utterd-bus"), "{said}");
}

#[test]
fn two_buses_have_a_daemon_each_on_one_jack_server() {
    let jack = Jack::start(JackOptions::default());
    let worlds: Vec<(Bus, Daemon)> = (0..2)
        .map(|_| {
            let bus = Bus::start();
            let daemon = Daemon::start(&bus, Some(&jack), &Plan::default());
            (bus, daemon)
        })
        .collect();
    let ids = worlds.iter().map(|(_, daemon)| {
        let client = daemon.client();
        client.wait_manager_text("DriverState", "running");
        let session = client.open("one", opts! { "backend" => TONE }).unwrap();
        let id = session.say("each its own", opts! { "rate" => 4.0 });
        (session, id)
    });
    for (session, id) in ids.collect::<Vec<_>>() {
        assert_eq!(session.wait(id).0, "completed");
    }
}

#[test]
fn sigterm_in_mid_sentence_is_a_clean_end() {
    let mut quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let id = session.say("the daemon is about to leave in the middle of this", opts! {});
    quiet.client.expect_started(id);
    let status = quiet.daemon.stop().expect("it ends");
    assert_eq!(status.code(), Some(0), "{status}\n{}", quiet.daemon.log());
    wait_for("the bus name to be free", || !name_has_owner(&quiet.client));
}

#[test]
fn version_and_help_need_no_bus() {
    let (code, said) = run_to_end(&["--version"], &[("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")], PATIENCE).unwrap();
    assert_eq!(code, Some(0));
    assert!(said.starts_with("utterd ") && said.contains(env!("CARGO_PKG_VERSION")), "{said}");
    let (code, said) = run_to_end(&["--help"], &[], PATIENCE).unwrap();
    assert_eq!(code, Some(0));
    for flag in [
        "--config",
        "--system",
        "--session",
        "--bus-address",
        "--plugin-dir",
        "--driver",
        "--check-config",
        "--version",
    ] {
        assert!(said.contains(flag), "{flag} is missing in:\n{said}");
    }
}

/// Runs `--check-config` on this text; the exit code and what it said, the file's name replaced by FILE.
fn check(text: &str) -> (Option<i32>, String) {
    let dir = TempDir::new("check");
    let file = dir.join("utterd.toml");
    std::fs::write(&file, text).unwrap();
    let path = file.display().to_string();
    let (code, said) = run_to_end(&["--config", &path, "--check-config"], &[], PATIENCE).expect("it ends");
    (code, said.replace(&path, "FILE"))
}

#[test]
fn check_config_accepts_what_we_ship_and_explains_what_is_wrong() {
    let shipped = std::fs::read_to_string(bins::workspace().join("config/utterd.toml")).unwrap();
    let (code, said) = check(&shipped);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check("[cancel]\nfade-ms = 5\n\n[limits]\nsesions = 3\n");
    assert_ne!(code, Some(0));
    for part in ["FILE", "5", "sesions"] {
        assert!(
            said.contains(part),
            "{part:?} is missing: file, line and key belong to the message: {said}"
        );
    }
    let (code, said) = check("[cancel]\nfade-ms = 51\n");
    assert_ne!(code, Some(0));
    for part in ["FILE", "2", "fade-ms", "50"] {
        assert!(
            said.contains(part),
            "{part:?} is missing: also what is allowed belongs to the message: {said}"
        );
    }
    let (code, said) = check("this is [not toml\n");
    assert_ne!(code, Some(0));
    assert!(said.contains("FILE"), "{said}");
    let (code, said) = run_to_end(&["--config", "/nonexistent/utterd.toml", "--check-config"], &[], PATIENCE).unwrap();
    assert_ne!(code, Some(0));
    assert!(said.contains("/nonexistent/utterd.toml"), "{said}");
}

#[test]
fn a_bad_configuration_keeps_it_from_starting_and_says_where() {
    let bus = Bus::start();
    let plan = Plan {
        config: "[log]\nlevel = \"loud\"\n".into(),
        driver: "timer",
        ..Plan::default()
    };
    let mut daemon = Daemon::spawn(bus.address(), None, &plan);
    let status = daemon.wait_exit(PATIENCE).expect("it ends");
    assert!(!status.success());
    let log = daemon.log();
    assert!(
        log.contains("utterd.toml") && log.contains("level") && log.contains("loud"),
        "{log}"
    );
}

#[test]
fn a_bad_reload_keeps_the_old_settings_and_a_good_one_applies() {
    let speak = |voice: &str| format!("[speech]\nbackend = \"{TONE}\"\nvoice = \"{voice}\"\n");
    let quiet = Quiet::with(&Plan {
        driver: "timer",
        config: speak("tone-id"),
        ..Plan::default()
    });
    let session = quiet.client.open("one", opts! {}).unwrap();
    let voice = || {
        let id = session.say("x", opts! { "rate" => 10.0 });
        session.wait(id).1.text("voice").to_owned()
    };
    assert_eq!(voice(), "tone-id");
    quiet.daemon.write_config("[speech]\nvoice = 7\n");
    let error = quiet.client.reload().unwrap_err();
    for part in ["utterd.toml", "2", "voice"] {
        assert!(error.message.contains(part), "{part:?} is missing in {error}");
    }
    assert_eq!(voice(), "tone-id");
    quiet.daemon.write_config(&speak("tone"));
    quiet.client.reload().unwrap();
    assert_eq!(voice(), "tone");

    quiet.daemon.write_config("nonsense = true\n");
    quiet.daemon.signal(rustix::process::Signal::HUP);
    wait_for("the log's word on the bad configuration", || {
        quiet.daemon.log().contains("nonsense")
    });
    assert_eq!(voice(), "tone");
    quiet.daemon.write_config(&speak("tone-id"));
    quiet.daemon.signal(rustix::process::Signal::HUP);
    assert!(
        until(PATIENCE, || (voice() == "tone-id").then_some(())).is_some(),
        "SIGHUP reads the configuration again"
    );
}

#[test]
fn a_plugin_folder_full_of_junk_costs_nothing_but_lines_in_the_log() {
    let bus = Bus::start();
    let dir = TempDir::new("junk");
    let junk = dir.join("plugins");
    std::fs::create_dir(&junk).unwrap();
    let good = std::fs::read(bins::plugin("utterd-tts-tone")).unwrap();
    std::fs::write(junk.join("good.so"), &good).unwrap();
    std::fs::write(junk.join("empty.so"), "").unwrap();
    std::fs::write(junk.join("text.so"), "I am a text file\n".repeat(500)).unwrap();
    for part in [1_000, 4_096, good.len() / 2, good.len() - 1_000] {
        std::fs::write(junk.join(format!("cut-{part}.so")), &good[..part]).unwrap();
    }
    let mut other_machine = good.clone();
    other_machine[18] = 0xf3; // e_machine: RISC-V
    std::fs::write(junk.join("other-machine.so"), other_machine).unwrap();
    std::fs::write(junk.join("readme.txt"), "not even a .so").unwrap();
    std::fs::write(junk.join(".hidden.so"), "hidden").unwrap();
    std::fs::create_dir(junk.join("folder.so")).unwrap();
    std::os::unix::fs::symlink("/nonexistent", junk.join("dangling.so")).unwrap();
    std::fs::write(junk.join("anybody.so"), &good).unwrap();
    std::fs::set_permissions(junk.join("anybody.so"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let pipe = Command::new("mkfifo").arg(junk.join("pipe.so")).status().unwrap();
    assert!(pipe.success());
    if let Some(library) = any_library() {
        std::fs::copy(library, junk.join("not-a-plugin.so")).unwrap();
    }
    let args = vec!["--plugin-dir".to_owned(), junk.display().to_string()];
    let plan = Plan {
        driver: "timer",
        plugins: Vec::new(),
        args,
        ..Plan::default()
    };
    let daemon = Daemon::start(&bus, None, &plan);
    let client = daemon.client();
    let session = client.open("one", opts! { "backend" => TONE }).unwrap();
    let id = session.say("spoken all the same", opts! { "rate" => 10.0 });
    assert_eq!(session.wait(id).0, "completed");
    let log = daemon.log();
    for name in ["empty.so", "text.so", "cut-1000.so", "other-machine.so", "anybody.so"] {
        assert!(log.contains(name), "the log does not say what is wrong with {name}:\n{log}");
    }
    let list = client.call(ROOT, PLUGINS, "List", &()).unwrap();
    let listed = format!("{:?}", list.value);
    assert!(listed.contains("good.so") && listed.contains("\"ready\""), "{listed}");
    assert!(listed.contains("empty.so") && listed.contains("\"rejected\""), "{listed}");
}

/// A shared library that is no plugin.
fn any_library() -> Option<std::path::PathBuf> {
    let candidates = [
        "/usr/lib/x86_64-linux-gnu/libm.so.6",
        "/usr/lib/aarch64-linux-gnu/libm.so.6",
        "/usr/lib64/libm.so.6",
    ];
    candidates.iter().map(std::path::PathBuf::from).find(|p| p.exists())
}

#[test]
fn without_any_plugin_it_runs_and_says_what_is_missing() {
    let quiet = Quiet::with(&Plan {
        driver: "timer",
        plugins: Vec::new(),
        ..Plan::default()
    });
    assert!(quiet.client.voices(opts! {}).unwrap().is_empty());
    let error = quiet.client.say("default", "to nobody", opts! {}).unwrap_err();
    assert!(["NoSuchBackend", "BackendUnavailable"].contains(&error.word()), "{error}");
    assert!(error.message.contains("plugin"), "it says what to do: {error}");
}

#[test]
fn the_voices_are_listed_and_filtered() {
    let quiet = Quiet::start();
    let all = quiet.client.voices(opts! {}).unwrap();
    let ids = |voices: &[utterd_tests::client::Dict]| voices.iter().map(|v| v.text("id").to_owned()).collect::<Vec<_>>();
    assert!(
        all.len() > 10
            && all
                .iter()
                .all(|v| v.number("sample-rate") > 0 && v.has("name") && v.has("languages") && v.has("word-timing"))
    );
    let tone = quiet.client.voices(opts! { "backend" => TONE }).unwrap();
    assert_eq!(ids(&tone), ["tone", "tone-id"]);
    assert_eq!(ids(&quiet.client.voices(opts! { "id" => "tone-id" }).unwrap()), ["tone-id"]);
    let english = quiet
        .client
        .voices(opts! { "language" => "en-GB", "backend" => "tts-espeak-ng" })
        .unwrap();
    assert!(!english.is_empty() && english.len() < all.len());
}

/// "busctl alone can open a session, say, wait, pause, resume, cancel and read the report."
#[test]
fn busctl_alone_can_do_the_essential_verbs() {
    let quiet = Quiet::start();
    let busctl = |args: &[&str]| -> String {
        let mut command = Command::new("busctl");
        command
            .arg(format!("--address={}", quiet.bus.address()))
            .arg("call")
            .arg(NAME)
            .args(args);
        let out = command.output().unwrap_or_else(|e| panic!("busctl: {e}"));
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    let manager = "org.utterd.Utterd1.Manager";
    let session = "org.utterd.Utterd1.Session";
    let opened = busctl(&[ROOT, manager, "OpenSession", "sa{sv}", "desk", "1", "backend", "s", TONE]);
    let path = "/org/utterd/Utterd1/session/desk";
    assert_eq!(opened, format!("o \"{path}\""));
    let said = busctl(&[
        path,
        session,
        "Say",
        "sa{sv}",
        "hello from the shell, at some length",
        "1",
        "rate",
        "d",
        "1",
    ]);
    let id = said.strip_prefix("t ").expect("an id").to_owned();
    quiet.client.expect_started(id.parse().unwrap());
    busctl(&[path, session, "Pause", "a{sv}", "0"]);
    busctl(&[path, session, "Resume", "a{sv}", "0"]);
    let report = busctl(&[path, session, "Cancel", "a{sv}", "1", "utterance", "t", &id]);
    assert!(
        report.contains("\"heard-text\" s") && report.contains("\"result\" s \"cancelled\""),
        "{report}"
    );
    let waited = busctl(&[path, session, "Wait", "ta{sv}", &id, "0"]);
    assert!(waited.starts_with("sa{sv} \"cancelled\""), "{waited}");
    let one_line = busctl(&[
        ROOT, manager, "Say", "ssa{sv}", "default", "one line", "2", "backend", "s", TONE, "rate", "d", "10",
    ]);
    assert!(one_line.starts_with("t "), "{one_line}");
}

#[test]
fn a_client_on_a_bus_that_ends_does_not_hang() {
    let mut quiet = Quiet::start();
    let client: Client = quiet.client.clone();
    quiet.bus.stop();
    assert!(client.voices(opts! {}).is_err());
    let ended = quiet.daemon.wait_exit(PATIENCE);
    assert!(
        ended.is_some(),
        "a daemon without its bus serves nobody: it ends, and systemd or the session starts it again"
    );
}
