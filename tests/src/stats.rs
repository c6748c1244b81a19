//! A distribution and its table: p50, p95, p99 and the maximum, never a mean alone.

use std::fmt;

#[derive(Clone, Debug, Default)]
pub struct Distribution {
    sorted: Vec<f64>,
}

impl Distribution {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Distribution {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Distribution { sorted }
    }

    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The value that `p` percent do not exceed (nearest rank); NaN of nothing.
    pub fn percentile(&self, p: f64) -> f64 {
        if self.sorted.is_empty() {
            return f64::NAN;
        }
        let rank = (p / 100.0 * self.sorted.len() as f64).ceil() as usize;
        self.sorted[rank.clamp(1, self.sorted.len()) - 1]
    }

    pub fn p50(&self) -> f64 {
        self.percentile(50.0)
    }

    pub fn p99(&self) -> f64 {
        self.percentile(99.0)
    }

    pub fn max(&self) -> f64 {
        self.percentile(100.0)
    }
}

/// Rows of distributions under one heading.
pub struct Table {
    title: String,
    rows: Vec<(String, Distribution, String)>,
}

impl Table {
    pub fn new(title: &str) -> Table {
        Table {
            title: title.to_owned(),
            rows: Vec::new(),
        }
    }

    /// `target` is what the row should reach, in words.
    pub fn row(&mut self, name: &str, values: Distribution, target: &str) -> &mut Table {
        self.rows.push((name.to_owned(), values, target.to_owned()));
        self
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = self
            .rows
            .iter()
            .map(|r| r.0.chars().count())
            .max()
            .unwrap_or(0)
            .max(self.title.chars().count());
        writeln!(
            f,
            "{:<wide$}  {:>6} {:>9} {:>9} {:>9} {:>9}  target",
            self.title, "n", "p50", "p95", "p99", "max"
        )?;
        for (name, values, target) in &self.rows {
            let p = |p| values.percentile(p);
            writeln!(
                f,
                "{name:<wide$}  {:>6} {:>9.2} {:>9.2} {:>9.2} {:>9.2}  {target}",
                values.count(),
                p(50.0),
                p(95.0),
                p(99.0),
                p(100.0)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let d = Distribution::of((1..=200).map(f64::from));
        assert_eq!((d.p50(), d.percentile(95.0), d.p99(), d.max()), (100.0, 190.0, 198.0, 200.0));
        assert_eq!(Distribution::of([7.0]).p50(), 7.0);
        assert!(Distribution::default().p50().is_nan());
    }
}
