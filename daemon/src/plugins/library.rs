//! The only place that maps a plugin, and the first that calls it: `dlopen` of a private copy, the entry, `init`.
//!
//! Mapped once for each content and never unmapped: TLS destructors, threads and kept pointers of a plugin outlive any `dlclose`. `RTLD_NOW`,
//! or the first call would resolve symbols on whatever thread makes it. Function pointers are read here once and kept.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use libloading::os::unix::Library;
use utterd_plugin_api::abi::*;
use utterd_plugin_api::json::Manifest;

use super::elf;
use super::host::{CancelAcks, HostSide, clean};
use super::stage::Hash;

/// Generations that one process keeps mapped (each 345 to 410 KiB).
const MAX_MAPPED: usize = 64;

/// A mapped plugin, for ever.
pub(super) struct Mapped {
    entry: UtEntry,
}

static MAPPED: Mutex<BTreeMap<Hash, &'static Mapped>> = Mutex::new(BTreeMap::new());

/// Maps the private copy `path`, whose bytes have `hash` and whose section holds `manifest`; runs its `init` the first time. `found`: where the
/// original stands.
pub(super) fn map(path: &Path, hash: Hash, manifest: &Manifest, found: &Path) -> Result<&'static Mapped, String> {
    // Nothing is half done under the lock: an entry is inserted when it is complete.
    let mut mapped = MAPPED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = mapped.get(&hash) {
        return Ok(known);
    }
    if mapped.len() >= MAX_MAPPED {
        return Err(format!("{MAX_MAPPED} versions of plugins are mapped already; restart the daemon"));
    }
    let _fp = FpMode::save();
    let flags = libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_NODELETE;
    // SAFETY: runs the library's constructors. Its file is a private copy whose ELF structure was checked to the end, whose owner may run code
    // as us anyway, and which a child process has survived mapping.
    let library = unsafe { Library::open(Some(path), flags) }.map_err(|e| format!("cannot be loaded: {}", chain(&e)))?;
    // SAFETY: the symbol is data of type UtEntry by the ABI; only its address is taken here.
    let symbol = unsafe { library.get::<*const UtEntry>(UT_SYMBOL) }.map(|s| *s);
    // Never dlclose.
    let _handle: *mut c_void = library.into_raw();
    let symbol = symbol.map_err(|_| format!("has no symbol {UT_SYMBOL}; export it (visibility default)"))?;
    // SAFETY: a live static of the library, which starts as every UtEntry ever will (R3).
    let entry = unsafe { read_sized(symbol) }.ok_or("its entry is shorter than that of ABI 1.0")?;
    if entry.magic != UT_MAGIC {
        return Err(format!("its {UT_SYMBOL} does not start with the ABI's magic"));
    }
    // SAFETY: a string of the plugin's lives while the process does (R5).
    let told = elf::parse_manifest(unsafe { entry.manifest.bytes() })?;
    if told != *manifest {
        return Err("the manifest of its entry is not that of its section: rebuild it".into());
    }
    let (Some(init), Some(_)) = (entry.init, entry.get_factory) else {
        return Err("its entry has no init or no get_factory".into());
    };
    let host = HostSide::leak(&manifest.id, found, &CancelAcks::default());
    let mut err = UtErr::new();
    // SAFETY: both arguments live through the call, the host for ever; nobody else is in this plugin yet.
    let status = unsafe { init(host.table(), &raw mut err) };
    if status != UT_OK {
        return Err(format!("its init failed: {}", describe_err(status, &err)));
    }
    let known = &*Box::leak(Box::new(Mapped { entry }));
    mapped.insert(hash, known);
    Ok(known)
}

impl Mapped {
    /// The table of TTS backends, as much of it as both sides know.
    pub(super) fn tts(&self) -> Result<UtTts, String> {
        self.table("tts", UT_KIND_TTS)
    }

    /// The table of detectors, likewise.
    pub(super) fn detector(&self) -> Result<UtDetector, String> {
        self.table("detector", UT_KIND_DETECTOR)
    }

    fn table<T: Sized1>(&self, kind: &str, factory: &str) -> Result<T, String> {
        let get = self.entry.get_factory.ok_or("no get_factory")?;
        // SAFETY: the string is static; [any].
        let table = unsafe { get(UtStr::new(factory)) };
        if table.is_null() {
            return Err(format!("its manifest says {kind}, but it has no {factory}"));
        }
        // SAFETY: by the ABI a static table of that kind, readable while the process lives (R5).
        unsafe { read_sized(table.cast::<T>()) }.ok_or_else(|| format!("its table of {kind} is shorter than that of ABI 1.0"))
    }

    /// Only for a process that ends soon: the plugin may not be used afterwards.
    pub(super) fn deinit(&self) {
        if let Some(deinit) = self.entry.deinit {
            // SAFETY: every instance was destroyed (caller), no call runs.
            unsafe { deinit() };
        }
    }
}

/// A status and the words that came with it.
pub(super) fn describe_err(status: i32, err: &UtErr) -> String {
    let words = err_words(err);
    let name = match status {
        UT_EARG => "bad argument",
        UT_EUNSUPPORTED => "not supported",
        UT_ECONFIG => "configuration",
        UT_EBACKEND => "backend",
        UT_EPANIC => "panic",
        UT_ESTATE => "state",
        UT_EBUSY => "busy",
        UT_EAUTH => "not authorised",
        UT_ENOVOICE => "no such voice",
        _ => "unknown status",
    };
    if words.is_empty() {
        format!("{name} ({status})")
    } else {
        format!("{words} ({name})")
    }
}

pub(super) fn err_words(err: &UtErr) -> String {
    clean(&err.msg[..(err.len as usize).min(err.msg.len())]).trim().to_owned()
}

fn chain(e: &dyn std::error::Error) -> String {
    match e.source() {
        Some(cause) => format!("{e}: {}", chain(cause)),
        None => e.to_string(),
    }
}

/// Puts the thread's floating-point mode back when dropped: a library built with -ffast-math turns flushing to zero on in `dlopen`.
pub(super) struct FpMode(u64);

#[cfg(target_arch = "x86_64")]
impl FpMode {
    pub(super) fn save() -> Self {
        let mut mxcsr: u32 = 0;
        // SAFETY: stores MXCSR into a local of four bytes.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack, preserves_flags)) };
        Self(u64::from(mxcsr))
    }
}

#[cfg(target_arch = "x86_64")]
impl Drop for FpMode {
    fn drop(&mut self) {
        let mxcsr = self.0 as u32;
        // SAFETY: loads a value that MXCSR held before.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack, preserves_flags, readonly)) };
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl FpMode {
    /// Other machines' start-up code leaves the mode alone.
    pub(super) fn save() -> Self {
        Self(0)
    }
}
