//! What we and a detector's process say to each other over their socket. First a line of JSON each: what is to be opened ([`Opening`]), and
//! whether it is ([`Opened`]). Then a frame there and its answer back, or a reset, which has none. Both ends are the same program on the same
//! machine, so numbers are as they lie in memory.

use std::io::{self, BufRead, Read};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::detector::{DetectorCounts, DetectorFault, DetectorInput, DetectorOutput, InputFlags, nanos};
use super::stage::Hash;

/// No line is longer.
const MAX_LINE: u64 = 4 << 20;
/// Bytes of a request before its samples, and of an answer before its.
const REQUEST: usize = 24;
pub(super) const ANSWER: usize = 80;

/// A stream to be opened.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Opening {
    /// Where the plugin's original stands: a path, which need be no text.
    pub(super) found: Vec<u8>,
    /// Of the private copy.
    pub(super) hash: Hash,
    pub(super) config: String,
    pub(super) sensitivity: Option<f32>,
    pub(super) session: u64,
    pub(super) rate: u32,
    pub(super) frame: usize,
    pub(super) language: String,
    pub(super) one_stage: bool,
}

/// Whether it is.
pub(super) type Opened = Result<(), String>;

pub(super) fn line(said: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    Ok(line)
}

pub(super) fn read_line<T: DeserializeOwned>(from: &mut impl BufRead) -> io::Result<T> {
    let mut line = Vec::new();
    from.take(MAX_LINE).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}

/// What a stream's process is told.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    Reset,
    Hear(Heard),
}

/// A frame on the other side: [`DetectorInput`] with samples of its own.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Heard {
    pub(super) t: u64,
    pub(super) near: Vec<f32>,
    pub(super) far: Option<Vec<f32>>,
    pub(super) far_delay: i32,
    pub(super) lost: u32,
    pub(super) flags: InputFlags,
    pub(super) wants_clean: bool,
}

const HEAR: u8 = 1;
const RESET: u8 = 2;
const HAS_FAR: u8 = 16;
const WANTS_CLEAN: u8 = 32;

pub(super) fn put_reset(to: &mut Vec<u8>) {
    to.clear();
    to.push(RESET);
    to.resize(REQUEST, 0);
}

/// `to` holds the request and nothing else.
pub(super) fn put_frame(to: &mut Vec<u8>, input: &DetectorInput<'_>, wants_clean: bool) {
    let flags = u8::from(input.flags.ai_speaking)
        | u8::from(input.flags.protected) << 1
        | u8::from(input.flags.gap) << 2
        | u8::from(input.flags.muted) << 3
        | if input.far.is_some() { HAS_FAR } else { 0 }
        | if wants_clean { WANTS_CLEAN } else { 0 };
    to.clear();
    to.extend_from_slice(&[HEAR, flags, 0, 0]);
    to.extend_from_slice(&(input.near.len() as u32).to_ne_bytes());
    to.extend_from_slice(&input.lost.to_ne_bytes());
    to.extend_from_slice(&input.far_delay.to_ne_bytes());
    to.extend_from_slice(&input.t.to_ne_bytes());
    put_samples(to, input.near);
    put_samples(to, input.far.unwrap_or_default());
}

/// The next request; `None`: there will be none. `most`: samples of a frame.
pub(super) fn read_request(from: &mut impl BufRead, most: usize) -> io::Result<Option<Request>> {
    if from.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut head = [0; REQUEST];
    from.read_exact(&mut head)?;
    let mut fields = Fields(&head);
    let [kind, bits, ..] = fields.next::<4>();
    let n = u32::from_ne_bytes(fields.next()) as usize;
    match kind {
        RESET => return Ok(Some(Request::Reset)),
        HEAR if n <= most => {}
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    let is = |bit: u8| bits & bit != 0;
    let mut heard = Heard {
        lost: u32::from_ne_bytes(fields.next()),
        far_delay: i32::from_ne_bytes(fields.next()),
        t: u64::from_ne_bytes(fields.next()),
        flags: InputFlags {
            ai_speaking: is(1),
            protected: is(2),
            gap: is(4),
            muted: is(8),
        },
        wants_clean: is(WANTS_CLEAN),
        ..Heard::default()
    };
    heard.near = read_samples(from, n)?;
    heard.far = if is(HAS_FAR) { Some(read_samples(from, n)?) } else { None };
    Ok(Some(Request::Hear(heard)))
}

/// What a frame came to, and what its process has counted so far. `to` holds the answer and nothing else.
pub(super) fn put_answer(to: &mut Vec<u8>, result: Result<DetectorOutput, DetectorFault>, counts: &DetectorCounts, clean: &[f32]) {
    let (fault, status): (u32, i32) = match result {
        Ok(_) => (0, 0),
        Err(DetectorFault::Failed(status)) => (1, status),
        Err(DetectorFault::Panicked) => (2, 0),
        Err(_) => (3, 0),
    };
    let told = result.unwrap_or_default();
    to.clear();
    to.extend_from_slice(&fault.to_ne_bytes());
    to.extend_from_slice(&status.to_ne_bytes());
    to.extend_from_slice(&told.events.to_ne_bytes());
    to.extend_from_slice(&told.prob.to_ne_bytes());
    to.extend_from_slice(&told.confidence.to_ne_bytes());
    to.extend_from_slice(&told.value.to_ne_bytes());
    to.extend_from_slice(&told.t_event.to_ne_bytes());
    let times = [nanos(counts.busy), nanos(counts.worst)];
    for count in [counts.frames, counts.faults, counts.non_finite_in, counts.mended]
        .iter()
        .chain(&times)
    {
        to.extend_from_slice(&count.to_ne_bytes());
    }
    put_samples(to, clean);
}

/// Reads an answer from its first [`ANSWER`] bytes.
pub(super) fn answer(head: &[u8; ANSWER]) -> io::Result<(Result<DetectorOutput, DetectorFault>, DetectorCounts)> {
    let mut fields = Fields(head);
    let fault = u32::from_ne_bytes(fields.next());
    let status = i32::from_ne_bytes(fields.next());
    let told = DetectorOutput {
        events: u32::from_ne_bytes(fields.next()),
        prob: f32::from_ne_bytes(fields.next()),
        confidence: f32::from_ne_bytes(fields.next()),
        value: u32::from_ne_bytes(fields.next()),
        t_event: u64::from_ne_bytes(fields.next()),
    };
    let mut count = || u64::from_ne_bytes(fields.next());
    let counts = DetectorCounts {
        frames: count(),
        faults: count(),
        non_finite_in: count(),
        mended: count(),
        busy: Duration::from_nanos(count()),
        worst: Duration::from_nanos(count()),
    };
    let result = match fault {
        0 => Ok(told),
        1 => Err(DetectorFault::Failed(status)),
        2 => Err(DetectorFault::Panicked),
        3 => Err(DetectorFault::Frame),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok((result, counts))
}

fn put_samples(to: &mut Vec<u8>, samples: &[f32]) {
    to.extend(samples.iter().flat_map(|s| s.to_ne_bytes()));
}

fn read_samples(from: &mut impl Read, n: usize) -> io::Result<Vec<f32>> {
    let mut bytes = vec![0; 4 * n];
    from.read_exact(&mut bytes)?;
    let mut samples = vec![0.0; n];
    take_samples(&bytes, &mut samples);
    Ok(samples)
}

/// As many as both have room for.
pub(super) fn take_samples(bytes: &[u8], samples: &mut [f32]) {
    for (to, from) in samples.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *to = f32::from_ne_bytes(*from);
    }
}

/// Numbers one after the other; 0 where there are none left.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn next<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().unwrap_or((&[0; N], &[]));
        self.0 = rest;
        *field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_arrives_as_it_was_sent_with_and_without_its_far_end() {
        let flags = InputFlags {
            ai_speaking: true,
            protected: false,
            gap: true,
            muted: false,
        };
        for far in [None, Some([0.5, f32::NEG_INFINITY, -0.0])] {
            let input = DetectorInput {
                t: u64::MAX - 7,
                near: &[1.0, -0.25, f32::MIN_POSITIVE],
                far: far.as_ref().map(|far| &far[..]),
                far_delay: -480,
                lost: u32::MAX,
                flags,
            };
            let mut bytes = Vec::new();
            put_frame(&mut bytes, &input, far.is_some());
            let sent = Heard {
                t: input.t,
                near: input.near.to_vec(),
                far: far.map(|far| far.to_vec()),
                far_delay: -480,
                lost: u32::MAX,
                flags,
                wants_clean: far.is_some(),
            };
            let (mut one, mut short) = (&bytes[..], &bytes[..bytes.len() - 1]);
            assert_eq!(read_request(&mut one, 3).unwrap(), Some(Request::Hear(sent)));
            assert_eq!(read_request(&mut one, 3).unwrap(), None);
            assert!(read_request(&mut short, 3).is_err(), "cut off");
            assert!(read_request(&mut &bytes[..], 2).is_err(), "more samples than a frame may have");
        }
        let mut bytes = Vec::new();
        put_reset(&mut bytes);
        assert_eq!(read_request(&mut &bytes[..], 0).unwrap(), Some(Request::Reset));
        assert!(read_request(&mut &[9; 100][..], 1 << 20).is_err(), "no request at all");
    }

    #[test]
    fn an_answer_arrives_as_it_was_given() {
        let told = DetectorOutput {
            events: 0x8001,
            prob: 0.75,
            confidence: 0.125,
            t_event: 1 << 40,
            value: 35,
        };
        let counts = DetectorCounts {
            frames: 1,
            faults: 2,
            non_finite_in: 3,
            mended: 4,
            busy: Duration::from_nanos(5),
            worst: Duration::from_nanos(6),
        };
        let results = [
            Ok(told),
            Err(DetectorFault::Failed(-4)),
            Err(DetectorFault::Panicked),
            Err(DetectorFault::Frame),
        ];
        for result in results {
            let mut bytes = Vec::new();
            put_answer(&mut bytes, result, &counts, &[0.5, -0.5]);
            let (head, samples) = bytes.split_first_chunk::<ANSWER>().unwrap();
            assert_eq!(answer(head).unwrap(), (result, counts));
            let mut clean = [0.0; 2];
            take_samples(samples, &mut clean);
            assert_eq!(clean, [0.5, -0.5]);
        }
        assert!(answer(&[0xff; ANSWER]).is_err(), "no answer at all");
    }
}
