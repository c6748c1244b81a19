//! The shipped barge-in detector.

mod bands;
mod canceller;
mod engine;
mod features;
mod fourier;
mod network;
mod pitch;
mod rates;

#[doc(hidden)]
pub mod training {
    //! What `training/` and the bench need besides: the features and the raw probabilities. No part of the plugin's interface.
    pub use crate::features::FEATURES;

    /// One stream.
    pub struct Probe(crate::engine::Engine);

    impl Probe {
        /// 8, 16 or 48 kHz.
        pub fn new(rate: u32) -> Probe {
            Probe(crate::engine::Engine::new(rate))
        }

        /// Calls `frame` every 10 ms with the features and the three probabilities.
        pub fn feed(&mut self, near: &[f32], far: Option<&[f32]>, clean: Option<&mut [f32]>, mut frame: impl FnMut(&[f32; FEATURES], [f32; 3])) {
            self.0.feed(near, far, clean, |_, probabilities, features| frame(features, probabilities));
        }
    }
}
