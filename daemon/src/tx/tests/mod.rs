//! The sound path against the real renderer, in virtual time: periods are rendered and the feeder is pumped by hand.
#![allow(clippy::unwrap_used)]

mod cut;
mod engines;
mod play;
mod random;
mod rest;
mod threads;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::clock::Clock;
use super::feeder::Shared;
use super::*;
use utterd_rt::Renderer;

pub(super) const RATE: u32 = 48_000;
const PERIOD: usize = 480;

/// A Tx, the renderer behind its local output, and an ear.
pub(super) struct Rig {
    pub(super) tx: Tx,
    clock: Arc<AtomicU64>,
    renderer: Option<Renderer>,
    rate: u32,
    /// Frames at 48 kHz.
    period: usize,
    /// Everything that was rendered.
    pub(super) heard: Vec<f32>,
    said: Arc<Mutex<Vec<TxEvent>>>,
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig::with(TxConfig::default())
    }

    pub(super) fn with(cfg: TxConfig) -> Rig {
        let clock = Arc::new(AtomicU64::new(1_000_000));
        let said = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&said);
        let shared = Shared::by_hand(
            cfg,
            Clock::Manual(Arc::clone(&clock)),
            Box::new(move |event| sink.lock().unwrap().push(event)),
        );
        let mut rig = Rig {
            tx: Tx { shared },
            clock,
            renderer: None,
            rate: RATE,
            period: PERIOD,
            heard: Vec::new(),
            said,
        };
        rig.tx.open_track(1, Output::Local);
        rig.engine(RATE, 0);
        rig
    }

    pub(super) fn engine(&mut self, rate: u32, latency_frames: u32) {
        let (control, renderer) = utterd_rt::engine(rate);
        self.tx.engine(Output::Local, control, rate, latency_frames);
        self.renderer = Some(renderer);
        self.rate = rate;
        self.pump();
    }

    /// The server dies.
    pub(super) fn lose(&mut self) {
        self.renderer = None;
        self.tx.lost(Output::Local);
        self.pump();
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.load(Ordering::Acquire)
    }

    pub(super) fn pump(&self) {
        self.tx.shared.pump(self.now());
    }

    /// From now on a period is so long.
    pub(super) fn set_period(&mut self, frames: usize) {
        self.period = frames;
        self.tx.period(Output::Local, frames as u32);
    }

    /// One period (10 ms, unless set otherwise): fed, rendered (if there is a renderer), listened to.
    pub(super) fn period(&mut self) {
        self.pump();
        let frames = self.period * self.rate as usize / RATE as usize;
        if let Some(renderer) = &mut self.renderer {
            let start = self.heard.len();
            self.heard.resize(start + frames, 9.0);
            renderer.render(&mut self.heard[start..], self.clock.load(Ordering::Acquire));
        }
        let us = self.period as u64 * 1_000_000 / u64::from(RATE);
        self.clock.fetch_add(us, Ordering::AcqRel);
        self.pump();
    }

    pub(super) fn run_ms(&mut self, ms: u64) {
        for _ in 0..(ms * u64::from(RATE) / 1_000).div_ceil(self.period as u64) {
            self.period();
        }
    }

    /// Stores a whole utterance at the present rate.
    pub(super) fn store(&self, utterance: u64, samples: &[f32]) {
        let mut writer = self.tx.store(utterance, Output::Local);
        writer.set_blocking(false);
        writer.begin_piece(self.rate, 1.0);
        // A cut utterance refuses, which is what some tests want.
        if writer.write(samples).is_ok() {
            writer.end_piece();
        }
        writer.finish();
    }

    /// Stores and plays.
    pub(super) fn say(&self, utterance: u64, samples: &[f32]) {
        self.store(utterance, samples);
        self.tx.play(1, utterance);
    }

    pub(super) fn events(&self) -> Vec<TxEvent> {
        self.said.lock().unwrap().clone()
    }

    pub(super) fn take_events(&self) -> Vec<TxEvent> {
        std::mem::take(&mut *self.said.lock().unwrap())
    }

    pub(super) fn cuts(&self, utterance: u64) -> Vec<(u64, u64)> {
        self.events()
            .iter()
            .filter_map(|e| match e {
                TxEvent::Cut {
                    utterance: u,
                    played_us,
                    silent_at_us,
                } if *u == utterance => Some((*played_us, *silent_at_us)),
                _ => None,
            })
            .collect()
    }

    pub(super) fn ended(&self, utterance: u64) -> Vec<u64> {
        self.events()
            .iter()
            .filter_map(|e| match e {
                TxEvent::Ended {
                    utterance: u, played_us, ..
                } if *u == utterance => Some(*played_us),
                _ => None,
            })
            .collect()
    }

    /// What was heard without the silence before and after.
    pub(super) fn sound(&self) -> &[f32] {
        let first = self.heard.iter().position(|s| *s != 0.0);
        let last = self.heard.iter().rposition(|s| *s != 0.0);
        match (first, last) {
            (Some(first), Some(last)) => &self.heard[first..=last],
            _ => &[],
        }
    }
}

/// A signal without a zero and without two samples alike nearby.
pub(super) fn signal(seed: u32, samples: usize) -> Vec<f32> {
    let mut x = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    (0..samples)
        .map(|_| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 8) as f32 / 16_777_216.0 * 0.5 + 0.01
        })
        .collect()
}

pub(super) fn sine(rate: u32, hz: f64, samples: usize) -> Vec<f32> {
    (0..samples)
        .map(|i| (std::f64::consts::TAU * hz * i as f64 / f64::from(rate)).sin() as f32 * 0.5)
        .collect()
}

pub(super) fn word(sample: u64, char_start: u32) -> PieceMark {
    PieceMark {
        kind: MarkKind::Word,
        sample,
        char_start,
        char_end: char_start + 3,
        name: String::new(),
    }
}
