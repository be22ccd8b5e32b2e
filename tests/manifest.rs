//! Manifests that kubeseal read and printed, see `testdata/sealed-secrets/README.md`.

use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use selkie::manifest::{ObjectKind, arrange, print_json, print_yaml, read_object, read_stream};
use selkie::sealed::Secret;
use serde_json::{Value as Json, json};

pub fn tests() -> Vec<Trial> {
    let mut tests = vec![
        Trial::test("manifest::texts_are_made_of_other_values", coercion),
        Trial::test("manifest::texts_are_quoted_in_yaml", quoting_in_yaml),
        Trial::test("manifest::texts_are_escaped_in_json", quoting_in_json),
    ];
    for scope in ["strict", "namespace-wide", "cluster-wide"] {
        for format in ["json", "yaml"] {
            let name = format!("sealed-{scope}.{format}");
            tests.push(Trial::test(format!("manifest::prints_{name}"), move || prints_again(&name)));
        }
    }
    tests
}

fn coercion() -> Result<(), Failed> {
    let objects = read_stream(file("yaml-coercion-input.yaml")?.as_bytes(), ObjectKind::Secret)?;
    let object = objects.into_iter().next().ok_or("there is no object")?;
    let expected: Json = serde_json::from_str(&file("yaml-coercion-expected.json")?)?;
    let secret = Secret::from_any_json(&object.into())?;
    let texts = secret.data.iter().map(|(key, value)| {
        (key.clone(), Json::from(String::from_utf8_lossy(value.expose_secret()).into_owned()))
    });
    same(&texts.collect::<Json>(), &expected)
}

fn quoting_in_yaml() -> Result<(), Failed> {
    let mut expected = file("yaml-quoting-output.yaml")?.replace("---\n", "");
    // Two are written such that every reader reads them alike, and that none is lost.
    for (theirs, ours) in
        [("lsep: 'a\u{2028}          b'", r#"lsep: "a\Lb""#), ("nel: a b", r#"nel: "a\Nb""#)]
    {
        assert!(expected.contains(theirs), "{theirs}");
        expected = expected.replace(theirs, ours);
    }
    same(&text(&print_yaml(&sealed()?)), &expected)
}

fn quoting_in_json() -> Result<(), Failed> {
    let sealed = arrange(&sealed()?, ObjectKind::SealedSecret);
    let printed = text(&print_json(&sealed)).replace(r"\u003cSEALED\u003e", "<SEALED>");
    same(&(printed + "\n"), &file("yaml-quoting-output.json")?)
}

/// Returns the SealedSecret that kubeseal made of the input, with its ciphertext masked.
fn sealed() -> Result<Json, Failed> {
    let input: Json = serde_json::from_str(&file("yaml-quoting-input.json")?)?;
    let metadata = &input["metadata"];
    Ok(json!({
        "apiVersion": "bitnami.com/v1alpha1",
        "kind": "SealedSecret",
        "metadata": {"namespace": metadata["namespace"], "name": metadata["name"]},
        "spec": {"encryptedData": {"foo": "<SEALED>"}, "template": {"metadata": metadata}},
    }))
}

fn prints_again(name: &str) -> Result<(), Failed> {
    let source = file(name)?;
    let object = read_object(source.as_bytes())?;
    let printed = match name.ends_with(".yaml") {
        true => format!("---\n{}", text(&print_yaml(&object))),
        false => text(&print_json(&arrange(&object, ObjectKind::SealedSecret))) + "\n",
    };
    same(&printed, &source)
}

fn same<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T) -> Result<(), Failed> {
    (found == expected).then_some(()).ok_or_else(|| format!("{found:#?} is not {expected:#?}").into())
}

fn text(printed: &selkie::secret::SecretBytes) -> String {
    String::from_utf8_lossy(printed.expose_secret()).into_owned()
}

fn file(name: &str) -> Result<String, Failed> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sealed-secrets");
    Ok(fs::read_to_string(folder.join(name))?)
}
