//! Numbers by name: of the whole daemon, of a session, and as text for a scraper (T9).
#![allow(clippy::unwrap_used)]

use utterd_tests::client::{Dict, METRICS, OWNER, ROOT};
use utterd_tests::clock::wait_for;
use utterd_tests::opts;
use utterd_tests::world::Quiet;
use zbus::zvariant::Value;

fn export(quiet: &Quiet, format: &str) -> String {
    let reply = quiet.client.call(ROOT, METRICS, "ExportText", &(format,)).unwrap();
    match reply.value.into_iter().next() {
        Some(Value::Str(text)) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_done_is_counted() {
    let quiet = Quiet::start();
    let before = quiet.client.metrics("").unwrap();
    let session = quiet.tone_session("one");
    let id = session.say("to be cancelled", opts! {});
    quiet.client.expect_started(id);
    session.cancel(opts! {});
    let next = session.say("done", opts! { "rate" => 10.0 });
    session.wait(next);
    let after = quiet.client.metrics("").unwrap();
    let grown =
        |name: &str| after.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", after.keys())) - before.get(name).unwrap_or(&0.0);
    assert_eq!(grown("utterd_cancel_total"), 1.0);
    assert!(after.contains_key("utterd_tx_gap_ms_max"), "{:?}", after.keys());
    assert!(after.keys().all(|name| name.starts_with("utterd_")), "{:?}", after.keys());
    assert!(after.values().all(|v| !v.is_nan()), "{after:?}");
    let own = quiet.client.metrics("one").unwrap();
    assert!(!own.is_empty());
}

#[test]
fn prometheus_text_is_well_formed_and_says_the_same() {
    let quiet = Quiet::start();
    let session = quiet.tone_session("one");
    let id = session.say("x", opts! { "rate" => 10.0 });
    session.wait(id);
    let text = export(&quiet, "prometheus");
    let mut helped = std::collections::BTreeSet::new();
    let mut samples = 0;
    for line in text.lines().filter(|l| !l.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")) {
            let (name, what) = rest.split_once(' ').expect("a name and what it is");
            assert!(!what.is_empty(), "{line}");
            helped.insert(name.to_owned());
            continue;
        }
        assert!(!line.starts_with('#'), "{line}");
        let (name, value) = line.rsplit_once(' ').expect("name value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let bare = name.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|s| bare.strip_suffix(s))
            .unwrap_or(bare);
        assert!(helped.contains(bare) || helped.contains(family), "{line} has no HELP");
        samples += 1;
    }
    assert!(samples > 10, "{text}");
    let json: serde_json::Value = serde_json::from_str(&export(&quiet, "json")).unwrap();
    assert!(json.is_object(), "{json}");
    let error = quiet.client.call(ROOT, METRICS, "ExportText", &("xml",)).unwrap_err();
    assert_eq!(error.word(), "InvalidArgs");
    assert!(error.message.contains("prometheus"), "it says what is allowed: {error}");
}

#[test]
fn the_fixed_lines_are_in_the_log() {
    let plan = utterd_tests::daemon::Plan {
        driver: "timer",
        config: "[metrics]\ntx-metrics-s = 1\n".into(),
        ..Default::default()
    };
    let quiet = Quiet::with(&plan);
    let session = quiet.tone_session("one");
    let id = session.say("long enough for a line of metrics, which comes each second", opts! {});
    session.wait(id);
    wait_for("TX_METRICS", || !quiet.daemon.log_lines("TX_METRICS").is_empty());
    let line = &quiet.daemon.log_lines("TX_METRICS")[0];
    assert!(line.contains("fps=") && line.contains("max_gap_ms="), "{line}");
    let first = quiet.daemon.log_lines("FIRST_FRAME_SENT");
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(first[0].contains("session="), "{first:?}");
}

#[test]
fn the_audio_owners_counters_are_metrics_too() {
    let quiet = Quiet::start();
    quiet.tone_session("one");
    for (transition, session) in [
        ("EnterListening", "one"),
        ("EnterListening", "one"),
        ("LeaveListening", "one"),
        ("MicClosedRecovery", "one"),
        ("EnterListening", "nobody"),
    ] {
        // Refusals are counted too.
        quiet.client.call(ROOT, OWNER, transition, &(session, 0u64)).map_or_else(drop, drop);
    }
    let counters = Dict::from(&quiet.client.property(ROOT, OWNER, "Counters").unwrap());
    let metrics = quiet.client.metrics("").unwrap();
    assert_eq!(counters.0.len(), 12, "all of them, also those of what never happened");
    for name in counters.0.keys() {
        let metric = format!("utterd_owner_{}_total", name.replace('-', "_"));
        let value = metrics.get(&metric).copied().unwrap_or_else(|| panic!("there is no {metric}"));
        assert_eq!(value, counters.number(name) as f64, "{name}");
    }
    let told = ["applied", "already", "stale", "refused", "capture-starts", "capture-stops"].map(|name| counters.number(name));
    assert_eq!(told, [2, 1, 1, 1, 1, 1]);
    assert!(export(&quiet, "prometheus").contains("utterd_owner_applied_total 2"));
}
