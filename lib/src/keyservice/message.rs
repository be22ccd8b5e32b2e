//! The messages between key services.
//!
//! `Key` is written by the table of key kinds instead of by generated code. What may hold a data key is wiped when it
//! is dropped.

use std::collections::BTreeMap;

use prost::DecodeError;
use prost::Message;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{self, DecodeContext, WireType, btree_map, string};
use serde_json::Value as Json;
use zeroize::Zeroize;

use crate::keys::{KEY_KINDS, KeyFields, KeyKind, MasterKey};

/// A request to wrap a data key.
#[derive(Message)]
#[prost(skip_debug)]
pub(super) struct EncryptRequest {
    #[prost(message, optional, tag = "1")]
    pub key: Option<Key>,
    #[prost(bytes = "vec", tag = "2")]
    pub plaintext: Vec<u8>,
}

/// A wrapped data key.
#[derive(Message)]
#[prost(skip_debug)]
pub(super) struct EncryptResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub ciphertext: Vec<u8>,
}

/// A request to unwrap a data key.
#[derive(Message)]
#[prost(skip_debug)]
pub(super) struct DecryptRequest {
    #[prost(message, optional, tag = "1")]
    pub key: Option<Key>,
    #[prost(bytes = "vec", tag = "2")]
    pub ciphertext: Vec<u8>,
}

/// A data key.
#[derive(Message)]
#[prost(skip_debug)]
pub(super) struct DecryptResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub plaintext: Vec<u8>,
}

impl Drop for EncryptRequest {
    fn drop(&mut self) {
        self.plaintext.zeroize();
    }
}

impl Drop for DecryptResponse {
    fn drop(&mut self) {
        self.plaintext.zeroize();
    }
}

/// A master key without what it wraps; none if it is of a kind that nobody here knows.
#[derive(Default)]
pub(super) struct Key(Option<KindFields>);

/// The message of one kind of key.
struct KindFields {
    kind: &'static KeyKind,
    fields: KeyFields,
}

impl Key {
    pub(super) fn of(key: &MasterKey) -> Self {
        Self(Some(KindFields { kind: key.kind(), fields: key.fields().clone() }))
    }

    pub(super) fn into_master_key(self) -> Option<MasterKey> {
        self.0.map(|KindFields { kind, fields }| MasterKey::new(kind, fields))
    }
}

impl Message for Key {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        if let Some(message) = &self.0 {
            encoding::message::encode(message.kind.message.tag, message, buffer);
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        let Some(kind) = KEY_KINDS.iter().copied().find(|kind| kind.message.tag == tag) else {
            // Of several variants the last one counts.
            self.0 = None;
            return encoding::skip_field(wire_type, tag, buffer, context);
        };
        // What comes twice is one message.
        let known = self.0.take().filter(|message| message.kind.message.tag == tag);
        let message = self.0.insert(known.unwrap_or_else(|| KindFields { kind, fields: KeyFields::new() }));
        encoding::message::merge(wire_type, message, buffer, context)
    }

    fn encoded_len(&self) -> usize {
        self.0.as_ref().map_or(0, |message| encoding::message::encoded_len(message.kind.message.tag, message))
    }

    fn clear(&mut self) {
        self.0 = None;
    }
}

impl KindFields {
    /// Returns the fields that the message holds, in their order.
    fn present(&self) -> impl Iterator<Item = (u32, Field)> {
        self.kind.message.fields.iter().filter_map(|&(name, number)| {
            let field = match self.fields.get(name)? {
                Json::Object(map) => {
                    Field::Map(map.iter().map(|(key, value)| (key.clone(), text_of(value))).collect())
                }
                value => Field::Text(text_of(value)),
            };
            (!field.is_empty()).then_some((number, field))
        })
    }

    fn is_map(&self, name: &str) -> bool {
        self.kind.fields.iter().any(|field| field.name == name && field.is_map)
    }
}

impl Message for KindFields {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        for (number, field) in self.present() {
            match field {
                Field::Map(map) => btree_map::encode(
                    string::encode,
                    string::encoded_len,
                    string::encode,
                    string::encoded_len,
                    number,
                    &map,
                    buffer,
                ),
                Field::Text(text) => string::encode(number, &text, buffer),
            }
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        let known = self.kind.message.fields.iter().find(|(_, number)| *number == tag);
        let Some(&(name, _)) = known else {
            return encoding::skip_field(wire_type, tag, buffer, context);
        };
        if !self.is_map(name) {
            let mut text = String::new();
            string::merge(wire_type, &mut text, buffer, context)?;
            self.fields.insert(name.to_owned(), text.into());
            return Ok(());
        }
        encoding::check_wire_type(WireType::LengthDelimited, wire_type)?;
        // One entry of the map.
        let mut entry = BTreeMap::new();
        btree_map::merge(string::merge, string::merge, &mut entry, buffer, context)?;
        let map = self.fields.entry(name).or_insert_with(|| Json::Object(KeyFields::new()));
        if let Json::Object(map) = map {
            map.extend(entry.into_iter().map(|(key, value): (String, String)| (key, value.into())));
        }
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        let length = |(number, field): (u32, Field)| match field {
            Field::Map(map) => btree_map::encoded_len(string::encoded_len, string::encoded_len, number, &map),
            Field::Text(text) => string::encoded_len(number, &text),
        };
        self.present().map(length).sum()
    }

    fn clear(&mut self) {
        self.fields.clear();
    }
}

enum Field {
    Map(BTreeMap<String, String>),
    Text(String),
}

impl Field {
    fn is_empty(&self) -> bool {
        match self {
            Self::Map(map) => map.is_empty(),
            Self::Text(text) => text.is_empty(),
        }
    }
}

fn text_of(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use serde_json::json;

    use super::*;

    /// Returns what a message of text fields is: of each its number and its text.
    fn texts(fields: &[(u8, &str)]) -> Vec<u8> {
        let field = |&(number, text): &(u8, &str)| {
            [&[number << 3 | 2, u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat()
        };
        fields.iter().flat_map(field).collect()
    }

    fn nested(number: u8, message: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(message.len()).expect("a short message")], message].concat()
    }

    fn key(kind: &str, fields: Json) -> MasterKey {
        let kind = KeyKind::from_name(kind).expect("a kind");
        MasterKey::from_metadata(kind, fields.as_object().expect("an object"))
    }

    /// Every kind, and its message as the protocol has it.
    fn golden() -> Vec<(MasterKey, Vec<u8>)> {
        let context = [texts(&[(1, "app"), (2, "web")]), texts(&[(1, "env"), (2, "prod")])];
        let kms = [
            texts(&[(1, "arn:aws:kms:us-east-1:1:key/a"), (2, "arn:aws:iam::1:role/r")]),
            nested(3, &context[0]),
            nested(3, &context[1]),
            texts(&[(4, "dev")]),
        ];
        vec![
            (
                key(
                    "kms",
                    json!({
                        "arn": "arn:aws:kms:us-east-1:1:key/a", "role": "arn:aws:iam::1:role/r",
                        "context": {"env": "prod", "app": "web"}, "aws_profile": "dev",
                    }),
                ),
                nested(1, &kms.concat()),
            ),
            (key("kms", json!({"arn": "a", "aws_profile": ""})), nested(1, &texts(&[(1, "a")]))),
            (key("pgp", json!({"fp": "85D77543"})), nested(2, &texts(&[(1, "85D77543")]))),
            (key("gcp_kms", json!({"resource_id": "projects/p"})), nested(3, &texts(&[(1, "projects/p")]))),
            (
                key("azure_kv", json!({"name": "n", "vault_url": "https://v", "version": "1"})),
                nested(4, &texts(&[(1, "https://v"), (2, "n"), (3, "1")])),
            ),
            (
                key("hc_vault", json!({"engine_path": "e/f", "key_name": "k", "vault_address": "http://v"})),
                nested(5, &texts(&[(1, "http://v"), (2, "e/f"), (3, "k")])),
            ),
            (key("age", json!({"recipient": "age1x"})), nested(6, &texts(&[(1, "age1x")]))),
            (key("hckms", json!({"key_id": "r:i"})), nested(7, &texts(&[(1, "r:i")]))),
        ]
    }

    #[test]
    fn keys_of_all_kinds_are_those_of_the_protocol() {
        let mut kinds: Vec<_> = golden().iter().map(|(key, _)| key.kind().name).collect();
        kinds.dedup();
        assert_eq!(kinds.len(), KEY_KINDS.len());
        for (key, bytes) in golden() {
            let message = Key::of(&key);
            assert_eq!(message.encode_to_vec(), bytes, "{key:?}");
            assert_eq!(message.encoded_len(), bytes.len(), "{key:?}");
            let decoded = Key::decode(&*bytes).expect("a key").into_master_key().expect("of a known kind");
            assert_eq!(decoded.to_string(), key.to_string());
            let expected = key.fields().iter().filter(|(_, value)| **value != json!(""));
            assert_eq!(decoded.fields().len(), expected.clone().count(), "{key:?}");
            for (name, value) in expected {
                assert_eq!(decoded.fields().get(name), Some(value), "{key:?}");
            }
        }
    }

    #[test]
    fn requests_hold_a_key_and_bytes() {
        for (key, bytes) in golden() {
            let request = DecryptRequest { key: Some(Key::of(&key)), ciphertext: b"enc".to_vec() };
            let expected = [nested(1, &bytes), texts(&[(2, "enc")])].concat();
            assert_eq!(request.encode_to_vec(), expected, "{key:?}");
            let decoded = EncryptRequest::decode(&*expected).expect("a request");
            assert_eq!(decoded.plaintext, b"enc");
        }
    }

    #[test]
    fn a_key_of_an_unknown_kind_is_none() {
        let unknown = nested(8, &texts(&[(1, "x")]));
        assert!(Key::decode(&*unknown).expect("a message").into_master_key().is_none());
        assert!(Key::decode(&[][..]).expect("a message").into_master_key().is_none());
        // The last one counts.
        let last = [nested(6, &texts(&[(1, "age1x")])), unknown].concat();
        assert!(Key::decode(&*last).expect("a message").into_master_key().is_none());
    }

    #[test]
    fn what_the_table_does_not_have_is_passed_over() {
        let message = nested(6, &texts(&[(1, "age1x"), (9, "new")]));
        let key = Key::decode(&*message).expect("a message").into_master_key().expect("a key");
        assert_eq!(key.fields(), json!({"recipient": "age1x"}).as_object().expect("an object"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_key_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(key) = Key::decode(&*bytes) {
                let again = key.encode_to_vec();
                prop_assert_eq!(key.encoded_len(), again.len());
                prop_assert_eq!(Key::decode(&*again).expect("what was written").encode_to_vec(), again);
            }
        }
    }
}
