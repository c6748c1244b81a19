//! Phrases of the configuration that are synthesised when the daemon starts, so that the first caller hears them at once.
//!
//! Each is divided as a Say of it would be, so that its pieces are what a Say asks the cache for. A piece that fails is tried again, ever
//! later, until it succeeds: the server may start after us. Not here: what is kept, and where (the shell's cache).

use std::collections::BTreeMap;

use crate::Core;
use crate::effect::{Effect, Prime};
use crate::ids::{Micros, SynthesisId};
use crate::note::Note;
use crate::options::SayOptions;
use crate::request::SynthesisEvent;
use crate::text;
use crate::timer::Timer;

/// Tried again after this time at first, and at last.
const AGAIN_US: Micros = 1_000_000;
const AGAIN_MAX_US: Micros = 60_000_000;

/// What of the configured phrases is under way.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    pins: Vec<Pinned>,
    asked: BTreeMap<SynthesisId, (usize, bool)>,
}

#[derive(Debug)]
struct Pinned {
    pin: crate::Pin,
    /// Bytes of its text that are done.
    done: usize,
    tries: u32,
}

impl Core {
    pub(crate) fn prime_all(&mut self) {
        if self.settings.cache_chars == 0 {
            return;
        }
        let pinned = |pin: &crate::Pin| Pinned {
            pin: pin.clone(),
            done: 0,
            tries: 0,
        };
        self.pins.pins = self.settings.pins.iter().map(pinned).collect();
        for pin in 0..self.pins.pins.len() {
            self.prime(pin);
        }
    }

    /// Asks for the next piece of a phrase.
    pub(crate) fn prime(&mut self, pin: usize) {
        let Some(p) = self.pins.pins.get(pin) else {
            return;
        };
        let text = |t: &String| (!t.is_empty()).then(|| t.clone());
        let named = SayOptions {
            backend: text(&p.pin.backend),
            voice: text(&p.pin.voice),
            language: text(&p.pin.language),
            ..SayOptions::default()
        };
        let options = named.or(&self.settings.say);
        let speaker = match self.speaker(&options) {
            Ok(speaker) => speaker,
            Err(error) => {
                // Backends do not appear while we run: nothing to wait for.
                let (text, error) = (p.pin.text.clone(), Some(error.message));
                self.out.push(Effect::Note(Note::Primed { text, error }));
                return;
            }
        };
        let pieces = if speaker.concurrent {
            vec![text::whole(&p.pin.text)]
        } else {
            text::requests(&p.pin.text)
        };
        let Some(piece) = pieces.iter().find(|piece| piece.bytes.start >= p.done) else {
            return;
        };
        let synthesis = self.synthesis_ids.next();
        let last = piece.bytes.end == p.pin.text.len();
        self.pins.asked.insert(synthesis, (pin, last));
        self.out.push(Effect::Prime(Prime {
            synthesis,
            backend: speaker.backend,
            voice: speaker.voice,
            language: options.language.unwrap_or_default(),
            rate: options.rate.unwrap_or(1.0),
            pitch: options.pitch.unwrap_or(1.0),
            text: p.pin.text[piece.bytes.clone()].to_owned(),
            last,
        }));
        if let Some(p) = self.pins.pins.get_mut(pin) {
            p.done = piece.bytes.start;
        }
    }

    /// True if the synthesis was one of these.
    pub(crate) fn primed(&mut self, synthesis: SynthesisId, event: &SynthesisEvent) -> bool {
        let Some((pin, last)) = self.pins.asked.get(&synthesis).copied() else {
            return false;
        };
        let Some(p) = self.pins.pins.get_mut(pin) else {
            return true;
        };
        let text = p.pin.text.clone();
        match event {
            SynthesisEvent::Delivered { .. } => {
                self.pins.asked.remove(&synthesis);
                p.tries = 0;
                if last {
                    self.out.push(Effect::Note(Note::Primed { text, error: None }));
                } else {
                    // Pieces are without gaps: the next one begins behind this one's first byte.
                    p.done += 1;
                    self.prime(pin);
                }
            }
            SynthesisEvent::Failed { error, .. } => {
                self.pins.asked.remove(&synthesis);
                p.tries += 1;
                let after = AGAIN_US.saturating_mul(1 << p.tries.min(16) >> 1).min(AGAIN_MAX_US);
                self.arm(after, Timer::Prime(pin));
                let error = Some(error.message.clone());
                self.out.push(Effect::Note(Note::Primed { text, error }));
            }
            _ => {}
        }
        true
    }
}
