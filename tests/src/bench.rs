//! What the programs that measure share: how busy the machine was, cargo, and the rows of a printed table (`stats::Table`) read back.

use crate::bins::workspace;
use std::process::Command;

/// The load average of 1, 5 and 15 minutes, and the cores it falls on.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<&str> = text.split(' ').take(3).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} on {cores} cores", averages.join(" "))
}

/// The cargo that runs this program, in the workspace.
pub fn cargo(args: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(args);
    cargo
}

/// A row of a table, with the heading it stood under.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub table: String,
    pub name: String,
    pub count: u64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

/// Every row of every table in what a program printed; other lines are passed over.
pub fn rows(printed: &str) -> Vec<Row> {
    let mut table = String::new();
    let mut rows = Vec::new();
    for line in printed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some(n) = words.windows(5).position(|w| w == ["n", "p50", "p95", "p99", "max"]) {
            table = words[..n].join(" ");
            continue;
        }
        let found = words.windows(5).enumerate().find_map(|(at, w)| {
            let values: Vec<f64> = w.iter().map_while(|word| word.parse().ok()).collect();
            Some((at, <[f64; 5]>::try_from(values).ok()?))
        });
        if let Some((at, [count, p50, p95, p99, max])) = found {
            rows.push(Row {
                table: table.clone(),
                name: words[..at].join(" "),
                count: count as u64,
                p50,
                p95,
                p99,
                max,
            });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Distribution, Table};

    #[test]
    fn a_printed_table_is_read_back() {
        let mut table = Table::new("48000 Hz, 128 frames (2.67 ms a period), ms");
        table.row("cut published → last sound", Distribution::of([1.0, 2.5]), "at most 7.67, always");
        table.row("  a part of it", Distribution::of([]), "");
        let found = rows(&format!("before\n{table}\nafter 1 2 3\n"));
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].table, "48000 Hz, 128 frames (2.67 ms a period), ms");
        assert_eq!((found[0].name.as_str(), found[0].count), ("cut published → last sound", 2));
        assert_eq!((found[0].p50, found[0].max), (1.0, 2.5));
        assert!(found[1].p50.is_nan());
    }
}
