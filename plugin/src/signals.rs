//! Signals that would end the process before it has cleaned up.

/// Hands the signals that end a process to a function, on a thread of their own, until it is dropped.
///
/// After that such signals have no effect: keep a watch as long as the process has work to do.
#[cfg(unix)]
pub struct Watch(signal_hook::iterator::Handle);

#[cfg(unix)]
impl Watch {
    /// Starts to watch. `react` gets the number of each signal.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new(mut react: impl FnMut(i32) + Send + 'static) -> std::io::Result<Self> {
        let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
        let handle = signals.handle();
        std::thread::spawn(move || signals.forever().for_each(&mut react));
        Ok(Self(handle))
    }
}

#[cfg(unix)]
impl Drop for Watch {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(unix)]
pub use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

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
