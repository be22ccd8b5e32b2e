//! Where Leases are: the API server, or a stand-in for it in tests.
//!
//! Invariant: what is read is what was written last, not what some cache has; and nothing takes longer than its limit.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Api, Client};
use tokio::time::timeout;

use super::record::Write;

/// Where Leases are.
pub(super) trait Leases: Sync {
    /// Returns a Lease, or `None` if there is none of that name.
    fn get(&self, name: &str) -> impl Future<Output = Result<Option<Lease>, LeaseError>> + Send;

    /// Returns all Leases that a selector of labels selects.
    fn list(&self, selector: String) -> impl Future<Output = Result<Vec<Lease>, LeaseError>> + Send;

    /// Makes a Lease, and returns it as it is then.
    fn create(&self, lease: Lease) -> impl Future<Output = Result<Lease, LeaseError>> + Send;

    /// Writes a Lease if it still has the version that is given, and returns it as it is then.
    fn update(&self, lease: Lease) -> impl Future<Output = Result<Lease, LeaseError>> + Send;

    /// Deletes a Lease if it still has the version that is given.
    fn delete(&self, lease: &Lease) -> impl Future<Output = Result<(), LeaseError>> + Send;
}

/// Why a Lease could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeaseError {
    /// Somebody else was quicker.
    #[error("the Lease has changed")]
    Conflict,
    /// The role of the controller does not allow it.
    #[error(
        "the role of the controller does not allow to {verb} leases.coordination.k8s.io in namespace {namespace}: \
         replicas need get, create, update, and for shards list and delete"
    )]
    Forbidden {
        /// What was forbidden.
        verb: &'static str,
        /// Where.
        namespace: String,
    },
    /// The API server did not do it.
    #[error("cannot {verb} leases")]
    Server {
        /// What it did not do.
        verb: &'static str,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// There was no answer in time.
    #[error("the API server did not answer in time when asked to {verb} leases")]
    Timeout {
        /// What it was to do.
        verb: &'static str,
    },
}

/// Does what was decided.
pub(super) async fn write<L: Leases>(leases: &L, write: Write) -> Result<Lease, LeaseError> {
    match write {
        Write::Create(lease) => leases.create(lease).await,
        Write::Update(lease) => leases.update(lease).await,
    }
}

/// The Leases of a namespace of a cluster.
pub(super) struct ClusterLeases {
    api: Api<Lease>,
    namespace: String,
    limit: Duration,
}

impl ClusterLeases {
    /// Returns the Leases of a namespace. No request takes longer than the limit.
    pub(super) fn new(client: Client, namespace: String, limit: Duration) -> Self {
        Self { api: Api::namespaced(client, &namespace), namespace, limit }
    }

    async fn ask<T>(
        &self,
        verb: &'static str,
        request: impl Future<Output = Result<T, kube::Error>> + Send,
    ) -> Result<T, LeaseError> {
        let answer = timeout(self.limit, request).await.map_err(|_| LeaseError::Timeout { verb })?;
        answer.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 403 => {
                LeaseError::Forbidden { verb, namespace: self.namespace.clone() }
            }
            // There already, changed since, or gone.
            kube::Error::Api(status) if status.code == 409 => LeaseError::Conflict,
            kube::Error::Api(status) if status.code == 404 && matches!(verb, "update" | "delete") => {
                LeaseError::Conflict
            }
            _ => LeaseError::Server { verb, source: Box::new(error) },
        })
    }
}

impl Leases for ClusterLeases {
    async fn get(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
        self.ask("get", self.api.get_opt(name)).await
    }

    async fn list(&self, selector: String) -> Result<Vec<Lease>, LeaseError> {
        // Without a version, which would allow the API server to answer from a cache.
        let parameters = ListParams::default().labels(&selector);
        Ok(self.ask("list", self.api.list(&parameters)).await?.items)
    }

    async fn create(&self, lease: Lease) -> Result<Lease, LeaseError> {
        self.ask("create", self.api.create(&PostParams::default(), &lease)).await
    }

    async fn update(&self, lease: Lease) -> Result<Lease, LeaseError> {
        let name = lease.metadata.name.as_deref().unwrap_or_default();
        self.ask("update", self.api.replace(name, &PostParams::default(), &lease)).await
    }

    async fn delete(&self, lease: &Lease) -> Result<(), LeaseError> {
        let metadata = &lease.metadata;
        let preconditions =
            Preconditions { resource_version: metadata.resource_version.clone(), uid: metadata.uid.clone() };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let name = metadata.name.as_deref().unwrap_or_default();
        self.ask("delete", self.api.delete(name, &parameters)).await.map(drop)
    }
}
