//! What a daemon's threads cost, as the kernel counts it.

use std::collections::BTreeMap;
use std::fs;

use crate::clock::now_us;

/// Microseconds on a core by thread name, and the moment at which that was read.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    pub us: u64,
    pub threads: Vec<Thread>,
}

#[derive(Clone, Debug)]
pub struct Thread {
    pub name: String,
    pub us: u64,
}

impl Cost {
    /// Of this process up to now; threads of one name are one.
    pub fn of(pid: u32) -> Cost {
        let mut threads: BTreeMap<String, u64> = BTreeMap::new();
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).map(|d| d.flatten().map(|e| e.path()).collect::<Vec<_>>());
        for task in tasks.unwrap_or_default() {
            // A thread may end meanwhile.
            let (Ok(name), Ok(spent)) = (fs::read_to_string(task.join("comm")), fs::read_to_string(task.join("schedstat"))) else {
                continue;
            };
            let ns: u64 = spent.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            *threads.entry(name.trim().to_owned()).or_default() += ns / 1_000;
        }
        Cost {
            us: now_us(),
            threads: threads.into_iter().map(|(name, us)| Thread { name, us }).collect(),
        }
    }

    /// What was spent since then, dearest first.
    #[must_use]
    pub fn since(&self, before: &Cost) -> Cost {
        let then = |name: &str| before.threads.iter().find(|t| t.name == name).map_or(0, |t| t.us);
        let spent = |t: &Thread| Thread {
            name: t.name.clone(),
            us: t.us.saturating_sub(then(&t.name)),
        };
        let mut threads: Vec<Thread> = self.threads.iter().map(spent).collect();
        threads.sort_by_key(|t| std::cmp::Reverse(t.us));
        Cost {
            us: self.us - before.us,
            threads,
        }
    }

    /// Percent of a core.
    pub fn percent(&self, us: u64) -> f64 {
        100.0 * us as f64 / self.us.max(1) as f64
    }

    pub fn total(&self) -> f64 {
        self.percent(self.threads.iter().map(|t| t.us).sum())
    }
}
