//! A recording: what was played of a session on the left, what its microphone brought on the right, frame by frame of the line, in pieces to
//! a thread of its own.
//!
//! Both sides lie on one clock, the room's: what the microphone brings is as old as the way from the loudspeaker's ring to the microphone's is
//! long, so it takes its place that many frames before what is played meanwhile, and the frames whose user is still on the way are held.
//! The queue to that thread is bounded; when it is full the disk is too slow and the recording ends, and nothing else happens. Until the session's
//! first frame was sent nothing is written; what was played in the moment before that was known is kept, so that no first syllable is lost.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, OnceLock};
use std::thread;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use utterd_core::{RecordingEnd, RecordingEvent, RecordingId};

use super::file::{SoundFile, reason};
use super::reader::to_i16;
use super::shelf::Shelf;
use crate::tx::resample::{samples_to_us, us_to_samples};

/// Pieces on their way to the disk: three seconds.
const PIECES: usize = 60;
/// A line that stands still must not keep a recording from its end.
const PATIENCE_US: u64 = 400_000;
/// A file that is not whole so long after its recording's end never will be.
const CLOSES_US: u64 = 10_000_000;
/// A way that is longer than this part of a second is a server's mistake.
const LONGEST_WAY: u32 = 2;
/// The way of a microphone that has not been opened yet is no longer than this part of a second: two periods of 1,024 frames.
const FIRST_WAY: u32 = 20;
/// Pieces a second.
const A_SECOND: u32 = 20;

/// Where a recording tells what becomes of it.
pub(super) type Tell = Arc<dyn Fn(RecordingId, RecordingEvent) + Send + Sync>;

/// The line's end of a recording.
pub(super) struct Recorder {
    pub(super) id: RecordingId,
    pieces: Sender<Piece>,
    shared: Arc<Shared>,
    tell: Tell,
    rate: u32,
    /// The youngest frames, agent and user: of each the user may still come, and until it may begin it is kept all the same.
    held: VecDeque<[i16; 2]>,
    /// How many of them wait for their user, the longest way so far: none is late when a microphone is opened.
    way: usize,
    has_begun: bool,
    piece: Vec<i16>,
    lost: u64,
    has_ended: bool,
    /// The end is ordered: what was played and captured until then is still to come.
    ending: Option<(u64, &'static str)>,
}

struct Piece {
    rate: u32,
    samples: Vec<i16>,
}

/// Between the line's end and the disk's.
#[derive(Default)]
struct Shared {
    end: OnceLock<End>,
    /// Frames that are in the file.
    written: AtomicU64,
    /// The disk hangs and its end was told: what waits is not written any more.
    is_given_up: AtomicBool,
}

struct End {
    reason: &'static str,
    error: String,
    lost: u64,
}

impl Recorder {
    pub(super) fn start(id: RecordingId, shelf: Shelf, file: String, rate: u32, tell: Tell) -> io::Result<Recorder> {
        let (pieces, inbox) = bounded(PIECES);
        let shared = Arc::new(Shared::default());
        let (ended, told) = (Arc::clone(&shared), Arc::clone(&tell));
        thread::Builder::new()
            .name("utterd-record".into())
            .spawn(move || write(id, &shelf, &file, &inbox, &ended, &told))?;
        Ok(Recorder {
            id,
            pieces,
            shared,
            tell,
            rate,
            held: VecDeque::new(),
            way: (rate / FIRST_WAY) as usize,
            has_begun: false,
            piece: Vec::new(),
            lost: 0,
            has_ended: false,
            ending: None,
        })
    }

    /// The first frame was sent: from that frame on, if it is among what was kept.
    pub(super) fn begin(&mut self) {
        if !self.has_begun {
            self.has_begun = true;
            let sounded = self.held.iter().position(|[agent, _]| *agent != 0);
            self.held.drain(..sounded.unwrap_or(self.held.len()));
        }
    }

    /// The next frames of the line; without a microphone the user is silent. What is played now comes back after `far_delay` frames.
    pub(super) fn hear(&mut self, agent: &[f32], user: Option<&[f32]>, far_delay: u32, is_lost: bool) {
        if self.has_ended {
            return;
        }
        let now = self.held.len();
        self.held.extend(agent.iter().map(|a| [to_i16(*a), 0]));
        if let Some(user) = user.filter(|u| u.len() == agent.len()) {
            let way = far_delay.min(self.rate / LONGEST_WAY) as usize;
            self.way = self.way.max(way);
            // What was captured before the first held frame has no place.
            let early = way.saturating_sub(now).min(user.len());
            let places = self.held.iter_mut().skip(now.saturating_sub(way));
            for (place, sample) in places.zip(&user[early..]) {
                place[1] = to_i16(*sample);
            }
        }
        if self.has_begun {
            self.lost += if is_lost { agent.len() as u64 } else { 0 };
            self.release(self.way);
        } else {
            let surplus = self.held.len().saturating_sub(self.rate as usize);
            self.held.drain(..surplus);
        }
    }

    /// All but the youngest go to the disk, in pieces.
    fn release(&mut self, youngest: usize) {
        let ready = self.held.len().saturating_sub(youngest);
        self.piece.extend(self.held.drain(..ready).flatten());
        if self.piece.len() >= 2 * (self.rate / A_SECOND) as usize {
            self.send();
        }
    }

    /// The line runs at another rate: a file cannot.
    pub(super) fn rate_changed(&mut self, rate: u32) {
        if rate == self.rate {
            return;
        }
        if !self.has_begun {
            self.rate = rate;
            self.held.clear();
        } else {
            self.stop("failed", "the audio server came back with another sample rate");
        }
    }

    /// Ends it; what was heard is written first.
    pub(super) fn stop(&mut self, reason: &'static str, error: &str) {
        if self.has_begun {
            self.release(0);
        }
        self.send();
        let end = End {
            reason,
            error: error.into(),
            lost: self.lost,
        };
        // The first end is the end.
        self.shared.end.set(end).ok();
        self.has_ended = true;
        let (closed, _) = bounded(0);
        self.pieces = closed;
    }

    /// Ends it with the sound of this moment.
    pub(super) fn stop_at(&mut self, at_us: u64, reason: &'static str) {
        self.ending.get_or_insert((at_us, reason));
    }

    /// The line has come this far. It is not waited for longer than a long period takes.
    pub(super) fn heard_until(&mut self, end_us: Option<u64>, now_us: u64) {
        let Some((at_us, reason)) = self.ending else {
            return;
        };
        let way_us = samples_to_us(self.way as u64, self.rate);
        let past_us = end_us.and_then(|end_us| end_us.checked_sub(at_us));
        if past_us.is_some_and(|past_us| past_us >= way_us) || now_us > at_us + way_us + PATIENCE_US {
            // What was played since then is left out; its user has not come either.
            let past = us_to_samples(past_us.unwrap_or(0), self.rate) as usize;
            self.held.truncate(self.held.len().saturating_sub(past));
            self.stop(reason, "");
        }
    }

    /// Its thread has told how it ended, or was ordered to.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended || Arc::strong_count(&self.shared) == 1
    }

    fn send(&mut self) {
        if self.has_ended || self.piece.is_empty() {
            return;
        }
        let piece = Piece {
            rate: self.rate,
            samples: std::mem::take(&mut self.piece),
        };
        match self.pieces.try_send(piece) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.give_up(),
            // The disk has failed, and told.
            Err(TrySendError::Disconnected(_)) => self.has_ended = true,
        }
    }
}

impl Recorder {
    /// The disk hangs, and may do so for ever: its thread cannot tell.
    fn give_up(&mut self) {
        let error = "the disk is too slow: three seconds of sound wait for it";
        self.piece.clear();
        self.held.clear();
        self.stop("failed", error);
        self.closing(0).give_up(error);
    }

    /// What is left to do once it is over.
    pub(super) fn closing(&self, now_us: u64) -> Closing {
        Closing {
            id: self.id,
            shared: Arc::clone(&self.shared),
            tell: Arc::clone(&self.tell),
            rate: self.rate,
            lost: self.lost,
            since_us: now_us,
        }
    }
}

/// A recording whose end was ordered and whose file may not be whole yet.
pub(super) struct Closing {
    id: RecordingId,
    shared: Arc<Shared>,
    tell: Tell,
    rate: u32,
    lost: u64,
    since_us: u64,
}

impl Closing {
    /// Its thread has told its end, or it was told here because the disk hangs.
    pub(super) fn is_over(&self, now_us: u64) -> bool {
        if Arc::strong_count(&self.shared) == 1 || self.shared.is_given_up.load(Acquire) {
            return true;
        }
        let is_late = now_us >= self.since_us + CLOSES_US;
        if is_late {
            self.give_up("the disk hangs: the end of the recording has waited for it for ten seconds");
        }
        is_late
    }

    /// Its thread cannot tell. Whatever it tells later comes too late to be heard.
    fn give_up(&self, error: &str) {
        self.shared.is_given_up.store(true, Release);
        let end = RecordingEnd {
            reason: "failed",
            duration_us: samples_to_us(self.shared.written.load(Acquire), self.rate),
            lost_us: samples_to_us(self.lost, self.rate),
            error: error.into(),
        };
        (self.tell)(self.id, RecordingEvent::Ended(end));
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.has_ended {
            let reason = self.ending.map_or("stopped", |(_, reason)| reason);
            self.stop(reason, "");
        }
    }
}

fn write(id: RecordingId, shelf: &Shelf, file: &str, pieces: &Receiver<Piece>, shared: &Shared, tell: &Tell) {
    shelf.tidy();
    let mut sound = match SoundFile::create(shelf, file) {
        Ok(sound) => sound,
        Err(failure) => {
            return tell(id, RecordingEvent::Refused(failure));
        }
    };
    let path = sound.path().display().to_string();
    tell(id, RecordingEvent::Opened { path });
    let mut rate = 0;
    let mut failed = None;
    for piece in pieces {
        rate = piece.rate;
        if let Err(error) = sound.write(rate, &piece.samples) {
            failed = Some(error);
            break;
        }
        shared.written.store(sound.frames(), Release);
        if shared.is_given_up.load(Acquire) {
            break;
        }
    }
    let closed = sound.close();
    let error = failed.or(closed.err());
    let told = shared.end.get();
    let end = RecordingEnd {
        reason: match &error {
            Some(error) => reason(error),
            None => told.map_or("stopped", |end| end.reason),
        },
        duration_us: samples_to_us(sound.frames(), rate.max(1)),
        lost_us: samples_to_us(told.map_or(0, |end| end.lost), rate.max(1)),
        error: match &error {
            Some(error) => error.to_string(),
            None => told.map(|end| end.error.clone()).unwrap_or_default(),
        },
    };
    tell(id, RecordingEvent::Ended(end));
    shelf.tidy();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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
        recorder.stop("stopped", "");
        while !matches!(events.recv_timeout(WAIT).unwrap(), RecordingEvent::Ended(_)) {}
        let frames = recorded(&dir);
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
        recorder.stop("stopped", "");
        while !matches!(events.recv_timeout(WAIT).unwrap(), RecordingEvent::Ended(_)) {}
        let heard: Vec<_> = recorded(&dir).into_iter().filter(|(_, user)| *user != 0).collect();
        assert_eq!(heard.len(), 200);
        assert!(heard.iter().all(|(agent, user)| *agent == 2 * user), "{heard:?}");
        std::fs::remove_dir_all(dir).unwrap();
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
}
