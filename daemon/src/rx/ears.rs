//! What one session's readers and recording get of each stretch of time.
//!
//! Who hears the user: nobody while the microphone is muted; readers only while the session listens (the microphone may stay open for the
//! answer); a recording as long as it is open for the session or the session hears by it. Else there is silence, and time goes on.
//! What a detector has cleaned comes later than the raw sound and takes its place frame by frame; where it fails to come, the raw sound goes out.

use std::collections::{BTreeMap, VecDeque};

use utterd_core::{Direction, Token};
use utterd_rt::TapRx;

use super::group::{Group, Told};
use super::line::Stretch;
use super::recorder::Recorder;
use crate::tx::Output;
use crate::tx::resample::{Pool, samples_to_us};

pub(super) struct Ears {
    pub(super) name: String,
    pub(super) output: Output,
    /// The microphone is open for this session.
    pub(super) is_open: bool,
    /// The session listens: readers get what it brings.
    pub(super) delivers: bool,
    /// A detector hears for it, perhaps through another session's capture.
    hears: bool,
    /// It will, once it is known whether the microphone is muted.
    starts_to_hear: bool,
    is_muted: bool,
    pub(super) groups: BTreeMap<(Direction, u32), Group>,
    pub(super) recorder: Option<Recorder>,
    /// By track: what each lane of the session plays.
    pub(super) lanes: Vec<TapRx>,
    /// Its tracks were told to tap their lanes.
    pub(super) is_tapped: bool,
    clean: Clean,
    agent: Vec<f32>,
    user: Vec<f32>,
}

/// The echo-cancelled sound on its way through a detector.
#[derive(Default)]
struct Clean {
    tap: Option<TapRx>,
    /// What readers would get without it, from `from_us` on: not told yet.
    raw: VecDeque<f32>,
    from_frame: u64,
    from_us: u64,
}

impl Ears {
    pub(super) fn new(name: String, output: Output) -> Ears {
        Ears {
            name,
            output,
            is_open: false,
            delivers: false,
            hears: false,
            starts_to_hear: false,
            is_muted: false,
            groups: BTreeMap::new(),
            recorder: None,
            lanes: Vec::new(),
            is_tapped: false,
            clean: Clean::default(),
            agent: Vec::new(),
            user: Vec::new(),
        }
    }

    /// The session is closed: its streams end; a recording may still have something to hear. Says who waited for a stream.
    pub(super) fn close(&mut self) -> Vec<Token> {
        self.name.clear();
        self.is_open = false;
        self.set_ear(false, None);
        let mut groups = std::mem::take(&mut self.groups);
        groups.values_mut().flat_map(Group::refuse).collect()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.name.is_empty() && self.recorder.is_none()
    }

    pub(super) fn wants_line(&self) -> bool {
        self.recorder.is_some() || self.groups.values().any(|g| g.len() > 0)
    }

    pub(super) fn wants_lanes(&self) -> bool {
        self.recorder.is_some() || self.groups.keys().any(|(direction, _)| *direction == Direction::Tx)
    }

    pub(super) fn readers(&self) -> usize {
        self.groups.values().map(Group::len).sum()
    }

    /// A detector hears from now on and may clean, or ceases to. At each start it is told next whether the microphone is muted.
    pub(super) fn set_ear(&mut self, hears: bool, clean: Option<TapRx>) {
        self.starts_to_hear = hears;
        self.hears &= hears;
        self.clean.tap = clean;
    }

    pub(super) fn set_muted(&mut self, is_muted: bool) {
        self.is_muted = is_muted;
        self.hears = self.starts_to_hear;
    }

    /// The line runs at another rate.
    pub(super) fn rate_changed(&mut self, rate: u32) {
        self.clean.raw.clear();
        self.groups.values_mut().for_each(Group::restart);
        if let Some(recorder) = &mut self.recorder {
            recorder.rate_changed(rate);
        }
    }

    /// Another engine drives the output: what is left in the taps of the last one has no place any more.
    pub(super) fn forget_dead_lanes(&mut self) {
        self.lanes.retain(|lane| !lane.is_abandoned());
    }

    /// While there was no line nobody has read the lanes: those that live are heard from now on.
    pub(super) fn forget_what_was_played(&mut self) {
        self.forget_dead_lanes();
        for lane in &mut self.lanes {
            while lane.take(|_, _, _| ()).is_some() {}
        }
    }

    pub(super) fn hear(&mut self, stretch: &Stretch<'_>, rate: u32, pool: &Pool, told: &mut Vec<Told>) {
        self.mix_agent(stretch);
        // Whose detector hears while another session's capture is open hears through that one.
        let is_heard = (self.is_open || self.delivers || self.hears) && !self.is_muted;
        let delivers = self.delivers && !self.is_muted;
        let near = stretch.near.filter(|_| is_heard);
        if let Some(recorder) = &mut self.recorder {
            recorder.hear(&self.agent, near, stretch.far_delay, stretch.is_lost);
        }
        self.user.clear();
        match near.filter(|_| delivers) {
            // A microphone that brings no numbers brings silence.
            Some(near) => self.user.extend(near.iter().map(|s| if s.is_finite() { *s } else { 0.0 })),
            None => self.user.resize(stretch.far.len(), 0.0),
        }
        for ((direction, _), group) in &mut self.groups {
            match direction {
                Direction::Tx => group.hear(&self.agent, rate, stretch.at_us, pool, told),
                Direction::RxRaw => group.hear(&self.user, rate, stretch.at_us, pool, told),
                Direction::Rx => {}
            }
        }
        let rx = self.groups.iter_mut().filter(|((d, _), _)| *d == Direction::Rx).map(|(_, g)| g);
        self.clean.hear(
            &self.user,
            stretch,
            delivers,
            rate,
            &mut |samples, at_us, groups| {
                for group in groups {
                    group.hear(samples, rate, at_us, pool, told);
                }
            },
            &mut rx.collect::<Vec<_>>(),
        );
    }

    /// What the session's lanes played in this stretch.
    fn mix_agent(&mut self, stretch: &Stretch<'_>) {
        self.agent.clear();
        self.agent.resize(stretch.far.len(), 0.0);
        let Some(frame) = stretch.frame else { return };
        let agent = &mut self.agent;
        self.lanes.retain_mut(|lane| {
            while let Some(block) = lane.peek() {
                let is_now = block.frame == frame && block.frames as usize == agent.len();
                if !is_now && block.frame >= frame {
                    break;
                }
                lane.take(|_, first, second| {
                    if is_now {
                        for (out, sample) in agent.iter_mut().zip(first.iter().chain(second)) {
                            *out += *sample;
                        }
                    }
                });
                // A server whose count of frames stands still gives the next cycle the same number.
                if is_now {
                    break;
                }
            }
            !(lane.is_abandoned() && lane.peek().is_none())
        });
    }
}

type Out<'a, 'g> = &'a mut dyn FnMut(&[f32], u64, &mut [&'g mut Group]);

impl Clean {
    fn hear<'g>(&mut self, raw: &[f32], stretch: &Stretch<'_>, delivers: bool, rate: u32, out: Out<'_, 'g>, groups: &mut [&'g mut Group]) {
        let Some(frame) = stretch.frame.filter(|_| self.tap.is_some() && !groups.is_empty()) else {
            self.flush(usize::MAX, rate, out, groups);
            return out(raw, stretch.at_us, groups);
        };
        if self.raw.is_empty() {
            (self.from_frame, self.from_us) = (frame, stretch.at_us);
        }
        self.raw.extend(raw);
        let mut cleaned = Vec::new();
        while let Some(block) = self.tap.as_mut().and_then(TapRx::peek) {
            // Its place may not have come here yet: the detector's thread outranks this one.
            if block.frame + u64::from(block.frames) > self.from_frame + self.raw.len() as u64 {
                break;
            }
            cleaned.clear();
            if let Some(tap) = &mut self.tap {
                tap.take(|_, first, second| {
                    cleaned.extend_from_slice(first);
                    cleaned.extend_from_slice(second);
                });
            }
            // Before the detector began, or where it left something out: the raw sound.
            self.flush(block.frame.saturating_sub(self.from_frame) as usize, rate, out, groups);
            let past = (self.from_frame.saturating_sub(block.frame) as usize).min(cleaned.len());
            let cleaned = &mut cleaned[past..];
            let frames = cleaned.len().min(self.raw.len());
            if !delivers {
                cleaned.fill(0.0);
            }
            out(&cleaned[..frames], self.from_us, groups);
            self.forward(frames, rate);
        }
        // Half a second is more than any detector may take.
        let surplus = self.raw.len().saturating_sub(rate as usize / 2);
        self.flush(surplus, rate, out, groups);
    }

    /// So many frames go out raw.
    fn flush<'g>(&mut self, frames: usize, rate: u32, out: Out<'_, 'g>, groups: &mut [&'g mut Group]) {
        let frames = frames.min(self.raw.len());
        if frames > 0 {
            let raw: Vec<f32> = self.raw.iter().take(frames).copied().collect();
            out(&raw, self.from_us, groups);
            self.forward(frames, rate);
        }
    }

    fn forward(&mut self, frames: usize, rate: u32) {
        self.raw.drain(..frames);
        self.from_frame += frames as u64;
        self.from_us += samples_to_us(frames as u64, rate);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use utterd_core::{RecordingEvent, RecordingId};
    use utterd_rt::tap;

    use crate::rx::Shelf;

    /// Brings raw sound (1.0) in periods of 256, after `ahead` frames have come cleaned (0.5) in blocks of 480, and tells what goes out.
    fn heard(ahead: usize) -> Vec<f32> {
        let (mut cleaned, end) = tap(96_000);
        let mut clean = Clean {
            tap: Some(end),
            ..Clean::default()
        };
        let mut group = Group::new(48_000);
        let (mut came, mut got) = (0, Vec::new());
        for frame in (0..48_000).step_by(256) {
            while came < (frame + ahead).min(47_520) {
                cleaned.push(came as u64, 0, 0, &[0.5; 480], None);
                came += 480;
            }
            let stretch = Stretch {
                position: frame as u64,
                at_us: 0,
                frame: Some(frame as u64),
                far: &[0.0; 256],
                near: None,
                far_delay: 0,
                is_lost: false,
            };
            let mut out = |samples: &[f32], _: u64, _: &mut [&mut Group]| got.extend_from_slice(samples);
            clean.hear(&[1.0; 256], &stretch, true, 48_000, &mut out, &mut [&mut group]);
        }
        got
    }

    #[test]
    fn what_is_cleaned_goes_out_cleaned_whether_it_comes_before_the_raw_sound_or_after() {
        for ahead in [0, 480, 4_800, 20_000] {
            let got = heard(ahead);
            assert!(got.len() > 40_000, "{ahead} ahead: {}", got.len());
            assert_eq!(got.iter().position(|s| *s != 0.5), None, "{ahead} ahead");
        }
    }

    #[test]
    fn a_recording_has_the_user_that_the_sessions_detector_hears_through_anothers_capture_and_readers_do_not() {
        let dir = std::env::temp_dir().join(format!("utterd-ears-{}", std::process::id()));
        let (told, events) = std::sync::mpsc::channel();
        let told = Mutex::new(told);
        let tell = Arc::new(move |_, event| told.lock().unwrap().send(event).unwrap());
        let shelf = Shelf::new(dir.clone(), 0o600, 0, Duration::ZERO);
        let mut ears = Ears::new("a".into(), Output::Local);
        let mut recorder = Recorder::start(RecordingId::new(1).unwrap(), shelf, "a.wav".into(), 48_000, tell).unwrap();
        recorder.begin();
        ears.recorder = Some(recorder);
        let mut all = Vec::new();
        // What happens before each block of ten frames, and whether its user is heard.
        let mut block = |ears: &mut Ears, is_heard: bool| {
            let stretch = Stretch {
                position: 0,
                at_us: 0,
                frame: Some(10 * all.len() as u64),
                far: &[0.25; 10],
                near: Some(&[0.5; 10]),
                far_delay: 0,
                is_lost: false,
            };
            ears.hear(&stretch, 48_000, &Pool::default(), &mut Vec::new());
            assert!(ears.user.iter().all(|s| *s == 0.0), "it does not listen");
            all.push(if is_heard { 16_384 } else { 0 });
        };
        block(&mut ears, false);
        ears.set_ear(true, None);
        block(&mut ears, false);
        ears.set_muted(false);
        block(&mut ears, true);
        ears.set_muted(true);
        block(&mut ears, false);
        ears.set_muted(false);
        block(&mut ears, true);
        ears.set_ear(false, None);
        block(&mut ears, false);
        ears.set_muted(false);
        block(&mut ears, false);
        ears.recorder = None;
        while !matches!(events.recv_timeout(Duration::from_secs(10)).unwrap(), RecordingEvent::Ended(_)) {}
        let bytes = std::fs::read(dir.join("a.wav")).unwrap();
        let user: Vec<i16> = bytes[44..]
            .as_chunks::<4>()
            .0
            .iter()
            .map(|f| i16::from_le_bytes([f[2], f[3]]))
            .collect();
        let expected: Vec<i16> = all.iter().flat_map(|s| [*s; 10]).collect();
        assert_eq!(user, expected);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
