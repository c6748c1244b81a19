//! The room between a loudspeaker and a microphone: what the agent plays comes back late, softer and with a short tail.
//!
//! Exact to the sample on JACK's frame clock: a cycle that the server skipped is silence of its length in the line, never a shift. The line
//! takes a period and gives a period, so one call can serve JACK's callback; nothing is allocated after `new`. Not here: noise, loudspeakers
//! that distort, delays that drift (`tests/scenarios` makes those offline).

/// The way from the loudspeaker to the microphone.
#[derive(Clone, Copy, Debug)]
pub struct Echo {
    /// From the sample's play to its return, as the daemon's one callback counts it. JACK itself makes a period of it.
    pub delay_ms: f32,
    /// Echo return loss: how much softer it comes back (RMS of white noise).
    pub erl_db: f32,
    /// A few reflections behind the direct sound, within 40 ms; false: a plain copy.
    pub tail: bool,
}

/// Reflections after the direct sound: ms, share. Odd times, so that they build no comb.
const TAIL: [(f32, f32); 6] = [(1.9, -0.42), (4.3, 0.31), (9.7, 0.24), (15.1, -0.19), (23.9, 0.13), (37.3, -0.08)];

impl Echo {
    /// Delay in frames and gain of each reflection, the direct sound first.
    pub fn taps(&self, rate: u32) -> Vec<(usize, f32)> {
        let frames = |ms: f32| (ms * rate as f32 / 1_000.0).round() as usize;
        let tail: &[(f32, f32)] = if self.tail { &TAIL } else { &[] };
        let energy: f32 = 1.0 + tail.iter().map(|(_, share)| share * share).sum::<f32>();
        let gain = 10f32.powf(-self.erl_db / 20.0) / energy.sqrt();
        let direct = (frames(self.delay_ms), gain);
        let late = tail.iter().map(|(ms, share)| (frames(self.delay_ms + ms), gain * share));
        std::iter::once(direct).chain(late).collect()
    }
}

/// The longest period that a line can take.
const LONGEST_PERIOD: usize = 8_192;

pub struct Line {
    ring: Vec<f32>,
    taps: Vec<(usize, f32)>,
    /// The frame after the last one in the ring; none before the first period.
    next: Option<u32>,
}

impl Line {
    pub fn new(taps: Vec<(usize, f32)>) -> Line {
        let longest = taps.iter().map(|(delay, _)| *delay).max().unwrap_or(0);
        Line {
            ring: vec![0.0; (longest + 2 * LONGEST_PERIOD).next_power_of_two()],
            taps,
            next: None,
        }
    }

    /// Takes the period that began at this frame and adds what returns during it. JACK gives a loop of two clients one period of delay,
    /// so a tap's delay is shortened by it; one that is shorter than a period returns a period late.
    pub fn pass(&mut self, frame: u32, played: &[f32], back: &mut [f32]) {
        let mask = self.ring.len() - 1;
        // What was skipped is silence; after a jump of any other size nothing of the past is true any more.
        let skipped = self.next.map_or(u32::MAX, |next| frame.wrapping_sub(next)) as usize;
        let silent = skipped.min(self.ring.len());
        (0..silent).for_each(|n| self.ring[(frame as usize).wrapping_sub(1 + n) & mask] = 0.0);
        for (n, sample) in played.iter().enumerate() {
            self.ring[(frame as usize).wrapping_add(n) & mask] = *sample;
        }
        self.next = Some(frame.wrapping_add(played.len() as u32));
        for (delay, gain) in &self.taps {
            let late = delay.saturating_sub(played.len());
            for (n, sample) in back.iter_mut().enumerate() {
                *sample += gain * self.ring[(frame as usize).wrapping_add(n).wrapping_sub(late) & mask];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a signal through the line, a period at a time, and returns what came back.
    fn through(line: &mut Line, from: u32, period: usize, signal: &[f32]) -> Vec<f32> {
        let mut back = vec![0.0; signal.len()];
        for (n, (played, back)) in signal.chunks(period).zip(back.chunks_mut(period)).enumerate() {
            line.pass(from.wrapping_add((n * period) as u32), played, back);
        }
        back
    }

    fn click(frames: usize, at: usize) -> Vec<f32> {
        let mut signal = vec![0.0; frames];
        signal[at] = 1.0;
        signal
    }

    #[test]
    fn a_click_returns_at_its_delay_less_jacks_period_whatever_the_period_and_over_the_wrap_of_the_frames() {
        for (period, from) in [(64, 0), (256, u32::MAX - 1_000), (1_024, 77)] {
            let mut line = Line::new(vec![(1_920, 0.5), (2_000, -0.25)]);
            let back = through(&mut line, from, period, &click(8_192, 100));
            let expected = [(2_020 - period, 0.5), (2_100 - period, -0.25)];
            let returned: Vec<(usize, f32)> = back.iter().copied().enumerate().filter(|(_, s)| *s != 0.0).collect();
            assert_eq!(returned, expected, "period {period}");
        }
    }

    #[test]
    fn a_skipped_cycle_is_silence_and_moves_nothing() {
        let mut line = Line::new(vec![(1_000, 1.0)]);
        through(&mut line, 0, 256, &vec![0.5; 512]);
        let back = through(&mut line, 768, 256, &vec![0.0; 1_024]);
        // What was played until 512 returns until 512 + 1,000 - 256, whatever was skipped.
        let last = back.iter().rposition(|s| *s != 0.0).unwrap();
        assert_eq!(768 + last, 511 + 1_000 - 256);
        let back = through(&mut line, 10_000_000, 256, &vec![0.0; 1_024]);
        assert!(back.iter().all(|s| *s == 0.0), "nothing of an older time comes back");
    }

    #[test]
    fn the_return_loss_is_what_was_asked_for_with_a_tail_or_without() {
        for tail in [false, true] {
            let echo = Echo {
                delay_ms: 60.0,
                erl_db: 12.0,
                tail,
            };
            let energy: f32 = echo.taps(48_000).iter().map(|(_, g)| g * g).sum();
            assert!((10.0 * energy.log10() + 12.0).abs() < 0.01, "{energy}");
            assert_eq!(echo.taps(48_000)[0].0, 2_880);
        }
    }
}
