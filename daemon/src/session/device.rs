//! The one place that opens and closes audio: every driver of the daemon is started here by one effect of the core, and gets its orders here by
//! another one, behind the audio-owner guard. A wall test names this file.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam::channel::Sender;

use super::Fact;
use crate::driver::{DeviceAnswer, DeviceOp, Driver, DriverConfig, DriverError, DriverEvent, DriverKind, Of, PortInfo};
use crate::tx::Output;

/// The audio devices: the loudspeaker's driver, and a timer for what is heard nowhere. Clones share them. `[any]`
#[derive(Clone)]
pub struct Device {
    config: DriverConfig,
    facts: Sender<Fact>,
    drivers: Arc<Mutex<Drivers>>,
}

#[derive(Default)]
struct Drivers {
    local: Option<Driver>,
    null: Option<Driver>,
}

impl Device {
    pub fn new(config: DriverConfig, facts: Sender<Fact>) -> Self {
        Self {
            config,
            facts,
            drivers: Arc::default(),
        }
    }

    /// Starts the driver of an output; what comes of it arrives as facts. Opening twice changes nothing.
    pub fn open(&self, output: Output) -> Result<(), DriverError> {
        let mut drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
        let (slot, config) = match output {
            Output::Local => (&mut drivers.local, self.config.clone()),
            Output::Null => (
                &mut drivers.null,
                DriverConfig {
                    kind: DriverKind::Timer,
                    ..self.config.clone()
                },
            ),
        };
        if slot.is_none() {
            let facts = self.facts.clone();
            let driver = Driver::start(config, move |event| {
                if facts.send(Fact::Driver(output, event)).is_err() {
                    tracing::debug!("the daemon is stopping");
                }
            })?;
            *slot = Some(driver);
        }
        Ok(())
    }

    /// Carries out an order of the guard; the answer is a fact. A session that is heard nowhere hears nothing: its microphone is open at once.
    pub fn order(&self, output: Output, of: Of, op: DeviceOp) {
        let answer = match output {
            Output::Local => {
                let drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(driver) = &drivers.local {
                    return driver.order(of, op);
                }
                DeviceAnswer::Failed {
                    reason: "no audio driver runs".into(),
                }
            }
            Output::Null => match op {
                DeviceOp::OpenCapture => DeviceAnswer::Opened,
                DeviceOp::CloseCapture { .. } => DeviceAnswer::Closed,
                DeviceOp::AssertRoutes => DeviceAnswer::Asserted { repaired: 0 },
            },
        };
        if self.facts.send(Fact::Driver(output, DriverEvent::Device { of, answer })).is_err() {
            tracing::debug!("the daemon is stopping");
        }
    }

    /// What output and input may name.
    pub fn ports(&self) -> Vec<PortInfo> {
        let drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
        drivers.local.as_ref().map(Driver::ports).unwrap_or_default()
    }

    /// Closes everything.
    pub fn close(&self) {
        let drivers = std::mem::take(&mut *self.drivers.lock().unwrap_or_else(PoisonError::into_inner));
        for driver in [drivers.local, drivers.null].into_iter().flatten() {
            driver.stop();
        }
    }
}
