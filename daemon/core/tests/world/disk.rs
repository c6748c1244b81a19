//! The recorder as the core knows it: a disk that makes files, refuses, and fills up.

use std::collections::BTreeSet;

use utterd_core::{ErrorKind, Failure, Input, Micros, RecordingEnd, RecordingEvent, RecordingId};

use super::{Event, World};

/// What becomes of a recording takes the writer this long.
const DISK_US: u64 = 5_000;

/// What it knows.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) running: BTreeSet<RecordingId>,
    pub(crate) refused: usize,
    last: Micros,
}

impl World {
    pub(super) fn start_recording(&mut self, recording: RecordingId) {
        if self.rng.percent(20) {
            let event = RecordingEvent::Refused(Failure::new(ErrorKind::Failed, "no such folder"));
            self.disk.refused += 1;
            self.disk_tells(recording, event);
            return;
        }
        let path = format!("/somewhere/{recording}.wav");
        self.disk_tells(recording, RecordingEvent::Opened { path });
        self.disk.running.insert(recording);
        if self.rng.percent(20) {
            self.end_recording(recording, "disk-full");
        }
    }

    pub(super) fn end_recording(&mut self, recording: RecordingId, reason: &'static str) {
        // Exactly one end: a stop that crosses a full disk finds nothing to stop.
        if self.disk.running.remove(&recording) {
            let end = RecordingEnd {
                reason,
                ..RecordingEnd::default()
            };
            self.disk_tells(recording, RecordingEvent::Ended(end));
        }
    }

    /// The writer is a thread of the house: what it tells is never lost.
    fn disk_tells(&mut self, recording: RecordingId, event: RecordingEvent) {
        self.disk.last = self.disk.last.max(self.now + DISK_US);
        let after = self.disk.last - self.now;
        self.later(after, Event::Arrives(Box::new(Input::Recording { recording, event })));
    }
}
