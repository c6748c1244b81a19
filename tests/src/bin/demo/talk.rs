//! The second act: a conversation of four turns through the shipped detector, in a room that brings the agent's voice back into the microphone.
//!
//! The script of the "brain" is fixed; when the user speaks is a cue in the agent's words, and all that follows is the daemon's. Told is what it told
//! (signals) and what the ear found in the loudspeaker's sound; nothing is taken from its log.

use crate::stage::{Stage, folder, quote};
use std::ops::Range;
use std::time::Duration;
use utterd_tests::client::{Event, Options, Session};
use utterd_tests::clock::{PATIENCE, let_pass, until};
use utterd_tests::ear::Ear;
use utterd_tests::mouth::{Began, Mouth};
use utterd_tests::opts;
use utterd_tests::recording::Recording;
use utterd_tests::room::Echo;
use utterd_tests::stream::{Listener, Stream};
use utterd_tests::voices;

pub(crate) const RECORDING: &str = "conversation.wav";
const GREETING: &str = "Good evening, this is the front desk of the Harbour Hotel. How may I help you?";
const BREAKFAST: &str =
    "Breakfast is served from seven until ten in the large dining room on the first floor, overlooking the old lighthouse.";
const LUGGAGE: &str = "Of course, take your time. Somebody will carry your suitcases up to the fourth floor in the meantime.";
const GOODBYE: &str = "You are welcome. Have a good night.";

/// The echo of a loudspeaker on the desk.
pub(crate) const ECHO: Echo = Echo {
    delay_ms: 60.0,
    erl_db: 12.0,
    tail: true,
};

/// A quiet room.
const NOISE_DBFS: f32 = -70.0;

/// What the user does, in the order of the mouth's voices.
const HELLO: usize = 0;
const MOMENT: usize = 1;
const COUGH: usize = 2;
const HUM: usize = 3;
const THANKS: usize = 4;
pub(crate) const LABELS: [&str; 5] = ["“hello”", "“one moment, please”", "a cough", "“hm”", "“thank you”"];
/// Of the generator's coughs one with two bursts, of its hums one of 200 ms.
const COUGH_SEED: u64 = 6;
const HUM_SEED: u64 = 14;
/// So much of "hello": a person who notices at once that somebody speaks.
const HELLO_MS: u32 = 250;

/// Holds it and shows what came of it.
pub(crate) fn play(stage: &Stage) {
    stage.say_line("\nA conversation. The detector is the shipped one, the user's voice a human's, and the microphone hears the agent's echo, 60 ms late and 12 dB softer:");
    let mut conversation = Conversation::prepare(stage);
    conversation.hold();
    crate::show::present(&conversation);
}

pub(crate) struct Conversation<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) session: Session,
    room: Mouth,
    microphone: Ear,
    pub(crate) voices: Vec<Vec<f32>>,
    pub(crate) rehearsal: Listener,
    seen: usize,
    pub(crate) turns: Vec<Turn>,
    pub(crate) sounds: Vec<Sound>,
}

/// An utterance and what became of it.
pub(crate) struct Turn {
    pub(crate) text: &'static str,
    pub(crate) started: Event,
    pub(crate) finished: Event,
}

/// The user made a sound.
#[derive(Clone, Copy)]
pub(crate) struct Sound {
    pub(crate) voice: usize,
    pub(crate) began: Began,
}

impl Sound {
    /// How long after its onset a moment is (ms), in sound: a server that stood still is no time.
    pub(crate) fn ms_until(&self, heard: &Recording, us: u64) -> u64 {
        let frame = heard.frame_at(heard.at_us(us));
        frame.saturating_sub(self.began.frame) * 1_000 / u64::from(heard.rate)
    }
}

/// The user's cue: so long after the onset of a word (0: the first sample) of what the agent says.
struct Cue {
    voice: usize,
    word: usize,
    after: Duration,
}

impl Cue {
    fn new(voice: usize, word: usize, after_ms: u64) -> Cue {
        Cue {
            voice,
            word,
            after: Duration::from_millis(after_ms),
        }
    }
}

impl Conversation<'_> {
    pub(crate) fn prepare(stage: &Stage) -> Conversation<'_> {
        let rate = stage.world.jack.rate();
        remove_old_recording();
        let prompt = |name, longest_ms| voices::prompt(name, rate, longest_ms).unwrap_or_else(|e| panic!("no human voice: {e}"));
        let voices = vec![
            prompt("hello", HELLO_MS),
            prompt("one-moment-please", 5_000),
            voices::cough(COUGH_SEED, rate),
            voices::hum(HUM_SEED, rate),
            prompt("auth-thankyou", 5_000),
        ];
        let slices: Vec<&[f32]> = voices.iter().map(Vec::as_slice).collect();
        let room = Mouth::in_live_room(&stage.world.jack, &slices, ECHO, NOISE_DBFS);
        let mut microphone = Ear::spawn(&stage.world.jack, "mouth:out_1", "microphone");
        microphone.wait_ready();
        microphone.wait_connected();
        let options = opts! { "progress" => "word", "barge-in" => "pause-then-confirm", "record" => RECORDING };
        let session = stage.world.espeak_session("talk", options);
        // The same voice says the third text where nobody hears or disturbs it: the original to compare with.
        let alone = stage.world.espeak_session("rehearsal", opts! { "output" => "null" });
        let rehearsal = Stream::acquire(&alone, "tx", opts! { "encoding" => "f32le" }).unwrap().listen();
        alone.say(LUGGAGE, opts! {});
        Conversation {
            stage,
            session,
            room,
            microphone,
            voices,
            rehearsal,
            seen: 0,
            turns: Vec::new(),
            sounds: Vec::new(),
        }
    }

    pub(crate) fn hold(&mut self) {
        self.greeting();
        let_pass(Duration::from_millis(500));
        self.interruption();
        self.noises();
        let_pass(Duration::from_millis(250));
        self.farewell();
        self.session.close(opts! {}).unwrap();
    }

    fn greeting(&mut self) {
        self.stage
            .say_line("\n  The greeting. Somebody speaks into its first half second, which nobody may interrupt:\n");
        self.turn(GREETING, opts! { "greeting" => true }, &[Cue::new(HELLO, 0, 40)]);
    }

    fn interruption(&mut self) {
        self.stage
            .say_line("\n  A real interruption. The microphone hears the agent's own echo besides:\n");
        self.turn(BREAKFAST, opts! {}, &[Cue::new(MOMENT, 11, 150)]);
        self.until_silent();
    }

    fn noises(&mut self) {
        self.stage
            .say_line("\n  The answer. The user coughs, and hums (backchannel = resume: that is to pause it at most):\n");
        self.session.configure(opts! { "backchannel" => "resume" }).unwrap();
        self.turn(LUGGAGE, opts! {}, &[Cue::new(COUGH, 5, 0), Cue::new(HUM, 8, 30)]);
    }

    fn farewell(&mut self) {
        self.stage.say_line("\n  The user thanks, and the last word is heard whole:\n");
        self.speak(THANKS);
        self.until_silent();
        self.turn(GOODBYE, opts! {}, &[]);
    }

    /// The agent says this; the user has cues in it; everything is told until it has finished.
    fn turn(&mut self, text: &'static str, options: Options, cues: &[Cue]) {
        self.session.say(text, options);
        let mut started = None;
        let mut words = 0;
        let mut cues = cues.iter().peekable();
        let finished = loop {
            let event = self.next();
            match event.member.as_str() {
                "UtteranceStarted" => {
                    if self.turns.is_empty() {
                        self.stage.count_from(event.at_us);
                    }
                    self.told(&event, "agent", &quote(text));
                    let silence = event.dict(1);
                    // Only where it answers the user.
                    if silence.has("user-silence-us") && silence.number("user-silence-us") < 2_000_000 {
                        let ms = silence.number("user-silence-us") / 1_000;
                        self.told(&event, "", &format!("{ms} ms after the user's last sound"));
                    }
                    started = Some(event);
                }
                "UtteranceProgress" if event.text(1) == "word" => words += 1,
                "UtteranceFinished" => {
                    self.finished(&event, text);
                    break event;
                }
                _ => self.heard_of_the_user(&event),
            }
            if started.is_some()
                && let Some(due) = cues.next_if(|cue| words >= cue.word)
            {
                let_pass(due.after);
                self.speak(due.voice);
            }
        };
        let started = started.expect("it was heard before it ended");
        self.turns.push(Turn { text, started, finished });
    }

    fn speak(&mut self, voice: usize) {
        let began = self.room.play_voice(voice);
        let ms = self.voices[voice].len() * 1_000 / self.stage.world.jack.rate() as usize;
        self.stage.told_at(began.us, "user", &format!("{}, {ms} ms long", LABELS[voice]));
        self.sounds.push(Sound { voice, began });
    }

    fn finished(&self, event: &Event, text: &str) {
        let report = event.dict(2);
        match event.text(1) {
            "cancelled" => {
                let heard = report.text("heard-text");
                self.told(event, "agent", &format!("cancelled; heard was {}", quote(heard)));
                let rest = text.get(heard.len()..).unwrap_or_default().trim();
                self.told(event, "", &format!("never heard {}", quote(rest)));
            }
            "completed" => self.told(event, "agent", "completed: heard whole"),
            other => self.told(event, "agent", other),
        }
    }

    fn heard_of_the_user(&self, event: &Event) {
        let Some(sound) = self.sounds.last() else { return };
        let after = |us: u64| sound.ms_until(&self.stage.world.heard(), us);
        match event.member.as_str() {
            "BargeIn" => {
                let ms = after(event.at_us);
                let what = match event.text(0) {
                    "suspected" => format!("suspected {ms} ms after the user's onset: it pauses"),
                    "confirmed" => format!("confirmed {ms} ms after the user's onset: it cancels"),
                    "false" => format!("no speech after all, {ms} ms after the onset: it goes on from its sample"),
                    "protected" => format!("the user is heard {ms} ms after the onset; the greeting is protected: nothing changes"),
                    other => other.to_owned(),
                };
                self.told(event, "utterd", &what);
                if event.text(0) == "suspected"
                    && let Some(silent) = self.silent_from(event.at_us)
                {
                    self.stage
                        .told_at(silent.start, "ear", &format!("silent {} ms after the onset", after(silent.start)));
                }
            }
            "SpeechStopped" => self.told(event, "utterd", &format!("the user spoke for {} ms", event.number(0) / 1_000)),
            _ => {}
        }
    }

    /// The silence that a suspicion brought, as the ear has it: its first moment and its last so far (us).
    pub(crate) fn silent_from(&self, suspected_us: u64) -> Option<Range<u64>> {
        let heard = self.stage.world.heard();
        let at = heard.at_us(suspected_us);
        let shortest = heard.rate as usize / 50;
        let fits = |s: &Range<usize>| s.end > at && s.len() >= shortest;
        until(Duration::from_millis(200), || {
            let heard = self.stage.world.heard();
            heard
                .silences(shortest)
                .into_iter()
                .find(fits)
                .map(|s| heard.us_at(s.start)..heard.us_at(s.end - 1))
        })
    }

    /// Until the daemon says that the user fell silent, as a brain would wait; that is late, but never by so much.
    fn until_silent(&mut self) {
        self.room.wait_played();
        let patience = Duration::from_millis(1_500);
        loop {
            match self.next_within(patience) {
                Some(event) => {
                    self.heard_of_the_user(&event);
                    if event.member == "SpeechStopped" {
                        return;
                    }
                }
                None => return self.stage.told("brain   waits no longer for the end of the user's speech"),
            }
        }
    }

    /// The session's next signal.
    fn next(&mut self) -> Event {
        self.next_within(PATIENCE)
            .unwrap_or_else(|| panic!("nothing was told for {PATIENCE:?}"))
    }

    fn next_within(&mut self, patience: Duration) -> Option<Event> {
        let event = until(patience, || self.session.events().into_iter().nth(self.seen));
        self.seen += usize::from(event.is_some());
        event
    }

    fn told(&self, event: &Event, who: &str, what: &str) {
        self.stage.told_at(event.at_us, who, what);
    }

    pub(crate) fn microphone(&self) -> utterd_tests::recording::Recording {
        self.microphone.snapshot()
    }
}

/// Nothing is recorded over a file that is there.
fn remove_old_recording() {
    match std::fs::remove_file(folder().join(RECORDING)) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => panic!("the recording of an earlier demo cannot be removed: {e}"),
    }
}
