use kube::ResourceExt as _;
use kube::api::{ObjectList, WatchEvent};
use serde_json::json;

use super::*;
use crate::controller::watch::{MAX_DEPTH, is_too_deep, key, part};

fn resource() -> ApiResource {
    ApiResource {
        group: "g".to_owned(),
        version: "v1".to_owned(),
        api_version: "g/v1".to_owned(),
        kind: "Thing".to_owned(),
        plural: "things".to_owned(),
    }
}

/// Returns lists in lists.
fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// Returns maps in maps.
fn maps(levels: usize) -> String {
    format!("{}{}{}", "{\"a\":".repeat(levels), "1", "}".repeat(levels))
}

/// Returns an object with this after its metadata.
fn object(name: &str, rest: &str) -> String {
    format!(
        r#"{{"metadata": {{"name": "{name}", "namespace": "ns", "uid": "u1", "resourceVersion": "5",
            "generation": 3, "labels": {{"l": "1"}}}}{rest}}}"#
    )
}

fn list(items: &[String]) -> Vec<Object> {
    let text = format!(
        r#"{{"kind": "ThingList", "metadata": {{"resourceVersion": "9"}}, "items": [{}]}}"#,
        items.join(",")
    );
    let list: ObjectList<Object> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(list.metadata.resource_version.as_deref(), Some("9"));
    list.items
}

fn read(text: &str) -> Json {
    let object: Object = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    object.into_json(&resource())
}

#[test]
fn an_object_that_is_too_deep_leaves_those_beside_it_alone() {
    for deep in [nested(130), maps(130), nested(100_000), maps(100_000), format!("[1, {}, 2]", nested(130))] {
        let rest = format!(r#", "spec": {{"template": {{"x": {deep}, "y": 1}}, "z": [1]}}, "after": 2"#);
        let objects = list(&[
            object("before", r#", "spec": {"a": [1, -2, 1.5, true, null, "x\n"]}"#),
            object("deep", &rest),
            object("after", r#", "spec": {}"#),
        ]);
        let names: Vec<_> = objects.iter().map(|it| key(it).name).collect();
        assert_eq!(names, ["before", "deep", "after"]);
        let objects: Vec<_> = objects.into_iter().map(|it| it.into_json(&resource())).collect();
        assert_eq!(objects.iter().map(is_too_deep).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(objects[0]["spec"], json!({"a": [1, -2, 1.5, true, null, "x\n"]}));
        assert_eq!(objects[1]["metadata"]["uid"], "u1");
        assert_eq!(objects[1]["metadata"]["labels"], json!({"l": "1"}));
        assert_eq!(objects[1]["after"], 2);
        assert_eq!(objects[2]["spec"], json!({}));
    }
}

#[test]
fn an_event_of_an_object_that_is_too_deep_is_read() {
    let text = object("deep", &format!(r#", "spec": {}"#, maps(10_000)));
    for kind in ["ADDED", "MODIFIED", "DELETED"] {
        let text = format!(r#"{{"type": "{kind}", "object": {text}}}"#);
        let event: WatchEvent<Object> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
        let (WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object)) = event
        else {
            panic!("{event:?}");
        };
        assert_eq!(object.resource_version().as_deref(), Some("5"));
        assert!(is_too_deep(&object.into_json(&resource())));
    }
    let text = r#"{"type": "BOOKMARK", "object": {"kind": "Thing", "apiVersion": "g/v1",
        "metadata": {"resourceVersion": "7"}}}"#;
    let event: WatchEvent<Object> = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(event, WatchEvent::Bookmark(bookmark) if bookmark.metadata.resource_version == "7"));
}

#[test]
fn how_deep_an_object_may_be_does_not_depend_on_where_it_is() {
    // The object itself is a level.
    for (levels, expected) in [(MAX_DEPTH - 1, false), (MAX_DEPTH, true)] {
        let text = object("s", &format!(r#", "spec": {}"#, maps(levels)));
        let event = format!(r#"{{"type": "ADDED", "object": {text}}}"#);
        let Ok(WatchEvent::Added(event)) = serde_json::from_str::<WatchEvent<Object>>(&event) else {
            panic!("{levels}");
        };
        let listed = list(std::slice::from_ref(&text)).remove(0);
        let all = [read(&text), event.into_json(&resource()), listed.into_json(&resource())];
        assert_eq!(all.each_ref().map(is_too_deep), [expected; 3], "{levels}");
        assert!(all[0] == all[1] && all[1] == all[2], "{levels}");
    }
}

#[test]
fn the_record_of_who_wrote_what_is_skipped_however_deep_it_is() {
    let text = format!(
        r#"{{"metadata": {{"managedFields": [{{"fieldsV1": {}}}], "name": "s", "annotations": {{"a": "b"}}}},
            "spec": {{"managedFields": 1}}}}"#,
        maps(5_000)
    );
    let object = read(&text);
    assert_eq!(object["metadata"], json!({"name": "s", "annotations": {"a": "b"}}));
    assert_eq!(object["spec"], json!({"managedFields": 1}));
    let secret: SecretHead = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(secret.metadata(), &object["metadata"]);
}

#[test]
fn of_a_status_only_what_is_too_deep_is_missing() {
    let text = object(
        "s",
        &format!(
            r#", "spec": {{"a": 1}}, "status": {{"x": {}, "conditions": [{{"type": "Ready"}}]}}"#,
            nested(500)
        ),
    );
    let object = read(&text);
    assert!(!is_too_deep(&object));
    assert_eq!(object["status"], json!({"conditions": [{"type": "Ready"}]}));
    assert_eq!(object["spec"], json!({"a": 1}));
}

#[test]
fn what_is_too_deep_is_another_object_when_it_changes() {
    let spec = |generation: u32, levels: usize| {
        let text = format!(r#"{{"spec": {}, "metadata": {{"generation": {generation}}}}}"#, maps(levels));
        read(&text)["spec"].clone()
    };
    assert_eq!(spec(1, 200), spec(1, 200));
    assert_ne!(spec(1, 200), spec(2, 200));
}

#[test]
fn odd_types_do_not_stop_a_list() {
    let odd = [
        r#"{"metadata": {"name": "a", "labels": {"l": 5}, "annotations": ["x"], "ownerReferences": {"a": 1}}}"#,
        r#"{"metadata": {"name": 5, "namespace": ["ns"], "deletionTimestamp": {}, "resourceVersion": 7}}"#,
        r#"{"metadata": "text", "spec": 5, "status": [1]}"#,
        r#"{"metadata": null}"#,
        "{}",
        "[1]",
        "\"text\"",
        "1e308",
        "18446744073709551615",
        "-9223372036854775808",
        "true",
        "null",
    ];
    let mut items: Vec<String> = odd.iter().map(|text| (*text).to_owned()).collect();
    items.push(nested(200));
    items.push(object("last", ""));
    let objects = list(&items);
    assert_eq!(objects.len(), items.len());
    assert_eq!(objects.last().map(|it| key(it).name).as_deref(), Some("last"));
    let text = format!(r#"{{"metadata": {{}}, "items": [{}]}}"#, items.join(","));
    let list: ObjectList<SecretHead> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(list.items.len(), items.len());
}

#[test]
fn what_is_read_is_what_was_sent() {
    let text = r#"{"apiVersion": "g/v1", "kind": "Thing", "metadata": {"name": "s", "creationTimestamp": "t"},
        "spec": {"b": "\u00e4\"", "a": [[], {}, 0, 12345678901234567890, -5, 0.25, false, null]}}"#;
    assert_eq!(Some(read(text)), serde_json::from_str::<Json>(text).ok());
}

#[test]
fn a_secret_is_its_metadata_alone() {
    let text = r#"{"data": {"a": "aHVudGVyMg=="}, "metadata": {"name": "s", "namespace": "ns", "uid": "u1",
        "resourceVersion": "5", "annotations": {"a": "hunter2"},
        "ownerReferences": [{"uid": "o1"}]}, "type": "Opaque"}"#;
    let secret: SecretHead = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(secret.metadata()["ownerReferences"][0]["uid"], "o1");
    assert_eq!((secret.uid().as_deref(), secret.resource_version().as_deref()), (Some("u1"), Some("5")));
    assert_eq!(format!("{secret:?}"), "ns/s");
    assert!(SecretHead::metadata_api());
    assert!(part::metadata(&mut serde_json::Deserializer::from_str("[5]")).is_ok_and(|it| it.is_null()));
}
