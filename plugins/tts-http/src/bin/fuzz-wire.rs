//! `cargo run -p utterd-tts-http --features fuzz --bin fuzz-wire -- [SECONDS] [FILE…]`: files, or random mutations of real answers for so long.
//! Needs no nightly and no libFuzzer; `utterd_tts_http::fuzz::wire` is what a libFuzzer target would call.

use std::time::{Duration, Instant};
use utterd_tts_http::fuzz::wire;

const SEEDS: &[&[u8]] = &[
    b"\x10RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\xc0\x5d\0\0\x80\xbb\0\0\x02\0\x10\0data\0\xf0\xff\x7f\x01\x02\x03\x04\x05\x06",
    b"\x07HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"\x03data: {\"type\":\"speech.audio.delta\",\"audio\":\"UklGRg==\"}\r\n\r\ndata: [DONE]\n\n",
    b"\x055;x=y\r\nabcde\r\n0\r\nT: v\r\n\r\n",
    b"\x01https://[::1]:8080/v1/audio/speech?a=%20#x",
    b"\x09{\"voices\":[{\"id\":\"a\"},\"b\"]}",
];

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().and_then(|s| s.parse().ok()).unwrap_or(10);
    for file in args {
        wire(&std::fs::read(file)?);
    }
    let (end, mut state, mut runs) = (Instant::now() + Duration::from_secs(seconds), 0x9E37_79B9_7F4A_7C15u64, 0u64);
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    while Instant::now() < end {
        let mut input = SEEDS[random(SEEDS.len())].to_vec();
        for _ in 0..=random(8) {
            let at = random(input.len());
            match random(4) {
                0 => input[at] = random(256) as u8,
                1 => input.truncate(at + 1),
                2 => input.insert(at, random(256) as u8),
                _ => {
                    let other = SEEDS[random(SEEDS.len())];
                    input.extend_from_slice(&other[random(other.len())..]);
                }
            }
        }
        wire(&input);
        runs += 1;
    }
    println!("{runs} inputs, no panic");
    Ok(())
}
