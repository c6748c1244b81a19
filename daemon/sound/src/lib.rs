//! Sound files as a stream of mono samples: found safely, decoded with bounded memory.
//!
//! `folders` opens what a path or `file:` URI names, below the folders that an operator chose and nowhere else; `decoder` turns a WAV, FLAC or
//! Ogg Vorbis file into samples, piece by piece, whatever its length; `source` is what stands between the decoder's library and the file, and
//! `wav` reads a WAV's head.
//! Invariants: nothing is opened that is not a regular file, and nobody waits for a FIFO; no symlink leads out of the folders; a look at a file's
//! head reads a bounded part of it; a pass over a file gives the same samples each time, so a loop has no seam.
//! Not here: what is played when (core), resampling and the store (tx), D-Bus. `utterctl` decodes with this crate, too.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod decoder;
mod error;
mod folders;
mod source;
mod wav;

pub use decoder::Decoder;
pub use error::SoundError;
pub use folders::{Folders, open_file, path_of, uri_of};
