//! The book of what was asked, decided and told; every entry is checked against SEMANTICS when it is written. What clients are told: told.rs.

mod told;

use std::collections::{BTreeMap, BTreeSet};

use utterd_core::{
    Effect, Failure, Format, Micros, Mode, Note, Outcome, Output, Phase, Priority, Reply, Report, Request, SessionProperties, Source,
    SynthesisId, Target, Token, TrackId, UtteranceId,
};

use utterd_core::hearing::BargeInPolicy;

use super::phases::Phases;
use super::sound::Sound;

/// A cancel answers by then.
const REPLY_US: Micros = 100_000;
/// A transition in flight is over by then; a test's line is never longer than twenty.
const DEVICE_US: Micros = 2_000_000;

#[derive(Debug)]
pub(crate) struct Utterance {
    pub(crate) session: String,
    pub(crate) text: String,
    /// What is spoken is the text as sent: no format, no lexicon.
    plain: bool,
    class: Priority,
    /// Its text grows.
    pub(crate) stream: bool,
    /// It is a file, and lies beside the speech.
    sound: bool,
    pub(crate) beside: bool,
    /// The last append that was accepted.
    pub(crate) seq: u64,
    closed: bool,
    turn: u64,
    pub(crate) protected: bool,
    pub(crate) protect_us: Micros,
    shared: bool,
    local: bool,
    /// Its Say was answered, so signals may name it.
    named: bool,
    /// A cancel whose scope holds it was called: nothing of it may begin.
    doomed: Option<&'static str>,
    cut: bool,
    played: bool,
    started: bool,
    asked: String,
    /// It was played before it was asked for: its backend is away, and so it fails at once.
    unasked: bool,
    /// Its last request, and what was asked for before it.
    request: Option<(SynthesisId, usize, String, bool)>,
    /// A synthesis was asked for.
    requested: bool,
    /// Code points that marks proved when it fell silent.
    heard_words: Option<u32>,
    /// Another backend, with another proof of what was heard, may have spoken a part of it.
    falls_back: bool,
    end: Option<(Outcome, Report, u64)>,
}

#[derive(Debug, Default)]
pub(crate) struct Session {
    uid: u32,
    shared: bool,
    local: bool,
    private: bool,
    muted: bool,
    closing: bool,
    /// As ListeningChanged tells it.
    pub(crate) listens: bool,
    policy: BargeInPolicy,
    speaks: bool,
    suspicions: u64,
    pub(crate) properties: SessionProperties,
}

#[derive(Debug)]
struct Call {
    at: Micros,
    request: Request,
    /// What this call dooms, and nobody before it.
    dooms: Vec<UtteranceId>,
    /// What was in its scope, doomed before or not.
    scope: Vec<UtteranceId>,
    allowed: bool,
    uid: u32,
    /// Of its session when it came.
    turn: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) chaos: bool,
    /// Words may be spelled otherwise.
    pub(crate) lexicon: bool,
    /// The configuration says `private`.
    pub(crate) private_house: bool,
    pub(crate) utterances: BTreeMap<UtteranceId, Utterance>,
    pub(crate) sessions: BTreeMap<String, Session>,
    pub(crate) replies: BTreeMap<Token, (Micros, Result<Reply, Failure>)>,
    calls: BTreeMap<Token, Call>,
    /// The call that is being decided.
    current: Option<Token>,
    phases: BTreeMap<String, Phases>,
    tracks: BTreeSet<TrackId>,
    syntheses: BTreeMap<SynthesisId, (UtteranceId, bool)>,
    /// They failed before their first sample.
    pub(crate) silent: BTreeSet<SynthesisId>,
    muted: bool,
    min_priority: Priority,
    seen: u64,
    /// The generation last told of each guard: "" is the local one.
    generations: BTreeMap<String, u64>,
    /// The device was ordered in this step.
    device_ordered: bool,
    /// A track or an utterance was ordered in this step.
    sound_ordered: bool,
    quiet_once: bool,
    /// Recordings ordered, and those whose end was told.
    pub(crate) recordings: (usize, usize),
}

fn name(target: &Target) -> &str {
    let (Target::Id(name) | Target::Object(name)) = target;
    name
}

impl Book {
    pub(crate) fn is_shared(&self, utterance: UtteranceId) -> bool {
        self.utterances[&utterance].shared
    }

    pub(crate) fn is_local(&self, utterance: UtteranceId) -> bool {
        self.utterances.get(&utterance).is_none_or(|u| u.local)
    }

    pub(crate) fn ended(&self, utterance: UtteranceId) -> Option<(Outcome, Report)> {
        let end = self.utterances.get(&utterance)?.end.as_ref()?;
        Some((end.0.clone(), end.1.clone()))
    }

    pub(crate) fn properties(&self, session: &str) -> SessionProperties {
        self.sessions.get(session).expect("an open session").properties.clone()
    }

    pub(crate) fn unanswered(&self) -> Vec<(Token, String)> {
        let open = self.calls.iter().filter(|(t, _)| !self.replies.contains_key(t));
        open.map(|(t, c)| (*t, format!("{:?}", c.request))).collect()
    }

    pub(crate) fn open_utterances(&self) -> Vec<UtteranceId> {
        let open = self.utterances.iter().filter(|(_, u)| u.end.is_none());
        open.map(|(id, _)| *id).collect()
    }

    /// What the sink had consumed when the cut was done.
    pub(crate) fn played(&mut self, utterance: UtteranceId, played_us: Micros, sound: &Sound) {
        if let Some(u) = self.utterances.get_mut(&utterance) {
            u.heard_words = Some(sound.stores[&utterance].words_until(played_us));
        }
    }

    /// A client called; what its scope holds is doomed from now on (C2).
    pub(crate) fn called(&mut self, at: Micros, token: Token, uid: u32, request: &Request) {
        let may = |s: &Session| uid == 0 || uid == s.uid;
        let of = |session: Option<&str>, keep: &dyn Fn(&Utterance) -> bool| -> Vec<UtteranceId> {
            let open = self.utterances.iter().filter(|(_, u)| u.end.is_none());
            open.filter(|(_, u)| session.is_none_or(|s| s == u.session) && keep(u))
                .map(|(id, _)| *id)
                .collect()
        };
        let known = |target: &Target| self.sessions.get(name(target));
        let mut reported = Vec::new();
        let (scope, word, allowed) = match request {
            Request::Cancel { target, options } => {
                let turn = known(target).map_or(1, |s| s.properties.turn);
                let asked = options.turn.map(|n| if n == 0 { turn } else { n });
                let far = asked.is_some_and(|n| n > turn && n - turn > 1 << 32);
                let both = options.utterance.is_some() && options.turn.is_some();
                let allowed = known(target).is_some_and(may) && !far && !both && options.utterance != Some(0);
                let reason = options.reason.as_deref().unwrap_or("client");
                let by_id = options.utterance.is_some();
                let all: Vec<_> = of(Some(name(target)), &|u| asked.is_none_or(|n| u.turn == n) && (by_id || !u.beside));
                let mut scope: Vec<_> = all
                    .into_iter()
                    .filter(|id| options.utterance.is_none_or(|n| n == id.get()))
                    .collect();
                if reason == "barge-in" {
                    scope.clear();
                }
                (scope, "client", allowed)
            }
            // It dooms nothing: whether it counts is decided by what is protected, late, or off.
            Request::ReportSpeech { target, .. } => {
                reported = of(Some(name(target)), &|u| {
                    !u.beside && !u.protected && u.protect_us == 0 && u.doomed.is_none() && !u.cut
                });
                (Vec::new(), "", true)
            }
            Request::CancelAll { .. } => (of(None, &|u| self.sessions.get(&u.session).is_some_and(may)), "client", true),
            Request::Close { target, drain: false } => {
                (of(Some(name(target)), &|_| true), "session-closed", known(target).is_some_and(may))
            }
            Request::SetSessionMuted { target, muted: true } => {
                (of(Some(name(target)), &|_| true), "muted", known(target).is_some_and(may))
            }
            Request::SetMasterMuted { muted: true } => (of(None, &|_| true), "muted", true),
            Request::SetMinPriority { priority } => (of(None, &|u| u.class < *priority), "quiet", true),
            _ => (Vec::new(), "", true),
        };
        let mut dooms = Vec::new();
        if allowed {
            for id in &scope {
                if let Some(u) = self.utterances.get_mut(id)
                    && u.doomed.is_none()
                    && !u.cut
                {
                    u.doomed = Some(word);
                    dooms.push(*id);
                }
            }
        }
        match request {
            Request::SetMasterMuted { muted } => self.muted = *muted,
            Request::SetMinPriority { priority } => {
                self.min_priority = *priority;
                self.quiet_once |= *priority > Priority::Progress;
            }
            Request::SetSessionMuted { target, muted } => {
                if let Some(s) = self.sessions.get_mut(name(target)).filter(|s| may(s)) {
                    s.muted = *muted;
                }
            }
            Request::Close { target, .. } => {
                if let Some(s) = self.sessions.get_mut(name(target)).filter(|s| may(s)) {
                    s.closing = true;
                    self.phases.remove(name(target));
                }
            }
            _ => {}
        }
        let turn = match request {
            Request::Cancel { target, .. } | Request::Submit { target, .. } => {
                self.sessions.get(name(target)).map_or(1, |s| s.properties.turn)
            }
            _ => 0,
        };
        let request = request.clone();
        let call = Call {
            turn,
            at,
            request,
            dooms,
            scope: if reported.is_empty() { scope } else { reported },
            allowed,
            uid,
        };
        self.calls.insert(token, call);
        self.device_ordered = false;
        self.sound_ordered = false;
        self.current = Some(token);
    }

    pub(crate) fn decided(&mut self) {
        if let Some(token) = self.current.take()
            && let call = &self.calls[&token]
            && let Request::Cancel { target, options } = &call.request
            && let (Some(turn), true) = (options.turn, call.allowed)
        {
            let refused = match self.replies.get(&token) {
                Some((_, Ok(Reply::Report(report)))) => report.result == Some("protected"),
                Some((_, Err(_))) => true,
                _ => false,
            };
            let turn = if turn == 0 { call.turn } else { turn };
            if let Some(phases) = self.phases.get_mut(name(target)).filter(|_| !refused) {
                phases.buffers.remove(&turn);
            }
        }
        self.current = None;
    }

    /// An effect leaves the core.
    pub(crate) fn saw(&mut self, now: Micros, effect: &Effect) {
        self.seen += 1;
        self.check_i9(effect);
        self.sound_ordered |= matches!(
            effect,
            Effect::Cut { .. } | Effect::PauseTrack { .. } | Effect::ResumeTrack { .. } | Effect::CancelSynthesis { .. }
        );
        match effect {
            Effect::Reply { token, reply } => self.saw_reply(now, *token, reply),
            Effect::Device { session, .. } => {
                assert!(
                    self.sessions.contains_key(session),
                    "O5: the device was ordered for session \"{session}\""
                );
                self.device_ordered = true;
            }
            Effect::OwnerChanged { old, new, .. } => {
                assert_ne!(old, new);
                let is_local = new.is_empty() || self.sessions.get(new).is_some_and(|s| s.local);
                assert!(is_local, "{new} became owner and is not on the loudspeaker");
            }
            Effect::Signal { session, signal } => self.saw_signal(session, signal),
            Effect::SessionOpened { session, properties, .. } => self.saw_opened(session, properties),
            Effect::SessionClosed { session } => {
                assert!(self.sessions.remove(session).is_some(), "{session} was closed, but was not open");
                self.phases.remove(session);
                let open = self.utterances.values().any(|u| u.session == *session && u.end.is_none());
                assert!(!open, "{session} closed with an unfinished utterance");
            }
            Effect::SessionChanged { session, properties } => {
                let s = self.sessions.get_mut(session).expect("a change of a closed session");
                assert!(properties.turn >= s.properties.turn, "the turn of {session} went back");
                assert_eq!(
                    properties.speaking,
                    properties.active_utterance != 0,
                    "T10: speaking and the active utterance disagree"
                );
                s.properties = properties.clone();
            }
            Effect::OpenTrack { track, .. } => assert!(self.tracks.insert(*track)),
            // The shell answers with the stream.
            Effect::AcquireAudio { token, .. } => self.saw_reply(now, *token, &Ok(Reply::Done)),
            Effect::StartRecording { session, name, .. } => {
                assert!(self.sessions.contains_key(name), "{session} is recorded and not open");
                self.recordings.0 += 1;
            }
            Effect::CloseTrack { track } => assert!(self.tracks.remove(track)),
            Effect::Play { track, utterance } => {
                assert!(self.tracks.contains(track), "played on an unknown track");
                let u = self.alive(*utterance, "played");
                assert!(!u.played, "{utterance} was played twice");
                u.unasked = !u.requested && !u.stream;
                u.played = true;
            }
            Effect::Synthesize(s) => {
                assert!(
                    self.syntheses.last_key_value().is_none_or(|(last, _)| *last < s.synthesis),
                    "I1: synthesis ids rise"
                );
                self.syntheses.insert(s.synthesis, (s.utterance, false));
                let silent = self.silent.clone();
                let u = self.alive(s.utterance, "synthesised");
                if let Some((last, before, backend, requested)) = u.request.take()
                    && s.char_base as usize == u.asked[..before].chars().count()
                    && !u.asked[before..].is_empty()
                {
                    assert!(silent.contains(&last), "{} is asked for again, and {last} was heard", s.utterance);
                    assert_ne!(backend, s.backend, "the same backend is asked for the same text again");
                    u.asked.truncate(before);
                    u.closed = false;
                    u.requested = requested;
                }
                u.unasked = false;
                u.request = Some((s.synthesis, u.asked.len(), s.backend.clone(), u.requested));
                assert_eq!(s.first, !std::mem::replace(&mut u.requested, true), "first piece");
                assert_eq!(u.sound, s.source != Source::Text, "a sound is no text");
                assert_eq!(s.char_base as usize, u.asked.chars().count(), "pieces follow each other");
                u.asked.push_str(&s.text);
                assert!(!u.plain || u.text.starts_with(&u.asked), "asked for what was not said");
                assert!(!u.closed, "a piece after the last");
                assert!(!s.open || (u.stream && !s.last));
                if u.stream {
                    u.closed = s.last;
                    assert!(!s.last || !u.plain || u.asked.trim_end() == u.text.trim_end(), "last piece");
                } else if u.plain {
                    assert_eq!(s.last, u.asked == u.text, "last piece");
                }
            }
            Effect::CloseStore { utterance } => {
                let u = self.alive(*utterance, "closed");
                assert!(u.stream && !u.closed, "{utterance} was closed twice");
                u.closed = true;
                assert!(
                    !u.plain || u.asked.trim_end() == u.text.trim_end(),
                    "closed before all was asked for"
                );
            }
            Effect::Note(Note::CollectExpired { session, turn }) => {
                let phases = self.phases.entry(session.clone()).or_default();
                phases.buffers.remove(turn).expect("what expires was collected");
                phases.expired.insert(*turn, false);
            }
            Effect::Cut { utterance, .. } => {
                self.only_its_own(*utterance, "cut");
                let u = self.utterances.get_mut(utterance).expect("an unknown utterance was cut");
                assert!(u.end.is_none(), "{utterance} was cut after it had finished: {:?}", u.end);
                assert!(!std::mem::replace(&mut u.cut, true), "T5: {utterance} was cut twice");
            }
            Effect::CancelSynthesis { synthesis } => {
                let (utterance, told) = self.syntheses.get_mut(synthesis).expect("an unknown synthesis");
                assert!(!std::mem::replace(told, true), "C3: synthesis {synthesis} was told twice");
                assert!(self.utterances[utterance].cut, "C4: told before it was silenced");
            }
            Effect::Note(Note::Accepted { session, utterance }) => self.accepted(session, *utterance),
            Effect::Forget { utterance } => assert!(
                self.utterances.get(utterance).is_some_and(|u| u.end.is_some()),
                "forgotten before it finished"
            ),
            _ => {}
        }
    }

    fn alive(&mut self, utterance: UtteranceId, what: &str) -> &mut Utterance {
        let u = self.utterances.get_mut(&utterance).expect("an unknown utterance");
        assert!(u.end.is_none(), "{utterance} was {what} after its end");
        assert!(!u.cut, "C2: {utterance} was {what} after its cut");
        assert!(u.doomed.is_none(), "C2, I3: {utterance} was {what} after its guard was armed");
        u
    }

    /// I14: what one session is told to do ends nothing of another, but for what a new utterance preempts.
    fn only_its_own(&self, utterance: UtteranceId, what: &str) {
        let Some(call) = self.current.and_then(|t| self.calls.get(&t)) else {
            return;
        };
        let of = match &call.request {
            Request::Close { target, .. }
            | Request::Configure { target, .. }
            | Request::SayAppend { target, .. }
            | Request::SayEnd { target, .. }
            | Request::Wait { target, .. }
            | Request::Cancel { target, .. }
            | Request::Pause { target, .. }
            | Request::Resume { target }
            | Request::SetSessionGain { target, .. }
            | Request::ReportSpeech { target, .. }
            | Request::SetSessionMuted { target, .. } => name(target),
            _ => return,
        };
        assert_eq!(self.utterances[&utterance].session, of, "I14: {utterance} was {what}");
    }

    /// I9: a collect has no effect but its timer; what it changes is a number that is read.
    fn check_i9(&self, effect: &Effect) {
        let call = self.current.and_then(|t| self.calls.get(&t));
        if let Some(Request::Submit { phase: Phase::Collect, .. }) = call.map(|c| &c.request) {
            let harmless = matches!(
                effect,
                Effect::Reply { .. }
                    | Effect::SessionChanged { .. }
                    | Effect::SessionOpened { .. }
                    // A session opened on demand opens its output; the daemon's own is open from the start.
                    | Effect::OpenOutput { .. }
                    | Effect::Note(Note::Collected { .. } | Note::SessionOpened { .. })
            );
            assert!(harmless, "I9: a collect had an effect: {effect:?}");
        }
    }

    fn saw_opened(&mut self, session: &str, properties: &SessionProperties) {
        let call = &self.calls[&self.current.expect("sessions open by a call")];
        let options = match &call.request {
            Request::Open { options, .. } => options.clone(),
            _ => Default::default(),
        };
        let local = options.output.unwrap_or_default() == Output::Local;
        let fresh = Session {
            uid: call.uid,
            shared: local && options.own_floor != Some(true),
            local,
            private: options.private.unwrap_or(self.private_house),
            muted: false,
            closing: false,
            listens: false,
            policy: options.barge_in.unwrap_or(BargeInPolicy::Off),
            speaks: false,
            suspicions: 0,
            properties: properties.clone(),
        };
        assert_eq!(properties.turn, 1, "a session starts at turn 1");
        self.generations.remove(session);
        assert!(self.sessions.insert(session.to_owned(), fresh).is_none(), "{session} opened twice");
    }

    fn accepted(&mut self, session: &str, utterance: UtteranceId) {
        assert!(
            self.utterances.last_key_value().is_none_or(|(last, _)| *last < utterance),
            "I1: ids rise"
        );
        let call = &self.calls[&self.current.expect("a Say is being decided")];
        let s = &self.sessions[session];
        assert!(!s.closing, "accepted by a session that closes");
        let (mut sound, mut beside) = (false, false);
        let (text, options, asked, stream) = match &call.request {
            Request::Play { options, .. } | Request::Inject { options, .. } => {
                (sound, beside) = (true, options.beside);
                (options.text.clone(), &options.say, options.say.turn.unwrap_or(0), false)
            }
            Request::Say { text, options, .. } => (text.clone(), options, options.turn.unwrap_or(0), false),
            Request::SayOpen { options, .. } => (String::new(), options, options.turn.unwrap_or(0), true),
            Request::Submit {
                phase: Phase::Commit,
                turn,
                chunk_seq,
                text,
                options,
                ..
            } => {
                let phases = self.phases.entry(session.to_owned()).or_default();
                let turn = phases.meant(*turn, s.properties.turn);
                (phases.commit(turn, *chunk_seq, text, utterance), options, turn, false)
            }
            other => panic!("accepted by {other:?}"),
        };
        assert!(asked == 0 || asked >= s.properties.turn, "I4: accepted for an older turn");
        let u = Utterance {
            session: session.to_owned(),
            text,
            plain: !self.lexicon && options.format.unwrap_or_default() == Format::Text,
            stream,
            seq: 0,
            closed: false,
            class: options.priority.unwrap_or_default(),
            turn: if asked == 0 { s.properties.turn } else { asked },
            protected: options.interruptible == Some(false),
            protect_us: options.protect_us.unwrap_or(0),
            shared: s.shared && !beside,
            local: s.local,
            named: false,
            doomed: None,
            cut: false,
            played: false,
            started: false,
            asked: String::new(),
            unasked: false,
            request: None,
            requested: false,
            sound,
            beside,
            heard_words: None,
            falls_back: options.fallback.as_ref().is_some_and(|others| !others.is_empty()),
            end: None,
        };
        self.utterances.insert(utterance, u);
    }
}

/// Is a Say of this kind one that no cancel may refuse (I5)?
pub(crate) fn is_plain(options: &utterd_core::SayOptions) -> bool {
    options.turn.unwrap_or(0) == 0 && options.mode.unwrap_or_default() == Mode::Queue
}
