//! Markdown, SSML, the lexicon, parameters: what is spoken of a text, and that clients are told of the text as they sent it.

use std::sync::Arc;

use super::*;
use utterd_core::{Format, Lexicon, Settings};

const MARKDOWN: &str =
    "# A **title**\n\nSee [the manual](http://x.org/a.b), `code` and one 🎉 more.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- last";

fn format(format: Format) -> SayOptions {
    SayOptions {
        format: Some(format),
        ..by("timed-pieces")
    }
}

fn asked(w: &World) -> Vec<String> {
    let texts = w.log.iter().filter_map(|(_, e)| match e {
        Effect::Synthesize(s) => Some(s.text.clone()),
        _ => None,
    });
    texts.collect()
}

/// Kind, the stretch of the text as sent, name.
fn progress(w: &World, text: &str) -> Vec<(&'static str, String, Option<String>)> {
    let told = w.log.iter().filter_map(|(_, e)| match e {
        Effect::Signal {
            signal: Signal::UtteranceProgress { kind, chars, name, .. },
            ..
        } => {
            let stretch = text.chars().skip(chars.start as usize).take(chars.len()).collect();
            Some((*kind, stretch, name.clone()))
        }
        _ => None,
    });
    told.collect()
}

fn with_lexicon(w: &mut World, entries: &[(&str, &str, &str)]) {
    w.book.lexicon = true;
    let lexicon = Arc::new(Lexicon::new(entries.iter().copied()));
    let settings = Settings {
        lexicon,
        ..Settings::default()
    };
    w.feed(Input::Settings(Box::new(settings)));
}

#[test]
fn markdown_is_spoken_without_its_marks_and_reported_as_it_was_sent() {
    let mut w = world();
    let u = w.say_with("a", MARKDOWN, format(Format::Markdown));
    w.rest();
    assert_eq!(asked(&w), ["A title.\n", "See the manual, and one more.\n", "last"]);
    let (outcome, report) = w.ended(u).unwrap();
    assert_eq!((outcome.word(), report.heard_text.as_str()), ("completed", MARKDOWN));
    let sentences: Vec<_> = progress(&w, MARKDOWN).into_iter().map(|(_, text, _)| text).collect();
    assert_eq!(
        sentences,
        ["A **title", "See [the manual](http://x.org/a.b), `code` and one 🎉 more.", "last"]
    );
}

#[test]
fn what_was_heard_of_markdown_is_a_prefix_of_what_was_sent() {
    for ms in (0..1_900).step_by(50) {
        let mut w = world();
        let words = SayOptions {
            progress: Some(Progress::Word),
            ..format(Format::Markdown)
        };
        let u = w.say_with("a", MARKDOWN, words);
        w.run_until_started(u);
        w.run(ms * MS);
        let heard = w.cancel("a", all()).heard_text;
        assert!(MARKDOWN.starts_with(&heard), "{heard}");
        let last = progress(&w, MARKDOWN).into_iter().rfind(|(kind, ..)| *kind == "word");
        if let Some((_, word, _)) = last {
            assert!(heard.contains(&word), "{heard:?} has {word:?}");
        }
    }
}

#[test]
fn without_word_marks_heard_markdown_is_a_prefix_too() {
    let mut w = world();
    let options = SayOptions {
        format: Some(Format::Markdown),
        ..by("plain")
    };
    let u = w.say_with("a", MARKDOWN, options);
    w.run_until_started(u);
    w.run(18 * CHAR_US);
    let report = w.cancel("a", all());
    assert_eq!(report.heard_text, "# A **title**\n\nSee [the manual");
}

#[test]
fn a_text_of_which_nothing_is_read_completes_without_a_sound() {
    let mut w = world();
    let first = w.say("a", LONG);
    let table = w.say_with("a", "| a |\n|---|\n| 1 |\n", format(Format::Markdown));
    assert_eq!(w.outcome(table), "completed");
    let report = w.ended(table).unwrap().1;
    assert_eq!((report.played_us, report.heard_text.as_str()), (0, "| a |\n|---|\n| 1 |\n"));
    let replacing = SayOptions {
        mode: Some(Mode::Replace),
        ..format(Format::Ssml)
    };
    let token = w.try_say("a", "<speak><metadata>x</metadata></speak>", replacing);
    w.rest();
    assert!(matches!(w.reply(token), Ok(Reply::Utterance(n)) if n > 0));
    assert_eq!(w.outcome(first), "cancelled");
    assert_eq!(asked(&w), [LONG]);
}

#[test]
fn ssml_that_is_broken_is_refused_with_its_place() {
    let mut w = world();
    let token = w.try_say("a", "<speak>\n  <p>one</q></speak>", format(Format::Ssml));
    let failure = w.reply(token).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::InvalidArgs);
    assert!(failure.message.contains("line 2, column 9"), "{}", failure.message);
}

#[test]
fn marks_are_told_at_the_next_words_onset_and_at_the_end() {
    const TEXT: &str =
        "<speak>One <mark name=\"a\"/>two. <mark name=\"b\"/><s>Three <sub alias=\"four five\">IV</sub></s><mark name=\"end\"/></speak>";
    let mut w = world();
    let words = SayOptions {
        progress: Some(Progress::Word),
        ..format(Format::Ssml)
    };
    w.say_with("a", TEXT, words);
    w.rest();
    let name = |n: &str| Some(n.to_owned());
    let word = |text: &str| ("word", text.to_owned(), None);
    assert_eq!(
        progress(&w, TEXT),
        [
            word("One"),
            ("mark", String::new(), name("a")),
            word("two."),
            ("mark", String::new(), name("b")),
            word("Three"),
            word("<sub alias=\"four five\">IV</sub>"),
            word("<sub alias=\"four five\">IV</sub>"),
            ("mark", String::new(), name("end")),
        ]
    );
    let places: Vec<u32> = w
        .log
        .iter()
        .filter_map(|(_, e)| match e {
            Effect::Signal {
                signal: Signal::UtteranceProgress { kind: "mark", chars, .. },
                ..
            } => Some(chars.start),
            _ => None,
        })
        .collect();
    assert_eq!(places, [11, 32, TEXT.len() as u32 - 26]);
}

#[test]
fn a_stream_of_markdown_speaks_sentence_by_sentence() {
    let mut w = world();
    let u = w.say_open_with("a", format(Format::Markdown));
    for (n, token) in MARKDOWN.split_inclusive(' ').enumerate() {
        assert_eq!(w.append("a", u, n as u64 + 1, token), "accepted");
        w.run(30 * MS);
    }
    assert_eq!(asked(&w)[..2], ["A title.\n", "See the manual, and one more.\n"]);
    w.say_end("a", u);
    w.rest();
    assert_eq!(asked(&w).len(), 3);
    assert_eq!(w.ended(u).unwrap().1.heard_text, MARKDOWN);
}

#[test]
fn a_stream_of_ssml_is_refused() {
    let mut w = world();
    let options = format(Format::Ssml);
    let token = w.ask(
        1,
        Request::SayOpen {
            target: target("a"),
            options,
        },
    );
    assert_eq!(error(&w, token), ErrorKind::FormatNotSupported);
}

#[test]
fn a_lexicon_spells_words_of_the_language_that_speaks() {
    const TEXT: &str = "Ask utterd about WLAN. Then stop.";
    let mut w = world();
    with_lexicon(
        &mut w,
        &[("", "utterd", "utter dee"), ("de", "WLAN", "Weh-Lahn"), ("en", "WLAN", "wireless")],
    );
    let u = w.say_with("a", TEXT, by("timed-pieces"));
    w.run_until_started(u);
    // "Ask utter dee about wireless": it is at "dee".
    w.run(12 * CHAR_US);
    assert_eq!(w.cancel("a", all()).heard_text, "Ask utterd");
    let german = SayOptions {
        language: Some("de-AT".into()),
        ..by("timed-pieces")
    };
    let token = w.try_say("a", TEXT, german);
    assert_eq!(error(&w, token), ErrorKind::NoSuchVoice);
    assert_eq!(asked(&w)[0], "Ask utter dee about wireless. ");
}

#[test]
fn parameters_reach_the_backend_and_a_says_own_replace_those_of_the_session() {
    let mut w = world();
    let params = |json: &str| SayOptions {
        params: Some(json.into()),
        ..SayOptions::default()
    };
    let say = params(r#"{"style":"calm"}"#);
    w.open_with(
        "c",
        SessionOptions {
            say,
            ..SessionOptions::default()
        },
    );
    w.say("c", "One.");
    w.say_with("c", "Two.", params(r#"{"seed":7}"#));
    w.say("a", "Three.");
    w.rest();
    let sent = w.log.iter().filter_map(|(_, e)| match e {
        Effect::Synthesize(s) => Some(&*s.params),
        _ => None,
    });
    let mut sent: Vec<_> = sent.collect();
    sent.sort_unstable();
    assert_eq!(sent, [r#"{"seed":7}"#, r#"{"style":"calm"}"#, "{}"]);
}
