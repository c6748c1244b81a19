//! One histogram's values: quantiles within 1 %, count, sum and maximum exact.

/// Values above count as this one in the quantiles: 2^36 is 19 hours in microseconds, 64 GiB in bytes.
const CEILING: u64 = 1 << 36;
const SIGNIFICANT_DIGITS: u8 = 2;

pub(super) struct Distribution {
    /// Grows by 512 bytes for each doubling of the largest value. In u32 because most live in sessions; a cell that is full stays full.
    cells: hdrhistogram::Histogram<u32>,
    count: u64,
    sum: u64,
    max: u64,
}

pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) sum: u64,
    pub(super) max: u64,
    pub(super) p50: u64,
    pub(super) p99: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        let cells = hdrhistogram::Histogram::new(SIGNIFICANT_DIGITS).expect("0 to 5 digits are allowed");
        Distribution {
            cells,
            count: 0,
            sum: 0,
            max: 0,
        }
    }
}

impl Distribution {
    pub(super) fn record(&mut self, value: u64) {
        self.cells
            .record(value.min(CEILING))
            .expect("the cells grow to the ceiling by themselves");
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
    }

    pub(super) fn summary(&self) -> Summary {
        // A cell reports its upper edge, which may lie above everything seen.
        let at = |quantile| self.cells.value_at_quantile(quantile).min(self.max);
        Summary {
            count: self.count,
            sum: self.sum,
            max: self.max,
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}
