//! What a `Content-Type` says about the body, and what the first bytes say, which are believed before it.

/// What a body is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Wav,
    /// Raw samples of 16 bits; rate, channels and order of bytes if they were said.
    Pcm {
        rate: Option<u32>,
        channels: Option<u16>,
        big_endian: Option<bool>,
    },
    EventStream,
    /// Audio that has to be asked for in another form.
    Compressed(&'static str),
    /// HTML, JSON, plain text: most likely an error page.
    Words,
    /// `application/octet-stream`, nothing, or something new.
    Unknown,
}

/// Reads a `Content-Type`; none is the empty string.
pub(crate) fn kind(content_type: &str) -> Kind {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    match essence.as_str() {
        "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => Kind::Wav,
        "audio/pcm" | "audio/x-pcm" | "audio/raw" | "audio/x-raw" | "audio/l16" | "audio/basic-pcm" => {
            let (mut rate, mut channels) = (None, None);
            // RFC 2586: network byte order. Servers that mean the other one say so, each in its own way.
            let mut big_endian = (essence == "audio/l16").then_some(true);
            for (key, value) in parts.filter_map(|p| p.split_once('=')) {
                let value = value.trim().trim_matches('"');
                match key.trim().to_ascii_lowercase().as_str() {
                    "rate" | "samplerate" | "sample-rate" | "sample_rate" => rate = value.parse().ok().or(rate),
                    "channels" => channels = value.parse().ok().or(channels),
                    "endianness" => big_endian = Some(value.eq_ignore_ascii_case("big-endian")),
                    "codec" if value.eq_ignore_ascii_case("pcm") => big_endian = Some(false),
                    _ => {}
                }
            }
            Kind::Pcm {
                rate,
                channels,
                big_endian,
            }
        }
        "text/event-stream" => Kind::EventStream,
        "audio/mpeg" | "audio/mp3" | "audio/x-mp3" => Kind::Compressed("MP3"),
        "audio/ogg" | "application/ogg" | "audio/opus" => Kind::Compressed("Ogg"),
        "audio/flac" | "audio/x-flac" => Kind::Compressed("FLAC"),
        "audio/aac" | "audio/mp4" | "audio/x-m4a" | "audio/aacp" => Kind::Compressed("AAC"),
        "audio/webm" | "video/webm" => Kind::Compressed("WebM"),
        _ if essence.starts_with("text/") || essence.ends_with("json") || essence.ends_with("xml") => Kind::Words,
        _ => Kind::Unknown,
    }
}

/// What the first bytes are for certain. Four are needed to say no.
pub(crate) fn magic(first: &[u8]) -> Option<Kind> {
    match first {
        [b'R', b'I', b'F', b'F', ..] | [b'R', b'F', b'6', b'4', ..] => Some(Kind::Wav),
        [b'O', b'g', b'g', b'S', ..] => Some(Kind::Compressed("Ogg")),
        [b'f', b'L', b'a', b'C', ..] => Some(Kind::Compressed("FLAC")),
        [b'I', b'D', b'3', _, ..] => Some(Kind::Compressed("MP3")),
        _ => None,
    }
}

/// The sync word of an MPEG frame; as raw samples it is quiet noise, so it is believed only where nothing else is known.
pub(crate) fn looks_like_mpeg(first: &[u8]) -> bool {
    matches!(first, [0xFF, second, ..] if second & 0xE0 == 0xE0 && second & 0x06 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types_as_servers_send_them() {
        let l16 = |rate, channels, big_endian| Kind::Pcm {
            rate,
            channels,
            big_endian,
        };
        let pcm = |rate, channels| l16(rate, channels, None);
        for (said, meant) in [
            ("audio/wav", Kind::Wav),
            ("Audio/X-WAV; charset=binary", Kind::Wav),
            ("audio/pcm", pcm(None, None)),
            ("audio/pcm;rate=24000", pcm(Some(24_000), None)),
            ("audio/L16;rate=8000", l16(Some(8_000), None, Some(true))),
            (
                "audio/L16; codec=pcm ; rate=\"16000\"; channels=2",
                l16(Some(16_000), Some(2), Some(false)),
            ),
            (
                "audio/l16; rate=22050; endianness=little-endian",
                l16(Some(22_050), None, Some(false)),
            ),
            ("audio/pcm; endianness=Big-Endian", l16(None, None, Some(true))),
            ("audio/pcm; rate=NaN", pcm(None, None)),
            ("audio/pcm; rate=99999999999999", pcm(None, None)),
            ("text/event-stream; charset=utf-8", Kind::EventStream),
            ("audio/mpeg", Kind::Compressed("MP3")),
            ("text/html", Kind::Words),
            ("application/problem+json", Kind::Words),
            ("application/octet-stream", Kind::Unknown),
            ("", Kind::Unknown),
        ] {
            assert_eq!(kind(said), meant, "{said}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,80}|audio/pcm(; ?[a-z=\"0-9]{0,20}){0,4}") {
            kind(&text);
        }
    }
}
