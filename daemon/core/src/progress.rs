//! What was heard so far: the first sample, and each mark as its onset reaches the listener.

use crate::Core;
use crate::effect::{Effect, Signal};
use crate::ids::{Micros, UtteranceId};
use crate::note::Note;
use crate::options::Progress;
use crate::session::Stage;
use crate::spoken::Mark;
use crate::text;

/// One line of progress, in code points of the text as sent.
struct Heard {
    kind: &'static str,
    chars: std::ops::Range<u32>,
    name: Option<String>,
}

impl Heard {
    fn of(mark: Mark) -> Self {
        Self {
            kind: "mark",
            chars: mark.sent..mark.sent,
            name: Some(mark.name),
        }
    }
}

impl Core {
    pub(crate) fn started(&mut self, id: UtteranceId) {
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        let beside = match u.stage {
            Stage::Committed(part) => {
                u.stage = Stage::Started(part);
                false
            }
            Stage::Beside { started: false } => {
                u.stage = Stage::Beside { started: true };
                true
            }
            _ => return,
        };
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
        let user_silence_us = self.user_silence_us(session_id);
        if !beside {
            self.playback_started(session_id, turn);
        }
        self.signal(
            session_id,
            Signal::UtteranceStarted {
                utterance: id,
                first_audio_us,
                user_silence_us,
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
            self.may_record(session_id);
        }
    }

    pub(crate) fn mark_heard(&mut self, id: UtteranceId, word: bool, onset_us: Micros, chars: std::ops::Range<u32>) {
        let Some(u) = self.utterances.get_mut(&id) else {
            return;
        };
        let was_protected = u.is_protected();
        u.heard_us = u.heard_us.max(onset_us);
        if was_protected && !u.is_protected() {
            // Whoever speaks still is heard from now on.
            self.dirty.insert(u.session);
        }
        if !word {
            return;
        }
        // espeak-ng marks "can" of "can't": what was heard must not say the opposite.
        let piece_end = u
            .syntheses
            .iter()
            .map(|s| s.piece.chars.end)
            .find(|end| *end >= chars.end)
            .unwrap_or(chars.end);
        let chars = chars.start..text::word_end(u.spoken.text(&u.text), chars.end).min(piece_end);
        u.heard_chars = u.heard_chars.max(chars.end);
        if u.cancel.is_some() || u.progress == Progress::None {
            return;
        }
        let mut heard: Vec<Heard> = u.spoken.reached(chars.end).map(Heard::of).collect();
        while let Some(sentence) = u.sentences.front()
            && sentence.chars.start < chars.end
        {
            // A sentence whose words the backend has no marks for is passed over silently.
            if sentence.chars.end > chars.start {
                heard.push(Heard {
                    kind: "sentence",
                    chars: u.spoken.back(sentence.chars.clone()),
                    name: None,
                });
            }
            u.sentences.pop_front();
        }
        if u.progress == Progress::Word {
            heard.push(Heard {
                kind: "word",
                chars: u.spoken.back(chars),
                name: None,
            });
        }
        self.tell_progress(id, heard, onset_us);
    }

    /// The marks behind the last word are reached when the utterance has been heard to its end.
    pub(crate) fn last_marks(&mut self, id: UtteranceId, played_us: Micros) {
        let Some(u) = self.utterances.get_mut(&id).filter(|u| u.progress != Progress::None) else {
            return;
        };
        let heard = u.spoken.marks_left().into_iter().map(Heard::of).collect();
        self.tell_progress(id, heard, played_us);
    }

    fn tell_progress(&mut self, id: UtteranceId, heard: Vec<Heard>, played_us: Micros) {
        let Some(u) = self.utterances.get(&id) else {
            return;
        };
        let (session, tag, turn) = (u.session, u.tag.clone(), u.turn);
        let private = self.sessions.get(&session).is_some_and(|s| s.private);
        let text = |range: &std::ops::Range<u32>| {
            text::prefix(&u.text, range.end)
                .chars()
                .skip(range.start as usize)
                .collect::<String>()
        };
        let heard: Vec<_> = heard
            .into_iter()
            .map(|h| (h.kind, (!private && h.name.is_none()).then(|| text(&h.chars)), h))
            .collect();
        for (kind, text, Heard { chars, name, .. }) in heard {
            self.signal(
                session,
                Signal::UtteranceProgress {
                    utterance: id,
                    kind,
                    chars,
                    played_us,
                    text,
                    name,
                    tag: tag.clone(),
                    turn,
                },
            );
        }
    }
}
