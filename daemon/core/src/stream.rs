//! Text streams: an utterance whose text grows while it is spoken (SEMANTICS, "Text streams").
//!
//! What is appended is held until it can be spoken well: a sentence is a piece once the next one has begun, a newline ends one at once,
//! and the first piece of a stream is a clause of a few words, so that it is heard soon. What nobody appends to for [`FLUSH_US`] is
//! spoken as it is. Pieces then go the way of every utterance's pieces: one synthesis each, one after the other, no further than the
//! look-ahead. Invariants: the pieces are the text without gaps, so offsets count everything appended; an open stream has its idle
//! timer; the store of a stream is closed once, by its last piece or by `Effect::CloseStore`.
//! Bounds: the whole text of a stream by limits.text-bytes.

use crate::Core;
use crate::effect::{Effect, Outcome, Reply};
use crate::floor::YIELD_AFTER_US;
use crate::ids::{Micros, SessionId, Token, UtteranceId};
use crate::options::{Format, Progress};
use crate::request::{ErrorKind, Failure};
use crate::session::Utterance;
use crate::spoken::{Growing, Take};
use crate::text;
use crate::timer::Timer;

/// Held text that nobody appends to is spoken after this long. Long enough for a slow token, short enough for one who waits for an answer.
const FLUSH_US: Micros = 500_000;
/// What the sink and the backend say of a length may differ by so much.
const ROUNDING_US: Micros = 20_000;

/// What an utterance needs to grow.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// The last append's number.
    last_seq: u64,
    /// Nothing more is appended.
    pub(crate) ended: bool,
    /// The store is, or will be, closed.
    pub(crate) closed: bool,
    growing: Growing,
    touched: Micros,
    flush_armed: bool,
    /// Since when there was nothing to be heard.
    dry_since: Option<Micros>,
}

impl Stream {
    pub(crate) fn open(now: Micros, format: Format) -> Self {
        Self {
            growing: Growing::new(format),
            touched: now,
            dry_since: Some(now),
            ..Self::default()
        }
    }
}

impl Utterance {
    /// More text may come.
    pub(crate) fn is_open_stream(&self) -> bool {
        self.stream.as_ref().is_some_and(|s| !s.ended)
    }

    fn held(&self) -> &str {
        self.stream.as_ref().map_or("", |s| s.growing.held(&self.text))
    }

    /// Makes pieces of what is held, and says whether there were any.
    fn cut_pieces(&mut self, take: Take) -> bool {
        let Some(stream) = &mut self.stream else {
            return false;
        };
        let fresh = self.syntheses.is_empty() && self.pieces.is_empty();
        let found = stream.growing.take(&self.text, &mut self.spoken, take, fresh);
        let any = !found.is_empty();
        for piece in found {
            if self.progress == Progress::Sentence {
                self.sentences.push_back(piece.clone());
            }
            self.pieces.push_back(piece);
        }
        any
    }
}

impl Core {
    /// The stream of a SayAppend or SayEnd, if it can still grow or end; else what became of it.
    fn stream(&self, session: SessionId, number: u64) -> Result<Result<UtteranceId, &'static str>, Failure> {
        let s = &self.sessions[&session];
        let Some(id) = UtteranceId::new(number).filter(|id| s.issued.contains(id)) else {
            let message = format!("session \"{}\" has never issued utterance {number}", s.id);
            return Err(Failure::new(ErrorKind::NoSuchUtterance, message));
        };
        Ok(match self.utterances.get(&id) {
            None if s.reports.get(&id).is_some_and(|(outcome, _)| *outcome == "cancelled") => Err("cancelled"),
            None => Err("stale"),
            Some(u) if u.stream.is_none() => {
                let message = format!("utterance {id} is no text stream: open one with SayOpen");
                return Err(Failure::new(ErrorKind::WrongState, message));
            }
            Some(u) if u.cancel.is_some() => Err("cancelled"),
            Some(u) if u.failure.is_some() || !u.is_open_stream() => Err("stale"),
            Some(_) => Ok(id),
        })
    }

    /// SayAppend.
    pub(crate) fn append(&mut self, token: Token, session: SessionId, number: u64, seq: u64, text: &str) -> Result<Option<Reply>, Failure> {
        if seq == 0 {
            return Err(Failure::new(ErrorKind::InvalidArgs, "seq is 0: appends are numbered from 1"));
        }
        let id = match self.stream(session, number)? {
            Ok(id) => id,
            Err(over) => return Ok(Some(Reply::Ack(over))),
        };
        let (now, limit) = (self.now, self.settings.text_bytes);
        let Some(u) = self.utterances.get_mut(&id) else {
            return Ok(Some(Reply::Ack("stale")));
        };
        let Some(stream) = &mut u.stream else {
            return Ok(Some(Reply::Ack("stale")));
        };
        let expected = stream.last_seq.saturating_add(1);
        if seq <= stream.last_seq {
            return Ok(Some(Reply::Ack("duplicate")));
        }
        if seq > expected {
            let message = format!("seq is {seq}, but {expected} is expected: append what is missing first");
            return Err(Failure::new(ErrorKind::WrongState, message));
        }
        if u.text.len() + text.len() > limit {
            let message = format!(
                "utterance {id} would have {} bytes, more than limits.text-bytes = {limit}: end it and open another",
                u.text.len() + text.len()
            );
            return Err(Failure::new(ErrorKind::LimitExceeded, message));
        }
        stream.last_seq = seq;
        stream.touched = now;
        u.text.push_str(text);
        let spoken = u.cut_pieces(Take::Complete);
        let holds = !text::is_blank(u.held());
        if let Some(stream) = &mut u.stream {
            if spoken {
                stream.dry_since = None;
            }
            if holds && !std::mem::replace(&mut stream.flush_armed, true) {
                self.arm(FLUSH_US, Timer::StreamFlush(id));
            }
        }
        self.reply(token, Reply::Ack("accepted"));
        if spoken {
            self.schedule_session(session);
        }
        Ok(None)
    }

    /// SayEnd.
    pub(crate) fn end_by_client(&mut self, token: Token, session: SessionId, number: u64) -> Result<Option<Reply>, Failure> {
        let found = self.stream(session, number)?;
        // Answered first: an empty stream finishes here and now.
        self.reply(token, Reply::Done);
        if let Ok(id) = found {
            self.end_stream(id);
        }
        Ok(None)
    }

    /// Nothing more is appended; what was accepted is spoken.
    pub(crate) fn end_stream(&mut self, id: UtteranceId) {
        let growing = |u: &&mut Utterance| u.is_open_stream() && u.cancel.is_none() && u.failure.is_none();
        let Some(u) = self.utterances.get_mut(&id).filter(growing) else {
            return;
        };
        u.cut_pieces(Take::End);
        if let Some(stream) = &mut u.stream {
            stream.ended = true;
            stream.dry_since = None;
        }
        self.complete_stream(id);
    }

    /// Closes an ended stream behind its last piece.
    pub(crate) fn complete_stream(&mut self, id: UtteranceId) {
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        if u.cancel.is_some() || u.failure.is_some() || u.held.is_some() || u.is_open_stream() {
            return;
        }
        let (session, begun) = (u.session, !u.syntheses.is_empty());
        let Some(stream) = u.stream.as_mut().filter(|s| !s.closed) else {
            return;
        };
        if !u.pieces.is_empty() {
            self.schedule_session(session);
            return;
        }
        stream.closed = true;
        if begun {
            self.out.push(Effect::CloseStore { utterance: id });
            return;
        }
        // There was nothing to speak.
        if u.needs_cut() {
            self.out.push(Effect::Cut { utterance: id, fade_us: 0 });
        }
        let report = self.report_of(id, true);
        self.leave_track(id);
        self.finish(id, Outcome::Completed, report);
    }

    /// A stream had no append for a while: what is held is spoken.
    pub(crate) fn flush_due(&mut self, id: UtteranceId) {
        let now = self.now;
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        let (live, session) = (u.cancel.is_none() && u.failure.is_none(), u.session);
        let Some(stream) = u.stream.as_mut().filter(|s| live && !s.ended) else {
            return;
        };
        let due = stream.touched.saturating_add(FLUSH_US);
        if due > now {
            self.timers.insert((due, Timer::StreamFlush(id)));
            return;
        }
        stream.flush_armed = false;
        if u.cut_pieces(Take::Idle)
            && let Some(stream) = &mut u.stream
        {
            stream.dry_since = None;
            self.schedule_session(session);
        }
    }

    /// A stream had no append for so long that its client is taken to be gone.
    pub(crate) fn stream_idle(&mut self, id: UtteranceId) {
        let Some((session, stream)) = self.utterances.get(&id).and_then(|u| Some((u.session, u.stream.as_ref()?))) else {
            return;
        };
        let due = stream.touched.saturating_add(self.stream_idle_us(session));
        if due > self.now {
            self.timers.insert((due, Timer::StreamIdle(id)));
            return;
        }
        self.end_stream(id);
    }

    /// All that a stream has was heard.
    pub(crate) fn ran_dry(&mut self, id: UtteranceId, played_us: Micros) {
        let now = self.now;
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        // Said before more came: it is dry no longer.
        let old = played_us.saturating_add(ROUNDING_US) < u.total_us;
        if old || !u.pieces.is_empty() || u.in_flight() || !u.is_open_stream() {
            return;
        }
        let session = u.session;
        if let Some(stream) = &mut u.stream {
            stream.dry_since.get_or_insert(now);
        }
        self.arm_yield(session);
    }

    /// An open stream that has had no audio for so long that it does not hold the floor.
    pub(crate) fn starves(&self, id: UtteranceId) -> bool {
        let feed = self.utterances.get(&id).and_then(|u| u.feed.as_ref());
        if feed.is_some_and(|feed| feed.starves(self.now)) {
            return true;
        }
        let stream = self.utterances.get(&id).and_then(|u| u.stream.as_ref());
        let dry = stream.filter(|s| !s.ended).and_then(|s| s.dry_since);
        dry.is_some_and(|since| self.now.saturating_sub(since) >= YIELD_AFTER_US)
    }

    fn schedule_session(&mut self, session: SessionId) {
        if let Some(floor) = self.sessions.get(&session).map(|s| s.floor) {
            self.schedule(floor);
        }
    }

    /// What must hold of an open stream after every step.
    pub(crate) fn check_stream(&self, id: UtteranceId, u: &Utterance) {
        let Some(stream) = &u.stream else {
            return;
        };
        if u.cancel.is_some() || u.failure.is_some() {
            return;
        }
        let watched = self.timers.iter().any(|(_, t)| *t == Timer::StreamIdle(id));
        assert!(stream.ended || watched, "nothing ends stream {id}");
        let flushed = stream.ended || text::is_blank(u.held()) || self.timers.iter().any(|(_, t)| *t == Timer::StreamFlush(id));
        assert!(flushed, "what stream {id} holds is never spoken");
        assert!(
            !stream.ended || stream.closed || !u.pieces.is_empty() || u.held.is_some(),
            "stream {id} has ended and never completes"
        );
    }
}
