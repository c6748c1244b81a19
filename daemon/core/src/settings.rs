//! What the core needs of the configuration; ranges are checked where it is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Lexicon;
use crate::backend::{Patience, Pin};
use crate::hearing::{Backchannel, BargeInPolicy};
use crate::ids::Micros;
use crate::request::SayOptions;

/// What the core needs of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Defaults of Say.
    pub say: SayOptions,
    /// How words are said that a voice gets wrong.
    pub lexicon: Arc<Lexicon>,
    /// A session that says nothing about it keeps no text.
    pub private: bool,
    /// What is not said of a backend is `Patience::default()`.
    pub patience: BTreeMap<String, Patience>,
    /// Synthesised at the start.
    pub pins: Vec<Pin>,
    /// Code points of a phrase that the cache keeps by itself; 0 = there is no cache.
    pub cache_chars: usize,
    /// Bytes of one utterance's text.
    pub text_bytes: usize,
    /// Open utterances of a session.
    pub utterances: usize,
    /// Open sessions.
    pub sessions: usize,
    /// Stored but unplayed audio at which no further piece is requested.
    pub look_ahead_us: Micros,
    /// Collected text that nobody commits is dropped after this time.
    pub collect_ttl_us: Micros,
    /// Bytes of one buffer.
    pub collect_bytes: usize,
    /// Chunks of one buffer.
    pub collect_chunks: usize,
    /// A text stream without an append ends after this time.
    pub stream_idle_us: Micros,
    /// How long a cancelled id is remembered for late traffic.
    pub tombstone_us: Micros,
    /// Default fade of cut and pause.
    pub fade_us: u32,
    /// A cancel replies at the latest after this.
    pub reply_us: Micros,
    /// Who may manage beside root: the uid of the daemon itself. `None`: everybody who can call.
    pub manager_uid: Option<u32>,
    /// The manager's gain until a client sets another.
    pub output_gain_db: f64,
    /// What sessions begin with.
    pub barge_in: BargeIn,
}

/// How user speech is taken, until a client says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct BargeIn {
    /// Of sessions on the loudspeaker.
    pub policy: BargeInPolicy,
    /// Id of the detector, or "none".
    pub detector: String,
    /// What "mhm" does.
    pub backchannel: Backchannel,
    /// A suspicion that nothing confirms is taken back after this.
    pub false_interruption_us: Micros,
    /// A detector's confirmation of shorter speech waits until it has lasted this long.
    pub min_speech_us: Micros,
    /// For this long after the agent's first speech the echo canceller is still learning, and a detector is not acted upon.
    pub warm_up_us: Micros,
    /// Of detectors: 0 … 1.
    pub sensitivity: f64,
}

impl Default for BargeIn {
    fn default() -> Self {
        Self {
            policy: BargeInPolicy::Off,
            detector: "detector-bargein".to_owned(),
            backchannel: Backchannel::Cancel,
            false_interruption_us: 2_000_000,
            min_speech_us: 0,
            warm_up_us: 0,
            sensitivity: 0.5,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            say: SayOptions::default(),
            lexicon: Arc::default(),
            private: false,
            patience: BTreeMap::new(),
            pins: Vec::new(),
            cache_chars: 200,
            text_bytes: 262_144,
            utterances: 1000,
            sessions: 4096,
            look_ahead_us: 5_000_000,
            collect_ttl_us: 60_000_000,
            collect_bytes: 262_144,
            collect_chunks: 4096,
            stream_idle_us: 30_000_000,
            tombstone_us: 2_000_000,
            fade_us: 5_000,
            reply_us: 100_000,
            manager_uid: None,
            output_gain_db: 0.0,
            barge_in: BargeIn::default(),
        }
    }
}
