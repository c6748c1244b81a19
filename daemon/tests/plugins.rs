//! Plugins as an operator meets them: folders full of anything, plugins that crash, hang and lie, and the ones we ship, loaded by the real
//! pipeline. Misbehaving ones are built here from one small C file.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use utterd::plugins::{
    LoadOptions, LoadReport, MarkKind, Probe, SpeakEnd, SpeakRequest, SpeakSink, SynthError,
    TtsBackend, load,
};

/// A fresh folder of one test.
fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("plugins-{name}"));
    if dir.exists() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn cc(source: &Path, to: &Path, flags: &[&str]) {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-api/include");
    let status = Command::new("cc")
        .args([
            "-std=gnu99",
            "-shared",
            "-fPIC",
            "-O1",
            "-Wall",
            "-Wno-unused-function",
            "-I",
        ])
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

fn fixture(to: &Path, flags: &[&str]) {
    cc(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/plugin.c"),
        to,
        flags,
    );
}

/// The plugins and the Rust example, built once by cargo as a packager would: `(tone, espeak, hello)`.
fn shipped() -> (PathBuf, PathBuf, PathBuf) {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let profile: &[&str] = if cfg!(debug_assertions) {
            &[]
        } else {
            &["--release"]
        };
        for what in [
            &["-p", "utterd-tts-tone", "-p", "utterd-tts-espeak-ng"][..],
            &["-p", "utterd-plugin-api", "--example", "hello"],
        ] {
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
        target.join(if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        })
    });
    (
        dir.join("libutterd_tts_tone.so"),
        dir.join("libutterd_tts_espeak_ng.so"),
        dir.join("examples/libhello.so"),
    )
}

fn install(file: &Path, dir: &Path, name: &str) -> PathBuf {
    let to = dir.join(name);
    std::fs::copy(file, &to).unwrap();
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o644)).unwrap();
    to
}

fn options(dirs: &[&Path]) -> LoadOptions {
    LoadOptions {
        dirs: dirs.iter().map(|d| d.to_path_buf()).collect(),
        probe: Probe::Program(env!("CARGO_BIN_EXE_utterd-plugin-check").into()),
        ..LoadOptions::default()
    }
}

fn reason(report: &LoadReport, name: &str) -> String {
    let found = report
        .rejected
        .iter()
        .find(|r| r.path.file_name().unwrap() == name);
    found
        .unwrap_or_else(|| panic!("{name} was not rejected: {report:?}"))
        .reason
        .clone()
}

/// What was heard of one speech.
#[derive(Default)]
struct Ear {
    heard: Mutex<Heard>,
    limit: Option<usize>,
    full: AtomicBool,
}

#[derive(Default, Clone, Debug, PartialEq)]
struct Heard {
    rate: u32,
    samples: Vec<f32>,
    marks: Vec<(MarkKind, u64, u32, u32)>,
}

impl SpeakSink for Ear {
    fn write(&self, rate: u32, mono: &[f32]) -> bool {
        let mut heard = self.heard.lock().unwrap();
        heard.rate = rate;
        heard.samples.extend_from_slice(mono);
        self.full.fetch_or(
            self.limit.is_some_and(|l| heard.samples.len() >= l),
            Ordering::Relaxed,
        );
        !self.cancelled()
    }
    fn mark(&self, kind: MarkKind, sample: u64, off: u32, len: u32, _: &str) {
        self.heard
            .lock()
            .unwrap()
            .marks
            .push((kind, sample, off, len));
    }
    fn cancelled(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }
    fn cancel_fd(&self) -> RawFd {
        -1
    }
}

fn request(text: &str) -> SpeakRequest<'_> {
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
    }
}

fn say(tts: &TtsBackend, req: &SpeakRequest<'_>) -> (Result<SpeakEnd, SynthError>, Heard) {
    let ear = Ear::default();
    let end = tts.speak(req, &ear);
    (end, ear.heard.into_inner().unwrap())
}

/// Loads one file of its own folder.
fn only(
    name: &str,
    file: &Path,
    config: Option<(&str, serde_json::Value)>,
) -> Result<Arc<TtsBackend>, String> {
    let dir = folder(name);
    install(file, &dir, "it.so");
    let configs: BTreeMap<_, _> = config
        .into_iter()
        .map(|(id, value)| (id.to_owned(), value))
        .collect();
    let report = load(&LoadOptions {
        configs,
        ..options(&[&dir])
    });
    match report.plugins.first() {
        Some(plugin) => Ok(plugin.tts().unwrap().clone()),
        None => Err(report.rejected[0].reason.clone()),
    }
}

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
        let out = Command::new(env!("CARGO_BIN_EXE_utterd-plugin-check"))
            .arg(&file)
            .output()
            .unwrap();
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
    write(
        "machine.so",
        &[&good[..18], &[0x08, 0x00], &good[20..]].concat(),
    );
    write("small.so", &[&good[..4], &[1], &good[5..]].concat());
    write("README.txt", b"not looked at");
    write(".hidden.so", b"not looked at");
    std::fs::create_dir(dir.join("dir.so")).unwrap();
    std::fs::create_dir(dir.join("two-files.utterd")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(dir.join("fifo.so"))
            .status()
            .unwrap()
            .success()
    );
    symlink(dir.join("nowhere"), dir.join("dangling.so")).unwrap();
    symlink("/dev/zero", dir.join("device.so")).unwrap();
    symlink(dir.join("loop.so"), dir.join("loop.so")).unwrap();
    let libm = Command::new("cc")
        .arg("-print-file-name=libm.so.6")
        .output()
        .unwrap();
    install(
        Path::new(String::from_utf8(libm.stdout).unwrap().trim()),
        &dir,
        "system.so",
    );
    install(&dir.join("good.so"), &dir, "writable.so");
    std::fs::set_permissions(
        dir.join("writable.so"),
        std::fs::Permissions::from_mode(0o666),
    )
    .unwrap();

    let report = load(&options(&[&dir]));
    assert_eq!(
        report
            .plugins
            .iter()
            .map(|p| p.id.as_str())
            .collect::<Vec<_>>(),
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
fn what_crashes_hangs_or_exits_does_so_in_a_process_of_its_own() {
    let dir = folder("crashes");
    for name in ["CRASHES", "CRASHES_WHEN_LOADED", "EXITS", "HANGS", "FLOODS"] {
        fixture(&dir.join(format!("{name}.so")), &[&format!("-D{name}")]);
    }
    let report = load(&LoadOptions {
        probe_timeout: Duration::from_secs(3),
        ..options(&[&dir])
    });
    assert!(report.plugins.is_empty());
    assert!(
        reason(&report, "CRASHES.so").contains("SIGSEGV")
            && reason(&report, "CRASHES.so").contains("about to fall")
    );
    assert!(reason(&report, "CRASHES_WHEN_LOADED.so").contains("SIGABRT"));
    assert!(reason(&report, "EXITS.so").contains("without an answer"));
    assert!(reason(&report, "HANGS.so").contains("hung"));
    assert!(
        reason(&report, "FLOODS.so").contains("SIGXFSZ"),
        "{}",
        reason(&report, "FLOODS.so")
    );
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
        assert!(
            reason(&report, name).contains(part),
            "{name}: {}",
            reason(&report, name)
        );
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
    assert_eq!(
        report.rejected.len(),
        1,
        "a disabled plugin is no mistake: {report:?}"
    );
    assert!(
        reason(&report, "a.so").contains("twin") && reason(&report, "a.so").contains("first/z.so")
    );
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
    let error = only(
        "config-tone",
        &tone,
        Some(("tts-tone", serde_json::json!({ "sped": 2 }))),
    )
    .unwrap_err();
    assert!(error.contains("sped"), "{error}");
    let error = only(
        "config-espeak",
        &espeak,
        Some((
            "tts-espeak-ng",
            serde_json::json!({ "data-dir": "/no/such" }),
        )),
    )
    .unwrap_err();
    assert!(error.contains("install espeak-ng-data"), "{error}");
}

#[test]
fn samples_of_any_shape_become_mono_floats_and_nonsense_is_mended_or_refused() {
    let dir = folder("shapes");
    fixture(&dir.join("it.so"), &["-DID=\"shapes\""]);
    let report = load(&options(&[&dir]));
    let tts = report.plugins[0].tts().unwrap();
    assert_eq!(say(tts, &request("stereo")).1.samples, [0.25, -0.75]);
    let (end, heard) = say(tts, &request("nan"));
    assert_eq!(
        (end, &heard.samples[..4]),
        (Ok(SpeakEnd::Complete), &[0.0, 0.0, 0.0, 0.25][..])
    );
    assert_eq!(tts.counts().non_finite_samples, 3);
    for text in ["rate", "change", "null", "lost", "what"] {
        let (end, _) = say(tts, &request(text));
        assert!(
            matches!(end, Err(SynthError::Misbehaved { .. })),
            "{text}: {end:?}"
        );
    }

    let text = "marks ü";
    let (_, heard) = say(tts, &request(text));
    assert_eq!(
        heard.marks,
        [
            (MarkKind::Word, 100, 0, 5),
            (MarkKind::Word, 100, 6, 2),
            (MarkKind::Word, 200, 6, 2)
        ],
        "in order, inside the text, on code points"
    );
    assert_eq!(
        (tts.counts().marks_clamped, tts.counts().marks_dropped),
        (2, 3)
    );
}

#[test]
fn a_plugin_that_does_not_hear_cancel_is_counted_and_its_error_is_none() {
    let dir = folder("deaf");
    fixture(&dir.join("it.so"), &["-DID=\"deaf\""]);
    let report = load(&options(&[&dir]));
    let tts = report.plugins[0].tts().unwrap();
    let ear = Ear {
        limit: Some(640),
        ..Ear::default()
    };
    assert_eq!(tts.speak(&request("deaf"), &ear), Ok(SpeakEnd::Cancelled));
    assert_eq!(
        ear.heard.lock().unwrap().samples.len(),
        640,
        "nothing gets past a cancel"
    );
    assert_eq!(tts.counts().after_cancel, 48);
    assert_eq!(
        tts.speak(&request("hello"), &ear),
        Ok(SpeakEnd::Cancelled),
        "cancelled before it began"
    );
    tts.cancel(999, 0);
}

#[test]
fn a_panic_of_the_host_waits_until_the_plugin_has_returned() {
    struct Broken;
    impl SpeakSink for Broken {
        fn write(&self, _: u32, _: &[f32]) -> bool {
            panic!("the sink broke")
        }
        fn mark(&self, _: MarkKind, _: u64, _: u32, _: u32, _: &str) {}
        fn cancelled(&self) -> bool {
            false
        }
        fn cancel_fd(&self) -> RawFd {
            -1
        }
    }
    let dir = folder("panic");
    fixture(&dir.join("it.so"), &["-DID=\"panic\""]);
    let report = load(&options(&[&dir]));
    let tts = report.plugins[0].tts().unwrap().clone();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tts.speak(&request("hello"), &Broken)
    }));
    assert_eq!(
        *caught.unwrap_err().downcast::<&str>().unwrap(),
        "the sink broke"
    );
    assert_eq!(
        say(&tts, &request("hello")).0,
        Ok(SpeakEnd::Complete),
        "and the backend goes on"
    );
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

#[test]
fn tone_is_the_same_to_the_sample_and_tone_id_names_every_sample() {
    let tts = only("tone", &shipped().0, None).unwrap();
    assert!(tts.concurrent() && tts.gives_marks());
    let text = "Grüße, schöne Welt";
    let (end, first) = say(&tts, &request(text));
    assert_eq!(
        (end, first.rate, first.samples.len()),
        (Ok(SpeakEnd::Complete), 48_000, text.chars().count() * 2_400)
    );
    assert_eq!(say(&tts, &request(text)).1, first);
    let words: Vec<_> = first
        .marks
        .iter()
        .map(|(_, at, off, len)| (*at, &text[*off as usize..(off + len) as usize]))
        .collect();
    assert_eq!(
        words,
        [(0, "Grüße,"), (7 * 2_400, "schöne"), (14 * 2_400, "Welt")]
    );

    let (_, heard) = say(
        &tts,
        &SpeakRequest {
            voice: "tone-id",
            utterance: 300,
            out_rate_hint: 8_000,
            ..request(text)
        },
    );
    assert_eq!(
        (heard.rate, heard.samples.len()),
        (8_000, text.chars().count() * 400)
    );
    for (n, x) in heard.samples.iter().enumerate() {
        assert_eq!(
            *x,
            ((((300 % 127) + 1) << 16) | (n % 65_536)) as f32 / 8_388_608.0
        );
    }
    let (end, _) = say(
        &tts,
        &SpeakRequest {
            voice: "bass",
            ..request(text)
        },
    );
    assert!(
        matches!(end, Err(SynthError::NoSuchVoice { voice, message }) if voice == "bass" && message.contains("tone-id"))
    );
}

#[test]
fn espeak_marks_every_word_of_a_sentence_at_its_bytes() {
    let tts = only("espeak", &shipped().1, None).unwrap();
    assert!(!tts.concurrent() && tts.gives_marks());
    assert!(
        tts.voices()
            .iter()
            .any(|v| v.id == "en-us" && v.languages.contains(&"en-us".to_owned()))
    );
    let text = "Grüße an alle. Zweitens: 1234 <b>[[Äpfel]]\u{1}\0 😀 und Öl!";
    let (end, heard) = say(
        &tts,
        &SpeakRequest {
            language: "de-AT",
            ..request(text)
        },
    );
    assert_eq!((end, heard.rate), (Ok(SpeakEnd::Complete), 22_050));
    let words: Vec<_> = heard
        .marks
        .iter()
        .filter(|m| m.0 == MarkKind::Word)
        .collect();
    let said: Vec<_> = words
        .iter()
        .map(|(_, _, off, len)| &text[*off as usize..(off + len) as usize])
        .collect();
    for word in [
        "Grüße", "an", "alle", "Zweitens", "1234", "Äpfel", "und", "Öl",
    ] {
        assert!(said.iter().any(|s| s.contains(word)), "{word} of {said:?}");
    }
    assert!(
        words.is_sorted_by(|a, b| a.1 <= b.1 && a.2 < b.2),
        "{words:?}"
    );
    assert!(words.iter().all(|w| w.1 < heard.samples.len() as u64));
    assert_eq!(
        heard
            .marks
            .iter()
            .filter(|m| m.0 == MarkKind::Sentence)
            .count(),
        2,
        "{:?}",
        heard.marks
    );
    assert!(
        heard.samples[..200].iter().all(|x| *x == 0.0),
        "the leading silence stays: marks count it"
    );
    assert_eq!(tts.counts(), Default::default());
}

#[test]
fn espeak_speaks_one_at_a_time_whoever_asks_and_stops_when_told() {
    let tts = only("espeak-cancel", &shipped().1, None).unwrap();
    let long = "This sentence goes on. ".repeat(2_000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let ear = Ear {
                    limit: Some(30_000),
                    ..Ear::default()
                };
                assert_eq!(tts.speak(&request(&long), &ear), Ok(SpeakEnd::Cancelled));
                let heard = ear.heard.lock().unwrap().samples.len();
                assert!(
                    (30_000..32_000).contains(&heard),
                    "a block of 20 ms at most: {heard}"
                );
            });
        }
    });
    let (end, _) = say(
        &tts,
        &SpeakRequest {
            voice: "en-us+nobody",
            ..request("Hello")
        },
    );
    assert!(
        matches!(end, Err(SynthError::NoSuchVoice { .. })),
        "{end:?}"
    );
    let seconds = |voice: &str, rate: f32, last: bool| {
        let (end, heard) = say(
            &tts,
            &SpeakRequest {
                voice,
                rate,
                last,
                ..request("One, two, three, four.")
            },
        );
        assert_eq!(end, Ok(SpeakEnd::Complete));
        heard.samples.len()
    };
    assert!(seconds("en-us+f3", 2.0, true) < seconds("en-us", 1.0, true));
    assert!(
        seconds("", 1.0, true) + 4_000 < seconds("", 1.0, false),
        "the pause follows only what is not the last piece"
    );
}
