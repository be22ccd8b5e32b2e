//! Tests: what the decryptor of Flux accepts is accepted under the preset `flux`, with two differences. The MAC counts,
//! and what Flux passes over without a word although it is encrypted is an error.

#[cfg(all(feature = "age", feature = "pgp-native"))]
mod built;

use pollster::block_on;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde_json::{Value as Json, json};

use super::{Origin, Policy, Rule};
use crate::format::Format;
use crate::keys::{KeyError, KeyFuture, KeyGroup, KeyKind, KeyService, MasterKey};
use crate::render::{
    EmitMode, Engine, Files, Limits, Memory, RenderError, Role, Roles, by_name, emit, manifests,
};
use crate::sealed::{decode_base64, encode_base64};
use crate::secret::SecretBytes;
use crate::sops::{Envelope, Metadata, Pattern, Selector, Stash};

/// Keeps data keys as hexadecimal digits.
struct Digits;

impl KeyService for Digits {
    fn name(&self) -> String {
        "digits".to_owned()
    }

    fn wrap<'a>(&'a self, _: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        let digits = secret.expose_secret().iter().map(|byte| format!("{byte:02x}")).collect();
        Box::pin(std::future::ready(Some(Ok(digits))))
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = key.wrapped().as_bytes().chunks(2).map(byte).collect();
        let is_ours = key.field("recipient") == "ours";
        let bytes = bytes.filter(|_| is_ours).ok_or_else(|| KeyError::NoIdentity(Box::default()));
        Box::pin(std::future::ready(Some(bytes.map(SecretBytes::from))))
    }
}

/// Encrypts a document for a recipient, as far as a pattern says.
fn encrypt_for(recipient: &str, text: &str, format: Format, pattern: Option<&str>) -> String {
    let kind = KeyKind::from_name("age").expect("a kind");
    let fields = json!({ "recipient": recipient });
    let key = MasterKey::from_metadata(kind, fields.as_object().expect("an object"));
    let mut metadata = Metadata::new(vec![KeyGroup(vec![key])]);
    if let Some(pattern) = pattern {
        metadata.selector = Selector::EncryptedRegex(Pattern::parse(pattern).expect("a pattern"));
    }
    let (now, mut rng) = ("2026-01-02T03:04:05Z", ChaCha20Rng::seed_from_u64(text.len() as u64));
    let envelope = block_on(Envelope::create(metadata, &[&Digits], now, &mut rng)).expect("it wraps");
    let tree = format.read(text).expect("a document");
    let sealed = envelope.seal(format, tree, Stash::new(), now, &mut rng).expect("it seals");
    text_of(&sealed.in_place().expect("it is written"))
}

fn encrypt(text: &str, format: Format) -> String {
    encrypt_for("ours", text, format, None)
}

/// Encrypts the values of a manifest.
fn encrypt_values(text: &str) -> String {
    encrypt_for("ours", text, Format::Yaml, Some("^(data|stringData|values|spec)$"))
}

fn text_of(text: &SecretBytes) -> String {
    String::from_utf8(text.expose_secret().to_vec()).expect("text")
}

/// Returns what the preset allows.
fn preset() -> Rule {
    let policy = Policy::parse(b"rules: [{match: {}, preset: flux}]").expect("a policy");
    policy.rule(&Origin::default()).expect("a rule").rule.clone()
}

fn memory(files: &[(&str, &str)]) -> Memory {
    let mut memory = Memory::default();
    files.iter().for_each(|(path, text)| memory.insert(path, *text).expect("a path"));
    memory
}

/// Renders files that are manifests.
fn render_with(rule: &Rule, limits: &Limits, files: &[(&str, &str)]) -> Result<Vec<Json>, RenderError> {
    let files = memory(files);
    let services: [&dyn KeyService; 1] = [&Digits];
    let engine = Engine { services: Some(&services), sealing_keys: None, rule, limits };
    let roles = manifests(&files)?;
    let mut sources = engine.open(&files, &roles)?;
    let documents = engine.documents(&files, &roles, &mut sources)?;
    Ok(emit(rule, limits, &sources, &documents, &EmitMode::Plain)?.objects)
}

fn render(text: &str) -> Result<Json, RenderError> {
    let mut objects = render_with(&preset(), &Limits::default(), &[("a.yaml", text)])?;
    assert_eq!(objects.len(), 1, "one manifest");
    Ok(objects.remove(0))
}

/// Returns an entry of `data` of a Secret.
fn entry(secret: &Json, key: &str) -> String {
    let text = secret["data"][key].as_str().unwrap_or_else(|| panic!("{key} of {secret}"));
    text_of(&decode_base64(text.as_bytes()).expect("base64"))
}

fn object(version: &str, kind: &str, rest: &str) -> String {
    format!("apiVersion: {version}\nkind: {kind}\nmetadata:\n    name: a\n{rest}")
}

/// Returns a Secret that holds a text, which may be encrypted, in `data`.
fn secret_with(key: &str, text: &str) -> String {
    object("v1", "Secret", &format!("data:\n    {key}: {}\n", encode_base64(text.as_bytes())))
}

#[test]
fn objects_of_any_kind_are_decrypted() {
    let release = object(
        "helm.toolkit.fluxcd.io/v2",
        "HelmRelease",
        "spec:\n    interval: 1h\n    values:\n        replicas: 3\n        ratio: 1.5\n        tls: true\n        list:\n            - one\n",
    );
    let rendered = render(&encrypt_for("ours", &release, Format::Yaml, Some("^values$"))).expect("a release");
    let expected =
        json!({"interval": "1h", "values": {"replicas": 3, "ratio": 1.5, "tls": true, "list": ["one"]}});
    assert_eq!(rendered["spec"], expected);
    assert!(rendered.get("sops").is_none());
    let config = render(&encrypt_values(&object("v1", "ConfigMap", "data:\n    a: one\n"))).expect("a map");
    assert_eq!(config["data"], json!({"a": "one"}));
    let own = render(&encrypt_values(&object("example.com/v1", "Thing", "spec:\n    a:\n        b: two\n")));
    assert_eq!(own.expect("an object")["spec"], json!({"a": {"b": "two"}}));
    let secret =
        render(&encrypt_values(&object("v1", "Secret", "stringData:\n    a: three\n"))).expect("a Secret");
    assert_eq!(entry(&secret, "a"), "three");
    let in_json =
        r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"a": "Zm91cg=="}}"#;
    let in_json = encrypt_for("ours", in_json, Format::Json, Some("^data$"));
    let objects = render_with(&preset(), &Limits::default(), &[("a.json", &in_json)]).expect("a Secret");
    assert_eq!(entry(&objects[0], "a"), "four");
}

#[test]
fn values_of_a_release_may_be_a_document_of_their_own() {
    let values = encrypt("password: hunter2\nport: 80\n", Format::Yaml);
    let values: String = values.lines().map(|line| format!("        {line}\n")).collect();
    let rest = format!("spec:\n    values:\n{values}");
    let rendered = render(&object("helm.toolkit.fluxcd.io/v2", "HelmRelease", &rest)).expect("a release");
    assert_eq!(rendered["spec"]["values"], json!({"password": "hunter2", "port": 80}));
}

#[test]
fn files_in_secrets_are_decrypted_in_every_format() {
    for (format, key, text) in [
        (Format::Binary, "key", "any bytes\n"),
        (Format::Binary, "server.crt", "a certificate"),
        (Format::Dotenv, "a.env", "# note\nA=b=c\n"),
        (Format::Ini, "a.ini", "[s]\nk = v\n"),
        (Format::Json, "a.json", "{\"a\": [1, null, \"x\"]}"),
        (Format::Yaml, "a.yaml", "# note\na: [1, x]\n"),
        (Format::Yaml, "a.yml", "a: x\n"),
        // In Flux there is a line break at its end, which is not in the file.
        (Format::Json, ".dockerconfigjson", "{\"auths\": {\"r\": {\"auth\": \"x\"}}}"),
        (Format::Json, "x.dockerconfigjson", "{\"auths\": {}, \"a\": \"b\"}"),
        (Format::Json, "data.json", "{\"data\": \"x\"}"),
        // Flux fails here, as these are no files of bytes.
        (Format::Yaml, "settings", "a: x\n"),
        (Format::Json, "settings", "{\"a\": \"x\", \"data\": \"y\"}"),
    ] {
        let encrypted = encrypt(text, format);
        let secret = render(&secret_with(key, &encrypted)).unwrap_or_else(|error| panic!("{key}: {error:?}"));
        assert_eq!(entry(&secret, key), text, "{key}");
        let texts = object("v1", "Secret", &format!("stringData:\n    {key}: {}\n", json!(encrypted)));
        let secret = render(&texts).unwrap_or_else(|error| panic!("{key} in stringData: {error:?}"));
        assert_eq!(entry(&secret, key), text, "{key} in stringData");
    }
}

#[test]
fn a_file_in_a_secret_comes_out_in_the_format_of_its_key() {
    for (format, key, text, expected) in [
        (Format::Yaml, "a.json", "a: {b: [1, x]}\n", json!({"a": {"b": [1, "x"]}})),
        (Format::Json, "a.yaml", "{\"a\": \"x\"}", json!({"a": "x"})),
        (Format::Yaml, ".dockerconfigjson", "auths: {}\nb: x\n", json!({"auths": {}, "b": "x"})),
    ] {
        let secret = render(&secret_with(key, &encrypt(text, format))).expect("a Secret");
        let written = entry(&secret, key);
        let format = if key.ends_with("json") { Format::Json } else { Format::Yaml };
        let tree = format.read(written.as_str()).unwrap_or_else(|error| panic!("{written}: {error}"));
        assert_eq!(tree.to_json(tree.documents()[0]), expected, "{key}: {written}");
    }
}

#[test]
fn what_only_looks_encrypted_is_left_alone() {
    for text in ["[sops]\nmac = x\n", "sops_mac=x", "{\"sops\": {\"mac\": \"x\"}}", "mac: x", "[sops]"] {
        let secret = render(&secret_with("a.ini", text)).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!(entry(&secret, "a.ini"), text);
    }
    let no_base64 = render(&object("v1", "Secret", "data:\n    a: '*'\n")).expect("the API server complains");
    assert_eq!(no_base64["data"]["a"], "*");
    let own =
        render(&object("example.com/v1", "Thing", "sops: {enabled: true}\n")).expect("a field of its own");
    assert_eq!(own["sops"], json!({"enabled": true}));
}

#[test]
fn files_in_config_maps_are_decrypted_where_that_is_allowed() {
    let encrypted = json!(encrypt("a: x\n", Format::Yaml));
    let config = object("v1", "ConfigMap", &format!("data:\n    a.yaml: {encrypted}\n"));
    assert_eq!(render(&config).expect("allowed")["data"]["a.yaml"], "a: x\n");
    let refused = render_with(&Rule::default(), &Limits::default(), &[("a.yaml", &config)]);
    assert!(matches!(refused, Err(RenderError::Taint { .. })), "{:?}", refused.err());
}

#[test]
fn an_object_may_opt_out() {
    let opted = |version, kind, rest: &str| {
        let annotations = "    annotations:\n        kustomize.toolkit.fluxcd.io/decrypt: Disabled\n";
        object(version, kind, &format!("{annotations}{rest}"))
    };
    let thing = encrypt_values(&opted("example.com/v1", "Thing", "spec:\n    a: x\n"));
    let rendered = render(&thing).expect("it passes");
    assert!(rendered["spec"]["a"].as_str().is_some_and(|text| text.starts_with("ENC[")), "{rendered}");
    assert!(rendered["sops"]["mac"].is_string(), "it is carried on as it is");
    let file = encrypt("a: x\n", Format::Yaml);
    let data = format!("data:\n    a.yaml: {}\n", encode_base64(file.as_bytes()));
    assert_eq!(entry(&render(&opted("v1", "Secret", &data)).expect("it passes"), "a.yaml"), file);
    // Flux applies no Secret that is encrypted as a whole.
    let secret = render(&encrypt_values(&opted("v1", "Secret", "stringData:\n    a: x\n")));
    assert!(matches!(&secret, Err(RenderError::Mode { .. })), "{:?}", secret.err());
    let both = format!(
        "{}---\n{}",
        opted("example.com/v1", "Thing", "spec:\n    a: x\n"),
        object("example.com/v1", "Thing", "spec:\n    a: y\n")
    );
    let both = render_with(&preset(), &Limits::default(), &[("a.yaml", &encrypt_values(&both))]);
    let error = both.expect_err("one MAC covers both").to_string();
    assert!(error.contains("a file of their own"), "{error}");
}

#[test]
fn inputs_of_generators_are_decrypted_by_their_roles() {
    let (binary, dotenv) = (encrypt("any bytes\n", Format::Binary), encrypt("A=b\nC=d e\n", Format::Dotenv));
    let patch = encrypt_values(&object("v1", "Secret", "stringData:\n    a: x\n"));
    let files = memory(&[("file.txt", &binary), ("app.properties", &dotenv), ("patch.yaml", &patch)]);
    let roles = Roles::from([
        ("file.txt".to_owned(), Role::Whole(Format::Binary)),
        ("app.properties".to_owned(), Role::Leaves(Format::Dotenv)),
        ("patch.yaml".to_owned(), Role::Leaves(Format::Yaml)),
    ]);
    let (rule, limits, services) = (preset(), Limits::default(), [&Digits as &dyn KeyService]);
    let engine = Engine { services: Some(&services), sealing_keys: None, rule: &rule, limits: &limits };
    let sources = engine.open(&files, &roles).expect("they open");
    let plain =
        |path: &str| text_of(sources.get(path).and_then(|source| source.plaintext()).expect("a file"));
    assert_eq!(
        (plain("file.txt").as_str(), plain("app.properties").as_str()),
        ("any bytes\n", "A=b\nC=d e\n")
    );
    let marked = |path: &str| text_of(sources.get(path).expect("a file").marked());
    for path in ["file.txt", "app.properties", "patch.yaml"] {
        let text = marked(path);
        assert!(text.contains("selkiex") && !text.contains("ENC[") && !text.contains("sops"), "{text}");
    }
    assert!(marked("patch.yaml").contains("name: a"), "what tells which object it is stays");
}

#[test]
fn what_flux_refuses_is_refused() {
    let secret = object("v1", "Secret", "stringData:\n    a: hunter2\n");
    let of_others = encrypt_for("theirs", &secret, Format::Yaml, Some("^stringData$"));
    let refused = render(&of_others);
    assert!(matches!(refused, Err(RenderError::Recover { .. })), "{:?}", refused.err());
    let encrypted = encrypt_values(&secret);
    let start = "ENC[AES256_GCM,data:";
    let (before, after) = encrypted.split_once(start).expect("an encrypted value");
    let first = if after.starts_with('A') { "B" } else { "A" };
    let changed = format!("{before}{start}{first}{}", &after[1..]);
    let refused = render(&changed).expect_err("the value was changed");
    assert!(matches!(refused, RenderError::Open { .. }), "{refused:?}");
    let told = format!("{refused} {refused:?} {:?}", std::error::Error::source(&refused));
    assert!(!told.contains("hunter2") && !told.contains("ENC["), "{told}");
    let cut = encrypted.replacen(",type:str]", "]", 1);
    let told = format!("{:?}", render(&cut).expect_err("the value is cut"));
    assert!(!told.contains("ENC["), "{told}");
    let small = Limits { file_bytes: 100, ..Limits::default() };
    let refused = render_with(&preset(), &small, &[("a.yaml", &encrypted)]).expect_err("it is too long");
    assert!(matches!(&refused, RenderError::Limit(limit) if limit.name == "fileBytes"), "{refused:?}");
    let without = encrypted.split("sops:").next().expect("what is before the metadata").to_owned();
    let refused = render(&without).expect_err("there is no metadata");
    assert!(matches!(refused, RenderError::LeftEncrypted { .. }), "{refused:?}");
}

#[test]
fn what_flux_lets_pass_and_should_not_is_refused() {
    let encrypted =
        encrypt_values(&object("v1", "Secret", "data:\n    a: Zmlyc3Q=\nstringData:\n    b: second\n"));
    let removed: String = encrypted
        .lines()
        .filter(|line| !line.starts_with("    b:"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_ne!(removed, encrypted);
    for (text, what) in [
        (encrypted.replace("name: a", "name: b"), "the name was changed"),
        (removed, "a value was taken out"),
    ] {
        let refused = render(&text).expect_err(what);
        assert!(matches!(refused, RenderError::Mac { .. }), "{what}: {refused:?}");
    }
    // An extension that lies: ciphertext would be the secret.
    let lies = render_with(&preset(), &Limits::default(), &[("a.json", &encrypted)]).expect_err("no JSON");
    assert!(matches!(lies, RenderError::Format { .. }), "{lies:?}");
    let file = encrypt("a: x\n", Format::Yaml).replace("mac: ENC[", "mac: ENc[");
    let refused = render(&secret_with("a.yaml", &file)).expect_err("nothing signs it");
    assert!(matches!(refused, RenderError::Mac { .. }), "{refused:?}");
    let nothing =
        render_with(&preset(), &Limits::default(), &[("README.md", "")]).expect_err("nothing is there");
    assert!(matches!(nothing, RenderError::Empty), "{nothing:?}");
    assert!(by_name(&memory(&[("README.md", "")])).is_empty() && memory(&[]).paths().is_empty());
}
