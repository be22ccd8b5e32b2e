//! The table of cases in `testdata/controller/plan`: for a SealedSecret and the Secret that is there, what is written.
//!
//! Every document of every file is a case; what its fields mean is said beside them. Of each write it is made sure, with
//! a model of the API server, that there is nothing left to do after it.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use selkie::format::Format;
use selkie::sealed::{
    Collision, Key, KeyRegistry, KeySize, SealedSecret, SealingCert, SealingKey, Secret, Unseal,
};
use selkie::secret::SecretBytes;
use serde_json::{Map, Value as Json, json};
use time::OffsetDateTime;
use tokio::sync::watch;

use super::{Change, Claim, Plan, plan};
use crate::controller::existing::{Existing, FIELD_MANAGER};
use crate::controller::key_set::KeySet;
use crate::controller::reason::{Failure, Reason};
use crate::controller::retry;
use crate::controller::sealed_secrets::SealedSecrets;
use crate::controller::source::Source as _;
use crate::controller::status::status;

#[tokio::test]
async fn every_case_of_the_table_comes_out_as_it_says() {
    let mut failures = Vec::new();
    let mut count = 0;
    for case in cases() {
        count += 1;
        if let Err(difference) = run(&case).await {
            failures.push(format!("{} {}\n{difference}", case["file"], case["case"]));
        }
    }
    assert!(count > 80, "only {count} cases were found");
    assert!(failures.is_empty(), "{} of {count} cases\n\n{}", failures.len(), failures.join("\n\n"));
}

/// Returns the documents of all files.
fn cases() -> Vec<Json> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/controller/plan");
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read(&file).expect("the file can be read");
        let tree = Format::Yaml.read(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        for document in tree.documents() {
            let mut case = tree.to_json(*document);
            for field in case.as_object().expect("a case is a map").keys() {
                assert!(FIELDS.contains(&field.as_str()), "{name}: {field}");
            }
            case["file"] = name.as_str().into();
            cases.push(case);
        }
    }
    cases
}

async fn run(case: &Json) -> Result<(), String> {
    let object = object(case);
    let existing = case.get("existing").map(|secret| stored(secret, "s1", "7"));
    let (source, flags) = (source(case), &case["flags"]);
    let opened = source.open(&object).await;
    let claim = Claim {
        uid: "u1",
        kind: "SealedSecret",
        managed: source.managed(),
        patch: source.patch(),
        adopt: flags["adopt"] == true,
        may_apply: flags["may apply"] != false,
        hides_metadata: false,
        reserved: flags["beside keys"].as_str(),
    };
    let desired = match opened {
        Ok(desired) => desired.secrets.into_iter().next().expect("there is one Secret"),
        Err(failure) => return refused(case, &object, &source, &failure),
    };
    assert_eq!((desired.metadata.namespace(), desired.metadata.name()), ("ns", "s"));
    let read = |secret: &Json| Existing::from_json(secret).expect("the Secret can be read");
    let before = existing.as_ref().map(read);
    let (found, after) = match plan(&claim, &desired, before.as_ref()) {
        Plan::Create(secret) => (json!({"create": flat(&secret)}), Some(created(&secret))),
        Plan::Apply(change) => {
            (written("apply", &change), existing.as_ref().map(|there| applied(there, &change)))
        }
        Plan::Replace(change) => {
            (written("replace", &change), existing.as_ref().map(|there| replaced(there, &change)))
        }
        Plan::Nothing => (json!({"nothing": true}), existing.clone()),
        Plan::Refuse(failure) => return refused(case, &object, &source, &failure),
    };
    let wanted: Map<_, _> = OUTCOMES
        .iter()
        .filter_map(|outcome| Some(((*outcome).to_owned(), wanted(outcome, case.get(*outcome)?))))
        .collect();
    if found != Json::Object(wanted.clone()) {
        return Err(format!("  found  {found}\n  wanted {}", Json::Object(wanted)));
    }
    conditions(&object, &source, Ok(()))?;
    // Whoever created a Secret has to find it in order: an annotation of it may tell whose it is.
    match plan(&claim, &desired, after.as_ref().map(read).as_ref()) {
        Plan::Nothing => Ok(()),
        Plan::Refuse(failure) => Err(format!("  after that, it is refused: {failure}")),
        _ => Err(format!("  after that, there is still something to do: {}", after.unwrap_or_default())),
    }
}

/// `refuse`: the word, what the status says, and in which words the controller of Sealed Secrets tells it.
fn refused(case: &Json, object: &Json, source: &SealedSecrets, failure: &Failure) -> Result<(), String> {
    let wait = retry::delay(failure.reason, 1, 5, 0.0).map(|wait| wait.as_millis());
    let found = json!({
        "reason": failure.reason.word(),
        "says": failure.message,
        "event": format!("{}: {}", failure.reason.event(), failure.event_text()),
        "label": failure.reason.error_label(),
        "retry": wait.and_then(|wait| u64::try_from(wait).ok()),
    });
    let mut wanted = case["refuse"].clone();
    // Where it is no more than the message, it is left out.
    let says = wanted["says"].as_str().unwrap_or_default().to_owned();
    let (event, label, retry) = match wanted["reason"].as_str().unwrap_or_default() {
        "Unmanaged" => (format!("ErrUpdateFailed: {says}"), "unmanaged", 1000),
        "UpdateFailed" => (format!("ErrUpdateFailed: {says}"), "update", 50),
        "Immutable" => (format!("ErrUpdateFailed: {says}"), "update", 1000),
        _ => (format!("ErrUnsealFailed: Failed to unseal: {says}"), "unseal", 1000),
    };
    if wanted.is_object() {
        wanted["event"] = event.into();
        wanted["label"] = label.into();
        wanted["retry"] = retry.into();
    }
    if found != wanted {
        return Err(format!("  found  {found}\n  wanted {wanted}"));
    }
    conditions(object, source, Err(failure))
}

/// Makes sure of the conditions, which follow from the outcome.
fn conditions(object: &Json, source: &SealedSecrets, result: Result<(), &Failure>) -> Result<(), String> {
    let special = source.status(object, result);
    let status = status(object, result, None, special, OffsetDateTime::UNIX_EPOCH).unwrap_or_default();
    let time = "1970-01-01T00:00:00Z";
    let condition = |kind: &str, reason: Option<&str>, message: Option<&str>| {
        let mut condition = json!({"type": kind, "status": if result.is_ok() { "True" } else { "False" }});
        for (field, text) in [("reason", reason), ("message", message)] {
            if let Some(text) = text {
                condition[field] = text.into();
            }
        }
        condition["lastTransitionTime"] = time.into();
        condition["lastUpdateTime"] = time.into();
        condition
    };
    let message = result.err().map(|failure| failure.message.as_str());
    let reason = result.err().map_or(Reason::Ready, |failure| failure.reason);
    let wanted = json!({
        "observedGeneration": 3,
        "conditions": [
            condition("Synced", None, message),
            condition("Ready", Some(reason.word()), Some(message.unwrap_or_default())),
        ],
    });
    if status == wanted { Ok(()) } else { Err(format!("  found  {status}\n  wanted {wanted}")) }
}

/// Returns the SealedSecret: `metadata` and `spec` of the case over those of an ordinary one; `deprecated` is the Secret
/// in `spec.data`. A value that begins with `seal:` is sealed; `seal@LABEL:` for another label, `other:` for a key that
/// is not there, `changed:` for a value that was changed afterwards.
fn object(case: &Json) -> Json {
    let mut object = json!({
        "apiVersion": "bitnami.com/v1alpha1",
        "kind": "SealedSecret",
        "metadata": {"name": "s", "namespace": "ns", "uid": "u1", "generation": 3, "resourceVersion": "5"},
        "spec": case.get("spec").cloned().unwrap_or_else(|| json!({"encryptedData": {"a": "seal:x"}})),
    });
    for (field, value) in case["metadata"].as_object().into_iter().flatten() {
        object["metadata"][field] = value.clone();
    }
    if let Some(version) = case.get("apiVersion") {
        object["apiVersion"] = version.clone();
    }
    let label =
        SealedSecret::from_any_json(&json!({"metadata": object["metadata"]})).expect("metadata").label();
    if let Some(secret) = case.get("deprecated") {
        let text = secret.as_str().map_or_else(|| secret.to_string(), str::to_owned);
        object["spec"]["data"] = seal(&KEYS.cert, &text, &label).into();
    }
    let items = object["spec"].get_mut("encryptedData").and_then(Json::as_object_mut);
    for (_, item) in items.into_iter().flatten() {
        let Some((how, text)) = item.as_str().and_then(|text| text.split_once(':')) else { continue };
        *item = match (how, how.strip_prefix("seal@")) {
            ("seal", _) => seal(&KEYS.cert, text, &label).into(),
            ("other", _) => seal(&KEYS.other, text, &label).into(),
            ("changed", _) => changed(&seal(&KEYS.cert, text, &label)).into(),
            (_, Some(label)) => seal(&KEYS.cert, text, label).into(),
            _ => continue,
        };
    }
    object
}

fn seal(cert: &SealingCert, text: &str, label: &str) -> String {
    cert.seal_labelled(&SecretBytes::from(text), label, &mut rand_core::OsRng).expect("it can be sealed")
}

fn changed(item: &str) -> String {
    let mut bytes = STANDARD.decode(item).expect("an item is base64");
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    STANDARD.encode(bytes)
}

/// Returns the kind with the keys and `flags` of a case.
fn source(case: &Json) -> SealedSecrets {
    let flags = &case["flags"];
    let how = Unseal {
        collision: if flags["template wins"] == true { Collision::Template } else { Collision::Item },
        deprecated_data: flags["v1"] != false,
        without_templates: false,
    };
    let (_, keys) = watch::channel(Arc::clone(&KEYS.set));
    SealedSecrets::new(keys, how, Arc::new(|| OffsetDateTime::UNIX_EPOCH))
}

/// Returns a Secret as the API server has it. In a case it is written in short: `labels`, `annotations`, `owners` (`ours`
/// is that of the SealedSecret), `finalizers`, `generateName`, `data` as texts, `type`, `immutable`, `deleting`, and
/// `wrote`, who wrote which labels and annotations.
fn stored(short: &Json, uid: &str, version: &str) -> Json {
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": "s", "namespace": "ns", "uid": uid, "resourceVersion": version,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
    });
    for (field, value) in short.as_object().into_iter().flatten() {
        match field.as_str() {
            "data" => secret["data"] = encoded(value),
            "deleting" => secret["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z".into(),
            "immutable" | "type" => secret[field] = value.clone(),
            "owners" => secret["metadata"]["ownerReferences"] = owners(value),
            "wrote" => {
                secret["metadata"]["managedFields"] =
                    value.as_array().into_iter().flatten().map(entry).collect();
            }
            _ => secret["metadata"][field] = value.clone(),
        }
    }
    secret
}

/// `[manager, operation, field, …]`, where a field is `labels/NAME`, `annotations/NAME`, or one of the Secret.
fn entry(short: &Json) -> Json {
    let texts: Vec<_> = short.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let mut fields = json!({});
    for field in &texts[2..] {
        match field.split_once('/') {
            Some((map, name)) => fields["f:metadata"][format!("f:{map}")][format!("f:{name}")] = json!({}),
            None => fields[format!("f:{field}")] = json!({}),
        }
    }
    json!({"manager": texts[0], "operation": texts[1], "fieldsType": "FieldsV1", "fieldsV1": fields})
}

fn owners(short: &Json) -> Json {
    let owner = |owner: &Json| if owner == "ours" { ours() } else { owner.clone() };
    short.as_array().into_iter().flatten().map(owner).collect()
}

fn ours() -> Json {
    json!({
        "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "name": "s", "uid": "u1",
        "controller": true,
    })
}

fn encoded(data: &Json) -> Json {
    let entries = data.as_object().into_iter().flatten();
    let value = |value: &Json| STANDARD.encode(value.as_str().expect("a value is a text"));
    Json::Object(entries.map(|(key, text)| (key.clone(), value(text).into())).collect())
}

/// Returns what a case says of an outcome, as [`flat`] says it.
fn wanted(outcome: &str, short: &Json) -> Json {
    let Some(short) = short.as_object() else { return short.clone() };
    let mut wanted = short.clone();
    if outcome != "create" {
        wanted.entry("type").or_insert("Opaque".into());
        wanted.entry("adopts").or_insert(false.into());
    }
    if let Some(list) = wanted.get_mut("owners") {
        *list = owners(list);
    }
    sorted(Json::Object(wanted))
}

fn written(outcome: &str, change: &Change) -> Json {
    assert_eq!((change.uid.as_str(), change.resource_version.as_str()), ("s1", "7"));
    let mut secret = flat(&change.secret);
    secret["adopts"] = change.is_adoption.into();
    json!({outcome: sorted(secret)})
}

/// Returns all that is in a Secret, in short.
fn flat(secret: &Secret) -> Json {
    let object = secret.to_json();
    let mut flat = Map::new();
    for (field, value) in object["metadata"].as_object().into_iter().flatten() {
        let field = if field == "ownerReferences" { "owners" } else { field };
        flat.insert(field.to_owned(), value.clone());
    }
    for field in ["immutable", "type"] {
        if let Some(value) = object.get(field) {
            flat.insert(field.to_owned(), value.clone());
        }
    }
    if !secret.data.is_empty() {
        let text = |value: &SecretBytes| String::from_utf8_lossy(value.expose_secret()).into_owned();
        let data = secret.data.iter().map(|(key, value)| (key.clone(), text(value).into()));
        flat.insert("data".to_owned(), Json::Object(data.collect()));
    }
    sorted(Json::Object(flat))
}

fn sorted(mut value: Json) -> Json {
    value.sort_all_objects();
    value
}

/// What the API server makes of a new Secret.
fn created(secret: &Secret) -> Json {
    let mut object = stored(&json!({}), "s1", "8");
    overlay(&mut object, &secret.to_json());
    object["metadata"]["managedFields"] = json!([record("Update", secret, &Json::Null)]);
    object
}

/// What the API server makes of a Secret that is replaced.
fn replaced(there: &Json, change: &Change) -> Json {
    let mut object = stored(&json!({}), "s1", "8");
    overlay(&mut object, &change.secret.to_json());
    let mut record = there["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    record.push(self::record("Update", &change.secret, there));
    object["metadata"]["managedFields"] = record.into();
    object
}

/// What the API server makes of a Secret to which fields are applied.
fn applied(there: &Json, change: &Change) -> Json {
    let (mut object, fields) = (there.clone(), change.secret.to_json());
    let mut record = there["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let is_applied = |entry: &Json| entry["manager"] == FIELD_MANAGER && entry["operation"] == "Apply";
    let before = record.iter().find(|entry| is_applied(entry)).cloned().unwrap_or_default();
    record.retain(|entry| !is_applied(entry));
    for map in ["labels", "annotations"] {
        let names =
            before["fieldsV1"]["f:metadata"][format!("f:{map}")].as_object().cloned().unwrap_or_default();
        for (name, _) in names {
            if let Some(entries) = object["metadata"][map].as_object_mut() {
                entries.remove(name.trim_start_matches("f:"));
            }
        }
    }
    let mut owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    for owner in fields["metadata"]["ownerReferences"].as_array().into_iter().flatten() {
        owners.retain(|there| there["uid"] != owner["uid"]);
        owners.push(owner.clone());
    }
    overlay(&mut object, &fields);
    object["metadata"]["ownerReferences"] = owners.into();
    record.push(self::record("Apply", &change.secret, there));
    object["metadata"]["managedFields"] = record.into();
    object
}

/// The record of a write: of what is updated, not applied, only what has changed.
fn record(operation: &str, secret: &Secret, there: &Json) -> Json {
    let object = secret.to_json();
    let mut short = vec![json!(FIELD_MANAGER), json!(operation), json!("type"), json!("data")];
    for map in ["labels", "annotations"] {
        for (name, value) in object["metadata"][map].as_object().into_iter().flatten() {
            if operation == "Apply" || there["metadata"][map][name] != *value {
                short.push(json!(format!("{map}/{name}")));
            }
        }
    }
    entry(&short.into())
}

/// Puts maps into maps.
fn overlay(object: &mut Json, fields: &Json) {
    match fields {
        Json::Object(fields) if object.is_object() => {
            for (name, value) in fields {
                overlay(&mut object[name], value);
            }
        }
        _ => *object = fields.clone(),
    }
}

/// The keys of a run of the tests, which last for one run.
struct TestKeys {
    set: Arc<KeySet>,
    cert: SealingCert,
    other: SealingCert,
}

static KEYS: LazyLock<TestKeys> = LazyLock::new(|| {
    let pair = || {
        let key = SealingKey::generate(KeySize::Rsa2048).expect("a key");
        let (now, rng) = (OffsetDateTime::UNIX_EPOCH, &mut rand_core::OsRng);
        let cert =
            SealingCert::generate(&key, "", now, time::Duration::days(3650), rng).expect("a certificate");
        (key, cert)
    };
    let ((key, cert), (_, other)) = (pair(), pair());
    let mut registry = KeyRegistry::new();
    registry.add(Key::new(key, "a key"));
    TestKeys { set: Arc::new(KeySet { registry, ..KeySet::default() }), cert, other }
});

/// The fields that a case may have.
const FIELDS: [&str; 12] = [
    "apiVersion",
    "case",
    "deprecated",
    "existing",
    "flags",
    "metadata",
    "spec", // what there is
    "apply",
    "create",
    "nothing",
    "refuse",
    "replace", // what comes of it
];
const OUTCOMES: [&str; 5] = ["apply", "create", "nothing", "refuse", "replace"];
