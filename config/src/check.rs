//! From a tree of values to [`Settings`]: types, ranges, and the list of keys, which is the list of questions asked here.
//!
//! Every question is remembered; what stands in the tree and was not asked for is an unknown key. A wrong value is reported and its default
//! used meanwhile, so that one run finds everything.

mod reader;

use crate::error::ConfigError;
use crate::fragment::Node;
use crate::settings::{
    Audio, Backchannel, Backend, BargeIn, BargeInPolicy, Cache, Cancel, Collect, Driver, Jack, Level, Lexicon, Limits, Log, LogFormat,
    Metrics, Output, Pin, Plugins, Progress, Recording, Session, Settings, Sounds, Speech, Stream, Synthesis, Timer,
};
use crate::{Source, range};
use reader::Reader;
pub(crate) use reader::quoted;
use std::path::{Path, PathBuf};

pub(crate) fn settings(root: &Node, source: &Source) -> (Settings, Vec<ConfigError>) {
    let mut reader = Reader::new(root);
    let settings = ask(&mut reader, Settings::of(source));
    (settings, reader.finish())
}

/// The keys that can be written, for the test that compares them with the shipped file; those below an id are left out.
#[cfg(test)]
pub(crate) fn keys(source: &Source) -> Vec<String> {
    let root = crate::merged::Merged::of(Vec::new()).root;
    let mut reader = Reader::new(&root);
    ask(&mut reader, Settings::of(source));
    reader.asked()
}

const DRIVERS: &[(&str, Driver)] = &[("auto", Driver::Auto), ("jack", Driver::Jack), ("timer", Driver::Timer)];
const POLICIES: &[(&str, BargeInPolicy)] = &[
    ("pause-then-confirm", BargeInPolicy::PauseThenConfirm),
    ("cancel-at-once", BargeInPolicy::CancelAtOnce),
    ("report-only", BargeInPolicy::ReportOnly),
    ("off", BargeInPolicy::Off),
];
const BACKCHANNELS: &[(&str, Backchannel)] = &[("cancel", Backchannel::Cancel), ("resume", Backchannel::Resume)];
const LEVELS: &[(&str, Level)] = &[
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
];
const PROGRESS: &[(&str, Progress)] = &[("none", Progress::None), ("sentence", Progress::Sentence), ("word", Progress::Word)];
const FORMATS: &[(&str, LogFormat)] = &[
    ("auto", LogFormat::Auto),
    ("text", LogFormat::Text),
    ("journal", LogFormat::Journal),
];

/// Seconds, minutes and an hour in milliseconds; bytes.
const HOUR_MS: u32 = 3_600_000;
const MIB: u32 = 1 << 20;

fn ask(r: &mut Reader<'_>, d: Settings) -> Settings {
    Settings {
        audio: Audio {
            driver: r.word(&["audio", "driver"], DRIVERS, d.audio.driver),
        },
        jack: Jack {
            client_name: r.text(
                &["jack", "client-name"],
                "1 to 63 printable characters without a colon",
                client_name,
                d.jack.client_name,
            ),
            connect: r.list(&["jack", "connect"], "JACK port names, \"client:port\"", port_name, d.jack.connect),
            ports: r.whole(&["jack", "ports"], 1..=64, d.jack.ports),
        },
        timer: Timer {
            rate: r.whole(&["timer", "rate"], 8_000..=192_000, d.timer.rate),
            period_frames: r.whole(&["timer", "period-frames"], 16..=8_192, d.timer.period_frames),
        },
        plugins: Plugins {
            dirs: r.list(&["plugins", "dirs"], "absolute paths", absolute, d.plugins.dirs),
            disabled: r.list(&["plugins", "disabled"], ID, id, d.plugins.disabled),
            inproc: r.list(&["plugins", "inproc"], ID, id, d.plugins.inproc),
        },
        plugin: r.free_tables("plugin", ID, is_id),
        plugin_places: r.places("plugin"),
        backend: r.tables("backend", ID, is_id, backend),
        sounds: Sounds {
            dirs: r.list(&["sounds", "dirs"], "absolute paths", absolute, d.sounds.dirs),
        },
        speech: Speech {
            backend: r.text(
                &["speech", "backend"],
                "a backend's id, or empty",
                or_empty(is_id),
                d.speech.backend,
            ),
            fallback: r.list(&["speech", "fallback"], ID, id, d.speech.fallback),
            voice: r.text(
                &["speech", "voice"],
                "a voice's id of at most 128 printable characters, or empty",
                or_empty(is_voice),
                d.speech.voice,
            ),
            language: r.text(
                &["speech", "language"],
                "a language tag such as \"en-GB\", or empty",
                or_empty(is_language),
                d.speech.language,
            ),
            rate: r.number(&["speech", "rate"], range::RATE, d.speech.rate),
            pitch: r.number(&["speech", "pitch"], range::PITCH, d.speech.pitch),
            gain_db: r.number(&["speech", "gain-db"], range::GAIN_DB, d.speech.gain_db),
            progress: r.word(&["speech", "progress"], PROGRESS, d.speech.progress),
        },
        session: Session {
            private: r.flag(&["session", "private"], d.session.private),
        },
        cache: Cache {
            bytes: r.whole(&["cache", "bytes"], 0..=1024 * MIB, d.cache.bytes),
            max_chars: r.whole(&["cache", "max-chars"], 1..=10_000, d.cache.max_chars),
            pin: r.tables("pin", ID, is_id, pin).into_values().collect(),
        },
        lexicon: Lexicon {
            files: r.list(&["lexicon", "files"], "absolute paths", absolute, d.lexicon.files),
            words: d.lexicon.words,
        },
        output: Output {
            gain_db: r.number(&["output", "gain-db"], range::GAIN_DB, d.output.gain_db),
        },
        limits: Limits {
            text_bytes: r.whole(&["limits", "text-bytes"], 1_024..=16 * MIB, d.limits.text_bytes),
            utterances: r.whole(&["limits", "utterances"], 1..=100_000, d.limits.utterances),
            sessions: r.whole(&["limits", "sessions"], 1..=65_536, d.limits.sessions),
        },
        synthesis: Synthesis {
            look_ahead_ms: r.whole(&["synthesis", "look-ahead-ms"], 500..=60_000, d.synthesis.look_ahead_ms),
        },
        cancel: Cancel {
            tombstone_ms: r.whole(&["cancel", "tombstone-ms"], 100..=60_000, d.cancel.tombstone_ms),
            fade_ms: r.whole(&["cancel", "fade-ms"], range::FADE_MS, d.cancel.fade_ms),
            reply_ms: r.whole(&["cancel", "reply-ms"], 10..=10_000, d.cancel.reply_ms),
        },
        barge_in: BargeIn {
            local: r.word(&["barge-in", "local"], POLICIES, d.barge_in.local),
            detector: r.text(
                &["barge-in", "detector"],
                "a detector's id, or \"none\"",
                is_id,
                d.barge_in.detector,
            ),
            backchannel: r.word(&["barge-in", "backchannel"], BACKCHANNELS, d.barge_in.backchannel),
            false_interruption_ms: r.whole(
                &["barge-in", "false-interruption-ms"],
                range::FALSE_INTERRUPTION_MS,
                d.barge_in.false_interruption_ms,
            ),
            min_speech_ms: r.whole(&["barge-in", "min-speech-ms"], 0..=5_000, d.barge_in.min_speech_ms),
            warm_up_ms: r.whole(&["barge-in", "warm-up-ms"], 0..=10_000, d.barge_in.warm_up_ms),
            sensitivity: r.number(&["barge-in", "sensitivity"], 0.0..=1.0, d.barge_in.sensitivity),
        },
        collect: Collect {
            ttl_ms: r.whole(&["collect", "ttl-ms"], 100..=HOUR_MS, d.collect.ttl_ms),
            max_bytes: r.whole(&["collect", "max-bytes"], 1_024..=16 * MIB, d.collect.max_bytes),
            max_chunks: r.whole(&["collect", "max-chunks"], 1..=65_536, d.collect.max_chunks),
        },
        stream: Stream {
            idle_ms: r.whole(&["stream", "idle-ms"], 100..=HOUR_MS, d.stream.idle_ms),
        },
        recording: Recording {
            dir: r.text(
                &["recording", "dir"],
                "an absolute path, or empty",
                or_empty(|text| absolute(text).is_some()),
                d.recording.dir,
            ),
            mode: r.whole(&["recording", "mode"], 0o400..=0o777, d.recording.mode),
            keep_mb: r.whole(&["recording", "keep-mb"], 0..=100_000_000, d.recording.keep_mb),
            keep_days: r.whole(&["recording", "keep-days"], 0..=36_500, d.recording.keep_days),
        },
        log: Log {
            level: r.word(&["log", "level"], LEVELS, d.log.level),
            format: r.word(&["log", "format"], FORMATS, d.log.format),
        },
        metrics: Metrics {
            tx_metrics_s: r.whole(&["metrics", "tx-metrics-s"], 0..=3_600, d.metrics.tx_metrics_s),
        },
    }
}

fn backend(r: &mut Reader<'_>, id: &str) -> Backend {
    Backend {
        max_concurrent: r.opt_whole(&["backend", id, "max-concurrent"], 1..=256),
        id_header: r.opt_text(
            &["backend", id, "id-header"],
            "an HTTP header's name, of letters, digits and dashes",
            is_header,
        ),
        cancel_url: r.opt_text(
            &["backend", id, "cancel-url"],
            "an http:// or https:// URL that contains {id}",
            is_cancel_url,
        ),
        first_audio_timeout_ms: r.opt_whole(&["backend", id, "first-audio-timeout-ms"], 0..=HOUR_MS),
        stall_timeout_ms: r.opt_whole(&["backend", id, "stall-timeout-ms"], 0..=HOUR_MS),
        back_off_ms: r.opt_whole(&["backend", id, "back-off-ms"], 0..=HOUR_MS),
        back_off_max_ms: r.opt_whole(&["backend", id, "back-off-max-ms"], 0..=HOUR_MS),
    }
}

fn pin(r: &mut Reader<'_>, id: &str) -> Pin {
    let phrase = r.needed_text(&["pin", id], "text", "1 to 4096 bytes, not blank", is_phrase);
    let mut text = |key: &str, allowed: &str, fits: fn(&str) -> bool| r.opt_text(&["pin", id, key], allowed, fits).unwrap_or_default();
    Pin {
        text: phrase,
        backend: text("backend", "a backend's id, or empty", |t| t.is_empty() || is_id(t)),
        voice: text("voice", "a voice's id of at most 128 printable characters, or empty", is_voice),
        language: text("language", "a language tag such as \"en-GB\", or empty", |t| {
            t.is_empty() || is_language(t)
        }),
    }
}

fn is_phrase(text: &str) -> bool {
    text.len() <= 4_096 && !text.trim().is_empty()
}

const ID: &str = "ids of 1 to 64 letters, digits, dots, dashes and underscores";

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || b".-_".contains(&c))
}

fn id(text: &str) -> Option<String> {
    is_id(text).then(|| text.to_owned())
}

/// JACK joins client and port with a colon and keeps both in 64 bytes.
fn client_name(text: &str) -> bool {
    (1..=63).contains(&text.len()) && !text.contains(|c: char| c == ':' || c.is_control())
}

fn port_name(text: &str) -> Option<String> {
    let (client, port) = text.split_once(':')?;
    let fits = !client.is_empty() && !port.is_empty() && text.len() <= 320 && !text.contains(char::is_control);
    fits.then(|| text.to_owned())
}

/// A service has no working folder that a person knows, so a relative path would mean something else each time.
fn absolute(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    (path.is_absolute() && !text.contains('\0')).then(|| path.to_owned())
}

fn is_voice(text: &str) -> bool {
    text.len() <= 128 && !text.contains(char::is_control)
}

fn is_language(text: &str) -> bool {
    text.len() <= 35
        && text
            .split('-')
            .all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_alphanumeric()))
}

fn is_header(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
}

fn is_cancel_url(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let plain = text.len() <= 2_048 && text.bytes().all(|c| c.is_ascii_graphic());
    plain && host.is_some_and(|host| !host.is_empty() && !host.starts_with('/')) && text.contains("{id}")
}

fn or_empty(fits: fn(&str) -> bool) -> impl Fn(&str) -> bool {
    move |text| text.is_empty() || fits(text)
}
