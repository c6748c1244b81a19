//! Where an utterance's samples come from. Most are spoken by a TTS backend; a sound is a file that the shell has found and will decode; a feed is
//! what a client writes while it is heard.
//!
//! Both go the way of every utterance: queue, floor, protection, cancel, report. What differs stands here: they have no backend, so no voice
//! and no syntheses to report; they have no words, so what was heard of their text is estimated by time; positions are those of the file.

use std::path::PathBuf;

use crate::audio::AudioFormat;
use crate::effect::HeardSource;
use crate::ids::Micros;
use crate::request::SynthesisState;
use crate::session::{ORDINARY_CHAR_US, Utterance};
use crate::text;

/// Where the samples of an utterance come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Source {
    /// A backend speaks its text.
    #[default]
    Text,
    /// A file is decoded.
    Sound(Sound),
    /// A client writes its samples.
    Feed(AudioFormat),
}

/// A sound file, found and looked at by the shell.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// Where it is.
    pub path: PathBuf,
    /// How long it is, if it says so.
    pub duration_us: Option<Micros>,
    /// Where it begins to be played.
    pub start_us: Micros,
    /// Begins anew when it ends, until it is cancelled.
    pub looped: bool,
}

impl Source {
    /// A TTS backend speaks it.
    pub(crate) fn is_spoken(&self) -> bool {
        *self == Self::Text
    }

    /// Where its first sample stands in the whole.
    pub(crate) fn start_us(&self) -> Micros {
        match self {
            Self::Text | Self::Feed(_) => 0,
            Self::Sound(sound) => sound.start_us,
        }
    }
}

impl Utterance {
    /// The position up to which it was heard; 0 for one that was not.
    pub(crate) fn position_us(&self) -> Micros {
        if self.played_us == 0 {
            0
        } else {
            self.source.start_us() + self.played_us
        }
    }

    /// What was heard of a sound's text: all of it at its end, else by time.
    pub(crate) fn heard_of_sound(&self, completed: bool) -> (String, HeardSource) {
        if self.text.is_empty() {
            return (String::new(), HeardSource::None);
        }
        if completed {
            return (self.text.clone(), HeardSource::Words);
        }
        let delivered = self.syntheses.iter().any(|s| s.state == SynthesisState::Delivered && !s.failed);
        let known = match &self.source {
            Source::Sound(sound) => sound.duration_us,
            Source::Text | Source::Feed(_) => None,
        };
        let measured = || delivered.then(|| self.source.start_us() + self.total_us);
        // What nobody has said the length of is taken for ordinary speech.
        let ordinary = || (self.text.chars().count() as f64 * ORDINARY_CHAR_US) as Micros;
        let whole_us = known.or_else(measured).unwrap_or_else(ordinary);
        let chars = text::estimated_chars(&self.text, self.position_us(), whole_us);
        match text::prefix(&self.text, chars) {
            "" => (String::new(), HeardSource::None),
            heard => (heard.to_owned(), HeardSource::Estimated),
        }
    }
}
