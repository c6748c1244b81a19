//! The verb `speech`: what a button, or a recogniser of somebody's own, says of the user.
//!
//! It always names the utterance or the turn it is about. A report without either means whatever is spoken when it arrives, and that may be the
//! answer to the very words it reports.

use serde_json::json;
use zbus::zvariant::Value;

use crate::{
    bus::{self, Bus, Options, SESSION, session_path},
    cli::SpeechArgs,
    show::{Exit, Out},
    trouble::Trouble,
};

pub(crate) fn report(bus: &Bus, args: &SpeechArgs, out: &Out) -> Result<Exit, Trouble> {
    let session = session(bus, args.at.session.as_deref())?;
    let (key, number) = match (args.utterance, args.turn) {
        (Some(utterance), _) => ("utterance", utterance),
        (None, Some(turn)) => ("turn", turn),
        (None, None) => match bus::number(&session.properties, "ActiveUtterance") {
            0 => ("turn", bus::number(&session.properties, "Turn")),
            active => ("utterance", active),
        },
    };
    let mut details = Options::from_iter([(key.to_owned(), Value::from(number))]);
    details.extend(args.at_us.map(|at| ("at-us".into(), Value::from(at))));
    details.extend(args.text.as_ref().map(|text| ("text".into(), Value::from(text.clone()))));
    let path = session_path(session.id());
    let decision: String = bus.call(&path, SESSION, "ReportSpeech", &(&args.kind, details))?;
    out.detail(&format!("session {}, {key} {number}", session.id()));
    out.json(&json!({"session": session.id(), (key): number, "decision": decision}));
    out.line(&decision);
    Ok(Exit::Completed)
}

/// The one that is meant, else the one that has something to say.
fn session(bus: &Bus, id: Option<&str>) -> Result<bus::Session, Trouble> {
    let mut sessions = bus.sessions()?;
    if let Some(id) = id {
        sessions.retain(|session| session.id() == id);
        return sessions
            .pop()
            .ok_or_else(|| Trouble::new(format!("there is no session \"{id}\": utterctl sessions lists the open ones")));
    }
    sessions.retain(bus::Session::has_something_to_say);
    match (sessions.pop(), sessions.as_slice()) {
        (Some(session), []) => Ok(session),
        (None, _) => Err(Trouble::new(
            "nobody speaks, so nobody can be interrupted: name a session with --session",
        )),
        (Some(last), others) => {
            let ids: Vec<&str> = others.iter().map(bus::Session::id).chain([last.id()]).collect();
            Err(Trouble::new(format!(
                "several sessions have something to say: choose one with --session ({})",
                ids.join(", ")
            )))
        }
    }
}
