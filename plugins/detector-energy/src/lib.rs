//! `detector-energy`: the smallest example of a detector, and no more. Somebody speaks when the near end is louder than its own noise and than
//! the echo that the far end can explain. README.md says what that is good for.

use utterd_plugin_api::prelude::*;

/// At 0 speech is 14 dB above noise and echo, at 1 it is 2 dB.
struct Energy(Sensitivity);

struct Ear {
    rate: f32,
    margin: f32,
    /// Powers: of the noise, and of what was played in the last moments.
    noise: f32,
    played: f32,
    /// How much of what was played comes back, as a factor of power.
    echo: f32,
    edges: Edges,
}

impl Detector for Energy {
    type Config = Sensitivity;
    type Stream = Ear;
    const HARD_RT: bool = true;
    const SCHEMA: &'static str = Sensitivity::SCHEMA;

    fn new(_: Host, _: &str, config: Sensitivity) -> Result<Self> {
        Ok(Self(config))
    }

    fn open(&self, stream: &StreamConfig<'_>) -> Result<Ear> {
        let start = if stream.one_stage { 160 } else { 40 };
        let mut ear = Ear {
            rate: stream.rate as f32,
            margin: power(14.0 - 12.0 * self.0.sensitivity),
            noise: 0.0,
            played: 0.0,
            echo: 0.0,
            edges: Edges::new(stream.rate, start, 240, 300),
        };
        ear.reset();
        Ok(ear)
    }
}

impl Listen for Ear {
    fn process(&mut self, frame: Frame<'_>) -> Heard {
        let seconds = frame.near.len() as f32 / self.rate;
        let near = mean_square(frame.near);
        // An echo is late and rings: what was played fades from memory by 40 dB a second.
        self.played = mean_square(frame.far.unwrap_or(&[])).max(self.played * power(-40.0 * seconds));
        // Noise is what is always there: it falls at once and rises by 2 dB a second.
        self.noise = near.max(1e-9).min(self.noise * power(2.0 * seconds));
        let expected = self.noise + self.played * self.echo;
        let is_speech = near > self.margin * expected;
        if self.played > 1e-5 && !self.edges.is_speaking() {
            // The echo path is learnt while nobody else is heard, sooner up than down.
            let step = if near > self.played * self.echo { 12.0 } else { -6.0 };
            self.echo = (self.echo * power(step * seconds)).clamp(1e-5, 10.0);
        }
        self.edges.hear(&frame, is_speech, near / (near + self.margin * expected))
    }

    fn reset(&mut self) {
        (self.noise, self.played, self.echo) = (1.0, 0.0, 1.0);
        self.edges.reset();
    }
}

fn mean_square(samples: &[f32]) -> f32 {
    samples.iter().map(|x| x * x).sum::<f32>() / samples.len().max(1) as f32
}

fn power(db: f32) -> f32 {
    10f32.powf(db / 10.0)
}

export_plugin!("detector-energy", detector: Energy);
