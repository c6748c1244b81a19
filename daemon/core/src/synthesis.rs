//! From utterance to samples: the requests to backends, one piece at a time, and what becomes of them.

use std::sync::Arc;

use crate::Core;
use crate::backend::{CacheUse, Fault};
use crate::effect::{Effect, Outcome, Report, Synthesis};
use crate::feed::Feed;
use crate::ids::{Micros, SynthesisId, UtteranceId};
use crate::request::{ErrorKind, Failure, SynthesisEvent, SynthesisState};
use crate::session::{SynthesisRecord, Utterance};
use crate::speaker::Speaker;

impl Core {
    /// Asks the backend for the utterance's next piece, if it has one and may have it.
    pub(crate) fn request_pieces(&mut self, id: UtteranceId) {
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        if u.cancel.is_some() || u.failure.is_some() || u.store_full || u.in_flight() {
            return;
        }
        if u.pieces.is_empty() {
            return;
        }
        if !self.find_speaker(id) {
            self.nobody_for(id);
            return;
        }
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        let Some(session) = self.sessions.get(&u.session) else {
            return;
        };
        let Some(piece) = u.pieces.pop_front() else {
            return;
        };
        u.ran_low = false;
        let open = u.pieces.is_empty() && u.is_open_stream();
        let last = u.pieces.is_empty() && !open;
        if let Some(stream) = &mut u.stream {
            stream.closed |= last;
        }
        let synthesis = self.synthesis_ids.next();
        let begins = u.syntheses.is_empty();
        let first = u.speech().next().is_none();
        let by = Speaker {
            backend: u.backend.clone(),
            voice: u.voice.clone(),
            concurrent: false,
            language: String::new(),
            word_timing: u.word_timing,
        };
        u.syntheses.push(SynthesisRecord {
            id: synthesis,
            state: SynthesisState::Queued,
            by,
            cached: false,
            failed: false,
            replaced: false,
            end_us: 0,
            piece: piece.clone(),
            told: None,
        });
        self.by_synthesis.insert(synthesis, id);
        let (session_id, is_feed) = (u.session, u.is_feed());
        if is_feed {
            u.feed = Some(Feed::asked_for(self.now));
        }
        // A sound has no backend, and waits no longer for its disk than others for a server.
        let mut patience = self.settings.patience.get(&u.backend).copied().unwrap_or_default();
        if is_feed {
            // Its client may be silent for as long as it likes.
            (patience.first_audio_us, patience.stall_us) = (0, 0);
        }
        let repeats = self.backends.iter().any(|b| b.id == u.backend && b.repeats(&u.voice));
        let short = (piece.chars.len()) <= self.settings.cache_chars;
        let cache = match u.cache {
            _ if !repeats || self.settings.cache_chars == 0 => CacheUse::No,
            CacheUse::Auto if !short => CacheUse::No,
            wanted => wanted,
        };
        if begins && u.protect_us > 0 {
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
            source: u.source.clone(),
            output: session.output,
            backend: u.backend.clone(),
            voice: u.voice.clone(),
            language: u.language.clone(),
            rate: u.rate,
            pitch: u.pitch,
            gain_db: u.gain_db,
            text: u.spoken.text(&u.text)[piece.bytes].to_owned(),
            // What one backend calls a parameter is none of another's.
            params: if u.fell_back { Arc::from("{}") } else { Arc::clone(&u.params) },
            char_base: piece.chars.start,
            first,
            last,
            open,
            retry: !u.fallback.is_empty(),
            first_audio_us: patience.first_audio_us,
            stall_us: patience.stall_us,
            cache,
        }));
        if is_feed {
            self.arm_yield(session_id);
        }
    }

    pub(crate) fn synthesis_event(&mut self, synthesis: SynthesisId, event: SynthesisEvent) {
        if let SynthesisEvent::Unacknowledged { backend, error } = event {
            self.unacknowledged(synthesis, backend, error);
            return;
        }
        if self.primed(synthesis, &event) {
            return;
        }
        let Some(id) = self.by_synthesis.get(&synthesis).copied() else {
            return;
        };
        match event {
            SynthesisEvent::Told { state, told, at } => return self.told(id, synthesis, state, told, at),
            SynthesisEvent::Failed { error, audio_us, fault } => return self.synthesis_failed(id, synthesis, error, audio_us, fault),
            _ => {}
        }
        let look_ahead = self.settings.look_ahead_us;
        let Some((u, before)) = self.under_way(id, synthesis) else {
            return;
        };
        let Some(record) = u.syntheses.iter_mut().find(|s| s.id == synthesis) else {
            return;
        };
        match event {
            SynthesisEvent::Requested => record.state = record.state.max(SynthesisState::Requested),
            SynthesisEvent::FirstAudio => {
                record.state = record.state.max(SynthesisState::Streaming);
                self.feed_flows(id);
            }
            SynthesisEvent::Cached => record.cached = true,
            SynthesisEvent::Delivered { audio_us, ahead_us } => {
                record.state = SynthesisState::Delivered;
                record.end_us = before + audio_us;
                let asked = (!record.cached).then(|| record.by.backend.clone());
                u.total_us = record.end_us;
                // `Low` and this come from different threads: a `Low` that overtook it must not be lost, nobody repeats it.
                u.store_full = ahead_us >= look_ahead && !u.ran_low;
                if let Some(backend) = asked {
                    self.backend_succeeded(&backend);
                }
                self.request_pieces(id);
            }
            SynthesisEvent::Stopped if u.cancel.is_none() => {
                // Nobody stopped it: without an end it would hold its place for ever.
                let message = format!("backend \"{}\" stopped by itself", u.backend);
                let error = Failure::new(ErrorKind::Failed, message);
                self.synthesis_failed(id, synthesis, error, 0, Fault::House);
            }
            _ => {}
        }
    }

    /// The utterance of a synthesis that has not ended, and where its audio begins in it. What comes after the end is an echo.
    fn under_way(&mut self, id: UtteranceId, synthesis: SynthesisId) -> Option<(&mut Utterance, Micros)> {
        let u = self.utterances.get_mut(&id)?;
        let at = u.syntheses.iter().position(|s| s.id == synthesis)?;
        let record = &u.syntheses[at];
        if record.failed || record.state == SynthesisState::Delivered {
            return None;
        }
        let before = at.checked_sub(1).map_or(0, |at| u.syntheses[at].end_us);
        Some((u, before))
    }

    /// Before its first audio another backend speaks the same text, if there is one that may be asked; after it the utterance has failed.
    fn synthesis_failed(&mut self, id: UtteranceId, synthesis: SynthesisId, error: Failure, audio_us: Micros, fault: Fault) {
        let Some((u, before)) = self.under_way(id, synthesis) else {
            return;
        };
        let Some(record) = u.syntheses.iter_mut().find(|s| s.id == synthesis) else {
            return;
        };
        record.failed = true;
        record.end_us = before + audio_us;
        if let Fault::Silent { told } = fault {
            record.told = Some(told);
            record.state = record.state.max(SynthesisState::Requested);
        }
        u.total_us = record.end_us;
        let (backend, cancelled) = (record.by.backend.clone(), u.cancel.is_some());
        let (fell_back, may) = (u.fell_back, !u.fallback.is_empty());
        self.backend_failed(&backend, fault, &error.message);
        if cancelled {
            return;
        }
        // A voice or a parameter that the client named is its own mistake, to be told. What a fallback does not take, nobody asked for.
        let another = match fault {
            Fault::Backend { .. } | Fault::Silent { .. } => true,
            Fault::Request => fell_back,
            Fault::House => false,
        };
        if another && audio_us == 0 && self.try_another(id, &error.message) {
            return;
        }
        let kept_open = may && audio_us == 0 && fault != Fault::House;
        self.fail(id, error, kept_open);
    }

    /// What was synthesised before the failure is still spoken; without any there is nothing to wait for. `kept_open`: its store waits for
    /// another backend's audio.
    pub(crate) fn fail(&mut self, id: UtteranceId, error: Failure, kept_open: bool) {
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        u.failure = Some(error.clone());
        u.pieces.clear();
        if u.total_us > 0 {
            if kept_open {
                self.out.push(Effect::EndStore { utterance: id });
            }
            return;
        }
        if u.needs_cut() {
            self.out.push(Effect::Cut { utterance: id, fade_us: 0 });
        }
        let report = Report {
            failure: Some(error.clone()),
            ..self.report_of(id, false)
        };
        self.leave_track(id);
        self.finish(id, Outcome::Failed(error), report);
    }
}
