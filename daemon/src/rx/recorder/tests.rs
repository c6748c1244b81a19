//! The recorder with files of its own: what is written, when, and what is held back until it may be.

use super::*;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(10);

fn dir(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("utterd-recorder-{}-{name}", std::process::id()))
}

fn recorder(dir: &Path, rate: u32) -> (Recorder, Receiver<RecordingEvent>) {
    recorder_of(dir, "a.wav", rate)
}

fn recorder_of(dir: &Path, name: &str, rate: u32) -> (Recorder, Receiver<RecordingEvent>) {
    let (events, inbox) = channel();
    let events = std::sync::Mutex::new(events);
    let tell: Tell = Arc::new(move |_, event| events.lock().unwrap().send(event).unwrap());
    let shelf = Shelf::new(dir.to_owned(), 0o600, 0, Duration::ZERO);
    let recorder = Recorder::start(RecordingId::new(1).unwrap(), shelf, name.into(), rate, tell).unwrap();
    (recorder, inbox)
}

fn recorded(dir: &Path) -> Vec<(i16, i16)> {
    let bytes = std::fs::read(dir.join("a.wav")).unwrap();
    let samples: Vec<i16> = bytes[44..].as_chunks::<2>().0.iter().map(|b| i16::from_le_bytes(*b)).collect();
    samples.as_chunks::<2>().0.iter().map(|f| (f[0], f[1])).collect()
}

/// What is in its file once it is stopped.
fn stopped(mut recorder: Recorder, events: &Receiver<RecordingEvent>, dir: &Path) -> Vec<(i16, i16)> {
    recorder.stop("stopped", "");
    while !matches!(events.recv_timeout(WAIT).unwrap(), RecordingEvent::Ended(_)) {}
    recorded(dir)
}

/// Frames of a line on which what is played comes back after so many frames, halved.
fn echo(n: i32, way: i32) -> ([f32; 10], [f32; 10]) {
    let played = |frame: i32| if frame < 0 { 0.0 } else { (frame % 50 + 1) as f32 / 64.0 };
    (
        std::array::from_fn(|k| played(10 * n + k as i32)),
        std::array::from_fn(|k| played(10 * n + k as i32 - way) / 2.0),
    )
}

#[test]
fn what_comes_back_lies_under_what_was_played_however_long_the_way() {
    let dir = dir("way");
    for way in [0, 3, 10, 25] {
        let (mut recorder, events) = recorder(&dir, 1_000);
        recorder.begin();
        for n in 0..50 {
            let (agent, user) = echo(n, way);
            recorder.hear(&agent, Some(&user), way as u32, false);
        }
        // 500 ms were played, and it is stopped as of the 450th.
        recorder.stop_at(450_000, "stopped");
        recorder.heard_until(Some(449_000), 0);
        assert!(!recorder.has_ended);
        recorder.heard_until(Some(500_000), 0);
        while !matches!(events.recv_timeout(WAIT).unwrap(), RecordingEvent::Ended(_)) {}
        let frames = recorded(&dir);
        assert!((450..=500).contains(&frames.len()), "{} with {way}", frames.len());
        assert_eq!(frames[0], (512, 256), "with {way}");
        assert!(
            frames[..450].iter().all(|(agent, user)| *agent == 2 * user),
            "with {way}: {frames:?}"
        );
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

#[test]
fn a_way_that_changes_moves_the_user_and_never_the_agent() {
    let dir = dir("moves");
    let (mut recorder, events) = recorder(&dir, 1_000);
    recorder.begin();
    let mut agent = Vec::new();
    for n in 0..60_i32 {
        let way = [0, 20, 5, 30][n as usize / 15];
        let (played, back) = echo(n, way);
        recorder.hear(&played, Some(&back[..]).filter(|_| n / 5 % 2 == 0), way as u32, false);
        agent.extend(played.iter().map(|a| to_i16(*a)));
    }
    let frames = stopped(recorder, &events, &dir);
    assert_eq!(frames.iter().map(|f| f.0).collect::<Vec<_>>(), agent);
    let with_user = frames.iter().filter(|(_, user)| *user != 0).count();
    assert!((300 - 45..=300).contains(&with_user), "{with_user}");
    assert!(frames.iter().all(|(agent, user)| *user == 0 || *agent == 2 * user), "{frames:?}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_microphone_that_is_opened_later_is_recorded_from_its_first_sample() {
    let dir = dir("later");
    let (mut recorder, events) = recorder(&dir, 1_000);
    recorder.begin();
    for n in 0..30 {
        let (agent, user) = echo(n, 25);
        recorder.hear(&agent, Some(&user[..]).filter(|_| n >= 10), 25, false);
    }
    let heard: Vec<_> = stopped(recorder, &events, &dir)
        .into_iter()
        .filter(|(_, user)| *user != 0)
        .collect();
    assert_eq!(heard.len(), 200);
    assert!(heard.iter().all(|(agent, user)| *agent == 2 * user), "{heard:?}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_rate_that_becomes_known_before_it_begins_is_the_one_that_it_waits_by() {
    let dir = dir("known");
    let (mut recorder, _events) = recorder(&dir, 48_000);
    recorder.rate_changed(1_000);
    recorder.begin();
    recorder.hear(&[0.5; 200], None, 0, false);
    assert_eq!(recorder.held.len(), 50);
}

#[test]
fn a_way_that_is_none_holds_no_more_than_half_a_second() {
    let dir = dir("none");
    let (mut recorder, _events) = recorder(&dir, 1_000);
    recorder.begin();
    for _ in 0..20 {
        recorder.hear(&[0.5; 100], Some(&[0.25; 100]), u32::MAX, false);
        assert!(recorder.held.len() <= 500);
    }
    drop(recorder);
}

#[test]
fn what_was_heard_is_in_the_file_within_a_tenth_of_a_second_whatever_the_format() {
    let dir = dir("flushed");
    for name in ["a.wav", "a.flac"] {
        let (mut recorder, events) = recorder_of(&dir, name, 8_000);
        recorder.begin();
        let noise: Vec<f32> = (0..80_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 16) as f32 / 65_536.0 - 0.5)
            .collect();
        for _ in 0..100 {
            recorder.hear(&noise, Some(&noise), 80, false);
        }
        // Nothing ends it: what is there is what a kill leaves.
        let deadline = std::time::Instant::now() + WAIT;
        let mut had = 0;
        while had < 7_200 {
            assert!(std::time::Instant::now() < deadline, "{name}: {had} of 8,000 frames");
            std::thread::sleep(Duration::from_millis(5));
            let bytes = std::fs::read(dir.join(name)).unwrap_or_default();
            had = match name {
                "a.wav" if bytes.len() >= 44 => u32::from_le_bytes(bytes[40..44].try_into().unwrap()) / 4,
                "a.flac" if bytes.len() >= 42 => u32::from_be_bytes(bytes[22..26].try_into().unwrap()),
                _ => 0,
            };
        }
        drop(recorder);
        while !matches!(events.recv_timeout(WAIT).unwrap(), RecordingEvent::Ended(_)) {}
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn it_begins_with_the_first_frame_that_sounded_and_keeps_both_sides_aligned() {
    let dir = dir("aligned");
    let (mut recorder, events) = recorder(&dir, 1_000);
    recorder.hear(&[0.0; 700], Some(&[0.25; 700]), 0, false);
    recorder.hear(&[0.5; 100], Some(&[0.25; 100]), 0, false);
    recorder.begin();
    recorder.hear(&[0.5; 100], None, 0, false);
    recorder.hear(&[0.0; 300], Some(&[-0.25; 300]), 0, true);
    recorder.stop("session-closed", "");
    assert!(matches!(events.recv_timeout(WAIT).unwrap(), RecordingEvent::Opened { .. }));
    let RecordingEvent::Ended(end) = events.recv_timeout(WAIT).unwrap() else {
        panic!("no end");
    };
    let expected = RecordingEnd {
        reason: "session-closed",
        duration_us: 500_000,
        lost_us: 300_000,
        error: String::new(),
    };
    assert_eq!(end, expected);
    let frames = [vec![(16_384, 8_192); 100], vec![(16_384, 0); 100], vec![(0, -8_192); 300]].concat();
    assert_eq!(recorded(&dir), frames);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn one_that_never_began_leaves_no_file() {
    let dir = dir("never");
    let (mut recorder, events) = recorder(&dir, 1_000);
    recorder.hear(&[0.5; 100], None, 0, false);
    recorder.stop("stopped", "");
    let told: Vec<_> = (0..2).map(|_| events.recv_timeout(WAIT).unwrap()).collect();
    assert!(matches!(&told[1], RecordingEvent::Ended(end) if end.duration_us == 0), "{told:?}");
    assert!(!dir.join("a.wav").exists());
    let closing = recorder.closing(0);
    drop(recorder);
    while !closing.is_over(1) {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(events.try_recv().is_err(), "it has no second end");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_folder_that_cannot_be_is_refused_once() {
    let (mut recorder, events) = recorder(Path::new("/dev/null/recordings"), 1_000);
    recorder.begin();
    recorder.hear(&[0.5; 1_000], None, 0, false);
    assert!(matches!(events.recv_timeout(WAIT).unwrap(), RecordingEvent::Refused(_)));
    recorder.stop("stopped", "");
    assert!(events.recv_timeout(Duration::from_millis(100)).is_err());
}

#[test]
fn a_disk_that_hangs_is_given_up_and_told_of_at_once() {
    let dir = dir("hangs");
    let (mut recorder, inbox, go_on) = recorder_on_a_disk_that_hangs(&dir);
    recorder.begin();
    // The youngest is held for its user.
    for _ in 0..=PIECES {
        recorder.hear(&[0.5; 50], None, 0, false);
    }
    assert!(inbox.try_recv().is_err(), "three seconds may wait");
    recorder.hear(&[0.5; 50], None, 0, false);
    let told = inbox.try_recv().unwrap();
    assert!(
        matches!(&told, RecordingEvent::Ended(end) if end.reason == "failed" && end.error.contains("too slow")),
        "{told:?}"
    );
    assert!(recorder.is_over());
    assert!(recorder.closing(0).is_over(u64::MAX / 2), "that was told");
    assert!(inbox.try_recv().is_err());
    drop(go_on);
    while !matches!(inbox.recv_timeout(WAIT).unwrap(), RecordingEvent::Ended(_)) {}
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_recording_whose_disk_hangs_at_its_end_has_one_all_the_same() {
    let dir = dir("hangs-at-the-end");
    let (mut recorder, inbox, go_on) = recorder_on_a_disk_that_hangs(&dir);
    recorder.begin();
    recorder.hear(&[0.5; 500], None, 0, false);
    recorder.stop("stopped", "");
    let closing = recorder.closing(5_000_000);
    drop(recorder);
    assert!(!closing.is_over(14_999_999));
    assert!(inbox.try_recv().is_err(), "the disk may take its time");
    assert!(closing.is_over(15_000_000));
    let told = inbox.try_recv().unwrap();
    assert!(
        matches!(&told, RecordingEvent::Ended(end) if end.reason == "failed" && end.error.contains("hangs")),
        "{told:?}"
    );
    drop(go_on);
    while !matches!(inbox.recv_timeout(WAIT).unwrap(), RecordingEvent::Ended(_)) {}
    std::fs::remove_dir_all(dir).unwrap();
}

fn recorder_on_a_disk_that_hangs(dir: &Path) -> (Recorder, Receiver<RecordingEvent>, Sender<()>) {
    let (events, inbox) = channel();
    let (go_on, gate) = channel::<()>();
    let (events, gate) = (std::sync::Mutex::new(events), std::sync::Mutex::new(gate));
    let line = std::thread::current().id();
    let tell: Tell = Arc::new(move |_, event| {
        // The disk's thread hangs here as it would in a write.
        if std::thread::current().id() != line {
            gate.lock().unwrap().recv().ok();
        }
        events.lock().unwrap().send(event).unwrap();
    });
    let shelf = Shelf::new(dir.to_owned(), 0o600, 0, Duration::ZERO);
    let recorder = Recorder::start(RecordingId::new(1).unwrap(), shelf, "a.wav".into(), 1_000, tell).unwrap();
    (recorder, inbox, go_on)
}

#[test]
fn another_rate_ends_a_recording_that_has_begun() {
    let dir = dir("rate");
    let (mut recorder, events) = recorder(&dir, 1_000);
    recorder.rate_changed(2_000);
    recorder.begin();
    recorder.hear(&[0.5; 2_000], None, 0, false);
    recorder.rate_changed(1_000);
    events.recv_timeout(WAIT).unwrap();
    let told = events.recv_timeout(WAIT).unwrap();
    assert!(
        matches!(&told, RecordingEvent::Ended(end) if end.reason == "failed" && end.duration_us == 1_000_000),
        "{told:?}"
    );
    std::fs::remove_dir_all(dir).unwrap();
}
