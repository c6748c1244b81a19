//! A session: turn, queue, pause reasons, history; and the utterances it owns. State only; the rules are in `say`, `synthesis`, `finish`, `floor` and `cancel`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::backend::CacheUse;
use crate::bargein::Hearing;
use crate::beside::Beside;
use crate::bounds::Bounds;
use crate::effect::{HeardSource, HistoryEntry, Report, SessionProperties};
use crate::feed::Feed;
use crate::floor::FloorKey;
use crate::ids::{CancelId, Micros, SynthesisId, Token, TrackId, UtteranceId};
use crate::options::{Output, Priority, Progress, SayOptions};
use crate::phase::Phases;
use crate::request::{Failure, SynthesisState, Told};
use crate::say::Origin;
use crate::source::Source;
use crate::speaker::Speaker;
use crate::spoken::Spoken;
use crate::stream::Stream;
use crate::text::{self, Piece};

/// History and reports of finished utterances that a session remembers.
pub(crate) const HISTORY: usize = 1000;
/// Text that a session's history may hold; beyond it the oldest entries go first.
const HISTORY_BYTES: usize = 16 << 20;
/// Ids that a session remembers having issued, for "already".
const ISSUED: usize = 65_536;

/// A code point of ordinary speech takes about this long.
pub(crate) const ORDINARY_CHAR_US: f64 = 65_000.0;

/// A session's two tracks: its queue, and what interrupts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Main,
    Interjection,
}

/// What plays, in order, on one track.
#[derive(Debug, Default)]
pub(crate) struct Playing {
    pub(crate) track: Option<TrackId>,
    /// Utterances whose play was ordered and that are not finished; the first is heard (or held), the second follows without a gap.
    pub(crate) committed: VecDeque<UtteranceId>,
    /// As last ordered.
    pub(crate) paused: bool,
    /// A pause that was ordered is silent by then; earlier if it says so.
    pub(crate) silent_by: Micros,
    /// All that was ordered is in the ring.
    pub(crate) hungry: bool,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) uid: u32,
    /// Set for lifetime "client".
    pub(crate) connection: Option<Arc<str>>,
    pub(crate) output: Output,
    pub(crate) floor: FloorKey,
    pub(crate) defaults: SayOptions,
    pub(crate) private: bool,
    pub(crate) bounds: Bounds,
    pub(crate) idle_timeout_us: Option<Micros>,
    /// Grows whenever the session becomes busy or idle, so that an old idle timer is recognised.
    pub(crate) idle_epoch: u64,
    pub(crate) turn: u64,
    pub(crate) gain_db: f64,
    pub(crate) muted: bool,
    /// Paused by a client, since.
    pub(crate) client_pause: Option<Micros>,
    pub(crate) pause_epoch: u64,
    pub(crate) hearing: Hearing,
    pub(crate) main: Playing,
    pub(crate) interjection: Playing,
    /// Accepted and not finished, by id.
    pub(crate) open: Vec<UtteranceId>,
    /// What is played beside the speech.
    pub(crate) beside: Beside,
    pub(crate) issued: VecDeque<UtteranceId>,
    pub(crate) history: VecDeque<HistoryEntry>,
    pub(crate) history_bytes: usize,
    pub(crate) reports: BTreeMap<UtteranceId, (&'static str, Report)>,
    pub(crate) waiters: Vec<Waiter>,
    pub(crate) phases: Phases,
    pub(crate) first_frame_sent: bool,
    pub(crate) stale_turns: u64,
    /// No new work; closes when the rest is done (drain) or cancelled.
    pub(crate) closing: Option<Closing>,
    pub(crate) published: SessionProperties,
}

#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) token: Token,
    pub(crate) utterance: UtteranceId,
}

#[derive(Debug)]
pub(crate) struct Closing {
    /// Whom to answer.
    pub(crate) tokens: Vec<Token>,
}

impl Session {
    pub(crate) fn part(&self, part: Part) -> &Playing {
        match part {
            Part::Main => &self.main,
            Part::Interjection => &self.interjection,
        }
    }

    pub(crate) fn part_mut(&mut self, part: Part) -> &mut Playing {
        match part {
            Part::Main => &mut self.main,
            Part::Interjection => &mut self.interjection,
        }
    }

    /// It has a reason to be silent: a client's pause, or a suspicion.
    pub(crate) fn is_held(&self) -> bool {
        self.client_pause.is_some() || self.hearing.suspected
    }

    pub(crate) fn remember_issued(&mut self, utterance: UtteranceId) {
        if self.issued.len() == ISSUED {
            self.issued.pop_front();
        }
        self.issued.push_back(utterance);
    }

    pub(crate) fn remember_finished(&mut self, entry: HistoryEntry, report: Report) {
        self.history_bytes += entry.bytes();
        while (self.history.len() == HISTORY || self.history_bytes > HISTORY_BYTES)
            && let Some(old) = self.history.pop_front()
        {
            self.history_bytes -= old.bytes();
            self.reports.remove(&old.utterance);
        }
        self.reports.insert(entry.utterance, (entry.outcome, report));
        self.history.push_back(entry);
    }
}

/// How far an utterance is on its way to the ear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// In the queue.
    Waiting,
    /// Its play was ordered; nothing was heard.
    Committed(Part),
    /// Its first sample was heard.
    Started(Part),
    /// On a track of its own.
    Beside { started: bool },
}

#[derive(Debug)]
pub(crate) struct Utterance {
    pub(crate) session: crate::ids::SessionId,
    /// As sent.
    pub(crate) text: String,
    /// What backends get of it. Pieces, sentences and marks count in this; clients are told of the text as sent.
    pub(crate) spoken: Spoken,
    pub(crate) source: Source,
    /// When its client last wrote, and when it last ceased; of a feed that was asked for.
    pub(crate) feed: Option<Feed>,
    pub(crate) class: Priority,
    pub(crate) turn: u64,
    pub(crate) tag: String,
    pub(crate) backend: String,
    pub(crate) voice: String,
    /// Who speaks when the present backend cannot, in this order.
    pub(crate) fallback: VecDeque<Speaker>,
    /// It is not the first choice that speaks.
    pub(crate) fell_back: bool,
    pub(crate) cache: CacheUse,
    pub(crate) language: String,
    pub(crate) rate: f64,
    pub(crate) pitch: f64,
    pub(crate) gain_db: f64,
    pub(crate) params: Arc<str>,
    pub(crate) word_timing: bool,
    pub(crate) progress: Progress,
    pub(crate) interruptible: bool,
    pub(crate) protect_us: Micros,
    pub(crate) accepted: Micros,
    pub(crate) stage: Stage,
    /// Not to be heard yet, and not answered: mode "replace" waits for what this cancel ends.
    pub(crate) held: Option<CancelId>,
    /// When it expires if it has not begun.
    pub(crate) expires: Option<Micros>,
    /// Not requested yet.
    pub(crate) pieces: VecDeque<Piece>,
    pub(crate) syntheses: Vec<SynthesisRecord>,
    /// Its text grows.
    pub(crate) stream: Option<Stream>,
    /// Decides how its call is answered.
    pub(crate) origin: Origin,
    /// Enough is stored; `PlaybackEvent::Low` clears it.
    pub(crate) store_full: bool,
    /// `Low` came since the last request.
    pub(crate) ran_low: bool,
    /// Sentences not yet signalled.
    pub(crate) sentences: VecDeque<Piece>,
    /// Spoken code points up to the end of the last word heard.
    pub(crate) heard_chars: u32,
    /// Onset of the last mark heard; a lower bound of what was played.
    pub(crate) heard_us: Micros,
    pub(crate) played_us: Micros,
    pub(crate) total_us: Micros,
    pub(crate) failure: Option<Failure>,
    pub(crate) cancel: Option<CancelId>,
    pub(crate) cancel_reason: String,
}

#[derive(Debug)]
pub(crate) struct SynthesisRecord {
    pub(crate) id: SynthesisId,
    pub(crate) state: SynthesisState,
    pub(crate) by: Speaker,
    /// It is spoken from the cache: there is nobody to be told.
    pub(crate) cached: bool,
    /// It ended by itself, with an error.
    pub(crate) failed: bool,
    /// It brought nothing, and another one speaks its text.
    pub(crate) replaced: bool,
    /// Where its audio ends in the utterance, once delivered.
    pub(crate) end_us: Micros,
    /// Its stretch of what is spoken.
    pub(crate) piece: Piece,
    /// What the cancel did, once known.
    pub(crate) told: Option<Told>,
}

impl SynthesisRecord {
    /// What the guard makes certain when nobody answered: what was not written never will be.
    pub(crate) fn unconfirmed(&self) -> Told {
        if self.cached {
            Told::NotNeeded
        } else if self.state == SynthesisState::Queued {
            Told::NotRequested
        } else {
            Told::Told
        }
    }
}

impl Utterance {
    pub(crate) fn is_waiting(&self) -> bool {
        self.stage == Stage::Waiting && self.cancel.is_none()
    }

    /// A text of which nothing is read aloud.
    pub(crate) fn is_silent(&self) -> bool {
        self.stream.is_none() && self.pieces.is_empty() && self.syntheses.is_empty() && self.failure.is_none()
    }

    /// Something of it may be stored, or stand on a track.
    pub(crate) fn needs_cut(&self) -> bool {
        self.stage != Stage::Waiting || !self.syntheses.is_empty()
    }

    pub(crate) fn has_started(&self) -> bool {
        matches!(self.stage, Stage::Started(_) | Stage::Beside { started: true })
    }

    /// Protected from barge-in (T6): from acceptance until that much of it has been sent.
    pub(crate) fn is_protected(&self) -> bool {
        !self.interruptible || self.heard_us < self.protect_us
    }

    pub(crate) fn in_flight(&self) -> bool {
        self.syntheses
            .last()
            .is_some_and(|s| !s.failed && s.state != SynthesisState::Delivered)
    }

    /// What speaks its text: those that brought nothing and were replaced are not part of it.
    pub(crate) fn speech(&self) -> impl Iterator<Item = &SynthesisRecord> {
        self.syntheses.iter().filter(|s| !s.replaced)
    }

    /// Whose voice was heard last; else who was asked last.
    pub(crate) fn heard_by(&self) -> (&str, &str) {
        let mut begin = 0;
        let mut by = None;
        for piece in self.speech() {
            if by.is_none() || begin < self.played_us {
                by = Some((piece.by.backend.as_str(), piece.by.voice.as_str()));
            }
            begin = piece.end_us.max(begin);
        }
        by.filter(|_| self.played_us > 0).unwrap_or((&self.backend, &self.voice))
    }

    /// Where the word ends that was being heard, and how that is known. Marks prove words. Where a backend gives none it is judged by time:
    /// each delivered piece is measured; how long one would have become that is still streaming, or failed, nobody knows, so it is judged
    /// by the speed of those before it, else by that of ordinary speech.
    fn heard_until(&self) -> (u32, HeardSource) {
        if self.word_timing && self.speech().all(|s| s.by.word_timing) {
            return (self.heard_chars, HeardSource::Words);
        }
        if self.played_us == 0 {
            return (0, HeardSource::None);
        }
        let (mut chars, mut us) = (0, 0);
        let mut source = HeardSource::Estimated;
        for piece in self.speech() {
            let whole = piece.state == SynthesisState::Delivered && !piece.failed;
            source = if piece.by.word_timing {
                HeardSource::Words
            } else {
                HeardSource::Estimated
            };
            if whole && self.played_us >= piece.end_us {
                (chars, us) = (piece.piece.chars.end, piece.end_us);
                continue;
            }
            if piece.by.word_timing {
                return (self.heard_chars.max(chars), source);
            }
            let spoken = self.spoken.text(&self.text);
            let from = text::prefix(spoken, chars).len();
            let asked = &text::prefix(spoken, piece.piece.chars.end)[from..];
            let length_us = if whole {
                piece.end_us - us
            } else {
                let char_us = match us.checked_div(u64::from(chars)) {
                    Some(measured) if measured > 0 => measured,
                    _ => (ORDINARY_CHAR_US / self.rate.clamp(0.1, 10.0)) as u64,
                };
                u64::from(piece.piece.chars.end - chars) * char_us
            };
            return (chars + text::estimated_chars(asked, self.played_us - us, length_us), source);
        }
        (chars, source)
    }

    /// What was heard of the text, and how that is known.
    pub(crate) fn heard(&self, completed: bool) -> (String, HeardSource) {
        if !self.source.is_spoken() {
            return self.heard_of_sound(completed);
        }
        let (chars, source) = self.heard_until();
        let text = if completed {
            self.text.as_str()
        } else {
            text::prefix(&self.text, self.spoken.back_end(chars))
        };
        match source {
            _ if text.is_empty() => (String::new(), HeardSource::None),
            HeardSource::None => (text.to_owned(), HeardSource::Estimated),
            source => (text.to_owned(), source),
        }
    }
}
