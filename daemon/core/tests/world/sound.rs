//! What is stored and what is heard: stores fill, tracks advance in virtual time, and facts about both come back as playback events.
//!
//! Positions are exact, because the world never advances beyond the next thing that happens. Here stands the proof of I15: over every
//! stretch of time at most one track of the shared loudspeaker sounds, ramps included.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use utterd_core::{Micros, PlaybackEvent, TrackId, UtteranceId};

/// What is in the ring when the feeder has no more.
const RING_US: Micros = 150_000;

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) available_us: Micros,
    pub(crate) complete: bool,
    pub(crate) pos_us: Micros,
    pub(crate) cut: bool,
    pub(crate) ended: bool,
    /// A piece failed without a sample, and another backend may speak it.
    pub(crate) owed: bool,
    /// No piece follows.
    pub(crate) closing: bool,
    /// Between two pieces, and the next is not known.
    pub(crate) resting: bool,
    dry_told: bool,
    started: bool,
    above: bool,
    /// Onset, is a word, code points.
    pub(crate) marks: Vec<(Micros, bool, Range<u32>)>,
    marks_told: usize,
    /// Where somebody wants to be told, in order.
    watched: VecDeque<Micros>,
}

impl Store {
    pub(crate) fn ahead_us(&self) -> Micros {
        self.available_us - self.pos_us
    }

    /// Code points that marks up to this position prove.
    pub(crate) fn words_until(&self, pos_us: Micros) -> u32 {
        let heard = self.marks.iter().filter(|m| self.started && m.1 && m.0 <= pos_us);
        heard.map(|m| m.2.end).max().unwrap_or(0)
    }
}

#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) queue: VecDeque<UtteranceId>,
    /// On the loudspeaker that sessions share.
    pub(crate) shared: bool,
    pub(crate) local: bool,
    pub(crate) paused: bool,
    /// A pause's ramp sounds until then.
    pub(crate) fading_until: Micros,
    hungry_told: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Sound {
    pub(crate) tracks: BTreeMap<TrackId, Track>,
    pub(crate) stores: BTreeMap<UtteranceId, Store>,
    /// The audio server is away: the loudspeaker's tracks hold their position and answer nothing.
    pub(crate) away: bool,
    pub(crate) look_ahead_us: Micros,
    pub(crate) now: Micros,
}

impl Sound {
    pub(crate) fn open(&mut self, track: TrackId, local: bool, paused: bool) {
        let fresh = Track {
            queue: VecDeque::new(),
            shared: false,
            local,
            paused,
            fading_until: 0,
            hungry_told: false,
        };
        assert!(self.tracks.insert(track, fresh).is_none(), "track {track} was opened twice");
    }

    pub(crate) fn close(&mut self, track: TrackId) {
        let track = self.tracks.remove(&track).expect("an unknown track was closed");
        for utterance in track.queue {
            let cut = self.stores.get(&utterance).is_some_and(|s| s.cut);
            assert!(cut, "a track was closed under utterance {utterance}");
        }
    }

    pub(crate) fn play(&mut self, track: TrackId, utterance: UtteranceId, shared: bool) {
        self.stores.entry(utterance).or_default();
        let track = self.track(track);
        track.shared = shared;
        track.queue.push_back(utterance);
        track.hungry_told = false;
    }

    pub(crate) fn watch(&mut self, utterance: UtteranceId, at_us: Micros) {
        self.stores.entry(utterance).or_default().watched.push_back(at_us);
    }

    pub(crate) fn pause(&mut self, track: TrackId, until: Micros) {
        let sounding = self.sounds(&self.tracks[&track]);
        let now = self.now;
        let track = self.track(track);
        assert!(!track.paused, "paused twice");
        track.paused = true;
        track.fading_until = if sounding { until } else { now };
    }

    pub(crate) fn resume(&mut self, track: TrackId) {
        let track = self.track(track);
        assert!(track.paused, "resumed what was not paused");
        track.paused = false;
        track.fading_until = 0;
    }

    fn track(&mut self, track: TrackId) -> &mut Track {
        self.tracks.get_mut(&track).expect("an effect names an unknown track")
    }

    /// It is heard right now, so that a cut needs a ramp.
    pub(crate) fn is_sounding(&self, utterance: UtteranceId) -> bool {
        self.tracks.values().any(|t| t.queue.front() == Some(&utterance) && self.sounds(t))
    }

    /// Takes it off wherever it is; what it has played stays known.
    pub(crate) fn drop_from_track(&mut self, utterance: UtteranceId) -> Micros {
        for track in self.tracks.values_mut() {
            if track.queue.front() == Some(&utterance) && track.paused {
                track.fading_until = 0;
            }
            track.queue.retain(|u| *u != utterance);
        }
        let store = self.stores.entry(utterance).or_default();
        store.cut = true;
        store.pos_us
    }

    fn runs(&self, track: &Track) -> bool {
        !(track.paused || self.away && track.local)
    }

    fn sounds(&self, track: &Track) -> bool {
        if self.away && track.local {
            return false;
        }
        if track.paused {
            return track.fading_until > self.now;
        }
        track.queue.front().is_some_and(|u| self.stores[u].ahead_us() > 0)
    }

    /// When something happens by itself.
    pub(crate) fn next(&self) -> Option<Micros> {
        let mut next: Option<Micros> = None;
        let mut at = |after: Micros| {
            if after > 0 {
                next = Some(next.map_or(self.now + after, |n| n.min(self.now + after)));
            }
        };
        for track in self.tracks.values() {
            if track.fading_until > self.now {
                at(track.fading_until - self.now);
            }
            let Some(store) = track.queue.front().map(|u| &self.stores[u]) else {
                continue;
            };
            if !self.runs(track) {
                continue;
            }
            at(store.ahead_us());
            at(store.ahead_us().saturating_sub(RING_US));
            if store.above && store.ahead_us() >= self.look_ahead_us {
                at(store.ahead_us() - self.look_ahead_us + 1);
            }
            if let Some(watched) = store.watched.front() {
                at(watched.saturating_sub(store.pos_us).min(store.ahead_us()));
            }
            if let Some(mark) = store.marks.get(store.marks_told) {
                at(mark.0.saturating_sub(store.pos_us).min(store.ahead_us()));
            }
        }
        next
    }

    /// Lets time pass; nothing may happen before `to`.
    pub(crate) fn advance(&mut self, to: Micros, orderly: bool) {
        let dt = to - self.now;
        if dt > 0 && orderly {
            let heard: Vec<_> = self
                .tracks
                .iter()
                .filter(|(_, t)| t.shared && t.local && self.sounds(t))
                .map(|(id, t)| (*id, t.queue.front().copied()))
                .collect();
            assert!(heard.len() <= 1, "I15: heard at once: {heard:?}");
        }
        let running: Vec<_> = self
            .tracks
            .values()
            .filter(|t| self.runs(t))
            .filter_map(|t| t.queue.front().copied())
            .collect();
        for utterance in running {
            if let Some(store) = self.stores.get_mut(&utterance) {
                store.pos_us += dt.min(store.ahead_us());
            }
        }
        self.now = to;
    }

    /// What is true now and was not told yet.
    pub(crate) fn facts(&mut self) -> Vec<PlaybackEvent> {
        let mut facts = Vec::new();
        let away = self.away;
        for (id, track) in &mut self.tracks {
            while let Some(utterance) = track.queue.front().copied() {
                let Some(store) = self.stores.get_mut(&utterance) else {
                    break;
                };
                let runs = !(track.paused || away && track.local);
                if runs && !store.started && store.available_us > 0 {
                    store.started = true;
                    facts.push(PlaybackEvent::Started { utterance });
                }
                while store.started
                    && let Some((onset_us, word, chars)) = store.marks.get(store.marks_told)
                    && *onset_us <= store.pos_us
                {
                    facts.push(PlaybackEvent::Mark {
                        utterance,
                        word: *word,
                        onset_us: *onset_us,
                        chars: chars.clone(),
                    });
                    store.marks_told += 1;
                }
                while store.started
                    && let Some(at) = store.watched.front().copied()
                    && at <= store.pos_us
                {
                    store.watched.pop_front();
                    facts.push(PlaybackEvent::Mark {
                        utterance,
                        word: false,
                        onset_us: at,
                        chars: 0..0,
                    });
                }
                if store.above && store.ahead_us() < self.look_ahead_us {
                    facts.push(PlaybackEvent::Low { utterance });
                }
                store.above = store.ahead_us() >= self.look_ahead_us;
                let dry = store.started && store.resting && !store.complete && store.ahead_us() == 0;
                if dry && !store.dry_told {
                    facts.push(PlaybackEvent::Dry {
                        utterance,
                        played_us: store.pos_us,
                    });
                }
                store.dry_told = dry;
                let done = runs && store.complete && store.ahead_us() == 0;
                if !done || store.cut {
                    break;
                }
                store.ended = true;
                facts.push(PlaybackEvent::Ended {
                    utterance,
                    played_us: store.pos_us,
                });
                track.queue.pop_front();
            }
            let left: Option<Micros> = track
                .queue
                .iter()
                .map(|u| self.stores.get(u).filter(|s| s.complete).map(Store::ahead_us))
                .sum();
            if !track.queue.is_empty() && !track.hungry_told && left.is_some_and(|left| left <= RING_US) {
                track.hungry_told = true;
                facts.push(PlaybackEvent::Hungry { track: *id });
            }
        }
        facts
    }
}
