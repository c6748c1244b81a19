//! Markdown, SSML, lexicon and parameters (SEMANTICS, "Text") through the whole daemon: what the backend gets, what is heard, and that clients are
//! told of the text as they sent it.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use utterd_tests::client::{Client, Session};
use utterd_tests::daemon::Plan;
use utterd_tests::mock::tts::{Script, TtsServer};
use utterd_tests::opts;
use utterd_tests::world::{Quiet, World};
use zbus::zvariant::Value;

const MARKDOWN: &str = "# The **kettle**\n\nIt has *boiled*, see [the manual](http://example.org/a.b?c) and `code` 🎉.\n\n\
                        | a | b |\n|---|---|\n| 1 | 2 |\n\n- Pour **two cups**\n- Wait for four minutes";

/// Kind, place in the text as sent, name; in order.
fn progress(client: &Client, utterance: u64) -> Vec<(String, std::ops::Range<usize>, String)> {
    let told = client.events().into_iter().filter(|e| e.is("UtteranceProgress", utterance));
    told.map(|e| {
        let name = e.dict(5);
        let name = if name.has("name") {
            name.text("name").to_owned()
        } else {
            String::new()
        };
        (e.text(1).to_owned(), e.number(2) as usize..e.number(3) as usize, name)
    })
    .collect()
}

fn stretch(text: &str, range: &std::ops::Range<usize>) -> String {
    text.chars().skip(range.start).take(range.len()).collect()
}

/// Cancels in the middle, again and again a bit later: what was heard is the beginning of what was sent, and ends with a word that was told.
fn heard_is_a_prefix(client: &Client, session: &Session) {
    for ms in [150, 600, 1_100, 1_700, 2_300] {
        let id = session.say(MARKDOWN, opts! { "format" => "markdown", "progress" => "word" });
        client.expect_started(id);
        utterd_tests::clock::let_pass(std::time::Duration::from_millis(ms));
        let report = session.cancel(opts! {});
        assert_eq!(report.text("result"), "cancelled", "{report:?}");
        let heard = report.text("heard-text");
        assert!(MARKDOWN.starts_with(heard), "{heard:?}");
        let words: Vec<_> = progress(client, id).into_iter().map(|(_, range, _)| range).collect();
        assert!(words.is_sorted_by_key(|r| (r.start, r.end)), "{words:?}");
        let last = words.last().unwrap_or_else(|| panic!("no word in {ms} ms"));
        assert!(last.end <= heard.chars().count(), "{last:?} of {heard:?}");
        println!("{ms} ms: {heard:?}");
        assert_eq!(session.history(opts! {}).last().unwrap().text("said"), MARKDOWN);
    }
}

#[test]
fn what_was_heard_of_markdown_is_a_prefix_of_what_was_sent_with_both_voices() {
    let world = World::start();
    heard_is_a_prefix(&world.client, &world.tone_session("tone"));
    heard_is_a_prefix(&world.client, &world.espeak_session("espeak", opts! {}));
}

#[test]
fn markdown_is_heard_without_its_marks_and_completes_with_all_of_it() {
    let world = World::start();
    for session in [world.tone_session("tone"), world.espeak_session("espeak", opts! { "rate" => 2.0 })] {
        let id = session.say(MARKDOWN, opts! { "format" => "markdown", "progress" => "word" });
        let (outcome, report) = session.wait(id);
        assert_eq!((outcome.as_str(), report.text("heard-text")), ("completed", MARKDOWN));
        let words: Vec<String> = progress(&world.client, id)
            .iter()
            .map(|(_, range, _)| stretch(MARKDOWN, range))
            .collect();
        for word in ["kettle", "boiled", "manual", "cups", "minutes"] {
            assert!(words.iter().any(|w| w.starts_with(word)), "{word:?} in {words:?}");
        }
        for silent in ["code", "example", "1", "|", "**", "🎉"] {
            assert!(words.iter().all(|w| !w.starts_with(silent)), "{silent:?} in {words:?}");
        }
    }
    // 50 ms a character: what the tone spoke is what is read aloud, to the sample.
    let spoken = "The kettle.\nIt has boiled, see the manual and.\nPour two cups.\nWait for four minutes";
    let report = world.client.wait("tone", 1, opts! {}).unwrap().1;
    assert_eq!(report.number("played-us"), spoken.chars().count() as u64 * 50_000);
}

#[test]
fn ssml_marks_are_told_with_their_names_and_broken_ssml_with_its_place() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let text =
        "<speak>One <mark name=\"here\"/>two <sub alias=\"three four\">III</sub><break time=\"1s\"/>five<mark name=\"end\"/></speak>";
    let id = session.say(text, opts! { "format" => "ssml", "progress" => "word" });
    let (outcome, report) = session.wait(id);
    assert_eq!((outcome.as_str(), report.text("heard-text")), ("completed", text));
    assert_eq!(report.number("played-us"), "One two three four.\nfive".len() as u64 * 50_000);
    let told: Vec<_> = progress(&quiet.client, id)
        .into_iter()
        .map(|(kind, range, name)| (kind, stretch(text, &range), name))
        .collect();
    let words: Vec<&str> = told
        .iter()
        .map(|(kind, text, name)| if kind == "mark" { name.as_str() } else { text.as_str() })
        .collect();
    let sub = "<sub alias=\"three four\">III</sub>";
    assert_eq!(words, ["One", "here", "two", sub, sub, "five", "end"]);
    let broken = session.try_say("<speak>\n<p>x</speak>", opts! { "format" => "ssml" }).unwrap_err();
    assert!(
        broken.word() == "InvalidArgs" && broken.message.contains("line 2, column 5"),
        "{broken}"
    );
    let stream = session.call("SayOpen", &(opts! { "format" => "ssml" },)).unwrap_err();
    assert_eq!(stream.word(), "FormatNotSupported");
    let unknown = session.try_say("x", opts! { "format" => "html" }).unwrap_err();
    assert_eq!(unknown.word(), "InvalidArgs");
    // A session's own format is a default like any other.
    session.configure(opts! { "format" => "markdown" }).unwrap();
    let table = session.say("| a |\n|---|\n| 1 |", opts! {});
    let (outcome, report) = session.wait(table);
    assert_eq!((outcome.as_str(), report.number("played-us")), ("completed", 0));
}

fn with_lexicon() -> (Quiet, std::path::PathBuf) {
    let quiet = Quiet::start();
    let file = quiet.daemon.dir().join("words.toml");
    (quiet, file)
}

fn name_lexicon(quiet: &Quiet, file: &std::path::Path) {
    let config = std::fs::read_to_string(quiet.daemon.config_file()).unwrap_or_default();
    if !config.contains("[lexicon]") {
        quiet
            .daemon
            .write_config(&format!("{config}\n[lexicon]\nfiles = [{:?}]\n", file.to_str().unwrap()));
    }
}

#[test]
fn a_lexicon_spells_words_after_a_reload_and_a_bad_one_changes_nothing() {
    let (quiet, file) = with_lexicon();
    let session = quiet.tone_session("one");
    let length = |text: &str| {
        let id = session.say(text, opts! { "rate" => 4.0 });
        let (outcome, report) = session.wait(id);
        assert_eq!((outcome.as_str(), report.text("heard-text")), ("completed", text));
        report.number("played-us") * 4 / 50_000
    };
    assert_eq!(length("ask utterd"), 10);
    std::fs::write(&file, "[any]\nutterd = \"utter dee\"\n").unwrap();
    name_lexicon(&quiet, &file);
    quiet.client.reload().unwrap();
    assert_eq!(length("ask utterd"), "ask utter dee".len() as u64);
    std::fs::write(&file, "[any]\nutterd = \"u\"\nask = 3\n").unwrap();
    let refused = quiet.client.reload().unwrap_err();
    assert!(refused.message.contains("words.toml:3: any.ask"), "{refused}");
    assert_eq!(length("ask utterd"), "ask utter dee".len() as u64);
}

#[test]
fn parameters_reach_a_speech_server_and_what_a_backend_does_not_know_is_named() {
    let server = TtsServer::start(Script::default());
    let quiet = Quiet::with(&Plan {
        driver: "timer",
        plugins: vec!["utterd-tts-tone".into(), "utterd-tts-http".into(), "utterd-tts-espeak-ng".into()],
        config: format!(
            "[plugin.tts-http]\nurl = \"{}\"\nvoice = \"alba\"\n",
            server.url("/v1/audio/speech")
        ),
        ..Plan::default()
    });
    let params = |entries: &[(&str, Value<'static>)]| -> HashMap<String, Value<'static>> {
        entries.iter().map(|(k, v)| ((*k).to_owned(), v.try_clone().unwrap())).collect()
    };
    let calm = params(&[("instructions", Value::from("calmly")), ("seed", Value::from(7_u32))]);
    let session = quiet
        .client
        .open("http", opts! { "backend" => "tts-http", "params" => calm })
        .unwrap();
    let id = session.say("As the session.", opts! {});
    assert_eq!(session.wait(id).0, "completed");
    let own = params(&[("instructions", Value::from("loudly")), ("style", Value::from(vec!["a", "b"]))]);
    let id = session.say("Its own.", opts! { "params" => own });
    assert_eq!(session.wait(id).0, "completed");
    let bodies: Vec<_> = server.requests().iter().map(|r| r.json()).collect();
    assert_eq!((&bodies[0]["instructions"], &bodies[0]["seed"]), (&"calmly".into(), &7.into()));
    assert_eq!(bodies[1]["instructions"], "loudly");
    assert_eq!(bodies[1]["style"], serde_json::json!(["a", "b"]));
    assert!(bodies[1]["seed"].is_null(), "a Say's own parameters stand for all of the session's");
    assert_eq!(bodies[1]["input"], "Its own.");

    for (backend, key) in [("tts-espeak-ng", "style"), ("tts-tone", "style")] {
        let options = opts! { "backend" => backend, "voice" => "", "params" => params(&[(key, Value::from("calm"))]) };
        let id = session.say("Never heard.", options);
        let (outcome, report) = session.wait(id);
        assert_eq!(outcome, "failed");
        assert!(report.text("message").contains(key), "{report:?}");
    }
    let wide = opts! { "backend" => "tts-espeak-ng", "params" => params(&[("word-gap-ms", Value::from(300_u32)), ("pitch-range", Value::from(0_u32))]) };
    let gaps = session.say("one two three", wide);
    let plain = session.say("one two three", opts! { "backend" => "tts-espeak-ng", "params" => params(&[]) });
    let length = |id| {
        let (outcome, report) = session.wait(id);
        assert_eq!(outcome, "completed", "{report:?}");
        report.number("played-us")
    };
    let (gaps, plain) = (length(gaps), length(plain));
    assert!(gaps > plain + 300_000, "{gaps} and {plain}");
    let refused = session.try_say("x", opts! { "params" => "style" }).unwrap_err();
    assert!(refused.word() == "InvalidArgs" && refused.message.contains("params"), "{refused}");
}
