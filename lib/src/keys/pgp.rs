//! OpenPGP keys, by their fingerprint.

use super::{KeyField, KeyFields, KeyKind, KeyMessage, KeyParseError, text_fields, text_of};

/// OpenPGP keys.
pub static KIND: KeyKind = KeyKind {
    name: "pgp",
    flag: "pgp",
    short: Some('p'),
    variable: "SOPS_PGP_FP",
    rule_field: "pgp",
    rule_rank: 1,
    group_field: "pgp",
    options: &[],
    fields: &[KeyField::required("fp")],
    has_created_at: true,
    parse: |text| Ok(text_fields(&[("fp", &text.replace(' ', ""))])),
    parse_object: |object| Err(KeyParseError::of_object(object, "a fingerprint")),
    identify,
    message: KeyMessage { tag: 2, fields: &[("fp", 1)] },
    connect: None,
};

fn identify(fields: &KeyFields) -> String {
    text_of(fields, "fp").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::keys::MasterKey;

    #[test]
    fn spaces_are_taken_out_and_items_keep_their_order() {
        let keys =
            MasterKey::parse_list(&KIND, "FBC7 B9E2 A4F9 289A, 85D7 7543!,").expect("two fingerprints");
        assert_eq!(
            keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["FBC7B9E2A4F9289A", "85D77543!"]
        );
    }

    #[test]
    fn entry_of_the_metadata_comes_back_as_it_was() {
        let entry =
            json!({"created_at": "2024-01-01T00:00:00Z", "enc": "-----BEGIN PGP MESSAGE-----\n", "fp": "F"});
        let key = MasterKey::from_metadata(&KIND, entry.as_object().expect("an object"));
        assert_eq!(Json::from(key.to_metadata()), entry);
    }
}
