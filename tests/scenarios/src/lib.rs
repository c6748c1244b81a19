//! Labelled conversations from a seed: what the agent plays, what the microphone or the line brings back, and when the user speaks.
//!
//! One seed gives one scenario on every machine, given the same corpus. Voices, music and kinds of noise of the tuning set never
//! occur in the test set. The same code makes training data, the bench's test set and WAV files for `utterd-detect`. Not here:
//! any detector.

pub mod corpus;
pub mod dice;
pub mod events;
pub mod make;
pub mod noise;
pub mod path;
#[cfg(feature = "peers")]
pub mod peers;
pub mod roc;
pub mod score;
pub mod signal;
pub mod tracks;
