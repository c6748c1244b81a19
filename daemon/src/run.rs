//! Builds the rooms, connects them, runs, stops.

use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam::channel::{bounded, unbounded};
use utterd_config::{Settings, Source};
use utterd_core::{Core, Input};
use utterd_sound::Folders;

use crate::cli::Cli;
use crate::dbus::{Bus, Out};
use crate::feeds;
use crate::observe::log::Log;
use crate::observe::signals::{self, Signal};
use crate::observe::{Metrics, notify};
use crate::plugins::{self, CancelAcks, LoadOptions};
use crate::rx::Rx;
use crate::services::{self, House};
use crate::session::{Actor, BackendStates, Device, Fact, Hands, Inboxes};
use crate::settings;
use crate::sounds::{self, Sounds};
use crate::synth::Synth;
use crate::tx::{Tx, TxConfig};

/// How long the last messages may take to reach the bus.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Serves until a signal or the end of the bus connection; the latter is an error.
pub fn run(cli: Cli, source: Source, settings: &Settings, log: Arc<Log>) -> Result<(), Box<dyn Error>> {
    // The name first: a second daemon finds out before it has touched anything.
    let kind = cli.bus();
    let bus = Bus::connect(&kind)?;
    tracing::info!(bus = %kind, version = env!("CARGO_PKG_VERSION"), "utterd starts");

    let inboxes = Inboxes::default();
    let (facts, clients) = (inboxes.facts.clone(), inboxes.clients.clone());
    let (ack_facts, health_facts) = (facts.clone(), facts.clone());
    let plugins = plugins::load(&LoadOptions {
        dirs: settings.plugins.dirs.clone(),
        configs: settings::plugins(settings),
        places: settings.plugin_places.clone(),
        disabled: settings.plugins.disabled.clone(),
        sensitivity: Some(settings.barge_in.sensitivity as f32),
        inproc: Some(settings.plugins.inproc.clone()),
        cancel_acks: CancelAcks::new(move |backend, synthesis, status| {
            let backend = backend.to_owned();
            send(
                &ack_facts,
                Fact::CancelAck {
                    backend,
                    synthesis,
                    status,
                },
            );
        })
        .and_health(move |backend, health| {
            let backend = backend.to_owned();
            send(&health_facts, Fact::Core(Input::BackendHealth { backend, health }));
        }),
        ..LoadOptions::default()
    });
    for rejected in &plugins.rejected {
        tracing::warn!(path = %rejected.path.display(), reason = rejected.reason, "plugin rejected");
    }
    let backends = services::backends(&plugins.plugins);
    if backends.is_empty() {
        tracing::error!(folders = ?settings.plugins.dirs, "no TTS plugin is loaded: nothing can be spoken");
    }

    let metrics = Metrics::new();
    let tx_facts = facts.clone();
    let tx_config = TxConfig {
        look_ahead_us: u64::from(settings.synthesis.look_ahead_ms) * 1000,
        ..TxConfig::default()
    };
    let tx = Tx::start(tx_config, move |event| send(&tx_facts, Fact::Tx(event)))?;
    let rx_facts = facts.clone();
    let shelf = settings::shelf(settings, &kind);
    let rx = Rx::start(tx.clone(), shelf, services::detectors(&plugins.plugins), move |event| {
        send(&rx_facts, Fact::Rx(event))
    })?;
    let synth_facts = facts.clone();
    let synth = Synth::start(tx.clone(), move |event| send(&synth_facts, Fact::Synth(event)))?;
    synth.set_cache(settings.cache.bytes as usize);
    for (backend, of) in &settings.backend {
        if let Some(jobs) = of.max_concurrent {
            synth.set_max_concurrent(backend, jobs as usize);
        }
    }
    let sounds = Sounds::new(Folders::new(settings.sounds.dirs.clone()));
    for backend in [sounds::BACKEND, feeds::BACKEND] {
        synth.set_max_concurrent(backend, utterd_rt::MAX_LANES);
    }
    let device = Device::new(settings::driver(settings), facts.clone());

    let mut core = Core::new(services::known(settings::core(settings), &plugins.plugins));
    core.step(0, Input::Backends(backends.iter().map(|b| services::described(b)).collect()));
    let detectors = services::detectors(&plugins.plugins);
    core.step(0, Input::Detectors(detectors.iter().map(|d| d.id().to_owned()).collect()));
    let states = BackendStates::default();
    let (outbox, out_queue) = unbounded();
    let by_id = backends.into_iter().map(|b| (b.id().to_owned(), b)).collect();
    let hands = Hands::new(
        tx.clone(),
        rx.clone(),
        synth.clone(),
        device.clone(),
        by_id,
        sounds.clone(),
        outbox.clone(),
        metrics.clone(),
        states.clone(),
        settings.metrics.tx_metrics_s,
    );

    let house = Arc::new(House {
        cli,
        source,
        plugins,
        sounds,
        device: device.clone(),
        metrics,
        facts: facts.clone(),
        log,
        synth: synth.clone(),
        states,
    });
    let signal_facts = facts.clone();
    let reloader = Arc::clone(&house);
    let _signals = signals::watch(move |signal| match signal {
        Signal::Stop => send(&signal_facts, Fact::Stop),
        Signal::Reload => {
            // Reported in the log; the old settings stay.
            if reloader.reload_settings().is_err() {
                tracing::debug!("nothing was changed");
            }
        }
    })?;
    let (lost, bus_lost) = bounded::<()>(1);
    let lost_facts = facts.clone();
    bus.serve(clients, outbox.clone(), out_queue, house, move || {
        if lost.send(()).is_ok() {
            send(&lost_facts, Fact::Stop);
        }
    })?;

    let actor = thread::Builder::new()
        .name("actor".into())
        .spawn(move || Actor::new(core, hands, inboxes).run())?;
    notify::ready("running");
    let panicked = actor.join().is_err();

    notify::stopping();
    rx.stop();
    device.close();
    tx.shutdown();
    if !synth.shutdown(LAST_WORDS) {
        tracing::warn!("a backend is still at work: it ends with the process");
    }
    let (flushed, done) = bounded(1);
    if outbox.send(Out::Flush(flushed)).is_ok() && done.recv_timeout(LAST_WORDS).is_err() {
        tracing::warn!("the bus took the last messages too slowly");
    }
    if panicked {
        return Err("the actor panicked: this is a bug in utterd".into());
    }
    if bus_lost.try_recv().is_ok() {
        return Err("the bus connection ended".into());
    }
    tracing::info!("utterd stops");
    Ok(())
}

fn send(facts: &crossbeam::channel::Sender<Fact>, fact: Fact) {
    if facts.send(fact).is_err() {
        tracing::debug!("the actor is gone");
    }
}
