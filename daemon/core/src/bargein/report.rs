//! ReportSpeech: somebody else's detector, an STT or a button, says what it heard.

use super::{Cause, SpeechDetails};
use crate::Core;
use crate::effect::Reply;
use crate::hearing::{BargeInPolicy, Report, Verdict};
use crate::ids::{Micros, SessionId, Token, UtteranceId};
use crate::request::{ErrorKind, Failure};

/// What stands for a detector's id in what is told of a report.
const REPORTED: &str = "report";

impl Core {
    /// Answers at once, but for `confirmed`, whose answer follows the ends that it causes.
    pub(crate) fn report_speech(
        &mut self,
        token: Token,
        arrived: Micros,
        id: SessionId,
        report: Report,
        details: &SpeechDetails,
    ) -> Result<Option<Reply>, Failure> {
        let named = self.named_utterance(id, details.utterance)?;
        let at = details.at_us.unwrap_or(arrived).min(self.now);
        self.attend(id);
        let Some(s) = self.sessions.get_mut(&id) else {
            return Ok(None);
        };
        let policy = s.hearing.policy.settings().policy;
        let begins = matches!(report, Report::Suspected | Report::Confirmed);
        if begins {
            s.hearing.cause = Cause {
                detector: REPORTED.to_owned(),
                at,
                probability: details.confidence.unwrap_or(1.0),
            };
        }
        if self.is_late(id, named, details) {
            // The user's speech begins and ends whatever the answer.
            self.ask_policy(id, at, |policy, now| {
                if begins {
                    policy.began(at);
                    None
                } else {
                    policy.report(now, at, Report::Ended)
                }
            });
            if begins && policy != BargeInPolicy::Off && self.concerned(id).is_some() {
                self.tell_barge_in(id, "ignored");
            }
            return Ok(Some(Reply::Decision("ignored")));
        }
        let verdict = self.ask_policy(id, at, |policy, now| policy.report(now, at, report));
        if verdict == Some(Verdict::Confirmed) && policy.acts() {
            self.carry_out_verdict(id, verdict, Some((token, arrived)));
            return Ok(None);
        }
        self.carry_out_verdict(id, verdict, None);
        let decision = match verdict {
            None if begins && self.is_protected_now(id) => {
                self.tell_protected(id);
                "protected"
            }
            None => "ignored",
            Some(_) if !policy.acts() => "ignored",
            Some(Verdict::Suspected) => "paused",
            Some(Verdict::False) => "resumed",
            Some(Verdict::Confirmed) => "cancelled",
        };
        Ok(Some(Reply::Decision(decision)))
    }

    fn named_utterance(&self, id: SessionId, number: Option<u64>) -> Result<Option<UtteranceId>, Failure> {
        let Some(number) = number else {
            return Ok(None);
        };
        let utterance =
            UtteranceId::new(number).ok_or_else(|| Failure::new(ErrorKind::InvalidArgs, "detail \"utterance\" is 0: ids start at 1"))?;
        let s = &self.sessions[&id];
        if s.issued.contains(&utterance) {
            return Ok(Some(utterance));
        }
        let message = format!("session \"{}\" has never issued utterance {number}", s.id);
        Err(Failure::new(ErrorKind::NoSuchUtterance, message))
    }

    /// It is about something that is over: an utterance that is not active any more, an older turn, or a time before the active one was accepted.
    fn is_late(&self, id: SessionId, named: Option<UtteranceId>, details: &SpeechDetails) -> bool {
        let active = self.concerned(id).and_then(|u| self.utterances.get(&u));
        named.is_some_and(|u| !self.is_live(&u))
            || active.is_some_and(|u| {
                details.turn.is_some_and(|turn| turn != 0 && turn < u.turn) || details.at_us.is_some_and(|at| at < u.accepted)
            })
    }

    pub(super) fn is_protected_now(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|s| s.hearing.is_on()) && self.is_protected(id)
    }
}
