//! The SDK's promises at the boundary, through the C table as a host uses it: no panic crosses, words come with a code, and a host's struct of
//! another size is respected.

#![allow(clippy::unwrap_used)]

mod host;

use host::host;
use serde::Deserialize;
use std::ffi::c_void;
use utterd_plugin_api::abi::*;
use utterd_plugin_api::prelude::*;
use utterd_plugin_api::sdk::__tts_table;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    refuse: bool,
}

struct Moody;

impl Tts for Moody {
    type Config = Config;
    fn new(_: Host, _: &str, config: Config) -> Result<Self> {
        if config.refuse {
            Err(Error::Config("told to refuse".into()))
        } else {
            Ok(Self)
        }
    }
    fn describe(&self) -> TtsDescription {
        description([voice("moody", "en", 8_000)])
    }
    fn speak(&self, req: &Speak<'_>, out: &mut AudioOut<'_>) -> Result<()> {
        match req.text {
            "panic" => panic!("the text said {:?}", req.text),
            "busy" => Err(Error::Busy(250, "later".into())),
            "long" => Err(Error::Backend("ü".repeat(400))),
            text => {
                for word in req.words() {
                    out.word(&word)?;
                    out.write(&vec![0.5; text.len()])?;
                }
                Ok(())
            }
        }
    }
}

#[derive(Default)]
struct Heard {
    samples: Vec<f32>,
    marks: Vec<(u64, u32, u32)>,
    limit: usize,
}

unsafe extern "C" fn write(ctx: *mut c_void, pcm: *const UtPcm) -> i32 {
    // SAFETY: `ctx` is the `Heard` of the test that calls, `pcm` lent by the SDK.
    unsafe {
        let heard = &mut *ctx.cast::<Heard>();
        heard
            .samples
            .extend(std::slice::from_raw_parts((*pcm).data.cast::<f32>(), (*pcm).n as usize));
        if heard.samples.len() >= heard.limit { UT_CANCELLED } else { UT_OK }
    }
}

unsafe extern "C" fn mark(ctx: *mut c_void, mark: *const UtMark) -> i32 {
    // SAFETY: as above.
    unsafe {
        (*ctx.cast::<Heard>())
            .marks
            .push(((*mark).sample, (*mark).text_off, (*mark).text_len));
    }
    UT_OK
}

fn create(config: &str, err: &mut UtErr) -> (i32, *mut c_void) {
    let host = host();
    let mut inst = std::ptr::null_mut();
    let create = __tts_table::<Moody>().common.create.unwrap();
    // SAFETY: all arguments live through the call; this plugin keeps no host.
    let status = unsafe { create(&raw const host, UtStr::new("moody"), UtStr::new(config), &raw mut inst, err) };
    (status, inst)
}

fn speak(text: &str, limit: usize) -> (i32, Heard, UtErr) {
    let mut err = UtErr::new();
    let (status, inst) = create("", &mut err);
    assert_eq!(status, UT_OK);
    let table = __tts_table::<Moody>();
    let mut heard = Heard { limit, ..Heard::default() };
    let none = UtStr::EMPTY;
    let req = UtSpeakReq {
        size: size_of::<UtSpeakReq>() as u32,
        flags: 0,
        synthesis: 1,
        utterance: 1,
        session: 1,
        text: UtStr::new(text),
        voice: none,
        lang: none,
        rate: 1.0,
        pitch: 1.0,
        gain_db: 0.0,
        out_rate_hint: 8_000,
        params_json: none,
        more: std::ptr::null(),
    };
    let sink = UtAudioSink {
        size: size_of::<UtAudioSink>() as u32,
        flags: 0,
        ctx: (&raw mut heard).cast(),
        cancel_fd: -1,
        pad: 0,
        write: Some(write),
        mark: Some(mark),
        cancelled: None,
    };
    // SAFETY: the instance was made above; the rest lives through the calls; nobody uses it after `destroy`.
    let status = unsafe {
        let status = table.speak.unwrap()(inst, &raw const req, &raw const sink, &raw mut err);
        table.common.destroy.unwrap()(inst);
        status
    };
    (status, heard, err)
}

fn words(err: &UtErr) -> &str {
    std::str::from_utf8(&err.msg[..err.len as usize]).unwrap()
}

#[test]
fn a_panic_becomes_a_status_with_its_words() {
    let (status, _, err) = speak("panic", usize::MAX);
    assert_eq!((status, err.code), (UT_EPANIC, UT_EPANIC));
    assert_eq!(words(&err), "the text said \"panic\"");
}

#[test]
fn an_error_brings_its_code_its_words_and_when_to_try_again() {
    let (status, _, err) = speak("busy", usize::MAX);
    assert_eq!((status, words(&err), err.retry_after_ms), (UT_EBUSY, "later", 250));
    let (_, _, err) = speak("long", usize::MAX);
    assert_eq!(words(&err), "ü".repeat(248), "cut at a character");
}

#[test]
fn samples_and_marks_arrive_and_a_cancel_ends_it() {
    let (status, heard, _) = speak("one two", usize::MAX);
    assert_eq!((status, heard.samples.len()), (UT_OK, 14));
    assert_eq!(heard.marks, [(0, 0, 3), (7, 4, 3)]);
    let (status, heard, _) = speak("one two", 7);
    assert_eq!((status, heard.samples.len()), (UT_CANCELLED, 7));
}

#[test]
fn a_mistyped_key_is_an_error_that_names_it() {
    let mut err = UtErr::new();
    assert_eq!(create(r#"{"refsue":true}"#, &mut err).0, UT_ECONFIG);
    assert!(words(&err).contains("refsue"), "{}", words(&err));
    assert_eq!(create(r#"{"refuse":true}"#, &mut err).0, UT_ECONFIG);
    assert_eq!(words(&err), "told to refuse");
}

#[test]
fn an_error_struct_that_is_too_small_is_left_alone() {
    let mut err = UtErr { size: 16, ..UtErr::new() };
    assert_eq!(create("[]", &mut err).0, UT_ECONFIG);
    assert_eq!((err.code, err.len, err.size), (0, 0, 16));
}

#[test]
fn a_peers_larger_struct_is_read_as_far_as_we_know_it_and_a_smaller_one_is_refused() {
    #[repr(C)]
    struct Newer {
        known: UtTextIn,
        appended: [u64; 4],
    }
    let known = UtTextIn {
        size: size_of::<Newer>() as u32,
        flags: 7,
        ctx: std::ptr::null_mut(),
        next: None,
    };
    let mut newer = Newer {
        known,
        appended: [u64::MAX; 4],
    };
    // SAFETY: the size is true.
    let read = unsafe { read_sized(&raw const newer.known) };
    assert_eq!(read.unwrap().flags, 7);
    assert_eq!(newer.appended[0], u64::MAX);
    newer.known.size = 8;
    // SAFETY: there are eight bytes.
    assert!(unsafe { read_sized(&raw const newer.known) }.is_none());
    // SAFETY: NULL is allowed.
    assert!(unsafe { read_sized(std::ptr::null::<UtTextIn>()) }.is_none());
}
