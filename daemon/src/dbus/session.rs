//! `org.utterd.Utterd1.Session`: calls to requests. Decides nothing.

use utterd_core::{Request, Target};
use zbus::message::Message;
use zbus::zvariant::Value;

use super::audio;
use super::call::{Action, Shape};
use super::error::Refusal;
use super::options::{self, Options};
use super::{Services, play};

pub(super) const INTERFACE: &str = "org.utterd.Utterd1.Session";

pub(super) fn method(call: &Message, member: &str, target: Target, services: &dyn Services) -> Result<Action, Refusal> {
    let body = call.body();
    let request = match member {
        "Say" => {
            let (text, options): (String, Options) = body.deserialize()?;
            Request::Say {
                target,
                text,
                options: options::say(options)?,
            }
        }
        "Play" => {
            let (uri, options): (String, Options) = body.deserialize()?;
            play::request(target, &uri, options, services)?
        }
        "SayOpen" => Request::SayOpen {
            target,
            options: options::say(body.deserialize()?)?,
        },
        "SayAppend" => {
            let (utterance, seq, text): (u64, u64, String) = body.deserialize()?;
            Request::SayAppend {
                target,
                utterance,
                seq,
                text,
            }
        }
        "SayEnd" => Request::SayEnd {
            target,
            utterance: body.deserialize()?,
        },
        "Submit" => {
            let (phase, turn, chunk_seq, text, options): (String, u64, u64, String, Options) = body.deserialize()?;
            Request::Submit {
                target,
                phase: options::phase(&phase)?,
                turn,
                chunk_seq,
                text,
                options: options::say(options)?,
            }
        }
        "Wait" => {
            let (utterance, options): (u64, Options) = body.deserialize()?;
            Request::Wait {
                target,
                utterance,
                timeout_us: options::wait(options)?,
            }
        }
        "Configure" => Request::Configure {
            target,
            options: options::session(body.deserialize()?)?,
        },
        "Cancel" => Request::Cancel {
            target,
            options: options::cancel(body.deserialize()?)?,
        },
        "Pause" => {
            let (fade_us, auto_resume_us) = options::pause(body.deserialize()?)?;
            Request::Pause {
                target,
                fade_us,
                auto_resume_us,
            }
        }
        "Resume" => {
            options::none(body.deserialize()?)?;
            Request::Resume { target }
        }
        "ReportSpeech" => {
            let (kind, details): (String, Options) = body.deserialize()?;
            let (kind, details) = options::speech(&kind, details)?;
            Request::ReportSpeech { target, kind, details }
        }
        "Close" => Request::Close {
            target,
            drain: options::close(body.deserialize()?)?,
        },
        "AcquireAudio" => {
            let (direction, options): (String, Options) = body.deserialize()?;
            audio::acquire(target, &direction, options)?
        }
        "StartRecording" => {
            let (file, options): (String, Options) = body.deserialize()?;
            audio::start_recording(target, file, options)?
        }
        "StopRecording" => {
            body.deserialize::<()>()?;
            Request::StopRecording { target }
        }
        "GetHistory" => {
            let (after, limit) = options::history(body.deserialize()?)?;
            Request::History { target, after, limit }
        }
        _ => {
            return Err(Refusal::unknown_method(format!("{INTERFACE} has no method {member}")));
        }
    };
    Ok(Action::Ask(request, Shape::Method))
}

pub(super) fn set(property: &str, value: &Value<'_>, target: Target) -> Result<Action, Refusal> {
    let request = match property {
        "GainDb" => Request::SetSessionGain {
            target,
            gain_db: options::gain_db(property, value)?,
        },
        "Muted" => Request::SetSessionMuted {
            target,
            muted: options::boolean(property, value)?,
        },
        "MicMuted" => Request::SetSessionMicMuted {
            target,
            muted: options::boolean(property, value)?,
        },
        "Id" | "State" | "Speaking" | "Turn" | "ActiveUtterance" | "QueueLength" | "CollectedBytes" | "Output" => {
            return Err(Refusal::read_only(format!("{property} can only be read")));
        }
        _ => {
            return Err(Refusal::unknown_property(format!("{INTERFACE} has no property {property}")));
        }
    };
    Ok(Action::Ask(request, Shape::Method))
}
