//! What comes in: the verbs of clients, and the facts that the shell reports. All plain data.

use std::sync::Arc;

use crate::audio::{AudioFormat, Direction, RecordingEvent};
use crate::backend::{Backend, Fault};
use crate::bargein::SpeechDetails;
use crate::hearing::{Finding, Report};
use crate::ids::{Micros, OrderId, RecordingId, SessionId, SynthesisId, Token, TrackId, UtteranceId};
use crate::options::{CancelOptions, Output, Phase, PlayOptions, Priority, SayOptions, SessionOptions};
use crate::settings::Settings;
use crate::source::Sound;

/// Everything the core can be told.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "inputs are moved once, from the inbox into the core")]
pub enum Input {
    /// A client asks for something and waits for `Effect::Reply` with this token.
    Client {
        /// Whom to answer.
        token: Token,
        /// Who asks.
        caller: Caller,
        /// When the call arrived; the stages of a cancel are counted from here.
        arrived: Micros,
        /// What is asked.
        request: Request,
    },
    /// A connection left the bus: its sessions of lifetime "client" close.
    ConnectionLost {
        /// Its unique name.
        connection: Arc<str>,
    },
    /// A synthesis moved on.
    Synthesis {
        /// Which.
        synthesis: SynthesisId,
        /// What happened.
        event: SynthesisEvent,
    },
    /// Something was heard, or fell silent.
    Playback(PlaybackEvent),
    /// The audio server came, went or changed.
    Driver(DriverInfo),
    /// The audio device answered an order, or tells of the capture that this order opened.
    Device {
        order: OrderId,
        output: Output,
        event: DeviceEvent,
    },
    /// A detector heard something; `generation` is that of the `Effect::DetectorStart` it runs by, and an older one is not listened to.
    Finding {
        session: SessionId,
        generation: u64,
        finding: Finding,
    },
    /// The detector that this `Effect::DetectorStart` asked for could not be opened, or cannot go on; nothing more comes of it.
    DetectorFailed {
        session: SessionId,
        generation: u64,
        detector: String,
        message: String,
    },
    /// A recording moved on.
    Recording { recording: RecordingId, event: RecordingEvent },
    /// The plugins that can speak.
    Backends(Vec<Backend>),
    /// What a plugin says of itself: it works, or why it does not.
    BackendHealth { backend: String, health: Result<(), String> },
    /// Ids of the plugins that can hear; the first that is not broken stands in for one that is.
    Detectors(Vec<String>),
    /// A new configuration.
    Settings(Box<Settings>),
    /// The daemon is ready to make sound.
    Start,
    /// Time passed.
    Tick,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Effective uid, from the bus.
    pub uid: u32,
    /// Unique name of the connection.
    pub connection: Arc<str>,
}

/// Which session a client means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By id, as Manager's one-liners do.
    Id(String),
    /// By object path: a session that is gone is an unknown object there.
    Object(String),
}

/// The verbs.
#[derive(Clone, Debug)]
pub enum Request {
    /// Manager.OpenSession.
    Open { id: String, options: SessionOptions },
    /// Manager.CloseSession and Session.Close.
    Close { target: Target, drain: bool },
    /// Session.Configure.
    Configure { target: Target, options: SessionOptions },
    /// Say.
    Say { target: Target, text: String, options: SayOptions },
    /// Play.
    Play {
        target: Target,
        sound: Sound,
        options: PlayOptions,
    },
    /// AcquireAudio "inject"; nothing lies beside.
    Inject {
        target: Target,
        format: AudioFormat,
        options: PlayOptions,
    },
    /// SayOpen.
    SayOpen { target: Target, options: SayOptions },
    /// SayAppend.
    SayAppend {
        target: Target,
        utterance: u64,
        seq: u64,
        text: String,
    },
    /// SayEnd.
    SayEnd { target: Target, utterance: u64 },
    /// Submit.
    Submit {
        target: Target,
        phase: Phase,
        turn: u64,
        chunk_seq: u64,
        text: String,
        options: SayOptions,
    },
    /// Wait; utterance 0 = the newest.
    Wait {
        target: Target,
        utterance: u64,
        timeout_us: Option<Micros>,
    },
    /// Cancel.
    Cancel { target: Target, options: CancelOptions },
    /// CancelAll.
    CancelAll { reason: Option<String> },
    /// Pause.
    Pause {
        target: Target,
        fade_us: Option<u32>,
        auto_resume_us: Option<Micros>,
    },
    /// Resume.
    Resume { target: Target },
    /// ReportSpeech.
    ReportSpeech {
        target: Target,
        kind: Report,
        details: SpeechDetails,
    },
    /// AcquireAudio, but for "inject".
    AcquireAudio {
        target: Target,
        direction: Direction,
        format: AudioFormat,
    },
    /// StartRecording.
    StartRecording { target: Target, file: String },
    /// StopRecording.
    StopRecording { target: Target },
    /// GetHistory.
    History { target: Target, after: u64, limit: usize },
    /// The session's properties.
    SessionProperties { target: Target },
    /// Every open session with its properties.
    Sessions,
    /// The manager's properties.
    ManagerProperties,
    /// One of AudioOwner's four methods; turn 0 = the current one.
    Transition { transition: Transition, target: Target, turn: u64 },
    /// AudioOwner's properties.
    OwnerProperties,
    /// A write of Session.GainDb.
    SetSessionGain { target: Target, gain_db: f64 },
    /// A write of Session.Muted.
    SetSessionMuted { target: Target, muted: bool },
    /// A write of Session.MicMuted.
    SetSessionMicMuted { target: Target, muted: bool },
    /// A write of Manager.MicMuted.
    SetMasterMicMuted { muted: bool },
    /// A write of Manager.GainDb.
    SetMasterGain { gain_db: f64 },
    /// A write of Manager.Muted.
    SetMasterMuted { muted: bool },
    /// A write of Manager.MinPriority.
    SetMinPriority { priority: Priority },
}

/// The four transitions of the audio owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transition {
    EnterListening,
    LeaveListening,
    MicClosedRecovery,
    PlaybackReassert,
}

impl Transition {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::EnterListening => "enter-listening",
            Self::LeaveListening => "leave-listening",
            Self::MicClosedRecovery => "mic-closed-recovery",
            Self::PlaybackReassert => "playback-reassert",
        }
    }
}

/// What the audio device reports of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceEvent {
    /// The capture is open.
    Opened,
    /// It is closed.
    Closed,
    /// So many connections were made or undone; 0 = all were right.
    Asserted { repaired: u32 },
    /// It cannot.
    Failed { reason: String },
    /// The capture that this order opened is gone: its ports vanished or the server died.
    Lost,
    /// It could be opened again.
    Back,
}

/// What the shell's workers say of a synthesis.
#[derive(Clone, Debug)]
pub enum SynthesisEvent {
    /// Its request was written.
    Requested,
    /// Its first sample arrived.
    FirstAudio,
    /// Its last sample arrived.
    Delivered {
        /// How much audio it brought.
        audio_us: Micros,
        /// How much of the utterance is stored but not played.
        ahead_us: Micros,
    },
    /// It is spoken from the cache: no request is written.
    Cached,
    /// It ended with an error.
    Failed {
        /// What went wrong.
        error: Failure,
        /// How much audio it had brought.
        audio_us: Micros,
        /// On whose account.
        fault: Fault,
    },
    /// It ended because it was cancelled.
    Stopped,
    /// The answer to `Effect::CancelSynthesis`, exactly one.
    Told {
        /// Its state when the cancel found it.
        state: SynthesisState,
        /// What was done.
        told: Told,
        /// When the backend had been told.
        at: Micros,
    },
    /// A server did not acknowledge its cancel.
    Unacknowledged {
        /// Whose server.
        backend: String,
        /// What it did instead.
        error: String,
    },
}

/// Where a synthesis stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SynthesisState {
    /// Its request was not written.
    Queued,
    /// Written, nothing came back yet.
    Requested,
    /// Audio arrives.
    Streaming,
    /// Everything arrived.
    Delivered,
    /// Spoken from the cache; a word of reports, nothing on the way to the others.
    Cached,
}

impl SynthesisState {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Requested => "requested",
            Self::Streaming => "streaming",
            Self::Delivered => "delivered",
            Self::Cached => "cached",
        }
    }
}

/// What a cancel did to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The request had not left the house, and never will.
    NotRequested,
    /// The backend was told, once.
    Told,
    /// There was nothing left to stop.
    NotNeeded,
    /// The backend has no way to be told.
    Cannot,
}

impl Told {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotRequested => "not-requested",
            Self::Told => "told",
            Self::NotNeeded => "not-needed",
            Self::Cannot => "cannot",
        }
    }
}

/// An error of the contract's list, with a message that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which error.
    pub kind: ErrorKind,
    /// For people.
    pub message: String,
}

/// `org.utterd.Utterd1.Error.*`, and the standard ones that the core decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// `InvalidArgs`, of the standard.
    InvalidArgs,
    /// `UnknownObject`, of the standard.
    UnknownObject,
    InvalidSession,
    NoSuchSession,
    SessionClosed,
    NoSuchUtterance,
    NoSuchVoice,
    NoSuchBackend,
    BackendUnavailable,
    LimitExceeded,
    WrongState,
    FormatNotSupported,
    NotPermitted,
    NotSupported,
    Failed,
}

/// What the sink reports, in order for one utterance.
#[derive(Clone, Debug)]
pub enum PlaybackEvent {
    /// Its first sample was heard.
    Started { utterance: UtteranceId },
    /// A mark's onset was heard.
    Mark {
        utterance: UtteranceId,
        /// Only words advance the heard text.
        word: bool,
        /// Onset in the utterance's own audio.
        onset_us: Micros,
        /// Code points of the utterance's text.
        chars: std::ops::Range<u32>,
    },
    /// Its last sample was heard.
    Ended { utterance: UtteranceId, played_us: Micros },
    /// It is silent after `Effect::Cut`; exactly one answer.
    Cut {
        utterance: UtteranceId,
        played_us: Micros,
        silent_at: Micros,
    },
    /// Everything queued on the track is in the ring: what is played next follows without a gap.
    Hungry { track: TrackId },
    /// Less than the look-ahead is stored.
    Low { utterance: UtteranceId },
    /// An open stream was heard as far as it goes.
    Dry { utterance: UtteranceId, played_us: Micros },
    /// A paused track is silent.
    Paused { track: TrackId },
}

/// The audio server as clients see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriverInfo {
    /// "jack" or "timer".
    pub driver: &'static str,
    /// "running" or "reconnecting".
    pub state: &'static str,
    /// Hz.
    pub rate: u32,
    /// Frames a period.
    pub period: u32,
}
