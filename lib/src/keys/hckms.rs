//! Keys of the Huawei Cloud Key Management Service, by region and identifier.

#[cfg(feature = "hckms")]
mod address;
#[cfg(feature = "hckms")]
mod credentials;
#[cfg(feature = "hckms")]
mod service;
#[cfg(feature = "hckms")]
mod sign;

use super::{
    KeyField, KeyFields, KeyKind, KeyMessage, KeyParseError, KeyService, KeySetup, scalar_text, text_fields,
    text_of,
};

#[cfg(feature = "hckms")]
const CONNECT: Option<fn(&KeySetup) -> Box<dyn KeyService>> = Some(service::connect);
#[cfg(not(feature = "hckms"))]
const CONNECT: Option<fn(&KeySetup) -> Box<dyn KeyService>> = None;

/// Keys of Huawei Cloud KMS.
pub static KIND: KeyKind = KeyKind {
    name: "hckms",
    flag: "hckms",
    short: None,
    variable: "SOPS_HUAWEICLOUD_KMS_IDS",
    rule_field: "hckms",
    rule_rank: 4,
    group_field: "hckms",
    options: &[],
    fields: &[KeyField::required("key_id")],
    address_field: None,
    has_created_at: true,
    parse,
    parse_object,
    identify,
    message: KeyMessage { tag: 7, fields: &[("key_id", 1)] },
    mistakes: |_| Vec::new(),
    connect: CONNECT,
};

fn parse(text: &str) -> Result<KeyFields, KeyParseError> {
    match text.split_once(':') {
        Some((region, id)) if !region.trim().is_empty() && !id.trim().is_empty() => {
            Ok(text_fields(&[("key_id", text)]))
        }
        _ => Err(KeyParseError::new(text, "a region and a key's identifier with a colon between them")),
    }
}

fn parse_object(object: &KeyFields) -> Result<KeyFields, KeyParseError> {
    parse(&scalar_text(object, "key_id", "an object with `key_id`")?)
}

fn identify(fields: &KeyFields) -> String {
    text_of(fields, "key_id").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_and_identifier_are_both_needed() {
        let id = "tr-west-1:abc12345-6789-0123-4567-890123456789";
        assert_eq!(identify(&parse(id).expect("this is a key")), id);
        for text in ["", "tr-west-1", ":abc", "tr-west-1: "] {
            assert_eq!(parse(text).expect_err("a part is missing").text, text);
        }
    }
}
