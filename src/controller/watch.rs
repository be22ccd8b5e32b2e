//! What the API server tells of objects and Secrets.

mod object;
mod part;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use kube::api::Api;
use kube::core::ApiResource;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt as _};

use super::existing::owners;
use super::queue::Key;
use super::settings::Namespaces;
use super::source::Source;
use super::store::Seen;

pub use object::{Object, SecretHead};
pub use part::{MAX_DEPTH, is_too_deep};

/// What the API server tells, with the number of the watch that tells it.
pub type Watch<T> = BoxStream<'static, (usize, Result<Event<T>, watcher::Error>)>;

/// Returns whether a namespace belongs to a watch, by its number.
#[must_use]
pub fn is_of(namespaces: &Namespaces, number: usize, namespace: &str) -> bool {
    match namespaces {
        Namespaces::All => true,
        Namespaces::These(names) => names.iter().nth(number).is_some_and(|name| name == namespace),
    }
}

/// Returns how many watches there are for each kind.
#[must_use]
pub fn count(namespaces: &Namespaces) -> usize {
    match namespaces {
        Namespaces::All => 1,
        Namespaces::These(names) => names.len(),
    }
}

/// Watches the objects of a kind. A watch that breaks is begun again, more and more slowly.
#[must_use]
pub fn objects(
    client: &Client,
    resource: &ApiResource,
    namespaces: &Namespaces,
    selector: &str,
) -> Watch<Object> {
    let mut config = watcher::Config::default().page_size(PAGE);
    if !selector.is_empty() {
        config = config.labels(selector);
    }
    let watch = |number: usize, api: Api<Object>| {
        let stream = watcher::watcher(api, config.clone()).default_backoff();
        stream.map(move |event| (number, event)).boxed()
    };
    match namespaces {
        Namespaces::All => watch(0, Api::all_with(client.clone(), resource)),
        Namespaces::These(names) => {
            let one = |(number, name): (usize, &String)| {
                watch(number, Api::namespaced_with(client.clone(), name, resource))
            };
            stream::select_all(names.iter().enumerate().map(one)).boxed()
        }
    }
}

/// Watches Secrets, of which only the metadata are sent.
#[must_use]
pub fn secrets(client: &Client, namespaces: &Namespaces) -> Watch<SecretHead> {
    let watch = |number: usize, api: Api<SecretHead>| {
        let stream = watcher::watcher(api, watcher::Config::default().page_size(SECRETS)).default_backoff();
        stream.map(move |event| (number, event)).boxed()
    };
    match namespaces {
        Namespaces::All => watch(0, Api::all(client.clone())),
        Namespaces::These(names) => {
            let one = |(number, name): (usize, &String)| watch(number, Api::namespaced(client.clone(), name));
            stream::select_all(names.iter().enumerate().map(one)).boxed()
        }
    }
}

/// Returns the name of an object.
pub fn key(object: &impl kube::ResourceExt) -> Key {
    Key { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

/// Returns what counts of a Secret for a kind of objects.
#[must_use]
pub fn seen(secret: &SecretHead, source: &dyn Source) -> Seen {
    let metadata = secret.metadata();
    let group = |version: &str| version.split('/').next().unwrap_or_default().to_owned();
    let resource = source.resource();
    let is_of_kind = |owner: &super::existing::Owner| {
        owner.is_controller && owner.kind == resource.kind && group(&owner.api_version) == resource.group
    };
    let says = |name: &str| metadata["annotations"][name] == "true";
    Seen {
        uid: secret.uid().unwrap_or_default(),
        resource_version: secret.resource_version().unwrap_or_default(),
        owner: owners(metadata).into_iter().find(is_of_kind),
        is_open: says(source.managed()) || source.patch().is_some_and(says),
    }
}

/// How many objects a list tells at once: all of them are in memory, several times over while they are read, and each
/// may have more than a million bytes.
const PAGE: u32 = 50;
/// How many Secrets a list tells at once: their metadata may have a quarter of a million bytes each.
const SECRETS: u32 = 250;
