//! What is spoken, and where it comes from in the text as sent.
//!
//! A text passes two doors on its way to a backend: its format (markdown and SSML lose their marks), then the lexicon (words get another
//! spelling). Backends, synthesis and marks of words know only what comes out; clients know only what they sent. This room keeps the way back, so
//! that whatever is reported (heard text, progress) is a place in the text as sent. Everything counts Unicode code points.
//!
//! Invariants, over any input: the way back never leaves the text as sent and never goes backwards; nothing here panics. Not here: how a
//! text is divided into requests (`text`), and when (`stream`).

mod lexicon;
mod map;
mod markdown;
mod pieces;
#[cfg(test)]
mod random;
mod ssml;
mod writer;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

pub use lexicon::Lexicon;
use lexicon::Words;
pub(crate) use pieces::{Growing, Take};

use crate::options::Format;
use crate::request::{ErrorKind, Failure};
use crate::text::Piece;
use map::Map;

/// A stretch of spoken text with the way back to what it was made from.
#[derive(Debug)]
struct Part {
    text: String,
    map: Map,
}

/// A named place in an SSML document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Spoken code points before it.
    pub(crate) spoken: u32,
    /// Its place in the text as sent.
    pub(crate) sent: u32,
    pub(crate) name: String,
}

/// What of an utterance is spoken. `None` inside: the text as sent, letter by letter.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    made: Option<Box<Made>>,
    words: Option<Arc<Words>>,
    /// Not reached yet.
    marks: VecDeque<Mark>,
}

#[derive(Debug, Default)]
struct Made {
    text: String,
    /// From the spoken text to the text without its format.
    words: Map,
    /// From there to the text as sent.
    format: Map,
}

impl Spoken {
    /// A whole text.
    pub(crate) fn of(sent: &str, format: Format, words: Option<Arc<Words>>) -> Result<Self, Failure> {
        let mut spoken = Self { words, ..Self::default() };
        let part = match format {
            Format::Text => {
                // Nearly always there is nothing to do, and a text is kept once.
                if let Some((text, map)) = spoken.words.as_ref().and_then(|w| w.apply(sent)) {
                    let mut format = Map::default();
                    format.copy(sent.chars().count() as u32, 0);
                    let words = map;
                    spoken.made = Some(Box::new(Made { text, words, format }));
                }
                return Ok(spoken);
            }
            Format::Markdown => markdown::render(sent, false),
            Format::Ssml => {
                let (part, marks) = ssml::render(sent).map_err(|what| Failure::new(ErrorKind::InvalidArgs, what))?;
                spoken.marks = marks.into();
                part
            }
        };
        spoken.made = Some(Box::default());
        spoken.append(&part, 0..part.text.len(), 0..part.map.spoken(), 0);
        if let Some(made) = &spoken.made {
            for mark in &mut spoken.marks {
                mark.spoken = made.words.first_from(mark.spoken);
            }
        }
        Ok(spoken)
    }

    /// Of a stream: nothing yet.
    pub(crate) fn growing(format: Format, words: Option<Arc<Words>>) -> Self {
        Self {
            made: (format != Format::Text || words.is_some()).then(Box::default),
            words,
            marks: VecDeque::new(),
        }
    }

    /// The text that backends get. `sent`: the text as sent.
    pub(crate) fn text<'a>(&'a self, sent: &'a str) -> &'a str {
        self.made.as_ref().map_or(sent, |m| &m.text)
    }

    /// Where a stretch of the spoken text comes from.
    pub(crate) fn back(&self, spoken: Range<u32>) -> Range<u32> {
        match &self.made {
            None => spoken,
            Some(made) => made.format.range(&made.words.range(&spoken)),
        }
    }

    /// Where that ends in the text as sent which has been spoken up to here.
    pub(crate) fn back_end(&self, spoken: u32) -> u32 {
        match &self.made {
            None => spoken,
            Some(made) => made.format.end_of(made.words.end_of(spoken)),
        }
    }

    /// The marks before this place; each once.
    pub(crate) fn reached(&mut self, spoken: u32) -> impl Iterator<Item = Mark> {
        let count = self.marks.iter().take_while(|m| m.spoken < spoken).count();
        self.marks.drain(..count)
    }

    /// All that are left.
    pub(crate) fn marks_left(&mut self) -> VecDeque<Mark> {
        std::mem::take(&mut self.marks)
    }

    /// Puts a stretch behind what is there, through the lexicon; `moved`: code points of the text as sent before that of the part.
    fn append(&mut self, part: &Part, bytes: Range<usize>, chars: Range<u32>, moved: u32) -> Piece {
        let made = self.made.get_or_insert_default();
        let text = &part.text[bytes];
        let count = chars.end - chars.start;
        let start = (made.text.len(), made.words.spoken());
        let middle = made.format.spoken();
        made.format.append(&part.map, chars, moved);
        match self.words.as_ref().and_then(|w| w.apply(text)) {
            Some((text, map)) => {
                made.words.append(&map, 0..map.spoken(), middle);
                made.text.push_str(&text);
            }
            None => {
                made.words.copy(count, middle);
                made.text.push_str(text);
            }
        }
        Piece {
            bytes: start.0..made.text.len(),
            chars: start.1..made.words.spoken(),
        }
    }
}
