//! The hands' part about AcquireAudio "inject": the pipe that goes out with the reply.

use utterd_core::{AudioFormat, ErrorKind, Failure, Token};

use super::Hands;
use crate::dbus::Out;
use crate::tx::Output;

impl Hands {
    /// A stream that cannot be made is an error, and its utterance is empty.
    pub(super) fn open_feed(&self, token: Token, utterance: u64, format: AudioFormat, output: Output, start_us: u64) {
        let rate = format.rate.unwrap_or_else(|| self.tx.rate(output));
        match self.feeds.open(utterance, format, rate) {
            Ok(stream) => self.send(Out::Feed {
                token,
                stream,
                rate,
                format,
                start_us,
                utterance,
            }),
            Err(error) => {
                tracing::error!(utterance, %error, "no pipe for a client's sound");
                let failure = Failure::new(ErrorKind::LimitExceeded, format!("no pipe can be made: {error}"));
                self.send(Out::Reply {
                    token,
                    reply: Err(failure),
                });
            }
        }
    }
}
