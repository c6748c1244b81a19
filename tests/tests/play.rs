//! Sounds as utterances: to the sample, in the queue, looped, beside the speech, cut, and refused (issue: the decisions, "Play").
#![allow(clippy::unwrap_used)]

use utterd_tests::clock::wait_for;
use utterd_tests::opts;
use utterd_tests::recording::Recording;
use utterd_tests::sounds::Sounds;
use utterd_tests::tone;
use utterd_tests::world::{Quiet, World};

/// What the coded files say they are: no utterance of a scenario has this id.
const FILE: u64 = 100;
const CHARACTER: usize = 2_400;

fn world(sounds: &Sounds) -> World {
    World::with(Default::default(), &sounds.plan())
}

#[test]
fn a_sound_is_heard_to_the_sample_between_two_sentences_without_a_gap() {
    let sounds = Sounds::new();
    let file = sounds.coded("ding.wav", FILE, 36_000);
    let world = world(&sounds);
    let session = world.tone_session("one");
    let before = session.say("before", opts! {});
    let ding = session.play(&file, opts! { "text" => "Ding dong", "tag" => "t-7" });
    let after = session.say("after", opts! {});
    let (outcome, report) = session.wait(ding);
    assert_eq!(outcome, "completed");
    assert_eq!(
        (report.text("heard-text"), report.text("heard-source"), report.text("tag")),
        ("Ding dong", "words", "t-7")
    );
    assert_eq!(
        (report.number("played-us"), report.text("backend"), report.text("voice")),
        (750_000, "", "")
    );
    assert!(report.syntheses().is_empty());
    session.wait(after);
    let heard = world.heard();
    let runs = tone::runs(&heard);
    let told: Vec<_> = runs.iter().map(|r| (r.voice, r.first, r.heard.len())).collect();
    assert_eq!(
        told,
        [
            (tone::voice(before), 0, 6 * CHARACTER),
            (tone::voice(FILE), 0, 36_000),
            (tone::voice(after), 0, 5 * CHARACTER)
        ]
    );
    assert!(runs.windows(2).all(|w| w[0].heard.end == w[1].heard.start), "{runs:?}");
    let history = session.history(opts! {});
    let said: Vec<_> = history.iter().map(|h| h.text("heard").to_owned()).collect();
    assert_eq!(said, ["before", "Ding dong", "after"]);
    let started = world.client.expect_started(ding);
    assert_eq!(started.dict(1).text("tag"), "t-7");
}

#[test]
fn another_rate_keeps_length_and_pitch() {
    let sounds = Sounds::new();
    let world = world(&sounds);
    let session = world.tone_session("one");
    let mut from = 0;
    for (rate, frames) in [(22_050, 11_025), (8_000, 4_000), (96_000, 48_000)] {
        let file = sounds.sine(&format!("{rate}.wav"), rate, 440.0, frames);
        let (outcome, report) = session.wait(session.play(&format!("file://{file}"), opts! {}));
        assert_eq!((outcome.as_str(), report.number("played-us")), ("completed", 500_000), "{rate}");
        let heard = world.heard();
        let first = heard.first_sound(from..usize::MAX).unwrap();
        let last = heard.last_sound(first..usize::MAX).unwrap();
        from = last + 1;
        let length = last - first;
        assert!((23_900..=24_000).contains(&length), "{rate}: {length}");
        let inner = &heard.samples[first + 2_000..last - 2_000];
        let crossings = inner.windows(2).filter(|w| w[0] < 0.0 && w[1] >= 0.0).count();
        let hertz = crossings as f64 * 48_000.0 / inner.len() as f64;
        assert!((hertz - 440.0).abs() < 3.0, "{rate}: {hertz} Hz");
    }
}

#[test]
fn a_loop_has_no_seam_and_ends_when_it_is_cancelled() {
    let sounds = Sounds::new();
    let file = sounds.coded("hold.wav", FILE, 10_007);
    let world = world(&sounds);
    let session = world.tone_session("one");
    let hold = session.play(&file, opts! { "loop" => true, "text" => "music" });
    world.client.expect_started(hold);
    world.for_ms(1_500);
    let report = session.cancel(opts! {});
    assert_eq!((report.text("result"), report.text("heard-text")), ("cancelled", "music"));
    let (outcome, report) = session.wait(hold);
    assert_eq!(outcome, "cancelled");
    let heard = world.heard();
    let runs = tone::runs(&heard);
    assert!(runs.len() >= 5, "{runs:?}");
    for pair in runs.windows(2) {
        assert_eq!(pair[0].heard.end, pair[1].heard.start, "{runs:?}");
        assert_eq!((pair[0].last, pair[1].first), (10_006, 0), "{runs:?}");
    }
    let all = heard.last_sound(0..usize::MAX).unwrap() + 1 - runs[0].heard.start;
    let told = report.number("played-us") as i64;
    let really = (all as u64 * 1_000_000 / 48_000) as i64;
    assert!((told - really).abs() <= 100, "{told} told, {really} heard");
}

#[test]
fn a_sound_begins_where_it_is_told_and_positions_start_there() {
    let sounds = Sounds::new();
    let file = sounds.coded("long.wav", FILE, 48_000);
    let world = world(&sounds);
    let session = world.tone_session("one");
    let id = session.play(&file, opts! { "start-us" => 250_000_u64 });
    let (outcome, report) = session.wait(id);
    assert_eq!((outcome.as_str(), report.number("played-us")), ("completed", 1_000_000));
    let runs = tone::runs(&world.heard());
    assert_eq!(
        runs.iter().map(|r| (r.first, r.heard.len())).collect::<Vec<_>>(),
        [(12_000, 36_000)]
    );
    let beyond = session.try_play(&file, opts! { "start-us" => 1_000_000_u64 }).unwrap_err();
    assert!(
        beyond.name.ends_with("InvalidArgs") && beyond.message.contains("start-us"),
        "{beyond}"
    );
}

#[test]
fn a_cut_sound_says_how_much_of_its_text_was_heard() {
    let sounds = Sounds::new();
    let file = sounds.coded("prompt.wav", FILE, 96_000);
    let world = world(&sounds);
    let session = world.tone_session("one");
    let text = "one two three four five six seven eight nine ten";
    let id = session.play(&file, opts! { "text" => text });
    world.client.expect_started(id);
    world.for_ms(1_000);
    let report = session.cancel(opts! {});
    assert_eq!((report.text("result"), report.text("heard-source")), ("cancelled", "estimated"));
    assert!(report.syntheses().is_empty(), "no backend speaks a sound");
    let part = report.text("heard-text");
    assert!(text.starts_with(part) && (18..35).contains(&part.len()), "{part:?}");
    let heard = world.heard();
    let runs = tone::runs(&heard);
    let really = runs[0].heard.len() as i64 * 1_000_000 / 48_000;
    let told = report.number("played-us") as i64;
    // The ramp's 5 ms are played and are no code.
    assert!((told - really - 5_000).abs() <= 100, "{told} told, {really} heard");
    // And the next thing is heard: the cancel left nothing behind.
    let next = session.say("next", opts! {});
    assert_eq!(session.wait(next).0, "completed");
}

#[test]
fn something_important_holds_a_sound_and_it_goes_on_from_its_sample() {
    let sounds = Sounds::new();
    let file = sounds.coded("story.wav", FILE, 60_000);
    let world = world(&sounds);
    let (one, two) = (world.tone_session("one"), world.tone_session("two"));
    let story = one.play(&file, opts! {});
    world.client.expect_started(story);
    let alarm = two.say("alarm", opts! { "priority" => "important" });
    assert_eq!(one.wait(story).0, "completed");
    let runs = tone::runs(&world.heard());
    let voices: Vec<_> = runs.iter().map(|r| r.voice).collect();
    assert_eq!(voices, [tone::voice(FILE), tone::voice(alarm), tone::voice(FILE)], "{runs:?}");
    // The ramp down was heard, and is not in the code; the ramp up plays the same samples.
    assert_eq!(runs[2].first, runs[0].last + 1 + 240, "{runs:?}");
    assert_eq!(runs[2].last, 59_999);
}

/// The level, where it is steady for this long.
fn level(heard: &Recording, at_us: u64) -> f32 {
    let at = heard.at_us(at_us);
    let range = &heard.samples[at..at + 480];
    let mean = range.iter().sum::<f32>() / range.len() as f32;
    assert!(range.iter().all(|s| (s - mean).abs() < 0.001), "not steady at {at_us}");
    mean
}

#[test]
fn a_sound_beside_the_speech_is_lower_while_it_speaks_and_is_nobodys_turn() {
    let sounds = Sounds::new();
    let file = sounds.floats("music.wav", 48_000, std::iter::repeat_n(0.5, 24_000));
    let world = world(&sounds);
    let session = world.tone_session("one");
    let music = session.play(&file, opts! { "beside" => true, "duck-db" => 20.0, "loop" => true });
    let began = world.client.expect_started(music).at_us;
    world.for_ms(300);
    assert_eq!(
        (
            session.is("Speaking"),
            session.number("ActiveUtterance"),
            session.number("QueueLength")
        ),
        (false, 0, 0)
    );
    assert_eq!(session.text("State"), "idle");
    // 120 dB lower, so that what is heard is the music.
    let quiet = opts! { "gain-db" => -120.0 };
    let said = session.say("twenty characters...", quiet.clone());
    let started = world.client.expect_started(said).at_us;
    world.for_ms(300);
    assert!(session.is("Speaking"));
    let finished = {
        session.wait(said);
        world.client.expect_finished(said).at_us
    };
    world.for_ms(300);
    // A cancel of the session is about its speech.
    let second = session.say("this is cut", quiet);
    world.client.expect_started(second);
    let report = session.cancel(opts! {});
    assert_eq!(report.numbers("utterances"), [second]);
    world.for_ms(300);
    let heard = world.heard();
    let end = world.client.expect_finished(second).at_us;
    assert!((level(&heard, began + 200_000) - 0.5).abs() < 0.001);
    assert!((level(&heard, started + 200_000) - 0.05).abs() < 0.001);
    assert!((level(&heard, finished - 100_000) - 0.05).abs() < 0.001);
    assert!((level(&heard, finished + 200_000) - 0.5).abs() < 0.001);
    assert!((level(&heard, end + 200_000) - 0.5).abs() < 0.001);
    let from = heard.first_sound(0..usize::MAX).unwrap() + 1;
    let steepest = heard.steepest(from..heard.at_us(end + 200_000));
    assert!(
        steepest < 0.5 / 4_800.0 * 1.1,
        "a ramp of 100 ms has steps of 0.0001, not {steepest}"
    );
    assert!(
        heard
            .silences(10)
            .iter()
            .all(|s| s.end <= from || s.start > heard.at_us(end + 200_000)),
        "a loop without a gap"
    );
    // A pause of the client holds it, too.
    session.pause(opts! {});
    world.for_ms(100);
    let held = world.heard();
    assert_eq!(held.samples[held.samples.len() - 480..], [0.0; 480]);
    session.resume();
    // It ends by its id.
    let report = session.cancel(opts! { "utterance" => music });
    assert_eq!((report.text("result"), report.numbers("utterances")), ("cancelled", vec![music]));
    assert_eq!(session.wait(music).0, "cancelled");
    world.for_ms(100);
    let after = world.heard();
    assert_eq!(after.samples[after.samples.len() - 480..], [0.0; 480]);
}

#[test]
fn sounds_beside_end_with_close_and_with_cancel_all_and_do_not_stop_a_drain() {
    let sounds = Sounds::new();
    let file = sounds.coded("hold.wav", FILE, 10_000);
    let world = Quiet::with(&utterd_tests::daemon::Plan {
        driver: "timer",
        ..sounds.plan()
    });
    let looped = || opts! { "beside" => true, "loop" => true };
    let one = world.tone_session("one");
    let hold = one.play(&file, looped());
    world.client.expect_started(hold);
    assert_eq!(world.client.cancel_all(opts! {}).unwrap(), 1);
    assert_eq!(one.wait(hold).0, "cancelled");
    let (hold, said) = (one.play(&file, looped()), one.say("the last words", opts! {}));
    world.client.close_session("one", opts! { "drain" => true }).unwrap();
    let finished = |id| world.client.expect_finished(id);
    assert_eq!(finished(said).text(1), "completed");
    assert_eq!(finished(hold).dict(2).text("reason"), "session-closed");
    let two = world.tone_session("two");
    let hold = two.play(&file, looped());
    two.close(opts! {}).unwrap();
    assert_eq!(finished(hold).text(1), "cancelled");
    let three = world.tone_session("three");
    let hold = three.play(&file, looped());
    three.set("Muted", true).unwrap();
    assert_eq!(finished(hold).dict(2).text("reason"), "muted");
}

#[test]
fn what_may_not_be_played_is_refused_by_name_and_nothing_hangs() {
    let sounds = Sounds::new();
    let good = sounds.coded("good.wav", FILE, 4_800);
    let at = |name: &str| sounds.path(name).to_str().unwrap().to_owned();
    std::fs::write(sounds.outside("secret.wav"), std::fs::read(&good).unwrap()).unwrap();
    std::os::unix::fs::symlink(sounds.outside("secret.wav"), sounds.path("link.wav")).unwrap();
    std::os::unix::fs::symlink("good.wav", sounds.path("inner.wav")).unwrap();
    std::fs::write(sounds.path("garbage.wav"), [0x5a; 70_000]).unwrap();
    std::fs::write(sounds.path("text.wav"), "not a sound").unwrap();
    std::fs::write(sounds.path("empty.wav"), "").unwrap();
    std::fs::create_dir(sounds.path("folder.wav")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, sounds.path("fifo.wav"), rustix::fs::Mode::RUSR).unwrap();
    let world = Quiet::with(&utterd_tests::daemon::Plan {
        driver: "timer",
        ..sounds.plan()
    });
    let session = world.tone_session("one");
    let outside = sounds.outside("secret.wav").to_str().unwrap().to_owned();
    let cases = [
        (at("../secret.wav"), "NotPermitted"),
        (format!("file://{}", at("%2e%2e/secret.wav")), "NotPermitted"),
        (at("link.wav"), "NotPermitted"),
        (outside, "NotPermitted"),
        ("/etc/passwd".to_owned(), "NotPermitted"),
        ("/dev/zero".to_owned(), "NotPermitted"),
        (at("fifo.wav"), "InvalidArgs"),
        (at("folder.wav"), "InvalidArgs"),
        (at("missing.wav"), "InvalidArgs"),
        ("good.wav".to_owned(), "InvalidArgs"),
        (String::new(), "InvalidArgs"),
        ("http://host/good.wav".to_owned(), "InvalidArgs"),
        ("file:///a%00b".to_owned(), "InvalidArgs"),
        (at("garbage.wav"), "FormatNotSupported"),
        (at("text.wav"), "FormatNotSupported"),
        (at("empty.wav"), "FormatNotSupported"),
    ];
    for (uri, name) in &cases {
        let error = session.try_play(uri, opts! {}).unwrap_err();
        assert!(error.name.ends_with(name), "{uri}: {error}");
        let file = uri.rsplit('/').next().unwrap();
        assert!(error.message.contains(file), "{uri}: {error}");
    }
    let options = [
        ("voice", opts! { "voice" => "tone" }),
        ("loop", opts! { "loop" => 1_u32 }),
        ("start-us", opts! { "start-us" => -1_i32 }),
        ("duck-db", opts! { "duck-db" => 6.0 }),
        ("duck-db", opts! { "beside" => true, "duck-db" => -6.0 }),
        ("beside", opts! { "beside" => true, "mode" => "replace" }),
        ("mode", opts! { "mode" => "louder" }),
    ];
    for (key, options) in options {
        let error = session.try_play(&good, options).unwrap_err();
        assert!(error.name.ends_with("InvalidArgs") && error.message.contains(key), "{error}");
    }
    assert_eq!(
        session.wait(session.play(&at("inner.wav"), opts! {})).0,
        "completed",
        "a symlink that stays inside"
    );
    assert_eq!(
        session.try_play(&good, opts! { "turn" => 0_u32 }).unwrap(),
        session.number("ActiveUtterance").max(2)
    );
}

#[test]
fn a_truncated_sound_is_played_as_far_as_it_goes_and_then_fails() {
    let sounds = Sounds::new();
    let file = sounds.coded("cut.wav", FILE, 48_000);
    let bytes = std::fs::read(&file).unwrap();
    let head = bytes.len() - 4 * 48_000;
    std::fs::write(&file, &bytes[..head + 4 * 12_345]).unwrap();
    let vanishing = sounds.coded("vanishing.wav", FILE, 4_800);
    let world = world(&sounds);
    let session = world.tone_session("one");
    let id = session.play(&file, opts! { "text" => "one two three four" });
    let gone = session.play(&vanishing, opts! {});
    std::fs::remove_file(&vanishing).unwrap();
    let (outcome, report) = session.wait(id);
    assert_eq!((outcome.as_str(), report.number("played-us")), ("failed", 257_188));
    assert_eq!((report.text("heard-text"), report.text("heard-source")), ("one", "estimated"));
    let message = report.text("message");
    assert!(
        message.contains("cut.wav") && message.contains("1.000 s") && message.contains("0.257 s"),
        "{message}"
    );
    let runs = tone::runs(&world.heard());
    assert_eq!((runs[0].first, runs[0].heard.len()), (0, 12_345));
    let (outcome, report) = session.wait(gone);
    assert!(
        outcome == "completed" || report.text("message").contains("vanishing.wav"),
        "{outcome}: it had been opened already, or its absence is told"
    );
    wait_for("it rests", || session.text("State") == "idle");
}

/// Its exit code, standard output and standard error.
fn utterctl(address: &str, args: &[&str]) -> (i32, String, String) {
    let mut command = std::process::Command::new(utterd_tests::bins::utterctl());
    command
        .args(["--bus-address", address])
        .args(args)
        .env("NO_COLOR", "1")
        .env("TERM", "dumb");
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn utterctl_plays_a_file_wherever_it_lies() {
    let sounds = Sounds::new();
    let inside = sounds.coded("in side.wav", FILE, 9_600);
    let outside = sounds.outside("outside.wav").to_str().unwrap().to_owned();
    std::fs::rename(sounds.coded("x.wav", FILE + 1, 14_400), &outside).unwrap();
    let cut = sounds.outside("cut.wav").to_str().unwrap().to_owned();
    let bytes = std::fs::read(&outside).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 4 * 9_600]).unwrap();
    let world = world(&sounds);
    let play = |args: &[&str]| utterctl(world.bus.address(), &[&["play"], args].concat());
    assert_eq!(play(&[&inside, "--text", "in"]), (0, String::new(), String::new()));
    let (code, said, _) = play(&[&outside, "--text", "out", "--json"]);
    assert_eq!(code, 0);
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&told["outcome"], &told["report"]["played-us"], &told["report"]["heard-text"]),
        (&"completed".into(), &300_000.into(), &"out".into())
    );
    let (code, _, error) = play(&[&cut]);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("cut.wav") && error.contains("0.100 s"), "{error}");
    let runs = tone::runs(&world.heard());
    let told: Vec<_> = runs.iter().map(|r| (r.voice, r.first, r.heard.len())).collect();
    assert_eq!(told, [(100, 0, 9_600), (101, 0, 14_400), (101, 0, 4_800)]);
    for (args, code, said) in [
        (vec!["/nonexistent.wav"], 1, "nonexistent.wav"),
        (vec![outside.as_str(), "--beside"], 1, "--beside"),
        (vec![outside.as_str(), "--no-wait"], 1, "--no-wait"),
        (vec![outside.as_str(), "--duck-db", "6"], 2, "--beside"),
        (vec!["/dev/null"], 1, "/dev/null"),
    ] {
        let (exit, _, error) = play(&args);
        assert!(exit == code && error.contains(said), "{args:?}: {exit} {error}");
    }
    // A hook's call returns at once, and the sound is heard all the same.
    let (code, id, _) = play(&[&inside, "--no-wait"]);
    assert_eq!(code, 0);
    world.client.expect_finished(id.trim().parse().unwrap());
}
