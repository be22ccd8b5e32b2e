use super::*;
use crate::check::test_kit::Repository;
use crate::check::{Standing, rule};

fn error(text: &str) -> String {
    Config::parse(text.as_bytes()).expect_err("an error").to_string()
}

fn severity(config: &Config, id: &str, path: &str) -> Severity {
    let rule = rule(id).expect("a rule");
    config.severity(rule, path, rule.severity)
}

#[test]
fn every_field_is_read() {
    let text = "\
version: 1
sops: {config: auto, require-mac: always}
sealed: {cert: ./sealed-secrets/pub-cert.pem}
rules: {K8S006: error, SOPS008: warning, SOPS002: {severity: warning, reason: \"a migration\"}}
paths:
- {match: \"docs/**\", rules: {K8S001: warning}, reason: \"made up\"}
- match: [\"docs/real/**\", \"*.tf\"]
  rules: {K8S001: error, K8S006: off}
placeholders: [\"CHANGE_ME_*\", \"<{your,my} ????word>\"]
extra-kinds:
- {group: example.org, kind: Vaulted, encrypted: spec.values}
- {kind: Other, encrypted: [spec, a.b]}
scope: changed-line
fix: stage
strict: true
allow:
- {path: \"demo/*.json\", pointer: /data/, rule: [K8S001, K8S002], reason: \"a demo\", until: 2027-06-30}
";
    let config = Config::parse(text.as_bytes()).expect("a configuration");
    assert_eq!(config.require_mac(), RequireMac::Always);
    assert_eq!(config.sealing_cert(), Some("sealed-secrets/pub-cert.pem"));
    assert_eq!((config.scope(), config.fix(), config.strict), (Scope::ChangedLine, FixMode::Stage, true));
    assert_eq!(severity(&config, "K8S006", "a.yaml"), Severity::Error);
    assert_eq!(severity(&config, "SOPS002", "a.yaml"), Severity::Warning);
    assert_eq!(severity(&config, "K8S001", "a.yaml"), Severity::Error);
    assert_eq!(severity(&config, "K8S001", "docs/a.yaml"), Severity::Warning);
    assert_eq!(severity(&config, "K8S001", "docs/real/a.yaml"), Severity::Error);
    assert_eq!(severity(&config, "K8S006", "x/y.tf"), Severity::Off);
    assert!(config.is_placeholder("CHANGE_ME_NOW") && config.is_placeholder("<my password>"));
    assert!(!config.is_placeholder("x CHANGE_ME_NOW") && !config.is_placeholder(""));
    let kinds = config.extra_kinds();
    assert_eq!((kinds[0].group.as_str(), kinds[0].kind.as_str()), ("example.org", "Vaulted"));
    assert_eq!(
        (kinds[0].encrypted.as_slice(), kinds[1].encrypted.as_slice()),
        (&["spec".to_owned(), "values".to_owned()][..], &["spec".to_owned(), "a.b".to_owned()][..])
    );
    let allow = &config.allow()[0];
    assert_eq!((allow.pointer.as_str(), allow.rules.len(), allow.until.is_some()), ("/data", 2, true));
    assert_eq!(config.allow_at("demo/a.json").count(), 1);
    assert_eq!(config.allow_at("demo/a/b.json").count(), 0);
    let said = config.describe();
    assert!(said.contains(&"K8S001 in docs/**: warning (made up)".to_owned()), "{said:?}");
    assert!(
        said.contains(
            &"K8S001, K8S002 is allowed in demo/*.json at /data until 2027-06-30 (a demo)".to_owned()
        )
    );
    assert!(said.contains(&"scope: changed-line".to_owned()) && said.contains(&"fix: stage".to_owned()));
}

#[test]
fn nothing_said_is_what_holds_without_a_configuration() {
    for text in ["", "# nothing\n", "---\n", "version: 1\n", "\u{feff}version: 1\n"] {
        let config = Config::parse(text.as_bytes()).expect("a configuration");
        assert_eq!(config.describe(), Config::default().describe(), "{text}");
        assert_eq!(severity(&config, "K8S006", "a.yaml"), Severity::Warning);
    }
}

#[test]
fn what_does_not_exist_is_an_error_at_its_line() {
    for (text, wanted) in [
        ("version: 1\nrulez: {}", "line 2: the configuration has no field `rulez`; did you mean `rules`?"),
        ("rules:\n  K8S01: off", "line 2: `rules` has no rule `K8S01`; did you mean `K8S001`?"),
        ("rules:\n\n  K8S002: wanring", "line 3: `K8S002` is `wanring`; it can be `off`, `warning`, `error`"),
        ("rules: [K8S002]", "line 1: `rules` must be a map"),
        ("rules: {K8S002: {reason: x}}", "line 1: K8S002 has no `severity`"),
        ("version: 2", "line 1: `version` is `2`; it can be `1`"),
        ("fix: yes", "line 1: `fix` is `yes`; it can be `off`, `suggest`, `stage`"),
        ("sops: {config: x}", "line 1: `config` is `x`; it can be `auto`"),
        ("strict: true\nstrict: false", "line 2: `strict` is given twice"),
        ("a: [", "line 1: it is not valid YAML"),
        (
            "paths:\n- {match: **/a, rules: {}}",
            "line 2: it is not valid YAML; put what begins with `*` in quotes",
        ),
        ("a: 1\n---\nb: 1", "line 2: there is more than one document"),
        ("paths:\n- {rules: {}}", "line 2: an entry of `paths` has no `match`"),
        ("paths:\n- {match: 'a[', rules: {}}", "line 2: a glob has `[` that nothing ends"),
        ("allow: {}", "line 1: `allow` must be a list"),
        ("allow:\n- {path: a, rule: K8S001}", "line 2: an entry of `allow` has no `reason`"),
        ("allow:\n- {path: a, rule: META003, reason: x}", "line 2: META003 cannot be allowed"),
        (
            "allow:\n- path: a\n  rule: K8S001\n  reason: x\n  until: soon",
            "line 5: `until` is a day, such as 2027-06-30",
        ),
        (
            "allow:\n- {path: a, rule: K8S001, reason: x, pointer: data}",
            "line 2: a pointer begins with `/`, such as `/data/password`",
        ),
        ("placeholders: ['*']", "line 1: a placeholder has two letters or digits at least"),
        (
            "placeholders:\n- xx\n- '[a-zA-Z0-9]*'",
            "line 3: a placeholder has three letters or digits at least that all values like it have",
        ),
        (
            "placeholders: ['{*,aa}']",
            "line 1: a placeholder has three letters or digits at least that all values like it have",
        ),
        (
            "placeholders: [abc, '*{a,c,e,k,q}*{b,f,7,z,h}*{1,n,r,W,2}*']",
            "line 1: a placeholder matches what any secret may be",
        ),
        ("extra-kinds: [{kind: A}]", "line 1: an entry of `extra-kinds` has no `encrypted`"),
        ("sealed: {cert: ../a.pem}", "line 1: `cert` is a path from the top of the repository on"),
        ("- a", "line 1: the configuration must be a map"),
        ("\"a\\nb\": 1", "line 1: the configuration has no field `a\\nb`"),
    ] {
        assert_eq!(error(text), wanted, "{text}");
    }
}

#[test]
fn what_protects_most_is_not_made_less_without_a_reason() {
    for id in ["K8S001", "KEY001", "SOPS001", "SOPS011", "META001"] {
        for text in
            [format!("rules: {{{id}: off}}"), format!("paths: [{{match: 'docs/**', rules: {{{id}: off}}}}]")]
        {
            let wanted = format!(
                "line 1: {id} is made less without a reason: write `{id}: {{severity: off, reason: …}}`"
            );
            assert_eq!(error(&text), wanted);
        }
        for text in [
            format!("rules: {{{id}: {{severity: off, reason: x}}}}"),
            format!("paths: [{{match: 'docs/**', rules: {{{id}: off}}, reason: x}}]"),
        ] {
            assert!(Config::parse(text.as_bytes()).is_ok(), "{text}");
        }
    }
    let found = |text: &str, found: Severity| {
        let config = Config::parse(text.as_bytes()).expect("a configuration");
        config.severity(rule("SOPS012").expect("a rule"), "a.yaml", found)
    };
    // What it has anyhow takes nothing from what the rule finds worse, but with a reason.
    assert_eq!(found("rules: {SOPS012: warning}", Severity::Error), Severity::Error);
    assert_eq!(found("rules: {SOPS012: {severity: warning, reason: x}}", Severity::Error), Severity::Warning);
    assert_eq!(
        found("rules: {SOPS012: error}\npaths: [{match: '*', rules: {SOPS012: warning}}]", Severity::Error),
        Severity::Error
    );
    assert!(Config::parse(b"rules: {META003: {severity: off, reason: x}}").is_err());
    assert!(Config::parse(b"rules: {SOPS011: warning, SOPS012: error, K8S002: off}").is_ok());
}

#[test]
fn hostile_configurations_are_refused_quickly() {
    let many = format!("allow: [{}]", "{path: a, rule: K8S001, reason: x},".repeat(1_001));
    assert_eq!(error(&many), "line 1: a list has more than 1000 items");
    let deep = format!("rules: {}", "[".repeat(100_000));
    assert!(Config::parse(deep.as_bytes()).is_err());
    let large = format!(
        "placeholders: [{}]",
        "'????????????????????????????????????????????????????????????abc',".repeat(1_000)
    );
    assert!(Config::parse(large.as_bytes()).is_ok() || error(&large).contains("too large"));
    assert!(error(&" ".repeat(2 << 20)).contains("larger"));
    assert!(Config::parse(&[0xff, 0, 1, 2, 0, 0, 0, 9, 9]).is_err());
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nplaceholders: *b\n";
    assert!(Config::parse(bomb.as_bytes()).is_err());
}

#[test]
fn the_examples_of_the_documentation_hold() {
    let text = include_str!("../../../../docs/checks.md");
    let examples: Vec<_> =
        text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let configuration =
        examples.iter().find(|example| example.starts_with("version: 1\n")).expect("an example");
    let config = Config::parse(configuration.as_bytes()).expect("a configuration");
    assert_eq!(severity(&config, "K8S001", "docs/a.yaml"), Severity::Warning);
    assert_eq!((config.allow().len(), config.extra_kinds().len()), (1, 1));
    let comment = examples.iter().find(|example| example.starts_with("# seal:allow")).expect("an example");
    let file = comment.replace("password: demo", concat!("password: \"Xk9", "vRt2Lq\""));
    let found = |text: &str| {
        let found = Repository::default().with("chart/values.yaml", text).check();
        found.into_iter().map(|finding| (finding.rule.id, finding.standing)).collect::<Vec<_>>()
    };
    let (_, value) = file.split_once('\n').expect("two lines");
    assert_eq!(found(value), [("K8S006", Standing::New)]);
    assert_eq!(found(&file), [("K8S006", Standing::Allowed("the demo's own user".to_owned()))]);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "((version|rules|paths|allow|scope|K8S001|match|reason|path): ?|[-\\[\\]{},\"' \n*&a!|>:]){0,40}") {
        if let Ok(config) = Config::parse(text.as_bytes()) {
            let _ = config.describe();
            proptest::prop_assert!(weaker(&config, &config).is_empty());
        }
    }
}
