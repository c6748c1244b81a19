//! The streams' thread: brings the line of each output to the readers and recordings of its sessions. `[worker]`
//!
//! It looks whenever the pump has brought something, while somebody reads or records, and sleeps otherwise; then the taps are off, too. It never
//! waits for a reader or a disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, TryRecvError};
use utterd_core::{ErrorKind, Failure, RecordingEvent, RecordingId, Token};
use utterd_rt::TapRx;

use super::ears::Ears;
use super::group::{Group, Joining, Told};
use super::lanes::Lanes;
use super::line::Line;
use super::mail::sleep;
use super::pump::{Pump, Sink};
use super::reader::Reader;
use super::recorder::{Closing, Recorder, Tell};
use super::shelf::Shelf;
use super::{Acquire, Events, Record, RxEvent};
use crate::clock::now_us;
use crate::tx::Output;
use crate::tx::resample::{Pool, samples_to_us};

/// The longest time between two looks: the pump wakes it sooner, if there is a server.
const TICK: Duration = Duration::from_millis(20);
/// A stream whose line has never moved begins after this long all the same, as of the moment it was asked for.
const PATIENCE_US: u64 = 500_000;
/// Readers of all sessions; each holds a file descriptor and its pipe's memory.
const READERS: usize = 256;
/// Sound that may wait for this thread.
const RING_S: usize = 2;

pub(super) enum Command {
    Engine {
        output: Output,
        rate: u32,
    },
    Acquire(Acquire),
    /// One of the session's tracks.
    TrackClosed {
        session: u64,
    },
    /// The microphone is open for the session of this name, or closed.
    Capture {
        name: String,
        output: Output,
        is_open: bool,
    },
    Readers {
        session: u64,
        delivers: bool,
    },
    Muted {
        session: u64,
        is_muted: bool,
    },
    /// A detector hears for the session or does so no longer, and where what it has cleaned comes from.
    Ear {
        session: u64,
        hears: bool,
        clean: Option<TapRx>,
    },
    Record(Record),
    Begin(RecordingId),
    StopRecording(RecordingId, &'static str),
    SessionOpened {
        session: u64,
        name: String,
        output: Output,
    },
    SessionClosed {
        name: String,
    },
    Stop,
}

pub(super) struct Streams {
    commands: Receiver<Command>,
    pump: Pump,
    events: Arc<Events>,
    shelf: Shelf,
    lanes: Lanes,
    /// Taps of lanes, by session, as the feeder makes them.
    lane_taps: Receiver<(u64, TapRx)>,
    sessions: BTreeMap<u64, Ears>,
    /// Who has the microphone; sessions that nobody listens to are not known by id here.
    open: Option<String>,
    /// Recordings that are over for the line and not yet for the disk.
    closing: Vec<Closing>,
    local: Port,
    null: Port,
    pool: Pool,
}

struct Port {
    rate: u32,
    line: Option<Line>,
}

impl Default for Port {
    fn default() -> Port {
        Port { rate: 48_000, line: None }
    }
}

impl Streams {
    pub(super) fn new(
        commands: Receiver<Command>,
        pump: Pump,
        lanes: (Lanes, Receiver<(u64, TapRx)>),
        events: Arc<Events>,
        shelf: Shelf,
    ) -> Streams {
        Streams {
            commands,
            pump,
            events,
            shelf,
            lanes: lanes.0,
            lane_taps: lanes.1,
            sessions: BTreeMap::new(),
            open: None,
            closing: Vec::new(),
            local: Port::default(),
            null: Port::default(),
            pool: Pool::default(),
        }
    }

    pub(super) fn run(mut self) {
        loop {
            loop {
                match self.commands.try_recv() {
                    Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return,
                    Ok(command) => self.obey(command),
                    Err(TryRecvError::Empty) => break,
                }
            }
            take_lanes(&self.lane_taps, &mut self.sessions);
            self.hear(Output::Local);
            self.hear(Output::Null);
            self.closing.retain(|closing| !closing.is_over(now_us()));
            let is_idle = self.local.line.is_none() && self.null.line.is_none() && self.closing.is_empty();
            sleep(&self.commands, (!is_idle).then_some(TICK));
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Engine { output, rate } => {
                let port = self.port(output);
                let is_other = std::mem::replace(&mut port.rate, rate) != rate;
                if let Some(line) = &mut port.line {
                    line.engine(rate);
                }
                for ears in self.sessions.values_mut().filter(|e| e.output == output) {
                    ears.forget_dead_lanes();
                    if is_other {
                        ears.rate_changed(rate);
                    }
                }
            }
            Command::Acquire(acquire) => self.acquire(acquire),
            Command::TrackClosed { session } => {
                // What it played last may not have been heard here yet.
                take_lanes(&self.lane_taps, &mut self.sessions);
                if let Some(ears) = self.sessions.get_mut(&session).filter(|e| !e.wants_lanes()) {
                    ears.forget_dead_lanes();
                }
            }
            Command::Capture { name, output, is_open } => {
                if output == Output::Local {
                    if is_open {
                        self.open = Some(name);
                    } else {
                        self.open.take_if(|open| *open == name);
                    }
                    for ears in self.sessions.values_mut() {
                        ears.is_open = self.open.as_ref() == Some(&ears.name) && ears.output == Output::Local;
                    }
                }
            }
            Command::Readers { session, delivers } => {
                if let Some(ears) = self.sessions.get_mut(&session) {
                    ears.delivers = delivers;
                }
            }
            Command::Muted { session, is_muted } => {
                if let Some(ears) = self.sessions.get_mut(&session) {
                    ears.set_muted(is_muted);
                }
            }
            Command::Ear { session, hears, clean } => {
                if let Some(ears) = self.sessions.get_mut(&session) {
                    ears.set_ear(hears, clean);
                }
            }
            Command::Record(record) => self.record(record),
            Command::Begin(id) => {
                if let Some(recorder) = self.recorder(id) {
                    recorder.begin();
                }
            }
            Command::StopRecording(id, reason) => {
                // One that has ended by itself has told its end.
                if let Some(recorder) = self.recorder(id) {
                    recorder.stop_at(now_us(), reason);
                }
            }
            Command::SessionOpened { session, name, output } => {
                let mut ears = Ears::new(name, output);
                ears.is_open = output == Output::Local && self.open.as_ref() == Some(&ears.name);
                self.sessions.insert(session, ears);
            }
            Command::SessionClosed { name } => {
                // A recording that is on its way to its end still hears what was played before.
                let closed = self.sessions.values_mut().filter(|e| e.name == name);
                for token in closed.flat_map(Ears::close).collect::<Vec<_>>() {
                    self.refuse_closed(token);
                }
                self.forget_gone();
            }
            Command::Stop => {}
        }
    }

    fn port(&mut self, output: Output) -> &mut Port {
        match output {
            Output::Local => &mut self.local,
            Output::Null => &mut self.null,
        }
    }

    fn recorder(&mut self, id: RecordingId) -> Option<&mut Recorder> {
        let mut all = self.sessions.values_mut().filter_map(|e| e.recorder.as_mut());
        all.find(|r| r.id == id)
    }

    fn acquire(&mut self, acquire: Acquire) {
        let readers: usize = self.sessions.values().map(Ears::readers).sum();
        let token = acquire.token;
        if readers >= READERS {
            let message = format!("{readers} streams are open: close some");
            return self.refuse(token, ErrorKind::LimitExceeded, message);
        }
        let line_rate = self.port(acquire.output).rate;
        let format = acquire.format;
        let (reader, stream) = match Reader::new(format.encoding, format.channels) {
            Ok(both) => both,
            Err(error) => return self.refuse(token, ErrorKind::LimitExceeded, format!("no pipe for the stream: {error}")),
        };
        let Some(ears) = self.sessions.get_mut(&acquire.session) else {
            return self.refuse_closed(token);
        };
        let rate = format.rate.unwrap_or(line_rate);
        let key = (acquire.direction, rate);
        ears.groups.entry(key).or_insert_with(|| Group::new(rate)).join(Joining {
            token,
            reader,
            stream,
            format,
            since_us: now_us(),
        });
        self.tap_lanes(acquire.session);
        self.open_line(acquire.output);
    }

    fn refuse_closed(&self, token: Token) {
        self.refuse(token, ErrorKind::SessionClosed, "the session is closed".to_owned());
    }

    fn refuse(&self, token: Token, kind: ErrorKind, message: String) {
        (self.events)(RxEvent::Refused {
            token,
            failure: Failure::new(kind, message),
        });
    }

    fn record(&mut self, record: Record) {
        let events = Arc::clone(&self.events);
        let tell: Tell = Arc::new(move |recording, event| events(RxEvent::Recording { recording, event }));
        let rate = self.port(record.output).rate;
        let started = Recorder::start(record.recording, self.shelf.clone(), record.file, rate, tell.clone());
        let recorder = match started {
            Ok(recorder) => recorder,
            Err(error) => {
                let failure = Failure::new(ErrorKind::Failed, format!("no thread for the recording: {error}"));
                return tell(record.recording, RecordingEvent::Refused(failure));
            }
        };
        if let Some(ears) = self.sessions.get_mut(&record.session) {
            ears.recorder = Some(recorder);
            self.tap_lanes(record.session);
            self.open_line(record.output);
        }
    }

    /// From now on what the session plays is heard here.
    fn tap_lanes(&mut self, session: u64) {
        let (has_local, has_null) = (self.local.line.is_some(), self.null.line.is_some());
        if let Some(ears) = self.sessions.get_mut(&session).filter(|e| e.wants_lanes()) {
            ears.is_tapped = true;
            let is_heard = if ears.output == Output::Local { has_local } else { has_null };
            if !is_heard {
                ears.forget_what_was_played();
            }
            self.lanes.tap(session);
        }
    }

    /// Lanes that nobody hears have no tap: each holds half a second of sound, and an answer takes a new one.
    fn untap_lanes(&mut self, output: Output) {
        let sessions = self.sessions.iter_mut().filter(|(_, e)| e.output == output);
        for (id, ears) in sessions.filter(|(_, e)| e.is_tapped && !e.wants_lanes()) {
            ears.is_tapped = false;
            self.lanes.untap(*id);
            ears.forget_dead_lanes();
        }
    }

    fn forget_gone(&mut self) {
        let lanes = &self.lanes;
        self.sessions.retain(|id, ears| {
            if ears.is_gone() {
                lanes.untap(*id);
            }
            !ears.is_gone()
        });
    }

    fn open_line(&mut self, output: Output) {
        let pump = self.pump.clone();
        let port = self.port(output);
        if port.line.is_none() {
            let (tap, end) = utterd_rt::tap(2 * RING_S * port.rate.max(32_768) as usize);
            let reader = thread::current();
            pump.sink(output, Sink { tap, reader });
            port.line = Some(Line::new(end, port.rate));
        }
    }

    fn hear(&mut self, output: Output) {
        let Some(mut line) = self.port(output).line.take() else {
            return;
        };
        let now = now_us();
        let rate = line.rate();
        let ears = self.sessions.values().filter(|e| e.output == output);
        let since = ears.flat_map(|e| e.groups.values()).filter_map(Group::waits_since).min();
        if let Some(since) = since.filter(|since| now >= since + PATIENCE_US) {
            line.begin_at(since);
        }
        let mut told: Vec<(u64, Told)> = Vec::new();
        let mut own = Vec::new();
        line.tell(now, &mut |stretch| {
            // A lane's tap is sent here before it carries anything of this stretch.
            take_lanes(&self.lane_taps, &mut self.sessions);
            for (id, ears) in self.sessions.iter_mut().filter(|(_, e)| e.output == output) {
                if ears.wants_line() || !ears.lanes.is_empty() {
                    ears.hear(stretch, rate, &self.pool, &mut own);
                    told.extend(own.drain(..).map(|t| (*id, t)));
                }
            }
        });
        for ears in self.sessions.values_mut().filter(|e| e.output == output) {
            ears.groups.retain(|_, group| group.len() > 0);
            if let Some(recorder) = &mut ears.recorder {
                recorder.heard_until(line.end_us(), now);
            }
            let over = ears.recorder.take_if(|r| r.is_over());
            self.closing.extend(over.map(|recorder| recorder.closing(now)));
        }
        for (id, told) in told {
            self.tell(id, told);
        }
        self.forget_gone();
        self.untap_lanes(output);
        // Without anybody who hears, the tap is let go of.
        if self.sessions.values().any(|e| e.output == output && e.wants_line()) {
            self.port(output).line = Some(line);
        }
    }

    fn tell(&self, session: u64, told: Told) {
        match told {
            Told::Joined(event) => (self.events)(event),
            Told::Lost { frames, rate, first } => {
                let name = self.sessions.get(&session).map(|e| e.name.clone()).unwrap_or_default();
                let lost_us = samples_to_us(frames, rate);
                (self.events)(RxEvent::Behind {
                    session: name,
                    lost_us,
                    first,
                });
            }
        }
    }
}

/// Taps of lanes that the feeder has made go to the sessions that the lanes play for.
fn take_lanes(taps: &Receiver<(u64, TapRx)>, sessions: &mut BTreeMap<u64, Ears>) {
    while let Ok((session, tap)) = taps.try_recv() {
        if let Some(ears) = sessions.get_mut(&session) {
            ears.lanes.push(tap);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crossbeam::channel::unbounded;
    use std::time::Instant;
    use utterd_core::{AudioFormat, Direction, Encoding};

    use crate::tx::{Tx, TxConfig};

    const LIMIT: Duration = Duration::from_secs(30);

    /// Streams with one session and its track, what it plays on, and what they tell.
    fn streams(name: &str) -> (Streams, Tx, Receiver<RxEvent>) {
        let (_, commands) = unbounded();
        let (events, told) = unbounded();
        let tx = Tx::start(TxConfig::default(), |_| ()).unwrap();
        let dir = std::env::temp_dir().join(format!("utterd-streams-{}-{name}", std::process::id()));
        let shelf = Shelf::new(dir, 0o600, 0, Duration::ZERO);
        let events: Arc<Events> = Arc::new(move |event| events.send(event).unwrap_or_default());
        let mut streams = Streams::new(commands, Pump::start().unwrap(), Lanes::new(tx.clone()), events, shelf);
        streams.obey(Command::SessionOpened {
            session: 1,
            name: "a".into(),
            output: Output::Local,
        });
        tx.open_track(7, Output::Local);
        streams.lanes.open(7, 1);
        (streams, tx, told)
    }

    fn acquire(streams: &mut Streams, direction: Direction) {
        streams.obey(Command::Acquire(Acquire {
            token: Token(5),
            session: 1,
            output: Output::Local,
            direction,
            format: AudioFormat {
                rate: None,
                encoding: Encoding::S16le,
                channels: 1,
            },
        }));
    }

    fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < LIMIT, "never: {what}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn after_a_recording_the_lanes_of_a_session_are_tapped_no_more() {
        let (mut streams, tx, _told) = streams("untapped");
        let id = RecordingId::new(1).unwrap();
        streams.obey(Command::Record(Record {
            recording: id,
            session: 1,
            output: Output::Local,
            file: "a.wav".into(),
        }));
        let mut writer = tx.store(1, Output::Local);
        writer.set_blocking(false);
        writer.begin_piece(48_000, 1.0);
        writer.write(&vec![0.5; 480_000]).unwrap();
        writer.end_piece();
        writer.finish();
        let (control, _renderer) = utterd_rt::engine(48_000);
        tx.engine(Output::Local, control, 48_000, 0);
        tx.play(7, 1);
        until("a tapped lane", || {
            take_lanes(&streams.lane_taps, &mut streams.sessions);
            streams.sessions[&1].lanes.len() == 1
        });
        streams.obey(Command::StopRecording(id, "stopped"));
        until("the recording's end", || {
            streams.hear(Output::Local);
            streams.sessions[&1].recorder.is_none()
        });
        assert!(streams.local.line.is_none() && !streams.sessions[&1].is_tapped);
        let (control, mut renderer) = utterd_rt::engine(48_000);
        tx.lost(Output::Local);
        tx.engine(Output::Local, control, 48_000, 0);
        let mut out = [0.0; 64];
        until("its next lane", || {
            renderer.render(&mut out, now_us());
            out != [0.0; 64]
        });
        assert!(streams.lane_taps.is_empty(), "it has no tap");
        assert_eq!(streams.lanes.close(7), Some(1));
        streams.obey(Command::TrackClosed { session: 1 });
        tx.shutdown();
    }

    #[test]
    fn a_track_that_is_opened_while_its_session_is_heard_is_heard_from_its_first_sample_however_late_the_thread_is() {
        let (mut streams, tx, _told) = streams("first");
        acquire(&mut streams, Direction::Tx);
        let (control, mut renderer) = utterd_rt::engine(48_000);
        tx.engine(Output::Local, control, 48_000, 0);
        // From here on nothing is obeyed until it sounds.
        tx.open_track(8, Output::Local);
        streams.lanes.open(8, 1);
        let mut writer = tx.store(1, Output::Local);
        writer.set_blocking(false);
        writer.begin_piece(48_000, 1.0);
        writer.write(&[0.5; 4_800]).unwrap();
        writer.end_piece();
        writer.finish();
        tx.play(8, 1);
        let mut out = [0.0; 64];
        until("its first period", || {
            renderer.render(&mut out, now_us());
            out != [0.0; 64]
        });
        take_lanes(&streams.lane_taps, &mut streams.sessions);
        let lane = streams.sessions.get_mut(&1).unwrap().lanes.first_mut().unwrap();
        let heard: Vec<f32> = std::iter::from_fn(|| lane.take(|_, first, second| [first, second].concat()))
            .flatten()
            .collect();
        assert_eq!(heard.iter().filter(|s| **s != 0.0).count(), 64);
        tx.shutdown();
    }

    #[test]
    fn who_waits_for_a_stream_when_its_session_closes_is_told_so() {
        let (mut streams, tx, told) = streams("refused");
        acquire(&mut streams, Direction::Tx);
        streams.hear(Output::Local);
        assert!(told.try_recv().is_err(), "the line stands still");
        streams.obey(Command::SessionClosed { name: "a".into() });
        let told = told.try_recv().unwrap();
        let RxEvent::Refused { token, failure } = told else {
            panic!("{told:?}");
        };
        assert_eq!((token, failure.kind), (Token(5), ErrorKind::SessionClosed));
        tx.shutdown();
    }

    #[test]
    fn a_stream_that_begins_while_no_server_is_there_is_silence_from_its_told_time_on() {
        let (mut streams, tx, told) = streams("away");
        let before = now_us();
        acquire(&mut streams, Direction::Tx);
        until("the stream", || {
            streams.hear(Output::Local);
            !told.is_empty()
        });
        let event = told.try_recv().unwrap();
        let RxEvent::Joined { stream, start_us, .. } = event else {
            panic!("{event:?}");
        };
        assert!((before..=now_us()).contains(&start_us));
        let mut stream = std::fs::File::from(stream);
        // It flows without an engine, and half a second of it is there by now, but for what a first block may still claim.
        let mut had = vec![1; 2 * 9_600];
        std::io::Read::read_exact(&mut stream, &mut had).unwrap();
        assert!(had.iter().all(|byte| *byte == 0));
        tx.shutdown();
    }
}
