//! The fixed events of the TX watchdog and of barge-in: one method each, which writes the line and counts it.
//!
//! The names and fields of these lines are an interface (SPECIFICATION.md lists them), so they stand in this file only. Seeing what happened
//! is the caller's; doing something about it is nobody's: the watchdog only watches (T3).
//! `session` is never empty; what concerns the loudspeaker as a whole is said of [`LOCAL`].

use super::metrics::{Counter, Gauge, Histogram, Metrics};
use std::time::Instant;

/// The local output where an event belongs to no single session.
pub const LOCAL: &str = "local";

/// A gap above this is a stall.
pub const STALL_MS: u64 = 300;
/// A send above this is slow.
pub const SEND_SLOW_MS: u64 = 50;

/// Writes the fixed events and keeps their metrics. Clones share them.
#[derive(Clone)]
pub struct Watch {
    stalls: Counter,
    gap_ms_max: Gauge,
    fps: Gauge,
    underruns: Counter,
    sends_slow: Counter,
    barge_ins: Counter,
    barge_in_us: Histogram,
    greetings_protected: Counter,
    suspected: Counter,
    taken_back: Counter,
    detectors_failed: Counter,
}

impl Watch {
    pub fn new(metrics: &Metrics) -> Watch {
        Watch {
            stalls: metrics.counter("utterd_tx_stall_total", "stalls", "Gaps of TX longer than 300 ms."),
            gap_ms_max: metrics.gauge(
                "utterd_tx_gap_ms_max",
                "milliseconds",
                "Longest gap between two periods or packets of TX.",
            ),
            fps: metrics.gauge(
                "utterd_tx_fps",
                "per second",
                "20 ms pieces of audio sent a second on the local output; of a call its packets.",
            ),
            underruns: metrics.counter(
                "utterd_tx_underrun_total",
                "underruns",
                "Times TX had nothing to send inside an utterance.",
            ),
            sends_slow: metrics.counter("utterd_tx_send_slow_total", "sends", "Sends of TX that took longer than 50 ms."),
            barge_ins: metrics.counter("utterd_barge_in_total", "barge-ins", "Confirmed barge-ins."),
            barge_in_us: metrics.histogram(
                "utterd_barge_in_us",
                "microseconds",
                "Onset of the user's speech to the agent's silence.",
            ),
            greetings_protected: metrics.counter(
                "utterd_greeting_protect_total",
                "reports",
                "Barge-ins refused by a protected utterance.",
            ),
            suspected: metrics.counter(
                "utterd_barge_in_suspected_total",
                "suspicions",
                "Suspicions of user speech while the agent speaks.",
            ),
            taken_back: metrics.counter(
                "utterd_barge_in_false_total",
                "suspicions",
                "Suspicions that were taken back: the speech went on.",
            ),
            detectors_failed: metrics.counter(
                "utterd_detector_failed_total",
                "failures",
                "Detectors that failed a session, or fired whatever they heard.",
            ),
        }
    }

    /// Nothing was sent for `gap_ms`.
    pub fn tx_stall(&self, session: &str, gap_ms: u64) {
        self.stalls.add_for(session, 1);
        self.gap_ms_max.raise_for(session, gap_ms as f64);
        tracing::warn!(%session, gap_ms, "TX_STALL");
    }

    /// The regular account: what went out since the last one. `underruns` are those since the last account; `max_gap_ms` likewise.
    pub fn tx_metrics(&self, session: &str, fps: f64, max_gap_ms: f64, underruns: u64) {
        if session == LOCAL {
            self.fps.set(fps);
        }
        self.fps.set_for(session, fps);
        self.gap_ms_max.raise_for(session, max_gap_ms);
        self.underruns.add_for(session, underruns);
        tracing::info!(%session, fps = format_args!("{fps:.1}"), max_gap_ms = format_args!("{max_gap_ms:.1}"), underruns, "TX_METRICS");
        // The regular account is also the moment to say what the pacing of other lines kept back.
        super::log::pace::tell_swallowed(Instant::now());
    }

    /// One send took longer than [`SEND_SLOW_MS`].
    pub fn tx_send_slow(&self, session: &str, send_ms: u64) {
        self.sends_slow.add_for(session, 1);
        crate::paced!(warn, "TX_SEND_SLOW", %session, send_ms);
    }

    /// The first frame of a session was sent.
    pub fn first_frame_sent(&self, session: &str, utterance: u64) {
        tracing::info!(%session, utterance, "FIRST_FRAME_SENT");
    }

    /// The user interrupted and was let through; `count` is the session's number of barge-ins so far.
    pub fn barge_in(&self, session: &str, utterance: u64, latency_us: u64, count: u64) {
        self.barge_ins.add_for(session, 1);
        self.barge_in_us.record_for(session, latency_us);
        tracing::info!(%session, utterance, latency_ms = latency_us / 1000, count, "BARGE_IN");
    }

    /// A step of a barge-in: "suspected" | "confirmed" | "false" | "ignored" | "protected".
    pub fn barge_in_stage(&self, session: &str, stage: &'static str, detector: &str, latency_us: u64) {
        match stage {
            "suspected" => self.suspected.add_for(session, 1),
            "false" => self.taken_back.add_for(session, 1),
            _ => {}
        }
        tracing::debug!(%session, stage, detector, latency_ms = latency_us / 1000, "barge-in");
    }

    /// A detector cannot be relied on in a session any more; `instead` is what takes its place, or empty.
    pub fn detector_failed(&self, session: &str, detector: &str, message: &str, instead: &str) {
        self.detectors_failed.add_for(session, 1);
        tracing::warn!(%session, detector, message, instead, "a detector cannot be relied on");
    }

    /// The user interrupted a protected utterance, of which `sent_ms` have been sent.
    pub fn greeting_protect(&self, session: &str, utterance: u64, sent_ms: u64) {
        self.greetings_protected.add_for(session, 1);
        tracing::info!(%session, utterance, sent_ms, "GREETING_PROTECT");
    }

    /// A greeting was heard to its end.
    pub fn greeting_completed(&self, session: &str, utterance: u64) {
        tracing::info!(%session, utterance, "GREETING_COMPLETED");
    }

    /// A recording began; always after FIRST_FRAME_SENT of its session (T4).
    pub fn recording_started(&self, session: &str, file: &str) {
        tracing::info!(%session, file, "RECORDING_STARTED");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::log::tests_paper::logged;

    #[test]
    fn the_lines_are_the_interface_to_the_letter() {
        let metrics = Metrics::new();
        metrics.open_session("7");
        let watch = Watch::new(&metrics);
        let lines = logged(|| {
            watch.tx_stall("7", 412);
            watch.tx_metrics("7", 50.0, 21.34, 2);
            watch.tx_send_slow("7", 61);
            watch.first_frame_sent("7", 1);
            watch.barge_in("7", 1, 58_900, 1);
            watch.greeting_protect("7", 1, 120);
            watch.greeting_completed("7", 1);
            watch.recording_started("7", "a b.wav");
        });
        let expected = "\
<4>TX_STALL session=7 gap_ms=412
<6>TX_METRICS session=7 fps=50.0 max_gap_ms=21.3 underruns=2
<4>TX_SEND_SLOW session=7 send_ms=61
<6>FIRST_FRAME_SENT session=7 utterance=1
<6>BARGE_IN session=7 utterance=1 latency_ms=58 count=1
<6>GREETING_PROTECT session=7 utterance=1 sent_ms=120
<6>GREETING_COMPLETED session=7 utterance=1
<6>RECORDING_STARTED session=7 file=\"a b.wav\"
";
        assert_eq!(lines, expected);
        for scope in ["", "7"] {
            let shown = metrics.snapshot(scope);
            assert_eq!((shown["utterd_tx_gap_ms_max"], shown["utterd_tx_stall_total"]), (412.0, 1.0));
            assert_eq!(
                (shown["utterd_tx_underrun_total"], shown["utterd_barge_in_us-max"]),
                (2.0, 58_900.0)
            );
        }
    }
}
