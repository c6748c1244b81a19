//! What the sound path reports, as inputs of the core.

use utterd_core::{
    DeviceEvent, ErrorKind, Failure, Fault, Input, OrderId, PlaybackEvent, SynthesisEvent, SynthesisId, SynthesisState, Told, TrackId,
    UtteranceId,
};

use utterd_plugin_api::abi::{UT_OK, UT_TIMEOUT};

use super::Hands;
use crate::driver::{DeviceAnswer, Of};
use crate::plugins::{MarkKind, SynthError};
use crate::synth::{How, Stage, SynthEvent};
use crate::tx::{Output, TxEvent};

/// `None` for what only concerns the metrics.
pub(super) fn playback(event: TxEvent, hands: &mut Hands) -> Option<Input> {
    let id = UtteranceId::new;
    let event = match event {
        TxEvent::Started { utterance, .. } => PlaybackEvent::Started { utterance: id(utterance)? },
        TxEvent::Mark { utterance, mark, .. } => PlaybackEvent::Mark {
            utterance: id(utterance)?,
            word: mark.kind == MarkKind::Word,
            onset_us: mark.at_us,
            chars: mark.char_start..mark.char_end,
        },
        TxEvent::Ended { utterance, played_us, .. } => PlaybackEvent::Ended {
            utterance: id(utterance)?,
            played_us,
        },
        TxEvent::Cut {
            utterance,
            played_us,
            silent_at_us,
        } => {
            hands.cut_answered(utterance, silent_at_us);
            PlaybackEvent::Cut {
                utterance: id(utterance)?,
                played_us,
                silent_at: silent_at_us,
            }
        }
        TxEvent::Hungry { track } => PlaybackEvent::Hungry {
            track: TrackId::new(track)?,
        },
        TxEvent::Low { utterance } => PlaybackEvent::Low { utterance: id(utterance)? },
        TxEvent::Dry { utterance, played_us } => PlaybackEvent::Dry {
            utterance: id(utterance)?,
            played_us,
        },
        TxEvent::Paused { track, .. } => PlaybackEvent::Paused {
            track: TrackId::new(track)?,
        },
        TxEvent::Underrun { utterance, lost_us } => {
            hands.underrun(utterance, lost_us);
            return None;
        }
    };
    Some(Input::Playback(event))
}

/// `None` for what only concerns the metrics.
pub(super) fn synthesis(event: SynthEvent, hands: &mut Hands) -> Option<Input> {
    hands.synthesis_moved(&event);
    let (synthesis, event) = match event {
        SynthEvent::Requested { synthesis, .. } => (synthesis, SynthesisEvent::Requested),
        SynthEvent::FirstAudio { synthesis, .. } => (synthesis, SynthesisEvent::FirstAudio),
        SynthEvent::Delivered {
            synthesis,
            audio_us,
            ahead_us,
            ..
        } => (synthesis, SynthesisEvent::Delivered { audio_us, ahead_us }),
        SynthEvent::Failed {
            synthesis,
            error,
            audio_us,
            told: after,
        } => (
            synthesis,
            SynthesisEvent::Failed {
                error: failure(&error),
                audio_us,
                fault: match after {
                    Some(how) => Fault::Silent { told: told(how) },
                    None => fault(&error),
                },
            },
        ),
        SynthEvent::Cached { synthesis } => (synthesis, SynthesisEvent::Cached),
        SynthEvent::CacheFull { synthesis } => {
            hands.cache_full(synthesis);
            return None;
        }
        SynthEvent::Stopped { synthesis } => (synthesis, SynthesisEvent::Stopped),
        SynthEvent::Told {
            synthesis,
            how,
            stage,
            at_us,
        } => (
            synthesis,
            SynthesisEvent::Told {
                state: state(stage),
                told: told(how),
                at: at_us,
            },
        ),
    };
    Some(Input::Synthesis {
        synthesis: SynthesisId::new(synthesis)?,
        event,
    })
}

/// What the audio device tells; it is known by its order, whoever owns now.
pub(super) fn device(output: Output, of: &Of, answer: DeviceAnswer) -> Option<Input> {
    tracing::debug!(session = %of.session, generation = of.generation, ?answer, "the audio device");
    Some(Input::Device {
        order: OrderId::new(of.order)?,
        output: match output {
            Output::Local => utterd_core::Output::Local,
            Output::Null => utterd_core::Output::Null,
        },
        event: match answer {
            DeviceAnswer::Opened => DeviceEvent::Opened,
            DeviceAnswer::Closed => DeviceEvent::Closed,
            DeviceAnswer::Asserted { repaired } => DeviceEvent::Asserted { repaired },
            DeviceAnswer::Failed { reason } => DeviceEvent::Failed { reason },
            DeviceAnswer::Lost => DeviceEvent::Lost,
            DeviceAnswer::Back => DeviceEvent::Back,
        },
    })
}

fn state(stage: Stage) -> SynthesisState {
    match stage {
        Stage::Queued => SynthesisState::Queued,
        Stage::Requested => SynthesisState::Requested,
        Stage::Streaming => SynthesisState::Streaming,
        Stage::Delivered => SynthesisState::Delivered,
        Stage::Cached => SynthesisState::Cached,
    }
}

fn told(how: How) -> Told {
    match how {
        How::Told => Told::Told,
        How::Cannot => Told::Cannot,
        How::NotRequested => Told::NotRequested,
        How::NotNeeded => Told::NotNeeded,
    }
}

/// Whose mistake it was: what the client named, or what the backend is.
fn fault(error: &SynthError) -> Fault {
    match error {
        SynthError::NoSuchVoice { .. } | SynthError::Argument { .. } | SynthError::Unsupported { .. } => Fault::Request,
        SynthError::Unavailable { retry_after_ms, .. } => Fault::Backend {
            retry_after_us: u64::from(*retry_after_ms) * 1000,
        },
        _ => Fault::Backend { retry_after_us: 0 },
    }
}

/// A server's answer to a cancel, if it is not what it should be.
pub(super) fn cancel_ack(backend: String, synthesis: u64, status: i32) -> Option<Input> {
    let error = match status {
        UT_OK => return None,
        UT_TIMEOUT => "the server did not acknowledge the cancel in time",
        _ => "the server refused the cancel or could not be reached",
    };
    Some(Input::Synthesis {
        synthesis: SynthesisId::new(synthesis)?,
        event: SynthesisEvent::Unacknowledged {
            backend,
            error: error.to_owned(),
        },
    })
}

/// A backend's error under the names of the contract.
fn failure(error: &SynthError) -> Failure {
    let kind = match error {
        SynthError::NoSuchVoice { .. } => ErrorKind::NoSuchVoice,
        SynthError::Unavailable { .. } | SynthError::Auth { .. } | SynthError::Config { .. } => ErrorKind::BackendUnavailable,
        SynthError::Unsupported { .. } => ErrorKind::NotSupported,
        SynthError::Sound { format: true, .. } => ErrorKind::FormatNotSupported,
        _ => ErrorKind::Failed,
    };
    Failure::new(kind, error.to_string())
}
