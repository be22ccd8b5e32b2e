//! When to try again.

use std::time::Duration;

use super::reason::Reason;

/// Returns how long to wait before the next attempt at an object that failed `attempts` times in a row, at least one:
/// for ever, but longer and longer. `spread`, from 0 to 1, keeps objects that failed together from coming back together.
///
/// What the API server could not do is tried again at once, `quick` times; what only somebody's hand can mend is looked at
/// from time to time, besides being looked at when that hand moves.
#[must_use]
pub fn delay(reason: Reason, attempts: u32, quick: u32, spread: f64) -> Option<Duration> {
    let (first, longest, attempts) = match reason {
        Reason::Ready | Reason::Suspended => return None,
        Reason::Fetch | Reason::Status | Reason::Update if attempts <= quick => (QUICK, LONGEST, attempts),
        // An API server that was away for a moment is soon back.
        Reason::Fetch | Reason::Status | Reason::Update => (FIRST, LONGEST, attempts - quick),
        // A Secret that was just given an owner or an annotation may not be seen yet.
        Reason::Unmanaged => (FIRST, LONGEST, attempts),
        Reason::Immutable
        | Reason::Invalid
        | Reason::MacMismatch
        | Reason::NoKey
        | Reason::NotAllowed
        | Reason::Template
        | Reason::Unseal => (FIRST, LONGEST_OF_CONTENT, attempts),
    };
    let doublings = attempts.saturating_sub(1).min(20);
    let wait = first.saturating_mul(1 << doublings).min(longest);
    Some(wait.mul_f64(1.0 + 0.2 * spread.clamp(0.0, 1.0)))
}

const QUICK: Duration = Duration::from_millis(50);
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
const LONGEST_OF_CONTENT: Duration = Duration::from_secs(1800);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_never_end() {
        let wait = |reason, attempts| delay(reason, attempts, 5, 0.0).expect("it is tried again").as_millis();
        let table: [(Reason, [u128; 4]); 5] = [
            (Reason::Update, [50, 800, 1000, 300_000]),
            (Reason::Status, [50, 800, 1000, 300_000]),
            (Reason::Unmanaged, [1000, 16_000, 32_000, 300_000]),
            (Reason::NoKey, [1000, 16_000, 32_000, 1_800_000]),
            (Reason::Immutable, [1000, 16_000, 32_000, 1_800_000]),
        ];
        for (reason, waits) in table {
            assert_eq!([1, 5, 6, u32::MAX].map(|attempts| wait(reason, attempts)), waits, "{reason}");
        }
        assert_eq!(delay(Reason::Ready, 1, 5, 0.0), None);
        assert_eq!(delay(Reason::Suspended, 1, 5, 0.0), None);
    }

    #[test]
    fn objects_that_failed_together_do_not_come_back_together() {
        assert!(delay(Reason::Update, 9, 5, 1.0) > delay(Reason::Update, 9, 5, 0.0));
    }
}
