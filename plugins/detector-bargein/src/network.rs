//! The decision's network: features, a dense layer, a gated recurrent unit (GRU), three outputs; run by plain loops.
//!
//! Weights come from `model/bargein.f16`, written by `training/train.py`: little-endian half floats in the order of [`Network::new`].
//! Invariants: no allocation after `new`; a state that is not finite is forgotten. Not here: thresholds.

use crate::features::FEATURES;

pub(crate) const UNITS: usize = 64;
pub(crate) const OUTPUTS: usize = 3;
static MODEL: &[u8] = include_bytes!("../model/bargein.f16");

/// Row-major `rows × columns`, and a bias.
struct Layer {
    weights: Vec<f32>,
    bias: Vec<f32>,
    columns: usize,
}

pub(crate) struct Network {
    input: Layer,
    /// Update, reset and candidate gates one below the other: of the input, and of the state.
    gates_input: Layer,
    gates_state: Layer,
    output: Layer,
    hidden: [f32; UNITS],
    state: [f32; UNITS],
    from_input: [f32; 3 * UNITS],
    from_state: [f32; 3 * UNITS],
}

impl Network {
    pub(crate) fn new() -> Network {
        let mut numbers = MODEL.chunks_exact(2).map(|b| half(u16::from_le_bytes([b[0], b[1]])));
        let mut layer = |rows: usize, columns: usize| {
            let mut take = |n: usize| -> Vec<f32> { (0..n).map(|_| numbers.next().unwrap_or(0.0)).collect() };
            Layer {
                weights: take(rows * columns),
                bias: take(rows),
                columns,
            }
        };
        Network {
            input: layer(UNITS, FEATURES),
            gates_input: layer(3 * UNITS, UNITS),
            gates_state: layer(3 * UNITS, UNITS),
            output: layer(OUTPUTS, UNITS),
            hidden: [0.0; UNITS],
            state: [0.0; UNITS],
            from_input: [0.0; 3 * UNITS],
            from_state: [0.0; 3 * UNITS],
        }
    }

    pub(crate) fn reset(&mut self) {
        self.state.fill(0.0);
    }

    /// Probabilities after one more frame of features.
    pub(crate) fn feed(&mut self, features: &[f32; FEATURES]) -> [f32; OUTPUTS] {
        self.input.apply(features, &mut self.hidden);
        self.hidden.iter_mut().for_each(|h| *h = h.max(0.0));
        self.gates_input.apply(&self.hidden, &mut self.from_input);
        self.gates_state.apply(&self.state, &mut self.from_state);
        for n in 0..UNITS {
            let update = sigmoid(self.from_input[n] + self.from_state[n]);
            let reset = sigmoid(self.from_input[UNITS + n] + self.from_state[UNITS + n]);
            let candidate = (self.from_input[2 * UNITS + n] + reset * self.from_state[2 * UNITS + n]).tanh();
            self.state[n] = update * self.state[n] + (1.0 - update) * candidate;
        }
        if !self.state.iter().all(|s| s.is_finite()) {
            self.reset();
        }
        let mut out = [0.0; OUTPUTS];
        self.output.apply(&self.state, &mut out);
        out.map(sigmoid)
    }
}

impl Layer {
    fn apply(&self, input: &[f32], out: &mut [f32]) {
        for ((row, bias), out) in self.weights.chunks_exact(self.columns).zip(&self.bias).zip(out) {
            *out = bias + dot(row, input);
        }
    }
}

/// In eight sums side by side: one alone would wait for itself at every addition.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (mut left, mut right) = (a.chunks_exact(8), b.chunks_exact(8));
    for (x, y) in (&mut left).zip(&mut right) {
        for n in 0..8 {
            sums[n] += x[n] * y[n];
        }
    }
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// IEEE 754 half precision.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff) / 1024.0);
    sign * match exponent {
        0 => fraction * 2f32.powi(-14),
        _ => (1.0 + fraction) * 2f32.powi(exponent - 15),
    }
}
