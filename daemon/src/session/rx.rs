//! What the hands do for the RX path: streams, recordings, and whose microphone is open.

use std::collections::BTreeMap;

use utterd_core::{Effect, Input, Note, RecordingEnd};
use zbus::zvariant::Value;

use super::Hands;
use super::effects::tx_output;
use crate::dbus::Out;
use crate::driver::{DeviceAnswer, Of};
use crate::observe::metrics::{Counter, Metrics};
use crate::rx::{Acquire, Listen, Record, RxEvent};
use crate::tx::Output;

/// The metrics of this room.
pub(super) struct RxCounts {
    streams: Counter,
    behind: Counter,
    recordings: Counter,
    recorded: Counter,
    failed: Counter,
}

impl RxCounts {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            streams: metrics.counter("utterd_audio_stream_total", "streams", "Streams handed out by AcquireAudio."),
            behind: metrics.counter(
                "utterd_audio_reader_lost_us_total",
                "microseconds",
                "Audio that readers of streams were too slow for.",
            ),
            recordings: metrics.counter("utterd_recording_total", "recordings", "Recordings that began."),
            recorded: metrics.counter("utterd_recorded_us_total", "microseconds", "Length of the recordings that ended."),
            failed: metrics.counter(
                "utterd_recording_failed_total",
                "recordings",
                "Recordings that the disk or the audio server ended.",
            ),
        }
    }
}

impl Hands {
    /// Carries out what concerns the RX path.
    pub(super) fn carry_out_rx(&mut self, effect: Effect) {
        match effect {
            Effect::AcquireAudio {
                token,
                session,
                output,
                direction,
                format,
                ..
            } => self.rx.acquire(Acquire {
                token,
                session: session.get(),
                output: tx_output(output),
                direction,
                format,
            }),
            Effect::StartRecording {
                recording,
                session,
                output,
                file,
                ..
            } => self.rx.record(Record {
                recording,
                session: session.get(),
                output: tx_output(output),
                file,
            }),
            Effect::DetectorStart {
                session,
                output,
                generation,
                detector,
                language,
                one_stage,
                ..
            } => self.rx.listen(Listen {
                session,
                output: tx_output(output),
                generation,
                detector,
                language,
                one_stage,
            }),
            Effect::DetectorStop { session, .. } => self.rx.deafen(session.get()),
            Effect::DetectorContext {
                session,
                speaking,
                protected,
                muted,
                ..
            } => self.rx.context(session.get(), speaking, protected, muted),
            Effect::Readers { session, delivering, .. } => self.rx.readers(session.get(), delivering),
            Effect::BeginRecording { recording } => self.rx.begin_recording(recording),
            Effect::StopRecording { recording, reason } => self.rx.stop_recording(recording, reason),
            other => tracing::error!(?other, "not of the RX path"),
        }
    }

    /// Whose microphone is open follows from what the device answers.
    pub(super) fn heed_capture(&self, output: Output, of: &Of, answer: &DeviceAnswer) {
        let is_open = match answer {
            DeviceAnswer::Opened => true,
            DeviceAnswer::Closed | DeviceAnswer::Lost => false,
            DeviceAnswer::Asserted { .. } | DeviceAnswer::Failed { .. } | DeviceAnswer::Back => return,
        };
        self.rx.capture(of.session.to_string(), output, is_open);
    }

    /// What the RX path tells; an input where the core must know.
    pub(super) fn rx_event(&mut self, event: RxEvent) -> Option<Input> {
        match event {
            RxEvent::Joined {
                token,
                stream,
                rate,
                format,
                start_us,
            } => {
                self.rx_counts.streams.add(1);
                self.send(Out::Stream {
                    token,
                    stream,
                    rate,
                    format,
                    start_us,
                });
                None
            }
            RxEvent::Refused { token, failure } => {
                self.send(Out::Reply {
                    token,
                    reply: Err(failure),
                });
                None
            }
            RxEvent::Behind { session, lost_us, first } => {
                self.rx_counts.behind.add_for(&session, lost_us);
                if first > 0 {
                    let details = [("readers", Value::from(first as u64)), ("lost-us", Value::from(lost_us))];
                    if self.alert("reader-behind", &session, BTreeMap::from(details)) {
                        tracing::warn!(
                            session,
                            readers = first,
                            "a reader of audio is behind: what it does not take is silence to it"
                        );
                    }
                }
                None
            }
            RxEvent::Recording { recording, event } => Some(Input::Recording { recording, event }),
            RxEvent::Finding {
                session,
                generation,
                finding,
            } => Some(Input::Finding {
                session,
                generation,
                finding,
            }),
            RxEvent::DetectorFailed {
                session,
                generation,
                detector,
                message,
            } => {
                tracing::warn!(session = session.get(), detector, message, "a detector hears no more");
                Some(Input::DetectorFailed {
                    session,
                    generation,
                    detector,
                    message,
                })
            }
        }
    }

    pub(super) fn note_rx(&mut self, note: Note) {
        match note {
            Note::RecordingStarted { session, file } => {
                self.rx_counts.recordings.add_for(&session, 1);
                self.watch.recording_started(&session, &file);
            }
            Note::RecordingFinished { session, file, end } => self.recording_finished(&session, &file, &end),
            other => tracing::error!(?other, "not of the RX path"),
        }
    }

    fn recording_finished(&mut self, session: &str, file: &str, end: &RecordingEnd) {
        self.rx_counts.recorded.add_for(session, end.duration_us);
        let (reason, error, duration_ms) = (end.reason, &end.error, end.duration_us / 1000);
        if error.is_empty() {
            tracing::info!(session, file, reason, duration_ms, "recording finished");
        } else {
            self.rx_counts.failed.add_for(session, 1);
            tracing::warn!(session, file, reason, error, duration_ms, "a recording ended early");
        }
    }
}
