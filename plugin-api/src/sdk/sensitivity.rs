//! The configuration of a detector that can be made more or less eager, and has nothing else to set.

use serde::{Deserialize, Deserializer, de};

/// `{"sensitivity": 0 … 1}`; absent: 0.5. A daemon whose own configuration has a sensitivity fills it in for detectors whose schema has this key.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sensitivity {
    /// From 0 (late and sure) to 1 (early and rash).
    #[serde(deserialize_with = "in_range")]
    pub sensitivity: f32,
}

impl Sensitivity {
    /// For [`super::Detector::SCHEMA`].
    pub const SCHEMA: &'static str = r#"{"type":"object","additionalProperties":false,"properties":{
        "sensitivity":{"type":"number","minimum":0,"maximum":1,"default":0.5}}}"#;
}

impl Default for Sensitivity {
    fn default() -> Self {
        Self { sensitivity: 0.5 }
    }
}

fn in_range<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    match f32::deserialize(from)? {
        fits @ 0.0..=1.0 => Ok(fits),
        other => Err(de::Error::custom(format_args!(
            "sensitivity must lie between 0 and 1, it is {other}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_between_0_and_1_and_nothing_stands_beside_it() {
        let read = |json: &str| {
            serde_json::from_str::<Sensitivity>(json)
                .map(|s| s.sensitivity)
                .map_err(|e| e.to_string())
        };
        assert_eq!(read("{}"), Ok(0.5));
        assert_eq!(read(r#"{"sensitivity":1}"#), Ok(1.0));
        for (json, word) in [
            (r#"{"sensitivity":1.5}"#, "between 0 and 1, it is 1.5"),
            (r#"{"sensitivity":-0.1}"#, "between 0 and 1"),
            (r#"{"sensitivity":"high"}"#, "invalid type"),
            (r#"{"sensitivit":0.5}"#, "unknown field"),
        ] {
            let refused = read(json).unwrap_err();
            assert!(refused.contains(word), "{json}: {refused}");
        }
        let schema: serde_json::Value = serde_json::from_str(Sensitivity::SCHEMA).unwrap();
        assert_eq!(schema["properties"]["sensitivity"]["default"], 0.5);
    }
}
