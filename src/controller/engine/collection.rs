//! The Secrets of objects that are gone, where the cluster's garbage collector shall not be waited for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::controller::cluster::CallError;
use crate::controller::context::Context;
use crate::controller::queue::Key;
use crate::controller::reconcile::{Attempt, Outcome};
use crate::controller::source::Source;
use crate::controller::status::Version;

/// Deletes the Secrets of an object that is gone, as the garbage collector would.
pub async fn collect(
    context: Arc<Context>,
    source: Arc<dyn Source>,
    key: Key,
    owned: Vec<(Key, Version)>,
) -> Attempt {
    // A watch calls what its selector does not match any more gone, too.
    let is_gone = |object: Result<_, CallError>| matches!(object, Err(CallError::NotFound(_)));
    if is_gone(context.cluster.object(source.resource(), &key).await) {
        for (secret, version) in owned {
            delete(&context, &secret, &version).await;
        }
    }
    Attempt { key, outcome: Outcome::Collected }
}

async fn delete(context: &Context, secret: &Key, version: &Version) {
    let (namespace, name) = (secret.namespace.as_str(), secret.name.as_str());
    for round in 0..COLLECTIONS {
        if !context.covers(namespace) {
            return;
        }
        match context.cluster.delete(namespace, version).await {
            Ok(_) => return,
            Err(CallError::Unavailable { .. }) => sleep(Duration::from_secs(1 << round)).await,
            Err(error) => {
                return tracing::error!(namespace, name, %error, "a Secret cannot be deleted");
            }
        }
    }
    tracing::error!(namespace, name, "a Secret of an object that is gone was not deleted, and stays");
}

/// How often it is tried to delete a Secret.
const COLLECTIONS: u32 = 5;
