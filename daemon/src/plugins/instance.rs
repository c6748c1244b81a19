//! What instances of all kinds have at their head: made, described, destroyed. The calls of a kind stand in `table.rs` and `listen.rs`.

use std::ffi::c_void;
use std::path::Path;

use serde::de::DeserializeOwned;
use utterd_plugin_api::abi::*;

use super::host::{CancelAcks, HostSide};
use super::library::{FpMode, describe_err};
use super::schema::{self, Refused};

/// No description is longer.
const MAX_DESCRIPTION: usize = 4 << 20;

/// An instance of any kind.
pub(super) struct Handle {
    common: UtCommon,
    inst: *mut c_void,
    host: &'static HostSide,
}

// SAFETY: an instance is a handle; R10 says which calls may overlap, and the owners of the kinds keep to it.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// Makes one of the kind whose table begins with `common`; `config` is a JSON object, `found` where the plugin's original stands.
    pub(super) fn create(common: UtCommon, id: &str, found: &Path, config: &str, acks: &CancelAcks) -> Result<Self, Refused> {
        let (Some(create), Some(_), Some(_)) = (common.create, common.destroy, common.describe) else {
            return Err("its table lacks create, destroy or describe".into());
        };
        schema::check(common, id, config)?;
        let host = HostSide::leak(id, found, acks);
        let _fp = FpMode::save();
        let mut inst = std::ptr::null_mut();
        let mut err = UtErr::new();
        // SAFETY: all arguments live through the call, the host for ever; [setup], on the control thread that loads.
        let status = unsafe { create(host.table(), UtStr::new(id), UtStr::new(config), &raw mut inst, &raw mut err) };
        if status != UT_OK {
            return Err(format!("it does not start: {}", describe_err(status, &err)).into());
        }
        Ok(Self { common, inst, host })
    }

    /// What its functions are given.
    pub(super) fn inst(&self) -> *mut c_void {
        self.inst
    }

    /// What it says of itself.
    pub(super) fn describe<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(&self.description()?).map_err(|e| format!("its describe() is not as the ABI wants it: {e}"))
    }

    fn description(&self) -> Result<Vec<u8>, String> {
        let describe = self.common.describe.ok_or("no describe")?;
        let mut text: Vec<u8> = Vec::new();
        let out = UtTextOut {
            size: size_of::<UtTextOut>() as u32,
            flags: 0,
            ctx: (&raw mut text).cast(),
            write: Some(collect),
        };
        // SAFETY: the instance lives, `out` and what it points to do through the call; [setup].
        let status = unsafe { describe(self.inst, &raw const out) };
        match status {
            UT_OK if text.len() <= MAX_DESCRIPTION => Ok(text),
            UT_OK => Err(format!("its describe() has more than {MAX_DESCRIPTION} bytes")),
            status => Err(format!("its describe() failed: {}", describe_err(status, &UtErr::new()))),
        }
    }
}

unsafe extern "C" fn collect(ctx: *mut c_void, chunk: UtStr) {
    // SAFETY: `ctx` is the Vec of the `description` that waits for this call; the chunk is borrowed for it.
    let (Some(text), chunk) = (unsafe { ctx.cast::<Vec<u8>>().as_mut() }, unsafe { chunk.bytes() }) else {
        return;
    };
    if text.len() <= MAX_DESCRIPTION {
        text.extend_from_slice(&chunk[..chunk.len().min(MAX_DESCRIPTION + 1)]);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(destroy) = self.common.destroy {
            let _fp = FpMode::save();
            // SAFETY: the last owner is gone, so every call has returned (R10); never called again.
            unsafe { destroy(self.inst) };
        }
        self.host.close();
    }
}
