//! Phrases that were synthesised once and are spoken again without a request: what is kept, by which key, and how it is spoken.
//!
//! A phrase is a whole synthesis as its backend gave it (mono samples at the backend's rate, marks over bytes of its text), so that gain,
//! resampling and offsets are applied to it like to a fresh one. Kept under everything that the backend was asked with, but for ids and
//! gain. Bounded in bytes: the phrase that was not used for the longest time goes first, a pinned one never. The list by age is our own,
//! because the crates for it bound a number of entries, or know no pins. Not here: what may be kept (core decides), where it is looked up
//! (schedule.rs), the audio of a phrase that is being played (its utterance's store).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use super::Job;
use super::task::lock;
use crate::plugins::{MarkKind, SpeakEnd, SpeakSink};

/// What one phrase may take of the cache, unless it is pinned.
const SHARE: usize = 4;
/// Samples that are spoken at a time.
const BLOCK: usize = 4_096;

/// What a backend was asked, as far as its speech depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    backend: String,
    voice: String,
    language: String,
    rate: u64,
    pitch: u64,
    params: String,
    text: String,
    last: bool,
}

impl Key {
    pub(super) fn of(job: &Job) -> Self {
        Key {
            backend: job.backend.id().to_owned(),
            voice: job.voice.clone(),
            language: job.language.clone(),
            rate: job.rate.to_bits(),
            pitch: job.pitch.to_bits(),
            params: job.params_json.clone(),
            text: job.text.clone(),
            last: job.last,
        }
    }
}

/// A mark as the backend gave it.
#[derive(Clone, Debug)]
struct Mark {
    kind: MarkKind,
    sample: u64,
    text_off: u32,
    text_len: u32,
    name: String,
}

/// One synthesis.
#[derive(Clone, Debug, Default)]
pub(super) struct Phrase {
    rate: u32,
    samples: Vec<f32>,
    marks: Vec<Mark>,
}

impl Phrase {
    fn bytes(&self) -> usize {
        self.samples.capacity() * size_of::<f32>() + self.marks.len() * (size_of::<Mark>() + 16)
    }

    /// As its backend spoke it. `[worker]`
    pub(super) fn speak(&self, sink: &dyn SpeakSink) -> SpeakEnd {
        for m in &self.marks {
            sink.mark(m.kind, m.sample, m.text_off, m.text_len, &m.name);
        }
        for block in self.samples.chunks(BLOCK) {
            if !sink.write(self.rate, block) {
                return SpeakEnd::Cancelled;
            }
        }
        SpeakEnd::Complete
    }
}

/// What a backend says, written down while it is said; given up when it becomes too long.
#[derive(Debug)]
pub(super) struct Recording {
    phrase: Option<Phrase>,
    limit: usize,
}

impl Recording {
    pub(super) fn write(&mut self, rate: u32, mono: &[f32]) {
        let Some(phrase) = &mut self.phrase else { return };
        if phrase.samples.is_empty() {
            phrase.rate = rate;
        }
        if phrase.bytes() + size_of_val(mono) > self.limit {
            self.phrase = None;
            return;
        }
        phrase.samples.extend_from_slice(mono);
    }

    pub(super) fn mark(&mut self, kind: MarkKind, sample: u64, text_off: u32, text_len: u32, name: &str) {
        let Some(phrase) = &mut self.phrase else { return };
        if phrase.bytes() > self.limit {
            self.phrase = None;
            return;
        }
        phrase.marks.push(Mark {
            kind,
            sample,
            text_off,
            text_len,
            name: name.to_owned(),
        });
    }
}

/// What is in the cache, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheLevel {
    pub phrases: usize,
    pub bytes: usize,
    pub pinned_bytes: usize,
}

/// The phrases. `[any]`
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    limit: usize,
    phrases: HashMap<Key, Entry>,
    /// By last use; pinned ones are not in it.
    by_age: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
    pinned: usize,
}

#[derive(Debug)]
struct Entry {
    phrase: Arc<Phrase>,
    bytes: usize,
    /// When it was used last; none: pinned.
    used: Option<u64>,
}

impl Cache {
    /// 0 = nothing is kept. What is too much goes at once; pins stay.
    pub(super) fn set_limit(&self, bytes: usize) {
        let mut state = lock(&self.0);
        state.limit = bytes;
        state.make_room(0);
    }

    /// For a synthesis that may be kept; none: it may not.
    pub(super) fn record(&self, pin: bool) -> Option<Recording> {
        let state = lock(&self.0);
        let limit = if pin { state.limit } else { state.limit / SHARE };
        (limit > 0).then(|| Recording {
            phrase: Some(Phrase::default()),
            limit,
        })
    }

    /// The phrase, if it is there; from now on it is the youngest.
    pub(super) fn find(&self, key: &Key, pin: bool) -> Option<Arc<Phrase>> {
        let state = &mut *lock(&self.0);
        let entry = state.phrases.get_mut(key)?;
        if let Some(used) = entry.used {
            state.by_age.remove(&used);
            if pin {
                entry.used = None;
                state.pinned += entry.bytes;
            } else {
                state.uses += 1;
                entry.used = Some(state.uses);
                state.by_age.insert(state.uses, key.clone());
            }
        }
        Some(Arc::clone(&entry.phrase))
    }

    /// Keeps what was recorded to its end. False: it was to be pinned, and the pins have filled the cache.
    pub(super) fn keep(&self, key: Key, recording: Recording, pin: bool) -> bool {
        let Some(mut phrase) = recording.phrase.filter(|p| !p.samples.is_empty()) else {
            return !pin;
        };
        phrase.samples.shrink_to_fit();
        let bytes = phrase.bytes() + key.text.len() + size_of::<Entry>() + 2 * size_of::<Key>();
        let state = &mut *lock(&self.0);
        if state.phrases.contains_key(&key) {
            return true;
        }
        if state.pinned + bytes > state.limit || !state.make_room(bytes) {
            return !pin;
        }
        state.uses += 1;
        let used = (!pin).then_some(state.uses);
        match used {
            Some(used) => drop(state.by_age.insert(used, key.clone())),
            None => state.pinned += bytes,
        }
        state.bytes += bytes;
        let phrase = Arc::new(phrase);
        state.phrases.insert(key, Entry { phrase, bytes, used });
        true
    }

    pub(super) fn level(&self) -> CacheLevel {
        let state = lock(&self.0);
        CacheLevel {
            phrases: state.phrases.len(),
            bytes: state.bytes,
            pinned_bytes: state.pinned,
        }
    }
}

impl State {
    fn make_room(&mut self, bytes: usize) -> bool {
        while self.bytes + bytes > self.limit {
            let Some((_, oldest)) = self.by_age.pop_first() else {
                return false;
            };
            if let Some(gone) = self.phrases.remove(&oldest) {
                self.bytes -= gone.bytes;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key {
            backend: "b".into(),
            voice: "v".into(),
            language: String::new(),
            rate: 0,
            pitch: 0,
            params: "{}".into(),
            text: text.into(),
            last: true,
        }
    }

    fn put(cache: &Cache, text: &str, samples: usize, pin: bool) -> bool {
        let mut recording = cache.record(pin).expect("the cache is on");
        recording.write(16_000, &vec![0.1; samples]);
        cache.keep(key(text), recording, pin)
    }

    fn has(cache: &Cache, text: &str) -> bool {
        cache.find(&key(text), false).is_some()
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first() {
        let cache = Cache::default();
        cache.set_limit(40_000);
        for text in ["a", "b", "c", "d"] {
            assert!(put(&cache, text, 2_250, false));
        }
        assert_eq!(cache.level().phrases, 4);
        assert!(has(&cache, "a"), "used: it is the youngest now");
        put(&cache, "e", 2_250, false);
        assert_eq!(["a", "b", "c", "d", "e"].map(|t| has(&cache, t)), [true, false, true, true, true]);
        assert!(cache.level().bytes <= 40_000);
    }

    #[test]
    fn a_pin_is_never_evicted_and_when_pins_fill_the_cache_that_is_said() {
        let cache = Cache::default();
        cache.set_limit(40_000);
        assert!(put(&cache, "pin", 7_000, true));
        for n in 0..50 {
            put(&cache, &n.to_string(), 2_000, false);
            assert!(cache.level().bytes <= 40_000);
        }
        assert!(has(&cache, "pin"));
        assert!(!put(&cache, "too much", 7_000, true));
        assert!(has(&cache, "pin") && !has(&cache, "too much"));
    }

    #[test]
    fn what_is_there_already_can_be_pinned() {
        let cache = Cache::default();
        cache.set_limit(40_000);
        put(&cache, "a", 2_000, false);
        assert!(cache.find(&key("a"), true).is_some());
        for n in 0..50 {
            put(&cache, &n.to_string(), 2_000, false);
        }
        assert!(has(&cache, "a"));
        assert!(cache.level().pinned_bytes > 8_000);
    }

    #[test]
    fn one_phrase_never_takes_more_than_its_share() {
        let cache = Cache::default();
        cache.set_limit(40_000);
        assert!(put(&cache, "long", 5_000, false), "that an ordinary one is not kept is no news");
        assert!(!has(&cache, "long"));
        assert_eq!(cache.level(), CacheLevel::default());
    }

    #[test]
    fn a_limit_of_0_keeps_nothing_and_a_smaller_one_drops_at_once() {
        let cache = Cache::default();
        assert!(cache.record(false).is_none() && cache.record(true).is_none());
        cache.set_limit(40_000);
        put(&cache, "a", 2_000, false);
        cache.set_limit(0);
        assert_eq!(cache.level(), CacheLevel::default());
    }
}
