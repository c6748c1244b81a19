//! The first act: it speaks, pauses, goes on, is cancelled and speaks again, driven through `utterctl` as a person would, and judged by the ear.
//!
//! All times in its table are taken from the moment at which the bus saw the call (a monitor on the private bus) to the sample that JACK got, in JACK's
//! own time; how long a shell needs to start `utterctl` is not the daemon's doing.

use crate::stage::{Stage, folder, player};
use std::time::Duration;
use utterd_tests::client::{Event, Session};
use utterd_tests::clock::let_pass;
use utterd_tests::opts;
use utterd_tests::plot::{Mark, Picture, Tint, Word};
use utterd_tests::recording::Recording;
use utterd_tests::tone;
use utterd_tests::world::TONE;

const FIRST: &str = "Hello. I can be stopped in the middle of a word, and I always know what you have heard.";
const CUT: &str = "This sentence is going to be cancelled long before it comes to its natural end.";
const AFTER: &str = "And this one is spoken at once.";

/// Plays it and shows what came of it.
pub(crate) fn play(stage: &Stage) {
    // Opened from here so that it keeps its id while utterctl comes and goes.
    let session = stage.world.espeak_session("demo", opts! { "progress" => "word" });
    let verbs = Verbs { stage, session };
    let (paused, resumed) = verbs.speak_pause_resume();
    let cancelled = verbs.cancel_and_go_on();
    let gap = verbs.gap_between_two();
    stage.say_line("");
    Show {
        verbs: &verbs,
        heard: &stage.world.heard(),
        paused,
        resumed,
        cancelled,
        gap,
    }
    .present();
    verbs.session.close(opts! {}).unwrap();
}

struct Verbs<'a> {
    stage: &'a Stage,
    session: Session,
}

impl Verbs<'_> {
    fn say(&self, text: &str, voice: &[&str]) -> u64 {
        let mut args = vec!["say", text, "--session", "demo", "--no-wait"];
        args.extend(voice);
        let known = self.said();
        self.stage.ctl(&args);
        let client = &self.stage.world.client;
        client.expect_event("the utterance's start or end", |e| e.path == self.session.path && is_new(e, &known));
        *self.said().iter().find(|u| !known.contains(u)).unwrap()
    }

    /// Every utterance that a signal has named so far.
    fn said(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.session.events().iter().filter(|e| names_one(e)).map(|e| e.number(0)).collect();
        ids.dedup();
        ids
    }

    fn word(&self, utterance: u64, n: usize) -> Event {
        let nth = |session: &Session| {
            let words = session
                .events()
                .into_iter()
                .filter(|e| e.is("UtteranceProgress", utterance) && e.text(1) == "word");
            words.into_iter().nth(n)
        };
        utterd_tests::clock::until(utterd_tests::clock::PATIENCE, || nth(&self.session)).expect("the word is heard")
    }

    /// Returns the utterance's pause and resume, as the bus saw them.
    fn speak_pause_resume(&self) -> (u64, u64) {
        self.stage
            .say_line("\nIt speaks, pauses in mid-sentence, and goes on from the same sample:\n");
        let_pass(Duration::from_millis(400)); // A little silence for the picture to begin with.
        let id = self.say(FIRST, &[]);
        let word = self.word(id, 7);
        self.stage.told(&format!("heard {:?}", said_so_far(FIRST, &word)));
        self.stage.ctl(&["pause", "--session", "demo"]);
        let paused = self.stage.monitor.call("Pause", 0).at_us;
        let_pass(Duration::from_millis(700));
        self.stage.ctl(&["resume", "--session", "demo"]);
        let resumed = self.stage.monitor.call("Resume", 0).at_us;
        let (outcome, report) = self.session.wait(id);
        self.stage.told(&format!("{outcome}: heard {:?}", report.text("heard-text")));
        (paused, resumed)
    }

    /// Returns the cancelled utterance and the moment of the cancel.
    fn cancel_and_go_on(&self) -> (u64, u64) {
        self.stage.say_line("\nIt is cancelled in mid-word, and reports what was heard:\n");
        let id = self.say(CUT, &[]);
        self.word(id, 5);
        let_pass(Duration::from_millis(220)); // The middle of "cancelled", past the silence of its first sound.
        self.stage.ctl(&["cancel", "--session", "demo"]);
        let cancelled = self.stage.monitor.call("Cancel", 0).at_us;
        let (outcome, report) = self.session.wait(id);
        self.stage.told(&format!(
            "{outcome}: heard {:?} ({})",
            report.text("heard-text"),
            report.text("heard-source")
        ));
        let_pass(Duration::from_millis(700));
        let next = self.say(AFTER, &[]);
        let (outcome, _) = self.session.wait(next);
        self.stage.told(&format!("{outcome}: heard {AFTER:?}"));
        (id, cancelled)
    }

    /// Two sentences in the voice whose samples tell whose they are; the silence between them in samples.
    fn gap_between_two(&self) -> usize {
        let_pass(Duration::from_millis(400));
        self.stage
            .say_line("\nTwo queued sentences, in a voice whose every sample carries its number:\n");
        let voice = ["--backend", TONE, "--voice", "tone-id", "--gain-db", "0"];
        let one = self.say("tick", &voice);
        let two = self.say("tock", &voice);
        self.session.wait(two);
        let heard = self.stage.world.heard();
        let runs = tone::runs(&heard);
        let run = |id: u64| runs.iter().rfind(|r| r.voice == tone::voice(id)).expect("it was heard");
        let gap = run(two).heard.start - run(one).heard.end;
        self.stage
            .told(&format!("the second one begins {gap} samples after the first one's last"));
        gap
    }
}

fn names_one(event: &Event) -> bool {
    ["UtteranceStarted", "UtteranceProgress", "UtteranceFinished"].contains(&event.member.as_str())
}

fn is_new(event: &Event, known: &[u64]) -> bool {
    names_one(event) && !known.contains(&event.number(0))
}

fn said_so_far(text: &str, word: &Event) -> String {
    text.chars().take(word.number(3) as usize).collect()
}

/// What is shown in the end.
struct Show<'a> {
    verbs: &'a Verbs<'a>,
    heard: &'a Recording,
    paused: u64,
    resumed: u64,
    cancelled: (u64, u64),
    gap: usize,
}

impl Show<'_> {
    fn present(&self) {
        let session = &self.verbs.session;
        let starts = |id: u64| self.verbs.stage.world.client.expect_started(id);
        let first = self.verbs.said()[0];
        let asked = self.verbs.stage.monitor.call("Say", 0).at_us;
        let sound = self.sound_after(asked);
        let (cut, cancelled) = self.cancelled;
        let silent = self.last_before_silence(cancelled);
        let paused = self.last_before_silence(self.paused);
        let report = self.verbs.stage.world.client.expect_finished(cut).dict(2);
        let ms = |from: u64, to: u64| format!("{:.1} ms", (to as f64 - from as f64) / 1_000.0);
        let period = self.verbs.stage.world.jack.period_us() as f64 / 1_000.0;
        println!(
            "  {:<34} {:>12}   what to compare it with",
            "from the call on the bus", "at the ear"
        );
        let row = |name: &str, value: String, note: &str| println!("  {name:<34} {value:>12}   {note}");
        let own = utterd_tests::espeak::first_sound(FIRST, 5).map(|times| utterd_tests::stats::Distribution::of(times).p50());
        let own = own.map_or("the same".into(), |own| format!("libespeak-ng by itself {own:.1} ms, and a period"));
        row("say → first sound", ms(asked, sound), &own);
        row(
            "cancel → silence",
            ms(cancelled, silent),
            &format!("a period is {period:.1} ms, the fade 5 ms"),
        );
        row("pause → silence", ms(self.paused, paused), "the same");
        row("gap between two queued sentences", format!("{} samples", self.gap), "to the sample");
        let text = report.text("heard-text").to_owned();
        println!("  {:<34} {text:?} of {CUT:?}\n", "heard text at the cancel");

        let folder = folder();
        let (wav, svg) = (folder.join("demo.wav"), folder.join("demo.svg"));
        let margin = self.heard.rate as usize * 3 / 10;
        let from = self.heard.at_us(asked).saturating_sub(margin);
        // The picture ends with what a person would want to hear; the numbered samples are noise.
        let third = self.verbs.said()[2];
        let end = self.heard.at_us(self.verbs.stage.world.client.expect_finished(third).at_us) + margin;
        let range = from..end.min(self.heard.samples.len());
        self.heard.write_wav(&wav, range.clone());
        let marks = vec![
            mark(asked, "say", Tint::Verb),
            mark(sound, &format!("first sound, {}", ms(asked, sound)), Tint::Sound),
            mark(self.paused, "pause", Tint::Verb),
            mark(paused, &format!("silent, {}", ms(self.paused, paused)), Tint::Stop),
            mark(self.resumed, "resume, at the same sample", Tint::Verb),
            mark(self.verbs.stage.monitor.call("Say", 1).at_us, "say", Tint::Verb),
            mark(cancelled, "cancel", Tint::Verb),
            mark(silent, &format!("silent, {}", ms(cancelled, silent)), Tint::Stop),
            mark(starts(third).at_us, "the next sentence", Tint::Sound),
        ];
        let words = [(first, FIRST), (cut, CUT), (third, AFTER)]
            .iter()
            .flat_map(|(id, text)| words(session, *id, text))
            .collect();
        let spans = vec![(paused, self.resumed, "paused".to_owned())];
        let picture = Picture {
            title: "utterd: said, paused, resumed, cancelled — and what was heard",
            subtitle: "The daemon's JACK port as another JACK client recorded it. Words stand where the daemon reported them heard.",
            recording: self.heard,
            range,
            marks,
            words,
            spans,
        };
        picture.write(&svg).unwrap();
        println!(
            "  the sound     {}\n  to listen     {}\n  the picture   {}",
            wav.display(),
            player(&wav),
            svg.display()
        );
    }

    /// The first sound at or after a moment.
    fn sound_after(&self, us: u64) -> u64 {
        self.heard.us_at(
            self.heard
                .first_sound(self.heard.at_us(us)..usize::MAX)
                .expect("something was heard"),
        )
    }

    /// The end of what sounds at this moment: the last sound before the first silence of a quarter of a second.
    fn last_before_silence(&self, us: u64) -> u64 {
        let at = self.heard.at_us(us);
        let silence = self
            .heard
            .silences(self.heard.rate as usize / 4)
            .into_iter()
            .find(|s| s.end > at)
            .expect("silence follows");
        self.heard.us_at(silence.start)
    }
}

fn mark(at_us: u64, label: &str, tint: Tint) -> Mark {
    Mark {
        at_us,
        label: label.to_owned(),
        tint,
    }
}

/// The words as they were reported heard.
fn words(session: &Session, utterance: u64, text: &str) -> Vec<Word> {
    let points: Vec<char> = text.chars().collect();
    let told = session
        .events()
        .into_iter()
        .filter(|e| e.is("UtteranceProgress", utterance) && e.text(1) == "word");
    told.map(|e| Word {
        at_us: e.at_us,
        text: points[e.number(2) as usize..e.number(3) as usize].iter().collect(),
        heard: true,
    })
    .collect()
}
