//! The supervisor: watches levels, decides whether the server is dead, wedged or well, and tells events.
//!
//! What it goes by: the server's own word (shutdown callback), the age of the last callback, and, when that age is suspicious, a probe: a
//! second client opened on a thread of its own. Refused: the server is dead (PipeWire's dies without a word). No answer: it is wedged. Opened:
//! it lives and either calls us again or has forgotten us.

use super::capture::{Captures, Where};
use super::jack::{Keeper, OpenError, Opened, open};
use super::seat::{Replace, STALL_US};
use super::timer::{self, Timer};
use super::watch::{Found, Probe, Told, age, watch_age, watch_levels};
use super::{DeviceAnswer, DeviceOp, DriverConfig, DriverEvent, DriverKind, Of, PortList, sched};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::*;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(20);
const REOPEN_US: u64 = 200_000;
/// How long `Auto` waits for a server that accepts the connection but does not answer.
const AUTO_US: u64 = 3_000_000;
/// A server that answers the probe but has not called us for so long has forgotten us.
const FORGOTTEN_US: u64 = 2_000_000;
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// What reaches the supervisor. Notices of keepers carry the generation they were opened with; those of earlier ones are dropped.
#[derive(Debug)]
pub(super) enum Notice {
    Opened {
        generation: u64,
        result: Result<Opened, OpenError>,
    },
    Probed {
        generation: u64,
        is_alive: bool,
    },
    /// A keeper answers an order, or tells of what it opened.
    Device {
        generation: u64,
        of: Of,
        answer: DeviceAnswer,
    },
    /// The guard orders.
    Order {
        of: Of,
        op: DeviceOp,
    },
    Stop,
}

enum State {
    /// `closing`: the client before, which must be closed before another may be opened. With a server that hangs this takes as long as the hanging.
    Waiting {
        until_us: u64,
        closing: Option<Keeper>,
    },
    Opening {
        keeper: Keeper,
        since_us: u64,
    },
    Jack {
        keeper: Keeper,
        replace: Replace,
        told: Told,
        probe: Probe,
    },
    Timer {
        timer: Timer,
        told: Told,
    },
}

pub(super) struct Supervisor<E> {
    cfg: DriverConfig,
    events: E,
    notices: Sender<Notice>,
    ports: PortList,
    state: State,
    captures: Captures,
    generation: u64,
    /// JACK has run once, or `Lost` has been told: not the start any more.
    has_begun: bool,
    is_lost: bool,
    looked_us: u64,
}

impl<E: Fn(DriverEvent)> Supervisor<E> {
    pub(super) fn new(cfg: DriverConfig, events: E, notices: Sender<Notice>, ports: PortList) -> Self {
        let state = State::Waiting {
            until_us: 0,
            closing: None,
        };
        Supervisor {
            cfg,
            events,
            notices,
            ports,
            state,
            captures: Captures::default(),
            generation: 0,
            has_begun: false,
            is_lost: false,
            looked_us: 0,
        }
    }

    pub(super) fn run(mut self, inbox: &Receiver<Notice>) {
        if self.cfg.kind == DriverKind::Timer {
            self.start_timer();
        }
        loop {
            self.look(sched::now_us());
            match inbox.recv_timeout(TICK) {
                Ok(Notice::Stop) | Err(RecvTimeoutError::Disconnected) => return self.stop(),
                Ok(Notice::Opened { generation, result }) if generation == self.generation => self.opened(result),
                Ok(Notice::Probed { generation, is_alive }) if generation == self.generation => self.probed(is_alive),
                Ok(Notice::Device { generation, of, answer }) if generation == self.generation => self.device(of, answer),
                Ok(Notice::Order { of, op }) => self.order(of, op),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn look(&mut self, now_us: u64) {
        // If this thread itself was held up, so were perhaps the others: ages mean nothing until they had a moment.
        let is_late = now_us.saturating_sub(self.looked_us) > STALL_US / 2;
        self.looked_us = now_us;
        match &mut self.state {
            State::Waiting { until_us, closing } => {
                if now_us >= *until_us && closing.as_ref().is_none_or(Keeper::is_finished) {
                    self.open(now_us);
                }
            }
            State::Opening { since_us, .. } => {
                let age_us = now_us.saturating_sub(*since_us);
                if self.cfg.kind == DriverKind::Auto && !self.has_begun {
                    if age_us > AUTO_US {
                        self.retire();
                        self.fall_back("the JACK server does not answer");
                    }
                } else if age_us > STALL_US {
                    self.tell_lost("the JACK server does not answer".into());
                }
            }
            State::Jack {
                keeper,
                replace,
                told,
                probe,
            } => {
                if keeper.watch.has_ended.load(Acquire) {
                    return self.lose("the JACK server ended".into());
                }
                watch_levels(&keeper.watch, replace, told, "jack", &self.events);
                if !is_late
                    && let Found::Lost(reason) =
                        watch_age(keeper, told, probe, now_us, self.generation, &self.cfg, &self.notices, &self.events)
                {
                    self.lose(reason);
                }
            }
            State::Timer { timer, told } => watch_levels(&timer.watch, &mut timer.replace, told, "timer", &self.events),
        }
    }

    fn order(&mut self, of: Of, op: DeviceOp) {
        let to = match &self.state {
            State::Jack { keeper, .. } => Where::Jack(keeper),
            State::Timer { .. } => Where::Timer,
            State::Waiting { .. } | State::Opening { .. } => Where::Nowhere,
        };
        self.captures.order(of, op, &to, &self.events);
    }

    fn device(&mut self, of: Of, answer: DeviceAnswer) {
        if matches!(self.state, State::Jack { .. }) {
            self.captures.told(of, answer, &self.events);
        }
    }

    fn open(&mut self, now_us: u64) {
        self.generation += 1;
        match open(&self.cfg, self.generation, self.notices.clone(), self.ports.clone()) {
            Ok(keeper) => self.state = State::Opening { keeper, since_us: now_us },
            Err(error) => self.open_failed(error.to_string()),
        }
    }

    fn opened(&mut self, result: Result<Opened, OpenError>) {
        let opened = match result {
            Ok(opened) => opened,
            Err(error) => return self.open_failed(error.to_string()),
        };
        let state = std::mem::replace(
            &mut self.state,
            State::Waiting {
                until_us: 0,
                closing: None,
            },
        );
        let State::Opening { keeper, .. } = state else {
            self.state = state;
            return;
        };
        let Opened {
            control,
            replace,
            rate,
            period,
            latency,
        } = opened;
        let told = Told {
            since_us: sched::now_us(),
            rate,
            period,
            latency,
            xruns: 0,
            schedule: false,
        };
        tracing::info!(driver = "jack", rate, period, latency_frames = latency, "audio is running");
        (self.has_begun, self.is_lost) = (true, false);
        self.state = State::Jack {
            keeper,
            replace,
            told,
            probe: Probe::default(),
        };
        (self.events)(DriverEvent::Engine {
            control,
            driver: "jack",
            rate,
            period,
            latency_frames: latency,
        });
        if let (Some(of), State::Jack { keeper, .. }) = (self.captures.awaited(), &self.state) {
            keeper.look_out(of);
        }
    }

    fn open_failed(&mut self, reason: String) {
        if self.cfg.kind == DriverKind::Auto && !self.has_begun {
            return self.fall_back(&reason);
        }
        self.state = State::Waiting {
            until_us: sched::now_us() + REOPEN_US,
            closing: None,
        };
        self.tell_lost(reason);
    }

    fn fall_back(&mut self, reason: &str) {
        tracing::warn!(driver = "timer", reason, "no JACK server: local sound goes to a null sink");
        self.start_timer();
    }

    fn start_timer(&mut self) {
        let (rate, period) = (self.cfg.timer_rate, self.cfg.timer_period);
        match timer::start(rate, period) {
            Ok((timer, control)) => {
                self.has_begun = true;
                let told = Told {
                    since_us: sched::now_us(),
                    rate,
                    period,
                    latency: 0,
                    xruns: 0,
                    schedule: false,
                };
                self.state = State::Timer { timer, told };
                tracing::info!(driver = "timer", rate, period, "audio is running");
                (self.events)(DriverEvent::Engine {
                    control,
                    driver: "timer",
                    rate,
                    period,
                    latency_frames: 0,
                });
            }
            Err(error) => {
                tracing::error!(%error, "the timer has no thread; JACK is tried instead");
                self.has_begun = true;
                self.tell_lost(error.to_string());
                self.state = State::Waiting {
                    until_us: sched::now_us() + REOPEN_US,
                    closing: None,
                };
            }
        }
    }

    fn probed(&mut self, is_alive: bool) {
        let State::Jack { keeper, told, probe, .. } = &mut self.state else {
            return;
        };
        probe.is_out = false;
        let age_us = age(&keeper.watch, told, sched::now_us());
        if !is_alive && age_us > STALL_US {
            self.lose("the JACK server is gone".into());
        } else if is_alive && age_us > FORGOTTEN_US {
            (self.events)(DriverEvent::Stall { gap_us: age_us });
            self.lose("the JACK server does not call us any more".into());
        }
    }

    /// What was running is gone: give it up and open anew.
    fn lose(&mut self, reason: String) {
        self.retire();
        let waiting = State::Waiting {
            until_us: sched::now_us(),
            closing: None,
        };
        let before = std::mem::replace(&mut self.state, waiting);
        if let (State::Waiting { closing, .. }, State::Jack { keeper, .. }) = (&mut self.state, before) {
            *closing = Some(keeper);
        }
        self.tell_lost(reason);
        self.captures.lost(&self.events);
    }

    fn tell_lost(&mut self, reason: String) {
        self.has_begun = true;
        if !std::mem::replace(&mut self.is_lost, true) {
            tracing::warn!(driver = "jack", reason, "audio is lost; reconnecting");
            (self.events)(DriverEvent::Lost { reason });
        }
    }

    fn retire(&mut self) {
        match &self.state {
            State::Opening { keeper, .. } | State::Jack { keeper, .. } => keeper.retire(),
            State::Timer { timer, .. } => timer.watch.is_retired.store(true, Release),
            State::Waiting { .. } => {}
        }
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn stop(mut self) {
        self.retire();
        match self.state {
            State::Opening { keeper, .. } | State::Jack { keeper, .. } => keeper.wait(STOP_WITHIN),
            State::Waiting { closing: Some(keeper), .. } => keeper.wait(STOP_WITHIN),
            State::Waiting { .. } | State::Timer { .. } => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use std::sync::mpsc;
    use std::time::Instant;

    #[test]
    fn the_timer_keeps_its_rate_and_stops_when_told() {
        let (events, inbox) = mpsc::channel();
        let cfg = DriverConfig {
            kind: DriverKind::Timer,
            client_name: "unused".into(),
            connect: Vec::new(),
            ports: 1,
            timer_rate: 8_000,
            timer_period: 80,
        };
        let driver = Driver::start(cfg, move |event| events.send(event).unwrap()).unwrap();
        let event = inbox.recv_timeout(Duration::from_secs(5)).unwrap();
        let DriverEvent::Engine {
            control,
            driver: "timer",
            rate: 8_000,
            period: 80,
            latency_frames: 0,
        } = event
        else {
            panic!("{event:?}");
        };
        let stats = control.stats();
        while stats.periods() < 30 {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(stats.frames() % 80, 0);
        assert!(driver.ports().is_empty());
        driver.stop();
        let deadline = Instant::now() + Duration::from_secs(5);
        while !control.is_abandoned() {
            assert!(Instant::now() < deadline, "the timer did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
