//! Backends that can be slow, fail, never answer, or answer after they were cancelled, on request.

use utterd_core::{
    Backend, CacheUse, ErrorKind, Failure, Fault, Input, Micros, Source, Synthesis, SynthesisEvent, SynthesisId, SynthesisState, Told,
    UtteranceId, Voice,
};

use super::{Event, S, World};

/// A code point takes this long to say.
pub(crate) const CHAR_US: Micros = 50_000;
/// What a client writes, in this world.
pub(crate) const FEED_US: Micros = 3 * S;
/// What is looped, in this world.
pub(crate) const LOOP_US: Micros = 60 * S;
/// A synthesis brings its audio in this many parts.
const PARTS: u64 = 4;

/// What a synthesis will come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Fate {
    #[default]
    Speaks,
    /// An error before the first sample.
    FailsAtOnce,
    /// An error when half of it was there.
    FailsHalfWay,
    /// Asked, and silent for ever.
    NeverAnswers,
    /// Silent for ever after half of it.
    Stalls,
    /// It says what is wrong with the request.
    Refuses,
    /// It names a time at which to come again.
    Busy,
    /// The cache has it.
    Cached,
    /// Goes on delivering after it was cancelled.
    IgnoresCancel,
    /// Does not even say that it was told.
    NeverTold,
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) order: Synthesis,
    pub(crate) state: SynthesisState,
    fate: Fate,
    cancelled: bool,
    /// It was given up, and told so.
    given_up: bool,
    over: bool,
    pub(crate) brought_us: Micros,
}

/// "smooth" streams whole texts and times words; "pieces" takes a sentence at a time and times nothing.
pub(crate) fn backends() -> Vec<Backend> {
    let backend = |id: &str, concurrent, word_timing| Backend {
        id: id.into(),
        voices: vec![Voice {
            id: "tone".into(),
            languages: vec!["en".into()],
            cacheable: true,
        }],
        default_voice: "tone".into(),
        concurrent,
        word_timing,
    };
    vec![
        backend("smooth", true, true),
        backend("pieces", false, false),
        backend("timed-pieces", false, true),
        backend("plain", true, false),
    ]
}

impl World {
    pub(crate) fn synthesize(&mut self, order: Synthesis) {
        let scripted = self.fates.pop_front();
        let mut fate = scripted.unwrap_or_else(|| self.random_fate());
        // A client that neither writes nor closes is waited for without end, and no time-out helps.
        let endless = scripted.is_none() && matches!(order.source, Source::Feed(_)) && matches!(fate, Fate::NeverAnswers | Fate::Stalls);
        if endless || (fate == Fate::Cached && order.cache == CacheUse::No) {
            fate = Fate::Speaks;
        }
        let id = order.synthesis;
        let store = self.sound.stores.entry(order.utterance).or_default();
        store.resting = false;
        // What follows a failure takes its place: it knows itself whether it is the last.
        if std::mem::take(&mut store.owed) {
            store.closing = false;
        }
        let job = Job {
            order,
            state: SynthesisState::Queued,
            fate,
            cancelled: false,
            given_up: false,
            over: false,
            brought_us: 0,
        };
        self.jobs.insert(id, job);
        let after = self.chance(self.plan.request_us);
        self.later(after, Event::Work(id, 0));
    }

    /// No piece follows those that were asked for.
    pub(crate) fn close_store(&mut self, utterance: UtteranceId) {
        let busy = self.jobs.values().any(|j| j.order.utterance == utterance && !j.over);
        let store = self.sound.stores.entry(utterance).or_default();
        store.closing = true;
        store.complete |= !busy && !store.owed;
    }

    /// Nobody speaks the rest.
    pub(crate) fn end_store(&mut self, utterance: UtteranceId) {
        self.sound.stores.entry(utterance).or_default().complete = true;
    }

    /// A synthesis has been silent for too long, if it still is.
    pub(crate) fn give_up(&mut self, id: SynthesisId, brought_us: Micros) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.over || job.cancelled || job.brought_us != brought_us || job.state == SynthesisState::Queued {
            return;
        }
        job.given_up = true;
        let fault = Fault::Silent { told: Told::Told };
        self.fails(id, ErrorKind::BackendUnavailable, fault);
    }

    /// A synthesis ends with an error. One that brought nothing leaves its store open for another backend's.
    fn fails(&mut self, id: SynthesisId, kind: ErrorKind, fault: Fault) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.over = true;
        let (audio_us, utterance) = (job.brought_us, job.order.utterance);
        let owed = job.order.retry && audio_us == 0;
        let store = self.sound.stores.entry(utterance).or_default();
        store.owed = owed;
        store.complete |= !owed;
        if audio_us == 0 {
            self.book.silent.insert(id);
        }
        let error = Failure::new(kind, "out of order");
        self.synthesis_tells(id, SynthesisEvent::Failed { error, audio_us, fault });
    }

    fn random_fate(&mut self) -> Fate {
        if !self.rng.percent(self.plan.misfortune) {
            return Fate::Speaks;
        }
        let known = [
            Fate::FailsAtOnce,
            Fate::FailsHalfWay,
            Fate::NeverAnswers,
            Fate::IgnoresCancel,
            Fate::NeverTold,
        ];
        if !self.plan.every_fate {
            return *self.rng.pick(&known);
        }
        let newer = [Fate::FailsAtOnce, Fate::Stalls, Fate::Refuses, Fate::Busy, Fate::Cached];
        *self.rng.pick(&[known, newer].concat())
    }

    /// The next step of a synthesis: 0 writes the request, then the parts of its audio.
    pub(crate) fn work(&mut self, id: SynthesisId, step: u64) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.over || (job.cancelled && job.fate != Fate::IgnoresCancel) {
            return;
        }
        let utterance = job.order.utterance;
        let mut events = Vec::new();
        let mut goes_on = job.fate != Fate::NeverAnswers;
        if step == 0 {
            job.state = SynthesisState::Requested;
            let patience = job.order.first_audio_us;
            if job.fate == Fate::Cached {
                events.push(SynthesisEvent::Cached);
            } else {
                events.push(SynthesisEvent::Requested);
                if patience > 0 {
                    self.later(patience, Event::GiveUp(id, 0));
                }
            }
        } else if job.fate == Fate::Stalls && step == 3 {
            let (patience, brought_us) = (job.order.stall_us, job.brought_us);
            if patience > 0 {
                self.later(patience, Event::GiveUp(id, brought_us));
            }
            return;
        } else if matches!(job.fate, Fate::FailsAtOnce | Fate::Refuses | Fate::Busy) || (job.fate == Fate::FailsHalfWay && step == 3) {
            let (kind, fault) = match job.fate {
                Fate::Refuses => (ErrorKind::NoSuchVoice, Fault::Request),
                Fate::Busy => (ErrorKind::BackendUnavailable, Fault::Backend { retry_after_us: 2_000_000 }),
                _ => (ErrorKind::BackendUnavailable, Fault::Backend { retry_after_us: 0 }),
            };
            self.fails(id, kind, fault);
            return;
        } else {
            let all = match &job.order.source {
                Source::Text => job.order.text.chars().count() as u64 * CHAR_US,
                // Nothing is endless here: what is looped is only long.
                Source::Feed(_) => FEED_US,
                Source::Sound(s) if s.looped => LOOP_US,
                Source::Sound(s) => s.duration_us.unwrap_or(S).saturating_sub(s.start_us),
            };
            let spoken = job.order.source == Source::Text;
            let part = all * step / PARTS - all * (step - 1) / PARTS;
            let word_timing = spoken && job.order.backend != "pieces" && job.order.backend != "plain";
            let store = self.sound.stores.entry(utterance).or_default();
            if step == 1 {
                job.state = SynthesisState::Streaming;
                events.push(SynthesisEvent::FirstAudio);
                let base = store.available_us;
                let chars = |a: usize, b: usize| job.order.char_base + a as u32..job.order.char_base + b as u32;
                if word_timing {
                    for (from, to) in words(&job.order.text) {
                        store.marks.push((base + from as u64 * CHAR_US, true, chars(from, to)));
                    }
                } else if spoken {
                    let end = job.order.text.chars().count();
                    store.marks.push((base, false, chars(0, end)));
                }
            }
            job.brought_us += part;
            if !store.cut {
                store.available_us += part;
            }
            if step == PARTS {
                job.state = SynthesisState::Delivered;
                job.over = true;
                goes_on = false;
                store.complete |= job.order.last || store.closing;
                store.resting = job.order.open;
                events.push(SynthesisEvent::Delivered {
                    audio_us: job.brought_us,
                    ahead_us: store.ahead_us(),
                });
            }
        }
        for event in events {
            self.synthesis_tells(id, event);
        }
        if goes_on {
            let after = self.chance(self.plan.part_us);
            self.later(after, Event::Work(id, step + 1));
        }
    }

    pub(crate) fn cancel_synthesis(&mut self, id: SynthesisId) {
        let job = self.jobs.get_mut(&id).expect("an unknown synthesis was cancelled");
        assert!(!job.given_up || self.plan.chaos, "C3: told when it was given up, and again");
        job.cancelled = true;
        let state = job.state;
        let (fate, over) = (job.fate, job.over);
        let told = match state {
            _ if fate == Fate::Cached => Told::NotNeeded,
            SynthesisState::Queued => Told::NotRequested,
            SynthesisState::Delivered if self.sound.stores.get(&job.order.utterance).is_some_and(|s| s.ended) => Told::NotNeeded,
            _ => Told::Told,
        };
        if fate == Fate::NeverTold {
            return;
        }
        let after = self.chance(self.plan.told_us);
        let at = self.now + after;
        self.later(
            after,
            Event::Arrives(Box::new(Input::Synthesis {
                synthesis: id,
                event: SynthesisEvent::Told { state, told, at },
            })),
        );
        if !over && state != SynthesisState::Queued && fate != Fate::IgnoresCancel {
            self.later(
                after,
                Event::Arrives(Box::new(Input::Synthesis {
                    synthesis: id,
                    event: SynthesisEvent::Stopped,
                })),
            );
        }
    }
}

/// Words as code point ranges.
fn words(text: &str) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut inside = false;
    for (at, c) in text.chars().enumerate() {
        if c.is_whitespace() {
            inside = false;
        } else if inside && let Some(last) = found.last_mut() {
            last.1 = at + 1;
        } else {
            found.push((at, at + 1));
            inside = true;
        }
    }
    found
}
