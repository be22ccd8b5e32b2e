//! What sops-secrets-operator counts, in its spelling.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::{Reason, described};

/// The attempts at objects of `isindir.github.com`.
pub(super) struct Isindir {
    failures: Counter,
    successes: Counter,
    suspends: Counter,
}

impl Isindir {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            failures: described(
                registry,
                "sopssecrets_reconcilation_failures",
                "Attempts at SopsSecrets of isindir.github.com that failed",
            ),
            successes: described(
                registry,
                "sopssecrets_reconcilation_successes",
                "Attempts at SopsSecrets of isindir.github.com that did not fail",
            ),
            suspends: described(
                registry,
                "sopssecrets_reconcilation_suspends",
                "Attempts at SopsSecrets of isindir.github.com that are suspended",
            ),
        }
    }

    pub(super) fn count(&self, reason: Reason) {
        let counter = match reason {
            Reason::Ready => &self.successes,
            Reason::Suspended => &self.suspends,
            _ => &self.failures,
        };
        counter.inc();
    }
}
