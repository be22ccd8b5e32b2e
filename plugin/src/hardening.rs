//! Keeps what is in memory out of core dumps and away from other processes of the user.

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
