//! From text to utterance to its end: acceptance, requests to backends, progress, completion, failure, expiry.

use crate::Core;
use crate::cancel::{Order, Then};
use crate::effect::{Effect, HistoryEntry, Note, Outcome, Reply, Report, Signal, Synthesis};
use crate::ids::{Micros, SessionId, SynthesisId, Token, UtteranceId};
use crate::request::{ErrorKind, Failure, Mode, Priority, Progress, SayOptions, SynthesisEvent, SynthesisState};
use crate::session::{Part, Stage, SynthesisRecord, Utterance};
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
            voice: self.voice.or_else(|| other.voice.clone()),
            language: self.language.or_else(|| other.language.clone()),
            rate: self.rate.or(other.rate),
            pitch: self.pitch.or(other.pitch),
            gain_db: self.gain_db.or(other.gain_db),
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
}

impl Origin {
    fn answer(self, utterance: UtteranceId) -> Reply {
        match self {
            Self::Say | Self::Stream => Reply::Utterance(utterance.get()),
            Self::Commit => Reply::Submitted {
                ack: "COMMIT_STARTED",
                utterance: utterance.get(),
                buffered: 0,
            },
        }
    }
}

struct Speaker {
    backend: String,
    voice: String,
    concurrent: bool,
    word_timing: bool,
}

impl Core {
    /// Say, SayOpen and the committing Submit. Answers itself when it accepts; `Some` is a refusal that is no error.
    pub(crate) fn say(
        &mut self,
        token: Token,
        session: SessionId,
        text: String,
        options: SayOptions,
        origin: Origin,
    ) -> Result<Option<Reply>, Failure> {
        if origin != Origin::Stream && text::is_blank(&text) {
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
        if live >= self.settings.utterances {
            let message = format!(
                "session \"{}\" has {live} open utterances (limits.utterances): wait for some to finish",
                s.id
            );
            return Err(Failure::new(ErrorKind::LimitExceeded, message));
        }
        // The turn is this call's own: a session has no default turn.
        let asked_turn = options.turn.unwrap_or(0);
        let options = options.or(&s.defaults).or(&self.settings.say);
        let speaker = self.speaker(&options)?;
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
        let id = self.utterance_ids.next();
        let pieces = if origin == Origin::Stream {
            Vec::new()
        } else if speaker.concurrent {
            vec![text::whole(&text)]
        } else {
            text::requests(&text)
        };
        let progress = options.progress.unwrap_or_default();
        let utterance = Utterance {
            session,
            class,
            turn,
            tag: options.tag.unwrap_or_default(),
            backend: speaker.backend,
            voice: speaker.voice,
            language: options.language.unwrap_or_default(),
            rate: options.rate.unwrap_or(1.0),
            pitch: options.pitch.unwrap_or(1.0),
            gain_db: options.gain_db.unwrap_or(0.0),
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
            stream: (origin == Origin::Stream).then(|| Stream::open(self.now)),
            origin,
            store_full: false,
            ran_low: false,
            sentences: if progress == Progress::Sentence {
                text::sentences(&text).into()
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
        };
        self.utterances.insert(id, utterance);
        let Some(s) = self.sessions.get_mut(&session) else {
            return Ok(Some(Reply::Utterance(0)));
        };
        s.turn = turn;
        let earlier = s.open.clone();
        s.open.push(id);
        s.remember_issued(id);
        s.idle_epoch += 1;
        let (name, floor, muted) = (s.id.clone(), s.floor, s.muted);
        self.floors.entry(floor).or_default().members.insert(session);
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

        if mode == Mode::Replace {
            let targets = earlier.into_iter().filter(|u| !self.utterances[u].is_protected()).collect();
            self.start_cancel(targets, Order::new("replaced", self.now, Then::Release { token, utterance: id }));
        } else {
            self.reply(token, origin.answer(id));
            self.admit(id, muted);
        }
        Ok(None)
    }

    /// What mode "replace" replaces is silent: the new one takes its place.
    pub(crate) fn release(&mut self, token: Token, utterance: UtteranceId) {
        let Some(record) = self.utterances.get(&utterance) else {
            self.reply(token, Reply::Utterance(utterance.get()));
            return;
        };
        self.reply(token, record.origin.answer(utterance));
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

    /// Which backend and voice will speak.
    fn speaker(&self, options: &SayOptions) -> Result<Speaker, Failure> {
        let asked = options.backend.as_deref().filter(|b| !b.is_empty());
        let backend = match asked {
            Some(id) => self.backends.iter().find(|b| b.id == id).ok_or_else(|| {
                let known: Vec<&str> = self.backends.iter().map(|b| b.id.as_str()).collect();
                Failure::new(
                    ErrorKind::NoSuchBackend,
                    format!("there is no backend \"{id}\"; loaded: {}", list_or(&known, "none")),
                )
            })?,
            // A voice that only another backend has names that backend.
            None => self
                .backends
                .iter()
                .find(|b| b.has_voice(options.voice.as_deref()))
                .or(self.backends.first())
                .ok_or_else(|| {
                    let message =
                        "no TTS plugin is loaded: put one into a plugin folder (see Plugins.List for what was rejected) and restart utterd";
                    Failure::new(ErrorKind::BackendUnavailable, message)
                })?,
        };
        let language = options.language.as_deref().filter(|l| !l.is_empty());
        let voice = match (options.voice.as_deref().filter(|v| !v.is_empty()), language) {
            (Some(voice), _) => {
                if !backend.has_voice(Some(voice)) {
                    let message = format!("backend \"{}\" has no voice \"{voice}\"; ListVoices names those it has", backend.id);
                    return Err(Failure::new(ErrorKind::NoSuchVoice, message));
                }
                voice.to_owned()
            }
            (None, Some(language)) => {
                let default = backend.voices.iter().find(|v| v.id == backend.default_voice).into_iter();
                let voices: Vec<_> = default.chain(&backend.voices).collect();
                let that = |matches: fn(&str, &str) -> bool| voices.iter().find(|v| v.languages.iter().any(|l| matches(l, language)));
                match that(speaks).or_else(|| that(same_language)) {
                    Some(voice) => voice.id.clone(),
                    None if backend.voices.is_empty() => String::new(),
                    None => {
                        let message = format!(
                            "backend \"{}\" has no voice for language \"{language}\"; ListVoices names those it has",
                            backend.id
                        );
                        return Err(Failure::new(ErrorKind::NoSuchVoice, message));
                    }
                }
            }
            (None, None) => backend.default_voice.clone(),
        };
        Ok(Speaker {
            backend: backend.id.clone(),
            voice,
            concurrent: backend.concurrent,
            word_timing: backend.word_timing,
        })
    }

    /// Asks the backend for the utterance's next piece, if it has one and may have it.
    pub(crate) fn request_pieces(&mut self, id: UtteranceId) {
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        if u.cancel.is_some() || u.failure.is_some() || u.store_full || u.in_flight() {
            return;
        }
        let Some(piece) = u.pieces.pop_front() else {
            return;
        };
        let Some(session) = self.sessions.get(&u.session) else {
            return;
        };
        u.ran_low = false;
        let open = u.pieces.is_empty() && u.is_open_stream();
        let last = u.pieces.is_empty() && !open;
        if let Some(stream) = &mut u.stream {
            stream.closed |= last;
        }
        let synthesis = self.synthesis_ids.next();
        let first = u.syntheses.is_empty();
        u.syntheses.push(SynthesisRecord {
            id: synthesis,
            state: SynthesisState::Queued,
            failed: false,
            end_us: 0,
            chars_end: piece.chars.end,
            told: None,
        });
        self.by_synthesis.insert(synthesis, id);
        if first && u.protect_us > 0 {
            self.out.push(Effect::Watch {
                utterance: id,
                output: session.output,
                at_us: u.protect_us,
            });
        }
        self.out.push(Effect::Synthesize(Synthesis {
            synthesis,
            utterance: id,
            session: u.session.get(),
            output: session.output,
            backend: u.backend.clone(),
            voice: u.voice.clone(),
            language: u.language.clone(),
            rate: u.rate,
            pitch: u.pitch,
            gain_db: u.gain_db,
            text: u.text[piece.bytes].to_owned(),
            char_base: piece.chars.start,
            first,
            last,
            open,
        }));
    }

    pub(crate) fn synthesis_event(&mut self, synthesis: SynthesisId, event: SynthesisEvent) {
        let Some(id) = self.by_synthesis.get(&synthesis).copied() else {
            return;
        };
        if let SynthesisEvent::Told { state, told, at } = event {
            self.told(id, synthesis, state, told, at);
            return;
        }
        let look_ahead = self.settings.look_ahead_us;
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        if u.syntheses
            .iter()
            .any(|s| s.id == synthesis && (s.failed || s.state == SynthesisState::Delivered))
        {
            return; // It has ended; what comes now is an echo.
        }
        let before: Micros = u
            .syntheses
            .iter()
            .take_while(|s| s.id != synthesis)
            .map(|s| s.end_us)
            .last()
            .unwrap_or(0);
        let Some(record) = u.syntheses.iter_mut().find(|s| s.id == synthesis) else {
            return;
        };
        match event {
            SynthesisEvent::Requested => record.state = record.state.max(SynthesisState::Requested),
            SynthesisEvent::FirstAudio => record.state = record.state.max(SynthesisState::Streaming),
            SynthesisEvent::Delivered { audio_us, ahead_us } => {
                record.state = SynthesisState::Delivered;
                record.end_us = before + audio_us;
                u.total_us = record.end_us;
                // `Low` and this come from different threads: a `Low` that overtook it must not be lost, nobody repeats it.
                u.store_full = ahead_us >= look_ahead && !u.ran_low;
                self.request_pieces(id);
            }
            SynthesisEvent::Stopped if u.cancel.is_none() => {
                // Nobody stopped it: without an end it would hold its place for ever.
                let message = format!("backend \"{}\" stopped by itself", u.backend);
                let error = Failure::new(ErrorKind::Failed, message);
                self.synthesis_event(synthesis, SynthesisEvent::Failed { error, audio_us: 0 });
            }
            SynthesisEvent::Failed { error, audio_us } => {
                record.failed = true;
                record.end_us = before + audio_us;
                u.total_us = record.end_us;
                if u.cancel.is_some() {
                    return;
                }
                u.failure = Some(error.clone());
                u.pieces.clear();
                // What was synthesised before the failure is still spoken; without any there is nothing to wait for.
                if u.total_us == 0 {
                    self.out.push(Effect::Cut { utterance: id, fade_us: 0 });
                    let report = Report {
                        failure: Some(error.clone()),
                        ..self.report_of(id, false)
                    };
                    self.leave_track(id);
                    self.finish(id, Outcome::Failed(error), report);
                }
            }
            SynthesisEvent::Stopped | SynthesisEvent::Told { .. } => {}
        }
    }

    pub(crate) fn started(&mut self, id: UtteranceId) {
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        let Stage::Committed(part) = u.stage else {
            return;
        };
        u.stage = Stage::Started(part);
        // Until its report is known a cancelled utterance stays silent towards clients.
        if u.cancel.is_some() {
            return;
        }
        let (tag, turn, first_audio_us) = (u.tag.clone(), u.turn, self.now.saturating_sub(u.accepted));
        let session_id = u.session;
        let Some(session) = self.sessions.get_mut(&session_id) else {
            return;
        };
        let first_frame = !std::mem::replace(&mut session.first_frame_sent, true);
        let name = session.id.clone();
        self.dirty.insert(session_id);
        self.playback_started(session_id, turn);
        self.signal(
            session_id,
            Signal::UtteranceStarted {
                utterance: id,
                first_audio_us,
                tag,
                turn,
            },
        );
        self.out.push(Effect::Note(Note::Started {
            session: name.clone(),
            utterance: id,
            first_audio_us,
        }));
        if first_frame {
            self.signal(session_id, Signal::FirstFrameSent { utterance: id });
            self.out.push(Effect::Note(Note::FirstFrameSent {
                session: name,
                utterance: id,
            }));
        }
    }

    pub(crate) fn mark_heard(&mut self, id: UtteranceId, word: bool, onset_us: Micros, chars: std::ops::Range<u32>) {
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        u.heard_us = u.heard_us.max(onset_us);
        if !word {
            return;
        }
        // espeak-ng marks "can" of "can't": what was heard must not say the opposite.
        let piece_end = u
            .syntheses
            .iter()
            .map(|s| s.chars_end)
            .find(|end| *end >= chars.end)
            .unwrap_or(chars.end);
        let chars = chars.start..text::word_end(&u.text, chars.end).min(piece_end);
        u.heard_chars = u.heard_chars.max(chars.end);
        if u.cancel.is_some() || u.progress == Progress::None {
            return;
        }
        let mut heard = Vec::new();
        while let Some(sentence) = u.sentences.front()
            && sentence.chars.start < chars.end
        {
            // A sentence whose words the backend has no marks for is passed over silently.
            if sentence.chars.end > chars.start {
                heard.push(("sentence", sentence.chars.clone()));
            }
            u.sentences.pop_front();
        }
        if u.progress == Progress::Word {
            heard.push(("word", chars));
        }
        let (session, tag, turn) = (u.session, u.tag.clone(), u.turn);
        let text = |range: &std::ops::Range<u32>| {
            text::prefix(&u.text, range.end)
                .chars()
                .skip(range.start as usize)
                .collect::<String>()
        };
        let private = self.sessions.get(&session).is_some_and(|s| s.private);
        let heard: Vec<_> = heard
            .into_iter()
            .map(|(kind, range)| (kind, (!private).then(|| text(&range)), range))
            .collect();
        for (kind, text, chars) in heard {
            self.signal(
                session,
                Signal::UtteranceProgress {
                    utterance: id,
                    kind,
                    chars,
                    played_us: onset_us,
                    text,
                    tag: tag.clone(),
                    turn,
                },
            );
        }
    }

    pub(crate) fn ended(&mut self, id: UtteranceId, played_us: Micros) {
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        u.played_us = played_us;
        u.total_us = played_us;
        u.heard_us = played_us;
        // A store that ended before all of its text was asked for is one that failed, whoever brings that news first.
        if u.cancel.is_none() && u.failure.is_none() && (!u.pieces.is_empty() || u.is_open_stream()) {
            u.failure = Some(Failure::new(
                ErrorKind::Failed,
                format!("backend \"{}\" ended before the text did", u.backend),
            ));
            u.pieces.clear();
        }
        // The cut that is on its way will find it gone; its answer completes the cancel.
        if u.cancel.is_some() {
            return;
        }
        let failure = u.failure.clone();
        let mut report = self.report_of(id, failure.is_none());
        report.failure.clone_from(&failure);
        self.leave_track(id);
        self.finish(id, failure.map_or(Outcome::Completed, Outcome::Failed), report);
    }

    pub(crate) fn expire(&mut self, id: UtteranceId) {
        let Some(u) = self.utterances.get(&id) else {
            return;
        };
        // While it is held its Say is not answered, so nothing may name it: `release` looks again.
        if u.has_started() || u.cancel.is_some() || u.held.is_some() {
            return;
        }
        // Its requests are stopped like a cancel's; nobody waits for their answers, so the outcome goes out now.
        let live: Vec<SynthesisId> = u.syntheses.iter().filter(|s| !s.failed).map(|s| s.id).collect();
        if u.needs_cut() {
            self.out.push(Effect::Cut { utterance: id, fade_us: 0 });
        }
        self.out
            .extend(live.into_iter().map(|synthesis| Effect::CancelSynthesis { synthesis }));
        let report = self.report_of(id, false);
        self.leave_track(id);
        self.finish(id, Outcome::Expired, report);
    }

    /// The one place where an utterance ends: signal, history, waiters, and whoever waits for the session to be empty.
    pub(crate) fn finish(&mut self, id: UtteranceId, outcome: Outcome, report: Report) {
        let Some(u) = self.utterances.remove(&id) else {
            return;
        };
        let session_id = u.session;
        for synthesis in &u.syntheses {
            self.by_synthesis.remove(&synthesis.id);
        }
        let tombstone = self.settings.tombstone_us;
        self.arm(tombstone, Timer::Forget(id));
        let Some(session) = self.sessions.get_mut(&session_id) else {
            return;
        };
        session.open.retain(|open| *open != id);
        for part in [Part::Main, Part::Interjection] {
            session.part_mut(part).committed.retain(|c| *c != id);
        }
        let private = session.private;
        let entry = HistoryEntry {
            utterance: id,
            said: if private { String::new() } else { u.text },
            heard: if private { String::new() } else { report.heard_text.clone() },
            outcome: outcome.word(),
            reason: report.reason.clone(),
            at_us: self.now,
            tag: u.tag,
            turn: u.turn,
        };
        session.remember_finished(entry, report.clone());
        let (name, floor, idle) = (session.id.clone(), session.floor, session.open.is_empty());
        let mut waiting = Vec::new();
        session.waiters.retain(|w| {
            if w.utterance == id {
                waiting.push(w.token);
                false
            } else {
                true
            }
        });
        if idle {
            if let Some(floor) = self.floors.get_mut(&floor) {
                floor.members.remove(&session_id);
                // Nothing accepted: it has yielded, and does not hold the floor again before it is heard again.
                floor.holder = floor.holder.filter(|h| *h != session_id);
            }
            session.idle_epoch += 1;
            if let Some(after) = session.idle_timeout_us {
                let epoch = session.idle_epoch;
                self.arm(after, Timer::Idle(session_id, epoch));
            }
        }
        if idle {
            self.playback_rests(session_id);
        }
        self.dirty.insert(session_id);
        let word = outcome.word();
        let synthesised_us = u.syntheses.iter().map(|s| s.end_us).max().unwrap_or(0);
        self.out.push(Effect::Note(Note::Finished {
            session: name,
            utterance: id,
            outcome: word,
            played_us: report.played_us,
            wasted_us: synthesised_us.saturating_sub(report.played_us),
        }));
        self.signal(
            session_id,
            Signal::UtteranceFinished {
                utterance: id,
                outcome,
                report: Box::new(report.clone()),
            },
        );
        for token in waiting {
            self.reply(
                token,
                Reply::Waited {
                    outcome: word,
                    report: Some(Box::new(report.clone())),
                },
            );
        }
        self.schedule(floor);
        self.close_if_empty(session_id);
    }
}

/// The language that was asked for; a bare "de" takes any region.
fn speaks(offered: &str, wanted: &str) -> bool {
    offered.eq_ignore_ascii_case(wanted) || (primary(wanted).eq_ignore_ascii_case(wanted) && same_language(offered, wanted))
}

/// Another region is better than no voice: "de" speaks "de-AT".
fn same_language(offered: &str, wanted: &str) -> bool {
    primary(offered).eq_ignore_ascii_case(primary(wanted))
}

fn primary(tag: &str) -> &str {
    tag.split(['-', '_']).next().unwrap_or_default()
}

fn list_or(items: &[&str], none: &str) -> String {
    if items.is_empty() { none.to_owned() } else { items.join(", ") }
}
