//! A detector behind the ABI's table: streams, the calls into them, and what their answers mean. `process` runs where nothing may allocate, so
//! what it needs is made when the stream is opened.

use std::ffi::c_void;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Map, Value};
use utterd_plugin_api::abi::*;
use utterd_plugin_api::json::DetectorDescription;

use super::detector::*;
use super::host::CancelAcks;
use super::instance::Handle;
use super::library::{FpMode, Mapped, describe_err};
use super::schema::{self, Refused};

/// One instance.
pub(super) struct Listener {
    table: UtDetector,
    handle: Arc<Handle>,
}

impl Listener {
    /// Makes one; `config` is a JSON object, `found` where the plugin's original stands. A detector that has a sensitivity gets this one unless
    /// its configuration names another.
    pub(super) fn create(
        mapped: &Mapped,
        id: &str,
        found: &Path,
        config_as_written: &str,
        sensitivity: Option<f32>,
    ) -> Result<Self, Refused> {
        let table = mapped.detector()?;
        let (Some(_), Some(_), Some(_), Some(_)) = (table.open, table.close, table.process, table.reset) else {
            return Err("its table of detector lacks open, close, process or reset".into());
        };
        let config = sensitivity.and_then(|s| with_sensitivity(table.common, config_as_written, s));
        let config = config.as_deref().unwrap_or(config_as_written);
        let handle = Handle::create(table.common, id, found, config, &CancelAcks::default())?;
        Ok(Self {
            table,
            handle: Arc::new(handle),
        })
    }

    /// What it says of itself.
    pub(super) fn describe(&self, id: &str) -> Result<DetectorInfo, String> {
        let said: DetectorDescription = self.handle.describe()?;
        if said.rates.contains(&0) {
            return Err("its describe() has a rate of 0 Hz".into());
        }
        let flags = self.table.common.flags;
        Ok(DetectorInfo {
            id: id.to_owned(),
            hard_rt: flags & UT_DET_HARD_RT != 0,
            needs_far: flags & UT_DET_NEEDS_FAR != 0,
            cleans: flags & UT_DET_CLEANS != 0,
            rates: said.rates,
            clean_delay_ms: said.clean_delay_ms,
        })
    }
}

/// `None`: it has no such key, or a value for it.
fn with_sensitivity(common: UtCommon, config: &str, sensitivity: f32) -> Option<String> {
    schema::properties(common)?.get(SENSITIVITY)?;
    let mut config: Map<String, Value> = serde_json::from_str(config).ok()?;
    // Through text, so that 0.7 stays 0.7.
    let value = serde_json::from_str(&sensitivity.to_string()).ok()?;
    config.entry(SENSITIVITY).or_insert(value);
    Some(Value::Object(config).to_string())
}

/// The key by which detectors are made more or less eager.
const SENSITIVITY: &str = "sensitivity";

impl DetectorCalls for Listener {
    fn open(&self, spec: &DetectorStreamSpec<'_>, tally: &Arc<DetectorTally>) -> Result<Box<dyn StreamCalls>, DetectorError> {
        let (Some(open), Some(close), Some(process), Some(reset)) =
            (self.table.open, self.table.close, self.table.process, self.table.reset)
        else {
            return Err(DetectorError("it has no open".into()));
        };
        let config = UtDetStream {
            size: size_of::<UtDetStream>() as u32,
            flags: if spec.one_stage { UT_DETS_ONE_STAGE } else { 0 },
            session: spec.session,
            rate: spec.rate,
            frame: spec.frame as u32,
            max_us: 0,
            pad: 0,
            lang: UtStr::new(spec.language),
        };
        let _fp = FpMode::save();
        let mut stream = std::ptr::null_mut();
        let mut err = UtErr::new();
        // SAFETY: the instance lives, the arguments through the call; [setup].
        let status = unsafe { open(self.handle.inst(), &raw const config, &raw mut stream, &raw mut err) };
        if status != UT_OK {
            return Err(DetectorError(describe_err(status, &err)));
        }
        let flags = self.table.common.flags;
        Ok(Box::new(Stream {
            stream,
            rate: spec.rate,
            cleans: flags & UT_DET_CLEANS != 0,
            panicked: false,
            near: vec![0.0; spec.frame],
            far: vec![0.0; spec.frame],
            process,
            reset,
            close,
            tally: Arc::clone(tally),
            _instance: Arc::clone(&self.handle),
        }))
    }
}

type Process = unsafe extern "C" fn(*mut c_void, *const UtDetIn, *mut UtDetOut) -> i32;
type OnStream = unsafe extern "C" fn(*mut c_void);

/// One stream.
struct Stream {
    stream: *mut c_void,
    rate: u32,
    cleans: bool,
    panicked: bool,
    /// Where a frame is mended in.
    near: Vec<f32>,
    far: Vec<f32>,
    process: Process,
    reset: OnStream,
    close: OnStream,
    tally: Arc<DetectorTally>,
    /// Lives as long as its streams do.
    _instance: Arc<Handle>,
}

// SAFETY: by the ABI calls to one stream are serial and may come from any thread (R8, R10); `&mut` and ownership keep them serial.
unsafe impl Send for Stream {}

impl StreamCalls for Stream {
    fn process(&mut self, input: &DetectorInput<'_>, clean: Option<&mut [f32]>) -> Result<DetectorOutput, DetectorFault> {
        let n = input.near.len();
        let same = |len: usize| len == n;
        if n > self.near.len() || !input.far.is_none_or(|far| same(far.len())) || !clean.as_ref().is_none_or(|clean| same(clean.len())) {
            return Err(DetectorFault::Frame);
        }
        if self.panicked {
            return Err(DetectorFault::Panicked);
        }
        let mut mended = 0;
        let near = finite(input.near, &mut self.near, &mut mended);
        let far = input.far.map(|far| finite(far, &mut self.far, &mut mended));
        if mended > 0 {
            self.tally.non_finite_in.fetch_add(mended, Relaxed);
        }
        let lent = UtDetIn {
            size: size_of::<UtDetIn>() as u32,
            flags: flags(input.flags),
            n: n as u32,
            rate: self.rate,
            t: input.t,
            near_: near.as_ptr(),
            far_: far.map_or(std::ptr::null(), <[f32]>::as_ptr),
            far_delay: input.far_delay,
            lost: input.lost,
        };
        let mut clean = clean;
        let wanted = clean.as_deref_mut().filter(|_| self.cleans);
        let mut out = UtDetOut {
            size: size_of::<UtDetOut>() as u32,
            events: 0,
            prob: 0.0,
            confidence: 0.0,
            t_event: input.t,
            value: 0,
            flags: 0,
            clean_n: wanted.as_ref().map_or(0, |clean| clean.len() as u32),
            clean: wanted.map_or(std::ptr::null_mut(), <[f32]>::as_mut_ptr),
            pad: 0,
        };
        let begin = now_ns();
        // SAFETY: the stream lives; input, output and their buffers live through the call and are only lent; serial by `&mut` (R10).
        let status = unsafe { (self.process)(self.stream, &raw const lent, &raw mut out) };
        let took = now_ns().saturating_sub(begin);
        self.tally.frames.fetch_add(1, Relaxed);
        self.tally.busy_ns.fetch_add(took, Relaxed);
        self.tally.worst_ns.fetch_max(took, Relaxed);
        if status != UT_OK {
            self.tally.faults.fetch_add(1, Relaxed);
        }
        if let Some(clean) = clean {
            // What a failed or other detector left in it would be noise.
            if !self.cleans || status != UT_OK {
                clean.copy_from_slice(near);
            }
            mend(clean, &self.tally);
        }
        match status {
            UT_OK => Ok(self.checked(&out, input.t + n as u64)),
            UT_EPANIC => {
                self.panicked = true;
                Err(DetectorFault::Panicked)
            }
            status => Err(DetectorFault::Failed(status)),
        }
    }

    fn reset(&mut self) {
        if !self.panicked {
            // SAFETY: the stream lives; serial by `&mut` (R10).
            unsafe { (self.reset)(self.stream) };
        }
    }
}

impl Stream {
    /// The answer, with what cannot be true put right.
    fn checked(&self, out: &UtDetOut, end: u64) -> DetectorOutput {
        let said = DetectorOutput {
            events: out.events,
            prob: out.prob,
            confidence: out.confidence,
            t_event: out.t_event,
            value: out.value,
        };
        let told = said.put_right(end);
        // Compared so that NaN counts; -0.0 does not.
        if told.prob != said.prob || told.confidence != said.confidence || (told.events != 0 && told.t_event != said.t_event) {
            self.tally.mended.fetch_add(1, Relaxed);
        }
        told
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: every call has returned (we own it); never called again.
        unsafe { (self.close)(self.stream) };
    }
}

fn flags(flags: InputFlags) -> u32 {
    let bit = |on: bool, bit: u32| if on { bit } else { 0 };
    bit(flags.ai_speaking, UT_IN_AI_SPEAKING)
        | bit(flags.protected, UT_IN_PROTECTED)
        | bit(flags.gap, UT_IN_GAP)
        | bit(flags.muted, UT_IN_MUTED)
}

/// `samples`, or a copy of them with 0 for what is no number.
fn finite<'a>(samples: &'a [f32], room: &'a mut [f32], mended: &mut u64) -> &'a [f32] {
    if samples.iter().all(|x| x.is_finite()) {
        return samples;
    }
    let room = &mut room[..samples.len()];
    for (to, from) in room.iter_mut().zip(samples) {
        *to = if from.is_finite() { *from } else { 0.0 };
        *mended += u64::from(!from.is_finite());
    }
    room
}

fn mend(clean: &mut [f32], tally: &DetectorTally) {
    for x in clean.iter_mut().filter(|x| !x.is_finite()) {
        *x = 0.0;
        tally.mended.fetch_add(1, Relaxed);
    }
}

fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
