//! A dictionary of the bus, and what is read out of it: a missing or mistyped entry fails the test that asks.

use super::number;
use std::collections::HashMap;
use zbus::zvariant::Value;

/// An `a{sv}` (or `a{sd}`, `a{st}`) as it came.
#[derive(Clone, Debug, Default)]
pub struct Dict(pub HashMap<String, Value<'static>>);

impl From<&Value<'_>> for Dict {
    fn from(value: &Value<'_>) -> Self {
        let Value::Dict(dict) = value else {
            panic!("no dictionary: {value:?}")
        };
        let entries = dict.iter().map(|(key, value)| {
            let Value::Str(key) = key else {
                panic!("a key that is no string: {key:?}")
            };
            let mut value = value;
            while let Value::Value(inner) = value {
                value = inner;
            }
            (key.to_string(), owned(value))
        });
        Dict(entries.collect())
    }
}

pub(super) fn owned(value: &Value<'_>) -> Value<'static> {
    value.try_to_owned().expect("no file descriptors here").into()
}

impl Dict {
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    #[track_caller]
    pub fn value(&self, key: &str) -> &Value<'static> {
        self.0.get(key).unwrap_or_else(|| panic!("no {key:?} in {:?}", self.0))
    }

    #[track_caller]
    pub fn number(&self, key: &str) -> u64 {
        number(self.value(key)).unwrap_or_else(|| panic!("{key:?} is no number in {:?}", self.0))
    }

    #[track_caller]
    pub fn double(&self, key: &str) -> f64 {
        match self.value(key) {
            Value::F64(d) => *d,
            other => panic!("{key:?} is no double but {other:?}"),
        }
    }

    #[track_caller]
    pub fn text(&self, key: &str) -> &str {
        match self.value(key) {
            Value::Str(s) => s.as_str(),
            other => panic!("{key:?} is no string but {other:?}"),
        }
    }

    #[track_caller]
    pub fn dict(&self, key: &str) -> Dict {
        Dict::from(self.value(key))
    }

    /// An `at`.
    #[track_caller]
    pub fn numbers(&self, key: &str) -> Vec<u64> {
        let Value::Array(array) = self.value(key) else {
            panic!("{key:?} is no array in {:?}", self.0)
        };
        array.iter().filter_map(number).collect()
    }

    /// An `as`.
    #[track_caller]
    pub fn texts(&self, key: &str) -> Vec<String> {
        let Value::Array(array) = self.value(key) else {
            panic!("{key:?} is no array in {:?}", self.0)
        };
        array
            .iter()
            .filter_map(|v| if let Value::Str(s) = v { Some(s.to_string()) } else { None })
            .collect()
    }

    /// The report's `syntheses a(tss)`.
    #[track_caller]
    pub fn syntheses(&self) -> Vec<(u64, String, String)> {
        let Value::Array(array) = self.value("syntheses") else {
            panic!("syntheses is no array")
        };
        let one = |v: &Value<'_>| -> (u64, String, String) {
            let Value::Structure(s) = v else {
                panic!("a synthesis that is no struct: {v:?}")
            };
            let [id, Value::Str(state), Value::Str(told)] = s.fields() else {
                panic!("not (tss): {s:?}")
            };
            (number(id).expect("an id"), state.to_string(), told.to_string())
        };
        array.iter().map(one).collect()
    }
}
