//! Plugins as an operator meets them: folders full of anything, plugins that crash, hang and lie, and the ones we ship, loaded by the real
//! pipeline. Misbehaving ones are built here from one small C file.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use utterd::plugins::{LoadOptions, Probe, SpeakEnd, load};

mod common;
use common::{cc, fixture, folder, install, only, options, reason, request, say, shipped};

#[test]
fn every_plugin_we_build_passes_the_conformance_suite() {
    let (tone, espeak, hello_rust) = shipped();
    let dir = folder("conformance");
    let hello_c = dir.join("hello.so");
    cc(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-api/examples/hello.c"),
        &hello_c,
        &[],
    );
    for file in [tone, espeak, hello_rust, hello_c] {
        let file = install(&file, &dir, "checked.so");
        let out = Command::new(env!("CARGO_BIN_EXE_utterd-plugin-check")).arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        println!("{text}");
        assert!(out.status.success() && !text.contains("FAIL"), "{text}");
    }
}

#[test]
fn the_checker_says_what_is_wrong_with_a_plugin_that_crashes_it() {
    let dir = folder("checker");
    fixture(&dir.join("crash.so"), &["-DCRASHES"]);
    let out = Command::new(env!("CARGO_BIN_EXE_utterd-plugin-check"))
        .arg(dir.join("crash.so"))
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stdout).contains("crashed with SIGSEGV"));
}

#[test]
fn a_folder_full_of_junk_gives_reasons_and_the_good_one_is_loaded() {
    let dir = folder("junk");
    fixture(&dir.join("good.so"), &[]);
    let good = std::fs::read(dir.join("good.so")).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
    write("empty.so", b"");
    write("text.so", b"#!/bin/sh\necho hello, this is no library\n");
    write("cut.so", &good[..good.len() / 2]);
    write("header.so", &good[..64]);
    write("machine.so", &[&good[..18], &[0x08, 0x00], &good[20..]].concat());
    write("small.so", &[&good[..4], &[1], &good[5..]].concat());
    write("README.txt", b"not looked at");
    write(".hidden.so", b"not looked at");
    std::fs::create_dir(dir.join("dir.so")).unwrap();
    std::fs::create_dir(dir.join("two-files.utterd")).unwrap();
    assert!(Command::new("mkfifo").arg(dir.join("fifo.so")).status().unwrap().success());
    symlink(dir.join("nowhere"), dir.join("dangling.so")).unwrap();
    symlink("/dev/zero", dir.join("device.so")).unwrap();
    symlink(dir.join("loop.so"), dir.join("loop.so")).unwrap();
    let libm = Command::new("cc").arg("-print-file-name=libm.so.6").output().unwrap();
    install(Path::new(String::from_utf8(libm.stdout).unwrap().trim()), &dir, "system.so");
    install(&dir.join("good.so"), &dir, "writable.so");
    std::fs::set_permissions(dir.join("writable.so"), std::fs::Permissions::from_mode(0o666)).unwrap();

    let report = load(&options(&[&dir]));
    assert_eq!(
        report.plugins.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(),
        ["fixture"],
        "{report:?}"
    );
    assert_eq!(report.plugins[0].kinds, ["tts"]);
    for (name, part) in [
        ("empty.so", "empty"),
        ("text.so", "no ELF header"),
        ("cut.so", "cop"),
        ("header.so", "half-copied"),
        ("machine.so", "another machine"),
        ("small.so", "32-bit"),
        ("dir.so", "a directory"),
        ("two-files.utterd", "more than one file"),
        ("fifo.so", "a FIFO"),
        ("dangling.so", "does not exist"),
        ("device.so", "a device"),
        ("loop.so", "cannot be opened"),
        ("system.so", "no section .utterd.plugin"),
        ("writable.so", "chmod go-w"),
    ] {
        let reason = reason(&report, name);
        assert!(reason.contains(part), "{name}: {reason}");
        assert!(!reason.contains('\n'));
    }
    assert_eq!(report.rejected.len(), 14, "{report:?}");
}

#[test]
fn a_plugin_of_another_user_is_refused() {
    let dir = folder("owner");
    fixture(&dir.join("foreign.so"), &[]);
    if let Err(e) = std::os::unix::fs::chown(dir.join("foreign.so"), Some(65_534), None) {
        println!("not tried: {e}");
        return;
    }
    assert!(reason(&load(&options(&[&dir])), "foreign.so").contains("owned by uid 65534"));
}

#[test]
fn what_crashes_or_exits_does_so_in_a_process_of_its_own() {
    let dir = folder("crashes");
    for name in ["CRASHES", "CRASHES_WHEN_LOADED", "EXITS"] {
        fixture(&dir.join(format!("{name}.so")), &[&format!("-D{name}")]);
    }
    let report = load(&LoadOptions {
        probe_timeout: Duration::from_secs(60),
        ..options(&[&dir])
    });
    assert!(report.plugins.is_empty());
    let crash = reason(&report, "CRASHES.so");
    assert!(crash.contains("SIGSEGV") && crash.contains("about to fall"), "{crash}");
    assert!(reason(&report, "CRASHES_WHEN_LOADED.so").contains("SIGABRT"));
    assert!(reason(&report, "EXITS.so").contains("without an answer"));
}

#[test]
fn what_hangs_or_never_stops_talking_is_ended() {
    let dir = folder("hangs");
    for name in ["HANGS", "FLOODS"] {
        fixture(&dir.join(format!("{name}.so")), &[&format!("-D{name}")]);
    }
    let report = load(&LoadOptions {
        probe_timeout: Duration::from_secs(1),
        ..options(&[&dir])
    });
    assert!(report.plugins.is_empty());
    assert!(reason(&report, "HANGS.so").contains("hung"));
    assert!(reason(&report, "FLOODS.so").contains("hung"));
}

#[test]
fn what_lies_about_itself_is_refused_with_the_lie() {
    let dir = folder("lies");
    for (name, flags) in [
        ("abi.so", &["-DABI=\"2.0\""][..]),
        ("id.so", &["-DID=\"../up\""]),
        ("symbol.so", &["-DNO_SYMBOL"]),
        ("manifest.so", &["-DLIES"]),
        ("json.so", &["-DBAD_JSON"]),
        ("rate.so", &["-DBAD_RATE"]),
        ("refuses.so", &["-DREFUSES"]),
        ("origin.so", &["-Wl,-rpath,$ORIGIN/lib"]),
    ] {
        fixture(&dir.join(name), flags);
    }
    let report = load(&options(&[&dir]));
    assert!(report.plugins.is_empty(), "{report:?}");
    for (name, part) in [
        ("abi.so", "built for plugin ABI 2"),
        ("id.so", "\"../up\""),
        ("symbol.so", "no symbol utterd_plugin_v1"),
        ("manifest.so", "not that of its section"),
        ("json.so", "describe()"),
        ("rate.so", "7 Hz"),
        ("refuses.so", "no key here! (not authorised)"),
        ("origin.so", "$ORIGIN"),
    ] {
        assert!(reason(&report, name).contains(part), "{name}: {}", reason(&report, name));
    }
}

#[test]
fn of_two_plugins_with_one_id_the_first_folder_wins_and_both_are_named() {
    let (first, second) = (folder("first"), folder("second"));
    fixture(&first.join("z.so"), &["-DID=\"twin\""]);
    fixture(&second.join("a.so"), &["-DID=\"twin\"", "-DBAD_JSON"]);
    fixture(&second.join("off.so"), &["-DID=\"unwanted\""]);
    let report = load(&LoadOptions {
        disabled: vec!["unwanted".into()],
        ..options(&[&first, &second, Path::new("/no/such/folder")])
    });
    assert_eq!(report.plugins.len(), 1);
    assert_eq!(report.plugins[0].path, first.join("z.so"));
    assert_eq!(report.rejected.len(), 1, "a disabled plugin is no mistake: {report:?}");
    assert_eq!(report.disabled.len(), 1);
    assert_eq!(
        (report.disabled[0].identity.id.as_str(), &report.disabled[0].path),
        ("unwanted", &second.join("off.so"))
    );
    assert_eq!(report.rejected[0].identity.id, "twin", "what could be read of it is told");
    assert!(reason(&report, "a.so").contains("twin") && reason(&report, "a.so").contains("first/z.so"));
}

#[test]
fn a_loaded_plugin_does_not_mind_what_becomes_of_its_file() {
    let dir = folder("overwritten");
    fixture(&dir.join("it.so"), &["-DID=\"kept\""]);
    let report = load(&options(&[&dir]));
    let tts = report.plugins[0].tts().unwrap().clone();
    std::fs::write(dir.join("it.so"), b"gone").unwrap();
    assert_eq!(say(&tts, &request("hello")).0, Ok(SpeakEnd::Complete));
    // And the same folder again: the new content is looked at, not the old one.
    assert!(reason(&load(&options(&[&dir])), "it.so").contains("no ELF header"));
    assert_eq!(say(&tts, &request("hello")).0, Ok(SpeakEnd::Complete));
}

#[test]
fn a_wrong_configuration_is_a_rejection_that_names_the_key() {
    let (tone, espeak, _) = shipped();
    let error = only("config-tone", &tone, Some(("tts-tone", serde_json::json!({ "sped": 2 })))).unwrap_err();
    assert!(error.contains("sped"), "{error}");
    let error = only(
        "config-espeak",
        &espeak,
        Some(("tts-espeak-ng", serde_json::json!({ "data-dir": "/no/such" }))),
    )
    .unwrap_err();
    assert!(error.contains("install espeak-ng-data"), "{error}");
}

#[test]
fn loading_leaves_the_floating_point_mode_alone() {
    let dir = folder("fast-math");
    fixture(&dir.join("it.so"), &["-DID=\"fast\"", "-ffast-math"]);
    // Without the child, whose own mode would be the one that changes first.
    let report = load(&LoadOptions {
        probe: Probe::Skip,
        ..options(&[&dir])
    });
    assert_eq!(report.plugins.len(), 1, "{report:?}");
    let halved = std::hint::black_box(f32::MIN_POSITIVE) / std::hint::black_box(2.0);
    assert!(halved > 0.0, "denormals are flushed to zero");
}
