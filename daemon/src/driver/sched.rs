//! What a thread needs to be real-time, asked for where it is allowed and checked rather than believed.
//!
//! Several systems refuse silently (`RestrictRealtime=`, `PrivateUsers=`, a limit of 0): so the scheduler is read back and a missing right is
//! one log line with fields. Nothing here is fatal: without any of it utterd still speaks, with larger gaps.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::thread::{CapabilitySet, capabilities};
use std::cell::Cell;
use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

pub use crate::clock::now_us;

/// Below the render thread stand slots, telephony children and detectors, each one lower; with less than this they meet ordinary threads.
const ROOMY: i32 = 8;

/// How a thread is scheduled, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// SCHED_FIFO or SCHED_RR.
    pub is_realtime: bool,
    pub reset_on_fork: bool,
    pub priority: i32,
}

/// Asks for SCHED_FIFO for the calling thread, lost again by whatever it forks. `[any]`
pub fn become_realtime(priority: i32) -> io::Result<()> {
    set_scheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, priority)
}

/// Adds RESET_ON_FORK to a real-time thread that another library made; needs no right. `[control]`
pub fn reset_on_fork(tid: i32, now: Schedule) -> io::Result<()> {
    // PipeWire's threads may be RR, JACK's are FIFO: only the flag is ours to add.
    // SAFETY: plain numbers go in and out.
    let policy = unsafe { libc::sched_getscheduler(tid) };
    if policy < 0 {
        return Err(io::Error::last_os_error());
    }
    set_scheduler(tid, policy | libc::SCHED_RESET_ON_FORK, now.priority)
}

fn set_scheduler(tid: i32, policy: i32, priority: i32) -> io::Result<()> {
    let param = libc::sched_param { sched_priority: priority };
    // SAFETY: `param` lives through the call, which only reads it.
    if unsafe { libc::sched_setscheduler(tid, policy, &raw const param) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// How the thread `tid` (0: the calling one) really is scheduled. `[any]`
pub fn schedule_of(tid: i32) -> io::Result<Schedule> {
    // SAFETY: plain numbers go in and out.
    let policy = unsafe { libc::sched_getscheduler(tid) };
    if policy < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut param = libc::sched_param { sched_priority: 0 };
    // SAFETY: `param` lives through the call, which writes it.
    if unsafe { libc::sched_getparam(tid, &raw mut param) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let bare = policy & !libc::SCHED_RESET_ON_FORK;
    Ok(Schedule {
        is_realtime: bare == libc::SCHED_FIFO || bare == libc::SCHED_RR,
        reset_on_fork: policy & libc::SCHED_RESET_ON_FORK != 0,
        priority: param.sched_priority,
    })
}

/// Says in the log how the render thread came out, and adds RESET_ON_FORK where it is missing. `[control]`
pub fn check_render_thread(tid: i32, driver: &str) {
    match schedule_of(tid) {
        Ok(now) if now.is_realtime => {
            if !now.reset_on_fork
                && let Err(error) = reset_on_fork(tid, now)
            {
                tracing::debug!(driver, tid, %error, "render thread keeps SCHED_FIFO over fork");
            }
            tracing::info!(driver, tid, priority = now.priority, "render thread is real-time");
            if driver == "jack" && now.priority < ROOMY {
                tracing::warn!(
                    driver,
                    priority = now.priority,
                    "little room below the render thread for detectors and children: start jackd with -P 70"
                );
            }
        }
        Ok(now) => {
            tracing::warn!(
                driver,
                tid,
                priority = now.priority,
                "render thread is not real-time: expect gaps under load; it needs CAP_SYS_NICE or LimitRTPRIO, and no RestrictRealtime="
            );
        }
        Err(error) => {
            tracing::debug!(driver, tid, %error, "render thread ended before it could be looked at")
        }
    }
}

/// Keeps the process in memory, page by page as it is touched, if CAP_IPC_LOCK allows: below the limit of an ordinary user it would make
/// the next thread's stack fail instead. Once per process. `[control]`
pub fn lock_memory() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let is_allowed = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
        if !is_allowed {
            tracing::warn!(
                capability = "CAP_IPC_LOCK",
                "memory is not locked: the first sound after a long silence may have to wait for the disk"
            );
            return;
        }
        match mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT) {
            Ok(()) => tracing::info!("memory is locked as it is touched"),
            Err(error) => tracing::warn!(%error, "memory is not locked"),
        }
    });
}

/// Denormals become zero on the calling thread: a decaying tail must not cost a hundred times as much as silence. `[rt]`
pub fn flush_denormals() {
    #[cfg(target_arch = "x86_64")]
    {
        let mut control = 0_u32;
        // SAFETY: reads and writes this thread's MXCSR; FTZ (bit 15) and DAZ (bit 6) change no rule the compiler relies on beyond the
        // rounding of denormals, which nothing here computes with.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack));
            control |= (1 << 15) | (1 << 6);
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack));
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        let mut control: u64;
        // SAFETY: as above, with FPCR.FZ (bit 24).
        unsafe {
            std::arch::asm!("mrs {}, fpcr", out(reg) control, options(nostack, nomem));
            control |= 1 << 24;
            std::arch::asm!("msr fpcr, {}", in(reg) control, options(nostack, nomem));
        }
    }
}

thread_local! {
    static IS_RENDER_THREAD: Cell<bool> = const { Cell::new(false) };
}
static RENDER_PANICS: AtomicU64 = AtomicU64::new(0);

/// Marks the calling thread as one whose panics must not print. `[rt]`
pub fn mark_render_thread() {
    IS_RENDER_THREAD.with(|is| is.set(true));
}

/// Panics of render threads since the process began. `[any]`
pub fn render_panics() -> u64 {
    RENDER_PANICS.load(Ordering::Relaxed)
}

/// Puts a hook in front of the present one: on a render thread it counts and is silent (a backtrace there costs 100 ms and dozens of xruns).
/// Once per process. `[control]`
pub fn quieten_render_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IS_RENDER_THREAD.with(Cell::get) {
                RENDER_PANICS.fetch_add(1, Ordering::Relaxed);
            } else {
                before(info);
            }
        }));
    });
}

/// Touches the stack that render code will use, so that no page fault falls into a period. `[rt]`
#[inline(never)]
pub fn touch_stack() {
    let mut room = [0_u8; 64 * 1024];
    for byte in room.iter_mut().step_by(4096) {
        *byte = 1;
    }
    std::hint::black_box(&room);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_granted_is_read_back() {
        std::thread::spawn(|| {
            assert!(!schedule_of(0).unwrap().is_realtime);
            if become_realtime(5).is_ok() {
                assert_eq!(
                    schedule_of(0).unwrap(),
                    Schedule {
                        is_realtime: true,
                        reset_on_fork: true,
                        priority: 5
                    }
                );
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn denormals_are_zero_on_a_render_thread() {
        std::thread::spawn(|| {
            let tiny = std::hint::black_box(f32::MIN_POSITIVE);
            assert!(tiny / 2.0 > 0.0);
            flush_denormals();
            assert_eq!(std::hint::black_box(tiny) / std::hint::black_box(2.0), 0.0);
        })
        .join()
        .unwrap();
    }
}
