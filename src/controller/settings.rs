//! What the controller was told to do: the flags after they were read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use selkie::sealed::{KeySize, Unseal};
use time::OffsetDateTime;

/// All that the controller was told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the controller itself, where its keys and Leases are.
    pub namespace: String,
    /// Whose objects it works on.
    pub namespaces: Namespaces,
    /// Which objects it works on, as a label selector; empty for all.
    pub label_selector: String,
    /// Its sealing keys.
    pub keys: KeySettings,
    /// How SealedSecrets are opened.
    pub unseal: Unseal,
    /// Whether the state of objects is written to their status.
    pub update_status: bool,
    /// Whether changes of Secrets go unseen, so that they stay.
    pub skip_recreate: bool,
    /// Whether it deletes the Secret of a SealedSecret that is gone itself, in place of the cluster's garbage collector.
    pub old_gc: bool,
    /// After how many quick attempts at an object the waits between them become long.
    pub quick_retries: u32,
    /// How many objects it works on at once.
    pub workers: usize,
    /// How many requests it makes to the API server.
    pub client: ClientSettings,
    /// What it serves over HTTP.
    pub http: HttpSettings,
    /// How replicas share the work.
    pub replicas: Replicas,
    /// Which resources of SOPS it reconciles, and with which keys.
    pub sops: super::sops::SopsSettings,
}

impl Settings {
    /// Returns how many objects of each of some kinds are worked on at once: of so many that, if requests are limited, one
    /// never waits long for its turn. It might be sent when this is the work of another replica.
    #[must_use]
    pub fn places(&self, kinds: u32) -> usize {
        let lease = match &self.replicas {
            Replicas::Leader(lease) | Replicas::Sharded(lease) => lease.duration,
            Replicas::Single => return self.workers,
        };
        let most = self.client.qps.map(|qps| qps * lease.as_secs_f64() / 6.0 / f64::from(kinds));
        most.map_or(self.workers, |most| self.workers.min(most as usize).max(1))
    }
}

/// The namespaces of the objects to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// Every one.
    All,
    /// These.
    These(BTreeSet<String>),
}

/// How sealing keys are made, found and renewed.
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// What the names of key Secrets begin with, and the name of the key of before 0.9.
    pub prefix: String,
    /// The size of new keys.
    pub size: KeySize,
    /// For how long certificates are valid.
    pub lifetime: Duration,
    /// The common name of certificates.
    pub common_name: String,
    /// After which time a new key is made; `None` for never.
    pub renew_period: Option<Duration>,
    /// What tells the newest key.
    pub order: KeyOrder,
    /// Keys from before this time are renewed at once.
    pub cutoff: Option<OffsetDateTime>,
    /// Annotations of new key Secrets.
    pub annotations: BTreeMap<String, String>,
    /// Labels of new key Secrets.
    pub labels: BTreeMap<String, String>,
}

/// What tells the newest key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyOrder {
    /// From when on its certificate is valid.
    #[default]
    CertNotBefore,
    /// When its Secret was made.
    SecretCreationTimestamp,
}

/// The requests to the API server.
#[derive(Clone, Copy, Debug)]
pub struct ClientSettings {
    /// How many a second; `None` for as many as there are.
    pub qps: Option<f64>,
    /// How many at once before that counts.
    pub burst: u32,
}

/// What is served over HTTP.
#[derive(Clone, Copy, Debug)]
pub struct HttpSettings {
    /// Where the API is served.
    pub listen: SocketAddr,
    /// Where metrics are served.
    pub listen_metrics: SocketAddr,
    /// How long a request may take to arrive.
    pub read_timeout: Duration,
    /// How long an answer may take.
    pub write_timeout: Duration,
    /// How many requests a second `/v1/verify` and `/v1/rotate` answer, to one caller.
    pub rate: u32,
    /// How many at once before that counts.
    pub burst: u32,
    /// How many bytes the body of a request may have.
    pub max_body: usize,
    /// Whether callers of `/v1/verify` and `/v1/rotate` have to show a token that the API server knows.
    pub authenticate: bool,
    /// Whether metrics name single objects.
    pub object_metrics: bool,
}

/// How replicas share the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// One works, the others wait for its Lease to end.
    Leader(ReplicaSettings),
    /// Each works on some of the namespaces.
    Sharded(ReplicaSettings),
    /// There is one.
    Single,
}

/// What a replica needs to know to find the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaSettings {
    /// The name of the Lease, and what the names of the Leases of single replicas begin with.
    pub lease: String,
    /// The name of this replica, which no other one has.
    pub identity: String,
    /// For how long a Lease counts after it was renewed.
    pub duration: Duration,
    /// How often it is renewed.
    pub renew: Duration,
}
