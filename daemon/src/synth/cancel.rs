//! The end of syntheses that are not wanted: cancelled, forgotten, or of a daemon that stops.
//!
//! Who wins the one atomic of a task decides (task.rs): withdrawn here, it is never requested; else its `speak` is signalled and its backend told,
//! on a thread of that backend's own, whose answer is stamped when the call has returned. Answers that need no backend go out by the notes thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::schedule::{Inner, Shared, thread_name};
use super::task::{Phase, Task, lock};
use super::{How, Stage, SynthEvent};
use crate::plugins::{CancelWay, TtsBackend};
use crate::tx::now_us;

/// What a backend reads as "not wanted any more".
const REASON_CANCELLED: u32 = 0;

/// For a control thread. Without `answer` nobody waits to hear that the backend was told.
pub(super) struct Order {
    task: Arc<Task>,
    stage: Stage,
    answer: bool,
}

impl Shared {
    pub(super) fn cancel(self: &Arc<Self>, synthesis: u64) {
        let mut inner = lock(&self.inner);
        let told = |how, stage| SynthEvent::Told {
            synthesis,
            how,
            stage,
            at_us: now_us(),
        };
        let Some(task) = inner.tasks.get(&synthesis).cloned() else {
            self.note(told(How::NotNeeded, Stage::Delivered));
            return;
        };
        let cached = task.phrase.is_some();
        if task.withdraw() {
            self.note(match cached {
                true => told(How::NotNeeded, Stage::Cached),
                false => told(How::NotRequested, Stage::Queued),
            });
            self.note(SynthEvent::Stopped { synthesis });
            inner.withdrawn(&task);
            self.dispatch(&mut inner, task.utterance);
            return;
        }
        let phase = task.phase();
        if phase == Phase::Withdrawn {
            self.note(told(How::NotRequested, Stage::Queued));
            return;
        }
        let first = task.signal_cancel();
        let ended = matches!(phase, Phase::EndedSilent | Phase::EndedSounding);
        if !first || ended || cached {
            self.note(told(How::NotNeeded, task.stage()));
        } else if task.backend.cancel_way() == CancelWay::None {
            self.note(told(How::Cannot, phase.stage()));
        } else {
            let (stage, synthesis) = (phase.stage(), task.synthesis);
            if !self.tell(&mut inner, &task, stage, true) {
                self.note(SynthEvent::Told {
                    synthesis,
                    how: How::Cannot,
                    stage,
                    at_us: now_us(),
                });
            }
        }
    }

    /// Has the backend told on its control thread; `Told` follows when its call has returned, if somebody waits for it. False: there is no way.
    pub(super) fn tell(self: &Arc<Self>, inner: &mut Inner, task: &Arc<Task>, stage: Stage, answer: bool) -> bool {
        let pool = inner.pool(&task.backend);
        if pool.control.is_none() {
            pool.control = self.control_thread(&task.backend);
        }
        let order = Order {
            task: Arc::clone(task),
            stage,
            answer,
        };
        let sent = pool.control.as_ref().is_some_and(|control| control.send(order).is_ok());
        if !sent {
            pool.control = None;
        }
        sent
    }

    fn control_thread(&self, backend: &TtsBackend) -> Option<Sender<Order>> {
        let (sender, orders) = channel::<Order>();
        let events = Arc::clone(&self.events);
        let name = thread_name("ctl", backend.id());
        let spawned = thread::Builder::new().name(name).spawn(move || {
            for Order { task, stage, answer } in orders {
                let call = || task.backend.cancel(task.synthesis, REASON_CANCELLED);
                if catch_unwind(AssertUnwindSafe(call)).is_err() {
                    tracing::error!(synthesis = task.synthesis, "the backend's cancel panicked");
                }
                if answer {
                    events(SynthEvent::Told {
                        synthesis: task.synthesis,
                        how: How::Told,
                        stage,
                        at_us: now_us(),
                    });
                }
            }
        });
        match spawned {
            Ok(_) => Some(sender),
            Err(error) => {
                tracing::error!(backend = backend.id(), %error, "no thread to cancel from");
                None
            }
        }
    }

    pub(super) fn forget(self: &Arc<Self>, utterance: u64) {
        let mut inner = lock(&self.inner);
        let Some(gone) = inner.utterances.remove(&utterance) else {
            return;
        };
        for synthesis in gone.syntheses {
            if let Some(task) = inner.tasks.remove(&synthesis) {
                self.give_up(&mut inner, &task);
            }
        }
    }

    /// Withdraws what is not requested, stops what runs.
    fn give_up(&self, inner: &mut Inner, task: &Arc<Task>) {
        if task.withdraw() {
            inner.withdrawn(task);
            self.note(SynthEvent::Stopped { synthesis: task.synthesis });
        } else if matches!(task.phase(), Phase::Requested | Phase::Streaming) {
            task.signal_cancel();
        }
    }

    pub(super) fn shutdown(self: &Arc<Self>, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut inner = lock(&self.inner);
        inner.stopping = true;
        let tasks: Vec<_> = inner.tasks.values().cloned().collect();
        for task in tasks {
            self.give_up(&mut inner, &task);
            if matches!(task.phase(), Phase::Requested | Phase::Streaming) && task.backend.cancel_way() != CancelWay::None {
                let stage = task.stage();
                if !self.tell(&mut inner, &task, stage, true) {
                    tracing::warn!(synthesis = task.synthesis, "a backend cannot be told that utterd stops");
                }
            }
        }
        for pool in inner.pools.values() {
            pool.jobs.notify_all();
        }
        while !inner.speaking.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.over.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
