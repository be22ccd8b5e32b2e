//! The forms that an object may have had when it was encrypted.
//!
//! The MAC of SOPS is over all values in the order of the file. The API server sorts keys, adds metadata and defaults,
//! and tools add labels; comments do not count. So the likely orders are tried: how people and tools write manifests,
//! alphabetical, and for the few entries of a Secret, every one. A form only counts if its MAC matches: then each
//! value that Secrets are made of is one that was signed.
//!
//! Invariants: every form has the same values in `spec`, less defaults; how many are tried is limited by their size.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

/// Returns the forms in which an object may have been signed, likely ones first.
pub fn signed(object: &Json, only_encrypted: bool) -> impl Iterator<Item = Json> {
    let metadata =
        if only_encrypted { vec![json!({"name": object["metadata"]["name"]})] } else { metadata_of(object) };
    let specs = without_defaults(&object["spec"]);
    let size = object["spec"].to_string().len().max(1);
    let most = (MOST_BYTES / size).clamp(LEAST_FORMS, MOST_FORMS);
    let mut seen = BTreeSet::new();
    let entries = entry_orders(&object["spec"]);
    let mut forms = Vec::new();
    'all: for order_of_entries in &entries {
        for spec in &specs {
            for order in &ORDERS {
                for metadata in &metadata {
                    let spec = reordered(spec, order, order_of_entries);
                    let metadata = metadata.as_object().map_or(Json::Null, |fields| in_order(fields, order));
                    let form = form(object, metadata, spec);
                    // The order of keys counts here, which the comparison of values leaves out.
                    if seen.insert(form.to_string()) {
                        forms.push(form);
                    }
                    if forms.len() >= most {
                        break 'all;
                    }
                }
            }
        }
    }
    forms.into_iter()
}

/// Returns an object as it is, without what the API server and others added: with defaults, and without.
pub fn unsigned(object: &Json) -> impl Iterator<Item = Json> + '_ {
    let specs = without_defaults(&object["spec"]).into_iter();
    specs.map(|spec| form(object, json!({"name": object["metadata"]["name"]}), spec))
}

fn form(object: &Json, metadata: Json, spec: Json) -> Json {
    let mut form = Map::new();
    for (name, value) in [
        ("apiVersion", object["apiVersion"].clone()),
        ("kind", object["kind"].clone()),
        ("metadata", metadata),
        ("spec", spec),
        ("sops", object["sops"].clone()),
    ] {
        form.insert(name.to_owned(), value);
    }
    Json::Object(form)
}

/// Returns the metadata that the file may have had.
fn metadata_of(object: &Json) -> Vec<Json> {
    let now = &object["metadata"];
    let mut all = Vec::new();
    // What kubectl was given is the best that there is. It is only used for the values that no Secret is made of.
    let applied = now["annotations"][LAST_APPLIED].as_str();
    if let Some(Json::Object(applied)) = applied.and_then(|text| serde_json::from_str::<Json>(text).ok())
        && let Some(metadata) = applied.get("metadata").filter(|metadata| metadata.is_object())
    {
        let mut metadata = metadata.clone();
        // kubectl writes an empty map if there are none.
        if let Some(fields) = metadata.as_object_mut()
            && fields.get("annotations").and_then(Json::as_object).is_some_and(Map::is_empty)
        {
            fields.shift_remove("annotations");
        }
        all.push(metadata.clone());
        all.extend(without_namespace(&metadata));
    }
    let mut own = Map::new();
    for name in ["name", "namespace", "labels", "annotations"] {
        let mut value = now[name].clone();
        if let Some(entries) = value.as_object_mut() {
            entries.retain(|name, _| name != LAST_APPLIED);
        }
        if !value.is_null() && value != json!({}) {
            own.insert(name.to_owned(), value);
        }
    }
    let bare = |names: &[&str]| {
        Json::Object(
            own.iter()
                .filter(|(name, _)| names.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    };
    let whole = Json::Object(own.clone());
    let with_labels = bare(&["name", "namespace", "labels"]);
    for metadata in [bare(&["name", "namespace"]), whole, with_labels] {
        let without = without_namespace(&metadata);
        all.push(metadata);
        all.extend(without);
    }
    let mut distinct: Vec<Json> = Vec::new();
    for metadata in all {
        if !distinct.contains(&metadata) {
            distinct.push(metadata);
        }
    }
    distinct
}

fn without_namespace(metadata: &Json) -> Option<Json> {
    let mut metadata = metadata.clone();
    metadata.as_object_mut()?.shift_remove("namespace")?;
    Some(metadata)
}

/// Returns `spec` as it is, and without what the API server may have put there.
fn without_defaults(spec: &Json) -> Vec<Json> {
    let mut specs = vec![spec.clone()];
    for names in [&["suspend", "enforceOwnership"][..], &["suspend"], &["enforceOwnership"]] {
        let mut without = spec.clone();
        if let Some(fields) = without.as_object_mut() {
            fields.retain(|name, value| !(names.contains(&name.as_str()) && *value == false));
        }
        if !specs.contains(&without) {
            specs.push(without);
        }
    }
    specs
}

/// Returns orders for the maps of all templates: for each of them its keys.
///
/// The first one is alphabetical. If they are few, all others follow.
fn entry_orders(spec: &Json) -> Vec<Vec<Vec<String>>> {
    let templates = spec["secretTemplates"].as_array().map(Vec::as_slice).unwrap_or_default();
    let maps = templates.iter().flat_map(|template| ENTRIES.map(|name| template[name].as_object()));
    let keys = maps.map(|map| {
        let mut keys: Vec<_> = map.map(|map| map.keys().cloned().collect()).unwrap_or_default();
        keys.sort();
        keys
    });
    let mut orders: Vec<Vec<Vec<String>>> = vec![Vec::new()];
    for keys in keys {
        let factor = (1..=keys.len().min(9)).product::<usize>();
        let is_few = keys.len() <= MOST_KEYS && orders.len() * factor <= MOST_FORMS;
        let of_map = if is_few { permutations(&keys) } else { vec![keys] };
        orders = of_map
            .iter()
            .flat_map(|keys| {
                orders.iter().map(move |before| [before.as_slice(), std::slice::from_ref(keys)].concat())
            })
            .collect();
    }
    orders
}

/// Returns all orders of some keys, the one that they have first.
fn permutations(keys: &[String]) -> Vec<Vec<String>> {
    if keys.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for at in 0..keys.len() {
        let mut rest = keys.to_vec();
        let first = rest.remove(at);
        all.extend(permutations(&rest).into_iter().map(|mut order| {
            order.insert(0, first.clone());
            order
        }));
    }
    all
}

/// Returns `spec` with the keys of it and of its templates in an order. The maps of a template have orders of their own.
fn reordered(spec: &Json, order: &[&str], of_entries: &[Vec<String>]) -> Json {
    let mut of_entries = of_entries.iter();
    let Json::Object(fields) = spec else { return spec.clone() };
    let mut fields = fields.clone();
    if let Some(templates) = fields.get_mut("secretTemplates").and_then(Json::as_array_mut) {
        for template in templates {
            for name in ENTRIES {
                let keys = of_entries.next();
                if let (Some(map), Some(keys)) = (template.get_mut(name).and_then(Json::as_object_mut), keys)
                {
                    *map = keys.iter().filter_map(|key| map.get_key_value(key)).map(cloned).collect();
                }
            }
            if let Some(fields) = template.as_object() {
                *template = in_order(fields, order);
            }
        }
    }
    in_order(&fields, order)
}

/// Returns a map with its keys in an order: those that it names, then the others by their names.
fn in_order(map: &Map<String, Json>, order: &[&str]) -> Json {
    let place = |key: &String| order.iter().position(|name| name == key).unwrap_or(order.len());
    let mut entries: Vec<_> = map.iter().map(cloned).collect();
    entries.sort_by(|(left, _), (right, _)| (place(left), left).cmp(&(place(right), right)));
    Json::Object(entries.into_iter().collect())
}

fn cloned((key, value): (&String, &Json)) -> (String, Json) {
    (key.clone(), value.clone())
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The maps of a Secret whose keys people choose.
const ENTRIES: [&str; 4] = ["data", "stringData", "labels", "annotations"];

/// The orders that people and tools write keys in; what is not named comes last, by its name.
const ORDERS: [&[&str]; 6] = [
    &[
        "name",
        "namespace",
        "labels",
        "annotations",
        "type",
        "suspend",
        "enforceOwnership",
        "stringData",
        "data",
    ],
    &[],
    &[
        "name",
        "namespace",
        "annotations",
        "labels",
        "type",
        "data",
        "stringData",
        "secretTemplates",
        "suspend",
    ],
    &[
        "name",
        "namespace",
        "labels",
        "annotations",
        "enforceOwnership",
        "suspend",
        "data",
        "stringData",
        "type",
    ],
    &[
        "name",
        "namespace",
        "labels",
        "annotations",
        "stringData",
        "data",
        "type",
        "secretTemplates",
        "suspend",
    ],
    &["name", "namespace", "type", "labels", "annotations", "suspend", "stringData", "data"],
];

/// Up to how many entries of a Secret every order is tried.
const MOST_KEYS: usize = 4;

/// How many forms are tried, whatever their size.
const LEAST_FORMS: usize = 8;

/// How many forms are tried at most.
const MOST_FORMS: usize = 600;

/// How many bytes all forms have together at most.
const MOST_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn object(spec: &Json) -> Json {
        json!({
            "apiVersion": "isindir.github.com/v1alpha3",
            "kind": "SopsSecret",
            "metadata": {
                "annotations": {"a": "b", LAST_APPLIED: r#"{"metadata":{"annotations":{},"name":"n","namespace":"ns"}}"#},
                "labels": {"c": "d"}, "name": "n", "namespace": "ns", "uid": "u",
            },
            "sops": {"mac": "m"},
            "spec": spec,
            "status": {"message": "Healthy"},
        })
    }

    #[test]
    fn what_the_api_server_added_is_in_no_form() {
        let spec = json!({"secretTemplates": [{"name": "a", "stringData": {"x": "1"}}], "suspend": false});
        for form in signed(&object(&spec), false) {
            let text = form.to_string();
            assert!(!text.contains("uid") && !text.contains("status") && !text.contains("kubectl"), "{text}");
        }
    }

    #[test]
    fn metadata_is_tried_as_it_was_applied_first() {
        let metadata: Vec<_> = metadata_of(&object(&json!({}))).iter().map(Json::to_string).collect();
        assert_eq!(
            metadata,
            [
                r#"{"name":"n","namespace":"ns"}"#,
                r#"{"name":"n"}"#,
                r#"{"name":"n","namespace":"ns","labels":{"c":"d"},"annotations":{"a":"b"}}"#,
                r#"{"name":"n","labels":{"c":"d"},"annotations":{"a":"b"}}"#,
                r#"{"name":"n","namespace":"ns","labels":{"c":"d"}}"#,
                r#"{"name":"n","labels":{"c":"d"}}"#,
            ]
        );
    }

    #[test]
    fn every_form_has_the_same_values() {
        let spec = json!({"secretTemplates": [
            {"name": "a", "labels": {"l": "1"}, "data": {"x": "1", "y": "2"}},
            {"name": "b", "stringData": {"z": "1", "w": "2", "v": "3"}, "type": "t"},
        ]});
        let forms: Vec<_> = signed(&object(&spec), true).collect();
        // Values are equal in whatever order their keys are.
        assert!(forms.iter().all(|form| form["spec"] == spec));
        let texts: BTreeSet<_> = forms.iter().map(Json::to_string).collect();
        assert_eq!(texts.len(), forms.len());
        let has = |part: &str| texts.iter().any(|text| text.contains(part));
        assert!(has(r#""data":{"y":"2","x":"1"}"#) && has(r#"{"w":"2","z":"1","v":"3"}"#));
        assert!(has(r#"{"data":{"x":"1","y":"2"},"labels":{"l":"1"},"name":"a"}"#));
    }

    #[test]
    fn how_many_forms_are_tried_is_limited() {
        let entries: Map<_, _> = (0..9).map(|at| (format!("k{at}"), json!("x".repeat(at)))).collect();
        let templates: Vec<_> = (0..2)
            .map(|_| json!({"name": "a", "data": {"a": 1, "b": 2, "c": 3, "d": 4}, "stringData": entries}))
            .collect();
        let small = json!({"secretTemplates": [{"name": "a", "data": {"a": 1, "b": 2, "c": 3, "d": 4}, "stringData": {"a": 1, "b": 2, "c": 3, "d": 4}}]});
        assert!(signed(&object(&small), true).count() <= MOST_FORMS);
        assert!(signed(&object(&json!({"secretTemplates": templates})), false).count() <= MOST_FORMS);
        let large = json!({"secretTemplates": [{"name": "a", "stringData": {"x": "x".repeat(1 << 20)}}]});
        assert_eq!(signed(&object(&large), false).count(), LEAST_FORMS);
    }
}
