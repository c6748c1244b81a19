//! What the daemon does for a plugin: its log lines become ours, and it gets a clock, folders and secrets. One `UtHost` for each instance, leaked
//! on purpose: R5 lets a plugin read it while the process lives, and instances are few.

use std::ffi::c_void;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::level_filters::LevelFilter;
use utterd_plugin_api::abi::*;

/// Longer lines are cut (header: `log`).
const MAX_LINE: usize = 480;

/// An instance's host (or that of `init`), for ever.
pub(super) struct HostSide {
    table: UtHost,
    id: String,
    /// Where the plugin's file was found.
    folder: PathBuf,
    acks: CancelAcks,
    /// Cleared by `destroy()`: later calls are dropped.
    open: AtomicBool,
}

/// Who hears how a server answered a cancel (the backend, the synthesis, and `UT_OK`, `UT_TIMEOUT` or `UT_EBACKEND`), and what a plugin says of
/// its health. Called on threads of plugins.
#[derive(Clone, Default)]
pub struct CancelAcks(Option<Arc<HearAck>>, Option<Arc<HearHealth>>);

type HearAck = dyn Fn(&str, u64, i32) + Send + Sync;
type HearHealth = dyn Fn(&str, Result<(), String>) + Send + Sync;

impl CancelAcks {
    pub fn new(hear: impl Fn(&str, u64, i32) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hear)), None)
    }

    /// And what a plugin says of itself: it is well, or it has failed. That it is degraded is for the log.
    pub fn and_health(self, hear: impl Fn(&str, Result<(), String>) + Send + Sync + 'static) -> Self {
        Self(self.0, Some(Arc::new(hear)))
    }
}

impl fmt::Debug for CancelAcks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelAcks").field(&self.0.is_some()).finish()
    }
}

// SAFETY: the table's raw pointers are to static strings and to this very struct, which is never freed; the rest is Sync by itself.
unsafe impl Sync for HostSide {}
// SAFETY: as above.
unsafe impl Send for HostSide {}

impl HostSide {
    pub(super) fn leak(id: &str, found: &Path, acks: &CancelAcks) -> &'static Self {
        let folder = found.parent().unwrap_or(Path::new("/")).to_path_buf();
        let table = UtHost {
            size: size_of::<UtHost>() as u32,
            abi_minor: UT_ABI_MINOR,
            ctx: std::ptr::null_mut(),
            name: UtStr::new("utterd"),
            version: UtStr::new(env!("CARGO_PKG_VERSION")),
            log: Some(log),
            log_level: Some(log_level),
            metric_register: Some(metric_register),
            metric: Some(metric),
            health: Some(health),
            now_ns: Some(now_ns),
            secret: Some(secret),
            dir: Some(dir),
            request: Some(request),
            get_extension: Some(get_extension),
            cancel_ack: Some(cancel_ack),
        };
        let side = Box::leak(Box::new(Self {
            table,
            id: id.to_owned(),
            folder,
            acks: acks.clone(),
            open: AtomicBool::new(true),
        }));
        side.table.ctx = std::ptr::from_mut(side).cast();
        side
    }

    pub(super) fn table(&self) -> *const UtHost {
        &raw const self.table
    }

    pub(super) fn close(&self) {
        self.open.store(false, Ordering::Release);
    }
}

/// Runs `f` for the plugin behind `ctx`; a panic of ours stays ours, and a closed host is silent.
fn with<T>(ctx: *mut c_void, otherwise: T, f: impl FnOnce(&'static HostSide) -> T) -> T {
    // SAFETY: the only `ctx` we ever hand out is that of a leaked `HostSide`.
    let Some(side) = (unsafe { ctx.cast::<HostSide>().cast_const().as_ref() }) else {
        return otherwise;
    };
    if !side.open.load(Ordering::Acquire) {
        return otherwise;
    }
    catch_unwind(AssertUnwindSafe(|| f(side))).unwrap_or(otherwise)
}

/// A string of the plugin's, shown as it is, cut, without control characters.
fn line(s: UtStr) -> String {
    // SAFETY: inputs are borrowed for the call (R5).
    let bytes = unsafe { s.bytes() };
    clean(&bytes[..bytes.len().min(MAX_LINE)])
}

/// Text from outside for one line of a log or an error.
pub(super) fn clean(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

unsafe extern "C" fn log(ctx: *mut c_void, level: u32, session: u64, utterance: u64, target: UtStr, msg: UtStr) {
    with(ctx, (), |side| {
        let (target, msg, plugin) = (line(target), line(msg), side.id.as_str());
        match level {
            0 | 1 => tracing::error!(plugin, session, utterance, target, "{msg}"),
            2 => tracing::warn!(plugin, session, utterance, target, "{msg}"),
            3 => tracing::info!(plugin, session, utterance, target, "{msg}"),
            4 => tracing::debug!(plugin, session, utterance, target, "{msg}"),
            _ => tracing::trace!(plugin, session, utterance, target, "{msg}"),
        }
    });
}

unsafe extern "C" fn log_level(_: *mut c_void) -> u32 {
    let now = LevelFilter::current();
    [
        LevelFilter::OFF,
        LevelFilter::ERROR,
        LevelFilter::WARN,
        LevelFilter::INFO,
        LevelFilter::DEBUG,
    ]
    .iter()
    .position(|level| *level == now)
    .map_or(5, |n| n as u32)
}

/// Refused: plugins' own metrics come with process isolation, which has to carry them across anyway.
unsafe extern "C" fn metric_register(_: *mut c_void, _: u32, _: UtStr, _: UtStr, _: UtStr) -> u32 {
    0
}

unsafe extern "C" fn metric(_: *mut c_void, _: u32, _: f64) {}

unsafe extern "C" fn health(ctx: *mut c_void, state: u32, code: i32, msg: UtStr) {
    with(ctx, (), |side| {
        let (plugin, msg) = (side.id.as_str(), line(msg));
        match state {
            0 => tracing::info!(plugin, code, "healthy again: {msg}"),
            1 => tracing::warn!(plugin, code, "degraded: {msg}"),
            _ => tracing::error!(plugin, code, "failed: {msg}"),
        }
        let news = match state {
            0 => Ok(()),
            1 => return,
            _ => Err(msg.clone()),
        };
        if let Some(hear) = &side.acks.1 {
            hear(plugin, news);
        }
    });
}

unsafe extern "C" fn now_ns(_: *mut c_void) -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

unsafe extern "C" fn secret(ctx: *mut c_void, name: UtStr, buf: *mut u8, cap: u32) -> i32 {
    with(ctx, UT_EARG, |_| {
        // SAFETY: inputs are borrowed for the call (R5).
        let name = unsafe { name.text() }.unwrap_or_default();
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return UT_EARG;
        }
        let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
            return UT_EUNSUPPORTED;
        };
        match std::fs::read(PathBuf::from(folder).join(name)) {
            // SAFETY: the plugin lends `cap` writable bytes.
            Ok(bytes) => unsafe { give(&bytes, buf, cap) },
            Err(_) => UT_EARG,
        }
    })
}

unsafe extern "C" fn dir(ctx: *mut c_void, which: u32, buf: *mut u8, cap: u32) -> i32 {
    use std::os::unix::ffi::OsStrExt as _;
    with(ctx, UT_EARG, |side| {
        // What systemd gives a service; a list has its first entry.
        let given = |name: &str| {
            let all = std::env::var_os(name)?;
            let first = all.as_bytes().split(|b| *b == b':').next().filter(|d| !d.is_empty())?;
            Some(PathBuf::from(std::ffi::OsStr::from_bytes(first)))
        };
        let path = match which {
            1 => given("STATE_DIRECTORY").map(|d| d.join(&side.id)),
            2 => given("CACHE_DIRECTORY").map(|d| d.join(&side.id)),
            3 => given("STATE_DIRECTORY").map(|d| d.join("models")),
            4 => Some(side.folder.clone()),
            _ => return UT_EARG,
        };
        // SAFETY: the plugin lends `cap` writable bytes.
        path.map_or(UT_EUNSUPPORTED, |path| unsafe { give(path.as_os_str().as_bytes(), buf, cap) })
    })
}

/// Fills a plugin's buffer, whole or not at all.
///
/// # Safety
/// `buf` is NULL or has `cap` writable bytes.
unsafe fn give(bytes: &[u8], buf: *mut u8, cap: u32) -> i32 {
    let Ok(len) = i32::try_from(bytes.len()) else {
        return UT_EARG;
    };
    if buf.is_null() || bytes.len() > cap as usize {
        return UT_EARG;
    }
    // SAFETY: at most `cap` bytes (caller's promise), and the plugin's buffer is none of ours.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buf, bytes.len()) };
    len
}

unsafe extern "C" fn request(ctx: *mut c_void, what: u32) {
    with(ctx, (), |side| {
        tracing::info!(plugin = side.id.as_str(), what, "asks for a restart, which needs a later release")
    });
}

unsafe extern "C" fn get_extension(_: *mut c_void, _: UtStr) -> *const c_void {
    std::ptr::null()
}

unsafe extern "C" fn cancel_ack(ctx: *mut c_void, synthesis: u64, status: i32) {
    with(ctx, (), |side| {
        tracing::debug!(plugin = side.id.as_str(), synthesis, status, "the server answered a cancel");
        if let Some(hear) = &side.acks.0 {
            hear(&side.id, synthesis, status);
        }
    });
}
