//! What the supervisor knows of the guard's orders: which capture is wanted, and which orders a keeper has not answered yet.
//!
//! Every order has exactly one answer, also when the server dies under it. Who opens and connects ports is the keeper (jack/).

use super::jack::Keeper;
use super::{DeviceAnswer, DeviceOp, DriverEvent, Of};

/// Why there is no device.
const AWAY: &str = "the audio server is away";

/// Where the orders go while they can be carried out.
pub(super) enum Where<'a> {
    Jack(&'a Keeper),
    /// A source of nothing, and routes that nobody hears.
    Timer,
    Nowhere,
}

#[derive(Default)]
pub(super) struct Captures {
    /// The capture that was ordered last and not closed.
    wanted: Option<Wanted>,
    /// With a keeper, in order.
    pending: Vec<(Of, DeviceOp)>,
}

struct Wanted {
    of: Of,
    is_open: bool,
}

impl Captures {
    pub(super) fn order(&mut self, of: Of, op: DeviceOp, to: &Where<'_>, tell: &impl Fn(DriverEvent)) {
        let answer = match (op, to) {
            (_, Where::Jack(keeper)) => {
                keeper.order(of.clone(), op);
                self.pending.push((of, op));
                return;
            }
            (DeviceOp::OpenCapture, Where::Timer) => DeviceAnswer::Opened,
            (DeviceOp::CloseCapture { .. }, _) => DeviceAnswer::Closed,
            (DeviceOp::AssertRoutes, Where::Timer) => DeviceAnswer::Asserted { repaired: 0 },
            (DeviceOp::OpenCapture | DeviceOp::AssertRoutes, Where::Nowhere) => DeviceAnswer::Failed { reason: AWAY.into() },
        };
        self.settle(of, op, answer, tell);
    }

    /// What a keeper tells.
    pub(super) fn told(&mut self, of: Of, answer: DeviceAnswer, tell: &impl Fn(DriverEvent)) {
        match answer {
            DeviceAnswer::Lost | DeviceAnswer::Back => {
                if let Some(wanted) = self.wanted.as_mut().filter(|w| w.of == of) {
                    wanted.is_open = false;
                    tell(DriverEvent::Device { of, answer });
                }
            }
            answer => {
                if let Some(at) = self.pending.iter().position(|(p, _)| *p == of) {
                    let (of, op) = self.pending.remove(at);
                    self.settle(of, op, answer, tell);
                }
            }
        }
    }

    /// The server is gone, and with it whatever was open or ordered.
    pub(super) fn lost(&mut self, tell: &impl Fn(DriverEvent)) {
        for (of, op) in std::mem::take(&mut self.pending) {
            let answer = match op {
                DeviceOp::CloseCapture { .. } => DeviceAnswer::Closed,
                DeviceOp::OpenCapture | DeviceOp::AssertRoutes => DeviceAnswer::Failed { reason: AWAY.into() },
            };
            self.settle(of, op, answer, tell);
        }
        if let Some(wanted) = self.wanted.as_mut().filter(|w| w.is_open) {
            wanted.is_open = false;
            tell(DriverEvent::Device {
                of: wanted.of.clone(),
                answer: DeviceAnswer::Lost,
            });
        }
    }

    /// What a server that has come back is to look out for.
    pub(super) fn awaited(&self) -> Option<Of> {
        self.wanted.as_ref().filter(|w| !w.is_open).map(|w| w.of.clone())
    }

    fn settle(&mut self, of: Of, op: DeviceOp, answer: DeviceAnswer, tell: &impl Fn(DriverEvent)) {
        match op {
            DeviceOp::OpenCapture => {
                let is_open = answer == DeviceAnswer::Opened;
                self.wanted = Some(Wanted { of: of.clone(), is_open });
            }
            DeviceOp::CloseCapture { capture } => {
                self.wanted.take_if(|w| w.of.order == capture);
            }
            DeviceOp::AssertRoutes => {}
        }
        tell(DriverEvent::Device { of, answer });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn of(order: u64) -> Of {
        Of {
            order,
            session: "s".into(),
            generation: order,
        }
    }

    /// What was told, by order.
    fn told(events: &RefCell<Vec<DriverEvent>>) -> Vec<(u64, DeviceAnswer)> {
        let told = events.take().into_iter().map(|event| match event {
            DriverEvent::Device { of, answer } => (of.order, answer),
            other => panic!("{other:?}"),
        });
        told.collect()
    }

    #[test]
    fn a_timer_has_a_microphone_that_opens_closes_and_is_never_lost() {
        let events = RefCell::<Vec<DriverEvent>>::default();
        let tell = |event| events.borrow_mut().push(event);
        let mut captures = Captures::default();
        captures.order(of(1), DeviceOp::OpenCapture, &Where::Timer, &tell);
        captures.order(of(2), DeviceOp::AssertRoutes, &Where::Timer, &tell);
        captures.order(of(3), DeviceOp::CloseCapture { capture: 1 }, &Where::Timer, &tell);
        captures.lost(&tell);
        let expected = [
            (1, DeviceAnswer::Opened),
            (2, DeviceAnswer::Asserted { repaired: 0 }),
            (3, DeviceAnswer::Closed),
        ];
        assert_eq!(told(&events), expected);
    }

    #[test]
    fn what_is_open_is_lost_once_and_awaited_until_it_is_closed() {
        let events = RefCell::<Vec<DriverEvent>>::default();
        let tell = |event| events.borrow_mut().push(event);
        let mut captures = Captures::default();
        captures.pending.push((of(1), DeviceOp::OpenCapture));
        captures.told(of(1), DeviceAnswer::Opened, &tell);
        captures.told(of(1), DeviceAnswer::Opened, &tell);
        assert_eq!((told(&events), captures.awaited()), (vec![(1, DeviceAnswer::Opened)], None));
        captures.lost(&tell);
        captures.lost(&tell);
        assert_eq!((told(&events), captures.awaited()), (vec![(1, DeviceAnswer::Lost)], Some(of(1))));
        captures.order(of(2), DeviceOp::CloseCapture { capture: 1 }, &Where::Nowhere, &tell);
        assert_eq!((told(&events), captures.awaited()), (vec![(2, DeviceAnswer::Closed)], None));
    }

    #[test]
    fn an_order_that_the_server_dies_under_has_one_answer() {
        let events = RefCell::<Vec<DriverEvent>>::default();
        let tell = |event| events.borrow_mut().push(event);
        let mut captures = Captures::default();
        captures.pending.push((of(1), DeviceOp::OpenCapture));
        captures.pending.push((of(2), DeviceOp::CloseCapture { capture: 1 }));
        captures.lost(&tell);
        captures.told(of(1), DeviceAnswer::Opened, &tell);
        let failed = DeviceAnswer::Failed { reason: AWAY.into() };
        assert_eq!(told(&events), [(1, failed), (2, DeviceAnswer::Closed)]);
    }
}
