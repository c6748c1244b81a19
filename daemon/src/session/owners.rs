//! Whose session a synthesis was of: servers answer a cancel when the core has long forgotten its utterance. Bounded; the oldest go first.

use std::collections::BTreeMap;

const REMEMBERED: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Owners {
    utterances: BTreeMap<u64, String>,
    syntheses: BTreeMap<u64, String>,
}

impl Owners {
    pub(super) fn accepted(&mut self, utterance: u64, session: &str) {
        keep(&mut self.utterances, utterance, session.to_owned());
    }

    pub(super) fn requested(&mut self, synthesis: u64, utterance: u64) {
        if let Some(session) = self.utterances.get(&utterance) {
            keep(&mut self.syntheses, synthesis, session.clone());
        }
    }

    /// Empty when it is not known any more.
    pub(super) fn session(&self, synthesis: u64) -> &str {
        self.syntheses.get(&synthesis).map_or("", String::as_str)
    }
}

fn keep(map: &mut BTreeMap<u64, String>, id: u64, session: String) {
    if map.len() >= REMEMBERED {
        map.pop_first();
    }
    map.insert(id, session);
}
