//! What holds for any manifest.

use proptest::collection::btree_map;
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use serde_json::{Value as Json, json};

use super::kit::{Kit, encrypted, only, shape};
use crate::format::Format;
use crate::render::EmitMode;

fn values() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        "[a-zA-Z0-9 ]{8,20}".prop_map(Json::from),
        Just(Json::from("")),
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<i32>().prop_map(|number| Json::from(f64::from(number) + 0.5)),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Json::from),
            btree_map("[a-z]{1,6}", inner, 1..4)
                .prop_map(|entries| Json::Object(entries.into_iter().collect())),
        ]
    })
}

fn objects() -> impl Strategy<Value = Json> {
    let entries = btree_map("[a-z]{1,6}(\\.json|\\.key|\\.crt)?", "[a-zA-Z0-9 ]{8,20}", 1..4);
    prop_oneof![
        values().prop_map(|values| json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": {"name": "a"},
            "spec": {"values": {"x": "y", "all": values}},
        })),
        (entries.clone(), entries).prop_map(|(data, strings)| {
            let data = data
                .iter()
                .map(|(key, text)| (key.clone(), crate::sealed::encode_base64(text.as_bytes()).into()));
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"},
                "data": Json::Object(data.collect()), "stringData": strings,
            })
        }),
    ]
}

/// Returns the texts of an object below a field that are long enough not to be there by chance.
fn texts<'a>(value: &'a Json, found: &mut Vec<&'a str>) {
    match value {
        Json::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Json::Object(entries) => entries.values().for_each(|entry| texts(entry, found)),
        Json::String(text) if text.len() >= 8 => found.push(text),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn dummies_have_the_shape_of_values_and_nothing_else_of_them(object in objects()) {
        let file = encrypted(&object.to_string(), Format::Json, "^(data|stringData|values)$");
        let kit = || Kit::new(&[("a.json", &file)]).allowing("HelmRelease", "*");
        let plain = kit().render(&EmitMode::Plain).expect("rendered");
        let mut secrets = Vec::new();
        ["data", "stringData", "spec"].iter().for_each(|field| texts(&object[*field], &mut secrets));
        for mode in [EmitMode::Fake, EmitMode::Redact] {
            for kit in [kit(), kit().without_keys()] {
                let emission = kit.render(&mode).expect("rendered");
                prop_assert_eq!(shape(only(&emission)), shape(only(&plain)));
                let text = only(&emission).to_string();
                prop_assert!(secrets.iter().all(|secret| !text.contains(secret)));
            }
        }
    }
}
