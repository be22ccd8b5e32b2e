//! Leases in memory, for tests: with versions, as an API server has them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use k8s_openapi::api::coordination::v1::Lease;

use super::record::Write;
use super::store::{LeaseError, Leases};

/// Leases in memory.
#[derive(Default)]
pub(super) struct MemoryLeases {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    leases: BTreeMap<String, Lease>,
    writes: u64,
    is_forbidden: bool,
}

impl MemoryLeases {
    /// Allows everything, or nothing any more.
    pub(super) fn forbid(&self, is_forbidden: bool) {
        self.state().is_forbidden = is_forbidden;
    }

    /// Returns a Lease.
    pub(super) fn read(&self, name: &str) -> Option<Lease> {
        self.state().leases.get(name).cloned()
    }

    /// Returns all Leases with a label.
    pub(super) fn all(&self, selector: &str) -> Vec<Lease> {
        let (key, value) = selector.split_once('=').expect("a selector of one label");
        let labels = |lease: &Lease| lease.metadata.labels.clone().unwrap_or_default();
        let has = |lease: &&Lease| labels(lease).get(key).is_some_and(|label| label == value);
        self.state().leases.values().filter(has).cloned().collect()
    }

    /// Returns the names of all Leases.
    pub(super) fn names(&self) -> Vec<String> {
        self.state().leases.keys().cloned().collect()
    }

    /// Writes a Lease, or does not.
    pub(super) fn apply(&self, write: Write) -> Result<Lease, LeaseError> {
        let mut state = self.state();
        let (mut lease, is_new) = match write {
            Write::Create(lease) => (lease, true),
            Write::Update(lease) => (lease, false),
        };
        let name = lease.metadata.name.clone().expect("a name");
        let is_allowed = match state.leases.get(&name) {
            Some(old) => !is_new && old.metadata.resource_version == lease.metadata.resource_version,
            None => is_new,
        };
        if !is_allowed {
            return Err(LeaseError::Conflict);
        }
        state.writes += 1;
        lease.metadata.resource_version = Some(state.writes.to_string());
        state.leases.insert(name, lease.clone());
        Ok(lease)
    }

    /// Deletes a Lease.
    pub(super) fn remove(&self, name: &str) {
        self.state().leases.remove(name);
    }

    fn ask(&self, verb: &'static str) -> Result<(), LeaseError> {
        match self.state().is_forbidden {
            true => Err(LeaseError::Forbidden { verb, namespace: "selkie".to_owned() }),
            false => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked")
    }
}

impl Leases for MemoryLeases {
    async fn get(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
        self.ask("get")?;
        Ok(self.read(name))
    }

    async fn list(&self, selector: String) -> Result<Vec<Lease>, LeaseError> {
        self.ask("list")?;
        Ok(self.all(&selector))
    }

    async fn create(&self, lease: Lease) -> Result<Lease, LeaseError> {
        self.ask("create")?;
        self.apply(Write::Create(lease))
    }

    async fn update(&self, lease: Lease) -> Result<Lease, LeaseError> {
        self.ask("update")?;
        self.apply(Write::Update(lease))
    }

    async fn delete(&self, lease: &Lease) -> Result<(), LeaseError> {
        self.ask("delete")?;
        let name = lease.metadata.name.as_deref().expect("a name");
        match self.read(name) {
            Some(old) if old.metadata.resource_version == lease.metadata.resource_version => {
                self.remove(name);
                Ok(())
            }
            _ => Err(LeaseError::Conflict),
        }
    }
}
