use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::kit::{self, World};
use super::*;
use crate::controller::reason::Reason;

/// What a Secret that an object makes says, in short, or why there is none.
fn opened(world: &World, spec: &Json) -> Result<String, (Reason, String)> {
    let source = SopsSecrets::new(world.keys());
    let object = kit::object("selkie.dev/v1alpha1", spec);
    let desired = pollster::block_on(source.open(&object));
    let desired = desired.map_err(|failure| (failure.reason, failure.message))?;
    assert!(desired.prune && !desired.adopt);
    Ok(desired.secrets.iter().map(kit::told).collect::<Vec<_>>().join("\n"))
}

fn message(world: &World, spec: &Json) -> (Reason, String) {
    opened(world, spec).err().unwrap_or_else(|| panic!("{spec} is taken"))
}

#[test]
fn top_level_scalars_become_entries() {
    let world = World::with_own_secret();
    let source = "user: selkie\nport: 5432\nratio: 1.0\non: true\nempty:\n";
    let spec = world.spec(source, Format::Yaml, json!({}));
    assert_eq!(
        opened(&world, &spec).expect("a Secret"),
        r#"shop/db - {"empty":"","on":"true","port":"5432","ratio":"1.0","user":"selkie"}"#
    );
    let spec = world.spec("A=1\nB=two\n", Format::Dotenv, json!({}));
    assert_eq!(opened(&world, &spec).expect("a Secret"), r#"shop/db - {"A":"1","B":"two"}"#);
}

#[test]
fn a_document_may_be_a_secret_itself() {
    let world = World::with_own_secret();
    let source = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n  labels: {a: b, c: d}\n  \
                  annotations: {kubectl.kubernetes.io/last-applied-configuration: x}\n  finalizers: [x]\n\
                  type: kubernetes.io/basic-auth\nimmutable: true\ndata: {a: eA==}\nstringData: {b: y}\n";
    let spec = world.spec(source, Format::Yaml, json!({"labels": {"c": "e"}}));
    assert_eq!(
        opened(&world, &spec).expect("a Secret"),
        r#"shop/db kubernetes.io/basic-auth immutable labels={"a":"b","c":"e"} {"a":"x","b":"y"}"#
    );
    for (change, expected) in [
        ("name: seal", "the Secret in the document has another name than spec.target.name says"),
        ("namespace: seal", "the Secret in the document is for another namespace"),
        ("name: [a]", "the Secret in the document cannot be used: metadata.name is not a string"),
    ] {
        let source = format!("apiVersion: v1\nkind: Secret\nmetadata:\n  {change}\nstringData: {{b: y}}\n");
        let spec = world.spec(&source, Format::Yaml, json!({}));
        assert_eq!(message(&world, &spec), (Reason::Invalid, expected.to_owned()));
    }
}

#[test]
fn a_document_may_become_one_entry() {
    let world = World::with_own_secret();
    let spec = world.spec("[a]\nb = c\n", Format::Ini, json!({"key": "app.ini", "name": "other"}));
    assert_eq!(opened(&world, &spec).expect("a Secret"), "shop/other - {\"app.ini\":\"[a]\\nb = c\\n\"}");
    let spec = world.spec("\0bytes\n", Format::Binary, json!({"key": "b"}));
    assert_eq!(opened(&world, &spec).expect("a Secret"), "shop/db - {\"b\":\"\\u0000bytes\\n\"}");
    let target = json!({"key": "a.yaml", "layout": "file", "type": "x/y"});
    let spec = world.spec("a:\n  b: c\n", Format::Yaml, target);
    assert_eq!(opened(&world, &spec).expect("a Secret"), "shop/db x/y {\"a.yaml\":\"a:\\n    b: c\\n\"}");
}

#[test]
fn what_makes_no_secret_is_told_by_its_place_alone() {
    let world = World::with_own_secret();
    for (source, format, target, expected) in [
        (
            "a: {b: seal}\n",
            Format::Yaml,
            json!({}),
            "[\"a\"] is a map: only single values become entries; see spec.target.layout",
        ),
        (
            "a: [seal]\n",
            Format::Yaml,
            json!({}),
            "[\"a\"] is a list: only single values become entries; see spec.target.layout",
        ),
        ("a/b: seal\n", Format::Yaml, json!({}), "\"a/b\" is not a name that an entry of a Secret can have"),
        (
            "a: seal\n---\nb: c\n",
            Format::Yaml,
            json!({}),
            "the document is several documents: a Secret is made of one",
        ),
        ("a=b\n", Format::Ini, json!({}), "spec.target.key has to name the entry that the document becomes"),
        (
            "a: b\n",
            Format::Yaml,
            json!({"layout": "file"}),
            "spec.target.key has to name the entry that the document becomes",
        ),
        ("a: b\n", Format::Yaml, json!({"layout": "x"}), "spec.target.layout is not one of keys, file"),
        ("a: b\n", Format::Yaml, json!({"key": "x"}), "spec.target.key is for the layout file alone"),
        ("a: b\n", Format::Yaml, json!({"labels": {"a": 1}}), "spec.target.labels[\"a\"] is not a text"),
        ("a: b\n", Format::Yaml, json!({"immutable": "yes"}), "spec.target.immutable is not true or false"),
    ] {
        let spec = world.spec(source, format, target);
        let (reason, told) = message(&world, &spec);
        assert_eq!((reason, told.as_str()), (Reason::Invalid, expected));
    }
    let spec = world.spec(&format!("a: {}\n", "x".repeat(1 << 20)), Format::Yaml, json!({}));
    assert_eq!(message(&world, &spec).1, "the Secret would be larger than 1 MiB");
}

#[test]
fn an_object_that_cannot_be_read_is_invalid() {
    let world = World::with_own_secret();
    for (spec, expected) in [
        (json!(null), "spec is missing"),
        (json!({}), "spec has neither document nor documentBase64"),
        (json!({"document": "a", "documentBase64": "YQ=="}), "spec has both document and documentBase64"),
        (json!({"document": 1}), "spec.document is not a text"),
        (json!({"documentBase64": "?"}), "spec.documentBase64 is not base64"),
        (
            json!({"document": "a: b\n", "format": "toml"}),
            "spec.format is not one of yaml, json, dotenv, ini, binary",
        ),
        (json!({"document": "a: b\n", "keys": {"secretRef": {}}}), "spec.keys.secretRef.name is missing"),
        (json!({"document": "a: b\n", "suspend": 1}), "spec.suspend is not true or false"),
        (json!({"document": "a: b\n"}), "sops metadata not found"),
        (json!({"document": "a: [\n"}), "the document cannot be read: line 1: unclosed bracket '['"),
    ] {
        assert_eq!(message(&world, &spec), (Reason::Invalid, expected.to_owned()));
    }
    assert_eq!(message(&world, &json!({"suspend": true})).0, Reason::Suspended);
}

#[test]
fn base64_carries_the_same_document() {
    let world = World::with_own_secret();
    let mut spec = world.spec("a: b\n", Format::Yaml, json!({}));
    let text = spec["document"].as_str().expect("a text");
    let mut encoded = BASE64_STANDARD.encode(text);
    encoded.insert(10, '\n');
    spec["documentBase64"] = encoded.into();
    spec.as_object_mut().expect("a map").shift_remove("document");
    assert_eq!(opened(&world, &spec).expect("a Secret"), r#"shop/db - {"a":"b"}"#);
}

#[test]
fn a_document_that_was_changed_is_refused() {
    let world = World::with_own_secret();
    let mut spec = world.spec("a: b\nc_unencrypted: d\n", Format::Yaml, json!({}));
    let text = spec["document"].as_str().expect("a text").replace("c_unencrypted: d", "c_unencrypted: e");
    spec["document"] = text.into();
    let (reason, message) = message(&world, &spec);
    assert_eq!(reason, Reason::MacMismatch);
    assert!(message.starts_with("MAC mismatch."), "{message}");
}

#[test]
fn a_value_in_another_place_is_refused_without_quoting_it() {
    let world = World::with_own_secret();
    let mut spec = world.spec("a: b\n", Format::Yaml, json!({}));
    let text = spec["document"].as_str().expect("a text").replacen("a: ENC", "x: ENC", 1);
    spec["document"] = text.into();
    let (reason, message) = message(&world, &spec);
    assert_eq!(reason, Reason::Unseal);
    assert_eq!(message, r#"line 1: the value at ["x"] cannot be decrypted: message authentication failed"#);
}

#[test]
fn only_what_tells_of_the_secret_is_its_essence() {
    let source = SopsSecrets::new(World::with_own_secret().keys());
    let mut object = kit::object("selkie.dev/v1alpha1", &json!({"document": "a"}));
    let essence = source.essence(&object);
    object["metadata"]["resourceVersion"] = "7".into();
    object["status"] = json!({"x": 1});
    assert_eq!(source.essence(&object), essence);
    object["spec"]["suspend"] = true.into();
    assert_ne!(source.essence(&object), essence);
}

proptest::proptest! {
    #[test]
    fn whatever_an_object_holds_is_refused(mut spec in kit::any_json(), target in kit::any_json()) {
        if let Some(fields) = spec.as_object_mut() {
            fields.insert("document".to_owned(), "a: b\n".into());
            fields.insert("target".to_owned(), target);
        }
        let (reason, _) = message(&World::with_own_secret(), &spec);
        proptest::prop_assert!([Reason::Invalid, Reason::Suspended].contains(&reason), "{reason}");
    }
}

/// Every document of the folder that sops encrypted, as it is expected to come out.
#[test]
fn documents_of_sops_are_opened_and_refused_as_sops_does() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/sops");
    let read = |path: &Path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let world = World::new();
    let keys = String::from_utf8(read(&folder.join("keys.txt"))).expect("text");
    world.cluster.put("shop", "keys", "1", &[("age.agekey", &keys)]);
    let source = SopsSecrets::new(world.keys());
    let mut outcomes = BTreeSet::new();
    for case in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let about = fs::read_to_string(case.join("about")).unwrap_or_default();
        let line = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let Some(expected) = line("expect:") else { continue };
        let files = fs::read_dir(&case).expect("a folder").map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> = files.collect();
        files.sort();
        let named =
            |start: &str| files.iter().find(|file| file.file_stem().is_some_and(|stem| stem == start));
        let Some(encrypted) = named("encrypted-3.13.3") else { continue };
        let format = Format::from_file_name(&encrypted.to_string_lossy());
        let spec = json!({
            "documentBase64": BASE64_STANDARD.encode(read(encrypted)),
            "format": format.store().name(),
            "target": {"layout": "file", "key": "file"},
            "keys": {"secretRef": {"name": "keys"}},
        });
        let object = kit::object("selkie.dev/v1alpha1", &spec);
        let opened = pollster::block_on(source.open(&object));
        let reason = opened.as_ref().err().map(|failure| failure.reason);
        let expected = match expected {
            "success" => None,
            "mac failure" => Some(Reason::MacMismatch),
            "metadata failure" | "parse failure" => Some(Reason::Invalid),
            "no match" => Some(Reason::NoKey),
            "value failure" => Some(Reason::Unseal),
            other => panic!("{other} is no outcome"),
        };
        let name = case.display().to_string();
        assert_eq!(reason, expected, "{name}");
        outcomes.insert(expected);
        // Where sops loses something, another file says what comes out here.
        if let (Ok(desired), Some(decrypted), None) = (opened, named("decrypted-3.13.3"), named("decrypted"))
        {
            assert!(desired.secrets[0].data["file"].expose_secret() == read(decrypted), "{name}");
        }
    }
    assert_eq!(outcomes.len(), 5, "there are documents with every outcome");
}
