//! Writes what is spoken and, beside it, where each code point comes from.
//!
//! White space is held back until something follows it, so that it never stands at the end of a sentence, and two of it are one. The same
//! holds for the end of a sentence: headings and list items end one, whether or not their author wrote a full stop.

use std::ops::Range;

use super::Part;
use super::map::Map;

pub(super) struct Writer<'a> {
    sent: &'a str,
    /// Bytes and code points of the text as sent that were passed: questions come in order.
    passed: (usize, u32),
    out: String,
    map: Map,
    /// White space that was met and not written.
    space: Option<Range<usize>>,
    /// Something was left out since the last code point written.
    gap: bool,
    ends: bool,
    /// Where the present sentence begins.
    sentence: (usize, u32),
    /// A sentence without a letter or a digit is none.
    words_only: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(sent: &'a str, words_only: bool) -> Self {
        Self {
            sent,
            passed: (0, 0),
            out: String::with_capacity(sent.len()),
            map: Map::default(),
            space: None,
            gap: false,
            ends: false,
            sentence: (0, 0),
            words_only,
        }
    }

    /// What was written. An open text may go on in the same sentence; that of a closed one is ended as if something followed.
    pub(super) fn finish(mut self, close: bool) -> Part {
        if close {
            self.end_now();
        }
        Part {
            text: self.out,
            map: self.map,
        }
    }

    /// Code points of the text as sent before this byte.
    pub(super) fn chars_before(&mut self, byte: usize) -> u32 {
        let (at, chars) = self.passed;
        if let Some(between) = self.sent.get(at..byte.max(at)) {
            self.passed = (at + between.len(), chars + between.chars().count() as u32);
        }
        self.passed.1
    }

    /// Code points written; what is held back not counted.
    pub(super) fn chars(&self) -> u32 {
        self.map.spoken()
    }

    /// Text as it stands there.
    pub(super) fn prose(&mut self, at: usize, text: &str) {
        for (offset, c) in text.char_indices() {
            self.letter(c, at + offset..at + offset + c.len_utf8());
        }
    }

    /// One code point that stands for these bytes.
    pub(super) fn letter(&mut self, c: char, bytes: Range<usize>) {
        if c.is_whitespace() || c.is_control() {
            self.space.get_or_insert(bytes);
            return;
        }
        self.settle(c);
        self.put(c, bytes);
    }

    /// Other words for these bytes: an atom.
    pub(super) fn replace(&mut self, words: &str, bytes: Range<usize>) {
        let words: Vec<&str> = words
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|w| !w.is_empty())
            .collect();
        let words = words.join(" ");
        let Some(first) = words.chars().next() else {
            self.left_out();
            return;
        };
        self.settle(first);
        let sent = self.chars_before(bytes.start)..self.chars_before(bytes.end);
        self.map.replace(words.chars().count() as u32, sent);
        self.out.push_str(&words);
    }

    /// White space that nobody wrote.
    pub(super) fn apart(&mut self) {
        let at = self.passed.0;
        self.space.get_or_insert(at..at);
    }

    /// Something that is not spoken.
    pub(super) fn left_out(&mut self) {
        self.gap = true;
    }

    /// What follows is another sentence.
    pub(super) fn end_sentence(&mut self) {
        self.ends = true;
    }

    /// A short pause.
    pub(super) fn comma(&mut self) {
        if self.wants_a_stop() {
            self.put_in(',');
        }
        self.apart();
    }

    /// What was held back, as far as it matters before this one.
    fn settle(&mut self, next: char) {
        if std::mem::take(&mut self.ends) {
            self.end_now();
        }
        let gap = std::mem::take(&mut self.gap);
        let Some(space) = self.space.take() else {
            return;
        };
        let begins = self.out.len() == self.sentence.0;
        if !(begins || gap && matches!(next, ',' | '.' | ';' | ':' | '!' | '?' | ')')) {
            self.put(' ', space);
        }
    }

    fn end_now(&mut self) {
        self.space = None;
        let sentence = &self.out[self.sentence.0..];
        if sentence.is_empty() {
            return;
        }
        if self.words_only && !sentence.contains(char::is_alphanumeric) {
            self.out.truncate(self.sentence.0);
            self.map.truncate(self.sentence.1);
            return;
        }
        if self.wants_a_stop() {
            let ideograph = |c: char| matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}');
            self.put_in(if sentence.ends_with(ideograph) { '。' } else { '.' });
        }
        self.put_in('\n');
        self.sentence = (self.out.len(), self.chars());
    }

    fn wants_a_stop(&self) -> bool {
        const CLOSING: [char; 10] = ['"', '\'', '”', '’', '»', '«', '“', ')', ']', '}'];
        const STOPS: &str = ".!?…:;,—–。！？：；，、।؟۔";
        let sentence = self.out[self.sentence.0..].trim_end_matches(CLOSING);
        sentence.chars().next_back().is_some_and(|c| !STOPS.contains(c))
    }

    fn put_in(&mut self, c: char) {
        let at = self.chars_before(self.passed.0);
        self.map.replace(1, at..at);
        self.out.push(c);
    }

    fn put(&mut self, c: char, bytes: Range<usize>) {
        let sent = self.chars_before(bytes.start)..self.chars_before(bytes.end);
        if sent.end - sent.start == 1 {
            self.map.copy(1, sent.start);
        } else {
            self.map.replace(1, sent);
        }
        self.out.push(c);
    }
}
