//! Text that is still being written: what of it can be spoken by now.
//!
//! A sentence is a piece once the next one has begun; a newline ends one at once; the first piece of all is a clause of a few words, so that it is
//! heard soon. Markdown is read again from the start of the present block (paragraph, list, table) at every append, and what stands before the
//! place that was taken already is passed over: so a mark that closes later changes nothing that was spoken. Inside a line, what may still become a
//! link, code, HTML or an entity waits until it does or the line ends; a line with a `|` waits for the next one, which tells whether it is a table's.
//! Invariant: what is taken is taken once, in order.

use super::{Part, Spoken, markdown};
use crate::options::Format;
use crate::text::{self, Piece};

/// A first sentence that is longer than this, or not complete, is spoken from its first clause on.
const SHORT_CHARS: usize = 60;
/// A block that is longer is spoken as far as it goes, whatever it is: it is read anew with each append.
const BLOCK_BYTES: usize = 16_384;
/// What is longer than this is no link.
const LINK_BYTES: usize = 2_000;

/// How much is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// What is complete.
    Complete,
    /// What there is: nobody has appended for a while.
    Idle,
    /// Everything: nothing more comes.
    End,
}

/// A place in the text as sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct At {
    bytes: usize,
    chars: u32,
}

impl At {
    fn moved(self, by: &str) -> Self {
        Self {
            bytes: self.bytes + by.len(),
            chars: self.chars + by.chars().count() as u32,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Growing {
    markdown: bool,
    /// From here on the text is held.
    held: At,
    /// Where the present block begins.
    block: At,
    /// The mark that ends the code we are in.
    fence: Option<(char, usize)>,
}

/// What stands at the beginning of a block.
enum Block {
    /// Nothing that can be judged yet.
    Waits,
    /// Blank lines and code, to this byte.
    Silent(usize),
    /// Complete to this byte.
    Closed(usize),
    /// It may go on.
    Open,
}

impl Growing {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            markdown: format == Format::Markdown,
            ..Self::default()
        }
    }

    /// What was not taken and would be spoken if nothing more came.
    pub(crate) fn held<'a>(&self, sent: &'a str) -> &'a str {
        if self.fence.is_some() || self.markdown && fence(&sent[self.block.bytes..]).is_some() {
            return "";
        }
        &sent[self.held.bytes..]
    }

    /// Pieces that can be spoken now, appended to what is spoken. `fresh`: nothing was spoken before.
    pub(crate) fn take(&mut self, sent: &str, spoken: &mut Spoken, take: Take, fresh: bool) -> Vec<Piece> {
        if self.markdown {
            return self.take_markdown(sent, spoken, take, fresh);
        }
        let from = self.held;
        let held = &sent[from.bytes..];
        let mut pieces = Vec::new();
        for found in cut(held, take != Take::Complete, fresh) {
            let end = At {
                bytes: from.bytes + found.bytes.end,
                chars: from.chars + found.chars.end,
            };
            // Blanks go with what follows them.
            let piece = &sent[self.held.bytes..end.bytes];
            if text::is_blank(piece) {
                continue;
            }
            let chars = end.chars - self.held.chars;
            pieces.push(if spoken.made.is_some() {
                let mut part = Part {
                    text: piece.to_owned(),
                    map: Default::default(),
                };
                part.map.copy(chars, 0);
                spoken.append(&part, 0..part.text.len(), 0..chars, self.held.chars)
            } else {
                Piece {
                    bytes: self.held.bytes..end.bytes,
                    chars: self.held.chars..end.chars,
                }
            });
            self.held = end;
        }
        pieces
    }

    fn take_markdown(&mut self, sent: &str, spoken: &mut Spoken, take: Take, fresh: bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        loop {
            let fresh = fresh && pieces.is_empty();
            match self.next_block(sent, take) {
                Block::Waits => return pieces,
                Block::Silent(end) => self.pass(sent, end),
                Block::Closed(end) => {
                    pieces.extend(self.speak(sent, end, spoken, Take::End, fresh));
                    self.pass(sent, end);
                }
                Block::Open => {
                    pieces.extend(self.speak(sent, sent.len(), spoken, take, fresh));
                    if take != Take::Complete {
                        self.held = self.held.moved(&sent[self.held.bytes..]);
                    }
                    if take == Take::End {
                        self.block = self.held;
                    }
                    return pieces;
                }
            }
        }
    }

    /// The block is done with, to this byte.
    fn pass(&mut self, sent: &str, end: usize) {
        self.block = self.block.moved(&sent[self.block.bytes..end]);
        if self.held.bytes < end {
            self.held = self.block;
        }
    }

    fn next_block(&mut self, sent: &str, take: Take) -> Block {
        let start = self.block.bytes;
        let rest = &sent[start..];
        let mut end = start;
        for line in rest.split_inclusive('\n') {
            let first = end == start;
            let complete = line.ends_with('\n') || take == Take::End;
            let marks = fence(line);
            if let Some(open) = self.fence {
                let closes = marks.is_some_and(|(mark, n)| mark == open.0 && n >= open.1) && line.trim().chars().all(|c| c == open.0);
                if !complete {
                    return if first { Block::Waits } else { Block::Silent(end) };
                }
                end += line.len();
                if closes {
                    self.fence = None;
                    return Block::Silent(end);
                }
                continue;
            }
            let blank = text::is_blank(line);
            if first && blank {
                // Also the indentation of what follows: in a stream nothing is code for that.
                return Block::Silent(end + line.len());
            }
            if marks.is_some() {
                if !first {
                    return Block::Closed(end);
                }
                if !complete {
                    return Block::Waits;
                }
                self.fence = marks;
                return Block::Silent(end + line.len());
            }
            if first {
                let indented = line.len() - line.trim_start().len();
                if indented > 0 {
                    return Block::Silent(end + indented);
                }
            }
            if blank && complete {
                return Block::Closed(end);
            }
            end += line.len();
            if end - start > BLOCK_BYTES {
                return Block::Closed(end);
            }
        }
        match (rest.is_empty(), self.fence.is_some()) {
            (true, _) => Block::Waits,
            (_, true) => Block::Silent(end),
            (false, false) => Block::Open,
        }
    }

    /// Speaks what was not taken of the block that ends at this byte.
    fn speak(&mut self, sent: &str, end: usize, spoken: &mut Spoken, take: Take, fresh: bool) -> Vec<Piece> {
        let block = &sent[self.block.bytes..end];
        let block = if take == Take::Complete { &block[..settled(block)] } else { block };
        let part = markdown::render(block, take == Take::End || block.ends_with('\n'));
        let first = part.map.first_from(self.held.chars - self.block.chars);
        let from = part.text.char_indices().nth(first as usize).map_or(part.text.len(), |(at, _)| at);
        let blank = part.text[from..].chars().take_while(|c| c.is_whitespace());
        let (first, from) = blank.fold((first, from), |(chars, at), c| (chars + 1, at + c.len_utf8()));
        let mut pieces = Vec::new();
        for found in cut(&part.text[from..], take != Take::Complete, fresh) {
            let (bytes, chars) = (
                from + found.bytes.start..from + found.bytes.end,
                first + found.chars.start..first + found.chars.end,
            );
            let taken = self.block.chars + part.map.end_of(chars.end);
            // Without a letter there is nothing to hear: a dash, an ellipsis that stands alone.
            if part.text[bytes.clone()].contains(char::is_alphanumeric) {
                pieces.push(spoken.append(&part, bytes, chars, self.block.chars));
            }
            let ahead = taken.saturating_sub(self.held.chars) as usize;
            let rest = &sent[self.held.bytes..];
            let ahead = rest.char_indices().nth(ahead).map_or(rest.len(), |(at, _)| at);
            self.held = self.held.moved(&rest[..ahead]);
        }
        pieces
    }
}

/// What of a text can be spoken by now: sentences, at first a clause.
fn cut(held: &str, all: bool, fresh: bool) -> Vec<Piece> {
    let mut found = text::requests(held);
    if fresh && let Some(first) = found.first().cloned() {
        let complete = all || found.len() > 1 || text::ends_line(held);
        if (!complete || first.chars.len() > SHORT_CHARS)
            && let Some((clause, rest)) = text::first_clause(held, &first)
        {
            found.splice(..1, [clause, rest]);
        }
    }
    if !all && !text::ends_line(held) {
        found.pop();
    }
    found
}

/// The line opens or closes code: its mark, and how many of them.
fn fence(line: &str) -> Option<(char, usize)> {
    let line = line.trim_start();
    let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let count = line.chars().take_while(|c| *c == mark).count();
    let info = line[count..].lines().next().unwrap_or_default();
    (count >= 3 && !(mark == '`' && info.contains('`'))).then_some((mark, count))
}

/// How much of a block that may go on can be judged: the rest may still become something that is not read.
fn settled(block: &str) -> usize {
    let rules = |line: &str| !line.ends_with('\n') && !line.is_empty() && line.chars().all(|c| matches!(c, '|' | ':' | '-' | ' '));
    let (mut rows, mut table) = (0, block.len());
    for line in block.split_inclusive('\n').rev() {
        if !line.contains('|') && !rules(line) {
            break;
        }
        rows += usize::from(line.ends_with('\n'));
        table -= line.len();
    }
    if table < block.len() && rows < 2 {
        return table;
    }
    let line = block.rfind('\n').map_or(0, |at| at + 1);
    line + settled_in_line(&block[line..])
}

fn settled_in_line(line: &str) -> usize {
    let bytes = line.as_bytes();
    let run = |at: usize| bytes[at..].iter().take_while(|b| **b == bytes[at]).count();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &line[at..];
        let step = match bytes[at] {
            b'`' => {
                let mut end = at + run(at);
                loop {
                    match bytes[end..].iter().position(|b| *b == b'`') {
                        None => return at,
                        Some(next) if run(end + next) == run(at) && end + next + run(at) < bytes.len() => {
                            break end + next + run(at) - at;
                        }
                        Some(next) => end += next + run(end + next),
                    }
                    if end >= bytes.len() {
                        return at;
                    }
                }
            }
            b'[' => {
                let from = if at > 0 && bytes[at - 1] == b'!' { at - 1 } else { at };
                match link(rest) {
                    None => return from,
                    Some(len) => len,
                }
            }
            b'<' if rest[1..]
                .chars()
                .next()
                .is_none_or(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '!')) =>
            {
                match rest.find('>') {
                    None => return at,
                    Some(end) => end + 1,
                }
            }
            b'&' if rest.len() < 32 && rest[1..].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'#') => return at,
            b'\\' => match rest[1..].chars().next() {
                None => return at,
                Some(c) => 1 + c.len_utf8(),
            },
            b'*' | b'_' | b'~' | b'!' if run(at) == rest.len() => return at,
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        at += step;
    }
    line.len()
}

/// Bytes of the link that begins here, 1 if it is none; `None`: that is not known yet.
fn link(text: &str) -> Option<usize> {
    let close = |from: usize, open: u8, close: u8| {
        let mut depth = 0_i32;
        let closing = text.bytes().skip(from).take(LINK_BYTES).position(|b| {
            depth += i32::from(b == open) - i32::from(b == close);
            depth == 0
        });
        closing.map(|at| from + at + 1)
    };
    let unknown = |from: usize| (text.len() - from > LINK_BYTES).then_some(1);
    let Some(label) = close(0, b'[', b']') else {
        return unknown(0);
    };
    match text.as_bytes().get(label)? {
        b'(' => close(label, b'(', b')').or_else(|| unknown(label)),
        b'[' => close(label, b'[', b']').or_else(|| unknown(label)),
        _ => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appends token by token; what was taken after each, and after the end.
    fn tokens(text: &str, format: Format, size: usize) -> Vec<String> {
        let (mut growing, mut spoken) = (Growing::new(format), Spoken::growing(format, None));
        let mut sent = String::new();
        let mut said = Vec::new();
        let chars: Vec<char> = text.chars().collect();
        let mut take = |sent: &str, how| {
            for piece in growing.take(sent, &mut spoken, how, said.is_empty()) {
                said.push(spoken.text(sent)[piece.bytes].to_owned());
            }
        };
        for token in chars.chunks(size) {
            sent.extend(token);
            take(&sent, Take::Complete);
        }
        take(&sent, Take::End);
        said
    }

    #[test]
    fn markdown_is_read_as_it_is_written_whatever_the_tokens() {
        let text = "# A title\n\nThis is **bold and. Long** with `code. Here`, a [link. To](http://x.org/a.b?c) it. Next one!\n\n\
                    | a | b |\n|---|---|\n| 1. | 2 |\n\n```rust\nfn main() {}\n\nlet a;\n```\n- one\n- two 🎉\n\nLast";
        for size in 1..12 {
            assert_eq!(
                tokens(text, Format::Markdown, size),
                [
                    "A title.\n",
                    "This is bold and. ",
                    "Long with, a link. ",
                    "To it. ",
                    "Next one!\n",
                    "one.\n",
                    "two.\n",
                    "Last.\n"
                ],
                "tokens of {size}"
            );
        }
    }

    #[test]
    fn a_sentence_is_spoken_before_its_paragraph_ends() {
        let (mut growing, mut spoken) = (Growing::new(Format::Markdown), Spoken::growing(Format::Markdown, None));
        let sent = "The **first** thing. The *sec";
        let pieces = growing.take(sent, &mut spoken, Take::Complete, true);
        assert_eq!(pieces.len(), 1);
        assert_eq!(&spoken.text(sent)[pieces[0].bytes.clone()], "The first thing. ");
        assert_eq!(spoken.back(pieces[0].chars.clone()), 0..21);
        assert_eq!(growing.held(sent), "The *sec");
        let sent = "The **first** thing. The *second* one.";
        let pieces = growing.take(sent, &mut spoken, Take::End, false);
        assert_eq!(&spoken.text(sent)[pieces[0].bytes.clone()], "The second one.\n");
        assert_eq!(spoken.back(pieces[0].chars.clone()), 21..38);
    }

    #[test]
    fn what_never_closes_is_spoken_at_the_end_without_its_marks() {
        assert_eq!(tokens("see [this and `that", Format::Markdown, 3), ["see [this and that.\n"]);
        assert_eq!(tokens("a | b\nnext | line\n", Format::Markdown, 1), ["a | b next | line.\n"]);
        assert_eq!(tokens("text\n```\ncode", Format::Markdown, 1), ["text.\n"]);
        assert_eq!(
            tokens("    four spaces are no code here", Format::Markdown, 5),
            ["four spaces are no code here.\n"]
        );
    }

    #[test]
    fn a_lexicon_spells_the_words_of_a_stream() {
        let lexicon = super::super::Lexicon::new([("", "utterd", "utter dee")]);
        for format in [Format::Text, Format::Markdown] {
            let (mut growing, mut spoken) = (Growing::new(format), Spoken::growing(format, lexicon.of("")));
            let sent = "Ask utterd. Or utterd's friend. And";
            let pieces = growing.take(sent, &mut spoken, Take::Complete, false);
            let said: Vec<_> = pieces.iter().map(|p| &spoken.text(sent)[p.bytes.clone()]).collect();
            assert_eq!(said, ["Ask utter dee. ", "Or utter dee's friend. "]);
            assert_eq!(spoken.back(pieces[1].chars.clone()), 12..32);
            assert_eq!(growing.held(sent), "And");
        }
    }
}
