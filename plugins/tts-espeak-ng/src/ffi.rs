//! The few functions of libespeak-ng 1.51 that are called, written by hand after `espeak_ng.h` and `speak_lib.h`. All of them belong to one
//! process-wide singleton: `engine.rs` holds its lock around every call.

use std::ffi::{c_char, c_int, c_short, c_uint, c_void};

/// `espeak_ng_STATUS`: 0, an errno, or 0x100000FF and above.
pub(crate) type Status = c_int;
pub(crate) const ENS_OK: Status = 0;
pub(crate) const ENS_SPEECH_STOPPED: Status = 0x1000_0EFF;

pub(crate) const ENOUTPUT_MODE_SYNCHRONOUS: c_int = 1;
pub(crate) const POS_CHARACTER: c_int = 1;

pub(crate) const CHARS_UTF8: c_uint = 1;
pub(crate) const ENDPAUSE: c_uint = 0x1000;

pub(crate) const PARAM_RATE: c_int = 1;
pub(crate) const PARAM_PITCH: c_int = 3;
pub(crate) const PARAM_RANGE: c_int = 4;
pub(crate) const PARAM_WORD_GAP: c_int = 7;

pub(crate) const EVENT_LIST_TERMINATED: c_int = 0;
pub(crate) const EVENT_WORD: c_int = 1;
pub(crate) const EVENT_SENTENCE: c_int = 2;

/// `espeak_EVENT`.
#[repr(C)]
pub(crate) struct Event {
    pub(crate) kind: c_int,
    unique_identifier: c_uint,
    /// Characters from the start of the text, from 1 on.
    pub(crate) text_position: c_int,
    /// Characters of the word.
    pub(crate) length: c_int,
    audio_position: c_int,
    /// Samples from the start of the synthesis: `audio_position` before it was rounded to milliseconds.
    pub(crate) sample: c_int,
    user_data: *mut c_void,
    id: [u64; 1],
}

/// `espeak_VOICE`.
#[repr(C)]
pub(crate) struct Voice {
    pub(crate) name: *const c_char,
    /// Pairs of a priority byte and a C string, ended by a zero byte.
    pub(crate) languages: *const c_char,
    pub(crate) identifier: *const c_char,
    gender: u8,
    age: u8,
    variant: u8,
    xx1: u8,
    score: c_int,
    spare: *mut c_void,
}

impl Voice {
    /// A selector for `espeak_ListVoices`.
    pub(crate) fn selector(languages: &'static std::ffi::CStr) -> Self {
        let none = std::ptr::null;
        Self {
            name: none(),
            languages: languages.as_ptr(),
            identifier: none(),
            gender: 0,
            age: 0,
            variant: 0,
            xx1: 0,
            score: 0,
            spare: std::ptr::null_mut(),
        }
    }
}

pub(crate) type Callback = unsafe extern "C" fn(wav: *mut c_short, n: c_int, events: *mut Event) -> c_int;

unsafe extern "C" {
    pub(crate) fn espeak_ng_InitializePath(path: *const c_char);
    pub(crate) fn espeak_ng_Initialize(context: *mut *mut c_void) -> Status;
    pub(crate) fn espeak_ng_ClearErrorContext(context: *mut *mut c_void);
    pub(crate) fn espeak_ng_GetStatusCodeMessage(status: Status, buffer: *mut c_char, length: usize);
    pub(crate) fn espeak_ng_InitializeOutput(mode: c_int, buffer_ms: c_int, device: *const c_char) -> Status;
    pub(crate) fn espeak_ng_GetSampleRate() -> c_int;
    pub(crate) fn espeak_ng_SetParameter(parameter: c_int, value: c_int, relative: c_int) -> Status;
    pub(crate) fn espeak_ng_SetVoiceByName(name: *const c_char) -> Status;
    pub(crate) fn espeak_ng_Synthesize(
        text: *const c_void,
        size: usize,
        position: c_uint,
        position_type: c_int,
        end_position: c_uint,
        flags: c_uint,
        unique_identifier: *mut c_uint,
        user_data: *mut c_void,
    ) -> Status;
    pub(crate) fn espeak_SetSynthCallback(callback: Callback);
    pub(crate) fn espeak_ListVoices(selector: *mut Voice) -> *const *const Voice;
}
