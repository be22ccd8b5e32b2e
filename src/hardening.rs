//! Keeps what is in memory out of core dumps, away from other processes of the user, and out of messages.

/// Forbids core dumps and, where the system can, that other processes look into this one.
///
/// What the system refuses is left as it is: the program works as well without.
pub fn forbid_dumps() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};

        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).unwrap_or(());
    }
    #[cfg(any(target_os = "android", target_os = "linux"))]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};

        set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap_or(());
    }
}

/// Lets a panic tell where it happened, and nothing else: its message may cite a value.
#[expect(clippy::print_stderr, reason = "the log may be what panicked")]
pub fn hide_panics() {
    std::panic::set_hook(Box::new(|panic| match panic.location() {
        Some(place) => eprintln!("error: the program made a mistake at {}:{}", place.file(), place.line()),
        None => eprintln!("error: the program made a mistake"),
    }));
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn nothing_of_the_memory_is_dumped() {
        forbid_dumps();
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        assert!(matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable)));
    }
}
