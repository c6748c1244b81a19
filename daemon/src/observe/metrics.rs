//! The registry of metrics: each room declares what it measures, with unit and help, and keeps the handle; here they are kept and shown.
//!
//! - A metric has one value for the daemon and, if recorded `_for` a session, one for that session. A session's values live while it is open.
//! - Names carry their unit (`utterd_tx_gap_ms_max`); nothing is scaled on the way.
//! - Bounded: metrics by the declarations in the program, sessions by [`MAX_SESSIONS`], a histogram by its range (at most 12 KiB a session).
//!   What is recorded for a session that is not open counts for the daemon alone.
//! - Prometheus gets the daemon's values without a session label: labelled beside unlabelled would count twice in every `sum()`, and ids
//!   of sessions are without bound over time. Snapshot and JSON have the sessions.
//!
//! Not here: a clock. Not for real-time threads: counters are one atomic, but histograms and `_for` lock.

mod distribution;
mod export;

use distribution::Distribution;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// As many as `[limits] sessions` allows.
pub const MAX_SESSIONS: usize = 65_536;

/// The registry; clones are the same registry.
#[derive(Clone, Default)]
pub struct Metrics {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    families: Mutex<BTreeMap<&'static str, Family>>,
    sessions: RwLock<HashMap<String, Scope>>,
}

type Scope = Mutex<BTreeMap<&'static str, Cell>>;

struct Family {
    unit: &'static str,
    help: &'static str,
    cell: Cell,
}

#[derive(Clone)]
enum Cell {
    Counter(Arc<AtomicU64>),
    /// The bits of an f64.
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Mutex<Distribution>>),
}

impl Metrics {
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// A number that only grows. Declaring twice gives the same one. `[any but rt]`
    ///
    /// # Panics
    /// If the name is not of `[a-z0-9_]`, or declared as another kind: a mistake in the program, found by the first test that starts a room.
    pub fn counter(&self, name: &'static str, unit: &'static str, help: &'static str) -> Counter {
        match self.declare(name, unit, help, Kind::Counter) {
            Cell::Counter(total) => Counter {
                name,
                total,
                shared: self.shared.clone(),
            },
            _ => panic!("{name} is declared as another kind of metric"),
        }
    }

    /// A number that goes up and down, or keeps the largest seen. `[any but rt]`
    ///
    /// # Panics
    /// As [`Metrics::counter`].
    pub fn gauge(&self, name: &'static str, unit: &'static str, help: &'static str) -> Gauge {
        match self.declare(name, unit, help, Kind::Gauge) {
            Cell::Gauge(value) => Gauge {
                name,
                value,
                shared: self.shared.clone(),
            },
            _ => panic!("{name} is declared as another kind of metric"),
        }
    }

    /// A distribution of whole numbers in `unit`, shown as p50, p99, max and count. `[any but rt]`
    ///
    /// # Panics
    /// As [`Metrics::counter`].
    pub fn histogram(&self, name: &'static str, unit: &'static str, help: &'static str) -> Histogram {
        match self.declare(name, unit, help, Kind::Histogram) {
            Cell::Histogram(total) => Histogram {
                name,
                total,
                shared: self.shared.clone(),
            },
            _ => panic!("{name} is declared as another kind of metric"),
        }
    }

    /// From now on `session` has values of its own, beginning with none. `[any but rt]`
    pub fn open_session(&self, session: &str) {
        let mut sessions = self.shared.sessions.write().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() < MAX_SESSIONS {
            sessions.entry(session.to_owned()).or_default();
        }
    }

    /// Whether `session` has values of its own. `[any but rt]`
    pub fn has_session(&self, session: &str) -> bool {
        self.shared
            .sessions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(session)
    }

    /// Drops the session's values; the daemon's keep what it added. `[any but rt]`
    pub fn close_session(&self, session: &str) {
        self.shared.sessions.write().unwrap_or_else(PoisonError::into_inner).remove(session);
    }

    /// Flat numbers by name; `scope` is "" for the daemon or the id of an open session, of others nothing is known. A histogram gives
    /// `-count` and, once it has values, `-p50`, `-p99` and `-max`; a session shows what was recorded for it. `[any but rt]`
    pub fn snapshot(&self, scope: &str) -> BTreeMap<String, f64> {
        let mut values = BTreeMap::new();
        if scope.is_empty() {
            let families = self.shared.families.lock().unwrap_or_else(PoisonError::into_inner);
            families.iter().for_each(|(name, family)| family.cell.show(name, &mut values));
        } else {
            let sessions = self.shared.sessions.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(session) = sessions.get(scope) {
                session
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .iter()
                    .for_each(|(name, cell)| cell.show(name, &mut values));
            }
        }
        values
    }

    fn declare(&self, name: &'static str, unit: &'static str, help: &'static str, kind: Kind) -> Cell {
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_');
        assert!(is_name, "{name:?} is not a metric's name");
        let mut families = self.shared.families.lock().unwrap_or_else(PoisonError::into_inner);
        families
            .entry(name)
            .or_insert_with(|| Family {
                unit,
                help,
                cell: kind.cell(),
            })
            .cell
            .clone()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn cell(self) -> Cell {
        match self {
            Kind::Counter => Cell::Counter(Arc::default()),
            Kind::Gauge => Cell::Gauge(Arc::default()),
            Kind::Histogram => Cell::Histogram(Arc::default()),
        }
    }
}

impl Cell {
    fn show(&self, name: &str, values: &mut BTreeMap<String, f64>) {
        match self {
            Cell::Counter(total) => drop(values.insert(name.to_owned(), total.load(Relaxed) as f64)),
            Cell::Gauge(value) => drop(values.insert(name.to_owned(), f64::from_bits(value.load(Relaxed)))),
            Cell::Histogram(values_seen) => {
                let seen = values_seen.lock().unwrap_or_else(PoisonError::into_inner).summary();
                values.insert(format!("{name}-count"), seen.count as f64);
                // A median of nothing would be a lie.
                if seen.count > 0 {
                    values.insert(format!("{name}-p50"), seen.p50 as f64);
                    values.insert(format!("{name}-p99"), seen.p99 as f64);
                    values.insert(format!("{name}-max"), seen.max as f64);
                }
            }
        }
    }
}

impl Shared {
    /// Runs `record` on the session's own cell, if the session is open.
    fn with_session(&self, session: &str, name: &'static str, kind: Kind, record: impl FnOnce(&Cell)) {
        let sessions = self.sessions.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(scope) = sessions.get(session) {
            let mut scope = scope.lock().unwrap_or_else(PoisonError::into_inner);
            record(scope.entry(name).or_insert_with(|| kind.cell()));
        }
    }
}

/// A number that only grows.
#[derive(Clone)]
pub struct Counter {
    name: &'static str,
    total: Arc<AtomicU64>,
    shared: Arc<Shared>,
}

impl Counter {
    pub fn add(&self, n: u64) {
        self.total.fetch_add(n, Relaxed);
    }

    /// For the daemon and for the session.
    pub fn add_for(&self, session: &str, n: u64) {
        self.add(n);
        self.shared.with_session(session, self.name, Kind::Counter, |cell| {
            if let Cell::Counter(total) = cell {
                total.fetch_add(n, Relaxed);
            }
        });
    }

    /// Follows a count kept elsewhere, such as a real-time thread's; never falls.
    pub fn follow(&self, total: u64) {
        self.total.fetch_max(total, Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.total.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Clone)]
pub struct Gauge {
    name: &'static str,
    value: Arc<AtomicU64>,
    shared: Arc<Shared>,
}

impl Gauge {
    pub fn set(&self, value: f64) {
        self.value.store(value.to_bits(), Relaxed);
    }

    /// For the session alone: what the daemon's value is, its room must say with [`Gauge::set`].
    pub fn set_for(&self, session: &str, value: f64) {
        self.shared.with_session(session, self.name, Kind::Gauge, |cell| {
            if let Cell::Gauge(bits) = cell {
                bits.store(value.to_bits(), Relaxed);
            }
        });
    }

    /// Keeps the largest value.
    pub fn raise(&self, value: f64) {
        raise(&self.value, value);
    }

    /// For the daemon and for the session.
    pub fn raise_for(&self, session: &str, value: f64) {
        self.raise(value);
        self.shared.with_session(session, self.name, Kind::Gauge, |cell| {
            if let Cell::Gauge(bits) = cell {
                raise(bits, value);
            }
        });
    }

    pub fn value(&self) -> f64 {
        f64::from_bits(self.value.load(Relaxed))
    }
}

fn raise(bits: &AtomicU64, value: f64) {
    let updated = bits.fetch_update(Relaxed, Relaxed, |old| Some(f64::from_bits(old).max(value).to_bits()));
    debug_assert!(updated.is_ok(), "the closure always gives a value");
}

/// A distribution.
#[derive(Clone)]
pub struct Histogram {
    name: &'static str,
    total: Arc<Mutex<Distribution>>,
    shared: Arc<Shared>,
}

impl Histogram {
    pub fn record(&self, value: u64) {
        self.total.lock().unwrap_or_else(PoisonError::into_inner).record(value);
    }

    /// For the daemon and for the session.
    pub fn record_for(&self, session: &str, value: u64) {
        self.record(value);
        self.shared.with_session(session, self.name, Kind::Histogram, |cell| {
            if let Cell::Histogram(seen) = cell {
                seen.lock().unwrap_or_else(PoisonError::into_inner).record(value);
            }
        });
    }
}

#[cfg(test)]
mod tests;
