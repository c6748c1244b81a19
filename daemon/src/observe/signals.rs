//! The signals an operator sends: SIGTERM and SIGINT stop, SIGHUP reloads.
//!
//! They are caught from [`watch`] on and handed over on a thread of their own, so the callback may lock and wait. What a second
//! SIGTERM means is the callback's to decide.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::io;

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Stop,
    Reload,
}

/// Signals are handed over until this is dropped; those that come later are ignored.
#[must_use = "dropping it ends the watch"]
pub struct SignalWatch {
    handle: Handle,
}

/// Calls `on` for each signal, one after the other; signals of one kind that come while it runs may count as one. `[main]`
pub fn watch(mut on: impl FnMut(Signal) + Send + 'static) -> io::Result<SignalWatch> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let handle = signals.handle();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            on(if signal == SIGHUP { Signal::Reload } else { Signal::Stop });
        }
    })?;
    Ok(SignalWatch { handle })
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        self.handle.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::low_level::raise;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn hup_reloads_and_term_and_int_stop() {
        let (tell, told) = channel();
        let watch = watch(move |signal| tell.send(signal).unwrap()).unwrap();
        for (signal, expected) in [(SIGHUP, Signal::Reload), (SIGTERM, Signal::Stop), (SIGINT, Signal::Stop)] {
            raise(signal).unwrap();
            assert_eq!(told.recv_timeout(Duration::from_secs(60)).unwrap(), expected);
        }
        drop(watch);
        assert!(
            told.recv_timeout(Duration::from_secs(60)).is_err(),
            "the thread ends with its watch"
        );
    }
}
