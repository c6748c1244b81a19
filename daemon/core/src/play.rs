//! Play: a sound as an utterance. What it shares with Say stands in `say`, what differs in `source`, what lies beside the speech in `beside`.

use crate::Core;
use crate::beside::DUCK_DB;
use crate::ids::{SessionId, Token};
use crate::options::{Mode, PlayOptions};
use crate::request::{ErrorKind, Failure};
use crate::say::{Content, Origin};
use crate::source::{Sound, Source};
use crate::verbs::Answer;

impl Core {
    pub(crate) fn play(&mut self, token: Token, session: SessionId, sound: Sound, options: PlayOptions) -> Answer {
        if let Some(whole) = sound.duration_us
            && sound.start_us > 0
            && sound.start_us >= whole
        {
            let message = format!("option \"start-us\" is {}, but the sound is {whole} us long", sound.start_us);
            return Err(Failure::new(ErrorKind::InvalidArgs, message));
        }
        let mut say = options.say;
        let beside = options.beside.then(|| options.duck_db.unwrap_or(DUCK_DB));
        if beside.is_some() {
            if say.mode.is_some_and(|mode| mode != Mode::Queue) {
                let message = "options \"mode\" and \"beside\" exclude each other: what lies beside the speech takes nobody's place";
                return Err(Failure::new(ErrorKind::InvalidArgs, message));
            }
            // The session's own default is about what is queued.
            say.mode = Some(Mode::Queue);
        }
        let content = Content {
            text: options.text,
            source: Source::Sound(sound),
            beside,
        };
        self.say(token, session, content, say, Origin::Play)
    }
}
