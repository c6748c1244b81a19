//! A host that offers nothing at all.

use utterd_plugin_api::abi::*;

pub(crate) fn host() -> UtHost {
    let none = UtStr::EMPTY;
    UtHost {
        size: size_of::<UtHost>() as u32,
        abi_minor: 0,
        ctx: std::ptr::null_mut(),
        name: none,
        version: none,
        log: None,
        log_level: None,
        metric_register: None,
        metric: None,
        health: None,
        now_ns: None,
        secret: None,
        dir: None,
        request: None,
        get_extension: None,
        cancel_ack: None,
    }
}
