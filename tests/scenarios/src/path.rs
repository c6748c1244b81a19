//! The way of the agent's voice back into the microphone or the line: loudspeaker, delay that drifts and jumps, room or hybrid.

use crate::dice::Dice;
use crate::signal::{Biquad, RATE, active_level, colour, db, ms, scale};

/// What was drawn for one path.
#[derive(Clone, Debug)]
pub struct Path {
    pub delay_ms: f32,
    pub erl_db: f32,
    pub bent: f32,
    pub drift_ppm: f32,
    /// When (ms) the delay becomes another (ms).
    pub jumps: Vec<(f32, f32)>,
    pub line: bool,
    /// Below this share of its peak the echo is suppressed, as phones do; 0: never.
    pub gate: f32,
}

impl Path {
    pub fn draw(dice: &mut Dice, length_ms: f32, jumps: bool) -> Path {
        let delay_ms = dice.between(20.0, 200.0);
        let mut path = Path {
            delay_ms,
            erl_db: dice.between(6.0, 30.0),
            bent: if dice.chance(0.5) { dice.between(0.0, 1.0) } else { 0.0 },
            drift_ppm: if dice.chance(0.3) { dice.between(-120.0, 120.0) } else { 0.0 },
            jumps: Vec::new(),
            line: dice.chance(0.4),
            gate: if dice.chance(0.1) { dice.between(0.02, 0.3) } else { 0.0 },
        };
        if jumps {
            for _ in 0..1 + dice.below(2) {
                let to = (delay_ms + dice.between(-80.0, 80.0)).clamp(20.0, 200.0);
                path.jumps.push((dice.between(800.0, length_ms), to));
            }
            path.jumps.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        path
    }

    /// The echo of `far` at its echo return loss.
    pub fn echo(&self, far: &[f32], dice: &mut Dice) -> Vec<f32> {
        let level = active_level(far);
        if level < 1e-7 {
            return vec![0.0; far.len()];
        }
        let mut s = far.to_vec();
        if self.bent > 0.0 {
            bend(&mut s, level, self.bent);
        }
        let mut s = self.late(&s);
        if self.line {
            hybrid(&mut s, dice);
        } else {
            s = room(&s, dice, dice_tail(self));
            colour(&mut s, dice);
            Biquad::high_pass(dice.between(80.0, 400.0), 0.7).run(&mut s);
        }
        if self.gate > 0.0 {
            suppress(&mut s, self.gate);
        }
        let now = active_level(&s);
        if now > 1e-9 {
            scale(&mut s, level * db(-self.erl_db) / now);
        }
        s
    }

    fn late(&self, s: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; s.len()];
        let mut jumps = self.jumps.iter().peekable();
        let mut delay = self.delay_ms * 16.0;
        for (k, out) in out.iter_mut().enumerate() {
            if let Some((_, to)) = jumps.next_if(|j| k >= ms(j.0)) {
                delay = to * 16.0;
            }
            let at = k as f32 - delay - 0.0;
            let at = f64::from(at) + k as f64 * f64::from(self.drift_ppm) * 1e-6;
            if at >= 0.0 && (at as usize) + 1 < s.len() {
                let (n, f) = (at as usize, at.fract() as f32);
                *out = s[n] * (1.0 - f) + s[n + 1] * f;
            }
        }
        out
    }
}

fn dice_tail(path: &Path) -> f32 {
    // A longer way often means a larger room.
    0.05 + path.delay_ms / 200.0 * 0.25
}

/// A small loudspeaker driven too hard: it saturates, more on one side.
fn bend(s: &mut [f32], level: f32, bent: f32) {
    let drive = (0.3 + 1.2 * bent) / (level * 3.0);
    for s in s {
        let x = *s * drive;
        *s = (x + 0.25 * bent * x * x).clamp(-3.0, 3.0).tanh() / drive;
    }
}

/// Two wires meet four: a short, dispersive echo.
fn hybrid(s: &mut [f32], dice: &mut Dice) {
    Biquad::band_pass(dice.between(700.0, 1_800.0), 0.4).run(s);
    Biquad::peak(dice.between(400.0, 3_000.0), 2.0, dice.between(-8.0, 8.0)).run(s);
    Biquad::peak(dice.between(400.0, 3_000.0), 2.0, dice.between(-8.0, 8.0)).run(s);
}

fn suppress(s: &mut [f32], gate: f32) {
    let peak = s.iter().fold(0.0f32, |p, s| p.max(s.abs()));
    let (mut level, mut gain) = (0.0f32, 0.0f32);
    for s in s {
        level = (level * 0.9995).max(s.abs());
        let goal = if level > gate * peak { 1.0 } else { 0.05 };
        gain += 0.003 * (goal - gain);
        *s *= gain;
    }
}

/// A room by its reflections: the direct sound and some dozens that grow denser and die away; `tail` in s to −60 dB.
pub fn room(s: &[f32], dice: &mut Dice, tail: f32) -> Vec<f32> {
    let tail = tail * dice.between(0.4, 1.3);
    let longest = (tail.min(0.16) * RATE as f32) as usize + 2;
    let mut taps: Vec<(usize, f32)> = vec![(0, 1.0)];
    let wet = dice.between(0.15, 0.7);
    for _ in 0..70 {
        let at = 1 + (dice.unit().powf(1.3) * (longest - 1) as f32) as usize;
        let fall = (-6.9 * at as f32 / RATE as f32 / tail).exp();
        taps.push((at, wet * fall * dice.normal()));
    }
    let mut out = vec![0.0; s.len()];
    for (at, gain) in taps {
        for (o, s) in out[at.min(s.len())..].iter_mut().zip(s) {
            *o += gain * s;
        }
    }
    out
}
