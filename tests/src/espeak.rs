//! libespeak-ng asked directly, as a yardstick: how long the backend needs by itself until its first sample that is not silence.
//!
//! The library is mapped at run time, because the harness must build where it is not installed. One synthesis at a time: it keeps
//! its state in statics. Not here: anything the daemon uses.

use crate::clock::now_us;
use libloading::Library;
use std::ffi::{CString, c_char, c_int, c_short, c_uint, c_void};
use std::sync::Mutex;

type Callback = extern "C" fn(*mut c_short, c_int, *mut c_void) -> c_int;
type Initialize = unsafe extern "C" fn(c_int, c_int, *const c_char, c_int) -> c_int;
type SetCallback = unsafe extern "C" fn(Callback);
type SetVoice = unsafe extern "C" fn(*const c_char) -> c_int;
type Synth = unsafe extern "C" fn(*const c_void, usize, c_uint, c_int, c_uint, c_uint, *mut c_uint, *mut c_void) -> c_int;

/// `AUDIO_OUTPUT_SYNCHRONOUS` and the flag that leaves the process alone when its data is missing.
const SYNCHRONOUS: c_int = 2;
const DONT_EXIT: c_int = 0x8000;
const UTF_8: c_uint = 1;

#[derive(Default)]
struct Progress {
    began_us: u64,
    rate: u64,
    samples: u64,
    /// Work until the block with the first sound was there, plus the silence before it in the audio.
    first_us: Option<u64>,
}

static PROGRESS: Mutex<Progress> = Mutex::new(Progress {
    began_us: 0,
    rate: 0,
    samples: 0,
    first_us: None,
});

extern "C" fn heard(wav: *mut c_short, count: c_int, _: *mut c_void) -> c_int {
    if wav.is_null() || count <= 0 {
        return 0;
    }
    // SAFETY: espeak-ng's contract of this callback: `wav` points to `count` samples, valid until it returns.
    let block = unsafe { std::slice::from_raw_parts(wav, count as usize) };
    let mut progress = PROGRESS.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(n) = block.iter().position(|s| *s != 0) {
        let silence_us = (progress.samples + n as u64) * 1_000_000 / progress.rate;
        progress.first_us = Some(now_us() - progress.began_us + silence_us);
        return 1; // Enough: end this synthesis.
    }
    progress.samples += block.len() as u64;
    0
}

/// So many times, in ms; None where the library is not installed.
pub fn first_sound(text: &str, times: usize) -> Option<Vec<f64>> {
    // SAFETY: libespeak-ng has no constructors that ask anything of us.
    let library = unsafe { Library::new("libespeak-ng.so.1") }.ok()?;
    let text = CString::new(text).ok()?;
    let voice = CString::new("en").ok()?;
    // SAFETY: the signatures are those of speak_lib.h; the library outlives every pointer taken from it, as this function owns it;
    // `text` and `voice` are NUL-terminated and outlive the calls, and nobody else in this process uses the library.
    unsafe {
        let initialize = library.get::<Initialize>(b"espeak_Initialize\0").ok()?;
        let set_callback = library.get::<SetCallback>(b"espeak_SetSynthCallback\0").ok()?;
        let set_voice = library.get::<SetVoice>(b"espeak_SetVoiceByName\0").ok()?;
        let synth = library.get::<Synth>(b"espeak_Synth\0").ok()?;
        let rate = initialize(SYNCHRONOUS, 0, std::ptr::null(), DONT_EXIT);
        if rate <= 0 {
            return None;
        }
        set_callback(heard);
        set_voice(voice.as_ptr());
        let mut found = Vec::with_capacity(times);
        for _ in 0..times {
            *PROGRESS.lock().unwrap_or_else(|e| e.into_inner()) = Progress {
                began_us: now_us(),
                rate: rate as u64,
                samples: 0,
                first_us: None,
            };
            let bytes = text.as_bytes_with_nul();
            synth(
                bytes.as_ptr().cast(),
                bytes.len(),
                0,
                1,
                0,
                UTF_8,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            );
            let first = PROGRESS.lock().unwrap_or_else(|e| e.into_inner()).first_us;
            found.extend(first.map(|us| us as f64 / 1_000.0));
        }
        Some(found)
    }
}
