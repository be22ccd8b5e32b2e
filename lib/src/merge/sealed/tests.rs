use super::*;

/// Says of all values that they hold the same, or of none.
struct Says(Option<bool>);

impl SameValue for Says {
    fn same(&self, _: &SealedValue<'_>, _: &SealedValue<'_>) -> Option<bool> {
        self.0
    }
}

fn run(base: Option<&str>, ours: &str, theirs: &str, keys: &dyn SameValue) -> Result<MergedFile, MergeError> {
    let sides = Sides { base: base.map(SecretBytes::from), ours: ours.into(), theirs: theirs.into() };
    merge(Format::Yaml, sides, keys)
}

fn shown(text: &SecretBytes) -> String {
    String::from_utf8_lossy(text.expose_secret()).into_owned()
}

fn merged(base: &str, ours: &str, theirs: &str) -> String {
    let merged = run(Some(base), ours, theirs, &KeyRegistry::new()).expect("merges");
    assert_eq!(merged.conflicts, []);
    assert!(merged.ours.is_same(&merged.theirs));
    shown(&merged.ours)
}

fn conflicts(base: &str, ours: &str, theirs: &str) -> Vec<(ConflictKind, String)> {
    let merged = run(Some(base), ours, theirs, &KeyRegistry::new()).expect("merges");
    let told = |conflict: &Conflict| (conflict.kind, conflict.path.to_string());
    let told: Vec<_> = merged.conflicts.iter().map(told).collect();
    if told.iter().any(|(kind, _)| *kind == ConflictKind::SealedForOther) {
        assert_eq!((shown(&merged.ours).as_str(), shown(&merged.theirs).as_str()), (ours, theirs));
    }
    told
}

/// A SealedSecret. The texts of values are not what the controller could open, which nobody looks at.
fn sealed(name: &str, scope: Option<&str>, values: &[(&str, &str)]) -> String {
    let annotations = scope.map_or_else(String::new, |scope| {
        format!("  annotations:\n    sealedsecrets.bitnami.com/{scope}: \"true\"\n")
    });
    let values: String = values.iter().map(|(key, value)| format!("    {key}: {value}\n")).collect();
    let (namespace, name) = name.split_once('/').expect("a namespace and a name");
    format!(
        "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: {name}\n  namespace: \
         {namespace}\n{annotations}spec:\n  encryptedData:\n{values}  template:\n    type: Opaque\n"
    )
}

const CONFIG: &str =
    "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  a: x\n  b: x\n  c: x\n";
const ITEM: &str = r#"["spec"]["encryptedData"]["new"]"#;

#[test]
fn values_that_one_side_changed_are_taken_as_they_are() {
    let base =
        sealed("n/a", None, &[("a", "AgA1"), ("b", "AgB1"), ("m", "AgM"), ("n", "AgN"), ("c", "AgC1")]);
    let ours = base.replace("AgA1", "AgA2");
    let theirs = base.replace("AgC1", "AgC2").replace("Opaque", "kubernetes.io/tls");
    let both = ours.replace("AgC1", "AgC2").replace("Opaque", "kubernetes.io/tls");
    assert_eq!(merged(&base, &ours, &theirs), both);
}

#[test]
fn other_objects_are_merged_beside() {
    let base = format!("{}{CONFIG}", sealed("n/a", None, &[("a", "AgA1")]));
    let (ours, theirs) = (base.replace("AgA1", "AgA2"), base.replace("c: x", "c: y"));
    assert_eq!(merged(&base, &ours, &theirs), ours.replace("c: x", "c: y"));
}

#[test]
fn a_value_for_another_name_is_no_clean_merge() {
    let values = [("a", "AgA1"), ("m", "AgM"), ("n", "AgN"), ("o", "AgO")];
    let anew = values.map(|(key, _)| (key, if key == "a" { "AgA9" } else { "AgX9" }));
    let more = [&values[..], &[("new", "AgNew")]].concat();
    for (name, scope, to, to_scope) in [
        ("n/a", None, "n/b", None),
        ("n/a", None, "o/a", None),
        ("n/a", None, "n/a", Some("namespace-wide")),
        ("n/a", Some("namespace-wide"), "o/a", Some("namespace-wide")),
        ("n/a", Some("cluster-wide"), "n/a", None),
    ] {
        let base = sealed(name, scope, &values);
        let (renamed, added) = (sealed(to, to_scope, &anew), sealed(name, scope, &more));
        for (ours, theirs) in [(&renamed, &added), (&added, &renamed)] {
            let found = conflicts(&base, ours, theirs);
            assert!(!found.is_empty(), "{name} {scope:?} {to} {to_scope:?}");
        }
    }
}

#[test]
fn a_value_sealed_for_the_old_name_is_told_with_its_place() {
    let base = format!("{}{CONFIG}", sealed("n/a", None, &[("a", "AgA1"), ("z", "AgZ")]));
    let renamed = base.replace("name: a", "name: b").replace("AgA1", "AgA9").replace("AgZ", "AgZ9");
    let result = sealed("n/b", None, &[("a", "AgA9"), ("new", "AgNew")]);
    let tree = Format::Yaml.read(result.as_str()).expect("a document");
    let read = |text: &str| {
        let tree = Format::Yaml.read(text).expect("a document");
        Sealed::read(&tree, Side::Ours).expect("objects")
    };
    let added = sealed("n/a", None, &[("a", "AgA1"), ("new", "AgNew")]);
    let found = misplaced(&tree, &read(&result), [&read(&renamed), &read(&added)]);
    let found: Vec<_> = found.iter().map(|(document, path)| (*document, path.to_string())).collect();
    assert_eq!(found, [(0, ITEM.to_owned())]);
}

#[test]
fn names_count_even_if_the_scope_does_not() {
    let values: &[(&str, &str)] = &[("a", "AgA1"), ("m", "AgM"), ("n", "AgN"), ("o", "AgO")];
    for (scope, from, to) in [("cluster-wide", "n/a", "o/b"), ("namespace-wide", "n/a", "n/b")] {
        let (base, ours) = (sealed(from, Some(scope), values), sealed(to, Some(scope), values));
        let theirs = base.replace("AgO", "AgO2");
        let place = (ConflictKind::SealedForOther, r#"["spec"]["encryptedData"]["o"]"#.to_owned());
        assert_eq!(conflicts(&base, &ours, &theirs), [place]);
        let theirs = base.replace("Opaque", "kubernetes.io/tls");
        assert_eq!(merged(&base, &ours, &theirs), ours.replace("Opaque", "kubernetes.io/tls"));
    }
}

#[test]
fn an_object_in_the_place_of_another_gets_none_of_its_values() {
    let scope = Some("cluster-wide");
    let keep = sealed("n/keep", scope, &[("k", "AgK")]);
    for rest in [String::new(), format!("---\n{keep}")] {
        let base = sealed("n/db", scope, &[("pw", "AgP")]) + &rest;
        let ours = sealed("n/web", scope, &[("token", "AgT")]) + &rest;
        let theirs = sealed("n/db", scope, &[("pw", "AgP"), ("replica", "AgR")]) + &rest;
        for (ours, theirs) in [(&ours, &theirs), (&theirs, &ours)] {
            assert_eq!(conflicts(&base, ours, theirs).len(), 1);
        }
    }
}

#[test]
fn what_is_the_same_sealed_twice_is_ours() {
    let base = sealed("n/a", None, &[("a", "AgA1"), ("m", "AgM")]);
    let (ours, theirs) = (base.replace("AgA1", "AgA2"), base.replace("AgA1", "AgA3"));
    let same = run(Some(&base), &ours, &theirs, &Says(Some(true))).expect("merges");
    assert_eq!((same.conflicts.len(), shown(&same.ours)), (0, ours.clone()));
    for says in [None, Some(false)] {
        let result = run(Some(&base), &ours, &theirs, &Says(says)).expect("merges");
        assert_eq!(result.conflicts.len(), 1);
        assert_eq!((shown(&result.ours), shown(&result.theirs)), (ours.clone(), theirs.clone()));
    }
    let added = run(None, &ours, &theirs, &Says(Some(true))).expect("merges");
    assert_eq!((added.conflicts.len(), shown(&added.ours)), (0, ours.clone()));
    // What one side left as it was is not asked about: the other side has a reason to seal it anew.
    let anew = run(Some(&base), &base.replace("AgM", "AgM2"), &theirs, &Says(Some(true))).expect("merges");
    assert!(shown(&anew.ours).contains("AgA3"));
}

#[test]
fn a_file_of_sops_and_what_cannot_be_read_are_errors() {
    let base = sealed("n/a", None, &[("a", "AgA1")]);
    let ours = base.replace("AgA1", "AgA2");
    let sops = format!("{base}sops:\n  mac: x\n");
    assert_eq!(
        run(Some(&base), &ours, &sops, &Says(None)).err(),
        Some(MergeError::Encrypted { side: Side::Theirs })
    );
    let broken = base.replace("v1alpha1", "v9").replace("AgA1", "AgA3");
    let error = run(Some(&base), &broken, &ours, &Says(None)).err();
    assert!(matches!(error, Some(MergeError::Object { side: Side::Ours, line: 1, .. })));
    let error = run(Some(&base), &ours, "a: [\n", &Says(None)).err();
    assert!(matches!(error, Some(MergeError::Open { side: Side::Theirs, error: DecryptError::Parse(_) })));
    let unchanged = run(Some(&base), &base, &ours, &Says(None)).expect("merges");
    assert_eq!(shown(&unchanged.ours), ours);
}

#[cfg(feature = "aws-lc")]
#[test]
fn private_keys_tell_whether_values_are_the_same() {
    use serde_json::json;

    use crate::sealed::{Key, KeySize, SealedSecret, SealingCert, SealingKey, Secret};

    let key = SealingKey::generate(KeySize::Rsa2048).expect("a key");
    let (start, year) = (time::OffsetDateTime::UNIX_EPOCH, time::Duration::days(365));
    let rng = &mut rand::rngs::OsRng;
    let cert = SealingCert::generate(&key, "", start, year, rng).expect("a certificate");
    let mut seal = |value: &str, name: &str| {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "n"},
            "stringData": {"a": value}});
        let secret = Secret::from_json(&secret).expect("a Secret");
        SealedSecret::seal(&secret, &cert, rng).expect("seals")
    };
    let (one, again, two, other) = (seal("one", "a"), seal("one", "a"), seal("two", "a"), seal("one", "b"));
    let mut keys = KeyRegistry::new();
    let value = |object| SealedValue { object, key: "a" };
    assert_eq!(keys.same(&value(&one), &value(&again)), None);
    keys.add(Key::new(key, "the key"));
    assert_eq!(keys.same(&value(&one), &value(&again)), Some(true));
    assert_eq!(keys.same(&value(&one), &value(&two)), Some(false));
    assert_eq!(keys.same(&value(&one), &value(&other)), Some(true));
    let missing = SealedValue { object: &one, key: "b" };
    assert_eq!(keys.same(&value(&one), &missing), None);
}
