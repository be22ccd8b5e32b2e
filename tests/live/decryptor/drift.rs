//! Whatever happens to Secrets, they become again what they should be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use serde_json::{Value as Json, json};

use super::lab::Lab;
use super::{same, test};

pub fn tests() -> Vec<Trial> {
    vec![
        test("drift::changes_by_others_are_taken_back", &[], changes),
        test("drift::what_is_deleted_comes_back", &[], deletions),
        test("drift::new_object_of_the_same_name", &[], recreation),
        test("drift::new_owner_waits_for_the_old_secret_to_go", &[], orphan),
    ]
}

fn changes(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("drift-changes")?;
    space.make("a", json!({"metadata": {"labels": {"ours": "1"}, "annotations": {"note": "1"}}, "stringData": {"a": "1", "b": "2"}}))?;
    space.ready("a")?;
    let healed = [("a", "1"), ("b", "2")];
    let before = space.has("a", &healed)?;
    for patch in [
        json!({"data": {"a": STANDARD.encode("x")}}),
        json!({"data": {"c": STANDARD.encode("x")}}),
        json!({"data": {"b": null}}),
        json!({"data": null}),
        json!({"metadata": {"labels": {"ours": null}}}),
        json!({"metadata": {"labels": {"ours": "2"}}}),
        json!({"metadata": {"annotations": null}}),
        json!({"metadata": {"ownerReferences": null}, "data": {"a": ""}}),
    ] {
        // Without its owner it is a Secret like any other.
        let is_given_away = patch["metadata"].get("ownerReferences").is_some();
        space.patch_secret("a", patch.clone())?;
        if is_given_away {
            space.failed("a", "Unmanaged")?;
            continue;
        }
        let what = format!("after {patch}");
        lab.wait(&what, || {
            let secret = space.secret("a")?;
            let is_healed = secret["data"] == before["data"]
                && secret["metadata"]["labels"] == before["metadata"]["labels"]
                && secret["metadata"]["annotations"] == before["metadata"]["annotations"];
            Ok(is_healed.then_some(()))
        })?;
    }
    space.patch_secret(
        "a",
        json!({"metadata": {"annotations": {"sealedsecrets.bitnami.com/managed": "true"}}}),
    )?;
    space.ready("a")?;
    // What others add beside it stays.
    space.patch_secret(
        "a",
        json!({"metadata": {"labels": {"theirs": "1"}, "annotations": {"theirs": "1"}}}),
    )?;
    space.patch_secret("a", json!({"data": {"a": STANDARD.encode("x")}}))?;
    let secret = space.has("a", &healed)?;
    same("their label", &secret["metadata"]["labels"], &json!({"ours": "1", "theirs": "1"}))?;
    same("their annotation", &secret["metadata"]["annotations"]["theirs"], &json!("1"))?;
    same("it is the same Secret", &secret["metadata"]["uid"], &before["metadata"]["uid"])
}

fn deletions(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("drift-deletions")?;
    for name in ["a", "b", "c"] {
        space.make(name, json!({"stringData": {"a": name}}))?;
        space.ready(name)?;
    }
    for name in ["a", "b", "c"] {
        space.delete_secret(name)?;
    }
    for name in ["a", "b", "c"] {
        space.has(name, &[("a", name)])?;
        space.ready(name)?;
    }
    Ok(())
}

/// There is no garbage collector in this cluster, so that the test does its work, at last.
fn recreation(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("drift-recreation")?;
    let sealed = space.seal("a", json!({"stringData": {"a": "1"}}))?;
    let first = space.create(&sealed)?;
    space.ready("a")?;
    space.delete_sealed("a")?;
    let second = space.create(&sealed)?;
    is_another(&first, &second)?;
    // Until then the Secret belongs to one that is gone, and is not touched.
    space.failed("a", "Unmanaged")?;
    let secret = space.secret("a")?;
    same("the owner", &secret["metadata"]["ownerReferences"][0]["uid"], &first["metadata"]["uid"])?;
    space.delete_secret("a")?;
    space.ready("a")?;
    let secret = space.has("a", &[("a", "1")])?;
    same("the owner", &secret["metadata"]["ownerReferences"][0]["uid"], &second["metadata"]["uid"])
}

/// A SealedSecret that is gone makes no Secret any more.
fn orphan(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("drift-orphan")?;
    space.make("a", json!({"stringData": {"a": "1"}}))?;
    space.ready("a")?;
    space.delete_sealed("a")?;
    space.delete_secret("a")?;
    // Whatever comes later is done.
    space.make("b", json!({"stringData": {"a": "1"}}))?;
    space.ready("b")?;
    same("the Secret", space.find_secret("a")?, None)
}

fn is_another(one: &Json, other: &Json) -> Result<(), Failed> {
    if one["metadata"]["uid"] == other["metadata"]["uid"] {
        Err("it is the same object".into())
    } else {
        Ok(())
    }
}
