//! The head of a WAV: read here for what it says of the sound, and written anew in the one form that the library takes.
//!
//! Programs write heads of many kinds: lengths that were not known yet, a `fact` or `fmt ` longer or shorter than the library expects, chunks
//! without their pad byte, a RIFF length that fits nothing. So the library never sees a file's own head, but a short one made of the same
//! fields; `Source` lays it over, and the true end of the data is known here. Whatever the bytes are, nothing here panics or takes long.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// A WAV of an encoding that is decoded.
pub(crate) struct Wav {
    /// What stands for the file's own head; it says that it is a stream's.
    pub(crate) head: Vec<u8>,
    /// Where the sound begins in the file, and how many bytes of it are there.
    pub(crate) at: u64,
    pub(crate) there: u64,
    /// How many bytes its header promises; `None`: it was a stream.
    pub(crate) promised: Option<u64>,
    /// Bytes of a frame.
    pub(crate) block: u64,
}

/// Chunks before the data; a file with more is none that anybody made in earnest.
const MAX_CHUNKS: usize = 1024;
/// Lengths that mean "not known yet": those of ffmpeg, sox and others start here.
const STREAMED: u32 = 0x7FFF_0000;

const PCM: u16 = 1;
const FLOAT: u16 = 3;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
const EXTENSIBLE: u16 = 0xFFFE;
/// What follows the format's tag in the name of an extensible format, of one in Ambisonics, too.
const NAMES: [[u8; 14]; 2] = [
    [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71],
    [0, 0, 0x21, 0x07, 0xd3, 0x11, 0x86, 0x44, 0xc8, 0xc1, 0xca, 0, 0, 0],
];

/// `None`: not a WAV, of an encoding that is not decoded, or its data is not to be found.
pub(crate) fn read(file: &File) -> Option<Wav> {
    let len = file.metadata().ok()?.len();
    let riff: [u8; 12] = bytes(file, 0)?;
    if &riff[..4] != b"RIFF" || &riff[8..] != b"WAVE" {
        return None;
    }
    let riff = u32_at(&riff, 4);
    let mut format = None;
    let mut at: u64 = 12;
    for _ in 0..MAX_CHUNKS {
        let chunk: [u8; 8] = bytes(file, at)?;
        let size = u32_at(&chunk, 4);
        at += 8;
        match &chunk[..4] {
            b"fmt " => format = Format::read(file, at, size),
            b"data" => {
                let format: Format = format?;
                let behind = len.saturating_sub(at);
                let unknown = match size {
                    0 => behind > 0 && (is_unfilled(riff, at, len) || !is_chunk(file, at, len)),
                    u32::MAX => true,
                    _ => size >= STREAMED && u64::from(size) > behind,
                };
                let promised = (!unknown).then_some(u64::from(size));
                return Some(Wav {
                    head: format.head(),
                    at,
                    there: promised.map_or(behind, |promised| promised.min(behind)),
                    promised,
                    block: u64::from(format.block),
                });
            }
            _ => {}
        }
        at += u64::from(size);
        // Chunks stand on even bytes, or should.
        if size % 2 == 1 && !is_known(file, at) {
            at += 1;
        }
    }
    None
}

/// The length of the whole was never filled in: nothing, a stream's, or the file is said to end before its data.
fn is_unfilled(riff: u32, data_at: u64, len: u64) -> bool {
    u64::from(riff) + 8 <= data_at || (riff >= STREAMED && u64::from(riff) > len)
}

/// What stands here is another chunk rather than sound.
fn is_chunk(file: &File, at: u64, len: u64) -> bool {
    bytes(file, at).is_some_and(|chunk: [u8; 8]| {
        let is_name = chunk[..4].iter().all(|b| (b' '..=b'~').contains(b));
        is_name && at + 8 + u64::from(u32_at(&chunk, 4)) <= len
    })
}

fn is_known(file: &File, at: u64) -> bool {
    bytes(file, at).is_some_and(|name: [u8; 4]| [b"data", b"fmt ", b"fact", b"LIST"].contains(&&name))
}

/// How the sound is encoded.
struct Format {
    tag: u16,
    channels: u16,
    rate: u32,
    /// Bytes of a sample, those that are not used included, and of a frame.
    sample: u16,
    block: u16,
}

impl Format {
    fn read(file: &File, at: u64, size: u32) -> Option<Self> {
        let mut fmt = [0; 40];
        let there = fmt.get_mut(..size.min(40) as usize)?;
        file.read_exact_at(there, at).ok()?;
        let bits = u16_at(&fmt, 14);
        let tag = match u16_at(&fmt, 0) {
            EXTENSIBLE if NAMES.iter().any(|name| fmt.ends_with(name)) => u16_at(&fmt, 24),
            tag => tag,
        };
        // What is shorter than the fields reads as 0.
        let sample = match (tag, bits) {
            (PCM, 1..=32) => bits.div_ceil(8),
            (FLOAT, 32 | 64) => bits / 8,
            (A_LAW | MU_LAW, _) => 1,
            _ => return None,
        };
        let channels = u16_at(&fmt, 2);
        Some(Self {
            tag,
            channels,
            rate: u32_at(&fmt, 4),
            sample,
            block: channels.checked_mul(sample).filter(|block| *block > 0)?,
        })
    }

    fn head(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(46);
        head.extend(b"RIFF\xff\xff\xff\xffWAVEfmt ");
        let is_law = matches!(self.tag, A_LAW | MU_LAW);
        head.extend(if is_law { 18_u32 } else { 16 }.to_le_bytes());
        head.extend(self.tag.to_le_bytes());
        head.extend(self.channels.to_le_bytes());
        head.extend(self.rate.to_le_bytes());
        head.extend(self.rate.wrapping_mul(u32::from(self.block)).to_le_bytes());
        head.extend(self.block.to_le_bytes());
        head.extend((8 * self.sample).to_le_bytes());
        if is_law {
            head.extend([0, 0]);
        }
        head.extend(b"data\xff\xff\xff\xff");
        head
    }
}

fn bytes<const N: usize>(file: &File, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
#[path = "wav_tests.rs"]
mod tests;
