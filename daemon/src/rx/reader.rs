//! One client's stream: a pipe that is written without ever waiting.
//!
//! What does not fit is the reader's own loss: it is owed as silence, which goes out before anything newer, so that the reader's position stays
//! the time. Bytes of a sample that was half written come first of all. Not here: what is written (group.rs).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use utterd_core::Encoding;

/// Asked of the kernel, which may give less: at 48 kHz and 16 bits it is more than two seconds.
const PIPE_BYTES: usize = 256 << 10;
/// Silence is written in pieces.
const PIECE: usize = 8_192;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrote {
    All,
    /// So many frames were lost now.
    Lost(u64),
    /// The reader has gone.
    Gone,
}

/// The daemon's end of a stream.
pub(super) struct Reader {
    pipe: OwnedFd,
    encoding: Encoding,
    channels: usize,
    /// The rest of a frame that was half written.
    rest: Vec<u8>,
    /// Frames of silence that are due first.
    owed: u64,
    bytes: Vec<u8>,
    /// It has lost something, and that was told.
    pub(super) is_told: bool,
}

impl Reader {
    /// A reader, and the end that the client gets.
    pub(super) fn new(encoding: Encoding, channels: u32) -> io::Result<(Reader, OwnedFd)> {
        let (read, pipe) = pipe_with(PipeFlags::CLOEXEC)?;
        // The client's end is left blocking, as it expects.
        let flags = rustix::fs::fcntl_getfl(&pipe)?;
        rustix::fs::fcntl_setfl(&pipe, flags | rustix::fs::OFlags::NONBLOCK)?;
        // A smaller pipe serves too.
        if let Err(error) = fcntl_setpipe_size(pipe.as_fd(), PIPE_BYTES) {
            tracing::debug!(%error, "a stream has the smaller buffer");
        }
        let reader = Reader {
            pipe,
            encoding,
            channels: channels.max(1) as usize,
            rest: Vec::new(),
            owed: 0,
            bytes: Vec::new(),
            is_told: false,
        };
        Ok((reader, read))
    }

    /// Writes these samples, or what there is room for. `[worker]`
    pub(super) fn write(&mut self, samples: &[f32]) -> Wrote {
        match self.try_write(samples) {
            Ok(0) => Wrote::All,
            Ok(lost) => Wrote::Lost(lost),
            Err(_) => Wrote::Gone,
        }
    }

    /// How many frames were lost.
    fn try_write(&mut self, samples: &[f32]) -> Result<u64, Errno> {
        let frames = samples.len() as u64;
        if !self.write_rest()? || !self.write_owed()? {
            self.owed += frames;
            return Ok(frames);
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        encode(samples, self.encoding, self.channels, &mut bytes);
        let written = self.write_some(&bytes);
        let lost = written.map(|written| self.keep_rest(&bytes, written));
        self.bytes = bytes;
        let lost = lost?;
        self.owed += lost;
        Ok(lost)
    }

    fn frame_bytes(&self) -> usize {
        let sample = match self.encoding {
            Encoding::S16le => 2,
            Encoding::F32le => 4,
        };
        sample * self.channels
    }

    /// After a write of so many of these bytes: completes the frame that was cut, later, and says how many whole ones were not written.
    fn keep_rest(&mut self, bytes: &[u8], written: usize) -> u64 {
        let frame = self.frame_bytes();
        let cut = written.next_multiple_of(frame).min(bytes.len());
        self.rest.extend_from_slice(&bytes[written..cut]);
        ((bytes.len() - cut) / frame) as u64
    }

    /// False: there is no room yet.
    fn write_rest(&mut self) -> Result<bool, Errno> {
        if self.rest.is_empty() {
            return Ok(true);
        }
        let rest = std::mem::take(&mut self.rest);
        let written = self.write_some(&rest)?;
        self.rest = rest[written..].to_vec();
        Ok(self.rest.is_empty())
    }

    /// A reader that reads faster than this writes would never let it go: what a pipe holds is enough for once.
    fn write_owed(&mut self) -> Result<bool, Errno> {
        static SILENCE: [u8; PIECE] = [0; PIECE];
        let frame = self.frame_bytes();
        for _ in 0..PIPE_BYTES / PIECE {
            if self.owed == 0 {
                break;
            }
            let frames = self.owed.min((PIECE / frame) as u64);
            let piece = &SILENCE[..frames as usize * frame];
            let written = self.write_some(piece)?;
            let missing = self.keep_rest(piece, written);
            self.owed -= frames - missing;
            if missing > 0 || !self.rest.is_empty() {
                return Ok(false);
            }
        }
        Ok(self.owed == 0)
    }

    fn write_some(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let mut written = 0;
        while written < bytes.len() {
            match rustix::io::write(&self.pipe, &bytes[written..]) {
                Ok(n) => written += n,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}

/// Appends the samples, the same in each channel.
pub(super) fn encode(samples: &[f32], encoding: Encoding, channels: usize, bytes: &mut Vec<u8>) {
    for sample in samples {
        for _ in 0..channels {
            match encoding {
                Encoding::S16le => bytes.extend_from_slice(&to_i16(*sample).to_le_bytes()),
                Encoding::F32le => bytes.extend_from_slice(&sample.to_le_bytes()),
            }
        }
    }
}

/// The nearest of 65,536 steps; what is louder than full scale is full scale.
pub(super) fn to_i16(sample: f32) -> i16 {
    // The cast saturates, and what is no number is silence.
    (sample * 32_768.0).round() as i16
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;

    fn reader(encoding: Encoding, channels: u32) -> (Reader, File) {
        let (reader, end) = Reader::new(encoding, channels).unwrap();
        (reader, File::from(end))
    }

    fn samples(bytes: &[u8]) -> Vec<i16> {
        bytes.as_chunks::<2>().0.iter().map(|b| i16::from_le_bytes(*b)).collect()
    }

    #[test]
    fn every_sample_arrives_in_the_asked_form() {
        let (mut stream, mut end) = reader(Encoding::S16le, 2);
        assert_eq!(stream.write(&[0.0, 0.5, -1.0, 2.0, f32::NAN]), Wrote::All);
        drop(stream);
        let mut bytes = Vec::new();
        end.read_to_end(&mut bytes).unwrap();
        assert_eq!(samples(&bytes), [0, 0, 16_384, 16_384, -32_768, -32_768, 32_767, 32_767, 0, 0]);
        let (mut stream, mut end) = reader(Encoding::F32le, 1);
        assert_eq!(stream.write(&[0.1]), Wrote::All);
        let mut bytes = [0; 4];
        end.read_exact(&mut bytes).unwrap();
        assert_eq!(f32::from_le_bytes(bytes), 0.1);
    }

    #[test]
    fn what_a_reader_did_not_take_is_silence_in_its_place() {
        let (mut stream, mut end) = reader(Encoding::S16le, 1);
        // Sample n of the stream is n mod 30,000 + 1: never silence.
        let value = |n: u64| (n % 30_000 + 1) as f32 / 32_768.0;
        let (mut sent, mut lost, mut got) = (0_u64, 0, Vec::new());
        let mut buffer = vec![0; 7_777];
        while got.len() < 600_000 {
            let piece: Vec<f32> = (sent..sent + 480).map(value).collect();
            sent += 480;
            match stream.write(&piece) {
                Wrote::All => {}
                Wrote::Lost(frames) => lost += frames,
                Wrote::Gone => panic!("the reader is here"),
            }
            // It reads nothing for long, then a little, then more than there is to come.
            let reads = match sent {
                ..200_000 => 0,
                200_000..250_000 => 1,
                _ => usize::from(sent % 960 == 0),
            };
            for _ in 0..reads {
                let n = end.read(&mut buffer).unwrap();
                got.extend_from_slice(&buffer[..n]);
            }
        }
        assert!(lost > 0);
        let got = samples(&got);
        let silent = got.iter().filter(|s| **s == 0).count();
        for (n, sample) in got.iter().enumerate() {
            assert!(*sample == 0 || *sample == (n % 30_000 + 1) as i16, "sample {n} is {sample}");
        }
        assert!(silent > 0 && silent as u64 <= lost, "{silent} silent, {lost} lost");
        assert!(got[got.len() - 100..].iter().all(|s| *s != 0), "it caught up");
    }

    #[test]
    fn zeros_are_written_in_parts_to_a_reader_that_takes_all_it_can() {
        let (mut stream, mut end) = reader(Encoding::S16le, 1);
        let reads = std::thread::spawn(move || {
            let mut buffer = vec![0; PIPE_BYTES];
            while end.read(&mut buffer).unwrap() > 0 {}
        });
        // Months of it.
        stream.owed = 1 << 40;
        assert_eq!(stream.write(&[0.5; 480]), Wrote::Lost(480));
        assert!(stream.owed >= (1 << 40) - PIPE_BYTES as u64 / 2, "{}", stream.owed);
        stream.owed = 0;
        stream.rest.clear();
        assert_eq!(stream.write(&[]), Wrote::All);
        drop(stream);
        reads.join().unwrap();
    }

    #[test]
    fn a_reader_that_closes_is_noticed() {
        let (mut stream, end) = reader(Encoding::S16le, 1);
        assert_eq!(stream.write(&[0.0; 480]), Wrote::All);
        drop(end);
        assert_eq!(stream.write(&[0.0; 480]), Wrote::Gone);
    }
}
