//! `utterd-detect`: what a detector would have done, judged on recordings. The detector comes through the daemon's loader and its findings go through
//! the daemon's policy, in the order of the stream; nothing looks ahead.
//!
//! The clock is the audio that was consumed. The agent counts as speaking from the first sample to the last, its pauses included, because a
//! recording does not say where a response began or ended. Not here: the daemon, a bus, an audio server.

mod judge;
mod wav;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use serde::Serialize;
use utterd_config::{Settings, Source};
use utterd_core::hearing::{Backchannel, BargeInPolicy, PolicySettings};

use crate::driver::sched::flush_denormals;
use crate::plugins::{self, Detector, LoadOptions};
use crate::settings;
use judge::Judge;
use wav::Recording;

/// The detector that is judged when none is named and the configuration names none.
const DEFAULT: &str = "detector-bargein";

/// Tells what a detector makes of recordings of a conversation.
///
/// Each FILE is a WAV file with two channels: 0 is the far end, what the agent plays; 1 the near end, what the microphone or the line brings. It
/// is fed to the detector in chunks of 20 ms at 8 kHz and of 10 ms at 16 and 48 kHz (other rates are resampled to one of these), as if the agent
/// spoke all the time, and the findings to utterd's two-phase policy. Each file begins anew.
///
/// Prints lines of JSON: {"file":"a.wav","t_ms":3310.0,"event":"suspected"}, where event is "suspected" (the agent pauses), "barge_in" (it is
/// confirmed: the agent is cut) or "false" (the agent goes on), and t_ms the audio consumed so far; and at the end of each file
/// {"file":"a.wav","event":"eof","audio_ms":8000.0,"cpu_ms":41.0}.
///
/// Exit status: 0 every file was judged, 1 one was not, or there is no such detector, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "utterd-detect", version)]
struct Cli {
    /// The id of the detector plugin, instead of the configured one (shipped: detector-bargein).
    #[arg(long, value_name = "ID")]
    detector: Option<String>,
    /// How easily it fires, 0 to 1, instead of the configured value (shipped: 0.5).
    #[arg(long, value_name = "0..1", value_parser = share)]
    sensitivity: Option<f32>,
    /// Look for the plugin in this folder instead of the program's own and the configured ones; may be given several times.
    #[arg(long, value_name = "DIR")]
    plugin_dir: Vec<PathBuf>,
    /// What a suspicion does: pause until it is confirmed, or cancel at once.
    #[arg(long, value_enum, default_value_t)]
    policy: PolicyName,
    /// What "mhm" does, instead of what is configured (shipped: cancel).
    #[arg(long, value_enum)]
    backchannel: Option<BackchannelName>,
    /// Read this configuration and FILE.d/*.toml instead of the installed one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How a plugin's code is met for the first time, in a child process.
    #[arg(long, value_name = "FILE", hide = true)]
    plugin_probe: Option<PathBuf>,
    /// WAV files.
    #[arg(value_name = "FILE.wav", required_unless_present = "plugin_probe")]
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum PolicyName {
    #[default]
    PauseThenConfirm,
    CancelAtOnce,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BackchannelName {
    Cancel,
    Resume,
}

fn share(text: &str) -> Result<f32, String> {
    let number: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&number) {
        Ok(number)
    } else {
        Err("not between 0 and 1".into())
    }
}

/// One line of what is printed.
#[derive(Debug, Serialize)]
struct Line<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    t_ms: Option<f64>,
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_ms: Option<f64>,
}

/// The whole program; the exit status.
pub fn main() -> i32 {
    let cli = Cli::parse();
    if let Some(file) = &cli.plugin_probe {
        return plugins::probe_main(file);
    }
    match run(&cli) {
        Ok(()) => 0,
        Err(complaint) => {
            for line in complaint.lines() {
                eprintln!("utterd-detect: {line}");
            }
            1
        }
    }
}

/// `Err`: what to say, one line each; may be empty when all was said.
fn run(cli: &Cli) -> Result<(), String> {
    let settings = configured(cli)?;
    let detector = find(cli, &settings)?;
    let mut judge = Judge::new(&detector, policy(cli, &settings));
    flush_denormals();
    let mut out = io::stdout().lock();
    let mut failed = false;
    for (n, path) in cli.files.iter().enumerate() {
        match one(&mut judge, path, &mut out) {
            Ok(()) => {}
            // Nobody reads on: then there is nothing left to do, but the exit status does not say that all was done.
            Err(Trouble::Reader(e)) if e.kind() == io::ErrorKind::BrokenPipe => {
                failed |= n + 1 < cli.files.len();
                break;
            }
            Err(Trouble::Reader(e)) => return Err(format!("cannot print: {e}")),
            Err(Trouble::File(why)) => {
                eprintln!("utterd-detect: {}: {why}", path.display());
                failed = true;
            }
        }
    }
    if failed { Err(String::new()) } else { Ok(()) }
}

enum Trouble {
    File(String),
    Reader(io::Error),
}

fn one(judge: &mut Judge<'_>, path: &Path, out: &mut impl Write) -> Result<(), Trouble> {
    let name = path.to_string_lossy();
    let line = |event| Line {
        file: &name,
        t_ms: None,
        event,
        audio_ms: None,
        cpu_ms: None,
    };
    let mut recording = Recording::open(path).map_err(Trouble::File)?;
    let mut unheard = None;
    let told = judge.hear(&mut recording, &mut |t_ms, event| {
        let t_ms = Some(t_ms);
        if unheard.is_none() {
            unheard = print(out, &Line { t_ms, ..line(event) }).err();
        }
    });
    let told = told.map_err(Trouble::File)?;
    if let Some(at) = told.paced_ms {
        let why = "the detector fires faster than people speak: not all it finds is taken";
        eprintln!("utterd-detect: {name}: at {at:.0} ms: {why}");
    }
    let end = Line {
        audio_ms: Some(told.audio_ms),
        cpu_ms: Some(told.cpu_ms),
        ..line("eof")
    };
    let unheard = unheard.or_else(|| print(out, &end).err());
    match (told.given_up.or_else(|| recording.damage()), unheard) {
        (Some(trouble), _) => Err(Trouble::File(trouble)),
        (None, Some(e)) => Err(Trouble::Reader(e)),
        (None, None) => Ok(()),
    }
}

fn print(out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn configured(cli: &Cli) -> Result<Settings, String> {
    let source = Source::user();
    let source = match &cli.config {
        Some(file) => source.with_file(file),
        None => source,
    };
    utterd_config::load(&source).map_err(|e| e.to_string())
}

fn policy(cli: &Cli, settings: &Settings) -> PolicySettings {
    let configured = settings::core(settings).barge_in;
    PolicySettings {
        policy: match cli.policy {
            PolicyName::PauseThenConfirm => BargeInPolicy::PauseThenConfirm,
            PolicyName::CancelAtOnce => BargeInPolicy::CancelAtOnce,
        },
        backchannel: match cli.backchannel {
            None => configured.backchannel,
            Some(BackchannelName::Cancel) => Backchannel::Cancel,
            Some(BackchannelName::Resume) => Backchannel::Resume,
        },
        false_interruption_us: configured.false_interruption_us,
        min_speech_us: configured.min_speech_us,
        warm_up_us: configured.warm_up_us,
        ..PolicySettings::default()
    }
}

/// The detector, loaded as the daemon loads it.
fn find(cli: &Cli, settings: &Settings) -> Result<Arc<Detector>, String> {
    let wanted = match (&cli.detector, settings.barge_in.detector.as_str()) {
        (Some(id), _) => id.clone(),
        (None, "none") => DEFAULT.to_owned(),
        (None, id) => id.to_owned(),
    };
    let mut configs = settings::plugins(settings);
    if let Some(sensitivity) = cli.sensitivity {
        let config = configs.entry(wanted.clone()).or_insert_with(|| serde_json::json!({}));
        // Through text, so that 0.7 stays 0.7.
        config["sensitivity"] = serde_json::from_str(&sensitivity.to_string()).map_err(|e| e.to_string())?;
    }
    let own_dir = own_dir();
    let dirs = if cli.plugin_dir.is_empty() {
        search(own_dir.as_deref(), settings)
    } else {
        cli.plugin_dir.clone()
    };
    let report = plugins::load(&LoadOptions {
        dirs: dirs.clone(),
        configs,
        places: settings.plugin_places.clone(),
        only: Some(wanted.clone()),
        sensitivity: Some(settings.barge_in.sensitivity as f32),
        own_dir,
        ..LoadOptions::default()
    });
    if let Some(plugin) = report.plugins.first() {
        return plugin
            .detector()
            .cloned()
            .ok_or_else(|| format!("{wanted} is a plugin, but no detector"));
    }
    let mut why = format!("no detector {wanted:?} in {}", listed(&dirs));
    let seen = others(&dirs);
    if !seen.is_empty() {
        why.push_str(&format!("\ndetectors there: {}", seen.join(", ")));
    }
    for rejected in &report.rejected {
        why.push_str(&format!("\nrejected: {rejected}"));
    }
    Err(why)
}

/// Where this program lies: a developer's build has its plugins beside it.
fn own_dir() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.to_path_buf())
}

fn search(own: Option<&Path>, settings: &Settings) -> Vec<PathBuf> {
    let installed = own.and_then(|dir| Some(dir.parent()?.join("lib/utterd/plugins")));
    let mut dirs: Vec<PathBuf> = own.map(Path::to_path_buf).into_iter().chain(installed).collect();
    for dir in &settings.plugins.dirs {
        if !dirs.contains(dir) {
            dirs.push(dir.clone());
        }
    }
    dirs
}

fn listed(dirs: &[PathBuf]) -> String {
    let names: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    names.join(", ")
}

/// The ids of the detectors that are there, to choose from.
fn others(dirs: &[PathBuf]) -> Vec<String> {
    let known: BTreeMap<String, ()> = plugins::ids(dirs, "detector").into_iter().map(|id| (id, ())).collect();
    known.into_keys().collect()
}
