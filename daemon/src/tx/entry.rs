//! What stands in a track's queue, the lane it goes through, and the events that wait to be heard.
//!
//! An entry's samples go into the ring here (`begin`, `fill`); what comes back out is follow.rs's. Lane commands wait here while their ring is full.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use utterd_rt::{Command, LaneTx};

use super::TxEvent;
use super::resample::{samples_to_us, us_to_samples};
use super::store::Store;
use super::track::Out;

/// A span whose utterance waits for its next piece ends when no more than this is left in the ring.
const REST_US: u64 = 50_000;
/// Samples copied at a time from store to ring.
const COPY: usize = 1024;

pub(super) struct Entry {
    pub(super) utterance: u64,
    pub(super) span_id: NonZeroU64,
    pub(super) store: Arc<Store>,
    pub(super) span: Option<Span>,
    /// Store position consumed by the sink.
    pub(super) held: u64,
    /// Store position up to which the lane has it.
    pub(super) pushed: u64,
    pub(super) started: bool,
    /// Set while a cut waits for its fact: how many ask.
    pub(super) cut: Option<u32>,
    pub(super) starved: bool,
    pub(super) starved_at_us: u64,
    pub(super) was_ahead: bool,
    /// Its span has ended on the lane, and goes on with the next piece.
    pub(super) resting: bool,
    pub(super) dry_told: bool,
}

/// Where the entry lies on the present lane.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) begin: u64,
    /// Store position of the span's first sample; not 0 after a rebuild.
    pub(super) from: u64,
}

pub(super) struct Lane {
    pub(super) tx: LaneTx,
    pub(super) rate: u32,
    pub(super) commands: VecDeque<Command>,
    /// A span is begun and neither ended nor followed.
    pub(super) open: bool,
    pub(super) idle_since_us: Option<u64>,
    /// It has its tap; it takes one.
    pub(super) is_tapped: bool,
}

/// An event whose sample is rendered and will be heard at `at_us`.
pub(super) struct Due {
    pub(super) at_us: u64,
    pub(super) utterance: u64,
    pub(super) event: TxEvent,
}

/// A position that was consumed, and when the sample after it is heard.
pub(super) struct Heard {
    pub(super) position: u64,
    pub(super) next_us: u64,
    pub(super) rate: u32,
    pub(super) now: u64,
}

impl Heard {
    /// When the consumed lane position `q` is (or was) heard.
    pub(super) fn at(&self, q: u64) -> u64 {
        let before = self.position.saturating_sub(q);
        self.next_us.saturating_sub(samples_to_us(before, self.rate))
    }
}

impl Entry {
    pub(super) fn new(utterance: NonZeroU64, store: Arc<Store>) -> Self {
        Entry {
            utterance: utterance.get(),
            span_id: utterance,
            store,
            span: None,
            held: 0,
            pushed: 0,
            started: false,
            cut: None,
            starved: false,
            starved_at_us: 0,
            was_ahead: false,
            resting: false,
            dry_told: false,
        }
    }

    /// Opens a span for it, if enough is stored. A store without anything (left) to sound needs none.
    pub(super) fn begin(&mut self, lane: &mut Lane) -> bool {
        if !self.store.ready(self.held) {
            return false;
        }
        let level = self.store.level();
        let silent = level.complete && self.held >= level.end;
        let begin = if silent {
            Ok(lane.tx.pushed())
        } else {
            lane.tx.begin(self.span_id)
        };
        let Ok(begin) = begin else { return false };
        lane.open |= !silent;
        self.pushed = self.held;
        self.span = Some(Span { begin, from: self.held });
        true
    }

    /// Fills the ring up to `target` samples. True once the whole store is in it.
    pub(super) fn fill(&mut self, lane: &mut Lane, target: u64) -> bool {
        if self.starved && !self.store.recovered(self.pushed) {
            return false;
        }
        let mut copy = [0.0f32; COPY];
        loop {
            let level = self.store.level();
            let left = level.end.saturating_sub(self.pushed);
            let queued = lane.tx.pushed() - lane.tx.position();
            if left == 0 {
                if level.resting && !level.complete && !self.resting && queued <= us_to_samples(REST_US, level.rate) {
                    self.rest(lane);
                }
                return level.complete;
            }
            if self.resting && !self.wake(lane, queued) {
                return false;
            }
            let room = target.saturating_sub(queued).min(lane.tx.free() as u64);
            let want = left.min(room).min(COPY as u64) as usize;
            let read = self.store.read(self.pushed, &mut copy[..want]);
            if read == 0 {
                return false;
            }
            let taken = if level.complete && read as u64 == left {
                let taken = lane.tx.push_last(&copy[..read]).unwrap_or(0);
                lane.open = taken < read;
                taken
            } else {
                lane.tx.push(&copy[..read])
            };
            self.pushed += taken as u64;
            if taken < read {
                return false;
            }
        }
    }

    /// Ends the span while there is still something to sound, so that no period takes the pause between two pieces for an underrun.
    fn rest(&mut self, lane: &mut Lane) {
        if lane.tx.end().is_ok() {
            lane.open = false;
            self.resting = true;
            self.starved = false;
            self.starved_at_us = 0;
        }
    }

    /// Goes on with a span of the same name, once the one before is over: a cut never meets two of them.
    fn wake(&mut self, lane: &mut Lane, queued: u64) -> bool {
        if queued > 0 || !self.store.ready(self.pushed) || lane.tx.begin(self.span_id).is_err() {
            return false;
        }
        lane.open = true;
        self.resting = false;
        true
    }

    /// It waits for its next piece, and all it has was heard.
    pub(super) fn is_dry(&self) -> bool {
        let level = self.store.level();
        self.started && level.resting && !level.complete && self.held >= level.end
    }

    pub(super) fn is_all_pushed(&self) -> bool {
        if self.cut.is_some() {
            return true;
        }
        let level = self.store.level();
        self.span.is_some() && level.complete && self.pushed >= level.end
    }

    /// An underrun that nothing came after is told with what it took.
    pub(super) fn tell_underrun(&self, now: u64, out: &mut Out) {
        if self.starved_at_us > 0 {
            out.events.push(TxEvent::Underrun {
                utterance: self.utterance,
                lost_us: now.saturating_sub(self.starved_at_us),
            });
        }
    }
}

impl Lane {
    pub(super) fn order(&mut self, command: Command) {
        self.commands.push_back(command);
        self.send_orders();
    }

    pub(super) fn send_orders(&mut self) {
        while let Some(command) = self.commands.front() {
            if self.tx.command(*command).is_err() {
                return;
            }
            self.commands.pop_front();
        }
    }
}

pub(super) fn frames(us: u32, rate: u32) -> u32 {
    us_to_samples(u64::from(us), rate).min(u32::MAX.into()) as u32
}

/// Events leave in order: none before the one it follows.
pub(super) fn push_due(due: &mut VecDeque<Due>, at_us: u64, utterance: u64, event: impl FnOnce(u64) -> TxEvent) {
    let at_us = due.back().map_or(at_us, |last| at_us.max(last.at_us));
    due.push_back(Due {
        at_us,
        utterance,
        event: event(at_us),
    });
}
