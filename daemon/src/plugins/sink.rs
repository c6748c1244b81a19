//! The sink that a plugin writes to while it speaks: from raw structs to checked, mono, ordered calls of a [`SpeakSink`]. Whatever the plugin
//! gets wrong is mended and counted, or ends its speech as [`SynthError::Misbehaved`]; a panic of the sink waits until the plugin has returned.

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use utterd_plugin_api::abi::*;

use super::pcm::{Sample, mix_down};
use super::types::{BackendCounts, MarkKind, SpeakSink};

/// Rates that something can be made of.
pub(super) const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;
const MAX_CHANNELS: u32 = 32;
/// Frames that are converted, and offered to the sink, at a time.
const BLOCK: usize = 4_096;
/// Longer names of marks are cut.
const MAX_NAME: usize = 256;

/// What had to be mended, over all of a backend's speeches.
#[derive(Debug, Default)]
pub(super) struct Counters {
    non_finite: AtomicU64,
    clamped: AtomicU64,
    dropped: AtomicU64,
    after_cancel: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> BackendCounts {
        BackendCounts {
            non_finite_samples: self.non_finite.load(Ordering::Relaxed),
            marks_clamped: self.clamped.load(Ordering::Relaxed),
            marks_dropped: self.dropped.load(Ordering::Relaxed),
            after_cancel: self.after_cancel.load(Ordering::Relaxed),
        }
    }
}

/// One speech.
pub(super) struct Sink<'a> {
    to: &'a dyn SpeakSink,
    text: &'a str,
    counters: &'a Counters,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Format, rate and channels of the first write.
    shape: Option<(u32, u32, u32)>,
    mono: Vec<f32>,
    last_mark: u64,
    told: bool,
    wrong: Option<String>,
    panicked: Option<Box<dyn Any + Send>>,
}

/// How a speech went, as the sink saw it.
pub(super) struct Seen {
    /// The plugin was told that the speech is cancelled.
    pub(super) told: bool,
    pub(super) wrong: Option<String>,
    pub(super) panicked: Option<Box<dyn Any + Send>>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(to: &'a dyn SpeakSink, text: &'a str, counters: &'a Counters) -> Self {
        Self {
            to,
            text,
            counters,
            state: Mutex::default(),
        }
    }

    /// The struct for the plugin; valid while `self` is and is not moved.
    pub(super) fn table(&self) -> UtAudioSink {
        UtAudioSink {
            size: size_of::<UtAudioSink>() as u32,
            flags: 0,
            ctx: std::ptr::from_ref(self).cast_mut().cast(),
            cancel_fd: self.to.cancel_fd(),
            pad: 0,
            write: Some(write),
            mark: Some(mark),
            cancelled: Some(cancelled),
        }
    }

    pub(super) fn seen(self) -> Seen {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        Seen {
            told: state.told,
            wrong: state.wrong,
            panicked: state.panicked,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, pcm: UtPcm, state: &mut State) -> Result<bool, String> {
        let shape = (pcm.format, pcm.rate, pcm.channels);
        if !RATES.contains(&pcm.rate) {
            return Err(format!(
                "a sample rate of {} Hz; {} to {} are possible",
                pcm.rate,
                RATES.start(),
                RATES.end()
            ));
        }
        if pcm.channels == 0 || pcm.channels > MAX_CHANNELS {
            return Err(format!("{} channels; 1 to {MAX_CHANNELS} are possible", pcm.channels));
        }
        if *state.shape.get_or_insert(shape) != shape {
            return Err("its format, rate or channels changed in mid-speech".into());
        }
        if pcm.n == 0 {
            return Ok(!self.to.cancelled());
        }
        match pcm.format {
            UT_PCM_F32 => self.pass_on::<f32>(pcm, state),
            UT_PCM_S16 => self.pass_on::<i16>(pcm, state),
            other => Err(format!("samples of format {other}, which ABI 1.0 does not have")),
        }
    }

    fn pass_on<S: Sample>(&self, pcm: UtPcm, state: &mut State) -> Result<bool, String> {
        let data = pcm.data.cast::<S>();
        let (n, channels) = (pcm.n as usize, pcm.channels as usize);
        if data.is_null() || !data.is_aligned() {
            return Err("samples at NULL or at an odd address".into());
        }
        let total = n
            .checked_mul(channels)
            .filter(|t| *t <= isize::MAX as usize / size_of::<S>())
            .ok_or("too many samples in one write")?;
        // SAFETY: the plugin lends n × channels samples for this call (R5); pointer and length were checked as far as they can be.
        let samples = unsafe { std::slice::from_raw_parts(data, total) };
        for block in samples.chunks(BLOCK * channels) {
            state.mono.clear();
            let mended = mix_down(block, channels, &mut state.mono);
            self.counters.non_finite.fetch_add(mended, Ordering::Relaxed);
            if !self.to.write(pcm.rate, &state.mono) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn mark(&self, mark: UtMark, state: &mut State) {
        let kind = match mark.kind {
            UT_MARK_WORD => MarkKind::Word,
            UT_MARK_SENTENCE => MarkKind::Sentence,
            UT_MARK_VISEME => MarkKind::Viseme,
            UT_MARK_BOOKMARK => MarkKind::Bookmark,
            _ => return self.drop_mark(),
        };
        let (from, to) = (mark.text_off as usize, mark.text_off as usize + mark.text_len as usize);
        let spoken = matches!(kind, MarkKind::Word | MarkKind::Sentence);
        if from > self.text.len() || (spoken && (from == self.text.len() || mark.text_len == 0)) {
            return self.drop_mark();
        }
        let start = (0..=from).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0);
        let end = (to.min(self.text.len())..=self.text.len())
            .find(|at| self.text.is_char_boundary(*at))
            .unwrap_or(self.text.len());
        let sample = mark.sample.max(state.last_mark);
        if (start, end, sample) != (from, to, mark.sample) {
            self.counters.clamped.fetch_add(1, Ordering::Relaxed);
        }
        state.last_mark = sample;
        // SAFETY: borrowed for this call (R5).
        let name = unsafe { mark.name.bytes() };
        let name = String::from_utf8_lossy(&name[..name.len().min(MAX_NAME)]);
        // A plugin's text fits its u32 offsets, or `speak` would not have begun.
        self.to.mark(kind, sample, start as u32, (end - start) as u32, &name);
    }

    fn drop_mark(&self) {
        self.counters.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs `f` with the sink behind `ctx`: refused once cancelled or broken, and a panic is kept for later.
fn with(ctx: *mut c_void, f: impl FnOnce(&Sink<'_>, &mut State) -> Result<bool, String>) -> i32 {
    // SAFETY: `ctx` is the `Sink` of a `speak` that runs: a plugin may call only until it returns.
    let Some(sink) = (unsafe { ctx.cast::<Sink<'_>>().cast_const().as_ref() }) else {
        return UT_EARG;
    };
    let mut state = sink.state();
    if state.wrong.is_some() || state.panicked.is_some() {
        return UT_CANCELLED;
    }
    if state.told {
        sink.counters.after_cancel.fetch_add(1, Ordering::Relaxed);
        return UT_CANCELLED;
    }
    match catch_unwind(AssertUnwindSafe(|| f(sink, &mut state))) {
        Ok(Ok(true)) => UT_OK,
        Ok(Ok(false)) => {
            state.told = true;
            UT_CANCELLED
        }
        Ok(Err(wrong)) => {
            state.wrong = Some(wrong);
            UT_EARG
        }
        Err(payload) => {
            state.panicked = Some(payload);
            UT_CANCELLED
        }
    }
}

unsafe extern "C" fn write(ctx: *mut c_void, pcm: *const UtPcm) -> i32 {
    // SAFETY: lent for this call, its size true (R3).
    let pcm = unsafe { read_sized(pcm) };
    with(ctx, |sink, state| {
        sink.write(pcm.ok_or("a write without a UtPcm of ABI 1.0")?, state)
    })
}

unsafe extern "C" fn mark(ctx: *mut c_void, mark: *const UtMark) -> i32 {
    // SAFETY: lent for this call, its size true (R3).
    let mark = unsafe { read_sized(mark) };
    with(ctx, |sink, state| {
        if sink.to.cancelled() {
            return Ok(false);
        }
        sink.mark(mark.ok_or("a mark without a UtMark of ABI 1.0")?, state);
        Ok(true)
    })
}

unsafe extern "C" fn cancelled(ctx: *mut c_void) -> i32 {
    // SAFETY: as in `with`. No lock: this one is [any], beside a write that blocks.
    let Some(sink) = (unsafe { ctx.cast::<Sink<'_>>().cast_const().as_ref() }) else {
        return 1;
    };
    catch_unwind(AssertUnwindSafe(|| i32::from(sink.to.cancelled()))).unwrap_or(1)
}
