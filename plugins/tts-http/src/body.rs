//! What a request says: the JSON of the body, or the query of a GET.

use serde_json::{Map, Value};
use utterd_plugin_api::prelude::*;

use crate::config::{Config, Method};
use crate::url::{Url, escape};

/// Speeds beyond these are refused by every server.
const SPEEDS: std::ops::RangeInclusive<f32> = 0.25..=4.0;

/// Fields in order of precedence: extra < the configured ones < params < the text.
pub(crate) fn fields(config: &Config, req: &Speak<'_>) -> Result<Map<String, Value>> {
    let mut all = config.extra.clone();
    let names = &config.fields;
    let voice = if req.voice.is_empty() { &config.voice } else { req.voice };
    for (name, value) in [
        (&names.model, config.model.as_str()),
        (&names.voice, voice),
        (&names.format, &config.response_format),
        (&names.language, req.language),
    ] {
        if !name.is_empty() && !value.is_empty() {
            all.insert(name.clone(), value.into());
        }
    }
    let speed = if req.rate.is_finite() && req.rate > 0.0 { req.rate } else { 1.0 };
    let speed = speed.clamp(*SPEEDS.start(), *SPEEDS.end());
    if speed != 1.0 {
        for (name, value) in [(&names.speed, speed), (&names.length_scale, 1.0 / speed)] {
            if !name.is_empty() {
                all.insert(name.clone(), ((f64::from(value) * 1000.0).round() / 1000.0).into());
            }
        }
    }
    if !names.id.is_empty() {
        all.insert(names.id.clone(), req.synthesis.to_string().into());
    }
    if !req.params_json.trim().is_empty() {
        let params: Map<String, Value> =
            serde_json::from_str(req.params_json).map_err(|e| Error::Argument(format!("params are no JSON object: {e}")))?;
        all.extend(params);
    }
    all.insert(names.text.clone(), req.text.into());
    Ok(all)
}

/// Where to, and with which body.
pub(crate) fn request(method: Method, url: &Url, fields: &Map<String, Value>) -> (Url, Vec<u8>) {
    match method {
        Method::Post => (url.clone(), Value::Object(fields.clone()).to_string().into_bytes()),
        Method::Get => {
            let mut url = url.clone();
            for (name, value) in fields {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                url.target.push(if url.target.contains('?') { '&' } else { '?' });
                url.target.push_str(&format!("{}={}", escape(name), escape(&value)));
            }
            (url, Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<'a>(text: &'a str, rate: f32, params_json: &'a str) -> Speak<'a> {
        Speak {
            synthesis: 7,
            utterance: 1,
            session: 1,
            text,
            voice: "af_heart",
            language: "",
            rate,
            pitch: 1.0,
            gain_db: 0.0,
            out_rate_hint: 0,
            params_json,
            flags: 0,
        }
    }

    #[test]
    fn a_body_as_openai_wants_it() {
        let config = Config {
            model: "kokoro".into(),
            ..Config::default()
        };
        let all = fields(&config, &said("Hi\n\"you\"", f32::NAN, "")).unwrap();
        let expected = serde_json::json!({"input":"Hi\n\"you\"","model":"kokoro","voice":"af_heart","response_format":"wav"});
        assert_eq!(Value::Object(all), expected);
        let all = fields(&config, &said("x", 100.0, r#"{"instructions":"slowly","input":"not this"}"#)).unwrap();
        assert_eq!(
            (&all["speed"], &all["instructions"], &all["input"]),
            (&4.0.into(), &"slowly".into(), &"x".into())
        );
        assert!(fields(&config, &said("x", 1.0, "[1]")).unwrap_err().message().contains("params"));
    }

    #[test]
    fn a_query_for_a_get() {
        let mut config = Config::default();
        config.fields.format.clear();
        let url = Url::parse("http://a/tts?x=1").unwrap();
        let (url, body) = request(Method::Get, &url, &fields(&config, &said("a b&c", 1.0, "")).unwrap());
        assert_eq!((url.target.as_str(), body.len()), ("/tts?x=1&input=a%20b%26c&voice=af_heart", 0));
    }
}
