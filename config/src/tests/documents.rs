//! What we ship and what the documents show must be right.

use super::*;

/// The shipped file with every commented key switched on.
fn shipped_switched_on() -> String {
    let is_key = |line: &str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase());
    SHIPPED
        .lines()
        .map(|line| if is_key(line) { &line[1..] } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_shipped_file_means_the_defaults() {
    assert_eq!(text(SHIPPED).unwrap(), Settings::default());
    assert_eq!(text(&shipped_switched_on()).unwrap(), Settings::default());
}

#[test]
fn the_shipped_file_shows_every_key() {
    let fragment = Fragment::parse(Path::new("utterd.toml"), &shipped_switched_on()).unwrap();
    let shows = |key: &str| {
        key.split('.').try_fold(&fragment.root, |node, key| match &node.value {
            fragment::Value::Table(table) => table.get(key),
            _ => None,
        })
    };
    for key in check::keys(&Source::system()) {
        assert!(
            ["plugin", "backend", "pin"].contains(&key.as_str()) || shows(&key).is_some(),
            "{key} is missing in utterd.toml"
        );
    }
}

#[test]
fn the_examples_in_the_shipped_file_are_right() {
    let examples: String = SHIPPED
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .filter(|line| *line != "…")
        .map(|line| format!("{line}\n"))
        .collect();
    let settings = text(&examples).unwrap();
    let backend = &settings.backend["tts-http"];
    assert_eq!(
        (backend.max_concurrent, backend.id_header.as_deref()),
        (Some(8), Some("X-Request-Id"))
    );
    assert!(settings.plugin.contains_key("tts-espeak-ng"));
    assert_eq!(backend.first_audio_timeout_ms, Some(10_000));
    assert_eq!(settings.cache.pin[0].text, "Welcome. One moment, please.");
}

#[test]
fn every_example_in_the_documents_is_right() {
    let house = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut documents: Vec<_> = fs::read_dir(house).unwrap().map(|entry| entry.unwrap().path()).collect();
    for plugin in fs::read_dir(house.join("plugins")).unwrap() {
        documents.push(plugin.unwrap().path().join("README.md"));
    }
    documents.push(house.join("systemd/README.md"));
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md") && path.is_file());
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for (line, block) in toml_blocks(&text) {
            if let Err(errors) = load_text(&document, &block, &Source::system()) {
                panic!("the example at line {line} of {}:\n{errors}", document.display());
            }
        }
    }
}

/// Blocks marked exactly ```toml are examples of utterd.toml; other TOML (a Cargo.toml) is marked otherwise. Empty lines stand for the text
/// before a block, so that errors name the document's own lines.
fn toml_blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (n, line) in text.lines().enumerate() {
        match &mut open {
            None if line.trim() == "```toml" => open = Some((n + 1, "\n".repeat(n + 1))),
            None => {}
            Some(_) if line.trim() == "```" => blocks.extend(open.take()),
            Some((_, block)) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a ```toml block is not closed");
    blocks
}

#[test]
fn toml_blocks_are_found_with_their_lines() {
    let found = toml_blocks("text\n```toml\njack.ports = 0\n```\n```sh\nls\n```\n");
    assert_eq!(found, [(2, "\n\njack.ports = 0\n".to_owned())]);
}
