//! A sentence is accepted, spoken, heard to the sample and reported exactly once (issue: first voice; SEMANTICS "Utterance").
#![allow(clippy::unwrap_used)]

use utterd_tests::clock::wait_for;
use utterd_tests::opts;
use utterd_tests::tone;
use utterd_tests::world::{Quiet, TONE, World};

/// What tts-tone makes of a character at 48 kHz and rate 1.
const CHARACTER: usize = 2_400;

#[test]
fn a_sentence_is_heard_to_the_sample_and_told_once_and_in_order() {
    let world = World::start();
    let session = world.tone_session("one");
    let text = "hello little world";
    let said = session.try_say(text, opts! { "progress" => "word", "tag" => "t-1" }).unwrap();
    let (outcome, report) = session.wait(said.value);
    assert_eq!(outcome, "completed");
    assert_eq!(report.text("tag"), "t-1");
    assert_eq!(report.number("turn"), 1);
    assert_eq!(report.text("heard-text"), text);
    assert_eq!(report.text("reason"), "");
    assert_eq!(report.number("played-us"), text.len() as u64 * 50_000);

    world.client.expect_finished(said.value);
    let told: Vec<_> = session.events().into_iter().filter(|e| e.interface.ends_with(".Session")).collect();
    let members: Vec<&str> = told.iter().map(|e| e.member.as_str()).collect();
    let count = |member: &str| members.iter().filter(|m| **m == member).count();
    assert_eq!(
        (count("UtteranceStarted"), count("FirstFrameSent"), count("UtteranceFinished")),
        (1, 1, 1),
        "{members:?}"
    );
    let words = told
        .iter()
        .filter(|e| e.member == "UtteranceProgress" && e.text(1) == "word")
        .count();
    assert_eq!(words, 3, "{members:?}");
    assert!(
        told.iter().all(|e| e.position > said.position),
        "the reply to Say precedes every signal that names its id"
    );
    let started = members.iter().position(|m| *m == "UtteranceStarted");
    let progress = members.iter().position(|m| *m == "UtteranceProgress");
    assert!(started < progress, "{members:?}");
    assert_eq!(members.last(), Some(&"UtteranceFinished"));
    for event in told
        .iter()
        .filter(|e| e.member == "UtteranceStarted" || e.member == "UtteranceFinished")
    {
        let dict = event.dict(event.args.len() - 1);
        assert_eq!(
            (dict.text("tag"), dict.number("turn")),
            ("t-1", 1),
            "tag and turn come back in every signal"
        );
    }

    let heard = world.heard();
    let runs = tone::runs(&heard);
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!((runs[0].voice, runs[0].first), (tone::voice(said.value), 0));
    assert_eq!(runs[0].heard.len(), text.len() * CHARACTER, "not one sample more or less");
    assert!(tone::mixed(&heard, 0).is_empty());
}

#[test]
fn queued_utterances_follow_each_other_without_a_gap_of_one_sample() {
    let world = World::start();
    let session = world.tone_session("one");
    let ids: Vec<u64> = ["first of three", "the second", "and a third"]
        .iter()
        .map(|t| session.say(t, opts! {}))
        .collect();
    let (outcome, _) = session.wait(ids[2]);
    assert_eq!(outcome, "completed");
    let runs = tone::runs(&world.heard());
    let voices: Vec<u32> = runs.iter().map(|r| r.voice).collect();
    assert_eq!(voices, ids.iter().map(|u| tone::voice(*u)).collect::<Vec<_>>(), "{runs:?}");
    for pair in runs.windows(2) {
        assert_eq!(pair[0].heard.end, pair[1].heard.start, "{runs:?}");
    }
    let first_frames = session.events().iter().filter(|e| e.member == "FirstFrameSent").count();
    assert_eq!(first_frames, 1, "once per session");
}

#[test]
fn signals_come_when_it_is_heard_and_words_at_their_onset() {
    let world = World::start();
    let session = world.tone_session("one");
    let id = session.say("alpha beta gamma", opts! { "progress" => "word" });
    session.wait(id);
    let heard = world.heard();
    let first = heard.first_sound(0..usize::MAX).unwrap();
    let words: Vec<_> = session
        .events()
        .into_iter()
        .filter(|e| e.is("UtteranceProgress", id) && e.text(1) == "word")
        .collect();
    let told: Vec<(u64, u64, u64)> = words.iter().map(|e| (e.number(2), e.number(3), e.number(4))).collect();
    assert_eq!(
        told,
        [(0, 5, 0), (6, 10, 300_000), (11, 16, 550_000)],
        "char_start, char_end, played_us"
    );
    let started = world.client.expect_started(id);
    assert!(started.at_us + 1_000 >= heard.us_at(first), "not before its first sample");
    for word in &words {
        let onset = heard.us_at(first) + word.number(4);
        assert!(
            word.at_us + 1_000 >= onset,
            "the word at {} us was told {} us before it was heard",
            word.number(4),
            onset - word.at_us
        );
    }
}

#[test]
fn words_of_any_script_are_counted_in_code_points() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let text = "Grüße, 世界! 🌍🚀 naïve e\u{301}a \u{200f}שלום";
    let id = session.say(text, opts! { "progress" => "word", "rate" => 8.0 });
    let (outcome, report) = session.wait(id);
    assert_eq!((outcome.as_str(), report.text("heard-text")), ("completed", text));
    let points: Vec<char> = text.chars().collect();
    quiet.client.expect_finished(id);
    let words: Vec<_> = session
        .events()
        .into_iter()
        .filter(|e| e.is("UtteranceProgress", id) && e.text(1) == "word")
        .collect();
    assert_eq!(words.len(), text.split_whitespace().count());
    for (event, word) in words.iter().zip(text.split_whitespace()) {
        let range = event.number(2) as usize..event.number(3) as usize;
        assert_eq!(points[range].iter().collect::<String>(), word);
        assert_eq!(event.dict(5).text("text"), word);
    }
    let entry = &session.history(opts! {})[0];
    assert_eq!(
        (entry.text("said"), entry.text("heard"), entry.text("outcome")),
        (text, text, "completed")
    );
}

#[test]
fn history_tells_what_was_said_and_heard_oldest_first() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let ids: Vec<u64> = (0..3)
        .map(|n| session.say(&format!("number {n}"), opts! { "rate" => 8.0, "tag" => format!("h{n}") }))
        .collect();
    session.wait(ids[2]);
    let history = session.history(opts! {});
    assert_eq!(history.iter().map(|h| h.number("utterance")).collect::<Vec<_>>(), ids);
    for (n, entry) in history.iter().enumerate() {
        assert_eq!(entry.text("said"), format!("number {n}"));
        assert_eq!(entry.text("heard"), format!("number {n}"));
        assert_eq!(entry.text("tag"), format!("h{n}"));
        assert_eq!(entry.number("turn"), 1);
        assert!(entry.number("at-us") > 0);
    }
    let after: Vec<u64> = session
        .history(opts! { "after" => ids[0], "limit" => 1u32 })
        .iter()
        .map(|h| h.number("utterance"))
        .collect();
    assert_eq!(after, [ids[1]]);
}

#[test]
fn ids_rise_and_belong_to_one_session() {
    let quiet = Quiet::start();
    let (a, b) = (quiet.tone_session("a"), quiet.tone_session("b"));
    let ids: Vec<u64> = (0..6)
        .map(|n| if n % 2 == 0 { &a } else { &b }.say("x", opts! { "rate" => 10.0 }))
        .collect();
    assert!(ids[0] > 0 && ids.windows(2).all(|w| w[0] < w[1]), "{ids:?}");
    let error = b.call("Wait", &(ids[0], opts! {})).unwrap_err();
    assert_eq!(error.word(), "NoSuchUtterance", "{error}");
}

#[test]
fn wait_cannot_miss_an_end() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    assert_eq!(session.wait(0).0, "nothing");
    let id = session.say("a sentence of some length", opts! {});
    assert_eq!(session.wait_ms(id, 1).0, "pending");
    assert_eq!(session.wait(0).0, "completed", "0 is the newest");
    assert_eq!(session.wait(id).0, "completed", "also afterwards");
    assert_eq!(
        quiet.client.wait("one", id, opts! {}).unwrap().0,
        "completed",
        "and from the manager"
    );
}

#[test]
fn properties_agree_with_what_is_heard() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    assert_eq!(
        (
            session.text("State").as_str(),
            session.is("Speaking"),
            session.number("ActiveUtterance")
        ),
        ("idle", false, 0)
    );
    assert_eq!(
        (
            session.number("Turn"),
            session.number("QueueLength"),
            session.text("Output").as_str()
        ),
        (1, 0, "local")
    );
    let first = session.say("one two three four five six", opts! {});
    let second = session.say("seven", opts! {});
    quiet.client.expect_started(first);
    assert_eq!(
        (
            session.text("State").as_str(),
            session.is("Speaking"),
            session.number("ActiveUtterance")
        ),
        ("speaking", true, first)
    );
    assert_eq!(session.number("QueueLength"), 1, "the active one is not counted");
    session.wait(second);
    wait_for("the session to come to rest", || session.text("State") == "idle");
    assert_eq!(
        (
            session.is("Speaking"),
            session.number("ActiveUtterance"),
            session.number("QueueLength")
        ),
        (false, 0, 0)
    );
}

#[test]
fn turns_move_forward_and_an_older_one_is_stale() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let quick = |turn: u64| opts! { "rate" => 10.0, "turn" => turn };
    assert_ne!(session.say("in turn four", quick(4)), 0);
    assert_eq!(session.number("Turn"), 4);
    assert_eq!(session.say("in turn three", quick(3)), 0, "stale for ever");
    let id = session.say("the current one", quick(0));
    assert_eq!(session.wait(id).1.number("turn"), 4);
    let error = session.try_say("far away", quick(5 + (1 << 32))).unwrap_err();
    assert_eq!(error.word(), "InvalidArgs", "{error}");
}

#[test]
fn gain_reaches_the_ear_as_a_factor_and_without_a_click() {
    let world = World::start();
    let session = world.client.open("one", opts! { "backend" => TONE, "voice" => "tone" }).unwrap();
    let id = session.say("a long enough sentence", opts! {});
    world.client.expect_started(id);
    world.for_ms(300);
    session.set("GainDb", -20.0).unwrap();
    world.for_ms(300);
    session.wait(id);
    let heard = world.heard();
    let (first, last) = (heard.first_sound(0..usize::MAX).unwrap(), heard.last_sound(0..usize::MAX).unwrap());
    let loud = heard.peak(first..first + 4_800);
    let soft = heard.peak(last - 4_800..last);
    assert!((loud - 0.5).abs() < 0.02 && (soft - 0.05).abs() < 0.002, "{loud} then {soft}");
    let steepest = heard.steepest(first + 1..last);
    let before = heard.steepest(first + 1..first + 9_600);
    assert!(
        steepest <= before * 1.2,
        "a click: a step of {steepest} where the tone itself makes {before}"
    );
    world
        .client
        .set_property(utterd_tests::client::ROOT, utterd_tests::client::MANAGER, "GainDb", -20.0)
        .unwrap();
    let id = session.say("softer still", opts! {});
    session.wait(id);
    let heard = world.heard();
    let end = heard.last_sound(0..usize::MAX).unwrap();
    assert!((heard.peak(end - 4_800..end) - 0.005).abs() < 0.0005, "session and master add up");
}

#[test]
fn muted_speech_was_not_heard_and_says_so() {
    let world = World::start();
    let session = world.tone_session("one");
    let id = session.say("this will be cut in the middle of it", opts! {});
    world.client.expect_started(id);
    world.for_ms(200);
    session.set("Muted", true).unwrap();
    let (outcome, report) = session.wait(id);
    assert_eq!((outcome.as_str(), report.text("reason")), ("cancelled", "muted"));
    assert_eq!(session.number("Turn"), 1, "no turn ends");
    let silent = session.say("not one sample of this", opts! {});
    let (outcome, report) = session.wait(silent);
    assert_eq!(
        (outcome.as_str(), report.text("reason"), report.text("heard-text")),
        ("cancelled", "muted", "")
    );
    session.set("Muted", false).unwrap();
    let again = session.say("back", opts! {});
    assert_eq!(session.wait(again).0, "completed");
    let runs = tone::runs(&world.heard());
    assert!(runs.iter().all(|r| r.voice != tone::voice(silent)), "{runs:?}");
    assert_eq!(
        runs.last().map(|r| (r.voice, r.heard.len())),
        Some((tone::voice(again), 4 * CHARACTER))
    );
}

#[test]
fn a_text_at_the_limit_is_spoken() {
    let world = World::start();
    let session = world.tone_session("one");
    let text = "a word and one more ".repeat(262_144 / 20);
    let id = session.say(&text, opts! { "rate" => 10.0 });
    world.client.expect_started(id);
    world.for_ms(500);
    let report = session.cancel(opts! {});
    assert!(text.starts_with(report.text("heard-text")) && !report.text("heard-text").is_empty());
    let next = session.say("next", opts! {});
    assert_eq!(session.wait(next).0, "completed");
}
