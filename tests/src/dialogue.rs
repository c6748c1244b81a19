//! A picture of a conversation: the agent and the user over one time axis, with what was protected, suspected and cancelled, and the text that was
//! heard; below it the same lanes at ten times the scale around the moments that matter.
//!
//! Everything stands at JACK's frame, so what two JACK clients recorded lies exactly above each other. The shapes and the estimate of a text's width
//! are those of `plot`.

use crate::plot::{Area, Drawn, INK, PALE, RULE, write};
use crate::recording::Recording;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::ops::Range;
use std::path::Path;

pub struct Dialogue<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    /// What the loudspeaker got.
    pub agent: &'a Recording,
    /// What the microphone got: the user and the agent's echo.
    pub microphone: &'a Recording,
    /// The part that is shown, in JACK's frames.
    pub frames: Range<u64>,
    /// The frame that counts as 0 s.
    pub zero: u64,
    pub said: Vec<Said>,
    pub voices: Vec<Voice>,
    pub spans: Vec<Span>,
    pub marks: Vec<Mark>,
    pub details: Vec<Detail>,
}

/// What the agent said.
pub struct Said {
    pub frames: Range<u64>,
    pub heard: String,
    /// Queued and never heard.
    pub unheard: String,
    pub outcome: String,
}

/// What the user did.
pub struct Voice {
    pub from: u64,
    pub samples: Vec<f32>,
    pub label: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Protected,
    Suspected,
    Cancelled,
    /// The user's first sample.
    Onset,
    Silent,
    Resumed,
}

pub struct Span {
    pub frames: Range<u64>,
    pub kind: Kind,
}

pub struct Mark {
    pub frame: u64,
    pub kind: Kind,
    /// Shown where the scale leaves room for it.
    pub label: String,
}

/// A moment at a larger scale.
pub struct Detail {
    pub title: String,
    pub verdict: String,
    pub frames: Range<u64>,
    /// The frame that counts as 0 ms.
    pub zero: u64,
}

const WIDTH: i32 = 1400;
const EDGE: i32 = 28;
const LEFT: i32 = 92;
const RIGHT: i32 = WIDTH - EDGE;
const HALF: i32 = 62;
const LINE: i32 = 22;
const GAP: i32 = 34;
/// Sizes of texts: what is told, what stands beside the lanes and on the axis.
const TEXT: i32 = 18;
const SMALL: i32 = 16;

const AGENT: RGBColor = RGBColor(58, 110, 165);
const USER: RGBColor = RGBColor(217, 119, 6);
const ECHO: RGBColor = RGBColor(203, 208, 216);
const PROTECTED: RGBColor = RGBColor(209, 240, 220);
const SUSPECTED: RGBColor = RGBColor(254, 236, 190);
const STOP: RGBColor = RGBColor(196, 45, 38);
const GREEN: RGBColor = RGBColor(22, 120, 74);
const AMBER: RGBColor = RGBColor(158, 98, 0);

impl Kind {
    fn colour(self) -> RGBColor {
        match self {
            Kind::Protected | Kind::Resumed => GREEN,
            Kind::Suspected | Kind::Silent => AMBER,
            Kind::Cancelled => STOP,
            Kind::Onset => USER,
        }
    }
}

/// A stretch of time on a stretch of the sheet, with the agent's lane above the user's.
struct Panel {
    left: i32,
    right: i32,
    agent: i32,
    user: i32,
    half: i32,
    frames: Range<u64>,
}

impl Panel {
    fn x(&self, frame: u64) -> i32 {
        let into = frame.clamp(self.frames.start, self.frames.end) - self.frames.start;
        let share = into as f64 / (self.frames.end - self.frames.start).max(1) as f64;
        self.left + (share * f64::from(self.right - self.left)).round() as i32
    }

    fn shows(&self, frames: &Range<u64>) -> bool {
        frames.start < self.frames.end && frames.end > self.frames.start
    }

    fn top(&self) -> i32 {
        self.agent - self.half
    }

    fn bottom(&self) -> i32 {
        self.user + self.half
    }
}

impl Dialogue<'_> {
    /// Writes the SVG.
    pub fn write(&self, path: &Path) -> Drawn {
        let main = self.main_panel();
        let texts = self.lay_texts(&main);
        let lines = texts.iter().map(|t| t.lines.len()).max().unwrap_or(0) as i32;
        let axis = main.bottom() + 10;
        let text_top = axis + 48;
        let detail_top = text_top + lines * LINE + 30;
        let height = if self.details.is_empty() { detail_top } else { detail_top + 352 };
        let root = SVGBackend::new(path, (WIDTH as u32, height as u32)).into_drawing_area();
        root.fill(&WHITE)?;
        write(&root, self.title, (EDGE, 18), 30, INK, HPos::Left)?;
        write(&root, self.subtitle, (EDGE, 56), SMALL, PALE, HPos::Left)?;
        draw_legend(&root, (EDGE, 90))?;
        write(&root, "agent", (EDGE, main.agent - 10), TEXT, AGENT, HPos::Left)?;
        write(&root, "user", (EDGE, main.user - 10), TEXT, USER, HPos::Left)?;
        write(&root, "heard", (EDGE, text_top), TEXT, INK, HPos::Left)?;
        self.draw_seconds(&root, &main, axis)?;
        self.draw_panel(&root, &main)?;
        for text in &texts {
            draw_text(&root, text, text_top)?;
        }
        self.draw_voice_labels(&root, &main)?;
        for (n, detail) in self.details.iter().enumerate() {
            let at = (main.x(detail.zero), main.top() - 20);
            draw_number(&root, n + 1, at)?;
            let next = self.details.get(n + 1).map_or(main.right, |d| main.x(d.zero) - 12);
            if at.0 + 17 + wide(&detail.title, SMALL) <= next {
                write(&root, &detail.title, (at.0 + 17, at.1 - 10), SMALL, INK, HPos::Left)?;
            }
            self.draw_detail(&root, n, detail, detail_top)?;
        }
        root.present()?;
        Ok(())
    }

    fn main_panel(&self) -> Panel {
        Panel {
            left: LEFT,
            right: RIGHT,
            agent: 164 + HALF,
            user: 164 + 3 * HALF + GAP,
            half: HALF,
            frames: self.frames.clone(),
        }
    }

    fn draw_panel(&self, root: &Area<'_>, panel: &Panel) -> Drawn {
        for span in self.spans.iter().filter(|s| panel.shows(&s.frames)) {
            let colour = if span.kind == Kind::Protected { PROTECTED } else { SUSPECTED };
            let (from, to) = (panel.x(span.frames.start), panel.x(span.frames.end));
            root.draw(&Rectangle::new(
                [(from, panel.top()), (to.max(from + 2), panel.agent + panel.half)],
                colour.filled(),
            ))?;
        }
        let agent_peak = self.agent.peak(0..usize::MAX).max(0.05);
        let user_peak = self.user_peak();
        wave(root, panel, panel.agent, agent_peak, AGENT, |frames| bounds(self.agent, frames))?;
        wave(root, panel, panel.user, user_peak, ECHO, |frames| bounds(self.microphone, frames))?;
        for voice in &self.voices {
            wave(root, panel, panel.user, user_peak, USER, |frames| voice.bounds(frames))?;
        }
        for mark in self.marks.iter().filter(|m| panel.frames.contains(&m.frame)) {
            let x = panel.x(mark.frame);
            let (from, to) = match mark.kind {
                Kind::Onset => (panel.user - panel.half, panel.bottom()),
                _ => (panel.top(), panel.agent + panel.half),
            };
            root.draw(&PathElement::new([(x, from), (x, to)], mark.kind.colour().stroke_width(2)))?;
        }
        Ok(())
    }

    fn user_peak(&self) -> f32 {
        let voices = self.voices.iter().flat_map(|v| &v.samples);
        voices.fold(0.02, |most, s| most.max(s.abs()))
    }

    fn draw_seconds(&self, root: &Area<'_>, panel: &Panel, axis: i32) -> Drawn {
        let rate = u64::from(self.agent.rate);
        let seconds = (self.frames.end - self.zero) / rate;
        for second in 0..=seconds {
            let x = panel.x(self.zero + second * rate);
            root.draw(&PathElement::new([(x, panel.top()), (x, axis + 4)], RULE.stroke_width(1)))?;
            write(root, &format!("{second} s"), (x, axis + 8), SMALL, PALE, HPos::Center)?;
        }
        root.draw(&PathElement::new([(panel.left, axis), (panel.right, axis)], RULE.stroke_width(1)))?;
        Ok(())
    }

    fn draw_voice_labels(&self, root: &Area<'_>, panel: &Panel) -> Drawn {
        for voice in &self.voices {
            let frames = voice.frames();
            let middle = (panel.x(frames.start) + panel.x(frames.end)) / 2;
            let room = wide(&voice.label, SMALL) / 2;
            let middle = middle.clamp(panel.left + room, panel.right - room);
            write(
                root,
                &voice.label,
                (middle, panel.user - panel.half - 14),
                SMALL,
                AMBER,
                HPos::Center,
            )?;
        }
        Ok(())
    }

    /// The texts under what the agent said, wrapped into the room until the next one.
    fn lay_texts(&self, panel: &Panel) -> Vec<Text> {
        let ends = self.said.iter().skip(1).map(|s| panel.x(s.frames.start) - 22);
        let ends = ends.chain(std::iter::once(panel.right));
        let texts = self.said.iter().zip(ends).map(|(said, end)| {
            let x = panel.x(said.frames.start);
            let columns = ((end - x).max(130) as f64 / (f64::from(TEXT) * NARROW)) as usize;
            let mut lines = wrap(&said.heard, &said.unheard, columns);
            lines.push((said.outcome.clone(), Ink::Outcome));
            Text { x, lines }
        });
        texts.collect()
    }

    fn draw_detail(&self, root: &Area<'_>, n: usize, detail: &Detail, top: i32) -> Drawn {
        let count = self.details.len() as i32;
        let between = 30;
        let width = (RIGHT - EDGE - between * (count - 1)) / count;
        let left = EDGE + n as i32 * (width + between);
        let half = 44;
        let panel = Panel {
            left,
            right: left + width,
            agent: top + 124 + half,
            user: top + 124 + 3 * half + 12,
            half,
            frames: detail.frames.clone(),
        };
        draw_number(root, n + 1, (left + 12, top + 12))?;
        write(root, &detail.title, (left + 30, top + 1), 20, INK, HPos::Left)?;
        write(root, &detail.verdict, (left + 30, top + 27), SMALL, PALE, HPos::Left)?;
        let rate = u64::from(self.agent.rate);
        let axis = panel.bottom() + 6;
        let from_ms = (detail.frames.start as i64 - detail.zero as i64) * 1_000 / rate as i64;
        let to_ms = (detail.frames.end as i64 - detail.zero as i64) * 1_000 / rate as i64;
        for ms in (from_ms..=to_ms).filter(|ms| ms.rem_euclid(100) == 0) {
            let x = panel.x((detail.zero as i64 + ms * rate as i64 / 1_000) as u64);
            root.draw(&PathElement::new([(x, panel.top()), (x, axis)], RULE.stroke_width(1)))?;
            if ms % 200 == 0 {
                write(root, &format!("{ms} ms"), (x, axis + 4), SMALL - 2, PALE, HPos::Center)?;
            }
        }
        self.draw_panel(root, &panel)?;
        self.draw_mark_labels(root, &panel)
    }

    /// Above the lanes, each beside its line, on a line of its own where they would touch.
    fn draw_mark_labels(&self, root: &Area<'_>, panel: &Panel) -> Drawn {
        let mut marks: Vec<(i32, &Mark)> = self
            .marks
            .iter()
            .filter(|m| panel.frames.contains(&m.frame))
            .map(|m| (panel.x(m.frame), m))
            .collect();
        marks.retain(|(_, m)| !m.label.is_empty());
        marks.sort_by_key(|(x, _)| *x);
        let lanes = lay(
            &marks.iter().map(|(x, m)| (*x, wide(&m.label, SMALL) + 10)).collect::<Vec<_>>(),
            panel.right,
        );
        for ((x, mark), (lane, leftward)) in marks.iter().zip(&lanes) {
            let y = panel.top() - 22 - *lane as i32 * (LINE - 1);
            let colour = mark.kind.colour();
            if mark.kind != Kind::Onset {
                root.draw(&PathElement::new([(*x, y + 4), (*x, panel.top())], colour.stroke_width(1)))?;
            } else {
                root.draw(&PathElement::new([(*x, y + 4), (*x, panel.user)], colour.stroke_width(1)))?;
            }
            let (at, side) = if *leftward { (x - 5, HPos::Right) } else { (x + 5, HPos::Left) };
            write(root, &mark.label, (at, y), SMALL, colour, side)?;
        }
        Ok(())
    }
}

impl Voice {
    fn frames(&self) -> Range<u64> {
        self.from..self.from + self.samples.len() as u64
    }

    fn bounds(&self, frames: Range<u64>) -> (f32, f32) {
        let at = |frame: u64| (frame.saturating_sub(self.from) as usize).min(self.samples.len());
        extremes(&self.samples[at(frames.start)..at(frames.end)])
    }
}

fn bounds(recording: &Recording, frames: Range<u64>) -> (f32, f32) {
    extremes(&recording.samples[recording.at_frame(frames.start)..recording.at_frame(frames.end)])
}

fn extremes(samples: &[f32]) -> (f32, f32) {
    samples
        .iter()
        .fold((0.0, 0.0), |(low, high): (f32, f32), s| (low.min(*s), high.max(*s)))
}

/// The envelope: for each column the lowest and the highest sample; one polygon for each stretch of sound.
fn wave(root: &Area<'_>, panel: &Panel, middle: i32, peak: f32, colour: RGBColor, bounds: impl Fn(Range<u64>) -> (f32, f32)) -> Drawn {
    let columns = (panel.right - panel.left) as u64;
    let long = panel.frames.end - panel.frames.start;
    let y = |sample: f32| middle - ((sample / peak).clamp(-1.0, 1.0) * (panel.half - 4) as f32).round() as i32;
    let (mut upper, mut lower): (Vec<(i32, i32)>, Vec<(i32, i32)>) = (Vec::new(), Vec::new());
    for column in 0..=columns {
        let at = |column: u64| panel.frames.start + column * long / columns;
        let (low, high) = if column < columns {
            bounds(at(column)..at(column + 1))
        } else {
            (0.0, 0.0)
        };
        if low == 0.0 && high == 0.0 {
            if !upper.is_empty() {
                upper.extend(lower.drain(..).rev());
                root.draw(&Polygon::new(std::mem::take(&mut upper), colour.filled()))?;
            }
            continue;
        }
        let x = panel.left + column as i32;
        upper.push((x, y(high).min(middle - 1)));
        lower.push((x, y(low).max(middle + 1)));
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ink {
    Heard,
    Unheard,
    Outcome,
}

struct Text {
    x: i32,
    lines: Vec<(String, Ink)>,
}

/// Both texts broken at words; what was not heard begins on a line of its own.
fn wrap(heard: &str, unheard: &str, columns: usize) -> Vec<(String, Ink)> {
    let mut lines: Vec<(String, Ink)> = Vec::new();
    for (text, ink) in [(heard, Ink::Heard), (unheard, Ink::Unheard)] {
        for word in text.split_whitespace() {
            match lines.last_mut() {
                Some((line, last)) if *last == ink && line.chars().count() + 1 + word.chars().count() <= columns => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push((word.to_owned(), ink)),
            }
        }
    }
    lines
}

fn draw_text(root: &Area<'_>, text: &Text, top: i32) -> Drawn {
    for (n, (line, ink)) in text.lines.iter().enumerate() {
        let (size, colour) = match ink {
            Ink::Heard => (TEXT, INK),
            Ink::Unheard => (TEXT, RGBColor(170, 176, 186)),
            Ink::Outcome => (SMALL, PALE),
        };
        write(root, line, (text.x, top + n as i32 * LINE), size, colour, HPos::Left)?;
    }
    Ok(())
}

/// A letter's width as a share of what plotters calls the size of a font; a little generous, because an SVG's font is the viewer's.
const NARROW: f64 = 0.45;

fn wide(text: &str, size: i32) -> i32 {
    (text.chars().count() as f64 * f64::from(size) * NARROW) as i32
}

/// Gives each label (where its line stands, how wide it is) the lowest lane in which it touches no other, and a side: left of its line only where the
/// sheet ends.
fn lay(labels: &[(i32, i32)], right: i32) -> Vec<(usize, bool)> {
    let mut taken: Vec<Vec<(i32, i32)>> = Vec::new();
    let mut laid = vec![(0, false); labels.len()];
    // From the right: a label that stands higher leads its line past those to its right, which lie lower.
    for (n, (x, width)) in labels.iter().enumerate().rev() {
        let leftward = x + width > right;
        let covers = if leftward { (x - width, *x) } else { (*x, x + width) };
        let free = |lane: &Vec<(i32, i32)>| lane.iter().all(|t| covers.1 <= t.0 || covers.0 >= t.1);
        let lane = taken.iter().position(free).unwrap_or(taken.len());
        if lane == taken.len() {
            taken.push(Vec::new());
        }
        taken[lane].push(covers);
        laid[n] = (lane, leftward);
    }
    laid
}

fn draw_number(root: &Area<'_>, number: usize, at: (i32, i32)) -> Drawn {
    root.draw(&Circle::new(at, 12, INK.filled()))?;
    write(root, &number.to_string(), (at.0, at.1 - 9), SMALL, WHITE, HPos::Center)
}

fn draw_legend(root: &Area<'_>, (mut x, y): (i32, i32)) -> Drawn {
    let entries = [
        ("the agent", AGENT),
        ("the user", USER),
        ("the agent's echo", ECHO),
        ("protected: a greeting's first 500 ms", PROTECTED),
        ("suspected: the agent pauses", SUSPECTED),
        ("cancelled", STOP),
    ];
    for (label, colour) in entries {
        root.draw(&Rectangle::new([(x, y + 2), (x + 16, y + 16)], colour.filled()))?;
        write(root, label, (x + 23, y - 1), SMALL, INK, HPos::Left)?;
        x += 23 + wide(label, SMALL) + 20;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_stand_close_lie_in_lanes_of_their_own() {
        let labels = [(10, 100), (20, 100), (30, 100), (400, 100)];
        let laid = lay(&labels, 450);
        assert_eq!(laid, [(2, false), (1, false), (0, false), (0, true)]);
    }

    #[test]
    fn a_text_is_broken_at_words_and_keeps_apart_what_was_not_heard() {
        let lines = wrap("one two", "three four", 10);
        let line = |text: &str, ink| (text.to_owned(), ink);
        let expected = [line("one two", Ink::Heard), line("three four", Ink::Unheard)];
        assert_eq!(lines, expected);
        assert_eq!(
            wrap("one two three", "", 7),
            [line("one two", Ink::Heard), line("three", Ink::Heard)]
        );
    }
}
