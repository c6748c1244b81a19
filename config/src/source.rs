//! Where the configuration is looked for, and in which order it applies.
//!
//! A layer is a main file and its drop-in folders. Within a layer the main file comes first, then the drop-ins in the order of their names,
//! whatever folder they are in; a drop-in in a later folder replaces one of the same name in an earlier folder, so an empty file
//! (or a link to /dev/null) in /etc switches off one of /usr/lib. The user's layer comes after the system's.
//!
//! Without a main file the defaults hold; a file named on the command line must exist.

use crate::error::{ConfigError, Problem};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Whose daemon this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    System,
    User,
}

/// Where to read the configuration. The fields are public so that tests and packagers can point them elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub scope: Scope,
    /// `--config FILE`: this file and `FILE.d/*.toml`, and nothing else.
    pub file: Option<PathBuf>,
    /// The folder of the main file.
    pub main: PathBuf,
    /// The folders that hold an `utterd.toml.d`, the last one wins.
    pub drop_ins: Vec<PathBuf>,
    /// In a user's session: the folder of the user's own `utterd.toml` and `utterd.toml.d`.
    pub user: Option<PathBuf>,
    /// In a user's session: the user's own plugins.
    pub user_plugins: Option<PathBuf>,
    /// In a user's session: the user's own sounds.
    pub user_sounds: Option<PathBuf>,
}

const NAME: &str = "utterd.toml";

impl Source {
    /// The system service's configuration, below /etc, /usr/lib and /run.
    pub fn system() -> Source {
        Source {
            scope: Scope::System,
            file: None,
            main: "/etc/utterd".into(),
            drop_ins: vec!["/usr/lib/utterd".into(), "/etc/utterd".into(), "/run/utterd".into()],
            user: None,
            user_plugins: None,
            user_sounds: None,
        }
    }

    /// A user's daemon: the system's configuration, then that below `$XDG_CONFIG_HOME`.
    pub fn user() -> Source {
        let base = |variable: &str, below_home: &str| {
            // An XDG variable that is not absolute is to be ignored, as that specification says.
            let named = std::env::var_os(variable).map(PathBuf::from).filter(|dir| dir.is_absolute());
            named.or_else(|| {
                std::env::home_dir()
                    .filter(|home| home.is_absolute())
                    .map(|home| home.join(below_home))
            })
        };
        Source {
            scope: Scope::User,
            user: base("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("utterd")),
            user_plugins: base("XDG_DATA_HOME", ".local/share").map(|dir| dir.join("utterd/plugins")),
            user_sounds: base("XDG_DATA_HOME", ".local/share").map(|dir| dir.join("sounds")),
            ..Source::system()
        }
    }

    /// The same daemon with `--config FILE`.
    #[must_use]
    pub fn with_file(mut self, file: impl Into<PathBuf>) -> Source {
        self.file = Some(file.into());
        self
    }

    /// The files that exist, in the order in which they apply, and what could not be looked into.
    pub(crate) fn files(&self) -> (Vec<PathBuf>, Vec<ConfigError>) {
        let mut found = (Vec::new(), Vec::new());
        if let Some(file) = &self.file {
            found.0.push(file.clone());
            drop_ins(&mut found, &[with_d(file)]);
            return found;
        }
        let mut layers = vec![(self.main.as_path(), self.drop_ins.as_slice())];
        if let (Scope::User, Some(user)) = (self.scope, &self.user) {
            layers.push((user, std::slice::from_ref(user)));
        }
        for (main, folders) in layers {
            let main = main.join(NAME);
            // A dangling link is a mistake to be reported, not an absent file.
            match main.symlink_metadata() {
                Ok(_) => found.0.push(main),
                Err(error) if is_absent(&error) => {}
                Err(error) => found.1.push(ConfigError::of_file(&main, Problem::unreadable(&error))),
            }
            let folders: Vec<_> = folders.iter().map(|folder| with_d(&folder.join(NAME))).collect();
            drop_ins(&mut found, &folders);
        }
        found
    }
}

fn drop_ins((files, errors): &mut (Vec<PathBuf>, Vec<ConfigError>), folders: &[PathBuf]) {
    let mut by_name: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for folder in folders {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => continue,
            Err(error) => {
                errors.push(ConfigError::of_file(folder, Problem::unreadable(&error)));
                continue;
            }
        };
        for entry in entries {
            match entry {
                Ok(entry) if is_drop_in(&entry.path()) => {
                    by_name.insert(entry.file_name(), entry.path());
                }
                Ok(_) => {}
                Err(error) => errors.push(ConfigError::of_file(folder, Problem::unreadable(&error))),
            }
        }
    }
    files.extend(by_name.into_values());
}

/// `.toml`, and not hidden: editors leave `.name.toml.swp` and `name.toml~` beside the file.
fn is_drop_in(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension() == Some(OsStr::new("toml"))
}

fn with_d(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".d");
    name.into()
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
