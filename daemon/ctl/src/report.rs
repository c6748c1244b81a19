//! A report (of Cancel, Wait, UtteranceFinished) as lines for people. Data in, lines out; `show` writes them.
//!
//! Every key may be missing and unknown ones are passed over: the report grows with the daemon, and --json shows all of it.

use serde_json::Value as Json;
use zbus::zvariant::Value;

use crate::{
    bus::{Dict, number, text},
    json,
    show::clean,
};

/// What became of an utterance, for people: why it stopped, what was heard, how long each stage took.
pub(crate) fn lines(outcome: &str, report: &Dict) -> Vec<String> {
    let ids = items(report, "utterances").concat().join(" ");
    let reason = match text(report, "reason") {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    let mut lines = vec![format!("{outcome}{reason} {ids}").trim_end().to_owned()];
    let heard = match (text(report, "heard-text"), text(report, "heard-source")) {
        ("", _) => "nothing".into(),
        (heard, "estimated") => format!("\"{heard}\" (estimated: the voice gives no word times)"),
        (heard, _) => format!("\"{heard}\""),
    };
    lines.push(format!("  heard     {heard}"));
    let mut row = |name: &str, what: String| {
        if !what.is_empty() {
            lines.push(format!("  {name:<10}{what}"));
        }
    };
    row("played", format!("{:.2} s", number(report, "played-us") as f64 / 1e6));
    row("tag", text(report, "tag").to_owned());
    row(
        "voice",
        [text(report, "backend"), text(report, "voice")].join(" ").trim().to_owned(),
    );
    row(
        "dropped",
        match number(report, "queued-dropped") {
            0 => String::new(),
            n => format!("{n} waiting"),
        },
    );
    row("stages", stages(report));
    for field in items(report, "syntheses") {
        if let [id, state, told] = &field[..] {
            row("synthesis", format!("{id} {state}: {told}"));
        }
    }
    row("error", text(report, "message").to_owned());
    for field in items(report, "errors") {
        row("error", field.join(" "));
    }
    lines.iter().map(|line| clean(line)).collect()
}

/// Since the call arrived, in the order in which they happen.
fn stages(report: &Dict) -> String {
    let Some(Value::Dict(stages)) = report.get("stages").map(|value| &**value) else {
        return String::new();
    };
    let ms = |key: &str| match stages.get::<&str, u64>(&key) {
        Ok(Some(us)) => Some(format!("{} {:.2} ms", key.trim_end_matches("-us"), us as f64 / 1e3)),
        _ => None,
    };
    ["guard-us", "silent-us", "notified-us", "done-us"]
        .into_iter()
        .filter_map(ms)
        .collect::<Vec<_>>()
        .join(" · ")
}

/// The items of an array, each as the words of its fields.
fn items(report: &Dict, key: &str) -> Vec<Vec<String>> {
    let word = |value: &Value<'_>| match json::from_value(value) {
        Json::String(s) => s,
        other => other.to_string(),
    };
    match report.get(key).map(|value| &**value) {
        Some(Value::Array(array)) => array
            .iter()
            .map(|item| match item {
                Value::Structure(fields) => fields.fields().iter().map(word).collect(),
                other => vec![word(other)],
            })
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn dict<const N: usize>(entries: [(&str, Value<'static>); N]) -> Dict {
        entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.try_to_owned().unwrap()))
            .collect()
    }

    #[test]
    fn a_report_says_what_was_heard_and_how_long_each_stage_took() {
        let stages = HashMap::from([("guard-us", 12_u64), ("silent-us", 5300), ("done-us", 6100)]);
        let lines = super::lines(
            "cancelled",
            &dict([
                ("utterances", Value::from(vec![17_u64, 18])),
                ("reason", Value::from("client")),
                ("heard-text", Value::from("Hello there")),
                ("heard-source", Value::from("words")),
                ("played-us", Value::from(1_320_000_u64)),
                ("queued-dropped", Value::from(1_u32)),
                ("syntheses", Value::from(vec![(41_u64, "streaming", "told")])),
                ("stages", Value::from(stages)),
            ]),
        );
        assert_eq!(
            lines,
            [
                "cancelled (client) 17 18",
                "  heard     \"Hello there\"",
                "  played    1.32 s",
                "  dropped   1 waiting",
                "  stages    guard 0.01 ms · silent 5.30 ms · done 6.10 ms",
                "  synthesis 41 streaming: told",
            ]
        );
    }

    #[test]
    fn an_estimate_is_called_an_estimate() {
        let lines = super::lines(
            "cancelled",
            &dict([("heard-text", Value::from("Hel")), ("heard-source", Value::from("estimated"))]),
        );
        assert!(lines[1].contains("estimated"), "{lines:?}");
    }
}
