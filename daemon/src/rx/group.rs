//! The readers of one kind of audio at one rate: resampled once, written to each in its form.
//!
//! A reader that joins is told the time of the first sample it will get. At the line's own rate every sample passes bit for bit.

use std::os::fd::OwnedFd;

use utterd_core::{AudioFormat, Token};

use super::RxEvent;
use super::reader::{Reader, Wrote};
use crate::tx::resample::{Pool, Resampler, samples_to_us};

/// A client whose stream is made, and who waits to be told.
pub(super) struct Joining {
    pub(super) token: Token,
    pub(super) reader: Reader,
    pub(super) stream: OwnedFd,
    pub(super) format: AudioFormat,
    /// When it asked: a line that stands still must not keep it waiting.
    pub(super) since_us: u64,
}

/// What a group tells.
pub(super) enum Told {
    /// `RxEvent::Joined`: it has its stream.
    Joined(RxEvent),
    /// Frames that readers were too slow for; `first`: those for whom it is the first time.
    Lost { frames: u64, rate: u32, first: usize },
}

pub(super) struct Group {
    pub(super) rate: u32,
    resampler: Option<Resampler>,
    line_rate: u32,
    /// Time of the resampler's first sample, and how many it has given.
    start_us: u64,
    given: u64,
    joining: Vec<Joining>,
    readers: Vec<Reader>,
    out: Vec<f32>,
}

impl Group {
    pub(super) fn new(rate: u32) -> Group {
        Group {
            rate,
            resampler: None,
            line_rate: 0,
            start_us: 0,
            given: 0,
            joining: Vec::new(),
            readers: Vec::new(),
            out: Vec::new(),
        }
    }

    pub(super) fn join(&mut self, joining: Joining) {
        self.joining.push(joining);
    }

    pub(super) fn len(&self) -> usize {
        self.readers.len() + self.joining.len()
    }

    /// Those who wait and will get nothing.
    pub(super) fn refuse(&mut self) -> impl Iterator<Item = Token> {
        self.joining.drain(..).map(|joining| joining.token)
    }

    /// The line runs at another rate, or stands still: what comes next is a new beginning.
    pub(super) fn restart(&mut self) {
        self.resampler = None;
    }

    /// The next samples of the line, the first of them at `at_us`.
    pub(super) fn hear(&mut self, samples: &[f32], line_rate: u32, at_us: u64, pool: &Pool, told: &mut Vec<Told>) {
        if self.line_rate != line_rate || self.resampler.is_none() {
            self.resampler = Some(Resampler::new(pool, line_rate, self.rate));
            self.line_rate = line_rate;
            self.start_us = at_us;
            self.given = 0;
        }
        self.admit(self.start_us + samples_to_us(self.given, self.rate), told);
        self.out.clear();
        if let Some(resampler) = &mut self.resampler {
            resampler.push(samples, &mut self.out);
        }
        self.given += self.out.len() as u64;
        let (mut lost, mut first) = (0, 0);
        let out = &self.out;
        self.readers.retain_mut(|reader| match reader.write(out) {
            Wrote::All => true,
            Wrote::Lost(frames) => {
                lost += frames;
                first += usize::from(!std::mem::replace(&mut reader.is_told, true));
                true
            }
            Wrote::Gone => false,
        });
        if lost > 0 {
            told.push(Told::Lost {
                frames: lost,
                rate: self.rate,
                first,
            });
        }
    }

    /// Whoever waits is a reader from now on; its first sample's time is this one.
    fn admit(&mut self, start_us: u64, told: &mut Vec<Told>) {
        for joining in self.joining.drain(..) {
            told.push(Told::Joined(RxEvent::Joined {
                token: joining.token,
                stream: joining.stream,
                rate: self.rate,
                format: joining.format,
                start_us,
            }));
            self.readers.push(joining.reader);
        }
    }

    /// Those who waited too long for a line that stands still begin now.
    pub(super) fn give_up_waiting(&mut self, now_us: u64, patience_us: u64, told: &mut Vec<Told>) {
        if self.joining.iter().any(|j| now_us >= j.since_us + patience_us) {
            self.admit(now_us, told);
        }
    }
}
