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
mod verbs;

use std::collections::{BTreeMap, VecDeque};

use utterd_core::{
    Core, DeviceOp, Effect, Failure, Input, Micros, OrderId, Outcome, Output, PlaybackEvent, Reply, Report, Settings, Signal,
    SynthesisEvent, SynthesisId, Target, Token, TrackId, UtteranceId,
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
