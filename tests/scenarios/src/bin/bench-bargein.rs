//! `make bench-bargein`: what the shipped detector reaches on voices, languages, music and noise that its training never heard,
//! against the Numbers, against itself without the far end, and against plain voice detectors on the same files.
//!
//! usage: bench-bargein CORPUS [--split test|tune] [--minutes N] [--seed N] [--erl-from DB] [--svg FILE] [--list] [--quick] [--sweep] [--draws N] [--model F16]
//! `--list` names the scenarios that went wrong; `--quick` leaves out the detector that does not know the far end. With `--sweep` thresholds are tried, one line each; that is for the tuning set.

use std::path::Path;
use utterd_core::hearing::Backchannel;
use utterd_detector_bargein::training::Thresholds;
use utterd_scenarios::corpus::Corpus;
use utterd_scenarios::dice::Dice;
use utterd_scenarios::make::Scenario;
use utterd_scenarios::roc::{self, Curve};
use utterd_scenarios::score::{Act, Score, Table, header, quantile, row};
use utterd_scenarios::tracks::{Heard, acts, at_once, draw, listen, two_phases};

struct Track {
    scenario: Scenario,
    heard: Heard,
    /// Without the far end.
    deaf: Heard,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|n| args.get(n + 1)).cloned();
    let number = |name: &str, or: f32| option(name).map_or(Ok(or), |s| s.parse::<f32>().map_err(|e| format!("{name} {s}: {e}")));
    let root = args
        .first()
        .filter(|a| !a.starts_with("--"))
        .ok_or("usage: bench-bargein CORPUS [options]")?;
    let (minutes, seed, erl_from) = (
        number("--minutes", 90.0)?,
        number("--seed", 1.0)? as u64,
        number("--erl-from", 10.0)?,
    );
    let split = option("--split").unwrap_or("test".into());
    let corpus = Corpus::load(Path::new(root), &split)?;
    let is_quick = args.iter().any(|a| a == "--quick");
    let is_sweep = args.iter().any(|a| a == "--sweep");
    let model = option("--model").map(std::fs::read).transpose()?;
    let model = model.as_deref();
    let (mut tracks, mut done) = (Vec::new(), 0.0);
    let mut cost = [(0.0f64, 0.0f64); 3];
    let mut cost_silent = cost;
    for n in 0.. {
        if done >= minutes {
            break;
        }
        let scenario = draw(&corpus, seed * 1_000_000 + n);
        if scenario.erl_db < erl_from {
            continue;
        }
        let seconds = scenario.near.len() as f64 / f64::from(scenario.rate);
        done += seconds as f32 / 60.0;
        let (heard, spent) = listen(&scenario, true, model);
        let class = match scenario.rate {
            8_000 => 0,
            16_000 => 1,
            _ => 2,
        };
        cost[class].0 += spent.as_secs_f64();
        cost[class].1 += seconds;
        let deaf = if is_sweep || is_quick {
            Vec::new()
        } else {
            let (heard, spent) = listen(&scenario, false, model);
            cost_silent[class].0 += spent.as_secs_f64();
            cost_silent[class].1 += seconds;
            heard
        };
        tracks.push(Track { scenario, heard, deaf });
    }
    println!(
        "{} scenarios, {done:.0} minutes, seed {seed}, {split} set, echo at ERL {erl_from} dB and above",
        tracks.len()
    );
    for (n, rate) in ["8", "16", "48"].iter().enumerate() {
        let share = |(spent, seconds): (f64, f64)| 100.0 * spent / seconds.max(1e-9);
        println!(
            "{rate} kHz: {:.2} % of a core while the agent speaks, {:.2} % while it is silent",
            share(cost[n]),
            share(cost_silent[n])
        );
    }
    if args.iter().any(|a| a == "--list") {
        list(&tracks);
    }
    if is_sweep {
        return sweep(&tracks, number("--draws", 600.0)? as usize);
    }
    categories(&tracks);
    peers(&tracks, option("--svg").as_deref())
}

/// The detector as shipped, by category, by rate and by echo.
fn categories(tracks: &[Track]) {
    let mut table = Table::new();
    for track in tracks {
        let acts = acts(
            &track.heard,
            track.scenario.rate,
            Thresholds::new(0.5, false),
            two_phases(Backchannel::Cancel),
        );
        let erl = match track.scenario.erl_db {
            e if e < 10.0 => "ERL < 10",
            e if e < 20.0 => "ERL 10-20",
            e if e < 40.0 => "ERL 20-30",
            _ => "no echo",
        };
        for name in [
            track.scenario.kind,
            "~all",
            &format!("~{} kHz", track.scenario.rate / 1_000),
            &format!("~{erl}"),
        ] {
            table.entry(name.to_string()).or_default().add(&track.scenario, &acts);
        }
    }
    println!("\n{}", header());
    for (name, score) in &table {
        println!("{}", row(name, score));
    }
    let resume = total(tracks, |t| {
        acts(
            &t.heard,
            t.scenario.rate,
            Thresholds::new(0.5, false),
            two_phases(Backchannel::Resume),
        )
    });
    println!("{}", row("backchannel=resume", &resume));
    if let Some(all) = table.get("~all") {
        println!(
            "a false pause lasts p50 {:.0}, p95 {:.0}, at most {:.0} ms",
            quantile(&all.false_pause_ms, 0.5),
            quantile(&all.false_pause_ms, 0.95),
            quantile(&all.false_pause_ms, 1.0)
        );
    }
}

/// What went wrong where, one line each.
fn list(tracks: &[Track]) {
    for Track { scenario: s, heard, .. } in tracks {
        let acts = acts(heard, s.rate, Thresholds::new(0.5, false), two_phases(Backchannel::Cancel));
        let mut score = Score::default();
        score.add(s, &acts);
        let late = score.pause_ms.iter().any(|t| *t > 200.0);
        if score.missed + score.false_cancels > 0 || late {
            println!(
                "{} {} Hz, missed {}, false cancels {}, pause {:?}: snr {:.0} erl {:.0} delay {:.0} jumps {:?} bent {:.1} noise {} speaker {} user {:?} others {:?} assent {:?} acts {acts:?}",
                s.kind,
                s.rate,
                score.missed,
                score.false_cancels,
                score.pause_ms,
                s.snr_db,
                s.erl_db,
                s.path.delay_ms,
                s.path.jumps,
                s.path.bent,
                s.noise,
                s.speaker,
                s.user,
                s.others,
                s.backchannels
            );
        }
    }
}

fn total(tracks: &[Track], of: impl Fn(&Track) -> Vec<(f32, Act)>) -> Score {
    let mut score = Score::default();
    tracks.iter().for_each(|t| score.add(&t.scenario, &of(t)));
    score
}

/// One-stage, over the sensitivities, beside what others do; and the picture.
fn peers(tracks: &[Track], svg: Option<&str>) -> Result<(), Box<dyn std::error::Error>> {
    let sensitivities: Vec<f32> = (0..=10).map(|n| n as f32 / 10.0).collect();
    let mut curves = Vec::new();
    println!("\npause, by sensitivity\n{}", header());
    let mut pauses = Vec::new();
    for s in &sensitivities {
        let score = total(tracks, |t| {
            acts(
                &t.heard,
                t.scenario.rate,
                Thresholds::new(*s, false),
                two_phases(Backchannel::Cancel),
            )
        });
        println!("{}", row(&format!("sensitivity {s}"), &score));
        pauses.push((score.false_pauses as f32 / score.minutes, quantile(&score.pause_ms, 0.95)));
    }
    curves.push(Curve {
        name: "pause".into(),
        points: pauses,
    });
    type Listener = fn(&Track, f32) -> Vec<(f32, Act)>;
    let with: Listener = |t, s| acts(&t.heard, t.scenario.rate, Thresholds::new(s, true), at_once());
    let without: Listener = |t, s| acts(&t.deaf, t.scenario.rate, Thresholds::new(s, true), at_once());
    for (name, listener) in [("cancel at once", with), ("the same, far end unknown", without)] {
        if name.contains("unknown") && tracks.iter().all(|t| t.deaf.is_empty()) {
            continue;
        }
        println!("\n{name}, by sensitivity\n{}", header());
        let mut points = Vec::new();
        for s in &sensitivities {
            let score = total(tracks, |t| listener(t, *s));
            println!("{}", row(&format!("sensitivity {s}"), &score));
            points.push((score.false_cancels as f32 / score.minutes, quantile(&score.cancel_ms, 0.95)));
        }
        curves.push(Curve { name: name.into(), points });
    }
    #[cfg(feature = "peers")]
    {
        use utterd_scenarios::peers::{earshot, webrtc};
        println!("\nplain voice detectors\n{}", header());
        let mut line = |name: &str, score: Score| {
            println!("{}", row(name, &score));
            let point = (score.false_cancels as f32 / score.minutes, quantile(&score.cancel_ms, 0.95));
            curves.push(Curve {
                name: name.into(),
                points: vec![point],
            });
        };
        line("webrtc-vad 30 ms", total(tracks, |t| webrtc(&t.scenario, 3)));
        line("webrtc-vad 200 ms", total(tracks, |t| webrtc(&t.scenario, 20)));
        line("earshot 200 ms", total(tracks, |t| earshot(&t.scenario, 13)));
    }
    if let Some(path) = svg {
        roc::draw(
            Path::new(path),
            "Sooner or surer: voices, languages and noise that training never heard",
            &curves,
        )?;
        println!("\n{path}");
    }
    Ok(())
}

/// Thresholds drawn at random, the best of them printed: what goes beyond a share of each Number costs.
fn sweep(tracks: &[Track], draws: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut dice = Dice::new(1);
    let odds = |x: f32| 1.0 / (1.0 + (-x).exp());
    let beyond = |value: f32, must: f32| (if value.is_finite() { value } else { 10.0 * must } / must - 0.7).max(0.0);
    for one_stage in [false, true] {
        let settings = if one_stage { at_once() } else { two_phases(Backchannel::Cancel) };
        let mut all = Vec::new();
        for _ in 0..draws {
            let (suspect, sure, late, again) = if one_stage {
                (dice.between(-1.0, 3.5), 0.0, 0.4, 0.0)
            } else {
                (
                    dice.between(-1.5, 2.5),
                    dice.between(-1.5, 3.5),
                    dice.between(0.0, 3.0),
                    dice.between(0.0, 3.0),
                )
            };
            let thresholds = Thresholds {
                suspect: odds(suspect),
                first_pace: if one_stage { dice.scale(0.1, 1.0) } else { 0.0 },
                sure: odds(sure),
                pace: if one_stage { 0.18 } else { dice.scale(0.06, 0.6) },
                late: odds(sure - late),
                again: [sure - again, sure - late - again].map(odds),
                over: if one_stage { 0.1 } else { dice.scale(0.03, 0.3) },
            };
            let score = total(tracks, |t| acts(&t.heard, t.scenario.rate, thresholds, settings));
            let share = |n: usize| 100.0 * n as f32 / score.interruptions.max(1) as f32;
            let (pauses, cancels) = (
                score.false_pauses as f32 / score.minutes,
                score.false_cancels as f32 / score.minutes,
            );
            let late = quantile(&score.cancel_ms, 0.95);
            let cost = if one_stage {
                beyond(late, 240.0) + beyond(share(score.missed), 2.0) + beyond(cancels, 0.1)
            } else {
                beyond(quantile(&score.pause_ms, 0.95), 200.0)
                    + beyond(late, 400.0)
                    + beyond(share(score.missed), 2.0)
                    + beyond(share(score.taken_back), 10.0)
                    + beyond(pauses, 1.0)
                    + beyond(cancels, 0.05)
            };
            let name = format!(
                "{cost:.2}: {suspect:.2} {:.2} sure {sure:.2} pace {:.2} late {late:.2} again {again:.2} over {:.2}",
                thresholds.first_pace,
                thresholds.pace,
                thresholds.over,
                late = thresholds.late
            );
            all.push((cost, row(&name, &score)));
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        println!("\n{}\n{}", if one_stage { "cancel at once" } else { "two phases" }, header());
        all.iter().take(14).for_each(|(_, line)| println!("{line}"));
    }
    Ok(())
}
