use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

use super::*;
use crate::keys::age::{AgeService, Identities, IdentityKind, generate};
use crate::keys::{KeyGroup, KeyService, MasterKey, age};
use crate::render::{Limits, Memory, Rule};
use crate::sops::{Pattern, Selector};

const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData:\n  password: hunter2\n";

/// A key, and what it opens.
struct Kit {
    recipient: String,
    service: AgeService,
}

impl Kit {
    fn new(seed: u64) -> Self {
        let identity = generate(IdentityKind::X25519, &mut ChaCha20Rng::seed_from_u64(seed));
        let identities = Identities::parse("a key", &identity.secret).expect("an identity");
        Self { recipient: identity.recipient, service: AgeService::new(identities) }
    }

    fn encrypt(&self, text: &str, format: Format) -> String {
        let keys = MasterKey::parse_list(&age::KIND, &self.recipient).expect("a key");
        let mut metadata = Metadata::new(vec![KeyGroup(keys)]);
        metadata.selector =
            Selector::EncryptedRegex(Pattern::parse("^(data|stringData|password)$").expect("a regex"));
        if format != Format::Yaml {
            metadata.selector = Selector::default();
        }
        let rng = &mut ChaCha20Rng::seed_from_u64(7);
        let now = "2026-01-02T03:04:05Z";
        let encrypted =
            crate::encrypt(text, format, metadata, &[&self.service], now, rng).expect("encrypted");
        String::from_utf8(encrypted.expose_secret().to_vec()).expect("text")
    }

    fn explain(&self, path: &str, text: &str) -> Vec<Explanation> {
        explain(Some(&[&self.service]), &Rule::default(), path, text)
    }
}

fn explain(services: Option<&[&dyn KeyService]>, rule: &Rule, path: &str, text: &str) -> Vec<Explanation> {
    let limits = Limits::default();
    let engine = Engine { services, sealing_keys: None, rule, limits: &limits };
    let mut files = Memory::default();
    files.insert(path, text).expect("a path inside");
    let found = engine.explain(&files, &by_name(&files)).expect("it can be read");
    for explanation in &found {
        let told = format!("{explanation} {}", explanation.to_json());
        assert!(!told.contains("hunter2") && !told.contains("ENC["), "{told}");
    }
    found
}

fn reason(found: &[Explanation]) -> &str {
    match found {
        [Explanation { outcome: Outcome::Refused(reason), .. }] => reason,
        other => panic!("it is one that is refused: {other:?}"),
    }
}

#[test]
fn a_document_is_told_with_its_keys_and_its_rule() {
    let kit = Kit::new(1);
    let found = kit.explain("a.yaml", &kit.encrypt(SECRET, Format::Yaml));
    let [explanation] = &found[..] else { panic!("it is one: {found:?}") };
    assert_eq!(explanation.outcome, Outcome::Opens(MacVerdict::Ok));
    let json = explanation.to_json();
    assert_eq!(json["groups"][0][0]["name"], kit.recipient.as_str());
    assert_eq!(json["groups"][0][0]["tried"], true);
    assert_eq!(json["selector"]["encrypted_regex"], "^(data|stringData|password)$");
    assert_eq!((&json["encrypted"], &json["clear"]), (&1.into(), &3.into()));
    assert_eq!((&json["mac"], &json["lastModified"]), (&"present".into(), &"2026-01-02T03:04:05Z".into()));
}

#[test]
fn what_was_changed_is_refused_and_nothing_is_hidden_by_it() {
    let kit = Kit::new(1);
    let text = kit.encrypt(SECRET, Format::Yaml);
    assert!(reason(&kit.explain("a.yaml", &text.replace("name: a", "name: b"))).contains("MAC"));
    let (start, _) = text.split_once("sops:").expect("there is metadata");
    assert!(reason(&kit.explain("a.yaml", start)).contains("no file that was verified has this value"));
    assert!(reason(&kit.explain("a.env", &text)).contains("not as a dotenv file"));
    assert!(reason(&Kit::new(2).explain("a.yaml", &text)).contains("cannot be decrypted"));
}

#[test]
fn without_keys_the_mac_is_for_later() {
    let kit = Kit::new(1);
    let text = kit.encrypt(SECRET, Format::Yaml);
    let found = explain(None, &Rule::default(), "a.yaml", &text);
    assert_eq!(found[0].outcome, Outcome::Opens(MacVerdict::Deferred));
    let without: String = text
        .lines()
        .filter(|line| !line.contains(" mac: "))
        .fold(String::new(), |text, line| text + line + "\n");
    let found = explain(None, &Rule::default(), "a.yaml", &without);
    assert!(!found[0].passes(), "{found:?}");
    assert_eq!(found[0].to_json()["mac"], "missing");
}

#[test]
fn a_key_that_the_rule_does_not_allow_is_told() {
    let kit = Kit::new(1);
    let rule = Rule { recipients: Some(vec!["age1other*".to_owned()]), ..Rule::default() };
    let found = explain(Some(&[&kit.service]), &rule, "a.yaml", &kit.encrypt(SECRET, Format::Yaml));
    assert!(reason(&found).contains("the policy does not allow"));
    assert_eq!(found[0].to_json()["groups"][0][0]["tried"], false);
}

#[test]
fn documents_inside_of_values_are_found() {
    let kit = Kit::new(1);
    let dotenv = kit.encrypt("PASSWORD=hunter2\n", Format::Dotenv);
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "n"},
        "data": {"app.env": crate::sealed::encode_base64(dotenv.as_bytes())},
    });
    let found = kit.explain("a.json", &secret.to_string());
    let [explanation] = &found[..] else { panic!("it is one: {found:?}") };
    assert_eq!(explanation.place, "Secret n/a: data.app.env");
    assert_eq!(explanation.outcome, Outcome::Opens(MacVerdict::Ok));
    assert_eq!(explanation.to_json()["format"], "dotenv");
    let values = kit.encrypt("password: hunter2\n", Format::Yaml).replace('\n', "\n    ");
    let release = format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: r}}\nspec:\n  values:\n    {values}"
    );
    let found = kit.explain("r.yaml", release.trim_end());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].place.as_str(), found[0].passes()), (r#"["spec"]["values"]"#, true), "{found:?}");
}

#[test]
fn what_is_for_the_cluster_is_passed_on() {
    let kit = Kit::new(1);
    let sealed = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: s, namespace: ns}\nspec:\n  encryptedData: {a: AgB=, b: AgC=}\n";
    let found = kit.explain("s.yaml", sealed);
    assert_eq!((found.len(), &found[0].outcome), (1, &Outcome::PassedOn));
    assert_eq!(found[0].content, Content::Sealed(SealedFacts { scope: "strict", items: 2 }));
}

#[test]
fn a_stream_is_told_without_what_its_files_have() {
    let kit = Kit::new(1);
    let text = kit.encrypt(SECRET, Format::Yaml);
    let (built, _) = text.split_once("sops:").expect("there is metadata");
    let mut files = Memory::default();
    files.insert("a.yaml", text.as_str()).expect("a path inside");
    let (rule, limits) = (Rule::default(), Limits::default());
    let services: &[&dyn KeyService] = &[&kit.service];
    let engine = Engine { services: Some(services), sealing_keys: None, rule: &rule, limits: &limits };
    let found = engine.explain_stream(&built.into(), &files).expect("it can be read");
    let paths: Vec<_> = found.iter().map(|found| found.path.as_str()).collect();
    assert_eq!(paths, ["a.yaml"]);
    // As kustomize leaves the metadata where it changes a name.
    let renamed = text.replace("name: a", "name: b");
    let found = engine.explain_stream(&renamed.into(), &files).expect("it can be read");
    assert_eq!((found.len(), found[0].passes()), (1, true), "{found:?}");
    let found = engine.explain_stream(&built.into(), &Memory::default()).expect("it can be read");
    assert!(reason(&found).starts_with("document 1 of the stream: "));
}
