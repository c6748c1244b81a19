//! The only file that writes to the terminal: lines, tables, colours, and the line of progress.
//!
//! Invariants: standard output carries what was asked for, standard error everything else. What comes from outside (texts, ids, names)
//! passes `clean` on its way, so nobody can send escape sequences to a person's terminal through a spoken text. Colours and the
//! moving line only on a terminal. A closed pipe ends the output quietly.

use std::{
    io::{IsTerminal, Write},
    ops::Range,
    process::ExitCode,
};

use serde_json::{Value as Json, json};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::trouble::Trouble;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Exit {
    Completed = 0,
    Other = 1,
    Cancelled = 3,
    Failed = 4,
    Expired = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// "nothing" to wait for is a success; "pending" (a time-out) and words of a later release are not.
    pub(crate) fn of_outcome(outcome: &str) -> Exit {
        match outcome {
            "completed" | "nothing" => Exit::Completed,
            "cancelled" => Exit::Cancelled,
            "failed" => Exit::Failed,
            "expired" => Exit::Expired,
            _ => Exit::Other,
        }
    }
}

pub(crate) struct Out {
    pub(crate) json: bool,
    verbose: bool,
    quiet: bool,
    /// Standard output is a terminal that understands a carriage return and clearing a line.
    pub(crate) moving: bool,
    colour: bool,
}

impl Out {
    pub(crate) fn for_this_terminal(json: bool, verbose: bool, quiet: bool) -> Out {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        let moving = std::io::stdout().is_terminal() && !dumb;
        let colour = moving && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Out {
            json,
            verbose,
            quiet,
            moving,
            colour,
        }
    }

    /// For people; silent with --json and --quiet.
    pub(crate) fn line(&self, line: &str) {
        if !self.json && !self.quiet {
            self.text(&format!("{line}\n"));
        }
    }

    /// One JSON value, with --json only.
    pub(crate) fn json(&self, value: &Json) {
        if self.json {
            self.text(&format!("{value}\n"));
        }
    }

    /// As it is, at once: a hook's pipe must see it now.
    pub(crate) fn text(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => {}
            // `utterctl monitor | head`: whoever read it has enough.
            Err(why) if why.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(Exit::Completed as i32),
            // What was asked for is lost, so this is no success; the speech of this call ends with its session.
            Err(why) => {
                self.trouble(&Trouble::new(format!("cannot write to standard output: {why}")));
                std::process::exit(Exit::Other as i32);
            }
        }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet || self.json
    }

    pub(crate) fn detail(&self, line: &str) {
        if self.verbose {
            eprintln!("utterctl: {}", clean(line));
        }
    }

    /// Good to know for a person, noise in a log.
    pub(crate) fn notice(&self, line: &str) {
        if !self.quiet && (self.verbose || std::io::stderr().is_terminal()) {
            eprintln!("utterctl: {}", clean(line));
        }
    }

    pub(crate) fn warning(&self, line: &str) {
        eprintln!("utterctl: {}", clean(line));
    }

    pub(crate) fn trouble(&self, trouble: &Trouble) {
        if self.json {
            eprintln!(
                "{}",
                json!({"error": trouble.name, "message": trouble.message, "next": trouble.next})
            );
            return;
        }
        self.warning(&trouble.message);
        if let Some(next) = trouble.next {
            eprintln!("          {next}");
        }
    }

    pub(crate) fn dim(&self, text: &str) -> String {
        self.painted("2", text)
    }

    pub(crate) fn bold(&self, text: &str) -> String {
        self.painted("1", text)
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Columns as wide as their widest cell; the last one is left ragged.
    pub(crate) fn table(&self, head: &[&str], rows: &[Vec<String>]) {
        for (at, line) in table(head, rows).iter().enumerate() {
            self.line(&if at == 0 { self.dim(line) } else { line.clone() });
        }
    }
}

fn table(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let head: Vec<String> = head.iter().map(|&h| h.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(&head)
        .chain(rows)
        .map(|row| row.iter().map(|cell| clean(cell)).collect())
        .collect();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.width())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let padded = |(cell, width): (&String, &usize)| format!("{cell}{}", " ".repeat(width.saturating_sub(cell.width())));
    rows.iter()
        .map(|row| {
            row.iter()
                .zip(&widths)
                .map(padded)
                .collect::<Vec<_>>()
                .join("  ")
                .trim_end()
                .to_owned()
        })
        .collect()
}

/// Control characters (line ends too) as a space.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What was heard so far of a text, which may still grow. Returns what to write, so that it can be tested without a terminal.
pub(crate) struct Progress {
    text: Vec<char>,
    heard: usize,
    /// None: write only what is new, as a pipe wants it.
    columns: Option<usize>,
}

impl Progress {
    pub(crate) fn new(text: &str, out: &Out) -> Progress {
        let columns = out
            .moving
            .then(|| rustix::termios::tcgetwinsize(std::io::stdout()).map_or(80, |size| usize::from(size.ws_col).max(20)));
        Progress {
            text: text.chars().collect(),
            heard: 0,
            columns,
        }
    }

    /// More text is known now.
    pub(crate) fn push(&mut self, more: &str) {
        self.text.extend(more.chars());
    }

    /// Code points known.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// These code points, as far as they are known.
    pub(crate) fn text(&self, range: Range<usize>) -> String {
        let end = range.end.min(self.text.len());
        self.text[range.start.min(end)..end].iter().collect()
    }

    /// `to` in code points of the text; going back changes nothing.
    pub(crate) fn advance(&mut self, to: usize) -> String {
        let to = to.min(self.text.len());
        if to <= self.heard {
            return String::new();
        }
        let new: String = self.text[self.heard..to].iter().collect();
        self.heard = to;
        match self.columns {
            None => clean(&new),
            Some(columns) => format!(
                "\r\x1b[K{}",
                last_columns(&clean(&self.text[..to].iter().collect::<String>()), columns - 1)
            ),
        }
    }

    /// The end: what the report says was heard stays on the screen, whole.
    pub(crate) fn finish(&mut self, heard: &str) -> String {
        let to = heard.chars().count();
        let new = self.advance(to);
        match self.columns {
            _ if self.heard == 0 => String::new(),
            _ if heard.is_empty() => "\n".into(), // No report: what is written stands.
            None => new + "\n",
            Some(_) => format!("\r\x1b[K{}\n", clean(heard)),
        }
    }
}

/// The end of a line that does not fit, so that the newest word is always seen.
fn last_columns(line: &str, columns: usize) -> String {
    if line.width() <= columns {
        return line.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let mut tail: Vec<char> = line
        .chars()
        .rev()
        .take_while(|c| {
            c.width().unwrap_or(0) <= left && {
                left -= c.width().unwrap_or(0);
                true
            }
        })
        .collect();
    tail.push('…');
    tail.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(text: &str, columns: Option<usize>) -> Progress {
        Progress {
            text: text.chars().collect(),
            heard: 0,
            columns,
        }
    }

    #[test]
    fn every_outcome_has_its_exit_code() {
        let codes =
            ["completed", "nothing", "cancelled", "failed", "expired", "pending", "a later word"].map(|o| Exit::of_outcome(o) as u8);
        assert_eq!(codes, [0, 0, 3, 4, 5, 1, 1]);
    }

    #[test]
    fn into_a_pipe_goes_each_word_once() {
        let mut p = progress("Grüße, alle Welt", None);
        let written = [
            p.advance(6),
            p.advance(6),
            p.advance(4),
            p.advance(11),
            p.finish("Grüße, alle Welt"),
        ]
        .concat();
        assert_eq!(written, "Grüße, alle Welt\n");
    }

    #[test]
    fn a_cancelled_line_ends_where_the_hearing_ended() {
        let mut p = progress("one two three", None);
        assert_eq!([p.advance(3), p.finish("one two")].concat(), "one two\n");
        assert_eq!(progress("one two", None).finish(""), "");
    }

    #[test]
    fn on_a_terminal_the_line_is_written_anew_and_never_wraps() {
        let mut p = progress("one two three four five six", Some(21));
        assert_eq!(p.advance(3), "\r\x1b[Kone");
        let line = p.advance(27);
        assert_eq!(line, "\r\x1b[K…three four five six");
        assert!(line.trim_start_matches("\r\x1b[K").width() <= 20);
    }

    #[test]
    fn what_was_heard_stays_on_the_screen_whole() {
        let mut p = progress("one two three four five six", Some(10));
        p.advance(13);
        assert_eq!(p.finish("one two three four"), "\r\x1b[Kone two three four\n");
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(last_columns("日本語日本語", 6), "…本語");
    }

    #[test]
    fn a_spoken_text_cannot_steer_the_terminal() {
        assert_eq!(progress("a\x1b[2Jb\nc", None).advance(99), "a [2Jb c");
        assert_eq!(table(&["X"], &[vec!["\x1b]0;t\x07".into()]])[1], " ]0;t");
    }

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_space() {
        let lines = table(
            &["ID", "STATE"],
            &[vec!["default".into(), "idle".into()], vec!["日本".into(), String::new()]],
        );
        assert_eq!(lines, ["ID       STATE", "default  idle", "日本"]);
    }
}
