//! What sounds in the room beside the agent, drawn from a seed by the scenarios' generator: hold music, coughs, knocking and clicking, words cut
//! short, a bed of noise; and the voices of those who interrupt.
//!
//! Levels are those of the scenarios: a user at −24 dBFS, coughs up to 8 dB louder, music up to 2 dB softer. Voices come from the corpus
//! (`make corpus`), of the set that no training has heard; without it prompts of a Debian package serve.

use std::path::Path;

use utterd_scenarios::corpus::Corpus;
use utterd_scenarios::dice::Dice;
use utterd_scenarios::signal::{RATE, level_to, mix, ms, triple};
use utterd_scenarios::{events, noise};

/// What a user speaks at, in dBFS while they speak.
const USER: f32 = -24.0;
/// The bed of noise below that.
const SNR: f32 = 20.0;
const BED_MS: f32 = 30_000.0;
/// Each kind comes in so many forms.
const FORMS: usize = 12;
const PROMPTS: usize = 40;
/// For whoever has no corpus.
const PACKAGED: [&str; 8] = [
    "conf-getchannel",
    "vm-instructions",
    "demo-congrats",
    "ss-noservice",
    "queue-thankyou",
    "agent-loginok",
    "vm-goodbye",
    "invalid",
];

/// A person who interrupts.
#[derive(Clone, Debug)]
pub struct Prompt {
    pub voice: usize,
    pub speaker: String,
    /// From the voice's first sample to the first and the last of the speech.
    pub onset_us: u64,
    pub end_us: u64,
}

/// What a person or a line brings that is no interruption.
#[derive(Clone, Copy, Debug)]
pub struct Thing {
    pub kind: &'static str,
    pub voice: usize,
    pub length_us: u64,
}

pub struct Sounds {
    rate: u32,
    voices: Vec<Vec<f32>>,
    bed: Thing,
    things: Vec<Thing>,
    pub prompts: Vec<Prompt>,
}

impl Sounds {
    /// At 16 or 48 kHz.
    ///
    /// # Errors
    /// What is missing to make the voices.
    pub fn new(seed: u64, rate: u32, corpus: Option<&Path>) -> Result<Sounds, String> {
        assert!([16_000, 48_000].contains(&rate), "a room is made for 16 or 48 kHz, not {rate}");
        let corpus = corpus.map(|root| Corpus::load(root, "test")).transpose()?;
        let mut dice = Dice::new(seed);
        let nothing = Corpus {
            split: "test".into(),
            human: Vec::new(),
            agent: Vec::new(),
            assent: Vec::new(),
            music: Vec::new(),
            effects: Vec::new(),
        };
        let mut bed = noise::noise("pink", ms(BED_MS), &nothing, &mut dice);
        level_to(&mut bed, USER - SNR);
        let mut sounds = Sounds {
            rate,
            voices: Vec::new(),
            bed: Thing {
                kind: "noise",
                voice: 0,
                length_us: 0,
            },
            things: Vec::new(),
            prompts: Vec::new(),
        };
        sounds.bed = sounds.thing("noise", bed);
        for _ in 0..FORMS {
            let n = ms(dice.between(6_000.0, 20_000.0));
            let music = match &corpus {
                Some(corpus) => events::music(n, corpus, &mut dice),
                None => events::chords(n, &mut dice),
            };
            let knock = *dice.pick(&["click", "keyboard", "door", "breath", "bang"]);
            let drawn = [
                ("music", music, dice.between(-22.0, -2.0)),
                ("cough", events::cough(&mut dice), dice.between(-8.0, 8.0)),
                ("knock", events::knock(knock, &mut dice), dice.between(-10.0, 8.0)),
                // Voiced, and over before anybody could be sure.
                ("hum", events::mhm(&mut dice), dice.between(-3.0, 3.0)),
            ];
            for (kind, mut samples, loud) in drawn {
                level_to(&mut samples, USER + loud);
                samples.iter_mut().for_each(|s| *s = s.clamp(-0.9, 0.9));
                let thing = sounds.thing(kind, samples);
                sounds.things.push(thing);
            }
        }
        sounds.people(corpus.as_ref(), &mut dice);
        Ok(sounds)
    }

    pub fn voices(&self) -> impl Iterator<Item = &[f32]> {
        self.voices.iter().map(Vec::as_slice)
    }

    /// The bed of noise: its voice and length.
    pub fn bed(&self) -> (usize, u64) {
        (self.bed.voice, self.bed.length_us)
    }

    /// Half of the time it is a cough; music is long enough as it is.
    pub fn draw(&self, dice: &mut Dice) -> Thing {
        let kind = *dice.pick(&["cough", "cough", "music", "knock", "hum"]);
        let of_kind: Vec<&Thing> = self.things.iter().filter(|t| t.kind == kind).collect();
        **dice.pick(&of_kind)
    }

    /// A voice from samples at the generator's rate.
    fn add(&mut self, samples: &[f32]) -> (usize, u64) {
        self.voices
            .push(if self.rate == 48_000 { triple(samples) } else { samples.to_vec() });
        (self.voices.len() - 1, us(samples.len(), RATE))
    }

    fn thing(&mut self, kind: &'static str, samples: Vec<f32>) -> Thing {
        let (voice, length_us) = self.add(&samples);
        Thing { kind, voice, length_us }
    }

    fn people(&mut self, corpus: Option<&Corpus>, dice: &mut Dice) {
        for n in 0..PROMPTS {
            if let Some(corpus) = corpus {
                // Who only reads letters does not interrupt.
                let people: Vec<_> = corpus.human.iter().filter(|v| !v.name.starts_with("klettres")).collect();
                let person = people[n % people.len()];
                let sharp: Vec<_> = person.clips.iter().filter(|c| c.sharp).collect();
                if sharp.is_empty() {
                    continue;
                }
                let lead = ms(40.0);
                let mut talk = vec![0.0; lead];
                while talk.len() < lead + ms(1_500.0) {
                    let clip = if talk.len() == lead {
                        *dice.pick(&sharp)
                    } else {
                        dice.pick(&person.clips)
                    };
                    let mut words = clip.samples[clip.onset..clip.end].to_vec();
                    level_to(&mut words, USER);
                    mix_behind(&mut talk, &words);
                }
                let (voice, _) = self.add(&talk);
                self.prompts.push(Prompt {
                    voice,
                    speaker: person.name.clone(),
                    onset_us: us(lead, RATE),
                    end_us: us(talk.len(), RATE),
                });
            } else if let Some(name) = PACKAGED.get(n)
                && let Ok(samples) = crate::voices::prompt(name, self.rate, 2_500)
            {
                let end_us = us(samples.len(), self.rate as usize);
                self.voices.push(samples);
                self.prompts.push(Prompt {
                    voice: self.voices.len() - 1,
                    speaker: (*name).into(),
                    onset_us: 0,
                    end_us,
                });
            }
        }
    }
}

/// With a breath between two clips.
fn mix_behind(talk: &mut Vec<f32>, words: &[f32]) {
    let gap = if talk.iter().any(|s| *s != 0.0) { ms(120.0) } else { 0 };
    let at = talk.len() + gap;
    talk.resize(at + words.len(), 0.0);
    mix(talk, words, at);
}

fn us(samples: usize, rate: usize) -> u64 {
    samples as u64 * 1_000_000 / rate as u64
}
