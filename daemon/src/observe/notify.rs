//! What systemd is told: readiness, reloads, the stop, a status line and the watchdog's beat, over $NOTIFY_SOCKET (`Type=notify`).
//!
//! Without that variable everything here does nothing. A failure is logged and no more: the daemon's work does not depend on being watched.
//! Who beats: the actor, never the render clock, so that a stopped audio server does not get the daemon killed. (A feeder or supervisor
//! that panics ends the process itself.)

use crate::paced;
use sd_notify::NotifyState;
use std::time::Duration;

/// The bus name is ours and the settings hold: clients may come. Also ends a reload. `[any but rt]`
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// A reload begins; [`ready`] ends it, whether the new settings were taken or not. `[any but rt]`
pub fn reloading() {
    // systemd 253 and newer want the time beside it (Type=notify-reload), older ones ignore it.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// The stop begins. `[any but rt]`
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// What `systemctl status` shows: driver, sessions, what is wrong. `[any but rt]`
pub fn status(text: &str) {
    send(&[NotifyState::Status(&one_line(text))]);
}

/// The daemon lives. `[any but rt]`
pub fn watchdog() {
    send(&[NotifyState::Watchdog]);
}

/// How often [`watchdog`] is due, half of what the unit allows; `None` if nobody waits for it. `[any]`
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
        .map(|limit| limit / 2)
        .filter(|interval| !interval.is_zero())
}

/// The protocol separates assignments by newlines.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        paced!(warn, "NOTIFY_FAILED", %error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_cannot_smuggle_in_another_assignment() {
        assert_eq!(one_line("a\nSTOPPING=1\r"), "a STOPPING=1 ");
    }
}
