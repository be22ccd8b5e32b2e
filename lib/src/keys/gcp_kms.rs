//! Keys of the Google Cloud Key Management Service, by their resource identifier.

#[cfg(feature = "gcp")]
mod crc32c;
#[cfg(feature = "gcp")]
mod credentials;
#[cfg(feature = "gcp")]
mod name;
#[cfg(feature = "gcp")]
mod service;

use super::{
    KeyField, KeyFields, KeyKind, KeyMessage, KeyParseError, KeyService, KeySetup, scalar_text, text_fields,
    text_of,
};

#[cfg(feature = "gcp")]
pub use credentials::Credentials;

#[cfg(feature = "gcp")]
const CONNECT: Option<fn(&KeySetup) -> Box<dyn KeyService>> = Some(service::connect);
#[cfg(not(feature = "gcp"))]
const CONNECT: Option<fn(&KeySetup) -> Box<dyn KeyService>> = None;

/// Keys of Google Cloud KMS.
pub static KIND: KeyKind = KeyKind {
    name: "gcp_kms",
    flag: "gcp-kms",
    short: None,
    variable: "SOPS_GCP_KMS_IDS",
    rule_field: "gcp_kms",
    rule_rank: 3,
    group_field: "gcp_kms",
    options: &[],
    fields: &[KeyField::required("resource_id")],
    address_field: None,
    has_created_at: true,
    parse,
    parse_object,
    identify,
    message: KeyMessage { tag: 3, fields: &[("resource_id", 1)] },
    mistakes: |_| Vec::new(),
    connect: CONNECT,
};

/// Reads `projects/P/locations/L/keyRings/R/cryptoKeys/K`. Whether it is one, the service that uses
/// it must say.
fn parse(text: &str) -> Result<KeyFields, KeyParseError> {
    Ok(text_fields(&[("resource_id", &text.replace(' ', ""))]))
}

fn parse_object(object: &KeyFields) -> Result<KeyFields, KeyParseError> {
    const EXPECTED: &str = "an object with `resource_id`";
    match scalar_text(object, "resource_id", EXPECTED)?.as_str() {
        "" => Err(KeyParseError::of_object(object, EXPECTED)),
        id => parse(id),
    }
}

fn identify(fields: &KeyFields) -> String {
    text_of(fields, "resource_id").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    const ID: &str = "projects/p/locations/global/keyRings/r/cryptoKeys/k";

    #[test]
    fn spaces_are_taken_out() {
        assert_eq!(identify(&parse(&format!(" {ID}")).expect("this is an identifier")), ID);
    }

    #[test]
    fn object_needs_an_identifier() {
        let read = |object: Json| parse_object(object.as_object().expect("the test gives an object"));
        assert_eq!(identify(&read(json!({"resource_id": ID})).expect("this is an identifier")), ID);
        read(json!({"resource": ID})).expect_err("the field is misspelt");
    }
}
