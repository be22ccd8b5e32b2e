//! What of a document goes to its destination: the document, the document for other keys, or what it says.

use rand::rngs::OsRng;
use selkie::format::{Format, WriteOptions};
use selkie::keys::KeyService;
use selkie::secret::SecretBytes;
use selkie::sops::config::CreationRule;
use selkie::sops::{Envelope, Metadata, Opened, Stash};

use super::{PublishError, Takes};

/// What goes to a destination.
pub struct Content {
    /// The bytes. They are those of a secret only where a place takes values.
    pub bytes: SecretBytes,
    /// What was made of the document.
    pub form: Form,
}

/// What was made of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Nothing.
    AsItIs,
    /// It was encrypted with a new data key, for other keys and by another selector.
    Recreated,
    /// It was decrypted.
    Values,
}

/// How a document is written that is encrypted for other keys.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// As it is written already.
    InPlace,
    /// As sops writes it.
    Sops(WriteOptions),
}

impl Content {
    /// Returns what a place gets of a document that was opened, its MAC checked.
    ///
    /// # Errors
    /// If it cannot be encrypted as the rule says, or the place cannot keep what it says.
    pub fn of(
        opened: &Opened,
        takes: Takes,
        recreation: Option<Metadata>,
        style: Style,
        services: &[&dyn KeyService],
        now: &str,
    ) -> Result<Self, PublishError> {
        match (takes, recreation) {
            (Takes::Values, _) => values(opened).map(|bytes| Self { bytes, form: Form::Values }),
            (Takes::Document, None) => {
                Ok(Self { bytes: SecretBytes::from(opened.tree().source()), form: Form::AsItIs })
            }
            (Takes::Document, Some(metadata)) => {
                let bytes = recreate(opened, metadata, style, services, now)?;
                Ok(Self { bytes, form: Form::Recreated })
            }
        }
    }
}

/// Returns the metadata of a document that is encrypted by a recreation rule, or `None` if the rule names no keys:
/// the document then stays as it is. The rule says all that a creation rule does, as for a new document.
#[must_use]
pub fn recreated(rule: Option<&CreationRule>) -> Option<Metadata> {
    let rule = rule.filter(|rule| !rule.is_without_keys())?;
    let mut metadata = Metadata::new(rule.groups.clone());
    metadata.shamir_threshold = rule.shamir_threshold.unwrap_or_default().into();
    metadata.selector = rule.selector.clone().unwrap_or_default();
    metadata.mac_only_encrypted = rule.mac_only_encrypted;
    Some(metadata)
}

#[expect(clippy::disallowed_methods, reason = "whoever calls this writes the log")]
fn recreate(
    opened: &Opened,
    metadata: Metadata,
    style: Style,
    services: &[&dyn KeyService],
    now: &str,
) -> Result<SecretBytes, PublishError> {
    let format = opened.format();
    let plain = format.read(opened.plaintext()?)?;
    let envelope = pollster::block_on(Envelope::create(metadata, services, now, &mut OsRng))?;
    // Without a stash: not a byte of the old ciphertext is in the new one.
    let sealed = envelope.seal(format, plain, Stash::new(), now, &mut OsRng)?;
    Ok(match style {
        Style::InPlace => sealed.in_place()?,
        Style::Sops(options) => sealed.write(format, &options)?,
    })
}

/// Returns what a document says as one JSON object, without comments.
fn values(opened: &Opened) -> Result<SecretBytes, PublishError> {
    opened.write(Format::Json, &WriteOptions { indent: Some(0) }).map_err(PublishError::Values)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "there is no log to go past")]
mod tests {
    use pollster::block_on;
    use selkie::keys::age::{AgeService, Identities};
    use selkie::sops::config::Config;
    use selkie::sops::{MacCheck, Selector, SelectorError};

    use super::*;

    const IDENTITY: &str = "AGE-SECRET-KEY-1XQFNRA25V82X52SK40TJMAZ83F3DN88R5P3S0VTWNUEHA2YV7H8QUJFDNP";
    const RECIPIENT: &str = "age17jf3fza89glmnzdh57m462m3uvwmmjlhrlaa8wejg63g77x0qsnstk4un8";
    const OTHER: &str = "age19arxmmud7trhpn3yy0gs964hjszeya8lhpkj60ugy5cjjfqhspcqmthp9d";
    const NOW: &str = "2026-11-28T10:00:00Z";

    fn service() -> AgeService {
        AgeService::new(Identities::parse("test", &SecretBytes::from(IDENTITY)).expect("an identity"))
    }

    fn rule(text: &str) -> CreationRule {
        let text = format!("destination_rules:\n- s3_bucket: b\n  recreation_rule: {text}\n");
        let config = Config::parse(text.as_bytes()).expect("a configuration");
        let rule = config.destination_for("a").expect("it can be read").expect("it matches");
        rule.recreation_rule.clone().expect("a rule")
    }

    /// Encrypts a text as sops does by default, and opens it again.
    fn opened(format: Format, text: &str) -> Opened {
        let metadata = recreated(Some(&rule(&format!("{{age: {RECIPIENT}}}")))).expect("keys");
        let envelope =
            block_on(Envelope::create(metadata, &[&service()], NOW, &mut OsRng)).expect("it is wrapped");
        let tree = format.read(text).expect("a document");
        let sealed = envelope.seal(format, tree, Stash::new(), NOW, &mut OsRng).expect("it is sealed");
        let sealed = sealed.in_place().expect("it is written");
        open(format, sealed.expose_secret())
    }

    fn open(format: Format, text: &[u8]) -> Opened {
        let tree = format.read(SecretBytes::from(text)).expect("a document");
        let metadata = Metadata::from_entry(tree.metadata()).expect("metadata");
        let envelope = block_on(Envelope::recover(metadata, &[&service()], &[])).expect("the key fits");
        envelope.open(format, tree, MacCheck::Require).expect("it opens")
    }

    fn content(opened: &Opened, takes: Takes, rule: Option<&CreationRule>) -> Result<Content, PublishError> {
        Content::of(opened, takes, recreated(rule), Style::InPlace, &[&service()], NOW)
    }

    fn values_of(format: Format, text: &str) -> Result<String, PublishError> {
        let content = content(&opened(format, text), Takes::Values, None)?;
        Ok(String::from_utf8(content.bytes.expose_secret().to_vec())
            .expect("a text")
            .replace(['\n', ' '], ""))
    }

    #[test]
    fn a_document_stays_as_it_is_unless_the_rule_has_keys() {
        let opened = opened(Format::Yaml, "a: x\n");
        for rule in [None, Some(&rule("{encrypted_regex: ^b$}"))] {
            let content = content(&opened, Takes::Document, rule).expect("content");
            assert_eq!(content.form, Form::AsItIs);
            assert_eq!(content.bytes.expose_secret(), opened.tree().source());
        }
    }

    #[test]
    fn every_selector_of_the_rule_applies() {
        let opened = opened(Format::Yaml, "aa: x\n# b\nbb: y\n");
        for (selector, encrypted) in [
            ("encrypted_suffix: a", [true, false]),
            ("unencrypted_suffix: a", [false, true]),
            ("encrypted_regex: ^bb$", [false, true]),
            ("unencrypted_regex: ^bb$", [true, false]),
            ("encrypted_comment_regex: b", [false, true]),
            ("unencrypted_comment_regex: b", [true, false]),
        ] {
            let rule = rule(&format!("{{age: {RECIPIENT}, mac_only_encrypted: true, {selector}}}"));
            let content = content(&opened, Takes::Document, Some(&rule)).expect(selector);
            let text = String::from_utf8(content.bytes.expose_secret().to_vec()).expect("a text");
            let is_clear = [text.contains("aa: x"), text.contains("bb: y")];
            assert_eq!(is_clear.map(|clear| !clear), encrypted, "{selector}: {text}");
            let again = open(Format::Yaml, text.as_bytes());
            assert!(again.metadata().mac_only_encrypted);
            let (field, value) = selector.split_once(": ").expect("a field");
            let expected = Selector::from_fields(|name| (name == field).then_some(value));
            assert_eq!(Ok(Some(again.metadata().selector.clone())), expected as Result<_, SelectorError>);
            assert_eq!(again.plaintext().expect("a text").expose_secret(), b"aa: x\n# b\nbb: y\n");
        }
    }

    #[test]
    fn a_recreated_document_shares_nothing_with_the_old_one() {
        let opened = opened(Format::Json, "{\"a\": \"x\"}\n");
        let rule = rule(&format!(
            "{{shamir_threshold: 2, key_groups: [{{age: [{RECIPIENT}]}}, {{age: [{OTHER}, {RECIPIENT}]}}]}}"
        ));
        let content = content(&opened, Takes::Document, Some(&rule)).expect("content");
        assert_eq!(content.form, Form::Recreated);
        let again = open(Format::Json, content.bytes.expose_secret());
        assert_eq!((again.metadata().groups.len(), again.metadata().shamir_threshold), (2, 2));
        let ciphertexts = |text: &[u8]| -> Vec<String> {
            let text = String::from_utf8_lossy(text).into_owned();
            text.split("ENC[")
                .skip(1)
                .map(|part| part.split(']').next().unwrap_or_default().to_owned())
                .collect()
        };
        let old = ciphertexts(opened.tree().source());
        assert!(ciphertexts(content.bytes.expose_secret()).iter().all(|new| !old.contains(new)));
    }

    #[test]
    fn a_rule_that_selects_nothing_is_refused() {
        let rule = rule(&format!("{{age: {RECIPIENT}, encrypted_regex: ^none$}}"));
        let refused = content(&opened(Format::Yaml, "a: x\n"), Takes::Document, Some(&rule)).map(|_| ());
        assert!(matches!(refused, Err(PublishError::Seal(_))), "{refused:?}");
    }

    #[test]
    fn values_are_json_without_comments() {
        let text = "# c\na: [1, {x: y}, []]\nl:\n  # c\n  - z\nn: ~\nb: true\nf: 1.5\nm: {}\n";
        assert_eq!(
            values_of(Format::Yaml, text).expect("values"),
            r#"{"a":[1,{"x":"y"},[]],"l":["z"],"n":null,"b":true,"f":1.5,"m":{}}"#
        );
        assert_eq!(values_of(Format::Dotenv, "# c\nA=b\n").expect("values"), r#"{"A":"b"}"#);
        assert_eq!(values_of(Format::Binary, "raw").expect("values"), r#"{"data":"raw"}"#);
    }

    #[test]
    fn what_is_no_json_object_is_refused() {
        for (format, text) in [(Format::Yaml, "a: 1\n---\nb: 2\n"), (Format::Yaml, "a: .nan\n")] {
            let refused = values_of(format, text);
            assert!(matches!(refused, Err(PublishError::Values(_))), "{text}: {refused:?}");
        }
    }
}
