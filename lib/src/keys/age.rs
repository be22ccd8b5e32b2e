//! age keys, by their recipient.

use serde_json::{Map, Value as Json};

use super::{KeyField, KeyKind, KeyParseError, text_fields, text_of};

/// age keys.
pub static KIND: KeyKind = KeyKind {
    name: "age",
    flag: "age",
    short: Some('a'),
    variable: "SOPS_AGE_RECIPIENTS",
    rule_field: "age",
    rule_rank: 0,
    group_field: "age",
    options: &[],
    fields: &[KeyField::required("recipient")],
    has_created_at: false,
    parse,
    parse_object: |object| Err(KeyParseError::of_object(object, EXPECTED)),
    identify,
};

fn parse(text: &str) -> Result<Map<String, Json>, KeyParseError> {
    let text = text.trim();
    if text.starts_with("age1") || text.starts_with("ssh-") {
        return Ok(text_fields(&[("recipient", text)]));
    }
    Err(KeyParseError::new(text, EXPECTED))
}

fn identify(fields: &Map<String, Json>) -> String {
    text_of(fields, "recipient").to_owned()
}

const EXPECTED: &str = "an age recipient (`age1…`, `ssh-ed25519 …` or `ssh-rsa …`)";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::keys::MasterKey;

    #[test]
    fn recipient_must_begin_as_one() {
        assert_eq!(parse("AGE-SECRET-KEY-1").expect_err("this is an identity").text, "AGE-SECRET-KEY-1");
    }

    #[test]
    fn entry_of_the_metadata_has_no_date() {
        let entry = json!({"enc": "-----BEGIN AGE ENCRYPTED FILE-----\n", "recipient": "age1x"});
        let key = MasterKey::from_metadata(&KIND, entry.as_object().expect("an object"));
        assert_eq!(Json::from(key.to_metadata()), entry);
        assert_eq!(key.created_at(), None);
    }
}
