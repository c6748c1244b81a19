//! The engine: the pair of halves, the way lanes come in and go home, and the mix of one period.

use crate::clock::Clock;
use crate::lane::LaneRx;
use crate::stats::{StatsHandle, Tally};
use crate::tap::{TapRx, TapTx, tap};
use crate::tx::LaneTx;
use crate::{COMMANDS, FACTS, Full, LaneSpec, MAX_LANES, MAX_SPANS, TAP_FRAMES};
use core::mem::MaybeUninit;
use rtrb::{Consumer, Producer, RingBuffer};

/// Makes the two halves of an engine for `rate` frames a second. `[control]`
pub fn engine(rate: u32) -> (Control, Renderer) {
    let rate = rate.max(1);
    let (lanes_in, lanes) = RingBuffer::new(MAX_LANES);
    let (mut home, home_out) = RingBuffer::new(MAX_LANES);
    touch(&mut home);
    let stats = StatsHandle::claim();
    let (tap_in, tap_out) = tap(2 * TAP_FRAMES.max(rate as usize / 2));
    let control = Control {
        rate,
        lanes: lanes_in,
        home: home_out,
        stats: stats.clone(),
        tap: Some(tap_out.of_engine(stats.clone())),
    };
    let renderer = Renderer {
        rate,
        lanes,
        home,
        stats,
        tap: tap_in,
    };
    (control, renderer)
}

/// The half that makes lanes and frees them. `[control]`
#[derive(Debug)]
pub struct Control {
    rate: u32,
    lanes: Producer<LaneRx>,
    home: Consumer<LaneRx>,
    stats: StatsHandle,
    tap: Option<TapRx>,
}

impl Control {
    /// Makes a lane; the renderer has it from its next period on. `Full`: [`MAX_LANES`] are alive. `[control]`
    pub fn add_lane(&mut self, spec: LaneSpec) -> Result<LaneTx, Full> {
        self.collect();
        if self.lanes.is_full() {
            return Err(Full);
        }
        let (mut samples, samples_rx) = RingBuffer::new(spec.ring_frames.max(1));
        let (mut markers, markers_rx) = RingBuffer::new(2 * MAX_SPANS);
        let (mut commands, commands_rx) = RingBuffer::new(COMMANDS);
        let (mut facts_tx, facts) = RingBuffer::new(FACTS);
        let (mut taps, taps_rx) = RingBuffer::new(1);
        touch(&mut samples);
        touch(&mut markers);
        touch(&mut commands);
        touch(&mut facts_tx);
        touch(&mut taps);
        let lane = LaneRx::new(samples_rx, markers_rx, commands_rx, facts_tx, taps_rx, spec, self.rate);
        self.lanes.push(lane).map_err(|_| Full)?;
        Ok(LaneTx {
            samples,
            markers,
            commands,
            facts,
            taps,
            pushed: 0,
            is_open: false,
        })
    }

    /// The engine's own tap, once: the mix and what was captured beside it. Off until [`TapRx::listen`]. `[control]`
    pub fn take_tap(&mut self) -> Option<TapRx> {
        self.tap.take()
    }

    /// Frees the lanes that came home. `[control]`
    pub fn collect(&mut self) {
        while let Ok(lane) = self.home.pop() {
            drop(lane);
        }
    }

    /// A share in the engine's levels. `[control]`
    pub fn stats(&self) -> StatsHandle {
        self.stats.clone()
    }

    /// Frames a second. `[control]`
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// The renderer is gone: this engine will never sound again. `[control]`
    pub fn is_abandoned(&self) -> bool {
        self.lanes.is_abandoned()
    }
}

/// The half that sounds. `[rt & active]`
#[derive(Debug)]
pub struct Renderer {
    rate: u32,
    /// The live lanes themselves, worked on in place.
    lanes: Consumer<LaneRx>,
    home: Producer<LaneRx>,
    stats: StatsHandle,
    tap: TapTx,
}

/// One call of the renderer, as whoever drives it sees it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cycle<'a> {
    /// Time of the period's first frame.
    pub at_us: u64,
    /// Its number. What was missed since the call before is counted too.
    pub frame: u64,
    /// What the microphone brings in this period, as many frames as are asked for; none while it is closed.
    pub near: Option<&'a [f32]>,
    /// Frames after which what is played now comes back by the microphone at the earliest.
    pub far_delay: u32,
}

impl Renderer {
    /// Fills one period with the mix of all lanes; `at_us` is the time of `out[0]`. `[rt & active]`
    pub fn render(&mut self, out: &mut [f32], at_us: u64) {
        let frame = self.stats.frames();
        let cycle = Cycle {
            at_us,
            frame,
            ..Cycle::default()
        };
        self.cycle(out, cycle);
    }

    /// As [`Renderer::render`], with what was captured in the same period, for the taps. `[rt & active]`
    pub fn cycle(&mut self, out: &mut [f32], cycle: Cycle<'_>) {
        let Cycle { at_us, frame, .. } = cycle;
        self.stats.begin(at_us);
        out.fill(0.0);
        let clock = Clock { at_us, rate: self.rate };
        let mut tally = Tally::default();
        let mut finished = false;
        let mut alive = self.lanes.slots();
        if let Ok(mut lanes) = self.lanes.read_chunk(alive) {
            let (first, second) = lanes.as_mut_slices();
            for lane in first.iter_mut().chain(second) {
                lane.render(out, frame, clock, &mut tally);
                finished |= lane.is_finished();
            }
        }
        if finished {
            alive -= self.send_home(alive);
        }
        // After the lanes: whoever sees this block finds theirs.
        if self.stats.is_tapped() {
            self.tap.push(frame, at_us, cycle.far_delay, out, cycle.near);
        }
        self.stats.end(out.len(), clock.at(out.len()), tally, alive);
    }

    /// Brings each finished lane to the front and moves it, unfreed, to the return ring. What finds no room there waits for a later period.
    fn send_home(&mut self, alive: usize) -> usize {
        for sent in 0..alive {
            if self.home.is_full() {
                return sent;
            }
            if !self.bring_forward(alive - sent) {
                return sent;
            }
            if let Ok(lane) = self.lanes.pop() {
                // Cannot fail: only this thread fills the ring, and it has just seen room.
                let pushed = self.home.push(lane);
                debug_assert!(pushed.is_ok());
            }
        }
        alive
    }

    /// Swaps a finished lane, if there is one, to where the ring is read next.
    fn bring_forward(&mut self, alive: usize) -> bool {
        let Ok(mut lanes) = self.lanes.read_chunk(alive) else {
            return false;
        };
        let (first, second) = lanes.as_mut_slices();
        if let Some(i) = first.iter().position(LaneRx::is_finished) {
            first.swap(0, i);
            return true;
        }
        match (first.first_mut(), second.iter_mut().find(|lane| lane.is_finished())) {
            (Some(front), Some(finished)) => core::mem::swap(front, finished),
            _ => return false,
        }
        true
    }

    /// Frames a second. `[any]`
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// A share in the engine's levels. `[control]`
    pub fn stats(&self) -> StatsHandle {
        self.stats.clone()
    }
}

/// Writes every page of a ring's memory before it goes live, so that the renderer never takes the page fault.
pub(crate) fn touch<T>(ring: &mut Producer<T>) {
    let slots = ring.slots();
    if let Ok(mut chunk) = ring.write_chunk_uninit(slots) {
        let (first, second) = chunk.as_mut_slices();
        for slot in first.iter_mut().chain(second) {
            *slot = MaybeUninit::zeroed();
        }
    }
}
