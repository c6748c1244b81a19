//! The interfaces of the root object: Manager, Metrics, Plugins, AudioOwner, Calls. Calls to requests and questions; decides nothing.

use utterd_core::{Request, Target, Transition};
use zbus::message::Message;
use zbus::zvariant::Value;

use super::call::{Action, Query, Shape, answer};
use super::error::Refusal;
use super::options::{self, Options};
use super::values::Dict;
use super::{Services, play};

pub(super) const MANAGER: &str = "org.utterd.Utterd1.Manager";
pub(super) const AUDIO_OWNER: &str = "org.utterd.Utterd1.AudioOwner";
pub(super) const PLUGINS: &str = "org.utterd.Utterd1.Plugins";
pub(super) const METRICS: &str = "org.utterd.Utterd1.Metrics";
pub(super) const CALLS: &str = "org.utterd.Utterd1.Calls";

/// Every interface of the root object with its methods, for calls that name no interface.
const METHODS: [(&str, &[&str]); 5] = [
    (
        MANAGER,
        &[
            "OpenSession",
            "CloseSession",
            "Say",
            "Cancel",
            "Play",
            "Wait",
            "CancelAll",
            "ListVoices",
            "ListPorts",
            "Reload",
        ],
    ),
    (
        AUDIO_OWNER,
        &["EnterListening", "LeaveListening", "MicClosedRecovery", "PlaybackReassert"],
    ),
    (PLUGINS, &["List", "SetEnabled"]),
    (METRICS, &["Snapshot", "ExportText"]),
    (CALLS, &["Dial"]),
];

pub(super) fn method(call: &Message, interface: Option<&str>, member: &str, services: &dyn Services) -> Result<Action, Refusal> {
    let Some((interface, methods)) = METHODS
        .iter()
        .find(|(name, methods)| interface.map_or(methods.contains(&member), |i| i == *name))
    else {
        let asked = interface.unwrap_or("the root object");
        return Err(match interface {
            Some(_) => Refusal::unknown_interface(format!("the root object has no interface {asked}")),
            None => Refusal::unknown_method(format!("the root object has no method {member}")),
        });
    };
    if !methods.contains(&member) {
        return Err(Refusal::unknown_method(format!("{interface} has no method {member}")));
    }
    match (*interface, member) {
        (MANAGER, _) => manager(call, member, services),
        (METRICS, _) => metrics(call, member, services),
        (AUDIO_OWNER, _) => transition(call, member),
        (PLUGINS, "List") => {
            call.body().deserialize::<()>()?;
            let rows: Vec<_> = services
                .plugins()
                .into_iter()
                .map(|p| (p.id, p.kind, p.version, p.state, p.path, p.details))
                .collect();
            Ok(Action::Answer(answer(call, &rows)?))
        }
        _ => Err(Refusal::not_supported(format!("{member} is not supported by this release"))),
    }
}

fn transition(call: &Message, member: &str) -> Result<Action, Refusal> {
    let (id, turn): (String, u64) = call.body().deserialize()?;
    let transition = match member {
        "EnterListening" => Transition::EnterListening,
        "LeaveListening" => Transition::LeaveListening,
        "MicClosedRecovery" => Transition::MicClosedRecovery,
        _ => Transition::PlaybackReassert,
    };
    let target = Target::Id(id);
    Ok(Action::Ask(Request::Transition { transition, target, turn }, Shape::Method))
}

fn manager(call: &Message, member: &str, services: &dyn Services) -> Result<Action, Refusal> {
    let body = call.body();
    let request = match member {
        "OpenSession" => {
            let (id, options): (String, Options) = body.deserialize()?;
            Request::Open {
                id,
                options: options::session(options)?,
            }
        }
        "CloseSession" => {
            let (id, options): (String, Options) = body.deserialize()?;
            Request::Close {
                target: Target::Id(id),
                drain: options::close(options)?,
            }
        }
        "Say" => {
            let (id, text, options): (String, String, Options) = body.deserialize()?;
            Request::Say {
                target: Target::Id(id),
                text,
                options: options::say(options)?,
            }
        }
        "Play" => {
            let (id, uri, options): (String, String, Options) = body.deserialize()?;
            play::request(Target::Id(id), &uri, options, services)?
        }
        "Cancel" => {
            let (id, options): (String, Options) = body.deserialize()?;
            Request::Cancel {
                target: Target::Id(id),
                options: options::cancel(options)?,
            }
        }
        "Wait" => {
            let (id, utterance, options): (String, u64, Options) = body.deserialize()?;
            Request::Wait {
                target: Target::Id(id),
                utterance,
                timeout_us: options::wait(options)?,
            }
        }
        "CancelAll" => Request::CancelAll {
            reason: options::cancel_all(body.deserialize()?)?,
        },
        "ListVoices" => {
            let [backend, language, id] = options::voices(body.deserialize()?)?;
            let wanted = |v: &super::VoiceInfo| {
                backend.as_ref().is_none_or(|b| *b == v.backend)
                    && id.as_ref().is_none_or(|i| *i == v.id)
                    && language.as_ref().is_none_or(|l| {
                        v.languages
                            .iter()
                            .any(|have| have.eq_ignore_ascii_case(l) || have.to_lowercase().starts_with(&format!("{}-", l.to_lowercase())))
                    })
            };
            let voices: Vec<Dict> = services.voices().into_iter().filter(wanted).map(voice).collect();
            return Ok(Action::Answer(answer(call, &voices)?));
        }
        "ListPorts" => {
            body.deserialize::<()>()?;
            return Ok(Action::Query(Query::Ports));
        }
        "Reload" => {
            body.deserialize::<()>()?;
            return Ok(Action::Query(Query::Reload));
        }
        _ => {
            return Err(Refusal::not_supported(format!("{member} is not supported by this release")));
        }
    };
    Ok(Action::Ask(request, Shape::Method))
}

fn voice(v: super::VoiceInfo) -> Dict {
    Dict::from([
        ("id", Value::from(v.id)),
        ("backend", Value::from(v.backend)),
        ("name", Value::from(v.name)),
        ("languages", Value::from(v.languages)),
        ("sample-rate", Value::from(v.sample_rate)),
        ("word-timing", Value::from(v.word_timing)),
    ])
}

fn metrics(call: &Message, member: &str, services: &dyn Services) -> Result<Action, Refusal> {
    let argument: String = call.body().deserialize()?;
    if member == "Snapshot" {
        let values = services.metrics(&argument).ok_or_else(|| {
            Refusal::no_such_session(format!("there is no session \"{argument}\": scope is \"\" or an open session's id"))
        })?;
        return Ok(Action::Answer(answer(call, &values)?));
    }
    let text = services
        .export_metrics(&argument)
        .ok_or_else(|| Refusal::invalid_args(format!("format is \"{argument}\"; allowed: prometheus, json")))?;
    Ok(Action::Answer(answer(call, &text)?))
}

pub(super) fn set(interface: &str, property: &str, value: &Value<'_>) -> Result<Action, Refusal> {
    let request = match (interface, property) {
        (MANAGER, "GainDb") => Request::SetMasterGain {
            gain_db: options::gain_db(property, value)?,
        },
        (MANAGER, "Muted") => Request::SetMasterMuted {
            muted: options::boolean(property, value)?,
        },
        (MANAGER, "MinPriority") => Request::SetMinPriority {
            priority: options::priority(property, value)?,
        },
        (MANAGER, "MicMuted") => Request::SetMasterMicMuted {
            muted: options::boolean(property, value)?,
        },
        (MANAGER, "Version" | "Driver" | "DriverState" | "SampleRate" | "PeriodFrames")
        | (AUDIO_OWNER, "Owner" | "State" | "Generation" | "Counters") => {
            return Err(Refusal::read_only(format!("{property} can only be read")));
        }
        _ => {
            return Err(Refusal::unknown_property(format!("{interface} has no property {property}")));
        }
    };
    Ok(Action::Ask(request, Shape::Method))
}

/// Whether the root object has this interface.
pub(super) fn has_interface(interface: &str) -> bool {
    METHODS.iter().any(|(name, _)| *name == interface)
}
