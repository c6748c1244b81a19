//! What is told to clients, signal by signal and reply by reply, against what was asked and decided.

use utterd_core::hearing::{BargeInPolicy, Report as SpeechReport};
use utterd_core::{Failure, HeardSource, Micros, Outcome, Reply, Report, Request, Signal, Token, UtteranceId};

use super::{Book, Call, DEVICE_US, REPLY_US, Utterance, name};

impl Book {
    pub(super) fn saw_signal(&mut self, session: &str, signal: &Signal) {
        if let Signal::RecordingStarted { .. } = signal {
            assert!(self.sessions.contains_key(session), "recorded and not open");
            return;
        }
        if let Signal::RecordingFinished { .. } = signal {
            // A file may take longer than its session.
            self.recordings.1 += 1;
            return;
        }
        assert!(self.sessions.contains_key(session), "a signal of a session that is not open");
        if let Signal::ListeningChanged { on, .. } = signal {
            let listens = &mut self.sessions.get_mut(session).expect("just seen").listens;
            assert_ne!(std::mem::replace(listens, *on), *on, "told what was known already");
            return;
        }
        let (Signal::UtteranceStarted { utterance, .. }
        | Signal::UtteranceProgress { utterance, .. }
        | Signal::UtteranceFinished { utterance, .. }
        | Signal::FirstFrameSent { utterance }) = signal
        else {
            self.saw_speech(session, signal);
            return;
        };
        let utterance = *utterance;
        if matches!(signal, Signal::UtteranceFinished { .. }) {
            self.only_its_own(utterance, "finished");
        }
        let (seen, chaos) = (self.seen, self.chaos);
        let (muted, quiet) = (self.muted, self.quiet_once);
        let private = self.sessions[session].private;
        let session_muted = self.sessions[session].muted;
        let u = self.utterances.get_mut(&utterance).expect("a signal names an unknown utterance");
        assert!(u.named, "{utterance} is named by a signal before Say was answered");
        assert!(u.end.is_none(), "{utterance} is named after its end");
        assert_eq!(u.session, session);
        match signal {
            Signal::UtteranceStarted { turn, .. } => {
                assert!(!std::mem::replace(&mut u.started, true), "{utterance} started twice");
                assert!(!u.unasked, "{utterance} is heard, and nobody was asked for it");
                assert!(u.doomed.is_none(), "{utterance} started after its guard was armed");
                assert_eq!(*turn, u.turn);
            }
            Signal::UtteranceProgress { chars, text, name, .. } => {
                assert!(u.started || chaos, "progress before the start");
                assert!(u.doomed.is_none(), "progress after the guard was armed");
                assert_eq!(text.is_none(), private || name.is_some());
                assert!(
                    chars.start <= chars.end && chars.end as usize <= u.text.chars().count(),
                    "a range within the text"
                );
                if let Some(text) = text {
                    let said: String = u.text.chars().skip(chars.start as usize).take(chars.len()).collect();
                    assert_eq!(*text, said, "a range names its text");
                }
            }
            Signal::UtteranceFinished { outcome, report, .. } => {
                check_report(u, outcome, report, chaos);
                let told = u.doomed.is_some();
                match report.reason.as_str() {
                    "" => assert!(!told, "{utterance} was in a cancel's scope: {outcome:?}"),
                    "replaced" | "preempted" | "barge-in" => {}
                    "muted" => assert!(told || muted || session_muted, "muted by whom?"),
                    "quiet" => assert!(told || quiet, "quiet by whom?"),
                    "session-closed" => {}
                    other => assert!(told, "{utterance} ended for \"{other}\", which nobody asked"),
                }
                if report.reason == "barge-in" {
                    assert!(!u.protected, "I10: barge-in ended a protected utterance");
                }
                u.end = Some((outcome.clone(), (**report).clone(), seen));
            }
            Signal::FirstFrameSent { .. } => assert!(u.started),
            _ => {}
        }
    }

    /// What is told of the user's speech: under "off" nothing, its edges in turn, and no stage without the one before it.
    pub(super) fn saw_speech(&mut self, session: &str, signal: &Signal) {
        let s = self.sessions.get_mut(session).expect("just seen");
        assert_ne!(s.policy, BargeInPolicy::Off, "told under \"off\": {signal:?}");
        match signal {
            Signal::SpeechStarted { .. } => assert!(!std::mem::replace(&mut s.speaks, true), "began to speak twice"),
            Signal::SpeechStopped { .. } => assert!(std::mem::replace(&mut s.speaks, false), "fell silent twice"),
            Signal::BargeIn { stage: "suspected", .. } => s.suspicions += 1,
            Signal::BargeIn { stage: "false", .. } => assert!(s.suspicions > 0, "taken back what was not suspected"),
            _ => {}
        }
    }

    pub(super) fn saw_reply(&mut self, now: Micros, token: Token, reply: &Result<Reply, Failure>) {
        assert!(
            self.replies.insert(token, (now, reply.clone())).is_none(),
            "{token:?} was answered twice"
        );
        let call = self.calls.get(&token).expect("an unknown token");
        let within = |bound: Micros| {
            assert!(now - call.at <= bound, "{:?} was answered after {} us", call.request, now - call.at);
        };
        match (&call.request, reply) {
            (Request::Say { .. } | Request::SayOpen { .. } | Request::Play { .. }, Ok(Reply::Utterance(id))) => {
                if let Some(id) = UtteranceId::new(*id) {
                    self.utterances.get_mut(&id).expect("an accepted utterance").named = true;
                }
                within(REPLY_US);
            }
            (Request::Inject { .. }, Ok(Reply::Feed { utterance, .. })) => {
                if let Some(id) = UtteranceId::new(*utterance) {
                    self.utterances.get_mut(&id).expect("an accepted utterance").named = true;
                }
                within(REPLY_US);
            }
            (Request::Inject { .. }, Ok(other)) => panic!("a feed was answered {other:?}"),
            (Request::Transition { target, .. }, Ok(Reply::Transition { outcome, generation })) => {
                within(DEVICE_US * 20);
                let local = self.sessions.get(name(target)).is_none_or(|s| s.local);
                let guard = if local { "" } else { name(target) };
                let before = self.generations.insert(guard.to_owned(), *generation).unwrap_or(0);
                if *outcome == "applied" {
                    assert!(*generation > before, "I7: applied, and the generation did not grow");
                } else {
                    assert!(*generation >= before, "I7: the generation fell");
                    let at_once = self.current == Some(token);
                    assert!(!at_once || !self.device_ordered, "I7: {outcome}, and the device was ordered");
                }
            }
            (Request::SayAppend { utterance, seq, text, .. }, Ok(Reply::Ack(ack))) => {
                let u = UtteranceId::new(*utterance).and_then(|id| self.utterances.get_mut(&id));
                let u = u.expect("a known utterance");
                if *ack == "accepted" {
                    assert!(u.stream && u.end.is_none() && !u.cut && !u.closed, "appended to what is over");
                    assert_eq!(*seq, u.seq + 1, "appends follow each other");
                    u.seq = *seq;
                    u.text.push_str(text);
                }
                assert!(*ack != "duplicate" || *seq <= u.seq);
            }
            (
                Request::Submit { .. },
                Ok(Reply::Submitted {
                    ack: "COMMIT_STARTED",
                    utterance,
                    ..
                }),
            ) => {
                within(REPLY_US);
                let id = UtteranceId::new(*utterance).expect("an id");
                self.utterances.get_mut(&id).expect("an accepted utterance").named = true;
            }
            (
                Request::Submit {
                    target,
                    phase,
                    turn,
                    chunk_seq,
                    text,
                    ..
                },
                Ok(Reply::Submitted { ack, utterance, buffered }),
            ) => {
                let phases = self.phases.entry(name(target).to_owned()).or_default();
                let turn = phases.meant(*turn, call.turn);
                let chunk = (*chunk_seq, text.as_str());
                phases.acknowledged(*phase, (turn, call.turn), chunk, (ack, *utterance, *buffered));
            }
            (Request::Cancel { options, .. }, Ok(Reply::Report(report))) => {
                let unopened = report.result == Some("nothing");
                assert!(call.allowed || unopened, "a cancel that is not allowed was carried out");
                within(REPLY_US);
                self.all_ended(call);
                if call.allowed && options.reason.as_deref() != Some("barge-in") {
                    let own = self.own(call);
                    if own.is_empty() {
                        let word = if options.utterance.is_some() { "already" } else { "nothing" };
                        assert_eq!(report.result, Some(word), "C5");
                    } else {
                        assert_eq!(report.result, Some("cancelled"));
                        assert_eq!(report.utterances, own, "C5: each is cancelled by one call");
                    }
                }
                if let Some(stages) = report.stages.filter(|_| !self.chaos) {
                    assert!(stages.guard_us <= stages.silent_us && stages.silent_us <= stages.done_us);
                    assert!(stages.guard_us <= stages.notified_us && stages.notified_us <= stages.done_us);
                }
            }
            (Request::Cancel { target, options }, Err(e)) => {
                let known = options.utterance.and_then(UtteranceId::new);
                let foreign = known.is_some_and(|id| {
                    self.utterances
                        .get(&id)
                        .is_none_or(|u| u.session != name(target) || u.end.is_some())
                });
                assert!(!call.allowed || foreign, "a cancel was refused: {}", e.message);
            }
            (Request::ReportSpeech { target, kind, .. }, Ok(Reply::Decision(decision))) => {
                within(REPLY_US);
                // A session that drains may be gone by then.
                let policy = self.sessions.get(name(target)).map(|s| s.policy);
                match *decision {
                    "cancelled" => {
                        assert!(*kind != SpeechReport::False && *kind != SpeechReport::Ended);
                        for id in &call.scope {
                            assert!(
                                self.utterances[id].end.is_some(),
                                "answered while {id}, which is in scope, is not finished"
                            );
                        }
                    }
                    "paused" => assert!(policy == Some(BargeInPolicy::PauseThenConfirm) && *kind == SpeechReport::Suspected),
                    "resumed" => assert!(policy == Some(BargeInPolicy::PauseThenConfirm) && *kind == SpeechReport::False),
                    "ignored" | "protected" => assert!(!self.sound_ordered, "I10: {decision}, and something changed"),
                    other => panic!("decided {other}"),
                }
            }
            (Request::CancelAll { .. }, Ok(Reply::Count(count))) => {
                within(REPLY_US);
                self.all_ended(call);
                assert_eq!(*count as usize, self.own(call).len(), "CancelAll counts utterances");
            }
            (Request::Close { target, drain }, Ok(_)) => {
                if !drain {
                    within(REPLY_US);
                }
                self.all_ended(call);
                assert!(
                    !self.sessions.contains_key(name(target)),
                    "Close answered before the session was gone"
                );
            }
            (Request::SetSessionMuted { .. } | Request::SetMasterMuted { .. } | Request::SetMinPriority { .. }, Ok(_)) => {
                within(REPLY_US);
                self.all_ended(call);
            }
            (Request::Open { id, options }, Ok(_)) => {
                let s = self.sessions.get_mut(id).expect("it was opened");
                s.private = options.private.unwrap_or(s.private);
                s.policy = options.barge_in.unwrap_or(s.policy);
            }
            (Request::Configure { target, options }, Ok(_)) => {
                let s = self.sessions.get_mut(name(target)).expect("it is open");
                s.private = options.private.unwrap_or(s.private);
                s.policy = options.barge_in.unwrap_or(s.policy);
            }
            _ => {}
        }
    }

    /// Every UtteranceFinished that a call causes precedes its reply, ascending by id.
    fn all_ended(&self, call: &Call) {
        for id in &call.scope {
            assert!(
                self.utterances[id].end.is_some(),
                "answered while {id}, which is in scope, is not finished"
            );
        }
        let order = |id: &UtteranceId| self.utterances[id].end.as_ref().map(|e| e.2);
        assert!(self.own(call).iter().map(order).is_sorted(), "finished out of order");
        for id in &call.dooms {
            let (outcome, report, _) = self.utterances[id].end.as_ref().expect("it has ended");
            assert_eq!(*outcome, Outcome::Cancelled);
            let reason = match &call.request {
                Request::Cancel { options, .. } => options.reason.as_deref().unwrap_or("client"),
                Request::CancelAll { reason } => reason.as_deref().unwrap_or("client"),
                Request::Close { .. } => "session-closed",
                Request::SetMinPriority { .. } => "quiet",
                _ => "muted",
            };
            assert!(report.reason == reason || ended_before(&report.reason));
        }
    }

    /// What this call ended itself: it may have found some that a barge-in or a newer utterance was ending already.
    fn own(&self, call: &Call) -> Vec<UtteranceId> {
        let reason = |id: &UtteranceId| self.ended(*id).map(|(_, r)| r.reason).unwrap_or_default();
        let closes = matches!(call.request, Request::Close { .. });
        let own = call.dooms.iter().filter(|id| {
            let reason = reason(id);
            !ended_before(&reason) || (closes && reason == "session-closed")
        });
        own.copied().collect()
    }
}

fn ended_before(reason: &str) -> bool {
    ["barge-in", "replaced", "preempted", "session-closed"].contains(&reason)
}

fn check_report(u: &Utterance, outcome: &Outcome, report: &Report, chaos: bool) {
    assert!(u.text.starts_with(&report.heard_text), "heard what was not said");
    assert!(
        !u.plain || u.asked.starts_with(&report.heard_text) || *outcome == Outcome::Completed,
        "heard what was not synthesised"
    );
    assert_eq!(report.heard_source == HeardSource::None, report.heard_text.is_empty());
    assert_eq!(report.turn, u.turn);
    if u.sound {
        assert!(
            report.backend.is_empty() && report.syntheses.is_empty(),
            "no backend speaks a sound"
        );
    }
    match outcome {
        Outcome::Completed => {
            assert_eq!(report.heard_text, u.text, "I13: completed is heard to the end");
            assert!(
                !u.plain || u.asked.trim_end() == u.text.trim_end(),
                "completed without having been asked for"
            );
            assert!(u.stream || !u.plain || u.asked == u.text);
        }
        Outcome::Cancelled => {
            assert!(!report.reason.is_empty());
            assert!(report.stages.is_some());
            let exact = report.errors.is_empty() && !chaos && report.heard_source != HeardSource::Estimated;
            if let Some(words) = u.heard_words.filter(|_| exact && u.played && u.plain && !u.falls_back) {
                let timed = report.backend == "smooth" || report.backend == "timed-pieces";
                if timed {
                    let heard = report.heard_text.chars().count();
                    assert_eq!(heard, words as usize, "heard to the word");
                }
            }
        }
        Outcome::Failed(_) => {
            assert!(report.failure.is_some() && report.reason.is_empty());
        }
        Outcome::Expired => {
            assert!(!u.started, "expired though it had begun");
            assert!(report.heard_text.is_empty() || chaos);
        }
    }
}
