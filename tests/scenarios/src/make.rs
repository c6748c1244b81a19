//! A whole scenario: dice decide who speaks where, over what echo and noise, at what rate and level.

use crate::corpus::{Corpus, Voice};
use crate::dice::Dice;
use crate::path::{Hall, Path};
use crate::signal::{Biquad, active_level, colour, db, halve, level_to, mix, ms, mu_law, power, scale, triple, warp};
use crate::{events, noise};
use serde_json::{Value, json};

/// What happens in it besides the agent's speech.
pub const KINDS: [&str; 13] = [
    "interrupt",
    "echo",
    "backchannel",
    "cough",
    "click",
    "dtmf",
    "music",
    "talker",
    "effect",
    "jump",
    "interrupt-jump",
    "silence",
    "interrupt-early",
];

/// So much a user may be below the agent's echo: who talks over an agent speaks up, or is nearer to the microphone than the
/// loudspeaker's sound is loud. Of the test, and of rough training.
const FAINTEST_DB: [f32; 2] = [6.0, 12.0];

pub struct Recipe {
    pub kind: &'static str,
    pub rate: u32,
    pub length_ms: f32,
    pub purpose: Purpose,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Test,
    /// Warped voices and sounds, much noise and many crowds: what a network should have heard once.
    Training(Manner),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// One thing at a time, as in the test.
    Alone,
    /// And that mostly in a crowd about as loud as the user, which is the hardest.
    Crowded,
    /// And that mostly a sound, music or somebody else, which is what agents are cancelled by.
    Bothered,
    /// Many things at once, and soft onsets.
    Plain,
    /// And fainter users, from farther away, over worse lines than those of the test.
    Rough,
}

impl Recipe {
    fn is_training(&self) -> bool {
        self.purpose != Purpose::Test
    }

    fn is_rough(&self) -> bool {
        self.purpose == Purpose::Training(Manner::Rough)
    }

    /// Several things happen at once.
    fn is_full(&self) -> bool {
        matches!(self.purpose, Purpose::Training(Manner::Plain | Manner::Rough))
    }

    /// How likely the noise is about as loud as the user, and how likely it is a crowd; else both are as in the test.
    fn noisy(&self) -> (f32, f32) {
        match self.purpose {
            Purpose::Test => (0.0, 0.0),
            Purpose::Training(Manner::Alone | Manner::Bothered | Manner::Plain) => (0.4, 0.35),
            Purpose::Training(Manner::Crowded) => (0.8, 0.8),
            Purpose::Training(Manner::Rough) => (0.35, 0.15),
        }
    }
}

pub struct Scenario {
    pub kind: &'static str,
    pub rate: u32,
    pub far: Vec<f32>,
    pub near: Vec<f32>,
    /// User speech, onset to end of each, in ms.
    pub user: Vec<(f32, f32)>,
    /// "mhm", the same.
    pub backchannels: Vec<(f32, f32)>,
    /// What else begins and ends: kind, from, to.
    pub others: Vec<(&'static str, f32, f32)>,
    /// Where the agent's voice sounds.
    pub agent: (f32, f32),
    pub erl_db: f32,
    pub snr_db: f32,
    pub noise: &'static str,
    pub speaker: String,
    pub path: Path,
}

impl Scenario {
    pub fn label(&self, file: &str) -> Value {
        let spans = |s: &[(f32, f32)]| s.iter().map(|(a, b)| json!({"onset_ms": a, "end_ms": b})).collect::<Vec<_>>();
        json!({
            "file": file, "category": self.kind, "rate": self.rate, "audio_ms": self.near.len() as f32 * 1_000.0 / self.rate as f32,
            "user": spans(&self.user), "backchannels": spans(&self.backchannels),
            "others": self.others.iter().map(|(k, a, b)| json!({"kind": k, "from_ms": a, "to_ms": b})).collect::<Vec<_>>(),
            "agent_from_ms": self.agent.0, "agent_to_ms": self.agent.1, "erl_db": self.erl_db, "snr_db": self.snr_db, "noise": self.noise,
            "speaker": self.speaker, "delay_ms": self.path.delay_ms, "line": self.path.line, "bent": self.path.bent,
            "drift_ppm": self.path.drift_ppm, "jumps": self.path.jumps,
        })
    }
}

pub fn make(recipe: &Recipe, corpus: &Corpus, seed: u64) -> Scenario {
    let mut dice = Dice::new(seed);
    let dice = &mut dice;
    let n = ms(recipe.length_ms);
    let (training, rough) = (recipe.is_training(), recipe.is_rough());
    let kind = recipe.kind;
    let user = talker(corpus, dice);
    let telephone = recipe.rate == 8_000 && dice.chance(0.8);

    let mut far = agent(n, corpus, user, dice, recipe);
    let far_level = (-20.0 + 5.0 * dice.normal()).clamp(-38.0, -8.0);
    level_to(&mut far, far_level);
    if telephone {
        band(&mut far);
    }
    if recipe.rate == 8_000 && dice.chance(0.5) {
        far.iter_mut().for_each(|s| *s = mu_law(*s));
    }
    let jumps = kind.ends_with("jump") || recipe.is_full() && dice.chance(if rough { 0.3 } else { 0.1 });
    let mut path = Path::draw(dice, recipe.length_ms, jumps);
    if rough && dice.chance(0.07) {
        path.stutter(dice, recipe.length_ms);
    }
    let mut near = path.echo(&far, dice);
    if recipe.is_full() && dice.chance(if rough { 0.06 } else { 0.02 }) || kind == "silence" && dice.chance(0.4) {
        near.fill(0.0);
        path.erl_db = 99.0;
    }

    let level = (-24.0 + 6.0 * dice.normal()).clamp(-42.0, -9.0);
    let level = level.max(far_level - path.erl_db - FAINTEST_DB[usize::from(rough)]);
    let (loud, crowded) = recipe.noisy();
    let snr_db = if training && dice.chance(loud) {
        dice.between(-2.0, 12.0)
    } else {
        dice.between(0.0, 30.0)
    };
    let mut s = Scenario {
        kind,
        rate: recipe.rate,
        far: Vec::new(),
        near: Vec::new(),
        user: Vec::new(),
        backchannels: Vec::new(),
        others: Vec::new(),
        agent: sounding(&far),
        erl_db: path.erl_db,
        snr_db,
        noise: if training && dice.chance(crowded) {
            "crowd"
        } else {
            dice.pick::<&str>(if corpus.split == "test" {
                &noise::TEST[..]
            } else {
                &noise::TUNE[..]
            })
        },
        speaker: corpus.human[user].name.clone(),
        path,
    };
    let by = if training && dice.chance(0.5) { dice.scale(0.8, 1.25) } else { 1.0 };
    let mut noise = noise::noise(s.noise, (n as f32 * by) as usize, corpus, dice);
    if by != 1.0 {
        noise = warp(&noise, by);
        noise.resize(n, 0.0);
    }
    if training {
        vary(&mut noise, corpus, dice);
    }
    level_to(&mut noise, level - snr_db);
    if rough && dice.chance(0.1) {
        let from = dice.below(n);
        noise[..from].iter_mut().for_each(|s| *s *= 0.05);
    }
    mix(&mut near, &noise, 0);

    others(&mut s, &mut near, n, level, corpus, user, dice, recipe);
    // Synthetic users speak languages that no recording does.
    let voice = if training && dice.chance(0.15) {
        dice.pick(&corpus.agent)
    } else {
        &corpus.human[user]
    };
    speech(&mut s, &mut near, level, voice, dice, recipe);

    if rough {
        let gain = if dice.chance(0.3) { dice.between(-18.0, 12.0) } else { 0.0 };
        scale(&mut near, db(gain));
        if dice.chance(0.3) {
            colour(&mut near, dice);
        }
    }
    if rough {
        spoil(&mut near, dice);
    }
    if telephone {
        band(&mut near);
    }
    let hiss = db(dice.between(-95.0, -65.0));
    near.iter_mut().for_each(|s| *s = (*s + hiss * dice.normal()).clamp(-1.0, 1.0));
    let dc = if rough && dice.chance(0.05) { dice.between(-0.1, 0.1) } else { 0.0 };
    near.iter_mut().for_each(|s| *s += dc);
    match recipe.rate {
        8_000 => {
            near = halve(&near);
            far = halve(&far);
            if dice.chance(0.85) {
                near.iter_mut().for_each(|s| *s = mu_law(*s));
            }
        }
        48_000 => {
            near = triple(&near);
            far = triple(&far);
        }
        _ => {}
    }
    let word = |s: &mut Vec<f32>| {
        s.iter_mut()
            .for_each(|s| *s = (*s * 32_767.0).round().clamp(-32_768.0, 32_767.0) / 32_768.0)
    };
    word(&mut near);
    word(&mut far);
    s.near = near;
    s.far = far;
    s
}

/// Noises that the few kinds are not: two at once, and with peaks and dips of their own.
fn vary(noise: &mut [f32], corpus: &Corpus, dice: &mut Dice) {
    if dice.chance(0.35) {
        level_to(noise, -20.0);
        let mut other = noise::noise(dice.pick::<&str>(&noise::TUNE[..]), noise.len(), corpus, dice);
        level_to(&mut other, -20.0 + dice.between(-12.0, 6.0));
        mix(noise, &other, 0);
    }
    if dice.chance(0.5) {
        for _ in 0..2 {
            Biquad::peak(dice.scale(100.0, 6_000.0), dice.between(0.4, 3.0), dice.between(-14.0, 14.0)).run(noise);
        }
    }
}

/// What lines and devices do to a signal: they lose parts of it, send nothing where little sounds, turn the gain, clip.
fn spoil(near: &mut [f32], dice: &mut Dice) {
    if dice.chance(0.08) {
        for _ in 0..1 + dice.below(8) {
            let from = dice.below(near.len());
            let to = (from + ms(10.0 * (1 + dice.below(6)) as f32)).min(near.len());
            near[from..to].fill(0.0);
        }
    }
    if dice.chance(0.08) {
        let bar = active_level(near) * db(dice.between(-40.0, -15.0));
        let hangover = ms(dice.between(40.0, 300.0));
        let mut open = 0;
        for part in near.chunks_mut(ms(20.0)) {
            open = if power(part).sqrt() > bar {
                hangover
            } else {
                open.saturating_sub(part.len())
            };
            if open == 0 {
                part.fill(0.0);
            }
        }
    }
    if dice.chance(0.1) {
        let (mut gain, mut goal) = (0.0f32, 0.0);
        for part in near.chunks_mut(ms(10.0)) {
            if dice.chance(0.01) {
                goal = dice.between(-9.0, 9.0);
            }
            gain += 0.02 * (goal - gain);
            scale(part, db(gain));
        }
    }
    if dice.chance(0.05) {
        let most = active_level(near) * dice.between(1.0, 4.0);
        near.iter_mut().for_each(|s| *s = s.clamp(-most, most));
    }
}

/// Who the user is: those who only read letters come up less often than those who speak.
fn talker(corpus: &Corpus, dice: &mut Dice) -> usize {
    let mut who = dice.below(corpus.human.len());
    for _ in 0..2 {
        if corpus.human[who].name.starts_with("klettres") {
            who = dice.below(corpus.human.len());
        }
    }
    who
}

/// What a telephone passes.
fn band(s: &mut [f32]) {
    Biquad::high_pass(250.0, 0.7).run(s);
    Biquad::low_pass(3_500.0, 0.8).run(s);
}

fn sounding(s: &[f32]) -> (f32, f32) {
    let first = s.iter().position(|s| s.abs() > 1e-4).unwrap_or(0);
    let last = s.iter().rposition(|s| s.abs() > 1e-4).unwrap_or(0);
    (first as f32 / 16.0, last as f32 / 16.0)
}

/// What the agent plays: one voice, synthetic or a prompt's, sentence after sentence.
fn agent(n: usize, corpus: &Corpus, user: usize, dice: &mut Dice, recipe: &Recipe) -> Vec<f32> {
    let mut far = vec![0.0; n];
    if recipe.is_full() && dice.chance(if recipe.is_rough() { 0.08 } else { 0.02 }) {
        return far;
    }
    let voice = if dice.chance(0.5) {
        dice.pick(&corpus.agent)
    } else {
        let other = (user + 1 + dice.below(corpus.human.len() - 1)) % corpus.human.len();
        &corpus.human[other]
    };
    let mut at = if recipe.is_rough() && dice.chance(0.3) {
        dice.below(n / 3)
    } else {
        ms(dice.between(0.0, 300.0))
    };
    let pause = if recipe.is_rough() && dice.chance(0.3) { 2_500.0 } else { 450.0 };
    while at < n {
        let clip = dice.pick(&voice.clips);
        let mut talk = clip.samples[clip.onset..clip.end].to_vec();
        if recipe.is_training() && dice.chance(0.3) {
            talk = warp(&talk, dice.between(0.87, 1.15));
        }
        level_to(&mut talk, -20.0 + dice.between(-2.0, 2.0));
        mix(&mut far, &talk, at);
        at += talk.len() + ms(dice.between(40.0, pause));
    }
    far
}

/// Everything that is no user speech, by the scenario's kind; in training a few of any kind.
#[expect(clippy::too_many_arguments, reason = "the scenario's draw, used once")]
fn others(s: &mut Scenario, near: &mut [f32], n: usize, level: f32, corpus: &Corpus, user: usize, dice: &mut Dice, recipe: &Recipe) {
    let (training, rough) = (recipe.is_training(), recipe.is_rough());
    let mut wanted: Vec<&'static str> = match s.kind {
        "backchannel" | "cough" | "click" | "dtmf" | "music" | "talker" | "effect" => vec![s.kind],
        _ => Vec::new(),
    };
    if recipe.is_full() {
        for kind in [
            "backchannel",
            "cough",
            "click",
            "click",
            "dtmf",
            "effect",
            "effect",
            "music",
            "talker",
        ] {
            let p = match kind {
                "click" | "backchannel" => 0.15,
                "talker" | "music" => 0.3,
                _ => 0.2,
            };
            if dice.chance(p) {
                wanted.push(kind);
            }
        }
    }
    for kind in wanted {
        let (mut sound, at, loud) = match kind {
            "music" => {
                let at = if dice.chance(0.4) { 0 } else { dice.below(n * 2 / 3) };
                (events::music(n - at, corpus, dice), at, dice.between(-22.0, -2.0))
            }
            "talker" => (
                events::talker(n, corpus, user, dice),
                0,
                dice.between(-26.0, -14.0) + if rough { dice.between(-4.0, 2.0) } else { 0.0 },
            ),
            "backchannel" => {
                let sound = if dice.chance(0.5) {
                    events::mhm(dice)
                } else {
                    let clips = &dice.pick(&corpus.assent).clips;
                    let clip = dice.pick(clips);
                    clip.samples[clip.onset..clip.end].to_vec()
                };
                (sound, dice.below(n), dice.between(-10.0, 3.0))
            }
            "cough" => (events::cough(dice), dice.below(n), dice.between(-8.0, 8.0)),
            "dtmf" => (events::dtmf(dice), dice.below(n), dice.between(-10.0, 6.0)),
            "effect" => {
                let clip = {
                    let clips = &dice.pick(&corpus.effects).clips;
                    dice.pick(clips)
                };
                (clip.samples.clone(), dice.below(n), dice.between(-14.0, 6.0))
            }
            _ => {
                let which = ["click", "keyboard", "door", "breath", "bang"][dice.below(5)];
                (events::knock(which, dice), dice.below(n), dice.between(-10.0, 8.0))
            }
        };
        if training && dice.chance(0.5) {
            let most = if matches!(kind, "backchannel" | "talker") { 1.17 } else { 1.6 };
            sound = warp(&sound, dice.scale(1.0 / most, most));
        }
        if matches!(kind, "backchannel" | "cough") && dice.chance(0.5) {
            sound = crate::path::room(&sound, dice, 0.12);
        }
        level_to(&mut sound, level + loud);
        let gain = if active_level(&sound) > 0.4 {
            0.4 / active_level(&sound)
        } else {
            1.0
        };
        scale(&mut sound, gain);
        mix(near, &sound, at);
        let span = (at as f32 / 16.0, (at + sound.len()).min(n) as f32 / 16.0);
        match kind {
            "backchannel" => s.backchannels.push(span),
            _ => s.others.push((kind, span.0, span.1)),
        }
    }
}

/// The user's words, and their label.
fn speech(s: &mut Scenario, near: &mut [f32], level: f32, voice: &Voice, dice: &mut Dice, recipe: &Recipe) {
    let n = near.len();
    let (training, full, rough) = (recipe.is_training(), recipe.is_full(), recipe.is_rough());
    let times = match (full, s.kind) {
        (true, _) => [0, 1, 1, 2, 3][dice.below(5)],
        (false, kind) if kind.starts_with("interrupt") => 1,
        _ => 0,
    };
    let mut free = 0;
    for _ in 0..times {
        let at = match (full, s.kind) {
            (true, _) => free + ms(dice.between(0.0, recipe.length_ms * 0.6)),
            (false, "interrupt-early") => ms(dice.between(400.0, 1_500.0)),
            _ => ms(dice.between(2_000.0, recipe.length_ms - 2_800.0)),
        };
        let mut talk: Vec<f32> = Vec::new();
        let mut onset = 0;
        let mut spans: Vec<(usize, usize)> = Vec::new();
        let goal = ms(dice.between(500.0, 3_500.0)).max(if full { 0 } else { ms(900.0) });
        for tries in 0..60 {
            let clip = dice.pick(&voice.clips);
            // Training may hear a soft onset; a test that measures time must know it.
            if talk.is_empty() && !clip.sharp && (!full || dice.chance(0.6)) && tries < 58 {
                continue;
            }
            let lead = ms(40.0).min(clip.onset);
            let mut words = clip.samples[clip.onset - lead..clip.end].to_vec();
            level_to(&mut words, -20.0 + if talk.is_empty() { 0.0 } else { dice.between(-3.0, 3.0) });
            // What stands before the onset is the recording's own noise: it fades in.
            words[..lead]
                .iter_mut()
                .enumerate()
                .for_each(|(k, w)| *w *= (k as f32 / lead.max(1) as f32).powi(2));
            if talk.is_empty() {
                onset = lead;
            } else {
                talk.resize(talk.len() + ms(dice.between(30.0, 250.0)), 0.0);
            }
            spans.push((talk.len() + lead, talk.len() + words.len()));
            talk.extend(words);
            if talk.len() > goal {
                break;
            }
        }
        if training && dice.chance(0.4) {
            colour(&mut talk, dice);
        }
        if rough && dice.chance(0.06) {
            // A microphone that is shouted into.
            let most = active_level(&talk) * dice.between(0.5, 2.0);
            talk.iter_mut().for_each(|s| *s = s.clamp(-most, most));
        }
        let by = if training && dice.chance(0.6) {
            dice.between(0.82, 1.2)
        } else {
            1.0
        };
        if by != 1.0 {
            talk = warp(&talk, by);
            onset = (onset as f32 / by) as usize;
        }
        if dice.chance(0.4) {
            talk = crate::path::room(&talk, dice, 0.15);
        } else if rough && dice.chance(0.25) {
            let distance = dice.between(0.4, 1.5);
            talk = Hall::draw(dice).heard(&talk, distance, dice);
        }
        level_to(&mut talk, level + if rough { dice.between(-5.0, 5.0) } else { 0.0 });
        if at + talk.len() / 2 > n {
            break;
        }
        mix(near, &talk, at);
        let end = spans.last().map_or(talk.len(), |s| (s.1 as f32 / by) as usize);
        s.user.push(((at + onset) as f32 / 16.0, ((at + end).min(n)) as f32 / 16.0));
        free = at + talk.len() + ms(dice.between(300.0, 1_200.0));
    }
}
