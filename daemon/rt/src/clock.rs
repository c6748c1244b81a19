//! When each frame of a period is heard.

/// The time of every frame of a period.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) at_us: u64,
    pub(crate) rate: u32,
}

impl Clock {
    pub(crate) fn at(self, frame: usize) -> u64 {
        self.at_us
            .saturating_add((frame as u64).saturating_mul(1_000_000) / u64::from(self.rate))
    }
}
