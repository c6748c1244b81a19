//! Which backends are spared for a while, and who speaks instead. Decides by what failed and by time alone.
//!
//! A backend that fails [`PATIENCE`] times in a row, that names a time at which to come again, that does not answer at all, or that says
//! itself that it has failed, is away: it is not asked until its time is over, and its fallback speaks at once. Then the next request
//! tries it; each further failure doubles the time, up to `Patience::back_off_max_us`, and one success ends it all. A request that is wrong
//! in itself counts for nothing.

use crate::Core;
use crate::backend::{Fault, Patience};
use crate::effect::Effect;
use crate::ids::{Micros, UtteranceId};
use crate::note::Note;
use crate::request::{ErrorKind, Failure};
use crate::session::{Stage, Utterance};
use crate::speaker::Speaker;
use crate::text::{self, Piece};
use crate::timer::Timer;

/// Ordinary failures in a row that are borne.
const PATIENCE: u32 = 3;

/// How one backend has fared since it last succeeded.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failures: u32,
    /// Times that it was away without a success in between.
    times: u32,
    until: Micros,
    error: String,
}

impl Health {
    /// When it may be asked again, if it is away.
    pub(crate) fn away(&self, now: Micros) -> Option<Micros> {
        Some(self.until).filter(|until| *until > now)
    }

    /// How long it is away from now on, if this is news.
    fn failed(&mut self, now: Micros, fault: Fault, patience: &Patience, error: &str) -> Option<Micros> {
        self.failures = self.failures.saturating_add(1);
        error.clone_into(&mut self.error);
        let (at_once, named) = match fault {
            Fault::Backend { retry_after_us } => (retry_after_us > 0, retry_after_us),
            Fault::Silent { .. } => (true, 0),
            Fault::Request | Fault::House => return None,
        };
        if patience.back_off_us == 0 || (!at_once && self.failures < PATIENCE) {
            return None;
        }
        // Requests that were under way together fail together: that is one failure.
        if self.away(now).is_some() {
            return None;
        }
        let doubled = patience.back_off_us.saturating_mul(1 << self.times.min(31));
        let away_us = doubled.max(named).min(patience.back_off_max_us.max(patience.back_off_us));
        self.times = self.times.saturating_add(1);
        self.until = now.saturating_add(away_us);
        Some(away_us)
    }

    /// True if it had been away.
    fn succeeded(&mut self) -> bool {
        std::mem::take(self).times > 0
    }
}

impl Utterance {
    /// Another one speaks from here on.
    fn take_over(&mut self, speaker: Speaker) {
        if !speaker.concurrent && self.stream.is_none() {
            // Who is never held up by playback gets a sentence at a time.
            let spoken = self.spoken.text(&self.text);
            self.pieces = self.pieces.iter().flat_map(|p| sentences_of(spoken, p)).collect();
        }
        self.backend = speaker.backend;
        self.voice = speaker.voice;
        self.word_timing = speaker.word_timing;
    }
}

fn sentences_of(text: &str, piece: &Piece) -> Vec<Piece> {
    let moved = |p: Piece| Piece {
        bytes: piece.bytes.start + p.bytes.start..piece.bytes.start + p.bytes.end,
        chars: piece.chars.start + p.chars.start..piece.chars.start + p.chars.end,
    };
    text::requests(&text[piece.bytes.clone()]).into_iter().map(moved).collect()
}

impl Core {
    pub(crate) fn patience(&self, backend: &str) -> Patience {
        self.settings.patience.get(backend).copied().unwrap_or_default()
    }

    fn away(&self, backend: &str) -> Option<Micros> {
        self.health.get(backend)?.away(self.now)
    }

    /// A synthesis failed.
    pub(crate) fn backend_failed(&mut self, backend: &str, fault: Fault, error: &str) {
        // A sound has no backend.
        if matches!(fault, Fault::Request | Fault::House) || backend.is_empty() {
            return;
        }
        self.out.push(Effect::Note(Note::BackendFailed {
            backend: backend.to_owned(),
            error: error.to_owned(),
            silent: matches!(fault, Fault::Silent { .. }),
        }));
        let patience = self.patience(backend);
        let health = self.health.entry(backend.to_owned()).or_default();
        if let Some(again_us) = health.failed(self.now, fault, &patience, error) {
            let failures = health.failures;
            self.out.push(Effect::Note(Note::BackendAway {
                backend: backend.to_owned(),
                error: error.to_owned(),
                failures,
                again_us,
            }));
        }
    }

    /// A synthesis came to its end.
    pub(crate) fn backend_succeeded(&mut self, backend: &str) {
        if self.health.get_mut(backend).is_some_and(Health::succeeded) {
            let backend = backend.to_owned();
            self.out.push(Effect::Note(Note::BackendBack { backend }));
        }
    }

    /// What a plugin says of itself.
    pub(crate) fn backend_says(&mut self, backend: &str, health: Result<(), String>) {
        if !self.backends.iter().any(|b| b.id == backend) {
            return;
        }
        match health {
            Ok(()) => self.backend_succeeded(backend),
            Err(error) => {
                let told = crate::Told::Cannot;
                self.backend_failed(backend, Fault::Silent { told }, &error);
            }
        }
    }

    /// Sees to it that the utterance's next piece has a backend that may be asked. False: there is none at present.
    pub(crate) fn find_speaker(&mut self, id: UtteranceId) -> bool {
        let Some(u) = self.utterances.get(&id) else {
            return false;
        };
        if self.away(&u.backend).is_none() {
            return true;
        }
        let Some(at) = u.fallback.iter().position(|s| self.away(&s.backend).is_none()) else {
            return false;
        };
        let error = self.health.get(&u.backend).map(|h| h.error.clone()).unwrap_or_default();
        self.fall_back(id, at, error);
        true
    }

    /// The fallback at this place takes over; those before it have been tried, or are away.
    fn fall_back(&mut self, id: UtteranceId, at: usize, error: String) {
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        let Some(speaker) = u.fallback.drain(..=at).next_back() else {
            return;
        };
        let (from, to) = (u.backend.clone(), speaker.backend.clone());
        u.fell_back = true;
        u.take_over(speaker);
        let session = self.sessions.get(&u.session).map(|s| s.id.clone()).unwrap_or_default();
        self.out.push(Effect::Note(Note::FellBack {
            session,
            utterance: id,
            from,
            to,
            error,
        }));
    }

    /// The piece that brought no audio is spoken by the next backend that is not away. False: there is none.
    pub(crate) fn try_another(&mut self, id: UtteranceId, error: &str) -> bool {
        let Some(u) = self.utterances.get(&id) else {
            return false;
        };
        let Some(at) = u.fallback.iter().position(|s| self.away(&s.backend).is_none()) else {
            return false;
        };
        let Some(u) = self.utterances.get_mut(&id) else {
            return false;
        };
        let Some(failed) = u.syntheses.last_mut() else {
            return false;
        };
        failed.replaced = true;
        u.pieces.push_front(failed.piece.clone());
        // What was the last piece is to be asked for again.
        if let Some(stream) = &mut u.stream {
            stream.closed = false;
        }
        self.fall_back(id, at, error.to_owned());
        self.request_pieces(id);
        true
    }

    /// Nobody may be asked, and it is this utterance's turn.
    pub(crate) fn nobody_for(&mut self, id: UtteranceId) {
        if self.utterances.get(&id).is_some_and(|u| u.stage != Stage::Waiting) {
            self.arm(0, Timer::NoBackend(id));
        }
    }

    /// It has nobody to speak it, unless that has changed.
    pub(crate) fn no_backend(&mut self, id: UtteranceId) {
        let Some(u) = self.utterances.get(&id) else {
            return;
        };
        if u.cancel.is_some() || u.failure.is_some() || u.pieces.is_empty() || u.in_flight() {
            return;
        }
        if self.find_speaker(id) {
            self.request_pieces(id);
            return;
        }
        let Some(u) = self.utterances.get(&id) else {
            return;
        };
        let backend = u.backend.clone();
        let again_ms = self.away(&backend).map_or(0, |at| at.saturating_sub(self.now).div_ceil(1000));
        let error = self.health.get(&backend).map(|h| h.error.as_str()).unwrap_or_default();
        let others = if u.fallback.is_empty() { "" } else { ", and so are its fallbacks" };
        let message = format!("backend \"{backend}\" is not asked for another {again_ms} ms{others}: {error}");
        self.fail(id, Failure::new(ErrorKind::BackendUnavailable, message), true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Micros = 1_000_000;
    const ORDINARY: Fault = Fault::Backend { retry_after_us: 0 };

    fn fail(h: &mut Health, now: Micros, fault: Fault) -> Option<Micros> {
        h.failed(now, fault, &Patience::default(), "out of order")
    }

    #[test]
    fn two_failures_are_borne_and_the_third_sends_it_away_ever_longer_up_to_the_bound() {
        let mut h = Health::default();
        assert_eq!(fail(&mut h, 0, ORDINARY), None);
        assert_eq!(fail(&mut h, 0, ORDINARY), None);
        let mut now = 0;
        let mut away = Vec::new();
        for _ in 0..9 {
            let us = fail(&mut h, now, ORDINARY).expect("away");
            assert_eq!(h.away(now), Some(now + us));
            away.push(us / S);
            now += us;
            assert_eq!(h.away(now), None, "its time is over");
        }
        assert_eq!(away, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn one_success_ends_it_all() {
        let mut h = Health::default();
        fail(&mut h, 0, Fault::Silent { told: crate::Told::Told });
        assert!(h.succeeded());
        assert_eq!(h.away(0), None);
        assert!(!h.succeeded(), "it was not away");
        assert_eq!(fail(&mut h, 0, ORDINARY), None, "counted from the beginning");
    }

    #[test]
    fn silence_and_a_named_time_send_it_away_at_once() {
        let mut h = Health::default();
        assert_eq!(fail(&mut h, 0, Fault::Silent { told: crate::Told::Told }), Some(S));
        let mut h = Health::default();
        assert_eq!(fail(&mut h, 0, Fault::Backend { retry_after_us: 7 * S }), Some(7 * S));
        let mut h = Health::default();
        assert_eq!(
            fail(&mut h, 0, Fault::Backend { retry_after_us: 3_600 * S }),
            Some(60 * S),
            "bounded"
        );
    }

    #[test]
    fn requests_that_fail_together_are_one_failure() {
        let mut h = Health::default();
        let silent = Fault::Silent { told: crate::Told::Told };
        assert_eq!(fail(&mut h, 0, silent), Some(S));
        assert_eq!(fail(&mut h, 10, silent), None);
        assert_eq!(fail(&mut h, S, silent), Some(2 * S));
    }

    #[test]
    fn a_wrong_request_and_a_back_off_of_0_count_for_nothing() {
        let mut h = Health::default();
        for _ in 0..10 {
            assert_eq!(fail(&mut h, 0, Fault::Request), None);
        }
        let never = Patience {
            back_off_us: 0,
            ..Patience::default()
        };
        for _ in 0..10 {
            assert_eq!(h.failed(0, ORDINARY, &never, ""), None);
        }
    }
}
