//! The crate as its users see it: files in folders, settings or errors out.
//! By value (keys, types, ranges), by file (search, order, what cannot be read), and the documents we ship.

use super::*;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

mod documents;
mod files;
mod lexicon;
mod values;

/// A root folder of its own, with the search folders of a user's daemon below it.
struct World {
    root: TempDir,
    source: Source,
}

impl World {
    fn new() -> World {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let source = Source {
            scope: Scope::System,
            file: None,
            main: at("etc"),
            drop_ins: vec![at("lib"), at("etc"), at("run")],
            user: Some(at("home")),
            user_plugins: Some(at("home/plugins")),
            user_sounds: Some(at("home/sounds")),
        };
        World { root, source }
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn load(&self) -> Result<Settings, ConfigErrors> {
        load(&self.source)
    }

    fn errors(&self) -> Vec<String> {
        self.load()
            .unwrap_err()
            .0
            .iter()
            .map(|error| error.to_string().replace(&format!("{}/", self.root.path().display()), ""))
            .collect()
    }
}

fn text(text: &str) -> Result<Settings, ConfigErrors> {
    load_text(Path::new("x.toml"), text, &Source::system())
}

fn errors(of: &str) -> Vec<String> {
    text(of).unwrap_err().0.iter().map(ToString::to_string).collect()
}
