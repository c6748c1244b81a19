//! `detector-vad`: a plain, cheap detector. A small neural network (earshot, pure Rust) says of every 16 ms whether somebody speaks; it does not
//! ask who, so the agent's own echo interrupts the agent. README.md says where that does no harm.
//!
//! The network hears 16 kHz. 8 kHz is doubled and 48 kHz divided by one short low-pass; its delay is taken off the times that are told.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use utterd_plugin_api::prelude::*;

mod resample;
use resample::Resample;

/// What the network hears at a time, at 16 kHz.
const BLOCK: usize = 256;
/// What can be made into that.
const RATES: [u32; 3] = [8_000, 16_000, 48_000];

/// At 0 speech has a score of 0.8, at 1 one of 0.2.
struct Vad(Sensitivity);

struct Ear {
    network: Box<earshot::Detector>,
    resample: Resample,
    block: [f32; BLOCK],
    filled: usize,
    threshold: f32,
    score: f32,
    edges: Edges,
}

impl Detector for Vad {
    type Config = Sensitivity;
    type Stream = Ear;
    const HARD_RT: bool = true;
    const SCHEMA: &'static str = Sensitivity::SCHEMA;

    fn new(_: Host, _: &str, config: Sensitivity) -> Result<Self> {
        Ok(Self(config))
    }

    fn describe(&self) -> DetectorDescription {
        DetectorDescription {
            rates: RATES.to_vec(),
            clean_delay_ms: 0,
        }
    }

    fn open(&self, stream: &StreamConfig<'_>) -> Result<Ear> {
        let resample = Resample::to_16k(stream.rate).ok_or_else(|| Error::Unsupported(format!("{} Hz", stream.rate)))?;
        let start = if stream.one_stage { 160 } else { 48 };
        Ok(Ear {
            network: earshot::Detector::default_boxed(),
            resample,
            block: [0.0; BLOCK],
            filled: 0,
            threshold: 0.8 - 0.6 * self.0.sensitivity,
            score: 0.0,
            edges: Edges::new(stream.rate, start, 240, 320),
        })
    }
}

impl Listen for Ear {
    fn process(&mut self, frame: Frame<'_>) -> Heard {
        let mut heard = Heard::quiet(self.score);
        let (ai_speaking, length) = (frame.ai_speaking(), self.resample.own_samples(BLOCK));
        for (n, x) in frame.near.iter().enumerate() {
            for y in self.resample.push(*x) {
                // The network wants samples in range.
                self.block[self.filled] = y.clamp(-1.0, 1.0);
                self.filled += 1;
                if self.filled < BLOCK {
                    continue;
                }
                self.filled = 0;
                self.score = self.network.predict_f32(&self.block).clamp(0.0, 1.0);
                // Speech lasts a little longer than it is certain.
                let least = if self.edges.is_speaking() {
                    self.threshold - 0.15
                } else {
                    self.threshold
                };
                let begin = (frame.t + n as u64 + 1).saturating_sub(length + self.resample.delay());
                let told = self.edges.hear_at(begin, length, ai_speaking, self.score >= least, self.score);
                // A frame longer than a block may bring two edges; they go out together, at the time of the first.
                heard = if heard.events == 0 {
                    told
                } else {
                    Heard {
                        events: heard.events | told.events,
                        probability: self.score,
                        ..heard
                    }
                };
            }
        }
        heard
    }

    fn reset(&mut self) {
        self.network.reset();
        self.resample.reset();
        (self.filled, self.score) = (0, 0.0);
        self.edges.reset();
    }
}

export_plugin!("detector-vad", detector: Vad);
