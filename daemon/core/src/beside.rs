//! Sounds beside the speech: hold music, ambience. Each has a track of its own, is heard at once, and never competes for the floor.
//!
//! It lies under its session's speech: while the session speaks its gain is lower. It is not "speaking", no barge-in concerns it, and it ends with a
//! cancel of its id, Close and CancelAll, not with a cancel of the session. Muted and MinPriority end it like any other: what is not heard is not
//! played. A client's pause holds it. Invariants: a session's beside sounds are in `Session::beside` and not in `open`, so that queue, floor and
//! arrival rules never see them; each has exactly one track, opened when it is accepted and closed when it has finished.

use std::collections::BTreeMap;

use crate::Core;
use crate::cancel::{Order, Then};
use crate::effect::Effect;
use crate::ids::{SessionId, TrackId, UtteranceId};
use crate::session::{Session, Stage};

/// How long it takes to become lower, and to come back: slow enough not to be heard as a jump.
const DUCK_US: u32 = 100_000;
/// Of a gain that somebody sets.
pub(crate) const GAIN_US: u32 = 5_000;
/// So much lower, unless the client says.
pub(crate) const DUCK_DB: f64 = 12.0;

/// What a session plays beside its speech.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    lanes: BTreeMap<UtteranceId, Lane>,
    /// The session speaks, and its sounds were told.
    ducked: bool,
}

#[derive(Debug)]
struct Lane {
    track: TrackId,
    duck_db: f64,
    paused: bool,
}

impl Beside {
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(crate) fn contains(&self, id: UtteranceId) -> bool {
        self.lanes.contains_key(&id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = UtteranceId> {
        self.lanes.keys().copied()
    }
}

impl Session {
    /// Everything accepted and not finished, beside sounds included; ascending.
    pub(crate) fn all_open(&self) -> Vec<UtteranceId> {
        let mut all: Vec<_> = self.open.iter().copied().chain(self.beside.ids()).collect();
        all.sort_unstable();
        all
    }

    pub(crate) fn is_open(&self, id: UtteranceId) -> bool {
        self.open.contains(&id) || self.beside.contains(id)
    }

    fn beside_gain(&self, lane: &Lane, master_db: f64) -> f32 {
        let duck_db = if self.beside.ducked { lane.duck_db } else { 0.0 };
        crate::db_to_linear(self.gain_db + master_db - duck_db)
    }
}

impl Core {
    /// Gives the sound its track; it is heard as soon as it has samples.
    pub(crate) fn admit_beside(&mut self, session: SessionId, id: UtteranceId, duck_db: f64) {
        let track = self.track_ids.next();
        let (master_db, master_muted, min) = (self.manager.gain_db, self.manager.muted, self.manager.min_priority);
        let Some(s) = self.sessions.get_mut(&session) else {
            return;
        };
        let paused = s.client_pause.is_some();
        let lane = Lane { track, duck_db, paused };
        let gain = s.beside_gain(&lane, master_db);
        s.beside.lanes.insert(id, lane);
        let (output, muted) = (s.output, s.muted || master_muted);
        self.out.push(Effect::OpenTrack {
            track,
            session,
            output,
            gain,
            paused,
        });
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        let silenced = if muted { Some("muted") } else { (u.class < min).then_some("quiet") };
        if let Some(reason) = silenced {
            self.start_cancel(vec![id], Order::new(reason, self.now, Then::Nothing));
            return;
        }
        u.stage = Stage::Beside { started: false };
        self.request_pieces(id);
        self.out.push(Effect::Play { track, utterance: id });
    }

    /// It has finished: its track goes with it.
    pub(crate) fn leave_beside(&mut self, session: SessionId, id: UtteranceId) {
        if let Some(s) = self.sessions.get_mut(&session)
            && let Some(lane) = s.beside.lanes.remove(&id)
        {
            self.out.push(Effect::CloseTrack { track: lane.track });
        }
    }

    /// The session began or ceased to speak.
    pub(crate) fn duck(&mut self, session: SessionId, speaks: bool) {
        if let Some(s) = self.sessions.get_mut(&session)
            && std::mem::replace(&mut s.beside.ducked, speaks) != speaks
        {
            self.set_beside_gain(session, DUCK_US);
        }
    }

    pub(crate) fn set_beside_gain(&mut self, session: SessionId, ramp_us: u32) {
        let Some(s) = self.sessions.get(&session) else {
            return;
        };
        let master_db = self.manager.gain_db;
        self.out.extend(s.beside.lanes.values().map(|lane| Effect::Gain {
            track: lane.track,
            linear: s.beside_gain(lane, master_db),
            ramp_us,
        }));
    }

    /// A client paused or resumed the session: what lies beside is held too.
    pub(crate) fn pause_beside(&mut self, session: SessionId, fade_us: Option<u32>) {
        let fade_us = fade_us.unwrap_or(self.settings.fade_us);
        let Some(s) = self.sessions.get_mut(&session) else {
            return;
        };
        let paused = s.client_pause.is_some();
        for lane in s.beside.lanes.values_mut().filter(|lane| lane.paused != paused) {
            lane.paused = paused;
            let track = lane.track;
            self.out.push(if paused {
                Effect::PauseTrack { track, fade_us }
            } else {
                Effect::ResumeTrack { track }
            });
        }
    }

    /// A session that drains has spoken all it had: nothing is left to lie beside.
    pub(crate) fn end_beside(&mut self, session: SessionId) {
        let Some(s) = self.sessions.get(&session) else {
            return;
        };
        let targets: Vec<_> = s.beside.ids().filter(|id| self.is_live(id)).collect();
        if !targets.is_empty() {
            self.start_cancel(targets, Order::new("session-closed", self.now, Then::Close { session }));
        }
    }

    pub(crate) fn check_beside(&self) {
        for (id, s) in &self.sessions {
            for (utterance, lane) in &s.beside.lanes {
                assert!(!s.open.contains(utterance), "{utterance} lies beside and stands in the queue");
                let u = self.utterances.get(utterance);
                assert!(u.is_some_and(|u| u.session == *id), "a finished sound lies beside");
                assert_eq!(
                    lane.paused,
                    s.client_pause.is_some(),
                    "a sound beside is paused by its client alone"
                );
            }
            let told = s.published.speaking;
            assert_eq!(s.beside.ducked, told, "sounds are lower exactly while {} speaks", s.id);
        }
    }
}
