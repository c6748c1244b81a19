//! What can be wrong with a configuration. One [`ConfigError`] is one thing for its author to change, and says where;
//! a load reports all of them at once ([`ConfigErrors`], one a line).

use std::fmt;
use std::path::{Path, PathBuf};

/// Everything that is wrong; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// One mistake, at `file:line`, of `key` (dotted, as TOML would write it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub file: PathBuf,
    pub line: Option<usize>,
    pub key: Option<String>,
    pub problem: Problem,
}

/// Kinds differ by what the author has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Give the daemon access to the file, or take it away.
    Unreadable { message: String },
    /// Put a regular file there.
    NotAFile { found: &'static str },
    /// Look whether the path is right.
    TooLarge,
    /// Save it as UTF-8.
    NotUtf8,
    /// Correct the TOML.
    Syntax { message: String },
    /// Remove or respell the key.
    UnknownKey { nearest: Option<String> },
    /// Write another type.
    WrongType { found: &'static str, wanted: String },
    /// Write the key, too.
    Missing { wanted: String },
    /// Write another value.
    NotAllowed { found: String, allowed: String },
}

impl Problem {
    pub(crate) fn unreadable(error: &std::io::Error) -> Problem {
        Problem::Unreadable {
            message: error.to_string(),
        }
    }
}

impl ConfigError {
    pub(crate) fn of_file(file: &Path, problem: Problem) -> ConfigError {
        ConfigError {
            file: file.to_owned(),
            line: None,
            key: None,
            problem,
        }
    }

    pub(crate) fn of_line(file: &Path, line: usize, problem: Problem) -> ConfigError {
        ConfigError {
            file: file.to_owned(),
            line: Some(line),
            key: None,
            problem,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": ")?;
        let key = self.key.as_deref().unwrap_or_default();
        match &self.problem {
            Problem::Unreadable { message } => write!(f, "cannot be read: {message}"),
            Problem::NotAFile { found } => write!(f, "is {found}; the configuration must be a regular file"),
            Problem::TooLarge => write!(f, "is larger than 1 MiB, which is no configuration"),
            Problem::NotUtf8 => write!(f, "is not UTF-8 here; save the file as UTF-8"),
            Problem::Syntax { message } => write!(f, "is not TOML: {message}"),
            Problem::UnknownKey { nearest: Some(nearest) } => write!(f, "unknown key {key}; did you mean {nearest}?"),
            Problem::UnknownKey { nearest: None } => write!(f, "unknown key {key}; the shipped utterd.toml lists all keys"),
            Problem::WrongType { found, wanted } => write!(f, "{key} is {found}; allowed: {wanted}"),
            Problem::Missing { wanted } => write!(f, "{key} is missing; allowed: {wanted}"),
            Problem::NotAllowed { found, allowed } => write!(f, "{key} = {found} is not allowed; allowed: {allowed}"),
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
impl std::error::Error for ConfigErrors {}
