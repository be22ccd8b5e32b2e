//! Makes the values of a run, and encrypts them: all of it from one seed, and nothing that anybody uses.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use selkie::format::Format;
use selkie::keys::age::{self, AgeService, Identities, IdentityKind, generate};
use selkie::keys::{KeyGroup, MasterKey};
use selkie::sealed::{SealingCert, SealingScope};
use selkie::secret::SecretBytes;
use selkie::sops::{Metadata, Selector};

use super::case::Case;

/// Makes values and cases.
pub struct Maker {
    rng: ChaCha20Rng,
    /// The values since the last case.
    drawn: Vec<String>,
    identity: String,
    /// For whom files are encrypted.
    pub recipient: String,
    /// For whom nothing is encrypted.
    pub other: String,
    cert: SealingCert,
}

impl Maker {
    /// Returns what makes the values of a seed.
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let (ours, other) =
            (generate(IdentityKind::X25519, &mut rng), generate(IdentityKind::X25519, &mut rng));
        let identity = String::from_utf8(ours.secret.expose_secret().to_vec()).expect("an identity is text");
        let cert = SealingCert::parse(CERT.as_bytes()).expect("the certificate of the tests");
        let (recipient, other) = (ours.recipient, other.recipient);
        Self { rng, drawn: Vec::new(), identity, recipient, other, cert }
    }

    /// Begins a case in which something has to be found, with all values since the last.
    pub fn leak(&mut self, name: &'static str) -> Case {
        Case::new(name, true, std::mem::take(&mut self.drawn))
    }

    /// Begins a case in which nothing is wrong, with all values since the last.
    pub fn clean(&mut self, name: &'static str) -> Case {
        Case::new(name, false, std::mem::take(&mut self.drawn))
    }

    /// Returns a password as people choose one.
    pub fn password(&mut self) -> String {
        let words: Vec<_> = WORDS.choose_multiple(&mut self.rng, 2).copied().collect();
        let value = format!("{}{}{}", words[0], self.rng.gen_range(100..10_000), words[1]);
        self.keep(value)
    }

    /// Returns letters and digits at random.
    pub fn token(&mut self, length: usize) -> String {
        let value = self.letters(LETTERS, length);
        self.keep(value)
    }

    /// Returns base64 of random bytes: what looks like a secret and is none, unless it is kept.
    pub fn noise(&mut self, bytes: usize) -> String {
        let bytes: Vec<u8> = (0..bytes).map(|_| self.rng.r#gen()).collect();
        STANDARD.encode(bytes)
    }

    /// Returns random digits of base 16.
    pub fn hex(&mut self, length: usize) -> String {
        self.letters(b"0123456789abcdef", length)
    }

    /// Returns letters of an alphabet at random.
    pub fn letters(&mut self, alphabet: &[u8], length: usize) -> String {
        (0..length).map(|_| char::from(*alphabet.choose(&mut self.rng).expect("letters"))).collect()
    }

    /// Remembers a value that no report may hold.
    pub fn keep(&mut self, value: String) -> String {
        self.drawn.push(value.clone());
        value
    }

    /// Returns a private key in PEM, of random bytes, so that it is nobody's.
    pub fn pem(&mut self, label: &str) -> String {
        let noise = self.noise(600);
        let lines: Vec<_> =
            noise.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        self.drawn.extend(lines.iter().filter(|line| line.len() == 64).cloned());
        let dashes = "-----";
        format!("{dashes}BEGIN {label}{dashes}\n{}\n{dashes}END {label}{dashes}\n", lines.join("\n"))
    }

    /// Returns a certificate, as far as its outside tells.
    pub fn certificate(&mut self) -> String {
        let text = self.pem("CERTIFICATE");
        // It is public.
        self.drawn.retain(|value| !text.contains(value.as_str()));
        text
    }

    /// Returns an identity of age.
    pub fn identity(&mut self, kind: IdentityKind) -> String {
        let identity = generate(kind, &mut self.rng);
        let text = String::from_utf8(identity.secret.expose_secret().to_vec()).expect("an identity is text");
        self.keep(text.trim().to_owned())
    }

    /// Returns a token of GitHub or npm, which ends with its checksum.
    pub fn checked_token(&mut self, prefix: &str) -> String {
        let random = self.letters(LETTERS, 30);
        let mut crc = flate2::Crc::new();
        crc.update(random.as_bytes());
        let (mut sum, mut digits) = (crc.sum(), Vec::new());
        for _ in 0..6 {
            digits.push(LETTERS[sum as usize % LETTERS.len()]);
            sum /= 62;
        }
        digits.reverse();
        self.keep(format!("{prefix}{random}{}", String::from_utf8_lossy(&digits)))
    }

    /// Encrypts with SOPS what a rule of its metadata selects.
    pub fn sops(&mut self, text: &str, format: Format, rule: (&str, &str)) -> String {
        self.sops_with(text, format, rule, |_| {})
    }

    /// Encrypts with SOPS, after something was changed in the metadata.
    pub fn sops_with(
        &mut self,
        text: &str,
        format: Format,
        rule: (&str, &str),
        change: impl FnOnce(&mut Metadata),
    ) -> String {
        let keys = MasterKey::parse_list(&age::KIND, &self.recipient).expect("a recipient");
        let mut metadata = Metadata::new(vec![KeyGroup(keys)]);
        let selector = Selector::from_fields(|field| (field == rule.0).then_some(rule.1));
        metadata.selector = selector.expect("a rule").unwrap_or_default();
        change(&mut metadata);
        let identities = Identities::parse("the tests", &SecretBytes::from(self.identity.as_str()));
        let service = AgeService::new(identities.expect("an identity"));
        let sealed =
            selkie::encrypt(text, format, metadata, &[&service], NOW, &mut self.rng).expect("it encrypts");
        String::from_utf8(sealed.expose_secret().to_vec()).expect("text")
    }

    /// Encrypts a Secret as people do it for Flux and Argo CD.
    pub fn sops_secret(&mut self, text: &str) -> String {
        self.sops(text, Format::Yaml, DATA)
    }

    /// Seals a value.
    pub fn seal(&mut self, value: &str, scope: SealingScope) -> String {
        let value = SecretBytes::from(value);
        self.cert.seal_value(&value, scope, "shop", "db", &mut self.rng).expect("the key is large")
    }

    /// Returns a SealedSecret `shop/db` with one sealed password, and what `more` adds to its `spec`.
    pub fn sealed_secret(&mut self, scope: SealingScope, more: &str) -> String {
        let password = self.password();
        let sealed = self.seal(&password, scope);
        let annotation = match scope {
            SealingScope::ClusterWide => {
                "  annotations:\n    sealedsecrets.bitnami.com/cluster-wide: \"true\"\n"
            }
            SealingScope::NamespaceWide => {
                "  annotations:\n    sealedsecrets.bitnami.com/namespace-wide: \"true\"\n"
            }
            SealingScope::Strict => "",
        };
        format!(
            "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: db\n  namespace: shop\n{annotation}spec:\n  encryptedData:\n    password: {sealed}\n{more}"
        )
    }
}

/// Returns base64.
pub fn base64(value: &str) -> String {
    STANDARD.encode(value)
}

/// Returns a Secret in YAML, with what follows its metadata.
pub fn secret(body: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n  namespace: shop\ntype: Opaque\n{body}")
}

/// Returns a text with each line that far in.
pub fn indented(text: &str, by: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        // Strings take all there is.
        let _ = writeln!(out, "{:by$}{line}", "");
    }
    out
}

/// What people encrypt of a Secret.
pub const DATA: (&str, &str) = ("encrypted_regex", "^(data|stringData)$");
/// What SOPS does without any rule.
pub const ALL: (&str, &str) = ("", "");

const NOW: &str = "2026-01-02T03:04:05Z";

const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const WORDS: &[&str] =
    &["Otter", "Kelp", "Harbour", "Puffin", "Lantern", "Whelk", "Driftwood", "Marlin", "Bollard"];

const CERT: &str = include_str!("../../testdata/sealed-secrets/cert.pem");
