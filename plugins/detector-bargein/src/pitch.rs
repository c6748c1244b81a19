//! How periodic a signal is, and with what period: the mark of a voice that a cough, a click or a street lacks.
//!
//! Works on the latest 40 ms at 4 kHz; the range is 70 to 400 Hz.

use crate::product::{dot, twice};

const WINDOW: usize = 160;
const SHORTEST: usize = 10;
const LONGEST: usize = 57;

pub(crate) struct Pitch {
    factor: usize,
    /// Two one-pole low-passes in a row, at about 900 Hz.
    low: [f32; 2],
    pole: f32,
    phase: usize,
    latest: [f32; WINDOW],
    /// 0 (noise) to 1 (a steady vowel).
    pub(crate) strength: f32,
    /// 0 (high) to 1 (low).
    pub(crate) period: f32,
}

impl Pitch {
    pub(crate) fn new(rate: u32) -> Pitch {
        Pitch {
            factor: (rate / 4_000) as usize,
            low: [0.0; 2],
            pole: (-std::f32::consts::TAU * 900.0 / rate as f32).exp(),
            phase: 0,
            latest: [0.0; WINDOW],
            strength: 0.0,
            period: 0.0,
        }
    }

    pub(crate) fn reset(&mut self) {
        self.low = [0.0; 2];
        self.phase = 0;
        self.latest = [0.0; WINDOW];
        self.strength = 0.0;
        self.period = 0.0;
    }

    pub(crate) fn feed(&mut self, block: &[f32]) {
        let fresh = block.len() / self.factor;
        self.latest.copy_within(fresh.., 0);
        let mut at = WINDOW - fresh;
        for sample in block {
            self.low[0] = sample + self.pole * (self.low[0] - sample);
            self.low[1] = self.low[0] + self.pole * (self.low[1] - self.low[0]);
            self.phase += 1;
            if self.phase == self.factor {
                self.phase = 0;
                if at < WINDOW {
                    self.latest[at] = self.low[1];
                    at += 1;
                }
            }
        }
        self.measure();
    }

    fn measure(&mut self) {
        self.strength = 0.0;
        self.period = 0.0;
        if self.latest.iter().map(|s| s * s).sum::<f32>() < 1e-12 {
            return;
        }
        let mean = self.latest.iter().sum::<f32>() / WINDOW as f32;
        let mut block = [0.0f32; WINDOW];
        for (b, s) in block.iter_mut().zip(&self.latest) {
            *b = s - mean;
        }
        let count = WINDOW - LONGEST;
        let head = &block[LONGEST..];
        let own: f32 = head.iter().map(|s| s * s).sum::<f32>() + 1e-9 * count as f32;
        let mut shifted: f32 = block[LONGEST - SHORTEST + 1..][..count].iter().map(|s| s * s).sum();
        let mut products = [0.0f32; LONGEST - SHORTEST + 1];
        correlate(&block, &mut products);
        let (mut best, mut at) = (0.0f32, SHORTEST);
        for lag in SHORTEST..=LONGEST {
            let from = LONGEST - lag;
            let (enters, leaves) = (block[from], block[from + count]);
            shifted += enters * enters - leaves * leaves;
            let likeness = products[lag - SHORTEST] / (own * (shifted.max(0.0) + 1e-9 * count as f32)).sqrt();
            // A multiple of the period fits as well: the shortest wins unless a longer one is clearly better.
            if likeness > best + 0.02 {
                best = likeness;
                at = lag;
            }
        }
        self.strength = best.clamp(0.0, 1.0);
        self.period = (at - SHORTEST) as f32 / (LONGEST - SHORTEST) as f32;
    }
}

twice! {
    /// The block's end against itself, `SHORTEST` samples earlier and more.
    fn correlate(block: &[f32; WINDOW], products: &mut [f32; LONGEST - SHORTEST + 1]) {
        for (n, product) in products.iter_mut().enumerate() {
            *product = dot(&block[LONGEST..], &block[LONGEST - SHORTEST - n..][..WINDOW - LONGEST]);
        }
    }
}
