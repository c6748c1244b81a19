//! Lexicon files: how words are spelled for the voices. They are read with the configuration and as strictly: a mistake names file, line and key,
//! and one mistake anywhere keeps what was there before. The shipped example is `lexicon.toml`.

use crate::error::{ConfigError, Problem};
use crate::fragment::{Fragment, Node, Value};
use crate::settings::Word;
use std::path::{Path, PathBuf};

/// The table of words for every language.
const ANY: &str = "any";
/// All files together.
const WORDS: usize = 100_000;
const WORD_CHARS: usize = 100;
const SPELLING_CHARS: usize = 1_000;

pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Word>, Vec<ConfigError>> {
    let mut words = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        for file in files(path, &mut errors) {
            match Fragment::read(&file) {
                Ok(fragment) => languages(&fragment.root, &mut words, &mut errors),
                Err(found) => errors.extend(found),
            }
        }
        if words.len() > WORDS {
            let message = format!("with this one the lexicons have more than {WORDS} words");
            errors.push(ConfigError::of_file(path, Problem::Syntax { message }));
            break;
        }
    }
    if errors.is_empty() { Ok(words) } else { Err(errors) }
}

/// A file, or those of a folder by name.
fn files(path: &Path, errors: &mut Vec<ConfigError>) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>());
    match entries {
        Ok(entries) => {
            let hidden = |file: &Path| file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            let mut files: Vec<_> = entries
                .into_iter()
                .filter(|file| file.extension().is_some_and(|ext| ext == "toml") && !hidden(file))
                .collect();
            files.sort();
            files
        }
        Err(error) => {
            errors.push(ConfigError::of_file(path, Problem::unreadable(&error)));
            Vec::new()
        }
    }
}

fn languages(root: &Node, words: &mut Vec<Word>, errors: &mut Vec<ConfigError>) {
    let Value::Table(tables) = &root.value else { return };
    for (language, node) in tables {
        let primary = (2..=8).contains(&language.len()) && language.bytes().all(|c| c.is_ascii_alphabetic());
        let Value::Table(entries) = &node.value else {
            let wanted = "a table of words, [any] or one for a language such as [en]".to_owned();
            let found = node.value.kind();
            errors.push(of(node, &[language], Problem::WrongType { found, wanted }));
            continue;
        };
        if !primary {
            let allowed = "\"any\", or a language without its region: [de], not [de-AT]".to_owned();
            let found = format!("[{language}]");
            errors.push(of(node, &[language], Problem::NotAllowed { found, allowed }));
            continue;
        }
        for (word, node) in entries {
            match spelling(language, word, node) {
                Ok(say) => words.push(Word {
                    language: if language == ANY {
                        String::new()
                    } else {
                        language.to_ascii_lowercase()
                    },
                    word: word.clone(),
                    say,
                }),
                Err(error) => errors.push(error),
            }
        }
    }
}

fn spelling(language: &str, word: &str, node: &Node) -> Result<String, ConfigError> {
    let path = [language, word];
    if !is_word(word, WORD_CHARS) {
        let allowed = format!("words of 1 to {WORD_CHARS} characters, no blanks around them, no control characters");
        let found = format!("{word:?}");
        return Err(of(node, &[language], Problem::NotAllowed { found, allowed }));
    }
    let table = match &node.value {
        Value::Text(say) => return checked(&path, node, say),
        Value::Table(table) => table,
        other => {
            let wanted = "a spelling, or { say = \"…\", ipa = \"…\" }".to_owned();
            let found = other.kind();
            return Err(of(node, &path, Problem::WrongType { found, wanted }));
        }
    };
    let mut say = None;
    for (key, node) in table {
        let path = [language, word, key];
        match (key.as_str(), &node.value) {
            ("say", Value::Text(text)) => say = Some(checked(&path, node, text)?),
            ("ipa", Value::Text(text)) => drop(checked(&path, node, text)?),
            ("say" | "ipa", other) => {
                let (found, wanted) = (other.kind(), "a string".to_owned());
                return Err(of(node, &path, Problem::WrongType { found, wanted }));
            }
            _ => {
                let nearest = Some("say".to_owned());
                return Err(of(node, &path, Problem::UnknownKey { nearest }));
            }
        }
    }
    say.ok_or_else(|| {
        let (found, allowed) = (
            "{ … }".to_owned(),
            "with say = \"…\": no backend of this release takes ipa alone".to_owned(),
        );
        of(node, &path, Problem::NotAllowed { found, allowed })
    })
}

fn checked(path: &[&str], node: &Node, text: &str) -> Result<String, ConfigError> {
    if is_word(text, SPELLING_CHARS) {
        return Ok(text.to_owned());
    }
    let (found, allowed) = (
        format!("{text:?}"),
        format!("1 to {SPELLING_CHARS} characters, no blanks around them, no control characters"),
    );
    Err(of(node, path, Problem::NotAllowed { found, allowed }))
}

fn is_word(text: &str, most: usize) -> bool {
    !text.is_empty() && text.trim() == text && text.chars().count() <= most && !text.contains(char::is_control)
}

fn of(node: &Node, path: &[&str], problem: Problem) -> ConfigError {
    ConfigError {
        file: node.file.to_path_buf(),
        line: Some(node.line),
        key: Some(path.iter().map(|key| crate::check::quoted(key)).collect::<Vec<_>>().join(".")),
        problem,
    }
}
