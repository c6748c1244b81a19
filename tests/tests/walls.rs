//! A wall is a `Cargo.toml` without the line (STYLE §4): what the walled rooms build on is compared with a short list, and what only one
//! module may name is looked for everywhere else.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use utterd_tests::bins::workspace;

/// The crates that a room is built from, itself left out.
fn builds_on(package: &str) -> BTreeSet<String> {
    tree(package, &[])
}

/// The crates that its `Cargo.toml` names.
fn names(package: &str) -> BTreeSet<String> {
    tree(package, &["--depth", "1"])
}

fn tree(package: &str, more: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace())
        .args(["tree", "--offline", "-e", "normal", "--prefix", "none", "-f", "{p}", "-p", package]);
    cargo.args(more);
    let out = cargo.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let names = text
        .lines()
        .filter_map(|l| l.split(' ').next())
        .filter(|n| !n.is_empty() && *n != package);
    names.map(str::to_owned).collect()
}

fn of(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// Every Rust file below a folder of the workspace, build output apart.
fn sources(folder: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir)
            .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                if entry.file_name() != "target" {
                    walk(&path, found);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&workspace().join(folder), &mut found);
    found
}

/// The code of a file: comments and strings are no use of anything.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|l| {
        let l = l.split("//").next().unwrap_or_default();
        l.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Files below `folder` that name one of these in code, those under `allowed` left out.
fn naming(folder: &str, words: &[&str], allowed: &[&str]) -> Vec<String> {
    let root = workspace();
    let mut found = Vec::new();
    for path in sources(folder) {
        let relative = path.strip_prefix(&root).unwrap().display().to_string();
        if allowed.iter().any(|a| relative.starts_with(a)) {
            continue;
        }
        let code = code(&path);
        found.extend(words.iter().filter(|w| code.contains(**w)).map(|w| format!("{relative} names {w}")));
    }
    found
}

/// Files that name the crate `jack`, not the driver's own module of that name, which shadows the crate where it is imported.
fn naming_the_jack_crate(folder: &str, allowed: &str) -> Vec<String> {
    let root = workspace();
    let names_it = |path: &PathBuf| {
        let code = code(path);
        let imports_ours = ["super::jack", "driver::jack", "mod jack"].iter().any(|ours| code.contains(ours));
        let spelled = |at: usize| !imports_ours && !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        code.contains(" ::jack::") || code.match_indices("jack::").any(|(at, _)| spelled(at))
    };
    let found = sources(folder).into_iter().filter(names_it);
    found
        .map(|p| p.strip_prefix(&root).unwrap().display().to_string())
        .filter(|p| !p.starts_with(allowed))
        .collect()
}

#[test]
fn the_real_time_room_builds_on_rings_alone() {
    assert_eq!(builds_on("utterd-rt"), of(&["rtrb"]));
}

#[test]
fn the_real_time_room_has_no_std_no_heap_and_no_unsafe_code() {
    let lib = std::fs::read_to_string(workspace().join("daemon/rt/src/lib.rs")).unwrap();
    for line in ["#![no_std]", "#![forbid(unsafe_code)]"] {
        assert!(lib.contains(line), "{line} is missing in daemon/rt/src/lib.rs");
    }
    assert_eq!(naming("daemon/rt/src", &["extern crate alloc"], &[]), Vec::<String>::new());
}

#[test]
fn the_deciding_room_builds_on_plain_data() {
    assert_eq!(
        builds_on("utterd-core"),
        of(&[
            "bitflags",
            "memchr",
            "pulldown-cmark",
            "quick-xml",
            "unicase",
            "unicode-properties",
            "unicode-segmentation"
        ])
    );
    let outside = [
        "std::thread",
        "std::fs",
        "std::net",
        "std::io",
        "Instant::now",
        "SystemTime",
        "tracing::",
    ];
    assert_eq!(naming("daemon/core/src", &outside, &[]), Vec::<String>::new());
}

#[test]
fn the_plugin_contract_builds_on_no_other_room() {
    // JSON is how options and descriptions cross the ABI.
    assert_eq!(names("utterd-plugin-api"), of(&["serde", "serde_json"]));
}

#[test]
fn the_plugins_know_the_contract_and_what_they_wrap() {
    for plugin in [
        "utterd-tts-tone",
        "utterd-tts-espeak-ng",
        "utterd-tts-http",
        "utterd-detector-energy",
        "utterd-detector-vad",
    ] {
        let ours: BTreeSet<String> = builds_on(plugin).into_iter().filter(|n| n.starts_with("utterd")).collect();
        assert_eq!(ours, of(&["utterd-plugin-api"]), "{plugin}");
    }
}

#[test]
fn the_configuration_knows_no_running_state() {
    let outside: Vec<String> = builds_on("utterd-config")
        .into_iter()
        .filter(|n| ["zbus", "jack", "libloading", "tracing"].contains(&n.as_str()))
        .collect();
    assert_eq!(outside, Vec::<String>::new());
}

/// O1, from the first commit on: the guard of the audio owner has one door to wrap.
#[test]
fn one_module_alone_opens_activates_and_connects_audio() {
    let door = "daemon/src/driver/jack/";
    assert_eq!(
        naming(
            "daemon/src",
            &["jack_sys", "activate_async", "connect_ports", "register_port"],
            &[door]
        ),
        Vec::<String>::new()
    );
    assert_eq!(naming_the_jack_crate("daemon/src", door), Vec::<String>::new());
    // The guard's own door: the effect that opens an output is carried out here and nowhere else.
    assert_eq!(
        naming(
            "daemon/src",
            &["Driver::start", "driver.order("],
            &["daemon/src/session/device.rs", "daemon/src/driver/"]
        ),
        Vec::<String>::new()
    );
    let used: String = sources(door).iter().map(|path| code(path)).collect();
    assert!(
        used.contains("activate_async") && used.contains("connect_ports"),
        "this test looks at the wrong folder"
    );
}

#[test]
fn one_module_alone_maps_foreign_code() {
    assert_eq!(naming("daemon", &["libloading"], &["daemon/src/plugins"]), Vec::<String>::new());
    assert!(
        !naming("daemon/src/plugins", &["libloading"], &[]).is_empty(),
        "this test looks at the wrong files"
    );
}

#[test]
fn the_bus_and_the_driver_do_not_know_each_other() {
    assert_eq!(
        naming("daemon/src/dbus", &["crate::driver", "crate::tx", "crate::synth"], &[]),
        Vec::<String>::new()
    );
    assert_eq!(
        naming("daemon/src/driver", &["crate::dbus", "crate::session", "zbus"], &[]),
        Vec::<String>::new()
    );
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = ["config", "daemon", "plugin-api", "plugins", "tests"]
        .iter()
        .flat_map(|folder| sources(folder))
        .filter(|path| !std::fs::read_to_string(path).unwrap().trim_start().starts_with("//!"))
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(silent, Vec::<String>::new(), "each file opens with //!");
}
