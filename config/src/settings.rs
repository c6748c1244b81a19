//! What the rooms receive: plain data with units in the names, every value already within its range.
//!
//! `Default` is what an empty configuration means, and what the shipped file says in comments; a test compares the two.
//! Two defaults depend on the machine, `plugins.dirs` and `sounds.dirs` ([`Settings::of`]): in a user's session they begin with the user's own folder.

use crate::source::{Scope, Source};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The whole configuration, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub audio: Audio,
    pub jack: Jack,
    pub timer: Timer,
    pub plugins: Plugins,
    /// `[plugin.ID]`: the plugin's own settings as JSON objects, to be checked against its schema.
    pub plugin: BTreeMap<String, serde_json::Value>,
    /// Where each key of those tables was written, `file:line`, for whoever refuses it.
    pub plugin_places: BTreeMap<String, BTreeMap<String, String>>,
    /// `[backend.ID]`: how the daemon treats one backend.
    pub backend: BTreeMap<String, Backend>,
    pub sounds: Sounds,
    pub speech: Speech,
    pub cache: Cache,
    pub lexicon: Lexicon,
    pub session: Session,
    pub output: Output,
    pub limits: Limits,
    pub synthesis: Synthesis,
    pub cancel: Cancel,
    pub barge_in: BargeIn,
    pub collect: Collect,
    pub stream: Stream,
    pub recording: Recording,
    pub log: Log,
    pub metrics: Metrics,
}

impl Settings {
    /// The defaults where `source` is read: in a user's session the plugins and sounds of the user come first.
    pub(crate) fn of(source: &Source) -> Settings {
        let mut settings = Settings::default();
        if source.scope == Scope::User
            && let Some(dir) = &source.user_plugins
        {
            settings.plugins.dirs.insert(0, dir.clone());
        }
        if source.scope == Scope::User
            && let Some(dir) = &source.user_sounds
        {
            settings.sounds.dirs.insert(0, dir.clone());
        }
        settings
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Audio {
    pub driver: Driver,
}

/// Who calls the renderer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// JACK if a server answers at the start, else the timer.
    #[default]
    Auto,
    /// JACK alone: without a server the lanes wait for one.
    Jack,
    /// A null sink on the monotonic clock.
    Timer,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Jack {
    pub client_name: String,
    /// The ports to play to; empty = the physical playback ports.
    pub connect: Vec<String>,
    /// How many playback ports carry the mix.
    pub ports: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Timer {
    pub rate: u32,
    pub period_frames: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Plugins {
    /// Absolute, in the order of search: the first file with a plugin's id wins.
    pub dirs: Vec<PathBuf>,
    /// Ids that are found but not loaded.
    pub disabled: Vec<String>,
    /// Ids of the detectors that run inside the daemon; others have a process of their own.
    pub inproc: Vec<String>,
}

/// What is not said is the backend's own business: its declared concurrency, its own way to cancel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backend {
    pub max_concurrent: Option<u32>,
    /// The HTTP header that carries a synthesis id.
    pub id_header: Option<String>,
    /// Where a cancel is posted; contains `{id}`.
    pub cancel_url: Option<String>,
    /// A request without audio is given up after this time; 0 = never.
    pub first_audio_timeout_ms: Option<u32>,
    /// So is an answer without a further sample.
    pub stall_timeout_ms: Option<u32>,
    /// How long it is spared at first after it has failed; 0 = it is always asked.
    pub back_off_ms: Option<u32>,
    /// The longest that doubling makes of it.
    pub back_off_max_ms: Option<u32>,
}

/// What was synthesised once and is spoken again without a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// 0 = no cache.
    pub bytes: u32,
    /// The longest text that is kept unasked.
    pub max_chars: u32,
    /// `[pin.ID]`: synthesised at the start, and kept.
    pub pin: Vec<Pin>,
}

/// Empty strings mean what they mean in [`Speech`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pin {
    pub text: String,
    pub backend: String,
    pub voice: String,
    pub language: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sounds {
    /// Absolute; Play plays what lies below them and nothing else.
    pub dirs: Vec<PathBuf>,
}

/// The defaults of Say; an empty string leaves the choice to the daemon or to the backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Speech {
    /// Empty = "tts-espeak-ng" if it is loaded, else the first backend.
    pub backend: String,
    /// Backends that speak when it cannot, in this order.
    pub fallback: Vec<String>,
    pub voice: String,
    pub language: String,
    pub rate: f64,
    pub pitch: f64,
    pub gain_db: f64,
    pub progress: Progress,
}

/// What of an utterance's progress is signalled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    None,
    #[default]
    Sentence,
    Word,
}

/// What OpenSession takes where it says nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// No text in log, History and progress.
    pub private: bool,
}

/// How words are said that a voice gets wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lexicon {
    /// Files, and folders of files.
    pub files: Vec<PathBuf>,
    /// What stands in them; of two for the same word the last counts.
    pub words: Vec<Word>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Primary subtag, empty = any.
    pub language: String,
    pub word: String,
    pub say: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    pub gain_db: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Of one utterance.
    pub text_bytes: u32,
    /// Of one session.
    pub utterances: u32,
    pub sessions: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Synthesis {
    /// How much audio a store may hold before its sample is played.
    pub look_ahead_ms: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Cancel {
    pub tombstone_ms: u32,
    pub fade_ms: u32,
    /// The latest moment at which Cancel answers.
    pub reply_ms: u32,
}

/// How user speech is taken, unless a session says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct BargeIn {
    /// Of sessions on the loudspeaker.
    pub local: BargeInPolicy,
    /// A detector's id; "none" = no microphone is opened, clients report speech.
    pub detector: String,
    pub backchannel: Backchannel,
    pub false_interruption_ms: u32,
    /// The least speech that a detector's confirmation counts for.
    pub min_speech_ms: u32,
    /// How long the echo canceller learns at the agent's first speech.
    pub warm_up_ms: u32,
    /// Of detectors, 0 to 1.
    pub sensitivity: f64,
}

/// What user speech does to the agent's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BargeInPolicy {
    PauseThenConfirm,
    CancelAtOnce,
    ReportOnly,
    /// No microphone is opened unasked.
    #[default]
    Off,
}

/// What a short acknowledgement ("mhm") does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backchannel {
    #[default]
    Cancel,
    Resume,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Collect {
    pub ttl_ms: u32,
    pub max_bytes: u32,
    pub max_chunks: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    pub idle_ms: u32,
}

/// Where recordings lie, and how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Absolute; "" = `recordings` where the daemon's state lies.
    pub dir: String,
    /// Permissions of a file.
    pub mode: u32,
    /// All recordings together; 0 = no bound.
    pub keep_mb: u32,
    /// Age; 0 = no bound.
    pub keep_days: u32,
}

impl Default for Recording {
    fn default() -> Self {
        Recording {
            dir: String::new(),
            mode: 0o600,
            keep_mb: 1_024,
            keep_days: 30,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    pub level: Level,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl Level {
    /// The word that stands in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `Journal` when standard error is the journal, else `Text`.
    #[default]
    Auto,
    /// With timestamps, for people.
    Text,
    /// With `<N>` priorities and no timestamps, for journald.
    Journal,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Seconds between two TX_METRICS lines; 0 = none.
    pub tx_metrics_s: u32,
}

impl Default for Jack {
    fn default() -> Self {
        Jack {
            client_name: "utterd".into(),
            connect: Vec::new(),
            ports: 2,
        }
    }
}

impl Default for Timer {
    fn default() -> Self {
        Timer {
            rate: 48_000,
            period_frames: 480,
        }
    }
}

impl Default for Plugins {
    fn default() -> Self {
        Plugins {
            dirs: vec!["/usr/lib/utterd/plugins".into(), "/usr/local/lib/utterd/plugins".into()],
            disabled: Vec::new(),
            inproc: ["detector-bargein", "detector-energy", "detector-vad"].map(String::from).to_vec(),
        }
    }
}

impl Default for Sounds {
    fn default() -> Self {
        Sounds {
            dirs: vec![
                "/usr/share/sounds".into(),
                "/usr/local/share/sounds".into(),
                "/var/lib/utterd/sounds".into(),
            ],
        }
    }
}

impl Default for Speech {
    fn default() -> Self {
        Speech {
            backend: String::new(),
            fallback: Vec::new(),
            voice: String::new(),
            language: String::new(),
            rate: 1.0,
            pitch: 1.0,
            gain_db: 0.0,
            progress: Progress::default(),
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Cache {
            bytes: 16 << 20,
            max_chars: 200,
            pin: Vec::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            text_bytes: 262_144,
            utterances: 1000,
            sessions: 4096,
        }
    }
}

impl Default for Synthesis {
    fn default() -> Self {
        Synthesis { look_ahead_ms: 5000 }
    }
}

impl Default for Cancel {
    fn default() -> Self {
        Cancel {
            tombstone_ms: 2000,
            fade_ms: 5,
            reply_ms: 100,
        }
    }
}

impl Default for BargeIn {
    fn default() -> Self {
        BargeIn {
            local: BargeInPolicy::Off,
            detector: "detector-bargein".into(),
            backchannel: Backchannel::Cancel,
            false_interruption_ms: 2000,
            min_speech_ms: 0,
            warm_up_ms: 0,
            sensitivity: 0.5,
        }
    }
}

impl Default for Collect {
    fn default() -> Self {
        Collect {
            ttl_ms: 60_000,
            max_bytes: 262_144,
            max_chunks: 4096,
        }
    }
}

impl Default for Stream {
    fn default() -> Self {
        Stream { idle_ms: 30_000 }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics { tx_metrics_s: 10 }
    }
}
