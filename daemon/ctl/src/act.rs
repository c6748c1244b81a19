//! The short verbs: cancel, pause, resume, volume, mute, close, reload.
//!
//! Without --session they mean everything the caller may control, because a person at a desktop wants silence, not a session id.
//! "Nothing to do" is a success. Sessions of other users are skipped where many are meant and an error where one was named.

use std::{sync::mpsc::channel, time::Duration};

use serde_json::{Value as Json, json};
use zbus::zvariant::Value;

use crate::{
    bus::{self, Bus, Dict, MANAGER, Options, ROOT, SESSION, session_path},
    cli::CancelArgs,
    json,
    level::{Level, describe_gain, to_percent},
    report,
    show::{Exit, Out},
    trouble::Trouble,
};

pub(crate) fn cancel(bus: &Bus, args: &CancelArgs, out: &Out) -> Result<Exit, Trouble> {
    let mut options = Options::new();
    options.extend(args.utterance.map(|n| ("utterance".into(), Value::from(n))));
    options.extend(args.turn.map(|n| ("turn".into(), Value::from(n))));
    options.extend(args.fade_ms.map(|n| ("fade-ms".into(), Value::from(n))));
    options.extend(args.reason.as_ref().map(|word| ("reason".into(), Value::from(word.clone()))));
    let ask = |id: &str| bus.call::<_, Dict>(ROOT, MANAGER, "Cancel", &(id, &options));
    let details = match (&args.at.session, args.utterance) {
        (Some(id), _) => ask(id)?,
        (None, Some(utterance)) => bus.in_whichever_session(utterance, ask)?,
        (None, None) => return cancel_all(bus, &options, out),
    };
    out.json(&json::from_dict(&details));
    let result = bus::text(&details, "result");
    match result {
        "nothing" => out.line("nothing to cancel"),
        "protected" => out.warning("protected: it goes on; without --reason barge-in it stops"),
        result => report::lines(result, &details).iter().for_each(|line| out.line(line)),
    }
    Ok(if result == "protected" { Exit::Other } else { Exit::Completed })
}

/// CancelAll answers with a count; the reports are in the UtteranceFinished signals that precede its reply.
fn cancel_all(bus: &Bus, options: &Options, out: &Out) -> Result<Exit, Trouble> {
    let (sender, finished) = channel();
    bus::forward(bus.signals(ROOT)?, move |message| {
        let is_end = message
            .header()
            .member()
            .is_some_and(|member| member.as_str() == "UtteranceFinished");
        match message.body().deserialize::<(u64, String, Dict)>() {
            Ok((_, outcome, details)) if is_end && outcome == "cancelled" => sender.send(details).is_ok(),
            _ => true,
        }
    });
    let cancelled: u32 = bus.call(ROOT, MANAGER, "CancelAll", &(options,))?;
    let mut reports = Vec::new();
    // They are here already, only perhaps not yet through our own thread; where the bus keeps them from us (system bus,
    // ordinary user) the count alone is told.
    while reports.len() < cancelled as usize
        && let Ok(details) = finished.recv_timeout(Duration::from_millis(200))
    {
        reports.push(details);
    }
    out.json(&json!({"cancelled": cancelled, "reports": reports.iter().map(json::from_dict).collect::<Vec<Json>>()}));
    match cancelled {
        0 => out.line("nothing to cancel"),
        _ if reports.is_empty() => out.line(&format!("cancelled {cancelled}")),
        _ => reports
            .iter()
            .flat_map(|details| report::lines("cancelled", details))
            .for_each(|line| out.line(&line)),
    }
    Ok(Exit::Completed)
}

pub(crate) fn pause(bus: &Bus, session: Option<&str>, pause: bool, out: &Out) -> Result<Exit, Trouble> {
    let (method, done) = if pause { ("Pause", "paused") } else { ("Resume", "resumed") };
    let call = |path: &str| bus.call::<_, ()>(path, SESSION, method, &(Options::new(),));
    let mut changed = Vec::new();
    if let Some(id) = session {
        // By name also an idle one: what comes next is held.
        call(&session_path(id))?;
        changed.push(id.to_owned());
    } else {
        let wanted = |session: &bus::Session| {
            if pause {
                session.has_something_to_say() && !session.is_paused()
            } else {
                session.is_paused()
            }
        };
        for session in bus.sessions()?.iter().filter(|session| wanted(session)) {
            match call(&session.path) {
                Ok(()) => changed.push(session.id().to_owned()),
                // Somebody else's, or closed since we asked.
                Err(trouble)
                    if ["NotPermitted", "AccessDenied", "UnknownObject", "SessionClosed"]
                        .iter()
                        .any(|word| trouble.is(word)) =>
                {
                    out.detail(&format!("{}: {}", session.id(), trouble.message));
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }
    out.json(&json!({done: changed}));
    out.line(&match changed.as_slice() {
        [] => format!("nothing to {}", method.to_lowercase()),
        ids => format!("{done} {}", ids.join(" ")),
    });
    Ok(Exit::Completed)
}

pub(crate) fn volume(bus: &Bus, level: Option<Level>, session: Option<&str>, out: &Out) -> Result<Exit, Trouble> {
    let (path, interface) = target(session);
    let mut gain = bus::float(&bus.properties(&path, interface)?, "GainDb");
    if let Some(level) = level {
        gain = level.gain_db(gain);
        bus.set(&path, interface, "GainDb", Value::from(gain))?;
    }
    out.json(&json!({"session": session, "gain-db": gain, "percent": to_percent(gain)}));
    out.line(&describe_gain(gain));
    Ok(Exit::Completed)
}

pub(crate) fn mute(bus: &Bus, session: Option<&str>, muted: bool, mic: bool, out: &Out) -> Result<Exit, Trouble> {
    let (path, interface) = target(session);
    bus.set(&path, interface, if mic { "MicMuted" } else { "Muted" }, Value::from(muted))?;
    out.json(&json!({"session": session, (if mic { "mic-muted" } else { "muted" }): muted}));
    out.line(match (muted, mic) {
        (true, false) => "muted",
        (false, false) => "unmuted",
        (true, true) => "microphone muted",
        (false, true) => "microphone unmuted",
    });
    Ok(Exit::Completed)
}

fn target(session: Option<&str>) -> (String, &'static str) {
    session.map_or((ROOT.into(), MANAGER), |id| (session_path(id), SESSION))
}

pub(crate) fn close(bus: &Bus, id: &str, drain: bool, out: &Out) -> Result<Exit, Trouble> {
    let options = Options::from_iter(drain.then(|| ("drain".into(), Value::from(true))));
    bus.call::<_, ()>(ROOT, MANAGER, "CloseSession", &(id, options))?;
    out.json(&json!({"closed": id}));
    out.line(&format!("closed {id}"));
    Ok(Exit::Completed)
}

pub(crate) fn reload(bus: &Bus, out: &Out) -> Result<Exit, Trouble> {
    bus.call::<_, ()>(ROOT, MANAGER, "Reload", &())?;
    out.json(&json!({"reloaded": true}));
    out.line("reloaded");
    Ok(Exit::Completed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_session_the_whole_daemon_is_meant() {
        assert_eq!(target(None), (ROOT.into(), MANAGER));
        assert_eq!(target(Some("a")), (format!("{ROOT}/session/a"), SESSION));
    }
}
