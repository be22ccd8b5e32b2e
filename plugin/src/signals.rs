//! Signals that would end the process before it has cleaned up.
//!
//! One thread waits for them all. It hands each to the newest watch; with no watch, it ends the process once
//! what is being put in place is whole or gone. A signal that the process was started to ignore, as `nohup`
//! does with SIGHUP, stays ignored.

#[cfg(unix)]
use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(unix)]
pub use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
#[cfg(unix)]
use signal_hook::iterator::Signals;

use crate::successor;

/// Hands the signals that end a process to a function, on a thread of their own, until it is dropped.
#[cfg(unix)]
pub struct Watch(usize);

#[cfg(unix)]
impl Watch {
    /// Starts to watch. `react` gets the number of each signal.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new(react: impl FnMut(i32) + Send + 'static) -> std::io::Result<Self> {
        listen()?;
        let mut reactions = reactions();
        let number = reactions.last().map_or(0, |(number, _)| number + 1);
        reactions.push((number, Box::new(react)));
        Ok(Self(number))
    }
}

#[cfg(unix)]
impl Drop for Watch {
    fn drop(&mut self) {
        reactions().retain(|(number, _)| *number != self.0);
    }
}

/// Starts to wait for signals; from then on, one that nobody watches for ends the process in good order.
///
/// # Errors
/// If the system refuses.
#[cfg(unix)]
pub fn listen() -> std::io::Result<()> {
    let mut is_listening = LISTENING.lock().unwrap_or_else(PoisonError::into_inner);
    if *is_listening {
        return Ok(());
    }
    let ignored = ignored();
    let mut signals = Signals::new(SIGNALS.iter().filter(|&signal| ignored & (1 << (signal - 1)) == 0))?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            match reactions().last_mut() {
                Some((_, react)) => react(signal),
                None => exit(exit_code(signal)),
            }
        }
    })?;
    *is_listening = true;
    Ok(())
}

/// Ends the process once what is being put in place is whole or gone.
pub fn exit(code: u8) -> ! {
    exit_saying(code, || {})
}

/// Ends the process as [`exit`] does; `say` is called when nothing can be put in place any more.
pub fn exit_saying(code: u8, say: impl FnOnce()) -> ! {
    successor::abandon();
    say();
    std::process::exit(code.into())
}

/// Returns the exit code that stands for a signal.
#[must_use]
pub fn exit_code(signal: i32) -> u8 {
    u8::try_from(signal).map_or(u8::MAX, |signal| 128_u8.saturating_add(signal))
}

#[cfg(unix)]
type Reaction = (usize, Box<dyn FnMut(i32) + Send>);

#[cfg(unix)]
fn reactions() -> MutexGuard<'static, Vec<Reaction>> {
    // The list is whole at every moment, whatever panicked.
    REACTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the signals that the process ignores, a bit for each; none where the system does not tell.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

/// The signals that are watched.
#[cfg(unix)]
pub const SIGNALS: &[i32] = &[SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// The signals that are watched: none on this system.
#[cfg(not(unix))]
pub const SIGNALS: &[i32] = &[];

/// What to do about a signal; the last one counts.
#[cfg(unix)]
static REACTIONS: Mutex<Vec<Reaction>> = Mutex::new(Vec::new());

#[cfg(unix)]
static LISTENING: Mutex<bool> = Mutex::new(false);

/// Signals are not watched on this system.
#[cfg(not(unix))]
pub struct Watch;

#[cfg(not(unix))]
impl Watch {
    /// Does nothing.
    ///
    /// # Errors
    /// Never.
    pub fn new(_: impl FnMut(i32) + Send + 'static) -> std::io::Result<Self> {
        Ok(Self)
    }
}

/// Does nothing.
///
/// # Errors
/// Never.
#[cfg(not(unix))]
pub fn listen() -> std::io::Result<()> {
    Ok(())
}
