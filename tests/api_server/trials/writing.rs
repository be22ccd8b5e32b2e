//! Creating, updating, patching, deleting.

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use libtest_mimic::Trial;
use serde_json::json;

use super::{ApiServer, Outcome, hold, refused, sealed, sealed_secrets, secret, secret_key, secrets, trial};

pub fn tests() -> Vec<Trial> {
    vec![
        trial("names_are_taken_once", names_are_taken_once),
        trial("updates_need_the_newest_version", updates_need_the_newest_version),
        trial("immutable_secrets_and_types_stay", immutable_secrets_and_types_stay),
        trial("status_and_spec_are_written_apart", status_and_spec_are_written_apart),
        trial("patches_merge_and_test", patches_merge_and_test),
        trial("deleting_minds_preconditions_and_finalizers", deleting_minds_preconditions_and_finalizers),
        trial("secrets_are_checked", secrets_are_checked),
    ]
}

async fn names_are_taken_once(server: ApiServer) -> Outcome {
    let api = secrets(&server);
    let object: DynamicObject = serde_json::from_value(secret("one", "a"))?;
    let made = api.create(&PostParams::default(), &object).await?;
    hold(made.data["type"] == "Opaque" && made.data["data"]["value"] == "YQ==", "it is completed")?;
    hold(
        made.metadata.generation.is_none() && made.metadata.uid.is_some(),
        "it has a uid, and no generation",
    )?;
    let again = api.create(&PostParams::default(), &object).await;
    refused(again, 409, "AlreadyExists", "secrets \"one\" already exists")?;
    let mut prefixed = secret("", "a");
    prefixed["metadata"] = json!({"generateName": "key-"});
    let made = api.create(&PostParams::default(), &serde_json::from_value(prefixed)?).await?;
    hold(made.metadata.name.is_some_and(|name| name.len() == 9 && name.starts_with("key-")), "it has a name")
}

async fn updates_need_the_newest_version(server: ApiServer) -> Outcome {
    let api = secrets(&server);
    server.create(&secret("one", "a")).map_err(|refusal| refusal.body.to_string())?;
    let old = api.get("one").await?;
    let mut new = old.clone();
    new.data["data"]["value"] = json!("Yg==");
    let newer = api.replace("one", &PostParams::default(), &new).await?;
    hold(newer.metadata.resource_version != old.metadata.resource_version, "the version is another one")?;
    let words = "the object has been modified; please apply your changes to the latest version";
    refused(api.replace("one", &PostParams::default(), &new).await, 409, "Conflict", words)?;
    let same = api.replace("one", &PostParams::default(), &newer).await?;
    hold(same.metadata == newer.metadata, "to write the same changes nothing")?;
    let mut foreign = newer.clone();
    foreign.metadata.uid = Some("another".to_owned());
    let result = api.replace("one", &PostParams::default(), &foreign).await;
    refused(
        result,
        409,
        "Conflict",
        "Precondition failed: UID in precondition: another, UID in object meta",
    )?;
    server.delete(&secret_key("one")?).map_err(|refusal| refusal.body.to_string())?;
    refused(api.replace("one", &PostParams::default(), &newer).await, 404, "NotFound", "secrets \"one\"")?;
    let object = serde_json::from_value(sealed("s", "a"))?;
    let mut made = sealed_secrets(&server).create(&PostParams::default(), &object).await?;
    made.metadata.resource_version = None;
    let result = sealed_secrets(&server).replace("s", &PostParams::default(), &made).await;
    refused(
        result,
        422,
        "Invalid",
        "metadata.resourceVersion: Invalid value: 0: must be specified for an update",
    )
}

async fn immutable_secrets_and_types_stay(server: ApiServer) -> Outcome {
    let api = secrets(&server);
    let mut object = secret("one", "a");
    object["immutable"] = json!(true);
    server.create(&object).map_err(|refusal| refusal.body.to_string())?;
    let old = api.get("one").await?;
    let mut new = old.clone();
    new.data["data"]["value"] = json!("Yg==");
    let result = api.replace("one", &PostParams::default(), &new).await;
    let words = "Secret \"one\" is invalid: data: Forbidden: field is immutable when `immutable` is set";
    refused(result, 422, "Invalid", words)?;
    new.data["immutable"] = json!(false);
    refused(
        api.replace("one", &PostParams::default(), &new).await,
        422,
        "Invalid",
        "[immutable: Forbidden: ",
    )?;
    let mut new = old.clone();
    new.data["type"] = json!("other");
    let words = "type: Invalid value: \"other\": field is immutable";
    refused(api.replace("one", &PostParams::default(), &new).await, 422, "Invalid", words)?;
    let mut labelled = old;
    labelled.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
    drop(api.replace("one", &PostParams::default(), &labelled).await?);
    Ok(())
}

async fn status_and_spec_are_written_apart(server: ApiServer) -> Outcome {
    let api = sealed_secrets(&server);
    let mut object = sealed("one", "a");
    object["status"] = json!({"observedGeneration": 9});
    let made = api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    hold(made.metadata.generation == Some(1) && made.data.get("status").is_none(), "it has no status yet")?;
    let mut new = made.clone();
    new.data["status"] = json!({"observedGeneration": 1});
    new.data["spec"]["encryptedData"]["value"] = json!("b");
    let written = api.replace_status("one", &PostParams::default(), &new).await?;
    hold(written.data["status"]["observedGeneration"] == 1, "the status is written")?;
    hold(
        written.data["spec"] == made.data["spec"] && written.metadata.generation == Some(1),
        "the spec is not",
    )?;
    new.metadata.resource_version = written.metadata.resource_version;
    new.data["status"] = json!({"observedGeneration": 5});
    let written = api.replace("one", &PostParams::default(), &new).await?;
    hold(written.data["status"]["observedGeneration"] == 1, "the status stays")?;
    hold(written.metadata.generation == Some(2), "the generation counts changes of the spec")?;
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let labelled = api.patch("one", &PatchParams::default(), &Patch::Merge(&labels)).await?;
    hold(labelled.metadata.generation == Some(2), "labels do not count")
}

async fn patches_merge_and_test(server: ApiServer) -> Outcome {
    let api = secrets(&server);
    server.create(&secret("one", "a")).map_err(|refusal| refusal.body.to_string())?;
    let patch = json!({"data": {"value": null, "other": "Yg=="}});
    let merged = api.patch("one", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    hold(merged.data["data"] == json!({"other": "Yg=="}), "it is merged")?;
    let foreign = json!({"metadata": {"uid": "another"}, "data": {}});
    let result = api.patch("one", &PatchParams::default(), &Patch::Merge(&foreign)).await;
    refused(result, 422, "Invalid", "metadata.uid: Invalid value: \"another\": field is immutable")?;
    let operations = |uid: &str| {
        let test = json!({"op": "test", "path": "/metadata/uid", "value": uid});
        let add = json!({"op": "add", "path": "/metadata/labels", "value": {"a/b": "c"}});
        serde_json::from_value(json!([test, add]))
    };
    let uid = merged.metadata.uid.unwrap_or_default();
    let patched = api.patch("one", &PatchParams::default(), &Patch::<()>::Json(operations(&uid)?)).await?;
    hold(patched.metadata.labels.is_some_and(|labels| labels.contains_key("a/b")), "it is patched")?;
    let result = api.patch("one", &PatchParams::default(), &Patch::<()>::Json(operations("another")?)).await;
    refused(result, 422, "Invalid", "the server rejected our request due to an error in our request")
}

async fn deleting_minds_preconditions_and_finalizers(server: ApiServer) -> Outcome {
    let api = secrets(&server);
    let mut object = secret("one", "a");
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    server.create(&object).map_err(|refusal| refusal.body.to_string())?;
    let of = |uid: &str| {
        let uid = Some(uid.to_owned());
        DeleteParams {
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..Default::default()
        }
    };
    let result = api.delete("one", &of("another")).await;
    refused(
        result,
        409,
        "Conflict",
        "the UID in the precondition (another) does not match the UID in record",
    )?;
    let uid = api.get("one").await?.metadata.uid.unwrap_or_default();
    hold(api.delete("one", &of(&uid)).await?.is_left(), "it waits for its finalizer")?;
    hold(api.get("one").await?.metadata.deletion_timestamp.is_some(), "it is there until then")?;
    let free = json!({"metadata": {"finalizers": null}});
    drop(api.patch("one", &PatchParams::default(), &Patch::Merge(&free)).await?);
    refused(api.get("one").await, 404, "NotFound", "secrets \"one\" not found")
}

async fn secrets_are_checked(server: ApiServer) -> Outcome {
    let api = secrets(&server);
    let made = |field: &str, value: serde_json::Value| {
        let mut object = secret("one", "a");
        object[field] = value;
        serde_json::from_value::<DynamicObject>(object)
    };
    let create = async |object| api.create(&PostParams::default(), &object).await;
    refused(create(made("data", json!({"a": "?"}))?).await, 400, "BadRequest", "illegal base64 data")?;
    refused(create(made("data", json!({"a b": "YQ=="}))?).await, 422, "Invalid", "a valid config key")?;
    let result = create(made("type", json!("kubernetes.io/tls"))?).await;
    refused(result, 422, "Invalid", "[data[tls.crt]: Required value, data[tls.key]: Required value]")?;
    let labels = json!({"name": "one", "labels": {"a": "not a label"}});
    refused(create(made("metadata", labels)?).await, 422, "Invalid", "a valid label must be")?;
    let owner =
        |name: &str| json!({"apiVersion": "v1", "kind": "A", "name": name, "uid": name, "controller": true});
    let owners = json!({"name": "one", "ownerReferences": [owner("a"), owner("b")]});
    refused(
        create(made("metadata", owners)?).await,
        422,
        "Invalid",
        "Only one reference can have Controller set",
    )?;
    let place = json!({"name": "one", "namespace": "other"});
    refused(create(made("metadata", place)?).await, 400, "BadRequest", "the namespace of the provided object")
}
