//! A small sync engine: renders a folder in which secrets are encrypted, and applies what comes out to a cluster, again
//! and again.
//!
//! ```sh
//! cargo run --example apply_loop -- FOLDER AGE_KEY_FILE [SECONDS]
//! ```
//!
//! The cluster is that of `KUBECONFIG`. Without a number of seconds the folder is applied once. Nothing is applied unless
//! everything could be decrypted and verified.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Client, discovery};
use selkie::keys::KeyService;
use selkie::keys::age::{AgeService, Identities};
use selkie::render::{Emission, EmitMode, Engine, Folder, Limits, RenderError, Rule, emit, manifests};
use serde_json::Value as Json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&*error);
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [folder, keys, rest @ ..] = &arguments[..] else {
        return Err("usage: apply_loop FOLDER AGE_KEY_FILE [SECONDS]".into());
    };
    let pause = rest.first().map(|seconds| seconds.parse()).transpose()?.map(Duration::from_secs);
    let age = AgeService::new(Identities::parse(keys, &std::fs::read(keys)?.into())?);
    let client = Client::try_default().await?;
    loop {
        let round = match render(Path::new(folder), &[&age]) {
            Ok(emission) => apply(&client, &emission).await,
            Err(error) => Err(error.into()),
        };
        let Some(pause) = pause else { return round };
        // The next round may do better; what is in the cluster stays.
        if let Err(error) = round {
            complain(&*error);
        }
        tokio::time::sleep(pause).await;
    }
}

/// Returns the objects of a folder, decrypted; nothing at all if anything in it is refused.
fn render(folder: &Path, services: &[&dyn KeyService]) -> Result<Emission, RenderError> {
    let (rule, limits) = (Rule::default(), Limits::default());
    let engine = Engine { services: Some(services), sealing_keys: None, rule: &rule, limits: &limits };
    let files = Folder::open(folder, &limits)?;
    let roles = manifests(&files)?;
    let mut sources = engine.open(&files, &roles)?;
    let documents = engine.documents(&files, &roles, &mut sources)?;
    emit(&rule, &limits, &sources, &documents, &EmitMode::Plain)
}

/// Applies objects, and tells which of them that changed.
async fn apply(client: &Client, emission: &Emission) -> Result<(), Box<dyn Error>> {
    let mut objects: Vec<&Json> = emission.objects.iter().collect();
    // What others need comes first.
    objects.sort_by_key(|object| match object["kind"].as_str() {
        Some("Namespace") => 0,
        Some("CustomResourceDefinition") => 1,
        _ => 2,
    });
    for object in objects {
        let name = object["metadata"]["name"].as_str().ok_or("an object has no name")?;
        let kind = object["kind"].as_str().ok_or("an object has no kind")?;
        let change = apply_one(client, object, name).await;
        let change = change.map_err(|error| format!("{kind} {name}: {}", without_values(&error)))?;
        if let Some(change) = change {
            say(&format!("{kind} {name}: {change}"));
        }
    }
    Ok(())
}

/// Applies an object, and returns what changed.
async fn apply_one(client: &Client, object: &Json, name: &str) -> Result<Option<&'static str>, kube::Error> {
    let text = |field: &Json| field.as_str().unwrap_or_default().to_owned();
    let version = text(&object["apiVersion"]);
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let kind = GroupVersionKind::gvk(group, version, &text(&object["kind"]));
    let (resource, capabilities) = discovery::pinned_kind(client, &kind).await?;
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None if capabilities.scope == discovery::Scope::Namespaced => {
            Api::default_namespaced_with(client.clone(), &resource)
        }
        None => Api::all_with(client.clone(), &resource),
    };
    let before = api.get_opt(name).await?;
    let how = PatchParams::apply("apply-loop").force();
    let after = api.patch(name, &how, &Patch::Apply(object)).await?;
    Ok(match before {
        None => Some("created"),
        Some(before) if before.metadata.resource_version != after.metadata.resource_version => {
            Some("changed")
        }
        Some(_) => None,
    })
}

/// Tells an error without what the API server quotes of an object, which may be a Secret.
fn without_values(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("refused: {} {}", status.code, status.reason),
        kube::Error::Discovery(_) => "the cluster does not know this kind".to_owned(),
        _ => "the cluster cannot be reached, or its answer not be read".to_owned(),
    }
}

#[expect(clippy::print_stdout, reason = "it tells what it does")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "it tells what it does not do")]
fn complain(error: &dyn Error) {
    eprintln!("error: {error}");
}
