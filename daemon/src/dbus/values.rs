//! Core's data as D-Bus values.

use std::collections::{BTreeMap, HashMap};

use utterd_core::{Failure, HistoryEntry, ManagerProperties, Outcome, OwnerProperties, Report, SessionProperties};
use zbus::zvariant::Value;

use super::error::error_name;

/// `a{sv}` on its way out.
pub(super) type Dict = BTreeMap<&'static str, Value<'static>>;

/// Cancel's reply; `UtteranceFinished`'s report is the same without `result`.
pub(super) fn report(report: &Report) -> Dict {
    let utterances: Vec<u64> = report.utterances.iter().map(|u| u.get()).collect();
    let syntheses: Vec<(u64, &str, &str)> = report
        .syntheses
        .iter()
        .map(|(id, state, told)| (id.get(), state.word(), told.word()))
        .collect();
    let stages: HashMap<&str, u64> = report.stages.map_or_else(HashMap::new, |s| {
        HashMap::from([
            ("guard-us", s.guard_us),
            ("silent-us", s.silent_us),
            ("notified-us", s.notified_us),
            ("done-us", s.done_us),
        ])
    });
    let mut dict = Dict::from([
        ("utterances", Value::from(utterances)),
        ("heard-text", Value::from(report.heard_text.clone())),
        ("heard-source", Value::from(report.heard_source.word())),
        ("reason", Value::from(report.reason.clone())),
        ("turn", Value::from(report.turn)),
        ("tag", Value::from(report.tag.clone())),
        ("backend", Value::from(report.backend.clone())),
        ("voice", Value::from(report.voice.clone())),
        ("played-us", Value::from(report.played_us)),
        ("queued-dropped", Value::from(report.queued_dropped)),
        ("syntheses", Value::from(syntheses)),
        ("stages", Value::from(stages)),
        ("errors", Value::from(report.errors.clone())),
    ]);
    if report.stages.is_some() {
        dict.insert("at-us", Value::from(report.arrived));
    }
    if let Some(result) = report.result {
        dict.insert("result", Value::from(result));
    }
    if let Some(Failure { kind, message }) = &report.failure {
        dict.insert("error", Value::from(error_name(*kind)));
        dict.insert("message", Value::from(message.clone()));
    }
    dict
}

/// The report of `UtteranceFinished`, with the error when it failed.
pub(super) fn finished(outcome: &Outcome, of: &Report) -> Dict {
    let mut dict = report(of);
    if let Outcome::Failed(failure) = outcome {
        dict.insert("error", Value::from(error_name(failure.kind)));
        dict.insert("message", Value::from(failure.message.clone()));
    }
    dict
}

/// One entry of GetHistory.
pub(super) fn history(entry: &HistoryEntry) -> Dict {
    Dict::from([
        ("utterance", Value::from(entry.utterance.get())),
        ("said", Value::from(entry.said.clone())),
        ("heard", Value::from(entry.heard.clone())),
        ("outcome", Value::from(entry.outcome)),
        ("reason", Value::from(entry.reason.clone())),
        ("at-us", Value::from(entry.at_us)),
        ("tag", Value::from(entry.tag.clone())),
        ("turn", Value::from(entry.turn)),
    ])
}

/// Session's properties.
pub(super) fn session(p: &SessionProperties) -> Dict {
    Dict::from([
        ("Id", Value::from(p.id.clone())),
        ("State", Value::from(p.state)),
        ("Speaking", Value::from(p.speaking)),
        ("Turn", Value::from(p.turn)),
        ("ActiveUtterance", Value::from(p.active_utterance)),
        ("QueueLength", Value::from(p.queue_length)),
        ("CollectedBytes", Value::from(p.collected_bytes)),
        ("Output", Value::from(p.output)),
        ("GainDb", Value::from(p.gain_db)),
        ("Muted", Value::from(p.muted)),
        ("MicMuted", Value::from(p.mic_muted)),
    ])
}

/// Manager's properties.
pub(super) fn manager(p: &ManagerProperties) -> Dict {
    Dict::from([
        ("Version", Value::from(env!("CARGO_PKG_VERSION"))),
        ("Driver", Value::from(p.driver.driver)),
        ("DriverState", Value::from(p.driver.state)),
        ("SampleRate", Value::from(p.driver.rate)),
        ("PeriodFrames", Value::from(p.driver.period)),
        ("GainDb", Value::from(p.gain_db)),
        ("Muted", Value::from(p.muted)),
        ("MicMuted", Value::from(p.mic_muted)),
        ("MinPriority", Value::from(p.min_priority.word())),
    ])
}

/// AudioOwner's properties that are announced.
pub(super) fn audio_owner(p: &OwnerProperties) -> Dict {
    Dict::from([
        ("Owner", Value::from(p.owner.clone())),
        ("State", Value::from(p.state)),
        ("Generation", Value::from(p.generation)),
    ])
}

/// All of AudioOwner's properties.
pub(super) fn audio_owner_and_counters(p: &OwnerProperties, counters: &BTreeMap<&'static str, u64>) -> Dict {
    let mut all = audio_owner(p);
    let counters: HashMap<&str, u64> = counters.iter().map(|(name, count)| (*name, *count)).collect();
    all.insert("Counters", Value::from(counters));
    all
}

/// What differs: the body of PropertiesChanged. `Id` is constant, `CollectedBytes` is not announced.
pub(super) fn changed(old: &Dict, new: &Dict) -> Dict {
    let silent = ["Id", "CollectedBytes"];
    let differs = |(key, value): &(&&'static str, &Value<'static>)| !silent.contains(key) && old.get(*key) != Some(*value);
    new.iter()
        .filter(differs)
        .map(|(key, value)| (*key, value.try_clone().unwrap_or(Value::Bool(false))))
        .collect()
}
