//! The Rust SDK: write a trait, export it, and the C ABI stays out of sight.
//!
//! What the glue guarantees: no panic crosses the boundary (it becomes `UT_EPANIC` with its words, and the plugin's own panic hook writes one
//! line to the host's log instead of a backtrace to stderr), a peer's struct is copied before it is looked at, and nothing is freed across.
//! Not here yet: the trait of telephony adapters; their C structs are drafts in [`crate::abi`].

mod detector;
mod edges;
mod entry;
mod error;
mod glue;
mod host;
mod out;
mod sensitivity;
mod speak;
mod tts;

pub use detector::{Detector, Event, Frame, Heard, Listen, StreamConfig};
pub use edges::Edges;
#[doc(hidden)]
pub use entry::{__factory, __init, __manifest_bytes};
pub use error::{Error, Result};
pub use host::{Dir, Host};
pub use out::{AudioOut, MarkKind};
pub use sensitivity::Sensitivity;
pub use speak::{Speak, Word};
pub use tts::{NoConfig, Tts, description, voice};

#[doc(hidden)]
pub use glue::{__detector_table, __tts_table};
