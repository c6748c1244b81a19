//! Sound files for the scenarios, in a folder of their own that the daemon is told of.

use crate::daemon::Plan;
use crate::tempdir::TempDir;
use crate::tone;
use std::path::PathBuf;

/// A folder below which Play may play.
pub struct Sounds {
    dir: TempDir,
}

impl Default for Sounds {
    fn default() -> Self {
        Self::new()
    }
}

impl Sounds {
    pub fn new() -> Sounds {
        let dir = TempDir::new("sounds");
        std::fs::create_dir(dir.join("inner")).unwrap();
        Sounds { dir }
    }

    /// A daemon that knows this folder.
    pub fn plan(&self) -> Plan {
        Plan {
            config: format!("[sounds]\ndirs = [{:?}]\n", self.dir.join("inner")),
            ..Plan::default()
        }
    }

    /// A path in the folder, whether or not anything is there.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join("inner").join(name)
    }

    /// A path beside the folder.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Floats, exact.
    pub fn floats(&self, name: &str, rate: u32, samples: impl IntoIterator<Item = f32>) -> String {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: rate,
            bits_per_sample: 32,
            sample_format: hound::SampleFormat::Float,
        };
        self.write(name, spec, samples)
    }

    /// Frames of the code that `tone::runs` reads back, as if utterance `voice` had been spoken by tts-tone.
    pub fn coded(&self, name: &str, voice: u64, frames: u64) -> String {
        self.floats(name, 48_000, (0..frames).map(|n| tone::encode(voice, n)))
    }

    /// A sine of 16 bits.
    pub fn sine(&self, name: &str, rate: u32, hertz: f64, frames: usize) -> String {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let sample = |n: usize| ((std::f64::consts::TAU * hertz * n as f64 / f64::from(rate)).sin() * 16_000.0) as i16;
        self.write(name, spec, (0..frames).map(sample))
    }

    fn write<S: hound::Sample>(&self, name: &str, spec: hound::WavSpec, samples: impl IntoIterator<Item = S>) -> String {
        let path = self.path(name);
        let mut writer = hound::WavWriter::create(&path, spec).unwrap();
        for sample in samples {
            writer.write_sample(sample).unwrap();
        }
        writer.finalize().unwrap();
        path.to_str().unwrap().to_owned()
    }
}
