//! Bytes into samples: what the body is, decided by what came (the first bytes before the content type), then WAV or raw PCM as it streams.
//!
//! Nothing that the header claims is trusted further than it can be checked: rates and channels have bounds, the lengths 0, 0xFFFFFFFF and
//! those near 2^31 that streaming servers write mean "until the end", and what stands after an honest length is not audio. Not here: SSE.

use crate::mime::{self, Kind};

/// Rates that the host can make something of.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;
const MAX_CHANNELS: u16 = 32;
/// Bytes of other chunks before the audio.
const MAX_HEADER: u64 = 1 << 20;
/// Lengths from here on are placeholders: nobody speaks for 12 hours.
const ENDLESS: u32 = 0x7FFF_0000;

const ADVICE: &str = "ask the server for WAV or PCM: response-format = \"wav\" (or \"pcm\") in [plugin.tts-http]";

/// How one sample is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    U8,
    I16,
    I16Big,
    I24,
    I32,
    F32,
    F64,
}

impl Form {
    fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::I16 | Self::I16Big => 2,
            Self::I24 => 3,
            Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// One sample; `at` has as many bytes as the form. What is no number is silence, what is too loud is full scale.
    fn sample(self, at: &[u8]) -> f32 {
        let value = match (self, at) {
            (Self::U8, [a]) => (f32::from(*a) - 128.0) / 128.0,
            (Self::I16, [a, b]) => f32::from(i16::from_le_bytes([*a, *b])) / 32_768.0,
            (Self::I16Big, [a, b]) => f32::from(i16::from_be_bytes([*a, *b])) / 32_768.0,
            (Self::I24, [a, b, c]) => (i32::from_le_bytes([0, *a, *b, *c]) >> 8) as f32 / 8_388_608.0,
            (Self::I32, [a, b, c, d]) => i32::from_le_bytes([*a, *b, *c, *d]) as f32 / 2_147_483_648.0,
            (Self::F32, [a, b, c, d]) => f32::from_le_bytes([*a, *b, *c, *d]),
            (Self::F64, [a, b, c, d, e, f, g, h]) => f64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as f32,
            _ => 0.0,
        };
        if value.is_nan() { 0.0 } else { value.clamp(-1.0, 1.0) }
    }
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    form: Form,
    rate: u32,
    channels: u16,
}

#[derive(Debug)]
enum State {
    /// Nothing is known yet.
    Sniff,
    /// In front of a chunk of a WAV file.
    Chunk,
    /// Over so many bytes of a chunk that does not matter.
    Skip(u64),
    /// In the samples; so many bytes are left, `None` = until the end.
    Samples(Option<u64>),
    /// Behind the samples.
    Over,
}

/// What raw samples are: where the server says nothing, and, for the order of bytes, even if it says otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw {
    pub(crate) rate: u32,
    pub(crate) channels: u16,
    pub(crate) big_endian: Option<bool>,
}

/// The decoder of one body.
#[derive(Debug)]
pub(crate) struct Decoder {
    said: Kind,
    raw: Raw,
    asked_for_raw: bool,
    state: State,
    shape: Option<Shape>,
    held: Vec<u8>,
    header: u64,
    bytes: u64,
}

impl Decoder {
    pub(crate) fn new(said: Kind, raw: Raw, asked_for_raw: bool) -> Result<Self, String> {
        if let Kind::Compressed(name) = said {
            return Err(compressed(name));
        }
        Ok(Self {
            said,
            raw,
            asked_for_raw,
            state: State::Sniff,
            shape: None,
            held: Vec::new(),
            header: 0,
            bytes: 0,
        })
    }

    /// Known before the first sample comes out.
    pub(crate) fn rate(&self) -> Option<u32> {
        self.shape.map(|s| s.rate)
    }

    /// Bytes taken so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A new event of a stream: some servers begin each with a header of its own.
    pub(crate) fn restart_if_header(&mut self, piece: &[u8]) {
        if piece.starts_with(b"RIFF") && piece.get(8..12) == Some(b"WAVE") && matches!(self.state, State::Samples(_) | State::Over) {
            self.held.clear();
            self.header = 0;
            self.state = State::Sniff;
        }
    }

    /// Takes a piece of the body and appends mono samples.
    pub(crate) fn push(&mut self, mut piece: &[u8], mono: &mut Vec<f32>) -> Result<(), String> {
        self.bytes += piece.len() as u64;
        loop {
            match self.state {
                State::Sniff => {
                    self.take(&mut piece, 12);
                    // An error page is quoted, so some of it is waited for.
                    if self.said == Kind::Words && self.held.len() >= 12 && mime::magic(&self.held).is_none() {
                        self.take(&mut piece, 300);
                        if self.held.len() < 300 {
                            return Ok(());
                        }
                    }
                    if !self.sniff()? {
                        return Ok(());
                    }
                }
                State::Chunk => {
                    if !self.chunk(&mut piece)? {
                        return Ok(());
                    }
                }
                State::Skip(left) => {
                    let n = left.min(piece.len() as u64);
                    piece = &piece[n as usize..];
                    self.state = if n == left { State::Chunk } else { State::Skip(left - n) };
                    if n < left {
                        return Ok(());
                    }
                }
                State::Samples(left) => {
                    let n = left.map_or(piece.len(), |left| left.min(piece.len() as u64) as usize);
                    self.samples(&piece[..n], mono);
                    self.state = match left.map(|left| left - n as u64) {
                        Some(0) => State::Over,
                        left => State::Samples(left),
                    };
                    return Ok(());
                }
                State::Over => return Ok(()),
            }
        }
    }

    /// The body ended here: a few bytes may still be waiting for a decision, and nothing at all is an error.
    pub(crate) fn finish(&mut self, mono: &mut Vec<f32>) -> Result<(), String> {
        match self.state {
            State::Sniff if self.bytes == 0 => Err("the server sent no audio".into()),
            State::Sniff if mime::magic(&self.held) == Some(Kind::Wav) => Err("the WAV header is cut off".into()),
            State::Sniff => {
                self.decide()?;
                let held = std::mem::take(&mut self.held);
                self.samples(&held, mono);
                Ok(())
            }
            State::Chunk | State::Skip(_) => Err("a WAV file without a data chunk".into()),
            State::Samples(_) | State::Over => Ok(()),
        }
    }

    /// Moves bytes to `held` until it has so many.
    fn take(&mut self, piece: &mut &[u8], want: usize) {
        let n = want.saturating_sub(self.held.len()).min(piece.len());
        self.held.extend_from_slice(&piece[..n]);
        *piece = &piece[n..];
    }

    /// False: more bytes are needed.
    fn sniff(&mut self) -> Result<bool, String> {
        if self.held.len() < 12 {
            return Ok(false);
        }
        if mime::magic(&self.held) == Some(Kind::Wav) {
            if &self.held[8..12] != b"WAVE" {
                return Err(format!("a RIFF file that is no WAV; {ADVICE}"));
            }
            self.held.clear();
            self.state = State::Chunk;
            return Ok(true);
        }
        self.decide()?;
        // The bytes that were looked at are the first samples: they stay in `held`, where a broken frame would.
        Ok(true)
    }

    /// It is no WAV: raw samples, or a refusal.
    fn decide(&mut self) -> Result<(), String> {
        if let Some(Kind::Compressed(name)) = mime::magic(&self.held) {
            return Err(compressed(name));
        }
        let (rate, channels, said_big) = match self.said {
            Kind::Pcm {
                rate,
                channels,
                big_endian,
            } => (rate, channels, big_endian),
            Kind::EventStream | Kind::Unknown if self.asked_for_raw => (None, None, None),
            Kind::Wav => return Err(format!("the server says it sends WAV but does not; {ADVICE}")),
            Kind::Words => {
                return Err(format!("the server answered with text instead of audio: {}", words(&self.held)));
            }
            Kind::Compressed(name) => return Err(compressed(name)),
            _ if mime::looks_like_mpeg(&self.held) => return Err(compressed("MP3")),
            Kind::EventStream | Kind::Unknown => {
                return Err(format!(
                    "the server sent something that is neither WAV nor said to be PCM; {ADVICE}"
                ));
            }
        };
        let big = self.raw.big_endian.or(said_big).unwrap_or(false);
        let form = if big { Form::I16Big } else { Form::I16 };
        self.shaped(form, rate.unwrap_or(self.raw.rate), channels.unwrap_or(self.raw.channels))?;
        self.state = State::Samples(None);
        Ok(())
    }

    fn shaped(&mut self, form: Form, rate: u32, channels: u16) -> Result<(), String> {
        if !RATES.contains(&rate) {
            return Err(format!(
                "the server says {rate} Hz; {} to {} are possible",
                RATES.start(),
                RATES.end()
            ));
        }
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(format!("the server says {channels} channels; 1 to {MAX_CHANNELS} are possible"));
        }
        if self.shape.is_some_and(|s| s.rate != rate) {
            return Err("the sample rate changed in mid-speech".into());
        }
        self.shape = Some(Shape { form, rate, channels });
        Ok(())
    }

    /// One chunk's head, or all of `fmt `. False: more bytes are needed.
    fn chunk(&mut self, piece: &mut &[u8]) -> Result<bool, String> {
        self.take(piece, 8);
        let [id @ .., a, b, c, d] = self.held.get(..8).unwrap_or_default() else {
            return Ok(false);
        };
        let (id, size) = (<[u8; 4]>::try_from(id).unwrap_or_default(), u32::from_le_bytes([*a, *b, *c, *d]));
        match &id {
            b"data" => {
                if self.shape.is_none() {
                    return Err("a WAV file whose samples come before their format".into());
                }
                self.held.clear();
                let endless = size == 0 || size >= ENDLESS;
                self.state = State::Samples((!endless).then_some(u64::from(size)));
            }
            b"fmt " => {
                if !(16..=4_096).contains(&size) {
                    return Err(format!("a WAV format chunk of {size} bytes"));
                }
                let padded = size as usize + (size as usize & 1);
                self.take(piece, 8 + padded);
                if self.held.len() < 8 + padded {
                    return Ok(false);
                }
                let fmt = self.held.split_off(8);
                self.held.clear();
                self.format(&fmt)?;
            }
            _ => {
                let padded = u64::from(size) + u64::from(size & 1);
                self.header += padded + 8;
                if self.header > MAX_HEADER {
                    return Err(format!("no audio in the first {MAX_HEADER} bytes of a WAV file"));
                }
                self.held.clear();
                self.state = State::Skip(padded);
            }
        }
        Ok(true)
    }

    fn format(&mut self, fmt: &[u8]) -> Result<(), String> {
        let at = |n: usize| u16::from_le_bytes([fmt[n], fmt[n + 1]]);
        let (mut tag, channels, bits) = (at(0), at(2), at(14));
        let rate = u32::from_le_bytes([fmt[4], fmt[5], fmt[6], fmt[7]]);
        if tag == 0xFFFE && fmt.len() >= 26 {
            tag = at(24);
        }
        let form = match (tag, bits) {
            (1, 8) => Form::U8,
            (1, 16) => Form::I16,
            (1, 24) => Form::I24,
            (1, 32) => Form::I32,
            (3, 32) => Form::F32,
            (3, 64) => Form::F64,
            _ => {
                return Err(format!(
                    "a WAV file with samples of format {tag}, {bits} bits; ask the server for 16-bit PCM"
                ));
            }
        };
        self.shaped(form, rate, channels)
    }

    /// Whole frames become samples; a broken one waits in `held`.
    fn samples(&mut self, piece: &[u8], mono: &mut Vec<f32>) {
        let Some(Shape { form, channels, .. }) = self.shape else { return };
        let frame = form.bytes() * usize::from(channels);
        let joined;
        let bytes = if self.held.is_empty() {
            piece
        } else {
            self.held.extend_from_slice(piece);
            joined = std::mem::take(&mut self.held);
            joined.as_slice()
        };
        let frames = bytes.chunks_exact(frame);
        self.held = frames.remainder().to_vec();
        mono.reserve(bytes.len() / frame);
        for frame in frames {
            let sum: f32 = frame.chunks_exact(form.bytes()).map(|s| form.sample(s)).sum();
            mono.push(sum / f32::from(channels));
        }
    }
}

fn compressed(name: &str) -> String {
    format!("the server sent {name}; {ADVICE}")
}

/// The beginning of an answer, for people.
pub(crate) fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]);
    let text = text.replace(|c: char| c.is_control(), " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn wav(length: u32, rate: u32, samples: &[i16]) -> Vec<u8> {
        let mut file = b"RIFF\xff\xff\xff\xffWAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0\x01\0\x01\0".to_vec();
        file.extend_from_slice(&rate.to_le_bytes());
        file.extend_from_slice(&(rate * 2).to_le_bytes());
        file.extend_from_slice(b"\x02\0\x10\0data");
        file.extend_from_slice(&length.to_le_bytes());
        samples.iter().for_each(|s| file.extend_from_slice(&s.to_le_bytes()));
        file
    }

    fn decode(said: &str, asked_for_raw: bool, body: &[u8], cut: usize) -> Result<(Vec<f32>, u32), String> {
        decode_as(None, said, asked_for_raw, body, cut)
    }

    fn decode_as(big_endian: Option<bool>, said: &str, asked_for_raw: bool, body: &[u8], cut: usize) -> Result<(Vec<f32>, u32), String> {
        let raw = Raw {
            rate: 24_000,
            channels: 1,
            big_endian,
        };
        let mut decoder = Decoder::new(mime::kind(said), raw, asked_for_raw)?;
        let mut mono = Vec::new();
        for piece in body.chunks(cut.max(1)) {
            decoder.push(piece, &mut mono)?;
        }
        decoder.finish(&mut mono)?;
        Ok((mono, decoder.rate().unwrap_or(0)))
    }

    #[test]
    fn a_wav_with_any_streaming_length_is_heard_to_its_end() {
        let samples: Vec<i16> = (0..500).map(|n| n * 60).collect();
        let heard: Vec<f32> = samples.iter().map(|s| f32::from(*s) / 32_768.0).collect();
        for length in [0, u32::MAX, 0x7FFF_F000, 0x7FFF_FFFF, 1_000] {
            for said in ["audio/wav", "", "audio/mpeg-is-what-it-says", "text/plain", "audio/pcm;rate=8000"] {
                for cut in [1, 7, 64, 10_000] {
                    assert_eq!(
                        decode(said, false, &wav(length, 22_050, &samples), cut).unwrap(),
                        (heard.clone(), 22_050)
                    );
                }
            }
        }
    }

    #[test]
    fn what_follows_an_honest_length_is_no_audio_and_a_long_one_ends_with_the_body() {
        let mut file = wav(4, 8_000, &[1, 2]);
        file.extend_from_slice(b"LIST\x04\0\0\0abcd");
        assert_eq!(decode("audio/wav", false, &file, 9).unwrap().0.len(), 2);
        assert_eq!(decode("audio/wav", false, &wav(4_000, 8_000, &[1, 2]), 9).unwrap().0.len(), 2);
    }

    #[test]
    fn raw_samples_have_the_rate_that_is_said_or_configured() {
        let body: Vec<u8> = [100i16, -100, 32_767].iter().flat_map(|s| s.to_le_bytes()).collect();
        assert_eq!(decode("audio/pcm", false, &body, 1).unwrap().1, 24_000);
        assert_eq!(decode("audio/pcm;rate=16000", false, &body, 1).unwrap().1, 16_000);
        assert_eq!(decode("application/octet-stream", true, &body, 5).unwrap().0.len(), 3);
        assert_eq!(decode("audio/L16;rate=8000;channels=3", false, &body, 5).unwrap().0.len(), 1);
        assert!(
            decode("application/octet-stream", false, &body, 5)
                .unwrap_err()
                .contains("response-format")
        );
        let long: Vec<u8> = (0..40i16).flat_map(|s| s.to_le_bytes()).collect();
        let heard = decode("audio/pcm", false, &long, 5).unwrap().0;
        assert_eq!(
            heard,
            (0..40i16).map(|s| f32::from(s) / 32_768.0).collect::<Vec<_>>(),
            "the sniffed bytes are heard too"
        );
    }

    #[test]
    fn l16_is_big_endian_unless_the_server_or_the_operator_says_otherwise() {
        let samples = [1i16, -2, 300, 32_767, -32_768, 0, 77, 5];
        let heard: Vec<f32> = samples.iter().map(|s| f32::from(*s) / 32_768.0).collect();
        let big: Vec<u8> = samples.iter().flat_map(|s| s.to_be_bytes()).collect();
        let little: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        for (configured, said, body) in [
            (None, "audio/L16;rate=8000", &big),
            (None, "audio/L16;rate=8000;endianness=little-endian", &little),
            (None, "audio/L16;codec=pcm;rate=24000", &little),
            (None, "audio/pcm;rate=24000", &little),
            (Some(false), "audio/L16;rate=8000", &little),
            (Some(true), "audio/pcm", &big),
            (Some(true), "application/octet-stream", &big),
        ] {
            for cut in [1, 3, 64] {
                assert_eq!(decode_as(configured, said, true, body, cut).unwrap().0, heard, "{said}");
            }
        }
        let file = wav(0, 8_000, &samples);
        assert_eq!(
            decode_as(Some(true), "audio/wav", true, &file, 7).unwrap().0,
            heard,
            "WAV knows its own"
        );
    }

    #[test]
    fn compressed_audio_is_refused_with_advice() {
        for (said, body) in [
            ("audio/mpeg", &b""[..]),
            ("", b"ID3\x04............."),
            ("", b"\xff\xfb\x90\x64............."),
            ("audio/wav", b"OggS............."),
            ("audio/pcm", b"fLaC............."),
        ] {
            assert!(
                decode(said, false, body, 4).unwrap_err().contains("response-format = \"wav\""),
                "{said}"
            );
        }
        assert!(decode("text/html", false, b"<h1>Bad Gateway</h1>", 4).unwrap_err().contains("<h1>"));
    }

    #[test]
    fn lies_are_found_out() {
        for (file, why) in [
            (wav(0, 0, &[1]), "0 Hz"),
            (wav(0, 4_000_000, &[1]), "4000000 Hz"),
            (b"RIFF....WAVEdata\x04\0\0\0abcd".to_vec(), "before their format"),
            (b"RIFF....WAVEjunk\xff\xff\xff\xff".to_vec(), "no audio"),
            (b"RIFF....WAVEfmt \xff\xff\0\0".to_vec(), "format chunk"),
            (b"RIFF....AVI ....".to_vec(), "no WAV"),
            (b"RIFF....".to_vec(), "cut off"),
            (vec![], "no audio"),
        ] {
            let error = decode("audio/wav", false, &file, 3).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let mut floats = wav(0, 8_000, &[]);
        let format = floats.windows(4).position(|w| w == b"fmt ").unwrap() + 8;
        floats[format] = 3;
        floats[format + 14] = 32;
        for value in [f32::NAN, f32::INFINITY, -1e30, 0.25] {
            floats.extend_from_slice(&value.to_le_bytes());
        }
        assert_eq!(decode("", false, &floats, 5).unwrap().0, [0.0, 1.0, -1.0, 0.25]);
    }

    proptest! {
        #[test]
        fn nothing_panics_and_all_that_comes_out_is_sound(
            head in prop::sample::select(vec![&b""[..], b"RIFF....WAVE", b"RIFF....WAVEfmt \x10\0\0\0", b"RIFF....WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0"]),
            tail in prop::collection::vec(any::<u8>(), 0..400),
            said in prop::sample::select(vec!["", "audio/wav", "audio/pcm", "audio/pcm;rate=1;channels=0", "audio/L16;rate=8000", "text/html"]),
            raw in any::<bool>(), cut in 1usize..70,
        ) {
            let body = [head, &tail].concat();
            if let Ok((mono, rate)) = decode(said, raw, &body, cut) {
                prop_assert!(mono.is_empty() || RATES.contains(&rate));
                prop_assert!(mono.iter().all(|s| s.abs() <= 1.0));
                let whole = decode(said, raw, &body, usize::MAX).unwrap();
                prop_assert_eq!(whole, (mono, rate), "cuts do not matter");
            }
        }
    }
}
