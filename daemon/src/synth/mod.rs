//! The synthesis workers: each job is one `speak()` of a backend, written to its utterance's store.
//!
//! Invariants:
//! - A job whose cancel comes before its request never has one: one atomic decides, the worker takes it from queued to requested or the
//!   canceller from queued to withdrawn (task.rs).
//! - Every submitted job ends with exactly one of `Delivered`, `Failed`, `Stopped`; every `cancel` is answered by exactly one `Told`.
//! - The pieces of an utterance are spoken one after the other, in order of submission, whatever their backends; a backend that is not concurrent
//!   has one worker and takes its jobs in order of submission. Nothing a backend does (slow, failing, panicking) delays another backend.
//! - No event is given out on the thread of a caller: the actor may call with its own inbox full.
//!
//! schedule.rs is the state under the one lock and its workers, cancel.rs how syntheses end before their time, watch.rs gives up silent ones, cache.rs has
//! what was spoken before and prime.rs fills it ahead, task.rs a job's life and the backend's end of the sink, text.rs the way from bytes to
//! characters. Not here: what to cancel and when (core), the audio once it is stored (tx), how a plugin is called (plugins).
#![allow(rustdoc::broken_intra_doc_links, reason = "thread tags look like links")]

mod cache;
mod cancel;
mod prime;
mod schedule;
mod task;
#[cfg(test)]
mod tests;
mod text;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use crate::plugins::{SynthError, TtsBackend};
use crate::tx::{Output, Tx};
pub use cache::CacheLevel;
use schedule::Shared;
pub use utterd_core::CacheUse;

/// One request to a backend, to be written to its utterance's store.
#[derive(Clone, Debug)]
pub struct Job {
    pub synthesis: u64,
    pub utterance: u64,
    pub session: u64,
    pub backend: Arc<TtsBackend>,
    /// Whose rate the store has.
    pub output: Output,
    /// Empty: the backend's default for the language.
    pub voice: String,
    pub language: String,
    pub rate: f64,
    pub pitch: f64,
    pub gain_db: f64,
    pub text: String,
    /// Code points before this piece in the utterance.
    pub char_base: u32,
    pub params_json: String,
    /// Another backend may speak this piece if this one brings no audio: the store stays open for it.
    pub retry: bool,
    /// Given up without audio after this time, or without a further sample after that one; 0 = never.
    pub first_audio_us: u64,
    pub stall_us: u64,
    /// Taken from the cache, and kept there.
    pub cache: CacheUse,
    /// The first piece of the utterance. Informative: the store is made at the first piece that comes.
    pub first: bool,
    /// No piece follows: the store is complete after this one.
    pub last: bool,
    /// Not the last, but what follows is not known yet: an end of its audio is no lack of it.
    pub open: bool,
}

/// What a `cancel` did at the backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// It was told.
    Told,
    /// It has no way to be told; its audio is refused.
    Cannot,
    /// Its request was never written and never will be.
    NotRequested,
    /// It had ended by an error or a stop, was told before, or was never heard of.
    NotNeeded,
}

impl How {
    /// The word of the cancel report.
    pub fn as_str(self) -> &'static str {
        match self {
            How::Told => "told",
            How::Cannot => "cannot",
            How::NotRequested => "not-requested",
            How::NotNeeded => "not-needed",
        }
    }
}

/// How far a synthesis was when it was cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Queued,
    Requested,
    Streaming,
    Delivered,
    /// Spoken from the cache.
    Cached,
}

impl Stage {
    /// The word of the cancel report.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Queued => "queued",
            Stage::Requested => "requested",
            Stage::Streaming => "streaming",
            Stage::Delivered => "delivered",
            Stage::Cached => "cached",
        }
    }
}

/// What happened to a synthesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SynthEvent {
    /// The backend is being asked.
    Requested { synthesis: u64, at_us: u64 },
    /// It is spoken from the cache: no backend is asked.
    Cached { synthesis: u64 },
    /// It was to be pinned, and pins have filled the cache.
    CacheFull { synthesis: u64 },
    /// Its first samples came.
    FirstAudio { synthesis: u64, at_us: u64 },
    /// It ended well; `audio_us` of it is stored, `ahead_us` of the utterance not played yet.
    Delivered {
        synthesis: u64,
        audio_us: u64,
        ahead_us: u64,
        at_us: u64,
    },
    /// It failed after `audio_us`. Unless it brought nothing and may be retried, its utterance is complete at what is there, and pieces
    /// that wait are `Stopped` unrequested. `told`: it was silent for too long, was given up, and its backend was told.
    Failed {
        synthesis: u64,
        error: SynthError,
        audio_us: u64,
        told: Option<How>,
    },
    /// It ended by a cancel, a cut, or its utterance's failure.
    Stopped { synthesis: u64 },
    /// The answer to one `cancel`; `at_us` is when the backend's own cancel had returned.
    Told {
        synthesis: u64,
        how: How,
        stage: Stage,
        at_us: u64,
    },
}

/// The handle of the workers; cheap to clone. No method blocks. `[any]`
#[derive(Clone)]
pub struct Synth {
    shared: Arc<Shared>,
}

impl Synth {
    /// `events` is called from the workers' threads.
    pub fn start(tx: Tx, events: impl Fn(SynthEvent) + Send + Sync + 'static) -> std::io::Result<Synth> {
        let shared = Shared::start(tx, Arc::new(events))?;
        shared.watch()?;
        Ok(Synth { shared })
    }

    /// How much the cache may hold; 0, the default, is none.
    pub fn set_cache(&self, bytes: usize) {
        self.shared.cache.set_limit(bytes);
    }

    /// What the cache holds.
    pub fn cache_level(&self) -> CacheLevel {
        self.shared.cache.level()
    }

    /// Synthesises for the cache alone; ends with `Delivered` or `Failed`.
    pub fn prime(&self, job: Job) {
        self.shared.prime(job);
    }

    /// Nobody speaks what of the utterance is missing: it is complete with what is there.
    pub fn end(&self, utterance: u64) {
        self.shared.end(utterance);
    }

    /// How many jobs of this backend (its id) may run at once, if it is a concurrent one; 8 unless told. For jobs still to come.
    pub fn set_max_concurrent(&self, backend: &str, jobs: usize) {
        self.shared.set_max_concurrent(backend, jobs);
    }

    /// Queues a job behind all others of its backend and its utterance.
    pub fn submit(&self, job: Job) {
        self.shared.submit(job);
    }

    /// Cancels one synthesis, whatever became of it; answered by one `Told`.
    pub fn cancel(&self, synthesis: u64) {
        self.shared.cancel(synthesis);
    }

    /// No piece follows those that were submitted.
    pub fn finish(&self, utterance: u64) {
        self.shared.finish(utterance);
    }

    /// The utterance is finished: its delivered syntheses will not be cancelled any more.
    pub fn forget(&self, utterance: u64) {
        self.shared.forget(utterance);
    }

    /// Withdraws what waits, cancels what runs, and waits for it this long. False if some backend did not return.
    pub fn shutdown(&self, patience: Duration) -> bool {
        self.shared.shutdown(patience)
    }
}
