//! A file as written: a tree of values, each of which remembers its file and line. TOML ends in this file.

use crate::error::{ConfigError, Problem};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(crate) struct Fragment {
    pub(crate) root: Node,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) file: Arc<Path>,
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Table(BTreeMap<String, Node>),
    Array(Vec<Node>),
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// A date or a time; no key of ours has one, a plugin's table may.
    Date(String),
}

/// A configuration is a few kilobytes. The bound keeps a wrong path (a disk image) from filling the memory.
const MAX_BYTES: u64 = 1 << 20;

impl Fragment {
    pub(crate) fn read(path: &Path) -> Result<Fragment, Vec<ConfigError>> {
        let bytes = read_file(path).map_err(|problem| vec![ConfigError::of_file(path, problem)])?;
        match str::from_utf8(&bytes) {
            Ok(text) => Fragment::parse(path, text),
            Err(error) => {
                let line = line_of(&bytes, error.valid_up_to());
                Err(vec![ConfigError::of_line(path, line, Problem::NotUtf8)])
            }
        }
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Result<Fragment, Vec<ConfigError>> {
        let mut reading = Reading {
            file: path.into(),
            text,
            errors: Vec::new(),
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            reading.refuse(span, error.message().replace('\n', ", "));
        }
        let root = reading.table(&table);
        // What is left of a broken line would be reported as an unknown key, so a file with a syntax error is not looked at further.
        // The parser may stumble over one slip twice: the first message of a line tells most.
        reading.errors.sort_by_key(|error| error.line);
        reading.errors.dedup_by_key(|error| error.line);
        if reading.errors.is_empty() {
            Ok(Fragment { root })
        } else {
            Err(reading.errors)
        }
    }
}

/// Reads a regular file; looking at the type first keeps a FIFO from hanging the start. /dev/null is an empty file, as with systemd's masks.
fn read_file(path: &Path) -> Result<Vec<u8>, Problem> {
    let unreadable = |error| Problem::unreadable(&error);
    let metadata = path.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(Problem::NotAFile { found: "a directory" });
    }
    if !metadata.is_file() {
        let null = Path::new("/dev/null");
        return match path.canonicalize() {
            Ok(real) if real == null => Ok(Vec::new()),
            _ => Err(Problem::NotAFile {
                found: "a device, a pipe or a socket",
            }),
        };
    }
    if metadata.len() > MAX_BYTES {
        return Err(Problem::TooLarge);
    }
    std::fs::read(path).map_err(unreadable)
}

fn line_of(text: &[u8], offset: usize) -> usize {
    1 + text.iter().take(offset).filter(|&&byte| byte == b'\n').count()
}

struct Reading<'a> {
    file: Arc<Path>,
    text: &'a str,
    errors: Vec<ConfigError>,
}

impl Reading<'_> {
    fn refuse(&mut self, span: Range<usize>, message: String) {
        let line = line_of(self.text.as_bytes(), span.start);
        self.errors
            .push(ConfigError::of_line(&self.file, line, Problem::Syntax { message }));
    }

    fn node(&self, span: Range<usize>, value: Value) -> Node {
        Node {
            file: self.file.clone(),
            line: line_of(self.text.as_bytes(), span.start),
            value,
        }
    }

    fn table(&mut self, table: &Spanned<DeTable<'_>>) -> Node {
        let value = self.entries(table.get_ref());
        self.node(table.span(), value)
    }

    fn entries(&mut self, table: &DeTable<'_>) -> Value {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let mut node = self.value(value);
            // The line of the key: that is where the author looks, also when the value begins further down.
            node.line = line_of(self.text.as_bytes(), key.span().start);
            (String::from(std::borrow::Cow::clone(key.get_ref())), node)
        };
        Value::Table(table.iter().map(entry).collect())
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> Node {
        let found = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Boolean(is) => Value::Bool(*is),
            DeValue::Datetime(date) => Value::Date(date.to_string()),
            DeValue::Array(array) => Value::Array(array.iter().map(|item| self.value(item)).collect()),
            DeValue::Table(table) => self.entries(table),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => {
                    self.refuse(value.span(), format!("the number {} needs more than 64 bits", number.as_str()));
                    Value::Integer(0)
                }
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Value::Float(number),
                Err(_) => {
                    self.refuse(value.span(), format!("{} is not a number", number.as_str()));
                    Value::Float(0.0)
                }
            },
        };
        self.node(value.span(), found)
    }
}

impl Value {
    /// For "is ...; allowed: ...".
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Table(_) => "a table",
            Value::Array(_) => "a list",
            Value::Text(_) => "a string",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number with a fraction",
            Value::Bool(_) => "true or false",
            Value::Date(_) => "a date or time",
        }
    }

    /// The plugin's view of its table. JSON knows no dates, so they become strings; it knows no nan or inf either: those are given back as the culprit.
    pub(crate) fn to_json(&self) -> Result<serde_json::Value, f64> {
        Ok(match self {
            Value::Table(table) => {
                let entries: Result<_, f64> = table.iter().map(|(key, node)| Ok((key.clone(), node.value.to_json()?))).collect();
                serde_json::Value::Object(entries?)
            }
            Value::Array(array) => serde_json::Value::Array(array.iter().map(|node| node.value.to_json()).collect::<Result<_, f64>>()?),
            Value::Text(text) | Value::Date(text) => text.as_str().into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => serde_json::Number::from_f64(*number).ok_or(*number)?.into(),
            Value::Bool(is) => (*is).into(),
        })
    }
}
