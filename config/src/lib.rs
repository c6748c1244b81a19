//! utterd's configuration: the shipped `utterd.toml` and the code that reads it.
//!
//! Three steps, three types: a `Fragment` is one file as written, `Merged` is all of them laid over each other,
//! [`Settings`] is what the rooms receive: checked, complete, and without a trace of TOML.
//!
//! Invariants: a key that nobody reads is an error, never ignored; every value names its file and line until it has been checked;
//! each file is checked by itself, so a mistake is reported although a later file would hide it; all mistakes are told at once.
//! The list of keys stands once, in `check.rs` (those of lexicon files in `lexicon.rs`): what is asked for there is what exists.
//!
//! Not here: what the keys do, what is running, and the tables of plugins, which are handed on as JSON for the plugin's schema.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod check;
mod error;
mod fragment;
mod lexicon;
mod merged;
pub mod range;
mod settings;
mod source;

pub use error::{ConfigError, ConfigErrors, Problem};
pub use settings::{
    Audio, Backchannel, Backend, BargeIn, BargeInPolicy, Cache, Cancel, Collect, Driver, Jack, Level, Lexicon, Limits, Log, LogFormat,
    Metrics, Output, Pin, Plugins, Progress, Recording, Session, Settings, Sounds, Speech, Stream, Synthesis, Timer, Word,
};
pub use source::{Scope, Source};

use fragment::Fragment;
use merged::Merged;
use std::path::{Path, PathBuf};

/// The example of a lexicon that is installed.
pub const SHIPPED_LEXICON: &str = include_str!("../lexicon.toml");

/// The configuration file that is installed: every key with its unit and default, commented out.
pub const SHIPPED: &str = include_str!("../utterd.toml");

/// Reads every file of `source`, lays them over each other and checks the result.
pub fn load(source: &Source) -> Result<Settings, ConfigErrors> {
    let (files, errors) = source.files();
    settings(files.iter().map(|file| Fragment::read(file)), errors, source)
}

/// The files that [`load`] would read, in that order: the last one wins.
pub fn files(source: &Source) -> Result<Vec<PathBuf>, ConfigErrors> {
    let (files, errors) = source.files();
    if errors.is_empty() { Ok(files) } else { Err(ConfigErrors(errors)) }
}

/// Checks one text as if it were the only file; `name` is what errors call it.
pub fn load_text(name: &Path, text: &str, source: &Source) -> Result<Settings, ConfigErrors> {
    settings(std::iter::once(Fragment::parse(name, text)), Vec::new(), source)
}

type Read = Result<Fragment, Vec<ConfigError>>;

fn settings(read: impl Iterator<Item = Read>, mut errors: Vec<ConfigError>, source: &Source) -> Result<Settings, ConfigErrors> {
    let mut fragments = Vec::new();
    for fragment in read {
        match fragment {
            Ok(fragment) => {
                errors.extend(check::settings(&fragment.root, source).1);
                fragments.push(fragment);
            }
            Err(found) => errors.extend(found),
        }
    }
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    let (mut settings, errors) = check::settings(&Merged::of(fragments).root, source);
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    settings.lexicon.words = lexicon::read(&settings.lexicon.files).map_err(ConfigErrors)?;
    Ok(settings)
}

#[cfg(test)]
mod tests;
