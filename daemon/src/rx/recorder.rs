//! A recording: what was played of a session on the left, what its microphone brought on the right, frame by frame of the line, in pieces to
//! a thread of its own.
//!
//! The queue to that thread is bounded; when it is full the disk is too slow and the recording ends, and nothing else happens. Until the session's
//! first frame was sent nothing is written; what was played in the moment before that was known is kept, so that no first syllable is lost.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use utterd_core::{RecordingEnd, RecordingEvent, RecordingId};

use super::disk::{Shelf, Wav, reason};
use super::reader::to_i16;
use crate::tx::resample::samples_to_us;

/// Pieces on their way to the disk: three seconds.
const PIECES: usize = 60;
/// A line that stands still must not keep a recording from its end.
const PATIENCE_US: u64 = 400_000;
/// Pieces a second.
const A_SECOND: u32 = 20;

/// Where a recording tells what becomes of it.
pub(super) type Tell = Arc<dyn Fn(RecordingId, RecordingEvent) + Send + Sync>;

/// The line's end of a recording.
pub(super) struct Recorder {
    pub(super) id: RecordingId,
    pieces: Sender<Piece>,
    end: Arc<OnceLock<End>>,
    rate: u32,
    piece: Vec<i16>,
    lost: u64,
    /// Until it may begin: the last second.
    before: Option<VecDeque<(f32, f32)>>,
    has_ended: bool,
    /// The end is ordered: what was played and captured until then is still to come.
    ending: Option<(u64, &'static str)>,
}

struct Piece {
    rate: u32,
    samples: Vec<i16>,
}

struct End {
    reason: &'static str,
    error: String,
    lost: u64,
}

impl Recorder {
    pub(super) fn start(id: RecordingId, shelf: Shelf, file: String, rate: u32, tell: Tell) -> io::Result<Recorder> {
        let (pieces, inbox) = bounded(PIECES);
        let end = Arc::new(OnceLock::new());
        let ended = end.clone();
        thread::Builder::new()
            .name("utterd-record".into())
            .spawn(move || write(id, &shelf, &file, &inbox, &ended, &tell))?;
        Ok(Recorder {
            id,
            pieces,
            end,
            rate,
            piece: Vec::new(),
            lost: 0,
            before: Some(VecDeque::new()),
            has_ended: false,
            ending: None,
        })
    }

    /// The first frame was sent: from that frame on, if it is among what was kept.
    pub(super) fn begin(&mut self) {
        let Some(before) = self.before.take() else {
            return;
        };
        let sounded = before.iter().position(|(agent, _)| *agent != 0.0);
        for (agent, user) in before.into_iter().skip(sounded.unwrap_or(usize::MAX)) {
            self.piece.extend([to_i16(agent), to_i16(user)]);
        }
    }

    /// The next frames of the line; without a microphone the user is silent.
    pub(super) fn hear(&mut self, agent: &[f32], user: Option<&[f32]>, is_lost: bool) {
        if self.has_ended {
            return;
        }
        let user = user.filter(|u| u.len() == agent.len());
        let frames = agent.iter().enumerate().map(|(n, a)| (*a, user.map_or(0.0, |u| u[n])));
        if let Some(before) = &mut self.before {
            before.extend(frames);
            let surplus = before.len().saturating_sub(self.rate as usize);
            before.drain(..surplus);
            return;
        }
        self.lost += if is_lost { agent.len() as u64 } else { 0 };
        self.piece.extend(frames.flat_map(|(a, u)| [to_i16(a), to_i16(u)]));
        if self.piece.len() >= 2 * (self.rate / A_SECOND) as usize {
            self.send();
        }
    }

    /// The line runs at another rate: a WAV file cannot.
    pub(super) fn rate_changed(&mut self, rate: u32) {
        if rate == self.rate {
            return;
        }
        if self.before.is_some() {
            self.rate = rate;
        } else {
            self.stop("failed", "the audio server came back with another sample rate");
        }
    }

    /// Ends it; what was heard is written first.
    pub(super) fn stop(&mut self, reason: &'static str, error: &str) {
        self.send();
        let end = End {
            reason,
            error: error.into(),
            lost: self.lost,
        };
        // The first end is the end.
        self.end.set(end).ok();
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
        if let Some((at_us, reason)) = self.ending
            && (end_us.is_some_and(|end| end >= at_us) || now_us > at_us + PATIENCE_US)
        {
            self.stop(reason, "");
        }
    }

    /// Its thread has told how it ended, or was ordered to.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended || Arc::strong_count(&self.end) == 1
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
            Err(TrySendError::Full(_)) => self.stop("failed", "the disk is too slow: three seconds of sound wait for it"),
            // The disk has failed, and told.
            Err(TrySendError::Disconnected(_)) => self.has_ended = true,
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.has_ended {
            self.stop("stopped", "");
        }
    }
}

fn write(id: RecordingId, shelf: &Shelf, file: &str, pieces: &Receiver<Piece>, end: &OnceLock<End>, tell: &Tell) {
    shelf.tidy();
    let mut wav = match Wav::create(shelf, file) {
        Ok(wav) => wav,
        Err(failure) => {
            return tell(id, RecordingEvent::Refused(failure));
        }
    };
    let path = wav.path.display().to_string();
    tell(id, RecordingEvent::Opened { path });
    let mut rate = 0;
    let mut failed = None;
    for piece in pieces {
        rate = piece.rate;
        wav.set_rate(rate);
        if let Err(error) = wav.write(&piece.samples) {
            failed = Some(error);
            break;
        }
    }
    let frames = wav.frames();
    let closed = wav.close();
    let error = failed.or(closed.err());
    let told = end.get();
    let end = RecordingEnd {
        reason: match &error {
            Some(error) => reason(error),
            None => told.map_or("stopped", |end| end.reason),
        },
        duration_us: samples_to_us(frames, rate.max(1)),
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
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    const WAIT: Duration = Duration::from_secs(10);

    fn dir(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("utterd-recorder-{}-{name}", std::process::id()))
    }

    fn recorder(dir: &Path, rate: u32) -> (Recorder, Receiver<RecordingEvent>) {
        let (events, inbox) = channel();
        let events = std::sync::Mutex::new(events);
        let tell: Tell = Arc::new(move |_, event| events.lock().unwrap().send(event).unwrap());
        let shelf = Shelf::new(dir.to_owned(), 0o600, 0, Duration::ZERO);
        let recorder = Recorder::start(RecordingId::new(1).unwrap(), shelf, "a.wav".into(), rate, tell).unwrap();
        (recorder, inbox)
    }

    fn recorded(dir: &Path) -> Vec<(i16, i16)> {
        let bytes = std::fs::read(dir.join("a.wav")).unwrap();
        let samples: Vec<i16> = bytes[44..].as_chunks::<2>().0.iter().map(|b| i16::from_le_bytes(*b)).collect();
        samples.as_chunks::<2>().0.iter().map(|f| (f[0], f[1])).collect()
    }

    #[test]
    fn it_begins_with_the_first_frame_that_sounded_and_keeps_both_sides_aligned() {
        let dir = dir("aligned");
        let (mut recorder, events) = recorder(&dir, 1_000);
        recorder.hear(&[0.0; 700], Some(&[0.25; 700]), false);
        recorder.hear(&[0.5; 100], Some(&[0.25; 100]), false);
        recorder.begin();
        recorder.hear(&[0.5; 100], None, false);
        recorder.hear(&[0.0; 300], Some(&[-0.25; 300]), true);
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
        recorder.hear(&[0.5; 100], None, false);
        recorder.stop("stopped", "");
        let told: Vec<_> = (0..2).map(|_| events.recv_timeout(WAIT).unwrap()).collect();
        assert!(matches!(&told[1], RecordingEvent::Ended(end) if end.duration_us == 0), "{told:?}");
        assert!(!dir.join("a.wav").exists());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_is_refused_once() {
        let (mut recorder, events) = recorder(Path::new("/dev/null/recordings"), 1_000);
        recorder.begin();
        recorder.hear(&[0.5; 1_000], None, false);
        assert!(matches!(events.recv_timeout(WAIT).unwrap(), RecordingEvent::Refused(_)));
        recorder.stop("stopped", "");
        assert!(events.recv_timeout(Duration::from_millis(100)).is_err());
    }

    #[test]
    fn another_rate_ends_a_recording_that_has_begun() {
        let dir = dir("rate");
        let (mut recorder, events) = recorder(&dir, 1_000);
        recorder.rate_changed(2_000);
        recorder.begin();
        recorder.hear(&[0.5; 2_000], None, false);
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
