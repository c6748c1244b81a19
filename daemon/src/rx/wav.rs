//! WAV: a header of 44 bytes and the samples as they are.

use std::io;

use super::file::Coding;

const HEADER: u64 = 44;
/// Two channels of 16 bits.
const FRAME: u64 = 4;
/// What the header's fields can count.
const MAX_BYTES: u64 = u32::MAX as u64 - HEADER - FRAME;

pub(super) struct Wav {
    rate: u32,
    frames: u64,
}

impl Wav {
    pub(super) fn new(rate: u32) -> Wav {
        Wav { rate, frames: 0 }
    }
}

impl Coding for Wav {
    fn header(&self) -> Vec<u8> {
        let data = (self.frames * FRAME) as u32;
        let mut header = Vec::with_capacity(HEADER as usize);
        header.extend_from_slice(b"RIFF");
        header.extend_from_slice(&(data + HEADER as u32 - 8).to_le_bytes());
        header.extend_from_slice(b"WAVEfmt ");
        header.extend_from_slice(&16_u32.to_le_bytes());
        for half in [1_u16, 2] {
            header.extend_from_slice(&half.to_le_bytes());
        }
        header.extend_from_slice(&self.rate.to_le_bytes());
        header.extend_from_slice(&(self.rate * FRAME as u32).to_le_bytes());
        for half in [FRAME as u16, 16] {
            header.extend_from_slice(&half.to_le_bytes());
        }
        header.extend_from_slice(b"data");
        header.extend_from_slice(&data.to_le_bytes());
        header
    }

    fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) -> io::Result<()> {
        let frames = self.frames + samples.len() as u64 / 2;
        if frames * FRAME > MAX_BYTES {
            return Err(io::Error::other("a WAV file holds no more: a FLAC file would"));
        }
        self.frames = frames;
        out.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }

    fn frames(&self) -> u64 {
        self.frames
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_before_its_header_can_count_no_more() {
        let mut wav = Wav::new(48_000);
        wav.frames = MAX_BYTES / FRAME - 1;
        let mut out = Vec::new();
        wav.encode(&[1, 2], &mut out).unwrap();
        assert_eq!(out, [1, 0, 2, 0]);
        assert!(wav.encode(&[1, 2], &mut out).is_err());
        let header = wav.header();
        let field = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        assert_eq!(u64::from(field(40)), wav.frames() * FRAME);
        assert_eq!(field(4), field(40) + 36);
    }
}
