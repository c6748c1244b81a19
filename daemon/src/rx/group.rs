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
    /// What the resampler has taken of the line, and how many samples it has given for it.
    taken: u64,
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
            taken: 0,
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
            (self.taken, self.given) = (0, 0);
        }
        // What is still in the resampler comes first. The line's own time counts: the server's clock is not quite ours.
        let next_us = (at_us + samples_to_us(self.given, self.rate)).saturating_sub(samples_to_us(self.taken, line_rate));
        self.admit(next_us, told);
        self.out.clear();
        if let Some(resampler) = &mut self.resampler {
            resampler.push(samples, &mut self.out);
        }
        self.taken += samples.len() as u64;
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

    /// When the first of those who wait asked.
    pub(super) fn waits_since(&self) -> Option<u64> {
        self.joining.iter().map(|j| j.since_us).min()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use utterd_core::Encoding;

    const FORMAT: AudioFormat = AudioFormat {
        rate: None,
        encoding: Encoding::S16le,
        channels: 1,
    };

    #[test]
    fn a_later_readers_time_is_that_of_its_first_sample_on_a_clock_that_is_not_quite_ours() {
        for rate in [48_000, 16_000, 44_100] {
            let mut group = Group::new(rate);
            let pool = Pool::default();
            let mut told = Vec::new();
            for n in 0..2_000_u64 {
                // A block of 10 ms takes 10.1 ms.
                let at_us = 1_000_000 + n * 10_100;
                if n == 0 || n == 1_999 {
                    let (reader, stream) = Reader::new(FORMAT.encoding, 1).unwrap();
                    group.join(Joining {
                        token: Token(n),
                        reader,
                        stream,
                        format: FORMAT,
                        since_us: 0,
                    });
                }
                group.hear(&[0.0; 480], 48_000, at_us, &pool, &mut told);
            }
            let starts: Vec<u64> = told
                .iter()
                .filter_map(|told| match told {
                    Told::Joined(RxEvent::Joined { start_us, .. }) => Some(*start_us),
                    _ => None,
                })
                .collect();
            let last_us = 1_000_000 + 1_999 * 10_100;
            assert_eq!((starts.len(), starts[0]), (2, 1_000_000), "at {rate}");
            assert!(
                (last_us - 10_000..=last_us).contains(&starts[1]),
                "{} of {last_us} at {rate}",
                starts[1]
            );
        }
    }
}
