//! What a line looks like: prefix, event with its fields, then the fields of the spans it happened in.

use super::Style;
use std::fmt::{self, Write};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

pub(super) struct Line {
    pub(super) style: Style,
}

/// A client may put a megabyte into a field; the journal and people want less.
const MAX_BYTES: usize = 4096;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let meta = event.metadata();
        let level = *meta.level();
        prefix(self.style, level, &mut out)?;

        let mut text = String::new();
        // The module matters to who reads every decision; in the story of a call it is noise.
        if level >= Level::DEBUG {
            write!(text, "{}: ", meta.target())?;
        }
        context.field_format().format_fields(Writer::new(&mut text), event)?;
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            // An event that names its session itself does not need the span to say it again.
            let is_said = span
                .metadata()
                .fields()
                .iter()
                .any(|field| meta.fields().field(field.name()).is_some());
            if !is_said && let Some(fields) = span.extensions().get::<FormattedFields<N>>().filter(|fields| !fields.is_empty()) {
                write!(text, " {fields}")?;
            }
        }
        write_line(&text, &mut out)
    }
}

pub(super) fn prefix(style: Style, level: Level, out: &mut impl Write) -> fmt::Result {
    let (priority, name, colour) = match level {
        Level::ERROR => (3, "ERROR", 31),
        Level::WARN => (4, "WARN ", 33),
        Level::INFO => (6, "INFO ", 32),
        Level::DEBUG => (7, "DEBUG", 34),
        Level::TRACE => (7, "TRACE", 35),
    };
    match style {
        Style::Journal => write!(out, "<{priority}>"),
        Style::Text { colour: with_colour } => {
            let mut time = String::new();
            SystemTime.format_time(&mut Writer::new(&mut time))?;
            if with_colour {
                write!(out, "{time} \x1b[{colour}m{name}\x1b[0m ")
            } else {
                write!(out, "{time} {name} ")
            }
        }
    }
}

/// Writes `text` as one line of bounded length.
pub(super) fn write_line(text: &str, out: &mut impl Write) -> fmt::Result {
    let mut room = MAX_BYTES;
    for c in text.chars() {
        if room < c.len_utf8() {
            out.write_str(" [cut]")?;
            break;
        }
        room -= c.len_utf8();
        if c.is_control() {
            write!(out, "{}", c.escape_default())?
        } else {
            out.write_char(c)?
        }
    }
    out.write_char('\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::log::tests_paper::logged_as;

    #[test]
    fn for_the_journal_a_line_is_priority_event_and_fields() {
        let lines = logged_as(Style::Journal, || {
            tracing::error!("a");
            tracing::warn!(session = %"7", gap_ms = 412, "TX_STALL");
            tracing::info!("c");
        });
        assert_eq!(lines, "<3>a\n<4>TX_STALL session=7 gap_ms=412\n<6>c\n");
    }

    #[test]
    fn for_people_a_line_begins_with_time_and_level() {
        let line = logged_as(Style::Text { colour: false }, || tracing::info!(n = 1, "EVENT"));
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{line}");
        assert_eq!(rest, "INFO  EVENT n=1\n");
        let line = logged_as(Style::Text { colour: true }, || tracing::warn!("EVENT"));
        assert!(line.ends_with(" \u{1b}[33mWARN \u{1b}[0m EVENT\n"), "{line:?}");
    }

    #[test]
    fn the_sessions_span_adds_its_fields_unless_the_event_has_them() {
        let lines = logged_as(Style::Journal, || {
            let _session = tracing::info_span!("session", session = %"7").entered();
            tracing::info!(utterance = 3, "CANCELLED");
            tracing::info!(session = %"7", utterance = 3, "FIRST_FRAME_SENT");
        });
        assert_eq!(
            lines,
            "<6>CANCELLED utterance=3 session=7\n<6>FIRST_FRAME_SENT session=7 utterance=3\n"
        );
    }

    #[test]
    fn a_client_cannot_forge_a_line_or_colour_the_terminal() {
        let lines = logged_as(Style::Journal, || tracing::info!(tag = %"x\n<3>forged\u{1b}[2J\u{9b}", "SAID"));
        assert_eq!(lines.matches('\n').count(), 1, "{lines:?}");
        assert!(!lines.contains('\u{1b}') && !lines.contains('\u{9b}'), "{lines:?}");
    }

    #[test]
    fn a_line_has_a_bound() {
        let lines = logged_as(Style::Journal, || tracing::info!(text = %"ä".repeat(1 << 20), "SAID"));
        assert!(lines.len() < MAX_BYTES + 32 && lines.ends_with(" [cut]\n"), "{}", lines.len());
    }

    #[test]
    fn below_info_a_line_names_its_module() {
        let line = logged_as(Style::Journal, || tracing::debug!("decided"));
        assert_eq!(line, format!("<7>{}: decided\n", module_path!()));
    }
}
