//! D-Bus values as JSON and back. Total in the direction of JSON: whatever the daemon sends has a form.
//!
//! Not here: what to print. Numbers stay numbers (ids and times are below 2^53 by the contract), file descriptors are null.

use std::collections::HashMap;

use serde_json::{Map, Number, Value as Json};
use zbus::zvariant::{Array, Value};

use crate::bus::Dict;

pub(crate) fn from_dict(dict: &Dict) -> Json {
    Json::Object(dict.iter().map(|(key, value)| (key.clone(), from_value(value))).collect())
}

pub(crate) fn from_value(value: &Value<'_>) -> Json {
    match value {
        Value::U8(n) => Json::from(*n),
        Value::Bool(b) => Json::from(*b),
        Value::I16(n) => Json::from(*n),
        Value::U16(n) => Json::from(*n),
        Value::I32(n) => Json::from(*n),
        Value::U32(n) => Json::from(*n),
        Value::I64(n) => Json::from(*n),
        Value::U64(n) => Json::from(*n),
        // JSON has neither infinity nor NaN.
        Value::F64(n) => Number::from_f64(*n).map_or(Json::Null, Json::Number),
        Value::Str(s) => Json::from(s.as_str()),
        Value::Signature(s) => Json::from(s.to_string()),
        Value::ObjectPath(p) => Json::from(p.as_str()),
        Value::Value(inner) => from_value(inner),
        Value::Array(items) => Json::Array(items.iter().map(from_value).collect()),
        Value::Structure(fields) => Json::Array(fields.fields().iter().map(from_value).collect()),
        Value::Dict(dict) => {
            let mut map = Map::new();
            for (key, value) in dict.iter() {
                let key = match from_value(key) {
                    Json::String(s) => s,
                    other => other.to_string(),
                };
                map.insert(key, from_value(value));
            }
            Json::Object(map)
        }
        Value::Fd(_) => Json::Null,
    }
}

/// What a person typed after `KEY=`: JSON if it is JSON, else a plain word.
pub(crate) fn to_value(text: &str) -> Result<Value<'static>, String> {
    match serde_json::from_str::<Json>(text) {
        Ok(json) => from_json(&json),
        Err(_) => Ok(Value::from(text.to_owned())),
    }
}

fn from_json(json: &Json) -> Result<Value<'static>, String> {
    Ok(match json {
        // D-Bus has no null; the word is a value of the contract (output=null).
        Json::Null => Value::from("null"),
        Json::Bool(b) => Value::from(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(n), ..) => Value::from(n),
            (_, Some(n), _) => Value::from(n),
            (_, _, Some(n)) => Value::from(n),
            _ => return Err(format!("{n} is no number of D-Bus")),
        },
        Json::String(s) => Value::from(s.clone()),
        Json::Array(items) => {
            let strings: Option<Vec<String>> = items.iter().map(|i| i.as_str().map(str::to_owned)).collect();
            match strings {
                Some(strings) => Value::from(Array::from(strings)),
                None => Value::from(Array::from(items.iter().map(from_json).collect::<Result<Vec<_>, _>>()?)),
            }
        }
        Json::Object(map) => {
            let entries: Result<HashMap<String, Value<'static>>, String> =
                map.iter().map(|(key, value)| Ok((key.clone(), from_json(value)?))).collect();
            Value::from(entries?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_has_a_form_in_json() {
        let dict = HashMap::from([("a".to_owned(), Value::from(1_u64))]);
        let cases = [
            (Value::from(5_u8), "5"),
            (Value::from(-5_i16), "-5"),
            (Value::from(9_007_199_254_740_991_u64), "9007199254740991"),
            (Value::from(1.5), "1.5"),
            (Value::from(f64::NAN), "null"),
            (Value::from(true), "true"),
            (Value::from("é\n"), "\"é\\n\""),
            (Value::from(vec![1_u32, 2]), "[1,2]"),
            (Value::from(("x", 1_u32)), "[\"x\",1]"),
            (Value::from(dict), "{\"a\":1}"),
            (Value::new(Value::from("in a variant")), "\"in a variant\""),
        ];
        for (value, json) in cases {
            assert_eq!(from_value(&value).to_string(), json);
        }
    }

    #[test]
    fn a_map_with_numbers_as_keys_becomes_an_object() {
        let value = Value::from(HashMap::from([(7_u32, "seven")]));
        assert_eq!(from_value(&value).to_string(), "{\"7\":\"seven\"}");
    }

    #[test]
    fn a_typed_value_is_read_as_json_and_else_as_a_word() {
        assert_eq!(to_value("7").unwrap(), Value::from(7_i64));
        assert_eq!(to_value("-0.5").unwrap(), Value::from(-0.5));
        assert_eq!(to_value("false").unwrap(), Value::from(false));
        assert_eq!(to_value("local:hall").unwrap(), Value::from("local:hall"));
        assert_eq!(to_value("\"7\"").unwrap(), Value::from("7"));
        assert_eq!(to_value("[\"a\",\"b\"]").unwrap().value_signature().to_string(), "as");
        assert_eq!(to_value("{\"seed\":7}").unwrap().value_signature().to_string(), "a{sv}");
        assert_eq!(to_value("null").unwrap(), Value::from("null"));
    }
}
