//! The file as the decoder's library sees it: a bounded look while its head is read, and a WAV under a head of ours (`wav`).
//!
//! The library reads WAV in packets of a fixed length and gives up a last one that is not whole, which a truncated file and a stream of unknown
//! length end with. So past the end there are zeros, and `Decoder` knows how many samples are real.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use symphonia::core::io::MediaSource;

use crate::wav::Wav;

/// How much of a file may be read until its format is known: more than the largest picture of a FLAC's head.
const HEAD_BYTES: u64 = 20 << 20;
const UNBOUNDED: u64 = u64::MAX;

/// Opens the bound of one source once its head is read.
#[derive(Clone)]
pub(crate) struct Gate {
    left: Arc<AtomicU64>,
    padding: Arc<AtomicU64>,
}

impl Gate {
    /// The format is known: read on, with zeros behind a WAV's end.
    pub(crate) fn open(&self, pads: bool) {
        self.left.store(UNBOUNDED, Ordering::Relaxed);
        self.padding.store(u64::from(pads), Ordering::Relaxed);
    }
}

pub(crate) struct Source {
    file: File,
    /// Stands for the file's first `skipped` bytes.
    head: Vec<u8>,
    skipped: u64,
    /// With that head, and without what stands behind a WAV's sound.
    len: u64,
    at: u64,
    seekable: bool,
    gate: Gate,
}

impl Source {
    pub(crate) fn new(file: File, seekable: bool, wav: Option<&Wav>) -> io::Result<(Self, Gate)> {
        let gate = Gate {
            left: Arc::new(AtomicU64::new(HEAD_BYTES)),
            padding: Arc::default(),
        };
        let (head, skipped, len) = match wav {
            Some(wav) => (wav.head.clone(), wav.at, wav.head.len() as u64 + wav.there),
            None => (Vec::new(), 0, file.metadata()?.len()),
        };
        let source = Source {
            file,
            head,
            skipped,
            len,
            at: 0,
            seekable,
            gate: gate.clone(),
        };
        Ok((source, gate))
    }

    /// What is there of the next bytes; 0 at the end.
    fn read_some(&self, buf: &mut [u8]) -> io::Result<usize> {
        let head = usize::try_from(self.at).ok().and_then(|at| self.head.get(at..)).unwrap_or_default();
        if !head.is_empty() {
            let n = head.len().min(buf.len());
            buf[..n].copy_from_slice(&head[..n]);
            return Ok(n);
        }
        if self.head.is_empty() {
            return self.file.read_at(buf, self.at);
        }
        let left = usize::try_from(self.len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let n = left.min(buf.len());
        if n == 0 {
            return Ok(0);
        }
        let at = self.at - self.head.len() as u64 + self.skipped;
        let read = self.file.read_at(&mut buf[..n], at)?;
        if read == 0 {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        Ok(read)
    }
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.gate.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::other("no sound begins within its first 20 MiB"));
        }
        let want = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut read = self.read_some(&mut buf[..want])?;
        if left != UNBOUNDED {
            self.gate.left.store(left - read as u64, Ordering::Relaxed);
        }
        if read == 0 && self.gate.padding.load(Ordering::Relaxed) == 1 {
            buf.fill(0);
            read = buf.len();
        }
        self.at = self.at.saturating_add(read as u64);
        Ok(read)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl MediaSource for Source {
    fn is_seekable(&self) -> bool {
        self.seekable
    }

    fn byte_len(&self) -> Option<u64> {
        self.seekable.then_some(self.len)
    }
}

/// No page of an Ogg is longer.
const OGG_PAGE: u64 = 65_307;

/// Whether this is an Ogg whose last page is not whole.
pub(crate) fn is_cut_ogg(file: &mut File) -> io::Result<bool> {
    let mut mark = [0; 4];
    file.rewind()?;
    if file.read_exact(&mut mark).is_err() || &mark != b"OggS" {
        return Ok(false);
    }
    let len = file.metadata()?.len();
    let from = len.saturating_sub(OGG_PAGE);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(OGG_PAGE).read_to_end(&mut tail)?;
    let whole = tail.windows(4).enumerate().filter(|(_, w)| *w == b"OggS").any(|(at, _)| {
        let page = &tail[at..];
        // The page's last segment ends with the file: 27 bytes of head, as many lengths as byte 26 says, the segments.
        let segments = page.get(26).map_or(0, |n| usize::from(*n));
        let lengths = page.get(27..27 + segments).unwrap_or_default();
        let body: usize = lengths.iter().map(|n| usize::from(*n)).sum();
        page.len() >= 27 && lengths.len() == segments && 27 + segments + body == page.len()
    });
    Ok(!whole)
}
