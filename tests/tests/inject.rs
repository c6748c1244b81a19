//! AcquireAudio "inject": what a client writes is heard as an utterance, and a cancel breaks its pipe (issue: hearing, "AcquireAudio").
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::thread;

use rustix::io::Errno;
use utterd_tests::client::{Dict, Options, Session};
use utterd_tests::clock::{now_us, wait_for};
use utterd_tests::opts;
use utterd_tests::tone;
use utterd_tests::world::{Quiet, World};

/// A stream to write, and what the daemon says of it.
fn inject(session: &Session, options: Options) -> (File, Dict) {
    let (fd, actual) = session.acquire("inject", options).unwrap_or_else(|e| panic!("AcquireAudio: {e}"));
    (File::from(fd), actual)
}

fn floats(samples: impl IntoIterator<Item = f32>) -> Vec<u8> {
    samples.into_iter().flat_map(f32::to_le_bytes).collect()
}

#[test]
fn what_a_model_says_is_heard_at_its_rate_and_its_end_is_the_end() {
    let world = World::start();
    let session = world.tone_session("one");
    let options = opts! { "rate" => 16_000_u32, "encoding" => "s16le", "text" => "two seconds", "tag" => "m-1" };
    let (mut stream, actual) = inject(&session, options);
    let id = actual.number("utterance");
    assert_eq!(
        (actual.number("rate"), actual.text("encoding"), actual.number("channels")),
        (16_000, "s16le", 1)
    );
    assert!(now_us() - actual.number("start-us") < 5_000_000);
    let sine = |n: usize| ((std::f64::consts::TAU * 500.0 * n as f64 / 16_000.0).sin() * 16_000.0) as i16;
    let bytes: Vec<u8> = (0..32_000).flat_map(|n| sine(n).to_le_bytes()).collect();
    let writer = thread::spawn(move || stream.write_all(&bytes));
    let (outcome, report) = session.wait(id);
    writer.join().unwrap().unwrap();
    assert_eq!((outcome.as_str(), report.number("played-us")), ("completed", 2_000_000));
    assert_eq!(
        (report.text("heard-text"), report.text("tag"), report.text("backend")),
        ("two seconds", "m-1", "")
    );
    let heard = world.heard();
    let first = heard.first_sound(0..usize::MAX).unwrap();
    let last = heard.last_sound(0..usize::MAX).unwrap();
    assert!((95_900..=96_000).contains(&(last - first)), "{}", last - first);
    let inner = &heard.samples[first + 2_000..last - 2_000];
    let crossings = inner.windows(2).filter(|w| w[0] < 0.0 && w[1] >= 0.0).count();
    let hertz = crossings as f64 * 48_000.0 / inner.len() as f64;
    assert!((hertz - 500.0).abs() < 2.0, "{hertz} Hz");
}

#[test]
fn it_takes_its_place_in_the_queue_to_the_sample() {
    let world = World::start();
    let session = world.tone_session("one");
    let before = session.say("before", opts! {});
    let (mut stream, actual) = inject(&session, opts! { "encoding" => "f32le" });
    let id = actual.number("utterance");
    assert_eq!(actual.number("rate"), 48_000, "the output's own");
    let after = session.say("after", opts! {});
    // A second and a half of it, from a client that is quicker than time.
    let bytes = floats((0..72_000).map(|n| tone::encode(100, n)));
    let writer = thread::spawn(move || stream.write_all(&bytes));
    session.wait(after);
    writer.join().unwrap().unwrap();
    assert_eq!(session.wait(id).0, "completed");
    let runs = tone::runs(&world.heard());
    let voices: Vec<_> = runs.iter().map(|r| r.voice).collect();
    assert_eq!(voices, [tone::voice(before), 100, tone::voice(after)], "{runs:?}");
    assert!(runs.windows(2).all(|w| w[0].heard.end == w[1].heard.start), "{runs:?}");
    assert_eq!((runs[1].first, runs[1].heard.len()), (0, 72_000));
}

#[test]
fn a_cancel_is_a_broken_pipe_at_once_and_the_report_counts_samples() {
    let world = World::start();
    let session = world.tone_session("one");
    let (mut stream, actual) = inject(&session, opts! { "encoding" => "f32le", "text" => "something long" });
    let id = actual.number("utterance");
    let writer = thread::spawn(move || {
        let mut n = 0;
        loop {
            let second = floats((n..n + 4_800).map(|n| tone::encode(100, n)));
            n += 4_800;
            if let Err(error) = stream.write_all(&second) {
                return (now_us(), error.kind(), n);
            }
        }
    });
    world.client.expect_started(id);
    world.for_ms(700);
    let asked = now_us();
    let report = session.cancel(opts! {});
    let answered = now_us();
    let (broken, kind, written) = writer.join().unwrap();
    assert_eq!(kind, ErrorKind::BrokenPipe);
    assert!(
        broken < answered + 100_000,
        "{} us after the reply",
        broken.saturating_sub(answered)
    );
    assert!(broken >= asked);
    // Look-ahead, pipe and one second in hand: what a client is ahead at most.
    assert!(written < 8 * 48_000, "{written}: the pipe held nobody back");
    assert_eq!((report.text("result"), report.numbers("utterances")), ("cancelled", vec![id]));
    assert_eq!(report.text("heard-source"), "estimated");
    let runs = tone::runs(&world.heard());
    let really: usize = runs.iter().map(|r| r.heard.len()).sum();
    let (told, really) = (report.number("played-us") as i64, really as i64 * 1_000_000 / 48_000);
    assert!((told - really - 5_000).abs() <= 100, "{told} told, {really} and a ramp heard");
    assert_eq!(session.wait(session.say("next", opts! {})).0, "completed");
}

#[test]
fn a_client_that_writes_nothing_keeps_nobody_from_speaking() {
    let world = World::start();
    let (one, two) = (world.tone_session("one"), world.tone_session("two"));
    let (mut stream, actual) = inject(&one, opts! { "encoding" => "f32le" });
    let id = actual.number("utterance");
    stream.write_all(&floats((0..4_800).map(|n| tone::encode(100, n)))).unwrap();
    world.client.expect_started(id);
    // Its tenth of a second is heard; then two seconds are its own, and no longer.
    let other = two.say("somebody else", opts! {});
    assert_eq!(two.wait(other).0, "completed");
    assert!(one.wait_ms(id, 0).0 == "pending");
    stream.write_all(&floats((4_800..9_600).map(|n| tone::encode(100, n)))).unwrap();
    drop(stream);
    assert_eq!(one.wait(id).0, "completed");
    let runs = tone::runs(&world.heard());
    let told: Vec<_> = runs.iter().map(|r| (r.voice, r.first, r.last)).collect();
    assert_eq!(
        (told[0], *told.last().unwrap()),
        ((100, 0, 4_799), (100, 4_800, 9_599)),
        "nothing lost: {told:?}"
    );
    let snapshot = world.client.metrics("").unwrap();
    assert_eq!(
        snapshot["utterd_tx_underrun_us_total"], 0.0,
        "silence of a client is no lack of ours"
    );
}

#[test]
fn every_end_of_the_session_and_of_the_client_ends_it() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let broken = |stream: &File| rustix::io::write(stream, &[0; 2]) == Err(Errno::PIPE);
    // Not accepted: broken from the start.
    let said = session.say("busy", opts! {});
    let (stream, actual) = inject(&session, opts! { "mode" => "if-idle" });
    assert_eq!(actual.number("utterance"), 0);
    assert!(broken(&stream));
    session.wait(said);
    // Waiting behind something, not even asked for.
    session.say("a long sentence that is spoken for a while", opts! {});
    let (stream, actual) = inject(&session, opts! {});
    session.cancel(opts! { "utterance" => actual.number("utterance") });
    wait_for("EPIPE", || broken(&stream));
    session.cancel(opts! {});
    // An empty one is complete, and one whose last frame is half there.
    let (stream, actual) = inject(&session, opts! {});
    drop(stream);
    assert_eq!(session.wait(actual.number("utterance")).0, "completed");
    let (mut stream, actual) = inject(&session, opts! { "channels" => 2_u32 });
    stream.write_all(&[1; 4 * 480 + 3]).unwrap();
    drop(stream);
    let (outcome, report) = session.wait(actual.number("utterance"));
    assert_eq!((outcome.as_str(), report.number("played-us")), ("completed", 10_000));
    // Muted, closed, and the daemon's own end.
    let (stream, actual) = inject(&session, opts! {});
    session.set("Muted", true).unwrap();
    wait_for("EPIPE", || broken(&stream));
    assert_eq!(session.wait(actual.number("utterance")).1.text("reason"), "muted");
    session.set("Muted", false).unwrap();
    let (stream, _) = inject(&session, opts! {});
    session.close(opts! {}).unwrap();
    wait_for("EPIPE", || broken(&stream));
}

#[test]
fn options_that_fit_no_stream_are_refused_by_name() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    for (key, options) in [
        ("rate", opts! { "rate" => 0_u32 }),
        ("rate", opts! { "rate" => 1_000_000_u32 }),
        ("encoding", opts! { "encoding" => "mp3" }),
        ("channels", opts! { "channels" => 0_u32 }),
        ("voice", opts! { "voice" => "tone" }),
        ("beside", opts! { "beside" => true }),
        ("loop", opts! { "loop" => true }),
    ] {
        let error = session.acquire("inject", options).err().unwrap();
        assert!(error.name.ends_with("InvalidArgs") && error.message.contains(key), "{error}");
    }
    let error = session.acquire("sideways", opts! {}).err().unwrap();
    assert!(error.name.ends_with("InvalidArgs"), "{error}");
}
