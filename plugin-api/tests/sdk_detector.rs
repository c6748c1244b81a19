//! A detector of the SDK through the C table, as a host uses it: buffers and edges arrive, and no panic crosses.

#![allow(clippy::unwrap_used)]

mod host;

use host::host;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use utterd_plugin_api::abi::*;
use utterd_plugin_api::prelude::*;
use utterd_plugin_api::sdk::__detector_table;

/// Tells the sum of both ends; panics at a near end of 13.
struct Sum;

struct Stream {
    one_stage: bool,
}

impl Detector for Sum {
    type Config = NoConfig;
    type Stream = Stream;
    const HARD_RT: bool = true;
    const CLEANS: bool = true;
    fn new(_: Host, _: &str, _: NoConfig) -> Result<Self> {
        Ok(Self)
    }
    fn open(&self, config: &StreamConfig<'_>) -> Result<Stream> {
        match config.rate {
            16_000 => Ok(Stream {
                one_stage: config.one_stage,
            }),
            rate => Err(Error::Unsupported(format!("{rate} Hz"))),
        }
    }
}

impl Listen for Stream {
    fn process(&mut self, frame: Frame<'_>) -> Heard {
        assert!(!frame.near.contains(&13.0), "unlucky");
        frame.clean.fill(0.25);
        let sum = frame.near.iter().chain(frame.far.unwrap_or(&[])).sum();
        if frame.ai_speaking() && self.one_stage {
            Heard::event(Event::SpeechStart, frame.t - 5, sum, 1.0).and(Event::BargeIn)
        } else {
            Heard::quiet(sum)
        }
    }
    fn reset(&mut self) {
        self.one_stage = false;
    }
}

const TABLE: UtDetector = __detector_table::<Sum>();

fn open(rate: u32) -> (i32, *mut c_void, String) {
    let (mut inst, mut stream, mut err) = (null_mut(), null_mut(), UtErr::new());
    let host = host();
    let config = UtDetStream {
        size: size_of::<UtDetStream>() as u32,
        flags: UT_DETS_ONE_STAGE,
        session: 1,
        rate,
        frame: 4,
        max_us: 0,
        pad: 0,
        lang: UtStr::EMPTY,
    };
    // SAFETY: all arguments live through the calls; a stream of this detector does not need its instance, which is leaked.
    let status = unsafe {
        let create = TABLE.common.create.unwrap();
        let made = create(&raw const host, UtStr::new("sum"), UtStr::EMPTY, &raw mut inst, &raw mut err);
        assert_eq!(made, UT_OK);
        TABLE.open.unwrap()(inst, &raw const config, &raw mut stream, &raw mut err)
    };
    let words = String::from_utf8(err.msg[..err.len as usize].to_vec()).unwrap();
    (status, stream, words)
}

fn process(stream: *mut c_void, near: &[f32], far: Option<&[f32]>, clean: &mut [f32]) -> (i32, UtDetOut) {
    let input = UtDetIn {
        size: size_of::<UtDetIn>() as u32,
        flags: UT_IN_AI_SPEAKING,
        n: near.len() as u32,
        rate: 16_000,
        t: 100,
        near_: near.as_ptr(),
        far_: far.map_or(null(), <[f32]>::as_ptr),
        far_delay: 0,
        lost: 0,
    };
    let mut out = UtDetOut {
        size: size_of::<UtDetOut>() as u32,
        events: 0,
        prob: 0.0,
        confidence: 0.0,
        t_event: 0,
        value: 0,
        flags: 0,
        clean: clean.as_mut_ptr(),
        clean_n: clean.len() as u32,
        pad: 0,
    };
    // SAFETY: the stream was opened above; input, output and their buffers live through the call.
    let status = unsafe { TABLE.process.unwrap()(stream, &raw const input, &raw mut out) };
    (status, out)
}

#[test]
fn both_ends_arrive_and_edges_come_back_until_it_is_reset() {
    let (status, stream, _) = open(16_000);
    assert_eq!(status, UT_OK);
    assert_eq!(TABLE.common.flags, UT_DET_HARD_RT | UT_DET_CLEANS);
    let mut clean = [0.0; 4];
    let (status, out) = process(stream, &[0.1, 0.2], Some(&[0.3, 0.1]), &mut clean);
    assert_eq!((status, out.events, out.t_event), (UT_OK, UT_EV_SPEECH_START | UT_EV_BARGE_IN, 95));
    assert!((out.prob - 0.7).abs() < 1e-6);
    assert_eq!(clean, [0.25, 0.25, 0.0, 0.0], "as long as the near end");
    let (_, out) = process(stream, &[], None, &mut []);
    assert_eq!(out.prob, 0.0);
    // SAFETY: the stream was opened above and is used no more after `close`.
    unsafe {
        TABLE.reset.unwrap()(stream);
        let (_, out) = process(stream, &[0.5], None, &mut []);
        assert_eq!((out.events, out.prob), (0, 0.5));
        TABLE.close.unwrap()(stream);
        TABLE.close.unwrap()(null_mut());
        TABLE.reset.unwrap()(null_mut());
    }
}

#[test]
fn a_refusal_brings_words_and_a_panic_a_status() {
    let (status, stream, words) = open(44_100);
    assert_eq!((status, stream.is_null(), words.as_str()), (UT_EUNSUPPORTED, true, "44100 Hz"));
    let (_, stream, _) = open(16_000);
    assert_eq!(process(stream, &[13.0], None, &mut []).0, UT_EPANIC);
    assert_eq!(process(null_mut(), &[1.0], None, &mut []).0, UT_ESTATE);
    // SAFETY: opened above, used no more.
    unsafe { TABLE.close.unwrap()(stream) };
}
