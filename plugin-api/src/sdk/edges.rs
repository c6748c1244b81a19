//! From "speech or not" to the edges of the ABI, for detectors that judge frame by frame.

use super::{Event, Frame, Heard};

/// Turns a judgement of each frame into edges: speech begins after `start_ms` of it, is certain after `confirm_ms` of it while the agent speaks,
/// and ends after `silence_ms` without any. Allocates nothing.
#[derive(Debug, Clone)]
pub struct Edges {
    start: u64,
    confirm: u64,
    silence: u64,
    /// Speech heard, in samples; while it has not begun, less what was not.
    heard: u64,
    onset: u64,
    last: u64,
    speaking: bool,
    sure: bool,
}

impl Edges {
    /// For a stream at `rate`.
    pub fn new(rate: u32, start_ms: u32, confirm_ms: u32, silence_ms: u32) -> Self {
        let samples = |ms: u32| u64::from(ms) * u64::from(rate) / 1000;
        Self {
            start: samples(start_ms),
            confirm: samples(confirm_ms),
            silence: samples(silence_ms).max(1),
            heard: 0,
            onset: 0,
            last: 0,
            speaking: false,
            sure: false,
        }
    }

    /// Whether speech has begun and not ended.
    pub fn is_speaking(&self) -> bool {
        self.speaking
    }

    /// Nobody has spoken yet.
    pub fn reset(&mut self) {
        (self.heard, self.speaking, self.sure) = (0, false, false);
    }

    /// Judges `frame`, in which somebody speaks or not. At most one edge a frame, or a beginning that is certain at once.
    pub fn hear(&mut self, frame: &Frame<'_>, is_speech: bool, probability: f32) -> Heard {
        self.hear_at(frame.t, frame.near.len() as u64, frame.ai_speaking(), is_speech, probability)
    }

    /// The same for `n` samples that begin at `t`, for detectors whose blocks are not the host's frames.
    pub fn hear_at(&mut self, t: u64, n: u64, ai_speaking: bool, is_speech: bool, probability: f32) -> Heard {
        let event = |event, at| Heard::event(event, at, probability, probability);
        if is_speech {
            if self.heard == 0 && !self.speaking {
                self.onset = t;
            }
            self.last = t + n;
            self.heard += if self.speaking && !ai_speaking { 0 } else { n };
        }
        if !self.speaking {
            if !is_speech {
                self.heard = self.heard.saturating_sub(n);
            } else if self.heard >= self.start {
                self.speaking = true;
                self.sure = ai_speaking && self.heard >= self.confirm;
                let start = event(Event::SpeechStart, self.onset);
                return if self.sure { start.and(Event::BargeIn) } else { start };
            }
        } else if !is_speech && t + n >= self.last + self.silence {
            self.reset();
            return event(Event::SpeechEnd, self.last);
        } else if is_speech && ai_speaking && !self.sure && self.heard >= self.confirm {
            self.sure = true;
            return event(Event::BargeIn, self.onset);
        }
        Heard::quiet(probability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::*;

    /// The events of frames of 10 ms at 1 kHz, with the frame and the place they name.
    fn events(speech: &str, ai_speaking: bool) -> Vec<(usize, u32, u64)> {
        let mut edges = Edges::new(1000, 30, 60, 40);
        let heard = speech
            .bytes()
            .enumerate()
            .map(|(n, c)| (n, edges.hear_at(n as u64 * 10, 10, ai_speaking, c == b'#', 0.5)));
        heard.filter(|(_, h)| h.events != 0).map(|(n, h)| (n, h.events, h.at)).collect()
    }

    #[test]
    fn speech_begins_is_certain_and_ends_where_it_ended() {
        let expected = [(5, UT_EV_SPEECH_START, 30), (8, UT_EV_BARGE_IN, 30), (15, UT_EV_SPEECH_END, 120)];
        assert_eq!(events("...######.##....", true), expected);
    }

    #[test]
    fn without_the_agent_speaking_there_is_nothing_to_interrupt() {
        let kinds: Vec<u32> = events("...############.....", false).iter().map(|e| e.1).collect();
        assert_eq!(kinds, [UT_EV_SPEECH_START, UT_EV_SPEECH_END]);
    }

    #[test]
    fn a_click_is_nothing_and_a_gap_does_not_begin_anew() {
        assert_eq!(events("..#...##....#..", true), []);
        assert_eq!(events("..##.##..", true), [(6, UT_EV_SPEECH_START, 20)]);
    }
}
