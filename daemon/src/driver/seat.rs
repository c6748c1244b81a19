//! Where the renderer sits while a driver calls it, the same for every driver: one [`RenderSeat::cycle`] a period.
//!
//! The renderer can be exchanged without touching the audio connection: a new one comes in by a ring, the old one leaves by another. That is
//! how a panic or a new sample rate is answered. A panic becomes silence here and nowhere else, and is told by a flag.
//! The levels in [`Watch`] are all the supervisor knows of a driver; nothing in `cycle` waits for it.

use super::sched;
use rtrb::{Consumer, Producer, RingBuffer};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::*};
use utterd_rt::{Cycle, Renderer};

/// A gap between two callbacks beyond this is a stall (T3).
pub(super) const STALL_US: u64 = 300_000;

/// Levels of one open driver, written by its threads and read by the supervisor. `[any]`
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// When `cycle` was last entered; 0 before the first time.
    pub(super) called_us: AtomicU64,
    /// The longest stall that has ended and was not told yet.
    pub(super) stall_us: AtomicU64,
    pub(super) period: AtomicU32,
    pub(super) rate: AtomicU32,
    pub(super) latency: AtomicU32,
    /// Of the microphone, while one is open.
    pub(super) capture_latency: AtomicU32,
    pub(super) xruns: AtomicU64,
    /// The server told us that it is gone.
    pub(super) has_ended: AtomicBool,
    pub(super) has_panicked: AtomicBool,
    /// Nobody wants this driver any more: whoever opens it closes it again.
    pub(super) is_retired: AtomicBool,
    /// The render thread; 0 before its first cycle.
    pub(super) tid: AtomicI32,
    /// Makes the next cycle panic, once.
    #[cfg(test)]
    pub(super) poison: AtomicBool,
}

/// The supervisor's side of a seat. `[control]`
#[derive(Debug)]
pub(super) struct Replace {
    incoming: Producer<Renderer>,
    outgoing: Consumer<Renderer>,
}

impl Replace {
    /// Hands a new renderer in; it plays from the next cycle on. Refused while the last exchange is still on its way.
    pub(super) fn put(&mut self, renderer: Renderer) -> Result<(), Renderer> {
        self.incoming.push(renderer).map_err(|rtrb::PushError::Full(renderer)| renderer)
    }

    /// Frees the renderers that left.
    pub(super) fn collect(&mut self) {
        while let Ok(renderer) = self.outgoing.pop() {
            drop(renderer);
        }
    }
}

pub(super) struct RenderSeat {
    renderer: Renderer,
    incoming: Consumer<Renderer>,
    outgoing: Producer<Renderer>,
    watch: Arc<Watch>,
    /// The renderer panicked and is not to be called again.
    is_broken: bool,
}

impl RenderSeat {
    pub(super) fn new(renderer: Renderer, watch: Arc<Watch>) -> (RenderSeat, Replace) {
        let (put, incoming) = RingBuffer::new(1);
        let (outgoing, leave) = RingBuffer::new(2);
        let seat = RenderSeat {
            renderer,
            incoming,
            outgoing,
            watch,
            is_broken: false,
        };
        (
            seat,
            Replace {
                incoming: put,
                outgoing: leave,
            },
        )
    }

    /// Fills `out`. Never allocates, locks or calls the system, but for the thread's very first cycle. `[rt & active]`
    pub(super) fn cycle(&mut self, out: &mut [f32], cycle: Cycle<'_>) {
        let now_us = sched::now_us();
        let last_us = self.watch.called_us.swap(now_us.max(1), AcqRel);
        if last_us == 0 {
            self.first();
        } else if now_us.saturating_sub(last_us) > STALL_US {
            self.watch.stall_us.fetch_max(now_us - last_us, AcqRel);
        }
        if !self.outgoing.is_full()
            && let Ok(new) = self.incoming.pop()
        {
            let old = std::mem::replace(&mut self.renderer, new);
            // Cannot fail: only this thread fills the ring, and it has just seen room.
            if let Err(rtrb::PushError::Full(old)) = self.outgoing.push(old) {
                std::mem::forget(old);
            }
            self.is_broken = false;
        }
        if self.is_broken {
            out.fill(0.0);
            return;
        }
        let rendered = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(test)]
            if self.watch.poison.swap(false, AcqRel) {
                panic!("poisoned by a test");
            }
            self.renderer.cycle(out, cycle);
        }));
        if let Err(payload) = rendered {
            // Freeing the payload is as wrong here as allocating it was; once per panic is no leak to speak of.
            std::mem::forget(payload);
            out.fill(0.0);
            self.is_broken = true;
            self.watch.has_panicked.store(true, Release);
        }
    }

    fn first(&self) {
        sched::mark_render_thread();
        sched::flush_denormals();
        sched::touch_stack();
        self.watch.tid.store(rustix::thread::gettid().as_raw_nonzero().get(), Release);
    }
}
