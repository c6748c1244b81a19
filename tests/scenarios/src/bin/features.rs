//! Training data: what the detector's front end sees of scenarios, one row every 10 ms, with labels.
//!
//! usage: features CORPUS SPLIT FIRST_SEED SCENARIOS OUT [--plain|--alone|--crowded|--bothered]
//!
//! OUT gets, per scenario, `FRAMES` rows of `FEATURES + 4` little-endian half floats: the features, then user speech (0 or 1),
//! backchannel, frames since the user's onset (capped), and the kind of scenario.

use std::io::Write;
use std::path::Path;
use utterd_detector_bargein::training::{FEATURES, Probe};
use utterd_scenarios::corpus::Corpus;
use utterd_scenarios::dice::Dice;
use utterd_scenarios::make::{KINDS, Manner, Purpose, Recipe, make};
use utterd_scenarios::tracks::kind;

const FRAMES: usize = 1_000;
const BOTHERS: [&str; 8] = ["effect", "effect", "effect", "music", "music", "talker", "interrupt", "interrupt"];

fn main() -> Result<(), String> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let manner = match args.pop_if(|last| last.starts_with("--")).as_deref() {
        None => Manner::Rough,
        Some("--plain") => Manner::Plain,
        Some("--alone") => Manner::Alone,
        Some("--crowded") => Manner::Crowded,
        Some("--bothered") => Manner::Bothered,
        Some(other) => return Err(format!("{other}: --plain, --alone, --crowded, --bothered or none")),
    };
    let [corpus, split, first, count, out] = &args[..] else {
        return Err("usage: features CORPUS SPLIT FIRST_SEED SCENARIOS OUT [--plain|--alone|--crowded|--bothered]".into());
    };
    let number = |s: &str| s.parse::<u64>().map_err(|e| format!("{s}: {e}"));
    let (first, count) = (number(first)?, number(count)?);
    let corpus = Corpus::load(Path::new(corpus), split)?;
    let mut file = std::io::BufWriter::new(std::fs::File::create(out).map_err(|e| format!("{out}: {e}"))?);
    for seed in first..first + count {
        let mut dice = Dice::new(seed ^ 0xabcd);
        let kind = match manner {
            Manner::Alone | Manner::Crowded => kind(&mut dice),
            Manner::Bothered => BOTHERS[dice.below(BOTHERS.len())],
            Manner::Plain | Manner::Rough => KINDS[dice.below(KINDS.len())],
        };
        let recipe = Recipe {
            kind,
            rate: *dice.pick(&[8_000, 8_000, 16_000, 16_000, 16_000]),
            length_ms: FRAMES as f32 * 10.0,
            purpose: Purpose::Training(manner),
        };
        let scenario = make(&recipe, &corpus, seed);
        let mut probe = Probe::new(scenario.rate);
        let mut rows: Vec<u8> = Vec::with_capacity(FRAMES * (FEATURES + 4) * 2);
        let mut frame = 0;
        let far = dice.chance(0.97).then_some(&scenario.far[..]);
        probe.feed(&scenario.near, far, None, |features, _| {
            let now = (frame + 1) as f32 * 10.0;
            let inside = |s: &[(f32, f32)]| s.iter().any(|(a, b)| now > *a && now - 10.0 < *b);
            let since = scenario
                .user
                .iter()
                .filter(|(a, _)| now > *a)
                .map(|(a, _)| (now - a) / 10.0)
                .fold(999.0, f32::min);
            for value in features.iter().copied().chain([
                f32::from(inside(&scenario.user)),
                f32::from(inside(&scenario.backchannels)),
                since,
                KINDS.iter().position(|k| *k == kind).unwrap_or(0) as f32,
            ]) {
                rows.extend(half(value).to_le_bytes());
            }
            frame += 1;
        });
        rows.resize(FRAMES * (FEATURES + 4) * 2, 0);
        file.write_all(&rows).map_err(|e| format!("{out}: {e}"))?;
    }
    file.flush().map_err(|e| format!("{out}: {e}"))
}

/// To half precision, rounded toward zero.
fn half(x: f32) -> u16 {
    let bits = x.clamp(-60_000.0, 60_000.0).to_bits();
    let (sign, exponent, fraction) = ((bits >> 16 & 0x8000) as u16, (bits >> 23 & 0xff) as i32 - 112, bits & 0x7f_ffff);
    if exponent <= 0 {
        sign
    } else {
        sign | (exponent as u16) << 10 | (fraction >> 13) as u16
    }
}
