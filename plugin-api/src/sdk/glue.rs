//! From the C table to the trait and back. Every function here is an entry: it catches panics, copies what the host lent before looking at it,
//! and answers with a status.

use super::error::{fill, report};
use super::{AudioOut, Error, Host, Result, Speak, Tts};
use crate::abi::*;
use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The table of a TTS backend in Rust.
#[doc(hidden)]
pub const fn __tts_table<T: Tts>() -> UtTts {
    let mut flags = 0;
    if T::CONCURRENT {
        flags |= UT_TTS_CONCURRENT;
    }
    if T::MARKS {
        flags |= UT_TTS_MARKS;
    }
    UtTts {
        common: UtCommon {
            size: UtTts::V1,
            flags,
            schema: Some(schema::<T>),
            create: Some(create::<T>),
            destroy: Some(destroy::<T>),
            reconfigure: None,
            describe: Some(describe::<T>),
            probe: Some(probe::<T>),
            get_extension: None,
        },
        speak: Some(speak::<T>),
        cancel: Some(cancel::<T>),
        warmup: Some(warmup::<T>),
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
/// `inst` came from `create::<T>` and `destroy` has not been called (R10).
unsafe fn instance<'a, T: Tts>(inst: *mut c_void) -> Result<&'a T> {
    // SAFETY: as the caller promises, it is the Box that `create` made, shared from then on.
    unsafe { inst.cast::<T>().as_ref() }.ok_or_else(|| Error::Argument("no instance".into()))
}

unsafe extern "C" fn schema<T: Tts>() -> UtStr {
    UtStr::new(T::SCHEMA)
}

unsafe extern "C" fn create<T: Tts>(host: *const UtHost, id: UtStr, cfg_json: UtStr, out: *mut *mut c_void, err: *mut UtErr) -> i32 {
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
            let made = Box::new(T::new(host, id, config)?);
            if out.is_null() {
                return Err(Error::Argument("nowhere to put the instance".into()));
            }
            // SAFETY: not NULL, the caller's variable.
            out.write(Box::into_raw(made).cast());
            Ok(())
        })
    }
}

unsafe extern "C" fn destroy<T: Tts>(inst: *mut c_void) {
    if inst.is_null() {
        return;
    }
    // SAFETY: no `UtErr` here. R10: the last call into this instance has returned, so the Box is ours alone again.
    let _status: i32 = unsafe {
        guard(std::ptr::null_mut(), || {
            drop(Box::from_raw(inst.cast::<T>()));
            Ok(())
        })
    };
}

unsafe extern "C" fn describe<T: Tts>(inst: *mut c_void, json: *const UtTextOut) -> i32 {
    // SAFETY: no `UtErr` here; the instance is alive (R10); `json` is lent for the call (R3).
    unsafe {
        guard(std::ptr::null_mut(), || {
            let text = serde_json::to_string(&instance::<T>(inst)?.describe()).map_err(|e| Error::Backend(e.to_string()))?;
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

unsafe extern "C" fn probe<T: Tts>(inst: *mut c_void, json: *const UtTextOut, err: *mut UtErr) -> i32 {
    // SAFETY: `err` and `json` are lent for the call; the instance is alive (R10).
    unsafe {
        guard(err, || {
            instance::<T>(inst)?.probe()?;
            write_text(json, "{}")
        })
    }
}

unsafe extern "C" fn speak<T: Tts>(inst: *mut c_void, req: *const UtSpeakReq, sink: *const UtAudioSink, err: *mut UtErr) -> i32 {
    // SAFETY: all four are lent for the call and as R3 and R5 describe them; the instance is alive (R10).
    unsafe {
        guard(err, || {
            let inst = instance::<T>(inst)?;
            let req = Speak::read(req).ok_or_else(|| Error::Argument("a request that is not one".into()))?;
            let mut out = AudioOut::read(sink, &req).ok_or_else(|| Error::Argument("no sink".into()))?;
            inst.speak(&req, &mut out)
        })
    }
}

unsafe extern "C" fn cancel<T: Tts>(inst: *mut c_void, synthesis: u64, reason: u32) -> i32 {
    // SAFETY: no `UtErr` here; the instance is alive (R10).
    unsafe { guard(std::ptr::null_mut(), || instance::<T>(inst)?.cancel(synthesis, reason)) }
}

unsafe extern "C" fn warmup<T: Tts>(inst: *mut c_void, err: *mut UtErr) -> i32 {
    // SAFETY: `err` is lent for the call; the instance is alive (R10).
    unsafe { guard(err, || instance::<T>(inst)?.warmup()) }
}
