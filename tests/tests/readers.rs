//! AcquireAudio as clients use it: what reaches a reader, to the sample, and what a bad reader or a bad microphone does (issue: hearing).
#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::time::Duration;
use utterd_tests::client::{OWNER, ROOT, Session};
use utterd_tests::clock::{let_pass, now_us, wait_for};
use utterd_tests::daemon::Plan;
use utterd_tests::ear::OUT;
use utterd_tests::jack::JackOptions;
use utterd_tests::mouth::{IN, Mouth};
use utterd_tests::opts;
use utterd_tests::recording::Recording;
use utterd_tests::stream::{Listener, Stream};
use utterd_tests::world::{Quiet, World};

/// A signal no two stretches of which are alike.
fn babble(frames: usize) -> Vec<f32> {
    let mut state = 1_u64;
    let step = |state: &mut u64| {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..frames).map(|_| step(&mut state)).collect()
}

fn transition(session: &Session, member: &str) {
    session.client().call(ROOT, OWNER, member, &(session.id.as_str(), 0_u64)).unwrap();
}

#[track_caller]
fn stream(session: &Session, direction: &str) -> Listener {
    Stream::acquire(session, direction, opts! { "encoding" => "f32le" })
        .unwrap_or_else(|e| panic!("{direction}: {e}"))
        .listen()
}

/// How far two of the room's clocks may be apart: two periods, and what each xrun may have delayed the graph by (`jack.rs`).
fn slack_us(world: &World) -> u64 {
    2 * world.jack.period_us() + 200_000 * world.ear.xruns() as u64
}

fn recorded(listener: &Listener) -> Recording {
    Recording::from_samples(listener.rate, listener.samples())
}

#[test]
fn the_microphone_reaches_a_reader_to_the_sample_while_the_session_listens_and_is_silence_else() {
    let world = World::start();
    let session = world.tone_session("one");
    let said = babble(24_000);
    let mut mouth = Mouth::start(&world.jack, &said);
    let raw = stream(&session, "rx-raw");
    let rx = stream(&session, "rx");
    assert_eq!((raw.rate, raw.channels), (48_000, 1));
    transition(&session, "EnterListening");
    mouth.wait_connected();
    let began = mouth.play();
    mouth.wait_played();
    for listener in [&raw, &rx] {
        listener.until_us(began + 700_000);
        let heard = recorded(listener);
        let at = heard.find_exact(&said).expect("every sample, bit for bit");
        let late_us = listener.start_us + at as u64 * 1_000_000 / 48_000;
        assert!(
            late_us.abs_diff(began) <= slack_us(&world),
            "position is time: said at {began} us, heard at {late_us} us"
        );
        let (before, after) = (&heard.samples[..at], &heard.samples[at + said.len()..]);
        assert!(before.iter().chain(after).all(|s| *s == 0.0));
    }
    transition(&session, "LeaveListening");
    let left = now_us();
    raw.until_us(left + 300_000);
    assert!(
        raw.samples()[raw.at_us(left)..].iter().all(|s| *s == 0.0),
        "silence, and time goes on"
    );
}

#[test]
fn nobody_hears_the_microphone_of_another_session() {
    let world = World::start();
    let (one, two) = (world.tone_session("one"), world.tone_session("two"));
    let mut mouth = Mouth::start(&world.jack, &babble(24_000));
    let (first, second) = (stream(&one, "rx-raw"), stream(&two, "rx-raw"));
    transition(&one, "EnterListening");
    mouth.wait_connected();
    let began = mouth.play();
    first.until_us(began + 600_000);
    second.until_us(began + 600_000);
    assert!(first.samples().iter().any(|s| *s != 0.0));
    assert!(second.samples().iter().all(|s| *s == 0.0));
    transition(&two, "EnterListening");
    let began = mouth.play();
    second.until_us(began + 600_000);
    assert!(second.samples()[second.at_us(began)..].iter().any(|s| *s != 0.0), "it listens now");
}

#[test]
fn what_a_session_says_reaches_its_own_reader_as_the_ear_hears_it_and_no_other_one() {
    let world = World::start();
    let one = world.tone_session("one");
    let two = world
        .client
        .open("two", opts! { "backend" => "tts-tone", "floor" => "own" })
        .unwrap();
    let other = stream(&two, "tx");
    let tx = stream(&one, "tx");
    let first = one.say("what one says", opts! {});
    world.client.expect_finished(first);
    let_pass(Duration::from_millis(300));
    let second = one.say("and once more after a rest", opts! {});
    world.client.expect_finished(second);
    let heard = world.heard();
    tx.until_us(now_us());
    let spoken = recorded(&tx);
    for sound in heard.sounds(4_800) {
        let at = spoken
            .find_exact(&heard.samples[sound.clone()])
            .expect("as the ear heard it, bit for bit");
        let (ours, its) = (tx.start_us + at as u64 * 1_000_000 / 48_000, heard.us_at(sound.start));
        assert!(ours.abs_diff(its) <= slack_us(&world), "{ours} us, the ear {its} us");
    }
    assert_eq!(spoken.sounds(4_800).len(), 2);
    other.until_us(now_us() - 50_000);
    assert!(other.samples().iter().all(|s| *s == 0.0), "the other session was silent");
}

#[test]
fn a_reader_may_ask_for_another_rate_form_and_number_of_channels() {
    let world = World::start();
    let session = world.tone_session("one");
    let asked = opts! { "rate" => 16_000_u32, "encoding" => "s16le", "channels" => 2_u32 };
    let stream = Stream::acquire(&session, "tx", asked).unwrap();
    assert_eq!((stream.rate, stream.channels, stream.encoding.as_str()), (16_000, 2, "s16le"));
    let listener = stream.listen();
    let id = session.say("one second of sound or so", opts! {});
    world.client.expect_finished(id);
    let heard = world.heard().sounds(4_800);
    listener.until_us(now_us());
    let sounds = recorded(&listener).sounds(1_600);
    assert_eq!((heard.len(), sounds.len()), (1, 1));
    // A cycle that the server missed is silence within the sound: the ear has every one of them, the reader those of the daemon.
    let (spoken, heard) = (25 * 800, heard[0].len() / 3);
    assert!(
        (spoken - 300..=heard + 1_600).contains(&sounds[0].len()),
        "{} samples of {spoken}; the ear has {heard}",
        sounds[0].len()
    );
}

#[test]
fn what_cannot_be_streamed_is_refused_by_name() {
    let world = Quiet::start();
    let session = world.tone_session("one");
    for (direction, options, word, said) in [
        ("sideways", opts! {}, "InvalidArgs", "allowed: rx, rx-raw, tx"),
        ("rx", opts! { "rate" => 1_u32 }, "InvalidArgs", "\"rate\" is 1"),
        ("rx", opts! { "encoding" => "mp3" }, "InvalidArgs", "s16le"),
        ("tx", opts! { "channels" => 99_u32 }, "InvalidArgs", "\"channels\" is 99"),
        ("tx", opts! { "colour" => "red" }, "InvalidArgs", "colour"),
    ] {
        let refused = Stream::acquire(&session, direction, options).err().unwrap();
        assert_eq!(refused.word(), word, "{direction}: {refused}");
        assert!(refused.message.contains(said), "{refused}");
    }
}

#[test]
fn a_stream_without_jack_is_silence_at_the_right_pace() {
    let world = Quiet::start();
    let session = world.tone_session("one");
    let (rx, tx) = (stream(&session, "rx"), stream(&session, "tx"));
    let id = session.say("hello", opts! {});
    world.client.expect_finished(id);
    let end = now_us();
    rx.until_us(end);
    tx.until_us(end);
    assert!(rx.samples().iter().all(|s| *s == 0.0));
    assert_eq!(recorded(&tx).sounds(4_800).len(), 1);
}

#[test]
fn fifty_readers_and_a_lazy_one_disturb_nobody_and_it_alone_loses_its_sound() {
    let world = World::start();
    let session = world.tone_session("one");
    let readers: Vec<Listener> = (0..50)
        .map(|n| {
            let options = opts! { "encoding" => "f32le", "rate" => [48_000_u32, 16_000, 8_000][n % 3] };
            Stream::acquire(&session, "tx", options).unwrap().listen()
        })
        .collect();
    // A byte a second is as good as none: its pipe is full after half a second.
    let mut lazy = Stream::acquire(&session, "tx", opts! { "rate" => 192_000_u32, "encoding" => "f32le" }).unwrap();
    let mut byte = [0; 1];
    lazy.pipe.read_exact(&mut byte).unwrap();
    let id = session.say("a sentence that takes a second and a half", opts! {});
    world.client.expect_finished(id);
    let heard = world.heard();
    let end = now_us();
    let sound = heard.sounds(4_800);
    assert_eq!(sound.len(), 1, "{:?}", heard.sounds(100));
    assert!(heard.frames_missing(sound[0].clone()) == 0 || world.ear.xruns() > 0);
    for reader in &readers {
        reader.until_us(end);
        let theirs = recorded(reader).sounds(reader.rate as usize / 10);
        assert_eq!(theirs.len(), 1, "a reader at {} Hz", reader.rate);
    }
    let alert = world
        .client
        .expect_event("the Alert", |e| e.member == "Alert" && e.text(0) == "reader-behind");
    assert_eq!(alert.text(1), "one");
    let alerts = world
        .client
        .events()
        .iter()
        .filter(|e| e.member == "Alert" && e.text(0) == "reader-behind")
        .count();
    assert_eq!(alerts, 1, "told once");
    let metrics = world.client.metrics("one").unwrap();
    assert!(metrics["utterd_audio_reader_lost_us_total"] > 0.0);
    drop(lazy);
}

#[test]
fn streams_are_bounded_and_a_closed_one_makes_room() {
    let world = Quiet::start();
    let session = world.tone_session("one");
    let mut open = Vec::new();
    let refused = loop {
        match Stream::acquire(&session, "tx", opts! {}) {
            Ok(stream) => open.push(stream),
            Err(refused) => break refused,
        }
        assert!(open.len() < 1_000, "no bound");
    };
    assert_eq!(refused.word(), "LimitExceeded", "{refused}");
    assert!(open.len() >= 50, "{} streams", open.len());
    open.truncate(10);
    wait_for("room", || Stream::acquire(&session, "tx", opts! {}).is_ok());
}

#[test]
fn a_microphone_that_brings_no_numbers_or_too_much_is_silence_or_full_scale_and_one_that_vanishes_is_silence() {
    let world = World::start();
    let session = world.tone_session("one");
    let raw = Stream::acquire(&session, "rx-raw", opts! {}).unwrap().listen();
    let rx = stream(&session, "rx");
    transition(&session, "EnterListening");
    let mut said = vec![f32::NAN; 4_800];
    said.extend(vec![f32::INFINITY; 4_800]);
    said.extend(vec![0.25; 4_800]);
    said.extend((0..4_800).map(|n| if n / 48 % 2 == 0 { 4.0 } else { -4.0 }));
    let mut mouth = Mouth::start(&world.jack, &said);
    mouth.wait_connected();
    let began = mouth.play();
    raw.until_us(began + 500_000);
    rx.until_us(began + 500_000);
    let samples = raw.samples();
    let first = samples.iter().position(|s| *s != 0.0).expect("the direct current at least");
    assert!(samples[first..first + 4_800].iter().all(|s| *s == 0.25));
    let square = &samples[first + 4_800..first + 9_600];
    assert!(square.iter().all(|s| *s == -1.0 || *s > 0.999), "full scale");
    assert!(rx.samples().iter().all(|s| s.is_finite()));
    drop(mouth);
    let gone = now_us();
    raw.until_us(gone + 300_000);
    assert!(raw.samples()[raw.at_us(gone + 100_000)..].iter().all(|s| *s == 0.0));
    let id = session.say("and all is well", opts! {});
    assert_eq!(session.wait(id).0, "completed");
}

#[test]
fn a_stream_lives_through_the_servers_death_and_its_position_stays_the_time() {
    let mut world = World::start();
    let session = world.tone_session("one");
    let tx = stream(&session, "tx");
    let id = session.say("before", opts! {});
    world.client.expect_finished(id);
    world.jack.kill();
    world.client.wait_manager_text("DriverState", "reconnecting");
    let_pass(Duration::from_millis(700));
    world.jack.launch();
    world.client.wait_manager_text("DriverState", "running");
    let id = session.say("after", opts! {});
    let started = world.client.expect_started(id);
    world.client.expect_finished(id);
    tx.until_us(now_us());
    let sounds = recorded(&tx).sounds(9_600);
    assert_eq!(sounds.len(), 2, "{sounds:?}");
    let second_us = tx.start_us + sounds[1].start as u64 * 1_000_000 / 48_000;
    assert!(
        second_us.abs_diff(started.at_us) < 300_000,
        "heard at {second_us} us by the stream, told at {} us",
        started.at_us
    );
}

#[test]
fn a_server_with_the_longest_period_is_fed_without_a_gap() {
    let options = JackOptions {
        rate: 48_000,
        period: 8_192,
    };
    let world = World::with(options, &Plan::default());
    let session = world.tone_session("one");
    let text = "a sentence that is longer than many a long period";
    let id = session.say(text, opts! {});
    assert_eq!(session.wait(id).0, "completed");
    let heard = world.heard();
    let sounds = heard.sounds(100);
    assert_eq!(sounds.len(), 1, "{sounds:?}");
    assert_eq!(sounds[0].len(), text.len() * 2_400);
    assert_eq!(world.client.metrics("").unwrap()["utterd_tx_underrun_us_total"], 0.0);
    assert!(
        world.jack.connections(OUT).iter().any(|c| c.starts_with("ear:")),
        "{IN} is not asked for"
    );
}
