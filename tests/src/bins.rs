//! Where the built programs and plugins are: beside the test that runs, in `target/debug` or `target/release`.
//!
//! Cargo tells an integration test the path of its own package's binaries only, so those of other packages are found by place; one
//! that is missing is built once, which makes `cargo test -p utterd-tests` work in a fresh clone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The workspace's root.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// `target/debug` or `target/release`: the folder of the running program, `deps` and `examples` apart.
pub fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let mut dir = exe.parent().unwrap().to_owned();
    if dir.ends_with("deps") || dir.ends_with("examples") {
        dir.pop();
    }
    dir
}

pub fn utterd() -> PathBuf {
    built("utterd", "utterd")
}

pub fn plugin_check() -> PathBuf {
    built("utterd-plugin-check", "utterd")
}

pub fn utterctl() -> PathBuf {
    built("utterctl", "utterctl")
}

pub fn plugin_check() -> PathBuf {
    built("utterd-plugin-check", "utterd")
}

/// One of this package's own helpers (`src/bin`).
pub fn helper(name: &str) -> PathBuf {
    built(name, "utterd-tests")
}

/// A plugin's shared object, by the name of its crate.
pub fn plugin(package: &str) -> PathBuf {
    built(&format!("lib{}.so", package.replace('-', "_")), package)
}

fn built(file: &str, package: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let path = target_dir().join(file);
    if !path.exists() {
        let _one_at_a_time = BUILDING.lock().unwrap_or_else(|e| e.into_inner());
        if !path.exists() {
            build(package);
        }
    }
    assert!(path.exists(), "{} is missing also after `cargo build -p {package}`", path.display());
    path
}

fn build(package: &str) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(["build", "--quiet", "-p", package]);
    if package == "utterd-tests" {
        cargo.arg("--bins");
    }
    if target_dir().ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo
        .status()
        .unwrap_or_else(|e| panic!("cannot run cargo to build {package}: {e}"));
    assert!(status.success(), "`cargo build -p {package}` failed");
}
