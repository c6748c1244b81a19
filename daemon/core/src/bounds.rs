//! How much a session may collect and how long it waits for text: its own word where it gave one, else the configuration as it stands
//! when it is needed. A change concerns the next chunk or append, and streams that wait already.
//!
//! A session may not ask for a buffer that could never be committed: what one text may hold is the operator's word (limits.text-bytes).

use crate::Core;
use crate::ids::{Micros, SessionId};
use crate::request::{ErrorKind, Failure};
use crate::timer::Timer;

/// Options of OpenSession and Configure that bound text on its way in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Collected text that nobody commits is dropped after this time.
    pub collect_ttl_us: Option<Micros>,
    /// Bytes of one buffer.
    pub collect_bytes: Option<usize>,
    /// Chunks of one buffer.
    pub collect_chunks: Option<usize>,
    /// A text stream without an append ends after this time.
    pub stream_idle_us: Option<Micros>,
}

impl Bounds {
    /// These, and where they say nothing, those.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            collect_ttl_us: self.collect_ttl_us.or(other.collect_ttl_us),
            collect_bytes: self.collect_bytes.or(other.collect_bytes),
            collect_chunks: self.collect_chunks.or(other.collect_chunks),
            stream_idle_us: self.stream_idle_us.or(other.stream_idle_us),
        }
    }
}

impl Core {
    fn bounds(&self, session: SessionId) -> Bounds {
        let configured = Bounds {
            collect_ttl_us: Some(self.settings.collect_ttl_us),
            collect_bytes: Some(self.settings.collect_bytes),
            collect_chunks: Some(self.settings.collect_chunks),
            stream_idle_us: Some(self.settings.stream_idle_us),
        };
        self.sessions.get(&session).map_or(configured, |s| s.bounds.or(configured))
    }

    pub(crate) fn collect_ttl_us(&self, session: SessionId) -> Micros {
        self.bounds(session).collect_ttl_us.unwrap_or_default()
    }

    pub(crate) fn collect_bytes(&self, session: SessionId) -> usize {
        self.bounds(session).collect_bytes.unwrap_or_default()
    }

    pub(crate) fn collect_chunks(&self, session: SessionId) -> usize {
        self.bounds(session).collect_chunks.unwrap_or_default()
    }

    pub(crate) fn stream_idle_us(&self, session: SessionId) -> Micros {
        self.bounds(session).stream_idle_us.unwrap_or_default()
    }

    pub(crate) fn check_bounds(&self, bounds: Bounds) -> Result<(), Failure> {
        let limit = self.settings.text_bytes;
        match bounds.collect_bytes {
            Some(bytes) if bytes > limit => {
                let message = format!("option \"max-bytes\" is {bytes}; allowed: up to limits.text-bytes = {limit}");
                Err(Failure::new(ErrorKind::InvalidArgs, message))
            }
            _ => Ok(()),
        }
    }

    /// Configure, and OpenSession of an open session.
    pub(crate) fn set_bounds(&mut self, session: SessionId, bounds: Bounds) {
        let Some(s) = self.sessions.get_mut(&session) else {
            return;
        };
        s.bounds = bounds.or(s.bounds);
        let open = s.open.clone();
        // A stream that waits has a timer for the old time, which may be later than the new one.
        if let Some(after) = bounds.stream_idle_us {
            for id in open {
                if self.utterances.get(&id).is_some_and(|u| u.is_open_stream()) {
                    self.arm(after, Timer::StreamIdle(id));
                }
            }
        }
    }
}
