//! From the C table to the trait and back. Every function here is an entry: it catches panics, copies what the host lent before looking at it,
//! and answers with a status.

use super::error::{fill, report};
use super::{AudioOut, Detector, Error, Frame, Host, Listen, Result, Speak, StreamConfig, Tts};
use crate::abi::*;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The table of a TTS backend in Rust.
#[doc(hidden)]
pub const fn __tts_table<T: Tts>() -> UtTts {
    let flags = bit(T::CONCURRENT, UT_TTS_CONCURRENT) | bit(T::MARKS, UT_TTS_MARKS);
    UtTts {
        common: common::<AsTts<T>>(UtTts::V1, flags),
        speak: Some(speak::<T>),
        cancel: Some(cancel::<T>),
        warmup: Some(warmup::<T>),
    }
}

/// The table of a detector in Rust.
#[doc(hidden)]
pub const fn __detector_table<T: Detector>() -> UtDetector {
    let flags = bit(T::HARD_RT, UT_DET_HARD_RT) | bit(T::NEEDS_FAR, UT_DET_NEEDS_FAR) | bit(T::CLEANS, UT_DET_CLEANS);
    UtDetector {
        common: common::<AsDetector<T>>(UtDetector::V1, flags),
        open: Some(open::<T>),
        close: Some(close::<T>),
        process: Some(process::<T>),
        reset: Some(reset::<T>),
    }
}

const fn bit(is: bool, flag: u32) -> u32 {
    if is { flag } else { 0 }
}

/// What every kind has at its head.
trait Kind: Sized + Send + Sync + 'static {
    type Config: DeserializeOwned + Default;
    const SCHEMA: &'static str;
    fn new(host: Host, id: &str, config: Self::Config) -> Result<Self>;
    fn describe(&self) -> serde_json::Result<String>;
    fn probe(&self) -> Result<()>;
}

struct AsTts<T>(T);

impl<T: Tts> Kind for AsTts<T> {
    type Config = T::Config;
    const SCHEMA: &'static str = T::SCHEMA;
    fn new(host: Host, id: &str, config: T::Config) -> Result<Self> {
        T::new(host, id, config).map(Self)
    }
    fn describe(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.0.describe())
    }
    fn probe(&self) -> Result<()> {
        self.0.probe()
    }
}

struct AsDetector<T>(T);

impl<T: Detector> Kind for AsDetector<T> {
    type Config = T::Config;
    const SCHEMA: &'static str = T::SCHEMA;
    fn new(host: Host, id: &str, config: T::Config) -> Result<Self> {
        T::new(host, id, config).map(Self)
    }
    fn describe(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.0.describe())
    }
    fn probe(&self) -> Result<()> {
        Ok(())
    }
}

const fn common<K: Kind>(size: u32, flags: u32) -> UtCommon {
    UtCommon {
        size,
        flags,
        schema: Some(schema::<K>),
        create: Some(create::<K>),
        destroy: Some(destroy::<K>),
        reconfigure: None,
        describe: Some(describe::<K>),
        probe: Some(probe::<K>),
        get_extension: None,
    }
}

/// Runs `f`; a panic or an error becomes a status, with its words in `err`.
///
/// # Safety
/// `err` is NULL or a `UtErr` lent for this call.
pub(super) unsafe fn guard(err: *mut UtErr, f: impl FnOnce() -> Result<()>) -> i32 {
    // AssertUnwindSafe: the host is told of the panic and may set the instance aside; our own state is behind the author's types.
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(())) => UT_OK,
        // SAFETY: the caller's promise.
        Ok(Err(error)) => unsafe { report(&error, err) },
        Err(payload) => {
            // SAFETY: the caller's promise.
            unsafe { fill(err, UT_EPANIC, 0, panic_words(&*payload)) };
            // Dropping a payload runs the author's code once more, which may panic again: leak it.
            std::mem::forget(payload);
            UT_EPANIC
        }
    }
}

fn panic_words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("panicked without words")
}

/// The instance behind a handle.
///
/// # Safety
/// `inst` came from `create` for this very `T` and `destroy` has not been called (R10).
unsafe fn instance<'a, T>(inst: *mut c_void) -> Result<&'a T> {
    // SAFETY: as the caller promises, it is the Box that `create` made, shared from then on.
    unsafe { inst.cast::<T>().as_ref() }.ok_or_else(|| Error::Argument("no instance".into()))
}

unsafe extern "C" fn schema<K: Kind>() -> UtStr {
    UtStr::new(K::SCHEMA)
}

unsafe extern "C" fn create<K: Kind>(host: *const UtHost, id: UtStr, cfg_json: UtStr, out: *mut *mut c_void, err: *mut UtErr) -> i32 {
    // SAFETY: `err` is lent for this call.
    unsafe {
        guard(err, || {
            // SAFETY: R3 and R5: a true size, readable while the process lives.
            let host = Host::read(host).ok_or_else(|| Error::Argument("no host".into()))?;
            // SAFETY: inputs are borrowed for the call (R5).
            let (id, json) = (id.text(), cfg_json.text());
            let (Some(id), Some(json)) = (id, json) else {
                return Err(Error::Argument("id or configuration is not UTF-8".into()));
            };
            let json = if json.trim().is_empty() { "{}" } else { json };
            // An object first: serde would take a list for a struct too.
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(json).map_err(|e| Error::Config(e.to_string()))?;
            let config = serde_json::from_value(object.into()).map_err(|e| Error::Config(e.to_string()))?;
            let made = Box::new(K::new(host, id, config)?);
            if out.is_null() {
                return Err(Error::Argument("nowhere to put the instance".into()));
            }
            // SAFETY: not NULL, the caller's variable.
            out.write(Box::into_raw(made).cast());
            Ok(())
        })
    }
}

unsafe extern "C" fn destroy<K: Kind>(inst: *mut c_void) {
    if inst.is_null() {
        return;
    }
    // SAFETY: no `UtErr` here. R10: the last call into this instance has returned, so the Box is ours alone again.
    let _status: i32 = unsafe {
        guard(std::ptr::null_mut(), || {
            drop(Box::from_raw(inst.cast::<K>()));
            Ok(())
        })
    };
}

unsafe extern "C" fn describe<K: Kind>(inst: *mut c_void, json: *const UtTextOut) -> i32 {
    // SAFETY: no `UtErr` here; the instance is alive (R10); `json` is lent for the call (R3).
    unsafe {
        guard(std::ptr::null_mut(), || {
            let text = instance::<K>(inst)?.describe().map_err(|e| Error::Backend(e.to_string()))?;
            write_text(json, &text)
        })
    }
}

/// # Safety
/// `out` is NULL or as R3 describes it, lent for this call.
unsafe fn write_text(out: *const UtTextOut, text: &str) -> Result<()> {
    // SAFETY: the caller's promise.
    let out = unsafe { read_sized(out) };
    let Some((ctx, write)) = out.and_then(|o| Some((o.ctx, o.write?))) else {
        return Err(Error::Argument("nowhere to write to".into()));
    };
    // SAFETY: the text lives through the call.
    unsafe { write(ctx, UtStr::new(text)) };
    Ok(())
}

unsafe extern "C" fn probe<K: Kind>(inst: *mut c_void, json: *const UtTextOut, err: *mut UtErr) -> i32 {
    // SAFETY: `err` and `json` are lent for the call; the instance is alive (R10).
    unsafe {
        guard(err, || {
            instance::<K>(inst)?.probe()?;
            write_text(json, "{}")
        })
    }
}

unsafe extern "C" fn speak<T: Tts>(inst: *mut c_void, req: *const UtSpeakReq, sink: *const UtAudioSink, err: *mut UtErr) -> i32 {
    // SAFETY: all four are lent for the call and as R3 and R5 describe them; the instance is alive (R10).
    unsafe {
        guard(err, || {
            let inst = &instance::<AsTts<T>>(inst)?.0;
            let req = Speak::read(req).ok_or_else(|| Error::Argument("a request that is not one".into()))?;
            let mut out = AudioOut::read(sink, &req).ok_or_else(|| Error::Argument("no sink".into()))?;
            inst.speak(&req, &mut out)
        })
    }
}

unsafe extern "C" fn cancel<T: Tts>(inst: *mut c_void, synthesis: u64, reason: u32) -> i32 {
    // SAFETY: no `UtErr` here; the instance is alive (R10).
    unsafe { guard(std::ptr::null_mut(), || instance::<AsTts<T>>(inst)?.0.cancel(synthesis, reason)) }
}

unsafe extern "C" fn warmup<T: Tts>(inst: *mut c_void, err: *mut UtErr) -> i32 {
    // SAFETY: `err` is lent for the call; the instance is alive (R10).
    unsafe { guard(err, || instance::<AsTts<T>>(inst)?.0.warmup()) }
}

unsafe extern "C" fn open<T: Detector>(inst: *mut c_void, cfg: *const UtDetStream, stream: *mut *mut c_void, err: *mut UtErr) -> i32 {
    // SAFETY: all are lent for the call and as R3 and R5 describe them; the instance is alive (R10).
    unsafe {
        guard(err, || {
            let detector = &instance::<AsDetector<T>>(inst)?.0;
            let config = StreamConfig::read(cfg).ok_or_else(|| Error::Argument("a stream that is none".into()))?;
            let made = Box::new(detector.open(&config)?);
            if stream.is_null() {
                return Err(Error::Argument("nowhere to put the stream".into()));
            }
            // SAFETY: not NULL, the caller's variable.
            stream.write(Box::into_raw(made).cast());
            Ok(())
        })
    }
}

unsafe extern "C" fn close<T: Detector>(stream: *mut c_void) {
    if stream.is_null() {
        return;
    }
    // SAFETY: no `UtErr` here. R10: the last call for this stream has returned, so the Box that `open` made is ours alone again.
    let _status: i32 = unsafe {
        guard(std::ptr::null_mut(), || {
            drop(Box::from_raw(stream.cast::<T::Stream>()));
            Ok(())
        })
    };
}

unsafe extern "C" fn process<T: Detector>(stream: *mut c_void, input: *const UtDetIn, out: *mut UtDetOut) -> i32 {
    // SAFETY: no `UtErr` here; the stream is the Box that `open` made, its calls are serial (R10); input and output are lent for the call (R3, R5).
    unsafe {
        guard(std::ptr::null_mut(), || {
            // The errors of this function are its code alone: no words, so that nothing allocates.
            let stream = stream.cast::<T::Stream>().as_mut().ok_or(Error::Stale)?;
            let frame = Frame::read(input, out).ok_or(Error::Stale)?;
            stream.process(frame).write(out);
            Ok(())
        })
    }
}

unsafe extern "C" fn reset<T: Detector>(stream: *mut c_void) {
    // SAFETY: as in `process`.
    let _status: i32 = unsafe {
        guard(std::ptr::null_mut(), || {
            stream.cast::<T::Stream>().as_mut().ok_or(Error::Stale)?.reset();
            Ok(())
        })
    };
}
