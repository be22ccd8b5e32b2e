use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use selkie::format::Format;
use selkie::keys::age::{AgeService, Identities, IdentityKind, generate};
use selkie::keys::{KeyGroup, MasterKey, age};
use selkie::render::{EmitMode, Limits};
use selkie::sops::{Metadata, Selector};
use tempfile::TempDir;

use super::*;

/// A folder with files, and a key.
struct Kit {
    folder: TempDir,
    recipient: String,
    service: AgeService,
}

impl Kit {
    fn new() -> Self {
        let identity = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("keys.txt"), identity.secret.expose_secret()).expect("a file");
        let service = AgeService::new(Identities::parse("keys", &identity.secret).expect("identities"));
        Self { folder, recipient: identity.recipient.to_string(), service }
    }

    fn write(&self, path: &str, text: &[u8]) {
        fs::write(self.folder.path().join(path), text).expect("a file");
    }

    /// Writes a file, encrypted, and returns it.
    fn encrypt(&self, path: &str, text: &str) -> String {
        let keys = KeyGroup(MasterKey::parse_list(&age::KIND, &self.recipient).expect("a key"));
        let (mut metadata, now) = (Metadata::new(vec![keys]), "2026-01-02T03:04:05Z");
        let format = Format::from_file_name(path);
        if text.starts_with("apiVersion") {
            let rule = |field: &str| (field == "encrypted_regex").then_some("^(data|stringData)$");
            metadata.selector = Selector::from_fields(rule).expect("a rule").expect("one");
        }
        let encrypted =
            selkie::encrypt(text, format, metadata, &[&self.service], now, &mut rand::rngs::OsRng)
                .expect("encrypted");
        self.write(path, encrypted.expose_secret());
        String::from_utf8(encrypted.expose_secret().to_vec()).expect("text")
    }

    fn answer(&self, input: &str) -> Result<Json, FaceError> {
        let limits = Limits::default();
        let files = Files::new(self.folder.path(), None, &limits)?;
        let renderer = Renderer::new(vec![self.folder.path().join("keys.txt")], EmitMode::Plain);
        function(&renderer, &files, &input.into())
    }

    /// Returns all that is said of a failure.
    fn failure(&self, input: &str) -> String {
        failure(&self.answer(input).expect_err("a failure"))["results"][0]["message"]
            .as_str()
            .expect("a text")
            .to_owned()
    }
}

fn list(items: &[&str], config: &str) -> String {
    let indented = |text: &str| text.trim_end().replace('\n', "\n  ");
    let items: String = items.iter().map(|item| format!("- {}\n", indented(item))).collect();
    format!(
        "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems:\n{items}functionConfig:\n  {}\n",
        indented(config)
    )
}

fn ksops(fields: &str) -> String {
    format!("apiVersion: viaduct.ai/v1\nkind: ksops\nmetadata:\n  name: g\n{fields}")
}

fn data(object: &Json, key: &str) -> Vec<u8> {
    STANDARD.decode(object["data"][key].as_str().expect("a text")).expect("base64")
}

const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\nstringData:\n  password: hunter2\n";

#[test]
fn a_generator_gives_files_in_their_order() {
    let kit = Kit::new();
    kit.encrypt("b.enc.yaml", SECRET);
    kit.encrypt("a.enc.yaml", &SECRET.replace("db", "other"));
    let config = ksops("files:\n- ./b.enc.yaml\n- a.enc.yaml\n");
    // As Kustomize says it: the configuration is an item, too.
    let answer = kit.answer(&list(&[&config], &config)).expect("an answer");
    let names: Vec<_> =
        answer["items"].as_array().expect("items").iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, ["db", "other"]);
    assert_eq!(data(&answer["items"][0], "password"), b"hunter2");
    assert_eq!(answer["apiVersion"], "config.kubernetes.io/v1");
    assert_eq!(answer["functionConfig"]["kind"], "ksops");
}

#[test]
fn what_is_no_configuration_passes_through() {
    let kit = Kit::new();
    kit.encrypt("a.enc.yaml", SECRET);
    let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {files: x}\n";
    let answer = kit.answer(&list(&[other], &ksops("files: [a.enc.yaml]\n"))).expect("an answer");
    let kinds: Vec<_> = answer["items"].as_array().expect("items").iter().map(|item| &item["kind"]).collect();
    assert_eq!(kinds, ["ConfigMap", "Secret"]);
}

#[test]
fn secrets_are_made_of_files_and_lines() {
    let kit = Kit::new();
    kit.encrypt("cert.pem", "-----BEGIN-----\n");
    kit.encrypt("docker.json", "{\"auths\": {}}\n");
    kit.encrypt(".env", "A=plain$HOME\nB=\"${x} y\" # z\n");
    let config = ksops(
        "secretFrom:
- metadata:
    name: s
    namespace: n
    annotations: {kustomize.config.k8s.io/behavior: merge}
  type: custom
  files: [cert.pem, .dockerconfigjson=docker.json]
  binaryFiles: [bin=cert.pem]
  envs: [.env]
",
    );
    let answer = kit.answer(&list(&[], &config)).expect("an answer");
    let secret = &answer["items"][0];
    assert_eq!(secret["type"], "custom");
    assert_eq!(secret["metadata"]["annotations"]["kustomize.config.k8s.io/behavior"], "merge");
    for (key, expected) in [
        ("cert.pem", &b"-----BEGIN-----\n"[..]),
        ("bin", b"-----BEGIN-----\n"),
        ("A", b"plain$HOME"),
        ("B", b"${x} y"),
    ] {
        assert_eq!(data(secret, key), expected, "{key}");
    }
    let docker: Json = serde_json::from_slice(&data(secret, ".dockerconfigjson")).expect("JSON");
    assert_eq!(docker, json!({"auths": {}}));
    assert_eq!(secret["data"].as_object().expect("data").len(), 5);
    // Our own kind reads lines as Kustomize does.
    let config = config.replace("viaduct.ai/v1", "selkie.dev/v1alpha1").replace("ksops", "SopsGenerator");
    let answer = kit.answer(&list(&[], &config)).expect("an answer");
    assert_eq!(data(&answer["items"][0], "B"), b"\"${x} y\" # z");
}

#[test]
fn the_configuration_stays_in_a_package() {
    let kit = Kit::new();
    kit.encrypt("a.enc.yaml", SECRET);
    let config = ksops("files: [a.enc.yaml]\n");
    let file =
        config.replace("name: g", "name: g\n  annotations: {internal.config.kubernetes.io/path: g.yaml}");
    let other = file.replace("name: g", "name: other").replace("a.enc.yaml", "missing.yaml");
    let answer = kit.answer(&list(&[&file, &other], &config)).expect("an answer");
    let names: Vec<_> =
        answer["items"].as_array().expect("items").iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, ["other", "g", "db"]);
}

#[test]
fn a_transformer_decrypts_what_its_sources_have() {
    let kit = Kit::new();
    let encrypted = kit.encrypt("s.enc.yaml", &format!("{SECRET}  another: x\n"));
    // As Kustomize hands it over: renamed, without comments, with notes.
    let mut object = selkie::manifest::read_object(encrypted.as_bytes()).expect("an object");
    object["metadata"] = json!({"name": "prefix-db", "annotations": {"kustomize.config.k8s.io/id": "x"}});
    let text = String::from_utf8(print_yaml(&object).expose_secret().to_vec()).expect("text");
    let clear = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n";
    let metadata = "apiVersion: selkie.dev/v1alpha1\nkind: SopsTransformer\nmetadata: {name: t}\n";
    let config = format!("{metadata}sources: [s.enc.yaml]\n");
    let answer = kit.answer(&list(&[clear, &text], &config)).expect("an answer");
    let secret = &answer["items"][1];
    assert_eq!(data(secret, "password"), b"hunter2");
    assert_eq!(secret["metadata"], object["metadata"]);
    assert!(secret["sops"].is_null());
    // Without the file nobody can tell whether it was changed.
    let failure = kit.failure(&list(&[&text], metadata));
    assert!(failure.starts_with("SopsTransformer t"), "{failure}");
    // The note of where it is from suffices.
    let noted = text
        .replace("kustomize.config.k8s.io/id: x", "config.kubernetes.io/origin: |\n      path: s.enc.yaml");
    assert!(kit.answer(&list(&[&noted], metadata)).is_ok());
}

#[test]
fn whatever_is_wrong_is_an_error_without_values() {
    let kit = Kit::new();
    let encrypted = kit.encrypt("a.enc.yaml", SECRET);
    kit.write("clear.yaml", SECRET.as_bytes());
    let line = encrypted.lines().find(|line| line.contains("password")).expect("a line");
    kit.write(
        "moved.yaml",
        encrypted.replace(line, &format!("{line}\n{}", line.replace("password", "other"))).as_bytes(),
    );
    for (fields, expected) in [
        ("files: [clear.yaml]\n", "clear.yaml: is not encrypted"),
        ("files: [missing.yaml]\n", "missing.yaml: cannot be read"),
        ("files: [moved.yaml]\n", "ksops g: moved.yaml: "),
        ("files: [/etc/passwd]\n", "/etc/passwd: leads out of "),
        ("secretFrom:\n- metadata: {name: s}\n  files: [clear.yaml]\n", "clear.yaml: is not encrypted"),
        ("secretFrom:\n- metadata: {name: s}\n  envs: [a.enc.yaml]\n", "a.enc.yaml: is not a dotenv file"),
        (
            "secretFrom:\n- metadata: {name: s}\n  files: [a=a.enc.yaml, a=a.enc.yaml]\n",
            "ksops g: the key `a` is there twice",
        ),
    ] {
        let failure = kit.failure(&list(&[SECRET], &ksops(fields)));
        assert!(failure.starts_with(expected), "{fields}: {failure}");
        assert!(!failure.contains("hunter2"), "{failure}");
    }
    for input in ["", "a: 1", "kind: ResourceList\nitems: 1\n", SECRET] {
        assert_eq!(kit.failure(input), "standard input is no ResourceList", "{input}");
    }
    let failure = kit.failure("kind: ResourceList\nitems: []\n");
    assert!(failure.starts_with("the ResourceList has no functionConfig"), "{failure}");
    assert!(!kit.failure("hunter2: [").contains("hunter2"));
}

#[test]
fn plaintext_does_not_pass_a_generator() {
    let kit = Kit::new();
    let encrypted = kit.encrypt("a.enc.yaml", SECRET);
    let sealed = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: s}\nspec: {}\n";
    for (name, text, passes) in [
        ("commented.yaml", format!("# kind: SealedSecret\n{SECRET}"), false),
        ("quoted.yaml", format!("{SECRET}  a: 'ENC[AES256_GCM,'\n"), false),
        ("beside.yaml", format!("{encrypted}---\n{SECRET}"), false),
        ("other.yaml", "apiVersion: x/v1\nkind: SealedSecret\nmetadata: {name: s}\n".to_owned(), false),
        ("sealed.yaml", sealed.to_owned(), true),
    ] {
        kit.write(name, text.as_bytes());
        let input = list(&[], &ksops(&format!("files: [{name}]\n")));
        if passes {
            assert_eq!(kit.answer(&input).expect("it passes")["items"][0]["kind"], "SealedSecret");
        } else {
            let failure = kit.failure(&input);
            assert!(failure.starts_with(&format!("{name}: is not encrypted")), "{name}: {failure}");
        }
    }
    // What only looks encrypted is not.
    kit.write("note.txt", b"about ENC[AES256_GCM,data:x]");
    let failure =
        kit.failure(&list(&[], &ksops("secretFrom:\n- metadata: {name: s}\n  files: [note.txt]\n")));
    assert!(failure.starts_with("note.txt: is not encrypted"), "{failure}");
}

#[test]
fn a_secret_can_be_immutable() {
    let kit = Kit::new();
    kit.encrypt("a.txt", "x");
    let config = ksops("secretFrom:\n- metadata: {name: s}\n  immutable: true\n  files: [a.txt]\n");
    let answer = kit.answer(&list(&[], &config)).expect("an answer");
    assert_eq!(answer["items"][0]["immutable"], true);
}

#[test]
fn what_is_made_for_a_name_is_not_generated() {
    use clap::Parser;
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }
    let renderer = |mode: &str| renderer(&Cli::parse_from(["x", "--mode", mode]).settings);
    let error = renderer("defer").err().expect("refused").to_string();
    assert!(error.starts_with("--mode defer: cannot be had while Kustomize builds"), "{error}");
    let renderer = renderer("plain").expect("a renderer");
    assert!(!renderer.further_modes.iter().any(|mode| mode.name() == "defer"));
}

#[test]
fn keys_are_needed_for_values() {
    let kit = Kit::new();
    kit.encrypt("a.env", "A=hunter2\n");
    let config = ksops("secretFrom:\n- metadata: {name: s}\n  envs: [a.env]\n");
    fs::remove_file(kit.folder.path().join("keys.txt")).expect("removed");
    assert!(kit.answer(&list(&[], &config)).is_err());
}
