//! The audio device of a world: a microphone for each output that takes its time, can be dead, away, or lose its ports, on request.

use std::collections::BTreeMap;

use utterd_core::{DeviceEvent, DeviceOp, Effect, Input, Micros, OrderId, Output};

use super::{Event, World};

#[derive(Debug, Default)]
pub(crate) struct Device {
    /// From an order to its answer.
    pub(crate) answer_us: Micros,
    pub(crate) busy_until: Micros,
    /// Orders are not even read, until it lives again.
    pub(crate) is_dead: bool,
    pub(crate) unread: Vec<Effect>,
    /// No port to capture from.
    pub(crate) away: bool,
    /// Connections that are not as they should be.
    pub(crate) wrong_routes: u32,
    /// What is open or waits for its return: "" is the microphone, each session of output "null" has its own.
    pub(crate) captures: BTreeMap<String, Capture>,
    /// Orders as they came, with the session they name.
    pub(crate) orders: Vec<(DeviceOp, String, u64)>,
    /// Ports that were really opened and closed.
    pub(crate) touched: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Capture {
    pub(crate) order: OrderId,
    pub(crate) is_open: bool,
}

impl World {
    pub(crate) fn order_device(&mut self, effect: &Effect) {
        let Effect::Device {
            order,
            op,
            output,
            session,
            generation,
        } = effect
        else {
            return;
        };
        self.device.orders.push((*op, session.clone(), *generation));
        if self.device.is_dead && *output == Output::Local {
            self.device.unread.push(effect.clone());
            return;
        }
        self.take_order(*order, *op, *output, session);
    }

    /// Reads what came while it was dead.
    pub(crate) fn revive_device(&mut self) {
        self.device.is_dead = false;
        for effect in std::mem::take(&mut self.device.unread) {
            if let Effect::Device {
                order,
                op,
                output,
                session,
                ..
            } = effect
            {
                self.take_order(order, op, output, &session);
            }
        }
    }

    fn take_order(&mut self, order: OrderId, op: DeviceOp, output: Output, session: &str) {
        // Orders are carried out one after the other, as they came.
        let after = self.chance(self.device.answer_us);
        self.device.busy_until = self.device.busy_until.max(self.now + after);
        let after = self.device.busy_until - self.now;
        let place = if output == Output::Local { "" } else { session };
        self.later(after, Event::Device(order, op, place.to_owned()));
    }

    /// The device carries out an order, and answers.
    pub(crate) fn device_works(&mut self, order: OrderId, op: DeviceOp, place: String) {
        let output = if place.is_empty() { Output::Local } else { Output::Null };
        let event = match op {
            DeviceOp::OpenCapture => {
                let away = self.device.away && output == Output::Local;
                self.device.touched += u64::from(!away);
                self.device.captures.insert(place, Capture { order, is_open: !away });
                if away {
                    DeviceEvent::Failed { reason: "away".into() }
                } else {
                    DeviceEvent::Opened
                }
            }
            DeviceOp::CloseCapture { capture } => {
                if self.device.captures.get(&place).is_some_and(|c| c.order == capture) {
                    self.device.captures.remove(&place);
                    self.device.touched += 1;
                }
                DeviceEvent::Closed
            }
            DeviceOp::AssertRoutes => DeviceEvent::Asserted {
                repaired: std::mem::take(&mut self.device.wrong_routes),
            },
        };
        self.device_tells(order, output, event);
    }

    /// The microphone goes away or comes back, and the device says so this often.
    pub(crate) fn microphone(&mut self, away: bool, times: u32) {
        self.device.away = away;
        let Some(capture) = self.device.captures.get_mut("").filter(|c| c.is_open == away) else {
            return;
        };
        if away {
            capture.is_open = false;
        }
        let order = capture.order;
        for _ in 0..times {
            let event = if away { DeviceEvent::Lost } else { DeviceEvent::Back };
            self.device_tells(order, Output::Local, event);
        }
    }

    fn device_tells(&mut self, order: OrderId, output: Output, event: DeviceEvent) {
        self.deliver(0, Input::Device { order, output, event });
    }
}
