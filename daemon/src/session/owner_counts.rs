//! The audio owner's counters as metrics: the same numbers as the property `Counters`, for who scrapes instead of asking.

use std::collections::HashMap;

use crate::observe::Metrics;
use crate::observe::metrics::Counter;

/// The core's name, the metric's, its unit, its help. A test compares the first column with the core's list.
const ALL: [(&str, &str, &str, &str); 12] = [
    (
        "applied",
        "utterd_owner_applied_total",
        "transitions",
        "Transitions of the audio owner that were applied.",
    ),
    (
        "joined",
        "utterd_owner_joined_total",
        "requests",
        "Requests that shared a transition in flight.",
    ),
    (
        "already",
        "utterd_owner_already_total",
        "requests",
        "Requests for the state that held already.",
    ),
    (
        "stale",
        "utterd_owner_stale_total",
        "requests",
        "Requests of an older turn, or of a session that is not the owner.",
    ),
    (
        "refused",
        "utterd_owner_refused_total",
        "requests",
        "Requests that were refused with an error.",
    ),
    (
        "recoveries",
        "utterd_owner_recoveries_total",
        "recoveries",
        "Captures opened again after a closing.",
    ),
    (
        "capture-starts",
        "utterd_owner_capture_starts_total",
        "starts",
        "Captures opened because a session asked.",
    ),
    (
        "capture-stops",
        "utterd_owner_capture_stops_total",
        "stops",
        "Captures closed because a session asked, or ended.",
    ),
    (
        "playback-starts",
        "utterd_owner_playback_starts_total",
        "starts",
        "Turns of which a first sample was heard.",
    ),
    (
        "playback-stops",
        "utterd_owner_playback_stops_total",
        "stops",
        "Turns whose playback has ended.",
    ),
    (
        "route-asserts",
        "utterd_owner_route_asserts_total",
        "repairs",
        "Times that playback connections were repaired.",
    ),
    (
        "device-losses",
        "utterd_owner_device_losses_total",
        "losses",
        "Captures that the device closed by itself.",
    ),
];

pub(super) struct OwnerCounts(HashMap<&'static str, Counter>);

impl OwnerCounts {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let declared = ALL
            .iter()
            .map(|(counter, name, unit, help)| (*counter, metrics.counter(name, unit, help)));
        Self(declared.collect())
    }

    pub(super) fn add(&self, counter: &str, by: u64) {
        if let Some(metric) = self.0.get(counter) {
            metric.add(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_of_the_guard_is_a_metric_of_its_name() {
        let names: Vec<&str> = ALL.iter().map(|(counter, ..)| *counter).collect();
        assert_eq!(names, utterd_core::OWNER_COUNTERS);
        for (counter, metric, ..) in ALL {
            assert_eq!(metric, format!("utterd_owner_{}_total", counter.replace('-', "_")));
        }
    }
}
