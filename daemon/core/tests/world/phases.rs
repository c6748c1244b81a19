//! What a session has collected, told again from the answers alone: the rules of Submit a second time, to compare.

use std::collections::BTreeMap;

use utterd_core::{Phase, UtteranceId};

#[derive(Debug, Default)]
pub(crate) struct Phases {
    pub(crate) buffers: BTreeMap<u64, BTreeMap<u64, String>>,
    committed: BTreeMap<u64, UtteranceId>,
    /// Whether the loss was told.
    pub(crate) expired: BTreeMap<u64, bool>,
}

impl Phases {
    /// Turn 0 is the current one, or the next when that one is over.
    pub(crate) fn meant(&self, turn: u64, current: u64) -> u64 {
        let over = self.committed.contains_key(&current) || self.expired.get(&current) == Some(&true);
        match turn {
            0 if over => current + 1,
            0 => current,
            named => named,
        }
    }

    /// A commit was accepted: this is what must be spoken.
    pub(crate) fn commit(&mut self, turn: u64, chunk_seq: u64, text: &str, utterance: UtteranceId) -> String {
        let mut chunks = self.buffers.remove(&turn).unwrap_or_default();
        if chunk_seq > 0 {
            chunks.entry(chunk_seq).or_insert_with(|| text.to_owned());
        }
        let mut joined: String = chunks.into_values().collect();
        if chunk_seq == 0 {
            joined.push_str(text);
        }
        assert!(
            self.committed.insert(turn, utterance).is_none(),
            "I9: turn {turn} was committed twice"
        );
        if self.committed.len() > 64 {
            self.committed.pop_first();
        }
        joined
    }

    /// Compares an answer that started nothing with what it should be.
    pub(crate) fn acknowledged(
        &mut self,
        phase: Phase,
        (turn, current): (u64, u64),
        (chunk_seq, text): (u64, &str),
        (ack, utterance, buffered): (&str, u64, u32),
    ) {
        let stale = turn < current || self.expired.contains_key(&turn);
        if let Some(told) = self.expired.get_mut(&turn) {
            *told = true;
        }
        let committed = self.committed.get(&turn).copied();
        let expected = match phase {
            Phase::Collect if stale || committed.is_some() => "COLLECT_STALE",
            Phase::Collect => {
                let buffer = self.buffers.entry(turn).or_default();
                let fresh = !buffer.contains_key(&chunk_seq);
                buffer.entry(chunk_seq).or_insert_with(|| text.to_owned());
                let bytes: usize = buffer.values().map(String::len).sum();
                assert_eq!(buffered as usize, bytes, "bytes held");
                if fresh { "COLLECT_ACCEPTED" } else { "COLLECT_DUPLICATE" }
            }
            Phase::Commit => match committed {
                Some(first) => {
                    assert_eq!(utterance, first.get(), "a duplicate names the first");
                    "COMMIT_DUPLICATE"
                }
                None if stale => "COMMIT_STALE",
                None => "COMMIT_EMPTY",
            },
        };
        assert_eq!(ack, expected, "turn {turn}, current {current}");
    }
}
