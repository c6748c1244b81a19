//! WAVs of every encoding under heads of every kind, through the decoder.

use std::io::Write;
use std::path::Path;

use crate::{Decoder, SoundError};

const RATE: u32 = 8_000;
const FRAMES: usize = 3_001;

/// A `fmt ` of two channels.
fn fmt(tag: u16, bits: u16) -> Vec<u8> {
    let block = 2 * bits / 8;
    let mut fmt = [tag.to_le_bytes(), [2, 0]].concat();
    fmt.extend(RATE.to_le_bytes());
    fmt.extend((RATE * u32::from(block)).to_le_bytes());
    fmt.extend([block.to_le_bytes(), bits.to_le_bytes()].concat());
    fmt
}

fn extensible(tag: u8, bits: u16, valid: u8) -> Vec<u8> {
    let mut fmt = fmt(0xFFFE, bits);
    fmt.extend([
        22, 0, valid, 0, 3, 0, 0, 0, tag, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71,
    ]);
    fmt
}

fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [name, &(body.len() as u32).to_le_bytes()[..], body].concat()
}

/// A whole file of these chunks, the last one the data.
fn wav(chunks: &[Vec<u8>]) -> Vec<u8> {
    let chunks = chunks.concat();
    [b"RIFF", &(chunks.len() as u32 + 4).to_le_bytes()[..], b"WAVE", &chunks].concat()
}

fn open(bytes: &[u8]) -> Result<Decoder, SoundError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Decoder::open_apart(file, Path::new("/sounds/a"))
}

/// How many frames come, how long it says it is, and how it ends.
fn heard(bytes: &[u8]) -> (usize, Option<u64>, Option<String>) {
    let mut decoder = open(bytes).unwrap();
    let (mut samples, duration) = (0, decoder.duration_us());
    loop {
        match decoder.next() {
            Ok(Some(more)) => samples += more.len(),
            Ok(None) => return (samples / 2, duration, None),
            Err(error) => return (samples / 2, duration, Some(error.reason())),
        }
        assert!(samples <= 4 * FRAMES, "it does not end");
    }
}

const WHOLE: (usize, Option<u64>, Option<String>) = (FRAMES, Some(375_125), None);

#[test]
fn every_encoding_ends_where_its_sound_does_whole_truncated_or_streamed() {
    for (what, fmt, sample) in [
        ("8 bits", fmt(1, 8), 1),
        ("16 bits", fmt(1, 16), 2),
        ("24 bits", fmt(1, 24), 3),
        ("floats", fmt(3, 32), 4),
        ("doubles", fmt(3, 64), 8),
        ("A-law", [fmt(6, 8), vec![0, 0]].concat(), 1),
        ("mu-law", [fmt(7, 8), vec![0, 0]].concat(), 1),
        ("extensible", extensible(1, 16, 16), 2),
        ("24 of 32 bits", extensible(1, 32, 24), 4),
        ("extensible floats", extensible(3, 32, 32), 4),
        ("extensible mu-law", extensible(7, 8, 8), 1),
    ] {
        let bytes = wav(&[chunk(b"fmt ", &fmt), chunk(b"data", &vec![0; FRAMES * 2 * sample])]);
        assert_eq!(heard(&bytes), WHOLE, "{what}");
        let (frames, _, error) = heard(&bytes[..bytes.len() - 1_000 * 2 * sample]);
        assert_eq!(frames, FRAMES - 1_000, "{what}");
        assert!(error.is_some_and(|e| e.contains("should be 0.375 s long")), "{what}");
        let mut streamed = bytes.clone();
        streamed[4..8].fill(0xff);
        let size_at = 12 + 8 + fmt.len() + 4;
        streamed[size_at..size_at + 4].fill(0xff);
        assert_eq!(heard(&streamed), WHOLE, "{what}, streamed");
    }
}

#[test]
fn samples_fill_their_container_from_above() {
    let sound: Vec<u8> = [1_i32 << 30, -(1 << 29)].iter().flat_map(|s| s.to_le_bytes()).collect();
    let bytes = wav(&[chunk(b"fmt ", &extensible(1, 32, 24)), chunk(b"data", &sound)]);
    assert_eq!(open(&bytes).unwrap().next().unwrap(), Some(&[0.5, -0.25][..]));
}

#[test]
fn a_length_that_was_never_filled_in_hides_no_sound() {
    let whole = wav(&[chunk(b"fmt ", &fmt(1, 16)), chunk(b"data", &[1; FRAMES * 4])]);
    let right = whole.len() as u32 - 8;
    for (riff, data) in [
        (0, 0),
        (36, 0),
        (0x7FFF_FFFF, 0),
        (u32::MAX, 0),
        (right, 0),
        (right, u32::MAX),
        (0, u32::MAX),
        (0x7FFF_F024, 0x7FFF_F000),
        (0x7FFF_FFFF, 0x7FFF_FFFF - 36),
        (0, right - 36),
        (20, right - 36),
        (u32::MAX, right - 36),
    ] {
        let mut bytes = whole.clone();
        bytes[4..8].copy_from_slice(&riff.to_le_bytes());
        bytes[40..44].copy_from_slice(&data.to_le_bytes());
        assert_eq!(heard(&bytes), WHOLE, "{riff:#x} {data:#x}");
    }
    let note = chunk(b"LIST", b"INFOISFT\x04\0\0\0Lavf");
    let empty = wav(&[chunk(b"fmt ", &fmt(1, 16)), chunk(b"data", b""), note]);
    assert_eq!(heard(&empty), (0, Some(0), None), "what is behind no sound is no sound");
}

#[test]
fn heads_are_read_as_other_programs_write_them() {
    let sound = |bytes| chunk(b"data", &vec![0; FRAMES * 2 * bytes]);
    let pcm = || chunk(b"fmt ", &fmt(1, 16));
    for (what, bytes) in [
        ("a long fact", wav(&[pcm(), chunk(b"fact", &[0; 12]), sound(2)])),
        ("a long fmt", wav(&[chunk(b"fmt ", &[fmt(1, 16), vec![0; 4]].concat()), sound(2)])),
        (
            "a long fmt of floats",
            wav(&[chunk(b"fmt ", &[fmt(3, 32), vec![0; 4]].concat()), sound(4)]),
        ),
        ("a short fmt of mu-law", wav(&[chunk(b"fmt ", &fmt(7, 8)), sound(1)])),
        ("a LIST without its pad byte", wav(&[pcm(), chunk(b"LIST", b"INFOx"), sound(2)])),
        ("a LIST with it", wav(&[pcm(), chunk(b"LIST", b"INFOx"), vec![0], sound(2)])),
        (
            "20 bits",
            wav(&[
                chunk(b"fmt ", &{
                    let mut f = fmt(1, 24);
                    f[14] = 20;
                    f
                }),
                sound(3),
            ]),
        ),
        (
            "sound behind other chunks",
            wav(&[chunk(b"JUNK", &[0; 28]), pcm(), chunk(b"bext", &[0; 602]), sound(2)]),
        ),
    ] {
        assert_eq!(heard(&bytes), WHOLE, "{what}");
    }
}

#[test]
fn no_head_brings_it_down_or_keeps_it() {
    let heads = [fmt(1, 16), [fmt(7, 8), vec![0, 0]].concat(), extensible(3, 32, 32)];
    let mut seed = 1_u64;
    let mut dice = |n: usize| {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (seed >> 33) as usize % n
    };
    for life in 0..6_000 {
        let fmt = &heads[dice(heads.len())];
        let mut bytes = wav(&[chunk(b"fmt ", fmt), chunk(b"fact", &[0; 5]), chunk(b"data", &[9; 400])]);
        for _ in 0..=dice(4) {
            let at = dice(20 + 8 + fmt.len() + 20);
            bytes[at] = [0, 1, 2, 3, 6, 7, 0x10, 0x7f, 0x80, 0xfe, 0xff, dice(256) as u8][dice(12)];
        }
        if dice(4) == 0 {
            bytes.truncate(dice(bytes.len()));
        }
        let Ok(mut decoder) = open(&bytes) else { continue };
        let channels = decoder.channels();
        let mut samples = 0;
        while let Ok(Some(more)) = decoder.next() {
            samples += more.len();
            assert!(
                samples <= bytes.len() && samples % channels == 0,
                "life {life}: {samples} samples of {channels} channels"
            );
        }
        drop(decoder.seek_us(dice(100_000) as u64));
        while let Ok(Some(_)) = decoder.next() {}
    }
}
