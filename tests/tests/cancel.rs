//! One cancel verb that is correct, with one report (requirement C; DESIGN §6 "cut published → last non-silent sample").
//!
//! The first test cancels at two hundred random moments and judges by the ear alone: nothing of the utterance after a period and 5 ms,
//! and the next utterance complete to the sample. `heard.rs` does the same for the heard text. The rest are the rules of SEMANTICS.
#![allow(clippy::unwrap_used)]

use utterd_tests::client::{Dict, Session};
use utterd_tests::clock::now_us;
use utterd_tests::random::{Random, side_by_side};
use utterd_tests::stats::{Distribution, Table};
use utterd_tests::tone;
use utterd_tests::world::{Quiet, World};
use utterd_tests::{opts, recording::Recording};

const CHARACTER: usize = 2_400;
const CANCELS: usize = 200;
/// So many worlds share the work, each with a bus, a server, a daemon and an ear of its own.
const WORLDS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    Queued,
    Requested,
    FirstPeriod,
    Middle,
    LastWord,
    JustFinished,
}

const MOMENTS: [Moment; 6] = [
    Moment::Queued,
    Moment::Requested,
    Moment::FirstPeriod,
    Moment::Middle,
    Moment::LastWord,
    Moment::JustFinished,
];

/// What one cancel was and said.
struct Try {
    moment: Moment,
    cancelled: u64,
    letters: usize,
    /// What was speaking while a queued one was cancelled, and its length in characters.
    before: Option<(u64, usize)>,
    next: u64,
    report: Dict,
    /// The latest moment at which the call can have arrived: its reply, less the time the daemon says it took.
    arrived_us: u64,
}

/// Needs: nothing later than the report's silent-us + 1 period + 5 ms; the next utterance complete to the sample (C1–C3, T7).
#[test]
fn no_sample_is_heard_after_a_cancel_and_the_next_utterance_is_complete_to_the_sample() {
    let late = side_by_side(WORLDS, |random| cancels(CANCELS / WORLDS, random));
    assert!(late.len() >= CANCELS / 4, "only {} cancels could be judged", late.len());
    let mut table = Table::new("cancel to silence at the ear, ms");
    table.row(
        "after the guard",
        Distribution::of(late.iter().map(|l| l.0)),
        "1 period + 5 ms (10.3)",
    );
    table.row("after silent-us", Distribution::of(late.iter().map(|l| l.1)), "0 ± 1 period");
    println!("{table}");
    let middle = Distribution::of(late.iter().map(|l| l.1)).p50();
    assert!(
        middle.abs() <= 5.4,
        "silent-us is the last non-zero sample; half of the time the ear has it {middle:.2} ms from there"
    );
}

/// Cancels so many times in a world of its own; returns how late the last sample was (after the guard, after silent-us), in ms.
fn cancels(count: usize, mut random: Random) -> Vec<(f64, f64)> {
    let world = World::start();
    let session = world.tone_session("cancelled");
    let tries: Vec<Try> = (0..count)
        .map(|n| one(&world, &session, MOMENTS[n % MOMENTS.len()], &mut random))
        .collect();
    let heard = world.heard();
    let runs = tone::runs(&heard);
    let mut late = Vec::new();
    for (n, t) in tries.iter().enumerate() {
        let what = format!(
            "try {n}: {:?}, utterance {}, then {}: {:?}",
            t.moment, t.cancelled, t.next, t.report
        );
        let next = runs
            .iter()
            .rfind(|r| r.voice == tone::voice(t.next))
            .unwrap_or_else(|| panic!("{what}\nthe next one was not heard"));
        assert_eq!(
            (next.first, next.heard.len()),
            (0, 4 * CHARACTER),
            "the next utterance is not complete; {what}"
        );
        late.extend(judge(&world, &heard, &runs, t, next.heard.start, &what));
    }
    assert!(
        heard.breaks().is_empty() || world.ear.xruns() > 0,
        "the recording has holes: {:?}",
        heard.breaks()
    );
    late
}

fn one(world: &World, session: &Session, moment: Moment, random: &mut Random) -> Try {
    let client = &world.client;
    let before = (moment == Moment::Queued).then(|| {
        let letters = random.between(4, 8) as usize;
        let id = session.say(&"b".repeat(letters), opts! {});
        client.expect_started(id);
        (id, letters)
    });
    let words = random.between(2, 5) as usize;
    let text = vec!["abc"; words].join(" ");
    let length_us = text.len() as u64 * 50_000;
    let cancelled = session.say(&text, opts! {});
    let wait_us = match moment {
        Moment::Queued | Moment::Requested => random.between(0, 4_000),
        Moment::FirstPeriod => random.between(0, 6_000),
        Moment::Middle => random.between(20_000, length_us - 150_000),
        Moment::LastWord => length_us - random.between(10_000, 150_000),
        Moment::JustFinished => length_us - 5_000 + random.between(0, 20_000),
    };
    if !matches!(moment, Moment::Queued | Moment::Requested) {
        client.expect_started(cancelled);
    }
    utterd_tests::clock::let_pass(std::time::Duration::from_micros(wait_us));
    // A queued one is cancelled by its id, or what speaks before it would go as well.
    let by_id = before.is_some() || random.between(0, 2) == 0;
    let report = session.cancel(if by_id {
        opts! { "utterance" => cancelled }
    } else {
        opts! {}
    });
    let replied_us = now_us();
    let took_us = if report.text("result") == "cancelled" {
        took_us(&report)
    } else {
        0
    };
    let next = session.say("next", opts! {});
    assert_eq!(
        session.wait(next).0,
        "completed",
        "what follows a cancel without a turn is spoken; {report:?}"
    );
    Try {
        moment,
        cancelled,
        letters: text.len(),
        before,
        next,
        report,
        arrived_us: replied_us - took_us,
    }
}

/// Compares the report with the ear.
fn judge(world: &World, heard: &Recording, runs: &[tone::Run], t: &Try, next_start: usize, what: &str) -> Option<(f64, f64)> {
    let result = t.report.text("result");
    let own: Vec<_> = runs
        .iter()
        .filter(|r| r.voice == tone::voice(t.cancelled) && r.heard.end <= next_start)
        .collect();
    let own: Vec<_> = own.into_iter().rev().take(1).collect();
    if let Some((id, letters)) = t.before {
        let run = runs
            .iter()
            .rfind(|r| r.voice == tone::voice(id))
            .unwrap_or_else(|| panic!("{what}\nthe one before was not heard"));
        assert_eq!(
            (run.first, run.heard.len()),
            (0, letters * CHARACTER),
            "what spoke before is not complete; {what}"
        );
        assert!(own.is_empty(), "a queued utterance was heard; {what}\n{own:?}");
    }
    match result {
        "already" | "nothing" => {
            let run = own.first().unwrap_or_else(|| panic!("it had ended, and was not heard; {what}"));
            assert_eq!((run.first, run.heard.len()), (0, t.letters * CHARACTER), "it had ended; {what}");
            return None;
        }
        "cancelled" => {}
        other => panic!("result {other:?}; {what}"),
    }
    assert_eq!(t.report.numbers("utterances"), [t.cancelled], "{what}");
    stages_in_order(&t.report);
    // A server that is kept from running for longer than a cancel waits: the report says that it does not know.
    if !t.report.texts("errors").is_empty() {
        return None;
    }
    let Some(run) = own.first() else {
        assert_eq!(t.report.number("played-us"), 0, "nothing was heard; {what}");
        assert_eq!((t.report.text("heard-text"), t.report.text("heard-source")), ("", "none"), "{what}");
        return None;
    };
    assert_eq!(run.first, 0, "{what}");
    let last = heard.last_sound(run.heard.end..next_start).unwrap_or(run.heard.end - 1);
    let played = (last + 1 - run.heard.start) as u64 * 1_000_000 / 48_000;
    assert!(
        played.abs_diff(t.report.number("played-us")) <= 100,
        "{played} us were heard; {what}"
    );
    let stages = t.report.dict("stages");
    let after = |stage: &str| heard.later_us(last, t.arrived_us + stages.number(stage)) as f64 / 1_000.0;
    let allowed = world.a_period_and_5_ms() as f64 / 1_000.0;
    assert!(
        after("silent-us") <= allowed,
        "{:.2} ms after silent-us; {what}",
        after("silent-us")
    );
    Some((after("guard-us"), after("silent-us")))
}

/// How long the daemon had the call for certain: silence may be known, and told, before it is heard.
fn took_us(report: &Dict) -> u64 {
    let stages = report.dict("stages");
    let (silent, done) = (stages.number("silent-us"), stages.number("done-us"));
    if done > silent { done } else { stages.number("notified-us") }
}

fn stages_in_order(report: &Dict) {
    let stages = report.dict("stages");
    let [guard, silent, notified, done] = ["guard-us", "silent-us", "notified-us", "done-us"].map(|s| stages.number(s));
    assert!(guard <= silent && silent <= done, "{stages:?}");
    assert!(guard <= notified && notified <= done, "{stages:?}");
}

#[test]
fn the_report_has_every_promised_key() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let first = session.say("this is what is heard of it", opts! { "tag" => "mine" });
    let queued: Vec<u64> = (0..2).map(|_| session.say("never heard", opts! {})).collect();
    quiet.client.expect_started(first);
    quiet.client.expect_event("a word", |e| e.is("UtteranceStarted", first));
    utterd_tests::clock::let_pass(std::time::Duration::from_millis(400));
    let answer = session.try_cancel(opts! { "reason" => "my-own-word" }).unwrap();
    let report = answer.value;
    assert_eq!(report.text("result"), "cancelled");
    assert_eq!(report.text("reason"), "my-own-word");
    assert_eq!(report.numbers("utterances"), [first, queued[0], queued[1]]);
    assert_eq!((report.number("turn"), report.text("tag")), (1, "mine"));
    assert_eq!((report.text("backend"), report.text("voice")), ("tts-tone", "tone"));
    assert!("this is what is heard of it".starts_with(report.text("heard-text")), "{report:?}");
    assert_eq!(report.text("heard-source"), "words");
    assert!((300_000..700_000).contains(&report.number("played-us")), "{report:?}");
    assert_eq!(report.number("queued-dropped"), 2);
    assert!(report.texts("errors").is_empty(), "{report:?}");
    stages_in_order(&report);
    let syntheses = report.syntheses();
    assert!(!syntheses.is_empty());
    for (id, state, told) in syntheses {
        assert!(id > 0);
        assert!(
            ["queued", "requested", "streaming", "delivered"].contains(&state.as_str()),
            "{state}"
        );
        assert!(["not-requested", "told", "not-needed", "cannot"].contains(&told.as_str()), "{told}");
        assert!(state != "queued" || told == "not-requested", "{state} {told}");
    }
    quiet.client.expect_finished(queued[1]);
    let finished: Vec<_> = session.events().into_iter().filter(|e| e.member == "UtteranceFinished").collect();
    let ids: Vec<u64> = finished.iter().map(|e| e.number(0)).collect();
    assert_eq!(ids, [first, queued[0], queued[1]], "ascending, each once");
    for event in &finished {
        assert!(event.position < answer.position, "every UtteranceFinished precedes the reply");
        assert_eq!((event.text(1), event.dict(2).text("reason")), ("cancelled", "my-own-word"));
        assert!(!event.dict(2).has("result"), "result stands in Cancel's reply only");
    }
    assert_eq!(finished[1].dict(2).text("heard-text"), "");
    assert_eq!(finished[1].dict(2).text("heard-source"), "none");
}

/// C5.
#[test]
fn the_second_cancel_is_a_success_that_did_nothing() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    assert_eq!(session.cancel(opts! {}).text("result"), "nothing");
    let id = session.say("a sentence to be cancelled", opts! {});
    quiet.client.expect_started(id);
    let first = session.cancel(opts! { "utterance" => id });
    let second = session.cancel(opts! { "utterance" => id });
    assert_eq!((first.text("result"), second.text("result")), ("cancelled", "already"));
    assert_eq!(second.text("heard-text"), first.text("heard-text"), "with its report");
    assert_eq!(second.number("played-us"), first.number("played-us"));
    assert_eq!(session.cancel(opts! {}).text("result"), "nothing");
    let finished = session.events().into_iter().filter(|e| e.is("UtteranceFinished", id)).count();
    assert_eq!(finished, 1);
    let done = session.say("heard", opts! { "rate" => 10.0 });
    session.wait(done);
    let report = session.cancel(opts! { "utterance" => done });
    assert_eq!((report.text("result"), report.text("heard-text")), ("already", "heard"));
}

#[test]
fn cancels_that_name_what_is_not_there_are_refused() {
    let quiet = Quiet::start();
    let (a, b) = (quiet.tone_session("a"), quiet.tone_session("b"));
    let id = a.say("mine", opts! { "rate" => 10.0 });
    assert_eq!(
        b.try_cancel(opts! { "utterance" => id }).unwrap_err().word(),
        "NoSuchUtterance",
        "of another session"
    );
    assert_eq!(
        a.try_cancel(opts! { "utterance" => id + 1_000 }).unwrap_err().word(),
        "NoSuchUtterance",
        "never issued"
    );
    assert_eq!(
        a.try_cancel(opts! { "utterance" => id, "turn" => 1u64 }).unwrap_err().word(),
        "InvalidArgs",
        "both"
    );
    a.wait(id);
    a.close(opts! {}).unwrap();
    let again = quiet.tone_session("a");
    assert_eq!(
        again.try_cancel(opts! { "utterance" => id }).unwrap_err().word(),
        "NoSuchUtterance",
        "of an earlier incarnation"
    );
}

/// C2: the guard never blocks the next turn.
#[test]
fn a_cancel_ends_the_turn_it_found_speech_in_and_what_follows_is_spoken() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let quick = || opts! { "rate" => 10.0 };
    let id = session.say("the answer of turn five", opts! { "turn" => 5u64 });
    quiet.client.expect_started(id);
    session.cancel(opts! {});
    assert_eq!(session.number("Turn"), 6);
    assert_eq!(session.say("late words of turn five", opts! { "turn" => 5u64 }), 0, "stale");
    let next = session.say("without a turn", quick());
    assert_eq!(session.wait(next).1.number("turn"), 6);
    assert_eq!(session.number("Turn"), 6);

    let id = session.say("cancelled by its id", opts! {});
    session.cancel(opts! { "utterance" => id });
    assert_eq!(session.number("Turn"), 6, "a cancel by id ends no turn");
    session.cancel(opts! { "turn" => 6u64 });
    assert_eq!(session.number("Turn"), 7, "a cancel of a turn ends it even if nothing ran in it");
    assert_eq!(session.say("stale", opts! { "turn" => 6u64 }), 0);
    session.cancel(opts! {});
    assert_eq!(session.number("Turn"), 7, "nothing was found, so nothing ended");
}

#[test]
fn a_cancel_of_one_turn_leaves_the_others() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let first = session.say("turn one goes on to its end", opts! {});
    let second = session.say("turn two is cancelled", opts! { "turn" => 2u64 });
    let third = session.say("turn three", opts! { "turn" => 3u64, "rate" => 10.0 });
    let report = session.cancel(opts! { "turn" => 2u64 });
    assert_eq!(report.numbers("utterances"), [second]);
    let outcomes: Vec<String> = [first, second, third].iter().map(|u| session.wait(*u).0).collect();
    assert_eq!(outcomes, ["completed", "cancelled", "completed"]);
}

#[test]
fn cancel_all_silences_every_session_and_counts_utterances() {
    let quiet = Quiet::start();
    let sessions: Vec<Session> = (0..3).map(|n| quiet.tone_session(&format!("s{n}"))).collect();
    let ids: Vec<u64> = (0..6).map(|n| sessions[n % 3].say("something to be silenced", opts! {})).collect();
    quiet.client.expect_started(ids[0]);
    assert_eq!(quiet.client.cancel_all(opts! { "reason" => "panic" }).unwrap(), 6);
    for (n, id) in ids.iter().enumerate() {
        let (outcome, report) = sessions[n % 3].wait(*id);
        assert_eq!((outcome.as_str(), report.text("reason")), ("cancelled", "panic"));
    }
    assert_eq!(quiet.client.cancel_all(opts! {}).unwrap(), 0);
}

#[test]
fn closing_reports_every_utterance_before_the_object_goes() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let ids: Vec<u64> = (0..3).map(|_| session.say("cut by the close", opts! {})).collect();
    quiet.client.expect_started(ids[0]);
    let reply = session.close(opts! {}).unwrap();
    let removed = quiet.client.expect_event("InterfacesRemoved", |e| e.member == "InterfacesRemoved");
    let finished: Vec<_> = session.events().into_iter().filter(|e| e.member == "UtteranceFinished").collect();
    assert_eq!(finished.iter().map(|e| e.number(0)).collect::<Vec<_>>(), ids);
    assert!(
        finished
            .iter()
            .all(|e| e.position < removed.position && e.dict(2).text("reason") == "session-closed")
    );
    assert!(removed.position < reply.position);
}

#[test]
fn a_close_that_drains_speaks_what_is_queued_first() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let ids: Vec<u64> = (0..3).map(|_| session.say("drained", opts! { "rate" => 2.0 })).collect();
    session.close(opts! { "drain" => true }).unwrap();
    for id in ids {
        assert_eq!(quiet.client.expect_finished(id).text(1), "completed");
    }
}
