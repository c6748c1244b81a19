//! Sound files on their way to a store. A sound stands where a TTS backend stands: the workers of synth call it, and what it decodes goes through
//! the same sink, so that queue, look-ahead, cancel and report are those of speech.
//!
//! A file is opened twice: when Play names it, so that a wrong one is an error of the call, and when its turn has come, by the same rules; between
//! the two nothing is held open, however long the queue. Memory is the decoder's buffers and the look-ahead, whatever the file's length, and for a
//! loop without end. `speak` knows its file by the utterance: a sound has one synthesis.
//! Not here: which folders and which formats (utterd-sound), what is heard when (core).

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use utterd_core::{ErrorKind, Failure, Sound};
use utterd_sound::{Decoder, Folders, SoundError};

use crate::dbus::FoundSound;
use crate::plugins::{SpeakEnd, SpeakRequest, SpeakSink, SynthError, TtsBackend, TtsCalls, TtsInfo};

/// What synth knows the sounds by. No plugin has this id: those of backends begin with "tts-".
pub const BACKEND: &str = "sound";
/// Samples handed over at a time: a cancel is looked at between two of them.
const SLICE: usize = 4096;

/// The handle; clones share everything. `[any]`
#[derive(Clone)]
pub struct Sounds {
    folders: Arc<Folders>,
    wanted: Arc<Mutex<HashMap<u64, Sound>>>,
    backend: Arc<TtsBackend>,
}

impl Sounds {
    pub fn new(folders: Folders) -> Self {
        let folders = Arc::new(folders);
        let wanted = Arc::<Mutex<HashMap<u64, Sound>>>::default();
        let info = TtsInfo {
            id: BACKEND.to_owned(),
            concurrent: true,
            ..TtsInfo::default()
        };
        let player = Player {
            folders: Arc::clone(&folders),
            wanted: Arc::clone(&wanted),
        };
        Self {
            folders,
            wanted,
            backend: Arc::new(TtsBackend::new(info, Box::new(player))),
        }
    }

    /// Opens and looks at what a path or URI names. `[worker]`
    pub fn find(&self, uri: &str) -> Result<FoundSound, Failure> {
        let found = utterd_sound::path_of(uri).and_then(|path| {
            let decoder = open(&self.folders, &path)?;
            Ok(FoundSound {
                duration_us: decoder.duration_us(),
                path,
            })
        });
        found.map_err(|error| Failure::new(kind(&error), error.to_string()))
    }

    /// The backend that will play this as the utterance's only synthesis.
    pub fn prepare(&self, utterance: u64, sound: Sound) -> Arc<TtsBackend> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(utterance, sound);
        Arc::clone(&self.backend)
    }

    /// The utterance has finished.
    pub fn forget(&self, utterance: u64) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(&utterance);
    }
}

fn open(folders: &Folders, path: &Path) -> Result<Decoder, SoundError> {
    Decoder::open(folders.open(path)?, path)
}

fn kind(error: &SoundError) -> ErrorKind {
    match error {
        SoundError::Uri { .. } | SoundError::NotAFile { .. } => ErrorKind::InvalidArgs,
        SoundError::NotPermitted { .. } => ErrorKind::NotPermitted,
        SoundError::Format { .. } => ErrorKind::FormatNotSupported,
        SoundError::Broken { .. } => ErrorKind::Failed,
    }
}

struct Player {
    folders: Arc<Folders>,
    wanted: Arc<Mutex<HashMap<u64, Sound>>>,
}

impl TtsCalls for Player {
    fn speak(&self, req: &SpeakRequest<'_>, sink: &dyn SpeakSink) -> Result<SpeakEnd, SynthError> {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(&req.utterance);
        let Some(sound) = wanted else {
            let message = "nobody said which sound".to_owned();
            return Err(SynthError::Misbehaved { message });
        };
        play(&self.folders, &sound, sink).map_err(|error| SynthError::Sound {
            format: matches!(error, SoundError::Format { .. }),
            message: error.to_string(),
        })
    }

    /// Its writes are refused; that is all it takes.
    fn cancel(&self, _synthesis: u64, _reason: u32) {}
}

fn play(folders: &Folders, sound: &Sound, sink: &dyn SpeakSink) -> Result<SpeakEnd, SoundError> {
    let mut decoder = open(folders, &sound.path)?;
    if sound.start_us > 0 {
        decoder.seek_us(sound.start_us)?;
    }
    let mut whole = sound.start_us == 0;
    loop {
        let mut heard = false;
        let rate = decoder.rate();
        while let Some(samples) = decoder.next()? {
            heard = true;
            for slice in samples.chunks(SLICE) {
                if !sink.write(rate, slice) {
                    return Ok(SpeakEnd::Cancelled);
                }
            }
        }
        // A loop over nothing would never end, and never be heard.
        if !sound.looped || (whole && !heard) {
            return Ok(SpeakEnd::Complete);
        }
        decoder.rewind()?;
        whole = true;
    }
}
