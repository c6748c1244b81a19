//! A slow lane, one frame at a time on plain vectors, and random sequences of commands on both: they must sound and answer alike.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

const SHORT: u32 = RATE / 200;

#[derive(Clone, Copy, Debug)]
enum Mode {
    Run,
    Down { j: u32, n: u32, from: f32, resume: bool },
    Held { up: u32, peeked: u32 },
}

struct Model {
    stream: Vec<f32>,
    /// (position, span or end, cut while queued)
    marks: VecDeque<(usize, Option<u64>, bool)>,
    visible: usize,
    pos: usize,
    span: Option<u64>,
    begin: usize,
    skip: bool,
    mode: Mode,
    up: (u32, u32),
    cut: Option<(u32, u32, f32)>,
    tail: (f32, u32, u32),
    last: f32,
    sounding: bool,
    dry: bool,
    lost: u64,
    owed_cut: Option<u64>,
    owed_pause: bool,
    facts: Vec<Fact>,
}

impl Model {
    fn new() -> Model {
        Model {
            stream: Vec::new(),
            marks: VecDeque::new(),
            visible: 0,
            pos: 0,
            span: None,
            begin: 0,
            skip: false,
            mode: Mode::Run,
            up: (0, 0),
            cut: None,
            tail: (0.0, 0, 0),
            last: 0.0,
            sounding: false,
            dry: false,
            lost: 0,
            owed_cut: None,
            owed_pause: false,
            facts: Vec::new(),
        }
    }

    fn end(&self) -> usize {
        self.marks.front().map_or(self.visible, |m| m.0)
    }

    fn pass(&mut self) {
        while let Some(&(at, span, cut)) = self.marks.front() {
            if at > self.pos {
                break;
            }
            self.marks.pop_front();
            (self.dry, self.up) = (false, (0, 0));
            (self.span, self.skip) = (span, cut);
            if span.is_some() {
                self.begin = at;
            }
        }
    }

    fn up_level(&self) -> f32 {
        if self.up.0 < self.up.1 {
            (self.up.0 as f32 + 0.5) / self.up.1 as f32
        } else {
            1.0
        }
    }

    fn within(&self, fade: u32) -> u32 {
        self.marks.front().map_or(fade, |m| fade.min((m.0 - self.pos) as u32))
    }

    fn is_heard(&self) -> bool {
        self.sounding && self.span.is_some() && self.pos > self.begin
    }

    fn tail_left(&self) -> bool {
        self.tail.1 < self.tail.2
    }

    fn start_period(&mut self) {
        self.visible = self.stream.len();
        if self.cut.is_none() && !self.tail_left() {
            self.pass();
        }
    }

    fn obey(&mut self, command: Command, now: u64) {
        match command {
            Command::Cut { span, fade_frames } => self.obey_cut(span, fade_frames, now),
            Command::Pause { fade_frames } => match self.mode {
                Mode::Held { .. } if self.owed_pause => {}
                Mode::Held { .. } => self.facts.push(Fact::Paused {
                    position: self.pos as u64,
                    at_us: now,
                }),
                Mode::Down { j, n, from, .. } => self.mode = Mode::Down { j, n, from, resume: false },
                Mode::Run if self.cut.is_some() || self.tail_left() => {
                    self.mode = Mode::Held { up: 0, peeked: 0 };
                    self.owed_pause = true;
                }
                Mode::Run if self.is_heard() => {
                    self.mode = Mode::Down {
                        j: 0,
                        n: self.within(fade_frames),
                        from: self.up_level(),
                        resume: false,
                    };
                    self.up = (0, 0);
                }
                Mode::Run => {
                    self.mode = Mode::Held {
                        up: self.up.1 - self.up.0,
                        peeked: 0,
                    };
                    self.facts.push(Fact::Paused {
                        position: self.pos as u64,
                        at_us: now,
                    });
                }
            },
            Command::Resume { .. } => self.resume(now),
            Command::Gain { .. } | Command::Tap => {}
        }
    }

    fn obey_cut(&mut self, span: NonZeroU64, fade: u32, now: u64) {
        let queued = self.marks.iter_mut().find(|m| m.1 == Some(span.get()) && !m.2);
        if self.span == Some(span.get()) && !self.skip && self.cut.is_none() {
            self.owed_cut = self.span;
            if self.tail_left() {
                (self.skip, self.dry) = (true, false);
                return;
            }
            let mut to = self.pos;
            match self.mode {
                Mode::Down { j, n, from, resume } => {
                    let level = if j < n { from * (1.0 - (j as f32 + 0.5) / n as f32) } else { 0.0 };
                    self.pos += j as usize;
                    self.mode = Mode::Held { up: 0, peeked: 0 };
                    self.owed_pause = true;
                    if resume {
                        self.resume(now);
                    }
                    self.cut = Some((0, self.within(fade), level));
                    return;
                }
                Mode::Run if self.is_heard() => {
                    self.cut = Some((0, self.within(fade), self.up_level()));
                    self.up = (0, 0);
                    return;
                }
                Mode::Held { peeked, .. } => {
                    to += peeked as usize;
                    self.mode = Mode::Held { up: 0, peeked: 0 };
                }
                Mode::Run => self.up = (0, 0),
            }
            (self.skip, self.dry, self.owed_cut) = (true, false, None);
            self.facts.push(Fact::Cut {
                span,
                position: to as u64,
                at_us: now,
            });
        } else if let Some(mark) = queued {
            mark.2 = true;
            let position = mark.0 as u64;
            self.facts.push(Fact::Cut {
                span,
                position,
                at_us: now,
            });
        } else {
            self.facts.push(Fact::CutMissed { span });
        }
    }

    fn resume(&mut self, now: u64) {
        match self.mode {
            Mode::Down { j, n, from, .. } => {
                self.mode = Mode::Down { j, n, from, resume: true };
                return;
            }
            Mode::Held { up, .. } => {
                self.up = (0, up);
                self.mode = Mode::Run;
                self.owed_pause = false;
            }
            Mode::Run => {}
        }
        self.facts.push(Fact::Resumed {
            position: self.pos as u64,
            at_us: now,
        });
    }

    fn settle(&mut self, at_us: u64) {
        (self.last, self.sounding) = (0.0, false);
        if let Some(span) = self.owed_cut.take() {
            self.facts.push(Fact::Cut {
                span: id(span),
                position: self.pos as u64,
                at_us,
            });
        }
        if core::mem::take(&mut self.owed_pause) {
            self.facts.push(Fact::Paused {
                position: self.pos as u64,
                at_us,
            });
        }
    }

    fn heard(&mut self, value: f32) -> f32 {
        (self.last, self.sounding) = (value, true);
        value
    }

    fn silent(&mut self) -> f32 {
        (self.last, self.sounding) = (0.0, false);
        0.0
    }

    /// One frame. `at` gives the time of it, `before` that of the one before within the period.
    fn frame(&mut self, now: u64, before: u64, next: u64) -> f32 {
        loop {
            if self.tail_left() {
                let value = self.tail.0 * (1.0 - (self.tail.1 as f32 + 0.5) / self.tail.2 as f32);
                self.tail.1 += 1;
                if self.dry && matches!(self.mode, Mode::Run) {
                    self.lost += 1;
                }
                if !self.tail_left() {
                    self.settle(now);
                }
                return value;
            }
            if let Some((j, n, from)) = self.cut {
                let mut value = None;
                if j < n && self.pos < self.end() {
                    let x = self.stream[self.pos] * from * (1.0 - (j as f32 + 0.5) / n as f32);
                    value = Some(self.heard(x));
                    self.pos += 1;
                    self.cut = Some((j + 1, n, from));
                }
                let j = j + u32::from(value.is_some());
                if j >= n || self.marks.front().is_some_and(|m| m.0 <= self.pos) {
                    (self.cut, self.skip) = (None, true);
                    self.settle(if value.is_some() { now } else { before });
                } else if value.is_none() {
                    (self.cut, self.skip) = (None, true);
                    self.tail = (self.last, 0, n - j);
                }
                if let Some(value) = value {
                    return value;
                }
                continue;
            }
            self.pass();
            if self.skip {
                self.pos = self.end().max(self.pos);
                self.pass();
                if self.skip && self.marks.front().is_some_and(|m| m.0 <= self.pos) {
                    continue;
                }
                if self.skip && self.pos < self.end() {
                    continue;
                }
            }
            match self.mode {
                Mode::Held { .. } => return self.silent(),
                Mode::Down { j, n, from, resume } => {
                    let mut value = None;
                    if j < n && self.pos + (j as usize) < self.end() {
                        let x = self.stream[self.pos + j as usize] * from * (1.0 - (j as f32 + 0.5) / n as f32);
                        value = Some(self.heard(x));
                    }
                    let j = j + u32::from(value.is_some());
                    if j < n
                        && let Some(value) = value
                    {
                        self.mode = Mode::Down { j, n, from, resume };
                        return value;
                    }
                    self.mode = Mode::Held { up: n, peeked: j };
                    self.owed_pause = !resume;
                    if j < n {
                        self.tail = (self.last, 0, n - j);
                    } else {
                        self.settle(if value.is_some() { now } else { before });
                    }
                    if resume {
                        self.resume(if value.is_some() { next } else { now });
                    }
                    if let Some(value) = value {
                        return value;
                    }
                }
                Mode::Run => {
                    if self.pos >= self.end() {
                        if self.span.is_none() || self.pos <= self.begin || self.skip {
                            self.dry = false;
                            return self.silent();
                        }
                        if !self.dry {
                            self.dry = true;
                            self.up = (0, 0);
                            self.facts.push(Fact::Underrun {
                                span: id(self.span.unwrap()),
                                position: self.pos as u64,
                                at_us: now,
                            });
                            if self.sounding {
                                self.tail = (self.last, 0, SHORT);
                                continue;
                            }
                        }
                        self.lost += 1;
                        return self.silent();
                    }
                    if self.dry {
                        self.dry = false;
                        self.up = (0, SHORT);
                        let lost_frames = core::mem::take(&mut self.lost);
                        let span = id(self.span.unwrap());
                        self.facts.push(Fact::Recovered {
                            span,
                            position: self.pos as u64,
                            at_us: now,
                            lost_frames,
                        });
                    }
                    let value = self.stream[self.pos] * self.up_level();
                    self.up.0 = (self.up.0 + 1).min(self.up.1);
                    self.pos += 1;
                    return self.heard(value);
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Begin,
    End,
    Push(usize),
    PushLast(usize),
    Cut { back: u64, fade: u32 },
    Pause(u32),
    Resume(u32),
    Render(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let fade = prop_oneof![Just(0u32), 1u32..10, Just(40u32), 30u32..90];
    prop_oneof![
        3 => Just(Op::Begin),
        2 => Just(Op::End),
        6 => (0usize..150).prop_map(Op::Push),
        2 => (0usize..80).prop_map(Op::PushLast),
        2 => (0u64..4, fade.clone()).prop_map(|(back, fade)| Op::Cut { back, fade }),
        2 => fade.clone().prop_map(Op::Pause),
        3 => fade.prop_map(Op::Resume),
        10 => prop_oneof![1usize..12, 16usize..100].prop_map(Op::Render),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6000))]

    #[test]
    fn the_lane_sounds_and_answers_like_the_slow_model(ops in prop::collection::vec(op(), 1..60), seed: u64) {
        let mut world = World::new();
        let mut lane = world.lane(200);
        // Whether tapped or not, the lane is the same; the ring is of a length that no period divides.
        let mut tap = None;
        if seed % 2 == 0 {
            let (tx, rx) = crate::tap(173);
            lane.tap(tx).unwrap();
            tap = Some(rx);
        }
        let mut model = Model::new();
        let mut commands = Vec::new();
        let mut spans = 0;
        let mut open = false;
        let mut cuts = 0;
        let mut answers = 0;
        for (step, op) in ops.iter().enumerate() {
            match *op {
                Op::Begin => {
                    if lane.begin(id(spans + 1)).is_ok() {
                        spans += 1;
                        open = true;
                        model.marks.push_back((model.stream.len(), Some(spans), false));
                    }
                }
                Op::End => {
                    lane.end().unwrap();
                    if core::mem::take(&mut open) {
                        model.marks.push_back((model.stream.len(), None, false));
                    }
                }
                Op::Push(frames) | Op::PushLast(frames) => {
                    let samples = noise(seed ^ step as u64, frames);
                    let last = matches!(op, Op::PushLast(_)) && lane.free() >= frames;
                    let taken = if last { lane.push_last(&samples).unwrap() } else { lane.push(&samples) };
                    model.stream.extend(&samples[..taken]);
                    if last && core::mem::take(&mut open) {
                        model.marks.push_back((model.stream.len(), None, false));
                    }
                }
                Op::Cut { back, fade: fade_frames } if spans > back => {
                    commands.push(Command::Cut { span: id(spans - back), fade_frames });
                }
                Op::Cut { .. } => {}
                Op::Pause(fade_frames) => commands.push(Command::Pause { fade_frames }),
                Op::Resume(fade_frames) => commands.push(Command::Resume { fade_frames }),
                Op::Render(frames) => {
                    let start = world.heard.len() as u64;
                    let base = world.now_us();
                    let at = |frame: u64| base + frame * 1_000_000 / u64::from(RATE);
                    prop_assert_eq!(world.now_us(), start * 125);
                    model.start_period();
                    for command in commands.drain(..) {
                        if lane.command(command).is_ok() {
                            cuts += usize::from(matches!(command, Command::Cut { .. }));
                            model.obey(command, base);
                        }
                    }
                    let out = world.render(frames);
                    for (i, heard) in out.iter().enumerate() {
                        let i = i as u64;
                        let expected = model.frame(at(i), at(i.saturating_sub(1)), at(i + 1));
                        prop_assert!((heard - expected).abs() < 1e-5, "step {}, frame {}: {} for {}", step, i, heard, expected);
                    }
                    if let Some(tap) = &mut tap {
                        let own = tap.take(|block, first, second| (block, [first, second].concat())).unwrap();
                        prop_assert_eq!((own.0.frame, own.0.at_us), (start, base));
                        prop_assert_eq!(&own.1, &out, "step {}", step);
                    }
                    let told = facts(&mut lane);
                    prop_assert_eq!(&told, &model.facts, "step {}", step);
                    answers += told.iter().filter(|f| matches!(f, Fact::Cut { .. } | Fact::CutMissed { .. })).count();
                    model.facts.clear();
                }
            }
        }
        commands.clear();
        for _ in 0..20 {
            lane.command(Command::Resume { fade_frames: 0 }).unwrap();
            world.render(100);
            if let Some(tap) = &mut tap {
                tap.take(|_, _, _| ()).unwrap();
            }
            answers += facts(&mut lane).iter().filter(|f| matches!(f, Fact::Cut { .. } | Fact::CutMissed { .. })).count();
        }
        prop_assert_eq!(answers, cuts, "every cut has exactly one answer");
        prop_assert_eq!(lane.position(), lane.pushed(), "all that was pushed was played or skipped");
    }
}
