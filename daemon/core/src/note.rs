//! Facts for the log and the metrics: what the shell writes down of what was decided. Nothing follows from them.

use crate::audio::RecordingEnd;
use crate::effect::Stages;
use crate::ids::{Micros, SynthesisId, UtteranceId};

/// Facts for the log and the metrics.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// A session was opened.
    SessionOpened { session: String },
    /// A session was closed.
    SessionClosed { session: String },
    /// A Say was accepted.
    Accepted { session: String, utterance: UtteranceId },
    /// A counter of the local guard grew.
    OwnerCounted { counter: &'static str, by: u64 },
    /// The session's first frame.
    FirstFrameSent { session: String, utterance: UtteranceId },
    /// The first frame of an utterance, this long after acceptance.
    Started {
        session: String,
        utterance: UtteranceId,
        first_audio_us: Micros,
    },
    /// An utterance ended.
    Finished {
        session: String,
        utterance: UtteranceId,
        outcome: &'static str,
        played_us: Micros,
        /// Synthesised and not heard.
        wasted_us: Micros,
    },
    /// A cancel was carried out.
    Cancelled {
        session: String,
        reason: String,
        stages: Stages,
        utterances: u32,
    },
    /// What is collected and not committed, in the session and in all.
    Collected {
        session: String,
        buffers: usize,
        bytes: usize,
        all_buffers: usize,
        all_bytes: usize,
    },
    /// A commit joined over missing chunks, in so many places.
    CollectGaps { session: String, holes: u64 },
    /// Nobody committed it in time.
    CollectExpired { session: String, turn: u64 },
    /// A Say of an older turn.
    StaleTurn { session: String },
    /// A step of the cancel chain did not answer in time.
    CancelFailed { session: String, error: String },
    /// A synthesis failed on its backend's account.
    BackendFailed { backend: String, error: String, silent: bool },
    /// A backend failed so often, or so badly, that it is not asked for a while.
    BackendAway {
        backend: String,
        error: String,
        failures: u32,
        again_us: Micros,
    },
    /// It speaks again.
    BackendBack { backend: String },
    /// Another backend speaks what the first could not.
    FellBack {
        session: String,
        utterance: UtteranceId,
        from: String,
        to: String,
        error: String,
    },
    /// A server did not acknowledge a cancel; `reported` if the cancel's own report says so.
    CancelUnacknowledged {
        synthesis: SynthesisId,
        backend: String,
        error: String,
        reported: bool,
    },
    /// A phrase of the configuration was synthesised, or why it was not.
    Primed { text: String, error: Option<String> },
    /// User speech met, or may have met, the agent's; as the signal says it.
    BargeIn {
        session: String,
        stage: &'static str,
        detector: String,
        latency_us: Micros,
        utterance: Option<UtteranceId>,
    },
    /// A confirmed barge-in was carried out, the session's `count`th.
    BargedIn {
        session: String,
        utterance: UtteranceId,
        /// From the onset of the user's speech to the agent's silence.
        latency_us: Micros,
        count: u64,
    },
    /// The user spoke into a protected utterance, of which so much was sent.
    GreetingProtect {
        session: String,
        utterance: UtteranceId,
        sent_us: Micros,
    },
    /// An utterance that began protected was heard to its end.
    GreetingCompleted { session: String, utterance: UtteranceId },
    /// A detector cannot be relied on; `instead`: the one that takes its place, "report-only", or "".
    DetectorFailed {
        session: String,
        detector: String,
        message: String,
        instead: String,
    },
    /// A transition of the audio owner was decided.
    Transition {
        session: String,
        transition: &'static str,
        outcome: &'static str,
        generation: u64,
    },
    /// A transition named no session that may have it; `session` is what was named, perhaps nothing.
    TransitionRefused {
        session: String,
        transition: &'static str,
        error: String,
    },
    /// The device did not do what a transition needed.
    TransitionFailed {
        session: String,
        transition: &'static str,
        generation: u64,
        error: String,
    },
    /// A recording has begun.
    RecordingStarted { session: String, file: String },
    /// A recording is over.
    RecordingFinished { session: String, file: String, end: RecordingEnd },
    /// The microphone was closed, and not by us.
    DeviceLost { session: String, generation: u64 },
}
