//! Keys of the AWS Key Management Service, by their ARN.

#[cfg(feature = "aws")]
mod arn;
#[cfg(feature = "aws")]
mod connections;
#[cfg(feature = "aws")]
mod failure;
#[cfg(feature = "aws")]
mod limit;
mod mixed_up;
#[cfg(feature = "aws")]
mod service;

use serde_json::{Map, Value as Json};

use super::{
    KeyField, KeyFields, KeyKind, KeyMessage, KeyOption, KeyParseError, KeyService, KeySetup, scalar_text,
    text_fields, text_of,
};

#[cfg(feature = "aws")]
pub use service::KmsService;

/// Keys of AWS KMS.
pub static KIND: KeyKind = KeyKind {
    name: "kms",
    flag: "kms",
    short: Some('k'),
    variable: "SOPS_KMS_ARN",
    rule_field: "kms",
    rule_rank: 2,
    group_field: "kms",
    options: &[
        KeyOption {
            field: "aws_profile",
            flag: "aws-profile",
            rule_field: Some("aws_profile"),
            parse: |text| Ok(text.into()),
        },
        KeyOption {
            field: "context",
            flag: "encryption-context",
            rule_field: None,
            parse: |text| parse_context(text).map(Json::Object),
        },
    ],
    fields: &[
        KeyField::required("arn"),
        KeyField::required("aws_profile"),
        KeyField::map("context"),
        KeyField::optional("role"),
    ],
    address_field: None,
    has_created_at: true,
    parse,
    parse_object,
    identify,
    message: KeyMessage { tag: 1, fields: &[("arn", 1), ("role", 2), ("context", 3), ("aws_profile", 4)] },
    mistakes: mixed_up::mixed_up,
    connect: CONNECT,
};

/// Reads `ARN` or `ARN+ROLE`. Whether it is one, the service that uses it must say.
fn parse(text: &str) -> Result<KeyFields, KeyParseError> {
    let text = text.replace(' ', "");
    // The path of an ARN may hold a `+` but no `:`, so `+arn:` can only stand between two ARNs.
    let (arn, role) = match text.find("+arn:") {
        Some(at) if at > 0 => (&text[..at], &text[at + 1..]),
        _ => (text.as_str(), ""),
    };
    Ok(text_fields(&[("arn", arn), ("role", role)]))
}

fn parse_object(object: &KeyFields) -> Result<KeyFields, KeyParseError> {
    const EXPECTED: &str = "an object with `arn`, and perhaps `role`, `context` and `aws_profile`";
    let text = |name| scalar_text(object, name, EXPECTED);
    if text("arn")?.is_empty() {
        return Err(KeyParseError::of_object(object, EXPECTED));
    }
    let mut fields = text_fields(&[
        ("arn", &text("arn")?),
        ("aws_profile", &text("aws_profile")?),
        ("role", &text("role")?),
    ]);
    match object.get("context") {
        None | Some(Json::Null) => {}
        Some(Json::Object(context)) if !context.values().any(Json::is_null) => {
            let mut texts = Map::new();
            for name in context.keys() {
                texts.insert(name.clone(), scalar_text(context, name, "a text")?.into());
            }
            fields.insert("context".into(), texts.into());
        }
        Some(_) => return Err(KeyParseError::of_object(object, EXPECTED)),
    }
    Ok(fields)
}

/// Reads `name:value,name:value`.
fn parse_context(text: &str) -> Result<KeyFields, KeyParseError> {
    let mut context = Map::new();
    for pair in text.split(',').filter(|_| !text.is_empty()) {
        match pair.split(':').collect::<Vec<_>>()[..] {
            [name, value] => context.insert(name.into(), value.into()),
            _ => return Err(KeyParseError::new(pair, "one name and one value with a colon between them")),
        };
    }
    Ok(context)
}

fn identify(fields: &KeyFields) -> String {
    let mut pairs: Vec<(&str, &str)> = match fields.get("context") {
        Some(Json::Object(map)) => {
            map.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default())).collect()
        }
        _ => Vec::new(),
    };
    pairs.sort_unstable();
    let context = pairs.iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join(",");
    let role = match text_of(fields, "role") {
        "" => String::new(),
        role => format!("+{role}"),
    };
    let rest = match (context.as_str(), text_of(fields, "aws_profile")) {
        ("", "") => String::new(),
        (context, "") => format!("|{context}"),
        (context, profile) => format!("|{context}|{profile}"),
    };
    format!("{}{role}{rest}", text_of(fields, "arn"))
}

#[cfg(feature = "aws")]
const CONNECT: Connect = Some(|setup| Box::new(KmsService::new(setup)));
#[cfg(not(feature = "aws"))]
const CONNECT: Connect = None;
type Connect = Option<fn(&KeySetup) -> Box<dyn KeyService>>;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::keys::MasterKey;

    const ARN: &str = "arn:aws:kms:us-west-2:111122223333:key/612d5f0d";
    const ROLE: &str = "arn:aws:iam::111122223333:role/sops";

    fn object(value: Json) -> Result<Map<String, Json>, KeyParseError> {
        parse_object(value.as_object().expect("the test gives an object"))
    }

    #[test]
    fn role_is_cut_off_the_arn() {
        let fields = parse(&format!("{ARN} + {ROLE}")).expect("this is an ARN with a role");
        assert_eq!((text_of(&fields, "arn"), text_of(&fields, "role")), (ARN, ROLE));
        assert_eq!(identify(&fields), format!("{ARN}+{ROLE}"));
    }

    #[test]
    fn identity_names_context_and_profile() {
        let fields = |context: Json, profile: &str| {
            object(json!({"arn": "a", "role": "r", "context": context, "aws_profile": profile}))
                .expect("the object is complete")
        };
        assert_eq!(identify(&fields(json!({"k": "v", "b": 1}), "")), "a+r|b:1,k:v");
        assert_eq!(identify(&fields(json!({"k": "v"}), "p")), "a+r|k:v|p");
        assert_eq!(identify(&fields(Json::Null, "p")), "a+r||p");
    }

    #[test]
    fn context_needs_one_colon_in_each_pair() {
        assert_eq!(Json::from(parse_context("a:b,c:").expect("two pairs")), json!({"a": "b", "c": ""}));
        assert_eq!(parse_context("").expect("no pair"), Map::new());
        assert_eq!(parse_context("a:b:c").expect_err("two colons").text, "a:b:c");
        assert_eq!(parse_context("a:b,").expect_err("an empty pair").text, "");
    }

    #[test]
    fn context_that_is_not_text_is_refused() {
        for context in [json!("a:b"), json!({"a": ["b"]}), json!({"a": null}), json!([1])] {
            object(json!({"arn": ARN, "context": context})).expect_err("the context is not a map of texts");
        }
        object(json!({"context": {}})).expect_err("there is no ARN");
    }

    #[test]
    fn metadata_always_names_the_profile() {
        let mut keys = MasterKey::parse_list(&KIND, &format!("{ARN}, ,{ARN}+{ROLE}")).expect("two ARNs");
        keys[1].set_field("context", json!({"a": "b"}));
        for key in &mut keys {
            key.set_wrapped("AQ==".into(), "2024-01-01T00:00:00Z");
        }
        let written: Vec<Json> = keys.iter().map(|key| key.to_metadata().into()).collect();
        assert_eq!(
            written,
            [
                json!({"arn": ARN, "aws_profile": "", "created_at": "2024-01-01T00:00:00Z", "enc": "AQ=="}),
                json!({"arn": ARN, "aws_profile": "", "context": {"a": "b"},
                       "created_at": "2024-01-01T00:00:00Z", "enc": "AQ==", "role": ROLE}),
            ]
        );
    }
}
