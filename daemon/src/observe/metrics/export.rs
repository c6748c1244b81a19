//! The registry as text: Prometheus' exposition format 0.0.4 and JSON.

use super::{Cell, Metrics};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

impl Metrics {
    /// The daemon's values. Histograms are summaries; their quantile "1" is the maximum. `[any but rt]`
    pub fn export_prometheus(&self) -> String {
        let families = self.shared.families.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (name, family) in families.iter() {
            let kind = match family.cell {
                Cell::Counter(_) => "counter",
                Cell::Gauge(_) => "gauge",
                Cell::Histogram(_) => "summary",
            };
            let help = escape_help(family.help);
            let values = samples(name, &family.cell);
            // Writing to a String does not fail.
            write!(
                text,
                "# HELP {name} {help} Unit: {unit}.\n# TYPE {name} {kind}\n{values}",
                unit = family.unit
            )
            .unwrap_or_default();
        }
        text
    }

    /// `{"daemon": {NAME: NUMBER}, "sessions": {ID: {NAME: NUMBER}}}`, with the names of [`Metrics::snapshot`]. `[any but rt]`
    pub fn export_json(&self) -> String {
        let sessions: Vec<_> = self
            .shared
            .sessions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect();
        // One that closes meanwhile is shown empty.
        let sessions: BTreeMap<_, _> = sessions.into_iter().map(|id| (id.clone(), self.snapshot(&id))).collect();
        serde_json::json!({ "daemon": self.snapshot(""), "sessions": sessions }).to_string()
    }
}

fn samples(name: &str, cell: &Cell) -> String {
    match cell {
        Cell::Counter(total) => format!("{name} {}\n", total.load(Relaxed)),
        Cell::Gauge(value) => format!("{name} {}\n", number(f64::from_bits(value.load(Relaxed)))),
        Cell::Histogram(seen) => {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).summary();
            let quantiles = [("0.5", seen.p50), ("0.99", seen.p99), ("1", seen.max)];
            // Prometheus' word for "nothing seen yet".
            let value = |value: u64| if seen.count == 0 { "NaN".to_owned() } else { value.to_string() };
            let lines: String = quantiles
                .iter()
                .map(|&(q, v)| format!("{name}{{quantile=\"{q}\"}} {}\n", value(v)))
                .collect();
            format!("{lines}{name}_sum {}\n{name}_count {}\n", seen.sum, seen.count)
        }
    }
}

fn number(value: f64) -> String {
    if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

fn escape_help(help: &str) -> String {
    help.replace('\\', "\\\\").replace('\n', "\\n")
}
