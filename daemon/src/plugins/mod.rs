//! Plugins: find, check, load. The only room that names libloading, and the only one that calls through the ABI.
//!
//! A file of a plugin folder is never mapped itself. The way in ([`load`]): `scan` opens it without following surprises and looks at owner and
//! mode; `stage` copies the opened file to a private, content-named one; `elf` reads that copy to its end and takes the manifest out of it
//! without running a byte; a child process (`probe`) runs its code for the first time; the copy is hashed again and only then mapped.
//! Whatever fails on the way is a [`Rejected`] that says what to do; nothing here panics, blocks for ever, or takes the daemon along.
//!
//! Why copies: `cp` over a mapped file is a SIGSEGV, truncation a SIGBUS, and glibc hands out the old library when a path is used twice.
//! Why never `dlclose`: TLS destructors and threads of a plugin outlive it; a generation costs 400 KiB. Not here: watching the folder
//! and running voices in a process of their own, which come with a later release; detectors have one (`isolated`) unless the configuration
//! names them.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod check;
mod check_detector;
mod check_suite;
mod detector;
mod elf;
mod host;
mod hosted;
mod instance;
mod isolated;
mod library;
mod listen;
mod pcm;
mod probe;
mod scan;
mod schema;
mod sink;
mod stage;
mod table;
mod tts;
mod types;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use utterd_plugin_api::json::Manifest;

use isolated::Isolated;

pub use detector::{
    Detector, DetectorCounts, DetectorError, DetectorFault, DetectorInfo, DetectorInput, DetectorOutput, DetectorStream,
    DetectorStreamSpec, InputFlags,
};
pub use host::CancelAcks;
pub use hosted::host_main;
pub use probe::probe_main;
pub use tts::{TtsBackend, TtsCalls, TtsInfo};
pub use types::{BackendCounts, CancelWay, MarkKind, SpeakEnd, SpeakRequest, SpeakSink, SynthError, Voice};

/// What is to be loaded, and how carefully.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Plugin folders, in order of precedence: of two plugins with one id the first folder's wins.
    pub dirs: Vec<PathBuf>,
    /// Each plugin's own configuration, by id; none = `{}`.
    pub configs: BTreeMap<String, serde_json::Value>,
    /// Where the keys of those were written, `file:line`.
    pub places: BTreeMap<String, BTreeMap<String, String>>,
    /// Ids that are not to be loaded.
    pub disabled: Vec<String>,
    /// The one id that is wanted; `None` = all.
    pub only: Option<String>,
    /// How easily detectors fire that have such a setting and were given none of their own.
    pub sensitivity: Option<f32>,
    /// The folder of our own program: its files are trusted as far as the program itself is, so that a developer's build works as it lies there.
    pub own_dir: Option<PathBuf>,
    /// The ids of the detectors that run in this process, others having one of their own; `None` = all of them.
    pub inproc: Option<Vec<String>>,
    /// Who runs a plugin's code for the first time, and detectors that have a process of their own.
    pub probe: Probe,
    /// How long that may take.
    pub probe_timeout: Duration,
    /// Where the private copies stand; `None` = the first of `$RUNTIME_DIRECTORY`, `$XDG_RUNTIME_DIR`, `/tmp` that is ours and not noexec.
    pub private_dir: Option<PathBuf>,
    /// Who hears how servers answer cancels.
    pub cancel_acks: CancelAcks,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            dirs: Vec::new(),
            configs: BTreeMap::new(),
            places: BTreeMap::new(),
            disabled: Vec::new(),
            only: None,
            sensitivity: None,
            own_dir: None,
            inproc: None,
            probe: Probe::OwnProgram,
            probe_timeout: Duration::from_secs(10),
            private_dir: None,
            cancel_acks: CancelAcks::default(),
        }
    }
}

/// Who runs a plugin's code for the first time, and detectors that have a process of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// `/proc/self/exe --plugin-probe FILE`: a child of the daemon's own program, which must call [`probe_main`], and for `--plugin-host FILE`
    /// [`host_main`].
    OwnProgram,
    /// `PROGRAM` with the same, for programs that are not utterd, such as tests.
    Program(PathBuf),
    /// Nobody: straight into this process. For the child itself, and for tests that trust their plugin.
    Skip,
}

impl Probe {
    fn program(&self) -> Option<PathBuf> {
        match self {
            Probe::Skip => None,
            Probe::OwnProgram => Some(PathBuf::from("/proc/self/exe")),
            Probe::Program(program) => Some(program.clone()),
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct LoadReport {
    /// Loaded and ready, in the order in which they were found.
    pub plugins: Vec<Arc<Plugin>>,
    /// Those that the configuration does not want.
    pub disabled: Vec<Disabled>,
    /// Everything else that ended in `.so`.
    pub rejected: Vec<Rejected>,
}

/// What a file says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    pub id: String,
    pub version: String,
    /// As of [`Plugin`].
    pub kinds: Vec<&'static str>,
}

/// A plugin that the configuration disables: nothing of it was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabled {
    pub identity: Identity,
    pub path: PathBuf,
}

/// A file that was not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Empty if the file does not say.
    pub identity: Identity,
    pub path: PathBuf,
    /// Why, and what to do about it: one line for people.
    pub reason: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

/// A loaded plugin. Its code stays mapped while the process lives.
#[derive(Debug)]
pub struct Plugin {
    pub id: String,
    pub version: String,
    /// Of `tts`, `detector`, `telephony`: what the file says it holds.
    pub kinds: Vec<&'static str>,
    /// Where it was found.
    pub path: PathBuf,
    tts: Option<Arc<TtsBackend>>,
    detector: Option<Arc<Detector>>,
    is_isolated: bool,
}

impl Plugin {
    /// Its TTS backend, if it has one. `[any]`
    pub fn tts(&self) -> Option<&Arc<TtsBackend>> {
        self.tts.as_ref()
    }

    /// Its detector has a process of its own for each stream. `[any]`
    pub fn is_isolated(&self) -> bool {
        self.is_isolated
    }

    /// Its detector, if it has one. `[any]`
    pub fn detector(&self) -> Option<&Arc<Detector>> {
        self.detector.as_ref()
    }
}

/// Loads what the folders hold, with the shipped rules. `[control]`
pub fn load_folders(dirs: &[PathBuf], configs: &BTreeMap<String, serde_json::Value>, disabled: &[String]) -> LoadReport {
    load(&LoadOptions {
        dirs: dirs.to_vec(),
        configs: configs.clone(),
        disabled: disabled.to_vec(),
        ..LoadOptions::default()
    })
}

/// Loads what the folders hold. Blocks for as long as the plugins' probes take. `[control]`
pub fn load(options: &LoadOptions) -> LoadReport {
    let mut report = LoadReport::default();
    let private = stage::private_dir(options.private_dir.as_deref());
    for dir in &options.dirs {
        for path in scan::candidates(dir, &mut report.rejected) {
            let loaded = match &private {
                Ok(private) => load_one(&path, private, options, &report.plugins),
                Err(reason) => Err((Identity::default(), reason.clone())),
            };
            match loaded {
                Ok(Found::Plugin(plugin)) => report.plugins.push(Arc::new(*plugin)),
                Ok(Found::Disabled(disabled)) => report.disabled.push(disabled),
                Ok(Found::Other) => {}
                Err((identity, reason)) => report.rejected.push(Rejected { identity, path, reason }),
            }
        }
    }
    if let Ok(private) = &private {
        stage::tidy(private);
    }
    report
}

/// The ids of the plugins of one kind in these folders, by what their files say, without running any. `[control]`
pub fn ids(dirs: &[PathBuf], kind: &str) -> Vec<String> {
    let files = dirs.iter().flat_map(|dir| scan::candidates(dir, &mut Vec::new()));
    let manifests = files.filter_map(|path| elf::inspect(&std::fs::read(path).ok()?).ok());
    manifests.filter(|m| m.kinds.iter().any(|k| k == kind)).map(|m| m.id).collect()
}

/// What a file turned out to be.
enum Found {
    Plugin(Box<Plugin>),
    Disabled(Disabled),
    /// Not the one that was asked for.
    Other,
}

/// One file, through every step. The error: what it says of itself, if that much could be read, and why it is not loaded.
fn load_one(path: &Path, private: &Path, options: &LoadOptions, before: &[Arc<Plugin>]) -> Result<Found, (Identity, String)> {
    let (staged, manifest) = read(path, private, options).map_err(|reason| (Identity::default(), reason))?;
    if options.only.as_ref().is_some_and(|only| *only != manifest.id) {
        return Ok(Found::Other);
    }
    let identity = Identity {
        id: manifest.id.clone(),
        version: manifest.version.clone(),
        kinds: KINDS.into_iter().filter(|k| manifest.kinds.iter().any(|m| m == k)).collect(),
    };
    if options.disabled.contains(&identity.id) {
        tracing::info!(plugin = identity.id, path = %path.display(), "disabled by the configuration");
        return Ok(Found::Disabled(Disabled {
            identity,
            path: path.to_path_buf(),
        }));
    }
    start(path, staged, manifest, &identity.kinds, options, before).map_err(|reason| (identity, reason))
}

/// The private copy of a file and its manifest; nothing of it has run.
fn read(path: &Path, private: &Path, options: &LoadOptions) -> Result<(stage::Staged, Manifest), String> {
    let trusted = match &options.own_dir {
        Some(dir) if path.parent() == Some(dir) => scan::own_program(),
        _ => None,
    };
    let staged = stage::stage(scan::open(path, trusted.as_ref())?, private)?;
    let manifest = elf::inspect(&staged.bytes)?;
    Ok((staged, manifest))
}

fn start(
    path: &Path,
    staged: stage::Staged,
    manifest: Manifest,
    kinds: &[&'static str],
    options: &LoadOptions,
    before: &[Arc<Plugin>],
) -> Result<Found, String> {
    let id = &manifest.id;
    if let Some(first) = before.iter().find(|p| p.id == *id) {
        return Err(format!(
            "the plugin {id:?} was loaded from {} already, which comes first; remove one of the two",
            first.path.display()
        ));
    }
    if !kinds.contains(&"tts") && !kinds.contains(&"detector") {
        return Err(format!(
            "it holds {:?}; this release runs plugins of the kinds \"tts\" and \"detector\"",
            manifest.kinds
        ));
    }
    let config = match options.configs.get(id) {
        None => "{}".to_owned(),
        Some(value) => value.to_string(),
    };
    let told = |refused: schema::Refused| refused.told(options.places.get(id));
    let program = options.probe.program();
    let info = match &program {
        Some(program) => probe::run(program, &staged.path, &config, options.probe_timeout).map_err(told)?,
        None => None,
    };
    if stage::rehash(&staged.path)? != staged.hash {
        return Err(format!(
            "its private copy {} was changed while it was probed",
            staged.path.display()
        ));
    }
    let is_apart = options.inproc.as_ref().is_some_and(|inproc| !inproc.contains(id));
    let apart = program.zip(info).filter(|_| is_apart).map(|(program, info)| {
        let isolated = Isolated {
            program,
            copy: staged.path.clone(),
            hash: staged.hash,
            found: path.to_path_buf(),
            config: config.clone(),
            sensitivity: options.sensitivity,
            cleans: info.cleans,
        };
        // Who calls it waits for another process.
        (DetectorInfo { hard_rt: false, ..info }, isolated)
    });
    let here: Vec<&str> = kinds
        .iter()
        .copied()
        .filter(|kind| *kind != "detector" || apart.is_none())
        .collect();
    let mut parts = Parts::default();
    if !here.is_empty() {
        let mapped = library::map(&staged.path, staged.hash, &manifest, path)?;
        parts = Parts::create(mapped, &here, id, path, &config, options).map_err(told)?;
    }
    // The copy is in use for good: its code stays mapped, or each of its processes maps it anew.
    std::mem::forget(staged.lock);
    let voices = parts.tts.as_ref().map(|(info, _)| info.voices.len());
    let isolated = apart.is_some();
    tracing::info!(plugin = id.as_str(), version = manifest.version, ?kinds, voices, isolated, path = %path.display(), "loaded");
    let detector = match apart {
        Some((info, isolated)) => {
            let detector = Detector::new(info, Box::new(isolated));
            // Once, so that what does not work there is told now and not by the first session.
            detector.open(detector.usual_stream()).map_err(|e| e.to_string())?;
            Some(detector)
        }
        None => parts.detector.map(|(info, listener)| Detector::new(info, Box::new(listener))),
    };
    Ok(Found::Plugin(Box::new(Plugin {
        id: manifest.id,
        version: manifest.version,
        kinds: kinds.to_vec(),
        path: path.to_path_buf(),
        tts: parts
            .tts
            .map(|(info, instance)| Arc::new(TtsBackend::new(info, Box::new(instance)))),
        detector: detector.map(Arc::new),
        is_isolated: isolated,
    })))
}

/// The instances of a plugin in this process, one a kind.
#[derive(Default)]
struct Parts {
    tts: Option<(TtsInfo, table::Instance)>,
    detector: Option<(DetectorInfo, listen::Listener)>,
}

impl Parts {
    fn create(
        mapped: &library::Mapped,
        kinds: &[&str],
        id: &str,
        found: &Path,
        config: &str,
        options: &LoadOptions,
    ) -> Result<Self, schema::Refused> {
        let mut parts = Self::default();
        if kinds.contains(&"tts") {
            let instance = table::Instance::create(mapped, id, found, config, &options.cancel_acks)?;
            parts.tts = Some((instance.describe(id)?, instance));
        }
        if kinds.contains(&"detector") {
            let listener = listen::Listener::create(mapped, id, found, config, options.sensitivity)?;
            parts.detector = Some((listener.describe(id)?, listener));
        }
        Ok(parts)
    }
}

/// The kinds of plugins that the ABI knows.
const KINDS: [&str; 3] = ["tts", "detector", "telephony"];
