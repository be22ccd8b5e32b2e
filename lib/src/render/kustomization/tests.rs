use super::{Kustomization, KustomizationError, Remote};
use crate::format::Format;
use crate::render::{Memory, Role};

const LEAVES: Role = Role::Leaves(Format::Yaml);

fn files(files: &[(&str, &str)]) -> Memory {
    let mut memory = Memory::default();
    for (path, text) in files {
        memory.insert(path, *text).expect("inside");
    }
    memory
}

fn read(given: &[(&str, &str)], folder: &str) -> Result<Kustomization, KustomizationError> {
    Kustomization::read(&files(given), folder, Remote::Refuse)
}

fn error(kustomization: &str) -> String {
    let given = [("app/kustomization.yaml", kustomization), ("app/a.yaml", "a: 1\n")];
    let error = read(&given, "app").err().expect("an error");
    error.to_string()
}

/// What is encrypted as JSON and as a binary file, as far as formats can be told by it.
const JSON: &str = r#"{"a": "ENC[AES256_GCM,data:x]", "sops": {"mac": "ENC[AES256_GCM,data:y]"}}"#;
const BINARY: &str = r#"{"data": "ENC[AES256_GCM,data:x]", "sops": {"mac": "ENC[AES256_GCM,data:y]"}}"#;
const DOTENV: &str = "a=ENC[AES256_GCM,data:x]\nsops_mac=ENC[AES256_GCM,data:y]\nsops_version=3\n";
const YAML: &str = "a: ENC[AES256_GCM,data:x]\nsops:\n  mac: ENC[AES256_GCM,data:y]\n";

#[test]
fn every_field_that_names_files_gives_them_roles() {
    let kustomization = "
resources: [r.yaml, ../base]
components: [../component]
patches: [{path: p1.yaml}, {patch: 'a: 1'}]
patchesStrategicMerge: [p2.yaml, '{apiVersion: v1}']
patchesJson6902: [{path: p3.json}]
replacements: [{path: p4.yaml}, {source: {kind: Secret}}]
crds: [c.json]
configurations: [c.yaml]
openapi: {path: o.json}
";
    let found = read(
        &[
            ("app/kustomization.yaml", kustomization),
            ("app/r.yaml", ""),
            ("app/p1.yaml", ""),
            ("app/p2.yaml", ""),
            ("app/p3.json", ""),
            ("app/p4.yaml", ""),
            ("app/c.json", ""),
            ("app/c.yaml", ""),
            ("app/o.json", ""),
            ("app/unnamed.yaml", YAML),
            ("base/Kustomization", "resources: [s]\nbases: [../app/]\n"),
            ("base/s", ""),
            ("component/kustomization.yml", "kind: Component\n"),
        ],
        "app",
    )
    .expect("a kustomization");
    let json = Role::Leaves(Format::Json);
    let expected = [
        ("app/c.json", json),
        ("app/c.yaml", LEAVES),
        ("app/kustomization.yaml", LEAVES),
        ("app/o.json", json),
        ("app/p1.yaml", LEAVES),
        ("app/p2.yaml", LEAVES),
        ("app/p3.json", json),
        ("app/p4.yaml", LEAVES),
        ("app/r.yaml", LEAVES),
        ("base/Kustomization", LEAVES),
        ("base/s", LEAVES),
        ("component/kustomization.yml", LEAVES),
    ];
    let roles: Vec<_> = found.roles.iter().map(|(path, &role)| (path.as_str(), role)).collect();
    assert_eq!(roles, expected);
    assert!(found.copies.is_empty() && !found.has_charts && found.plugins.is_empty());
}

#[test]
fn files_of_a_generator_are_what_their_key_says_unless_they_are_encrypted_otherwise() {
    for (source, content, expected) in [
        ("file.txt", BINARY, Format::Binary),
        ("key=file.txt", BINARY, Format::Binary),
        ("key.json=file.txt", JSON, Format::Json),
        (".dockerconfigjson=file.txt", JSON, Format::Json),
        ("x.dockerconfigjson=file.txt", BINARY, Format::Json),
        ("key=file.json", JSON, Format::Json),
        ("key.yaml=file.json", JSON, Format::Yaml),
        ("key.env=file.yaml", YAML, Format::Yaml),
        // In neither: the engine says so.
        ("file.txt", YAML, Format::Binary),
        ("key.json=file.txt", "clear", Format::Json),
    ] {
        let path = source.rsplit('=').next().expect("a path");
        let kustomization = format!("secretGenerator: [{{name: a, files: ['{source}']}}]");
        let given = [("kustomization.yaml", kustomization.as_str()), (path, content)];
        let found = read(&given, "").expect("a kustomization");
        assert_eq!(found.roles[path], Role::Whole(expected), "{source} {content}");
    }
}

#[test]
fn envs_are_dotenv_unless_they_are_something_else() {
    for (field, path, content, expected) in [
        ("envs: [a.env]", "a.env", DOTENV, Format::Dotenv),
        ("env: secrets", "secrets", DOTENV, Format::Dotenv),
        ("envs: [a.yaml]", "a.yaml", DOTENV, Format::Dotenv),
        ("envs: [a.yaml]", "a.yaml", YAML, Format::Yaml),
    ] {
        let kustomization = format!("configMapGenerator: [{{name: a, {field}}}]");
        let given = [("kustomization.yaml", kustomization.as_str()), (path, content)];
        let found = read(&given, "").expect("a kustomization");
        assert_eq!(found.roles[path], Role::Leaves(expected), "{field}");
    }
}

#[test]
fn an_encrypted_file_cannot_be_two_things() {
    let kustomization = "resources:\n- a.yaml\nsecretGenerator:\n- name: a\n  files:\n  - a.yaml\n";
    let given = |text| [("kustomization.yaml", kustomization), ("a.yaml", text)];
    let error = read(&given(YAML), "").err().expect("two things").to_string();
    assert_eq!(
        error,
        "a.yaml: is encrypted, and is one thing in kustomization.yaml:2 and another in kustomization.yaml:6; use a \
         file for each"
    );
    assert_eq!(read(&given("clear: 1\n"), "").expect("one thing").roles["a.yaml"], LEAVES);
}

#[test]
fn what_cannot_be_had_is_an_error_with_its_place() {
    for (kustomization, expected) in [
        ("resources:\n- b.yaml\n", "app/kustomization.yaml:2: there is no app/b.yaml"),
        ("patches:\n- path: b.yaml\n", "app/kustomization.yaml:2: there is no app/b.yaml"),
        ("secretGenerator:\n- files:\n  - a=b\n", "app/kustomization.yaml:3: there is no app/b"),
        ("bases: [..]\n", ".: there is no kustomization.yaml in this folder"),
    ] {
        assert_eq!(error(kustomization), expected);
    }
    for outside in ["resources: [../../x]", "resources: [/etc/passwd]", "patches: [{path: ../../x}]"] {
        assert!(error(outside).contains("leads out of the files"), "{outside}");
    }
    for remote in [
        "resources: ['https://example.com/a.yaml']",
        "resources: [github.com/a/b]",
        "bases: ['git@example.com:a/b']",
        "resources: ['ssh://git@example.com/a']",
        "components: [example.com/a.git/x]",
        "patches: [{path: 'https://example.com/a.yaml'}]",
        "helmCharts: [{name: a, repo: 'https://example.com'}]",
    ] {
        assert!(error(remote).contains("would be fetched from a network"), "{remote}: {}", error(remote));
    }
    for source in ["a=b=c", "=a", "a="] {
        let error = error(&format!("secretGenerator: [{{files: ['{source}']}}]"));
        assert_eq!(error, "app/kustomization.yaml:1: is neither a path nor a key, one = and a path");
    }
}

#[test]
fn what_may_be_fetched_is_passed_over() {
    let given =
        files(&[("kustomization.yaml", "resources: ['https://example.com/a.yaml', a.yaml]"), ("a.yaml", "")]);
    let found = Kustomization::read(&given, "", Remote::Allow).expect("a kustomization");
    assert_eq!((found.remote.len(), found.roles.len()), (1, 2));
}

#[test]
fn a_folder_has_one_kustomization() {
    assert!(matches!(read(&[("a/b.yaml", "")], "a"), Err(KustomizationError::None { .. })));
    let several = [("a/Kustomization", ""), ("a/kustomization.yaml", "")];
    assert!(matches!(read(&several, "a"), Err(KustomizationError::Several { .. })));
}

#[test]
fn a_loop_is_cut() {
    let given =
        [("a/kustomization.yaml", "resources: [../b]"), ("b/kustomization.yaml", "resources: [../a]")];
    assert_eq!(read(&given, "a").expect("cut").roles.len(), 2);
}

/// Returns what a file is laid out with.
fn laid_out(found: &Kustomization, given: &[(&str, &str)], path: &str) -> String {
    let text = given.iter().find(|(name, _)| *name == path).expect("a file").1;
    let text = found.laid_out(path, &text.into()).expect("a text");
    String::from_utf8(text.expose_secret().to_vec()).expect("text")
}

#[test]
fn a_file_beside_the_folder_is_copied_into_it() {
    let kustomization = "
resources: [../b.yaml, in/c.yaml] # noted
patches: [{path: ../b.yaml}]
configMapGenerator:
- files: [k=../x/d.txt, ../x/d.txt]
  envs: &e [../x/e.env]
secretGenerator: [{envs: *e}]
generators:
- ../g.yaml
- |-
  apiVersion: builtin
  kind: ConfigMapGenerator
  metadata: {name: i}
  files: [../x/d.txt]
namePrefix: ../b.yaml
";
    let given = [
        ("a/kustomization.yaml", kustomization),
        ("a/in/c.yaml", ""),
        ("b.yaml", ""),
        ("g.yaml", "apiVersion: builtin\nkind: SecretGenerator\nmetadata: {name: g}\nenv: ../x/e.env\n"),
        ("x/d.txt", ""),
        ("x/e.env", ""),
    ];
    let found = read(&given, "a").expect("a kustomization");
    let copies: Vec<_> = found.copies.iter().map(|(to, from)| format!("{to} {from}")).collect();
    assert_eq!(
        copies,
        [
            "a/selkie-reached/0/b.yaml b.yaml",
            "a/selkie-reached/1/g.yaml g.yaml",
            "a/selkie-reached/2/e.env x/e.env",
            "a/selkie-reached/3/d.txt x/d.txt",
        ]
    );
    assert_eq!(
        laid_out(&found, &given, "a/kustomization.yaml"),
        "configMapGenerator:
- envs:
  - selkie-reached/2/e.env
  files:
  - k=selkie-reached/3/d.txt
  - selkie-reached/3/d.txt
generators:
- selkie-reached/1/g.yaml
- |
  apiVersion: builtin
  files:
  - selkie-reached/3/d.txt
  kind: ConfigMapGenerator
  metadata:
    name: i
namePrefix: ../b.yaml
patches:
- path: selkie-reached/0/b.yaml
resources:
- selkie-reached/0/b.yaml
- in/c.yaml
secretGenerator:
- envs:
  - selkie-reached/2/e.env
"
    );
    let generator = laid_out(&found, &given, "g.yaml");
    assert!(generator.contains("env: selkie-reached/2/e.env\n"), "{generator}");
    assert_eq!(laid_out(&found, &given, "b.yaml"), "");
}

#[test]
fn a_configuration_means_one_thing() {
    let generator = "apiVersion: builtin\nkind: SecretGenerator\nmetadata: {name: g}\nfiles: [../x]\n";
    let given = [
        ("kustomization.yaml", "resources: [a/b, a/c/d]\n"),
        ("a/b/kustomization.yaml", "generators: [../../g.yaml]\n"),
        ("a/c/d/kustomization.yaml", "generators: [../../../g.yaml]\n"),
        ("a/x", ""),
        ("a/c/x", ""),
        ("g.yaml", generator),
    ];
    assert!(read(&given, "").is_ok(), "each has a copy of its own with the same name");
    let given = [
        ("a/kustomization.yaml", "resources: [b]\ngenerators: [b/g.yaml]\n"),
        ("a/b/kustomization.yaml", "generators: [g.yaml]\n"),
        ("a/x", ""),
        ("a/a/x", ""),
        ("a/b/g.yaml", &*generator.replace("../x", "../a/x")),
    ];
    let error = read(&given, "a").err().expect("two things").to_string();
    assert!(error.contains("is read by two kustomizations"), "{error}");
}

#[test]
fn what_kustomize_reads_otherwise_is_refused() {
    for (kustomization, expected) in [
        ("configMapGenerator: [{name: x, Files: [k=/keys/x]}]", "is written with other letters"),
        ("configMapGenerator: [{name: x, file\u{17f}: [k=/keys/x]}]", "is written with other letters"),
        ("ConfigMapGenerator: [{name: x, files: [k=/keys/x]}]", "is written with other letters"),
        ("patches: [{Path: /keys/x}]", "is written with other letters"),
        ("helmCharts: [{Releasename: x}]", "is written with other letters"),
        ("helmGlobals: {charthome: /keys}", "is written with other letters"),
        ("configMapGenerator: [{name: x, <<: {files: [k=/keys/x]}}]", "is a merge key"),
        ("x: &x {files: [k=/keys/x]}\nconfigMapGenerator: [{<<: *x}]", "is a merge key"),
        ("namePrefix: a\n---\nresources: [/keys]", "is a second document"),
        (
            "generators: ['{apiVersion: builtin, kind: XList, items: [{files: [/keys/x]}]}']",
            "is a list of what is built into Kustomize",
        ),
        (
            "generators: ['{apiVersion: builtin, kind: ConfigMapGenerator, Files: [/keys/x]}']",
            "is written with other letters",
        ),
        (
            "generators: ['{apiVersion: builtin, kind: ConfigMapGenerator, <<: {files: [/keys/x]}}']",
            "is a merge key",
        ),
        (
            "transformers: ['{apiVersion: builtin, kind: PatchTransformer, path: \"a: b/../../../keys/x\"}']",
            "leads out of the files",
        ),
        (
            "transformers: ['{apiVersion: builtin, kind: PatchStrategicMergeTransformer, paths: [\"a: b/../../../x\"]}']",
            "leads out of the files",
        ),
        (
            "transformers: ['{apiVersion: builtin, kind: ValueAddTransformer, targetFilePath: /keys/x}']",
            "leads out of the files",
        ),
        ("generators: ['a: b/../../../keys/x']", "leads out of the files"),
        ("helmCharts: [{name: a, releaseName: --post-renderer=x}]", "starts with `-`"),
        ("helmCharts: [{name: -a}]", "starts with `-`"),
        ("helmCharts: [{name: a, apiVersions: [x, --y]}]", "starts with `-`"),
        ("helmCharts: [{name: a, nameTemplate: -x}]", "starts with `-`"),
        ("helmCharts: [{name: a/../../b}]", "is a path"),
        ("helmGlobals: {configHome: /tmp/x}", "leads out of the files"),
        ("helmGlobals: {chartHome: -x}", "starts with `-`"),
    ] {
        assert!(error(kustomization).contains(expected), "{kustomization}: {}", error(kustomization));
    }
    // Labels are what one calls them.
    assert!(read(&[("kustomization.yaml", "commonLabels: {Name: a, Files: b}\n")], "").is_ok());
}

#[test]
fn a_folder_of_generators_is_told() {
    let given = [("kustomization.yaml", "generators: [g]\n"), ("g/kustomization.yaml", "namePrefix: a\n")];
    let found = read(&given, "").expect("a kustomization");
    let refused: Vec<_> = found.refused.iter().map(ToString::to_string).collect();
    assert!(refused[0].starts_with("kustomization.yaml:1: is a kustomization of generators"), "{refused:?}");
}

#[test]
fn charts_elsewhere_are_copied() {
    let given = [
        ("a/kustomization.yaml", "helmGlobals: {chartHome: ../charts}\nhelmCharts: [{name: shop}]\n"),
        ("charts/shop/Chart.yaml", "name: shop\n"),
        ("charts/shop/templates/a.yaml", ""),
    ];
    let found = read(&given, "a").expect("a kustomization");
    let copies: Vec<_> = found.copies.iter().map(|(to, from)| format!("{to} {from}")).collect();
    assert_eq!(
        copies,
        [
            "a/selkie-reached/0/charts/shop/Chart.yaml charts/shop/Chart.yaml",
            "a/selkie-reached/0/charts/shop/templates/a.yaml charts/shop/templates/a.yaml",
        ]
    );
    let laid_out = laid_out(&found, &given, "a/kustomization.yaml");
    assert!(laid_out.contains("chartHome: selkie-reached/0/charts\n"), "{laid_out}");
}

#[test]
fn encrypted_values_of_charts_are_told() {
    let chart = ("charts/shop/Chart.yaml", "name: shop\n");
    for (kustomization, path, text) in [
        ("helmCharts: [{name: shop, valuesFile: v.yaml}]", "v.yaml", YAML),
        ("helmCharts: [{name: shop, additionalValuesFiles: [v.yaml]}]", "v.yaml", YAML),
        ("helmCharts: [{name: shop}]", "charts/shop/values.yaml", YAML),
        ("helmCharts: [{name: shop}]", "charts/shop/files/a.json", JSON),
        ("helmCharts: [{name: shop, valuesInline: {a: 'ENC[AES256_GCM,data:x]'}}]", "b.yaml", ""),
    ] {
        let given = [("kustomization.yaml", kustomization), (path, text), chart];
        let found = read(&given, "").expect("a kustomization");
        let refused: Vec<_> = found.refused.iter().map(ToString::to_string).collect();
        assert!(
            refused.iter().any(|refused| refused.contains("render --helm")),
            "{kustomization}: {refused:?}"
        );
        let clear = kustomization.replace("ENC[AES256_GCM,data:x]", "x");
        let given = [("kustomization.yaml", &*clear), (path, "a: 1\n"), chart];
        assert!(read(&given, "").expect("a kustomization").refused.is_empty());
    }
}

#[test]
fn charts_come_with_their_files_and_values() {
    let kustomization = "
helmCharts:
- name: shop
  valuesFile: v.yaml
  additionalValuesFiles: [w.yaml]
";
    let given = [
        ("kustomization.yaml", kustomization),
        ("v.yaml", YAML),
        ("w.yaml", YAML),
        ("charts/shop/Chart.yaml", "name: shop\n"),
        ("charts/shop/values.yaml", ""),
        ("charts/shop/templates/a.yaml", "{{ .Values.a }}"),
        ("charts/other/Chart.yaml", ""),
    ];
    let found = read(&given, "").expect("a kustomization");
    assert!(found.has_charts);
    let roles: Vec<_> = found.roles.keys().map(String::as_str).collect();
    assert_eq!(roles, ["charts/shop/values.yaml", "kustomization.yaml", "v.yaml", "w.yaml"]);
    assert!(
        found.files.contains("charts/shop/templates/a.yaml")
            && !found.files.contains("charts/other/Chart.yaml")
    );
}

#[test]
fn plugins_that_are_built_in_name_files_and_others_are_noted() {
    let built_in = "apiVersion: builtin\nkind: SecretGenerator\nmetadata: {name: a}\nfiles: [a.txt]\n";
    let given = [
        (
            "kustomization.yaml",
            "generators: [g.yaml, k.yaml]\ntransformers:\n- |-\n  apiVersion: x/v1\n  kind: T\n",
        ),
        ("g.yaml", built_in),
        ("k.yaml", "apiVersion: viaduct.ai/v1\nkind: ksops\nmetadata: {name: b}\nfiles: [s.yaml]\n"),
        ("a.txt", BINARY),
    ];
    let found = read(&given, "").expect("a kustomization");
    assert_eq!(found.roles["a.txt"], Role::Whole(Format::Binary));
    let plugins: Vec<_> = found.plugins.iter().map(|plugin| plugin.config["kind"].as_str()).collect();
    assert_eq!(plugins, [Some("ksops"), Some("T")]);
}
