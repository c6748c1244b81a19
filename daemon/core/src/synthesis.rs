//! From utterance to samples: the requests to backends, one piece at a time, and what becomes of them.

use crate::Core;
use crate::effect::{Effect, Outcome, Report, Synthesis};
use crate::ids::{Micros, SynthesisId, UtteranceId};
use crate::request::{ErrorKind, Failure, SynthesisEvent, SynthesisState};
use crate::session::SynthesisRecord;

impl Core {
    /// Asks the backend for the utterance's next piece, if it has one and may have it.
    pub(crate) fn request_pieces(&mut self, id: UtteranceId) {
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        if u.cancel.is_some() || u.failure.is_some() || u.store_full || u.in_flight() {
            return;
        }
        let Some(piece) = u.pieces.pop_front() else {
            return;
        };
        let Some(session) = self.sessions.get(&u.session) else {
            return;
        };
        u.ran_low = false;
        let open = u.pieces.is_empty() && u.is_open_stream();
        let last = u.pieces.is_empty() && !open;
        if let Some(stream) = &mut u.stream {
            stream.closed |= last;
        }
        let synthesis = self.synthesis_ids.next();
        let first = u.syntheses.is_empty();
        u.syntheses.push(SynthesisRecord {
            id: synthesis,
            state: SynthesisState::Queued,
            failed: false,
            end_us: 0,
            chars_end: piece.chars.end,
            told: None,
        });
        self.by_synthesis.insert(synthesis, id);
        if first && u.protect_us > 0 {
            self.out.push(Effect::Watch {
                utterance: id,
                output: session.output,
                at_us: u.protect_us,
            });
        }
        self.out.push(Effect::Synthesize(Synthesis {
            synthesis,
            utterance: id,
            session: u.session.get(),
            output: session.output,
            backend: u.backend.clone(),
            voice: u.voice.clone(),
            language: u.language.clone(),
            rate: u.rate,
            pitch: u.pitch,
            gain_db: u.gain_db,
            text: u.text[piece.bytes].to_owned(),
            char_base: piece.chars.start,
            first,
            last,
            open,
        }));
    }

    pub(crate) fn synthesis_event(&mut self, synthesis: SynthesisId, event: SynthesisEvent) {
        let Some(id) = self.by_synthesis.get(&synthesis).copied() else {
            return;
        };
        if let SynthesisEvent::Told { state, told, at } = event {
            self.told(id, synthesis, state, told, at);
            return;
        }
        let look_ahead = self.settings.look_ahead_us;
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        if u.syntheses
            .iter()
            .any(|s| s.id == synthesis && (s.failed || s.state == SynthesisState::Delivered))
        {
            return; // It has ended; what comes now is an echo.
        }
        let before: Micros = u
            .syntheses
            .iter()
            .take_while(|s| s.id != synthesis)
            .map(|s| s.end_us)
            .last()
            .unwrap_or(0);
        let Some(record) = u.syntheses.iter_mut().find(|s| s.id == synthesis) else {
            return;
        };
        match event {
            SynthesisEvent::Requested => record.state = record.state.max(SynthesisState::Requested),
            SynthesisEvent::FirstAudio => record.state = record.state.max(SynthesisState::Streaming),
            SynthesisEvent::Delivered { audio_us, ahead_us } => {
                record.state = SynthesisState::Delivered;
                record.end_us = before + audio_us;
                u.total_us = record.end_us;
                // `Low` and this come from different threads: a `Low` that overtook it must not be lost, nobody repeats it.
                u.store_full = ahead_us >= look_ahead && !u.ran_low;
                self.request_pieces(id);
            }
            SynthesisEvent::Stopped if u.cancel.is_none() => {
                // Nobody stopped it: without an end it would hold its place for ever.
                let message = format!("backend \"{}\" stopped by itself", u.backend);
                let error = Failure::new(ErrorKind::Failed, message);
                self.synthesis_event(synthesis, SynthesisEvent::Failed { error, audio_us: 0 });
            }
            SynthesisEvent::Failed { error, audio_us } => {
                record.failed = true;
                record.end_us = before + audio_us;
                u.total_us = record.end_us;
                if u.cancel.is_some() {
                    return;
                }
                u.failure = Some(error.clone());
                u.pieces.clear();
                // What was synthesised before the failure is still spoken; without any there is nothing to wait for.
                if u.total_us == 0 {
                    self.out.push(Effect::Cut { utterance: id, fade_us: 0 });
                    let report = Report {
                        failure: Some(error.clone()),
                        ..self.report_of(id, false)
                    };
                    self.leave_track(id);
                    self.finish(id, Outcome::Failed(error), report);
                }
            }
            SynthesisEvent::Stopped | SynthesisEvent::Told { .. } => {}
        }
    }
}
