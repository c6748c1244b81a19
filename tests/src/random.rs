//! A small seeded generator (SplitMix64): random moments that a failing run can repeat from the seed it printed.

pub struct Random(u64);

impl Random {
    /// From `UTTERD_TEST_SEED`, else from the clock; the seed is printed so that a failure can be repeated.
    pub fn seeded() -> Random {
        let seed = std::env::var("UTTERD_TEST_SEED")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or_else(crate::clock::now_us);
        eprintln!("seed: UTTERD_TEST_SEED={seed}");
        Random(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `low..high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.bits() % (high - low)
    }
}

/// What several lives bring that run side by side, each from a seed of its own.
pub fn side_by_side<T: Send>(lives: usize, live: impl Fn(Random) -> Vec<T> + Sync) -> Vec<T> {
    let mut random = Random::seeded();
    let seeds: Vec<u64> = (0..lives).map(|_| random.bits()).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = seeds
            .into_iter()
            .map(|seed| {
                scope.spawn({
                    let live = &live;
                    move || live(Random::from(seed))
                })
            })
            .collect();
        let ended = threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
        ended.flatten().collect()
    })
}

impl From<u64> for Random {
    fn from(seed: u64) -> Self {
        Random(seed)
    }
}
