//! Server-sent events: lines into events, events into audio bytes. One event at a time is held, and that is bounded.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

/// An event's bytes; 4 MiB of base64 are 65 s of speech at 24 kHz.
const MAX_EVENT: usize = 4 << 20;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The parser.
#[derive(Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    after_cr: bool,
    done: bool,
}

impl Events {
    /// Takes a piece of the body; `audio` is called with the bytes of each event that carries some.
    pub(crate) fn push(&mut self, bytes: &[u8], mut audio: impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
        for &byte in bytes {
            if self.done {
                return Ok(());
            }
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\r' | b'\n' => self.end_of_line(&mut audio)?,
                _ => {
                    if self.line.len() + self.data.len() >= MAX_EVENT {
                        return Err(format!("an event of more than {MAX_EVENT} bytes"));
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(())
    }

    /// The server said that this was all.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    fn end_of_line(&mut self, audio: &mut impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
        if self.line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return if data.is_empty() { Ok(()) } else { self.event(&data, audio) };
        }
        if let Some(data) = self.line.strip_prefix(b"data:") {
            if !self.data.is_empty() {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
        }
        self.line.clear();
        Ok(())
    }

    fn event(&mut self, data: &[u8], audio: &mut impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
        if data.trim_ascii() == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        let event: Value = serde_json::from_slice(data).map_err(|e| format!("an event that is not JSON ({e})"))?;
        if let Some(error) = event.get("error").filter(|e| !e.is_null()) {
            let words = error.get("message").unwrap_or(error);
            return Err(format!(
                "the server says: {}",
                words.as_str().map_or_else(|| words.to_string(), str::to_owned)
            ));
        }
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        let encoded = ["audio", "delta"].iter().find_map(|key| event.get(key).and_then(Value::as_str));
        if let Some(encoded) = encoded {
            let bytes = BASE64
                .decode(encoded.trim())
                .map_err(|e| format!("audio that is not base64 ({e})"))?;
            audio(&bytes)?;
        }
        self.done = kind.ends_with(".done");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(body: &[u8], at_once: usize) -> Result<Vec<u8>, String> {
        let (mut events, mut got) = (Events::default(), Vec::new());
        for piece in body.chunks(at_once.max(1)) {
            events.push(piece, |bytes| {
                got.extend_from_slice(bytes);
                Ok(())
            })?;
        }
        Ok(got)
    }

    #[test]
    fn both_spellings_any_line_end_and_any_cut() {
        let body = b": hello\r\nevent: x\ndata: {\"type\":\"speech.audio.delta\",\"audio\":\"QUJD\"}\n\ndata:{\"delta\":\"REU\",\r\ndata: \"n\":1}\r\n\r\ndata: {\"type\":\"speech.audio.done\",\"usage\":{}}\n\ndata: garbage\n\n";
        for at_once in 1..body.len() {
            assert_eq!(all(body, at_once).unwrap(), b"ABCDE");
        }
        assert_eq!(all(b"data: [DONE]\n\ndata: x\n\n", 3).unwrap(), b"");
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(
            all(b"data: {\"error\":{\"message\":\"no GPU\"}}\n\n", 99)
                .unwrap_err()
                .contains("no GPU")
        );
        assert!(all(b"data: x\n\n", 99).is_err());
        assert!(all(b"data: {\"audio\":\"***\"}\n\n", 99).unwrap_err().contains("base64"));
        assert!(all(&vec![b'x'; MAX_EVENT + 1], 4096).is_err(), "bounded");
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8), cut in 1usize..50) {
            let mut body = Vec::new();
            for part in &parts {
                body.extend_from_slice(format!("data: {{\"audio\":\"{}\"}}\n\n", BASE64.encode(part)).as_bytes());
            }
            prop_assert_eq!(all(&body, cut).unwrap(), parts.concat());
        }

        #[test]
        fn nothing_panics(body in prop::collection::vec(any::<u8>(), 0..300), cut in 1usize..50) {
            drop(all(&body, cut));
        }
    }
}
