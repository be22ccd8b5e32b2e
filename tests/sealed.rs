//! SealedSecrets that the real tools wrote, and what they say that these stand for.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use selkie::sealed::{Key, KeyRegistry, SealedSecret, SealingCert, SealingKey, SmallKeys, Unseal};
use selkie::template::Surroundings;
use serde_json::{Value as Json, json};

use crate::envelope::rng;
use crate::peer::Peer;

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

/// Returns a test for each case, of what the real kubeseal 0.40 makes of it.
pub fn live_tests() -> Vec<Trial> {
    let cases = std::fs::read_to_string(folder().join("unseal-cases.jsonl")).unwrap_or_default();
    let test = |line: &str| {
        let case: Json = serde_json::from_str(line).unwrap_or_default();
        let name = format!("unseals::{}", case["case"].as_str().unwrap_or("broken case"));
        Peer::Kubeseal.test(name, move |program| Ok(as_the_real_one(&program, &case)?))
    };
    cases.lines().map(test).collect()
}

/// Compares what is expected with what the real program does.
fn as_the_real_one(program: &Path, case: &Json) -> Result<(), Box<dyn Error>> {
    let name = case["case"].as_str().unwrap_or_default();
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("sealed.json");
    std::fs::write(&input, case["sealedSecret"].to_string())?;
    let mut command = Command::new(program);
    command.args(["--recovery-unseal", "--recovery-private-key"]).arg(self::folder().join("key-pkcs8.pem"));
    let output = command.arg("--secret-file").arg(&input).output()?;
    match expected(name, case) {
        Ok(secret) => same(&normal(serde_json::from_slice(&output.stdout)?), &normal(secret)),
        Err(_) if !output.status.success() => Ok(()),
        Err(_) => Err(format!("the real one unseals it: {}", String::from_utf8_lossy(&output.stdout)).into()),
    }
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
    ("template.data basics", Expected::Value("t4", ALL_AS_JSON)),
    (
        "template:range",
        Expected::Value(
            "t",
            "ay13aXRoLWRhc2g9ZGFzaDtwPWh1bnRlcjI7dD17eyByYW5nZSAkaywkdiA6PSAuIH19e3sgJGsgfX09e3sgJHYgfX07e3sgZW5kIH19Ow==",
        ),
    ),
    (
        "template:toJson",
        Expected::Value("t", "eyJrLXdpdGgtZGFzaCI6ImRhc2giLCJwIjoiaHVudGVyMiIsInQiOiJ7eyB0b0pzb24gLiB9fSJ9"),
    ),
    (
        "template:toPrettyJson",
        Expected::Value(
            "t",
            "ewogICJrLXdpdGgtZGFzaCI6ICJkYXNoIiwKICAicCI6ICJodW50ZXIyIiwKICAidCI6ICJ7eyB0b1ByZXR0eUpzb24gLiB9fSIKfQ==",
        ),
    ),
    ("int in template.data", Expected::Error(r#"spec.template.data["a"] is not a string"#)),
    (
        "v1beta1 apiVersion",
        Expected::Error("the object is of version bitnami.com/v1beta1, not of bitnami.com/v1alpha1"),
    ),
];

/// Base64 of the values of an object, its templates as they are written among them.
const ALL_AS_JSON: &str = "WW1GeSBCQVIgeyJmb28iOiJiYXIiLCJmb28yIjoicGxhaW4iLCJxdW90ZSI6Int7IC5mb28gfCBxdW90ZSB9fSIsInQxIjoie3sgLmZvbyB9fS17eyBpbmRleCAuIFwidXNlci1uYW1lXCIgfX0iLCJ0MiI6Int7IC5taXNzaW5nIH19IiwidDMiOiJ7eyAubWlzc2luZyB8IGRlZmF1bHQgXCJkZmx0XCIgfX0iLCJ0NCI6Int7IGI2NGVuYyAuZm9vIH19IHt7IHVwcGVyIC5mb28gfX0ge3sgdG9Kc29uIC4gfX0iLCJ1c2VyLW5hbWUiOiJiYXIifQ==";

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
