//! Carries finished lines to standard error from a thread of its own.
//!
//! Why: a terminal on Ctrl-S, a pager or a stuck journald blocks a write for as long as it likes, and the actor logs. So lines wait here,
//! at most [`MAX_LINES`]; when that is full the new line is dropped and counted, and the next line that gets through is preceded by the count.

use super::Style;
use super::line::{prefix, write_line};
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// 4 MiB of the longest lines; a burst of debug lines of a second or so.
const MAX_LINES: usize = 1024;

#[derive(Clone)]
pub(super) struct Sink {
    items: Sender<Item>,
    dropped: Arc<AtomicU64>,
}

enum Item {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Flush(Sender<()>),
}

impl Sink {
    pub(super) fn start(out: impl Write + Send + 'static, style: Style) -> io::Result<Sink> {
        let (items, inbox) = bounded(MAX_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let sink = Sink {
            items,
            dropped: dropped.clone(),
        };
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(&inbox, &dropped, style, out))?;
        Ok(sink)
    }

    /// The writer of one line; it is sent when dropped.
    pub(super) fn line(&self) -> LineWriter {
        LineWriter {
            sink: self.clone(),
            bytes: Vec::new(),
        }
    }

    pub(super) fn flush(&self, limit: Duration) -> bool {
        let (done, wait) = bounded(1);
        self.items.send_timeout(Item::Flush(done), limit).is_ok() && wait.recv_timeout(limit).is_ok()
    }

    fn send(&self, line: Vec<u8>) {
        // Disconnected cannot happen while a sender lives; if it did there would be nobody to tell.
        if let Err(TrySendError::Full(_)) = self.items.try_send(Item::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A standard error that fails (closed, disk full) has no other place to be reported, so a failed write is given up in silence.
fn write_all(inbox: &Receiver<Item>, dropped: &AtomicU64, style: Style, mut out: impl Write) {
    for item in inbox {
        let written = match item {
            Item::Line(line) => {
                let lost = dropped.swap(0, Ordering::Relaxed);
                let told = if lost > 0 { out.write_all(&told(style, lost)) } else { Ok(()) };
                told.and_then(|()| out.write_all(&line))
            }
            Item::Flush(done) => {
                // Whoever waited may have given up.
                done.try_send(()).ok();
                out.flush()
            }
        };
        drop(written);
    }
}

fn told(style: Style, lost: u64) -> Vec<u8> {
    let mut line = String::new();
    let told = prefix(style, tracing::Level::WARN, &mut line).and_then(|()| {
        write_line(
            &format!("LOG_LINES_DROPPED count={lost} reason=\"standard error was not read\""),
            &mut line,
        )
    });
    debug_assert!(told.is_ok(), "writing to a string does not fail");
    line.into_bytes()
}

pub(super) struct LineWriter {
    sink: Sink,
    bytes: Vec<u8>,
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.sink.send(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn lines_arrive_in_order_and_flush_waits_for_them() {
        let (mut reader, out) = UnixStream::pair().unwrap();
        let sink = Sink::start(out, Style::Journal).unwrap();
        for n in 0..3 {
            sink.line().write_all(format!("{n}\n").as_bytes()).unwrap();
        }
        assert!(sink.flush(PATIENCE));
        let mut text = [0; 6];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"0\n1\n2\n");
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_is_told_how_many() {
        let (reader, out) = UnixStream::pair().unwrap();
        let sink = Sink::start(out, Style::Journal).unwrap();
        let sent = 4 * MAX_LINES;
        let line = [b"x".repeat(4095), b"\n".to_vec()].concat();
        for _ in 0..sent {
            sink.line().write_all(&line).unwrap();
        }
        assert!(sink.dropped.load(Ordering::Relaxed) > 0);
        let reading = std::thread::spawn(move || std::io::read_to_string(reader).unwrap());
        assert!(sink.flush(PATIENCE));
        sink.line().write_all(b"the end\n").unwrap();
        assert!(sink.flush(PATIENCE));
        drop(sink);
        let text = reading.join().unwrap();
        let told: usize = text
            .lines()
            .filter_map(|line| {
                line.strip_prefix("<4>LOG_LINES_DROPPED count=")?
                    .split(' ')
                    .next()?
                    .parse::<usize>()
                    .ok()
            })
            .sum();
        assert_eq!(text.lines().filter(|line| line.starts_with('x')).count() + told, sent);
        assert!(text.ends_with("the end\n"));
    }

    #[test]
    fn a_flush_gives_up_when_nobody_reads() {
        let (_reader, out) = UnixStream::pair().unwrap();
        let sink = Sink::start(out, Style::Journal).unwrap();
        for _ in 0..2 * MAX_LINES {
            sink.line().write_all(&[b'x'; 4096]).unwrap();
        }
        assert!(!sink.flush(Duration::from_millis(10)));
    }
}
