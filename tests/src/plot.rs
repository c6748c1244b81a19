//! A picture of what was heard: the waveform over time, vertical marks with labels above it, words at their onset below it.
//!
//! Plotters draws the shapes; the layout is ours, in pixels, because labels must not cover each other and its chart knows no such
//! thing. Text widths are estimates (an SVG's font is the viewer's), so they are generous.

use crate::recording::Recording;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;
use std::path::Path;

pub struct Picture<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    pub recording: &'a Recording,
    /// The part that is shown.
    pub range: Range<usize>,
    pub marks: Vec<Mark>,
    pub words: Vec<Word>,
    /// Stretches with a tinted background, e.g. while paused: from, to (us), label.
    pub spans: Vec<(u64, u64, String)>,
}

pub struct Mark {
    pub at_us: u64,
    pub label: String,
    pub tint: Tint,
}

pub struct Word {
    pub at_us: u64,
    pub text: String,
    /// False: queued but never heard; drawn pale.
    pub heard: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tint {
    /// Somebody asked for something.
    Verb,
    /// Something was heard.
    Sound,
    /// Something ended.
    Stop,
}

const WIDTH: i32 = 1440;
const LEFT: i32 = 36;
const RIGHT: i32 = WIDTH - 36;
const LANE: i32 = 24;
const HALF_WAVE: i32 = 96;
pub(crate) const INK: RGBColor = RGBColor(31, 41, 55);
pub(crate) const PALE: RGBColor = RGBColor(148, 158, 172);
pub(crate) const RULE: RGBColor = RGBColor(226, 230, 236);
const WAVE: RGBColor = RGBColor(58, 110, 165);
const REST: RGBColor = RGBColor(243, 244, 246);
const FONT: &str = "Helvetica, Arial, 'DejaVu Sans', sans-serif";

impl Tint {
    fn colour(self) -> RGBColor {
        match self {
            Tint::Verb => RGBColor(124, 77, 160),
            Tint::Sound => RGBColor(34, 128, 84),
            Tint::Stop => RGBColor(196, 61, 48),
        }
    }
}

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
pub(crate) type Drawn = Result<(), Box<dyn std::error::Error>>;

impl Picture<'_> {
    /// Writes the SVG.
    pub fn write(&self, path: &Path) -> Drawn {
        let marks = self.lay_marks();
        let words = self.lay_words();
        let mark_lanes = marks.iter().map(|m| m.lane + 1).max().unwrap_or(0);
        let word_lanes = words.iter().map(|w| w.1 + 1).max().unwrap_or(0);
        let top = 92 + mark_lanes * LANE; // The waveform's upper edge.
        let middle = top + HALF_WAVE;
        let bottom = middle + HALF_WAVE;
        let axis = bottom + 14 + word_lanes * LANE;
        let root = SVGBackend::new(path, (WIDTH as u32, (axis + 44) as u32)).into_drawing_area();
        root.fill(&WHITE)?;
        write(&root, self.title, (LEFT, 22), 24, INK, HPos::Left)?;
        write(&root, self.subtitle, (LEFT, 52), 15, PALE, HPos::Left)?;
        self.draw_spans(&root, top, bottom)?;
        self.draw_axis(&root, top, axis)?;
        self.draw_wave(&root, middle)?;
        for word in &words {
            self.draw_word(&root, word, bottom)?;
        }
        for mark in &marks {
            draw_mark(&root, mark, top, bottom)?;
        }
        root.present()?;
        Ok(())
    }

    fn x_of_sample(&self, sample: usize) -> i32 {
        let into = sample.clamp(self.range.start, self.range.end) - self.range.start;
        LEFT + (into as f64 / self.range.len().max(1) as f64 * f64::from(RIGHT - LEFT)).round() as i32
    }

    fn x_of_us(&self, us: u64) -> i32 {
        self.x_of_sample(self.recording.at_us(us))
    }

    fn draw_spans(&self, root: &Area<'_>, top: i32, bottom: i32) -> Drawn {
        for (from, to, label) in &self.spans {
            let (from, to) = (self.x_of_us(*from), self.x_of_us(*to));
            root.draw(&Rectangle::new([(from, top), (to, bottom)], REST.filled()))?;
            if to - from > wide(label, 14) {
                write(root, label, ((from + to) / 2, top + HALF_WAVE - 22), 14, PALE, HPos::Center)?;
            }
        }
        Ok(())
    }

    /// Whole and half seconds from the first sample shown.
    fn draw_axis(&self, root: &Area<'_>, top: i32, axis: i32) -> Drawn {
        let seconds = self.range.len() as f64 / f64::from(self.recording.rate);
        let step = if seconds > 12.0 { 1.0 } else { 0.5 };
        let mut at = 0.0;
        while at <= seconds {
            let x = self.x_of_sample(self.range.start + (at * f64::from(self.recording.rate)) as usize);
            root.draw(&PathElement::new([(x, top), (x, axis)], RULE.stroke_width(1)))?;
            write(root, &format!("{at:.1} s"), (x, axis + 8), 13, PALE, HPos::Center)?;
            at += step;
        }
        root.draw(&PathElement::new([(LEFT, axis), (RIGHT, axis)], RULE.stroke_width(1)))?;
        Ok(())
    }

    /// The envelope: for each column the lowest and the highest sample in it.
    fn draw_wave(&self, root: &Area<'_>, middle: i32) -> Drawn {
        let samples = &self.recording.samples[self.range.clone()];
        let loudest = self.recording.peak(self.range.clone()).max(0.05);
        let y = |sample: f32| middle - (sample / loudest * (HALF_WAVE - 6) as f32).round() as i32;
        let columns = (RIGHT - LEFT) as usize;
        let bounds = |column: usize| -> (f32, f32) {
            let from = column * samples.len() / columns;
            let to = ((column + 1) * samples.len() / columns).max(from + 1).min(samples.len());
            samples[from.min(to)..to]
                .iter()
                .fold((0.0f32, 0.0f32), |(low, high), s| (low.min(*s), high.max(*s)))
        };
        root.draw(&PathElement::new([(LEFT, middle), (RIGHT, middle)], WAVE.mix(0.5).stroke_width(1)))?;
        // One polygon for each stretch of sound, or silence would be a filled line.
        let mut upper: Vec<(i32, i32)> = Vec::new();
        let mut lower: Vec<(i32, i32)> = Vec::new();
        for column in 0..=columns {
            let (low, high) = if column < columns { bounds(column) } else { (0.0, 0.0) };
            let x = LEFT + column as i32;
            if low == 0.0 && high == 0.0 {
                if !upper.is_empty() {
                    upper.extend(lower.drain(..).rev());
                    root.draw(&Polygon::new(std::mem::take(&mut upper), WAVE.filled()))?;
                }
                continue;
            }
            upper.push((x, y(high).min(middle - 1)));
            lower.push((x, y(low).max(middle + 1)));
        }
        Ok(())
    }

    fn draw_word(&self, root: &Area<'_>, (word, lane, x): &(&Word, i32, i32), bottom: i32) -> Drawn {
        let y = bottom + 12 + lane * LANE;
        let colour = if word.heard { INK } else { PALE };
        root.draw(&PathElement::new([(*x, bottom - 4), (*x, y + 14)], PALE.stroke_width(1)))?;
        write(root, &word.text, (x + 4, y), 14, colour, HPos::Left)
    }

    /// Gives each mark's label a side of its line and the lowest lane in which it covers neither a label nor another mark's line.
    fn lay_marks(&self) -> Vec<Laid<'_>> {
        let mut marks: Vec<(i32, &Mark)> = self.marks.iter().map(|m| (self.x_of_us(m.at_us), m)).collect();
        marks.sort_by_key(|(x, _)| *x);
        let mut taken: Vec<Vec<(i32, i32)>> = Vec::new();
        let mut laid: Vec<Laid<'_>> = Vec::new();
        for (n, (x, mark)) in marks.iter().enumerate() {
            let width = wide(&mark.label, 15) + 14;
            let next = marks.get(n + 1).map_or(i32::MAX, |m| m.0);
            let before = n.checked_sub(1).map_or(i32::MIN, |n| marks[n].0);
            let room_right = x + width <= RIGHT && next >= x + width;
            let room_left = x - width >= LEFT && before <= x - width;
            let leftward = !room_right && room_left || x + width > RIGHT;
            let covers = if leftward { (x - width, *x) } else { (*x, x + width) };
            let free = |lane: &[(i32, i32)]| lane.iter().all(|t| covers.1 <= t.0 || covers.0 >= t.1);
            let lane = taken.iter().position(|lane| free(lane)).unwrap_or(taken.len());
            if lane == taken.len() {
                taken.push(Vec::new());
            }
            taken[lane].push(covers);
            laid.push(Laid {
                mark,
                x: *x,
                lane: lane as i32,
                leftward,
            });
        }
        // Lane 0 stands nearest to the waveform; drawn, lanes are counted from the top.
        let lanes = taken.len() as i32;
        laid.iter_mut().for_each(|l| l.lane = lanes - 1 - l.lane);
        laid
    }

    fn lay_words(&self) -> Vec<(&Word, i32, i32)> {
        let mut ends: Vec<i32> = Vec::new();
        let mut laid = Vec::new();
        for word in &self.words {
            let x = self.x_of_us(word.at_us);
            let lane = ends.iter().position(|end| *end <= x).unwrap_or(ends.len());
            if lane == ends.len() {
                ends.push(0);
            }
            ends[lane] = x + wide(&word.text, 14) + 10;
            laid.push((word, lane as i32, x));
        }
        laid
    }
}

struct Laid<'a> {
    mark: &'a Mark,
    x: i32,
    /// Counted from the top.
    lane: i32,
    leftward: bool,
}

fn draw_mark(root: &Area<'_>, laid: &Laid<'_>, top: i32, bottom: i32) -> Drawn {
    let colour = laid.mark.tint.colour();
    let y = 88 + laid.lane * LANE;
    root.draw(&PathElement::new([(laid.x, y), (laid.x, bottom)], colour.stroke_width(2)))?;
    root.draw(&Circle::new((laid.x, top + HALF_WAVE), 3, colour.filled()))?;
    let (x, side) = if laid.leftward {
        (laid.x - 6, HPos::Right)
    } else {
        (laid.x + 6, HPos::Left)
    };
    write(root, &laid.mark.label, (x, y), 15, colour, side)
}

pub(crate) fn write(root: &Area<'_>, text: &str, at: (i32, i32), size: i32, colour: RGBColor, side: HPos) -> Drawn {
    let style = TextStyle::from((FONT, size).into_font())
        .color(&colour)
        .pos(Pos::new(side, VPos::Top));
    root.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}

/// A generous guess of a text's width in pixels.
pub(crate) fn wide(text: &str, size: i32) -> i32 {
    (text.chars().count() as f64 * f64::from(size) * 0.56) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_marks_that_stand_close_do_not_cover_each_other() {
        let recording = Recording::from_samples(1_000, vec![0.5; 10_000]);
        let mark = |at_us, label: &str| Mark {
            at_us,
            label: label.into(),
            tint: Tint::Verb,
        };
        let marks = vec![
            mark(1_000_000, "say"),
            mark(1_010_000, "first sound"),
            mark(1_020_000, "pause"),
            mark(9_990_000, "the end of it"),
        ];
        let picture = Picture {
            title: "",
            subtitle: "",
            recording: &recording,
            range: 0..10_000,
            marks,
            words: Vec::new(),
            spans: Vec::new(),
        };
        let laid = picture.lay_marks();
        let boxes: Vec<(i32, i32, i32)> = laid
            .iter()
            .map(|l| {
                let w = wide(&l.mark.label, 15);
                if l.leftward {
                    (l.lane, l.x - w, l.x)
                } else {
                    (l.lane, l.x, l.x + w)
                }
            })
            .collect();
        for (n, a) in boxes.iter().enumerate() {
            for b in &boxes[n + 1..] {
                assert!(a.0 != b.0 || a.2 <= b.1 || b.2 <= a.1, "{boxes:?}");
            }
        }
        assert!(laid[3].leftward);
    }
}
