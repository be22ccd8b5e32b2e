//! The values of labels, of which there are only so many.
//!
//! Invariant: whatever callers and clusters come up with, the number of series that stay for ever has a bound.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The labels of a series.
pub(super) type Labels<const N: usize> = [(&'static str, String); N];

/// The first values of a label that there were; all later ones are one.
#[derive(Debug)]
pub(super) struct Cap {
    limit: usize,
    known: Mutex<BTreeSet<String>>,
}

impl Cap {
    /// Returns one that lets `limit` values through.
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, known: Mutex::new(BTreeSet::new()) }
    }

    /// Returns the value, or what stands for all values that are one too many.
    pub(super) fn value(&self, value: &str) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(value) {
            return value.to_owned();
        }
        if known.len() >= self.limit {
            return OTHER.to_owned();
        }
        known.insert(value.to_owned());
        value.to_owned()
    }
}

/// Returns the label of the method of a request, as the controller of Sealed Secrets has it.
pub(super) fn method(method: &str) -> &'static str {
    let known = METHODS.iter().find(|known| known.eq_ignore_ascii_case(method));
    // The word of Prometheus' library for Go.
    known.copied().unwrap_or("unknown")
}

/// Returns the label of what was asked of the API server.
pub(super) fn verb(verb: &str) -> &'static str {
    VERBS.iter().copied().find(|known| known.eq_ignore_ascii_case(verb)).unwrap_or(OTHER)
}

/// Returns the label of a path.
pub(super) fn path(path: &str) -> &'static str {
    PATHS.iter().copied().find(|known| *known == path).unwrap_or(OTHER)
}

/// Returns the label of a status; one that HTTP does not know of is that of an answer that never came.
pub(super) fn code(code: Option<u16>) -> String {
    match code {
        Some(code @ 100..=599) => code.to_string(),
        _ => "error".to_owned(),
    }
}

/// What stands for all other values.
const OTHER: &str = "other";

const METHODS: [&str; 10] =
    ["get", "put", "head", "post", "delete", "connect", "options", "notify", "trace", "patch"];

/// The paths that are served, and counted one by one.
const PATHS: [&str; 3] = ["/v1/cert.pem", "/v1/rotate", "/v1/verify"];

const VERBS: [&str; 10] =
    ["apply", "create", "delete", "get", "list", "patch", "post", "put", "update", "watch"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_the_limit_are_one() {
        let cap = Cap::new(2);
        assert_eq!(
            ["a", "b", "c", "a", "d"].map(|value| cap.value(value)),
            ["a", "b", "other", "a", "other"]
        );
    }

    #[test]
    fn labels_come_from_closed_sets() {
        assert_eq!((method("GET"), method("BREW")), ("get", "unknown"));
        assert_eq!((verb("PATCH"), verb("brew")), ("patch", "other"));
        assert_eq!((path("/v1/verify"), path("/v1/verify/")), ("/v1/verify", "other"));
        assert_eq!([Some(200), Some(999), None].map(code), ["200", "error", "error"]);
    }
}
