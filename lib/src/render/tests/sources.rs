//! Where encrypted values are found.

use serde_json::json;

use super::kit::{Kit, data, encrypted, manifest, only, reseal, sealing_keys};
use crate::format::Format;
use crate::render::{Emission, EmitMode, RenderError, Role};

fn secret(name: &str, password: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n    name: {name}\n    namespace: shop\nstringData:\n    password: {password}\n"
    )
}

fn plain(kit: &Kit) -> Emission {
    kit.render(&EmitMode::Plain).unwrap_or_else(|error| panic!("{error}"))
}

fn passwords(emission: &Emission) -> Vec<String> {
    let password = |secret| data(secret).get("password").cloned().unwrap_or_default();
    emission.objects.iter().map(password).collect()
}

fn base64(text: &str) -> String {
    crate::sealed::encode_base64(text.as_bytes())
}

#[test]
fn streams_json_and_lists() {
    let several = manifest(&format!("{}---\n{}", secret("a", "one"), secret("b", "two")));
    assert_eq!(passwords(&plain(&Kit::new(&[("a.yaml", &several)]))), ["one", "two"]);
    assert_eq!(
        passwords(&Kit::new(&[]).stream(&EmitMode::Plain, &several).expect("rendered")),
        ["one", "two"]
    );
    let object = r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"password": "three"}}"#;
    let file = encrypted(object, Format::Json, "^stringData$");
    assert_eq!(passwords(&plain(&Kit::new(&[("a.json", &file)]))), ["three"]);
    let list = format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{object}, {object}]}}"#);
    let file = encrypted(&list, Format::Json, "^stringData$");
    assert_eq!(passwords(&plain(&Kit::new(&[("a.json", &file)]))), ["three", "three"]);
}

#[test]
fn data_that_was_encrypted_as_base64_is_base64_again() {
    let file = manifest(
        "apiVersion: v1\nkind: Secret\nmetadata:\n    name: a\ndata:\n    password: b2YgdGhlIHNlYQ==\n",
    );
    let kit = Kit::new(&[("a.yaml", &file)]);
    assert_eq!(only(&plain(&kit))["data"], json!({"password": "b2YgdGhlIHNlYQ=="}));
    for mode in [EmitMode::Fake, EmitMode::Redact] {
        let emission = kit.render(&mode).expect("rendered");
        assert_ne!(data(only(&emission))["password"], "of the sea");
    }
}

#[test]
fn names_are_revealed_and_comments_are_not() {
    let source = secret("hidden-name", "x").replace("    password", "    # say friend\n    password");
    let file = encrypted(&source, Format::Yaml, "");
    assert!(!file.contains("hidden-name") && !file.contains("friend"));
    let kit = Kit::new(&[("a.yaml", &file)]);
    let emission = kit.built(&EmitMode::Plain, |sources| {
        let marked = sources.get("a.yaml").expect("encrypted").marked();
        let marked = String::from_utf8_lossy(marked.expose_secret()).into_owned();
        assert!(marked.contains("name: hidden-name") && !marked.contains("friend"), "{marked}");
        marked
    });
    assert_eq!(only(&emission.expect("rendered"))["metadata"]["name"], "hidden-name");
    assert_eq!(passwords(&plain(&kit)), ["x"]);
}

#[test]
fn maps_may_be_documents_of_their_own() {
    let values = encrypted("password: of the sea\nport: 5432\ntls: true\nratio: 0.5\n", Format::Yaml, "");
    let values = values.replace('\n', "\n        ");
    let file = format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n    name: a\nspec:\n    values:\n        {}\n",
        values.trim_end()
    );
    let kit = || Kit::new(&[("a.yaml", &file)]);
    let result = kit().render(&EmitMode::Plain);
    assert!(matches!(result, Err(RenderError::Taint { path, .. }) if path == "spec.values.password"));
    let kit = kit().allowing("HelmRelease", "spec.values.*");
    let expected = json!({"password": "of the sea", "port": 5432, "tls": true, "ratio": 0.5});
    assert_eq!(only(&plain(&kit))["spec"]["values"], expected);
    let redacted = kit.without_keys().render(&EmitMode::Redact).expect("rendered");
    let expected = json!({"password": "REDACTED", "port": 0, "tls": false, "ratio": 0.0});
    assert_eq!(only(&redacted)["spec"]["values"], expected);
}

#[test]
fn documents_inside_of_values() {
    let (yaml, ini) = (encrypted("a: 1\n", Format::Yaml, ""), encrypted("[s]\na = x\n", Format::Ini, ""));
    let (binary, dotenv) = (encrypted("\0\u{1}", Format::Binary, ""), encrypted("A=1\n", Format::Dotenv, ""));
    let entries = [("a.yaml", &yaml), ("a.ini", &ini), ("blob", &binary), (".env", &dotenv)];
    let entries = entries.map(|(key, text)| format!("    {key}: {}\n", base64(text))).concat();
    let file = format!("apiVersion: v1\nkind: Secret\nmetadata:\n    name: a\ndata:\n{entries}");
    let emission = plain(&Kit::new(&[("a.yaml", &file)]));
    let entries = data(only(&emission));
    assert_eq!((entries["a.yaml"].as_str(), entries["blob"].as_str()), ("a: 1\n", "\0\u{1}"));
    assert_eq!((entries[".env"].trim_end(), entries["a.ini"].contains("= x")), ("A=1", true));
    let file = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n    name: a\ndata:\n    a.yaml: {}\n",
        json!(yaml)
    );
    assert!(matches!(
        Kit::new(&[("a.yaml", &file)]).render(&EmitMode::Plain),
        Err(RenderError::Taint { .. })
    ));
    let kit = Kit::new(&[("a.yaml", &file)]).allowing("ConfigMap", "data.*");
    assert_eq!(only(&plain(&kit))["data"], json!({"a.yaml": "a: 1\n"}));
}

#[test]
fn files_of_all_formats_stand_as_a_whole() {
    for (format, text) in [
        (Format::Binary, "\0\u{1}"),
        (Format::Dotenv, "A=1\n"),
        (Format::Ini, "[s]\na = x\n"),
        (Format::Json, "{\"a\": 1}\n"),
        (Format::Yaml, "a: 1\n"),
    ] {
        let file = encrypted(text, format, "");
        let kit = Kit::new(&[("file", &file)]).role("file", Role::Whole(format));
        let emission = kit.built(&EmitMode::Plain, |sources| {
            let marked = sources.get("file").expect("encrypted").marked().expose_secret();
            let entry = crate::sealed::encode_base64(marked);
            format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\ndata:\n  x: {entry}\n")
        });
        let emission = emission.unwrap_or_else(|error| panic!("{format:?}: {error}"));
        assert_eq!(data(only(&emission))["x"], text, "{format:?}");
    }
}

/// What Kustomize makes of a dotenv file that stayed encrypted.
fn exploded(env: &str) -> String {
    let line = |line: &str| {
        let (key, value) = line.split_once('=').expect("a line");
        format!("  {key}: {}\n", base64(value))
    };
    let entries: String = env.lines().map(line).collect();
    format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\ndata:\n{entries}")
}

#[test]
fn streams_that_were_built_of_encrypted_files() {
    let (env, file) = (encrypted("password=of the sea\n", Format::Dotenv, ""), manifest(&secret("b", "two")));
    let (stream, sorted) = (exploded(&env), file.replace("namespace: shop", "namespace: x"));
    let kit = || Kit::new(&[("a.env", &env), ("b.yaml", &file)]);
    let emission = kit().stream(&EmitMode::Plain, &stream).expect("rendered");
    assert_eq!(only(&emission)["data"], json!({"password": base64("of the sea")}));
    // The MAC does not fit any more, but that of the file does.
    let emission = kit().stream(&EmitMode::Plain, &sorted).expect("rendered");
    assert_eq!((passwords(&emission), &only(&emission)["sops"]), (vec!["two".to_owned()], &json!(null)));
    let result = Kit::new(&[]).stream(&EmitMode::Plain, &stream);
    assert!(matches!(result, Err(RenderError::LeftEncrypted { .. })));
    assert!(matches!(Kit::new(&[]).stream(&EmitMode::Plain, &sorted), Err(RenderError::Mac { .. })));
}

#[test]
fn files_of_which_nothing_was_built_need_not_open() {
    let (file, other) = (manifest(&secret("a", "one")), manifest(&secret("b", "two")));
    let broken = other.replace("namespace: shop", "namespace: mall");
    assert_ne!(broken, other);
    let kit = |is_lenient| {
        let mut kit = Kit::new(&[("a.yaml", &file), ("b.yaml", &broken)]);
        kit.is_lenient = is_lenient;
        kit
    };
    assert!(matches!(kit(false).stream(&EmitMode::Plain, &file), Err(RenderError::Mac { .. })));
    let emission = kit(true).stream(&EmitMode::Plain, &file).expect("it was built of the other one");
    assert_eq!(passwords(&emission), ["one"]);
    let refused = kit(true).stream(&EmitMode::Plain, &broken.replace("name: b", "name: c"));
    assert!(matches!(refused, Err(RenderError::Mac { .. })), "nothing is known of it");
}

#[test]
fn sealed_secrets_are_opened_if_there_are_keys() {
    let sealed =
        Kit::new(&[("a.yaml", &manifest(&secret("a", "one")))]).render(&reseal(1)).expect("rendered");
    let sealed = only(&sealed);
    let text = sealed.to_string();
    let mut kit = Kit::new(&[("a.json", &text)]);
    assert_eq!(only(&plain(&kit)), sealed, "it stays as it is");
    kit.sealing_keys = Some(sealing_keys());
    assert_eq!(passwords(&plain(&kit)), ["one"]);
    let again = kit.render(&reseal(2)).expect("rendered");
    assert_ne!(only(&again)["spec"]["encryptedData"], sealed["spec"]["encryptedData"]);
    let again = only(&again).to_string();
    let mut resealed = Kit::new(&[("a.json", &again)]);
    resealed.sealing_keys = Some(sealing_keys());
    assert_eq!(passwords(&plain(&resealed)), ["one"]);
    let moved = text.replace("\"namespace\":\"shop\"", "\"namespace\":\"mall\"");
    let mut kit = Kit::new(&[("a.json", &moved)]);
    kit.sealing_keys = Some(sealing_keys());
    assert!(matches!(kit.render(&EmitMode::Plain), Err(RenderError::Unseal { .. })));
    assert_eq!(kit.without_sealing_keys().render(&reseal(2)).expect("rendered").objects.len(), 1);
}
