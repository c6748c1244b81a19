//! Asks a tree of values for keys, one by one, and remembers what was asked and what was wrong.

use crate::error::{ConfigError, Problem};
use crate::fragment::{Node, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

type Path = Vec<String>;

pub(crate) struct Reader<'a> {
    root: &'a Node,
    asked: BTreeSet<Path>,
    /// Tables whose keys are somebody else's, or were reported as a whole.
    free: BTreeSet<Path>,
    errors: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(root: &'a Node) -> Reader<'a> {
        Reader {
            root,
            asked: BTreeSet::new(),
            free: BTreeSet::new(),
            errors: Vec::new(),
        }
    }

    /// What was wrong, in the order of the lines.
    pub(crate) fn finish(mut self) -> Vec<ConfigError> {
        self.strangers(self.root, &mut Vec::new());
        self.errors.sort_by_key(|error| error.line);
        self.errors
    }

    #[cfg(test)]
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.iter().map(|path| path.join(".")).collect()
    }

    pub(crate) fn word<T: Copy>(&mut self, path: &[&str], words: &[(&str, T)], default: T) -> T {
        let quoted: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        self.one(path, &quoted.join(" | "), |text| {
            words.iter().find(|(word, _)| *word == text).map(|&(_, value)| value)
        })
        .unwrap_or(default)
    }

    pub(crate) fn text(&mut self, path: &[&str], allowed: &str, fits: impl Fn(&str) -> bool, default: String) -> String {
        self.opt_text(path, allowed, fits).unwrap_or(default)
    }

    pub(crate) fn opt_text(&mut self, path: &[&str], allowed: &str, fits: impl Fn(&str) -> bool) -> Option<String> {
        self.one(path, allowed, |text| fits(text).then(|| text.to_owned()))
    }

    /// A key that its table must have.
    pub(crate) fn needed_text(&mut self, table: &[&str], key: &str, allowed: &str, fits: impl Fn(&str) -> bool) -> String {
        let path: Vec<&str> = table.iter().copied().chain([key]).collect();
        if self.ask(&path).is_none()
            && let Some(node) = self.ask(table)
        {
            let wanted = allowed.to_owned();
            self.refuse(node, &path, Problem::Missing { wanted });
        }
        self.opt_text(&path, allowed, fits).unwrap_or_default()
    }

    pub(crate) fn whole(&mut self, path: &[&str], range: RangeInclusive<u32>, default: u32) -> u32 {
        self.opt_whole(path, range).unwrap_or(default)
    }

    pub(crate) fn opt_whole(&mut self, path: &[&str], range: RangeInclusive<u32>) -> Option<u32> {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        let node = self.ask(path)?;
        let Value::Integer(number) = node.value else {
            self.wrong_type(node, path, &allowed);
            return None;
        };
        let fits = u32::try_from(number).ok().filter(|number| range.contains(number));
        if fits.is_none() {
            self.not_allowed(node, path, number.to_string(), &allowed);
        }
        fits
    }

    pub(crate) fn flag(&mut self, path: &[&str], default: bool) -> bool {
        let Some(node) = self.ask(path) else { return default };
        let Value::Bool(is) = node.value else {
            self.wrong_type(node, path, "true or false");
            return default;
        };
        is
    }

    pub(crate) fn number(&mut self, path: &[&str], range: RangeInclusive<f64>, default: f64) -> f64 {
        let allowed = format!("a number from {:?} to {:?}", range.start(), range.end());
        let Some(node) = self.ask(path) else { return default };
        let number = match node.value {
            Value::Float(number) => number,
            // Exact for all that can be in a range of ours.
            Value::Integer(number) => number as f64,
            _ => {
                self.wrong_type(node, path, &allowed);
                return default;
            }
        };
        // Written so that nan, which compares with nothing, is refused.
        if range.contains(&number) {
            return number;
        }
        self.not_allowed(node, path, number.to_string(), &allowed);
        default
    }

    pub(crate) fn list<T>(&mut self, path: &[&str], allowed: &str, read: impl Fn(&str) -> Option<T>, default: Vec<T>) -> Vec<T> {
        let wanted = format!("a list of {allowed}");
        let Some(node) = self.ask(path) else { return default };
        let Value::Array(items) = &node.value else {
            self.wrong_type(node, path, &wanted);
            return default;
        };
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            match &item.value {
                Value::Text(text) => match read(text) {
                    Some(value) => list.push(value),
                    None => self.not_allowed(item, path, format!("[{text:?}]"), &wanted),
                },
                other => self.refuse(
                    item,
                    path,
                    Problem::WrongType {
                        found: in_list(other),
                        wanted: wanted.clone(),
                    },
                ),
            }
        }
        list
    }

    /// `[name.ID]` tables with keys of ours.
    pub(crate) fn tables<T>(
        &mut self,
        name: &str,
        ids: &str,
        is_id: fn(&str) -> bool,
        read: fn(&mut Reader<'a>, &str) -> T,
    ) -> BTreeMap<String, T> {
        self.ids(name, ids, is_id)
            .into_iter()
            .map(|(id, _)| (id.to_owned(), read(self, id)))
            .collect()
    }

    /// `[name.ID]` tables whose keys are for somebody else to judge.
    pub(crate) fn free_tables(&mut self, name: &str, ids: &str, is_id: fn(&str) -> bool) -> BTreeMap<String, serde_json::Value> {
        let mut tables = BTreeMap::new();
        for (id, node) in self.ids(name, ids, is_id) {
            let path = [name, id];
            self.free.insert(owned(&path));
            match node.value.to_json() {
                Ok(json) => {
                    tables.insert(id.to_owned(), json);
                }
                Err(culprit) => self.not_allowed(node, &path, culprit.to_string(), "numbers that JSON knows, so neither nan nor inf"),
            }
        }
        tables
    }

    /// Where the keys of the `[name.ID]` tables stand.
    pub(crate) fn places(&self, name: &str) -> BTreeMap<String, BTreeMap<String, String>> {
        let entries = |node: &'a Node| match &node.value {
            Value::Table(table) => Some(table),
            _ => None,
        };
        let place = |node: &Node| format!("{}:{}", node.file.display(), node.line);
        let of = |table: &'a BTreeMap<String, Node>| table.iter().map(|(key, node)| (key.clone(), place(node))).collect();
        let tables = entries(self.root).and_then(|root| root.get(name)).and_then(entries);
        let tables = tables.into_iter().flatten();
        tables.filter_map(|(id, node)| Some((id.clone(), of(entries(node)?)))).collect()
    }

    fn ids(&mut self, name: &str, ids: &str, is_id: fn(&str) -> bool) -> Vec<(&'a str, &'a Node)> {
        let Some(node) = self.ask(&[name]) else { return Vec::new() };
        let Value::Table(table) = &node.value else {
            self.wrong_type(node, &[name], &format!("tables, one for each id: [{name}.ID]"));
            return Vec::new();
        };
        let mut found = Vec::new();
        for (id, node) in table {
            let path = [name, id.as_str()];
            if !is_id(id) {
                self.free.insert(owned(&path));
                self.not_allowed(node, &[name], format!("{{ {} … }}", quoted(id)), ids);
            } else if !matches!(node.value, Value::Table(_)) {
                self.free.insert(owned(&path));
                self.wrong_type(node, &path, &format!("a table, [{}]", written(&owned(&path))));
            } else {
                found.push((id.as_str(), node));
            }
        }
        found
    }

    fn one<T>(&mut self, path: &[&str], allowed: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let node = self.ask(path)?;
        let Value::Text(text) = &node.value else {
            self.wrong_type(node, path, allowed);
            return None;
        };
        let value = read(text);
        if value.is_none() {
            self.not_allowed(node, path, format!("{text:?}"), allowed);
        }
        value
    }

    fn ask(&mut self, path: &[&str]) -> Option<&'a Node> {
        self.asked.insert(owned(path));
        let mut node = self.root;
        for key in path {
            let Value::Table(table) = &node.value else { return None };
            node = table.get(*key)?;
        }
        Some(node)
    }

    fn wrong_type(&mut self, node: &Node, path: &[&str], wanted: &str) {
        self.refuse(
            node,
            path,
            Problem::WrongType {
                found: node.value.kind(),
                wanted: wanted.to_owned(),
            },
        );
    }

    fn not_allowed(&mut self, node: &Node, path: &[&str], found: String, allowed: &str) {
        self.refuse(
            node,
            path,
            Problem::NotAllowed {
                found,
                allowed: allowed.to_owned(),
            },
        );
    }

    fn refuse(&mut self, node: &Node, path: &[&str], problem: Problem) {
        self.refuse_path(node, &owned(path), problem);
    }

    fn refuse_path(&mut self, node: &Node, path: &Path, problem: Problem) {
        self.errors.push(ConfigError {
            file: node.file.to_path_buf(),
            line: Some(node.line),
            key: Some(written(path)),
            problem,
        });
    }

    /// Finds what nobody asked for. An unknown table is one mistake, however many keys are in it.
    fn strangers(&mut self, node: &Node, path: &mut Path) {
        let Value::Table(table) = &node.value else { return };
        for (key, node) in table {
            path.push(key.clone());
            let leads_further = self.asked.iter().any(|asked| asked.len() > path.len() && asked.starts_with(path));
            if self.free.contains(path) {
            } else if leads_further && !matches!(node.value, Value::Table(_)) {
                // `jack = 3` hides every key below it. (Where the whole was asked for, as [backend], this has been said.)
                if !self.asked.contains(path) {
                    let wanted = format!("a table, [{}]", written(path));
                    self.refuse_path(
                        node,
                        path,
                        Problem::WrongType {
                            found: node.value.kind(),
                            wanted,
                        },
                    );
                }
            } else if leads_further || self.holds_ids(path) {
                self.strangers(node, path);
            } else if !self.asked.contains(path) {
                self.refuse_path(
                    node,
                    path,
                    Problem::UnknownKey {
                        nearest: self.nearest(path),
                    },
                );
            }
            path.pop();
        }
    }

    /// `[backend]`, `[plugin]` and `[pin]`, also when it is empty.
    fn holds_ids(&self, path: &Path) -> bool {
        path.len() == 1 && matches!(path[0].as_str(), "backend" | "plugin" | "pin")
    }

    /// The key that was probably meant: one of that name in another table, else the one that differs by the fewest letters.
    fn nearest(&self, path: &Path) -> Option<String> {
        let name = path.last()?;
        if let Some(elsewhere) = self.asked.iter().find(|asked| asked.last() == Some(name)) {
            return Some(written(elsewhere));
        }
        // Tables count as well: an unknown one is reported as a whole.
        let prefixes = self.asked.iter().filter_map(|asked| asked.get(..path.len()));
        let distance = |asked: &[String]| strsim::damerau_levenshtein(&asked.join("."), &path.join("."));
        let (distance, nearest) = prefixes.map(|asked| (distance(asked), asked)).min()?;
        let close = distance <= 2.max(name.chars().count() / 3);
        close.then(|| written(nearest))
    }
}

fn owned(path: &[&str]) -> Path {
    path.iter().map(|&key| key.to_owned()).collect()
}

/// As TOML writes it.
fn written(path: &[String]) -> String {
    path.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(".")
}

pub(crate) fn quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
    if bare { key.to_owned() } else { format!("{key:?}") }
}

fn in_list(value: &Value) -> &'static str {
    match value {
        Value::Table(_) => "a list with a table in it",
        Value::Array(_) => "a list with a list in it",
        Value::Text(_) => "a list of strings",
        Value::Integer(_) | Value::Float(_) => "a list with a number in it",
        Value::Bool(_) => "a list with true or false in it",
        Value::Date(_) => "a list with a date in it",
    }
}
