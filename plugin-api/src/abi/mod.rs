//! ABI 1.0 (draft) as Rust sees it: `#[repr(C)]` mirrors of `include/utterd_plugin.h`, field for field, and nothing else.
//!
//! The header is the contract and holds the rules R1–R11 and the thread tags; `tests/layout.rs` compiles it with the system's C and C++
//! compilers and compares every size and offset with these structs. Function pointers are `Option`s because a peer may leave any of them
//! NULL. TTS and detector are complete; telephony is a draft until it has real plugins.
//!
//! Never form `&T` on a struct that a peer built: it may be shorter than ours. [`read_sized`] copies what is there.

use core::ffi::c_void;

mod draft;
pub use draft::*;

/// The major version: also in the name of the exported symbol.
pub const UT_ABI_MAJOR: u32 = 1;
/// The minor version: fields are only appended.
pub const UT_ABI_MINOR: u32 = 0;
/// First bytes of [`UtEntry`].
pub const UT_MAGIC: [u8; 8] = *b"UTTERDPL";
/// The one exported symbol.
pub const UT_SYMBOL: &str = "utterd_plugin_v1";
/// The ELF section of the manifest.
pub const UT_SECTION: &str = ".utterd.plugin";
/// Kind of a TTS backend, for `get_factory`.
pub const UT_KIND_TTS: &str = "utterd.tts/1";
/// Kind of a barge-in detector.
pub const UT_KIND_DETECTOR: &str = "utterd.detector/1";
/// Kind of a telephony adapter (draft).
pub const UT_KIND_TELEPHONY: &str = "utterd.telephony/1";

/// Status codes: 0 and above are outcomes, below 0 errors.
pub const UT_OK: i32 = 0;
pub const UT_CANCELLED: i32 = 1;
pub const UT_END: i32 = 2;
pub const UT_NEEDS_RESTART: i32 = 3;
pub const UT_TIMEOUT: i32 = 4;
pub const UT_EARG: i32 = -1;
pub const UT_EUNSUPPORTED: i32 = -2;
pub const UT_ECONFIG: i32 = -3;
pub const UT_EBACKEND: i32 = -4;
pub const UT_EPANIC: i32 = -5;
pub const UT_ESTATE: i32 = -6;
pub const UT_EBUSY: i32 = -7;
pub const UT_EAUTH: i32 = -8;
pub const UT_ENOVOICE: i32 = -9;

/// UTF-8 without a NUL. NULL with length 0 is the empty string.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtStr {
    pub ptr: *const u8,
    pub len: u64,
}

impl UtStr {
    /// The empty string.
    pub const EMPTY: Self = Self {
        ptr: core::ptr::null(),
        len: 0,
    };

    /// Borrows `s`: valid as long as `s` is.
    pub const fn new(s: &str) -> Self {
        Self {
            ptr: s.as_ptr(),
            len: s.len() as u64,
        }
    }

    /// The bytes.
    ///
    /// # Safety
    /// `ptr` must be readable for `len` bytes for as long as `'a` lasts (R5), or NULL.
    pub const unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.ptr.is_null() || self.len == 0 || self.len > isize::MAX as u64 {
            return &[];
        }
        // SAFETY: the caller vouches for pointer and length (R5); the length fits an isize.
        unsafe { core::slice::from_raw_parts(self.ptr, self.len as usize) }
    }

    /// The text, or `None` when it is not UTF-8.
    ///
    /// # Safety
    /// As [`UtStr::bytes`].
    pub unsafe fn text<'a>(self) -> Option<&'a str> {
        // SAFETY: the same promise as ours.
        core::str::from_utf8(unsafe { self.bytes() }).ok()
    }
}

/// An error with its words; the caller's memory.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtErr {
    pub size: u32,
    pub code: i32,
    pub retry_after_ms: u32,
    pub len: u32,
    pub msg: [u8; 496],
}

impl UtErr {
    /// An empty one, ready to be lent out.
    pub const fn new() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            code: 0,
            retry_after_ms: 0,
            len: 0,
            msg: [0; 496],
        }
    }
}

impl Default for UtErr {
    fn default() -> Self {
        Self::new()
    }
}

/// Where text is written to, in any number of pieces.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtTextOut {
    pub size: u32,
    pub flags: u32,
    pub ctx: *mut c_void,
    pub write: Option<unsafe extern "C" fn(ctx: *mut c_void, chunk: UtStr)>,
}

/// Services of the host.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtHost {
    pub size: u32,
    pub abi_minor: u32,
    pub ctx: *mut c_void,
    pub name: UtStr,
    pub version: UtStr,
    pub log: Option<unsafe extern "C" fn(ctx: *mut c_void, level: u32, session: u64, utterance: u64, target: UtStr, msg: UtStr)>,
    pub log_level: Option<unsafe extern "C" fn(ctx: *mut c_void) -> u32>,
    pub metric_register: Option<unsafe extern "C" fn(ctx: *mut c_void, kind: u32, name: UtStr, unit: UtStr, help: UtStr) -> u32>,
    pub metric: Option<unsafe extern "C" fn(ctx: *mut c_void, id: u32, value: f64)>,
    pub health: Option<unsafe extern "C" fn(ctx: *mut c_void, state: u32, code: i32, msg: UtStr)>,
    pub now_ns: Option<unsafe extern "C" fn(ctx: *mut c_void) -> u64>,
    pub secret: Option<unsafe extern "C" fn(ctx: *mut c_void, name: UtStr, buf: *mut u8, cap: u32) -> i32>,
    pub dir: Option<unsafe extern "C" fn(ctx: *mut c_void, which: u32, buf: *mut u8, cap: u32) -> i32>,
    pub request: Option<unsafe extern "C" fn(ctx: *mut c_void, what: u32)>,
    pub get_extension: Option<unsafe extern "C" fn(ctx: *mut c_void, id: UtStr) -> *const c_void>,
    pub cancel_ack: Option<unsafe extern "C" fn(ctx: *mut c_void, synthesis: u64, status: i32)>,
}

/// What the exported symbol is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtEntry {
    pub magic: [u8; 8],
    pub size: u32,
    pub abi_minor: u32,
    pub manifest: UtStr,
    pub init: Option<unsafe extern "C" fn(host: *const UtHost, err: *mut UtErr) -> i32>,
    pub deinit: Option<unsafe extern "C" fn()>,
    pub get_factory: Option<unsafe extern "C" fn(kind: UtStr) -> *const c_void>,
}

// SAFETY: a constant table of constants; R5 keeps what it points to readable while the process lives.
unsafe impl Sync for UtEntry {}
// SAFETY: as above.
unsafe impl Send for UtEntry {}

/// The first fields of every kind, frozen for ever.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtCommon {
    pub size: u32,
    pub flags: u32,
    pub schema: Option<unsafe extern "C" fn() -> UtStr>,
    pub create:
        Option<unsafe extern "C" fn(host: *const UtHost, id: UtStr, cfg_json: UtStr, out: *mut *mut c_void, err: *mut UtErr) -> i32>,
    pub destroy: Option<unsafe extern "C" fn(inst: *mut c_void)>,
    pub reconfigure: Option<unsafe extern "C" fn(inst: *mut c_void, cfg_json: UtStr, err: *mut UtErr) -> i32>,
    pub describe: Option<unsafe extern "C" fn(inst: *mut c_void, json: *const UtTextOut) -> i32>,
    pub probe: Option<unsafe extern "C" fn(inst: *mut c_void, json: *const UtTextOut, err: *mut UtErr) -> i32>,
    pub get_extension: Option<unsafe extern "C" fn(inst: *mut c_void, id: UtStr) -> *const c_void>,
}

pub const UT_PCM_F32: u32 = 0;
pub const UT_PCM_S16: u32 = 1;

/// Audio on its way to the sink.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtPcm {
    pub size: u32,
    pub format: u32,
    pub rate: u32,
    pub channels: u32,
    pub n: u32,
    pub flags: u32,
    pub data: *const c_void,
}

pub const UT_MARK_WORD: u32 = 1;
pub const UT_MARK_SENTENCE: u32 = 2;
pub const UT_MARK_VISEME: u32 = 3;
pub const UT_MARK_BOOKMARK: u32 = 4;

/// A place in the audio and the bytes of text it belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtMark {
    pub size: u32,
    pub kind: u32,
    pub sample: u64,
    pub text_off: u32,
    pub text_len: u32,
    pub flags: u32,
    pub pad: u32,
    pub name: UtStr,
}

/// More text of the same utterance.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtTextIn {
    pub size: u32,
    pub flags: u32,
    pub ctx: *mut c_void,
    pub next: Option<unsafe extern "C" fn(ctx: *mut c_void, timeout_ms: u32, chunk: *mut UtStr) -> i32>,
}

/// Where a `speak()` puts its audio.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtAudioSink {
    pub size: u32,
    pub flags: u32,
    pub ctx: *mut c_void,
    pub cancel_fd: i32,
    pub pad: u32,
    pub write: Option<unsafe extern "C" fn(ctx: *mut c_void, pcm: *const UtPcm) -> i32>,
    pub mark: Option<unsafe extern "C" fn(ctx: *mut c_void, mark: *const UtMark) -> i32>,
    pub cancelled: Option<unsafe extern "C" fn(ctx: *mut c_void) -> i32>,
}

pub const UT_SPEAK_SSML: u32 = 1;
pub const UT_SPEAK_PROTECTED: u32 = 2;
pub const UT_SPEAK_CACHEABLE: u32 = 4;
pub const UT_SPEAK_LAST: u32 = 8;

/// A request to speak.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtSpeakReq {
    pub size: u32,
    pub flags: u32,
    pub synthesis: u64,
    pub utterance: u64,
    pub session: u64,
    pub text: UtStr,
    pub voice: UtStr,
    pub lang: UtStr,
    pub rate: f32,
    pub pitch: f32,
    pub gain_db: f32,
    pub out_rate_hint: u32,
    pub params_json: UtStr,
    pub more: *const UtTextIn,
}

pub const UT_CANCEL_USER: u32 = 0;
pub const UT_CANCEL_BARGE_IN: u32 = 1;
pub const UT_CANCEL_SHUTDOWN: u32 = 2;

pub const UT_TTS_CONCURRENT: u32 = 1;
pub const UT_TTS_STREAM_TEXT: u32 = 2;
pub const UT_TTS_MARKS: u32 = 4;

/// The table of a TTS backend.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UtTts {
    pub common: UtCommon,
    pub speak: Option<unsafe extern "C" fn(inst: *mut c_void, req: *const UtSpeakReq, sink: *const UtAudioSink, err: *mut UtErr) -> i32>,
    pub cancel: Option<unsafe extern "C" fn(inst: *mut c_void, synthesis: u64, reason: u32) -> i32>,
    pub warmup: Option<unsafe extern "C" fn(inst: *mut c_void, err: *mut UtErr) -> i32>,
}

/// A struct of the ABI that starts with its own size and for which all bytes zero is a value.
///
/// # Safety
/// `repr(C)`, first field (or the field at [`Sized1::SIZE_AT`]) a `u32` size, and valid when zeroed: integers, raw pointers, floats and
/// `Option`s of function pointers only.
pub unsafe trait Sized1: Copy {
    /// Where the `size` field stands.
    const SIZE_AT: usize = 0;
    /// The size that ABI 1.0 has; a peer's smaller one is refused (R3).
    const V1: u32 = size_of::<Self>() as u32;
}

macro_rules! sized {
    ($($t:ty),*) => { $(
        // SAFETY: repr(C), `size` first, only integers, floats, raw pointers and optional function pointers.
        unsafe impl Sized1 for $t {}
    )* };
}
use sized;
sized!(
    UtErr,
    UtTextOut,
    UtHost,
    UtCommon,
    UtPcm,
    UtMark,
    UtTextIn,
    UtAudioSink,
    UtSpeakReq,
    UtTts
);
// SAFETY: as above, but `size` follows the eight bytes of magic.
unsafe impl Sized1 for UtEntry {
    const SIZE_AT: usize = 8;
}

/// Copies a peer's struct, as much of it as both sides know, into a zeroed one of our own (R3). `None`: NULL, misaligned, or smaller than 1.0.
///
/// # Safety
/// `peer` must be NULL or point to a struct whose `size` field is true.
pub unsafe fn read_sized<T: Sized1>(peer: *const T) -> Option<T> {
    if peer.is_null() || !peer.is_aligned() {
        return None;
    }
    // SAFETY: not NULL, aligned; the peer has at least its `size` field (caller's promise).
    let size = unsafe { peer.cast::<u8>().add(T::SIZE_AT).cast::<u32>().read() };
    if size < T::V1 {
        return None;
    }
    let mut own = core::mem::MaybeUninit::<T>::zeroed();
    let n = (size as usize).min(size_of::<T>());
    // SAFETY: `n` is within both: the peer says it has `size` bytes, our local has size_of::<T>().
    unsafe { core::ptr::copy_nonoverlapping(peer.cast::<u8>(), own.as_mut_ptr().cast::<u8>(), n) };
    // SAFETY: every byte is initialised, and `Sized1` says that such values are valid.
    Some(unsafe { own.assume_init() })
}
