//! What comes out of plugins, and into them: samples, marks, cancels and errors through the table of the ABI, with the plugins we ship and with
//! one that gets everything wrong.

#![allow(clippy::unwrap_used)]

use std::os::fd::RawFd;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use utterd::plugins::{MarkKind, SpeakEnd, SpeakRequest, SpeakSink, SynthError, load};

mod common;
use common::{Ear, fixture, folder, only, options, request, say, shipped};

#[test]
fn samples_of_any_shape_become_mono_floats_and_nonsense_is_mended_or_refused() {
    let dir = folder("shapes");
    fixture(&dir.join("it.so"), &["-DID=\"shapes\""]);
    let report = load(&options(&[&dir]));
    let tts = report.plugins[0].tts().unwrap();
    assert_eq!(say(tts, &request("stereo")).1.samples, [0.25, -0.75]);
    let (end, heard) = say(tts, &request("nan"));
    assert_eq!((end, &heard.samples[..4]), (Ok(SpeakEnd::Complete), &[0.0, 0.0, 0.0, 0.25][..]));
    assert_eq!(tts.counts().non_finite_samples, 3);
    for text in ["rate", "change", "null", "lost", "what"] {
        let (end, _) = say(tts, &request(text));
        assert!(matches!(end, Err(SynthError::Misbehaved { .. })), "{text}: {end:?}");
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
    assert_eq!((tts.counts().marks_clamped, tts.counts().marks_dropped), (2, 3));
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
    assert_eq!(ear.heard.lock().unwrap().samples.len(), 640, "nothing gets past a cancel");
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
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tts.speak(&request("hello"), &Broken)));
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "the sink broke");
    assert_eq!(say(&tts, &request("hello")).0, Ok(SpeakEnd::Complete), "and the backend goes on");
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
    assert_eq!(words, [(0, "Grüße,"), (7 * 2_400, "schöne"), (14 * 2_400, "Welt")]);

    let (_, heard) = say(
        &tts,
        &SpeakRequest {
            voice: "tone-id",
            utterance: 300,
            out_rate_hint: 8_000,
            ..request(text)
        },
    );
    assert_eq!((heard.rate, heard.samples.len()), (8_000, text.chars().count() * 400));
    for (n, x) in heard.samples.iter().enumerate() {
        assert_eq!(*x, ((((300 % 127) + 1) << 16) | (n % 65_536)) as f32 / 8_388_608.0);
    }
    let (end, _) = say(
        &tts,
        &SpeakRequest {
            voice: "bass",
            ..request(text)
        },
    );
    assert!(matches!(end, Err(SynthError::NoSuchVoice { voice, message }) if voice == "bass" && message.contains("tone-id")));
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
    let words: Vec<_> = heard.marks.iter().filter(|m| m.0 == MarkKind::Word).collect();
    let said: Vec<_> = words
        .iter()
        .map(|(_, _, off, len)| &text[*off as usize..(off + len) as usize])
        .collect();
    for word in ["Grüße", "an", "alle", "Zweitens", "1234", "Äpfel", "und", "Öl"] {
        assert!(said.iter().any(|s| s.contains(word)), "{word} of {said:?}");
    }
    assert!(words.is_sorted_by(|a, b| a.1 <= b.1 && a.2 < b.2), "{words:?}");
    assert!(words.iter().all(|w| w.1 < heard.samples.len() as u64));
    assert_eq!(
        heard.marks.iter().filter(|m| m.0 == MarkKind::Sentence).count(),
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
                assert!((30_000..32_000).contains(&heard), "a block of 20 ms at most: {heard}");
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
    assert!(matches!(end, Err(SynthError::NoSuchVoice { .. })), "{end:?}");
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

#[test]
fn espeak_opens_no_audio() {
    // In a child that does nothing else (and has the library's own idle thread): libpcaudio would start a thread that connects to PulseAudio.
    let (_, espeak, _) = shipped();
    let watched = Command::new("strace")
        .args(["-f", "-e", "trace=socket,connect"])
        .arg(env!("CARGO_BIN_EXE_utterd-plugin-check"))
        .arg("--plugin-probe")
        .arg(espeak)
        .stdin(std::process::Stdio::null())
        .output();
    let watched = match watched {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return println!("strace is not installed: not tried");
        }
        watched => watched.unwrap(),
    };
    assert!(watched.status.success(), "{watched:?}");
    let trace = String::from_utf8_lossy(&watched.stderr);
    for call in ["socket(", "connect("] {
        assert!(!trace.contains(call), "{trace}");
    }
}

#[test]
fn a_slow_tone_is_whole_and_a_very_slow_one_hears_cancel() {
    let slow = |name: &str, config| only(name, &shipped().0, Some(("tts-tone", config))).unwrap();
    let tts = slow("slow", serde_json::json!({ "delay-ms": 1, "speed": 500.0 }));
    let (end, heard) = say(&tts, &request("ten chars."));
    assert_eq!((end, heard.samples.len()), (Ok(SpeakEnd::Complete), 24_000));

    // An hour, unless it is cancelled.
    let tts = slow("slower", serde_json::json!({ "delay-ms": 3_600_000 }));
    let ear = Ear::default();
    std::thread::scope(|scope| {
        let speech = scope.spawn(|| tts.speak(&request("late"), &ear));
        std::thread::sleep(Duration::from_millis(20));
        ear.full.store(true, Ordering::Relaxed);
        assert_eq!(speech.join().unwrap(), Ok(SpeakEnd::Cancelled));
    });
    assert_eq!(ear.heard.lock().unwrap().samples.len(), 0);
}
