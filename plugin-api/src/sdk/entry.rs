//! `export_plugin!`: the one exported symbol, the manifest in its ELF section, and the plugin's own panic hook.

use super::Host;
use super::glue::guard;
use crate::abi::*;
use std::sync::OnceLock;

/// Exports the plugin: `export_plugin!("my-id", tts: MyBackend);`, or `detector: MyDetector`, or both, in this order; with `wants: ["network"]`
/// behind it. Once per library.
///
/// It emits `utterd_plugin_v1` and, in section `.utterd.plugin`, the manifest, which hosts read without running any code. Version and
/// licence are those of the crate.
#[macro_export]
macro_rules! export_plugin {
    ($id:literal, tts: $tts:ty $(, wants: $wants:tt)? $(,)?) => {
        $crate::export_plugin!(@ $id, "\"tts\"", ::core::option::Option::Some($crate::sdk::__tts_table::<$tts>()),
            ::core::option::Option::None $(, $wants)?);
    };
    ($id:literal, detector: $detector:ty $(, wants: $wants:tt)? $(,)?) => {
        $crate::export_plugin!(@ $id, "\"detector\"", ::core::option::Option::None,
            ::core::option::Option::Some($crate::sdk::__detector_table::<$detector>()) $(, $wants)?);
    };
    ($id:literal, tts: $tts:ty, detector: $detector:ty $(, wants: $wants:tt)? $(,)?) => {
        $crate::export_plugin!(@ $id, "\"tts\",\"detector\"", ::core::option::Option::Some($crate::sdk::__tts_table::<$tts>()),
            ::core::option::Option::Some($crate::sdk::__detector_table::<$detector>()) $(, $wants)?);
    };
    (@ $id:literal, $kinds:literal, $tts:expr, $detector:expr $(, [$first:literal $(, $more:literal)*])?) => {
        const _: () = {
            const MANIFEST: &str = concat!(
                "{\"id\":\"", $id, "\",\"version\":\"", env!("CARGO_PKG_VERSION"),
                "\",\"abi\":\"1.0\",\"kinds\":[", $kinds, "],\"panic\":\"caught\",\"wants\":[",
                $("\"", $first, "\"" $(, ",\"", $more, "\"")*,)?
                "],\"license\":\"", env!("CARGO_PKG_LICENSE"), "\"}"
            );

            #[used]
            #[unsafe(link_section = ".utterd.plugin")]
            static SECTION: [u8; MANIFEST.len()] = $crate::sdk::__manifest_bytes(MANIFEST);

            static TTS: ::core::option::Option<$crate::abi::UtTts> = $tts;
            static DETECTOR: ::core::option::Option<$crate::abi::UtDetector> = $detector;

            unsafe extern "C" fn get_factory(kind: $crate::abi::UtStr) -> *const ::core::ffi::c_void {
                // SAFETY: the host lends the string for this call.
                unsafe { $crate::sdk::__factory(kind, TTS.as_ref(), DETECTOR.as_ref()) }
            }

            unsafe extern "C" fn deinit() {}

            #[allow(non_upper_case_globals, reason = "the name is the ABI's")]
            #[unsafe(no_mangle)]
            static utterd_plugin_v1: $crate::abi::UtEntry = $crate::abi::UtEntry {
                magic: $crate::abi::UT_MAGIC,
                size: ::core::mem::size_of::<$crate::abi::UtEntry>() as u32,
                abi_minor: $crate::abi::UT_ABI_MINOR,
                manifest: $crate::abi::UtStr::new(MANIFEST),
                init: Some($crate::sdk::__init),
                deinit: Some(deinit),
                get_factory: Some(get_factory),
            };
        };
    };
}

/// The manifest as the bytes of its section.
#[doc(hidden)]
pub const fn __manifest_bytes<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(text.as_bytes());
    bytes
}

/// The table for `kind`, or NULL.
///
/// # Safety
/// `kind` is readable for this call.
#[doc(hidden)]
pub unsafe fn __factory(kind: UtStr, tts: Option<&'static UtTts>, detector: Option<&'static UtDetector>) -> *const core::ffi::c_void {
    // SAFETY: the caller's promise.
    match unsafe { kind.text() } {
        Some(UT_KIND_TTS) => tts.map_or(std::ptr::null(), |table| std::ptr::from_ref(table).cast()),
        Some(UT_KIND_DETECTOR) => detector.map_or(std::ptr::null(), |table| std::ptr::from_ref(table).cast()),
        _ => std::ptr::null(),
    }
}

/// `init` of every Rust plugin.
///
/// # Safety
/// As the ABI says of `init`.
#[doc(hidden)]
pub unsafe extern "C" fn __init(host: *const UtHost, err: *mut UtErr) -> i32 {
    // SAFETY: both are lent by the host; the `UtHost` stays readable while the process lives (R5).
    unsafe {
        guard(err, || {
            if let Some(host) = Host::read(host) {
                hook_panics(host);
            }
            Ok(())
        })
    }
}

/// One line to the host's log for each panic, and no backtrace: that takes 400 µs with RUST_BACKTRACE=1. A cdylib has its own copy of std, so
/// this hook is the plugin's alone.
fn hook_panics(host: Host) {
    static HOST: OnceLock<Host> = OnceLock::new();
    if HOST.set(host).is_err() {
        return;
    }
    std::panic::set_hook(Box::new(|info| {
        if let Some(host) = HOST.get() {
            host.error(&info.to_string());
        }
    }));
}
