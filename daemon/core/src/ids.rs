//! Ids: newtypes over `NonZeroU64`, so that a null session cannot be spelled, and never reused, so that "stale" can be decided by comparing.

use std::fmt;
use std::num::NonZeroU64;

/// Microseconds of the monotonic clock; always handed in, never read here.
pub type Micros = u64;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU64);

        impl $name {
            /// The id with this number, or `None` for 0.
            pub fn new(number: u64) -> Option<Self> {
                NonZeroU64::new(number).map(Self)
            }

            /// The number on the wire.
            pub fn get(self) -> u64 {
                self.0.get()
            }

            pub(crate) fn first() -> Self {
                Self(NonZeroU64::MIN)
            }

            pub(crate) fn following(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// One incarnation of a session: reopening the same name brings a new one.
    SessionId
);
id!(
    /// What one Say brings; lives from acceptance to the last sample heard.
    UtteranceId
);
id!(
    /// One request to a backend.
    SynthesisId
);
id!(
    /// One recording, from its order to its end.
    RecordingId
);
id!(
    /// What a session (or its interjection) plays on; survives a change of the audio server.
    TrackId
);
id!(
    /// One order to the audio device; the captures it opens go by it.
    OrderId
);
id!(
    /// A cancel that is being carried out.
    CancelId
);

/// Whom to answer: chosen by the shell, handed back in `Effect::Reply`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Hands out ids of one kind, rising from 1.
#[derive(Debug)]
pub(crate) struct Counter<T>(T);

macro_rules! counter {
    ($($name:ident),*) => {$(
        impl Default for Counter<$name> {
            fn default() -> Self {
                Self($name::first())
            }
        }
        impl Counter<$name> {
            pub(crate) fn next(&mut self) -> $name {
                let id = self.0;
                self.0 = id.following();
                id
            }
        }
    )*};
}
counter!(SessionId, UtteranceId, SynthesisId, TrackId, CancelId, OrderId, RecordingId);

impl Counter<OrderId> {
    pub(crate) fn has_issued(&self, id: OrderId) -> bool {
        id < self.0
    }
}
