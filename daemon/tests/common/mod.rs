//! What the tests of plugins share: folders, plugins built on the spot, and an ear. Each test program uses a part of it.

#![allow(dead_code, unreachable_pub, reason = "every test program includes all of it")]

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use utterd::plugins::{LoadOptions, LoadReport, MarkKind, Probe, SpeakEnd, SpeakRequest, SpeakSink, SynthError, TtsBackend, load};

/// A fresh folder of one test.
pub fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("plugins-{name}"));
    if dir.exists() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

pub fn cc(source: &Path, to: &Path, flags: &[&str]) {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-api/include");
    let status = Command::new("cc")
        .args(["-std=gnu99", "-shared", "-fPIC", "-O1", "-Wall", "-Wno-unused-function", "-I"])
        .arg(include)
        .args(flags)
        .arg("-o")
        .arg(to)
        .arg(source)
        .arg("-lm")
        .status()
        .unwrap();
    assert!(status.success(), "cc {flags:?}");
}

pub fn fixture(to: &Path, flags: &[&str]) {
    cc(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/plugin.c"), to, flags);
}

/// Runs `cargo build` with these arguments, as a packager would; the folder of what was built.
pub fn built(what: &[&str]) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let profile: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
    if !what.is_empty() {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--target-dir"])
            .arg(target)
            .args(profile)
            .args(what)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(status.success(), "cargo build {what:?}");
    }
    target.join(if cfg!(debug_assertions) { "debug" } else { "release" })
}

/// The voices and the Rust example, built once: `(tone, espeak, hello)`.
pub fn shipped() -> (PathBuf, PathBuf, PathBuf) {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        built(&["-p", "utterd-tts-tone", "-p", "utterd-tts-espeak-ng"]);
        built(&["-p", "utterd-plugin-api", "--example", "hello"])
    });
    (
        dir.join("libutterd_tts_tone.so"),
        dir.join("libutterd_tts_espeak_ng.so"),
        dir.join("examples/libhello.so"),
    )
}

pub fn install(file: &Path, dir: &Path, name: &str) -> PathBuf {
    let to = dir.join(name);
    std::fs::copy(file, &to).unwrap();
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o644)).unwrap();
    to
}

pub fn options(dirs: &[&Path]) -> LoadOptions {
    LoadOptions {
        dirs: dirs.iter().map(|d| d.to_path_buf()).collect(),
        probe: Probe::Program(env!("CARGO_BIN_EXE_utterd-plugin-check").into()),
        ..LoadOptions::default()
    }
}

pub fn reason(report: &LoadReport, name: &str) -> String {
    let found = report.rejected.iter().find(|r| r.path.file_name().unwrap() == name);
    found
        .unwrap_or_else(|| panic!("{name} was not rejected: {report:?}"))
        .reason
        .clone()
}

/// What was heard of one speech.
#[derive(Default)]
pub struct Ear {
    pub heard: Mutex<Heard>,
    pub limit: Option<usize>,
    pub full: AtomicBool,
}

#[derive(Default, Clone, Debug, PartialEq)]
pub struct Heard {
    pub rate: u32,
    pub samples: Vec<f32>,
    pub marks: Vec<(MarkKind, u64, u32, u32)>,
}

impl SpeakSink for Ear {
    fn write(&self, rate: u32, mono: &[f32]) -> bool {
        let mut heard = self.heard.lock().unwrap();
        heard.rate = rate;
        heard.samples.extend_from_slice(mono);
        self.full
            .fetch_or(self.limit.is_some_and(|l| heard.samples.len() >= l), Ordering::Relaxed);
        !self.cancelled()
    }
    fn mark(&self, kind: MarkKind, sample: u64, off: u32, len: u32, _: &str) {
        self.heard.lock().unwrap().marks.push((kind, sample, off, len));
    }
    fn cancelled(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }
    fn cancel_fd(&self) -> RawFd {
        -1
    }
}

pub fn request(text: &str) -> SpeakRequest<'_> {
    SpeakRequest {
        synthesis: 11,
        utterance: 7,
        session: 3,
        text,
        voice: "",
        language: "",
        rate: 1.0,
        pitch: 1.0,
        gain_db: 0.0,
        out_rate_hint: 48_000,
        params_json: "",
        last: true,
        cacheable: false,
    }
}

pub fn say(tts: &TtsBackend, req: &SpeakRequest<'_>) -> (Result<SpeakEnd, SynthError>, Heard) {
    let ear = Ear::default();
    let end = tts.speak(req, &ear);
    (end, ear.heard.into_inner().unwrap())
}

/// Loads one file of its own folder.
pub fn only(name: &str, file: &Path, config: Option<(&str, serde_json::Value)>) -> Result<Arc<TtsBackend>, String> {
    let dir = folder(name);
    install(file, &dir, "it.so");
    let configs: BTreeMap<_, _> = config.into_iter().map(|(id, value)| (id.to_owned(), value)).collect();
    let report = load(&LoadOptions {
        configs,
        ..options(&[&dir])
    });
    match report.plugins.first() {
        Some(plugin) => Ok(plugin.tts().unwrap().clone()),
        None => Err(report.rejected[0].reason.clone()),
    }
}
