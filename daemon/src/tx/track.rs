//! What one session plays on: a queue of stores, the lane that carries them while there is an engine, and the events still
//! to be heard.
//!
//! Invariants: the queue is the order of the lane's spans; an entry's `held` is what the sink consumed, it never goes back and survives
//! the lane; an entry that is being cut moves by its fact alone (the lane's position jumps over what is skipped); an event is due when its
//! sample is heard, and an utterance's Ended leaves only from `due`, so that a cut before that moment still finds the utterance here.
//! Not here: locks, threads, who asked. See feeder.rs.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use utterd_rt::{Command, Control, Fact, LaneSpec, LaneTx, StatsHandle};

use super::resample::{rescale, samples_to_us, us_to_samples};
use super::store::Store;
use super::{Output, TxEvent};

/// A lane without work is given back after this long.
const LANE_IDLE_US: u64 = 1_000_000;
/// Samples copied at a time from store to ring.
const COPY: usize = 1024;

/// What an operation says to the world: events in order, and utterances that are over with what was played of them.
#[derive(Default)]
pub(super) struct Out {
    pub(super) events: Vec<TxEvent>,
    pub(super) done: Vec<(u64, u64)>,
}

impl Out {
    fn cut(&mut self, utterance: u64, played_us: u64, silent_at_us: u64, answers: u32) {
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
    id: u64,
    pub(super) output: Output,
    look_ahead_us: u64,
    paused: bool,
    /// The last pause's, which the resume complements.
    fade_us: u32,
    gain: f32,
    queue: VecDeque<Entry>,
    due: VecDeque<Due>,
    lane: Option<Lane>,
    /// A play since the last Hungry.
    owes_hungry: bool,
    owes_paused: bool,
}

struct Entry {
    utterance: u64,
    span_id: NonZeroU64,
    store: Arc<Store>,
    span: Option<Span>,
    /// Store position consumed by the sink.
    held: u64,
    /// Store position up to which the lane has it.
    pushed: u64,
    started: bool,
    /// Set while a cut waits for its fact: how many ask.
    cut: Option<u32>,
    starved: bool,
    starved_at_us: u64,
    was_ahead: bool,
}

/// Where the entry lies on the present lane.
#[derive(Clone, Copy)]
struct Span {
    begin: u64,
    /// Store position of the span's first sample; not 0 after a rebuild.
    from: u64,
}

struct Lane {
    tx: LaneTx,
    rate: u32,
    commands: VecDeque<Command>,
    /// A span is begun and neither ended nor followed.
    open: bool,
    idle_since_us: Option<u64>,
}

/// An event whose sample is rendered and will be heard at `at_us`.
struct Due {
    at_us: u64,
    utterance: u64,
    event: TxEvent,
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
        }
    }

    // ---- orders ------------------------------------------------------------------------------------------------

    pub(super) fn play(&mut self, utterance: NonZeroU64, store: Arc<Store>) {
        self.owes_hungry = true;
        self.queue.push_back(Entry {
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
        });
    }

    /// Cuts an utterance that this track was told to play; `answers` Cut events are owed for it.
    pub(super) fn cut(
        &mut self,
        utterance: u64,
        fade_us: u32,
        answers: u32,
        now: u64,
        out: &mut Out,
    ) {
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
                let fade_frames =
                    us_to_samples(u64::from(fade_us), entry.store.rate()).min(u32::MAX.into());
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

    pub(super) fn gain(&mut self, linear: f32) {
        if !linear.is_finite() {
            return;
        }
        self.gain = linear;
        if let Some(lane) = &mut self.lane {
            lane.order(Command::Gain { linear });
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
        self.advance(&heard, out);
        for fact in facts {
            self.heed(fact, &heard, out);
        }
        drop(lane);
        while let Some(i) = self.queue.iter().position(|e| e.cut.is_some()) {
            self.finish_cut(i, now, now, out);
        }
        for entry in &mut self.queue {
            entry.span = None;
            entry.pushed = entry.held;
            entry.starved = false;
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

    // ---- the pump ----------------------------------------------------------------------------------------------

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
        let (position, next_us) = read.unwrap_or((lane.tx.position(), 0));
        let heard = Heard {
            position,
            next_us: next_us + engine.latency_us,
            rate: engine.rate,
            now,
        };
        if read.is_some() {
            self.advance(&heard, out);
        }
        for fact in facts {
            self.heed(fact, &heard, out);
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
            push_due(&mut self.due, at_us, utterance, |at_us| TxEvent::Started {
                utterance,
                at_us,
            });
        }
        entry.held = held;
        entry.store.set_played(held);
        self.marks_until(i, held, heard);
    }

    fn marks_until(&mut self, i: usize, end: u64, heard: &Heard) {
        let entry = &self.queue[i];
        let Some(span) = entry.span else { return };
        while let Some((position, mark)) = entry.store.next_mark(end) {
            let position = position.min(entry.held);
            let at_us = heard.at(span.begin + position.saturating_sub(span.from));
            let utterance = entry.utterance;
            push_due(&mut self.due, at_us, utterance, |at_us| TxEvent::Mark {
                utterance,
                mark,
                at_us,
            });
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
            self.queue[0].span = Some(Span {
                begin: 0,
                from: level.end,
            });
            self.end_if_consumed(0, &here, out);
        }
    }

    fn heed(&mut self, fact: Fact, heard: &Heard, out: &mut Out) {
        match fact {
            Fact::Cut {
                span,
                position,
                at_us,
            } => {
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
                    out.events.push(TxEvent::Paused {
                        track: self.id,
                        at_us,
                    });
                }
            }
            Fact::Resumed { .. } => {}
            Fact::Underrun { span, at_us, .. } => {
                if let Some(i) = self.on_lane(span) {
                    self.queue[i].starved = true;
                    self.queue[i].starved_at_us = at_us;
                }
            }
            Fact::Recovered {
                span, lost_frames, ..
            } => {
                if let Some(i) = self.on_lane(span) {
                    self.queue[i].starved = false;
                    self.queue[i].starved_at_us = 0;
                }
                out.events.push(TxEvent::Underrun {
                    utterance: span.get(),
                    lost_us: samples_to_us(lost_frames, heard.rate),
                });
            }
        }
    }

    fn on_lane(&self, span: NonZeroU64) -> Option<usize> {
        self.queue
            .iter()
            .position(|e| e.span_id == span && e.span.is_some())
    }

    /// Entry `i` fell silent by a cut: what was heard of it goes out now, then the answers.
    fn finish_cut(&mut self, i: usize, silent_at_us: u64, now: u64, out: &mut Out) {
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
            ring_frames: us_to_samples(engine.ring_us + 50_000, engine.rate) as usize,
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
        });
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
        let waits = self.owes_paused
            || !lane.commands.is_empty()
            || self.queue.iter().any(|e| e.cut.is_some());
        let sounds = !self.paused && self.queue.iter().any(|e| e.span.is_some());
        if waits || sounds {
            return Wish::Soon;
        }
        match lane.idle_since_us {
            Some(since) => due.min(Wish::At(since + LANE_IDLE_US)),
            None => due,
        }
    }
}

/// A position that was consumed, and when the sample after it is heard.
struct Heard {
    position: u64,
    next_us: u64,
    rate: u32,
    now: u64,
}

impl Heard {
    /// When the consumed lane position `q` is (or was) heard.
    fn at(&self, q: u64) -> u64 {
        let before = self.position.saturating_sub(q);
        self.next_us
            .saturating_sub(samples_to_us(before, self.rate))
    }
}

impl Entry {
    /// Opens a span for it, if enough is stored. A store without anything (left) to sound needs none.
    fn begin(&mut self, lane: &mut Lane) -> bool {
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
        self.span = Some(Span {
            begin,
            from: self.held,
        });
        true
    }

    /// Fills the ring up to `target` samples. True once the whole store is in it.
    fn fill(&mut self, lane: &mut Lane, target: u64) -> bool {
        if self.starved && !self.store.recovered(self.pushed) {
            return false;
        }
        let mut copy = [0.0f32; COPY];
        loop {
            let level = self.store.level();
            let left = level.end.saturating_sub(self.pushed);
            if left == 0 {
                return level.complete;
            }
            let queued = lane.tx.pushed() - lane.tx.position();
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

    fn is_all_pushed(&self) -> bool {
        if self.cut.is_some() {
            return true;
        }
        let level = self.store.level();
        self.span.is_some() && level.complete && self.pushed >= level.end
    }

    /// An underrun that nothing came after is told with what it took.
    fn tell_underrun(&self, now: u64, out: &mut Out) {
        if self.starved_at_us > 0 {
            out.events.push(TxEvent::Underrun {
                utterance: self.utterance,
                lost_us: now.saturating_sub(self.starved_at_us),
            });
        }
    }
}

impl Lane {
    fn order(&mut self, command: Command) {
        self.commands.push_back(command);
        self.send_orders();
    }

    fn send_orders(&mut self) {
        while let Some(command) = self.commands.front() {
            if self.tx.command(*command).is_err() {
                return;
            }
            self.commands.pop_front();
        }
    }
}

fn frames(us: u32, rate: u32) -> u32 {
    us_to_samples(u64::from(us), rate).min(u32::MAX.into()) as u32
}

/// Events leave in order: none before the one it follows.
fn push_due(
    due: &mut VecDeque<Due>,
    at_us: u64,
    utterance: u64,
    event: impl FnOnce(u64) -> TxEvent,
) {
    let at_us = due.back().map_or(at_us, |last| at_us.max(last.at_us));
    due.push_back(Due {
        at_us,
        utterance,
        event: event(at_us),
    });
}
