//! SSML as it is read aloud: what no backend here can do is dropped, its text stays. Sentences, paragraphs and longer breaks end a sentence,
//! short breaks are a comma, `sub` is read by its alias, spelled-out text letter by letter; marks are remembered with their places.
//!
//! Broken SSML is an error that names line and column. No entity but XML's own five and character references: nothing can expand.

use std::ops::Range;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;

use super::writer::Writer;
use super::{Mark, Part};

/// Elements in elements.
const DEPTH: usize = 64;
/// Marks of one document; each is a signal.
const MARKS: usize = 1000;
/// A mark's name comes back in a signal.
const NAME_BYTES: usize = 256;
/// Below this a break is a comma.
const SENTENCE_BREAK_MS: f64 = 250.0;

/// What its end means.
enum Element {
    Plain,
    Sentence,
    /// Its text is not for the ear.
    Silent,
    Spelled,
    /// Other words for all of it, from this byte on.
    Alias {
        start: usize,
        words: String,
    },
}

struct Document<'a> {
    text: &'a str,
    out: Writer<'a>,
    marks: Vec<Mark>,
    open: Vec<Element>,
    silent: usize,
    spelled: usize,
    rooted: bool,
}

pub(super) fn render(text: &str) -> Result<(Part, Vec<Mark>), String> {
    let mut document = Document {
        text,
        out: Writer::new(text, false),
        marks: Vec::new(),
        open: Vec::new(),
        silent: 0,
        spelled: 0,
        rooted: false,
    };
    document.read().map_err(|(at, what)| format!("ssml, {}: {what}", place(text, at)))?;
    Ok((document.out.finish(false), document.marks))
}

type Wrong = (usize, String);

impl Document<'_> {
    fn read(&mut self) -> Result<(), Wrong> {
        let text = self.text;
        // The reader would swallow it uncounted.
        let base = text.len() - text.trim_start_matches('\u{feff}').len();
        let mut reader = Reader::from_str(&text[base..]);
        reader.config_mut().check_comments = true;
        loop {
            let start = base + reader.buffer_position() as usize;
            let event = reader
                .read_event()
                .map_err(|e| (base + reader.error_position() as usize, e.to_string()))?;
            let at = start..base + reader.buffer_position() as usize;
            match event {
                Event::Start(tag) => self.start(&tag, at.start)?,
                Event::Empty(tag) => {
                    self.start(&tag, at.start)?;
                    self.end(at.end);
                }
                Event::End(_) => self.end(at.end),
                Event::Text(words) => self.words(&words, at.start)?,
                Event::CData(words) => self.words(&words, at.start + "<![CDATA[".len())?,
                Event::GeneralRef(name) => self.entity(&name, at)?,
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) | Event::DocType(_) => {}
                Event::Eof => break,
            }
        }
        if !self.rooted {
            return Err((text.len(), "there is no <speak> element".to_owned()));
        }
        match self.open.len() {
            0 => Ok(()),
            open => Err((text.len(), format!("the text ends while {open} elements are open"))),
        }
    }

    fn start(&mut self, tag: &BytesStart<'_>, at: usize) -> Result<(), Wrong> {
        let name = tag.local_name();
        let name = name.into_inner();
        let root = self.open.is_empty();
        if root && (self.rooted || name != "speak") {
            return Err((at, format!("<{name}> stands outside of the one <speak> element")));
        }
        self.rooted = true;
        if self.open.len() == DEPTH {
            return Err((at, format!("elements are nested deeper than {DEPTH}")));
        }
        let attributes = attributes(tag).map_err(|what| (at, format!("<{name}>: {what}")))?;
        let attribute = |key: &str| attributes.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let element = match name {
            "p" | "s" | "paragraph" | "sentence" => {
                self.out.end_sentence();
                Element::Sentence
            }
            "sub" => match attribute("alias") {
                Some(words) => Element::Alias {
                    start: at,
                    words: words.to_owned(),
                },
                None => return Err((at, "<sub> needs an alias".to_owned())),
            },
            "say-as" => match attribute("interpret-as") {
                Some("characters" | "spell-out" | "verbatim" | "digits") => Element::Spelled,
                _ => Element::Plain,
            },
            "mark" => {
                self.mark(attribute("name").unwrap_or_default(), at)?;
                Element::Plain
            }
            "break" => {
                self.pause(attribute("strength"), attribute("time"));
                Element::Plain
            }
            "metadata" | "desc" => Element::Silent,
            _ => Element::Plain,
        };
        match element {
            Element::Silent | Element::Alias { .. } => self.silent += 1,
            Element::Spelled => self.spelled += 1,
            Element::Plain | Element::Sentence => {}
        }
        self.open.push(element);
        Ok(())
    }

    fn end(&mut self, at: usize) {
        match self.open.pop() {
            Some(Element::Sentence) => self.out.end_sentence(),
            Some(Element::Silent) => self.silent -= 1,
            Some(Element::Spelled) => self.spelled -= 1,
            Some(Element::Alias { start, words }) => {
                self.silent -= 1;
                if self.silent == 0 {
                    self.out.replace(&words, start..at);
                }
            }
            Some(Element::Plain) | None => {}
        }
    }

    fn words(&mut self, words: &str, at: usize) -> Result<(), Wrong> {
        if self.open.is_empty() {
            return match words.find(|c: char| !c.is_whitespace()) {
                None => Ok(()),
                Some(offset) => Err((at + offset, "text stands outside of the <speak> element".to_owned())),
            };
        }
        if self.silent > 0 {
            return Ok(());
        }
        if self.spelled == 0 {
            self.out.prose(at, words);
            return Ok(());
        }
        for (offset, c) in words.char_indices() {
            self.out.letter(c, at + offset..at + offset + c.len_utf8());
            self.out.apart();
        }
        Ok(())
    }

    fn entity(&mut self, name: &BytesRef<'_>, at: Range<usize>) -> Result<(), Wrong> {
        let c = match name.resolve_char_ref() {
            Ok(Some(c)) => c,
            Ok(None) => match &**name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                other => {
                    let other: String = other.chars().take(32).collect();
                    return Err((at.start, format!("there is no entity &{other};")));
                }
            },
            Err(error) => return Err((at.start, error.to_string())),
        };
        if self.open.is_empty() {
            return Err((at.start, "text stands outside of the <speak> element".to_owned()));
        }
        if self.silent == 0 {
            self.out.letter(c, at);
            if self.spelled > 0 {
                self.out.apart();
            }
        }
        Ok(())
    }

    fn mark(&mut self, name: &str, at: usize) -> Result<(), Wrong> {
        if name.is_empty() || name.len() > NAME_BYTES {
            return Err((at, format!("<mark> needs a name of at most {NAME_BYTES} bytes")));
        }
        if self.marks.len() == MARKS {
            return Err((at, format!("there are more than {MARKS} marks")));
        }
        let sent = self.out.chars_before(at);
        self.marks.push(Mark {
            spoken: self.out.chars(),
            sent,
            name: name.to_owned(),
        });
        Ok(())
    }

    fn pause(&mut self, strength: Option<&str>, time: Option<&str>) {
        let ms = time.and_then(milliseconds);
        match (strength, ms) {
            (Some("none"), None) => {}
            (_, Some(ms)) if ms <= 0.0 => {}
            (_, Some(ms)) if ms < SENTENCE_BREAK_MS => self.out.comma(),
            (Some("x-weak" | "weak"), None) => self.out.comma(),
            _ => self.out.end_sentence(),
        }
    }
}

/// By their names without prefixes.
fn attributes(tag: &BytesStart<'_>) -> Result<Vec<(String, String)>, String> {
    let one = |attribute: Result<quick_xml::events::attributes::Attribute<'_>, _>| {
        let attribute = attribute.map_err(|e: quick_xml::events::attributes::AttrError| e.to_string())?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|e| e.to_string())?;
        Ok((attribute.key.local_name().into_inner().to_owned(), value.into_owned()))
    };
    tag.attributes().map(one).collect()
}

/// "250ms", "1.5s".
fn milliseconds(time: &str) -> Option<f64> {
    let (number, unit) = match time.strip_suffix("ms") {
        Some(number) => (number, 1.0),
        None => (time.strip_suffix('s')?, 1000.0),
    };
    number.trim().parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| n * unit)
}

fn place(text: &str, at: usize) -> String {
    let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_aloud(inner: &str) -> String {
        render(&format!("<speak>{inner}</speak>")).unwrap().0.text
    }

    #[test]
    fn what_no_voice_can_do_is_dropped_and_its_text_stays() {
        assert_eq!(
            read_aloud(r#"<prosody rate="slow">Take <emphasis>your</emphasis> time</prosody>, <voice name="x">friend</voice>"#),
            "Take your time, friend"
        );
        assert_eq!(
            read_aloud(r#"<phoneme ph="t&#x259;">tomato</phoneme> <unknown:thing>x</unknown:thing>"#),
            "tomato x"
        );
        assert_eq!(
            read_aloud(r#"<audio src="x.wav"><desc>a bell</desc>ding</audio><metadata>m</metadata>"#),
            "ding"
        );
    }

    #[test]
    fn sentences_paragraphs_and_breaks_pause() {
        assert_eq!(read_aloud("<p><s>One</s><s>Two!</s></p>\n<p>Three</p>"), "One.\nTwo!\nThree");
        assert_eq!(read_aloud("Wait<break/>go"), "Wait.\ngo");
        assert_eq!(read_aloud(r#"Wait<break time="1.5s"/>go"#), "Wait.\ngo");
        assert_eq!(
            read_aloud(r#"Wait<break time="100ms"/>go, <break strength="weak"/> on"#),
            "Wait, go, on"
        );
        assert_eq!(read_aloud(r#"Wait<break strength="none"/>ing <break time="0s"/>on"#), "Waiting on");
        assert_eq!(read_aloud("two\n   lines"), "two lines");
    }

    #[test]
    fn aliases_spelling_entities_and_cdata() {
        assert_eq!(
            read_aloud(r#"<sub alias="World Wide Web">WWW</sub> <say-as interpret-as="characters">A&amp;1</say-as> ok"#),
            "World Wide Web A & 1 ok"
        );
        assert_eq!(read_aloud("&lt;&#65;&#x42;&gt; <![CDATA[<b> & c]]>"), "<AB> <b> & c");
        assert_eq!(read_aloud(r#"<say-as interpret-as="date">1 May</say-as>"#), "1 May");
    }

    #[test]
    fn marks_have_places_in_both_texts() {
        let text = r#"<speak>One <mark name="a"/>two.<mark name="end"/></speak>"#;
        let (part, marks) = render(text).unwrap();
        assert_eq!(part.text, "One two.");
        let places: Vec<_> = marks.iter().map(|m| (m.name.as_str(), m.spoken, m.sent)).collect();
        assert_eq!(places, [("a", 3, 11), ("end", 8, 31)]);
    }

    #[test]
    fn a_prolog_a_namespace_and_a_byte_order_mark_are_no_harm() {
        let text = "\u{feff}<?xml version=\"1.0\"?><!DOCTYPE speak PUBLIC \"-//W3C//DTD SYNTHESIS 1.0//EN\" \"x.dtd\">\n\
                    <s:speak xmlns:s=\"http://www.w3.org/2001/10/synthesis\"><!-- c -->Öl</s:speak>\n";
        let (part, _) = render(text).unwrap();
        assert_eq!(part.text, "Öl");
        let oil = text.chars().collect::<Vec<_>>().iter().position(|c| *c == 'Ö').unwrap() as u32;
        assert_eq!(part.map.range(&(0..2)), oil..oil + 2);
    }

    #[test]
    fn what_is_broken_is_named_with_its_place() {
        let deep = format!("<speak>{}", "<p>".repeat(70));
        let marks = format!("<speak>{}</speak>", "<mark name='x'/>".repeat(1001));
        for (text, place, what) in [
            ("hello", "line 1, column 1", "outside of the <speak>"),
            ("", "line 1, column 1", "no <speak>"),
            ("<p>x</p>", "line 1, column 1", "<p> stands outside"),
            ("<speak>a\n b</spaek>", "line 2, column 3", "spaek"),
            ("<speak>a<p>b", "line 1, column 13", "2 elements are open"),
            ("<speak>é <sub>x</sub></speak>", "line 1, column 10", "alias"),
            ("<speak>a &nbsp; b</speak>", "line 1, column 10", "&nbsp;"),
            ("<speak>a & b</speak>", "line 1", ""),
            ("<speak>a</speak>b", "line 1, column 17", "outside"),
            ("<speak/><speak/>", "line 1, column 9", "outside"),
            ("<speak><mark/></speak>", "line 1, column 8", "name"),
            ("<speak x=y>a</speak>", "line 1, column 1", "enclosed in"),
            ("<speak><p a='1' a='2'/></speak>", "line 1, column 8", "duplicate"),
            (&deep, "column 197", "deeper than 64"),
            (&marks, "line 1", "more than 1000 marks"),
        ] {
            let error = render(text).map(|(part, _)| part.text).unwrap_err();
            assert!(error.contains(place) && error.contains(what), "{text:.40}: {error}");
        }
    }

    #[test]
    fn no_entity_can_be_declared() {
        let bomb = "<!DOCTYPE speak [<!ENTITY a \"aaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><speak>&b;</speak>";
        assert!(render(bomb).map(drop).unwrap_err().contains("&b;"));
    }
}
