//! What was heard so far: the first sample, and each mark as its onset reaches the listener.

use crate::Core;
use crate::effect::{Effect, Note, Signal};
use crate::ids::{Micros, UtteranceId};
use crate::request::Progress;
use crate::session::Stage;
use crate::text;

impl Core {
    pub(crate) fn started(&mut self, id: UtteranceId) {
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        let Stage::Committed(part) = u.stage else {
            return;
        };
        u.stage = Stage::Started(part);
        // Until its report is known a cancelled utterance stays silent towards clients.
        if u.cancel.is_some() {
            return;
        }
        let (tag, turn, first_audio_us) = (u.tag.clone(), u.turn, self.now.saturating_sub(u.accepted));
        let session_id = u.session;
        let Some(session) = self.sessions.get_mut(&session_id) else {
            return;
        };
        let first_frame = !std::mem::replace(&mut session.first_frame_sent, true);
        let name = session.id.clone();
        self.dirty.insert(session_id);
        self.playback_started(session_id, turn);
        self.signal(
            session_id,
            Signal::UtteranceStarted {
                utterance: id,
                first_audio_us,
                tag,
                turn,
            },
        );
        self.out.push(Effect::Note(Note::Started {
            session: name.clone(),
            utterance: id,
            first_audio_us,
        }));
        if first_frame {
            self.signal(session_id, Signal::FirstFrameSent { utterance: id });
            self.out.push(Effect::Note(Note::FirstFrameSent {
                session: name,
                utterance: id,
            }));
        }
    }

    pub(crate) fn mark_heard(&mut self, id: UtteranceId, word: bool, onset_us: Micros, chars: std::ops::Range<u32>) {
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        u.heard_us = u.heard_us.max(onset_us);
        if !word {
            return;
        }
        // espeak-ng marks "can" of "can't": what was heard must not say the opposite.
        let piece_end = u
            .syntheses
            .iter()
            .map(|s| s.chars_end)
            .find(|end| *end >= chars.end)
            .unwrap_or(chars.end);
        let chars = chars.start..text::word_end(&u.text, chars.end).min(piece_end);
        u.heard_chars = u.heard_chars.max(chars.end);
        if u.cancel.is_some() || u.progress == Progress::None {
            return;
        }
        let mut heard = Vec::new();
        while let Some(sentence) = u.sentences.front()
            && sentence.chars.start < chars.end
        {
            // A sentence whose words the backend has no marks for is passed over silently.
            if sentence.chars.end > chars.start {
                heard.push(("sentence", sentence.chars.clone()));
            }
            u.sentences.pop_front();
        }
        if u.progress == Progress::Word {
            heard.push(("word", chars));
        }
        let (session, tag, turn) = (u.session, u.tag.clone(), u.turn);
        let text = |range: &std::ops::Range<u32>| {
            text::prefix(&u.text, range.end)
                .chars()
                .skip(range.start as usize)
                .collect::<String>()
        };
        let private = self.sessions.get(&session).is_some_and(|s| s.private);
        let heard: Vec<_> = heard
            .into_iter()
            .map(|(kind, range)| (kind, (!private).then(|| text(&range)), range))
            .collect();
        for (kind, text, chars) in heard {
            self.signal(
                session,
                Signal::UtteranceProgress {
                    utterance: id,
                    kind,
                    chars,
                    played_us: onset_us,
                    text,
                    tag: tag.clone(),
                    turn,
                },
            );
        }
    }
}
