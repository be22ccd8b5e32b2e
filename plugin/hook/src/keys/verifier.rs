//! Whether documents are as they were encrypted, by the keys at hand.
//!
//! Invariant: what is decrypted is dropped where it is; a verdict alone is handed out.

use selkie::check::{Verdict, Verifier};
use selkie::format::Format;
use selkie::sops::{BY_EFFORT, Envelope, MacCheck, Metadata};

use super::Keys;

/// Checks the MACs of documents with the keys of a caller.
pub struct KeysVerifier<'a> {
    keys: &'a dyn Keys,
}

impl<'a> KeysVerifier<'a> {
    /// Returns what checks documents with these keys.
    #[must_use]
    pub const fn new(keys: &'a dyn Keys) -> Self {
        Self { keys }
    }
}

impl Verifier for KeysVerifier<'_> {
    fn verify(&self, format: Format, text: &[u8]) -> Verdict {
        let tree = match format.read(text) {
            Ok(tree) => tree,
            Err(error) => return Verdict::Bad(error.to_string()),
        };
        let metadata = match Metadata::from_entry(tree.metadata()) {
            Ok(metadata) => metadata,
            Err(error) => return Verdict::Bad(error.to_string()),
        };
        let mut envelope = None;
        let called = self.keys.with_services(false, &mut |services| {
            envelope = pollster::block_on(Envelope::recover(metadata.clone(), services, BY_EFFORT)).ok();
        });
        // A key that cannot be read is none.
        let (Ok(()), Some(envelope)) = (called, envelope) else { return Verdict::NoKey };
        match envelope.open(format, tree, MacCheck::Require) {
            Ok(_) => Verdict::Good,
            Err(error) => Verdict::Bad(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use selkie::keys::age::{AgeService, Identities, IdentityKind, KIND, generate};
    use selkie::keys::{KeyGroup, KeyService, MasterKey};

    use super::*;

    struct Age(AgeService);

    impl Keys for Age {
        fn with_services(&self, _: bool, with: &mut dyn FnMut(&[&dyn KeyService])) -> Result<(), String> {
            with(&[&self.0]);
            Ok(())
        }
    }

    #[test]
    fn verdict_tells_changes_from_a_missing_key() {
        let rng = &mut rand::rngs::OsRng;
        let identity = generate(IdentityKind::X25519, rng);
        let of = |identities| Age(AgeService::new(identities));
        let keys = of(Identities::parse("new", &identity.secret).expect("an identity"));
        let group = KeyGroup(MasterKey::parse_list(&KIND, &identity.recipient).expect("a recipient"));
        let metadata = Metadata::new(vec![group]);
        let now = "2026-01-02T03:04:05Z";
        let text = "a: blue\nb_unencrypted: green\n";
        let sealed = selkie::encrypt(text, Format::Yaml, metadata, &[&keys.0], now, rng).expect("encrypted");
        let verify = |keys: &Age, text: &[u8]| KeysVerifier::new(keys).verify(Format::Yaml, text);
        assert_eq!(verify(&keys, sealed.expose_secret()), Verdict::Good);
        let changed = String::from_utf8_lossy(sealed.expose_secret()).replace("green", "grey");
        assert!(matches!(verify(&keys, changed.as_bytes()), Verdict::Bad(why) if !why.contains("grey")));
        assert_eq!(verify(&of(Identities::new()), sealed.expose_secret()), Verdict::NoKey);
    }
}
