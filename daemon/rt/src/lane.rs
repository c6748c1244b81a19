//! The render half of a lane: where a period's samples come from, and how sound begins, stops and ends without a click.
//!
//! A period is made of stretches. `advance` plays the longest stretch over which nothing changes and says how long it was; 0 means that
//! something changed in no time (a span was passed, a ramp ended) and it is to be asked again. What is due is decided in a fixed order:
//! a tail that still rings out, then a cut in progress, then passing from span to span, then the hold (paused, or on the way), then play.
//!
//! Invariants: samples are consumed in order and once; only a pause's ramp looks ahead without consuming, and its resume reads the same samples
//! again. A ramp ends where its span ends and never touches the next. `position` is what was consumed.

use crate::clock::Clock;
use crate::mix::mix;
use crate::ramp::{Fade, Gain, Tail};
use crate::stats::Tally;
use crate::tap::{Block, TapTx};
use crate::{Command, FACTS, Fact, LaneSpec, Mark, Marker};
use core::num::NonZeroU64;
use rtrb::{Consumer, Producer};

/// At most this many answers are owed at any time (a cut, a pause, and the one being obeyed), with one to spare.
const OWED_MAX: usize = 4;

/// Whether the lane's position may move.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hold {
    Run,
    /// On the way to silence, looking ahead. `resume`: and on again as soon as it is reached.
    Down {
        fade: Fade,
        resume: bool,
    },
    /// Silent. `up`: length of the ramp with which to go on; none for a lane born paused. `peeked`: samples the ramp down let be heard.
    Held {
        up: Option<u32>,
        peeked: u32,
    },
}

impl Hold {
    /// Held with nothing to complement: goes on without a ramp.
    pub(crate) const CLEAN: Hold = Hold::Held { up: Some(0), peeked: 0 };
}

/// The renderer's end of a lane. `[rt & active]`
#[derive(Debug)]
pub(crate) struct LaneRx {
    samples: Consumer<f32>,
    pub(crate) markers: Consumer<Marker>,
    commands: Consumer<Command>,
    facts: Producer<Fact>,
    /// Brings the lane's tap, once.
    pub(crate) taps: Consumer<TapTx>,
    pub(crate) tap: Option<TapTx>,
    /// Samples consumed since the lane was made.
    pub(crate) position: u64,
    /// End of the samples this period may use. Newer ones may lack their span yet.
    visible: u64,
    pub(crate) span: Option<NonZeroU64>,
    pub(crate) begin: u64,
    /// The current span is cut: skip what there is of it.
    pub(crate) is_cut: bool,
    pub(crate) hold: Hold,
    /// Fade up after a pause or an underrun.
    pub(crate) up: Fade,
    pub(crate) cut: Option<Fade>,
    pub(crate) tail: Tail,
    pub(crate) gain: Gain,
    /// The value heard last; what a tail starts from.
    last: f32,
    /// The last frame came from this lane's samples or their tail.
    pub(crate) sounding: bool,
    /// Starving inside a span, for `lost_frames` so far.
    pub(crate) dry: bool,
    lost_frames: u64,
    pub(crate) owes_cut: Option<NonZeroU64>,
    pub(crate) owes_paused: bool,
    closing: bool,
    finished: bool,
    /// 5 ms.
    pub(crate) short: u32,
}

impl LaneRx {
    pub(crate) fn new(
        samples: Consumer<f32>,
        markers: Consumer<Marker>,
        commands: Consumer<Command>,
        facts: Producer<Fact>,
        taps: Consumer<TapTx>,
        spec: LaneSpec,
        rate: u32,
    ) -> LaneRx {
        LaneRx {
            samples,
            markers,
            commands,
            facts,
            taps,
            tap: None,
            position: 0,
            visible: 0,
            span: None,
            begin: 0,
            is_cut: false,
            hold: if spec.paused {
                Hold::Held { up: None, peeked: 0 }
            } else {
                Hold::Run
            },
            up: Fade::OVER,
            cut: None,
            tail: Tail::NONE,
            gain: Gain::new(spec.gain),
            last: 0.0,
            sounding: false,
            dry: false,
            lost_frames: 0,
            owes_cut: None,
            owes_paused: false,
            closing: false,
            finished: false,
            short: (rate / 200).max(1),
        }
    }

    /// Nothing of this lane will sound again: it may go home. `[rt & active]`
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Adds this lane's period, which begins with `frame`, to `out`. `[rt & active]`
    pub(crate) fn render(&mut self, out: &mut [f32], frame: u64, clock: Clock, tally: &mut Tally) {
        if self.finished {
            return;
        }
        // The order of these looks makes every order known before the samples sent after it, and the span of every sample and order: see tx.rs.
        self.visible = self.position + self.samples.slots() as u64;
        let commands = self.commands.slots();
        let _markers_seen = self.markers.slots();
        if self.cut.is_none() && self.tail.is_over() {
            self.pass_markers();
        }
        for _ in 0..commands {
            if self.facts.slots() < OWED_MAX {
                break;
            }
            let Ok(command) = self.commands.pop() else {
                break;
            };
            self.obey(command, clock);
        }
        if !self.closing && self.commands.is_abandoned() {
            self.closing = true;
            if self.cut.is_none() {
                self.cut_current(self.short, None, clock.at(0));
            }
        }
        let was_busy = if self.tap.is_none() {
            self.fill(out, 0, clock, tally)
        } else {
            self.fill_and_tap(out, frame, clock, tally)
        };
        tally.busy += u32::from(was_busy);
        self.finished = self.closing && self.cut.is_none() && self.tail.is_over();
    }

    /// Adds to `out`, which begins at frame `from` of the period. Whether there was anything to say.
    #[inline(always)]
    fn fill(&mut self, out: &mut [f32], from: usize, clock: Clock, tally: &mut Tally) -> bool {
        let mut frame = 0;
        let mut was_busy = false;
        while frame < out.len() {
            frame += self.advance(&mut out[frame..], from + frame, clock, tally);
            was_busy |= self.sounding || self.dry;
        }
        was_busy
    }

    /// The same by way of the tap's memory. A tap that is full or that nobody reads is passed by.
    #[inline(never)]
    fn fill_and_tap(&mut self, out: &mut [f32], frame: u64, clock: Clock, tally: &mut Tally) -> bool {
        let Some(mut tap) = self.tap.take() else {
            return false;
        };
        let block = Block {
            frame,
            frames: out.len() as u32,
            channels: 1,
            at_us: clock.at(0),
            far_delay: 0,
        };
        let mut was_busy = false;
        let has_room = if let Some(mut room) = tap.room(out.len()) {
            let (first, second) = room.as_mut_slices();
            let (head, rest) = out.split_at_mut(first.len());
            let begin = head.len();
            for (out, own, from) in [(head, first, 0), (rest, second, begin)] {
                was_busy |= self.fill(own, from, clock, tally);
                for (out, own) in out.iter_mut().zip(own) {
                    *out += *own;
                }
            }
            room.commit_all();
            true
        } else {
            false
        };
        if has_room {
            tap.tell(block);
        } else {
            was_busy = self.fill(out, 0, clock, tally);
        }
        self.tap = Some(tap);
        was_busy
    }

    fn advance(&mut self, out: &mut [f32], frame: usize, clock: Clock, tally: &mut Tally) -> usize {
        if !self.tail.is_over() {
            let frames = self.tail.mix(out);
            self.count_lost(frames, tally);
            if self.tail.is_over() {
                self.fall_silent();
                self.settle(clock.at(frame + frames - 1));
            }
            return frames;
        }
        if let Some(fade) = self.cut {
            return self.play_cut(fade, out, frame, clock);
        }
        if self.closing {
            return self.silence(out);
        }
        self.pass_markers();
        if self.is_cut && self.skip() {
            return 0;
        }
        match self.hold {
            Hold::Held { .. } => self.silence(out),
            Hold::Down { fade, resume } => self.play_down(fade, resume, out, frame, clock),
            Hold::Run => self.play(out, frame, clock, tally),
        }
    }

    /// Ordinary playing: the only place where the lane can starve.
    fn play(&mut self, out: &mut [f32], frame: usize, clock: Clock, tally: &mut Tally) -> usize {
        let run = self.run();
        if run == 0 {
            let Some(span) = self.span.filter(|_| self.position > self.begin && !self.is_cut) else {
                self.dry = false;
                return self.silence(out);
            };
            if !self.dry {
                self.dry = true;
                tally.underruns += 1;
                self.hint(Fact::Underrun {
                    span,
                    position: self.position,
                    at_us: clock.at(frame),
                });
                self.up = Fade::OVER;
                if self.sounding {
                    self.tail = Tail::new(self.last, self.short);
                    return 0;
                }
            }
            self.count_lost(out.len(), tally);
            return self.silence(out);
        }
        if self.dry {
            self.dry = false;
            self.up = Fade::new(self.short, 1.0);
            if let Some(span) = self.span {
                let lost_frames = self.lost_frames;
                let told = self.hint(Fact::Recovered {
                    span,
                    position: self.position,
                    at_us: clock.at(frame),
                    lost_frames,
                });
                self.lost_frames = if told { 0 } else { lost_frames };
            }
        }
        let frames = run.min(out.len());
        let shaped = self.up.left().max(self.gain.left());
        let frames = if shaped > 0 { frames.min(shaped) } else { frames };
        let up = &mut self.up;
        let last = mix(
            &mut self.samples,
            0,
            &mut out[..frames],
            &mut self.gain,
            (shaped > 0).then_some(|| {
                let level = up.level_up();
                up.step();
                level
            }),
        );
        self.last = last;
        self.sounding = true;
        self.consume(frames);
        frames
    }

    /// A cut on its way: samples are consumed under the ramp, as far as the span goes.
    fn play_cut(&mut self, mut fade: Fade, out: &mut [f32], frame: usize, clock: Clock) -> usize {
        let frames = self.run().min(out.len()).min(fade.left());
        if frames > 0 {
            self.last = mix(
                &mut self.samples,
                0,
                &mut out[..frames],
                &mut self.gain,
                Some(|| {
                    let level = fade.level_down();
                    fade.step();
                    level
                }),
            );
            self.sounding = true;
            self.consume(frames);
        }
        self.cut = Some(fade);
        if fade.is_over() || self.at_marker() {
            self.cut = None;
            self.is_cut = true;
            self.fall_silent();
            self.settle(clock.at((frame + frames).saturating_sub(1)));
        } else if frames == 0 {
            // Dry within the ramp: what is missing of it rings out from the last value.
            self.cut = None;
            self.is_cut = true;
            self.tail = Tail::new(self.last, fade.left() as u32);
        }
        frames
    }

    /// A pause on its way: the ramp is heard, the position stays.
    fn play_down(&mut self, mut fade: Fade, resume: bool, out: &mut [f32], frame: usize, clock: Clock) -> usize {
        let ahead = fade.done() as usize;
        let frames = self.run().saturating_sub(ahead).min(out.len()).min(fade.left());
        if frames > 0 {
            self.last = mix(
                &mut self.samples,
                ahead,
                &mut out[..frames],
                &mut self.gain,
                Some(|| {
                    let level = fade.level_down();
                    fade.step();
                    level
                }),
            );
            self.sounding = true;
        }
        if !fade.is_over() && frames > 0 {
            self.hold = Hold::Down { fade, resume };
            return frames;
        }
        let total = fade.total();
        self.owes_paused = !resume;
        self.hold = Hold::Held {
            up: Some(total),
            peeked: fade.done(),
        };
        if fade.is_over() {
            self.fall_silent();
            self.settle(clock.at((frame + frames).saturating_sub(1)));
        } else {
            self.tail = Tail::new(self.last, fade.left() as u32);
        }
        if resume {
            self.resume(total, clock.at(frame + frames));
        }
        frames
    }

    /// Goes from span to span wherever a boundary lies at the position. Each span starts clean.
    fn pass_markers(&mut self) {
        while let Ok(&marker) = self.markers.peek() {
            if marker.at > self.position || self.markers.pop().is_err() {
                break;
            }
            self.dry = false;
            self.up = Fade::OVER;
            match marker.kind {
                Mark::Begin { span, is_cut } => {
                    self.span = Some(span);
                    self.begin = marker.at;
                    self.is_cut = is_cut;
                }
                Mark::End => {
                    self.span = None;
                    self.is_cut = false;
                }
            }
        }
    }

    /// Drops all there is of a cut span. False when there was nothing.
    fn skip(&mut self) -> bool {
        let frames = self.run();
        self.consume(frames);
        frames > 0
    }

    pub(crate) fn consume(&mut self, frames: usize) {
        if let Ok(chunk) = self.samples.read_chunk(frames) {
            chunk.commit_all();
            self.position += frames as u64;
        }
    }

    /// Samples at hand before the next boundary.
    fn run(&self) -> usize {
        let end = self.markers.peek().map_or(self.visible, |marker| marker.at.min(self.visible));
        end.saturating_sub(self.position) as usize
    }

    fn at_marker(&self) -> bool {
        self.markers.peek().is_ok_and(|marker| marker.at <= self.position)
    }

    /// A ramp of this length, or of what is left of the span where that is known to be less.
    pub(crate) fn within_span(&self, fade_frames: u32) -> u32 {
        let left = self
            .markers
            .peek()
            .map_or(u64::MAX, |marker| marker.at.saturating_sub(self.position));
        left.min(u64::from(fade_frames)) as u32
    }

    /// A fade is never longer than a second, whatever was asked.
    pub(crate) fn bounded(&self, fade_frames: u32) -> u32 {
        fade_frames.min(self.short.saturating_mul(200))
    }

    fn silence(&mut self, out: &[f32]) -> usize {
        self.fall_silent();
        out.len()
    }

    fn fall_silent(&mut self) {
        self.last = 0.0;
        self.sounding = false;
        self.gain.settle();
    }

    fn count_lost(&mut self, frames: usize, tally: &mut Tally) {
        if self.dry && matches!(self.hold, Hold::Run) {
            self.lost_frames += frames as u64;
            tally.underrun_frames += frames as u64;
        }
    }

    /// The sound has ended: what was owed for that moment is told.
    fn settle(&mut self, at_us: u64) {
        if let Some(span) = self.owes_cut.take() {
            self.tell(Fact::Cut {
                span,
                position: self.position,
                at_us,
            });
        }
        if core::mem::take(&mut self.owes_paused) {
            self.tell(Fact::Paused {
                position: self.position,
                at_us,
            });
        }
    }

    /// An answer; there is room, or its command would not have been obeyed.
    pub(crate) fn tell(&mut self, fact: Fact) {
        let told = self.facts.push(fact);
        debug_assert!(told.is_ok());
    }

    /// A hint may be left out: answers come first. Says whether it went.
    fn hint(&mut self, fact: Fact) -> bool {
        self.facts.slots() > FACTS / 2 && self.facts.push(fact).is_ok()
    }
}
