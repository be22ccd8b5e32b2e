//! Backups of sealing keys: texts with PEM, key Secrets, or lists of key Secrets, as people make them with openssl
//! and kubectl.
//!
//! Invariant: whatever is in a text and gives no key is told, by where it stands and why.

use super::base64::{self, Base64Error};
use super::cert::{CertError, SealingCert};
use super::key::{SealingKey, SealingKeyError, SmallKeys};
use super::key_secret::{CERT, KEY, KeySecret};
use super::object_meta::ObjectMeta;
use super::pem_block::{self, PemBlock};
use super::secret::SecretError;
use crate::format::{Format, ParseError, WriteError, WriteOptions};
use crate::secret::SecretBytes;
use crate::tree::{LineIndex, Node, NodeId, Span, Step, Style, Tree, TreePath, Value};

/// The keys of a text, and what in it gives no key.
#[derive(Default)]
pub struct Backup {
    /// The keys, in the order of the text.
    pub keys: Vec<BackupKey>,
    /// What is not as it should be.
    pub problems: Vec<BackupProblem>,
}

/// A key of a text.
pub struct BackupKey {
    /// The key, and the Secret that it is in.
    pub secret: KeySecret,
    /// The 1-based line at which it begins; 0 if it does not stand in a text.
    pub line: usize,
}

/// Something in a text that gives no key, or not all of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupProblem {
    /// The name of the Secret, empty if it has none.
    pub name: String,
    /// The 1-based line at which it begins; 0 if it does not stand in a text.
    pub line: usize,
    /// What is wrong.
    pub kind: BackupProblemKind,
}

/// What is wrong with an entry of a backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackupProblemKind {
    /// A value is not base64.
    #[error("{field} is not base64: {source}")]
    Base64 {
        /// The entry of `data`.
        field: &'static str,
        /// Where it is wrong.
        source: Base64Error,
    },
    /// The certificate of a key is broken; the key is there without it.
    #[error("{0}; its key is used without it")]
    Cert(CertError),
    /// The certificate is for another key; the key is there without it.
    #[error("tls.crt is not the certificate of tls.key; the key is used without it")]
    Foreign,
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] SealingKeyError),
    /// The object is of another kind.
    #[error("a {0} holds no key")]
    Kind(String),
    /// The metadata is malformed.
    #[error(transparent)]
    Metadata(SecretError),
    /// The Secret has no key.
    #[error("the Secret has no tls.key")]
    Missing,
    /// A certificate stands alone.
    #[error("no key of the text is for the certificate")]
    Stray,
    /// A PEM block is neither a key nor a certificate.
    #[error("a PEM block {0:?} is neither a private key nor a certificate")]
    Tag(String),
    /// A field is of another type.
    #[error("{0} is not a text")]
    Text(
        /// The entry of `data`.
        &'static str,
    ),
}

/// Why a text cannot be read for keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// PEM and manifests stand in one text.
    #[error("there is PEM beside manifests: keep them in files of their own")]
    Mixed,
    /// There is neither a key nor anything that could be one.
    #[error("there is no key in the text")]
    NoKeys,
    /// The text is no manifest.
    #[error(transparent)]
    Parse(#[from] ParseError),
}

impl Backup {
    /// Reads all keys of a text: PEM, or key Secrets in YAML or JSON, in several documents and in lists.
    ///
    /// # Errors
    /// If the text is neither, or nothing in it is a key or should be one.
    pub fn parse(text: SecretBytes, small: SmallKeys) -> Result<Self, BackupError> {
        let mut backup = Self::default();
        if pem_block::is_pem(text.expose_secret()) {
            backup.read_pem(&text, small)?;
        } else {
            let is_json = text.expose_secret().trim_ascii_start().starts_with(b"{");
            let tree = if is_json { Format::Json } else { Format::Yaml }.read(text)?;
            let lines = LineIndex::new(&tree);
            for &root in tree.documents() {
                backup.read_object((&tree, &lines), root, None, small);
            }
        }
        if backup.keys.is_empty() && backup.problems.is_empty() {
            return Err(BackupError::NoKeys);
        }
        Ok(backup)
    }

    /// Adds what a key Secret of a cluster holds: the values of `tls.key` and `tls.crt`. It has no line.
    pub fn add(&mut self, metadata: ObjectMeta, key: &SecretBytes, cert: &[u8], small: SmallKeys) {
        let name = metadata.name().to_owned();
        self.take(&name, 0, assemble(metadata, key, Ok(Some(cert.into())), small));
    }

    fn read_pem(&mut self, text: &SecretBytes, small: SmallKeys) -> Result<(), BackupError> {
        // In PEM nothing looks like this.
        let is_manifest = |line: &[u8]| line.starts_with(b"apiVersion:") || line.starts_with(b"kind:");
        if text.expose_secret().split(|&byte| byte == b'\n').any(is_manifest) {
            return Err(BackupError::Mixed);
        }
        let (mut certs, first) = (Vec::new(), self.keys.len());
        for block in pem_block::blocks(text.expose_secret()) {
            let line = block.line;
            match block {
                block if SealingKey::is_in(&block) => match SealingKey::from_block(block, small) {
                    Ok(key) => {
                        let secret = KeySecret { metadata: ObjectMeta::default(), key, cert: None };
                        self.keys.push(BackupKey { secret, line });
                    }
                    Err(error) => self.tell("", line, error.into()),
                },
                PemBlock { tag, content, .. } if tag == "CERTIFICATE" => {
                    let der = content.ok_or(CertError::Malformed);
                    match der.and_then(|der| SealingCert::from_der(der.expose_secret())) {
                        Ok(cert) => certs.push((line, cert)),
                        Err(error) => self.tell("", line, BackupProblemKind::Cert(error)),
                    }
                }
                PemBlock { tag, .. } => self.tell("", line, BackupProblemKind::Tag(tag)),
            }
        }
        for (line, cert) in certs {
            let mut keys = self.keys[first..].iter_mut().map(|key| &mut key.secret);
            match keys.find(|secret| secret.key.fingerprint() == cert.fingerprint()) {
                Some(secret) => secret.cert = Some(cert),
                None => self.tell("", line, BackupProblemKind::Stray),
            }
        }
        Ok(())
    }

    /// Reads an object; `implied` is its kind if it does not say one.
    fn read_object(
        &mut self,
        (tree, lines): (&Tree, &LineIndex),
        object: NodeId,
        implied: Option<&str>,
        small: SmallKeys,
    ) {
        let line = lines.line(tree.node(object).span.start);
        let kind = text(tree, object, &["kind"]).map(|kind| String::from_utf8_lossy(kind).into_owned());
        let kind = kind.as_deref().or(implied);
        let items = find(tree, object, &["items"]).filter(|&items| tree.node(items).value == Value::List);
        match (kind, items) {
            (None | Some("List" | "SecretList"), Some(items)) => {
                for item in tree.items(items) {
                    self.read_object((tree, lines), item, Some("Secret"), small);
                }
            }
            (Some("Secret"), _) => {
                let name = name_of(tree, object);
                self.take(&name, line, secret(tree, object, small));
            }
            // What stands between two `---` may be nothing.
            (None, None) if tree.items(object).next().is_none() => {}
            (kind, _) => {
                let name = name_of(tree, object);
                let kind = kind.unwrap_or("thing without a kind").to_owned();
                self.tell(&name, line, BackupProblemKind::Kind(kind));
            }
        }
    }

    /// Adds what became of a Secret.
    fn take(
        &mut self,
        name: &str,
        line: usize,
        secret: Result<(Vec<KeySecret>, Option<BackupProblemKind>), BackupProblemKind>,
    ) {
        let problem = match secret {
            Ok((secrets, problem)) => {
                self.keys.extend(secrets.into_iter().map(|secret| BackupKey { secret, line }));
                problem
            }
            Err(problem) => Some(problem),
        };
        if let Some(kind) = problem {
            self.tell(name, line, kind);
        }
    }

    fn tell(&mut self, name: &str, line: usize, kind: BackupProblemKind) {
        self.problems.push(BackupProblem { name: name.to_owned(), line, kind });
    }
}

/// Writes keys as manifests: one as a Secret, several as a list of them.
///
/// # Errors
/// If the format is not one of manifests.
pub fn to_manifest(secrets: &[KeySecret], format: Format) -> Result<SecretBytes, WriteError> {
    let mut tree = Tree::new(SecretBytes::new());
    let root = tree.open_document(Span::default(), Style::Block);
    if let [secret] = secrets {
        push_secret(&mut tree, secret);
    } else {
        tree.push_json(Some("apiVersion"), &"v1".into());
        tree.push_json(Some("kind"), &"List".into());
        let items = push(&mut tree, "items", Value::List);
        for secret in secrets {
            let item = tree.push(Node::new(Value::Map, None, Span::default(), Style::Block));
            push_secret(&mut tree, secret);
            tree.close(item);
        }
        tree.close(items);
    }
    tree.close(root);
    format.store().write(&tree, None, &WriteOptions::default())
}

/// Appends the fields of a Secret. Values go into the tree alone, which wipes itself.
fn push_secret(tree: &mut Tree, secret: &KeySecret) {
    let secret = secret.to_secret();
    tree.push_json(Some("apiVersion"), &"v1".into());
    tree.push_json(Some("kind"), &"Secret".into());
    tree.push_json(Some("metadata"), &secret.metadata.to_json());
    tree.push_json(Some("type"), &secret.type_.as_deref().into());
    let data = push(tree, "data", Value::Map);
    for (key, value) in &secret.data {
        let encoded = SecretBytes::from(base64::encode(value.expose_secret()));
        let text = tree.intern(encoded.expose_secret());
        let value = push(tree, key, Value::Str(text));
        tree.close(value);
    }
    tree.close(data);
}

fn push(tree: &mut Tree, key: &str, value: Value) -> NodeId {
    let key = Some(tree.intern(key.as_bytes()));
    let style = if matches!(value, Value::Str(_)) { Style::Plain } else { Style::Block };
    tree.push(Node::new(value, key, Span::default(), style))
}

/// Reads a key Secret. What is wrong with the certificate keeps no key from opening values.
fn secret(
    tree: &Tree,
    object: NodeId,
    small: SmallKeys,
) -> Result<(Vec<KeySecret>, Option<BackupProblemKind>), BackupProblemKind> {
    let metadata = metadata(tree, object).map_err(BackupProblemKind::Metadata)?;
    let key = value(tree, object, KEY)?.ok_or(BackupProblemKind::Missing)?;
    assemble(metadata, &key, value(tree, object, CERT), small)
}

/// Puts keys and a certificate together. There may be more keys than the controller would use: all of them open
/// values.
fn assemble(
    metadata: ObjectMeta,
    key: &SecretBytes,
    cert: Result<Option<SecretBytes>, BackupProblemKind>,
    small: SmallKeys,
) -> Result<(Vec<KeySecret>, Option<BackupProblemKind>), BackupProblemKind> {
    let blocks = pem_block::blocks(key.expose_secret()).into_iter().filter(SealingKey::is_in);
    let keys: Vec<_> = blocks.map(|block| SealingKey::from_block(block, small)).collect::<Result<_, _>>()?;
    let parse = |pem: SecretBytes| SealingCert::parse(pem.expose_secret()).map_err(BackupProblemKind::Cert);
    let mut cert = cert.and_then(|pem| pem.map(parse).transpose());
    let secret = |key: SealingKey| KeySecret { metadata: metadata.clone(), key, cert: None };
    let mut secrets: Vec<_> = keys.into_iter().map(secret).collect();
    let first = secrets.first_mut().ok_or(SealingKeyError::Missing)?;
    if matches!(&cert, Ok(Some(cert)) if cert.fingerprint() != first.key.fingerprint()) {
        cert = Err(BackupProblemKind::Foreign);
    }
    let problem = match cert {
        Ok(cert) => {
            first.cert = cert;
            None
        }
        Err(problem) => Some(problem),
    };
    Ok((secrets, problem))
}

/// Returns what a Secret is called, which namespace it is in, its labels and its annotations; but for copies of
/// the Secret in these.
fn metadata(tree: &Tree, object: NodeId) -> Result<ObjectMeta, SecretError> {
    let mut fields = serde_json::Map::new();
    for name in ["name", "namespace", "labels"] {
        if let Some(node) = find(tree, object, &["metadata", name]) {
            fields.insert(name.to_owned(), tree.to_json(node));
        }
    }
    let annotations = find(tree, object, &["metadata", "annotations"]);
    if let Some(annotations) = annotations.filter(|&node| tree.node(node).value == Value::Map) {
        let is_copy = |key: &[u8]| key.ends_with(b"/last-applied-configuration");
        let own = tree.items(annotations).filter_map(|node| Some((node, tree.key(node)?)));
        let own = own.filter(|(_, key)| !is_copy(key));
        let own: serde_json::Map<_, _> =
            own.map(|(node, key)| (String::from_utf8_lossy(key).into_owned(), tree.to_json(node))).collect();
        if !own.is_empty() {
            fields.insert("annotations".to_owned(), own.into());
        }
    }
    ObjectMeta::parse(&fields.into())
}

fn name_of(tree: &Tree, object: NodeId) -> String {
    String::from_utf8_lossy(text(tree, object, &["metadata", "name"]).unwrap_or_default()).into_owned()
}

/// Returns a value of a Secret, whichever way it is written down; in clear wins.
fn value(tree: &Tree, object: NodeId, key: &'static str) -> Result<Option<SecretBytes>, BackupProblemKind> {
    for (field, is_encoded) in [("stringData", false), ("data", true)] {
        let Some(node) = find(tree, object, &[field, key]) else { continue };
        let Value::Str(text) = tree.node(node).value else { return Err(BackupProblemKind::Text(key)) };
        let bytes = tree.bytes(text);
        return if is_encoded {
            let decoded = base64::decode(bytes);
            decoded.map(Some).map_err(|source| BackupProblemKind::Base64 { field: key, source })
        } else {
            Ok(Some(bytes.into()))
        };
    }
    Ok(None)
}

fn text<'a>(tree: &'a Tree, object: NodeId, path: &[&str]) -> Option<&'a [u8]> {
    match tree.node(find(tree, object, path)?).value {
        Value::Str(text) => Some(tree.bytes(text)),
        _ => None,
    }
}

fn find(tree: &Tree, object: NodeId, path: &[&str]) -> Option<NodeId> {
    tree.get(object, &TreePath::from_iter(path.iter().map(|key| Step::Key((*key).to_owned()))))
}

#[cfg(all(test, feature = "aws-lc"))]
mod tests {
    use rand::rngs::OsRng;
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::sealed::{KEY_LABEL, KeySize};

    fn key_secret(name: &str) -> KeySecret {
        let key = SealingKey::generate(KeySize::Rsa2048).expect("a new key");
        let now = OffsetDateTime::UNIX_EPOCH;
        let cert =
            SealingCert::generate(&key, "", now, Duration::days(1), &mut OsRng).expect("a certificate");
        KeySecret::new(key, cert, "kube-system", name)
    }

    fn text_of(secrets: &[KeySecret], format: Format) -> String {
        let text = to_manifest(secrets, format).expect("it can be written");
        String::from_utf8(text.expose_secret().to_vec()).expect("manifests are text")
    }

    fn parse(text: &str) -> Result<Backup, BackupError> {
        Backup::parse(text.into(), SmallKeys::Refuse)
    }

    fn kinds(backup: &Backup) -> Vec<(usize, BackupProblemKind)> {
        backup.problems.iter().map(|problem| (problem.line, problem.kind.clone())).collect()
    }

    fn pem(secret: &KeySecret) -> String {
        String::from_utf8(secret.key.to_pem().expose_secret().to_vec()).expect("PEM is text")
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut secrets = [key_secret("a"), key_secret("b")];
        secrets[1].retire();
        for format in [Format::Yaml, Format::Json] {
            let backup = parse(&text_of(&secrets, format)).expect("a backup");
            assert_eq!(backup.problems, []);
            let found = backup.keys.iter().map(|key| &key.secret);
            let found: Vec<_> = found
                .map(|secret| (secret.metadata.name(), secret.is_retired(), secret.key.fingerprint()))
                .collect();
            let expected = [&secrets[0], &secrets[1]]
                .map(|secret| (secret.metadata.name(), secret.is_retired(), secret.key.fingerprint()));
            assert_eq!(found, expected);
            assert!(backup.keys.iter().all(|key| key.secret.cert.is_some()));
        }
    }

    #[test]
    fn all_documents_of_the_recipe_of_sealed_secrets_are_read() {
        let secrets = [key_secret("a"), key_secret("b"), key_secret("sealed-secrets-key")];
        let (list, legacy) = (text_of(&secrets[..2], Format::Yaml), text_of(&secrets[2..], Format::Yaml));
        let legacy =
            legacy.replace(&format!("        {KEY_LABEL}: active\n"), "").replace("    labels:\n", "");
        assert!(!legacy.contains(KEY_LABEL), "{legacy}");
        let backup = parse(&format!("{list}---\n{legacy}")).expect("a backup");
        assert_eq!((backup.keys.len(), backup.problems.len()), (3, 0));
        assert!(!backup.keys[2].secret.is_retired());
        // There may be no such Secret.
        assert_eq!(parse(&format!("{list}---\n")).expect("a backup").keys.len(), 2);
        let without_kind = list.replace("kind: List\n", "");
        assert_eq!(parse(&without_kind).expect("a backup").keys.len(), 2);
        let typed = list.replace("kind: List\n", "kind: SecretList\n");
        assert_eq!(parse(&typed).expect("a backup").keys.len(), 2);
    }

    #[test]
    fn all_keys_of_a_pem_text_are_read_with_their_certificates() {
        let (first, second) = (key_secret("a"), key_secret("b"));
        let cert = second.cert.as_ref().expect("it has one").to_pem();
        let text = format!("Bag Attributes\n{}{}{cert}", pem(&first), pem(&second));
        let backup = parse(&text).expect("keys");
        assert_eq!((backup.keys.len(), backup.problems.len()), (2, 0));
        assert!(backup.keys[0].secret.cert.is_none() && backup.keys[1].secret.cert.is_some());
        assert_eq!(kinds(&parse(cert).expect("a text")), [(1, BackupProblemKind::Stray)]);
    }

    #[test]
    fn what_gives_no_key_is_told() {
        let key = text_of(&[key_secret("a")], Format::Yaml);
        let text = "apiVersion: v1\nkind: List\nitems:\n- kind: ConfigMap\n  metadata:\n    name: c\n- metadata:\n    name: d\n\
                    - data:\n    tls.key: '!'\n- data:\n    tls.key: 1\n- data:\n    tls.key: eA==\n- x\n";
        let backup = parse(&format!("{text}---\n{key}")).expect("a backup");
        assert_eq!(backup.keys.len(), 1);
        let source = Base64Error(0);
        assert_eq!(
            kinds(&backup),
            [
                (4, BackupProblemKind::Kind("ConfigMap".to_owned())),
                (7, BackupProblemKind::Missing),
                (9, BackupProblemKind::Base64 { field: "tls.key", source }),
                (11, BackupProblemKind::Text("tls.key")),
                (13, BackupProblemKind::Key(SealingKeyError::Missing)),
                (15, BackupProblemKind::Missing),
            ]
        );
        assert_eq!(backup.problems[0].name, "c");
    }

    #[test]
    fn a_certificate_of_another_key_is_none() {
        let mut secret = key_secret("a");
        secret.cert = key_secret("b").cert;
        let backup = parse(&text_of(&[secret], Format::Yaml)).expect("a backup");
        assert!(backup.keys[0].secret.cert.is_none());
        assert_eq!(kinds(&backup), [(1, BackupProblemKind::Foreign)]);
    }

    #[test]
    fn texts_without_keys_are_refused() {
        let error = |text: &str| parse(text).err();
        assert!(matches!(error(""), Some(BackupError::Parse(_))));
        assert!(matches!(error("[1"), Some(BackupError::Parse(_))));
        assert_eq!(error("{}"), Some(BackupError::NoKeys));
        assert_eq!(error("apiVersion: v1\nitems: []\n"), Some(BackupError::NoKeys));
        let mixed = format!("{}kind: Secret\n", pem(&key_secret("a")));
        assert_eq!(error(&mixed), Some(BackupError::Mixed));
    }

    #[test]
    fn a_block_that_is_cut_short_is_told() {
        let text = pem(&key_secret("a"));
        let backup = parse(&format!("{text}{}", &text[..text.len() / 2])).expect("keys");
        assert_eq!(backup.keys.len(), 1);
        assert_eq!(
            kinds(&backup),
            [(text.lines().count() + 1, BackupProblemKind::Key(SealingKeyError::Malformed))]
        );
    }
}
