//! Options (`a{sv}`) to typed values. An unknown key, a wrong type or a value out of range is an error that names the key; a key of the
//! contract that this release does not honour yet is NotSupported, never silently ignored.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use utterd_core::hearing::{Backchannel, BargeInPolicy, Report};
use utterd_core::{
    Bounds, CacheUse, CancelOptions, Format, Mode, Output, Phase, Priority, Progress, SayOptions, SessionOptions, SpeechDetails,
};
use zbus::zvariant::{OwnedValue, Value};

use super::error::Refusal;
use super::params;

/// As they come off the wire.
pub(super) type Options = BTreeMap<String, OwnedValue>;

/// Ids and times stay below 2^53, so that every client's numbers can hold them.
pub(super) const MAX_NUMBER: u64 = 1 << 53;
/// An hour; no timer of the contract is meant to be longer than a day.
const MAX_MS: u64 = 86_400_000;

/// An option that is text comes back in signals and reports; a message must hold them.
const MAX_TEXT: usize = 1024;

/// Entries of an option that is a list.
const MAX_LIST: usize = 64;

/// What is left to be understood of one call's options.
pub(super) struct Reader(Options);

impl Reader {
    pub(super) fn new(options: Options) -> Self {
        Self(options)
    }

    fn take(&mut self, key: &str) -> Option<OwnedValue> {
        self.0.remove(key)
    }

    fn text(&mut self, key: &str) -> Result<Option<String>, Refusal> {
        self.take(key).map(|value| text_of(key, &value).map(str::to_owned)).transpose()
    }

    /// A list of strings.
    fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let Value::Array(list) = &*value else {
            return Err(wrong_type(key, "as (a list of strings)", &value));
        };
        if list.len() > MAX_LIST {
            let message = format!("option \"{key}\" has {} entries; allowed: {MAX_LIST}", list.len());
            return Err(Refusal::limit_exceeded(message));
        }
        list.iter()
            .map(|item| text_of(key, item).map(str::to_owned))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// Text that goes no further than the limit of an utterance's.
    pub(super) fn long_text(&mut self, key: &str) -> Result<Option<String>, Refusal> {
        self.take(key)
            .map(|value| match &*value {
                Value::Str(text) => Ok(text.as_str().to_owned()),
                other => Err(wrong_type(key, "s (string)", other)),
            })
            .transpose()
    }

    pub(super) fn word<T>(&mut self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, Refusal>
    where
        T: Copy,
    {
        let Some(word) = self.text(key)? else {
            return Ok(None);
        };
        match words.iter().find(|(w, _)| *w == word) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let allowed: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
                Err(Refusal::invalid_args(format!(
                    "option \"{key}\" is \"{word}\"; allowed: {}",
                    allowed.join(", ")
                )))
            }
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, Refusal> {
        self.take(key)
            .map(|value| match *value {
                Value::Bool(flag) => Ok(flag),
                _ => Err(wrong_type(key, "b (boolean)", &value)),
            })
            .transpose()
    }

    pub(super) fn whole(&mut self, key: &str, max: u64) -> Result<Option<u64>, Refusal> {
        self.whole_in(key, 0..=max)
    }

    fn whole_in(&mut self, key: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Refusal> {
        self.take(key)
            .map(|value| {
                let number = integer(&value).ok_or_else(|| wrong_type(key, "an integer", &value))?;
                u64::try_from(number)
                    .ok()
                    .filter(|n| range.contains(n))
                    .ok_or_else(|| out_of_range(key, number, &range))
            })
            .transpose()
    }

    /// A whole number of at least `min`.
    pub(super) fn between(&mut self, key: &str, min: u32, max: u32) -> Result<Option<u32>, Refusal> {
        let number = self.whole_in(key, u64::from(min)..=u64::from(max))?;
        Ok(number.and_then(|n| u32::try_from(n).ok()))
    }

    pub(super) fn real(&mut self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, Refusal> {
        self.take(key).map(|value| real_of(key, &value, range)).transpose()
    }

    fn ms_as_us(&mut self, key: &str, max_ms: u64) -> Result<Option<u64>, Refusal> {
        Ok(self.whole(key, max_ms)?.map(|ms| ms * 1000))
    }

    /// A key of the contract that a later release brings.
    fn later(&mut self, key: &str) -> Result<(), Refusal> {
        match self.take(key) {
            None => Ok(()),
            Some(_) => Err(Refusal::not_supported(format!(
                "option \"{key}\" is not supported by this release: leave it out"
            ))),
        }
    }

    /// Everything must have been understood.
    pub(super) fn end(self) -> Result<(), Refusal> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(key) => {
                let key: String = key.chars().take(64).collect();
                Err(Refusal::invalid_args(format!("there is no option \"{key}\" here")))
            }
        }
    }

    fn say_fields(&mut self) -> Result<SayOptions, Refusal> {
        Ok(SayOptions {
            backend: self.text("backend")?,
            fallback: self.texts("fallback")?,
            cache: self.word("cache", &[("auto", CacheUse::Auto), ("pin", CacheUse::Pin), ("no", CacheUse::No)])?,
            voice: self.text("voice")?,
            language: self.text("language")?,
            rate: self.real("rate", 0.1..=10.0)?,
            pitch: self.real("pitch", 0.1..=10.0)?,
            format: self.word(
                "format",
                &[("text", Format::Text), ("markdown", Format::Markdown), ("ssml", Format::Ssml)],
            )?,
            params: self.take("params").map(|value| params::json(&value)).transpose()?,
            progress: self.word(
                "progress",
                &[("none", Progress::None), ("sentence", Progress::Sentence), ("word", Progress::Word)],
            )?,
            ..self.sound_fields()?
        })
    }

    /// Those that fit every utterance, whatever its samples come from.
    pub(super) fn sound_fields(&mut self) -> Result<SayOptions, Refusal> {
        // False takes back what the session's default says.
        let greeting = self.flag("greeting")?.map(|greeting| if greeting { 500_000 } else { 0 });
        Ok(SayOptions {
            gain_db: self.real("gain-db", -120.0..=24.0)?,
            mode: self.word(
                "mode",
                &[("queue", Mode::Queue), ("replace", Mode::Replace), ("if-idle", Mode::IfIdle)],
            )?,
            priority: self.word("priority", &PRIORITIES)?,
            expires_us: self.ms_as_us("expires-ms", MAX_MS)?,
            interruptible: self.flag("interruptible")?,
            protect_us: self.ms_as_us("protect-ms", 60_000)?.or(greeting),
            turn: self.whole("turn", MAX_NUMBER)?,
            tag: self.text("tag")?,
            ..SayOptions::default()
        })
    }
}

const POLICIES: [(&str, BargeInPolicy); 4] = [
    ("pause-then-confirm", BargeInPolicy::PauseThenConfirm),
    ("cancel-at-once", BargeInPolicy::CancelAtOnce),
    ("report-only", BargeInPolicy::ReportOnly),
    ("off", BargeInPolicy::Off),
];

const PRIORITIES: [(&str, Priority); 5] = [
    ("important", Priority::Important),
    ("message", Priority::Message),
    ("text", Priority::Text),
    ("notification", Priority::Notification),
    ("progress", Priority::Progress),
];

/// Options of Say.
pub(super) fn say(options: Options) -> Result<SayOptions, Refusal> {
    let mut reader = Reader::new(options);
    let say = reader.say_fields()?;
    reader.end()?;
    Ok(say)
}

/// Submit's phase; an old client's empty one commits.
pub(super) fn phase(word: &str) -> Result<Phase, Refusal> {
    match word {
        "collect" => Ok(Phase::Collect),
        "commit" | "" => Ok(Phase::Commit),
        _ => Err(Refusal::invalid_args(format!(
            "phase is \"{word}\"; allowed: collect, commit, and \"\" for commit"
        ))),
    }
}

/// Options of OpenSession and Configure.
pub(super) fn session(options: Options) -> Result<SessionOptions, Refusal> {
    let mut reader = Reader::new(options);
    let output = match reader.text("output")?.as_deref() {
        None => None,
        Some("local") => Some(Output::Local),
        Some("null") => Some(Output::Null),
        Some(other) if other.starts_with("local:") || other.starts_with('/') => {
            return Err(Refusal::not_supported(format!(
                "option \"output\" = \"{other}\" is not supported by this release; supported: local, null"
            )));
        }
        Some(other) => {
            return Err(Refusal::invalid_args(format!(
                "option \"output\" is \"{other}\"; allowed: local, null"
            )));
        }
    };
    reader.later("input")?;
    let session = SessionOptions {
        output,
        client_lifetime: reader.word("lifetime", &[("persistent", false), ("client", true)])?,
        own_floor: reader.word("floor", &[("shared", false), ("own", true)])?,
        idle_timeout_us: reader.ms_as_us("idle-timeout-ms", MAX_MS)?,
        private: reader.flag("private")?,
        record: reader.text("record")?,
        barge_in: reader.word("barge-in", &POLICIES)?,
        detector: reader.text("detector")?,
        backchannel: reader.word("backchannel", &[("cancel", Backchannel::Cancel), ("resume", Backchannel::Resume)])?,
        false_interruption_us: reader.whole_in("false-interruption-ms", 100..=60_000)?.map(|ms| ms * 1000),
        bounds: bounds(&mut reader)?,
        say: reader.say_fields()?,
    };
    reader.end()?;
    Ok(session)
}

/// The keys and ranges of the configuration's [collect] and [stream].
fn bounds(reader: &mut Reader) -> Result<Bounds, Refusal> {
    const MS: RangeInclusive<u64> = 100..=3_600_000;
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Ok(Bounds {
        collect_ttl_us: reader.whole_in("ttl-ms", MS)?.map(|ms| ms * 1000),
        collect_bytes: reader.whole_in("max-bytes", 1_024..=(16 << 20))?.map(size),
        collect_chunks: reader.whole_in("max-chunks", 1..=65_536)?.map(size),
        stream_idle_us: reader.whole_in("idle-ms", MS)?.map(|ms| ms * 1000),
    })
}

/// Kind and details of ReportSpeech.
pub(super) fn speech(kind: &str, details: Options) -> Result<(Report, SpeechDetails), Refusal> {
    let report = match kind {
        "suspected" => Report::Suspected,
        "confirmed" => Report::Confirmed,
        "false" => Report::False,
        "ended" => Report::Ended,
        _ => {
            return Err(Refusal::invalid_args(format!(
                "kind is \"{kind}\"; allowed: suspected, confirmed, false, ended"
            )));
        }
    };
    let mut reader = Reader::new(details);
    let details = SpeechDetails {
        turn: reader.whole("turn", MAX_NUMBER)?,
        utterance: reader.whole("utterance", MAX_NUMBER)?,
        at_us: reader.whole("at-us", MAX_NUMBER)?,
        text: reader.text("text")?,
        words: reader.whole("words", u64::from(u32::MAX))?.and_then(|n| u32::try_from(n).ok()),
        confidence: reader.real("confidence", 0.0..=1.0)?,
    };
    reader.end()?;
    Ok((report, details))
}

/// Options of Cancel.
pub(super) fn cancel(options: Options) -> Result<CancelOptions, Refusal> {
    let mut reader = Reader::new(options);
    let cancel = CancelOptions {
        utterance: reader.whole("utterance", MAX_NUMBER)?,
        turn: reader.whole("turn", MAX_NUMBER)?,
        reason: cancel_reason(&mut reader)?,
        fade_us: fade(&mut reader)?,
    };
    if cancel.utterance == Some(0) {
        return Err(Refusal::invalid_args("option \"utterance\" is 0: ids start at 1"));
    }
    reader.end()?;
    Ok(cancel)
}

/// Options of CancelAll.
pub(super) fn cancel_all(options: Options) -> Result<Option<String>, Refusal> {
    let mut reader = Reader::new(options);
    let reason = cancel_reason(&mut reader)?;
    reader.end()?;
    Ok(reason)
}

/// An empty one would read as "completed or failed" in the report.
fn cancel_reason(reader: &mut Reader) -> Result<Option<String>, Refusal> {
    Ok(reader.text("reason")?.filter(|reason| !reason.is_empty()))
}

/// Options of Pause: fade and auto-resume, in microseconds.
pub(super) fn pause(options: Options) -> Result<(Option<u32>, Option<u64>), Refusal> {
    let mut reader = Reader::new(options);
    let pause = (fade(&mut reader)?, reader.ms_as_us("auto-resume-ms", MAX_MS)?);
    reader.end()?;
    Ok(pause)
}

/// Options of Wait: the time-out in microseconds.
pub(super) fn wait(options: Options) -> Result<Option<u64>, Refusal> {
    let mut reader = Reader::new(options);
    let timeout = reader.ms_as_us("timeout-ms", MAX_NUMBER / 1000)?;
    reader.end()?;
    Ok(timeout)
}

/// Options of Close and CloseSession: drain.
pub(super) fn close(options: Options) -> Result<bool, Refusal> {
    let mut reader = Reader::new(options);
    let drain = reader.flag("drain")?.unwrap_or(false);
    reader.end()?;
    Ok(drain)
}

/// Options of GetHistory: after and limit.
pub(super) fn history(options: Options) -> Result<(u64, usize), Refusal> {
    let mut reader = Reader::new(options);
    let after = reader.whole("after", MAX_NUMBER)?.unwrap_or(0);
    let limit = reader.whole("limit", u64::from(u32::MAX))?.unwrap_or(u64::from(u32::MAX));
    reader.end()?;
    Ok((after, usize::try_from(limit).unwrap_or(usize::MAX)))
}

/// The filter of ListVoices: backend, language, id.
pub(super) fn voices(options: Options) -> Result<[Option<String>; 3], Refusal> {
    let mut reader = Reader::new(options);
    let filter = [reader.text("backend")?, reader.text("language")?, reader.text("id")?];
    reader.end()?;
    Ok(filter)
}

/// Options of Resume: none.
pub(super) fn none(options: Options) -> Result<(), Refusal> {
    Reader::new(options).end()
}

fn fade(reader: &mut Reader) -> Result<Option<u32>, Refusal> {
    Ok(reader.ms_as_us("fade-ms", 50)?.and_then(|us| u32::try_from(us).ok()))
}

/// A property or option that holds decibels.
pub(super) fn gain_db(key: &str, value: &Value<'_>) -> Result<f64, Refusal> {
    real_of(key, value, -120.0..=24.0)
}

/// A property that holds a boolean.
pub(super) fn boolean(key: &str, value: &Value<'_>) -> Result<bool, Refusal> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        _ => Err(wrong_type(key, "b (boolean)", value)),
    }
}

/// A property that holds a priority.
pub(super) fn priority(key: &str, value: &Value<'_>) -> Result<Priority, Refusal> {
    let word = text_of(key, value)?;
    Priority::from_word(word).ok_or_else(|| {
        Refusal::invalid_args(format!(
            "{key} is \"{word}\"; allowed: progress, notification, text, message, important"
        ))
    })
}

fn real_of(key: &str, value: &Value<'_>, range: RangeInclusive<f64>) -> Result<f64, Refusal> {
    let number = match value {
        Value::F64(number) => *number,
        other => integer(other)
            .map(|n| n as f64)
            .ok_or_else(|| wrong_type(key, "d (a number)", other))?,
    };
    if range.contains(&number) {
        return Ok(number);
    }
    Err(Refusal::invalid_args(format!(
        "option \"{key}\" is {number}; allowed: {} to {}",
        range.start(),
        range.end()
    )))
}

fn text_of<'v>(key: &str, value: &'v Value<'_>) -> Result<&'v str, Refusal> {
    match value {
        Value::Str(text) if text.len() > MAX_TEXT => Err(Refusal::limit_exceeded(format!(
            "option \"{key}\" has {} bytes; allowed: {MAX_TEXT}",
            text.len()
        ))),
        Value::Str(text) => Ok(text.as_str()),
        _ => Err(wrong_type(key, "s (string)", value)),
    }
}

fn integer(value: &Value<'_>) -> Option<i128> {
    Some(match value {
        Value::U8(n) => i128::from(*n),
        Value::I16(n) => i128::from(*n),
        Value::U16(n) => i128::from(*n),
        Value::I32(n) => i128::from(*n),
        Value::U32(n) => i128::from(*n),
        Value::I64(n) => i128::from(*n),
        Value::U64(n) => i128::from(*n),
        _ => return None,
    })
}

fn wrong_type(key: &str, wanted: &str, value: &Value<'_>) -> Refusal {
    Refusal::invalid_args(format!("option \"{key}\" has type {}, but takes {wanted}", value.value_signature()))
}

fn out_of_range(key: &str, number: i128, range: &RangeInclusive<u64>) -> Refusal {
    let (min, max) = (range.start(), range.end());
    Refusal::invalid_args(format!("option \"{key}\" is {number}; allowed: {min} to {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(entries: &[(&str, Value<'_>)]) -> Options {
        entries.iter().map(|(k, v)| ((*k).to_owned(), v.try_to_owned().unwrap())).collect()
    }

    #[test]
    fn any_integer_type_that_holds_the_value_is_right() {
        for value in [
            Value::U8(7),
            Value::I16(7),
            Value::I32(7),
            Value::U32(7),
            Value::I64(7),
            Value::U64(7),
        ] {
            assert_eq!(say(options(&[("turn", value)])).unwrap().turn, Some(7));
        }
        assert_eq!(say(options(&[("rate", Value::I32(2))])).unwrap().rate, Some(2.0));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("colour", Value::from("red"), "no option \"colour\""),
            ("rate", Value::from("fast"), "\"rate\" has type s"),
            ("rate", Value::F64(0.0), "\"rate\" is 0; allowed: 0.1 to 10"),
            ("rate", Value::F64(f64::NAN), "\"rate\" is NaN"),
            ("turn", Value::I32(-1), "\"turn\" is -1"),
            ("priority", Value::from("urgent"), "allowed: important, message"),
            ("greeting", Value::U32(1), "\"greeting\" has type u"),
            ("protect-ms", Value::U32(60_001), "allowed: 0 to 60000"),
            ("fallback", Value::from("espeak"), "\"fallback\" has type s, but takes as"),
            ("cache", Value::from("always"), "allowed: auto, pin, no"),
        ];
        for (key, value, message) in cases {
            let refusal = say(options(&[(key, value)])).unwrap_err();
            assert_eq!(refusal.name, "org.freedesktop.DBus.Error.InvalidArgs");
            assert!(refusal.message.contains(message), "{}", refusal.message);
        }
    }

    #[test]
    fn what_a_later_release_brings_is_not_supported() {
        let refusal = session(options(&[("input", Value::from("x"))])).unwrap_err();
        assert_eq!(refusal.name, "org.utterd.Utterd1.Error.NotSupported");
        assert!(refusal.message.contains("input"));
    }

    #[test]
    fn an_unknown_word_is_not_a_word_of_a_later_release() {
        for (key, allowed) in [
            ("format", "text, markdown, ssml"),
            ("cache", "auto, pin, no"),
            ("barge-in", "pause-then-confirm, cancel-at-once, report-only, off"),
            ("backchannel", "cancel, resume"),
            ("lifetime", "persistent, client"),
            ("floor", "shared, own"),
        ] {
            let refusal = session(options(&[(key, Value::from("colour"))])).unwrap_err();
            assert_eq!(refusal.name, "org.freedesktop.DBus.Error.InvalidArgs", "{key}");
            assert!(
                refusal.message.contains(key) && refusal.message.contains(allowed),
                "{}",
                refusal.message
            );
        }
    }

    #[test]
    fn a_session_has_defaults_for_every_option_of_say_and_bounds_of_its_own() {
        let given = [
            ("mode", Value::from("if-idle")),
            ("priority", Value::from("text")),
            ("progress", Value::from("word")),
            ("expires-ms", Value::U32(7)),
            ("interruptible", Value::Bool(false)),
            ("greeting", Value::Bool(true)),
            ("tag", Value::from("t")),
            ("private", Value::Bool(true)),
            ("ttl-ms", Value::U32(100)),
            ("max-bytes", Value::U64(1024)),
            ("max-chunks", Value::I32(1)),
            ("idle-ms", Value::U32(3_600_000)),
        ];
        let s = session(options(&given)).unwrap();
        let expected = SayOptions {
            mode: Some(Mode::IfIdle),
            priority: Some(Priority::Text),
            progress: Some(Progress::Word),
            expires_us: Some(7_000),
            interruptible: Some(false),
            protect_us: Some(500_000),
            tag: Some("t".into()),
            ..SayOptions::default()
        };
        assert_eq!((s.say, s.private), (expected, Some(true)));
        let bounds = Bounds {
            collect_ttl_us: Some(100_000),
            collect_bytes: Some(1024),
            collect_chunks: Some(1),
            stream_idle_us: Some(3_600_000_000),
        };
        assert_eq!(s.bounds, bounds);
        for (key, value) in [("ttl-ms", 99), ("max-bytes", 1023), ("max-chunks", 0), ("idle-ms", 3_600_001)] {
            let refusal = session(options(&[(key, Value::I64(value))])).unwrap_err();
            assert_eq!(refusal.name, "org.freedesktop.DBus.Error.InvalidArgs");
            assert!(
                refusal.message.contains(&format!("\"{key}\" is {value}; allowed: ")),
                "{}",
                refusal.message
            );
        }
    }

    #[test]
    fn an_idle_time_out_of_0_is_given() {
        let given = |ms: u32| session(options(&[("idle-timeout-ms", Value::U32(ms))])).unwrap().idle_timeout_us;
        assert_eq!((given(0), given(5)), (Some(0), Some(5_000)));
        assert_eq!(session(Options::new()).unwrap().idle_timeout_us, None);
    }

    #[test]
    fn no_greeting_takes_back_the_default_of_a_session() {
        assert_eq!(say(options(&[("greeting", Value::Bool(false))])).unwrap().protect_us, Some(0));
        let both = options(&[("greeting", Value::Bool(true)), ("protect-ms", Value::U32(9))]);
        assert_eq!(say(both).unwrap().protect_us, Some(9_000));
    }
}
