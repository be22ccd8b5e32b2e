//! OpenPGP keys, by their fingerprint. What wraps and unwraps with them is in `service.rs`: keys out of exported files
//! (`native.rs`), and the program `gpg` with whatever keys, agents and cards it has (`gpg.rs`).

#[cfg(any(feature = "gpg", feature = "pgp-native"))]
mod fingerprint;
#[cfg(feature = "gpg")]
mod gpg;
#[cfg(feature = "pgp-native")]
mod native;
#[cfg(any(feature = "gpg", feature = "pgp-native"))]
mod service;

use super::{
    KeyField, KeyFields, KeyKind, KeyMessage, KeyParseError, KeyService, KeySetup, text_fields, text_of,
};

#[cfg(feature = "gpg")]
pub use gpg::Gpg;
#[cfg(feature = "pgp-native")]
pub use native::{PgpKeyError, PgpKeys};
#[cfg(any(feature = "gpg", feature = "pgp-native"))]
pub use service::PgpService;

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
    address_field: None,
    has_created_at: true,
    parse: |text| Ok(text_fields(&[("fp", &text.replace(' ', ""))])),
    parse_object: |object| Err(KeyParseError::of_object(object, "a fingerprint")),
    identify,
    message: KeyMessage { tag: 2, fields: &[("fp", 1)] },
    mistakes: |_| Vec::new(),
    connect: CONNECT,
};

#[cfg(any(feature = "gpg", feature = "pgp-native"))]
const CONNECT: Option<fn(&KeySetup) -> Box<dyn KeyService>> =
    Some(|setup| Box::new(PgpService::from_setup(setup)));
#[cfg(not(any(feature = "gpg", feature = "pgp-native")))]
const CONNECT: Option<fn(&KeySetup) -> Box<dyn KeyService>> = None;

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
