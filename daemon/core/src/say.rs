//! From text to utterance: acceptance, and an utterance's place in line. Who speaks it: `speaker.rs`; the requests: `synthesis.rs`.

use crate::Core;
use crate::backend::CacheUse;
use crate::cancel::{Order, Then};
use crate::effect::{Effect, Outcome, Reply};
use crate::ids::{SessionId, Token, UtteranceId};
use crate::note::Note;
use crate::options::{Format, Mode, Priority, Progress, SayOptions};
use crate::request::{ErrorKind, Failure};
use crate::session::{Stage, Utterance};
use crate::source::Source;
use crate::speaker::Speaker;
use crate::spoken::Spoken;
use crate::stream::Stream;
use crate::text;
use crate::timer::Timer;

/// A turn that jumps further than this is a mistake.
pub(crate) const MAX_TURN_STEP: u64 = 1 << 32;

impl SayOptions {
    /// These, and where they say nothing, those.
    pub(crate) fn or(self, other: &Self) -> Self {
        Self {
            backend: self.backend.or_else(|| other.backend.clone()),
            fallback: self.fallback.or_else(|| other.fallback.clone()),
            cache: self.cache.or(other.cache),
            voice: self.voice.or_else(|| other.voice.clone()),
            language: self.language.or_else(|| other.language.clone()),
            rate: self.rate.or(other.rate),
            pitch: self.pitch.or(other.pitch),
            gain_db: self.gain_db.or(other.gain_db),
            format: self.format.or(other.format),
            params: self.params.or_else(|| other.params.clone()),
            mode: self.mode.or(other.mode),
            priority: self.priority.or(other.priority),
            expires_us: self.expires_us.or(other.expires_us),
            progress: self.progress.or(other.progress),
            interruptible: self.interruptible.or(other.interruptible),
            protect_us: self.protect_us.or(other.protect_us),
            turn: self.turn.or(other.turn),
            tag: self.tag.or_else(|| other.tag.clone()),
        }
    }
}

/// Which call an utterance comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Say.
    Say,
    /// SayOpen.
    Stream,
    /// A committing Submit.
    Commit,
    /// Play.
    Play,
    /// AcquireAudio "inject".
    Feed,
}

impl Origin {
    /// Speaks text.
    fn speaks(self) -> bool {
        !matches!(self, Self::Play | Self::Feed)
    }

    fn answer(self, utterance: UtteranceId) -> Reply {
        match self {
            Self::Say | Self::Stream | Self::Play | Self::Feed => Reply::Utterance(utterance.get()),
            Self::Commit => Reply::Submitted {
                ack: "COMMIT_STARTED",
                utterance: utterance.get(),
                buffered: 0,
            },
        }
    }
}

/// What is to be heard.
pub(crate) struct Content {
    pub(crate) text: String,
    pub(crate) source: Source,
    /// Under the session's speech, and lower by so much while it speaks.
    pub(crate) beside: Option<f64>,
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self {
            text,
            source: Source::Text,
            beside: None,
        }
    }
}

impl Core {
    /// Say, SayOpen, Play and the committing Submit. Answers itself when it accepts; `Some` is a refusal that is no error.
    pub(crate) fn say(
        &mut self,
        token: Token,
        session: SessionId,
        content: impl Into<Content>,
        options: SayOptions,
        origin: Origin,
    ) -> Result<Option<Reply>, Failure> {
        let Content { text, source, beside } = content.into();
        if matches!(origin, Origin::Say | Origin::Commit) && text::is_blank(&text) {
            return Err(Failure::new(ErrorKind::InvalidArgs, "text is empty: there is nothing to speak"));
        }
        if text.len() > self.settings.text_bytes {
            let limit = self.settings.text_bytes;
            let message = format!(
                "text has {} bytes, more than limits.text-bytes = {limit}: send it in parts",
                text.len()
            );
            return Err(Failure::new(ErrorKind::LimitExceeded, message));
        }
        let s = &self.sessions[&session];
        // What is being cancelled does not count: a cancel never stands in the way of what is said next (I5).
        let live = s.open.iter().filter(|u| self.is_live(u)).count();
        let all = live + s.beside.ids().filter(|u| self.is_live(u)).count();
        if all >= self.settings.utterances {
            let message = format!(
                "session \"{}\" has {all} open utterances (limits.utterances): wait for some to finish",
                s.id
            );
            return Err(Failure::new(ErrorKind::LimitExceeded, message));
        }
        // The turn is this call's own: a session has no default turn.
        let asked_turn = options.turn.unwrap_or(0);
        let options = options.or(&s.defaults);
        // What the configuration says of speech is not said of sounds.
        let options = if source.is_spoken() {
            options.or(&self.settings.say)
        } else {
            options
        };
        let (speaker, fallback) = if source.is_spoken() {
            self.speakers(&options)?
        } else {
            (Speaker::nobody(), Default::default())
        };
        let current = s.turn;
        let turn = if asked_turn == 0 { current } else { asked_turn };
        if turn < current {
            let name = s.id.clone();
            self.out.push(Effect::Note(Note::StaleTurn { session: name }));
            if let Some(s) = self.sessions.get_mut(&session) {
                s.stale_turns += 1;
            }
            return Ok(Some(Reply::Utterance(0)));
        }
        if turn - current > MAX_TURN_STEP {
            return Err(Failure::new(
                ErrorKind::InvalidArgs,
                format!("option \"turn\" is {turn}, far beyond the current turn {current}"),
            ));
        }
        let mode = options.mode.unwrap_or_default();
        if mode == Mode::IfIdle && live > 0 {
            return Ok(Some(Reply::Utterance(0)));
        }
        let class = options.priority.unwrap_or_default();
        let format = options.format.unwrap_or_default();
        let words = self.settings.lexicon.of(&speaker.language);
        let spoken = match origin {
            Origin::Stream if format == Format::Ssml => {
                let message =
                    "option \"format\" is \"ssml\": a document that is still written cannot be checked; use Say, or another format";
                return Err(Failure::new(ErrorKind::FormatNotSupported, message));
            }
            Origin::Stream => Spoken::growing(format, words),
            Origin::Say | Origin::Commit => Spoken::of(&text, format, words)?,
            Origin::Play | Origin::Feed => Spoken::default(),
        };
        let id = self.utterance_ids.next();
        let aloud = spoken.text(&text);
        let pieces = if origin == Origin::Stream || origin.speaks() && text::is_blank(aloud) {
            Vec::new()
        } else if speaker.concurrent {
            vec![text::whole(aloud)]
        } else {
            text::requests(aloud)
        };
        let progress = options.progress.unwrap_or_default();
        let utterance = Utterance {
            session,
            class,
            turn,
            tag: options.tag.unwrap_or_default(),
            backend: speaker.backend,
            voice: speaker.voice,
            fallback,
            fell_back: false,
            cache: if s.private {
                CacheUse::No
            } else {
                options.cache.unwrap_or_default()
            },
            source,
            feed: None,
            language: options.language.unwrap_or_default(),
            rate: options.rate.unwrap_or(1.0),
            pitch: options.pitch.unwrap_or(1.0),
            gain_db: options.gain_db.unwrap_or(0.0),
            params: options.params.unwrap_or_else(|| "{}".into()),
            word_timing: speaker.word_timing,
            progress,
            interruptible: options.interruptible.unwrap_or(true),
            protect_us: options.protect_us.unwrap_or(0),
            accepted: self.now,
            stage: Stage::Waiting,
            held: None,
            expires: options.expires_us.map(|after| self.now.saturating_add(after)),
            pieces: pieces.into(),
            syntheses: Vec::new(),
            stream: (origin == Origin::Stream).then(|| Stream::open(self.now, format)),
            origin,
            store_full: false,
            ran_low: false,
            sentences: if progress == Progress::Sentence && origin.speaks() {
                text::sentences(aloud).into()
            } else {
                Default::default()
            },
            heard_chars: 0,
            heard_us: 0,
            played_us: 0,
            total_us: 0,
            failure: None,
            cancel: None,
            cancel_reason: String::new(),
            text,
            spoken,
        };
        self.utterances.insert(id, utterance);
        let Some(s) = self.sessions.get_mut(&session) else {
            return Ok(Some(Reply::Utterance(0)));
        };
        s.turn = turn;
        let earlier = s.open.clone();
        if beside.is_none() {
            s.open.push(id);
        }
        s.remember_issued(id);
        s.idle_epoch += 1;
        let (name, floor, muted) = (s.id.clone(), s.floor, s.muted);
        if beside.is_none() {
            self.floors.entry(floor).or_default().members.insert(session);
        }
        self.dirty.insert(session);
        self.out.push(Effect::Note(Note::Accepted {
            session: name,
            utterance: id,
        }));
        if let Some(after) = options.expires_us {
            self.arm(after, Timer::Expire(id));
        }
        if origin == Origin::Stream {
            self.arm(self.stream_idle_us(session), Timer::StreamIdle(id));
            self.arm_yield(session);
        }

        if let Some(duck_db) = beside {
            self.reply(token, origin.answer(id));
            self.admit_beside(session, id, duck_db);
        } else if mode == Mode::Replace {
            let targets = earlier.into_iter().filter(|u| !self.utterances[u].is_protected()).collect();
            self.start_cancel(targets, Order::new("replaced", self.now, Then::Release { token, utterance: id }));
            self.dismiss_suspicion(session);
        } else {
            self.reply(token, self.acceptance(id));
            self.admit(id, muted);
        }
        Ok(None)
    }

    /// How the call that brought it is answered.
    fn acceptance(&self, id: UtteranceId) -> Reply {
        let Some(u) = self.utterances.get(&id) else {
            return Reply::Utterance(id.get());
        };
        match u.source {
            Source::Feed(format) => Reply::Feed {
                utterance: id.get(),
                format,
                output: self.sessions[&u.session].output,
                at_us: u.accepted,
            },
            _ => u.origin.answer(id),
        }
    }

    /// What mode "replace" replaces is silent: the new one takes its place.
    pub(crate) fn release(&mut self, token: Token, utterance: UtteranceId) {
        self.reply(token, self.acceptance(utterance));
        let Some(record) = self.utterances.get_mut(&utterance) else {
            return;
        };
        record.held = None;
        if record.cancel.is_some() {
            return;
        }
        if record.expires.is_some_and(|at| at <= self.now) {
            self.expire(utterance);
            return;
        }
        let muted = self.sessions.get(&record.session).is_some_and(|s| s.muted);
        self.admit(utterance, muted);
        self.complete_stream(utterance);
    }

    /// The arrival rules of its class (SEMANTICS, "Floor"), then its place in line.
    fn admit(&mut self, id: UtteranceId, muted: bool) {
        let Some(record) = self.utterances.get(&id) else {
            return;
        };
        let (session, class) = (record.session, record.class);
        let Some(floor) = self.sessions.get(&session).map(|s| s.floor) else {
            return;
        };
        let silenced = if muted || self.manager.muted {
            Some("muted")
        } else if class < self.manager.min_priority {
            Some("quiet")
        } else if class == Priority::Notification && self.others_on(floor, id) {
            Some("preempted")
        } else {
            None
        };
        if let Some(reason) = silenced {
            self.start_cancel(vec![id], Order::new(reason, self.now, Then::Nothing));
            return;
        }
        if record.is_silent() {
            let report = self.report_of(id, true);
            self.finish(id, Outcome::Completed, report);
            return;
        }
        if matches!(class, Priority::Text | Priority::Progress) {
            let older = |u: &UtteranceId| {
                *u < id
                    && self
                        .utterances
                        .get(u)
                        .is_some_and(|u| u.class == class && !u.has_started() && u.cancel.is_none())
            };
            let replaced: Vec<_> = self.sessions[&session].open.iter().copied().filter(older).collect();
            if !replaced.is_empty() {
                self.start_cancel(replaced, Order::new("replaced", self.now, Then::Nothing));
            }
        }
        // Heard, or already in line to follow without a gap.
        if let Some((on_air, part)) = self.floors[&floor].on_air
            && let Some(on_air) = self.sessions.get(&on_air)
        {
            let gives_way = |id: &UtteranceId| {
                self.utterances
                    .get(id)
                    .is_some_and(|u| u.class <= Priority::Notification && u.class < class && u.cancel.is_none())
            };
            let preempted: Vec<_> = on_air.part(part).committed.iter().copied().filter(gives_way).collect();
            if !preempted.is_empty() {
                self.start_cancel(preempted, Order::new("preempted", self.now, Then::Nothing));
            }
        }
        self.schedule(floor);
    }

    fn others_on(&self, floor: crate::floor::FloorKey, id: UtteranceId) -> bool {
        let open = |s: &SessionId| self.sessions.get(s).into_iter().flat_map(|s| s.open.iter());
        self.floors
            .get(&floor)
            .is_some_and(|f| f.members.iter().flat_map(open).any(|u| *u != id && self.is_live(u)))
    }

    /// Accepted, not finished, and not being cancelled.
    pub(crate) fn is_live(&self, id: &UtteranceId) -> bool {
        self.utterances.get(id).is_some_and(|u| u.cancel.is_none())
    }
}
