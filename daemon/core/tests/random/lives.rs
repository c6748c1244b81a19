//! Whole lives at random: of growing text, of sounds, of users who speak, of written text, of recordings and streams.

use utterd_core::hearing::{Backchannel, BargeInPolicy, FindingKind, Report};
use utterd_core::{
    AudioFormat, CacheUse, Direction, Encoding, Format, Phase, PlayOptions, Request, SayOptions, SessionOptions, Sound, SpeechDetails,
    Transition,
};

use crate::ops::{Op, SESSIONS, TEXTS, op, options, session_options, turn};
use crate::world::rng::Rng;
use crate::world::{self, MS, S, target};

/// The verbs that came with streams and phases; apart from the others, so that kept seeds stay what they were.
pub(crate) fn growing_op(r: &mut Rng) -> Op {
    const CHUNKS: [&str; 9] = [
        "Hello",
        " there",
        ", my friend",
        ". ",
        "How are you",
        "?\n",
        "世界。",
        "",
        " 3.5 e.g. this.",
    ];
    let t = |r: &mut Rng| target(SESSIONS[r.below(4) as usize]);
    let request = match r.below(100) {
        0..=14 => {
            let (target, mut options) = (t(r), options(r));
            backed_up(r, &mut options);
            Request::SayOpen { target, options }
        }
        15..=54 => return Op::Append(r.next(), r.pick::<&'static str>(&CHUNKS)),
        55..=61 => return Op::End(r.next()),
        62..=64 => Request::SayAppend {
            target: t(r),
            utterance: r.below(20),
            seq: r.below(3),
            text: (*r.pick(&CHUNKS)).to_owned(),
        },
        65..=67 => Request::SayEnd {
            target: t(r),
            utterance: r.below(20),
        },
        n => Request::Submit {
            target: t(r),
            phase: if n < 88 { Phase::Collect } else { Phase::Commit },
            turn: turn(r) / 2,
            chunk_seq: r.below(6),
            text: (*r.pick(&CHUNKS)).to_owned(),
            options: SayOptions { turn: None, ..options(r) },
        },
    };
    Op::Ask(1, Box::new(request))
}

pub(crate) const BACKENDS: [&str; 4] = ["smooth", "pieces", "timed-pieces", "plain"];

/// Others may speak in its backend's place; some text is not kept.
pub(crate) fn backed_up(r: &mut Rng, options: &mut SayOptions) {
    let others = (0..r.below(4)).map(|_| (*r.pick(&BACKENDS)).to_owned()).collect();
    options.fallback = r.percent(70).then_some(others);
    options.cache = r.percent(50).then(|| *r.pick(&[CacheUse::Auto, CacheUse::Pin, CacheUse::No]));
}

/// Sounds, in the queue and beside it.
pub(crate) fn sounding_op(r: &mut Rng) -> Op {
    let us = [0, 300 * MS, 3 * S, 20 * S][r.below(4) as usize];
    let sound = Sound {
        duration_us: r.percent(80).then_some(us),
        start_us: if r.percent(30) { r.below(4 * S) } else { 0 },
        looped: r.percent(20),
        ..world::sound(us)
    };
    let options = PlayOptions {
        say: options(r),
        text: (*r.pick(&["", "", "A prompt that says this.", "Ding"])).to_owned(),
        beside: r.percent(40),
        duck_db: r.percent(50).then_some(20.0),
    };
    let target = target(SESSIONS[r.below(4) as usize]);
    if r.percent(25) {
        let format = AudioFormat {
            rate: None,
            encoding: Encoding::S16le,
            channels: 1,
        };
        let options = PlayOptions { beside: false, ..options };
        return Op::Ask(1, Box::new(Request::Inject { target, format, options }));
    }
    Op::Ask(1, Box::new(Request::Play { target, sound, options }))
}

/// Half of all lives have sounds, too.
pub(crate) fn sounded(seed: u64, life: Vec<Op>) -> Vec<Op> {
    let mut r = Rng::new(seed.rotate_left(32) ^ 0x50);
    let mut ops = Vec::new();
    for op in life {
        ops.push(op);
        if r.percent(25) {
            ops.push(sounding_op(&mut r));
        }
    }
    ops
}

/// The user speaks: reports, findings, muted microphones, detectors that fail. Apart from the others, so that kept seeds stay what they were.
pub(crate) fn hearing_op(r: &mut Rng) -> Op {
    let t = |r: &mut Rng| target(SESSIONS[r.below(3) as usize]);
    let request = match r.below(100) {
        0..=29 => {
            let kinds = [
                FindingKind::SpeechStart,
                FindingKind::SpeechStart,
                FindingKind::SpeechEnd,
                FindingKind::BargeIn,
            ];
            let rare = [FindingKind::Backchannel, FindingKind::TurnEnd, FindingKind::Machine];
            let kind = if r.percent(85) { *r.pick(&kinds) } else { *r.pick(&rare) };
            return Op::Hears(r.next(), kind);
        }
        30..=31 => return Op::Fails(r.next()),
        32..=61 => Request::ReportSpeech {
            target: t(r),
            kind: *r.pick(&[
                Report::Suspected,
                Report::Suspected,
                Report::Confirmed,
                Report::False,
                Report::Ended,
            ]),
            details: SpeechDetails {
                turn: r.percent(30).then(|| turn(r)),
                utterance: r.percent(20).then(|| r.below(20)),
                at_us: r.percent(20).then(|| r.below(30 * S)),
                ..SpeechDetails::default()
            },
        },
        62..=69 => Request::Configure {
            target: t(r),
            options: hearing_options(r),
        },
        70..=73 => Request::SetSessionMicMuted {
            target: t(r),
            muted: r.percent(50),
        },
        74..=75 => Request::SetMasterMicMuted { muted: r.percent(30) },
        76..=85 => Request::Transition {
            transition: *r.pick(&[Transition::EnterListening, Transition::LeaveListening]),
            target: t(r),
            turn: 0,
        },
        86..=89 => return Op::Microphone(r.percent(50), 1 + r.below(3) as u32),
        90..=94 => Request::Say {
            target: t(r),
            text: (*r.pick(&TEXTS)).to_owned(),
            options: SayOptions {
                protect_us: r.percent(30).then(|| r.below(S)),
                ..SayOptions::default()
            },
        },
        _ => return Op::Later(r.below(2 * S)),
    };
    Op::Ask(1, Box::new(request))
}

pub(crate) fn hearing_options(r: &mut Rng) -> SessionOptions {
    let policies = [
        BargeInPolicy::PauseThenConfirm,
        BargeInPolicy::PauseThenConfirm,
        BargeInPolicy::PauseThenConfirm,
        BargeInPolicy::CancelAtOnce,
        BargeInPolicy::ReportOnly,
        BargeInPolicy::Off,
    ];
    SessionOptions {
        barge_in: r.percent(90).then(|| *r.pick(&policies)),
        detector: r.percent(20).then(|| (*r.pick(&["first", "second", "none"])).to_owned()),
        backchannel: r.percent(20).then(|| *r.pick(&[Backchannel::Cancel, Backchannel::Resume])),
        false_interruption_us: r.percent(20).then(|| 100 * MS + r.below(3 * S)),
        ..SessionOptions::default()
    }
}

/// In half of all lives the user speaks, too.
pub(crate) fn heard(seed: u64, ops: Vec<Op>) -> Vec<Op> {
    let mut r = Rng::new(seed ^ 0x5eed);
    let mut mixed = Vec::new();
    for op in ops {
        let opened = match &op {
            Op::Ask(_, request) => match &**request {
                Request::Open { id, .. } => Some(target(id)),
                _ => None,
            },
            _ => None,
        };
        mixed.push(op);
        if let Some(target) = opened {
            let options = hearing_options(&mut r);
            mixed.push(Op::Ask(1, Box::new(Request::Configure { target, options })));
        }
        for _ in 0..r.below(4) {
            mixed.push(hearing_op(&mut r));
        }
    }
    mixed
}

/// Every life of an odd seed has streams and phases, too.
pub(crate) fn grown(seed: u64) -> Vec<Op> {
    let mut r = Rng::new(!seed);
    let mut audio = Rng::new(seed.rotate_left(32));
    let mut ops = vec![Op::EveryFate];
    for mut op in sequence(seed) {
        if let Op::Ask(_, request) = &mut op
            && let Request::Say { options, .. } = &mut **request
        {
            backed_up(&mut r, options);
        }
        ops.push(op);
        if audio.percent(30) {
            ops.push(audio_op(&mut audio));
        }
        if r.percent(3) {
            ops.push(Op::Health(r.pick::<&'static str>(&BACKENDS), r.percent(50)));
        }
        for _ in 0..r.below(5) {
            ops.push(growing_op(&mut r));
        }
    }
    ops
}

/// As `grown`, in Markdown and SSML, with a lexicon.
pub(crate) fn written(seed: u64) -> Vec<Op> {
    const CHUNKS: [&str; 12] = [
        "**A word**",
        " and two. ",
        "# Title\n",
        "\n\n",
        "- item\n- US\n",
        "[link. text](http://x.y/z",
        ") `code. here",
        "` 🎉",
        "| a | b |\n|---|",
        "---|\n",
        "```\n",
        "<b>Grüße</b> 世界。",
    ];
    const TEXTS: [&str; 6] = [
        "# Title\n\nSome **bold** words, two of `them`. And [a link](http://x.y).\n\n- one word\n- two 🎉\n",
        "| only | a |\n|---|---|\n| ta | ble |\n",
        "<speak><p>One word.</p><mark name=\"m\"/><s>Two <sub alias=\"W W W\">www</sub> US</s><break/>End<mark name=\"end\"/></speak>",
        "<speak><metadata>nothing</metadata><mark name=\"x\"/></speak>",
        "<speak>broken",
        "A word for US, two words.",
    ];
    let mut r = Rng::new(seed.rotate_left(32));
    let mut ops = grown(seed);
    for op in &mut ops {
        let format = *r.pick(&[Format::Text, Format::Markdown, Format::Markdown, Format::Ssml]);
        match op {
            Op::Append(_, text) => *text = *r.pick::<&'static str>(&CHUNKS),
            Op::Ask(_, request) => match &mut **request {
                Request::Say { text, options, .. } => {
                    *text = (*r.pick(&TEXTS)).to_owned();
                    options.format = Some(format);
                }
                Request::SayOpen { options, .. } | Request::Submit { options, .. } => options.format = Some(format),
                _ => {}
            },
            _ => {}
        }
    }
    if r.percent(50) {
        let at = (r.below(10) as usize).min(ops.len());
        ops.insert(at, Op::Lexicon);
    }
    ops
}

/// Streams and recordings, for the same reason apart from all others.
pub(crate) fn audio_op(r: &mut Rng) -> Op {
    const FILES: [&str; 5] = ["a.wav", "b.wav", "a.wav", "../a.wav", "a.mp3"];
    let target = target(SESSIONS[r.below(4) as usize]);
    let request = match r.below(10) {
        0 => Request::AcquireAudio {
            target,
            direction: Direction::Tx,
            format: AudioFormat {
                rate: None,
                encoding: Encoding::S16le,
                channels: 1,
            },
        },
        1..=4 => Request::StartRecording {
            target,
            file: (*r.pick(&FILES)).to_owned(),
        },
        5 | 6 => Request::StopRecording { target },
        n => Request::Open {
            id: (*r.pick(&SESSIONS)).to_owned(),
            options: SessionOptions {
                record: Some((*r.pick(&FILES)).to_owned()),
                private: (n == 9).then_some(true),
                ..SessionOptions::default()
            },
        },
    };
    Op::Ask([1, 1, 2][r.below(3) as usize], Box::new(request))
}

pub(crate) fn sequence(seed: u64) -> Vec<Op> {
    let mut r = Rng::new(seed);
    let mut ops = vec![];
    for id in &SESSIONS[..2 + r.below(2) as usize] {
        let options = session_options(&mut r);
        let id = (*id).to_owned();
        ops.push(Op::Ask(1, Box::new(Request::Open { id, options })));
    }
    let calm = r.percent(50);
    for _ in 0..5 + r.below(40) {
        ops.push(op(&mut r));
        if calm {
            ops.push(Op::Later(r.below(400 * MS)));
        }
    }
    ops
}
