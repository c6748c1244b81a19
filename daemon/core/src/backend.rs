//! Backends as the core knows them: what they can, how patient one is with them, whose fault a failure is, what is kept of their speech.

use crate::ids::Micros;
use crate::request::Told;

/// A backend that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its id.
    pub id: String,
    /// Its voices.
    pub voices: Vec<Voice>,
    /// The voice that speaks when none is asked for.
    pub default_voice: String,
    /// It takes a whole text and several requests at once.
    pub concurrent: bool,
    /// It tells when each word begins.
    pub word_timing: bool,
}

impl Backend {
    /// No voice in particular is any backend's; a language tag is as good a name for a voice as its id, and "en-us+f3" is a variant of
    /// espeak-ng's "en-us". A backend that names no voices takes any.
    pub(crate) fn has_voice(&self, voice: Option<&str>) -> bool {
        let Some(voice) = voice.filter(|v| !v.is_empty()) else {
            return true;
        };
        let base = voice.split('+').next().unwrap_or(voice);
        let is = |v: &Voice| v.id == voice || v.id == base || v.languages.iter().any(|l| l == base);
        self.voices.is_empty() || self.voices.iter().any(is)
    }

    /// Its voice for a language, the default one if it speaks it; another region is better than none.
    pub(crate) fn voice_for(&self, language: &str) -> Option<&Voice> {
        let default = self.voices.iter().find(|v| v.id == self.default_voice).into_iter();
        let voices: Vec<_> = default.chain(&self.voices).collect();
        let that = |matches: fn(&str, &str) -> bool| voices.iter().find(|v| v.languages.iter().any(|l| matches(l, language))).copied();
        that(speaks).or_else(|| that(same_language))
    }

    /// What a voice speaks, as far as its backend tells.
    pub(crate) fn language_of(&self, voice: &str) -> String {
        let base = voice.split('+').next().unwrap_or(voice);
        let named = self.voices.iter().find(|v| v.id == voice || v.id == base);
        let tags = self.voices.iter().flat_map(|v| &v.languages);
        let first = named.and_then(|v| v.languages.first());
        first.or_else(|| tags.into_iter().find(|l| *l == base)).cloned().unwrap_or_default()
    }

    /// The same request to this voice always brings the same speech. What is not known is: "en-us+f3" is a variant of "en-us".
    pub(crate) fn repeats(&self, voice: &str) -> bool {
        let id = if voice.is_empty() { &self.default_voice } else { voice };
        self.voices.iter().find(|v| v.id == *id).is_none_or(|v| v.cacheable)
    }
}

/// The language that was asked for; a bare "de" takes any region.
fn speaks(offered: &str, wanted: &str) -> bool {
    offered.eq_ignore_ascii_case(wanted) || (primary(wanted).eq_ignore_ascii_case(wanted) && same_language(offered, wanted))
}

/// Another region is better than no voice: "de" speaks "de-AT".
fn same_language(offered: &str, wanted: &str) -> bool {
    primary(offered).eq_ignore_ascii_case(primary(wanted))
}

fn primary(tag: &str) -> &str {
    tag.split(['-', '_']).next().unwrap_or_default()
}

/// A voice of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voice {
    /// Its id.
    pub id: String,
    /// BCP 47 tags.
    pub languages: Vec<String>,
    /// The same request always brings the same speech.
    pub cacheable: bool,
}

/// How long one backend is waited for, and spared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A request without audio is given up after this time; 0 = never.
    pub first_audio_us: Micros,
    /// So is an answer that stops in its middle.
    pub stall_us: Micros,
    /// How long it is not asked at first after it has failed; doubles with each further failure. 0 = it is always asked.
    pub back_off_us: Micros,
    /// At most this.
    pub back_off_max_us: Micros,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_audio_us: 10_000_000,
            stall_us: 10_000_000,
            back_off_us: 1_000_000,
            back_off_max_us: 60_000_000,
        }
    }
}

/// A phrase that is synthesised when the daemon starts, and kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// What is spoken.
    pub text: String,
    /// Empty: as for a Say that names none.
    pub backend: String,
    /// Empty: as for a Say that names none.
    pub voice: String,
    /// Empty: as for a Say that names none.
    pub language: String,
}

/// Whose mistake a failed synthesis was; decides whether another backend is asked, and whether this one is spared for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request itself is wrong: an unknown voice, a parameter out of range. Another backend would only hide it.
    Request,
    /// The backend's.
    Backend {
        /// It said when to come again; 0 = it did not.
        retry_after_us: Micros,
    },
    /// It did not answer in time, was given up, and this was done to tell it so.
    Silent {
        /// `Told` or `Cannot`.
        told: Told,
    },
    /// Nobody's at the backend: the daemon ended it.
    House,
}

/// Whether a phrase is kept once it was synthesised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheUse {
    /// If it is short, until others need the room.
    #[default]
    Auto,
    /// For as long as the daemon runs.
    Pin,
    /// Not kept, and not taken from what is kept.
    No,
}
