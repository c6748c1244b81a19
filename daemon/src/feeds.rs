//! AcquireAudio "inject": pipes that clients write and the daemon plays, one an utterance.
//!
//! A feed stands where a TTS backend stands, as a sound file does (sounds.rs): a worker of synth reads the pipe and writes the store, and waits where
//! the look-ahead ends; from there on the pipe fills and holds its client back. Nothing else waits for a client. The reading end is closed when
//! the utterance is cut or has finished, whichever comes first, so that a client that still writes gets EPIPE at once; the client's
//! end of file is the end of the utterance. Bytes that are no whole frame at the end are dropped.
//! Not here: what is heard when (core), how the pipe reaches the client (dbus).

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use utterd_core::{AudioFormat, Encoding};

use crate::plugins::{SpeakEnd, SpeakRequest, SpeakSink, SynthError, TtsBackend, TtsCalls, TtsInfo};

/// What synth knows the feeds by.
pub const BACKEND: &str = "inject";
/// Read at a time.
const BYTES: usize = 16_384;
/// A client that has written nothing for this long rests; until then what is missing is an underrun.
const RESTS_AFTER: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};
/// As for plugins: beyond +36 dB lies garbage.
const ABSURD: f32 = 64.0;

/// The handle; clones share everything. `[any]`
#[derive(Clone)]
pub struct Feeds {
    open: Open,
    backend: Arc<TtsBackend>,
}

type Open = Arc<Mutex<HashMap<u64, Arc<Feed>>>>;

/// One client's pipe, from our side.
struct Feed {
    pipe: OwnedFd,
    /// Readable once nobody wants it any more.
    over: OwnedFd,
    rate: u32,
    encoding: Encoding,
    channels: usize,
}

impl Default for Feeds {
    fn default() -> Self {
        let open = Open::default();
        let info = TtsInfo {
            id: BACKEND.to_owned(),
            concurrent: true,
            ..TtsInfo::default()
        };
        let reader = Reader { open: Arc::clone(&open) };
        Self {
            open,
            backend: Arc::new(TtsBackend::new(info, Box::new(reader))),
        }
    }
}

impl Feeds {
    /// The end that the client writes; that of utterance 0 is broken from the start.
    pub fn open(&self, utterance: u64, format: AudioFormat, rate: u32) -> io::Result<OwnedFd> {
        let (pipe, client) = pipe_with(PipeFlags::CLOEXEC)?;
        if utterance > 0 {
            let feed = Feed {
                pipe,
                over: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
                rate,
                encoding: format.encoding,
                channels: format.channels.max(1) as usize,
            };
            lock(&self.open).insert(utterance, Arc::new(feed));
        }
        Ok(client)
    }

    pub fn backend(&self) -> Arc<TtsBackend> {
        Arc::clone(&self.backend)
    }

    /// The utterance was cut or has finished: its client is told by a broken pipe.
    pub fn end(&self, utterance: u64) {
        let feed = lock(&self.open).remove(&utterance);
        if let Some(feed) = feed
            && let Err(error) = rustix::io::write(&feed.over, &1u64.to_ne_bytes())
        {
            tracing::warn!(utterance, %error, "eventfd write failed");
        }
    }
}

struct Reader {
    open: Open,
}

impl TtsCalls for Reader {
    fn speak(&self, req: &SpeakRequest<'_>, sink: &dyn SpeakSink) -> Result<SpeakEnd, SynthError> {
        // One that has ended already has nothing to say.
        let feed = lock(&self.open).get(&req.utterance).cloned();
        let Some(feed) = feed else {
            return Ok(SpeakEnd::Complete);
        };
        let end = feed.play(sink);
        lock(&self.open).remove(&req.utterance);
        end.map_err(|error| SynthError::Backend {
            message: format!("the client's stream: {error}"),
        })
    }

    /// `Feeds::end` has told it.
    fn cancel(&self, _synthesis: u64, _reason: u32) {}
}

/// What a look at the pipe found.
enum Look {
    Bytes,
    Nothing,
    Over,
}

impl Feed {
    fn play(&self, sink: &dyn SpeakSink) -> io::Result<SpeakEnd> {
        let mut frames = Frames::new(self.encoding, self.channels);
        let mut bytes = vec![0; BYTES];
        let mut flows = false;
        loop {
            match self.look(flows)? {
                // The one who ended it knows why.
                Look::Over => return Ok(SpeakEnd::Complete),
                Look::Nothing => {
                    flows = false;
                    sink.rest(true);
                    continue;
                }
                Look::Bytes => {}
            }
            let read = match rustix::io::read(&self.pipe, &mut bytes) {
                Ok(0) => return Ok(SpeakEnd::Complete),
                Ok(read) => read,
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(error) => return Err(error.into()),
            };
            if !std::mem::replace(&mut flows, true) {
                sink.rest(false);
            }
            if !sink.write(self.rate, frames.decode(&bytes[..read])) {
                return Ok(SpeakEnd::Cancelled);
            }
        }
    }

    /// Waits for bytes, for the end, or, while they flow, for a moment.
    fn look(&self, flows: bool) -> io::Result<Look> {
        loop {
            let mut ends = [PollFd::new(&self.pipe, PollFlags::IN), PollFd::new(&self.over, PollFlags::IN)];
            match poll(&mut ends, flows.then_some(&RESTS_AFTER)) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(0) => return Ok(Look::Nothing),
                Ok(_) if !ends[1].revents().is_empty() => return Ok(Look::Over),
                Ok(_) => return Ok(Look::Bytes),
            }
        }
    }
}

/// Bytes to mono samples; what is no whole frame waits for its rest.
struct Frames {
    encoding: Encoding,
    channels: usize,
    rest: Vec<u8>,
    mono: Vec<f32>,
}

impl Frames {
    fn new(encoding: Encoding, channels: usize) -> Self {
        Self {
            encoding,
            channels,
            rest: Vec::new(),
            mono: Vec::new(),
        }
    }

    fn decode(&mut self, bytes: &[u8]) -> &[f32] {
        self.rest.extend_from_slice(bytes);
        self.mono.clear();
        let share = 1.0 / self.channels as f32;
        let width = match self.encoding {
            Encoding::S16le => 2,
            Encoding::F32le => 4,
        };
        let encoding = self.encoding;
        let frames = self.rest.chunks_exact(width * self.channels);
        let left = frames.remainder().len();
        for frame in frames {
            let samples = frame.chunks_exact(width).map(|s| sample(encoding, s));
            self.mono.push(if self.channels == 1 {
                samples.sum()
            } else {
                samples.sum::<f32>() * share
            });
        }
        let whole = self.rest.len() - left;
        self.rest.drain(..whole);
        &self.mono
    }
}

/// What is no number, or an absurd one, is silence.
fn sample(encoding: Encoding, bytes: &[u8]) -> f32 {
    let sample = match (encoding, bytes) {
        (Encoding::S16le, [a, b]) => f32::from(i16::from_le_bytes([*a, *b])) / 32_768.0,
        (Encoding::F32le, [a, b, c, d]) => f32::from_le_bytes([*a, *b, *c, *d]),
        _ => 0.0,
    };
    if sample.abs() <= ABSURD { sample } else { 0.0 }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plugins::MarkKind;
    use std::os::fd::RawFd;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// What the store would see.
    #[derive(Debug, PartialEq)]
    enum Seen {
        Samples(Vec<f32>),
        Rests(bool),
    }

    struct Sink(Mutex<Sender<Seen>>);

    impl SpeakSink for Sink {
        fn write(&self, rate: u32, mono: &[f32]) -> bool {
            assert_eq!(rate, 16_000);
            self.0.lock().unwrap().send(Seen::Samples(mono.to_vec())).is_ok()
        }
        fn mark(&self, _: MarkKind, _: u64, _: u32, _: u32, _: &str) {}
        fn rest(&self, resting: bool) {
            self.0.lock().unwrap().send(Seen::Rests(resting)).unwrap();
        }
        fn cancelled(&self) -> bool {
            false
        }
        fn cancel_fd(&self) -> RawFd {
            -1
        }
    }

    fn format(encoding: Encoding, channels: u32) -> AudioFormat {
        AudioFormat {
            rate: None,
            encoding,
            channels,
        }
    }

    fn request() -> SpeakRequest<'static> {
        SpeakRequest {
            synthesis: 1,
            utterance: 7,
            session: 1,
            text: "",
            voice: "",
            language: "",
            rate: 1.0,
            pitch: 1.0,
            gain_db: 0.0,
            out_rate_hint: 0,
            params_json: "",
            last: true,
            cacheable: false,
        }
    }

    #[test]
    fn what_is_written_is_heard_in_order_and_the_end_of_file_is_the_end() {
        let feeds = Feeds::default();
        let client = feeds.open(7, format(Encoding::S16le, 2), 16_000).unwrap();
        let (sender, seen) = channel();
        let backend = feeds.backend();
        let reader = std::thread::spawn(move || backend.speak(&request(), &Sink(Mutex::new(sender))));
        // Frames broken anywhere: 16384 and 0, then -32768 twice.
        for piece in [&[0x00, 0x40, 0x00][..], &[0x00, 0x00, 0x80, 0x00, 0x80], &[0x11]] {
            rustix::io::write(&client, piece).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(client);
        assert_eq!(reader.join().unwrap(), Ok(SpeakEnd::Complete));
        let seen: Vec<Seen> = seen.iter().collect();
        assert_eq!(seen[0], Seen::Rests(false));
        let samples: Vec<f32> = seen
            .into_iter()
            .filter_map(|s| match s {
                Seen::Samples(samples) => Some(samples),
                Seen::Rests(_) => None,
            })
            .flatten()
            .collect();
        assert_eq!(samples, [0.25, -1.0]);
    }

    #[test]
    fn one_that_is_silent_rests_and_goes_on() {
        let feeds = Feeds::default();
        let client = feeds.open(7, format(Encoding::F32le, 1), 16_000).unwrap();
        let (sender, seen) = channel();
        let backend = feeds.backend();
        let reader = std::thread::spawn(move || backend.speak(&request(), &Sink(Mutex::new(sender))));
        let next = || seen.recv_timeout(PATIENCE).unwrap();
        rustix::io::write(&client, &0.5_f32.to_le_bytes()).unwrap();
        assert_eq!(
            [next(), next(), next()],
            [Seen::Rests(false), Seen::Samples(vec![0.5]), Seen::Rests(true)]
        );
        rustix::io::write(&client, &f32::NAN.to_le_bytes()).unwrap();
        assert_eq!([next(), next()], [Seen::Rests(false), Seen::Samples(vec![0.0])]);
        drop(client);
        assert_eq!(reader.join().unwrap(), Ok(SpeakEnd::Complete));
    }

    #[test]
    fn an_ended_one_is_a_broken_pipe_to_its_client_read_or_not() {
        let feeds = Feeds::default();
        let broken = |client: &OwnedFd| rustix::io::write(client, &[0]) == Err(Errno::PIPE);
        let never = feeds.open(0, format(Encoding::S16le, 1), 16_000).unwrap();
        assert!(broken(&never), "not accepted");
        let unread = feeds.open(7, format(Encoding::S16le, 1), 16_000).unwrap();
        assert!(!broken(&unread));
        feeds.end(7);
        assert!(broken(&unread), "cancelled before it was asked for");
        let client = feeds.open(7, format(Encoding::S16le, 1), 16_000).unwrap();
        let (sender, _seen) = channel();
        let backend = feeds.backend();
        let reader = std::thread::spawn(move || backend.speak(&request(), &Sink(Mutex::new(sender))));
        rustix::io::write(&client, &[0; 64]).unwrap();
        feeds.end(7);
        reader.join().unwrap().unwrap();
        assert!(broken(&client), "cancelled while it was read");
        feeds.end(7);
    }
}
