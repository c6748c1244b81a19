//! The decision's network: features, a dense layer, a gated recurrent unit (GRU), three outputs; run by the loops of `product`.
//!
//! Weights come from `model/bargein.f16`, written by `training/train.py`: little-endian half floats in the order of [`Weights::read`].
//! Invariants: no allocation after `new`; a state that is not finite is forgotten. Not here: thresholds.

use crate::features::FEATURES;
use crate::product::{Matrix, numbers, product, sigmoid, tanh, twice};
use std::sync::{Arc, LazyLock};

pub(crate) const UNITS: usize = 256;
pub(crate) const OUTPUTS: usize = 3;
static MODEL: &[u8] = include_bytes!("../model/bargein.f16");

/// All that streams share: 1.8 MB.
struct Weights {
    input: Matrix,
    /// Update, reset and candidate gates one below the other: of the input, and of the state.
    gates_input: Matrix,
    gates_state: Matrix,
    output: Matrix,
}

static SHIPPED: LazyLock<Arc<Weights>> = LazyLock::new(|| Arc::new(Weights::read(MODEL)));

pub(crate) struct Network {
    weights: Arc<Weights>,
    hidden: [f32; UNITS],
    state: [f32; UNITS],
    from_input: [f32; 3 * UNITS],
    from_state: [f32; 3 * UNITS],
}

impl Weights {
    fn read(model: &[u8]) -> Weights {
        let mut numbers = numbers(model);
        let mut matrix = |rows, columns| Matrix::read(&mut numbers, rows, columns);
        Weights {
            input: matrix(UNITS, FEATURES),
            gates_input: matrix(3 * UNITS, UNITS),
            gates_state: matrix(3 * UNITS, UNITS),
            output: matrix(OUTPUTS, UNITS),
        }
    }
}

impl Network {
    pub(crate) fn new() -> Network {
        Network::of(Arc::clone(&SHIPPED))
    }

    /// With other weights than those shipped.
    pub(crate) fn with(model: &[u8]) -> Network {
        Network::of(Arc::new(Weights::read(model)))
    }

    fn of(weights: Arc<Weights>) -> Network {
        Network {
            weights,
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
        product(&self.weights.input, features, &mut self.hidden);
        self.hidden.iter_mut().for_each(|h| *h = h.max(0.0));
        product(&self.weights.gates_input, &self.hidden, &mut self.from_input);
        product(&self.weights.gates_state, &self.state, &mut self.from_state);
        recall(&self.from_input, &self.from_state, &mut self.state);
        if !self.state.iter().all(|s| s.is_finite()) {
            self.reset();
        }
        let mut out = [0.0; OUTPUTS];
        product(&self.weights.output, &self.state, &mut out);
        out.map(sigmoid)
    }
}

twice! {
    /// The gated recurrent unit: update, reset and candidate stand one behind the other.
    fn recall(input: &[f32; 3 * UNITS], before: &[f32; 3 * UNITS], state: &mut [f32; UNITS]) {
        for (n, state) in state.iter_mut().enumerate() {
            let update = sigmoid(input[n] + before[n]);
            let reset = sigmoid(input[UNITS + n] + before[UNITS + n]);
            let candidate = tanh(input[2 * UNITS + n] + reset * before[2 * UNITS + n]);
            *state = update * *state + (1.0 - update) * candidate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_has_a_number_for_every_weight_and_no_more() {
        let weights = UNITS * (FEATURES + 1) + 2 * 3 * UNITS * (UNITS + 1) + OUTPUTS * (UNITS + 1);
        assert_eq!(MODEL.len(), 2 * weights);
    }
}
