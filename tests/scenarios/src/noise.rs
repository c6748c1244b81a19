//! Noise, by kind. Kinds for tuning and for the test differ, so that a kind never heard is part of the test.

use crate::corpus::Corpus;
use crate::dice::Dice;
use crate::path::Hall;
use crate::signal::{Biquad, RATE, level_to, mix, ms, scale};

pub const TUNE: [&str; 14] = [
    "white",
    "brown",
    "hum",
    "babble",
    "street",
    "fan",
    "crackle",
    "hiss-steps",
    "shaped",
    "drone",
    "patter",
    "clatter",
    "crowd",
    "bustle",
];
pub const TEST: [&str; 6] = ["pink", "cafe", "engine", "rain", "train", "line"];

/// `n` samples of it; the level is the caller's affair.
pub fn noise(kind: &str, n: usize, corpus: &Corpus, dice: &mut Dice) -> Vec<f32> {
    let mut s = vec![0.0; n];
    match kind {
        "white" => fill(&mut s, dice),
        "pink" => tilted(&mut s, dice, 0.6),
        "brown" => tilted(&mut s, dice, 0.97),
        "hiss-steps" => {
            fill(&mut s, dice);
            colour(&mut s, dice);
            modulate(&mut s, dice, 2.0, 14.0);
        }
        "shaped" => shaped(&mut s, dice),
        "hum" | "engine" | "drone" => harmonics(kind, &mut s, dice),
        "patter" => hits(&mut s, dice, 60.0, (0.1, 12.0), 0.3),
        "clatter" => {
            hits(&mut s, dice, 6.0, (3.0, 120.0), 0.03);
            s = crate::path::room(&s, dice, 0.2);
        }
        "crowd" => crowd(&mut s, corpus, dice),
        "bustle" => {
            for _ in 0..n * 2 / RATE {
                let clips = &dice.pick(&corpus.effects).clips;
                let mut sound = dice.pick(clips).samples.clone();
                let at = dice.below(n);
                level_to(&mut sound, -20.0 + dice.between(-12.0, 0.0));
                mix(&mut s, &sound, at);
            }
            tilted_bed(&mut s, dice);
        }
        "fan" => {
            tilted(&mut s, dice, 0.85);
            Biquad::peak(dice.between(90.0, 500.0), 4.0, 15.0).run(&mut s);
            flutter(&mut s, dice.between(5.0, 30.0), 0.3);
        }
        "train" => {
            tilted(&mut s, dice, 0.93);
            modulate(&mut s, dice, 0.8, 8.0);
            let every = ms(dice.between(350.0, 900.0));
            let beat: Vec<f32> = (0..ms(60.0)).map(|k| dice.normal() * (-(k as f32) / 300.0).exp() * 0.2).collect();
            (0..n).step_by(every).for_each(|at| mix(&mut s, &beat, at));
            Biquad::low_pass(1_800.0, 0.7).run(&mut s);
        }
        "street" => {
            tilted(&mut s, dice, 0.95);
            for _ in 0..=n / (RATE * 4) {
                pass_by(&mut s, dice);
            }
        }
        "crackle" => {
            fill(&mut s, dice);
            scale(&mut s, 0.05);
            for _ in 0..n / RATE * 12 {
                let at = dice.below(n);
                let a = dice.scale(0.05, 1.0);
                (at..(at + 20).min(n)).for_each(|k| s[k] += a * dice.normal() * (-((k - at) as f32) / 5.0).exp());
            }
        }
        "rain" => {
            tilted(&mut s, dice, 0.2);
            scale(&mut s, 0.3);
            let drops = n / RATE * dice.below(120);
            for _ in 0..drops {
                let (at, f, a) = (dice.below(n), dice.between(0.15, 1.5), dice.scale(0.05, 0.8));
                (at..(at + 90).min(n)).for_each(|k| s[k] += a * ((k - at) as f32 * f).sin() * (-((k - at) as f32) / 18.0).exp());
            }
        }
        "line" => {
            fill(&mut s, dice);
            Biquad::band_pass(1_500.0, 0.5).run(&mut s);
            let hum = dice.between(0.0, 0.3);
            s.iter_mut().enumerate().for_each(|(k, s)| *s += hum * (k as f32 * 0.0393).sin());
        }
        "babble" | "cafe" => {
            let hall = (kind == "cafe").then(|| Hall::draw(dice));
            for _ in 0..if kind == "cafe" { 9 } else { 6 } {
                let mut at = 0;
                let speaker = dice.below(corpus.human.len());
                let mut voice = vec![0.0; n];
                while at < n {
                    let clip = dice.pick(&corpus.human[speaker].clips);
                    let mut talk = clip.samples.clone();
                    level_to(&mut talk, -20.0 + dice.between(-6.0, 3.0));
                    mix(&mut voice, &talk, at);
                    at += talk.len() + ms(dice.between(0.0, 400.0));
                }
                if let Some(hall) = &hall {
                    voice = hall.across(&voice, dice);
                }
                mix(&mut s, &voice, 0);
            }
            if kind == "cafe" {
                for _ in 0..n / RATE {
                    let (at, f) = (dice.below(n), dice.between(0.6, 1.9));
                    (at..(at + 900).min(n)).for_each(|k| s[k] += 0.1 * ((k - at) as f32 * f).sin() * (-((k - at) as f32) / 200.0).exp());
                }
            }
            Biquad::low_pass(dice.between(2_500.0, 6_000.0), 0.6).run(&mut s);
        }
        _ => {}
    }
    s
}

fn fill(s: &mut [f32], dice: &mut Dice) {
    s.iter_mut().for_each(|s| *s = dice.normal() * 0.1);
}

/// Falls with frequency the more, the nearer the pole is to 1.
fn tilted(s: &mut [f32], dice: &mut Dice, pole: f32) {
    let mut low = 0.0;
    for s in s {
        low = pole * low + (1.0 - pole).sqrt() * dice.normal() * 0.2;
        *s = low + 0.02 * dice.normal();
    }
}

fn colour(s: &mut [f32], dice: &mut Dice) {
    Biquad::peak(dice.scale(300.0, 5_000.0), 0.7, dice.between(-12.0, 12.0)).run(s);
}

fn flutter(s: &mut [f32], hz: f32, depth: f32) {
    let w = std::f32::consts::TAU * hz / RATE as f32;
    s.iter_mut().enumerate().for_each(|(k, s)| *s *= 1.0 + depth * (k as f32 * w).sin());
}

/// The level wanders between steps of up to `range` dB, about `a_second` of them.
fn modulate(s: &mut [f32], dice: &mut Dice, a_second: f32, range: f32) {
    let (mut gain, mut goal) = (1.0f32, 1.0f32);
    let pace = dice.scale(0.0005, 0.02);
    for s in s {
        if dice.chance(a_second / RATE as f32) {
            goal = crate::signal::db(dice.between(-range, 0.0));
        }
        gain += pace * (goal - gain);
        *s *= gain;
    }
}

fn harmonics(kind: &str, s: &mut [f32], dice: &mut Dice) {
    let (base, jitter) = match kind {
        "hum" => (*dice.pick(&[50.0, 60.0]), 0.0),
        "drone" => (dice.scale(30.0, 900.0), dice.scale(0.0005, 0.02)),
        _ => (dice.between(40.0, 130.0), 0.004),
    };
    let gains: Vec<f32> = (1..24).map(|h| dice.unit() / h as f32).collect();
    let (mut phase, mut pace) = (0.0f32, 1.0f32);
    for s in s.iter_mut() {
        pace = (pace + jitter * 0.05 * dice.normal()).clamp(0.8, 1.3);
        phase = (phase + base * pace / RATE as f32).fract();
        let w = phase * std::f32::consts::TAU;
        *s = gains.iter().enumerate().map(|(h, g)| g * ((h + 1) as f32 * w).sin()).sum::<f32>() * 0.1 + 0.01 * dice.normal();
    }
}

/// A spectrum and a liveliness of its own: a slope, some peaks and dips, a level that wanders quickly or slowly, or flutters.
fn shaped(s: &mut [f32], dice: &mut Dice) {
    let pole = any_pole(dice);
    tilted(s, dice, pole);
    for _ in 0..dice.below(6) {
        Biquad::peak(dice.scale(80.0, 7_000.0), dice.scale(0.3, 8.0), dice.between(-15.0, 18.0)).run(s);
    }
    match dice.below(4) {
        0 => modulate(s, dice, 0.7, 12.0),
        1 => modulate(s, dice, 8.0, 14.0),
        2 => flutter(s, dice.scale(1.0, 40.0), dice.between(0.2, 0.9)),
        _ => {}
    }
}

/// From no slope at all to the steepest.
fn any_pole(dice: &mut Dice) -> f32 {
    1.0 - dice.scale(0.03, 1.0)
}

/// Knocks and drops: up to `a_second` of them, each ringing in a band of its own for between `ring` ms, over a bed of `bed`.
fn hits(s: &mut [f32], dice: &mut Dice, a_second: f32, ring: (f32, f32), bed: f32) {
    let pole = any_pole(dice);
    tilted(s, dice, pole);
    scale(s, bed);
    let count = (s.len() as f32 / RATE as f32 * a_second * dice.unit()) as usize;
    let (lowest, highest) = (dice.scale(150.0, 1_500.0), dice.scale(1_500.0, 7_000.0));
    for _ in 0..count {
        let (at, loud) = (dice.below(s.len()), dice.scale(0.03, 1.0));
        let fade = ms(dice.scale(ring.0, ring.1)).max(2) as f32;
        let mut band = Biquad::band_pass(dice.scale(lowest, highest), dice.scale(0.7, 12.0));
        let end = (at + (5.0 * fade) as usize).min(s.len());
        for (k, s) in s[at..end].iter_mut().enumerate() {
            *s += loud * band.step(dice.normal()) * (-(k as f32) / fade).exp();
        }
    }
}

/// Many voices, none of them near: who the user is not, is told by nothing but this.
fn crowd(s: &mut [f32], corpus: &Corpus, dice: &mut Dice) {
    let hall = dice.chance(0.5).then(|| Hall::draw(dice));
    for _ in 0..4 + dice.below(12) {
        let mut one = vec![0.0; s.len()];
        let voices = if dice.chance(0.9) { &corpus.human } else { &corpus.agent };
        let voice = dice.pick(voices);
        let loud = -20.0 + dice.between(-5.0, 3.0);
        let mut at = 0;
        while at < s.len() {
            let clip = dice.pick(&voice.clips);
            let mut talk = clip.samples[clip.onset..clip.end].to_vec();
            level_to(&mut talk, loud + dice.between(-3.0, 2.0));
            mix(&mut one, &talk, at);
            at += talk.len() + ms(dice.between(0.0, 900.0));
        }
        if let Some(hall) = &hall {
            one = hall.across(&one, dice);
        }
        mix(s, &one, 0);
    }
    if hall.is_none() && dice.chance(0.6) {
        let far = crate::path::room(s, dice, 0.35);
        s.copy_from_slice(&far);
    }
    Biquad::low_pass(dice.scale(1_500.0, 7_000.0), 0.6).run(s);
}

/// Something goes on below it.
fn tilted_bed(s: &mut [f32], dice: &mut Dice) {
    let mut bed = vec![0.0; s.len()];
    let pole = any_pole(dice);
    tilted(&mut bed, dice, pole);
    level_to(&mut bed, -32.0);
    mix(s, &bed, 0);
}

fn pass_by(s: &mut [f32], dice: &mut Dice) {
    let (middle, width) = (dice.below(s.len()) as f32, RATE as f32 * dice.between(0.4, 1.6));
    let mut tone = Biquad::band_pass(dice.scale(200.0, 1_500.0), 0.8);
    for (k, s) in s.iter_mut().enumerate() {
        let t = (k as f32 - middle) / width;
        *s += tone.step(dice.normal()) * 0.5 * (-t * t).exp();
    }
}
