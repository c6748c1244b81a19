//! One recording after the other through one detector and the two-phase policy, chunk by chunk.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use utterd_core::hearing::{BargeInPolicy, Finding, Pace, Paced, Policy, PolicySettings, Situation, Verdict};

use super::wav::Recording;
use crate::plugins::{Detector, DetectorInput, DetectorStream, DetectorStreamSpec, InputFlags};
use crate::tx::resample::{Pool, Resampler};

/// Rates at which detectors are used.
const RATES: [u32; 3] = [8_000, 16_000, 48_000];

/// Judges recordings.
pub(super) struct Judge<'a> {
    detector: &'a Arc<Detector>,
    id: Arc<str>,
    settings: PolicySettings,
    /// One a rate; reset for each recording.
    streams: BTreeMap<u32, DetectorStream>,
    pool: Pool,
}

/// What there was to judge.
pub(super) struct Judged {
    /// As far as it was heard.
    pub(super) audio_ms: f64,
    /// Of this thread, reading the file not included.
    pub(super) cpu_ms: f64,
    /// When its detector first fired faster than people speak, so that not all it found was taken.
    pub(super) paced_ms: Option<f64>,
    /// Why the detector was given up, if it was.
    pub(super) given_up: Option<String>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(detector: &'a Arc<Detector>, settings: PolicySettings) -> Self {
        Self {
            detector,
            id: detector.id().into(),
            settings,
            streams: BTreeMap::new(),
            pool: Pool::default(),
        }
    }

    /// Hears one recording to its end; `tell` is told each verdict as it falls, with the audio consumed by then.
    pub(super) fn hear(&mut self, recording: &mut Recording, tell: &mut dyn FnMut(f64, &'static str)) -> Result<Judged, String> {
        let from = recording.rate();
        let rate = self.rate_for(from);
        let chunk = |rate: u32| (rate as usize / if rate <= 8_000 { 50 } else { 100 }).max(1);
        let frame = chunk(rate);
        let mut hearing = Hearing {
            stream: stream(&mut self.streams, self.detector, self.settings.policy, rate, frame)?,
            detector: Arc::clone(&self.id),
            policy: Policy::new(self.settings),
            rate,
            t: 0,
            faults: 0,
            pace: Pace::new(),
            paced_ms: None,
        };
        let speaking = Situation {
            active: true,
            protected: false,
        };
        hearing.policy.situation(0, speaking);
        let (mut far, mut near) = (Vec::new(), Vec::new());
        let mut ends = [&far, &near].map(|_| (Resampler::new(&self.pool, from, rate), Vec::new()));
        let (mut consumed, mut cpu_ns) = (0u64, 0);
        loop {
            recording.read(chunk(from), &mut far, &mut near);
            let begin = cpu();
            consumed += near.len() as u64;
            let last = near.is_empty();
            for ((resampler, ready), samples) in ends.iter_mut().zip([&far, &near]) {
                if last {
                    std::mem::replace(resampler, Resampler::new(&self.pool, rate, rate)).finish(ready);
                } else {
                    resampler.push(samples, ready);
                }
            }
            let [(_, far), (_, near)] = &mut ends;
            let now = Now { consumed, rate: from };
            let mut given_up = None;
            while given_up.is_none() && (near.len() >= frame || (last && !near.is_empty())) {
                let n = frame.min(near.len());
                given_up = hearing.frame(now, &far[..n], &near[..n], tell).err();
                far.drain(..n);
                near.drain(..n);
            }
            if given_up.is_some() {
                // What it suspected no longer holds.
                hearing.judge(now, tell, |policy, _| policy.lost());
            }
            cpu_ns += cpu() - begin;
            if last || given_up.is_some() {
                let judged = Judged {
                    audio_ms: now.ms(),
                    cpu_ms: (cpu_ns / 1_000) as f64 / 1e3,
                    paced_ms: hearing.paced_ms,
                    given_up,
                };
                if judged.given_up.is_some() {
                    // It may be spoilt: the next recording is heard by a new one.
                    self.streams.remove(&rate);
                }
                return Ok(judged);
            }
        }
    }

    /// The rate at which a recording of `rate` is heard: its own where it can be, else the nearest.
    fn rate_for(&self, rate: u32) -> u32 {
        let own = self.detector.info().rates.as_slice();
        let taken: Vec<u32> = RATES.into_iter().filter(|r| self.detector.takes(*r)).collect();
        let choice = if taken.is_empty() { own } else { &taken };
        let far = |r: &&u32| (f64::from(**r) / f64::from(rate)).ln().abs();
        choice.iter().min_by(|a, b| far(a).total_cmp(&far(b))).copied().unwrap_or(rate)
    }
}

/// The stream for a rate, as new.
fn stream<'a>(
    streams: &'a mut BTreeMap<u32, DetectorStream>,
    detector: &Arc<Detector>,
    policy: BargeInPolicy,
    rate: u32,
    frame: usize,
) -> Result<&'a mut DetectorStream, String> {
    match streams.entry(rate) {
        Entry::Occupied(known) => {
            let known = known.into_mut();
            known.reset();
            Ok(known)
        }
        Entry::Vacant(free) => {
            let spec = DetectorStreamSpec {
                session: 1,
                rate,
                frame,
                language: "",
                one_stage: policy == BargeInPolicy::CancelAtOnce,
            };
            Ok(free.insert(detector.open(spec).map_err(|e| e.to_string())?))
        }
    }
}

/// How much was consumed: the one clock.
#[derive(Clone, Copy)]
struct Now {
    consumed: u64,
    rate: u32,
}

impl Now {
    fn us(self) -> u64 {
        us(self.consumed, self.rate)
    }

    fn ms(self) -> f64 {
        self.us() as f64 / 1e3
    }
}

fn us(samples: u64, rate: u32) -> u64 {
    (u128::from(samples) * 1_000_000 / u128::from(rate.max(1))) as u64
}

/// One recording on its way.
struct Hearing<'a> {
    stream: &'a mut DetectorStream,
    detector: Arc<str>,
    policy: Policy,
    rate: u32,
    t: u64,
    faults: u32,
    pace: Pace,
    paced_ms: Option<f64>,
}

impl Hearing<'_> {
    /// `Err`: the detector is given up, as the daemon gives it up.
    fn frame(&mut self, now: Now, far: &[f32], near: &[f32], tell: &mut dyn FnMut(f64, &'static str)) -> Result<(), String> {
        let input = DetectorInput {
            t: self.t,
            near,
            far: Some(far),
            flags: InputFlags {
                ai_speaking: true,
                ..InputFlags::default()
            },
            ..DetectorInput::default()
        };
        let heard = self.stream.process(input, None);
        self.t += near.len() as u64;
        self.judge(now, tell, |policy, now| policy.tick(now));
        let heard = match heard {
            Ok(heard) => heard,
            Err(fault) => {
                self.faults += 1;
                return if fault.is_fatal(self.faults) {
                    Err(self.trouble(now, fault))
                } else {
                    Ok(())
                };
            }
        };
        for kind in heard.kinds() {
            match self.pace.take(now.us(), kind) {
                Paced::Pass => {}
                Paced::Drop { .. } => {
                    self.paced_ms.get_or_insert(now.ms());
                    continue;
                }
                Paced::GiveUp => return Err(self.trouble(now, "it fires constantly")),
            }
            let finding = Finding {
                kind,
                at_us: us(heard.t_event, self.rate),
                probability: heard.prob,
                confidence: heard.confidence,
                detector: Arc::clone(&self.detector),
            };
            self.judge(now, tell, |policy, now| policy.heard(now, &finding));
        }
        Ok(())
    }

    fn trouble(&self, now: Now, why: impl Display) -> String {
        format!("at {:.0} ms: {}: {why}", now.ms(), self.detector)
    }

    fn judge(&mut self, now: Now, tell: &mut dyn FnMut(f64, &'static str), ask: impl FnOnce(&mut Policy, u64) -> Option<Verdict>) {
        let paused = self.policy.is_suspecting();
        match ask(&mut self.policy, now.us()) {
            // Suspected again while it is paused: only its time begins anew.
            Some(Verdict::Suspected) if paused => {}
            Some(Verdict::Suspected) => tell(now.ms(), "suspected"),
            Some(Verdict::Confirmed) => tell(now.ms(), "barge_in"),
            Some(Verdict::False) => tell(now.ms(), "false"),
            None => {}
        }
    }
}

fn cpu() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
