//! The actor's hands: carries out one effect after the other, and keeps the books that operators read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crossbeam::channel::Sender;
use utterd_core::{DriverInfo, Effect, Note, Reply, Signal};
use zbus::zvariant::Value;

use super::Device;
use super::backends::{BackendStates, Backends};
use super::counts::Counts;
use super::owner_counts::OwnerCounts;
use super::owners::Owners;
use super::rx::RxCounts;
use crate::clock::now_us;
use crate::dbus::Out;
use crate::driver::{DeviceOp, DriverEvent, Of};
use crate::feeds::Feeds;
use crate::observe::metrics::Counter;
use crate::observe::{Metrics, Watch, watch};
use crate::plugins::TtsBackend;
use crate::rx::Rx;
use crate::sounds::Sounds;
use crate::synth::Synth;
use crate::tx::{Output, Tx};

/// Metrics.Alert is rate-limited: an xrun storm must not flood the bus.
const ALERT_EVERY_US: u64 = 1_000_000;

/// Everything that effects act on.
pub struct Hands {
    pub(super) tx: Tx,
    pub(super) rx: Rx,
    pub(super) synth: Synth,
    device: Device,
    pub(super) backends: HashMap<String, Arc<TtsBackend>>,
    pub(super) sounds: Sounds,
    pub(super) feeds: Feeds,
    outbox: Sender<Out>,
    metrics: Metrics,
    pub(super) watch: Watch,
    counts: Counts,
    pub(super) rx_counts: RxCounts,
    driver: DriverInfo,
    account: Account,
    /// When each cut that is not answered yet was published.
    cuts: HashMap<u64, u64>,
    /// When each kind was last sent.
    alerts: HashMap<(&'static str, String), u64>,
    owner_counts: OwnerCounts,
    pub(super) owners: Owners,
    pub(super) of_backends: Backends,
    pub(super) cancel_failed: Counter,
}

/// TX_METRICS: what went out since the last account.
#[derive(Debug, Default)]
struct Account {
    every_us: u64,
    next: Option<u64>,
    since: u64,
    frames: u64,
    idle_periods: u64,
    periods: u64,
    underruns: u64,
}

impl Hands {
    #[expect(clippy::too_many_arguments, reason = "one for each room that effects reach")]
    pub fn new(
        tx: Tx,
        rx: Rx,
        synth: Synth,
        device: Device,
        backends: HashMap<String, Arc<TtsBackend>>,
        sounds: Sounds,
        outbox: Sender<Out>,
        metrics: Metrics,
        states: BackendStates,
        account_every_s: u32,
    ) -> Self {
        let account = Account {
            every_us: u64::from(account_every_s) * 1_000_000,
            ..Account::default()
        };
        let (watch, counts) = (Watch::new(&metrics), Counts::new(&metrics));
        let rx_counts = RxCounts::new(&metrics);
        let owner_counts = OwnerCounts::new(&metrics);
        let cancel_failed = counts.cancel_failed.clone();
        let of_backends = Backends::new(&metrics, &backends, states);
        Self {
            tx,
            rx,
            synth,
            device,
            backends,
            sounds,
            feeds: Feeds::default(),
            outbox,
            metrics,
            watch,
            counts,
            rx_counts,
            driver: DriverInfo::default(),
            account,
            cuts: HashMap::new(),
            alerts: HashMap::new(),
            owners: Owners::default(),
            owner_counts,
            of_backends,
            cancel_failed,
        }
    }

    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Reply {
                token,
                reply:
                    Ok(Reply::Feed {
                        utterance,
                        format,
                        output,
                        at_us,
                    }),
            } => self.open_feed(token, utterance, format, tx_output(output), at_us),
            Effect::Reply { token, reply } => self.send(Out::Reply { token, reply }),
            Effect::Signal { session, signal } => {
                if let Signal::UtteranceFinished { utterance, .. } = &signal {
                    self.feeds.end(utterance.get());
                }
                self.send(Out::Signal { session, signal });
            }
            Effect::SessionChanged { session, properties } => self.send(Out::SessionChanged { session, properties }),
            Effect::ManagerChanged { properties } => self.send(Out::ManagerChanged { properties }),
            Effect::SessionOpened {
                key,
                session,
                output,
                properties,
            } => {
                self.rx.session_opened(key.get(), session.clone(), tx_output(output));
                self.metrics.open_session(&session);
                self.counts.sessions.set(self.counts.sessions.value() + 1.0);
                self.send(Out::SessionOpened { session, properties });
            }
            Effect::SessionClosed { session } => {
                self.rx.session_closed(session.clone());
                self.metrics.close_session(&session);
                self.counts.sessions.set(self.counts.sessions.value() - 1.0);
                self.send(Out::SessionClosed { session });
            }
            Effect::OpenOutput { output } => {
                if let Err(error) = self.device.open(tx_output(output)) {
                    tracing::error!(output = output.word(), %error, "audio could not be opened");
                }
            }
            Effect::Device {
                order,
                op,
                output,
                session,
                generation,
            } => {
                let of = Of {
                    order: order.get(),
                    session: session.into(),
                    generation,
                };
                self.device.order(tx_output(output), of, device_op(op));
            }
            Effect::OwnerChanged {
                old,
                new,
                transition,
                generation,
            } => self.send(Out::OwnerChanged {
                old,
                new,
                transition,
                generation,
            }),
            Effect::OwnerPropertiesChanged { properties } => self.send(Out::OwnerPropertiesChanged { properties }),
            Effect::OpenTrack {
                track,
                session,
                output,
                gain,
                paused,
            } => {
                self.tx.open_track(track.get(), tx_output(output));
                self.rx.track(track.get(), session.get());
                self.tx.gain(track.get(), gain, 0);
                if paused {
                    self.tx.pause(track.get(), 0);
                }
            }
            Effect::CloseTrack { track } => {
                self.tx.close_track(track.get());
                self.rx.track_closed(track.get());
            }
            Effect::Play { track, utterance } => self.tx.play(track.get(), utterance.get()),
            Effect::Cut { utterance, fade_us } => {
                self.tx.cut(utterance.get(), fade_us);
                self.feeds.end(utterance.get());
                self.cuts.insert(utterance.get(), now_us());
            }
            Effect::PauseTrack { track, fade_us } => self.tx.pause(track.get(), fade_us),
            Effect::ResumeTrack { track } => self.tx.resume(track.get()),
            Effect::Gain { track, linear, ramp_us } => self.tx.gain(track.get(), linear, ramp_us),
            Effect::Watch { utterance, output, at_us } => self.tx.watch(utterance.get(), tx_output(output), at_us),
            Effect::Synthesize(synthesis) => self.synthesize(synthesis),
            Effect::Prime(prime) => self.prime(prime),
            Effect::EndStore { utterance } => self.synth.end(utterance.get()),
            Effect::CloseStore { utterance } => self.synth.finish(utterance.get()),
            Effect::CancelSynthesis { synthesis } => self.synth.cancel(synthesis.get()),
            Effect::Forget { utterance } => {
                self.sounds.forget(utterance.get());
                self.synth.forget(utterance.get());
                self.tx.forget(utterance.get());
            }
            Effect::DetectorStart { .. }
            | Effect::DetectorStop { .. }
            | Effect::DetectorContext { .. }
            | Effect::Readers { .. }
            | Effect::AcquireAudio { .. }
            | Effect::StartRecording { .. }
            | Effect::BeginRecording { .. }
            | Effect::StopRecording { .. } => self.carry_out_rx(effect),
            Effect::Note(note @ (Note::RecordingStarted { .. } | Note::RecordingFinished { .. })) => self.note_rx(note),
            Effect::Note(note) => self.note(note),
        }
    }

    pub(super) fn send(&self, out: Out) {
        if self.outbox.send(out).is_err() {
            tracing::debug!("the bus is gone");
        }
    }

    fn note(&mut self, note: Note) {
        let Some(note) = self.backend_note(note) else {
            return;
        };
        match note {
            Note::SessionOpened { session } => tracing::info!(%session, "session opened"),
            Note::SessionClosed { session } => tracing::info!(%session, "session closed"),
            Note::Accepted { session, utterance } => {
                self.owners.accepted(utterance.get(), &session);
                self.counts.utterances.add_for(&session, 1);
                tracing::debug!(%session, %utterance, "accepted");
            }
            Note::OwnerCounted { counter, by } => self.owner_counts.add(counter, by),
            Note::FirstFrameSent { session, utterance } => self.watch.first_frame_sent(&session, utterance.get()),
            Note::Started {
                session,
                utterance,
                first_audio_us,
            } => {
                self.counts.first_audio.record_for(&session, first_audio_us);
                tracing::debug!(%session, %utterance, first_audio_us, "started");
            }
            Note::Finished {
                session,
                utterance,
                outcome,
                played_us,
                wasted_us,
            } => {
                if let Some(counter) = self.counts.finished.get(outcome) {
                    counter.add_for(&session, 1);
                }
                self.counts.played.add_for(&session, played_us);
                self.counts.wasted.add_for(&session, wasted_us);
                tracing::info!(%session, %utterance, outcome, played_ms = played_us / 1000, "utterance finished");
            }
            Note::Cancelled {
                session,
                reason,
                stages,
                utterances,
            } => {
                self.counts.cancels.add_for(&session, 1);
                self.counts.cancel_silent.record_for(&session, stages.silent_us);
                self.counts.cancel_done.record_for(&session, stages.done_us);
                tracing::info!(%session, reason, utterances, silent_us = stages.silent_us, done_us = stages.done_us, "cancelled");
            }
            Note::BargeIn {
                session,
                stage,
                detector,
                latency_us,
                ..
            } => self.watch.barge_in_stage(&session, stage, &detector, latency_us),
            Note::BargedIn {
                session,
                utterance,
                latency_us,
                count,
            } => self.watch.barge_in(&session, utterance.get(), latency_us, count),
            Note::GreetingProtect {
                session,
                utterance,
                sent_us,
            } => self.watch.greeting_protect(&session, utterance.get(), sent_us / 1000),
            Note::GreetingCompleted { session, utterance } => self.watch.greeting_completed(&session, utterance.get()),
            Note::DetectorFailed {
                session,
                detector,
                message,
                instead,
            } => self.watch.detector_failed(&session, &detector, &message, &instead),
            Note::Collected {
                session,
                buffers,
                bytes,
                all_buffers,
                all_bytes,
            } => {
                for (gauge, own, all) in [
                    (&self.counts.collect_buffers, buffers, all_buffers),
                    (&self.counts.collect_bytes, bytes, all_bytes),
                ] {
                    gauge.set(all as f64);
                    gauge.set_for(&session, own as f64);
                }
            }
            Note::CollectGaps { session, holes } => {
                self.counts.collect_gaps.add_for(&session, holes);
                tracing::debug!(%session, holes, "a commit joined over missing chunks");
            }
            Note::CollectExpired { session, turn } => {
                self.counts.collect_expired.add_for(&session, 1);
                tracing::info!(%session, turn, "collected text expired: nobody committed it");
            }
            Note::StaleTurn { session } => {
                self.counts.stale_turns.add_for(&session, 1);
                tracing::debug!(%session, "an older turn was dropped");
            }
            Note::Transition {
                session,
                transition,
                outcome,
                generation,
            } => {
                if outcome == "applied" {
                    tracing::info!(%session, transition, generation, "audio owner: applied");
                } else {
                    tracing::debug!(%session, transition, outcome, generation, "audio owner");
                }
            }
            Note::TransitionRefused {
                session,
                transition,
                error,
            } => tracing::info!(asked = ?session, transition, error, "audio owner: refused"),
            Note::TransitionFailed {
                session,
                transition,
                generation,
                error,
            } => tracing::warn!(%session, transition, generation, error, "audio owner: failed"),
            // In their own room.
            Note::RecordingStarted { .. } | Note::RecordingFinished { .. } => {}
            Note::DeviceLost { session, generation } => {
                tracing::warn!(%session, generation, "the microphone was closed, and not by us");
            }
            Note::CancelFailed { session, error } => {
                self.counts.cancel_failed.add_for(&session, 1);
                tracing::warn!(%session, error, "a step of the cancel chain did not answer in time");
                self.alert("cancel-failed", &session, BTreeMap::from([("error", Value::from(error))]));
            }
            // Carried out above.
            Note::BackendFailed { .. }
            | Note::BackendAway { .. }
            | Note::BackendBack { .. }
            | Note::FellBack { .. }
            | Note::CancelUnacknowledged { .. }
            | Note::Primed { .. } => {}
        }
    }

    /// At most one alert of a kind and session a second; those between are in the metrics. Whether it was told.
    pub(super) fn alert(&mut self, kind: &'static str, session: &str, details: BTreeMap<&'static str, Value<'static>>) -> bool {
        let now = now_us();
        let last = self.alerts.get(&(kind, session.to_owned()));
        if last.is_some_and(|at| now.saturating_sub(*at) < ALERT_EVERY_US) {
            return false;
        }
        self.alerts.retain(|_, at| now.saturating_sub(*at) < ALERT_EVERY_US);
        self.alerts.insert((kind, session.to_owned()), now);
        self.send(Out::Alert {
            kind,
            session: session.to_owned(),
            details,
        });
        true
    }

    /// A cut was answered.
    pub(super) fn cut_answered(&mut self, utterance: u64, silent_at: u64) {
        if let Some(published) = self.cuts.remove(&utterance)
            && silent_at > published
        {
            let silent_after_us = silent_at - published;
            self.counts.cut.record(silent_after_us);
            tracing::debug!(utterance, silent_after_us, "cut");
        }
    }

    pub(super) fn underrun(&self, utterance: u64, lost_us: u64) {
        self.counts.underruns_us.add(lost_us);
        crate::paced!(warn, "underrun", utterance, lost_us);
    }

    /// What the driver tells; the new state when clients see a difference.
    pub(super) fn driver_event(&mut self, output: Output, event: DriverEvent) -> Option<DriverInfo> {
        let local = output == Output::Local;
        match event {
            DriverEvent::Engine {
                mut control,
                driver,
                rate,
                period,
                latency_frames,
            } => {
                tracing::info!(?output, driver, rate, period, latency_frames, "audio runs");
                self.rx.engine(output, control.take_tap(), rate);
                self.tx.period(output, period);
                self.tx.engine(output, control, rate, latency_frames);
                // The first resampler of a kind takes milliseconds to build: now, not at the first Say.
                let rates: Vec<u32> = self.backends.values().flat_map(|b| b.voices()).map(|v| v.sample_rate).collect();
                self.tx.warm(output, &rates);
                self.account = Account {
                    every_us: self.account.every_us,
                    ..Account::default()
                };
                if local {
                    self.driver = DriverInfo {
                        driver,
                        state: "running",
                        rate,
                        period,
                    };
                }
            }
            DriverEvent::Lost { reason } => {
                tracing::warn!(?output, reason, "audio is away: sessions hold their place until it comes back");
                self.tx.lost(output);
                if local {
                    // JACK alone can be away; before it ever came, its name and the default rate are what is known.
                    let rate = self.tx.rate(output);
                    let period = self.driver.period;
                    self.driver = DriverInfo {
                        driver: "jack",
                        state: "reconnecting",
                        rate,
                        period,
                    };
                }
            }
            DriverEvent::Period { frames } => {
                self.tx.period(output, frames);
                if !local {
                    return None;
                }
                self.driver.period = frames;
            }
            // It is told to the core before it comes here.
            DriverEvent::Device { .. } => return None,
            DriverEvent::Latency { frames } => {
                self.tx.latency(output, frames);
                return None;
            }
            DriverEvent::Xrun { count } => {
                self.counts.xruns.add(count);
                let total = self.counts.xruns.value();
                crate::paced!(warn, "xrun", count, total);
                self.alert("xrun", "", BTreeMap::from([("total", Value::from(total))]));
                return None;
            }
            DriverEvent::Stall { gap_us } => {
                self.watch.tx_stall(watch::LOCAL, gap_us / 1000);
                self.alert("tx-stall", "", BTreeMap::from([("gap-us", Value::from(gap_us))]));
                return None;
            }
        }
        local.then(|| self.driver.clone())
    }

    pub(super) fn knows_driver(&self) -> bool {
        !self.driver.driver.is_empty()
    }

    pub(super) fn next_account(&self) -> Option<u64> {
        self.account.next
    }

    /// Writes TX_METRICS when it is due and something was played since the last one.
    pub(super) fn account(&mut self, now: u64) {
        if self.account.every_us == 0 || self.account.next.is_some_and(|at| now < at) {
            return;
        }
        let Some(stats) = self.tx.stats(Output::Local) else {
            // Nothing to count while audio is away, and no time at which to look: one that has passed would never let the actor rest.
            self.account.next = None;
            return;
        };
        let every_us = self.account.every_us;
        let before = std::mem::replace(
            &mut self.account,
            Account {
                every_us,
                next: Some(now + every_us),
                since: now,
                frames: stats.frames(),
                idle_periods: stats.idle_periods(),
                periods: stats.periods(),
                underruns: stats.underruns(),
            },
        );
        let gap_ms_max = stats.take_gap_max_us() as f64 / 1000.0;
        let played = stats.periods().saturating_sub(before.periods) > stats.idle_periods().saturating_sub(before.idle_periods);
        if before.next.is_none() || !played || self.driver.rate == 0 {
            return;
        }
        let seconds = now.saturating_sub(before.since).max(1) as f64 / 1e6;
        // 20 ms pieces a second: 50 when nothing is late.
        let fps = stats.frames().saturating_sub(before.frames) as f64 / f64::from(self.driver.rate) * 50.0 / seconds;
        self.watch
            .tx_metrics(watch::LOCAL, fps, gap_ms_max, stats.underruns().saturating_sub(before.underruns));
    }
}

pub(super) fn tx_output(output: utterd_core::Output) -> Output {
    match output {
        utterd_core::Output::Local => Output::Local,
        utterd_core::Output::Null => Output::Null,
    }
}

fn device_op(op: utterd_core::DeviceOp) -> DeviceOp {
    match op {
        utterd_core::DeviceOp::OpenCapture => DeviceOp::OpenCapture,
        utterd_core::DeviceOp::CloseCapture { capture } => DeviceOp::CloseCapture { capture: capture.get() },
        utterd_core::DeviceOp::AssertRoutes => DeviceOp::AssertRoutes,
    }
}
