//! Lexicon files: what they may say, and what is wrong with them.

use super::*;
use crate::{SHIPPED_LEXICON, Word};
use std::path::PathBuf;

/// A configuration with these lexicon files, in a folder of its own.
fn load_lexicons(files: &[(&str, &str)], name: &dyn Fn(&Path) -> Vec<PathBuf>) -> Result<Vec<Word>, String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let named: Vec<String> = name(dir.path())
        .iter()
        .map(|path| format!("{:?}", path.to_str().unwrap()))
        .collect();
    let loaded = text(&format!("[lexicon]\nfiles = [{}]\n", named.join(", ")));
    loaded.map(|settings| settings.lexicon.words).map_err(|errors| errors.to_string())
}

fn one(lexicon: &str) -> Result<Vec<Word>, String> {
    load_lexicons(&[("one.toml", lexicon)], &|dir| vec![dir.join("one.toml")])
}

fn word(language: &str, word: &str, say: &str) -> Word {
    Word {
        language: language.into(),
        word: word.into(),
        say: say.into(),
    }
}

#[test]
fn the_shipped_lexicon_is_right() {
    let words = one(SHIPPED_LEXICON).unwrap();
    assert!(words.contains(&word("", "C++", "see plus plus")));
    assert!(words.contains(&word("en", "tomato", "tomahto")));
    assert!(words.contains(&word("de", "z.B.", "zum Beispiel")));
}

#[test]
fn a_folder_gives_its_toml_files_by_name() {
    let files = [
        ("b.toml", "any.x = \"two\""),
        ("a.toml", "any.x = \"one\""),
        ("notes.txt", "no toml"),
        (".c.toml", "not looked at"),
    ];
    let words = load_lexicons(&files, &|dir| vec![dir.to_owned()]).unwrap();
    assert_eq!(words, [word("", "x", "one"), word("", "x", "two")]);
}

#[test]
fn every_mistake_names_file_line_and_key() {
    for (lexicon, wanted) in [
        ("\n[en]\ncat = 3", "one.toml:3: en.cat is a whole number"),
        (
            "[en]\n\"St. X\" = { say = \"x\", ippa = \"y\" }",
            "one.toml:2: unknown key en.\"St. X\".ippa; did you mean say?",
        ),
        (
            "[en]\na = { ipa = \"x\" }",
            "one.toml:2: en.a = { … } is not allowed; allowed: with say",
        ),
        ("[en]\na = { say = 1 }", "one.toml:2: en.a.say is a whole number; allowed: a string"),
        ("[en]\na = \"\"", "one.toml:2: en.a = \"\" is not allowed"),
        ("[en]\na = \"x\\u0001y\"", "one.toml:2: en.a"),
        ("[en]\n\" a\" = \"x\"", "one.toml:2: en = \" a\" is not allowed"),
        (
            "[de-AT]\na = \"x\"",
            "one.toml:1: de-AT = [de-AT] is not allowed; allowed: \"any\", or a language without its region",
        ),
        ("a = \"x\"", "one.toml:1: a is a string; allowed: a table of words"),
        ("[en]\na = \"x\"\na = \"y\"", "one.toml:3: is not TOML"),
    ] {
        let errors = one(lexicon).unwrap_err();
        assert!(errors.contains(wanted), "{errors}");
    }
    let missing = load_lexicons(&[], &|dir| vec![dir.join("none.toml")]).unwrap_err();
    assert!(missing.contains("none.toml: cannot be read"), "{missing}");
    assert!(
        text("[lexicon]\nfiles = [\"relative.toml\"]")
            .unwrap_err()
            .to_string()
            .contains("lexicon.files")
    );
}
