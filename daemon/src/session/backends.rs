//! The hands' part about backends: requests to them and for the cache, how they fare, and what operators see of it.
//!
//! What the core decided about a backend's health is only told here: counters for each backend, an Alert, a state in Plugins.List.
//! Backends are as many as plugins, so their metrics are bounded; their names live as long as the daemon.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use utterd_core::{CacheUse, Note, Prime, Source, Synthesis};
use zbus::zvariant::Value;

use super::effects::{Hands, tx_output};
use crate::clock::now_us;
use crate::dbus::Out;
use crate::observe::Metrics;
use crate::observe::metrics::{Counter, Gauge};
use crate::plugins::TtsBackend;
use crate::synth::{Job, SynthEvent};
use crate::tx::Output;

/// Why a backend is not asked, and until when; shared with those who list plugins.
#[derive(Clone, Debug, Default)]
pub struct BackendStates(Arc<Mutex<BTreeMap<String, BackendNews>>>);

/// How a backend fares that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendNews {
    pub error: String,
    pub failures: u32,
    /// Not asked before, on the monotonic clock.
    pub again_at_us: u64,
}

impl BackendStates {
    /// Of a backend that failed and has not succeeded since.
    pub fn failed(&self, backend: &str) -> Option<BackendNews> {
        self.lock().get(backend).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BackendNews>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The books.
pub(super) struct Backends {
    states: BackendStates,
    of: HashMap<String, Counts>,
    fallbacks: Counter,
    hits: Counter,
    full: Counter,
    bytes: Gauge,
    phrases: Gauge,
}

struct Counts {
    failed: Counter,
    silent: Counter,
    replaced: Counter,
    away: Counter,
    failing: Gauge,
}

impl Backends {
    pub(super) fn new(metrics: &Metrics, backends: &HashMap<String, Arc<TtsBackend>>, states: BackendStates) -> Self {
        let counts = |id: &String| {
            let word: String = id
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
                .collect();
            let name = |what: &str| -> &'static str { Box::leak(format!("utterd_backend_{word}_{what}").into_boxed_str()) };
            let counts = Counts {
                failed: metrics.counter(name("failed_total"), "syntheses", "Syntheses that this backend failed."),
                silent: metrics.counter(
                    name("silent_total"),
                    "syntheses",
                    "Syntheses given up because it was silent for too long.",
                ),
                replaced: metrics.counter(
                    name("replaced_total"),
                    "utterances",
                    "Utterances that another backend spoke in its place.",
                ),
                away: metrics.counter(name("away_total"), "times", "Times that it was not asked for a while."),
                failing: metrics.gauge(
                    name("failing"),
                    "1 or 0",
                    "1 from the time that it was first spared until it succeeds.",
                ),
            };
            (id.clone(), counts)
        };
        Self {
            states,
            of: backends.keys().map(counts).collect(),
            fallbacks: metrics.counter(
                "utterd_fallback_total",
                "utterances",
                "Times that a fallback took an utterance over.",
            ),
            hits: metrics.counter(
                "utterd_cache_hit_total",
                "syntheses",
                "Syntheses spoken from the cache, without a request.",
            ),
            full: metrics.counter(
                "utterd_cache_full_total",
                "phrases",
                "Phrases that were to be pinned and found no room.",
            ),
            bytes: metrics.gauge("utterd_cache_bytes", "bytes", "What the phrase cache holds."),
            phrases: metrics.gauge("utterd_cache_phrases", "phrases", "What the phrase cache holds."),
        }
    }
}

impl Hands {
    pub(super) fn synthesize(&mut self, s: Synthesis) {
        self.owners.requested(s.synthesis.get(), s.utterance.get());
        let backend = match s.source {
            // The core names only backends it was given, and they are never unloaded.
            Source::Text => self.backends.get(&s.backend).cloned(),
            Source::Sound(sound) => Some(self.sounds.prepare(s.utterance.get(), sound)),
            Source::Feed(_) => Some(self.feeds.backend()),
        };
        let Some(backend) = backend else {
            tracing::error!(backend = s.backend, "the core asked for a backend that is not loaded");
            return;
        };
        self.synth.submit(Job {
            synthesis: s.synthesis.get(),
            utterance: s.utterance.get(),
            session: s.session,
            backend,
            output: tx_output(s.output),
            voice: s.voice,
            language: s.language,
            rate: s.rate,
            pitch: s.pitch,
            gain_db: s.gain_db,
            text: s.text,
            char_base: s.char_base,
            params_json: s.params.to_string(),
            retry: s.retry,
            first_audio_us: s.first_audio_us,
            stall_us: s.stall_us,
            cache: s.cache,
            first: s.first,
            last: s.last,
            open: s.open,
        });
    }

    pub(super) fn prime(&self, p: Prime) {
        let Some(backend) = self.backends.get(&p.backend) else {
            tracing::error!(backend = p.backend, "the core asked for a backend that is not loaded");
            return;
        };
        self.synth.prime(Job {
            synthesis: p.synthesis.get(),
            utterance: 0,
            session: 0,
            backend: Arc::clone(backend),
            output: Output::Local,
            voice: p.voice,
            language: p.language,
            rate: p.rate,
            pitch: p.pitch,
            gain_db: 0.0,
            text: p.text,
            char_base: 0,
            params_json: "{}".to_owned(),
            retry: false,
            first_audio_us: 0,
            stall_us: 0,
            cache: CacheUse::Pin,
            first: true,
            last: p.last,
            open: false,
        });
    }

    /// What the metrics want of a synthesis.
    pub(super) fn synthesis_moved(&mut self, event: &SynthEvent) {
        match event {
            SynthEvent::Cached { .. } => self.of_backends.hits.add(1),
            SynthEvent::Delivered { .. } => {
                let level = self.synth.cache_level();
                self.of_backends.bytes.set(level.bytes as f64);
                self.of_backends.phrases.set(level.phrases as f64);
            }
            _ => {}
        }
    }

    pub(super) fn cache_full(&mut self, synthesis: u64) {
        self.of_backends.full.add(1);
        let level = self.synth.cache_level();
        let pinned_bytes = level.pinned_bytes as u64;
        let session = self.owners.session(synthesis).to_owned();
        tracing::warn!(
            session,
            synthesis,
            pinned_bytes,
            "a phrase was not pinned: pins have filled the cache (cache.bytes)"
        );
        let details = [("pinned-bytes", Value::from(pinned_bytes)), ("synthesis", Value::from(synthesis))];
        self.alert("cache-full", &session, details.into());
    }

    /// Gives back what is not about backends.
    pub(super) fn backend_note(&mut self, note: Note) -> Option<Note> {
        match note {
            Note::BackendFailed { backend, error, silent } => {
                if let Some(counts) = self.of_backends.of.get(&backend) {
                    counts.failed.add(1);
                    counts.silent.add(u64::from(silent));
                }
                crate::paced!(warn, "backend failed", backend, error);
            }
            Note::BackendAway {
                backend,
                error,
                failures,
                again_us,
            } => self.backend_away(backend, error, failures, again_us),
            Note::BackendBack { backend } => {
                tracing::info!(backend, "speaks again");
                if let Some(counts) = self.of_backends.of.get(&backend) {
                    counts.failing.set(0.0);
                }
                self.of_backends.states.lock().remove(&backend);
                self.send(Out::PluginState {
                    id: backend,
                    state: "ready",
                    reason: String::new(),
                });
            }
            Note::FellBack {
                session,
                utterance,
                from,
                to,
                error,
            } => {
                self.of_backends.fallbacks.add_for(&session, 1);
                if let Some(counts) = self.of_backends.of.get(&from) {
                    counts.replaced.add(1);
                }
                tracing::info!(session, %utterance, from, to, error, "a fallback speaks");
            }
            Note::CancelUnacknowledged {
                synthesis,
                backend,
                error,
                reported,
            } => self.unacknowledged(synthesis.get(), backend, error, reported),
            Note::Primed { text, error: None } => tracing::info!(text, "pinned phrase synthesised"),
            Note::Primed { text, error: Some(error) } => {
                tracing::warn!(text, error, "a pinned phrase was not synthesised");
                self.alert("pin-failed", "", BTreeMap::from([("error", Value::from(error))]));
            }
            other => return Some(other),
        }
        None
    }

    fn backend_away(&mut self, backend: String, error: String, failures: u32, again_us: u64) {
        tracing::warn!(backend, failures, again_ms = again_us / 1000, error, "is not asked for a while");
        if let Some(counts) = self.of_backends.of.get(&backend) {
            counts.away.add(1);
            counts.failing.set(1.0);
        }
        let news = BackendNews {
            error: error.clone(),
            failures,
            again_at_us: now_us() + again_us,
        };
        self.of_backends.states.lock().insert(backend.clone(), news);
        let details = [
            ("backend", Value::from(backend.clone())),
            ("error", Value::from(error.clone())),
            ("failures", Value::from(failures)),
            ("again-ms", Value::from(again_us / 1000)),
        ];
        self.alert("backend-failed", "", details.into());
        self.send(Out::PluginState {
            id: backend,
            state: "failed",
            reason: error,
        });
    }

    /// A server did not acknowledge a cancel. If the report could not say so any more, the operator hears of it.
    fn unacknowledged(&mut self, synthesis: u64, backend: String, error: String, reported: bool) {
        let session = self.owners.session(synthesis).to_owned();
        self.cancel_failed.add_for(&session, 1);
        tracing::warn!(
            session,
            backend,
            synthesis,
            error,
            "a cancel was not acknowledged: the server may still compute"
        );
        if reported {
            return;
        }
        let details = [
            ("error", Value::from(error)),
            ("backend", Value::from(backend)),
            ("synthesis", Value::from(synthesis)),
        ];
        self.alert("cancel-failed", &session, details.into());
    }
}
