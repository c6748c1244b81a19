//! The Rust mirror and the C header must be one thing: a small program made of the header alone prints every size and offset, built as C and
//! as C++, and each line is compared with what rustc made of `abi.rs`.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::path::{Path, PathBuf};
use std::process::Command;
use utterd_plugin_api::abi::*;

/// `(C source that prints them, the lines expected)`
fn expectation() -> (String, Vec<String>) {
    let mut source = String::from("#include \"utterd_plugin.h\"\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n");
    let mut lines = Vec::new();
    macro_rules! layout {
        ($($ty:ident { $($field:ident),* })*) => { $(
            writeln!(source, "  printf(\"{0} %lu\\n\", (unsigned long)sizeof({0}));", stringify!($ty)).unwrap();
            lines.push(format!("{} {}", stringify!($ty), size_of::<$ty>()));
            $(
                writeln!(source, "  printf(\"{0}.{1} %lu\\n\", (unsigned long)offsetof({0}, {1}));", stringify!($ty), stringify!($field)).unwrap();
                lines.push(format!("{}.{} {}", stringify!($ty), stringify!($field), offset_of!($ty, $field)));
            )*
        )* };
    }
    // The kinds: their common head is a struct of its own in Rust and a macro in C.
    macro_rules! kinds {
        ($($ty:ident { $($field:ident),* })*) => { $(
            layout! { $ty { $($field),* } }
            for (name, offset) in [
                ("size", offset_of!(UtCommon, size)), ("flags", offset_of!(UtCommon, flags)), ("schema", offset_of!(UtCommon, schema)),
                ("create", offset_of!(UtCommon, create)), ("destroy", offset_of!(UtCommon, destroy)),
                ("reconfigure", offset_of!(UtCommon, reconfigure)), ("describe", offset_of!(UtCommon, describe)),
                ("probe", offset_of!(UtCommon, probe)), ("get_extension", offset_of!(UtCommon, get_extension)),
            ] {
                writeln!(source, "  printf(\"{0}.{1} %lu\\n\", (unsigned long)offsetof({0}, {1}));", stringify!($ty), name).unwrap();
                lines.push(format!("{}.{} {}", stringify!($ty), name, offset_of!($ty, common) + offset));
            }
        )* };
    }
    macro_rules! constants {
        ($($name:ident)*) => { $(
            writeln!(source, "  printf(\"{0} %ld\\n\", (long){0});", stringify!($name)).unwrap();
            lines.push(format!("{} {}", stringify!($name), $name));
        )* };
    }
    layout! {
        UtStr { ptr, len }
        UtErr { size, code, retry_after_ms, len, msg }
        UtTextOut { size, flags, ctx, write }
        UtHost { size, abi_minor, ctx, name, version, log, log_level, metric_register, metric, health, now_ns, secret, dir, request, get_extension, cancel_ack }
        UtEntry { magic, size, abi_minor, manifest, init, deinit, get_factory }
        UtPcm { size, format, rate, channels, n, flags, data }
        UtMark { size, kind, sample, text_off, text_len, flags, pad, name }
        UtTextIn { size, flags, ctx, next }
        UtAudioSink { size, flags, ctx, cancel_fd, pad, write, mark, cancelled }
        UtSpeakReq { size, flags, synthesis, utterance, session, text, voice, lang, rate, pitch, gain_db, out_rate_hint, params_json, more }
        UtDetIn { size, flags, n, rate, t, near_, far_, far_delay, lost }
        UtDetOut { size, events, prob, confidence, t_event, value, flags, clean, clean_n, pad }
        UtDetStream { size, flags, session, rate, frame, max_us, pad, lang }
        UtFrame { size, flags, format, rate, n, seq, t, t_ns, data }
        UtCallInfo { size, flags, remote_id, from, to, headers_json, rate, frame_ms }
        UtCallHost { size, flags, ctx, new_call, incoming, state, media, played, dtmf, transfer, registration }
        UtDial { size, flags, call, to, from, headers_json, timeout_ms, pad }
        UtTransfer { size, flags, to, with_call }
    }
    kinds! {
        UtTts { speak, cancel, warmup }
        UtDetector { open, close, process, reset }
        UtTelephony { start, stop, forget, dial, answer, reject, hangup, hold, transfer, dtmf, tx, rx, tx_end, mark, clear, stats }
    }
    constants! {
        UT_ABI_MAJOR UT_ABI_MINOR UT_OK UT_CANCELLED UT_END UT_NEEDS_RESTART UT_TIMEOUT UT_EARG UT_EUNSUPPORTED UT_ECONFIG UT_EBACKEND UT_EPANIC
        UT_ESTATE UT_EBUSY UT_EAUTH UT_ENOVOICE UT_PCM_F32 UT_PCM_S16 UT_MARK_WORD UT_MARK_SENTENCE UT_MARK_VISEME UT_MARK_BOOKMARK UT_SPEAK_SSML
        UT_SPEAK_PROTECTED UT_SPEAK_CACHEABLE UT_SPEAK_LAST UT_CANCEL_USER UT_CANCEL_BARGE_IN UT_CANCEL_SHUTDOWN UT_TTS_CONCURRENT
        UT_TTS_STREAM_TEXT UT_TTS_MARKS UT_IN_AI_SPEAKING UT_IN_PROTECTED UT_IN_GAP UT_IN_MUTED UT_EV_SPEECH_START UT_EV_SPEECH_END UT_EV_BARGE_IN
        UT_EV_BACKCHANNEL UT_EV_TURN_END UT_EV_DTMF UT_EV_MACHINE UT_EV_HUMAN UT_EV_TONE UT_DETS_ONE_STAGE UT_DET_HARD_RT UT_DET_NEEDS_FAR UT_DET_CLEANS
        UT_CALL_RINGING UT_CALL_EARLY UT_CALL_ANSWERED UT_CALL_HELD UT_CALL_RESUMED UT_CALL_ENDED
    }
    source.push_str("  return 0;\n}\n");
    (source, lines)
}

fn run(compiler: &str, language: &str, standard: &str, source: &str) -> Option<Vec<String>> {
    let dir = scratch(&format!("{language}-{}", standard.replace('+', "p")));
    let (file, program) = (dir.join("layout.src"), dir.join("layout"));
    std::fs::write(&file, source).unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let built = Command::new(compiler)
        .args([
            "-x",
            language,
            &format!("-std={standard}"),
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-I",
        ])
        .arg(include)
        .arg("-o")
        .arg(&program)
        .arg(&file)
        .status();
    match built {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            println!("{compiler} is not installed: {language} not compared");
            return None;
        }
        built => assert!(built.unwrap().success(), "{compiler} -std={standard} refuses the header"),
    }
    let out = Command::new(&program).output().unwrap();
    Some(String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect())
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("layout-{name}"));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn every_size_offset_and_constant_is_the_one_of_the_c_header() {
    let (source, expected) = expectation();
    let printed = run("cc", "c", "c99", &source).expect("a C compiler is needed to test the ABI: apt-get install gcc");
    assert_eq!(printed, expected);
    assert_eq!(run("cc", "c", "c17", &source), Some(expected));
}

#[test]
fn a_cpp_compiler_sees_the_same_layout() {
    let (source, expected) = expectation();
    for standard in ["c++11", "c++20"] {
        if let Some(printed) = run("g++", "c++", standard, &source) {
            assert_eq!(printed, expected, "{standard}");
        }
    }
}

#[test]
fn the_example_in_c_compiles_without_a_warning() {
    let dir = scratch("hello");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let status = Command::new("cc")
        .args([
            "-std=c99",
            "-shared",
            "-fPIC",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-I",
        ])
        .arg(root.join("include"))
        .arg("-o")
        .arg(dir.join("hello.so"))
        .arg(root.join("examples/hello.c"))
        .arg("-lm")
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn every_field_of_the_header_is_compared() {
    // The macro of the common head and a field per name in the list above: count them, so that an appended field cannot be forgotten here.
    let header = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("include/utterd_plugin.h")).unwrap();
    let structs = header.matches("typedef struct Ut").count();
    let (source, _) = expectation();
    assert_eq!(source.matches("sizeof(").count(), structs, "a struct of the header has no mirror");
}
