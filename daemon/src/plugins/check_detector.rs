//! The conformance suite of detectors: what `check_suite.rs` is for voices. Times are of the thread, not of the clock on the wall, so that a busy
//! machine does not spoil them.

use std::sync::Arc;

use super::check_suite::Check;
use super::{Detector, DetectorInput, DetectorOutput, DetectorStream, DetectorStreamSpec, InputFlags};

/// Where a detector that names no rates is tried.
const RATES: [u32; 3] = [8_000, 16_000, 48_000];
/// A hard-real-time detector's p99, by the ABI, and from where it is no longer the machine's fault.
const HARD_RT_US: f64 = 200.0;
const HOPELESS_US: f64 = 10.0 * HARD_RT_US;

/// Tries everything.
pub(super) fn run(check: &mut Check<'_>, detector: &Arc<Detector>, allocations: Option<fn() -> u64>) {
    let rates = if detector.info().rates.is_empty() {
        RATES.to_vec()
    } else {
        detector.info().rates.clone()
    };
    check("says what it hears", &mut || Ok(described(detector)));
    check("hears nothing in silence", &mut || {
        for rate in &rates {
            for frame in [rate / 100, rate / 50] {
                let mut stream = Tried::open(detector, *rate, frame as usize)?;
                let heard = stream.hear(Sound::Silence, Sound::Silence, 200)?;
                if let Some(told) = heard.iter().find(|h| h.events != 0) {
                    return Err(format!("{rate} Hz: {told:?}"));
                }
            }
        }
        Ok(format!("at {rates:?} Hz"))
    });
    check("hears anything", &mut || {
        let mut events = 0;
        for rate in &rates {
            let mut stream = Tried::open(detector, *rate, *rate as usize / 50)?;
            for sound in Sound::ALL {
                for far in [Sound::Silence, Sound::Noise, sound] {
                    events += stream.hear(sound, far, 100)?.iter().filter(|h| h.events != 0).count();
                }
            }
        }
        Ok(format!("{events} events"))
    });
    check("takes any number of samples", &mut || {
        let mut stream = Tried::open(detector, rates[0], rates[0] as usize / 50)?;
        for n in [0, 1, 7, 33, 0, stream.frame, stream.frame - 1] {
            stream.hear_frames(Sound::Noise, Sound::Noise, 5, n)?;
        }
        Ok(String::new())
    });
    check("takes a far end that is not there, gaps and losses", &mut || {
        let mut stream = Tried::open(detector, rates[0], rates[0] as usize / 50)?;
        for (lost, gap, far) in [(0, false, false), (480, true, false), (u32::MAX, true, true), (1, false, true)] {
            stream.t += u64::from(lost);
            let near = Sound::Noise.samples(stream.frame, stream.t);
            let flags = InputFlags {
                gap,
                muted: gap,
                protected: true,
                ai_speaking: true,
            };
            let input = DetectorInput {
                t: stream.t,
                near: &near,
                far: far.then_some(&near[..]),
                far_delay: -500,
                lost,
                flags,
            };
            stream.inner.process(input, None).map_err(|e| e.to_string())?;
            stream.t += stream.frame as u64;
        }
        Ok(String::new())
    });
    check("is as new after a reset", &mut || {
        let mut stream = Tried::open(detector, rates[0], rates[0] as usize / 50)?;
        let first = stream.hear(Sound::Words, Sound::Noise, 150)?;
        stream.inner.reset();
        stream.t = 0;
        same(&first, &stream.hear(Sound::Words, Sound::Noise, 150)?)
    });
    check("keeps its streams apart", &mut || {
        let open = || Tried::open(detector, rates[0], rates[0] as usize / 50);
        let alone = open()?.hear(Sound::Words, Sound::Silence, 150)?;
        let (mut one, mut other, mut both) = (open()?, open()?, Vec::new());
        for _ in 0..150 {
            both.extend(one.hear(Sound::Words, Sound::Silence, 1)?);
            other.hear(Sound::Noise, Sound::Words, 1)?;
        }
        same(&alone, &both)
    });
    check("can be opened and closed again and again", &mut || {
        for _ in 0..100 {
            Tried::open(detector, rates[0], rates[0] as usize / 100)?.hear(Sound::Noise, Sound::Noise, 2)?;
        }
        Ok(String::new())
    });
    check("is quick, and allocates nothing if it says so", &mut || {
        let mut worst = Vec::new();
        for rate in &rates {
            worst.push(timed(detector, *rate, allocations)?);
        }
        Ok(worst.join(", "))
    });
    check("mends nothing", &mut || {
        let counts = detector.counts();
        match (counts.mended, counts.faults) {
            (0, 0) => Ok(String::new()),
            _ => Err(format!("the host had to: {counts:?}")),
        }
    });
}

fn described(detector: &Detector) -> String {
    let info = detector.info();
    let words = [
        (info.hard_rt, "hard real-time"),
        (info.needs_far, "needs the far end"),
        (info.cleans, "cleans"),
    ];
    let words: Vec<_> = words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    match (info.rates.is_empty(), words.is_empty()) {
        (true, true) => "any rate".into(),
        (true, false) => format!("any rate, {}", words.join(", ")),
        (false, _) => [
            vec![format!("{:?} Hz", info.rates)],
            words.iter().map(|w| (*w).to_owned()).collect(),
        ]
        .concat()
        .join(", "),
    }
}

fn same(one: &[DetectorOutput], other: &[DetectorOutput]) -> Result<String, String> {
    match one.iter().zip(other).position(|(a, b)| a != b) {
        None => Ok(format!("{} frames", one.len())),
        Some(n) => Err(format!("frame {n}: {:?}, then {:?}", one[n], other[n])),
    }
}

/// Twenty seconds of talk: what a frame took, and that it allocated nothing.
fn timed(detector: &Arc<Detector>, rate: u32, allocations: Option<fn() -> u64>) -> Result<String, String> {
    let frame = rate as usize / if rate <= 8_000 { 50 } else { 100 };
    let mut stream = Tried::open(detector, rate, frame)?;
    let (mut took, mut taken) = (Vec::with_capacity(4_096), 0);
    let mut clean = vec![0.0; frame];
    for n in 0..20 * rate as usize / frame {
        let (near, far) = (Sound::Words.samples(frame, stream.t), Sound::Noise.samples(frame, stream.t));
        let input = stream.input(&near, &far);
        let (before, begin) = (allocations.map(|calls| calls()), cpu_us());
        let result = stream.inner.process(input, detector.cleans().then_some(&mut clean));
        let (after, end) = (allocations.map(|calls| calls()), cpu_us());
        result.map_err(|e| e.to_string())?;
        took.push(end - begin);
        // The first frame may bind and warm what it likes.
        taken += if n == 0 { 0 } else { after.unwrap_or(0) - before.unwrap_or(0) };
        stream.t += frame as u64;
    }
    took.sort_by(f64::total_cmp);
    let (p99, mean) = (took[took.len() * 99 / 100], took.iter().sum::<f64>() / took.len() as f64);
    let share = 100.0 * mean / (frame as f64 * 1e6 / f64::from(rate));
    let told = format!(
        "{rate} Hz: p99 {p99:.0} µs, max {:.0} µs, {share:.2} % of a core",
        took[took.len() - 1]
    );
    if detector.hard_rt() && taken > 0 {
        return Err(format!("{told}, and {taken} calls to the allocator in {} frames", took.len()));
    }
    if detector.hard_rt() && p99 > HOPELESS_US {
        return Err(format!("{told}; hard real-time is p99 < {HARD_RT_US} µs"));
    }
    Ok(told)
}

fn cpu_us() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

/// A stream and how far it is.
struct Tried {
    inner: DetectorStream,
    frame: usize,
    t: u64,
}

impl Tried {
    fn open(detector: &Arc<Detector>, rate: u32, frame: usize) -> Result<Self, String> {
        let spec = DetectorStreamSpec {
            session: 1,
            rate,
            frame,
            ..DetectorStreamSpec::default()
        };
        let inner = detector
            .open(spec)
            .map_err(|e| format!("{rate} Hz, {frame} samples a frame: {e}"))?;
        Ok(Self { inner, frame, t: 0 })
    }

    fn input<'a>(&self, near: &'a [f32], far: &'a [f32]) -> DetectorInput<'a> {
        DetectorInput {
            t: self.t,
            near,
            far: Some(far),
            flags: InputFlags {
                ai_speaking: true,
                ..InputFlags::default()
            },
            ..DetectorInput::default()
        }
    }

    fn hear(&mut self, near: Sound, far: Sound, frames: usize) -> Result<Vec<DetectorOutput>, String> {
        self.hear_frames(near, far, frames, self.frame)
    }

    fn hear_frames(&mut self, near: Sound, far: Sound, frames: usize, n: usize) -> Result<Vec<DetectorOutput>, String> {
        let hear = |_| {
            let (near, far) = (near.samples(n, self.t), far.samples(n, self.t));
            let input = self.input(&near, &far);
            let heard = self
                .inner
                .process(input, None)
                .map_err(|e| format!("{n} samples at {}: {e}", self.t));
            self.t += n as u64;
            heard
        };
        (0..frames).map(hear).collect()
    }
}

/// What is heard.
#[derive(Clone, Copy)]
enum Sound {
    Silence,
    Noise,
    /// Bursts of a buzz with a falling pitch, about as long as words.
    Words,
    Constant,
    Square,
    Clicks,
    Tiny,
}

impl Sound {
    const ALL: [Self; 7] = [
        Self::Silence,
        Self::Noise,
        Self::Words,
        Self::Constant,
        Self::Square,
        Self::Clicks,
        Self::Tiny,
    ];

    fn samples(self, n: usize, t: u64) -> Vec<f32> {
        (t..t + n as u64).map(|t| self.at(t)).collect()
    }

    fn at(self, t: u64) -> f32 {
        match self {
            Self::Silence => 0.0,
            Self::Noise => 0.1 * chance(t),
            Self::Words => {
                let of = t % 9_000;
                let loud = if of < 6_000 { 0.3 } else { 0.0 };
                loud * ((of % (60 + of / 300)) as f32 / 60.0 - 0.5) + 0.001 * chance(t)
            }
            Self::Constant => 1.0,
            Self::Square => {
                if (t / 20).is_multiple_of(2) {
                    1.0
                } else {
                    -1.0
                }
            }
            Self::Clicks => {
                if t.is_multiple_of(4_000) {
                    1.0
                } else {
                    0.0
                }
            }
            Self::Tiny => f32::MIN_POSITIVE * chance(t),
        }
    }
}

/// -1 … 1, the same for the same place.
fn chance(t: u64) -> f32 {
    let mut z = t.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((z ^ (z >> 29)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}
