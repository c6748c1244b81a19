//! The books of the schedule: which queue a job waits in, which utterance it belongs to, what its end means for both. All under the one lock.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Ending, Inner, MAX_CONCURRENT, Pool, SPEED_WEIGHT, Utterance, Verdict, address};
use crate::plugins::TtsBackend;
use crate::synth::SynthEvent;
use crate::synth::task::Task;
use crate::tx::{StoreWriter, now_us};

impl Inner {
    pub(in crate::synth) fn pool(&mut self, backend: &Arc<TtsBackend>) -> &mut Pool {
        self.pools.entry(address(backend)).or_insert_with(|| Pool {
            backend: Arc::clone(backend),
            queue: VecDeque::new(),
            jobs: Arc::default(),
            workers: 0,
            idle: 0,
            stuck: 0,
            limit: MAX_CONCURRENT,
            speed: None,
            control: None,
        })
    }

    /// A withdrawn task leaves the queue it stands in. One that a worker has just taken is settled there.
    pub(in crate::synth) fn withdrawn(&mut self, task: &Task) {
        let queue = &mut self.pool(&task.backend).queue;
        let at = queue.iter().position(|t| t.synthesis == task.synthesis);
        let was_queued = at.and_then(|at| queue.remove(at)).is_some();
        let Some(utterance) = self.utterances.get_mut(&task.utterance) else {
            return;
        };
        let waiting = utterance.waiting.len();
        utterance.waiting.retain(|t| t.synthesis != task.synthesis);
        if was_queued {
            utterance.busy = false;
        }
        if was_queued || utterance.waiting.len() < waiting {
            utterance.skip(task);
        }
    }

    /// A worker is done with a task. What is to be said of it, if it has not been said, and the store to be closed after that.
    pub(super) fn settle(&mut self, task: &Task, end: Ending, key: usize) -> (Option<SynthEvent>, Option<StoreWriter>) {
        let synthesis = task.synthesis;
        let speed = end.writer.as_ref().and_then(StoreWriter::speed);
        if let (Some(new), Some(pool)) = (speed, self.pools.get_mut(&key)) {
            let old = pool.speed.unwrap_or(new);
            pool.speed = Some(old + (new - old) * SPEED_WEIGHT);
        }
        let ahead_us = end.writer.as_ref().map_or(0, StoreWriter::ahead_us);
        let mut failed = None;
        if let Some(utterance) = self.utterances.get_mut(&task.utterance) {
            utterance.busy = false;
            utterance.writer = end.writer;
            if task.retry && end.audio_us == 0 && matches!(end.verdict, Some(Verdict::Failed(_))) {
                utterance.owed = true;
            } else {
                utterance.ends |= task.last;
            }
            if utterance.owed {
            } else if matches!(end.verdict, Some(Verdict::Failed(_))) {
                utterance.closed = true;
                failed = utterance.writer.take();
            } else if end.refused {
                utterance.close();
            }
            utterance.close_if_over();
            if task.open {
                utterance.rest();
            }
        }
        let event = end.verdict.map(|verdict| match verdict {
            Verdict::Complete => SynthEvent::Delivered {
                synthesis,
                audio_us: end.audio_us,
                ahead_us,
                at_us: now_us(),
            },
            Verdict::Stopped => SynthEvent::Stopped { synthesis },
            Verdict::Failed(error) => SynthEvent::Failed {
                synthesis,
                error,
                audio_us: end.audio_us,
                told: None,
            },
        });
        (event, failed)
    }
}

impl Utterance {
    /// This piece will never be written.
    pub(super) fn skip(&mut self, task: &Task) {
        self.ends |= task.last;
        self.close_if_over();
    }

    pub(super) fn close_if_over(&mut self) {
        if self.ends && !self.owed && !self.busy && self.waiting.is_empty() {
            self.close();
        }
    }

    /// Nothing more is known to be spoken; the next piece ends it.
    fn rest(&self) {
        if let Some(writer) = self.writer.as_ref().filter(|_| !self.busy && self.waiting.is_empty()) {
            writer.rest(true);
        }
    }

    fn close(&mut self) {
        self.closed = true;
        if let Some(mut writer) = self.writer.take() {
            writer.finish();
        }
    }
}
