//! Files of every kind, whole and broken, through the decoder.

use std::io::Write;

use super::*;

const RATE: u32 = 22_050;

fn triangle(i: usize) -> i16 {
    let t = (i % 200) as i16;
    (if t < 100 { t } else { 200 - t }) * 200 - 10_000
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn open(bytes: &[u8]) -> Result<Decoder, SoundError> {
    Decoder::open(file(bytes), Path::new("/sounds/a"))
}

/// Everything that comes, and how it ended.
fn all(decoder: &mut Decoder) -> (Vec<f32>, Option<SoundError>) {
    let mut samples = Vec::new();
    loop {
        match decoder.next() {
            Ok(Some(more)) => samples.extend_from_slice(more),
            Ok(None) => return (samples, None),
            Err(error) => return (samples, Some(error)),
        }
    }
}

fn wav(channels: u16, frames: usize, sample: impl Fn(usize, u16) -> i16) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let spec = hound::WavSpec {
        channels,
        sample_rate: RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    for frame in 0..frames {
        for channel in 0..channels {
            writer.write_sample(sample(frame, channel)).unwrap();
        }
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

fn expected(frames: std::ops::Range<usize>) -> Vec<f32> {
    frames.map(|i| f32::from(triangle(i)) / 32_768.0).collect()
}

#[test]
fn a_wav_is_decoded_to_the_sample_and_so_is_a_flac() {
    for bytes in [
        wav(1, 11_025, |i, _| triangle(i)),
        include_bytes!("../fixtures/triangle.flac").to_vec(),
    ] {
        let mut decoder = open(&bytes).unwrap();
        assert_eq!((decoder.rate(), decoder.duration_us()), (RATE, Some(500_000)));
        assert_eq!(all(&mut decoder), (expected(0..11_025), None));
        decoder.rewind().unwrap();
        assert_eq!(all(&mut decoder), (expected(0..11_025), None), "a loop has no seam");
        for from in [1, 1_151, 1_152, 1_153, 5_000, 11_024] {
            let at_us = (from as u64 * 1_000_000).div_ceil(u64::from(RATE));
            decoder.seek_us(at_us).unwrap();
            let (samples, error) = all(&mut decoder);
            assert_eq!((samples.len(), error), (11_025 - from, None), "from {from}");
            assert!(samples == expected(from..11_025), "from {from}");
        }
        for beyond in [500_000, u64::MAX] {
            decoder.seek_us(beyond).unwrap();
            assert_eq!(all(&mut decoder), (vec![], None));
        }
    }
}

#[test]
fn an_ogg_has_as_many_samples_as_were_encoded_and_sounds_like_them() {
    let bytes = include_bytes!("../fixtures/sine.ogg");
    let mut decoder = open(bytes).unwrap();
    assert_eq!((decoder.rate(), decoder.duration_us()), (RATE, Some(2_000_000)));
    let (whole, error) = all(&mut decoder);
    assert_eq!((whole.len(), error), (44_100, None));
    let sine = |i: usize| (12_000.0 / 32_768.0 * (std::f64::consts::TAU * 441.0 * i as f64 / f64::from(RATE)).sin()) as f32;
    let off = |from: usize, samples: &[f32]| {
        let squares = samples.iter().enumerate().map(|(i, s)| f64::from(s - sine(from + i)).powi(2));
        (squares.sum::<f64>() / samples.len() as f64).sqrt()
    };
    assert!(off(0, &whole) < 0.03, "{}", off(0, &whole));
    decoder.rewind().unwrap();
    assert_eq!(all(&mut decoder).0, whole, "a loop has no seam");
    decoder.seek_us(1_000_000).unwrap();
    let (half, error) = all(&mut decoder);
    assert_eq!((half.len(), error), (22_050, None));
    assert_eq!(half[2_048..], whole[22_050 + 2_048..], "a seek meets its sample");
}

#[test]
fn channels_are_averaged() {
    let mut decoder = open(&wav(2, 3_000, |i, c| if c == 0 { triangle(i) } else { 0 })).unwrap();
    let half: Vec<f32> = expected(0..3_000).iter().map(|s| s / 2.0).collect();
    assert_eq!(all(&mut decoder), (half, None));
}

#[test]
fn other_widths_and_floats_are_decoded_and_no_numbers_are_silence() {
    let spec = |bits, sample_format| hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: bits,
        sample_format,
    };
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec(32, hound::SampleFormat::Float)).unwrap();
    for sample in [0.25_f32, f32::NAN, -1.5, f32::INFINITY, 1e30] {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
    assert_eq!(
        all(&mut open(&bytes.into_inner()).unwrap()),
        (vec![0.25, 0.0, -1.5, 0.0, 0.0], None)
    );
    for bits in [8, 24, 32] {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec(bits, hound::SampleFormat::Int)).unwrap();
        for sample in [1_i32 << (bits - 2), -(1 << (bits - 3)), 0] {
            writer.write_sample(sample).unwrap();
        }
        writer.finalize().unwrap();
        assert_eq!(
            all(&mut open(&bytes.into_inner()).unwrap()),
            (vec![0.5, -0.25, 0.0], None),
            "{bits} bits"
        );
    }
}

#[test]
fn a_truncated_file_gives_what_is_there_and_then_an_error() {
    let whole = wav(1, 11_025, |i, _| triangle(i));
    let mut decoder = open(&whole[..44 + 2 * 3_000]).unwrap();
    let (samples, error) = all(&mut decoder);
    assert_eq!(samples, expected(0..3_000));
    let error = error.unwrap();
    assert!(matches!(error, SoundError::Broken { at_us: 136_054, .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("/sounds/a: it should be 0.500 s long, but ends at 0.136 s"),
        "{error}"
    );
    assert_eq!(all(&mut decoder), (vec![], None), "it was said once");

    let flac = include_bytes!("../fixtures/triangle.flac");
    let (samples, error) = all(&mut open(&flac[..flac.len() - 2_000]).unwrap());
    assert!(matches!(error, Some(SoundError::Broken { .. })), "{error:?}");
    assert_eq!(samples, expected(0..samples.len()));

    let ogg = include_bytes!("../fixtures/sine.ogg");
    let whole = all(&mut open(ogg).unwrap()).0;
    let (samples, error) = all(&mut open(&ogg[..4_800]).unwrap());
    assert!(matches!(error, Some(SoundError::Broken { .. })), "{error:?}");
    assert_eq!(samples, whole[..samples.len()]);
    assert!(samples.len() > 20_000, "{}", samples.len());
}

#[test]
fn a_stream_that_was_written_down_is_whole() {
    for length in [0xFFFF_FFFF_u32, 0x7FFF_F000, 0x7FFF_FFFF - 36] {
        let mut bytes = wav(1, 3_001, |i, _| triangle(i));
        bytes[4..8].copy_from_slice(&length.saturating_add(36).to_le_bytes());
        bytes[40..44].copy_from_slice(&length.to_le_bytes());
        let mut decoder = open(&bytes).unwrap();
        assert_eq!(decoder.duration_us(), Some(136_099));
        assert_eq!(all(&mut decoder), (expected(0..3_001), None), "{length:#x}");
    }
}

#[test]
fn what_is_no_sound_is_refused_by_name() {
    let mut zeros = vec![0; 3 << 20];
    let noise: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut half_head = wav(1, 10, |_, _| 0);
    half_head.truncate(30);
    let mut no_rate = wav(1, 10, |_, _| 0);
    no_rate[24..28].fill(0);
    for (what, bytes) in [
        ("empty", &[][..]),
        ("text", b"hello, this is no sound at all"),
        ("zeros", &zeros),
        ("noise", &noise),
        ("half a head", &half_head),
        ("no rate", &no_rate),
        ("RIFF alone", b"RIFF\xff\xff\xff\xffWAVE"),
    ] {
        match open(bytes) {
            Err(error @ SoundError::Format { .. }) => assert!(error.to_string().starts_with("/sounds/a: "), "{error}"),
            Err(error) => panic!("{what}: {error:?}"),
            Ok(_) => panic!("{what} was taken for a sound"),
        }
    }
    zeros[..12].copy_from_slice(b"RIFF\xff\xff\xff\xffWAVE");
    assert!(open(&zeros).is_err(), "chunks of nothing, without end");
}

#[test]
fn a_flac_with_a_broken_middle_was_not_heard_to_its_end() {
    let mut bytes = include_bytes!("../fixtures/triangle.flac").to_vec();
    let middle = bytes.len() - 2_000;
    for byte in &mut bytes[middle..middle + 40] {
        *byte = !*byte;
    }
    let (_, error) = all(&mut open(&bytes).unwrap());
    assert!(matches!(error, Some(SoundError::Broken { .. })), "{error:?}");
}

#[test]
fn ten_gigabytes_are_opened_and_sought_as_quickly_as_a_small_one() {
    let mut head = wav(1, 4, |_, _| 0);
    head[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    head[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    let large = file(&head);
    // A hole: it takes no room on the disk.
    large.set_len(10 << 30).unwrap();
    let mut decoder = Decoder::open(large, Path::new("/sounds/large")).unwrap();
    decoder.seek_us(3_600_000_000 * 60).unwrap();
    let heard = decoder.next().unwrap().unwrap();
    assert!(!heard.is_empty() && heard.iter().all(|s| *s == 0.0));
    assert!(decoder.samples.capacity() < 1 << 20);
}
