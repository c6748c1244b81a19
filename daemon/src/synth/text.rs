//! From byte offsets of a text to code points, quickly for long texts too.
//!
//! A count at every 64th byte makes each look-up a short walk. Offsets out of the text or inside a code point are taken down to where they fit:
//! they come from plugins.

const STRIDE: usize = 64;

/// Code points before each offset of one text. `[worker]`
pub(super) struct CharIndex<'a> {
    text: &'a str,
    before: Vec<u32>,
}

impl<'a> CharIndex<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut count = 0;
        let before = text
            .as_bytes()
            .chunks(STRIDE)
            .map(|block| {
                let here = count;
                count += starts(block);
                here
            })
            .collect();
        CharIndex { text, before }
    }

    /// Code points that begin before byte `offset`.
    pub(super) fn chars_before(&self, offset: usize) -> u32 {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let block = (offset / STRIDE).min(self.before.len().saturating_sub(1));
        let known = self.before.get(block).copied().unwrap_or(0);
        known + starts(&self.text.as_bytes()[block * STRIDE..offset])
    }
}

/// How many code points begin in these bytes.
fn starts(bytes: &[u8]) -> u32 {
    bytes.iter().filter(|b| (**b & 0xC0) != 0x80).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_offset_of_any_text_counts_like_chars(text in "(.|\\PC){0,300}", offset in 0usize..2_000) {
            let index = CharIndex::new(&text);
            let cut = (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
            let chars = text[..cut.unwrap_or(0)].chars().count();
            prop_assert_eq!(index.chars_before(offset) as usize, chars);
        }
    }

    #[test]
    fn a_boundary_at_the_end_of_a_block_is_exact() {
        let text = "ä".repeat(64);
        let index = CharIndex::new(&text);
        assert_eq!(index.chars_before(128), 64);
        assert_eq!(index.chars_before(64), 32);
        assert_eq!(CharIndex::new("").chars_before(7), 0);
    }
}
