//! After a soak: the ends of every utterance against its book, what the daemon still holds, and what the ear heard.

use super::{CHAR_US, House, SOUND, Said, Summary};
use crate::client::{Dict, Event};
use crate::recording::Recording;
use crate::tone::{self, RAMP};
use crate::world::World;
use std::collections::BTreeMap;

/// Every utterance finished once; a completed one was heard whole; the counters say the same.
pub(super) fn judge_ends(house: &House, books: &BTreeMap<u64, Said>, summary: &mut Summary) {
    let events = house.client().events();
    let mut ends: BTreeMap<u64, (String, Dict)> = BTreeMap::new();
    for event in events.iter().filter(|e| e.member == "UtteranceFinished") {
        let (id, outcome, report) = (event.number(0), event.text(1).to_owned(), event.dict(2));
        *summary.outcomes.entry(outcome.clone()).or_default() += 1;
        assert!(ends.insert(id, (outcome, report)).is_none(), "{id} finished twice (I1)");
    }
    let open: Vec<_> = books.keys().filter(|id| !ends.contains_key(id)).collect();
    assert!(open.is_empty(), "accepted and never finished (I1): {open:?}");
    let unknown: Vec<_> = ends.keys().filter(|id| !books.contains_key(id)).collect();
    assert!(unknown.is_empty(), "finished and never accepted: {unknown:?}");
    for (id, (outcome, report)) in &ends {
        let (said, heard) = (&books[id].text, report.text("heard-text"));
        assert!(said.starts_with(heard), "{id}: heard {heard:?} of {said:?}");
        if outcome == "completed" {
            assert_eq!(heard, said, "{id} completed (I13)");
        }
        assert_ne!(outcome, "failed", "{id}: {report:?}");
    }
    let metrics = house.client().metrics("").unwrap();
    let count = |name: &str| metrics.get(name).copied().unwrap_or(0.0) as usize;
    assert_eq!(count("utterd_utterance_total"), ends.len(), "accepted, by the counter");
    for outcome in ["completed", "cancelled", "failed", "expired"] {
        let told = summary.outcomes.get(outcome).copied().unwrap_or(0);
        assert_eq!(
            count(&format!("utterd_utterance_{outcome}_total")),
            told,
            "{outcome}, by the counter"
        );
    }
    assert_eq!(count("utterd_sessions"), 0, "sessions that are still open");
    assert_eq!(count("utterd_collect_buffers"), 0, "buffers that are still held");
}

/// Nothing is kept that grows with the number of operations.
pub(super) fn judge_growth(summary: &Summary) {
    let ([rss, fds, threads], [rss_then, fds_then, threads_then]) = (summary.after, summary.before);
    assert!(fds <= fds_then + 2, "descriptors: {fds_then}, then {fds}");
    assert!(threads <= threads_then + 2, "threads: {threads_then}, then {threads}");
    assert!(rss <= rss_then + 6_000, "resident: {rss_then} kB, then {rss} kB");
}

/// Never two at once, and what was told as heard is what the ear has.
pub(super) fn judge_ear(world: &World, books: &BTreeMap<u64, Said>, summary: &mut Summary) {
    let heard = world.heard();
    for sound in undecodable(&heard) {
        assert!(
            sound.len() <= 2 * RAMP + 16,
            "two at once (I15) for {} samples at {} us",
            sound.len(),
            heard.us_at(sound.start)
        );
    }
    let runs = tone::runs(&heard);
    let events = world.client.events();
    let of = |member: &str| {
        events
            .iter()
            .filter(move |e| e.member == member)
            .map(|e| (e.number(0), e))
            .collect::<BTreeMap<u64, &Event>>()
    };
    let (starts, ends) = (of("UtteranceStarted"), of("UtteranceFinished"));
    for (id, end) in ends {
        let (report, said) = (end.dict(2), &books[&id]);
        // The codes of an utterance come again with the 127th after it, so what was not told to have started is not looked for.
        let Some(start) = starts.get(&id) else { continue };
        if said.is_sound || tone::voice(id) == tone::voice(SOUND) {
            continue;
        }
        let from = said.accepted_us.max(start.at_us.saturating_sub(500_000));
        let mine: Vec<_> = runs
            .iter()
            .filter(|r| r.voice == tone::voice(id))
            .filter(|r| (from.saturating_sub(20_000)..end.at_us + 50_000).contains(&heard.us_at(r.heard.start)))
            .collect();
        let exact: usize = mine.iter().map(|r| r.heard.len()).sum();
        let played = report.number("played-us") as usize * 48 / 1_000;
        // Ramps are heard and are no codes: one at each end of a run at most, and one for a run that is all ramp.
        let ramps = RAMP * 2 * (mine.len() + 1);
        assert!(
            exact <= played + 96 && played <= exact + ramps,
            "{id} ({:?}): reported {played} samples, the ear has {exact} in {} runs; {report:?}",
            said.text,
            mine.len()
        );
        let words = |us: u64| onsets(&said.text).iter().filter(|onset| **onset < us).count();
        let told = onsets(report.text("heard-text")).len();
        let (least, most) = (
            words((exact as u64 * 1_000 / 48).saturating_sub(1)),
            words(((exact + ramps) as u64 * 1_000).div_ceil(48)),
        );
        assert!(
            told + 1 >= least && told <= most + 1,
            "{id}: {told} words were told of {:?}, the ear has {least} to {most}",
            said.text
        );
        summary.listened += 1;
    }
}

/// When each word begins.
fn onsets(text: &str) -> Vec<u64> {
    let mut at = 0;
    let mut found = Vec::new();
    for (n, c) in text.chars().enumerate() {
        if !c.is_whitespace() && (n == 0 || at == 0) {
            found.push(n as u64 * CHAR_US);
            at = 1;
        } else if c.is_whitespace() {
            at = 0;
        }
    }
    found
}

/// Stretches of sound that are nobody's code; silence ends one.
fn undecodable(heard: &Recording) -> Vec<std::ops::Range<usize>> {
    let mut known = vec![false; heard.samples.len()];
    for run in tone::runs(heard) {
        known[run.heard].fill(true);
    }
    let mut found = Vec::new();
    let mut from = None;
    for (n, sample) in heard.samples.iter().enumerate() {
        let odd = *sample != 0.0 && !known[n];
        match (odd, from) {
            (true, None) => from = Some(n),
            (false, Some(start)) => {
                found.push(start..n);
                from = None;
            }
            _ => {}
        }
    }
    found.extend(from.map(|start| start..heard.samples.len()));
    found
}
