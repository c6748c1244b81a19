//! Who works on what: one lock over queues and utterances, and worker threads per backend. How syntheses are cancelled: cancel.rs. What their ends mean: schedule/books.rs.
//!
//! An utterance lets one piece at a time into its backend's queue; the next goes in when that one is over, before the worker looks for more, and
//! queues are sorted by ticket: so the order of submission holds within an utterance and within a backend. A backend instance is known by its
//! address (a newer version of a plugin is another one), its workers are made when jobs wait and none is idle, and they stay.

mod books;

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use super::cache::{Cache, Key};
use super::cancel::Order;
use super::task::{Sink, Task, Written, lock};
use super::{CacheUse, Job, SynthEvent};
use crate::plugins::{SpeakEnd, SpeakRequest, SpeakSink, SynthError, TtsBackend, TtsCalls, TtsInfo};
use crate::tx::{Output, StoreWriter, Tx, now_us};

/// Workers of a concurrent backend, unless told.
const MAX_CONCURRENT: usize = 64;
/// How much of a new measure of a backend's speed counts.
const SPEED_WEIGHT: f64 = 0.5;

pub(super) type Events = Arc<dyn Fn(SynthEvent) + Send + Sync>;

pub(super) struct Shared {
    pub(super) tx: Tx,
    pub(super) cache: Cache,
    /// Speaks from the cache: a pool of its own, so that a phrase waits for no backend.
    replay: Arc<TtsBackend>,
    /// Whether anything is being spoken, for the watcher.
    pub(super) spoken: Arc<(Mutex<bool>, Condvar)>,
    pub(super) primes: Mutex<Option<Sender<Job>>>,
    pub(super) events: Events,
    pub(super) inner: Mutex<Inner>,
    /// A job was over; `shutdown` waits for it.
    pub(super) over: Condvar,
    /// Says what concerns no backend, off the caller's thread.
    notes: Sender<Note>,
}

/// For the notes thread, in order.
#[expect(clippy::large_enum_variant, reason = "a note is moved once")]
pub(super) enum Note {
    Say(SynthEvent),
    /// An utterance is complete with what is there.
    Finish(StoreWriter),
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) pools: HashMap<usize, Pool>,
    pub(super) tasks: HashMap<u64, Arc<Task>>,
    pub(super) utterances: HashMap<u64, Utterance>,
    limits: HashMap<String, usize>,
    next_ticket: u64,
    /// From the request to the return of `speak`.
    pub(super) speaking: Vec<Arc<Task>>,
    pub(super) stopping: bool,
}

/// The workers of one backend.
pub(super) struct Pool {
    backend: Arc<TtsBackend>,
    /// By ticket.
    queue: VecDeque<Arc<Task>>,
    pub(super) jobs: Arc<Condvar>,
    workers: usize,
    idle: usize,
    /// Workers whose synthesis was given up and that have not come back.
    pub(super) stuck: usize,
    limit: usize,
    /// Audio time per wall time, learned.
    speed: Option<f64>,
    /// The control thread, made at the first cancel.
    pub(super) control: Option<Sender<Order>>,
}

impl Pool {
    /// What waits for workers that will not come.
    pub(super) fn take_stuck(&mut self) -> Option<VecDeque<Arc<Task>>> {
        let all = self.stuck > 0 && self.stuck >= self.workers && self.workers >= self.limit;
        (all && !self.queue.is_empty()).then(|| std::mem::take(&mut self.queue))
    }
}

#[derive(Default)]
pub(super) struct Utterance {
    /// Between pieces.
    writer: Option<StoreWriter>,
    waiting: VecDeque<Arc<Task>>,
    output: Option<Output>,
    /// A piece is in a queue or being spoken.
    pub(super) busy: bool,
    /// A piece failed without a sample, and another backend may be asked for it: not complete, whoever says so.
    pub(super) owed: bool,
    /// The last piece is over or withdrawn.
    ends: bool,
    /// Complete, well or not: nothing more is written.
    pub(super) closed: bool,
    pub(super) syntheses: Vec<u64>,
}

impl Shared {
    pub(super) fn start(tx: Tx, events: Events) -> std::io::Result<Arc<Shared>> {
        let (notes, said) = channel::<Note>();
        let tell = Arc::clone(&events);
        thread::Builder::new().name("utterd-synth".to_owned()).spawn(move || {
            for note in said {
                match note {
                    Note::Say(event) => tell(event),
                    Note::Finish(mut writer) => writer.finish(),
                }
            }
        })?;
        let replay = TtsInfo {
            id: "cache".to_owned(),
            concurrent: true,
            ..TtsInfo::default()
        };
        Ok(Arc::new(Shared {
            tx,
            cache: Cache::default(),
            replay: Arc::new(TtsBackend::new(replay, Box::new(Replay))),
            spoken: Arc::default(),
            primes: Mutex::default(),
            events,
            inner: Mutex::default(),
            over: Condvar::new(),
            notes,
        }))
    }

    pub(super) fn note(&self, event: SynthEvent) {
        self.notes(Note::Say(event));
    }

    pub(super) fn notes(&self, note: Note) {
        if self.notes.send(note).is_err() {
            tracing::error!("the synthesis notes have no reader");
        }
    }

    pub(super) fn set_max_concurrent(&self, backend: &str, jobs: usize) {
        let limits = &mut lock(&self.inner).limits;
        limits.insert(backend.to_owned(), jobs.max(1));
    }

    pub(super) fn submit(self: &Arc<Self>, job: Job) {
        let mut inner = lock(&self.inner);
        inner.next_ticket += 1;
        let ticket = inner.next_ticket;
        let task = Arc::new(self.task(job, ticket));
        tracing::debug!(
            session = task.session,
            utterance = task.utterance,
            synthesis = task.synthesis,
            "submitted"
        );
        inner.tasks.insert(task.synthesis, Arc::clone(&task));
        let utterance = inner.utterances.entry(task.utterance).or_default();
        // Whoever takes a failed one's place knows itself whether it is the last.
        if std::mem::take(&mut utterance.owed) {
            utterance.ends = false;
        }
        utterance.syntheses.push(task.synthesis);
        utterance.output = Some(task.output);
        let id = task.utterance;
        utterance.waiting.push_back(task);
        self.dispatch(&mut inner, id);
    }

    /// With its phrase, if that was spoken before.
    fn task(&self, mut job: Job, ticket: u64) -> Task {
        let found = match job.cache {
            CacheUse::No => None,
            wanted => self.cache.find(&Key::of(&job), wanted == CacheUse::Pin),
        };
        if found.is_some() {
            job.backend = Arc::clone(&self.replay);
        }
        let mut task = Task::new(job, ticket);
        task.phrase = found;
        task
    }

    /// Nobody speaks what is missing.
    pub(super) fn end(&self, id: u64) {
        let mut inner = lock(&self.inner);
        let Some(utterance) = inner.utterances.get_mut(&id) else {
            return;
        };
        utterance.owed = false;
        utterance.closed = true;
        let writer = utterance.writer.take();
        // A writer that was given up with its synthesis is not here any more.
        let writer = writer.or_else(|| utterance.output.map(|output| self.tx.store(id, output)));
        if let Some(writer) = writer {
            self.notes(Note::Finish(writer));
        }
    }

    /// The utterance has all its pieces; what of them is not spoken yet still is.
    pub(super) fn finish(&self, id: u64) {
        if let Some(utterance) = lock(&self.inner).utterances.get_mut(&id) {
            utterance.ends = true;
            utterance.close_if_over();
        }
    }

    /// Lets the utterance's next piece into its backend's queue, if none is there.
    pub(super) fn dispatch(self: &Arc<Self>, inner: &mut Inner, id: u64) {
        loop {
            let stopping = inner.stopping;
            let Some(utterance) = inner.utterances.get_mut(&id) else {
                return;
            };
            if utterance.busy {
                return;
            }
            let Some(task) = utterance.waiting.pop_front() else {
                return;
            };
            if (utterance.closed || stopping) && task.withdraw() {
                utterance.skip(&task);
                self.note(SynthEvent::Stopped { synthesis: task.synthesis });
                continue;
            }
            utterance.busy = true;
            self.enqueue(inner, task);
            return;
        }
    }

    fn enqueue(self: &Arc<Self>, inner: &mut Inner, task: Arc<Task>) {
        let limit = match task.backend.concurrent() {
            true => inner.limits.get(task.backend.id()).copied(),
            false => Some(1),
        };
        let limit = limit.unwrap_or(MAX_CONCURRENT);
        let pool = inner.pool(&task.backend);
        pool.limit = limit;
        let at = pool.queue.partition_point(|t| t.ticket < task.ticket);
        pool.queue.insert(at, task);
        if pool.idle < pool.queue.len() && pool.workers < limit {
            self.hire(pool);
        }
        pool.jobs.notify_one();
        if pool.workers == 0 {
            let stranded = std::mem::take(&mut pool.queue);
            self.strand(inner, stranded, "no thread for a worker");
        }
    }

    fn hire(self: &Arc<Self>, pool: &mut Pool) {
        let key = address(&pool.backend);
        let jobs = Arc::clone(&pool.jobs);
        let shared = Arc::clone(self);
        let name = thread_name("tts", pool.backend.id());
        match thread::Builder::new().name(name).spawn(move || shared.work(key, &jobs)) {
            Ok(_) => pool.workers += 1,
            Err(error) => {
                tracing::error!(backend = pool.backend.id(), %error, "no thread for a worker");
            }
        }
    }

    fn work(self: &Arc<Self>, key: usize, jobs: &Condvar) {
        let mut inner = lock(&self.inner);
        loop {
            let stopping = inner.stopping;
            let Some(pool) = inner.pools.get_mut(&key) else {
                return;
            };
            let Some(task) = pool.queue.pop_front() else {
                if stopping {
                    pool.workers -= 1;
                    return;
                }
                pool.idle += 1;
                inner = jobs.wait(inner).unwrap_or_else(PoisonError::into_inner);
                if let Some(pool) = inner.pools.get_mut(&key) {
                    pool.idle -= 1;
                }
                continue;
            };
            let speed = pool.speed;
            inner.speaking.push(Arc::clone(&task));
            let writer = match inner.utterances.get_mut(&task.utterance) {
                Some(utterance) => utterance.writer.take(),
                None => None,
            };
            drop(inner);
            self.begins();
            let end = self.speak(&task, writer, speed);
            inner = lock(&self.inner);
            inner.speaking.retain(|t| t.synthesis != task.synthesis);
            if end.abandoned {
                let pool = inner.pool(&task.backend);
                pool.stuck = pool.stuck.saturating_sub(1);
                self.over.notify_all();
                continue;
            }
            let kept = end.kept;
            let (event, failed) = inner.settle(&task, end, key);
            self.dispatch(&mut inner, task.utterance);
            drop(inner);
            // After the state, so that who hears of the end finds it ended.
            if let Some(event) = event {
                (self.events)(event);
            }
            if !kept {
                (self.events)(SynthEvent::CacheFull { synthesis: task.synthesis });
            }
            // After the event, or an utterance that failed could be heard to its end before anybody knows that it failed.
            if let Some(mut writer) = failed {
                writer.finish();
            }
            self.over.notify_all();
            inner = lock(&self.inner);
        }
    }

    /// One job, from the decision to issue its request to the end of its piece.
    fn speak(&self, task: &Task, writer: Option<StoreWriter>, speed: Option<f64>) -> Ending {
        let job = lock(&task.job).take();
        let (true, Some(job)) = (task.request(), job) else {
            return Ending {
                writer,
                kept: true,
                ..Ending::default()
            };
        };
        let span = tracing::debug_span!(
            "synthesis",
            session = job.session,
            utterance = job.utterance,
            synthesis = job.synthesis
        );
        let _in_span = span.enter();
        let mut writer = writer.unwrap_or_else(|| self.tx.store(job.utterance, job.output));
        writer.rest(false);
        // What is in memory anyhow need not wait for room.
        writer.set_blocking(job.backend.concurrent() && task.phrase.is_none());
        writer.set_give_up(task.cancelled_flag());
        if let Some(speed) = speed {
            writer.expect_speed(speed);
        }
        let out_rate_hint = writer.rate();
        let recording = match (&task.phrase, job.cache) {
            (Some(_), _) | (None, CacheUse::No) => None,
            (None, wanted) => self.cache.record(wanted == CacheUse::Pin),
        };
        let synthesis = job.synthesis;
        (self.events)(match &task.phrase {
            Some(_) => SynthEvent::Cached { synthesis },
            None => SynthEvent::Requested {
                synthesis,
                at_us: now_us(),
            },
        });
        let cacheable = recording.is_some();
        let sink = Sink::new(task, &job, writer, recording, &*self.events);
        let request = SpeakRequest {
            synthesis: job.synthesis,
            utterance: job.utterance,
            session: job.session,
            text: &job.text,
            voice: &job.voice,
            language: &job.language,
            rate: job.rate as f32,
            pitch: job.pitch as f32,
            gain_db: 0.0,
            out_rate_hint,
            params_json: &job.params_json,
            last: job.last,
            cacheable,
        };
        let call = || match &task.phrase {
            Some(phrase) => Ok(phrase.speak(&sink)),
            None => job.backend.speak(&request, &sink),
        };
        let result = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(panicked(&*panic)));
        let complete = matches!(result, Ok(SpeakEnd::Complete)) && !task.is_cancelled();
        let mut written = sink.into_written(complete);
        let stopped = task.is_cancelled() || written.refused;
        let verdict = match result {
            _ if stopped => Verdict::Stopped,
            Ok(SpeakEnd::Complete) => Verdict::Complete,
            Ok(SpeakEnd::Cancelled) => Verdict::Failed(SynthError::Misbehaved {
                message: "it said cancelled, but nobody had cancelled".to_owned(),
            }),
            Err(error) => Verdict::Failed(error),
        };
        tracing::debug!(?verdict, audio_us = written.audio_us, "speak returned");
        if !task.end(matches!(verdict, Verdict::Complete)) {
            written.writer.disown();
            return Ending {
                abandoned: true,
                ..Ending::default()
            };
        }
        let recording = written.recording.take().filter(|_| matches!(verdict, Verdict::Complete));
        let kept = recording.is_none_or(|recording| self.cache.keep(Key::of(&job), recording, job.cache == CacheUse::Pin));
        Ending::of(written, verdict, kept)
    }

    /// No worker can be had for these: they fail like a backend that is not there.
    pub(super) fn strand(&self, inner: &mut Inner, tasks: VecDeque<Arc<Task>>, why: &str) {
        for task in tasks {
            if task.withdraw() {
                self.note(SynthEvent::Failed {
                    synthesis: task.synthesis,
                    error: SynthError::Unavailable {
                        retry_after_ms: 0,
                        message: why.to_owned(),
                    },
                    audio_us: 0,
                    told: None,
                });
            }
            let Some(utterance) = inner.utterances.get_mut(&task.utterance) else {
                continue;
            };
            utterance.busy = false;
            if task.retry {
                utterance.owed = true;
                continue;
            }
            utterance.closed = true;
            if let Some(writer) = utterance.writer.take() {
                self.notes(Note::Finish(writer));
            }
        }
    }
}

/// Stands for the cache where a task names its backend; nobody is asked.
struct Replay;

impl TtsCalls for Replay {
    fn speak(&self, _: &SpeakRequest<'_>, _: &dyn SpeakSink) -> Result<SpeakEnd, SynthError> {
        Ok(SpeakEnd::Complete)
    }

    fn cancel(&self, _: u64, _: u32) {}
}

/// What a worker brings back.
#[derive(Default)]
struct Ending {
    writer: Option<StoreWriter>,
    audio_us: u64,
    refused: bool,
    /// The watcher has settled it already.
    abandoned: bool,
    /// False: it was to be pinned, and there was no room.
    kept: bool,
    /// None: it was withdrawn before its request.
    verdict: Option<Verdict>,
}

#[derive(Debug)]
enum Verdict {
    Complete,
    Stopped,
    Failed(SynthError),
}

impl Ending {
    fn of(written: Written, verdict: Verdict, kept: bool) -> Self {
        Ending {
            writer: Some(written.writer),
            audio_us: written.audio_us,
            refused: written.refused,
            abandoned: false,
            kept,
            verdict: Some(verdict),
        }
    }
}

fn address(backend: &Arc<TtsBackend>) -> usize {
    Arc::as_ptr(backend) as usize
}

/// The kernel keeps 15 bytes of a thread's name.
pub(super) fn thread_name(kind: &str, id: &str) -> String {
    let id: String = id.chars().filter(|c| c.is_ascii_graphic()).collect();
    let id = id.strip_prefix("tts-").unwrap_or(&id);
    format!("{kind}-{}", &id[..id.len().min(11)])
}

fn panicked(panic: &(dyn Any + Send)) -> SynthError {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let message = text.or_else(|| panic.downcast_ref::<String>().cloned());
    SynthError::Panicked {
        message: message.unwrap_or_default(),
    }
}
