//! Utterance, synthesis, heard: from acceptance to the last sample, failures, expiry, look-ahead, progress.

use super::*;

#[test]
fn a_say_is_heard_to_its_end() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.rest();
    let (outcome, report) = w.ended(u).unwrap();
    assert_eq!(outcome, Outcome::Completed);
    assert_eq!((report.heard_text.as_str(), report.reason.as_str()), (LONG, ""));
    assert_eq!(report.played_us, LONG.len() as u64 * CHAR_US);
    assert_eq!((report.backend.as_str(), report.voice.as_str()), ("smooth", "tone"));
    assert!(report.stages.is_none() && report.syntheses.is_empty() && report.result.is_none());
}

#[test]
fn the_next_utterance_follows_without_a_gap() {
    let mut w = world();
    let first = w.say("a", LONG);
    let second = w.say("a", "And more.");
    w.rest();
    let gap = w.started_at(second).unwrap() - w.started_at(first).unwrap() - LONG.len() as u64 * CHAR_US;
    assert_eq!(gap, 0);
}

#[test]
fn heard_text_ends_with_the_word_whose_onset_was_heard() {
    let mut w = world();
    let u = w.say("a", LONG);
    w.run_until_started(u);
    // "one two" is heard until the eighth code point; "three" begins there.
    w.run(8 * CHAR_US + 5 * MS);
    let report = w.cancel("a", all());
    assert_eq!(report.heard_text, "one two three");
    assert_eq!(report.heard_source, HeardSource::Words);
    assert!(report.played_us > 8 * CHAR_US && report.played_us < 9 * CHAR_US);
}

#[test]
fn nothing_heard_has_no_source() {
    let mut w = world();
    w.say("a", LONG);
    let report = w.cancel("a", all());
    assert_eq!((report.heard_text.as_str(), report.heard_source), ("", HeardSource::None));
    assert_eq!(report.queued_dropped, 1);
}

#[test]
fn without_marks_the_heard_text_is_estimated() {
    let mut w = world();
    let u = w.say_with("a", LONG, by("plain"));
    w.run_until_started(u);
    w.run(12 * CHAR_US);
    let report = w.cancel("a", all());
    assert_eq!(report.heard_source, HeardSource::Estimated);
    assert_eq!(report.heard_text, "one two three");
}

#[test]
fn an_estimate_within_a_text_that_still_streams_does_not_claim_all_of_it() {
    let mut w = world();
    w.plan.part_us = 400 * MS;
    let text = LONG.repeat(10);
    let u = w.say_with("a", &text, by("plain"));
    w.run_until_started(u);
    w.run(600 * MS);
    let report = w.cancel("a", all());
    assert_eq!(report.syntheses[0].1, SynthesisState::Streaming);
    let heard = report.heard_text.len();
    assert!((3..30).contains(&heard), "{heard} of {}", text.len());
}

#[test]
fn pieces_are_estimated_one_by_one() {
    let mut w = world();
    let u = w.say_with("a", "One two. Three four. Five six.", by("pieces"));
    w.run_until_started(u);
    w.run(10 * CHAR_US);
    assert_eq!(w.cancel("a", all()).heard_text, "One two. Three");
}

#[test]
fn a_failure_before_the_first_sample_ends_the_utterance_at_once() {
    let mut w = world();
    w.fates.push_back(Fate::FailsAtOnce);
    let bad = w.say("a", LONG);
    let good = w.say("a", "Next.");
    w.rest();
    let (outcome, report) = w.ended(bad).unwrap();
    assert_eq!(outcome.word(), "failed");
    assert_eq!(report.failure.unwrap().kind, ErrorKind::BackendUnavailable);
    assert_eq!(report.reason, "");
    assert_eq!(w.outcome(good), "completed");
}

#[test]
fn a_failure_half_way_speaks_what_is_there_and_then_says_so() {
    let mut w = world();
    w.fates.push_back(Fate::FailsHalfWay);
    let bad = w.say("a", "one two three four five sixty-six");
    w.rest();
    let (outcome, report) = w.ended(bad).unwrap();
    assert_eq!(outcome.word(), "failed");
    assert_eq!(report.heard_text, "one two three four");
    assert!(report.played_us > 0);
}

#[test]
fn a_failed_piece_is_not_claimed_to_be_heard() {
    let mut w = world();
    w.fates.extend([Fate::Speaks, Fate::FailsAtOnce]);
    let bad = w.say_with("a", "One two. Three four.", by("pieces"));
    w.rest();
    assert_eq!(w.ended(bad).unwrap().1.heard_text.trim(), "One two.");
}

#[test]
fn what_has_not_begun_in_time_expires() {
    let mut w = world();
    let first = w.say("a", LONG);
    let options = SayOptions {
        expires_us: Some(500 * MS),
        ..SayOptions::default()
    };
    let late = w.say_with("a", "Too late.", options.clone());
    w.run(600 * MS);
    assert_eq!((w.outcome(first), w.outcome(late)), ("open", "expired"));
    w.rest();
    let in_time = w.say_with("a", LONG, options);
    w.rest();
    assert_eq!(w.outcome(in_time), "completed");
}

#[test]
fn look_ahead_is_bounded_and_goes_on_when_it_runs_low() {
    let mut w = world();
    let sentence = "These are words that take two seconds. ";
    let u = w.say_with("a", &sentence.repeat(8), by("pieces"));
    w.run_until_started(u);
    w.run(500 * MS);
    let asked = count(&w, |e| matches!(e, Effect::Synthesize(_)));
    assert!((3..=4).contains(&asked), "{asked} sentences were asked for ahead");
    w.rest();
    assert_eq!(count(&w, |e| matches!(e, Effect::Synthesize(_))), 8);
    assert_eq!(w.outcome(u), "completed");
}

#[test]
fn low_that_overtakes_delivered_does_not_stop_the_utterance() {
    let mut w = world();
    let u = w.say_with("a", "One sentence. Another sentence.", by("pieces"));
    let synthesis = *w.jobs.keys().next().unwrap();
    w.feed(Input::Playback(PlaybackEvent::Low { utterance: u }));
    w.feed(Input::Synthesis {
        synthesis,
        event: SynthesisEvent::Delivered {
            audio_us: 6 * S,
            ahead_us: 6 * S,
        },
    });
    assert_eq!(count(&w, |e| matches!(e, Effect::Synthesize(_))), 2);
}

#[test]
fn a_synthesis_that_stops_unasked_has_failed() {
    let mut w = world();
    w.fates.push_back(Fate::NeverAnswers);
    let u = w.say("a", LONG);
    let synthesis = *w.jobs.keys().next().unwrap();
    let event = SynthesisEvent::Stopped;
    w.feed(Input::Synthesis { synthesis, event });
    assert_eq!(w.outcome(u), "failed");
}

#[test]
fn an_end_before_all_was_asked_for_is_a_failure() {
    let mut w = world();
    let u = w.say_with("a", "One sentence. Another sentence.", by("pieces"));
    w.feed(Input::Playback(PlaybackEvent::Ended {
        utterance: u,
        played_us: S,
    }));
    assert_eq!(w.outcome(u), "failed");
}

#[test]
fn progress_names_sentences_and_on_request_words() {
    let kinds = |progress| {
        let mut w = world();
        let options = SayOptions {
            progress: Some(progress),
            ..SayOptions::default()
        };
        w.say_with("a", "One two. Three.", options);
        w.rest();
        let mut kinds = Vec::new();
        for (_, e) in &w.log {
            if let Effect::Signal {
                signal: Signal::UtteranceProgress {
                    kind, text: Some(text), ..
                },
                ..
            } = e
            {
                kinds.push(format!("{kind} {}", text.trim()));
            }
        }
        kinds
    };
    assert_eq!(kinds(Progress::None), Vec::<String>::new());
    assert_eq!(kinds(Progress::Sentence), ["sentence One two.", "sentence Three."]);
    assert_eq!(kinds(Progress::Word), ["word One", "word two.", "word Three."]);
}
