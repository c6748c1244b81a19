//! utterd beside speech-dispatcher, Debian's own speech daemon: the same words, the same backend (espeak-ng), the same JACK server, the
//! same ear, in turn within one run. `peers [COUNT] [--or-skip]` prints both columns.
//!
//! A moment of sound is JACK's frame time of the first or the last sample above -60 dBFS at the speaker's port; a moment of asking is
//! taken just before the request leaves this process, so the way there and any buffering behind it are part of every figure.
//! speech-dispatcher plays through PulseAudio, its default, whose sink is a JACK client like utterd (`utterd_tests::ssip`).
//!
//! It installs nothing: where a program is missing it names the packages and exits 1, or 0 when `--or-skip` asks for that.
#![allow(clippy::unwrap_used)] // A measurement that cannot go on says so by panicking.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use utterd_tests::bench::load;
use utterd_tests::client::Session;
use utterd_tests::clock::{PATIENCE, let_pass, now_us};
use utterd_tests::daemon::Plan;
use utterd_tests::ear::{self, Ear};
use utterd_tests::jack::{Jack, JackOptions};
use utterd_tests::opts;
use utterd_tests::random::Random;
use utterd_tests::recording::Recording;
use utterd_tests::ssip::{self, Peer};
use utterd_tests::stats::Distribution;
use utterd_tests::world::World;

/// -60 dBFS: below it is the ringing of a resampler, not speech.
const QUIET: f32 = 0.001;
/// No pause between two sentences of espeak-ng is as long as this.
const AT_REST: Duration = Duration::from_millis(1_500);
const LONG: &str = "The next train to the airport leaves from platform four, and the one after it runs along the river without a stop. ";
/// Two messages without a silence inside them.
const QUEUED: [&str; 2] = ["Nine mellow melons.", "Seven lazy llamas."];

fn main() -> ExitCode {
    let mut count = 30;
    let mut may_skip = false;
    for arg in std::env::args().skip(1) {
        match (arg.as_str(), arg.parse()) {
            ("--or-skip", _) => may_skip = true,
            (_, Ok(n)) => count = n,
            _ => {
                eprintln!("usage: peers [COUNT] [--or-skip]");
                return ExitCode::from(2);
            }
        }
    }
    let world = World::with(
        JackOptions::default(),
        &Plan {
            // What is measured is synthesis.
            config: "[cache]\nbytes = 0\n".into(),
            ..Plan::default()
        },
    );
    let peer = match Peer::start(&world.jack) {
        Ok(peer) => peer,
        Err(missing) => {
            println!("{missing}\nto measure beside speech-dispatcher: {}", ssip::APT);
            if may_skip {
                println!("skipped");
            }
            return ExitCode::from(u8::from(!may_skip));
        }
    };
    let before = load();
    let mut sides = [
        Side::new("utterd", Speaker::Utterd(world.espeak_session("peers", opts! {}))),
        Side::new("speech-dispatcher", Speaker::Other(peer)),
    ];
    let mut random = Random::seeded();
    for round in 0..=count {
        for side in &mut sides {
            side.first_and_cancel(&world.jack, &mut random);
            side.pause(&world.jack, &mut random);
            side.gap(&world.jack);
            if round == 0 {
                side.found = Found::default(); // Both have spoken once now: nobody pays for what is loaded at the first word.
            }
        }
        eprint!("\r{round} of {count} rounds ");
    }
    eprintln!();
    print(&world.jack, &sides, &before);
    ExitCode::SUCCESS
}

enum Speaker {
    Utterd(Session),
    Other(Peer),
}

impl Speaker {
    fn port(&self) -> &'static str {
        match self {
            Speaker::Utterd(_) => ear::OUT,
            Speaker::Other(_) => ssip::OUT,
        }
    }

    /// Each of these returns the moment just before it was asked.
    fn say(&mut self, text: &str) -> u64 {
        let asked = now_us();
        match self {
            Speaker::Utterd(session) => {
                session.say(text, opts! {});
                asked
            }
            Speaker::Other(peer) => peer.speak(text),
        }
    }

    fn cancel(&mut self) -> u64 {
        let asked = now_us();
        match self {
            Speaker::Utterd(session) => drop(session.cancel(opts! {})),
            Speaker::Other(peer) => drop(peer.command("CANCEL self").unwrap()),
        }
        asked
    }

    fn pause(&mut self) -> u64 {
        let asked = now_us();
        match self {
            Speaker::Utterd(session) => session.pause(opts! {}),
            Speaker::Other(peer) => drop(peer.command("PAUSE self").unwrap()),
        }
        asked
    }

    /// Ends what is paused, and the pause.
    fn forget(&mut self) {
        self.cancel();
        if let Speaker::Other(peer) = self {
            peer.command("RESUME self").unwrap();
            peer.command("CANCEL self").unwrap();
        }
    }
}

#[derive(Default)]
struct Found {
    first: Vec<f64>,
    cancel: Vec<f64>,
    pause: Vec<f64>,
    gap: Vec<f64>,
    /// What did not come within the patience, by leg.
    missed: Vec<&'static str>,
}

type Leg = (&'static str, fn(&Found) -> &Vec<f64>);

struct Side {
    name: &'static str,
    speaker: Speaker,
    found: Found,
}

impl Side {
    fn new(name: &'static str, speaker: Speaker) -> Side {
        Side {
            name,
            speaker,
            found: Found::default(),
        }
    }

    fn first_and_cancel(&mut self, jack: &Jack, random: &mut Random) {
        let listener = Listener::new(jack, self.speaker.port());
        let asked = self.speaker.say(LONG);
        match listener.first_sound_us() {
            Some(first) => self.found.first.push(ms(asked, first)),
            None => self.found.missed.push("first sound"),
        }
        let_pass(Duration::from_micros(random.between(100_000, 1_500_000)));
        let asked = self.speaker.cancel();
        match listener.last_sound_us(asked) {
            Some(last) => self.found.cancel.push(ms(asked, last)),
            None => self.found.missed.push("cancel"),
        }
    }

    fn pause(&mut self, jack: &Jack, random: &mut Random) {
        let listener = Listener::new(jack, self.speaker.port());
        self.speaker.say(&LONG.repeat(5));
        if listener.first_sound_us().is_some() {
            let_pass(Duration::from_micros(random.between(100_000, 1_500_000)));
            let asked = self.speaker.pause();
            match listener.last_sound_us(asked) {
                Some(last) => self.found.pause.push(ms(asked, last)),
                None => self.found.missed.push("pause"),
            }
        }
        self.speaker.forget();
        listener.last_sound_us(now_us());
    }

    fn gap(&mut self, jack: &Jack) {
        let listener = Listener::new(jack, self.speaker.port());
        for text in QUEUED {
            self.speaker.say(text);
        }
        let heard = listener
            .first_sound_us()
            .and_then(|first| listener.last_sound_us(first))
            .map(|_| listener.heard());
        let longest = heard.and_then(|heard| {
            let speech = heard.first_sound(0..usize::MAX)?..heard.last_sound(0..usize::MAX)?;
            let inside = heard
                .silences(1)
                .into_iter()
                .filter(|s| speech.contains(&s.start))
                .map(|s| s.len())
                .max()?;
            Some(inside as f64 * 1_000.0 / f64::from(heard.rate))
        });
        match longest {
            Some(gap) => self.found.gap.push(gap),
            None => self.found.missed.push("gap"),
        }
    }
}

/// A moment in ms after another one; what was silent before is silent at once.
fn ms(from_us: u64, to_us: u64) -> f64 {
    to_us.saturating_sub(from_us) as f64 / 1_000.0
}

/// An ear for one trial, so that what it has written down stays short.
struct Listener(Ear);

impl Listener {
    fn new(jack: &Jack, port: &str) -> Listener {
        let mut ear = Ear::spawn(jack, port, "peers");
        ear.wait_ready();
        ear.wait_connected();
        Listener(ear)
    }

    /// Until now; what is not speech is 0.
    fn heard(&self) -> Recording {
        let mut heard = self.0.snapshot();
        for sample in &mut heard.samples {
            if sample.abs() < QUIET {
                *sample = 0.0;
            }
        }
        heard
    }

    fn first_sound_us(&self) -> Option<u64> {
        listen(|| {
            let heard = self.heard();
            heard.first_sound(0..usize::MAX).map(|n| heard.us_at(n))
        })
    }

    /// The last sound before it has been at rest, since this moment at the earliest.
    fn last_sound_us(&self, since_us: u64) -> Option<u64> {
        listen(|| {
            let heard = self.heard();
            let last = heard.last_sound(0..usize::MAX).map_or(0, |n| heard.us_at(n));
            let rest = heard.end_us().saturating_sub(last.max(since_us));
            (rest >= AT_REST.as_micros() as u64).then_some(last)
        })
    }
}

/// Asks seldom: reading a recording costs time that the speakers should have.
fn listen<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let_pass(Duration::from_millis(50));
        if let Some(answer) = ask() {
            return Some(answer);
        }
    }
    None
}

fn print(jack: &Jack, sides: &[Side; 2], before: &str) {
    println!(
        "{}; espeak-ng on both sides; {} Hz, {} frames a period\nload average {before} before, {} after\n",
        ssip::version("speech-dispatcher").unwrap_or_default(),
        jack.rate(),
        jack.period(),
        load()
    );
    println!("{:<34}{:^36}{:^36}", "", sides[0].name, sides[1].name);
    let head = format!("{:>6}{:>10}{:>10}{:>10}", "n", "p50", "p95", "max");
    println!("{:<34}{head}{head}", "ms");
    let legs: [Leg; 4] = [
        ("Say / SPEAK → first sound", |f| &f.first),
        ("Cancel / CANCEL → silence", |f| &f.cancel),
        ("Pause / PAUSE → silence", |f| &f.pause),
        ("silence between queued messages", |f| &f.gap),
    ];
    for (name, of) in legs {
        let cells: String = sides
            .iter()
            .map(|side| cell(&Distribution::of(of(&side.found).iter().copied())))
            .collect();
        println!("{name:<34}{cells}");
    }
    println!(
        "\nthe silence between messages holds what espeak-ng itself puts at their ends, the same on both sides: what one has more is its own"
    );
    println!("a pause or cancel of 0.0 met a silence between two words");
    for side in sides {
        for leg in &side.found.missed {
            println!("NOT MEASURED: {}, {leg}: nothing came to an end within {PATIENCE:?}", side.name);
        }
    }
}

fn cell(values: &Distribution) -> String {
    format!(
        "{:>6}{:>10.1}{:>10.1}{:>10.1}",
        values.count(),
        values.p50(),
        values.percentile(95.0),
        values.max()
    )
}
