//! The contract between utterd and its plugins, and nothing else: the C ABI ([`abi`]), the JSON documents of it ([`json`]) and the
//! comfortable way to write a plugin in Rust ([`sdk`]). It has never heard of any other room of the house.
//!
//! A whole plugin, built and loaded by the tests (`examples/hello.rs`; `examples/hello.c` is the same in C):
//!
//! ```
//! use utterd_plugin_api::prelude::*;
//!
//! struct Beep;
//! impl Tts for Beep {
//!     type Config = NoConfig;
//!     fn new(_: Host, _: &str, _: NoConfig) -> Result<Self> { Ok(Beep) }
//!     fn describe(&self) -> TtsDescription { description([voice("beep", "en", 16_000)]) }
//!     fn speak(&self, req: &Speak, out: &mut AudioOut) -> Result<()> { // blocking, on a thread of the host
//!         req.voice_among(&["beep"])?;
//!         out.set_rate(16_000)?;
//!         for word in req.words() { out.word(&word)?; out.write(&[0.1; 3_200])?; } // Err(Cancelled) ends it
//!         Ok(())
//!     }
//! }
//! export_plugin!("beep", tts: Beep);
//! # fn main() {}
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![warn(missing_docs)]

#[allow(missing_docs, reason = "the header documents every field; this is its mirror")]
pub mod abi;
pub mod json;
pub mod sdk;

/// What `use utterd_plugin_api::prelude::*` brings.
pub mod prelude {
    pub use crate::export_plugin;
    pub use crate::json::{DetectorDescription, TtsDescription, VoiceDescription};
    pub use crate::sdk::{
        AudioOut, Detector, Edges, Error, Event, Frame, Heard, Host, Listen, MarkKind, NoConfig, Result, Sensitivity, Speak, StreamConfig,
        Tts, Word, description, voice,
    };
}
