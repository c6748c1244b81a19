//! How words are said that a voice gets wrong: whole words of one language, or of any, replaced before the backend sees them.
//!
//! A word written in lower case is meant in any case; one with a capital is meant as it is written ("us" is also "Us" and "US", "US" is not
//! "us"). Whole words are those of UAX #29; an English possessive counts as the word and what follows. The longest entry wins, the language's own
//! before that for any; what was put in is not looked at again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use unicode_segmentation::UnicodeSegmentation;

use super::map::Map;

/// The language of entries for every language.
const ANY: &str = "";

/// All entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lexicon {
    languages: BTreeMap<String, Arc<Words>>,
}

/// Entries of one language, by the first word of each in lower case.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Words {
    by_first: HashMap<String, Vec<Entry>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    word: String,
    any_case: bool,
    say: String,
}

impl Lexicon {
    /// Entries as (language, word, spelling); the language is a primary subtag, or empty for any. Of two for the same word the last counts.
    pub fn new<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) -> Self {
        let mut languages: BTreeMap<String, Words> = BTreeMap::new();
        for (language, word, say) in entries {
            languages.entry(language.to_ascii_lowercase()).or_default().insert(word, say);
        }
        let any = languages.get(ANY).cloned();
        if let Some(any) = any {
            for (_, own) in languages.iter_mut().filter(|(language, _)| *language != ANY) {
                own.add_those_of(&any);
            }
        }
        Self {
            languages: languages.into_iter().map(|(language, words)| (language, Arc::new(words))).collect(),
        }
    }

    /// The entries for a language tag ("de-AT" is "de").
    pub(crate) fn of(&self, tag: &str) -> Option<Arc<Words>> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        self.languages.get(&primary).or_else(|| self.languages.get(ANY)).cloned()
    }
}

impl Words {
    fn insert(&mut self, word: &str, say: &str) {
        let Some(first) = word.split_word_bounds().next() else {
            return;
        };
        let entries = self.by_first.entry(first.to_lowercase()).or_default();
        entries.retain(|e| e.word != word);
        entries.push(Entry {
            word: word.to_owned(),
            any_case: !word.contains(char::is_uppercase),
            say: say.to_owned(),
        });
        // The longest first; an exact one before one of any case.
        entries.sort_by_key(|e| (std::cmp::Reverse(e.word.len()), e.any_case));
    }

    fn add_those_of(&mut self, any: &Words) {
        for (first, entries) in &any.by_first {
            let own = self.by_first.entry(first.clone()).or_default();
            let fresh: Vec<Entry> = entries.iter().filter(|e| !own.iter().any(|o| o.word == e.word)).cloned().collect();
            own.extend(fresh);
            own.sort_by_key(|e| (std::cmp::Reverse(e.word.len()), e.any_case));
        }
    }

    /// The text with its words replaced, and the way back to it. `None`: no word of it is here.
    pub(super) fn apply(&self, text: &str) -> Option<(String, Map)> {
        let mut out = String::new();
        let mut map = Map::default();
        // Bytes and code points of the text that are written.
        let mut done = (0, 0);
        for (at, first) in text.split_word_bound_indices() {
            if at < done.0 {
                continue;
            }
            let Some((entry, len)) = self.find(&text[at..], first) else {
                continue;
            };
            let between = &text[done.0..at];
            let start = done.1 + between.chars().count() as u32;
            let end = start + text[at..at + len].chars().count() as u32;
            map.copy(start - done.1, done.1);
            map.replace(entry.say.chars().count() as u32, start..end);
            out.push_str(between);
            out.push_str(&entry.say);
            done = (at + len, end);
        }
        if done.0 == 0 {
            return None;
        }
        let rest = &text[done.0..];
        map.copy(rest.chars().count() as u32, done.1);
        out.push_str(rest);
        Some((out, map))
    }

    /// The entry that this text begins with, and how many bytes of the text it is.
    fn find(&self, text: &str, first: &str) -> Option<(&Entry, usize)> {
        let possessive = first.strip_suffix("'s").or_else(|| first.strip_suffix("\u{2019}s"));
        [Some(first), possessive].into_iter().flatten().find_map(|first| {
            let entries = self.by_first.get(&first.to_lowercase())?;
            entries.iter().find_map(|e| Some((e, e.begins(text)?)))
        })
    }
}

impl Entry {
    fn begins(&self, text: &str) -> Option<usize> {
        let len = if self.any_case {
            let mut rest = text.char_indices();
            for wanted in self.word.chars() {
                let (_, found) = rest.next()?;
                if found != wanted && !found.to_lowercase().eq(wanted.to_lowercase()) {
                    return None;
                }
            }
            rest.next().map_or(text.len(), |(at, _)| at)
        } else {
            text.strip_prefix(self.word.as_str())?;
            self.word.len()
        };
        let after = &text[len..];
        let possessive = after
            .strip_prefix("'s")
            .or_else(|| after.strip_prefix('\u{2019}')?.strip_prefix('s'));
        let ends = after.is_empty()
            || possessive.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
            || text
                .split_word_bound_indices()
                .map(|(at, _)| at)
                .take_while(|at| *at <= len)
                .any(|at| at == len);
        ends.then_some(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(entries: &[(&str, &str, &str)], language: &str, text: &str) -> String {
        let lexicon = Lexicon::new(entries.iter().copied());
        let words = lexicon.of(language);
        words.and_then(|w| w.apply(text)).map_or_else(|| text.to_owned(), |(text, _)| text)
    }

    #[test]
    fn whole_words_alone_are_replaced() {
        let entries = [
            ("", "cat", "dog"),
            ("", "c++", "see plus plus"),
            ("", "z.b.", "zum Beispiel"),
            ("", "東京", "とうきょう"),
        ];
        assert_eq!(
            said(&entries, "", "A cat, concatenate, cat-like cats. Cat!"),
            "A dog, concatenate, dog-like cats. dog!"
        );
        assert_eq!(
            said(&entries, "", "C++, z.B. so: 東京タワー"),
            "see plus plus, zum Beispiel so: とうきょうタワー"
        );
        assert_eq!(
            said(&entries, "", "the cat's can't cat\u{2019}s cat'x"),
            "the dog's can't dog\u{2019}s cat'x"
        );
    }

    #[test]
    fn a_capital_is_meant_and_lower_case_is_any() {
        let entries = [("", "US", "U S"), ("", "ÖBB", "Ö B B"), ("", "nginx", "engine x")];
        assert_eq!(
            said(&entries, "", "us and US, öbb ÖBB, NGINX nginx"),
            "us and U S, öbb Ö B B, engine x engine x"
        );
        let both = [("", "gif", "g"), ("", "GIF", "jif")];
        assert_eq!(said(&both, "", "gif Gif GIF"), "g g jif");
    }

    #[test]
    fn the_longest_wins_and_the_language_before_any() {
        let entries = [
            ("", "new", "N"),
            ("", "new york", "N Y"),
            ("de", "new", "neu"),
            ("de", "wlan", "Weh-Lahn"),
        ];
        assert_eq!(said(&entries, "en-GB", "new york new wlan"), "N Y N wlan");
        assert_eq!(said(&entries, "de_AT.UTF-8", "New York new WLAN"), "N Y neu Weh-Lahn");
        assert_eq!(said(&entries, "", "new"), "N");
    }

    #[test]
    fn what_was_put_in_is_not_looked_at_again() {
        assert_eq!(said(&[("", "a", "a a"), ("", "b", "a")], "", "a b a"), "a a a a a");
    }

    #[test]
    fn words_map_back_to_what_was_written() {
        let lexicon = Lexicon::new([("", "für", "four for")]);
        let (text, map) = lexicon.of("").unwrap().apply("Ä für x").unwrap();
        assert_eq!(text, "Ä four for x");
        assert_eq!(map.range(&(2..6)), 2..5);
        assert_eq!(map.range(&(11..12)), 6..7);
    }
}
