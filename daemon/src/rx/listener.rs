//! A detector at work for one session, on a thread of its own: takes blocks from its sink, brings them to its rate in frames of 10 ms, lets it
//! hear, and hands on what it found and what it cleaned.
//!
//! The far end is shifted by playback's and capture's latency, so that an echo stands where it is heard. What was lost is silence of the same
//! length and is told to the detector. One that fails too often, fires constantly, panics, hangs, or cannot keep up is given up, once and with
//! its reason; the session goes on without it. Hard real-time detectors run below the callback; others at ordinary priority.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::*};
use std::thread::{self, Thread};
use std::time::Duration;

use utterd_core::SessionId;
use utterd_core::hearing::{Finding, Pace, Paced};
use utterd_rt::{Block, TapRx, TapTx};

use super::pump::{PRIORITY, Pump, Sink};
use super::{Events, RxEvent};
use crate::clock::now_us;
use crate::driver::sched;
use crate::plugins::{Detector, DetectorFault, DetectorInput, DetectorOutput, DetectorStream, DetectorStreamSpec, InputFlags};
use crate::tx::Output;
use crate::tx::resample::{Pool, Resampler, rescale};

/// Detectors are asked for the best of these that they take and that the line has samples for.
const RATES: [u32; 2] = [16_000, 8_000];
/// Without a block for so long it looks whether it is still wanted.
const IDLE: Duration = Duration::from_millis(100);
/// It may be so late, and for so long without a break.
const LATE_US: u64 = 500_000;
const LATE_FOR_US: u64 = 1_000_000;
/// A call that takes longer hangs; one that opens may have to read a model.
const CALL_US: u64 = 2_000_000;
const OPEN_US: u64 = 10_000_000;
/// A hole longer than this is a new beginning.
const HOLE_S: u64 = 2;

/// What is to be heard, and for whom.
#[derive(Debug, Clone)]
pub struct Listen {
    pub session: SessionId,
    pub output: Output,
    pub generation: u64,
    pub detector: String,
    pub language: String,
    pub one_stage: bool,
}

impl Listen {
    pub(super) fn failed(&self, message: String) -> RxEvent {
        RxEvent::DetectorFailed {
            session: self.session,
            generation: self.generation,
            detector: self.detector.clone(),
            message,
        }
    }
}

/// What a detector must know of its session; written by the actor.
#[derive(Debug, Default)]
pub(super) struct Context(AtomicU8);

impl Context {
    pub(super) fn set(&self, speaking: bool, protected: bool, muted: bool) {
        self.0
            .store(u8::from(speaking) | u8::from(protected) << 1 | u8::from(muted) << 2, Relaxed);
    }

    fn flags(&self) -> InputFlags {
        let bits = self.0.load(Relaxed);
        InputFlags {
            ai_speaking: bits & 1 != 0,
            protected: bits & 2 != 0,
            muted: bits & 4 != 0,
            gap: false,
        }
    }
}

/// The hold on a listener; letting go of it ends it.
pub(super) struct Running {
    call: Arc<Call>,
    thread: Thread,
    pub(super) listen: Listen,
    /// The call that was overdue at the last look.
    overdue_us: u64,
}

/// What a listener's thread and its hold know of each other.
#[derive(Default)]
struct Call {
    is_over: AtomicBool,
    /// When the detector must be back from the call it is in; 0: it is in none.
    due_us: AtomicU64,
}

impl Call {
    fn within<R>(&self, us: u64, call: impl FnOnce() -> R) -> R {
        self.due_us.store(now_us() + us, Release);
        let answer = call();
        self.due_us.store(0, Release);
        answer
    }
}

impl Running {
    /// It is in a call that it should have come back from, and was so at the last look: a halt of the machine is no fault of its own.
    pub(super) fn hangs(&mut self, now_us: u64) -> bool {
        let due_us = self.call.due_us.load(Acquire);
        let overdue_us = if due_us < now_us { due_us } else { 0 };
        overdue_us != 0 && std::mem::replace(&mut self.overdue_us, overdue_us) == overdue_us
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.call.is_over.store(true, Release);
        self.thread.unpark();
    }
}

/// What a listener is started with.
pub(super) struct Start {
    pub(super) listen: Listen,
    pub(super) detector: Arc<Detector>,
    pub(super) context: Arc<Context>,
    pub(super) line_rate: u32,
    /// Where the cleaned sound goes.
    pub(super) clean: Option<TapTx>,
    pub(super) events: Arc<Events>,
}

impl Start {
    pub(super) fn start(self, pump: &Pump) -> io::Result<Running> {
        let (tap, end) = utterd_rt::tap(2 * self.line_rate.max(32_768) as usize);
        let call = Arc::new(Call::default());
        let seen = Arc::clone(&call);
        let listen = self.listen.clone();
        let thread = thread::Builder::new()
            .name("utterd-listen".into())
            .spawn(move || crate::or_end("a detector's thread", || self.run(end, &seen)))?;
        let thread = thread.thread().clone();
        pump.sink(
            listen.output,
            Sink {
                tap,
                reader: thread.clone(),
            },
        );
        Ok(Running {
            call,
            thread,
            listen,
            overdue_us: 0,
        })
    }

    fn run(mut self, mut tap: TapRx, call: &Call) {
        let rate = if RATES.contains(&self.line_rate) && self.detector.takes(self.line_rate) {
            self.line_rate
        } else {
            let fits = |r: &&u32| self.detector.takes(**r);
            RATES.iter().find(fits).copied().unwrap_or(self.line_rate)
        };
        let spec = DetectorStreamSpec {
            session: self.listen.session.get(),
            rate,
            frame: rate as usize / 100,
            language: &self.listen.language,
            one_stage: self.listen.one_stage,
        };
        let stream = match call.within(OPEN_US, || self.detector.open(spec)) {
            Ok(stream) => stream,
            Err(error) => return self.give_up(error.to_string(), call),
        };
        if self.detector.hard_rt()
            && let Err(error) = sched::become_realtime(PRIORITY)
        {
            tracing::info!(detector = self.detector.id(), %error, "a detector runs at ordinary priority");
        }
        sched::flush_denormals();
        let delay = self.detector.info().clean_delay_ms as u64 * u64::from(rate) / 1_000;
        let clean = self.clean.take().map(|tap| Cleaned::new(tap, rate, self.line_rate, delay));
        let mut hearing = Hearing::new(stream, rate, self.line_rate, clean);
        while !call.is_over.load(Acquire) {
            let Some(block) = tap.peek() else {
                hearing.lateness.caught_up();
                thread::park_timeout(IDLE);
                continue;
            };
            let read = tap.take(|_, first, second| hearing.take(block, first, second));
            debug_assert!(read.is_some(), "it was there");
            if let Err(why) = hearing.hear(&self, call) {
                return self.give_up(why, call);
            }
        }
    }

    fn give_up(&self, message: String, call: &Call) {
        // One that was let go of meanwhile has nothing to tell.
        if !call.is_over.load(Acquire) {
            (self.events)(self.listen.failed(message));
        }
    }
}

/// What the detector has heard and will hear.
struct Hearing {
    stream: DetectorStream,
    rate: u32,
    line_rate: u32,
    pool: Pool,
    near: Way,
    far: Way,
    /// Zeros that the far end is behind by, in the detector's samples.
    far_delay: u64,
    /// The detector's time, and the line's frame at its beginning.
    t: u64,
    begin: Option<u64>,
    /// The line's frame that follows, and the time of one.
    expected: u64,
    anchor: (u64, u64),
    lost: u32,
    gap: bool,
    faults: u32,
    pace: Pace,
    lateness: Lateness,
    clean: Option<Cleaned>,
    frame: Vec<f32>,
    far_frame: Vec<f32>,
    out: Vec<f32>,
    whole: Vec<f32>,
}

/// How long it has been behind the sound. A halt of the machine is no fault of a detector that catches up: time counts, not frames.
#[derive(Default)]
struct Lateness {
    since_us: Option<u64>,
}

impl Lateness {
    /// It has heard all it was given, which ends at `heard_us`.
    fn is_too_long(&mut self, heard_us: u64, now_us: u64) -> bool {
        if now_us <= heard_us + LATE_US {
            self.since_us = None;
            return false;
        }
        now_us >= *self.since_us.get_or_insert(now_us) + LATE_FOR_US
    }

    /// Nothing waits for it.
    fn caught_up(&mut self) {
        self.since_us = None;
    }
}

/// One end on its way to the detector's rate.
struct Way {
    resampler: Resampler,
    ready: VecDeque<f32>,
    out: Vec<f32>,
}

impl Way {
    fn new(pool: &Pool, from: u32, to: u32) -> Way {
        Way {
            resampler: Resampler::new(pool, from, to),
            ready: VecDeque::new(),
            out: Vec::new(),
        }
    }

    fn push(&mut self, samples: &[f32]) {
        self.out.clear();
        self.resampler.push(samples, &mut self.out);
        self.ready.extend(&self.out);
    }
}

impl Hearing {
    fn new(stream: DetectorStream, rate: u32, line_rate: u32, clean: Option<Cleaned>) -> Hearing {
        let pool = Pool::default();
        let frame = rate as usize / 100;
        Hearing {
            stream,
            rate,
            line_rate,
            near: Way::new(&pool, line_rate, rate),
            far: Way::new(&pool, line_rate, rate),
            pool,
            far_delay: 0,
            t: 0,
            begin: None,
            expected: 0,
            anchor: (0, 0),
            lost: 0,
            gap: false,
            faults: 0,
            pace: Pace::new(),
            lateness: Lateness::default(),
            clean,
            frame: vec![0.0; frame],
            far_frame: vec![0.0; frame],
            out: vec![0.0; frame],
            whole: Vec::new(),
        }
    }

    /// A block of the line, which may come after a hole.
    fn take(&mut self, block: Block, first: &[f32], second: &[f32]) {
        let missing = block.frame.wrapping_sub(self.expected);
        if self.begin.is_none() || missing > HOLE_S * u64::from(self.line_rate) {
            self.begin_at(block);
        } else if missing > 0 {
            self.lost += rescale(missing, self.line_rate, self.rate) as u32;
            self.gap = true;
            self.whole.clear();
            self.whole.resize(missing as usize, 0.0);
            self.near.push(&self.whole);
            self.far.push(&self.whole);
        }
        self.shift_far(rescale(block.far_delay.into(), self.line_rate, self.rate));
        self.expected = block.frame + u64::from(block.frames);
        self.anchor = (block.frame, block.at_us);
        self.whole.clear();
        self.whole.extend_from_slice(first);
        self.whole.extend_from_slice(second);
        let (far, near) = self.whole.split_at_mut(block.frames as usize);
        self.far.push(far);
        if near.is_empty() {
            far.fill(0.0);
            self.near.push(far);
        } else {
            // A resampler would spread what is no number over all that follows.
            near.iter_mut().filter(|s| !s.is_finite()).for_each(|s| *s = 0.0);
            self.near.push(near);
        }
    }

    fn begin_at(&mut self, block: Block) {
        if self.begin.is_some() {
            self.stream.reset();
        }
        self.begin = Some(block.frame);
        (self.t, self.far_delay, self.lost) = (0, 0, 0);
        self.near = Way::new(&self.pool, self.line_rate, self.rate);
        self.far = Way::new(&self.pool, self.line_rate, self.rate);
        if let Some(clean) = &mut self.clean {
            clean.begin_at(block.frame);
        }
    }

    fn shift_far(&mut self, delay: u64) {
        if delay == self.far_delay {
            return;
        }
        self.gap = true;
        if delay > self.far_delay {
            let more = (delay - self.far_delay) as usize;
            self.far.ready.extend(std::iter::repeat_n(0.0, more));
        } else {
            let less = ((self.far_delay - delay) as usize).min(self.far.ready.len());
            self.far.ready.drain(..less);
        }
        self.far_delay = delay;
    }

    /// Every whole frame there is.
    fn hear(&mut self, of: &Start, call: &Call) -> Result<(), String> {
        let frame = self.frame.len();
        while self.near.ready.len() >= frame && self.far.ready.len() >= frame {
            for (to, way) in [(&mut self.frame, &mut self.near), (&mut self.far_frame, &mut self.far)] {
                for (to, sample) in to.iter_mut().zip(way.ready.drain(..frame)) {
                    *to = sample;
                }
            }
            let mut flags = of.context.flags();
            flags.gap = std::mem::take(&mut self.gap);
            if flags.muted {
                self.frame.fill(0.0);
            }
            let input = DetectorInput {
                t: self.t,
                near: &self.frame,
                far: Some(&self.far_frame),
                far_delay: i32::try_from(self.far_delay).unwrap_or(i32::MAX),
                lost: std::mem::take(&mut self.lost),
                flags,
            };
            let clean = self.clean.is_some().then_some(self.out.as_mut_slice());
            match call.within(CALL_US, || self.stream.process(input, clean)) {
                Ok(heard) => self.tell(&heard, of)?,
                Err(fault) => self.failed(fault)?,
            }
            if let Some(clean) = &mut self.clean {
                clean.push(&self.out);
            }
            self.t += frame as u64;
        }
        if self.lateness.is_too_long(self.time_of(self.t), now_us()) {
            return Err("it is slower than the sound".into());
        }
        Ok(())
    }

    /// What it found, unless it finds more than there can be.
    fn tell(&mut self, heard: &DetectorOutput, of: &Start) -> Result<(), String> {
        for kind in heard.kinds() {
            match self.pace.take(self.time_of(self.t), kind) {
                Paced::Pass => {}
                Paced::Drop { first } => {
                    if first {
                        let (detector, session) = (of.detector.id(), of.listen.session);
                        tracing::warn!(detector, %session, "fires faster than people speak: not listened to");
                    }
                    continue;
                }
                Paced::GiveUp => return Err("it fires constantly".into()),
            }
            let finding = Finding {
                kind,
                at_us: self.time_of(heard.t_event),
                probability: heard.prob,
                confidence: heard.confidence,
                detector: Arc::from(of.listen.detector.as_str()),
            };
            (of.events)(RxEvent::Finding {
                session: of.listen.session,
                generation: of.listen.generation,
                finding,
            });
        }
        Ok(())
    }

    /// A frame that it could not hear goes out uncleaned.
    fn failed(&mut self, fault: DetectorFault) -> Result<(), String> {
        self.faults += 1;
        self.out.copy_from_slice(&self.frame);
        if fault.is_fatal(self.faults) {
            return Err(fault.to_string());
        }
        Ok(())
    }

    fn time_of(&self, t: u64) -> u64 {
        let frame = self.begin.unwrap_or_default() + rescale(t, self.rate, self.line_rate);
        let (at, at_us) = self.anchor;
        let us = |frames: u64| frames * 1_000_000 / u64::from(self.line_rate);
        if frame >= at {
            at_us + us(frame - at)
        } else {
            at_us.saturating_sub(us(at - frame))
        }
    }
}

/// The cleaned sound on its way back to the line's rate and place.
struct Cleaned {
    tap: TapTx,
    rate: u32,
    line_rate: u32,
    /// The detector's cleaned signal is so many of its samples late.
    delay: u64,
    skip: u64,
    pool: Pool,
    resampler: Resampler,
    frame: u64,
    out: Vec<f32>,
}

impl Cleaned {
    fn new(tap: TapTx, rate: u32, line_rate: u32, delay: u64) -> Cleaned {
        let pool = Pool::default();
        Cleaned {
            tap,
            rate,
            line_rate,
            delay,
            skip: delay,
            resampler: Resampler::new(&pool, rate, line_rate),
            pool,
            frame: 0,
            out: Vec::new(),
        }
    }

    fn begin_at(&mut self, frame: u64) {
        self.frame = frame;
        self.skip = self.delay;
        self.resampler = Resampler::new(&self.pool, self.rate, self.line_rate);
    }

    fn push(&mut self, samples: &[f32]) {
        let skipped = self.skip.min(samples.len() as u64);
        self.skip -= skipped;
        self.out.clear();
        self.resampler.push(&samples[skipped as usize..], &mut self.out);
        if !self.out.is_empty() {
            self.tap.push(self.frame, 0, 0, &self.out, None);
            self.frame += self.out.len() as u64;
        }
    }
}

#[cfg(test)]
impl Running {
    /// One whose detector is in a call that it should be back from by then.
    pub(super) fn in_call(listen: Listen, due_us: u64) -> Running {
        let call = Call {
            due_us: AtomicU64::new(due_us),
            ..Call::default()
        };
        Running {
            call: Arc::new(call),
            thread: thread::current(),
            listen,
            overdue_us: 0,
        }
    }

    /// It comes back, and is called again.
    pub(super) fn call_again(&self, due_us: u64) {
        self.call.due_us.store(due_us, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a detector is given up that takes so long for each frame of 10 ms, after a halt of `halt_us`, and when.
    fn given_up(frame_us: u64, halt_us: u64) -> Option<u64> {
        let mut lateness = Lateness::default();
        let mut now = halt_us;
        for n in 1..=1_000 {
            now = (now + frame_us).max(n * 10_000);
            if lateness.is_too_long(n * 10_000, now) {
                return Some(now);
            }
            if now == n * 10_000 {
                lateness.caught_up();
            }
        }
        None
    }

    #[test]
    fn a_halt_that_is_caught_up_with_costs_no_detector_and_one_that_stays_behind_is_given_up_by_the_clock() {
        for halt_us in [0, 600_000, 1_500_000, 2_000_000, 10_000_000] {
            assert_eq!(given_up(500, halt_us), None, "after a halt of {halt_us} us");
        }
        assert_eq!(given_up(1_000_000, 0), Some(2_000_000), "a second a frame");
        assert!(given_up(15_000, 0).is_some_and(|us| us < 4_000_000), "half again too slow");
        assert_eq!(given_up(9_000, 0), None, "slow, and fast enough");
    }
}
