//! Encrypting documents of SOPS for age recipients, and what encrypting one would leave in clear.

use rand_core::CryptoRngCore;
use selkie::format::Format;
use selkie::keys::age::{AgeService, Identities};
use selkie::keys::{KeyGroup, MasterKey, age};
use selkie::secret::SecretBytes;
use selkie::sops::{Forecast, LeafState, Metadata, Places, Selector, leaves};
use selkie::tree::Tree;
use serde_json::{Value as Json, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::problem::{Field, Problem};
use crate::sealing::Outcome;

/// Which values are encrypted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rule<'a> {
    /// The name of the rule, as the metadata has it; empty for that of sops itself.
    pub field: &'a str,
    /// Its suffix or pattern.
    pub text: &'a str,
}

/// What encrypting a document would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// How many values would be encrypted.
    pub encrypted: usize,
    /// How many would stay in clear.
    pub clear: usize,
    /// Where the first of those are: the line and the path.
    pub places: Vec<(usize, String)>,
    /// How many comments would be encrypted.
    pub comments: usize,
}

impl Rule<'_> {
    fn selector(self) -> Result<Selector, Problem> {
        let value_of = |field: &'static str| (field == self.field).then_some(self.text);
        Ok(Selector::from_fields(value_of)?.unwrap_or_default())
    }
}

impl Preview {
    /// Returns what encrypting a document would do.
    ///
    /// # Errors
    /// If it would not be encrypted.
    pub fn of(source: SecretBytes, format: Format, rule: Rule<'_>) -> Result<Self, Problem> {
        let selector = rule.selector()?;
        let tree = format.read(source)?;
        let forecast = Forecast::of(format, &tree, &selector);
        if let Some(refusal) = forecast.refusal {
            return Err(selkie::EncryptError::Seal(refusal).into());
        }
        let lines = Lines::of(&tree);
        let mut places = Places::new(&tree);
        let mut preview = Self { comments: forecast.comments.len(), ..Self::default() };
        for leaf in leaves(format, &tree, &selector) {
            if leaf.state == LeafState::Empty {
                continue;
            }
            if leaf.selected {
                preview.encrypted += 1;
                continue;
            }
            preview.clear += 1;
            if preview.places.len() < MAX_PLACES {
                let line = lines.line(tree.node(leaf.id).span.start);
                preview.places.push((line, places.advance(leaf.id).1.to_string()));
            }
        }
        Ok(preview)
    }

    /// Returns the preview as the page takes it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let places: Vec<_> =
            self.places.iter().map(|(line, path)| json!({"line": line, "path": path})).collect();
        json!({
            "encrypted": self.encrypted,
            "clear": self.clear,
            "places": places,
            "comments": self.comments,
        })
    }
}

/// Encrypts a document for the recipients that a text names, one on a line or separated by commas. Any of them
/// can decrypt it.
pub fn encrypt(
    source: SecretBytes,
    format: Format,
    recipients: &str,
    rule: Rule<'_>,
    now: OffsetDateTime,
    rng: &mut dyn CryptoRngCore,
) -> Result<Outcome, Problem> {
    let group = group(recipients)?;
    let count = group.0.len();
    let mut metadata = Metadata::new(vec![group]);
    metadata.selector = rule.selector()?;
    let now =
        now.replace_nanosecond(0).ok().and_then(|now| now.format(&Rfc3339).ok()).ok_or(Problem::Clock)?;
    let service = AgeService::new(Identities::new());
    let document = selkie::encrypt(source, format, metadata, &[&service], &now, rng)?;
    // Documents of sops are texts: values that are none are base64.
    let text = String::from_utf8_lossy(document.expose_secret()).into_owned();
    let who = if count == 1 { "1 recipient".to_owned() } else { format!("{count} recipients") };
    Ok(Outcome { text, notes: vec![format!("encrypted for {who}")], warnings: Vec::new() })
}

/// Reads recipients, as files for `age -R` have them: comments and empty lines are passed over.
fn group(text: &str) -> Result<KeyGroup, Problem> {
    let mut keys = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if content.starts_with('#') {
            continue;
        }
        if content.to_ascii_uppercase().contains("AGE-SECRET-KEY-") || content.contains("PRIVATE KEY-----") {
            return Err(Problem::PrivateKey(Field::Recipients));
        }
        let found = MasterKey::parse_list(&age::KIND, content);
        let found = found.map_err(|source| Problem::Recipient { line, source })?;
        if found.iter().any(|key| !is_of_age(key.field("recipient"))) {
            return Err(Problem::RecipientKind { line });
        }
        keys.extend(found);
    }
    let mut group = KeyGroup(keys);
    group.deduplicate();
    if group.0.is_empty() { Err(Problem::NoRecipient) } else { Ok(group) }
}

/// Returns whether a recipient is of a kind that needs no other program: those of plugins have a name in theirs.
fn is_of_age(recipient: &str) -> bool {
    ["age1pq1", "age1tag1", "age1tagpq1"].iter().any(|start| recipient.starts_with(start))
        || recipient.starts_with("age1") && recipient.matches('1').count() == 1
}

/// Where the lines of a text end.
struct Lines(Vec<u32>);

impl Lines {
    fn of(tree: &Tree) -> Self {
        let bytes = tree.source().iter().zip(0..);
        Self(bytes.filter(|(byte, _)| **byte == b'\n').map(|(_, at)| at).collect())
    }

    fn line(&self, offset: u32) -> usize {
        self.0.partition_point(|&end| end < offset) + 1
    }
}

/// More than anybody reads; the paths of a document may be far longer than it is.
const MAX_PLACES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn preview(text: &str, field: &str, pattern: &str) -> Result<Preview, Problem> {
        Preview::of(text.into(), Format::Yaml, Rule { field, text: pattern })
    }

    #[test]
    fn what_stays_in_clear_is_told_by_line_and_path() {
        let found = preview("user: a\ndb:\n  password: b\n  host: c\n", "encrypted_regex", "^password$");
        let found = found.expect("it can be encrypted");
        assert_eq!((found.encrypted, found.clear), (1, 2));
        let places = [(1, r#"["user"]"#.to_owned()), (4, r#"["db"]["host"]"#.to_owned())];
        assert_eq!(found.places, places);
    }

    #[test]
    fn a_rule_that_selects_nothing_is_refused_before() {
        let error = preview("a: b\n", "encrypted_regex", "^x$").expect_err("nothing is selected");
        assert_eq!((error.code(), error.field()), ("encrypt", Some(Field::Rule)));
        let error = preview("a: b\n", "encrypted_regex", "(").expect_err("no pattern");
        assert_eq!((error.code(), error.field()), ("rule", Some(Field::Rule)));
    }

    #[test]
    fn recipients_are_told_by_line_and_private_keys_not_cited() {
        let of = |text: &str| group(text).err().map(|error| (error.code(), error.line(), error.to_string()));
        assert_eq!(of("# none\n\n").map(|(code, ..)| code), Some("no-recipient"));
        assert_eq!(of("\nage1x\n").map(|(code, line, _)| (code, line)), Some(("recipient", Some(2))));
        let (code, _, message) = of("AGE-SECRET-KEY-1QQQ").expect("a private key");
        assert_eq!(code, "private-key");
        assert!(!message.contains("QQQ"));
    }
}
