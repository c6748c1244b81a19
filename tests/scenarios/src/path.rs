//! The way of the agent's voice back into the microphone or the line: loudspeaker, delay that drifts and jumps, room or hybrid. And of
//! voices across a room.

use crate::dice::Dice;
use crate::signal::{Biquad, RATE, active_level, colour, convolve, db, ms, scale};

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

    /// Periods that get lost on one side or the other, as on a machine that does not keep time: each moves the echo by one.
    pub fn stutter(&mut self, dice: &mut Dice, length_ms: f32) {
        let period = [2.67, 5.33, 10.67, 21.33][dice.below(4)];
        let (mut at, every) = (dice.between(0.0, length_ms), dice.scale(60.0, 2_000.0));
        let mut delay = self.delay_ms;
        self.jumps.clear();
        while at < length_ms {
            let step = if dice.chance(0.5) { period } else { -period };
            delay = (delay + step).clamp(20.0, 200.0);
            self.jumps.push((at, delay));
            at += dice.between(0.3, 1.7) * every;
        }
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

/// A room that people are far apart in: a café, an office, a living room.
pub struct Hall {
    /// The distance (m) at which a voice and its reverberation are equally loud (Kuttruff, Room Acoustics).
    critical: f32,
    /// Until the reverberation is 60 dB down, in s.
    seconds: f32,
}

impl Hall {
    pub fn draw(dice: &mut Dice) -> Hall {
        let (volume, seconds) = (dice.scale(40.0, 400.0), dice.between(0.3, 0.9));
        Hall {
            critical: 0.057 * (TALKER * volume / seconds).sqrt(),
            seconds,
        }
    }

    /// `s` from somewhere across it.
    pub fn across(&self, s: &[f32], dice: &mut Dice) -> Vec<f32> {
        let distance = dice.between(1.5, 6.0);
        self.heard(s, distance, dice)
    }

    /// `s` from `distance` metres: the direct sound falls with it, the diffuse reverberation behind it (Polack: noise that dies away)
    /// is as loud everywhere.
    pub fn heard(&self, s: &[f32], distance: f32, dice: &mut Dice) -> Vec<f32> {
        let first = ms(dice.between(2.0, 12.0));
        let fall = -6.9 / (self.seconds * RATE as f32);
        let mut tail: Vec<f32> = (0..(self.seconds * RATE as f32) as usize)
            .map(|k| dice.normal() * (fall * k as f32).exp())
            .collect();
        Biquad::low_pass(dice.between(2_500.0, 5_000.0), 0.6).run(&mut tail);
        let energy: f32 = tail.iter().map(|t| t * t).sum();
        scale(&mut tail, 1.0 / (self.critical * energy.sqrt()));
        let mut response = vec![0.0; first];
        response[0] = 1.0 / distance;
        response.extend(tail);
        convolve(s, &response)
    }
}

/// A talker's directivity.
const TALKER: f32 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::power;

    #[test]
    fn across_a_hall_the_direct_sound_falls_with_the_distance_and_the_reverberation_does_not() {
        let mut click = vec![0.0; RATE];
        click[0] = 1.0;
        for seed in 0..20 {
            let hall = Hall::draw(&mut Dice::new(seed));
            let at = |metres| hall.heard(&click, metres, &mut Dice::new(seed + 100));
            let (near, far) = (at(0.5), at(4.0));
            assert!(
                (near[0] - 2.0).abs() < 1e-3 && (far[0] - 0.25).abs() < 1e-3,
                "{} {}",
                near[0],
                far[0]
            );
            let diffuse = power(&near[1..]) * (RATE - 1) as f32;
            assert!(
                (diffuse * hall.critical * hall.critical - 1.0).abs() < 0.01,
                "{diffuse} at {} m",
                hall.critical
            );
            assert!(near[1..].iter().zip(&far[1..]).all(|(n, f)| (n - f).abs() < 1e-4));
        }
    }
}
