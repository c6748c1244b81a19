//! The two shapes that keep clicks away: a fade of a given length, and a gain that walks to its target.
//!
//! Fades are linear and symmetric: step `j` of `n` stands at `(j + ½) / n`, so a fade down and the same fade up add to one at every step.

/// A linear fade, counted in the samples it has shaped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fade {
    done: u32,
    total: u32,
    /// Level at which a fade down begins (below one when it interrupts a fade up).
    from: f32,
}

impl Fade {
    /// A fade that is over.
    pub(crate) const OVER: Fade = Fade {
        done: 0,
        total: 0,
        from: 1.0,
    };

    pub(crate) fn new(total: u32, from: f32) -> Fade {
        Fade { done: 0, total, from }
    }

    pub(crate) fn done(&self) -> u32 {
        self.done
    }

    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    pub(crate) fn left(&self) -> usize {
        (self.total - self.done) as usize
    }

    pub(crate) fn is_over(&self) -> bool {
        self.done >= self.total
    }

    fn weight(&self) -> f32 {
        (self.done as f32 + 0.5) / self.total as f32
    }

    /// Level of the next sample of a fade down; 0 when it is over.
    pub(crate) fn level_down(&self) -> f32 {
        if self.is_over() { 0.0 } else { self.from * (1.0 - self.weight()) }
    }

    /// Level of the next sample of a fade up; 1 when it is over.
    pub(crate) fn level_up(&self) -> f32 {
        if self.is_over() { 1.0 } else { 1.0 - (1.0 - self.weight()) }
    }

    pub(crate) fn step(&mut self) {
        if self.done < self.total {
            self.done += 1;
        }
    }
}

/// A gain on its way to a target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gain {
    value: f32,
    target: f32,
    step: f32,
    left: u32,
}

/// Louder than the sum of all gains anyone may ask for (+24 dB twice is 251); beyond it lies an error, not a wish.
const LOUDEST: f32 = 1000.0;

impl Gain {
    pub(crate) fn new(linear: f32) -> Gain {
        let value = if linear.is_finite() { linear.clamp(0.0, LOUDEST) } else { 1.0 };
        Gain {
            value,
            target: value,
            step: 0.0,
            left: 0,
        }
    }

    pub(crate) fn go_to(&mut self, linear: f32, frames: u32) {
        if !linear.is_finite() {
            return;
        }
        self.target = linear.clamp(0.0, LOUDEST);
        self.left = frames.max(1);
        self.step = (self.target - self.value) / self.left as f32;
    }

    /// Arrives at once: nobody hears the step.
    pub(crate) fn settle(&mut self) {
        self.value = self.target;
        self.left = 0;
    }

    pub(crate) fn left(&self) -> usize {
        self.left as usize
    }

    pub(crate) fn value(&self) -> f32 {
        self.value
    }

    /// The gain of the next sample.
    pub(crate) fn next(&mut self) -> f32 {
        if self.left > 0 {
            self.left -= 1;
            // The last step lands on the target itself: rounding must not leave a gain of 0.9999999 that breaks bit-exactness.
            self.value = if self.left == 0 { self.target } else { self.value + self.step };
        }
        self.value
    }
}

/// What is left of a sound whose samples are gone: its last value, falling to nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tail {
    value: f32,
    fade: Fade,
}

impl Tail {
    pub(crate) const NONE: Tail = Tail {
        value: 0.0,
        fade: Fade::OVER,
    };

    pub(crate) fn new(value: f32, frames: u32) -> Tail {
        Tail {
            value,
            fade: Fade::new(frames, 1.0),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.fade.is_over()
    }

    /// Adds to `out` what fits and says how many frames that was.
    pub(crate) fn mix(&mut self, out: &mut [f32]) -> usize {
        let frames = self.fade.left().min(out.len());
        for sample in &mut out[..frames] {
            *sample += self.value * self.fade.level_down();
            self.fade.step();
        }
        frames
    }
}
