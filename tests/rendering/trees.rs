//! Made-up trees of manifests, encrypted for one identity of age, and what is to become of each.

use std::collections::BTreeMap;

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use selkie::format::Format;
use selkie::keys::age::{AgeService, Identities, IdentityKind, generate};
use selkie::keys::{KeyGroup, MasterKey, age};
use selkie::secret::SecretBytes;
use selkie::sops::{Envelope, MacCheck, Metadata, Pattern, Selector, Unlocked};

/// A tree, by path.
#[derive(Clone, Debug, Default)]
pub struct MadeTree {
    /// The files.
    pub files: BTreeMap<String, String>,
    /// What was done to it that has to be refused, if anything.
    pub fault: Option<Fault>,
}

/// What was done to a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A value is encrypted for somebody else.
    ForeignKey,
    /// An encrypted value stands in a file without metadata.
    LeftEncrypted,
    /// A word that looks like a mark stands in a file.
    Mark,
    /// The MAC was taken out.
    MacDropped,
    /// An entry was taken out.
    Removed,
    /// The items of a list were put in another order.
    Reordered,
    /// The namespace is another one.
    Retargeted,
    /// An older value was put back.
    Replayed,
    /// A ConfigMap is encrypted.
    Taint,
}

impl Fault {
    const ALL: [Self; 9] = [
        Self::ForeignKey,
        Self::LeftEncrypted,
        Self::Mark,
        Self::MacDropped,
        Self::Removed,
        Self::Reordered,
        Self::Retargeted,
        Self::Replayed,
        Self::Taint,
    ];

    /// Returns the name of the error that refuses it.
    pub const fn error(self) -> &'static str {
        match self {
            Self::ForeignKey => "Recover",
            Self::LeftEncrypted => "LeftEncrypted",
            Self::Mark => "ForeignMark",
            Self::MacDropped | Self::Removed | Self::Reordered | Self::Replayed | Self::Retargeted => "Mac",
            Self::Taint => "Taint",
        }
    }
}

impl MadeTree {
    /// Returns the files one behind the other, as `cat` does it.
    pub fn stream(&self) -> String {
        self.files.values().map(String::as_str).collect::<Vec<_>>().join("\n---\n")
    }
}

/// Makes trees.
pub struct Maker {
    /// The identity that everything is encrypted for, as a file has it.
    pub identity: String,
    recipient: String,
    other: String,
}

impl Maker {
    /// Returns a maker with an identity of its own.
    pub fn new() -> Self {
        let rng = &mut ChaCha20Rng::seed_from_u64(7);
        let (identity, other) = (generate(IdentityKind::X25519, rng), generate(IdentityKind::X25519, rng));
        let text = String::from_utf8(identity.secret.expose_secret().to_vec()).expect("an identity is text");
        Self { identity: text, recipient: identity.recipient, other: other.recipient }
    }

    /// Returns the tree of a seed.
    pub fn tree(&self, seed: u64) -> MadeTree {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let fault = rng.gen_bool(0.4).then(|| *Fault::ALL.choose(&mut rng).expect("there are some"));
        let mut tree = MadeTree { files: BTreeMap::new(), fault };
        for number in 0..rng.gen_range(1..6) {
            let folder = ["", "a/", "a/b/", "c/"].choose(&mut rng).expect("there are some");
            let (name, text) = self.file(number, &mut rng);
            tree.files.insert(format!("{folder}{name}"), text);
        }
        if let Some(fault) = fault {
            tree.files.insert("faulty.yaml".to_owned(), self.faulty(fault, &mut rng));
        }
        tree
    }

    fn file(&self, number: usize, rng: &mut ChaCha20Rng) -> (String, String) {
        if rng.gen_bool(0.1) {
            let object = serde_json::json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("json-{number}")},
                "stringData": {"a": words(rng), "b": words(rng)},
            });
            let text = serde_json::to_string_pretty(&object).expect("JSON");
            return (
                format!("file-{number}.json"),
                self.encrypted(&text, Format::Json, rng, &self.recipient),
            );
        }
        let is_encrypted = rng.gen_bool(0.7);
        let mut documents = Vec::new();
        for document in 0..rng.gen_range(1..4) {
            let name = format!("object-{number}-{document}");
            documents.push(if is_encrypted || rng.gen_bool(0.3) {
                secret(&name, rng)
            } else {
                plain(&name, rng)
            });
        }
        let text = documents.join("---\n");
        let text =
            if is_encrypted { self.encrypted(&text, Format::Yaml, rng, &self.recipient) } else { text };
        (format!("file-{number}.yaml"), text)
    }

    /// Returns a file that has to be refused.
    fn faulty(&self, fault: Fault, rng: &mut ChaCha20Rng) -> String {
        let secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: faulty\n  namespace: shop\nstringData:\n  first: one\n  second: two\nlist:\n- alice\n- bob\n";
        let sealed = |text: &str, rng: &mut ChaCha20Rng| self.sealed(text, &self.recipient, rng);
        match fault {
            Fault::ForeignKey => self.sealed(secret, &self.other, rng),
            Fault::LeftEncrypted => {
                let text = sealed(secret, rng);
                text[..text.find("sops:").expect("metadata")].to_owned()
            }
            Fault::Mark => format!("{secret}note: selkiex{}\n", "0a".repeat(21)),
            Fault::MacDropped => {
                let text = sealed(secret, rng);
                let lines = text.lines().filter(|line| !line.trim_start().starts_with("mac:"));
                lines.map(|line| format!("{line}\n")).collect()
            }
            Fault::Removed => {
                let text = sealed(secret, rng);
                let lines = text.lines().filter(|line| !line.starts_with("  second:"));
                lines.map(|line| format!("{line}\n")).collect()
            }
            Fault::Reordered => {
                let text = sealed(secret, rng);
                let mut lines: Vec<&str> = text.lines().collect();
                let first = lines
                    .iter()
                    .position(|line| line.starts_with('-'))
                    .or_else(|| lines.iter().position(|line| line.trim_start().starts_with("- ENC")))
                    .expect("a list");
                lines.swap(first, first + 1);
                lines.iter().map(|line| format!("{line}\n")).collect()
            }
            Fault::Retargeted => sealed(secret, rng).replace("namespace: shop", "namespace: other"),
            Fault::Replayed => self.replayed(secret, rng),
            Fault::Taint => sealed(&secret.replace("kind: Secret", "kind: ConfigMap"), rng),
        }
    }

    /// Returns the newer of two versions under one data key, with a value of the older.
    fn replayed(&self, old: &str, rng: &mut ChaCha20Rng) -> String {
        let service = self.service();
        let before = self.sealed(old, &self.recipient, rng);
        let tree = Format::Yaml.read(before.as_str()).expect("YAML");
        let metadata = Metadata::from_entry(tree.metadata()).expect("metadata");
        let envelope = pollster::block_on(Envelope::recover(metadata, &[&service], &[])).expect("the key");
        let opened = envelope.open(Format::Yaml, tree, MacCheck::Require).expect("it opens");
        let plain = SecretBytes::from(old.replace("one", "rotated").as_str());
        let after = Unlocked { envelope, opened }.reseal(&plain, LATER, rng).expect("it seals").text;
        let after = String::from_utf8(after.expose_secret().to_vec()).expect("text");
        let line =
            |text: &str| text.lines().find(|line| line.starts_with("  first:")).expect("a value").to_owned();
        after.replace(&line(&after), &line(&before))
    }

    fn encrypted(&self, text: &str, format: Format, rng: &mut ChaCha20Rng, recipient: &str) -> String {
        let mut metadata = self.metadata(recipient);
        match rng.gen_range(0..3) {
            0 => {}
            1 => metadata.selector = Selector::UnencryptedSuffix("name".to_owned()),
            _ => {
                let entries = Pattern::parse("^(data|stringData)$").expect("a pattern");
                metadata.selector = Selector::EncryptedRegex(entries);
            }
        }
        metadata.mac_only_encrypted = rng.gen_bool(0.2);
        self.seal_with(text, format, metadata, rng)
    }

    fn sealed(&self, text: &str, recipient: &str, rng: &mut ChaCha20Rng) -> String {
        let mut metadata = self.metadata(recipient);
        let entries = Pattern::parse("^(data|stringData|list)$").expect("a pattern");
        metadata.selector = Selector::EncryptedRegex(entries);
        self.seal_with(text, Format::Yaml, metadata, rng)
    }

    fn metadata(&self, recipient: &str) -> Metadata {
        Metadata::new(vec![KeyGroup(MasterKey::parse_list(&age::KIND, recipient).expect("a recipient"))])
    }

    fn seal_with(&self, text: &str, format: Format, metadata: Metadata, rng: &mut ChaCha20Rng) -> String {
        let sealed =
            selkie::encrypt(text, format, metadata, &[&self.service()], NOW, rng).expect("it encrypts");
        String::from_utf8(sealed.expose_secret().to_vec()).expect("text")
    }

    fn service(&self) -> AgeService {
        let identities = Identities::parse("the tests", &SecretBytes::from(self.identity.as_str()));
        AgeService::new(identities.expect("an identity"))
    }
}

fn secret(name: &str, rng: &mut ChaCha20Rng) -> String {
    let (first, second) = (words(rng), rng.gen_range(0..100_000));
    let mut text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\nstringData:\n  word: \"{first}\"\n  number: \"{second}\"\n"
    );
    if rng.gen_bool(0.3) {
        text.push_str("  lines: |\n    one\n    two\n");
    }
    if rng.gen_bool(0.3) {
        text.push_str("# a note\ndata:\n  bytes: AAEC/w==\n");
    }
    if rng.gen_bool(0.2) {
        text.push_str("type: Opaque\n");
    }
    text
}

fn plain(name: &str, rng: &mut ChaCha20Rng) -> String {
    match rng.gen_range(0..3) {
        0 => format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  key: \"{}\"\n",
            words(rng)
        ),
        1 => format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  replicas: {}\n",
            rng.gen_range(0..9)
        ),
        _ => format!(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {{name: {name}}}\n  data: {{on: \"{}\"}}\n",
            words(rng)
        ),
    }
}

fn words(rng: &mut ChaCha20Rng) -> String {
    let words =
        ["seal", "of", "the sea", "ключ", "yes", "0x1F", "null", "a: b", "12e3", "#", "naïve", " ", "true"];
    let count = rng.gen_range(1..4);
    (0..count).map(|_| *words.choose(rng).expect("there are some")).collect::<Vec<_>>().join("-")
}

const NOW: &str = "2026-01-02T03:04:05Z";
const LATER: &str = "2026-01-03T03:04:05Z";
