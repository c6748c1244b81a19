//! A request to speak, as a plugin reads it.

use super::{Error, Result};
use crate::abi::*;

/// One request. Everything in it is borrowed for the call.
#[derive(Debug, Clone, Copy)]
pub struct Speak<'a> {
    /// This request's own id; what a remote server should be told.
    pub synthesis: u64,
    /// The utterance it is a part of.
    pub utterance: u64,
    /// The session it is spoken in.
    pub session: u64,
    /// The text, without NULs if the host is kind; marks count its bytes.
    pub text: &'a str,
    /// Empty: the default voice for `language`.
    pub voice: &'a str,
    /// BCP 47, or empty.
    pub language: &'a str,
    /// 1.0 = as the voice was made.
    pub rate: f32,
    /// 1.0 = as the voice was made.
    pub pitch: f32,
    /// In dB; 0 = as the voice was made. The host applies its own gain, so most plugins ignore it.
    pub gain_db: f32,
    /// The rate of the output in Hz; 0 = unknown. Speaking at it saves a resampler.
    pub out_rate_hint: u32,
    /// Parameters of this request: a JSON object, or empty.
    pub params_json: &'a str,
    /// `UT_SPEAK_*`.
    pub flags: u32,
}

/// A word and its place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// In bytes of the text.
    pub offset: usize,
    /// The word itself.
    pub text: &'a str,
}

impl<'a> Speak<'a> {
    /// # Safety
    /// `req` is as R3 and R5 describe it, its strings readable for `'a`.
    pub(super) unsafe fn read(req: *const UtSpeakReq) -> Option<Self> {
        // SAFETY: the caller's promise is ours.
        let req = unsafe { read_sized(req) }?;
        // SAFETY: inputs are borrowed for the call (R5), which `'a` does not outlive.
        let text = |s: UtStr| unsafe { s.text() };
        Some(Self {
            synthesis: req.synthesis,
            utterance: req.utterance,
            session: req.session,
            text: text(req.text)?,
            voice: text(req.voice)?,
            language: text(req.lang)?,
            rate: req.rate,
            pitch: req.pitch,
            gain_db: req.gain_db,
            out_rate_hint: req.out_rate_hint,
            params_json: text(req.params_json)?,
            flags: req.flags,
        })
    }

    /// The parameters of this request, `T`'s own defaults where there are none. What `T` refuses is an error that names the key: a parameter is
    /// never silently ignored, so `T` should `deny_unknown_fields`; for a plugin without any, `NoConfig` does.
    pub fn params<T: serde::de::DeserializeOwned + Default>(&self) -> Result<T> {
        match self.params_json.trim() {
            "" | "{}" => Ok(T::default()),
            json => serde_json::from_str(json).map_err(|e| Error::Argument(format!("params: {e}"))),
        }
    }

    /// Whether silence follows this piece: the last one of its utterance.
    pub fn is_last(&self) -> bool {
        self.flags & UT_SPEAK_LAST != 0
    }

    /// Refuses a voice that is not one of `voices`; the empty one is the default and always there.
    pub fn voice_among(&self, voices: &[&str]) -> Result<()> {
        if self.voice.is_empty() || voices.contains(&self.voice) {
            return Ok(());
        }
        Err(Error::NoVoice(format!("no voice {:?} here, only {voices:?}", self.voice)))
    }

    /// The words: what stands between white space.
    pub fn words(&self) -> impl Iterator<Item = Word<'a>> + use<'a> {
        let text = self.text;
        text.split_whitespace().map(move |word| Word {
            offset: word.as_ptr() as usize - text.as_ptr() as usize,
            text: word,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_know_their_bytes() {
        let text = "  Grüße, \u{2003}Welt!\n";
        let req = Speak {
            synthesis: 1,
            utterance: 1,
            session: 1,
            text,
            voice: "",
            language: "",
            rate: 1.0,
            pitch: 1.0,
            gain_db: 0.0,
            out_rate_hint: 0,
            params_json: "",
            flags: 0,
        };
        let words: Vec<_> = req.words().collect();
        assert_eq!(words.len(), 2);
        for word in words {
            assert_eq!(&text[word.offset..word.offset + word.text.len()], word.text);
        }
    }
}
