//! The pump: one thread that empties the engines' taps and hands every block on to whoever listens: the streams' thread, and each detector's.
//!
//! It runs at real-time priority below the callback and does nothing but copy, so that a detector hears in time on a busy machine and a slow
//! reader of one sink cannot hold up another: a sink that is full loses the block and sees it by the frame number.
//! While nobody listens the taps are off and the thread sleeps.

use std::io;
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam::channel::{Receiver, TryRecvError, unbounded};
use utterd_rt::{TapRx, TapTx};

use super::mail::{Mail, sleep};
use crate::driver::sched;
use crate::tx::Output;

/// Between two looks while somebody listens.
const TICK: Duration = Duration::from_millis(4);
/// Below JACK's callback as the timer's is, and below the room kept for slots and children.
pub(super) const PRIORITY: i32 = 2;

/// Where blocks go.
pub(super) struct Sink {
    pub(super) tap: TapTx,
    /// Who reads it.
    pub(super) reader: Thread,
}

enum Order {
    Engine(Output, TapRx),
    Sink(Output, Sink),
    Stop,
}

/// `[any]`
#[derive(Clone)]
pub(super) struct Pump {
    orders: Mail<Order>,
}

impl Pump {
    pub(super) fn start() -> io::Result<Pump> {
        let (orders, inbox) = unbounded();
        let thread = thread::Builder::new()
            .name("utterd-rx".into())
            .spawn(move || crate::or_end("the pump of captured audio", || run(&inbox)))?;
        let orders = Mail::new(orders, thread.thread().clone());
        Ok(Pump { orders })
    }

    /// A fresh engine drives this output.
    pub(super) fn engine(&self, output: Output, tap: TapRx) {
        self.send(Order::Engine(output, tap));
    }

    /// From now on this sink gets every block of the output, until its other end is let go of.
    pub(super) fn sink(&self, output: Output, sink: Sink) {
        self.send(Order::Sink(output, sink));
    }

    pub(super) fn stop(&self) {
        self.send(Order::Stop);
    }

    fn send(&self, order: Order) {
        if !self.orders.send(order) {
            tracing::debug!("the pump has stopped");
        }
    }
}

#[derive(Default)]
struct Port {
    tap: Option<TapRx>,
    sinks: Vec<Sink>,
    /// A block that the ring's end has cut in two.
    whole: Vec<f32>,
}

fn run(inbox: &Receiver<Order>) {
    sched::flush_denormals();
    if let Err(error) = sched::become_realtime(PRIORITY) {
        tracing::info!(%error, "captured audio is handed on at ordinary priority");
    }
    let (mut local, mut null) = (Port::default(), Port::default());
    loop {
        loop {
            match inbox.try_recv() {
                Ok(Order::Engine(output, tap)) => port(&mut local, &mut null, output).take_over(tap),
                Ok(Order::Sink(output, sink)) => port(&mut local, &mut null, output).add(sink),
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => break,
            }
        }
        local.pump();
        null.pump();
        let is_idle = local.sinks.is_empty() && null.sinks.is_empty();
        sleep(inbox, (!is_idle).then_some(TICK));
    }
}

fn port<'a>(local: &'a mut Port, null: &'a mut Port, output: Output) -> &'a mut Port {
    match output {
        Output::Local => local,
        Output::Null => null,
    }
}

impl Port {
    fn take_over(&mut self, tap: TapRx) {
        self.pump();
        tap.listen(!self.sinks.is_empty());
        self.tap = Some(tap);
    }

    fn add(&mut self, sink: Sink) {
        if let Some(tap) = &mut self.tap {
            if self.sinks.is_empty() {
                // What is left of the last time somebody listened.
                while tap.take(|_, _, _| ()).is_some() {}
            }
            tap.listen(true);
        }
        self.sinks.push(sink);
    }

    fn pump(&mut self) {
        if self.sinks.is_empty() {
            return;
        }
        let (sinks, whole) = (&mut self.sinks, &mut self.whole);
        let mut has_any = false;
        if let Some(tap) = &mut self.tap {
            while let Some(block) = tap.peek() {
                tap.take(|_, first, second| {
                    whole.clear();
                    whole.extend_from_slice(first);
                    whole.extend_from_slice(second);
                });
                let (far, near) = whole.split_at(block.frames as usize);
                let near = (block.channels > 1).then_some(near);
                for sink in &mut *sinks {
                    sink.tap.push(block.frame, block.at_us, block.far_delay, far, near);
                }
                has_any = true;
            }
        }
        sinks.retain(|sink| !sink.tap.is_abandoned());
        if has_any {
            for sink in &*sinks {
                sink.reader.unpark();
            }
        }
        if sinks.is_empty()
            && let Some(tap) = &self.tap
        {
            tap.listen(false);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Instant;
    use utterd_rt::{Cycle, engine, tap};

    #[test]
    fn every_sink_gets_every_block_and_the_tap_is_off_when_the_last_has_gone() {
        let pump = Pump::start().unwrap();
        let (mut control, mut renderer) = engine(48_000);
        pump.engine(Output::Local, control.take_tap().unwrap());
        let mut ends: Vec<TapRx> = (0..3)
            .map(|_| {
                let (tap, end) = tap(100_000);
                let reader = thread::current();
                pump.sink(Output::Local, Sink { tap, reader });
                end
            })
            .collect();
        let near: Vec<f32> = (0..128).map(|n| n as f32).collect();
        let mut out = [0.0; 128];
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut frame = 0;
        let mut seen = vec![Vec::new(); 3];
        while seen.iter().any(|s| s.len() < 50) {
            assert!(Instant::now() < deadline, "{:?}", seen.iter().map(Vec::len).collect::<Vec<_>>());
            let cycle = Cycle {
                frame,
                near: Some(&near),
                ..Cycle::default()
            };
            renderer.cycle(&mut out, cycle);
            frame += 128;
            thread::park_timeout(Duration::from_millis(1));
            for (end, seen) in ends.iter_mut().zip(&mut seen) {
                while let Some(block) = end.take(|b, first, second| {
                    let samples = [first, second].concat();
                    assert_eq!(samples[128..], near);
                    b.frame
                }) {
                    seen.push(block);
                }
            }
        }
        for seen in &seen {
            assert!(seen.windows(2).all(|w| w[1] == w[0] + 128), "{seen:?}");
        }
        drop(ends);
        let (tap, late) = tap(100_000);
        thread::sleep(Duration::from_millis(50));
        for _ in 0..3 {
            renderer.cycle(&mut out, Cycle::default());
        }
        let reader = thread::current();
        pump.sink(Output::Local, Sink { tap, reader });
        thread::sleep(Duration::from_millis(50));
        let mut late = late;
        assert_eq!(late.peek(), None, "nothing was kept while nobody listened");
        pump.stop();
    }
}
