//! Hearing through the whole daemon: an agent speaks into a room that brings its voice back into the microphone, and `detector-bargein` hears
//! what else sounds there.
//!
//! Two runs. *Bothered*: nobody interrupts, but there is hold music, coughing, knocking and words cut short; every pause is a false one, and each
//! must go on from its sample. *Interrupted*: human voices talk over the agent, and the ear says when it fell silent. All that happens is drawn
//! from a seed; real time is what it takes, because detector, policy and audio server know no other.
//! Not here: rates over hours, which the same detector and policy give offline (`make bench-bargein`).

mod cost;
mod follow;
mod sounds;

use std::time::Duration;

use crate::client::{Event, OWNER, ROOT, Session};
use crate::clock::{let_pass, now_us, until};
use crate::daemon::{PLUGINS, Plan as DaemonPlan};
use crate::jack::JackOptions;
use crate::mouth::Mouth;
use crate::opts;
use crate::recording::Recording;
use crate::room::Echo;
use crate::stats::Distribution;
use crate::tone;
use crate::world::{ESPEAK, TONE, World};
use utterd_scenarios::dice::Dice;

pub use cost::{Cost, Thread};
pub use follow::{Followed, Pause, follow};
pub use sounds::{Prompt, Sounds};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// `tone-id`, whose every sample carries its number: what is heard can be proved, but it is no speech. Its echo is a direct current with
    /// steps, which no canceller and no listener hears.
    Tone,
    /// espeak-ng: an echo that counts.
    Speech,
}

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub agent: Agent,
    pub jack: JackOptions,
    pub echo: Echo,
    pub seed: u64,
}

/// What the agent reads aloud.
const PROSE: [&str; 8] = [
    "The office is open from nine in the morning until six in the evening, from Monday to Friday, and on Saturdays until noon.",
    "Your order was packed yesterday and left the warehouse during the night, so it should be with you tomorrow before ten o'clock.",
    "If the lamp on the front of the box is green, everything is in order; if it is red, please pull the plug, count to ten, and try again.",
    "There are three trains in the afternoon, and the second one is the fastest, because it stops only twice before it reaches the coast.",
    "I have found two appointments for next week, one on Tuesday at a quarter past eight and one on Thursday in the late afternoon.",
    "To change your address we need the number of your contract, which you find on the upper right of every letter that we have sent you.",
    "The weather will stay dry until the evening, with a light wind from the west, and during the night there may be some rain in the hills.",
    "Your account shows a payment of forty seven euros on the third of the month, and another one of twelve euros on the day after that.",
];

/// An agent in a room.
struct Stage {
    world: World,
    session: Session,
    room: Mouth,
    sounds: Sounds,
    dice: Dice,
    /// Everything that was said: utterance and length in characters.
    said: Vec<(u64, usize)>,
    agent: Agent,
}

impl Stage {
    fn set(plan: &Plan, sounds: Sounds) -> Stage {
        let with_detector = PLUGINS.iter().copied().chain(["utterd-detector-bargein"]);
        let daemon = DaemonPlan {
            plugins: with_detector.map(str::to_owned).collect(),
            ..DaemonPlan::default()
        };
        let world = World::with(plan.jack, &daemon);
        let mut options = match plan.agent {
            // Assent only pauses here: the more pauses there are, the more is proved.
            Agent::Tone => opts! { "backend" => TONE, "voice" => "tone-id", "backchannel" => "resume" },
            Agent::Speech => opts! { "backend" => ESPEAK },
        };
        options.extend(opts! { "barge-in" => "pause-then-confirm", "detector" => "detector-bargein" });
        let session = world.client.open("agent", options).unwrap_or_else(|e| panic!("OpenSession: {e}"));
        // One capture and one detector for the whole run, also between two utterances.
        let listening = world.client.call(ROOT, OWNER, "EnterListening", &("agent", 0_u64));
        listening.unwrap_or_else(|e| panic!("EnterListening: {e}"));
        let voices: Vec<&[f32]> = sounds.voices().collect();
        let room = Mouth::in_room(&world.jack, &voices, plan.echo);
        Stage {
            world,
            session,
            room,
            sounds,
            dice: Dice::new(plan.seed),
            said: Vec::new(),
            agent: plan.agent,
        }
    }

    /// The next piece of text, some fifteen seconds long.
    fn say(&mut self) -> u64 {
        let from = self.dice.below(PROSE.len());
        let text = match self.agent {
            // 50 ms a character.
            Agent::Tone => PROSE[from].repeat(3),
            Agent::Speech => format!("{} {}", PROSE[from], PROSE[(from + 1) % PROSE.len()]),
        };
        let id = self.session.say(&text, opts! {});
        self.said.push((id, text.chars().count()));
        id
    }

    fn finished(&self, id: u64) -> Option<Event> {
        self.world.client.find_event(Duration::ZERO, |e| e.is("UtteranceFinished", id))
    }

    /// The verdicts on what was heard, in order.
    fn verdicts(&self) -> Vec<(u64, String)> {
        let told = self.session.events().into_iter().filter(|e| e.member == "BargeIn");
        told.map(|e| (e.at_us, e.text(0).to_owned())).collect()
    }
}

/// What sounded beside the agent, and when.
#[derive(Clone, Debug)]
pub struct Happened {
    pub kind: &'static str,
    pub from_us: u64,
    pub to_us: u64,
}

/// A pause that nobody asked for.
#[derive(Clone, Debug)]
pub struct FalsePause {
    /// Of silence at the ear, with what the agent would have been silent for there anyway.
    pub ms: f64,
    /// From the suspicion to its end, as the bus tells them.
    pub doubted_ms: f64,
    /// What sounded then or just before; nothing: the agent's own echo.
    pub after: Vec<&'static str>,
    pub was_cancelled: bool,
}

/// What nobody's interruption came to.
#[derive(Debug)]
pub struct Bothered {
    /// Of agent speech.
    pub minutes: f64,
    pub happened: Vec<Happened>,
    pub pauses: Vec<FalsePause>,
    /// Tone only: every utterance followed by its samples.
    pub followed: Vec<Followed>,
    pub cost: Cost,
    pub ear_xruns: usize,
    pub underrun_us: f64,
}

impl FalsePause {
    /// The user did make a sound, of assent: counted by itself, as the bench does.
    pub fn is_assent(&self) -> bool {
        self.after.contains(&"hum")
    }
}

impl Bothered {
    /// Pauses, and those among them that became cancels; of assent, or of what is no user speech at all.
    pub fn counts(&self, of_assent: bool) -> [usize; 2] {
        let of_kind = || self.pauses.iter().filter(|p| p.is_assent() == of_assent);
        [of_kind().count(), of_kind().filter(|p| p.was_cancelled).count()]
    }

    /// How long the agent was silent for nothing, and how long in doubt.
    pub fn lengths(&self, of_assent: bool) -> [Distribution; 2] {
        let resumed = || {
            let all = self.pauses.iter();
            all.filter(move |p| p.is_assent() == of_assent && !p.was_cancelled)
        };
        [
            Distribution::of(resumed().map(|p| p.ms)),
            Distribution::of(resumed().map(|p| p.doubted_ms)),
        ]
    }
}

/// Speaks for so long, without a break, while all kinds of things sound.
pub fn bothered(plan: &Plan, sounds: Sounds, time: Duration) -> Bothered {
    let mut stage = Stage::set(plan, sounds);
    stage.say();
    stage.room.wait_connected();
    let before = Cost::of(stage.world.daemon.pid());
    let (began, mut happened) = (now_us(), Vec::new());
    let mut bed_until = 0;
    let mut next_at = began + 3_000_000;
    while now_us() < began + time.as_micros() as u64 {
        let open = stage
            .said
            .iter()
            .rev()
            .take(3)
            .filter(|(id, _)| stage.finished(*id).is_none())
            .count();
        for _ in open..2 {
            stage.say();
        }
        if now_us() >= bed_until {
            let (voice, length_us) = stage.sounds.bed();
            bed_until = stage.room.play_voice(voice).us + length_us;
        }
        if now_us() >= next_at {
            let thing = stage.sounds.draw(&mut stage.dice);
            let from_us = stage.room.play_voice(thing.voice).us;
            let to_us = from_us + thing.length_us;
            happened.push(Happened {
                kind: thing.kind,
                from_us,
                to_us,
            });
            next_at = to_us + 500_000 + stage.dice.below(4_000_000) as u64;
        }
        let_pass(Duration::from_millis(20));
    }
    let cost = Cost::of(stage.world.daemon.pid()).since(&before);
    let last = stage.said.last().map(|(id, _)| *id);
    let over = until(Duration::from_secs(90), || last.and_then(|id| stage.finished(id)));
    assert!(over.is_some(), "the last utterance never finished");
    let heard = stage.world.heard();
    judge_bothered(&stage, &heard, happened, cost)
}

fn judge_bothered(stage: &Stage, heard: &Recording, happened: Vec<Happened>, cost: Cost) -> Bothered {
    let mut pauses = Vec::new();
    let mut since = None;
    for (at_us, verdict) in stage.verdicts() {
        match verdict.as_str() {
            "suspected" => since = Some(at_us),
            "false" | "confirmed" => {
                let from_us = since.take().unwrap_or(at_us);
                let sounded = |h: &&Happened| h.from_us < from_us && from_us < h.to_us + 300_000;
                pauses.push(FalsePause {
                    ms: silence_ms(heard, from_us, at_us),
                    doubted_ms: (at_us - from_us) as f64 / 1_000.0,
                    after: happened.iter().filter(sounded).map(|h| h.kind).collect(),
                    was_cancelled: verdict == "confirmed",
                });
            }
            _ => {}
        }
    }
    let followed = match stage.agent {
        Agent::Speech => Vec::new(),
        Agent::Tone => {
            let runs = tone::runs(heard);
            let all = stage.said.iter().enumerate();
            all.map(|(n, (id, chars))| {
                let whole = stage.finished(*id).is_some_and(|e| e.text(1) == "completed");
                // Codes come again after 127 utterances: only what lies between its neighbours' times is its own.
                let from = n
                    .checked_sub(1)
                    .and_then(|n| stage.finished(stage.said[n].0))
                    .map_or(0, |e| e.at_us);
                let to = stage.finished(*id).map_or(u64::MAX, |e| e.at_us);
                let within = heard.at_us(from.saturating_sub(1_000_000))..heard.at_us(to + 1_000_000).max(1);
                follow(heard, &runs, *id, within, whole.then_some(chars * heard.rate as usize / 20))
            })
            .collect()
        }
    };
    let sounding: usize = heard.sounds(heard.rate as usize / 2).iter().map(|s| s.len()).sum();
    Bothered {
        minutes: sounding as f64 / f64::from(heard.rate) / 60.0,
        happened,
        pauses,
        followed,
        cost,
        ear_xruns: stage.world.ear.xruns(),
        underrun_us: stage.world.client.metrics("").unwrap()["utterd_tx_underrun_us_total"],
    }
}

/// How long the ear heard nothing, between a suspicion and its end.
fn silence_ms(heard: &Recording, from_us: u64, to_us: u64) -> f64 {
    let near = heard.at_us(from_us.saturating_sub(50_000))..heard.at_us(to_us + 50_000);
    let silent = heard.silences_within(near, heard.rate as usize / 100);
    silent
        .iter()
        .map(|s| s.len() as f64 * 1_000.0 / f64::from(heard.rate))
        .fold(0.0, f64::max)
}

/// One attempt to interrupt.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub speaker: String,
    /// From the user's onset to the agent's last sample before it paused, and before it was cancelled; none: it did not.
    pub paused_ms: Option<f64>,
    pub silent_ms: Option<f64>,
    /// From the onset to the decision, as the bus tells it.
    pub confirmed_ms: Option<f64>,
    pub taken_back: usize,
}

/// Somebody talks over the agent, so often.
pub fn interrupted(plan: &Plan, sounds: Sounds, times: usize) -> (Vec<Attempt>, usize) {
    let mut stage = Stage::set(plan, sounds);
    let mut tries: Vec<(Prompt, u64, u64)> = Vec::new();
    let mut too_early = 0;
    let mut connected = false;
    while tries.len() < times {
        let id = stage.say();
        stage.world.client.expect_started(id);
        if !std::mem::replace(&mut connected, true) {
            stage.room.wait_connected();
        }
        let (bed, _) = stage.sounds.bed();
        stage.room.play_voice(bed);
        let_pass(Duration::from_millis(2_000 + stage.dice.below(2_500) as u64));
        if stage.finished(id).is_some() {
            too_early += 1;
            continue;
        }
        let prompt = stage.dice.pick(&stage.sounds.prompts).clone();
        let onset_us = stage.room.play_voice(prompt.voice).us + prompt.onset_us;
        let patience = Duration::from_micros(prompt.end_us + 1_500_000);
        if stage.world.client.find_event(patience, |e| e.is("UtteranceFinished", id)).is_none() {
            stage.session.cancel(opts! {});
        }
        until(patience, || (now_us() > onset_us + prompt.end_us + 1_200_000).then_some(()));
        tries.push((prompt, onset_us, id));
    }
    let heard = stage.world.heard();
    let verdicts = stage.verdicts();
    let attempts = tries.into_iter().map(|(prompt, onset_us, id)| {
        let over = stage.world.client.expect_finished(id);
        judge_attempt(&heard, &verdicts, prompt, onset_us, &over)
    });
    (attempts.collect(), too_early)
}

fn judge_attempt(heard: &Recording, verdicts: &[(u64, String)], prompt: Prompt, onset_us: u64, over: &Event) -> Attempt {
    let since = |us: u64| (us as f64 - onset_us as f64).max(0.0) / 1_000.0;
    let within = |what: &str| {
        let times = verdicts.iter().filter(|(at, w)| w == what && *at >= onset_us && *at <= over.at_us);
        times.map(|(at, _)| *at).collect::<Vec<_>>()
    };
    let was_cancelled = over.text(1) == "cancelled" && over.dict(2).text("reason") == "barge-in";
    let end = heard.at_us(over.at_us + 20_000);
    let last_before = |at: usize| heard.last_sound(0..at).map(|at| since(heard.us_at(at)));
    // The first silence of a tenth of a second after the first suspicion is the pause, wherever the agent itself had fallen silent.
    let pause = within("suspected").first().and_then(|at| {
        let range = heard.at_us(at.saturating_sub(50_000))..heard.at_us(at + 400_000);
        heard.silences_within(range, heard.rate as usize / 10).first().map(|s| s.start)
    });
    Attempt {
        speaker: prompt.speaker,
        paused_ms: pause.and_then(last_before),
        silent_ms: was_cancelled.then(|| last_before(end)).flatten(),
        confirmed_ms: within("confirmed").first().map(|at| since(*at)),
        taken_back: within("false").len(),
    }
}
