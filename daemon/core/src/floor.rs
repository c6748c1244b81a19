//! The floor: who is heard on a loudspeaker, one utterance at a time (SEMANTICS, "Floor").
//!
//! Invariants: at most one track of a floor is audible; a track is silent unless it is on air and its session has no reason to pause;
//! whatever interrupts waits until the interrupted track has fallen silent. Sessions with a floor of their own follow the same rules alone.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::Core;
use crate::effect::Effect;
use crate::ids::{Micros, SessionId, TrackId, UtteranceId};
use crate::options::Priority;
use crate::session::{Part, Session, Stage};
use crate::timer::Timer;

/// A client's pause, or an open stream without audio, gives the floor away after this long.
pub(crate) const YIELD_AFTER_US: Micros = 2_000_000;
/// An interrupted track that does not report its silence (the audio server is away) is taken to be silent after this long.
const QUIET_AFTER_US: Micros = 100_000;

/// Which floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FloorKey {
    /// The loudspeaker that sessions share.
    Shared,
    /// A session that is mixed in, or heard elsewhere.
    Own(SessionId),
}

#[derive(Debug, Default)]
pub(crate) struct Floor {
    /// Sessions with an unfinished utterance.
    pub(crate) members: BTreeSet<SessionId>,
    /// Keeps the floor while it has something of the same or a higher class than the best one waiting.
    pub(crate) holder: Option<SessionId>,
    pub(crate) on_air: Option<(SessionId, Part)>,
    /// The track that was told to fall silent before something else begins, and when it is taken to be silent if it says nothing.
    quieting: Option<(TrackId, Micros)>,
}

impl Floor {
    /// Whatever it waits for has a deadline.
    pub(crate) fn is_watched(&self, key: FloorKey, timers: &BTreeSet<(Micros, Timer)>) -> bool {
        self.quieting
            .is_none_or(|(track, until)| timers.contains(&(until, Timer::Quiet(key, track))))
    }
}

/// What could be heard next.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    session: SessionId,
    part: Part,
    utterance: UtteranceId,
    class: Priority,
}

impl Candidate {
    /// Highest class first, then oldest acceptance.
    fn rank(&self) -> (Priority, Reverse<UtteranceId>) {
        (self.class, Reverse(self.utterance))
    }
}

impl Core {
    /// Brings a floor to the state its rules ask for: preempts, yields, begins the next one, orders the one after it early enough to
    /// follow without a gap, and asks backends for what will be needed.
    pub(crate) fn schedule(&mut self, key: FloorKey) {
        if !self.floors.contains_key(&key) {
            return;
        }
        loop {
            let floor = &self.floors[&key];
            match floor.on_air {
                Some((session, part)) if self.committed(session, part).is_none() => self.set_on_air(key, None),
                Some((session, part)) if self.must_yield(key, session, part) => {
                    self.set_on_air(key, None);
                    self.apply_pauses(key, None);
                    let playing = self.sessions[&session].part(part);
                    // A client's pause may have been ordered a moment ago and its ramp still sound.
                    if playing.silent_by > self.now
                        && let Some(track) = playing.track
                    {
                        let until = playing.silent_by;
                        if let Some(floor) = self.floors.get_mut(&key) {
                            floor.quieting = Some((track, until));
                        }
                        self.timers.insert((until, Timer::Quiet(key, track)));
                    }
                }
                Some((session, part)) => {
                    if self.sessions[&session].part(part).hungry
                        && let Some(next) = self.next(key, Some((session, part)))
                        && (next.session, next.part) == (session, part)
                    {
                        self.commit(next);
                    }
                    break;
                }
                None if floor.quieting.is_some() => break,
                None => {
                    let Some(next) = self.next(key, None) else {
                        break;
                    };
                    let interrupts = next.part == Part::Interjection && self.has_held_speech(key);
                    if !interrupts && let Some(floor) = self.floors.get_mut(&key) {
                        floor.holder = Some(next.session);
                    }
                    self.set_on_air(key, Some((next.session, next.part)));
                    self.apply_pauses(key, None);
                    if self.utterances.get(&next.utterance).is_some_and(|u| u.stage == Stage::Waiting) {
                        self.commit(next);
                    }
                }
            }
        }
        self.request_ahead(key);
    }

    /// A paused track fell silent.
    pub(crate) fn fell_silent(&mut self, track: TrackId) {
        let Some((id, part)) = self.by_track.get(&track).copied() else {
            return;
        };
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let key = session.floor;
        let playing = session.part_mut(part);
        if playing.paused {
            playing.silent_by = self.now;
            session.hearing.fell_silent(self.now);
            self.stop_waiting(key, track);
        }
    }

    /// A track should have fallen silent by now. A timer of an earlier pause finds a later deadline and leaves it alone.
    pub(crate) fn should_be_silent(&mut self, key: FloorKey, track: TrackId) {
        let due = self.floors.get(&key).and_then(|f| f.quieting);
        if due.is_some_and(|(_, until)| until <= self.now) {
            self.stop_waiting(key, track);
        }
    }

    pub(crate) fn stop_waiting(&mut self, key: FloorKey, track: TrackId) {
        if let Some(floor) = self.floors.get_mut(&key)
            && floor.quieting.is_some_and(|(t, _)| t == track)
        {
            floor.quieting = None;
            self.schedule(key);
        }
    }

    /// Orders pause and resume where what holds differs from what was ordered.
    pub(crate) fn apply_pauses(&mut self, key: FloorKey, fade_us: Option<u32>) {
        let Some(floor) = self.floors.get(&key) else {
            return;
        };
        let on_air = floor.on_air;
        let fade_us = fade_us.unwrap_or(self.settings.fade_us);
        for id in floor.members.clone() {
            let Some(session) = self.sessions.get_mut(&id) else {
                continue;
            };
            for part in [Part::Main, Part::Interjection] {
                let silent = on_air != Some((id, part)) || session.is_held();
                let playing = session.part_mut(part);
                if let Some(track) = playing.track
                    && playing.paused != silent
                {
                    playing.paused = silent;
                    if silent {
                        playing.silent_by = self.now.saturating_add(QUIET_AFTER_US);
                    }
                    self.out.push(if silent {
                        Effect::PauseTrack { track, fade_us }
                    } else {
                        Effect::ResumeTrack { track }
                    });
                }
            }
            self.dirty.insert(id);
        }
    }

    /// A client paused its session: the floor is given away if nobody resumes in time.
    pub(crate) fn arm_yield(&mut self, session: SessionId) {
        self.arm(YIELD_AFTER_US, Timer::Yield(session));
    }

    /// The utterance that is heard, else the next to be heard, of a session.
    pub(crate) fn heard_or_next(&self, session: SessionId) -> Option<UtteranceId> {
        let s = self.sessions.get(&session)?;
        let begun = s.interjection.committed.iter().chain(&s.main.committed);
        begun.copied().find(|u| self.is_live(u)).or_else(|| Some(self.best_waiting(s)?.0))
    }

    fn committed(&self, session: SessionId, part: Part) -> Option<UtteranceId> {
        self.sessions.get(&session)?.part(part).committed.front().copied()
    }

    fn set_on_air(&mut self, key: FloorKey, on_air: Option<(SessionId, Part)>) {
        if let Some(floor) = self.floors.get_mut(&key) {
            floor.on_air = on_air;
        }
    }

    /// Something important waits, or a client's pause (or a stream's silence) has lasted too long and somebody else waits.
    fn must_yield(&self, key: FloorKey, session: SessionId, part: Part) -> bool {
        let Some(other) = self.next(key, Some((session, part))) else {
            return false;
        };
        if part == Part::Main && other.part == Part::Interjection {
            return true;
        }
        let paused_us = self.sessions[&session]
            .client_pause
            .map_or(0, |since| self.now.saturating_sub(since));
        let starves = self.committed(session, part).is_some_and(|u| self.starves(u));
        (paused_us >= YIELD_AFTER_US && other.session != session) || (starves && (other.session, other.part) != (session, part))
    }

    fn has_held_speech(&self, key: FloorKey) -> bool {
        self.floors[&key].members.iter().any(|id| self.committed(*id, Part::Main).is_some())
    }

    /// Who is heard next; `beside` is what is on air and not to be chosen again.
    fn next(&self, key: FloorKey, beside: Option<(SessionId, Part)>) -> Option<Candidate> {
        let floor = &self.floors[&key];
        let candidate = |id| {
            let session = self.sessions.get(&id)?;
            (!session.is_held()).then(|| self.candidate(id, beside))?
        };
        let best = floor.members.iter().filter_map(|id| candidate(*id)).max_by_key(Candidate::rank)?;
        let held = floor
            .holder
            .and_then(|id| self.candidate(id, beside))
            .filter(|h| h.class >= best.class);
        match held {
            None => Some(best),
            Some(held) => {
                let session = &self.sessions[&held.session];
                match session.client_pause {
                    // A short pause does not cost it the floor, also between two of its utterances; a suspicion never does.
                    Some(since) if self.now.saturating_sub(since) >= YIELD_AFTER_US => Some(best),
                    _ if session.is_held() => None,
                    _ => Some(held),
                }
            }
        }
    }

    /// What a session would be heard with, were it not paused.
    fn candidate(&self, id: SessionId, beside: Option<(SessionId, Part)>) -> Option<Candidate> {
        let session = self.sessions.get(&id)?;
        let begun = |part: Part| {
            let utterance = *session.part(part).committed.front()?;
            (beside != Some((id, part)) && !self.starves(utterance)).then_some(Candidate {
                session: id,
                part,
                utterance,
                class: self.utterances.get(&utterance)?.class,
            })
        };
        // A stream without audio does not claim the floor, but what was said after it waits behind it all the same.
        let blocked = |part: Part| session.part(part).committed.front().is_some_and(|u| self.starves(*u));
        let (waiting, class) = self.best_waiting(session).filter(|(u, _)| !self.starves(*u)).unzip();
        let waits = |part| {
            (!blocked(part)).then_some(())?;
            Some(Candidate {
                session: id,
                part,
                utterance: waiting?,
                class: class?,
            })
        };
        let important = class == Some(Priority::Important);
        begun(Part::Interjection)
            .or_else(|| if important { waits(Part::Interjection) } else { None })
            .or_else(|| begun(Part::Main))
            .or_else(|| if important { None } else { waits(Part::Main) })
    }

    fn best_waiting(&self, session: &Session) -> Option<(UtteranceId, Priority)> {
        let waiting = session
            .open
            .iter()
            .filter_map(|id| Some((*id, self.utterances.get(id).filter(|u| u.is_waiting())?.class)));
        // One that is held keeps its place: what was said after it is not heard before it.
        waiting
            .max_by_key(|(id, class)| (*class, Reverse(*id)))
            .filter(|(id, _)| self.utterances.get(id).is_some_and(|u| u.held.is_none()))
    }

    fn commit(&mut self, next: Candidate) {
        let Some(session) = self.sessions.get_mut(&next.session) else {
            return;
        };
        let (output, gain) = (session.output, crate::db_to_linear(session.gain_db + self.manager.gain_db));
        let playing = session.part_mut(next.part);
        let track = match playing.track {
            Some(track) => track,
            None => {
                let track = self.track_ids.next();
                let on_air = self.floors[&session.floor].on_air == Some((next.session, next.part));
                let paused = !on_air || session.is_held();
                let playing = session.part_mut(next.part);
                playing.track = Some(track);
                playing.paused = paused;
                self.by_track.insert(track, (next.session, next.part));
                self.out.push(Effect::OpenTrack {
                    track,
                    session: next.session,
                    output,
                    gain,
                    paused,
                });
                track
            }
        };
        let playing = session.part_mut(next.part);
        playing.committed.push_back(next.utterance);
        playing.hungry = false;
        if let Some(utterance) = self.utterances.get_mut(&next.utterance) {
            utterance.stage = Stage::Committed(next.part);
        }
        self.request_pieces(next.utterance);
        self.out.push(Effect::Play {
            track,
            utterance: next.utterance,
        });
        self.dirty.insert(next.session);
    }

    /// Synthesises what is committed, and the one that follows.
    fn request_ahead(&mut self, key: FloorKey) {
        let floor = &self.floors[&key];
        let mut wanted: Vec<UtteranceId> = Vec::new();
        for id in &floor.members {
            if let Some(session) = self.sessions.get(id) {
                wanted.extend(session.interjection.committed.iter().chain(&session.main.committed));
            }
        }
        wanted.extend(self.next(key, floor.on_air).map(|c| c.utterance));
        for utterance in wanted {
            self.request_pieces(utterance);
        }
    }
}
