//! From the command line and the configuration to what each room needs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use utterd_config::{ConfigErrors, Settings, Source};
use utterd_core::hearing::{Backchannel, BargeInPolicy};
use utterd_core::{Patience, Pin, Progress, SayOptions};

use crate::cli::{Cli, DriverName};
use crate::dbus::BusKind;
use crate::driver::{DriverConfig, DriverKind};
use crate::rx::Shelf;

/// Where the configuration of this daemon is read.
pub fn source(cli: &Cli) -> Source {
    let source = if cli.bus() == BusKind::System {
        Source::system()
    } else {
        Source::user()
    };
    match &cli.config {
        Some(file) => source.with_file(file),
        None => source,
    }
}

/// The checked configuration, with what the command line overrides.
pub fn load(cli: &Cli, source: &Source) -> Result<Settings, ConfigErrors> {
    let mut settings = utterd_config::load(source)?;
    if !cli.plugin_dir.is_empty() {
        settings.plugins.dirs.clone_from(&cli.plugin_dir);
    }
    match cli.driver {
        Some(DriverName::Auto) => settings.audio.driver = utterd_config::Driver::Auto,
        Some(DriverName::Jack) => settings.audio.driver = utterd_config::Driver::Jack,
        Some(DriverName::Timer) => settings.audio.driver = utterd_config::Driver::Timer,
        None => {}
    }
    Ok(settings)
}

/// Where recordings lie: as configured, else where the state of a service or of a user lies.
pub fn shelf(settings: &Settings, bus: &BusKind) -> Shelf {
    let recording = &settings.recording;
    let dir = if recording.dir.is_empty() {
        let of = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let of_user = || of("XDG_STATE_HOME").or_else(|| Some(of("HOME")?.join(".local/state")));
        let state = of("STATE_DIRECTORY").or_else(|| match bus {
            BusKind::System => None,
            _ => Some(of_user()?.join("utterd")),
        });
        state.unwrap_or_else(|| PathBuf::from("/var/lib/utterd")).join("recordings")
    } else {
        PathBuf::from(&recording.dir)
    };
    Shelf::new(
        dir,
        recording.mode,
        u64::from(recording.keep_mb) * 1_000_000,
        Duration::from_secs(u64::from(recording.keep_days) * 86_400),
    )
}

/// What the core needs.
pub fn core(settings: &Settings) -> utterd_core::Settings {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let ms = |ms: u32| u64::from(ms) * 1000;
    utterd_core::Settings {
        say: SayOptions {
            backend: text(&settings.speech.backend),
            fallback: Some(settings.speech.fallback.clone()),
            voice: text(&settings.speech.voice),
            language: text(&settings.speech.language),
            rate: Some(settings.speech.rate),
            pitch: Some(settings.speech.pitch),
            gain_db: Some(settings.speech.gain_db),
            progress: Some(match settings.speech.progress {
                utterd_config::Progress::None => Progress::None,
                utterd_config::Progress::Sentence => Progress::Sentence,
                utterd_config::Progress::Word => Progress::Word,
            }),
            ..SayOptions::default()
        },
        patience: settings.backend.iter().map(|(id, of)| (id.clone(), patience(of))).collect(),
        pins: settings.cache.pin.iter().map(pin).collect(),
        cache_chars: if settings.cache.bytes == 0 {
            0
        } else {
            settings.cache.max_chars as usize
        },
        lexicon: lexicon(&settings.lexicon),
        private: settings.session.private,
        text_bytes: settings.limits.text_bytes as usize,
        utterances: settings.limits.utterances as usize,
        sessions: settings.limits.sessions as usize,
        collect_ttl_us: ms(settings.collect.ttl_ms),
        collect_bytes: settings.collect.max_bytes as usize,
        collect_chunks: settings.collect.max_chunks as usize,
        stream_idle_us: ms(settings.stream.idle_ms),
        look_ahead_us: ms(settings.synthesis.look_ahead_ms),
        tombstone_us: ms(settings.cancel.tombstone_ms),
        fade_us: settings.cancel.fade_ms * 1000,
        reply_us: ms(settings.cancel.reply_ms),
        manager_uid: Some(rustix::process::getuid().as_raw()),
        output_gain_db: settings.output.gain_db,
        barge_in: barge_in(&settings.barge_in),
    }
}

fn barge_in(settings: &utterd_config::BargeIn) -> utterd_core::BargeIn {
    let us = |ms: u32| u64::from(ms) * 1000;
    utterd_core::BargeIn {
        policy: match settings.local {
            utterd_config::BargeInPolicy::PauseThenConfirm => BargeInPolicy::PauseThenConfirm,
            utterd_config::BargeInPolicy::CancelAtOnce => BargeInPolicy::CancelAtOnce,
            utterd_config::BargeInPolicy::ReportOnly => BargeInPolicy::ReportOnly,
            utterd_config::BargeInPolicy::Off => BargeInPolicy::Off,
        },
        detector: settings.detector.clone(),
        backchannel: match settings.backchannel {
            utterd_config::Backchannel::Cancel => Backchannel::Cancel,
            utterd_config::Backchannel::Resume => Backchannel::Resume,
        },
        false_interruption_us: us(settings.false_interruption_ms),
        min_speech_us: us(settings.min_speech_ms),
        warm_up_us: us(settings.warm_up_ms),
    }
}

fn patience(of: &utterd_config::Backend) -> Patience {
    let shipped = Patience::default();
    let us = |ms: Option<u32>, or: u64| ms.map_or(or, |ms| u64::from(ms) * 1000);
    Patience {
        first_audio_us: us(of.first_audio_timeout_ms, shipped.first_audio_us),
        stall_us: us(of.stall_timeout_ms, shipped.stall_us),
        back_off_us: us(of.back_off_ms, shipped.back_off_us),
        back_off_max_us: us(of.back_off_max_ms, shipped.back_off_max_us),
    }
}

fn pin(of: &utterd_config::Pin) -> Pin {
    Pin {
        text: of.text.clone(),
        backend: of.backend.clone(),
        voice: of.voice.clone(),
        language: of.language.clone(),
    }
}

fn lexicon(settings: &utterd_config::Lexicon) -> Arc<utterd_core::Lexicon> {
    let words = settings.words.iter();
    Arc::new(utterd_core::Lexicon::new(
        words.map(|w| (w.language.as_str(), w.word.as_str(), w.say.as_str())),
    ))
}

/// What each plugin needs: its own table, and of `[backend.ID]` what only its plugin can carry out.
pub fn plugins(settings: &Settings) -> BTreeMap<String, Value> {
    let mut configs = settings.plugin.clone();
    for (id, backend) in &settings.backend {
        for (key, value) in [("id-header", &backend.id_header), ("cancel-url", &backend.cancel_url)] {
            let Some(value) = value else { continue };
            let config = configs.entry(id.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(config) = config {
                config.entry(key).or_insert_with(|| value.clone().into());
            }
        }
    }
    configs
}

/// What the driver needs.
pub fn driver(settings: &Settings) -> DriverConfig {
    DriverConfig {
        kind: match settings.audio.driver {
            utterd_config::Driver::Auto => DriverKind::Auto,
            utterd_config::Driver::Jack => DriverKind::Jack,
            utterd_config::Driver::Timer => DriverKind::Timer,
        },
        client_name: settings.jack.client_name.clone(),
        connect: settings.jack.connect.clone(),
        ports: settings.jack.ports,
        timer_rate: settings.timer.rate,
        timer_period: settings.timer.period_frames,
    }
}
