//! Everything that happens because time passed. A timer is never disarmed: what it finds when it is due decides.

use crate::Core;
use crate::floor::FloorKey;
use crate::ids::{CancelId, Micros, OrderId, SessionId, Token, TrackId, UtteranceId};
use crate::owner::GuardKey;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A cancel replies with what it knows.
    CancelDeadline(CancelId),
    /// Wait's time-out.
    WaitTimeout(SessionId, Token),
    /// expires-ms.
    Expire(UtteranceId),
    /// auto-resume-ms of the pause with this epoch.
    AutoResume(SessionId, u64),
    /// A client's pause has lasted 2 s, or a stream had no audio for as long.
    Yield(SessionId),
    /// An interrupted track should be silent.
    Quiet(FloorKey, TrackId),
    /// The tombstone of an utterance falls.
    Forget(UtteranceId),
    /// The device has not answered this order of a guard.
    Transition(GuardKey, OrderId),
    /// The session has had nothing accepted for 2 s.
    PlaybackEnds(SessionId),
    /// A session's barge-in policy has something to say.
    Hearing(SessionId),
    /// The capture of a guard was kept for long enough.
    Ears(GuardKey),
    /// ttl-ms of a turn that is collected.
    Collect(SessionId, u64),
    /// No backend could be asked for this utterance's next piece.
    NoBackend(UtteranceId),
    /// A phrase of the configuration is to be synthesised again.
    Prime(usize),
    /// What a stream holds is spoken.
    StreamFlush(UtteranceId),
    /// idle-ms of a stream.
    StreamIdle(UtteranceId),
    /// idle-timeout-ms, for the idle time with this epoch.
    Idle(SessionId, u64),
}

impl Core {
    pub(crate) fn arm(&mut self, after: Micros, timer: Timer) {
        self.timers.insert((self.now.saturating_add(after), timer));
    }

    /// When `Input::Tick` is due.
    pub fn next_deadline(&self) -> Option<Micros> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(crate) fn run_timers(&mut self) {
        while let Some((at, timer)) = self.timers.first().copied() {
            if at > self.now {
                return;
            }
            self.timers.pop_first();
            match timer {
                Timer::CancelDeadline(id) => self.cancel_overdue(id),
                Timer::WaitTimeout(session, token) => self.wait_timed_out(session, token),
                Timer::Expire(utterance) => self.expire(utterance),
                Timer::AutoResume(session, epoch) => {
                    if self.sessions.get(&session).is_some_and(|s| s.pause_epoch == epoch) {
                        self.resume_session(session);
                    }
                }
                Timer::Yield(session) => {
                    if let Some(floor) = self.sessions.get(&session).map(|s| s.floor) {
                        self.schedule(floor);
                    }
                }
                Timer::Transition(guard, order) => self.transition_overdue(guard, order),
                Timer::PlaybackEnds(session) => self.playback_may_have_ended(session),
                Timer::Quiet(floor, track) => self.should_be_silent(floor, track),
                Timer::Forget(utterance) => self.out.push(crate::Effect::Forget { utterance }),
                Timer::Hearing(session) => self.hearing_due(session),
                // The end of the step looks at it.
                Timer::Ears(_) => {}
                Timer::Collect(session, turn) => self.collect_overdue(session, turn),
                Timer::NoBackend(utterance) => self.no_backend(utterance),
                Timer::Prime(pin) => self.prime(pin),
                Timer::StreamFlush(utterance) => self.flush_due(utterance),
                Timer::StreamIdle(utterance) => self.stream_idle(utterance),
                Timer::Idle(session, epoch) => {
                    let Some(s) = self
                        .sessions
                        .get(&session)
                        .filter(|s| s.idle_epoch == epoch && s.open.is_empty() && s.beside.is_empty())
                    else {
                        continue;
                    };
                    // Who collects is not idle.
                    match s.idle_timeout_us {
                        Some(after) if !s.phases.is_empty() => self.arm(after.max(1), Timer::Idle(session, epoch)),
                        _ => self.close(session, None, false),
                    }
                }
            }
        }
    }
}
