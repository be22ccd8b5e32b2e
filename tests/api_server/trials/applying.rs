//! Server-side apply.

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use libtest_mimic::Trial;
use serde_json::{Value as Json, json};

use super::{ApiServer, Outcome, hold, refused, sealed, sealed_secrets, secret, secret_key, secrets, trial};

pub fn tests() -> Vec<Trial> {
    vec![
        trial("what_is_no_longer_applied_goes", what_is_no_longer_applied_goes),
        trial("fields_of_others_are_conflicts", fields_of_others_are_conflicts),
        trial("applying_minds_uid_and_version", applying_minds_uid_and_version),
        trial("owners_are_applied_by_uid", owners_are_applied_by_uid),
        trial("status_is_applied_apart", status_is_applied_apart),
    ]
}

fn applied(name: &str, data: &Json) -> Json {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})
}

async fn apply(
    api: &Api<DynamicObject>,
    manager: &str,
    force: bool,
    object: &Json,
) -> kube::Result<DynamicObject> {
    let parameters = PatchParams { force, ..PatchParams::apply(manager) };
    api.patch(object["metadata"]["name"].as_str().unwrap_or_default(), &parameters, &Patch::Apply(object))
        .await
}

async fn what_is_no_longer_applied_goes(server: ApiServer) -> Outcome {
    let api = secrets(&server);
    let made = apply(&api, "us", false, &applied("one", &json!({"a": "YQ==", "b": "Yg=="}))).await?;
    hold(made.data["type"] == "Opaque", "it is completed")?;
    let entry = made.managed_fields_of("us");
    hold(entry == json!({"f:data": {"f:a": {}, "f:b": {}}}), format!("the fields are noted: {entry}"))?;
    let again = apply(&api, "us", false, &applied("one", &json!({"a": "YQ==", "b": "Yg=="}))).await?;
    hold(
        again.metadata.resource_version == made.metadata.resource_version,
        "the same again changes nothing",
    )?;
    apply(&api, "they", false, &applied("one", &json!({"b": "Yg==", "c": "Yw=="}))).await?;
    let less = apply(&api, "us", false, &applied("one", &json!({}))).await?;
    hold(less.data["data"] == json!({"b": "Yg==", "c": "Yw=="}), "only what nobody else applies goes")?;
    let mut edit = api.get("one").await?;
    edit.data["data"] = json!({"c": "Yw==", "d": "ZA=="});
    api.replace(
        "one",
        &PostParams { field_manager: Some("kubectl-edit".into()), ..Default::default() },
        &edit,
    )
    .await?;
    let less = apply(&api, "they", false, &applied("one", &json!({}))).await?;
    hold(less.data["data"] == json!({"d": "ZA=="}), "what was removed by an edit is nobody's")
}

async fn fields_of_others_are_conflicts(server: ApiServer) -> Outcome {
    let api = secrets(&server);
    server.create(&secret("one", "a")).map_err(|refusal| refusal.body.to_string())?;
    let wanted = applied("one", &json!({"value": "Yg=="}));
    let result = apply(&api, "us", false, &wanted).await;
    let words = "Apply failed with 1 conflict: conflict with \"kubectl\" using v1: .data.value";
    refused(result, 409, "Conflict", words)?;
    let forced = apply(&api, "us", true, &wanted).await?;
    hold(forced.data["data"]["value"] == "Yg==", "it can be forced")?;
    let theirs = forced.managed_fields_of("kubectl");
    hold(
        theirs["f:data"].is_null() && theirs["f:type"] == json!({}),
        format!("the field has another owner: {theirs}"),
    )?;
    let result = apply(&api, "they", false, &applied("one", &json!({"value": "Yw=="}))).await;
    refused(result, 409, "Conflict", "conflict with \"us\": .data.value")?;
    apply(&api, "they", false, &wanted).await?;
    Ok(())
}

async fn applying_minds_uid_and_version(server: ApiServer) -> Outcome {
    let api = secrets(&server);
    let made = apply(&api, "us", false, &applied("one", &json!({"a": "YQ=="}))).await?;
    let mut wanted = applied("one", &json!({"a": "Yg=="}));
    wanted["metadata"]["uid"] = json!("another");
    refused(apply(&api, "us", true, &wanted).await, 422, "Invalid", "metadata.uid: Invalid value")?;
    wanted["metadata"]["uid"] = json!(made.metadata.uid);
    wanted["metadata"]["resourceVersion"] = json!("1");
    refused(apply(&api, "us", true, &wanted).await, 409, "Conflict", "the object has been modified")?;
    wanted["metadata"]["resourceVersion"] = json!(made.metadata.resource_version);
    apply(&api, "us", true, &wanted).await?;
    server.delete(&secret_key("one")?).map_err(|refusal| refusal.body.to_string())?;
    refused(
        apply(&api, "us", true, &wanted).await,
        409,
        "Conflict",
        "uid mismatch: the provided object specified",
    )?;
    hold(server.get(&secret_key("one")?).is_none(), "it is not made anew")
}

async fn owners_are_applied_by_uid(server: ApiServer) -> Outcome {
    let api = secrets(&server);
    let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": uid});
    let bare = || {
        let mut object = applied("one", &json!({}));
        object.as_object_mut().map(|fields| fields.remove("data"));
        object
    };
    let with = |owners: Json| {
        let mut object = bare();
        object["metadata"]["ownerReferences"] = owners;
        object
    };
    apply(&api, "us", false, &with(json!([owner("1")]))).await?;
    let both = apply(&api, "they", false, &with(json!([owner("2")]))).await?;
    hold(both.metadata.owner_references.is_some_and(|owners| owners.len() == 2), "there are two owners")?;
    let one = apply(&api, "us", false, &bare()).await?;
    let owners = one.metadata.owner_references.unwrap_or_default();
    hold(owners.len() == 1 && owners[0].uid == "2", "that of the others stays")?;
    let none = apply(&api, "they", false, &bare()).await?;
    hold(none.metadata.owner_references.is_none(), "nothing is left of the list")
}

async fn status_is_applied_apart(server: ApiServer) -> Outcome {
    let api = sealed_secrets(&server);
    server.create(&sealed("one", "a")).map_err(|refusal| refusal.body.to_string())?;
    let mut wanted = sealed("one", "b");
    wanted["status"] = json!({"observedGeneration": 1});
    let applied = api.patch_status("one", &PatchParams::apply("us"), &Patch::Apply(&wanted)).await?;
    hold(applied.data["spec"]["encryptedData"]["value"] == "a", "the spec is not applied")?;
    hold(applied.data["status"]["observedGeneration"] == 1, "the status is")?;
    let ours = applied.managed_fields_of("us");
    hold(
        ours == json!({"f:status": {"f:observedGeneration": {}}}),
        format!("only the status is ours: {ours}"),
    )
}

/// The fields of a manager.
trait ManagedFields {
    /// Returns them.
    fn managed_fields_of(&self, manager: &str) -> Json;
}

impl ManagedFields for DynamicObject {
    fn managed_fields_of(&self, manager: &str) -> Json {
        let mut entries = self.metadata.managed_fields.iter().flatten();
        let entry = entries.find(|entry| entry.manager.as_deref() == Some(manager));
        entry.and_then(|entry| entry.fields_v1.clone()).map(|fields| fields.0).unwrap_or_default()
    }
}
