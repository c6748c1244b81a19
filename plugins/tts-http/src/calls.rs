//! Which syntheses the server knows of, so that a cancel finds the right one: before its request (then there is none), while it is written (the cancel
//! follows it), during the answer, and after it, for speech that is delivered but not heard yet.
//!
//! A cancel is posted by threads of its own, since the host's call must return at once; a server that does not answer holds up nobody but itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ids that are remembered after their end. What waits unheard is a few per session.
const REMEMBERED: usize = 8_192;
/// Cancels under way at once; more wait.
const POSTERS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was written.
    Before,
    Writing,
    /// The server knows of it.
    Known,
}

struct Call {
    phase: Phase,
    running: bool,
    cancelled: Arc<AtomicBool>,
}

/// What a cancel comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Tell the server.
    Tell,
    /// It will be told when the request has left the house.
    Soon,
    /// The server never heard of it, and never will.
    Unasked,
    /// It was cancelled before.
    Already,
}

#[derive(Default)]
pub(crate) struct Calls {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    calls: BTreeMap<u64, Call>,
    queue: VecDeque<u64>,
    posters: usize,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A `speak` begins; `None`: it was cancelled before it came.
    pub(crate) fn begin(&self, synthesis: u64) -> Option<Arc<AtomicBool>> {
        let mut inner = self.lock();
        inner.bound();
        let call = inner.calls.entry(synthesis).or_insert_with(Call::new);
        call.running = true;
        (!call.cancelled.load(Ordering::Acquire)).then(|| Arc::clone(&call.cancelled))
    }

    /// The first byte is about to be written; false: no.
    pub(crate) fn writing(&self, synthesis: u64) -> bool {
        let mut inner = self.lock();
        let Some(call) = inner.calls.get_mut(&synthesis) else {
            return false;
        };
        if call.cancelled.load(Ordering::Acquire) {
            return false;
        }
        if call.phase == Phase::Before {
            call.phase = Phase::Writing;
        }
        true
    }

    /// The request is out, or it was given up half-way. True: a cancel came meanwhile, tell the server now.
    pub(crate) fn written(&self, synthesis: u64) -> bool {
        let mut inner = self.lock();
        let Some(call) = inner.calls.get_mut(&synthesis) else {
            return false;
        };
        if call.phase != Phase::Writing {
            return false;
        }
        call.phase = Phase::Known;
        call.cancelled.load(Ordering::Acquire)
    }

    /// The `speak` returned.
    pub(crate) fn end(&self, synthesis: u64) {
        if let Some(call) = self.lock().calls.get_mut(&synthesis) {
            call.running = false;
        }
    }

    pub(crate) fn cancel(&self, synthesis: u64) -> Verdict {
        let mut inner = self.lock();
        inner.bound();
        let call = inner.calls.entry(synthesis).or_insert_with(Call::new);
        if call.cancelled.swap(true, Ordering::AcqRel) {
            return Verdict::Already;
        }
        match call.phase {
            Phase::Before => Verdict::Unasked,
            Phase::Writing => Verdict::Soon,
            Phase::Known => Verdict::Tell,
        }
    }

    /// Queues a cancel to be posted; true: the caller starts one more thread for [`Calls::next`].
    pub(crate) fn post(&self, synthesis: u64) -> bool {
        let mut inner = self.lock();
        inner.queue.push_back(synthesis);
        let more = inner.posters < POSTERS;
        inner.posters += usize::from(more);
        more
    }

    /// The next one to be posted; `None`: the thread is not needed any more.
    pub(crate) fn next(&self) -> Option<u64> {
        let mut inner = self.lock();
        let next = inner.queue.pop_front();
        inner.posters -= usize::from(next.is_none());
        next
    }

    /// There was no thread to be had.
    pub(crate) fn no_poster(&self) -> Vec<u64> {
        let mut inner = self.lock();
        inner.posters -= 1;
        if inner.posters == 0 {
            inner.queue.drain(..).collect()
        } else {
            Vec::new()
        }
    }
}

impl Call {
    fn new() -> Self {
        Self {
            phase: Phase::Before,
            running: false,
            cancelled: Arc::default(),
        }
    }
}

impl Inner {
    /// Forgets the oldest that do not run.
    fn bound(&mut self) {
        while self.calls.len() >= REMEMBERED {
            let Some(oldest) = self.calls.iter().find(|(_, c)| !c.running).map(|(id, _)| *id) else {
                return;
            };
            self.calls.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_is_right_at_every_moment_and_once() {
        let calls = Calls::default();
        assert_eq!(calls.cancel(1), Verdict::Unasked);
        assert!(calls.begin(1).is_none(), "cancelled before it came");
        assert!(calls.begin(2).is_some());
        assert_eq!(calls.cancel(2), Verdict::Unasked);
        assert!(!calls.writing(2), "and so nothing is written");
        assert!(!calls.written(2));

        let flag = calls.begin(3).unwrap();
        assert!(calls.writing(3));
        assert_eq!(calls.cancel(3), Verdict::Soon);
        assert!(flag.load(Ordering::Acquire));
        assert!(calls.written(3), "told as soon as the request is out");
        assert!(!calls.written(3), "once");
        assert_eq!(calls.cancel(3), Verdict::Already);

        assert!(calls.begin(4).is_some() && calls.writing(4) && !calls.written(4));
        calls.end(4);
        assert_eq!([calls.cancel(4), calls.cancel(4)], [Verdict::Tell, Verdict::Already]);
    }

    #[test]
    fn memory_is_bounded_and_what_runs_is_kept() {
        let calls = Calls::default();
        assert!(calls.begin(1).is_some() && calls.writing(1) && !calls.written(1));
        for id in 2..30_000 {
            calls.cancel(id);
        }
        assert!(calls.lock().calls.len() <= REMEMBERED);
        assert_eq!(calls.cancel(1), Verdict::Tell);
    }

    #[test]
    fn posters_come_and_go() {
        let calls = Calls::default();
        let started: Vec<bool> = (0..40).map(|id| calls.post(id)).collect();
        assert_eq!(started.iter().filter(|s| **s).count(), POSTERS);
        assert_eq!(
            (0..40).map(|_| calls.next().unwrap()).collect::<Vec<_>>(),
            (0..40).collect::<Vec<_>>()
        );
        assert!((0..POSTERS).all(|_| calls.next().is_none()));
        assert!(calls.post(1), "and again");
    }
}
