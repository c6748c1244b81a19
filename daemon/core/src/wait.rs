//! Wait: a reply that comes when an utterance has finished, or when its time is over.

use crate::Core;
use crate::effect::Reply;
use crate::ids::{Micros, SessionId, Token, UtteranceId};
use crate::request::{ErrorKind, Failure};
use crate::session::Waiter;
use crate::timer::Timer;
use crate::verbs::Answer;

impl Core {
    pub(crate) fn wait(&mut self, token: Token, id: SessionId, utterance: u64, timeout_us: Option<Micros>) -> Answer {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(None);
        };
        let asked = match UtteranceId::new(utterance) {
            None => match session.issued.back() {
                None => {
                    return Ok(Some(Reply::Waited {
                        outcome: "nothing",
                        report: None,
                    }));
                }
                Some(newest) => *newest,
            },
            Some(asked) if session.issued.contains(&asked) => asked,
            Some(_) => {
                let message = format!("session \"{}\" has never issued utterance {utterance}", session.id);
                return Err(Failure::new(ErrorKind::NoSuchUtterance, message));
            }
        };
        if session.is_open(asked) {
            session.waiters.push(Waiter { token, utterance: asked });
            if let Some(after) = timeout_us {
                self.arm(after, Timer::WaitTimeout(id, token));
            }
            return Ok(None);
        }
        Ok(Some(match session.reports.get(&asked) {
            Some((outcome, report)) => Reply::Waited {
                outcome,
                report: Some(Box::new(report.clone())),
            },
            None => Reply::Waited {
                outcome: "nothing",
                report: None,
            },
        }))
    }

    pub(crate) fn wait_timed_out(&mut self, id: SessionId, token: Token) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let before = session.waiters.len();
        session.waiters.retain(|w| w.token != token);
        if session.waiters.len() < before {
            self.reply(
                token,
                Reply::Waited {
                    outcome: "pending",
                    report: None,
                },
            );
        }
    }
}
