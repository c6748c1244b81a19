//! Markdown as it is read aloud: marks, tables, code, HTML and emoji are left out; links are read by their text, images by their
//! description; headings, list items and paragraphs end a sentence. What looks like a mark and closes nothing is left out too: language
//! models forget them.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use unicode_properties::UnicodeEmoji;
use unicode_segmentation::UnicodeSegmentation;

use super::Part;
use super::writer::Writer;

/// `close`: nothing follows in the same sentence.
pub(super) fn render(sent: &str, close: bool) -> Part {
    let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut out = Writer::new(sent, true);
    // Inside what is not read.
    let mut silent = 0_u32;
    for (event, at) in Parser::new_ext(sent, options).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(_) | Tag::Table(_) | Tag::HtmlBlock) => {
                silent += 1;
                out.end_sentence();
            }
            Event::End(TagEnd::CodeBlock | TagEnd::Table | TagEnd::HtmlBlock) => silent = silent.saturating_sub(1),
            Event::Start(tag) if is_block(&tag) => out.end_sentence(),
            Event::End(tag) if ends_block(tag) => out.end_sentence(),
            Event::Start(_) | Event::End(_) | Event::TaskListMarker(_) => {}
            _ if silent > 0 => {}
            Event::Text(text) if sent.get(at.clone()) == Some(&*text) => read(&mut out, sent, at),
            // An entity: `&amp;`.
            Event::Text(text) => out.replace(&text, at),
            Event::SoftBreak => out.letter(' ', at),
            Event::HardBreak | Event::Rule => out.end_sentence(),
            Event::InlineHtml(tag) if tag.starts_with("<br") => out.end_sentence(),
            Event::Code(_)
            | Event::Html(_)
            | Event::InlineHtml(_)
            | Event::FootnoteReference(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_) => out.left_out(),
        }
    }
    out.finish(close)
}

fn is_block(tag: &Tag<'_>) -> bool {
    matches!(
        tag,
        Tag::Paragraph | Tag::Heading { .. } | Tag::BlockQuote(_) | Tag::List(_) | Tag::Item | Tag::FootnoteDefinition(_)
    )
}

fn ends_block(tag: TagEnd) -> bool {
    matches!(
        tag,
        TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::Item | TagEnd::FootnoteDefinition
    )
}

/// A stretch of plain text, but for emoji and marks that close nothing.
fn read(out: &mut Writer<'_>, sent: &str, at: Range<usize>) {
    for (offset, grapheme) in sent[at.clone()].grapheme_indices(true) {
        let start = at.start + offset;
        if is_emoji(grapheme) || is_stray_mark(sent, start, grapheme) {
            out.left_out();
        } else {
            out.prose(start, grapheme);
        }
    }
}

/// Pictures, not the digits, letters and signs that Unicode counts as possible parts of one.
fn is_emoji(grapheme: &str) -> bool {
    let mut chars = grapheme.chars();
    let Some(first) = chars.next().filter(|c| !c.is_ascii() || grapheme.len() > 1) else {
        return false;
    };
    // As a picture although it is also a character: "1️⃣".
    let shown = chars.clone().any(unicode_properties::emoji::is_emoji_presentation_selector);
    let written = chars.any(unicode_properties::emoji::is_text_presentation_selector);
    let picture = first >= '\u{2190}' && first.is_emoji_char() && !first.is_ascii();
    (shown && first.is_emoji_char_or_emoji_component()) || (picture && !written) || unicode_properties::emoji::is_regional_indicator(first)
}

/// `**` or a backtick that the parser took for text because its counterpart is missing.
fn is_stray_mark(sent: &str, at: usize, grapheme: &str) -> bool {
    let Some(mark) = grapheme.chars().next().filter(|_| matches!(grapheme, "*" | "_" | "~" | "`")) else {
        return false;
    };
    let before = sent[..at].chars().next_back();
    let after = sent[at + 1..].chars().next();
    let doubled = before == Some(mark) || after == Some(mark);
    let beside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    match mark {
        _ if before == Some('\\') => false,
        '`' => true,
        '~' => doubled,
        _ => doubled || beside(before) != beside(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_aloud(markdown: &str) -> String {
        render(markdown, false).text
    }

    #[test]
    fn marks_are_not_read() {
        assert_eq!(read_aloud("**Bold**, *it* and ~~gone~~ `code`."), "Bold, it and gone.");
        assert_eq!(read_aloud("Use `a()`, then `b`!"), "Use, then!");
        assert_eq!(read_aloud("> quoted\n\nsnake_case stays"), "quoted.\nsnake_case stays");
        assert_eq!(read_aloud("- [x] done\n- [ ] open"), "done.\nopen");
        assert_eq!(read_aloud("a <b>tag</b> &amp; more &copy;"), "a tag & more ©");
        assert_eq!(read_aloud(r"five \* six"), "five * six");
    }

    #[test]
    fn headings_items_and_paragraphs_end_sentences() {
        assert_eq!(
            read_aloud("# Title\n\nSome text:\n1. one\n2. two!\n   - three\n\nLast"),
            "Title.\nSome text:\none.\ntwo!\nthree.\nLast"
        );
        assert_eq!(read_aloud("見出し\n===\n本文"), "見出し。\n本文");
        assert_eq!(read_aloud("one\ntwo  \nthree"), "one two.\nthree");
    }

    #[test]
    fn links_are_read_by_their_text_and_images_by_their_description() {
        assert_eq!(read_aloud("See [the *manual*](http://x.org/a?b) now"), "See the manual now");
        assert_eq!(read_aloud("![a red kite](k.png) flies"), "a red kite flies");
        assert_eq!(read_aloud("[ref][1] it\n\n[1]: http://x.org"), "ref it");
    }

    #[test]
    fn tables_and_code_are_not_read() {
        assert_eq!(
            read_aloud("Before\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nBetween\n\n```rust\nfn main() {}\n```\n\n    indented\n\nAfter"),
            "Before.\nBetween.\nAfter"
        );
        assert_eq!(read_aloud("| a |\n|---|\n| 1 |"), "");
        assert_eq!(read_aloud("```\nnever closed"), "");
        assert_eq!(read_aloud("- `only code`\n- text"), "text");
    }

    #[test]
    fn emoji_are_not_read_and_digits_are() {
        assert_eq!(read_aloud("Done ✅ 🎉, 3 of 4 👩‍👩‍👧 🇩🇪 1️⃣ ❤️ ok"), "Done, 3 of 4 ok");
        assert_eq!(read_aloud("# * © ™ 5€ → 100 % #1"), "* © ™ 5€ → 100 % #1");
        assert_eq!(read_aloud("Yes 👍\n\nNo"), "Yes.\nNo");
    }

    #[test]
    fn marks_that_close_nothing_are_not_read_either() {
        assert_eq!(read_aloud("He said **never and `x"), "He said never and x");
        assert_eq!(read_aloud("2 * 3 = 6, 2*3"), "2 * 3 = 6, 2*3");
        assert_eq!(read_aloud("_open and *half"), "open and half");
    }
}
