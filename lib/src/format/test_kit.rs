//! What the tests of several formats need.

use serde_json::{Map, Value as Json, json};

use crate::secret::SecretBytes;

/// Returns written bytes as text.
pub(in crate::format) fn text(bytes: &SecretBytes) -> String {
    String::from_utf8(bytes.expose_secret().to_vec()).expect("UTF-8")
}

/// Returns metadata with a list, a line break and no more.
pub(in crate::format) fn metadata() -> Map<String, Json> {
    let Json::Object(metadata) = json!({"age": [{"enc": "a\nb"}], "mac": "ENC[x]"}) else {
        unreachable!("the macro was given an object")
    };
    metadata
}
