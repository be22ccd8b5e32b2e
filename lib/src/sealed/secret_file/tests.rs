use rand::rngs::OsRng;
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::sealed::{Key, KeyRegistry, KeySize, Sealing, SealingCert, SealingKey, Unseal};

fn pair() -> (KeyRegistry, SealingCert) {
    let key = SealingKey::generate(KeySize::Rsa2048).expect("a new key");
    let cert = SealingCert::generate(&key, "", OffsetDateTime::UNIX_EPOCH, Duration::days(1), &mut OsRng);
    let mut keys = KeyRegistry::new();
    keys.add(Key::new(key, "new"));
    (keys, cert.expect("a certificate"))
}

fn read(format: Format, text: &str) -> Result<SecretFile, SecretFileError> {
    SecretFile::new(format, format.read(text)?)
}

fn seal(format: Format, text: &str, cert: &SealingCert) -> Result<String, SecretFileError> {
    let file = read(format, text)?;
    let seal = |object: &SecretObject| {
        SealedSecret::seal(&object.secret, cert, &mut OsRng).expect("it can be sealed")
    };
    let sealed: Vec<_> = file.secrets().iter().map(seal).collect();
    let result = file.replace(&sealed)?;
    Ok(String::from_utf8(result.expose_secret().to_vec()).expect("it is text"))
}

/// Returns a text with every item in it masked.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("AQ").filter(|&at| rest[at..].len() > 300) {
        out.push_str(&rest[..at]);
        out.push('…');
        let end = rest[at..].find(|c: char| !(c.is_ascii_alphanumeric() || "+/=".contains(c)));
        rest = &rest[at + end.unwrap_or(rest.len() - at)..];
    }
    out + rest
}

fn error(text: &str) -> String {
    read(Format::Yaml, text).err().map(|error| error.to_string()).unwrap_or_default()
}

const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: ns}\n";

#[test]
fn secrets_of_documents_and_lists_are_replaced_and_nothing_else_is() {
    let (_, cert) = pair();
    let text = "# head\n---\n# of the Secret\napiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n  namespace: ns\nstringData:\n  a: |\n    one\n    two\n\n\
                ---\nkind:   ConfigMap # stays\ndata: {a:   b}\n---\napiVersion: v1\nkind: List\nitems:\n  # first\n  - kind: Secret\n    apiVersion: v1\n    metadata: {name: m, namespace: ns}\n    data: {b: eA==} # gone\n  # second\n  - {kind: Secret, apiVersion: v1, metadata: {name: o, namespace: ns}, data: {b: eA==}} # stays\n  - kind: Service";
    let expected = "# head\n---\n# of the Secret\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: db\n  namespace: ns\nspec:\n  encryptedData:\n    a: …\n  template:\n    metadata:\n      name: db\n      namespace: ns\n\n\
                ---\nkind:   ConfigMap # stays\ndata: {a:   b}\n---\napiVersion: v1\nkind: List\nitems:\n  # first\n  - apiVersion: bitnami.com/v1alpha1\n    kind: SealedSecret\n    metadata:\n      name: m\n      namespace: ns\n    spec:\n      encryptedData:\n        b: …\n      template:\n        metadata:\n          name: m\n          namespace: ns\n  # second\n  - {\"kind\":\"SealedSecret\",\"apiVersion\":\"bitnami.com/v1alpha1\",\"metadata\":{\"name\":\"o\",\"namespace\":\"ns\"},\"spec\":{\"template\":{\"metadata\":{\"name\":\"o\",\"namespace\":\"ns\"}},\"encryptedData\":{\"b\":\"…\"}}} # stays\n  - kind: Service";
    assert_eq!(masked(&seal(Format::Yaml, text, &cert).expect("it can be sealed")), expected);
}

#[test]
fn line_breaks_and_ends_stay_as_they_are() {
    let (_, cert) = pair();
    let text =
        "\u{feff}apiVersion: v1\r\nkind: Secret\r\nmetadata: {name: db, namespace: ns}\r\nstringData: {a: b}";
    let sealed = seal(Format::Yaml, text, &cert).expect("it can be sealed");
    assert!(sealed.starts_with("\u{feff}apiVersion: bitnami.com/v1alpha1\r\n"), "{sealed}");
    assert!(
        sealed.ends_with("      namespace: ns") && !sealed.replace("\r\n", "").contains('\n'),
        "{sealed}"
    );
}

#[test]
fn json_keeps_its_layout() {
    let (_, cert) = pair();
    let one = r#"{"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "db", "namespace": "ns"}, "data": {"a": "eA=="}}"#;
    let sealed = seal(Format::Json, one, &cert).expect("it can be sealed");
    assert_eq!(sealed.lines().count(), 1);
    let list = format!(
        "{{\n\t\"kind\": \"List\", \"items\": [\n\t\t{},\n\t\t{{\"kind\":  1}}\n\t]\n}}\n",
        one.replace(", ", ",\n\t\t ")
    );
    let sealed = seal(Format::Json, &list, &cert).expect("it can be sealed");
    assert!(
        sealed.contains("\t\t{\n\t\t  \"kind\": \"SealedSecret\",\n")
            && sealed.ends_with("\t\t},\n\t\t{\"kind\":  1}\n\t]\n}\n"),
        "{sealed}"
    );
}

#[test]
fn a_file_without_a_secret_stays_as_it_is() {
    let (_, cert) = pair();
    let text = "kind: ConfigMap\n# x\ndata: {a: b}\n---\n# nothing\n---\na: b\n";
    assert_eq!(seal(Format::Yaml, text, &cert).expect("there is nothing to seal"), text);
}

#[test]
fn what_kubectl_reads_otherwise_is_refused_by_line() {
    let path = |entry: &str| error(&format!("{SECRET}stringData: {{{entry}}}\n"));
    for entry in
        ["a: yes", "a: 0o17", "a: 017", "a: 1.50", "a: 1_000", "a: true", "a: .inf", "a: 0x1f", "a: 1e3"]
    {
        assert_eq!(
            path(entry),
            r#"line 4: stringData["a"] is not a text to kubectl as it is written"#,
            "{entry}"
        );
    }
    assert_eq!(
        path("n: x"),
        r#"line 4: the key "n" of stringData is not a text to kubectl as it is written"#
    );
    assert_eq!(
        error("apiVersion: v1\nkind: Secret\nmetadata:\n  name: y\n  namespace: ns\n"),
        "line 4: metadata.name is not a text to kubectl as it is written"
    );
    let file = read(
        Format::Yaml,
        &format!(
            "{SECRET}stringData: {{a: 8080, b: 2001-01-01, c: 1:30, d: ~, e: 'yes', \"n\": !!str 1, f: -5}}\n"
        ),
    );
    let file = file.expect("these are the same to all");
    let data = &file.secrets()[0].secret.data;
    let texts: Vec<_> = data
        .iter()
        .map(|(key, value)| (key.as_str(), String::from_utf8_lossy(value.expose_secret())))
        .collect();
    let expected =
        [("a", "8080"), ("b", "2001-01-01"), ("c", "1:30"), ("d", ""), ("e", "yes"), ("f", "-5"), ("n", "1")];
    assert_eq!(texts, expected.map(|(key, text)| (key, text.into())));
}

#[test]
fn what_cannot_be_replaced_without_a_doubt_is_refused() {
    assert_eq!(
        error("a: ENC[AES256_GCM,data:,iv:,tag:,type:str]\nsops: {mac: x}\n"),
        "the file is encrypted by SOPS"
    );
    assert!(
        error(&format!("x: &x {{a: b}}\n---\n{SECRET}stringData: {{<<: {{a: b}}}}\n"))
            .starts_with("line 3: the object merges")
    );
    assert!(error("x: &x {kind: Secret}\n<<: *x\n").starts_with("line 1: the object merges"));
    assert_eq!(
        error("apiVersion: v1\nkind: SecretList\nitems: []\n"),
        "line 1: a SecretList cannot hold SealedSecrets; make it a List"
    );
    assert_eq!(
        error(&format!("{SECRET}data: {{a: '*'}}\n")),
        r#"line 1: data["a"] is not base64: illegal base64 data at input byte 0"#
    );
}

#[test]
fn values_that_stand_elsewhere_are_told() {
    let text = format!(
        "# was hunter2-hunter2\n{SECRET}stringData: {{password: hunter2-hunter2, other: short}}\n---\nkind: ConfigMap\ndata: {{a: aHVudGVyMi1odW50ZXIyCg==, b: short}}\n"
    );
    let file = read(Format::Yaml, &text).expect("it can be read");
    let (_, cert) = pair();
    let sealed = seal(Format::Yaml, &text, &cert).expect("it can be sealed");
    let remains = file.remains(sealed.as_bytes());
    let lines: Vec<_> = remains.iter().map(|remains| (remains.line, remains.key.as_str())).collect();
    assert_eq!(lines[0], (1, "password"));
    assert!(lines.len() == 2 && lines[1].0 > 10);
}

#[test]
fn values_in_blocks_that_stand_elsewhere_are_told() {
    let text = format!(
        "{SECRET}stringData:\n  key: |\n    first line\n    second line\n---\nkind: ConfigMap\ndata:\n  a:\n    b: |-\n        before\n        first line\n        second line\n"
    );
    let file = read(Format::Yaml, &text).expect("it can be read");
    let (_, cert) = pair();
    let sealed = seal(Format::Yaml, &text, &cert).expect("it can be sealed");
    let remains = file.remains(sealed.as_bytes());
    let line = sealed.lines().position(|line| line == "    b: |-").map(|index| index + 1);
    assert_eq!(
        remains.first().map(|remains| (Some(remains.line), remains.key.as_str())),
        Some((line, "key"))
    );
}

#[test]
fn secrets_inside_of_other_objects_are_refused() {
    let nested = "cannot be sealed there; make it a document of its own, or an item of a List";
    for (text, line) in [
        (
            "kind: Template\nobjects:\n- kind: Secret\n  apiVersion: v1\n  data: {}\n- ref: {kind: Secret}\n",
            8,
        ),
        ("kind: List\nitems:\n- kind: Other\n  spec:\n    extra: {kind: Secret, stringData: {a: b}}\n", 10),
    ] {
        let error = error(&format!("{SECRET}data: {{a: eA==}}\n---\n{text}"));
        assert_eq!(error, format!("line {line}: a Secret inside of another object {nested}"));
    }
    let typed = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: SecretList\n  items:\n  - data: {a: eA==}\n";
    assert_eq!(error(typed), "line 4: a SecretList cannot hold SealedSecrets; make it a List");
    assert_eq!(error("kind: Binding\nref: {kind: Secret, apiVersion: v1, name: x}\n"), "");
}

#[test]
fn comments_at_the_end_of_a_secret_go_with_it() {
    let (_, cert) = pair();
    let text = format!(
        "{SECRET}stringData:\n  a: b\n  # was c\n# foot\n---\n# of the next\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {{name: o, namespace: ns}}\n  stringData:\n    a: b\n    # was d\n# stays\n- kind: Other\n"
    );
    let sealed = seal(Format::Yaml, &text, &cert).expect("it can be sealed");
    assert!(!sealed.contains("# was") && !sealed.contains("# foot"), "{sealed}");
    assert!(
        sealed.contains("\n---\n# of the next\nkind: List") && sealed.contains("\n# stays\n- kind: Other"),
        "{sealed}"
    );
    assert_eq!(read(Format::Yaml, &text).map(|file| file.comments()).ok(), Some(3));
}

#[test]
fn what_sealing_takes_away_is_values_of_secrets_and_comments_inside_of_them() {
    let text = format!(
        "# head\n{SECRET}stringData:\n  a: b # c\n  # d\n---\napiVersion: example.com/v1\nkind: Secret\ndata: {{x: y}}\n"
    );
    let tree = Format::Yaml.read(text.as_str()).expect("YAML");
    let texts = |nodes: BTreeSet<NodeId>| -> Vec<String> {
        let text = |id| match tree.node(id).value {
            Value::Str(text) | Value::Comment(text) => {
                Some(String::from_utf8_lossy(tree.bytes(text)).trim().to_owned())
            }
            _ => None,
        };
        let mut texts: Vec<_> = nodes.into_iter().filter_map(text).collect();
        texts.sort();
        texts
    };
    assert_eq!(texts(replaced_nodes(Format::Yaml, &tree)), ["b", "c", "d"]);
    assert!(!texts(secret_values(&tree)).contains(&"y".to_owned()));
}

#[test]
fn many_documents_take_no_longer_each() {
    let document = |number: usize| {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: n{number}, namespace: ns}}\nstringData: {{a: b}}\n"
        )
    };
    let text: String = (0..1000).map(document).collect();
    let start = std::time::Instant::now();
    let file = read(Format::Yaml, &text).expect("it can be read");
    let sealed: Vec<_> = (0..1000)
        .map(|index| Sealing::default().prepare(&file.secrets()[index].secret))
        .map(|sealed| sealed.expect("it can be sealed"))
        .collect();
    let result = file.replace(&sealed).expect("it can be replaced");
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    assert_eq!(
        str::from_utf8(result.expose_secret()).map(|text| text.matches("SealedSecret").count()),
        Ok(1000)
    );
}

mod properties {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::template::Surroundings;

    static PAIR: LazyLock<(KeyRegistry, SealingCert)> = LazyLock::new(pair);

    /// A document, with whether it is a Secret, and the value in it.
    fn document() -> impl Strategy<Value = (String, Option<String>)> {
        let value = "[ -~\u{e9}\n]{0,40}";
        let comments = prop::sample::select(vec!["", "# head\n", "\n\n# a: b\n"]);
        let other = (comments.clone(), "[a-z]{1,8}").prop_map(|(comments, word)| {
            (format!("{comments}kind:  ConfigMap   # {word}\ndata:\n    {word}1:   'x'\n"), None)
        });
        let secret = (comments, value, any::<bool>(), any::<bool>()).prop_map(|(comments, value, is_flow, in_list)| {
            let quoted = json!(value).to_string();
            let text = match (is_flow, in_list) {
                (true, false) => format!("{comments}{{apiVersion: v1, kind: Secret, metadata: {{name: db, namespace: ns}}, stringData: {{a: {quoted}}}}}\n"),
                (false, false) => format!("{comments}{SECRET}stringData:\n  a: {quoted}\n"),
                (true, true) => format!("kind: List\nitems:\n{comments}- {{apiVersion: v1, kind: Secret, metadata: {{name: db, namespace: ns}}, stringData: {{a: {quoted}}}}}\n# foot\n"),
                (false, true) => format!("kind: List\nitems:\n- kind: Service\n{comments}- apiVersion: v1\n  kind: Secret\n  metadata: {{name: db, namespace: ns}}\n  stringData:\n    a: {quoted}\n- kind: Pod\n"),
            };
            (text, Some(value))
        });
        prop_oneof![other, secret]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn sealing_changes_secrets_alone_and_unsealing_gives_them_back(
            documents in prop::collection::vec(document(), 1..5),
        ) {
            let (keys, cert) = &*PAIR;
            let text = documents.iter().map(|(text, _)| format!("---\n{text}")).collect::<String>();
            let sealed = seal(Format::Yaml, &text, cert).expect("it can be sealed");
            // What is no Secret is there as it was, in its order.
            let mut rest = sealed.as_str();
            for (text, _) in documents.iter().filter(|(_, value)| value.is_none()) {
                let at = rest.find(text.as_str());
                prop_assert!(at.is_some(), "{sealed}");
                rest = &rest[at.unwrap_or_default() + text.len()..];
            }
            let tree = Format::Yaml.read(sealed.as_str()).expect("it can be read");
            let values: Vec<_> = objects(&tree).into_iter().filter_map(|node| {
                let object = SealedSecret::from_json(&tree.to_json(node)).ok()?;
                let mut surroundings = Surroundings { now: OffsetDateTime::UNIX_EPOCH, rng: &mut OsRng };
                let secret = object.unseal(keys, Unseal::default(), &mut surroundings).expect("the key fits");
                Some(String::from_utf8_lossy(secret.data["a"].expose_secret()).into_owned())
            }).collect();
            let expected: Vec<_> = documents.iter().filter_map(|(_, value)| value.clone()).collect();
            prop_assert_eq!(values, expected);
        }
    }
}
