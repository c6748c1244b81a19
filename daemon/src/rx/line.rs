//! A line: the blocks of one output after the other, whatever engine they come from, as one stretch of time without holes.
//!
//! Position is time: what a tap lost, a cycle the server missed, and the time while no server was there are silence of the right length. Within
//! an engine frames are counted; from one engine to the next the clock of the blocks decides, to the microsecond.

use utterd_rt::TapRx;

/// A line that has heard nothing for so long goes on by the clock, in silence.
const AWAY_US: u64 = 250_000;
/// How far behind the clock it then stays, so that the first block of a new engine finds its place free.
const BEHIND_US: u64 = 100_000;
/// A hole longer than this is another day: the line goes on without filling it.
const HOLE_US: u64 = 600_000_000;
/// Silence is told in pieces of at most so many frames.
const PIECE: usize = 4_096;

static SILENCE: [f32; PIECE] = [0.0; PIECE];

/// What happened in a stretch of time.
pub(super) struct Stretch<'a> {
    /// Its first frame's number on the line.
    #[cfg(test)]
    pub(super) position: u64,
    pub(super) at_us: u64,
    /// Its first frame's number on the engine's clock; none in silence that no engine knows of.
    pub(super) frame: Option<u64>,
    /// What was played.
    pub(super) far: &'a [f32],
    /// What the microphone brought, while one is open.
    pub(super) near: Option<&'a [f32]>,
    /// Frames after which what is played here is captured.
    pub(super) far_delay: u32,
    /// Nobody knows what it was: a tap that was read too late, or a cycle that the server missed.
    pub(super) is_lost: bool,
}

pub(super) struct Line {
    tap: TapRx,
    rate: u32,
    position: u64,
    /// The frame that follows the last block.
    expected: Option<u64>,
    /// When the last frame ended.
    end_us: Option<u64>,
    whole: Vec<f32>,
}

impl Line {
    pub(super) fn new(tap: TapRx, rate: u32) -> Line {
        Line {
            tap,
            rate: rate.max(1),
            position: 0,
            expected: None,
            end_us: None,
            whole: Vec::new(),
        }
    }

    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// When the last frame told of ended.
    pub(super) fn end_us(&self) -> Option<u64> {
        self.end_us
    }

    /// Nothing has been heard yet, and somebody waits: time goes on from here, in silence until an engine comes.
    pub(super) fn begin_at(&mut self, at_us: u64) {
        self.end_us.get_or_insert(at_us);
    }

    /// Another engine drives the output; its frames begin anew.
    pub(super) fn engine(&mut self, rate: u32) {
        self.rate = rate.max(1);
        self.expected = None;
    }

    /// Tells all that has happened since the last time.
    pub(super) fn tell(&mut self, now_us: u64, hear: &mut impl FnMut(&Stretch<'_>)) {
        while let Some(block) = self.tap.peek() {
            let missing = match (self.expected, self.end_us) {
                (Some(expected), _) => block.frame.saturating_sub(expected),
                (None, Some(end_us)) => self.frames(block.at_us.saturating_sub(end_us)),
                (None, None) => 0,
            };
            let since = (self.expected.is_some()).then(|| block.frame.saturating_sub(missing));
            self.silence(missing, since, block.at_us, hear);
            self.position_after(block.frames.into(), block.at_us);
            self.expected = Some(block.frame + u64::from(block.frames));
            let whole = &mut self.whole;
            self.tap.take(|_, first, second| {
                whole.clear();
                whole.extend_from_slice(first);
                whole.extend_from_slice(second);
            });
            let (far, near) = self.whole.split_at(block.frames as usize);
            hear(&Stretch {
                #[cfg(test)]
                position: self.position - u64::from(block.frames),
                at_us: block.at_us,
                frame: Some(block.frame),
                far,
                near: (block.channels > 1).then_some(near),
                far_delay: block.far_delay,
                is_lost: false,
            });
        }
        if let Some(end_us) = self.end_us
            && now_us > end_us + AWAY_US
        {
            let until_us = now_us - BEHIND_US;
            self.silence(self.frames(until_us - end_us), None, until_us, hear);
            self.expected = None;
        }
    }

    fn frames(&self, us: u64) -> u64 {
        (u128::from(us) * u128::from(self.rate) / 1_000_000) as u64
    }

    fn us(&self, frames: u64) -> u64 {
        (u128::from(frames) * 1_000_000 / u128::from(self.rate)) as u64
    }

    fn position_after(&mut self, frames: u64, at_us: u64) {
        self.position += frames;
        self.end_us = Some(at_us + self.us(frames));
    }

    /// So many frames of nothing, up to `until_us`.
    fn silence(&mut self, frames: u64, mut frame: Option<u64>, until_us: u64, hear: &mut impl FnMut(&Stretch<'_>)) {
        if self.us(frames) > HOLE_US {
            self.end_us = Some(until_us);
            return;
        }
        let mut left = frames;
        while left > 0 {
            let piece = left.min(PIECE as u64);
            let at_us = until_us.saturating_sub(self.us(left));
            hear(&Stretch {
                #[cfg(test)]
                position: self.position,
                at_us,
                frame,
                far: &SILENCE[..piece as usize],
                near: None,
                far_delay: 0,
                is_lost: true,
            });
            self.position_after(piece, at_us);
            frame = frame.map(|f| f + piece);
            left -= piece;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use utterd_rt::{TapTx, tap};

    const RATE: u32 = 48_000;

    fn line() -> (TapTx, Line) {
        let (tx, rx) = tap(1_000_000);
        (tx, Line::new(rx, RATE))
    }

    /// Position, time, frame and length of each stretch, silence marked by its loss.
    fn told(line: &mut Line, now_us: u64) -> Vec<(u64, u64, Option<u64>, usize, bool)> {
        let mut all = Vec::new();
        line.tell(now_us, &mut |s| all.push((s.position, s.at_us, s.frame, s.far.len(), s.is_lost)));
        all
    }

    #[test]
    fn what_was_missed_is_silence_of_the_same_length_and_position_stays_time() {
        let (mut tap, mut line) = line();
        let sound = [0.5; 480];
        tap.push(7_000, 1_000_000, 0, &sound, None);
        tap.push(7_480, 1_010_000, 0, &sound, Some(&sound));
        tap.push(8_920, 1_040_000, 0, &sound, None);
        let expected = [
            (0, 1_000_000, Some(7_000), 480, false),
            (480, 1_010_000, Some(7_480), 480, false),
            (960, 1_020_000, Some(7_960), 960, true),
            (1_920, 1_040_000, Some(8_920), 480, false),
        ];
        assert_eq!(told(&mut line, 1_050_000), expected);
        assert_eq!(told(&mut line, 1_060_000), []);
    }

    #[test]
    fn while_no_server_is_there_time_goes_on_and_the_next_engine_finds_its_place() {
        let (mut tap, mut line) = line();
        let sound = [0.5; 480];
        tap.push(0, 1_000_000, 0, &sound, None);
        told(&mut line, 1_010_000);
        assert_eq!(told(&mut line, 1_200_000), [], "a period may be long");
        let away = told(&mut line, 1_310_000);
        assert_eq!(away.iter().map(|s| s.3).sum::<usize>(), 9_600, "up to a tenth of a second ago");
        line.engine(RATE);
        tap.push(0, 1_510_000, 0, &sound, None);
        let back = told(&mut line, 1_520_000);
        let (last, silence) = back.split_last().unwrap();
        assert_eq!(silence.iter().map(|s| s.3).sum::<usize>(), 14_400);
        assert_eq!(*last, (480 + 24_000, 1_510_000, Some(0), 480, false), "half a second after the end");
    }

    #[test]
    fn a_line_that_nobody_has_driven_yet_goes_on_from_where_somebody_waits_and_the_first_engine_finds_its_place() {
        let (mut tap, mut line) = line();
        assert_eq!(told(&mut line, 1_000_000), []);
        line.begin_at(1_000_000);
        line.begin_at(5_000_000);
        let silence = told(&mut line, 1_600_000);
        assert_eq!(silence[0].1, 1_000_000, "the told time is that of the first frame");
        tap.push(0, 2_000_000, 0, &[0.5; 480], None);
        let then = told(&mut line, 2_010_000);
        assert_eq!(then.last().unwrap(), &(48_000, 2_000_000, Some(0), 480, false), "a second after it");
    }

    #[test]
    fn another_rate_keeps_the_time() {
        let (mut tap, mut line) = line();
        tap.push(0, 1_000_000, 0, &[0.0; 480], None);
        told(&mut line, 1_010_000);
        line.engine(16_000);
        tap.push(50, 1_110_000, 0, &[0.0; 160], None);
        let then = told(&mut line, 1_120_000);
        assert_eq!(
            then,
            [(480, 1_010_000, None, 1_600, true), (2_080, 1_110_000, Some(50), 160, false)]
        );
    }

    #[test]
    fn a_clock_that_is_another_days_is_taken_as_it_is() {
        let (mut tap, mut line) = line();
        tap.push(0, 1_000_000, 0, &[0.0; 480], None);
        told(&mut line, 1_010_000);
        line.engine(RATE);
        tap.push(0, 10_000_000_000_000, 0, &[0.0; 480], None);
        assert_eq!(told(&mut line, 10_000_000_000_000).len(), 1);
    }
}
