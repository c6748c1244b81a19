//! The ranges of the keys that also come as options over D-Bus, so that both doors let the same values in.

use std::ops::RangeInclusive;

/// Speed of speech, 1.0 = the voice's normal one.
pub const RATE: RangeInclusive<f64> = 0.1..=10.0;
/// Pitch of speech, 1.0 = the voice's normal one.
pub const PITCH: RangeInclusive<f64> = 0.1..=10.0;
/// Gain in decibels.
pub const GAIN_DB: RangeInclusive<f64> = -120.0..=24.0;
/// Length of a fade in milliseconds.
pub const FADE_MS: RangeInclusive<u32> = 0..=50;
/// How long an utterance may be protected, in milliseconds of its own audio.
pub const PROTECT_MS: RangeInclusive<u32> = 0..=60_000;
/// When a suspicion that nothing confirms is taken back, in milliseconds.
pub const FALSE_INTERRUPTION_MS: RangeInclusive<u32> = 100..=60_000;
