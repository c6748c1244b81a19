//! The way back: from code points of what is spoken to code points of what it was made from.
//!
//! Invariants: every answer lies in the original; a later question never has an earlier answer. Kept by construction: runs follow each other
//! without gaps on the spoken side, and never go back on the other.

use std::ops::Range;

/// A stretch of the spoken text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    spoken: u32,
    spoken_len: u32,
    sent: u32,
    sent_len: u32,
    /// One code point for one. Otherwise the whole stands for the whole: whoever heard a word of it heard all of it.
    copied: bool,
}

impl Run {
    fn spoken_end(&self) -> u32 {
        self.spoken + self.spoken_len
    }

    fn sent_end(&self) -> u32 {
        self.sent + self.sent_len
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    runs: Vec<Run>,
}

impl Map {
    /// Code points of the spoken text.
    pub(super) fn spoken(&self) -> u32 {
        self.runs.last().map_or(0, Run::spoken_end)
    }

    fn sent(&self) -> u32 {
        self.runs.last().map_or(0, Run::sent_end)
    }

    /// As many code points, one for one.
    pub(super) fn copy(&mut self, chars: u32, sent: u32) {
        let (spoken, sent) = (self.spoken(), sent.max(self.sent()));
        if chars == 0 {
            return;
        }
        match self.runs.last_mut() {
            Some(last) if last.copied && last.sent_end() == sent => {
                last.spoken_len += chars;
                last.sent_len += chars;
            }
            _ => self.runs.push(Run {
                spoken,
                spoken_len: chars,
                sent,
                sent_len: chars,
                copied: true,
            }),
        }
    }

    /// So many code points stand for these; none of them: they were put in.
    pub(super) fn replace(&mut self, chars: u32, sent: Range<u32>) {
        let spoken = self.spoken();
        // What an atom stands for may be said again by a part of it, never something before it.
        let start = sent
            .start
            .max(self.runs.last().map_or(0, |r| if r.copied { r.sent_end() } else { r.sent }));
        if chars > 0 {
            self.runs.push(Run {
                spoken,
                spoken_len: chars,
                sent: start,
                sent_len: sent.end.max(self.sent()).saturating_sub(start),
                copied: false,
            });
        }
    }

    /// Forgets what is spoken from here on.
    pub(super) fn truncate(&mut self, spoken: u32) {
        while let Some(last) = self.runs.last_mut() {
            if last.spoken >= spoken {
                self.runs.pop();
                continue;
            }
            last.spoken_len = last.spoken_len.min(spoken - last.spoken);
            if last.copied {
                last.sent_len = last.spoken_len;
            }
            return;
        }
    }

    /// Puts a part of another map behind, its originals moved on.
    pub(super) fn append(&mut self, other: &Map, part: Range<u32>, moved: u32) {
        for run in other.overlapping(&part) {
            let (from, to) = (run.spoken.max(part.start), run.spoken_end().min(part.end));
            if run.copied {
                self.copy(to - from, run.sent + (from - run.spoken) + moved);
            } else {
                self.replace(to - from, run.sent + moved..run.sent_end() + moved);
            }
        }
    }

    fn overlapping(&self, part: &Range<u32>) -> impl Iterator<Item = &Run> {
        let first = self.runs.partition_point(|r| r.spoken_end() <= part.start);
        let end = part.end;
        self.runs[first..].iter().take_while(move |r| r.spoken < end)
    }

    fn start_of(&self, spoken: u32) -> u32 {
        let at = self.runs.partition_point(|r| r.spoken_end() <= spoken);
        match self.runs.get(at) {
            Some(run) if run.copied => run.sent + (spoken - run.spoken),
            Some(run) => run.sent,
            None => self.sent(),
        }
    }

    /// Where that ends which has been spoken up to here.
    pub(super) fn end_of(&self, spoken: u32) -> u32 {
        let at = self.runs.partition_point(|r| r.spoken_end() < spoken);
        match self.runs.get(at) {
            _ if spoken == 0 => 0,
            Some(run) if run.copied => run.sent + (spoken - run.spoken),
            Some(run) => run.sent_end(),
            None => self.sent(),
        }
    }

    /// What a stretch was made from.
    pub(super) fn range(&self, spoken: &Range<u32>) -> Range<u32> {
        let start = self.start_of(spoken.start);
        start..self.end_of(spoken.end).max(start)
    }

    /// The first code point spoken that was made from what stands there or behind.
    pub(super) fn first_from(&self, sent: u32) -> u32 {
        let at = self.runs.partition_point(|r| r.sent < sent && r.sent_end() <= sent);
        match self.runs[at..].iter().find(|r| r.sent_len > 0 && r.sent_end() > sent) {
            Some(run) if run.copied && run.sent < sent => run.spoken + (sent - run.sent),
            // An atom that began before is said already.
            Some(run) if run.sent < sent => run.spoken_end(),
            Some(run) => run.spoken,
            None => self.spoken(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "a" (gone) "b c" copied, "W3C" said as five, ".": put in, "d" copied.
    fn map() -> Map {
        let mut map = Map::default();
        map.copy(3, 2);
        map.replace(5, 6..9);
        map.replace(1, 9..9);
        map.copy(1, 12);
        map
    }

    #[test]
    fn ends_and_starts_are_those_of_the_original() {
        let map = map();
        assert_eq!(map.range(&(0..1)), 2..3);
        assert_eq!(map.range(&(2..3)), 4..5);
        assert_eq!(map.range(&(3..5)), 6..9, "part of an atom is all of it");
        assert_eq!(map.range(&(8..9)), 9..9, "what was put in stands for nothing");
        assert_eq!(map.range(&(9..10)), 12..13);
        assert_eq!((map.end_of(0), map.end_of(99)), (0, 13));
    }

    #[test]
    fn what_was_made_from_there_on() {
        let map = map();
        for (sent, spoken) in [(0, 0), (3, 1), (5, 3), (7, 8), (9, 9), (12, 9), (13, 10), (99, 10)] {
            assert_eq!(map.first_from(sent), spoken, "{sent}");
        }
    }

    #[test]
    fn a_part_of_a_map_behind_another() {
        let mut joined = Map::default();
        joined.append(&map(), 1..9, 0);
        joined.append(&map(), 0..2, 20);
        assert_eq!(joined.range(&(0..2)), 3..5);
        assert_eq!(joined.range(&(8..10)), 22..24);
        joined.truncate(1);
        assert_eq!((joined.spoken(), joined.end_of(1)), (1, 4));
    }
}
