//! The feeder: one thread, sole producer of every lane, and the one lock under which orders and looks take turns.
//!
//! Orders come from any thread, change the tracks under the lock and push lane commands at once, so that a command is never older than
//! the spans it speaks of; what is to be said waits in the outbox for the feeder's thread, which hands it over without the lock. The thread
//! looks every 4 ms while something sounds, at the next due event while something is to be heard, and sleeps otherwise: writes and orders
//! wake it. `pump(now)` is one look; tests call it by hand.
//! Bounds: ids of forgotten utterances are remembered for the last 4,096, so that a worker that comes late meets a closed store.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use utterd_rt::{Control, StatsHandle};

use super::clock::Clock;
use super::resample::{Pool, samples_to_us};
use super::store::Store;
use super::track::{Engine, Out, Taps, Track, Wish};
use super::writer::{StoreWriter, WriterEnv};
use super::{Output, TxConfig, TxEvent};

/// The longest time between two looks while something sounds.
const TICK: Duration = Duration::from_millis(4);
/// Forgotten ids remembered.
const TOMBSTONES: usize = 4096;
/// The ramp of an utterance that is forgotten while it sounds.
const FORGET_FADE_US: u32 = 5_000;
const FIRST_RATE: u32 = 48_000;
/// What a ring holds beyond two periods: a look that comes late.
const MARGIN_US: u64 = 20_000;

/// Ends the feeder's sleep. `[any]`
#[derive(Clone, Default)]
pub(crate) struct Wake(Arc<Sleeper>);

#[derive(Default)]
struct Sleeper {
    thread: OnceLock<Thread>,
    woken: AtomicBool,
}

impl Wake {
    pub(crate) fn wake(&self) {
        if !self.0.woken.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.0.thread.get()
        {
            thread.unpark();
        }
    }
}

pub(super) type Events = Box<dyn Fn(TxEvent) + Send + Sync>;

pub(super) struct Shared {
    inner: Mutex<Inner>,
    env: WriterEnv,
    cfg: TxConfig,
    events: Events,
    stop: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    local: Port,
    null: Port,
    tracks: BTreeMap<u64, Track>,
    utterances: HashMap<u64, Utterance>,
    forgotten: Tombstones,
    outbox: Vec<TxEvent>,
}

/// One output and the engine behind it.
struct Port {
    engine: Option<(Control, StatsHandle)>,
    rate: u32,
    /// What the renderer is asked for at a time.
    period: u32,
    latency_us: u64,
}

impl Port {
    /// How much stands in a ring: never less than two periods, else every period would find it dry.
    fn ring_us(&self, cfg: &TxConfig) -> u64 {
        cfg.ring_us.max(2 * samples_to_us(self.period.into(), self.rate) + MARGIN_US)
    }
}

struct Utterance {
    output: Output,
    state: State,
}

enum State {
    /// Not played yet.
    Waiting(Arc<Store>),
    /// On this track, until it is heard to its end or cut.
    On(u64, Arc<Store>),
    /// Over, with what was played of it.
    Over(u64),
}

#[derive(Default)]
struct Tombstones {
    order: VecDeque<u64>,
    ids: HashSet<u64>,
}

impl Tombstones {
    fn add(&mut self, id: u64) {
        if self.ids.insert(id) {
            self.order.push_back(id);
            if self.order.len() > TOMBSTONES
                && let Some(oldest) = self.order.pop_front()
            {
                self.ids.remove(&oldest);
            }
        }
    }
}

impl Shared {
    /// Without a thread: `pump` is called by hand.
    pub(super) fn by_hand(cfg: TxConfig, clock: Clock, events: Events) -> Arc<Shared> {
        let port = || Port {
            engine: None,
            rate: FIRST_RATE,
            period: 0,
            latency_us: 0,
        };
        Arc::new(Shared {
            inner: Mutex::new(Inner {
                local: port(),
                null: port(),
                tracks: BTreeMap::new(),
                utterances: HashMap::new(),
                forgotten: Tombstones::default(),
                outbox: Vec::new(),
            }),
            env: WriterEnv {
                wake: Wake::default(),
                pool: Pool::default(),
                clock,
                look_ahead_us: cfg.look_ahead_us,
            },
            cfg,
            events,
            stop: AtomicBool::new(false),
            thread: Mutex::new(None),
        })
    }

    pub(super) fn start(cfg: TxConfig, events: Events) -> std::io::Result<Arc<Shared>> {
        let shared = Shared::by_hand(cfg, Clock::Monotonic, events);
        let feeder = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("utterd-feeder".to_owned())
            .spawn(move || crate::or_end("the feeder", || feeder.run()))?;
        let known = shared.env.wake.0.thread.set(thread.thread().clone());
        debug_assert!(known.is_ok(), "set once, here");
        shared.env.wake.wake();
        *lock(&shared.thread) = Some(thread);
        Ok(shared)
    }

    fn run(&self) {
        while !self.stop.load(Ordering::Acquire) {
            // Cleared before the look: an order that comes during it leaves a token that ends the next sleep at once.
            self.env.wake.0.woken.store(false, Ordering::Release);
            match self.pump(self.env.clock.now_us()) {
                Wish::Soon => thread::park_timeout(TICK),
                Wish::At(at_us) => {
                    let now = self.env.clock.now_us();
                    thread::park_timeout(Duration::from_micros(at_us.saturating_sub(now).max(200)));
                }
                Wish::Never => thread::park(),
            }
        }
    }

    /// One look at every track; then everything that is to be said is said. `[control]`
    pub(super) fn pump(&self, now: u64) -> Wish {
        let mut inner = lock(&self.inner);
        let wish = inner.pump(&self.cfg, now);
        let said = std::mem::take(&mut inner.outbox);
        drop(inner);
        for event in said {
            (self.events)(event);
        }
        wish
    }

    /// An order: under the lock, with the time, and the feeder is woken afterwards.
    fn order(&self, act: impl FnOnce(&mut Inner, u64)) {
        let now = self.env.clock.now_us();
        act(&mut lock(&self.inner), now);
        self.env.wake.wake();
    }

    pub(super) fn engine(&self, output: Output, control: Control, rate: u32, latency_frames: u32) {
        let rate = rate.max(1);
        self.order(|inner, now| {
            inner.lose(output, now);
            inner.convert(output, rate, &self.env.pool);
            let stats = control.stats();
            let port = inner.port(output);
            port.engine = Some((control, stats));
            port.rate = rate;
            port.latency_us = samples_to_us(latency_frames.into(), rate);
        });
    }

    pub(super) fn period(&self, output: Output, frames: u32) {
        self.order(|inner, _| inner.port(output).period = frames);
    }

    pub(super) fn lost(&self, output: Output) {
        self.order(|inner, now| inner.lose(output, now));
    }

    pub(super) fn latency(&self, output: Output, frames: u32) {
        self.order(|inner, _| {
            let port = inner.port(output);
            port.latency_us = samples_to_us(frames.into(), port.rate);
        });
    }

    pub(super) fn rate(&self, output: Output) -> u32 {
        lock(&self.inner).port(output).rate
    }

    pub(super) fn stats(&self, output: Output) -> Option<StatsHandle> {
        let mut inner = lock(&self.inner);
        let engine = inner.port(output).engine.as_ref();
        engine.map(|(_, stats)| stats.clone())
    }

    pub(super) fn warm(&self, output: Output, in_rates: &[u32]) {
        let rate = self.rate(output);
        for in_rate in in_rates.iter().filter(|r| **r > 0) {
            self.env.pool.warm(*in_rate, rate);
        }
    }

    pub(super) fn open_track(&self, track: u64, output: Output) {
        self.order(|inner, _| {
            let new = || Track::new(track, output, self.cfg.look_ahead_us);
            inner.tracks.entry(track).or_insert_with(new);
        });
    }

    pub(super) fn tap(&self, track: u64, taps: Taps) {
        self.order(|inner, _| {
            if let Some(track) = inner.tracks.get_mut(&track) {
                track.tap(taps);
            }
        });
    }

    pub(super) fn untap(&self, track: u64) {
        self.order(|inner, _| {
            if let Some(track) = inner.tracks.get_mut(&track) {
                track.untap();
            }
        });
    }

    pub(super) fn close_track(&self, track: u64) {
        self.order(|inner, now| {
            if let Some(mut track) = inner.tracks.remove(&track) {
                let mut out = Out::default();
                track.close(now, &mut out);
                inner.apply(out);
            }
        });
    }

    pub(super) fn store(&self, utterance: u64, output: Output) -> StoreWriter {
        let mut inner = lock(&self.inner);
        let store = inner.store(utterance, output);
        StoreWriter::new(utterance, store, self.env.clone())
    }

    pub(super) fn watch(&self, utterance: u64, output: Output, at_us: u64) {
        lock(&self.inner).store(utterance, output).watch(at_us);
    }

    #[cfg(test)]
    pub(super) fn peek(&self, utterance: u64) -> Arc<Store> {
        lock(&self.inner).store(utterance, Output::Local)
    }

    pub(super) fn play(&self, track: u64, utterance: NonZeroU64) {
        self.order(|inner, _| inner.play(track, utterance, &self.env.pool));
    }

    pub(super) fn cut(&self, utterance: u64, fade_us: u32) {
        self.order(|inner, now| inner.cut(utterance, fade_us, 1, now));
    }

    pub(super) fn pause(&self, track: u64, fade_us: u32) {
        self.order(|inner, now| {
            let mut out = Out::default();
            if let Some(track) = inner.tracks.get_mut(&track) {
                track.pause(fade_us, now, &mut out);
            }
            inner.apply(out);
        });
    }

    pub(super) fn resume(&self, track: u64) {
        self.order(|inner, _| {
            if let Some(track) = inner.tracks.get_mut(&track) {
                track.resume();
            }
        });
    }

    pub(super) fn gain(&self, track: u64, linear: f32, ramp_us: u32) {
        self.order(|inner, _| {
            if let Some(track) = inner.tracks.get_mut(&track) {
                track.gain(linear, ramp_us);
            }
        });
    }

    pub(super) fn forget(&self, utterance: u64) {
        self.order(|inner, now| {
            let known = inner.utterances.get(&utterance);
            if known.is_some_and(|u| !matches!(u.state, State::Over(_))) {
                inner.cut(utterance, FORGET_FADE_US, 0, now);
            }
            inner.utterances.remove(&utterance);
            inner.forgotten.add(utterance);
        });
    }

    pub(super) fn shutdown(&self) {
        self.stop.store(true, Ordering::Release);
        self.order(|inner, now| {
            for mut track in std::mem::take(&mut inner.tracks).into_values() {
                let mut out = Out::default();
                track.close(now, &mut out);
                inner.apply(out);
            }
            for utterance in inner.utterances.values() {
                if let State::Waiting(store) | State::On(_, store) = &utterance.state {
                    store.cut();
                }
            }
        });
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the feeder had panicked");
        }
    }
}

impl Inner {
    fn port(&mut self, output: Output) -> &mut Port {
        match output {
            Output::Local => &mut self.local,
            Output::Null => &mut self.null,
        }
    }

    fn pump(&mut self, cfg: &TxConfig, now: u64) -> Wish {
        for output in [Output::Local, Output::Null] {
            let engine = &mut self.port(output).engine;
            let gone = engine.as_ref().is_some_and(|(c, _)| c.is_abandoned());
            if let Some((control, _)) = engine {
                control.collect();
            }
            if gone {
                self.lose(output, now);
            }
        }
        let mut out = Out::default();
        let mut wish = Wish::Never;
        for track in self.tracks.values_mut() {
            let port = match track.output {
                Output::Local => &mut self.local,
                Output::Null => &mut self.null,
            };
            let ring_us = port.ring_us(cfg);
            let engine = port.engine.as_mut().map(|(control, stats)| Engine {
                control,
                stats,
                rate: port.rate,
                latency_us: port.latency_us,
                ring_us,
            });
            wish = wish.min(track.pump(engine, now, &mut out));
        }
        self.apply(out);
        wish
    }

    fn apply(&mut self, out: Out) {
        for (id, played_us) in out.done {
            if let Some(utterance) = self.utterances.get_mut(&id) {
                utterance.state = State::Over(played_us);
            }
        }
        self.outbox.extend(out.events);
    }

    fn store(&mut self, id: u64, output: Output) -> Arc<Store> {
        let rate = self.port(output).rate;
        let dead = self.forgotten.ids.contains(&id);
        if let (false, None) = (dead, self.utterances.get(&id)) {
            let state = State::Waiting(Arc::new(Store::new(rate)));
            self.utterances.insert(id, Utterance { output, state });
        }
        match self.utterances.get(&id).map(|u| &u.state) {
            Some(State::Waiting(store) | State::On(_, store)) => Arc::clone(store),
            Some(State::Over(_)) | None => {
                let closed = Store::new(rate);
                closed.cut();
                Arc::new(closed)
            }
        }
    }

    fn play(&mut self, track_id: u64, id: NonZeroU64, pool: &Pool) {
        let Some(output) = self.tracks.get(&track_id).map(|t| t.output) else {
            tracing::warn!(track = track_id, utterance = id, "no such track to play on");
            return;
        };
        let store = self.store(id.get(), output);
        let rate = self.port(output).rate;
        let (Some(track), Some(utterance)) = (self.tracks.get_mut(&track_id), self.utterances.get_mut(&id.get())) else {
            return;
        };
        if let State::Waiting(_) = utterance.state {
            if utterance.output != output {
                store.convert(rate, pool);
                utterance.output = output;
            }
            utterance.state = State::On(track_id, Arc::clone(&store));
            track.play(id, store);
        }
    }

    fn cut(&mut self, id: u64, fade_us: u32, answers: u32, now: u64) {
        let mut out = Out::default();
        let mut answer = |played_us| {
            for _ in 0..answers {
                out.events.push(TxEvent::Cut {
                    utterance: id,
                    played_us,
                    silent_at_us: now,
                });
            }
        };
        match self.utterances.get_mut(&id) {
            None => {
                // Never heard of; should it still come, it is not wanted.
                self.forgotten.add(id);
                answer(0);
            }
            Some(utterance) => match &utterance.state {
                State::Over(played_us) => answer(*played_us),
                State::Waiting(store) => {
                    store.cut();
                    utterance.state = State::Over(0);
                    answer(0);
                }
                State::On(track, _) => match self.tracks.get_mut(track) {
                    Some(track) => track.cut(id, fade_us, answers, now, &mut out),
                    None => answer(0),
                },
            },
        }
        self.apply(out);
    }

    fn lose(&mut self, output: Output, now: u64) {
        let port = self.port(output);
        port.engine = None;
        let (rate, latency_us) = (port.rate, port.latency_us);
        let mut out = Out::default();
        for track in self.tracks.values_mut().filter(|t| t.output == output) {
            track.lose_lane(rate, latency_us, now, &mut out);
        }
        self.apply(out);
    }

    /// Brings every store of this output to `rate`; none of them is on a lane.
    fn convert(&mut self, output: Output, rate: u32, pool: &Pool) {
        let before = self.port(output).rate;
        if before == rate {
            return;
        }
        for utterance in self.utterances.values().filter(|u| u.output == output) {
            if let State::Waiting(store) | State::On(_, store) = &utterance.state {
                store.convert(rate, pool);
            }
        }
        for track in self.tracks.values_mut().filter(|t| t.output == output) {
            track.rescale(before, rate);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
