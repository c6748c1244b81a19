//! The metrics of what the hands carry out, declared with their help texts.

use std::collections::HashMap;

use crate::observe::Metrics;
use crate::observe::metrics::{Counter, Gauge, Histogram};

/// The metrics of this room.
pub(super) struct Counts {
    pub(super) sessions: Gauge,
    pub(super) utterances: Counter,
    pub(super) finished: HashMap<&'static str, Counter>,
    pub(super) stale_turns: Counter,
    pub(super) cancels: Counter,
    pub(super) cancel_failed: Counter,
    pub(super) cancel_silent: Histogram,
    pub(super) cancel_done: Histogram,
    pub(super) cut: Histogram,
    pub(super) first_audio: Histogram,
    pub(super) played: Counter,
    pub(super) wasted: Counter,
    pub(super) collect_buffers: Gauge,
    pub(super) collect_bytes: Gauge,
    pub(super) collect_gaps: Counter,
    pub(super) collect_expired: Counter,
    pub(super) underruns_us: Counter,
    pub(super) xruns: Counter,
}

impl Counts {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let finished = [
            (
                "completed",
                metrics.counter(
                    "utterd_utterance_completed_total",
                    "utterances",
                    "Utterances heard to their last sample.",
                ),
            ),
            (
                "cancelled",
                metrics.counter("utterd_utterance_cancelled_total", "utterances", "Utterances cut or dropped."),
            ),
            (
                "failed",
                metrics.counter(
                    "utterd_utterance_failed_total",
                    "utterances",
                    "Utterances that a backend could not speak.",
                ),
            ),
            (
                "expired",
                metrics.counter(
                    "utterd_utterance_expired_total",
                    "utterances",
                    "Utterances that did not begin in time.",
                ),
            ),
        ];
        Self {
            sessions: metrics.gauge("utterd_sessions", "sessions", "Open sessions."),
            utterances: metrics.counter("utterd_utterance_total", "utterances", "Utterances accepted."),
            finished: finished.into_iter().collect(),
            stale_turns: metrics.counter(
                "utterd_stale_turn_total",
                "requests",
                "Requests dropped because they carried an older turn.",
            ),
            cancels: metrics.counter("utterd_cancel_total", "cancels", "Cancels that ended something."),
            cancel_failed: metrics.counter(
                "utterd_cancel_failed_total",
                "cancels",
                "Steps of a cancel that did not answer in time.",
            ),
            cancel_silent: metrics.histogram(
                "utterd_cancel_silent_us",
                "microseconds",
                "Arrival of a cancel to the last non-zero sample.",
            ),
            cancel_done: metrics.histogram("utterd_cancel_done_us", "microseconds", "Arrival of a cancel to its report."),
            cut: metrics.histogram(
                "utterd_cut_us",
                "microseconds",
                "Publication of a cut to the last non-zero sample, where something was audible.",
            ),
            first_audio: metrics.histogram(
                "utterd_first_audio_us",
                "microseconds",
                "Acceptance of an utterance to its first sample heard.",
            ),
            played: metrics.counter("utterd_played_us_total", "microseconds", "Speech handed to the sink."),
            wasted: metrics.counter(
                "utterd_synthesis_wasted_us_total",
                "microseconds",
                "Speech synthesised and not heard.",
            ),
            collect_buffers: metrics.gauge("utterd_collect_buffers", "buffers", "Turns collected and not committed."),
            collect_bytes: metrics.gauge("utterd_collect_bytes", "bytes", "Text collected and not committed."),
            collect_gaps: metrics.counter(
                "utterd_collect_gap_total",
                "gaps",
                "Places where a commit joined over missing chunks.",
            ),
            collect_expired: metrics.counter(
                "utterd_collect_expired_total",
                "buffers",
                "Collected turns that nobody committed in time.",
            ),
            underruns_us: metrics.counter(
                "utterd_tx_underrun_us_total",
                "microseconds",
                "Silence inside utterances for lack of samples.",
            ),
            xruns: metrics.counter("utterd_jack_xrun_total", "xruns", "Deadlines the audio server missed."),
        }
    }
}
