//! One step of a life, at random: what a client asks, what the world does to the house.

use utterd_core::hearing::FindingKind;
use utterd_core::{Bounds, CancelOptions, Mode, Output, Priority, Progress, Request, SayOptions, SessionOptions, Transition};

use crate::world::rng::Rng;
use crate::world::{MS, S, target};

pub(crate) const SESSIONS: [&str; 4] = ["a", "b", "c", "default"];
pub(crate) const TEXTS: [&str; 5] = [
    "Hi.",
    "One two three.",
    "First sentence here. And a second one! Then a third?",
    "Grüße, 世界. 終わり。次。",
    "This is a much longer text that goes on and on for a while. It has several sentences, too. All of them are spoken one by one. \
     Some are short. Others are as long as this one, which does not want to end before it has said everything it knows. Good bye.",
];

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Ask(u32, Box<Request>),
    Later(u64),
    Lost(u32),
    Away(bool),
    Forged(u64),
    /// The microphone goes or comes, told so often.
    Microphone(bool, u32),
    /// The audio device reads no orders, or does again.
    Dead(bool),
    /// Connections that somebody took away.
    Routes(u32),
    /// To one of the streams, mostly in sequence.
    Append(u64, &'static str),
    /// Words are spelled otherwise from here on.
    Lexicon,
    End(u64),
    /// Backends meet misfortunes of every kind.
    EveryFate,
    /// A plugin says of itself that it works, or that it does not.
    Health(&'static str, bool),
    /// A detector hears something: one that runs, or one that does no longer.
    Hears(u64, FindingKind),
    /// A detector fails.
    Fails(u64),
}

pub(crate) fn options(r: &mut Rng) -> SayOptions {
    let some = |r: &mut Rng, p| r.percent(p);
    SayOptions {
        backend: some(r, 60).then(|| (*r.pick(&["smooth", "pieces", "timed-pieces", "plain"])).to_owned()),
        mode: some(r, 25).then(|| *r.pick(&[Mode::Queue, Mode::Replace, Mode::IfIdle])),
        priority: some(r, 50).then(|| {
            *r.pick(&[
                Priority::Progress,
                Priority::Notification,
                Priority::Text,
                Priority::Message,
                Priority::Important,
            ])
        }),
        expires_us: some(r, 15).then(|| r.below(3 * S)),
        progress: some(r, 30).then(|| *r.pick(&[Progress::None, Progress::Sentence, Progress::Word])),
        interruptible: some(r, 15).then_some(false),
        protect_us: some(r, 15).then(|| r.below(2 * S)),
        turn: some(r, 25).then(|| turn(r)),
        tag: some(r, 20).then(|| "tag".to_owned()),
        ..SayOptions::default()
    }
}

pub(crate) fn turn(r: &mut Rng) -> u64 {
    match r.below(10) {
        0 => u64::MAX,
        1 => (1 << 32) + 5,
        2 => 0,
        _ => r.below(6),
    }
}

pub(crate) fn bounds(r: &mut Rng) -> Bounds {
    Bounds {
        collect_ttl_us: r.percent(20).then(|| 100 * MS + r.below(5 * S)),
        // One chunk of these texts, or any.
        collect_bytes: r.percent(10).then(|| 40 + r.below(2_000) as usize),
        collect_chunks: r.percent(10).then(|| 1 + r.below(4) as usize),
        stream_idle_us: r.percent(20).then(|| 100 * MS + r.below(5 * S)),
    }
}

pub(crate) fn session_options(r: &mut Rng) -> SessionOptions {
    SessionOptions {
        output: r.percent(15).then(|| *r.pick(&[Output::Local, Output::Null])),
        client_lifetime: r.percent(25).then(|| r.percent(60)),
        own_floor: r.percent(15).then(|| r.percent(60)),
        idle_timeout_us: r.percent(15).then(|| r.below(5 * S)),
        private: r.percent(10).then_some(true),
        bounds: bounds(r),
        ..SessionOptions::default()
    }
}

pub(crate) fn op(r: &mut Rng) -> Op {
    let t = |r: &mut Rng| target(SESSIONS[r.below(4) as usize]);
    let uid = [1, 1, 1, 2, 0][r.below(5) as usize];
    let request = match r.below(130) {
        0..=37 => Request::Say {
            target: t(r),
            text: (*r.pick(&TEXTS)).to_owned(),
            options: options(r),
        },
        38..=52 => {
            let which = r.below(10);
            Request::Cancel {
                target: t(r),
                options: CancelOptions {
                    utterance: (which < 4).then(|| r.below(20)),
                    turn: (3..6).contains(&which).then(|| turn(r)),
                    reason: r.percent(40).then(|| (*r.pick(&["barge-in", "client", "own-word"])).to_owned()),
                    fade_us: r.percent(30).then(|| r.below(50_000) as u32),
                },
            }
        }
        53..=60 => Request::Pause {
            target: t(r),
            fade_us: r.percent(30).then(|| r.below(50_000) as u32),
            auto_resume_us: r.percent(60).then(|| r.below(4 * S)),
        },
        61..=67 => Request::Resume { target: t(r) },
        68..=71 => Request::Open {
            id: (*r.pick(&SESSIONS)).to_owned(),
            options: session_options(r),
        },
        72..=75 => Request::Close {
            target: t(r),
            drain: r.percent(50),
        },
        76..=79 => Request::Wait {
            target: t(r),
            utterance: r.below(12),
            timeout_us: r.percent(70).then(|| r.below(3 * S)),
        },
        80..=82 => Request::SetSessionMuted {
            target: t(r),
            muted: r.percent(40),
        },
        83..=84 => Request::SetMasterMuted { muted: r.percent(30) },
        85..=86 => Request::SetMinPriority {
            priority: *r.pick(&[Priority::Progress, Priority::Progress, Priority::Message]),
        },
        87 => Request::CancelAll { reason: None },
        88 => Request::Configure {
            target: t(r),
            options: session_options(r),
        },
        89 => Request::SetSessionGain {
            target: t(r),
            gain_db: -3.0,
        },
        90 => Request::History {
            target: t(r),
            after: 0,
            limit: 10,
        },
        91 => return Op::Lost(uid),
        92 => return Op::Away(r.percent(40)),
        93 => return Op::Forged(r.next()),
        100..=121 => Request::Transition {
            transition: *r.pick(&[
                Transition::EnterListening,
                Transition::EnterListening,
                Transition::LeaveListening,
                Transition::LeaveListening,
                Transition::MicClosedRecovery,
                Transition::PlaybackReassert,
            ]),
            target: t(r),
            turn: if r.percent(60) { 0 } else { turn(r) },
        },
        122..=126 => return Op::Microphone(r.percent(50), 1 + r.below(4) as u32),
        127 => return Op::Dead(r.percent(50)),
        128..=129 => return Op::Routes(r.below(3) as u32),
        _ => {
            return Op::Later(match r.below(4) {
                0 => r.below(10 * MS),
                1 => r.below(300 * MS),
                2 => r.below(3 * S),
                _ => r.below(20 * S),
            });
        }
    };
    Op::Ask(uid, Box::new(request))
}
