//! A TTS backend as the synth room holds it: what it says of itself, and the calls. Behind it stands the table of a plugin (`table.rs`), or
//! anything else that implements [`TtsCalls`], such as a test's own voice. Calls to a backend that is not concurrent are serial here already,
//! so that no mistake of a caller can reach a singleton library from two threads.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::types::{BackendCounts, CancelWay, SpeakEnd, SpeakRequest, SpeakSink, SynthError, Voice};

/// What stands behind a [`TtsBackend`].
pub trait TtsCalls: Send + Sync {
    /// Blocks until the last sample is written, or soon after the sink says "cancelled". `[worker]`
    fn speak(&self, req: &SpeakRequest<'_>, sink: &dyn SpeakSink) -> Result<SpeakEnd, SynthError>;
    /// Beside a running `speak`, for its id or one that has ended. Idempotent, quick. `[control]`
    fn cancel(&self, synthesis: u64, reason: u32);
    /// What had to be mended so far. `[any]`
    fn counts(&self) -> BackendCounts {
        BackendCounts::default()
    }
}

/// What a backend says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TtsInfo {
    /// The plugin's id, which is the backend's.
    pub id: String,
    pub voices: Vec<Voice>,
    /// The voice of a request that names none; may be empty.
    pub default_voice: String,
    /// May `speak` run more than once at a time.
    pub concurrent: bool,
    pub gives_marks: bool,
    pub cancel_way: CancelWay,
}

/// One TTS backend. Shared by everyone who speaks through it; the instance ends with the last of them.
pub struct TtsBackend {
    info: TtsInfo,
    calls: Box<dyn TtsCalls>,
    /// Held during `speak` unless the backend is concurrent.
    turn: Mutex<()>,
}

impl TtsBackend {
    /// A backend from its parts: the loader's way, and that of tests.
    pub fn new(info: TtsInfo, calls: Box<dyn TtsCalls>) -> Self {
        Self {
            info,
            calls,
            turn: Mutex::new(()),
        }
    }

    /// The plugin's id. `[any]`
    pub fn id(&self) -> &str {
        &self.info.id
    }

    /// Its voices, as it described them when it was loaded. `[any]`
    pub fn voices(&self) -> Vec<Voice> {
        self.info.voices.clone()
    }

    /// Spoken when a request names no voice; may be empty. `[any]`
    pub fn default_voice(&self) -> &str {
        &self.info.default_voice
    }

    /// Whether `speak` may run more than once at a time. `[any]`
    pub fn concurrent(&self) -> bool {
        self.info.concurrent
    }

    /// Whether it gives marks. `[any]`
    pub fn gives_marks(&self) -> bool {
        self.info.gives_marks
    }

    /// How it is stopped. `[any]`
    pub fn cancel_way(&self) -> CancelWay {
        self.info.cancel_way
    }

    /// What had to be mended so far. `[any]`
    pub fn counts(&self) -> BackendCounts {
        self.calls.counts()
    }

    /// Speaks; blocks until the last sample is written or the cancel is obeyed. `[worker]`
    pub fn speak(&self, req: &SpeakRequest<'_>, sink: &dyn SpeakSink) -> Result<SpeakEnd, SynthError> {
        // A panic of a sink poisons nothing that we guard: the lock holds no data.
        let _turn = (!self.info.concurrent).then(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        if sink.cancelled() {
            return Ok(SpeakEnd::Cancelled);
        }
        self.calls.speak(req, sink)
    }

    /// Tells the backend that a synthesis is not wanted any more; also for one that has ended or was never heard of. `[control]`
    pub fn cancel(&self, synthesis: u64, reason: u32) {
        self.calls.cancel(synthesis, reason);
    }
}

impl fmt::Debug for TtsBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TtsBackend").field("info", &self.info).finish_non_exhaustive()
    }
}
