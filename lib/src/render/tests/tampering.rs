//! What somebody may have done who can write files, but has no key: all of it is refused.

use serde_json::json;

use super::kit::{Kit, encrypted, manifest};
use crate::format::Format;
use crate::render::{Emission, EmitMode, RenderError, Role};

fn release(password: &str, admin: &str) -> String {
    let source = format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n    name: app\n    namespace: shop\nspec:\n    values:\n        password: {password}\n        admins:\n            - alice\n            - {admin}\n"
    );
    encrypted(&source, Format::Yaml, "^values$")
}

fn secret(name: &str, password: &str) -> String {
    manifest(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n    name: {name}\n    namespace: shop\nstringData:\n    password: {password}\n    other: x\n"
    ))
}

/// Returns the values of a file as they are encrypted, without the MAC.
fn leaves(file: &str) -> Vec<String> {
    let value = |line: &str| Some(line[line.find("ENC[")?..].trim_end().to_owned());
    file.lines().filter(|line| !line.contains("mac:")).filter_map(value).collect()
}

fn without_lines(file: &str, part: &str) -> String {
    file.lines().filter(|line| !line.contains(part)).map(|line| format!("{line}\n")).collect()
}

/// Returns what is before and what is of the metadata.
fn halves(file: &str) -> (&str, &str) {
    file.split_at(file.find("sops:\n").expect("metadata"))
}

fn render(files: &[(&str, &str)]) -> Result<usize, RenderError> {
    let kit = Kit::new(files).allowing("HelmRelease", "*");
    kit.render(&EmitMode::Plain).map(|emission| emission.objects.len())
}

fn is_mac(result: &Result<usize, RenderError>) -> bool {
    matches!(result, Err(RenderError::Mac { .. }))
}

#[test]
fn a_file_that_was_changed_is_refused() {
    let (old, new) = (release("OLD-leaked", "mallory"), release("NEW-rotated", "bob"));
    assert_eq!(render(&[("a.yaml", &new)]).expect("rendered"), 1);
    let ([old_password, _, mallory], [password, alice, bob]) = (&leaves(&old)[..], &leaves(&new)[..]) else {
        panic!("three values each");
    };
    let reordered = new.replace(alice, "@").replace(bob, alice).replace('@', bob);
    for (what, file) in [
        ("an old password", new.replace(password, old_password)),
        ("an old element", new.replace(bob, mallory)),
        ("another order", reordered),
        ("a key less", without_lines(&new, "password: ")),
        ("an element less", without_lines(&new, bob)),
        ("an element twice", new.replace(bob, alice)),
        ("another namespace", new.replace("namespace: shop", "namespace: mall")),
        ("an empty value", new.replace(password, "\"\"")),
        ("no MAC", without_lines(&new, "    mac: ")),
        ("the metadata of another version", [halves(&new).0, halves(&old).1].concat()),
    ] {
        assert_ne!(file, new, "{what}");
        let result = render(&[("a.yaml", &file)]);
        assert!(is_mac(&result), "{what}: {:?}", result.map_err(|error| error.to_string()));
    }
    for (what, file) in [
        ("another key", new.replace("password: ", "username: ")),
        ("a value in clear", new.replace(password, "mine")),
        ("another type", new.replacen("type:str", "type:int", 1)),
    ] {
        let result = render(&[("a.yaml", &file)]);
        assert!(matches!(result, Err(RenderError::Open { .. })), "{what}");
    }
    let bare = halves(&new).0.to_owned();
    assert!(matches!(render(&[("a.yaml", &bare)]), Err(RenderError::LeftEncrypted { .. })));
}

#[test]
fn values_do_not_go_from_one_file_to_another() {
    let (one, two) = (secret("one", "first"), secret("two", "second"));
    assert_eq!(render(&[("one.yaml", &one), ("two.yaml", &two)]).expect("rendered"), 2);
    let (first, second) = (leaves(&one)[0].clone(), leaves(&two)[0].clone());
    let (swapped_one, swapped_two) = (one.replace(&first, &second), two.replace(&second, &first));
    assert!(is_mac(&render(&[("one.yaml", &swapped_one), ("two.yaml", &swapped_two)])));
    assert!(is_mac(&render(&[("one.yaml", &one), ("two.yaml", &swapped_two)])));
    for field in ["stringData", "data"] {
        let text =
            if field == "data" { crate::sealed::encode_base64(first.as_bytes()) } else { first.clone() };
        let thief = format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: thief\n  namespace: mall\n{field}:\n  password: {text}\n"
        );
        let result = render(&[("one.yaml", &one), ("thief.yaml", &thief)]);
        assert!(matches!(result, Err(RenderError::LeftEncrypted { .. })), "{field}");
    }
}

#[test]
fn what_is_left_encrypted_of_a_build_is_of_nobody() {
    let (file, other) = (secret("one", "first"), secret("two", "second"));
    let thief = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: thief\nstringData:\n  password: {}\n",
        leaves(&other)[0]
    );
    let kit = Kit::new(&[("one.yaml", &file), ("two.yaml", &other)]);
    let result = kit.built(&EmitMode::Plain, |_| thief);
    assert!(matches!(result, Err(RenderError::LeftEncrypted { .. })));
    // Nor do documents of a stream stand for each other.
    let stream = format!(
        "{other}---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: thief\nstringData:\n  password: {}\n",
        leaves(&other)[0]
    );
    let result = Kit::new(&[]).stream(&EmitMode::Plain, &stream);
    assert!(matches!(result, Err(RenderError::LeftEncrypted { .. })));
}

#[test]
fn a_stream_holds_nothing_that_its_files_do_not() {
    let (file, old) = (secret("one", "first"), secret("one", "old"));
    let built = |stream: String| {
        let kit = Kit::new(&[("one.yaml", &file)]);
        kit.stream(&EmitMode::Plain, &stream).map(|emission| emission.objects.len())
    };
    assert_eq!(built(halves(&file).0.to_owned()).expect("rendered"), 1);
    let stream = halves(&file).0.replace(&leaves(&file)[1], &leaves(&old)[0]);
    assert!(matches!(built(stream), Err(RenderError::LeftEncrypted { .. })));
    let cut = halves(&file).0.replace(&leaves(&file)[1], "ENC[AES256_GCM,data:AA==]");
    assert!(matches!(built(cut), Err(RenderError::LeftEncrypted { .. })));
}

#[test]
fn what_looks_like_a_mark_is_refused() {
    let word = format!("selkiex{}", "0".repeat(41));
    for text in [word.clone(), word[..30].to_owned(), word.to_uppercase()] {
        let file = secret("one", "first").replace("name: one", &format!("name: {text}"));
        let result = render(&[("one.yaml", &file)]);
        assert!(matches!(result, Err(RenderError::ForeignMark { .. })), "{text}");
        let plain = format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\nstringData:\n  x: {text}\n");
        let result = render(&[("one.yaml", &plain)]);
        assert!(matches!(result, Err(RenderError::ForeignMark { .. })), "{text}");
    }
}

/// Returns what comes out of files under the default rule.
fn emission_of(files: &[(&str, &str)]) -> Result<Emission, RenderError> {
    Kit::new(files).render(&EmitMode::Plain)
}

/// Appends what stands in Git to a copy of an encrypted map, some levels deeper.
fn pasted(head: &str, file: &str, indent: &str) -> String {
    let lines = file.lines().map(|line| format!("{indent}{line}\n"));
    format!("{head}{}", lines.collect::<String>())
}

#[test]
fn nothing_comes_out_in_what_tells_which_object_something_is() {
    let file = encrypted("password: hunter2\n", Format::Yaml, "");
    let head = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n    name: a\n    annotations:\n";
    let refused = emission_of(&[("a.yaml", &pasted(head, &file, "        "))]);
    assert!(matches!(refused, Err(RenderError::LeftEncrypted { .. })), "{:?}", refused.err());
    let stream = Kit::new(&[]).stream(&EmitMode::Plain, &pasted(head, &file, "        "));
    assert!(matches!(stream, Err(RenderError::LeftEncrypted { .. })), "{:?}", stream.err());
    // What is no manifest has no such places.
    let values = encrypted("metadata:\n    token: hunter2\ntype: hunter3\n", Format::Yaml, "");
    let kit = Kit::new(&[("values.yaml", &values)]).role("values.yaml", Role::Leaves(Format::Yaml));
    let emission = kit.built(&EmitMode::Plain, |sources| {
        let marked = sources.get("values.yaml").expect("encrypted").marked();
        let marked = String::from_utf8_lossy(marked.expose_secret()).into_owned();
        assert!(!marked.contains("hunter"), "{marked}");
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n".to_owned()
    });
    assert!(emission.is_ok());
}

#[test]
fn what_readers_would_not_find_is_refused() {
    let json = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"stringData":{"x":"hunter2"}}"#;
    let json = encrypted(json, Format::Json, "^stringData$");
    let twice = json.replacen("\"metadata\"", "\"stringData\": {}, \"metadata\"", 1);
    assert!(emission_of(&[("a.json", &json)]).is_ok());
    // The first one is read by nobody.
    let end = json.rfind("\"sops\"").expect("metadata");
    let last = format!("{}\"stringData\": {{}}, {}", &json[..end], &json[end..]);
    for text in [twice, last] {
        let result = emission_of(&[("a.json", &text)]);
        let is_kept = result.as_ref().is_ok_and(|objects| objects.objects[0]["data"]["x"].is_string());
        assert!(is_kept || matches!(result, Err(RenderError::LeftEncrypted { .. })));
    }
    let secret = secret("one", "first");
    let merged = secret.replacen("stringData:", "<<:\n    stringData: {password: ''}\nstringData:", 1);
    let result = emission_of(&[("a.yaml", &merged)]);
    let is_kept = result.as_ref().is_ok_and(|emission| emission.objects[0]["data"]["password"] != "");
    assert!(is_kept || matches!(result, Err(RenderError::LeftEncrypted { .. })));
    let end = secret.rfind("sops:").expect("metadata");
    let merged = format!("{}<<:\n    stringData: {{password: ''}}\n{}", &secret[..end], &secret[end..]);
    let result = emission_of(&[("a.yaml", &merged)]);
    assert!(matches!(result, Err(RenderError::LeftEncrypted { .. })), "{:?}", result.err());
}

#[test]
fn items_of_lists_are_not_lost() {
    let list =
        "apiVersion: v1\nkind: SecretList\nitems:\n- metadata: {name: a}\n  stringData:\n    x: hunter2\n";
    let emission =
        emission_of(&[("a.yaml", &encrypted(list, Format::Yaml, "^stringData$"))]).expect("rendered");
    assert_eq!(
        (&emission.objects[0]["kind"], &emission.objects[0]["apiVersion"]),
        (&json!("Secret"), &json!("v1"))
    );
    let nested = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items:\n  - {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n  - {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n";
    let emission = emission_of(&[("a.yaml", nested)]).expect("rendered");
    let names: Vec<_> = emission.objects.iter().map(|object| &object["metadata"]["name"]).collect();
    assert_eq!(names, ["a", "b"]);
    let odd = "apiVersion: v1\nkind: List\nitems:\n- x: 1\n";
    assert!(matches!(emission_of(&[("a.yaml", odd)]), Err(RenderError::Object { .. })));
}

#[test]
fn documents_of_a_file_may_be_encrypted_one_by_one() {
    let both = format!(
        "{}---\n{}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\n",
        secret("one", "first"),
        secret("two", "second")
    );
    let emission = emission_of(&[("all.yaml", &both)]).expect("rendered");
    assert_eq!(emission.objects.len(), 3);
    let swapped = both.replacen(&leaves(&both)[0], &leaves(&secret("one", "other"))[0], 1);
    let result = emission_of(&[("all.yaml", &swapped)]);
    assert!(matches!(result, Err(RenderError::Mac { .. })), "{:?}", result.err());
}

#[test]
fn a_value_stays_under_its_key() {
    let file = secret("one", "first");
    let thief = |key: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: thief\nstringData:\n  {key}: {}\n",
            leaves(&file)[1]
        )
    };
    let kit = || Kit::new(&[("one.yaml", &file)]);
    assert!(kit().stream(&EmitMode::Plain, &thief("other")).is_ok());
    let moved = kit().stream(&EmitMode::Plain, &thief("shown"));
    assert!(matches!(moved, Err(RenderError::LeftEncrypted { .. })), "{:?}", moved.err());
}

#[test]
fn hostile_texts_take_no_long_time() {
    let many = "ENC[AES256_GCM,".repeat(50_000);
    let stream = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{x: '{many}'}}\n");
    let kit = Kit::new(&[("one.yaml", &secret("one", "first"))]);
    let result = kit.stream(&EmitMode::Plain, &stream);
    assert!(matches!(result, Err(RenderError::LeftEncrypted { .. })), "{:?}", result.err());
    let map = encrypted("a: x\n", Format::Yaml, "");
    let maps: String = (0..300).map(|number| pasted(&format!("m{number}:\n"), &map, "  ")).collect();
    let text = format!("apiVersion: example.com/v1\nkind: Thing\nmetadata: {{name: a}}\n{maps}");
    assert!(matches!(emission_of(&[("a.yaml", &text)]), Err(RenderError::Limit(_))));
}
