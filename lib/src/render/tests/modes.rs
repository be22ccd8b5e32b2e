//! What comes out in each mode.

use super::kit::{Kit, data, defer, encrypted, manifest, only, reseal, sealing_keys, shape};
use crate::format::Format;
use crate::render::{Emission, EmitMode, RenderError, Role};
use crate::sealed::SealedSecret;
use serde_json::{Value as Json, json};

const SECRET: &str = "apiVersion: v1
kind: Secret
metadata:
    name: db
    namespace: shop
    labels:
        app.kubernetes.io/instance: shop
        team: blue
    annotations:
        argocd.argoproj.io/sync-wave: \"-1\"
        note: hello
type: example.org/login
immutable: true
stringData:
    user: selkie
    password: of the sea
data:
    raw: AP8=
";

fn failure(result: Result<Emission, RenderError>) -> String {
    result.err().expect("refused").to_string()
}

fn opened(sealed: &Json) -> Vec<(String, String)> {
    let sealed = SealedSecret::from_json(sealed).expect("a SealedSecret");
    let keys = sealing_keys();
    let text = |(key, opened): (&str, Result<crate::sealed::OpenedItem, _>)| {
        let value = opened.unwrap_or_else(|error: crate::sealed::ItemError| panic!("{key}: {error}")).value;
        (key.to_owned(), String::from_utf8_lossy(value.expose_secret()).into_owned())
    };
    sealed.open_items(&keys).map(text).collect()
}

#[test]
fn plain_has_all_values_in_data() {
    let file = manifest(SECRET);
    assert!(!file.contains("of the sea"));
    let emission = Kit::new(&[("db.yaml", &file)]).render(&EmitMode::Plain).expect("rendered");
    let secret = only(&emission);
    let entries: Vec<_> = data(secret).into_iter().collect();
    let expected = [("password", "of the sea"), ("raw", "AP8="), ("user", "selkie")];
    assert_eq!(entries, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(secret["sops"], Json::Null);
    assert_eq!((emission.taint.len(), emission.opened), (3, 1));
}

#[test]
fn a_resealed_secret_opens_and_is_found_by_sync_engines() {
    let kit = Kit::new(&[("db.yaml", &manifest(SECRET))]);
    let emission = kit.render(&reseal(7)).expect("rendered");
    let sealed = only(&emission);
    assert_eq!(
        sealed["metadata"],
        json!({
            "name": "db", "namespace": "shop",
            "labels": {"app.kubernetes.io/instance": "shop"},
            "annotations": {"argocd.argoproj.io/sync-wave": "-1"},
        })
    );
    let template = &sealed["spec"]["template"];
    assert_eq!(template["metadata"]["labels"]["team"], "blue");
    assert_eq!(template["metadata"]["annotations"]["note"], "hello");
    assert_eq!((&template["type"], &template["immutable"]), (&"example.org/login".into(), &true.into()));
    let entries = opened(sealed);
    assert_eq!(entries.len(), 3);
    assert!(entries.contains(&("password".to_owned(), "of the sea".to_owned())));
    assert!(!sealed.to_string().contains("of the sea"));
    assert_eq!(kit.render(&reseal(7)).expect("rendered").objects, emission.objects, "always the same");
    assert_ne!(kit.render(&reseal(8)).expect("rendered").objects, emission.objects);
}

#[test]
fn resealed_values_share_nothing() {
    let secret = |name: &str, note: &str| {
        manifest(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n    name: {name}\n    namespace: shop\n    annotations:\n        note: {note}\nstringData:\n    a: same\n    b: same\n"
        ))
    };
    let kit = Kit::new(&[("one.yaml", &secret("one", "x")), ("two.yaml", &secret("two", "x"))]);
    let emission = kit.render(&reseal(7)).expect("rendered");
    let items: Vec<&str> = emission
        .objects
        .iter()
        .flat_map(|sealed| ["a", "b"].map(|key| sealed["spec"]["encryptedData"][key].as_str()))
        .map(|item| item.expect("an item"))
        .collect();
    for (index, item) in items.iter().enumerate() {
        for other in &items[..index] {
            assert_ne!(item[..200], other[..200]);
            assert_ne!(item[item.len() - 20..], other[other.len() - 20..]);
        }
    }
    // Only what is around the values changed.
    let again = Kit::new(&[("one.yaml", &secret("one", "z"))]).render(&reseal(7)).expect("rendered");
    assert_eq!(only(&again)["spec"]["encryptedData"], emission.objects[0]["spec"]["encryptedData"]);
}

#[test]
fn scopes_are_those_of_the_secret() {
    let source = "apiVersion: v1\nkind: Secret\nmetadata:\n    name: db\n    annotations:\n        sealedsecrets.bitnami.com/cluster-wide: \"true\"\nstringData:\n    a: value\n    clear_unencrypted: b\n";
    let file = encrypted(source, Format::Yaml, "^a$");
    let kit = Kit::new(&[("db.yaml", &file)]);
    let failed = failure(kit.render(&reseal(7)));
    assert!(failed.contains("--allow-wide-scopes"), "{failed}");
    let mut kit = Kit::new(&[("db.yaml", &file)]);
    kit.rule.wide_scopes = true;
    let emission = kit.render(&reseal(7)).expect("rendered");
    let entries = opened(only(&emission));
    assert_eq!(entries.len(), 2, "values in clear are sealed, too: {entries:?}");
    let bare = manifest("apiVersion: v1\nkind: Secret\nmetadata:\n    name: db\nstringData:\n    a: value\n");
    let failed = failure(Kit::new(&[("db.yaml", &bare)]).render(&reseal(7)));
    assert!(failed.starts_with("Secret db: has no namespace") && failed.contains("--namespace"), "{failed}");
    let bare =
        manifest("apiVersion: v1\nkind: Secret\nmetadata:\n    namespace: shop\nstringData:\n    a: value\n");
    let failed = failure(Kit::new(&[("db.yaml", &bare)]).render(&reseal(7)));
    assert!(failed.contains("has no `metadata.name`"), "{failed}");
}

#[test]
fn only_secrets_are_resealed_or_deferred() {
    let source = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n    name: db\ndata:\n    a: value\n";
    let kit = || Kit::new(&[("db.yaml", &manifest(source))]);
    let failed = failure(kit().render(&EmitMode::Plain));
    assert!(failed.contains("would hold a decrypted value of db.yaml"), "{failed}");
    let kit = || Kit::new(&[("db.yaml", &manifest(source))]).allowing("ConfigMap", "data.*");
    assert_eq!(only(&kit().render(&EmitMode::Plain).expect("rendered"))["data"], json!({"a": "value"}));
    for mode in [reseal(7), defer()] {
        assert!(failure(kit().render(&mode)).contains("only a Secret can be brought out"));
    }
}

#[test]
fn values_in_metadata_do_not_come_out_around_sealed_ones() {
    let file = encrypted("note: of the sea\n", Format::Yaml, "");
    for mode in [reseal(7), defer()] {
        let kit = Kit::new(&[("note.yaml", &file)]).allowing("Secret", "metadata.*");
        let result = kit.built(&mode, |sources| {
            let marked = sources.get("note.yaml").expect("encrypted").marked();
            let marked = String::from_utf8_lossy(marked.expose_secret()).into_owned();
            let word = marked.trim().strip_prefix("note: ").expect("a mark");
            format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\n  namespace: b\n  annotations:\n    x: {word}\nstringData:\n  y: {word}\n")
        });
        assert!(failure(result).contains("metadata.annotations.x holds a decrypted value"));
    }
}

#[test]
fn dummies_need_no_keys_and_keep_the_shape() {
    let file = manifest(SECRET);
    let plain = Kit::new(&[("db.yaml", &file)]).render(&EmitMode::Plain).expect("rendered");
    for mode in [EmitMode::Fake, EmitMode::Redact] {
        for kit in [Kit::new(&[("db.yaml", &file)]), Kit::new(&[("db.yaml", &file)]).without_keys()] {
            let emission = kit.render(&mode).expect("rendered");
            assert_eq!(shape(only(&emission)), shape(only(&plain)));
            let entries = data(only(&emission));
            match mode {
                EmitMode::Redact => assert!(entries.values().all(|value| value == "REDACTED"), "{entries:?}"),
                _ => assert_eq!((entries["user"].len(), entries["password"].len()), (6, 10)),
            }
            assert_eq!(kit.render(&mode).expect("rendered").objects, emission.objects);
        }
    }
    let failed = failure(Kit::new(&[("db.yaml", &file)]).without_keys().render(&EmitMode::Plain));
    assert!(failed.contains("no keys were asked for"), "{failed}");
}

#[test]
fn dummies_pass_where_secrets_of_their_type_do() {
    let source = "apiVersion: v1\nkind: Secret\nmetadata:\n    name: pull\ntype: kubernetes.io/dockerconfigjson\nstringData:\n    .dockerconfigjson: '{\"auths\":{}}'\n---\napiVersion: v1\nkind: Secret\nmetadata:\n    name: pull2\ntype: kubernetes.io/dockerconfigjson\ndata:\n    .dockerconfigjson: eyJhdXRocyI6e319\n---\napiVersion: v1\nkind: Secret\nmetadata:\n    name: tls\ntype: kubernetes.io/tls\nstringData:\n    tls.crt: x\n    tls.key: y\n";
    let file = manifest(source);
    for mode in [EmitMode::Fake, EmitMode::Redact] {
        let kit = Kit::new(&[("pull.yaml", &file)]).without_keys();
        let emission = kit.render(&mode).expect("rendered");
        for pull in &emission.objects[..2] {
            let config: Json = serde_json::from_str(&data(pull)[".dockerconfigjson"]).expect("JSON");
            assert!(config["auths"].is_object());
        }
        let tls = data(&emission.objects[2]);
        assert!(!tls["tls.crt"].is_empty() && !tls["tls.key"].is_empty());
        if matches!(mode, EmitMode::Fake) {
            assert!(tls["tls.crt"].starts_with("-----BEGIN CERTIFICATE-----\n"));
            assert!(tls["tls.key"].starts_with("-----BEGIN PRIVATE KEY-----\n"));
        }
    }
}

#[test]
fn dummies_stand_inside_of_longer_texts() {
    let file = encrypted("password: of the sea\nport: 5432\n", Format::Yaml, "");
    let kit = Kit::new(&[("values.yaml", &file)]).without_keys().allowing("*", "*");
    let stream = |sources: &crate::render::Sources| {
        let marked = sources.get("values.yaml").expect("encrypted").marked();
        let marked = String::from_utf8_lossy(marked.expose_secret()).into_owned();
        let word = |line: usize| {
            marked.lines().nth(line).and_then(|line| line.split(": ").nth(1)).expect("a mark").to_owned()
        };
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  url: db://u:{}@h:{}/x\n  port: {}\nspec:\n  port: {}\n",
            word(0),
            word(1),
            word(1),
            word(1)
        )
    };
    let redacted = kit.built(&EmitMode::Redact, stream).expect("rendered");
    assert_eq!(only(&redacted)["data"], json!({"url": "db://u:REDACTED@h:0/x", "port": "0"}));
    assert_eq!(only(&redacted)["spec"], json!({"port": 0}));
    let fake = kit.built(&EmitMode::Fake, stream).expect("rendered");
    assert_eq!(only(&fake)["data"]["url"].as_str().map(str::len), Some("db://u:of the sea@h:5432/x".len()));
    assert!((1000..10000).contains(&only(&fake)["spec"]["port"].as_i64().expect("a number")));
}

#[test]
fn a_secret_that_is_its_file_is_deferred() {
    let file = manifest(SECRET);
    let kit = || Kit::new(&[("db.yaml", &file)]).without_keys();
    let emission = kit().render(&defer()).expect("rendered");
    let expected = json!({
        "apiVersion": "selkie.dev/v1alpha1", "kind": "SopsSecret",
        "metadata": {
            "name": "db", "namespace": "shop",
            "labels": {"app.kubernetes.io/instance": "shop"},
            "annotations": {"argocd.argoproj.io/sync-wave": "-1"},
        },
        "spec": {"document": file, "format": "yaml", "keys": {"secretRef": {"name": "keys"}}},
    });
    assert_eq!(only(&emission), &expected);
    let built = |change: fn(String) -> String| {
        kit().built(&defer(), |sources| {
            let marked = sources.get("db.yaml").expect("encrypted").marked();
            change(String::from_utf8_lossy(marked.expose_secret()).into_owned())
        })
    };
    let emission = built(|text| text.replace("team: blue", "team: red\n        more: x")).expect("rendered");
    assert_eq!(only(&emission)["spec"]["target"], json!({"labels": {"team": "red", "more": "x"}}));
    let emission = built(|text| text.replace("type: example.org/login", "type: Opaque")).expect("rendered");
    assert_eq!(only(&emission)["spec"]["target"], json!({"type": "Opaque"}));
    let refused: [(fn(String) -> String, &str); 6] = [
        (
            |text| text.replace("name: db", "name: pre-db"),
            "has the name db in its file db.yaml and pre-db in",
        ),
        (|text| text.replace("namespace: shop", "namespace: x"), "has the namespace shop in its file"),
        (|text| text.replace("        team: blue\n", ""), "has lost team of the labels"),
        (|text| text.replace("immutable: true\n", ""), "has lost the immutable"),
        (|text| text.replace("stringData:\n", "stringData:\n    more: x\n"), "in the entry \"more\""),
        (|text| text.replace("    raw: ", "    rawer: "), "in the entry \"raw\""),
    ];
    for (change, expected) in refused {
        let failed = failure(built(change));
        assert!(failed.contains(expected) && failed.contains("reseal"), "{failed}");
    }
}

#[test]
fn what_no_document_says_is_not_deferred() {
    let secret = |name: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata:\n    name: {name}\nstringData:\n    port: 5432\n")
    };
    let failed = failure(Kit::new(&[("a.yaml", &manifest(&secret("a")))]).without_keys().render(&defer()));
    assert!(failed.contains("put it in quotes"), "{failed}");
    let both = manifest(&format!("{}---\n{}", secret("a"), secret("b")).replace("5432", "x"));
    let failed = failure(Kit::new(&[("a.yaml", &both)]).without_keys().render(&defer()));
    assert!(failed.contains("is not alone in a.yaml"), "{failed}");
    let values = encrypted("password: x\n", Format::Yaml, "");
    let kit = Kit::new(&[("values.yaml", &values)]).without_keys();
    let failed = failure(kit.built(&defer(), |sources| {
        let marked = sources.get("values.yaml").expect("encrypted").marked();
        let marked = String::from_utf8_lossy(marked.expose_secret()).into_owned();
        format!("{}stringData:\n  {marked}", secret("a").split_once("stringData").expect("entries").0)
    }));
    assert!(failed.contains("single values of values.yaml, which is no Secret itself"), "{failed}");
    let hidden = encrypted(&secret("a"), Format::Yaml, "");
    for mode in [defer(), EmitMode::Fake, EmitMode::Redact] {
        let result = Kit::new(&[("a.yaml", &hidden)]).without_keys().render(&mode);
        assert!(matches!(result, Err(RenderError::HiddenIdentity { .. })));
    }
    let hidden = encrypted(&secret("a"), Format::Yaml, "^(labels|stringData)$");
    assert!(Kit::new(&[("a.yaml", &hidden)]).without_keys().render(&EmitMode::Fake).is_ok());
}

#[test]
fn generated_secrets_are_deferred() {
    let env = encrypted("USER=selkie\nPASSWORD=of the sea\n", Format::Dotenv, "");
    let binary = encrypted("\0\u{1}", Format::Binary, "");
    let kit = |path, text: &str, role| Kit::new(&[(path, text)]).without_keys().role(path, role);
    let generate = |path: &'static str, more: &'static str| {
        move |sources: &crate::render::Sources| {
            let marked = sources.get(path).expect("encrypted").marked();
            let marked = String::from_utf8_lossy(marked.expose_secret()).into_owned();
            let mut text = String::from(
                "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db-hash\n  namespace: shop\ntype: Opaque\ndata:\n",
            );
            for line in marked.lines() {
                let (key, value) = line.split_once('=').unwrap_or(("blob", line));
                text.push_str(&format!("  {key}: {}\n", crate::sealed::encode_base64(value.as_bytes())));
            }
            text + more
        }
    };
    let dotenv = || kit(".env", &env, Role::Leaves(Format::Dotenv));
    let emission = dotenv().built(&defer(), generate(".env", "")).expect("rendered");
    let spec = &only(&emission)["spec"];
    assert_eq!((&spec["document"], &spec["format"]), (&env.as_str().into(), &"dotenv".into()));
    assert_eq!(spec["target"], json!({"type": "Opaque", "layout": "keys"}));
    let failed = failure(dotenv().built(&defer(), generate(".env", "  more: eA==\n")));
    assert!(failed.contains("differs from its file .env in the entry \"more\""), "{failed}");
    let whole = || kit("blob", &binary, Role::Whole(Format::Binary));
    let emission = whole().built(&defer(), generate("blob", "")).expect("rendered");
    let spec = &only(&emission)["spec"];
    assert_eq!((&spec["document"], &spec["format"]), (&binary.as_str().into(), &"binary".into()));
    assert_eq!(spec["target"], json!({"type": "Opaque", "layout": "file", "key": "blob"}));
    let failed = failure(whole().built(&defer(), generate("blob", "  more: eA==\n")));
    assert!(failed.contains("has other entries beside"), "{failed}");
    let two = Kit::new(&[("a", &binary), (".env", &env)]).without_keys();
    let two = two.role("a", Role::Whole(Format::Binary)).role(".env", Role::Leaves(Format::Dotenv));
    let failed = failure(two.built(&defer(), |sources| {
        let more = generate("a", "")(sources).rsplit_once("blob").map(|(_, line)| format!("  x{line}"));
        generate(".env", "")(sources) + &more.expect("a line")
    }));
    assert!(failed.contains("several encrypted documents (.env, a)"), "{failed}");
}

#[test]
fn carriage_returns_are_carried_in_base64() {
    let file = manifest(SECRET).replace('\n', "\r\n");
    let emission = Kit::new(&[("db.yaml", &file)]).without_keys().render(&defer()).expect("rendered");
    let text = only(&emission)["spec"]["documentBase64"].as_str().expect("base64").to_owned();
    assert_eq!(
        crate::sealed::decode_base64(text.as_bytes()).expect("base64").expose_secret(),
        file.as_bytes()
    );
    assert_eq!(only(&emission)["spec"]["document"], Json::Null);
}
