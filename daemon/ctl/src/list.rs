//! The tables: sessions, voices, devices, plugins, metrics, history, status. With --json the daemon's own keys, unchanged.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use zbus::zvariant::Value;

use crate::{
    bus::{self, Bus, Dict, MANAGER, Options, ROOT, SESSION, flag, float, number, session_path, text},
    json,
    level::describe_gain,
    show::{Exit, Out},
    trouble::Trouble,
};

pub(crate) fn sessions(bus: &Bus, out: &Out) -> Result<Exit, Trouble> {
    let sessions = bus.sessions()?;
    out.json(&sessions.iter().map(|session| json::from_dict(&session.properties)).collect());
    if sessions.is_empty() {
        out.line("no session is open");
        return Ok(Exit::Completed);
    }
    let row = |session: &bus::Session| {
        let p = &session.properties;
        let volume = if flag(p, "Muted") {
            "muted".into()
        } else {
            describe_gain(float(p, "GainDb"))
        };
        vec![
            session.id().into(),
            text(p, "State").into(),
            number(p, "Turn").to_string(),
            number(p, "ActiveUtterance").to_string(),
            number(p, "QueueLength").to_string(),
            text(p, "Output").into(),
            volume,
        ]
    };
    out.table(
        &["SESSION", "STATE", "TURN", "SPEAKS", "WAITING", "OUTPUT", "VOLUME"],
        &sessions.iter().map(row).collect::<Vec<_>>(),
    );
    Ok(Exit::Completed)
}

pub(crate) fn voices(
    bus: &Bus,
    backend: &Option<String>,
    language: &Option<String>,
    id: &Option<String>,
    out: &Out,
) -> Result<Exit, Trouble> {
    let given = [("backend", backend), ("language", language), ("id", id)];
    let filter: Options = given
        .into_iter()
        .filter_map(|(key, word)| Some((key.into(), Value::from(word.clone()?))))
        .collect();
    let voices: Vec<Dict> = bus.call(ROOT, MANAGER, "ListVoices", &(filter,))?;
    out.json(&voices.iter().map(json::from_dict).collect());
    let row = |v: &Dict| {
        let words = if flag(v, "word-timing") { "yes" } else { "no" };
        vec![
            text(v, "id").into(),
            text(v, "backend").into(),
            text(v, "name").into(),
            strings(v, "languages"),
            number(v, "sample-rate").to_string(),
            words.into(),
        ]
    };
    show(
        out,
        "no voice; utterctl plugins shows why",
        &["VOICE", "BACKEND", "NAME", "LANGUAGES", "RATE", "WORD TIMES"],
        voices.iter().map(row).collect(),
    )
}

pub(crate) fn devices(bus: &Bus, out: &Out) -> Result<Exit, Trouble> {
    let ports: Vec<Dict> = bus.call(ROOT, MANAGER, "ListPorts", &())?;
    out.json(&ports.iter().map(json::from_dict).collect());
    let row = |p: &Dict| {
        vec![
            text(p, "name").into(),
            text(p, "direction").into(),
            number(p, "channels").to_string(),
            if flag(p, "default") { "default" } else { "" }.into(),
        ]
    };
    show(
        out,
        "no device: the timer driver has none, and a JACK server shows what it has",
        &["NAME", "DIRECTION", "CHANNELS", ""],
        ports.iter().map(row).collect(),
    )
}

pub(crate) fn plugins(bus: &Bus, out: &Out) -> Result<Exit, Trouble> {
    type Plugin = (String, String, String, String, String, Dict);
    let plugins: Vec<Plugin> = bus.call(ROOT, "org.utterd.Utterd1.Plugins", "List", &())?;
    let object = |(id, kind, version, state, path, details): &Plugin| json!({"id": id, "kind": kind, "version": version, "state": state, "path": path, "details": json::from_dict(details)});
    out.json(&plugins.iter().map(object).collect());
    let row = |(id, kind, version, state, path, details): &Plugin| {
        let state = match text(details, "reason") {
            "" => state.clone(),
            reason => format!("{state}: {reason}"),
        };
        vec![id.clone(), kind.clone(), version.clone(), path.clone(), state]
    };
    show(
        out,
        "no plugin; the daemon's log names the folders it looked in",
        &["PLUGIN", "KIND", "VERSION", "FILE", "STATE"],
        plugins.iter().map(row).collect(),
    )
}

pub(crate) fn metrics(bus: &Bus, format: Option<&str>, scope: Option<&str>, out: &Out) -> Result<Exit, Trouble> {
    const METRICS: &str = "org.utterd.Utterd1.Metrics";
    if let Some(format) = format {
        let text: String = bus.call(ROOT, METRICS, "ExportText", &(format,))?;
        out.text(&text);
        return Ok(Exit::Completed);
    }
    let values: BTreeMap<String, f64> = bus.call(ROOT, METRICS, "Snapshot", &(scope.unwrap_or_default(),))?;
    out.json(
        &values
            .iter()
            .map(|(name, value)| (name.clone(), Json::from(*value)))
            .collect::<Map<_, _>>()
            .into(),
    );
    show(
        out,
        "no metric",
        &["METRIC", "VALUE"],
        values.iter().map(|(name, value)| vec![name.clone(), value.to_string()]).collect(),
    )
}

pub(crate) fn history(bus: &Bus, limit: Option<u32>, session: Option<&str>, out: &Out) -> Result<Exit, Trouble> {
    let options = Options::from_iter(limit.map(|n| ("limit".into(), Value::from(n))));
    let ask = |id: &str| bus.call::<_, Vec<Dict>>(&session_path(id), SESSION, "GetHistory", &(&options,));
    let entries = match session {
        Some(id) => ask(id)?,
        None => match ask(&crate::say::shell_session()) {
            Err(trouble) if trouble.is("UnknownObject") => ask("default")?,
            answered => answered?,
        },
    };
    out.json(&entries.iter().map(json::from_dict).collect());
    let row = |e: &Dict| {
        let end = [text(e, "outcome"), text(e, "reason")].join(" ");
        let heard = if text(e, "heard") == text(e, "said") {
            text(e, "said").to_owned()
        } else {
            format!("{} [of: {}]", text(e, "heard"), text(e, "said"))
        };
        vec![number(e, "utterance").to_string(), end.trim().into(), heard]
    };
    show(
        out,
        "nothing was said yet",
        &["UTTERANCE", "END", "HEARD"],
        entries.iter().map(row).collect(),
    )
}

pub(crate) fn status(bus: &Bus, out: &Out) -> Result<Exit, Trouble> {
    let manager = bus.properties(ROOT, MANAGER)?;
    // A daemon of the first release may not have it, and the rest is worth showing all the same.
    let owner = bus.properties(ROOT, "org.utterd.Utterd1.AudioOwner").unwrap_or_default();
    let sessions = bus.sessions()?;
    let speaking: Vec<&str> = sessions
        .iter()
        .filter(|s| number(&s.properties, "ActiveUtterance") != 0 && !s.is_paused())
        .map(bus::Session::id)
        .collect();
    let paused: Vec<&str> = sessions.iter().filter(|s| s.is_paused()).map(bus::Session::id).collect();
    out.json(&json!({"bus": bus.label, "manager": json::from_dict(&manager), "audio-owner": json::from_dict(&owner), "sessions": sessions.len(), "speaking": speaking, "paused": paused}));
    let row = |name: &str, what: String| out.line(&format!("{} {}", out.dim(&format!("{name:<9}")), crate::show::clean(&what)));
    row("utterd", format!("{} on the {}", text(&manager, "Version"), bus.label));
    row(
        "driver",
        format!(
            "{} {}, {} Hz, {} frames",
            text(&manager, "Driver"),
            text(&manager, "DriverState"),
            number(&manager, "SampleRate"),
            number(&manager, "PeriodFrames")
        ),
    );
    if text(&manager, "Driver") == "timer" {
        row("", "no JACK server: nothing reaches a loudspeaker".into());
    }
    let muted = if flag(&manager, "Muted") { ", muted" } else { "" };
    row("volume", format!("{}{muted}", describe_gain(float(&manager, "GainDb"))));
    if !matches!(text(&manager, "MinPriority"), "" | "progress") {
        row("quiet", format!("only {} and above is spoken", text(&manager, "MinPriority")));
    }
    row(
        "sessions",
        match speaking.as_slice() {
            [] => format!("{} open, nobody speaks", sessions.len()),
            ids => format!("{} open, speaking: {}", sessions.len(), ids.join(" ")),
        },
    );
    if !paused.is_empty() {
        row("paused", paused.join(" "));
    }
    if !text(&owner, "Owner").is_empty() {
        row("owner", format!("{} ({})", text(&owner, "Owner"), text(&owner, "State")));
    }
    Ok(Exit::Completed)
}

fn show(out: &Out, nothing: &str, head: &[&str], rows: Vec<Vec<String>>) -> Result<Exit, Trouble> {
    if rows.is_empty() {
        out.line(nothing);
    } else {
        out.table(head, &rows);
    }
    Ok(Exit::Completed)
}

fn strings(dict: &Dict, key: &str) -> String {
    match dict.get(key).map(|value| &**value) {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|item| item.downcast_ref::<&str>().ok())
            .collect::<Vec<_>>()
            .join(" "),
        _ => String::new(),
    }
}
