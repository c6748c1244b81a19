//! The phase router: text is collected, and nothing starts before its commit (P1–P6; SEMANTICS, "Submit").
//!
//! Invariants: a collect touches its buffer and a timer, nothing else (I9); a buffer is consumed whole and once, and only when its
//! utterance was accepted: whatever is refused leaves it as it was. Buffers are keyed by (session, turn).
//! Bounds: four buffers a session; bytes and chunks of each by the configuration; the last 64 commits and expiries are remembered, so
//! that a late repetition is recognised.

use std::collections::{BTreeMap, VecDeque};

use crate::Core;
use crate::effect::Reply;
use crate::ids::{Micros, SessionId, Token, UtteranceId};
use crate::note::Note;
use crate::options::{Phase, SayOptions};
use crate::request::{ErrorKind, Failure};
use crate::say::{MAX_TURN_STEP, Origin};
use crate::text;
use crate::timer::Timer;

/// Turns that may be collected at once in a session.
const BUFFERS: usize = 4;
/// Commits, and turns whose buffer expired, that a session remembers.
const REMEMBERED: usize = 64;

/// What a session has collected.
#[derive(Debug, Default)]
pub(crate) struct Phases {
    buffers: BTreeMap<u64, Buffer>,
    committed: VecDeque<(u64, UtteranceId)>,
    expired: VecDeque<Expired>,
}

#[derive(Debug)]
struct Buffer {
    chunks: BTreeMap<u64, String>,
    bytes: usize,
    /// Unless a chunk comes before.
    expires: Micros,
}

/// A turn whose text was lost: its client is told so, then "the current turn" means the next one.
#[derive(Debug)]
struct Expired {
    turn: u64,
    told: bool,
}

impl Phases {
    pub(crate) fn is_empty(&self) -> bool {
        self.buffers.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.buffers.values().map(|b| b.bytes).sum()
    }

    fn bytes_of(&self, turn: u64) -> u32 {
        self.buffers.get(&turn).map_or(0, |b| saturated(b.bytes))
    }

    fn first_commit(&self, turn: u64) -> Option<UtteranceId> {
        self.committed.iter().find(|(t, _)| *t == turn).map(|(_, id)| *id)
    }

    /// The turn that a client means: 0 is the current one, or the next when that one is committed (or its loss was told).
    fn meant(&self, turn: u64, current: u64) -> u64 {
        let over = self.first_commit(current).is_some() || self.expired.iter().any(|e| e.turn == current && e.told);
        match turn {
            0 if over => current.saturating_add(1),
            0 => current,
            named => named,
        }
    }

    /// Its buffer expired; whoever asks is about to be told.
    fn tell_expired(&mut self, turn: u64) -> bool {
        let expired = self.expired.iter_mut().find(|e| e.turn == turn);
        expired.map(|e| e.told = true).is_some()
    }
}

/// A chunk's place, or why it has none.
enum Room {
    Free,
    /// Its number was seen: the first text stays.
    Taken,
}

impl Core {
    /// Session.Submit.
    #[expect(clippy::too_many_arguments, reason = "the arguments of the call, as they come")]
    pub(crate) fn submit(
        &mut self,
        token: Token,
        session: SessionId,
        phase: Phase,
        turn: u64,
        chunk_seq: u64,
        text: String,
        options: SayOptions,
    ) -> Result<Option<Reply>, Failure> {
        let s = &self.sessions[&session];
        if options.turn.is_some_and(|t| t != turn) {
            let message = "option \"turn\" differs from the argument turn: leave it out";
            return Err(Failure::new(ErrorKind::InvalidArgs, message));
        }
        let turn = s.phases.meant(turn, s.turn);
        if turn > s.turn && turn - s.turn > MAX_TURN_STEP {
            let message = format!("turn is {turn}, far beyond the current turn {}", s.turn);
            return Err(Failure::new(ErrorKind::InvalidArgs, message));
        }
        match phase {
            Phase::Collect => self.collect(session, turn, chunk_seq, text).map(Some),
            Phase::Commit => self.commit_turn(token, session, turn, chunk_seq, text, options),
        }
    }

    fn collect(&mut self, session: SessionId, turn: u64, chunk_seq: u64, text: String) -> Result<Reply, Failure> {
        if chunk_seq == 0 {
            let message = "chunk_seq is 0: the chunks of a collect are numbered from 1";
            return Err(Failure::new(ErrorKind::InvalidArgs, message));
        }
        let expires = self.now.saturating_add(self.collect_ttl_us(session));
        let Some(s) = self.sessions.get_mut(&session) else {
            return Ok(acknowledged("COLLECT_STALE", 0));
        };
        if turn < s.turn || s.phases.first_commit(turn).is_some() || s.phases.tell_expired(turn) {
            return Ok(acknowledged("COLLECT_STALE", 0));
        }
        if let Room::Taken = self.room(session, turn, chunk_seq, &text)? {
            return Ok(acknowledged("COLLECT_DUPLICATE", self.sessions[&session].phases.bytes_of(turn)));
        }
        let armed = self.sessions[&session].phases.buffers.get(&turn).map(|b| b.expires);
        if armed.is_none() {
            self.make_way(session)?;
        }
        // A timer that is due too early looks again; one that is due too late would not.
        if armed.is_none_or(|due| expires < due) {
            self.timers.insert((expires, Timer::Collect(session, turn)));
        }
        let mut held = 0;
        self.change_buffers(session, |phases| {
            let buffer = phases.buffers.entry(turn).or_insert_with(|| Buffer {
                chunks: BTreeMap::new(),
                bytes: 0,
                expires,
            });
            buffer.bytes += text.len();
            buffer.expires = expires;
            buffer.chunks.insert(chunk_seq, text);
            held = saturated(buffer.bytes);
        });
        Ok(acknowledged("COLLECT_ACCEPTED", held))
    }

    fn commit_turn(
        &mut self,
        token: Token,
        session: SessionId,
        turn: u64,
        chunk_seq: u64,
        text: String,
        options: SayOptions,
    ) -> Result<Option<Reply>, Failure> {
        let Some(s) = self.sessions.get_mut(&session) else {
            return Ok(Some(acknowledged("COMMIT_STALE", 0)));
        };
        if let Some(first) = s.phases.first_commit(turn) {
            return Ok(Some(Reply::Submitted {
                ack: "COMMIT_DUPLICATE",
                utterance: first.get(),
                buffered: 0,
            }));
        }
        if turn < s.turn || s.phases.tell_expired(turn) {
            return Ok(Some(acknowledged("COMMIT_STALE", 0)));
        }
        let room = self.room(session, turn, chunk_seq, &text)?;
        let phases = &self.sessions[&session].phases;
        let (joined, holes) = joined(phases.buffers.get(&turn), chunk_seq, &text, &room);
        if text::is_blank(&joined) {
            return Ok(Some(acknowledged("COMMIT_EMPTY", phases.bytes_of(turn))));
        }
        let options = SayOptions {
            turn: Some(turn),
            ..options
        };
        if self.say(token, session, joined, options, Origin::Commit)?.is_some() {
            let message = "mode is \"if-idle\" and the session is not idle: nothing was committed, the buffer is unchanged";
            return Err(Failure::new(ErrorKind::WrongState, message));
        }
        self.change_buffers(session, |phases| {
            phases.buffers.remove(&turn);
        });
        if let Some(s) = self.sessions.get_mut(&session)
            && let Some(id) = s.issued.back()
        {
            if s.phases.committed.len() == REMEMBERED {
                s.phases.committed.pop_front();
            }
            s.phases.committed.push_back((turn, *id));
            if holes > 0 {
                let session = s.id.clone();
                self.out.push(crate::Effect::Note(Note::CollectGaps { session, holes }));
            }
        }
        Ok(None)
    }

    /// Whether this chunk may join its buffer.
    fn room(&self, session: SessionId, turn: u64, chunk_seq: u64, text: &str) -> Result<Room, Failure> {
        let buffer = self.sessions[&session].phases.buffers.get(&turn);
        if chunk_seq != 0 && buffer.is_some_and(|b| b.chunks.contains_key(&chunk_seq)) {
            return Ok(Room::Taken);
        }
        let (bytes, chunks) = buffer.map_or((0, 0), |b| (b.bytes, b.chunks.len()));
        let limit = self.collect_bytes(session);
        if bytes + text.len() > limit {
            let message = format!(
                "turn {turn} would hold {} bytes, more than collect.max-bytes = {limit}",
                bytes + text.len()
            );
            return Err(Failure::new(ErrorKind::LimitExceeded, message));
        }
        let limit = self.collect_chunks(session);
        if chunks >= limit {
            let message = format!("turn {turn} holds {chunks} chunks already, as many as collect.max-chunks: commit them");
            return Err(Failure::new(ErrorKind::LimitExceeded, message));
        }
        Ok(Room::Free)
    }

    /// A new buffer needs one of the session's four places; one that can never be committed any more gives way.
    fn make_way(&mut self, session: SessionId) -> Result<(), Failure> {
        let s = &self.sessions[&session];
        if s.phases.buffers.len() < BUFFERS {
            return Ok(());
        }
        match s.phases.buffers.keys().next().copied().filter(|oldest| *oldest < s.turn) {
            Some(oldest) => self.drop_buffer(session, oldest),
            None => {
                let message = format!(
                    "session \"{}\" collects {BUFFERS} turns already, the most there may be: commit or cancel one",
                    s.id
                );
                return Err(Failure::new(ErrorKind::LimitExceeded, message));
            }
        }
        Ok(())
    }

    /// Cancel of its turn.
    pub(crate) fn drop_buffer(&mut self, session: SessionId, turn: u64) {
        self.change_buffers(session, |phases| {
            phases.buffers.remove(&turn);
        });
    }

    /// Close.
    pub(crate) fn drop_buffers(&mut self, session: SessionId) {
        self.change_buffers(session, |phases| phases.buffers.clear());
    }

    /// The TTL of a buffer may be over.
    pub(crate) fn collect_overdue(&mut self, session: SessionId, turn: u64) {
        let Some(s) = self.sessions.get(&session) else {
            return;
        };
        let Some(expires) = s.phases.buffers.get(&turn).map(|b| b.expires) else {
            return;
        };
        if expires > self.now {
            self.timers.insert((expires, Timer::Collect(session, turn)));
            return;
        }
        let name = s.id.clone();
        self.change_buffers(session, |phases| {
            phases.buffers.remove(&turn);
            if phases.expired.len() == REMEMBERED {
                phases.expired.pop_front();
            }
            phases.expired.push_back(Expired { turn, told: false });
        });
        self.out.push(crate::Effect::Note(Note::CollectExpired { session: name, turn }));
    }

    /// The one place where buffers change: the books are kept here.
    fn change_buffers(&mut self, session: SessionId, change: impl FnOnce(&mut Phases)) {
        let Some(s) = self.sessions.get_mut(&session) else {
            return;
        };
        let before = (s.phases.buffers.len(), s.phases.bytes());
        change(&mut s.phases);
        let after = (s.phases.buffers.len(), s.phases.bytes());
        if before == after {
            return;
        }
        self.collected.0 = self.collected.0 + after.0 - before.0;
        self.collected.1 = self.collected.1 + after.1 - before.1;
        let (all_buffers, all_bytes) = self.collected;
        self.out.push(crate::Effect::Note(Note::Collected {
            session: s.id.clone(),
            buffers: after.0,
            bytes: after.1,
            all_buffers,
            all_bytes,
        }));
        self.dirty.insert(session);
    }

    /// What must hold of the buffers after every step.
    pub(crate) fn check_phases(&self) {
        let mut all = (0, 0);
        for (id, session) in &self.sessions {
            let phases = &session.phases;
            assert!(phases.buffers.len() <= BUFFERS, "{} collects too many turns", session.id);
            assert!(
                phases.committed.len() <= REMEMBERED && phases.expired.len() <= REMEMBERED,
                "{} remembers too much",
                session.id
            );
            for (turn, buffer) in &phases.buffers {
                assert_eq!(
                    buffer.bytes,
                    buffer.chunks.values().map(String::len).sum(),
                    "bytes of {}",
                    session.id
                );
                let armed = self.timers.iter().any(|(_, t)| *t == Timer::Collect(*id, *turn));
                assert!(armed, "turn {turn} of {} never expires", session.id);
                assert!(
                    phases.first_commit(*turn).is_none(),
                    "I9: turn {turn} of {} is collected after its commit",
                    session.id
                );
            }
            let turns: std::collections::BTreeSet<u64> = phases.committed.iter().map(|(turn, _)| *turn).collect();
            assert_eq!(
                turns.len(),
                phases.committed.len(),
                "I9: a turn of {} was committed twice",
                session.id
            );
            all = (all.0 + phases.buffers.len(), all.1 + phases.bytes());
        }
        assert_eq!(all, self.collected, "the books of what is collected");
    }
}

/// The chunks by their numbers, nothing inserted, and the holes between them.
fn joined(buffer: Option<&Buffer>, chunk_seq: u64, text: &str, room: &Room) -> (String, u64) {
    let mut chunks: BTreeMap<u64, &str> = buffer
        .into_iter()
        .flat_map(|b| &b.chunks)
        .map(|(seq, text)| (*seq, text.as_str()))
        .collect();
    if let (Room::Free, 1..) = (room, chunk_seq) {
        chunks.insert(chunk_seq, text);
    }
    let (mut holes, mut expected) = (0, 1);
    for seq in chunks.keys() {
        holes += u64::from(*seq != expected);
        expected = seq.saturating_add(1);
    }
    let mut joined: String = chunks.into_values().collect();
    if chunk_seq == 0 {
        joined.push_str(text);
    }
    (joined, holes)
}

fn acknowledged(ack: &'static str, buffered: u32) -> Reply {
    Reply::Submitted {
        ack,
        utterance: 0,
        buffered,
    }
}

fn saturated(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
