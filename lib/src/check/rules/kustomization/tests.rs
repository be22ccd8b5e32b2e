use super::*;
use crate::check::test_kit::{Repository, found};

fn clear(path: &str, text: &str) -> Vec<String> {
    found("K8S003", path, text)
}

#[test]
fn literals_of_generators_are_found() {
    let text = "kind: Kustomization\nsecretGenerator:\n- name: db\n  literals:\n  - username=admin\n  - password=\"hunter2\"\n  \
                - token=${TOKEN}\n  - empty=\n  - x=changeme\n";
    let wanted = ["5 /secretGenerator/0/literals/0", "6 /secretGenerator/0/literals/1"];
    assert_eq!(clear("a/kustomization.yaml", text), wanted);
    assert_eq!(clear("a/x.yaml", text), wanted);
    let text = text.replace("kind: Kustomization", "# none");
    assert_eq!(clear("a/kustomization.yml", &text), wanted);
    assert_eq!(clear("a/Kustomization", &text), wanted);
    assert!(clear("a/x.yaml", &text).is_empty());
}

#[test]
fn files_of_generators_are_followed() {
    let text = "secretGenerator:\n- name: db\n  envs:\n  - db.env\n  - ../shared/b.env\n  files:\n  - tls.crt\n  \
                - conf=conf/app.yaml\n  - missing.txt\n  - enc.yaml\n";
    let repository = Repository::default()
        .with("a/kustomization.yaml", text)
        .with("a/db.env", "# x\nA=${A}\nB=hunter2\n")
        .with("shared/b.env", "A=changeme\nB=\n")
        .with("a/tls.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .with("a/conf/app.yaml", "a: 1\nb: hunter2\n")
        .with("a/other.env", "A=hunter2\n");
    let found: Vec<_> =
        repository.check().into_iter().filter(|finding| finding.rule.id == "K8S003").collect();
    let places: Vec<_> = found.iter().map(|finding| (finding.start.line, finding.message.as_str())).collect();
    let wanted = [
        (4, "a generator makes a Secret of a/db.env, which is in clear (line 3)"),
        (8, "a generator makes a Secret of a/conf/app.yaml, which is in clear (line 2)"),
    ];
    assert_eq!(places, wanted);
    assert_eq!(found[0].remedy, "kubectl seal encrypt -i a/db.env");
}

#[test]
fn a_file_that_is_decrypted_in_place_is_told() {
    let text = "secretGenerator:\n- name: db\n  envs: [db.env]\n  files: [k=x/key.txt]\n";
    let repository = Repository::default()
        .with("a/kustomization.yaml", text)
        .with_old("a/kustomization.yaml", text)
        .with("a/db.env", "# x\nA=${A}\nB=hunter2\n")
        .with("a/x/key.txt", "hunter2\n")
        .with("a/other.env", "B=hunter2\n");
    assert_eq!(repository.found(), ["K8S003 a/db.env:3", "K8S003 a/x/key.txt:1"]);
}

#[test]
fn files_of_settings_are_errors_only_where_something_secret_is_named() {
    let text = "secretGenerator:\n- name: db\n  files: [app.yaml]\n";
    let severity = |settings: &str| {
        let repository = Repository::default().with("kustomization.yaml", text).with("app.yaml", settings);
        let found = repository.check().into_iter().find(|finding| finding.rule == &RULE);
        found.map(|finding| finding.severity)
    };
    assert_eq!(severity("level: info\ndb: {password: hunter2}\n"), Some(Severity::Error));
    assert_eq!(severity("level: info\n"), Some(Severity::Warning));
    assert_eq!(severity("hunter2\n"), Some(Severity::Error));
    assert_eq!(severity("db: {password: '${P}'}\n"), None);
    // The word alone makes no manifest of it.
    let repository =
        Repository::default().with("kustomization.yaml", text).with_old("kustomization.yaml", text);
    let repository = repository.with("app.yaml", "db: {password: hunter2}\nof: some kind\n");
    assert_eq!(repository.found(), ["K8S003 app.yaml:1"]);
}

#[test]
fn targets_of_patches_are_regular_expressions() {
    let text = "patches:\n- target: {kind: Secret.*}\n  patch: |\n    - op: add\n      path: /data/a\n      value: aHVudGVyMg==\n";
    assert_eq!(clear("kustomization.yaml", text), ["6 /patches/0/patch"]);
    let text = text.replace("kind: Secret.*", "name: db");
    assert!(clear("kustomization.yaml", &text).is_empty());
    assert_eq!(
        clear("kustomization.yaml", &text.replace("/data/a", "/data/password")),
        ["6 /patches/0/patch"]
    );
}

#[test]
fn encrypted_files_of_generators_are_left_alone() {
    let judge = |path: &str, text: &str| {
        let content = crate::check::decode(text.as_bytes());
        super::super::environment_file::is_encrypted(&File::new(
            path,
            text.as_bytes(),
            &content,
            crate::check::Mode::File,
        ))
    };
    assert!(judge("a.env", "A=ENC[AES256_GCM,data:a,iv:b,tag:c,type:str]\nsops_mac=x\n"));
    assert!(judge("a.yaml", "a: b\nsops:\n  mac: x\n"));
    assert!(judge("a.txt", "{\"data\": \"x\", \"sops\": {\"mac\": \"x\"}}"));
    assert!(!judge("a.yaml", "a: sops\n"));
}

#[test]
fn inline_patches_of_secrets_are_found() {
    let text = "kind: Kustomization\npatches:\n- target: {kind: Secret, name: db}\n  patch: |-\n    - op: replace\n      \
                path: /data/password\n      value: aHVudGVyMg==\n    - op: add\n      path: /metadata/labels/a\n      \
                value: b\n- patch: |\n    kind: Secret\n    metadata: {name: db}\n    stringData:\n      password: hunter2\n      \
                token: ${TOKEN}\n- patch: |\n    kind: ConfigMap\n    data:\n      a: b\npatchesStrategicMerge:\n- x.yaml\n- |-\n  \
                kind: Secret\n  data:\n    a: aHVudGVyMg==\n    b: Y2hhbmdlbWU=\n";
    let wanted = ["7 /patches/0/patch", "15 /patches/1/patch", "26 /patchesStrategicMerge/1"];
    assert_eq!(clear("a/kustomization.yaml", text), wanted);
    let text = "kind: Kustomization\napiVersion: kustomize.toolkit.fluxcd.io/v1\nmetadata: {name: k}\nspec:\n  patches:\n  - target: {kind: Secret}\n    \
                patch: '[{\"op\": \"add\", \"path\": \"/data/a\", \"value\": \"aHVudGVyMg==\"}]'\n";
    assert_eq!(clear("flux.yaml", text), ["7 /spec/patches/0/patch"]);
}

#[test]
fn files_of_operations_are_found_by_who_applies_them() {
    let patch = "- op: replace\n  path: /data/password\n  value: aHVudGVyMg==\n";
    let kustomization =
        |kind: &str| format!("patches:\n- path: patches/p.yaml\n  target: {{kind: {kind}, name: db}}\n");
    let check = |kind: &str| {
        let repository = Repository::default()
            .with("a/kustomization.yaml", kustomization(kind))
            .with("a/patches/p.yaml", patch);
        repository.found()
    };
    assert_eq!(check("Secret"), ["K8S003 a/patches/p.yaml:3 /0/value"]);
    assert!(check("ConfigMap").is_empty());
    assert!(clear("p.yaml", patch).is_empty());
    let patch = "[\n  {\"op\": \"add\", \"path\": \"/stringData/password\",\n   \"value\": \"hunter2\"},\n  {\"op\": \"add\", \"path\": \"/stringData\", \"value\": {\"a\": \"b\"}}\n]\n";
    assert_eq!(clear("p.json", patch), ["3 /0/value", "4 /1/value/a"]);
}

#[test]
fn other_patches_are_left_alone() {
    let text = "- op: remove\n  path: /stringData/password\n- op: add\n  path: /stringData/a\n  value: ${A}\n- op: add\n  path: /stringDatas\n  value: x\n";
    assert!(clear("p.yaml", text).is_empty());
    let text = "kind: Kustomization\npatches:\n- target: {kind: Deployment}\n  patch: |-\n    - op: add\n      path: /data/x\n      value: y\n\
                - patch: |\n    kind: Secret\n    metadata: {name: x}\n    $patch: delete\n- target: {kind: Secret}\n  patch: |\n    - op: add\n      path: /data/ca.crt\n      value: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==\n";
    assert!(clear("kustomization.yaml", text).is_empty());
}

#[test]
fn paths_stay_in_the_repository() {
    assert_eq!(resolve("a/b", "../c/./d").as_deref(), Some("a/c/d"));
    assert_eq!(resolve("", "x").as_deref(), Some("x"));
    for path in ["../../../x", "/x", "https://example.org/x", ""] {
        assert_eq!(resolve("a", path), None, "{path}");
    }
}
