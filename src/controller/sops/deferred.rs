//! What rendering defers opens, in the cluster, to the Secret that it renders where it has the keys. Whole files are
//! written here as sops writes them.

use selkie::format::Format;
use selkie::keys::KeyService;
use selkie::keys::age::{AgeService, Identities};
use selkie::render::{
    Defer, EmitMode, Engine, Files, Limits, Memory, RenderError, Role, Roles, Rule, Sources, emit, manifests,
};
use selkie::sealed::Secret;
use selkie::sops::Selector;
use serde_json::Value as Json;

use super::kit::World;
use super::own::SopsSecrets;
use crate::controller::source::Source;

/// Files, and what they are if they are no manifests.
struct Case<'a> {
    files: Vec<(&'a str, String)>,
    roles: Vec<(&'a str, Role)>,
    /// What is built of the files, in which marks stand.
    build: Option<&'a dyn Fn(&Sources) -> String>,
}

impl Case<'_> {
    fn render(&self, services: Option<&[&dyn KeyService]>, mode: &EmitMode) -> Result<Json, RenderError> {
        let mut files = Memory::default();
        for (path, text) in &self.files {
            files.insert(path, text.as_str())?;
        }
        let (rule, limits) = (Rule::default(), Limits::default());
        let engine = Engine { services, sealing_keys: None, rule: &rule, limits: &limits };
        let roles: Roles = if self.roles.is_empty() {
            manifests(&files as &dyn Files)?
        } else {
            self.roles.iter().map(|&(path, role)| (path.to_owned(), role)).collect()
        };
        let mut sources = engine.open(&files, &roles)?;
        let documents = match self.build {
            None => engine.documents(&files, &roles, &mut sources)?,
            Some(build) => {
                let stream = build(&sources).into();
                engine.built(&stream, &mut sources)?
            }
        };
        let mut emission = emit(&rule, &limits, &sources, &documents, mode)?;
        assert_eq!(emission.objects.len(), 1);
        Ok(emission.objects.remove(0))
    }

    /// Renders with keys, and defers without; and makes sure that the one is what becomes of the other.
    fn check(&self, world: &World) {
        let identities = Identities::parse("test", &world.identity.secret).expect("an identity");
        let service = AgeService::new(identities);
        let services: [&dyn KeyService; 1] = [&service];
        let plain = self.render(Some(&services), &EmitMode::Plain).unwrap_or_else(|error| panic!("{error}"));
        let mode = EmitMode::Defer(Defer { key_secret: Some("keys".to_owned()) });
        for services in [None, Some(&services[..])] {
            let mut deferred = self.render(services, &mode).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(deferred["metadata"]["name"], plain["metadata"]["name"]);
            deferred["metadata"]["namespace"] = "shop".into();
            deferred["metadata"]["uid"] = "u-1".into();
            let desired = pollster::block_on(SopsSecrets::new(world.keys()).open(&deferred));
            let desired = desired.unwrap_or_else(|failure| panic!("{failure}\n{deferred}"));
            let [secret] = &desired.secrets[..] else { panic!("{} Secrets", desired.secrets.len()) };
            assert_eq!(said(secret), said(&Secret::from_json(&plain).expect("a Secret")));
        }
    }
}

/// Returns what a Secret says, but for its owner and its namespace, which `shop` stands for.
fn said(secret: &Secret) -> Json {
    let mut json = secret.to_json();
    let metadata = json["metadata"].as_object_mut().expect("metadata");
    metadata.remove("ownerReferences");
    metadata.insert("namespace".to_owned(), "shop".into());
    json
}

fn of_values(metadata: &mut selkie::sops::Metadata) {
    let pattern = selkie::sops::Pattern::parse("^(data|stringData)$").expect("a pattern");
    metadata.selector = Selector::EncryptedRegex(pattern);
}

fn marked(sources: &Sources, path: &str) -> String {
    let source = sources.get(path).expect("encrypted");
    String::from_utf8(source.marked().expose_secret().to_vec()).expect("text")
}

const SECRET: &str = "apiVersion: v1
kind: Secret
metadata:
    name: db
    labels:
        team: blue
        argocd.argoproj.io/instance: shop
type: kubernetes.io/basic-auth
stringData:
    username: selkie
    password: \"of\\nthe sea\"
    clear_unencrypted: \"5\"
data:
    raw: AP8=
";

#[test]
fn secrets_that_are_their_files() {
    let world = World::with_own_secret();
    let yaml = world.encrypted(SECRET, Format::Yaml, of_values);
    let json = r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "shop"}, "immutable": true, "data": {"a": "eA=="}}"#;
    let json = world.encrypted(json, Format::Json, of_values);
    let carriage = yaml.replace('\n', "\r\n");
    for (path, text) in [("db.yaml", &yaml), ("db.json", &json), ("db.yaml", &carriage)] {
        Case { files: vec![(path, text.clone())], roles: Vec::new(), build: None }.check(&world);
    }
    let build = |sources: &Sources| {
        marked(sources, "db.yaml")
            .replace("team: blue", "team: red")
            .replace("kubernetes.io/basic-auth", "Opaque")
    };
    let roles = vec![("db.yaml", Role::Leaves(Format::Yaml))];
    Case { files: vec![("db.yaml", yaml)], roles, build: Some(&build) }.check(&world);
}

#[test]
fn secrets_that_were_generated_of_files() {
    let world = World::with_own_secret();
    let env = world.encrypted("A=1\nPASSWORD=of the \"sea\"\nEMPTY=\n", Format::Dotenv, |_| {});
    let head = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db-hash\n  labels: {a: b}\ntype: Opaque\n";
    let build = |sources: &Sources| {
        let entry = |line: &str| {
            let (key, value) = line.split_once('=').expect("a line");
            format!("  {key}: {}\n", serde_json::json!(value))
        };
        format!("{head}stringData:\n{}", marked(sources, ".env").lines().map(entry).collect::<String>())
    };
    let roles = vec![(".env", Role::Leaves(Format::Dotenv))];
    Case { files: vec![(".env", env)], roles, build: Some(&build) }.check(&world);
    for (format, text) in [
        (Format::Binary, "\0\u{1}any"),
        (Format::Dotenv, "A=1\n"),
        (Format::Ini, "[s]\na = x\n"),
        (Format::Json, "{\n\t\"a\": 1\n}\n"),
        (Format::Yaml, "a: 1\nb:\n    - x\n"),
    ] {
        let file = world.encrypted(text, format, |_| {});
        let build = |sources: &Sources| format!("{head}stringData:\n  file: {}\n", marked(sources, "file"));
        let roles = vec![("file", Role::Whole(format))];
        Case { files: vec![("file", file)], roles, build: Some(&build) }.check(&world);
    }
}

#[test]
fn documents_inside_of_a_secret() {
    let world = World::with_own_secret();
    for (key, format, text) in [
        ("a.yaml", Format::Yaml, "a: 1\n"),
        ("blob", Format::Binary, "\0\u{1}any"),
        ("a.env", Format::Dotenv, "A=1\n"),
        ("other", Format::Yaml, "a: 1\n"),
    ] {
        let blob = serde_json::json!(world.encrypted(text, format, |_| {}));
        let file =
            format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\nstringData:\n  {key}: {blob}\n");
        Case { files: vec![("db.yaml", file)], roles: Vec::new(), build: None }.check(&world);
    }
    let blob = serde_json::json!(world.encrypted("a: 1\n", Format::Yaml, |_| {}));
    let file =
        format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\nstringData:\n  a.json: {blob}\n");
    let case = Case { files: vec![("db.yaml", file)], roles: Vec::new(), build: None };
    let refused = case.render(None, &EmitMode::Defer(Defer::default())).expect_err("refused").to_string();
    assert!(refused.contains("is encrypted as yaml under a key that asks for json"), "{refused}");
}
