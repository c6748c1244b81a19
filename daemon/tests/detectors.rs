//! Detectors behind the ABI: the ones we ship, loaded by the real pipeline, and one in C that misbehaves by name.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use utterd::plugins::{
    Detector, DetectorFault, DetectorInfo, DetectorInput, DetectorOutput, DetectorStream, DetectorStreamSpec, InputFlags, LoadOptions, load,
};
use utterd_core::hearing::FindingKind;

mod common;
use common::{built, cc, folder, install, options, reason};

fn faulty(to: &Path) {
    cc(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/detector.c"), to, &[]);
}

/// The faulty detector in one of its modes.
fn misbehaving(mode: &str) -> Result<Arc<Detector>, String> {
    loaded(mode, None)
}

/// And in a process of its own.
fn isolated(mode: &str) -> Arc<Detector> {
    loaded(mode, Some(vec!["another".to_owned()])).unwrap()
}

fn loaded(mode: &str, inproc: Option<Vec<String>>) -> Result<Arc<Detector>, String> {
    let dir = folder(&format!("detector-{mode}-{}", inproc.is_some()));
    faulty(&dir.join("faulty.so"));
    let report = load(&LoadOptions {
        configs: BTreeMap::from([("faulty".to_owned(), serde_json::json!({ "mode": mode }))]),
        inproc,
        ..options(&[&dir])
    });
    match report.plugins.first() {
        Some(plugin) => Ok(plugin.detector().unwrap().clone()),
        None => Err(reason(&report, "faulty.so")),
    }
}

fn open(detector: &Detector, rate: u32, frame: usize) -> DetectorStream {
    let spec = DetectorStreamSpec {
        session: 1,
        rate,
        frame,
        ..DetectorStreamSpec::default()
    };
    detector.open(spec).unwrap()
}

fn hear(stream: &mut DetectorStream, t: u64, near: &[f32]) -> Result<DetectorOutput, DetectorFault> {
    let flags = InputFlags {
        ai_speaking: true,
        ..InputFlags::default()
    };
    stream.process(
        DetectorInput {
            t,
            near,
            flags,
            ..DetectorInput::default()
        },
        None,
    )
}

#[test]
fn a_detector_is_loaded_described_and_heard_with_its_times() {
    let detector = misbehaving("honest").unwrap();
    assert_eq!(detector.id(), "faulty");
    assert!(detector.hard_rt() && detector.cleans() && !detector.needs_far() && detector.takes(44_100));
    assert_eq!(detector.info().clean_delay_ms, 3);
    let mut stream = open(&detector, 8_000, 160);
    let mut events = Vec::new();
    for n in 0..60u64 {
        let level = if (10..40).contains(&n) { 0.5 } else { 0.0 };
        let heard = hear(&mut stream, n * 160, &[level; 160]).unwrap();
        events.extend(heard.kinds().map(|kind| (n, kind, heard.t_event / 160)));
    }
    assert_eq!(
        events,
        [
            (10, FindingKind::SpeechStart, 10),
            (20, FindingKind::BargeIn, 10),
            (50, FindingKind::SpeechEnd, 40)
        ]
    );
    assert_eq!(detector.counts().frames, 60);
    stream.reset();
    assert_eq!(
        hear(&mut stream, 0, &[0.5; 160]).unwrap().kinds().next(),
        Some(FindingKind::SpeechStart)
    );
}

#[test]
fn what_is_not_finite_reaches_no_detector_and_comes_from_none() {
    let detector = misbehaving("honest").unwrap();
    let mut stream = open(&detector, 8_000, 4);
    assert_eq!(hear(&mut stream, 0, &[f32::NAN, 0.25, f32::INFINITY, -0.5]).unwrap().prob, 0.5);
    assert_eq!(detector.counts().non_finite_in, 2);
    let mut clean = [9.0; 2];
    let input = DetectorInput {
        near: &[0.25, f32::NAN],
        ..DetectorInput::default()
    };
    stream.process(input, Some(&mut clean)).unwrap();
    assert_eq!(clean, [0.125, 0.0]);

    let detector = misbehaving("nonsense").unwrap();
    let mut stream = open(&detector, 8_000, 2);
    hear(&mut stream, 0, &[0.0; 2]).unwrap();
    let mut clean = [9.0; 2];
    let told = stream.process(DetectorInput { t: 2, ..input }, Some(&mut clean)).unwrap();
    assert_eq!((told.prob, told.confidence, told.t_event, clean), (0.0, 1.0, 4, [0.0, 0.0]));
    assert_eq!(told.kinds().collect::<Vec<_>>(), [FindingKind::Tone], "unknown events are ignored");
    assert!(detector.counts().mended > 0);
}

#[test]
fn faults_are_values_and_counted_and_after_a_panic_the_stream_is_deaf() {
    let detector = misbehaving("error").unwrap();
    let mut stream = open(&detector, 8_000, 80);
    hear(&mut stream, 0, &[0.0; 80]).unwrap();
    assert_eq!(hear(&mut stream, 80, &[0.0; 80]), Err(DetectorFault::Failed(-4)));
    assert_eq!(hear(&mut stream, 160, &[0.0; 81]), Err(DetectorFault::Frame));
    assert_eq!(detector.counts().faults, 1);

    let detector = misbehaving("panic").unwrap();
    let mut stream = open(&detector, 8_000, 80);
    hear(&mut stream, 0, &[0.0; 80]).unwrap();
    for _ in 0..2 {
        assert_eq!(hear(&mut stream, 80, &[0.0; 80]), Err(DetectorFault::Panicked));
        stream.reset();
    }
    assert_eq!(detector.counts().faults, 1, "it was not called again");
    hear(&mut open(&detector, 8_000, 80), 0, &[0.0; 80]).unwrap();
}

#[test]
fn a_slow_detector_is_measured_and_one_that_opens_no_stream_is_refused_with_its_words() {
    let detector = misbehaving("slow").unwrap();
    let mut stream = open(&detector, 8_000, 80);
    for t in 0..3 {
        hear(&mut stream, t * 80, &[0.0; 80]).unwrap();
    }
    assert!(detector.counts().worst >= Duration::from_millis(50));
    let why = misbehaving("closed").unwrap_err();
    assert!(why.contains("out of ears!"), "{why}");
}

#[test]
fn one_in_a_process_of_its_own_hears_what_it_hears_in_ours() {
    for mode in ["honest", "nonsense", "error"] {
        let (ours, own) = (misbehaving(mode).unwrap(), isolated(mode));
        assert!(!own.hard_rt(), "who waits for another process is not real-time");
        let info = DetectorInfo {
            hard_rt: false,
            ..ours.info().clone()
        };
        assert_eq!(own.info(), &info);
        let all = [&ours, &own].map(|detector| {
            let mut stream = open(detector, 8_000, 160);
            let mut all = Vec::new();
            for n in 0..120u64 {
                // Loud for a while, then no numbers, then a new beginning, and the last frames are shorter.
                let level = [0.0, 0.5, f32::NAN, 0.25][n as usize / 30];
                if n == 100 {
                    stream.reset();
                }
                let (near, far) = ([level; 160], [0.1; 160]);
                let len = if n < 110 { 160 } else { 7 };
                let input = DetectorInput {
                    t: n * 160,
                    near: &near[..len],
                    far: (n % 2 == 0).then_some(&far[..len]),
                    ..DetectorInput::default()
                };
                let mut clean = vec![9.0; len];
                let heard = stream.process(input, (n % 3 > 0).then_some(&mut clean));
                all.push((heard, clean));
            }
            let counts = detector.counts();
            (all, counts.frames, counts.faults, counts.non_finite_in, counts.mended)
        });
        assert_eq!(format!("{:?}", all[0]), format!("{:?}", all[1]), "{mode}");
    }
}

#[test]
fn one_that_ends_its_own_process_or_hangs_there_is_deaf_and_another_stream_hears() {
    let here = || std::fs::read_to_string("/proc/thread-self/children").unwrap();
    for (mode, fault, words) in [
        ("crashes", DetectorFault::Crashed(11), "crashed its process with SIGSEGV"),
        ("exits", DetectorFault::Crashed(0), "ended its process"),
        ("hangs", DetectorFault::Lost, "hangs: its process was killed"),
    ] {
        let detector = isolated(mode);
        let mut stream = open(&detector, 8_000, 80);
        hear(&mut stream, 0, &[0.0; 80]).unwrap();
        let mut clean = [9.0; 80];
        let input = DetectorInput {
            t: 80,
            near: &[0.25; 80],
            ..DetectorInput::default()
        };
        assert_eq!(stream.process(input, Some(&mut clean)), Err(fault), "{mode}");
        assert_eq!(clean, [0.25; 80], "{mode}: what nobody cleaned");
        assert!(fault.is_fatal(1) && fault.to_string().contains(words), "{fault}");
        assert_eq!(here(), "", "{mode}: its process is gone");
        stream.reset();
        assert_eq!(hear(&mut stream, 160, &[0.0; 80]), Err(fault), "{mode}");
        assert_eq!(detector.counts().faults, 1, "{mode}: it was not asked again");

        let mut other = open(&detector, 8_000, 80);
        hear(&mut other, 0, &[0.0; 80]).unwrap();
        assert!(!here().is_empty());
        drop(other);
        assert_eq!(here(), "", "{mode}: it ends with its stream");
    }
}

#[test]
fn one_in_a_process_of_its_own_is_refused_with_its_words() {
    let detector = loaded("closed", Some(Vec::new())).unwrap_err();
    assert!(detector.contains("out of ears!"), "{detector}");
    let why = isolated("picky").open(DetectorStreamSpec {
        rate: 44_100,
        frame: 441,
        ..DetectorStreamSpec::default()
    });
    let why = why.unwrap_err().to_string();
    assert!(why.contains("not at 44100 Hz!"), "{why}");
}

#[test]
fn streams_that_cannot_be_are_refused() {
    let detector = misbehaving("honest").unwrap();
    for (rate, frame) in [(0, 160), (8_000, 0), (8_000, 1 << 20)] {
        let spec = DetectorStreamSpec {
            rate,
            frame,
            ..DetectorStreamSpec::default()
        };
        assert!(detector.open(spec).is_err());
    }
}

/// The shipped detectors.
fn shipped() -> [PathBuf; 2] {
    ["detector-energy", "detector-vad"].map(|id| {
        built(&["-p", &format!("utterd-{id}")]);
        built(&[]).join(format!("libutterd_{}.so", id.replace('-', "_")))
    })
}

#[test]
fn every_detector_we_build_passes_the_conformance_suite_and_the_faulty_ones_do_not() {
    let dir = folder("conformance-detectors");
    let check = |file: &Path, config: &str| {
        let out = Command::new(env!("CARGO_BIN_EXE_utterd-plugin-check"))
            .arg(file)
            .arg(config)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        (out.status.success(), text)
    };
    for file in shipped() {
        let (passed, text) = check(&install(&file, &dir, "checked.so"), "{}");
        println!("{text}");
        assert!(passed && !text.contains("FAIL"), "{text}");
    }
    faulty(&dir.join("faulty.so"));
    for (mode, word) in [
        ("error", "status -4"),
        ("panic", "panicked"),
        ("nonsense", "had to"),
        ("allocates", "allocator"),
        ("constant", "silence"),
    ] {
        let (passed, text) = check(&dir.join("faulty.so"), &format!("{{\"mode\":\"{mode}\"}}"));
        let found = text.lines().any(|l| l.starts_with("FAIL") && l.contains(word));
        assert!(!passed && found, "{mode}: {text}");
    }
    let (passed, text) = check(&dir.join("faulty.so"), "{}");
    assert!(passed, "{text}");
}

#[test]
fn shipped_detectors_refuse_a_sensitivity_that_is_none_and_a_key_that_they_do_not_know() {
    let dir = folder("detector-config");
    for (n, file) in shipped().iter().enumerate() {
        install(file, &dir, &format!("{n}.so"));
    }
    let place = ("sensitiviti".to_owned(), "/etc/utterd/utterd.toml:7".to_owned());
    for (config, word) in [
        (serde_json::json!({ "sensitivity": 1.5 }), "between 0 and 1"),
        (serde_json::json!({ "sensitivity": "high" }), "(configuration)"),
        (
            serde_json::json!({ "sensitivity": 0.5, "sensitiviti": 0.5 }),
            "sensitiviti; allowed: sensitivity",
        ),
    ] {
        let ids = ["detector-energy", "detector-vad"].map(|id| (id.to_owned(), config.clone()));
        let places = ["detector-energy", "detector-vad"].map(|id| (id.to_owned(), BTreeMap::from([place.clone()])));
        let report = load(&LoadOptions {
            configs: BTreeMap::from(ids),
            places: BTreeMap::from(places),
            ..options(&[&dir])
        });
        assert!(report.plugins.is_empty(), "{config}");
        for file in ["0.so", "1.so"] {
            let reason = reason(&report, file);
            assert!(reason.contains(word), "{file} with {config}: {reason}");
            assert_eq!(
                reason.starts_with("/etc/utterd/utterd.toml:7: unknown key plugin.detector-"),
                word.contains("allowed")
            );
        }
    }
}
