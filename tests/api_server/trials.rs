//! Trials of the API server itself: what the real one answers, asked by the client that the controller has.

mod applying;
mod faults;
mod reading;
mod writing;

use std::error::Error;

use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use libtest_mimic::{Failed, Trial};
use serde_json::{Value as Json, json};

use super::{Actor, ApiServer, Key, Resource};

/// What a trial returns.
type Outcome = Result<(), Box<dyn Error>>;

/// Returns the trials.
pub fn tests() -> Vec<Trial> {
    [applying::tests(), faults::tests(), reading::tests(), writing::tests()].into_iter().flatten().collect()
}

/// Returns a trial that runs in a runtime whose time is stopped.
fn trial<F>(name: &str, test: impl FnOnce(ApiServer) -> F + Send + 'static) -> Trial
where
    F: Future<Output = Outcome>,
{
    Trial::test(format!("api_server::{name}"), move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let result = runtime.block_on(async { test(ApiServer::new(1)).await });
        result.map_err(|error| Failed::from(error.to_string()))
    })
}

/// Returns a client for Secrets of `default`.
fn secrets(server: &ApiServer) -> Api<DynamicObject> {
    objects(server, "", "v1", "Secret")
}

/// Returns a client for SealedSecrets of `default`.
fn sealed_secrets(server: &ApiServer) -> Api<DynamicObject> {
    objects(server, "bitnami.com", "v1alpha1", "SealedSecret")
}

fn objects(server: &ApiServer, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(server.client(&Actor::new("trial")), "default", &resource)
}

/// Returns a Secret of `default` with one value.
fn secret(name: &str, value: &str) -> Json {
    let metadata = json!({"name": name, "namespace": "default"});
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"value": value}})
}

/// Returns a SealedSecret of `default` with one value.
fn sealed(name: &str, value: &str) -> Json {
    let metadata = json!({"name": name, "namespace": "default"});
    let spec = json!({"encryptedData": {"value": value}});
    json!({"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": metadata, "spec": spec})
}

/// Returns the place of a Secret of `default`.
fn secret_key(name: &str) -> Result<Key, &'static str> {
    Ok(Key::new(Resource::find("", "secrets").ok_or("there are Secrets")?, "default", name))
}

/// Checks that something was refused with a code, a reason and words.
fn refused<T>(result: kube::Result<T>, code: u16, reason: &str, words: &str) -> Outcome {
    match result {
        Err(kube::Error::Api(status))
            if status.code == code && status.reason == reason && status.message.contains(words) =>
        {
            Ok(())
        }
        Err(error) => Err(format!("expected {code} {reason} {words:?}: {error:?}").into()),
        Ok(_) => Err(format!("expected {code} {reason} {words:?}").into()),
    }
}

/// Fails with words unless something holds.
fn hold(holds: bool, what: impl AsRef<str>) -> Outcome {
    if holds { Ok(()) } else { Err(what.as_ref().into()) }
}
