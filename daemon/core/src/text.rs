//! Text as pieces: sentences for progress, and requests of bounded size for backends that speak one sentence at a time.
//! Offsets on the wire count Unicode code points; here both bytes (to slice) and code points are kept.

use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// A stretch of an utterance's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Bytes of the utterance's text.
    pub(crate) bytes: Range<usize>,
    /// The same stretch in code points.
    pub(crate) chars: Range<u32>,
}

/// A piece longer than this many code points is divided between words: a backend that is asked for one sentence at a time
/// must not be asked for an hour of audio because somebody forgot the full stops.
const PIECE_CHARS: u32 = 400;

/// Nothing in it could be spoken.
pub(crate) fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c.is_control())
}

/// The sentences of a text, in order, without gaps (UAX #29; an abbreviation such as "Dr." does not end one).
pub(crate) fn sentences(text: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut chars = 0;
    let mut join = false;
    for (start, sentence) in text.split_sentence_bound_indices() {
        let count = u32::try_from(sentence.chars().count()).unwrap_or(u32::MAX);
        let end = start + sentence.len();
        match pieces.last_mut() {
            Some(last) if join || is_blank(sentence) => {
                last.bytes.end = end;
                last.chars.end = chars + count;
            }
            _ => pieces.push(Piece {
                bytes: start..end,
                chars: chars..chars + count,
            }),
        }
        chars += count;
        join = ends_with_abbreviation(sentence);
    }
    pieces
}

/// The sentences, those that are too long divided between words.
pub(crate) fn requests(text: &str) -> Vec<Piece> {
    let mut out = Vec::new();
    for sentence in sentences(text) {
        if sentence.chars.len() as u32 <= PIECE_CHARS {
            out.push(sentence);
            continue;
        }
        let mut piece = Piece {
            bytes: sentence.bytes.start..sentence.bytes.start,
            chars: sentence.chars.start..sentence.chars.start,
        };
        for word in text[sentence.bytes.clone()].split_word_bounds() {
            let count = word.chars().count() as u32;
            if piece.chars.len() as u32 + count > PIECE_CHARS && !piece.chars.is_empty() {
                out.push(piece.clone());
                piece = Piece {
                    bytes: piece.bytes.end..piece.bytes.end,
                    chars: piece.chars.end..piece.chars.end,
                };
            }
            piece.bytes.end += word.len();
            piece.chars.end += count;
        }
        out.push(piece);
    }
    out
}

/// The whole text as one piece, for backends that stream.
pub(crate) fn whole(text: &str) -> Piece {
    Piece {
        bytes: 0..text.len(),
        chars: 0..u32::try_from(text.chars().count()).unwrap_or(u32::MAX),
    }
}

/// The first `chars` code points.
pub(crate) fn prefix(text: &str, chars: u32) -> &str {
    text.char_indices().nth(chars as usize).map_or(text, |(at, _)| &text[..at])
}

/// Where the word ends (in code points) that reaches up to `chars`: past apostrophes, hyphens and points inside it.
pub(crate) fn word_end(text: &str, chars: u32) -> u32 {
    let mut rest = text.chars().skip((chars as usize).saturating_sub(1));
    if chars == 0 || !rest.next().is_some_and(|last| last.is_alphanumeric() || is_joint(last)) {
        return chars;
    }
    let rest: Vec<char> = rest.take(64).collect();
    let inside = |at: usize| rest[at].is_alphanumeric() || (is_joint(rest[at]) && rest.get(at + 1).is_some_and(|next| next.is_alphanumeric()));
    chars + (0..rest.len()).take_while(|at| inside(*at)).count() as u32
}

/// Stands inside words.
fn is_joint(c: char) -> bool {
    matches!(c, '\'' | '’' | '-' | '‐' | '.' | ',' | ':' | '@' | '_')
}

/// Where the word ends (in code points) that a share of the text, by time, has reached: the estimate for backends without word timing.
pub(crate) fn estimated_chars(text: &str, heard_us: u64, total_us: u64) -> u32 {
    if heard_us == 0 || total_us == 0 {
        return 0;
    }
    let total = text.chars().count() as u64;
    let reached = (u128::from(total) * u128::from(heard_us) / u128::from(total_us)).min(u128::from(total)) as u64;
    let mut chars = 0;
    let mut end = 0;
    for word in text.split_word_bounds() {
        if chars >= reached {
            break;
        }
        chars += word.chars().count() as u64;
        if !is_blank(word) {
            end = chars;
        }
    }
    u32::try_from(end).unwrap_or(u32::MAX)
}

fn ends_with_abbreviation(sentence: &str) -> bool {
    const ABBREVIATIONS: [&str; 18] = [
        "dr.", "mr.", "mrs.", "ms.", "prof.", "st.", "no.", "nr.", "e.g.", "i.e.", "z.b.", "d.h.", "vs.", "approx.", "bzw.", "ca.", "sr.",
        "jr.",
    ];
    let Some(word) = sentence.split_whitespace().next_back() else {
        return false;
    };
    let word = word.trim_start_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    ABBREVIATIONS.contains(&word.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(text: &str) -> Vec<&str> {
        sentences(text).iter().map(|p| &text[p.bytes.clone()]).collect()
    }

    #[test]
    fn sentences_follow_each_other_without_gaps() {
        let text = "Hello there. Dr. Smith paid 3.50 euros!  Überraschung? 終わり。次。";
        assert_eq!(spoken(text).concat(), text);
        assert_eq!(
            spoken(text),
            [
                "Hello there. ",
                "Dr. Smith paid 3.50 euros!  ",
                "Überraschung? ",
                "終わり。",
                "次。"
            ]
        );
        let chars: Vec<_> = sentences(text).into_iter().map(|p| p.chars).collect();
        assert_eq!(chars[0].start, 0);
        assert!(chars.windows(2).all(|w| w[0].end == w[1].start));
        assert_eq!(chars.last().map(|c| c.end), Some(text.chars().count() as u32));
    }

    #[test]
    fn a_sentence_without_end_is_divided_between_words() {
        let text = "word ".repeat(1000);
        let pieces = requests(&text);
        assert!(pieces.iter().all(|p| p.chars.len() as u32 <= PIECE_CHARS));
        assert_eq!(pieces.iter().map(|p| &text[p.bytes.clone()]).collect::<String>(), text);
        assert!(pieces.len() >= 12);
    }

    #[test]
    fn an_estimate_ends_with_a_word() {
        assert_eq!(estimated_chars("one two three", 0, 1000), 0);
        assert_eq!(prefix("one two three", estimated_chars("one two three", 500, 1000)), "one two");
        assert_eq!(
            prefix("one two three", estimated_chars("one two three", 1000, 1000)),
            "one two three"
        );
    }

    #[test]
    fn a_word_ends_where_people_see_its_end() {
        let end = |text: &str, chars| prefix(text, word_end(text, chars)).to_owned();
        assert_eq!(end("I can't e-mail", 5), "I can't");
        assert_eq!(end("I can't e-mail", 9), "I can't e-mail");
        assert_eq!(end("$3,500.75 now", 3), "$3,500.75");
        assert_eq!(end("one two. Three", 7), "one two");
        assert_eq!(end("one two. Three", 8), "one two.");
        assert_eq!(end("終わり。次", 3), "終わり");
        assert_eq!(end("one", 0), "");
    }

    #[test]
    fn blank_means_nothing_to_speak() {
        assert!(is_blank(" \t\n\u{7}"));
        assert!(!is_blank(" a "));
    }
}
