//! Chunked transfer coding, as it streams. Lines and trailers are bounded.

const MAX_LINE: usize = 4_096;
const MAX_TRAILERS: usize = 64 * 1024;

/// Where in the coding we are.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    state: State,
    line: Vec<u8>,
    trailers: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Data(u64),
    AfterData,
    Trailer,
    Done,
}

impl Chunked {
    /// Takes raw bytes, appends those of the body; how many were used (all, unless the body is over).
    pub(crate) fn push(&mut self, raw: &[u8], body: &mut Vec<u8>) -> Result<usize, String> {
        let mut used = 0;
        while used < raw.len() && self.state != State::Done {
            if let State::Data(left) = self.state {
                let n = left.min((raw.len() - used) as u64) as usize;
                body.extend_from_slice(&raw[used..used + n]);
                used += n;
                self.state = match left - n as u64 {
                    0 => State::AfterData,
                    left => State::Data(left),
                };
                continue;
            }
            let byte = raw[used];
            used += 1;
            if byte != b'\n' {
                if self.line.len() >= MAX_LINE {
                    return Err("a chunk's head without an end".into());
                }
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            self.end_of_line(line.strip_suffix(b"\r").unwrap_or(&line))?;
        }
        Ok(used)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn end_of_line(&mut self, line: &[u8]) -> Result<(), String> {
        self.state = match self.state {
            State::Size => {
                let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
                let size = str::from_utf8(digits)
                    .ok()
                    .filter(|d| !d.starts_with('+'))
                    .and_then(|d| u64::from_str_radix(d, 16).ok());
                match size.ok_or("a chunk without a size")? {
                    0 => State::Trailer,
                    size => State::Data(size),
                }
            }
            State::AfterData if line.is_empty() => State::Size,
            State::AfterData => return Err("a chunk that is longer than it says".into()),
            State::Trailer if line.is_empty() => State::Done,
            State::Trailer => {
                self.trailers += line.len();
                if self.trailers > MAX_TRAILERS {
                    return Err("trailers without an end".into());
                }
                State::Trailer
            }
            State::Data(_) | State::Done => return Ok(()),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(raw: &[u8], cut: usize) -> Result<(Vec<u8>, bool), String> {
        let (mut chunked, mut body) = (Chunked::default(), Vec::new());
        for piece in raw.chunks(cut.max(1)) {
            chunked.push(piece, &mut body)?;
        }
        Ok((body, chunked.is_done()))
    }

    #[test]
    fn sizes_extensions_and_trailers() {
        let raw = b"3\r\nabc\r\n0A; name=\"x\"\r\n0123456789\r\n0\r\nX: y\r\n\r\nnext";
        for cut in 1..raw.len() {
            assert_eq!(all(raw, cut).unwrap(), (b"abc0123456789".to_vec(), true));
        }
        for wrong in [
            &b"x\r\n"[..],
            b"\r\n",
            b"+3\r\nabc\r\n",
            b"-1\r\n",
            b"3\r\nabcd\r\n",
            b"fffffffffffffffff\r\n",
        ] {
            assert!(all(wrong, 99).is_err(), "{wrong:?}");
        }
        assert!(all(&vec![b'1'; MAX_LINE + 1], 99).is_err(), "bounded");
    }

    proptest! {
        #[test]
        fn what_is_coded_comes_back(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..6), cut in 1usize..80) {
            let mut raw = Vec::new();
            for part in &parts {
                raw.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                raw.extend_from_slice(part);
                raw.extend_from_slice(b"\r\n");
            }
            raw.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(all(&raw, cut).unwrap(), (parts.concat(), true));
        }

        #[test]
        fn nothing_panics(raw in prop::collection::vec(any::<u8>(), 0..300), cut in 1usize..80) {
            drop(all(&raw, cut));
        }
    }
}
