//! The file as the decoder's library sees it: a bounded look while its head is read, and a WAV whose end is known better than by its header.
//!
//! The library reads WAV in packets of a fixed length and gives up a last one that is not whole, which a truncated file ends with, and any whose
//! header was written before its length was known (a stream's 0xFFFFFFFF). So past the end there are zeros, and `Decoder` knows how many
//! samples are real.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use symphonia::core::io::MediaSource;

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
    len: u64,
    seekable: bool,
    gate: Gate,
}

impl Source {
    pub(crate) fn new(mut file: File, seekable: bool) -> io::Result<(Self, Gate)> {
        let len = file.metadata()?.len();
        file.rewind()?;
        let gate = Gate {
            left: Arc::new(AtomicU64::new(HEAD_BYTES)),
            padding: Arc::default(),
        };
        let source = Source {
            file,
            len,
            seekable,
            gate: gate.clone(),
        };
        Ok((source, gate))
    }
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.gate.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::other("no sound begins within its first 20 MiB"));
        }
        let want = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.file.read(&mut buf[..want])?;
        if left != UNBOUNDED {
            self.gate.left.store(left - read as u64, Ordering::Relaxed);
        }
        if read == 0 && self.gate.padding.load(Ordering::Relaxed) == 1 {
            buf.fill(0);
            return Ok(buf.len());
        }
        Ok(read)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
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

/// The audio data of a WAV: how many bytes are there, and how many its header promises (`None`: it was a stream).
pub(crate) struct WavData {
    pub(crate) there: u64,
    pub(crate) promised: Option<u64>,
}

/// Chunks before the data; a file with more is none that anybody made in earnest.
const MAX_CHUNKS: usize = 1024;
/// Lengths that mean "not known yet": those of ffmpeg, sox and others start here.
const STREAMED: u32 = 0x7FFF_0000;

/// `None`: not a WAV, or its data is not to be found.
pub(crate) fn wav_data(file: &mut File) -> Option<WavData> {
    let len = file.metadata().ok()?.len();
    let mut head = [0; 12];
    file.rewind().ok()?;
    file.read_exact(&mut head).ok()?;
    if &head[..4] != b"RIFF" || &head[8..] != b"WAVE" {
        return None;
    }
    let riff = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]])) + 8;
    let mut at: u64 = 12;
    for _ in 0..MAX_CHUNKS {
        let mut chunk = [0; 8];
        file.seek(SeekFrom::Start(at)).ok()?;
        file.read_exact(&mut chunk).ok()?;
        let size = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
        at += 8;
        if &chunk[..4] == b"data" {
            let behind = len - at;
            let streamed = size == u32::MAX || (size >= STREAMED && u64::from(size) > behind);
            // A length of 0 was never filled in if the file, too, is said to end here. The library stops there, so what is behind is missed.
            let unfilled = size == 0 && riff <= at;
            let promised = (!streamed).then_some(if unfilled { behind } else { u64::from(size) });
            return Some(WavData {
                there: promised.map_or(behind, |p| p.min(behind)),
                promised,
            });
        }
        // Chunks stand on even bytes.
        at += u64::from(size) + u64::from(size & 1);
    }
    None
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
