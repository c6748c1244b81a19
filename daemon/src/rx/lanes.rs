//! Which tracks play for whom, and whose lanes are tapped.
//!
//! Whoever opens a track has it tapped here before it plays: an order to the streams' thread would come too late for its first period.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::channel::{Receiver, Sender, unbounded};
use utterd_rt::TapRx;

use crate::tx::Tx;

/// Shared by the handle and the streams' thread; held for a moment only. `[any]`
#[derive(Clone)]
pub(super) struct Lanes {
    tx: Tx,
    taps: Sender<(u64, TapRx)>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// The session of each open track.
    tracks: HashMap<u64, u64>,
    /// Sessions whose lanes are heard.
    tapped: HashSet<u64>,
}

impl Lanes {
    /// And where the taps of lanes arrive, each with its session, before they carry anything.
    pub(super) fn new(tx: Tx) -> (Lanes, Receiver<(u64, TapRx)>) {
        let (taps, arrivals) = unbounded();
        let known = Arc::default();
        (Lanes { tx, taps, known }, arrivals)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self, track: u64, session: u64) {
        let mut known = self.known();
        known.tracks.insert(track, session);
        if known.tapped.contains(&session) {
            self.tx.tap(track, session, self.taps.clone());
        }
    }

    /// The session that it played for.
    pub(super) fn close(&self, track: u64) -> Option<u64> {
        self.known().tracks.remove(&track)
    }

    /// From now on what the session plays is heard.
    pub(super) fn tap(&self, session: u64) {
        let mut known = self.known();
        known.tapped.insert(session);
        for (track, _) in known.tracks.iter().filter(|(_, s)| **s == session) {
            self.tx.tap(*track, session, self.taps.clone());
        }
    }

    pub(super) fn untap(&self, session: u64) {
        let mut known = self.known();
        known.tapped.remove(&session);
        for (track, _) in known.tracks.iter().filter(|(_, s)| **s == session) {
            self.tx.untap(*track);
        }
    }
}
