//! FLAC: to the sample what a WAV file has, in half of its room or less, in blocks of a twentieth of a second that decode each by itself.
//!
//! The encoder is the crate's; the header is ours, because it is written again after each block: how long the file is, and at its end the
//! checksum of all that is in it. Predictors are the cheap ones: agent and user have nothing in common, and silence costs nothing anyway.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use flac_codec::encode::{FlacStreamWriter, Options};

use super::file::Coding;

const CHANNELS: usize = 2;
const BITS: u32 = 16;
/// Blocks a second.
const A_SECOND: u32 = 20;
/// Frames that a block may have, if another follows it.
const BLOCK: std::ops::RangeInclusive<u32> = 16..=65_535;
const HEADER: usize = 42;
/// What the header can count: at 48 kHz two weeks.
const MAX_FRAMES: u64 = (1 << 36) - 1;

pub(super) struct Flac {
    rate: u32,
    block: u16,
    encoder: FlacStreamWriter<Blocks>,
    encoded: Blocks,
    frames: u64,
    /// Less than a block.
    kept: Vec<i32>,
    sum: md5::Context,
    /// Known once nothing comes any more.
    checksum: [u8; 16],
}

/// Where the encoder, which keeps its writer to itself, leaves what it has made.
#[derive(Clone, Default)]
struct Blocks(Rc<RefCell<Vec<u8>>>);

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Flac {
    pub(super) fn new(rate: u32) -> Flac {
        let encoded = Blocks::default();
        Flac {
            rate,
            block: (rate / A_SECOND).clamp(*BLOCK.start(), *BLOCK.end()) as u16,
            encoder: FlacStreamWriter::new(encoded.clone(), Options::fast()),
            encoded,
            frames: 0,
            kept: Vec::new(),
            sum: md5::Context::new(),
            checksum: [0; 16],
        }
    }

    /// One block of all that is kept up to there.
    fn block(&mut self, samples: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let encoded = self.encoder.write(self.rate, CHANNELS as u8, BITS, &self.kept[..samples]);
        encoded.map_err(|error| io::Error::other(format!("not encoded as FLAC: {error}")))?;
        out.append(&mut self.encoded.0.borrow_mut());
        self.kept.drain(..samples);
        self.frames += (samples / CHANNELS) as u64;
        if self.frames > MAX_FRAMES {
            return Err(io::Error::other("a FLAC file holds no more"));
        }
        Ok(())
    }
}

impl Coding for Flac {
    /// The mark, and STREAMINFO as the only and last block of metadata: what is 0 in it is unknown.
    fn header(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(b"fLaC");
        header.extend_from_slice(&[0x80, 0, 0, 34]);
        for shortest_and_longest_block in [self.block; 2] {
            header.extend_from_slice(&shortest_and_longest_block.to_be_bytes());
        }
        header.extend_from_slice(&[0; 6]);
        let shape = u64::from(self.rate) << 44 | (CHANNELS as u64 - 1) << 41 | u64::from(BITS - 1) << 36 | self.frames;
        header.extend_from_slice(&shape.to_be_bytes());
        header.extend_from_slice(&self.checksum);
        header
    }

    fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) -> io::Result<()> {
        for sample in samples {
            self.sum.consume(sample.to_le_bytes());
        }
        self.kept.extend(samples.iter().map(|s| i32::from(*s)));
        let block = usize::from(self.block) * CHANNELS;
        while self.kept.len() >= block {
            self.block(block, out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if !self.kept.is_empty() {
            self.block(self.kept.len(), out)?;
        }
        self.checksum = self.sum.clone().finalize().0;
        Ok(())
    }

    fn frames(&self) -> u64 {
        self.frames
    }
}
