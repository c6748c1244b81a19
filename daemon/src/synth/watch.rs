//! Backends that have fallen silent: a request without audio, an answer that stops in its middle, and workers that never come back.
//!
//! One thread looks four times in the shortest time-out, and only while something is being spoken. Whether a synthesis is given up is decided by the
//! same atomic that its first sample moves (task.rs): either its audio is heard or it is given up, never both. One that is given up is
//! over for its utterance at once, whatever its `speak` does: another backend may write to the store from then on, and what the first one
//! still brings is refused. Time inside the sink is ours: a writer that waits for room is not silent.
//! Not here: how long to wait, and who speaks instead (core).

use std::sync::{Arc, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::schedule::{Inner, Note, Shared};
use super::task::{Task, lock};
use super::{How, SynthEvent};
use crate::plugins::{CancelWay, SynthError};
use crate::tx::now_us;

/// How often it looks at least, and at most.
const LOOK_MIN: Duration = Duration::from_millis(20);
const LOOK_MAX: Duration = Duration::from_millis(250);

impl Shared {
    /// Ends with the last handle of the room.
    pub(super) fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        let weak = Arc::downgrade(self);
        let looked = Arc::clone(&self.spoken);
        thread::Builder::new().name("utterd-silence".to_owned()).spawn(move || {
            while let Some(patience) = look(&weak) {
                match patience {
                    Some(time) => thread::sleep(time),
                    None => {
                        // Nothing is being spoken: whoever begins says so.
                        let mut begun = looked.0.lock().unwrap_or_else(PoisonError::into_inner);
                        while !*begun {
                            begun = looked.1.wait(begun).unwrap_or_else(PoisonError::into_inner);
                        }
                    }
                }
            }
        })?;
        Ok(())
    }

    /// Something begins to be spoken.
    pub(super) fn begins(&self) {
        let mut begun = lock(&self.spoken.0);
        if !std::mem::replace(&mut *begun, true) {
            self.spoken.1.notify_one();
        }
    }

    /// Gives up what has been silent for too long. When to look again; none: nothing is being spoken.
    fn look_for_silence(self: &Arc<Self>) -> Option<Duration> {
        let inner = &mut *lock(&self.inner);
        if inner.speaking.is_empty() {
            *lock(&self.spoken.0) = false;
            return None;
        }
        let now = now_us();
        for task in inner.speaking.clone() {
            if let Some(after_us) = task.silent_for(now) {
                self.give_up_silent(inner, &task, after_us);
            }
        }
        self.free_the_stuck(inner);
        let shortest = inner.speaking.iter().filter_map(|t| t.shortest_patience()).min();
        let quarter = Duration::from_micros(shortest.unwrap_or(u64::MAX) / 4);
        Some(quarter.clamp(LOOK_MIN, LOOK_MAX))
    }

    fn give_up_silent(self: &Arc<Self>, inner: &mut Inner, task: &Arc<Task>, after_us: u64) {
        let Some(stage) = task.abandon() else {
            return; // Its audio was quicker.
        };
        task.signal_cancel();
        let told = if task.backend.cancel_way() == CancelWay::None {
            How::Cannot
        } else if self.tell(inner, task, stage, false) {
            How::Told
        } else {
            How::Cannot
        };
        let seconds = after_us as f64 / 1e6;
        let audio_us = task.audio_us();
        let id = task.backend.id();
        // What is no plugin has no table of its own.
        let of = if id == crate::sounds::BACKEND {
            String::new()
        } else {
            format!(" of [backend.{id}]")
        };
        let message = if audio_us == 0 {
            format!("no audio within {seconds} s (first-audio-timeout-ms{of})")
        } else {
            format!("no sample for {seconds} s (stall-timeout-ms{of})")
        };
        tracing::warn!(
            backend = task.backend.id(),
            session = task.session,
            utterance = task.utterance,
            synthesis = task.synthesis,
            message,
            "given up"
        );
        inner.pool(&task.backend).stuck += 1;
        self.note(SynthEvent::Failed {
            synthesis: task.synthesis,
            error: SynthError::Unavailable {
                retry_after_ms: 0,
                message,
            },
            audio_us,
            told: Some(told),
        });
        // Whoever spoke has the writer with it; another one of the same store ends it, behind the event.
        let mut writer = None;
        if let Some(utterance) = inner.utterances.get_mut(&task.utterance) {
            utterance.busy = false;
            if task.retry && audio_us == 0 {
                utterance.owed = true;
            } else {
                utterance.closed = true;
                writer = Some(self.tx.store(task.utterance, task.output));
            }
        }
        if let Some(writer) = writer {
            self.notes(Note::Finish(writer));
        }
        self.dispatch(inner, task.utterance);
    }

    /// A backend all of whose workers were given up and have not come back speaks nothing that waits for it.
    fn free_the_stuck(&self, inner: &mut Inner) {
        let stranded: Vec<_> = inner.pools.values_mut().filter_map(|pool| pool.take_stuck()).collect();
        for tasks in stranded {
            self.strand(inner, tasks, "its plugin does not come back from an earlier request");
        }
    }
}

/// None: the room is gone.
fn look(room: &Weak<Shared>) -> Option<Option<Duration>> {
    let room = room.upgrade()?;
    Some(room.look_for_silence())
}
