//! A track's regular look: what the lane has consumed, what follows from it, what goes into the ring next.
//!
//! Facts are read before the position, so that a cut that missed finds its span's end consumed. Entries move in the order of their spans; one
//! that is being cut moves by its fact alone. What becomes due waits for its time at the end of each look.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use utterd_rt::{Fact, LaneSpec};

use super::TxEvent;
use super::entry::{Entry, Heard, Lane, Span, push_due};
use super::resample::{samples_to_us, us_to_samples};
use super::track::{Engine, Out, Track, Wish};

/// Frames; JACK's and PipeWire's own limit.
const LONGEST_PERIOD: u64 = 8_192;
/// A lane without work is given back after this long.
const LANE_IDLE_US: u64 = 1_000_000;

impl Track {
    /// One look: what was consumed, what follows from it, what goes into the ring. Says when to look again.
    pub(super) fn pump(&mut self, engine: Option<Engine<'_>>, now: u64, out: &mut Out) -> Wish {
        let mut wants_lane = false;
        if let Some(mut engine) = engine {
            self.listen(&engine, now, out);
            self.end_without_sound(now, out);
            wants_lane = !self.take_lane(&mut engine);
            self.feed(&engine, now);
            self.give_lane_back(now);
        } else {
            self.end_without_sound(now, out);
        }
        self.look_ahead(&mut out.events);
        self.say_dry(&mut out.events);
        self.say_hungry(&mut out.events);
        self.release(now, out);
        if wants_lane { Wish::Soon } else { self.wish() }
    }

    fn listen(&mut self, engine: &Engine<'_>, now: u64, out: &mut Out) {
        let Some(lane) = &mut self.lane else { return };
        lane.send_orders();
        let facts: Vec<Fact> = std::iter::from_fn(|| lane.tx.next_fact()).collect();
        // The position is read after the facts, so that a missed cut finds its span's end consumed.
        let read = engine.stats.between_periods(|| lane.tx.position());
        let (position, next_us) = read.unwrap_or_else(|| (lane.tx.position(), now));
        let heard = Heard {
            position,
            next_us: next_us + engine.latency_us,
            rate: engine.rate,
            now,
        };
        self.take_in(&facts, read.is_some().then_some(&heard), &heard, out);
    }

    /// Underruns first, while who starved is still here; then the position; then the answers to orders.
    pub(super) fn take_in(&mut self, facts: &[Fact], consumed: Option<&Heard>, heard: &Heard, out: &mut Out) {
        let is_hint = |f: &&Fact| matches!(f, Fact::Underrun { .. } | Fact::Recovered { .. });
        for fact in facts.iter().filter(is_hint) {
            self.heed(*fact, heard, out);
        }
        if let Some(consumed) = consumed {
            self.advance(consumed, out);
        }
        for fact in facts.iter().filter(|f| !is_hint(f)) {
            self.heed(*fact, heard, out);
        }
    }

    /// Moves every entry to what the lane has consumed of it, and makes its events due.
    fn advance(&mut self, heard: &Heard, out: &mut Out) {
        let mut i = 0;
        while let Some(entry) = self.queue.get(i) {
            let Some(span) = entry.span else { break };
            if entry.cut.is_some() || heard.position < span.begin {
                i += 1;
                continue;
            }
            let consumed = (heard.position - span.begin).min(entry.pushed - span.from);
            let held = span.from + consumed;
            if held > entry.held {
                self.move_to(i, held, heard);
            }
            if self.end_if_consumed(i, heard, out) {
                continue;
            }
            i += 1;
        }
    }

    /// Entry `i` was consumed up to `held`: its start and its marks up to there are due.
    fn move_to(&mut self, i: usize, held: u64, heard: &Heard) {
        let entry = &mut self.queue[i];
        let Some(span) = entry.span else { return };
        if !std::mem::replace(&mut entry.started, true) {
            let at_us = heard.at(span.begin);
            let utterance = entry.utterance;
            push_due(&mut self.due, at_us, utterance, |at_us| TxEvent::Started { utterance, at_us });
        }
        entry.held = held;
        entry.store.set_played(held);
        self.marks_until(i, held, heard);
    }

    fn marks_until(&mut self, i: usize, end: u64, heard: &Heard) {
        let entry = &self.queue[i];
        let Some(span) = entry.span else { return };
        while let Some((position, mark)) = entry.store.next_mark(end) {
            if position > entry.held && mark.is_watch() {
                continue; // It ended before so much of it was heard.
            }
            let position = position.min(entry.held);
            let at_us = heard.at(span.begin + position.saturating_sub(span.from));
            let utterance = entry.utterance;
            push_due(&mut self.due, at_us, utterance, |at_us| TxEvent::Mark { utterance, mark, at_us });
        }
    }

    /// If entry `i` is complete and consumed, its end is due and it leaves the queue.
    fn end_if_consumed(&mut self, i: usize, heard: &Heard, out: &mut Out) -> bool {
        let entry = &self.queue[i];
        let level = entry.store.level();
        if !level.complete || entry.held < level.end {
            // Marks that came after their sample was heard.
            self.marks_until(i, self.queue[i].held, heard);
            return false;
        }
        self.marks_until(i, u64::MAX, heard);
        let Some(entry) = self.queue.remove(i) else {
            return false;
        };
        let Some(span) = entry.span else { return false };
        entry.tell_underrun(heard.now, out);
        let at_us = heard.at(span.begin + (entry.held - span.from));
        let utterance = entry.utterance;
        let played_us = samples_to_us(entry.held, level.rate);
        push_due(&mut self.due, at_us, utterance, |at_us| TxEvent::Ended {
            utterance,
            played_us,
            at_us,
        });
        true
    }

    /// A first entry without anything (left) to sound ends without a lane.
    fn end_without_sound(&mut self, now: u64, out: &mut Out) {
        while let Some(entry) = self.queue.front() {
            let level = entry.store.level();
            if entry.span.is_some() || !level.complete || entry.held < level.end {
                return;
            }
            let here = Heard {
                position: 0,
                next_us: now,
                rate: level.rate,
                now,
            };
            self.queue[0].span = Some(Span { begin: 0, from: level.end });
            self.end_if_consumed(0, &here, out);
        }
    }

    fn heed(&mut self, fact: Fact, heard: &Heard, out: &mut Out) {
        match fact {
            Fact::Cut { span, position, at_us } => {
                if let Some(i) = self.on_lane(span) {
                    let entry = &self.queue[i];
                    let begin = entry.span.map_or(position, |s| s.begin);
                    let from = entry.span.map_or(entry.held, |s| s.from);
                    let held = from + position.saturating_sub(begin);
                    let held = held.min(entry.pushed);
                    if held > entry.held {
                        self.move_to(i, held, heard);
                    }
                    self.finish_cut(i, at_us, heard.now, out);
                }
            }
            Fact::CutMissed { span } => {
                // All of it was consumed before the order came.
                if let Some(i) = self.on_lane(span) {
                    let held = self.queue[i].pushed;
                    if held > self.queue[i].held {
                        self.move_to(i, held, heard);
                    }
                    self.finish_cut(i, heard.now, heard.now, out);
                }
            }
            Fact::Paused { at_us, .. } => {
                if self.paused && std::mem::take(&mut self.owes_paused) {
                    out.events.push(TxEvent::Paused { track: self.id, at_us });
                }
            }
            Fact::Resumed { .. } => {}
            Fact::Underrun { span, at_us, .. } => {
                if let Some(i) = self.on_lane(span).filter(|i| !self.queue[*i].resting) {
                    self.queue[i].starved = true;
                    self.queue[i].starved_at_us = at_us;
                }
            }
            Fact::Recovered { span, lost_frames, .. } => {
                // One that is over has told its underrun already.
                if let Some(i) = self.on_lane(span) {
                    self.queue[i].starved = false;
                    self.queue[i].starved_at_us = 0;
                    out.events.push(TxEvent::Underrun {
                        utterance: span.get(),
                        lost_us: samples_to_us(lost_frames, heard.rate),
                    });
                }
            }
        }
    }

    fn on_lane(&self, span: NonZeroU64) -> Option<usize> {
        self.queue.iter().position(|e| e.span_id == span && e.span.is_some())
    }

    /// Entry `i` fell silent by a cut: what was heard of it goes out now, then the answers.
    pub(super) fn finish_cut(&mut self, i: usize, silent_at_us: u64, now: u64, out: &mut Out) {
        let Some(entry) = self.queue.remove(i) else {
            return;
        };
        let utterance = entry.utterance;
        self.due.retain(|due| {
            if due.utterance == utterance {
                out.events.push(due.event.clone());
            }
            due.utterance != utterance
        });
        entry.tell_underrun(now, out);
        let played_us = samples_to_us(entry.held, entry.store.rate());
        out.cut(utterance, played_us, silent_at_us, entry.cut.unwrap_or(0));
    }

    /// False while a lane is wanted and there is none to be had.
    fn take_lane(&mut self, engine: &mut Engine<'_>) -> bool {
        if self.lane.is_some() || self.queue.is_empty() {
            return true;
        }
        let spec = LaneSpec {
            // A server may go over to its longest period while the lane lives.
            ring_frames: us_to_samples(engine.ring_us, engine.rate).max(2 * LONGEST_PERIOD) as usize
                + us_to_samples(50_000, engine.rate) as usize,
            paused: self.paused,
            gain: self.gain,
        };
        let Ok(tx) = engine.control.add_lane(spec) else {
            return false;
        };
        self.lane = Some(Lane {
            tx,
            rate: engine.rate,
            commands: VecDeque::new(),
            open: false,
            idle_since_us: None,
            is_tapped: false,
        });
        self.tap_lane();
        true
    }

    fn feed(&mut self, engine: &Engine<'_>, now: u64) {
        let Some(lane) = &mut self.lane else { return };
        lane.send_orders();
        let target = us_to_samples(engine.ring_us, engine.rate);
        let mut followed = false;
        for entry in &mut self.queue {
            if entry.cut.is_some() {
                continue;
            }
            followed = false;
            if entry.span.is_none() && !entry.begin(lane) {
                break;
            }
            if !entry.fill(lane, target) {
                followed = true;
                break;
            }
        }
        // Nothing goes on where the lane ends: what follows is idle, not an underrun.
        if !followed && lane.open && lane.tx.end().is_ok() {
            lane.open = false;
        }
        let idle = self.queue.is_empty();
        lane.idle_since_us = idle.then(|| lane.idle_since_us.unwrap_or(now));
    }

    fn give_lane_back(&mut self, now: u64) {
        let idle_since = self.lane.as_ref().and_then(|lane| lane.idle_since_us);
        if idle_since.is_some_and(|since| now >= since + LANE_IDLE_US) && !self.owes_paused {
            self.lane = None;
        }
    }

    /// Says Low once each time a store falls below the look-ahead.
    fn look_ahead(&mut self, events: &mut Vec<TxEvent>) {
        for entry in &mut self.queue {
            let is_ahead = entry.store.ahead_us() >= self.look_ahead_us;
            let was_ahead = std::mem::replace(&mut entry.was_ahead, is_ahead);
            if was_ahead && !is_ahead && !entry.store.level().complete {
                events.push(TxEvent::Low {
                    utterance: entry.utterance,
                });
            }
        }
    }

    /// Says Dry once each time a waiting utterance was consumed as far as it goes.
    fn say_dry(&mut self, events: &mut Vec<TxEvent>) {
        for entry in &mut self.queue {
            let dry = entry.cut.is_none() && entry.is_dry();
            if dry && !std::mem::replace(&mut entry.dry_told, dry) {
                events.push(TxEvent::Dry {
                    utterance: entry.utterance,
                    played_us: samples_to_us(entry.held, entry.store.rate()),
                });
            }
            entry.dry_told = dry;
        }
    }

    fn say_hungry(&mut self, events: &mut Vec<TxEvent>) {
        if self.owes_hungry && self.queue.iter().all(Entry::is_all_pushed) {
            self.owes_hungry = false;
            events.push(TxEvent::Hungry { track: self.id });
        }
    }

    fn release(&mut self, now: u64, out: &mut Out) {
        while self.due.front().is_some_and(|due| due.at_us <= now) {
            let Some(due) = self.due.pop_front() else {
                break;
            };
            if let TxEvent::Ended { played_us, .. } = due.event {
                out.done.push((due.utterance, played_us));
            }
            out.events.push(due.event);
        }
    }

    fn wish(&self) -> Wish {
        let due = self.due.front().map_or(Wish::Never, |d| Wish::At(d.at_us));
        let Some(lane) = &self.lane else { return due };
        let waits = self.owes_paused || !lane.commands.is_empty() || self.queue.iter().any(|e| e.cut.is_some());
        let sounds = !self.paused && self.queue.iter().any(|e| e.span.is_some() && !(e.resting && e.dry_told));
        if waits || sounds {
            return Wish::Soon;
        }
        match lane.idle_since_us {
            Some(since) => due.min(Wish::At(since + LANE_IDLE_US)),
            None => due,
        }
    }
}
