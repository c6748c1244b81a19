//! What clients and the configuration say about barge-in.

use crate::hearing::{Backchannel, BargeInPolicy};
use crate::ids::Micros;

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
        }
    }
}

/// What somebody else's detector says beside the kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpeechDetails {
    /// The turn it is about; absent or 0 = whatever is active.
    pub turn: Option<u64>,
    /// The utterance it is about.
    pub utterance: Option<u64>,
    /// Onset, or of an end the end, on the monotonic clock; absent = now.
    pub at_us: Option<Micros>,
    /// What was understood.
    pub text: Option<String>,
    /// How many words.
    pub words: Option<u32>,
    /// 0 … 1.
    pub confidence: Option<f64>,
}
