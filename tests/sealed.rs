//! SealedSecrets that the real tools wrote, and what they say that these stand for.

use std::error::Error;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use selkie::sealed::{Key, KeyRegistry, SealedSecret, SealingCert, SealingKey, SmallKeys, Unseal};
use selkie::template::Surroundings;
use serde_json::{Value as Json, json};

use crate::envelope::rng;

/// Returns a test for each case of `unseal-cases.jsonl`, and those of whole files.
pub fn tests() -> Vec<Trial> {
    let cases = std::fs::read_to_string(folder().join("unseal-cases.jsonl")).unwrap_or_default();
    let mut tests: Vec<Trial> = cases
        .lines()
        .map(|line| {
            let case: Json = serde_json::from_str(line).unwrap_or_default();
            let name = format!("sealed::unseal::{}", case["case"].as_str().unwrap_or("broken case"));
            Trial::test(name, move || unseal(&case).map_err(|error| Failed::from(error.to_string())))
        })
        .collect();
    tests.push(Trial::test("sealed::there_are_cases", move || match cases.lines().count() {
        92 => Ok(()),
        count => Err(Failed::from(format!("{count} cases"))),
    }));
    for key in ["key-pkcs1.pem", "key-pkcs8.pem"] {
        for scope in ["strict", "namespace-wide", "cluster-wide"] {
            tests.push(Trial::test(format!("sealed::file::{scope}::{key}"), move || {
                whole_file(key, scope).map_err(|error| Failed::from(error.to_string()))
            }));
        }
    }
    tests
}

/// Unseals a case as the reference did, whose words are those of the user's `kubeseal --recovery-unseal`.
fn unseal(case: &Json) -> Result<(), Box<dyn Error>> {
    let name = case["case"].as_str().unwrap_or_default();
    let result = SealedSecret::from_json(&case["sealedSecret"]).map_err(|error| error.to_string());
    let keys = keys("key-pkcs8.pem")?;
    let mut rng = rng(1);
    let mut surroundings = Surroundings { now: time::OffsetDateTime::UNIX_EPOCH, rng: &mut rng };
    let result = result.and_then(|sealed| {
        sealed.unseal(&keys, Unseal::default(), &mut surroundings).map_err(|error| error.to_string())
    });
    let expected = expected(name, case);
    match (result, expected) {
        (Ok(secret), Ok(expected)) => same(&normal(secret.to_json()), &normal(expected)),
        (Err(error), Err(expected)) => same(&json!(error), &json!(expected)),
        (Ok(_), Err(expected)) => Err(format!("unsealed, though the reference says {expected}").into()),
        (Err(error), Ok(_)) => Err(format!("not unsealed: {error}").into()),
    }
}

/// Returns what is expected: what 0.36 did, but where 0.40 or safety asks for something else.
fn expected(name: &str, case: &Json) -> Result<Json, String> {
    if let Some((_, expected)) = DIFFERENCES.iter().find(|(case, _)| *case == name) {
        return match expected {
            Expected::Error(text) => Err((*text).to_owned()),
            Expected::Value(key, value) => {
                let mut secret = case["secret"].clone();
                secret["data"][*key] = json!(value);
                Ok(secret)
            }
        };
    }
    if case["exit"] == 0 {
        return Ok(case["secret"].clone());
    }
    let text = case["stderr"].as_str().unwrap_or_default();
    Err(text.trim_end().strip_prefix("error: ").unwrap_or(text).to_owned())
}

enum Expected {
    Error(&'static str),
    Value(&'static str, &'static str),
}

/// Where the outcome is another one than that of 0.36: see `docs/compatibility.md`.
const DIFFERENCES: &[(&str, Expected)] = &[
    // Since 0.37 items win over templates of the same name, and templates see each other.
    ("template collides with encrypted key", Expected::Value("foo", "YmFy")),
    ("template sees sibling template?", Expected::Value("b", "QQ==")),
    ("int in template.data", Expected::Error(r#"spec.template.data["a"] is not a string"#)),
    (
        "v1beta1 apiVersion",
        Expected::Error("the object is of version bitnami.com/v1beta1, not of bitnami.com/v1alpha1"),
    ),
];

/// Unseals a file that kubeseal wrote, and seals it again.
fn whole_file(key: &str, scope: &str) -> Result<(), Box<dyn Error>> {
    let keys = keys(key)?;
    let text = std::fs::read(folder().join(format!("sealed-{scope}.json")))?;
    let mut sealed = SealedSecret::from_json(&serde_json::from_slice(&text)?)?;
    same(&json!(sealed.scope().name()), &json!(scope))?;
    let raw = std::fs::read_to_string(folder().join(format!("raw-{scope}.txt")))?;
    same(&json!(keys.open(&raw, &sealed.label())?.value.expose_secret()), &json!(b"supersecret"))?;
    let before = values(&sealed, &keys)?;
    let cert = SealingCert::parse(&std::fs::read(folder().join("cert.pem"))?)?;
    same(&json!(cert.fingerprint()), &json!(keys.keys()[0].fingerprint()))?;
    let untouched = sealed.clone();
    let resealed = sealed.reseal(&keys, &cert, false, &mut rng(1))?;
    same(&json!(resealed.changed), &json!([]))?;
    assert_eq!(untouched, sealed);
    sealed.reseal(&keys, &cert, true, &mut rng(2))?;
    assert_ne!(untouched, sealed);
    same(&before, &values(&sealed, &keys)?)
}

fn values(sealed: &SealedSecret, keys: &KeyRegistry) -> Result<Json, Box<dyn Error>> {
    let values: Result<Vec<_>, _> = sealed
        .open_items(keys)
        .map(|(key, opened)| opened.map(|opened| (key.to_owned(), json!(opened.value.expose_secret()))))
        .collect();
    Ok(Json::Object(values?.into_iter().collect()))
}

fn keys(name: &str) -> Result<KeyRegistry, Box<dyn Error>> {
    let pem = std::fs::read(folder().join(name))?.into();
    let mut keys = KeyRegistry::new();
    keys.add(Key::new(SealingKey::parse(&pem, SmallKeys::Refuse)?, name));
    Ok(keys)
}

/// Returns an object without what its order and empty values depend on.
fn normal(mut object: Json) -> Json {
    // Go writes an empty list of bytes that it decrypted as null.
    for value in object["data"].as_object_mut().into_iter().flat_map(|data| data.values_mut()) {
        if *value == "" {
            *value = Json::Null;
        }
    }
    if object["data"].is_null() {
        object.as_object_mut().map(|fields| fields.shift_remove("data"));
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|_, value| !value.is_null());
    }
    object
}

fn same(actual: &Json, expected: &Json) -> Result<(), Box<dyn Error>> {
    if actual == expected { Ok(()) } else { Err(format!("{actual}\nis not\n{expected}").into()) }
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/sealed-secrets"))
}
