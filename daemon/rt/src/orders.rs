//! How a lane obeys: what each command means in each state the lane can be in. The states themselves, and what they sound like, are lane.rs.

use crate::clock::Clock;
use crate::lane::{Hold, LaneRx};
use crate::ramp::Fade;
use crate::{Command, Fact, Mark};
use core::num::NonZeroU64;

impl LaneRx {
    pub(crate) fn obey(&mut self, command: Command, clock: Clock) {
        let now = clock.at(0);
        match command {
            Command::Cut { span, fade_frames } => {
                if self.span == Some(span) && !self.is_cut && self.cut.is_none() {
                    self.cut_current(self.bounded(fade_frames), Some(span), now);
                } else if let Some(position) = self.cut_queued(span) {
                    self.tell(Fact::Cut {
                        span,
                        position,
                        at_us: now,
                    });
                } else {
                    self.tell(Fact::CutMissed { span });
                }
            }
            Command::Pause { fade_frames } => self.pause(self.bounded(fade_frames), now),
            Command::Resume { fade_frames } => self.resume(self.bounded(fade_frames), now),
            Command::Gain { linear, ramp_frames } => {
                self.gain.go_to(linear, ramp_frames.max(self.short));
                if !self.sounding {
                    self.gain.settle();
                }
            }
            Command::Tap => {
                if self.tap.is_none() {
                    self.tap = self.taps.pop().ok();
                }
            }
        }
    }

    pub(crate) fn cut_current(&mut self, fade_frames: u32, answer: Option<NonZeroU64>, now: u64) {
        self.owes_cut = answer;
        if !self.tail.is_over() {
            // It starves and rings out already; the tail's end is the sound's end.
            self.is_cut = true;
            self.dry = false;
            return;
        }
        let mut heard_to = self.position;
        match self.hold {
            Hold::Held { peeked, .. } => {
                heard_to += u64::from(peeked);
                self.hold = Hold::CLEAN;
            }
            Hold::Down { fade, resume } => {
                // What the ramp let be heard is consumed now, and the cut goes on from there; the pause holds what comes after.
                let from = fade.level_down();
                self.consume(fade.done() as usize);
                self.hold = Hold::CLEAN;
                self.owes_paused = true;
                if resume {
                    self.resume(0, now);
                }
                self.cut = Some(Fade::new(self.within_span(fade_frames), from));
                return;
            }
            Hold::Run if self.sounding && self.span.is_some() && self.position > self.begin => {
                let from = self.up.level_up();
                self.up = Fade::OVER;
                self.cut = Some(Fade::new(self.within_span(fade_frames), from));
                return;
            }
            Hold::Run => self.up = Fade::OVER,
        }
        self.is_cut = true;
        self.dry = false;
        if let Some(span) = self.owes_cut.take() {
            self.tell(Fact::Cut {
                span,
                position: heard_to,
                at_us: now,
            });
        }
    }

    /// Marks a span that is still queued; it will be skipped whole.
    fn cut_queued(&mut self, span: NonZeroU64) -> Option<u64> {
        let queued = self.markers.slots();
        let mut markers = self.markers.read_chunk(queued).ok()?;
        let (first, second) = markers.as_mut_slices();
        for marker in first.iter_mut().chain(second) {
            match &mut marker.kind {
                Mark::Begin { span: queued, is_cut } if *queued == span && !*is_cut => {
                    *is_cut = true;
                    return Some(marker.at);
                }
                _ => {}
            }
        }
        None
    }

    fn pause(&mut self, fade_frames: u32, now: u64) {
        match &mut self.hold {
            Hold::Held { .. } => {
                if !self.owes_paused {
                    self.tell(Fact::Paused {
                        position: self.position,
                        at_us: now,
                    });
                }
            }
            Hold::Down { resume, .. } => *resume = false,
            Hold::Run if self.cut.is_some() || !self.tail.is_over() => {
                self.hold = Hold::CLEAN;
                self.owes_paused = true;
            }
            Hold::Run if self.sounding && self.span.is_some() && self.position > self.begin => {
                let fade = Fade::new(self.within_span(fade_frames), self.up.level_up());
                self.up = Fade::OVER;
                self.hold = Hold::Down { fade, resume: false };
            }
            Hold::Run => {
                // Silent: there is nothing to ramp. A fade up that was due (after a pause that was resumed within this very period) stays due.
                self.hold = Hold::Held {
                    up: Some(self.up.left() as u32),
                    peeked: 0,
                };
                self.tell(Fact::Paused {
                    position: self.position,
                    at_us: now,
                });
            }
        }
    }

    pub(crate) fn resume(&mut self, fade_frames: u32, now: u64) {
        match &mut self.hold {
            Hold::Down { resume, .. } => {
                // The ramp runs to its end first: turning back half way would be a click or a sample lost.
                *resume = true;
                return;
            }
            Hold::Held { up, .. } => {
                self.up = Fade::new(up.unwrap_or(fade_frames), 1.0);
                self.hold = Hold::Run;
                self.owes_paused = false;
            }
            Hold::Run => {}
        }
        self.tell(Fact::Resumed {
            position: self.position,
            at_us: now,
        });
    }
}
