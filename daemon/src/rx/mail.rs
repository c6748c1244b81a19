//! Orders for a thread that looks at its work now and then, and sleeps between two looks.
//!
//! A channel's own timed receive spins and yields before it sleeps, which at a few milliseconds a look is some 900 calls of the scheduler a
//! second. Here the thread parks, and whoever sends ends its sleep. A send between its last look and its sleep is seen: the sleep ends at once.

use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender};

/// The end that orders are given to; the last one to go ends the thread's sleep, too. `[any]`
pub(super) struct Mail<T> {
    orders: Option<Sender<T>>,
    thread: Thread,
}

impl<T> Clone for Mail<T> {
    fn clone(&self) -> Mail<T> {
        Mail {
            orders: self.orders.clone(),
            thread: self.thread.clone(),
        }
    }
}

impl<T> Drop for Mail<T> {
    fn drop(&mut self) {
        drop(self.orders.take());
        self.thread.unpark();
    }
}

impl<T> Mail<T> {
    /// To the thread that has the other end of this channel.
    pub(super) fn new(orders: Sender<T>, thread: Thread) -> Mail<T> {
        Mail {
            orders: Some(orders),
            thread,
        }
    }

    /// False: the thread has ended.
    pub(super) fn send(&self, order: T) -> bool {
        let sent = self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        self.thread.unpark();
        sent
    }
}

/// Sleeps until something is sent or, if there is a time, until it has passed. `[worker]`
pub(super) fn sleep<T>(inbox: &Receiver<T>, at_most: Option<Duration>) {
    if inbox.is_empty() {
        match at_most {
            Some(time) => thread::park_timeout(time),
            None => thread::park(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crossbeam::channel::{TryRecvError, unbounded};

    #[test]
    fn every_order_ends_the_sleep_and_so_does_the_last_senders_end() {
        let (orders, inbox) = unbounded::<u32>();
        let worker = thread::spawn(move || {
            let mut all = Vec::new();
            loop {
                match inbox.try_recv() {
                    Ok(order) => all.push(order),
                    Err(TryRecvError::Empty) => sleep(&inbox, None),
                    Err(TryRecvError::Disconnected) => return all,
                }
            }
        });
        let mail = Mail::new(orders, worker.thread().clone());
        let other = mail.clone();
        for n in 0..1_000 {
            assert!(if n % 2 == 0 { &mail } else { &other }.send(n));
        }
        drop(mail);
        drop(other);
        assert_eq!(worker.join().unwrap(), (0..1_000).collect::<Vec<_>>());
    }
}
