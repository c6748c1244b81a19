//! One job's life, and the sink its backend writes to.
//!
//! The phase is one atomic: queued → requested (the worker) or queued → withdrawn (the canceller), and whoever loses the race sees it. From there the
//! worker alone moves it. A cancel of a running job sets a flag, makes the eventfd readable, and lets a writer that waits for room go.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::cache::{Phrase, Recording};
use super::text::CharIndex;
use super::{Job, Stage, SynthEvent};
use crate::plugins::{MarkKind, SpeakSink, TtsBackend};
use crate::tx::{Output, PieceMark, StoreWriter, now_us};

/// Marks kept while no audio has come yet; a backend that sends more before its first sample loses the excess.
const EARLY_MARKS: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Phase {
    Queued,
    Withdrawn,
    Requested,
    Streaming,
    Delivered,
    /// It failed or was stopped before its first sample, or after it.
    EndedSilent,
    EndedSounding,
}

impl Phase {
    const ALL: [Phase; 7] = [
        Phase::Queued,
        Phase::Withdrawn,
        Phase::Requested,
        Phase::Streaming,
        Phase::Delivered,
        Phase::EndedSilent,
        Phase::EndedSounding,
    ];

    /// The word of a report.
    pub(super) fn stage(self) -> Stage {
        match self {
            Phase::Queued | Phase::Withdrawn => Stage::Queued,
            Phase::Requested | Phase::EndedSilent => Stage::Requested,
            Phase::Streaming | Phase::EndedSounding => Stage::Streaming,
            Phase::Delivered => Stage::Delivered,
        }
    }
}

/// A job and what became of it; kept until its utterance is forgotten. `[any]`
pub(super) struct Task {
    pub(super) synthesis: u64,
    pub(super) utterance: u64,
    pub(super) session: u64,
    pub(super) last: bool,
    pub(super) open: bool,
    pub(super) retry: bool,
    pub(super) output: Output,
    /// Found in the cache: no backend is asked.
    pub(super) phrase: Option<Arc<Phrase>>,
    first_audio_us: u64,
    stall_us: u64,
    /// When it was requested, or had its last sample.
    moved_us: AtomicU64,
    /// The backend is inside our sink.
    ours: AtomicBool,
    audio_us: AtomicU64,
    /// Order of submission.
    pub(super) ticket: u64,
    pub(super) backend: Arc<TtsBackend>,
    /// Taken by the worker.
    pub(super) job: Mutex<Option<Job>>,
    phase: AtomicU8,
    cancelled: Arc<AtomicBool>,
    cancel_fd: Mutex<Option<OwnedFd>>,
}

impl Task {
    pub(super) fn new(job: Job, ticket: u64) -> Self {
        Task {
            synthesis: job.synthesis,
            utterance: job.utterance,
            session: job.session,
            last: job.last,
            open: job.open,
            retry: job.retry,
            output: job.output,
            phrase: None,
            first_audio_us: job.first_audio_us,
            stall_us: job.stall_us,
            moved_us: AtomicU64::new(0),
            ours: AtomicBool::new(false),
            audio_us: AtomicU64::new(0),
            ticket,
            backend: Arc::clone(&job.backend),
            job: Mutex::new(Some(job)),
            phase: AtomicU8::new(Phase::Queued as u8),
            cancelled: Arc::default(),
            cancel_fd: Mutex::new(None),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Acquire))]
    }

    /// The worker's step. False: withdrawn, and the request must not be issued.
    pub(super) fn request(&self) -> bool {
        // The descriptor exists before anyone can see the job requested.
        match eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK) {
            Ok(fd) => *lock(&self.cancel_fd) = Some(fd),
            Err(error) => {
                tracing::warn!(%error, "no eventfd for a synthesis: its cancel is polled")
            }
        }
        self.moved_us.store(now_us(), Ordering::Release);
        self.step(Phase::Queued, Phase::Requested)
    }

    /// The canceller's step. False: the request is, or was, under way.
    pub(super) fn withdraw(&self) -> bool {
        self.step(Phase::Queued, Phase::Withdrawn)
    }

    fn step(&self, from: Phase, to: Phase) -> bool {
        let (from, to) = (from as u8, to as u8);
        let order = (Ordering::AcqRel, Ordering::Acquire);
        self.phase.compare_exchange(from, to, order.0, order.1).is_ok()
    }

    /// The worker's last step. False: it was given up meanwhile, and is over already.
    pub(super) fn end(&self, complete: bool) -> bool {
        let (silent, sounding) = if complete {
            (Phase::Delivered, Phase::Delivered)
        } else {
            (Phase::EndedSilent, Phase::EndedSounding)
        };
        let ended = self.step(Phase::Requested, silent) || self.step(Phase::Streaming, sounding);
        *lock(&self.cancel_fd) = None;
        ended
    }

    /// The watcher's step: over, though its `speak` has not returned. Where it stood; none: it has ended.
    pub(super) fn abandon(&self) -> Option<Stage> {
        let silent = self.step(Phase::Requested, Phase::EndedSilent).then_some(Stage::Requested);
        silent.or_else(|| self.step(Phase::Streaming, Phase::EndedSounding).then_some(Stage::Streaming))
    }

    /// The time-out that it has exceeded.
    pub(super) fn silent_for(&self, now: u64) -> Option<u64> {
        let patience = match self.phase() {
            Phase::Requested => self.first_audio_us,
            Phase::Streaming => self.stall_us,
            _ => 0,
        };
        let silent = now.saturating_sub(self.moved_us.load(Ordering::Acquire)) >= patience;
        (patience > 0 && silent && !self.ours.load(Ordering::Acquire) && !self.is_cancelled()).then_some(patience)
    }

    pub(super) fn shortest_patience(&self) -> Option<u64> {
        [self.first_audio_us, self.stall_us].into_iter().filter(|us| *us > 0).min()
    }

    pub(super) fn audio_us(&self) -> u64 {
        self.audio_us.load(Ordering::Acquire)
    }

    /// The word of a report.
    pub(super) fn stage(&self) -> Stage {
        if self.phrase.is_some() {
            Stage::Cached
        } else {
            self.phase().stage()
        }
    }

    /// Lets a running `speak` know. True the first time.
    pub(super) fn signal_cancel(&self) -> bool {
        if self.cancelled.swap(true, Ordering::AcqRel) {
            return false;
        }
        if let Some(fd) = lock(&self.cancel_fd).as_ref()
            && let Err(error) = rustix::io::write(fd, &1u64.to_ne_bytes())
        {
            tracing::warn!(synthesis = self.synthesis, %error, "eventfd write failed");
        }
        true
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(super) fn cancelled_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancelled)
    }

    fn cancel_fd(&self) -> RawFd {
        lock(&self.cancel_fd).as_ref().map_or(-1, |fd| fd.as_raw_fd())
    }
}

/// Where a backend's audio goes while its `speak` runs. `[worker]`
pub(super) struct Sink<'a> {
    task: &'a Task,
    index: CharIndex<'a>,
    char_base: u32,
    events: &'a (dyn Fn(SynthEvent) + Send + Sync),
    /// The writer refused: the utterance was cut. Beside the lock, which a write that waits for room holds.
    refused: AtomicBool,
    piece: Mutex<Piece>,
}

/// What the sink changes as audio comes.
struct Piece {
    writer: StoreWriter,
    rate: u32,
    gain: f32,
    samples: u64,
    early: Vec<PieceMark>,
    recording: Option<Recording>,
}

/// What is left when `speak` has returned.
pub(super) struct Written {
    pub(super) writer: StoreWriter,
    pub(super) audio_us: u64,
    pub(super) refused: bool,
    /// What was said, for the cache.
    pub(super) recording: Option<Recording>,
}

impl<'a> Sink<'a> {
    /// For one piece of `job`; its gain is applied to the samples here, so every backend obeys it.
    pub(super) fn new(
        task: &'a Task,
        job: &'a Job,
        writer: StoreWriter,
        recording: Option<Recording>,
        events: &'a (dyn Fn(SynthEvent) + Send + Sync),
    ) -> Self {
        Sink {
            task,
            index: CharIndex::new(&job.text),
            char_base: job.char_base,
            events,
            piece: Mutex::new(Piece {
                writer,
                rate: 0,
                gain: utterd_core::db_to_linear(job.gain_db),
                samples: 0,
                early: Vec::new(),
                recording,
            }),
            refused: AtomicBool::new(false),
        }
    }

    /// Ends the piece and gives the writer back. What was marked and not spoken is dropped, unless it was all there was to say.
    pub(super) fn into_written(self, complete: bool) -> Written {
        let mut piece = self.piece.into_inner().unwrap_or_else(PoisonError::into_inner);
        if complete {
            piece.begin(48_000);
        }
        piece.writer.end_piece();
        Written {
            audio_us: piece.samples * 1_000_000 / u64::from(piece.rate.max(1)),
            refused: self.refused.into_inner(),
            writer: piece.writer,
            recording: piece.recording,
        }
    }
}

impl Piece {
    /// The first samples say at which rate this piece is; marks that came before follow.
    fn begin(&mut self, rate: u32) {
        if self.rate == 0 {
            self.rate = rate.max(1);
            self.writer.begin_piece(self.rate, self.gain);
            for mark in self.early.drain(..) {
                self.writer.mark(mark);
            }
        }
    }
}

impl SpeakSink for Sink<'_> {
    fn write(&self, rate: u32, mono: &[f32]) -> bool {
        let mut piece = lock(&self.piece);
        if self.cancelled() {
            return false;
        }
        if mono.is_empty() {
            return true;
        }
        // Its first sample and the watcher's patience meet here, before anything is stored.
        let first = self.task.step(Phase::Requested, Phase::Streaming);
        if !first && self.task.phase() != Phase::Streaming {
            return false;
        }
        piece.begin(rate);
        if let Some(recording) = &mut piece.recording {
            recording.write(rate, mono);
        }
        self.task.ours.store(true, Ordering::Release);
        if first {
            (self.events)(SynthEvent::FirstAudio {
                synthesis: self.task.synthesis,
                at_us: now_us(),
            });
        }
        let written = piece.writer.write(mono);
        if written.is_ok() {
            piece.samples += mono.len() as u64;
            let audio_us = piece.samples * 1_000_000 / u64::from(piece.rate);
            self.task.audio_us.store(audio_us, Ordering::Release);
        }
        self.task.moved_us.store(now_us(), Ordering::Release);
        self.task.ours.store(false, Ordering::Release);
        match written {
            Ok(()) => true,
            Err(_) => {
                self.refused.store(!self.task.is_cancelled(), Ordering::Release);
                false
            }
        }
    }

    fn mark(&self, kind: MarkKind, sample: u64, text_off: u32, text_len: u32, name: &str) {
        let end = text_off as usize + text_len as usize;
        let mark = PieceMark {
            kind,
            sample,
            char_start: self.char_base + self.index.chars_before(text_off as usize),
            char_end: self.char_base + self.index.chars_before(end),
            name: name.to_owned(),
        };
        let mut piece = lock(&self.piece);
        if let Some(recording) = &mut piece.recording {
            recording.mark(kind, sample, text_off, text_len, name);
        }
        if piece.rate > 0 {
            piece.writer.mark(mark);
        } else if piece.early.len() < EARLY_MARKS {
            piece.early.push(mark);
        }
    }

    fn rest(&self, resting: bool) {
        lock(&self.piece).writer.rest(resting);
        // Told again: who waits for its sound takes it for dry meanwhile.
        if !resting && self.task.phase() == Phase::Streaming {
            (self.events)(SynthEvent::FirstAudio {
                synthesis: self.task.synthesis,
                at_us: now_us(),
            });
        }
    }

    fn cancelled(&self) -> bool {
        self.task.is_cancelled() || self.refused.load(Ordering::Acquire)
    }

    fn cancel_fd(&self) -> RawFd {
        self.task.cancel_fd()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
