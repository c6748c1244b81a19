//! Audio for clients: streams that they read, and recordings. What is decided here is who may have it, and when a recording may begin.
//!
//! A session has at most one recording. It may begin once the session's first frame was sent (T4) and ends with the session, with a stop, or
//! when the disk fails; each that was started has exactly one `RecordingFinished`, also when the session is gone by then.
//! Not here: samples, files, and the streams themselves: the shell has them, and answers AcquireAudio itself.

use crate::Core;
use crate::effect::{Effect, Reply, Signal};
use crate::ids::{Micros, RecordingId, SessionId, Token};
use crate::note::Note;
use crate::request::{ErrorKind, Failure};
use crate::verbs::Answer;

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// What the user says, without the agent's echo where a detector takes it out.
    Rx,
    /// What the microphone brings.
    RxRaw,
    /// What is played of this session.
    Tx,
}

/// How a sample is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// 16 bits, little endian.
    #[default]
    S16le,
    /// 32-bit float, little endian.
    F32le,
}

impl Encoding {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::S16le => "s16le",
            Self::F32le => "f32le",
        }
    }
}

/// How a client wants its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFormat {
    /// Hz; absent = the output's own.
    pub rate: Option<u32>,
    /// Of a sample.
    pub encoding: Encoding,
    /// The same in each.
    pub channels: u32,
}

/// What the shell tells of a recording.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordingEvent {
    /// Its file is there, and empty.
    Opened {
        /// Where.
        path: String,
    },
    /// Its file could not be made; nothing more is told.
    Refused(Failure),
    /// It is over; nothing more is told.
    Ended(RecordingEnd),
}

/// How a recording ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordingEnd {
    /// "stopped" | "session-closed" | "disk-full" | "failed".
    pub reason: &'static str,
    /// Its length.
    pub duration_us: Micros,
    /// What of that is silence because the disk was too slow.
    pub lost_us: Micros,
    /// What went wrong, or "".
    pub error: String,
}

/// One recording, from its order to its end.
#[derive(Debug)]
pub(crate) struct Recording {
    session: SessionId,
    /// The session's name: signals still go out under it when the session is gone.
    name: String,
    file: String,
    /// StartRecording, until the file is there.
    starting: Option<Token>,
    path: Option<String>,
    /// The first frame was sent.
    may_begin: bool,
    /// Its end is ordered.
    is_ending: bool,
    /// StopRecordings that wait for the end.
    stopping: Vec<Token>,
}

impl Core {
    pub(crate) fn acquire_audio(&mut self, token: Token, session: SessionId, direction: Direction, format: AudioFormat) -> Answer {
        let of = &self.sessions[&session];
        self.out.push(Effect::AcquireAudio {
            token,
            session,
            name: of.id.clone(),
            output: of.output,
            direction,
            format,
        });
        Ok(None)
    }

    pub(crate) fn start_recording(&mut self, token: Option<Token>, session: SessionId, file: String) -> Answer {
        if self.check_recording(session, &file, None)? {
            // OpenSession of an open session says again what is so already.
            return match token {
                None => Ok(None),
                Some(_) => Err(is_recorded(&self.sessions[&session].id, &file)),
            };
        }
        let of = &self.sessions[&session];
        let (name, output, may_begin) = (of.id.clone(), of.output, of.first_frame_sent);
        let recording = self.recording_ids.next();
        self.out.push(Effect::StartRecording {
            recording,
            session,
            name: name.clone(),
            output,
            file: file.clone(),
        });
        if may_begin {
            self.out.push(Effect::BeginRecording { recording });
        }
        self.recordings.insert(
            recording,
            Recording {
                session,
                name,
                file,
                starting: token,
                path: None,
                may_begin,
                is_ending: false,
                stopping: Vec::new(),
            },
        );
        Ok(None)
    }

    /// Whether the session is recorded to this file already; an error if it cannot be, also because it is to be private.
    pub(crate) fn check_recording(&self, session: SessionId, file: &str, private: Option<bool>) -> Result<bool, Failure> {
        check_file(file)?;
        let of = &self.sessions[&session];
        if private.unwrap_or(of.private) {
            return Err(is_private(&of.id));
        }
        match self.recordings.values().find(|r| r.session == session && !r.is_ending) {
            Some(running) if running.file != file => Err(is_recorded(&of.id, &running.file)),
            running => Ok(running.is_some()),
        }
    }

    /// Answers when the file is whole; nothing to stop is no error.
    pub(crate) fn stop_recording(&mut self, token: Token, session: SessionId) -> Answer {
        let running = self.recordings.iter_mut().rfind(|(_, r)| r.session == session);
        let Some((recording, running)) = running else {
            return Ok(Some(Reply::Recording(None)));
        };
        running.stopping.push(token);
        if !std::mem::replace(&mut running.is_ending, true) {
            let recording = *recording;
            self.out.push(Effect::StopRecording {
                recording,
                reason: "stopped",
            });
        }
        Ok(None)
    }

    /// The session's first frame was sent.
    pub(crate) fn may_record(&mut self, session: SessionId) {
        let waiting = self.recordings.iter_mut().filter(|(_, r)| r.session == session && !r.may_begin);
        let mut begun = Vec::new();
        for (recording, of) in waiting {
            of.may_begin = true;
            self.out.push(Effect::BeginRecording { recording: *recording });
            begun.push(*recording);
        }
        for recording in begun {
            self.tell_recording_started(recording);
        }
    }

    /// The session closes, or becomes private.
    pub(crate) fn end_recording(&mut self, session: SessionId, reason: &'static str) {
        for (recording, of) in self.recordings.iter_mut().filter(|(_, r)| r.session == session) {
            if !std::mem::replace(&mut of.is_ending, true) {
                self.out.push(Effect::StopRecording {
                    recording: *recording,
                    reason,
                });
            }
        }
    }

    pub(crate) fn recording_event(&mut self, recording: RecordingId, event: RecordingEvent) {
        let Some(of) = self.recordings.get_mut(&recording) else {
            return;
        };
        match event {
            RecordingEvent::Opened { path } => {
                of.path = Some(path);
                if let Some(token) = of.starting.take() {
                    self.reply(token, Reply::Done);
                }
                self.tell_recording_started(recording);
            }
            RecordingEvent::Refused(failure) => match of.starting.take() {
                Some(token) => {
                    let stopping = std::mem::take(&mut of.stopping);
                    self.recordings.remove(&recording);
                    self.out.push(Effect::Reply {
                        token,
                        reply: Err(failure),
                    });
                    for token in stopping {
                        self.reply(token, Reply::Recording(None));
                    }
                }
                None => self.recording_ended(
                    recording,
                    RecordingEnd {
                        reason: "failed",
                        error: failure.message,
                        ..RecordingEnd::default()
                    },
                ),
            },
            RecordingEvent::Ended(end) => self.recording_ended(recording, end),
        }
    }

    fn recording_ended(&mut self, recording: RecordingId, end: RecordingEnd) {
        let Some(of) = self.recordings.remove(&recording) else {
            return;
        };
        self.out.push(Effect::Signal {
            session: of.name.clone(),
            signal: Signal::RecordingFinished {
                file: of.file.clone(),
                end: end.clone(),
            },
        });
        self.out.push(Effect::Note(Note::RecordingFinished {
            session: of.name,
            file: of.file.clone(),
            end: end.clone(),
        }));
        if let Some(token) = of.starting {
            self.reply(token, Reply::Done);
        }
        for token in of.stopping {
            self.reply(token, Reply::Recording(Some((of.file.clone(), end.clone()))));
        }
    }

    fn tell_recording_started(&mut self, recording: RecordingId) {
        let Some(of) = self.recordings.get(&recording).filter(|r| r.may_begin && !r.is_ending) else {
            return;
        };
        if let Some(path) = of.path.clone() {
            self.out.push(Effect::Signal {
                session: of.name.clone(),
                signal: Signal::RecordingStarted {
                    file: of.file.clone(),
                    path,
                },
            });
            self.out.push(Effect::Note(Note::RecordingStarted {
                session: of.name.clone(),
                file: of.file.clone(),
            }));
        }
    }

    /// At most one recording of a session that is not on its way to its end (the books).
    pub(crate) fn check_recordings(&self) {
        let running = self.recordings.values().filter(|r| !r.is_ending);
        let sessions: Vec<SessionId> = running.map(|r| r.session).collect();
        for (n, session) in sessions.iter().enumerate() {
            assert!(self.sessions.contains_key(session), "a recording outlives its session unordered");
            assert!(!sessions[..n].contains(session), "two recordings of one session");
        }
    }
}

/// The refusal of a recording of such a session.
pub(crate) fn is_private(session: &str) -> Failure {
    let message = format!("session \"{session}\" is private: nothing of it is recorded");
    Failure::new(ErrorKind::WrongState, message)
}

fn is_recorded(session: &str, file: &str) -> Failure {
    let message = format!("session \"{session}\" is recorded to \"{file}\": stop that recording first");
    Failure::new(ErrorKind::WrongState, message)
}

/// A plain name of a WAV or FLAC file: where recordings lie is the configuration's business.
pub(crate) fn check_file(file: &str) -> Result<(), Failure> {
    let refuse = |why: &str| {
        let shown: String = file.chars().take(64).collect();
        Err(Failure::new(
            ErrorKind::InvalidArgs,
            format!("file is \"{shown}\", but {why}: give a plain name such as \"call-1.wav\"; the folder is set in [recording] dir"),
        ))
    };
    if file.contains('/') {
        return refuse("a recording's name has no folders");
    }
    if file.starts_with('.') {
        return refuse("a recording's name does not begin with a dot");
    }
    if file.len() > 200 {
        return refuse("a recording's name has at most 200 bytes");
    }
    if file.chars().any(char::is_control) {
        return refuse("a recording's name has no control characters");
    }
    if ![".wav", ".flac"].iter().any(|ending| file.ends_with(ending)) {
        return refuse("recordings are WAV or FLAC files and end in .wav or .flac");
    }
    Ok(())
}
