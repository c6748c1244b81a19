//! What the levels of a running driver mean: which changes are events, when the renderer must be rebuilt, and what silence says of the server.

use super::jack::{Keeper, probe as ask_server};
use super::seat::{Replace, STALL_US, Watch};
use super::supervisor::Notice;
use super::{DriverConfig, DriverEvent, sched};
use std::sync::Arc;
use std::sync::atomic::Ordering::*;
use std::sync::mpsc::Sender;
use utterd_rt::Control;

/// A server that wants nothing of us for so long is given up.
const WEDGED_US: u64 = 10_000_000;
const PROBE_EVERY_US: u64 = 1_000_000;
/// JACK or RtKit may raise the render thread a moment after its first cycle.
const SCHEDULED_AFTER_US: u64 = 300_000;

/// What was told already, so that only changes are events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) since_us: u64,
    pub(super) rate: u32,
    pub(super) period: u32,
    pub(super) latency: u32,
    pub(super) xruns: u64,
    pub(super) schedule: bool,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Probe {
    pub(super) is_out: bool,
    pub(super) sent_us: u64,
}

/// What a look at a running driver found to be done.
pub(super) enum Found {
    Well,
    Lost(String),
}

pub(super) fn age(watch: &Watch, told: &Told, now_us: u64) -> u64 {
    now_us.saturating_sub(watch.called_us.load(Acquire).max(told.since_us))
}

/// Tells what changed, and puts in a fresh renderer where the old one broke or has the wrong rate.
pub(super) fn watch_levels(
    watch: &Arc<Watch>,
    replace: &mut Replace,
    told: &mut Told,
    driver: &'static str,
    events: &impl Fn(DriverEvent),
) {
    replace.collect();
    let stall_us = watch.stall_us.swap(0, AcqRel);
    if stall_us > 0 {
        events(DriverEvent::Stall { gap_us: stall_us });
    }
    let period = watch.period.load(Acquire);
    if period != told.period {
        told.period = period;
        events(DriverEvent::Period { frames: period });
    }
    let latency = watch.latency.load(Acquire);
    if latency != told.latency {
        told.latency = latency;
        events(DriverEvent::Latency { frames: latency });
    }
    let xruns = watch.xruns.load(Acquire);
    if xruns != told.xruns {
        let count = xruns.saturating_sub(told.xruns);
        told.xruns = xruns;
        events(DriverEvent::Xrun { count });
    }
    let tid = watch.tid.load(Acquire);
    if !told.schedule && tid != 0 && sched::now_us().saturating_sub(told.since_us) > SCHEDULED_AFTER_US {
        told.schedule = true;
        sched::check_render_thread(tid, driver);
    }
    let rate = watch.rate.load(Acquire);
    let has_panicked = watch.has_panicked.load(Acquire);
    if has_panicked || rate != told.rate {
        tracing::error!(
            driver,
            rate,
            has_panicked,
            panics = sched::render_panics(),
            "the renderer is rebuilt"
        );
        let (control, renderer): (Control, _) = utterd_rt::engine(rate);
        // Cleared first: the new one may break at once, and that must not be overlooked.
        watch.has_panicked.store(false, Release);
        if replace.put(renderer).is_err() {
            watch.has_panicked.store(has_panicked, Release);
            return;
        }
        told.rate = rate;
        events(DriverEvent::Engine {
            control,
            driver,
            rate,
            period,
            latency_frames: latency,
        });
    }
}

/// Judges the silence of a server that has not said goodbye.
#[expect(
    clippy::too_many_arguments,
    reason = "one caller, which has just borrowed all of these out of its state"
)]
pub(super) fn watch_age(
    keeper: &Keeper,
    told: &Told,
    probe: &mut Probe,
    now_us: u64,
    generation: u64,
    cfg: &DriverConfig,
    notices: &Sender<Notice>,
    events: &impl Fn(DriverEvent),
) -> Found {
    let age_us = age(&keeper.watch, told, now_us);
    if age_us > WEDGED_US {
        events(DriverEvent::Stall { gap_us: age_us });
        return Found::Lost("the JACK server hangs".into());
    }
    if age_us > STALL_US && !probe.is_out && now_us.saturating_sub(probe.sent_us) > PROBE_EVERY_US {
        *probe = Probe {
            is_out: ask_server(&cfg.client_name, generation, notices.clone()),
            sent_us: now_us,
        };
    }
    Found::Well
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::driver::timer;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    #[test]
    fn a_panic_in_the_renderer_is_silence_and_then_a_fresh_engine() {
        sched::quieten_render_panics();
        let (mut timer, control) = timer::start(48_000, 480).unwrap();
        let mut told = Told {
            since_us: sched::now_us(),
            rate: 48_000,
            period: 480,
            latency: 0,
            xruns: 0,
            schedule: true,
        };
        let panics = sched::render_panics();
        timer.watch.poison.store(true, Release);
        let (events, inbox) = mpsc::channel();
        let deadline = Instant::now() + Duration::from_secs(5);
        let fresh = loop {
            watch_levels(&timer.watch, &mut timer.replace, &mut told, "timer", &|event| {
                events.send(event).unwrap()
            });
            if let Ok(DriverEvent::Engine { control, .. }) = inbox.try_recv() {
                break control;
            }
            assert!(Instant::now() < deadline, "no fresh engine");
            std::thread::sleep(Duration::from_millis(1));
        };
        let stats = fresh.stats();
        while stats.periods() == 0 {
            assert!(Instant::now() < deadline, "the fresh renderer is not called");
            std::thread::sleep(Duration::from_millis(1));
        }
        timer.replace.collect();
        assert!(control.is_abandoned(), "the broken renderer has been freed");
        assert_eq!(sched::render_panics(), panics + 1);
        timer.watch.is_retired.store(true, Release);
    }
}
