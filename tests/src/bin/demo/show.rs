//! What the conversation came to: the table, the daemon's own recording of it, and the picture.

use crate::stage::{folder, player, quote};
use crate::talk::{Conversation, LABELS, RECORDING, Sound, Turn};
use utterd_tests::client::Event;
use utterd_tests::clock::{PATIENCE, until};
use utterd_tests::dialogue::{Detail, Dialogue, Kind, Mark, Said, Span, Voice};
use utterd_tests::recording::Recording;
use utterd_tests::resume::laid_over;

/// The user's first sounds, shown at a larger scale.
const SHOWN: [&str; 4] = ["Too early", "A real interruption", "A cough", "A hum"];
/// The greeting's protection, in ms of it that were sent.
const PROTECTED_MS: u64 = 500;

pub(crate) fn present(conversation: &Conversation<'_>) {
    let world = &conversation.stage.world;
    let heard = world.heard();
    let facts = Facts::of(conversation, &heard);
    println!(
        "\n  {:<44} {:>12}   at the ear, from the user's first sample on",
        "in the conversation", ""
    );
    for (name, value, note) in facts.rows() {
        println!("  {name:<44} {value:>12}   {note}");
    }
    let (wav, svg) = (folder().join(RECORDING), folder().join("conversation.svg"));
    until(PATIENCE, || {
        world.client.events().into_iter().find(|e| e.member == "RecordingFinished")
    })
    .expect("the recording is whole");
    facts.picture(&conversation.microphone()).write(&svg).unwrap();
    println!(
        "\n  the recording {}   (made by the daemon: the agent left, the microphone right)\n  to listen     {}\n  the picture   {}",
        wav.display(),
        player(&wav),
        svg.display()
    );
}

/// A suspicion and what it came to.
struct Suspicion {
    suspected_us: u64,
    ended_us: u64,
    is_confirmed: bool,
    /// The agent's silence: its first moment and the first one after it.
    silent_us: (u64, u64),
    sound: Sound,
}

struct Facts<'a> {
    conversation: &'a Conversation<'a>,
    heard: &'a Recording,
    suspicions: Vec<Suspicion>,
}

impl<'a> Facts<'a> {
    fn of(conversation: &'a Conversation<'a>, heard: &'a Recording) -> Facts<'a> {
        let mut open: Option<Event> = None;
        let mut suspicions = Vec::new();
        for event in conversation.session.events().into_iter().filter(|e| e.member == "BargeIn") {
            match event.text(0) {
                "suspected" => open = Some(event),
                "confirmed" | "false" => {
                    let Some(suspected) = open.take() else { continue };
                    let last_sound = |s: &&Sound| s.began.us < suspected.at_us;
                    let Some(sound) = conversation.sounds.iter().rfind(last_sound) else {
                        continue;
                    };
                    suspicions.push(Suspicion {
                        suspected_us: suspected.at_us,
                        ended_us: event.at_us,
                        is_confirmed: event.text(0) == "confirmed",
                        silent_us: silence_at(heard, event.at_us),
                        sound: *sound,
                    });
                }
                _ => {}
            }
        }
        Facts {
            conversation,
            heard,
            suspicions,
        }
    }

    fn rows(&self) -> Vec<(String, String, String)> {
        let [greeting, interrupted, answer, last] = self.conversation.turns.as_slice() else {
            panic!("four turns")
        };
        let row = |name: &str, value: String, note: String| (name.to_owned(), value, note);
        let ms = |us: u64| format!("{} ms", us / 1_000);
        let mut rows = Vec::new();
        let greeted = self.of_turn(greeting).next().map(|s| self.paused(s));
        let note = match greeted {
            None => "nor afterwards".to_owned(),
            Some(pause) => format!("when it ended, silent for {pause}, then on at its sample"),
        };
        let outcome = greeting.finished.text(1);
        rows.push(row(
            "“hello” in the protected half second",
            "not heeded".into(),
            format!("{note}; {outcome}"),
        ));
        if let Some(stop) = self.of_turn(interrupted).next() {
            rows.push(row(
                "a real interruption → the agent is silent",
                format!("{} ms", stop.sound.ms_until(self.heard, stop.silent_us.0)),
                "suspected, and paused".into(),
            ));
            rows.push(row(
                "                    → cancelled",
                format!("{} ms", stop.sound.ms_until(self.heard, stop.ended_us)),
                "confirmed, and told to the brain".into(),
            ));
        }
        let report = interrupted.finished.dict(2);
        let outcome = interrupted.finished.text(1).to_owned();
        rows.push(row("the text that was heard of it", outcome, quote(report.text("heard-text"))));
        for sound in self.conversation.sounds.iter().filter(|s| during(answer).contains(&s.began.us)) {
            let name = LABELS[sound.voice];
            match self.suspicions.iter().find(|s| s.sound.began.us == sound.began.us) {
                Some(pause) => {
                    let lasted = self.paused(pause);
                    rows.push(row(&format!("{name} → silent for"), lasted, self.went_on(answer)));
                }
                None => rows.push(row(name, "not heeded".into(), "no speech, and not even a pause".into())),
            }
        }
        let silence = last.started.dict(1);
        if silence.has("user-silence-us") {
            let value = ms(silence.number("user-silence-us"));
            rows.push(row(
                "the user's last sound → the next answer",
                value,
                "the brain answers at once".into(),
            ));
        }
        rows
    }

    /// Whether what was heard of a turn is, pauses cut out, the same text spoken undisturbed.
    fn went_on(&self, turn: &Turn) -> String {
        let original = self.conversation.rehearsal.samples();
        let (from, to) = (
            self.heard.at_us(turn.started.at_us - 100_000),
            self.heard.at_us(turn.finished.at_us),
        );
        match laid_over(&self.heard.samples[from..to], &original) {
            Ok(same) => format!(
                "then on at its sample: all {} are those of the sentence undisturbed, within {:.0e}",
                same.samples, same.largest_difference
            ),
            Err(e) => format!("not the sentence as it is undisturbed: {e}"),
        }
    }

    fn of_turn(&self, turn: &Turn) -> impl Iterator<Item = &Suspicion> {
        let during = during(turn);
        self.suspicions.iter().filter(move |s| during.contains(&s.suspected_us))
    }

    fn paused(&self, s: &Suspicion) -> String {
        let frames = self.frame(s.silent_us.1) - self.frame(s.silent_us.0);
        format!("{} ms", frames * 1_000 / u64::from(self.heard.rate))
    }

    fn frame(&self, us: u64) -> u64 {
        self.heard.frame_at(self.heard.at_us(us))
    }

    fn picture<'p>(&'p self, microphone: &'p Recording) -> Dialogue<'p> {
        let turns = &self.conversation.turns;
        let rate = u64::from(self.heard.rate);
        let (first, last) = (&turns[0], &turns[turns.len() - 1]);
        let said: Vec<Said> = turns.iter().map(|t| self.said(t)).collect();
        let begin = self.frame(first.started.at_us) - rate / 4;
        let end = self.frame(last.finished.at_us) + rate / 4;
        let protection = said[0].frames.start..said[0].frames.start + PROTECTED_MS * rate / 1_000;
        let mut spans = vec![Span {
            frames: protection,
            kind: Kind::Protected,
        }];
        spans.extend(self.suspicions.iter().map(|s| Span {
            frames: self.frame(s.suspected_us)..self.frame(s.ended_us),
            kind: Kind::Suspected,
        }));
        let voices = self.conversation.sounds.iter().map(|s| Voice {
            from: s.began.frame,
            samples: self.conversation.voices[s.voice].clone(),
            label: LABELS[s.voice].to_owned(),
        });
        Dialogue {
            title: "utterd: a conversation through its own ears",
            subtitle: "What JACK clients recorded at the daemon's ports: the agent's voice, and the microphone with the user and the agent's echo in it, 60 ms late and 12 dB softer.",
            agent: self.heard,
            microphone,
            frames: begin..end,
            zero: begin + rate / 4,
            said,
            voices: voices.collect(),
            spans,
            marks: self.marks(),
            details: self.details(),
        }
    }

    fn said(&self, turn: &Turn) -> Said {
        let report = turn.finished.dict(2);
        let heard = report.text("heard-text").to_owned();
        let from = self.heard.first_sound(self.heard.at_us(turn.started.at_us - 50_000)..usize::MAX);
        let unheard = turn.text.get(heard.len()..).unwrap_or_default().trim().to_owned();
        let outcome = if unheard.is_empty() {
            "completed"
        } else {
            "cancelled, the rest never heard"
        };
        Said {
            frames: self.heard.frame_at(from.expect("it was heard"))..self.frame(turn.finished.at_us),
            heard,
            unheard,
            outcome: outcome.to_owned(),
        }
    }

    fn marks(&self) -> Vec<Mark> {
        let mut marks: Vec<Mark> = Vec::new();
        let mut mark = |us: u64, kind: Kind, label: String| {
            marks.push(Mark {
                frame: self.frame(us),
                kind,
                label,
            });
        };
        for event in self.conversation.session.events() {
            let Some(sound) = self.conversation.sounds.iter().rfind(|s| s.began.us < event.at_us) else {
                continue;
            };
            if event.member == "BargeIn" && event.text(0) == "protected" {
                mark(
                    event.at_us,
                    Kind::Protected,
                    format!("heard +{} ms: protected", sound.ms_until(self.heard, event.at_us)),
                );
            }
        }
        for s in &self.suspicions {
            let after = |us: u64| s.sound.ms_until(self.heard, us);
            mark(s.silent_us.0, Kind::Silent, format!("silent +{} ms", after(s.silent_us.0)));
            if s.is_confirmed {
                mark(s.ended_us, Kind::Cancelled, format!("cancelled +{} ms", after(s.ended_us)));
            } else {
                mark(s.ended_us, Kind::Resumed, format!("goes on +{} ms", after(s.ended_us)));
            }
        }
        marks
    }

    fn details(&self) -> Vec<Detail> {
        let rate = u64::from(self.heard.rate);
        let ms = |ms: u64| ms * rate / 1_000;
        let greeted = during(&self.conversation.turns[0]);
        let sounds = self.conversation.sounds.iter().take(SHOWN.len()).zip(SHOWN);
        sounds
            .map(|(sound, title)| {
                let verdict = match self.suspicions.iter().find(|s| s.sound.began.us == sound.began.us) {
                    Some(s) if s.is_confirmed => "paused at once, then cancelled",
                    Some(_) => "paused, then on from its sample",
                    None if greeted.contains(&sound.began.us) => "the first 500 ms are protected",
                    None => "no speech: nothing changes",
                };
                Detail {
                    title: title.to_owned(),
                    verdict: verdict.to_owned(),
                    frames: sound.began.frame - ms(150)..sound.began.frame + ms(850),
                    zero: sound.began.frame,
                }
            })
            .collect()
    }
}

fn during(turn: &Turn) -> std::ops::RangeInclusive<u64> {
    turn.started.at_us..=turn.finished.at_us
}

/// The silence that holds at this moment: its first moment and the first one after it.
fn silence_at(heard: &Recording, us: u64) -> (u64, u64) {
    let at = heard.at_us(us);
    let silence = heard.silences(heard.rate as usize / 100).into_iter().rfind(|s| s.start <= at);
    let silence = silence.unwrap_or(at..at);
    (heard.us_at(silence.start), heard.us_at(silence.end.min(heard.samples.len() - 1)))
}
