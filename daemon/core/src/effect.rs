//! What goes out: what the shell carries out, in this order, and what clients are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::audio::{AudioFormat, Direction, RecordingEnd};
use crate::backend::CacheUse;
use crate::ids::{Micros, OrderId, RecordingId, SessionId, SynthesisId, Token, TrackId, UtteranceId};
use crate::note::Note;
use crate::options::{Output, Priority};
use crate::request::{DriverInfo, Failure, SynthesisState, Told};
use crate::source::Source;

/// One thing to do. The shell carries effects out in the order in which they were decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer a client.
    Reply { token: Token, reply: Result<Reply, Failure> },
    /// Tell everybody who listens.
    Signal { session: String, signal: Signal },
    /// A session's properties changed; the shell publishes the difference.
    SessionChanged { session: String, properties: SessionProperties },
    /// The manager's properties changed.
    ManagerChanged { properties: ManagerProperties },
    /// Owner of the local audio changed hands.
    OwnerChanged {
        old: String,
        new: String,
        transition: &'static str,
        generation: u64,
    },
    /// AudioOwner's properties changed.
    OwnerPropertiesChanged { properties: OwnerProperties },
    /// The one effect that opens and closes the microphone and repairs routes; answered by `Input::Device` with this order.
    Device {
        order: OrderId,
        op: DeviceOp,
        output: Output,
        session: String,
        generation: u64,
    },
    /// Let this detector hear what the session's microphone (or line) brings; its findings come back as `Input::Finding` with this generation, which
    /// is never used again. A start without a stop before it takes the place of the one that runs. Follows the answer to `DeviceOp::OpenCapture`.
    DetectorStart {
        session: SessionId,
        name: String,
        output: Output,
        generation: u64,
        detector: String,
        language: String,
        /// The first suspicion will cancel (`cancel-at-once`): it must be surer than one that only pauses.
        one_stage: bool,
    },
    /// No longer.
    DetectorStop { session: SessionId, name: String },
    /// What detectors and readers of the session must know; told at the start of either, and then on every change.
    DetectorContext {
        session: SessionId,
        name: String,
        /// Something of the session is being heard.
        speaking: bool,
        /// What is heard, else what is heard next, is protected from barge-in.
        protected: bool,
        /// The microphone is muted: readers and detectors get zeros, and detectors are told.
        muted: bool,
    },
    /// What the session's microphone brings reaches its readers, or does so no longer: they get zeros.
    Readers {
        session: SessionId,
        name: String,
        delivering: bool,
    },
    /// A session object appeared.
    SessionOpened {
        key: SessionId,
        session: String,
        output: Output,
        properties: SessionProperties,
    },
    /// A session object is gone.
    SessionClosed { session: String },
    /// Open this output: the one effect that opens audio.
    OpenOutput { output: Output },
    /// A track to play on.
    OpenTrack {
        track: TrackId,
        session: SessionId,
        output: Output,
        gain: f32,
        paused: bool,
    },
    /// No longer needed.
    CloseTrack { track: TrackId },
    /// Queue the utterance's store on the track.
    Play { track: TrackId, utterance: UtteranceId },
    /// Silence the utterance, wherever it is; answered by `PlaybackEvent::Cut`.
    Cut { utterance: UtteranceId, fade_us: u32 },
    /// Fade out and hold the sample; answered by `PlaybackEvent::Paused`.
    PauseTrack { track: TrackId, fade_us: u32 },
    /// Go on from the sample.
    ResumeTrack { track: TrackId },
    /// Linear gain of a track, reached by a ramp of this length.
    Gain { track: TrackId, linear: f32, ramp_us: u32 },
    /// Tell by a `PlaybackEvent::Mark` when this much of the utterance was heard: its protection ends there.
    Watch {
        utterance: UtteranceId,
        output: Output,
        at_us: Micros,
    },
    /// Ask a backend.
    Synthesize(Synthesis),
    /// Synthesise for the cache alone; answered like `Synthesize`, but for what concerns playing.
    Prime(Prime),
    /// No backend speaks the rest: the utterance is complete with what it has.
    EndStore { utterance: UtteranceId },
    /// No piece follows those that were asked for: the utterance is complete after them.
    CloseStore { utterance: UtteranceId },
    /// Stop a synthesis and tell its backend once; answered by `SynthesisEvent::Told`.
    CancelSynthesis { synthesis: SynthesisId },
    /// Nothing more will be asked about this utterance.
    Forget { utterance: UtteranceId },
    /// Make a stream for a client; the shell answers it.
    AcquireAudio {
        token: Token,
        session: SessionId,
        name: String,
        output: Output,
        direction: Direction,
        format: AudioFormat,
    },
    /// Make a recording's file; answered by `RecordingEvent::Opened` or `Refused`, and in the end by `Ended`.
    StartRecording {
        recording: RecordingId,
        session: SessionId,
        name: String,
        output: Output,
        file: String,
    },
    /// From now on it may be written.
    BeginRecording { recording: RecordingId },
    /// Make it whole and close it; answered by `RecordingEvent::Ended` with this reason.
    StopRecording { recording: RecordingId, reason: &'static str },
    /// For the log and the metrics.
    Note(Note),
}

/// What the audio device is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceOp {
    /// Open the microphone, in place of what is open of this output (of "null": of this session); answered by `Opened` or `Failed`. From then on the device tells of this
    /// order by `Lost` and `Back`, until it is closed or replaced.
    OpenCapture,
    /// Close what this order opened, or is still opening; answered by `Closed`, also if there is nothing to close.
    CloseCapture { capture: OrderId },
    /// Repair playback's connections where they differ from what they should be; answered by `Asserted`.
    AssertRoutes,
}

/// A request to a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Synthesis {
    /// Its own id, the one a server is told.
    pub synthesis: SynthesisId,
    /// Whose sound it is.
    pub utterance: UtteranceId,
    /// Number of the session's incarnation.
    pub session: u64,
    /// What speaks. For a sound only where it is heard, its gain and its place in the utterance mean something.
    pub source: Source,
    /// Where it will be heard (decides the sample rate).
    pub output: Output,
    /// Backend id.
    pub backend: String,
    /// Voice id, "" = the backend's own choice.
    pub voice: String,
    /// BCP 47 tag or "".
    pub language: String,
    /// 1.0 = normal.
    pub rate: f64,
    /// 1.0 = normal.
    pub pitch: f64,
    /// Applied to the samples.
    pub gain_db: f64,
    /// What to speak.
    pub text: String,
    /// The backend's own, a JSON object.
    pub params: Arc<str>,
    /// Code points of what is spoken of the utterance before this piece.
    pub char_base: u32,
    /// First piece of the utterance.
    pub first: bool,
    /// Last piece of the utterance.
    pub last: bool,
    /// Not the last, but what follows is not known yet: behind it the utterance waits.
    pub open: bool,
    /// Another backend may be asked when this one brings no audio: the utterance is not over then.
    pub retry: bool,
    /// Given up if there is no audio after this time; 0 = never.
    pub first_audio_us: Micros,
    /// Given up if no sample follows for this time; 0 = never.
    pub stall_us: Micros,
    /// Whether it is taken from the cache, and kept there.
    pub cache: CacheUse,
}

/// A phrase for the cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Prime {
    pub synthesis: SynthesisId,
    pub backend: String,
    pub voice: String,
    pub language: String,
    pub rate: f64,
    pub pitch: f64,
    pub text: String,
    /// Last piece of its phrase.
    pub last: bool,
}

/// What a client gets back.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Nothing but success.
    Done,
    /// OpenSession: the id, for its object path.
    Session(String),
    /// Say: 0 = the turn is stale or the session was busy (mode if-idle).
    Utterance(u64),
    /// AcquireAudio "inject": the shell makes the stream and hands it out with this. Utterance 0: not accepted, as Say.
    Feed {
        utterance: u64,
        format: AudioFormat,
        output: Output,
        at_us: Micros,
    },
    /// Submit.
    Submitted { ack: &'static str, utterance: u64, buffered: u32 },
    /// SayAppend.
    Ack(&'static str),
    /// Cancel.
    Report(Box<Report>),
    /// ReportSpeech: "paused" | "cancelled" | "resumed" | "ignored" | "protected".
    Decision(&'static str),
    /// CancelAll: utterances cancelled.
    Count(u32),
    /// Wait.
    Waited {
        outcome: &'static str,
        report: Option<Box<Report>>,
    },
    /// GetHistory.
    History(Vec<HistoryEntry>),
    /// StopRecording: the file and how it ended, if there was one.
    Recording(Option<(String, RecordingEnd)>),
    /// Properties of a session.
    SessionProperties(Box<SessionProperties>),
    /// Every open session.
    Sessions(Vec<(String, SessionProperties)>),
    /// Properties of the manager.
    ManagerProperties(Box<ManagerProperties>),
    /// One of the four transitions: "applied" | "joined" | "already" | "stale".
    Transition { outcome: &'static str, generation: u64 },
    /// Properties of the audio owner, and its counters.
    OwnerProperties(OwnerProperties, BTreeMap<&'static str, u64>),
}

/// Signals of a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// Its first frame was heard.
    UtteranceStarted {
        utterance: UtteranceId,
        first_audio_us: Micros,
        /// From the user's last speech sample to this; unknown while the user speaks, or never did.
        user_silence_us: Option<Micros>,
        tag: String,
        turn: u64,
    },
    /// A sentence or word begins to be heard, or a mark is reached.
    UtteranceProgress {
        utterance: UtteranceId,
        kind: &'static str,
        chars: std::ops::Range<u32>,
        played_us: Micros,
        text: Option<String>,
        /// Of an SSML mark.
        name: Option<String>,
        tag: String,
        turn: u64,
    },
    /// Exactly once for every utterance.
    UtteranceFinished {
        utterance: UtteranceId,
        outcome: Outcome,
        report: Box<Report>,
    },
    /// The session began to listen, or ceased to.
    ListeningChanged {
        on: bool,
        reason: &'static str,
        turn: u64,
        generation: u64,
    },
    /// Once a session.
    FirstFrameSent { utterance: UtteranceId },
    /// A recording has begun.
    RecordingStarted { file: String, path: String },
    /// Exactly once for every recording that was started.
    RecordingFinished { file: String, end: RecordingEnd },
    /// User speech met, or may have met, the agent's: "suspected" | "confirmed" | "false" | "ignored" | "protected".
    BargeIn {
        stage: &'static str,
        /// Who heard it: a detector's id, or "report".
        detector: String,
        /// From its onset to this decision.
        latency_us: Micros,
        /// What was heard then, or would have been next.
        utterance: Option<UtteranceId>,
    },
    /// The user began to speak.
    SpeechStarted { at_us: Micros, probability: f64 },
    /// The user fell silent.
    SpeechStopped { duration_us: Micros, at_us: Micros },
    /// Another finding of a detector: "turn-end" | "backchannel" | "machine" | "human" | "tone".
    Detected {
        kind: &'static str,
        detector: String,
        at_us: Micros,
        confidence: f64,
    },
}

/// How an utterance ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Heard to its last sample.
    Completed,
    /// Cut or dropped.
    Cancelled,
    /// The backend could not.
    Failed(Failure),
    /// Not begun in time.
    Expired,
}

impl Outcome {
    /// The word on the wire.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Failed(_) => "failed",
            Self::Expired => "expired",
        }
    }
}

/// How the heard text is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeardSource {
    /// Word marks of the backend, or heard to the end.
    Words,
    /// By time.
    Estimated,
    /// Nothing was heard.
    #[default]
    None,
}

impl HeardSource {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Estimated => "estimated",
            Self::None => "none",
        }
    }
}

/// What was heard, what was dropped, how long each stage took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// In Cancel's reply only: "cancelled" | "already" | "nothing" | "protected".
    pub result: Option<&'static str>,
    /// Of which utterances.
    pub utterances: Vec<UtteranceId>,
    /// A prefix of the text as sent.
    pub heard_text: String,
    /// How it is known.
    pub heard_source: HeardSource,
    /// "" when completed or failed.
    pub reason: String,
    /// Of the one that was heard.
    pub turn: u64,
    /// The client's tag.
    pub tag: String,
    /// Really used.
    pub backend: String,
    /// Really used.
    pub voice: String,
    /// Every sample handed to the sink.
    pub played_us: Micros,
    /// Utterances dropped before they began.
    pub queued_dropped: u32,
    /// What became of each synthesis.
    pub syntheses: Vec<(SynthesisId, SynthesisState, Told)>,
    /// Only if something was cancelled.
    pub stages: Option<Stages>,
    /// When the call arrived that the stages count from, monotonic clock.
    pub arrived: Micros,
    /// Steps that failed.
    pub errors: Vec<String>,
    /// When failed.
    pub failure: Option<Failure>,
}

/// Microseconds since the call arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// The guard was armed.
    pub guard_us: Micros,
    /// The last non-zero sample.
    pub silent_us: Micros,
    /// The last request to a backend was issued.
    pub notified_us: Micros,
    /// The report was complete.
    pub done_us: Micros,
}

/// One line of what was really said and heard.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryEntry {
    /// Which.
    pub utterance: UtteranceId,
    /// Text as sent.
    pub said: String,
    /// What was heard of it.
    pub heard: String,
    /// Outcome's word.
    pub outcome: &'static str,
    /// Report's reason.
    pub reason: String,
    /// When it finished, monotonic clock.
    pub at_us: Micros,
    /// The client's tag.
    pub tag: String,
    /// Its turn.
    pub turn: u64,
}

impl HistoryEntry {
    /// Its text in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.said.len() + self.heard.len() + self.reason.len() + self.tag.len()
    }
}

/// Properties of a session as published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionProperties {
    pub id: String,
    pub state: &'static str,
    pub speaking: bool,
    pub turn: u64,
    pub active_utterance: u64,
    pub queue_length: u32,
    pub collected_bytes: u32,
    pub output: &'static str,
    pub gain_db: f64,
    pub muted: bool,
    pub mic_muted: bool,
}

/// Properties of the manager as published.
#[derive(Clone, Debug, PartialEq)]
pub struct ManagerProperties {
    pub driver: DriverInfo,
    pub gain_db: f64,
    pub muted: bool,
    pub mic_muted: bool,
    pub min_priority: Priority,
}

/// Properties of the audio owner as published; they speak of the local device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerProperties {
    /// Session id, "" = nobody.
    pub owner: String,
    /// "idle" | "listening" | "speaking" | "listening-and-speaking".
    pub state: &'static str,
    /// Applied transitions.
    pub generation: u64,
}

impl Default for OwnerProperties {
    fn default() -> Self {
        Self {
            owner: String::new(),
            state: "idle",
            generation: 0,
        }
    }
}
