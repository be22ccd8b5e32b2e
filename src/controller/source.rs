//! Kinds of objects that Secrets are made of.

use futures_util::future::BoxFuture;
use kube::core::ApiResource;
use selkie::sealed::Secret;
use serde_json::Value as Json;

use super::reason::{Failure, Reason};

/// A kind of object that Secrets are made of. One file each; the controller runs the same engine for all.
pub trait Source: Send + Sync + 'static {
    /// Returns what the API server calls the kind.
    fn resource(&self) -> &ApiResource;

    /// Returns what the kind is called in metrics and logs, as no other source is.
    fn label(&self) -> &str {
        &self.resource().kind
    }

    /// Returns the parts of an object that tell which Secrets it stands for, without what the API server or this
    /// controller writes. As long as they are the same, there is nothing to do.
    fn essence(&self, object: &Json) -> Json;

    /// Returns the Secrets that an object stands for, all or nothing. May use all of a core, and ask servers.
    ///
    /// # Errors
    /// If it cannot be opened. The message holds nothing of a plaintext.
    fn open<'a>(&'a self, object: &'a Json) -> BoxFuture<'a, Result<Desired, Failure>>;

    /// Returns the annotation of a Secret that allows to take it over.
    fn managed(&self) -> &str {
        super::sealed_secrets::MANAGED
    }

    /// Returns the annotation of a Secret that allows to put values into it, if there is one.
    fn patch(&self) -> Option<&str> {
        None
    }

    /// Returns why an object may have failed that other keys, or other rights to use them, can mend.
    fn mended_by_keys(&self) -> &[Reason] {
        &[Reason::NoKey]
    }

    /// Returns whether names, types, labels and annotations of Secrets may be encrypted in an object, so that no message
    /// may quote them.
    fn hides_metadata(&self) -> bool {
        false
    }

    /// Returns the fields of the status besides those that the engine writes, given how it went.
    fn status(&self, object: &Json, result: Result<(), &Failure>) -> Json;
}

/// What an object stands for.
pub struct Desired {
    /// The Secrets, with name, namespace and owner.
    pub secrets: Vec<Secret>,
    /// Whether other Secrets that the object owns are deleted.
    pub prune: bool,
    /// Whether a Secret of somebody else is taken over although it has no annotation that allows it.
    pub adopt: bool,
}
