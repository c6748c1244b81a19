//! `params`, the backend's own options of a Say: from D-Bus values to the JSON object that its plugin gets.
//!
//! What they mean is the plugin's to judge; here they are only made JSON, within bounds. What JSON cannot say is refused and named.

use std::sync::Arc;

use serde_json::{Map, Number, Value as Json};
use zbus::zvariant::Value;

use super::error::Refusal;

/// Of the whole object as JSON.
const BYTES: usize = 16_384;
/// Tables and lists in each other.
const DEPTH: usize = 8;

pub(super) fn json(value: &Value<'_>) -> Result<Arc<str>, Refusal> {
    let Value::Dict(_) = inner(value) else {
        let found = value.value_signature();
        return Err(Refusal::invalid_args(format!(
            "option \"params\" has type {found}, but takes a{{sv}}"
        )));
    };
    let json = convert(value, "params", 0)?.to_string();
    if json.len() > BYTES {
        let message = format!("option \"params\" has {} bytes as JSON; allowed: {BYTES}", json.len());
        return Err(Refusal::limit_exceeded(message));
    }
    Ok(json.into())
}

fn inner<'v, 'a>(value: &'v Value<'a>) -> &'v Value<'a> {
    match value {
        Value::Value(value) => inner(value),
        value => value,
    }
}

fn convert(value: &Value<'_>, path: &str, depth: usize) -> Result<Json, Refusal> {
    if depth > DEPTH {
        return Err(Refusal::limit_exceeded(format!(
            "option \"{path:.64}\" is nested deeper than {DEPTH}"
        )));
    }
    Ok(match inner(value) {
        Value::Bool(flag) => (*flag).into(),
        Value::Str(text) => text.as_str().into(),
        Value::U8(n) => (*n).into(),
        Value::I16(n) => (*n).into(),
        Value::U16(n) => (*n).into(),
        Value::I32(n) => (*n).into(),
        Value::U32(n) => (*n).into(),
        Value::I64(n) => (*n).into(),
        Value::U64(n) => (*n).into(),
        Value::F64(n) => match Number::from_f64(*n) {
            Some(number) => Json::Number(number),
            None => {
                return Err(Refusal::invalid_args(format!(
                    "option \"{path:.64}\" is {n}, which JSON cannot say"
                )));
            }
        },
        Value::Array(items) => {
            let items = items.iter().enumerate();
            let items = items.map(|(n, item)| convert(item, &format!("{path}[{n}]"), depth + 1));
            Json::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Dict(entries) => {
            let mut object = Map::new();
            for (key, value) in entries.iter() {
                let Value::Str(key) = inner(key) else {
                    let message = format!("option \"{path:.64}\" has keys that are no strings");
                    return Err(Refusal::invalid_args(message));
                };
                object.insert(key.to_string(), convert(value, &format!("{path}.{key}"), depth + 1)?);
            }
            Json::Object(object)
        }
        other => {
            let found = other.value_signature();
            return Err(Refusal::invalid_args(format!(
                "option \"{path:.64}\" has type {found}, which JSON cannot say"
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn of<'v>(entries: &[(&'v str, Value<'v>)]) -> Value<'v> {
        let entries: HashMap<&str, Value<'_>> = entries.iter().map(|(k, v)| (*k, v.try_clone().unwrap())).collect();
        Value::from(entries)
    }

    #[test]
    fn what_json_can_say_is_said() {
        let inner = of(&[("b", Value::from(true))]);
        for (value, wanted) in [
            (Value::from("x\"y"), r#"{"k":"x\"y"}"#),
            (Value::from(7_u64), r#"{"k":7}"#),
            (Value::from(-1_i32), r#"{"k":-1}"#),
            (Value::from(0.5), r#"{"k":0.5}"#),
            (Value::from(vec!["a", "b"]), r#"{"k":["a","b"]}"#),
            (inner, r#"{"k":{"b":true}}"#),
        ] {
            assert_eq!(&*json(&of(&[("k", value)])).unwrap(), wanted);
        }
        assert_eq!(&*json(&of(&[])).unwrap(), "{}");
    }

    #[test]
    fn what_it_cannot_say_is_refused_and_named() {
        let mut deep = Value::from(1_u8);
        for _ in 0..10 {
            deep = Value::from(vec![deep]);
        }
        let long = "x".repeat(20_000);
        for (value, wanted) in [
            (Value::from("x"), "has type s"),
            (of(&[("k", Value::from(f64::NAN))]), "params.k\" is NaN"),
            (of(&[("k", Value::from((1_u8, 2_u8)))]), "params.k\" has type (yy)"),
            (Value::from(HashMap::from([(1_u32, "x")])), "no strings"),
            (of(&[("k", deep)]), "deeper than 8"),
            (of(&[("k", Value::from(long.as_str()))]), "as JSON; allowed: 16384"),
        ] {
            let refusal = json(&value).unwrap_err();
            assert!(refusal.message.contains(wanted), "{}", refusal.message);
        }
    }
}
