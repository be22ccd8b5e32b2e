//! What tests of rendering are made of: documents, a key that everybody has, and all steps at once.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use crate::format::Format;
use crate::keys::{KEY_KINDS, KeyFuture, KeyGroup, KeyService, MasterKey};
use crate::render::{
    Defer, Document, Emission, EmitMode, Engine, Limits, Memory, RenderError, Reseal, Role, Roles, Rule,
    Sources, TaintRule, by_name, emit, manifests,
};
use crate::sealed::{Key, KeyRegistry, SealingCert, SealingKey, SmallKeys};
use crate::secret::SecretBytes;
use crate::sops::{Metadata, Pattern, Selector};

/// Keeps data keys as hexadecimal digits, for whoever asks.
pub(super) struct Vault;

impl KeyService for Vault {
    fn name(&self) -> String {
        "vault".to_owned()
    }

    fn wrap<'a>(&'a self, _key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        let digits = secret.expose_secret().iter().map(|byte| format!("{byte:02x}")).collect();
        Box::pin(std::future::ready(Some(Ok(digits))))
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        let digits = key.wrapped().as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
            u8::from_str_radix(pair, 16).expect("hexadecimal digits")
        });
        Box::pin(std::future::ready(Some(Ok(digits.collect::<Vec<u8>>().into()))))
    }
}

/// Encrypts a document. All documents have the same data key, as those of one team may.
pub(super) fn encrypted(source: &str, format: Format, regex: &str) -> String {
    let kind = KEY_KINDS.iter().find(|kind| kind.name == "age").expect("a kind");
    let key = MasterKey::from_metadata(kind, json!({"recipient": "age1x"}).as_object().expect("an object"));
    let mut metadata = Metadata::new(vec![KeyGroup(vec![key])]);
    if !regex.is_empty() {
        metadata.selector = Selector::EncryptedRegex(Pattern::parse(regex).expect("a pattern"));
    }
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let now = "2026-11-23T02:23:49Z";
    let text = crate::encrypt(source, format, metadata, &[&Vault], now, &mut rng).expect("encrypted");
    String::from_utf8(text.expose_secret().to_vec()).expect("text")
}

/// Encrypts a manifest as most do.
pub(super) fn manifest(source: &str) -> String {
    encrypted(source, Format::Yaml, "^(data|stringData)$")
}

/// Who renders what.
pub(super) struct Kit {
    pub(super) files: Memory,
    pub(super) roles: Option<Roles>,
    pub(super) rule: Rule,
    pub(super) has_keys: bool,
    pub(super) sealing_keys: Option<KeyRegistry>,
    pub(super) is_lenient: bool,
}

impl Kit {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let mut memory = Memory::default();
        for &(path, text) in files {
            memory.insert(path, text).expect("a path");
        }
        let (rule, is_lenient) = (Rule::default(), false);
        Self { files: memory, roles: None, rule, has_keys: true, sealing_keys: None, is_lenient }
    }

    pub(super) fn without_keys(mut self) -> Self {
        self.has_keys = false;
        self
    }

    pub(super) fn allowing(mut self, kind: &str, path: &str) -> Self {
        self.rule.taint.push(TaintRule { kind: kind.to_owned(), path: path.to_owned() });
        self
    }

    pub(super) fn without_sealing_keys(mut self) -> Self {
        self.sealing_keys = None;
        self
    }

    /// Says what a file is.
    pub(super) fn role(mut self, path: &str, role: Role) -> Self {
        self.roles.get_or_insert_default().insert(path.to_owned(), role);
        self
    }

    /// Renders all files as manifests.
    pub(super) fn render(&self, mode: &EmitMode) -> Result<Emission, RenderError> {
        self.with_engine(|engine, limits| {
            let roles = manifests(&self.files)?;
            let mut sources = engine.open(&self.files, &roles)?;
            let documents = engine.documents(&self.files, &roles, &mut sources)?;
            emit(&self.rule, limits, &sources, &documents, mode)
        })
    }

    /// Renders what `build` makes of the files, in which marks stand.
    pub(super) fn built(
        &self,
        mode: &EmitMode,
        build: impl FnOnce(&Sources) -> String,
    ) -> Result<Emission, RenderError> {
        self.made(mode, build, |engine, stream, sources| engine.built(stream, sources))
    }

    /// Renders a stream that others made of the files as they are.
    pub(super) fn stream(&self, mode: &EmitMode, stream: &str) -> Result<Emission, RenderError> {
        self.made(mode, |_| stream.to_owned(), |engine, stream, sources| engine.stream(stream, sources))
    }

    fn made(
        &self,
        mode: &EmitMode,
        build: impl FnOnce(&Sources) -> String,
        take: impl FnOnce(&Engine<'_>, &SecretBytes, &mut Sources) -> Result<Vec<Document>, RenderError>,
    ) -> Result<Emission, RenderError> {
        self.with_engine(|engine, limits| {
            let roles = self.roles.clone().unwrap_or_else(|| by_name(&self.files));
            let mut sources = if self.is_lenient {
                engine.open_lenient(&self.files, &roles)?.0
            } else {
                engine.open(&self.files, &roles)?
            };
            let stream = build(&sources).into();
            let documents = take(engine, &stream, &mut sources)?;
            emit(&self.rule, limits, &sources, &documents, mode)
        })
    }

    fn with_engine<T>(&self, run: impl FnOnce(&Engine<'_>, &Limits) -> T) -> T {
        let (limits, services): (_, [&dyn KeyService; 1]) = (Limits::default(), [&Vault]);
        let services = self.has_keys.then_some(services.as_slice());
        let sealing_keys = self.sealing_keys.as_ref();
        run(&Engine { services, sealing_keys, rule: &self.rule, limits: &limits }, &limits)
    }
}

/// Returns the entries of a Secret as texts; what is no text is shown as base64.
pub(super) fn data(secret: &Json) -> BTreeMap<String, String> {
    assert_eq!(secret["stringData"], Json::Null);
    let text = |value: &Json| {
        let text = value.as_str().expect("base64");
        let bytes = crate::sealed::decode_base64(text.as_bytes()).expect("base64");
        String::from_utf8(bytes.expose_secret().to_vec()).unwrap_or_else(|_| text.to_owned())
    };
    secret["data"].as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

/// Returns what an object is but for its values: keys and types.
pub(super) fn shape(value: &Json) -> Json {
    match value {
        Json::Array(items) => items.iter().map(shape).collect(),
        Json::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        Json::Bool(_) => "bool".into(),
        Json::Null => Json::Null,
        Json::Number(number) if number.is_f64() => "float".into(),
        Json::Number(_) => "int".into(),
        Json::String(_) => "text".into(),
    }
}

pub(super) fn only(emission: &Emission) -> &Json {
    let [object] = &emission.objects[..] else { panic!("{} objects", emission.objects.len()) };
    object
}

pub(super) fn reseal(key: u8) -> EmitMode {
    let cert = SealingCert::parse(include_bytes!("../../../../testdata/sealed-secrets/new-cert.pem"));
    EmitMode::Reseal(Box::new(Reseal { cert: cert.expect("a certificate"), key: Zeroizing::new([key; 32]) }))
}

pub(super) fn defer() -> EmitMode {
    EmitMode::Defer(Defer { key_secret: Some("keys".to_owned()) })
}

/// The private key for what [`reseal`] seals.
pub(super) fn sealing_keys() -> KeyRegistry {
    let pem = include_str!("../../../../testdata/sealed-secrets/new-key.pem");
    let mut keys = KeyRegistry::new();
    keys.add(Key::new(SealingKey::parse(&pem.into(), SmallKeys::Refuse).expect("a key"), "test"));
    keys
}
