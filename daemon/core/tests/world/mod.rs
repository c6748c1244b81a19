//! A simulated world in virtual time that carries out what the core decides: backends, tracks, an audio server that can be away, clients.
//!
//! It has no threads and no clock, so a case of an hour takes a millisecond and runs the same everywhere. Every effect passes through
//! [`book::Book`], which asserts what must hold of effect order; [`sound::Sound`] asserts that one loudspeaker is heard once.
//! In chaos (`Plan::chaos`) events come late, twice, out of order or never; then only what holds all the same is asserted.
#![allow(dead_code, reason = "each test crate uses its part of the world, and none uses all")]

pub(crate) mod backend;
pub(crate) mod book;
pub(crate) mod device;
pub(crate) mod disk;
pub(crate) mod ears;
pub(crate) mod phases;
pub(crate) mod rng;
pub(crate) mod sound;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use utterd_core::{
    Caller, CancelOptions, Core, DeviceOp, Effect, Failure, Input, Micros, OrderId, Outcome, Output, Phase, PlayOptions, PlaybackEvent,
    Reply, Report, Request, SayOptions, SessionOptions, Settings, Signal, SynthesisEvent, SynthesisId, Target, Token, TrackId, Transition,
    UtteranceId,
};

use backend::{Fate, Job};
use book::Book;
use device::Device;
use ears::Ears;
use rng::Rng;
use sound::Sound;

pub(crate) const MS: Micros = 1_000;
pub(crate) const S: Micros = 1_000_000;

/// How the world behaves. The numbers are upper bounds when `random`, else exact.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) random: bool,
    /// Events late, twice, out of order, or never.
    pub(crate) chaos: bool,
    /// Per cent of syntheses that do not simply speak.
    pub(crate) misfortune: u64,
    /// Of every kind; else of those that kept seeds know.
    pub(crate) every_fate: bool,
    pub(crate) request_us: Micros,
    pub(crate) part_us: Micros,
    pub(crate) told_us: Micros,
    /// From a command to the period that carries it out.
    pub(crate) period_us: Micros,
    /// From a fact to its arrival.
    pub(crate) latency_us: Micros,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            random: false,
            chaos: false,
            misfortune: 0,
            every_fate: false,
            request_us: MS,
            part_us: 10 * MS,
            told_us: 2 * MS,
            period_us: 3 * MS,
            latency_us: MS,
        }
    }
}

pub(crate) enum Event {
    Arrives(Box<Input>),
    Work(SynthesisId, u64),
    /// A synthesis is given up if it has brought no more than this.
    GiveUp(SynthesisId, Micros),
    /// The device gets to an order.
    Device(OrderId, DeviceOp, String),
    /// A cut's ramp is over.
    Silent(UtteranceId),
    /// A pause's ramp is over, if it is still this pause.
    Held(TrackId, Micros),
}

pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) now: Micros,
    pub(crate) plan: Plan,
    /// What the next syntheses come to; then chance decides.
    pub(crate) fates: VecDeque<Fate>,
    pub(crate) sound: Sound,
    pub(crate) device: Device,
    pub(crate) disk: disk::Disk,
    pub(crate) ears: Ears,
    pub(crate) jobs: BTreeMap<SynthesisId, Job>,
    pub(crate) book: Book,
    /// Everything that was decided, with its time.
    pub(crate) log: Vec<(Micros, Effect)>,
    pub(crate) rng: Rng,
    agenda: BTreeMap<(Micros, u64), Event>,
    events: u64,
    tokens: u64,
    last_fact: Micros,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Plan::default(), 1)
    }

    pub(crate) fn with(plan: Plan, seed: u64) -> Self {
        let settings = Settings::default();
        let sound = Sound {
            look_ahead_us: settings.look_ahead_us,
            ..Sound::default()
        };
        let mut world = Self {
            core: Core::new(settings),
            now: 0,
            plan,
            fates: VecDeque::new(),
            sound,
            device: Device {
                answer_us: 5 * MS,
                ..Device::default()
            },
            disk: disk::Disk::default(),
            ears: Ears::default(),
            jobs: BTreeMap::new(),
            book: Book::default(),
            log: Vec::new(),
            rng: Rng::new(seed),
            agenda: BTreeMap::new(),
            events: 0,
            tokens: 0,
            last_fact: 0,
        };
        world.book.chaos = world.plan.chaos;
        world.feed(Input::Backends(backend::backends()));
        world.feed(Input::Detectors(vec!["first".into(), "second".into()]));
        world.run(S);
        world
    }

    // What clients do.

    pub(crate) fn ask(&mut self, uid: u32, request: Request) -> Token {
        let connection: Arc<str> = format!(":1.{uid}").into();
        self.ask_by(Caller { uid, connection }, request)
    }

    pub(crate) fn ask_by(&mut self, caller: Caller, request: Request) -> Token {
        // What is due comes first, so that what this step decides is this request's doing.
        self.feed(Input::Tick);
        self.tokens += 1;
        let token = Token(self.tokens);
        self.book.called(self.now, token, caller.uid, &request);
        let arrived = self.now;
        self.feed(Input::Client {
            token,
            caller,
            arrived,
            request,
        });
        self.book.decided();
        token
    }

    pub(crate) fn open(&mut self, id: &str) {
        self.open_with(id, SessionOptions::default());
    }

    pub(crate) fn open_with(&mut self, id: &str, options: SessionOptions) {
        let id = id.to_owned();
        let token = self.ask(1, Request::Open { id, options });
        self.reply(token).expect("the session opens");
    }

    /// Says it and returns the id; the reply must be there at once.
    pub(crate) fn say(&mut self, session: &str, text: &str) -> UtteranceId {
        self.say_with(session, text, SayOptions::default())
    }

    pub(crate) fn say_with(&mut self, session: &str, text: &str, options: SayOptions) -> UtteranceId {
        let token = self.try_say(session, text, options);
        match self.reply(token) {
            Ok(Reply::Utterance(id)) => UtteranceId::new(id).expect("the Say was accepted"),
            other => panic!("Say was answered {other:?}"),
        }
    }

    pub(crate) fn try_say(&mut self, session: &str, text: &str, options: SayOptions) -> Token {
        let (target, text) = (target(session), text.to_owned());
        self.ask(1, Request::Say { target, text, options })
    }

    /// Plays a file of this length.
    pub(crate) fn play(&mut self, session: &str, us: Micros, options: PlayOptions) -> UtteranceId {
        let token = self.try_play(session, sound(us), options);
        match self.reply(token) {
            Ok(Reply::Utterance(id)) => UtteranceId::new(id).expect("the Play was accepted"),
            other => panic!("Play was answered {other:?}"),
        }
    }

    /// A client writes.
    pub(crate) fn inject(&mut self, session: &str, options: PlayOptions) -> UtteranceId {
        let format = utterd_core::AudioFormat {
            rate: None,
            encoding: utterd_core::Encoding::S16le,
            channels: 1,
        };
        let target = target(session);
        let token = self.ask(1, Request::Inject { target, format, options });
        match self.reply(token) {
            Ok(Reply::Feed { utterance, .. }) => UtteranceId::new(utterance).expect("the stream was accepted"),
            other => panic!("AcquireAudio was answered {other:?}"),
        }
    }

    pub(crate) fn try_play(&mut self, session: &str, sound: utterd_core::Sound, options: PlayOptions) -> Token {
        let target = target(session);
        self.ask(1, Request::Play { target, sound, options })
    }

    pub(crate) fn say_open(&mut self, session: &str) -> UtteranceId {
        self.say_open_with(session, SayOptions::default())
    }

    pub(crate) fn say_open_with(&mut self, session: &str, options: SayOptions) -> UtteranceId {
        let target = target(session);
        let token = self.ask(1, Request::SayOpen { target, options });
        match self.reply(token) {
            Ok(Reply::Utterance(id)) => UtteranceId::new(id).expect("the SayOpen was accepted"),
            other => panic!("SayOpen was answered {other:?}"),
        }
    }

    pub(crate) fn try_append(&mut self, session: &str, utterance: u64, seq: u64, text: &str) -> Result<Reply, Failure> {
        let request = Request::SayAppend {
            target: target(session),
            utterance,
            seq,
            text: text.to_owned(),
        };
        let token = self.ask(1, request);
        self.reply(token)
    }

    pub(crate) fn append(&mut self, session: &str, utterance: UtteranceId, seq: u64, text: &str) -> &'static str {
        match self.try_append(session, utterance.get(), seq, text) {
            Ok(Reply::Ack(ack)) => ack,
            other => panic!("SayAppend was answered {other:?}"),
        }
    }

    pub(crate) fn say_end(&mut self, session: &str, utterance: UtteranceId) {
        let target = target(session);
        let utterance = utterance.get();
        let token = self.ask(1, Request::SayEnd { target, utterance });
        self.reply(token).expect("SayEnd succeeds");
    }

    pub(crate) fn try_submit(&mut self, session: &str, phase: Phase, turn: u64, chunk_seq: u64, text: &str, options: SayOptions) -> Token {
        let request = Request::Submit {
            target: target(session),
            phase,
            turn,
            chunk_seq,
            text: text.to_owned(),
            options,
        };
        self.ask(1, request)
    }

    pub(crate) fn collect(&mut self, session: &str, turn: u64, chunk_seq: u64, text: &str) -> (&'static str, u32) {
        let token = self.try_submit(session, Phase::Collect, turn, chunk_seq, text, SayOptions::default());
        match self.reply(token) {
            Ok(Reply::Submitted {
                ack,
                utterance: 0,
                buffered,
            }) => (ack, buffered),
            other => panic!("the collect was answered {other:?}"),
        }
    }

    pub(crate) fn commit(&mut self, session: &str, turn: u64, chunk_seq: u64, text: &str) -> (&'static str, u64) {
        let token = self.try_submit(session, Phase::Commit, turn, chunk_seq, text, SayOptions::default());
        match self.reply(token) {
            Ok(Reply::Submitted { ack, utterance, .. }) => (ack, utterance),
            other => panic!("the commit was answered {other:?}"),
        }
    }

    pub(crate) fn cancel(&mut self, session: &str, options: CancelOptions) -> Report {
        let token = self.begin_cancel(session, options);
        self.run(100 * MS);
        self.report(token)
    }

    pub(crate) fn begin_cancel(&mut self, session: &str, options: CancelOptions) -> Token {
        let target = target(session);
        self.ask(1, Request::Cancel { target, options })
    }

    pub(crate) fn close(&mut self, session: &str, drain: bool) -> Token {
        let target = target(session);
        self.ask(1, Request::Close { target, drain })
    }

    pub(crate) fn pause(&mut self, session: &str) {
        let target = target(session);
        self.ask(
            1,
            Request::Pause {
                target,
                fade_us: None,
                auto_resume_us: None,
            },
        );
    }

    pub(crate) fn transition(&mut self, transition: Transition, session: &str, turn: u64) -> Token {
        let target = target(session);
        self.ask(1, Request::Transition { transition, target, turn })
    }

    pub(crate) fn enter(&mut self, session: &str, turn: u64) -> Token {
        self.transition(Transition::EnterListening, session, turn)
    }

    pub(crate) fn leave(&mut self, session: &str, turn: u64) -> Token {
        self.transition(Transition::LeaveListening, session, turn)
    }

    pub(crate) fn resume(&mut self, session: &str) {
        let target = target(session);
        self.ask(1, Request::Resume { target });
    }

    // What clients learn.

    pub(crate) fn answered(&self, token: Token) -> bool {
        self.book.replies.contains_key(&token)
    }

    pub(crate) fn reply(&self, token: Token) -> Result<Reply, Failure> {
        self.book.replies.get(&token).expect("no reply yet").1.clone()
    }

    pub(crate) fn report(&self, token: Token) -> Report {
        match self.reply(token) {
            Ok(Reply::Report(report)) => *report,
            other => panic!("Cancel was answered {other:?}"),
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self, utterance: UtteranceId) -> Option<(Outcome, Report)> {
        self.book.ended(utterance)
    }

    pub(crate) fn outcome(&self, utterance: UtteranceId) -> &'static str {
        self.ended(utterance).map_or("open", |(o, _)| o.word())
    }

    pub(crate) fn reason(&self, utterance: UtteranceId) -> String {
        self.ended(utterance).map(|(_, r)| r.reason).unwrap_or_default()
    }

    pub(crate) fn started_at(&self, utterance: UtteranceId) -> Option<Micros> {
        self.signal_at(|s| matches!(s, Signal::UtteranceStarted { utterance: u, .. } if *u == utterance))
    }

    pub(crate) fn signal_at(&self, is: impl Fn(&Signal) -> bool) -> Option<Micros> {
        self.log.iter().find_map(|(at, e)| match e {
            Effect::Signal { signal, .. } if is(signal) => Some(*at),
            _ => None,
        })
    }

    /// Utterances in the order in which they began to be heard.
    pub(crate) fn order_heard(&self) -> Vec<UtteranceId> {
        let started = self.log.iter().filter_map(|(_, e)| match e {
            Effect::Signal {
                signal: Signal::UtteranceStarted { utterance, .. },
                ..
            } => Some(*utterance),
            _ => None,
        });
        started.collect()
    }

    pub(crate) fn state(&self, session: &str) -> utterd_core::SessionProperties {
        self.book.properties(session)
    }

    // How time passes.

    /// Lets this much time pass.
    pub(crate) fn run(&mut self, for_us: Micros) {
        let end = self.now + for_us;
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.go_to(at);
        }
        self.go_to(end);
    }

    /// Lets time pass until it is so.
    pub(crate) fn run_until(&mut self, is: impl Fn(&Self) -> bool) {
        for _ in 0..100_000 {
            if is(self) {
                return;
            }
            let at = self.next().expect("the world rests and it never came true");
            self.go_to(at);
        }
        panic!("it did not come true");
    }

    pub(crate) fn run_until_started(&mut self, utterance: UtteranceId) {
        self.run_until(|w| w.started_at(utterance).is_some());
    }

    /// Feeds time alone until nothing moves any more (I12).
    pub(crate) fn rest(&mut self) {
        for _ in 0..200_000 {
            let Some(at) = self.next() else {
                return;
            };
            self.go_to(at);
        }
        panic!(
            "I12: fed only time, it does not come to rest; deadline {:?}, now {}",
            self.core.next_deadline(),
            self.now
        );
    }

    fn next(&self) -> Option<Micros> {
        let agenda = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let due = self.core.next_deadline().map(|at| at.max(self.now));
        [agenda, due, self.sound.next()].into_iter().flatten().min()
    }

    fn go_to(&mut self, at: Micros) {
        self.sound.advance(at, !self.plan.chaos);
        self.now = at;
        self.tell_facts();
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= self.now
        {
            match entry.remove() {
                Event::Arrives(input) => self.feed(*input),
                Event::Work(synthesis, step) => self.work(synthesis, step),
                Event::GiveUp(synthesis, brought_us) => self.give_up(synthesis, brought_us),
                Event::Device(order, op, place) => self.device_works(order, op, place),
                Event::Silent(utterance) => self.silent(utterance),
                Event::Held(track, until) => {
                    let away = self.sound.away;
                    let held = self
                        .sound
                        .tracks
                        .get(&track)
                        .is_some_and(|t| t.paused && t.fading_until <= until && !(away && t.local));
                    if held {
                        self.tell(PlaybackEvent::Paused { track });
                    }
                }
            }
            self.tell_facts();
        }
        if self.core.next_deadline().is_some_and(|at| at <= self.now) {
            self.feed(Input::Tick);
            self.tell_facts();
        }
    }

    pub(crate) fn later(&mut self, after: Micros, event: Event) {
        self.events += 1;
        self.agenda.insert((self.now + after, self.events), event);
    }

    pub(crate) fn chance(&mut self, up_to: Micros) -> Micros {
        if self.plan.random { self.rng.below(up_to + 1) } else { up_to }
    }

    fn tell_facts(&mut self) {
        for fact in self.sound.facts() {
            self.tell(fact);
        }
    }

    /// Sends a fact on its way: in order, or in chaos.
    fn tell(&mut self, fact: PlaybackEvent) {
        let after = self.chance(self.plan.latency_us);
        self.last_fact = self.last_fact.max(self.now + after);
        self.deliver(self.last_fact - self.now, Input::Playback(fact));
    }

    pub(crate) fn synthesis_tells(&mut self, synthesis: SynthesisId, event: SynthesisEvent) {
        self.deliver(0, Input::Synthesis { synthesis, event });
    }

    pub(crate) fn deliver(&mut self, after: Micros, input: Input) {
        if !self.plan.chaos {
            self.later(after, Event::Arrives(Box::new(input)));
            return;
        }
        let times = match self.rng.below(20) {
            0 => 0,
            1 | 2 => 2,
            _ => 1,
        };
        for _ in 0..times {
            let late = if self.rng.percent(20) { self.rng.below(300 * MS) } else { after };
            self.later(late, Event::Arrives(Box::new(input.clone())));
        }
    }

    // How effects are carried out.

    pub(crate) fn feed(&mut self, input: Input) {
        let effects = self.core.step(self.now, input);
        for effect in effects {
            self.ears.saw(&effect, &self.book, &self.sound);
            self.book.saw(self.now, &effect);
            self.log.push((self.now, effect.clone()));
            self.carry_out(effect);
        }
        self.core.check_invariants();
        self.ears.decided(&self.book);
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Device { .. } => self.order_device(&effect),
            Effect::OpenTrack { track, output, paused, .. } => self.sound.open(track, output == Output::Local, paused),
            Effect::StartRecording { recording, .. } => self.start_recording(recording),
            Effect::StopRecording { recording, reason } => self.end_recording(recording, reason),
            Effect::CloseTrack { track } => self.sound.close(track),
            Effect::Play { track, utterance } => {
                let shared = self.book.is_shared(utterance);
                self.sound.play(track, utterance, shared);
            }
            Effect::Cut { utterance, fade_us } => {
                if fade_us > 0 && self.sound.is_sounding(utterance) {
                    let after = self.chance(self.plan.period_us) + Micros::from(fade_us);
                    self.later(after, Event::Silent(utterance));
                    self.sound.stores.entry(utterance).or_default().cut = true;
                } else {
                    self.silent(utterance);
                }
            }
            Effect::PauseTrack { track, fade_us } => {
                let until = self.now + self.chance(self.plan.period_us) + Micros::from(fade_us).max(1);
                self.sound.pause(track, until);
                self.later(until - self.now, Event::Held(track, until));
            }
            Effect::ResumeTrack { track } => self.sound.resume(track),
            Effect::Watch { utterance, at_us, .. } => self.sound.watch(utterance, at_us),
            Effect::Synthesize(order) => self.synthesize(order),
            Effect::CloseStore { utterance } => self.close_store(utterance),
            Effect::EndStore { utterance } => self.end_store(utterance),
            Effect::CancelSynthesis { synthesis } => self.cancel_synthesis(synthesis),
            Effect::Forget { utterance } => {
                self.sound.drop_from_track(utterance);
                self.sound.stores.remove(&utterance);
            }
            _ => {}
        }
    }

    fn silent(&mut self, utterance: UtteranceId) {
        self.tell_facts();
        let local = self.book.is_local(utterance);
        let played_us = self.sound.drop_from_track(utterance);
        self.book.played(utterance, played_us, &self.sound);
        // An audio server that is away answers nothing.
        if !(self.sound.away && local) {
            let silent_at = self.now;
            self.tell(PlaybackEvent::Cut {
                utterance,
                played_us,
                silent_at,
            });
        }
    }
}

/// A file that says how long it is.
pub(crate) fn sound(us: Micros) -> utterd_core::Sound {
    utterd_core::Sound {
        path: "/sounds/a.wav".into(),
        duration_us: Some(us),
        start_us: 0,
        looped: false,
    }
}

pub(crate) fn target(session: &str) -> Target {
    Target::Id(session.to_owned())
}
