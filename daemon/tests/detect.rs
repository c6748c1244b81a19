//! `utterd-detect` as somebody who judges a detector meets it: recordings in, lines of JSON out, and a clear word for everything that is no
//! such recording.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use hound::{SampleFormat, WavSpec, WavWriter};
use serde_json::Value;

mod common;
use common::{built, cc, folder, install};

const DETECT: &str = env!("CARGO_BIN_EXE_utterd-detect");

/// A folder with the shipped detectors, as they are installed.
fn plugins() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = folder("detect");
        for id in ["detector-energy", "detector-vad"] {
            let so = format!("libutterd_{}.so", id.replace('-', "_"));
            install(&built(&["-p", &format!("utterd-{id}")]).join(&so), &dir, &so);
        }
        dir
    })
}

fn detect(detector: &str, args: &[&str], files: &[&Path]) -> Output {
    command(detector, args, files).output().unwrap()
}

fn command(detector: &str, args: &[&str], files: &[&Path]) -> Command {
    let config = plugins().join("none.toml");
    fs::write(&config, "").unwrap();
    let mut command = Command::new(DETECT);
    command.args(["--detector", detector, "--plugin-dir"]).arg(plugins());
    command.arg("--config").arg(config).args(args).args(files);
    command
}

/// By the detector in C that misbehaves in this way.
fn misjudge(dir: &Path, mode: &str, files: &[&Path]) -> Output {
    cc(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/detector.c"),
        &dir.join("faulty.so"),
        &[],
    );
    let config = dir.join("faulty.toml");
    fs::write(&config, format!("[plugin.faulty]\nmode = \"{mode}\"\n")).unwrap();
    let mut command = Command::new(DETECT);
    command.args(["--detector", "faulty", "--plugin-dir"]).arg(dir);
    command.arg("--config").arg(config).args(files).output().unwrap()
}

/// Its events as `(t_ms, event)`, with the end's audio_ms for its time.
fn events(out: &Output) -> Vec<(f64, String)> {
    let text = String::from_utf8(out.stdout.clone()).unwrap();
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let event = line["event"].as_str().unwrap().to_owned();
        let at = if event == "eof" { &line["audio_ms"] } else { &line["t_ms"] };
        assert!(event != "eof" || line["cpu_ms"].as_f64().unwrap() >= 0.0);
        (at.as_f64().unwrap(), event)
    };
    text.lines().map(line).collect()
}

fn names(events: &[(f64, String)]) -> Vec<&str> {
    events.iter().map(|(_, event)| event.as_str()).collect()
}

/// Something like a voice from `begin` to `end` seconds.
fn voice(t: f64, begin: f64, end: f64, hz: f64) -> f64 {
    if !(begin..end).contains(&t) {
        return 0.0;
    }
    let phase = std::f64::consts::TAU * (hz * t + 0.03 * hz * (std::f64::consts::TAU * 3.0 * t).sin() / 3.0);
    let syllable = 0.6 + 0.4 * (std::f64::consts::TAU * 4.0 * t).sin();
    0.15 * syllable * (1..16).map(|k| (phase * f64::from(k)).sin() / f64::from(k)).sum::<f64>()
}

fn noise(n: u64) -> f64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    0.001 * ((z >> 40) as f64 / f64::from(1 << 23) - 1.0)
}

/// The agent speaks all the time and comes back as a faint echo; the user speaks in these spans.
fn conversation(path: &Path, spec: WavSpec, seconds: f64, user: &[(f64, f64)]) {
    let mut wav = WavWriter::create(path, spec).unwrap();
    for n in 0..(seconds * f64::from(spec.sample_rate)) as u64 {
        let t = n as f64 / f64::from(spec.sample_rate);
        let agent = |t| voice(t, 0.0, seconds, 210.0);
        let user: f64 = user.iter().map(|(begin, end)| voice(t, *begin, *end, 120.0)).sum();
        let ends = [agent(t), user + 0.02 * agent(t - 0.06) + noise(n)];
        for x in ends.iter().cycle().take(usize::from(spec.channels)) {
            match spec.sample_format {
                SampleFormat::Float => wav.write_sample(*x as f32).unwrap(),
                SampleFormat::Int => {
                    let scale = 2f64.powi(i32::from(spec.bits_per_sample) - 1) - 1.0;
                    wav.write_sample((x.clamp(-1.0, 1.0) * scale) as i32).unwrap();
                }
            }
        }
    }
    wav.finalize().unwrap();
}

fn spec(sample_rate: u32) -> WavSpec {
    WavSpec {
        channels: 2,
        sample_rate,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    }
}

const TWICE: [(f64, f64); 2] = [(2.0, 3.2), (5.0, 6.0)];

#[test]
fn each_interruption_is_suspected_then_confirmed_in_chunks_of_the_rate_and_again_after_silence() {
    let dir = folder("detect-rates");
    for (rate, chunk) in [(8_000, 20.0), (16_000, 10.0), (48_000, 10.0), (44_100, 10.0), (11_025, 10.0)] {
        let file = dir.join(format!("{rate}.wav"));
        conversation(&file, spec(rate), 7.5, &TWICE);
        let out = detect("detector-energy", &[], &[&file]);
        assert!(out.status.success(), "{out:?}");
        let heard = events(&out);
        assert_eq!(
            names(&heard),
            ["suspected", "barge_in", "suspected", "barge_in", "eof"],
            "{rate}: {heard:?}"
        );
        for (n, (begin, _)) in TWICE.iter().enumerate() {
            let (pause, cut) = (heard[2 * n].0 - begin * 1e3, heard[2 * n + 1].0 - begin * 1e3);
            assert!((0.0..150.0).contains(&pause) && (pause..600.0).contains(&cut), "{rate}: {heard:?}");
        }
        if ![44_100, 11_025].contains(&rate) {
            assert!(heard.iter().all(|(t, _)| t % chunk == 0.0), "{rate}: {heard:?}");
        }
        assert!((heard[4].0 - 7_500.0).abs() < 1.0, "{rate}: {heard:?}");
        let text = String::from_utf8(out.stdout).unwrap();
        let first = format!("{{\"file\":\"{}\",\"t_ms\":", file.display());
        assert!(text.starts_with(&first), "{text}");
    }
}

#[test]
fn a_voice_detector_is_judged_the_same_way() {
    let dir = folder("detect-vad");
    // It does not ask who speaks, so the agent is only heard to fall silent here.
    let file = dir.join("line.wav");
    let mut wav = WavWriter::create(&file, spec(16_000)).unwrap();
    for n in 0..16_000 * 5u64 {
        let t = n as f64 / 16e3;
        for x in [voice(t, 0.0, 5.0, 210.0), voice(t, 1.0, 2.5, 120.0) + noise(n)] {
            wav.write_sample((x * 32_767.0) as i32).unwrap();
        }
    }
    wav.finalize().unwrap();
    let heard = events(&detect("detector-vad", &[], &[&file]));
    assert_eq!(names(&heard), ["suspected", "barge_in", "eof"], "{heard:?}");
    assert!((1_000.0..1_200.0).contains(&heard[0].0) && heard[1].0 < 1_600.0, "{heard:?}");
    let deaf = events(&detect("detector-vad", &["--sensitivity", "0"], &[&file]));
    assert!(deaf.len() == 1 || deaf[0].0 >= heard[0].0, "less sensitive is not sooner: {deaf:?}");
}

#[test]
fn what_is_over_before_it_is_certain_is_taken_back() {
    let dir = folder("detect-false");
    let file = dir.join("cough.wav");
    conversation(&file, spec(16_000), 5.0, &[(3.0, 3.12)]);
    let heard = events(&detect("detector-energy", &[], &[&file]));
    assert_eq!(names(&heard), ["suspected", "false", "eof"], "{heard:?}");
    let pause = heard[1].0 - heard[0].0;
    assert!((0.0..600.0).contains(&pause), "{heard:?}");
    let at_once = detect("detector-energy", &["--policy", "cancel-at-once"], &[&file]);
    assert!(names(&events(&at_once)).iter().all(|event| ["barge_in", "eof"].contains(event)));
}

#[test]
fn backchannels_wait_for_longer_speech_where_they_may_only_pause() {
    let dir = folder("detect-backchannel");
    let file = dir.join("mhm.wav");
    conversation(&file, spec(16_000), 5.0, &[(3.0, 3.45)]);
    assert_eq!(
        names(&events(&detect("detector-energy", &[], &[&file]))),
        ["suspected", "barge_in", "eof"]
    );
    let resume = events(&detect("detector-energy", &["--backchannel", "resume"], &[&file]));
    assert_eq!(names(&resume), ["suspected", "false", "eof"]);
}

#[test]
fn files_do_not_know_of_each_other_and_decisions_not_of_what_follows() {
    let dir = folder("detect-apart");
    let (whole, part) = (dir.join("whole.wav"), dir.join("part.wav"));
    conversation(&whole, spec(16_000), 7.5, &TWICE);
    conversation(&part, spec(16_000), 2.8, &TWICE);
    for detector in ["detector-energy", "detector-vad"] {
        let alone = events(&detect(detector, &[], &[&whole]));
        let together = events(&detect(detector, &[], &[&whole, &part, &whole]));
        assert_eq!(together[..alone.len()], alone, "{detector}");
        assert_eq!(together[together.len() - alone.len()..], alone, "{detector}");
        let of_part = &together[alone.len()..together.len() - alone.len()];
        let before: Vec<_> = alone.iter().filter(|(t, _)| *t <= 2_800.0).cloned().collect();
        assert_eq!(of_part[..of_part.len() - 1], before, "{detector}");
    }
}

#[test]
fn other_widths_are_read_and_what_is_no_number_is_silence() {
    let dir = folder("detect-widths");
    for (bits, format) in [
        (8, SampleFormat::Int),
        (24, SampleFormat::Int),
        (32, SampleFormat::Int),
        (32, SampleFormat::Float),
    ] {
        let file = dir.join(format!("{bits}{format:?}.wav"));
        let spec = WavSpec {
            bits_per_sample: bits,
            sample_format: format,
            ..spec(16_000)
        };
        conversation(&file, spec, 4.0, &[(2.0, 3.2)]);
        let heard = events(&detect("detector-energy", &[], &[&file]));
        assert_eq!(names(&heard)[..2], ["suspected", "barge_in"], "{bits} {format:?}: {heard:?}");
    }
    let file = dir.join("nan.wav");
    let float = WavSpec {
        bits_per_sample: 32,
        sample_format: SampleFormat::Float,
        ..spec(16_000)
    };
    let mut wav = WavWriter::create(&file, float).unwrap();
    for n in 0..32_000 {
        wav.write_sample([f32::NAN, f32::INFINITY, f32::NEG_INFINITY][n % 3]).unwrap();
    }
    wav.finalize().unwrap();
    for detector in ["detector-energy", "detector-vad"] {
        let out = detect(detector, &[], &[&file]);
        assert_eq!(events(&out), [(1_000.0, "eof".to_owned())], "{out:?}");
        assert!(out.status.success());
    }
}

#[test]
fn a_file_that_is_no_recording_of_two_ends_is_named_and_the_others_are_judged() {
    let dir = folder("detect-bad");
    let good = dir.join("good.wav");
    conversation(&good, spec(8_000), 1.0, &[]);
    let bytes = fs::read(&good).unwrap();
    let put = |name: &str, bytes: &[u8]| {
        fs::write(dir.join(name), bytes).unwrap();
        dir.join(name)
    };
    let mono = dir.join("mono.wav");
    let one = WavSpec {
        channels: 1,
        ..spec(8_000)
    };
    conversation(&mono, one, 0.1, &[]);
    let slow = dir.join("slow.wav");
    conversation(&slow, spec(100), 1.0, &[]);
    let mp3 = [&bytes[..20], &[0x55, 0], &bytes[22..]].concat();
    for (file, words) in [
        (put("empty.wav", b""), "empty"),
        (put("text.wav", b"hello, this is no recording\n"), "not a WAV file"),
        (put("header.wav", &bytes[..20]), "WAV file"),
        (put("mp3.wav", &mp3), "WAV file"),
        (put("cut.wav", &bytes[..bytes.len() / 2]), "but ends at"),
        (mono, "1 channel; wanted are two"),
        (slow, "sample rate is 100"),
        (dir.clone(), "not a file"),
        (dir.join("nowhere.wav"), "cannot be read"),
    ] {
        let out = detect("detector-energy", &[], &[&file, &good]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{file:?}: {said}");
        assert!(
            said.contains(words) && said.contains(&file.display().to_string()),
            "{file:?}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(events(&out).last(), Some(&(1_000.0, "eof".to_owned())), "{file:?}");
    }
    let none = dir.join("none.wav");
    conversation(&none, spec(8_000), 0.0, &[]);
    let out = detect("detector-energy", &[], &[&none]);
    assert_eq!((out.status.success(), events(&out)), (true, vec![(0.0, "eof".to_owned())]));
}

/// Streams whose length was not known when their head was written, chunks of an odd length, doubles.
#[test]
fn a_wav_is_read_as_other_programs_write_it() {
    let dir = folder("detect-others");
    let file = dir.join("plain.wav");
    conversation(&file, spec(8_000), 1.0, &[]);
    let plain = fs::read(&file).unwrap();
    let sound = &plain[44..];
    let with_length = |riff: u32, data: u32| [&plain[..4], &riff.to_le_bytes(), &plain[8..40], &data.to_le_bytes(), sound].concat();
    let longer = plain.len() as u32 - 8 + 12;
    let odd = [
        &plain[..4],
        &longer.to_le_bytes(),
        &plain[8..36],
        b"junk\x03\0\0\0abc\0",
        &plain[36..],
    ]
    .concat();
    let longer = 36 + sound.len() as u32 * 4;
    let format: [&[u8]; 4] = [&[3, 0, 2, 0], &8_000u32.to_le_bytes(), &128_000u32.to_le_bytes(), &[16, 0, 64, 0]];
    let mut doubles = [&plain[..4], &longer.to_le_bytes(), &plain[8..20], &format.concat(), b"data"].concat();
    doubles.extend((sound.len() as u32 * 4).to_le_bytes());
    doubles.extend((0..sound.len() / 2).flat_map(|n| (n as f64 * 1e-6).to_le_bytes()));
    for (name, bytes) in [
        ("unfilled.wav", with_length(36, 0)),
        ("ffmpeg.wav", with_length(u32::MAX, u32::MAX)),
        ("sox.wav", with_length(0x7fff_f024, 0x7fff_f000)),
        ("odd.wav", odd),
        ("doubles.wav", doubles),
    ] {
        let file = dir.join(name);
        fs::write(&file, bytes).unwrap();
        let out = detect("detector-energy", &[], &[&file]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{name}: {said}");
        assert_eq!(events(&out).last(), Some(&(1_000.0, "eof".to_owned())), "{name}");
    }
}

#[test]
fn a_detector_that_is_not_there_is_missed_by_name_with_the_folders_that_were_searched() {
    let dir = folder("detect-missing");
    let file = dir.join("a.wav");
    conversation(&file, spec(8_000), 0.1, &[]);
    let out = detect("detector-none", &[], &[&file]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!((out.status.code(), out.stdout.len()), (Some(1), 0));
    for words in ["detector-none", &plugins().display().to_string(), "detector-energy, detector-vad"] {
        assert!(said.contains(words), "{said}");
    }
    let out = detect("detector-energy", &["--sensitivity", "2"], &[&file]);
    assert_eq!(out.status.code(), Some(2));
    assert_eq!(Command::new(DETECT).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_build_is_trusted_as_it_lies_there_and_no_further_than_its_program() {
    let dir = folder("detect-own");
    let file = dir.join("a.wav");
    conversation(&file, spec(8_000), 0.1, &[]);
    let program = install(Path::new(DETECT), &dir, "utterd-detect");
    let plugin = install(
        &plugins().join("libutterd_detector_energy.so"),
        &dir,
        "libutterd_detector_energy.so",
    );
    let config = dir.join("none.toml");
    fs::write(&config, "").unwrap();
    for (program_mode, plugin_mode, works) in [
        (0o755, 0o755, true),
        (0o775, 0o775, true),
        (0o755, 0o775, false),
        (0o775, 0o777, false),
    ] {
        fs::set_permissions(&program, fs::Permissions::from_mode(program_mode)).unwrap();
        fs::set_permissions(&plugin, fs::Permissions::from_mode(plugin_mode)).unwrap();
        let run = Command::new(&program)
            .args(["--detector", "detector-energy", "--config"])
            .arg(&config)
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.success(), works, "{program_mode:o} {plugin_mode:o}: {said}");
        assert!(works || said.contains("chmod go-w"), "{said}");
    }
}

#[test]
fn a_detector_that_fails_costs_the_file_its_rest_and_no_other_file_anything() {
    let dir = folder("detect-faulty");
    let (good, bad) = (dir.join("good.wav"), dir.join("bad.wav"));
    conversation(&good, spec(8_000), 3.0, &[(0.5, 1.5)]);
    let mut wav = WavWriter::create(&bad, spec(8_000)).unwrap();
    for n in 0..16_000 {
        let x = if n == 8_000 { i16::MAX } else { 0 };
        wav.write_sample(0i16).unwrap();
        wav.write_sample(x).unwrap();
    }
    wav.finalize().unwrap();
    let honest = events(&misjudge(&dir, "honest", &[&good]));
    assert_eq!(honest.last(), Some(&(3_000.0, "eof".to_owned())));
    let out = misjudge(&dir, "loud-panic", &[&good, &bad, &good]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(
        said.lines().count() == 1 && said.contains("bad.wav: at 1020 ms: faulty: the plugin panicked"),
        "{said}"
    );
    let eof = (1_020.0, "eof".to_owned());
    assert_eq!(events(&out), [honest.clone(), vec![eof], honest.clone()].concat());

    let out = misjudge(&dir, "hiccups", &[&good]);
    assert_eq!((out.status.code(), events(&out)), (Some(0), honest.clone()), "ten frames may fail");
    let out = misjudge(&dir, "error", &[&good, &good]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(1) && said.lines().count() == 2, "{said}");
    let eof = (240.0, "eof".to_owned());
    assert_eq!(events(&out), [eof.clone(), eof], "the eleventh failure ends it");

    let late = dir.join("late.wav");
    conversation(&late, spec(8_000), 3.0, &[(1.95, 3.0)]);
    let out = misjudge(&dir, "late-error", &[&late]);
    assert_eq!(
        names(&events(&out)),
        ["suspected", "false", "eof"],
        "what it suspected is taken back"
    );

    for mode in ["constant", "chatter"] {
        let out = misjudge(&dir, mode, &[&good, &good]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{said}");
        let told = |words: &str| said.lines().filter(|line| line.contains(words)).count();
        assert_eq!(
            (told("fires faster than people speak"), told("it fires constantly")),
            (2, 2),
            "{mode}: {said}"
        );
        assert_eq!(names(&events(&out)).iter().filter(|name| **name == "eof").count(), 2);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_success_unless_every_file_was_judged() {
    let dir = folder("detect-unread");
    let (good, cut) = (dir.join("good.wav"), dir.join("cut.wav"));
    conversation(&good, spec(8_000), 1.0, &[]);
    let bytes = fs::read(&good).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let nowhere = dir.join("nowhere.wav");
    for (files, code) in [
        (vec![&good], 0),
        (vec![&good, &good], 1),
        (vec![&nowhere, &good], 1),
        (vec![&cut], 1),
    ] {
        let files: Vec<&Path> = files.into_iter().map(PathBuf::as_path).collect();
        let (read, write) = std::io::pipe().unwrap();
        drop(read);
        let run = command("detector-energy", &[], &files).stdout(write).output().unwrap();
        assert_eq!(run.status.code(), Some(code), "{files:?}: {run:?}");
    }
}
