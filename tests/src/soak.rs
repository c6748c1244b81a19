//! Many clients at once, at random: what a client may do, done by eight of them side by side, and then the books compared: what was said,
//! what finished, what History tells, what the counters say, what the ear heard, and what the daemon still holds.
//!
//! All choices come from one seed, but the clients race, so a seed repeats the operations and not their order. Every text is one sentence
//! of ordinary words, at a speed at which the codes of `tone-id` do not wrap: so its samples tell how far an utterance was heard.
#![allow(clippy::unwrap_used)] // A measurement that cannot go on says so by panicking.

mod judge;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::client::{Client, Session};
use crate::clock::{let_pass, now_us};
use crate::daemon::Plan as DaemonPlan;
use crate::jack::JackOptions;
use crate::opts;
use crate::process::threads;
use crate::random::Random;
use crate::sounds::Sounds;
use crate::world::{Quiet, TONE, World};
use judge::{judge_ear, judge_ends, judge_growth};
use zbus::zvariant::Value;

pub const CLIENTS: usize = 8;
/// Four times as fast as ordinary: 600 samples a character at 48 kHz, so 109 characters until a code repeats.
const RATE: f64 = 4.0;
const CHAR_US: u64 = 12_500;
/// Whose code the sound file bears; speech with the same code is not compared.
const SOUND: u64 = 126;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// All on the one loudspeaker, with an ear; else each client on a null output.
    pub shared: bool,
    /// Over all clients.
    pub operations: usize,
    pub time: Duration,
    pub seed: u64,
}

/// What it came to.
#[derive(Debug, Default)]
pub struct Summary {
    pub done: BTreeMap<&'static str, usize>,
    pub outcomes: BTreeMap<String, usize>,
    /// Before the second half and at the end, when nothing is open: resident kilobytes, file descriptors, threads.
    pub before: [u64; 3],
    pub after: [u64; 3],
    /// Utterances whose samples were compared with their report.
    pub listened: usize,
}

/// What a client knows of an utterance it was given.
#[derive(Clone, Debug)]
struct Said {
    text: String,
    /// A sound: its samples are a file's, not its own.
    is_sound: bool,
    session: String,
    accepted_us: u64,
}

/// Everything that was accepted, by id.
type Books = Arc<Mutex<BTreeMap<u64, Said>>>;

enum House {
    Heard(Box<World>),
    Quiet(Box<Quiet>),
}

impl House {
    fn start(shared: bool, sounds: &Sounds) -> House {
        if shared {
            return House::Heard(Box::new(World::with(JackOptions::default(), &sounds.plan())));
        }
        House::Quiet(Box::new(Quiet::with(&DaemonPlan {
            driver: "timer",
            ..sounds.plan()
        })))
    }

    fn client(&self) -> &Client {
        match self {
            House::Heard(world) => &world.client,
            House::Quiet(quiet) => &quiet.client,
        }
    }

    fn address(&self) -> &str {
        match self {
            House::Heard(world) => world.bus.address(),
            House::Quiet(quiet) => quiet.bus.address(),
        }
    }

    /// Resident kilobytes, descriptors, threads.
    fn holds(&self) -> [u64; 3] {
        let pid = match self {
            House::Heard(world) => world.daemon.pid(),
            House::Quiet(quiet) => quiet.daemon.pid(),
        };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let rss = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap();
        let rss = rss.trim().trim_end_matches(" kB").parse().unwrap();
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
        [rss, fds, threads(pid).len() as u64]
    }
}

/// Runs it and compares the books.
///
/// # Panics
/// When something does not hold; the message says what, and the seed was printed.
pub fn run(plan: Plan) -> Summary {
    eprintln!("soak: {plan:?}");
    let sounds = Sounds::new();
    let sound = sounds.coded("ding.wav", SOUND, 24_000);
    let house = House::start(plan.shared, &sounds);
    let books = Books::default();
    let mut summary = Summary::default();
    // The first half warms up: pools, caches and the threads that stay.
    for half in 0..2 {
        let mut seeds = Random::from(plan.seed + half);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let mut life = Life {
                    client: Client::connect(house.address()),
                    session: None,
                    name: format!("client-{n}"),
                    shared: plan.shared,
                    sound: sound.clone(),
                    random: Random::from(seeds.bits()),
                    books: Arc::clone(&books),
                    streams: Vec::new(),
                    collected: BTreeMap::new(),
                    committed: 0,
                    done: BTreeMap::new(),
                };
                let (count, time) = (plan.operations / 2 / CLIENTS, plan.time / 2);
                std::thread::spawn(move || life.live(count, time))
            })
            .collect();
        for client in clients {
            for (operation, count) in client.join().unwrap_or_else(|e| std::panic::resume_unwind(e)) {
                *summary.done.entry(operation).or_default() += count;
            }
        }
        // Nothing is left open; what the tombstones hold falls after two seconds.
        let_pass(Duration::from_millis(2_500));
        *(if half == 0 { &mut summary.before } else { &mut summary.after }) = house.holds();
    }
    let books = books.lock().unwrap();
    judge_ends(&house, &books, &mut summary);
    judge_growth(&summary);
    if let House::Heard(world) = &house {
        judge_ear(world, &books, &mut summary);
    }
    summary
}

/// One client's life.
struct Life {
    client: Client,
    session: Option<Session>,
    name: String,
    shared: bool,
    /// A file that may be played.
    sound: String,
    random: Random,
    books: Books,
    /// Open streams: id, last append.
    streams: Vec<(u64, u64)>,
    /// Turn, and its chunks.
    collected: BTreeMap<u64, Vec<String>>,
    /// The last turn of the session that was committed.
    committed: u64,
    done: BTreeMap<&'static str, usize>,
}

const WORDS: [&str; 8] = ["one", "two", "three", "later", "sooner", "perhaps", "never", "again"];

impl Life {
    fn live(&mut self, operations: usize, time: Duration) -> BTreeMap<&'static str, usize> {
        let end = Instant::now() + time;
        for left in (1..=operations as u32).rev() {
            self.operation();
            let mean = end.saturating_duration_since(Instant::now()) / left;
            let_pass(mean.mul_f64(self.random.between(0, 200) as f64 / 100.0).min(Duration::from_secs(2)));
        }
        self.close(true);
        std::mem::take(&mut self.done)
    }

    fn text(&mut self) -> String {
        let count = self.random.between(1, 12);
        let words: Vec<&str> = (0..count).map(|_| WORDS[self.random.between(0, 8) as usize]).collect();
        words.join(" ")
    }

    fn session(&mut self) -> Session {
        if let Some(session) = &self.session {
            return session.clone();
        }
        let mut options = opts! { "backend" => TONE, "voice" => "tone-id", "rate" => RATE, "progress" => "word" };
        if !self.shared {
            options.insert("output".into(), Value::new("null"));
        }
        let session = self.client.open(&self.name, options).unwrap();
        self.session = Some(session.clone());
        session
    }

    fn accepted(&mut self, id: u64, text: &str) {
        self.accepted_as(id, text, false);
    }

    fn accepted_as(&mut self, id: u64, text: &str, is_sound: bool) {
        if id != 0 {
            let said = Said {
                text: text.to_owned(),
                is_sound,
                session: self.name.clone(),
                accepted_us: now_us(),
            };
            assert!(
                self.books.lock().unwrap().insert(id, said).is_none(),
                "id {id} was given twice (I1)"
            );
        }
    }

    fn operation(&mut self) {
        let session = self.session();
        let which = self.random.between(0, 100);
        let name = match which {
            0..=29 => {
                self.say(&session);
                "say"
            }
            30..=39 => {
                let reply = session.call("SayOpen", &(opts! {},)).unwrap();
                let [Value::U64(id)] = reply.value.as_slice() else {
                    panic!("{reply:?}")
                };
                self.accepted(*id, "");
                self.streams.push((*id, 0));
                "say-open"
            }
            40..=59 => self.append(&session),
            60..=74 => {
                self.cancel(&session);
                "cancel"
            }
            75..=79 => {
                // No longer than the ramp that the ear allows for.
                let fade = self.random.between(0, 6) as u32;
                let after = self.random.between(20, 500) as u32;
                session.pause(opts! { "fade-ms" => fade, "auto-resume-ms" => after });
                "pause"
            }
            80..=83 => {
                session.resume();
                "resume"
            }
            84..=93 => self.submit(&session),
            94..=95 => {
                let gone = self.random.between(0, 2) == 0;
                self.close(gone);
                "close"
            }
            96 => {
                let refused = session.try_play("/nowhere/at-all.wav", opts! {});
                assert!(refused.is_err(), "a file that is not there was played");
                "play-nothing"
            }
            _ => {
                let text = self.text();
                let id = session.play(&self.sound.clone(), opts! { "text" => text.clone() });
                self.accepted_as(id, &text, true);
                "play"
            }
        };
        *self.done.entry(name).or_default() += 1;
    }

    fn say(&mut self, session: &Session) {
        let text = self.text();
        let priority =
            ["message", "message", "message", "text", "notification", "progress", "important"][self.random.between(0, 7) as usize];
        let mode = ["queue", "queue", "queue", "replace", "if-idle"][self.random.between(0, 5) as usize];
        let mut options = opts! { "priority" => priority, "mode" => mode };
        if self.random.between(0, 5) == 0 {
            options.insert("expires-ms".into(), Value::new(self.random.between(1, 1_500) as u32));
        }
        let id = session.say(&text, options);
        self.accepted(id, &text);
    }

    fn append(&mut self, session: &Session) -> &'static str {
        if self.streams.is_empty() {
            self.say(session);
            return "say";
        }
        let at = self.random.between(0, self.streams.len() as u64) as usize;
        let (id, seq) = self.streams[at];
        if self.random.between(0, 4) == 0 {
            session.call("SayEnd", &(id,)).unwrap();
            self.streams.remove(at);
            return "say-end";
        }
        // What was appended altogether is one sentence, and shorter than a code's round.
        let text = format!("{} ", WORDS[self.random.between(0, 8) as usize]);
        let reply = session.call("SayAppend", &(id, seq + 1, text.as_str())).unwrap();
        match &reply.value[0] {
            Value::Str(ack) if ack.as_str() == "accepted" => {
                self.streams[at].1 += 1;
                self.books.lock().unwrap().get_mut(&id).unwrap().text.push_str(&text);
            }
            Value::Str(ack) if matches!(ack.as_str(), "cancelled" | "stale") => {
                self.streams.remove(at);
            }
            other => panic!("SayAppend answered {other:?}"),
        }
        "say-append"
    }

    fn cancel(&mut self, session: &Session) {
        let options = match self.random.between(0, 4) {
            0 => opts! {},
            1 => opts! { "turn" => 0u64 },
            2 => opts! { "reason" => "barge-in" },
            _ => {
                let mine = |s: &Said| s.session == self.name;
                let newest = self.books.lock().unwrap().iter().rev().find(|(_, s)| mine(s)).map(|(id, _)| *id);
                newest.map_or_else(|| opts! {}, |id| opts! { "utterance" => id })
            }
        };
        match session.try_cancel(options) {
            Ok(_) => {}
            // Of an earlier incarnation.
            Err(e) => assert_eq!(e.word(), "NoSuchUtterance", "{e}"),
        }
        // Cancel{turn} drops what is collected; the acks of later chunks will say so.
    }

    fn submit(&mut self, session: &Session) -> &'static str {
        // A turn that is committed takes no more: the next one begins.
        let turn = session.number("Turn").max(self.committed + 1);
        let text = format!("{} ", self.text());
        if self.random.between(0, 3) > 0 {
            let chunks = self.collected.entry(turn).or_default();
            let seq = chunks.len() as u64 + 1;
            if let Ok(reply) = session.call("Submit", &("collect", turn, seq, text.as_str(), opts! {}))
                && reply.value[0] == Value::new("COLLECT_ACCEPTED")
            {
                chunks.push(text);
            }
            return "collect";
        }
        let reply = session.call("Submit", &("commit", turn, 0u64, text.as_str(), opts! {})).unwrap();
        let [Value::Str(ack), Value::U64(id), _] = reply.value.as_slice() else {
            panic!("Submit answered {reply:?}")
        };
        if ack.as_str() == "COMMIT_STARTED" {
            let held: String = self.collected.remove(&turn).unwrap_or_default().concat();
            self.accepted(*id, &format!("{held}{text}"));
            self.committed = turn;
        }
        "commit"
    }

    /// `first`: everything is cancelled before, so that History can still be read.
    fn close(&mut self, first: bool) {
        let Some(session) = self.session.take() else { return };
        self.streams.clear();
        self.collected.clear();
        self.committed = 0;
        if first {
            session.cancel(opts! {});
            self.compare_history(&session);
        }
        session.close(opts! {}).unwrap();
    }

    /// GetHistory tells what the reports told.
    fn compare_history(&self, session: &Session) {
        let entries = session.history(opts! {});
        for entry in entries {
            let id = entry.number("utterance");
            let said = self.books.lock().unwrap().get(&id).map(|s| s.text.clone());
            let said = said.unwrap_or_else(|| panic!("History has {id}, which nobody said"));
            let end = self.client.expect_finished(id);
            let report = end.dict(2);
            assert_eq!(entry.text("said"), said, "what was said in {id}");
            assert_eq!(
                (entry.text("heard"), entry.text("outcome")),
                (report.text("heard-text"), end.text(1)),
                "{id}: History and the report"
            );
        }
    }
}

/// I5 over the bus: a Say without a turn straight after a cancel is spoken, one of the cancelled turn never is. Returns how often each.
///
/// # Panics
/// When one is not.
pub fn says_after_cancels(times: usize, seed: u64) -> [usize; 2] {
    eprintln!("says after cancels: {times}, seed {seed}");
    let quiet = Quiet::start();
    let mut seeds = Random::from(seed);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let (client, mut random) = (Client::connect(quiet.bus.address()), Random::from(seeds.bits()));
            let options = opts! { "backend" => TONE, "voice" => "tone", "rate" => 10.0, "output" => "null" };
            let session = client.open(&format!("after-{n}"), options).unwrap();
            std::thread::spawn(move || {
                for _ in 0..times / CLIENTS {
                    after_a_cancel(&session, &mut random);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
    }
    let metrics = quiet.client.metrics("").unwrap();
    [metrics["utterd_utterance_completed_total"], metrics["utterd_stale_turn_total"]].map(|n| n as usize)
}

fn after_a_cancel(session: &Session, random: &mut Random) {
    let turn = session.number("Turn");
    let count = random.between(1, 4);
    for _ in 0..count {
        assert_ne!(
            session.say("a story that nobody wants to hear to its end, and goes on and on", opts! {}),
            0
        );
    }
    let_pass(Duration::from_millis(random.between(0, 30)));
    // Half of the time the next Say is on its way before the cancel is answered.
    if random.between(0, 2) == 0 {
        session.cancel(opts! {});
    } else {
        let message = zbus::Message::method_call(session.path.as_str(), "Cancel")
            .and_then(|m| m.destination(crate::client::NAME))
            .and_then(|m| m.interface(crate::client::SESSION))
            .and_then(|m| m.with_flags(zbus::message::Flags::NoReplyExpected))
            .and_then(|m| m.build(&(opts! {},)))
            .unwrap();
        session.client().connection().send(&message).unwrap();
    }
    let next = session.say("yes", opts! {});
    assert_ne!(next, 0, "I5: refused after a cancel");
    assert_eq!(
        session.say("late", opts! { "turn" => turn }),
        0,
        "I4: said in a turn that a cancel has ended"
    );
    let (outcome, report) = session.wait(next);
    assert_eq!(
        (outcome.as_str(), report.text("heard-text")),
        ("completed", "yes"),
        "I5: {report:?}"
    );
}
