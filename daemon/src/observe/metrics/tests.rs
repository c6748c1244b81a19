//! The registry as the rooms and the bus see it.

use super::*;

#[test]
fn what_is_recorded_is_what_is_shown() {
    let metrics = Metrics::new();
    let cancels = metrics.counter("utterd_cancel_total", "cancels", "Cancels carried out.");
    let gap = metrics.gauge("utterd_tx_gap_ms_max", "milliseconds", "Longest gap.");
    let latency = metrics.histogram("utterd_cancel_us", "microseconds", "Cancel to silence.");
    cancels.add(2);
    cancels.clone().add(1);
    gap.raise(20.5);
    gap.raise(3.0);
    for value in 1..=100 {
        latency.record(value);
    }
    let expected = [
        ("utterd_cancel_total", 3.0),
        ("utterd_cancel_us-count", 100.0),
        ("utterd_cancel_us-max", 100.0),
        ("utterd_cancel_us-p50", 50.0),
        ("utterd_cancel_us-p99", 99.0),
        ("utterd_tx_gap_ms_max", 20.5),
    ];
    assert_eq!(metrics.snapshot(""), expected.map(|(name, value)| (name.to_owned(), value)).into());
}

#[test]
fn a_session_has_its_own_values_until_it_closes() {
    let metrics = Metrics::new();
    let cancels = metrics.counter("cancels", "cancels", "");
    let gap = metrics.gauge("gap", "ms", "");
    let latency = metrics.histogram("latency", "us", "");
    metrics.open_session("a");
    metrics.open_session("b");
    cancels.add_for("a", 2);
    cancels.add_for("b", 3);
    gap.raise_for("a", 7.0);
    gap.raise_for("b", 5.0);
    gap.set_for("b", 1.0);
    latency.record_for("a", 9);
    let of_a = [
        ("cancels", 2.0),
        ("gap", 7.0),
        ("latency-count", 1.0),
        ("latency-max", 9.0),
        ("latency-p50", 9.0),
        ("latency-p99", 9.0),
    ];
    assert_eq!(metrics.snapshot("a"), of_a.map(|(name, value)| (name.to_owned(), value)).into());
    assert_eq!(metrics.snapshot("b")["gap"], 1.0);
    assert_eq!((metrics.snapshot("")["cancels"], metrics.snapshot("")["gap"]), (5.0, 7.0));

    metrics.close_session("a");
    cancels.add_for("a", 1);
    assert!(metrics.snapshot("a").is_empty());
    assert_eq!(metrics.snapshot("")["cancels"], 6.0);
    metrics.open_session("a");
    assert!(metrics.snapshot("a").is_empty(), "a new incarnation begins with nothing");
}

#[test]
fn a_session_that_is_not_open_leaves_no_trace() {
    let metrics = Metrics::new();
    let cancels = metrics.counter("cancels", "cancels", "");
    for n in 0..1000 {
        cancels.add_for(&n.to_string(), 1);
    }
    assert!(metrics.shared.sessions.read().unwrap().is_empty());
    assert_eq!(cancels.value(), 1000);
}

#[test]
fn a_histogram_without_values_shows_only_its_count() {
    let metrics = Metrics::new();
    metrics.histogram("latency", "us", "");
    assert_eq!(metrics.snapshot(""), [("latency-count".to_owned(), 0.0)].into());
}

#[test]
fn quantiles_are_within_one_percent_and_extremes_do_no_harm() {
    let metrics = Metrics::new();
    let latency = metrics.histogram("latency", "us", "");
    for value in (0..=1_000_000).step_by(100) {
        latency.record(value);
    }
    let shown = metrics.snapshot("");
    assert!((shown["latency-p50"] / 500_000.0 - 1.0).abs() < 0.01, "{shown:?}");
    assert!((shown["latency-p99"] / 990_000.0 - 1.0).abs() < 0.01, "{shown:?}");
    latency.record(u64::MAX);
    latency.record(u64::MAX);
    assert_eq!(metrics.snapshot("")["latency-max"], u64::MAX as f64);
}

#[test]
fn declaring_twice_gives_the_same_metric() {
    let metrics = Metrics::new();
    metrics.counter("cancels", "cancels", "").add(1);
    metrics.counter("cancels", "cancels", "").add(1);
    assert_eq!(metrics.snapshot("")["cancels"], 2.0);
}

#[test]
fn a_followed_counter_never_falls() {
    let metrics = Metrics::new();
    let underruns = metrics.counter("underruns", "underruns", "");
    underruns.follow(5);
    underruns.follow(3);
    assert_eq!(underruns.value(), 5);
}

#[test]
#[should_panic(expected = "declared as another kind")]
fn a_name_has_one_kind() {
    let metrics = Metrics::new();
    metrics.counter("x", "", "");
    metrics.gauge("x", "", "");
}

#[test]
#[should_panic(expected = "is not a metric's name")]
fn a_name_is_one_that_prometheus_takes() {
    Metrics::new().counter("Bad-Name", "", "");
}

#[test]
fn prometheus_text_is_the_format_to_the_letter() {
    let metrics = Metrics::new();
    metrics.counter("utterd_cancel_total", "cancels", "Cancels carried out.").add(3);
    metrics.gauge("utterd_gain_db", "decibels", "Back\\slash\nand line.").set(-0.5);
    metrics.gauge("utterd_inf", "none", "Infinite.").set(f64::NEG_INFINITY);
    let latency = metrics.histogram("utterd_say_us", "microseconds", "Say to sound.");
    metrics.histogram("utterd_unused_us", "microseconds", "Nothing yet.");
    latency.record(10);
    latency.record(20);
    let expected = "\
# HELP utterd_cancel_total Cancels carried out. Unit: cancels.
# TYPE utterd_cancel_total counter
utterd_cancel_total 3
# HELP utterd_gain_db Back\\\\slash\\nand line. Unit: decibels.
# TYPE utterd_gain_db gauge
utterd_gain_db -0.5
# HELP utterd_inf Infinite. Unit: none.
# TYPE utterd_inf gauge
utterd_inf -Inf
# HELP utterd_say_us Say to sound. Unit: microseconds.
# TYPE utterd_say_us summary
utterd_say_us{quantile=\"0.5\"} 10
utterd_say_us{quantile=\"0.99\"} 20
utterd_say_us{quantile=\"1\"} 20
utterd_say_us_sum 30
utterd_say_us_count 2
# HELP utterd_unused_us Nothing yet. Unit: microseconds.
# TYPE utterd_unused_us summary
utterd_unused_us{quantile=\"0.5\"} NaN
utterd_unused_us{quantile=\"0.99\"} NaN
utterd_unused_us{quantile=\"1\"} NaN
utterd_unused_us_sum 0
utterd_unused_us_count 0
";
    assert_eq!(metrics.export_prometheus(), expected);
}

#[test]
fn json_has_the_daemon_and_its_sessions() {
    let metrics = Metrics::new();
    let cancels = metrics.counter("cancels", "cancels", "");
    metrics.open_session("a\"b");
    cancels.add_for("a\"b", 2);
    let json: serde_json::Value = serde_json::from_str(&metrics.export_json()).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"daemon": {"cancels": 2.0}, "sessions": {"a\"b": {"cancels": 2.0}}})
    );
}

#[test]
fn many_threads_lose_nothing() {
    let metrics = Metrics::new();
    let cancels = metrics.counter("cancels", "cancels", "");
    let latency = metrics.histogram("latency", "us", "");
    metrics.open_session("a");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for value in 0..1000 {
                    cancels.add_for("a", 1);
                    latency.record_for("a", value);
                }
            });
        }
    });
    for scope in ["", "a"] {
        let shown = metrics.snapshot(scope);
        assert_eq!(
            (shown["cancels"], shown["latency-count"], shown["latency-max"]),
            (4000.0, 4000.0, 999.0)
        );
    }
}
