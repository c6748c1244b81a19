//! Which voice a request means. Pure: the list comes from `engine.rs`.

use utterd_plugin_api::prelude::*;

/// The voice of a request that names neither voice nor language.
const DEFAULT: &str = "en-us";

/// One voice of libespeak-ng.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The name of its file, in lower case: `en-us`.
    pub(crate) id: String,
    pub(crate) name: String,
    /// What the library knows it by: `gmw/en-US`.
    pub(crate) file: String,
    /// With their priorities; the lowest is the best.
    pub(crate) languages: Vec<(u8, String)>,
}

/// All of them, and the variants (`f3`, `whisper`) that each can be spoken with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Voices {
    pub(crate) entries: Vec<Entry>,
    pub(crate) variants: Vec<String>,
}

impl Voices {
    /// The default voice's id.
    pub(crate) fn default_id(&self) -> &str {
        let there = self.entries.iter().any(|v| v.id == DEFAULT);
        if there {
            DEFAULT
        } else {
            self.entries.first().map_or("", |v| v.id.as_str())
        }
    }

    /// The library's name of the voice that is meant: by id, by language tag as a name (`en-gb`), either with `+variant`; else by language.
    pub(crate) fn choose(&self, voice: &str, language: &str) -> Result<String> {
        if voice.is_empty() {
            let found = if language.is_empty() {
                self.by_id(self.default_id())
            } else {
                self.by_language(language)
            };
            return found
                .map(|v| v.file.clone())
                .ok_or_else(|| Error::NoVoice(format!("espeak-ng has no voice for the language {language:?}")));
        }
        let unknown = |what: &str| {
            Error::NoVoice(format!(
                "espeak-ng has no {what} of voice {voice:?}: see ListVoices, or `espeak-ng --voices`"
            ))
        };
        let (base, variant) = voice.split_once('+').map_or((voice, None), |(base, v)| (base, Some(v)));
        let entry = self.by_id(base).or_else(|| self.by_tag(base)).ok_or_else(|| unknown("file"))?;
        match variant {
            None => Ok(entry.file.clone()),
            Some(v) if self.variants.iter().any(|known| known == v) => Ok(format!("{}+{v}", entry.file)),
            Some(_) => Err(unknown("such variant")),
        }
    }

    fn by_id(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|v| v.id.eq_ignore_ascii_case(id))
    }

    fn by_tag(&self, tag: &str) -> Option<&Entry> {
        let with = |v: &Entry| v.languages.iter().find(|(_, t)| t.eq_ignore_ascii_case(tag)).map(|(p, _)| *p);
        self.entries.iter().filter(|v| with(v).is_some()).min_by_key(|v| with(v))
    }

    /// `de-AT` means `de` when there is no Austrian; `_` is taken for `-`.
    fn by_language(&self, language: &str) -> Option<&Entry> {
        let tag = language.replace('_', "-");
        let mut tag = tag.split('.').next().unwrap_or_default();
        loop {
            if let Some(found) = self.by_tag(tag).or_else(|| self.by_id(tag)) {
                return Some(found);
            }
            tag = tag.rsplit_once('-')?.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voices() -> Voices {
        let entry = |file: &str, languages: &[(u8, &str)]| Entry {
            id: file.rsplit('/').next().unwrap().to_lowercase(),
            name: file.into(),
            file: file.into(),
            languages: languages.iter().map(|(p, t)| (*p, (*t).to_owned())).collect(),
        };
        Voices {
            entries: vec![
                entry("gmw/de", &[(5, "de")]),
                entry("gmw/en-GB-scotland", &[(5, "en-gb-scotland"), (4, "en")]),
                entry("gmw/en", &[(2, "en-gb"), (2, "en")]),
                entry("gmw/en-US", &[(2, "en-us"), (3, "en")]),
            ],
            variants: vec!["f3".into()],
        }
    }

    #[test]
    fn a_voice_is_found_by_id_by_tag_and_with_a_variant() {
        let voices = voices();
        assert_eq!(voices.choose("", "").unwrap(), "gmw/en-US");
        assert_eq!(
            voices.choose("en-us", "de").unwrap(),
            "gmw/en-US",
            "the voice outranks the language"
        );
        assert_eq!(voices.choose("en-gb", "").unwrap(), "gmw/en");
        assert_eq!(voices.choose("de+f3", "").unwrap(), "gmw/de+f3");
    }

    #[test]
    fn a_language_finds_its_best_voice() {
        let voices = voices();
        assert_eq!(voices.choose("", "en").unwrap(), "gmw/en");
        assert_eq!(voices.choose("", "de-AT").unwrap(), "gmw/de");
        assert_eq!(voices.choose("", "en_US.UTF-8").unwrap(), "gmw/en-US");
    }

    #[test]
    fn what_is_not_there_is_an_error_that_names_it() {
        for (voice, language, named) in [
            ("zz", "", "zz"),
            ("de+nobody", "", "de+nobody"),
            ("../../etc/passwd", "", "passwd"),
            ("", "tlh-x", "tlh-x"),
        ] {
            let error = voices().choose(voice, language).unwrap_err();
            assert!(matches!(&error, Error::NoVoice(m) if m.contains(named)), "{error:?}");
        }
    }
}
