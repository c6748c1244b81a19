//! What a plugin's own table of the configuration may hold, by the JSON Schema that the plugin gives: a key that is not in it is refused here,
//! with those that are, before the plugin sees it. Values are the plugin's to judge; one without a closed schema judges its keys, too.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use utterd_plugin_api::abi::UtCommon;

/// Why a plugin is not loaded, and the key of its configuration that is to blame.
#[derive(Debug, PartialEq)]
pub(super) struct Refused {
    pub(super) reason: String,
    pub(super) key: Option<String>,
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self { reason, key: None }
    }
}

impl From<&str> for Refused {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

impl Refused {
    /// As its author reads it: first of all where the key stands.
    pub(super) fn told(self, places: Option<&BTreeMap<String, String>>) -> String {
        match self.key.and_then(|key| places?.get(&key)) {
            Some(place) => format!("{place}: {}", self.reason),
            None => self.reason,
        }
    }
}

/// The keys that the plugin knows, if it says so.
pub(super) fn properties(common: UtCommon) -> Option<Map<String, Value>> {
    closed(common).map(|(properties, _)| properties)
}

/// And whether there are no others.
fn closed(common: UtCommon) -> Option<(Map<String, Value>, bool)> {
    // SAFETY: [any]; the string lives while the process does (R5).
    let schema = unsafe { common.schema?().text() }?;
    let mut schema: Map<String, Value> = serde_json::from_str(schema).ok()?;
    let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    let properties = match schema.remove("properties") {
        Some(Value::Object(properties)) => properties,
        _ => Map::new(),
    };
    Some((properties, is_closed))
}

/// Refuses the first key of `[plugin.ID]` that its schema does not have.
pub(super) fn check(common: UtCommon, id: &str, config: &str) -> Result<(), Refused> {
    let (Some((properties, true)), Ok(config)) = (closed(common), serde_json::from_str::<Map<String, Value>>(config)) else {
        return Ok(());
    };
    match config.keys().find(|key| !properties.contains_key(*key)) {
        None => Ok(()),
        Some(key) => Err(unknown(id, key, &properties)),
    }
}

fn unknown(id: &str, key: &str, properties: &Map<String, Value>) -> Refused {
    let allowed: Vec<&str> = properties.keys().map(String::as_str).collect();
    let allowed = match allowed.as_slice() {
        [] => "none".to_owned(),
        keys => keys.join(", "),
    };
    Refused {
        reason: format!("unknown key plugin.{id}.{key}; allowed: {allowed}"),
        key: Some(key.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_told_with_its_place_and_with_those_that_are_known() {
        let properties = serde_json::from_str(r#"{"sensitivity":{},"window":{}}"#).unwrap();
        let refused = || unknown("detector-x", "sensitivty", &properties);
        let places = BTreeMap::from([("sensitivty".to_owned(), "/etc/utterd/utterd.toml:7".to_owned())]);
        assert_eq!(
            refused().told(Some(&places)),
            "/etc/utterd/utterd.toml:7: unknown key plugin.detector-x.sensitivty; allowed: sensitivity, window"
        );
        assert_eq!(refused().told(None), refused().reason);
        assert!(unknown("x", "a", &Map::new()).reason.ends_with("allowed: none"));
    }
}
