//! Errors on the bus: few, stable names; each message says what to do.

use utterd_core::{ErrorKind, Failure};

/// An error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) name: &'static str,
    pub(super) message: String,
}

macro_rules! refusals {
    ($($function:ident => $name:literal),* $(,)?) => {
        impl Refusal {
            $(pub(super) fn $function(message: impl Into<String>) -> Self {
                Self { name: $name, message: message.into() }
            })*
        }
    };
}

refusals! {
    invalid_args => "org.freedesktop.DBus.Error.InvalidArgs",
    unknown_method => "org.freedesktop.DBus.Error.UnknownMethod",
    unknown_object => "org.freedesktop.DBus.Error.UnknownObject",
    unknown_interface => "org.freedesktop.DBus.Error.UnknownInterface",
    unknown_property => "org.freedesktop.DBus.Error.UnknownProperty",
    read_only => "org.freedesktop.DBus.Error.PropertyReadOnly",
    limit_exceeded => "org.utterd.Utterd1.Error.LimitExceeded",
    not_permitted => "org.utterd.Utterd1.Error.NotPermitted",
    not_supported => "org.utterd.Utterd1.Error.NotSupported",
    no_such_session => "org.utterd.Utterd1.Error.NoSuchSession",
    failed => "org.utterd.Utterd1.Error.Failed",
}

/// The name of an error of the core on the wire.
pub(super) fn error_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidArgs => "org.freedesktop.DBus.Error.InvalidArgs",
        ErrorKind::UnknownObject => "org.freedesktop.DBus.Error.UnknownObject",
        ErrorKind::InvalidSession => "org.utterd.Utterd1.Error.InvalidSession",
        ErrorKind::NoSuchSession => "org.utterd.Utterd1.Error.NoSuchSession",
        ErrorKind::SessionClosed => "org.utterd.Utterd1.Error.SessionClosed",
        ErrorKind::NoSuchUtterance => "org.utterd.Utterd1.Error.NoSuchUtterance",
        ErrorKind::NoSuchVoice => "org.utterd.Utterd1.Error.NoSuchVoice",
        ErrorKind::NoSuchBackend => "org.utterd.Utterd1.Error.NoSuchBackend",
        ErrorKind::BackendUnavailable => "org.utterd.Utterd1.Error.BackendUnavailable",
        ErrorKind::LimitExceeded => "org.utterd.Utterd1.Error.LimitExceeded",
        ErrorKind::FormatNotSupported => "org.utterd.Utterd1.Error.FormatNotSupported",
        ErrorKind::WrongState => "org.utterd.Utterd1.Error.WrongState",
        ErrorKind::NotPermitted => "org.utterd.Utterd1.Error.NotPermitted",
        ErrorKind::NotSupported => "org.utterd.Utterd1.Error.NotSupported",
        ErrorKind::Failed => "org.utterd.Utterd1.Error.Failed",
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self {
            name: error_name(failure.kind),
            message: failure.message,
        }
    }
}

/// What the caller sent cannot be read as the arguments of this method.
impl From<zbus::Error> for Refusal {
    fn from(error: zbus::Error) -> Self {
        Self::invalid_args(format!("the arguments do not fit: {error}"))
    }
}

impl From<zbus::zvariant::Error> for Refusal {
    fn from(error: zbus::zvariant::Error) -> Self {
        zbus::Error::from(error).into()
    }
}
