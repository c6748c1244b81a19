//! The wire parsers for a fuzzer: bytes in, no panic out. The first byte chooses the cuts, so that one corpus serves all.

use crate::audio::{Decoder, Raw};
use crate::chunked::Chunked;
use crate::sse::Events;
use crate::url::Url;
use crate::{http, mime, server};

/// One input through every parser.
pub fn wire(input: &[u8]) {
    let (cut, input) = input
        .split_first()
        .map_or((1, input), |(cut, rest)| (usize::from(*cut).max(1), rest));
    let raw = Raw {
        rate: 24_000,
        channels: 1,
        big_endian: None,
    };
    for said in ["", "audio/wav", "audio/pcm;rate=8000", "audio/L16;rate=8000", "text/event-stream"] {
        for asked_for_raw in [false, true] {
            let Ok(mut decoder) = Decoder::new(mime::kind(said), raw, asked_for_raw) else {
                continue;
            };
            let mut mono = Vec::new();
            let fed = input.chunks(cut).try_for_each(|piece| decoder.push(piece, &mut mono));
            if fed.is_ok() {
                drop(decoder.finish(&mut mono));
            }
            assert!(mono.iter().all(|s| s.abs() <= 1.0) && mono.len() <= input.len() + 12);
        }
    }
    let mut events = Events::default();
    drop(input.chunks(cut).try_for_each(|piece| events.push(piece, |_| Ok(()))));
    let (mut chunked, mut body) = (Chunked::default(), Vec::new());
    drop(input.chunks(cut).try_for_each(|piece| chunked.push(piece, &mut body).map(drop)));
    assert!(body.len() <= input.len());
    drop(http::parse(input));
    drop(server::voice_list(input));
    let text = String::from_utf8_lossy(input);
    mime::kind(&text);
    drop(Url::parse(&text).and_then(|url| url.join(&text)));
}
