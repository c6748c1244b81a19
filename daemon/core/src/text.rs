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

/// The sentences of a text, in order, without gaps: those of UAX #29 (a decimal, a domain or a lower-case word after a full stop does not
/// end one), but for abbreviations, initials, bare numbers and the words after a quotation, which go on in the same sentence.
pub(crate) fn sentences(text: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut chars = 0;
    let mut join = Join::Never;
    for (start, sentence) in text.split_sentence_bound_indices() {
        let count = u32::try_from(sentence.chars().count()).unwrap_or(u32::MAX);
        let end = start + sentence.len();
        match pieces.last_mut() {
            Some(last) if join.holds(sentence) || is_blank(sentence) || goes_on(&text[last.bytes.clone()], sentence) => {
                last.bytes.end = end;
                last.chars.end = chars + count;
            }
            _ => pieces.push(Piece {
                bytes: start..end,
                chars: chars..chars + count,
            }),
        }
        chars += count;
        join = if ends_line(sentence) { Join::Never } else { Join::after(sentence) };
    }
    pieces
}

/// It ends with a line break: whatever follows is said on its own.
pub(crate) fn ends_line(text: &str) -> bool {
    text.ends_with(['\n', '\r', '\u{2028}', '\u{2029}'])
}

/// `"Stop!" he said.` is one sentence, and a URL with a question mark one word.
fn goes_on(last: &str, next: &str) -> bool {
    const CLOSING: [char; 8] = ['"', '\u{201d}', '\u{2019}', '\u{201c}', '\'', '\u{bb}', '\u{ab}', ')'];
    let word = last.rsplit(char::is_whitespace).next().unwrap_or_default();
    if word.contains("://") || word.starts_with("www.") {
        return !next.starts_with(char::is_whitespace);
    }
    !ends_line(last) && last.trim_end().ends_with(CLOSING) && next.trim_start().starts_with(char::is_lowercase)
}

/// "1." begins a list's item.
fn is_bare_number(sentence: &str) -> bool {
    let number = sentence.trim().trim_end_matches('.');
    !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
}

/// Divides a piece behind its first clause: a comma or its like after a few words, with something after it.
pub(crate) fn first_clause(text: &str, piece: &Piece) -> Option<(Piece, Piece)> {
    const WORDS: usize = 4;
    const IDEOGRAPHS: usize = 6;
    let of = &text[piece.bytes.clone()];
    let (mut words, mut in_word) = (0, false);
    for (count, (at, c)) in of.char_indices().enumerate() {
        let next = of[at + c.len_utf8()..].chars().next();
        let blank_follows = next.is_some_and(char::is_whitespace);
        let after = match c {
            ',' | ';' | ':' | '\u{2014}' | '\u{2013}' if blank_follows && words + usize::from(in_word) >= WORDS => Some(2),
            '\u{3001}' | '\u{ff0c}' | '\u{ff1b}' if next.is_some() && count >= IDEOGRAPHS => Some(1),
            _ => None,
        };
        if let Some(after) = after {
            let bytes = at + c.len_utf8() + if after == 2 { next.map_or(0, char::len_utf8) } else { 0 };
            if is_blank(&of[bytes..]) {
                return None;
            }
            let (bytes, chars) = (piece.bytes.start + bytes, piece.chars.start + (count + after) as u32);
            let part = |bytes, chars| Piece { bytes, chars };
            return Some((
                part(piece.bytes.start..bytes, piece.chars.start..chars),
                part(bytes..piece.bytes.end, chars..piece.chars.end),
            ));
        }
        if c.is_whitespace() {
            words += usize::from(in_word);
        }
        in_word = !c.is_whitespace();
    }
    None
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
    let around: Vec<char> = text.chars().skip((chars as usize).saturating_sub(2)).take(64).collect();
    let (before, rest) = around.split_at((chars as usize).min(2).min(around.len()));
    let goes_on = match before {
        // "$3," of "$3,500": a number is one word; "three." of "three.Four" ends.
        [digit, mark] if is_joint(*mark) => digit.is_ascii_digit() && rest.first().is_some_and(char::is_ascii_digit),
        [.., last] => last.is_alphanumeric(),
        [] => false,
    };
    if !goes_on {
        return chars;
    }
    let inside =
        |at: usize| rest[at].is_alphanumeric() || (is_joint(rest[at]) && rest.get(at + 1).is_some_and(|next| next.is_alphanumeric()));
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

/// Whether what UAX #29 takes for a sentence's end is none.
enum Join {
    Never,
    Always,
    /// "no. 5", but "no."
    BeforeDigit,
}

impl Join {
    fn after(sentence: &str) -> Self {
        #[rustfmt::skip]
        const ALWAYS: [&str; 50] = [
            "dr.", "mr.", "mrs.", "ms.", "mx.", "prof.", "st.", "rev.", "hon.", "gen.", "col.", "capt.", "lt.", "sgt.", "sen.", "rep.", "gov.",
            "e.g.", "i.e.", "cf.", "vs.", "viz.", "approx.", "z.b.", "d.h.", "u.a.", "o.ä.", "bzw.", "ca.", "ggf.", "evtl.", "inkl.", "zzgl.",
            "hr.", "fr.", "frl.", "tel.", "vgl.", "sr.", "sra.", "jr.", "mme.", "mlle.", "ing.", "dipl.", "mag.", "sept.", "oct.", "nov.", "aug.",
        ];
        #[rustfmt::skip]
        const BEFORE_DIGIT: [&str; 20] = [
            "no.", "nos.", "nr.", "vol.", "fig.", "figs.", "eq.", "sec.", "ch.", "p.", "pp.", "abs.", "art.", "s.", "jan.", "feb.", "mar.", "apr.",
            "dec.", "str.",
        ];
        let Some(word) = sentence.split_whitespace().next_back() else {
            return Self::Never;
        };
        let word = word.trim_start_matches(|c: char| !c.is_alphanumeric());
        let mut letters = word.chars();
        let initial = letters.next().is_some_and(|c| c.is_uppercase() && c != 'I') && letters.as_str() == ".";
        let word = word.to_lowercase();
        if initial || ALWAYS.contains(&word.as_str()) || is_bare_number(sentence) {
            Self::Always
        } else if BEFORE_DIGIT.contains(&word.as_str()) {
            Self::BeforeDigit
        } else {
            Self::Never
        }
    }

    fn holds(&self, next: &str) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::BeforeDigit => next.trim_start().starts_with(|c: char| c.is_ascii_digit()),
        }
    }
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
    fn what_looks_like_an_end_and_is_none() {
        for whole in [
            "Prof. J. R. R. Tolkien wrote it.",
            "It costs 3.50 or 1,000.75 euros.",
            "See https://example.com/a.b?c=d. or www.Example.Com/x for more.",
            "\"Stop!\" he said.",
            "\u{201c}Why?\u{201d} she asked.",
            "Seite Nr. 5, z.B. die erste.",
            "1. First things first.",
            "Fig. 3 shows it.",
        ] {
            assert_eq!(spoken(whole), [whole]);
        }
    }

    #[test]
    fn what_is_an_end() {
        assert_eq!(spoken("I said no. Then I left."), ["I said no. ", "Then I left."]);
        assert_eq!(spoken("Dear Dr.\nHello"), ["Dear Dr.\n", "Hello"]);
        assert_eq!(spoken("hello! how are you? fine"), ["hello! ", "how are you? ", "fine"]);
        assert_eq!(spoken("\"Stop!\" He left."), ["\"Stop!\" ", "He left."]);
        assert_eq!(
            spoken("\u{3053}\u{308c}\u{3002}\u{6b21}\u{ff01}\u{7d42}"),
            ["\u{3053}\u{308c}\u{3002}", "\u{6b21}\u{ff01}", "\u{7d42}"]
        );
    }

    #[test]
    fn a_first_clause_has_a_few_words_and_something_after_it() {
        let clause =
            |text: &str| first_clause(text, &whole(text)).map(|(first, rest)| (text[first.bytes].to_owned(), text[rest.bytes].to_owned()));
        assert_eq!(clause("Well, yes"), None);
        assert_eq!(clause("One two three four,"), None);
        assert_eq!(clause("One two three four, "), None);
        assert_eq!(clause("One two three 1,000 and"), None);
        assert_eq!(
            clause("One two three four, five"),
            Some(("One two three four, ".to_owned(), "five".to_owned()))
        );
        assert!(clause("\u{4eca}\u{65e5}\u{306f}\u{3044}\u{3044}\u{5929}\u{6c17}\u{3001}\u{3067}").is_some());
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
