//! What the bus asks of the house beside the core: voices, ports, plugins, metrics, reload.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Sender;
use utterd_config::Source;
use utterd_core::{Backend, Failure, Input, Voice};
use zbus::zvariant::Value;

use crate::cli::Cli;
use crate::dbus::{FoundSound, PluginInfo, PortInfo, Services, VoiceInfo};
use crate::observe::log::Log;
use crate::observe::{Metrics, notify};
use crate::plugins::{Detector, Identity, LoadReport, Plugin, TtsBackend};
use crate::session::{BackendNews, BackendStates, Device, Fact};
use crate::settings;
use crate::sounds::Sounds;
use crate::synth::Synth;

/// The backend that speaks when nobody chose one, if it is there.
const PREFERRED: &str = "tts-espeak-ng";

/// The answers, and what they need.
pub(crate) struct House {
    pub(crate) cli: Cli,
    pub(crate) source: Source,
    pub(crate) plugins: LoadReport,
    pub(crate) sounds: Sounds,
    pub(crate) device: Device,
    pub(crate) metrics: Metrics,
    pub(crate) facts: Sender<Fact>,
    pub(crate) log: Arc<Log>,
    pub(crate) synth: Synth,
    pub(crate) states: BackendStates,
}

/// The loaded backends, the preferred one first.
pub(crate) fn backends(plugins: &[Arc<Plugin>]) -> Vec<Arc<TtsBackend>> {
    let mut backends: Vec<_> = plugins.iter().filter_map(|p| p.tts()).cloned().collect();
    backends.sort_by_key(|b| b.id() != PREFERRED);
    backends
}

/// The loaded detectors.
pub(crate) fn detectors(plugins: &[Arc<Plugin>]) -> Vec<Arc<Detector>> {
    plugins.iter().filter_map(|p| p.detector()).cloned().collect()
}

/// Without the fallbacks that are not loaded: a Say that names none must not fail for them.
pub(crate) fn known(mut settings: utterd_core::Settings, plugins: &[Arc<Plugin>]) -> utterd_core::Settings {
    if let Some(fallback) = &mut settings.say.fallback {
        fallback.retain(|id| {
            let known = plugins.iter().any(|p| p.tts().is_some_and(|b| b.id() == id));
            if !known {
                tracing::warn!(backend = id, "speech.fallback names a backend that is not loaded");
            }
            known
        });
    }
    settings
}

/// Why a plugin is "failed", and when it is asked again.
fn failing(news: BackendNews) -> BTreeMap<&'static str, Value<'static>> {
    let left_us = news.again_at_us.saturating_sub(crate::clock::now_us());
    BTreeMap::from([
        ("reason", Value::from(news.error)),
        ("failures", Value::from(news.failures)),
        ("again-ms", Value::from(left_us / 1000)),
    ])
}

/// A backend as the core knows it.
pub(crate) fn described(backend: &TtsBackend) -> Backend {
    Backend {
        id: backend.id().to_owned(),
        voices: backend
            .voices()
            .into_iter()
            .map(|v| Voice {
                id: v.id,
                languages: v.languages,
                cacheable: v.cacheable,
            })
            .collect(),
        default_voice: backend.default_voice().to_owned(),
        concurrent: backend.concurrent(),
        word_timing: backend.gives_marks(),
    }
}

impl House {
    /// Reads the configuration again and hands the core what may change while it runs; a bad one changes nothing.
    pub(crate) fn reload_settings(&self) -> Result<(), String> {
        notify::reloading();
        let outcome = match settings::load(&self.cli, &self.source) {
            Ok(settings) => {
                self.log.set_level(settings.log.level);
                let input = Input::Settings(Box::new(known(settings::core(&settings), &self.plugins.plugins)));
                self.synth.set_cache(settings.cache.bytes as usize);
                self.facts.send(Fact::Core(input)).map_err(|_| "utterd is stopping".to_owned())
            }
            Err(errors) => Err(errors.to_string()),
        };
        match &outcome {
            Ok(()) => tracing::info!("configuration read again; driver, plugins and outputs change at a restart"),
            Err(message) => tracing::error!(message, "the configuration is wrong: the old one stays"),
        }
        notify::ready("running");
        outcome
    }
}

/// A plugin of which nothing runs.
fn unused(identity: &Identity, state: &'static str, path: &Path, details: BTreeMap<&'static str, Value<'static>>) -> PluginInfo {
    PluginInfo {
        id: identity.id.clone(),
        kind: identity.kinds.first().copied().unwrap_or_default().to_owned(),
        version: identity.version.clone(),
        state,
        path: path.display().to_string(),
        details,
    }
}

/// What a detector has done so far.
fn heard(detector: &Detector, is_isolated: bool) -> BTreeMap<&'static str, Value<'static>> {
    let counts = detector.counts();
    let us = |time: Duration| Value::from(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    BTreeMap::from([
        ("hard-rt", Value::from(detector.hard_rt())),
        ("isolated", Value::from(is_isolated)),
        ("frames", Value::from(counts.frames)),
        ("faults", Value::from(counts.faults)),
        ("busy-us", us(counts.busy)),
        ("worst-us", us(counts.worst)),
    ])
}

impl Services for House {
    fn voices(&self) -> Vec<VoiceInfo> {
        let of = |backend: Arc<TtsBackend>| {
            let id = backend.id().to_owned();
            backend.voices().into_iter().map(move |v| VoiceInfo {
                id: v.id,
                backend: id.clone(),
                name: v.name,
                languages: v.languages,
                sample_rate: v.sample_rate,
                word_timing: v.word_timing,
            })
        };
        backends(&self.plugins.plugins).into_iter().flat_map(of).collect()
    }

    fn ports(&self) -> Vec<PortInfo> {
        let ports = self.device.ports().into_iter();
        ports
            .map(|p| PortInfo {
                name: p.name,
                direction: p.direction,
                channels: p.channels,
                default: p.default,
            })
            .collect()
    }

    fn plugins(&self) -> Vec<PluginInfo> {
        let ready = self.plugins.plugins.iter().map(|p| PluginInfo {
            id: p.id.clone(),
            kind: p.kinds.first().copied().unwrap_or_default().to_owned(),
            version: p.version.clone(),
            state: match self.states.failed(&p.id) {
                Some(_) => "failed",
                None => "ready",
            },
            path: p.path.display().to_string(),
            details: match (self.states.failed(&p.id), p.detector()) {
                (Some(failed), _) => failing(failed),
                (None, Some(detector)) => heard(detector, p.is_isolated()),
                (None, None) => BTreeMap::new(),
            },
        });
        let disabled = self
            .plugins
            .disabled
            .iter()
            .map(|p| unused(&p.identity, "disabled", &p.path, BTreeMap::new()));
        let rejected = self.plugins.rejected.iter().map(|r| {
            let details = BTreeMap::from([("reason", Value::from(r.reason.clone()))]);
            unused(&r.identity, "rejected", &r.path, details)
        });
        ready.chain(disabled).chain(rejected).collect()
    }

    fn metrics(&self, scope: &str) -> Option<BTreeMap<String, f64>> {
        let known = scope.is_empty() || self.metrics.has_session(scope);
        known.then(|| self.metrics.snapshot(scope))
    }

    fn export_metrics(&self, format: &str) -> Option<String> {
        match format {
            "prometheus" => Some(self.metrics.export_prometheus()),
            "json" => Some(self.metrics.export_json()),
            _ => None,
        }
    }

    fn find_sound(&self, uri: &str) -> Result<FoundSound, Failure> {
        self.sounds.find(uri)
    }

    fn reload(&self) -> Result<(), String> {
        self.reload_settings()
    }
}
