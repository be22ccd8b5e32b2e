//! Tests of policies.

use serde_json::{Value as Json, json};

use super::*;
use crate::keys::KeyKind;

const POLICY: &str = "\
rules:
  - name: team a
    match:
      projects: [team-a, 'team-a-*']
      repositories: ['https://git.example/team-a/*']
    modes: [reseal, plain]
    mac: warn
    taint:
      - {kind: HelmRelease, path: spec.values.*}
    allowEmpty: true
    leastSecrets: 2
    recipients: ['age1*', 'arn:aws:kms:eu-central-1:1:key/*', 'https://*']
    kinds: [age, kms, hc_vault]
    addresses: ['https://vault.example.com']
    roles: ['arn:aws:iam::1:role/sops']
    keys: [/keys/team-a]
    ambient: [kms]
    network: true
    random: true
    limits: {documents: 1, encrypted: 2, fileBytes: 3, files: 4, outputBytes: 5, ratio: 6, seconds: 7, totalBytes: 8}
  - match: {namespaces: ['flux-*']}
    preset: flux
  - match: {}
    preset: strict
    keys: [/keys/all]
";

fn policy(text: &str) -> Result<Policy, String> {
    Policy::parse(text.as_bytes()).map_err(|error| error.to_string())
}

fn origin(project: &str, namespace: &str, repository: &str) -> Origin {
    Origin {
        project: project.to_owned(),
        namespace: namespace.to_owned(),
        repository: repository.to_owned(),
        path: String::new(),
    }
}

fn key(kind: &str, fields: &Json) -> MasterKey {
    let kind = KeyKind::from_name(kind).expect("a kind");
    MasterKey::from_metadata(kind, fields.as_object().expect("an object"))
}

#[test]
fn the_first_rule_that_is_for_an_origin_counts() {
    let policy = policy(POLICY).expect("a policy");
    for (project, namespace, repository, expected) in [
        ("team-a", "flux-system", "https://git.example/team-a/x", 1),
        ("team-a-dev", "", "https://token@git.example/team-a/x", 1),
        ("team-a", "flux-system", "https://git.example/team-b/x", 2),
        ("team-a", "", "", 3),
        ("", "", "", 3),
    ] {
        let origin = origin(project, namespace, repository);
        assert_eq!(policy.rule(&origin).expect("a rule").number, expected, "{origin}");
    }
    assert!(policy.digest().starts_with("sha256:") && policy.digest().len() == 71);
}

#[test]
fn a_rule_says_all_that_is_allowed() {
    let policy = policy(POLICY).expect("a policy");
    let rule = &policy.rules()[0];
    assert_eq!((rule.title().as_str(), rule.mode(None)), ("rule 1 (team a)", Some("reseal")));
    assert_eq!((rule.mode(Some("plain")), rule.mode(Some("defer"))), (Some("plain"), None));
    assert_eq!((rule.rule.mac, rule.rule.allow_empty, rule.rule.least_secrets), (MacRule::Warn, true, 2));
    assert!(rule.rule.allows_taint("HelmRelease", "spec.values.a.b"));
    assert!(
        !rule.rule.allows_taint("HelmRelease", "spec.chart") && !rule.rule.allows_taint("X", "spec.values.a")
    );
    assert_eq!(
        (rule.keys.as_slice(), rule.ambient.as_slice()),
        (&["/keys/team-a".to_owned()][..], &["kms"][..])
    );
    assert!(rule.rule.network && rule.rule.random);
    let expected = Limits {
        documents: 1,
        encrypted: 2,
        file_bytes: 3,
        files: 4,
        output_bytes: 5,
        ratio: 6,
        total_bytes: 8,
    };
    assert_eq!((&rule.limits, rule.seconds), (&expected, Some(7)));
}

#[test]
fn what_a_rule_does_not_say_is_not_allowed() {
    let policy = policy("rules: [{match: {}, modes: [plain]}]").expect("a policy");
    let rule = policy.rule(&Origin::default()).expect("a rule");
    let expected = Rule { addresses: Some(Vec::new()), roles: Some(Vec::new()), ..Rule::default() };
    assert_eq!(rule.rule, expected);
    assert!(rule.keys.is_empty() && rule.ambient.is_empty() && rule.seconds.is_none());
    assert_eq!(rule.limits, Limits::default());
    assert!(!rule.rule.allows_key(&key("hc_vault", &json!({"vault_address": "https://vault.example.com"}))));
    assert!(rule.rule.allows_key(&key("age", &json!({"recipient": "age1x"}))), "an own key asks no server");
}

#[test]
fn presets_are_what_they_say() {
    let policy = policy(POLICY).expect("a policy");
    let [_, flux, strict] = policy.rules() else { panic!("three rules") };
    assert!(flux.rule.allows_taint("ConfigMap", "data.x") && flux.rule.mac == MacRule::Require);
    assert_eq!(flux.modes, ["plain"]);
    assert!(!strict.rule.allows_taint("ConfigMap", "data.x"));
    assert_eq!((strict.mode(None), strict.mode(Some("plain"))), (Some("reseal"), None));
    let own = self::policy("rules: [{match: {}, preset: strict, modes: [plain], mac: require}]");
    let expected = "line 1: rules[0].mac cannot be given with the preset strict, which fixes it";
    assert_eq!(own.expect_err("it fixes the MAC"), expected);
    let own = self::policy("rules: [{modes: [fake], match: {}, taint: [], preset: flux}]").expect("a policy");
    assert_eq!((own.rules()[0].mode(None), own.rules()[0].rule.taint.len()), (Some("fake"), 0));
}

#[test]
fn keys_are_allowed_by_kind_name_address_and_role() {
    let policy = policy(POLICY).expect("a policy");
    let rule = &policy.rules()[0].rule;
    let arn = "arn:aws:kms:eu-central-1:1:key/x";
    let vault = |address: &str| json!({"vault_address": address, "engine_path": "t", "key_name": "k"});
    for (kind, fields, allowed) in [
        ("age", json!({"recipient": "age1xyz"}), true),
        ("age", json!({"recipient": "ssh-rsa x"}), false),
        ("pgp", json!({"fp": "age1"}), false),
        ("kms", json!({"arn": arn}), true),
        ("kms", json!({"arn": "arn:aws:kms:eu-central-1:2:key/x"}), false),
        ("kms", json!({"arn": arn, "role": "arn:aws:iam::1:role/sops"}), true),
        ("kms", json!({"arn": arn, "role": "arn:aws:iam::1:role/admin"}), false),
        ("kms", json!({"arn": arn, "aws_profile": "p"}), false),
        ("hc_vault", vault("https://vault.example.com"), true),
        ("hc_vault", vault("https://vault.example.com.evil.org"), false),
        ("hc_vault", vault("https://vault.example.com@evil.org"), false),
        ("hc_vault", vault("http://169.254.169.254"), false),
        ("hc_vault", vault(""), false),
    ] {
        let key = key(kind, &fields);
        assert_eq!(rule.allows_key(&key), allowed, "{key:?}");
        assert!(Rule::default().allows_key(&key), "without a policy the key services decide");
    }
}

#[test]
fn json_is_read_like_yaml() {
    let text = r#"{"rules": [{"match": {"paths": ["apps/*"]}, "modes": ["plain"], "mac": "off"}]}"#;
    let policy = policy(text).expect("a policy");
    let at = |path: &str| Origin { path: path.to_owned(), ..Origin::default() };
    assert_eq!(policy.rule(&at("apps/a")).map(|rule| rule.rule.mac), Some(MacRule::Off));
    assert!(policy.rule(&at("apps/../infra")).is_none() && policy.rule(&Origin::default()).is_none());
}

#[test]
fn what_is_not_understood_is_an_error_with_its_line() {
    for (text, expected) in [
        ("", "line 1: there is no document in the input"),
        ("rules: [\n", "line 1: "),
        ("rules: 1\n", "line 1: rules is not a list"),
        ("other: 1\n", "line 1: the field \"other\" is not known; known are rules"),
        ("rules: []\n---\nb: 1\n", "line 3: there is more than one document"),
        ("rules:\n- 1\n", "line 2: rules[0] is not a map"),
        ("rules:\n- modes: [plain]\n", "line 2: rules[0] has no match; `match: {}` is for everything"),
        ("rules:\n- match: {}\n", "line 2: rules[0] has no modes; known are defer, "),
        ("rules:\n- match: {}\n  modes: []\n", "line 3: rules[0] has no modes; known are defer, "),
        ("rules:\n- match: {}\n  modes: [plane]\n", "line 3: rules[0].modes[0] is not one of defer, fake, "),
        (
            "rules:\n- match: {}\n  mode: [plain]\n",
            "line 3: the field \"mode\" is not known; known are name, ",
        ),
        (
            "rules:\n- match: {project: [a]}\n",
            "line 2: the field \"project\" is not known; known are namespaces, ",
        ),
        ("rules:\n- match:\n    paths: []\n", "line 3: rules[0].match.paths is empty"),
        ("rules:\n- match: []\n", "line 2: rules[0].match is not a map"),
        ("rules:\n- match: {paths: [1]}\n", "line 2: rules[0].match.paths[0] is not a text"),
        ("rules:\n- match: {}\n  mac: maybe\n", "line 3: rules[0].mac is not one of require, warn, off"),
        ("rules:\n- match: {}\n  preset: loose\n", "line 3: rules[0].preset is not one of flux, strict"),
        ("rules:\n- match: {}\n  taint: [{kind: A}]\n", "line 3: rules[0].taint[0] has no path"),
        ("rules:\n- match: {}\n  kinds: [gpg]\n", "line 3: rules[0].kinds[0] is not one of "),
        (
            "rules:\n- match: {}\n  keys: [keys]\n",
            "line 3: rules[0].keys[0] is not a path that begins with /",
        ),
        ("rules:\n- match: {}\n  network: 1\n", "line 3: rules[0].network is not true or false"),
        ("rules:\n- match: {}\n  leastSecrets: -1\n", "line 3: rules[0].leastSecrets is not a whole number"),
        ("rules:\n- match: {}\n  limits:\n    files: 0\n", "line 4: rules[0].limits.files is zero"),
        (
            "rules:\n- match: {}\n  limits: {file: 1}\n",
            "line 3: the field \"file\" is not known; known are documents",
        ),
        (
            "rules:\n- match: {}\n  addresses: ['https://*.example.com']\n",
            "line 3: rules[0].addresses[0] is not an address such as https://vault.example.com",
        ),
        ("rules:\n- match: {}\n  match: {}\n", "line 3: the key \"match\" is given twice"),
    ] {
        let error = policy(text).err().unwrap_or_else(|| panic!("{text}"));
        assert!(error.starts_with(expected), "{text:?}: {error}");
    }
}

#[test]
fn a_pattern_stands_for_whole_names() {
    for (pattern, name, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("*", "a/b", true),
        ("team-*", "team-a", true),
        ("team-*", "my-team-a", false),
        ("*-b", "a-b-b", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-b-b-cd", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("ä?", "äö", true),
        ("**a**", "a", true),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
    assert!(matches_any(&["b".to_owned(), "a*".to_owned()], "ab") && !matches_any(&[], ""));
}

proptest::proptest! {
    #[test]
    fn whatever_a_file_holds_is_a_policy_or_an_error_with_a_line(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        lines in proptest::collection::vec(proptest::sample::select(LINES), 0..12),
        cut in 0..40_usize,
    ) {
        let text = lines.concat();
        let end = text.char_indices().rev().nth(cut).map_or(text.len(), |(at, _)| at);
        for text in [bytes.as_slice(), text.as_bytes(), &text.as_bytes()[..end]] {
            match Policy::parse(text) {
                Ok(policy) => {
                    let nowhere = key("hc_vault", &json!({"vault_address": ""}));
                    let origins = [Origin::default(), origin("a", "b", "c")];
                    for origin in &origins {
                        let found = policy.rule(origin);
                        let is_for = |rule: &&Arc<PolicyRule>| rule.origins.is_for(origin);
                        proptest::prop_assert_eq!(found, policy.rules().iter().find(is_for));
                        let Some(rule) = found else { continue };
                        proptest::prop_assert!(!rule.modes.is_empty());
                        proptest::prop_assert!(!rule.rule.allows_key(&nowhere), "an address that nobody allowed");
                    }
                }
                Err(error) => {
                    let count = text.split(|byte| matches!(byte, b'\r' | b'\n')).count();
                    proptest::prop_assert!((1..=count).contains(&error.line), "{}", error);
                }
            }
        }
    }

    #[test]
    fn what_no_rule_is_for_is_refused(
        projects in proptest::collection::vec("[ab*?-]{1,4}", 1..4),
        project in "[ab-]{0,4}",
    ) {
        let text = serde_json::to_vec(&json!({"rules": [{"match": {"projects": &projects}, "modes": ["plain"]}]}));
        let policy = Policy::parse(&text.expect("JSON")).expect("a policy");
        let is_one = |pattern: &String| pattern == "*" || (!project.is_empty() && matches(pattern, &project));
        let expected = projects.iter().any(is_one);
        proptest::prop_assert_eq!(policy.rule(&origin(&project, "x", "y")).is_some(), expected);
        proptest::prop_assert!(expected || !projects.contains(&project));
    }
}

/// Lines of policies, and what looks like them.
const LINES: &[&str] = &[
    "rules:\n",
    "rules: &a []\n",
    "- match: {}\n",
    "  - match: {projects: [a, '*']}\n",
    "- match:\n    namespaces: [a]\n",
    "  modes: [plain, reseal]\n",
    "  modes: *a\n",
    "  preset: flux\n",
    "  preset: strict\n",
    "  mac: off\n",
    "  taint: [{kind: '*', path: '*'}]\n",
    "  taint: [{a: b}]\n",
    "  keys: [/keys]\n",
    "  kinds: [1, ~]\n",
    "  recipients: [\"é*\"]\n",
    "  addresses: ['https://vault.example.com']\n",
    "  ambient: []\n",
    "  limits: {seconds: 99999999999999999999}\n",
    "  limits: {files: 1}\n",
    "  leastSecrets: 0x10\n",
    "  <<: {match: {}}\n",
    "# a comment\n",
    "---\n",
    "...\n",
    "  ? [a]\n  : b\n",
    "  name: |\n    a\n",
    "\r\n",
    "{{{{[[[[",
];
