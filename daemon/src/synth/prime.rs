//! Phrases of the configuration, synthesised before anybody asks for them. One thread, one phrase after the other, made when the first one
//! comes; a backend that is not concurrent serves it and a client's Say in turn. Not here: which phrases, and when to try again (core).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::cache::{Key, Recording};
use super::schedule::Shared;
use super::task::lock;
use super::{Job, SynthEvent};
use crate::plugins::{MarkKind, SpeakEnd, SpeakRequest, SpeakSink, SynthError};
use crate::tx::now_us;

impl Shared {
    pub(super) fn prime(self: &Arc<Self>, job: Job) {
        let synthesis = job.synthesis;
        let mut primes = lock(&self.primes);
        if primes.is_none() {
            let (sender, jobs) = channel();
            let shared = Arc::downgrade(self);
            let work = move || work(&jobs, &shared);
            match thread::Builder::new().name("utterd-prime".to_owned()).spawn(work) {
                Ok(_) => *primes = Some(sender),
                Err(error) => tracing::error!(%error, "no thread to synthesise pinned phrases"),
            }
        }
        if primes.as_ref().is_none_or(|jobs| jobs.send(job).is_err()) {
            self.note(failed(synthesis, "no thread to synthesise pinned phrases".to_owned()));
        }
    }

    fn prime_one(&self, job: &Job) -> SynthEvent {
        let key = Key::of(job);
        let delivered = SynthEvent::Delivered {
            synthesis: job.synthesis,
            audio_us: 0,
            ahead_us: 0,
            at_us: now_us(),
        };
        if self.cache.find(&key, true).is_some() {
            return delivered;
        }
        let Some(recording) = self.cache.record(true) else {
            return delivered;
        };
        let sink = Recorder(Mutex::new(recording));
        let request = SpeakRequest {
            synthesis: job.synthesis,
            utterance: 0,
            session: 0,
            text: &job.text,
            voice: &job.voice,
            language: &job.language,
            rate: job.rate as f32,
            pitch: job.pitch as f32,
            gain_db: 0.0,
            out_rate_hint: self.tx.rate(job.output),
            params_json: &job.params_json,
            last: job.last,
            cacheable: true,
        };
        match catch_unwind(AssertUnwindSafe(|| job.backend.speak(&request, &sink))) {
            Ok(Ok(SpeakEnd::Complete)) => {}
            Ok(Ok(SpeakEnd::Cancelled)) => return failed(job.synthesis, "it said cancelled, but nobody had cancelled".to_owned()),
            Ok(Err(error)) => return failed_by(job.synthesis, error),
            Err(_) => return failed(job.synthesis, "the backend panicked".to_owned()),
        }
        let recording = sink.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !self.cache.keep(key, recording, true) {
            self.note(SynthEvent::CacheFull { synthesis: job.synthesis });
        }
        delivered
    }
}

fn work(jobs: &Receiver<Job>, shared: &std::sync::Weak<Shared>) {
    for job in jobs {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let event = shared.prime_one(&job);
        shared.note(event);
    }
}

fn failed(synthesis: u64, message: String) -> SynthEvent {
    failed_by(synthesis, SynthError::Backend { message })
}

fn failed_by(synthesis: u64, error: SynthError) -> SynthEvent {
    SynthEvent::Failed {
        synthesis,
        error,
        audio_us: 0,
        told: None,
    }
}

/// Writes down what is said.
struct Recorder(Mutex<Recording>);

impl SpeakSink for Recorder {
    fn write(&self, rate: u32, mono: &[f32]) -> bool {
        lock(&self.0).write(rate, mono);
        true
    }

    fn mark(&self, kind: MarkKind, sample: u64, text_off: u32, text_len: u32, name: &str) {
        lock(&self.0).mark(kind, sample, text_off, text_len, name);
    }

    fn cancelled(&self) -> bool {
        false
    }

    fn cancel_fd(&self) -> std::os::fd::RawFd {
        -1
    }
}
