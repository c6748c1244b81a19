//! Any text, in any pieces: nothing panics, and the way back stays within the text as sent and never goes backwards.

use proptest::prelude::*;

use super::*;

/// Texts made of what means something to one of the parsers, and of anything else.
fn text() -> impl Strategy<Value = String> {
    let meaningful = prop::sample::select(vec![
        "**",
        "*",
        "_",
        "`",
        "```",
        "```\n",
        "~~~\n",
        "~~",
        "# ",
        "- ",
        "1. ",
        "> ",
        "| a | b |\n",
        "|---|---|\n",
        "|",
        "[",
        "](",
        ")",
        "![",
        "]",
        "\n",
        "\n\n",
        "  \n",
        "    ",
        "\t",
        "\r\n",
        "<b>",
        "</b>",
        "<br>",
        "&amp;",
        "&#65;",
        "&",
        "\\",
        "[^1]",
        "[^1]: x\n",
        "- [ ] ",
        "---\n",
        "===\n",
        "http://a.b/c?d. ",
        "🎉",
        "👩‍👩‍👧",
        "1️⃣",
        "é",
        "e\u{301}",
        "終わり。",
        "\u{2029}",
        "\u{feff}",
        "\0",
        "Word",
        "word. ",
        "utterd",
        "US",
        "us's ",
        "z.B. ",
        "Next one! ",
        ", ",
        "<speak>",
        "</speak>",
        "<p>",
        "</p>",
        "<s>",
        "</s>",
        "<break/>",
        "<break time='1s'/>",
        "<sub alias='x y'>",
        "</sub>",
        "<mark name='m'/>",
        "<say-as interpret-as='characters'>",
        "</say-as>",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "<?x?>",
        "<!DOCTYPE x>",
        "&bad;",
        "<",
        ">",
        "=\"",
        "/>",
    ]);
    let part = prop_oneof![8 => meaningful.prop_map(str::to_owned), 2 => "\\PC{0,6}", 1 => "(?s).{0,4}"];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

fn words() -> Option<Arc<Words>> {
    let entries = [
        ("", "utterd", "utter dee"),
        ("", "US", "U S"),
        ("", "word", "x"),
        ("", "z.b.", "zum Beispiel"),
        ("", "new one", "n"),
    ];
    Lexicon::new(entries).of("")
}

fn check(spoken: &Spoken, sent: &str) {
    let text = spoken.text(sent);
    let (count, sent_count) = (text.chars().count() as u32, sent.chars().count() as u32);
    let mut last = 0..0;
    for at in 0..count {
        let back = spoken.back(at..at + 1);
        assert!(
            back.start >= last.start && back.end >= last.end,
            "{at}: {last:?} then {back:?} in {sent:?}"
        );
        assert!(
            back.start <= back.end && back.end <= sent_count,
            "{at}: {back:?} of {sent_count} in {sent:?}"
        );
        assert_eq!(back.end.max(spoken.back_end(at + 1)), spoken.back_end(at + 1).max(back.start));
        last = back;
    }
    assert!(spoken.back_end(count) <= sent_count);
}

/// Letters that were copied are the letters that stand there.
fn check_letters(spoken: &Spoken, sent: &str) {
    let letters: Vec<char> = sent.chars().collect();
    for (at, c) in spoken.text(sent).chars().enumerate().filter(|(_, c)| c.is_alphanumeric()) {
        let back = spoken.back(at as u32..at as u32 + 1);
        if back.len() == 1 {
            assert_eq!(letters[back.start as usize], c, "{at} of {sent:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whole_texts_map_back(sent in text(), inner in text(), lexicon in any::<bool>()) {
        for (format, sent) in [
            (Format::Text, sent.clone()),
            (Format::Markdown, sent.clone()),
            (Format::Ssml, sent),
            (Format::Ssml, format!("<speak>{inner}</speak>")),
            (Format::Ssml, format!("<speak>{}</speak>", inner.replace(['<', '&'], " "))),
        ] {
            if let Ok(mut spoken) = Spoken::of(&sent, format, words().filter(|_| lexicon)) {
                check(&spoken, &sent);
                if !lexicon {
                    check_letters(&spoken, &sent);
                }
                for mark in spoken.marks_left() {
                    prop_assert!(mark.sent as usize <= sent.chars().count());
                    prop_assert!(mark.spoken as usize <= spoken.text(&sent).chars().count());
                }
            }
        }
    }

    #[test]
    fn growing_texts_map_back(sent in text(), sizes in prop::collection::vec((0_usize..12, 0_u32..10), 1..60), lexicon in any::<bool>(), markdown in any::<bool>()) {
        let format = if markdown { Format::Markdown } else { Format::Text };
        let mut growing = Growing::new(format);
        let mut spoken = Spoken::growing(format, words().filter(|_| lexicon));
        let letters: Vec<char> = sent.chars().collect();
        let (mut text, mut at, mut end, mut pieces) = (String::new(), 0, 0, 0);
        for (size, dice) in sizes.iter().cycle().take(400) {
            let next = (at + size).min(letters.len());
            text.extend(&letters[at..next]);
            at = next;
            let take = if *dice == 0 { Take::Idle } else { Take::Complete };
            for piece in growing.take(&text, &mut spoken, take, pieces == 0) {
                prop_assert_eq!(piece.chars.start, end, "pieces follow each other");
                prop_assert_eq!(spoken.text(&text)[piece.bytes].chars().count(), piece.chars.len());
                end = piece.chars.end;
                pieces += 1;
            }
            if take == Take::Idle {
                prop_assert!(crate::text::is_blank(growing.held(&text)), "{:?} is never spoken", growing.held(&text));
            }
        }
        text.extend(&letters[at..]);
        growing.take(&text, &mut spoken, Take::End, pieces == 0);
        prop_assert!(crate::text::is_blank(growing.held(&text)));
        check(&spoken, &text);
        if !lexicon {
            check_letters(&spoken, &text);
        }
    }

    #[test]
    fn words_of_any_lexicon_are_replaced_in_any_text(entries in prop::collection::vec(("(\\PC){1,8}", "\\PC{1,8}"), 0..8), sent in text()) {
        let lexicon = Lexicon::new(entries.iter().map(|(word, say)| ("", word.as_str(), say.as_str())));
        let spoken = Spoken::of(&sent, Format::Text, lexicon.of("de"));
        prop_assert!(spoken.is_ok());
        if let Ok(spoken) = spoken {
            check(&spoken, &sent);
        }
    }
}
