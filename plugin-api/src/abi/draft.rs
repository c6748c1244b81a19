//! The younger kinds: barge-in detectors, and the draft within the draft, telephony adapters, whose structs are fixed so that the common parts of
//! the ABI are not bent later; nobody loads such a plugin yet.

use super::{Sized1, UtCommon, UtErr, UtStr, UtTextOut, sized};
use core::ffi::c_void;

pub const UT_IN_AI_SPEAKING: u32 = 1;
pub const UT_IN_PROTECTED: u32 = 2;
pub const UT_IN_GAP: u32 = 4;
pub const UT_IN_MUTED: u32 = 8;

/// One frame of near and far end.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtDetIn {
    pub size: u32,
    pub flags: u32,
    pub n: u32,
    pub rate: u32,
    pub t: u64,
    pub near_: *const f32,
    pub far_: *const f32,
    pub far_delay: i32,
    pub lost: u32,
}

pub const UT_EV_SPEECH_START: u32 = 1;
pub const UT_EV_SPEECH_END: u32 = 2;
pub const UT_EV_BARGE_IN: u32 = 4;
pub const UT_EV_BACKCHANNEL: u32 = 8;
pub const UT_EV_TURN_END: u32 = 16;
pub const UT_EV_DTMF: u32 = 32;
pub const UT_EV_MACHINE: u32 = 64;
pub const UT_EV_HUMAN: u32 = 128;
pub const UT_EV_TONE: u32 = 256;

/// What a detector says of a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtDetOut {
    pub size: u32,
    pub events: u32,
    pub prob: f32,
    pub confidence: f32,
    pub t_event: u64,
    pub value: u32,
    pub flags: u32,
    pub clean: *mut f32,
    pub clean_n: u32,
    pub pad: u32,
}

/// What a detector's stream will be.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtDetStream {
    pub size: u32,
    pub flags: u32,
    pub session: u64,
    pub rate: u32,
    pub frame: u32,
    pub max_us: u32,
    pub pad: u32,
    pub lang: UtStr,
}

pub const UT_DETS_ONE_STAGE: u32 = 1;

pub const UT_DET_HARD_RT: u32 = 1;
pub const UT_DET_NEEDS_FAR: u32 = 2;
pub const UT_DET_CLEANS: u32 = 4;

/// The table of a detector.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtDetector {
    pub common: UtCommon,
    pub open: Option<unsafe extern "C" fn(inst: *mut c_void, cfg: *const UtDetStream, stream: *mut *mut c_void, err: *mut UtErr) -> i32>,
    pub close: Option<unsafe extern "C" fn(stream: *mut c_void)>,
    pub process: Option<unsafe extern "C" fn(stream: *mut c_void, input: *const UtDetIn, out: *mut UtDetOut) -> i32>,
    pub reset: Option<unsafe extern "C" fn(stream: *mut c_void)>,
}

/// One frame of a call (draft).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtFrame {
    pub size: u32,
    pub flags: u32,
    pub format: u32,
    pub rate: u32,
    pub n: u32,
    pub seq: u32,
    pub t: u64,
    pub t_ns: u64,
    pub data: *const c_void,
}

pub const UT_CALL_RINGING: u32 = 1;
pub const UT_CALL_EARLY: u32 = 2;
pub const UT_CALL_ANSWERED: u32 = 3;
pub const UT_CALL_HELD: u32 = 4;
pub const UT_CALL_RESUMED: u32 = 5;
pub const UT_CALL_ENDED: u32 = 6;

/// Who calls (draft).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtCallInfo {
    pub size: u32,
    pub flags: u32,
    pub remote_id: UtStr,
    pub from: UtStr,
    pub to: UtStr,
    pub headers_json: UtStr,
    pub rate: u32,
    pub frame_ms: u32,
}

/// What an adapter reports to (draft).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtCallHost {
    pub size: u32,
    pub flags: u32,
    pub ctx: *mut c_void,
    pub new_call: Option<unsafe extern "C" fn(ctx: *mut c_void) -> u64>,
    pub incoming: Option<unsafe extern "C" fn(ctx: *mut c_void, call: u64, info: *const UtCallInfo) -> i32>,
    pub state: Option<unsafe extern "C" fn(ctx: *mut c_void, call: u64, state: u32, cause: u32, reason: UtStr)>,
    pub media: Option<unsafe extern "C" fn(ctx: *mut c_void, call: u64, rate: u32, frame_ms: u32)>,
    pub played: Option<unsafe extern "C" fn(ctx: *mut c_void, call: u64, t: u64)>,
    pub dtmf: Option<unsafe extern "C" fn(ctx: *mut c_void, call: u64, ascii: u32, ms: u32, t: u64)>,
    pub transfer: Option<unsafe extern "C" fn(ctx: *mut c_void, call: u64, sip_like_status: u32)>,
    pub registration: Option<unsafe extern "C" fn(ctx: *mut c_void, account: UtStr, up: u32, reason: UtStr)>,
}

/// A call to be made (draft).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtDial {
    pub size: u32,
    pub flags: u32,
    pub call: u64,
    pub to: UtStr,
    pub from: UtStr,
    pub headers_json: UtStr,
    pub timeout_ms: u32,
    pub pad: u32,
}

/// A call to be handed on (draft).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtTransfer {
    pub size: u32,
    pub flags: u32,
    pub to: UtStr,
    pub with_call: u64,
}

/// The table of a telephony adapter (draft).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtTelephony {
    pub common: UtCommon,
    pub start: Option<unsafe extern "C" fn(inst: *mut c_void, host: *const UtCallHost, err: *mut UtErr) -> i32>,
    pub stop: Option<unsafe extern "C" fn(inst: *mut c_void, drain: u32) -> i32>,
    pub forget: Option<unsafe extern "C" fn(inst: *mut c_void, call: u64)>,
    pub dial: Option<unsafe extern "C" fn(inst: *mut c_void, dial: *const UtDial, err: *mut UtErr) -> i32>,
    pub answer: Option<unsafe extern "C" fn(inst: *mut c_void, call: u64, err: *mut UtErr) -> i32>,
    pub reject: Option<unsafe extern "C" fn(inst: *mut c_void, call: u64, cause: u32) -> i32>,
    pub hangup: Option<unsafe extern "C" fn(inst: *mut c_void, call: u64, cause: u32) -> i32>,
    pub hold: Option<unsafe extern "C" fn(inst: *mut c_void, call: u64, on: u32) -> i32>,
    pub transfer: Option<unsafe extern "C" fn(inst: *mut c_void, call: u64, transfer: *const UtTransfer, err: *mut UtErr) -> i32>,
    pub dtmf: Option<unsafe extern "C" fn(inst: *mut c_void, call: u64, digits: UtStr, ms: u32, gap_ms: u32) -> i32>,
    pub tx: Option<unsafe extern "C" fn(inst: *mut c_void, call: u64, frame: *const UtFrame) -> i32>,
    pub rx: Option<unsafe extern "C" fn(inst: *mut c_void, call: u64, frame: *mut UtFrame, buf: *mut c_void) -> i32>,
    pub tx_end: Option<unsafe extern "C" fn(inst: *mut c_void)>,
    pub mark: Option<unsafe extern "C" fn(inst: *mut c_void, call: u64, t: u64) -> i32>,
    pub clear: Option<unsafe extern "C" fn(inst: *mut c_void, call: u64) -> i32>,
    pub stats: Option<unsafe extern "C" fn(inst: *mut c_void, call: u64, json: *const UtTextOut) -> i32>,
}

sized!(
    UtDetIn,
    UtDetOut,
    UtDetStream,
    UtDetector,
    UtFrame,
    UtCallInfo,
    UtCallHost,
    UtDial,
    UtTransfer,
    UtTelephony
);
