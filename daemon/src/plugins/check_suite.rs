//! The conformance suite, and that of TTS plugins in full: the child's side of `check.rs`. Each check begins with its name, so that the parent knows what ran when
//! the process died, and ends with one verdict.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use super::types::{MarkKind, SpeakEnd, SpeakRequest, SpeakSink, SynthError};
use super::{Found, LoadOptions, Plugin, Probe, TtsBackend, check_detector, load_one, stage};

const PREFIX: &str = "utterd-check ";
const SENTENCE: &str = "Hello, world. This is a check of 1234 things, isn't it?";
/// After a cancel a plugin has 100 ms by the ABI. Beyond this it did not obey, however slow the machine.
const DEAF: Duration = Duration::from_secs(5);

/// What the child tells its parent.
pub(super) enum Line {
    Begin(String),
    Pass(String),
    Fail(String),
    Note(String),
}

impl Line {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.strip_prefix(PREFIX)?.split_once(' ')?;
        let rest = rest.to_owned();
        match word {
            "begin" => Some(Self::Begin(rest)),
            "pass" => Some(Self::Pass(rest)),
            "fail" => Some(Self::Fail(rest)),
            "note" => Some(Self::Note(rest)),
            _ => None,
        }
    }
}

fn say(word: &str, text: &str) {
    println!("\n{PREFIX}{word} {}", text.replace(['\n', '\r'], " "));
}

/// Runs one check: its name, and what came of it.
pub(super) type Check<'a> = dyn FnMut(&str, &mut dyn FnMut() -> Result<String, String>) + 'a;

/// Tries everything; the exit status.
pub(super) fn run(file: &Path, config: &str, allocations: Option<fn() -> u64>) -> i32 {
    let mut failed = 0;
    let mut check = |name: &str, f: &mut dyn FnMut() -> Result<String, String>| {
        say("begin", name);
        match f() {
            Ok(detail) => say("pass", &detail),
            Err(detail) => {
                failed += 1;
                say("fail", &detail);
            }
        }
    };

    let mut loaded = None;
    check("loads (owner, mode, ELF, manifest, init, create, describe)", &mut || {
        let plugin = load(file, config)?;
        let told = format!("{} {}", plugin.id, plugin.version);
        loaded = Some(plugin);
        Ok(told)
    });
    let Some(plugin) = loaded else { return 1 };
    if let Some(tts) = plugin.tts() {
        voice(&mut check, tts);
    }
    if let Some(detector) = plugin.detector() {
        check_detector::run(&mut check, detector, allocations);
    }
    check("can be made and ended again and again", &mut || {
        for _ in 0..3 {
            drop(load(file, config)?);
        }
        Ok(String::new())
    });
    say("begin", "strict configuration");
    if load(file, r#"{"no-such-key-of-any-plugin":1}"#).is_ok() {
        say("note", "an unknown configuration key is not an error");
    }
    i32::from(failed > 0)
}

/// What is asked of a TTS backend.
fn voice(check: &mut Check<'_>, tts: &TtsBackend) {
    check("describes itself", &mut || describes(tts));
    check("speaks", &mut || speaks(tts, SENTENCE, 1.0));
    check("speaks again", &mut || speaks(tts, SENTENCE, 1.0));
    check("gives marks in order and inside the text", &mut || marks(tts));
    check("takes any rate and pitch", &mut || {
        for factor in [0.01, 100.0, f32::NAN] {
            speaks(tts, "Up and down.", factor)?;
        }
        Ok(String::new())
    });
    check("takes any text", &mut || any_text(tts));
    check("refuses a voice that it does not have", &mut || unknown_voice(tts));
    check("does not mind a cancel of an unknown id", &mut || {
        for id in [u64::MAX, 1, 1] {
            tts.cancel(id, 0);
        }
        speaks(tts, "Still here.", 1.0)
    });
    check("obeys a cancel in a text of 1 MB", &mut || cancel(tts));
    check("speaks after a cancel", &mut || speaks(tts, SENTENCE, 1.0));
    if tts.concurrent() {
        check("speaks twice at once", &mut || twice(tts));
    }
    check("mends nothing", &mut || {
        let counts = tts.counts();
        if counts == Default::default() {
            Ok(String::new())
        } else {
            Err(format!("the host had to: {counts:?}"))
        }
    });
}

fn load(file: &Path, config: &str) -> Result<Plugin, String> {
    let value = serde_json::from_str(config).map_err(|e| format!("CONFIG-JSON: {e}"))?;
    // The id is known only once the file was read: take it from a first look.
    let private = stage::private_dir(None)?;
    let id = super::elf::inspect(&std::fs::read(file).map_err(|e| e.to_string())?)?.id;
    let options = LoadOptions {
        probe: Probe::Skip,
        configs: BTreeMap::from([(id, value)]),
        ..LoadOptions::default()
    };
    match load_one(file, &private, &options, &[]).map_err(|(_, reason)| reason)? {
        Found::Plugin(plugin) => Ok(*plugin),
        Found::Disabled(_) | Found::Other => Err("disabled".into()),
    }
}

fn describes(tts: &TtsBackend) -> Result<String, String> {
    let voices = tts.voices();
    let default = tts.default_voice();
    if !default.is_empty() && !voices.iter().any(|v| v.id == default) {
        return Err(format!("its default voice {default:?} is not among its voices"));
    }
    let calls = if tts.concurrent() { "concurrent" } else { "one at a time" };
    Ok(format!(
        "{} voices, default {default:?}, {calls}, cancelled by {}",
        voices.len(),
        tts.cancel_way().as_str()
    ))
}

fn request<'a>(text: &'a str, factor: f32) -> SpeakRequest<'a> {
    static IDS: AtomicU64 = AtomicU64::new(1);
    let id = IDS.fetch_add(1, Ordering::Relaxed);
    SpeakRequest {
        synthesis: id,
        utterance: id,
        session: 1,
        text,
        voice: "",
        language: "",
        rate: factor,
        pitch: factor,
        gain_db: 0.0,
        out_rate_hint: 48_000,
        params_json: "",
        last: true,
        cacheable: false,
    }
}

fn speaks(tts: &TtsBackend, text: &str, factor: f32) -> Result<String, String> {
    let ear = Ear::new(None)?;
    let begin = Instant::now();
    let end = tts.speak(&request(text, factor), &ear).map_err(|e| e.to_string())?;
    let heard = ear.heard();
    if end != SpeakEnd::Complete {
        return Err("it says it was cancelled".into());
    }
    if heard.samples == 0 || heard.loudest == 0.0 {
        return Err(format!("nothing but silence in {} samples", heard.samples));
    }
    let first = heard.first.map_or(0, |at| at.duration_since(begin).as_millis());
    Ok(format!(
        "{} samples at {} Hz, first audio after {first} ms",
        heard.samples, heard.rate
    ))
}

fn marks(tts: &TtsBackend) -> Result<String, String> {
    let ear = Ear::new(None)?;
    let before = tts.counts();
    tts.speak(&request(SENTENCE, 1.0), &ear).map_err(|e| e.to_string())?;
    let (heard, after) = (ear.heard(), tts.counts());
    if (before.marks_clamped, before.marks_dropped) != (after.marks_clamped, after.marks_dropped) {
        return Err("some were out of order, out of the text or inside a code point".into());
    }
    if let Some(late) = heard.marks.iter().find(|(_, sample)| *sample > heard.samples) {
        return Err(format!("one stands at sample {} of {}", late.1, heard.samples));
    }
    let words = heard.marks.iter().filter(|(kind, _)| *kind == MarkKind::Word).count();
    if tts.gives_marks() && words == 0 {
        return Err("it says it gives marks, but gave none for a word".into());
    }
    Ok(format!("{words} words of {}", SENTENCE.split_whitespace().count()))
}

fn any_text(tts: &TtsBackend) -> Result<String, String> {
    let texts = [
        "",
        " ",
        "\n\t\r\n",
        "...",
        "a\0b",
        "\u{1}50S\u{1b}[31m\u{7f}\u{9f}",
        "<b>bold</b> & <speak>",
        "[[h@'loU]] {[(",
        "😀👩‍👩‍👧‍👦🇪🇺",
        "שלום עולם مرحبا",
        "e\u{301}\u{302}\u{303}\u{200d}\u{feff}\u{fffd}\u{10ffff}\u{e000}",
        "漢字かな交じり文。ไทย",
        "9999999999999999999999999999999999",
        "AAAA.BBBB@example.org/?q=1&r=%20",
    ];
    let mut errors = Vec::new();
    for text in texts {
        let ear = Ear::new(None)?;
        match tts.speak(&request(text, 1.0), &ear) {
            Ok(SpeakEnd::Complete) => {}
            Ok(SpeakEnd::Cancelled) => return Err(format!("{text:?}: it says it was cancelled")),
            Err(e @ (SynthError::Panicked { .. } | SynthError::Misbehaved { .. })) => {
                return Err(format!("{text:?}: {e}"));
            }
            Err(e) => errors.push(format!("{text:?}: {e}")),
        }
    }
    Ok(if errors.is_empty() {
        format!("{} texts", texts.len())
    } else {
        format!("refused {}", errors.join(", "))
    })
}

fn unknown_voice(tts: &TtsBackend) -> Result<String, String> {
    let ear = Ear::new(None)?;
    match tts.speak(
        &SpeakRequest {
            voice: "no-such-voice-of-any-plugin",
            ..request("Hello.", 1.0)
        },
        &ear,
    ) {
        Err(e @ SynthError::NoSuchVoice { .. }) => Ok(e.to_string()),
        Err(e) => Err(format!("the error should be UT_ENOVOICE: {e}")),
        Ok(_) => Err("it spoke with another one".into()),
    }
}

fn cancel(tts: &TtsBackend) -> Result<String, String> {
    let text = "All work and no play makes this a dull text. ".repeat((1 << 20) / 45);
    let ear = Ear::new(Some(20_000))?;
    let req = request(&text, 1.0);
    let end = tts.speak(&req, &ear).map_err(|e| format!("a cancel is no error: {e}"))?;
    tts.cancel(req.synthesis, 0);
    let took = ear.heard().cancelled.map(|at| at.elapsed());
    match (end, took) {
        (SpeakEnd::Cancelled, Some(took)) if took < DEAF => {
            Ok(format!("returned {:.1} ms after it (the ABI allows 100)", took.as_secs_f64() * 1e3))
        }
        (SpeakEnd::Cancelled, Some(took)) => Err(format!("returned {:.1} s after it", took.as_secs_f64())),
        (end, _) => Err(format!("ended as {end:?}, as if 1 MB had been spoken")),
    }
}

fn twice(tts: &TtsBackend) -> Result<String, String> {
    std::thread::scope(|scope| {
        let other = scope.spawn(|| speaks(tts, SENTENCE, 1.0));
        let own = speaks(tts, SENTENCE, 1.0);
        let other = other.join().map_err(|_| "a thread panicked".to_owned())?;
        own.and(other)
    })
}

/// A sink that listens, and says "cancelled" after so many samples if it is told to.
struct Ear {
    limit: Option<u64>,
    cancelled: AtomicBool,
    fd: OwnedFd,
    heard: Mutex<Heard>,
}

#[derive(Default, Clone)]
struct Heard {
    samples: u64,
    rate: u32,
    loudest: f32,
    first: Option<Instant>,
    cancelled: Option<Instant>,
    marks: Vec<(MarkKind, u64)>,
}

impl Ear {
    fn new(limit: Option<u64>) -> Result<Self, String> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| format!("no eventfd: {e}"))?;
        Ok(Self {
            limit,
            cancelled: AtomicBool::new(false),
            fd,
            heard: Mutex::default(),
        })
    }

    fn heard(&self) -> Heard {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SpeakSink for Ear {
    fn write(&self, rate: u32, mono: &[f32]) -> bool {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.first.get_or_insert_with(Instant::now);
        heard.rate = rate;
        heard.samples += mono.len() as u64;
        heard.loudest = mono.iter().fold(heard.loudest, |max, x| max.max(x.abs()));
        if self.limit.is_some_and(|limit| heard.samples >= limit) && !self.cancelled.swap(true, Ordering::Release) {
            heard.cancelled = Some(Instant::now());
            if let Err(e) = rustix::io::write(&self.fd, &1u64.to_ne_bytes()) {
                say("note", &format!("the eventfd: {e}"));
            }
        }
        !self.cancelled.load(Ordering::Acquire)
    }

    fn mark(&self, kind: MarkKind, sample: u64, _: u32, _: u32, _: &str) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).marks.push((kind, sample));
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    fn cancel_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
