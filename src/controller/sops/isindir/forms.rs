//! The forms that an object may have had when it was encrypted.
//!
//! The MAC of SOPS is over all values in the order of the file. The API server sorts keys, adds metadata and defaults,
//! and tools add labels; comments do not count. So the likely orders are tried: how people and tools write manifests,
//! alphabetical, and for the few entries of a Secret, every one. A form only counts if its MAC matches: then each
//! value that Secrets are made of is one that was signed.
//!
//! Invariants: every form has the same values in `spec`, less defaults; how many are tried is limited by their size.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

/// Returns the forms in which an object may have been signed, likely ones first. Each is made when it is asked for.
pub fn signed(object: &Json, only_encrypted: bool) -> impl Iterator<Item = Json> {
    let metadata =
        if only_encrypted { vec![json!({"name": object["metadata"]["name"]})] } else { metadata_of(object) };
    let specs = without_defaults(&object["spec"]);
    let choices = choices(&object["spec"]);
    let orders: usize = choices.iter().map(|(_, orders)| orders.len()).product();
    let most = (MOST_BYTES / size(object)).clamp(LEAST_FORMS, MOST_FORMS);
    let frames = frames(&specs, &metadata, most);
    (0..(orders * frames.len()).min(most)).map(move |at| {
        let frame = &frames[at % frames.len()];
        let chosen = chosen(&choices, at / frames.len());
        form(object, frame.metadata.clone(), reordered(&specs[frame.spec], frame.order, &chosen))
    })
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

/// A form but for the order of the entries of Secrets.
struct Frame {
    /// Which `spec` it is of.
    spec: usize,
    order: &'static [&'static str],
    metadata: Json,
}

/// Returns frames that differ, up to a number: the order of keys counts, which the comparison of values leaves out.
fn frames(specs: &[Json], metadata: &[Json], most: usize) -> Vec<Frame> {
    let (mut frames, mut seen) = (Vec::new(), HashSet::new());
    for (spec, value) in specs.iter().enumerate() {
        for order in ORDERS {
            let digest = Sha256::digest(reordered(value, order, &HashMap::new()).to_string());
            for metadata in metadata {
                let metadata = metadata.as_object().map_or(Json::Null, |fields| in_order(fields, order));
                if frames.len() < most && seen.insert((digest, metadata.to_string())) {
                    frames.push(Frame { spec, order, metadata });
                }
            }
        }
    }
    frames
}

/// Returns about how long the text of a form is.
fn size(object: &Json) -> usize {
    let metadata = &object["metadata"];
    let parts = [&object["spec"], &object["sops"], &metadata["labels"], &metadata["annotations"]];
    parts.iter().map(|part| part.to_string().len()).sum()
}

/// Returns the maps in templates whose entries are tried in every order, by their numbers, each with its orders: as long
/// as all of them together are few. The first order of each is alphabetical, as is that of all other maps.
fn choices(spec: &Json) -> Vec<(usize, Vec<Vec<String>>)> {
    let templates = spec["secretTemplates"].as_array().map(Vec::as_slice).unwrap_or_default();
    let maps = templates.iter().flat_map(|template| ENTRIES.map(|name| template[name].as_object()));
    let (mut choices, mut orders) = (Vec::new(), 1);
    for (at, map) in maps.enumerate() {
        let Some(map) = map.filter(|map| (2..=MOST_KEYS).contains(&map.len())) else { continue };
        let factor: usize = (1..=map.len()).product();
        if orders * factor <= MOST_FORMS {
            let mut keys: Vec<_> = map.keys().cloned().collect();
            keys.sort();
            choices.push((at, permutations(&keys)));
            orders *= factor;
        }
    }
    choices
}

/// Returns the order of each of the maps that have a choice, for a number.
fn chosen(choices: &[(usize, Vec<Vec<String>>)], mut number: usize) -> HashMap<usize, &[String]> {
    let mut chosen = HashMap::new();
    for (at, orders) in choices {
        chosen.insert(*at, orders[number % orders.len()].as_slice());
        number /= orders.len();
    }
    chosen
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

/// Returns `spec` with the keys of it and of its templates in an order. The maps of a template have an order of their own,
/// which is alphabetical if none is given for their number.
fn reordered(spec: &Json, order: &[&str], of_entries: &HashMap<usize, &[String]>) -> Json {
    let Json::Object(fields) = spec else { return spec.clone() };
    let mut fields = fields.clone();
    if let Some(templates) = fields.get_mut("secretTemplates").and_then(Json::as_array_mut) {
        let mut number = 0;
        for template in templates {
            for name in ENTRIES {
                let of_map = of_entries.get(&number);
                number += 1;
                let Some(map) = template.get_mut(name).and_then(Json::as_object_mut) else { continue };
                *map = match of_map {
                    Some(keys) => keys.iter().filter_map(|key| map.get_key_value(key)).map(cloned).collect(),
                    None => sorted(map),
                };
            }
            if let Some(fields) = template.as_object() {
                *template = in_order(fields, order);
            }
        }
    }
    in_order(&fields, order)
}

fn sorted(map: &Map<String, Json>) -> Map<String, Json> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries.into_iter().map(cloned).collect()
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
    use std::collections::BTreeSet;

    use super::*;
    use crate::controller::sops::kit;

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
    fn objects_of_odd_shapes_take_no_more_than_others() {
        let wide = json!({"secretTemplates": vec![json!({"name": "a", "data": {"x": 1, "y": 2}}); 2_000]});
        let odd = json!({"secretTemplates": [1, null, [], {"data": 1, "labels": []}, "x"], "suspend": {}});
        let deep = (0..100).fold(json!(1), |inner, _| json!([{"data": inner}]));
        for spec in [&wide, &odd, &json!({"secretTemplates": deep}), &json!([]), &Json::Null] {
            let object = object(spec);
            let bytes: usize = signed(&object, false).map(|form| form.to_string().len()).sum();
            assert!(bytes <= 2 * MOST_BYTES.max(LEAST_FORMS * size(&object)), "{bytes}");
        }
    }

    #[test]
    fn orders_are_kept_of_few_maps_however_many_templates_there_are() {
        let entries = json!({"a": 1, "b": 2, "c": 3, "d": 4});
        let mut templates = vec![json!({"name": "a", "labels": {"x": 1, "y": 2}}); 50_000];
        templates[0] = json!({"name": "a", "data": entries, "stringData": entries});
        let choices = choices(&json!({"secretTemplates": templates}));
        let kept: usize = choices.iter().map(|(_, orders)| orders.len()).sum();
        // Those of two maps, one after the other; what they make together is not kept.
        assert_eq!((choices.len(), kept, chosen(&choices, 575).len()), (2, 48, 2));
    }

    #[test]
    fn a_large_sops_counts_as_well() {
        let mut object =
            object(&json!({"secretTemplates": [{"name": "a", "data": {"a": 1, "b": 2, "c": 3, "d": 4}}]}));
        object["sops"]["note"] = "x".repeat(1 << 20).into();
        assert_eq!(signed(&object, false).count(), LEAST_FORMS);
    }

    proptest::proptest! {
        #[test]
        fn whatever_an_object_is_its_forms_differ_and_have_its_values(
            spec in kit::any_json(), metadata in kit::any_json(), only_encrypted in proptest::bool::ANY
        ) {
            let mut object = object(&spec);
            object["metadata"] = metadata;
            let forms: Vec<_> = signed(&object, only_encrypted).collect();
            let texts: BTreeSet<_> = forms.iter().map(Json::to_string).collect();
            proptest::prop_assert!(!forms.is_empty() && forms.len() <= MOST_FORMS && texts.len() == forms.len());
            let specs = without_defaults(&spec);
            let has_values = |form: &Json| specs.contains(&form["spec"]);
            proptest::prop_assert!(forms.iter().all(has_values));
            proptest::prop_assert!(unsigned(&object).all(|form| has_values(&form)));
        }
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
