//! What clients of the simulated world do, in short.

use std::sync::Arc;

use utterd_core::{
    Caller, CancelOptions, Failure, Input, Micros, Phase, PlayOptions, Reply, Report, Request, SayOptions, SessionOptions, Token,
    Transition, UtteranceId,
};

use super::{MS, World, sound, target};

impl World {
    pub(crate) fn ask(&mut self, uid: u32, request: Request) -> Token {
        let connection: Arc<str> = format!(":1.{uid}").into();
        self.ask_by(Caller { uid, connection }, request)
    }

    pub(crate) fn ask_by(&mut self, caller: Caller, request: Request) -> Token {
        // What is due comes first, so that what this step decides is this request's doing.
        self.feed(Input::Tick);
        self.tokens += 1;
        let token = Token(self.tokens);
        self.book.called(self.now, token, caller.uid, &request);
        let arrived = self.now;
        self.feed(Input::Client {
            token,
            caller,
            arrived,
            request,
        });
        self.book.decided();
        token
    }

    pub(crate) fn open(&mut self, id: &str) {
        self.open_with(id, SessionOptions::default());
    }

    pub(crate) fn open_with(&mut self, id: &str, options: SessionOptions) {
        let id = id.to_owned();
        let token = self.ask(1, Request::Open { id, options });
        self.reply(token).expect("the session opens");
    }

    /// Says it and returns the id; the reply must be there at once.
    pub(crate) fn say(&mut self, session: &str, text: &str) -> UtteranceId {
        self.say_with(session, text, SayOptions::default())
    }

    pub(crate) fn say_with(&mut self, session: &str, text: &str, options: SayOptions) -> UtteranceId {
        let token = self.try_say(session, text, options);
        match self.reply(token) {
            Ok(Reply::Utterance(id)) => UtteranceId::new(id).expect("the Say was accepted"),
            other => panic!("Say was answered {other:?}"),
        }
    }

    pub(crate) fn try_say(&mut self, session: &str, text: &str, options: SayOptions) -> Token {
        let (target, text) = (target(session), text.to_owned());
        self.ask(1, Request::Say { target, text, options })
    }

    /// Plays a file of this length.
    pub(crate) fn play(&mut self, session: &str, us: Micros, options: PlayOptions) -> UtteranceId {
        let token = self.try_play(session, sound(us), options);
        match self.reply(token) {
            Ok(Reply::Utterance(id)) => UtteranceId::new(id).expect("the Play was accepted"),
            other => panic!("Play was answered {other:?}"),
        }
    }

    /// A client writes.
    pub(crate) fn inject(&mut self, session: &str, options: PlayOptions) -> UtteranceId {
        let format = utterd_core::AudioFormat {
            rate: None,
            encoding: utterd_core::Encoding::S16le,
            channels: 1,
        };
        let target = target(session);
        let token = self.ask(1, Request::Inject { target, format, options });
        match self.reply(token) {
            Ok(Reply::Feed { utterance, .. }) => UtteranceId::new(utterance).expect("the stream was accepted"),
            other => panic!("AcquireAudio was answered {other:?}"),
        }
    }

    pub(crate) fn try_play(&mut self, session: &str, sound: utterd_core::Sound, options: PlayOptions) -> Token {
        let target = target(session);
        self.ask(1, Request::Play { target, sound, options })
    }

    pub(crate) fn say_open(&mut self, session: &str) -> UtteranceId {
        self.say_open_with(session, SayOptions::default())
    }

    pub(crate) fn say_open_with(&mut self, session: &str, options: SayOptions) -> UtteranceId {
        let target = target(session);
        let token = self.ask(1, Request::SayOpen { target, options });
        match self.reply(token) {
            Ok(Reply::Utterance(id)) => UtteranceId::new(id).expect("the SayOpen was accepted"),
            other => panic!("SayOpen was answered {other:?}"),
        }
    }

    pub(crate) fn try_append(&mut self, session: &str, utterance: u64, seq: u64, text: &str) -> Result<Reply, Failure> {
        let request = Request::SayAppend {
            target: target(session),
            utterance,
            seq,
            text: text.to_owned(),
        };
        let token = self.ask(1, request);
        self.reply(token)
    }

    pub(crate) fn append(&mut self, session: &str, utterance: UtteranceId, seq: u64, text: &str) -> &'static str {
        match self.try_append(session, utterance.get(), seq, text) {
            Ok(Reply::Ack(ack)) => ack,
            other => panic!("SayAppend was answered {other:?}"),
        }
    }

    pub(crate) fn say_end(&mut self, session: &str, utterance: UtteranceId) {
        let target = target(session);
        let utterance = utterance.get();
        let token = self.ask(1, Request::SayEnd { target, utterance });
        self.reply(token).expect("SayEnd succeeds");
    }

    pub(crate) fn try_submit(&mut self, session: &str, phase: Phase, turn: u64, chunk_seq: u64, text: &str, options: SayOptions) -> Token {
        let request = Request::Submit {
            target: target(session),
            phase,
            turn,
            chunk_seq,
            text: text.to_owned(),
            options,
        };
        self.ask(1, request)
    }

    pub(crate) fn collect(&mut self, session: &str, turn: u64, chunk_seq: u64, text: &str) -> (&'static str, u32) {
        let token = self.try_submit(session, Phase::Collect, turn, chunk_seq, text, SayOptions::default());
        match self.reply(token) {
            Ok(Reply::Submitted {
                ack,
                utterance: 0,
                buffered,
            }) => (ack, buffered),
            other => panic!("the collect was answered {other:?}"),
        }
    }

    pub(crate) fn commit(&mut self, session: &str, turn: u64, chunk_seq: u64, text: &str) -> (&'static str, u64) {
        let token = self.try_submit(session, Phase::Commit, turn, chunk_seq, text, SayOptions::default());
        match self.reply(token) {
            Ok(Reply::Submitted { ack, utterance, .. }) => (ack, utterance),
            other => panic!("the commit was answered {other:?}"),
        }
    }

    pub(crate) fn cancel(&mut self, session: &str, options: CancelOptions) -> Report {
        let token = self.begin_cancel(session, options);
        self.run(100 * MS);
        self.report(token)
    }

    pub(crate) fn begin_cancel(&mut self, session: &str, options: CancelOptions) -> Token {
        let target = target(session);
        self.ask(1, Request::Cancel { target, options })
    }

    pub(crate) fn close(&mut self, session: &str, drain: bool) -> Token {
        let target = target(session);
        self.ask(1, Request::Close { target, drain })
    }

    pub(crate) fn pause(&mut self, session: &str) {
        let target = target(session);
        self.ask(
            1,
            Request::Pause {
                target,
                fade_us: None,
                auto_resume_us: None,
            },
        );
    }

    pub(crate) fn transition(&mut self, transition: Transition, session: &str, turn: u64) -> Token {
        let target = target(session);
        self.ask(1, Request::Transition { transition, target, turn })
    }

    pub(crate) fn enter(&mut self, session: &str, turn: u64) -> Token {
        self.transition(Transition::EnterListening, session, turn)
    }

    pub(crate) fn leave(&mut self, session: &str, turn: u64) -> Token {
        self.transition(Transition::LeaveListening, session, turn)
    }

    pub(crate) fn resume(&mut self, session: &str) {
        let target = target(session);
        self.ask(1, Request::Resume { target });
    }
}
