//! `detector-bargein`, the shipped detector: hears the user through the agent's own echo, suspects at once and is sure soon after.
//!
//! The way of a sample: `engine` cuts blocks of 10 ms, `canceller` takes the echo away, `features` looks at what is left and at what
//! was taken, `network` (trained, see `training/`) says how likely speech is, `decide` makes events of it. One stream allocates all
//! it needs when it is opened; `process` allocates, locks and waits for nothing. README.md has the measurements. Not here: when to
//! pause or to cancel, which is the daemon's policy.

mod bands;
mod canceller;
mod context;
mod decide;
mod engine;
mod features;
mod fourier;
mod network;
mod pitch;
mod product;
mod rates;
mod silero;
mod trace;

use decide::{Decision, Edge, Thresholds};
use engine::Engine;
use features::level;
use utterd_plugin_api::prelude::*;

const RATES: [u32; 3] = [8_000, 16_000, 48_000];

struct BargeIn(Sensitivity);

struct Ear {
    engine: Engine,
    decision: Decision,
    block: u64,
    probability: f32,
}

impl Detector for BargeIn {
    type Config = Sensitivity;
    type Stream = Ear;
    const HARD_RT: bool = true;
    const CLEANS: bool = true;
    const SCHEMA: &'static str = Sensitivity::SCHEMA;

    fn new(_: Host, _: &str, config: Sensitivity) -> Result<Self> {
        Ok(Self(config))
    }

    fn describe(&self) -> DetectorDescription {
        DetectorDescription {
            rates: RATES.to_vec(),
            // At 48 kHz the filters between the rates take 45 samples, at the others nothing.
            clean_delay_ms: 1,
        }
    }

    fn open(&self, stream: &StreamConfig<'_>) -> Result<Ear> {
        if !RATES.contains(&stream.rate) {
            return Err(Error::Unsupported(format!("{} Hz: it hears 8000, 16000 and 48000", stream.rate)));
        }
        Ok(Ear {
            engine: Engine::new(stream.rate),
            decision: Decision::new(Thresholds::new(self.0.sensitivity, stream.one_stage)),
            block: u64::from(stream.rate / 100),
            probability: 0.0,
        })
    }
}

impl Listen for Ear {
    fn process(&mut self, frame: Frame<'_>) -> Heard {
        let Ear {
            engine,
            decision,
            block,
            probability,
        } = self;
        let clean = (!frame.clean.is_empty()).then_some(frame.clean);
        let mut events = 0;
        let (mut at, mut confidence) = (frame.t, 0.0);
        engine.feed(frame.near, frame.far, clean, |taken, p, features| {
            *probability = p[0];
            decision.level(level(features));
            let Some(edge) = decision.feed(p) else { return };
            let now = frame.t + taken as u64;
            let since = |frames: u32| now.saturating_sub(u64::from(frames) * *block);
            let (event, when, sure) = match edge {
                Edge::Start(frames) => (Event::SpeechStart, since(frames), p[0]),
                Edge::BargeIn(frames) => (Event::BargeIn, since(frames), p[1]),
                Edge::Assent => (Event::Backchannel, now, p[2]),
                Edge::End => (Event::SpeechEnd, since(decision.gone()), 1.0 - p[0]),
            };
            // A frame of several blocks may bring two edges; they go out together, at the time of the first.
            if events == 0 {
                at = when;
                confidence = sure;
            }
            events |= event as u32;
            if edge == Edge::Assent {
                events |= Event::SpeechEnd as u32;
            }
        });
        Heard {
            probability: *probability,
            confidence,
            events,
            at,
            value: 0,
        }
    }

    fn reset(&mut self) {
        self.engine.reset();
        self.decision.reset();
        self.probability = 0.0;
    }
}

export_plugin!("detector-bargein", detector: BargeIn);

#[doc(hidden)]
pub mod training {
    //! What `training/` and the bench need besides: the features and the raw probabilities. No part of the plugin's interface.
    pub use crate::decide::{Decision, Edge, Level, Thresholds};
    pub use crate::features::{FEATURES, level};

    /// One stream.
    pub struct Probe(crate::engine::Engine);

    impl Probe {
        /// 8, 16 or 48 kHz.
        pub fn new(rate: u32) -> Probe {
            Probe(crate::engine::Engine::new(rate))
        }

        /// Weights to be tried instead of those shipped.
        pub fn try_model(&mut self, model: &[u8]) {
            self.0.try_model(model);
        }

        /// Calls `frame` every 10 ms with the features and the three probabilities.
        pub fn feed(
            &mut self,
            near: &[f32],
            far: Option<&[f32]>,
            clean: Option<&mut [f32]>,
            mut frame: impl FnMut(&[f32; FEATURES], [f32; 3]),
        ) {
            self.0
                .feed(near, far, clean, |_, probabilities, features| frame(features, probabilities));
        }
    }
}
