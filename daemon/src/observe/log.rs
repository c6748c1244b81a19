//! The log: one event is one line on standard error, `EVENT key=value …`.
//!
//! - Under journald (standard error is the socket that JOURNAL_STREAM names) a line begins with `<N>`, its syslog priority, and has no time:
//!   the journal has its own. Elsewhere it begins with time and level.
//! - Control characters in fields are escaped: whatever a client sends, it stays within its line.
//! - The level comes from UTTERD_LOG, else RUST_LOG, else the configuration; a reload changes the latter.
//! - A reader that does not read (a stopped terminal, a full pipe) costs lines, never time: see `sink.rs`.
//! - Lines that repeat are paced with [`paced!`](crate::paced); see [`pace`].

mod line;
pub mod pace;
mod sink;
#[cfg(test)]
pub(crate) mod tests_paper;

use line::Line;
pub use pace::Pace;
use sink::Sink;
use std::io::IsTerminal;
use std::os::linux::fs::MetadataExt;
use std::time::Duration;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};
use utterd_config::{Level, LogFormat};

/// The running log. Dropping it leaves the log running.
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    sink: Sink,
    /// The environment has the word, so a reload changes nothing.
    from_environment: bool,
}

/// A log is set up once in a process.
#[derive(Debug)]
pub struct LogError(String);

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the log cannot be set up: {}", self.0)
    }
}

impl std::error::Error for LogError {}

/// Starts the log on standard error. `[main]`
pub fn start(level: Level, format: LogFormat) -> Result<Log, LogError> {
    let stderr = std::io::stderr();
    let style = match format {
        LogFormat::Journal => Style::Journal,
        LogFormat::Auto if stderr_is_journal() => Style::Journal,
        LogFormat::Auto | LogFormat::Text => Style::Text {
            colour: stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        },
    };
    let sink = Sink::start(stderr, style).map_err(|error| LogError(error.to_string()))?;
    let (filter, from_environment, complaint) = first_filter(level, |name| std::env::var(name).ok());
    let (filter, handle) = reload::Layer::new(filter);
    let writer = sink.clone();
    let lines = fmt::layer()
        .event_format(Line { style })
        .with_ansi(false)
        .log_internal_errors(false)
        .with_writer(move || writer.line());
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|error| LogError(error.to_string()))?;
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
    Ok(Log {
        filter: handle,
        sink,
        from_environment,
    })
}

impl Log {
    /// A reload brought a new level. `[any]`
    pub fn set_level(&self, level: Level) {
        if self.from_environment {
            return;
        }
        if let Err(error) = self.filter.reload(filter_of(level)) {
            tracing::error!(%error, "the level of the log could not be changed");
        }
    }

    /// Waits until what was logged so far is written, for the last line before the end. False if the reader took longer than `limit`. `[any]`
    pub fn flush(&self, limit: Duration) -> bool {
        self.sink.flush(limit)
    }
}

/// How a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Journal,
    Text { colour: bool },
}

/// JOURNAL_STREAM names the journal's socket as device:inode; a redirected standard error is another file.
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|stderr| stream == format!("{}:{}", stderr.st_dev(), stderr.st_ino()))
}

fn first_filter(level: Level, variable: impl Fn(&str) -> Option<String>) -> (EnvFilter, bool, Option<String>) {
    for name in ["UTTERD_LOG", "RUST_LOG"] {
        let Some(directives) = variable(name).filter(|text| !text.is_empty()) else {
            continue;
        };
        match EnvFilter::try_new(&directives) {
            Ok(filter) => return (filter, true, None),
            Err(error) => return (filter_of(level), false, Some(format!("{name}={directives:?} is ignored: {error}"))),
        }
    }
    (filter_of(level), false, None)
}

/// Our level is about us: below info the bus library would bury our lines.
fn filter_of(level: Level) -> EnvFilter {
    let libraries = if level == Level::Error { "error" } else { "warn" };
    EnvFilter::new(format!(
        "{libraries},utterd={level},utterd_core={level},utterd_config={level}",
        level = level.as_str()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_overrides_the_level_and_utterds_own_variable_comes_first() {
        let both = |name: &str| Some(if name == "UTTERD_LOG" { "debug" } else { "trace" }.to_owned());
        let (filter, from_environment, complaint) = first_filter(Level::Error, both);
        assert_eq!((filter.to_string().as_str(), from_environment, complaint), ("debug", true, None));
        let (filter, from_environment, _) = first_filter(Level::Error, |name| (name == "RUST_LOG").then(|| "trace".to_owned()));
        assert_eq!((filter.to_string().as_str(), from_environment), ("trace", true));
    }

    #[test]
    fn a_broken_variable_is_named_and_ignored() {
        let (filter, from_environment, complaint) = first_filter(Level::Warn, |_| Some("utterd=loud".to_owned()));
        assert!(!from_environment && filter.to_string().contains("utterd=warn"), "{filter}");
        assert!(complaint.unwrap().starts_with("UTTERD_LOG=\"utterd=loud\" is ignored: "));
    }

    #[test]
    fn without_variables_the_configured_level_holds_for_our_own_crates() {
        let (filter, from_environment, complaint) = first_filter(Level::Debug, |_| None);
        let filter = filter.to_string();
        assert!(filter.contains("utterd=debug") && filter.contains("warn"), "{filter}");
        assert!(!from_environment && complaint.is_none());
    }
}
