//! The trait of a detector: near and far end in, what the user does out.

use super::{Host, Result};
use crate::abi::*;
use crate::json::DetectorDescription;
use serde::de::DeserializeOwned;

/// A detector of user speech. One instance, and a stream for each session that listens.
pub trait Detector: Sized + Send + Sync + 'static {
    /// Its configuration; see [`super::Tts::Config`].
    type Config: DeserializeOwned + Default;
    /// What listens to one session.
    type Stream: Listen;
    /// `process` allocates, locks and waits for nothing and takes less than 200 µs: it may run on a real-time thread. `utterd-plugin-check` looks.
    const HARD_RT: bool = false;
    /// It hears nothing without the far end.
    const NEEDS_FAR: bool = false;
    /// It writes the near end without the far end's echo into [`Frame::clean`].
    const CLEANS: bool = false;
    /// JSON Schema (2020-12) of the configuration, for tools.
    const SCHEMA: &'static str = r#"{"type":"object"}"#;

    /// A new instance. `id` is what config calls it. `[setup, at most 10 s]`
    fn new(host: Host, id: &str, config: Self::Config) -> Result<Self>;

    /// What it takes. `[setup]`
    fn describe(&self) -> DetectorDescription {
        DetectorDescription::default()
    }

    /// A new stream, with all the memory that it will need. `[setup]`
    fn open(&self, config: &StreamConfig<'_>) -> Result<Self::Stream>;
}

/// One session's detector.
pub trait Listen: Send + 'static {
    /// Hears up to [`StreamConfig::frame`] samples. `[rt]`
    fn process(&mut self, frame: Frame<'_>) -> Heard;
    /// Forgets all: as if it had just been opened. `[rt]`
    fn reset(&mut self);
}

/// What a stream will be.
#[derive(Debug, Clone, Copy)]
pub struct StreamConfig<'a> {
    /// The session that it listens to.
    pub session: u64,
    /// Hz.
    pub rate: u32,
    /// The most samples of one `process`, and the usual number.
    pub frame: usize,
    /// BCP 47, or empty.
    pub language: &'a str,
    /// What it says first cancels: [`Event::SpeechStart`] may be as late as certainty needs.
    pub one_stage: bool,
}

impl<'a> StreamConfig<'a> {
    /// # Safety
    /// `config` is as R3 and R5 describe it, its string readable for `'a`.
    pub(super) unsafe fn read(config: *const UtDetStream) -> Option<Self> {
        // SAFETY: the caller's promise is ours.
        let config = unsafe { read_sized(config) }?;
        Some(Self {
            session: config.session,
            rate: config.rate,
            frame: config.frame as usize,
            // SAFETY: inputs are borrowed for the call (R5), which `'a` does not outlive.
            language: unsafe { config.lang.text() }?,
            one_stage: config.flags & UT_DETS_ONE_STAGE != 0,
        })
    }
}

/// A frame of both ends. All samples are finite.
#[derive(Debug)]
pub struct Frame<'a> {
    /// What the microphone or the line brought.
    pub near: &'a [f32],
    /// What was played, in step with `near` but for an echo path of its own; `None`: unknown.
    pub far: Option<&'a [f32]>,
    /// For [`Detector::CLEANS`]: as long as `near`, or empty when nobody wants it.
    pub clean: &'a mut [f32],
    /// The first sample's time, in samples of the stream's rate.
    pub t: u64,
    /// By how much the host shifted `far`, in samples.
    pub far_delay: i32,
    /// Samples that were lost before this frame.
    pub lost: u32,
    /// Hz.
    pub rate: u32,
    /// `UT_IN_*`.
    pub flags: u32,
}

impl Frame<'_> {
    /// The agent is speaking, so what the user says may be an interruption.
    pub fn ai_speaking(&self) -> bool {
        self.flags & UT_IN_AI_SPEAKING != 0
    }

    /// The two ends may have moved against each other: align anew.
    pub fn after_gap(&self) -> bool {
        self.flags & UT_IN_GAP != 0
    }

    /// The microphone is muted: `near` is zeros.
    pub fn muted(&self) -> bool {
        self.flags & UT_IN_MUTED != 0
    }

    /// # Safety
    /// `input` and `out` are as R3 and R5 describe them, and their buffers are lent for `'a`.
    pub(super) unsafe fn read(input: *const UtDetIn, out: *const UtDetOut) -> Option<Self> {
        // SAFETY: the caller's promise is ours.
        let (input, out) = unsafe { (read_sized(input)?, read_sized(out)?) };
        let n = input.n as usize;
        if n > 0 && (input.near_.is_null() || !input.near_.is_aligned() || !input.far_.is_aligned()) {
            return None;
        }
        // SAFETY: `n` readable samples behind each that is not NULL, `clean_n` writable ones behind `clean`, for the call (R5). An empty slice needs
        // no memory.
        let (near, far, clean) = unsafe {
            let of = |at: *const f32| if n == 0 { &[][..] } else { std::slice::from_raw_parts(at, n) };
            let clean = match out.clean_n as usize >= n && n > 0 && !out.clean.is_null() && out.clean.is_aligned() {
                true => std::slice::from_raw_parts_mut(out.clean, n),
                false => &mut [][..],
            };
            (of(input.near_), (!input.far_.is_null()).then(|| of(input.far_)), clean)
        };
        Some(Self {
            near,
            far,
            clean,
            t: input.t,
            far_delay: input.far_delay,
            lost: input.lost,
            rate: input.rate,
            flags: input.flags,
        })
    }
}

/// An edge: something begins or ends, or was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The user begins to speak; while the agent speaks, a suspicion.
    SpeechStart = UT_EV_SPEECH_START as isize,
    /// The user fell silent; after a suspicion: it was nothing.
    SpeechEnd = UT_EV_SPEECH_END as isize,
    /// The user interrupts: certain.
    BargeIn = UT_EV_BARGE_IN as isize,
    /// "mhm".
    Backchannel = UT_EV_BACKCHANNEL as isize,
    /// The user has said what was to be said.
    TurnEnd = UT_EV_TURN_END as isize,
    /// A key: [`Heard::value`] is its ASCII.
    Dtmf = UT_EV_DTMF as isize,
    /// An answering machine.
    Machine = UT_EV_MACHINE as isize,
    /// A human.
    Human = UT_EV_HUMAN as isize,
    /// A tone: [`Heard::value`] is its frequency in Hz.
    Tone = UT_EV_TONE as isize,
}

/// What was heard in a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Heard {
    /// That the user speaks now, 0 … 1.
    pub probability: f32,
    /// In the events, 0 … 1.
    pub confidence: f32,
    /// `UT_EV_*`: edges, not levels.
    pub events: u32,
    /// When what the events tell happened, in samples; may lie in the past.
    pub at: u64,
    /// Of [`Event::Dtmf`] and [`Event::Tone`].
    pub value: u32,
}

impl Heard {
    /// Nothing new.
    pub const fn quiet(probability: f32) -> Self {
        Self {
            probability,
            confidence: 0.0,
            events: 0,
            at: 0,
            value: 0,
        }
    }

    /// An event that happened at sample `at`.
    pub const fn event(event: Event, at: u64, probability: f32, confidence: f32) -> Self {
        Self {
            probability,
            confidence,
            events: event as u32,
            at,
            value: 0,
        }
    }

    /// Another event of the same moment.
    #[must_use]
    pub const fn and(mut self, event: Event) -> Self {
        self.events |= event as u32;
        self
    }

    /// # Safety
    /// `out` passed [`Frame::read`] in this call.
    pub(super) unsafe fn write(self, out: *mut UtDetOut) {
        // SAFETY: the struct has at least 1.0's size, so these fields exist; it is lent to us for writing. `size` is not touched.
        unsafe {
            (&raw mut (*out).events).write(self.events);
            (&raw mut (*out).prob).write(self.probability);
            (&raw mut (*out).confidence).write(self.confidence);
            (&raw mut (*out).t_event).write(self.at);
            (&raw mut (*out).value).write(self.value);
        }
    }
}
