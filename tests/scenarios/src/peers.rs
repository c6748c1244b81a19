//! The yardsticks: voice detectors that know nothing of the agent, on the microphone's signal. Their first word cancels.

use crate::make::Scenario;
use crate::score::Act;
use crate::signal::halve;
use webrtc_vad::{SampleRate, Vad, VadMode};

/// webrtc-vad at its most aggressive, on 8 kHz; speech is `run` frames of 10 ms in a row, and over after 30 without.
pub fn webrtc(s: &Scenario, run: usize) -> Vec<(f32, Act)> {
    let near = narrow(s);
    let mut vad = Vad::new_with_rate_and_mode(SampleRate::Rate8kHz, VadMode::VeryAggressive);
    edges(
        near.chunks_exact(80).map(|f| {
            let frame: Vec<i16> = f.iter().map(|s| (s * 32_767.0) as i16).collect();
            vad.is_voice_segment(&frame).unwrap_or(false)
        }),
        10.0,
        run,
    )
}

/// earshot, the VAD that most resembles those of voice frameworks; speech is `run` frames of 16 ms in a row.
pub fn earshot(s: &Scenario, run: usize) -> Vec<(f32, Act)> {
    let near = match s.rate {
        8_000 => s.near.iter().flat_map(|s| [*s, *s]).collect(),
        16_000 => s.near.clone(),
        _ => s.near.iter().copied().step_by(3).collect::<Vec<f32>>(),
    };
    let mut vad = earshot::Detector::default_boxed();
    edges(near.chunks_exact(256).map(|f| vad.predict_f32(f) > 0.5), 16.0, run)
}

fn narrow(s: &Scenario) -> Vec<f32> {
    match s.rate {
        8_000 => s.near.clone(),
        16_000 => halve(&s.near),
        _ => s.near.chunks_exact(6).map(|c| c.iter().sum::<f32>() / 6.0).collect(),
    }
}

fn edges(speech: impl Iterator<Item = bool>, frame_ms: f32, run: usize) -> Vec<(f32, Act)> {
    let (mut acts, mut voiced, mut quiet, mut speaking) = (Vec::new(), 0, 0, false);
    for (n, is_speech) in speech.enumerate() {
        if is_speech {
            voiced += 1;
            quiet = 0;
        } else {
            voiced = 0;
            quiet += 1;
        }
        if !speaking && voiced >= run {
            speaking = true;
            acts.push(((n + 1) as f32 * frame_ms, Act::Cancel));
        }
        if speaking && quiet as f32 * frame_ms > 300.0 {
            speaking = false;
        }
    }
    acts
}
