//! A reader of AcquireAudio: takes the stream from the reply and keeps all that comes, with the time of each sample.

use crate::client::{CallError, Client, Dict, NAME, Options, Result, SESSION, Session};
use crate::clock::{PATIENCE, until};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use zbus::zvariant::{OwnedFd as BusFd, Value};

/// What was granted, and the pipe, unread.
pub struct Stream {
    pub rate: u32,
    pub start_us: u64,
    pub encoding: String,
    pub channels: u64,
    pub pipe: File,
}

impl Stream {
    pub fn acquire(session: &Session, direction: &str, options: Options) -> Result<Stream> {
        Stream::of(session.client(), &session.path, direction, options)
    }

    pub fn of(client: &Client, path: &str, direction: &str, options: Options) -> Result<Stream> {
        let reply = client
            .connection()
            .call_method(Some(NAME), path, Some(SESSION), "AcquireAudio", &(direction, options))?;
        let body = reply.body();
        let (pipe, actual): (BusFd, std::collections::HashMap<String, Value<'_>>) = body.deserialize().map_err(CallError::from)?;
        let actual = Dict(actual.into_iter().map(|(k, v)| (k, v.try_to_owned().unwrap().into())).collect());
        Ok(Stream {
            rate: actual.number("rate") as u32,
            start_us: actual.number("start-us"),
            encoding: actual.text("encoding").to_owned(),
            channels: actual.number("channels"),
            pipe: File::from(OwnedFd::from(pipe)),
        })
    }

    /// Reads for good, on a thread.
    pub fn listen(self) -> Listener {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (kept, is_float) = (heard.clone(), self.encoding == "f32le");
        let mut pipe = self.pipe;
        std::thread::spawn(move || {
            let (mut buffer, mut rest) = ([0; 16_384], Vec::new());
            while let Ok(n) = pipe.read(&mut buffer) {
                if n == 0 {
                    return;
                }
                rest.extend_from_slice(&buffer[..n]);
                let size = if is_float { 4 } else { 2 };
                let whole = rest.len() / size * size;
                let samples = rest[..whole].chunks_exact(size).map(|b| match b {
                    [a, b] => f32::from(i16::from_le_bytes([*a, *b])) / 32_768.0,
                    _ => f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
                });
                kept.lock().unwrap().extend(samples);
                rest.drain(..whole);
            }
        });
        Listener {
            rate: self.rate,
            start_us: self.start_us,
            channels: self.channels as usize,
            heard,
        }
    }
}

/// What was read so far.
pub struct Listener {
    pub rate: u32,
    pub start_us: u64,
    pub channels: usize,
    heard: Arc<Mutex<Vec<f32>>>,
}

impl Listener {
    /// The first channel.
    pub fn samples(&self) -> Vec<f32> {
        self.heard.lock().unwrap().iter().step_by(self.channels).copied().collect()
    }

    /// The index of the sample of this moment.
    pub fn at_us(&self, us: u64) -> usize {
        (us.saturating_sub(self.start_us) * u64::from(self.rate) / 1_000_000) as usize
    }

    /// Everything up to this moment. As long as sound comes it is waited for: on a starved machine the server's time is slow.
    #[track_caller]
    pub fn until_us(&self, us: u64) -> Vec<f32> {
        let wanted = self.at_us(us);
        let mut had = 0;
        loop {
            let came = until(PATIENCE, || Some(self.samples()).filter(|s| s.len() >= wanted || s.len() > had));
            let samples = came.unwrap_or_else(|| panic!("the stream has {had} samples of {wanted}"));
            if samples.len() >= wanted {
                return samples;
            }
            had = samples.len();
        }
    }
}
