//! What one session plays on: a queue of stores, the lane that carries them while there is an engine, and the events still
//! to be heard.
//!
//! Invariants: the queue is the order of the lane's spans; an entry's `held` is what the sink consumed, it never goes back and survives
//! the lane; an entry that is being cut moves by its fact alone (the lane's position jumps over what is skipped); an event is due when its
//! sample is heard, and an utterance's Ended leaves only from `due`, so that a cut before that moment still finds the utterance here.
//! Orders and engines are here; follow.rs has the regular look, entry.rs an entry's way into the ring, feeder.rs the locks and threads.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use crossbeam::channel::Sender;
use utterd_rt::{Command, Control, Fact, StatsHandle, TapRx};

use super::entry::{Due, Entry, Heard, Lane, frames};
use super::resample::{rescale, us_to_samples};
use super::store::Store;
use super::{Output, TxEvent};

/// A tap holds half a second, or four of the longest periods.
const TAP_FRAMES: usize = 4 * 8_192;

/// A listener's id, and where the ends of taps go with it.
pub(super) type Taps = (u64, Sender<(u64, TapRx)>);

/// What an operation says to the world: events in order, and utterances that are over with what was played of them.
#[derive(Default)]
pub(super) struct Out {
    pub(super) events: Vec<TxEvent>,
    pub(super) done: Vec<(u64, u64)>,
}

impl Out {
    pub(super) fn cut(&mut self, utterance: u64, played_us: u64, silent_at_us: u64, answers: u32) {
        for _ in 0..answers {
            self.events.push(TxEvent::Cut {
                utterance,
                played_us,
                silent_at_us,
            });
        }
        self.done.push((utterance, played_us));
    }
}

/// The engine as a track sees it for one pump.
pub(super) struct Engine<'a> {
    pub(super) control: &'a mut Control,
    pub(super) stats: &'a StatsHandle,
    pub(super) rate: u32,
    pub(super) latency_us: u64,
    pub(super) ring_us: u64,
}

pub(super) struct Track {
    pub(super) id: u64,
    pub(super) output: Output,
    pub(super) look_ahead_us: u64,
    pub(super) paused: bool,
    /// The last pause's, which the resume complements.
    pub(super) fade_us: u32,
    pub(super) gain: f32,
    pub(super) queue: VecDeque<Entry>,
    pub(super) due: VecDeque<Due>,
    pub(super) lane: Option<Lane>,
    /// A play since the last Hungry.
    pub(super) owes_hungry: bool,
    pub(super) owes_paused: bool,
    /// Who hears what its lanes play.
    pub(super) taps: Option<Taps>,
}

/// When a track wants to be looked at again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Wish {
    Soon,
    At(u64),
    Never,
}

impl Track {
    pub(super) fn new(id: u64, output: Output, look_ahead_us: u64) -> Self {
        Track {
            id,
            output,
            look_ahead_us,
            paused: false,
            fade_us: 5_000,
            gain: 1.0,
            queue: VecDeque::new(),
            due: VecDeque::new(),
            lane: None,
            owes_hungry: false,
            owes_paused: false,
            taps: None,
        }
    }

    // ---- orders ------------------------------------------------------------------------------------------------

    pub(super) fn play(&mut self, utterance: NonZeroU64, store: Arc<Store>) {
        self.owes_hungry = true;
        self.queue.push_back(Entry::new(utterance, store));
    }

    /// Cuts an utterance that this track was told to play; `answers` Cut events are owed for it.
    pub(super) fn cut(&mut self, utterance: u64, fade_us: u32, answers: u32, now: u64, out: &mut Out) {
        let Some(i) = self.queue.iter().position(|e| e.utterance == utterance) else {
            // Played to its end, which is not heard yet.
            let mut played_us = 0;
            self.due.retain(|due| {
                if due.utterance != utterance {
                    return true;
                }
                match &due.event {
                    TxEvent::Ended { played_us: all, .. } => played_us = *all,
                    event => out.events.push(event.clone()),
                }
                false
            });
            out.cut(utterance, played_us, now, answers);
            return;
        };
        let entry = &mut self.queue[i];
        entry.store.cut();
        if let Some(waiting) = &mut entry.cut {
            *waiting += answers;
            return;
        }
        match (&mut self.lane, entry.span) {
            (Some(lane), Some(_)) => {
                entry.cut = Some(answers);
                let fade_frames = us_to_samples(u64::from(fade_us), entry.store.rate()).min(u32::MAX.into());
                lane.order(Command::Cut {
                    span: entry.span_id,
                    fade_frames: fade_frames as u32,
                });
            }
            _ => {
                entry.cut = Some(answers);
                self.finish_cut(i, now, now, out);
            }
        }
    }

    pub(super) fn pause(&mut self, fade_us: u32, now: u64, out: &mut Out) {
        let was = std::mem::replace(&mut self.paused, true);
        match &mut self.lane {
            Some(lane) if !was => {
                self.fade_us = fade_us;
                let fade_frames = frames(fade_us, lane.rate);
                lane.order(Command::Pause { fade_frames });
                self.owes_paused = true;
            }
            _ if self.owes_paused => {}
            _ => {
                self.fade_us = fade_us;
                out.events.push(TxEvent::Paused {
                    track: self.id,
                    at_us: now,
                });
            }
        }
    }

    pub(super) fn resume(&mut self) {
        let was = std::mem::replace(&mut self.paused, false);
        self.owes_paused = false;
        if let (true, Some(lane)) = (was, &mut self.lane) {
            let fade_frames = frames(self.fade_us, lane.rate);
            lane.order(Command::Resume { fade_frames });
        }
    }

    pub(super) fn gain(&mut self, linear: f32, ramp_us: u32) {
        if !linear.is_finite() {
            return;
        }
        self.gain = linear;
        if let Some(lane) = &mut self.lane {
            let ramp_frames = us_to_samples(u64::from(ramp_us), lane.rate) as u32;
            lane.order(Command::Gain { linear, ramp_frames });
        }
    }

    /// The lane there is and every later one has a tap, until it is untapped.
    pub(super) fn tap(&mut self, taps: Taps) {
        if self.taps.is_none() {
            self.taps = Some(taps);
            self.tap_lane();
        }
    }

    /// Later lanes have none; that of the lane there is stays with it.
    pub(super) fn untap(&mut self) {
        self.taps = None;
    }

    pub(super) fn tap_lane(&mut self) {
        let (Some((listener, taps)), Some(lane)) = (&self.taps, self.lane.as_mut().filter(|lane| !lane.is_tapped)) else {
            return;
        };
        lane.is_tapped = true;
        let (tap, end) = utterd_rt::tap(TAP_FRAMES.max(lane.rate as usize / 2));
        // First the end that is read, so that whoever sees a period finds the lane's part of it.
        if taps.send((*listener, end)).is_err() || lane.tx.tap(tap).is_err() {
            tracing::debug!(track = self.id, "a lane could not be tapped");
        }
    }

    // ---- engines come and go -----------------------------------------------------------------------------------

    /// The renderer is gone: what it said last is heeded, every position is held, and cuts that waited for it are answered.
    pub(super) fn lose_lane(&mut self, rate: u32, latency_us: u64, now: u64, out: &mut Out) {
        let Some(mut lane) = self.lane.take() else {
            return;
        };
        let facts: Vec<Fact> = std::iter::from_fn(|| lane.tx.next_fact()).collect();
        let heard = Heard {
            position: lane.tx.position(),
            next_us: now + latency_us,
            rate,
            now,
        };
        self.take_in(&facts, Some(&heard), &heard, out);
        drop(lane);
        while let Some(i) = self.queue.iter().position(|e| e.cut.is_some()) {
            self.finish_cut(i, now, now, out);
        }
        for entry in &mut self.queue {
            entry.span = None;
            entry.pushed = entry.held;
            entry.starved = false;
            entry.tell_underrun(now, out);
            entry.starved_at_us = 0;
            entry.resting = false;
        }
        if std::mem::take(&mut self.owes_paused) {
            out.events.push(TxEvent::Paused {
                track: self.id,
                at_us: now,
            });
        }
    }

    /// The stores of this track went over to another rate (no lane holds any of them).
    pub(super) fn rescale(&mut self, from: u32, to: u32) {
        for entry in &mut self.queue {
            entry.held = rescale(entry.held, from, to);
            entry.pushed = entry.held;
        }
    }

    /// Gives the lane back and drops the queue; owed cuts are answered.
    pub(super) fn close(&mut self, now: u64, out: &mut Out) {
        self.lane = None;
        for due in self.due.drain(..) {
            if let TxEvent::Ended { played_us, .. } = due.event {
                out.done.push((due.utterance, played_us));
            }
        }
        while let Some(entry) = self.queue.front() {
            entry.store.cut();
            self.finish_cut(0, now, now, out);
        }
    }
}
