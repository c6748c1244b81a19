//! A detector as the rx room and `utterd-detect` hold it: what it says of itself, and streams, one a session. No C type appears here;
//! `listen.rs` translates.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utterd_core::hearing::FindingKind;
use utterd_plugin_api::abi::*;

use super::probe::signal_name;

/// What stands behind a [`Detector`].
pub(super) trait DetectorCalls: Send + Sync {
    fn open(&self, spec: &DetectorStreamSpec<'_>, tally: &Arc<DetectorTally>) -> Result<Box<dyn StreamCalls>, DetectorError>;
}

/// What stands behind a [`DetectorStream`].
pub(super) trait StreamCalls: Send {
    fn process(&mut self, input: &DetectorInput<'_>, clean: Option<&mut [f32]>) -> Result<DetectorOutput, DetectorFault>;
    fn reset(&mut self);
}

/// What a detector says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DetectorInfo {
    /// The plugin's id.
    pub id: String,
    /// It may run on a real-time thread; one in a process of its own may not.
    pub hard_rt: bool,
    /// It hears nothing without the far end.
    pub needs_far: bool,
    /// It gives the near end without echo.
    pub cleans: bool,
    /// The rates that it takes, in Hz; none = any.
    pub rates: Vec<u32>,
    /// How much later than the near end the cleaned signal is.
    pub clean_delay_ms: u32,
}

/// One detector. Shared by everyone who listens through it; the instance ends with the last of them and of its streams.
pub struct Detector {
    info: DetectorInfo,
    tally: Arc<DetectorTally>,
    calls: Box<dyn DetectorCalls>,
}

impl Detector {
    pub(super) fn new(info: DetectorInfo, calls: Box<dyn DetectorCalls>) -> Self {
        Self {
            info,
            tally: Arc::default(),
            calls,
        }
    }

    /// The plugin's id. `[any]`
    pub fn id(&self) -> &str {
        &self.info.id
    }

    /// What it says of itself. `[any]`
    pub fn info(&self) -> &DetectorInfo {
        &self.info
    }

    /// Whether it may run on a real-time thread. `[any]`
    pub fn hard_rt(&self) -> bool {
        self.info.hard_rt
    }

    /// Whether it hears nothing without the far end. `[any]`
    pub fn needs_far(&self) -> bool {
        self.info.needs_far
    }

    /// Whether it gives the near end without echo. `[any]`
    pub fn cleans(&self) -> bool {
        self.info.cleans
    }

    /// Whether it takes this rate. `[any]`
    pub fn takes(&self, rate: u32) -> bool {
        self.info.rates.is_empty() || self.info.rates.contains(&rate)
    }

    /// What all its streams did so far. `[any]`
    pub fn counts(&self) -> DetectorCounts {
        self.tally.read()
    }

    /// A stream as good as any, to try it by: 20 ms a frame at its first rate.
    pub(super) fn usual_stream(&self) -> DetectorStreamSpec<'static> {
        let rate = self.info.rates.first().copied().unwrap_or(16_000);
        DetectorStreamSpec {
            rate,
            frame: (rate / 50).max(1) as usize,
            ..DetectorStreamSpec::default()
        }
    }

    /// A stream for one session; takes all the memory that it will need. `[control]`
    pub fn open(&self, spec: DetectorStreamSpec<'_>) -> Result<DetectorStream, DetectorError> {
        if spec.rate == 0 || spec.frame == 0 || spec.frame > MAX_FRAME {
            return Err(DetectorError(format!(
                "no stream of {} samples a frame at {} Hz",
                spec.frame, spec.rate
            )));
        }
        if !self.takes(spec.rate) {
            return Err(DetectorError(format!(
                "the detector {} takes {:?} Hz, not {}",
                self.info.id, self.info.rates, spec.rate
            )));
        }
        Ok(DetectorStream(self.calls.open(&spec, &self.tally)?))
    }
}

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detector").field("info", &self.info).finish_non_exhaustive()
    }
}

/// Longer frames are a mistake.
const MAX_FRAME: usize = 1 << 16;

/// What a stream will be.
#[derive(Debug, Clone, Copy, Default)]
pub struct DetectorStreamSpec<'a> {
    pub session: u64,
    /// Hz.
    pub rate: u32,
    /// The most samples of one `process`, and the usual number.
    pub frame: usize,
    /// BCP 47, or empty.
    pub language: &'a str,
    /// The policy is cancel-at-once: what it says first counts.
    pub one_stage: bool,
}

/// One session's detector. Dropping it closes it, which may free memory.
pub struct DetectorStream(Box<dyn StreamCalls>);

impl DetectorStream {
    /// Hears a frame of both ends; allocates nothing here. `clean`, as long as `near`, receives the near end without echo, or as it was from a
    /// detector that does not clean. `[rt, if the detector is hard_rt]`
    pub fn process(&mut self, input: DetectorInput<'_>, clean: Option<&mut [f32]>) -> Result<DetectorOutput, DetectorFault> {
        self.0.process(&input, clean)
    }

    /// As if it had just been opened. `[rt, if the detector is hard_rt]`
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

impl fmt::Debug for DetectorStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DetectorStream")
    }
}

/// A frame. What is not finite in it reaches the detector as 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct DetectorInput<'a> {
    /// The first sample's time, in samples of the stream's rate.
    pub t: u64,
    pub near: &'a [f32],
    /// As long as `near`; `None`: unknown.
    pub far: Option<&'a [f32]>,
    /// By how much `far` was shifted, in samples.
    pub far_delay: i32,
    /// Samples lost before this frame.
    pub lost: u32,
    pub flags: InputFlags,
}

/// What is going on while it is heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InputFlags {
    pub ai_speaking: bool,
    pub protected: bool,
    /// The ends may have moved against each other.
    pub gap: bool,
    pub muted: bool,
}

/// What was heard.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DetectorOutput {
    /// A bit mask of edges; [`DetectorOutput::kinds`] reads it.
    pub events: u32,
    /// That the user speaks now, 0 … 1.
    pub prob: f32,
    /// In the events, 0 … 1.
    pub confidence: f32,
    /// When the events happened, in samples; not after the frame.
    pub t_event: u64,
    /// Of a key, its ASCII; of a tone, its frequency in Hz.
    pub value: u32,
}

impl DetectorOutput {
    /// With what cannot be true put right; `end`: that of the frame.
    pub(super) fn put_right(self, end: u64) -> Self {
        let share = |x: f32| if x.is_finite() { x.clamp(0.0, 1.0) } else { 0.0 };
        Self {
            events: self.events & EVENTS,
            prob: share(self.prob),
            confidence: share(self.confidence),
            t_event: self.t_event.min(end),
            value: self.value,
        }
    }

    /// The key that was pressed on a telephone, if one was.
    pub fn dtmf(&self) -> Option<char> {
        (self.events & UT_EV_DTMF != 0).then(|| char::from_u32(self.value))?
    }

    /// Its findings, in the order in which they are to be taken: a start comes before its confirmation, and an end last, for what was found
    /// beside it is about the speech that ends; unless speech starts, too, and the end is that of the speech before.
    pub fn kinds(&self) -> impl Iterator<Item = FindingKind> + use<> {
        let events = self.events;
        let end = (events & UT_EV_SPEECH_END != 0).then_some(FindingKind::SpeechEnd);
        let (first, last) = if events & UT_EV_SPEECH_START != 0 {
            (end, None)
        } else {
            (None, end)
        };
        let others = ORDER.into_iter().filter(move |(bit, _)| events & bit != 0).map(|(_, kind)| kind);
        first.into_iter().chain(others).chain(last)
    }
}

/// What ABI 1.0 has; later ones' are unknown here and ignored (R3).
const EVENTS: u32 = UT_EV_SPEECH_START
    | UT_EV_SPEECH_END
    | UT_EV_BARGE_IN
    | UT_EV_BACKCHANNEL
    | UT_EV_TURN_END
    | UT_EV_DTMF
    | UT_EV_MACHINE
    | UT_EV_HUMAN
    | UT_EV_TONE;

/// All but the end of speech.
const ORDER: [(u32, FindingKind); 7] = [
    (UT_EV_SPEECH_START, FindingKind::SpeechStart),
    (UT_EV_BACKCHANNEL, FindingKind::Backchannel),
    (UT_EV_BARGE_IN, FindingKind::BargeIn),
    (UT_EV_TURN_END, FindingKind::TurnEnd),
    (UT_EV_MACHINE, FindingKind::Machine),
    (UT_EV_HUMAN, FindingKind::Human),
    (UT_EV_TONE, FindingKind::Tone),
];

/// Why there is no stream: one line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectorError(pub String);

impl fmt::Display for DetectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DetectorError {}

/// Why a frame was not heard. Small, because it is made where nothing may allocate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DetectorFault {
    /// The frame is longer than the stream's, or its parts differ in length: ours, not the plugin's.
    Frame,
    /// The plugin panicked. Its stream is spoilt: it hears nothing more, and is to be opened anew.
    Panicked,
    /// The plugin failed with this status.
    Failed(i32),
    /// The process that the plugin has to itself ended, by this signal or, where it is 0, by itself.
    Crashed(i32),
    /// That process gave no answer in time, or one that is none, and was killed.
    Lost,
}

/// Frames of a stream that may fail before its detector is given up.
const FAULTS: u32 = 10;

impl DetectorFault {
    /// Whether the detector is to be given up: so many frames of the stream failed, this one included.
    pub fn is_fatal(self, faults: u32) -> bool {
        matches!(self, Self::Panicked | Self::Crashed(_) | Self::Lost) || faults > FAULTS
    }
}

impl fmt::Display for DetectorFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame => f.write_str("a frame that does not fit the stream"),
            Self::Panicked => f.write_str("the plugin panicked"),
            Self::Failed(status) => write!(f, "the plugin failed with status {status}"),
            Self::Crashed(0) => f.write_str("the plugin ended its process"),
            Self::Crashed(signal) => write!(f, "the plugin crashed its process with {}", signal_name(*signal)),
            Self::Lost => f.write_str("the plugin hangs: its process was killed"),
        }
    }
}

impl std::error::Error for DetectorFault {}

/// What a detector did, over all its streams since it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DetectorCounts {
    pub frames: u64,
    /// Frames that ended in a [`DetectorFault`] of the plugin's.
    pub faults: u64,
    /// Samples of ours that were not finite and became 0.
    pub non_finite_in: u64,
    /// Numbers of the plugin's that were not, or lay in the future, and were mended.
    pub mended: u64,
    /// Time in it.
    pub busy: Duration,
    /// The longest frame.
    pub worst: Duration,
}

/// Where the counts are kept. `[any]`
#[derive(Debug, Default)]
pub(super) struct DetectorTally {
    pub(super) frames: AtomicU64,
    pub(super) faults: AtomicU64,
    pub(super) non_finite_in: AtomicU64,
    pub(super) mended: AtomicU64,
    pub(super) busy_ns: AtomicU64,
    pub(super) worst_ns: AtomicU64,
}

impl DetectorTally {
    fn read(&self) -> DetectorCounts {
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        DetectorCounts {
            frames: read(&self.frames),
            faults: read(&self.faults),
            non_finite_in: read(&self.non_finite_in),
            mended: read(&self.mended),
            busy: Duration::from_nanos(read(&self.busy_ns)),
            worst: Duration::from_nanos(read(&self.worst_ns)),
        }
    }

    /// What a tally kept elsewhere has grown by.
    pub(super) fn add(&self, before: &DetectorCounts, now: &DetectorCounts) {
        let add = |to: &AtomicU64, before: u64, now: u64| to.fetch_add(now.saturating_sub(before), Ordering::Relaxed);
        add(&self.frames, before.frames, now.frames);
        add(&self.faults, before.faults, now.faults);
        add(&self.non_finite_in, before.non_finite_in, now.non_finite_in);
        add(&self.mended, before.mended, now.mended);
        add(&self.busy_ns, nanos(before.busy), nanos(now.busy));
        self.worst_ns.fetch_max(nanos(now.worst), Ordering::Relaxed);
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(events: u32) -> Vec<FindingKind> {
        let output = DetectorOutput {
            events,
            ..DetectorOutput::default()
        };
        output.kinds().collect()
    }

    #[test]
    fn an_end_comes_after_what_is_found_of_the_speech_that_ends_and_before_new_speech() {
        use FindingKind::*;
        assert_eq!(kinds(UT_EV_BACKCHANNEL | UT_EV_SPEECH_END), [Backchannel, SpeechEnd]);
        assert_eq!(kinds(UT_EV_BARGE_IN | UT_EV_SPEECH_END), [BargeIn, SpeechEnd]);
        assert_eq!(kinds(UT_EV_TURN_END | UT_EV_SPEECH_END), [TurnEnd, SpeechEnd]);
        assert_eq!(
            kinds(UT_EV_SPEECH_START | UT_EV_SPEECH_END | UT_EV_BARGE_IN),
            [SpeechEnd, SpeechStart, BargeIn]
        );
        assert_eq!(kinds(UT_EV_SPEECH_END), [SpeechEnd]);
        assert_eq!(kinds(0), []);
    }
}
