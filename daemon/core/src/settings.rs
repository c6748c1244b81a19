//! What the core needs of the configuration; ranges are checked where it is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Lexicon;
use crate::backend::{Patience, Pin};
use crate::bargein::BargeIn;
use crate::ids::Micros;
use crate::options::SayOptions;

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
