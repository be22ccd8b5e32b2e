//! What users and fate do to a cluster, by chance.

use std::time::Duration;

use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};

use super::model::{MANAGED, PATCH, sealed_secrets, secrets};
use super::pool::{KEYS, NAMES, NAMESPACES, OWN, POOL, VALUES, sealed};
use super::replica::Replica;
use crate::api_server::{ApiServer, Cut, Key, Moment};

/// Does something by chance. Not all that is tried can be done, as for users.
pub fn act(server: &ApiServer, replicas: &[Replica], rng: &mut ChaCha8Rng) {
    let place = (rng.gen_range(0..NAMESPACES.len()), rng.gen_range(0..NAMES.len()));
    let secret = Key::new(secrets(), NAMESPACES[place.0], NAMES[place.1]);
    let object = Key::new(sealed_secrets(), NAMESPACES[place.0], NAMES[place.1]);
    match rng.gen_range(0..40) {
        0..12 => drop(server.create(&some_sealed(place, rng))),
        12..16 => {
            let spec = some_sealed(place, rng)["spec"].take();
            edit(server, &object, |object| object["spec"] = spec);
        }
        16 => drop(server.delete(&object)),
        17 => drop(server.merge(&object, &json!({"metadata": {"annotations": {"note": number(rng)}}}))),
        18 | 19 => drop(server.delete(&secret)),
        20..22 => drop(server.merge(&secret, &json!({"data": {"password": "Zm9yZWlnbg=="}}))),
        22 => drop(server.merge(&secret, &json!({"data": {"password": null, "extra": "Zm9yZWlnbg=="}}))),
        23 => drop(
            server.merge(&secret, &json!({"metadata": {"labels": {"color": "black", "note": number(rng)}}})),
        ),
        24 => drop(server.merge(&secret, &json!({"metadata": {"ownerReferences": null}}))),
        25 => annotate(server, &secret, MANAGED, ["true", "yes"].choose(rng).unwrap_or(&"true")),
        26 => annotate(server, &secret, PATCH, "true"),
        27 | 28 => drop(server.create(&foreign(place, rng))),
        29 => drop(server.create(POOL.key(rng.gen_range(1..KEYS)))),
        30 => drop(server.create(&broken_key())),
        31 => server.cut_watches(*[Cut::Close, Cut::Error, Cut::Expire].choose(rng).unwrap_or(&Cut::Close)),
        32 => server.compact(),
        33 => server.faults(|faults| faults.is_down = !faults.is_down),
        34..37 => {
            if let Some(replica) = replicas.choose(rng) {
                let actor = replica.actor();
                let moment = *[Moment::After, Moment::Before].choose(rng).unwrap_or(&Moment::Before);
                actor.kill_at(actor.requests() + rng.gen_range(1..12), moment);
            }
        }
        _ => server.collect_garbage(),
    }
}

/// How long it takes until something else is done: often little, seldom long.
pub fn pause(rng: &mut ChaCha8Rng) -> Duration {
    let longest = *[0, 20, 500, 5_000, 40_000].choose(rng).unwrap_or(&0);
    Duration::from_millis(rng.gen_range(0..=longest))
}

/// Returns a SealedSecret by chance; some cannot be opened.
fn some_sealed(place: (usize, usize), rng: &mut ChaCha8Rng) -> Json {
    let key = *[0, 0, 0, 1, 2].choose(rng).unwrap_or(&0);
    let mut items = json!({"password": POOL.item(place, key, rng.gen_range(0..VALUES))});
    let mut template = json!({});
    match rng.gen_range(0..16) {
        0 => items["other"] = json!(POOL.item(place, 0, rng.gen_range(0..VALUES))),
        1 => items["other"] = json!("AgBnonsense"),
        2 => items["other"] = json!(POOL.item((place.0, (place.1 + 1) % NAMES.len()), 0, 0)),
        3 => template["data"] = json!({"url": "https://{{ .password }}"}),
        4 => template["data"] = json!({"url": "{{ fail .password }}"}),
        5 | 6 => template["immutable"] = json!(true),
        7..9 => {
            template["metadata"] =
                json!({"labels": {"color": *["blue", "red"].choose(rng).unwrap_or(&"red")}})
        }
        9 => template["type"] = json!("example.com/password"),
        _ => {}
    }
    sealed(place, items, template)
}

/// Returns a Secret of somebody.
fn foreign(place: (usize, usize), rng: &mut ChaCha8Rng) -> Json {
    let mut metadata = json!({"namespace": NAMESPACES[place.0], "name": NAMES[place.1]});
    match rng.gen_range(0..6) {
        0 => metadata["annotations"] = json!({MANAGED: "true"}),
        1 => metadata["annotations"] = json!({PATCH: "true"}),
        2 => metadata["annotations"] = json!({PATCH: "true", MANAGED: "true"}),
        _ => {}
    }
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"theirs": "Zm9yZWlnbg=="}})
}

/// Returns a Secret that says that it is a key, and is none.
fn broken_key() -> Json {
    let labels = json!({"sealedsecrets.bitnami.com/sealed-secrets-key": "active"});
    let metadata = json!({"namespace": OWN, "generateName": "broken-", "labels": labels});
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"tls.key": "bm9uZQ=="}})
}

fn annotate(server: &ApiServer, key: &Key, name: &str, value: &str) {
    drop(server.merge(key, &json!({"metadata": {"annotations": {name: value}}})));
}

fn number(rng: &mut ChaCha8Rng) -> String {
    rng.gen_range(0..100).to_string()
}

/// Edits an object, as `kubectl edit` does.
fn edit(server: &ApiServer, key: &Key, change: impl FnOnce(&mut Json)) {
    if let Some(object) = server.get(key) {
        let mut object = (*object).clone();
        change(&mut object);
        drop(server.replace(&object));
    }
}
