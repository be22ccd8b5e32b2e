//! The face that the page sees: bytes and texts in, JSON out, errors as JSON.
//!
//! Plaintext comes by value, into buffers that wipe themselves. The time comes as milliseconds, as browsers tell it.

use std::hint::black_box;

use rand_core::OsRng;
use selkie::format::Format;
use selkie::sealed::{SealingScope, Secret};
use selkie::secret::SecretBytes;
use time::{Duration, OffsetDateTime};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::certificate::{self, Description};
use crate::encrypting::{self, Preview, Rule};
use crate::problem::Problem;
use crate::sealing::{self, Place};

/// A Secret that a form describes.
#[wasm_bindgen]
pub struct SecretForm {
    secret: Secret,
    length: usize,
}

#[wasm_bindgen]
impl SecretForm {
    /// Returns a Secret without values.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(name: &str, namespace: &str, type_: &str) -> Self {
        Self { secret: sealing::new_secret(name, namespace, type_), length: 0 }
    }

    /// Adds a value.
    ///
    /// # Errors
    /// If there is one of this key, or a Secret cannot hold them all.
    pub fn add(&mut self, key: &str, value: Vec<u8>) -> Result<(), String> {
        let value = SecretBytes::from(value);
        self.length = self.length.saturating_add(key.len()).saturating_add(value.len());
        if self.length > MAX_SECRET {
            return Err(Problem::TooLarge.into());
        }
        if self.secret.data.contains_key(key) {
            return Err(Problem::DuplicateKey(key.to_owned()).into());
        }
        self.secret.data.insert(key.to_owned(), value);
        Ok(())
    }

    /// Seals the Secret for a certificate, and returns `{text, notes, warnings}`.
    ///
    /// # Errors
    /// If the certificate or the Secret cannot be used.
    pub fn seal(
        &self,
        certificate: &[u8],
        accepts_expired: bool,
        scope: &str,
        now: f64,
    ) -> Result<String, String> {
        let certificate = certificate::usable(certificate, accepts_expired, moment(now)?)?;
        let scope: SealingScope = scope.parse().map_err(Problem::Scope)?;
        Ok(sealing::seal_form(&self.secret, scope, &certificate, &mut OsRng)?.to_json().to_string())
    }
}

/// Seals the Secrets of a manifest for a certificate, and returns `{text, notes, warnings}`. Without a scope, that of
/// their annotations counts.
///
/// # Errors
/// If the certificate or the manifest cannot be used.
#[wasm_bindgen]
pub fn seal_manifest(
    manifest: Vec<u8>,
    namespace: &str,
    scope: &str,
    certificate: &[u8],
    accepts_expired: bool,
    now: f64,
) -> Result<String, String> {
    let manifest = SecretBytes::from(manifest);
    let certificate = certificate::usable(certificate, accepts_expired, moment(now)?)?;
    let scope = if scope.is_empty() { None } else { Some(scope.parse().map_err(Problem::Scope)?) };
    let place = Place { namespace: namespace.to_owned(), scope };
    Ok(sealing::seal_manifest(manifest, &place, &certificate, &mut OsRng)?.to_json().to_string())
}

/// Returns `{fingerprint, bits, issuer, notBefore, notAfter, standing}` of a certificate.
///
/// # Errors
/// If it is none.
#[wasm_bindgen]
pub fn describe_certificate(certificate: &[u8], now: f64) -> Result<String, String> {
    Ok(Description::of(certificate, moment(now)?)?.to_json().to_string())
}

/// Encrypts a document of SOPS for age recipients, and returns `{text, notes, warnings}`.
///
/// # Errors
/// If the document, the recipients or the rule cannot be used.
#[wasm_bindgen]
pub fn encrypt(
    source: Vec<u8>,
    format: &str,
    recipients: &str,
    rule: &str,
    rule_text: &str,
    now: f64,
) -> Result<String, String> {
    let source = SecretBytes::from(source);
    let (format, rule) = (format_named(format)?, Rule { field: rule, text: rule_text });
    let outcome = encrypting::encrypt(source, format, recipients, rule, moment(now)?, &mut OsRng)?;
    Ok(outcome.to_json().to_string())
}

/// Returns `{encrypted, clear, places, comments}`: what encrypting a document would do.
///
/// # Errors
/// If it would not be encrypted.
#[wasm_bindgen]
pub fn preview(source: Vec<u8>, format: &str, rule: &str, rule_text: &str) -> Result<String, String> {
    let source = SecretBytes::from(source);
    let (format, rule) = (format_named(format)?, Rule { field: rule, text: rule_text });
    Ok(Preview::of(source, format, rule)?.to_json().to_string())
}

/// Returns the name of the format that the end of a file's name stands for.
#[wasm_bindgen]
#[must_use]
pub fn format_of(file_name: &str) -> String {
    Format::from_file_name(file_name).store().name().to_owned()
}

/// Wipes what calls have left on the stack: the memory that they gave back is wiped already. The page calls it after
/// every other call that had plaintext.
#[wasm_bindgen]
#[inline(never)]
pub fn wipe_stack() {
    let mut room = [0_u8; STACK];
    // Looked at, so that the writes are not left out.
    black_box(&mut room);
}

fn format_named(name: &str) -> Result<Format, Problem> {
    Format::from_name(name).ok_or_else(|| Problem::Format(name.to_owned()))
}

fn moment(milliseconds: f64) -> Result<OffsetDateTime, Problem> {
    // Beyond what a browser can tell, the sum is none.
    let since = Duration::checked_seconds_f64(milliseconds / 1000.0).ok_or(Problem::Clock)?;
    OffsetDateTime::UNIX_EPOCH.checked_add(since).ok_or(Problem::Clock)
}

/// Most of the stack, which is one MiB in a browser.
const STACK: usize = 768 << 10;
/// What the API server takes.
const MAX_SECRET: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use selkie::keys::age::{AgeService, Identities, IdentityKind, generate};
    use selkie::sealed::{Key, KeyRegistry, SealedSecret, SealingKey, SmallKeys};
    use serde_json::Value as Json;

    use super::*;

    const CERTIFICATE: &[u8] = include_bytes!("../../../testdata/sealed-secrets/cert.pem");
    const KEY: &str = include_str!("../../../testdata/sealed-secrets/key-pkcs1.pem");
    /// A day at which it is valid, and one at which it is not any more.
    const NOW: f64 = 1.8e12;
    const LATE: f64 = 2.5e12;

    fn form() -> SecretForm {
        let mut form = SecretForm::new("db", "shop", "");
        form.add("password", b"of the sea".to_vec()).expect("a first value");
        form.add("key", vec![0, 255, 10]).expect("a second value");
        form
    }

    fn problem(result: Result<String, String>) -> Json {
        serde_json::from_str(&result.expect_err("it is refused")).expect("problems are JSON")
    }

    fn text(result: Result<String, String>) -> String {
        let outcome: Json = serde_json::from_str(&result.expect("it works")).expect("outcomes are JSON");
        outcome["text"].as_str().expect("there is a text").to_owned()
    }

    /// Opens the items of the first SealedSecret of a text.
    fn opened(text: &str) -> Vec<(String, Vec<u8>)> {
        let tree = Format::Yaml.read(text).expect("it is YAML");
        let sealed = SealedSecret::from_json(&tree.to_json(tree.documents()[0])).expect("a SealedSecret");
        let mut keys = KeyRegistry::new();
        keys.add(Key::new(SealingKey::parse(&KEY.into(), SmallKeys::Refuse).expect("a key"), "key"));
        let open = |(key, item): (&String, &String)| {
            let value = keys.open(item, &sealed.label()).expect("it opens").value;
            (key.clone(), value.expose_secret().to_vec())
        };
        sealed.encrypted_data.iter().map(open).collect()
    }

    #[test]
    fn a_form_is_sealed_for_its_place() {
        let text = text(form().seal(CERTIFICATE, false, "strict", NOW));
        let expected =
            [("key".to_owned(), vec![0, 255, 10]), ("password".to_owned(), b"of the sea".to_vec())];
        assert_eq!(opened(&text), expected);
        assert!(text.contains("namespace: shop") && text.contains("kind: SealedSecret"), "{text}");
    }

    #[test]
    fn a_manifest_is_sealed_and_the_rest_of_it_stays() {
        let manifest = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: c} # mine\n---\n\
                        apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\nstringData:\n  a: b\n";
        let seal = |namespace: &str, scope: &str| {
            seal_manifest(manifest.into(), namespace, scope, CERTIFICATE, false, NOW)
        };
        let sealed = text(seal("shop", ""));
        assert!(sealed.starts_with("kind: ConfigMap\napiVersion: v1\nmetadata: {name: c} # mine\n---\n"));
        let tree = Format::Yaml.read(sealed.as_str()).expect("it is YAML");
        let one = SealedSecret::from_json(&tree.to_json(tree.documents()[1])).expect("a SealedSecret");
        assert_eq!(one.label(), "shop/db");
        let refused = problem(seal("", ""));
        assert_eq!((&refused["code"], &refused["line"]), (&"seal".into(), &5.into()));
        text(seal("", "cluster-wide"));
        assert_eq!(problem(seal("shop", "no-scope"))["field"], "scope");
    }

    #[test]
    fn what_cannot_be_sealed_is_told_with_its_field() {
        let of = |form: &SecretForm, scope: &str| {
            let refused = problem(form.seal(CERTIFICATE, false, scope, NOW));
            let word = |field: &str| refused[field].as_str().unwrap_or_default().to_owned();
            (word("code"), word("field"))
        };
        let form = |name: &str, namespace: &str, key: &str| {
            let mut form = SecretForm::new(name, namespace, "");
            form.add(key, b"v".to_vec()).expect("a value");
            form
        };
        let expect = |code: &str, field: &str| (code.to_owned(), field.to_owned());
        assert_eq!(of(&form("", "shop", "a"), "strict"), expect("no-name", "name"));
        assert_eq!(of(&form("db", "", "a"), "strict"), expect("no-namespace", "namespace"));
        assert_eq!(of(&form("D B", "shop", "a"), "strict"), expect("name", "name"));
        assert_eq!(of(&form("db", "Shop", "a"), "strict"), expect("name", "namespace"));
        assert_eq!(of(&form("db", "shop", "a b"), "strict"), expect("key-name", "values"));
        assert_eq!(of(&SecretForm::new("db", "shop", ""), "strict"), expect("empty", "values"));
        let mut twice = form("db", "shop", "a");
        assert!(twice.add("a", Vec::new()).expect_err("it is there").contains("duplicate-key"));
        assert!(twice.add("b", vec![0; MAX_SECRET]).expect_err("too much").contains("too-large"));
    }

    #[test]
    fn certificates_are_described_and_expired_ones_refused_unless_accepted() {
        let standing = |pem: &[u8], now| {
            let facts: Json = serde_json::from_str(&describe_certificate(pem, now)?).expect("facts are JSON");
            Ok::<_, String>(format!("{} {}", facts["standing"], facts["issuer"]))
        };
        assert_eq!(standing(CERTIFICATE, NOW).as_deref(), Ok("\"valid\" \"CN=x\""));
        assert_eq!(standing(CERTIFICATE, 0.0).as_deref(), Ok("\"future\" \"CN=x\""));
        assert_eq!(standing(CERTIFICATE, LATE).as_deref(), Ok("\"expired\" \"CN=x\""));
        assert_eq!(problem(form().seal(CERTIFICATE, false, "strict", LATE))["code"], "expired");
        text(form().seal(CERTIFICATE, true, "strict", LATE));
        assert_eq!(problem(standing(b"", NOW))["code"], "certificate");
        let elliptic = include_bytes!("../../../testdata/sealed-secrets/cli/ec.crt");
        assert_eq!(problem(standing(elliptic, NOW))["field"], "certificate");
        let private = problem(standing(KEY.as_bytes(), NOW));
        assert_eq!(private["code"], "private-key");
        assert_eq!(problem(standing(CERTIFICATE, f64::NAN))["code"], "clock");
        assert_eq!(problem(standing(CERTIFICATE, f64::MAX))["code"], "clock");
    }

    #[test]
    fn problems_of_manifests_have_lines_and_no_values() {
        let of =
            |manifest: &str| problem(seal_manifest(manifest.into(), "shop", "", CERTIFICATE, false, NOW));
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\n";
        let broken = of(&format!("{secret}stringData:\n  a: \"hunter2\n"));
        assert_eq!(broken["code"], "manifest");
        assert!(broken["line"].as_u64() >= Some(5), "{broken}");
        assert_eq!(of("a: b\n")["code"], "no-secret");
        let clear = of(&format!("{secret}data:\n  a: hunter2!\n"));
        assert_eq!((&clear["code"], &clear["line"]), (&"manifest".into(), &1.into()));
        assert!(clear["hint"].is_string() && !clear.to_string().contains("hunter2"), "{clear}");
    }

    #[test]
    fn documents_of_every_format_open_with_the_identity() {
        for kind in [IdentityKind::X25519, IdentityKind::Hybrid] {
            let identity = generate(kind, &mut OsRng);
            let service =
                AgeService::new(Identities::parse("a new key", &identity.secret).expect("identities"));
            let recipients = format!("# mine\n{}\n", identity.recipient);
            let cases = [
                ("yaml", "a: seal # of the sea\n"),
                ("json", "{\n\t\"a\": \"seal\"\n}\n"),
                ("dotenv", "a=seal\n"),
                ("ini", "[s]\na = seal\n"),
                ("binary", "\u{0}seal"),
            ];
            for (format, plain) in cases {
                let encrypted = text(encrypt(plain.into(), format, &recipients, "", "", NOW));
                assert!(!encrypted.contains("seal"), "{encrypted}");
                let format = Format::from_name(format).expect("a format");
                let opened = selkie::decrypt(encrypted, format, &[&service]).expect("it opens");
                assert_eq!(String::from_utf8_lossy(opened.expose_secret()), plain);
            }
        }
    }

    #[test]
    fn documents_that_cannot_be_encrypted_are_told_by_line() {
        let of = |text: &str, format: &str, rule: &str| {
            let recipient = "age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun";
            problem(encrypt(text.into(), format, recipient, rule, "^x$", NOW))
        };
        let broken = of("a: b\nc: \"hunter2\n", "yaml", "");
        assert_eq!(broken["code"], "parse");
        assert!(broken["line"].as_u64() >= Some(2) && !broken.to_string().contains("hunter2"), "{broken}");
        assert_eq!(of("a: b\n", "yaml", "encrypted_regex")["field"], "rule");
        assert_eq!(of("a: b\n", "toml", "")["code"], "format");
        assert_eq!(of("a: b\nsops:\n  mac: x\n", "yaml", "")["code"], "encrypt");
    }

    #[test]
    fn what_stays_in_clear_is_told_and_formats_known_by_name() {
        let found =
            preview("a: b\nx: c\n".into(), "yaml", "encrypted_suffix", "x").expect("it can be encrypted");
        let found: Json = serde_json::from_str(&found).expect("previews are JSON");
        assert_eq!(found["places"], serde_json::json!([{"line": 1, "path": "[\"a\"]"}]));
        let formats = ["a.yml", "a.json", ".env", "a.ini", "a.p12"].map(format_of);
        assert_eq!(formats, ["yaml", "json", "dotenv", "ini", "binary"]);
    }
}
