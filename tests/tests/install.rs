//! `make install`'s script, into scratch folders: every file of `systemd/` lands where its README says, the units find what they start,
//! and the operator's configuration stays the operator's.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use utterd_tests::bins;
use utterd_tests::daemon::PLUGINS;
use utterd_tests::tempdir::TempDir;

/// Runs the script on this build.
fn install(dest: &Path, prefix: &str) -> Output {
    bins::utterd();
    bins::utterctl();
    bins::plugin_check();
    for crate_name in plugin_crates() {
        bins::plugin(&crate_name);
    }
    let mut script = Command::new(bins::workspace().join("systemd/install"));
    script.arg(dest).arg(prefix).env("BUILD", bins::target_dir());
    script.output().unwrap()
}

#[track_caller]
fn installed(dest: &Path, prefix: &str) {
    let out = install(dest, prefix);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// The crates of the plugins, by their folders.
fn plugin_crates() -> Vec<String> {
    let dirs = fs::read_dir(bins::workspace().join("plugins")).unwrap();
    let names = dirs.map(|d| format!("utterd-{}", d.unwrap().file_name().to_string_lossy()));
    let names: Vec<String> = names.collect();
    assert!(PLUGINS.iter().all(|p| names.iter().any(|n| n == p)), "{names:?}");
    names
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Where a file of `systemd/` belongs, below the prefix.
fn place(file: &Path) -> Option<PathBuf> {
    let name = file.file_name()?;
    let folder = file.parent()?.to_str()?;
    let below = match folder {
        "" => match name.to_str()? {
            "README.md" => return Some("share/doc/utterd/service.md".into()),
            "install" => return None,
            other => panic!("systemd/{other} is not known here"),
        },
        "system" | "user" => format!("lib/systemd/{folder}"),
        "dbus" => "share/dbus-1/interfaces".into(),
        "sysusers.d" | "tmpfiles.d" => format!("lib/{folder}"),
        dbus if dbus.starts_with("dbus-1/") => format!("share/{dbus}"),
        other => panic!("systemd/{other}/ is not known here"),
    };
    Some(Path::new(&below).join(name))
}

#[test]
fn every_file_lands_where_it_belongs() {
    let root = TempDir::new("install");
    installed(root.path(), "/usr");
    let source = bins::workspace().join("systemd");
    let mut seen = 0;
    for file in files_below(&source) {
        let Some(place) = place(file.strip_prefix(&source).unwrap()) else {
            continue;
        };
        let there = root.path().join("usr").join(&place);
        assert_eq!(
            fs::read_to_string(&there).unwrap_or_else(|e| panic!("{}: {e}", there.display())),
            fs::read_to_string(&file).unwrap()
        );
        assert_eq!(
            fs::metadata(&there).unwrap().permissions().mode() & 0o7777,
            0o644,
            "{}",
            there.display()
        );
        seen += 1;
    }
    assert!(seen >= 10, "only {seen} files in systemd/");
    for program in ["utterd", "utterctl", "utterd-detect", "utterd-plugin-check"] {
        let mode = fs::metadata(root.path().join("usr/bin").join(program))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o755, "{program}");
    }
    for plugin in plugin_crates() {
        let name = format!("lib{}.so", plugin.replace('-', "_"));
        let mode = fs::metadata(root.path().join("usr/lib/utterd/plugins").join(&name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o022, 0, "utterd refuses plugins that others may write: {name}");
    }
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(root.path().join("usr/share/licenses/utterd").join(licence).exists());
    }
    assert!(root.path().join("etc/utterd/utterd.toml").exists());
}

#[test]
fn the_installed_daemon_takes_the_installed_configuration() {
    let root = TempDir::new("install");
    installed(root.path(), "/usr");
    let mut utterd = Command::new(root.path().join("usr/bin/utterd"));
    let config = root.path().join("etc/utterd/utterd.toml");
    let out = utterd.arg("--check-config").arg("--config").arg(config).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn another_prefix_is_followed_by_units_and_activation() {
    let root = TempDir::new("install");
    installed(root.path(), "/usr/local");
    let local = root.path().join("usr/local");
    let files = [
        ("lib/systemd/system/utterd.service", "ExecStart="),
        ("lib/systemd/user/utterd.service", "ExecStart="),
        ("share/dbus-1/services/org.utterd.Utterd1.service", "Exec="),
        ("share/dbus-1/system-services/org.utterd.Utterd1.service", "Exec="),
    ];
    for (file, key) in files {
        let text = fs::read_to_string(local.join(file)).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix(key)).unwrap();
        let program = line.split(' ').next().unwrap().trim_start_matches('/');
        assert!(
            program.starts_with("usr/local/") && root.path().join(program).exists(),
            "{file} starts {line}"
        );
    }
    assert!(
        root.path().join("etc/dbus-1/system.d/org.utterd.Utterd1.conf").exists(),
        "the system bus reads no policies below /usr/local"
    );
}

#[test]
fn the_operators_configuration_stays() {
    let root = TempDir::new("install");
    installed(root.path(), "/usr");
    let (config, shipped) = (
        root.path().join("etc/utterd/utterd.toml"),
        root.path().join("etc/utterd/utterd.toml.new"),
    );
    installed(root.path(), "/usr");
    assert!(!shipped.exists(), "nothing differs, so nothing is laid beside");
    fs::write(&config, "# mine\n").unwrap();
    installed(root.path(), "/usr");
    assert_eq!(fs::read_to_string(&config).unwrap(), "# mine\n");
    assert_eq!(
        fs::read_to_string(&shipped).unwrap(),
        fs::read_to_string(bins::workspace().join("config/utterd.toml")).unwrap()
    );
}

#[test]
fn what_cannot_be_installed_is_refused_with_the_reason() {
    let root = TempDir::new("install");
    for (prefix, reason) in [("usr", "PREFIX"), ("/usr/", "PREFIX"), ("/u|sr", "blanks")] {
        let out = install(root.path(), prefix);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(2) && said.contains(reason), "{prefix}: {said}");
    }
    let mut script = Command::new(bins::workspace().join("systemd/install"));
    let out = script.arg(root.path()).arg("/usr").env("BUILD", root.path()).output().unwrap();
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("make build"));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "a refusal leaves nothing behind");
}

/// systemd's own opinion, inside the installed tree: it misses a program that is not there and complains about unknown keys.
#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let root = TempDir::new("install");
    installed(root.path(), "/usr");
    // What a machine has beside us: the units that ours name, and kill.
    let kill = root.path().join("usr/bin/kill");
    fs::write(&kill, "").unwrap();
    fs::set_permissions(&kill, fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("usr/bin", root.path().join("bin")).unwrap();
    for manager in ["system", "user"] {
        let socket = root.path().join(format!("usr/lib/systemd/{manager}/dbus.socket"));
        fs::write(socket, "[Socket]\nListenStream=/run/dbus/system_bus_socket\n").unwrap();
        fs::write(
            root.path().join(format!("usr/lib/systemd/{manager}/dbus.service")),
            "[Service]\nExecStart=/usr/bin/kill\n",
        )
        .unwrap();
    }
    // A user's manager knows no --root: the same unit there, its programs spelled with the folder.
    let user_units = root.path().join("usr/lib/systemd/user");
    let text = fs::read_to_string(user_units.join("utterd.service")).unwrap();
    let text = text.replace("=/usr/bin", &format!("={}/usr/bin", root.path().display()));
    fs::write(user_units.join("utterd.service"), text).unwrap();
    let verify = |manager: &str| -> (bool, String) {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["verify", "--man=no", "--recursive-errors=no", &format!("--{manager}")]);
        analyze.env("SYSTEMD_LOG_COLOR", "0");
        if manager == "system" {
            analyze
                .arg(format!("--root={}", root.path().display()))
                .arg("/usr/lib/systemd/system/utterd.service");
        } else {
            analyze
                .env("XDG_RUNTIME_DIR", root.path())
                .env("SYSTEMD_UNIT_PATH", format!("{}:", user_units.display()));
            analyze.arg(user_units.join("utterd.service"));
        }
        let out = analyze.output().expect("systemd-analyze (package systemd) is needed");
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    for manager in ["system", "user"] {
        let (good, said) = verify(manager);
        assert!(good && said.is_empty(), "{manager}: {said}");
    }
    // And it would have noticed.
    fs::remove_file(root.path().join("usr/bin/utterd")).unwrap();
    for manager in ["system", "user"] {
        let (good, said) = verify(manager);
        assert!(!good && said.contains("/usr/bin/utterd"), "{manager}: {said}");
    }
}
