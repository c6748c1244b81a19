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
            way: first_way(rate),
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
            (self.rate, self.way) = (rate, first_way(rate));
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

/// Frames that wait before any way is known.
fn first_way(rate: u32) -> usize {
    (rate / FIRST_WAY) as usize
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
mod tests;
