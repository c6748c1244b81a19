//! The heard text of a cancel is right within one word, always (DESIGN §6), judged by the ear: how much of the utterance was sounding.
//!
//! espeak-ng is not reproducible to the sample, so each text is spoken once to its end, which tells the onset of every word in the
//! utterance's own audio; a cancelled one is then measured from its first to its last sound.
#![allow(clippy::unwrap_used)]

use utterd_tests::client::{Options, Session};
use utterd_tests::opts;
use utterd_tests::random::{Random, side_by_side};
use utterd_tests::stats::{Distribution, Table};
use utterd_tests::world::World;

const CANCELS: usize = 200;
const WORLDS: usize = 4;
const TEXTS: [&str; 3] = [
    "The quick brown fox jumps over the lazy dog, and runs away into the dark forest.",
    "Please call Stella and ask her to bring these things with her from the store.",
    "Yes! Nine hundred and ninety nine people came, didn't they?",
];
/// espeak-ng begins with so much silence (NOTES of the design: 13.0 ms), which belongs to the utterance's own audio.
const LEAD_US: u64 = 13_000;

struct Reference {
    text: &'static str,
    /// Of each word: where it ends in the text, and its onset in the utterance's audio.
    words: Vec<(usize, u64)>,
    length_us: u64,
}

#[test]
fn the_heard_text_of_two_hundred_cancels_is_right_within_one_word() {
    let errors = side_by_side(WORLDS, |random| cancels(CANCELS / WORLDS, random));
    let mut table = Table::new("heard text against the ear, words");
    table.row(
        "reported less heard, absolute",
        Distribution::of(errors.iter().map(|e| e.unsigned_abs() as f64)),
        "at most 1",
    );
    println!("{table}");
}

fn fast() -> Options {
    opts! { "rate" => 1.5, "progress" => "word" }
}

fn reference(session: &Session, text: &'static str) -> Reference {
    let id = session.say(text, fast());
    let (outcome, report) = session.wait(id);
    assert_eq!((outcome.as_str(), report.text("heard-text")), ("completed", text));
    session.client().expect_finished(id);
    let told = session
        .events()
        .into_iter()
        .filter(|e| e.is("UtteranceProgress", id) && e.text(1) == "word");
    let words: Vec<(usize, u64)> = told.map(|e| (e.number(3) as usize, e.number(4))).collect();
    assert!(words.len() >= 8, "espeak-ng marks its words: {words:?}");
    assert!(words.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1), "{words:?}");
    Reference {
        text,
        words,
        length_us: report.number("played-us"),
    }
}

/// The errors in words of so many cancels.
fn cancels(count: usize, mut random: Random) -> Vec<i64> {
    let world = World::start();
    let session = world.espeak_session("heard", opts! {});
    let references: Vec<Reference> = TEXTS.iter().map(|t| reference(&session, t)).collect();
    (0..count).map(|_| one(&world, &session, &references, &mut random)).collect()
}

fn one(world: &World, session: &Session, references: &[Reference], random: &mut Random) -> i64 {
    let r = &references[random.between(0, references.len() as u64) as usize];
    let from = world.heard().samples.len();
    let id = session.say(r.text, fast());
    world.client.expect_started(id);
    utterd_tests::clock::let_pass(std::time::Duration::from_micros(random.between(0, r.length_us - 20_000)));
    let mut report = session.cancel(opts! {});
    if report.text("result") == "nothing" {
        report = session.wait(id).1; // The moment was after its end.
    }
    let heard = world.heard();
    let sounding_us = match (heard.first_sound(from..usize::MAX), heard.last_sound(from..usize::MAX)) {
        (Some(first), Some(last)) => (last + 1 - first) as u64 * 1_000_000 / u64::from(heard.rate) + LEAD_US,
        _ => 0,
    };
    let what = format!("{sounding_us} us were heard of {:?}; {report:?}", r.text);
    let text = report.text("heard-text");
    assert!(r.text.starts_with(text), "{what}");
    let points = text.chars().count();
    let reported = r.words.iter().filter(|w| w.0 <= points).count() as i64;
    let by_ear = r.words.iter().filter(|w| sounding_us > 0 && w.1 <= sounding_us).count() as i64;
    assert!((reported - by_ear).abs() <= 1, "{reported} words reported, {by_ear} heard; {what}");
    assert_eq!(
        report.text("heard-source"),
        if text.is_empty() { "none" } else { "words" },
        "{what}"
    );
    reported - by_ear
}
