use std::fs;
use std::path::PathBuf;

use proptest::prelude::ProptestConfig;
use selkie::tree::MetadataEntry;
use serde_json::Map;

use super::super::kit::{self, World};
use super::*;

fn testdata(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/controller/sops").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns an object of the files as the API server would give it: keys sorted, and metadata added.
fn object(name: &str) -> Json {
    let tree = Format::Yaml.read(testdata(name)).expect("YAML");
    let mut object = tree.to_json(tree.documents()[0]);
    let MetadataEntry::Present(sops) = tree.metadata() else { panic!("{name} is not encrypted") };
    object["sops"] = Json::Object(sops.clone());
    let metadata = &mut object["metadata"];
    for (field, value) in
        [("namespace", "shop"), ("uid", "u-1"), ("creationTimestamp", "2026-01-01T00:00:00Z")]
    {
        metadata[field] = value.into();
    }
    sorted(object)
}

fn sorted(value: Json) -> Json {
    match value {
        Json::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            fields.sort_by(|left, right| left.0.cmp(&right.0));
            Json::Object(fields.into_iter().collect())
        }
        Json::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

/// Returns a source with the key of the files in the Secret `keys` of the namespace `shop`.
fn source(policy: &str) -> IsindirSecrets {
    let mut world = World::new();
    world.cluster.put("shop", "keys", "1", &[("age.agekey", &testdata("keys.txt"))]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.yaml");
    fs::write(&path, policy).expect("a file");
    world.settings.policy = Some(path);
    IsindirSecrets::new(world.keys(), false)
}

fn with_key(mut object: Json) -> Json {
    object["metadata"]["annotations"][KEY_SECRET] = "keys".into();
    object
}

fn opened(source: &IsindirSecrets, object: &Json) -> Result<String, (Reason, String)> {
    let desired = pollster::block_on(source.open(object));
    let desired = desired.map_err(|failure| (failure.reason, failure.message))?;
    assert!(desired.prune);
    let adopt = if desired.adopt { "adopt " } else { "" };
    Ok(adopt.to_owned() + &desired.secrets.iter().map(kit::told).collect::<Vec<_>>().join("\n"))
}

#[test]
fn objects_that_sops_encrypted_are_verified_behind_an_api_server() {
    let source = source(STRICT);
    for (name, expected) in [
        (
            "encrypted-suffix.yaml",
            "shop/db-user kubernetes.io/basic-auth labels={\"a\":\"b\",\"app\":\"db\"} annotations={\"note\":\"x\"} \
             {\"password\":\"of the sea\",\"username\":\"selkie\"}\n\
             shop/db-extra - {\"raw\":\"binary\"}",
        ),
        (
            "encrypted-example-isindir.yaml",
            "shop/db kubernetes.io/basic-auth {\"password\":\"of the sea\",\"username\":\"selkie\"}",
        ),
        ("encrypted-mac-only.yaml", "adopt shop/one - {\"a\":\"1\",\"b\":\"2\"}"),
    ] {
        let object = with_key(object(name));
        assert_eq!(opened(&source, &object), Ok(expected.to_owned()));
        assert_eq!(source.status(&object, Ok(())), json!({"mac": "Verified", "message": "Healthy"}));
    }
}

#[test]
fn an_object_in_an_order_that_nobody_guesses_needs_the_policy() {
    let object = with_key(object("encrypted-any-order.yaml"));
    let strict = source(STRICT);
    assert_eq!(opened(&strict, &object), Err((Reason::MacMismatch, UNVERIFIED.to_owned())));
    let lax = source(LAX);
    assert_eq!(opened(&lax, &object).expect("allowed"), r#"shop/one - {"a":"1","b":"2"}"#);
    assert_eq!(lax.status(&object, Ok(())), json!({"mac": "Unverified", "message": "Healthy"}));
}

#[test]
fn an_object_says_itself_whether_it_takes_secrets_over_or_else_a_flag_does() {
    let mut source = source(LAX);
    for (default, own, expected) in [
        (false, json!(null), false),
        (true, json!(null), true),
        (true, json!(false), false),
        (false, json!(true), true),
    ] {
        source.enforce_ownership = default;
        let mut object = with_key(object("encrypted-suffix.yaml"));
        object["spec"]["enforceOwnership"] = own.clone();
        let desired = pollster::block_on(source.open(&object)).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(desired.adopt, expected, "{default} {own}");
    }
}

#[test]
fn a_value_that_was_taken_out_is_noticed() {
    let mut object = with_key(object("encrypted-mac-only.yaml"));
    let entries = object["spec"]["secretTemplates"][0]["stringData"].as_object_mut().expect("a map");
    entries.shift_remove("a");
    assert_eq!(opened(&source(STRICT), &object).map_err(|(reason, _)| reason), Err(Reason::MacMismatch));
}

#[test]
fn what_was_verified_once_is_not_told_of_what_does_not_open() {
    let source = source(STRICT);
    let mut object = with_key(object("encrypted-suffix.yaml"));
    opened(&source, &object).expect("Secrets");
    assert_eq!(source.status(&object, Ok(()))["mac"], "Verified");
    object["sops"] = Json::Null;
    let (reason, message) = opened(&source, &object).expect_err("refused");
    let failure = Failure::new(reason, message);
    assert_eq!(source.status(&object, Err(&failure)), json!({"message": "Decryption error"}));
    assert!(source.hides_metadata());
}

#[tokio::test]
async fn an_object_is_opened_aside() {
    let source = source(STRICT);
    let object = with_key(object("encrypted-suffix.yaml"));
    assert_eq!(source.open(&object).await.map(|desired| desired.secrets.len()), Ok(2));
    let envelope = envelope(&source, &object).await;
    let waiting = Waiting::default();
    assert!(open(&envelope, &object, &waiting).is_ok());
    waiting.end();
    let message = open(&envelope, &object, &waiting).err().map(|failure| failure.message);
    assert_eq!(message.as_deref(), Some("it took too long"));
}

async fn envelope(source: &IsindirSecrets, object: &Json) -> Envelope {
    let metadata = Metadata::from_json(object["sops"].as_object().expect("a map")).expect("metadata");
    source.keys.recover("shop", Some("keys"), metadata).await.unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn an_object_has_no_keys_but_those_it_is_allowed() {
    let (reason, message) = opened(&source(STRICT), &object("encrypted-suffix.yaml")).expect_err("no key");
    assert_eq!(reason, Reason::NoKey);
    assert!(message.starts_with("no key opens the document: age age1"), "{message}");
    let nobody = source("rules: []");
    let (reason, _) = opened(&nobody, &with_key(object("encrypted-suffix.yaml"))).expect_err("no rule");
    assert_eq!(reason, Reason::NotAllowed);
}

#[test]
fn what_cannot_be_read_is_told_by_its_place() {
    let source = source(STRICT);
    let mut object = with_key(object("encrypted-suffix.yaml"));
    object["spec"]["suspend"] = true.into();
    assert_eq!(opened(&source, &object).map_err(|(reason, _)| reason), Err(Reason::Suspended));
    object["spec"]["suspend"] = 1.into();
    assert_eq!(
        opened(&source, &object),
        Err((Reason::Invalid, "spec.suspend is not true or false".to_owned()))
    );
    object["sops"] = Json::Object(Map::new());
    object["spec"]["suspend"] = false.into();
    assert_eq!(opened(&source, &object).map_err(|(reason, _)| reason), Err(Reason::Invalid));
    object["sops"] = Json::Null;
    assert_eq!(opened(&source, &object), Err((Reason::Invalid, "sops is missing".to_owned())));
}

#[test]
fn templates_are_taken_all_or_none() {
    let place = object::place(&object("encrypted-suffix.yaml")).expect("a place");
    let source = source(STRICT);
    for (templates, expected) in [
        (json!([]), "spec.secretTemplates has nothing in it"),
        (json!([{"name": "seal"}, {"name": "seal"}]), "spec.secretTemplates[1] has the name of another one"),
        (json!([{"stringData": {}}]), "spec.secretTemplates[0].name is missing"),
        (
            json!([{"name": "a", "stringData": {"k": 1}}]),
            "spec.secretTemplates[0] cannot be used: stringData[\"k\"] is not a string",
        ),
        (
            json!([{"name": "a", "data": {"k": "?seal"}}]),
            "spec.secretTemplates[0] cannot be used: data[\"k\"] is not base64: illegal base64 data at input byte 0",
        ),
        (json!([1]), "spec.secretTemplates[0] is not a map"),
    ] {
        let plain = json!({"spec": {"secretTemplates": templates}});
        let failure = IsindirSecrets::of_templates(&source.resource, &plain, &place).err().expect("refused");
        assert_eq!((failure.reason, failure.message.as_str()), (Reason::Invalid, expected));
    }
}

proptest::proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_an_object_holds_is_opened_or_refused(
        place in proptest::sample::select(PLACES), value in kit::any_json(), lax in proptest::bool::ANY
    ) {
        let source = source(if lax { LAX } else { STRICT });
        let mut object = with_key(object("encrypted-mac-only.yaml"));
        *object.pointer_mut(place).expect("it is there") = value;
        let result = pollster::block_on(source.open(&object)).map(|_| ());
        let reasons = [Reason::Invalid, Reason::MacMismatch, Reason::NoKey, Reason::Suspended, Reason::Unseal];
        let is_known = result.as_ref().err().is_none_or(|failure| reasons.contains(&failure.reason));
        proptest::prop_assert!(is_known, "{result:?}");
        source.status(&object, result.as_ref().copied());
        source.essence(&object);
    }
}

#[test]
fn a_value_that_is_deeper_than_any_manifest_is_refused() {
    // As deep as what the API server hands out can be.
    let value = (0..115).fold(json!("x"), |inner, _| json!([inner]));
    let mut object = with_key(object("encrypted-mac-only.yaml"));
    object["spec"]["secretTemplates"][0]["stringData"]["a"] = value;
    assert_eq!(opened(&source(LAX), &object).map_err(|(reason, _)| reason), Err(Reason::Unseal));
}

/// Where somebody may put something else.
const PLACES: &[&str] = &[
    "",
    "/metadata",
    "/metadata/annotations",
    "/sops",
    "/sops/age",
    "/sops/encrypted_regex",
    "/sops/mac",
    "/spec",
    "/spec/secretTemplates",
    "/spec/secretTemplates/0",
    "/spec/secretTemplates/0/name",
    "/spec/secretTemplates/0/stringData",
    "/spec/secretTemplates/0/stringData/a",
];

#[test]
fn both_kinds_have_names_of_their_own() {
    let own = super::super::own::SopsSecrets::new(World::new().keys());
    let theirs = source(STRICT);
    assert_eq!((own.label(), theirs.label()), ("SopsSecret", "SopsSecret.isindir.github.com"));
    assert_eq!(own.resource().kind, theirs.resource().kind);
}

#[test]
fn states_are_told_in_the_words_of_the_other_operator() {
    let source = source(STRICT);
    let object = object("encrypted-suffix.yaml");
    for (reason, expected) in [
        (Reason::Suspended, "Reconciliation is suspended"),
        (Reason::Unmanaged, "Child secret is not owned by controller error"),
        (Reason::Update, "Child secret update error"),
        (Reason::Immutable, "Child secret update error"),
        (Reason::NoKey, "Decryption error"),
        (Reason::MacMismatch, "Decryption error"),
        (Reason::Fetch, "Unknown Error"),
    ] {
        assert_eq!(source.status(&object, Err(&Failure::new(reason, ""))), json!({"message": expected}));
    }
}

const STRICT: &str = "rules: [{namespaces: ['*'], keySecrets: ['*']}]";
const LAX: &str = "rules: [{namespaces: ['*'], keySecrets: ['*'], isindirWithoutMac: true}]";
