//! The text as libespeak-ng may see it, and the way back from its character counts to bytes. Pure.

/// One request's text, ready for the library: NUL-terminated, nothing in it a command, one character for each of the original.
pub(crate) struct Prepared {
    pub(crate) c_text: Vec<u8>,
    /// Byte offset in the original text of each character, and its length at the end.
    offsets: Vec<u32>,
}

impl Prepared {
    /// Control characters become spaces: NUL ends a C string and Ctrl-A starts espeak's own commands. `<` and `[[` need nothing: without the
    /// flags for SSML and phonemes they are plain characters.
    pub(crate) fn new(text: &str) -> Self {
        let mut c_text = Vec::with_capacity(text.len() + 1);
        let mut offsets = Vec::with_capacity(text.len() + 1);
        for (offset, c) in text.char_indices() {
            offsets.push(u32::try_from(offset).unwrap_or(u32::MAX));
            let c = if c.is_control() && !matches!(c, '\n' | '\t' | '\r') {
                ' '
            } else {
                c
            };
            c_text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        offsets.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
        c_text.push(0);
        Self { c_text, offsets }
    }

    /// Bytes of `length` characters from the 1-based `position` on, without the white space around them; `None` when nothing is left.
    pub(crate) fn bytes(&self, text: &str, position: i32, length: i32) -> Option<(usize, usize)> {
        let first = usize::try_from(position).ok()?.checked_sub(1)?;
        let last = self.offsets.len() - 1;
        let end = first.checked_add(usize::try_from(length).ok()?)?.min(last);
        let (from, to) = (*self.offsets.get(first)? as usize, *self.offsets.get(end)? as usize);
        let piece = text.get(from..to)?;
        let left = piece.trim_start();
        let from = from + (piece.len() - left.len());
        let len = left.trim_end().len();
        (len > 0).then_some((from, len))
    }

    /// Characters of the text.
    pub(crate) fn chars(&self) -> usize {
        self.offsets.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_and_marks_count_bytes() {
        let text = "Grüße, Welt 😀 x";
        let prepared = Prepared::new(text);
        let piece = |position, length| prepared.bytes(text, position, length).map(|(at, len)| &text[at..at + len]);
        assert_eq!(piece(1, 5), Some("Grüße"));
        assert_eq!(piece(8, 4), Some("Welt"));
        assert_eq!(piece(8, 5), Some("Welt"), "the space after it is not of the word");
        assert_eq!(piece(13, 1), Some("😀"));
        assert_eq!(piece(14, 1), None, "white space is no word");
    }

    #[test]
    fn nonsense_positions_give_no_mark() {
        let prepared = Prepared::new("abc");
        for (position, length) in [(0, 3), (-1, 3), (5, 1), (1, 0), (1, -4), (4, 1)] {
            assert_eq!(prepared.bytes("abc", position, length), None, "{position} {length}");
        }
        assert_eq!(prepared.bytes("abc", 2, i32::MAX), Some((1, 2)));
    }

    #[test]
    fn nothing_in_the_text_is_a_command_and_no_character_is_lost() {
        let text = "a\0b\u{1}50S\u{7f}\u{9f}<b>[[x]]\nü";
        let prepared = Prepared::new(text);
        assert_eq!(prepared.c_text.iter().filter(|b| **b == 0).count(), 1);
        assert_eq!(prepared.c_text.last(), Some(&0));
        let shown = std::str::from_utf8(&prepared.c_text[..prepared.c_text.len() - 1]).unwrap();
        assert_eq!(shown, "a b 50S  <b>[[x]]\nü");
        assert_eq!(
            (shown.chars().count(), prepared.chars()),
            (text.chars().count(), text.chars().count())
        );
    }
}
