//! utterd's decisions: who is heard, what a cancel reaches, what was heard. Plain data in, plain data out.
//!
//! `Core::step(now, input)` is the one door. There is no clock, no thread and no I/O in here: `now` is an argument, what to do leaves as
//! [`Effect`]s in the order in which they are to be carried out, and what the world answers comes back as [`Input`]s. Ids are never
//! reused, so whatever arrives late is recognised by not being known any more.
//!
//! Deliberately absent: the plugin ABI, D-Bus, JACK, logging. Random sequences against [`Core::check_invariants`] stand in `tests/`.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod audio;
mod backend;
mod bargein;
mod beside;
mod bounds;
mod cancel;
mod effect;
mod feed;
mod finish;
mod floor;
mod health;
pub mod hearing;
mod ids;
mod note;
mod options;
mod owner;
mod phase;
mod pins;
mod play;
mod progress;
mod request;
mod say;
mod session;
mod sessions;
mod settings;
mod source;
mod speaker;
mod spoken;
mod stream;
mod synthesis;
mod text;
mod timer;
mod verbs;
mod wait;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use audio::{AudioFormat, Direction, Encoding, RecordingEnd, RecordingEvent};
pub use backend::{Backend, CacheUse, Fault, Patience, Pin, Voice};
pub use bargein::{BargeIn, SpeechDetails};
pub use bounds::Bounds;
pub use effect::{
    DeviceOp, Effect, HeardSource, HistoryEntry, ManagerProperties, Outcome, OwnerProperties, Prime, Reply, Report, SessionProperties,
    Signal, Stages, Synthesis,
};
pub use ids::{CancelId, Micros, OrderId, RecordingId, SessionId, SynthesisId, Token, TrackId, UtteranceId};
pub use note::Note;
pub use options::{CancelOptions, Format, Mode, Output, Phase, PlayOptions, Priority, Progress, SayOptions, SessionOptions};
pub use owner::OWNER_COUNTERS;
pub use request::{
    Caller, DeviceEvent, DriverInfo, ErrorKind, Failure, Input, PlaybackEvent, Request, SynthesisEvent, SynthesisState, Target, Told,
    Transition,
};
pub use source::{Sound, Source};

pub use spoken::Lexicon;

pub use settings::Settings;

use floor::{Floor, FloorKey};
use ids::Counter;
use session::{Part, Session, Stage, Utterance};
use timer::Timer;

/// Closed session ids that are remembered, to tell "closed" from "never existed".
const CLOSED_IDS: usize = 1024;

/// All state that decisions depend on.
#[derive(Debug)]
pub struct Core {
    now: Micros,
    out: Vec<Effect>,
    settings: Settings,
    backends: Vec<Backend>,
    health: BTreeMap<String, health::Health>,
    pins: pins::Pins,
    /// Ids of the plugins that can hear.
    detectors: Vec<String>,
    /// Starts of detectors so far; the newest is the generation of its findings.
    detector_starts: u64,
    sessions: BTreeMap<SessionId, Session>,
    names: BTreeMap<String, SessionId>,
    closed: VecDeque<String>,
    utterances: BTreeMap<UtteranceId, Utterance>,
    by_synthesis: BTreeMap<SynthesisId, UtteranceId>,
    by_track: BTreeMap<TrackId, (SessionId, Part)>,
    cancels: BTreeMap<CancelId, cancel::Cancel>,
    floors: BTreeMap<FloorKey, Floor>,
    owners: owner::Owners,
    recordings: BTreeMap<RecordingId, audio::Recording>,
    timers: BTreeSet<(Micros, Timer)>,
    outputs: BTreeSet<Output>,
    manager: ManagerProperties,
    manager_published: ManagerProperties,
    /// Buffers and bytes that wait for a commit, over all sessions.
    collected: (usize, usize),
    /// Sessions whose properties may have changed in this step.
    dirty: BTreeSet<SessionId>,
    session_ids: Counter<SessionId>,
    utterance_ids: Counter<UtteranceId>,
    synthesis_ids: Counter<SynthesisId>,
    track_ids: Counter<TrackId>,
    cancel_ids: Counter<CancelId>,
    recording_ids: Counter<RecordingId>,
}

impl Core {
    /// An empty house.
    pub fn new(settings: Settings) -> Self {
        let manager = ManagerProperties {
            driver: DriverInfo::default(),
            gain_db: settings.output_gain_db,
            muted: false,
            mic_muted: false,
            min_priority: Priority::Progress,
        };
        Self {
            now: 0,
            out: Vec::new(),
            settings,
            backends: Vec::new(),
            health: BTreeMap::new(),
            pins: pins::Pins::default(),
            detectors: Vec::new(),
            detector_starts: 0,
            sessions: BTreeMap::new(),
            names: BTreeMap::new(),
            closed: VecDeque::new(),
            utterances: BTreeMap::new(),
            by_synthesis: BTreeMap::new(),
            by_track: BTreeMap::new(),
            cancels: BTreeMap::new(),
            floors: BTreeMap::from([(FloorKey::Shared, Floor::default())]),
            owners: owner::Owners::default(),
            recordings: BTreeMap::new(),
            timers: BTreeSet::new(),
            outputs: BTreeSet::new(),
            manager_published: manager.clone(),
            manager,
            collected: (0, 0),
            dirty: BTreeSet::new(),
            session_ids: Counter::default(),
            utterance_ids: Counter::default(),
            synthesis_ids: Counter::default(),
            track_ids: Counter::default(),
            cancel_ids: Counter::default(),
            recording_ids: Counter::default(),
        }
    }

    /// Takes one input and returns what is to be done, in order.
    pub fn step(&mut self, now: Micros, input: Input) -> Vec<Effect> {
        self.now = self.now.max(now);
        self.run_timers();
        match input {
            Input::Client {
                token,
                caller,
                arrived,
                request,
            } => self.client(token, &caller, arrived, request),
            Input::ConnectionLost { connection } => self.connection_lost(&connection),
            Input::Synthesis { synthesis, event } => self.synthesis_event(synthesis, event),
            Input::Playback(event) => self.playback(event),
            Input::Device { order, output, event } => self.device(order, output, event),
            Input::Driver(info) => self.manager.driver = info,
            Input::Backends(backends) => self.backends = backends,
            Input::BackendHealth { backend, health } => self.backend_says(&backend, health),
            Input::Finding {
                session,
                generation,
                finding,
            } => self.finding(session, generation, finding),
            Input::DetectorFailed {
                session,
                generation,
                detector,
                message,
            } => self.detector_failed(session, generation, detector, message),
            Input::Detectors(detectors) => self.detectors_changed(detectors),
            Input::Recording { recording, event } => self.recording_event(recording, event),
            Input::Settings(settings) => self.configured(*settings),
            Input::Start => {
                self.open_output(Output::Local);
                self.prime_all();
            }
            Input::Tick => {}
        }
        self.settle_hearing();
        self.publish_changes();
        std::mem::take(&mut self.out)
    }

    fn playback(&mut self, event: PlaybackEvent) {
        match event {
            PlaybackEvent::Started { utterance } => self.started(utterance),
            PlaybackEvent::Mark {
                utterance,
                word,
                onset_us,
                chars,
            } => self.mark_heard(utterance, word, onset_us, chars),
            PlaybackEvent::Ended { utterance, played_us } => self.ended(utterance, played_us),
            PlaybackEvent::Cut {
                utterance,
                played_us,
                silent_at,
            } => self.cut_done(utterance, played_us, silent_at),
            PlaybackEvent::Hungry { track } => {
                if let Some((session, part)) = self.by_track.get(&track).copied()
                    && let Some(s) = self.sessions.get_mut(&session)
                {
                    let playing = s.part_mut(part);
                    playing.hungry = !playing.committed.is_empty();
                    let floor = s.floor;
                    self.schedule(floor);
                }
            }
            PlaybackEvent::Low { utterance } => {
                if let Some(u) = self.utterances.get_mut(&utterance) {
                    u.store_full = false;
                    u.ran_low = true;
                    self.request_pieces(utterance);
                }
            }
            PlaybackEvent::Dry { utterance, played_us } => {
                self.feed_ran_dry(utterance);
                self.ran_dry(utterance, played_us);
            }
            PlaybackEvent::Paused { track } => self.fell_silent(track),
        }
    }

    fn configured(&mut self, settings: Settings) {
        let old = std::mem::replace(&mut self.settings, settings);
        // A gain that a client set stays, unless the file says something new.
        if old.output_gain_db != self.settings.output_gain_db {
            self.manager.gain_db = self.settings.output_gain_db;
            self.apply_gain(None);
        }
    }

    /// Outputs are opened when they are first needed, and stay.
    pub(crate) fn open_output(&mut self, output: Output) {
        if self.outputs.insert(output) {
            self.out.push(Effect::OpenOutput { output });
        }
    }

    pub(crate) fn reply(&mut self, token: Token, reply: Reply) {
        self.out.push(Effect::Reply { token, reply: Ok(reply) });
    }

    pub(crate) fn signal(&mut self, session: SessionId, signal: Signal) {
        if let Some(s) = self.sessions.get(&session) {
            self.out.push(Effect::Signal {
                session: s.id.clone(),
                signal,
            });
        }
    }

    fn publish_changes(&mut self) {
        for id in std::mem::take(&mut self.dirty) {
            let Some(session) = self.sessions.get(&id) else {
                continue;
            };
            let properties = self.properties(id, session);
            if properties.speaking && session.output == Output::Local {
                self.owners.speaking.insert(id);
            } else {
                self.owners.speaking.remove(&id);
            }
            self.duck(id, properties.speaking);
            self.playback_turn(id, properties.turn);
            let Some(session) = self.sessions.get(&id) else {
                continue;
            };
            // How much is collected is for who asks: no news.
            let told = SessionProperties {
                collected_bytes: properties.collected_bytes,
                ..session.published.clone()
            };
            if properties != told {
                self.out.push(Effect::SessionChanged {
                    session: session.id.clone(),
                    properties: properties.clone(),
                });
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.published = properties;
                }
            }
        }
        if self.manager != self.manager_published {
            self.manager_published = self.manager.clone();
            self.out.push(Effect::ManagerChanged {
                properties: self.manager.clone(),
            });
        }
        self.publish_owner();
    }

    fn properties(&self, id: SessionId, session: &Session) -> SessionProperties {
        let heard = |part: Part| {
            let first = session.part(part).committed.front()?;
            self.utterances.get(first).filter(|u| u.has_started()).map(|_| *first)
        };
        let active = heard(Part::Interjection).or(heard(Part::Main));
        let on_air = self.floors.get(&session.floor).and_then(|f| f.on_air);
        let interrupted = heard(Part::Main).is_some() && on_air.is_some_and(|(s, _)| s != id);
        let state = if session.closing.is_some() && session.open.is_empty() && session.beside.is_empty() {
            "closed"
        } else if session
            .open
            .iter()
            .any(|u| self.utterances.get(u).is_some_and(|u| u.cancel.is_some()))
        {
            "cancelling"
        } else if session.is_held() || interrupted {
            "paused"
        } else if active.is_some() {
            "speaking"
        } else if !session.phases.is_empty() {
            "collecting"
        } else {
            "idle"
        };
        SessionProperties {
            id: session.id.clone(),
            state,
            speaking: active.is_some(),
            turn: session.turn,
            active_utterance: active.map_or(0, UtteranceId::get),
            queue_length: (session.open.len() - usize::from(active.is_some())) as u32,
            collected_bytes: u32::try_from(session.phases.bytes()).unwrap_or(u32::MAX),
            output: session.output.word(),
            gain_db: session.gain_db,
            muted: session.muted,
            mic_muted: session.hearing.mic_muted,
        }
    }

    /// What must hold after every step (I1, I2, I9, I10, I11, I15, T5 and the books).
    ///
    /// # Panics
    /// When something does not hold: the message names it.
    pub fn check_invariants(&self) {
        self.check_phases();
        self.check_beside();
        self.check_recordings();
        for (id, u) in &self.utterances {
            self.check_stream(*id, u);
            let session = self
                .sessions
                .get(&u.session)
                .unwrap_or_else(|| panic!("utterance {id} belongs to no session"));
            assert!(session.is_open(*id), "utterance {id} is open but not in its session's list");
            if let Stage::Committed(part) | Stage::Started(part) = u.stage {
                assert!(
                    session.part(part).committed.contains(id) || u.cancel.is_some(),
                    "utterance {id} was ordered but is on no track"
                );
            }
            if let Some(cancel) = u.cancel {
                assert!(self.cancels.contains_key(&cancel), "utterance {id} waits for a cancel that is gone");
                assert!(u.pieces.is_empty(), "cancelled utterance {id} still has text to synthesise");
            }
        }
        for (id, session) in &self.sessions {
            assert_eq!(self.names.get(&session.id), Some(id), "session {} is not findable", session.id);
            assert!(session.open.is_sorted(), "the queue of {} is out of order", session.id);
            assert!(
                session.open.iter().all(|u| self.utterances.contains_key(u)),
                "{} lists a finished utterance",
                session.id
            );
            let member = self.floors.get(&session.floor).is_some_and(|f| f.members.contains(id));
            assert_eq!(member, !session.open.is_empty(), "floor membership of {}", session.id);
            for part in [Part::Main, Part::Interjection] {
                let playing = session.part(part);
                let on_air = self.floors.get(&session.floor).and_then(|f| f.on_air) == Some((*id, part));
                if playing.track.is_some() && !playing.committed.is_empty() && !playing.paused {
                    assert!(
                        on_air && !session.is_held(),
                        "{} is audible without the floor or in spite of a pause",
                        session.id
                    );
                }
            }
        }
        self.check_owners();
        self.check_hearing();
        for (key, floor) in &self.floors {
            assert!(floor.is_watched(*key, &self.timers), "{key:?} waits for silence without a deadline");
        }
        for (id, u) in &self.utterances {
            let held = u.held.is_none_or(|cancel| self.cancels.contains_key(&cancel));
            assert!(held, "utterance {id} is held by a cancel that is gone");
        }
        for id in self.cancels.keys() {
            let armed = self.timers.iter().any(|(_, t)| *t == Timer::CancelDeadline(*id));
            assert!(armed, "cancel {id} has no deadline");
        }
    }
}

/// Decibels to a linear factor; exactly 1.0 at 0 dB, so that what is played is what was synthesised.
pub fn db_to_linear(db: f64) -> f32 {
    if db == 0.0 { 1.0 } else { 10f64.powf(db / 20.0) as f32 }
}
