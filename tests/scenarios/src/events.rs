//! Sounds of a person or a line that are no interruption: coughs, hums of assent, clicks, keys, doors, tones, music.

use crate::corpus::Corpus;
use crate::dice::Dice;
use crate::path::Hall;
use crate::signal::{Biquad, RATE, mix, ms};
use std::f32::consts::TAU;

/// A burst of air, often two or three, with the throat's resonances and a voiced tail.
pub fn cough(dice: &mut Dice) -> Vec<f32> {
    let mut s = Vec::new();
    let size = dice.between(0.8, 1.25);
    for _ in 0..1 + dice.below(3) {
        let n = ms(dice.between(120.0, 380.0));
        let (attack, decay) = (ms(dice.between(2.0, 18.0)) as f32, n as f32 * dice.between(0.12, 0.4));
        let mut formants: Vec<(Biquad, f32)> = [500.0, 1_300.0, 2_600.0, 3_800.0]
            .map(|f| {
                (
                    Biquad::band_pass(f * size * dice.between(0.8, 1.2), dice.between(1.5, 5.0)),
                    dice.between(0.3, 1.5),
                )
            })
            .into();
        let (voice, pitch) = (dice.between(0.0, 0.8), dice.between(90.0, 320.0));
        let mut phase = 0.0f32;
        s.extend((0..n).map(|k| {
            let k = k as f32;
            let envelope = (k / attack).min(1.0) * (-(k - attack).max(0.0) / decay).exp();
            phase = (phase + pitch * (1.0 - 0.3 * k / n as f32) / RATE as f32 * (1.0 + 0.05 * dice.normal())).fract();
            let tail = if k > 0.35 * n as f32 { voice * (1.0 - 2.0 * phase) } else { 0.0 };
            let air = dice.normal() + tail * 2.0;
            formants.iter_mut().map(|(f, g)| *g * f.step(air)).sum::<f32>() * envelope
        }));
        s.extend(std::iter::repeat_n(0.0, ms(dice.between(40.0, 350.0))));
    }
    s
}

/// "mhm", "uh-huh", "hm": one or two hums, lips closed or half open.
pub fn mhm(dice: &mut Dice) -> Vec<f32> {
    let base = dice.scale(85.0, 280.0);
    let twice = dice.chance(0.6);
    let open = dice.chance(0.35);
    let mut s = Vec::new();
    for part in 0..if twice { 2 } else { 1 } {
        let n = ms(dice.between(110.0, if twice { 260.0 } else { 420.0 }));
        let from = base * if part == 1 { dice.between(1.05, 1.35) } else { 1.0 };
        let to = from * dice.between(0.8, 1.25);
        let first = if open {
            dice.between(450.0, 750.0)
        } else {
            dice.between(220.0, 320.0)
        };
        let mut formants = [
            (Biquad::band_pass(first, 4.0), 1.0),
            (Biquad::band_pass(dice.between(900.0, 1_400.0), 5.0), if open { 0.6 } else { 0.08 }),
            (
                Biquad::band_pass(dice.between(2_100.0, 2_700.0), 6.0),
                if open { 0.3 } else { 0.05 },
            ),
        ];
        let (mut phase, breath) = (0.0f32, dice.between(0.01, 0.06));
        s.extend((0..n).map(|k| {
            let t = k as f32 / n as f32;
            phase = (phase + (from + (to - from) * t) / RATE as f32 * (1.0 + 0.02 * dice.normal())).fract();
            let envelope = (t * 6.0).min(1.0) * ((1.0 - t) * 4.0).min(1.0);
            let source = (1.0 - 2.0 * phase) + breath * dice.normal();
            formants.iter_mut().map(|(f, g)| *g * f.step(source)).sum::<f32>() * envelope
        }));
        if part == 0 && twice {
            let pause = ms(dice.between(15.0, 90.0));
            let air = if open { 0.05 } else { 0.005 };
            s.extend((0..pause).map(|_| dice.normal() * air));
        }
    }
    s
}

/// One sound of its kind, or a run of them; up to about 1.5 s.
pub fn knock(kind: &str, dice: &mut Dice) -> Vec<f32> {
    let n = ms(dice.between(200.0, 1_500.0));
    let mut s = vec![0.0; n];
    match kind {
        "click" => {
            for _ in 0..1 + dice.below(4) {
                let (at, long) = (dice.below(n), dice.between(0.1, 3.0) * 16.0);
                let sign = if dice.chance(0.5) { 1.0 } else { -1.0 };
                (at..(at + ms(8.0)).min(n)).for_each(|k| s[k] += sign * (-((k - at) as f32) / long).exp() * (1.0 + 0.5 * dice.normal()));
            }
        }
        "keyboard" => {
            let mut at = 0;
            while at < n {
                for (offset, a) in [(0.0, 1.0), (dice.between(40.0, 110.0), 0.5)] {
                    let from = at + ms(offset);
                    let (tone, ring) = (dice.between(0.5, 2.0), dice.between(15.0, 60.0));
                    (from..(from + ms(15.0)).min(n)).for_each(|k| {
                        let t = (k - from) as f32;
                        s[k] += a * (0.6 * dice.normal() + (t * tone).sin()) * (-t / ring).exp();
                    });
                }
                at += ms(dice.between(70.0, 300.0));
            }
        }
        "door" => {
            let mut body = Biquad::low_pass(dice.between(150.0, 900.0), 1.2);
            let decay = ms(dice.between(30.0, 200.0)) as f32;
            s.iter_mut()
                .enumerate()
                .for_each(|(k, s)| *s = body.step(dice.normal()) * (-(k as f32) / decay).exp());
        }
        "breath" => {
            let mut air = Biquad::band_pass(dice.between(600.0, 2_500.0), 0.7);
            let n = n as f32;
            s.iter_mut()
                .enumerate()
                .for_each(|(k, s)| *s = air.step(dice.normal()) * (std::f32::consts::PI * k as f32 / n).sin().powi(2));
        }
        _ => {
            let mut band = Biquad::band_pass(dice.scale(300.0, 4_000.0), 0.8);
            let decay = ms(dice.between(10.0, 300.0)) as f32;
            s.iter_mut()
                .enumerate()
                .for_each(|(k, s)| *s = band.step(dice.normal()) * (-(k as f32) / decay).exp());
        }
    }
    s
}

/// A few keys of a telephone.
pub fn dtmf(dice: &mut Dice) -> Vec<f32> {
    let mut s = Vec::new();
    for _ in 0..1 + dice.below(5) {
        let (low, high) = (
            *dice.pick(&[697.0, 770.0, 852.0, 941.0]),
            *dice.pick(&[1_209.0, 1_336.0, 1_477.0, 1_633.0]),
        );
        let n = ms(dice.between(50.0, 250.0));
        s.extend((0..n).map(|k| {
            let t = k as f32 / RATE as f32 * TAU;
            0.5 * ((t * low).sin() + (t * high).sin())
        }));
        s.extend(std::iter::repeat_n(0.0, ms(dice.between(40.0, 200.0))));
    }
    s
}

/// Music: from the corpus, or chords and a melody made up here.
pub fn music(n: usize, corpus: &Corpus, dice: &mut Dice) -> Vec<f32> {
    if dice.chance(0.65) {
        let clips = &dice.pick(&corpus.music).clips;
        let piece = dice.pick(clips).samples.as_slice();
        let from = dice.below(piece.len().saturating_sub(n));
        let mut s: Vec<f32> = piece.iter().skip(from).copied().cycle().take(n).collect();
        s.resize(n, 0.0);
        return s;
    }
    chords(n, dice)
}

/// Music made up here, for whoever has no corpus.
pub fn chords(n: usize, dice: &mut Dice) -> Vec<f32> {
    let mut s = vec![0.0; n];
    let base = dice.between(110.0, 260.0);
    let beat = ms(dice.between(180.0, 600.0));
    let scale = [0, 2, 4, 5, 7, 9, 11, 12];
    let bright = dice.between(0.2, 0.8);
    for (i, from) in (0..n).step_by(beat).enumerate() {
        for voice in 0..if i % 4 == 0 { 4 } else { 1 } {
            let tone = scale[dice.below(8)] + 12 * (voice % 2);
            let f = base * 2f32.powf(tone as f32 / 12.0);
            let decay = beat as f32 * dice.between(0.5, 2.0);
            for (t, s) in s[from..(from + 3 * beat).min(n)].iter_mut().enumerate() {
                let t = t as f32;
                let w = t / RATE as f32 * TAU * f;
                let tone = w.sin() + bright * (2.0 * w).sin() + bright * bright * (3.0 * w).sin();
                *s += tone * (t / 80.0).min(1.0) * (-t / decay).exp() * 0.2;
            }
        }
    }
    s
}

/// Somebody else talks in the same room: one voice, far from the microphone.
pub fn talker(n: usize, corpus: &Corpus, not: usize, dice: &mut Dice) -> Vec<f32> {
    let mut s = vec![0.0; n];
    let mut who = dice.below(corpus.human.len());
    if who == not {
        who = (who + 1) % corpus.human.len();
    }
    let mut at = ms(dice.between(0.0, 500.0));
    while at < n {
        let clip = dice.pick(&corpus.human[who].clips);
        let mut talk = clip.samples[clip.onset..clip.end].to_vec();
        crate::signal::level_to(&mut talk, -20.0);
        mix(&mut s, &talk, at);
        at += talk.len() + ms(dice.between(50.0, 500.0));
    }
    let mut far = Hall::draw(dice).across(&s, dice);
    Biquad::low_pass(dice.between(1_800.0, 5_000.0), 0.6).run(&mut far);
    far
}
