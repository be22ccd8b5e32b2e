//! Lists and watches.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, ResourceExt as _, core::PartialObjectMeta};
use libtest_mimic::Trial;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde_json::json;

use super::{Actor, ApiServer, Outcome, hold, refused, secret, secret_key, secrets, trial};
use crate::api_server::{Cut, Resource};

pub fn tests() -> Vec<Trial> {
    vec![
        trial("lists_come_in_pages_of_one_time", lists_come_in_pages_of_one_time),
        trial("watches_follow_labels", watches_follow_labels),
        trial("old_versions_are_gone", old_versions_are_gone),
        trial("watchers_miss_nothing", watchers_miss_nothing),
    ]
}

async fn lists_come_in_pages_of_one_time(server: ApiServer) -> Outcome {
    let api = secrets(&server);
    for name in ["a", "b", "c", "d", "e"] {
        server.create(&secret(name, name)).map_err(|refusal| refusal.body.to_string())?;
    }
    let first = api.list(&ListParams::default().limit(2)).await?;
    hold(first.items.iter().all(|item| item.types.is_none()), "items of the core do not say what they are")?;
    hold(first.metadata.remaining_item_count == Some(3), "the rest is counted")?;
    server.delete(&secret_key("d")?).map_err(|refusal| refusal.body.to_string())?;
    let token = first.metadata.continue_.ok_or("there is more")?;
    let rest = api.list(&ListParams::default().limit(3).continue_token(&token)).await?;
    let names: Vec<_> = rest.items.iter().map(|item| item.name_any()).collect();
    hold(names == ["c", "d", "e"] && rest.metadata.continue_.is_none(), "the pages are of one time")?;
    hold(rest.metadata.resource_version == first.metadata.resource_version, "and say so")?;
    server.compact();
    let result = api.list(&ListParams::default().limit(2).continue_token(&token)).await;
    refused(result, 410, "Expired", "The provided continue parameter is too old")?;
    let metadata = api.list_metadata(&ListParams::default().fields("metadata.name=b")).await?;
    let only = metadata.items.first().ok_or("it is found")?;
    let kind = only.types.as_ref().map(|types| types.kind.as_str());
    hold(metadata.items.len() == 1 && kind == Some("PartialObjectMetadata"), "metadata alone is listed")
}

async fn watches_follow_labels(server: ApiServer) -> Outcome {
    let api = secrets(&server);
    server.create(&secret("one", "a")).map_err(|refusal| refusal.body.to_string())?;
    let version = api.list(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
    let parameters = WatchParams::default().labels("team in (a, b)").timeout(200);
    let mut events = Box::pin(api.watch(&parameters, &version).await?);
    for team in [json!("a"), json!("b"), json!(null)] {
        let labels = json!({"metadata": {"labels": {"team": team}}});
        server.merge(&secret_key("one")?, &labels).map_err(|refusal| refusal.body.to_string())?;
    }
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        seen.push(match event? {
            WatchEvent::Added(object) => format!("added {}", object.labels().len()),
            WatchEvent::Modified(_) => "modified".to_owned(),
            WatchEvent::Deleted(object) => {
                let version = object.resource_version().unwrap_or_default();
                let now = server.get(&secret_key("one")?).ok_or("it is there")?;
                hold(
                    now["metadata"]["resourceVersion"] == version,
                    "the event has the version of the change",
                )?;
                "deleted".to_owned()
            }
            WatchEvent::Bookmark(_) => "bookmark".to_owned(),
            WatchEvent::Error(status) => return Err(status.message.into()),
        });
    }
    let expected = ["added 1", "modified", "deleted", "bookmark", "bookmark", "bookmark", "bookmark"];
    hold(seen == expected, format!("{seen:?}"))
}

async fn old_versions_are_gone(server: ApiServer) -> Outcome {
    let api = secrets(&server);
    server.create(&secret("one", "a")).map_err(|refusal| refusal.body.to_string())?;
    server.compact();
    let mut events = Box::pin(api.watch(&WatchParams::default(), "1").await?);
    match events.next().await {
        Some(Ok(WatchEvent::Error(status))) if status.code == 410 => {
            hold(
                status.reason == "Expired" && status.message.starts_with("too old resource version: 1 ("),
                status.message,
            )?;
        }
        other => return Err(format!("{other:?}").into()),
    }
    hold(events.next().await.is_none(), "that is the end of it")
}

/// Whatever comes in the way, the two watchers of kube come to know what is there.
async fn watchers_miss_nothing(server: ApiServer) -> Outcome {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let client = server.client(&Actor::new("watcher"));
    let api: Api<Secret> = Api::all(client.clone());
    let config = watcher::Config::default().page_size(3);
    let (store, writer) = reflector::store::<Secret>();
    let (names, names_writer) = reflector::store::<PartialObjectMeta<Secret>>();
    let full = reflector(writer, watcher(api, config.clone()).default_backoff()).for_each(async |_| {});
    let only_names: Api<PartialObjectMeta<Secret>> = Api::all(client);
    let only_names = watcher(only_names, config.streaming_lists()).default_backoff();
    let only_names = reflector(names_writer, only_names).for_each(async |_| {});
    let user =
        async {
            server.faults(|faults| {
                faults.rate = 0.3;
                faults.lag = Duration::from_secs(2);
                faults.latency = Duration::from_millis(50);
                faults.watch_life = Some(Duration::from_secs(100));
            });
            for _ in 0..400 {
                let name = format!("s{}", rng.gen_range(0..9));
                let key = secret_key(&name)?;
                // Not all that is tried can be done.
                match rng.gen_range(0..12) {
                    0..4 => drop(server.create(&secret(&name, &rng.gen_range(0..99).to_string()))),
                    4..6 => drop(server.delete(&key)),
                    6..8 => drop(server.merge(
                        &key,
                        &json!({"metadata": {"labels": {"a": rng.gen_range(0..99).to_string()}}}),
                    )),
                    8 => server.cut_watches(Cut::Error),
                    9 => server.cut_watches(Cut::Expire),
                    10 => server.compact(),
                    _ => server.faults(|faults| faults.is_down = !faults.is_down),
                }
                tokio::time::sleep(Duration::from_millis(rng.gen_range(0..5000))).await;
            }
            server.faults(super::super::Faults::end);
            tokio::time::sleep(Duration::from_secs(600)).await;
            Outcome::Ok(())
        };
    tokio::select! {
        () = full => return Err("the watcher ended".into()),
        () = only_names => return Err("the watcher of metadata ended".into()),
        result = user => result?,
    }
    let resource = Resource::find("", "secrets").ok_or("there are Secrets")?;
    let text = |value: Option<String>| value.unwrap_or_default();
    let truth: BTreeMap<String, String> = server
        .all(resource)
        .into_iter()
        .map(|(key, object)| {
            (key.name, object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned())
        })
        .collect();
    let seen: BTreeMap<String, String> =
        store.state().iter().map(|object| (object.name_any(), text(object.resource_version()))).collect();
    let seen_names: BTreeMap<String, String> =
        names.state().iter().map(|object| (object.name_any(), text(object.resource_version()))).collect();
    hold(!truth.is_empty() && truth == seen, format!("{truth:?} {seen:?}"))?;
    hold(truth == seen_names, format!("{truth:?} {seen_names:?}"))
}
