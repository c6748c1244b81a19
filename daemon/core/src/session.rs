//! A session: turn, queue, pause reasons, history; and the utterances it owns. State only; the rules are in `say`, `synthesis`, `finish`, `floor` and `cancel`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::effect::{HeardSource, HistoryEntry, Report, SessionProperties};
use crate::floor::FloorKey;
use crate::ids::{CancelId, Micros, SynthesisId, Token, TrackId, UtteranceId};
use crate::phase::Phases;
use crate::request::{Failure, Output, Priority, Progress, SayOptions, SynthesisState, Told};
use crate::say::Origin;
use crate::stream::Stream;
use crate::text::{self, Piece};

/// History and reports of finished utterances that a session remembers.
pub(crate) const HISTORY: usize = 1000;
/// Text that a session's history may hold; beyond it the oldest entries go first.
const HISTORY_BYTES: usize = 16 << 20;
/// Ids that a session remembers having issued, for "already".
const ISSUED: usize = 65_536;

/// A code point of ordinary speech takes about this long.
const ORDINARY_CHAR_US: f64 = 65_000.0;

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
    pub(crate) idle_timeout_us: Option<Micros>,
    /// Grows whenever the session becomes busy or idle, so that an old idle timer is recognised.
    pub(crate) idle_epoch: u64,
    pub(crate) turn: u64,
    pub(crate) gain_db: f64,
    pub(crate) muted: bool,
    /// Paused by a client, since.
    pub(crate) client_pause: Option<Micros>,
    pub(crate) pause_epoch: u64,
    pub(crate) main: Playing,
    pub(crate) interjection: Playing,
    /// Accepted and not finished, by id.
    pub(crate) open: Vec<UtteranceId>,
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
}

#[derive(Debug)]
pub(crate) struct Utterance {
    pub(crate) session: crate::ids::SessionId,
    pub(crate) text: String,
    pub(crate) class: Priority,
    pub(crate) turn: u64,
    pub(crate) tag: String,
    pub(crate) backend: String,
    pub(crate) voice: String,
    pub(crate) language: String,
    pub(crate) rate: f64,
    pub(crate) pitch: f64,
    pub(crate) gain_db: f64,
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
    /// Code points up to the end of the last word heard.
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
    /// It ended by itself, with an error.
    pub(crate) failed: bool,
    /// Where its audio ends in the utterance, once delivered.
    pub(crate) end_us: Micros,
    /// End of its text in code points.
    pub(crate) chars_end: u32,
    /// What the cancel did, once known.
    pub(crate) told: Option<Told>,
}

impl SynthesisRecord {
    /// What the guard makes certain when nobody answered: what was not written never will be.
    pub(crate) fn unconfirmed(&self) -> Told {
        if self.state == SynthesisState::Queued {
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

    /// Something of it may be stored, or stand on a track.
    pub(crate) fn needs_cut(&self) -> bool {
        self.stage != Stage::Waiting || !self.syntheses.is_empty()
    }

    pub(crate) fn has_started(&self) -> bool {
        matches!(self.stage, Stage::Started(_))
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

    /// Where the word ends that was being heard, by time. Each delivered piece is measured; how long one would have become that is still
    /// streaming, or failed, nobody knows, so it is judged by the speed of those before it, else by that of ordinary speech.
    fn estimated_chars(&self) -> u32 {
        if self.played_us == 0 {
            return 0;
        }
        let (mut chars, mut us) = (0, 0);
        for piece in &self.syntheses {
            let whole = piece.state == SynthesisState::Delivered && !piece.failed;
            if whole && self.played_us >= piece.end_us {
                (chars, us) = (piece.chars_end, piece.end_us);
                continue;
            }
            let from = text::prefix(&self.text, chars).len();
            let asked = &text::prefix(&self.text, piece.chars_end)[from..];
            let length_us = if whole {
                piece.end_us - us
            } else {
                let char_us = match us.checked_div(u64::from(chars)) {
                    Some(measured) if measured > 0 => measured,
                    _ => (ORDINARY_CHAR_US / self.rate.clamp(0.1, 10.0)) as u64,
                };
                u64::from(piece.chars_end - chars) * char_us
            };
            return chars + text::estimated_chars(asked, self.played_us - us, length_us);
        }
        chars
    }

    /// What was heard of the text, and how that is known.
    pub(crate) fn heard(&self, completed: bool) -> (String, HeardSource) {
        let source = if self.word_timing {
            HeardSource::Words
        } else {
            HeardSource::Estimated
        };
        let text = if completed {
            self.text.as_str()
        } else if self.word_timing {
            text::prefix(&self.text, self.heard_chars)
        } else {
            text::prefix(&self.text, self.estimated_chars())
        };
        if text.is_empty() {
            (String::new(), HeardSource::None)
        } else {
            (text.to_owned(), source)
        }
    }
}
