//! For tests: what the log would write, as a string.

use super::Style;
use super::line::Line;
use std::io;
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Paper {
    type Writer = Paper;
    fn make_writer(&'a self) -> Paper {
        self.clone()
    }
}

pub(super) fn logged_as(style: Style, act: impl FnOnce()) -> String {
    let paper = Paper::default();
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Line { style })
        .with_ansi(false)
        .with_writer(paper.clone());
    let subscriber = tracing_subscriber::registry().with(lines);
    tracing::subscriber::with_default(subscriber, act);
    String::from_utf8(paper.0.lock().unwrap().clone()).unwrap()
}

/// As the journal gets it, without times.
pub(crate) fn logged(act: impl FnOnce()) -> String {
    logged_as(Style::Journal, act)
}
