//! AcquireAudio "inject": an utterance whose samples a client writes while it is heard, as a speech-to-speech model does.
//!
//! One stream is one utterance; its end is the stream's end, and a cancel breaks the stream. It may be silent for as long as its client likes, but
//! one that has had no audio for 2 s does not hold the floor (SEMANTICS, "Floor"), like an open text stream.
//! Not here: the pipe itself, which the shell makes with the reply and reads.

use crate::Core;
use crate::audio::AudioFormat;
use crate::effect::Reply;
use crate::floor::YIELD_AFTER_US;
use crate::ids::{Micros, SessionId, Token, UtteranceId};
use crate::options::PlayOptions;
use crate::request::{ErrorKind, Failure};
use crate::say::{Content, Origin};
use crate::session::Utterance;
use crate::source::Source;
use crate::verbs::Answer;

/// Each holds descriptors of the daemon, of which there are only so many.
const MAX_FEEDS: usize = 256;
/// The shell calls a feed dry after it had nothing for longer than this: sooner, it is news from before the last samples came.
const SETTLED_US: Micros = 150_000;

/// What is known of the client's writing.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Since when there was nothing to be heard.
    dry_since: Option<Micros>,
    flowed: Micros,
}

impl Feed {
    pub(crate) fn asked_for(now: Micros) -> Self {
        Self {
            dry_since: Some(now),
            flowed: 0,
        }
    }

    /// It has had no audio for so long that it does not hold the floor.
    pub(crate) fn starves(&self, now: Micros) -> bool {
        self.dry_since.is_some_and(|since| now.saturating_sub(since) >= YIELD_AFTER_US)
    }
}

impl Utterance {
    pub(crate) fn is_feed(&self) -> bool {
        matches!(self.source, Source::Feed(_))
    }
}

impl Core {
    pub(crate) fn inject(&mut self, token: Token, session: SessionId, format: AudioFormat, options: PlayOptions) -> Answer {
        if self.utterances.values().filter(|u| u.is_feed()).count() >= MAX_FEEDS {
            let message = format!("{MAX_FEEDS} streams are being written: wait for some to finish");
            return Err(Failure::new(ErrorKind::LimitExceeded, message));
        }
        let content = Content {
            text: options.text,
            source: Source::Feed(format),
            beside: None,
        };
        match self.say(token, session, content, options.say, Origin::Feed)? {
            // Not accepted: a stream that is broken from the start, and no utterance.
            Some(_) => Ok(Some(Reply::Feed {
                utterance: 0,
                format,
                output: self.sessions[&session].output,
                at_us: self.now,
            })),
            None => Ok(None),
        }
    }

    /// Its client writes (again).
    pub(crate) fn feed_flows(&mut self, id: UtteranceId) {
        let now = self.now;
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        let session = u.session;
        if let Some(feed) = &mut u.feed {
            feed.flowed = now;
            if feed.dry_since.take().is_some()
                && let Some(floor) = self.sessions.get(&session).map(|s| s.floor)
            {
                self.schedule(floor);
            }
        }
    }

    /// All that its client wrote was heard.
    pub(crate) fn feed_ran_dry(&mut self, id: UtteranceId) {
        let now = self.now;
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        let session = u.session;
        if let Some(feed) = &mut u.feed
            && now.saturating_sub(feed.flowed) >= SETTLED_US
        {
            feed.dry_since.get_or_insert(now);
            self.arm_yield(session);
        }
    }
}
