//! Where the controller runs, as far as flags depend on it.

use std::fs;
use std::num::NonZero;
use std::thread;

/// Where the controller runs.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The variable `POD_NAMESPACE`.
    pub pod_namespace: Option<String>,
    /// The namespace in the files of the service account.
    pub account_namespace: Option<String>,
    /// The variable `POD_NAME`.
    pub pod_name: Option<String>,
    /// The name of the host, which is that of the Pod unless it has the network of its node.
    pub host: Option<String>,
    /// How many cores may be used.
    pub cores: usize,
}

impl Surroundings {
    /// Returns those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let variable = |name| std::env::var(name).ok().and_then(given);
        // What cannot be read is not there.
        let file = |path| fs::read_to_string(path).ok().and_then(given);
        Self {
            pod_namespace: variable("POD_NAMESPACE"),
            account_namespace: file(ACCOUNT_NAMESPACE),
            pod_name: variable("POD_NAME"),
            host: variable("HOSTNAME").or_else(|| file(HOST)),
            cores: thread::available_parallelism().map_or(1, NonZero::get),
        }
    }

    /// Returns the namespace of the controller itself.
    pub(super) fn namespace(&self) -> String {
        let found = self.pod_namespace.as_ref().or(self.account_namespace.as_ref());
        found.map_or_else(|| "default".to_owned(), Clone::clone)
    }

    /// Returns a name that no other replica has.
    pub(super) fn identity(&self) -> Option<String> {
        self.pod_name.clone().or_else(|| self.host.clone())
    }
}

fn given(text: String) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Where a Pod finds its namespace.
const ACCOUNT_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Where Linux keeps the name of the host.
const HOST: &str = "/proc/sys/kernel/hostname";
